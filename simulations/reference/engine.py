"""Engine: replicas of a language model that batch continuously, in SimPy; the reference for the kernel."""

import math
from collections.abc import Callable, Generator, Sequence

import numpy as np

from capacity.profile.llm import Scheduler as Policy
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from simulations.draws.cells import CELLS, cell_of
from simulations.draws.records import Floats
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords, pass_noise
from simulations.reference.blocks import BlockPool
from simulations.reference.llama_cpp import LlamaCpp
from simulations.reference.population import Population
from simulations.reference.replica import Clock, Moment, Phase
from simulations.reference.scheduler import Part, Request, Scheduler
from simulations.reference.vllm import VllmV1
from simulations.routing.policies import router

# The rules by their names in a profile; another policy is another file and a line here.
POLICIES: dict[Policy, type[VllmV1] | type[LlamaCpp]] = {Policy.VLLM_V1: VllmV1, Policy.LLAMA_CPP: LlamaCpp}


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
        self.gap_counts = np.zeros(CELLS, dtype=np.int64)
        self.steps = self.computed = 0
        self.largest = [0.0, 0.0, 0.0, 0.0]
        self.busy_s, self.running_s, self.block_s = ([0.0] * replicas for _ in range(3))

    def passes(self, replica: int, span_s: float, now_s: float, scheduler: Scheduler, used: int) -> None:
        """A pass has ended at a replica, with this many blocks in use."""
        self.steps += 1
        if self._counts(now_s):
            self.busy_s[replica] += span_s
            self.running_s[replica] += span_s * len(scheduler.running)
            self.block_s[replica] += span_s * used

    def token(self, request: Request, now_s: float) -> None:
        """A request gets its next token."""
        if request.generated == 1:
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

    def records(self, arrived_s: Floats, schedulers: Sequence[Scheduler]) -> TokenRecords:
        """The records of a run."""
        return TokenRecords(
            arrived_s=arrived_s,
            first_s=self.first_s,
            finished_s=self.finished_s,
            preemptions=self.preemptions,
            replica=self.replica,
            gap_counts=self.gap_counts,
            steps=self.steps,
            busy_s=math.fsum(self.busy_s),
            running_s=math.fsum(self.running_s),
            block_s=math.fsum(self.block_s),
            computed=self.computed,
            thrown_out=sum(one.thrown_out for one in schedulers),
            cached=sum(one.cached for one in schedulers),
            allocated=sum(one.blocks.allocated for one in schedulers),
            freed=sum(one.blocks.freed for one in schedulers),
            largest=(self.largest[0], self.largest[1], self.largest[2], self.largest[3]),
        )

    def pass_s(self, table: StepTable, parts: list[Part]) -> float:
        """How long a pass takes on average, which is noted. [s]"""
        prefill = [part for part in parts if not part.is_decode]
        decode = [part for part in parts if part.is_decode]
        tokens = sum(part.tokens for part in prefill)
        past = sum(part.tokens * part.before for part in prefill) / max(1, tokens)
        read = sum(part.before + 1 for part in decode)
        sizes = (float(len(decode)), float(tokens), read / max(1, len(decode)), past)
        self.largest = [max(pair) for pair in zip(self.largest, sizes, strict=True)]
        self.computed += sum(part.tokens for part in parts)
        return table.mean_s(tokens, past, len(decode), read)

    def _counts(self, now_s: float) -> bool:
        """Whether a pass that ends now is in the window."""
        return self.window_s[0] <= now_s < self.window_s[1]


class EngineReplica:
    """One engine: composes a pass, computes it, hands out its tokens, and so on while there is anything to do."""

    def __init__(
        self,
        index: int,
        clock: Clock,
        rules: EngineRules,
        table: StepTable,
        tally: Tally,
        noise_seed: int,
        answer: Callable[[Request], None],
    ) -> None:
        self.index = index
        self.outstanding = 0  # requests routed here and not yet finished
        self._clock, self._rules, self._table, self._tally = clock, rules, table, tally
        self._noise_seed, self._passes, self._answer = noise_seed, 0, answer
        pool = BlockPool(rules.blocks, rules.block_tokens, keeps=rules.caching)
        self.scheduler: Scheduler = POLICIES[rules.scheduler](rules, pool)
        self._call: Moment | None = None  # what an idle engine waits for

    def accept(self, request: Request) -> None:
        """A request arrives here."""
        self.scheduler.join(request)
        self.outstanding += 1
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
                continue
            started_s, blocks = self._clock.now, self.scheduler.blocks
            ends_s = self._ends_s(parts)
            self._passes += 1
            following = self.scheduler.compose() if self._rules.ahead else []
            yield Moment(self._clock).at(ends_s, Phase.COMPLETION, self.index)
            used = self._rules.blocks - blocks.free
            self._tally.passes(self.index, ends_s - started_s, ends_s, self.scheduler, used)
            self._hand_out(parts)

    def _ends_s(self, parts: list[Part]) -> float:
        """The end of a pass that starts now. [s]"""
        noise = pass_noise(self._table.noise, self._noise_seed, self.index, self._passes)
        return float(self._clock.now + self._duration_s(parts) * noise)

    def _duration_s(self, parts: list[Part]) -> float:
        """How long the pass takes on average."""
        return self._tally.pass_s(self._table, parts)

    def _hand_out(self, parts: list[Part]) -> None:
        """The tokens of a pass that has ended; who has all of them leaves."""
        for request in [part.request for part in parts if part.brings_token]:
            request.due -= 1
            request.generated += 1
            self._tally.token(request, self._clock.now)
            if request.is_done:
                self.scheduler.finish(request)
                self._tally.answered(request.number, request, self.index, self._clock.now)
                self.outstanding -= 1
                self._answer(request)


class Entrance:
    """Where requests come in, from outside or from users in a closed loop.

    Attributes:
        arrived_s: instants of arrival; filled as users send. [s]
    """

    def __init__(self, clock: Clock, draws: TokenDraws, tally: Tally, queue_limit: int | None) -> None:
        self._clock, self._tally, self._queue_limit = clock, tally, queue_limit
        self.arrived_s = draws.arrived_s.copy()
        columns = (draws.arrived_s, draws.input_tokens, draws.output_tokens, draws.cached_tokens)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self._requests = [Request(number, *row) for number, row in enumerate(rows)]
        self._loop, self._users = draws.loop, None
        if draws.loop is not None:
            self._users = Population(clock, draws.loop.users, draws.loop.think_s.tolist(), self._send)

    def begin(self, route: Callable[[int], EngineReplica]) -> None:
        """Requests come from now on, each to the engine that the router picks."""
        self._route = route
        if self._loop is None or self._users is None:
            self._clock.process(self._arrive())
            return
        self._tally.window_s = [math.inf, math.inf]
        self._users.begin(self._loop.spread_s)

    def answered(self, request: Request) -> None:
        """A request has its answer, and its user begins to think."""
        if self._users is not None:
            self._users.answer([request.number], self._clock.now)

    def _arrive(self) -> Generator[Moment, None, None]:
        for request in self._requests:
            yield Moment(self._clock).at(request.arrived_s, Phase.ARRIVAL)
            self._send(request.number)

    def _send(self, number: int) -> None:
        self.arrived_s[number] = self._clock.now
        if self._loop is not None and number in self._loop.counted:
            self._tally.window_s[self._loop.counted.index(number)] = self._clock.now
        engine = self._route(number)
        if self._queue_limit is None or len(engine.scheduler.waiting) < self._queue_limit:
            engine.accept(self._requests[number])
        elif self._users is not None:
            self._users.answer([number], self._clock.now)


def run_engines(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    routing: Routing,
    draws: TokenDraws,
    window_s: tuple[float, float] = ALWAYS,
    queue_limit: int | None = None,
) -> TokenRecords:
    """Serve all requests of `draws`, each at the replica that the router picks on its arrival, to the last one.

    Args:
        window_s: passes that end in it count for gaps and integrals; users have one of their own. [s]
        queue_limit: how many may wait for a place among the running requests of an engine; more are refused.
    """
    draws.require_served(rules)
    clock, tally = Clock(), Tally(len(draws.arrived_s), replicas, window_s)
    entrance = Entrance(clock, draws, tally, queue_limit)
    engines = [
        EngineReplica(index, clock, rules, table, tally, draws.noise_seed, entrance.answered)
        for index in range(replicas)
    ]
    entrance.begin(router(routing, engines, draws.routing.tolist()))
    for engine in engines:
        clock.process(engine.serve())
    clock.run()
    return tally.records(entrance.arrived_s, [engine.scheduler for engine in engines])
