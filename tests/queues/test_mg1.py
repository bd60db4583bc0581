"""M/G/1 against Kleinrock's example, roots at 40 digits, series, the renewal equation, and by its laws."""

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capacity.profile.distribution import ServiceLaw, constant, from_samples, from_summary
from capacity.queues.durations import Duration, Family
from capacity.queues.general import mg1_wait as smooth
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical, Pieces, Rough, ratios, transforms
from capacity.queues.numerics.fourier import Octave, octave_end

CLAIM = 1e-10
laws = settings(derandomize=True, deadline=None, max_examples=15)
SUMMARY = Empirical(law=from_summary(1.0, {0.5: 0.8, 0.9: 1.7, 0.99: 4.0}))
SAMPLES = Empirical(law=from_samples([0.4, 0.5, 0.5, 0.7, 2.0, 4.5]))


def law(family: Family, scv: float | None = None, mean_s: float = 1.0) -> Duration:
    return Duration(family=family, mean_s=mean_s, scv=scv)


def queue(rho: float, service: Duration | Empirical) -> MG1:
    return MG1(arrival_rate_rps=rho / service.mean_s, service=service)


def erlang(stages: int) -> Duration:
    return law(Family.ERLANG, 1 / stages)


SERVICES: dict[str, Duration | Empirical] = {
    "deterministic": law(Family.DETERMINISTIC),
    "exponential": law(Family.EXPONENTIAL),
    "hyper": law(Family.HYPEREXPONENTIAL, 6.0),
    "erlang": erlang(4),
    "gamma lean": law(Family.GAMMA, 0.03),
    "gamma": law(Family.GAMMA, 0.6),
    "gamma wide": law(Family.GAMMA, 20.0),
    "lognormal lean": law(Family.LOGNORMAL, 0.05),
    "lognormal": law(Family.LOGNORMAL, 1.5),
    "lognormal wide": law(Family.LOGNORMAL, 50.0),
    "summary": SUMMARY,
    "samples": SAMPLES,
}
by_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
some_service = st.sampled_from(list(SERVICES.values()))


# Printed by somebody else


def test_kleinrocks_example_by_fourier_series() -> None:
    """Kleinrock (1975), sec. 5.7: B*(s) = (1/4) l/(s+l) + (3/4) 2l/(s+2l) at rho = 5/8 gives the density
    (3l/32) e^(-3lt/2) + (9l/32) e^(-lt/2); l = 1, so P(W > t) = e^(-3t/2)/16 + 9 e^(-t/2)/16."""
    for time in (1e-6, 0.1, 1.0, 7.3, 64.0, 300.0):
        octave = Octave(last=octave_end(time), tilt=0.49, side=32)
        s = octave.nodes()
        served = 0.25 / (s + 1) + 1.5 / (s + 2)
        wait = 0.375 * s / (s - 1 + served)
        tail = octave.value(octave.coefficients((1 - wait) / s), time)
        assert tail == pytest.approx((math.exp(-1.5 * time) + 9 * math.exp(-0.5 * time)) / 16, rel=1e-11)


def test_wait_of_constant_service_is_half_of_exponential_service() -> None:
    """Gross, Shortle, Thompson & Harris (2008), sec. 5.1: L_q = rho^2 / (2 (1 - rho)) for M/D/1; L = 2.5
    for M/M/1 at 5/7, whose queue is 25/14."""
    fixed, random = queue(5 / 7, law(Family.DETERMINISTIC)), queue(5 / 7, law(Family.EXPONENTIAL))
    assert random.in_system_mean == pytest.approx(2.5, rel=CLAIM)
    assert random.queue_length_mean == pytest.approx(25 / 14, rel=CLAIM)
    assert fixed.queue_length_mean == pytest.approx(25 / 28, rel=CLAIM)


def test_constant_service_at_utilization_99() -> None:
    """229.155 services: P99 of the wait in M/D/1 by 220 digits of the alternating series."""
    fixed = queue(0.99, law(Family.DETERMINISTIC))
    assert fixed.wait_quantile_s(0.99) == pytest.approx(229.155, abs=5e-4)


# A second road


def erlang_poles(stages: int, rho: mp.mpf) -> list[tuple[mp.mpf, mp.mpf]]:
    """Weights and roots of s - rho + rho B(s), B(s) = x^-k, x = 1 + s/k: x^k = rho / (k + rho - k x).

    One root for each k-th root of unity, by fixed point; the weight is -(1 - rho) / (1 + rho B'(s)).
    """
    poles = []
    for j in range(stages):
        turn, x = mp.expjpi(mp.mpf(2 * j) / stages), mp.mpc(0)
        for _ in range(40 + int(600 / stages)):
            x = turn * (rho / (stages + rho - stages * x)) ** (mp.mpf(1) / stages)
        s = mp.findroot(lambda s: s - rho + rho * (1 + s / stages) ** -stages, stages * (x - 1))
        poles.append((-(1 - rho) / (1 - rho * (1 + s / stages) ** (-stages - 1)), s))
    return poles


def hyperexponential_poles(scv: float, rho: mp.mpf) -> list[tuple[mp.mpf, mp.mpf]]:
    """The same for two branches with balanced means, whose roots solve a quadratic."""
    half_gap = mp.sqrt((mp.mpf(scv) - 1) / (mp.mpf(scv) + 1)) / 2
    shares = (mp.mpf(1) / 2 + half_gap, mp.mpf(1) / 2 - half_gap)
    product, total = 4 * shares[0] * shares[1], 2 - rho
    poles = []
    for sign in (1, -1):
        s = -(total + sign * mp.sqrt(total**2 - 4 * product * (1 - rho))) / 2
        slope = -sum(2 * p * p / (2 * p + s) ** 2 for p in shares)
        poles.append((-(1 - rho) / (1 + rho * slope), s))
    return poles


def error_of_tails(model: MG1, poles: list[tuple[mp.mpf, mp.mpf]], times: list[float]) -> float:
    """Largest relative error of P(W > t) and P(T > t) = P(W > t) + w(t) / lambda against the poles."""
    worst = 0.0
    rho = mp.mpf(model.utilization)
    for time in times:
        terms = [weight * mp.exp(root * mp.mpf(time)) for weight, root in poles]
        wait = mp.re(mp.fsum(terms))
        density = -mp.re(mp.fsum(term * root for term, (_, root) in zip(terms, poles, strict=True)))
        for ours, exact in ((model.wait_tail(time), wait), (model.response_tail(time), wait + density / rho)):
            worst = max(worst, abs(float(ours / exact - 1)))
    return worst


@pytest.mark.parametrize("stages", [1, 2, 5, 16])
@pytest.mark.parametrize("rho", [1e-6, 0.3, 0.9, 0.999])
def test_erlang_by_roots_at_sixty_digits(stages: int, rho: float) -> None:
    model = queue(rho, erlang(stages))
    with mp.workdps(60):
        poles = erlang_poles(stages, mp.mpf(model.utilization))
        assert abs(mp.fsum(weight for weight, _ in poles) - model.utilization) < 1e-25  # all are there
        late = [x / (1.0 - rho) for x in (1.0, 5.0, 12.0)]
        assert error_of_tails(model, poles, [1e-9, 0.01, 0.3, 1.0, 1.9, 3.0, *late]) < 1e-11


@pytest.mark.parametrize("scv", [1.0 + 1e-9, 1.5, 10.0, 50.0])
@pytest.mark.parametrize("rho", [1e-6, 0.3, 0.9, 0.999])
def test_hyperexponential_by_roots_at_sixty_digits(scv: float, rho: float) -> None:
    model = queue(rho, law(Family.HYPEREXPONENTIAL, scv))
    with mp.workdps(60):
        poles = hyperexponential_poles(scv, mp.mpf(model.utilization))
        late = [x * (1.0 + scv) / (1.0 - rho) for x in (0.5, 3.0, 6.0)]
        assert error_of_tails(model, poles, [1e-9, 0.01, 0.3, 1.0, 3.0, *late]) < 1e-12


@pytest.mark.parametrize(("rho", "times"), [(0.3, [0.2, 1.0, 2.5, 4.1]), (0.9, [0.5, 3.0, 7.7, 20.2])])
def test_constant_service_by_the_alternating_series(rho: float, times: list[float]) -> None:
    """P(W <= t) = (1 - rho) sum of e^(rho (t - k)) (-rho (t - k))^k / k!; Erlang (1909)."""
    model = queue(rho, law(Family.DETERMINISTIC))
    with mp.workdps(80):
        load = mp.mpf(model.utilization)

        def below(t: mp.mpf) -> mp.mpf:
            terms = (
                mp.exp(load * (t - k)) * (load * (k - t)) ** k / mp.factorial(k) for k in range(int(t) + 1)
            )
            return (1 - load) * mp.fsum(terms)

        for time in times:
            exact = 1 - below(mp.mpf(time))
            assert abs(model.wait_tail(time) / exact - 1) < 1e-12
            assert model.response_tail(time + 1.0) == pytest.approx(float(exact), rel=1e-12)


def two_samples(first: float, second: float, often: int, rho: float, time: float) -> tuple[float, float]:
    """P(W > t), P(T > t) for `often` services of `first` to one of `second`, by the alternating series.

    W*(s) = (1 - rho) s / (s - l) times the sum of (-l B(s) / (s - l))^k, inverted term by term.
    """
    p, q = mp.mpf(often) / (often + 1), mp.mpf(1) / (often + 1)
    x, y = mp.mpf(first), mp.mpf(second)
    rate = mp.mpf(rho) / (p * x + q * y)

    def below(t: mp.mpf) -> mp.mpf:
        total = mp.mpf(0)
        for k in range(int(t / min(x, y)) + 1):
            for j in range(k + 1):
                left = t - j * x - (k - j) * y
                if left >= 0:
                    share = mp.binomial(k, j) * p**j * q ** (k - j)
                    total += share * (-rate * left) ** k / mp.factorial(k) * mp.exp(rate * left)
        return (1 - mp.mpf(rho)) * total

    t = mp.mpf(time)
    shares = ((p, x), (q, y))
    return float(1 - below(t)), float(1 - sum(w * below(t - d) for w, d in shares if t >= d))


@pytest.mark.parametrize(("first", "second", "often"), [(0.5, 1.5, 1), (0.75, 4.75, 15)])
@pytest.mark.parametrize("rho", [0.25, 0.9375])
def test_two_samples_by_the_alternating_series(first: float, second: float, often: int, rho: float) -> None:
    model = queue(rho, Empirical(law=from_samples([first] * often + [second])))
    with mp.workdps(60):
        for time in (0.1, 0.6, 1.1, 1.7, 2.6, 3.9, 5.2, 7.5, 11.0):
            wait, response = two_samples(first, second, often, rho, time)
            assert model.wait_tail(time) == pytest.approx(wait, rel=1e-10)
            assert model.response_tail(time) == pytest.approx(response, rel=1e-9)


def panels(ends: list[float], order: int = 12) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(order)
    edges = np.array(sorted(set(ends)))
    halves = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + halves * (nodes + 1)).ravel(), (halves * weights).ravel()


def knots_of(service: Duration | Empirical) -> list[float]:
    """Times, in mean services, near which the law of a service changes fast."""
    if isinstance(service, Empirical):
        return [x / service.mean_s for x in service.law.durations_s]
    spread = math.sqrt(service.variability)
    return [1 + spread * k for k in range(-8, 9) if 1 + spread * k > 0]


def renewal_side(model: MG1, time: float) -> float:
    """rho P(R > t) + rho integral of P(W > t - x) P(S > x): what P(W > t) must be equal to."""
    service, mean = model.service, model.service.mean_s
    knots = knots_of(service)
    both = [*knots, *(time - x for x in knots), *(time - x - y for x in knots for y in knots)]
    halves = [time * 0.5**k for k in range(1, 60 if service.variability > 5 else 4)]
    both += [*halves, *(time - x for x in halves[:25])]
    order = 16 if isinstance(service, Duration) else 6
    x, w = panels([0.0, time, *(e for e in both if 0 < e < time)], order)
    waits = np.array([model.wait_tail((time - y) * mean) for y in x])
    rest = residual_area(service, time)
    return model.utilization * (rest + float((w * waits) @ service.tail(x * mean)))


def residual_area(service: Duration | Empirical, time: float) -> float:
    """P(R > t), the area under P(S > x) beyond t, from scipy's partial moments or by quadrature."""
    if isinstance(service, Empirical):
        knots = [x / service.mean_s for x in service.law.durations_s]
        if time >= knots[-1]:
            return 0.0
        x, w = panels([time, *(k for k in knots if k > time)])
        return float(w @ service.tail(x * service.mean_s))
    c = service.variability
    if service.family is Family.LOGNORMAL:
        weighted = stats.lognorm(s=math.sqrt(math.log1p(c)), scale=math.sqrt(1 + c))  # under S-weighting
        return float(weighted.sf(time) - time * service.tail(np.array(time)))
    weighted = stats.gamma(a=1 / c + 1, scale=c)
    return float(weighted.sf(time) - time * service.tail(np.array(time)))


RENEWING = [name for name in SERVICES if name not in ("deterministic", "exponential", "hyper", "erlang")]


# Each law at one of the loads, in turn.
@pytest.mark.long
@pytest.mark.parametrize(("name", "rho"), list(zip(RENEWING, [0.2, 0.95] * 4, strict=True)))
def test_waits_solve_the_renewal_equation(name: str, rho: float) -> None:
    """Feller (1971), sec. XI.6: P(W > t) = rho P(R > t) + rho integral of P(W > t - x) f_R(x) dx."""
    model = queue(rho, SERVICES[name])
    for time in (0.02, 2.6):
        expected = renewal_side(model, time)
        assert model.wait_tail(time * model.service.mean_s) == pytest.approx(expected, rel=3e-10)


@pytest.mark.parametrize(
    ("name", "rho"),
    [("gamma", 0.2), ("gamma wide", 0.95), ("lognormal lean", 0.95), ("lognormal", 0.2), ("lognormal wide", 0.2),
     ("erlang", 0.95)],
)  # fmt: skip
def test_responses_are_waits_and_services_added_up(name: str, rho: float) -> None:
    """P(T > t) = E P(W > t - S) over scipy's density of the service, in log time."""
    service = SERVICES[name]
    assert isinstance(service, Duration)
    model, c = queue(rho, service), service.variability
    if service.family is Family.LOGNORMAL:
        served = stats.lognorm(s=math.sqrt(math.log1p(c)), scale=1 / math.sqrt(1 + c))
    else:
        served = stats.gamma(a=1 / c, scale=c)
    for time in (0.05, 2.5):
        ends = [math.log(time) - 800.0 * min(1.0, c), *(math.log(time) - 2.0**k / 64 for k in range(16))]
        ends += [math.log(x) for x in knots_of(service) if x < time]
        y, w = panels([e for e in ends if e > -700] + [math.log(time)])
        x = np.exp(y)
        waits = np.array([model.wait_tail(time - s) for s in x])
        both = float(w @ (x * served.pdf(x) * waits)) + float(served.sf(time))
        both += float(served.cdf(x[0])) * model.wait_tail(time)
        assert model.response_tail(time) == pytest.approx(both, rel=1e-9)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["deterministic", "hyper", "erlang", "gamma", "gamma wide", "lognormal", "samples"]
)
def test_areas_under_the_tails_are_the_means(name: str) -> None:
    service, rho = SERVICES[name], 0.8
    model = queue(rho, service)
    knots = knots_of(service)
    ends = [0.5 * k for k in range(9)] + [float(k) for k in range(5, 13)]
    ends += [*knots, *(x + y for x in knots for y in knots)]
    ends += [2.0**-k for k in range(2, 60 if service.variability > 5 else 6)]
    ends += [2.0**k / (1 - rho) for k in range(2, 40 if service.variability > 5 else 12)]
    x, w = panels(ends, 12 if isinstance(service, Duration) else 5)
    waits = np.array([model.wait_tail(t * service.mean_s) for t in x])
    responses = np.array([model.response_tail(t * service.mean_s) for t in x])
    rel = 2e-8 if isinstance(service, Duration) else 1e-6  # there are kinks between the ends
    assert float(w @ waits) * service.mean_s == pytest.approx(model.wait_mean_s, rel=rel)
    assert float(w @ responses) * service.mean_s == pytest.approx(model.response_mean_s, rel=rel)
    square = float((2.0 * w * x) @ waits) * service.mean_s**2
    third = (
        service.moment(3) / service.mean_s**3
    )  # E W^2: Kleinrock (1975), Queueing Systems vol. 1, sec. 5.7
    second = 2.0 * model.wait_mean_s**2 + rho * third / (3.0 * (1.0 - rho)) * service.mean_s**2
    assert square == pytest.approx(second, rel=10 * rel)


@laws
@given(st.floats(1e-6, 0.999999), st.integers(-300, 300), st.floats(1e-3, 50.0))
def test_means_are_pollaczek_khinchine_in_fractions(rho: float, power: int, scv: float) -> None:
    scale = 2.0 ** (power // 4)
    service = law(Family.GAMMA, scv, scale)
    model = MG1(arrival_rate_rps=rho / scale, service=service)
    rate, mean, c = Fraction(rho / scale), Fraction(scale), Fraction(scv)
    busy = rate * mean
    wait = rate * mean**2 * (1 + c) / (2 * (1 - busy))
    for ours, exact in (
        (model.utilization, busy),
        (model.offered_load, busy),
        (model.wait_probability, busy),
        (model.empty_probability, 1 - busy),
        (model.wait_mean_s, wait),
        (model.response_mean_s, wait + mean),
        (model.queue_length_mean, rate * wait),
        (model.in_system_mean, rate * (wait + mean)),
    ):
        assert ours == pytest.approx(float(exact), rel=1e-13)


def residual_tails(service: Duration | Empirical, times: np.ndarray) -> np.ndarray:
    """P(R > t), by closed forms, at times in mean services."""
    if isinstance(service, Empirical):
        return Pieces.of(service.law, service.mean_s).residual_tail(times)
    if service.family is Family.DETERMINISTIC:
        return np.maximum(0.0, 1.0 - times)
    if service.family in (Family.EXPONENTIAL, Family.HYPEREXPONENTIAL):
        branches = [(p, rate * service.mean_s) for p, rate in service.branches]
        return sum(p / rate * np.exp(-rate * times) for p, rate in branches)
    c = service.variability
    weighted = stats.gamma(a=1 / c + 1, scale=c)  # under S-weighting
    if service.family is Family.LOGNORMAL:
        weighted = stats.lognorm(s=math.sqrt(math.log1p(c)), scale=math.sqrt(1 + c))
    return np.maximum(0.0, weighted.sf(times) - times * service.tail(times * service.mean_s))


def tail_bounds(residual: np.ndarray, rho: float) -> tuple[float, float]:
    """Proved lower and upper bound of P(W > t), W a geometric(rho) number of residuals added up.

    Each residual, of which P(R > i h) is given up to one h beyond t, is rounded down, or up, to the lattice:
    Dufresne & Gerber (1989), ASTIN Bulletin 19(1); damped: Grübel & Hermesmeier (1999), ASTIN Bulletin 29(2).
    """
    masses = residual[:-1] - residual[1:]
    up = compound_tail(np.append(0.0, masses[:-1]), residual[:-1], rho)
    down = compound_tail(masses, residual[1:], rho)
    return max(0.0, down - 1e-13), min(1.0, up + 1e-13)


def compound_tail(masses: np.ndarray, tails: np.ndarray, rho: float) -> float:
    """Last coefficient of rho G(z) / (1 - rho r(z)), on a circle so small that nothing wraps around."""
    count, size = len(masses), 8 * len(masses)
    damping = np.exp(-40.0 / size * np.arange(count))
    compound = rho * np.fft.rfft(tails * damping, size)
    compound /= 1.0 - rho * np.fft.rfft(masses * damping, size)
    return float(np.fft.irfft(compound, size)[count - 1] / damping[-1])


@by_service
@pytest.mark.parametrize(("rho", "time"), [(0.01, 1.0), (0.6, 2.3), (0.99, 17.0)])
def test_the_truth_lies_between_the_bounds(service: Duration | Empirical, rho: float, time: float) -> None:
    model = queue(rho, service)
    truth = model.wait_tail(time * service.mean_s)
    widths = []
    for steps in (64, 8192):
        rest = residual_tails(service, np.arange(steps + 2) * (time / steps))
        low, high = tail_bounds(rest, model.utilization)
        assert low - 1e-15 <= truth <= high + 1e-15
        widths.append(high - low)
    assert widths[1] < max(0.01 * widths[0], 3e-13)


def test_bounds_of_a_chain_by_adding_up() -> None:
    """Residuals on a lattice compounded by brute force, sum by sum."""
    rest = np.array([1.0, 0.7, 0.5, 0.2, 0.1, 0.04])
    masses = rest[:-1] - rest[1:]
    for shift, bound in ((0, 0), (1, 1)):
        each = np.append(np.zeros(shift), masses)[:5]
        below, total, weight = 0.0, np.array([1.0, 0.0, 0.0, 0.0, 0.0]), 0.4
        for _ in range(200):
            below += weight * total.sum()
            total = np.convolve(total, each)[:5]
            weight *= 0.6
        assert tail_bounds(rest, 0.6)[bound] == pytest.approx(1.0 - below, abs=3e-13)


@pytest.mark.parametrize("c", [1e-6, 0.02, 0.5, 1.0, 3.0, 50.0, 1e4])
@pytest.mark.parametrize(
    "s", [1e-7 + 3e-7j, 0.01 + 0.02j, 0.2 + 0.3j, 0.29, 0.31j, 2.0 - 7.0j, 0.1 + 1e5j, 1e12j]
)
def test_gamma_transforms_at_sixty_digits(c: float, s: complex) -> None:
    with mp.workdps(60):
        z = mp.mpc(s)
        served = (1 + mp.mpf(c) * z) ** (-1 / mp.mpf(c))
        second, first = transforms(law(Family.GAMMA, c), np.array([s], dtype=complex))
        assert abs(complex(second[0]) / ((z - 1 + served) / z**2) - 1) < 2e-12
        assert abs(complex(first[0]) / ((1 - served) / z) - 1) < 2e-12


def lognormal_transform(c: float, s: complex) -> mp.mpc:
    """E e^(-s S) through the saddle of its integrand: Asmussen et al. (2016), by 800 trapezoids."""
    variance = mp.log(1 + mp.mpf(c))
    spread, z = mp.sqrt(variance), mp.mpc(s) * mp.exp(-variance / 2)
    saddle = -mp.lambertw(z * variance) / spread
    step = 1 / (16 * mp.sqrt(1 - saddle.real * spread))
    nodes = (saddle + k * step for k in range(-400, 401))
    return step * mp.fsum(mp.exp(-z * mp.exp(spread * y) - y**2 / 2) for y in nodes) / mp.sqrt(2 * mp.pi)


@pytest.mark.parametrize("c", [1e-4, 0.05, 1.0, 6.0, 50.0])
@pytest.mark.parametrize("s", [1e-4 + 3e-4j, 0.03 - 0.01j, 0.1 + 3j, 0.2 + 300j, 1.0 + 1e5j])
def test_lognormal_transforms_at_forty_digits(c: float, s: complex) -> None:
    with mp.workdps(40):
        z, served = mp.mpc(s), lognormal_transform(c, s)
        second, first = transforms(law(Family.LOGNORMAL, c), np.array([s], dtype=complex))
        assert abs(complex(second[0]) / ((z - 1 + served) / z**2) - 1) < 1e-12
        assert abs(complex(first[0]) / ((1 - served) / z) - 1) < 1e-12


def test_ratios_near_and_far_from_zero() -> None:
    z = np.array([1e-9 + 0j, 0.999j, 1.001j, -0.5 + 0.8j, 30 + 40j])
    second, first = ratios(z)
    with mp.workdps(40):
        for k, value in enumerate(map(mp.mpc, z)):
            assert abs(complex(second[k]) / ((mp.exp(-value) - 1 + value) / value**2) - 1) < 1e-14
            assert abs(complex(first[k]) / ((1 - mp.exp(-value)) / value) - 1) < 1e-14


# Laws


@pytest.mark.parametrize(
    ("name", "rho", "rate_rps"),
    [(name, *((0.02, 1e12), (0.99, 1e-9))[number % 2]) for number, name in enumerate(SERVICES)],
)
def test_units_do_not_matter(name: str, rho: float, rate_rps: float) -> None:
    service = SERVICES[name]
    plain = queue(rho, service)
    mean_s = rho / rate_rps
    scale = mean_s / service.mean_s
    if isinstance(service, Duration):
        scaled: Duration | Empirical = Duration(family=service.family, mean_s=mean_s, scv=service.variability)
    else:
        durations = tuple(x * scale for x in service.law.durations_s)
        scaled = Empirical(law=ServiceLaw(probabilities=service.law.probabilities, durations_s=durations))
    other = MG1(arrival_rate_rps=rho / scaled.mean_s, service=scaled)
    assert other.response_mean_s == pytest.approx(plain.response_mean_s * scale, rel=1e-11)
    wait_s, response_s = plain.wait_quantile_s(0.999), plain.response_quantile_s(0.999)
    assert other.wait_quantile_s(0.999) == pytest.approx(wait_s * scale, rel=1e-9)
    assert other.response_quantile_s(0.999) == pytest.approx(response_s * scale, rel=1e-9)


@laws
@given(some_service, st.floats(1e-4, 0.99), st.floats(0.001, 40.0))
def test_more_load_and_more_time(service: Duration | Empirical, rho: float, time: float) -> None:
    here, busier = queue(rho, service), queue(rho * 1.005, service)
    at, later = time * service.mean_s, 1.01 * time * service.mean_s
    likely = here.wait_tail(later) > 1e-13
    if likely:
        assert here.wait_tail(at) < busier.wait_tail(at)
        assert here.response_tail(at) <= busier.response_tail(at) * (1.0 + 1e-12)
        assert here.wait_tail(later) < here.wait_tail(at) < rho * (1.0 + 1e-12)
        assert here.response_tail(later) <= here.response_tail(at) * (1.0 + 1e-12)
    assert here.wait_tail(at) <= here.response_tail(at) + 1e-15


@pytest.mark.parametrize("rho", [0.01, 0.9])
def test_neighbouring_laws(rho: float) -> None:
    """Erlang is gamma, a constant profile is deterministic, and scv near 0 or 1 is near these."""
    fixed, exponential = queue(rho, law(Family.DETERMINISTIC)), queue(rho, law(Family.EXPONENTIAL))
    outside = MDc(arrival_rate_rps=rho, service_time_s=1.0, servers=1)
    for time in (0.3, 1.5):
        tail = fixed.wait_tail(time)
        assert tail == pytest.approx(outside.wait_tail(time), rel=1e-13)
        assert queue(rho, Empirical(law=constant(1.0))).wait_tail(time) == tail
        nearly = ServiceLaw(probabilities=(0.0, 1.0), durations_s=(1.0 - 1e-9, 1.0 + 1e-9))
        rough = queue(rho, Empirical(law=nearly))
        assert isinstance(rough._road, Rough)
        assert rough.wait_tail(time) == pytest.approx(tail, rel=1e-8)
        for family in (Family.GAMMA, Family.LOGNORMAL):
            assert queue(rho, law(family, 1e-4)).wait_tail(time) == pytest.approx(tail, rel=3e-3)
        expected = queue(rho, erlang(8)).response_tail(time)
        assert queue(rho, law(Family.GAMMA, 0.125)).response_tail(time) == expected
        for family in (Family.GAMMA, Family.HYPEREXPONENTIAL):
            near = queue(rho, law(family, 1.0 + 1e-7)).response_tail(time)
            assert near == pytest.approx(exponential.response_tail(time), rel=1e-5)


@pytest.mark.parametrize("name", ["gamma", "gamma lean", "lognormal", "summary", "samples", "erlang"])
def test_heavy_traffic_is_exponential(name: str) -> None:
    """Kingman (1961): (1 - rho) W tends to an exponential law, its mean (1 + scv)/2 services."""
    service = SERVICES[name]
    model = queue(0.999999, service)
    for quantile in (0.5, 0.99, 0.9999):
        expected = -math.log1p(-quantile) * model.wait_mean_s
        assert model.wait_quantile_s(quantile) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("name", ["gamma", "gamma wide", "lognormal", "lognormal wide", "summary"])
def test_light_traffic_is_one_residual(name: str) -> None:
    service = SERVICES[name]
    model = queue(1e-6, service)
    for time in (0.01, 0.5, 2.0):
        rest = residual_area(service, time)
        assert model.wait_tail(time * service.mean_s) == pytest.approx(1e-6 * rest, rel=5e-5)
        served = float(service.tail(np.array(time * service.mean_s)))
        assert model.response_tail(time * service.mean_s) == pytest.approx(served, rel=1e-4)


def test_a_gamma_of_almost_only_zeros() -> None:
    """P50 of the response is that of a service, 1e-16 services and less: P(S > t) counts, not W."""
    model = queue(1e-3, law(Family.GAMMA, 50.0))
    for time in (1e-300, 1e-19, 1e-16, 1e-12, 1e-5):
        served = float(model.service.tail(np.array(time)))
        expected = served + 1e-3 * (1.0 - served)  # the wait is 0 or far longer than t
        assert model.response_tail(time) == pytest.approx(
            expected, rel=2e-3 * (1 - served) * time**0.02 + 1e-9
        )


@pytest.mark.long
def test_an_erlang_of_many_stages_and_a_steep_lognormal() -> None:
    """The renewal equation where the service law falls within a hundredth of its mean."""
    for service in (erlang(10_000), law(Family.LOGNORMAL, 1e-4)):
        model = queue(0.7, service)
        for time in (0.995, 1.004):
            assert model.wait_tail(time) == pytest.approx(renewal_side(model, time), rel=1e-9)


@pytest.mark.long
def test_twice_the_frequencies_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in (law(Family.GAMMA, 0.1), law(Family.GAMMA, 0.01), law(Family.LOGNORMAL, 0.1), SAMPLES):
        plain = queue(0.6, service)
        finer = queue(0.6, service)
        object.__setattr__(finer._road, "side", 2 * finer._road.side)
        monkeypatch.setattr(smooth, "_STEEP_LAST", math.inf)
        for time in (0.1, 0.9, 1.1, 2.05, 3.0, 6.0, 20.0):
            expected = [finer.wait_tail(time), finer.response_tail(time)]
            smooth._spectra.cache_clear()
            assert [plain.wait_tail(time), plain.response_tail(time)] == pytest.approx(expected, rel=1e-10)
            smooth._spectra.cache_clear()


def test_atoms_of_the_response() -> None:
    """With services of 1 (90 %) and 3, nobody waits in (1 - rho) of the cases and T is one of them."""
    model = queue(0.12, Empirical(law=from_samples([1.0] * 9 + [3.0])))
    assert model.response_quantile_s(0.5) == 1.0
    assert model.response_quantile_s(0.93) == 3.0
    assert 1.0 < model.response_quantile_s(0.86) < 3.0
    jump = model.response_tail(math.nextafter(1.0, 0.0)) - model.response_tail(1.0)
    assert jump == pytest.approx(0.88 * 0.9, rel=1e-9)
    fixed = queue(0.5, law(Family.DETERMINISTIC, mean_s=0.3))
    assert fixed.response_quantile_s(0.4) == 0.3
    assert fixed.response_tail(0.3) == pytest.approx(0.5, rel=1e-15)
    assert fixed.response_tail(0.29999) == 1.0
    assert fixed.response_quantile_s(0.99) == pytest.approx(0.3 + fixed.wait_quantile_s(0.99), rel=1e-13)


@by_service
def test_atom_at_zero_and_the_ends_of_time(service: Duration | Empirical) -> None:
    model = queue(0.3, service)
    assert model.wait_tail(0.0) == pytest.approx(0.3, rel=1e-15)
    assert model.wait_tail(1e-300) == pytest.approx(0.3, rel=1e-15)
    assert model.response_tail(0.0) == pytest.approx(1.0, rel=1e-15)
    assert model.wait_tail(-1.0) == model.response_tail(-1e-300) == 1.0
    assert model.wait_tail(math.inf) == model.response_tail(math.inf) == 0.0
    assert model.wait_tail(1e300) == model.response_tail(1e300) == 0.0
    assert model.wait_quantile_s(0.69999) == 0.0
    assert 0.0 < model.wait_quantile_s(0.7000001) < 1e-6


# Errors
