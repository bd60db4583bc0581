"""Controlled case: the simulation of fleets that an autoscaler sizes over a day, whatever their servers are."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.errors import InconclusiveError, UnstableError
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from simulations.case import REPLICATIONS_FEW, Case
from simulations.cases.wrapped import WrappedCase
from simulations.day import Day
from simulations.draws.arrivals import Seed, Stage
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length, Sample
from simulations.workers import leave_if_abandoned

_IN_MEMORY_MAX = 10_000_000  # requests of a day, which take some 2 GB
_BEYOND_MIN = 100  # requests beyond the highest quantile, in all runs


class DayTask(NamedTuple):
    """Inputs of one run of a day, as a worker gets them."""

    whole: Case
    fleet: ScaledFleet
    seed: Seed


def replicate_day(task: DayTask) -> Sample:
    """Run one day, and reduce its observed part to a sample."""
    leave_if_abandoned()
    day = Day(task.fleet, task.seed)
    sample = task.whole.day_sample(day)
    return replace(
        sample,
        window_s=task.fleet.lasts_s,
        replica_s=day.replica_s,
        replicas_most=day.replicas_most,
        scalings=day.scalings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlledCase(WrappedCase):
    """A fleet that an autoscaler sizes over a day, and its simulation.

    Each run is one whole day with users of its own, after a warm-up in which the autoscaler settles. Intervals come
    from the scatter of the days.

    Attributes:
        whole: the case of its kind of server, with all replicas all the time.
        fleet: the fleet on its day.
    """

    fleet: ScaledFleet

    @property
    def load(self) -> float | None:
        """Mean rate of the day over what all replicas sustain."""
        highest = self.whole.load
        found: float | None = None if highest is None else highest / self.scenario.swing
        return found

    @property
    def length(self) -> Length:
        """Mean number of requests of a day and of the warm-up before it."""
        measured = math.ceil(self.fleet.mean_rate_rps * self.fleet.lasts_s)
        return Length(
            warm_up=max(0, math.ceil(self.fleet.requests) - measured), measured=measured, cool_down=0
        )

    @property
    def is_day(self) -> bool:
        """Whether each run is one whole day: it is."""
        return True

    def counted_min(self, care: float) -> float:
        """Requests of a pool that has enough beyond the highest quantile."""
        beyond: float = 1.0 - self.scenario.quantile_max
        return _BEYOND_MIN / beyond

    def requests_with(self, care: float) -> int:
        """Requests of the fewest days, and of those that are enough for the highest quantile."""
        days = max(REPLICATIONS_FEW, math.ceil(self.counted_min(care) / self.length.measured))
        return days * self.length.requests

    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[DayTask]:
        """Days of these numbers, however long."""
        return [DayTask(self.whole, self.fleet, replace(seed, replication=number)) for number in numbers]

    @property
    def replicate(self) -> Callable[[DayTask], Sample]:
        """The function `replicate_day`."""
        return replicate_day

    def require_day(self) -> None:
        """Refuse what its kind of server refuses, and more requests than memory holds."""
        self.whole.require_day()
        if not self.whole.is_plain_day:
            self.fleet.require_requests(_IN_MEMORY_MAX, "held in memory, as a run of such a fleet is")

    def sections(self, seed: Seed) -> NoReturn:
        """An error, as a day is no recorded path."""
        raise AssertionError("a day is no recorded path")

    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Any:
        """Performance of its kind of server over the day, with the replicas and what they cost.

        The utilization is that of the replicas that were asked for.
        """
        found, lasts_s = self.whole.performance(pool, quantiles, confidence), self.fleet.lasts_s
        busy = pool.ratio(lambda one: one.busy_s, lambda one: one.replica_s)
        replicas = pool.ratio(lambda one: one.replica_s, lambda one: one.window_s)
        scalings = pool.ratio(lambda one: one.scalings, lambda one: one.window_s / lasts_s)
        known = {"utilization": busy, "replicas_mean": replicas, "scalings": scalings}
        intervals = {name: estimate.interval(confidence) for name, estimate in known.items()}
        price = self.fleet.replica_hourly_usd
        if price is not None:
            intervals["hourly_usd"] = intervals["replicas_mean"].mapped(lambda count: price * count)
        return replace(
            found,
            load=None if found.load is None else found.load / self.scenario.swing,
            utilization=min(1.0, busy.value),
            replicas_mean=replicas.value,
            replicas_most=float(pool.whole.replicas_most),
            scalings=scalings.value,
            hourly_usd=None if price is None else price * replicas.value,
            intervals=dict(found.intervals) | intervals,
        )

    def require_answerable(self) -> None:
        """Refuse what its kind of server refuses, but for a highest rate above what the fleet sustains.

        That may last for less than the share of the day that may be late.
        """
        self.require_day()
        with suppress(UnstableError, InconclusiveError):
            self.whole.require_answerable()

    def require_affordable(self, requests_max: int) -> None:
        """Accept any day, as it cannot be shorter."""

    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """All of it, and a few days at least."""
        return max(requests_max, self.requests_to_settle)

    def refused(self, confidence: float) -> Candidate[Any] | None:
        """The plan, if even all replicas all the time miss a limit or never come back, or if samples cannot tell."""
        plan = self.scenario.plan
        if self.fleet.is_hopeless(plan.replicas):
            needed = self.fleet.peak_rate_rps / (plan.replicas * self.fleet.replica_rps)
            rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=needed)
            return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)
        found = self.whole.refused(confidence) if (self.whole.load or 0.0) < 1.0 else None
        if found is None or found.verdict is Verdict.INCONCLUSIVE:
            return found
        is_bistable = found.rejection is not None and found.rejection.reason is Reason.BISTABLE
        return found if is_bistable else None
