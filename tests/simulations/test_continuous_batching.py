"""Continuous batching: the compiled engine against the readable one, and both against what must always hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from versions import version_rules

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile
from capacity.profile.load import load_any
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from simulations.draws.tokens import ALWAYS, EngineRules, Loop, TokenDraws, TokenRecords, pass_noise
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines

ROUTINGS = [one for one in PLAIN_ROUTINGS if one is not Routing.SHARED_QUEUE]
LINE = linear_table(0.01, 1e-4, 5e-4, 1e-6, (64, 4096, 4096))
NOISY = replace(LINE, noise=np.linspace(0.5, 1.5, 257))


def draws_of(arrived_s: list[float], lengths: list[tuple[int, int, int]], seed: int = 0) -> TokenDraws:
    inputs, outputs, cached = (np.array(column, dtype=np.int64) for column in zip(*lengths, strict=True))
    return TokenDraws(
        arrived_s=np.cumsum(arrived_s),
        input_tokens=inputs,
        output_tokens=outputs,
        cached_tokens=np.minimum(cached, inputs),
        routing=np.random.default_rng(seed).random(2 * len(inputs)),
        noise_seed=2**61 + seed,
    )


def differing(one: TokenRecords, other: TokenRecords) -> list[str]:
    return [
        name
        for name in TokenRecords.__slots__
        if not np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name.endswith("_s"))
    ]


@st.composite
def runs(draw: st.DrawFn) -> tuple[StepTable, EngineRules, int, Routing, TokenDraws]:
    count = draw(st.integers(1, 30))
    gaps_s = draw(st.lists(st.sampled_from([0.0, 0.01, 0.0105, 0.5]), min_size=count, max_size=count))
    length = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 0, 10, 40]))
    lengths = draw(st.lists(length, min_size=count, max_size=count))
    block = draw(st.sampled_from([1, 4, 16]))
    chunked = draw(st.booleans())
    rules = EngineRules(
        sequences_max=draw(st.integers(1, 8)),
        tokens_max=draw(st.integers(1, 30)) if chunked else draw(st.integers(90, 200)),
        blocks=-(-80 // block) + draw(st.integers(0, 200 // block)),
        block_tokens=block,
        chunked=chunked,
        ahead=draw(st.booleans()),
        caching=draw(st.booleans()),
        reserve=draw(st.booleans()),
        **draw(version_rules()),
    )
    table = draw(st.sampled_from([LINE, NOISY]))
    return table, rules, draw(st.integers(1, 3)), draw(st.sampled_from(ROUTINGS)), draws_of(gaps_s, lengths)


@settings(max_examples=120, deadline=None)
@given(runs())
def test_the_compiled_engine_gives_the_same_bytes_as_the_readable_one(run) -> None:
    for window_s in (ALWAYS, (0.3, 0.9)):
        assert differing(run_engines(*run, window_s), serve_engines(*run, window_s)) == []


@settings(max_examples=80, deadline=None)
@given(runs(), st.integers(1, 4))
def test_a_full_line_refuses_in_both_alike(run, limit: int) -> None:
    found = serve_engines(*run, queue_limit=limit)
    assert differing(run_engines(*run, queue_limit=limit), found) == []
    is_lost = found.replica == -1
    assert np.array_equal(is_lost, np.isnan(found.finished_s))
    assert found.allocated == found.freed
    served, draws = ~is_lost, run[-1]
    known = int((draws.input_tokens + draws.output_tokens - 1)[served].sum())
    assert found.computed == known + found.thrown_out - found.cached


@settings(max_examples=120, deadline=None)
@given(runs(), st.integers(1, 9), st.data())
def test_users_come_back_in_both_alike(run, users: int, data: st.DataObject) -> None:
    *how, draws = run
    count = len(draws.arrived_s)
    think_s = data.draw(st.lists(st.sampled_from([0.0, 0.01, 0.0105, 0.5]), min_size=count, max_size=count))
    counted = data.draw(st.sampled_from([(0, 2**62), (count // 3, 2 * count // 3 + 1)]))
    loop = Loop(
        users=users,
        think_s=np.array(think_s),
        spread_s=data.draw(st.sampled_from([0.0, 0.02])),
        counted=counted,
    )
    closed = replace(draws, arrived_s=np.zeros(count), loop=loop)
    limit = data.draw(st.sampled_from([None, None, 1, 2, 3]))
    found = serve_engines(*how, closed, queue_limit=limit)
    assert differing(run_engines(*how, closed, queue_limit=limit), found) == []
    assert (np.diff(found.arrived_s) >= 0.0).all()
    in_system = (found.arrived_s[None, :] <= found.arrived_s[:, None]) & (
        found.finished_s[None, :] > found.arrived_s[:, None]
    )
    assert in_system.sum(axis=1).max() <= users
    if counted[0] == 0:
        assert found.gap_counts.sum() == int((draws.output_tokens - 1)[found.replica >= 0].sum())


def test_answers_that_end_whole_turns_of_the_wheel_apart_end_when_they_should() -> None:
    lengths = [(5, 2500, 0), (5, 1476, 0), (7, 452, 0), (9, 1476, 0)]  # 1024 tokens apart
    draws = draws_of([0.0, 0.0, 0.0, 3.0], lengths)
    rules = EngineRules(sequences_max=4, tokens_max=64, blocks=420)
    args = (NOISY, rules, 1, Routing.ROUND_ROBIN, draws)
    assert differing(serve_engines(*args), run_engines(*args)) == []


@pytest.mark.parametrize("ahead", [False, True])
def test_who_computes_again_what_was_lost_a_token_at_a_time_gets_no_token_for_it(*, ahead: bool) -> None:
    """The third is thrown out, and comes back into a step that has one token to spare beside the two that decode."""
    rules = EngineRules(
        sequences_max=3, tokens_max=3, blocks=20, block_tokens=4, chunked=True, ahead=ahead, caching=False, reserve=False
    )  # fmt: skip
    draws = draws_of([0.0, 0.0, 0.0], [(1, 28, 0), (22, 18, 0), (1, 15, 0)])
    run = (LINE, rules, 1, Routing.ROUND_ROBIN, draws)
    found = serve_engines(*run)
    assert found.preemptions.tolist() == [0, 0, 1]
    assert found.finished_s[2] > found.finished_s[1]
    assert differing(run_engines(*run), found) == []


@pytest.mark.parametrize("outputs", [(400, 900, 1_500), (3_000,), (20, 2_500, 40, 700)])
def test_runs_of_passes_cross_the_contexts_of_a_measured_table(outputs: tuple[int, ...]) -> None:
    """Answers so long that what is read for each token grows past several contexts at which it was measured."""
    profile = load_any("llama-3.1-8b-rtx-pro-6000-bf16")
    assert isinstance(profile, LlmProfile)
    assert len(profile.table.context) > 3
    draws = draws_of([0.01 * number for number in range(len(outputs))], [(100, one, 0) for one in outputs])
    run = (profile.table, EngineRules.of(profile, 8, 512), 1, Routing.ROUND_ROBIN, draws)
    assert differing(run_engines(*run), serve_engines(*run)) == []


@settings(max_examples=80, deadline=None)
@given(runs())
def test_tokens_and_blocks_are_conserved(run) -> None:
    _, _, _, _, draws = run
    records = serve_engines(*run)
    known = int((draws.input_tokens + draws.output_tokens - 1).sum())
    assert records.computed == known + records.thrown_out - records.cached
    assert records.allocated == records.freed
    assert records.gap_counts.sum() == int((draws.output_tokens - 1).sum())
    assert (records.first_s > draws.arrived_s).all()
    assert (records.finished_s >= records.first_s).all()


def test_noise_is_drawn_evenly_and_keeps_the_mean() -> None:
    factors = np.array(
        [pass_noise(NOISY.noise, 7, replica, n) for replica in range(2) for n in range(20_000)]
    )
    assert factors.mean() == pytest.approx(1.0, abs=5 * 0.289 / 200)
    assert np.quantile(factors, [0.1, 0.5, 0.9]) == pytest.approx([0.6, 1.0, 1.4], abs=0.01)
    assert abs(np.corrcoef(factors[:-1], factors[1:])[0, 1]) < 5 / 200
    assert pass_noise(np.zeros(0), 7, 0, 0) == 1.0


def test_a_request_larger_than_the_cache_is_refused() -> None:
    rules = EngineRules(sequences_max=4, tokens_max=64, blocks=4)
    with pytest.raises(DomainError, match="has room for 64"):
        serve_engines(LINE, rules, 1, Routing.ROUND_ROBIN, draws_of([0.0], [(60, 10, 0)]))


def test_a_prompt_that_no_pass_holds_is_refused_without_chunks() -> None:
    rules = EngineRules(sequences_max=4, tokens_max=64, blocks=40, chunked=False)
    with pytest.raises(DomainError, match="never fits a pass of 64"):
        serve_engines(LINE, rules, 1, Routing.ROUND_ROBIN, draws_of([0.0], [(65, 10, 0)]))
