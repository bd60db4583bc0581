"""Blocks of a KV cache: which are free, which still hold tokens of a request that has gone, and their order."""

from collections import OrderedDict
from collections.abc import Sequence


class BlockPool:
    """Blocks by number, the free ones in the order in which they will be used: longest free first.

    A freed block keeps its tokens until it is used again. The blocks of one request are freed last one first,
    so that the beginning of what it had computed goes last.
    """

    def __init__(self, blocks: int, block_tokens: int, *, keeps: bool) -> None:
        self.block_tokens = block_tokens
        self._free: OrderedDict[int, tuple[int, int] | None] = OrderedDict.fromkeys(range(blocks))
        self._place: dict[tuple[int, int], int] = {}  # of a free block that holds a part of a request
        self._held: dict[int, list[int]] = {}
        self._keeps = keeps
        self.allocated = self.freed = 0

    @property
    def free(self) -> int:
        """Blocks that can be used."""
        return len(self._free)

    def held(self, request: int) -> int:
        """Blocks of a request."""
        return len(self._held.get(request, ()))

    def blocks_for(self, tokens: int) -> int:
        """Blocks that this many tokens take."""
        return -(-tokens // self.block_tokens)

    def hits(self, request: int, blocks_max: int) -> int:
        """Blocks from the beginning of a request that are still there."""
        found = 0
        while found < blocks_max and (request, found) in self._place:
            found += 1
        return found

    def revive(self, request: int, hits: int) -> None:
        """Give a request its own first blocks back."""
        for index in range(hits):
            block = self._place.pop((request, index))
            del self._free[block]
            self._held.setdefault(request, []).append(block)
        self.allocated += hits

    def grow(self, request: int, tokens: int) -> bool:
        """Hold enough blocks for this many tokens; False, and nothing done, where too few are free."""
        held = self._held.setdefault(request, [])
        missing = self.blocks_for(tokens) - len(held)
        if missing > len(self._free):
            return False
        for _ in range(missing):
            block = next(iter(self._free))
            tag = self._free.pop(block)
            if tag is not None:
                del self._place[tag]
            held.append(block)
        self.allocated += max(0, missing)
        return True

    def release(self, request: int, computed: int) -> None:
        """Free all blocks of a request; those that are full of its tokens can be found again."""
        full = computed // self.block_tokens if self._keeps else 0
        held: Sequence[int] = self._held.pop(request, ())
        for index in reversed(range(len(held))):
            tag = (request, index) if index < full else None
            self._free[held[index]] = tag
            if tag is not None:
                self._place[tag] = held[index]
        self.freed += len(held)
