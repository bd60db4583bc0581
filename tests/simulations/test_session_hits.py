"""What simulated caches find: against a list of blocks that shares no code, against laws, and in balance with itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from session_schedules import differing

from capacity.confidence import student_t
from capacity.profile.llm import Coefficients, KvCache
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.lengths import LengthLaw
from capacity.traffic.sessions.laws import SessionLaws, parse_laws
from capacity.traffic.sessions.turns import Turns
from simulations.draws.arrivals import Seed
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws
from simulations.engine_replication import draw_tokens, serve
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.simulate import Simulation
from simulations.statistics.pool import Pool
from simulations.statistics.sessions import session_totals
from simulations.validation.agreement import Agreement, compare
from simulations.validation.session_systems import groups_alone, growing_sessions
from simulations.validation.token_systems import law_scenario

ROUTINGS = tuple(one for one in Routing if one is not Routing.SHARED_QUEUE)
Tokens = tuple[int, ...]


class ListOfBlocks:
    """A cache as a plain list of what its blocks hold, the next one to be taken first; tokens are compared one by one.

    A block holds the tokens from the beginning of a prompt up to its own last one, or nothing, and keeps the number of
    its last filling, since of several blocks that hold the same the first one counts.
    """

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.blocks: list[tuple[Tokens | None, int]] = [(None, 0)] * blocks
        self.filled = 0

    def serve(self, prompt: Tokens, answer: Tokens) -> int:
        """Tokens found by a request that is alone."""
        size, computed = self.block_tokens, (prompt + answer)[:-1]
        mine: list[tuple[Tokens | None, int]] = []
        for end in range(size, len(prompt), size):
            holding = [block for block in self.blocks if block[0] == prompt[:end]]
            if not holding:
                break
            mine.append(min(holding, key=lambda block: block[1]))
            self.blocks.remove(mine[-1])
        found = len(mine)
        while len(mine) * size < len(computed):
            self.blocks.pop(0)
            end = (len(mine) + 1) * size
            self.filled += 1
            mine.append((computed[:end] if end <= len(computed) else None, self.filled))
        self.blocks += reversed(mine)
        return found * size


def as_draws(requests: list[tuple[Tokens, Tokens]], block_tokens: int) -> TokenDraws:
    """Requests as sessions of one turn a long time apart; equal beginnings have equal numbers."""
    numbers: dict[Tokens, int] = {}
    listed = [
        [
            numbers.setdefault((p + a)[:end], len(numbers))
            for end in range(block_tokens, len(p + a) + 1, block_tokens)
        ]
        for p, a in requests
    ]
    count, full = len(requests), np.array([len(one) for one in listed])
    turns = Turns(
        first=np.arange(count + 1),
        input_tokens=np.array([len(prompt) for prompt, _ in requests]),
        output_tokens=np.array([len(answer) for _, answer in requests]),
        think_s=np.zeros(count),
        pace_s=np.zeros(count),
        contents=np.array([number for one in listed for number in one], dtype=np.int64),
        at=np.cumsum(full) - full,
        listed=full,
        private=10**6 + 10**3 * np.arange(count),
        cut=np.zeros(count, dtype=bool),
    )
    return TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        sessions=Conversations(turns, 1000.0 * np.arange(count)),
    )


def some_requests(seed: int) -> list[tuple[Tokens, Tokens]]:
    """Prompts that repeat the beginning of an earlier prompt and answer, of any length, and go on with zeros and ones."""
    generator, made = np.random.default_rng(seed), list[tuple[Tokens, Tokens]]()
    for _ in range(int(generator.integers(2, 40))):
        kept: Tokens = ()
        if made and generator.random() < 0.8:
            whole = sum(made[generator.integers(len(made))], ())
            kept = whole[: generator.integers(len(whole) + 1)]
        more = tuple(generator.integers(0, 2, generator.integers(1, 8)).tolist())
        answer = tuple(generator.integers(0, 2, generator.integers(1, 8)).tolist())
        made.append(((kept + more)[:40], answer))
    return made


def require_as_listed(seed: int, block_tokens: int, spare: int, replicas: int) -> None:
    requests = some_requests(seed)
    largest = max(-(-(len(prompt) + len(answer) - 1) // block_tokens) for prompt, answer in requests)
    caches = [ListOfBlocks(largest + spare, block_tokens) for _ in range(replicas)]
    expected = [caches[number % replicas].serve(*one) for number, one in enumerate(requests)]
    rules = EngineRules(sequences_max=4, tokens_max=9, blocks=largest + spare, block_tokens=block_tokens)
    run = (linear_table(0.01, 0.0, 0.0, 0.0, (64, 4096, 4096)), rules, replicas, Routing.ROUND_ROBIN)
    draws = as_draws(requests, block_tokens)
    compiled = serve_engines(*run, draws)
    assert compiled.hit_tokens.tolist() == expected
    assert differing(run_engines(*run, draws), compiled) == []


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 30), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_one_request_at_a_time_finds_what_a_list_of_blocks_finds(
    seed: int, block_tokens: int, spare: int, replicas: int
) -> None:
    require_as_listed(seed, block_tokens, spare, replicas)


@pytest.mark.long
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 30), st.integers(1, 3))
@settings(max_examples=3_000, deadline=None)
def test_many_requests_one_at_a_time_find_what_a_list_of_blocks_finds(
    seed: int, block_tokens: int, spare: int, replicas: int
) -> None:
    require_as_listed(seed, block_tokens, spare, replicas)


def test_the_list_finds_some_and_forgets_some() -> None:
    """The comparison is about something: small caches find less than large ones, and more than nothing."""
    found = {}
    for spare in (0, 10, 1_000):
        total = 0
        for seed in range(30):
            cache = ListOfBlocks(25 + spare, 2)
            total += sum(cache.serve(*one) for one in some_requests(seed))
        found[spare] = total
    assert 0 < found[0] < found[10] < found[1_000]


def test_a_cache_that_forgets_nothing_finds_what_its_replica_has_had() -> None:
    """Sets of beginnings, and the replica is the request's number modulo theirs."""
    requests = [one for seed in range(8) for one in some_requests(seed)]
    for replicas in (1, 3):
        seen: list[set[Tokens]] = [set() for _ in range(replicas)]
        expected = []
        for number, (prompt, answer) in enumerate(requests):
            had, ends = seen[number % replicas], range(4, len(prompt), 4)
            missing = [end for end in ends if prompt[:end] not in had]
            expected.append(min(missing, default=(len(prompt) - 1) // 4 * 4 + 4) - 4 if ends else 0)
            computed = (prompt + answer)[:-1]
            had |= {computed[:end] for end in range(4, len(computed) + 1, 4)}
        rules = EngineRules(sequences_max=4, tokens_max=100, blocks=10_000, block_tokens=4)
        table = linear_table(0.01, 0.0, 0.0, 0.0, (64, 4096, 4096))
        found = serve_engines(table, rules, replicas, Routing.ROUND_ROBIN, as_draws(requests, 4))
        assert found.hit_tokens.tolist() == expected
        assert sum(expected) > 0


PAIRS = {
    "room for half a group more": (groups_alone(1.0, 20, 5.5), groups_alone(1.0, 20, 6.0)),
    "a turn more": (growing_sessions(3, 60), growing_sessions(4, 60)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_caches_find_what_their_law_says_and_not_its_neighbour(name: str) -> None:
    right, wrong = PAIRS[name]
    rows = compare(right, seed=4, requests_max=2_000_000)
    assert [row.verdict for row in rows] == [Agreement.AGREES] * 2
    mixed = [replace(row, theory=wrong.compared[row.quantity].theory) for row in rows]
    assert [row.verdict for row in mixed] == [Agreement.DISAGREES] * 2


TALKS = (
    "turns=geometric:mean=4; think=exponential:mean=2s; system=320; groups=zipf:count=20,exponent=1; prefix=400; "
    "first=lognormal:mean=200,cv=1; user=lognormal:mean=100,cv=1; output=geometric:mean=60"
)


def fleet(routing: Routing, sessions: SessionLaws, rate_rps: float = 20.0) -> TokenScenario:
    """Three engines whose caches hold a part of the conversations."""
    line = Coefficients(base_s=0.01, per_prefill_token_s=5e-5, per_decode_request_s=1e-4)
    scenario = law_scenario(rate_rps, sessions, line, kv=KvCache(tokens=40_000, block_tokens=16), slots=128)
    return replace(scenario, plan=replace(scenario.plan, replicas=3, routing=routing))


@pytest.mark.parametrize("routing", ROUTINGS)
def test_in_every_run_no_token_and_no_block_is_lost(routing: Routing) -> None:
    scenario = fleet(routing, parse_laws(TALKS))
    draws = draw_tokens(scenario, 2_000, Seed(value=1))
    found = serve(scenario, draws, Engine.KERNEL)
    asked = int((draws.input_tokens + draws.output_tokens - 1).sum())
    assert found.computed + found.cached == asked + found.thrown_out
    assert found.allocated == found.freed
    assert 0 < found.hit_tokens.sum() < draws.input_tokens.sum()


@pytest.mark.parametrize("routing", [Routing.SESSION_HAPROXY, Routing.SESSION_NGINX])
@pytest.mark.parametrize("are_named", [False, True])
def test_both_engines_send_a_session_to_the_same_place_on_a_ring(routing: Routing, are_named: bool) -> None:
    scenario = fleet(routing, parse_laws(TALKS))
    draws = draw_tokens(scenario, 600, Seed(value=1))
    assert draws.sessions is not None
    if are_named:
        names = tuple(f"talk {session}" for session in range(draws.sessions.turns.sessions))
        draws = replace(draws, sessions=draws.sessions._replace(names=names))
    kernel, readable = (serve(scenario, draws, engine) for engine in (Engine.KERNEL, Engine.SIMPY))
    assert kernel.finished_s.tobytes() == readable.finished_s.tobytes()
    assert kernel.replica.tolist() == readable.replica.tolist()
    for session, replica in zip(draws.sessions.turns.session, kernel.replica, strict=True):
        assert replica == kernel.replica[draws.sessions.turns.first[session]]
    assert len(set(kernel.replica.tolist())) == 3


def test_live_sessions_are_their_rate_times_the_time_in_a_session() -> None:
    """Little's law: counted at all instants of the window, whichever sessions they are, and by those that begin in it."""
    off, live = [], []
    for number in range(16):
        scenario = fleet(Routing.SESSION, parse_laws(TALKS))
        draws = draw_tokens(scenario, 6_000, Seed(value=2, replication=number))
        records = serve(scenario, draws, Engine.KERNEL)
        assert draws.sessions is not None
        first, part = draws.sessions.turns.first, draws.part(1_500, 1_500)
        begin_s, end_s = draws.span_s(part)
        stays_s = np.minimum(records.finished_s[first[1:] - 1], end_s) - np.maximum(
            records.arrived_s[first[:-1]], begin_s
        )
        totals = session_totals(draws, records, part, np.zeros(0))
        assert totals is not None
        live.append(float(np.clip(stays_s, 0.0, None).sum()) / (end_s - begin_s))
        off.append(live[-1] - totals.live_s / (end_s - begin_s))
    half = student_t(0.999, len(off) - 1) * float(np.std(off, ddof=1)) / len(off) ** 0.5
    assert abs(float(np.mean(off))) < half < 0.05 * float(np.mean(live))


def test_without_anything_to_share_a_hash_of_sessions_is_a_random_replica() -> None:
    """Mean times to first token of 150 runs each, of one law; those of round-robin are of another."""
    lengths = LengthLaw(kind="geometric", mean=100.0)
    alone = SessionLaws(turns=LengthLaw(kind="constant", mean=1), first=lengths, output=lengths)
    found = {}
    for value, routing in enumerate((Routing.SESSION, Routing.RANDOM, Routing.ROUND_ROBIN)):
        scenario, means_s = fleet(routing, alone, 120.0), []
        for number in range(150):
            draws = draw_tokens(scenario, 500, Seed(value=value, replication=number))
            records = serve(scenario, draws, Engine.KERNEL)
            means_s.append(float((records.first_s - records.arrived_s).mean()))
        found[routing] = means_s
    assert ks_2samp(found[Routing.SESSION], found[Routing.RANDOM]).pvalue > 0.001
    assert ks_2samp(found[Routing.SESSION], found[Routing.ROUND_ROBIN]).pvalue < 0.001


def test_bounds_of_the_size_of_a_cache_enter_the_interval() -> None:
    """A cache whose size lies between two bounds may find what either of them does, by the law of each."""
    low, middle, high = (groups_alone(1.0, 20, room) for room in (5.0, 6.0, 7.0))
    scenario = replace(middle.scenario, plan=replace(middle.scenario.plan, sequences_max=8))
    bounds = replace(
        scenario.profile.kv,
        tokens_low=low.scenario.profile.kv.tokens,
        tokens_high=high.scenario.profile.kv.tokens,
    )
    simulation = Simulation(seed=3, quantiles=(0.5,))
    known = simulation(scenario).hit_share.interval
    wide = simulation(replace(scenario, profile=replace(scenario.profile, kv=bounds))).hit_share.interval
    found = [one.compared["hit_share"].theory for one in (low, middle, high)]
    assert found[0] < known.low < found[1] < known.high < found[2]
    assert wide.low < found[0] < found[2] < wide.high
    assert wide.high - wide.low < 2.0 * (found[2] - found[0])


def test_what_caches_find_is_not_settled_as_long_as_it_rises() -> None:
    """Runs that begin to count at once see caches that fill; those of the case's own length do not."""
    case = case_of(fleet(Routing.ROUND_ROBIN, parse_laws(TALKS), 5.0))
    early = replace(case.length, warm_up=1, measured=400)
    for length, settled in ((early, False), (case.length, True)):
        pool = Pool.of([case.replicate(task) for task in case.tasks(length, Seed(value=1), range(40))])
        assert case.has_forgotten(pool) is settled
        assert pool.is_level


@pytest.mark.parametrize("routing", [Routing.SESSION, Routing.LEAST_OUTSTANDING])
def test_sessions_that_count_end_before_others_stop_to_come(routing: Routing) -> None:
    """Else the last of them would end in a fleet that others have left, and be too quick."""
    case = case_of(fleet(routing, parse_laws(TALKS), 30.0)).simulated
    draws = draw_tokens(case.scenario, case.length.requests, Seed(value=1))
    records = serve(case.scenario, draws, Engine.KERNEL)
    assert draws.sessions is not None
    turns, starts_s = draws.sessions.turns, draws.sessions.starts_s
    part = draws.part(case.length.warm_up, case.length.cool_down)
    ends_s = records.finished_s[turns.first[1:] - 1]
    counted = (turns.first[:-1] >= part.start) & (turns.first[:-1] < part.stop)
    assert counted.sum() > 300
    assert (ends_s[counted] > starts_s[-1]).mean() < 0.002
