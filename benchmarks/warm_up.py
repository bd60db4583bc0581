"""Warm-up: compares estimates from runs cut by MSER-5 with a fixed cut.

    python benchmarks/warm_up.py

It runs M/M/2 at load 0.8, whose mean wait and P99 are known exactly. Each run is cut after ten relaxation times, and
once more where MSER-5 says so if that is later (half of the run at most).

Source of MSER-5: White (1997), Simulation 69(6), with means of five.
"""

import math

import numpy as np

from capacity.question.plan import Routing
from capacity.queues.markov.mmc import MMc
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed, draw
from simulations.draws.records import Floats
from simulations.draws.service import ExponentialTimes
from simulations.kernel.serve import run
from simulations.statistics.relaxation import RELAXATIONS, relaxation_requests

RUNS = 240
COUNTED = 10_000
LAW = MMc(arrival_rate_rps=1.6, service_rate_rps=1.0, servers=2)
PLAN = BatchPlan(profile="exponential", replicas=2, batch_size_max=1, routing=Routing.SHARED_QUEUE)
WARM_UP = math.ceil(RELAXATIONS * relaxation_requests(LAW.utilization, 1, LAW.offered_load, 2.0))


def mser5_cut(series: Floats) -> int:
    """The d that minimises the variance of the mean of what is left, Σ(Z_j - Z̄)²/(k - d)², over d < k/2."""
    means = series[: len(series) // 5 * 5].reshape(-1, 5).mean(axis=1)
    means = means - means.mean()
    left = len(means) - np.arange(len(means) // 2)
    sums = np.cumsum(means[::-1])[::-1][: len(left)]
    squares = np.cumsum(means[::-1] ** 2)[::-1][: len(left)]
    return 5 * int(np.argmin((squares - sums**2 / left) / left.astype(float) ** 2))


def deviation(estimates: list[float], pooled: float, exact: float) -> str:
    """The estimate beside theory, in per cent and in standard errors of sectioning."""
    error = math.sqrt(sum((x - pooled) ** 2 for x in estimates) / (len(estimates) - 1) / len(estimates))
    return f"{100 * (pooled / exact - 1):+6.2f} % {(pooled - exact) / error:+6.1f} SE"


def p99_of(responses_s: Floats) -> float:
    return float(np.quantile(responses_s, 0.99, method="inverted_cdf"))


def report(name: str, cut: list[tuple[Floats, Floats]]) -> None:
    waits, responses = ([pair[i] for pair in cut] for i in (0, 1))
    mean = deviation([float(x.mean()) for x in waits], float(np.concatenate(waits).mean()), LAW.wait_mean_s)
    p99 = deviation(
        [p99_of(x) for x in responses], p99_of(np.concatenate(responses)), LAW.response_quantile_s(0.99)
    )
    print(f"{name:26} mean wait {mean}   P99 {p99}")


def main() -> None:
    fixed, chosen = [], []
    for number in range(RUNS):
        draws = draw(Workload(arrival_rate_rps=1.6), WARM_UP + COUNTED, Seed(value=0, replication=number))
        records = run(PLAN, ExponentialTimes(1.0), draws)
        start = max(WARM_UP, mser5_cut(records.response_s))
        fixed.append((records.wait_s[WARM_UP:], records.response_s[WARM_UP:]))
        chosen.append((records.wait_s[start:], records.response_s[start:]))
    print(f"M/M/2, load 0.8, {RUNS} runs of {WARM_UP} + {COUNTED} requests; against theory")
    report("ten relaxation times", fixed)
    report("MSER-5, but those at least", chosen)


if __name__ == "__main__":
    main()
