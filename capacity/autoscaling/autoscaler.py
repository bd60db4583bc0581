"""Autoscaler: its settings, and the controller that turns what pods report into a number of replicas."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from capacity.autoscaling.calculator import TOLERANCE, desired_replicas
from capacity.autoscaling.pods import Pod, grouped
from capacity.autoscaling.target import Target
from capacity.errors import DomainError
from capacity.units import require_count, require_not_negative

# Defaults of kube-controller-manager and of the HPA's `behavior`.
SYNC_S = 15.0
STABILIZATION_S = 300.0
SCALE_UP_FACTOR, SCALE_UP_PODS = 2, 4
# Defaults of a KEDA ScaledObject, which apply between 0 and 1 replica alone.
POLLING_S, COOLDOWN_S = 30.0, 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """Settings of an autoscaler.

    Attributes:
        replicas_min: with 0 the last replica is removed after `COOLDOWN_S` without requests, and returns within
            `POLLING_S` of the next request.
        startup_s: time from the decision until a new replica serves. [s]
        metric_lag_s: age of the metrics at the decision. [s]

    Raises:
        DomainError: the bounds contradict each other, or a time is below 0.
    """

    target: Target
    replicas_min: int = 1
    replicas_max: int
    startup_s: float = 0.0
    metric_lag_s: float = 0.0
    tolerance: float = TOLERANCE
    stabilization_s: float = STABILIZATION_S

    def __post_init__(self) -> None:
        require_count("replicas_min", self.replicas_min, 0)
        require_count("replicas_max", self.replicas_max, max(1, self.replicas_min))
        require_not_negative("startup_s", self.startup_s)
        require_not_negative("metric_lag_s", self.metric_lag_s)
        if not 0.0 <= self.tolerance < 1.0:
            raise DomainError(f"tolerance must be in [0, 1), got {self.tolerance:g}")
        require_not_negative("stabilization_s", self.stabilization_s)

    @property
    def reaction_s(self) -> float:
        """Longest time from a change of the load to replicas that serve it: lag, one sync and start-up. [s]"""
        return self.metric_lag_s + SYNC_S + self.startup_s


class Controller:
    """One autoscaler at work, with its recent recommendations and the time of the last request.

    Source:
        Kubernetes, pkg/controller/podautoscaler/horizontal.go: reconcileAutoscaler,
        stabilizeRecommendationWithBehaviors and convertDesiredReplicasWithBehaviorRate with the default behavior;
        KEDA, ScaledObject specification, pollingInterval and cooldownPeriod, between 0 and 1 replica.
    """

    def __init__(self, autoscaler: Autoscaler) -> None:
        self._settings = autoscaler
        self._recommended: deque[tuple[float, int]] = deque()
        self._active_s = -math.inf
        self._polled_s = -math.inf

    def replicas(self, now_s: float, current: int, pods: Sequence[Pod], *, is_active: bool = True) -> int:
        """Number of replicas to ask for; called once every `SYNC_S`.

        Args:
            current: replicas that were last asked for.
            is_active: whether requests came recently, or are at the fleet.
        """
        settings = self._settings
        if is_active:
            self._active_s = now_s
        if settings.replicas_min == 0:
            if current == 0:
                return self._woken(now_s, is_active=is_active)
            if now_s - self._active_s >= COOLDOWN_S:
                return 0
        least, most = max(1, settings.replicas_min), settings.replicas_max
        if not least <= current <= most:
            return min(max(current, least), most)
        counted = grouped(pods, settings.target.metric, now_s)
        desired = desired_replicas(settings.target, current, counted, settings.tolerance)
        if desired is None:
            return current
        return min(max(self._limited(current, self._stabilized(now_s, current, desired)), least), most)

    def _woken(self, now_s: float, *, is_active: bool) -> int:
        """1 if a poll, one every `POLLING_S`, finds requests; else 0."""
        if now_s - self._polled_s < POLLING_S:
            return 0
        self._polled_s = now_s
        return 1 if is_active else 0

    def _stabilized(self, now_s: float, current: int, desired: int) -> int:
        """The desired number on the way up; on the way down at least the largest recommendation within the window."""
        while self._recommended and self._recommended[0][0] <= now_s - self._settings.stabilization_s:
            self._recommended.popleft()
        largest = max((count for _, count in self._recommended), default=desired)
        self._recommended.append((now_s, desired))
        return desired if desired >= current else min(current, max(desired, largest))

    @staticmethod
    def _limited(current: int, desired: int) -> int:
        """The desired number, but on the way up at most twice as many, or four more, in one sync.

        These are the documented policies of `behavior`. An HPA without that field allows max(2n, 4) in all.
        """
        return min(desired, max(SCALE_UP_FACTOR * current, current + SCALE_UP_PODS))
