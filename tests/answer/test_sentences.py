"""Sentences: why a plan for a language model was not accepted, by the limit that it broke."""

import pytest

from capacity.answer.refusals import format_refusal
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.server.engine.plan import TokenPlan

PLAN = TokenPlan(profile="p", replicas=1, sequences_max=8, batched_tokens_max=64)
TTFT = Limit(measure=Measure.TTFT, quantile=0.9, allowed=0.2)
SHARE = Limit(measure=Measure.MISSED, allowed=0.01)


@pytest.mark.parametrize(
    ("rejection", "said"),
    [
        (Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.0), "unstable: load 1.000 >= 1"),
        (
            Rejection(reason=Reason.STABILITY, allowed=0.96, needed=0.97),
            "load 0.970, too near saturation for the profile's accuracy",
        ),
        (Rejection.of(TTFT, 1.5), "TTFT P90 of 1.5 s is above 200 ms"),
        (Rejection.of(SHARE, 1.0), "share beyond a limit of 100 % is above 1 %"),
    ],
)
def test_a_refusal_has_its_numbers(rejection: Rejection, said: str) -> None:
    assert format_refusal(Candidate(plan=PLAN, verdict=Verdict.MISSED, rejection=rejection)) == said


@pytest.mark.parametrize("needed", [0.19, 0.21])
def test_what_stays_open_claims_no_number_beyond_the_limit(needed: float) -> None:
    open_one = Candidate(plan=PLAN, verdict=Verdict.INCONCLUSIVE, rejection=Rejection.of(TTFT, needed))
    assert format_refusal(open_one).endswith(" may be above 200 ms")
