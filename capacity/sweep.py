"""Sweep: what became of each cell of a grid of scenarios."""

from dataclasses import dataclass
from enum import StrEnum

from capacity.performance import Performance


class Outcome(StrEnum):
    """What became of a cell.

    ANSWERED: it has numbers.
    UNSTABLE: it has no steady state, so no numbers.
    PROFILE_RANGE: the profile does not cover its batches.
    INCONCLUSIVE: the budget, or the trace, did not suffice for numbers with intervals.
    """

    ANSWERED = "answered"
    UNSTABLE = "unstable"
    PROFILE_RANGE = "profile_range"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The performance of a cell, or the reason why it has none."""

    outcome: Outcome
    reason: str = ""
    performance: Performance | None = None
