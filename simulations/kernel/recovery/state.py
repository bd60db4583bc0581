"""State of the recovery kernel: settings in numbers, replicas, queues, attempts, and what all came to."""

from typing import NamedTuple

import numpy as np

from capacity.recovery.faults import Action
from capacity.recovery.protection import Abandoned, Ejecting, Shedding
from capacity.traffic.clients import ATTEMPTS_MAX, BudgetKind, Failure
from simulations.draws.records import Floats, Integers
from simulations.kernel.state import Structs

# Phases of an instant, as in the reference; a retry and a hedge arrive like a first try.
FAULT, COMPLETION, ARRIVAL, DISPATCH, TIMER, TIMEOUT = range(6)
RANKS = 2**48  # more than there are attempts
SWEEP, HEDGE, RETRY, TURN, CALL_ROOM = -1, -2, -3, -4, -5
BEFORE_ARRIVALS = -1  # the rank of what comes before all that arrives
NO_ONE = -1
# Where an attempt is: in an engine the engine itself knows whether it waits or runs; in the room it waits for replicas.
FREE, WAITING, IN_SERVICE, LEAVING, IN_ENGINE, IN_ROOM = range(6)
REJECTED, TIMED_OUT, CRASHED = range(3)
FAILURES = (Failure.REJECTED, Failure.TIMED_OUT, Failure.CRASHED)
BUDGETS = tuple(BudgetKind)
NO_BUDGET, FIRST_TRIES, SUCCESSES, CONCURRENT, THROTTLE = range(len(BUDGETS))
SHEDDINGS = tuple(Shedding)
SHED_NONE, LATE, CODEL, LIFO, SHED_NEW = range(len(SHEDDINGS))
EJECTIONS = tuple(Ejecting)
EJECTS_NONE, ENVOY, NGINX = range(len(EJECTIONS))
ABANDONED = tuple(Abandoned)
SERVED, DROPPED, STOPPED = range(len(ABANDONED))
LEAVE, CRASH, HANG, HIDE, JOIN, RESTART, SLOW, PAUSE, RESUME, AWAY = (int(action) for action in Action)
OVER, FULL, LATER = range(3)
# What the next event comes from: nothing is to come, first tries, the heap, the line of timeouts, a server itself.
NOTHING, FIRST_TRIES_COME, HEAP, LINE, SERVER = range(5)
ASKED_EVERY_S = 5.0
ROOM = 1024  # for attempts and events at first
RULES = np.dtype(
    [
        ("routing", np.int64),
        ("limit", np.int64),
        ("new_max", np.int64),
        ("timeout_s", np.float64),
        ("deadline_s", np.float64),
        ("attempts", np.int64),
        ("hedge_s", np.float64),
        ("retried", np.int64),
        ("budget", np.int64),
        ("ratio", np.float64),
        ("cost", np.float64),
        ("tokens_max", np.float64),
        ("tokens_per_s", np.float64),
        ("at_least", np.int64),
        ("shedding", np.int64),
        ("margin_s", np.float64),
        ("target_s", np.float64),
        ("interval_s", np.float64),
        ("abandoned", np.int64),
        ("ejection", np.int64),
        ("slow_start_s", np.int64),
        ("has_backoff", np.bool_),
        ("backoff_s", np.float64, (ATTEMPTS_MAX,)),
    ]
)
# What changes as the run goes on, and what all attempts have come to. One start of a batch makes as many events as
# `moves`, as it moves the ends of others.
STATE = np.dtype(
    [
        ("moves", np.int64),
        ("events", np.int64),
        ("timeouts", np.int64),
        ("first_timeout", np.int64),
        ("used", np.int64),
        ("next", np.int64),
        ("free", np.int64),
        ("turn", np.int64),
        ("room_head", np.int64),
        ("room_tail", np.int64),
        ("active", np.int64),
        ("retries", np.int64),
        ("tokens", np.float64),
        ("deposited_s", np.float64),
        ("ejected", np.int64),
        ("served", np.int64),
        ("for_nobody", np.int64),
        ("rejected", np.int64),
        ("shed", np.int64),
        ("crashed", np.int64),
        ("dropped", np.int64),
        ("timed_out", np.int64),
        ("changes", np.int64),
        ("slow_until_s", np.float64),
    ]
)
REPLICA = np.dtype(
    [
        ("is_up", np.bool_),
        ("is_visible", np.bool_),
        ("is_dead", np.bool_),
        ("is_paused", np.bool_),
        ("is_ejected", np.bool_),
        ("is_hung", np.bool_),
        ("is_stopped", np.bool_),
        ("is_over", np.bool_),
        ("is_left", np.bool_),
        ("is_away", np.bool_),
        ("size", np.int64),
        ("waited_for", np.int64),
        ("head", np.int64),
        ("began_s", np.float64),
        ("finish_s", np.float64),
        ("busy_s", np.float64),
        ("slow", np.float64),
        ("cold", np.int64),
        ("scale", np.float64),
        ("outstanding", np.int64),
        ("changed_s", np.float64),
        ("changed", np.int64),
        ("owed", np.int64),
        ("failures", np.int64),
        ("times", np.int64),
        ("since_s", np.float64),
        ("failed_s", np.int64),
        ("tried_s", np.int64),
        ("back_s", np.float64),
        ("weight", np.int64),
    ]
)
ATTEMPT = np.dtype(
    [
        ("request", np.int64),
        ("number", np.int64),
        ("replica", np.int64),
        ("sent_s", np.float64),
        ("until_s", np.float64),
        ("is_alive", np.bool_),
        ("is_called_off", np.bool_),
        ("where", np.int64),
        ("batch", np.int64),
        ("ahead", np.int64),
        ("behind", np.int64),
        ("spare", np.int64),
    ]
)
REQUEST = np.dtype(
    [
        ("arrived_s", np.float64),
        ("answered_s", np.float64),
        ("ended_s", np.float64),
        ("scale", np.float64),
        ("sent", np.int64),
        ("used", np.int64),
        ("live", np.int64),
        ("started_s", np.float64),
        ("size", np.int64),
        ("busy_s", np.float64),
        ("batches", np.float64),
    ]
)
EVENT = np.dtype([("instant_s", np.float64), ("order", np.int64), ("what", np.int64)])
STRIKE = np.dtype([("replica", np.int64), ("action", np.int64), ("value", np.float64)])


class World(NamedTuple):
    """Everything that a run reads and writes, whatever its replicas serve; servers have state of their own beside it.

    Attributes:
        attempts: in memory, by place; their `spare` is a stack of free places, of which `state.used` are taken.
        timeouts: to come, one after another, in a ring of a length that is a power of 2; `state.first_timeout` is
            the place of the first. Those that are out of order are among the events.
        requests: attempts `sent`; `used`: sent or scheduled; `live`: waited for or scheduled; and what `Outcomes` says
            of the batches that had its attempts.
        places: of the attempts of a request, shape `(attempts, requests)`, where clients hedge.
    """

    rules: Structs
    state: Structs
    replicas: Structs
    attempts: Structs
    events: Structs
    timeouts: Structs
    faults: Structs
    requests: Structs
    places: Integers
    sent: Integers
    routing: Floats
    backoff: Floats
