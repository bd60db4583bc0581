"""Empirical laws and their pieces against sums over samples, scipy's quadrature and exact polynomials."""

import math
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from capacity.errors import DomainError
from capacity.profile.distribution import ServiceLaw, constant, from_samples, from_summary
from capacity.queues.general.mg1_wait import Empirical, Pieces, points, transform_at
from capacity.queues.numerics.fourier import Octave

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=50)
samples_drawn = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=12)
UNIFORM = ServiceLaw(probabilities=(0.0, 1.0), durations_s=(0.5, 1.5))
SUMMARY = from_summary(1.0, {0.5: 0.8, 0.9: 1.7, 0.99: 4.0})
JUMPS = ServiceLaw(  # a mass, a ramp, a gap, a mass, a steep ramp
    probabilities=(0.0, 0.25, 0.5, 0.5, 0.75, 1.0), durations_s=(0.25, 0.25, 1.0, 1.5, 1.5, 1.5001)
)
PIECEWISE = {"uniform": UNIFORM, "summary": SUMMARY, "jumps": JUMPS}


def pieces_of(law: ServiceLaw) -> Pieces:
    return Pieces.of(law, law.mean_s)


@laws
@given(samples_drawn)
def test_moments_are_sums_over_the_samples(samples: list[float]) -> None:
    law, exact = Empirical(law=from_samples(samples)), [Fraction(x) for x in samples]
    for order in range(5):
        expected = float(sum(x**order for x in exact) / len(exact))
        assert law.moment(order) == pytest.approx(expected, rel=1e-12)
    mean = sum(exact) / len(exact)
    assert law.mean_s == pytest.approx(float(mean), rel=CLAIM)
    variance = sum((x - mean) ** 2 for x in exact) / len(exact)
    assert law.variability == pytest.approx(float(variance / mean**2), rel=1e-11, abs=1e-24)


@laws
@given(samples_drawn, st.floats(-1.0, 120.0))
def test_tail_is_the_share_of_longer_samples(samples: list[float], time_s: float) -> None:
    law = Empirical(law=from_samples(samples))
    times = np.array([[time_s, *samples[:1]]])
    expected = [[sum(x > t for x in samples) / len(samples) for t in times[0]]]
    np.testing.assert_allclose(law.tail(times), expected, atol=1e-15)


def test_a_uniform_law_in_closed_form() -> None:
    law = Empirical(law=UNIFORM)
    assert law.mean_s == 1.0
    assert law.variability == pytest.approx(1 / 12, rel=CLAIM)
    assert law.moment(3) == pytest.approx((1.5**4 - 0.5**4) / 4, rel=CLAIM)
    times = np.array([0.0, 0.5, 0.75, 1.0, 1.5, 2.0])
    assert law.tail(times).tolist() == [1.0, 1.0, 0.75, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("law", PIECEWISE.values(), ids=PIECEWISE)
def test_moments_are_the_areas_under_the_tail(law: ServiceLaw) -> None:
    empirical = Empirical(law=law)
    for order in (1, 2, 3):
        area = integrate.quad(
            lambda t, k=order: k * t ** (k - 1) * float(empirical.tail(np.array(t))),
            0.0,
            law.durations_s[-1],
            points=sorted(set(law.durations_s)),
            limit=200,
        )[0]
        assert empirical.moment(order) == pytest.approx(area, rel=1e-9)


@pytest.mark.parametrize("law", PIECEWISE.values(), ids=PIECEWISE)
def test_tail_of_a_quantile_is_the_rest(law: ServiceLaw) -> None:
    empirical = Empirical(law=law)
    for share in np.linspace(0.001, 0.999, 97):
        time_s = law.quantile_s(share)
        assert float(empirical.tail(np.array(time_s))) <= 1.0 - share + 1e-9
        assert float(empirical.tail(np.array(time_s * (1.0 - 1e-9)))) >= 1.0 - share - 1e-9


@pytest.mark.parametrize("law", PIECEWISE.values(), ids=PIECEWISE)
@pytest.mark.parametrize("time", [0.0, 0.1, 0.6, 1.3, 2.2, 5.0])
def test_areas_and_convolutions_are_integrals(law: ServiceLaw, time: float) -> None:
    """P(R > t), P(R + R' > t) and the density of R + R', each from P(S > x) by quadrature."""
    pieces = pieces_of(law)
    last = float(pieces.times[-1])

    def survival(x: float) -> float:
        return float(Empirical(law=law).tail(np.array(x * law.mean_s)))

    def area(x: float) -> float:
        return float(pieces.residual_tail(np.array(x)))

    def integral(f: object, start: float, end: float, breaks: list[float]) -> float:
        inside = sorted({x for x in breaks if start < x < end})
        return math.fsum(
            integrate.quad(f, a, b, epsabs=1e-13)[0]
            for a, b in zip([start, *inside], [*inside, end], strict=True)
        )

    knots = [float(x) for x in pieces.times]
    assert area(time) == pytest.approx(integral(survival, min(time, last), last, knots), abs=1e-11)
    both = knots + [time - x for x in knots]
    tail = area(time) + integral(lambda x: survival(x) * area(time - x), 0.0, time, both)
    density = integral(lambda x: survival(x) * survival(time - x), 0.0, time, both)
    assert pieces.twice(time) == pytest.approx((tail, density), abs=1e-11)


def test_two_residuals_of_a_constant_are_a_triangle() -> None:
    """R is uniform on (0, 1); R + R' has the density t to 1 and 2 - t to 2."""
    pieces = pieces_of(constant(3.0))
    for time, tail, density in (
        (0.5, 1 - 0.125, 0.5),
        (1.0, 0.5, 1.0),
        (1.5, 0.125, 0.5),
        (2.0, 0.0, 0.0),
        (9.0, 0.0, 0.0),
    ):
        assert pieces.twice(time) == pytest.approx((tail, density), abs=1e-14)


def test_knots_masses_and_ramps() -> None:
    pieces = Pieces.of(JUMPS, 1.0)
    assert pieces.times.tolist() == [0.0, 0.25, 1.0, 1.5, 1.5001]
    assert pieces.before.tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert pieces.after.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    times, masses = pieces.masses()
    assert (times.tolist(), masses.tolist()) == ([0.25, 1.5], [0.25, 0.25])
    assert [x.tolist() for x in pieces.ramps()] == [[0.25, 1.5], [1.0, 1.5001], [0.25, 0.25]]
    zero = Pieces.of(from_samples([0.0, 1.0]), 0.5)
    assert (zero.times.tolist(), zero.after.tolist()) == ([0.0, 2.0], [0.5, 0.0])


def test_durations_that_differ_by_rounding_are_one() -> None:
    samples = [0.3, math.nextafter(0.3, 1.0), 0.9]
    pieces = pieces_of(from_samples(samples))
    assert (np.diff(pieces.times) > 0.0).all()
    assert np.isfinite(pieces.survival(np.linspace(0.0, 3.0, 50))).all()


@pytest.mark.parametrize("law", PIECEWISE.values(), ids=PIECEWISE)
@pytest.mark.parametrize("frequency", [0.01, 5.0, 300.0])
def test_points_have_the_transform_of_the_pieces(law: ServiceLaw, frequency: float) -> None:
    """E e^(-i w S) over the quantile function, u by u, in closed form for each straight piece."""
    pieces = pieces_of(law)
    x, w = points(pieces, frequency)
    assert w.sum() == pytest.approx(1.0, rel=CLAIM)
    for omega in (frequency, frequency / 3):
        assert abs(np.sum(w * np.exp(-1j * omega * x)) - exact_transform(law, 1j * omega)) < 1e-13


def exact_transform(law: ServiceLaw, s: complex) -> complex:
    knots = list(zip(law.probabilities, (x / law.mean_s for x in law.durations_s), strict=True))
    total = 0j
    for (u0, x0), (u1, x1) in pairwise(knots):
        z = s * (x1 - x0)
        ratio = (1 - np.exp(-z)) / z if abs(z) > 1e-3 else 1 - z / 2 + z * z / 6 - z**3 / 24
        total += (u1 - u0) * np.exp(-s * x0) * ratio
    return total


@pytest.mark.parametrize("law", PIECEWISE.values(), ids=PIECEWISE)
@pytest.mark.parametrize(("last", "tilt"), [(0.25, 0.0), (2.0, 0.3), (64.0, 0.01)])
def test_second_transform_at_the_nodes(law: ServiceLaw, last: float, tilt: float) -> None:
    octave = Octave(last=last, tilt=tilt, side=64)
    s = octave.nodes()
    second = transform_at(pieces_of(law), octave)
    for i, j in product((0, 1, 63), (0, 1, 31, 32, 63)):
        node = s[i, j]
        if abs(node) > 0.5:
            expected = (node - 1 + exact_transform(law, node)) / node**2
            assert abs(second[i, j] - expected) < 3e-13 * max(1.0, abs(expected))
        else:  # moments, as 1 - s + ... cancels
            moments = [Empirical(law=law).moment(k) / law.mean_s**k for k in range(2, 40)]
            terms = [m * (-node) ** k / math.factorial(k + 2) for k, m in enumerate(moments)]
            assert abs(second[i, j] - sum(terms)) < 1e-12 * abs(second[i, j])


@pytest.mark.parametrize(
    ("shares", "durations", "message"),
    [
        ((0.0,), (1.0,), "as many durations as probabilities, 2 at least, got 1 and 1"),
        ((0.0, 1.0), (1.0,), "got 1 and 2"),
        ((0.1, 1.0), (1.0, 2.0), "probabilities must lead from 0 to 1 without falling, got 0.1, 1$"),
        ((0.0, 0.9), (1.0, 2.0), "must lead from 0 to 1"),
        ((0.0, 0.6, 0.5, 0.7, 0.8, 1.0), (1.0,) * 6, r"got 0, 0.6, 0.5, 0.7, \.\.\.$"),
        ((0.0, math.nan, 1.0), (1.0, 1.0, 2.0), "must lead from 0 to 1"),
        ((0.0, 1.0), (2.0, 1.0), "durations_s must not fall, got 2, 1; sort the samples"),
        ((0.0, 1.0), (-1.0, 1.0), "durations_s must be >= 0 and finite, got -1.0"),
        ((0.0, 1.0), (1.0, math.inf), "durations_s must be >= 0 and finite, got inf"),
        ((0.0, 1.0), (math.nan, 1.0), "durations_s must be >= 0 and finite, got nan"),
        ((0.0, 1.0), (0.0, 0.0), "the mean of durations_s must be > 0"),
    ],
)
def test_what_is_no_law_is_not_born(shares, durations, message) -> None:
    with pytest.raises(DomainError, match=message):
        Empirical(law=ServiceLaw(probabilities=shares, durations_s=durations))


@pytest.mark.parametrize("law", [None, 1.0, [1.0, 2.0]])
def test_what_is_no_service_law_is_refused(law: object) -> None:
    with pytest.raises(DomainError, match="law must be a ServiceLaw"):
        Empirical(law=law)
