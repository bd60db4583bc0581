"""Device: what some replicas share, in SimPy; each is the slower the more of them are busy.

A batch has an amount of work, the time that it would take alone. While m of a device's instances are busy,
the work of each goes down at the rate of 1/slowdown(m).

Source:
    Kleinrock (1967), J. ACM 14(2), 242-261, processor sharing; with a rate for each number of busy ones
    Cohen (1979), Acta Informatica 12, 245-284, generalised processor sharing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulations.clock import Clock, Moment, Phase


@dataclass
class Job:
    """The batch that a replica serves: the work left at an instant, and when it will end at that rate."""

    work_s: float
    since_s: float
    ends_s: float
    end: Moment


class Device:
    """The instances of one device and what they are busy with.

    Args:
        slowdowns: how many times as long a batch takes while 1, 2, ... instances are busy.
    """

    def __init__(self, clock: Clock, slowdowns: Sequence[float]) -> None:
        self._clock = clock
        self._slowdowns = slowdowns
        self._jobs: dict[int, Job] = {}  # by replica

    def serve(self, replica: int, work_s: float) -> Moment:
        """A replica starts a batch, from rest or right after another; the moment at which that ends."""
        now_s, busy = self._clock.now, len(self._jobs)
        if len(self._slowdowns) == 1:  # nobody to look after
            return self._ends(now_s + work_s, replica)
        if replica not in self._jobs:
            busy += 1
            self._change(now_s, busy - 1, busy)
        ends_s = now_s + work_s * self._slowdowns[busy - 1]
        end = self._ends(ends_s, replica)
        self._jobs[replica] = Job(work_s, now_s, ends_s, end)
        return end

    def _ends(self, ends_s: float, replica: int) -> Moment:
        return Moment(self._clock).at(ends_s, Phase.COMPLETION, replica)

    def rest(self, replica: int) -> None:
        """A replica has nothing to serve, at once or since before."""
        if self._jobs.pop(replica, None) is not None:
            busy = len(self._jobs)
            self._change(self._clock.now, busy + 1, busy)

    def _change(self, now_s: float, before: int, after: int) -> None:
        """Others that end later go on at the new rate; none ends at the instant of the change itself."""
        if before == 0 or after == 0 or self._slowdowns[before - 1] == self._slowdowns[after - 1]:
            return
        for replica, job in self._jobs.items():
            if job.ends_s > now_s:
                job.work_s -= (now_s - job.since_s) / self._slowdowns[before - 1]
                job.since_s = now_s
                ends_s = now_s + job.work_s * self._slowdowns[after - 1]
                job.ends_s = max(ends_s, math.nextafter(now_s, math.inf))
                job.end = job.end.moved(job.ends_s, Phase.COMPLETION, replica)
