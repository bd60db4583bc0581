"""Ordinary questions: how long `capacity plan` takes for what people ask, and whether its plans stay the same.

    python benchmarks/ordinary_questions.py record FOLDER [--draw N] [--seed S]
    python benchmarks/ordinary_questions.py compare BEFORE AFTER

Seven profiles, four rates and ten kinds of question; a draw without replacement asks some of them, each in one thread.
`record` keeps each answer with the seconds that it took, skips those that the folder has, and prints a summary;
`compare` names the questions whose plan, or whose verdict, is another one.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

CAPACITY = Path(sys.executable).with_name("capacity")
# Profiles, each with the limit on P99: four to six times a batch of 8.
PROFILES = {
    "bert-base-128-l40s-int8": "3ms",
    "gpunet-065ms-a100-fp16": "6ms",
    "resnet50-a100-fp16": "18ms",
    "resnet50-t4-fp16": "40ms",
    "resnet50-v100-fp16": "26ms",
    "serve-mlp-cpu-int8": "18ms",
    "tft-electricity-t4-fp16": "14ms",
}
RATES = ("20rps", "400rps", "6000rps", "40000rps")
KINDS = {
    "plain": [],
    "n-1": ["--survive", "n-1"],
    "gamma": ["--arrivals", "gamma:cv=3"],
    "random": ["--routing", "random"],
    "least outstanding": ["--routing", "least-outstanding"],
    "queue limit": ["--queue-limit", "64", "--loss-max", "0.1%"],
    "spike": ["--spike", "2x", "--startup-time", "10s"],
    "mmpp": ["--arrivals", "mmpp:ratio=4,burst=20s,calm=100s"],
    "zone and rollout": ["--survive", "zone:3", "--rolling-update", "max-unavailable=25%"],
    "batch wait": ["--batch-wait", "2ms"],
}
_LIMIT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to `capacity plan`."""

    profile: str
    rate: str
    kind: str

    @property
    def words(self) -> list[str]:
        """The command, from `plan` on."""
        asked = ["--profile", self.profile, "--rate", self.rate, "--slo-p99", PROFILES[self.profile]]
        return ["plan", *asked, *KINDS[self.kind], "--workers", "1", "--json"]

    @property
    def name(self) -> str:
        """A name for a file."""
        return f"{self.profile}_{self.rate}_{self.kind.replace(' ', '-')}"


def drawn(count: int, seed: int) -> list[Question]:
    """Some of all questions, without replacement; fewer are the first of more."""
    all_of_them = [
        Question(profile=profile, rate=rate, kind=kind)
        for profile, rate, kind in product(PROFILES, RATES, KINDS)
    ]
    random.Random(seed).shuffle(all_of_them)
    return all_of_them[:count]


def asked(question: Question) -> dict[str, Any]:
    """The answer, with the seconds of the clock and of the processor."""
    before, begun_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run(
            [CAPACITY, *question.words], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        code, told = (
            done.returncode,
            json.loads(done.stdout) if done.stdout else {"error": done.stderr[-500:]},
        )
    except subprocess.TimeoutExpired:
        code, told = 124, {"error": f"no answer in {_LIMIT_S:g} s"}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {
        "command": ["capacity", *question.words],
        "exit_code": code,
        "wall_s": round(time.monotonic() - begun_s, 2),
        "cpu_s": round(cpu_s, 2),
        "answer": told,
    }


def record(folder: Path, questions: list[Question]) -> None:
    """Ask what the folder has no answer to, and summarise."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for question in questions:
        file = folder / f"{question.name}.json"
        if not file.exists():
            file.write_text(json.dumps(asked(question)), encoding="utf-8")
        kept.append(json.loads(file.read_text(encoding="utf-8")))
        print(line(question.name, kept[-1]), flush=True)
    print(summary(kept))


def line(name: str, one: dict[str, Any]) -> str:
    """An answer in one line."""
    return f"{one['wall_s']:6.1f} s {one['cpu_s']:6.1f} CPU s  {name}: {plan_of(one)}"


def plan_of(one: dict[str, Any]) -> str:
    """The plan of an answer, or its verdict."""
    plan = one["answer"].get("recommendation")
    if plan is None:
        return f"exit {one['exit_code']}"
    wait = f", wait {1000.0 * plan['batch_wait_max_s']:.3g} ms" if plan["batch_wait_max_s"] else ""
    return f"{plan['replicas']} x batch {plan['batch_size_max']}{wait}, {plan['routing']}"


def is_in_doubt(one: dict[str, Any]) -> bool:
    """Whether the headroom of a plan ends in a doubt."""
    return any(caveat["code"] == "headroom_in_doubt" for caveat in one["answer"].get("caveats", ()))


def summary(kept: list[dict[str, Any]]) -> str:
    """Plans found, and the seconds they took."""
    walls_s = sorted(one["wall_s"] for one in kept)
    plans = sum(one["answer"].get("recommendation") is not None for one in kept)
    doubts = sum(map(is_in_doubt, kept))
    return (
        f"{plans} of {len(kept)} get a plan; median {statistics.median(walls_s):.1f} s, "
        f"P90 {walls_s[int(0.9 * len(walls_s))]:.1f} s, largest {walls_s[-1]:.1f} s; "
        f"headroom in doubt in {doubts}; {sum(one['cpu_s'] for one in kept):.0f} CPU s in all"
    )


def compare(before: Path, after: Path) -> None:
    """The questions that both folders answer, where the plans differ."""
    names = sorted(
        {file.name for file in before.glob("*.json")} & {file.name for file in after.glob("*.json")}
    )
    pairs = [
        (name, *(json.loads((folder / name).read_text(encoding="utf-8")) for folder in (before, after)))
        for name in names
    ]
    differ = [(name, old, new) for name, old, new in pairs if plan_of(old) != plan_of(new)]
    for name, old, new in differ:
        print(f"{name.removesuffix('.json')}: {plan_of(old)} -> {plan_of(new)}")
    olds_s, news_s = (sum(pair[place]["cpu_s"] for pair in pairs) for place in (1, 2))
    print(f"{len(differ)} of {len(pairs)} plans differ; {olds_s:.0f} -> {news_s:.0f} CPU s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--draw", type=int, default=99)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.action == "compare":
        compare(*given.folders)
    else:
        record(given.folders[0], drawn(given.draw, given.seed))


if __name__ == "__main__":
    main()
