"""Kernel of own queues: each replica has its own queue, and requests stay where they were routed to.

Replicas interact only through the router that looks at them, so each is brought up to date when it is looked
at: batches that ended by an instant, and batches that were due before it. What happens at one instant
happens in the order of the batching semantics: completions, arrivals, then the batches these make due.
One flat loop, since compiled code is fastest where the state of a replica stays in registers.
"""

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
    at,
    change,
    come_back,
    leftmost,
    next_return_s,
    smallest,
    take_earliest,
)
from simulations.routing.policies import LEAST_OUTSTANDING, chosen_by_ranks, first_place, other_place

NOT_PLACED = np.zeros(0, dtype=np.int64)  # all requests are routed


@inlined
def event_s(queue: Struct) -> float:
    """The instant at which a replica's state may change next; a batch that is due then starts just after it. [s]"""
    if queue.in_service > 0:
        return float(queue.finish_s)
    if queue.waiting == 0:
        return np.inf
    return float(np.nextafter(queue.due_s, np.inf))


@compiled
def serve_own(  # noqa: C901  (one loop: see above)
    plan: Structs,
    sizes: Integers,
    laws: Laws,
    queues: Structs,
    ranks: Floats,
    events: Floats,
    returns: Floats,
    placed: Integers,
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
        ranks: tournament of the requests routed to each replica and not yet finished, times the number
            of leaves, plus the replica's index; no two are equal, and the smallest names its replica.
        events: tournament of the instants at which each replica's state may change.
        returns: heap of the instants at which users send again; empty for arrivals from outside. [s]
        placed: replica of each of the first requests, which are not routed.
        window: requests in memory, that of number `base` first.
        arrivals: instants, or think times of users; service draws; two routing draws a request.
    """
    rules = plan[0]
    routing, replicas, size_max, wait_s = rules.routing, rules.replicas, rules.size_max, rules.wait_s
    is_collected, due_size, limit = rules.is_collected, rules.due_size, rules.limit
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    instants_s, service, dice = arrivals
    is_closed, leaves = len(returns) > 1, len(ranks) >> 1
    counts = routing >= LEAST_OUTSTANDING
    watches = is_closed or routing == LEAST_OUTSTANDING
    turn, until_s = rules.turn, rules.until_s
    for place in range(len(instants_s) + is_end):
        is_over = place == len(instants_s)  # all have arrived: serve those who wait
        request = first + place
        now_s, one, two, looks = until_s, 0, 0, len(queues)
        follows_events = watches and not (is_over and until_s < np.inf)
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
                if smallest(events) > now_s or smallest(events) == np.inf:
                    break
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
                        change(ranks, replica, at(ranks, replica) - queue.in_service * leaves)
                    queue.busy_s += start_s - queue.began_s
                    queue.in_service = 0
                    if queue.waiting == 0:
                        break
                    over_s = first_over_s(rules, window[queue.head - base], start_s)
                    queue.due_s = due_s(queue.waiting, due_size, over_s, start_s)
                    if queue.due_s > start_s:
                        if is_closed:
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
                if is_closed:  # one event at a time: what it sets off may come before the next
                    break
            if watches:
                change(events, replica, event_s(queue))
        if is_over:
            break
        # The router's choice, and the end of the line there.
        replica = placed[request] if request < len(placed) else chosen_by_ranks(routing, one, two, ranks)
        queue, entry = queues[replica], window[request - base]
        entry.arrived_s = now_s
        entry.service = service[place]
        if is_closed:
            take_earliest(returns)
            entry.think_s = instants_s[place]
        is_free = queue.in_service == 0
        if limit >= 0 and queue.waiting >= limit + (size_max if is_free else 0):
            entry.size = 0
            if is_closed:
                come_back(returns, now_s + entry.think_s)
            continue
        entry.size = UNKNOWN
        entry.behind = NO_REQUEST
        if is_collected:
            collect(queue, window, base, request, size_max, now_s + wait_s)
        if queue.waiting == 0:
            queue.head = request
            queue.due_s = now_s + wait_s
        else:
            window[queue.tail - base].behind = request
        queue.tail = request
        queue.waiting += 1
        if is_collected:
            queue.due_s = window[queue.head - base].started_s
        if is_free:
            queue.due_s = due_s(queue.waiting, due_size, queue.due_s, now_s)
        if counts:
            change(ranks, replica, at(ranks, replica) + leaves)
        if watches and is_free:
            change(events, replica, event_s(queue))
