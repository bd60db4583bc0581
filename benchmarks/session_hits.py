"""Session hits: holds what caches that forget nothing find of Mooncake's conversation trace against exact integers.

    python benchmarks/session_hits.py conversation_trace.jsonl     # or .jsonl.gz

The trace is kvcache-ai/Mooncake, FAST25-release/traces/conversation_trace.jsonl at 3b5a594 (Apache-2.0), with 12,031
requests. Blocks have 16 tokens, requests go to replicas in turn, and each finds the longest run of full blocks from the
first that its replica has had before, but never its last token. It counts once by the package and once here, by ids.
Exits with 1 if anything differs.
"""

import gzip
import json
import sys
import time
from itertools import takewhile
from pathlib import Path

from capacity.traffic.sessions.description import BLOCK_TOKENS, HIT_SHARE, SessionsDescription
from capacity.traffic.sessions.parse import read_sessions

PROMPT_TOKENS = 144_793_823
HIT_TOKENS = {1: 54_097_440, 4: 28_317_680, 8: 20_124_768}
HIT_IDS, IDS = 105_710, 288_500
TOKENS_PER_ID = 512


def by_ids(path: Path) -> tuple[dict[int, int], int, int]:
    """Tokens found by ids for each number of replicas; ids found at one replica, and all ids.

    An id that was seen gives the blocks that were full then and are now: the last id of a prompt is a partial one.
    """
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [json.loads(line) for line in text.splitlines()]
    tokens, ids = dict.fromkeys(HIT_TOKENS, 0), 0
    for replicas in HIT_TOKENS:
        caches: list[dict[int, int]] = [{} for _ in range(replicas)]
        for number, line in enumerate(lines):
            cache, names, length = caches[number % replicas], line["hash_ids"], line["input_length"]
            full = [min(TOKENS_PER_ID, length - at) // BLOCK_TOKENS for at in range(0, length, TOKENS_PER_ID)]
            run = list(takewhile(cache.__contains__, names))
            hit = 0
            for one, blocks in zip(run, full, strict=False):
                hit += min(blocks, cache[one])
                if cache[one] < blocks:
                    break
            tokens[replicas] += min(hit, (length - 1) // BLOCK_TOKENS) * BLOCK_TOKENS
            ids += len(run) if replicas == 1 else 0
            cache |= {one: max(blocks, cache.get(one, 0)) for one, blocks in zip(names, full, strict=True)}
    return tokens, ids, sum(len(line["hash_ids"]) for line in lines)


def main() -> int:
    path, begun_s = Path(sys.argv[1]), time.process_time()
    about = SessionsDescription(rows=read_sessions(path), replicas=tuple(HIT_TOKENS))
    found = {one.replicas: one.hit_tokens for one in about.infinite_caches}
    prompts, room = int(about.rows.input_tokens.sum()), about.kv_tokens_for(HIT_SHARE)
    cpu_s = time.process_time() - begun_s
    tokens, hit_ids, ids = by_ids(path)
    rows = [
        ("prompt tokens", PROMPT_TOKENS, prompts, prompts),
        *((f"hit tokens, {n} in turn", HIT_TOKENS[n], found[n], tokens[n]) for n in HIT_TOKENS),
        ("ids found", HIT_IDS, hit_ids, hit_ids),
        ("ids", IDS, ids, ids),
    ]
    print("| | expected | by the package | by ids |\n|---|---|---|---|")
    for name, *counts in rows:
        print(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")
    print(f"\n90 % of the hits need {room:,} tokens at one replica; the package took {cpu_s:.1f} CPU s")
    return 0 if all(len(set(counts)) == 1 for _, *counts in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
