"""M/D/c against a printed table, the embedded chain, Franx's law, Lambert W, mpmath sums, and by its own laws."""

import math
from functools import partial

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, lambertw

from capacity.queues.general.mdc import MDc, _poisson
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.chains import banded_stationary as stationary

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # pytest's own abs would pass any small number
CLAIM = 1e-10
laws = settings(derandomize=True, deadline=None, max_examples=60)
utilizations = st.one_of(st.floats(1e-6, 0.999), st.floats(0.5, 0.999), st.floats(0.99, 0.999999))
counts = st.one_of(st.integers(1, 12), st.integers(1, 400), st.integers(1, 2000))


def queue(load: float, servers: int, service_time_s: float = 1.0) -> MDc:
    return MDc(arrival_rate_rps=load / service_time_s, service_time_s=service_time_s, servers=servers)


def crommelin(load: float, servers: int) -> tuple[mp.mpf, mp.mpf]:
    """P(W > 0) and E W from Crommelin's sums over P(Poisson(na) >= nc) / n, at 40 digits."""
    with mp.workdps(40):
        a, idle, queued = mp.mpf(load), mp.mpf(0), mp.mpf(0)
        for n in range(1, 100_000):
            at = mp.exp(n * servers * mp.log(n * a) - n * a - mp.loggamma(n * servers + 1))
            tail, term, count = at, at, n * servers
            while term > tail * mp.mpf(10) ** -30:
                count += 1
                term *= n * a / count
                tail += term
            idle += tail / n
            gain = (tail - at) * (n * a - n * servers) / n + at * a  # E (Poisson(na) - nc)^+ / n
            queued += gain
            if tail < idle * mp.mpf(10) ** -16 and gain < queued * mp.mpf(10) ** -16:
                break
        return -mp.expm1(-idle), queued / a


def embedded(load: float, servers: int) -> np.ndarray:
    """P(N = i) from p_j = sum of p_k Poisson steps, by elimination."""
    up = int(load + 14.0 * math.sqrt(load) + 60)
    steps = np.array([float(mp.exp(k * mp.log(load) - load - mp.loggamma(k + 1))) for k in range(up)])
    decay = queue(load, servers)._backlog._log_root
    last = int(servers + load + 12.0 * math.sqrt(load) + 40 + 60.0 / decay)
    return stationary(lambda _: steps, last=last, down=servers, up=up)


def franx(law: np.ndarray, load: float, servers: int, time: float) -> float:
    """P(W > t) by Franx's theorem from P(N = i), its complement term by term."""
    above = np.append(np.cumsum(law[::-1])[::-1], 0.0)  # P(N >= i)
    rounds = math.floor(time) + 1
    x, needed = load * (rounds - time), rounds * servers
    with mp.workdps(30):
        total = mp.gammainc(needed, 0, x, regularized=True)
        for j in range(needed):
            left = min(servers + needed - j, len(above) - 1)  # N > c + kc - j - 1
            total += mp.exp(j * mp.log(x) - x - mp.loggamma(j + 1)) * above[left]
    return float(total)


GRID = [(1, 0.3), (1, 0.999), (2, 0.05), (3, 0.8), (5, 0.5), (8, 0.8), (8, 0.99), (20, 0.4), (20, 0.9)]


@pytest.mark.parametrize(("servers", "utilization"), GRID)
def test_the_embedded_chain_and_franxs_law(servers: int, utilization: float) -> None:
    load = servers * utilization
    model, law = queue(load, servers), embedded(load, servers)
    assert model.empty_probability == close(law[0], rel=CLAIM)
    assert model.wait_probability == close(law[servers:].sum(), rel=CLAIM)
    waiting = np.arange(len(law)) - servers
    assert model.queue_length_mean == close(waiting[servers:] @ law[servers:], rel=CLAIM)
    assert model.in_system_mean == close(np.arange(len(law)) @ law, rel=CLAIM)
    for time in (0.0, 1e-3, 0.4, 0.999999, 1.0, 1.7, 3.2):
        expected = franx(law, load, servers, time)
        assert model.wait_tail(time) == close(expected, rel=CLAIM, abs=1e-40)


def test_whitts_table_of_delay_probabilities() -> None:
    """Whitt (1993), Production and Operations Management 2(2), table of P(W > 0): exact M/D/4 at 0.9."""
    assert queue(3.6, 4).wait_probability == close(0.78, abs=0.005)


@pytest.mark.long
def test_crommelins_sums_at_forty_digits() -> None:
    for load, servers in (
        (1e-6, 1), (1e-6, 3), (0.02, 2), (0.01, 8), (1.0, 10), (4.0, 5), (30.0, 60), (90.0, 100),
        (80.0, 200), (900.0, 1000), (1900.0, 2000),
    ):  # fmt: skip
        model, (busy, wait) = queue(load, servers), crommelin(load, servers)
        assert float(abs(model.wait_probability / busy - 1)) < CLAIM
        assert float(abs(model.wait_mean_s / wait - 1)) < CLAIM


def test_rare_waits_keep_their_digits() -> None:
    model = queue(2.0, 30)
    busy, wait = crommelin(2.0, 30)
    assert 1e-25 < model.wait_probability < 1e-22
    assert float(abs(model.wait_probability / busy - 1)) < CLAIM
    assert float(abs(model.wait_mean_s / wait - 1)) < CLAIM
    assert model.wait_tail(0.0) == close(float(busy), rel=CLAIM)


@laws
@given(utilizations, st.integers(1, 600))
def test_the_mean_by_lambert_w(utilization: float, servers: int) -> None:
    """E N = sum of 1/(1 - z_j) - (c(c-1) - 2ca + a^2) / (2(c - a)), the z_j within the unit circle."""
    load = utilization * servers
    model = queue(load, servers)
    rho, turns = load / servers, np.exp(2j * math.pi * np.arange(1, servers) / servers)
    inside = -lambertw(-rho * turns * math.exp(-rho)) / rho
    spare = servers - load
    excess = (servers * (servers - 1) - 2 * servers * load + load * load) / (2.0 * spare)
    in_system = float((1.0 / (1.0 - inside)).sum().real) - excess
    rounding = 1e-13 * servers * (1.0 + servers / spare)  # the two terms cancel where few wait
    assert model.queue_length_mean == close(in_system - load, abs=rounding, rel=1e-11)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
def test_one_server_by_erlangs_alternating_sum(load: float) -> None:
    """Erlang (1909): P(W <= t) = (1 - rho) sum of (-1)^k (lambda (t - k))^k / k! e^(lambda (t - k))."""
    model = queue(load, 1)
    with mp.workdps(60):
        for time in (0.0, 0.5, 1.0, 2.5, 7.2, 20.1):
            total = mp.mpf(0)
            for k in range(math.floor(time) + 1):
                x = mp.mpf(load) * (mp.mpf(time) - k)
                total += (-x) ** k / mp.factorial(k) * mp.exp(x)
            assert model.wait_tail(time) == close(float(1 - (1 - mp.mpf(load)) * total), rel=CLAIM)


@laws
@given(utilizations)
def test_one_server_by_pollaczek_and_khinchine(utilization: float) -> None:
    model = queue(utilization, 1)
    spare = float(1 - mp.mpf(utilization))
    assert model.wait_mean_s == close(utilization / (2.0 * spare), rel=CLAIM)
    assert model.wait_probability == close(utilization, rel=CLAIM)
    assert model.empty_probability == close(spare, rel=CLAIM)


@laws
@given(utilizations, counts)
def test_the_law_of_the_backlog_maps_onto_itself(utilization: float, servers: int) -> None:
    """P(Y >= m) = P(Y + Poisson(a) >= c + m): everything at once, one service later."""
    model = queue(utilization * servers, servers)
    tails = model._backlog._tails
    for m in (1, 2, len(tails) // 2, len(tails) - 1):
        if tails[m] > 1e-250:
            here = passing(model, model.offered_load, servers + m)
            assert here == close(tails[m], rel=CLAIM)


def passing(model: MDc, mean: float, needed: int) -> float:
    """P(Y + Poisson(mean) >= needed), the Poisson law anchored at one exact value."""
    backlog = model._backlog
    far = np.exp(-backlog._log_root * np.arange(1, needed + 1))
    tails = np.append(backlog._tails, backlog._tails[-1] * far)[1 : needed + 1]
    before = np.arange(needed)
    logs = before * math.log(mean) - mean - gammaln(before + 1.0)
    mode = min(int(mean), needed - 1)
    with mp.workdps(25):
        load = mp.mpf(mean)
        at_mode = float(mp.exp(mode * mp.log(load) - load - mp.loggamma(mode + 1)))
        many = float(mp.gammainc(needed, 0, load, regularized=True))
    return float((np.exp(logs - logs[mode]) * at_mode)[::-1] @ tails) + many


@pytest.mark.parametrize(("load", "servers"), [(15.0, 50), (60.0, 200), (3.0, 20), (0.3, 1), (800.0, 1000)])
def test_the_backlog_is_right_down_to_the_smallest_doubles(load: float, servers: int) -> None:
    model = queue(load, servers)
    tails = model._backlog._tails
    for m in range(1, len(tails), 1 + len(tails) // 20):
        if tails[m] > 1e-270:
            assert passing(model, load, servers + m) == close(tails[m], rel=CLAIM)


@pytest.mark.parametrize("time", [0.0, 0.3, 0.55, 1.2])
def test_the_wait_at_thousands_of_servers(time: float) -> None:
    model = queue(1900.0, 2000)
    rounds = math.floor(time) + 1
    expected = passing(model, 1900.0 * (rounds - time), 2000 * rounds)
    assert model.wait_tail(time) == close(expected, rel=CLAIM)


def test_poisson_probabilities_keep_their_digits_at_large_means() -> None:
    for mean in (1e-3, 0.7, 15.0, 16.5, 800.0, 2e4, 3e6):
        for away in (-6.0, -1.0, 0.0, 0.4, 3.0, 25.0):
            count = max(0, round(mean + away * math.sqrt(mean)))
            with mp.workdps(40):
                exact = mp.exp(count * mp.log(mp.mpf(mean)) - mp.mpf(mean) - mp.loggamma(count + 1))
            assert float(_poisson(float(count), mean)) == close(float(exact), rel=3e-13)


@laws
@given(st.floats(0.1, 1.5), st.integers(1, 200))
def test_sum_and_contour_agree(heaviness: float, servers: int) -> None:
    """Two ways to the same jumps, where both are good: (1 - rho) sqrt(c) from 0.1 to 1.5."""
    utilization = 1.0 - heaviness / math.sqrt(servers)
    if utilization < 0.2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.queues.general.mdc._TERMS_MAX", 10**9)
        summed = queue(utilization * servers, servers)
        patch.setattr("capacity.queues.general.mdc._TERMS_MAX", 0)
        contour = queue(utilization * servers, servers)
    assert contour.wait_probability == close(summed.wait_probability, rel=1e-12)
    assert contour.wait_mean_s == close(summed.wait_mean_s, rel=1e-12)
    assert contour._backlog.none_probability == close(summed._backlog.none_probability, rel=1e-12)
    assert contour._backlog._tails == close(summed._backlog._tails, rel=1e-11)


@pytest.mark.parametrize(("load", "servers"), [(0.7, 1), (1.9, 2), (6.4, 8), (19.9, 20), (5.0, 20)])
def test_area_under_the_tail_is_the_mean(load: float, servers: int) -> None:
    model = queue(load, servers)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total, start = 0.0, 0.0
    while model.wait_tail(start) > 1e-17 * model.wait_probability:  # smooth between whole times
        total += 0.5 * sum(
            w * model.wait_tail(start + 0.5 * (1.0 + x)) for x, w in zip(nodes, weights, strict=True)
        )
        start += 1.0
    assert model.wait_mean_s == close(total, rel=CLAIM)


@laws
@given(st.floats(0.3, 0.999), st.integers(1, 300))
def test_fixed_services_wait_between_half_as_long_as_exponential_ones_and_as_long(utilization, servers):
    load = utilization * servers
    fixed, exponential = (
        queue(load, servers),
        MMc(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers),
    )
    if fixed.wait_mean_s > 1e-290:
        assert 0.5 * (1.0 - 1e-12) <= fixed.wait_mean_s / exponential.wait_mean_s < 1.0
    assert fixed.wait_probability <= exponential.wait_probability * (1.0 + 1e-12)


@laws
@given(st.floats(0.05, 0.9999), st.integers(1, 100), st.floats(0.0, 50.0))
def test_far_out_waits_fall_exponentially(utilization: float, servers: int, more: float) -> None:
    """P(W > t) ~ K e^-eta t, eta = a (z - 1) where c ln z = a (z - 1)."""
    model = queue(utilization * servers, servers)
    backlog = model._backlog
    z = math.exp(backlog._log_root)
    load = model.offered_load
    assert servers * math.log(z) == close(load * (z - 1.0), rel=1e-9)
    start = len(backlog._tails) / servers + 8.0
    before, after = model.wait_tail(start), model.wait_tail(start + more)
    if after > 1e-280:
        assert math.log(before / after) == close(backlog.decay * more, rel=1e-9, abs=1e-9)


@laws
@given(st.floats(0.2, 0.999), st.integers(1, 60), st.integers(1, 8))
def test_waits_are_continuous_where_a_service_ends(utilization: float, servers: int, rounds: int) -> None:
    model = queue(utilization * servers, servers)
    left, right = model.wait_tail(math.nextafter(rounds, 0.0)), model.wait_tail(float(rounds))
    assert right < 1e-250 or left == close(right, rel=1e-10)


@pytest.mark.parametrize(
    ("rate", "time", "servers"),
    [
        (1e-9, 1.0, 1),
        (1e-300, 1.0, 1),
        (1e-300, 1e-8, 3),
        (1e12, 1e-13, 1),
        (1e-9, 0.999e9, 1),
        (1e-9, 1e-9, 2000),
    ],
)
def test_no_rate_is_too_small_or_too_large(rate: float, time: float, servers: int) -> None:
    model = MDc(arrival_rate_rps=rate, service_time_s=time, servers=servers)
    assert model.performance().response_mean_s >= time
    if servers == 1:
        assert model.wait_probability == close(rate * time, rel=CLAIM)
    assert model.response_quantile_s(0.5) >= time


def test_a_thousand_servers_are_quick() -> None:
    model = queue(999.0, 1000)
    assert model.wait_tail(model.wait_quantile_s(0.9999)) == close(1e-4, rel=CLAIM)
    assert queue(19_980.0, 20_000).wait_mean_s > 0.0
