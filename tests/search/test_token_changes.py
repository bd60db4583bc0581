"""Other settings of a language model's fleet: half and twice of each, where requests have room."""

from dataclasses import replace

import pytest
from questions import engine_question

from capacity.errors import DomainError
from capacity.profile.llm import Coefficients, Engine, KvCache, Scheduler
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Objective
from capacity.question.overload import Saturation
from capacity.search.plan_decision import silent
from capacity.search.what_if import Asker, neighbours
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from simulations.validation.token_systems import law_scenario

LENGTHS = LengthLaws(LengthLaw(kind="constant", mean=10), LengthLaw(kind="constant", mean=20))
LINE = Coefficients(base_s=0.01, per_prefill_token_s=0.0002, per_decode_request_s=0.0002)
SCENARIO = law_scenario(10.0, LENGTHS, LINE, kv=KvCache(tokens=8192, block_tokens=16))
SATURATED = Saturation(
    rate_rps=40.0,
    running_mean=8.0,
    kv_utilization=0.5,
    preemption_rate=0.0,
    step_mean_s=0.01,
    prefill_time_share=0.1,
    binding="slots",
)


class Judge:
    """Accepts each plan whose passes take the longest prompt, and refuses to draw requests for the others."""

    def __init__(self, longest: int = 0) -> None:
        self._longest = longest

    def saturated(self, scenario: TokenScenario) -> Saturation:
        return SATURATED

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate[TokenPlan]:
        if scenario.plan.batched_tokens_max < self._longest:
            raise DomainError("a prompt never fits a pass")
        return Candidate(plan=scenario.plan, verdict=Verdict.MET)

    search = certify = probe = lambda *_: pytest.fail("changes are tried once, by `accepts`")


def changes(engine: Engine, sequences: int, tokens: int, longest: int = 0) -> list[str]:
    """What was tried beside a plan with these sequences and tokens a pass."""
    profile = replace(SCENARIO.profile, engine=engine)
    question = engine_question(
        profiles=(profile,),
        workload=SCENARIO.workload,
        lengths=LENGTHS,
        objective=Objective.of(response={0.9: 1.0}),
        sequences_max=(sequences,),
        batched_tokens_max=(tokens,),
    )
    plan = TokenPlan(profile="law", replicas=2, sequences_max=sequences, batched_tokens_max=tokens)
    return [one.what for one in neighbours(Asker(Judge(longest), silent), question, plan)]


def test_half_and_twice_of_each_are_tried() -> None:
    assert changes(Engine(), 8, 64) == [
        "--sequences-max 4", "--sequences-max 16", "--batched-tokens-max 32", "--batched-tokens-max 128",
    ]  # fmt: skip


@pytest.mark.parametrize("engine", [Engine(scheduler=Scheduler.LLAMA_CPP), Engine(chunked_prefill=False)])
def test_a_setting_that_the_engine_refuses_is_left_out_and_the_next_is_tried(engine: Engine) -> None:
    """Either engine wants a token of each pass for each sequence."""
    assert changes(engine, 16, 16) == ["--sequences-max 8", "--batched-tokens-max 32"]


def test_a_pass_that_a_prompt_never_fits_is_left_out() -> None:
    found = changes(Engine(chunked_prefill=False), 4, 16, longest=10)
    assert found == ["--sequences-max 2", "--sequences-max 8", "--batched-tokens-max 32"]
