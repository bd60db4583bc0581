"""Day: one run of a fleet over a day, on which an autoscaler starts and ends its replicas, whatever these are."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.autoscaling.findings import COURSE_S
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.recovery.faults import Action, Fault
from capacity.traffic.any_lengths import are_sessions, turns_each
from simulations.draws.arrivals import Seed
from simulations.draws.attempts import Outcomes
from simulations.draws.days import DayStream
from simulations.draws.records import Floats
from simulations.draws.watching import BacklogWatch, Unwatched, Watcher
from simulations.scaler import Scaler

Counts = Sequence[tuple[float, int]]


class Day:
    """The requests of one run, its watcher, and its replicas once it is over.

    Attributes:
        stream: requests of the run, or sessions whose turns they are, those of its warm-up first.
        watcher: the autoscaler; of a fixed fleet it never looks, or only at what piles up.
        first: replicas that serve from the start, without those that a failure has taken.
        begins_s, ends_s: the observed part, in the time of the run. [s]
        attempts_mean: attempts at a request of that part; None if clients were not simulated.
    """

    attempts_mean: float | None = None

    def __init__(self, fleet: ScaledFleet, seed: Seed) -> None:
        self.fleet, self.seed = fleet, seed
        self.begins_s, self.ends_s = fleet.warm_up_s, fleet.warm_up_s + fleet.lasts_s
        each = turns_each(fleet.scenario.lengths)
        arrivals = [(from_s, to_s, rate_rps / each) for from_s, to_s, rate_rps in fleet.steps]
        self.stream = DayStream(arrivals, fleet.arrivals, seed, fleet.spells)
        self.first = fleet.replicas_first - fleet.scenario.gone
        scaler = fleet.autoscaler
        self._scaler = None
        if scaler is not None:
            self._scaler = Scaler(
                scaler, self.first, self.stream.arrived_by, self.ends_s, gone=fleet.scenario.gone
            )
        self.watcher = self._scaler or self._fixed()

    def _fixed(self) -> Watcher:
        """What watches a fixed fleet, which has no more to tell once its sessions pile up."""
        if not are_sessions(self.fleet.scenario.lengths):
            return Unwatched()
        return BacklogWatch(self.fleet.waiting_max, self.begins_s, self.ends_s)

    @property
    def absent(self) -> list[Fault]:
        """Replicas that do not serve from the start leave at once."""
        later = range(self.first, self.fleet.plan.replicas)
        return [Fault(instant_s=0.0, replica=replica, action=Action.LEAVE) for replica in later]

    def count_attempts(self, outcomes: Outcomes) -> None:
        """Count how often clients tried the requests of the observed part."""
        first, end = np.searchsorted(outcomes.arrived_s, (self.begins_s, self.ends_s))
        tries = np.maximum(outcomes.attempts[first:end], 1)
        self.attempts_mean = float(tries.mean()) if len(tries) else 1.0

    @property
    def steps(self) -> int:
        """Number of steps of the course."""
        return math.ceil(self.fleet.lasts_s / COURSE_S)

    @property
    def _wanted(self) -> Counts:
        return [(0.0, self.fleet.replicas_first)] if self._scaler is None else self._scaler.wanted

    @property
    def wanted(self) -> Floats:
        """Mean number of replicas that were asked for, by the steps of the course."""
        return by_step(self._wanted, self.begins_s, self.steps, self.ends_s)

    @property
    def ready(self) -> Floats:
        """Mean number of replicas that served, by the steps of the course."""
        counts = self._wanted if self._scaler is None else self._scaler.ready
        return by_step(counts, self.begins_s, self.steps, self.ends_s)

    @property
    def replica_s(self) -> float:
        """Time of the replicas that were asked for; over an excerpt, that of the day. [s]"""
        lengths_s = np.minimum(COURSE_S, self.fleet.lasts_s - COURSE_S * np.arange(self.steps))
        return float((self.wanted * lengths_s * (self.fleet.stands_for or 1)).sum())

    @property
    def _changes(self) -> Counts:
        """Changes of the number of replicas within the observed part."""
        return [one for one in self._wanted if self.begins_s < one[0] < self.ends_s]

    @property
    def scalings(self) -> int:
        """Number of changes of the number of replicas."""
        return len(self._changes)

    @property
    def replicas_most(self) -> int:
        """Most replicas that were asked for."""
        return max([at(self._wanted, self.begins_s), *(count for _, count in self._changes)])


def by_step(counts: Counts, begins_s: float, steps: int, ends_s: float) -> Floats:
    """Mean over each step of a number that changes at given instants."""
    instants_s = np.array([instant_s for instant_s, _ in counts])
    values = np.array([float(count) for _, count in counts])
    areas = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(instants_s))])
    edges_s = np.minimum(begins_s + COURSE_S * np.arange(steps + 1), ends_s)
    places = np.searchsorted(instants_s, edges_s, side="right") - 1
    up_to = areas[places] + values[places] * (edges_s - instants_s[places])
    means: Floats = np.diff(up_to) / np.diff(edges_s)
    return means


def at(counts: Counts, now_s: float) -> int:
    """The number at an instant."""
    return [count for instant_s, count in counts if instant_s <= now_s][-1]
