"""Controller: turns what pods report into a number of replicas, as an autoscaler is set."""

import math
from collections import deque
from collections.abc import Sequence

from capacity.autoscaling.calculator import desired_replicas
from capacity.autoscaling.pods import Pod, grouped
from capacity.question.autoscaler import Autoscaler

# Defaults of the HPA's `behavior`.
SCALE_UP_FACTOR, SCALE_UP_PODS = 2, 4
# Defaults of a KEDA ScaledObject, which apply between 0 and 1 replica alone.
POLLING_S, COOLDOWN_S = 30.0, 300.0


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
