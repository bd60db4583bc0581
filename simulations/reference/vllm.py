"""vLLM V1: running requests first, in order of admission, then those that wait, as long as tokens and blocks last."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulations.draws.tokens import EngineRules, accepted_drafts
from simulations.reference.blocks import BlockPool
from simulations.reference.request import Request
from simulations.reference.scheduler import Part


@dataclass(slots=True)
class VllmV1:
    """vLLM V1's default policy: running requests first, in order of admission, then those that wait.

    Source:
        vLLM 0.19.0 and 0.33.0, vllm/v1/core/sched/scheduler.py, `Scheduler.schedule`; what differs between them is
        a rule of `EngineRules`.
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
        budget, preempted, slots = self.rules.tokens_max, False, self.rules.draft_slots
        most, place = self._part_max, 0
        while place < len(self.running) and budget > slots:
            request = self.running[place]
            tokens = min(request.known - request.computed, most, budget - slots)
            if request.is_last_due or tokens == 0:
                place += 1
                continue
            drafts = self._drafts(request, min(most, budget - slots))
            ahead = drafts + max(0, request.drafted) + self.rules.lookahead
            while not self.blocks.grow(request, request.computed + tokens + ahead):
                preempted = True
                thrown_out = self.running.pop()
                self._preempt(thrown_out)
                if thrown_out is request:
                    break
            else:
                parts.append(self._part(request, tokens, drafts))
                budget -= tokens + drafts + slots
                place += 1
                continue
            break
        if not preempted:
            parts.extend(self._admit(budget, most))
        return parts

    @property
    def _part_max(self) -> int:
        """Most tokens of one request in the pass that is composed."""
        rules = self.rules
        is_alone = rules.lone_is_whole and len(self.running) + len(self.waiting) <= 1
        return rules.tokens_max if is_alone or not rules.part_max else rules.part_max

    def _drafts(self, request: Request, most: int) -> int:
        """Tokens drafted after the next one of a request, which are as many as its last pass had room for."""
        is_next = request.drafted >= 0 and request.known - request.computed == 1
        return min(len(self.rules.acceptance), most - 1) if is_next else 0

    def _admit(self, budget: int, most: int) -> Iterator[Part]:
        """Waiting requests in order of arrival, those thrown out before first."""
        slots, ahead = self.rules.draft_slots, self.rules.starts_ahead
        while self.waiting and budget > slots and len(self.running) < self.rules.sequences_max:
            request = self.waiting[0]
            found = self.blocks.found(request, (request.known - 1) // self.rules.block_tokens)
            before = max(len(found), self._assumed(request)) * self.rules.block_tokens
            tokens = min(request.known - before, most)
            if not self.rules.chunked and tokens > budget - slots:
                return
            tokens = min(tokens, budget - slots)
            reserved = max(request.known if self.rules.reserve else 0, before + tokens + ahead)
            taken = self.blocks.blocks_for(reserved) - len(found) + self.blocks.unused(found)
            if taken + (self.rules.spare if self.running else 0) > self.blocks.free:
                return
            self.waiting.popleft()
            self.blocks.share(request, found)
            self.blocks.grow(request, before + tokens + ahead)
            self.blocks.label(request, len(found) * self.rules.block_tokens, before)  # what was assumed
            self.running.append(request)
            self.cached += before
            if request.hits < 0:
                request.hits = before
            request.computed = before
            yield self._part(request, tokens)
            budget -= tokens + slots

    def _assumed(self, request: Request) -> int:
        """Full blocks that are assumed to be cached."""
        return min(request.cached, request.known - 1) // self.rules.block_tokens

    def _part(self, request: Request, tokens: int, drafts: int = 0) -> Part:
        before, after = request.computed, request.computed + tokens
        part = Part(request, tokens, before, after == request.known, drafts)
        self.blocks.label(request, before, after)
        request.computed = after
        request.due += part.brings_token
        request.drafted = drafts if part.brings_token else -1
        return part

    def take(self, part: Part, seed: int) -> int:
        """The next token, and those accepted of what was drafted after it, up to the last of the answer.

        Those that are not accepted are computed for nothing, and their blocks kept for what comes instead.
        """
        request = part.request
        if request.is_done:
            return 0
        accepted = 0
        if part.drafts:
            drawn = accepted_drafts(self.rules.acceptance, seed, request.draws, request.generated)
            accepted = min(drawn, part.drafts, request.output - request.generated - 1)
        request.receive(1 + accepted)
        if request.computed == 0:  # thrown out meanwhile
            self.thrown_out += accepted
            return 1 + accepted
        after = request.computed + accepted
        if request.is_done:  # the next pass may hold another part of it
            after, request.due = after - request.due, 0
        self.blocks.label(request, request.computed, after)
        request.computed = after
        request.drafted = request.drafted if request.due else min(request.drafted, 0)
        return 1 + accepted

    def _preempt(self, request: Request) -> None:
        """Out of the cache, to the head of the line."""
        self.blocks.release(request)
        self.thrown_out += request.computed
        request.computed = 0
        request.drafted = -1
        request.preemptions += 1
        self.waiting.appendleft(request)

    def finish(self, request: Request) -> None:
        """It leaves; one that was thrown out with its last token due leaves the line."""
        if request in self.running:
            self.running.remove(request)
            self.blocks.release(request)
        else:
            self.waiting.remove(request)
            self.thrown_out -= request.known - 1  # which nobody needs again

    def call_off(self, request: Request) -> None:
        """Remove a request whose client has gone, and free its blocks at once."""
        if request in self.running:
            self.running.remove(request)
            self.blocks.release(request)
        else:
            self.waiting.remove(request)

    def vacate(self) -> list[Request]:
        """Remove the requests that wait and have not begun, in order."""
        moved = [request for request in self.waiting if not request.preemptions]
        self.waiting = deque(request for request in self.waiting if request.preemptions)
        return moved
