"""Faulty engine: the engine of a language model that may leave, crash, hang, pause or be slow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from simulations.draws.attempts import EngineFleet, lengths_of
from simulations.draws.tokens import TokenRecords, pass_noise
from simulations.reference.blocks import BlockPool
from simulations.reference.engine import POLICIES, Tally
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.faulty_server import FaultyServer, Work
from simulations.reference.recovery.surroundings import Surroundings
from simulations.reference.replica import Phase
from simulations.reference.request import Request
from simulations.reference.scheduler import Part, Scheduler


@dataclass(slots=True)
class Pass(Work):
    """What an engine computes, and what it has composed to come after it."""

    parts: list[Part]
    following: list[Part]


class FaultyEngine(FaultyServer[Pass]):
    """An engine that computes passes as `reference.engine.EngineReplica` does.

    An attempt is a request of its own to the engine, which starts from the prompt.
    """

    def __init__(self, index: int, fleet: EngineFleet, around: Surroundings, tally: Tally) -> None:
        super().__init__(index, around)
        self._fleet, self._tokens, self._tally = fleet, lengths_of(around.draws), tally
        self._turns = None if self._tokens.sessions is None else self._tokens.sessions.turns
        self._new_max = around.protection.limits_new
        self._is_called = self._is_left = False
        self._passes = self._accepted = 0
        self._requests: dict[Attempt, Request] = {}
        self._attempts: dict[int, Attempt] = {}
        self.scheduler = self._fresh()

    @property
    def blocks(self) -> int:
        """Blocks of its cache."""
        return self._fleet.rules.blocks

    @property
    def blocks_free(self) -> int:
        """Blocks of its cache that no request uses."""
        return self.scheduler.blocks.free

    def holds(self, content: int) -> bool:
        """Whether a block of its cache has this content now."""
        return self.scheduler.blocks.holds(content)

    @property
    def waiting(self) -> int:
        """Attempts in its line."""
        return len(self.scheduler.waiting)

    @property
    def serving(self) -> int:
        """Attempts that run."""
        return len(self.scheduler.running)

    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent here; False if too many wait."""
        tokens, number = self._tokens, attempt.request.number
        if any(self.waiting >= limit for limit in self._limits_of(number)):
            return False
        request = Request(
            self._accepted,
            self._clock.now,
            int(tokens.input_tokens[number]),
            int(tokens.output_tokens[number]),
            int(tokens.cached_tokens[number]),
            draws=number,
        )
        if self._turns is not None:
            request.listed, request.private = self._turns.listed_of(number), int(self._turns.private[number])
        self._accepted += 1
        self._requests[attempt], self._attempts[request.number] = request, attempt
        attempt.place = self
        self.scheduler.join(request)
        self.look()
        return True

    def _limits_of(self, number: int) -> Iterator[int]:
        """How many may wait where a request comes."""
        if self._fleet.queue_limit is not None:
            yield self._fleet.queue_limit
        if self._new_max is not None and self._turns is not None and self._turns.turn[number] == 0:
            yield self._new_max

    def abandon(self, attempt: Attempt) -> None:
        """Its client has told that it waits no more: the engine stops it, unless it hangs or is down."""
        if not self.is_up or self.hangs:
            return
        request = self._forget(attempt)
        self.scheduler.call_off(request)
        self._counts.dropped += 1

    def vacate(self) -> list[Attempt]:
        """The router forgets it; who has begun is served to the end."""
        self.is_visible, self._is_left = False, True
        moved = [self._attempts[request.number] for request in self.scheduler.vacate()]
        for attempt in moved:
            self._forget(attempt)
        return moved

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still here and not waited for will not be served."""
        self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._requests)

    def look(self) -> None:
        """An engine at rest looks at its line after all that comes at this instant."""
        if self.is_free and not self._is_called and self.scheduler.waiting:
            self._is_called = True
            self._clock.call(self._clock.now, Phase.DISPATCH, self.index, self._begin)

    def clear(self) -> list[Attempt]:
        """Empty the engine and its cache; returns the attempts that it held, those that ran first."""
        self._end_work()
        held = [*self.scheduler.running, *self.scheduler.waiting]
        attempts = [self._attempts[request.number] for request in held]
        self.scheduler = self._fresh()
        for attempt in attempts:
            self._forget(attempt)
        return attempts

    def _join(self) -> None:
        """One that has left comes back with an empty cache; what it still serves goes on."""
        if self._is_left and self._turns is not None:
            self.scheduler.blocks.forget_all()
        self._is_left = False
        super()._join()

    def _begin(self) -> None:
        self._is_called = False
        if self.is_free:  # nothing has happened to it meanwhile
            self._compute(self.scheduler.compose())

    def _compute(self, parts: list[Part]) -> None:
        """Compute a pass from now on, if there is anything in it."""
        if not parts:
            return
        ends_s = self._clock.now + self._duration_s(parts)
        self._passes += 1
        following = self.scheduler.compose() if self._fleet.rules.ahead else []
        end = self._clock.call(ends_s, Phase.COMPLETION, self.index, self._complete)
        self._work = Pass(self._clock.now, ends_s, end, parts, following)

    def _duration_s(self, parts: list[Part]) -> float:
        table, seed = self._fleet.table, self._tokens.noise_seed
        noise = pass_noise(table.noise, seed, self.index, self._passes)
        mean_s = self._tally.pass_s(table, parts, drafts_timed=self._fleet.rules.drafts_timed)
        return float(mean_s * noise * self._slowness)

    def _complete(self) -> None:
        """Tokens are handed out; who has all of them is answered, and the next pass begins."""
        ended, now_s = self._work, self._clock.now
        assert ended is not None  # noqa: S101  (which ends now)
        self._end_work()
        used = self._fleet.rules.blocks - self.scheduler.blocks.free
        self._tally.passes(self.index, now_s - ended.began_s, now_s, self.scheduler, used)
        for attempt, request in self._done(ended.parts):
            self._counts.served += 1
            if attempt.is_waited_for:
                self._tally.answered(attempt.request.number, request, self.index, now_s)
                self._population.answer(attempt)
            else:
                self._counts.for_nobody += 1
        self._compute(ended.following or self.scheduler.compose())

    def _done(self, parts: list[Part]) -> list[tuple[Attempt, Request]]:
        """Attempts that a pass has brought the last token of, all of which have left, as their engine knew them."""
        done = []
        for part in [part for part in parts if part.brings_token]:
            request = part.request
            attempt = self._attempts.get(request.number)
            if attempt is None and not request.is_done:  # called off meanwhile
                continue
            came = self.scheduler.take(part, self._tokens.noise_seed)
            self._tally.tokens(part, came, self._clock.now)
            if attempt is None:
                continue
            if request.events == 1 and attempt.is_waited_for:
                self._population.first_token(attempt)
            if request.is_done:
                self.scheduler.finish(request)
                self._forget(attempt)
                done.append((attempt, request))
        return done

    def _forget(self, attempt: Attempt) -> Request:
        """An attempt leaves."""
        request = self._requests.pop(attempt)
        del self._attempts[request.number]
        attempt.leave()
        return request

    def _fresh(self) -> Scheduler:
        rules = self._fleet.rules
        return POLICIES[rules.scheduler](rules, BlockPool.of(rules))


def engines_of(
    fleet: EngineFleet, around: Surroundings
) -> tuple[list[FaultyEngine], list[FaultyEngine], Callable[[], TokenRecords]]:
    """The engines of a fleet, each of which has a line of its own, and what they have on record after a run."""
    tally = Tally(len(around.draws.arrived_s), fleet.replicas, fleet.window_s)
    engines = [FaultyEngine(index, fleet, around, tally) for index in range(fleet.replicas)]

    def records() -> TokenRecords:
        return tally.records(np.array(around.population.arrived_s), [one.scheduler for one in engines])

    return engines, engines, records
