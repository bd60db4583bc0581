"""Pool: quantiles with atoms, sectioning by hand, coverage, and the test for a start that still shows."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulations.pool import SECTIONS, Estimate, Pool, quantile_of, student_t
from simulations.replication import Sample


def sample_of(responses_s: Sequence[float] | np.ndarray, waits_s: Sequence[float] | None = None) -> Sample:
    """A sample of which only the responses and waits matter."""
    response_s = np.asarray(responses_s, dtype=float)
    return Sample(
        wait_s=np.zeros_like(response_s) if waits_s is None else np.asarray(waits_s),
        response_s=response_s,
        window_s=1.0,
        busy_share=0.5,
        finished=float(len(response_s)),
        batches=float(len(response_s)),
        queue_length_mean=0.0,
        in_system_mean=1.0,
        batch_size_largest=1,
    )


def pool_of(samples: Sequence[Sequence[float] | np.ndarray]) -> Pool:
    return Pool([sample_of(responses_s) for responses_s in samples])


# ---- Quantile -------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]) | st.floats(0.0, 9.0), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999]),
)
def test_quantile_is_numpys_inverted_cdf(values: list[float], quantile: float) -> None:
    expected = np.quantile(np.array(values), quantile, method="inverted_cdf")
    assert quantile_of(np.array(values), quantile) == expected


def test_an_atom_comes_out_exactly() -> None:
    values = np.array([0.1 + 0.2] * 99 + [7.0])
    assert quantile_of(values, 0.5) == 0.1 + 0.2
    assert quantile_of(values, 0.99) == 0.1 + 0.2
    assert quantile_of(values, 0.995) == 7.0


@pytest.mark.parametrize("quantile", [0.07, 0.28, 0.55, 0.56, 0.57, 0.99])
def test_the_rank_does_not_rise_by_rounding(quantile: float) -> None:
    """0.07 x 100 is 7.000000000000001 in floating point; the share of 7 % is the 7th."""
    assert quantile_of(np.arange(1.0, 101.0), quantile) == round(100 * quantile)


# ---- Interval -------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.9999])
@pytest.mark.parametrize("degrees", [1, 4, 9, 19, 500])
def test_student_t(confidence: float, degrees: int) -> None:
    assert student_t(confidence, degrees) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees))


def test_student_t_of_a_table() -> None:
    """Two-sided 95 % points for 4, 9 and 19 degrees, as printed in any table of t."""
    assert [round(student_t(0.95, degrees), 3) for degrees in (4, 9, 19)] == [2.776, 2.262, 2.093]


def test_interval_by_sectioning_by_hand() -> None:
    """Sections of medians 2, 5 and 8 around a pooled one of 4.

    The squares are 4 + 1 + 16 = 21, over 2 degrees 10.5, over 3 sections 3.5; t is 4.303.
    """
    estimate = pool_of([[1, 2, 3], [4, 5, 6], [3, 8, 8]]).response_quantile(0.5)
    assert estimate.value == 4.0
    assert estimate.degrees == 2
    assert estimate.standard_error == pytest.approx(math.sqrt(3.5))
    interval = estimate.interval(0.95)
    assert interval.half_width == pytest.approx(4.3027 * math.sqrt(3.5), rel=1e-4)
    assert interval.low == 0.0  # 4 - 8.05, but a duration is not below 0
    assert interval.high == pytest.approx(4.0 + 8.0496, rel=1e-4)


def test_the_quantile_is_of_the_pooled_requests_and_not_a_mean_of_quantiles() -> None:
    """Medians 1, 1 and 9 have the mean 3.67; the pooled median is 1."""
    estimate = pool_of([[1, 1, 1], [1, 1, 1], [9, 9, 9]]).response_quantile(0.5)
    assert estimate.value == 1.0
    assert estimate.standard_error == pytest.approx(math.sqrt(64 / 2 / 3))


def test_the_pooled_quantile_weighs_requests_and_not_replications() -> None:
    assert pool_of([[1.0] * 8, [9.0] * 2]).response_quantile(0.8).value == 1.0
    assert pool_of([[1.0] * 8, [9.0] * 2]).response_quantile(0.81).value == 9.0


def test_pooled_tail_of_short_runs_is_not_biased_low() -> None:
    """The mean of P99s of runs of 20 falls short by far; the pooled one is within 4 standard errors."""
    runs = np.random.default_rng(1).standard_exponential((500, 20))
    exact = math.log(100.0)
    pooled = pool_of(list(runs)).response_quantile(0.99)
    assert abs(pooled.value - exact) < 4.0 * math.sqrt(0.99 * 0.01 / runs.size) / 0.01
    assert np.mean([quantile_of(run, 0.99) for run in runs]) < 0.85 * exact


def test_replication_i_belongs_to_section_i_mod_sections() -> None:
    """Of 40 replications the first 20 see 1 and the others 3: every section sees both alike."""
    estimate = pool_of([[1.0, 1.0]] * SECTIONS + [[3.0, 3.0]] * SECTIONS).exceedance(2.0)
    assert estimate == Estimate(value=0.5, standard_error=0.0, degrees=SECTIONS - 1)


def test_more_replications_make_no_more_sections_than_there_are() -> None:
    pool = pool_of([[float(i)] for i in range(3 * SECTIONS + 1)])
    assert pool.response_quantile(0.5).degrees == SECTIONS - 1
    assert pool_of([[1.0], [2.0], [4.0]]).response_quantile(0.5).degrees == 2


def test_exceedance_is_the_share_strictly_above_the_limit() -> None:
    assert pool_of([[1.0, 2.0], [2.0, 3.0]]).exceedance(2.0).value == 0.25


def test_waits_and_responses_are_not_mixed_up() -> None:
    pool = Pool([sample_of([5.0, 6.0], [1.0, 2.0]), sample_of([5.0, 6.0], [1.0, 2.0])])
    assert pool.wait_quantile(0.5).value == 1.0
    assert pool.response_quantile(0.5).value == 5.0
    assert pool.counted == 4


@pytest.mark.parametrize("replications", [10, 40])
@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_95_percent_intervals_cover_the_truth_in_95_of_100(replications: int, quantile: float) -> None:
    """Of 1000 intervals 950 should cover; the standard error of the count is 6.9.

    A tail quantile of 3000 values a section is slightly biased, which is granted 1 % beside 4 errors.
    """
    generator, trials = np.random.default_rng(11), 1000
    exact = -math.log1p(-quantile)
    per_section = replications // min(SECTIONS, replications)
    covered = 0
    for _ in range(trials):
        runs = generator.standard_exponential((replications, 3000 // per_section))
        interval = pool_of(list(runs)).response_quantile(quantile).interval(0.95)
        covered += interval.low <= exact <= interval.high
    assert abs(covered / trials - 0.95) < 4.0 * math.sqrt(0.95 * 0.05 / trials) + 0.01


def test_half_width_shrinks_with_the_root_of_the_requests() -> None:
    """Over 60 pools: 4 times the requests, half the standard error, each known to 1/√38 of itself."""
    generator = np.random.default_rng(5)

    def error(count: int) -> float:
        pools = [pool_of(list(generator.standard_exponential((20, count)))) for _ in range(60)]
        return float(np.mean([pool.response_quantile(0.9).standard_error for pool in pools]))

    assert error(400) / error(1600) == pytest.approx(2.0, abs=4 * 2.0 * math.sqrt(2 / 38 / 60))


# ---- Settled --------------------------------------------------------------------------------


def noisy_runs(seed: int, rise: float, replications: int = 10, requests: int = 400) -> Pool:
    """Runs of unit noise around a level that rises over each run by `rise`."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0.0, rise, requests)
    return pool_of(list(10.0 + ramp + generator.standard_normal((replications, requests))))


def test_settled_finds_a_planted_ramp() -> None:
    """A rise of 1 moves the halves apart by 0.5, which has the standard error 2/√4000 = 0.032."""
    assert not any(noisy_runs(seed, rise=1.0).settled for seed in range(50))


def test_settled_does_not_cry_over_stationary_runs() -> None:
    """One in 1000 would; of 400 more than 3 come once in 1300 seeds."""
    assert sum(not noisy_runs(seed, rise=0.0).settled for seed in range(400)) <= 3


def test_settled_is_one_sided_a_start_that_is_too_busy_is_the_safe_side() -> None:
    assert all(noisy_runs(seed, rise=-1.0).settled for seed in range(10))


def test_settled_of_identical_runs_that_are_level() -> None:
    assert pool_of([[1.0] * 100] * 10).settled


# ---- Performance ----------------------------------------------------------------------------


def test_performance_pools_over_time_and_over_requests() -> None:
    """Windows of 1 s and 3 s weigh averages over time; requests weigh averages over requests."""
    short = Sample(
        wait_s=np.array([0.0, 1.0]),
        response_s=np.array([1.0, 2.0]),
        window_s=1.0,
        busy_share=1.0,
        finished=2.0,
        batches=2.0,
        queue_length_mean=4.0,
        in_system_mean=8.0,
        batch_size_largest=3,
    )
    long = Sample(
        wait_s=np.zeros(6),
        response_s=np.full(6, 1.0),
        window_s=3.0,
        busy_share=0.0,
        finished=6.0,
        batches=2.0,
        queue_length_mean=0.0,
        in_system_mean=4.0,
        batch_size_largest=5,
    )
    pool = Pool([short, long])
    performance = pool.performance(load=0.4, quantiles=[0.5, 0.9], confidence=0.95)
    assert performance.load == 0.4
    assert performance.utilization == 0.25
    assert performance.throughput_rps == 2.0
    assert performance.batch_size_mean == 2.0
    assert performance.wait_probability == 1 / 8
    assert performance.queue_length_mean == 1.0
    assert performance.in_system_mean == 5.0
    assert performance.wait_mean_s == 1 / 8
    assert performance.response_mean_s == 9 / 8
    assert performance.loss_probability == 0.0
    assert performance.response_quantiles_s[0.9].value == 2.0
    assert performance.wait_quantiles_s[0.5].value == 0.0
    assert pool.batch_size_largest == 5
