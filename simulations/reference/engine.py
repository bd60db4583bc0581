"""Engine: replicas of a language model that batch continuously, in SimPy; the reference for the kernel."""

import math
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from capacity.profile.llm import Scheduler as Policy
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.server.engine.router import RouterRules
from capacity.traffic.sessions.turns import Turns
from simulations.draws.cells import CELLS, cell_of
from simulations.draws.records import Floats
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords, pass_noise
from simulations.reference.blocks import BlockPool
from simulations.reference.llama_cpp import LlamaCpp
from simulations.reference.population import Population
from simulations.reference.replica import Clock, Moment, Phase
from simulations.reference.request import Request
from simulations.reference.scheduler import Part, Scheduler
from simulations.reference.sglang import Sglang
from simulations.reference.vllm import VllmV1
from simulations.routing.candidates import Counted
from simulations.routing.conversations.routers import ROUTERS, fleet_seen
from simulations.routing.conversations.seen import Router, last_reading_s
from simulations.routing.policies import POLICIES as POLICIES_OF_ROUTING

# The rules by their names in a profile; another policy is another file and a line here.
POLICIES: dict[Policy, type[VllmV1] | type[LlamaCpp]] = {
    Policy.VLLM_V1: VllmV1,
    Policy.LLAMA_CPP: LlamaCpp,
    Policy.SGLANG: Sglang,
}


class Tally:
    """What all replicas add to.

    Attributes:
        window_s: passes that end from the one instant on, before the other, count for gaps and integrals. [s]
        busy_s, running_s, block_s: by replica, as in `TokenRecords`.
    """

    def __init__(self, requests: int, replicas: int, window_s: tuple[float, float]) -> None:
        self.window_s = list(window_s)
        self.first_s = np.full(requests, np.nan)
        self.finished_s = np.full(requests, np.nan)
        self.replica = np.full(requests, -1, dtype=np.int64)
        self.preemptions = np.zeros(requests, dtype=np.int64)
        self.hit_tokens = np.zeros(requests, dtype=np.int64)
        self.events = np.zeros(requests, dtype=np.int64)
        self.gap_counts = np.zeros(CELLS, dtype=np.int64)
        self.steps = self.computed = self.wasted = 0
        self.largest = [0.0, 0.0, 0.0, 0.0]
        self.busy_s, self.running_s, self.block_s = ([0.0] * replicas for _ in range(3))

    def passes(self, replica: int, span_s: float, now_s: float, scheduler: Scheduler, used: int) -> None:
        """A pass has ended at a replica, with this many blocks in use."""
        self.steps += 1
        if self._counts(now_s):
            self.busy_s[replica] += span_s
            self.running_s[replica] += span_s * len(scheduler.running)
            self.block_s[replica] += span_s * used

    def tokens(self, part: Part, came: int, now_s: float) -> None:
        """A part of a pass brings its request some tokens, or none that it needs."""
        request = part.request
        if not came:
            self.wasted += part.tokens + part.drafts
            return
        self.wasted += part.drafts - (came - 1)
        if request.events == 1:
            request.first_s = now_s
        elif self._counts(now_s):
            self.gap_counts[cell_of(now_s - request.token_s)] += 1
        request.token_s = now_s

    def answered(self, number: int, request: Request, replica: int, now_s: float) -> None:
        """A request has all its tokens.

        Args:
            number: of the request among all, which `request` may be one of several attempts at.
        """
        self.first_s[number], self.finished_s[number] = request.first_s, now_s
        self.preemptions[number], self.replica[number] = request.preemptions, replica
        self.hit_tokens[number], self.events[number] = request.hits, request.events

    def records(self, arrived_s: Floats, schedulers: Sequence[Scheduler]) -> TokenRecords:
        """The records of a run."""
        return TokenRecords(
            arrived_s=arrived_s,
            first_s=self.first_s,
            finished_s=self.finished_s,
            preemptions=self.preemptions,
            replica=self.replica,
            hit_tokens=self.hit_tokens,
            events=self.events,
            gap_counts=self.gap_counts,
            steps=self.steps,
            busy_s=math.fsum(self.busy_s),
            running_s=math.fsum(self.running_s),
            block_s=math.fsum(self.block_s),
            computed=self.computed,
            thrown_out=sum(one.thrown_out for one in schedulers),
            wasted=self.wasted,
            cached=sum(one.cached for one in schedulers),
            allocated=sum(one.blocks.allocated for one in schedulers),
            freed=sum(one.blocks.freed for one in schedulers),
            largest=(self.largest[0], self.largest[1], self.largest[2], self.largest[3]),
        )

    def pass_s(self, table: StepTable, parts: list[Part], *, drafts_timed: bool) -> float:
        """How long a pass takes on average, which is noted. [s]

        Args:
            drafts_timed: whether it takes as long as if what was drafted for it were of prompts.
        """
        prefill = [(part.tokens, part.before) for part in parts if not part.is_decode]
        decode = [part for part in parts if part.is_decode]
        if drafts_timed:
            prefill += [(part.drafts, part.past) for part in decode]
        tokens = sum(count for count, _ in prefill)
        past = sum(count * before for count, before in prefill) / max(1, tokens)
        read = sum(part.past + 1 for part in decode)
        sizes = (float(len(decode)), float(tokens), read / max(1, len(decode)), past)
        self.largest = [max(pair) for pair in zip(self.largest, sizes, strict=True)]
        self.computed += sum(part.tokens + part.drafts for part in parts)
        return table.mean_s(tokens, past, len(decode), read)

    def _counts(self, now_s: float) -> bool:
        """Whether a pass that ends now is in the window."""
        return self.window_s[0] <= now_s < self.window_s[1]


class Route(Protocol):
    """Where requests are sent.

    Attributes:
        engines: in order of their index; filled before the first request.
    """

    engines: "list[EngineReplica]"

    def choose(self, request: Request, now_s: float) -> "EngineReplica":
        """The engine that a request is sent to."""

    def read(self, now_s: float) -> None:
        """Something changes in an engine just after this instant."""

    def first_token(self, request: int) -> None:
        """A request has its first token."""

    def done(self, request: int) -> None:
        """A request has its answer, or is refused."""


class PolicyRoute:
    """The `Route` of a policy that looks at no session."""

    def __init__(self, routing: Routing, replicas: int, uniforms: Floats) -> None:
        self.engines: list[EngineReplica] = []
        self._policy, self._uniforms = POLICIES_OF_ROUTING[routing](replicas), uniforms

    def choose(self, request: Request, now_s: float) -> "EngineReplica":
        """The engine that the policy picks."""
        at = 2 * request.number
        chosen: EngineReplica = self._policy(self.engines, self._uniforms[at : at + 2].tolist())
        return chosen

    def read(self, now_s: float) -> None:
        """Do nothing, as a policy looks at the present alone."""

    def first_token(self, request: int) -> None:
        """Do nothing, as a policy remembers nothing."""

    def done(self, request: int) -> None:
        """Do nothing, as a policy remembers nothing."""


class RouterRoute:
    """The `Route` of a router of conversations, which may read the engines now and then."""

    def __init__(self, router: Router, uniforms: Floats) -> None:
        self.engines: list[EngineReplica] = []
        self._router, self._uniforms = router, uniforms
        self._read_s = -math.inf

    def choose(self, request: Request, now_s: float) -> "EngineReplica":
        """The engine that the router picks."""
        self.read(now_s)
        at = 2 * request.number
        return self._router.choose(self.engines, request, self._uniforms[at : at + 2].tolist(), now_s)

    def read(self, now_s: float) -> None:
        """Let the router read the engines if it has not since its last tick; they have not changed since that."""
        if self._router.tick_s is None:
            return
        reading_s = last_reading_s(now_s, self._router.tick_s)
        if reading_s > self._read_s:
            self._read_s = reading_s
            self._router.read(self.engines)

    def first_token(self, request: int) -> None:
        """Tell the router."""
        self._router.first_token(request)

    def done(self, request: int) -> None:
        """Tell the router."""
        self._router.done(request)


class EngineReplica(Counted):
    """One engine: composes a pass, computes it, hands out its tokens, and so on while there is anything to do."""

    def __init__(
        self,
        index: int,
        clock: Clock,
        rules: EngineRules,
        table: StepTable,
        tally: Tally,
        noise_seed: int,
        route: Route,
        answer: Callable[[Request], None],
    ) -> None:
        super().__init__(index, clock.changes)
        self.blocks = rules.blocks
        self._clock, self._rules, self._table, self._tally = clock, rules, table, tally
        self._noise_seed, self._passes, self._answer = noise_seed, 0, answer
        self._route = route
        self.scheduler: Scheduler = POLICIES[rules.scheduler](rules, BlockPool.of(rules))
        self._call: Moment | None = None  # what an idle engine waits for

    @property
    def waiting(self) -> int:
        """Requests without a place among the running ones."""
        return len(self.scheduler.waiting)

    @property
    def blocks_free(self) -> int:
        """Blocks of its cache that no request uses."""
        return self.scheduler.blocks.free

    def holds(self, content: int) -> bool:
        """Whether a block of its cache has this content now."""
        return self.scheduler.blocks.holds(content)

    def accept(self, request: Request) -> None:
        """A request arrives here."""
        self.scheduler.join(request)
        self.count(1)
        if self._call is not None:
            self._call.at(self._clock.now, Phase.DISPATCH, self.index)
            self._call = None

    def serve(self) -> Generator[Moment, None, None]:
        """Compute passes for ever; composed after the pass before, or while that is computed."""
        following: list[Part] = []
        while True:
            parts = following or self.scheduler.compose()
            if not parts:
                self._call = Moment(self._clock)
                yield self._call
                self._route.read(self._clock.now)
                continue
            started_s, blocks = self._clock.now, self.scheduler.blocks
            ends_s = self._ends_s(parts)
            self._passes += 1
            following = self.scheduler.compose() if self._rules.ahead else []
            yield Moment(self._clock).at(ends_s, Phase.COMPLETION, self.index)
            self._route.read(math.nextafter(ends_s, 0.0))  # what ends with a tick is read as ended
            used = self._rules.blocks - blocks.free
            self._tally.passes(self.index, ends_s - started_s, ends_s, self.scheduler, used)
            self._hand_out(parts)

    def _ends_s(self, parts: list[Part]) -> float:
        """The end of a pass that starts now. [s]"""
        noise = pass_noise(self._table.noise, self._noise_seed, self.index, self._passes)
        return float(self._clock.now + self._duration_s(parts) * noise)

    def _duration_s(self, parts: list[Part]) -> float:
        """How long the pass takes on average."""
        return self._tally.pass_s(self._table, parts, drafts_timed=self._rules.drafts_timed)

    def _hand_out(self, parts: list[Part]) -> None:
        """The tokens of a pass that has ended; who has all of them leaves."""
        for part in [part for part in parts if part.brings_token]:
            request, came = part.request, self.scheduler.take(part, self._noise_seed)
            self._tally.tokens(part, came, self._clock.now)
            if came and request.events == 1:
                self._route.first_token(request.number)
            if came and request.is_done:
                self._route.done(request.number)
                self.scheduler.finish(request)
                self._tally.answered(request.number, request, self.index, self._clock.now)
                self.count(-1)
                self._answer(request)


class Entrance:
    """Where requests come in, from outside, as turns of sessions, or from users in a closed loop.

    Attributes:
        arrived_s: instants of arrival; filled as users and sessions send, NaN of turns that never come. [s]
    """

    def __init__(self, clock: Clock, draws: TokenDraws, tally: Tally, queue_limit: int | None) -> None:
        self._clock, self._tally, self._queue_limit = clock, tally, queue_limit
        self.arrived_s = (
            draws.arrived_s.copy() if draws.sessions is None else np.full_like(draws.arrived_s, np.nan)
        )
        self._requests = requests_of(draws)
        self._loop, self._users, self._sessions = draws.loop, None, draws.sessions
        if draws.loop is not None:
            self._users = Population(clock, draws.loop.users, draws.loop.think_s.tolist(), self._send)

    def begin(self, route: Route) -> None:
        """Requests come from now on, each to the engine that the router picks."""
        self._route = route
        if self._sessions is not None:
            first = self._sessions.turns.first[:-1].tolist()
            for row, start_s in zip(first, self._sessions.starts_s.tolist(), strict=True):
                self._send_at(start_s, row)
        elif self._loop is None or self._users is None:
            self._clock.process(self._arrive())
        else:
            self._tally.window_s = [math.inf, math.inf]
            self._users.begin(self._loop.spread_s)

    def answered(self, request: Request) -> None:
        """A request has its answer, and its user or its session goes on."""
        if self._users is not None:
            self._users.answer([request.number], self._clock.now)
        if self._sessions is not None:
            self._follow(self._sessions.turns, request.number)

    def _follow(self, turns: Turns, row: int) -> None:
        """The next turn of a session comes when its user has read the answer."""
        if not turns.is_last(row):
            self._send_at(turns.follows_s(row, float(self.arrived_s[row]), self._clock.now), row + 1)

    def _send_at(self, instant_s: float, number: int) -> None:
        self._clock.call(instant_s, Phase.ARRIVAL, number, partial(self._send, number))

    def _arrive(self) -> Generator[Moment, None, None]:
        for request in self._requests:
            yield Moment(self._clock).at(request.arrived_s, Phase.ARRIVAL)
            self._send(request.number)

    def _send(self, number: int) -> None:
        self.arrived_s[number] = self._clock.now
        if self._loop is not None and number in self._loop.counted:
            self._tally.window_s[self._loop.counted.index(number)] = self._clock.now
        engine = self._route.choose(self._requests[number], self._clock.now)
        if self._queue_limit is None or len(engine.scheduler.waiting) < self._queue_limit:
            engine.accept(self._requests[number])
            return
        engine.count(0)
        self._route.done(number)
        if self._users is not None:
            self._users.answer([number], self._clock.now)


def requests_of(draws: TokenDraws) -> list[Request]:
    """The requests of a run, as engines know them."""
    columns = (draws.arrived_s, draws.input_tokens, draws.output_tokens, draws.cached_tokens)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    requests = [Request(number, *row) for number, row in enumerate(rows)]
    if draws.sessions is not None:
        turns = draws.sessions.turns
        places = zip(turns.session.tolist(), turns.turn.tolist(), strict=True)
        for request, (session, turn) in zip(requests, places, strict=True):
            request.session, request.turn = session, turn
            request.listed = turns.listed_of(request.number)
            request.private = int(turns.private[request.number])
    return requests


def run_engines(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    routing: Routing,
    draws: TokenDraws,
    window_s: tuple[float, float] = ALWAYS,
    queue_limit: int | None = None,
    router: RouterRules | None = None,
) -> TokenRecords:
    """Serve all requests of `draws`, each at the replica that the router picks on its arrival, to the last one.

    Args:
        window_s: passes that end in it count for gaps and integrals; users have one of their own. [s]
        queue_limit: how many may wait for a place among the running requests of an engine; more are refused.
        router: what a router of conversations was told, where that is not as usual.
    """
    draws.require_served(rules)
    clock, tally = Clock(), Tally(len(draws.arrived_s), replicas, window_s)
    entrance = Entrance(clock, draws, tally, queue_limit)
    route: Route
    if routing.needs_sessions:
        route = RouterRoute(
            ROUTERS[routing](fleet_seen(table, rules, replicas, draws, router)), draws.routing
        )
    else:
        route = PolicyRoute(routing, replicas, draws.routing)
    engines = route.engines
    for index in range(replicas):
        made = EngineReplica(index, clock, rules, table, tally, draws.noise_seed, route, entrance.answered)
        engines.append(made)
    entrance.begin(route)
    for engine in engines:
        clock.process(engine.serve())
    clock.run()
    return tally.records(entrance.arrived_s, [engine.scheduler for engine in engines])
