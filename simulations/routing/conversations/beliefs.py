"""Beliefs: all that the compiled routers of conversations know and remember.

A request is known by its number, which is that of its turn, and a replica by its index.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from capacity.question.plan import Routing
from capacity.server.engine.ring import RINGS, ring_of, spot_of
from capacity.server.engine.router import EXACT
from simulations.compiled import inlined
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import MIX_ONE, MIX_TWO, PASS_STEP
from simulations.routing.conversations.seen import Fleet
from simulations.routing.conversations.tables import table_for

Structs = npt.NDArray[np.void]
ROUTERS = tuple(one for one in Routing if one.needs_sessions)
(
    SESSION,
    SESSION_COOKIE,
    SESSION_HAPROXY,
    SESSION_NGINX,
    PREFIX_LLM_D,
    PREFIX_LLM_D_SCORES,
    PREFIX_SGLANG,
    PREFIX_DYNAMO,
    PREFIX_PRODUCTION_STACK,
) = range(len(ROUTERS))
_LLM_D = (PREFIX_LLM_D, PREFIX_LLM_D_SCORES)
BY_SESSION_ALONE = (SESSION, SESSION_HAPROXY, SESSION_NGINX)  # which look at no replica
NOWHERE = -1  # of a request that was not sent, or has nothing under way
UNIT_TOKENS = 64  # llm-d's smallest block
BITS = 62  # replicas that share a word
CONTENT_BITS = 40
_NO_LINES = dict.fromkeys(("first", "last", "oldest", "newest"), NOWHERE)


def _fields(kind: type, *names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names]


# A replica. It is `here` if it may be chosen, and `may` be by the rule. Its index knows `match` units of the prompt at
# hand. It has `inflight` tokens of prompts ahead and `held` different blocks, to which the prompt adds `added`; the
# requests that were sent there and count for either are a line from `first` to `last`. The contents in its index are
# `size`, in a line from `oldest` to `newest`. Its `queue` and the share `used` of its cache are as they were read last;
# of replicas that had cold prompts, who had one later has a higher `cold`. Choosing it would `cost` this much.
_REPLICA = np.dtype(
    _fields(np.int64, "here", "may", "match", "inflight", "held", "added", "first", "last")
    + _fields(np.int64, "oldest", "newest", "size", "queue", "cold")
    + _fields(np.float64, "used", "cost")
)
# A request: the `replica` where it counts, its `tokens` in flight, and who is `behind` it in that replica's line.
_SENT = np.dtype(_fields(np.int64, "replica", "tokens", "behind"))
# A session: its replica, and when its last turn came.
_COOKIE = np.dtype([("replica", np.int64), ("last_s", np.float64)])
# A content in a replica's index, and who came before and after it.
_LINK = np.dtype(_fields(np.int64, "content", "older", "newer"))


class Turned(Protocol):
    """Turns of sessions, as `capacity.traffic.sessions.turns.Turns`; the arrays have the shape `(turns,)`."""

    @property
    def session(self) -> Integers:
        """Number of each turn's session."""

    @property
    def input_tokens(self) -> Integers:
        """Whole prompts."""

    @property
    def at(self) -> Integers:
        """Where the contents of a turn's listed blocks begin in `contents`."""

    @property
    def listed(self) -> Integers:
        """How many blocks, from the first, are listed."""

    @property
    def private(self) -> Integers:
        """The content of block j that is not listed is this number plus j."""

    @property
    def contents(self) -> Integers:
        """Contents of listed blocks, shape `(any,)`."""


class Seats(NamedTuple):
    """A ring, as `capacity.server.engine.ring.Ring`, and where sessions are on it, by their numbers, in `spots`."""

    points: Integers
    servers: Integers
    is_nearest: bool
    spots: Integers


class Beliefs(NamedTuple):
    """What the compiled routers know and remember.

    Attributes:
        rule: the place of the router in `ROUTERS`.
        block_tokens, unit_blocks: tokens of a block, and blocks that are compared as one.
        unit_shift: whole part of the binary logarithm of these blocks.
        blocks: of the KV cache of each replica.
        asks_caches: whether matches are those of the caches themselves.
        seed: as in `Fleet`.
        tick_s: time between two readings of the replicas, 0 if there are none; the last one was at `read_s`, shape
            `(1,)`. [s]
        weights: what the router was told, as floats.
        replicas, sent, cookies: by replica, by request and by session.
        keys, values: a table. A content has its place in the index of the replica r by its key in column r, and a word
            of bits, of those that have it among replicas `BITS * w` to `BITS * w + BITS - 1`, in column `replicas + w`.
        links: what is in the index of each replica, shape `(replicas, most)`.
        known: which listed content was ever sent to which replica, by its number in `number`; shape
            `(contents, replicas)`.
        reach: how many blocks of prompts with the same private contents were ever sent there, shape
            `(different private contents, replicas)`.
        number, family: numbers from 0 on of the listed contents, in the order of `contents`, and of the private
            contents of each turn.
        session, input, at, listed, private, contents: as of the turns.
        ring: of a balancer that hashes sessions; empty of others.
    """

    rule: int
    block_tokens: int
    unit_blocks: int
    unit_shift: int
    blocks: int
    asks_caches: bool
    seed: np.uint64
    tick_s: float
    read_s: Floats
    weights: Floats
    replicas: Structs
    sent: Structs
    cookies: Structs
    keys: Integers
    values: Integers
    links: Structs
    known: npt.NDArray[np.uint8]
    reach: npt.NDArray[np.int32]
    number: Integers
    family: Integers
    session: Integers
    input: Integers
    at: Integers
    listed: Integers
    private: Integers
    contents: Integers
    ring: Seats


def beliefs_of(routing: Routing, fleet: Fleet, turns: Turned) -> Beliefs:
    """What a router knows before the first request.

    Raises:
        ValueError: contents or replicas have too large numbers.
    """
    rule, replicas = ROUTERS.index(routing), fleet.replicas
    asks = rule == PREFIX_DYNAMO or (rule in _LLM_D and fleet.rules.index == EXACT)
    is_recent, is_all = rule in _LLM_D and not asks, rule in (PREFIX_SGLANG, PREFIX_PRODUCTION_STACK)
    unit_blocks = max(1, UNIT_TOKENS // fleet.block_tokens) if is_recent else 1
    families, family = _families(turns)
    number = _numbers(turns.contents) if is_all else np.zeros(0, dtype=np.int64)
    most = _most(fleet, turns, family, unit_blocks) if is_recent else 0
    keys, values = table_for(most * (replicas + replicas * _words(replicas)))
    if is_recent:
        _require_keys(turns, replicas)
    return Beliefs(
        rule=rule,
        block_tokens=fleet.block_tokens,
        unit_blocks=unit_blocks,
        unit_shift=unit_blocks.bit_length() - 1,
        blocks=fleet.blocks,
        asks_caches=asks,
        seed=np.uint64(fleet.seed),
        tick_s=fleet.rules.read_s if rule == PREFIX_LLM_D_SCORES else 0.0,
        read_s=np.full(1, -np.inf),
        weights=_weights(rule, fleet),
        replicas=_filled(replicas, _REPLICA, here=1, **_NO_LINES),
        sent=_filled(len(family), _SENT, replica=NOWHERE, behind=NOWHERE),
        cookies=_filled(_sessions(turns), _COOKIE, replica=NOWHERE),
        keys=keys,
        values=values,
        links=np.zeros((replicas, most), dtype=_LINK),
        known=np.zeros((int(number.max(initial=-1)) + 1, replicas), dtype=np.uint8),
        reach=np.zeros((families if is_all else 0, replicas), dtype=np.int32),
        number=number,
        family=family.astype(np.int64),
        session=turns.session,
        input=turns.input_tokens,
        at=turns.at,
        listed=turns.listed,
        private=turns.private,
        contents=turns.contents,
        ring=_seats(routing, fleet, _sessions(turns)),
    )


def _sessions(turns: Turned) -> int:
    """One more than the highest number of a session."""
    return int(turns.session.max(initial=-1)) + 1


def _filled(count: int, kind: np.dtype[np.void], **values: int) -> Structs:
    """Structs whose fields are 0 but for some."""
    found = np.zeros(count, dtype=kind)
    for name, value in values.items():
        found[name] = value
    return found


def _seats(routing: Routing, fleet: Fleet, sessions: int) -> Seats:
    """The ring of a balancer with all servers and sessions on it; an empty one where a router has none."""
    if routing not in RINGS:
        nothing = np.zeros(0, dtype=np.int64)
        return Seats(nothing, nothing, is_nearest=False, spots=nothing)
    ring = ring_of(routing, fleet.replicas, fleet.rules.servers)
    return Seats(*ring, spots=_spots(routing, fleet, sessions))


def _spots(routing: Routing, fleet: Fleet, sessions: int) -> Integers:
    """Where sessions are on a ring, by their numbers: by their names, or by chance without any."""
    if fleet.names:
        return np.array([spot_of(routing, name) for name in fleet.names], dtype=np.int64)
    word = np.uint64(fleet.seed) + np.arange(1, sessions + 1, dtype=np.uint64) * np.uint64(PASS_STEP)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(MIX_ONE)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(MIX_TWO)
    return np.asarray((word ^ (word >> np.uint64(31))) >> np.uint64(32), dtype=np.int64)


def _words(replicas: int) -> int:
    """Words that have a bit for each replica."""
    return -(-replicas // BITS)


def _weights(rule: int, fleet: Fleet) -> Floats:
    """What a router was told, in the order in which its compiled form reads it."""
    rules = fleet.rules
    told = {
        SESSION_COOKIE: [rules.forget_s],
        PREFIX_LLM_D: [rules.sticky, rules.gate_s * fleet.prefill_tokens_per_s],
        PREFIX_LLM_D_SCORES: [rules.queue, rules.kv, rules.match, rules.cold],
        PREFIX_SGLANG: [float(rules.balance_abs), rules.balance_rel, rules.cache_threshold],
    }
    return np.array(told.get(rule, []), dtype=np.float64)


def _families(turns: Turned) -> tuple[int, Integers]:
    """How many different private contents there are, and a number from 0 on for those of each turn.

    They differ where they begin at different blocks, even if by the same number: blocks before these do.
    """
    private = np.unique(turns.private, return_inverse=True)[1]
    both = private * (int(turns.listed.max(initial=0)) + 1) + turns.listed
    found, family = np.unique(both, return_inverse=True)
    return len(found), family


def _numbers(contents: Integers) -> Integers:
    """Numbers from 0 on of contents: these themselves, unless they are far apart."""
    if contents.max(initial=0) < 4 * len(contents) + 1024:
        return contents
    return np.unique(contents, return_inverse=True)[1].astype(np.int64)


def _most(fleet: Fleet, turns: Turned, family: Integers, unit_blocks: int) -> int:
    """Most contents in the index of a replica: as many as were asked for, and no more than there are."""
    units = turns.input_tokens // (unit_blocks * fleet.block_tokens)
    longest = np.zeros(int(family.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(longest, family, units)
    there_are = int(longest.sum()) + len(turns.contents)
    asked = fleet.blocks if isinstance(fleet.rules.index, str) else fleet.rules.index
    return max(1, min(asked, there_are))


def _require_keys(turns: Turned, replicas: int) -> None:
    """Refuse contents and replicas that do not fit into a key."""
    highest = max(
        int((turns.private + turns.input_tokens).max(initial=0)), int(turns.contents.max(initial=0))
    )
    if highest >> CONTENT_BITS or UNIT_TOKENS * (replicas + _words(replicas)) >> (62 - CONTENT_BITS):
        raise ValueError(f"contents up to {highest} of {replicas} replicas have too large numbers")


@inlined
def content_of(beliefs: Beliefs, request: int, block: int) -> int:
    """The content of a full block of a request's prompt."""
    if block < beliefs.listed[request]:
        return int(beliefs.contents[beliefs.at[request] + block])
    return int(beliefs.private[request] + block)


@inlined
def key_of(beliefs: Beliefs, content: int, column: int) -> int:
    """The key of a content in a column of the table: keys of units that follow each other do so as well."""
    shift = beliefs.unit_shift
    part = content & ((1 << shift) - 1)
    return (((column << shift) | part) << CONTENT_BITS) | (content >> shift)


@inlined
def least(beliefs: Beliefs, uniform: float) -> int:
    """The replica that costs least of those that may be chosen, as `seen.least`."""
    replicas = beliefs.replicas
    lowest, equal, chosen = np.inf, 0, NOWHERE
    for r in range(len(replicas)):
        if replicas[r].may:
            cost = replicas[r].cost
            if cost < lowest:
                lowest, equal = cost, 0
            if cost == lowest:
                equal += 1
    place = int(uniform * equal)
    for r in range(len(replicas)):
        if replicas[r].may and replicas[r].cost == lowest:
            if place == 0:
                chosen = r
                break
            place -= 1
    return chosen


@inlined
def least_loaded(beliefs: Beliefs, engines: Structs, uniform: float) -> int:
    """The replica with the fewest requests outstanding, as `seen.least_loaded`."""
    replicas = beliefs.replicas
    for r in range(len(replicas)):
        replicas[r].may, replicas[r].cost = replicas[r].here, engines[r].outstanding
    return int(least(beliefs, uniform))


@inlined
def longest(beliefs: Beliefs, uniform: float) -> int:
    """The replica with the longest match; of equal ones any."""
    replicas = beliefs.replicas
    for r in range(len(replicas)):
        replicas[r].may, replicas[r].cost = replicas[r].here, -replicas[r].match
    return int(least(beliefs, uniform))
