"""Erlang B and C against printed tables, against sums at 50 digits, and by their own laws."""

import math

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, UnstableError
from capacity.queues.erlang import erlang_b, erlang_c, halfin_whitt, servers_stable_min

CLAIM = 1e-12  # relative error promised for every load and server count
laws = settings(derandomize=True, deadline=None, max_examples=150)
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
    ("lines", "load"),
    [(1, 0.0101), (2, 0.153), (5, 1.36), (10, 4.46), (15, 8.11), (20, 12.0), (50, 37.9)],
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
    ],
)
def test_real_server_counts_are_the_integral(load: float, servers: float) -> None:
    assert relative(erlang_b(load, servers), blocking_integral_50(load, servers)) < CLAIM


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
    with pytest.raises(DomainError, match="servers must be <= 1e"):
        erlang_b(1.0, 2e9)


@pytest.mark.parametrize("load", [4.0, 4.5, 12.0])
def test_unstable_delay_names_the_mend(load: float) -> None:
    with pytest.raises(UnstableError, match=r"use at least \d+ servers") as caught:
        erlang_c(load, 4)
    assert caught.value.servers_min == math.floor(load) + 1
    assert erlang_c(load, math.floor(load) + 1) < 1.0


def test_stable_up_to_the_last_double() -> None:
    load = math.nextafter(4.0, 0.0)
    assert 1.0 - erlang_c(load, 4) < 1e-14
    assert servers_stable_min(12.0, 4.0) == 4
    assert servers_stable_min(0.7, 0.1) == 8  # 0.7 < 7 x 0.1 by rounding alone
