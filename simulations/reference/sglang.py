"""SGLang: prompts first, in passes of their own; admission by what answers are expected to take."""

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from simulations.draws.reserves import (
    AFTER_RETRACTION,
    ANSWER_MAX,
    RATIO_FIRST,
    RATIO_LEAST,
    RATIO_STEP,
    REFRESH_LOOKS,
    REFRESH_REQUESTS,
)
from simulations.reference.request import Request
from simulations.reference.scheduler import Part
from simulations.reference.vllm import VllmV1


class _Left(NamedTuple):
    """What a pass of prompts may still take.

    Attributes:
        tokens: of the pass.
        room: tokens of the cache that no request uses.
        reserved: tokens of that room that those who run, or were just admitted, are expected to take.
    """

    tokens: int
    room: int
    reserved: float

    def less(self, tokens: int, block: int, answer: int, *, found: int = 0) -> "_Left":
        """What is left once a request gets whole blocks for its tokens, one to spare, and room for its answer."""
        whole = -(-tokens // block) * block
        return _Left(self.tokens - whole, self.room - found, self.reserved + (whole + block + answer))


@dataclass(slots=True)
class Sglang(VllmV1):
    """SGLang's default policy; clients are taken to ask for as many output tokens as they get.

    Its cache is a tree of prefixes whose leaf that was used longest ago goes first. Here it is blocks of `page-size`
    tokens, of which the last of a path goes first, and one goes where in the tree a whole leaf does. A prompt is found
    as soon as the pass that computes it is composed, in the tree once that has ended.

    Attributes:
        ratio: share of the output tokens to come that those who run are expected to take.
        is_full: whether no request may be admitted until one has left.
        cut: whose prompt is computed in part.
        looks: how often the queue was looked at for prompts.

    Source:
        SGLang 0.5.23, python/sglang/srt/managers: scheduler.py, `get_next_batch_to_run`, `_get_new_batch_prefill_raw`
        and `update_running_batch`; schedule_policy.py, `PrefillAdder` and `_touch_waiting_prefixes`;
        schedule_batch.py, `retract_decode`; mem_cache/unified_radix_cache.py.
    """

    ratio: float = RATIO_FIRST
    is_full: bool = False
    cut: Request | None = None
    looks: int = 0

    def compose(self) -> list[Part]:
        """Prompts if there are any and they fit, and with mixed passes a token of each answer; else answers alone."""
        if not self.running:
            self.is_full = False
            if not self.waiting:
                self.ratio = RATIO_FIRST
        if self.cut is not None:
            self.is_full = False
        answering = [request for request in self.running if request is not self.cut]
        parts = self._prompts(answering)
        if not parts or self.rules.mixed:
            parts.extend(self._answers(answering, with_prompts=bool(parts)))
        if not parts and self.cut is not None and not any(request.due for request in self.running):
            self.running.remove(self.cut)  # it holds what others need, and they what it needs
            self._throw_out(self.cut)
            self.cut = None
            return self.compose()
        return parts

    def _prompts(self, answering: list[Request]) -> list[Part]:
        """The rest of the prompt that was cut, then who waits, in order, while tokens and room last."""
        if self.cut is None:
            if self.is_full or not self.waiting:
                return []
            if len(answering) >= self.rules.sequences_max:
                self.is_full = True
                return []
        self._refresh_waiting()
        mixed = len(answering) if self.rules.mixed else 0
        reserved = float(mixed)
        for request in answering:
            reserved += min(request.output - request.generated, ANSWER_MAX) * self.ratio
        left = _Left(self.rules.tokens_max - mixed, self.blocks.free * self.rules.block_tokens, reserved)
        parts: list[Part] = []
        if self.cut is not None:
            left = self._go_on(self.cut, left, parts)
        self._begin(answering, left, parts)
        return parts

    def _refresh_waiting(self) -> None:
        """Now and then what the first in the line begin with counts as used, the first of them last."""
        if self.waiting:
            if self.looks % REFRESH_LOOKS == 0:
                for request in reversed(list(islice(self.waiting, REFRESH_REQUESTS))):
                    self._refresh(request, request.known)
            self.looks += 1

    def _refresh(self, request: Request, tokens: int) -> None:
        """What a turn of a session begins with counts as used now."""
        if request.private is not None:
            self.blocks.refresh(request, tokens // self.rules.block_tokens)

    def _go_on(self, request: Request, left: _Left, parts: list[Part]) -> _Left:
        """The next part of the prompt that was cut."""
        block = self.rules.block_tokens
        expected = min(left.tokens, int(left.room - left.reserved))
        wanted = min(request.known - request.computed, expected if expected > 0 else left.tokens)
        held = self.blocks.blocks_for(request.computed) * block - request.computed
        tokens = min(wanted, self.blocks.free * block + held)
        if tokens <= 0:
            return left
        self.blocks.grow(request, request.computed + tokens)
        is_whole = request.computed + tokens == request.known
        parts.append(self._part(request, tokens))
        if is_whole:
            self.cut = None
        return left.less(tokens, block, min(request.output, ANSWER_MAX) if is_whole else 0)

    def _begin(self, answering: list[Request], left: _Left, parts: list[Part]) -> None:
        """Admit who waits, in order, while there are sequences, tokens, and room for what they will take."""
        block = self.rules.block_tokens
        while self.waiting and left.tokens > 0:
            if len(parts) >= self.rules.sequences_max - len(answering):
                self.is_full = True
                return
            request = self.waiting[0]
            found = self.blocks.found(request, (request.known - 1) // block)
            before = max(len(found), self._assumed(request)) * block
            freed = before - (len(found) - self.blocks.unused(found)) * block  # of what no request uses
            tokens = request.known - before
            total = tokens + min(request.output - request.generated, ANSWER_MAX) + block
            has_room = total < left.room - freed - left.reserved
            if not has_room or (tokens := self._fitting(tokens, left, parts)) <= 0:
                self._refresh(request, request.known - 1)
                self.is_full = self.is_full if has_room else bool(parts) or bool(answering)
                return
            self.waiting.popleft()
            self._admit_with(request, found, before, tokens)
            is_whole = before + tokens == request.known
            parts.append(self._part(request, tokens))
            answer = min(request.output, ANSWER_MAX) if is_whole else 0
            left = left.less(tokens, block, answer, found=freed)
            if not is_whole:
                self.cut = request
            if left.room - left.reserved <= 0.0:
                self.is_full = True
                return

    def _fitting(self, tokens: int, left: _Left, parts: list[Part]) -> int:
        """How many of the tokens of a prompt the pass has room for; 0 if it must wait for another."""
        block = self.rules.block_tokens
        whole = -(-tokens // block) * block
        if not self.rules.chunked:
            return 0 if parts and whole >= left.tokens else tokens
        if whole <= left.tokens:
            return tokens
        return left.tokens // block * block if self.cut is None else 0

    def _admit_with(self, request: Request, found: list[int], before: int, tokens: int) -> None:
        """A request runs from now on, with what it has found or is assumed to."""
        self.blocks.share(request, found)
        self.blocks.grow(request, before + tokens)
        self.blocks.label(request, len(found) * self.rules.block_tokens, before)
        self.running.append(request)
        self.cached += before
        if request.hits < 0:
            request.hits = before
        request.computed = before

    def _answers(self, answering: list[Request], *, with_prompts: bool) -> list[Part]:
        """A token of each request that answers; if blocks run short, of as many as are not thrown out for it."""
        going_on = [request for request in answering if not request.is_last_due]
        if len(going_on) < len(answering):
            self.is_full = False
        if not going_on:
            return []
        if self._missing(going_on) > self.blocks.free:
            if with_prompts or len(going_on) < len(answering):
                return []  # who is about to end frees blocks
            going_on = self._retract(going_on)
        elif not with_prompts:
            self.ratio = max(self.ratio - RATIO_STEP, RATIO_LEAST)
        for request in going_on:
            self.blocks.grow(request, request.computed + 1)
        return [self._part(request, 1) for request in going_on]

    def _missing(self, requests: list[Request]) -> int:
        """Blocks that the next tokens of some requests need."""
        return sum(self.blocks.missing(request, request.computed + 1) for request in requests)

    def _retract(self, requests: list[Request]) -> list[Request]:
        """Throw out who has fewest output tokens, and of these the longest prompt, until the others have blocks."""
        kept = sorted(requests, key=lambda one: (one.generated, -one.input), reverse=True)
        while len(kept) > 1 and (len(kept) == len(requests) or self._missing(kept) > self.blocks.free):
            self._throw_out(kept.pop())
            self.is_full = False
        self.running = [*kept, *([] if self.cut is None else [self.cut])]
        decoded, most = sum(one.generated for one in kept), sum(one.output for one in kept)
        self.ratio = min(1.0, (decoded + AFTER_RETRACTION * len(kept)) / (most + 1))
        return kept if self._missing(kept) <= self.blocks.free else []

    def _throw_out(self, request: Request) -> None:
        """Out of the cache, but for what it holds of its prompt, to the end of the line."""
        self.blocks.forget_after(request, request.input)
        self.blocks.release(request)
        self.thrown_out += request.computed
        request.computed = 0
        request.preemptions += 1
        self.waiting.append(request)

    def finish(self, request: Request) -> None:
        """It leaves, and others may be admitted."""
        VllmV1.finish(self, request)
        self.is_full = False

    def call_off(self, request: Request) -> None:
        """Remove a request whose client has gone, and free its blocks at once."""
        if request in self.running:  # one that waits leaves no room
            self.is_full = False
        VllmV1.call_off(self, request)
        if request is self.cut:
            self.cut = None
