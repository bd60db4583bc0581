"""Kernel of shared devices: the more instances of a device are busy, the slower each of them is.

The end of a batch is not known when it starts, so this loop goes from event to event: the end
of a batch, an arrival, or the start of a batch that is due, at one instant in this order, as the batching
semantics have it. It serves replicas with their own queues and with a shared one; it computes what `Device`
in `reference/replica.py` does, in the same order.
"""

import numpy as np

from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.service import Laws, duration_s
from simulations.kernel.batching import collect, due_s, first_over_s, size_of_batch
from simulations.kernel.state import NO_REQUEST, UNKNOWN, Structs, come_back, next_return_s, take_earliest
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    POWER_OF_TWO,
    SHARED_QUEUE,
    base_of,
    first_place,
    other_place,
)
from simulations.routing.ranks import chosen_by_ranks, count_more
from simulations.routing.tournament import change, leftmost, smallest


@inlined
def _change_rate(
    jobs: Structs, ends: Floats, slowdowns: Floats, replica: int, before: int, after: int, now_s: float
) -> None:
    """The device's other batches that end later go on at the new rate; none ends at the instant itself."""
    if before > 0 and after > 0 and slowdowns[before - 1] != slowdowns[after - 1]:
        instances = len(slowdowns)
        first = replica // instances * instances
        for other in range(first, min(first + instances, len(jobs))):
            job = jobs[other]
            if job.size > 0 and job.ends_s > now_s:
                job.work_s -= (now_s - job.since_s) / slowdowns[before - 1]
                job.since_s = now_s
                job.ends_s = max(now_s + job.work_s * slowdowns[after - 1], np.nextafter(now_s, np.inf))
                change(ends, other, job.ends_s)


@compiled
def serve_devices(  # noqa: C901  (one loop: see `own_queues`)
    plan: Structs,
    sizes: Integers,
    laws: Laws,
    slowdowns: Floats,
    queues: Structs,
    jobs: Structs,
    trees: tuple[Floats, Floats, Floats, Floats],
    marks: Floats,
    returns: Floats,
    window: Structs,
    base: int,
    first: int,
    arrivals: tuple[Floats, Floats, Floats],
    is_end: bool,  # noqa: FBT001  (compiled code takes positions)
) -> None:
    """Let requests from number `first` on arrive, one after another; at the end serve all that are left.

    Args:
        plan, sizes, laws, returns, window, base, arrivals: as in `own_queues.serve_own`.
        slowdowns: by busy instances of a device less 1, shape `(instances,)`.
        queues: shape `(replicas,)`, or `(1,)` of a shared one.
        jobs: what each replica serves, shape `(replicas,)`; size 0 is nothing.
        trees: tournaments: of outstanding requests as `ranks` has them, of free replicas as in
            `shared_queue`, of the ends of batches by replica, of the starts that are due by queue. [s]
        marks: as `ranks` has them.
    """
    rules = plan[0]
    routing, replicas, size_max, wait_s = rules.routing, rules.replicas, rules.size_max, rules.wait_s
    is_collected, due_size, limit = rules.is_collected, rules.due_size, rules.limit
    kind, times_s, below, weight, first_knot, probabilities, durations_s, wake_s = laws
    instants_s, service, dice = arrivals
    ranks, free, ends, dues = trees
    is_closed, is_shared = len(returns) > 1, routing == SHARED_QUEUE
    counts = base_of(routing) in (LEAST_OUTSTANDING, POWER_OF_TWO)
    instances = len(slowdowns)
    for place in range(len(instants_s) + is_end):
        is_over = place == len(instants_s)  # all have arrived: serve those who wait
        now_s = np.inf if is_over else instants_s[place]
        while True:
            if is_closed and not is_over:
                now_s = next_return_s(returns)
            end_s, ready_s = smallest(ends), smallest(dues)
            if end_s <= ready_s:
                if end_s > now_s or end_s == np.inf:
                    break
                start_s = end_s
                replica = leftmost(ends)
                number = 0 if is_shared else replica
                job, queue = jobs[replica], queues[number]
                member = job.oldest
                for _ in range(job.size):
                    served = window[member - base]
                    served.started_s = job.started_s
                    served.finished_s = end_s
                    served.size = job.size
                    served.replica = replica
                    served.oldest = job.oldest
                    member = served.behind
                    if is_closed:
                        come_back(returns, end_s + served.think_s)
                if counts:
                    count_more(routing, replica, -job.size, ranks, marks)
                queue.free += 1
                queue.finish_s = end_s
                is_due = queue.waiting > 0
                if is_due:
                    if queue.free == 1:
                        over_s = first_over_s(rules, window[queue.head - base], start_s)
                        queue.due_s = due_s(queue.waiting, due_size, over_s, start_s)
                    is_due = queue.due_s <= start_s
                if not is_due:
                    job.size = 0
                    change(ends, replica, np.inf)
                    if is_shared:
                        change(free, replica, float(replica))
                    if queue.waiting > 0:
                        change(dues, number, queue.due_s)
                    lead = jobs[replica // instances * instances]
                    lead.busy -= 1
                    _change_rate(jobs, ends, slowdowns, replica, lead.busy + 1, lead.busy, start_s)
                    continue
                lead = jobs[replica // instances * instances]
            else:
                if ready_s >= now_s:
                    break
                start_s = ready_s
                number = leftmost(dues)
                replica = number
                if is_shared:
                    replica = int(smallest(free))
                    change(free, replica, np.inf)
                job, queue = jobs[replica], queues[number]
                lead = jobs[replica // instances * instances]
                lead.busy += 1
                _change_rate(jobs, ends, slowdowns, replica, lead.busy - 1, lead.busy, start_s)
            oldest = queue.head
            size = size_of_batch(rules, sizes, window[oldest - base], queue.waiting, start_s)
            job.oldest = oldest
            job.size = size
            job.started_s = start_s
            job.since_s = start_s
            job.work_s = duration_s(
                kind, times_s, below, weight, first_knot, probabilities, durations_s,
                size, window[oldest - base].service,
            )  # fmt: skip
            if wake_s > 0.0 and start_s > queue.finish_s:
                job.work_s += wake_s
            job.ends_s = start_s + job.work_s * slowdowns[lead.busy - 1]
            change(ends, replica, job.ends_s)
            member = oldest
            for _ in range(size):
                member = window[member - base].behind
            queue.head = member
            queue.waiting -= size
            queue.free -= 1
            if queue.waiting > 0:
                over_s = first_over_s(rules, window[member - base], start_s)
                queue.due_s = due_s(queue.waiting, due_size, over_s, start_s)
            change(dues, number, queue.due_s if queue.waiting > 0 and queue.free > 0 else np.inf)
        if is_over:
            break
        # The router's choice, and the end of the line there.
        one = first_place(routing, first + place, dice, 2 * place, replicas)
        two = other_place(routing, one, dice, 2 * place, replicas)
        number = chosen_by_ranks(routing, one, two, ranks, marks)
        request = first + place
        queue, entry = queues[number], window[request - base]
        entry.arrived_s = now_s
        entry.service = service[place]
        if is_closed:
            take_earliest(returns)
            entry.think_s = instants_s[place]
        if limit >= 0 and queue.waiting >= limit + queue.free * size_max:
            entry.size = 0
            if routing == LEAST_OUTSTANDING_HAPROXY:
                count_more(routing, number, 0, ranks, marks)
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
        queue.due_s = due_s(queue.waiting, due_size, queue.due_s, now_s)
        if counts:
            count_more(routing, number, 1, ranks, marks)
        if queue.free > 0:
            change(dues, number, queue.due_s)
