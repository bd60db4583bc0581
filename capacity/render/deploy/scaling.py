"""Scaling: the rate at which an autoscaler must ask for another server so that it is ready in time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from capacity.render.deploy.fleet import Deployed
from capacity.units import format_duration, format_rate

# An HPA leaves the number of pods alone while metric / target is within 10 % of 1 (as does KEDA, which makes one).
HPA_TOLERANCE = 0.1
METRIC_WINDOW_S = 60
SYNC_S = 15  # seconds between two evaluations of the HPA's metrics


def asking_rate_rps(planned_rps: float, headroom_rps: float, growth: float | None = None) -> float:
    """Rate of the whole fleet at which to ask for the next server. [requests/s]

    Until it serves, traffic may grow by `growth`, and must still be within the headroom: rate x growth <= headroom.
    Without a known growth the way from the planned rate to the headroom is divided into two equal factors: one before
    the server is asked for, one until it is ready. At the planned rate the fleet is large enough by the plan, so the
    result is never below that; a spike from there was evaluated by itself.

    A larger fleet sustains at least the same rate on each server: its arrivals can only be spread more evenly.

    >>> asking_rate_rps(3200.0, 4096.0, growth=1.25), round(asking_rate_rps(3200.0, 4096.0))
    (3276.8, 3620)
    >>> asking_rate_rps(3200.0, 4096.0, growth=2.0)
    3200.0
    """
    factor = math.sqrt(headroom_rps / planned_rps) if growth is None else growth
    return max(planned_rps, headroom_rps / factor)


def hpa_target_rps(asking_rps: float, planned_rps: float, servers: int) -> float:
    """Mean rate of a server to set as the target of an HPA or KEDA. [requests/s]

    The HPA wants ceil(metric / target) pods, but does nothing while the metric is within 10 % of pods x target. To
    act at the asking rate, the target is that rate / (servers x 1.1), and at least the planned rate of a server,
    below which it would add to a fleet that is large enough.

    Source:
        Kubernetes documentation, Horizontal Pod Autoscaling, "Algorithm details" (tolerance 0.1 by default).

    >>> round(hpa_target_rps(3413.0, 3200.0, servers=5), 1), round(hpa_target_rps(4000.0, 3200.0, servers=5), 1)
    (640.0, 727.3)
    """
    return max(asking_rps / (1.0 + HPA_TOLERANCE), planned_rps) / servers


def reaction_s(startup_s: float) -> float:
    """Longest time from reaching a rate until a new server serves. [s]

    The metric is an average over a window, which a jump fills in that time; then comes the autoscaler's next
    evaluation, then start-up.

    >>> reaction_s(60.0)
    135.0
    """
    return METRIC_WINDOW_S + SYNC_S + startup_s


def in_progress(rate_rps: float, response_s: float) -> float:
    """Mean number of requests in progress, L = lambda W.

    Source:
        Little (1961), Operations Research 9(3), 383-387.

    >>> in_progress(640.0, 0.0125)
    8.0
    """
    return rate_rps * response_s


def rounded_down(value: float) -> str:
    """Four significant digits, never more than the value.

    >>> rounded_down(727.27), rounded_down(640.0), rounded_down(0.123456)
    ('727.2', '640', '0.1234')
    """
    scale = 10.0 ** (3 - math.floor(math.log10(value)))
    return f"{math.floor(value * scale * (1.0 + 1e-12)) / scale:.10f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Rates of a fleet for setting its autoscaler. [requests/s]

    Attributes:
        asking_rps: rate of the whole fleet at which to ask for the next server.
        growth: factor by which traffic may grow from there until the server is ready.
    """

    planned_rps: float
    headroom_rps: float
    asking_rps: float
    servers: int
    growth: float | None
    startup_s: float | None

    @property
    def hpa_target_rps(self) -> float:
        """Target of an HPA or KEDA, by the function of that name."""
        return hpa_target_rps(self.asking_rps, self.planned_rps, self.servers)

    @property
    def servers_max(self) -> int:
        """Largest number of servers: twice the plan, or what the spike needs if that is more; set it to your budget."""
        spike_rps = self.planned_rps * (self.growth or 1.0)
        return max(2 * self.servers, math.ceil(spike_rps * self.servers / self.asking_rps))

    def notes(self, tolerance: float = HPA_TOLERANCE) -> Iterator[str]:
        """Where the target comes from, and what it leaves room for."""
        each = f"{format_rate(self.headroom_rps / self.servers)} on each of {self.servers}"
        yield (
            f"Target: the plan holds up to {format_rate(self.headroom_rps)}, {each}; planned are "
            f"{format_rate(self.planned_rps)}, {format_rate(self.planned_rps / self.servers)} on each."
        )
        acts_rps = self._acts_rps(tolerance)
        left = self.headroom_rps / acts_rps - 1.0
        tolerates = f" (it ignores {100 * tolerance:.0f} % above the target)" if tolerance else ""
        if left < 0.0:
            yield (
                f"Too little headroom: the autoscaler acts from {format_rate(acts_rps)}{tolerates}, beyond what the "
                "plan holds. Plan for a higher --rate, or lower the tolerance."
            )
            return
        yield (
            f"The autoscaler acts from {format_rate(acts_rps)}{tolerates}; from there traffic may grow by "
            f"{100 * left:.0f} % until the new server is ready, {self._when()}."
        )

    def _acts_rps(self, tolerance: float) -> float:
        """Rate at which an autoscaler with this tolerance adds a server."""
        return max(self.asking_rps, self.planned_rps * (1.0 + tolerance))

    def _when(self) -> str:
        parts = f"{METRIC_WINDOW_S} s of the metric's window and {SYNC_S} s between looks"
        if self.startup_s is None:
            return f"after {parts}, and its start-up; plan with --spike and --startup-time to set both"
        reaction, startup = format_duration(reaction_s(self.startup_s)), format_duration(self.startup_s)
        return f"after {reaction}: {parts}, and {startup} of start-up"


def scaling_of(fleet: Deployed) -> Scaling:
    """The rates of a fleet.

    Raises:
        InputError: the plan is for a closed population.
    """
    planned_rps = fleet.rate_rps
    headroom_rps = max(planned_rps, fleet.headroom_rps or planned_rps)
    return Scaling(
        planned_rps=planned_rps,
        headroom_rps=headroom_rps,
        asking_rps=asking_rate_rps(planned_rps, headroom_rps, fleet.growth),
        servers=fleet.servers,
        growth=fleet.growth,
        startup_s=fleet.startup_s,
    )
