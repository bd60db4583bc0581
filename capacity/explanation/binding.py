"""Binding: what limits a plan, with the numbers that say so."""

from dataclasses import dataclass, replace
from enum import StrEnum

from capacity.performance import Interval
from capacity.question.candidate import Candidate
from capacity.question.objective import BETWEEN_TOKENS, Limit, Measure
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.search.exact import theory_of
from capacity.search.what_if import Asker, fewest_replicas
from capacity.traffic.burstiness import irregularity
from capacity.traffic.workload import DeterministicArrivals, GammaArrivals, PoissonArrivals, Workload

# Share of the limit from which a cause takes up most of it.
_MOST = 0.5


class Cause(StrEnum):
    """What limits a plan most."""

    STABILITY = "stability"
    BURSTINESS = "burstiness"
    SERVICE_FLOOR = "service_floor"
    BATCHING = "batching"
    SHARING = "sharing"
    QUEUEING = "queueing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Arrivals burstier than Poisson, and what that costs.

    Attributes:
        cv: coefficient of variation of the gaps; None if it is unknown.
        dispersion: variance over mean of the counts in windows of `window_s`, or in long ones.
        poisson: the same plan under Poisson arrivals at the same rate.
        replicas: number that would be enough under Poisson arrivals, with the same batch; None if none was found.
    """

    cv: float | None
    dispersion: float | None
    window_s: float | None
    poisson: Candidate
    replicas: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What limits a plan.

    Attributes:
        limit: the limit that binds.
        found: its value under the plan.
        floor_s: time that no fleet beats, at that quantile or on average; None if the limit is not on a time. [s]
        lone_s: response of a request that meets no other: batch wait, service of one, overhead. [s]
        wait: wait at the same quantile; with the service's quantile it does not add up to the response's.
        unbatched: the same fleet without batches; None if the plan has none.
        load_fewer: lowest load that one device fewer can have, by any batch size; None if there is none fewer, or
            no rate.
    """

    cause: Cause
    limit: Limit
    found: Interval
    floor_s: float | None = None
    lone_s: float | None = None
    wait: Interval | None = None
    unbatched: Candidate | None = None
    load_fewer: float | None = None
    burst: Burst | None = None

    @property
    def share(self) -> float:
        """Share of the limit that is used up."""
        return self.found.value / self.limit.allowed


def find_binding(asker: Asker, question: Question, plan: Plan, base: Candidate) -> Binding:
    """What limits a plan that was judged as `base`, which has a performance."""
    assert base.performance is not None  # noqa: S101  (the caller's part)
    theory, scenario = theory_of(question.profile(plan.profile)), question.scenario(plan)
    limit = question.objective.binding(base.performance)
    found = limit.found(base.performance)
    assert found is not None  # noqa: S101  (what binds was found)
    wait = None
    if limit.measure is Measure.RESPONSE and limit.quantile is not None:
        wait = base.performance.wait_quantiles_s.get(limit.quantile)
    alone = theory.unbatched(plan)
    binding = Binding(
        cause=Cause.QUEUEING,
        limit=limit,
        found=found,
        floor_s=theory.floor_s(scenario, limit),
        lone_s=theory.lone_s(scenario, limit),
        wait=wait,
        unbatched=None if alone is None else asker.ask(question, alone, "without batches"),
        load_fewer=_load_fewer(asker, question, plan),
        burst=_burst(asker, question, plan),
    )
    return replace(binding, cause=_cause(binding, plan, base))


def _cause(binding: Binding, plan: Plan, base: Candidate) -> Cause:
    """The first cause that applies: one fewer is unstable; Poisson arrivals would need fewer; the fastest service
    takes half of the limit; the limit is on the time between tokens; half of the response is more than a lone
    request takes.
    """
    burst = binding.burst
    if binding.load_fewer is not None and binding.load_fewer >= 1.0:
        return Cause.STABILITY
    if burst is not None and burst.replicas is not None and burst.replicas < plan.replicas:
        return Cause.BURSTINESS
    if binding.floor_s is not None and binding.floor_s >= _MOST * binding.limit.allowed:
        return Cause.SERVICE_FLOOR
    if binding.limit.measure in BETWEEN_TOKENS:
        return Cause.SHARING
    forms = base.performance is not None and (base.performance.batch_size_mean or 1.0) > 1.5
    grown = binding.lone_s is not None and binding.found.value - binding.lone_s >= _MOST * binding.found.value
    waits = plan.holds_s >= _MOST * binding.limit.allowed if binding.lone_s is not None else False
    return Cause.BATCHING if waits or (forms and grown) else Cause.QUEUEING


def _load_fewer(asker: Asker, question: Question, plan: Plan) -> float | None:
    left = plan.replicas - question.family(plan).per_device
    if left < 1 or not isinstance(question.workload, Workload):
        return None
    theory = theory_of(question.profile(plan.profile))
    return theory.load_min(question, replace(plan, replicas=left), asker.judge)


def _burst(asker: Asker, question: Question, plan: Plan) -> Burst | None:
    """What bursty arrivals cost; None for Poisson arrivals and for closed populations."""
    workload = question.workload
    if not isinstance(workload, Workload) or isinstance(workload.arrivals, PoissonArrivals):
        return None
    cv, dispersion, window_s = _variation(workload)
    calm = question.with_arrivals(PoissonArrivals())
    poisson = asker.ask(calm, plan, "under Poisson arrivals")
    return Burst(
        cv=cv,
        dispersion=dispersion,
        window_s=window_s,
        poisson=poisson,
        replicas=fewest_replicas(asker, calm, plan, poisson),
    )


def _variation(workload: Workload) -> tuple[float | None, float | None, float | None]:
    """Variation of the gaps, and dispersion of the counts in windows of some length, as far as known.

    In long windows the counts of renewal arrivals have the dispersion cv² (Cox & Lewis 1966, ch. 4).
    """
    match workload.arrivals:
        case DeterministicArrivals():
            return 0.0, 0.0, None
        case GammaArrivals() as gamma:
            return gamma.cv, gamma.cv**2, None
        case _:
            seen = irregularity(workload)
            return (None, None, None) if seen is None else (seen.gap_cv, seen.dispersion, seen.window_s)
