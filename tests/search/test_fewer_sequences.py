"""Fewer sequences at once than were measured: tried where the time between tokens costs an engine, and only there."""

from dataclasses import dataclass, field, replace

import pytest
from questions import engine_question, varied

from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm import Coefficients, KvCache, LimitsMeasured, LlmProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Saturation
from capacity.question.question import Question
from capacity.search.plan_decision import recommend
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.workload import Workload
from simulations.judge import SimulationJudge

LENGTHS = LengthLaws(LengthLaw(kind="constant", mean=10), LengthLaw(kind="constant", mean=50))
# A step of n requests takes 10 + 0.4n ms, so that 25 run in 20 ms.
PROFILE = LlmProfile(
    name="steep",
    kv=KvCache(tokens=16_000, block_tokens=16),
    limits_measured=LimitsMeasured(sequences_max=64, batched_tokens_max=256, context_tokens_max=100),
    coefficients=Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0004),
    hourly_usd=2.0,
)
WITHIN = {"tpot": {0.99: 0.02}, "ttft": {0.99: 2.0}}


def asked(rate_rps: float, **given: object) -> Question:
    usual = engine_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=rate_rps),
        lengths=LENGTHS,
        objective=Objective.of(**WITHIN),
    )
    return varied(usual, **given)


@dataclass
class Judge:
    """An engine at the rate r runs r·50 steps at once and half as many again at worst, or as many as it may.

    Tokens take the step of these, and the first one a second at the load 0.9, and the more the fewer are left.
    """

    tried: list[tuple[int, int]] = field(default_factory=list)

    def saturated(self, scenario: TokenScenario) -> Saturation:
        most = scenario.plan.sequences_max
        step_s = scenario.profile.pass_s(0.0, most, 1.0)
        return Saturation(
            rate_rps=most / (50 * step_s),
            running_mean=most,
            kv_utilization=0.1,
            preemption_rate=0.0,
            step_mean_s=step_s,
            prefill_time_share=0.0,
            binding="slots",
        )

    def search(
        self, scenario: TokenScenario, attempt: int, *, is_aside: bool = False
    ) -> Candidate[TokenPlan]:
        plan, rate_rps = scenario.plan, scenario.workload.arrival_rate_rps / scenario.plan.replicas
        self.tried.append((plan.replicas, plan.sequences_max))
        load = rate_rps / self.saturated(scenario).rate_rps
        line = scenario.profile.coefficients
        growth = rate_rps * 50 * line.per_decode_request_s
        running = 1.5 * rate_rps * 50 * line.base_s / max(0.01, 1.0 - growth)
        step_s = line.base_s + line.per_decode_request_s * min(running, plan.sequences_max)
        seen = Performance(
            kind=Kind.SIMULATION,
            load=load,
            tpot_quantiles_s={0.99: Interval.exact(step_s)},
            ttft_quantiles_s={0.99: Interval.exact(0.1 / max(0.01, 1.0 - load))},
        )
        worst = scenario.objective.binding(seen)
        found = worst.found(seen)
        assert found is not None
        rejection = Rejection.of(worst, found.value) if found.value > worst.allowed else None
        verdict = Verdict.MET if rejection is None else Verdict.MISSED
        return Candidate(plan=plan, verdict=verdict, rejection=rejection, performance=seen, requests=1)

    def certify(self, scenario: TokenScenario, attempt: int, requests_first: int = 0) -> Candidate[TokenPlan]:
        return replace(self.search(scenario, attempt), requests=1)


def chosen(judge: Judge, question: Question) -> tuple[int, int]:
    plan = recommend(question, judge, plan_alone=True).plan
    assert plan is not None
    return plan.replicas, plan.sequences_max


def test_an_engine_is_saved_where_too_many_at_once_miss_the_limit_between_tokens() -> None:
    """22 rps at an engine: 20 run on average and 29 at worst, whose steps take 22 ms; of 24 the load is 0.90."""
    assert chosen(Judge(), asked(44.0, sequences_max=(64,))) == (3, 64)
    judge = Judge()
    assert chosen(judge, asked(44.0)) == (2, 24)
    assert [sequences for replicas, sequences in judge.tried if replicas == 2] == [64, 24, 24]


def test_where_something_else_is_missed_a_few_more_are_tried() -> None:
    """At 23.5 rps the load of 24 is 0.96, and first tokens come late; of 26 at once a step takes 20.4 ms."""
    judge = Judge()
    assert chosen(judge, asked(47.0)) == (3, 64)
    assert [one for one in judge.tried if one[0] == 2] == [(2, 64), (2, 24), (2, 26)]


def test_plans_that_miss_no_limit_between_tokens_take_no_trial_more() -> None:
    """First tokens that come late, a limit that full engines keep, and sequences that were asked for."""
    late = {"tpot": {0.99: 0.02}, "ttft": {0.99: 0.12}}
    kept = {"tpot": {0.99: 0.036}, "ttft": {0.99: 0.2}}
    for question in (
        asked(24.0, objective=Objective.of(**late)),
        asked(60.0, objective=Objective.of(**kept)),
        asked(44.0, sequences_max=(64,)),
    ):
        judge = Judge()
        _, sequences = chosen(judge, question)
        assert sequences == 64
        assert {at_once for _, at_once in judge.tried} == {64}


def test_what_the_measured_sequences_would_take_stands_beside_the_plan() -> None:
    found = recommend(asked(44.0), SimulationJudge(precision=0.1), has_headroom=False)
    assert found.plan is not None
    assert (found.plan.replicas, found.plan.sequences_max) == (2, 24)
    (other,) = found.alternatives
    assert (other.plan.replicas, other.plan.sequences_max, other.accepted) == (3, 64, True)


MISSED = Rejection.of(Limit(measure=Measure.TPOT, quantile=0.99, allowed=0.02), 0.021)
LATE = Rejection.of(Limit(measure=Measure.TTFT, quantile=0.99, allowed=2.0), 3.0)
FULL = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.1)


@pytest.mark.parametrize(
    ("sequences", "refused", "expected"),
    [
        (64, MISSED, 24), (64, LATE, None), (64, FULL, None),
        (24, MISSED, 22), (24, LATE, 26), (24, FULL, 26), (20, MISSED, None), (28, LATE, None),
    ],
)  # fmt: skip
def test_the_next_number_of_sequences_follows_from_what_is_missed(
    sequences: int, refused: Rejection, expected: int | None
) -> None:
    question = asked(44.0)
    (family,) = question.families
    plan = replace(next(question.fleets(family, 1)), sequences_max=sequences)
    eased = question.eased(question.family(plan), refused)
    assert (None if eased is None else eased.settings) == (None if expected is None else (expected, 256))


def test_the_first_number_is_what_fits_the_cache_and_a_prompt_makes_it_smaller() -> None:
    def first(profile: LlmProfile, lengths: LengthLaws = LENGTHS) -> object:
        question = asked(44.0, profiles=(profile,), lengths=lengths)
        eased = question.eased(question.families[0], MISSED)
        return None if eased is None else eased.settings

    assert first(replace(PROFILE, kv=KvCache(tokens=35 * 16, block_tokens=16))) == (15, 256)
    prompts = LengthLaws(LengthLaw(kind="constant", mean=50), LengthLaw(kind="constant", mean=50))
    line = replace(PROFILE.coefficients, per_prefill_token_s=0.0001)
    assert first(replace(PROFILE, coefficients=line), prompts) == (20, 256)
    slow = replace(PROFILE.coefficients, base_s=0.03)
    assert first(replace(PROFILE, coefficients=slow)) is None  # a lone request misses it
    assert first(replace(PROFILE, limits_measured=replace(PROFILE.limits_measured, sequences_max=24))) is None
