"""Scaled fleet: a fixed or an autoscaled fleet on a day, and the limit that it must hold."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property

from capacity.autoscaling.autoscaler import Autoscaler
from capacity.errors import DomainError, InputError
from capacity.profile.profile import ServiceProfile
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.daily import DAY_S, HOUR_S, DailyCurve, clock
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
)
from capacity.units import require_positive

REQUESTS_MAX = 1_000_000_000  # in one run, which then takes some minutes
_SETTLING_S = 600.0
_QUANTILE, _ERRORS = 0.99, 10.0  # the limited quantile; and standard errors that chance never makes up for
_MINUTE_S = 60.0
Step = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ScaledFleet:
    """A fleet on a day, or on a part of it.

    Attributes:
        plan: settings of one replica, and the routing; its number of replicas is the most that there may be.
        autoscaler: None if all replicas of the plan run all the time.
        curve: rates over the day.
        begins_s, ends_s: the observed part of the day. [s since midnight]
        response_p99_s: limit on the P99 of all requests of that part; lost ones are late. [s]

    Raises:
        DomainError: the part of the day is empty or has no requests, replicas share a device, or a run would have too
            many requests.
        InputError: the arrivals cannot follow a rate that changes.
    """

    profile: ServiceProfile
    plan: BatchPlan
    autoscaler: Autoscaler | None
    curve: DailyCurve
    begins_s: float = 0.0
    ends_s: float = DAY_S
    arrivals: ArrivalProcess = field(default_factory=PoissonArrivals)
    response_p99_s: float

    def __post_init__(self) -> None:
        require_positive("response_p99_s", self.response_p99_s)
        if not 0.0 <= self.begins_s < self.ends_s <= DAY_S:
            raise DomainError(
                f"a part of a day must begin before it ends, from 00:00 to 24:00, got {clock(self.begins_s)}-"
                f"{clock(self.ends_s)}"
            )
        if not isinstance(self.arrivals, PoissonArrivals | GammaArrivals | DeterministicArrivals):
            raise InputError(
                "bursts and traces do not follow a rate that changes; use --arrivals poisson or gamma:cv=2"
            )
        if self.profile.slowdowns(self.plan.replicas)[-1] > 1.0:
            raise DomainError(
                "replicas that share a device are not simulated with an autoscaler; measure batches beside busy "
                "neighbours, and give those times as a profile of its own"
            )
        self._require_requests()

    def _require_requests(self) -> None:
        """Refuse a part of the day without requests, and one with more than a run holds."""
        span, seen = f"{clock(self.begins_s)}-{clock(self.ends_s)}", self.mean_rate_rps * self.lasts_s
        if seen == 0.0:
            raise DomainError(
                f"{self.curve.name} has no requests within {span}; look at another part of the day by --between"
            )
        if self.requests <= REQUESTS_MAX:
            return
        before = self.requests - seen
        if before > seen:
            raise DomainError(
                f"the {self.warm_up_s / HOUR_S:.3g} hours before {clock(self.begins_s)} in which the autoscaler "
                f"settles have {before:.3g} requests, and at most {REQUESTS_MAX:.3g} are simulated; shorten "
                "--startup-time, --metric-lag or --stabilization, or look at a part of the fleet at its part of the "
                "rates"
            )
        hours = (REQUESTS_MAX - before) / seen * self.lasts_s / HOUR_S
        raise DomainError(
            f"{span} has {self.requests:.3g} requests with the warm-up before it, and at most {REQUESTS_MAX:.3g} are "
            f"simulated; look at about {hours:.2g} hours of the day by --between, or at a part of the fleet at its "
            "part of the rates, which scales in larger steps"
        )

    @property
    def lasts_s(self) -> float:
        """Length of the observed part of the day. [s]"""
        return self.ends_s - self.begins_s

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
        return max(rate_rps for _, to_s, rate_rps in self.steps if to_s > self.warm_up_s)

    @property
    def mean_rate_rps(self) -> float:
        """Mean rate of the observed part of the day. [requests/s]"""
        seen = [(max(from_s, self.warm_up_s), to_s, rate_rps) for from_s, to_s, rate_rps in self.steps]
        return math.fsum(max(0.0, to_s - from_s) * rate_rps for from_s, to_s, rate_rps in seen) / self.lasts_s

    @property
    def replica_rps(self) -> float:
        """Capacity of one replica with every batch full. [requests/s]"""
        return sustainable_rate_rps(self.profile, replace(self.plan, replicas=1))

    @property
    def replicas_least(self) -> int:
        """Fewest replicas of a fixed fleet that could hold the limit, by the mean rates.

        Of the requests that arrive in a stretch of time, only those are in time that full batches can serve in it and
        within the limit after it. The rest is late, and chance does not make up for ten standard errors.
        """
        seen = [(max(from_s, self.warm_up_s), to_s, rate_rps) for from_s, to_s, rate_rps in self.steps]
        steps = [(to_s - from_s, rate_rps) for from_s, to_s, rate_rps in seen if to_s > from_s]
        total = math.fsum(lasts_s * rate_rps for lasts_s, rate_rps in steps)
        burstiness = self.arrivals.cv if isinstance(self.arrivals, GammaArrivals) else 1.0
        allowed = (1.0 - _QUANTILE) * total + _ERRORS * max(1.0, burstiness) * math.sqrt(total)

        def late(replicas: int) -> float:
            serves_rps = replicas * self.replica_rps
            left = most = 0.0
            for lasts_s, rate_rps in steps:
                left = max(0.0, left + (rate_rps - serves_rps) * lasts_s)
                most = max(most, left)
            return most - serves_rps * self.response_p99_s

        most = max(1, math.ceil(self.peak_rate_rps / self.replica_rps))
        return 1 + bisect_left(range(1, most), True, key=lambda replicas: late(replicas) <= allowed)  # noqa: FBT003

    @property
    def replica_hourly_usd(self) -> float | None:
        """Price of a replica; None if no price is known. [USD/h]"""
        price = self.profile.hourly_usd
        return None if price is None else price / self.profile.instances_per_device

    @property
    def replicas_first(self) -> int:
        """Replicas at the beginning of the warm-up: enough for its first rate, within the bounds."""
        if self.autoscaler is None:
            return self.plan.replicas
        wanted = math.ceil(self.steps[0][2] / (0.7 * self.replica_rps))
        return min(max(wanted, self.autoscaler.replicas_min, 1), self.autoscaler.replicas_max)

    def fixed(self, replicas: int) -> "ScaledFleet":
        """The same fleet with a fixed number of replicas."""
        return replace(self, plan=replace(self.plan, replicas=replicas), autoscaler=None)

    def scaled(self, autoscaler: Autoscaler) -> "ScaledFleet":
        """The same fleet with another autoscaler."""
        plan = replace(self.plan, replicas=autoscaler.replicas_max)
        return replace(self, plan=plan, autoscaler=autoscaler)
