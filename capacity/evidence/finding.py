"""Finding: what one check says of one run."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from capacity.formats.load_test import LoadRun


class Belief(StrEnum):
    """Whether figures may be used.

    HOLDS: as they are.
    DOUBTFUL: with care; the message says what they are not.
    BROKEN: not for what they are called; the message says by how much.
    UNKNOWN: the file does not say enough.
    """

    HOLDS = "holds"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """What one check says of one run.

    Attributes:
        check: its name, such as `coordinated-omission`.
        run: name of the run; empty where it is about the whole file.
        message: what was found, with numbers.
        fix: what to do; empty where nothing is to be done.
        numbers: the numbers behind it, by name with unit.
    """

    check: str
    run: str
    belief: Belief
    message: str
    fix: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


# Requests beyond a quantile, below which it is little known.
FEW = 10
# Checks without which nothing is established.
_NEEDED = ("samples", "coordinated-omission")


def verdict_of(findings: Iterable[CheckFinding]) -> Belief:
    """Broken if anything is, else doubtful if anything is, else unknown if what is needed is not known."""
    found = list(findings)
    for one in (Belief.BROKEN, Belief.DOUBTFUL):
        if any(finding.belief is one for finding in found):
            return one
    unknown = [finding for finding in found if finding.belief is Belief.UNKNOWN and finding.check in _NEEDED]
    return Belief.UNKNOWN if unknown or not found else Belief.HOLDS


def finding_of(
    run: LoadRun,
    check: str,
    belief: Belief,
    message: str,
    fix: str = "",
    numbers: Mapping[str, float | None] | None = None,
) -> CheckFinding:
    """The finding of a check of one run; of its numbers those that are known and finite."""
    given = (numbers or {}).items()
    known = {name: float(value) for name, value in given if value is not None and math.isfinite(value)}
    return CheckFinding(check=check, run=run.name, belief=belief, message=message, fix=fix, numbers=known)


def decisive(run: LoadRun) -> float:
    """P99 where it is reported, else the highest percentile below the maximum.

    Where all single requests are there, and nothing claims a P99 that they are too few for, it is P95 if they tell it.
    """
    count = 0 if run.samples is None else len(run.samples.response_s)
    if beyond(count, 0.99) < FEW <= beyond(count, 0.95) and 0.95 in run.quantiles_s:
        return 0.95
    if 0.99 in run.quantiles_s:
        return 0.99
    return max((q for q in run.quantiles_s if q < 1.0), default=0.99)


def beyond(count: int, quantile: float) -> float:
    """Requests beyond a quantile, free of rounding: 100 * (1 - 0.9) is below 10."""
    return round(count * (1.0 - quantile), 9)
