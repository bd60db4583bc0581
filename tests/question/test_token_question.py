"""A question about language models: plans, prices, lengths that fit, and the rate at which a straight line saturates."""

from dataclasses import replace
from typing import Any

import pytest
from questions import engine_question, varied

from capacity.errors import DomainError, InputError
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from capacity.question.objective import Objective
from capacity.question.overload import Saturation
from capacity.question.plan import REPLICAS_LIMIT, Routing
from capacity.question.question import Question
from capacity.server.engine.lengths import fitted_lengths, require_lengths
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthLaw, LengthLaws, LengthRows
from capacity.traffic.workload import Workload
from simulations.validation.token_laws import linear_saturation_rps

PROFILE = LlmProfile(
    name="p",
    kv=KvCache(tokens=1600, block_tokens=16),
    limits_measured=LimitsMeasured(sequences_max=8, batched_tokens_max=64, context_tokens_max=100),
    coefficients=Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0),
    hourly_usd=2.0,
)
ROWS = LengthRows((10,), (20,), "mine.csv")


def question_of(**fields: Any) -> Question:
    given = {
        "profiles": (PROFILE,),
        "workload": Workload(arrival_rate_rps=5.0),
        "lengths": ROWS,
        "objective": Objective.of(response={0.9: 1.0}),
    }
    return engine_question(**(given | fields))


def engines(question: Question) -> list[TokenPlan]:
    return [engine for family in question.families for engine in question.fleets(family, 1)]


def engine_of(question: Question) -> TokenPlan:
    (one,) = engines(question)
    return one


def test_where_the_time_between_tokens_is_limited_smaller_steps_are_tried_too() -> None:
    large = replace(
        PROFILE,
        limits_measured=LimitsMeasured(sequences_max=8, batched_tokens_max=4096, context_tokens_max=100),
    )

    def steps(objective: Objective, profile: LlmProfile = large, **fields: Any) -> list[int]:
        asked = question_of(profiles=(profile,), objective=objective, **fields)
        return [engine.batched_tokens_max for engine in engines(asked)]

    itl = Objective.of(itl={0.99: 0.05})
    assert steps(itl) == [4096, 2048, 1024, 512]
    assert steps(itl, batched_tokens_max=(4096,)) == [4096]
    assert steps(Objective.of(ttft={0.99: 1.0}, tpot={0.99: 0.05})) == [4096]
    assert steps(itl, PROFILE) == [64]  # half of it is too small
    whole = replace(large, engine=replace(large.engine, chunked_prefill=False))
    assert steps(itl, whole) == [4096]
    many = replace(large, limits_measured=replace(large.limits_measured, sequences_max=2048))
    assert steps(itl, many) == [4096, 2048]
    found = question_of(profiles=(large,), objective=itl, routings=(Routing.ROUND_ROBIN, Routing.RANDOM))
    (other,) = found.others(TokenPlan(profile="p", replicas=2, sequences_max=8, batched_tokens_max=512))
    assert [(one.routing, one.batched_tokens_max) for one in engines(other)] == [(Routing.RANDOM, 512)]


def test_each_setting_is_a_plan_under_each_routing() -> None:
    one = engine_of(question_of())
    assert one == TokenPlan(profile="p", replicas=1, sequences_max=8, batched_tokens_max=64)
    asked = question_of(
        sequences_max=(2, 4), batched_tokens_max=(16, 32), routings=(Routing.ROUND_ROBIN, Routing.RANDOM)
    )
    found = [(one.routing, one.sequences_max, one.batched_tokens_max) for one in engines(asked)]
    assert found == [
        (routing, sequences, tokens)
        for routing in (Routing.ROUND_ROBIN, Routing.RANDOM)
        for sequences in (2, 4)
        for tokens in (16, 32)
    ]


def test_a_question_about_one_plan_allows_more_replicas_of_it() -> None:
    other = replace(PROFILE, name="q")
    asked = question_of(profiles=(PROFILE, other), cached_share=0.5)
    plan = TokenPlan(
        profile="q", replicas=5, sequences_max=4, batched_tokens_max=32, routing=Routing.LEAST_OUTSTANDING
    )
    about = asked.for_plan(plan)
    assert about == varied(
        asked,
        profiles=(other,),
        sequences_max=(4,),
        batched_tokens_max=(32,),
        routings=(Routing.LEAST_OUTSTANDING,),
        replicas_min=5,
    )
    scenario = asked.scenario(plan)
    assert (scenario.profile, scenario.plan, scenario.lengths) == (other, plan, ROWS)
    assert (scenario.cached_share, scenario.in_order, scenario.objective) == (0.5, False, asked.objective)
    assert scenario.at_rate(7.0).workload == Workload(arrival_rate_rps=7.0)


def test_a_plan_costs_its_price_or_its_replicas() -> None:
    plan = TokenPlan(profile="p", replicas=3, sequences_max=4, batched_tokens_max=32)
    assert question_of().cost(plan) == 6.0
    assert question_of(profiles=(replace(PROFILE, hourly_usd=None),)).cost(plan) == 3.0
    assert question_of(profiles=(replace(PROFILE, hourly_usd=0.1),)).cost(plan) == 0.3


def test_what_cannot_be_asked_is_refused() -> None:
    assert question_of(replicas_max=REPLICAS_LIMIT).replicas_max == REPLICAS_LIMIT
    assert question_of(replicas_max=1).replicas_max == 1
    for replicas_max in (0, REPLICAS_LIMIT + 1):
        with pytest.raises(
            DomainError, match=f"^replicas_max must be from 1 to {REPLICAS_LIMIT}, got {replicas_max}$"
        ):
            question_of(replicas_max=replicas_max)
    unpriced = replace(PROFILE, name="u", hourly_usd=None)
    with pytest.raises(
        InputError, match="^profile u has no price and cannot be compared .* give --hourly-usd u=0.50"
    ):
        question_of(profiles=(PROFILE, unpriced))
    with pytest.raises(InputError, match="^no objective given"):
        question_of(objective=Objective())
    with pytest.raises(DomainError):
        question_of(lengths=LengthRows((50,), (60,), "long.csv"))
    with pytest.raises(DomainError):
        question_of(sequences_max=(9,))
    with pytest.raises(DomainError, match="^--cached-share must be from 0 to below 1, got 1.0$"):
        replace(question_of().scenario(engine_of(question_of())), cached_share=1.0)


def test_settings_that_are_allowed_were_measured_and_have_room() -> None:
    asked = question_of()
    plan = TokenPlan(profile="p", replicas=1, sequences_max=8, batched_tokens_max=64)
    assert asked.space.allows(PROFILE, plan)
    assert not asked.space.allows(PROFILE, replace(plan, sequences_max=9))
    assert not asked.space.allows(PROFILE, replace(plan, batched_tokens_max=65))
    slots = replace(
        PROFILE, engine=Engine(scheduler=Scheduler.LLAMA_CPP), kv=KvCache(tokens=64, block_tokens=16)
    )
    narrow = question_of(profiles=(slots,), sequences_max=(2,))
    assert narrow.space.allows(slots, replace(plan, sequences_max=2))
    assert not narrow.space.allows(slots, replace(plan, sequences_max=4))


def test_lengths_fit_the_context_that_is_given_or_measured() -> None:
    geometric = LengthLaws(LengthLaw(kind="constant", mean=10), LengthLaw(kind="geometric", mean=20))
    constant = LengthLaws(LengthLaw(kind="constant", mean=10), LengthLaw(kind="constant", mean=20))
    assert fitted_lengths(PROFILE, geometric, None) == geometric.within(100)
    assert fitted_lengths(PROFILE, constant, None) is constant
    assert fitted_lengths(PROFILE, ROWS, None) is ROWS
    assert fitted_lengths(PROFILE, geometric, 50) == geometric.within(50)
    assert fitted_lengths(PROFILE, geometric, 100) == geometric.within(100)
    with pytest.raises(
        DomainError, match="^profile p was measured up to 100 tokens of context and does not cover 101"
    ):
        fitted_lengths(PROFILE, geometric, 101)
    assert fitted_lengths(PROFILE, ROWS, 101) == ROWS
    assert fitted_lengths(PROFILE, constant, 101).context_max == 30
    long = LengthRows((10, 10, 10), (20, 91, 92), "mine.csv")
    with pytest.raises(DomainError, match="does not cover 101"):
        fitted_lengths(PROFILE, long, 101)


def test_requests_fit_the_context_the_cache_and_their_share_of_it() -> None:
    def fits(tokens: int, profile: LlmProfile, sequences_max: int = 4) -> bool:
        rows = LengthRows((10,), (tokens - 10,), "mine.csv")
        try:
            require_lengths(profile, rows, sequences_max)
        except DomainError:
            return False
        return True

    assert [fits(100, PROFILE), fits(101, PROFILE)] == [True, False]
    small = replace(PROFILE, kv=KvCache(tokens=64, block_tokens=16))
    room = small.kv.usable_tokens + 1  # the last token of a response is not kept
    assert [fits(room, small), fits(room + 1, small)] == [True, False]
    slots = replace(small, engine=Engine(scheduler=Scheduler.LLAMA_CPP))
    share = small.kv.slot_tokens(2)
    assert [fits(share, slots, 2), fits(share + 1, slots, 2)] == [True, False]


def test_the_fewest_engines_whose_load_is_below_1() -> None:
    one = Saturation(
        rate_rps=40.0,
        running_mean=8.0,
        kv_utilization=0.5,
        preemption_rate=0.0,
        step_mean_s=0.01,
        prefill_time_share=0.1,
        binding="slots",
    )
    assert [one.engines_min(rate_rps) for rate_rps in (39.0, 40.0, 79.9, 80.0)] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("slots", "budget", "tokens", "passes"),
    [(4, 64, 1600, 20 / 4), (4, 2, 1600, 29 / 2), (8, 64, 80, None)],
)
def test_the_straight_line_by_hand(slots: int, budget: int, tokens: int, passes: float | None) -> None:
    """Prompts of 10 and outputs of 20: the prompt's pass gives the first, and the 19 others read 11 to 29 tokens."""
    profile = replace(PROFILE, kv=KvCache(tokens=tokens, block_tokens=16))
    plan = TokenPlan(profile="p", replicas=1, sequences_max=slots, batched_tokens_max=budget)
    scenario = replace(question_of().scenario(plan), profile=profile)
    if passes is None:
        passes = 20.0 / (profile.kv.usable_tokens / ROWS.moments.context)
    rate_rps = linear_saturation_rps(
        scenario, base_s=0.01, per_token_s=0.002, per_request_s=0.003, per_read_s=1e-5
    )
    read = sum(range(11, 30))
    assert 1.0 / rate_rps == pytest.approx(0.01 * passes + 0.02 + 0.003 * 19 + 1e-5 * read)


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1])
def test_a_cached_share_is_from_0_to_below_1(share: float) -> None:
    scenario = question_of().scenario(engine_of(question_of()))
    assert replace(scenario, cached_share=0.99).cached_share == 0.99
    with pytest.raises(DomainError, match="^--cached-share must be from 0 to below 1, got"):
        replace(scenario, cached_share=share)


@pytest.mark.parametrize("fields", [{"replicas": 0}, {"replicas": REPLICAS_LIMIT + 1}])
def test_a_plan_of_engines_out_of_range_is_refused(fields: dict[str, int]) -> None:
    least = TokenPlan(profile="p", replicas=1, sequences_max=1, batched_tokens_max=1)
    assert replace(least, replicas=REPLICAS_LIMIT).replicas == REPLICAS_LIMIT
    with pytest.raises(DomainError):
        replace(least, **fields)


@pytest.mark.parametrize(
    ("objective", "measure"),
    [
        (Objective.of(tpot={0.99: 0.05}), "TPOT"),
        (Objective.of(itl={0.9: 0.05}), "ITL"),
        (Objective.of(itl_mean=0.05, response={0.9: 1.0}), "ITL"),
        (Objective.of(tpot={0.99: 0.05}, goodput=0.99), "TPOT"),
    ],
)
def test_a_limit_of_what_no_request_has_is_refused(objective: Objective, measure: str) -> None:
    """One output token each: the simulator looked for the quantile of nothing, which was an internal error."""
    once = LengthRows((10, 30), (1, 1), "mine.csv")
    with pytest.raises(
        InputError, match=f"every request has one output token, and {measure} is about the time"
    ):
        question_of(lengths=once, objective=objective)
    scenario = question_of(lengths=ROWS, objective=objective).scenario(engine_of(question_of()))
    with pytest.raises(InputError, match="give lengths with longer outputs"):
        replace(scenario, lengths=LengthLaws(*[LengthLaw(kind="constant", mean=1)] * 2))
    assert question_of(lengths=once).space.lengths is once


def test_a_queue_limit_of_engines_is_that_of_all_fleets() -> None:
    question = question_of()
    limited = replace(question, space=replace(question.space, queue_limit=5))
    assert engine_of(limited).queue_limit == limited.scenario(engine_of(limited)).plan.queue_limit == 5
    with pytest.raises(DomainError, match="^the queue limit must be >= 0, got -1$"):
        replace(engine_of(question), queue_limit=-1)
    with pytest.raises(DomainError, match="^a queue limit of 0 lets nothing into an engine"):
        replace(engine_of(question), queue_limit=0)
    losses = Objective.of(response={0.5: 1.0}, loss=0.01)
    with pytest.raises(InputError, match="^a loss limit needs a queue limit"):
        question_of(objective=losses)
    assert replace(limited, objective=losses).objective is losses


def test_a_cache_of_unknown_size_answers_nothing() -> None:
    unknown = replace(PROFILE, kv=KvCache())
    with pytest.raises(
        InputError, match="KV cache is not known, and decides .* give --kv-tokens as the engine"
    ):
        question_of(profiles=(unknown,))
