"""Scaled fleet: a fixed or an autoscaled fleet on a day, and the limits that it must hold."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import Any

from capacity.errors import DomainError, InputError
from capacity.profile.profile import Spells
from capacity.question.autoscaler import Autoscaler
from capacity.question.objective import Limit, Measure
from capacity.question.resilience import Survival
from capacity.question.scenario import AnyScenario
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.daily import DAY_S, HOUR_S, DailyCurve, clock
from capacity.traffic.workload import (
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    RenewalArrivals,
    Workload,
)

REQUESTS_MAX = 1_000_000_000  # in one run, which then takes some minutes
_SETTLING_S = 600.0
_UNLIMITED = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=math.inf)
_ERRORS = 10.0  # standard errors that chance never makes up for
_MINUTE_S = 60.0
JUDGED = (Measure.RESPONSE, Measure.TTFT)  # whose quantiles an autoscaler is judged by
Step = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ScaledFleet:
    """A fleet on a day, or on a part of it.

    Attributes:
        scenario: the fleet, its requests and its limits; without an autoscaler all replicas run all the time, and with
            one they are the most that there may be.
        replica_rps: capacity of one replica. [requests/s]
        floors_s: what no fleet beats at a limited quantile, such as the fastest batch; left out if it is not known. [s]
        spells: spells of service times, which all replicas share; None if there are none.
        survival: failures in the worst of which this fleet is, and those of other sizes that it is compared with.
        stands_for: minutes of the day that each minute of an excerpt stands for; empty on the day itself.

    Raises:
        DomainError: a run would have too many requests.
        InputError: there is no day, the arrivals cannot follow a rate that changes, or no replica may stay for the
            next turns of sessions.
    """

    scenario: AnyScenario
    replica_rps: float
    floors_s: Mapping[Limit, float] = field(default_factory=dict)
    spells: Spells | None = None
    survival: Survival = field(default_factory=Survival)
    stands_for: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        workload = self.scenario.workload
        if not isinstance(workload, Workload) or workload.day is None:
            raise InputError(
                "an autoscaler follows the rates of a day; give --daily, a .csv of time,rate_rps"
            )
        if not isinstance(workload.arrivals, PoissonArrivals | GammaArrivals | DeterministicArrivals):
            raise InputError(
                "bursts and traces do not follow a rate that changes; use --arrivals poisson or gamma:cv=2"
            )
        scaler = self.scenario.autoscaler
        if scaler is not None and not scaler.replicas_min and are_sessions(self.scenario.lengths):
            raise InputError(
                "sessions go on where none begins: at least one replica stays; give --replicas-min 1"
            )
        self.require_requests(REQUESTS_MAX)

    def require_requests(self, most: float, what: str = "simulated") -> None:
        """Refuse a part of the day with more requests than a run may have.

        Args:
            what: what happens to at most this many.
        """
        if self.requests <= most:
            return
        span, seen = f"{clock(self.begins_s)}-{clock(self.ends_s)}", self.mean_rate_rps * self.lasts_s
        before = self.requests - seen
        if before > seen or before >= most:
            raise DomainError(
                f"the {self.warm_up_s / HOUR_S:.3g} hours before {clock(self.begins_s)} in which the autoscaler "
                f"settles have {before:.3g} requests, and at most {most:.3g} are {what}; shorten "
                "--startup-time, --metric-lag or --stabilization, or look at a part of the fleet at its part of the "
                "rates"
            )
        hours = (most - before) / seen * self.lasts_s / HOUR_S
        raise DomainError(
            f"{span} has {self.requests:.3g} requests with the warm-up before it, and at most {most:.3g} are "
            f"{what}; look at about {hours:.2g} hours of the day by --between, or at a part of the fleet at its "
            "part of the rates, which scales in larger steps"
        )

    @property
    def profile(self) -> Any:
        """Measured times of a replica."""
        return self.scenario.profile

    @property
    def plan(self) -> Any:
        """Settings of each replica, and the most that there may be, without those that a failure takes."""
        return self.scenario.plan

    @property
    def replicas(self) -> int:
        """The most replicas that may be asked for, with those that a failure takes."""
        replicas: int = self.scenario.whole.replicas
        return replicas

    @property
    def autoscaler(self) -> Autoscaler | None:
        """What sizes the fleet; None if all replicas run all the time."""
        return self.scenario.autoscaler

    @property
    def arrivals(self) -> RenewalArrivals:
        """The process that arrivals follow."""
        arrivals: RenewalArrivals = self.scenario.workload.arrivals
        return arrivals

    @cached_property
    def curve(self) -> DailyCurve:
        """Rates over the day, scaled to the workload's highest."""
        workload: Workload = self.scenario.workload
        day = workload.day
        assert day is not None  # noqa: S101  (it was required)
        if workload.arrival_rate_rps == day.peak_rate_rps:
            return day
        factor = workload.arrival_rate_rps / day.peak_rate_rps
        return replace(day, rates_rps=tuple(factor * rate_rps for rate_rps in day.rates_rps))

    @property
    def begins_s(self) -> float:
        """Begin of the observed part of the day. [s since midnight]"""
        return self.curve.begins_s

    @property
    def ends_s(self) -> float:
        """End of the observed part of the day. [s since midnight]"""
        return self.curve.ends_s

    @property
    def lasts_s(self) -> float:
        """Length of the observed part of the day. [s]"""
        return self.ends_s - self.begins_s

    @property
    def whole_s(self) -> float:
        """Length of the part of the day that is observed, or that an excerpt stands for. [s]"""
        return _MINUTE_S * sum(self.stands_for) if self.stands_for else self.lasts_s

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Limits on quantiles of how long requests take, lost ones counted as late; an infinite one without any."""
        return tuple(one for one in self.scenario.objective.limits if one.measure in JUDGED) or (_UNLIMITED,)

    @property
    def quantile_max(self) -> float:
        """The highest limited quantile."""
        return max(one.quantile or 0.0 for one in self.limits)

    def floor_s(self, limit: Limit) -> float:
        """What no fleet beats at the limited quantile; 0 if it is not known. [s]"""
        return self.floors_s.get(limit, 0.0)

    @property
    def out_of_reach(self) -> Limit | None:
        """A limit that no fleet holds; None if none is known."""
        return next((one for one in self.limits if self.floor_s(one) > one.allowed), None)

    @cached_property
    def warm_up_s(self) -> float:
        """Length of the warm-up, in whole minutes, in which the autoscaler settles. [s]"""
        scaler = self.autoscaler
        if scaler is None:
            return _SETTLING_S
        settled_s = _SETTLING_S + scaler.stabilization_s + scaler.reaction_s
        return _MINUTE_S * math.ceil(settled_s / _MINUTE_S)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Begin, end and rate of each step, in the time of a run, whose warm-up ends at `warm_up_s`."""
        first_s = self.begins_s - self.warm_up_s
        found: list[Step] = []
        for day in range(math.floor(first_s / DAY_S), 1):
            for from_s, to_s, rate_rps in self.curve.steps():
                begins_s = max(from_s + day * DAY_S, first_s) - first_s
                ends_s = min(to_s + day * DAY_S, self.ends_s) - first_s
                if begins_s < ends_s:
                    found.append((begins_s, ends_s, rate_rps))
        return tuple(found)

    @property
    def requests(self) -> float:
        """Mean number of requests of a run, with those of the warm-up."""
        return math.fsum((to_s - from_s) * rate_rps for from_s, to_s, rate_rps in self.steps)

    @property
    def peak_rate_rps(self) -> float:
        """Highest rate of the observed part of the day. [requests/s]"""
        return self.curve.peak_rate_rps

    @property
    def mean_rate_rps(self) -> float:
        """Mean rate of the observed part of the day. [requests/s]"""
        return self.curve.part_mean_rps

    @property
    def replicas_least(self) -> int:
        """Fewest replicas of a fixed fleet that could hold the limits, by the mean rates."""
        most = max(1, math.ceil(self.peak_rate_rps / self.replica_rps))
        return 1 + bisect_left(range(1, most), True, key=lambda count: not self.is_hopeless(count))  # noqa: FBT003

    def is_hopeless(self, replicas: int) -> bool:
        """Whether this many replicas miss a limit even all the time, by the mean rates."""
        return any(self._is_hopeless(replicas, limit) for limit in self.limits)

    def _is_hopeless(self, replicas: int, limit: Limit) -> bool:
        """Whether this many replicas miss a limit.

        Of the requests that arrive in a stretch of time, only those are in time that full batches can serve in it and
        within the limit after it. The rest is late, and chance does not make up for ten standard errors.
        """
        seen = [(max(from_s, self.warm_up_s), to_s, rate_rps) for from_s, to_s, rate_rps in self.steps]
        steps = [(to_s - from_s, rate_rps) for from_s, to_s, rate_rps in seen if to_s > from_s]
        allowed = self._late_max(limit)
        if limit.measure is Measure.TTFT:  # what is served has its first token
            allowed += replicas * self.plan.at_once
        serves_rps = replicas * self.replica_rps
        left = most = 0.0
        for lasts_s, rate_rps in steps:
            left = max(0.0, left + (rate_rps - serves_rps) * lasts_s)
            most = max(most, left)
        return most - serves_rps * limit.allowed > allowed

    def _late_max(self, limit: Limit) -> float:
        """Requests of a run that may be late, and ten standard errors of how many come."""
        total = self.mean_rate_rps * self.lasts_s
        burstiness = self.arrivals.cv if isinstance(self.arrivals, GammaArrivals) else 1.0
        return (1.0 - (limit.quantile or 0.0)) * total + _ERRORS * max(1.0, burstiness) * math.sqrt(total)

    @property
    def waiting_max(self) -> float:
        """Requests that may wait at once in a run that keeps its limits; infinite without a limit.

        Those that wait for longer than the limit are late, and the others came within it.
        """
        return min(self._late_max(one) + self.peak_rate_rps * one.allowed for one in self.limits)

    @property
    def replica_hourly_usd(self) -> float | None:
        """Price of a replica; None if no price is known. [USD/h]"""
        whole: float | None = self.profile.hourly_cost_usd(self.profile.instances_per_device)
        return None if whole is None else whole / self.profile.instances_per_device

    @property
    def replicas_first(self) -> int:
        """Replicas that are asked for at the beginning of the warm-up: enough for its first rate, within the bounds."""
        if self.autoscaler is None:
            return self.replicas
        wanted = math.ceil(self.steps[0][2] / (0.7 * self.replica_rps)) + self.scenario.gone
        return min(max(wanted, self.autoscaler.replicas_min, 1), self.autoscaler.replicas_max)

    def fixed(self, replicas: int) -> "ScaledFleet":
        """The same fleet with a fixed number of replicas."""
        return self._of(replicas, None)

    def scaled(self, autoscaler: Autoscaler) -> "ScaledFleet":
        """The same fleet with another autoscaler."""
        return self._of(autoscaler.replicas_max, autoscaler)

    def hurried(self, times: float) -> "ScaledFleet":
        """The same fleet on a day that passes this many times as fast, at the same rates.

        A fixed fleet does nearly the same on it, since its queues settle within seconds; a controller does not.
        """
        if times <= 1.0:
            return self
        seen = self.curve.part()
        times_s = tuple((from_s - self.begins_s) / times for from_s, _, _ in seen)
        rates_rps = tuple(rate_rps for _, _, rate_rps in seen)
        day = replace(
            self.curve, times_s=times_s, rates_rps=rates_rps, begins_s=0.0, ends_s=self.lasts_s / times
        )
        workload = replace(self.scenario.workload, day=day)
        return replace(self, scenario=replace(self.scenario, workload=workload))

    def excerpt(self, times: float) -> "ScaledFleet":
        """The same fleet on an excerpt of its day, shorter where the rate stays the same for long.

        What follows a change of the rate, for as long as a warm-up, is left whole. Of the rest of a step one minute in
        about `times` is left, in which each request counts that many times; a fleet does nearly the same in the others.
        Before the excerpt comes the rate at its end, as on a day that repeats itself. Where steps are no whole minutes,
        it is the whole day.
        """
        seen = self.curve.part()
        if any((to_s - from_s) % _MINUTE_S for from_s, to_s, _ in seen):
            return self
        settled = math.ceil(self.warm_up_s / _MINUTE_S)
        counts = [
            _minutes_left(round((to_s - from_s) / _MINUTE_S), settled, times) for from_s, to_s, _ in seen
        ]
        edges_s = [_MINUTE_S * edge for edge in accumulate(map(len, counts), initial=0)]
        day = replace(
            self.curve,
            times_s=tuple(edges_s[:-1]),
            rates_rps=tuple(rate_rps for _, _, rate_rps in seen),
            begins_s=0.0,
            ends_s=edges_s[-1],
        )
        scenario = replace(self.scenario, workload=replace(self.scenario.workload, day=day))
        return replace(self, scenario=scenario, stands_for=tuple(chain.from_iterable(counts)))

    def _of(self, replicas: int, autoscaler: Autoscaler | None) -> "ScaledFleet":
        """The same fleet with this many replicas, of which the failures take theirs."""
        plan = replace(self.plan, replicas=replicas)
        whole = replace(self.scenario, plan=plan, outage=None, autoscaler=autoscaler)
        return replace(self, scenario=whole.after(self.survival))


def _minutes_left(minutes: int, settled: int, times: float) -> list[int]:
    """How many minutes each minute stands for that is left of a step, those until the fleet has settled for themselves.

    >>> _minutes_left(20, 5, 4.0)
    [1, 1, 1, 1, 1, 4, 4, 4, 3]
    """
    first = min(minutes, settled)
    left = math.ceil((minutes - first) / times)
    return [1] * first + [(minutes - first + left - 1 - place) // left for place in range(left)]
