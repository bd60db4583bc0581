"""Shared blocks: the cache of an engine in which requests find what others have left. Compiled, as `reference.blocks`.

Each block has a content once it is full, users, and a place in the ring of free ones. A block of an answer gets its
content when its request leaves, since no request can look for it before: only later turns of its session begin with
it. Of the blocks that a request begins with none goes before those behind it, since all of its own are freed last one
first; so what it finds is known by halving.
"""

import numpy as np

from simulations.compiled import callee, inlined
from simulations.kernel.engine_world import ALLOCATED, FREED, NO_BLOCK, PARTS, World
from simulations.kernel.state import NO_REQUEST, Structs

_SILENT = int(np.iinfo(np.int64).max)  # as many blocks have their contents as a request may ever have
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth 1998, sec. 6.4)


@inlined
def content_of(world: World, request: int, block: int) -> int:
    """What a block of a request holds once it is full, as in `Turns`."""
    turn = world.turns[request]
    content: int = world.contents[turn.at + block] if block < turn.listed else turn.private + block
    return content


@inlined
def _first_place(world: World, content: int) -> int:
    """Where the search for a content begins."""
    bits = world.places.shape[1] - 1
    place: int = int((np.uint64(content) * _SPREAD) >> np.uint64(32)) & bits
    return place


@callee
def place_of(world: World, r: int, content: int) -> int:
    """The place of a content in the table, or the empty one where it would be (Knuth 1998, sec. 6.4, algorithm L)."""
    places, blocks = world.places, world.blocks
    bits, place = places.shape[1] - 1, _first_place(world, content)
    while places[r, place] != NO_BLOCK and blocks[r, places[r, place]].content != content:
        place = (place + 1) & bits
    return place


@inlined
def holds(world: World, r: int, content: int) -> bool:
    """Whether any block of a replica has this content."""
    return bool(world.places[r, place_of(world, r, content)] != NO_BLOCK)


@callee
def _label(world: World, r: int, block: int, content: int) -> None:
    """A block has a content from now on; it is behind others that have the same."""
    places, blocks = world.places, world.blocks
    blocks[r, block].content, blocks[r, block].twin = content, NO_BLOCK
    place = place_of(world, r, content)
    if places[r, place] == NO_BLOCK:
        places[r, place] = block
        return
    last = places[r, place]
    while blocks[r, last].twin != NO_BLOCK:
        last = blocks[r, last].twin
    blocks[r, last].twin = block


@callee
def _forget(world: World, r: int, block: int) -> None:
    """What a block held is gone (Knuth 1998, sec. 6.4, algorithm R: later entries close up)."""
    places, blocks = world.places, world.blocks
    place, twin = place_of(world, r, blocks[r, block].content), blocks[r, block].twin
    blocks[r, block].content = blocks[r, block].twin = NO_BLOCK
    first = places[r, place]
    if first != block:
        while blocks[r, first].twin != block:
            first = blocks[r, first].twin
        blocks[r, first].twin = twin
        return
    places[r, place] = twin
    bits, hole = places.shape[1] - 1, place
    while places[r, hole] == NO_BLOCK:
        place = (place + 1) & bits
        if places[r, place] == NO_BLOCK:
            return
        home = _first_place(world, blocks[r, places[r, place]].content)
        if ((place - home) & bits) >= ((place - hole) & bits):
            places[r, hole], places[r, place] = places[r, place], NO_BLOCK
            hole = place


@inlined
def _unlink(world: World, r: int, block: int) -> None:
    """A free block leaves the ring of free ones."""
    blocks = world.blocks
    ahead, behind = blocks[r, block].ahead, blocks[r, block].behind
    blocks[r, ahead].behind, blocks[r, behind].ahead = behind, ahead


@callee
def _take_first(world: World, r: int) -> None:
    """The block that was free for longest loses its content, and is in use."""
    blocks = world.blocks
    end = blocks.shape[1] - 1
    block = blocks[r, end].behind
    _unlink(world, r, block)
    if blocks[r, block].content != NO_BLOCK:
        _forget(world, r, block)
    blocks[r, block].users = 1
    blocks[r, block].behind, blocks[r, end].twin = blocks[r, end].twin, block


@callee
def use(world: World, r: int, blocks: int) -> None:
    """Take free blocks, those that were free for longest."""
    world.engines[r].free -= blocks
    world.totals[ALLOCATED] += blocks
    for _ in range(blocks):
        _take_first(world, r)


@callee
def _put_last(world: World, r: int, block: int, last: int) -> None:
    """A block is free from now on, and used right after another one that is free, or after the end of the ring."""
    blocks = world.blocks
    following = blocks[r, last].behind
    blocks[r, block].ahead, blocks[r, block].behind = last, following
    blocks[r, last].behind = blocks[r, following].ahead = block


@inlined
def use_soon(world: World, r: int, blocks: int) -> None:
    """Take free blocks, as `use`."""
    use(world, r, blocks)


@callee
def _book(world: World, r: int, request: int) -> None:
    """All blocks that a request holds are in the book; whose block is which does not matter before they are full."""
    turn, blocks, book = world.turns[request], world.blocks, world.book
    end = blocks.shape[1] - 1
    for index in range(turn.booked, world.rows[request].held):
        block = blocks[r, end].twin
        book[r, turn.page, index], blocks[r, end].twin = block, blocks[r, block].behind
    turn.booked = max(turn.booked, world.rows[request].held)


@callee
def label(world: World, r: int, request: int, tokens: int) -> None:
    """The blocks that are full of the first tokens of a request have their contents."""
    turn = world.turns[request]
    full = tokens // world.rules.block_tokens
    if not world.rules.caching or full <= turn.labelled:
        return
    _book(world, r, request)
    for index in range(turn.labelled, full):
        _label(world, r, world.book[r, turn.page, index], content_of(world, request, index))
    turn.labelled = full


@callee
def _hits_of(world: World, r: int, request: int, most: int) -> int:
    """How many of the blocks that a request begins with are there, at most this many."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        is_there = world.places[r, place_of(world, r, content_of(world, request, middle))] != NO_BLOCK
        if is_there:
            low = middle + 1
        else:
            high = middle
    return low


@callee
def _look_up(world: World, r: int, request: int, hits: int) -> int:
    """Note which blocks a request finds, on the page that it would get; how many of them are free."""
    engine, book, free = world.engines[r], world.book, 0
    page = world.tags[r, engine.first].idle
    for index in range(hits):
        block = world.places[r, place_of(world, r, content_of(world, request, index))]
        book[r, page, index] = block
        free += world.blocks[r, block].users == 0
    return free


@inlined
def find(world: World, r: int, request: int, most: int) -> tuple[int, int]:
    """How many blocks a request finds that hold what it begins with, at most this many; it has no place of its own."""
    return NO_REQUEST, _hits_of(world, r, request, most)


@inlined
def has_room(world: World, r: int, request: int, hits: int, blocks: int) -> bool:
    """Whether a request can have this many blocks, of which those that it finds may be in use."""
    missing, free = blocks - hits, world.engines[r].free
    return bool(missing <= free) and bool(missing + _look_up(world, r, request, hits) <= free)


@callee
def refresh(world: World, r: int, request: int, most: int) -> None:
    """What a request begins with counts as used now, as far as it is there, at most this many blocks."""
    blocks, end = world.blocks, world.blocks.shape[1] - 1
    for index in range(_hits_of(world, r, request, most) - 1, -1, -1):
        block = world.places[r, place_of(world, r, content_of(world, request, index))]
        if blocks[r, block].users == 0:
            _unlink(world, r, block)
            _put_last(world, r, block, blocks[r, end].ahead)


@inlined
def unused(world: World, r: int, request: int, hits: int) -> int:
    """How many of the blocks that a request finds no other uses; it is known from now on which it finds."""
    free: int = _look_up(world, r, request, hits)
    return free


@callee
def take_found(world: World, r: int, request: int, own: int, hits: int) -> None:
    """A request uses the blocks that were looked up for it, and has a page in the book."""
    engine, blocks, turn = world.engines[r], world.blocks, world.turns[request]
    turn.page = world.tags[r, engine.first].idle
    engine.first += 1
    engine.settled += 1
    turn.place = engine.settled
    for index in range(hits):
        block = world.book[r, turn.page, index]
        if blocks[r, block].users == 0:
            _unlink(world, r, block)
            engine.free -= 1
        blocks[r, block].users += 1
    world.totals[ALLOCATED] += hits
    world.rows[request].held = turn.booked = turn.labelled = hits


@callee
def forget_after(world: World, r: int, request: int, tokens: int) -> None:
    """What a request's blocks hold is gone, but for those that are full of its first tokens."""
    turn, full = world.turns[request], tokens // world.rules.block_tokens
    if turn.labelled == _SILENT or turn.labelled <= full:
        return
    for index in range(full, turn.labelled):
        block = world.book[r, turn.page, index]
        if world.blocks[r, block].content != NO_BLOCK:
            _forget(world, r, block)
    turn.labelled = full


@callee
def release(world: World, r: int, request: int, full: int) -> None:
    """A request uses its blocks no more; those that are full keep their contents."""
    engine, blocks, turn = world.engines[r], world.blocks, world.turns[request]
    row, end = world.rows[request], world.blocks.shape[1] - 1
    _book(world, r, request)
    label(world, r, request, row.computed)
    world.totals[FREED] += row.held
    for index in range(row.held - 1, -1, -1):
        block = world.book[r, turn.page, index]
        blocks[r, block].users -= 1
        if blocks[r, block].users == 0:
            last = blocks[r, end].ahead
            if engine.unfilled_first and blocks[r, block].content == NO_BLOCK:
                last = end
            _put_last(world, r, block, last)
            engine.free += 1
    row.held = turn.booked = turn.labelled = 0
    engine.first -= 1
    world.tags[r, engine.first].idle = turn.page


@inlined
def release_done(world: World, r: int, request: int) -> None:
    """Do nothing yet: who is done at one instant is released in order."""


@callee
def release_in_order(world: World, r: int, before: int) -> None:
    """Requests that are done free their blocks in the order of their admission.

    Args:
        before: who was done before them.
    """
    rows, turns = world.rows, world.turns
    while True:
        first, request = NO_REQUEST, world.engines[r].gone
        while request != before:
            if rows[request].held > 0 and (first == NO_REQUEST or turns[request].place < turns[first].place):
                first = request
            request = rows[request].behind
        if first == NO_REQUEST:
            return
        release(world, r, first, 0)


@inlined
def note_hits(world: World, request: int, tokens: int) -> None:
    """A request has found this many tokens; what counts is what it finds when it is admitted first."""
    if world.turns[request].hits < 0:
        world.turns[request].hits = tokens


@callee
def label_prompts(world: World, r: int, buffer: int) -> None:
    """Blocks that the prompts of a pass fill have their contents."""
    for at in range(world.sizes[r, buffer, PARTS]):
        part = world.parts[r, buffer, at]
        label(world, r, part.request, part.before + part.tokens)


@inlined
def give_up(world: World, r: int, request: int) -> None:
    """Do nothing, as others may look for what a request leaves."""


@inlined
def come(world: World, request: int, given: Structs, turn: int) -> None:
    """A request is an attempt at a turn, whose contents are given by turn."""
    one, other = world.turns[request], given[turn]
    one.at, one.listed, one.private = other.at, other.listed, other.private
    one.labelled = one.booked = 0
    one.hits = -1


@inlined
def hits_of(world: World, request: int) -> int:
    """Tokens that a request found when it was first admitted."""
    hits: int = world.turns[request].hits
    return hits


@callee
def forget_all(world: World, r: int) -> None:
    """What all blocks held is gone; who uses some now leaves nothing either, as the beginning of it is gone."""
    blocks = world.blocks
    for block in range(blocks.shape[1] - 1):
        blocks[r, block].content = blocks[r, block].twin = NO_BLOCK
    world.places[r, :] = NO_BLOCK
    for at in range(world.engines[r].count):
        world.turns[world.running[r, at]].labelled = _SILENT


@callee
def empty(world: World, r: int) -> None:
    """All blocks are free, and hold nothing."""
    engine, blocks, end = world.engines[r], world.blocks, world.blocks.shape[1] - 1
    engine.free, engine.first = end, 0
    for block in range(end + 1):
        one = blocks[r, block]
        one.content = one.twin = NO_BLOCK
        one.users = 0
        one.ahead, one.behind = (block - 1 if block > 0 else end), (block + 1 if block < end else 0)
    world.places[r, :] = NO_BLOCK
    for page in range(world.tags.shape[1]):
        world.tags[r, page].idle = page
