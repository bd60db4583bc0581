"""One truth: the same inputs have one verdict, whichever verb is asked, with one account of the profile's error."""

import numpy as np
import pytest

import capacity as cap
from capacity.answers.plan import PlanAnswer
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Doubt, Reason, Verdict

EFFORT = {"batch_wait": "0ms", "precision": 0.1, "workers": 1}


def pausing(share: float) -> ServiceProfile:
    """800 samples of 10 ms, lognormal with sigma 0.1, of which a share takes 35 ms more."""
    generator = np.random.default_rng(7)
    samples_s = 0.010 * np.exp(0.1 * generator.standard_normal(800))
    samples_s += 0.035 * (generator.random(800) < share)
    timing = BatchTiming(batch_size=1, samples_s=tuple(samples_s.tolist()))
    return ServiceProfile(name="server", timings=(timing,), hourly_usd=1.0)


@pytest.fixture(scope="module")
def steady() -> PlanAnswer:
    return cap.plan(pausing(0.0), rate="1rps", slo_p99="30ms", **EFFORT)


def test_check_doubts_what_plan_doubts(steady: PlanAnswer) -> None:
    """P99 of a server that pauses in 1.25 % of its 800 samples is 12.5 to 45 ms; 30 ms is allowed.

    Before, plan was in doubt (exit 4), and check simulated the same server and refused it (exit 3).
    """
    planned = cap.plan(pausing(0.012), rate="1rps", slo_p99="30ms", **EFFORT)
    checked = cap.check(steady, profile=pausing(0.012), workers=1)
    assert planned.verdict is checked.verdict is Verdict.INCONCLUSIVE
    assert planned.exit_code == checked.exit_code == 4
    (doubted,) = [one for one in planned.considered if one.rejection is not None]
    assert (doubted.doubt, doubted.rejection.reason) == (Doubt.PROFILE, Reason.SERVICE_FLOOR)
    assert doubted.rejection in [one.rejection for one in checked.answer.findings]


@pytest.mark.long
def test_plan_check_explain_and_simulate_have_the_same_interval(steady: PlanAnswer) -> None:
    """Of the plan's P99, with the error of the samples; a simulation has other requests, and ends like it."""
    planned = steady.performance.response_quantiles_s[0.99]
    checked = cap.check(steady, workers=1)
    explained = cap.explain(steady, workers=1)
    assert (steady.verdict, checked.verdict, explained.verdict) == (Verdict.MET,) * 3
    assert checked.answer.performance == explained.explanation.base.performance == steady.performance
    simulated = cap.simulate(
        pausing(0.0), rate="1rps", replicas=1, batch_size_max=1, precision=0.1, workers=1
    )
    found = simulated.performance.response_quantiles_s[0.99]
    assert (found.low, found.high) == pytest.approx((planned.low, planned.high), rel=0.1)
    assert planned.high <= max(pausing(0.0).timings[0].samples_s) * 1.1
