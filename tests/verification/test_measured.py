"""What load tests found together: answers of all runs pooled, and what was never answered counted as that."""

import math
from dataclasses import replace

import numpy as np
import pytest

from capacity.measurement.sections import rate_interval
from capacity.verification.measured import measured_performance
from capacity.verification.run import NOT_CONNECTED, TIMED_OUT, LoadRun, Schedule
from capacity.verification.watch import ServerUse


def load_run(responses_s, outcomes=None, *, gap_s=0.01, timeout_s=10.0):
    """One request after another, each with its response or its outcome."""
    count = len(responses_s)
    instants_s = np.arange(count) * gap_s
    return LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=count * gap_s),
        warm_up_s=0.0,
        sent_s=instants_s,
        ended_s=instants_s + responses_s,
        outcomes=np.full(count, 200) if outcomes is None else outcomes,
        replicas=np.zeros(count, dtype=np.int64),
        timeout_s=timeout_s,
    )


def exponential(count, seed, mean_s=0.01):
    return np.random.default_rng(seed).exponential(mean_s, count)


def every(nth, count, outcome):
    outcomes = np.full(count, 200)
    outcomes[nth - 1 :: nth] = outcome
    return outcomes


def test_runs_too_short_for_a_quantile_have_it_together():
    runs = [load_run(exponential(2000, seed)) for seed in range(3)]
    assert 0.99 not in measured_performance(runs[:1], (0.99,), 0.95).response_quantiles_s
    pooled = measured_performance(runs, (0.5, 0.99), 0.95)
    together_s = np.concatenate([run.responses_s for run in runs])
    p99 = pooled.response_quantiles_s[0.99]
    assert p99.value == np.quantile(together_s, 0.99, method="inverted_cdf")
    assert p99.low <= 0.01 * math.log(100.0) <= p99.high
    assert pooled.response_mean_s == pytest.approx(together_s.mean())
    assert pooled.throughput_rps == pytest.approx(100.0, rel=0.01)


def test_more_runs_narrow_the_interval():
    runs = [load_run(exponential(2000, seed)) for seed in range(16)]
    one, many = (measured_performance(some, (0.5,), 0.95) for some in (runs[:1], runs))
    widths_s = [found.intervals["response_mean_s"].half_width for found in (one, many)]
    assert widths_s[1] < 0.6 * widths_s[0]
    narrowed = many.response_quantiles_s[0.5].half_width / one.response_quantiles_s[0.5].half_width
    assert narrowed < 0.6  # a quarter, within chance


def test_a_pool_is_of_answers_and_not_of_runs():
    """Of a quick run and a slow one the P99 of both together is the slow one's P98, and no median."""
    runs = [load_run(exponential(5000, 1, 0.001)), load_run(exponential(5000, 2, 0.1))]
    p99 = measured_performance(runs, (0.99,), 0.95).response_quantiles_s[0.99]
    assert p99.value == pytest.approx(0.1 * math.log(50.0), rel=0.1)


def test_a_request_that_timed_out_took_the_timeout_at_least():
    """Four in a thousand give up after 10 s: the mean is 48 ms or more, whatever the others take."""
    responses_s = np.full(5000, 0.008)
    outcomes = every(250, 5000, TIMED_OUT)
    responses_s[outcomes == TIMED_OUT] = 10.0
    found = measured_performance([load_run(responses_s, outcomes)], (0.5, 0.99), 0.95)
    mean = found.intervals["response_mean_s"]
    assert mean.value == pytest.approx(0.048, rel=0.01)
    assert (mean.low > 0.03, mean.high) == (True, math.inf)
    assert found.response_quantiles_s[0.99].high == pytest.approx(0.008)  # not among the slowest hundredth
    assert (found.loss_probability, found.abandon_probability) == (0.0, pytest.approx(0.004))


@pytest.mark.parametrize("outcome", [TIMED_OUT, NOT_CONNECTED])
def test_a_quantile_that_reaches_who_gave_up_is_open_above(outcome):
    outcomes = every(40, 5000, outcome)  # two and a half in a hundred
    responses_s = np.where((outcomes == 200) | (outcome == NOT_CONNECTED), 0.008, 10.0)
    found = measured_performance([load_run(responses_s, outcomes)], (0.95, 0.99), 0.95)
    p99 = found.response_quantiles_s[0.99]
    assert (p99.value, p99.low) == pytest.approx((10.0, 10.0))
    assert p99.high == math.inf
    assert found.response_quantiles_s[0.95].high == pytest.approx(0.008)


def test_a_refusal_is_a_loss_and_in_no_response():
    found = measured_performance([load_run(np.full(1000, 0.008), every(10, 1000, 503))], (0.5,), 0.95)
    assert (found.loss_probability, found.abandon_probability) == (pytest.approx(0.1), 0.0)
    assert found.intervals["response_mean_s"].high == pytest.approx(0.008)


def uses(count, seed=0):
    generator = np.random.default_rng(seed)
    batches = generator.integers(20, 40, count)
    return [
        ServerUse(
            batches=int(b), requests=int(3 * b + generator.integers(0, 5)), busy_s=0.01 * b, lasting_s=1.0
        )
        for b in batches
    ]


def test_mean_batch_and_utilization_have_intervals_from_sections():
    seen = uses(20)
    found = measured_performance(
        [replace(load_run(exponential(1000, 0)), uses=tuple(seen))], (), 0.95, replicas=2
    )
    assert found.batch_size_mean == sum(x.requests for x in seen) / sum(x.batches for x in seen)
    assert found.utilization == pytest.approx(sum(x.busy_s for x in seen) / 40.0)
    for name in ("batch_size_mean", "utilization"):
        interval = found.intervals[name]
        assert interval.low < interval.value < interval.high
    assert found.intervals["utilization"].relative_half_width > 0.03


def test_too_few_sections_leave_them_without_an_interval():
    found = measured_performance([replace(load_run(exponential(1000, 0)), uses=tuple(uses(5)))], (), 0.95)
    assert found.utilization is not None
    assert not {"utilization", "batch_size_mean"} & set(found.intervals)


def test_a_server_without_batches_has_no_mean_size():
    idle = ServerUse(batches=0, requests=0, busy_s=0.0, lasting_s=2.0)
    found = measured_performance(
        [replace(load_run(np.full(9, 0.01)), uses=(idle, idle))], (), 0.95, replicas=3
    )
    assert (found.batch_size_mean, found.utilization) == (None, 0.0)
    assert measured_performance([load_run(np.full(9, 0.01))], (), 0.95).utilization is None


def test_a_mean_needs_100_answers():
    for count in (99, 100):
        found = measured_performance([load_run(np.full(count, 0.01))], (), 0.95)
        assert found.response_mean_s == (None if count == 99 else pytest.approx(0.01))


def test_quantiles_with_losses_count_a_refusal_as_infinite():
    """One in ten is refused, so P95 is infinite, and P50 is the 2500th of 4500 answers, not the 2250th."""
    responses_s = exponential(5000, 3)
    runs = [load_run(responses_s, every(10, 5000, 503))]
    found = measured_performance(runs, (0.5, 0.95), 0.95)
    kept = np.sort(np.delete(responses_s, np.arange(9, 5000, 10)))
    assert found.response_quantiles_with_losses_s[0.5].value == pytest.approx(kept[2499])
    assert found.response_quantiles_with_losses_s[0.95].value == math.inf
    assert found.response_quantiles_s[0.5].value == pytest.approx(kept[2249])
    assert measured_performance([load_run(responses_s)], (0.5,), 0.95).response_quantiles_with_losses_s == {}


def test_the_throughput_of_several_runs_is_of_their_joined_windows():
    """Ten requests a second, answered in 10 ms, in windows of 9, 4 and 9 s after a second of warm-up each."""
    runs = [
        replace(load_run(np.full(10 * seconds, 0.01), gap_s=0.1), warm_up_s=1.0) for seconds in (10, 5, 10)
    ]
    found = measured_performance(runs, (), 0.95)
    instants_s = np.concatenate(
        [
            begun_s + np.arange(0.01, lasting_s, 0.1)
            for begun_s, lasting_s in ((0.0, 9.0), (9.0, 4.0), (13.0, 9.0))
        ]
    )
    expected = rate_interval(instants_s, 22.0, 0.95)
    assert found.throughput_rps == pytest.approx(10.0)
    assert found.intervals["throughput_rps"].low == pytest.approx(expected.low)
