"""Pairs: which verbs answer in which worlds, each asked by its command with a small budget.

    python benchmarks/pairs.py [word ...]     # only the pairs whose verb or world holds a word

A pair answers if its command exits with 0, 3 or 4; 2 is a refusal, whose first line is printed, and 1 a bug. Pairs that
have no meaning are left out, as `REFUSED` says why. Exits with 1 if a command fails with an internal error.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
_LIMIT_S = 120.0
_SMALL = ["--requests-max", "3000000", "--precision", "0.2"]

BATCH = ["--profile", "resnet50-t4-fp16"]
ENGINE = [
    "--profile",
    "llama-3.1-8b-rtx-pro-6000-bf16",
    "--lengths",
    "input=lognormal:mean=512,cv=1;output=geometric:mean=100",
]
DAY = ["--daily", str(EXAMPLES / "day.csv")]
# A 400th of that day, which has its busiest hour at 8 rps.
_FOLDER = tempfile.TemporaryDirectory()
TOKEN_DAY = ["--daily", str(Path(_FOLDER.name) / "small-day.csv")]
Path(TOKEN_DAY[1]).write_text(
    "time,rate_rps\n00:00,0.75\n06:00,2.25\n09:00,6.25\n12:00,8\n15:00,6.5\n20:00,3\n", encoding="utf-8"
)
TRACE = ["--arrivals", f"trace:{EXAMPLES / 'bursts.csv'}"]
TOKEN_TRACE = ["--arrivals", f"trace:{EXAMPLES / 'llm-requests.csv'}"]
RETRIES = ["--timeout", "500ms", "--attempts", "3"]
HEDGES = ["--hedge", "50ms"]
BREAKDOWNS = ["--mtbf", "24h", "--recovery-time", "60s"]
CACHE = ["--kv-tokens", "171536"]  # which one of the two profiles does not say
PRICES = [
    f"--hourly-usd={name}={usd}"
    for name, usd in (("llama-3.1-8b-rtx-pro-6000-bf16", 1), ("qwen3-32b-rtx-pro-6000-bf16", 2))
]
SLOTS = ["--engine-policy", "llama-cpp", "--context-tokens-max", "600"]  # as long as the share of a slot
CONTROLLER = ["--autoscale", "utilization:0.6"]
# Of a day with an autoscaler, each of whose requests is simulated, many times over in some verbs.
PART, TOKEN_PART = ["--between", "08:00-08:20"], ["--between", "09:00-11:00"]
_OF_PARTS = ("simulate", "sweep", "compare", "max-rate", "curve")

# By world: the server, what arrives, and everything else that the scenario has.
WORLDS = {
    "batch: Poisson": (BATCH, ["--rate", "500rps"], []),
    "batch: trace": (BATCH, TRACE, []),
    "batch: users": (BATCH, ["--users", "40", "--think-time", "100ms"], []),
    "batch: day": (BATCH, DAY, []),
    "batch: queue limit": (BATCH, ["--rate", "500rps"], ["--queue-limit", "64"]),
    "batch: ray-serve": (BATCH, ["--rate", "500rps"], ["--batching", "ray-serve"]),
    "batch: shared device": (BATCH, ["--rate", "500rps"], ["--instances-per-device", "2"]),
    "batch: retries": (BATCH, ["--rate", "500rps"], RETRIES),
    "batch: hedges": (BATCH, ["--rate", "500rps"], HEDGES),
    "batch: breakdowns": (BATCH, ["--rate", "500rps"], BREAKDOWNS),
    "batch: autoscaled": (BATCH, DAY, CONTROLLER),
    "batch: two devices": ([*BATCH, "--profile", "resnet50-a100-fp16"], ["--rate", "500rps"], []),
    "token: Poisson": (ENGINE, ["--rate", "8rps"], []),
    "token: trace": (ENGINE[:2], TOKEN_TRACE, []),
    "token: users": (ENGINE, ["--users", "40", "--think-time", "5s"], []),
    "token: day": (ENGINE, TOKEN_DAY, []),
    "token: queue limit": (ENGINE, ["--rate", "8rps"], ["--queue-limit", "64"]),
    "token: retries": (ENGINE, ["--rate", "8rps"], ["--timeout", "20s", "--attempts", "3"]),
    "token: breakdowns": (ENGINE, ["--rate", "8rps"], BREAKDOWNS),
    "token: survive n-1": (ENGINE, ["--rate", "8rps"], ["--survive", "n-1"]),
    "token: autoscaled": (ENGINE, TOKEN_DAY, CONTROLLER),
    "token: llama.cpp": ([*ENGINE, *SLOTS], ["--rate", "2rps"], []),
    "token: two engines": (
        [*ENGINE, "--profile", "qwen3-32b-rtx-pro-6000-bf16", *CACHE],
        ["--rate", "8rps"],
        [],
    ),
}
VERBS = ("plan", "max-rate", "simulate", "sweep", "compare", "curve", "stress", "autoscale")
SAVED = ("check", "explain", "report", "render", "stress", "autoscale")

# What has no meaning, by the reason.
REFUSED = {
    "a trace and closed users have no rate to come back to": {("stress", "trace"), ("stress", "users")},
    "the rate of a stress is asked for, not a day": {("stress", "day"), ("stress", "autoscaled")},
    "closed users have no rate that a controller follows": {("autoscale", "users")},
    "a controller follows a day": {("autoscale", "trace")},
    "no target is for closed users": {("render", "users")},
    "one fleet is asked about": {
        (verb, f"two {what}")
        for verb in ("simulate", "max-rate", "curve", "stress", "autoscale")
        for what in ("devices", "engines")
    },
}  # fmt: skip


def is_refused(verb: str, world: str) -> bool:
    kind = world.partition(": ")[2]
    return any((verb, kind) in pairs for pairs in REFUSED.values())


# The traces have 4000 and 300 requests, too few for a P99.
_OF_TRACES = {"batch: trace": ["--slo-p95", "60ms"], "token: trace": ["--slo-ttft-p50", "3s"]}
_QUANTILES = {"batch: trace": ["--quantile", "0.95"], "token: trace": ["--quantile", "0.5"]}


def objective(world: str) -> list[str]:
    if world in _OF_TRACES:
        return _OF_TRACES[world]
    return ["--slo-p99", "60ms"] if world.startswith("batch") else ["--slo-ttft-p99", "3s"]


def command(verb: str, world: str) -> list[str]:
    """A verb in a world, from flags."""
    server, traffic, rest = WORLDS[world]
    few = 3 if traffic == DAY else 2  # replicas that can serve its highest rate
    size, slo = ["--replicas", str(few)], objective(world)
    day = [] if "--daily" in traffic else DAY if world.startswith("batch") else TOKEN_DAY
    if rest == CONTROLLER and verb in _OF_PARTS:
        rest = [*rest, *(PART if world.startswith("batch") else TOKEN_PART)]
    rest = [*rest, *(_QUANTILES.get(world, []) if verb in ("simulate", "sweep", "compare", "curve") else [])]
    match verb:
        case "plan":
            prices = PRICES if world == "token: two engines" else []
            return [verb, *server, *traffic, *slo, *rest, *prices, *_SMALL]
        case "max-rate":
            scaled = [] if "--rate" in traffic else traffic
            return [verb, *server, *size, *scaled, *slo, *rest, *_SMALL]
        case "curve":
            scaled = [] if "--rate" in traffic else traffic
            return [verb, *server, *size, *scaled, *rest, *_SMALL]
        case "simulate" | "sweep":
            return [verb, *server, *size, *traffic, *rest, *_SMALL]
        case "compare":
            fleets = ["--fleet", f"replicas={few}", "--fleet", f"replicas={few + 1}"]
            return [verb, *server, *fleets, *traffic, *rest, *_SMALL]
        case "stress":
            waits = [] if "--timeout" in rest else ["--timeout", "10s"]
            return [verb, *server, *size, *traffic, *rest, "--trigger", "spike:2x,10s", *waits]
        case _:
            usual = [] if rest == CONTROLLER else CONTROLLER
            only = [*traffic] if "--daily" in traffic else day
            part = PART if world.startswith("batch") else TOKEN_PART
            return [verb, *server, *only, *part, *slo, *rest, *usual, "--only-verdict", "--runs", "2"]


def from_saved(verb: str, world: str, folder: Path) -> list[str]:
    """A verb of a saved plan."""
    plan = str(folder / "plan.json")
    match verb:
        case "report":
            return [verb, plan, "-o", str(folder / "report.html")]
        case "render":
            engines = "llama-server" if world == "token: llama.cpp" else "vllm"
            target, file = ("kubernetes", "yaml") if world.startswith("batch") else (engines, "sh")
            return [verb, plan, "--target", target, "-o", str(folder / f"rendered.{file}")]
        case "stress":
            return [verb, "--plan", plan, "--trigger", "spike:2x,10s", "--timeout", "10s"]
        case "autoscale":
            day = [*DAY, *PART] if world.startswith("batch") else [*TOKEN_DAY, *TOKEN_PART]
            return [verb, "--plan", plan, *day, *CONTROLLER, "--only-verdict", "--runs", "2"]
        case "check":
            return [verb, "--plan", plan]
        case _:
            return [verb, plan]


# What an answer says if it knows the world; without it, it is one about another world.
FIGURES = {
    "retries": ("attempt",),
    "hedges": ("attempt",),
    "breakdowns": ("broken down at once", "with breakdowns", "--mtbf"),
    "survive n-1": ("1 replica gone", "--spare 1"),
}


def run(arguments: list[str], figures: tuple[str, ...] = ()) -> tuple[int, str, float]:
    """Exit code, the first line of an error, and seconds; 2 if the answer holds none of the world's figures."""
    begun_s = time.monotonic()
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("capacity")), *arguments], capture_output=True, text=True,
            timeout=_LIMIT_S, check=False, env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {_LIMIT_S:g} s", _LIMIT_S
    told = done.stdout
    if "-o" in arguments and (written := Path(arguments[arguments.index("-o") + 1])).exists():
        told += written.read_text(encoding="utf-8")
    told = " ".join(told.split())
    if figures and not any(figure in told for figure in figures) and done.returncode in (0, 3, 4):
        return 2, f"an answer without {figures[0]}", time.monotonic() - begun_s
    errors = [line for line in done.stderr.splitlines() if "rror" in line]
    return done.returncode, (errors or [""])[0][:150], time.monotonic() - begun_s


def asked(verb: str, world: str, *, is_saved: bool) -> tuple[int, str, float]:
    """What becomes of a pair."""
    figures = FIGURES.get(world.partition(": ")[2], ())
    if not is_saved:
        return run(command(verb, world), figures)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code, error, took_s = run([*command("plan", world), "-o", str(folder / "plan.json")])
        if not (folder / "plan.json").exists():
            return 2 if code == 2 else max(code, 3), f"no plan: {error}", took_s
        return run(from_saved(verb, world, folder), figures)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    pairs = [(verb, world, False) for verb, world in product(VERBS, WORLDS)]
    pairs += [(verb, world, True) for verb, world in product(SAVED, WORLDS)]
    pairs = [
        one for one in pairs
        if not is_refused(*one[:2]) and (not words or any(word in f"{one[0]} {one[1]}" for word in words))
    ]  # fmt: skip
    counts: Counter[int] = Counter()
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda one: asked(one[0], one[1], is_saved=one[2]), pairs)
        for (verb, world, is_saved), (code, error, took_s) in zip(pairs, found, strict=True):
            kept = " of a saved plan" if is_saved else ""
            print(f"{code:3d} {took_s:5.1f} s  {verb}{kept}, {world}: {error}", flush=True)
            counts[code] += 1
    answered = counts[0] + counts[3] + counts[4]
    print(
        f"{answered} of {len(pairs)} pairs answer, {counts[2]} are refused, {counts[1]} are bugs, "
        f"{counts[124]} take too long"
    )
    sys.exit(1 if counts[1] else 0)


if __name__ == "__main__":
    main()
