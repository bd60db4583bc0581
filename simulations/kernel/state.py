"""State of the kernels: tournaments, queues and replicas, and the heap of users who will send again.

Users are alike, so an instant is all there is to know about one. In compiled code place 0 of the heap
is its size, so the array is all that is passed on (Williams 1964, Algorithm 232, CACM 7(6)).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from capacity.question.plan import Batching, Plan, Routing
from simulations.compiled import inlined
from simulations.draws.records import Floats, Integers


def tournament(values: Floats) -> Floats:
    """The tree over some values, filled up to a power of two with infinity."""
    leaves = 1 << max(0, len(values) - 1).bit_length()
    tree = np.full(2 * leaves, np.inf)
    tree[leaves : leaves + len(values)] = values
    for parent in range(leaves - 1, 0, -1):
        tree[parent] = min(tree[2 * parent], tree[2 * parent + 1])
    return tree


@inlined
def smallest(tree: Floats) -> float:
    """The smallest value of all."""
    return float(tree[1])


@inlined
def at(tree: Floats, index: int) -> float:
    """The value of one leaf."""
    return float(tree[(len(tree) >> 1) + index])


@inlined
def change(tree: Floats, index: int, value: float) -> None:
    """Change the value of one leaf."""
    node = (len(tree) >> 1) + index
    tree[node] = value
    while node > 1:
        value = min(value, tree[node ^ 1])
        node >>= 1
        tree[node] = value


@inlined
def leftmost(tree: Floats) -> int:
    """Index of the smallest value; the first of equal ones."""
    leaves = len(tree) >> 1
    node = 1
    while node < leaves:
        node <<= 1
        node += tree[node + 1] < tree[node]
    return node - leaves


ROUTINGS = (
    Routing.ROUND_ROBIN,
    Routing.RANDOM,
    Routing.LEAST_OUTSTANDING,
    Routing.POWER_OF_TWO,
    Routing.SHARED_QUEUE,
)
ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, SHARED_QUEUE = range(len(ROUTINGS))
NO_REQUEST = -1
_LIMIT_MAX = 2**53  # more than a run has requests, and far from where whole numbers end
UNKNOWN = -1  # size of the batch of a request that is not served yet; 0 is lost

Structs = npt.NDArray[np.void]
Struct = Any  # one of them, whose fields compiled code reads and writes as attributes

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
        ("turn", np.int64),
        ("until_s", np.float64),
    ]
)
# What the draws say of a request, what became of it, and who waits next after it in its queue. Until it is served,
# the first of a batch that is collected ahead has in `started_s` when that closes, in `oldest` how many it has.
REQUEST = np.dtype(
    [
        ("arrived_s", np.float64),
        ("service", np.float64),
        ("think_s", np.float64),
        ("started_s", np.float64),
        ("finished_s", np.float64),
        ("oldest", np.int64),
        ("behind", np.int64),
        ("size", np.int32),
        ("replica", np.int32),
    ]
)
# A queue: its first and last request, how many wait, when a batch will be due if no other request comes.
# Of one replica: the size of its batch, 0 where it is free, when that began, when it ends or the last one ended, and
# how long all that have ended took.
# Of all: when the last one ended, and how many are free. The first request of the last batch, if collected ahead.
QUEUE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("waiting", np.int64),
        ("due_s", np.float64),
        ("in_service", np.int64),
        ("finish_s", np.float64),
        ("free", np.int64),
        ("opener", np.int64),
        ("began_s", np.float64),
        ("busy_s", np.float64),
    ]
)
# What a replica serves, and how long all that it has served took. On a device that it shares, also how far it is, and
# how many of its instances are busy, at the first.
JOB = np.dtype(
    [
        ("oldest", np.int64),
        ("size", np.int64),
        ("busy", np.int64),
        ("started_s", np.float64),
        ("work_s", np.float64),
        ("since_s", np.float64),
        ("ends_s", np.float64),
        ("busy_s", np.float64),
    ]
)


def rules_of(plan: Plan) -> Structs:
    """A plan as the kernel reads it, shape `(1,)`."""
    limit = NO_REQUEST if plan.queue_limit is None else min(plan.queue_limit, _LIMIT_MAX)
    routing = ROUTINGS.index(plan.routing)
    is_open, is_collected = (plan.batching is one for one in (Batching.TORCHSERVE, Batching.RAY_SERVE))
    sizes = plan.batch_size_max, plan.due_size
    kinds = is_open, is_collected, bool(plan.preferred_sizes)
    numbers = (routing, plan.replicas, *sizes, plan.batch_wait_max_s, *kinds, limit, 0, np.inf)
    return np.array([numbers], dtype=RULES)


def sizes_of(plan: Plan) -> Integers:
    """How many requests start while 0, 1, ..., B wait and no wait is over: the largest preferred size, or all."""
    waiting = range(plan.batch_size_max + 1)
    fitting = (max((one for one in plan.preferred_sizes if one <= n), default=n) for n in waiting)
    return np.fromiter(fitting, dtype=np.int64)


@inlined
def size_of_batch(rules: Struct, sizes: Integers, first: Struct, waiting: int, start_s: float) -> int:
    """How many requests start at an instant, of those that wait behind the first."""
    if rules.is_collected:
        return int(first.oldest)
    size = min(waiting, rules.size_max)
    if rules.has_preferred and not (rules.wait_s > 0.0 and first.arrived_s + rules.wait_s <= start_s):
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


def empty_queues(count: int, replicas: int) -> Structs:
    """Empty queues, each with this many free replicas, shape `(count,)`."""
    queues = np.zeros(count, dtype=QUEUE)
    queues["free"] = replicas
    queues["finish_s"] = -np.inf
    return queues


def requests_in_memory(count: int) -> Structs:
    """Room for requests, shape `(count,)`."""
    return np.zeros(count, dtype=REQUEST)


def no_jobs(replicas: int) -> Structs:
    """Replicas that serve nothing, shape `(replicas,)`."""
    return np.zeros(replicas, dtype=JOB)


def at_rest(replicas: int) -> Floats:
    """A tournament of replicas without any events to come."""
    return tournament(np.full(replicas, np.inf))


def returns_of(users: int, requests: int, spread_s: float) -> Floats:
    """First requests of users, evenly spread, shape `(users + 1,)`; none if there are no users.

    If there are more users than requests, only as many users as requests send one.
    """
    instants_s = np.arange(min(users, requests)) / max(users, 1) * spread_s
    return np.concatenate([[float(len(instants_s))], instants_s])


@inlined
def next_return_s(heap: Floats) -> float:
    """The earliest instant; infinite if no user is thinking. [s]"""
    return float(heap[1]) if heap[0] > 0.0 else np.inf


@inlined
def come_back(heap: Floats, instant_s: float) -> None:
    """A user will send again then."""
    heap[0] += 1.0
    place = int(heap[0])
    while place > 1 and heap[place >> 1] > instant_s:
        heap[place] = heap[place >> 1]
        place >>= 1
    heap[place] = instant_s


@inlined
def take_earliest(heap: Floats) -> None:
    """The earliest sends now."""
    count = int(heap[0])
    instant_s = heap[count]
    heap[0] -= 1.0
    place = 1
    while 2 * place < count:
        child = 2 * place
        child += child + 1 < count and heap[child + 1] < heap[child]
        if heap[child] >= instant_s:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = instant_s
