"""Headroom: how close its two ends come, over 25 plans of all kinds.

    python benchmarks/headroom.py [--only NUMBER ...]

Each question is planned as a user would ask it. Shown are today's rate, the largest accepted and the smallest refused
rate, how far apart these two lie, and why, if that is more than 2 %. The target: 2 % or less for at least 20 of the
25, and 10 % at most for the others. Exit 1 if it is missed.

Run on 2026-11-30 (2 cores, noisy), 1 to 24 CPU s a question: 13 of 25 within 2 %, and the widest 6.3 %. Of the others:

- 6 to 11 are plans for docs/examples/mine.csv, whose 300 samples a size have a cv of 0.09: their mean is known to 1 %
  either way at 95 %, and so the rate at which a queue explodes is open by 2 % before anything is simulated (2.6 to
  5.3 %). With 1,200 samples of the same law (8) is decided within 1.8 and (10) within 1.8 %, and (7) within 2.5 %.
- 15 is a profile with samples too (3.0 %).
- 19 and 21 to 24 end with the budget of their requests (3.2, 6.3, 5.8, 3.3 and 3.5 %), between a rate that is accepted
  and the load of 1, or what short runs refuse: at loads of 0.89 to 0.99 a trial takes a fifth to the whole of it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import capacity as cap

MINE = str(Path(__file__).parents[1] / "docs" / "examples" / "mine.csv")
T4, A100, V100 = "resnet50-t4-fp16", "resnet50-a100-fp16", "resnet50-v100-fp16"
LLAMA, QWEN = "llama-3.1-8b-rtx-pro-6000-bf16", "qwen3-32b-rtx-pro-6000-bf16"
CHAT = "input=lognormal:mean=512,cv=1;output=geometric:mean=200"
SHORT = "input=constant:200;output=geometric:mean=50"
GREEDY = {"batch_wait": "0ms"}
QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (T4, {"rate": "300rps", "slo_p99": "20ms"}),
    (T4, {"rate": "3200rps", "slo_p99": "40ms"}),
    (T4, {"rate": "3200rps", "slo_p99": "40ms", "survive": "n-1"}),
    (T4, {"rate": "900rps", "slo_p95": "15ms", **GREEDY}),
    (T4, {"rate": "900rps", "slo_p99": "60ms", "routing": "least-outstanding", **GREEDY}),
    (T4, {"rate": "1500rps", "slo_p99": "50ms", "arrivals": "gamma:cv=2", **GREEDY}),
    (MINE, {"rate": "600rps", "slo_p99": "90ms", "survive": "zone:3", **GREEDY}),
    (MINE, {"rate": "600rps", "slo_p99": "80ms", "survive": "zone:3", **GREEDY}),
    (MINE, {"rate": "316rps", "slo_p99": "100ms", "batch_size_max": 1}),
    (MINE, {"rate": "900rps", "slo_p95": "40ms", **GREEDY}),
    (MINE, {"rate": "120rps", "slo_p99": "80ms"}),
    (MINE, {"rate": "2000rps", "slo_p99": "60ms", "routing": "power-of-two", **GREEDY}),
    (V100, {"rate": "1200rps", "slo_p99": "25ms"}),
    (A100, {"rate": "2500rps", "slo_p99": "30ms", **GREEDY}),
    (A100, {"rate": "50000rps", "slo_p99": "30ms", **GREEDY}),
    ("serve-mlp-cpu-int8", {"rate": "2000rps", "slo_p99": "15ms", **GREEDY}),
    ("serve-logistic-cpu-fp32", {"rate": "5000rps", "slo_p99": "5ms", **GREEDY}),
    ("bert-large-384-l40s-int8", {"rate": "400rps", "slo_p99": "60ms", **GREEDY}),
    ("jasper-7s-t4-fp16", {"rate": "60rps", "slo_p99": "300ms", "survive": "n-1", **GREEDY}),
    ("tft-electricity-t4-fp16", {"rate": "5000rps", "slo_p99": "50ms", **GREEDY}),
    (T4, {"rate": "700rps", "slo_p99": "30ms", "queue_limit": 64, "loss_max": "1%", **GREEDY}),
    (LLAMA, {"rate": "6rps", "lengths": CHAT, "slo_ttft_p99": "1s"}),
    (LLAMA, {"rate": "60rps", "lengths": SHORT, "slo_ttft_p99": "300ms"}),
    (LLAMA, {"rate": "40rps", "lengths": CHAT, "slo_tpot_p99": "40ms", "slo_ttft_p99": "2s"}),
    (QWEN, {"rate": "8rps", "lengths": SHORT, "slo_ttft_p90": "500ms", "kv_tokens": 100_000}),
)
DECIDED, WIDE, DECIDED_MIN = 0.02, 0.10, 20


def shown(number: int) -> float:
    """Plan one question, print its line, and return the distance of the ends as a share of the lower one."""
    profile, asked = QUESTIONS[number]
    started_s = time.process_time()
    found = cap.plan(profile, workers=1, **asked)
    spent_s, headroom = time.process_time() - started_s, found.recommendation.headroom
    if headroom is None:
        print(f"{number:3} {profile[:24]:24} no plan, {found.verdict}", flush=True)
        return 1.0
    width = headroom.refused_rps / headroom.accepted_rps - 1.0
    print(
        f"{number:3} {Path(profile).name[:24]:24} {headroom.today_rps:8g} {headroom.accepted_rps:10.5g} "
        f"{headroom.refused_rps:10.5g} rps {100.0 * width:6.2f} % {headroom.doubt or '':8} {spent_s:6.1f} CPU s",
        flush=True,
    )
    return width


def main() -> int:
    """Plan all questions, or some."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", type=int, nargs="*", default=range(len(QUESTIONS)))
    widths = [shown(number) for number in parser.parse_args().only]
    decided, widest = sum(width <= DECIDED for width in widths), max(widths)
    print(f"{decided} of {len(widths)} within {100 * DECIDED:g} %; the widest is {100.0 * widest:.3g} %")
    return int(decided < len(widths) * DECIDED_MIN / len(QUESTIONS) or widest > WIDE)


if __name__ == "__main__":
    sys.exit(main())
