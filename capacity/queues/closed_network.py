"""Closed network: a fixed number of users who visit several single servers in turn."""

import math
from dataclasses import dataclass, field

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.queues.domain import require_count, require_not_negative, require_positive

USERS_MAX = 1_000_000  # one step of the recursion for each


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedNetwork:
    """N users who think for Z and then pass through single-server stations; exact means.

    Mean value analysis: a request meets, at every station, the mean queue of the same network with
    one user less. All terms are positive. Several servers at a station need the law of states
    (`capacity.queues.closed` for one station): mean value analysis is unstable there.

    Attributes:
        demands_s: by station, mean service time x visits of one request.
        residence_times_s: by station, mean time a request spends there, all visits together.
        in_station_means: by station, mean number waiting or in service.

    Raises:
        DomainError: users not an integer in 1..1e6, no station, or a time out of range.

    Source:
        Reiser & Lavenberg (1980), Journal of the ACM 27(2), 313-322.

    Assumes:
        Product form: exponential service and FIFO, or any law and processor sharing; steady state.
        Think times of any law.

    >>> network = ClosedNetwork(users=3, think_time_s=15.0, demands_s=(0.605, 2.1, 1.35))
    >>> round(network.throughput_rps, 4), round(network.response_mean_s, 3)
    (0.1515, 4.8)
    """

    users: int
    think_time_s: float
    demands_s: tuple[float, ...]
    residence_times_s: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("users", self.users, most=USERS_MAX)
        require_not_negative("think_time_s", self.think_time_s)
        object.__setattr__(self, "demands_s", tuple(self.demands_s))
        if not self.demands_s:
            raise DomainError("demands_s must name at least one station, got ()")
        for index, demand_s in enumerate(self.demands_s):
            require_positive(f"demands_s[{index}]", demand_s)
        object.__setattr__(self, "residence_times_s", self._mean_value_analysis())

    def _mean_value_analysis(self) -> tuple[float, ...]:
        """Residence times from 1 user up to N, in units of the largest demand."""
        unit_s = max(self.demands_s)
        think = self.think_time_s / unit_s
        demands = [demand_s / unit_s for demand_s in self.demands_s]
        times = demands
        for users in range(2, self.users + 1):
            throughput = (users - 1) / (think + math.fsum(times))
            times = [d * (1.0 + throughput * t) for d, t in zip(demands, times, strict=True)]
        return tuple(unit_s * time for time in times)

    @property
    def response_mean_s(self) -> float:
        """Mean time in all stations together."""
        return math.fsum(self.residence_times_s)

    @property
    def throughput_rps(self) -> float:
        """Requests answered per second, X = N / (Z + R)."""
        return self.users / (self.think_time_s + self.response_mean_s)

    @property
    def in_station_means(self) -> tuple[float, ...]:
        """By station, mean number waiting or in service, by Little's law."""
        cycle_s = self.think_time_s + self.response_mean_s
        return tuple(self.users * (time_s / cycle_s) for time_s in self.residence_times_s)

    @property
    def utilizations(self) -> tuple[float, ...]:
        """By station, share of time that its server is busy: X times its demand."""
        cycle_s = self.think_time_s + self.response_mean_s
        return tuple(min(1.0, self.users * (demand_s / cycle_s)) for demand_s in self.demands_s)

    @property
    def in_system_mean(self) -> float:
        """Mean number of users that do not think."""
        return self.users * (self.response_mean_s / (self.think_time_s + self.response_mean_s))

    @property
    def throughput_max_rps(self) -> float:
        """Asymptotic bound X <= min(1 / largest D, N / (Z + sum of D)); Denning & Buzen (1978)."""
        return min(1.0 / max(self.demands_s), self.users / (self.think_time_s + math.fsum(self.demands_s)))

    @property
    def saturation_users(self) -> float:
        """N* = (Z + sum of D) / largest D, where the two bounds on throughput meet."""
        return (self.think_time_s + math.fsum(self.demands_s)) / max(self.demands_s)

    def performance(self) -> Performance:
        """The means of the whole network; mean value analysis gives no quantiles.

        >>> network = ClosedNetwork(users=20, think_time_s=4.0, demands_s=(2.0, 3.0, 1.0))
        >>> round(network.performance().throughput_rps, 4)
        0.3332
        """
        return Performance(
            kind=Kind.EXACT,
            throughput_rps=self.throughput_rps,
            in_system_mean=self.in_system_mean,
            response_mean_s=self.response_mean_s,
        )
