"""Recorded sessions: turns as a file has them, and draws of whole sessions with replacement."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from capacity.errors import InputError
from capacity.files import located
from capacity.traffic.lengths import Moments, moments_of
from capacity.traffic.sessions.contents import Booleans, Ids, Numbering, Prefixes, numbering, stretch
from capacity.traffic.sessions.turns import Floats, Integers, Streams, Turns
from capacity.traffic.workload import TraceArrivals

_COLUMNS = {
    **dict.fromkeys(("first", "input_tokens", "output_tokens", "segment"), np.int64),
    **dict.fromkeys(("think_s", "pace_s"), np.float64),
    "cut": np.bool_,
}
_PICK = 0  # the one stream of random numbers that draws need


@dataclass(frozen=True, kw_only=True)
class SessionColumns:
    """The columns of `SessionRows` as lists, for a file.

    Attributes:
        tokens: of prefixes, or of what ids stand for.
        group: of prefixes.
        tokens_per_id, ids, at: of ids; 0 and empty without them.
    """

    name: str
    has_ids: bool
    dropped: int
    first: tuple[int, ...]
    arrived_s: tuple[float | None, ...]
    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    think_s: tuple[float, ...]
    pace_s: tuple[float, ...]
    cut: tuple[bool, ...]
    segment: tuple[int, ...]
    tokens: tuple[int, ...]
    group: tuple[int, ...] = ()
    tokens_per_id: int = 0
    ids: tuple[int, ...] = ()
    at: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionRows:
    """Recorded sessions, in the order in which they began; drawn whole, with replacement.

    Attributes:
        first, input_tokens, output_tokens, think_s, pace_s, cut: as in `Turns`.
        arrived_s: arrivals, counted from the first; NaN where a file has none, shape `(turns,)`. [s]
        known: what prompts begin with, of which other turns may have the same.
        segment: number of each turn's private stream of tokens, rising by 0 or 1, shape `(turns,)`.
        name: name of the file.
        has_ids: whether the file says which turns belong together.
        dropped: number of sessions left out because their first turn was too long.
        remarks: what its reader decided, a sentence each.
    """

    first: Integers = field(repr=False)
    arrived_s: Floats = field(repr=False)
    input_tokens: Integers = field(repr=False)
    output_tokens: Integers = field(repr=False)
    think_s: Floats = field(repr=False)
    pace_s: Floats = field(repr=False)
    cut: Booleans = field(repr=False)
    known: Prefixes | Ids = field(repr=False)
    segment: Integers = field(repr=False)
    name: str = "sessions"
    has_ids: bool = True
    dropped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """The name of the file."""
        return self.name

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self.first) - 1

    @cached_property
    def _digest(self) -> bytes:
        """A digest of all that matters; scenarios are keys of caches, and each look-up would compare every row."""
        columns = (
            self.first,
            self.arrived_s,
            self.input_tokens,
            self.output_tokens,
            self.think_s,
            self.pace_s,
            self.cut,
            self.segment,
            *self.known.columns(),
        )
        digest = hashlib.blake2b(repr((self.name, self.has_ids, self.dropped)).encode())
        for column in columns:
            digest.update(f"{column.dtype}{len(column)}".encode() + column.tobytes())
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionRows) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @property
    def size(self) -> int:
        """Turns and ids, of which a file has a limit."""
        return len(self.input_tokens) + (len(self.known.ids) if isinstance(self.known, Ids) else 0)

    @property
    def listed(self) -> SessionColumns:
        """All of it in lists."""
        known: dict[str, Any] = {"tokens": self.known.tokens}
        if isinstance(self.known, Ids):
            known |= {"ids": self.known.ids, "at": self.known.at}
        else:
            known |= {"group": self.known.group}
        columns = {name: getattr(self, name) for name in _COLUMNS} | known
        return SessionColumns(
            name=self.name,
            has_ids=self.has_ids,
            dropped=self.dropped,
            arrived_s=tuple(None if math.isnan(one) else one for one in self.arrived_s.tolist()),
            tokens_per_id=self.known.tokens_per_id if isinstance(self.known, Ids) else 0,
            **{name: tuple(column.tolist()) for name, column in columns.items()},
        )

    @classmethod
    def of_listed(cls, listed: SessionColumns) -> "SessionRows":
        """Sessions from lists.

        Raises:
            InputError: they do not go together.
        """
        lists: dict[str, Any] = {
            name: np.array(getattr(listed, name), dtype=kind) for name, kind in _COLUMNS.items()
        }
        whole = {
            name: np.array(getattr(listed, name), dtype=np.int64) for name in ("tokens", "group", "ids", "at")
        }
        known: Prefixes | Ids = Prefixes(group=whole["group"], tokens=whole["tokens"])
        if listed.tokens_per_id:
            known = Ids(
                tokens_per_id=listed.tokens_per_id, ids=whole["ids"], at=whole["at"], tokens=whole["tokens"]
            )
        found = cls(
            name=listed.name,
            has_ids=listed.has_ids,
            dropped=listed.dropped,
            arrived_s=np.array([math.nan if one is None else one for one in listed.arrived_s]),
            known=known,
            **lists,
        )
        turns = len(found.input_tokens)
        columns = (
            found.arrived_s,
            found.output_tokens,
            found.think_s,
            found.pace_s,
            found.segment,
            *known.columns()[-2:],
        )
        if (
            any(len(one) != turns for one in columns)
            or len(found.cut) != found.sessions
            or found.first[-1] != turns
        ):
            raise InputError(
                "question.lengths: the columns of sessions are not of one length; make the plan again"
            )
        return found

    @property
    def has_times(self) -> bool:
        """Whether the file says when its sessions begin, of which there are some."""
        return self.sessions > 1 and not np.isnan(self.arrived_s[self.first[:-1]]).any()

    @property
    def arrivals(self) -> TraceArrivals:
        """Arrivals of all turns, as if every answer came at once where a file has think times alone."""
        waited_s = np.cumsum(np.maximum(self.think_s, self.pace_s))
        first, counts = self.first[:-1], np.diff(self.first)
        after_s = waited_s - np.repeat(waited_s[first], counts)
        instants_s = np.repeat(self.arrived_s[first], counts) + after_s
        return TraceArrivals(
            instants_s=tuple(np.sort(instants_s).tolist()), name=self.name, remarks=self.remarks
        )

    @property
    def turns_mean(self) -> float:
        """Mean number of turns of a session."""
        return len(self.input_tokens) / self.sessions

    @cached_property
    def moments(self) -> Moments:
        """Moments over turns."""
        return moments_of(self.input_tokens, self.output_tokens)

    @cached_property
    def context_max(self) -> int:
        """The longest prompt with its answer."""
        return int((self.input_tokens + self.output_tokens).max())

    def within(self, context_tokens_max: int) -> "SessionRows":
        """The sessions, each cut before the first turn that is longer than this in all.

        Raises:
            InputError: no session has a turn before that.
        """
        long = np.cumsum(self.input_tokens + self.output_tokens > context_tokens_max)
        counts = np.diff(self.first)
        outside = long - np.repeat(np.concatenate([[0], long])[self.first[:-1]], counts)
        left = np.add.reduceat(outside == 0, self.first[:-1], dtype=np.int64)
        if not left.any():
            raise InputError(
                f"{self.name} has no session that begins with {context_tokens_max} tokens or fewer; allow more"
            )
        kept = self._taken(np.flatnonzero(outside == 0), left[left > 0])
        return replace(
            kept,
            cut=(self.cut | (left < counts))[left > 0],
            dropped=self.dropped + int((left == 0).sum()),
        )

    def _taken(self, rows: Integers, counts: Integers) -> "SessionRows":
        """Some of the turns, of sessions with as many of them."""
        return replace(
            self,
            first=np.concatenate([[0], np.cumsum(counts)]),
            arrived_s=self.arrived_s[rows],
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
            think_s=self.think_s[rows],
            pace_s=self.pace_s[rows],
            known=self.known.taken(rows),
            segment=np.unique(self.segment[rows], return_inverse=True)[1],
        )

    def with_outputs(self, factor: float, context_tokens_max: int) -> "SessionRows":
        """The sessions with outputs that are `factor` times as long, cut at this context.

        Prompts that repeat earlier answers grow with them, as far as they are not given by ids.
        """
        got = np.maximum(1, np.rint(factor * self.output_tokens)).astype(np.int64)
        given = self.input_tokens
        if isinstance(self.known, Prefixes):
            more = np.cumsum(got - self.output_tokens) - (got - self.output_tokens)
            opening = np.flatnonzero(np.diff(self.segment, prepend=-1))
            given = given + more - more[opening][self.segment]
        name = f"{self.name}, outputs x {factor:g}"
        return replace(self, input_tokens=given, output_tokens=got, name=name).within(context_tokens_max)

    def draw(self, sessions: int, streams: Streams, block_tokens: int) -> Turns:
        """Sessions of the file, each equally likely, with contents for blocks of this size.

        Two copies of a session share what different sessions of the file share, and nothing else.
        """
        return self._copies((streams(_PICK).random(sessions) * self.sessions).astype(np.int64), block_tokens)

    def as_recorded(self, block_tokens: int) -> tuple[Turns, Floats]:
        """The file as it is: its turns, and the arrivals of first turns, shape `(sessions,)`. [s]

        Raises:
            InputError: sessions without a time, or blocks that do not fit into ids.
        """
        starts_s = self.arrived_s[self.first[:-1]]
        if np.isnan(starts_s).any():
            raise InputError(
                f"{self.name} does not say when its sessions begin; give their first turns a time"
            )
        return self._copies(np.arange(self.sessions), block_tokens), starts_s

    def _copies(self, picks: Integers, block_tokens: int) -> Turns:
        numbers = _numbering(self, block_tokens)
        counts = np.diff(self.first)[picks]
        rows = stretch(self.first[:-1][picks], counts)
        contents, at, private = numbers.copies(picks, rows, counts)
        return Turns(
            first=np.concatenate([[0], np.cumsum(counts)]),
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
            think_s=self.think_s[rows],
            pace_s=self.pace_s[rows],
            contents=contents,
            at=at,
            listed=numbers.listed[rows],
            private=private,
            cut=self.cut[picks],
        )


@lru_cache(maxsize=4)
def _numbering(rows: SessionRows, block_tokens: int) -> Numbering:
    """Numbers of the blocks of a file, which every draw needs."""
    stretches = located(rows.name, lambda: rows.known.stretches(block_tokens))
    blocks = (rows.input_tokens + rows.output_tokens) // block_tokens
    return numbering(stretches, rows.first, rows.segment, blocks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """Turns as the lines of a file have them, in its order.

    Attributes:
        arrived_s: counted from any origin; NaN where a line has no time, shape `(lines,)`. [s]
        delay_s: time from the end of the answer before; NaN where only arrivals count, shape `(lines,)`. [s]
        input_tokens, output_tokens: shape `(lines,)` each.
        known: what prompts begin with.
    """

    arrived_s: Floats
    delay_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    known: Prefixes | Ids

    def as_sessions(
        self, chains: Sequence[Sequence[int]], name: str, remarks: tuple[str, ...], *, has_ids: bool
    ) -> SessionRows:
        """Sessions in the order of their beginnings.

        Args:
            chains: numbers of the lines of each session, in the order of its turns.
        """
        starts = self.arrived_s[[chain[0] for chain in chains]]
        ordered = [chains[place] for place in np.argsort(starts, kind="stable")]
        if not np.isnan(starts).all() and (np.diff(starts) < 0.0).any():
            remarks = (*remarks, f"{name}: sessions do not begin in the order of the file; they were sorted")
        rows = np.array([line for chain in ordered for line in chain], dtype=np.int64)
        first = np.concatenate([[0], np.cumsum([len(chain) for chain in ordered])]).astype(np.int64)
        is_first = np.zeros(len(rows), dtype=bool)
        is_first[first[:-1]] = True
        arrived_s, delay_s = self.arrived_s[rows], self.delay_s[rows]
        paced = np.isnan(delay_s) & ~is_first
        given, got = self.input_tokens[rows], self.output_tokens[rows]
        begins = is_first | _is_new(self.known, given, got)
        return SessionRows(
            first=first,
            arrived_s=arrived_s - np.nanmin(starts) if not np.isnan(starts).all() else arrived_s,
            input_tokens=given,
            output_tokens=got,
            think_s=np.where(paced | is_first, 0.0, delay_s),
            pace_s=np.where(paced, np.diff(arrived_s, prepend=arrived_s[:1]), 0.0),
            cut=np.zeros(len(first) - 1, dtype=bool),
            known=self.known.taken(rows),
            segment=np.cumsum(begins) - 1,
            name=name,
            has_ids=has_ids,
            remarks=remarks,
        )


def _is_new(known: Prefixes | Ids, given: Integers, got: Integers) -> Booleans:
    """Whether the private tokens of a turn are others than those of the turn before, of turns after the first.

    With ids they always are: what a prompt repeats, its ids show.
    """
    new = np.ones(len(given), dtype=bool)
    if isinstance(known, Prefixes):
        new[1:] = given[1:] < given[:-1] + got[:-1]
    return new
