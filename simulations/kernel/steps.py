"""Steps: how long a pass of an engine takes, compiled, as `StepTable.mean_s` and `pass_noise` say.

And what is drafted for it, as in `reference.vllm`; without a drafter these are constants.
"""

from typing import Any

import numpy as np

from simulations.compiled import callee, either, inlined
from simulations.draws.records import Floats
from simulations.draws.tokens import DRAFTS_FROM, MIX_ONE, MIX_TWO, PASS_STEP, REPLICA_STEP
from simulations.kernel.blocks import label
from simulations.kernel.engine_world import (
    DECODING,
    PARTS,
    PAST,
    PROMPT,
    READ,
    THROWN_OUT,
    WASTED,
    World,
    has_drafts,
)
from simulations.rising import first_above


@inlined
def nodes_around(axis: Floats, place: float) -> tuple[int, int]:
    """The nodes around a place; the outermost two where it lies beyond."""
    low = first_above(axis, place) - 1
    low = min(max(low, 0), max(0, len(axis) - 2))
    return low, min(low + 1, len(axis) - 1)


@inlined
def _place(axis: Floats, place: float) -> tuple[int, int, float]:
    """The nodes around a place, and how far it is on the way from the one to the other."""
    low, high = nodes_around(axis, place)
    span = axis[high] - axis[low]
    weight = 0.0
    if span != 0.0:
        weight = min(max((place - axis[low]) / span, 0.0), 1.0)
    return low, high, weight


@inlined
def decode_s(table: tuple[Floats, ...], requests: float, read: float) -> float:
    """A pass without prompts, as `StepTable.mean_s`. [s]"""
    low, high, weight = _place(table[2], requests)
    left, right, between = _place(table[3], read / max(1.0, requests))
    values = table[4]
    first = (1.0 - weight) * values[low, left] + weight * values[high, left]
    second = (1.0 - weight) * values[low, right] + weight * values[high, right]
    return float((1.0 - between) * first + between * second)


@inlined
def pass_s(table: tuple[Floats, ...], tokens: float, past: float, requests: float, read: float) -> float:
    """Any pass, as `StepTable.mean_s`. [s]"""
    if tokens == 0.0:
        return decode_s(table, requests, read)
    a, b, along = _place(table[0], tokens)
    c, d, back = _place(table[1], past)
    if requests == 0.0:
        values = table[5]
        first = (1.0 - along) * values[a, c] + along * values[b, c]
        second = (1.0 - along) * values[a, d] + along * values[b, d]
        return float((1.0 - back) * first + back * second)
    e, f, wide = _place(table[2], requests)
    g, h, deep = _place(table[3], read / max(1.0, requests))
    mixed = table[6]
    low_s = high_s = 0.0
    for last in range(2):
        m = h if last else g
        near_s = far_s = 0.0
        for third in range(2):
            k = f if third else e
            first = (1.0 - along) * mixed[a, c, k, m] + along * mixed[b, c, k, m]
            second = (1.0 - along) * mixed[a, d, k, m] + along * mixed[b, d, k, m]
            near_s, far_s = far_s, (1.0 - back) * first + back * second
        low_s, high_s = high_s, (1.0 - wide) * near_s + wide * far_s
    return float((1.0 - deep) * low_s + deep * high_s)


@inlined
def noise_of(noise: Floats, seed: int, replica: int, number: int) -> float:
    """The factor of `pass_noise`."""
    factor = 1.0
    if len(noise) > 0:
        word = np.uint64(seed) + np.uint64(replica) * np.uint64(REPLICA_STEP)
        word = word + np.uint64(number + 1) * np.uint64(PASS_STEP)
        place = _uniform(word) * (len(noise) - 1)
        low = int(place)
        factor = noise[low] + (place - low) * (noise[low + 1] - noise[low])
    return factor


@inlined
def _uniform(word: Any) -> float:
    """The hash of `simulations.draws.tokens`."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(MIX_ONE)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(MIX_TWO)
    return float((word ^ (word >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@inlined
def _zero(world: World) -> int:
    return 0


@inlined
def _slots(world: World) -> int:
    return int(world.drafts.draft_slots)


@inlined
def _starts_ahead(world: World) -> int:
    return int(world.drafts.starts_ahead)


@inlined
def _none_drafted(world: World, request: int, missing: int, most: int) -> int:
    return 0


@inlined
def _drafted(world: World, request: int, missing: int, most: int) -> int:
    is_next = missing == 1 and world.drafts.rows[request].drafted >= 0
    return min(len(world.drafts.acceptance), most - 1) if is_next else 0


@inlined
def _nothing_ahead(world: World, request: int, drafts: int) -> int:
    return 0


@inlined
def _ahead(world: World, request: int, drafts: int) -> int:
    return int(drafts + max(0, world.drafts.rows[request].drafted) + world.drafts.lookahead)


@inlined
def _note_nothing(world: World, r: int, buffer: int, at: int, request: int, drafts: int, brings: int) -> None:
    """Do nothing, as nothing is drafted."""


@inlined
def _note(world: World, r: int, buffer: int, at: int, request: int, drafts: int, brings: int) -> None:
    world.drafts.parts[r, buffer, at] = drafts
    world.drafts.rows[request].drafted = drafts if brings else -1


@inlined
def _forget_nothing(world: World, request: int) -> None:
    """Do nothing, as nothing is drafted."""


@inlined
def _forget(world: World, request: int) -> None:
    world.drafts.rows[request].drafted = -1


@inlined
def _is_never_over(world: World, r: int, buffer: int, at: int) -> bool:
    return False


@inlined
def _is_over(world: World, r: int, buffer: int, at: int) -> bool:
    part = world.parts[r, buffer, at]
    row = world.rows[part.request]
    if row.generated < row.output:
        return False
    part.brings = 0
    world.totals[WASTED] += part.tokens + world.drafts.parts[r, buffer, at]
    return True


@inlined
def _none_accepted(world: World, r: int, buffer: int, at: int) -> int:
    return 0


@callee
def _accepted(world: World, r: int, buffer: int, at: int) -> int:
    request, drafts = world.parts[r, buffer, at].request, world.drafts.parts[r, buffer, at]
    row, known = world.rows[request], world.drafts.rows[request]
    known.events += 1
    accepted, most = 0, min(drafts, row.output - row.generated - 1)
    if most > 0:
        word = np.uint64(world.noise_seed) + np.uint64(DRAFTS_FROM)
        word = word + np.uint64(known.draws) * np.uint64(REPLICA_STEP)
        uniform = _uniform(word + np.uint64(row.generated) * np.uint64(PASS_STEP))
        while accepted < most and uniform < world.drafts.acceptance[accepted]:
            accepted += 1
    world.totals[WASTED] += drafts - accepted
    due = row.due - 1  # of the next pass, if that holds another part of it
    if row.computed == 0:  # thrown out meanwhile
        world.totals[THROWN_OUT] += accepted
        return int(accepted)
    row.computed += accepted
    if row.generated + 1 + accepted == row.output:
        row.computed -= due
        row.due -= due
    label(world, r, request, row.computed)
    if due == 0:
        known.drafted = min(known.drafted, 0)
    return int(accepted)


@inlined
def _sized(world: World, r: int, buffer: int) -> tuple[int, int, int, int]:
    """Tokens of prompts in a pass, the sum of what is before them, tokens read, and tokens that are computed."""
    size = world.sizes[r, buffer]
    return size[PROMPT], size[PAST], size[READ], size[PROMPT] + size[DECODING]


@callee
def _sized_with_drafts(world: World, r: int, buffer: int) -> tuple[int, int, int, int]:
    size = world.sizes[r, buffer]
    prompt, past, read = size[PROMPT], size[PAST], size[READ]
    computed = prompt + size[DECODING]
    for at in range(size[PARTS]):
        part, drafts = world.parts[r, buffer, at], world.drafts.parts[r, buffer, at]
        row = world.rows[part.request]
        if part.tokens != 1 or part.before < row.input:
            continue
        before = row.computed - 1 if part.brings else part.before
        read += before - part.before  # accepted since the pass was composed
        computed += drafts
        if world.drafts.drafts_timed:
            prompt += drafts
            past += drafts * before
    return prompt, past, read, computed


@inlined
def _nothing_since(world: World, r: int, buffer: int, at: int) -> None:
    """Do nothing, as nothing is accepted."""


@inlined
def _accepted_since(world: World, r: int, buffer: int, at: int) -> None:
    part = world.parts[r, buffer, at]
    row = world.rows[part.request]
    if part.brings and part.tokens == 1 and part.before >= row.input:
        world.sizes[r, buffer, READ] += row.computed - 1 - part.before
        part.before = row.computed - 1


@inlined
def _draft_for_none(world: World, request: int, draws: int) -> None:
    """Do nothing, as nothing is drafted."""


@inlined
def _draft_for(world: World, request: int, draws: int) -> None:
    one = world.drafts.rows[request]
    one.drafted, one.events, one.draws = -1, 0, draws


@inlined
def _no_events(world: World, request: int) -> int:
    return 0


@inlined
def _events(world: World, request: int) -> int:
    return int(world.drafts.rows[request].events)


# Tokens of a pass that each request takes for the drafter, and of the cache in the pass with which it starts.
slots_of = either(_zero, _slots, has_drafts)
starts_ahead_of = either(_zero, _starts_ahead, has_drafts)
# Tokens drafted after the next one of a request that misses this many, in a pass with this much room.
drafts_of = either(_none_drafted, _drafted, has_drafts)
# Tokens of the cache that a request takes beyond those that the model computes for sure.
ahead_of = either(_nothing_ahead, _ahead, has_drafts)
note_drafts = either(_note_nothing, _note, has_drafts)
forget_drafts = either(_forget_nothing, _forget, has_drafts)
# Whether a request has had its last token meanwhile, and how many drafts of it are accepted.
is_answered = either(_is_never_over, _is_over, has_drafts)
accepted_of = either(_none_accepted, _accepted, has_drafts)
sized = either(_sized, _sized_with_drafts, has_drafts)
# A part of a request that leaves before its pass begins reads what was accepted since that was composed.
read_accepted = either(_nothing_since, _accepted_since, has_drafts)
# A place is that of a request whose drafts are accepted by another number.
draft_for = either(_draft_for_none, _draft_for, has_drafts)
events_of = either(_no_events, _events, has_drafts)
