"""SGLang's rules: cases that are worked out by hand, and both engines with the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
from engine_schedules import ROUTINGS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_scheduling_rules import SECOND, Teller, draws_of

from capacity.errors import DomainError
from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import Routing
from simulations.draws.reserves import RATIO_FIRST
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.reference.blocks import BlockPool
from simulations.reference.engine import run_engines
from simulations.reference.request import Request
from simulations.reference.sglang import Sglang

RULES = EngineRules(
    sequences_max=8,
    tokens_max=8,
    blocks=100,
    block_tokens=1,
    unfilled_first=True,
    scheduler=Scheduler.SGLANG,
)
LINE = linear_table(0.01, 1e-4, 5e-4, 1e-6, (64, 400, 400))
NOISY = replace(LINE, noise=np.linspace(0.5, 1.5, 257))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Teller:
    throw_out = Sglang._throw_out
    teller = Teller(monkeypatch)

    def noted(scheduler: Sglang, request) -> None:
        teller._out.append(request.number)
        throw_out(scheduler, request)

    monkeypatch.setattr(Sglang, "_throw_out", noted)
    return teller


def parts(found) -> list[list[tuple[int, int, int]]]:
    return [one.parts for one in found.passes]


@pytest.mark.parametrize(
    ("mixed", "passes"),
    [
        (False, [[(0, 3, 0)], [(1, 8, 0)], [(1, 2, 8)], [(0, 1, 3), (1, 1, 10)], [(0, 1, 4)]]),
        (True, [[(0, 3, 0)], [(1, 7, 0), (0, 1, 3)], [(1, 3, 7), (0, 1, 4)], [(1, 1, 10)]]),
    ],
)
def test_prompts_pause_answers_unless_passes_are_mixed(told: Teller, mixed: bool, passes) -> None:
    """The second comes during the first pass; in a mixed one the answer takes a token of its eight."""
    found = told(RULES._replace(mixed=mixed), draws_of(((3, 3), (10, 2)), (0.0, 0.5)))
    assert parts(found) == passes


def test_who_runs_is_expected_to_take_a_share_of_what_may_come(told: Teller) -> None:
    """Room is kept for 28 of the first request's 40 tokens: 13 + 6 + 1 fit into 49 - 28, but not into 48 - 28.

    Who does not fit is looked at again once somebody has left.
    """
    for blocks, started_s in ((52, 1.0), (51, 41.0)):
        rules = RULES._replace(blocks=blocks, tokens_max=64)
        found = told(rules, draws_of(((3, 41), (13, 6)), (0.0, 0.5)))
        assert min(one.started_s for one in found.passes if any(p[0] == 1 for p in one.parts)) == started_s


def test_who_has_fewest_tokens_is_thrown_out_to_the_end_of_the_line(told: Teller) -> None:
    """Both have 36 output tokens, so that the longer prompt goes; of that it finds all, and of its answer nothing."""
    rules = RULES._replace(blocks=80, tokens_max=64)
    found = told(rules, draws_of(((4, 40), (5, 40), (6, 3)), (0.0, 0.5, 20.5)))
    assert [(one.started_s, one.thrown_out) for one in found.passes if one.thrown_out] == [(37.0, [1])]
    assert parts(found)[37:39] == [[(0, 1, 39)], [(2, 6, 0)]]
    assert [one.parts for one in found.passes if one.started_s == 42.0] == [[(1, 36, 5)]]
    assert found.records.finished_s.tolist() == [42.0, 46.0, 41.0]


def test_only_one_that_ran_makes_room_by_being_called_off() -> None:
    scheduler = Sglang(RULES._replace(sequences_max=1), BlockPool(800, 1, keeps=True))
    runs, waits, goes = (Request(number, 0.0, 8, 4) for number in range(3))
    for request in (runs, waits, goes):
        scheduler.join(request)
    scheduler.compose()
    scheduler.compose()
    assert scheduler.is_full
    scheduler.call_off(goes)
    assert scheduler.is_full
    scheduler.call_off(runs)
    assert not scheduler.is_full
    assert list(scheduler.waiting) == [waits]


def test_the_ratio_falls_with_each_pass_that_decodes_and_is_whole_at_rest() -> None:
    scheduler = Sglang(RULES._replace(blocks=800), BlockPool(800, 1, keeps=True))
    request = Request(0, 0.0, 4, 700)
    scheduler.join(request)
    scheduler.compose()
    assert scheduler.ratio == RATIO_FIRST
    for _ in range(3):
        request.generated, request.due = request.generated + 1, 0
        scheduler.compose()
    assert scheduler.ratio == pytest.approx(0.7 - 3 * 0.602 / 600)
    scheduler.finish(request)
    assert scheduler.compose() == []
    assert scheduler.ratio == RATIO_FIRST


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"blocks": 12}, "admits a request of 11 tokens where 13 are free"),
        ({"block_tokens": 16}, "a step of 8 tokens has none for a block of 16"),
    ],
)
def test_requests_that_would_never_be_admitted_are_refused(rules: dict[str, int], said: str) -> None:
    with pytest.raises(DomainError, match=said):
        serve_engines(SECOND, RULES._replace(**rules), 1, Routing.ROUND_ROBIN, draws_of(((5, 6),)))
    serve_engines(SECOND, RULES._replace(blocks=13), 1, Routing.ROUND_ROBIN, draws_of(((5, 6),)))


@st.composite
def runs(draw: st.DrawFn) -> tuple[StepTable, EngineRules, int, Routing, TokenDraws]:
    count = draw(st.integers(1, 30))
    gaps_s = draw(st.lists(st.sampled_from([0.0, 0.01, 0.0105, 0.5]), min_size=count, max_size=count))
    length = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 0, 10, 40]))
    lengths = draw(st.lists(length, min_size=count, max_size=count))
    block = draw(st.sampled_from([1, 1, 4, 16]))
    chunked = draw(st.booleans())
    rules = EngineRules(
        sequences_max=draw(st.integers(1, 8)),
        tokens_max=block * draw(st.integers(1, 12)) if chunked else draw(st.integers(90, 200)),
        blocks=-(-(82 + block) // block) + draw(st.sampled_from([0, 5, 20, 100])) // block,
        block_tokens=block,
        chunked=chunked,
        ahead=draw(st.booleans()),
        caching=draw(st.booleans()),
        unfilled_first=draw(st.booleans()),
        mixed=draw(st.booleans()),
        scheduler=Scheduler.SGLANG,
    )
    given, got, cached = (np.array([one[at] for one in lengths]) for at in range(3))
    seed = draw(st.integers(0, 9))
    draws = TokenDraws(
        arrived_s=np.cumsum(gaps_s),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.minimum(cached, given),
        routing=np.random.default_rng(seed).random(2 * count),
        noise_seed=2**61 + seed,
    )
    return (
        draw(st.sampled_from([LINE, NOISY])),
        rules,
        draw(st.integers(1, 3)),
        draw(st.sampled_from(ROUTINGS)),
        draws,
    )


# The second fits as soon as the ratio has fallen far enough in the run of passes that the first is in.
RATIO_DECIDES = RULES._replace(blocks=106, tokens_max=64), draws_of(((3, 99), (17, 6)), (0.0, 40.5))


@settings(max_examples=150, deadline=None)
@given(runs())
@example((SECOND, RATIO_DECIDES[0], 1, Routing.ROUND_ROBIN, RATIO_DECIDES[1]))
def test_the_compiled_engine_gives_the_same_bytes_as_the_readable_one(run) -> None:
    for window_s in (ALWAYS, (0.3, 0.9)):
        one, other = run_engines(*run, window_s), serve_engines(*run, window_s)
        for name in TokenRecords.__slots__:
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name.endswith("_s")), (
                name
            )


@settings(max_examples=80, deadline=None)
@given(runs())
def test_tokens_and_blocks_are_conserved(run) -> None:
    """Whatever is thrown out: the tokens of each request are computed once, and again as often as they were lost."""
    records, draws = run_engines(*run), run[-1]
    needed = int((draws.input_tokens + draws.output_tokens - 1).sum())
    assert records.computed == needed + records.thrown_out - records.cached
    assert records.allocated == records.freed
    assert np.isfinite(records.finished_s).all()
