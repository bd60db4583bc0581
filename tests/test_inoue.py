"""Inoue's bound against the chain of the batches, the paper's two GPUs, and by its own laws."""

import math
from functools import cache

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from capacity.errors import DomainError, UnstableError
from capacity.numerics.banded import stationary
from capacity.performance import Kind
from capacity.queues.inoue import InoueBound, linear_majorant

# ms; Inoue (2021), sec. 5: least squares fits to NVIDIA's figures for ResNet50
V100, P4 = (0.1438, 1.8874), (0.5833, 1.4284)
laws = settings(derandomize=True, deadline=None)


def bound(arrival: float, alpha: float, tau0: float) -> InoueBound:
    return InoueBound(arrival_rate_rps=arrival, alpha_s=alpha, tau0_s=tau0)


@cache
def chain(arrival: float, alpha: float, tau0: float, batch: int | None, last: int) -> tuple[float, float]:
    """Mean response and mean batch of M/D^[1,B]/1, from what waits at the ends of batches; B may be None."""
    most = batch or last
    sizes = np.clip(np.arange(last + 1), 1, most)
    longest = arrival * (alpha * most + tau0)
    up = min(last, int(longest + 12.0 * math.sqrt(longest)) + 40)
    service = alpha * sizes + tau0

    def row(x: int) -> np.ndarray:
        left, first, mean = max(x - sizes[x], 0), max(0, x - most), arrival * service[x]
        came = np.arange(int(mean + 12.0 * math.sqrt(mean)) + 40)
        return np.concatenate([np.zeros(left - first), poisson.pmf(came, mean)])

    law = stationary(row, last, most, up)
    cycle = law @ service + law[0] / arrival
    present = np.maximum(np.arange(last + 1), 1)
    number = law @ (service * (present + arrival * service / 2.0)) / cycle
    return float(number / arrival), float(law @ sizes)


def textbook(arrival: float, alpha: float, tau0: float) -> mp.mpf:
    """min(phi0, phi1) as the paper writes it, at 50 digits."""
    with mp.workdps(50):
        r, a, t = mp.mpf(arrival), mp.mpf(alpha), mp.mpf(tau0)
        phi0 = (a + t) / (2 * (1 - r * a)) * (1 + 2 * r * t + (1 - r * t) / (1 + r * a))
        phi1 = 3 * t / (2 * (1 - r * a)) + a / 2 * (r * a + 2) / (1 - (r * a) ** 2)
        return min(phi0, phi1)


POINTS = [
    (0.05, *V100), (0.3, *V100), (1.0, *V100), (2.0, *V100), (4.0, *V100),
    (0.1, *P4), (0.5, *P4), (1.0, *P4), (1.5, *P4),
    (0.5, 1.0, 1e-9), (0.05, 0.5, 0.01), (3.0, 0.0, 2.0), (0.8, 1.0, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("arrival", "alpha", "tau0"), POINTS)
def test_the_exact_mean_lies_between(arrival: float, alpha: float, tau0: float) -> None:
    model = bound(arrival, alpha, tau0)
    response, size = chain(arrival, alpha, tau0, None, 420)
    assert model.response_mean_of_s(size) == pytest.approx(response, rel=1e-12)
    assert model.batch_size_mean_min * (1 - 1e-12) <= size <= model.batch_size_mean_max * (1 + 1e-12)
    assert model.response_mean_min_s * (1 - 1e-12) <= response <= model.response_mean_s * (1 + 1e-12)
    answer = model.performance()
    for name, truth in (("response_mean_s", response), ("in_system_mean", arrival * response)):
        assert abs(getattr(answer, name) / truth - 1.0) <= answer.relative_error_max[name] + 1e-12


@pytest.mark.parametrize(
    ("arrival", "gpu", "exact", "phi"), [(2.0, V100, 4.151463, 4.153341), (0.3, V100, 2.62613, 2.70472)]
)
def test_the_papers_gpu(arrival: float, gpu: tuple[float, float], exact: float, phi: float) -> None:
    """In milliseconds, from the paper's fit: 0.05 % off at 2 per ms, 3 % at 0.3 per ms."""
    assert chain(arrival, *gpu, None, 420)[0] == pytest.approx(exact, rel=2e-6)
    assert bound(arrival, *gpu).response_mean_s == pytest.approx(phi, rel=2e-6)


@pytest.mark.parametrize(
    ("arrival", "alpha", "tau0"), [*POINTS, (1e-6, *V100), (6.954102, *V100), (1e9, 1e-10, 5.0)]
)
def test_phi_as_the_paper_writes_it(arrival: float, alpha: float, tau0: float) -> None:
    model = bound(arrival, alpha, tau0)
    with mp.workdps(50):
        assert abs(model.response_mean_s / textbook(arrival, alpha, tau0) - 1) < 1e-13
        assert abs(model.load / (mp.mpf(arrival) * mp.mpf(alpha)) - 1) < 1e-15 if alpha else model.load == 0.0


@laws
@given(st.floats(0.0, 0.999999), st.floats(-6.0, 6.0), st.floats(-30.0, 30.0))
def test_any_load_at_fifty_digits(load: float, power: float, unit: float) -> None:
    alpha = 10.0**unit
    arrival, tau0 = load / alpha or 1.0 / alpha, alpha * 10.0**power
    model = bound(arrival, alpha if load else 0.0, tau0)
    truth = textbook(arrival, model.alpha_s, tau0)
    assert abs(model.response_mean_s / truth - 1) < 1e-13
    assert model.response_mean_min_s <= model.response_mean_s
    k = 2.0**40
    fast = bound(arrival * k, model.alpha_s / k, tau0 / k)
    assert fast.response_mean_s == model.response_mean_s / k
    assert fast.response_mean_min_s == model.response_mean_min_s / k
    assert fast.in_system_mean == model.in_system_mean


@laws
@given(st.floats(0.01, 0.98), st.floats(0.01, 100.0))
def test_more_load_or_longer_batches_are_slower(load: float, tau0: float) -> None:
    here = bound(load, 1.0, tau0).response_mean_s
    assert bound(load * 1.01, 1.0, tau0).response_mean_s > here
    assert bound(load, 1.01, tau0).response_mean_s > here
    assert bound(load, 1.0, tau0 * 1.01).response_mean_s > here
    model = bound(load, 1.0, tau0)
    assert model.response_mean_of_s(2.0) > model.response_mean_of_s(2.1)  # the identity falls in m


def test_little_traffic_meets_an_idle_replica() -> None:
    model = bound(1e-9, *V100)
    assert model.response_mean_s == pytest.approx(sum(V100), rel=1e-8)
    assert model.performance().relative_error_max["response_mean_s"] < 1e-8
    assert model.batch_size_mean_min == 1.0
    assert 1.0 < bound(1e-3, 1.0, 0.1).batch_size_mean_max < 1.0 + 2e-6  # of the order of lambda squared


@pytest.mark.parametrize("gpu", [V100, P4])
@pytest.mark.parametrize("batch", [4, 8, 16, 64])
def test_where_it_holds_with_a_limit(gpu: tuple[float, float], batch: int) -> None:
    """Of half the sustainable rate it is still a bound; nearer the limit it is none."""
    alpha, tau0 = gpu
    at = {}
    for load in (0.1, 0.3, 0.5, 0.95):
        arrival = load * batch / (alpha * batch + tau0)
        exact = chain(arrival, alpha, tau0, batch, int(2 * batch + 8.0 * batch / (1.0 - load) + 60))[0]
        at[load] = exact / bound(arrival, alpha, tau0).response_mean_s
    assert max(at[0.1], at[0.3], at[0.5]) <= 1.0
    assert at[0.95] > (2.0 if batch == 4 else 1.0)


def test_performance_says_what_it_is() -> None:
    answer = bound(2.0, *V100).performance()
    assert answer.kind is Kind.BOUND
    assert answer.load == pytest.approx(0.2876, rel=1e-15)
    assert answer.throughput_rps == 2.0
    assert answer.in_system_mean == pytest.approx(2.0 * answer.response_mean_s, rel=1e-15)
    assert not answer.response_quantiles_s
    assert answer.utilization is None
    assert answer.batch_size_mean is None
    assert set(answer.relative_error_max) == {"response_mean_s", "in_system_mean"}


def test_what_is_refused() -> None:
    for wrong in (0.0, -1.0, math.nan, math.inf, True):
        with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
            bound(wrong, 1.0, 1.0)
    for wrong in (-1.0, math.nan, math.inf, True):
        with pytest.raises(DomainError, match="alpha_s must be >= 0"):
            bound(1.0, wrong, 1.0)
        with pytest.raises(DomainError, match="tau0_s must be >= 0"):
            bound(0.1, 1.0, wrong)
    with pytest.raises(DomainError, match=r"alpha_s \+ tau0_s must be > 0"):
        bound(1.0, 0.0, 0.0)
    with pytest.raises(UnstableError, match=r"load 1 >= 1 \(2 rps x 0.5 s\); let fewer than 2 rps arrive"):
        bound(2.0, 0.5, 1.0)
    with pytest.raises(UnstableError):
        bound(math.nextafter(2.0, 0.0), 0.5, 1.0)  # full but for rounding
    for wrong in (0.0, 0.999, math.nan, math.inf):
        with pytest.raises(DomainError, match="batch_size_mean must be"):
            bound(2.0, *V100).response_mean_of_s(wrong)
    for wrong in ((), (1.0, 0.0), (math.nan,), [1.0]):
        with pytest.raises(DomainError, match="batch_times_s"):
            linear_majorant(wrong)


@pytest.mark.parametrize(
    ("times", "line"),
    [
        ((3.0,), (0.0, 3.0)),
        ((1.0, 2.0), (1.0, 0.0)),
        ((1.0, 1.5, 2.0, 2.5), (0.5, 0.5)),
        ((1.0, 2.0, 2.5, 2.9), (0.5, 1.0)),  # the side from 2 to 3
        ((1.0, 2.0, 2.5, 2.9, 3.0), (0.5, 1.0)),  # the middle is a corner: the side before it
        ((1.0, 4.0, 9.0, 16.0), (5.0, -4.0)),  # convex: the chord would start below 0
        ((5.0, 1.0, 2.0), (0.0, 5.0)),  # falling
        ((2.0, 9.0, 2.0, 2.0, 2.0), (0.0, 9.0)),
    ],
)
def test_majorants_by_hand(times: tuple[float, ...], line: tuple[float, float]) -> None:
    if line[1] < 0.0:
        line = (4.0, 0.0)  # the steepest from the origin, 16/4
    assert linear_majorant(times) == pytest.approx(line)


@laws
@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=12).map(tuple))
def test_no_line_above_all_times_is_closer(times: tuple[float, ...]) -> None:
    """By every line through two of the times, of those that rise and start above 0."""
    alpha, tau0 = linear_majorant(times)
    sizes, points = range(1, len(times) + 1), list(enumerate(times, start=1))
    assert alpha >= 0.0 <= tau0
    assert all(alpha * b + tau0 >= time_s * (1.0 - 1e-14) for b, time_s in points)
    lines = [(0.0, max(times)), (max(t / b for b, t in points), 0.0)]
    lines += [((t - s) / (b - a), s - a * (t - s) / (b - a)) for a, s in points for b, t in points if a < b]
    for slope, start in lines:
        if slope >= 0.0 <= start and all(slope * b + start >= t * (1.0 - 1e-14) for b, t in points):
            closer = sum(slope * b + start for b in sizes)
            assert sum(alpha * b + tau0 for b in sizes) <= closer * (1.0 + 1e-12)


@laws
@given(st.floats(0.01, 3.0), st.floats(0.01, 3.0), st.integers(2, 30))
def test_the_majorant_of_a_line_is_the_line(alpha: float, tau0: float, batch: int) -> None:
    found = linear_majorant(tuple(alpha * b + tau0 for b in range(1, batch + 1)))
    assert found == pytest.approx((alpha, tau0), rel=1e-10)
