"""Index: what a router believes of the contents of the replicas' caches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from capacity.server.engine.router import EXACT
from simulations.compiled import callee, inlined
from simulations.routing.conversations.beliefs import BITS, NOWHERE, UNIT_TOKENS, Beliefs, content_of, key_of
from simulations.routing.conversations.seen import Asked, Engine, Fleet
from simulations.routing.conversations.tables import NO_KEY, place_of, take_out


class Index(Protocol):
    """Which part of a prompt each replica is believed to hold.

    Attributes:
        unit_tokens: the step in which prompts are compared; a prompt's last partial one has no content.
    """

    unit_tokens: int

    def matches(self, engines: Sequence[Engine], request: Asked) -> list[int]:
        """How many units of a request's prompt each replica holds."""

    def sent(self, replica: int, request: Asked) -> None:
        """A request is sent to a replica, which will hold its prompt."""

    def left(self, replica: int) -> None:
        """A replica is gone, with what it held."""


def prompt_held(request: Asked, blocks: int, holds: Callable[[int], bool]) -> int:
    """How many of the first blocks of a prompt are held, where who holds a content holds all before it.

    By bisection, so that the compiled form looks at the same blocks whatever is held.
    """
    low, high = 0, blocks
    while low < high:
        middle = (low + high + 1) // 2
        if holds(request.content(middle - 1)):
            low = middle
        else:
            high = middle - 1
    return low


class Exact:
    """What the caches hold now, block by block."""

    def __init__(self, fleet: Fleet) -> None:
        self.unit_tokens = fleet.block_tokens

    def matches(self, engines: Sequence[Engine], request: Asked) -> list[int]:
        """Blocks of a prompt in each cache."""
        blocks = request.input // self.unit_tokens
        return [prompt_held(request, blocks, engine.holds) for engine in engines]

    def sent(self, replica: int, request: Asked) -> None:
        """Note nothing: the cache itself is asked."""

    def left(self, replica: int) -> None:
        """Note nothing: the cache itself is asked."""


class Recent:
    """Contents that were sent to each replica last.

    A content stands for 64 tokens and all before them. They enter in the order of the prompt, so that the oldest of a
    conversation are those of its beginning, and these are thrown out first. A replica that has lost them still counts
    with those behind, as long as any replica has all before: llm-d goes through the prompt until no replica has a
    content, and counts those that each one has.

    Source:
        llm-d-router, pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix/{plugin,indexer}.go
        (`matchLongestPrefix`, `Add`, `GetBlockSize`). A last part of less than 64 tokens has no content here.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._blocks = max(1, UNIT_TOKENS // fleet.block_tokens)
        self.unit_tokens = self._blocks * fleet.block_tokens
        self._capacity = fleet.blocks if isinstance(fleet.rules.index, str) else fleet.rules.index
        self._contents: list[dict[int, None]] = [{} for _ in range(fleet.replicas)]

    def matches(self, engines: Sequence[Engine], request: Asked) -> list[int]:
        """Contents of a prompt that each replica was sent."""
        found = [0] * len(engines)
        for unit in range(request.input // self.unit_tokens):
            content = request.content(self._last_block(unit))
            held = [content in self._contents[engine.index] for engine in engines]
            if not any(held):
                break
            found = [count + has for count, has in zip(found, held, strict=True)]
        return found

    def sent(self, replica: int, request: Asked) -> None:
        """Note a prompt, from its beginning on; the oldest contents make room."""
        contents = self._contents[replica]
        for unit in range(request.input // self.unit_tokens):
            content = request.content(self._last_block(unit))
            contents.pop(content, None)
            contents[content] = None
            if len(contents) > self._capacity:
                del contents[next(iter(contents))]

    def left(self, replica: int) -> None:
        """Forget a replica."""
        self._contents[replica].clear()

    def _last_block(self, unit: int) -> int:
        return (unit + 1) * self._blocks - 1


class Everything:
    """All prompts that were ever sent to each replica, block by block."""

    def __init__(self, fleet: Fleet) -> None:
        self.unit_tokens = fleet.block_tokens
        self._contents: list[set[int]] = [set() for _ in range(fleet.replicas)]

    def matches(self, engines: Sequence[Engine], request: Asked) -> list[int]:
        """Blocks of a prompt that each replica was sent, from the beginning."""
        blocks = request.input // self.unit_tokens
        return [prompt_held(request, blocks, self._contents[one.index].__contains__) for one in engines]

    def sent(self, replica: int, request: Asked) -> None:
        """Note a prompt."""
        self._contents[replica].update(map(request.content, range(request.input // self.unit_tokens)))

    def left(self, replica: int) -> None:
        """Remember even so."""


def index_of(fleet: Fleet) -> Index:
    """The index of llm-d's routers, by their rules."""
    return Exact(fleet) if fleet.rules.index == EXACT else Recent(fleet)


@inlined
def _content_of_unit(beliefs: Beliefs, request: int, unit: int) -> int:
    """The content that stands for a unit of a prompt: that of its last block."""
    return int(content_of(beliefs, request, (unit + 1) * beliefs.unit_blocks - 1))


@callee
def _recent_matches(beliefs: Beliefs, request: int, units: int) -> None:
    """`Recent.matches`."""
    replicas, keys, values = beliefs.replicas, beliefs.keys, beliefs.values
    count = len(replicas)
    words = -(-count // BITS)
    for unit in range(units):
        content = _content_of_unit(beliefs, request, unit)
        held = False
        for word in range(words):
            at = place_of(keys, key_of(beliefs, content, count + word))
            if keys[at] == NO_KEY:
                continue
            bits, r = values[at], word * BITS
            while bits:
                if bits & 1 and replicas[r].here:
                    replicas[r].match += 1
                    held = True
                bits, r = bits >> 1, r + 1
        if not held:
            break


@inlined
def _unlink(beliefs: Beliefs, r: int, first: int, last: int) -> None:
    """Take some contents in a row out of the line of a replica's index."""
    replica, links = beliefs.replicas[r], beliefs.links
    older, newer = links[r, first].older, links[r, last].newer
    if older == NOWHERE:
        replica.oldest = newer
    else:
        links[r, older].newer = newer
    if newer == NOWHERE:
        replica.newest = older
    else:
        links[r, newer].older = older


@inlined
def _link(beliefs: Beliefs, r: int, first: int, last: int) -> None:
    """Put some contents in a row at the end of the line of a replica's index."""
    replica, links = beliefs.replicas[r], beliefs.links
    links[r, first].older, links[r, last].newer = replica.newest, NOWHERE
    if replica.newest == NOWHERE:
        replica.oldest = first
    else:
        links[r, replica.newest].newer = first
    replica.newest = last


@inlined
def _take_from_index(beliefs: Beliefs, r: int, slot: int) -> None:
    """Take a content out of the table, for one replica."""
    keys, values, count = beliefs.keys, beliefs.values, len(beliefs.replicas)
    content = beliefs.links[r, slot].content
    take_out(keys, values, place_of(keys, key_of(beliefs, content, r)))
    at = place_of(keys, key_of(beliefs, content, count + r // BITS))
    values[at] &= ~(1 << (r % BITS))
    if values[at] == 0:
        take_out(keys, values, at)


@inlined
def _slot_for(beliefs: Beliefs, r: int) -> int:
    """A free slot in the index of a replica; the oldest content makes room."""
    replica = beliefs.replicas[r]
    slot = replica.size
    if slot < beliefs.links.shape[1]:
        replica.size += 1
    else:
        slot = replica.oldest
        _take_from_index(beliefs, r, slot)
        _unlink(beliefs, r, slot, slot)
    return int(slot)


@inlined
def _enter(beliefs: Beliefs, r: int, content: int) -> None:
    """A content that the index of a replica does not have becomes its newest."""
    keys, values, slot = beliefs.keys, beliefs.values, _slot_for(beliefs, r)
    key, word = key_of(beliefs, content, r), key_of(beliefs, content, len(beliefs.replicas) + r // BITS)
    at = place_of(keys, key)
    keys[at], values[at] = key, slot
    at = place_of(keys, word)
    if keys[at] == NO_KEY:
        keys[at], values[at] = word, 0
    values[at] |= 1 << (r % BITS)
    beliefs.links[r, slot].content = content
    _link(beliefs, r, slot, slot)


@callee
def _sent_recent(beliefs: Beliefs, r: int, request: int, units: int) -> None:
    """`Recent.sent`. Contents that follow each other in the line already, as of turns before, move together."""
    links, keys, unit = beliefs.links, beliefs.keys, 0
    while unit < units:
        content = _content_of_unit(beliefs, request, unit)
        at = place_of(keys, key_of(beliefs, content, r))
        unit += 1
        if keys[at] == NO_KEY:
            _enter(beliefs, r, content)
            continue
        first = last = beliefs.values[at]
        while unit < units:
            behind = links[r, last].newer
            if behind == NOWHERE or links[r, behind].content != _content_of_unit(beliefs, request, unit):
                break
            last = behind
            unit += 1
        _unlink(beliefs, r, first, last)
        _link(beliefs, r, first, last)


@inlined
def _was_sent(beliefs: Beliefs, r: int, request: int, block: int) -> bool:
    """Whether `Everything` has a block of a prompt."""
    if block < beliefs.listed[request]:
        return bool(beliefs.known[beliefs.number[beliefs.at[request] + block], r])
    return bool(block < beliefs.reach[beliefs.family[request], r])


@inlined
def _sent_ever(beliefs: Beliefs, r: int, request: int, blocks: int) -> None:
    """`Everything.sent`."""
    listed, at, family = beliefs.listed[request], beliefs.at[request], beliefs.family[request]
    for block in range(min(listed, blocks)):
        beliefs.known[beliefs.number[at + block], r] = 1
    if blocks > listed:
        beliefs.reach[family, r] = max(beliefs.reach[family, r], blocks)


@inlined
def units_of(beliefs: Beliefs, request: int) -> int:
    """Units of a prompt that have contents."""
    return int(beliefs.input[request] // (beliefs.unit_blocks * beliefs.block_tokens))


@inlined
def find_matches(beliefs: Beliefs, request: int, cache: Any, holds: Any) -> None:
    """How many units of a prompt each replica has, as `Index.matches`.

    Args:
        cache: what the caches hold, for `holds(cache, replica, content)`.
    """
    replicas, units = beliefs.replicas, units_of(beliefs, request)
    for r in range(len(replicas)):
        replicas[r].match = 0
    if beliefs.links.shape[1] > 0:
        _recent_matches(beliefs, request, units)
        return
    for r in range(len(replicas)):
        low, high = 0, units if replicas[r].here else 0
        while low < high:
            middle = (low + high + 1) // 2
            if beliefs.asks_caches:
                is_held = holds(cache, r, content_of(beliefs, request, middle - 1))
            else:
                is_held = _was_sent(beliefs, r, request, middle - 1)
            if is_held:
                low = middle
            else:
                high = middle - 1
        replicas[r].match = low


@inlined
def note_sent(beliefs: Beliefs, r: int, request: int) -> None:
    """`Index.sent`."""
    if beliefs.links.shape[1] > 0:
        _sent_recent(beliefs, r, request, units_of(beliefs, request))
    elif not beliefs.asks_caches:
        _sent_ever(beliefs, r, request, units_of(beliefs, request))


@inlined
def forget_index(beliefs: Beliefs, r: int) -> None:
    """`Index.left`."""
    replica = beliefs.replicas[r]
    if beliefs.links.shape[1] > 0:
        for slot in range(replica.size):
            _take_from_index(beliefs, r, slot)
        replica.size, replica.oldest, replica.newest = 0, NOWHERE, NOWHERE
