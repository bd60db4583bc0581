"""The cache that turns of sessions share, in both engines: the same bytes, what is conserved, and exact cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from session_schedules import REACH, SERVERS, Schedule, differing, schedules

from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.server.engine.router import RouterRules
from capacity.traffic.sessions.turns import Turns
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines

PLAIN = (Routing.ROUND_ROBIN, Routing.RANDOM, Routing.LEAST_OUTSTANDING, Routing.POWER_OF_TWO)
ALL = tuple(one for one in Routing if one is not Routing.SHARED_QUEUE)


def require_alike_and_conserved(schedule: Schedule) -> None:
    table, rules, replicas, routing, draws, limit = schedule
    router = RouterRules(servers=SERVERS)
    one = run_engines(table, rules, replicas, routing, draws, queue_limit=limit, router=router)
    other = serve_engines(table, rules, replicas, routing, draws, queue_limit=limit, router=router)
    assert differing(one, other) == []
    served = ~np.isnan(one.finished_s)
    asked = (draws.input_tokens + draws.output_tokens - 1)[served].sum()
    assert one.computed + one.cached == asked + one.thrown_out + one.wasted
    assert one.allocated == one.freed
    assert (one.hit_tokens < draws.input_tokens).all()


@given(schedules(ALL))
@settings(max_examples=150, deadline=None)
def test_both_engines_give_the_same_bytes_and_lose_no_token(schedule: Schedule) -> None:
    require_alike_and_conserved(schedule)


@pytest.mark.long
@given(schedules(ALL))
@settings(max_examples=4_000, deadline=None)
def test_both_engines_give_the_same_bytes_on_many_schedules(schedule: Schedule) -> None:
    require_alike_and_conserved(schedule)


def one_turn_each(
    prompts: list[list[int]], starts_s: list[float], output: int = 1, private: list[int] | None = None
) -> TokenDraws:
    """Sessions of one turn, whose blocks of one token have these contents."""
    given = np.array([len(one) for one in prompts])
    count = len(prompts)
    turns = Turns(
        first=np.arange(count + 1),
        input_tokens=given,
        output_tokens=np.full(count, output),
        think_s=np.zeros(count),
        pace_s=np.zeros(count),
        contents=np.concatenate(prompts).astype(np.int64),
        at=np.concatenate([[0], np.cumsum(given)[:-1]]),
        listed=given,
        private=np.array(private or [10**6 + 1000 * at for at in range(count)]),
        cut=np.zeros(count, dtype=bool),
    )
    return TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=given,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        sessions=Conversations(turns, np.array(starts_s)),
    )


def served_alike(draws: TokenDraws, blocks: int, **rules: object) -> TokenRecords:
    table = linear_table(1.0, 0.0, 0.0, 0.0, REACH)
    known = EngineRules(sequences_max=8, tokens_max=100, blocks=blocks, block_tokens=1)._replace(**rules)
    one = run_engines(table, known, 1, Routing.ROUND_ROBIN, draws)
    assert differing(one, serve_engines(table, known, 1, Routing.ROUND_ROBIN, draws)) == []
    return one


def test_a_prompt_finds_what_one_before_it_has_left_but_for_its_last_token() -> None:
    draws = one_turn_each([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 9, 4]], [0.0, 10.0, 20.0])
    assert served_alike(draws, blocks=100).hit_tokens.tolist() == [0, 3, 2]


def test_a_request_of_the_same_step_finds_what_the_one_before_it_is_about_to_compute() -> None:
    draws = one_turn_each([[1, 2, 3, 4], [1, 2, 3, 4]], [0.0, 0.0])
    found = served_alike(draws, blocks=100)
    assert found.hit_tokens.tolist() == [0, 3]
    assert found.first_s.tolist() == [1.0, 1.0]


def test_what_was_free_for_longest_goes_first_and_the_end_of_a_prompt_before_its_beginning() -> None:
    # Of six blocks the first two requests leave 3 2 1 6 5 4, the next in front; the third takes 3 and 2, the fourth
    # finds 1 and takes 6 and 5, and the last finds 4 alone.
    draws = one_turn_each([[1, 2, 3], [4, 5, 6], [7, 8], [1, 2, 3], [4, 5, 6]], [0.0, 9.0, 18.0, 27.0, 36.0])
    assert served_alike(draws, blocks=6).hit_tokens.tolist() == [0, 0, 0, 1, 1]


def test_blocks_in_use_by_others_take_no_room() -> None:
    # Eight blocks: the first has six for its prompt and takes the seventh for its second token, in the step in which
    # a second with the same six tokens finds five of them and fits with one more.
    draws = one_turn_each([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]], [0.0, 0.5], output=2)
    found = served_alike(draws, blocks=8)
    assert found.finished_s.tolist() == [2.0, 3.0]
    assert found.hit_tokens.tolist() == [0, 5]


def test_of_two_blocks_with_one_content_the_first_to_have_it_is_found() -> None:
    # Of six blocks the first request leaves the fourth with the content 4, the second 9 in the fifth, and the third
    # 4 once more in the sixth; the next to be used are those three. The fourth request finds 4 where it was first,
    # so that what it needs for 5 is taken from 9.
    draws = one_turn_each(
        [[1, 2, 3, 4], [9], [1, 2, 3, 4], [1, 2, 3, 4, 5], [9, 8]], [0.0, 10.0, 20.0, 30.0, 40.0]
    )
    assert served_alike(draws, blocks=6).hit_tokens.tolist() == [0, 0, 3, 4, 0]


def test_a_router_reads_what_a_pass_leaves_as_it_ends() -> None:
    # The first prompt fills half of its replica's cache until 1.0, the instant of a reading, when the second comes with
    # a quarter of its beginning: this counts 0.75 for the replica, and a half-full cache would count 1.0 against it.
    first, second = list(range(320)), [*range(64), *range(1000, 1192)]
    draws = one_turn_each([first, second], [0.0, 1.0])
    table = linear_table(1.0, 0.0, 0.0, 0.0, REACH)
    rules = EngineRules(sequences_max=8, tokens_max=1000, blocks=640, block_tokens=1)
    scores = (table, rules, 2, Routing.PREFIX_LLM_D_SCORES, draws)
    one = run_engines(*scores)
    assert one.hit_tokens.tolist() == [0, 64]
    assert differing(one, serve_engines(*scores)) == []


def test_without_caching_nothing_is_found() -> None:
    draws = one_turn_each([[1, 2, 3, 4], [1, 2, 3, 4]], [0.0, 10.0])
    assert served_alike(draws, blocks=100, caching=False).hit_tokens.tolist() == [0, 0]


def test_sessions_that_share_nothing_are_served_as_requests_are() -> None:
    generator = np.random.default_rng(5)
    count = 400
    given, got = generator.integers(1, 60, count), generator.integers(1, 40, count)
    arrived_s = np.cumsum(generator.exponential(0.12, count))
    plain = TokenDraws(
        arrived_s=arrived_s,
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=generator.random(2 * count),
    )
    turns = Turns(
        first=np.arange(count + 1),
        input_tokens=given,
        output_tokens=got,
        think_s=np.zeros(count),
        pace_s=np.zeros(count),
        contents=np.zeros(0, dtype=np.int64),
        at=np.zeros(count, dtype=np.int64),
        listed=np.zeros(count, dtype=np.int64),
        private=np.arange(count) * 1_000,
        cut=np.zeros(count, dtype=bool),
    )
    alone = TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=plain.routing,
        sessions=Conversations(turns, arrived_s),
    )
    table = linear_table(0.05, 0.002, 0.001, 1e-5, REACH)
    rules = EngineRules(sequences_max=16, tokens_max=64, blocks=160, block_tokens=1)
    for routing in PLAIN:
        whole = serve_engines(table, rules, 2, routing, plain)
        assert whole.preemptions.sum() > 0
        assert differing(whole, serve_engines(table, rules, 2, routing, alone)) == []


def test_the_next_turn_comes_when_the_answer_was_read_and_finds_prompt_and_answer() -> None:
    turns = Turns(
        first=np.array([0, 3]),
        input_tokens=np.array([4, 8, 20]),
        output_tokens=np.array([3, 2, 1]),
        think_s=np.array([0.0, 5.0, 0.0]),
        pace_s=np.array([0.0, 0.0, 100.0]),
        contents=np.zeros(0, dtype=np.int64),
        at=np.zeros(3, dtype=np.int64),
        listed=np.zeros(3, dtype=np.int64),
        private=np.zeros(3, dtype=np.int64),
        cut=np.zeros(1, dtype=bool),
    )
    draws = TokenDraws(
        arrived_s=np.zeros(3),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(3, dtype=np.int64),
        routing=np.zeros(6),
        sessions=Conversations(turns, np.array([1.0])),
    )
    found = served_alike(draws, blocks=100)
    # No step computes the last token of an answer, so that a turn of n tokens leaves n - 1 behind.
    assert found.arrived_s.tolist() == [1.0, 1.0 + 3.0 + 5.0, 9.0 + 100.0]
    assert found.hit_tokens.tolist() == [0, 6, 9]
