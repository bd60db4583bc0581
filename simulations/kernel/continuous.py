"""Kernel of engines that batch continuously: what `reference/engine.py` does, compiled.

While all running requests decode and no other can join, passes differ only in how many tokens they read: such a
run of passes is gone through without looking at the requests, until one of them is done, a request arrives that
may join, or blocks run short.
"""

import math
from typing import NamedTuple

import numpy as np

from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from simulations.compiled import borrowing, inlined
from simulations.draws.cells import CELLS, cell_of
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import (
    ALWAYS,
    MIX_ONE,
    MIX_TWO,
    PASS_STEP,
    REPLICA_STEP,
    EngineRules,
    TokenDraws,
    TokenRecords,
)
from simulations.kernel.state import (
    NO_REQUEST,
    Structs,
    come_back,
    next_return_s,
    returns_of,
    take_earliest,
)
from simulations.rising import first_above
from simulations.routing.candidates import fewer_outstanding
from simulations.routing.policies import LEAST_OUTSTANDING, POWER_OF_TWO, ROUTINGS, first_place, other_place

_ENDLESS = int(np.iinfo(np.int64).max)
_WHEEL = 1024
_POLICIES = (Scheduler.VLLM_V1, Scheduler.LLAMA_CPP)
VLLM_V1, LLAMA_CPP = range(2)
NO_REPLICA = -1  # of a request that a full queue has refused
STEPS, COMPUTED, THROWN_OUT, CACHED, ALLOCATED, FREED = range(6)
PARTS, PROMPT, PAST, DECODING, READ = range(5)


def _whole(*names: str) -> list[tuple[str, type]]:
    return [(name, np.int64) for name in names]


def _seconds(*names: str) -> list[tuple[str, type]]:
    return [(name, np.float64) for name in names]


# A request, as in `reference.scheduler.Request`; `held` are its blocks, `slot` is its own where there are
# slots, `turn` counts who came to the line of its replica, and `behind` is who comes next there. Where its engine
# flows, `last` is the number of the pass that brings its last token, and `behind` who shares its place on the wheel.
_REQUEST = np.dtype(
    _whole("input", "output", "assumed", "computed", "generated", "due", "held", "slot")
    + _whole("preemptions", "turn", "behind", "replica", "last")
    + _seconds("token_s", "first_s", "finished_s")
)
# A replica. `count` requests run; `head` and `tail` are the ends of the line, whose first came to an idle engine
# at `since_s`; `which` of its two passes is computed, from `started_s` to `ends_s`, infinite while idle. Of its
# `free` blocks `loose` were freed after all of its `tags`. In a run of passes `stretch` of them have ended of
# which requests have not been told (-1 outside of one), `left` output tokens were missing to the first to be done
# when it began, `read` tokens are read by the pass that is computed, and `knock` says that somebody may
# join: who came since, or who waits since somebody was `thrown_out` by the pass composed last. `joined` have come to
# the line so far. Where there are slots, `first` is the place of the one that is longest idle, `settled` were idle when
# a pass was composed last, and `seen` is the turn of the last request that was in the line then: who is no later was
# deferred. Passes take `slow` times as long as usual, and the next `torn` of them may compute tokens of requests that
# were called off. `gone` is the last request that was done and was not asked for since; who was done before it is
# `behind` it. While it `flows`, the first `flowing` of its running requests decode in the pass that is computed, `read`
# are the tokens that they read; of its `filled` places in `running`, those of who is done are left empty until there is
# need for them.
_ENGINE = np.dtype(
    _whole(
        "count",
        "head",
        "tail",
        "which",
        "free",
        "loose",
        "tags",
        "stretch",
        "left",
        "read",
        "knock",
        "thrown_out",
        "passes",
        "first",
        "settled",
        "joined",
        "seen",
        "torn",
        "gone",
        "flows",
        "flowing",
        "filled",
    )
    + _whole("outstanding")
    + _seconds("since_s", "started_s", "ends_s", "busy_s", "running_s", "block_s", "slow", "worked_s")
)
# A request's part of a pass, as in `reference.scheduler.Part`.
_PART = np.dtype(_whole("request", "tokens", "before", "brings"))
# Blocks that still hold tokens of a request that was thrown out: `ahead` blocks without an owner are used before
# them, and `kept` of them are left. Where there are slots, `idle` are those without a request, round from `first` on,
# the longest idle first: no array of their own, since every call passes all of `World`.
_TAG = np.dtype(_whole("owner", "ahead", "kept", "idle"))


class World(NamedTuple):
    """All that the kernel reads and writes.

    Attributes:
        rules: as `EngineRules`, in whole numbers; the last is `VLLM_V1` or `LLAMA_CPP`.
        table: as `StepTable.arrays`.
        rows, engines: by request, and by replica.
        running: numbers of running requests in the order of admission, or of their slots, shape
            `(replicas, 2 * sequences_max)`, as who is done may leave an empty place.
        parts: the pass that is computed and the one composed ahead, shape `(replicas, 2, sequences_max)`.
        sizes: of each of them how many `PARTS` it has, tokens of prompts, the sum over these of the tokens before
            them, requests that decode, and tokens that these read; shape `(replicas, 2, 5)`.
        tags: shape `(replicas, sequences_max)`, in the order in which the blocks will be used.
        wheel: a request whose last pass has each number modulo `_WHEEL`, where the engine flows, shape
            `(replicas, _WHEEL)`; the others are `behind` it.
        phase: running requests by computed tokens modulo the size of a block, at the beginning of a run; where the
            engine flows, by computed tokens less the number of the pass.
        gaps: between output tokens, by cell.
        totals: `STEPS` to `FREED`.
        largest: as in `TokenRecords`.
        noise_seed: as of `TokenDraws`.
        window_s: what counts of gaps and integrals: passes that end from the one instant on, before the other; shape
            `(2,)`. [s]
    """

    rules: tuple[int, ...]
    table: tuple[Floats, ...]
    rows: Structs
    engines: Structs
    running: Integers
    wheel: Integers
    parts: Structs
    sizes: Integers
    tags: Structs
    phase: Integers
    gaps: Integers
    totals: Integers
    largest: Floats
    window_s: Floats
    noise_seed: int


def serve_engines(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    routing: Routing,
    draws: TokenDraws,
    window_s: tuple[float, float] = ALWAYS,
    queue_limit: int | None = None,
) -> TokenRecords:
    """Serve all requests of `draws`; the same records as `run_engines`, bit for bit."""
    draws.require_served(rules)
    count, loop, policy = len(draws.arrived_s), draws.loop, ROUTINGS.index(routing)
    rows = rows_for(count)
    rows["input"], rows["output"] = draws.input_tokens, draws.output_tokens
    rows["assumed"] = draws.cached_tokens
    sequences = min(rules.sequences_max, max(1, count))
    world = world_of(table, rules, replicas, sequences, draws.noise_seed, window_s)._replace(rows=rows)
    arrived_s, limit = draws.arrived_s, -1 if queue_limit is None else queue_limit
    if loop is None:
        _serve(world, arrived_s, draws.routing, policy, limit)
    else:
        arrived_s, world.window_s[:] = np.zeros(count), np.inf
        returns = returns_of(loop.users, count, loop.spread_s)
        _serve_users(world, returns, loop.think_s, arrived_s, draws.routing, policy, limit, loop.counted)
    rows = world.rows
    if not ((rows["finished_s"] > 0.0) | (rows["replica"] == NO_REPLICA)).all():
        raise RuntimeError("requests were left in the line")
    return records_of(world, arrived_s, rows)


def records_of(world: World, arrived_s: Floats, requests: Structs) -> TokenRecords:
    """The records of a run.

    Args:
        requests: with `first_s`, `finished_s`, `preemptions` and `replica`, shape `(requests,)`.
    """
    engines = world.engines
    totals = [int(one) for one in world.totals]
    largest = world.largest.tolist()
    return TokenRecords(
        arrived_s=arrived_s,
        first_s=requests["first_s"].copy(),
        finished_s=requests["finished_s"].copy(),
        preemptions=requests["preemptions"].copy(),
        replica=requests["replica"].copy(),
        gap_counts=world.gaps,
        steps=totals[STEPS],
        busy_s=math.fsum(engines["busy_s"]),
        running_s=math.fsum(engines["running_s"]),
        block_s=math.fsum(engines["block_s"]),
        computed=totals[COMPUTED],
        thrown_out=totals[THROWN_OUT],
        cached=totals[CACHED],
        allocated=totals[ALLOCATED],
        freed=totals[FREED],
        largest=(largest[0], largest[1], largest[2], largest[3]),
    )


def world_of(
    table: StepTable,
    rules: EngineRules,
    replicas: int,
    sequences: int,
    noise_seed: int,
    window_s: tuple[float, float],
) -> World:
    """Engines at rest, without requests, of which at most `sequences` run at once."""
    engines = np.zeros(replicas, dtype=_ENGINE)
    engines["head"] = engines["tail"] = NO_REQUEST
    engines["stretch"], engines["ends_s"], engines["since_s"] = -1, np.inf, np.inf
    engines["settled"] = sequences
    engines["gone"] = NO_REQUEST
    engines["free"] = engines["loose"] = rules.blocks
    engines["slow"] = 1.0
    tags = np.zeros((replicas, sequences), dtype=_TAG)
    tags["idle"] = np.arange(sequences)[::-1]  # of slots that were never used the highest is taken first
    return World(
        rules=(*(int(one) for one in rules[:-1]), _POLICIES.index(rules.scheduler)),
        table=table.arrays,
        rows=rows_for(0),
        engines=engines,
        running=np.zeros((replicas, 2 * sequences), dtype=np.int64),
        wheel=np.zeros((replicas, _WHEEL), dtype=np.int64),
        parts=np.zeros((replicas, 2, sequences), dtype=_PART),
        sizes=np.zeros((replicas, 2, 5), dtype=np.int64),
        tags=tags,
        phase=np.zeros((replicas, rules.block_tokens), dtype=np.int64),
        gaps=np.zeros(CELLS, dtype=np.int64),
        totals=np.zeros(6, dtype=np.int64),
        largest=np.zeros(4),
        window_s=np.array(window_s, dtype=np.float64),
        noise_seed=noise_seed,
    )


def rows_for(requests: int) -> Structs:
    """Requests of which nothing is known yet."""
    rows = np.zeros(requests, dtype=_REQUEST)
    rows["behind"] = NO_REQUEST
    return rows


@inlined
def _nodes_around(axis: Floats, place: float) -> tuple[int, int]:
    """The nodes around a place; the outermost two where it lies beyond."""
    low = first_above(axis, place) - 1
    low = min(max(low, 0), max(0, len(axis) - 2))
    return low, min(low + 1, len(axis) - 1)


@inlined
def _place(axis: Floats, place: float) -> tuple[int, int, float]:
    """The nodes around a place, and how far it is on the way from the one to the other."""
    low, high = _nodes_around(axis, place)
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
def _noise(noise: Floats, seed: int, replica: int, number: int) -> float:
    """The factor of `pass_noise`."""
    factor = 1.0
    if len(noise) > 0:
        word = np.uint64(seed) + np.uint64(replica) * np.uint64(REPLICA_STEP)
        word = word + np.uint64(number + 1) * np.uint64(PASS_STEP)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(MIX_ONE)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(MIX_TWO)
        place = float((word ^ (word >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53 * (len(noise) - 1)
        low = int(place)
        factor = noise[low] + (place - low) * (noise[low + 1] - noise[low])
    return factor


@borrowing
def _use(world: World, r: int, blocks: int) -> None:
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
        drop_tag(world, r, 0)
    engines[r].loose -= blocks


@inlined
def _hold(world: World, block: int, r: int, request: int, tokens: int) -> None:
    """Hold enough blocks for this many tokens, which are free."""
    row = world.rows[request]
    missing = -(-tokens // block) - row.held
    if missing > 0:
        _use_soon(world, r, missing)
        row.held += missing


@inlined
def _use_soon(world: World, r: int, blocks: int) -> None:
    """`_use`, without the cost of a call where no request that has gone holds any."""
    engine = world.engines[r]
    if engine.tags > 0:
        _use(world, r, blocks)
    else:
        engine.free -= blocks
        engine.loose -= blocks
        world.totals[ALLOCATED] += blocks


@borrowing
def drop_tag(world: World, r: int, place: int) -> None:
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


@borrowing
def found(world: World, r: int, request: int) -> int:
    """Where the blocks are that a request that was thrown out finds again."""
    engines, tags = world.engines, world.tags
    for at in range(engines[r].tags):
        if tags[r, at].owner == request:
            return at
    return NO_REQUEST


@inlined
def release(world: World, r: int, request: int, full: int) -> None:
    """Free all blocks of a request, `full` of which can be found again."""
    rows, engines, tags, totals = world.rows, world.engines, world.tags, world.totals
    held = rows[request].held
    totals[FREED] += held
    engines[r].free += held
    if full > 0:
        at = engines[r].tags
        tags[r, at].owner, tags[r, at].kept = request, full
        tags[r, at].ahead = engines[r].loose + held - full
        engines[r].loose = 0
        engines[r].tags = at + 1
    else:
        engines[r].loose += held
    rows[request].held = 0


@borrowing
def _grow(world: World, block: int, r: int, request: int, tokens: int) -> bool:
    """Hold enough blocks for this many tokens; False, and nothing done, where too few are free."""
    rows, engines = world.rows, world.engines
    missing = -(-tokens // block) - rows[request].held
    if missing > engines[r].free:
        return False
    if missing > 0:
        _use(world, r, missing)
        rows[request].held += missing
    return True


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
    rows[request].computed = after
    rows[request].due += brings


@borrowing
def _compose(world: World, r: int, buffer: int) -> None:
    """The next pass of a replica, into one of its two buffers."""
    if world.rules[8] == LLAMA_CPP:
        _compose_slots(world, r, buffer)
    else:
        _compose_blocks(world, r, buffer)


@inlined
def _compose_blocks(world: World, r: int, buffer: int) -> None:
    """The next pass by the rules of `reference.vllm`."""
    rules, rows, engines, running = world.rules, world.rows, world.engines, world.running
    parts, sizes = world.parts, world.sizes
    sequences_max, budget, _, block, chunked, _, caching, reserve, _ = rules
    members = prompt = past = decoding = read = 0
    preempted, place = False, 0
    while place < engines[r].count and budget > 0:
        request = running[r, place]
        row = rows[request]
        before, known = row.computed, row.input + row.generated + row.due
        tokens = min(known - before, budget)
        if tokens == 0 or row.generated + row.due == row.output:
            place += 1
            continue
        after = before + tokens
        missing = -(-after // block) - row.held if after > row.held * block else 0
        own = False
        while missing > engines[r].free and not own:
            preempted = True
            own = _throw_out(world, r, block, caching) == request
        if own:
            break
        if missing > 0:
            _use(world, r, missing)
            row.held += missing
        part = parts[r, buffer, members]  # from here on as `_add_part`, with sums in registers
        part.request, part.tokens, part.before, part.brings = request, tokens, before, after == known
        members += 1
        if tokens == 1 and before >= row.input:
            decoding += 1
            read += after
        else:
            prompt += tokens
            past += tokens * before
        row.computed = after
        row.due += after == known
        budget -= tokens
        place += 1
    size = sizes[r, buffer]
    size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = members, prompt, past, decoding, read
    engines[r].thrown_out = preempted
    if not preempted:
        _admit(world, sequences_max, budget, block, chunked, reserve, r, buffer, engines[r].count)


@borrowing
def _throw_out(world: World, r: int, block: int, caching: int) -> int:
    """The last admitted request leaves the cache, and goes to the head of the line; its number."""
    rows, engines, running, totals = world.rows, world.engines, world.running, world.totals
    engines[r].count -= 1
    out = running[r, engines[r].count]
    release(world, r, out, rows[out].computed // block if caching else 0)
    totals[THROWN_OUT] += rows[out].computed
    rows[out].computed = 0
    rows[out].preemptions += 1
    rows[out].behind = engines[r].head
    if engines[r].head == NO_REQUEST:
        engines[r].tail = out
    engines[r].head = out
    return int(out)


@inlined
def _admit(
    world: World,
    sequences_max: int,
    budget: int,
    block: int,
    chunked: int,
    reserve: int,
    r: int,
    buffer: int,
    place: int,
) -> int:
    """Waiting requests, the first in the line first, while they fit; they run from a place on, and it is moved on."""
    rows, engines, running, tags, totals = world.rows, world.engines, world.running, world.tags, world.totals
    while engines[r].head != NO_REQUEST and budget > 0 and engines[r].count < sequences_max:
        request = engines[r].head
        known = rows[request].input + rows[request].generated + rows[request].due
        at = found(world, r, request) if rows[request].preemptions > 0 else NO_REQUEST
        hits = 0 if at == NO_REQUEST else min(tags[r, at].kept, (known - 1) // block)
        before = max(hits, min(rows[request].assumed, known - 1) // block) * block
        tokens = known - before
        if not chunked and tokens > budget:
            return place
        tokens = min(tokens, budget)
        reserved = known if reserve else before + tokens
        if -(-reserved // block) > engines[r].free:
            return place
        engines[r].head = rows[request].behind
        if engines[r].head == NO_REQUEST:
            engines[r].tail = NO_REQUEST
        if hits > 0:
            tags[r, at].kept -= hits
            drop_tag(world, r, at)
            engines[r].free -= hits
            totals[ALLOCATED] += hits
            rows[request].held = hits
        _hold(world, block, r, request, before + tokens)
        running[r, place] = request
        place += 1
        engines[r].count += 1
        totals[CACHED] += before
        rows[request].computed = before
        _add_part(world, r, buffer, request, tokens)
        budget -= tokens
    return place


@borrowing
def _compose_slots(world: World, r: int, buffer: int) -> None:
    """The next pass by the rules of `reference.llama_cpp`."""
    rows, engines, running, sizes = world.rows, world.engines, world.running, world.sizes
    _fill_slots(world, r)
    sizes[r, buffer, :] = 0
    for at in range(engines[r].count):
        request = running[r, at]
        if rows[request].generated > 0:
            _grow(world, 1, r, request, rows[request].computed + 1)
            _add_part(world, r, buffer, request, 1)
    budget = world.rules[1] - sizes[r, buffer, PARTS]
    for at in range(engines[r].count):
        request = running[r, at]
        tokens = min(rows[request].input - rows[request].computed, budget)
        if rows[request].generated == 0 and tokens > 0:
            _grow(world, 1, r, request, rows[request].computed + tokens)
            _add_part(world, r, buffer, request, tokens)
            budget -= tokens


@borrowing
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


@borrowing
def idle(world: World, r: int, slot: int) -> None:
    """A slot is idle from now on, while its request still counts as running; slots of one pass are taken in order."""
    engines, tags = world.engines, world.tags
    slots = tags.shape[1]
    first, at = engines[r].first, slots - engines[r].count
    while at > engines[r].settled and tags[r, (first + at - 1) % slots].idle > slot:
        tags[r, (first + at) % slots].idle = tags[r, (first + at - 1) % slots].idle
        at -= 1
    tags[r, (first + at) % slots].idle = slot


@borrowing
def empty_slots(world: World, r: int) -> None:
    """No slot was ever used: the highest is taken first."""
    slots = world.tags.shape[1]
    for place in range(slots):
        world.tags[r, place].idle = slots - 1 - place
    world.engines[r].first, world.engines[r].settled = 0, slots


@borrowing
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


@inlined
def _note_largest(world: World, requests: float, tokens: float, read: float, past: float) -> None:
    largest = world.largest
    largest[0] = max(largest[0], requests)
    largest[1] = max(largest[1], tokens)
    largest[2] = max(largest[2], read / max(1.0, requests))
    largest[3] = max(largest[3], past)


@borrowing
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
    size = world.sizes[r, engine.which]
    tokens, requests, read = size[PROMPT], size[DECODING], size[READ]
    past = size[PAST] / max(1, tokens)
    _note_largest(world, requests, tokens, read, past)
    world.totals[COMPUTED] += tokens + requests
    engine.started_s = now_s
    noise = _noise(table[7], world.noise_seed, r, engine.passes)
    engine.ends_s = now_s + pass_s(table, tokens, past, requests, read) * noise * engine.slow
    engine.passes += 1


@inlined
def _start(world: World, r: int, now_s: float) -> None:
    """Compute the pass that is composed; compose the one after it where that is done ahead."""
    rules, rows, engines, running, sizes, phase = (
        world.rules, world.rows, world.engines, world.running, world.sizes, world.phase,
    )  # fmt: skip
    block, ahead = rules[3], rules[5]
    buffer = engines[r].which
    size = sizes[r, buffer]
    _compute(world, r, now_s)
    other = 1 - buffer
    sizes[r, other, PARTS] = 0
    if ahead:
        _compose(world, r, other)
    if size[PROMPT] > 0 or size[PARTS] != engines[r].count or engines[r].torn > 0:  # as `_is_all_decode`
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


@borrowing
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
    blocks, block, ahead = rules[2], rules[3], rules[5]
    members, read, done = engine.count, engine.read, engine.stretch
    started_s, ends_s, busy_s = engine.started_s, engine.ends_s, engine.busy_s
    worked_s = engine.worked_s
    running_s, block_s = engine.running_s, engine.block_s
    from_s, to_s = world.window_s[0], world.window_s[1]
    wide, narrow = _nodes_around(table[2], members)
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
            _use(world, r, needed)
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
        noise = _noise(table[7], world.noise_seed, r, engine.passes)
        ends_s = started_s + ((1.0 - between) * first + between * second) * noise * engine.slow
        engine.passes += 1
    totals[STEPS] += steps
    if done - begun > is_over:
        _see(world, r)
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
    block, ahead = rules[3], rules[5]
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


@borrowing
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
        release(world, r, request, 0)
        if world.rules[8] == LLAMA_CPP:
            idle(world, r, rows[request].slot)
        engines[r].count -= 1
        engines[r].outstanding -= 1


@inlined
def _hand_out(world: World, r: int, now_s: float, counts: bool) -> None:  # noqa: FBT001
    """The tokens of a pass that has ended; whether the gaps before them count."""
    rows, engines, parts, sizes, gaps = world.rows, world.engines, world.parts, world.sizes, world.gaps
    buffer, done = engines[r].which, 0
    since_s, alike = now_s, 0  # most had their last token at one instant, and are counted together
    for at in range(sizes[r, buffer, PARTS]):
        if not parts[r, buffer, at].brings:
            continue
        row = rows[parts[r, buffer, at].request]
        row.due -= 1
        row.generated += 1
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


@borrowing
def _dismiss_parts(world: World, r: int, buffer: int, now_s: float) -> None:
    """Requests that got their last token from a pass leave; who was thrown out meanwhile is in the line."""
    rows, engines, parts = world.rows, world.engines, world.parts
    for at in range(world.sizes[r, buffer, PARTS]):
        request = parts[r, buffer, at].request
        row = rows[request]
        if parts[r, buffer, at].brings and row.generated == row.output and row.held == 0:
            row.finished_s = now_s
            engines[r].outstanding -= 1
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
        engine.block_s += span_s * (world.rules[2] - engine.free)
    _hand_out(world, r, now_s, counts)


@inlined
def begin_pass(world: World, r: int, now_s: float) -> None:
    """The next pass of a replica, after the one before it or from rest; it rests where nothing can be computed."""
    engines, sizes, ahead = world.engines, world.sizes, world.rules[5]
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


@borrowing
def _enter_flow(world: World, r: int) -> None:
    """Stop looking at requests that decode, from the pass that has just begun until they are done."""
    rules, rows, engines, running = world.rules, world.rows, world.engines, world.running
    parts, size, phase = world.parts, world.sizes[r, 0], world.phase
    engine, block = engines[r], rules[3]
    if rules[8] == LLAMA_CPP or rules[5] or size[PARTS] != engine.count or engine.count == 0:
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


@borrowing
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
    rows, engine, running, block = world.rows, world.engines[r], world.running, world.rules[3]
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
    rows, engine, phase, block = world.rows, world.engines[r], world.phase, world.rules[3]
    passes, place, kept = engine.passes, engine.passes % _WHEEL, NO_REQUEST
    request = world.wheel[r, place]
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
            engine.outstanding -= 1
            release(world, r, request, 0)
        else:
            row.behind, kept = kept, request
        request = following
    world.wheel[r, place] = kept


@inlined
def _end_flowing(world: World, r: int, now_s: float) -> None:
    """A pass has ended of an engine that flows; who has computed its prompt flows from then on."""
    rows, engine, parts, phase, gaps = world.rows, world.engines[r], world.parts, world.phase, world.gaps
    span_s, block = now_s - engine.started_s, world.rules[3]
    world.totals[STEPS] += 1
    engine.worked_s += span_s
    counts = world.window_s[0] <= now_s < world.window_s[1]
    if counts:
        engine.busy_s += span_s
        engine.running_s += span_s * engine.count
        engine.block_s += span_s * (world.rules[2] - engine.free)
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
    if world.wheel[r, engine.passes % _WHEEL] != NO_REQUEST:
        _dismiss_last(world, r, now_s)


@inlined
def _note_last(world: World, r: int, request: int, number: int) -> None:
    """The number of a request's last pass, if the one of this number ends its prompt."""
    row = world.rows[request]
    if row.due:
        row.last = number + row.input + row.output - 1 - row.computed
        place = row.last % _WHEEL
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
            _hold(world, rules[3], r, request, row.computed + tokens)
            _add_part(world, r, 0, request, tokens)
            _note_last(world, r, request, number)
            budget -= tokens
    if 2 * engine.filled > running.shape[1]:
        _close_up(world, r)
    first = engine.filled
    engine.filled = _admit(world, rules[0], budget, rules[3], rules[4], rules[7], r, 0, first)
    for at in range(first, engine.filled):
        _note_last(world, r, running[r, at], number)


@inlined
def _compose_flowing(world: World, r: int) -> bool:
    """The next pass by the rules of `_compose_blocks`; False, and nothing done, where tokens or blocks run short."""
    rules, rows, engine, running = world.rules, world.rows, world.engines[r], world.running
    block, size = rules[3], world.sizes[r, 0]
    needed = world.phase[r, (-engine.passes) % block]
    free, budget = engine.free - needed, rules[1] - engine.flowing
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
        _use_soon(world, r, needed)
    engine.read += engine.flowing
    size[PARTS], size[PROMPT], size[PAST], size[DECODING], size[READ] = 0, 0, 0, engine.flowing, engine.read
    engine.thrown_out = 0
    if engine.flowing < engine.count or engine.head != NO_REQUEST:
        _bring_young(world, r, rules[1] - engine.flowing)
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
        elif engines[r].count < world.rules[0]:
            engines[r].knock = 1
    else:
        rows[engines[r].tail].behind = request
    engines[r].tail = request


@inlined
def is_line_full(waiting: int, limit: int) -> bool:
    """Whether as many wait for a place among the running requests as may; a limit below 0 is none."""
    return 0 <= limit <= waiting


@inlined
def _arrive(world: World, request: int, now_s: float, uniforms: Floats, routing: int, limit: int) -> None:
    """A request arrives at the replica that the router picks, which refuses it where too many wait."""
    rows, engines = world.rows, world.engines
    replicas = len(engines)
    r = first_place(routing, request, uniforms, 2 * request, replicas)
    if routing == LEAST_OUTSTANDING:
        for other in range(replicas):
            advance(world, other, now_s, False)  # noqa: FBT003  (compiled code takes positions)
        for other in range(1, replicas):
            r = fewer_outstanding(engines, r, other)
    if routing == POWER_OF_TWO:
        second = other_place(routing, r, uniforms, 2 * request, replicas)
        advance(world, r, now_s, False)  # noqa: FBT003
        advance(world, second, now_s, False)  # noqa: FBT003
        r = fewer_outstanding(engines, r, second)
    advance(world, r, now_s, False)  # noqa: FBT003
    if is_line_full(engines[r].outstanding - engines[r].count, limit):
        row = rows[request]
        row.replica, row.first_s, row.finished_s = NO_REPLICA, np.nan, np.nan
    else:
        rows[request].replica = r
        engines[r].outstanding += 1
        join(world, r, request, now_s)


@borrowing
def _serve(world: World, arrived_s: Floats, uniforms: Floats, routing: int, limit: int) -> None:
    """Let requests arrive, one after the other."""
    for request in range(len(arrived_s)):
        _arrive(world, request, arrived_s[request], uniforms, routing, limit)
    for r in range(len(world.engines)):
        advance(world, r, np.inf, False)  # noqa: FBT003


@inlined
def _event_s(world: World, r: int) -> float:
    """The instant at which something happens at a replica; a pass from rest begins just after it. [s]"""
    engine = world.engines[r]
    if engine.ends_s < np.inf:
        return float(engine.ends_s)
    return np.inf if engine.head == NO_REQUEST else float(np.nextafter(engine.since_s, np.inf))


@inlined
def _earliest(world: World, before_s: float) -> tuple[int, float]:
    """The replica at which something happens first, and how far it may go on before others might change that. [s]"""
    first, first_s, second_s = NO_REPLICA, np.inf, before_s
    for r in range(len(world.engines)):
        instant_s = _event_s(world, r)
        if instant_s < first_s and instant_s <= before_s:
            first, first_s, second_s = r, instant_s, min(first_s, second_s)
        else:
            second_s = min(second_s, instant_s)
    return first, second_s


@inlined
def _count_from(world: World, request: int, counted: tuple[int, int], now_s: float) -> None:
    """Time counts from the arrival of the first request that counts to that of the first that no longer does."""
    for end in range(2):
        if request == counted[end]:
            world.window_s[end] = now_s


@borrowing
def _serve_users(
    world: World,
    returns: Floats,
    think_s: Floats,
    arrived_s: Floats,
    uniforms: Floats,
    routing: int,
    limit: int,
    counted: tuple[int, int],
) -> None:
    """Let users send, wait and think until all requests have come, and serve those that are left.

    Args:
        returns: heap of the instants at which users send.
        arrived_s: is filled, by request.
        counted: as in `Loop`; until then nothing counts.
    """
    rows, engines = world.rows, world.engines
    for request in range(len(rows)):
        while True:
            now_s = next_return_s(returns)
            r, until_s = _earliest(world, now_s)
            if r == NO_REPLICA:
                break
            advance(world, r, until_s, True)  # noqa: FBT003
            while engines[r].gone != NO_REQUEST:
                done = engines[r].gone
                come_back(returns, rows[done].finished_s + think_s[done])
                engines[r].gone = rows[done].behind
        take_earliest(returns)
        arrived_s[request] = now_s
        _count_from(world, request, counted, now_s)
        _arrive(world, request, now_s, uniforms, routing, limit)
        if rows[request].replica == NO_REPLICA:
            come_back(returns, now_s + think_s[request])
    for r in range(len(engines)):
        advance(world, r, np.inf, False)  # noqa: FBT003
