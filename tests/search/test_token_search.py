"""The search of a fleet of engines, step by step, under a judge that answers by what a test says; and its notes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from questions import engine_question, varied

from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm import Coefficients, Engine, LlmProfile, Scheduler
from capacity.profile.steps import StepTiming
from capacity.question.candidate import Candidate, Doubt, Reason, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.question.overload import Saturation
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.search.by_hour import schedule
from capacity.search.candidates import Search
from capacity.search.caveats import scenario_caveats
from capacity.search.certificate import by_preference
from capacity.search.engines import EngineTheory, length_caveats, llm_profile_caveats
from capacity.search.max_rate import caveats as rates_caveats
from capacity.search.max_rate import find_rates
from capacity.search.plan_decision import recommend, silent, with_headroom
from capacity.search.recommendation import Headroom, Recommendation, Tally
from capacity.server.engine.plan import TokenPlan, TokenScenario
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

    def requests_to_settle(self, scenario: TokenScenario) -> float:
        return self.requests

    def saturated(self, scenario: TokenScenario) -> Saturation:
        return saturated_at(self.rate_rps * self.served.get(scenario.plan.profile, 1.0))

    def search(
        self, scenario: TokenScenario, attempt: int, *, is_aside: bool = False
    ) -> Candidate[TokenPlan]:
        return self._judged("search", scenario.plan, attempt, self.enough)

    def certify(self, scenario: TokenScenario, attempt: int, requests_first: int = 0) -> Candidate[TokenPlan]:
        return self._judged("certify", scenario.plan, attempt, self.sure)

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None, likely: object = None
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
        used_s = 0.5 if verdict is Verdict.MET else 2.0
        return Candidate(
            plan=plan,
            verdict=verdict,
            doubt=Doubt.PROFILE if verdict is Verdict.INCONCLUSIVE else None,
            performance=performance(response_quantiles_s={0.9: Interval.exact(used_s)}),
            requests=self.requests,
            is_precise=self.is_precise,
        )

    def searched(self) -> list[int]:
        return [replicas for call, replicas, _ in self.calls if call == "search"]


def question(*prices: float | None, **others: object) -> Question:
    profiles = tuple(
        replace(SCENARIO.profile, name=f"law{number}", hourly_usd=price)
        for number, price in enumerate(prices or (2.0,))
    )
    usual = engine_question(
        profiles=profiles, workload=SCENARIO.workload, lengths=ROWS, objective=OBJECTIVE, sequences_max=(8,)
    )
    return varied(usual, **others)


def recommended(
    judge: Judge, asked: Question, progress: list[str] | None = None, **how: bool
) -> Recommendation:
    report = silent if progress is None else progress.append
    return recommend(asked, judge, report, **{"plan_alone": True, **how})


def codes(found: Iterable[object]) -> list[object]:
    return [one.code for one in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("enough", "looked_at"),
    [
        (3, [3, 2]),  # 100 rps on 40 rps each; then one fewer, which is unstable, to say why
        (4, [3, 5, 4]),
        (5, [3, 5, 4]),
        (9, [3, 5, 9, 7, 8]),
        (14, [3, 5, 9, 17, 13, 15, 14]),
    ],
)
def test_fleets_grow_by_doubled_steps_and_are_then_halved_in_on(enough: int, looked_at: list[int]) -> None:
    judge = Judge(enough=enough, sure=enough)
    found = recommended(judge, question())
    assert judge.searched() == looked_at
    assert found.plan.replicas == enough
    assert judge.calls[-1 if enough != 3 else -2] == ("certify", enough, 1)
    assert found.tally == Tally(
        simulated=len(looked_at), certified=1, requests=100 * (len(looked_at) + 1), screened=0
    )
    assert [one.plan.replicas for one in found.considered] == sorted(looked_at)
    assert {attempt for call, _, attempt in judge.calls if call == "search"} == {1}  # one test of one setting


def test_a_fleet_is_no_larger_than_is_allowed() -> None:
    judge = Judge(enough=9)
    found = recommended(judge, question(replicas_max=7))
    assert judge.searched() == [3, 5, 7]
    assert (found.verdict, found.plan, found.headroom, found.saturation) == (Verdict.MISSED, None, None, None)
    assert found.tally == Tally(simulated=3, requests=300)
    assert recommended(Judge(enough=9, open_from=6), question(replicas_max=7)).verdict is Verdict.INCONCLUSIVE
    assert recommended(Judge(enough=7, sure=7), question(replicas_max=7)).verdict is Verdict.MET


def test_a_fleet_that_would_be_too_large_is_screened_by_its_load() -> None:
    judge = Judge()
    found = recommended(judge, question(replicas_max=2))
    (one,) = found.considered
    assert judge.calls == []
    assert (one.plan.replicas, one.verdict) == (3, Verdict.MISSED)
    assert (one.rejection.reason, one.rejection.allowed, one.rejection.needed) == (Reason.REPLICAS_MAX, 2, 3)
    assert found.verdict is Verdict.MISSED
    (many,) = recommended(Judge(rate_rps=1e-6), question(replicas_max=2)).considered
    assert many.plan.replicas == 1_000_000
    assert many.rejection.needed == pytest.approx(1e8, rel=1e-6)


def test_confirmations_grow_by_doubled_steps_until_one_succeeds_or_the_space_ends() -> None:
    judge = Judge(enough=3, sure=7)
    found = recommended(judge, question())
    confirmed = [(replicas, attempt) for call, replicas, attempt in judge.calls if call == "certify"]
    assert confirmed == [(3, 1), (4, 2), (6, 3), (10, 4), (8, 5), (7, 6)]
    assert found.plan.replicas == 7
    assert found.hourly_usd == 14.0
    assert found.tally == Tally(
        simulated=6, certified=6, requests=1200
    )  # each is searched before it is confirmed
    within = Judge(enough=3, sure=7)
    given_up = recommended(within, question(replicas_max=5))
    assert (given_up.plan, given_up.verdict) == (None, Verdict.MISSED)
    assert [one for one in within.calls if one[0] == "certify"] == [
        ("certify", 3, 1),
        ("certify", 4, 2),
        ("certify", 5, 3),
    ]


def test_no_larger_fleet_is_confirmed_once_that_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineTheory, "confirm_requests_max", 150)
    judge = Judge(enough=3, sure=9)
    assert recommended(judge, question()).plan is None
    assert [replicas for call, replicas, _ in judge.calls if call == "certify"] == [3, 4]


def test_a_setting_that_takes_more_when_it_is_confirmed_leaves_its_turn_to_a_cheaper_one() -> None:
    """Three of law0 are accepted at 6 USD and confirmed at 12 only; four of law1 at 1.6 each are confirmed at once."""

    class Stricter(Judge):
        def certify(
            self, scenario: TokenScenario, attempt: int, requests_first: int = 0
        ) -> Candidate[TokenPlan]:
            least = 6 if scenario.plan.profile == "law0" else 4
            return self._judged("certify", scenario.plan, attempt, least)

    judge = Stricter(enough=3, served={"law1": 1.0})
    found = recommended(judge, question(2.0, 2.5))
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("law1", 4, 10.0)


def test_of_two_profiles_the_more_expensive_is_tried_only_where_fewer_of_it_are_cheaper() -> None:
    """Two of law1, which serves twice as much, cost as three of law0 do: two are no better, and one is unstable."""
    judge = Judge(enough=3, sure=3, served={"law1": 2.0})
    found = recommended(judge, question(2.0, 3.0))
    assert (found.plan.profile, found.hourly_usd) == ("law0", 6.0)
    assert judge.searched() == [
        3,
        2,
        2,
    ]  # at the same price too, of which the one farthest from its limit wins
    expensive = Judge(enough=7, sure=7, served={"law1": 2.0})
    found = recommended(expensive, question(2.0, 3.0))
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("law1", 4, 12.0)
    assert expensive.searched() == [3, 5, 9, 7, 6, 4, 2, 3]


def test_what_a_failure_leaves_of_a_fleet_of_engines_must_be_enough_too() -> None:
    """Three are enough; so four are needed for one that may fail, and five for two of which one zone holds."""
    for survival, enough in ((Survival(spare=1), 4), (Survival(spare=2), 5), (Survival(zones=2), 6)):
        judge = Judge(enough=3, sure=3)
        found = recommended(judge, question(survival=survival), plan_alone=False, has_headroom=False)
        assert found.plan.replicas == enough
        assert [one.plan.replicas for one in found.survived] == [3]
        assert found.without_survival.plan.replicas == 3


def test_each_hour_of_a_day_has_the_fewest_engines_that_are_enough() -> None:
    """An engine holds 30 rps, and saturates at 40; at night there is one, and by day as many as the rate needs."""

    class ByRate(Judge):
        def search(
            self, scenario: TokenScenario, attempt: int, *, is_aside: bool = False
        ) -> Candidate[TokenPlan]:
            enough = math.ceil(scenario.workload.arrival_rate_rps / 30.0)
            return self._judged("search", scenario.plan, attempt, enough)

    rates_rps = [0.0] * 6 + [20.0] * 6 + [100.0] * 6 + [65.0] * 6
    asked = question(2.0, workload=replace(SCENARIO.workload, arrival_rate_rps=100.0))
    plan = replace(next(asked.fleets(asked.families[0], 1)), replicas=4)
    day = schedule(asked, plan, rates_rps, ByRate(), silent)
    assert day.replicas == (*[1] * 12, *[4] * 6, *[3] * 6)
    assert (day.peak, day.replica_hours_ideal, day.unkept_rps) == (4, 54, ())
    assert (day.hourly_usd[0], day.hourly_usd[12]) == (2.0, 8.0)


def test_of_fleets_at_one_price_the_load_counts_beside_the_limits() -> None:
    """Times between tokens are 64 % of their limit at load 0.91, and 85 % at load 0.73: the second can take more."""
    search = Search(question(objective=Objective.of(itl={0.99: 0.04})), Judge(), silent)

    def accepted(tokens: int, itl_s: float, load: float) -> Candidate:
        seen = performance(load=load, itl_quantiles_s={0.99: Interval.exact(itl_s)})
        plan = TokenPlan(profile="law0", replicas=5, sequences_max=8, batched_tokens_max=tokens)
        return Candidate(plan=plan, verdict=Verdict.MET, performance=seen)

    fleets = [accepted(256, 0.0257, 0.91), accepted(512, 0.0341, 0.73)]
    assert [one.plan.batched_tokens_max for one in by_preference(search, fleets)] == [512, 256]
    assert min(fleets, key=search.merit).plan.batched_tokens_max == 512


def test_progress_says_what_is_judged() -> None:
    told: list[str] = []
    recommended(Judge(enough=2, sure=3, rate_rps=101.0), question(), told)
    tokens_max = SCENARIO.profile.limits_measured.batched_tokens_max
    of = f"of law0, 8 sequences, {tokens_max} tokens a step, round-robin"
    assert told == [
        f"judging 1 replica {of}",
        f"judging 3 replicas {of}",
        f"judging 2 replicas {of}",
        f"confirming 2 replicas {of}",
        f"confirming 3 replicas {of}",
    ]


def test_the_plan_alone_has_no_headroom_and_no_fewer_are_tried_than_are_asked_for() -> None:
    judge = Judge(enough=3, sure=3, highest_rps=math.inf)
    found = recommended(judge, question(), plan_alone=True)
    assert (found.headroom, found.random_routing) == (None, None)
    assert judge.rates == []
    fewest = Judge(enough=3, sure=3)
    recommended(fewest, question(replicas_min=3))
    assert fewest.searched() == [3]


def test_headroom_is_of_the_plan_and_only_where_there_is_one() -> None:
    judge = Judge(enough=3, sure=3, highest_rps=110.0)
    found = recommended(judge, question(), plan_alone=False)
    assert isinstance(found.headroom, Headroom)
    assert 108.0 < found.headroom.accepted_rps <= 110.0
    later = with_headroom(question(), recommended(judge, question()), judge, silent)
    assert later.headroom == found.headroom
    assert recommended(judge, question(), plan_alone=False, has_headroom=False).headroom is None
    nothing = recommended(Judge(), question(replicas_max=2))
    assert with_headroom(question(), nothing, judge, silent) is nothing


def test_a_search_that_is_out_of_budget_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineTheory, "search_requests_max", 300)
    judge = Judge(enough=100)
    found = recommended(judge, question())
    assert judge.searched() == [3, 5, 9, 17, 33, 65]
    assert found.verdict is Verdict.INCONCLUSIVE
    first_is_enough = Judge(enough=6, sure=6, served={"law1": 0.2})
    found = recommended(first_is_enough, question(2.0, 0.47))
    assert found.verdict is Verdict.MET
    (note,) = [one for one in found.caveats if one.code is CaveatCode.FLEETS_UNTRIED]
    assert note.message.startswith("13 fleets that may be cheaper were not tried")


def test_what_a_search_leaves_open_is_said() -> None:
    found = recommended(Judge(enough=5, sure=5, open_from=4), question(None))
    told = {one.code: one.message for one in found.caveats}
    assert told[CaveatCode.CHEAPER_INCONCLUSIVE] == (
        "a fleet of 4 with up to 8 sequences is cheaper and undecided; measure the profile's steps more often"
    )
    assert "give --hourly-usd law0=" in told[CaveatCode.PRICE_UNKNOWN]
    assert found.hourly_usd is None
    wide = Judge(enough=2, sure=2, open_from=1, rate_rps=101.0, is_precise=False)
    assert CaveatCode.PRECISION_MISSED in codes(recommended(wide, question()).caveats)


def test_a_token_search_has_a_budget_of_60_million_requests_and_twice_that_while_nothing_is_accepted():
    search = Search(question(), Judge(), silent)
    search.requests = 119_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget
    (plan,) = question().fleets(question().families[0], 1)
    search.requests = 0
    assert search.candidate(plan).accepted
    search.requests = 59_999_999
    assert not search.out_of_budget
    search.requests += 1
    assert search.out_of_budget


@pytest.mark.parametrize(
    ("highest_rps", "tried"),
    [
        (35.0, [0.4, 4, 12, 20, 26, 32, 36, 38, 34, 35, 35.5, 35.25]),
        (4.0, [0.4, 4, 12, 20, 8, 6, 5, 4.5, 4.25, 4.125, 4.0625, 4.03125]),
        (50.0, [0.4, 4, 12, 20, 26, 32, 36, 38, 39, 39.5, 39.75]),
    ],
)
def test_rates_are_tried_to_two_refusals_and_then_halved_in_on(highest_rps, tried) -> None:
    judge, told = Judge(highest_rps=highest_rps), []
    found = find_rates(SCENARIO, judge, told.append)
    assert judge.rates == pytest.approx(tried)
    assert told[:2] == ["trying 0.4 rps", "trying 4 rps"]
    (stretch,) = found.stretches
    assert stretch.low.low == 0.0
    assert stretch.high.low <= min(highest_rps, 40.0) <= stretch.high.high <= 1.01 * stretch.high.low
    assert [one.size for one in found.points] == pytest.approx(sorted(tried))
    assert (found.verdict, found.doubts, found.saturation) == (Verdict.MET, (), saturated_at(40.0))


def test_no_rate_at_all() -> None:
    judge = Judge(highest_rps=0.0)
    found = find_rates(SCENARIO, judge, silent)
    assert judge.rates == pytest.approx([0.4, 4.0])
    assert (found.stretches, found.verdict, found.size_open) == ((), Verdict.MISSED, pytest.approx(0.4))


def test_rates_that_the_profile_leaves_open_are_told_with_what_would_settle_them() -> None:
    """Within 5 % of saturation an error of the profile decides, and no simulation helps."""

    class NearSaturation(Judge):
        def accepts(
            self,
            scenario: TokenScenario,
            effort: int = 1,
            requests_max: int | None = None,
            likely: object = None,
        ) -> Candidate[TokenPlan]:
            found = Judge.accepts(self, scenario)
            is_near = scenario.workload.arrival_rate_rps > 38.0
            return replace(found, verdict=Verdict.INCONCLUSIVE, doubt=Doubt.PROFILE) if is_near else found

        def certify(
            self, scenario: TokenScenario, attempt: int, requests_first: int = 0
        ) -> Candidate[TokenPlan]:
            return self.accepts(scenario)

    found = find_rates(SCENARIO, NearSaturation(), silent)
    assert found.size_max == pytest.approx(38.0)
    ((low_rps, high_rps),) = found.doubts
    assert 38.0 < low_rps < high_rps < 40.0
    (note,) = [one for one in rates_caveats(found) if one.code is CaveatCode.RATES_IN_DOUBT]
    assert note.message.endswith("measure the profile's steps more often")


def notes(scenario: TokenScenario = SCENARIO, **of_performance: object) -> dict[CaveatCode, str]:
    told = list(scenario_caveats(scenario, performance(**of_performance)))
    assert len({one.code for one in told}) == len(told)
    return {one.code: one.message for one in told}


def test_a_note_begins_where_it_should() -> None:
    usual = {CaveatCode.LENGTHS_OF_A_LAW, CaveatCode.STEPS_FROM_COEFFICIENTS, CaveatCode.STEPS_UNCHECKED}
    assert set(notes()) == usual
    assert set(notes(load=0.85, kv_utilization=0.9, preemption_rate=0.00099)) == usual
    assert CaveatCode.PREEMPTIONS in notes(preemption_rate=0.001)
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
        CaveatCode.STEPS_MIXED_UNMEASURED, CaveatCode.STEPS_PAST_UNMEASURED, CaveatCode.STEPS_ERROR_UNKNOWN,
        CaveatCode.STEPS_UNCHECKED,
    ]  # fmt: skip
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
