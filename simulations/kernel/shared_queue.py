"""Kernel of a shared queue: all replicas take from one queue, and the free one of the lowest index serves.

The next event is the end of a batch, an arrival or the start of a batch that is due; at one
instant in this order, as the batching semantics have it.
"""

import numpy as np

from simulations.compiled import compiled
from simulations.draws.records import Floats, Integers
from simulations.draws.service import Laws, duration_s
from simulations.kernel.batching import due_s, first_over_s, size_of_batch
from simulations.kernel.state import NO_REQUEST, UNKNOWN, Structs, come_back, next_return_s, take_earliest
from simulations.routing.tournament import change, leftmost, smallest


@compiled
def serve_shared(  # noqa: C901  (one loop: see `own_queues`)
    plan: Structs,
    sizes: Integers,
    laws: Laws,
    queues: Structs,
    jobs: Structs,
    free: Floats,
    ends: Floats,
    returns: Floats,
    window: Structs,
    base: int,
    first: int,
    arrivals: tuple[Floats, Floats, Floats],
    is_end: bool,  # noqa: FBT001  (compiled code takes positions)
) -> None:
    """Let requests from number `first` on arrive, one after another; at the end serve all that are left.

    Args:
        plan, queues: shape `(1,)`.
        jobs: what each replica serves, shape `(replicas,)`; no more than its size and times are kept.
        sizes, laws, returns, window, base, arrivals: as in `own_queues.serve_own`.
        free: tournament of the indices of free replicas.
        ends: tournament of the instants at which each replica's batch ends. [s]
    """
    rules, queue = plan[0], queues[0]
    size_max, due_size, wait_s = rules.size_max, rules.due_size, rules.wait_s
    limit, replicas, until_s = rules.limit, rules.replicas, rules.until_s
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    head, tail, waiting, idle, next_s = queue.head, queue.tail, queue.waiting, queue.free, queue.due_s
    ended_s = queue.finish_s
    instants_s, service, _ = arrivals
    is_closed = len(returns) > 1
    for place in range(len(instants_s) + is_end):
        is_over = place == len(instants_s)  # all have arrived: serve those who wait
        now_s = until_s if is_over else instants_s[place]
        while True:
            if is_closed and not is_over:
                now_s = next_return_s(returns)
            end_s = smallest(ends)
            ready_s = next_s if waiting > 0 and idle > 0 else np.inf
            if end_s <= ready_s:
                if end_s > now_s or end_s == np.inf:
                    break
                start_s = ended_s = end_s
                replica = leftmost(ends)
                job = jobs[replica]
                job.busy_s += end_s - job.started_s
                job.size = 0
                if replica >= replicas:  # it has left
                    change(ends, replica, np.inf)
                    continue
                idle += 1
                is_due = waiting > 0
                if is_due:
                    if idle == 1:
                        over_s = first_over_s(rules, window[head - base], start_s)
                        next_s = due_s(waiting, due_size, over_s, start_s)
                    is_due = next_s <= start_s
                if not is_due:
                    change(free, replica, float(replica))
                    change(ends, replica, np.inf)
                    continue
            else:
                if ready_s > now_s or (ready_s == now_s and not is_over):
                    break
                start_s = ready_s
                replica = int(smallest(free))
                change(free, replica, np.inf)
            oldest = head
            size = size_of_batch(rules, sizes, window[oldest - base], waiting, start_s)
            work_s = duration_s(
                kind, times_s, below, weight, first_knot, probabilities, durations_s,
                size, window[oldest - base].service,
            )  # fmt: skip
            if wake_s > 0.0 and start_s > ended_s:
                work_s += wake_s
            finish_s = start_s + work_s
            for _ in range(size):
                served = window[head - base]
                served.started_s = start_s
                served.finished_s = finish_s
                served.size = size
                served.replica = replica
                served.oldest = oldest
                head = served.behind
                if is_closed:
                    come_back(returns, finish_s + served.think_s)
            waiting -= size
            idle -= 1
            jobs[replica].size = size
            jobs[replica].started_s = start_s
            change(ends, replica, finish_s)
            if waiting > 0:
                over_s = first_over_s(rules, window[head - base], start_s)
                next_s = due_s(waiting, due_size, over_s, start_s)
        if is_over:
            break
        request = first + place
        entry = window[request - base]
        entry.arrived_s = now_s
        entry.service = service[place]
        if is_closed:
            take_earliest(returns)
            entry.think_s = instants_s[place]
        if limit >= 0 and waiting >= limit + idle * size_max:
            entry.size = 0
            if is_closed:
                come_back(returns, now_s + entry.think_s)
            continue
        entry.size = UNKNOWN
        entry.behind = NO_REQUEST
        if waiting == 0:
            head = request
            next_s = now_s + wait_s
        else:
            window[tail - base].behind = request
        tail = request
        waiting += 1
        next_s = due_s(waiting, due_size, next_s, now_s)
    queue.head, queue.tail, queue.waiting, queue.free, queue.due_s = head, tail, waiting, idle, next_s
    queue.finish_s = ended_s
