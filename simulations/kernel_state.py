"""Kernel state: the plan, the requests in memory and the replicas, as the compiled engine reads them.

Records keep what belongs to one request or one replica on one or two cache lines.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from capacity.plan import BatchTimer, Plan, Routing
from simulations.records import Floats
from simulations.tournament import tournament

ROUTINGS = (
    Routing.ROUND_ROBIN,
    Routing.RANDOM,
    Routing.LEAST_OUTSTANDING,
    Routing.POWER_OF_TWO,
    Routing.SHARED_QUEUE,
)
ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, SHARED_QUEUE = range(len(ROUTINGS))
NOBODY = -1
_LIMIT_MAX = 2**53  # more than a run has requests, and far from where whole numbers end
UNKNOWN = -1  # size of the batch of a request that is not served yet; 0 is lost

Structs = npt.NDArray[np.void]
Struct = Any  # one of them, whose fields compiled code reads and writes as attributes

# A plan in numbers; a limit of -1 is none.
RULES = np.dtype(
    [
        ("routing", np.int64),
        ("replicas", np.int64),
        ("size_max", np.int64),
        ("wait_s", np.float64),
        ("is_open", np.bool_),
        ("limit", np.int64),
    ]
)
# What the draws say of a request, what became of it, and who waits next after it in its queue.
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
# A queue: who is first and last in line, how many wait, when a batch will be due if nobody else comes.
# Of one replica: the size of its batch, 0 where it is free, and when that ends or the last one ended.
# Of all: when the last one ended, and how many are free.
QUEUE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("waiting", np.int64),
        ("due_s", np.float64),
        ("in_service", np.int64),
        ("finish_s", np.float64),
        ("free", np.int64),
    ]
)
# What a replica serves on a device that it shares, and how many of its instances are busy, at the first.
JOB = np.dtype(
    [
        ("oldest", np.int64),
        ("size", np.int64),
        ("busy", np.int64),
        ("started_s", np.float64),
        ("work_s", np.float64),
        ("since_s", np.float64),
        ("ends_s", np.float64),
    ]
)


def rules_of(plan: Plan) -> Structs:
    """A plan as the kernel reads it, shape `(1,)`."""
    limit = NOBODY if plan.queue_limit is None else min(plan.queue_limit, _LIMIT_MAX)
    routing = ROUTINGS.index(plan.routing)
    is_open = plan.timer is BatchTimer.OPEN
    numbers = (routing, plan.replicas, plan.batch_size_max, plan.batch_wait_max_s, is_open, limit)
    return np.array([numbers], dtype=RULES)


def empty_queues(count: int, replicas: int) -> Structs:
    """Queues without anybody, each with so many free replicas, shape `(count,)`."""
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
    """A tournament of replicas none of which has an event to come."""
    return tournament(np.full(replicas, np.inf))
