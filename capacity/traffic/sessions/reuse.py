"""Reuse: which tokens a cache of prefixes would find, if it were as large as can be, and how large it need be."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.traffic.sessions.contents import before
from capacity.traffic.sessions.turns import Integers, Turns

_NUMBERS_MAX = 400_000_000  # of blocks, each of which takes four bytes or eight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Depths:
    """Blocks of cache that each block which comes again needs to be found.

    The number of blocks found rises from one breakpoint to the next by `slope` for each block of cache.

    Attributes:
        room: breakpoints, blocks of cache, rising, shape `(breakpoints,)`.
        found: blocks found with that room, shape `(breakpoints,)`.
        slope: from each breakpoint on, shape `(breakpoints,)`.
    """

    room: Integers
    found: Integers
    slope: Integers

    @classmethod
    def of(cls, first: Integers, length: Integers) -> "Depths":
        """Runs of blocks, whose depths are `first`, `first + 1` and so on, shape `(runs,)` each."""
        ends = np.concatenate([first, first + length]) - 1
        order = np.argsort(ends, kind="stable")
        slope = np.cumsum(np.repeat([1, -1], len(first))[order])
        room = ends[order]
        found = np.concatenate([[0], np.cumsum(slope[:-1] * np.diff(room))]) if len(room) else room
        return cls(room=room, found=found.astype(np.int64), slope=slope)

    @property
    def total(self) -> int:
        """Blocks found if nothing is forgotten."""
        return int(self.found.max(initial=0))

    def room_for(self, found: Integers) -> Integers:
        """The smallest cache that finds each of these numbers of blocks, shape as given. [blocks]"""
        before = np.searchsorted(self.found, found) - 1
        more: Integers = self.room[before] - (self.found[before] - found) // self.slope[before]
        return more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Requests in the order in which they are served, with the blocks that others may have too.

    A request's first blocks have the numbers `contents[at : at + listed]`, the block j behind them has `own + j`.

    Attributes:
        at, listed, own: by request, shape `(requests,)` each.
        count: blocks without private ones that no other request can have, shape `(requests,)`.
        full: full blocks of a request's prompt and answer, without the last token, which is never computed, shape
            `(requests,)`.
        most: blocks of a prompt that may be found: all but the last token, shape `(requests,)`.
        numbers: one more than the largest number of a block.
    """

    block_tokens: int
    contents: Integers
    at: Integers
    listed: Integers
    own: Integers
    count: Integers
    full: Integers
    most: Integers
    numbers: int

    @classmethod
    def of(cls, turns: Turns, order: Integers, block_tokens: int) -> "Requests":
        """Turns as requests.

        Args:
            order: numbers of turns, as they are served, shape `(turns,)`.

        Raises:
            InputError: more blocks than memory is for.
        """
        inputs, outputs = turns.input_tokens[order], turns.output_tokens[order]
        full = (inputs + outputs - 1) // block_tokens
        listed = np.minimum(turns.listed[order], full)
        _, which, shared = np.unique(turns.private[order], return_inverse=True, return_counts=True)
        may_return = shared[which] > 1  # of a private stream of one turn nothing comes again
        longest = np.zeros(len(shared), dtype=np.int64)
        np.maximum.at(longest, which, np.where(may_return, full, 0))
        own_from = int(turns.contents.max(initial=-1)) + 1
        numbers = own_from + int(longest.sum())
        if numbers > _NUMBERS_MAX:
            raise InputError(
                f"sessions have {numbers} blocks that may come again, above {_NUMBERS_MAX}; keep fewer sessions"
            )
        count = np.where(may_return, full, listed)
        return cls(
            block_tokens=block_tokens,
            contents=turns.contents,
            at=turns.at[order],
            listed=listed,
            own=own_from + before(longest)[which],
            count=count,
            full=full,
            most=np.minimum((inputs - 1) // block_tokens, count),
            numbers=numbers,
        )

    def hits(self, replicas: int) -> Integers:
        """Blocks that each request finds in caches that forget nothing, if replicas serve them in turn.

        These are the blocks from the first on that an earlier request at the same replica had.
        """
        hits = np.zeros(len(self.at), dtype=np.int64)
        seen = np.zeros(self.numbers, dtype=bool)
        for replica in range(min(replicas, len(self.at))):
            seen[:] = False
            for request in range(replica, len(self.at), replicas):
                blocks = self._of(request)
                hits[request] = _leading(seen[blocks[: self.most[request]]])
                seen[blocks] = True
        return hits

    def depths(self) -> Depths:
        """Blocks of cache that each block which comes again needs to be found at one replica.

        The least recently used block is forgotten first. The blocks of a request are used at once, its last one least
        recently, as engines give them back; so a block is found if there is room for all that were used since.

        Each use is a moment. A block's former moment is spent when it is used again, so that its depth is the number
        of moments from its last use on, less those that are spent. Blocks that were used one after the other, and are
        again, form a run, all of whose depths follow from the first.

        Source:
            Mattson, Gecsei, Slutz & Traiger (1970), IBM Systems Journal 9(2), 78-117: stack distances.
        """
        is_small = int(self.full.sum()) < np.iinfo(np.int32).max
        last, now = np.full(self.numbers, -1, dtype=np.int32 if is_small else np.int64), 0
        runs: list[Integers] = []
        for request in range(len(self.at)):
            blocks = self._of(request)
            runs.append(_runs(last[blocks].astype(np.int64), int(self.most[request]), now))
            now += int(self.full[request])
            last[blocks] = now - 1 - np.arange(len(blocks))
        moment, length, found, asked = (
            np.concatenate(runs, axis=1) if runs else np.zeros((4, 0), dtype=np.int64)
        )
        depth = asked - moment - _above(moment, length)
        return Depths.of(depth[found > 0], found[found > 0])

    def _of(self, request: int) -> Integers:
        """Numbers of a request's blocks."""
        at, listed, own = int(self.at[request]), int(self.listed[request]), int(self.own[request])
        return np.concatenate(
            [self.contents[at : at + listed], np.arange(own + listed, own + int(self.count[request]))]
        )


def _runs(moments: Integers, most: int, now: int) -> Integers:
    """Runs among a request's blocks, the last one first, shape `(4, runs)`.

    Args:
        moments: last use of each block, -1 for none; falling, as those of a prefix are used whenever what follows is.
        most: blocks that may be found.
        now: moment of the request.

    Returns:
        For each run, the last use of its first block, its length, how many of its blocks are found, and `now`.
    """
    seen = moments[moments >= 0]
    if not len(seen):
        return np.zeros((4, 0), dtype=np.int64)
    begins = np.flatnonzero(np.diff(seen, prepend=-1) != -1)
    begins[0] = 0
    length = np.diff(begins, append=len(seen))
    found = np.clip(min(most, _leading(moments >= 0)) - begins, 0, length)
    return np.stack([seen[begins], length, found, np.full(len(begins), now)])[:, ::-1]


def _leading(known: npt.NDArray[np.bool_]) -> int:
    """How many are known from the first on."""
    return len(known) if known.all() else int(known.argmin())


def _above(values: Integers, weights: Integers) -> Integers:
    """Weights of those before each whose value is larger, all together; values differ.

    Places are halved again and again: what is in the left half of a part and larger counts for the right half.
    """
    count = len(values)
    sums, order = (
        np.zeros(count, dtype=np.int64),
        np.argsort(values),
    )  # places by their values, within each part
    for bit in reversed(range(count.bit_length())):
        is_right = (order >> bit & 1).astype(bool)
        begin = order >> (bit + 1) << (bit + 1)
        lefts = np.cumsum(np.where(is_right, 0, weights[order]))
        end = np.minimum(begin + (2 << bit), count) - 1
        sums[order[is_right]] += (lefts[end] - lefts)[is_right]
        numbers = np.cumsum(~is_right) - ~is_right
        rank = numbers - numbers[begin]
        place = np.where(is_right, begin + (1 << bit) + np.arange(count) - begin - rank, begin + rank)
        halved = np.empty_like(order)
        halved[place] = order
        order = halved
    return sums
