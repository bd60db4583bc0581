"""Own blocks: the cache of an engine in which each request finds at most its own, after it was thrown out. Compiled.

Blocks are counted: those without an owner, and stretches of those that still have one.
"""

from simulations.compiled import callee, inlined
from simulations.kernel.engine_world import ALLOCATED, FREED, World
from simulations.kernel.state import NO_REQUEST, Structs


@callee
def use(world: World, r: int, blocks: int) -> None:
    """Take free blocks, in the order in which they are used; some may still hold tokens of who has gone."""
    engines, tags, totals = world.engines, world.tags, world.totals
    engines[r].free -= blocks
    totals[ALLOCATED] += blocks
    while blocks > 0 and engines[r].tags > 0:
        took = min(blocks, tags[r, 0].ahead)
        tags[r, 0].ahead -= took
        blocks -= took
        took = min(blocks, tags[r, 0].kept)
        tags[r, 0].kept -= took
        blocks -= took
        if tags[r, 0].kept > 0:
            return
        _drop_tag(world, r, 0)
    engines[r].loose -= blocks


@inlined
def use_soon(world: World, r: int, blocks: int) -> None:
    """`use`, without the cost of a call where no request that has gone holds any."""
    engine = world.engines[r]
    if engine.tags > 0:
        use(world, r, blocks)
    else:
        engine.free -= blocks
        engine.loose -= blocks
        world.totals[ALLOCATED] += blocks


@callee
def _drop_tag(world: World, r: int, place: int) -> None:
    """Forget whose some blocks are; they and those before them are used before what comes next."""
    engines, tags = world.engines, world.tags
    blocks = tags[r, place].ahead + tags[r, place].kept
    last = engines[r].tags - 1
    for at in range(place, last):
        tags[r, at].owner = tags[r, at + 1].owner
        tags[r, at].ahead = tags[r, at + 1].ahead
        tags[r, at].kept = tags[r, at + 1].kept
    engines[r].tags = last
    if place < last:
        tags[r, place].ahead += blocks
    else:
        engines[r].loose += blocks


@callee
def _found(world: World, r: int, request: int) -> int:
    """Where the blocks are that a request that was thrown out finds again."""
    engines, tags = world.engines, world.tags
    for at in range(engines[r].tags):
        if tags[r, at].owner == request:
            return at
    return NO_REQUEST


@inlined
def find(world: World, r: int, request: int, most: int) -> tuple[int, int]:
    """How many blocks of its own a request finds, at most this many, and where they are."""
    own = _found(world, r, request) if world.rows[request].preemptions > 0 else NO_REQUEST
    return own, 0 if own == NO_REQUEST else min(world.tags[r, own].kept, most)


@inlined
def has_room(world: World, r: int, request: int, hits: int, blocks: int) -> bool:
    """Whether a request can have this many blocks, all of which are free."""
    return bool(blocks <= world.engines[r].free)


@inlined
def unused(world: World, r: int, request: int, hits: int) -> int:
    """How many of the blocks that a request finds no other uses, which are all."""
    return hits


@inlined
def refresh(world: World, r: int, request: int, most: int) -> None:
    """Do nothing, as others look for nothing."""


@inlined
def forget_after(world: World, r: int, request: int, tokens: int) -> None:
    """Do nothing, as `release` says what can be found again."""


@inlined
def take_found(world: World, r: int, request: int, own: int, hits: int) -> None:
    """A request holds the blocks that it has found."""
    if hits > 0:
        world.tags[r, own].kept -= hits
        _drop_tag(world, r, own)
        world.engines[r].free -= hits
        world.totals[ALLOCATED] += hits
        world.rows[request].held = hits


@inlined
def release(world: World, r: int, request: int, full: int) -> None:
    """Free all blocks of a request, `full` of which can be found again."""
    rows, engines, tags, totals = world.rows, world.engines, world.tags, world.totals
    held = rows[request].held
    totals[FREED] += held
    engines[r].free += held
    if engines[r].unfilled_first:
        held = _labelled(world, request)
        _put_first(world, r, rows[request].held - held)
    if full > 0:
        at = engines[r].tags
        tags[r, at].owner, tags[r, at].kept = request, full
        tags[r, at].ahead = engines[r].loose + held - full
        engines[r].loose = 0
        engines[r].tags = at + 1
    else:
        engines[r].loose += held
    rows[request].held = 0


@inlined
def _labelled(world: World, request: int) -> int:
    """How many blocks of a request are full, and so hold what could be found."""
    rules = world.rules
    return world.rows[request].computed // rules.block_tokens if rules.caching else 0


@inlined
def _put_first(world: World, r: int, blocks: int) -> None:
    """Free blocks are used before all others."""
    if world.engines[r].tags > 0:
        world.tags[r, 0].ahead += blocks
    else:
        world.engines[r].loose += blocks


@inlined
def release_done(world: World, r: int, request: int) -> None:
    """Free all blocks of a request that needs them no more."""
    release(world, r, request, 0)


@inlined
def release_in_order(world: World, r: int, before: int) -> None:
    """Do nothing, as it does not matter which block was freed first."""


@inlined
def note_hits(world: World, request: int, tokens: int) -> None:
    """Do nothing, as a request finds what it is assumed to find."""


@inlined
def label(world: World, r: int, request: int, tokens: int) -> None:
    """Do nothing, as others look for nothing."""


@inlined
def label_prompts(world: World, r: int, buffer: int) -> None:
    """Do nothing, as others look for nothing."""


@inlined
def give_up(world: World, r: int, request: int) -> None:
    """A request that was thrown out will not look for its blocks."""
    own = _found(world, r, request) if world.rows[request].preemptions > 0 else NO_REQUEST
    if own != NO_REQUEST:
        _drop_tag(world, r, own)


@inlined
def come(world: World, request: int, given: Structs, turn: int) -> None:
    """Do nothing, as nothing needs to be known of what blocks hold."""


@inlined
def hits_of(world: World, request: int) -> int:
    """Return 0, as what a request finds is known beforehand."""
    return 0


@inlined
def forget_all(world: World, r: int) -> None:
    """Do nothing, as others look for nothing."""


@inlined
def empty(world: World, r: int) -> None:
    """All blocks are free, and hold nothing."""
    engine = world.engines[r]
    engine.tags = 0
    engine.free = engine.loose = world.rules.blocks
