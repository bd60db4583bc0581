"""Kernel of a watched fleet: a watcher looks at it from time to time, and has replicas leave and join.

Between two looks it is a plain fleet, served by the loops of plain fleets. The outcomes are those of
`reference.recovery` under the same draws, bit for bit, at some ten times the speed of the kernel that knows clients,
faults and protection.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capacity.errors import DomainError
from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.compiled import compiled, inlined
from simulations.draws.attempts import takes_chances
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ServiceTimes
from simulations.draws.watching import Sight, Watcher
from simulations.kernel.batching import due_s, first_over_s, rules_of, sizes_of
from simulations.kernel.own_queues import NOT_PLACED, event_s, serve_own
from simulations.kernel.serve import BLOCK, Served, service_draws, who_needs_time
from simulations.kernel.shared_queue import serve_shared
from simulations.kernel.state import (
    NO_REQUEST,
    UNKNOWN,
    Structs,
    at_rest,
    empty_queues,
    no_jobs,
    requests_in_memory,
    returns_of,
)
from simulations.routing.at_random import place_at_random
from simulations.routing.policies import (
    LEAST_OUTSTANDING,
    LEAST_OUTSTANDING_HAPROXY,
    ROUND_ROBIN,
    base_of,
    other_place,
)
from simulations.routing.ranks import chosen_by_ranks, count_more, first_marks, put_back, take_out
from simulations.routing.tournament import change, tournament

WAITING_MAX = 16_000_000  # requests, which take 1.2 GB
Arrivals = tuple[Floats, Floats, Floats]
Booleans = npt.NDArray[np.bool_]


class OpenStream(Protocol):
    """Requests from outside, drawn in blocks."""

    def arrived_s(self, count: int) -> Floats:
        """Rising instants of the next requests, fewer than asked for where the stream ends. [s]"""

    def service(self, count: int) -> Floats:
        """Uniforms, shape `(count,)`."""

    def routing(self, count: int) -> Floats:
        """Uniforms, shape `(2 * count,)`."""


def serve_watched(
    plan: BatchPlan,
    service_times: ServiceTimes,
    stream: OpenStream,
    watcher: Watcher,
    first: int,
    block: int = BLOCK,
) -> Iterator[Served]:
    """Serve a stream to its end, in the order of arrival; each part overwrites the arrays of the last.

    Args:
        watcher: has replicas leave and join, at the instant of its look.
        first: replicas that serve from the start; those behind them may join.
        block: requests that are drawn at a time.

    Raises:
        DomainError: batches that do not start as Triton's do, or more than `WAITING_MAX` requests that wait.
    """
    fleet, is_over = _Fleet(plan, service_times, first, block), False
    while not is_over:
        arrivals = fleet.drawn(stream, block)
        instants_s, here = arrivals[0], 0
        is_over = len(instants_s) < block
        while (now_s := watcher.next_s) < (math.inf if is_over else instants_s[-1]):
            to = int(np.searchsorted(instants_s, now_s, side="right"))
            fleet.advance(_part(arrivals, here, to), now_s)
            fleet.change(watcher.look(fleet.sight(now_s)) or (), now_s)
            here = to
        fleet.advance(_part(arrivals, here, len(instants_s)), math.inf if is_over else None)
        yield fleet.decided(is_over=is_over)


def _part(arrivals: Arrivals, here: int, to: int) -> Arrivals:
    instants_s, service, dice = arrivals
    return instants_s[here:to], service[here:to], dice[2 * here : 2 * to]


class _Fleet:
    """The state of a run: who waits where, what is served, and which replicas are there."""

    def __init__(self, plan: BatchPlan, service_times: ServiceTimes, first: int, block: int) -> None:
        if plan.batching is not Batching.TRITON or plan.preferred_sizes:
            raise DomainError(
                f"replicas that come and go are simulated with {Batching.TRITON} batching without preferred sizes, not "
                f"with {plan.batching}"
            )
        count = plan.replicas
        self._plan, self._shares = plan, plan.routing is Routing.SHARED_QUEUE
        table, needs_time = service_times.table(plan.batch_size_max), who_needs_time(plan.routing)
        self._table = table.require(plan.batch_size_max, needs_time=needs_time)
        self._present = np.arange(count) < first
        self._rules = rules_of(plan)
        self._rules["replicas"] = first
        self._queues = empty_queues(1, first) if self._shares else empty_queues(count, 1)
        self._jobs = no_jobs(count)
        # Of a shared queue the indices of free replicas, else how much is outstanding at those that are there.
        self._ranks = tournament(np.where(self._present, np.arange(count, dtype=np.float64), np.inf))
        self._marks, self._events = first_marks(plan.routing, count), at_rest(count)
        state = (self._rules, sizes_of(plan), self._table.arrays, self._queues)
        line = (self._events, returns_of(0, 0, 0.0))
        self._serve: Callable[..., None] = partial(
            serve_own, *state, self._ranks, self._marks, *line, NOT_PLACED, None
        )
        if self._shares:
            self._serve = partial(serve_shared, *state, self._jobs, self._ranks, *line)
        self._window = requests_in_memory(4 * block)
        self._base = self._from = self._here = (
            0  # number of the first in memory; places of the undecided, and the end
        )
        self._turn = 0

    def drawn(self, stream: OpenStream, count: int) -> Arrivals:
        """The next requests, for which there is memory then."""
        instants_s = stream.arrived_s(count)
        count = len(instants_s)
        self._make_room(count)
        dice = np.zeros(0)
        if takes_chances(self._plan.routing):
            dice = stream.routing(count)
            come = self._window[
                self._here : self._here + count
            ]  # kept until it is served, should it be moved
            come["started_s"], come["finished_s"] = dice[::2], dice[1::2]
        return instants_s, service_draws(self._table, stream.service, count), dice

    def _make_room(self, count: int) -> None:
        """Memory for more requests behind those that are undecided."""
        undecided = self._here - self._from
        if undecided > WAITING_MAX:
            raise DomainError(
                f"more than {WAITING_MAX:.3g} requests wait at once, as the fleet serves far fewer than come; allow "
                "more replicas, or look at a shorter part of the day"
            )
        if self._here + count <= len(self._window):
            return
        window = self._window
        if 2 * (undecided + count) > len(window):
            window = requests_in_memory(4 * (undecided + count))
        window[:undecided] = self._window[self._from : self._here].copy()
        self._window, self._base = window, self._base + self._from
        self._from, self._here = 0, undecided

    def advance(self, arrivals: Arrivals, until_s: float | None) -> None:
        """Let requests arrive, and then all happen that happens up to an instant."""
        count, present = len(arrivals[0]), int(self._rules["replicas"][0])
        if present == 0 and not self._shares:
            lost = self._window[self._here : self._here + count]
            lost["arrived_s"], lost["size"] = arrivals[0], 0
            arrivals, self._here = _part(arrivals, 0, 0), self._here + count
            count = 0
        number = self._base + self._here
        if count and self._plan.routing is Routing.ROUND_ROBIN:
            first = self._turn if self._turn < present else 0
            self._rules["turn"] = (first - number) % present
            self._turn = ((first + count - 1) % present + 1) % self._plan.replicas
        self._rules["until_s"] = math.inf if until_s is None else until_s
        self._serve(self._window, self._base, number, arrivals, until_s is not None)
        self._here += count

    def sight(self, now_s: float) -> Sight:
        """The fleet as its watcher sees it."""
        if self._shares:
            serving, began_s, busy_s = (self._jobs[name] for name in ("size", "started_s", "busy_s"))
        else:
            serving, began_s, busy_s = (self._queues[name] for name in ("in_service", "began_s", "busy_s"))
        so_far_s = np.where(serving > 0, now_s - began_s, 0.0)
        return Sight(now_s, self._queues["waiting"].copy(), serving.copy(), busy_s + so_far_s)

    def change(self, faults: Sequence[Fault], now_s: float) -> None:
        """Replicas leave, whose queues are routed again, and others join."""
        for fault in faults:
            if fault.action not in (Action.LEAVE, Action.JOIN) or fault.instant_s != now_s:
                raise DomainError(
                    f"a watched fleet changes at once, by replicas that leave or join, not by {fault}"
                )
            self._present[fault.replica] = joins = fault.action is Action.JOIN
            if self._shares:
                self._change_free(fault.replica, now_s, joins=joins)
            else:
                self._change_choice(fault.replica, now_s, joins=joins)
        if faults:
            present = int(self._present.sum())
            if not self._present[:present].all():
                raise DomainError("the replicas that are there must be the first ones")
            self._rules["replicas"] = present
            self.advance((np.zeros(0), np.zeros(0), np.zeros(0)), now_s)

    def _change_free(self, replica: int, now_s: float, *, joins: bool) -> None:
        """A replica joins or leaves a shared queue; one that serves ends its batch."""
        if self._jobs["size"][replica] > 0:
            return
        leaf = float(replica) if joins else math.inf
        _join_free(self._rules, self._queues, self._ranks, self._window, self._base, replica, leaf, now_s)

    def _change_choice(self, replica: int, now_s: float, *, joins: bool) -> None:
        """The router may choose a replica, or may no longer, and then its queue is routed again."""
        if joins:
            in_service = int(self._queues["in_service"][replica])
            put_back(int(self._rules["routing"][0]), replica, in_service, self._ranks, self._marks)
            return
        take_out(replica, self._ranks)
        self._turn = _move_queue(
            self._rules, self._queues, self._ranks, self._marks, self._events, self._present, self._window,
            self._base, replica, self._turn, now_s,
        )  # fmt: skip

    def decided(self, *, is_over: bool) -> Served:
        """The next requests that are served or lost; at the end those that wait in vain are lost."""
        waiting = self._window["size"][self._from : self._here]
        if is_over:
            waiting[waiting == UNKNOWN] = 0
        end = self._from + _known(waiting)
        part = self._window[self._from : end]
        self._from = end
        return Served(part["arrived_s"], part["started_s"], part["finished_s"], part["size"])


@compiled
def _known(size: Integers) -> int:
    """How many requests, from the first, have an outcome."""
    for place in range(len(size)):
        if size[place] == UNKNOWN:
            return place
    return len(size)


@compiled
def _join_free(
    plan: Structs,
    queues: Structs,
    free: Floats,
    window: Structs,
    base: int,
    replica: int,
    leaf: float,
    now_s: float,
) -> None:
    """A replica at rest becomes free for a shared queue; or is no longer, by an infinite leaf."""
    rules, queue = plan[0], queues[0]
    change(free, replica, leaf)
    if leaf == np.inf:
        queue.free -= 1
        return
    queue.free += 1
    if queue.free == 1 and queue.waiting > 0:
        over_s = first_over_s(rules, window[queue.head - base], now_s)
        queue.due_s = due_s(queue.waiting, rules.due_size, over_s, now_s)


@inlined
def _nth(present: Booleans, place: int) -> int:
    """The replica at a place among those that are there."""
    found = -1
    while place >= 0:
        found += 1
        place -= present[found]
    return found


@compiled
def _move_queue(  # noqa: C901  (one branch a routing)
    plan: Structs,
    queues: Structs,
    ranks: Floats,
    marks: Floats,
    events: Floats,
    present: Booleans,
    window: Structs,
    base: int,
    replica: int,
    turn: int,
    now_s: float,
) -> int:
    """Route those who wait at a replica that has left again, in order; who is next in turn then."""
    rules, leaver = plan[0], queues[replica]
    routing, seen = rules.routing, present.sum()
    request, dice = leaver.head, np.empty(2)
    for _ in range(leaver.waiting):
        entry, here = window[request - base], request
        request = entry.behind
        if seen == 0:
            entry.size = 0
            continue
        if routing == ROUND_ROBIN:
            while not present[turn]:
                turn = (turn + 1) % len(queues)
            to = turn
            turn = (turn + 1) % len(queues)
        elif base_of(routing) == LEAST_OUTSTANDING:
            to = chosen_by_ranks(routing, 0, 0, ranks, marks)
        else:
            dice[0], dice[1] = entry.started_s, entry.finished_s
            place = place_at_random(dice[0], seen)
            one, two = _nth(present, place), _nth(present, other_place(routing, place, dice, 0, seen))
            to = chosen_by_ranks(routing, one, two, ranks, marks)
        queue = queues[to]
        is_free = queue.in_service == 0
        if rules.limit >= 0 and queue.waiting >= rules.limit + (rules.size_max if is_free else 0):
            entry.size = 0
            if routing == LEAST_OUTSTANDING_HAPROXY:
                count_more(routing, to, 0, ranks, marks)
            continue
        entry.behind = NO_REQUEST
        if queue.waiting == 0:
            queue.head = here
            queue.due_s = first_over_s(rules, entry, now_s)
        else:
            window[queue.tail - base].behind = here
        queue.tail = here
        queue.waiting += 1
        queue.due_s = due_s(queue.waiting, rules.due_size, queue.due_s, now_s)
        if routing >= LEAST_OUTSTANDING:
            count_more(routing, to, 1, ranks, marks)
        if base_of(routing) == LEAST_OUTSTANDING and is_free:
            change(events, to, event_s(queue))
    leaver.waiting = 0
    return turn
