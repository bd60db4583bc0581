"""Contest: compares the P99 of contestants, and their speeds in alternating rounds."""

import gc
import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from systems import Contestant, Floats, System

from simulations.statistics.intervals import Estimate
from simulations.statistics.pool import SECTIONS

APART_MAX = 4.0  # standard errors between two estimates of one number
COUNTED_MIN = 1_000  # requests of one section
CHECK_SEED = 1_000  # first of the seeds that no round of timing uses
Times = dict[str, list[float]]  # CPU time of one request by contestant, round after round. [s]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of requests per second, over rounds: the median, the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def ratio(times_s: Times, above: str, below: str) -> Ratio:
    """Rate of `above` over that of `below`, each round by itself, so that what slows a round cancels."""
    rounds = [b / a for a, b in zip(times_s[above], times_s[below], strict=True)]
    return Ratio(statistics.median(rounds), min(rounds), max(rounds))


def stay_on_one_core() -> None:
    """Pin this process to one core if the system allows it; a process that moves loses its caches."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def race(contestants: Sequence[Contestant], rounds: int) -> Times:
    """CPU times of compiled contestants that take turns, round after round, with a seed for each round."""
    for contestant in contestants:
        contestant.run(0, COUNTED_MIN)
    times_s: Times = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        for contestant in contestants:
            times_s[contestant.name].append(_request_s(contestant, number))
    return times_s


def _request_s(contestant: Contestant, seed: int) -> float:
    gc.collect()
    begun_s = time.process_time()
    served = len(contestant.run(seed, contestant.requests))
    return (time.process_time() - begun_s) / served


def p99(contestant: Contestant, share: float) -> Estimate:
    """P99 of the responses of independent runs, its standard error from their scatter around the pooled one.

    Args:
        share: requests counted in each run, as a share of those in one round of timing.

    Source:
        Asmussen & Glynn (2007), Stochastic Simulation, sec. III.5a, as in `simulations.statistics.pool`.
    """
    warm_up = contestant.system.warm_up
    length = warm_up + max(COUNTED_MIN, int(share * contestant.requests))
    runs = [contestant.run(CHECK_SEED + k, length)[warm_up:] for k in range(SECTIONS)]
    pooled = _p99(np.concatenate(runs))
    return Estimate(value=pooled, standard_error=_scatter(runs, pooled), degrees=SECTIONS - 1)


def _p99(values: Floats) -> float:
    return float(np.quantile(values, 0.99, method="inverted_cdf"))


def _scatter(runs: Sequence[Floats], pooled: float) -> float:
    squares = math.fsum((_p99(run) - pooled) ** 2 for run in runs)
    return math.sqrt(squares / (len(runs) - 1) / len(runs))


def truth(system: System, contestants: Sequence[Contestant], estimates: dict[str, Estimate]) -> Estimate:
    """The exact value, or else the estimate from the most requests."""
    if system.p99_s is not None:
        return Estimate(value=system.p99_s, standard_error=0.0, degrees=1)
    return estimates[max(contestants, key=lambda contestant: contestant.requests).name]


def apart(estimate: Estimate, reference: Estimate) -> float:
    """Difference in combined standard errors; 0 for an estimate and itself."""
    error = math.hypot(estimate.standard_error, reference.standard_error)
    return 0.0 if estimate is reference else (estimate.value - reference.value) / error
