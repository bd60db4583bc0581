"""Devices of the recovery kernel: replicas that share one slow each other down, as `Device` of the reference has it."""

import numpy as np

from simulations.compiled import callee, inlined
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.queue import Batches
from simulations.kernel.recovery.state import COMPLETION, World


@inlined
def _first(s: Batches, r: int) -> int:
    """The first replica of a replica's device."""
    return r // len(s.slowdowns) * len(s.slowdowns)


@callee
def busy_on(s: Batches, r: int) -> int:
    """How many replicas of a replica's device are busy."""
    first, count = _first(s, r), 0
    for other in range(first, min(first + len(s.slowdowns), len(s.jobs))):
        count += 1 if s.jobs[other].is_busy else 0
    return count


@callee
def change_rate(w: World, s: Batches, r: int, before: int, after: int, now_s: float) -> None:
    """The other batches of a device that end later go on at the new rate; none ends at the instant itself."""
    if before == 0 or after == 0 or s.slowdowns[before - 1] == s.slowdowns[after - 1]:
        return
    first = _first(s, r)
    for other in range(first, min(first + len(s.slowdowns), len(s.jobs))):
        if s.jobs[other].is_busy and w.replicas[other].finish_s > now_s:
            work_off(s, other, before, now_s)
            ends_s = s.jobs[other].since_s + s.jobs[other].work_s * s.slowdowns[after - 1]
            w.replicas[other].finish_s = max(ends_s, np.nextafter(now_s, np.inf))
            push(w, w.replicas[other].finish_s, COMPLETION, other, other)


@callee
def work_off(s: Batches, r: int, busy: int, now_s: float) -> None:
    """A replica works until now, beside this many busy ones; not if it pauses until later."""
    if now_s > s.jobs[r].since_s:
        s.jobs[r].work_s -= (now_s - s.jobs[r].since_s) / s.slowdowns[busy - 1]
        s.jobs[r].since_s = now_s


@callee
def enter(w: World, s: Batches, r: int, now_s: float) -> float:
    """A replica starts a batch, from rest or right after another: how many times as long as alone it takes now."""
    if len(s.slowdowns) == 1:
        return 1.0
    busy = busy_on(s, r)
    if not s.jobs[r].is_busy:
        change_rate(w, s, r, busy, busy + 1, now_s)
        s.jobs[r].is_busy = True
        busy += 1
    return float(s.slowdowns[busy - 1])


@callee
def leave_device(w: World, s: Batches, r: int, now_s: float) -> None:
    """A replica has nothing to serve."""
    if s.jobs[r].is_busy:
        busy = busy_on(s, r)
        s.jobs[r].is_busy = False
        change_rate(w, s, r, busy, busy - 1, now_s)


@callee
def pause_job(s: Batches, r: int, length_s: float, now_s: float) -> None:
    """A replica stands still for a while, and keeps its place on the device."""
    if s.jobs[r].is_busy:
        work_off(s, r, busy_on(s, r), now_s)
        s.jobs[r].since_s += length_s
