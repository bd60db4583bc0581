"""Overload in bursts: how late requests are at least where bursts exceed what a fleet can serve."""

import math
from dataclasses import dataclass

from capacity.traffic.workload import MmppArrivals

# Standard deviations that chance may take from the backlog: it takes more once in 30,000 bursts.
_CHANCE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """One replica of a fleet whose bursts bring more than it serves.

    Attributes:
        arrival_rate_rps: mean arrival rate of the replica. [requests/s]
        served_rps: most that it serves. [requests/s]
        variability: ca² + B·cs², of the gaps in a burst and of the service of a full batch.
        in_service: requests that it may serve at once.
    """

    bursts: MmppArrivals
    arrival_rate_rps: float
    served_rps: float
    variability: float
    in_service: float

    def wait_min_s(self, quantile: float) -> float:
        """A lower bound of a quantile of the wait, from the work that must pile up. [s]

        After a burst has lasted a seconds, (λ - μ)a requests wait, less what chance may have taken, and the next
        waits until these are served. So do requests of the calm stretch after it, until the rest is drained.
        Bursts last exponential times, and what is late in the long run is a share of all requests.

        Returns:
            0 where bursts are not too much for the replica, or too rare to matter.

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
        chance = _CHANCE * math.sqrt(self.variability * max(burst_rps, self.served_rps) * age_s)
        return max(0.0, (excess_rps * age_s - chance - self.in_service) / self.served_rps)

    def _late_after_burst(self, excess_rps: float, burst_rps: float, calm_rps: float) -> float:
        """Late requests of a burst that has become late and of the calm after it, over those of the burst.

        From when it is late the burst lasts as long as any, and what it adds meanwhile takes an exponential time
        to drain, unless the next burst comes first.
        """
        spare_rps = self.served_rps - calm_rps
        if spare_rps <= 0.0:
            return 1.0
        drain_s = excess_rps * self.bursts.burst_mean_s / spare_rps
        calm_s = 1.0 / (1.0 / drain_s + 1.0 / self.bursts.calm_mean_s)
        return 1.0 + calm_rps * calm_s / (burst_rps * self.bursts.burst_mean_s)
