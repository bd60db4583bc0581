"""Scaler: the autoscaler in a run, which measures replicas, decides, and starts and ends them."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from capacity.autoscaling.controller import Controller
from capacity.autoscaling.pods import Pod
from capacity.question.autoscaler import SYNC_S, Autoscaler, Metric
from capacity.recovery.faults import Action, Fault
from simulations.draws.records import Floats
from simulations.draws.watching import Sight

GAUGE_S = 5.0  # between two gauges of the requests at a replica, of which three make a sample
_ALWAYS_S = -math.inf


class Scaler:
    """A `Watcher` that acts like the HPA.

    Replicas are a stack: those with the highest indices are not started yet, and the youngest end first, beginning
    with those that still start, in the order of Kubernetes.

    Each replica is sampled every `SYNC_S`, and the sample is known `metric_lag_s` later. It is the share of the time
    since the last sample in which a batch was served; or the mean of three gauges of the requests that wait or are
    served there. The requests of a shared queue are divided evenly.

    Args:
        first: replicas that serve from the start.
        arrived_by: number of requests that have arrived by an instant.
        until_s: time of the last look. [s]
        gone: replicas that are asked for and never serve, as a failure has taken them; the oldest.

    Attributes:
        wanted, ready: instants, and the number of replicas asked for or serving from each of them on.
    """

    def __init__(
        self,
        autoscaler: Autoscaler,
        first: int,
        arrived_by: Callable[[float], int],
        until_s: float,
        *,
        gone: int = 0,
    ) -> None:
        self.wanted: list[tuple[float, int]] = [(0.0, first + gone)]
        self.ready: list[tuple[float, int]] = [(0.0, first)]
        self._settings = autoscaler
        self._controller = Controller(autoscaler)
        self._arrived_by = arrived_by
        self._seen = 0  # requests that had arrived at the last sync
        self._until_s = until_s
        self._gone = gone
        self._started_s = [_ALWAYS_S] * first  # of those asked for that are not gone
        self._serves_s = [_ALWAYS_S] * first  # when they serve
        self._count_ready = first
        self._samples: deque[tuple[float, Floats]] = deque()
        self._known: tuple[float, Floats] | None = None
        self._busy_s: Floats | None = None  # at the last sample
        self._gauges: list[Floats] = []
        self._sync = 1  # the next one
        first_sample = math.ceil(autoscaler.metric_lag_s / SYNC_S)
        self._looks = self._planned(first_sample)
        self._next_look_s, self._samples_next = next(self._looks)

    @property
    def next_s(self) -> float:
        """Time of the next look. [s]"""
        joins_s = self._serves_s[self._count_ready] if self._count_ready < len(self._serves_s) else math.inf
        next_s = min(SYNC_S * self._sync, self._next_look_s, joins_s)
        return next_s if next_s <= self._until_s else math.inf

    def look(self, sight: Sight) -> Sequence[Fault]:
        """Measure, decide, and let started replicas serve; several of these may fall on one instant."""
        now_s = sight.now_s
        if now_s == self._next_look_s:
            self._measure(sight)
        faults: list[Fault] = []
        if now_s == SYNC_S * self._sync:
            faults += self._decide(sight)
        faults += self._joining(now_s)
        return faults

    def _planned(self, sync: int) -> Iterator[tuple[float, bool]]:
        """Times of measurements, and whether each completes a sample: in time for each sync, given the lag."""
        has_gauges = self._settings.target.metric is Metric.CONCURRENCY
        while True:
            sampled_s = SYNC_S * sync - self._settings.metric_lag_s
            for before_s in (2.0 * GAUGE_S, GAUGE_S) if has_gauges else ():
                if sampled_s - before_s >= 0.0:
                    yield sampled_s - before_s, False
            yield sampled_s, True
            sync += 1

    def _measure(self, sight: Sight) -> None:
        """Take a gauge of each replica, or complete a sample."""
        is_sample = self._samples_next
        self._next_look_s, self._samples_next = next(self._looks)
        if self._settings.target.metric is Metric.CONCURRENCY:
            self._gauges.append(self._held(sight))
            if is_sample:
                self._samples.append((sight.now_s, np.mean(self._gauges, axis=0)))
                self._gauges = []
            return
        if self._busy_s is not None:
            self._samples.append((sight.now_s, (sight.busy_s - self._busy_s) / SYNC_S))
        self._busy_s = sight.busy_s

    def _held(self, sight: Sight) -> Floats:
        """Requests at each replica."""
        if len(sight.waiting) == len(sight.serving):
            return (sight.waiting + sight.serving).astype(float)
        together = float(sight.waiting.sum() + sight.serving.sum())
        return np.full(len(sight.serving), together / max(1, self._count_ready))

    def _decide(self, sight: Sight) -> list[Fault]:
        """Changes that the controller makes at one sync."""
        now_s, current = sight.now_s, len(self._started_s) + self._gone
        self._sync += 1
        while self._samples and self._samples[0][0] <= now_s - self._settings.metric_lag_s:
            self._known = self._samples.popleft()
        arrived = self._arrived_by(now_s)
        is_active = arrived > self._seen or bool(sight.waiting.sum() + sight.serving.sum())
        self._seen = arrived
        wanted = self._controller.replicas(now_s, current, self._pods(), is_active=is_active)
        if wanted != current:
            self.wanted.append((now_s, wanted))
        if wanted >= current:
            self._started_s += [now_s] * (wanted - current)
            self._serves_s += [now_s + self._settings.startup_s] * (wanted - current)
            return []
        left = wanted - self._gone
        del self._started_s[left:], self._serves_s[left:]
        leaving = range(left, self._count_ready)
        self._set_ready(now_s, min(left, self._count_ready))
        return [Fault(instant_s=now_s, replica=replica, action=Action.LEAVE) for replica in leaving]

    def _joining(self, now_s: float) -> list[Fault]:
        """Joining of the replicas that have started by now."""
        first = ready = self._count_ready
        while ready < len(self._serves_s) and self._serves_s[ready] <= now_s:
            ready += 1
        self._set_ready(now_s, ready)
        return [
            Fault(instant_s=now_s, replica=replica, action=Action.JOIN) for replica in range(first, ready)
        ]

    def _set_ready(self, now_s: float, ready: int) -> None:
        if ready != self._count_ready:
            self._count_ready = ready
            self.ready.append((now_s, ready))

    def _pods(self) -> list[Pod]:
        """The replicas as the controller sees them, by the latest sample that it knows."""
        measured_s, values = self._known or (_ALWAYS_S, np.full(len(self._started_s), np.nan))
        is_share = self._settings.target.metric is Metric.UTILIZATION
        down = Pod(used=None, window_s=SYNC_S, started_s=_ALWAYS_S, is_ready=False, changed_s=_ALWAYS_S)
        pods = [down] * self._gone
        for index, (started_s, serves_s) in enumerate(zip(self._started_s, self._serves_s, strict=True)):
            is_ready = index < self._count_ready
            # A metric is known once a whole window of the machine, or of the server, is in the sample.
            since_s = started_s if is_share else serves_s
            is_known = self._known is not None and measured_s >= since_s + SYNC_S
            used = int(1000.0 * values[index]) if is_known else None
            pods.append(
                Pod(
                    used=used,
                    measured_s=measured_s,
                    window_s=SYNC_S,
                    started_s=started_s,
                    is_ready=is_ready,
                    changed_s=serves_s if is_ready else started_s,
                )
            )
        return pods
