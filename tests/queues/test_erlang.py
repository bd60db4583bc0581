"""Erlang B and C against printed tables, against sums at 50 digits, and by their own laws."""

import math
from fractions import Fraction

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, UnstableError
from capacity.queues.markov.erlang import (
    SERVERS_MAX,
    blocking,
    bounded_load,
    delay,
    erlang_b,
    erlang_c,
    halfin_whitt,
    ready_sum,
    require_stable,
    served_share,
    servers_stable_min,
)
from capacity.queues.numerics.mills import (
    SUMMED_MAX,
    above,
    curve,
    density,
    excess_above,
    gauss_legendre,
    integral,
    log_density,
    peak_density,
    up_to,
)

CLAIM = 1e-12  # relative error promised for every load and server count
laws = settings(derandomize=True, deadline=None, max_examples=80)
loads = st.floats(-6, 6).map(lambda exponent: 10.0**exponent)


def blocking_50(load: float, servers: int) -> mp.mpf:
    """1/B = sum over k of c!/((c-k)! a^k), every term as it stands."""
    with mp.workdps(50):
        a, term, total, left = mp.mpf(load), mp.mpf(1), mp.mpf(0), servers
        while left > 0 and (left > a or term > total * mp.mpf(10) ** -30):
            total += term
            term *= left / a
            left -= 1
        return 1 / (total + term)


def blocking_integral_50(load: float, servers: float) -> mp.mpf:
    """1/B = a x integral of e^-at (1+t)^c (Jagerman 1974), also for a real c."""
    with mp.workdps(50):
        a, c = mp.mpf(load), mp.mpf(servers)
        peak, width = max(c / a - 1, 0), (mp.sqrt(c) + 1) / a
        ends = [0, *(peak + k * width for k in (1, 3, 6, 10, 20)), mp.inf]
        return 1 / (a * mp.quad(lambda t: mp.exp(-a * t) * (1 + t) ** c, ends))


def delay_50(load: float, servers: int) -> mp.mpf:
    with mp.workdps(50):
        blocking = blocking_50(load, servers)
        return blocking / (1 - mp.mpf(load) / servers * (1 - blocking))


def relative(value: float, truth: mp.mpf) -> float:
    return float(abs(mp.mpf(value) / truth - 1))


# Load carried at 1 % loss, from the Erlang B tables that telephone engineers use.
@pytest.mark.parametrize(
    ("lines", "load"), [(1, 0.0101), (2, 0.153), (5, 1.36), (10, 4.46), (15, 8.11), (20, 12.0), (50, 37.9)]
)
def test_loss_table_of_one_percent(lines: int, load: float) -> None:
    last_digit = 10.0 ** (math.floor(math.log10(load)) - 2)
    assert erlang_b(load - last_digit, lines) < 0.01 < erlang_b(load + last_digit, lines)


def test_printed_values() -> None:
    assert erlang_b(5.0, 10) == pytest.approx(0.018385, abs=5e-7)
    assert erlang_b(1.0, 1) == 0.5
    assert erlang_b(25.0, 30) == pytest.approx(0.05, abs=5e-3)  # Mathematica, ErlangB[30, 25.]
    assert erlang_c(1.0, 2) == pytest.approx(1 / 3, rel=CLAIM)
    assert erlang_c(2.0, 3) == pytest.approx(4 / 9, rel=CLAIM)  # Gross et al. (2008), sec. 2.3


@pytest.mark.parametrize(
    ("load", "servers"),
    [
        (1e-6, 1),
        (1e-6, 40),
        (0.5, 1),
        (3.0, 150),
        (5.0, 10),
        (64.0, 140),
        (64.0, 141),
        (99.9, 100),
        (100.0, 99),
        (1e3, 1),
        (1e3, 1900),
        (1e4, 13_500),
        (1e6, 1),
        (1e6, 100),
        (1e6, 900_000),
        (1e6, 999_999),
        (1e6, 1_000_000),
        (1e6, 1_000_001),
        (1e6, 1_001_000),
        (1e6, 1_036_000),
    ],
)
def test_loss_is_the_sum_at_fifty_digits(load: float, servers: int) -> None:
    assert relative(erlang_b(load, servers), blocking_50(load, servers)) < CLAIM


@pytest.mark.parametrize("utilization", [1e-6, 0.5, 0.999, 0.999999])
@pytest.mark.parametrize("servers", [1, 2, 10, 139, 1000, 1_000_000])
def test_delay_is_the_sum_at_fifty_digits(utilization: float, servers: int) -> None:
    load = utilization * servers
    truth = delay_50(load, servers) if utilization > 0.5 or servers <= 1000 else mp.mpf(0)
    if truth < 1e-300:
        assert erlang_c(load, servers) < 1e-300
    else:
        assert relative(erlang_c(load, servers), truth) < CLAIM


@pytest.mark.parametrize(
    ("load", "servers"),
    [
        (0.01, 0.5),
        (1.9, 0.7),
        (2.1, 0.7),
        (40.0, 0.3),
        (2.0, 1.5),
        (7.0, 6.5),
        (7.0, 7.5),
        (30.0, 60.25),
        (150.0, 139.9),
        (150.0, 160.1),
        (300.0, 140.5),
        (19.0, 0.5),
    ],
)
def test_real_server_counts_are_the_integral(load: float, servers: float) -> None:
    assert relative(erlang_b(load, servers), blocking_integral_50(load, servers)) < CLAIM


def loss_inverse_30(load: float | Fraction, servers: float) -> mp.mpf:
    """1/B by the same integral at thirty digits, cut at distances from the peak that suit any size."""
    with mp.workdps(30):
        exact = Fraction(load)
        a, c = mp.mpf(exact.numerator) / exact.denominator, mp.mpf(servers)
        peak = max(c / a - 1, mp.mpf(0))
        width = min((mp.sqrt(c) + 1) / a, 1 / (a - c) if a > c else mp.inf)
        ends = [peak + k * width for k in (-30, -14, -7, -3, 0, 3, 7, 14, 30, 90)]
        ends = [mp.mpf(0), *(end for end in ends if end > 0)]
        return a * mp.quad(lambda t: mp.exp(c * mp.log1p(t) - a * t), ends)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.floats(0.0, 9.5).map(lambda exponent: 10.0**exponent),
    st.sampled_from([0.0, 0.1, -0.1, 1.0, -1.0]) | st.floats(-40.0, 37.0),
    st.booleans(),
)
def test_loss_near_the_load_at_any_size(servers: float, deviations: float, whole: bool) -> None:
    """c = a, and a few standard deviations to either side, where every shortcut is at its worst."""
    servers = float(round(servers)) if whole else servers
    load = servers - deviations * math.sqrt(servers)
    if load <= 0.0:
        return
    exact = 1 / loss_inverse_30(load, servers)
    if exact > 1e-290:
        assert relative(erlang_b(load, servers), exact) < 1e-13
    else:  # below what a double can hold with all its digits
        assert 0.0 <= erlang_b(load, servers) < 1e-289


@pytest.mark.parametrize(
    ("load", "servers"),
    [
        (1e9, 1.0),
        (1e9, 1e6),
        (1e9, 4e8),
        (1e9, 1e9),
        (1e9, 1_000_031_623.0),
        (1e9, 1_001_000_000.5),
        (1e6, 1_000_500.0),
        (1e6, 1_036_000.0),
        (3e9, 3e9 + 1e6),
        (401.0, SUMMED_MAX),
        (401.0, math.nextafter(SUMMED_MAX, 500.0)),
        (399.0, math.nextafter(SUMMED_MAX, 500.0)),
        (60.0, SUMMED_MAX + 0.5),
    ],
)
def test_loss_far_from_the_load_and_where_the_method_changes(load: float, servers: float) -> None:
    assert relative(erlang_b(load, servers), 1 / loss_inverse_30(load, servers)) < 1e-13


def test_a_load_that_is_no_double_is_not_rounded() -> None:
    """At 1e9 erlangs the last bit of the load moves B by 1e-10 of itself."""
    load = Fraction(10**17 + 3, 10**8)
    servers = 1e9 + 1e6
    spare = float(Fraction(servers) - load)
    truth = 1 / loss_inverse_30(load, servers)
    assert relative(blocking(load, servers, spare), truth) < 1e-13
    assert relative(blocking(float(load), servers, servers - float(load)), truth) > 1e-12
    waiting = truth * mp.mpf(servers) / (mp.mpf(spare) + mp.mpf(float(load)) * truth)
    assert relative(delay(load, servers, spare), waiting) < 1e-13
    assert blocking(load, 0.0, -1.0) == 1.0


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-9, 3).map(lambda exponent: 10.0**exponent), st.floats(-7, 8).map(lambda power: 10.0**power))
def test_served_share_keeps_its_digits(servers: float, load: float) -> None:
    """1 - B at enough digits, from the incomplete gamma function: 1/B = e^a a^-c Gamma(c + 1, a)."""
    with mp.workdps(60):
        if load > 1e3:
            truth = 1 - 1 / loss_inverse_30(load, servers)
            if servers / load < 1e-6:  # thirty digits less those that 1 - B loses
                assert served_share(load, servers) == pytest.approx(float(truth), rel=1e-11)
                return
        else:
            a, c = mp.mpf(load), mp.mpf(servers)
            truth = 1 - a**c * mp.exp(-a) / mp.gammainc(c + 1, a)
        assert relative(served_share(load, servers), truth) < 2e-14


def test_nearly_all_lost() -> None:
    for load in (1e15, 1e20, 1e300):
        assert 1.0 - 1e-5 < erlang_b(load, 5e9) <= 1.0
        assert served_share(load, 5e9) == pytest.approx(5e9 / load, rel=1e-5)


def test_served_share_at_tiny_loads_and_for_one_server() -> None:
    assert served_share(1e-300, 0.5) == 1.0
    assert served_share(1e15, 1) == pytest.approx(1e-15, rel=1e-14)
    assert served_share(3.0, 1) == 0.25
    at_half = float(1 - mp.mpf("1e-200") ** mp.mpf("1e-3") / mp.gamma(mp.mpf("1.001")))
    assert served_share(1e-200, 1e-3) == pytest.approx(at_half, rel=1e-13)


@pytest.mark.parametrize(
    ("load", "count"), [(0.0, 3.0), (3.0, 7.5), (399.0, 400.0), (399.0, 400.5), (1e4, 1e4)]
)
def test_ratios_of_a_poisson_law(load: float, count: float) -> None:
    """The defining sums at thirty digits, on either side of where the integrals take over."""
    with mp.workdps(30):
        term, terms = mp.mpf(1), []
        for j in range(1, 3000):
            term *= mp.mpf(load) / (mp.mpf(count) + j)
            terms.append(term)
        spare = count - load
        total, first = mp.fsum(terms), mp.fsum(j * t for j, t in enumerate(terms, start=1))
        assert above(load, count, spare) == pytest.approx(float(total), rel=1e-14, abs=0.0)
        assert excess_above(load, count, spare) == pytest.approx(float(first), rel=1e-14, abs=0.0)
        for over in (count, count + 20.0):
            truth = float(loss_inverse_30(over, count))
            assert up_to(over, count, count - over) == pytest.approx(truth, rel=1e-14)


@pytest.mark.parametrize("count", [1e-9, 0.5, 7.0, 139.9, 140.1, 145.5, 1000.0, 1e9])
def test_densities(count: float) -> None:
    with mp.workdps(40):
        n = mp.mpf(count)
        assert relative(peak_density(count), mp.exp(n * mp.log(n) - n - mp.loggamma(n + 1))) < 4e-15
        for load in (count * 0.9, count + 3.0 * math.sqrt(count) + 1e-3):
            truth = n * mp.log(load) - load - mp.loggamma(n + 1)
            if truth > -700:
                assert relative(density(load, count), mp.exp(truth)) < 1e-14
            assert abs(log_density(load, count) - truth) < 1e-14 * max(1, -truth)


def test_no_sum_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 400 servers the integrals take over: the time does not depend on the load."""
    calls: list[float] = []
    monkeypatch.setattr("capacity.queues.numerics.mills.integral", lambda *_, **__: calls.append(1.0) or 1e-9)
    for load in (390.0, 401.0, 420.0):
        erlang_b(load, 401)
    excess_above(390.0, 401.0, 11.0)
    assert len(calls) == 4
    erlang_b(399.0, SUMMED_MAX)
    erlang_b(401.0, SUMMED_MAX)
    assert len(calls) == 4


def test_the_rule_and_the_integrals_behind_them() -> None:
    for nodes in (1, 2, 5, 64):  # exact for polynomials up to degree 2n - 1
        for degree in range(0, 2 * nodes, 2):
            area = math.fsum(weight * node**degree for node, weight in gauss_legendre(nodes))
            assert area == pytest.approx(2.0 / (degree + 1), rel=1e-13)
    for s in (-3.0, -1.0, -0.99, -1e-3, 1e-8, 0.5, 0.999999, 1.0, 40.0):
        with mp.workdps(40):
            assert relative(curve(s), mp.exp(-mp.mpf(s)) - 1 + mp.mpf(s)) < 1e-15
    cases = [
        (1.0, 0.0, False),
        (-1.0, 2.0, False),
        (1e-3, 1e-3, True),
        (-1.0, 50.0, True),
        (-0.5, 1e-9, True),
    ]
    for slope, bend, mirrored in cases:
        sign = -1 if mirrored else 1

        def integrand(s: mp.mpf, slope: float = slope, bend: float = bend, sign: int = sign) -> mp.mpf:
            return mp.exp(-slope * s - bend * (mp.exp(-sign * s) - 1 + sign * s))

        for end in (0.3, 200.0):
            with mp.workdps(25):
                truth = mp.quad(integrand, mp.linspace(0, min(end, 60.0), 40))
            value = integral(slope, bend, end, mirrored=mirrored)
            assert relative(value, truth) < 1e-13


def test_the_sum_of_the_ready_states() -> None:
    assert ready_sum(3.0, 3) == 1.0 + 3.0 + 4.5
    assert ready_sum(3.0, 1) == 1.0
    assert ready_sum(600.0, 2000) == pytest.approx(math.exp(600.0), rel=1e-13)
    assert ready_sum(1e5, 1000) == math.inf


@pytest.mark.parametrize(("arrival", "service"), [(1e200, 1e-200), (1e-200, 1e200)])
def test_a_load_beyond_doubles_is_refused(arrival: float, service: float) -> None:
    with pytest.raises(
        DomainError, match=r"arrival_rate_rps / service_rate_rps must be from 1e-300 to 1e\+300"
    ):
        bounded_load(arrival, service)
    assert bounded_load(1e12, 1e-9) == Fraction(1e12) / Fraction(1e-9)


def test_zero_only_where_the_truth_is_beyond_doubles() -> None:
    assert erlang_b(1e6, 1_200_000) == 0.0
    assert erlang_b(1e-6, 1_200_000) == 0.0
    tiny = erlang_b(1e-6, 46)  # about 1e-334: below the smallest double
    assert tiny == 0.0
    assert relative(erlang_b(1e-6, 41), blocking_50(1e-6, 41)) < CLAIM  # about 1e-296


@laws
@given(loads, st.floats(1.0, 1e6))
def test_recursion_of_loss(load: float, servers: float) -> None:
    """B(c+1) = a B(c) / (c + 1 + a B(c)), for real c too."""
    here, above = erlang_b(load, servers), erlang_b(load, servers + 1.0)
    following = load * here / (servers + 1.0 + load * here)
    sum_rounding = 2**-53 * servers  # servers + 1.0 rounds; each server moves ln B by < ln(c/a)
    moved = sum_rounding * abs(math.log(servers / load))
    assert above == pytest.approx(following, rel=2 * CLAIM + moved, abs=1e-300)


@laws
@given(loads, st.integers(1, 1_200_000))
def test_loss_falls_with_servers_and_rises_with_load(load: float, servers: int) -> None:
    here = erlang_b(load, servers)
    assert 0.0 <= here < 1.0 or load > 1e15 * servers
    assert erlang_b(load, servers + 1) <= here * (1 + CLAIM)
    assert erlang_b(load * 1.001, servers) >= here * (1 - CLAIM)


@laws
@given(st.integers(1, 1_000_000), st.floats(1e-6, 0.999999))
def test_delay_lies_between_loss_and_one(servers: int, utilization: float) -> None:
    load = utilization * servers
    assert erlang_b(load, servers) <= erlang_c(load, servers) < 1.0


@laws
@given(st.floats(1e-6, 0.999999))
def test_one_server_waits_as_often_as_it_is_busy(load: float) -> None:
    assert erlang_c(load, 1) == pytest.approx(load, rel=CLAIM)
    assert erlang_b(load, 1) == pytest.approx(load / (1.0 + load), rel=CLAIM)


def test_halfin_whitt_limit() -> None:
    """One standard deviation of spare servers: 0.2234 of requests wait (their theorem 1)."""
    assert erlang_c(1e6, 1_001_000) == pytest.approx(0.223502, abs=5e-7)
    seen: list[float] = []
    halfin_whitt(1e6, lambda waiting, spare: (seen.append(waiting), spare >= 1000.0)[1])
    assert min(abs(waiting - 0.223361) for waiting in seen) < 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 0.0, True])
def test_bad_numbers_are_refused(bad: float) -> None:
    for formula in (erlang_b, erlang_c):
        with pytest.raises(DomainError, match="offered_load must be > 0"):
            formula(bad, 2)
        with pytest.raises(DomainError, match="servers must be > 0"):
            formula(0.5, bad)
    with pytest.raises(DomainError, match=r"servers must be <= 5e\+09"):
        erlang_b(1.0, 2.0 * SERVERS_MAX)
    with pytest.raises(DomainError, match="servers must be a number"):
        erlang_b(1.0, "2")


@pytest.mark.parametrize("load", [4.0, 4.5, 12.0])
def test_unstable_delay_names_the_mend(load: float) -> None:
    with pytest.raises(UnstableError, match=r"use at least \d+ servers") as caught:
        erlang_c(load, 4)
    assert caught.value.servers_min == math.floor(load) + 1
    assert erlang_c(load, math.floor(load) + 1) < 1.0


@pytest.mark.parametrize(
    ("rate_rps", "shown"), [(5e3, "utilization 5000.* >= 1"), (1e300, "utilization 1.*e[+]300 >= 1")]
)
def test_how_far_beyond_stable_is_shown(rate_rps: float, shown: str) -> None:
    with pytest.raises(UnstableError, match=shown):
        require_stable(rate_rps, 1.0, 1)


def test_stable_up_to_the_last_double() -> None:
    load = math.nextafter(4.0, 0.0)
    assert 1.0 - erlang_c(load, 4) < 1e-14
    assert servers_stable_min(12.0, 4.0) == 4
    assert servers_stable_min(0.7, 0.1) == 8  # 0.7 < 7 x 0.1 by rounding alone
