"""Batches: what theory says of replicas that serve batches, which have laws and floors."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from capacity.errors import DomainError
from capacity.performance import Performance, Width
from capacity.profile.profile import ServiceProfile
from capacity.profile.sampling import has_samples, reach
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import REPLICAS_LIMIT, Routing, rejects
from capacity.question.question import Family
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import lone_performance, predict
from capacity.recovery.stress import Stress
from capacity.search.fewest import HUNDREDTHS
from capacity.search.recommendation import Floors, HeadroomEffort, RatesEffort, less_for_bursts
from capacity.server.batch.caveats import (
    MENDS,
    autoscale_caveats,
    batching_caveats,
    device_caveats,
    interval_caveats,
    mend_of,
    plausibility_caveats,
    profile_caveats,
    size_caveats,
    spread_caveats,
)
from capacity.server.batch.holding import helped_at_most, holds_hardly_any
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.server.batch.refusal import (
    floor_candidate,
    floor_doubt,
    refuse_batch_size,
    refuse_load,
    users_max,
)
from capacity.server.batch.space import BatchQuestion
from capacity.server.batch.stability import (
    device_throughput_max_rps,
    load,
    load_of,
    require_batch_of_one,
    saturated_rps,
    sustainable_rate_rps,
)
from capacity.server.batch.steady import is_wait_vain
from capacity.traffic.workload import (
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    Workload,
    is_patient,
)

# How many times its limit what a failure leaves of a fleet misses, when no wait is tried: its error is not known.
_BY_FAR = 1.5
# Parts of a number of replicas in doubt whose router looks at queues.
_LOOKING_PARTS = 500
# Chains of this many places are solved in a second or two; beyond, a simulation is faster. With a batch wait a plan
# is one of several that are tried.
_PLACES_MAX, _PLACES_MAX_WITH_WAIT = 2048, 640


def judge_batches_exactly(
    scenario: BatchScenario, quantiles: tuple[float, ...] = (0.99,)
) -> Candidate | None:
    """What the law says; None if no law is exact, or it would take longer than a simulation.

    Laws of batches are exact where each batch size takes one time, arrivals are Poisson, and the
    router does not look at queues: a profile of means only, or one whose samples are all alike.

    Args:
        quantiles: those to report besides the objective's.
    """
    plan, profile = scenario.plan, scenario.profile
    if scenario.spike is not None or not _has_law(scenario):
        return None
    quantiles = tuple(sorted({*quantiles, *scenario.objective.quantiles}))
    assert isinstance(scenario.workload, Workload)  # noqa: S101  (no law of users is asked for)
    try:
        performance = predict(profile, scenario.workload, plan, quantiles)
    except DomainError:
        return None
    broken = [
        Rejection.of(limit, value)
        for limit in scenario.objective.limits
        if (value := _value(limit, performance)) > limit.allowed
    ]
    if not broken:
        return Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    worst = max(broken, key=lambda rejection: rejection.needed / rejection.allowed)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=worst, performance=performance)


def _has_law(scenario: BatchScenario) -> bool:
    """Whether the law is worth asking."""
    plan, workload = scenario.plan, scenario.workload
    return (
        isinstance(workload, Workload)
        and isinstance(workload.arrivals, PoissonArrivals)
        and not rejects(plan)
        and plan.outstanding_max is None
        and scenario.profile.instances_per_device == 1
        and plan.batch_size_max <= scenario.profile.batch_size_max
        and (plan.replicas == 1 or _is_blind(plan) or plan.batch_size_max == 1)
        and (plan.timer is not None or plan.batch_size_max == 1)
        and not _is_slow(plan)
        and all(law.is_deterministic for law in scenario.profile.laws)
    )


def _is_blind(one: BatchPlan | Family) -> bool:
    return one.routing in (Routing.RANDOM, Routing.ROUND_ROBIN)


def _is_slow(plan: BatchPlan) -> bool:
    """A round-robin's chain counts the arrivals of the whole fleet; single requests need no chain."""
    if plan.batch_size_max == 1:
        return False
    places = plan.batch_size_max * (plan.replicas if plan.routing is Routing.ROUND_ROBIN else 1)
    return places > (_PLACES_MAX if plan.batch_wait_max_s == 0.0 else _PLACES_MAX_WITH_WAIT)


def _value(limit: Limit, performance: Performance) -> float:
    found = limit.found(performance)
    if found is not None:
        return found.value
    assert limit.measure is Measure.LOSS  # noqa: S101  (nothing else is missing from a law)
    return 0.0


# Load above which a fleet is barely stable, and replicas up to which that makes it slow.
_BARELY, _SMALL = 0.95, 50
# Shares of the sustainable rate that are tried, where a limited quantity may fall as the rate rises, and where not.
_TO_THE_WALL = (0.99, 0.995)

_FINE = tuple(0.02 + 0.06 * step for step in range(17))

_COARSE = (0.02, 0.2, 0.4, 0.6, 0.7, 0.8, 0.86, 0.92, 0.96, 0.98)

_OVERLOADS = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


def _only_rises(scenario: BatchScenario) -> bool:
    """Whether the limited quantity was never seen to fall as the rate, or the number of users, rises."""
    plan, profile, workload = scenario.plan, scenario.profile, scenario.workload
    measures = {limit.measure for limit in scenario.objective.limits}
    is_smooth = isinstance(workload, ClosedPopulation) or isinstance(
        workload.arrivals, PoissonArrivals | GammaArrivals
    )
    starts_at_once = (plan.starts_at_once and not plan.preferred_text) or plan.batch_size_max == 1
    timed = measures <= {Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT}
    grows = plan.batch_size_max == 1 or profile.is_monotone
    # An autoscaler has the fewest replicas at the lowest rates, where one more matters most.
    is_fixed = scenario.autoscaler is None
    is_unlimited = not rejects(plan) and plan.outstanding_max is None
    return is_fixed and is_smooth and starts_at_once and timed and is_unlimited and grows


def judge_lone(scenario: BatchScenario, confidence: float = 0.95) -> Candidate:
    """The verdict at the limit of low rates, in doubt where the profile's samples cannot tell."""
    quantiles = tuple(sorted({0.99, *scenario.objective.quantiles}))
    performance = lone_performance(scenario.profile, scenario.plan, quantiles, confidence)
    doubt = floor_doubt(scenario.profile, scenario.objective, scenario.plan.batch_size_max, confidence)
    if doubt is not None:
        return replace(floor_candidate(scenario.plan, doubt), performance=performance)
    return judged(scenario, performance)


def judged(scenario: BatchScenario, performance: Performance) -> Candidate:
    """The verdict on a performance that is known but for the samples of the profile."""
    found = [(p, one) for p in scenario.objective.limits if (one := p.found(performance)) is not None]
    missed = [Rejection.of(limit, one.value) for limit, one in found if one.low > limit.allowed]
    is_open = [Rejection.of(limit, reach(one)) for limit, one in found if reach(one) > limit.allowed]
    worst = max(missed or is_open, key=lambda one: one.needed / one.allowed, default=None)
    verdict = Verdict.MISSED if missed else Verdict.INCONCLUSIVE if is_open else Verdict.MET
    return Candidate(
        plan=scenario.plan,
        verdict=verdict,
        rejection=worst,
        performance=performance,
        doubt=Doubt.PROFILE if verdict is Verdict.INCONCLUSIVE else None,
    )


class BatchTheory:
    """Theory of replicas that serve batches."""

    search_requests_max, confirm_requests_max = 400_000_000, 800_000_000
    careful_requests_max = 60_000_000
    around_requests_max = 200_000_000
    mends = MENDS
    confirms_from_start = False
    serves_all = True
    curve_loads: tuple[float, ...] = (
        0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95,
    )  # fmt: skip

    def require(self, profile: ServiceProfile) -> None:
        """Refuse a profile without batches of one."""
        require_batch_of_one(profile)

    def require_plan(self, scenario: Scenario) -> None:
        """Accept any plan: a batch size that was not measured is a refusal with numbers."""

    def floors(self, question: BatchQuestion, confidence: float) -> Floors:
        """Batch sizes that no number of replicas helps, and then those for which the samples cannot tell."""
        objective, doubts = _floored(question.workload, question.objective), {}
        refused, undecided = {}, {}
        for profile in question.profiles:
            for size in question.space.sizes(profile):
                key = profile.name, size
                rejection = refuse_batch_size(profile, objective, size, confidence)
                doubt = floor_doubt(profile, objective, size, confidence)
                if rejection is not None:
                    one = self._replica(question, profile, size)
                    refused[key] = Candidate(plan=one, verdict=Verdict.MISSED, rejection=rejection)
                elif doubt is not None:
                    doubts[key] = doubt
                    undecided[key] = floor_candidate(self._replica(question, profile, size), doubt)
        return Floors(candidates=refused | undecided, doubts=doubts)

    def _replica(self, question: BatchQuestion, profile: ServiceProfile, size: int) -> BatchPlan:
        """One replica with a batch size, which stands for any number."""
        family = Family(profile=profile, routing=question.routings[0])
        return question.space.plan(family, 1, size, 0.0)

    def _sizes(self, question: BatchQuestion, family: Family, floors: Floors) -> list[int]:
        """Batch sizes of a family's profile that are not at a floor."""
        sizes = question.space.sizes(family.profile)
        return [size for size in sizes if (family.profile.name, size) not in floors.candidates]

    def fleets(
        self, question: BatchQuestion, family: Family, devices: int, floors: Floors
    ) -> Iterator[BatchPlan]:
        """Fleets of a number of devices, by batch size and batch wait; no wait that would help nothing."""
        workload, is_searched = question.workload, question.space.batch_waits_s is None
        for plan in question.space.fleets(family, devices, self._sizes(question, family, floors)):
            rate_rps = workload.arrival_rate_rps if isinstance(workload, Workload) else None
            if not (is_searched and rate_rps and is_wait_vain(family.profile, rate_rps, plan)):
                yield plan

    def may_wait(
        self,
        question: BatchQuestion,
        plan: BatchPlan,
        size_max: int | None,
        judged: Callable[[BatchPlan], Candidate],
    ) -> bool:
        """Whether a batch wait may save a plan: not where it holds hardly any, or where others miss by far."""
        limits, workload = question.objective.limits, question.workload
        if question.space.batch_waits_s is not None:
            return True
        profile = question.profile(plan.profile)
        if holds_hardly_any(profile, workload, plan, min(limit.quantile or 0.0 for limit in limits)):
            return False
        most = [helped_at_most(profile, workload, plan, limit) for limit in limits]
        if min(most) == math.inf:
            return True
        size = min(plan.batch_size_max, size_max or plan.batch_size_max)
        at_once = judged(replace(plan, batch_wait_max_s=0.0, batch_size_max=size))
        if (seen := at_once.performance) is None:
            why = at_once.rejection
            return why is None or why.limit is None or why.needed <= _BY_FAR * why.allowed
        missed = (limit.pressure(seen) for limit in limits)
        return all(one is None or one.low <= times for one, times in zip(missed, most, strict=True))

    def devices_min(
        self, question: BatchQuestion, family: Family, floors: Floors, judge: object
    ) -> int | None:
        """Fewest devices, with the batch size that needs fewest."""
        sizes = self._sizes(question, family, floors)
        return min((question.space.devices_min(question, family, size) for size in sizes), default=None)

    def doubt_parts(self, family: Family) -> int:
        """A hundred; more where the router looks at queues: a hundredth of a busy fleet moves P99 by 9 %."""
        return HUNDREDTHS if _is_blind(family) else _LOOKING_PARTS

    def one_by_one(self, question: BatchQuestion, family: Family, floors: Floors) -> list[bool]:
        """Whether to try all smaller fleets, without and with a wait: their batches may be faster, or sooner full."""
        sizes = self._sizes(question, family, floors)
        waits_s = (max(question.space.waits_s(family.profile, size)) for size in sizes)
        kinds = [] if family.profile.is_monotone else [False]
        return [*kinds, True] if max(waits_s, default=0.0) > 0.0 else kinds

    def refuse_load(self, scenario: BatchScenario) -> Rejection | None:
        """Refusal by the batches that can form; None over a day, whose highest rate passes."""
        return None if scenario.autoscaler is not None else refuse_load(scenario)

    def refuse_setting(self, scenario: BatchScenario, confidence: float) -> Rejection | None:
        """Refusal of a batch size that is too slow at best, or was not measured."""
        objective = _floored(scenario.workload, scenario.objective)
        return refuse_batch_size(scenario.profile, objective, scenario.plan.batch_size_max, confidence)

    def is_barely_stable(self, scenario: BatchScenario) -> bool:
        """Whether the load is above 0.95; not of large fleets, which are as quick at such a load."""
        load = load_of(scenario) if scenario.plan.replicas <= _SMALL else None
        return load is not None and _BARELY < load < 1.0

    def law(self, scenario: BatchScenario, quantiles: tuple[float, ...]) -> Candidate | None:
        """The plan judged by theory, if batch times are constant; else None."""
        return judge_batches_exactly(scenario, quantiles)

    def too_many(self, question: BatchQuestion, family: Family, devices: int, floors: Floors) -> Candidate:
        """Refusal with the batches that serve most, or for which closed users wait least."""
        sizes = self._sizes(question, family, floors)
        if isinstance(question.workload, ClosedPopulation):
            return self._too_slow(question, family, sizes)
        best, needed = max(sizes, key=family.profile.throughput_rps), family.replicas(devices)
        plan = question.space.plan(family, devices, best, 0.0) if needed <= REPLICAS_LIMIT else None
        shown = plan or replace(
            question.space.plan(family, 1, best, 0.0), replicas=REPLICAS_LIMIT
        )  # more is no plan
        rejection = Rejection(
            reason=Reason.REPLICAS_MAX,
            allowed=question.replicas_max,
            needed=needed,
            event=question.survival.worst(needed, family.per_device),
        )
        return Candidate(plan=shown, verdict=Verdict.MISSED, rejection=rejection)

    def _too_slow(self, question: BatchQuestion, family: Family, sizes: list[int]) -> Candidate:
        """Refusal of a family's largest fleet, with the batches for which users wait least, yet too long."""
        most = max(1, question.devices_max(family))
        plans = [
            question.space.plan(family, most, size, min(question.space.waits_s(family.profile, size)))
            for size in sizes
        ]
        refused = {
            plan: why for plan in plans if (why := question.refused_load(plan, self.refuse_load)) is not None
        }
        plan = min(refused, key=lambda one: refused[one].needed)
        return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=refused[plan], settled=False)

    def sustained_rps(self, profile: ServiceProfile, plan: BatchPlan) -> float:
        """The capacity of the fleet if every batch is full. [requests/s]"""
        return sustainable_rate_rps(profile, plan)

    def saturation(self, scenario: BatchScenario, judge: object) -> None:
        """None, as the capacity follows from the largest batch."""

    def in_service(self, scenario: BatchScenario, judge: object) -> float:
        """Its capacity, for as long as a service takes at least."""
        profile, plan = scenario.profile, scenario.plan
        return sustainable_rate_rps(profile, plan) * profile.service_floor_mean_s(plan.batch_size_max)

    def size_max(self, scenario: BatchScenario, judge: object) -> float:
        """Capacity with every batch full, or the users whom that serves in time."""
        if isinstance(scenario.workload, ClosedPopulation):
            return float(users_max(scenario))
        return scenario.swing * sustainable_rate_rps(scenario.profile, scenario.plan)

    def rates_effort(self, scenario: BatchScenario) -> RatesEffort:
        """Loads on a fine grid if batches wait or a limit is not of time: it may be met, missed and met again.

        Days are long, and have a coarse one.
        """
        only_rises = _only_rises(scenario)
        is_coarse = only_rises or scenario.autoscaler is not None
        loads = (*(_COARSE if is_coarse else _FINE), *_TO_THE_WALL)
        may_overload = rejects(scenario.plan) and isinstance(scenario.workload, Workload)
        overloads = _OVERLOADS if may_overload else ()
        return RatesEffort(loads=(*loads, *overloads), only_rises=only_rises, careful_max=60_000_000)

    def lone(self, scenario: BatchScenario, confidence: float) -> Candidate | None:
        """The plan judged for lone requests; None of users, if arrivals can share an instant, or if clients retry.

        Nor is it known if the last replica may leave.
        """
        scaler = scenario.autoscaler
        if not is_patient(scenario.workload) or (scaler is not None and scaler.replicas_min == 0):
            return None
        if not isinstance(scenario.workload, Workload) or not isinstance(
            scenario.workload.arrivals, PoissonArrivals | DeterministicArrivals | GammaArrivals
        ):
            return None
        return judge_lone(scenario, confidence)

    def served_max_rps(self, scenario: BatchScenario, judge: object) -> float:
        """Largest rate that may meet the objective: the capacity, or with a queue limit more, as some may be lost."""
        plan, allowed = scenario.plan, scenario.objective.loss_allowed
        if not rejects(plan) or allowed is None:
            return sustainable_rate_rps(scenario.profile, plan)
        devices = scenario.profile.devices(plan.replicas)
        return devices * device_throughput_max_rps(scenario.profile, plan.batch_size_max) / (1.0 - allowed)

    def headroom_effort(self, scenario: BatchScenario) -> HeadroomEffort:
        """Effort of trials without probes."""
        most = less_for_bursts(scenario.workload, 100_000_000)
        return HeadroomEffort(
            first_step=0.25,
            requests_max=most,
            leaps=_only_rises(scenario),
            is_resampled=has_samples(scenario.profile),
        )

    def neighbours(self, question: BatchQuestion, plan: BatchPlan) -> Iterator[tuple[str, BatchPlan]]:
        """The next smaller and larger batch, and the next shorter and longer batch wait."""
        profile, size_max = question.profile(plan.profile), plan.batch_size_max
        sizes = (size for size in profile.batch_sizes if size <= (plan.outstanding_max or size))
        for size in _neighbours(sizes, size_max):
            wait_s = plan.batch_wait_max_s if size > 1 else 0.0
            yield "batch size", replace(plan, batch_size_max=size, batch_wait_max_s=wait_s)
        if size_max == 1:
            return
        searched = replace(question.space, batch_waits_s=None).waits_s(profile, size_max)
        for wait_s in _neighbours(searched, plan.batch_wait_max_s):
            yield "batch wait", replace(plan, batch_wait_max_s=wait_s)

    def fewer(self, question: BatchQuestion, plan: BatchPlan) -> Iterator[BatchPlan]:
        """One device fewer with each measured batch, and with the plan's own."""
        left = plan.replicas - question.profile(plan.profile).instances_per_device
        for size in sorted({*self._measured(question, plan), plan.batch_size_max}) if left >= 1 else ():
            wait_s = plan.batch_wait_max_s if size > 1 else 0.0
            yield replace(plan, replicas=left, batch_size_max=size, batch_wait_max_s=wait_s)

    def strongest(self, question: BatchQuestion, plan: BatchPlan) -> BatchPlan:
        """The plan with the batch of the highest throughput."""
        profile = question.profile(plan.profile)
        plans = (replace(plan, batch_size_max=size) for size in self._measured(question, plan))
        return max(plans, key=lambda one: saturated_rps(profile, one))

    def strain(self, performance: Performance) -> float:
        """Minus infinity, as each limit feels the queue."""
        return -math.inf

    def load_min(self, question: BatchQuestion, plan: BatchPlan, judge: object) -> float:
        """The load with the best batch."""
        profile, workload = question.profile(plan.profile), question.workload
        assert isinstance(workload, Workload)  # noqa: S101  (users have no load)
        sizes = self._measured(question, plan)
        plans = (replace(plan, batch_size_max=size) for size in sizes)
        return min(load(profile, workload.arrival_rate_rps, one) for one in plans)

    def _measured(self, question: BatchQuestion, plan: BatchPlan) -> list[int]:
        """Batch sizes of the question that the plan's profile covers."""
        profile = question.profile(plan.profile)
        return [size for size in question.space.sizes(profile) if size <= profile.batch_size_max]

    def floor_s(self, scenario: BatchScenario, limit: Limit) -> float | None:
        """The fastest service of a batch of one to the plan's, at the limit's quantile or on average."""
        profile, size_max = scenario.profile, scenario.plan.batch_size_max
        if limit.measure is Measure.RESPONSE and limit.quantile is not None:
            return profile.service_floor_s(limit.quantile, size_max)
        return profile.service_floor_mean_s(size_max) if limit.measure is Measure.RESPONSE_MEAN else None

    def lone_s(self, scenario: BatchScenario, limit: Limit) -> float | None:
        """The batch wait, the service of one and the overhead."""
        if not limit.measure.is_duration:
            return None
        lone = limit.found(lone_performance(scenario.profile, scenario.plan, scenario.objective.quantiles))
        return None if lone is None else lone.value

    def other_rules(self, scenario: Any) -> None:
        """None, as the plan says how batches form."""

    def unbatched(self, plan: BatchPlan) -> BatchPlan | None:
        """The plan with batches of one, which are full at once."""
        return replace(plan, batch_size_max=1, batch_wait_max_s=0.0) if plan.batch_size_max > 1 else None

    def mend(self, profile: ServiceProfile, candidate: Candidate) -> str:
        """Remedy, with the number of batches to measure if it is known."""
        return mend_of(profile, candidate)

    def setting_text(self, plans: Sequence[BatchPlan]) -> str:
        """Largest batches of the plans, in words."""
        return f"batches up to {' or '.join(map(str, sorted({one.batch_size_max for one in plans})))}"

    def implausible(self, profiles: Sequence[ServiceProfile], quantile_max: float) -> Iterator[Caveat]:
        """Reasons why batch times are implausible."""
        return plausibility_caveats(profiles, quantile_max)

    def interval_caveats(self, profile: ServiceProfile, width: Width, precision: float) -> Iterator[Caveat]:
        """Whether the simulation or the samples of the profile leave the response's interval wide."""
        return interval_caveats(profile, width, precision)

    def trouble_caveats(self, stress: Stress[BatchPlan]) -> Iterator[Caveat]:
        """Caveats on the times of batches up to the largest."""
        profile: Any = stress.server.profile  # of its own kind
        used = [one for one in profile.timings if one.batch_size < 2 * stress.plan.batch_size_max]
        yield from plausibility_caveats([profile], 0.99)
        yield from spread_caveats([timing for timing in used if not timing.samples_s], 0.99)

    def controlled_caveats(self, scenario: BatchScenario) -> Iterator[Caveat]:
        """Caveats on the times of batches, and on what utilization says of them."""
        return autoscale_caveats(scenario.profile, scenario.plan, scenario.autoscaler)

    def profile_caveats(self, scenario: BatchScenario) -> Iterator[Caveat]:
        """Caveats on the batch times behind the quantiles that are asked for."""
        quantiles = scenario.quantiles or scenario.objective.quantiles or (0.99,)
        return profile_caveats(scenario.profile, scenario.plan.batch_size_max, quantiles)

    def setting_caveats(self, scenario: BatchScenario) -> Iterator[Caveat]:
        """Caveats on the batching rule and on the largest batch."""
        yield from batching_caveats(scenario.plan)
        yield from size_caveats(scenario.profile, scenario.plan)

    def grid_caveats(self, scenario: BatchScenario, quantile_max: float) -> Iterator[Caveat]:
        """Caveats on an implausible profile, and on the assumed cost of sharing devices."""
        yield from plausibility_caveats([scenario.profile], quantile_max)
        yield from device_caveats(scenario.profile)

    def caveats(self, scenario: BatchScenario, performance: Performance) -> Iterator[Caveat]:
        """Caveats on the profile and on the settings."""
        yield from self.profile_caveats(scenario)
        yield from self.setting_caveats(scenario)


def _floored(workload: Demand, objective: Objective) -> Objective:
    """The limits that no response can beat which is as long as a service: none if another attempt may be quicker."""
    return objective if is_patient(workload) else Objective()


def _neighbours(values: Iterable[float], today: float) -> list[Any]:
    """The next smaller and the next larger of some values."""
    found = sorted({*values, today})
    place = found.index(today)
    return [*found[max(0, place - 1) : place], *found[place + 1 : place + 2]]
