"""Schedule: how many replicas each hour of a day needs, and what a fleet for the peak wastes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from capacity.question.candidate import Judge
from capacity.question.plan import Plan
from capacity.question.question import Family, Question
from capacity.search.candidates import Progress, Search
from capacity.search.fewest import halve_in
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ClosedPopulation

HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Replicas by hour, from midnight on, of plans that are otherwise the same.

    Attributes:
        rates_rps: highest rate within each hour, shape `(24,)`. [requests/s]
        replicas: fewest found that meet the objective at that rate, shape `(24,)`.
        peak: replicas of the plan for the peak hour.
        hourly_usd: price of each hour's fleet, shape `(24,)`; None if no price is known. [USD/h]
        flags, curve: the day, as it is typed and as it was read; None if it is not known any more.
        unkept_rps: rates of hours at which not even the fleet for the peak is accepted, rising: the fewer
            requests arrive, the longer a batch waits. Those hours have the fleet for the peak.
    """

    rates_rps: tuple[float, ...]
    replicas: tuple[int, ...]
    peak: int
    hourly_usd: tuple[float, ...] | None = None
    unkept_rps: tuple[float, ...] = ()
    flags: tuple[str, ...] = ()
    curve: DailyCurve | None = None

    @property
    def replica_hours_flat(self) -> int:
        """Replica-hours of a day with the fleet for the peak throughout."""
        return HOURS * self.peak

    @property
    def replica_hours_ideal(self) -> int:
        """Replica-hours of a day with each hour's own fleet, which a real autoscaler can only approach."""
        return sum(self.replicas)

    @property
    def share_saved(self) -> float:
        """Share of the replica-hours that an ideal schedule saves."""
        return 1.0 - self.replica_hours_ideal / self.replica_hours_flat

    @property
    def daily_usd_saved(self) -> float | None:
        """Money that an ideal schedule saves; None if no price is known. [USD/day]"""
        if self.hourly_usd is None:
            return None
        return HOURS * max(self.hourly_usd) - sum(self.hourly_usd)


def schedule(
    question: Question, plan: Plan, rates_rps: Sequence[float], judge: Judge, progress: Progress
) -> Schedule:
    """The fewest replicas of the recommended kind for each hour; an hour without requests has one device.

    They are judged as in a search, each by itself, and not confirmed.

    Args:
        plan: for the highest of the rates.
        rates_rps: of each hour, shape `(24,)`. [requests/s]
    """
    workload, family = question.workload, question.family(plan)
    assert not isinstance(workload, ClosedPopulation)  # noqa: S101  (users have no rate)
    peak = family.devices(plan.replicas)
    found: dict[float, int | None] = {0.0: 1, max(rates_rps): peak}
    for rate_rps in sorted(set(rates_rps) - set(found)):
        asked = replace(
            question.for_plan(plan),
            workload=replace(workload, arrival_rate_rps=rate_rps),
            replicas_min=question.replicas_min,
        )
        progress(f"the hour of {rate_rps:.4g} rps")
        found[rate_rps] = _fewest(Search(asked, judge, progress), family, plan, peak)
    devices = [found[rate_rps] or peak for rate_rps in rates_rps]
    is_priced = question.hourly_usd(plan) is not None
    return Schedule(
        rates_rps=tuple(rates_rps),
        replicas=tuple(family.replicas(count) for count in devices),
        peak=plan.replicas,
        hourly_usd=tuple(count * family.cost(1) for count in devices) if is_priced else None,
        unkept_rps=tuple(sorted(rate_rps for rate_rps, count in found.items() if count is None)),
    )


def _fewest(search: Search, family: Family, plan: Plan, most: int) -> int | None:
    """Fewest devices that meet the objective, up to those of the peak; None if not even these do.

    Bisected for plans that start at once, as in `capacity.search.cheapest`, assuming that the peak's are
    enough at a lower rate; one by one where batches wait.
    """
    least = min(search.devices_min(family) or most, most)

    def accepted(devices: int) -> bool:
        return search.candidate(replace(plan, replicas=family.replicas(devices))).accepted

    if search.theory.one_by_one(search.question, family, search.floors):
        return next((devices for devices in range(least, most + 1) if accepted(devices)), None)
    return halve_in(accepted, least - 1, most, lambda devices: search.is_in_doubt(family, devices))
