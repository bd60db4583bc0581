"""Blocks of the kernel of engines: what it asks of its caches, of either kind."""

from typing import Any

from simulations.compiled import callee, either, inlined
from simulations.kernel import own_blocks, shared_blocks
from simulations.kernel.engine_world import World


def _is_shared(world: Any) -> bool:
    """Whether the blocks of a world, by its type, have places and contents."""
    return bool(world.types[World._fields.index("blocks")].ndim == 2)


holds = shared_blocks.holds
use = either(own_blocks.use, shared_blocks.use, _is_shared)
use_soon = either(own_blocks.use_soon, shared_blocks.use_soon, _is_shared)
find = either(own_blocks.find, shared_blocks.find, _is_shared)
has_room = either(own_blocks.has_room, shared_blocks.has_room, _is_shared)
take_found = either(own_blocks.take_found, shared_blocks.take_found, _is_shared)
note_hits = either(own_blocks.note_hits, shared_blocks.note_hits, _is_shared)
unused = either(own_blocks.unused, shared_blocks.unused, _is_shared)
refresh = either(own_blocks.refresh, shared_blocks.refresh, _is_shared)
forget_after = either(own_blocks.forget_after, shared_blocks.forget_after, _is_shared)
label = either(own_blocks.label, shared_blocks.label, _is_shared)
label_prompts = either(own_blocks.label_prompts, shared_blocks.label_prompts, _is_shared)
release = either(own_blocks.release, shared_blocks.release, _is_shared)
release_done = either(own_blocks.release_done, shared_blocks.release_done, _is_shared)
release_in_order = either(own_blocks.release_in_order, shared_blocks.release_in_order, _is_shared)
give_up = either(own_blocks.give_up, shared_blocks.give_up, _is_shared)
come = either(own_blocks.come, shared_blocks.come, _is_shared)
hits_of = either(own_blocks.hits_of, shared_blocks.hits_of, _is_shared)
forget_all = either(own_blocks.forget_all, shared_blocks.forget_all, _is_shared)
empty = either(own_blocks.empty, shared_blocks.empty, _is_shared)


@inlined
def hold(world: World, block: int, r: int, request: int, tokens: int) -> None:
    """Hold enough blocks for this many tokens, which are free."""
    row = world.rows[request]
    missing = -(-tokens // block) - row.held
    if missing > 0:
        use_soon(world, r, missing)
        row.held += missing


@callee
def grow(world: World, block: int, r: int, request: int, tokens: int) -> bool:
    """Hold enough blocks for this many tokens; False, and nothing done, where too few are free."""
    rows, engines = world.rows, world.engines
    missing = -(-tokens // block) - rows[request].held
    if missing > engines[r].free:
        return False
    if missing > 0:
        use(world, r, missing)
        rows[request].held += missing
    return True
