"""Finding: the result of one check on one run."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from capacity.formats.load_test import LoadRun


class Belief(StrEnum):
    """Whether figures can be used.

    HOLDS: they can.
    DOUBTFUL: with care; the message says what they are not.
    BROKEN: they are not what they are called; the message says by how much.
    UNKNOWN: the file does not say enough.
    """

    HOLDS = "holds"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """The result of one check on one run.

    Attributes:
        check: its name, such as `coordinated-omission`.
        run: name of the run; empty if the finding is about the whole file.
        message: the result, with numbers.
        fix: what to do; empty if nothing is to be done.
        numbers: the numbers behind it, by name with unit.
    """

    check: str
    run: str
    belief: Belief
    message: str
    fix: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


# Requests beyond a quantile, below which it is too uncertain.
FEW = 10
# Checks without which nothing is established.
_NEEDED = ("samples", "coordinated-omission")


def verdict_of(findings: Iterable[CheckFinding]) -> Belief:
    """Verdict on a file: broken, then doubtful, if any finding is; unknown if a necessary check lacks data."""
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
    """A finding about one run, with those of its numbers that are known and finite."""
    given = (numbers or {}).items()
    known = {name: float(value) for name, value in given if value is not None and math.isfinite(value)}
    return CheckFinding(check=check, run=run.name, belief=belief, message=message, fix=fix, numbers=known)


def decisive(run: LoadRun) -> float:
    """The quantile to judge by: P99 if it is reported, else the highest percentile below the maximum.

    If single requests are known, too few for P99, and no P99 is claimed: P95 if there are enough for that.
    """
    count = 0 if run.samples is None else len(run.samples.response_s)
    if beyond(count, 0.99) < FEW <= beyond(count, 0.95) and 0.95 in run.quantiles_s:
        return 0.95
    if 0.99 in run.quantiles_s:
        return 0.99
    return max((q for q in run.quantiles_s if q < 1.0), default=0.99)


def beyond(count: int, quantile: float) -> float:
    """Number of requests beyond a quantile, free of rounding: 100 * (1 - 0.9) is below 10."""
    return round(count * (1.0 - quantile), 9)
