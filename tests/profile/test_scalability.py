"""The universal scalability law against published fits, exact fractions, other least squares, and itself."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from capacity.errors import DomainError, InputError
from capacity.performance import Kind
from capacity.profile.scalability import ScalabilityFit, UniversalScalability, fit_scalability, read_points

laws = settings(derandomize=True, deadline=None, max_examples=60)
sigmas = st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-6, 1.0))
kappas = st.one_of(st.just(0.0), st.floats(-12, 0).map(lambda power: 10.0**power))

# SPEC SDM91 on a SPARCcenter 2000: data and fit as in Gunther & Moeding's R package usl, version 1
SDM91 = {1: 64.9, 18: 995.9, 36: 1652.4, 72: 1853.2, 108: 1828.9, 144: 1775.0, 216: 1702.2}
# a ray tracer by processors: from the same package
RAYTRACER = {1: 20, 4: 78, 8: 130, 12: 170, 16: 190, 20: 200, 24: 210, 28: 230, 32: 260, 48: 280, 64: 310}
SYNTHETIC = (1, 2, 4, 8, 16, 32, 64)


def law(one: float, sigma: float, kappa: float) -> UniversalScalability:
    return UniversalScalability(throughput_one_rps=one, sigma=sigma, kappa=kappa)


def test_the_published_fit_of_sdm91() -> None:
    """usl's summary prints coefficients, residuals and their standard error (absolute residuals)."""
    published = law(89.9952330, 0.0277285, 0.0001044)
    residuals = sorted(x - published.throughput_rps(n) for n, x in SDM91.items())
    assert (residuals[0], residuals[3], residuals[-1]) == pytest.approx((-81.7, -25.1, 111.1), abs=0.06)
    assert math.sqrt(sum(r * r for r in residuals) / 4) == pytest.approx(82.8, abs=0.06)
    assert published.peak_size == pytest.approx(96.5, abs=0.05)


def test_ours_is_the_best_by_relative_error_where_theirs_is_by_absolute() -> None:
    found = fit_scalability(SDM91)
    sizes = np.array(list(SDM91), dtype=float)
    logs = np.log(list(SDM91.values()))

    def model(n, one, sigma, kappa):
        return np.log(one * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0)))

    values, covariance = curve_fit(model, sizes, logs, p0=[60.0, 0.01, 1e-4], xtol=1e-14, ftol=1e-14)
    names = ("throughput_one_rps", "sigma", "kappa")
    assert [getattr(found.law, name) for name in names] == pytest.approx(values, rel=1e-6)
    assert [found.standard_errors[name] for name in names] == pytest.approx(
        np.sqrt(np.diag(covariance)), rel=1e-4
    )
    t = 2.776445105  # of 4 degrees of freedom at 0.975, in every table
    for name in names:
        value, error, interval = getattr(found.law, name), found.standard_errors[name], found.intervals[name]
        assert interval.low == pytest.approx(value - t * error, rel=1e-8)
        assert interval.high == pytest.approx(value + t * error, rel=1e-8)
    assert found.size_max == 216
    worst = max(abs(x / found.law.throughput_rps(n) - 1.0) for n, x in SDM91.items())
    assert found.relative_error_max == pytest.approx(worst, rel=1e-9)
    assert found.doubts == ()


def test_the_example_of_the_usl_package() -> None:
    """cran/usl, tests/t02: sigma and kappa 0.02, to three digits, from rounded throughputs."""
    found = fit_scalability({1: 1.0, 2: 1.8868, 4: 3.0769, 6: 3.5294, 8: 3.5398, 10: 3.3557})
    assert found.law.sigma == pytest.approx(0.02, abs=5e-5)
    assert found.law.kappa == pytest.approx(0.02, abs=5e-5)
    assert found.law.peak == 7


def test_a_ray_tracer_has_no_certain_peak() -> None:
    """Published by absolute residuals: X(1) 21.848843, sigma 0.057771, kappa 0."""
    published = law(21.848843, 0.057771, 0.0)
    found = fit_scalability(RAYTRACER)
    for name, interval in found.intervals.items():
        assert interval.low <= getattr(published, name) <= interval.high
    assert found.intervals["kappa"].low == 0.0
    assert found.doubts == ("kappa cannot be told from 0, so there may be no peak; measure larger sizes",)
    assert found.law.throughput_one_rps == pytest.approx(21.848843, rel=0.02)
    assert found.law.sigma == pytest.approx(0.057771, rel=0.03)


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("kappa", [0.0, 1e-6, 0.004, 0.5])
@pytest.mark.parametrize("one", [1e-9, 1.0, 1e12])
def test_exact_throughputs_give_the_law_back(one: float, sigma: float, kappa: float) -> None:
    true = law(one, sigma, kappa)
    found = fit_scalability({n: true.throughput_rps(n) for n in SYNTHETIC})
    assert found.law.throughput_one_rps == pytest.approx(one, rel=1e-10)
    assert found.law.sigma == pytest.approx(sigma, rel=1e-9, abs=1e-10)
    assert found.law.kappa == pytest.approx(kappa, rel=1e-9, abs=1e-12)
    assert found.relative_error_max < 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_no_better_parameters_on_a_grid(seed: int) -> None:
    """Also where the best lies on a bound: a few noisy points, all parameters tried."""
    generator = np.random.default_rng(seed)
    true = law(7.0, float(generator.choice([0.0, 0.1])), float(generator.choice([0.0, 1e-3])))
    points = {n: true.throughput_rps(n) * math.exp(0.1 * generator.normal()) for n in SYNTHETIC}
    n, x = np.array(list(points), dtype=float), np.array(list(points.values()))

    def misfit(sigma, kappa):
        departures = np.log(x / n) + np.log1p(sigma * (n - 1.0) + kappa * n * (n - 1.0))
        return float(np.var(departures))

    found = fit_scalability(points).law
    grid = [
        misfit(s, k) for s in (0.0, *np.geomspace(1e-4, 1.0, 50)) for k in (0.0, *np.geomspace(1e-7, 0.1, 50))
    ]
    assert misfit(found.sigma, found.kappa) <= min(grid) * (1.0 + 1e-9)


@pytest.mark.long
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """600 noisy tests: each interval covers 95 %, within three binomial standard deviations."""
    generator = np.random.default_rng(7)
    true, covered = law(50.0, 0.05, 0.001), np.zeros(3)
    exact = {n: true.throughput_rps(n) for n in SYNTHETIC}
    for _ in range(600):
        found = fit_scalability({n: x * math.exp(0.02 * generator.normal()) for n, x in exact.items()})
        for k, (name, interval) in enumerate(found.intervals.items()):
            covered[k] += interval.low <= getattr(true, name) <= interval.high
    assert np.abs(covered / 600 - 0.95).max() < 3 * math.sqrt(0.95 * 0.05 / 600)


@laws
@given(sigmas, kappas, st.floats(1.0, 1e6), st.integers(-300, 300))
def test_the_formula_in_fractions(sigma: float, kappa: float, size: float, power: int) -> None:
    one = 2.0**power
    model = law(one, sigma, kappa)
    n = Fraction(size)
    share = 1 + Fraction(sigma) * (n - 1) + Fraction(kappa) * n * (n - 1)
    assert model.efficiency(size) == pytest.approx(float(1 / share), rel=1e-14)
    assert model.throughput_rps(size) == pytest.approx(one * float(n / share), rel=1e-14)
    assert model.throughput_rps(1) == one
    assert model.performance(3).throughput_rps == model.throughput_rps(3)
    assert model.performance(3).kind is Kind.EXACT


@laws
@given(sigmas, st.floats(-11, 1).map(lambda power: 10.0**power))
def test_no_neighbour_of_the_peak_is_higher(sigma: float, kappa: float) -> None:
    model = law(1.0, sigma, kappa)

    def exact(n: int) -> Fraction:
        return n / (1 + Fraction(sigma) * (n - 1) + Fraction(kappa) * n * (n - 1))

    peak = model.peak
    assert peak is not None
    assert exact(peak) >= exact(peak + 1)
    assert peak == 1 or exact(peak) > exact(peak - 1)
    assert abs(peak - model.peak_size) <= 1.0
    assert model.throughput_max_rps == model.throughput_rps(peak)
    assert model.asymptote_rps == 0.0
    assert model.throughput_rps(1e300) < model.throughput_max_rps


def test_the_peak_where_rounding_would_choose() -> None:
    assert law(1.0, 0.0, 1.0 / 6.0).peak == 3  # N (N + 1) = 6 is just missed by the double 1/6
    assert law(1.0, 0.5, 0.25).peak == 1  # X(1) = X(2)
    assert law(1.0, 0.0, 1e-300).peak == pytest.approx(1e150, rel=1e-12)
    assert law(1.0, 0.0, 5e-324).peak_size == pytest.approx(4.5e161, rel=0.01)
    assert law(1.0, 0.3, 50.0).peak == law(1.0, 0.3, 50.0).peak_size == 1


def test_without_coherency_there_is_no_peak() -> None:
    amdahl, linear, serial = law(8.0, 0.25, 0.0), law(8.0, 0.0, 0.0), law(8.0, 1.0, 0.0)
    assert (amdahl.peak, amdahl.peak_size) == (None, math.inf)
    assert (amdahl.asymptote_rps, amdahl.throughput_max_rps, amdahl.knee) == (32.0, 32.0, 4.0)
    assert amdahl.throughput_rps(1e9) == pytest.approx(32.0, rel=1e-8)
    assert (linear.peak, linear.asymptote_rps, linear.knee) == (None, math.inf, math.inf)
    assert linear.throughput_rps(2.0**900) == 2.0**903
    assert (serial.peak, serial.peak_size, serial.throughput_max_rps, serial.knee) == (1, 1.0, 8.0, 1.0)
    assert serial.throughput_rps(7) == 8.0


@laws
@given(sigmas, kappas, st.floats(1.0, 1e6))
def test_more_contention_or_coherency_is_slower(sigma: float, kappa: float, size: float) -> None:
    here = law(1.0, sigma, kappa).throughput_rps(size)
    assert law(1.0, sigma / 2.0, kappa).throughput_rps(size) >= here
    assert law(1.0, sigma, kappa / 2.0).throughput_rps(size) >= here
    assert here <= size * (1.0 + 1e-15)


@laws
@given(st.integers(-300, 300), st.permutations(list(SDM91.items())))
def test_units_and_order_do_not_matter(power: int, pairs: list[tuple[int, float]]) -> None:
    plain, other = fit_scalability(SDM91), fit_scalability([(n, x * 2.0**power) for n, x in pairs])
    assert other.law.sigma == pytest.approx(plain.law.sigma, rel=1e-6)
    assert other.law.kappa == pytest.approx(plain.law.kappa, rel=1e-6)
    one = other.law.throughput_one_rps / 2.0**power
    assert one == pytest.approx(plain.law.throughput_one_rps, rel=1e-6)
    assert other.doubts == plain.doubts


def test_repeated_sizes_count_each() -> None:
    twice = fit_scalability([*SDM91.items(), *SDM91.items()])
    once = fit_scalability(SDM91)
    assert twice.law.sigma == pytest.approx(once.law.sigma, rel=1e-6)
    assert twice.standard_errors["sigma"] == pytest.approx(
        once.standard_errors["sigma"] * math.sqrt(4 / 11), rel=1e-4
    )


def test_repetitions_are_not_more_sizes() -> None:
    model = law(10.0, 0.05, 0.01)
    found = fit_scalability([(n, model.throughput_rps(n)) for n in (1, 2, 16, 32)] * 2)
    assert found.doubts == ("only 4 different sizes; measure 6 or more",)


def test_contention_stays_a_share() -> None:
    """Throughputs that would need sigma = 1.5: the best of what is allowed, kappa > 0."""
    points = {n: 10.0 * n / (1.0 + 1.5 * (n - 1.0)) for n in SYNTHETIC}
    found = fit_scalability(points).law
    n, x = np.array(list(points), dtype=float), np.array(list(points.values()))

    def misfit(kappa):
        return float(np.var(np.log(x / n) + np.log1p((n - 1.0) + kappa * n * (n - 1.0))))

    assert found.sigma == 1.0
    assert misfit(found.kappa) <= min(misfit(k) for k in np.geomspace(1e-6, 1.0, 400)) * (1.0 + 1e-9)


def test_far_out_is_refused() -> None:
    found = fit_scalability(SDM91)
    assert found.throughput_rps(432) == found.law.throughput_rps(432)
    with pytest.raises(
        DomainError, match="size must be <= 432, twice the largest measured, got 500; measure"
    ):
        found.throughput_rps(500)
    with pytest.raises(DomainError, match="up to at least 250 first"):
        found.performance(500)
    for bad in (math.nan, 0, -1, True, 0.5):
        with pytest.raises(DomainError, match="size must be >"):
            found.throughput_rps(bad)
    answer = found.performance(72)
    assert answer.kind is Kind.APPROXIMATION
    assert answer.throughput_rps == found.law.throughput_rps(72)
    assert answer.relative_error_max == {"throughput_rps": found.relative_error_max}


def doubts(sigma: float, kappa: float, sizes: tuple[float, ...], **changed: float) -> ScalabilityFit:
    model = law(10.0, sigma, kappa)
    return fit_scalability({n: model.throughput_rps(n) * changed.get(f"n{n}", 1.0) for n in sizes})


def test_doubts_say_what_to_measure() -> None:
    assert doubts(0.05, 0.001, SYNTHETIC).doubts == ()
    (few,) = doubts(0.05, 0.01, (1, 2, 4, 16, 32)).doubts
    assert few == "only 5 different sizes; measure 6 or more"
    (no_one,) = doubts(0.05, 0.01, (2, 3, 4, 8, 16, 32)).doubts
    assert no_one == "size 1 was not measured, so that X(1) is extrapolated from 2; measure it"
    (early,) = doubts(0.05, 0.001, (1, 2, 3, 4, 5, 6)).doubts
    assert early.startswith("the largest size 6 is not beyond the knee at 9.038, so that")
    assert law(10.0, 0.05, 0.001).knee == pytest.approx(9.038, abs=5e-4)
    (off,) = doubts(0.05, 0.001, SYNTHETIC, n8=1.2).doubts
    assert off.startswith("a measured throughput is 1")
    assert any("superlinear" in doubt for doubt in doubts(0.0, 0.001, SYNTHETIC, n4=1.1).doubts)
    assert any("told from 0" in doubt for doubt in doubts(0.2, 0.0, SYNTHETIC, n4=1.01).doubts)


def test_three_points_are_met_without_an_interval() -> None:
    found = doubts(0.05, 0.01, (1, 4, 32))
    assert found.relative_error_max < 1e-9
    assert set(found.standard_errors.values()) == {math.inf}
    assert (found.intervals["sigma"].low, found.intervals["sigma"].high) == (0.0, 1.0)
    assert (found.intervals["kappa"].low, found.intervals["kappa"].high) == (0.0, math.inf)
    assert len(found.doubts) == 2


def test_sizes_apart_by_rounding_have_no_interval_either() -> None:
    found = fit_scalability({1.0 + k * 2.0**-52: 1.0 + k % 2 for k in range(4)})
    assert min(found.standard_errors["sigma"], found.standard_errors["kappa"]) > 1e6


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "at least 3 different sizes, got 0"),
        ({1: 1.0, 2: 2.0}, "at least 3 different sizes, got 2; measure 6 or more"),
        ([(1, 1.0), (1, 1.1), (1, 1.2), (2, 2.0)], "got 2"),
        ({0: 1.0, 1: 2.0, 2: 3.0}, "size must be > 0"),
        ({0.5: 1.0, 1: 2.0, 2: 3.0}, "size must be >= 1, got 0.5"),
        ({1: 1.0, 2: math.nan, 3: 1.0}, "throughput at size 2 must be > 0 and finite, got nan"),
        ({1: 1.0, 2: 0.0, 3: 1.0}, "throughput at size 2 must be > 0"),
        ({1: 1.0, 2: -1.0, 3: 1.0}, "throughput at size 2 must be > 0"),
        ({1: 1.0, 2: math.inf, 3: 1.0}, "throughput at size 2 must be > 0"),
        ({1: 1.0, math.inf: 1.0, 3: 1.0}, "size must be > 0 and finite"),
        ({1: 1.0, 2e9: 1.0, 3: 1.0}, "size must be <= 1e"),
    ],
)
def test_what_cannot_be_fitted_is_refused(points: dict[float, float], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        fit_scalability(points)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, True])
def test_bad_parameters_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="throughput_one_rps must be > 0"):
        law(bad, 0.1, 0.1)
    with pytest.raises(DomainError, match="sigma must be >= 0"):
        law(1.0, bad, 0.1)
    with pytest.raises(DomainError, match="kappa must be >= 0"):
        law(1.0, 0.1, bad)
    with pytest.raises(DomainError, match="size must be >"):
        law(1.0, 0.1, 0.1).efficiency(bad)


def test_shares_above_one_and_sizes_below_are_refused() -> None:
    with pytest.raises(DomainError, match=r"sigma must be <= 1, got 1\.5; it is a share"):
        law(1.0, 1.5, 0.1)
    with pytest.raises(DomainError, match=r"size must be >= 1, got 0\.5; it counts"):
        law(1.0, 0.5, 0.1).throughput_rps(0.5)


def test_points_are_read(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_bytes(b"\xef\xbb\xbfthroughput_rps , n\r\n64.9,1\r\n\r\n995.9,18\r\n 1e3 , 36.5 \r\n")
    assert read_points(path) == {1.0: 64.9, 18.0: 995.9, 36.5: 1000.0}
    path.write_bytes(b"n,throughput_rps\r1,2\r3,4\r")
    assert read_points(path) == {1.0: 2.0, 3.0: 4.0}
    path.write_text("n,throughput_rps\n" + "".join(f"{n},{x}\n" for n, x in SDM91.items()))
    assert fit_scalability(read_points(path)).law == fit_scalability(SDM91).law


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "test.csv line 1: no column n; the first line must be n,throughput_rps"),
        ("n\n1\n", "test.csv line 1: no column throughput_rps; the first line must be n,throughput_rps"),
        ("n,throughput\n1,1\n", "line 1: unknown column 'throughput'; name it throughput_rps"),
        ("size,throughput_rps\n", "line 1: unknown column 'size'; use n,throughput_rps"),
        ("n,n,throughput_rps\n", "line 1: a column is given twice; keep one of each"),
        ("n,throughput_rps\n1,1,1\n", "line 2: 3 cells for 2 columns; complete or drop the row"),
        ("n,throughput_rps\n1,1\n\n1,2\n", "line 4: size 1 stands on line 2 already; keep one for each size"),
        ("n,throughput_rps\n1,nan\n", "line 2: throughput_rps must be a number, got 'nan'; fix or drop"),
        ("n,throughput_rps\n1,1_0\n", "line 2: throughput_rps must be a number, got '1_0'"),
        ("n,throughput_rps\nx,1\n", "line 2: n must be a number, got 'x'"),
        ("n,throughput_rps\n٣,1\n", "line 2: n must be a number"),
        ("n,throughput_rps\n,1\n", "line 2: n must be a number, got ''"),
        ("n,throughput_rps\n1,inf\n", "line 2: throughput_rps must be a number, got 'inf'; fix or drop the row"),
        ("n,throughput_rps\n1,-1\n", "line 2: throughput_rps must be > 0"),
        ("n,throughput_rps\n1,0\n", "line 2: throughput_rps must be > 0"),
        ("n,throughput_rps\n0.5,1\n", "line 2: n must be >= 1, got 0.5; it counts users, threads or replicas"),
        ('n,throughput_rps\n"1,1\n', "line 2: not valid CSV"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "test.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert message in str(caught.value)


def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "test.csv"
    with pytest.raises(InputError, match="cannot read"):
        read_points(path)
    path.write_bytes(b"n,throughput_rps\n\xff,1\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_points(path)
    monkeypatch.setattr("capacity.files.ROWS_MAX", 2)
    path.write_text("n,throughput_rps\n1,1\n2,2\n3,3\n")
    with pytest.raises(InputError, match="more than 2 rows"):
        read_points(path)
