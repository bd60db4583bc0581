"""Refusal: limits that bursts beyond capacity exceed, before anything is simulated."""

from collections.abc import Sequence

from capacity.question.candidate import Rejection
from capacity.question.objective import Limit, Measure
from capacity.question.overload import Overload


def refuse_overload(one: Overload, limits: Sequence[Limit]) -> Rejection | None:
    """The limit that bursts exceed most clearly, if any; responses and first tokens wait too."""
    waiting = (Measure.RESPONSE, Measure.WAIT, Measure.TTFT)
    found = [
        Rejection.of(limit, least_s)
        for limit in limits
        if limit.quantile is not None and limit.measure in waiting
        if (least_s := one.wait_min_s(limit.quantile)) > limit.allowed
    ]
    return max(found, key=lambda rejection: rejection.needed / rejection.allowed, default=None)
