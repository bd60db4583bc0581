"""Engine: the simulator's engine at the pace of the real clock, so that requests can come from outside.

Its steps are composed, timed and handed out by the very objects that a simulation runs. Only the clock differs: events
of the simulation happen once their instant has come. The schedule is absolute, so that a step which is handed out late
shortens the next, and delays of this process do not add up.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import NamedTuple

import numpy as np

from capacity.errors import DomainError, InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.server.engine.lengths import room_tokens
from serve_api.emulation.log import Step, StepLog
from serve_api.emulation.metrics import EngineMetrics
from simulations.draws.tokens import EngineRules, TokenDraws
from simulations.reference.engine import EngineReplica, PolicyRoute, Tally
from simulations.reference.replica import Clock, Phase
from simulations.reference.request import Request
from simulations.reference.scheduler import Part, Scheduler

_HASHES = 2**60  # contents of prompts are negative, and those that belong to one request alone are not
ANSWER_TOKEN = 262  # every token of every answer


class FullError(Exception):
    """The queue of the engine is full."""


class Lengths(NamedTuple):
    """Tokens of a request."""

    input: int
    output: int


@dataclass(slots=True, eq=False, kw_only=True)
class Stream:
    """A request on its way, and its tokens as they come.

    Attributes:
        arrived_s: when it came, before the time outside of the engine. [s]
        tokens: an entry for each pass that has brought some: how many.
    """

    request: Request
    arrived_s: float
    tokens: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    has_joined: bool = False
    has_left: bool = False

    @property
    def cached_tokens(self) -> int:
        """Tokens of its prompt that it found in the cache, once it has been admitted."""
        return max(0, self.request.hits)


class _LiveTally(Tally):
    """What passes and tokens of the engine come to: a line of the log, metrics, and tokens of streams."""

    def __init__(self, engine: "EmulatedEngine", log: StepLog, metrics: EngineMetrics) -> None:
        super().__init__(0, 1, (0.0, inf))
        self._engine, self._log, self._metrics = engine, log, metrics
        self._parts: list[Part] = []

    def pass_s(self, table: StepTable, parts: list[Part], *, drafts_timed: bool) -> float:
        """How long a pass takes on average, whose content is kept for the log. [s]"""
        self._parts = parts
        return super().pass_s(table, parts, drafts_timed=drafts_timed)

    def passes(self, replica: int, span_s: float, now_s: float, scheduler: Scheduler, used: int) -> None:
        """A pass has ended."""
        self._log.step(Step.of(self._parts, now_s - span_s, now_s, used, self._engine.now_s() - now_s))

    def tokens(self, part: Part, came: int, now_s: float) -> None:
        """A part of a pass brings its request some tokens, which go to its stream, or none that it needs."""
        request = part.request
        if not came:
            return
        stream = self._engine.streams[request.number]
        if request.events == 1:
            request.first_s = now_s
            self._metrics.first_token(now_s - stream.arrived_s)
        else:
            self._metrics.next_tokens(came, now_s - request.token_s)
        if part.drafts:
            self._metrics.drafted(part.drafts, came - 1)
        request.token_s = now_s
        stream.tokens.put_nowait(came)

    def answered(self, number: int, request: Request, replica: int, now_s: float) -> None:
        """A request has all its tokens."""
        stream = self._engine.streams.pop(number)
        self._metrics.answered(request, now_s - stream.arrived_s)
        self._log.request(request, stream.arrived_s, now_s)


class EmulatedEngine:
    """One engine of a profile, to which requests come at any time.

    Attributes:
        name: name of its model.
        streams: requests that are not answered yet, by number.
    """

    def __init__(
        self,
        profile: LlmProfile,
        rules: EngineRules,
        *,
        seed: int,
        log: StepLog,
        metrics: EngineMetrics,
        queue_max: float = inf,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name, self.rules, self._queue_max = profile.model or profile.name, rules, queue_max
        self.context_max = room_tokens(profile, rules.sequences_max)
        self.streams: dict[int, Stream] = {}
        self._overhead, self._metrics = profile.overhead, metrics
        self._clock, self._requests = Clock(), 0
        self._clock_s, self._began_s = clock_s, clock_s()
        self._timer: asyncio.TimerHandle | None = None
        route, tally = PolicyRoute(Routing.ROUND_ROBIN, 1, np.zeros(0)), _LiveTally(self, log, metrics)
        self._replica = EngineReplica(
            0, self._clock, rules, profile.table, tally, seed, route, lambda _: None
        )
        self._clock.process(self._replica.serve())
        metrics.watch(
            running=lambda: len(self._replica.scheduler.running),
            waiting=lambda: self._replica.waiting,
            kv_use=lambda: 1.0 - self._replica.blocks_free / rules.blocks,
            rules=rules,
        )

    def now_s(self) -> float:
        """The present instant, from the beginning of the engine. [s]"""
        return self._clock_s() - self._began_s

    def submit(self, lengths: Lengths, tokens: tuple[int, ...] = ()) -> Stream:
        """A request comes, and its tokens will.

        Args:
            tokens: the prompt, by which the cache of prefixes knows it, and after it the answer; empty if it shares
                nothing.

        Raises:
            InputError: the engine has no room for the request.
            FullError: its queue is full.
        """
        self._require_room(lengths)
        if self._waiting >= self._queue_max:
            raise FullError(f"{self._queue_max:g} requests wait for a place in the engine; try again later")
        now_s = max(self.now_s(), self._clock.now)
        request = Request(self._requests, now_s, *lengths)
        if tokens and self.rules.caching:
            whole = (*tokens, *(ANSWER_TOKEN,) * lengths.output)
            request.listed = np.array(list(contents(whole, self.rules.block_tokens)), dtype=np.int64)
        self._requests += 1
        stream = self.streams[request.number] = Stream(request=request, arrived_s=now_s)
        outside_s = self._overhead.request_s + self._overhead.per_input_token_s * lengths.input
        self._clock.call(now_s + outside_s, Phase.ARRIVAL, request.number, partial(self._join, stream))
        self._go_on()
        return stream

    def leave(self, stream: Stream) -> None:
        """The client of a request has gone, if it has not all its tokens; the engine stops it."""
        request = stream.request
        if request.number not in self.streams:
            return
        stream.has_left = True
        if not stream.has_joined:
            del self.streams[request.number]
        elif request.due:  # which the pass that is on its way brings
            request.output = request.generated + request.due
        else:
            self._replica.scheduler.call_off(request)
            self._replica.outstanding -= 1
            del self.streams[request.number]

    def _join(self, stream: Stream) -> None:
        if not stream.has_left:
            stream.has_joined = True
            self._replica.accept(stream.request)

    @property
    def _waiting(self) -> int:
        """Requests that wait for a place, those on their way to the engine included."""
        return self._replica.waiting + sum(not one.has_joined for one in self.streams.values())

    def _require_room(self, lengths: Lengths) -> None:
        """Refuse a request that the engine could never serve, as it would wait for ever."""
        if sum(lengths) > self.context_max:
            raise InputError(
                f"This model's maximum context length is {self.context_max} tokens. However, you requested "
                f"{sum(lengths)} tokens ({lengths.input} in the prompt, {lengths.output} in the completion)."
            )
        given, got, none = (np.array([one]) for one in (*lengths, 0))
        alone = TokenDraws(
            arrived_s=np.zeros(1),
            input_tokens=given,
            output_tokens=got,
            cached_tokens=none,
            routing=np.zeros(2),
        )
        try:
            alone.require_served(self.rules)
        except DomainError as error:
            raise InputError(str(error)) from None

    def _go_on(self) -> None:
        """Let everything happen whose instant has come, and wake up for what comes next."""
        now_s = self.now_s()
        while self._clock.peek() <= now_s:
            self._clock.step()
        if self._timer is not None:
            self._timer.cancel()
        next_s, self._timer = self._clock.peek(), None
        if next_s < inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, next_s - self.now_s()), self._go_on)


def contents(tokens: tuple[int, ...], block_tokens: int) -> Iterator[int]:
    """What the full blocks of these tokens hold, each with all before it; blocks with equal contents are shared."""
    found = 0
    for begin in range(0, len(tokens) - block_tokens + 1, block_tokens):
        found = hash((found, tokens[begin : begin + block_tokens])) % _HASHES
        yield -1 - found


def emulated_rules(
    profile: LlmProfile, sequences_max: int | None = None, batched_tokens_max: int | None = None
) -> EngineRules:
    """Rules of a profile's engine at these settings, by default the largest that were measured.

    Raises:
        DomainError: settings beyond what was measured.
        InputError: the size of the KV cache is unknown.
    """
    limits = profile.limits_measured
    sequences = sequences_max or limits.sequences_max
    tokens = batched_tokens_max or limits.batched_tokens_max
    profile.require(sequences, tokens)
    return EngineRules.of(profile, sequences, tokens)
