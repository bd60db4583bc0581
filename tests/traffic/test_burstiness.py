"""Burstiness by hand, on streams whose indices are known, and on those that have none."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.traffic.burstiness import Irregularity, irregularity, measure
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=40)


def poisson(rate: float, events: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, events))


def mmpp(events: int, seed: int) -> np.ndarray:
    """Rates 1.5 and 0.3, each left at rate 0.01, by the next event or change that comes first."""
    generator = np.random.default_rng(seed)
    rates, change, instants, time, state = (1.5, 0.3), 0.01, [], 0.0, 0
    while len(instants) < events:
        total = rates[state] + change
        time += generator.exponential(1.0 / total)
        if generator.random() * total < change:
            state = 1 - state
        else:
            instants.append(time)
    return np.array(instants)


def test_by_hand() -> None:
    """Gaps 1, 3, 1, 3, ...: mean 2, deviations all 1; in windows of 4 s two each."""
    instants = np.cumsum([0.0] + [1.0, 3.0] * 20)
    found = measure(instants, windows_s=(2.0, 4.0, 8.0))
    assert (found.events, found.rate_rps) == (41, 0.5)
    assert found.gap_cv == pytest.approx(math.sqrt(40 / 39) / 2, rel=CLAIM)
    assert found.gap_correlation == pytest.approx(-39 / 40, rel=CLAIM)
    two, four, eight = found.counts
    # 0, 1 | - | 4, 5 | - : 40 windows of counts 2, 0, 2, 0, ...
    assert (two.window_s, two.windows, two.dispersion, two.peak_to_mean) == (2.0, 40, 40 / 39, 2.0)
    assert (four.windows, four.dispersion, four.peak_to_mean) == (20, 0.0, 1.0)
    assert (eight.windows, eight.dispersion, eight.peak_to_mean) == (10, 0.0, 1.0)
    assert two.poisson_error == math.sqrt(2 / 39)


def test_counts_against_a_plain_loop() -> None:
    instants = poisson(3.0, 500, seed=4) + 1e4
    for window in measure(instants, windows_s=(0.7, 5.0)).counts:
        windows = int((instants[-1] - instants[0]) / window.window_s)
        tally = Counter(int((t - instants[0]) / window.window_s) for t in instants)
        counts = [tally[k] for k in range(windows)]
        mean = sum(counts) / windows
        variance = sum((count - mean) ** 2 for count in counts) / (windows - 1)
        assert window.windows == windows
        assert window.dispersion == pytest.approx(variance / mean, rel=CLAIM)
        assert window.peak_to_mean == pytest.approx(max(counts) / mean, rel=CLAIM)


def test_gaps_against_numpys_own() -> None:
    instants = np.cumsum(np.random.default_rng(5).gamma(0.3, 1.0, 4000))
    gaps = np.diff(instants)
    found = measure(instants)
    assert found.gap_cv == pytest.approx(math.sqrt(np.cov(gaps)) / gaps.mean(), rel=CLAIM)
    assert found.gap_correlation == pytest.approx(np.corrcoef(gaps[:-1], gaps[1:])[0, 1], abs=2e-3)
    assert found.rate_rps == pytest.approx(1.0 / gaps.mean(), rel=CLAIM)


@pytest.mark.parametrize("seed", range(5))
def test_a_poisson_stream_is_no_burst(seed: int) -> None:
    """All within four standard deviations of 1, 1 and 0."""
    found = measure(poisson(5.0, 40_000, seed))
    assert found.rate_rps == pytest.approx(5.0, rel=4 / math.sqrt(40_000))
    assert found.gap_cv == pytest.approx(1.0, abs=4 / math.sqrt(40_000))
    assert found.gap_correlation == pytest.approx(0.0, abs=4 / math.sqrt(40_000))
    assert [c.window_s for c in found.counts] == [1.0, 10.0, 60.0]
    for window in found.counts:
        spread = window.poisson_error + 1.0 / math.sqrt(window.windows * 5.0 * window.window_s)
        assert window.dispersion == pytest.approx(1.0, abs=4 * spread)


def test_bursts_that_gaps_hardly_show() -> None:
    """MMPP of rates 1.5 and 0.3, left at rate 0.01: the gaps vary by 1.59, the index ends at 41.

    Over a window t it is 1 + 2 v / (m c) (1 - (1 - e^-ct) / (ct)) with v = 0.36 the variance of the
    rate, m = 0.9 its mean, c = 0.02 its relaxation (Fischer & Meier-Hellstern 1993, Performance
    Evaluation 18).
    """
    found = measure(mmpp(400_000, seed=1), windows_s=(1.0, 10.0, 60.0, 3000.0))
    assert found.rate_rps == pytest.approx(0.9, rel=0.02)
    assert found.gap_cv == pytest.approx(1.59, abs=0.03)
    assert 0.05 < found.gap_correlation < 0.3
    for window, error in zip(found.counts, (0.02, 0.05, 0.06, 0.35), strict=True):
        x = 0.02 * window.window_s
        index = 1.0 + 2.0 * 0.36 / (0.9 * 0.02) * (1.0 + math.expm1(-x) / x)
        assert window.dispersion == pytest.approx(index, rel=error)
    assert found.counts[-1].dispersion > 25.0


@laws
@given(st.integers(0, 10**6), st.integers(-200, 40), st.floats(-1e6, 1e6))
def test_units_and_origin_do_not_matter(seed: int, power: int, origin: float) -> None:
    k = 2.0**power
    instants = np.round(poisson(2.0, 200, seed), 3)
    plain = measure(instants, windows_s=(1.0, 4.0))
    scaled = measure(instants * k, windows_s=(k, 4.0 * k))
    assert scaled.counts[1].dispersion == plain.counts[1].dispersion
    assert scaled.gap_cv == pytest.approx(plain.gap_cv, rel=CLAIM)
    assert scaled.rate_rps == pytest.approx(plain.rate_rps / k, rel=CLAIM)
    moved = measure(instants + origin, windows_s=(1.0,))
    assert moved.gap_cv == pytest.approx(plain.gap_cv, rel=1e-6)


def test_a_clock_has_neither() -> None:
    found = measure(np.arange(1000.0))
    assert (found.gap_cv, found.gap_correlation, found.rate_rps) == (0.0, None, 1.0)
    assert [(c.dispersion, c.peak_to_mean) for c in found.counts] == [(0.0, 1.0)] * 3


def test_events_at_one_instant_and_usual_windows() -> None:
    instants = np.repeat(np.arange(0.0, 101.0), 5)
    found = measure(list(instants))
    assert [c.window_s for c in found.counts] == [1.0, 10.0]  # 60 s fits once
    assert found.gap_cv == pytest.approx(math.sqrt(404 / 100 * 504 / 503), rel=1e-9)
    assert measure(iter(instants)) == found
    assert measure(tuple(instants)) == found


@pytest.mark.parametrize(
    ("instants", "message"),
    [
        ([], "at least 20 instants"),
        (range(19), r"at least 20 instants in a row, got shape \(19,\); record longer"),
        (np.ones((20, 2)), r"got shape \(20, 2\)"),
        ([*range(19), math.nan], r"instants_s\[19\] must be finite and within 1e\+15 s, got nan"),
        ([*range(19), math.inf], r"instants_s\[19\] must be finite"),
        ([-1e300, *range(19)], r"instants_s\[0\] must be finite and within"),
        ([0, 1, 2, 1.5, *range(3, 30)], r"instants_s\[3\] = 1\.5 is before 2; sort by time"),
        ([4.0] * 30, "must not all be the same"),
        (["a"] * 30, "must be numbers of seconds"),
        ([None] * 30, "must be finite"),
        ([[1.0], [1.0, 2.0]] * 20, "must be numbers of seconds"),
        (7, "must be numbers of seconds"),
    ],
)
def test_bad_instants_are_refused(instants, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        measure(instants)


def test_twenty_are_enough() -> None:
    assert measure(range(20), windows_s=(1.9,)).counts[0].windows == 10


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, True])
def test_bad_windows_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match=r"windows_s\[1\] must be > 0"):
        measure(range(100), windows_s=(1.0, bad))


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DomainError, match=r"windows_s\[0\] must fit 10 to .* got 10 s; use one of 9\.9 s or"):
        measure(range(100), windows_s=(10.0,))
    with pytest.raises(DomainError, match=r"windows_s\[0\] must fit"):
        measure(range(100), windows_s=(1e-9,))
    with pytest.raises(DomainError, match=r"no window of 1, 10, 60 s fits 10 times into the 0\.29 s of"):
        measure([0.01 * k for k in range(30)])
    assert measure(range(100), windows_s=()).counts == ()


@pytest.mark.parametrize("instants", [[0.0, *[1.0] * 19], [*[0.0] * 19, 1.0]])
def test_a_single_gap_is_enough_for_a_length(instants: list[float]) -> None:
    found = measure(instants, windows_s=(0.1,))
    assert (found.events, found.rate_rps) == (20, 19.0)
    with pytest.raises(DomainError, match="must not all be the same"):
        measure([1.0] * 20, windows_s=(0.1,))
    with pytest.raises(DomainError, match="at least 20 instants"):
        measure(instants[1:], windows_s=(0.1,))


@pytest.mark.parametrize(
    ("span_s", "windows"), [(9.99, None), (10.0, [1.0]), (100.0, [1.0, 10.0]), (600.0, [1.0, 10.0, 60.0])]
)
def test_a_usual_window_fits_ten_times(span_s: float, windows: list[float] | None) -> None:
    instants = np.linspace(0.0, span_s, 21)
    if windows is None:
        with pytest.raises(
            DomainError, match=r"fits 10 times into the 9.99 s .* windows_s of 0.999 s or less"
        ):
            measure(instants)
        return
    assert [one.window_s for one in measure(instants).counts] == windows
    with pytest.raises(DomainError, match=r"windows_s\[1\] must fit 10 to 100000000 times"):
        measure(instants, windows_s=(span_s / 10.0, span_s / 9.9))


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        (PoissonArrivals(), None),
        (DeterministicArrivals(), None),
        (GammaArrivals(cv=3.0), Irregularity(gap_cv=3.0)),
        (TraceArrivals(instants_s=tuple(map(float, range(19))), name="short"), None),
    ],
)
def test_what_is_known_of_arrivals(arrivals: ArrivalProcess, expected: Irregularity | None) -> None:
    assert irregularity(Workload(arrival_rate_rps=1.0, arrivals=arrivals)) == expected


def test_bursts_are_counted_in_windows_of_their_length() -> None:
    """And a trace in the widest window that fits ten times, or in a tenth of it: one a second is no burst."""
    bursty = MmppArrivals(ratio=5.0, burst_mean_s=100.0, calm_mean_s=100.0)
    found = irregularity(Workload(arrival_rate_rps=0.9, arrivals=bursty))
    assert (found.gap_cv, found.window_s) == (None, 100.0)
    assert found.dispersion == pytest.approx(bursty.dispersion_index(0.9, 100.0))
    for seconds, window_s in ((101, 10.0), (5, 0.5)):
        instants = tuple(np.linspace(0.0, seconds, 21 if seconds == 5 else 102).tolist())
        trace = TraceArrivals(instants_s=instants, name="even")
        found = irregularity(Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace))
        assert found.window_s == pytest.approx(window_s)
        assert found.gap_cv == pytest.approx(0.0, abs=1e-9)
        assert found.dispersion is not None
        assert found.dispersion < 0.1
