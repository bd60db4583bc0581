"""Sessions under SGLang's rules: both engines with the same bytes, exact cases, and a radix tree that shares no code."""

from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radix_tree import RadixTree, Tokens
from session_schedules import REACH, differing, schedules_of_sglang
from test_session_hits import as_draws
from test_shared_cache import ALL, one_turn_each, require_alike_and_conserved, served_alike

from capacity.profile.llm import Scheduler
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from simulations.draws.tokens import EngineRules
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines


@given(schedules_of_sglang(ALL))
@settings(max_examples=150, deadline=None)
def test_both_engines_give_the_same_bytes_and_lose_no_token(schedule) -> None:
    require_alike_and_conserved(schedule)


@pytest.mark.long
@given(schedules_of_sglang(ALL))
@settings(max_examples=3_000, deadline=None)
def test_both_engines_give_the_same_bytes_on_many_schedules(schedule) -> None:
    require_alike_and_conserved(schedule)


def found(requests: list[tuple[Tokens, Tokens]], pages: int, page: int, chunk: int) -> list[int]:
    """Tokens that requests find which come one at a time, in both engines."""
    rules = EngineRules(
        sequences_max=4,
        tokens_max=chunk,
        blocks=pages,
        block_tokens=page,
        unfilled_first=True,
        scheduler=Scheduler.SGLANG,
    )
    run = (linear_table(0.01, 0.0, 0.0, 0.0, REACH), rules, 1, Routing.ROUND_ROBIN, as_draws(requests, page))
    compiled = serve_engines(*run)
    assert differing(run_engines(*run), compiled) == []
    hits: list[int] = compiled.hit_tokens.tolist()
    return hits


def least(requests: list[tuple[Tokens, Tokens]], page: int) -> int:
    """Pages with which the longest request is admitted."""
    return max(-(-(len(prompt) + len(answer) + page + 1) // page) for prompt, answer in requests)


def branches(seed: int, answers: int) -> list[tuple[Tokens, Tokens]]:
    """Prompts that repeat the beginning of an earlier prompt and answer, of any length, and go on with new tokens."""
    generator, made, tokens = np.random.default_rng(seed), list[tuple[Tokens, Tokens]](), count()
    for _ in range(int(generator.integers(2, 40))):
        kept: Tokens = ()
        if made and generator.random() < 0.8:
            whole = sum(made[generator.integers(len(made))], ())
            kept = whole[: generator.integers(min(len(whole), 40) + 1)]
        more, answer = (islice(tokens, int(generator.integers(1, most + 1))) for most in (8, answers))
        made.append(((*kept, *more), tuple(answer)))
    return made


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_tree_of_single_pages_finds_the_same(seed: int, page: int, spare: int) -> None:
    """Prompts that are computed page by page, with answers that begin one page at most."""
    requests = branches(seed, page + 1)
    pages = least(requests, page) + spare
    tree = RadixTree(pages, page)
    assert found(requests, pages, page, page) == [tree.serve(*one, page) for one in requests]
    assert tree.largest == 1


def conversations(seed: int) -> list[tuple[Tokens, Tokens]]:
    """Turns of some conversations in any order, each with the whole of the turns before it and nothing of others."""
    generator, held, tokens = np.random.default_rng(seed), dict[int, Tokens](), count()
    made: list[tuple[Tokens, Tokens]] = []
    for _ in range(int(generator.integers(2, 60))):
        which = int(generator.integers(6))
        more, answer = (tuple(islice(tokens, int(generator.integers(1, 13)))) for _ in range(2))
        made.append((held.get(which, ()) + more, answer))
        held[which] = sum(made[-1], ()) if len(made[-1][0]) < 100 else ()
    return made


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 200), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_a_tree_finds_no_more_and_what_a_cache_finds_that_lacks_its_largest_node(
    seed: int, page: int, spare: int, chunk: int
) -> None:
    """A leaf goes whole, so that pages are free that blocks would hold, fewer than a node; turn by turn."""
    requests, chunk = conversations(seed), page * chunk
    pages = 2 * least(requests, page) + spare // page
    tree = RadixTree(pages, page)
    of_tree = [tree.serve(*one, chunk) for one in requests]
    above = found(requests, pages, page, chunk)
    below = found(requests, pages - tree.largest + 1, page, chunk)
    assert all(low <= hits <= high for low, hits, high in zip(below, of_tree, above, strict=True))


SGLANG = {"scheduler": Scheduler.SGLANG, "unfilled_first": True}


def test_what_a_request_begins_with_stays_while_it_waits() -> None:
    """The cache holds two prompts of 10 tokens with 29 of their answers, the first one used longer ago.

    The third takes 25 + 29 blocks, and the fourth, which begins as the first, waits for it: as what it begins with
    counts as used meanwhile, the third takes 25 blocks of the second in the end, and not all of the first.
    """
    first, second, third = list(range(10)), list(range(20, 30)), list(range(40, 65))
    draws = one_turn_each([first, second, third, [*first, 70]], [0.0, 40.0, 80.0, 80.5], output=30)
    rows = served_alike(draws, 78, **SGLANG)
    assert rows.first_s[3] > rows.finished_s[2]
    assert rows.hit_tokens.tolist() == [0, 0, 0, 10]


def test_what_others_use_is_no_part_of_the_room_for_one_that_shares_it() -> None:
    """The second shares 20 tokens with the first, which runs: of 41 tokens its 1 + 8 + 1 fit beside the 21 + 8."""
    shared = list(range(20))
    draws = one_turn_each([[*shared, 70], [*shared, 80]], [0.0, 1.5], output=8)
    rows = served_alike(draws, 42, **SGLANG)
    assert rows.hit_tokens.tolist() == [0, 20]
    assert rows.first_s[1] < rows.finished_s[0]
