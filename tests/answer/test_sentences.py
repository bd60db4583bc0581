"""Sentences: why a plan for a language model was not accepted, by the limit that it broke."""

import pytest

from capacity.answer.sentences import token_refusal
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.server.engine.plan import TokenPlan

PLAN = TokenPlan(profile="p", replicas=1, sequences_max=8, batched_tokens_max=64)
TTFT = Limit(measure=Measure.TTFT, quantile=0.9, allowed=0.2)
SHARE = Limit(measure=Measure.MISSED, allowed=0.01)


def refusal(rejection: Rejection | None, verdict: Verdict = Verdict.MISSED) -> str:
    return token_refusal(Candidate(plan=PLAN, verdict=verdict, rejection=rejection))


@pytest.mark.parametrize(
    ("reason", "needed", "said"),
    [
        (Reason.STABILITY, 1.0, "load 1, more requests arrive than they can serve"),
        (Reason.STABILITY, 0.97, "load 0.970, too near saturation for the profile's accuracy"),
        (Reason.REPLICAS_MAX, 7.0, "7 replicas would be needed to be stable"),
        (Reason.BUDGET, 2.5e8, "it would take 2.5e+08 simulated requests to tell"),
    ],
)
def test_a_reason_without_a_limit_says_what_it_would_take(reason: Reason, needed: float, said: str) -> None:
    assert refusal(Rejection(reason=reason, allowed=1.0, needed=needed)) == said


@pytest.mark.parametrize(
    ("promise", "needed", "said"),
    [(TTFT, 1.5, "TTFT P90 is 1.5 s, and 200 ms are allowed"), (SHARE, 1.0, "is 100 %, and 1 % are allowed")],
)
def test_a_broken_promise_says_what_was_found_and_what_is_allowed(promise, needed, said) -> None:
    assert refusal(Rejection.of(promise, needed)).endswith(said)


def test_what_stays_open_says_how_high_it_may_be() -> None:
    told = refusal(Rejection.of(TTFT, 0.21), Verdict.INCONCLUSIVE)
    assert told == "TTFT P90 may be as high as 210 ms, and 200 ms are allowed"


@pytest.mark.parametrize("needed", [0.19, 0.2])
def test_what_stays_open_by_its_count_alone_claims_no_number_beyond_the_limit(needed: float) -> None:
    told = refusal(Rejection.of(TTFT, needed), Verdict.INCONCLUSIVE)
    assert told == "TTFT P90 may be above the 200 ms that are allowed"


def test_what_nothing_refuses_is_accepted() -> None:
    assert refusal(None, Verdict.MET) == "accepted"
