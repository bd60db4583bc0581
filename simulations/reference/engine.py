"""Engine: replicas of a language model that batch continuously, in SimPy; the reference for the kernel."""

import math
from collections.abc import Generator

import numpy as np

from capacity.profile.llm import Scheduler as Policy
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from simulations.draws.cells import CELLS, cell_of
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords, pass_noise
from simulations.reference.blocks import BlockPool
from simulations.reference.llama_cpp import LlamaCpp
from simulations.reference.replica import Clock, Moment, Phase
from simulations.reference.scheduler import Part, Request, Scheduler
from simulations.reference.vllm import VllmV1
from simulations.routing.policies import router

# The rules by their names in a profile; another policy is another file and a line here.
POLICIES: dict[Policy, type[VllmV1] | type[LlamaCpp]] = {Policy.VLLM_V1: VllmV1, Policy.LLAMA_CPP: LlamaCpp}


class Tally:
    """What all replicas add to."""

    def __init__(self, requests: int, window_s: tuple[float, float]) -> None:
        self._window_s = window_s
        self.first_s = np.zeros(requests)
        self.finished_s = np.zeros(requests)
        self.replica = np.zeros(requests, dtype=np.int64)
        self.preemptions = np.zeros(requests, dtype=np.int64)
        self.gap_counts = np.zeros(CELLS, dtype=np.int64)
        self.steps = self.computed = 0
        self.largest = [0.0, 0.0, 0.0, 0.0]

    def counts(self, now_s: float) -> bool:
        """Whether a pass that ends now is in the window."""
        return self._window_s[0] <= now_s < self._window_s[1]

    def token(self, request: Request, now_s: float) -> None:
        """A request gets its next token."""
        if request.generated == 1:
            self.first_s[request.number] = now_s
        elif self.counts(now_s):
            self.gap_counts[cell_of(now_s - request.token_s)] += 1
        request.token_s = now_s


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
    ) -> None:
        self.index = index
        self.outstanding = 0  # requests routed here and not yet finished
        self._clock, self._rules, self._table, self._tally = clock, rules, table, tally
        self._noise_seed, self._passes = noise_seed, 0
        pool = BlockPool(rules.blocks, rules.block_tokens, keeps=rules.caching)
        self.scheduler: Scheduler = POLICIES[rules.scheduler](rules, pool)
        self._call: Moment | None = None  # what an idle engine waits for
        self.busy_s = self.running_s = self.block_s = 0.0

    def accept(self, request: Request) -> None:
        """A request arrives here."""
        self.scheduler.join(request)
        self.outstanding += 1
        self._tally.replica[request.number] = self.index
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
            running, used = len(self.scheduler.running), self._rules.blocks - blocks.free
            yield Moment(self._clock).at(ends_s, Phase.COMPLETION, self.index)
            span_s = ends_s - started_s
            self._tally.steps += 1
            if self._tally.counts(ends_s):
                self.busy_s += span_s
                self.running_s += span_s * running
                self.block_s += span_s * used
            self._hand_out(parts)

    def _ends_s(self, parts: list[Part]) -> float:
        """The end of a pass that starts now. [s]"""
        noise = pass_noise(self._table.noise, self._noise_seed, self.index, self._passes)
        return float(self._clock.now + self._duration_s(parts) * noise)

    def _duration_s(self, parts: list[Part]) -> float:
        """How long the pass takes."""
        prefill = [part for part in parts if not part.is_decode]
        decode = [part for part in parts if part.is_decode]
        tokens = sum(part.tokens for part in prefill)
        past = sum(part.tokens * part.before for part in prefill) / max(1, tokens)
        read = sum(part.before + 1 for part in decode)
        sizes = (float(len(decode)), float(tokens), read / max(1, len(decode)), past)
        self._tally.largest = [max(pair) for pair in zip(self._tally.largest, sizes, strict=True)]
        self._tally.computed += sum(part.tokens for part in parts)
        return self._table.mean_s(tokens, past, len(decode), read)

    def _hand_out(self, parts: list[Part]) -> None:
        """The tokens of a pass that has ended; who has all of them leaves."""
        for request in [part.request for part in parts if part.brings_token]:
            request.due -= 1
            request.generated += 1
            self._tally.token(request, self._clock.now)
            if request.is_done:
                self.scheduler.finish(request)
                self._tally.finished_s[request.number] = self._clock.now
                self._tally.preemptions[request.number] = request.preemptions
                self.outstanding -= 1


def run_engines(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    routing: Routing,
    draws: TokenDraws,
    window_s: tuple[float, float] = ALWAYS,
) -> TokenRecords:
    """Serve all requests of `draws`, each at the replica that the router picks on its arrival, to the last one.

    Args:
        window_s: passes that end in it count for gaps and integrals. [s]
    """
    draws.require_served(rules)
    clock, tally = Clock(), Tally(len(draws.arrived_s), window_s)
    engines = [EngineReplica(i, clock, rules, table, tally, draws.noise_seed) for i in range(replicas)]
    route = router(routing, engines, draws.routing.tolist())
    columns = (draws.arrived_s, draws.input_tokens, draws.output_tokens, draws.cached_tokens)
    requests = [Request(i, *one) for i, one in enumerate(zip(*(x.tolist() for x in columns), strict=True))]

    def arrive() -> Generator[Moment, None, None]:
        for request in requests:
            yield Moment(clock).at(request.arrived_s, Phase.ARRIVAL)
            route(request.number).accept(request)

    clock.process(arrive())
    for engine in engines:
        clock.process(engine.serve())
    clock.run()
    pools = [engine.scheduler.blocks for engine in engines]
    return TokenRecords(
        first_s=tally.first_s,
        finished_s=tally.finished_s,
        preemptions=tally.preemptions,
        replica=tally.replica,
        gap_counts=tally.gap_counts,
        steps=tally.steps,
        busy_s=math.fsum(engine.busy_s for engine in engines),
        running_s=math.fsum(engine.running_s for engine in engines),
        block_s=math.fsum(engine.block_s for engine in engines),
        computed=tally.computed,
        thrown_out=sum(engine.scheduler.thrown_out for engine in engines),
        cached=sum(engine.scheduler.cached for engine in engines),
        allocated=sum(pool.allocated for pool in pools),
        freed=sum(pool.freed for pool in pools),
        largest=(tally.largest[0], tally.largest[1], tally.largest[2], tally.largest[3]),
    )
