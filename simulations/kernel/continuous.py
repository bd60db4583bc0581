"""Kernel of engines that batch continuously: what `reference/engine.py` does, compiled.

While all running requests decode and no other can join, passes differ only in how many tokens they read: such a
run of passes is gone through without looking at the requests, until one of them is done, a request arrives that
may join, or blocks run short.
"""

import numpy as np

from simulations.compiled import borrowing, callee, inlined
from simulations.draws.cells import cell_of
from simulations.draws.reserves import (
    AFTER_RETRACTION,
    ANSWER_MAX,
    RATIO_FIRST,
    RATIO_LEAST,
    RATIO_STEP,
    REFRESH_LOOKS,
    REFRESH_REQUESTS,
)
from simulations.kernel.blocks import (
    find,
    forget_after,
    grow,
    has_room,
    hold,
    label,
    label_prompts,
    note_hits,
    refresh,
    release,
    release_done,
    release_in_order,
    take_found,
    unused,
    use,
    use_soon,
)
from simulations.kernel.engine_world import (
    CACHED,
    COMPUTED,
    DECODING,
    LLAMA_CPP,
    PARTS,
    PAST,
    PROMPT,
    READ,
    SGLANG,
    STEPS,
    THROWN_OUT,
    VLLM_V1,
    WHEEL,
    World,
)
from simulations.kernel.state import NO_REQUEST, Struct
from simulations.kernel.steps import (
    accepted_of,
    ahead_of,
    drafts_of,
    forget_drafts,
    is_answered,
    nodes_around,
    noise_of,
    note_drafts,
    pass_s,
    sized,
    slots_of,
    starts_ahead_of,
)

_ENDLESS = int(np.iinfo(np.int64).max)


@inlined
def _add_part(world: World, r: int, buffer: int, request: int, tokens: int) -> None:
    rows, parts, sizes = world.rows, world.parts, world.sizes
    at, before = sizes[r, buffer, PARTS], rows[request].computed
    brings = before + tokens == rows[request].input + rows[request].generated + rows[request].due
    parts[r, buffer, at].request = request
    parts[r, buffer, at].tokens = tokens
    parts[r, buffer, at].before = before
    parts[r, buffer, at].brings = brings
    sizes[r, buffer, PARTS] = at + 1
    if tokens == 1 and before >= rows[request].input:
        sizes[r, buffer, DECODING] += 1
        sizes[r, buffer, READ] += before + 1
    else:
        sizes[r, buffer, PROMPT] += tokens
        sizes[r, buffer, PAST] += tokens * before
    after = before + tokens
    label(world, r, request, after)  # an answer too: another attempt at its turn may look for it
    rows[request].computed = after
    rows[request].due += brings
    note_drafts(world, r, buffer, at, request, 0, brings)


@callee
def _compose(world: World, r: int, buffer: int) -> None:
    """The next pass of a replica, into one of its two buffers."""
    if world.rules.policy == LLAMA_CPP:
        _compose_slots(world, r, buffer)
    elif world.rules.policy == SGLANG:
        _compose_prompts_first(world, r, buffer)
    else:
        _compose_blocks(world, r, buffer)


@inlined
def _compose_blocks(world: World, r: int, buffer: int) -> None:
    """The next pass by the rules of `reference.vllm`."""
    rules, rows, engines, running = world.rules, world.rows, world.engines, world.running
    parts, sizes = world.parts, world.sizes
    budget, block, most = rules.tokens_max, rules.block_tokens, _part_max(world, r)
    members = prompt = past = decoding = read = 0
    preempted, place, slots = False, 0, slots_of(world)
    while place < engines[r].count and budget > slots:
        request = running[r, place]
        row = rows[request]
        before, known = row.computed, row.input + row.generated + row.due
        tokens = min(known - before, most, budget - slots)
        if tokens == 0 or row.generated + row.due == row.output:
            place += 1
            continue
        after = before + tokens
        drafts = drafts_of(world, request, known - before, min(most, budget - slots))
        until = after + ahead_of(world, request, drafts)
        missing = -(-until // block) - row.held if until > row.held * block else 0
        own = False
        while missing > engines[r].free and not own:
            preempted = True
            own = _throw_out(world, r, block, rules.caching) == request
        if own:
            break
        if missing > 0:
            use(world, r, missing)
            row.held += missing
        part = parts[r, buffer, members]  # from here on as `_add_part`, with sums in registers
        part.request, part.tokens, part.before, part.brings = request, tokens, before, after == known
        note_drafts(world, r, buffer, members, request, drafts, after == known)
        members += 1
        if tokens == 1 and before >= row.input:
            decoding += 1
            read += after
        else:
            prompt += tokens
            past += tokens * before
        row.computed = after
        row.due += after == known
        budget -= tokens + drafts + slots
        place += 1
    size = sizes[r, buffer]
    size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = members, prompt, past, decoding, read
    engines[r].thrown_out = preempted
    label_prompts(world, r, buffer)
    if not preempted:
        _admit(world, budget, most, r, buffer, engines[r].count)


@inlined
def _part_max(world: World, r: int) -> int:
    """Most tokens of one request in the pass that is composed."""
    rules, engine = world.rules, world.engines[r]
    if engine.part_max == 0:
        return int(rules.tokens_max)
    if engine.lone_is_whole:
        head = engine.head
        waiting = 0 if head == NO_REQUEST else 1 + (world.rows[head].behind != NO_REQUEST)
        if engine.count + waiting <= 1:
            return int(rules.tokens_max)
    return int(engine.part_max)


@callee
def _throw_out(world: World, r: int, block: int, caching: int) -> int:
    """The last admitted request leaves the cache, and goes to the head of the line; its number."""
    rows, engines, running, totals = world.rows, world.engines, world.running, world.totals
    engines[r].count -= 1
    out = running[r, engines[r].count]
    release(world, r, out, rows[out].computed // block if caching else 0)
    totals[THROWN_OUT] += rows[out].computed
    rows[out].computed = 0
    forget_drafts(world, out)
    rows[out].preemptions += 1
    rows[out].behind = engines[r].head
    if engines[r].head == NO_REQUEST:
        engines[r].tail = out
    engines[r].head = out
    return int(out)


@inlined
def _admit(world: World, budget: int, most: int, r: int, buffer: int, place: int) -> int:
    """Waiting requests, the first in the line first, while they fit; they run from a place on, and it is moved on."""
    rows, engines, running, totals = world.rows, world.engines, world.running, world.totals
    rules, block, slots, ahead = (
        world.rules,
        world.rules.block_tokens,
        slots_of(world),
        starts_ahead_of(world),
    )
    while engines[r].head != NO_REQUEST and budget > slots and engines[r].count < rules.sequences_max:
        request = engines[r].head
        known = rows[request].input + rows[request].generated + rows[request].due
        own, hits = find(world, r, request, (known - 1) // block)
        before = max(hits, min(rows[request].assumed, known - 1) // block) * block
        tokens = min(known - before, most)
        if not rules.chunked and tokens > budget - slots:
            return place
        tokens = min(tokens, budget - slots)
        reserved = max(known if rules.reserve else 0, before + tokens + ahead)
        spare = engines[r].spare if engines[r].count > 0 else 0
        if not has_room(world, r, request, hits, -(-reserved // block) + spare):
            return place
        engines[r].head = rows[request].behind
        if engines[r].head == NO_REQUEST:
            engines[r].tail = NO_REQUEST
        take_found(world, r, request, own, hits)
        hold(world, block, r, request, before + tokens + ahead)
        running[r, place] = request
        place += 1
        engines[r].count += 1
        totals[CACHED] += before
        rows[request].computed = before
        note_hits(world, request, before)
        _add_part(world, r, buffer, request, tokens)
        budget -= tokens + slots
    return place


@callee
def _compose_slots(world: World, r: int, buffer: int) -> None:
    """The next pass by the rules of `reference.llama_cpp`."""
    rows, engines, running, sizes = world.rows, world.engines, world.running, world.sizes
    _fill_slots(world, r)
    sizes[r, buffer, :] = 0
    for at in range(engines[r].count):
        request = running[r, at]
        if rows[request].generated > 0:
            grow(world, 1, r, request, rows[request].computed + 1)
            _add_part(world, r, buffer, request, 1)
    budget = world.rules.tokens_max - sizes[r, buffer, PARTS]
    for at in range(engines[r].count):
        request = running[r, at]
        tokens = min(rows[request].input - rows[request].computed, budget)
        if rows[request].generated == 0 and tokens > 0:
            grow(world, 1, r, request, rows[request].computed + tokens)
            _add_part(world, r, buffer, request, tokens)
            budget -= tokens


@callee
def _fill_slots(world: World, r: int) -> None:
    """Idle slots go to who was deferred, the last of them first, and then to who came since."""
    rows, engines = world.rows, world.engines
    slots = world.tags.shape[1]
    most = slots - engines[r].count
    popped, request = 0, engines[r].head
    while popped < most and request != NO_REQUEST and rows[request].turn <= engines[r].seen:
        popped += 1
        request = rows[request].behind
    for place in range(popped - 1, -1, -1):
        _launch(world, r, place)
    engines[r].first = (engines[r].first + popped) % slots
    while engines[r].head != NO_REQUEST and engines[r].count < slots:
        _launch(world, r, 0)
        engines[r].first = (engines[r].first + 1) % slots
    engines[r].settled = slots - engines[r].count
    _see(world, r)


@inlined
def _see(world: World, r: int) -> None:
    """All that wait have been there when a pass was composed."""
    tail = world.engines[r].tail
    if tail != NO_REQUEST:
        world.engines[r].seen = max(world.engines[r].seen, world.rows[tail].turn)


@callee
def idle(world: World, r: int, slot: int) -> None:
    """A slot is idle from now on, while its request still counts as running; slots of one pass are taken in order."""
    engines, tags = world.engines, world.tags
    slots = tags.shape[1]
    first, at = engines[r].first, slots - engines[r].count
    while at > engines[r].settled and tags[r, (first + at - 1) % slots].idle > slot:
        tags[r, (first + at) % slots].idle = tags[r, (first + at - 1) % slots].idle
        at -= 1
    tags[r, (first + at) % slots].idle = slot


@callee
def empty_slots(world: World, r: int) -> None:
    """No slot was ever used: the highest is taken first."""
    slots = world.tags.shape[1]
    for place in range(slots):
        world.tags[r, place].idle = slots - 1 - place
    world.engines[r].first, world.engines[r].settled = 0, slots


@callee
def _launch(world: World, r: int, place: int) -> None:
    """The first in the line gets an idle slot, by its place among these."""
    rows, engines, running, tags = world.rows, world.engines, world.running, world.tags
    request = engines[r].head
    engines[r].head = rows[request].behind
    if engines[r].head == NO_REQUEST:
        engines[r].tail = NO_REQUEST
    slot = tags[r, (engines[r].first + place) % tags.shape[1]].idle
    rows[request].slot = slot
    at = engines[r].count
    while at > 0 and rows[running[r, at - 1]].slot > slot:
        running[r, at] = running[r, at - 1]
        at -= 1
    running[r, at] = request
    engines[r].count += 1
    rows[request].computed = min(rows[request].assumed, rows[request].input - 1)
    world.totals[CACHED] += rows[request].computed


@callee
def _compose_prompts_first(world: World, r: int, buffer: int) -> None:
    """The next pass by the rules of `reference.sglang`."""
    engine, sizes = world.engines[r], world.sizes
    while True:
        sizes[r, buffer, :] = 0
        if engine.count == 0 or engine.cut != NO_REQUEST:
            engine.full = 0
        if engine.count == 0 and engine.head == NO_REQUEST:
            engine.ratio = RATIO_FIRST
        members, cut = engine.count, engine.cut
        if _may_bring_prompts(world, r):
            _bring_prompts(world, r, buffer)
        if sizes[r, buffer, PARTS] == 0 or engine.mixed:
            _bring_answers(world, r, buffer, members, cut)
        if sizes[r, buffer, PARTS] > 0 or not _is_stuck(world, r):
            break
        _give_way(world, r)
    engine.thrown_out = engine.head != NO_REQUEST and not engine.full  # who may join the next pass


@callee
def _is_stuck(world: World, r: int) -> bool:
    """Whether a prompt that was cut holds what others need, and they what it needs, and no pass is under way."""
    for at in range(world.engines[r].count):
        if world.rows[world.running[r, at]].due > 0:
            return False
    return bool(world.engines[r].cut != NO_REQUEST)


@callee
def _give_way(world: World, r: int) -> None:
    """The request whose prompt was cut is thrown out."""
    engine, running, kept = world.engines[r], world.running, 0
    for at in range(engine.count):
        if running[r, at] != engine.cut:
            running[r, kept] = running[r, at]
            kept += 1
    out = engine.cut
    engine.count, engine.cut = kept, NO_REQUEST
    _send_back(world, r, out)


@callee
def _may_bring_prompts(world: World, r: int) -> bool:
    """Whether there is a prompt to go on with, or one that waits while there are sequences."""
    engine = world.engines[r]
    if engine.cut != NO_REQUEST:
        return True
    if engine.full or engine.head == NO_REQUEST:
        return False
    engine.full = engine.count >= world.rules.sequences_max
    return not engine.full


@callee
def _bring_prompts(world: World, r: int, buffer: int) -> None:
    """The rest of the prompt that was cut, then who waits, in order, while tokens and room last."""
    rules, rows, engine, running = world.rules, world.rows, world.engines[r], world.running
    answering, block = engine.count - (engine.cut != NO_REQUEST), rules.block_tokens
    _refresh_waiting(world, r)
    mixed = answering if engine.mixed else 0
    tokens_left, room, reserved = rules.tokens_max - mixed, engine.free * block, float(mixed)
    for at in range(engine.count):
        row = rows[running[r, at]]
        if running[r, at] != engine.cut:
            reserved += min(row.output - row.generated, ANSWER_MAX) * engine.ratio
    if engine.cut != NO_REQUEST:
        row = rows[engine.cut]
        expected = min(tokens_left, int(room - reserved))
        missing = row.input + row.generated + row.due - row.computed
        wanted = min(missing, expected if expected > 0 else tokens_left)
        tokens = min(wanted, room + -(-row.computed // block) * block - row.computed)
        if tokens > 0:
            grow(world, block, r, engine.cut, row.computed + tokens)
            _add_part(world, r, buffer, engine.cut, tokens)
            tokens_left -= -(-tokens // block) * block
            reserved += _kept_for(world, engine.cut, tokens, tokens == missing)
            if tokens == missing:
                engine.cut = NO_REQUEST
    _begin_prompts(world, r, buffer, answering, tokens_left, room, reserved)


@callee
def _refresh_waiting(world: World, r: int) -> None:
    """Now and then what the first in the line begin with counts as used, the first of them last."""
    rows, engine, block = world.rows, world.engines[r], world.rules.block_tokens
    if engine.head == NO_REQUEST:
        return
    engine.looks += 1
    if engine.looks % REFRESH_LOOKS != 1:
        return
    last, following, count = NO_REQUEST, engine.head, 0
    while following != NO_REQUEST and count < REFRESH_REQUESTS:  # the line is turned round, and back again
        behind = rows[following].behind
        rows[following].behind = last
        last, following = following, behind
        count += 1
    while last != NO_REQUEST:
        row = rows[last]
        refresh(world, r, last, (row.input + row.generated + row.due) // block)
        before = row.behind
        row.behind = following
        following, last = last, before


@inlined
def _kept_for(world: World, request: int, tokens: int, is_whole: bool) -> int:  # noqa: FBT001
    """Tokens of the cache that are kept for a part of a prompt, and for the answer if it is the last part."""
    block = world.rules.block_tokens
    answer = min(world.rows[request].output, ANSWER_MAX) if is_whole else 0
    return int(-(-tokens // block) * block + block + answer)


@callee
def _begin_prompts(
    world: World, r: int, buffer: int, answering: int, tokens_left: int, room: int, reserved: float
) -> None:
    """Admit who waits, in order, while there are sequences, tokens, and room for what they will take."""
    rules, rows, engine, sizes = world.rules, world.rows, world.engines[r], world.sizes
    block = rules.block_tokens
    while engine.head != NO_REQUEST and tokens_left > 0:
        parts, request = sizes[r, buffer, PARTS], engine.head
        if parts >= rules.sequences_max - answering:
            engine.full = 1
            return
        row = rows[request]
        known = row.input + row.generated + row.due
        own, hits = find(world, r, request, (known - 1) // block)
        before = max(hits, min(row.assumed, known - 1) // block) * block
        freed = before - (hits - unused(world, r, request, hits)) * block  # of what no request uses
        total = known - before + min(row.output - row.generated, ANSWER_MAX) + block
        has_room = total < room - freed - reserved
        tokens = _fitting(world, r, known - before, tokens_left, parts)
        if not has_room or tokens <= 0:
            refresh(world, r, request, (known - 1) // block)
            if not has_room:
                engine.full = parts > 0 or answering > 0
            return
        take_found(world, r, request, own, hits)
        _begin_prompt(world, r, buffer, before, tokens)
        is_whole = before + tokens == known
        tokens_left -= -(-tokens // block) * block
        room -= freed
        reserved += _kept_for(world, request, tokens, is_whole)
        if not is_whole:
            engine.cut = request
        if room - reserved <= 0.0:
            engine.full = 1
            return


@inlined
def _fitting(world: World, r: int, tokens: int, left: int, parts: int) -> int:
    """How many of the tokens of a prompt the pass has room for; 0 if it must wait for another."""
    block = world.rules.block_tokens
    whole = -(-tokens // block) * block
    if not world.rules.chunked:
        return 0 if parts > 0 and whole >= left else tokens
    if whole <= left:
        return tokens
    return left // block * block if world.engines[r].cut == NO_REQUEST else 0


@inlined
def _begin_prompt(world: World, r: int, buffer: int, before: int, tokens: int) -> None:
    """The first in the line runs from now on, with some tokens after those that it has found."""
    rows, engine = world.rows, world.engines[r]
    request = engine.head
    engine.head = rows[request].behind
    if engine.head == NO_REQUEST:
        engine.tail = NO_REQUEST
    hold(world, world.rules.block_tokens, r, request, before + tokens)
    world.running[r, engine.count] = request
    engine.count += 1
    world.totals[CACHED] += before
    rows[request].computed = before
    note_hits(world, request, before)
    _add_part(world, r, buffer, request, tokens)


@inlined
def _goes_on(world: World, request: int, cut: int) -> bool:
    """Whether a request that runs gets another token, as the one whose prompt is cut does not."""
    row = world.rows[request]
    return bool(request != cut and row.generated + row.due < row.output)


@callee
def _missing(world: World, r: int, members: int, cut: int) -> int:
    """Blocks that the next tokens of the first running requests need, but of the one that is cut."""
    missing, block = 0, world.rules.block_tokens
    for at in range(members):
        row = world.rows[world.running[r, at]]
        if _goes_on(world, world.running[r, at], cut):
            missing += max(0, -(-(row.computed + 1) // block) - row.held)
    return missing


@callee
def _bring_answers(world: World, r: int, buffer: int, members: int, cut: int) -> None:
    """A token of each request that answers; if blocks run short, of as many as are not thrown out for it.

    Args:
        members: those that ran before prompts were brought.
        cut: the one of them whose prompt was computed in part.
    """
    rows, engine, running, block = world.rows, world.engines[r], world.running, world.rules.block_tokens
    has_prompts, ending = world.sizes[r, buffer, PARTS] > 0, members - (cut != NO_REQUEST)
    for at in range(members):
        ending -= _goes_on(world, running[r, at], cut)
    engine.full = 0 if ending > 0 else engine.full
    if _missing(world, r, members, cut) > engine.free:
        if has_prompts or ending > 0:
            return
        members = _retract(world, r)
        if _missing(world, r, members, NO_REQUEST) > engine.free:
            return
    elif not has_prompts and ending < members - (cut != NO_REQUEST):
        engine.ratio = max(engine.ratio - RATIO_STEP, RATIO_LEAST)
    for at in range(members):
        request = running[r, at]
        if _goes_on(world, request, cut):
            grow(world, block, r, request, rows[request].computed + 1)
            _add_part(world, r, buffer, request, 1)


@callee
def _retract(world: World, r: int) -> int:
    """Throw out who has fewest output tokens, and of these the longest prompt, until the others have blocks.

    Those that stay come first, and how many they are is returned; one whose prompt is cut is behind them.
    """
    rows, engine, running = world.rows, world.engines[r], world.running
    kept = 0
    for at in range(engine.count):
        request = running[r, at]
        if request == engine.cut:
            continue
        place, row = kept, rows[request]
        while place > 0:
            other = rows[running[r, place - 1]]
            if other.generated > row.generated or (
                other.generated == row.generated and other.input <= row.input
            ):
                break
            running[r, place] = running[r, place - 1]
            place -= 1
        running[r, place] = request
        kept += 1
    whole = kept
    while kept > 1 and (kept == whole or _missing(world, r, kept, NO_REQUEST) > engine.free):
        kept -= 1
        _send_back(world, r, running[r, kept])
        engine.full = 0
    engine.count = kept
    if engine.cut != NO_REQUEST:
        running[r, kept] = engine.cut
        engine.count += 1
    decoded = most = 0
    for at in range(kept):
        decoded += rows[running[r, at]].generated
        most += rows[running[r, at]].output
    engine.ratio = min(1.0, (decoded + AFTER_RETRACTION * kept) / (most + 1))
    return kept


@callee
def _send_back(world: World, r: int, out: int) -> None:
    """A request leaves the cache, but for what it holds of its prompt, to the end of the line."""
    rows, engine, rules = world.rows, world.engines[r], world.rules
    row = rows[out]
    world.totals[THROWN_OUT] += row.computed
    row.computed = min(row.computed, row.input)
    forget_after(world, r, out, row.input)
    release(world, r, out, row.computed // rules.block_tokens if rules.caching else 0)
    row.computed = 0
    row.preemptions += 1
    row.behind = NO_REQUEST
    if engine.head == NO_REQUEST:
        engine.head = out
    else:
        rows[engine.tail].behind = out
    engine.tail = out


@callee
def _decay(world: World, r: int, passes: int) -> None:
    """The ratio falls with each of some passes that decode, as SGLang composes them."""
    engine = world.engines[r]
    while passes > 0 and engine.ratio > RATIO_LEAST:
        engine.ratio = max(engine.ratio - RATIO_STEP, RATIO_LEAST)
        passes -= 1


@inlined
def _note_largest(world: World, requests: float, tokens: float, read: float, past: float) -> None:
    largest = world.largest
    largest[0] = max(largest[0], requests)
    largest[1] = max(largest[1], tokens)
    largest[2] = max(largest[2], read / max(1.0, requests))
    largest[3] = max(largest[3], past)


@callee
def _is_all_decode(world: World, r: int, buffer: int) -> bool:
    """Whether every running request is in the pass, with one token after its prompt that brings the next."""
    rows, engines, parts, sizes = world.rows, world.engines, world.parts, world.sizes
    if sizes[r, buffer, PARTS] != engines[r].count:
        return False
    for at in range(engines[r].count):
        request = parts[r, buffer, at].request
        if parts[r, buffer, at].tokens != 1 or parts[r, buffer, at].before < rows[request].input:
            return False
        if not parts[r, buffer, at].brings:  # it computes again what it had before it was thrown out
            return False
    return True


@inlined
def _compute(world: World, r: int, now_s: float) -> None:
    """Compute the pass that is composed."""
    table, engine = world.table, world.engines[r]
    tokens, behind, read, computed = sized(world, r, engine.which)
    requests, past = world.sizes[r, engine.which, DECODING], behind / max(1, tokens)
    _note_largest(world, requests, tokens, read, past)
    world.totals[COMPUTED] += computed
    engine.started_s = now_s
    noise = noise_of(table[7], world.noise_seed, r, engine.passes)
    engine.ends_s = now_s + pass_s(table, tokens, past, requests, read) * noise * engine.slow
    engine.passes += 1


@inlined
def _start(world: World, r: int, now_s: float) -> None:
    """Compute the pass that is composed; compose the one after it where that is done ahead."""
    rules, rows, engines, running, sizes, phase = (
        world.rules, world.rows, world.engines, world.running, world.sizes, world.phase,
    )  # fmt: skip
    block, ahead = rules.block_tokens, rules.ahead
    buffer = engines[r].which
    size = sizes[r, buffer]
    _compute(world, r, now_s)
    other = 1 - buffer
    sizes[r, other, PARTS] = 0
    if ahead:
        _compose(world, r, other)
    if (
        size[PROMPT] > 0 or size[PARTS] != engines[r].count or engines[r].torn > 0 or not rules.flows
    ):  # as `_is_all_decode`
        return
    if ahead and not _is_all_decode(world, r, other):
        return
    phase[r, :] = 0
    left = _ENDLESS
    for at in range(engines[r].count):
        if not world.parts[r, buffer, at].brings:
            return
        request = running[r, at]
        left = min(left, rows[request].output - rows[request].generated)
        phase[r, rows[request].computed % block] += 1
    engines[r].left, engines[r].stretch, engines[r].read = left, 0, size[READ]
    engines[r].knock = engines[r].thrown_out  # nobody may join in that pass, but in the next


@callee
def _leave_line(world: World, r: int, request: int) -> None:
    """A request that was thrown out while its last token was computed needs nothing any more."""
    rows, engines, totals = world.rows, world.engines, world.totals
    totals[THROWN_OUT] -= rows[request].input + rows[request].output - 1
    before = NO_REQUEST
    here = engines[r].head
    while here != request:
        before, here = here, rows[here].behind
    if before == NO_REQUEST:
        engines[r].head = rows[request].behind
    else:
        rows[before].behind = rows[request].behind
    if engines[r].tail == request:
        engines[r].tail = before


@inlined
def run_on(world: World, r: int, until_s: float) -> bool:  # noqa: C901  (one loop: its sums stay in registers)
    """Go through a run of passes as far as an instant; True where it has come to its end before.

    Each pass reads one token more a request than the one before. The last one that ended is not counted yet where
    the run has come to its end.
    """
    rules, table, rows, engines = world.rules, world.table, world.rows, world.engines
    running, phase, gaps, totals, largest = (
        world.running, world.phase, world.gaps, world.totals, world.largest,
    )  # fmt: skip
    engine = engines[r]
    blocks, block, ahead = rules.blocks, rules.block_tokens, rules.ahead
    members, read, done = engine.count, engine.read, engine.stretch
    started_s, ends_s, busy_s = engine.started_s, engine.ends_s, engine.busy_s
    worked_s = engine.worked_s
    running_s, block_s = engine.running_s, engine.block_s
    from_s, to_s = world.window_s[0], world.window_s[1]
    wide, narrow = nodes_around(table[2], members)
    span = table[2][narrow] - table[2][wide]
    share = 0.0 if span == 0.0 else min(max((members - table[2][wide]) / span, 0.0), 1.0)
    contexts, values = table[3], table[4]
    last = max(0, len(contexts) - 2)
    left, right, first, second = -1, 0, 0.0, 0.0
    is_over, steps, begun = False, 0, done
    while ends_s <= until_s:
        span_s = ends_s - started_s
        steps += 1
        done += 1
        worked_s += span_s
        if from_s <= ends_s < to_s:
            busy_s += span_s
            running_s += span_s * members
            block_s += span_s * (blocks - engine.free)
            if done == 1:
                for at in range(members):
                    gaps[cell_of(ends_s - rows[running[r, at]].token_s)] += 1
            else:
                gaps[cell_of(span_s)] += members
        if engine.left - done < 1 + ahead or engine.knock:
            is_over = True
            break
        needed = phase[r, (block - (done - 1) % block) % block]
        if needed > engine.free:
            is_over = True
            break
        if needed > 0:
            use(world, r, needed)
        read += members
        context = read / max(1.0, members)
        if left < 0 or (left < last and contexts[left + 1] <= context):
            left = max(left, 0)
            while left < last and contexts[left + 1] <= context:
                left += 1
            right = min(left + 1, len(contexts) - 1)
            first = (1.0 - share) * values[wide, left] + share * values[narrow, left]
            second = (1.0 - share) * values[wide, right] + share * values[narrow, right]
        gap = contexts[right] - contexts[left]
        between = 0.0 if gap == 0.0 else min(max((context - contexts[left]) / gap, 0.0), 1.0)
        started_s = ends_s
        noise = noise_of(table[7], world.noise_seed, r, engine.passes)
        ends_s = started_s + ((1.0 - between) * first + between * second) * noise * engine.slow
        engine.passes += 1
    totals[STEPS] += steps
    if done - begun > is_over:
        _see(world, r)
        if rules.policy == SGLANG:
            _decay(world, r, done - begun - is_over)
    totals[COMPUTED] += members * (done - begun - is_over)
    if members > 0:
        largest[2] = max(largest[2], read / members)
    engine.read, engine.stretch, engine.started_s, engine.ends_s = read, done, started_s, ends_s
    engine.busy_s, engine.running_s, engine.block_s = busy_s, running_s, block_s
    engine.worked_s = worked_s
    return is_over


@inlined
def settle(world: World, r: int, now_s: float) -> None:
    """Tell the requests of a run what has become of them."""
    rules, rows, engines, running, parts, sizes = (
        world.rules,
        world.rows,
        world.engines,
        world.running,
        world.parts,
        world.sizes,
    )
    block, ahead = rules.block_tokens, rules.ahead
    done, members, is_done = engines[r].stretch, engines[r].count, False
    engines[r].stretch = -1
    for at in range(members):
        row = rows[running[r, at]]
        row.generated += done
        row.computed += done - 1
        row.held = -(-row.computed // block)
        row.due = ahead
        row.token_s = now_s
        is_done |= row.generated == row.output
    if ahead:
        buffer, read = 1 - engines[r].which, 0
        for at in range(members):
            request = running[r, at]
            parts[r, buffer, at].request = request
            parts[r, buffer, at].tokens = 1
            parts[r, buffer, at].before = rows[request].computed - 1
            parts[r, buffer, at].brings = 1
            read += rows[request].computed
        size = sizes[r, buffer]
        size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = members, 0, 0, members, read
        return
    if is_done:
        _dismiss(world, r, now_s)


@inlined
def _count_less(engine: Struct, now_s: float) -> None:
    """A request is done that was routed to an engine, before any that arrives at that instant."""
    engine.outstanding -= 1
    engine.changed_s, engine.changed = now_s, 0


@callee
def _dismiss(world: World, r: int, now_s: float) -> None:
    """Running requests that have all their tokens leave, in their order; the others close up."""
    rows, engines, running = world.rows, world.engines, world.running
    count, kept = engines[r].count, 0
    for at in range(count):
        request = running[r, at]
        if rows[request].generated < rows[request].output:
            running[r, kept] = request
            kept += 1
            continue
        rows[request].finished_s = now_s
        rows[request].behind, engines[r].gone = engines[r].gone, request
        if rows[request].held > 0:
            release(world, r, request, 0)
        if world.rules.policy == LLAMA_CPP:
            idle(world, r, rows[request].slot)
        engines[r].full = 0
        engines[r].count -= 1
        _count_less(engines[r], now_s)


@inlined
def _hand_out(world: World, r: int, now_s: float, counts: bool) -> None:  # noqa: FBT001
    """The tokens of a pass that has ended; whether the gaps before them count."""
    rows, engines, parts, sizes, gaps = world.rows, world.engines, world.parts, world.sizes, world.gaps
    buffer, done = engines[r].which, 0
    since_s, alike = now_s, 0  # most had their last token at one instant, and are counted together
    for at in range(sizes[r, buffer, PARTS]):
        if not parts[r, buffer, at].brings or is_answered(world, r, buffer, at):
            continue
        row = rows[parts[r, buffer, at].request]
        accepted = accepted_of(world, r, buffer, at)
        row.due -= 1
        row.generated += 1 + accepted
        if row.generated == 1:
            row.first_s = now_s
        elif counts:
            if row.token_s != since_s:
                gaps[cell_of(now_s - since_s)] += alike
                since_s, alike = row.token_s, 0
            alike += 1
        row.token_s = now_s
        done += row.generated == row.output
    gaps[cell_of(now_s - since_s)] += alike
    if done:
        _dismiss_parts(world, r, buffer, now_s)


@callee
def _dismiss_parts(world: World, r: int, buffer: int, now_s: float) -> None:
    """Requests that got their last token from a pass leave; who was thrown out meanwhile is in the line.

    In a mixed pass of SGLang prompts come before answers, and their blocks are free first.
    """
    rows, engines, parts = world.rows, world.engines, world.parts
    for at in range(world.sizes[r, buffer, PARTS]):
        request = parts[r, buffer, at].request
        row = rows[request]
        if not parts[r, buffer, at].brings or row.generated < row.output:
            continue
        if row.held > 0 and world.rules.policy == SGLANG:
            release(world, r, request, 0)
        elif row.held == 0:
            row.finished_s = now_s
            _count_less(engines[r], now_s)
            _leave_line(world, r, request)
            row.behind, engines[r].gone = engines[r].gone, request
    _dismiss(world, r, now_s)


@inlined
def end_pass(world: World, r: int, now_s: float, is_counted: bool) -> None:  # noqa: FBT001
    """A pass has ended: its tokens are handed out.

    Args:
        is_counted: whether it was the last of a run of passes, which has counted it.
    """
    engine = world.engines[r]
    span_s = now_s - engine.started_s
    counts = not is_counted and world.window_s[0] <= now_s < world.window_s[1]
    if not is_counted:
        world.totals[STEPS] += 1
        engine.worked_s += span_s
    if counts:
        engine.busy_s += span_s
        engine.running_s += span_s * engine.count
        engine.block_s += span_s * (world.rules.blocks - engine.free)
    _hand_out(world, r, now_s, counts)


@inlined
def begin_pass(world: World, r: int, now_s: float) -> None:
    """The next pass of a replica, after the one before it or from rest; it rests where nothing can be computed."""
    engines, sizes, ahead = world.engines, world.sizes, world.rules.ahead
    is_idle = engines[r].ends_s == np.inf
    if ahead and not is_idle:
        engines[r].which = 1 - engines[r].which
    if is_idle or not ahead or sizes[r, engines[r].which, PARTS] == 0:
        _compose(world, r, engines[r].which)
    if sizes[r, engines[r].which, PARTS] == 0:
        engines[r].ends_s = np.inf
        engines[r].since_s = np.inf
    else:
        _start(world, r, now_s)


@callee
def _enter_flow(world: World, r: int) -> None:
    """Stop looking at requests that decode, from the pass that has just begun until they are done."""
    rules, rows, engines, running = world.rules, world.rows, world.engines, world.running
    parts, size, phase = world.parts, world.sizes[r, 0], world.phase
    engine, block = engines[r], rules.block_tokens
    if rules.policy != VLLM_V1 or not rules.flows or rules.ahead:
        return
    if (
        engine.part_max > 0 or size[PARTS] != engine.count or engine.count == 0
    ):  # prompts may end out of order
        return
    phase[r, :], world.wheel[r, :] = 0, NO_REQUEST
    flowing = young = read = 0
    for at in range(engine.count):
        row, part = rows[running[r, at]], parts[r, 0, at]
        is_told = part.brings and part.tokens == 1 and part.before >= row.input
        _note_last(world, r, running[r, at], engine.passes)
        if young == 0 and is_told and row.token_s == engine.started_s:
            flowing += 1
            read += row.computed
            phase[r, (row.computed - engine.passes) % block] += 1
        else:
            first = parts[r, 0, young]
            first.request, first.tokens, first.before, first.brings = (
                part.request,
                part.tokens,
                part.before,
                part.brings,
            )
            young += 1
    size[PARTS] = young
    engine.flowing, engine.read, engine.filled = flowing, read, engine.count
    engine.flows, engine.stretch = 1, -1


@callee
def _close_up(world: World, r: int) -> None:
    """Running requests take the places of who is done."""
    engine, running, kept = world.engines[r], world.running, 0
    for at in range(engine.filled):
        request = running[r, at]
        if world.rows[request].finished_s == 0.0:
            running[r, kept] = request
            kept += 1
    engine.filled = kept


@borrowing
def tell(world: World, r: int, has_ended: bool) -> None:  # noqa: FBT001
    """Tell the requests of an engine that flows what has become of them, before its pass has ended or after."""
    rows, engine, running, block = world.rows, world.engines[r], world.running, world.rules.block_tokens
    _close_up(world, r)
    for at in range(engine.flowing):
        row = rows[running[r, at]]
        row.computed = row.input + row.output - 1 - (row.last - engine.passes)
        row.held = -(-row.computed // block)
        row.generated = row.computed - row.input + has_ended
        row.due = 1 - has_ended
        row.token_s = engine.ends_s if has_ended else engine.started_s


@inlined
def _dismiss_last(world: World, r: int, now_s: float) -> None:
    """Requests whose last pass has ended leave; those that share their place on the wheel stay there."""
    rows, engine, phase, block = world.rows, world.engines[r], world.phase, world.rules.block_tokens
    passes, place, kept = engine.passes, engine.passes % WHEEL, NO_REQUEST
    request, before = world.wheel[r, place], engine.gone
    while request != NO_REQUEST:
        row = rows[request]
        following = row.behind
        if row.last == passes:
            computed = row.input + row.output - 1
            row.generated, row.computed, row.due, row.held = row.output, computed, 0, -(-computed // block)
            row.token_s = row.finished_s = now_s
            row.behind, engine.gone = engine.gone, request
            phase[r, (computed - passes) % block] -= 1
            engine.read -= computed
            engine.flowing -= 1
            engine.count -= 1
            _count_less(engine, now_s)
            release_done(world, r, request)
        else:
            row.behind, kept = kept, request
        request = following
    world.wheel[r, place] = kept
    release_in_order(world, r, before)


@inlined
def _end_flowing(world: World, r: int, now_s: float) -> None:
    """A pass has ended of an engine that flows; who has computed its prompt flows from then on."""
    rows, engine, parts, phase, gaps = world.rows, world.engines[r], world.parts, world.phase, world.gaps
    span_s, block = now_s - engine.started_s, world.rules.block_tokens
    world.totals[STEPS] += 1
    engine.worked_s += span_s
    counts = world.window_s[0] <= now_s < world.window_s[1]
    if counts:
        engine.busy_s += span_s
        engine.running_s += span_s * engine.count
        engine.block_s += span_s * (world.rules.blocks - engine.free)
        gaps[cell_of(span_s)] += engine.flowing
    for at in range(world.sizes[r, 0, PARTS]):
        if not parts[r, 0, at].brings:
            break  # who comes after has no part
        row = rows[parts[r, 0, at].request]
        row.due = 0
        row.generated += 1
        if row.generated == 1:
            row.first_s = now_s
        elif counts:
            gaps[cell_of(now_s - row.token_s)] += 1
        row.token_s = now_s
        engine.flowing += 1
        engine.read += row.computed
        phase[r, (row.computed - engine.passes) % block] += 1
    if world.wheel[r, engine.passes % WHEEL] != NO_REQUEST:
        _dismiss_last(world, r, now_s)


@inlined
def _note_last(world: World, r: int, request: int, number: int) -> None:
    """The number of a request's last pass, if the one of this number ends its prompt."""
    row = world.rows[request]
    if row.due:
        row.last = number + row.input + row.output - 1 - row.computed
        place = row.last % WHEEL
        row.behind, world.wheel[r, place] = world.wheel[r, place], request


@inlined
def _bring_young(world: World, r: int, budget: int) -> None:
    """Parts of who still computes its prompt, and of who may join, in the pass that is composed."""
    rules, rows, engine, running = world.rules, world.rows, world.engines[r], world.running
    number = engine.passes + 1
    for at in range(engine.filled - engine.count + engine.flowing, engine.filled):
        request = running[r, at]
        row = rows[request]
        tokens = min(row.input + row.generated - row.computed, budget)
        if tokens > 0:
            hold(world, rules.block_tokens, r, request, row.computed + tokens)
            _add_part(world, r, 0, request, tokens)
            _note_last(world, r, request, number)
            budget -= tokens
    if 2 * engine.filled > running.shape[1]:
        _close_up(world, r)
    first = engine.filled
    engine.filled = _admit(world, budget, rules.tokens_max, r, 0, first)
    for at in range(first, engine.filled):
        _note_last(world, r, running[r, at], number)


@inlined
def _compose_flowing(world: World, r: int) -> bool:
    """The next pass by the rules of `_compose_blocks`; False, and nothing done, where tokens or blocks run short."""
    rules, rows, engine, running = world.rules, world.rows, world.engines[r], world.running
    block, size = rules.block_tokens, world.sizes[r, 0]
    needed = world.phase[r, (-engine.passes) % block]
    free, budget = engine.free - needed, rules.tokens_max - engine.flowing
    if free < 0 or budget < 0:
        return False
    for at in range(engine.filled - engine.count + engine.flowing, engine.filled):
        row = rows[running[r, at]]
        tokens = min(row.input + row.generated - row.computed, budget)
        free -= max(0, -(-(row.computed + tokens) // block) - row.held)
        budget -= tokens
        if free < 0:
            return False
    if needed > 0:
        use_soon(world, r, needed)
    engine.read += engine.flowing
    size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = 0, 0, 0, engine.flowing, engine.read
    engine.thrown_out = 0
    if engine.flowing < engine.count or engine.head != NO_REQUEST:
        _bring_young(world, r, rules.tokens_max - engine.flowing)
    return True


@inlined
def _flow(world: World, r: int, until_s: float, stops: bool) -> bool:  # noqa: FBT001
    """Go through passes as far as an instant; False where the next one must be composed request by request."""
    engine = world.engines[r]
    while engine.ends_s <= until_s and not (stops and engine.gone != NO_REQUEST):
        now_s = engine.ends_s
        _end_flowing(world, r, now_s)
        if not _compose_flowing(world, r):
            tell(world, r, True)  # noqa: FBT003  (compiled code takes positions)
            engine.flows = 0
            return False
        if engine.count == 0:
            engine.ends_s = engine.since_s = np.inf
            engine.flows = 0
            return True
        _compute(world, r, now_s)
    return True


@borrowing
def advance(world: World, r: int, until_s: float, stops: bool) -> None:  # noqa: C901, FBT001  (four states)
    """Let a replica compute all passes that end by an instant, and start those that follow them.

    Args:
        stops: whether it goes no further than the end of a pass with which a request is done.
    """
    engines = world.engines
    while True:
        if stops and engines[r].gone != NO_REQUEST:
            return
        if engines[r].ends_s == np.inf:
            if engines[r].head == NO_REQUEST or engines[r].since_s >= until_s:
                return
            now_s = engines[r].since_s
        elif engines[r].flows:
            if _flow(world, r, until_s, stops):
                return
            now_s = engines[r].ends_s
        elif engines[r].stretch >= 0:
            if not run_on(world, r, until_s):
                return
            now_s = engines[r].ends_s
            settle(world, r, now_s)
        else:
            now_s = engines[r].ends_s
            if now_s > until_s:
                return
            end_pass(world, r, now_s, False)  # noqa: FBT003  (compiled code takes positions)
        begin_pass(world, r, now_s)
        _enter_flow(world, r)


@inlined
def join(world: World, r: int, request: int, now_s: float) -> None:
    """A request comes to the end of the line of a replica, which starts at once if it is at rest."""
    rows, engines = world.rows, world.engines
    rows[request].behind = NO_REQUEST
    engines[r].joined += 1
    rows[request].turn = engines[r].joined
    if engines[r].head == NO_REQUEST:
        engines[r].head = request
        if engines[r].ends_s == np.inf:
            engines[r].since_s = now_s
        elif engines[r].count < world.rules.sequences_max:
            engines[r].knock = 1
    else:
        rows[engines[r].tail].behind = request
    engines[r].tail = request


@inlined
def is_line_full(waiting: int, limit: int) -> bool:
    """Whether as many wait for a place among the running requests as may; a limit below 0 is none."""
    return 0 <= limit <= waiting
