"""Speculative decoding: the compiled engine against the readable one, and both against what must hold."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_continuous_batching import LINE, NOISY, differing, draws_of, runs
from versions import with_drafts

from capacity.errors import DomainError
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from capacity.profile.speculation import Drafter, Speculation
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, accepted_drafts
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines

BOTH = pytest.mark.parametrize("engines", [run_engines, serve_engines], ids=["readable", "compiled"])
# A pass takes a second, so that instants count passes.
SECOND = linear_table(1.0, 0.0, 0.0, 0.0, (64, 4096, 4096))
AMPLE = EngineRules(sequences_max=8, tokens_max=4096, blocks=10_000)


def drafting(rules: EngineRules, *acceptance: float, **others: Any) -> EngineRules:
    return rules._replace(acceptance=acceptance, **others)


def served(engines, rules: EngineRules, draws: TokenDraws, table=SECOND):
    return engines(table, rules, 1, Routing.ROUND_ROBIN, draws)


@st.composite
def drafting_runs(draw: st.DrawFn):
    table, rules, *rest = draw(runs())
    return (table, draw(with_drafts(rules)), *rest)


@settings(max_examples=120, deadline=None)
@given(drafting_runs())
def test_the_compiled_engine_drafts_as_the_readable_one(run) -> None:
    for window_s in (ALWAYS, (0.3, 0.9)):
        assert differing(run_engines(*run, window_s), serve_engines(*run, window_s)) == []


@settings(max_examples=100, deadline=None)
@given(drafting_runs())
def test_tokens_and_blocks_are_conserved_with_drafts(run) -> None:
    draws, records = run[-1], serve_engines(*run)
    known = int((draws.input_tokens + draws.output_tokens - 1).sum())
    assert records.computed == known + records.thrown_out + records.wasted - records.cached
    assert records.allocated == records.freed
    assert records.gap_counts.sum() == int((records.events - 1).sum())
    most = 1 + len(run[1].acceptance)
    assert (records.events <= draws.output_tokens).all()
    assert ((records.events - 1) * most >= draws.output_tokens - 1).all()
    assert (records.first_s > draws.arrived_s).all()
    assert (records.finished_s >= records.first_s).all()


@settings(max_examples=60, deadline=None)
@given(runs(), st.integers(1, 5))
def test_drafts_that_are_never_accepted_are_plain_decoding_with_the_time_of_the_drafter(
    run, tokens: int
) -> None:
    """Byte for byte, wherever a pass and the cache have room for the drafts, which take blocks a pass or more earlier."""
    table, rules, *rest = run
    ample = rules._replace(tokens_max=4096, blocks=10_000, part_max=0)
    plain = serve_engines(table.plus(tokens * 0.001), ample, *rest)
    none = Speculation(draft_tokens=tokens, acceptance_rates=(0.0,) * tokens, draft_token_s=0.001)
    found = serve_engines(table.plus(none.drafting_s), ample._replace(acceptance=none.rates), *rest)
    assert set(differing(plain, found)) <= {"computed", "wasted", "block_s", "allocated", "freed"}
    assert found.wasted == found.computed - plain.computed
    assert found.wasted == tokens * int((rest[-1].output_tokens - 1).sum())


@settings(max_examples=60, deadline=None)
@given(runs(), st.integers(1, 5))
def test_drafts_that_are_always_accepted_divide_the_passes(run, tokens: int) -> None:
    """As answers do that are so much shorter, where a pass does not depend on what it reads."""
    _, rules, *rest, draws = run
    table, ample = (
        replace(SECOND, noise=NOISY.noise),
        rules._replace(tokens_max=4096, blocks=10_000, part_max=0),
    )
    rules = ample._replace(ahead=False)  # a pass composed ahead would hold parts of answers that are complete
    passes = 1 + -(-(draws.output_tokens - 1) // (1 + tokens))
    found = serve_engines(table, drafting(rules, *(1.0,) * tokens), *rest, draws)
    assert found.events.tolist() == passes.tolist()
    shorter = serve_engines(table, rules, *rest, replace(draws, output_tokens=passes))
    for name in ("first_s", "finished_s", "replica", "steps", "busy_s", "gap_counts"):
        assert np.array_equal(getattr(found, name), getattr(shorter, name))


@pytest.mark.parametrize("ahead", [False, True])
@BOTH
def test_a_request_alone_takes_its_passes_and_no_token_more(engines, *, ahead: bool) -> None:
    """12 tokens: the first, then four with each pass, and the last three of the last."""
    rules = drafting(AMPLE._replace(ahead=ahead), 1.0, 1.0, 1.0)
    records = served(engines, rules, draws_of([0.0], [(10, 12, 0)]))
    assert records.events.tolist() == [4]
    assert (records.first_s.tolist(), records.finished_s.tolist()) == ([1.0], [4.0])
    # One composed ahead, while it was not known that the answer would be complete.
    assert records.steps == (5 if ahead else 4)
    assert records.wasted == (1 + 4 if ahead else 1)


@BOTH
def test_a_pass_without_room_for_all_drafts_verifies_fewer(engines) -> None:
    """Five tokens: four for the first request, one for the second, while both are there."""
    rules = drafting(AMPLE._replace(tokens_max=5), 1.0, 1.0, 1.0)
    records = served(engines, rules, draws_of([0.0, 0.0], [(2, 13, 0), (2, 13, 0)]))
    # The first has 1 + 3 * 4 tokens after four passes, the other 1 + 3 * 1, and then four with each.
    assert records.finished_s.tolist() == [4.0, 7.0]


@BOTH
def test_a_drafter_takes_tokens_of_a_pass(engines) -> None:
    """Six tokens with one of each request's for the drafter: three drafts for the first, nothing for the second."""
    rules = drafting(AMPLE._replace(tokens_max=6), 1.0, 1.0, 1.0, draft_slots=1)
    records = served(engines, rules, draws_of([0.0, 0.0], [(2, 9, 0), (2, 9, 0)]))
    assert records.finished_s.tolist() == [3.0, 5.0]


@pytest.mark.parametrize(("lookahead", "ahead", "preempted"), [(0, False, 0), (3, False, 1), (0, True, 1)])
@BOTH
def test_the_cache_has_room_for_what_may_be_accepted(
    engines, lookahead: int, preempted: int, *, ahead: bool
) -> None:
    """Two requests of 28 tokens that compute 31: four blocks of 16 hold them, but not what a drafter looks ahead."""
    rules = drafting(AMPLE._replace(blocks=4, ahead=ahead), 0.0, 0.0, lookahead=lookahead)
    records = served(engines, rules, draws_of([0.0, 0.0], [(28, 4, 0), (28, 2, 0)]))
    assert records.preemptions.sum() == preempted


@BOTH
def test_the_last_tokens_of_a_prompt_are_not_drafted_after(engines) -> None:
    """A prompt of 17 tokens in parts of 16: its last part is one token, and brings the first of the answer alone."""
    rules = drafting(AMPLE._replace(tokens_max=16), 1.0, 1.0)
    assert served(engines, rules, draws_of([0.0], [(17, 1, 0)])).wasted == 0


def test_how_much_is_accepted_follows_from_the_request_alone() -> None:
    """Whatever engine serves it, and together with whom; who was thrown out begins again with a single token."""
    lengths = [(20, 30, 0)] * 12
    rules = drafting(AMPLE._replace(blocks=16), 0.8, 0.5, 0.3)
    crowded = served(serve_engines, rules, draws_of([0.0] * 12, lengths))
    assert crowded.preemptions.sum() > 0
    calm = served(serve_engines, rules._replace(blocks=10_000), draws_of([99.0] * 12, lengths))
    stayed = crowded.preemptions == 0
    assert 2 < stayed.sum() < 12
    assert crowded.events[stayed].tolist() == calm.events[stayed].tolist()
    assert len(set(calm.events.tolist())) > 3


@pytest.mark.parametrize("rates", [(0.7, 0.49, 0.343), (0.9, 0.2), (0.5,)])
def test_passes_of_an_answer_are_renewals(rates: tuple[float, ...]) -> None:
    """Within five standard errors, at lengths of which the last pass matters and at long ones."""
    law = Speculation(draft_tokens=len(rates), acceptance_rates=rates)
    for output in (2, 3, 5, 40):
        draws = draws_of([0.0] * 20_000, [(1, output, 0)] * 20_000, seed=output)
        events = served(serve_engines, drafting(AMPLE, *rates), draws).events
        error = events.std() / np.sqrt(len(events))
        assert events.mean() == pytest.approx(float(law.passes(output)), abs=5.0 * error + 1e-12)


def test_drafts_are_accepted_as_often_as_the_rates_say() -> None:
    rates = (0.8, 0.5, 0.1)
    found = np.array(
        [accepted_drafts(rates, 3, request, token) for request in range(300) for token in range(100)]
    )
    for at, rate in enumerate(rates):
        assert (found > at).mean() == pytest.approx(rate, abs=5.0 * np.sqrt(rate * (1.0 - rate) / len(found)))
    by_request = found.reshape(300, 100)
    for one, other in ((by_request[:-1], by_request[1:]), (by_request[:, :-1], by_request[:, 1:])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5.0 / np.sqrt(one.size)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_loop_by_other_hands_drafts_alike(data: st.DataObject) -> None:
    """`benchmarks/independent_engine.py` shares no code with the product but for what is accepted."""
    engine: Any = import_module("independent_engine")
    count, tokens = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))
    some_s = [0.0, 0.011337712313, 0.512345678917]  # so that no request comes as a pass ends
    gaps_s = data.draw(st.lists(st.sampled_from(some_s), min_size=count, max_size=count))
    pairs = st.tuples(st.integers(1, 90), st.integers(1, 60))
    lengths = [(*one, 0) for one in data.draw(st.lists(pairs, min_size=count, max_size=count))]
    rates = tuple(
        sorted(data.draw(st.lists(st.floats(0.0, 1.0), min_size=tokens, max_size=tokens)), reverse=True)
    )
    rules = EngineRules(
        sequences_max=data.draw(st.integers(1, 8)), tokens_max=data.draw(st.integers(1, 120)),
        blocks=data.draw(st.integers(12, 40)), caching=False, acceptance=rates, lookahead=tokens,
        starts_ahead=tokens, drafts_timed=True,
    )  # fmt: skip
    draws = draws_of(gaps_s, lengths)
    records = served(serve_engines, rules, draws, LINE)
    plan = {"sequences_max": rules.sequences_max, "batched_tokens_max": rules.tokens_max}
    requests = [(float(t), p, m) for t, (p, m, _) in zip(draws.arrived_s, lengths, strict=True)]
    drafter = engine.Drafter(tokens, lambda at, came: accepted_drafts(rates, draws.noise_seed, at, came))
    found = engine.serve(LINE.mean_s, rules.blocks, plan, requests, drafter)
    gaps = np.maximum(1, draws.output_tokens - 1)
    known = zip(records.first_s - draws.arrived_s, (records.finished_s - records.first_s) / gaps, strict=True)
    np.testing.assert_allclose(sorted(found), sorted(known), rtol=1e-9, atol=1e-9)


PROFILE = LlmProfile(
    name="drafting",
    kv=KvCache(tokens=160_000),
    limits_measured=LimitsMeasured(sequences_max=64, batched_tokens_max=2048, context_tokens_max=4096),
    coefficients=Coefficients(base_s=0.01, per_prefill_token_s=2e-5, per_decode_request_s=1e-4),
    engine=Engine(scheduler=Scheduler.VLLM_V1_0_33),
    speculation=Speculation(draft_tokens=3, acceptance_length=2.5, draft_token_s=0.001),
)


@pytest.mark.parametrize(
    ("scheduler", "method", "rules"),
    [
        (Scheduler.VLLM_V1_0_33, None, {"lookahead": 3, "starts_ahead": 3}),
        (Scheduler.VLLM_V1_0_33, Drafter.NGRAM, {}),
        (Scheduler.VLLM_V1_0_33, Drafter.DRAFT_MODEL, {"lookahead": 3, "starts_ahead": 3, "draft_slots": 1}),
        (Scheduler.VLLM_V1_0_19, Drafter.EAGLE3, {"lookahead": 3}),
        (Scheduler.VLLM_V1_0_19, Drafter.DRAFT_MODEL, {"lookahead": 3, "tokens_max": 256 - 8}),
    ],
)
def test_rules_of_a_drafter_follow_from_its_method_and_the_version(scheduler, method, rules) -> None:
    assert PROFILE.speculation is not None
    speculation = replace(PROFILE.speculation, method=method)
    profile = replace(PROFILE, engine=Engine(scheduler=scheduler), speculation=speculation)
    plain = EngineRules.of(replace(profile, speculation=None), 8, 256)
    expected = plain._replace(acceptance=speculation.rates, drafts_timed=True, **rules)
    assert EngineRules.of(profile, 8, 256) == expected
    assert profile.spare_tokens == expected.spare_tokens


def test_a_request_that_fits_only_without_drafts_is_refused() -> None:
    rules = drafting(AMPLE._replace(blocks=4, ahead=True), 0.5, 0.5, lookahead=2)
    assert served(serve_engines, rules, draws_of([0.0], [(50, 9, 0)])).events[0] > 1
    with pytest.raises(
        DomainError, match="computes 65 tokens, 6 of them for drafts, and the KV cache has room for 64"
    ):
        served(serve_engines, rules, draws_of([0.0], [(50, 10, 0)]))
