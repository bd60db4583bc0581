"""Disturbed plan: how many replicas it takes when they pause, or when some requests take longer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from capacity.errors import InputError, UnstableError
from capacity.performance import Interval
from capacity.question.objective import Measure
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.recovery.disturbance import Disturbances
from capacity.search.candidates import Progress
from capacity.search.fewest import fewest_enough
from capacity.search.recommendation import Recommendation


class Responses(Protocol):
    """Response quantiles of all requests, lost ones as late, and of each class. [s]"""

    @property
    def response_quantiles_s(self) -> Mapping[float, Interval]: ...  # noqa: D102  (see above)

    @property
    def by_class(self) -> Mapping[str, Mapping[float, Interval]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbedPlan:
    """What it takes with disturbances, beside what it takes without.

    Attributes:
        calm: the plan that would be enough without any.
        calm_disturbed: what that plan does with them; None if its queues then grow for ever.
        chosen: what the recommended plan does with them; None where none up to the limit is enough.
        hourly_usd: price of the fleet without disturbances; None where it has none. [USD/h]
    """

    disturbances: Disturbances
    calm: Plan
    calm_disturbed: Responses | None
    chosen: Responses | None
    hourly_usd: float | None


class _Disturbed:
    """Plans with disturbances, each simulated once."""

    def __init__(
        self, limits_s: Mapping[float, float], simulate: Callable[[Any], Responses], report: Progress
    ) -> None:
        self._limits_s, self._simulate, self._report = limits_s, simulate, report
        self._seen: dict[Plan, Responses | None] = {}

    def responses(self, plan: Plan) -> Responses | None:
        """What a plan does; None if its queues grow for ever."""
        if plan not in self._seen:
            self._report(f"{plan.replicas} replicas with disturbances")
            try:
                self._seen[plan] = self._simulate(plan)
            except UnstableError:
                self._seen[plan] = None
        return self._seen[plan]

    def is_enough(self, plan: Plan) -> bool:
        """Whether every quantile with a limit is within it, with the upper end of its interval."""
        found = self.responses(plan)
        if found is None:
            return False
        return all(found.response_quantiles_s[q].high <= limit_s for q, limit_s in self._limits_s.items())


def plan_disturbed(
    planned: Recommendation[Any],
    question: Question,
    disturbances: Disturbances,
    simulate: Callable[[Any], Responses],
    replan: Callable[[Any], Recommendation[Any]],
    report: Progress,
) -> tuple[Recommendation[Any], DisturbedPlan]:
    """The cheapest plan that meets the objective's response quantiles in spite of disturbances.

    Raises:
        InputError: the objective has no limit on a response quantile.
    """
    if not question.objective.by_quantile(Measure.RESPONSE):
        raise InputError("--pause and --class need a limit on a response quantile, such as --slo-p99 80ms")
    calm = planned.plan
    assert calm is not None  # noqa: S101  (there is nothing to disturb otherwise)
    disturbed = _Disturbed(question.objective.by_quantile(Measure.RESPONSE), simulate, report)
    best = planned if disturbed.is_enough(calm) else _larger(calm, disturbed, replan, question.replicas_max)
    found = DisturbedPlan(
        disturbances=disturbances,
        calm=calm,
        calm_disturbed=disturbed.responses(calm),
        chosen=None if best is None or best.plan is None else disturbed.responses(best.plan),
        hourly_usd=planned.hourly_usd,
    )
    return best or planned, found


def _larger(
    calm: Plan, disturbed: _Disturbed, replan: Callable[[Any], Recommendation[Any]], most: int
) -> Recommendation[Any] | None:
    """The same batches with more replicas, confirmed like any plan; None if none is enough."""
    replicas = fewest_enough(
        lambda count: disturbed.is_enough(replace(calm, replicas=count)), calm.replicas, most, step=2
    )
    again = None if replicas is None else replan(replace(calm, replicas=replicas))
    return None if again is None or again.plan is None or not disturbed.is_enough(again.plan) else again
