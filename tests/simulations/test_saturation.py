"""Saturation of an engine: beside closed forms, beside the same engine watched from its beginning, and by hand."""

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.profile.llm import Coefficients, KvCache
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.sessions.parse import parse_sessions
from simulations import saturation
from simulations.cases.engine import require_tokens_answerable
from simulations.draws.tokens import EngineRules, TokenDraws
from simulations.kernel.engines import serve_engines
from simulations.kernel.saturated import Progress, SaturatedEngine
from simulations.saturation import require_check, saturated, settling_requests, token_load
from simulations.validation.token_laws import linear_saturation_rps
from simulations.validation.token_systems import law_scenario

LINE = Coefficients(base_s=0.01, per_prefill_token_s=1e-5, per_decode_request_s=0.0008, per_kv_token_s=1e-8)
GEOMETRIC = LengthLaw(kind="geometric", mean=400)
LOGNORMAL = LengthLaw(kind="lognormal", mean=1600, cv=2.0)
CONSTANT = LengthLaw(kind="constant", mean=400)
ERROR_MAX = 0.005


def scenario_of(slots: int, output: LengthLaw, rate_rps: float = 1.0, prompt: float = 20.0) -> TokenScenario:
    lengths = LengthLaws(LengthLaw(kind="constant", mean=prompt), output).within(100_000)
    room = KvCache(tokens=1_000_000_000)
    scenario = law_scenario(rate_rps, lengths, LINE, slots=slots, budget=400_000, kv=room)
    measured = replace(scenario.profile.limits_measured, sequences_max=100_000, batched_tokens_max=400_000)
    return replace(scenario, profile=replace(scenario.profile, limits_measured=measured))


def closed_form_rps(scenario: TokenScenario) -> float:
    return linear_saturation_rps(
        scenario,
        base_s=LINE.base_s,
        per_token_s=LINE.per_prefill_token_s,
        per_request_s=LINE.per_decode_request_s,
        per_read_s=LINE.per_kv_token_s,
    )


FEW = [(8, GEOMETRIC), (1_024, LOGNORMAL), (4_096, GEOMETRIC), (100_000, CONSTANT)]
MANY = [
    (slots, output)
    for slots in (8, 64, 256, 1_024, 4_096, 100_000)
    for output in (GEOMETRIC, LOGNORMAL, CONSTANT)
    if (slots, output) not in FEW
]


@pytest.mark.parametrize(
    ("slots", "output"), [*FEW, *(pytest.param(*one, marks=pytest.mark.long) for one in MANY)]
)
def test_slots_saturate_where_the_closed_form_says(slots: int, output: LengthLaw) -> None:
    """However many they are; all were to be filled by 12,000 requests once, and 4,096 were 20 % off."""
    scenario = scenario_of(slots, output)
    found = saturated(scenario)
    assert found.rate_rps == pytest.approx(closed_form_rps(scenario), rel=ERROR_MAX)
    assert found.running_mean == pytest.approx(slots, rel=0.01)
    assert found.binding == "slots"


def test_a_hundred_thousand_slots_are_stable_at_load_0_8() -> None:
    """Steps of 10 ms and 0.8 ms a request, 400 tokens: 3.13 rps at most, and 2.5 rps were refused as unstable."""
    scenario = scenario_of(100_000, GEOMETRIC, rate_rps=2.5, prompt=1.0)
    assert require_tokens_answerable(scenario) == pytest.approx(
        2.5 / closed_form_rps(scenario), rel=ERROR_MAX
    )
    assert token_load(scenario) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(
    ("slots", "budget", "at_once"),
    [(8, 1_024, 8), (256, 8_192, 256), (100_000, 1_024, 1_024), (100_000, 4_096, 4_096)],
)
@pytest.mark.parametrize("own", [1, 4])
def test_requests_that_one_step_serves_saturate_where_it_is_full(
    slots: int, budget: int, at_once: int, own: int
) -> None:
    """Prompts of some tokens of which one token comes back; the line of requests ended within a step."""
    lengths = LengthLaws(LengthLaw(kind="constant", mean=own), LengthLaw(kind="constant", mean=1))
    scenario = law_scenario(1.0, lengths, LINE, slots=slots, budget=budget)
    each = min(at_once, budget / own)  # the last may be begun in this step and done in the next
    step_s = LINE.base_s + LINE.per_prefill_token_s * own * each
    assert saturated(scenario).rate_rps == pytest.approx(each / step_s, rel=ERROR_MAX)


@pytest.mark.parametrize(("slots", "at_once"), [(64, 64), (100_000, 1_024)])
def test_sessions_of_one_turn_and_one_token_of_their_own_saturate(slots: int, at_once: int) -> None:
    """Two groups share 512 tokens each, which their first request alone computes, of the 16,384 that stand for all."""
    sessions = parse_sessions(
        "turns=constant:1;groups=zipf:count=2,exponent=1;prefix=512;first=constant:1;output=constant:1"
    )
    own = 1.0 + 2 * 512 / 16_384
    kv = KvCache(tokens=1_000_000)
    scenario = law_scenario(1.0, sessions, LINE, slots=slots, budget=1_024, kv=kv)
    each = at_once if at_once == slots else at_once / own
    step_s = LINE.base_s + LINE.per_prefill_token_s * own * each
    assert saturated(scenario).rate_rps == pytest.approx(each / step_s, rel=0.02)


def test_an_engine_that_is_quicker_than_was_thought_is_watched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line ended, which was an internal error."""
    scenario = scenario_of(8, LengthLaw(kind="geometric", mean=40))
    thought = saturation._Case.request_s.func
    slow = property(lambda case: 1000.0 * thought(case) / case.pace)
    monkeypatch.setattr(saturation._Case, "request_s", slow)
    asked = scenario.profile, replace(scenario.plan, queue_limit=None), scenario.lengths
    found = saturation.saturation.__wrapped__(*asked)
    assert found.rate_rps == pytest.approx(closed_form_rps(scenario), rel=ERROR_MAX)


def test_slots_that_never_fill_make_runs_no_longer() -> None:
    """As many requests settle 100,000 slots as 1,000 where about 50 run, by Cohen's law (a/g + 1)ρ/(1 - ρ)."""
    settled = [settling_requests(scenario_of(slots, GEOMETRIC, 2.5, 1.0)) for slots in (1_000, 100_000)]
    assert settled[0] == pytest.approx(settled[1], rel=0.05)
    assert settled[1] == pytest.approx(13.5 * 0.8 / 0.2 / 0.2, rel=0.1)


def test_slots_settle_in_one_service_where_steps_are_equal() -> None:
    """Of 0.7 of 64 slots: 44.8 requests come while one is served."""
    line = Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0)
    lengths = LengthLaws(LengthLaw(kind="constant", mean=1), CONSTANT)
    scenario = law_scenario(0.7 * 64 / 4.0, lengths, line, slots=64)
    assert settling_requests(scenario) == pytest.approx(44.8, rel=1e-6)


def test_more_at_once_than_are_simulated_is_refused() -> None:
    line = Coefficients(base_s=0.01, per_prefill_token_s=1e-5, per_decode_request_s=1e-6)
    lengths = LengthLaws(LengthLaw(kind="constant", mean=1), CONSTANT)
    room = KvCache(tokens=1_000_000_000)
    scenario = law_scenario(1.0, lengths, line, slots=2_000_000, budget=100_000_000, kv=room)
    with pytest.raises(
        InputError, match="2000000 sequences would run 2000000 requests at once, and 1000000 are"
    ):
        saturated(scenario)


@pytest.mark.long
@pytest.mark.parametrize(
    ("slots", "budget", "kv_tokens"),
    [(400, 8_192, 20_000), (64, 8_192, 1_000_000), (1_000, 256, 1_000_000)],
    ids=["cache", "slots", "tokens of a step"],
)
def test_an_engine_by_other_hands_saturates_there_too(slots: int, budget: int, kv_tokens: int) -> None:
    """`benchmarks/independent_engine.py` shares no code with the product; it serves 12,000 requests after 2,000."""
    engine: Any = import_module("independent_engine")
    lengths = LengthLaws(LengthLaw(kind="constant", mean=200), LengthLaw(kind="geometric", mean=50)).within(
        2_000
    )
    kv = KvCache(tokens=kv_tokens)
    scenario = law_scenario(1.0, lengths, LINE, slots=slots, budget=budget, kv=kv)
    given, got = lengths.draw(np.random.default_rng(3).random((16_000, 2)))
    plan = {"sequences_max": slots, "batched_tokens_max": budget}

    def steps(tokens: float, past: float, requests: float, read: float) -> float:
        return 0.01 + 1e-5 * tokens + 0.0008 * requests + 1e-8 * read

    requests = [(0.0, int(p), int(m)) for p, m in zip(given, got, strict=True)]
    served = engine.serve(steps, kv_tokens // 16 - 1, plan, requests)
    first_s = sorted(ttft_s for ttft_s, _ in served)  # all come at 0
    span_s = first_s[14_000] - first_s[2_000]
    weight = float(got[2_000:14_000].mean() / got.mean())
    assert saturated(scenario).rate_rps == pytest.approx(weight * 12_000 / span_s, rel=0.01)


def draws_of(given: list[int], got: list[int]) -> TokenDraws:
    count = len(given)
    return TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=np.array(given),
        output_tokens=np.array(got),
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
    )


NO_DRAWS = draws_of([], [])
NONE = np.zeros(0, dtype=np.int64)


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@pytest.mark.parametrize("blocks", [10_000, 12], ids=["room", "full cache"])
def test_from_its_beginning_it_is_the_engine_of_all_other_runs(ahead: bool, blocks: int) -> None:
    """Looked at in between or not, more requests at once or one after the other."""
    table = scenario_of(4, CONSTANT).profile.table
    rules = EngineRules(sequences_max=4, tokens_max=64, blocks=blocks, ahead=ahead)
    given, got = [20, 40, 3, 17, 60, 9, 30, 12], [30, 2, 50, 7, 1, 33, 20, 28]
    whole = serve_engines(table, rules, 1, Routing.ROUND_ROBIN, draws_of(given, got))
    engine = SaturatedEngine(table, rules, NO_DRAWS, NONE)
    engine.line_up(draws_of(given[:5], got[:5]))
    engine.line_up(draws_of(given[5:], got[5:]))
    for _ in range(200):
        engine.advance(whole.finished_s.max() / 199)
        done = engine.progress
        assert engine.waiting >= 0
    assert (done.generated, done.prompted, done.steps) == (sum(got), sum(given), whole.steps)
    assert done.preemptions == whole.preemptions.sum()
    assert (done.running_s, done.block_s) == (whole.running_s, whole.block_s)
    assert engine.largest == whole.largest


@pytest.mark.parametrize("after", [3, 11, 17])
def test_who_begins_in_the_midst_goes_on_as_if_it_had_begun_before(after: int) -> None:
    """Two requests after some steps of their own: the same steps follow, and so does who waits for their slots."""
    table = scenario_of(2, CONSTANT).profile.table
    rules = EngineRules(sequences_max=2, tokens_max=64, blocks=1_000)
    given, got = [20, 30], [18, 40]
    before = SaturatedEngine(table, rules, NO_DRAWS, NONE)
    before.line_up(draws_of([*given, 25, 8], [*got, 10, 12]))
    while before.progress.steps < after:
        before.advance(1e-4)
    midst = SaturatedEngine(table, rules, draws_of(given, got), np.array([after, after]))
    midst.line_up(draws_of([25, 8], [10, 12]))
    rest = [engine.progress for engine in (before, midst)]
    for engine in (before, midst):
        engine.advance(10.0)
    ends = [engine.progress.since(begun) for engine, begun in zip((before, midst), rest, strict=True)]
    assert [one.generated for one in ends] == [58 + 22 - 2 * after] * 2
    assert ends[0].steps == ends[1].steps
    assert ends[0].running_s == pytest.approx(ends[1].running_s, rel=1e-9)
    assert ends[0].block_s == pytest.approx(ends[1].block_s, rel=1e-9)


def test_who_begins_without_a_token_of_the_step_holds_its_blocks() -> None:
    """Steps take two of four requests, whose 22, 32, 42 and 52 tokens take 2, 3 (with one more), 3 and 4 blocks of 16."""
    table, rules = (
        scenario_of(4, CONSTANT).profile.table,
        EngineRules(sequences_max=4, tokens_max=2, blocks=1_000),
    )
    engine = SaturatedEngine(table, rules, draws_of([20, 30, 40, 50], [18, 40, 30, 20]), np.full(4, 3))
    engine.line_up(draws_of([25, 8], [10, 12]))
    while engine.progress.steps < 1:
        engine.advance(1e-3)
    assert engine.progress.block_s == pytest.approx(12.0 * engine.progress.now_s, rel=1e-9)


DONE = Progress(
    now_s=10.0, generated=4_000, prompted=2_000, steps=500, preemptions=0, running_s=0.0, block_s=0.0
)


@pytest.mark.parametrize(
    ("running", "full", "preemptions", "binding"),
    [
        (3.0, 0.5, 0, "tokens"),
        (3.9, 0.5, 6, "slots"),
        (3.87, 0.5, 0, "tokens"),
        (3.0, 0.8, 0, "tokens"),
        (3.0, 0.81, 0, "kv_cache"),
        (3.0, 0.5, 1, "kv_cache"),
    ],
)
def test_what_was_watched_is_counted_by_tokens(running, full, preemptions, binding) -> None:
    """In 10 s 4,000 output tokens of 20 a request, 200; and 2,000 of prompts of 8, 250, which a quarter of time goes to."""
    case: Any = SimpleNamespace(
        means=(8.0, 20.0, 0.0),
        rules=SimpleNamespace(blocks=100),
        plan=SimpleNamespace(sequences_max=4),
        lengths=SimpleNamespace(moments=SimpleNamespace(context=18.0)),
        profile=SimpleNamespace(
            pass_s=lambda *_: 0.015,
            limits_measured=SimpleNamespace(sequences_max=8, batched_tokens_max=512),
        ),
    )
    case.share_of_prompts = lambda done: saturation._Case.share_of_prompts(case, done)
    case.requests = lambda done, prompts: saturation._Case.requests(case, done, prompts)
    begun = Progress(now_s=2.0, generated=7, prompted=7, steps=7, preemptions=7, running_s=7.0, block_s=7.0)
    done = Progress(
        now_s=12.0,
        generated=4_007,
        prompted=2_007,
        steps=507,
        preemptions=7 + preemptions,
        running_s=7.0 + 10.0 * running,
        block_s=7.0 + 1_000.0 * full,
    )
    found = saturation._found(case, done.since(begun))
    assert found.prefill_time_share == pytest.approx(0.25)
    assert found.rate_rps == pytest.approx(0.75 * 20.0 + 0.25 * 25.0)
    assert found.running_mean == pytest.approx(running)
    assert found.kv_utilization == pytest.approx(full)
    assert found.preemption_rate == pytest.approx(preemptions / 212.5)
    assert found.step_mean_s == pytest.approx(0.02)
    assert (found.binding, found.measured_max) == (binding, {"slots": 8, "tokens": 512}.get(binding))


@pytest.mark.parametrize(("found_rps", "told"), [(102.9, ""), (103.2, "+3.2"), (97.1, ""), (96.8, "-3.2")])
def test_a_profile_may_miss_its_own_saturated_run_by_3_percent(monkeypatch, found_rps, told) -> None:
    monkeypatch.setattr(saturation, "checked_rate_rps", lambda _: found_rps)
    profile: Any = SimpleNamespace(name="p", check=SimpleNamespace(saturated_throughput_rps=100.0))
    if not told:
        require_check(profile)
        return
    with pytest.raises(InputError) as refused:
        require_check(profile)
    shown = (
        f"its steps give {found_rps:.3g} rps where a saturated run measured 100 rps ({told} %, and 3 % are"
    )
    assert f"profile p fails its check: {shown}" in str(refused.value)
    profile.check = None
    require_check(profile)
