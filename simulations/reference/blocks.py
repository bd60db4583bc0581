"""Blocks of a KV cache: which are free, what they hold, and the order in which free ones are used."""

from collections import OrderedDict
from collections.abc import Sequence

from simulations.draws.tokens import EngineRules
from simulations.reference.request import Request


class BlockPool:
    """Blocks by number, the free ones in the order in which they will be used: longest free first.

    A block that is full has a content, and keeps it until the block is used for something else, so that others may
    find it meanwhile. Several blocks may have one content, of which the first to have it is found. Blocks of one
    request are freed last one first, so that the beginning of what it had goes last.

    Args:
        keeps: whether blocks that are full have contents.
        unfilled_first: whether blocks without a content are used next when they are freed.

    Source:
        vLLM 0.19.0, vllm/v1/core/block_pool.py and kv_cache_manager.py; `unfilled_first` is the rule of 0.33.0.
    """

    def __init__(self, blocks: int, block_tokens: int, *, keeps: bool, unfilled_first: bool = False) -> None:
        self.block_tokens = block_tokens
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._content: list[int | None] = [None] * blocks
        self._users = [0] * blocks
        self._holders: dict[int, list[int]] = {}
        self._held: dict[int, list[int]] = {}  # by number of the request
        self._silent: set[int] = set()  # requests that leave nothing to others
        self._keeps, self._unfilled_first = keeps, unfilled_first
        self.allocated = self.freed = 0

    @classmethod
    def of(cls, rules: EngineRules) -> "BlockPool":
        """The cache of an engine with these rules, empty."""
        return cls(rules.blocks, rules.block_tokens, keeps=rules.caching, unfilled_first=rules.unfilled_first)

    @property
    def free(self) -> int:
        """Blocks that no request uses, whether they hold anything or not."""
        return len(self._free)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that this many tokens take."""
        return -(-tokens // self.block_tokens)

    def holds(self, content: int) -> bool:
        """Whether any block has this content."""
        return content in self._holders

    def found(self, request: Request, most: int) -> list[int]:
        """Blocks with what a request begins with, as far as they are there, at most this many."""
        blocks: list[int] = []
        while len(blocks) < most and (holders := self._holders.get(request.content(len(blocks)))):
            blocks.append(holders[0])
        return blocks

    def unused(self, blocks: Sequence[int]) -> int:
        """How many of some blocks are free."""
        return sum(not self._users[block] for block in blocks)

    def refresh(self, request: Request, most: int) -> None:
        """What a request begins with counts as used now, as far as it is there, at most this many blocks."""
        for block in reversed(self.found(request, most)):
            if not self._users[block]:
                self._free.move_to_end(block)

    def share(self, request: Request, blocks: Sequence[int]) -> None:
        """Let a request use blocks that it has found."""
        for block in blocks:
            if not self._users[block]:
                del self._free[block]
            self._users[block] += 1
        self._held.setdefault(request.number, []).extend(blocks)
        self.allocated += len(blocks)

    def grow(self, request: Request, tokens: int) -> bool:
        """Hold enough blocks for this many tokens; False, and nothing done, where too few are free."""
        held = self._held.setdefault(request.number, [])
        missing = self.blocks_for(tokens) - len(held)
        if missing > len(self._free):
            return False
        for _ in range(missing):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._users[block] = 1
            held.append(block)
        self.allocated += max(0, missing)
        return True

    def missing(self, request: Request, tokens: int) -> int:
        """Blocks that a request lacks for this many tokens."""
        return max(0, self.blocks_for(tokens) - len(self._held.get(request.number, ())))

    def label(self, request: Request, before: int, after: int) -> None:
        """Blocks that become full as a request goes from the one number of tokens to the other have contents now."""
        if not self._keeps or request.number in self._silent:
            return
        held = self._held[request.number]
        for index in range(before // self.block_tokens, after // self.block_tokens):
            content = request.content(index)
            self._content[held[index]] = content
            self._holders.setdefault(content, []).append(held[index])

    def release(self, request: Request) -> None:
        """A request uses its blocks no more."""
        held = self._held.pop(request.number, [])
        self._silent.discard(request.number)
        for block in reversed(held):
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None
                if self._unfilled_first and self._content[block] is None:
                    self._free.move_to_end(block, last=False)
        self.freed += len(held)

    def forget_after(self, request: Request, tokens: int) -> None:
        """What a request's blocks hold is gone, but for those that are full of its first tokens."""
        for block in self._held.get(request.number, ())[tokens // self.block_tokens :]:
            self._forget(block)

    def forget_all(self) -> None:
        """What all blocks held is gone; who uses some now leaves nothing either, as the beginning of it is gone."""
        self._content = [None] * len(self._content)
        self._holders.clear()
        self._silent = set(self._held)

    def _forget(self, block: int) -> None:
        """What a block held is gone."""
        content, self._content[block] = self._content[block], None
        if content is not None:
            self._holders[content].remove(block)
            if not self._holders[content]:
                del self._holders[content]
