"""Kernel: the model of `cluster` as compiled code; the same draws give the same trajectory, bit for bit.

Requests come in blocks. Those that are not served at the end of one are carried over to the next, so
memory does not grow with the run.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws, Replay, Stream
from simulations.draws.attempts import takes_chances
from simulations.draws.records import Floats, Integers, Records
from simulations.draws.service import ALONE, FIXED, SCALED, ServiceTable, ServiceTimes, service_time_s
from simulations.draws.start import Underway
from simulations.kernel.batching import rules_of, sizes_of
from simulations.kernel.own_queues import NOT_PLACED, Gate, serve_own
from simulations.kernel.recursion import LINE, durations, serve_batches, serve_routed, serve_singly
from simulations.kernel.shared_devices import serve_devices
from simulations.kernel.shared_queue import serve_shared
from simulations.kernel.state import (
    UNKNOWN,
    Structs,
    at_rest,
    empty_queues,
    no_jobs,
    requests_in_memory,
    returns_of,
)
from simulations.routing.policies import ROUTINGS
from simulations.routing.ranks import first_marks, first_ranks
from simulations.routing.tournament import tournament

BLOCK = 32_000  # requests; of a size that the processor's cache holds
# With this many replicas the requests that are not served yet are more than a block, and each block would copy them.
_MANY, _BLOCK_OF_EACH = 256, 64
# Up to this many replicas a sorted vector is faster than a tournament.
_SORTED_MAX = 64
_ROOM = 64  # requests at a replica whose instants are kept at first; a power of 2


class Served(NamedTuple):
    """The outcomes of some consecutive requests, shape `(requests,)` each; size 0 is lost. [s]"""

    arrived_s: Floats
    started_s: Floats
    finished_s: Floats
    size: Integers

    def within(self, part: slice) -> "Served":
        """Some of them in a row."""
        return Served(self.arrived_s[part], self.started_s[part], self.finished_s[part], self.size[part])


def run(
    plan: BatchPlan,
    service_times: ServiceTimes,
    draws: Draws | ClosedDraws,
    block: int = BLOCK,
    slowdowns: Sequence[float] = ALONE,
) -> Records:
    """Serve all requests of `draws` under `plan`; the records that `cluster.run` gives, bit for bit.

    Args:
        block: requests that arrive at a time.
        slowdowns: as in `cluster.run`.
    """
    stream = Replay(draws)
    table = _table(plan, service_times, stream)
    parts = [part.copy() for part in _events(plan, table, stream, block, slowdowns)]
    served = np.concatenate([requests_in_memory(0, may_be_held=_may_hold(plan)), *parts])
    is_lost = served["size"] == 0
    return Records(
        arrived_s=served["arrived_s"],
        started_s=np.where(is_lost, np.nan, served["started_s"]),
        finished_s=np.where(is_lost, np.nan, served["finished_s"]),
        batch_size=served["size"].astype(np.int64),
        replica=np.where(is_lost, -1, served["replica"]).astype(np.int64),
        oldest=np.where(is_lost, -1, served["oldest"]),
    )


def serve(
    plan: BatchPlan,
    service_times: ServiceTimes,
    stream: Stream | Replay,
    *,
    block: int = BLOCK,
    by_events: bool = False,
    slowdowns: Sequence[float] = ALONE,
) -> Iterator[Served]:
    """Serve a stream to its end, in the order of arrival; each part overwrites the arrays of the last.

    Args:
        by_events: even where a recursion could serve it; the outcome is the same.
        block, slowdowns: as in `run`.
    """
    table = _table(plan, service_times, stream)
    recursion = None if by_events else recursion_for(plan, stream, slowdowns)
    if recursion is not None:
        yield from recursion(plan, table, stream, block)
        return
    for part in _events(plan, table, stream, block, slowdowns):
        yield Served(part["arrived_s"], part["started_s"], part["finished_s"], part["size"])


Recursion = Callable[[BatchPlan, ServiceTable, Stream | Replay, int], Iterator[Served]]


def recursion_for(
    plan: BatchPlan, stream: Stream | Replay, slowdowns: Sequence[float] = ALONE
) -> Recursion | None:
    """The recursion that serves a plan; None where only events can."""
    has_state = plan.queue_limit is not None or _may_hold(plan) or stream.underway is not None
    if has_state or stream.users is not None or _are_slowed(plan, slowdowns):
        return None
    is_small, is_single = plan.replicas <= _SORTED_MAX, plan.batch_size_max == 1
    if plan.replicas > 1 and plan.routing is not Routing.SHARED_QUEUE:
        if plan.routing in (Routing.LEAST_OUTSTANDING_HAPROXY, Routing.LEAST_OUTSTANDING_NGINX):
            return None  # which remember more than how many requests each replica has
        looks_at_all = plan.routing is Routing.LEAST_OUTSTANDING
        return _routed if is_single and (is_small or not looks_at_all) else None
    if not is_small or (plan.timer is None and not is_single):
        return None
    return _singly if is_single else _in_batches


def _singly(plan: BatchPlan, table: ServiceTable, stream: Stream | Replay, block: int) -> Iterator[Served]:
    free_s = _all_free(plan)
    sizes = np.ones(block, dtype=np.int64)
    started_s, finished_s = np.empty(block), np.empty(block)
    for count in _counts(stream.requests, block):
        arrived_s, service = stream.arrived_s(count), service_draws(table, stream.service, count)
        serve_singly(table.arrays, free_s, arrived_s, service, started_s, finished_s)
        yield Served(arrived_s, started_s[:count], finished_s[:count], sizes[:count])


def _routed(plan: BatchPlan, table: ServiceTable, stream: Stream | Replay, block: int) -> Iterator[Served]:
    lines, ranks = np.zeros(plan.replicas, dtype=LINE), np.arange(plan.replicas)
    lines["free_s"], lines["next_s"] = -np.inf, np.inf
    leaves_s, sizes = np.empty((plan.replicas, _ROOM)), np.ones(block, dtype=np.int64)
    routing, wake_s, turn = ROUTINGS.index(plan.routing), table.wake_s, 0
    started_s, finished_s, durations_s = (np.empty(block) for _ in range(3))
    for count in _counts(stream.requests, block):
        arrived_s, service, dice = _arrivals(plan, table, stream, count)
        durations(table.arrays, service, durations_s[:count])
        times, done = (arrived_s, durations_s, dice, started_s, finished_s), 0
        while (done := serve_routed(routing, wake_s, turn, done, lines, ranks, leaves_s, *times)) < count:
            leaves_s = _with_more_room(lines, leaves_s)
        turn += count
        yield Served(arrived_s, started_s[:count], finished_s[:count], sizes[:count])


def _with_more_room(lines: Structs, leaves_s: Floats) -> Floats:
    """The same instants, each in its place of twice as many."""
    replicas, room = leaves_s.shape
    wider_s = np.empty((replicas, 2 * room))
    for line, old_s, new_s in zip(lines, leaves_s, wider_s, strict=True):
        numbers = np.arange(line["left"], line["sent"])
        new_s[numbers % (2 * room)] = old_s[numbers % room]
    return wider_s


def _in_batches(
    plan: BatchPlan, table: ServiceTable, stream: Stream | Replay, block: int
) -> Iterator[Served]:
    block = max(block, 4 * plan.batch_size_max)  # so that most of a block can be decided
    room = block + plan.batch_size_max
    free_s = _all_free(plan)
    arrived_s, started_s, finished_s = (np.empty(room) for _ in range(3))
    service, sizes = np.zeros(room), np.empty(room, dtype=np.int64)
    is_open = plan.batching is Batching.TORCHSERVE
    here, to_come = 0, stream.requests
    for count in _counts(stream.requests, block):
        stream.arrived_s(count, out=arrived_s[here : here + count])
        if table.kind != FIXED:
            service[here : here + count] = service_draws(table, stream.service, count)
        here, to_come = here + count, to_come - count
        done = serve_batches(
            table.arrays, plan.batch_size_max, plan.batch_wait_max_s, is_open, free_s,
            arrived_s[:here], service, started_s, finished_s, sizes, to_come == 0,
        )  # fmt: skip
        yield Served(arrived_s[:done], started_s[:done], finished_s[:done], sizes[:done])
        here -= done
        for column in (arrived_s, service):
            column[:here] = column[done : done + here]


def _are_slowed(plan: BatchPlan, slowdowns: Sequence[float]) -> bool:
    """Whether replicas ever slow each other down."""
    return max(slowdowns[: plan.replicas]) > 1.0


def _events(
    plan: BatchPlan, table: ServiceTable, stream: Stream | Replay, block: int, slowdowns: Sequence[float]
) -> Iterator[Structs]:
    """Requests as records in the order of arrival, by the event loop that fits the plan."""
    block = max(block, _BLOCK_OF_EACH * plan.replicas) if plan.replicas >= _MANY else block
    may_hold = _may_hold(plan)
    window, base, here, to_come = requests_in_memory(2 * block, may_be_held=may_hold), 0, 0, stream.requests
    shared = plan.routing is Routing.SHARED_QUEUE
    queues = empty_queues(1, plan.replicas) if shared else empty_queues(plan.replicas, 1)
    advance: Callable[..., None] | None = None
    for count in _counts(stream.requests, block):
        if here + count > len(window):
            window = np.concatenate([window[:here], requests_in_memory(here + count, may_be_held=may_hold)])
        arrivals = _arrivals(plan, table, stream, count)
        if advance is None:
            advance = _loop(plan, table, queues, stream, float(arrivals[1][0]), slowdowns)
        to_come -= count
        advance(window, base, base + here, arrivals, to_come == 0)
        here += count
        is_one_line = len(queues) == 1 and len(slowdowns) == 1 and not may_hold
        done = _known(window["size"][:here], queues, base, is_one_line=is_one_line)
        yield window[:done]
        window[: here - done] = window[done:here].copy()
        base, here = base + done, here - done


def _loop(
    plan: BatchPlan,
    table: ServiceTable,
    queues: Structs,
    stream: Stream | Replay,
    first_service: float,
    slowdowns: Sequence[float],
) -> Callable[..., None]:
    """An event loop with its state, ready for the first block."""
    ranks = first_ranks(plan.routing, np.zeros(plan.replicas, dtype=np.int64))  # all are free
    marks = first_marks(plan.routing, plan.replicas)
    users = stream.users or 0
    spread_s = service_time_s(table.arrays, 1, first_service) if users else 0.0
    returns = returns_of(users, stream.requests, spread_s)
    rules, sizes = rules_of(plan), sizes_of(plan)
    if _are_slowed(plan, slowdowns):
        trees = (ranks, ranks.copy(), at_rest(plan.replicas), at_rest(len(queues)))
        shared = (
            np.array(slowdowns, dtype=np.float64), queues, no_jobs(plan.replicas), trees, marks, returns
        )  # fmt: skip
        return partial(serve_devices, rules, sizes, table.arrays, *shared)
    ends, placed, jobs = at_rest(plan.replicas), NOT_PLACED, no_jobs(plan.replicas)
    is_shared = plan.routing is Routing.SHARED_QUEUE
    if stream.underway is not None:
        placed = stream.underway.placed
        if is_shared:
            ranks, ends = _begin_sharing(queues, jobs, stream.underway)
        else:
            ranks, ends = _begin(plan.routing, queues, stream.underway)
    state = (rules, sizes, table.arrays, queues)
    if is_shared:
        return partial(serve_shared, *state, jobs, ranks, ends, returns)
    gate = Gate.of(plan.replicas) if _may_hold(plan) else None
    return partial(serve_own, *state, ranks, marks, ends, returns, placed, gate)


def _begin_sharing(queues: Structs, jobs: Structs, underway: Underway) -> tuple[Floats, Floats]:
    """Let each replica at one queue serve a batch at the start; the tournaments of free replicas and of instants."""
    queues["free"], jobs["size"] = 0, underway.sizes
    return at_rest(len(jobs)), tournament(underway.ends_s)


def _begin(routing: Routing, queues: Structs, underway: Underway) -> tuple[Floats, Floats]:
    """Let each replica serve a batch at the start; the tournaments of outstanding requests and of instants."""
    queues["in_service"], queues["finish_s"] = underway.sizes, underway.ends_s
    return first_ranks(routing, underway.sizes), tournament(underway.ends_s)


def _table(plan: BatchPlan, service_times: ServiceTimes, stream: Stream | Replay) -> ServiceTable:
    table = service_times.table(plan.batch_size_max)
    needs_time = "places that come free" if _may_hold(plan) else who_needs_time(plan.routing, stream.users)
    return table.require(plan.batch_size_max, needs_time=needs_time)


def who_needs_time(routing: Routing, users: int | None = None) -> str | None:
    """What needs service that takes time: users would ask for ever, and ends that coincide have no order."""
    if users is not None:
        return "users of a closed population"
    return "ends by which HAProxy orders servers" if routing is Routing.LEAST_OUTSTANDING_HAPROXY else None


def _arrivals(
    plan: BatchPlan, table: ServiceTable, stream: Stream | Replay, count: int
) -> tuple[Floats, Floats, Floats]:
    """Draws of the next requests: instants or think times, service, and routing where it is random."""
    instants_s = stream.arrived_s(count) if stream.users is None else stream.think_s(count)
    dice = stream.routing(count) if takes_chances(plan.routing) else np.zeros(0)
    return instants_s, service_draws(table, stream.service, count), dice


def service_draws(table: ServiceTable, draw: Callable[[int], Floats], count: int) -> Floats:
    """Uniforms, or durations of mean 1 made from them, or nothing where no draw is needed."""
    if table.kind == FIXED:
        return np.zeros(count)
    uniforms = draw(count)
    return table.draw(uniforms) if table.kind == SCALED and table.draw is not None else uniforms


def _may_hold(plan: BatchPlan) -> bool:
    """Whether the balancer may hold requests back."""
    return plan.outstanding_max is not None


def _known(size: Integers, queues: Structs, base: int, *, is_one_line: bool) -> int:
    """How many requests, from the first, have an outcome: in one queue, those before the first that waits.

    Args:
        is_one_line: whether all wait in one queue, and have an outcome once a batch takes them; a batch that shares its
            device has none before it ends.
    """
    if is_one_line:
        return int(queues["head"][0]) - base if queues["waiting"][0] else len(size)
    open_ones = np.flatnonzero(size == UNKNOWN)
    return int(open_ones[0]) if len(open_ones) else len(size)


def _all_free(plan: BatchPlan) -> Floats:
    """Instants at which replicas become free, as a recursion keeps them: at first all are. [s]"""
    return np.append(np.full(plan.replicas, -np.inf), np.inf)


def _counts(requests: int, block: int) -> Iterator[int]:
    """Sizes of blocks."""
    while requests > 0:
        yield min(block, requests)
        requests -= block
