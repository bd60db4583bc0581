"""Faulty engine: the engine of a language model that may leave, crash, hang, pause or be slow."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from capacity.recovery.clients import Failure
from capacity.recovery.faults import Action, Fault
from simulations.draws.attempts import EngineFleet
from simulations.draws.tokens import TokenDraws, pass_noise
from simulations.reference.blocks import BlockPool
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.counts import Counts
from simulations.reference.recovery.population import Population
from simulations.reference.replica import Clock, Moment, Phase
from simulations.reference.scheduler import Part, Request
from simulations.reference.vllm import VllmV1


@dataclass(slots=True)
class Pass:
    """What an engine computes, what it has composed to come after it, and when it ends: never, if it hangs."""

    parts: list[Part]
    following: list[Part]
    ends_s: float
    end: Moment


class FaultyEngine:
    """One engine with its state; `Fleet` says what happens to it when.

    It computes passes as `reference.engine.EngineReplica` does. An attempt is a request of its own to the engine,
    which starts from the prompt.

    Attributes:
        is_visible: the router sends attempts here.
        has_crashed: refuses what is sent here.
    """

    def __init__(
        self,
        index: int,
        clock: Clock,
        fleet: EngineFleet,
        tokens: TokenDraws,
        population: Population,
        counts: Counts,
    ) -> None:
        self.index = index
        self.outstanding = 0
        self.is_visible = True
        self.has_crashed = False
        self._is_halted = self._is_paused = self._is_called = False
        self._slowness = 1.0  # how many times as long a pass takes that starts now
        self._clock, self._fleet, self._tokens = clock, fleet, tokens
        self._population, self._counts = population, counts
        self._passes = self._accepted = 0
        self._requests: dict[Attempt, Request] = {}
        self._attempts: dict[int, Attempt] = {}
        self._pass: Pass | None = None
        self._scheduler = self._fresh()

    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent here; False if too many wait."""
        limit, tokens = self._fleet.queue_limit, self._tokens
        if limit is not None and len(self._scheduler.waiting) >= limit:
            return False
        number = attempt.request.number
        request = Request(
            self._accepted,
            self._clock.now,
            int(tokens.input_tokens[number]),
            int(tokens.output_tokens[number]),
            int(tokens.cached_tokens[number]),
        )
        self._accepted += 1
        self._requests[attempt], self._attempts[request.number] = request, attempt
        attempt.place = self
        self._scheduler.join(request)
        self._call()
        return True

    def abandon(self, attempt: Attempt) -> None:
        """Its client has told that it waits no more: the engine stops it, unless it hangs."""
        if self._is_halted or self._hangs():
            return
        request = self._forget(attempt)
        self._scheduler.call_off(request)
        self._counts.dropped += 1

    def vacate(self) -> list[Attempt]:
        """The router forgets it; who has begun is served to the end."""
        self.is_visible = False
        moved = [self._attempts[request.number] for request in self._scheduler.vacate()]
        for attempt in moved:
            self._forget(attempt)
        return moved

    def suffer(self, fault: Fault) -> None:
        """Something happens to it that is no business of others; LEAVE is one of its router."""
        actions: dict[Action, Callable[[], None]] = {
            Action.CRASH: self._crash,
            Action.HANG: self._hang,
            Action.HIDE: self._hide,
            Action.JOIN: self._join,
            Action.RESTART: self._restart,
            Action.SLOW: partial(self._slow, fault.value),
            Action.PAUSE: partial(self._pause, fault.value),
            Action.RESUME: self._resume,
        }
        actions[fault.action]()

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still here and not waited for will not be served."""
        self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._requests)

    def _crash(self) -> None:
        self.has_crashed = True
        self._is_halted = False
        self._lose()

    def _hang(self) -> None:
        """The pass that it computes never ends, even if it comes back; at rest it begins none."""
        self._is_halted = True
        if self._pass is not None:
            self._pass.end.callbacks = []
            self._pass.ends_s = math.inf

    def _hide(self) -> None:
        self.is_visible = False

    def _join(self) -> None:
        self.is_visible = True
        self.has_crashed = self._is_halted = False
        self._call()

    def _restart(self) -> None:
        self._lose()
        self._join()

    def _slow(self, factor: float) -> None:
        self._slowness = factor

    def _pause(self, length_s: float) -> None:
        """Its pass ends so much later; at rest it begins none."""
        self._is_paused = True
        computed = self._pass
        if computed is not None and not self._hangs():
            computed.ends_s += length_s
            computed.end = computed.end.moved(computed.ends_s, Phase.COMPLETION, self.index)

    def _resume(self) -> None:
        self._is_paused = False
        self._call()

    def _hangs(self) -> bool:
        return self._pass is not None and self._pass.ends_s == math.inf

    def _call(self) -> None:
        """At rest, look at the line after all that comes at this instant."""
        if self._is_ready() and not self._is_called and self._scheduler.waiting:
            self._is_called = True
            self._clock.call(self._clock.now, Phase.DISPATCH, self.index, self._begin)

    def _is_ready(self) -> bool:
        """Whether it computes nothing, and could begin."""
        return not self._is_halted and not self._is_paused and self._pass is None

    def _begin(self) -> None:
        self._is_called = False
        if self._is_ready():  # nothing has happened to it meanwhile
            self._compute(self._scheduler.compose())

    def _compute(self, parts: list[Part]) -> None:
        """Compute a pass from now on, if there is anything in it."""
        if not parts:
            return
        ends_s = self._clock.now + self._duration_s(parts)
        self._passes += 1
        following = self._scheduler.compose() if self._fleet.rules.ahead else []
        end = self._clock.call(ends_s, Phase.COMPLETION, self.index, self._complete)
        self._pass = Pass(parts, following, ends_s, end)

    def _duration_s(self, parts: list[Part]) -> float:
        table, seed = self._fleet.table, self._tokens.noise_seed
        prefill = [part for part in parts if not part.is_decode]
        decode = [part for part in parts if part.is_decode]
        tokens = sum(part.tokens for part in prefill)
        past = sum(part.tokens * part.before for part in prefill) / max(1, tokens)
        read = sum(part.before + 1 for part in decode)
        mean_s = table.mean_s(tokens, past, len(decode), read)
        return float(mean_s * pass_noise(table.noise, seed, self.index, self._passes) * self._slowness)

    def _complete(self) -> None:
        """Tokens are handed out; who has all of them is answered, and the next pass begins."""
        assert self._pass is not None  # noqa: S101  (which ends now)
        ended, self._pass = self._pass, None
        for attempt in self._done(ended.parts):
            self._counts.served += 1
            if attempt.is_waited_for:
                self._population.answer(attempt)
            else:
                self._counts.for_nobody += 1
        self._compute(ended.following or self._scheduler.compose())

    def _done(self, parts: list[Part]) -> list[Attempt]:
        """Attempts that a pass has brought the last token of, all of which have left."""
        done = []
        for request in [part.request for part in parts if part.brings_token]:
            attempt = self._attempts.get(request.number)
            if attempt is None:  # called off meanwhile
                continue
            request.due -= 1
            request.generated += 1
            if request.is_done:
                self._scheduler.finish(request)
                self._forget(attempt)
                done.append(attempt)
        return done

    def _lose(self) -> None:
        """What it holds is lost, who runs first, and its cache is empty."""
        if self._pass is not None:
            self._pass.end.callbacks = []
            self._pass = None
        held = [*self._scheduler.running, *self._scheduler.waiting]
        attempts = [self._attempts[request.number] for request in held]
        self._scheduler = self._fresh()
        for attempt in attempts:
            self._forget(attempt)
            self._counts.crashed += 1
            if attempt.is_waited_for:
                self._population.fail(attempt, Failure.CRASHED)

    def _forget(self, attempt: Attempt) -> Request:
        """An attempt leaves."""
        request = self._requests.pop(attempt)
        del self._attempts[request.number]
        attempt.leave()
        return request

    def _fresh(self) -> VllmV1:
        rules = self._fleet.rules
        return VllmV1(rules, BlockPool(rules.blocks, rules.block_tokens, keeps=rules.caching))
