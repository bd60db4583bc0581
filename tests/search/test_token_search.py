"""The search of a fleet of engines, step by step, under a judge that answers by what a test says; and its notes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm import Coefficients, Engine, LlmProfile, Scheduler
from capacity.profile.steps import StepTiming
from capacity.question.candidate import Candidate, Limit, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.question.tokens import Saturation, TokenPlan, TokenQuestion, TokenScenario
from capacity.search import tokens
from capacity.search.planner import silent
from capacity.search.recommendation import Headroom, Tally
from capacity.search.tokens import (
    TokenRates,
    TokenRecommendation,
    TokenSearch,
    length_caveats,
    llm_profile_caveats,
    recommend_tokens,
    token_caveats,
    token_rates,
    with_headroom,
)
from capacity.traffic.lengths import LengthLaw, LengthLaws, LengthRows
from capacity.traffic.workload import TraceArrivals, Workload
from simulations.validation.token_systems import law_scenario

LENGTHS = LengthLaws(LengthLaw(kind="constant", mean=10), LengthLaw(kind="constant", mean=20))
LINE = Coefficients(base_s=0.01, per_prefill_token_s=0.0002, per_decode_request_s=0.0002)
SCENARIO = law_scenario(100.0, LENGTHS, LINE)
OBJECTIVE = Objective.of(response={0.9: 1.0})
ROWS = LengthRows((10,), (20,), "mine.csv")


def saturated_at(rate_rps: float) -> Saturation:
    return Saturation(
        rate_rps=rate_rps,
        running_mean=8.0,
        kv_utilization=0.5,
        preemption_rate=0.0,
        step_mean_s=0.01,
        prefill_time_share=0.1,
        binding="slots",
    )


def performance(**others: object) -> Performance:
    return replace(Performance(kind=Kind.SIMULATION, load=0.5), **others)


@dataclass
class Judge:
    """An engine saturates at a rate; a search accepts from `enough` replicas on, and a confirmation from `sure` on.

    Attributes:
        open_from: number of replicas from which on a search leaves open what it does not accept.
        requests: that each judgement takes.
        served: of a profile, how many times as much it serves.
    """

    enough: float = 1
    sure: float = 1
    open_from: float = math.inf
    requests: int = 100
    rate_rps: float = 40.0
    served: dict[str, float] = field(default_factory=dict)
    highest_rps: float = math.inf
    is_precise: bool = True
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def saturated(self, scenario: TokenScenario) -> Saturation:
        return saturated_at(self.rate_rps * self.served.get(scenario.plan.profile, 1.0))

    def search(self, scenario: TokenScenario, attempt: int) -> Candidate[TokenPlan]:
        return self._judged("search", scenario.plan, attempt, self.enough)

    def certify(self, scenario: TokenScenario, attempt: int) -> Candidate[TokenPlan]:
        return self._judged("certify", scenario.plan, attempt, self.sure)

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None
    ) -> Candidate[TokenPlan]:
        rate_rps = scenario.workload.arrival_rate_rps
        self.rates.append(rate_rps)
        verdict = Verdict.MET if rate_rps <= self.highest_rps else Verdict.MISSED
        return Candidate(plan=scenario.plan, verdict=verdict)

    probe = accepts

    def _judged(self, call: str, plan: TokenPlan, attempt: int, least: float) -> Candidate[TokenPlan]:
        replicas = math.ceil(plan.replicas * self.served.get(plan.profile, 1.0))
        self.calls.append((call, plan.replicas, attempt))
        verdict = (
            Verdict.MET
            if replicas >= least
            else Verdict.INCONCLUSIVE
            if replicas >= self.open_from
            else Verdict.MISSED
        )
        return Candidate(
            plan=plan,
            verdict=verdict,
            performance=performance(),
            requests=self.requests,
            is_precise=self.is_precise,
        )

    def searched(self) -> list[int]:
        return [replicas for call, replicas, _ in self.calls if call == "search"]


def question(*prices: float | None, **others: object) -> TokenQuestion:
    profiles = tuple(
        replace(SCENARIO.profile, name=f"law{number}", hourly_usd=price)
        for number, price in enumerate(prices or (2.0,))
    )
    usual = TokenQuestion(
        profiles=profiles, workload=SCENARIO.workload, lengths=ROWS, objective=OBJECTIVE, sequences_max=(8,)
    )
    return replace(usual, **others)


def recommended(
    judge: Judge, asked: TokenQuestion, progress: list[str] | None = None, **how: bool
) -> TokenRecommendation:
    report = silent if progress is None else progress.append
    return recommend_tokens(asked, judge, report, **{"with_headroom": False, **how})


def codes(found: Iterable[object]) -> list[object]:
    return [one.code for one in found]  # type: ignore[attr-defined]


# ---- Which fleets are looked at ------------------------------------------------------------


@pytest.mark.parametrize(
    ("enough", "looked_at"),
    [
        (3, [3, 2]),  # 100 rps on 40 rps each; then one fewer, which is unstable, to say why
        (4, [3, 4]),
        (5, [3, 4, 6, 5]),
        (9, [3, 4, 6, 10, 8, 9]),
        (14, [3, 4, 6, 10, 18, 14, 12, 13]),
    ],
)
def test_fleets_grow_by_doubled_steps_and_are_then_halved_in_on(enough: int, looked_at: list[int]) -> None:
    judge = Judge(enough=enough, sure=enough)
    found = recommended(judge, question())
    assert judge.searched() == looked_at
    assert found.plan is not None
    assert found.plan.replicas == enough
    assert judge.calls[-1 if enough != 3 else -2] == ("certify", enough, 1)
    assert found.tally == Tally(
        simulated=len(looked_at), certified=1, requests=100 * (len(looked_at) + 1), screened=0
    )
    assert [one.plan.replicas for one in found.considered] == sorted(looked_at)
    attempts = [attempt for call, _, attempt in judge.calls if call == "search"]
    assert attempts[0] == 1
    assert attempts == sorted(set(attempts))


def test_a_fleet_is_no_larger_than_is_allowed() -> None:
    judge = Judge(enough=9)
    found = recommended(judge, question(replicas_max=7))
    assert judge.searched() == [3, 4, 6, 7]
    assert (found.verdict, found.plan, found.headroom, found.saturation) == (Verdict.MISSED, None, None, None)
    assert found.tally == Tally(simulated=4, requests=400)
    assert recommended(Judge(enough=9, open_from=6), question(replicas_max=7)).verdict is Verdict.INCONCLUSIVE
    assert recommended(Judge(enough=7, sure=7), question(replicas_max=7)).verdict is Verdict.MET


def test_a_fleet_that_would_be_too_large_is_screened_by_its_load() -> None:
    judge = Judge()
    found = recommended(judge, question(replicas_max=2))
    (one,) = found.considered
    assert judge.calls == []
    assert (one.plan.replicas, one.verdict) == (3, Verdict.MISSED)
    assert one.rejection is not None
    assert (one.rejection.limit, one.rejection.allowed, one.rejection.needed) == (Limit.REPLICAS_MAX, 2, 3)
    assert found.tally == Tally(screened=1)
    assert found.verdict is Verdict.MISSED
    (many,) = recommended(Judge(rate_rps=1e-6), question(replicas_max=2)).considered
    assert many.plan.replicas == 1_000_000
    assert many.rejection is not None
    assert many.rejection.needed == pytest.approx(1e8, rel=1e-6)


def test_confirmations_grow_by_doubled_steps_until_one_succeeds_or_the_space_ends() -> None:
    judge = Judge(enough=3, sure=7)
    found = recommended(judge, question())
    confirmed = [(replicas, attempt) for call, replicas, attempt in judge.calls if call == "certify"]
    assert confirmed == [(3, 1), (4, 2), (6, 3), (10, 4), (8, 5), (7, 6)]
    assert found.plan is not None
    assert found.plan.replicas == 7
    assert found.hourly_usd == 14.0
    assert found.tally == Tally(simulated=1, certified=6, requests=700)
    within = Judge(enough=3, sure=7)
    given_up = recommended(within, question(replicas_max=5))
    assert (given_up.plan, given_up.verdict) == (None, Verdict.MISSED)
    assert [one for one in within.calls if one[0] == "certify"] == [
        ("certify", 3, 1),
        ("certify", 4, 2),
        ("certify", 5, 3),
    ]


def test_no_larger_fleet_is_confirmed_once_that_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CONFIRM_REQUESTS_MAX", 150)
    judge = Judge(enough=3, sure=9)
    assert recommended(judge, question()).plan is None
    assert [replicas for call, replicas, _ in judge.calls if call == "certify"] == [3, 4]


def test_a_setting_that_takes_more_when_it_is_confirmed_leaves_its_turn_to_a_cheaper_one() -> None:
    """Three of law0 are accepted at 6 USD and confirmed at 12 only; four of law1 at 1.6 each are confirmed at once."""

    class Stricter(Judge):
        def certify(self, scenario: TokenScenario, attempt: int) -> Candidate[TokenPlan]:
            least = 6 if scenario.plan.profile == "law0" else 4
            return self._judged("certify", scenario.plan, attempt, least)

    judge = Stricter(enough=3, served={"law1": 1.0})
    found = recommended(judge, question(2.0, 2.5))
    assert found.plan is not None
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("law1", 4, 10.0)


def test_of_two_profiles_the_more_expensive_is_tried_only_where_fewer_of_it_are_cheaper() -> None:
    """Two of law1, which serves twice as much, cost as three of law0 do: two are no better, and one is unstable."""
    judge = Judge(enough=3, sure=3, served={"law1": 2.0})
    found = recommended(judge, question(2.0, 3.0))
    assert found.plan is not None
    assert (found.plan.profile, found.hourly_usd) == ("law0", 6.0)
    assert judge.searched() == [3, 2]
    expensive = Judge(enough=7, sure=7, served={"law1": 2.0})
    found = recommended(expensive, question(2.0, 3.0))
    assert found.plan is not None
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("law1", 4, 12.0)
    assert expensive.searched() == [3, 4, 6, 10, 8, 7, 2, 3, 4]


def test_progress_says_what_is_judged() -> None:
    told: list[str] = []
    recommended(Judge(enough=2, sure=3, rate_rps=101.0), question(), told)
    tokens_max = SCENARIO.profile.limits_measured.batched_tokens_max
    of = f"of law0, 8 sequences, {tokens_max} tokens a step"
    assert told == [
        f"judging 1 replica {of}",
        f"judging 2 replicas {of}",
        f"confirming 2 replicas {of}",
        f"confirming 3 replicas {of}",
    ]


def test_why_fewer_are_not_enough_is_left_out_where_the_plan_alone_is_asked() -> None:
    judge = Judge(enough=3, sure=3, highest_rps=math.inf)
    found = recommended(judge, question(), plan_alone=True, with_headroom=True)
    assert judge.searched() == [3]
    assert found.headroom is None
    assert judge.rates == []
    fewest = Judge(enough=3, sure=3)
    recommended(fewest, question(replicas_min=3))
    assert fewest.searched() == [3]


def test_headroom_is_of_the_plan_and_only_where_there_is_one() -> None:
    judge = Judge(enough=3, sure=3, highest_rps=110.0)
    found = recommended(judge, question(), with_headroom=True)
    assert isinstance(found.headroom, Headroom)
    assert 108.0 < found.headroom.accepted_rps <= 110.0
    later = with_headroom(question(), recommended(judge, question()), judge, silent)
    assert later.headroom == found.headroom
    unasked = recommend_tokens(question(), Judge(enough=3, sure=3, highest_rps=110.0), silent)
    assert unasked.headroom == found.headroom  # it is left out on demand only
    nothing = recommended(Judge(), question(replicas_max=2))
    assert with_headroom(question(), nothing, judge, silent) is nothing


def test_a_search_that_is_out_of_budget_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SEARCH_REQUESTS_MAX", 300)
    judge = Judge(enough=50)
    found = recommended(judge, question())
    assert judge.searched() == [3, 4, 6, 10, 18, 34]
    assert found.verdict is Verdict.INCONCLUSIVE
    first_is_enough = Judge(enough=6, sure=6, served={"law1": 0.2})
    found = recommended(first_is_enough, question(2.0, 0.47))
    assert found.verdict is Verdict.MET
    assert codes(found.caveats)[0] is CaveatCode.FLEETS_UNTRIED
    assert found.caveats[0].message == (
        "the search stopped at its budget before all settings were tried; give fewer of them"
    )


def test_what_a_search_leaves_open_is_said() -> None:
    found = recommended(Judge(enough=5, sure=5, open_from=4), question(None))
    first, price, *_ = found.caveats
    assert first.code is CaveatCode.CHEAPER_INCONCLUSIVE
    assert first.message == (
        "4 replicas may be enough: the interval contains the limit, or the load is within 5 % of saturation, where "
        "an error of the profile decides; give --requests-max more, or measure the profile's steps more often"
    )
    assert price.code is CaveatCode.PRICE_UNKNOWN
    assert price.message == (
        "the profile has no price: the plan has the fewest replicas and no cost; give --hourly-usd law0=6.88"
    )
    assert found.hourly_usd is None
    one = recommended(Judge(enough=2, sure=2, open_from=1, rate_rps=101.0, is_precise=False), question())
    assert one.caveats[0].message.startswith("1 replica may be enough: ")
    assert one.caveats[1].code is CaveatCode.PRECISION_MISSED
    assert (
        one.caveats[1].message == "the interval is wider than --precision asks for; give --requests-max more"
    )


def test_a_token_search_has_a_budget_of_60_million_requests_and_twice_that_while_nothing_is_accepted() -> (
    None
):
    search = TokenSearch(question(), Judge(), silent)
    search.requests = 119_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget
    (plan, *_) = question().plans(question().profiles[0])
    search.requests = 0
    assert search.candidate(plan).accepted
    search.requests = 59_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget


# ---- Rates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("highest_rps", "tried", "accepted", "refused"),
    [
        (35.0, [4, 12, 20, 26, 32, 36, 34, 35, 35.5, 35.25], 35.0, 35.25),
        (3.0, [4, 2, 3, 3.5, 3.25], 3.0, 3.25),
        (50.0, [4, 12, 20, 26, 32, 36, 38, 39, 39.5, 39.75], 39.75, 40.0),
    ],
)
def test_rates_are_tried_to_the_first_that_fails_and_then_halved_in_on(
    highest_rps: float, tried: list[float], accepted: float, refused: float
) -> None:
    judge, told = Judge(highest_rps=highest_rps), []
    found = token_rates(SCENARIO, judge, told.append)
    assert judge.rates == pytest.approx(tried)
    assert told[:2] == ["trying 4 rps", f"trying {tried[1]:g} rps"]
    assert (found.accepted_rps, found.refused_rps) == (pytest.approx(accepted), pytest.approx(refused))
    assert [rate for rate, _ in found.points] == pytest.approx(sorted(tried))
    assert found.verdict is Verdict.MET


def test_no_rate_at_all() -> None:
    judge = Judge(highest_rps=0.0)
    found = token_rates(SCENARIO, judge, silent)
    assert judge.rates == pytest.approx([4.0, 2.0, 1.0, 0.5, 0.25])
    assert (found.accepted_rps, found.verdict) == (None, Verdict.MISSED)
    left_open = replace(found.points[0][1], verdict=Verdict.INCONCLUSIVE)
    assert replace(found, points=((0.25, left_open),)).verdict is Verdict.INCONCLUSIVE


def test_the_limit_shown_is_the_binding_one_at_the_largest_rate() -> None:
    """At the largest rate accepted, or tried if none was; without any figures, the first limit."""

    def at(verdict: Verdict, median_s: float) -> Candidate[TokenPlan]:
        quantiles_s = {0.5: Interval.exact(median_s), 0.9: Interval.exact(1.0)}
        return Candidate(
            plan=SCENARIO.plan, verdict=verdict, performance=performance(response_quantiles_s=quantiles_s)
        )

    asked = replace(SCENARIO, objective=Objective.of(response={0.5: 1.0, 0.9: 2.0}))
    held, late = at(Verdict.MET, 0.1), at(Verdict.MISSED, 0.9)
    unknown = Candidate(plan=SCENARIO.plan, verdict=Verdict.MISSED)

    def shown(*candidates: Candidate[TokenPlan], accepted_rps: float | None = None) -> float | None:
        return TokenRates(
            scenario=asked,
            saturation=saturated_at(9.0),
            points=tuple(enumerate(candidates)),
            accepted_rps=accepted_rps,
            refused_rps=3.0,
        ).promise.quantile

    assert shown(late, held, late, unknown, accepted_rps=1.0) == 0.9
    assert shown(held, late, held, unknown, accepted_rps=2.0) == 0.9
    assert shown(at(Verdict.MISSED, 0.1), late, unknown) == 0.5
    assert shown(late, at(Verdict.MISSED, 0.1)) == 0.9
    assert shown(unknown) == 0.5


# ---- Notes -----------------------------------------------------------------------------------


def notes(scenario: TokenScenario = SCENARIO, **of_performance: object) -> dict[CaveatCode, str]:
    told = list(token_caveats(scenario, performance(**of_performance)))
    assert len({one.code for one in told}) == len(told)
    return {one.code: one.message for one in told}


def test_a_note_begins_where_it_should() -> None:
    usual = {CaveatCode.LENGTHS_OF_A_LAW, CaveatCode.STEPS_FROM_COEFFICIENTS, CaveatCode.STEPS_UNCHECKED}
    assert set(notes()) == usual
    assert set(notes(load=0.85, kv_utilization=0.9, preemption_rate=0.0)) == usual
    told = notes(load=0.87, kv_utilization=0.911, preemption_rate=0.0123)
    assert set(told) - usual == {CaveatCode.LOAD_HIGH, CaveatCode.PREEMPTIONS, CaveatCode.KV_NEARLY_FULL}
    assert told[CaveatCode.LOAD_HIGH] == (
        "the load is 0.87: an error of 1 % in the profile changes the latency by 8 % or more; leave room, or check "
        "with a load test"
    )
    assert told[CaveatCode.PREEMPTIONS] == (
        "1.23 preemptions per 100 requests: the KV cache runs full and work is done twice; lower --sequences-max, "
        "or add a replica"
    )
    full = "the KV cache is 91 % full on average; longer requests than these would be"
    assert told[CaveatCode.KV_NEARLY_FULL] == f"{full} preempted"
    slots = replace(SCENARIO.profile, engine=Engine(scheduler=Scheduler.LLAMA_CPP))
    told = notes(replace(SCENARIO, profile=slots), kv_utilization=0.911)
    assert told[CaveatCode.KV_NEARLY_FULL] == f"{full} refused"
    assert CaveatCode.LOAD_HIGH not in notes(load=None)


def test_a_recording_is_one_sample_and_a_replay_is_of_its_requests_alone() -> None:
    trace = Workload(
        arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0, 2.0), name="mine.csv")
    )
    recorded = replace(SCENARIO, workload=trace)
    assert "a trace is one sample of the traffic" in notes(recorded)[CaveatCode.TRACE_ONE_PATH]
    assert CaveatCode.TRACE_ONE_PATH not in notes(recorded, kind=Kind.REPLAY)


def test_lengths_that_were_cut_are_counted() -> None:
    assert list(length_caveats(replace(SCENARIO, lengths=ROWS))) == []
    (one,) = length_caveats(replace(SCENARIO, lengths=replace(ROWS, dropped=2)))
    assert one.code is CaveatCode.LENGTHS_CUT
    assert one.message == (
        "2 of 3 requests of mine.csv are longer than the context and were left out; an engine refuses such requests"
    )
    (one,) = length_caveats(replace(SCENARIO, lengths=replace(ROWS, dropped=1)))
    assert one.message == (
        "1 of 2 requests of mine.csv is longer than the context and was left out; an engine refuses such requests"
    )


def test_columns_of_a_file_of_lengths_that_are_not_used_are_told() -> None:
    lengths = replace(ROWS, remarks=("mine.csv: column user is not used",))
    (one,) = length_caveats(replace(SCENARIO, lengths=lengths))
    assert (one.code, one.message) == (CaveatCode.TRACE_READING, "mine.csv: column user is not used")


def measured(*steps: StepTiming) -> LlmProfile:
    far = SCENARIO.profile.limits_measured.sequences_max
    rows = [
        StepTiming(decode_requests=n, decode_kv_tokens=n * context, mean_s=0.01 + 1e-4 * n)
        for n in (1, far)
        for context in (10, 100)
    ]
    most = SCENARIO.profile.limits_measured.batched_tokens_max
    rows += [StepTiming(prefill_requests=1, prefill_tokens=n, mean_s=0.01 + 1e-5 * n) for n in (1, most)]
    return replace(SCENARIO.profile, coefficients=None, steps=(*rows, *steps))


def test_a_table_of_steps_says_what_it_lacks() -> None:
    assert codes(llm_profile_caveats(measured())) == [
        CaveatCode.STEPS_MIXED_UNMEASURED,
        CaveatCode.STEPS_PAST_UNMEASURED,
        CaveatCode.STEPS_ERROR_UNKNOWN,
        CaveatCode.STEPS_UNCHECKED,
    ]
    mixed = StepTiming(
        prefill_requests=1, prefill_tokens=8, decode_requests=2, decode_kv_tokens=20, mean_s=0.011
    )
    past = StepTiming(prefill_requests=1, prefill_tokens=8, prefill_kv_tokens=64, mean_s=0.011)
    spread = StepTiming(
        decode_requests=2, decode_kv_tokens=20, mean_s=0.0102, p50_s=0.0102, p99_s=0.02, count=50
    )
    assert CaveatCode.STEPS_MIXED_UNMEASURED not in codes(llm_profile_caveats(measured(mixed)))
    assert CaveatCode.STEPS_PAST_UNMEASURED not in codes(llm_profile_caveats(measured(past)))
    assert CaveatCode.STEPS_ERROR_UNKNOWN not in codes(llm_profile_caveats(measured(spread)))
