"""Events of the recovery kernel: one heap, by instant, phase and rank, and timeouts in a line beside it.

As all clients wait equally long, timeouts are mostly scheduled in the order in which they come, and most events are
timeouts: in the heap they would make all others slow.
"""

from simulations.compiled import borrowing, callee
from simulations.kernel.recovery.state import RANKS, TIMEOUT, World


@borrowing
def push(w: World, instant_s: float, phase: int, rank: int, what: int) -> None:
    """Something will happen then."""
    events, order = w.events, phase * RANKS + rank
    place = w.state[0].events
    w.state[0].events += 1
    while place > 0:
        parent = (place - 1) >> 1
        above = events[parent]
        if above.instant_s < instant_s or (above.instant_s == instant_s and above.order <= order):
            break
        events[place].instant_s = above.instant_s
        events[place].order = above.order
        events[place].what = above.what
        place = parent
    events[place].instant_s = instant_s
    events[place].order = order
    events[place].what = what


@callee
def pop(w: World) -> None:
    """Take the earliest event off the heap, after it has been read."""
    events = w.events
    count = w.state[0].events - 1
    w.state[0].events = count
    instant_s, order, what = events[count].instant_s, events[count].order, events[count].what
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count:
            left, right = events[child], events[child + 1]
            if right.instant_s < left.instant_s or (
                right.instant_s == left.instant_s and right.order < left.order
            ):
                child += 1
        below = events[child]
        if below.instant_s > instant_s or (below.instant_s == instant_s and below.order >= order):
            break
        events[place].instant_s = below.instant_s
        events[place].order = below.order
        events[place].what = below.what
        place = child
    events[place].instant_s = instant_s
    events[place].order = order
    events[place].what = what


@callee
def push_timeout(w: World, instant_s: float, rank: int, what: int) -> None:
    """An attempt times out then; after all others in line, or it goes to the heap."""
    timeouts, count, first = w.timeouts, w.state[0].timeouts, w.state[0].first_timeout
    last = len(timeouts) - 1
    if count > 0 and timeouts[(first + count - 1) & last].instant_s >= instant_s:
        push(w, instant_s, TIMEOUT, rank, what)
        return
    place = (first + count) & last
    timeouts[place].instant_s = instant_s
    timeouts[place].order = TIMEOUT * RANKS + rank
    timeouts[place].what = what
    w.state[0].timeouts = count + 1


@callee
def pop_timeout(w: World) -> None:
    """Take the first timeout off the line, after it has been read."""
    w.state[0].first_timeout = (w.state[0].first_timeout + 1) & (len(w.timeouts) - 1)
    w.state[0].timeouts -= 1
