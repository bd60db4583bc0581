"""Scheduler: what the engine of a language model asks of its rules. Each policy has a file of its own here."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from simulations.reference.blocks import BlockPool
from simulations.reference.request import Request


class Part(NamedTuple):
    """The share of a request in a pass: a number of tokens after those computed before.

    Attributes:
        brings_token: whether it ends with all that was known computed, and so with a new token.
        drafts: tokens after it that were drafted.
    """

    request: Request
    tokens: int
    before: int
    brings_token: bool
    drafts: int = 0

    @property
    def is_decode(self) -> bool:
        """Whether it is one token after the prompt."""
        return self.tokens == 1 and self.before >= self.request.input

    @property
    def past(self) -> int:
        """Tokens computed before it; of an answer also those that were accepted since the pass was composed."""
        return self.request.computed - 1 if self.brings_token and self.is_decode else self.before


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

    def take(self, part: Part, seed: int) -> int:
        """Tokens that a pass which has ended brings a request; 0 of one that had its last meanwhile.

        Args:
            seed: of the noise of passes and of what is accepted.
        """

    def finish(self, request: Request) -> None:
        """All tokens of a request have come."""

    def call_off(self, request: Request) -> None:
        """Remove a request at once whose client has gone."""

    def vacate(self) -> list[Request]:
        """Remove the requests that wait and have not begun, in order."""
