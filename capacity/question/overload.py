"""Overload: lower bounds of waits in bursts beyond capacity, and what one engine does if requests always wait."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capacity.traffic.workload import MmppArrivals

# Standard deviations by which the backlog may fall below its mean: more happens once in 30,000 bursts.
_CHANCE = 4.0


def backlog_wait_s(
    arrival_rate_rps: float, served_rps: float, age_s: float, variability: float, in_service: float
) -> float:
    """Lower bound of the wait of a request that comes when more arrive than are served for this long. [s]

    (λ - μ)a requests wait then, less a random deviation and those in service; 0 if no more arrive than are served.

    Args:
        variability: ca² + B·cs², of the gaps and of the service of a full batch.

    Source:
        Newell (1982), Applications of Queueing Theory, ch. 2, the fluid approximation of a rush hour.
    """
    chance = _CHANCE * math.sqrt(variability * max(arrival_rate_rps, served_rps) * age_s)
    return max(0.0, ((arrival_rate_rps - served_rps) * age_s - chance - in_service) / served_rps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """One replica of a fleet in a spike above its capacity, while new replicas are not ready.

    Attributes:
        arrival_rate_rps: of the replica in the spike. [requests/s]
        duration_s: of the spike. [s]
        served_rps: highest rate at which it can serve. [requests/s]
        variability: as of `backlog_wait_s`.
        in_service: requests that it can serve at once.
    """

    arrival_rate_rps: float
    duration_s: float
    served_rps: float
    variability: float
    in_service: float

    def wait_min_s(self, quantile: float) -> float:
        """Lower bound of a quantile of the waits of those that come in the spike, each later than the last. [s]"""
        age_s = quantile * self.duration_s
        return backlog_wait_s(
            self.arrival_rate_rps, self.served_rps, age_s, self.variability, self.in_service
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """One replica of a fleet with bursts above its capacity.

    Attributes:
        arrival_rate_rps: mean arrival rate of the replica. [requests/s]
        served_rps: highest rate at which it can serve. [requests/s]
        variability: ca² + B·cs², of the gaps in a burst and of the service of a full batch.
        in_service: requests that it can serve at once.
    """

    bursts: MmppArrivals
    arrival_rate_rps: float
    served_rps: float
    variability: float
    in_service: float

    def wait_min_s(self, quantile: float) -> float:
        """Lower bound of a quantile of the wait, from the backlog that must build up. [s]

        When a burst has lasted a seconds, (λ - μ)a requests wait, less a random deviation, and the next request waits
        until these are served. So do requests of the calm stretch after it, until the backlog is drained. Bursts have
        exponential lengths, and the late share is one of all requests in the long run.

        Returns:
            0 if bursts do not exceed the replica's capacity, or are too rare to matter.

        Source:
            Newell (1982), Applications of Queueing Theory, ch. 2, the fluid approximation of a rush hour.
        """
        bursts = self.bursts
        burst_rps, calm_rps = bursts.rates_rps(self.arrival_rate_rps)
        excess_rps = burst_rps - self.served_rps
        if excess_rps <= 0.0:
            return 0.0
        late_s = bursts.burst_mean_s * self._late_after_burst(excess_rps, burst_rps, calm_rps)
        cycle_s = bursts.burst_mean_s + bursts.calm_mean_s
        share = burst_rps * late_s / (self.arrival_rate_rps * cycle_s)
        if share <= 1.0 - quantile:
            return 0.0
        age_s = bursts.burst_mean_s * math.log(share / (1.0 - quantile))
        return backlog_wait_s(burst_rps, self.served_rps, age_s, self.variability, self.in_service)

    def _late_after_burst(self, excess_rps: float, burst_rps: float, calm_rps: float) -> float:
        """Late requests of a burst that has become late and of the calm after it, over those of the burst.

        After it has become late, a burst lasts as long as any other, and the backlog that it adds takes an
        exponential time to drain, unless the next burst begins before.
        """
        spare_rps = self.served_rps - calm_rps
        if spare_rps <= 0.0:
            return 1.0
        drain_s = excess_rps * self.bursts.burst_mean_s / spare_rps
        calm_s = 1.0 / (1.0 / drain_s + 1.0 / self.bursts.calm_mean_s)
        return 1.0 + calm_rps * calm_s / (burst_rps * self.bursts.burst_mean_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """What one engine does while requests always wait.

    Attributes:
        rate_rps: requests that it finishes.
        running_mean: requests that run at once.
        kv_utilization: share of the KV cache in use.
        preemption_rate: preemptions per request.
        step_mean_s: of a step. [s]
        prefill_time_share: share of the time that goes to prompts, and not to steps that decode alone.
        binding: what it runs out of first: slots, kv_cache or tokens.
        measured_max: the largest setting of that which its profile covers, sequences or tokens a step; None if there is
            no such setting.
        tokens_measured: the most tokens a step that its profile covers.
    """

    rate_rps: float
    running_mean: float
    kv_utilization: float
    preemption_rate: float
    step_mean_s: float
    prefill_time_share: float
    binding: str
    measured_max: int | None = None
    tokens_measured: int | None = None

    def engines_min(self, arrival_rate_rps: float) -> int:
        """Fewest engines whose load is below 1."""
        return math.floor(arrival_rate_rps / self.rate_rps) + 1


# The saturation of a scenario's fleet.
Saturated = Callable[[Any], Saturation]
