"""Rests: what a batch takes longer where its replica rested before, and how that is seen.

Caches were given to others, clocks went down, threads went to sleep: the first batch after a rest pays for
it, and a queue meets such batches the more often the less it is loaded.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from capacity.performance import Interval
from measurements.mean_interval import sections, student_t, variance
from measurements.timed_batch import TimedBatch

Rest = Callable[[float], None]
_PAUSE_MAX_S = 1.0
_SECTIONS = 20
PAIRS_MIN = 20  # below which there is no telling


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two batches of one size and one round."""

    awake: TimedBatch
    rested: TimedBatch


def as_long_again(seed: int, sleep: Callable[[float], None] = time.sleep) -> Rest:
    """Pauses of random length, exponential, on average as long as what was before: a load of one half."""
    dice = random.Random(f"rests-{seed}")  # noqa: S311  (nothing secret)

    def rest(last_s: float) -> None:
        sleep(min(_PAUSE_MAX_S, dice.expovariate(1.0) * last_s))

    return rest


def wake(pairs: Sequence[Pair], confidence: float) -> Interval | None:
    """How much longer the rested ones took; None of a few. [s]

    Of medians over sections, since a batch that stalled on either side tells nothing of rests, and since
    rounds that follow each other are alike.
    """
    if len(pairs) < PAIRS_MIN:
        return None
    longer_s = [pair.rested.service_s - pair.awake.service_s for pair in pairs]
    middles_s = [median(section) for section in sections(longer_s, _SECTIONS)]
    value_s = math.fsum(middles_s) / len(middles_s)
    half_s = student_t(confidence, len(middles_s) - 1) * math.sqrt(variance(middles_s) / len(middles_s))
    return Interval(value=value_s, low=value_s - half_s, high=value_s + half_s)


def wake_s(found: Interval | None) -> float:
    """What a profile takes: nothing where chance explains it. [s]"""
    return found.value if found is not None and found.low > 0.0 else 0.0
