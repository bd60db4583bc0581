"""BatchTiming and ServiceProfile: valid or not born, interpolation, floor, knee, cost."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.profile.distribution import constant, from_samples, from_summary
from capacity.profile.profile import (
    BATCH_DURATION_MAX_S,
    BATCH_DURATION_MIN_S,
    BATCH_SIZE_LIMIT,
    BatchTiming,
    ServiceProfile,
    Spells,
)

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)


def profile_of(means_s: dict[int, float], **fields: Any) -> ServiceProfile:
    """A profile of constant service times by batch size."""
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(**{"name": "made-up", "timings": timings, **fields})


LINEAR = {1: 0.011, 2: 0.012, 4: 0.014, 8: 0.018}


@st.composite
def measured(draw: st.DrawFn) -> dict[int, float]:
    sizes = draw(st.lists(st.integers(1, 512), min_size=2, max_size=6, unique=True))
    return {size: draw(st.floats(1e-4, 10.0)) for size in sizes}


def test_absent_percentiles_stay_absent() -> None:
    timing = BatchTiming(batch_size=4, mean_s=0.5, p99_s=0.6, p50_s=0.4)
    assert timing.percentiles_s == {0.5: 0.4, 0.99: 0.6}
    assert (timing.p90_s, timing.p95_s) == (None, None)


def test_a_timing_has_the_law_of_its_figures() -> None:
    percentiles_s = {0.5: 0.49, 0.9: 0.52, 0.95: 0.54, 0.99: 0.6}
    timing = BatchTiming(batch_size=4, mean_s=0.5, p50_s=0.49, p90_s=0.52, p95_s=0.54, p99_s=0.6)
    assert timing.law() == from_summary(0.5, percentiles_s)
    assert BatchTiming(batch_size=4, mean_s=0.5).law() == constant(0.5)
    assert BatchTiming(batch_size=4, samples_s=(0.5, 0.4)).law() == from_samples([0.4, 0.5])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0, "mean_s": 1.0}, "batch size must be from 1 to 1000000, got 0"),
        ({"batch_size": -3, "mean_s": 1.0}, "batch size must be from 1 to 1000000, got -3"),
        ({"batch_size": BATCH_SIZE_LIMIT + 1, "mean_s": 1.0}, "from 1 to 1000000, got 1000001"),
        ({"batch_size": 2}, "batch size 2 needs either raw samples or a mean"),
        ({"batch_size": 2, "p99_s": 1.0}, "batch size 2 needs either raw samples or a mean"),
        ({"batch_size": 2, "samples_s": (1.0,), "mean_s": 1.0}, "needs either raw samples or a mean"),
        ({"batch_size": 2, "samples_s": (1.0,), "p99_s": 1.0}, "raw samples, which give its percentiles"),
        ({"batch_size": 2, "mean_s": 0.0}, "a duration must be positive and finite, got 0.0"),
        ({"batch_size": 2, "mean_s": -1.0}, "a duration must be positive and finite, got -1.0"),
        ({"batch_size": 2, "mean_s": math.nan}, "a duration must be positive and finite, got nan"),
        ({"batch_size": 2, "mean_s": 1.0, "p95_s": math.inf}, "must be positive and finite, got inf"),
        ({"batch_size": 2, "samples_s": (1.0, 0.0)}, "batch size 2: a duration must be positive"),
        ({"batch_size": 2, "mean_s": 3003.0}, "3003 s for one batch is outside 1e-07 s to 600 s; is the unit"),
        ({"batch_size": 2, "mean_s": 1e-8}, "1e-08 s for one batch is outside 1e-07 s to 600 s; is the unit"),
    ],
)  # fmt: skip
def test_a_timing_is_valid_or_not_born(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        BatchTiming(**fields)
    assert message in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    BatchTiming(batch_size=BATCH_SIZE_LIMIT, samples_s=(BATCH_DURATION_MIN_S, BATCH_DURATION_MAX_S))


def test_contradicting_figures_name_the_batch_size() -> None:
    timing = BatchTiming(batch_size=8, mean_s=1.0, p95_s=0.5, p99_s=0.6)
    with pytest.raises(InputError, match="batch size 8: mean 1 s contradicts P95"):
        timing.law()
    with pytest.raises(InputError, match="batch size 8: percentiles must not fall"):
        ServiceProfile(name="x", timings=(BatchTiming(batch_size=8, mean_s=1.0, p95_s=1.5, p99_s=1.4),))


def test_timings_are_kept_in_rising_order() -> None:
    profile = profile_of({8: 0.018, 1: 0.011, 4: 0.014})
    assert profile.batch_sizes == (1, 4, 8)
    assert (profile.batch_size_min, profile.batch_size_max) == (1, 8)
    assert [profile.service_mean_s(size) for size in (1, 4, 8)] == [0.011, 0.014, 0.018]
    assert profile == profile_of({1: 0.011, 4: 0.014, 8: 0.018})


def test_a_profile_is_frozen_and_can_be_a_key() -> None:
    profile = profile_of(LINEAR, source={"repository": "r"})
    assert {profile: 1}[profile_of(LINEAR, source={"repository": "r"})] == 1
    with pytest.raises(FrozenInstanceError):
        profile.name = "other"


WORK_S = st.floats(0.0, 0.01)


@given(means_s=measured(), batch_s=WORK_S, request_s=WORK_S, data=st.data())
@laws_hold
def test_a_batch_occupies_its_replica_for_its_work_and_that_of_its_requests_too(
    means_s, batch_s, request_s, data
) -> None:
    bare = profile_of(means_s)
    working = profile_of(means_s, batch_work_s=batch_s, request_work_s=request_s)
    size = data.draw(st.integers(bare.batch_size_min, bare.batch_size_max))
    quantile = data.draw(st.sampled_from([0.0, 0.5, 0.99, 1.0]))
    for of in (
        lambda profile: profile.service_mean_s(size),
        lambda profile: profile.law(size).quantile_s(quantile),
    ):
        assert of(working) == pytest.approx(of(bare) + batch_s + size * request_s, rel=1e-9)
    assert working.timings == bare.timings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "profile name '' may contain only letters"),
        ({"name": "../etc/passwd"}, "profile name '../etc/passwd' may contain only letters"),
        ({"name": "-option"}, "start with a letter or digit"),
        ({"name": "two words"}, "may contain only letters, digits, '.', '_' and '-'"),
        ({"name": "a\n"}, "profile name 'a?' may contain only"),
        ({"name": "red\x1b[31m"}, "profile name 'red?[31m' may contain only"),
        ({"name": "x" * 129}, f"profile name '{'x' * 60}' may contain only letters"),
        ({"timings": ()}, "profile made-up has no batch size; measure at least one"),
        ({"request_overhead_s": -0.1}, "request_overhead_s must be from 0 to 600, got -0.1"),
        ({"request_overhead_s": math.nan}, "request_overhead_s must be from 0 to 600, got nan"),
        ({"request_overhead_s": 601.0}, "request_overhead_s must be from 0 to 600, got 601"),
        ({"batch_work_s": -0.1}, "batch_work_s must be from 0 to 600, got -0.1"),
        ({"request_work_s": -0.1}, "request_work_s must be from 0 to 600, got -0.1"),
        ({"wake_s": -0.1}, "wake_s must be from 0 to 600, got -0.1"),
        ({"wake_s": math.nan}, "wake_s must be from 0 to 600, got nan"),
        ({"request_work_s": math.inf}, "request_work_s must be from 0 to 600, got inf"),
        ({"instances_per_device": 0}, "instances_per_device must be >= 1, got 0"),
        ({"hourly_usd": 0.0}, "hourly_usd must be positive and finite, got 0.0"),
        ({"hourly_usd": math.inf}, "hourly_usd must be positive and finite, got inf"),
        ({"hourly_usd": math.nan}, "hourly_usd must be positive and finite, got nan"),
        ({"kind": "tpu"}, "kind must be cpu or gpu, got 'tpu'"),
        ({"memory_bytes": -1}, "memory_bytes must not be negative, got -1"),
    ],
)
def test_a_profile_is_valid_or_not_born(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        profile_of(LINEAR, **fields)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_batch_size_twice_is_refused() -> None:
    twice = (BatchTiming(batch_size=2, mean_s=1.0), BatchTiming(batch_size=2, mean_s=1.1))
    with pytest.raises(InputError, match="profile x has batch size 2 twice; keep one"):
        ServiceProfile(name="x", timings=twice)


def test_between_two_sizes_every_quantile_and_the_mean_are_linear() -> None:
    profile = ServiceProfile(
        name="two-sizes",
        timings=(
            BatchTiming(batch_size=4, mean_s=0.010, p95_s=0.012, p99_s=0.015),
            BatchTiming(batch_size=12, mean_s=0.030, p95_s=0.032, p99_s=0.035),
        ),
    )
    law = profile.law(6)  # a quarter of the way
    assert law.quantile_s(0.95) == pytest.approx(0.017, rel=1e-12)
    assert law.quantile_s(0.99) == pytest.approx(0.020, rel=1e-12)
    assert law.mean_s == pytest.approx(0.015, rel=1e-12)
    low, high = profile.law(4), profile.law(12)
    for u in (0.0, 0.1, 0.5, 0.97, 0.999, 1.0):
        expected_s = 0.75 * low.quantile_s(u) + 0.25 * high.quantile_s(u)
        assert law.quantile_s(u) == pytest.approx(expected_s, rel=1e-12)


def test_samples_beside_a_summary_interpolate_too() -> None:
    timings = (
        BatchTiming(batch_size=1, samples_s=(0.1, 0.3)),
        BatchTiming(batch_size=3, mean_s=0.4, p99_s=0.5),
    )
    law = ServiceProfile(name="mixed", timings=timings).law(2)
    assert law.mean_s == pytest.approx(0.3, rel=1e-12)
    assert law.quantile_s(0.99) == pytest.approx(0.4, rel=1e-12)


def test_a_measured_size_is_not_interpolated() -> None:
    profile = profile_of(LINEAR)
    assert [profile.law(size) for size in LINEAR] == [constant(mean_s) for mean_s in LINEAR.values()]


@pytest.mark.parametrize("batch_size", [0, 1, 33, 10**9, -1])
def test_outside_the_measured_sizes_there_is_no_answer(batch_size: int) -> None:
    profile = profile_of({2: 0.1, 32: 0.5})
    with pytest.raises(DomainError) as caught:
        profile.law(batch_size)
    assert str(caught.value) == (
        "profile made-up was measured from batch size 2 to 32 and does not cover "
        f"{batch_size}; measure that size too"
    )


@laws_hold
@given(measured(), st.data())
def test_an_interpolated_mean_lies_on_the_line(means_s: dict[int, float], data: st.DataObject) -> None:
    profile = profile_of(means_s)
    low, high = sorted(means_s)[:2]
    size = data.draw(st.integers(low, high))
    share = (size - low) / (high - low)
    expected_s = means_s[low] + share * (means_s[high] - means_s[low])
    assert profile.service_mean_s(size) == pytest.approx(expected_s, rel=1e-9)


@laws_hold
@given(measured(), st.floats(0.01, 10.0))
def test_durations_times_k_make_rates_over_k(means_s: dict[int, float], factor: float) -> None:
    profile = profile_of(means_s)
    scaled = profile_of({size: mean_s * factor for size, mean_s in means_s.items()})
    largest = profile.batch_size_max
    assert scaled.throughput_rps(largest) * factor == pytest.approx(profile.throughput_rps(largest), rel=1e-9)
    floor_s = profile.service_floor_s(0.99, largest)
    assert scaled.service_floor_s(0.99, largest) == pytest.approx(factor * floor_s, rel=1e-9)


def test_throughput_is_batch_over_mean() -> None:
    assert profile_of(LINEAR).throughput_rps(4) == pytest.approx(4 / 0.014, rel=1e-15)


def test_a_profile_of_means_sustains_the_same_and_has_no_other_durations() -> None:
    timings = (
        BatchTiming(batch_size=1, samples_s=(0.010, 0.011, 0.015)),
        BatchTiming(batch_size=4, mean_s=0.020, p50_s=0.019, p99_s=0.030),
        BatchTiming(batch_size=8, mean_s=0.030),
    )
    profile = ServiceProfile(
        name="made-up",
        timings=timings,
        batch_work_s=0.001,
        request_work_s=0.0002,
        request_overhead_s=0.003,
        wake_s=0.0004,
        hourly_usd=0.5,
        spells=Spells(share=0.5, lasting_s=0.1),
    )
    means = profile.of_means()
    for size in range(1, 9):
        assert means.throughput_rps(size) == pytest.approx(profile.throughput_rps(size), rel=1e-12)
        assert means.law(size).is_deterministic
    assert means.timings[0].mean_s == pytest.approx(0.012)  # and not that with the work beside it, twice
    assert means.spells is None
    assert means.wake_s == 0.0
    kept = ("name", "batch_sizes", "batch_work_s", "request_work_s", "request_overhead_s", "hourly_usd")
    assert all(getattr(means, name) == getattr(profile, name) for name in kept)
    assert means.of_means() == means


def test_the_floor_is_the_fastest_size_and_the_overhead() -> None:
    profile = profile_of({1: 0.011, 2: 0.009, 8: 0.018}, request_overhead_s=0.002)
    assert profile.service_floor_s(0.99, 1) == pytest.approx(0.013, rel=1e-12)
    assert profile.service_floor_s(0.99, 8) == pytest.approx(0.011, rel=1e-12)
    assert profile.service_floor_s(0.5, 4) == pytest.approx(0.011, rel=1e-12)


def test_the_floor_of_the_mean_is_of_sizes_within_the_limit() -> None:
    """A size beyond the limit may be the fastest, which no plan within it can use."""
    profile = profile_of({1: 0.011, 2: 0.009, 8: 0.003}, request_overhead_s=0.002)
    assert profile.service_floor_mean_s(1) == pytest.approx(0.013, rel=1e-12)
    assert profile.service_floor_mean_s(2) == pytest.approx(0.011, rel=1e-12)
    assert profile.service_floor_mean_s(5) == pytest.approx(0.008, rel=1e-12)
    assert profile.service_floor_s(0.5, 5) == pytest.approx(0.008, rel=1e-12)
    assert profile.service_floor_mean_s(8) == pytest.approx(0.005, rel=1e-12)


def test_the_floor_may_lie_at_the_limit_between_two_sizes() -> None:
    assert profile_of({1: 0.010, 5: 0.006}).service_floor_s(0.99, 3) == pytest.approx(0.008, rel=1e-12)


@laws_hold
@given(measured(), st.sampled_from([0.5, 0.9, 0.99]), st.data())
def test_no_size_beats_the_floor(means_s: dict[int, float], quantile: float, data: st.DataObject) -> None:
    profile = profile_of(means_s)
    limit = data.draw(st.integers(profile.batch_size_min, profile.batch_size_max))
    floor_s = profile.service_floor_s(quantile, limit)
    sizes = range(profile.batch_size_min, limit + 1)
    fastest_s = min(profile.law(size).quantile_s(quantile) for size in sizes)
    assert floor_s == pytest.approx(fastest_s, rel=1e-12)


@pytest.mark.parametrize(
    ("throughputs_rps", "knee"),
    [
        ({1: 100, 2: 111, 4: 123.3}, 4),  # 11 % a doubling
        ({1: 100, 2: 109, 4: 120}, 1),  # 9 %, then 20 % over two doublings: 1.1^2 = 1.21 is needed
        ({1: 100, 2: 109, 4: 122}, 4),  # a dent on the way does not end it
        ({1: 100, 2: 150, 4: 100, 8: 100}, 2),
        ({4: 100}, 4),
        ({1: 100, 3: 116}, 1),  # 1.1^log2(3) = 1.163
        ({1: 100, 3: 117}, 3),
    ],
)
def test_the_knee_is_the_largest_size_that_pays(throughputs_rps: dict[int, float], knee: int) -> None:
    profile = profile_of({size: size / rate for size, rate in throughputs_rps.items()})
    assert profile.knee_batch_size == knee


def test_monotone_means_no_larger_batch_is_faster_at_any_quantile() -> None:
    assert profile_of(LINEAR).is_monotone
    assert not profile_of({1: 0.011, 2: 0.010, 4: 0.014}).is_monotone
    crossing = (
        BatchTiming(batch_size=1, mean_s=0.010, p99_s=0.030),
        BatchTiming(batch_size=2, mean_s=0.020, p99_s=0.025),
    )
    assert not ServiceProfile(name="x", timings=crossing).is_monotone


@pytest.mark.parametrize(("replicas", "usd"), [(0, 0.0), (1, 3.0), (2, 3.0), (3, 6.0), (4, 6.0), (5, 9.0)])
def test_replicas_on_one_device_share_its_price(replicas: int, usd: float) -> None:
    assert profile_of(LINEAR, hourly_usd=3.0, instances_per_device=2).hourly_cost_usd(replicas) == usd


def test_the_cost_counts_whole_devices_exactly() -> None:
    huge = profile_of(LINEAR, hourly_usd=1.0, instances_per_device=2**53)
    assert huge.hourly_cost_usd(2**53 + 1) == 2.0


def test_an_unknown_price_gives_no_cost() -> None:
    assert profile_of(LINEAR).hourly_cost_usd(3) is None
