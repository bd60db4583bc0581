"""Batching of the kernels: when a batch starts, and how many requests it takes; written once, inlined in every loop."""

import numpy as np

from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.compiled import inlined
from simulations.draws.records import Integers
from simulations.kernel.state import NO_REQUEST, Struct, Structs, came_s
from simulations.routing.policies import ROUTINGS

_LIMIT_MAX = 2**53  # more than a run has requests, and far from where whole numbers end
# A plan in numbers; a limit of -1 is none. Request number n is the (n + turn)-th in turn. Where all requests so far
# have arrived, everything up to `until_s` happens: for good, or for somebody to look at the fleet.
RULES = np.dtype(
    [
        ("routing", np.int64),
        ("replicas", np.int64),
        ("size_max", np.int64),
        ("due_size", np.int64),
        ("wait_s", np.float64),
        ("is_open", np.bool_),
        ("is_collected", np.bool_),
        ("has_preferred", np.bool_),
        ("limit", np.int64),
        ("places", np.int64),
        ("turn", np.int64),
        ("until_s", np.float64),
    ]
)


def rules_of(plan: BatchPlan) -> Structs:
    """A plan as the kernel reads it, shape `(1,)`."""
    limit = NO_REQUEST if plan.queue_limit is None else min(plan.queue_limit, _LIMIT_MAX)
    routing = ROUTINGS.index(plan.routing)
    is_open, is_collected = (plan.batching is one for one in (Batching.TORCHSERVE, Batching.RAY_SERVE))
    sizes = plan.batch_size_max, plan.due_size
    kinds = is_open, is_collected, bool(plan.preferred_sizes)
    places = NO_REQUEST if plan.outstanding_max is None else min(plan.outstanding_max, _LIMIT_MAX)
    numbers = (routing, plan.replicas, *sizes, plan.batch_wait_max_s, *kinds, limit, places, 0, np.inf)
    return np.array([numbers], dtype=RULES)


def sizes_of(plan: BatchPlan) -> Integers:
    """How many requests start while 0, 1, ..., B wait and no wait is over: the largest preferred size, or all."""
    waiting = range(plan.batch_size_max + 1)
    fitting = (max((one for one in plan.preferred_sizes if one <= n), default=n) for n in waiting)
    return np.fromiter(fitting, dtype=np.int64)


@inlined
def starts_s(over_s: float, full_s: float, free_s: float) -> float:
    """Start of a batch: a replica is free, and the batch is full or the wait of its oldest request is over. [s]"""
    return max(min(over_s, full_s), free_s)


@inlined
def due_s(waiting: int, due_size: int, over_s: float, free_s: float) -> float:
    """Start of a queue's next batch, as seen at an instant when a replica is free. [s]"""
    return starts_s(over_s, free_s if waiting >= due_size else over_s, free_s)


@inlined
def over_s(is_open: bool, came_s: float, free_s: float, wait_s: float) -> float:  # noqa: FBT001
    """End of a wait: it counts from the arrival, or if open from when a free replica sees the request. [s]"""
    return (max(came_s, free_s) if is_open else came_s) + wait_s


@inlined
def first_over_s(rules: Struct, first: Struct, free_s: float) -> float:
    """End of the wait of a queue's next batch, as seen when a replica is free. [s]

    A batch that is collected ahead has noted when it closes.

    Args:
        first: the request at the head of the queue.
    """
    if rules.is_collected:
        return float(first.started_s)
    return over_s(rules.is_open, came_s(first), free_s, rules.wait_s)


@inlined
def size_of_batch(rules: Struct, sizes: Integers, first: Struct, waiting: int, start_s: float) -> int:
    """How many requests start at an instant, of those that wait behind the first."""
    if rules.is_collected:
        return int(first.oldest)
    return int(fitting(rules, sizes, came_s(first), waiting, start_s))


@inlined
def fitting(rules: Struct, sizes: Integers, came_s: float, waiting: int, start_s: float) -> int:
    """How many requests start at an instant where none are collected ahead: those that fit, or a preferred size.

    Args:
        came_s: when the first of them came. [s]
    """
    size = min(waiting, rules.size_max)
    is_over = over_s(False, came_s, start_s, rules.wait_s) <= start_s  # noqa: FBT003
    if rules.has_preferred and not (rules.wait_s > 0.0 and is_over):
        return int(sizes[size])
    return int(size)


@inlined
def collect(queue: Struct, window: Structs, base: int, request: int, size_max: int, closes_s: float) -> None:
    """A request that has arrived, not yet counted, joins the open batch of a queue, or opens one.

    Args:
        closes_s: when a batch closes that opens now; one that closes before now has closed. [s]
    """
    entry = window[request - base]
    if queue.waiting > 0:
        first = window[queue.opener - base]
        if first.oldest < size_max and first.started_s >= entry.arrived_s:
            first.oldest += 1
            if first.oldest == size_max:
                first.started_s = entry.arrived_s
            return
    queue.opener = request
    entry.oldest = 1
    entry.started_s = entry.arrived_s if size_max == 1 else closes_s
