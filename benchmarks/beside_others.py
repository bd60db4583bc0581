"""The answers of other planners to the same three questions, as the table of the README.

    python -m venv others && others/bin/pip install aiconfigurator service-capacity-modeling triton-model-analyzer
    python benchmarks/beside_others.py --others others/bin

None is a dependency, and theirs are many, so that they live in an environment of their own; one that is missing is
said to be. AISimulate, into which AIConfigurator moves, is named and not run: its package on the public registry
(0.12.0 to 0.13.0) is a placeholder that fetches the wheel from its vendor's own index. Model Analyzer is named and not
run either: it measures Triton on the GPU.
"""

import argparse
import json
import math
import platform
import re
import subprocess
import time
from pathlib import Path

import capacity as cap
from capacity.queues import MMc

PROFILE, RATE_RPS, THROUGHPUT_RPS, LIMIT_S = "resnet50-t4-fp16", 3200.0, 1278.0, 0.040
ENGINE, ENGINE_RATE_RPS, INPUT_TOKENS, OUTPUT_TOKENS = "llama-3.1-8b-rtx-pro-6000-bf16", 20, 1000, 200
PACKAGES = ("aiconfigurator", "aisimulate", "service-capacity-modeling", "triton-model-analyzer")

_VERSIONS = """
import importlib.metadata as metadata, json, sys
installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
print(json.dumps({name: installed.get(name) for name in sys.argv[1:]}))
"""
# The square-root rule (rate * time + quality * sqrt(rate * time)) of Netflix's model of stateless services.
_NETFLIX = """
import sys
from service_capacity_modeling.interface import CapacityDesires, QueryPattern, certain_float, certain_int
from service_capacity_modeling.models.common import sqrt_staffed_cores
rate_rps, service_ms = map(float, sys.argv[1:])
pattern = QueryPattern(
    estimated_read_per_second=certain_int(int(rate_rps)), estimated_write_per_second=certain_int(0),
    estimated_mean_read_latency_ms=certain_float(service_ms), estimated_mean_write_latency_ms=certain_float(service_ms),
)
print(*(sqrt_staffed_cores(CapacityDesires(service_tier=tier, query_pattern=pattern)) for tier in (0, 1, 2, 3)))
"""


def spreadsheet() -> int:
    """Replicas by rate over throughput."""
    return math.ceil(RATE_RPS / THROUGHPUT_RPS)


def staffing() -> tuple[int, float]:
    """Fewest servers of M/M/c that keep the limit, each as fast as a replica with full batches, and their P99. [s]"""
    servers = spreadsheet()
    while True:
        queue = MMc(arrival_rate_rps=RATE_RPS, service_rate_rps=THROUGHPUT_RPS, servers=servers)
        if (p99_s := queue.response_quantile_s(0.99)) <= LIMIT_S:
            return servers, p99_s
        servers += 1


def run(*words: str | Path) -> str:
    """What a tool prints. It runs for minutes at most."""
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=True, timeout=500
    ).stdout


def configurator(others: Path) -> str:
    """AIConfigurator's fewest GPUs for the language model, with the first token's and the other tokens' time."""
    shown = run(
        others / "aiconfigurator", "cli", "recommend", "--model-path", "meta-llama/Meta-Llama-3.1-8B",
        "--system", "rtx_pro_6000_server", "--backend", "vllm", "--target-request-rate", str(ENGINE_RATE_RPS),
        "--isl", str(INPUT_TOKENS), "--osl", str(OUTPUT_TOKENS), "--ttft", "2000", "--tpot", "60", "--no-color",
    )  # fmt: skip
    together, apart = (re.search(rf"{kind} GPUs needed: (\d+)", shown) for kind in ("(?<!dis)agg", "disagg"))
    figures = [re.search(rf"- {name}: ([\d.]+)", shown) for name in ("TTFT", "TPOT", "Request Rate")]
    if together is None or any(figure is None for figure in figures):
        return "prints no plan here"
    ttft, tpot, rate = (figure.group(1) for figure in figures if figure is not None)
    split = f", {apart.group(1)} if prefill and decode are apart" if apart else ""
    return f"{together.group(1)} GPUs{split}; TTFT {ttft} ms and TPOT {tpot} ms at the {rate} rps that fit, no quantile"


def ours() -> tuple[str, str, str]:
    """The answers of `capacity plan` to the three questions."""
    plan = cap.plan(PROFILE, rate=f"{RATE_RPS:g}rps", slo_p99="40ms")
    engines = cap.plan(
        ENGINE, rate=f"{ENGINE_RATE_RPS}rps", lengths=f"input=constant:{INPUT_TOKENS};output=constant:{OUTPUT_TOKENS}",
        slo_ttft_p99="2s", slo_tpot_p99="60ms",
    )  # fmt: skip
    batches, tokens = plan.to_dict(), engines.to_dict()
    p99 = batches["performance"]["response_quantiles_s"]["0.99"]
    first, others = (tokens["performance"][f"{name}_quantiles_s"]["0.99"] for name in ("ttft", "tpot"))
    chosen = batches["recommendation"]
    return (
        f"{chosen['replicas']}: P99 {_ms(p99)}",
        f"{tokens['recommendation']['replicas']} engines: P99 of TTFT {_ms(first)}, of TPOT {_ms(others)}; "
        f"one saturates at {tokens['saturation']['rate_rps']:.3g} rps",
        f"max_batch_size {chosen['batch_size_max']}, delay {chosen['batch_wait_max_s'] * 1e6:.0f} µs, from a profile",
    )


def _ms(interval: dict[str, float]) -> str:
    return f"{interval['value'] * 1e3:.3g} ({interval['low'] * 1e3:.3g} to {interval['high'] * 1e3:.3g}) ms"


def table(others: Path) -> str:
    """The table in Markdown, with versions, machine and day."""
    versions = json.loads(run(others / "python", "-c", _VERSIONS, *PACKAGES))
    plan, engines, settings = ours()
    servers, p99_s = staffing()
    square_root = "not installed"
    if versions["service-capacity-modeling"]:
        by_tier = run(others / "python", "-c", _NETFLIX, str(RATE_RPS), str(1e3 / THROUGHPUT_RPS)).split()
        square_root = f"{by_tier[-1]} to {by_tier[0]} by tier; its square-root rule uses no P99"
    found = configurator(others) if (others / "aiconfigurator").exists() else "not installed"
    rows = [
        ("", "replicas, 3200 rps, P99 <= 40 ms", "engines, 20 rps, 1000 + 200 tokens", "batch and delay"),
        ("---",) * 4,
        (f"capacity {cap.__version__}", plan, engines, settings),
        ("spreadsheet, rate / throughput", f"{spreadsheet()}; no P99", "-", "-"),
        (
            "spreadsheet, M/M/c",
            f"{servers}: P99 {p99_s * 1e3:.3g} ms, leaves out that batches form",
            "-",
            "-",
        ),
        (_named("service-capacity-modeling", versions, "Netflix's model"), square_root, "-", "-"),
        (_named("aiconfigurator", versions, "AIConfigurator"), "-", found, "-"),
        (_named("aisimulate", versions, "AISimulate"), "-", "not run: a simulator of engines", "-"),
        (
            _named("triton-model-analyzer", versions, "Model Analyzer"),
            "-",
            "-",
            "not run: measures Triton on the GPU",
        ),
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    day = time.strftime("%Y-%m-%d")
    stamp = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {day}"
    return f"{lines}\n\n`python benchmarks/beside_others.py --others others/bin`, {stamp}"


def _named(package: str, versions: dict[str, str | None], name: str) -> str:
    return f"{name} {versions[package] or '(not installed)'}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--others", type=Path, required=True, help="the bin folder of their environment")
    print(table(parser.parse_args().others))
