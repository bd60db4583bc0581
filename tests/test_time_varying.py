"""Changing rates against the exact equations of state, integrals, closed forms and their own limits."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.linalg import eigh_tridiagonal
from scipy.special import gammaincc

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind, Performance
from capacity.queues.durations import Duration, Family
from capacity.queues.mm1 import MM1
from capacity.queues.mmc import MMc
from capacity.queues.modified_offered_load import SinusoidalLoad, queue_at
from capacity.queues.offered_load_curve import OfferedLoadCurve
from capacity.queues.relaxation import measured_error, relaxation_time_s
from capacity.queues.time_varying import PointwiseStationary

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None, max_examples=40)


def mmc(servers: int, service: float = 1.0):
    return lambda rate: MMc(arrival_rate_rps=rate, service_rate_rps=service, servers=servers)


def sinusoid(mean: float, amplitude: float, period: float, service: float = 1.0) -> SinusoidalLoad:
    return SinusoidalLoad(
        mean_rate_rps=mean, amplitude_rps=amplitude, period_s=period, service_time_s=service
    )


@dataclass(frozen=True)
class Exact:
    """M_t/M/c of unit services under a sinusoid, by the equations of its states, in its last period."""

    mean: float
    amplitude: float
    period: float
    servers: int

    def rate(self, time):
        return self.mean + self.amplitude * np.sin(2.0 * math.pi * time / self.period)

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        top = self.servers + int(self.mean + self.amplitude) + 90
        down = np.minimum(np.arange(top + 1), self.servers).astype(float)

        def flow(time, p):
            up = self.rate(time) * p
            up[-1] = 0.0
            change = -up - down * p
            change[1:] += up[:-1]
            change[:-1] += down[1:] * p[1:]
            return change

        start = np.zeros(top + 1)
        start[0] = 1.0
        periods = math.ceil(60.0 / self.period) + 1
        times = np.linspace((periods - 1) * self.period, periods * self.period, 401)
        found = solve_ivp(
            flow,
            (0.0, times[-1]),
            start,
            method="LSODA",
            t_eval=times,
            rtol=1e-7,
            atol=1e-11,
            lband=1,
            uband=1,
        )
        return times[:-1], found.y[:, :-1]

    def peak_wait_probability(self) -> float:
        return float(self.states()[1][self.servers :].sum(axis=0).max())

    def wait_tail(self):
        """P(W > t) of a request of the day: who meets n >= c waits for n - c + 1 departures."""
        times, law = self.states()
        met = law[self.servers :] @ (self.rate(times) / self.rate(times).sum())
        stages = np.arange(len(met)) + 1.0
        return lambda time: float(met @ gammaincc(stages, self.servers * time))


def day_of(exact: Exact) -> PointwiseStationary:
    rates = exact.rate(np.arange(200) / 200 * exact.period)
    return PointwiseStationary(law=mmc(exact.servers), rates_rps=tuple(map(float, rates)))


def test_a_fast_cycle() -> None:
    """Period of 10 services, 30 servers: exactly .341; by the damped load .441; by the rate .620."""
    exact = Exact(mean=20.0, amplitude=8.0, period=10.0, servers=30)
    assert exact.peak_wait_probability() == pytest.approx(0.341, abs=1e-3)
    load = sinusoid(20.0, 8.0, 10.0)
    assert load.peak_performance(servers=30).wait_probability == pytest.approx(0.441, abs=1e-3)
    assert mmc(30)(28.0).wait_probability == pytest.approx(0.620, abs=1e-3)


@pytest.mark.parametrize(
    ("mean", "amplitude", "servers", "period"),
    [
        (5.0, 3.0, 10, 30.0),
        (5.0, 3.0, 10, 100.0),
        (5.0, 3.0, 10, 300.0),
        (5.0, 3.0, 10, 1000.0),
        (20.0, 8.0, 30, 100.0),
        (20.0, 8.0, 30, 300.0),
        (20.0, 8.0, 30, 1000.0),
        (0.5, 0.3, 1, 300.0),
        (0.5, 0.3, 1, 1000.0),
        (0.5, 0.3, 1, 3000.0),
        (1.0, 0.4, 2, 120.0),
        (1.0, 0.8, 2, 3000.0),
    ],
)
def test_measured_errors_hold(mean: float, amplitude: float, servers: int, period: float) -> None:
    """Both approximations lie above the truth, and by no more than what `measured_error` says."""
    exact = Exact(mean, amplitude, period, servers)
    error = measured_error(period, relaxation_time_s(mean + amplitude, 1.0, servers))
    assert error < 1.0
    day = day_of(exact)
    tail = exact.wait_tail()
    low_s = day.wait_quantile_s(0.99) / (1.0 + error)
    assert tail(low_s) > 0.01 > tail(day.wait_quantile_s(0.99))
    truth = exact.peak_wait_probability()
    load = sinusoid(mean, amplitude, period).peak_performance(servers)
    assert truth < load.wait_probability < truth * (1.0 + error)
    assert load.relative_error_max == {"wait_probability": error}
    assert load.kind is Kind.APPROXIMATION


@pytest.mark.parametrize("servers", [1, 2, 5, 30])
@pytest.mark.parametrize("utilization", [0.1, 0.3, 0.5, 0.8, 0.9])
def test_relaxation_is_the_slowest_mode(servers: int, utilization: float) -> None:
    """Second eigenvalue of the symmetrised generator, cut at 3000 waiting."""
    rate, top = utilization * servers, servers + 3000
    down = np.minimum(np.arange(top + 1), servers).astype(float)
    diagonal = -(down + rate * (np.arange(top + 1) < top))
    modes = eigh_tridiagonal(
        diagonal, np.sqrt(rate * down[1:]), select="i", select_range=(top - 1, top), eigvals_only=True
    )
    formula = relaxation_time_s(rate * 7.0, 7.0, servers) * 7.0
    assert 0.995 < -1.0 / modes[0] / formula < 1.1


def test_the_day_is_the_mixture_of_its_requests() -> None:
    """Two rates of M/M/1: P(T > t) by hand, and its root."""
    day = PointwiseStationary(
        law=lambda rate: MM1(arrival_rate_rps=rate, service_rate_rps=5.0),
        rates_rps=(4.0, 1.0, 0.0, 4.0),
        durations_s=(1.0, 6.0, 20.0, 2.0),
    )
    for t in (0.0, 0.5, 3.0):
        hand = (4 * 3 * math.exp(-t) + 6 * math.exp(-4 * t)) / 18
        assert day.response_tail(t) == pytest.approx(hand, rel=CLAIM)
        hand = (4 * 3 * 0.8 * math.exp(-t) + 6 * 0.2 * math.exp(-4 * t)) / 18
        assert day.wait_tail(t) == pytest.approx(hand, rel=CLAIM)
    assert day.response_quantile_s(0.99) == pytest.approx(math.log(1200 / 18), abs=1e-5)
    assert day.response_tail(day.response_quantile_s(0.99)) == pytest.approx(0.01, rel=CLAIM)
    assert day.wait_tail(day.wait_quantile_s(0.99)) == pytest.approx(0.01, rel=CLAIM)
    assert day.wait_quantile_s(0.1) == 0.0
    assert day.response_tail(-1.0) == day.wait_tail(-1.0) == 1.0
    answer = day.performance((0.5, 0.99))
    assert answer.kind is Kind.APPROXIMATION
    assert answer.throughput_rps == pytest.approx(18 / 29, rel=CLAIM)
    assert answer.utilization == answer.offered_load == pytest.approx(18 / 5 / 29, rel=CLAIM)
    assert answer.in_system_mean == pytest.approx((3 * 4 + 6 * 0.25) / 29, rel=CLAIM)
    assert answer.queue_length_mean == pytest.approx((3 * 3.2 + 6 * 0.05) / 29, rel=CLAIM)
    assert answer.response_mean_s == pytest.approx((12 * 1 + 6 * 0.25) / 18, rel=CLAIM)
    assert answer.wait_mean_s == pytest.approx((12 * 0.8 + 6 * 0.05) / 18, rel=CLAIM)
    assert answer.wait_probability == pytest.approx((12 * 0.8 + 6 * 0.2) / 18, rel=CLAIM)
    assert answer.in_system_mean == pytest.approx(answer.throughput_rps * answer.response_mean_s, rel=CLAIM)
    assert answer.loss_probability is answer.abandon_probability is answer.load is None
    assert answer.response_quantiles_s[0.99].value == day.response_quantile_s(0.99)
    assert answer.wait_quantiles_s[0.5].value == day.wait_quantile_s(0.5)


@laws
@given(st.lists(st.floats(0.01, 0.95), min_size=1, max_size=6), st.integers(1, 9), st.floats(0.5, 0.9999))
def test_a_day_lies_between_its_hours(loads: list[float], servers: int, quantile: float) -> None:
    rates = tuple(load * servers for load in loads)
    day = PointwiseStationary(law=mmc(servers), rates_rps=rates)
    hours = [mmc(servers)(rate) for rate in rates]
    for name in ("response_quantile_s", "wait_quantile_s"):
        values = [getattr(hour, name)(quantile) for hour in hours]
        assert min(values) * (1 - CLAIM) <= getattr(day, name)(quantile) <= max(values) * (1 + CLAIM)
    answer = day.performance(())
    assert answer.in_system_mean == pytest.approx(answer.throughput_rps * answer.response_mean_s, rel=CLAIM)


@laws
@given(st.lists(st.floats(0.01, 0.95), min_size=1, max_size=6), st.integers(-300, 300))
def test_units_of_a_day_do_not_matter(loads: list[float], power: int) -> None:
    k = 2.0**power
    plain = PointwiseStationary(law=mmc(1), rates_rps=tuple(loads))
    other = PointwiseStationary(
        law=mmc(1, k), rates_rps=tuple(load * k for load in loads), durations_s=(1e200 / k,) * len(loads)
    )
    assert other.response_quantile_s(0.99) * k == pytest.approx(plain.response_quantile_s(0.99), rel=CLAIM)
    assert other.performance(()).utilization == pytest.approx(plain.performance(()).utilization, rel=CLAIM)


def test_a_constant_day_is_its_law() -> None:
    day = PointwiseStationary(law=mmc(3), rates_rps=(2.0,) * 24)
    assert day.response_quantile_s(0.999) == pytest.approx(mmc(3)(2.0).response_quantile_s(0.999), rel=CLAIM)
    assert day.response_tail(1.0) == pytest.approx(mmc(3)(2.0).response_tail(1.0), rel=CLAIM)


@dataclass(frozen=True)
class Leaving:
    """A law that serves half of what comes, and knows no wait."""

    rate: float
    impatient: bool = False

    def response_tail(self, time_s: float) -> float:
        return math.exp(-time_s * self.rate)

    def performance(self, quantiles: tuple[float, ...] = ()) -> Performance:
        share = self.rate / (1.0 + self.rate)
        return Performance(
            kind=Kind.EXACT,
            throughput_rps=self.rate * (1.0 - share),
            wait_mean_s=self.rate,
            loss_probability=share,
            abandon_probability=share if self.impatient else None,
        )


def test_losses_count_by_arrivals_and_waits_by_who_is_served() -> None:
    lossy = PointwiseStationary(law=Leaving, rates_rps=(1.0, 3.0))
    answer = lossy.performance(())
    assert answer.throughput_rps == pytest.approx((0.5 + 0.75) / 2, rel=CLAIM)
    assert answer.loss_probability == pytest.approx((1 * 0.5 + 3 * 0.75) / 4, rel=CLAIM)
    assert answer.wait_mean_s == pytest.approx((0.5 * 1 + 0.75 * 3) / 1.25, rel=CLAIM)
    assert lossy.response_tail(1.0) == pytest.approx(
        (0.5 * math.exp(-1) + 0.75 * math.exp(-3)) / 1.25, rel=CLAIM
    )
    assert answer.utilization is answer.response_mean_s is None
    assert not answer.wait_quantiles_s
    assert lossy.response_quantile_s(0.9) > 0.0
    impatient = PointwiseStationary(law=lambda rate: Leaving(rate, impatient=True), rates_rps=(1.0, 3.0))
    answer = impatient.performance(())
    assert answer.abandon_probability == pytest.approx((1 * 0.5 + 3 * 0.75) / 4, rel=CLAIM)
    assert answer.wait_mean_s == pytest.approx((1 * 1 + 3 * 3) / 4, rel=CLAIM)  # of all requests
    with pytest.raises(DomainError, match="Leaving has no law of the wait; ask for the response"):
        lossy.wait_quantile_s(0.9)


@dataclass(frozen=True)
class Bare:
    """A law with responses alone."""

    rate: float

    def response_tail(self, time_s: float) -> float:
        return math.exp(-time_s * self.rate)

    def performance(self, quantiles: tuple[float, ...] = ()) -> Performance:
        return Performance(kind=Kind.EXACT)


def test_a_law_that_does_not_say_what_it_serves_serves_all() -> None:
    day = PointwiseStationary(law=Bare, rates_rps=(1.0, 3.0), durations_s=(5.0, 2.0))
    assert day.response_tail(1.0) == pytest.approx((5 * math.exp(-1) + 6 * math.exp(-3)) / 11, rel=CLAIM)
    assert day.performance(()).throughput_rps == pytest.approx(11 / 7, rel=CLAIM)


def test_the_error_is_stated_where_it_can_be() -> None:
    day = PointwiseStationary(law=mmc(3), rates_rps=(1.0, 2.0), durations_s=(80.0, 20.0), relaxation_s=5.0)
    assert day.performance(()).relative_error_max == {"wait_quantiles_s": 0.06}
    assert (
        not PointwiseStationary(law=mmc(3), rates_rps=(1.0,), relaxation_s=5.0)
        .performance(())
        .relative_error_max
    )
    assert not PointwiseStationary(law=mmc(3), rates_rps=(1.0,)).performance(()).relative_error_max
    with pytest.raises(DomainError, match="relaxation_s must be > 0"):
        PointwiseStationary(law=mmc(3), rates_rps=(1.0,), relaxation_s=0.0)


def test_an_overload_is_refused_with_its_mend() -> None:
    with pytest.raises(UnstableError, match=r"at the largest rate of the day, 9 rps: unstable") as caught:
        PointwiseStationary(law=mmc(3), rates_rps=(1.0, 4.0, 9.0, 3.0))
    assert caught.value.servers_min == 10
    assert PointwiseStationary(law=mmc(10), rates_rps=(1.0, 4.0, 9.0, 3.0))


@pytest.mark.parametrize(
    ("rates", "durations", "message"),
    [
        ((), None, "there is no request in the whole day"),
        ((0.0, 0.0), None, "there is no request in the whole day"),
        ((1.0, math.nan), None, r"rates_rps\[1\] must be >= 0"),
        ((1.0, -1.0), None, r"rates_rps\[1\] must be >= 0"),
        ((1.0, True), None, r"rates_rps\[1\] must be >= 0"),
        ((1.0, math.inf), None, r"rates_rps\[1\] must be >= 0"),
        ((1.0, 2.0), (1.0, 0.0), r"durations_s\[1\] must be > 0"),
        ((1.0, 2.0), (1.0,), "one for each of the 2 rates, got 1"),
    ],
)
def test_bad_days_are_refused(rates, durations, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        PointwiseStationary(law=mmc(9), rates_rps=rates, durations_s=durations)


@pytest.mark.parametrize("bad", [math.nan, 0.0, 1.0, True])
def test_bad_quantiles_and_times_are_refused(bad: float) -> None:
    day = PointwiseStationary(law=mmc(9), rates_rps=(1.0,))
    for ask in (day.response_quantile_s, day.wait_quantile_s):
        with pytest.raises(DomainError, match="quantile must be in"):
            ask(bad)
    for tail in (day.response_tail, day.wait_tail):
        with pytest.raises(DomainError, match="time_s must be a number"):
            tail(math.nan)


@laws
@given(st.floats(0.1, 50.0), st.floats(0.0, 1.0), st.floats(-2, 3), st.floats(-100.0, 100.0))
def test_the_sinusoid_is_the_integral_over_ages(mean: float, share: float, power: float, time: float) -> None:
    """m(t) = integral of lambda(t - u) e^-u over the ages u, by quadrature over 40 services."""
    load = sinusoid(mean, share * mean, 10.0**power)
    turn = 2.0 * math.pi / load.period_s
    ends = np.linspace(0.0, 40.0, 2 + int(40.0 / load.period_s))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    ages = (ends[:-1, None] + np.diff(ends)[:, None] * (nodes + 1.0) / 2.0).ravel()
    pieces = (np.diff(ends)[:, None] * weights / 2.0).ravel()
    rates = mean + share * mean * np.sin(turn * (time - ages))
    assert load.offered_load(time) == pytest.approx(float(pieces @ (rates * np.exp(-ages))), rel=1e-9)


@laws
@given(st.floats(0.1, 50.0), st.floats(0.01, 1.0), st.floats(-3, 3), st.integers(-300, 300))
def test_the_peak_of_a_sinusoid(mean: float, share: float, power: float, unit: int) -> None:
    k = 2.0**unit
    load = sinusoid(mean / k, share * mean / k, 10.0**power * k, k)
    at_s = load.period_s / 4.0 + load.lag_s
    assert load.offered_load(at_s) == pytest.approx(load.offered_load_max, rel=1e-12)
    for near in (0.99, 1.01):
        assert load.offered_load(near * at_s) <= load.offered_load_max * (1 + CLAIM)
    assert load.offered_load_max == pytest.approx(mean * (1.0 + share * load.attenuation), rel=CLAIM)
    assert 0.0 < load.lag_s <= min(k, load.period_s / 4.0)
    assert load.offered_load(at_s + load.period_s) == pytest.approx(load.offered_load_max, rel=1e-9)


def test_slow_and_fast_sinusoids() -> None:
    slow, fast = sinusoid(4.0, 3.0, 1e9), sinusoid(4.0, 3.0, 1e-9)
    assert slow.offered_load_max == pytest.approx(7.0, rel=1e-12)
    assert slow.lag_s == pytest.approx(1.0, rel=1e-9)  # a mean service
    assert fast.offered_load_max == pytest.approx(4.0, rel=1e-9)
    assert fast.lag_s == pytest.approx(0.25e-9, rel=1e-6)  # a quarter of the period
    assert sinusoid(4.0, 4.0, 1e9).offered_load(0.75e9) == pytest.approx(0.0, abs=1e-6)


SERVICES = [
    Duration(family=Family.DETERMINISTIC, mean_s=2.0),
    Duration(family=Family.EXPONENTIAL, mean_s=2.0),
    Duration(family=Family.ERLANG, mean_s=2.0, scv=0.25),
    Duration(family=Family.GAMMA, mean_s=2.0, scv=3.0),
    Duration(family=Family.HYPEREXPONENTIAL, mean_s=2.0, scv=4.0),
    Duration(family=Family.LOGNORMAL, mean_s=2.0, scv=0.5),
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.family)
@pytest.mark.parametrize("time", [0.0, 0.4, 3.0, 7.9, -2.5, 801.0])
def test_a_curve_is_the_integral_over_ages(service: Duration, time: float) -> None:
    """The sum over all steps of the rate x the integral of P(S > u) while it held, by quadrature."""
    rates, step = (1.0, 5.0, 0.0, 2.0), 2.0
    curve = OfferedLoadCurve(rates_rps=rates, step_s=step, service=service)
    newest = math.floor(time / step)
    total, end = 0.0, 0.0
    for k in range(160):
        start, end = end, time - (newest - k) * step
        breaks = [x for x in (2.0,) if start < x < end]
        area, _ = quad(
            lambda u: float(service.tail(np.array([u]))[0]), start, end, points=breaks or None, epsabs=1e-12
        )
        total += rates[(newest - k) % 4] * area
    assert curve.offered_load(time) == pytest.approx(total, abs=1e-8)


def test_a_curve_of_many_steps_is_the_sinusoid() -> None:
    """Exponential service; steps of a thousandth of the period, at the mean of the rate in each."""
    load = sinusoid(20.0, 8.0, 10.0)
    edges = np.linspace(0.0, 2.0 * math.pi, 1001)
    rates = 20.0 + 8.0 * -np.diff(np.cos(edges)) / np.diff(edges)
    service = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
    curve = OfferedLoadCurve(rates_rps=tuple(map(float, rates)), step_s=0.01, service=service)
    for time in (0.0, 1.234, 5.0, 9.99):
        assert curve.offered_load(time) == pytest.approx(load.offered_load(time), rel=3e-6)
    at_s, highest = curve.peak
    assert highest == pytest.approx(load.offered_load_max, rel=3e-6)
    assert at_s == pytest.approx(2.5 + load.lag_s, abs=0.02)
    here, there = curve.peak_performance(30), load.peak_performance(30)
    assert here.wait_probability == pytest.approx(there.wait_probability, rel=1e-4)
    assert here.relative_error_max == {"wait_probability": math.inf}  # a period of 10 services
    assert curve.queue(1.234, 30).wait_probability == pytest.approx(
        load.queue(1.234, 30).wait_probability, rel=1e-4
    )


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.family)
@pytest.mark.parametrize("rates", [(1.0, 5.0, 7.0, 3.0, 0.0), (1.0, 5.0, 7.0, 6.5, 0.0)])
def test_no_moment_is_above_the_peak(service: Duration, rates: tuple[float, ...]) -> None:
    """With the second rates most peaks lie within a step."""
    curve = OfferedLoadCurve(rates_rps=rates, step_s=1.3, service=service)
    at_s, highest = curve.peak
    loads = [curve.offered_load(float(t)) for t in np.linspace(0.0, curve.period_s, 3001)]
    assert max(loads) <= highest * (1.0 + CLAIM)
    assert highest <= max(loads) * (1.0 + 1e-3)
    assert 0.0 <= at_s < curve.period_s
    assert np.mean(loads[:-1]) == pytest.approx(sum(rates) / 5 * 2.0, rel=1e-3)  # E S x mean rate


def test_deterministic_service_counts_the_last_arrivals() -> None:
    service = Duration(family=Family.DETERMINISTIC, mean_s=1.5)
    curve = OfferedLoadCurve(rates_rps=(0.0, 4.0, 10.0), step_s=1.0, service=service)
    loads = [curve.offered_load(t) for t in (0.0, 0.5, 1.5, 2.0, 2.75, 3.0)]
    assert loads == pytest.approx([12.0, 10.0, 2.0, 4.0, 10.5, 12.0], rel=CLAIM)
    assert curve.peak == (pytest.approx(0.0, abs=1e-6), pytest.approx(12.0, rel=CLAIM))


def test_a_constant_curve_and_a_moment_without_load() -> None:
    service = Duration(family=Family.LOGNORMAL, mean_s=0.5, scv=9.0)
    flat = OfferedLoadCurve(rates_rps=(3.0, 3.0), step_s=5.0, service=service)
    assert flat.offered_load(2.0) == 1.5
    assert flat.queue(2.0, 2).response_mean_s == mmc(2, 2.0)(3.0).response_mean_s
    brief = Duration(family=Family.DETERMINISTIC, mean_s=0.5)
    with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
        OfferedLoadCurve(rates_rps=(0.0, 3.0), step_s=5.0, service=brief).queue(2.0, 2)
    with pytest.raises(UnstableError, match="use at least 2 servers"):
        flat.queue(2.0, 1)
    with pytest.raises(UnstableError, match="use at least 27 servers"):
        sinusoid(20.0, 8.0, 10.0).peak_performance(servers=26)
    assert queue_at(1.5, 0.5, 2).arrival_rate_rps == 3.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, True])
def test_bad_loads_are_refused(bad: float) -> None:
    service = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
    good = {"mean_rate_rps": 2.0, "amplitude_rps": 1.0, "period_s": 10.0, "service_time_s": 1.0}
    for name in good:
        with pytest.raises(DomainError, match=f"{name} must be"):
            SinusoidalLoad(**(good | {name: bad}))
    with pytest.raises(DomainError, match=r"rates_rps\[1\] must be >= 0"):
        OfferedLoadCurve(rates_rps=(1.0, bad), step_s=1.0, service=service)
    with pytest.raises(DomainError, match="step_s must be > 0"):
        OfferedLoadCurve(rates_rps=(1.0,), step_s=bad, service=service)
    with pytest.raises(DomainError, match="must be >"):
        relaxation_time_s(bad, 1.0, 1)
    with pytest.raises(DomainError, match="must be >"):
        relaxation_time_s(1.0, bad, 1)
    with pytest.raises(DomainError, match="period_s must be"):
        measured_error(bad, 1.0)
    with pytest.raises(DomainError, match="relaxation_s must be"):
        measured_error(1.0, bad)


def test_what_else_is_refused() -> None:
    service = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
    with pytest.raises(DomainError, match=r"amplitude_rps must be <= mean_rate_rps, got 2 > 1; no rate"):
        sinusoid(1.0, 2.0, 1.0)
    for rates in ((), (0.0,)):
        with pytest.raises(DomainError, match="must hold a rate > 0"):
            OfferedLoadCurve(rates_rps=rates, step_s=1.0, service=service)
    for step in (1e-8, 5e-324):
        with pytest.raises(DomainError, match="use the mean rate, which so fast changes leave"):
            OfferedLoadCurve(rates_rps=(1.0, 2.0), step_s=step, service=service)
    for load in (sinusoid(1.0, 1.0, 1.0), OfferedLoadCurve(rates_rps=(1.0,), step_s=1.0, service=service)):
        for bad in (math.nan, math.inf):
            with pytest.raises(DomainError, match="time_s must be finite"):
                load.offered_load(bad)
    with pytest.raises(UnstableError, match="use at least 3 servers"):
        relaxation_time_s(4.0, 2.0, 2)
    with pytest.raises(DomainError, match="servers must be an integer"):
        relaxation_time_s(4.0, 2.0, 0)
    assert [measured_error(x, 1.0) for x in (1e9, 100.0, 99.0, 30.0, 10.0, 3.0, 2.9)] == [
        0.003, 0.003, 0.01, 0.01, 0.06, 0.25, math.inf,
    ]  # fmt: skip
