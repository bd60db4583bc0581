"""Language model profiles: makes those of `capacity/profile/bundled_llm` from published measurements.

    python benchmarks/language_model_profiles.py FOLDER [--out capacity/profile/bundled_llm]

FOLDER holds `llmservingsim_step_profile.csv` and `llmservingsim_requests.csv` (casys-kaist/LLMServingSim at 5daddb2,
MIT: kernel times composed to steps, and a loaded run), and `splitwise_perf_model.csv` (Mutinifni/splitwise-sim at
8f99e7d, MIT: times of prompts and of tokens by batch).
"""

import argparse
import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Prices of one device. [USD/h] AWS us-east-1, on demand, as in the other bundled profiles.
_PRICES = {"h100": 6.88, "a100": 2.745, "rtxpro6000": None}
_PRICE_SOURCE = (
    "AWS us-east-1, on demand, p5.48xlarge and p4d.24xlarge over 8; aws/karpenter-provider-aws, 2026-07-20"
)


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def step(**given: float) -> dict[str, Any]:
    """A step without its zeros."""
    kept = {key: value for key, value in given.items() if value}
    return kept | {"mean_s": round(kept["mean_s"], 8)}


def llmservingsim(
    folder: Path, name: str, profile: str, model: str, tokens: int | None, note: dict[str, str]
) -> dict[str, Any]:
    steps = []
    for row in rows(folder / "llmservingsim_step_profile.csv"):
        prompts, requests = int(row["prefill_tokens"]), int(row["decode_requests"])
        if row["profile"] != profile or (prompts and requests == 256):  # these miss their attention
            continue
        steps.append(
            step(
                prefill_requests=min(1, prompts),
                prefill_tokens=prompts,
                prefill_kv_tokens=int(row["prefill_kv_tokens"]),
                decode_requests=requests,
                decode_kv_tokens=int(row["decode_kv_tokens_sum"]),
                mean_s=float(row["step_ms"]) / 1e3,
            )
        )
    return {
        "schema_version": 1,
        "kind": "llm",
        "name": name,
        "model": model,
        "device": "NVIDIA RTX PRO 6000 Blackwell 96GB",
        "precision": "bf16",
        "engine": {"name": "vllm", "version": "0.19.0"},
        "kv": {"tokens": tokens},
        "limits_measured": {"sequences_max": 256, "batched_tokens_max": 2048, "context_tokens_max": 8192},
        "steps": steps,
        "source": {
            "repository": "casys-kaist/LLMServingSim",
            "revision": "5daddb2",
            "file": "profiler/perf/RTXPRO6000, attention, dense and per_sequence",
            "licence": "MIT",
            "measures": "time of each kernel of a layer, composed to steps; mixed steps of 256 decoding requests are "
            "left out, since they miss their attention",
            **note,
        },
    }


_RUN_HELD = {
    "excludes": "time of the host between steps",
    "kv": "at least what the published run held at once",
}
_NO_RUN = {"excludes": "time of the host between steps", "kv": "not known, since no run was published"}


def splitwise(folder: Path, name: str, hardware: str, device: str) -> dict[str, Any]:
    """Llama 2 70B on eight devices: prompts of batches of equal requests, then a token of each at a time."""
    prompt_ms: dict[int, list[float]] = defaultdict(list)
    token_ms: dict[tuple[int, int], list[float]] = defaultdict(list)
    held = 0
    for row in rows(folder / "splitwise_perf_model.csv"):
        given = (row["model"], row["hardware"], row["tensor_parallel"])
        batch, prompt, tokens = (int(row[key]) for key in ("batch_size", "prompt_size", "token_size"))
        if given != ("llama2-70b", hardware, "8") or batch > 32:  # larger ones may be outliers of swapping
            continue
        prompt_ms[batch * prompt].append(float(row["prompt_time"]))
        token_ms[batch, batch * (prompt + tokens // 2)].append(float(row["token_time"]))
        held = max(held, batch * (prompt + tokens))
    steps = [
        step(prefill_requests=1, prefill_tokens=tokens, mean_s=statistics.median(found) / 1e3)
        for tokens, found in sorted(prompt_ms.items())
    ]
    steps += [
        step(decode_requests=batch, decode_kv_tokens=read, mean_s=statistics.median(found) / 1e3)
        for (batch, read), found in sorted(token_ms.items())
    ]
    context = max(read // batch for batch, read in token_ms)
    return {
        "schema_version": 1,
        "kind": "llm",
        "name": name,
        "model": "Llama 2 70B",
        "device": device,
        "devices": 8,
        "tensor_parallel": 8,
        "all_reduce": True,
        "precision": "fp16",
        "hourly_usd": _PRICES[hardware.partition("-")[0]],
        "engine": {"name": "vllm"},
        "kv": {"tokens": held},
        "limits_measured": {
            "sequences_max": max(batch for batch, _ in token_ms),
            "batched_tokens_max": max(prompt_ms),
            "context_tokens_max": context,
        },
        "steps": steps,
        "source": {
            "repository": "Mutinifni/splitwise-sim",
            "revision": "8f99e7d",
            "file": "data/perf_model.csv",
            "licence": "MIT",
            "measures": "median time of the prompts of a batch, and of one token of each of its requests; steps with "
            "both were not measured",
            "kv": "the most that a measured batch held",
            "price": _PRICE_SOURCE,
        },
    }


def held_at_once(folder: Path) -> int:
    """Largest number of tokens held at once in the published run, in whole blocks.

    A request holds its prompt from its first token on, and its output tokens as they come, evenly until its last.
    """
    runs = [
        (
            float(row["first_token_s"]),
            float(row["last_token_s"]),
            int(row["input_tokens"]),
            int(row["output_tokens"]),
        )
        for row in rows(folder / "llmservingsim_requests.csv")
    ]

    def held(now_s: float) -> float:
        return sum(
            given + got * (now_s - first_s) / (last_s - first_s)
            for first_s, last_s, given, got in runs
            if first_s <= now_s < last_s
        )

    most = max(held(last_s - 1e-6) for _, last_s, _, _ in runs)
    return -(-int(most) // 16) * 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("capacity/profile/bundled_llm"))
    options = parser.parse_args()
    held = held_at_once(options.folder)
    found = [
        llmservingsim(
            options.folder,
            "llama-3.1-8b-rtx-pro-6000-bf16",
            "rtxpro6000-llama3.1-8b-tp1",
            "Llama 3.1 8B",
            held,
            _RUN_HELD,
        ),
        llmservingsim(
            options.folder,
            "qwen3-32b-rtx-pro-6000-bf16",
            "rtxpro6000-qwen3-32b-tp1",
            "Qwen3 32B",
            None,
            _NO_RUN,
        ),
        splitwise(options.folder, "llama2-70b-h100-tp8-fp16-steps", "h100-80gb", "NVIDIA H100 80GB"),
        splitwise(options.folder, "llama2-70b-a100-tp8-fp16-steps", "a100-80gb", "NVIDIA A100 80GB"),
    ]
    for profile in found:
        steps = profile.pop("steps")
        source = profile.pop("source")
        head = json.dumps(profile, indent=1)[:-2]
        lines = ",\n  ".join(json.dumps(one) for one in steps)
        tail = json.dumps(source, indent=2)
        text = f'{head},\n "steps": [\n  {lines}\n ],\n "source": {tail}\n}}\n'
        (options.out / f"{profile['name']}.json").write_text(text, encoding="utf-8")
        print(
            f"{profile['name']}: {len(steps)} steps, KV {profile['kv']['tokens']} tokens, {profile['limits_measured']}"
        )


if __name__ == "__main__":
    main()
