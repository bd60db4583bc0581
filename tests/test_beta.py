"""Shares and quantiles of the beta distribution, and those of Student's t: closed forms, a second road, and laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from capacity.beta import beta_quantile, beta_shares, binomial
from capacity.confidence import student_t

CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
parameters = st.floats(0.3, 3e3)
shares = st.sampled_from([0.005, 0.025, 0.5, 0.9, 0.975, 0.995])


@pytest.mark.parametrize(
    ("confidence", "degrees", "printed"),
    [(0.95, 1, 12.706), (0.95, 10, 2.228), (0.99, 30, 2.750), (0.9, 120, 1.658), (0.95, math.inf, 1.960)],
)
def test_students_t_is_that_of_printed_tables(confidence: float, degrees: float, printed: float) -> None:
    """Abramowitz & Stegun (1964), table 26.10."""
    assert round(student_t(confidence, degrees), 3) == printed


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_students_t_of_one_and_of_two_degrees_have_closed_forms(confidence: float) -> None:
    assert student_t(confidence, 1) == pytest.approx(math.tan(0.5 * math.pi * confidence), rel=1e-12)
    two = confidence * math.sqrt(2.0 / (1.0 - confidence * confidence))
    assert student_t(confidence, 2) == pytest.approx(two, rel=1e-12)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("degrees", [*range(1, 40), 0.7, 2.5, 99, 1e3, 12345.6, 1e5])
def test_students_t_is_that_of_scipy(confidence: float, degrees: float) -> None:
    scipys = float(special.stdtrit(degrees, 0.5 + confidence / 2.0))
    assert student_t(confidence, degrees) == pytest.approx(scipys, rel=2e-12)


def test_students_t_without_degrees_is_no_number() -> None:
    assert math.isnan(student_t(0.95, 0))


@pytest.mark.parametrize("count", [1, 10, 1000, 10**6, 10**9])
@pytest.mark.parametrize("share", [0.025, 0.5, 0.975])
def test_one_event_or_all_but_one_have_closed_forms(count: int, share: float) -> None:
    """Of the smallest of n uniform numbers it is 1 - (1 - p)^(1/n), of the largest p^(1/n)."""
    smallest = -math.expm1(math.log1p(-share) / count)
    assert beta_quantile(1, count, share) == pytest.approx(smallest, rel=1e-13)
    assert beta_quantile(count, 1, share) == pytest.approx(share ** (1.0 / count), rel=1e-14)


@given(parameters, parameters, shares)
def test_quantiles_of_the_beta_distribution_are_those_of_scipy(a: float, b: float, share: float) -> None:
    """SciPy's own is off by 1.4e-11 at the middle of some symmetric laws, which is known."""
    expected = 0.5 if a == b and share == 0.5 else float(special.betaincinv(a, b, share))
    assert beta_quantile(a, b, share) == pytest.approx(expected, rel=1e-11)


@given(parameters, parameters, st.floats(0.01, 0.99))
def test_shares_of_the_beta_distribution_are_those_of_scipy_and_sum_to_one(
    a: float, b: float, x: float
) -> None:
    below, above = beta_shares(a, b, x, 1.0 - x)
    assert below + above == pytest.approx(1.0, rel=1e-15)
    assert beta_shares(b, a, 1.0 - x, x) == pytest.approx((above, below), rel=1e-9, abs=1e-15)
    assert below == pytest.approx(float(special.betainc(a, b, x)), rel=1e-10, abs=1e-250)


@given(st.integers(1, 300), st.floats(0.001, 0.999))
def test_binomial_probabilities_sum_to_one_and_to_the_share_of_a_beta_distribution(
    count: int, share: float
) -> None:
    """DLMF 8.17.5: at least k of n events are as likely as a beta number with k and n - k + 1 below their share."""
    each = [binomial(happened, count, share, 1.0 - share) for happened in range(count + 1)]
    assert math.fsum(each) == pytest.approx(1.0, rel=1e-13)
    half = count // 2 + 1
    at_least = beta_shares(half, count - half + 1, share, 1.0 - share)[0]
    assert math.fsum(each[half:]) == pytest.approx(at_least, rel=1e-11, abs=1e-300)
