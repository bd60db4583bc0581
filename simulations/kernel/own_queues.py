"""Kernel of own queues: each replica has its own queue, and requests stay where they were routed to.

Replicas interact only through the router that looks at them, so each is brought up to date when it is looked
at: batches that ended by an instant, and batches that were due before it. What happens at one instant
happens in the order of the batching semantics: completions, arrivals, then the batches these make due.
Where replicas have a limited number of places, the balancer has a gate, at which requests wait, as in `reference.gate`.
One flat loop, since compiled code is fastest where the state of a replica stays in registers.
"""

from typing import NamedTuple, Self

import numpy as np

from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.service import Laws, duration_s
from simulations.kernel.batching import collect, due_s, first_over_s, size_of_batch
from simulations.kernel.state import (
    NO_REQUEST,
    UNKNOWN,
    Struct,
    Structs,
    come_back,
    next_return_s,
    note_coming,
    take_earliest,
)
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    ROUND_ROBIN,
    base_of,
    first_place,
    other_place,
)
from simulations.routing.ranks import chosen_by_ranks, count_more
from simulations.routing.round_robin import in_turn
from simulations.routing.tournament import change, leftmost, smallest

NOT_PLACED = np.zeros(0, dtype=np.int64)  # all requests are routed
# Who waits at the balancer: the first and the last, and how many; whose turn it is, where replicas take turns; and how
# many replicas have ended a batch at an instant, while others wait.
_LINE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("waiting", np.int64),
        ("turn", np.int64),
        ("freed", np.int64),
        ("freed_s", np.float64),
    ]
)


class Gate(NamedTuple):
    """A balancer that holds requests back.

    Attributes:
        line: shape `(1,)`.
        freed: the replicas that have ended a batch at that instant, rising, shape `(replicas,)`.
    """

    line: Structs
    freed: Integers

    @classmethod
    def of(cls, replicas: int) -> Self:
        """A gate at which nothing waits."""
        return cls(np.zeros(1, dtype=_LINE), np.zeros(replicas, dtype=np.int64))


@inlined
def hold(gate: Gate, window: Structs, base: int, request: int) -> None:
    """A request waits at the balancer."""
    line = gate.line[0]
    window[request - base].behind = NO_REQUEST
    if line.waiting == 0:
        line.head = request
    else:
        window[line.tail - base].behind = request
    line.tail = request
    line.waiting += 1


@inlined
def call_next(gate: Gate, window: Structs, base: int) -> int:
    """The first who waits at the balancer leaves it."""
    line = gate.line[0]
    request = line.head
    line.head = window[request - base].behind
    line.waiting -= 1
    return int(request)


@inlined
def note_end(gate: Gate, replica: int, now_s: float) -> None:
    """A batch of a replica has ended, which leaves places for those who wait."""
    line = gate.line[0]
    if line.waiting > 0:
        line.freed_s = now_s
        gate.freed[line.freed] = replica
        line.freed += 1


@inlined
def next_in_turn(gate: Gate, queues: Structs, replicas: int, places: int) -> int:
    """The next replica in turn that has a place, if any."""
    line = gate.line[0]
    for step in range(replicas):
        replica = int(in_turn(line.turn + step, replicas))
        if has_place(queues, replica, places):
            line.turn = (replica + 1) % replicas
            return replica
    return NO_REQUEST


@inlined
def has_place(queues: Structs, replica: int, places: int) -> bool:
    """Whether a replica may hold one request more."""
    return bool(queues[replica].in_service + queues[replica].waiting < places)


@inlined
def event_s(queue: Struct) -> float:
    """The instant at which a replica's state may change next; a batch that is due then starts just after it. [s]"""
    if queue.in_service > 0:
        return float(queue.finish_s)
    if queue.waiting == 0:
        return np.inf
    return float(np.nextafter(queue.due_s, np.inf))


@inlined
def join(rules: Struct, queue: Struct, window: Structs, base: int, request: int, now_s: float) -> None:
    """A request comes to the end of a queue."""
    entry = window[request - base]
    entry.behind = NO_REQUEST
    note_coming(entry, now_s)
    if rules.is_collected:
        collect(queue, window, base, request, rules.size_max, now_s + rules.wait_s)
    if queue.waiting == 0:
        queue.head = request
        queue.due_s = now_s + rules.wait_s
    else:
        window[queue.tail - base].behind = request
    queue.tail = request
    queue.waiting += 1
    if rules.is_collected:
        queue.due_s = window[queue.head - base].started_s
    if queue.in_service == 0:
        queue.due_s = due_s(queue.waiting, rules.due_size, queue.due_s, now_s)


@compiled
def serve_own(  # noqa: C901  (one loop: see above)
    plan: Structs,
    sizes: Integers,
    laws: Laws,
    queues: Structs,
    ranks: Floats,
    marks: Floats,
    events: Floats,
    returns: Floats,
    placed: Integers,
    gate: Gate | None,
    window: Structs,
    base: int,
    first: int,
    arrivals: tuple[Floats, Floats, Floats],
    is_end: bool,  # noqa: FBT001  (compiled code takes positions)
) -> None:
    """Let requests from number `first` on arrive, one after another; at the end serve those that are left.

    Args:
        plan: shape `(1,)`; its replicas are the first ones, and those behind them only end what they serve.
        sizes: of batches, as in `state.sizes_of`.
        laws: of the service times, as `service.duration_s` takes them.
        queues: shape `(replicas,)`.
        ranks, marks: of the requests routed to each replica and not yet finished, as `ranks` has them.
        events: tournament of the instants at which each replica's state may change.
        returns: heap of the instants at which users send again; empty for arrivals from outside. [s]
        placed: replica of each of the first requests, which are not routed.
        gate: who waits at the balancer for a place at a replica; None if nothing limits these.
        window: requests in memory, that of number `base` first.
        arrivals: instants, or think times of users; service draws; two routing draws a request.
    """
    rules = plan[0]
    routing, replicas, size_max = rules.routing, rules.replicas, rules.size_max
    due_size, limit, places = rules.due_size, rules.limit, rules.places
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    instants_s, service, dice = arrivals
    is_closed = len(returns) > 1
    counts = routing >= LEAST_OUTSTANDING
    watches = is_closed or base_of(routing) == LEAST_OUTSTANDING or gate is not None
    # What happens elsewhere may come before.
    is_ordered = is_closed or routing == LEAST_OUTSTANDING_HAPROXY or gate is not None
    turn, until_s = rules.turn, rules.until_s
    for place in range(len(instants_s) + is_end):
        is_over = place == len(instants_s)  # all have arrived: serve those who wait
        request = first + place
        now_s, one, two, looks = until_s, 0, 0, len(queues)
        looks_at_each = is_over and until_s < np.inf  # what is due then starts, and not just after it
        follows_events = watches and (not looks_at_each or is_ordered)
        if not is_over:
            now_s = instants_s[place]
            one = first_place(routing, request + turn, dice, 2 * place, replicas)
            two = other_place(routing, one, dice, 2 * place, replicas)
            looks = 1 if two == one else 2
        look = 0
        while True:
            # The next replica to bring up to date, if any.
            if follows_events:
                if is_closed and not is_over:
                    now_s = next_return_s(returns)
                if gate is not None and gate.line[0].freed > 0 and smallest(events) > gate.line[0].freed_s:
                    # All batches that end at that instant have ended.
                    line = gate.line[0]
                    for place_of_freed in range(line.freed):
                        replica = gate.freed[place_of_freed]
                        queue = queues[replica]
                        while line.waiting > 0 and has_place(queues, replica, places):
                            join(rules, queue, window, base, call_next(gate, window, base), line.freed_s)
                            if counts:
                                count_more(routing, replica, 1, ranks, marks)
                        if queue.in_service == 0:
                            change(events, replica, event_s(queue))
                    line.freed = 0
                    continue
                if smallest(events) > now_s or smallest(events) == np.inf:
                    if not looks_at_each:
                        break
                    follows_events = False
                    continue
                replica = leftmost(events)
            else:
                if look == looks:
                    break
                replica = look if is_over else (two if look else one)
                look += 1
            queue = queues[replica]
            while True:
                if queue.in_service > 0:
                    start_s = queue.finish_s
                    if start_s > now_s:
                        break
                    if counts:
                        count_more(routing, replica, -queue.in_service, ranks, marks)
                    queue.busy_s += start_s - queue.began_s
                    queue.in_service = 0
                    if gate is not None:
                        note_end(gate, replica, start_s)
                    if queue.waiting == 0:
                        break
                    over_s = first_over_s(rules, window[queue.head - base], start_s)
                    queue.due_s = due_s(queue.waiting, due_size, over_s, start_s)
                    if queue.due_s > start_s:
                        if is_ordered:
                            break
                        continue
                elif queue.waiting > 0 and (queue.due_s < now_s or (is_over and queue.due_s == now_s)):
                    start_s = queue.due_s
                else:
                    break
                oldest = queue.head
                size = size_of_batch(rules, sizes, window[oldest - base], queue.waiting, start_s)
                work_s = duration_s(
                    kind, times_s, below, weight, first_knot, probabilities, durations_s,
                    size, window[oldest - base].service,
                )  # fmt: skip
                if wake_s > 0.0 and start_s > queue.finish_s:
                    work_s += wake_s
                finish_s = start_s + work_s
                member = oldest
                for _ in range(size):
                    served = window[member - base]
                    served.started_s = start_s
                    served.finished_s = finish_s
                    served.size = size
                    served.replica = replica
                    served.oldest = oldest
                    member = served.behind
                    if is_closed:
                        come_back(returns, finish_s + served.think_s)
                queue.head = member
                queue.waiting -= size
                queue.in_service = size
                queue.began_s = start_s
                queue.finish_s = finish_s
                if is_ordered:  # one event at a time: what it sets off may come before the next
                    break
            if watches:
                change(events, replica, event_s(queue))
        if is_over:
            break
        # The router's choice, and the end of the line there.
        if request < len(placed):
            replica = placed[request]
        elif gate is not None and routing == ROUND_ROBIN:
            replica = next_in_turn(gate, queues, replicas, places)
        else:
            replica = chosen_by_ranks(routing, one, two, ranks, marks)
        queue, entry = queues[replica], window[request - base]
        entry.arrived_s = now_s
        entry.service = service[place]
        if is_closed:
            take_earliest(returns)
            entry.think_s = instants_s[place]
        entry.size = UNKNOWN
        if gate is not None and (replica == NO_REQUEST or not has_place(queues, replica, places)):
            hold(gate, window, base, request)
            continue
        is_free = queue.in_service == 0
        if limit >= 0 and queue.waiting >= limit + (size_max if is_free else 0):
            entry.size = 0
            if routing == LEAST_OUTSTANDING_HAPROXY:
                count_more(routing, replica, 0, ranks, marks)
            if is_closed:
                come_back(returns, now_s + entry.think_s)
            continue
        join(rules, queue, window, base, request, now_s)
        if counts:
            count_more(routing, replica, 1, ranks, marks)
        if watches and is_free:
            change(events, replica, event_s(queue))
