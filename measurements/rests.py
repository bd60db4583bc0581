"""Rests: what a batch takes longer where its replica rested before, and how that is seen.

Caches were given to others, clocks went down, threads went to sleep: the first batch after a rest pays for
it, and a queue meets such batches the more often the less it is loaded. A single rest after a busy stretch
shows little of it; so batches are served in a row with rests before each, as a queue of a low load has them.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from capacity.performance import Interval
from measurements.mean_interval import student_t, variance
from measurements.timed_batch import TimedBatch

Rest = Callable[[float], None]
# A rest is on average so many times as long as the batch before it: a load of a quarter.
_TIMES_AS_LONG = 3.0
_PAUSE_MAX_S = 1.0
NAPS_MAX, BATCHES_A_NAP = 30, 10
NAPS_MIN = 5  # below which there is no telling


@dataclass(frozen=True, slots=True, kw_only=True)
class Nap:
    """Batches of one size: those without a rest, and then some with a rest before each."""

    awake: tuple[TimedBatch, ...]
    rested: tuple[TimedBatch, ...]

    @property
    def longer_s(self) -> float:
        """How much longer the usual rested one took. [s]"""
        return median(one.service_s for one in self.rested) - median(one.service_s for one in self.awake)


def rests(seed: int, sleep: Callable[[float], None] = time.sleep) -> Rest:
    """Pauses of random length, exponential, by what was before."""
    dice = random.Random(f"rests-{seed}")  # noqa: S311  (nothing secret)

    def rest(last_s: float) -> None:
        sleep(min(_PAUSE_MAX_S, dice.expovariate(1.0) * _TIMES_AS_LONG * last_s))

    return rest


def naps_after(samples: int) -> Iterator[bool]:
    """After each round, whether a nap follows: all over the rounds, and not after each of many."""
    naps = min(NAPS_MAX, math.ceil(samples / BATCHES_A_NAP))
    for number in range(samples):
        yield (number + 1) * naps // samples > number * naps // samples


def wake(naps: Sequence[Nap], confidence: float) -> Interval | None:
    """How much longer rested batches take; None of a few naps. [s]

    By Student's t over naps, each held against what was served just before it, since a machine drifts; of
    medians, since a batch that stalled tells nothing of rests.
    """
    if len(naps) < NAPS_MIN:
        return None
    longer_s = [nap.longer_s for nap in naps]
    value_s = math.fsum(longer_s) / len(longer_s)
    half_s = student_t(confidence, len(longer_s) - 1) * math.sqrt(variance(longer_s) / len(longer_s))
    return Interval(value=value_s, low=value_s - half_s, high=value_s + half_s)


def wake_s(found: Interval | None) -> float:
    """What a profile takes: nothing where chance explains it. [s]"""
    return found.value if found is not None and found.low > 0.0 else 0.0
