"""Turns: requests of sessions, and what the blocks of their prompts and answers hold."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capacity.errors import DomainError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Independent streams of random numbers, one for each quantity, so that the first of many sessions are those of a few.
Streams = Callable[[int], np.random.Generator]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turns:
    """Turns of some sessions, those of one session in a row, in order; a turn is a request.

    A turn after the first arrives at `max(arrival of the turn before + pace_s, end of its answer + think_s)`.

    A full block of the KV cache has a content: a number for its tokens and all before them. The first `listed` blocks
    of a turn, counted from the beginning of its prompt, have the contents `contents[at : at + listed]`; they may reach
    into its answer, where a file says how the next turn repeats it. The block numbered j >= `listed`, of prompt and
    answer, has the content `private + j`. Equal contents are equal numbers, in whatever turn; numbers of private blocks
    are in no other turn unless that has the same `private`, as turns of one session do while their context only grows.

    Attributes:
        first: row of the first turn of each session, and the number of turns, shape `(sessions + 1,)`.
        input_tokens: whole prompts, shape `(turns,)`.
        output_tokens: shape `(turns,)`.
        think_s: time from the end of the answer before, 0 of first turns, shape `(turns,)`. [s]
        pace_s: least time from the arrival of the turn before, 0 where only `think_s` counts, shape `(turns,)`. [s]
        contents: of listed blocks of all turns, shape `(any,)`; turns may share a stretch.
        at, listed, private: by turn, shape `(turns,)` each.
        cut: whether the session was cut at the longest context allowed, shape `(sessions,)`.
    """

    first: Integers
    input_tokens: Integers
    output_tokens: Integers
    think_s: Floats
    pace_s: Floats
    contents: Integers
    at: Integers
    listed: Integers
    private: Integers
    cut: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        turns = len(self.input_tokens)
        columns = (self.output_tokens, self.think_s, self.pace_s, self.at, self.listed, self.private)
        if any(len(one) != turns for one in columns):
            raise DomainError(f"{turns} turns need as many of everything else")
        if len(self.first) < 1 or self.first[0] != 0 or self.first[-1] != turns:
            raise DomainError("sessions must begin with the first turn and end with the last")
        if not (np.diff(self.first) >= 1).all():
            raise DomainError("a session has at least one turn")

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self.first) - 1

    @property
    def session(self) -> Integers:
        """Number of each turn's session, shape `(turns,)`."""
        return np.repeat(np.arange(self.sessions), np.diff(self.first))

    @property
    def turn(self) -> Integers:
        """Number of each turn in its session, from 0 on, shape `(turns,)`."""
        return np.arange(len(self.input_tokens)) - np.repeat(self.first[:-1], np.diff(self.first))

    def of_first(self, sessions: int) -> "Turns":
        """The turns of the first sessions alone."""
        count = int(self.first[sessions])
        by_turn = ("input_tokens", "output_tokens", "think_s", "pace_s", "at", "listed", "private")
        columns = {name: getattr(self, name)[:count] for name in by_turn}
        return replace(self, first=self.first[: sessions + 1], cut=self.cut[:sessions], **columns)

    def listed_of(self, row: int) -> Integers:
        """Contents of the listed blocks of a turn, shape `(listed,)`."""
        at = self.at[row]
        return self.contents[at : at + self.listed[row]]

    def is_last(self, row: int) -> bool:
        """Whether no turn of its session comes after one."""
        return bool(self.first[np.searchsorted(self.first, row, side="right")] == row + 1)

    def follows_s(self, row: int, arrived_s: float, ended_s: float) -> float:
        """The instant at which the turn after one comes, which arrived and was answered then. [s]"""
        return float(max(arrived_s + self.pace_s[row + 1], ended_s + self.think_s[row + 1]))


class Sessions(Protocol):
    """A workload of sessions, from which any number can be drawn."""

    @property
    def turns_mean(self) -> float:
        """Mean number of turns of a session."""

    def draw(self, sessions: int, streams: Streams, block_tokens: int) -> Turns:
        """Independent sessions, with contents for blocks of this size."""
