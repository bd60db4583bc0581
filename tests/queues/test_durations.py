"""Durations against scipy's distributions, mpmath's integrals, and by their own laws."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None)
FAMILIES = [
    (Family.DETERMINISTIC, 0.0),
    (Family.EXPONENTIAL, 1.0),
    (Family.ERLANG, 1 / 3),
    (Family.ERLANG, 1.0),
    (Family.ERLANG, 1 / 40),
    (Family.HYPEREXPONENTIAL, 1.0),
    (Family.HYPEREXPONENTIAL, 4.0),
    (Family.HYPEREXPONENTIAL, 50.0),
    (Family.GAMMA, 0.07),
    (Family.GAMMA, 1.0),
    (Family.GAMMA, 7.5),
    (Family.LOGNORMAL, 0.02),
    (Family.LOGNORMAL, 3.0),
    (Family.LOGNORMAL, 50.0),
]
SMOOTH = FAMILIES[1:]


def duration(family: Family, scv: float | None, mean_s: float = 1.0) -> Duration:
    return Duration(family=family, mean_s=mean_s, scv=scv)


def scipys(law: Duration) -> stats.rv_continuous:
    """The same law by scipy's own parameters."""
    mean, c = law.mean_s, law.variability
    match law.family:
        case Family.EXPONENTIAL:
            return stats.expon(scale=mean)
        case Family.LOGNORMAL:
            return stats.lognorm(s=math.sqrt(math.log1p(c)), scale=mean / math.sqrt(1.0 + c))
        case _:
            return stats.gamma(a=1.0 / c, scale=c * mean)


@pytest.mark.parametrize(("family", "scv"), FAMILIES)
@pytest.mark.parametrize("mean_s", [1.0, 3e-4, 2e7])
def test_mean_and_variability_are_what_was_asked_for(family: Family, scv: float, mean_s: float) -> None:
    law = duration(family, scv, mean_s)
    assert law.moment(0) == pytest.approx(1.0, rel=CLAIM)
    assert law.moment(1) == pytest.approx(mean_s, rel=CLAIM)
    assert law.moment(2) == pytest.approx((1.0 + scv) * mean_s**2, rel=CLAIM)
    assert law.variability == pytest.approx(scv, rel=CLAIM)


@pytest.mark.parametrize(
    ("family", "scv", "third"),
    [
        (Family.DETERMINISTIC, 0.0, 1.0),
        (Family.EXPONENTIAL, 1.0, 6.0),  # 3! for mean 1
        (Family.ERLANG, 0.5, 3.0),  # 2 * 3 * 4 / 2^3
        (Family.HYPEREXPONENTIAL, 4.0, 60.0),  # Whitt (1982): 3 c^2 (1 + c^2) with balanced means
        (Family.GAMMA, 2.0, 15.0),  # (1/2)(3/2)(5/2) 2^3
        (Family.LOGNORMAL, 1.0, 8.0),  # (1 + c)^3
    ],
)
def test_third_moments_in_closed_form(family: Family, scv: float, third: float) -> None:
    assert duration(family, scv, 2.0).moment(3) == pytest.approx(8.0 * third, rel=CLAIM)


@pytest.mark.parametrize(("family", "scv"), SMOOTH)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_moments_are_the_areas_under_the_tail(family: Family, scv: float, order: int) -> None:
    """E S^k is the integral of k t^(k-1) P(S > t), here in log t by the trapezoidal rule."""
    law = duration(family, scv)
    step = 0.002
    log_t = step * np.arange(-20_000, 20_000)
    area = step * float(np.sum(order * np.exp(order * log_t) * law.tail(np.exp(log_t))))
    assert area == pytest.approx(law.moment(order), rel=1e-9)


@pytest.mark.parametrize(
    ("family", "scv"), [case for case in SMOOTH if case[0] is not Family.HYPEREXPONENTIAL]
)
@pytest.mark.parametrize("mean_s", [1.0, 5e-3])
def test_tails_are_scipys(family: Family, scv: float, mean_s: float) -> None:
    law = duration(family, scv, mean_s)
    times = mean_s * np.array([1e-9, 0.01, 0.3, 0.9, 1.0, 1.1, 3.0, 10.0, 40.0])
    ours, theirs = law.tail(times), scipys(law).sf(times)
    likely = theirs > 1e-280
    np.testing.assert_allclose(ours[likely], theirs[likely], rtol=1e-11)


def test_hyperexponential_branches_have_balanced_means() -> None:
    """Morse (1958): either branch gives half of the mean; the rates in closed form at scv 3 and 1."""
    for scv in (1.0, 1.0 + 1e-12, 3.0, 50.0, 1e6):
        law = duration(Family.HYPEREXPONENTIAL, scv, 2.0)
        (p, fast), (q, slow) = law.branches
        assert p + q == pytest.approx(1.0, rel=CLAIM)
        assert p / fast == pytest.approx(1.0, rel=CLAIM)
        assert q / slow == pytest.approx(1.0, rel=CLAIM)
        assert fast >= slow > 0.0
        with mp.workdps(40):
            half_gap = mp.sqrt((mp.mpf(scv) - 1) / (mp.mpf(scv) + 1)) / 2
            assert q == pytest.approx(float(mp.mpf(1) / 2 - half_gap), rel=1e-9)
    (p, fast), (q, slow) = duration(Family.HYPEREXPONENTIAL, 3.0).branches
    assert (p, q) == pytest.approx(((1 + math.sqrt(0.5)) / 2, (1 - math.sqrt(0.5)) / 2), rel=CLAIM)
    assert (fast, slow) == pytest.approx((2 * p, 2 * q), rel=CLAIM)


def test_hyperexponential_tail_is_a_mixture() -> None:
    law = duration(Family.HYPEREXPONENTIAL, 4.0, 0.5)
    half_gap = math.sqrt(3 / 5) / 2
    for t in (0.0, 0.1, 1.0, 20.0):
        expected = sum(p * math.exp(-2 * p * t / 0.5) for p in (0.5 + half_gap, 0.5 - half_gap))
        assert float(law.tail(np.array(t))) == pytest.approx(expected, rel=CLAIM)


def test_deterministic_tail_is_a_step() -> None:
    law = duration(Family.DETERMINISTIC, None, 0.25)
    times = np.array([-1.0, 0.0, math.nextafter(0.25, 0.0), 0.25, 1.0])
    assert law.tail(times).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("family", "scv"), FAMILIES)
def test_tails_fall_from_one_and_keep_the_shape(family: Family, scv: float) -> None:
    law = duration(family, scv)
    times = np.array([[-2.0, -1e-300, 0.0], [0.5, 2.0, 900.0]])
    tail = law.tail(times)
    assert tail.shape == times.shape
    assert tail[0].tolist() == [1.0, 1.0, 1.0]
    assert (np.diff(tail.ravel()) <= 0.0).all()
    assert (tail >= 0.0).all()


@pytest.mark.parametrize(("family", "scv"), [case for case in SMOOTH if case[0] is not Family.LOGNORMAL])
@pytest.mark.parametrize("s", [1e-8, 0.1, 3.0, 1e4])
def test_transforms_are_integrals_of_the_tail(family: Family, scv: float, s: float) -> None:
    """E e^(-s S) = 1 - s integral of e^(-s t) P(S > t), the integral in log t."""
    law = duration(family, scv, 0.7)
    step = 0.002
    t = np.exp(step * np.arange(-30_000, 20_000))  # arange of a fraction drifts by 1e-12
    integral = step * float(np.sum(t * np.exp(-s * t) * law.tail(t)))
    assert law.transform(s) == pytest.approx(1.0 - s * integral, abs=1e-12)
    assert 1.0 - law.transform(1e-8) == pytest.approx(0.7e-8, rel=1e-6)


def test_transforms_in_closed_form() -> None:
    assert duration(Family.DETERMINISTIC, None, 2.0).transform(0.5) == pytest.approx(math.exp(-1), rel=CLAIM)
    assert duration(Family.EXPONENTIAL, None, 2.0).transform(0.5) == pytest.approx(0.5, rel=CLAIM)
    assert duration(Family.ERLANG, 0.25, 2.0).transform(2.0) == pytest.approx(0.5**4, rel=CLAIM)
    assert duration(Family.GAMMA, 2.0, 1.5).transform(1.0) == pytest.approx(0.5, rel=CLAIM)
    with pytest.raises(DomainError, match="lognormal law has no closed Laplace transform"):
        duration(Family.LOGNORMAL, 1.0).transform(1.0)


@pytest.mark.parametrize(
    ("family", "scv"), [(Family.EXPONENTIAL, None), (Family.ERLANG, 0.2), (Family.HYPEREXPONENTIAL, 4.0)]
)
def test_phases_have_the_same_tail_and_transform(family: Family, scv: float | None) -> None:
    """P(S > t) = start e^(generator t) 1, and E e^(-s S) = start (s - generator)^-1 exit."""
    law = duration(family, scv, 0.5)
    start, generator = law.phases()
    assert start.sum() == pytest.approx(1.0, rel=CLAIM)
    assert generator.shape == (len(start), len(start))
    ones, eye = np.ones(len(start)), np.eye(len(start))
    for t in (0.0, 0.2, 1.0, 4.0):
        tail = start @ linalg.expm(generator * t) @ ones
        assert float(law.tail(np.array(t))) == pytest.approx(tail, rel=1e-11)
    for s in (0.1, 5.0):
        transform = start @ np.linalg.solve(s * eye - generator, -generator @ ones)
        assert law.transform(s) == pytest.approx(transform, rel=1e-11)


@pytest.mark.parametrize("family", [Family.DETERMINISTIC, Family.GAMMA, Family.LOGNORMAL])
def test_families_without_phases_say_so(family: Family) -> None:
    law = duration(family, None if family is Family.DETERMINISTIC else 0.5)
    with pytest.raises(DomainError, match="not of phase type; use erlang or hyperexponential"):
        law.phases()


def test_exponential_under_every_name() -> None:
    plain = duration(Family.EXPONENTIAL, None, 3.0)
    times = np.array([0.0, 0.1, 2.0, 30.0])
    for family in (Family.ERLANG, Family.GAMMA, Family.HYPEREXPONENTIAL):
        other = duration(family, 1.0, 3.0)
        np.testing.assert_allclose(other.tail(times), plain.tail(times), rtol=1e-12)
        assert other.transform(0.3) == pytest.approx(plain.transform(0.3), rel=CLAIM)
        assert other.moment(4) == pytest.approx(plain.moment(4), rel=CLAIM)
    assert duration(Family.EXPONENTIAL, 1.0, 3.0).variability == plain.variability == 1.0


def test_stages_of_erlang() -> None:
    counts = [*range(1, 300), 4999, 10_000]
    assert [duration(Family.ERLANG, 1 / k).stages for k in counts] == counts
    assert [int(1 / (1 / k)) for k in counts] != counts  # so that rounding down would show
    assert duration(Family.ERLANG, 0.333).variability == 1 / 3  # as people write a third
    assert duration(Family.ERLANG, 0.333).stages == 3


@laws
@given(st.sampled_from(SMOOTH), st.integers(-200, 200), st.floats(1e-3, 50.0), st.floats(0.01, 20.0))
def test_only_the_ratio_of_times_counts(case, power, time, s) -> None:
    k = 2.0**power  # exact, so that the law holds to the last digits
    plain, long = duration(*case), duration(*case, k)
    assert float(long.tail(np.array(time * k))) == pytest.approx(float(plain.tail(np.array(time))), rel=1e-14)
    assert long.moment(2) == pytest.approx(plain.moment(2) * k * k, rel=CLAIM)
    if case[0] is not Family.LOGNORMAL:
        assert long.transform(s / k) == pytest.approx(plain.transform(s), rel=CLAIM)


@laws
@given(st.floats(1.0, 1e6), st.floats(1e-4, 100.0))
def test_hyperexponential_moments_at_forty_digits(scv: float, s: float) -> None:
    law = duration(Family.HYPEREXPONENTIAL, scv)
    with mp.workdps(40):
        half_gap = mp.sqrt((mp.mpf(scv) - 1) / (mp.mpf(scv) + 1)) / 2
        shares = (mp.mpf(1) / 2 + half_gap, mp.mpf(1) / 2 - half_gap)
        third = sum(6 * p / (2 * p) ** 3 for p in shares)
        transform = sum(p * 2 * p / (2 * p + mp.mpf(s)) for p in shares)
        assert law.moment(3) == pytest.approx(float(third), rel=1e-9)
        assert law.transform(s) == pytest.approx(float(transform), rel=1e-11)


def test_scv_must_be_given_unless_the_family_fixes_it() -> None:
    for family in (Family.ERLANG, Family.HYPEREXPONENTIAL, Family.GAMMA, Family.LOGNORMAL):
        with pytest.raises(DomainError, match=f"scv must be given for {family}"):
            duration(family, None)
    assert duration(Family.DETERMINISTIC, None).variability == 0.0


@pytest.mark.parametrize(
    ("family", "scv", "message"),
    [
        (Family.DETERMINISTIC, 0.1, "scv of deterministic is 0, got 0.1"),
        (Family.EXPONENTIAL, 2.0, "scv of exponential is 1, got 2.0"),
        (Family.EXPONENTIAL, 0.5, "scv of exponential is 1, got 0.5"),
        (Family.HYPEREXPONENTIAL, 0.99, "scv of hyperexponential must be >= 1, got 0.99; use erlang or gamma"),
        (Family.ERLANG, 0.4, "must be 1/k for a whole k up to 10000, got 0.4; the nearest is 0.3333"),
        (Family.ERLANG, 0.7, "the nearest is 0.5 "),
        (Family.ERLANG, 5e-324, "the nearest is 0.0001 "),
        (Family.ERLANG, 3.0, "the nearest is 1.0"),
        (Family.ERLANG, 0.0, "must be 1/k"),
        (Family.ERLANG, 1e-6, "must be 1/k"),
        (Family.GAMMA, 0.0, "scv must be > 0"),
        (Family.LOGNORMAL, 0.0, "scv must be > 0"),
    ],
)  # fmt: skip
def test_an_scv_that_a_family_cannot_have(family: Family, scv: float, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        duration(family, scv)


@pytest.mark.parametrize(
    "family", [Family.EXPONENTIAL, Family.ERLANG, Family.HYPEREXPONENTIAL, Family.GAMMA, Family.LOGNORMAL]
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, True])
def test_bad_numbers_are_refused(family: Family, bad: float) -> None:
    with pytest.raises(DomainError, match="scv must be"):
        duration(family, bad)
    with pytest.raises(DomainError, match="mean_s must be > 0"):
        duration(family, 1.0, bad)
    with pytest.raises(DomainError, match="mean_s must be > 0"):
        duration(family, 1.0, 0.0)


def test_only_families_that_there_are() -> None:
    """A name that is none would pass for a gamma law."""
    with pytest.raises(
        DomainError, match="family must be one of deterministic, .*, lognormal, got 'weibull'"
    ):
        Duration(family="weibull", mean_s=1.0, scv=0.5)
    assert Duration(family="lognormal", mean_s=1.0, scv=0.5).family is Family.LOGNORMAL
    with pytest.raises(DomainError, match="scv of hyperexponential must be >= 1"):
        Duration(family="hyperexponential", mean_s=1.0, scv=0.5)
