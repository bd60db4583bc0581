"""Routers of conversations, compiled: they choose as the readable ones, whatever happens."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.question.plan import Routing
from capacity.server.engine.router import EXACT, RouterRules
from capacity.traffic.sessions.laws import parse_laws
from capacity.traffic.sessions.mooncake import read_mooncake
from simulations.compiled import borrowing, inlined
from simulations.routing.conversations import beliefs as known
from simulations.routing.conversations.beliefs import BITS, Beliefs, Turned, beliefs_of
from simulations.routing.conversations.llm_d_scores import read_replicas
from simulations.routing.conversations.routers import ROUTERS, choose_router, leave, lose
from simulations.routing.conversations.seen import Fleet, last_reading_s
from simulations.routing.conversations.tables import NO_KEY, place_of, table_for, take_out

ENGINE = np.dtype([(name, np.int64) for name in ("outstanding", "count", "free")])
ROW = np.dtype([(name, np.float64) for name in ("first_s", "finished_s")])
BLOCKS, CONTENTS = 40, 16_000
SERVERS = tuple(f"10.0.0.{number}:8000" for number in range(4))  # in the file of a balancer


@inlined
def holds(cache: Any, r: int, content: int) -> bool:
    """A stand-in of the caches of all replicas."""
    return bool(cache[r, content])


@borrowing
def choose(
    beliefs: Beliefs, engines: Any, rows: Any, request: int, uniform: float, now_s: float, cache: Any
) -> int:
    return choose_router(beliefs, engines, rows, request, uniform, now_s, cache, holds)


@borrowing
def tell(beliefs: Beliefs, engines: Any, what: int, whom: int) -> None:
    if what == 0:
        read_replicas(beliefs, engines)
    elif what == 1:
        leave(beliefs, whom)
    else:
        lose(beliefs, whom)


class Columns(NamedTuple):
    """Columns of some turns, as `capacity.traffic.sessions.turns.Turns` has them."""

    session: npt.NDArray[np.int64]
    input_tokens: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    listed: npt.NDArray[np.int64]
    private: npt.NDArray[np.int64]
    contents: npt.NDArray[np.int64]


class Prompt(NamedTuple):
    """One of them as the readable routers see it."""

    turned: Turned
    number: int

    turn = 0

    @property
    def session(self) -> int:
        return int(self.turned.session[self.number])

    @property
    def input(self) -> int:
        return int(self.turned.input_tokens[self.number])

    def content(self, block: int) -> int:
        turned, at = self.turned, self.number
        if block < turned.listed[at]:
            return int(turned.contents[turned.at[at] + block])
        return int(turned.private[at] + block)


@dataclass(eq=False)
class Replica:
    index: int
    engines: Any
    cache: Any
    blocks: int = BLOCKS

    @property
    def outstanding(self) -> int:
        return int(self.engines[self.index]["outstanding"])

    @property
    def waiting(self) -> int:
        return int(self.engines[self.index]["outstanding"] - self.engines[self.index]["count"])

    @property
    def blocks_free(self) -> int:
        return int(self.engines[self.index]["free"])

    def holds(self, content: int) -> bool:
        return bool(self.cache[self.index, content])


def turned_of(prompts: list[tuple[int, list[int], int]], block: int, apart: int = 1) -> Columns:
    """Turns by session, the choices by which their listed blocks branch off, and tokens after these.

    Listed blocks have the same content where all choices up to them are the same.
    """
    numbers: dict[tuple[int, ...], int] = {}
    contents, at = [], []
    families: dict[tuple[int, ...], int] = {}
    for session, path, _ in prompts:
        at.append(len(contents))
        contents += [
            apart * numbers.setdefault(tuple(path[: end + 1]), len(numbers)) for end in range(len(path))
        ]
        families.setdefault((session, *path), len(families))
    first = apart * len(numbers)
    private = [first + 60 * families[session, *path] for session, path, _ in prompts]
    columns = (
        [session for session, _, _ in prompts],
        [max(1, block * len(path) + rest) for _, path, rest in prompts],
        at,
        [len(path) for _, path, _ in prompts],
        private,
        contents,
    )
    return Columns(*(np.array(column, dtype=np.int64) for column in columns))


@dataclass(eq=False)
class Both:
    """A readable and a compiled router that see the same requests."""

    routing: Routing
    fleet: Fleet
    turned: Turned
    here: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        count = self.fleet.replicas
        self.readable = ROUTERS[self.routing](self.fleet)
        self.compiled = beliefs_of(self.routing, self.fleet, self.turned)
        self.engines, self.rows = np.zeros(count, dtype=ENGINE), np.zeros(len(self.turned.at), dtype=ROW)
        self.engines["free"] = BLOCKS
        self.cache = np.zeros((count, CONTENTS), dtype=np.bool_)
        self.replicas = [Replica(index, self.engines, self.cache) for index in range(count)]
        self.here = set(range(count))
        self.sent: dict[int, int] = {}

    def choose(self, request: int, uniform: float, now_s: float) -> int:
        there = [self.replicas[index] for index in sorted(self.here)]
        one = self.readable.choose(there, Prompt(self.turned, request), (uniform, 0.5), now_s).index
        other = choose(self.compiled, self.engines, self.rows, request, uniform, now_s, self.cache)
        assert other == one
        self.sent[request] = one
        return one

    def first_token(self, request: int, now_s: float) -> None:
        if not self.rows[request]["first_s"]:
            self.readable.first_token(request)
            self.rows[request]["first_s"] = now_s

    def done(self, request: int, now_s: float) -> None:
        self.first_token(request, now_s)
        self.readable.done(request)
        self.rows[request]["finished_s"] = now_s
        self.sent.pop(request)

    def lose(self, request: int) -> None:
        self.readable.first_token(request)
        self.readable.done(request)
        tell(self.compiled, self.engines, 2, request)
        self.sent.pop(request)

    def leave(self, replica: int) -> None:
        self.readable.left(replica)
        tell(self.compiled, self.engines, 1, replica)
        self.here.discard(replica)
        self.sent = {request: there for request, there in self.sent.items() if there != replica}

    def back(self, replica: int) -> None:
        self.compiled.replicas[replica]["here"] = 1
        self.here.add(replica)

    def read(self) -> None:
        self.readable.read([self.replicas[index] for index in sorted(self.here)])
        tell(self.compiled, self.engines, 0, 0)


RULES = st.builds(
    RouterRules,
    index=st.sampled_from(["blocks", EXACT, 1, 3, 7, 10**6]),
    gate_s=st.sampled_from([0.0, 0.1, 18.0]),
    sticky=st.sampled_from([0.3, 0.8]),
    queue=st.sampled_from([0.0, 2.0]),
    cache_threshold=st.sampled_from([0.0, 0.3]),
    balance_abs=st.sampled_from([0, 3, 64]),
    balance_rel=st.sampled_from([1.0, 1.5]),
    forget_s=st.sampled_from([1.0, 300.0]),
    servers=st.just(SERVERS),
)


@pytest.mark.parametrize("routing", list(ROUTERS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_both_forms_choose_alike(routing: Routing, data: st.DataObject) -> None:
    draw = data.draw
    block, replicas = draw(st.sampled_from([16, 24, 64, 128])), draw(st.integers(1, 4))
    fleet = Fleet(replicas, BLOCKS, block, 1_000.0, draw(st.integers(0, 2**64 - 1)), draw(RULES))
    paths = draw(st.lists(st.builds(branch, st.integers(0, 12), st.integers(0, 8)), min_size=1, max_size=3))
    turn = st.tuples(st.integers(0, 2), st.sampled_from(paths), st.integers(0, 40 * block))
    prompts = draw(st.lists(turn, min_size=1, max_size=25))
    both = Both(routing, fleet, turned_of(prompts, block, draw(st.sampled_from([1, 7]))))
    random, now_s = Random(draw(st.integers(0, 2**32 - 1))), 0.0
    for request in range(len(prompts)):
        for _ in range(random.randrange(5)):
            happen(both, random)
        now_s += random.choice([0.0, 0.01, 1.0])
        if random.random() < 0.5:
            both.read()
        both.choose(request, random.choice([random.random(), 0.0, 0.999]), now_s)
        for sent in list(both.sent):
            if sent in both.sent and random.random() < 0.3:
                random.choice([both.first_token, both.done, lambda one, _: both.lose(one)])(
                    sent, now_s + 1e-9
                )
        now_s += 1e-6


def branch(common: int, own: int) -> list[int]:
    return [0] * common + [1] * own


def happen(both: Both, random: Random) -> None:
    """An event that a router sees."""
    replica = random.randrange(len(both.replicas))
    kind = random.randrange(5)
    if kind == 0 and len(both.here - {replica}):
        both.leave(replica)
    elif kind == 1:
        both.back(replica)
    elif kind == 2:
        count = random.randrange(6)
        both.engines[replica] = count + random.choice([0, 0, 1, 70]), count, random.randrange(BLOCKS + 1)
    elif kind == 3:
        prompt = Prompt(both.turned, random.randrange(len(both.turned.at)))
        for at in range(random.randrange(prompt.input // both.fleet.block_tokens + 1)):
            both.cache[replica, prompt.content(at)] = True
    else:
        both.cache[replica] &= np.random.default_rng(random.getrandbits(32)).random(CONTENTS) < 0.9


@pytest.mark.parametrize("routing", [one for one in ROUTERS if one.by_content])
def test_more_replicas_than_bits_of_a_word(routing: Routing) -> None:
    fleet = Fleet(2 * BITS + 3, 6, 16, 1_000.0, 3)
    prompts = [(session, [session % 7] * 4 + [session % 3] * 4, 160) for session in range(200)]
    both = Both(routing, fleet, turned_of(prompts, 16))
    for replica in range(BITS - 2):
        both.leave(replica)
    chosen = {
        both.choose(request, (request * 0.618) % 1.0, 0.01 * request) for request in range(len(prompts))
    }
    assert min(chosen) < BITS <= max(chosen)


def test_the_table_is_a_dictionary() -> None:
    keys, values = table_for(7)
    mirror: dict[int, int] = {}
    random = np.random.default_rng(1)
    for _ in range(5_000):
        key = int(random.integers(0, 60))
        at = place_of(keys, key)
        assert (keys[at] != NO_KEY) == (key in mirror)
        if key in mirror:
            assert values[at] == mirror.pop(key)
            take_out(keys, values, at)
        elif len(mirror) < 14:
            keys[at], values[at] = key, key * key
            mirror[key] = key * key
    assert sorted(keys[keys != NO_KEY]) == sorted(mirror)


def test_the_index_of_a_lost_replica_is_empty() -> None:
    fleet = Fleet(2, 5, 16, 1_000.0, 3)
    both = Both(Routing.PREFIX_LLM_D, fleet, turned_of([(n, [n] * 8, 300) for n in range(9)], 16))
    for request in range(9):
        both.choose(request, 0.0, float(request))
    assert (both.compiled.keys != NO_KEY).sum() == 20  # five contents of each replica, by two keys
    both.leave(0)
    both.leave(1)
    assert (both.compiled.keys == NO_KEY).all()


def test_a_prompt_moves_its_own_contents_to_the_end_of_the_line() -> None:
    """In the line stand two contents of the first prompt and one of the second; the third goes on from the first."""
    paths = [[0, 0], [5], [0, 0, 9], [0, 0, 9]]
    both = Both(
        Routing.PREFIX_LLM_D,
        Fleet(2, BLOCKS, 64, 1_000.0, 3),
        turned_of([(session, path, 0) for session, path in enumerate(paths)], 64),
    )
    both.leave(1)
    for request in range(3):
        assert both.choose(request, 0.0, float(request)) == 0
    both.back(1)  # knows nothing, and has nothing to do
    assert both.choose(3, 0.0, 3.0) == 0


def test_contents_that_do_not_fit_are_refused() -> None:
    turned = turned_of([(0, [0, 1], 80), (1, [0, 1, 1], 80)], 16)
    fleet = Fleet(2, 5, 16, 1_000.0, 3)
    large = turned._replace(private=turned.private + 2**40)
    with pytest.raises(ValueError, match="have too large numbers"):
        beliefs_of(Routing.PREFIX_LLM_D, fleet, large)


LAWS = (
    "turns=geometric:mean=4; think=exponential:mean=2s; system=100; groups=zipf:count=5,exponent=1; prefix=300; "
    "first=lognormal:mean=200,cv=1; user=lognormal:mean=60,cv=1; output=geometric:mean=40"
)
RECORDED = """{"timestamp": 0, "input_length": 1300, "output_length": 90, "hash_ids": [0, 1, 2], "session_id": "a"}
{"timestamp": 1, "input_length": 700, "output_length": 40, "hash_ids": [0, 5], "session_id": "b"}
{"timestamp": 9, "input_length": 2000, "output_length": 9, "hash_ids": [0, 1, 7, 8], "session_id": "a"}
{"timestamp": 20, "input_length": 2100, "output_length": 9, "hash_ids": [0, 1, 7, 8, 9], "session_id": "a"}
"""


def drawn() -> list[Turned]:
    def streams(part: int) -> np.random.Generator:
        return np.random.default_rng([4, part])

    recorded = read_mooncake(RECORDED, "f.jsonl")
    laws = parse_laws(LAWS)
    return [
        laws.draw(60, streams, 16),
        laws.within(500).draw(60, streams, 16),
        recorded.draw(40, streams, 16),
    ]


@pytest.mark.parametrize("turns", drawn(), ids=["laws", "cut", "ids"])
@pytest.mark.parametrize("routing", list(ROUTERS))
def test_both_forms_choose_alike_for_sessions_of_laws_and_files(routing: Routing, turns: Turned) -> None:
    rules = RouterRules(index=60, gate_s=0.2, servers=SERVERS)
    both = Both(routing, Fleet(3, BLOCKS, 16, 1_000.0, 5, rules), turns)
    for request in np.random.default_rng(1).permutation(len(turns.input_tokens)).tolist():
        sent = len(both.sent)
        both.choose(request, (0.618 * request) % 1.0, 0.1 * sent)
        if request % 3 == 0:
            both.first_token(request, 0.1 * sent)


def test_numbers_of_routers_are_those_of_their_names() -> None:
    assert all(getattr(known, one.name) == at for at, one in enumerate(known.ROUTERS))
    assert list(ROUTERS) == list(known.ROUTERS)


@given(now_s=st.floats(0.0, 1e6), tick_s=st.floats(1e-3, 10.0))
def test_the_last_reading_is_not_in_the_future(now_s: float, tick_s: float) -> None:
    assert now_s - 1.001 * tick_s <= last_reading_s(now_s, tick_s) <= now_s
