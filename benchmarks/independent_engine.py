"""Independent engine: checks a plan for a language model by a simulator of vLLM V1's rules that shares no code with
it.

    python benchmarks/independent_engine.py [--requests 12000]

It asks `capacity plan` for Llama 3.1 8B on an RTX PRO 6000 at 20 rps with the bundled conversation lengths, and
serves random requests of the same kind by the plan's fleet and by one with a replica fewer. The former must meet the
limits, the latter must miss one. The profile was measured with vLLM 0.19, so that both go by `vllm-v1@0.19`, each step
composed when the one before has ended. Exit 1 otherwise.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from importlib.resources import files
from typing import Any, NamedTuple

TTFT_S, TPOT_S, RATE_RPS = 2.0, 0.06, 20.0
PROFILE, LENGTHS = "llama-3.1-8b-rtx-pro-6000-bf16", "azure-conversation-2023"


class Steps:
    """Step times from a profile's rows: linear between measured sizes, prompts and decoding as measured together."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = {
            (
                row.get("prefill_tokens", 0),
                row.get("prefill_kv_tokens", 0),
                row.get("decode_requests", 0),
                row.get("decode_kv_tokens", 0) // max(1, row.get("decode_requests", 0)),
            ): row["mean_s"]
            for row in rows
        }
        self.axes = [sorted({key[axis] for key in self.rows if key[axis]}) for axis in range(4)]
        self.axes[1] = [0, *self.axes[1]]

    def node(self, tokens: int, past: int, requests: int, context: int) -> float:
        found = self.rows.get((tokens, past, requests, context))
        if found is not None:
            return found
        base = self.rows[0, 0, self.axes[2][0], self.axes[3][0]]
        for smaller in [size for size in reversed(self.axes[0]) if size < tokens]:
            both = self.rows.get((smaller, past, requests, context))
            if both is not None:
                return self.rows[tokens, past, 0, 0] + both - self.rows[smaller, past, 0, 0]
        return self.rows[tokens, past, 0, 0] + self.rows[0, 0, requests, context] - base

    def __call__(self, tokens: float, past: float, requests: float, read: float) -> float:
        asked = (tokens, past, requests, read / max(1.0, requests))
        absent = (tokens == 0, tokens == 0, requests == 0, requests == 0)
        corners = [(1.0, ())]
        for value, axis, gone in zip(asked, self.axes, absent, strict=True):
            if gone:
                corners = [(weight, (*place, 0)) for weight, place in corners]
                continue
            right = min(max(bisect_right(axis, value), 1), len(axis) - 1)
            low, high = axis[right - 1], axis[right]
            share = min(max((value - low) / (high - low), 0.0), 1.0)
            corners = [
                (weight * part, (*place, end))
                for weight, place in corners
                for end, part in ((low, 1.0 - share), (high, share))
                if part
            ]
        return sum(weight * self.node(*place) for weight, place in corners)


class Drafter(NamedTuple):
    """Tokens drafted after the next one of each request, for which it has as much room in the cache again.

    Attributes:
        accepted: how many of the drafts of a request, by its number, are accepted at a place in its answer.
    """

    tokens: int
    accepted: Callable[[int, int], int]


NO_DRAFTER = Drafter(0, lambda number, tokens: 0)


def serve(  # noqa: C901  (one loop, as a check should be)
    steps: Callable[[float, float, float, float], float],
    blocks: int,
    plan: dict[str, Any],
    requests: list[tuple[float, int, int]],
    drafter: Drafter = NO_DRAFTER,
) -> list[tuple[float, float]]:
    """TTFT and TPOT of each request at one engine; nothing is found in the cache again after a preemption."""
    waiting = deque([*one, 0, 0, 0.0, 0, False, at] for at, one in enumerate(requests))
    running: list[list[Any]] = []
    now, free, out = 0.0, blocks, []
    while waiting or running:
        if not running and waiting[0][0] > now:
            now = waiting[0][0]
        budget, parts, thrown = plan["batched_tokens_max"], [], False
        for one in running:
            if one not in running or budget == 0:
                continue
            count = min(one[1] + one[4] - one[3], budget)
            more = min(drafter.tokens, budget - 1) if one[7] else 0
            need = max(0, -(-(one[3] + count + more + drafter.tokens) // 16) - one[6])
            while need > free and running:
                thrown, last = True, running.pop()
                free += last[6]
                last[3], last[6], last[7] = 0, 0, False
                waiting.appendleft(last)
                if last is one:
                    break
            if one not in running:
                break
            free -= need
            one[6] += need
            parts.append((one, count, one[3], more))
            budget -= count + more
        while (
            not thrown
            and waiting
            and waiting[0][0] <= now
            and budget
            and len(running) < plan["sequences_max"]
        ):
            one = waiting[0]
            count = min(one[1] + one[4], budget)
            need = -(-(count + drafter.tokens) // 16)
            if max(need, -(-(one[1] + one[4]) // 16)) > free:
                break
            waiting.popleft()
            free -= need
            one[6] = need
            running.append(one)
            parts.append((one, count, 0, 0))
            budget -= count
        prompts = [(count, before) for one, count, before, _ in parts if count > 1 or before < one[1]]
        prompts += [(more, before) for _, _, before, more in parts]
        decoding = [before + 1 for one, count, before, _ in parts if count == 1 and before >= one[1]]
        tokens = sum(count for count, _ in prompts)
        past = sum(count * before for count, before in prompts) / max(1, tokens)
        now += steps(tokens, past, len(decoding), sum(decoding))
        for one, count, _, more in parts:
            one[3] += count
            one[7] = one[3] == one[1] + one[4]
            if not one[7]:
                continue
            gained = min(more, drafter.accepted(one[8], one[4]), one[2] - one[4] - 1) if more else 0
            one[3] += gained
            one[4] += 1 + gained
            if one[4] == 1:
                one[5] = now
            if one[4] == one[2]:
                running.remove(one)
                free += one[6]
                out.append((one[5] - one[0], (now - one[5]) / max(1, one[2] - 1) if one[2] > 1 else 0.0))
    return out


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=12_000)
    options = parser.parse_args()
    command = [
        "capacity", "plan", "--profile", PROFILE, "--rate", f"{RATE_RPS:g}rps", "--lengths", LENGTHS,
        "--slo-ttft-p99", f"{TTFT_S:g}s", "--slo-tpot-p99", f"{1e3 * TPOT_S:g}ms", "--json",
    ]  # fmt: skip
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    plan, told = answer["recommendation"], answer["performance"]
    where = files("capacity")
    profile = json.loads(where.joinpath("profile", "bundled_llm", f"{PROFILE}.json").read_text())
    text = where.joinpath("traffic", "bundled", f"{LENGTHS}.csv").read_text().splitlines()
    pairs = [(int(row["input_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(text)]
    steps, blocks = Steps(profile["steps"]), profile["kv"]["tokens"] // 16 - 1
    good = True
    for replicas in (plan["replicas"], plan["replicas"] - 1):
        draw = random.Random(replicas)
        arrived, requests = 0.0, []
        for number in range(replicas * options.requests):
            arrived += draw.expovariate(RATE_RPS)
            if number % replicas == 0:  # the first replica's share under round-robin
                requests.append((arrived, *draw.choice(pairs)))
        served = serve(steps, blocks, plan, requests)[options.requests // 10 :]
        ttft_s, tpot_s = p99([x for x, _ in served]), p99([y for _, y in served])
        meets = ttft_s <= TTFT_S and tpot_s <= TPOT_S
        good = good and meets is (replicas == plan["replicas"])
        print(
            f"{replicas} replicas: TTFT P99 {1e3 * ttft_s:.0f} ms, TPOT P99 {1e3 * tpot_s:.1f} ms:",
            "met" if meets else "missed",
        )
    intervals = [told[f"{name}_quantiles_s"]["0.99"] for name in ("ttft", "tpot")]
    print(
        "capacity says",
        ", ".join(f"{1e3 * one['low']:.1f} to {1e3 * one['high']:.1f} ms" for one in intervals),
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
