"""Scheduler: what the engine of a language model asks of its rules. Each policy has a file of its own here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from simulations.reference.blocks import BlockPool


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way.

    Attributes:
        cached: tokens at its beginning that are assumed to be in the cache when it first starts.
        computed: tokens that are computed, or will be by a pass that has been composed.
        generated: output tokens that have come.
        due: tokens that passes which have been composed and not ended will bring.
        slot: that it has, where requests have slots.
    """

    number: int
    arrived_s: float
    input: int
    output: int
    cached: int = 0
    computed: int = 0
    generated: int = 0
    due: int = 0
    preemptions: int = 0
    first_s: float = 0.0
    token_s: float = 0.0
    slot: int = -1

    @property
    def known(self) -> int:
        """Tokens that there are to compute, those that are due included."""
        return self.input + self.generated + self.due

    @property
    def is_done(self) -> bool:
        """Whether all its tokens have come."""
        return self.generated == self.output

    @property
    def is_last_due(self) -> bool:
        """Whether its last token is due."""
        return self.generated + self.due == self.output


class Part(NamedTuple):
    """The share of a request in a pass: a number of tokens after those computed before.

    Attributes:
        brings_token: whether it ends with all that was known computed, and so with a new token.
    """

    request: Request
    tokens: int
    before: int
    brings_token: bool

    @property
    def is_decode(self) -> bool:
        """Whether it is one token after the prompt."""
        return self.tokens == 1 and self.before >= self.request.input


class Scheduler(Protocol):
    """What a replica asks of its engine's rules.

    Attributes:
        blocks: of its KV cache.
        thrown_out, cached: tokens, as of `TokenRecords`.
    """

    blocks: BlockPool
    thrown_out: int
    cached: int

    @property
    def running(self) -> Sequence[Request]:
        """Requests that have a place in the engine."""

    @property
    def waiting(self) -> Sequence[Request]:
        """Requests that have none yet, in order."""

    def join(self, request: Request) -> None:
        """A request arrives."""

    def compose(self) -> list[Part]:
        """The next pass; empty where nothing can be computed."""

    def finish(self, request: Request) -> None:
        """All tokens of a request have come."""

    def call_off(self, request: Request) -> None:
        """Remove a request at once whose client has gone."""

    def vacate(self) -> list[Request]:
        """Remove the requests that wait and have not begun, in order."""
