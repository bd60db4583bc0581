"""Conversations: sessions of a load test, whose later turns are due once the answers before them have been read.

A prompt repeats what was said before, answers as the server gave them, so that its cache of prefixes finds what a
simulated one would. What the sessions of a workload have in common, such as a system prompt, is equal text here too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from capacity.measurement.sections import Floats
from capacity.server.engine.router import SESSION_HEADER
from capacity.traffic.sessions.turns import Integers, Turns
from capacity.verification.run import Schedule, Tokens

# Token ids that every model has and that mean nothing special.
TOKENS = (100, 10_000)
_GAMMA = 0x9E3779B97F4A7C15  # of SplitMix64


class Acted(NamedTuple):
    """Sessions of a run, when their first turns are due, in order, shape `(sessions,)`, and their names. [s]"""

    turns: Turns
    starts_s: Floats
    names: tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """A session on its way.

    Attributes:
        name: by which routers know it.
        salt: sets its text apart from that of other runs, so that none finds what another has left in a cache.
        cookie: that a router has set; empty before.
        said: tokens of the last prompt and of the answer to it.
        held: what the blocks of these hold, as in `Turns`.
    """

    name: str
    turns: Turns
    block_tokens: int
    salt: int
    cookie: str = ""
    said: list[int] = field(default_factory=list)
    held: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def prompt(self, row: int) -> tuple[int, ...]:
        """The prompt of a turn: what was said before as far as the turn repeats it, and then what is new."""
        turns, block = self.turns, self.block_tokens
        count = int(turns.input_tokens[row])
        held = _contents(turns, row, -(-(count + int(turns.output_tokens[row])) // block))
        longest = min(len(self.held), len(held))
        differs = np.flatnonzero(self.held[:longest] != held[:longest])
        same = int(differs[0]) if len(differs) else longest
        repeated = min(len(self.said), same * block, count)
        new = _tokens_of(held, np.arange(repeated, count), block, self.salt)
        self.said, self.held = [*self.said[:repeated], *new], held
        return tuple(self.said)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by which a router knows the session."""
        return {SESSION_HEADER: self.name} | ({"Cookie": self.cookie} if self.cookie else {})

    def keep(self, headers: Mapping[str, str]) -> None:
        """Keep the cookie that a router has set with an answer, if it has."""
        self.cookie = headers.get("Set-Cookie", self.cookie).partition(";")[0]

    def answered(self, tokens: tuple[int, ...]) -> None:
        """The server's answer to the last prompt."""
        self.said += tokens


def _contents(turns: Turns, row: int, blocks: int) -> Integers:
    """What the first blocks of a turn hold, those of its answer included."""
    listed = turns.listed_of(row)[:blocks]
    return np.concatenate([listed, turns.private[row] + np.arange(len(listed), blocks)]).astype(np.int64)


def _tokens_of(held: Integers, at: Integers, block_tokens: int, salt: int) -> list[int]:
    """Tokens at some places of a text, by what its blocks hold: equal blocks are equal text, others are not.

    They are mixed as by SplitMix64 (Steele, Lea and Flood 2014, figure 16).
    """
    mixed = held[at // block_tokens].astype(np.uint64) * np.uint64(block_tokens)
    mixed += (at % block_tokens).astype(np.uint64) + np.uint64(salt * _GAMMA % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    low, high = TOKENS
    found: list[int] = (low + (mixed ^ (mixed >> np.uint64(31))) % np.uint64(high - low)).tolist()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn to be sent.

    Attributes:
        row: its number in `Turns`.
    """

    conversation: Conversation
    row: int

    @property
    def tokens(self) -> Tokens:
        """Input and output tokens."""
        turns = self.conversation.turns
        return int(turns.input_tokens[self.row]), int(turns.output_tokens[self.row])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConversationSchedule(Schedule):
    """Sessions to act out: instants and lengths of their turns are noted as they fall due.

    Attributes:
        acted: the sessions, of which a turn is sent if it falls due within the run.
        block_tokens: of the KV cache that their contents are for.
        salt: as of `Conversation`, a number below 2**64.
    """

    acted: Acted
    block_tokens: int
    salt: int

    @classmethod
    def of(cls, turns: Turns, starts_s: Floats, duration_s: float, block_tokens: int, salt: int) -> Self:
        """The sessions that begin within a run.

        Raises:
            InputError: fewer than two turns.
        """
        begins = int(np.searchsorted(starts_s, duration_s, side="right"))
        count = int(turns.first[begins])
        lengths = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        names = tuple(f"{salt:x}-{session}" for session in range(begins))
        acted = Acted(turns.of_first(begins), starts_s[:begins], names)
        return cls(
            instants_s=np.full(count, np.nan),
            duration_s=duration_s,
            lengths=lengths,
            acted=acted,
            block_tokens=block_tokens,
            salt=salt,
        )

    def __post_init__(self) -> None:
        """Refuse less than a load test; the instants are not known yet."""
        self.require_requests()

    def __str__(self) -> str:
        return f"{len(self.acted.starts_s)} sessions of {self.requests} turns in all"

    @property
    def ends_s(self) -> float:
        """The instant at which the last session begins. [s]"""
        return float(self.acted.starts_s[-1])

    def rows(self, session: int) -> range:
        """The turns of a session."""
        first = self.acted.turns.first
        return range(int(first[session]), int(first[session + 1]))

    def conversation(self, session: int) -> Conversation:
        """A session before its first turn."""
        return Conversation(
            name=self.acted.names[session],
            turns=self.acted.turns,
            block_tokens=self.block_tokens,
            salt=self.salt,
        )

    def follows_s(self, row: int, due_s: float, ended_s: float) -> float:
        """The instant at which the turn after one is due; infinity if that was the last. [s]

        Args:
            due_s, ended_s: when the one before was due, and when its answer ended. [s]
        """
        turns = self.acted.turns
        return math.inf if turns.is_last(row) else turns.follows_s(row, due_s, ended_s)

    def note(self, number: int, turn: Turn, due_s: float) -> None:
        """A turn falls due then, as this request of the run. [s]"""
        assert self.lengths is not None  # noqa: S101  (as all turns have)
        self.instants_s[number] = due_s
        for column, tokens in zip(self.lengths, turn.tokens, strict=True):
            column[number] = tokens
