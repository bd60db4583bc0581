"""Kernel recursions: one queue without a limit, served in the order of arrival, needs no events.

Requests start in the order of their arrival, batch by batch, each at the replica that is free first. All that
is known of the replicas is the sorted vector of the instants at which they become free, not which of
them is which: replicas are alike, and a recursion does not name them.

Source:
    Kiefer & Wolfowitz (1955), Trans. Amer. Math. Soc. 78, 1-18, for single requests; batches by the
    batching semantics.
"""

import numpy as np

from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.service import Laws, duration_s
from simulations.kernel.batching import over_s, starts_s


@inlined
def _busy_until(free_s: Floats, finish_s: float) -> None:
    """The replica that was free first becomes free then; the vector stays sorted.

    Each becomes the middle one of itself, the next and the new instant, without a branch to mispredict.
    """
    here_s = free_s[0]
    for place in range(len(free_s) - 1):
        next_s = free_s[place + 1]
        earlier_s = min(finish_s, next_s)
        free_s[place] = max(earlier_s, here_s)
        here_s = next_s


@inlined
def _ends_at(free_s: Floats, instant_s: float) -> bool:
    """Whether some batch ends at that instant."""
    place = 0
    while place < len(free_s) and free_s[place] < instant_s:
        place += 1
    return place < len(free_s) and free_s[place] == instant_s


@compiled
def serve_singly(
    laws: Laws, free_s: Floats, arrived_s: Floats, service: Floats, started_s: Floats, finished_s: Floats
) -> None:
    """Requests one by one, shape `(requests,)` each; the start and the finish of each are filled in. [s]

    Args:
        laws: as `service.duration_s` takes them.
        free_s: rising, shape `(replicas + 1,)`; the last is infinite. [s]
        service: uniforms, or durations of mean 1.
    """
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    for request in range(len(arrived_s)):  # separate, so that the compiler can optimize the next loop
        finished_s[request] = duration_s(
            kind, times_s, below, weight, first_knot, probabilities, durations_s, 1, service[request]
        )
    for request in range(len(arrived_s)):
        start_s = max(arrived_s[request], free_s[0])
        if wake_s > 0.0 and not _ends_at(free_s, start_s):
            finished_s[request] += wake_s
        finish_s = start_s + finished_s[request]
        started_s[request] = start_s
        finished_s[request] = finish_s
        _busy_until(free_s, finish_s)


@compiled
def serve_batches(
    laws: Laws,
    size_max: int,
    wait_s: float,
    is_open: bool,  # noqa: FBT001  (compiled code takes positions)
    free_s: Floats,
    arrived_s: Floats,
    service: Floats,
    started_s: Floats,
    finished_s: Floats,
    sizes: Integers,
    is_end: bool,  # noqa: FBT001
) -> int:
    """Batches, as long as the requests that fill them are known; returns how many requests have started.

    Args:
        laws, free_s, arrived_s, service, started_s, finished_s: as in `serve_singly`.
        is_end: no request comes after those in `arrived_s`.
    """
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    known, oldest = len(arrived_s), 0
    while oldest < known and (is_end or oldest + size_max <= known):
        came_s, idle_s = arrived_s[oldest], free_s[0]
        full_s = arrived_s[oldest + size_max - 1] if oldest + size_max <= known else np.inf
        timed_s = over_s(is_open, came_s, idle_s, wait_s)
        end = oldest + 1
        start_s = starts_s(timed_s, full_s, idle_s)
        if came_s < start_s and timed_s <= start_s and _ends_at(free_s, start_s):
            # The end of a batch, at which the next was due, comes before the arrivals of its instant.
            while end < known and end < oldest + size_max and arrived_s[end] < start_s:
                end += 1
        else:
            while end < known and end < oldest + size_max and arrived_s[end] <= start_s:
                end += 1
        size = end - oldest
        work_s = duration_s(
            kind, times_s, below, weight, first_knot, probabilities, durations_s, size, service[oldest]
        )
        if wake_s > 0.0 and not _ends_at(free_s, start_s):
            work_s += wake_s
        finish_s = start_s + work_s
        for member in range(oldest, end):
            started_s[member] = start_s
            finished_s[member] = finish_s
            sizes[member] = size
        _busy_until(free_s, finish_s)
        oldest = end
    return oldest
