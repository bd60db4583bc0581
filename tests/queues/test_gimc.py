"""GI/M/c against a printed table, sixty digits, chains with phases, M/M/c, and by its own laws."""

import math
from functools import partial

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.queues.durations import Duration, Family
from capacity.queues.general.gimc import GammaGap, GIMc, MixtureGap, decay, gap_of
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.numerics.mills import second_remainder

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # pytest's own abs would pass any small number
CLAIM = 1e-11
laws = settings(derandomize=True, deadline=None, max_examples=80)
utilizations = st.one_of(st.floats(1e-6, 0.999), st.floats(0.5, 0.9999))
counts = st.one_of(st.integers(1, 10), st.integers(1, 300))
SHAPES = [
    (Family.DETERMINISTIC, None), (Family.EXPONENTIAL, None), (Family.ERLANG, 0.25), (Family.ERLANG, 0.01),
    (Family.GAMMA, 0.01), (Family.GAMMA, 1e-9), (Family.GAMMA, 2.0), (Family.GAMMA, 100.0),
    (Family.HYPEREXPONENTIAL, 1.0), (Family.HYPEREXPONENTIAL, 2.25), (Family.HYPEREXPONENTIAL, 100.0),
]  # fmt: skip
shapes = st.sampled_from(SHAPES)


def queue(family: Family, scv: float | None, utilization: float, servers: int, rate: float = 1.0) -> GIMc:
    gap = Duration(family=family, mean_s=1.0 / (utilization * servers) / rate, scv=scv)
    return GIMc(arrival=gap, service_rate_rps=rate, servers=servers)


def transform(gap: Duration, s: mp.mpf) -> mp.mpf:
    y, v = s * mp.mpf(gap.mean_s), mp.mpf(gap.variability)
    if gap.family is Family.HYPEREXPONENTIAL:
        fast = (1 + mp.sqrt((v - 1) / (v + 1))) / 2
        return sum(p * 2 * p / (2 * p + y) for p in (fast, 1 - fast))
    if gap.family is Family.ERLANG:
        v = mp.mpf(1) / gap.stages
    return mp.exp(-y) if v == 0 else mp.exp(-mp.log1p(v * y) / v)


def takacs(model: GIMc, digits: int = 70) -> tuple[mp.mpf, mp.mpf]:
    """1 - sigma and P(W > 0) from the textbook's sum, its terms as they stand."""
    with mp.workdps(digits):
        c, mu = model.servers, mp.mpf(model.service_rate_rps)
        low, high = mp.mpf(10) ** -12, mp.mpf(1)
        for _ in range(4 * digits):
            middle = mp.sqrt(low * high)
            if 1 - transform(model.arrival, c * mu * middle) > middle:
                low = middle
            else:
                high = middle
        total, product = mp.mpf(0), mp.mpf(1)
        for j in range(1, c + 1):
            phi = transform(model.arrival, j * mu)
            product *= phi / (1 - phi)
            below = c * low - j
            if abs(below) > mp.mpf(10) ** -(digits // 2):
                ratio = (c * (1 - phi) - j) / below
            else:  # 0/0 at a whole c (1 - sigma)
                ratio = 1 + c * mu * mp.diff(lambda s: transform(model.arrival, s), j * mu)
            total += mp.binomial(c, j) / (product * (1 - phi)) * ratio
        return low, 1 / (1 + low * total)


@pytest.mark.parametrize(
    ("family", "scv", "servers", "printed"),
    [
        (Family.DETERMINISTIC, None, 4, 0.67),
        (Family.ERLANG, 0.25, 4, 0.71),
        (Family.EXPONENTIAL, None, 4, 0.79),
        (Family.HYPEREXPONENTIAL, 2.25, 4, 0.85),
        (Family.DETERMINISTIC, None, 20, 0.39),
    ],
)
def test_whitts_table_of_delay_probabilities(family, scv, servers, printed) -> None:
    """Whitt (1993), Production and Operations Management 2(2), exact P(W > 0) at utilization 0.9."""
    assert queue(family, scv, 0.9, servers).wait_probability == close(printed, abs=0.005)


@pytest.mark.parametrize(("family", "scv"), SHAPES)
@pytest.mark.parametrize("utilization", [1e-6, 0.1, 0.49, 0.51, 0.999])
def test_seventy_digits(family: Family, scv: float | None, utilization: float) -> None:
    for servers in (1, 7) if utilization in (0.1, 0.51) else (2, 40):
        model = queue(family, scv, utilization, servers)
        if family is Family.DETERMINISTIC and utilization < 1e-3:
            assert model.wait_probability == 0.0  # e^-1000000
            continue
        fall, waiting = takacs(model)
        if waiting > 1e-290:
            assert float(abs(model.wait_probability / waiting - 1)) < CLAIM
        wait_mean = waiting / fall / servers
        assert wait_mean < 1e-290 or float(abs(model.wait_mean_s / wait_mean - 1)) < CLAIM
        for time in (0.3, 4.0):
            tail = waiting * mp.exp(-servers * fall * time)
            assert tail < 1e-290 or float(abs(model.wait_tail(time) / tail - 1)) < 1e-10


@pytest.mark.parametrize(
    ("family", "scv"), [(Family.DETERMINISTIC, None), (Family.GAMMA, 0.3), (Family.GAMMA, 9.0)]
)
def test_hundreds_of_servers_do_not_cancel(family: Family, scv: float | None) -> None:
    model = queue(family, scv, 0.95, 400)
    _, waiting = takacs(model, digits=60)
    assert float(abs(model.wait_probability / waiting - 1)) < CLAIM


def seen_by_arrivals(
    moves: dict[int, list[tuple[int, int, float]]], phases: int, load: float, servers: int
) -> list[float]:
    """P(an arrival finds n) of a chain (n, phase); moves: phase -> (step up, new phase, rate)."""
    last_level = servers + 400

    def row(i: int) -> np.ndarray:
        n, phase = divmod(i, phases)
        rates = np.zeros(4 * phases)
        origin = max(0, i - phases)
        if n > 0:
            rates[i - phases - origin] += min(n, servers)
        for step, new, rate in moves[phase]:
            rates[(n + step) * phases + new - origin] += rate
        return rates

    law = stationary(row, last=phases * last_level - 1, down=phases, up=2 * phases).reshape(-1, phases)
    arriving = np.array([sum(rate for step, _, rate in moves[phase] if step) for phase in range(phases)])
    return list(law @ arriving / load)


@pytest.mark.parametrize(
    ("stages", "servers", "utilization"), [(1, 3, 0.7), (4, 4, 0.9), (3, 1, 0.5), (2, 20, 0.8)]
)
def test_erlang_gaps_as_a_chain_of_stages(stages: int, servers: int, utilization: float) -> None:
    load = utilization * servers
    moves = {k: [(0, k + 1, stages * load)] for k in range(stages - 1)}
    moves[stages - 1] = [(1, 0, stages * load)]
    found = seen_by_arrivals(moves, stages, load, servers)
    model = queue(Family.ERLANG, 1.0 / stages, utilization, servers)
    assert sum(found) == close(1.0, rel=1e-10)
    assert model.wait_probability == close(sum(found[servers:]), rel=1e-10)
    waits = sum((n + 1 - servers) / servers * p for n, p in enumerate(found) if n >= servers)
    assert model.wait_mean_s == close(waits, rel=1e-10)


@pytest.mark.parametrize(("scv", "servers", "utilization"), [(2.25, 4, 0.9), (16.0, 2, 0.4), (4.0, 12, 0.6)])
def test_hyperexponential_gaps_as_a_chain_of_branches(scv: float, servers: int, utilization: float) -> None:
    load = utilization * servers
    branches = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0 / load, scv=scv).branches
    moves = {
        k: [(1, new, rate * p) for new, (p, _) in enumerate(branches)] for k, (_, rate) in enumerate(branches)
    }
    found = seen_by_arrivals(moves, 2, load, servers)
    model = queue(Family.HYPEREXPONENTIAL, scv, utilization, servers)
    assert model.wait_probability == close(sum(found[servers:]), rel=1e-9)
    waits = sum((n + 1 - servers) / servers * p for n, p in enumerate(found) if n >= servers)
    assert model.wait_mean_s == close(waits, rel=1e-9)


@laws
@given(shapes, utilizations)
def test_one_server_waits_with_probability_sigma(shape, utilization) -> None:
    """G/M/1: sigma = phi(mu (1 - sigma)), response exponential of rate mu (1 - sigma); Kleinrock (1975) 6.4."""
    model = queue(*shape, utilization, 1)
    sigma = model.wait_probability
    assert sigma == close(1.0 - 1.0 / model.response_mean_s, rel=1e-10, abs=1e-14)
    if sigma > 1e-290:
        rate = 1.0 / model.response_mean_s
        assert model.arrival.transform(rate) == close(sigma, rel=1e-10)
    assert model.response_tail(2.0) == close(math.exp(-2.0 / model.response_mean_s), rel=1e-10)
    assert model.response_quantile_s(0.9) == close(-math.log1p(-0.9) * model.response_mean_s, rel=1e-10)


@pytest.mark.parametrize(("family", "scv"), SHAPES[:8])
def test_the_response_is_the_wait_and_a_service(family: Family, scv: float | None) -> None:
    model = queue(family, scv, 0.8, 3)
    for time in (0.2, 1.0, 6.0):
        area = mp.quad(lambda x, t=time: mp.exp(-x) * model.wait_tail(float(t - x)), [0, time / 2, time])
        assert model.response_tail(time) == close(float(area) + math.exp(-time), rel=1e-10)
    assert model.response_mean_s - 1.0 == close(model.wait_mean_s, rel=1e-12)


@laws
@given(st.floats(0.3, 0.999), counts, st.floats(-6.0, 2.0), st.floats(0.05, 2.0))
def test_more_variable_gaps_wait_longer(utilization: float, servers: int, power: float, more: float) -> None:
    calm = queue(Family.GAMMA, 10.0**power, utilization, servers)
    wild = queue(Family.GAMMA, 10.0 ** (power + more), utilization, servers)
    fixed = queue(Family.DETERMINISTIC, None, utilization, servers)
    if fixed.wait_mean_s > 1e-280:
        assert fixed.wait_mean_s < calm.wait_mean_s * (1.0 + CLAIM)
        assert calm.wait_mean_s < wild.wait_mean_s * (1.0 + CLAIM)


@pytest.mark.parametrize("servers", [1, 5, 60])
@pytest.mark.parametrize("utilization", [0.3, 0.9])
def test_limits_between_families(utilization: float, servers: int) -> None:
    """Gamma gaps become fixed ones at cv 0; the error is of the order of scv."""
    fixed = queue(Family.DETERMINISTIC, None, utilization, servers).wait_probability
    for scv in (1e-3, 1e-5, 1e-8):
        near = queue(Family.GAMMA, scv, utilization, servers).wait_probability
        assert near == close(fixed, rel=300.0 * scv * max(1.0, 0.1 * servers / utilization**2))
    erlang = queue(Family.ERLANG, 0.2, utilization, servers)
    assert queue(Family.GAMMA, 0.2, utilization, servers).wait_probability == erlang.wait_probability


def test_heavy_traffic() -> None:
    """E W (1 - rho) -> (1 + scv) / 2 / c at rho -> 1 (Kingman 1962), here to the next order."""
    for family, scv in SHAPES[:8]:
        model = queue(family, scv, 1.0 - 1e-9, 3)
        v = model.arrival.variability
        spare = 1.0 - model.utilization
        assert model.wait_mean_s * spare * 3 == close((1.0 + v) / 2.0, rel=1e-5)
        assert model.wait_probability == close(1.0, abs=1e-6)


def exactly(law: GammaGap | MixtureGap, y: float) -> tuple[mp.mpf, mp.mpf]:
    """phi(y) and 1 - phi(y)."""
    s = mp.mpf(y)
    if isinstance(law, MixtureGap):
        branches = [(mp.mpf(p), mp.mpf(rate)) for p, rate in law.branches]
        return sum(p * r / (r + s) for p, r in branches), sum(p * s / (r + s) for p, r in branches)
    v = mp.mpf(law.variability)
    phi = mp.exp(-mp.log1p(v * s) / v) if v else mp.exp(-s)
    return phi, 1 - phi


@laws
@given(st.floats(-9.0, 2.0), st.floats(-12.0, 4.0), st.floats(-12.0, 4.0))
def test_gaps_have_no_cancellation(power: float, log_y: float, log_z: float) -> None:
    y, z, v = 10.0**log_y, 10.0**log_z, 10.0**power
    h2 = gap_of(Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=1.0 + v))
    assert isinstance(h2, MixtureGap)
    assert h2.second_moment == close(2.0 + v, rel=1e-12)
    for law in (GammaGap(variability=v), GammaGap(variability=0.0), h2):
        with mp.workdps(60):
            (phi, gone), (_, gone_z) = exactly(law, y), exactly(law, z)
            mean = sum(mp.mpf(p) / mp.mpf(r) for p, r in h2.branches) if law is h2 else mp.mpf(1)
            assert float(abs(law.complement(y) / gone - 1)) < 1e-14
            remainder = float(mean * mp.mpf(y) - gone)
            log_phi = float(mp.log(phi))
            slope = float((gone_z - gone) / (mp.mpf(z) - mp.mpf(y))) if y != z else 0.0
        assert law.remainder(y) == close(remainder, rel=1e-13)
        assert law.remainder(y) <= law.second_moment * y * y / 2.0 * (1.0 + 1e-13)
        assert law.log_transform(y) == close(log_phi, rel=1e-13, abs=1e-13)
        if slope > 1e-250 and log_phi > -400.0:
            assert law.slope(y, z) == close(slope, rel=1e-12 * (1.0 + min(y, z)))
        assert law.slope(y, y) == close(law.slope(y, y * (1.0 + 1e-9)), rel=1e-6)


def test_second_remainder_and_decay() -> None:
    for x in (-40.0, -1.0000001, -1.0, -0.5, -1e-5, -1e-160, 0.0, 1e-9, 0.999, 1.0, 1.001, 30.0):
        with mp.workdps(400):
            exact = float(mp.expm1(mp.mpf(x)) - mp.mpf(x))
        assert second_remainder(x) == close(exact, rel=1e-14)
    for rho in (1e-6, 0.5, math.nextafter(0.5, 1.0), 0.999):  # exponential: sigma = rho
        assert decay(GammaGap(variability=1.0), rho, 1.0 - rho) == close((1.0 - rho) / rho, rel=1e-12)


@pytest.mark.parametrize(("family", "scv"), [*SHAPES[:3], SHAPES[5], SHAPES[6], SHAPES[9]])
def test_a_billionth_of_spare_capacity(family: Family, scv: float | None) -> None:
    """1 - rho is taken from the exact rates: at 1e-9 a rounded rho would cost seven digits."""
    model = queue(family, scv, 1.0 - 1e-9, 3)
    fall, waiting = takacs(model)
    assert float(abs(model.wait_mean_s / (waiting / fall / 3) - 1)) < 1e-12
    assert float(abs(model.wait_probability / waiting - 1)) < 1e-12


def test_a_whole_number_of_spare_servers() -> None:
    """Where c (1 - sigma) is whole, a term is 0/0."""
    for servers, utilization in ((20, 0.1), (10, 0.5), (100, 0.25), (8, 0.875)):
        at = queue(Family.EXPONENTIAL, None, utilization, servers)
        markov = MMc(arrival_rate_rps=utilization * servers, service_rate_rps=1.0, servers=servers)
        assert at.wait_probability == close(markov.wait_probability, rel=1e-12)


@pytest.mark.parametrize(("family", "scv"), SHAPES)
@pytest.mark.parametrize("rate", [1e-9, 1e12])
def test_tiny_and_huge_rates(family: Family, scv: float | None, rate: float) -> None:
    model, plain = queue(family, scv, 0.7, 3, rate), queue(family, scv, 0.7, 3)
    assert model.wait_mean_s * rate == close(plain.wait_mean_s, rel=CLAIM)
    far = queue(family, scv, 1e-9, 2, rate)
    slim = queue(family, scv, 1e-9, 2)
    assert far.wait_probability == close(slim.wait_probability, rel=CLAIM)
    assert far.performance().response_mean_s * rate == close(slim.response_mean_s, rel=CLAIM)


@pytest.mark.parametrize("k", [1, 3, 7, 11, 13, 49, 77])
def test_an_atom_that_ends_at_the_quantile_is_the_answer(k: int) -> None:
    """Exponential gaps, a = 1/2 on two servers: P(W > 0) = 1/10, and P90 is 0 whatever the unit."""
    gap = Duration(family=Family.EXPONENTIAL, mean_s=20.0 / k)
    model = GIMc(arrival=gap, service_rate_rps=0.1 * k, servers=2)
    assert model.wait_quantile_s(0.9) == 0.0
    assert model.wait_quantile_s(0.9 + 1e-11) > 0.0
