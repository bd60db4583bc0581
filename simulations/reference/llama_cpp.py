"""llama.cpp: slots with a share of the cache each; a token for each that generates, then prompts in order of slots."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulations.draws.tokens import EngineRules
from simulations.reference.blocks import BlockPool
from simulations.reference.request import Request
from simulations.reference.scheduler import Part


@dataclass(slots=True)
class LlamaCpp:
    """The policy of llama.cpp's server. Nothing is preempted: a slot has room for all tokens of its request.

    Attributes:
        slots: who has each.
        idle: slots without a request, the longest idle first; of those never used the highest first.
        released: slots that have become idle since the last pass was composed.
        arrived: requests that came since then.
        deferred: requests that came before and found no slot.

    Source:
        llama.cpp as in xllamacpp 2026.10.11549, tools/server: server-context.cpp, `get_available_slot` and
        `update_slots`; server-queue.cpp, `pop_deferred_task`.
    """

    rules: EngineRules
    blocks: BlockPool
    slots: list[Request | None] = field(init=False)
    idle: deque[int] = field(init=False)
    released: list[int] = field(default_factory=list)
    arrived: list[Request] = field(default_factory=list)
    deferred: deque[Request] = field(default_factory=deque)
    thrown_out: int = 0
    cached: int = 0

    def __post_init__(self) -> None:
        self.slots = [None] * self.rules.sequences_max
        self.idle = deque(reversed(range(self.rules.sequences_max)))

    @property
    def running(self) -> list[Request]:
        """Requests in slots, in order of slots."""
        return [request for request in self.slots if request is not None]

    @property
    def waiting(self) -> list[Request]:
        """Requests without a slot, in order of arrival."""
        return [*self.deferred, *self.arrived]

    def join(self, request: Request) -> None:
        """It is looked at when the next pass is composed."""
        self.arrived.append(request)

    def compose(self) -> list[Part]:
        """A token of each slot that generates, then prompts while tokens last."""
        self._admit()
        generating = [self._part(request, 1) for request in self.running if request.generated]
        return [*generating, *self._prompts(self.rules.tokens_max - len(generating))]

    def _admit(self) -> None:
        """Slots go to who was deferred, then to who came since.

        Each release takes the first of the deferred to the very front, so that the last one taken is looked at first.
        """
        count = min(len(self.released), len(self.deferred))
        popped = [self.deferred.popleft() for _ in range(count)]
        self.idle.extend(sorted(self.released))
        for request in (*reversed(popped), *self.arrived):
            if self.idle:
                self._launch(request, self.idle.popleft())
            else:
                self.deferred.append(request)
        self.released.clear()
        self.arrived.clear()

    def _launch(self, request: Request, slot: int) -> None:
        """A request gets a slot; the last token of a cached prompt is computed nevertheless."""
        self.slots[slot] = request
        request.slot = slot
        request.computed = min(request.cached, request.input - 1)
        self.cached += request.computed
        request.hits = request.computed

    def _prompts(self, budget: int) -> Iterator[Part]:
        """Parts of prompts in order of slots, whoever came first."""
        for request in self.running:
            tokens = min(request.input - request.computed, budget)
            if not request.generated and tokens > 0:
                budget -= tokens
                yield self._part(request, tokens)

    def _part(self, request: Request, tokens: int) -> Part:
        part = Part(request, tokens, request.computed, request.computed + tokens == request.known)
        request.computed += tokens
        request.due += part.brings_token
        self.blocks.grow(request, request.computed)
        return part

    def take(self, part: Part, seed: int) -> int:
        """The next token."""
        part.request.receive(1)
        return 1

    def finish(self, request: Request) -> None:
        """Its slot is idle from now on."""
        self.slots[request.slot] = None
        self.released.append(request.slot)
        self.blocks.release(request)

    def call_off(self, request: Request) -> None:
        """Remove a request whose client has gone: its slot is idle at once, or it leaves the line."""
        if request in self.running:
            self.finish(request)
        else:
            (self.deferred if request in self.deferred else self.arrived).remove(request)

    def vacate(self) -> list[Request]:
        """Remove the requests without a slot, in order."""
        moved = self.waiting
        self.deferred.clear()
        self.arrived.clear()
        return moved
