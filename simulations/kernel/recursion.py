"""Kernel recursions: queues without a limit, served in the order of arrival, need no events.

At one queue requests start in the order of their arrival, batch by batch, each at the replica that is free first. All
that is known of the replicas is the sorted vector of the instants at which they become free, not which of
them is which: replicas are alike, and a recursion does not name them.

At queues of their own single requests start when the one before them there has finished, so that when each leaves is
known as it arrives; a router that counts the requests at a replica looks at when they leave.

Source:
    Kiefer & Wolfowitz (1955), Trans. Amer. Math. Soc. 78, 1-18, for single requests; Lindley (1952), Math. Proc.
    Cambridge Phil. Soc. 48(2), 277-289, for queues of their own; batches by the batching semantics.
"""

import numpy as np

from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.service import Laws, duration_s
from simulations.kernel.batching import over_s, starts_s
from simulations.kernel.state import Structs
from simulations.routing.policies import LEAST_OUTSTANDING, first_place, other_place
from simulations.routing.ranks import is_second

# A rank is the number of requests at a replica, then its index in this many bits.
_RANK_BITS = 20
# A replica with a queue of its own: when all that were sent there will have left, when the next of them leaves, the
# numbers of those who have left, and who were sent.
LINE = np.dtype([("free_s", np.float64), ("next_s", np.float64), ("left", np.int64), ("sent", np.int64)])


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
        if size < size_max:
            for member in range(oldest, end):
                started_s[member] = start_s
                finished_s[member] = finish_s
                sizes[member] = size
        else:  # column by column, which is slower for a few and faster for many
            started_s[oldest:end] = start_s
            finished_s[oldest:end] = finish_s
            sizes[oldest:end] = size
        _busy_until(free_s, finish_s)
        oldest = end
    return oldest


@compiled
def durations(laws: Laws, service: Floats, durations_s: Floats) -> None:
    """Service times of single requests, shape `(requests,)`, filled in. [s]

    Args:
        laws, service: as in `serve_singly`.
    """
    kind, times_s, below, weight, first_knot, probabilities, quantiles_s, _ = laws
    for request in range(len(durations_s)):
        durations_s[request] = duration_s(
            kind, times_s, below, weight, first_knot, probabilities, quantiles_s, 1, service[request]
        )


@inlined
def _leave(lines: Structs, ranks: Integers, leaves_s: Floats, place: int, now_s: float) -> None:
    """Let those who have finished at a replica by now leave it."""
    line, last = lines[place], leaves_s.shape[1] - 1
    while line.next_s <= now_s:
        line.left += 1
        ranks[place] -= 1 << _RANK_BITS
        line.next_s = leaves_s[place, line.left & last] if line.left < line.sent else np.inf


@inlined
def _least_of_all(lines: Structs, ranks: Integers, leaves_s: Floats, now_s: float) -> int:
    """The replica with the fewest requests now."""
    lowest = ranks[0]
    for place in range(len(lines)):
        if lines[place].next_s <= now_s:
            _leave(lines, ranks, leaves_s, place, now_s)
        lowest = min(lowest, ranks[place])
    return int(lowest & ((1 << _RANK_BITS) - 1))


@compiled
def serve_routed(
    routing: int,
    wake_s: float,
    turn: int,
    first: int,
    lines: Structs,
    ranks: Integers,
    leaves_s: Floats,
    arrived_s: Floats,
    durations_s: Floats,
    dice: Floats,
    started_s: Floats,
    finished_s: Floats,
) -> int:
    """Single requests at replicas with queues of their own, from number `first` of these on.

    Returns:
        How many are served: all, unless a replica has more requests than `leaves_s` has room for.

    Args:
        routing: as in `policies`.
        wake_s: extra time of a request that finds its replica at rest. [s]
        turn: number of the first of these among all that have arrived.
        lines, ranks: of the replicas, shape `(replicas,)` each; the lowest rank has the fewest requests.
        leaves_s: when those at each replica leave, in turn, shape `(replicas, a power of 2)`. [s]
        arrived_s, durations_s, started_s, finished_s: of the requests, shape `(requests,)` each. [s]
        dice: two routing draws a request, where routing is random.
    """
    replicas, room = leaves_s.shape
    for request in range(first, len(arrived_s)):
        now_s = arrived_s[request]
        if routing == LEAST_OUTSTANDING:
            chosen = _least_of_all(lines, ranks, leaves_s, now_s)
        else:
            chosen = first_place(routing, turn + request, dice, 2 * request, replicas)
            other = other_place(routing, chosen, dice, 2 * request, replicas)
            _leave(lines, ranks, leaves_s, chosen, now_s)
            _leave(lines, ranks, leaves_s, other, now_s)
            chosen = other if is_second(routing, chosen, other, ranks[chosen], ranks[other]) else chosen
        line = lines[chosen]
        if line.sent - line.left == room:
            return request
        start_s, work_s = max(now_s, line.free_s), durations_s[request]
        if start_s > line.free_s:
            work_s += wake_s
        finish_s = start_s + work_s
        line.free_s = finish_s
        gone_s = (
            finish_s if finish_s > now_s else np.nextafter(now_s, np.inf)
        )  # after the arrivals of its instant
        line.next_s = min(line.next_s, gone_s)
        leaves_s[chosen, line.sent & (room - 1)] = gone_s
        line.sent += 1
        ranks[chosen] += 1 << _RANK_BITS
        started_s[request] = start_s
        finished_s[request] = finish_s
    return len(arrived_s)
