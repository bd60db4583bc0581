"""vLLM V1: running requests first, in order of admission, then those that wait, as long as tokens and blocks last."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulations.draws.tokens import EngineRules
from simulations.reference.blocks import BlockPool
from simulations.reference.scheduler import Part, Request


@dataclass(slots=True)
class VllmV1:
    """vLLM V1's default policy: running requests first, in order of admission, then those that wait.

    Source:
        vLLM 0.19.0, vllm/v1/core/sched/scheduler.py, `Scheduler.schedule`.
    """

    rules: EngineRules
    blocks: BlockPool
    running: list[Request] = field(default_factory=list)
    waiting: deque[Request] = field(default_factory=deque)
    thrown_out: int = 0
    cached: int = 0

    def join(self, request: Request) -> None:
        """A request comes to the end of the line."""
        self.waiting.append(request)

    def compose(self) -> list[Part]:
        """A part of each running request while tokens last, then new ones unless any was thrown out."""
        parts: list[Part] = []
        budget, preempted = self.rules.tokens_max, False
        place = 0
        while place < len(self.running) and budget > 0:
            request = self.running[place]
            tokens = min(request.known - request.computed, budget)
            if request.is_last_due or tokens == 0:
                place += 1
                continue
            while not self.blocks.grow(request.number, request.computed + tokens):
                preempted = True
                thrown_out = self.running.pop()
                self._preempt(thrown_out)
                if thrown_out is request:
                    break
            else:
                parts.append(self._part(request, tokens))
                budget -= tokens
                place += 1
                continue
            break
        if not preempted:
            parts.extend(self._admit(budget))
        return parts

    def _admit(self, budget: int) -> Iterator[Part]:
        """Waiting requests in order of arrival, those thrown out before first."""
        while self.waiting and budget > 0 and len(self.running) < self.rules.sequences_max:
            request = self.waiting[0]
            found = self._found(request)
            hits = found if request.preemptions else 0
            before = max(found, self._assumed(request)) * self.rules.block_tokens
            tokens = request.known - before
            if not self.rules.chunked and tokens > budget:
                return
            tokens = min(tokens, budget)
            reserved = request.known if self.rules.reserve else before + tokens
            if self.blocks.blocks_for(reserved) > self.blocks.free:
                return
            self.waiting.popleft()
            self.blocks.revive(request.number, hits)
            self.blocks.grow(request.number, before + tokens)
            self.running.append(request)
            self.cached += before
            request.computed = before
            yield self._part(request, tokens)
            budget -= tokens

    def _found(self, request: Request) -> int:
        """Blocks that a request that was thrown out finds again; its last token is always computed."""
        if not request.preemptions:
            return 0
        return self.blocks.hits(request.number, (request.known - 1) // self.rules.block_tokens)

    def _assumed(self, request: Request) -> int:
        """Full blocks that are assumed to be cached."""
        return min(request.cached, request.known - 1) // self.rules.block_tokens

    def _part(self, request: Request, tokens: int) -> Part:
        part = Part(request, tokens, request.computed, request.computed + tokens == request.known)
        request.computed += tokens
        request.due += part.brings_token
        return part

    def _preempt(self, request: Request) -> None:
        """Out of the cache, to the head of the line."""
        self.blocks.release(request.number, request.computed)
        self.thrown_out += request.computed
        request.computed = 0
        request.preemptions += 1
        self.waiting.appendleft(request)

    def finish(self, request: Request) -> None:
        """It leaves; one that was thrown out with its last token due leaves the line."""
        if request in self.running:
            self.running.remove(request)
            self.blocks.release(request.number, request.computed)
        else:
            self.waiting.remove(request)
            self.thrown_out -= request.known - 1  # which nobody needs again

    def call_off(self, request: Request) -> None:
        """Remove a request whose client has gone, and free its blocks at once."""
        if request in self.running:
            self.running.remove(request)
            self.blocks.release(request.number, request.computed)
        else:
            self.waiting.remove(request)

    def vacate(self) -> list[Request]:
        """Remove the requests that wait and have not begun, in order."""
        moved = [request for request in self.waiting if not request.preemptions]
        self.waiting = deque(request for request in self.waiting if request.preemptions)
        return moved
