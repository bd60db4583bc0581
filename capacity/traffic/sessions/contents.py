"""Contents: numbers of the blocks of recorded sessions, of which a drawn copy shares what sessions shared."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.traffic.sessions.turns import Integers

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretches:
    """Names of what prompts begin with, a stretch for each turn; equal names stand for equal tokens.

    Attributes:
        names: of all stretches, numbers from 0 on, shape `(any,)`.
        at, count: where the stretch of a turn begins, and its names, shape `(turns,)` each.
        blocks_per_name: most blocks of the cache that a name stands for; only the last of a stretch may have fewer.
        blocks: full blocks that the names of a turn stand for, shape `(turns,)`.
    """

    names: Integers
    at: Integers
    count: Integers
    blocks_per_name: int
    blocks: Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefixes:
    """Prompts that begin with a prefix of their group.

    Attributes:
        group: numbers of groups from 0 on, shape `(turns,)`.
        tokens: length of the prefix, the same within a group; 0 for none, shape `(turns,)`.
    """

    group: Integers
    tokens: Integers

    def taken(self, rows: Integers) -> "Prefixes":
        """The prefixes of some turns."""
        return Prefixes(group=self.group[rows], tokens=self.tokens[rows])

    def columns(self) -> tuple[Integers, ...]:
        """All that makes two of them equal."""
        return self.group, self.tokens

    def stretches(self, block_tokens: int) -> Stretches:
        """A name for each group, which stands for all blocks of its prefix."""
        blocks = self.tokens // block_tokens
        return Stretches(
            names=np.arange(int(self.group.max(initial=0)) + 1),
            at=self.group,
            count=(blocks > 0).astype(np.int64),
            blocks_per_name=max(1, int(blocks.max(initial=0))),
            blocks=blocks,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ids:
    """Prompts whose tokens have ids, each for the same number of tokens.

    Attributes:
        ids: of all turns, numbers from 0 on, shape `(any,)`.
        at: where the ids of a turn begin, shape `(turns,)`.
        tokens: tokens that its ids stand for, the last for as many as are left, shape `(turns,)`.
    """

    tokens_per_id: int
    ids: Integers
    at: Integers
    tokens: Integers

    def taken(self, rows: Integers) -> "Ids":
        """The ids of some turns."""
        return Ids(tokens_per_id=self.tokens_per_id, ids=self.ids, at=self.at[rows], tokens=self.tokens[rows])

    def columns(self) -> tuple[Integers, ...]:
        """All that makes two of them equal."""
        return np.array([self.tokens_per_id]), self.ids, self.at, self.tokens

    def stretches(self, block_tokens: int) -> Stretches:
        """The ids, each for the blocks that are wholly in it.

        Raises:
            InputError: a block does not fit into an id a whole number of times.
        """
        if self.tokens_per_id % block_tokens:
            raise InputError(
                f"an id stands for {self.tokens_per_id} tokens, which is not a multiple of blocks of {block_tokens} "
                f"tokens; give an engine with blocks of {np.gcd(self.tokens_per_id, block_tokens)} tokens"
            )
        per_id, blocks = self.tokens_per_id // block_tokens, self.tokens // block_tokens
        return Stretches(
            names=self.ids, at=self.at, count=-(-blocks // per_id), blocks_per_name=per_id, blocks=blocks
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbering:
    """Numbers of blocks of recorded turns, for any copies of their sessions.

    Blocks that several sessions share have the same number in every copy. Others have numbers of their own in each:
    those that several turns of a session list, which come after `shared`, and those of private streams of tokens.

    Attributes:
        contents: numbers of listed blocks, those of a session alone from 0 on, shape `(any,)`.
        is_own: whether a listed block is of one session alone, shape `(any,)`.
        at, listed: by turn, as in `Turns`, shape `(turns,)` each.
        has_own: whether a turn lists blocks of its session alone, shape `(turns,)`.
        shared: number of different blocks that sessions share.
        own: number of different listed blocks of each session alone, shape `(sessions,)`.
        private: beginning of a turn's private numbers among those of its session, shape `(turns,)`.
        private_blocks: number of private numbers of each session, shape `(sessions,)`.
    """

    contents: Integers
    is_own: Booleans
    at: Integers
    listed: Integers
    has_own: Booleans
    shared: int
    own: Integers
    private: Integers
    private_blocks: Integers

    def copies(
        self, picks: Integers, rows: Integers, counts: Integers
    ) -> tuple[Integers, Integers, Integers]:
        """Contents, and `at` and `private` of turns, of copies of sessions.

        Args:
            picks: sessions to copy, shape `(copies,)`.
            rows: their turns, shape `(turns,)`.
            counts: number of turns of each copy, shape `(copies,)`.
        """
        own, private = self.own[picks], self.private_blocks[picks]
        own_from = self.shared + before(own)
        private_from = self.shared + int(own.sum()) + before(private)
        contents, at = self.contents, self.at[rows]
        mine = np.flatnonzero(self.has_own[rows])
        if len(mine):
            listed = self.listed[rows[mine]]
            place = stretch(at[mine], listed)
            again = contents[place]
            moved = np.repeat(np.repeat(own_from, counts)[mine], listed)
            again[self.is_own[place]] += moved[self.is_own[place]]
            at[mine] = len(contents) + before(listed)
            contents = np.concatenate([contents, again])
        return contents, at, self.private[rows] + np.repeat(private_from, counts)


def numbering(stretches: Stretches, first: Integers, segment: Integers, blocks: Integers) -> Numbering:
    """Numbers of the blocks of recorded turns.

    What no other turn has need not be listed behind the last block that one has: private numbers say the same.

    Args:
        first: as in `Turns`.
        segment: number of each turn's private stream of tokens, rising by 0 or 1, shape `(turns,)`.
        blocks: most full blocks of a turn, shape `(turns,)`.
    """
    session = np.repeat(np.arange(len(first) - 1), np.diff(first))
    turn = np.repeat(np.arange(len(session)), stretches.count)
    place = np.arange(len(turn)) - np.repeat(before(stretches.count), stretches.count)
    _, lowest, names = np.unique(
        stretches.names[stretch(stretches.at, stretches.count)], return_index=True, return_inverse=True
    )
    first_turn, last_turn = turn[lowest], np.zeros(len(lowest), dtype=np.int64)
    last_turn[names] = turn  # of several, the last stays
    again = np.flatnonzero((first_turn != last_turn)[names])
    kept = np.zeros(len(session), dtype=np.int64)
    kept[turn[again]] = place[again] + 1
    used = np.zeros(len(lowest), dtype=bool)
    used[names[place < kept[turn]]] = True
    is_shared = session[first_turn] != session[last_turn]
    owner = session[first_turn]
    number, own = _numbers(used & is_shared, used & ~is_shared, owner, len(first) - 1)
    per_name = stretches.blocks_per_name
    listed = np.minimum(np.minimum(stretches.blocks, kept * per_name), blocks)
    at, contents, is_own = _listed(stretches, listed, names, number, is_shared)
    private, private_blocks = _private(first, segment, blocks)
    has_own = np.zeros(len(session), dtype=bool)
    has_own[turn[(place < kept[turn]) & ~is_shared[names]]] = True
    return Numbering(
        contents=contents,
        is_own=is_own,
        at=at,
        listed=listed,
        has_own=has_own & (listed > 0),
        shared=int((used & is_shared).sum()) * per_name,
        own=own * per_name,
        private=private,
        private_blocks=private_blocks,
    )


def _numbers(shared: Booleans, alone: Booleans, owner: Integers, sessions: int) -> tuple[Integers, Integers]:
    """A number for each name, among those that are shared or those of its owner; and how many each owner has."""
    number = np.zeros(len(owner), dtype=np.int64)
    number[shared] = np.arange(int(shared.sum()))
    mine = np.flatnonzero(alone)
    mine = mine[np.argsort(owner[mine], kind="stable")]
    own = np.bincount(owner[mine], minlength=sessions)
    number[mine] = np.arange(len(mine)) - np.repeat(before(own), own)
    return number, own


def _listed(
    stretches: Stretches, listed: Integers, names: Integers, number: Integers, is_shared: Booleans
) -> tuple[Integers, Integers, Booleans]:
    """Where the listed blocks of turns are, their numbers, and whether they are of one session alone.

    Turns whose names are at the same place share their stretch.
    """
    _, lowest, which = np.unique(stretches.at, return_index=True, return_inverse=True)
    most = np.zeros(len(lowest), dtype=np.int64)
    np.maximum.at(most, which, listed)
    longest = np.zeros(len(lowest), dtype=np.int64)  # a turn that lists that much
    longest[which[listed == most[which]]] = np.flatnonzero(listed == most[which])
    block = np.arange(int(most.sum())) - np.repeat(before(most), most)
    name = names[np.repeat(before(stretches.count)[longest], most) + block // stretches.blocks_per_name]
    contents = number[name] * stretches.blocks_per_name + block % stretches.blocks_per_name
    return before(most)[which], contents, ~is_shared[name]


def _private(first: Integers, segment: Integers, blocks: Integers) -> tuple[Integers, Integers]:
    """Beginning of each turn's private numbers among those of its session, and how many each session has."""
    longest = np.zeros(int(segment.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(longest, segment, blocks + 1)  # one more than there are, so that beginnings differ
    begins = before(longest)[segment]
    ends = begins + longest[segment]
    private_blocks = ends[first[1:] - 1] - begins[first[:-1]]
    return begins - np.repeat(begins[first[:-1]], np.diff(first)), private_blocks


def before(counts: Integers) -> Integers:
    """Sum of the counts before each, shape `(counts,)`."""
    sums: Integers = np.cumsum(counts) - counts
    return sums


def stretch(at: Integers, counts: Integers) -> Integers:
    """Places of stretches that begin at `at` and have as many places as counted, one after the other."""
    return np.repeat(at - before(counts), counts) + np.arange(int(counts.sum()))
