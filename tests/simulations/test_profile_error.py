"""The error of a profile's samples in a simulated quantile, beside a bootstrap that shares no code with it."""

import numpy as np
import pytest

from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.sampling import reach
from capacity.question.objective import LatencyObjective
from capacity.question.plan import Plan
from capacity.question.scenario import Scenario
from capacity.traffic.workload import Workload
from simulations.case import Case, run_length
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import precise_look
from simulations.statistics.intervals import without_noise
from simulations.statistics.profile_error import profile_error

SAMPLES_S = np.random.default_rng(5).lognormal(np.log(0.010), 0.3, 300)
RATE_RPS = 0.85 / float(SAMPLES_S.mean())


def spread_of_a_bootstrap() -> float:
    """Spread of the logarithm of P99 under 60 resamples, by Lindley's recursion for the same requests under each."""
    generator = np.random.default_rng(11)
    count, requests = 50, 100_000
    laws_s = np.sort(generator.choice(SAMPLES_S, (count, len(SAMPLES_S))), axis=1)
    gaps_s = generator.exponential(1.0 / RATE_RPS, requests)
    picks = generator.integers(len(SAMPLES_S), size=requests)
    response_s = np.empty((requests, count))
    wait_s = np.zeros(count)
    for request in range(requests):
        response_s[request] = wait_s + laws_s[:, picks[request]]
        wait_s = np.maximum(0.0, response_s[request] - gaps_s[request])
    p99_s = np.quantile(response_s[5_000:], 0.99, axis=0)
    return float(np.log(p99_s).std())


def test_the_error_of_a_busy_replica_is_that_of_a_bootstrap() -> None:
    """The chance of the runs themselves, which is as large here, is no error of the profile."""
    profile = ServiceProfile(
        name="p", timings=(BatchTiming(batch_size=1, samples_s=tuple(SAMPLES_S.tolist())),)
    )
    case = Case(
        scenario=Scenario(
            profile=profile,
            workload=Workload(arrival_rate_rps=RATE_RPS),
            plan=Plan(profile="p", replicas=1, batch_size_max=1),
            objective=LatencyObjective(limits={0.99: 1.0}),
        )
    )
    look = precise_look(case, Seed(value=1, stage=Stage.CERTIFY), 50_000_000, 0.05, 0.95)
    spreads = []
    for value in range(3):
        error = profile_error(case, run_length(case), 0.95, Seed(value=value, stage=Stage.CERTIFY), map)
        assert error is not None
        estimate = error.quantile(look.pool.response_quantile(0.99), lambda sample: sample.responses)
        assert estimate.moved_by is not None
        spreads.append(float(np.log1p(estimate.moved_by / estimate.value).std()))
    assert 0.7 <= np.mean(spreads) / spread_of_a_bootstrap() <= 1.4


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_values_are_as_far_apart_as_what_their_halves_share(noise: float) -> None:
    generator = np.random.default_rng(3)
    own = generator.normal(7.0, 1.0, 4_000)
    halves = own[:, None] + noise * generator.standard_normal((4_000, 2))
    found = without_noise(halves.mean(axis=1), halves)
    assert found.mean() == pytest.approx(7.0, abs=0.1)
    assert found.std() == pytest.approx(1.0, rel=0.08)


def test_infinite_values_stay_as_they_are() -> None:
    halves = np.array([[1.0, 1.2], [2.0, 1.8], [np.inf, 1.0], [3.0, 3.1]])
    found = without_noise(np.array([1.1, 1.9, np.inf, 3.05]), halves)
    assert np.isinf(found[2])
    assert np.isfinite(found[[0, 1, 3]]).all()


def test_a_missing_upper_end_is_judged_by_what_the_samples_know() -> None:
    assert reach(Interval(value=1.0, low=0.9, high=float("inf"), known_to=1.5)) == 1.5
    assert reach(Interval(value=1.0, low=0.9, high=1.6)) == 1.6
