"""Request: one of a language model on its way through an engine."""

from dataclasses import dataclass

from simulations.draws.records import Integers

_APART = 2**32  # more than a request has blocks


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way.

    Attributes:
        cached: tokens at its beginning that are assumed to be in the cache when it first starts.
        session, turn: which session it is a turn of, and which turn; its own number where there are no sessions.
        listed: contents of the first blocks of its prompt.
        private: what the number of a later block is added to for its content; None where no other request has it.
        computed: tokens that are computed, or will be by a pass that has been composed.
        generated: output tokens that have come.
        due: tokens that passes which have been composed and not ended will surely bring.
        slot: that it has, where requests have slots.
        hits: tokens that it found in the cache when it was first admitted; -1 before.
        drafted: tokens drafted for it in the last of its passes, until that has ended; -1 if none were drafted yet
            after its prompt.
        events: passes that have brought it tokens.
        draws: by which number its drafts are accepted; its own where it is no attempt of several.
    """

    number: int
    arrived_s: float
    input: int
    output: int
    cached: int = 0
    session: int = -1
    turn: int = 0
    listed: Integers | None = None
    private: int | None = None
    computed: int = 0
    generated: int = 0
    due: int = 0
    preemptions: int = 0
    first_s: float = 0.0
    token_s: float = 0.0
    slot: int = -1
    hits: int = -1
    drafted: int = -1
    events: int = 0
    draws: int = -1

    def __post_init__(self) -> None:
        self.draws = self.number if self.draws < 0 else self.draws

    def content(self, block: int) -> int:
        """What one of its blocks holds once that is full, the first of them numbered 0."""
        if self.listed is not None and block < len(self.listed):
            return int(self.listed[block])
        return (self.number * _APART if self.private is None else self.private) + block

    def receive(self, tokens: int) -> None:
        """A pass has brought it tokens."""
        self.due -= 1
        self.generated += tokens
        self.events += 1

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
