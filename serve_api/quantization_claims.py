"""Quantization claims: what is commonly said of eight bits, each held against what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from capacity.performance import Interval
from serve_api.interleaved_times import BatchTime
from serve_api.quantization_effect import Effect

MEMORY_RATIO_MIN, SPEEDUP_MIN, ACCURACY_LOSS_POINTS_MAX = 4.0, 2.0, 0.5
# A file is never four times as small to the last byte, as scales and a graph stay.
_MEMORY_SLACK = 0.05


class Verdict(StrEnum):
    """What a measurement says of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "cannot be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim about one model.

    Attributes:
        what: is claimed: `file, 4 times as small`.
        model: name of the form of the model.
        limit: that was claimed.
        at_least: whether the limit is the least that is claimed; else what is found must stay below it.
        slack: by which what is found may be less than the least.
        found: what was measured, with its 95 % interval where chance is in it: of times, and of rows.
    """

    what: str
    model: str
    limit: float
    at_least: bool
    found: Interval
    slack: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Whether all of the interval keeps the claim, none of it does, or some."""
        kept = {self._is_kept(end) for end in (self.found.low, self.found.high)}
        if len(kept) > 1:
            return Verdict.UNDECIDED
        return Verdict.HOLDS if kept == {True} else Verdict.FAILS

    def _is_kept(self, value: float) -> bool:
        return value >= self.limit - self.slack if self.at_least else value < self.limit


def claims(effects: Iterable[Effect], times: Iterable[BatchTime]) -> list[Claim]:
    """Four times as small, half a percent of accuracy at most, and twice as fast at every batch size."""
    found = []
    for effect in effects:
        found += [_memory(effect), _accuracy(effect)]
    return found + [_speed(batch_time) for batch_time in times]


def _memory(effect: Effect) -> Claim:
    return Claim(
        what="file: 4x smaller",
        model=effect.name,
        limit=MEMORY_RATIO_MIN,
        at_least=True,
        found=Interval.exact(effect.file_ratio),
        slack=_MEMORY_SLACK,
    )


def _accuracy(effect: Effect) -> Claim:
    return Claim(
        what="accuracy: less than 0.5 points lost",
        model=effect.name,
        limit=ACCURACY_LOSS_POINTS_MAX,
        at_least=False,
        found=effect.accuracy_loss_points,
    )


def _speed(batch_time: BatchTime) -> Claim:
    return Claim(
        what=f"batch of {batch_time.batch_size}: 2x faster",
        model=batch_time.name,
        limit=SPEEDUP_MIN,
        at_least=True,
        found=batch_time.speedup,
    )
