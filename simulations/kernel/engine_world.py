"""Engine world: all that the kernel of engines reads and writes, and what it has on record after a run."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable
from capacity.traffic.sessions.turns import Turns
from simulations.draws.cells import CELLS
from simulations.draws.records import Floats, Integers
from simulations.draws.reserves import RATIO_FIRST
from simulations.draws.tokens import EngineRules, TokenDraws, TokenRecords
from simulations.kernel.state import NO_REQUEST, Structs

Indices = npt.NDArray[np.int32]
NO_BLOCK = -1  # and no content
WHEEL = 1024
_POLICIES = (Scheduler.VLLM_V1, Scheduler.LLAMA_CPP, Scheduler.SGLANG)
VLLM_V1, LLAMA_CPP, SGLANG = range(3)
NO_REPLICA = -1  # of a request that a full queue has refused
STEPS, COMPUTED, THROWN_OUT, CACHED, ALLOCATED, FREED, WASTED = range(7)
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
# need for them. By SGLang's rules it may be `full`, the prompt of the request that is `cut` is computed in part, and a
# share of the output tokens to come, its `ratio`, is kept room for; it `looks` at who waits. Its `_RULES` are as in
# `EngineRules`.
_RULES = ("part_max", "lone_is_whole", "spare", "unfilled_first", "mixed")
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
    + _whole("outstanding", "changed", "owed", "full", "cut", "looks", *_RULES)
    + [("ratio", np.float64)]
    + _seconds(
        "since_s", "started_s", "ends_s", "busy_s", "running_s", "block_s", "slow", "worked_s", "changed_s"
    )
)
# A request's part of a pass, as in `reference.scheduler.Part`.
_PART = np.dtype(_whole("request", "tokens", "before", "brings"))
# A block of a cache whose contents others may find: its content, how many use it, its neighbours among the free ones,
# and the next block with the same content. Behind the last block of a replica is the end of its ring of free ones,
# whose `twin` is the first of those in use that are not in the book yet, linked by `behind`.
_BLOCK = np.dtype(
    [
        ("content", np.int64),
        ("users", np.int32),
        ("ahead", np.int32),
        ("behind", np.int32),
        ("twin", np.int32),
    ]
)
# A request to such a cache, as in `traffic.sessions.Turns`: `at`, `listed` and `private` say what its blocks hold,
# `labelled` of them have their content, `booked` are in the book on the page `page`, it found `hits` tokens when it was
# first admitted (-1 before), and `place` is its place in the order of admission.
_TURN = np.dtype(_whole("at", "listed", "private", "labelled", "booked", "page", "hits", "place"))
# Blocks that still hold tokens of a request that was thrown out: `ahead` blocks without an owner are used before
# them, and `kept` of them are left. Where there are slots, `idle` are those without a request, round from `first` on,
# the longest idle first: no array of their own, since every call passes all of `World`.
_TAG = np.dtype(_whole("owner", "ahead", "kept", "idle"))


class Rules(NamedTuple):
    """`EngineRules` in whole numbers, but for those that `_ENGINE` has, as every call passes all of these.

    Attributes:
        policy: `VLLM_V1`, `LLAMA_CPP` or `SGLANG`.
        flows: whether engines may go through passes without looking at the requests, as none is drafted for.
    """

    sequences_max: int
    tokens_max: int
    blocks: int
    block_tokens: int
    chunked: int
    ahead: int
    caching: int
    reserve: int
    policy: int
    flows: int


# What is known of a request's drafts: as in `reference.request.Request`, `drafted`, `events`, and `draws`.
_DRAFTED = np.dtype(_whole("drafted", "events", "draws"))


class Drafts(NamedTuple):
    """What engines with a drafter have beside the world.

    Attributes:
        acceptance, lookahead, starts_ahead, draft_slots, drafts_timed: as in `EngineRules`.
        rows: by request.
        parts: tokens drafted in each part of the passes, shape `(replicas, 2, sequences_max)`.
    """

    acceptance: Floats
    rows: Structs
    parts: Integers
    lookahead: int
    starts_ahead: int
    draft_slots: int
    drafts_timed: int


class World(NamedTuple):
    """All that the kernel reads and writes.

    Attributes:
        table: as `StepTable.arrays`.
        rows, engines: by request, and by replica.
        running: numbers of running requests in the order of admission, or of their slots, shape
            `(replicas, 2 * sequences_max)`, as who is done may leave an empty place.
        parts: the pass that is computed and the one composed ahead, shape `(replicas, 2, sequences_max)`.
        sizes: of each of them how many `PARTS` it has, tokens of prompts, the sum over these of the tokens before
            them, requests that decode, and tokens that these read; shape `(replicas, 2, 5)`.
        tags: shape `(replicas, sequences_max)`, in the order in which the blocks will be used.
        wheel: a request whose last pass has each number modulo `WHEEL`, where the engine flows, shape
            `(replicas, WHEEL)`; the others are `behind` it.
        phase: running requests by computed tokens modulo the size of a block, at the beginning of a run; where the
            engine flows, by computed tokens less the number of the pass.
        gaps: between output tokens, by cell.
        totals: `STEPS` to `WASTED`.
        largest: as in `TokenRecords`.
        noise_seed: as of `TokenDraws`.
        turns: by request where others may find what its blocks hold, else empty; and `contents` as in `Turns`.
        blocks: shape `(replicas, blocks + 1)`, or `(0,)` where each request finds at most its own.
        places: of the first block with a content in a table by hash, -1 where there is none; shape `(replicas, 2^k)`.
        book: blocks of running requests, a page each, shape `(replicas, sequences, blocks of the longest request)`.
        window_s: what counts of gaps and integrals: passes that end from the one instant on, before the other; shape
            `(2,)`. [s]
        drafts: `Drafts`, or empty where nothing is drafted, which costs nothing.
    """

    rules: Rules
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
    turns: Structs
    contents: Integers
    blocks: Structs
    places: Indices
    book: Indices
    drafts: Any


def has_drafts(world: Any) -> bool:
    """Whether a world, by its type, has a drafter."""
    return isinstance(world.types[World._fields.index("drafts")], types.NamedTuple)


def records_of(
    world: World, arrived_s: Floats, requests: Structs, hit_tokens: Integers, events: Integers
) -> TokenRecords:
    """The records of a run.

    Args:
        hit_tokens, events: of each request, whether it was answered or not, shape `(requests,)`.
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
        hit_tokens=np.where(np.isnan(requests["finished_s"]), 0, hit_tokens),
        events=np.where(np.isnan(requests["finished_s"]), 0, events),
        gap_counts=world.gaps,
        steps=totals[STEPS],
        busy_s=math.fsum(engines["busy_s"]),
        running_s=math.fsum(engines["running_s"]),
        block_s=math.fsum(engines["block_s"]),
        computed=totals[COMPUTED],
        thrown_out=totals[THROWN_OUT],
        wasted=totals[WASTED],
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
    turns: Turns | None = None,
    longest: int = 0,
) -> World:
    """Engines at rest, without requests, of which at most `sequences` run at once.

    Args:
        turns: whose contents others may find; None where each request finds at most its own.
        longest: most tokens that a request computes.
    """
    engines = np.zeros(replicas, dtype=_ENGINE)
    engines["head"] = engines["tail"] = NO_REQUEST
    engines["stretch"], engines["ends_s"], engines["since_s"] = -1, np.inf, np.inf
    engines["settled"] = sequences
    engines["gone"] = NO_REQUEST
    engines["free"] = engines["loose"] = rules.blocks
    engines["slow"] = 1.0
    for name in _RULES:
        engines[name] = getattr(rules, name)
    engines["cut"], engines["ratio"] = NO_REQUEST, RATIO_FIRST
    pages = sequences + (rules.scheduler is Scheduler.SGLANG)  # one more for a prompt that is cut
    tags = np.zeros((replicas, pages), dtype=_TAG)
    tags["idle"] = np.arange(pages)[::-1]  # of slots that were never used the highest is taken first
    return World(
        rules=Rules._make(
            (
                *(int(getattr(rules, name)) for name in Rules._fields[:-2]),
                _POLICIES.index(rules.scheduler),
                int(_may_flow(rules, turns) and not rules.acceptance),
            )
        ),
        table=table.arrays,
        rows=rows_for(0),
        engines=engines,
        running=np.zeros((replicas, 2 * sequences), dtype=np.int64),
        wheel=np.zeros((replicas, WHEEL), dtype=np.int64),
        parts=np.zeros((replicas, 2, sequences), dtype=_PART),
        sizes=np.zeros((replicas, 2, 5), dtype=np.int64),
        tags=tags,
        phase=np.zeros((replicas, rules.block_tokens), dtype=np.int64),
        gaps=np.zeros(CELLS, dtype=np.int64),
        totals=np.zeros(7, dtype=np.int64),
        largest=np.zeros(4),
        window_s=np.array(window_s, dtype=np.float64),
        noise_seed=noise_seed,
        drafts=_drafts_of(rules, replicas, sequences),
        **_cache_of(replicas, pages, rules, turns, longest),
    )


def _cache_of(
    replicas: int, pages: int, rules: EngineRules, turns: Turns | None, longest: int
) -> dict[str, Any]:
    """Blocks of which others may find what they hold, if requests are turns of sessions."""
    if turns is None:
        return {
            "turns": np.zeros(0, dtype=_TURN),
            "contents": np.zeros(0, dtype=np.int64),
            "blocks": np.zeros(0, dtype=_BLOCK),
            "places": np.zeros((replicas, 0), dtype=np.int32),
            "book": np.zeros((replicas, 0, 0), dtype=np.int32),
        }
    blocks = np.zeros((replicas, rules.blocks + 1), dtype=_BLOCK)
    ring = np.arange(rules.blocks + 1)
    blocks["ahead"], blocks["behind"] = (ring - 1) % len(ring), (ring + 1) % len(ring)
    blocks["content"] = blocks["twin"] = NO_BLOCK
    most = -(-(longest + rules.spare_tokens) // rules.block_tokens)
    return {
        "turns": turns_for(turns),
        "contents": turns.contents,
        "blocks": blocks,
        "places": np.full((replicas, 4 << rules.blocks.bit_length()), NO_BLOCK, dtype=np.int32),
        "book": np.empty((replicas, pages, most), dtype=np.int32),
    }


def _drafts_of(rules: EngineRules, replicas: int, sequences: int) -> Any:
    """The drafter of these rules, without requests; empty if there is none."""
    if not rules.acceptance:
        return ()
    return Drafts(
        acceptance=np.array(rules.acceptance),
        rows=drafted_for(0),
        parts=np.zeros((replicas, 2, sequences), dtype=np.int64),
        lookahead=rules.lookahead,
        starts_ahead=rules.starts_ahead,
        draft_slots=rules.draft_slots,
        drafts_timed=int(rules.drafts_timed),
    )


def drafted_for(requests: int, first: int = 0) -> Structs:
    """Requests for which nothing was drafted yet, numbered from the first on."""
    rows = np.zeros(requests, dtype=_DRAFTED)
    rows["drafted"], rows["draws"] = -1, np.arange(first, first + requests)
    return rows


def with_rows(world: World, rows: Structs) -> World:
    """The world with these requests, of which those it does not have yet come behind the others."""
    if not world.drafts:
        return world._replace(rows=rows)
    known = world.drafts.rows
    more = drafted_for(len(rows) - len(known), len(known))
    return world._replace(rows=rows, drafts=world.drafts._replace(rows=np.concatenate([known, more])))


def _may_flow(rules: EngineRules, turns: Turns | None) -> bool:
    """Whether no request can look for blocks of an answer before that is complete, as others list them."""
    return turns is None or bool((turns.listed * rules.block_tokens <= turns.input_tokens).all())


def turns_for(turns: Turns) -> Structs:
    """Turns of which no engine knows anything yet."""
    found = np.zeros(len(turns.at), dtype=_TURN)
    found["at"], found["listed"], found["private"] = turns.at, turns.listed, turns.private
    found["hits"] = -1
    return found


def rows_for(requests: int) -> Structs:
    """Requests of which nothing is known yet."""
    rows = np.zeros(requests, dtype=_REQUEST)
    rows["behind"] = NO_REQUEST
    return rows


def assumed_hits(rules: EngineRules, draws: TokenDraws) -> Integers:
    """Tokens that requests find in the cache as they are assumed to, shape `(requests,)`."""
    found = np.minimum(draws.cached_tokens, draws.input_tokens - 1)
    block = 1 if rules.scheduler is Scheduler.LLAMA_CPP else rules.block_tokens
    return found // block * block
