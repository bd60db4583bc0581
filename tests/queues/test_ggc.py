"""G/G/c against Whitt's, Kimura's and Cosmetatos' tables, the printed formulas again, exact queues, and by its laws."""

import math
from itertools import pairwise, product

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.performance import Kind
from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc import Formula, GGc, Series, delay_of, delay_scv, errors_measured, sum_tail
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mphc import MPHc
from capacity.queues.general.qbd import MarkovArrivals, PhaseService, Waits, solve
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.tail import quantile_of

CLAIM = 1e-10
laws = settings(derandomize=True, deadline=None, max_examples=40)
rhos = st.floats(1e-3, 0.999)
counts = st.integers(1, 40)
scvs = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 100.0))
ANY_GAPS = (Formula.ALLEN_CUNNEEN, Formula.WHITT)


def law(scv: float, mean_s: float = 1.0, family: Family = Family.GAMMA) -> Duration:
    if scv in (0.0, 1.0):
        return Duration(family=Family.EXPONENTIAL if scv else Family.DETERMINISTIC, mean_s=mean_s)
    return Duration(family=family, mean_s=mean_s, scv=scv)


def queue(
    rho: float,
    servers: int,
    gap_scv: float,
    scv: float,
    formula: Formula = Formula.WHITT,
    mean_s: float = 1.0,
) -> GGc:
    gap = law(gap_scv, mean_s / (rho * servers))
    return GGc(arrival=gap, service=law(scv, mean_s), servers=servers, formula=formula)


@pytest.mark.parametrize(
    ("rho", "servers", "gap_scv", "scv", "printed"),
    [
        (0.9, 4, 1.0, 1.0, 0.79),
        (0.9, 4, 0.0, 1.0, 0.65),
        (0.9, 4, 2.25, 1.0, 0.85),
        (0.9, 4, 0.25, 1.0, 0.70),
        (0.9, 4, 0.56, 1.0, 0.75),
        (0.9, 4, 1.0, 0.0, 0.79),
        (0.9, 4, 1.0, 2.25, 0.79),
        (0.9, 4, 0.0, 2.0, 0.71),
        (0.9, 4, 0.5, 2.0, 0.76),
        (0.9, 4, 0.0, 9.0, 0.75),
        (0.9, 4, 9.0, 9.0, 0.86),
        (0.9, 4, 0.1, 0.5, 0.60),
        (0.9, 20, 0.0, 1.0, 0.31),
        (0.6, 2, 0.5, 9.0, 0.38),
        (0.9, 4, 2.25, 0.0, 0.86),
    ],
)
def test_the_wait_probabilities_of_whitt(rho, servers, gap_scv, scv, printed) -> None:
    """Whitt (1993), sec. 3, to one unit of the last printed digit."""
    assert queue(rho, servers, gap_scv, scv).wait_probability == pytest.approx(printed, abs=0.01)


@pytest.mark.parametrize(
    ("scv", "printed"),
    [(4.0, (16.26, 1.82, 0.23, 0.01)), (1.5, (8.50, 1.06, 0.15, 0.01)), (0.5, (5.19, 0.68, 0.10, 0.01))],
)
def test_the_queue_lengths_of_kimura(scv: float, printed: tuple[float, ...]) -> None:
    """Kimura (1994), table 1, M/G/5; his M/D/5 is Cosmetatos', ours exact."""
    for rho, length in zip((0.9, 0.7, 0.5, 0.3), printed, strict=True):
        assert queue(rho, 5, 1.0, scv, Formula.KIMURA).queue_length_mean == pytest.approx(length, abs=0.01)


@pytest.mark.parametrize(
    ("servers", "mean_s", "rho", "printed"),
    [
        (2, 1.0, 0.9, 2.1445),
        (2, 1.0, 0.7, 0.4916),
        (2, 1.0, 0.5, 0.1757),
        (2, 1.0, 0.3, 0.0557),
        (4, 1.0, 0.7, 0.1890),
        (4, 1.0, 0.5, 0.0494),
        (25, 100.0, 0.9, 10.7922),
        (25, 100.0, 0.8, 2.3845),
        (50, 100.0, 0.9, 3.9838),
        (50, 100.0, 0.8, 0.5275),
    ],
)
def test_constant_service_as_cosmetatos(servers: int, mean_s: float, rho: float, printed: float) -> None:
    """Kimura (1991), Journal of the Operational Research Society 42(7), table 1."""
    assert queue(rho, servers, 1.0, 0.0, mean_s=mean_s).wait_mean_s == pytest.approx(printed, abs=5.1e-5)


def _erlang_c(rho: mp.mpf, servers: int) -> mp.mpf:
    blocked = mp.mpf(1)
    for k in range(1, servers + 1):
        blocked = rho * servers * blocked / (k + rho * servers * blocked)
    return blocked / (1 - rho * (1 - blocked))


def _whitt_ratio(rho: mp.mpf, c: int, ca2: mp.mpf, cs2: mp.mpf) -> mp.mpf:
    """Whitt (1993), eq. 2.16-2.25; eq. 2.20 for D/M/c, Pollaczek-Khinchine for M/G/1."""
    gamma = min(mp.mpf("0.24"), (1 - rho) * (c - 1) * (mp.sqrt(4 + 5 * c) - 2) / (16 * c * rho))
    phi1, phi3 = 1 + gamma, (1 - 4 * gamma) * mp.exp(-2 * (1 - rho) / (3 * rho))
    if (ca2, cs2) == (0, 1):
        return phi3
    if (c, ca2) == (1, 1):
        return mp.mpf(1)
    mixed = (ca2 + cs2) / 2
    psi = mp.mpf(1) if mixed >= 1 else min(mp.mpf(1), (phi1 + phi3) / 2) ** (2 * (1 - mixed))
    if ca2 >= cs2:
        below = 4 * ca2 - 3 * cs2
        return 4 * (ca2 - cs2) / below * phi1 + cs2 / below * psi
    below = 2 * ca2 + 2 * cs2
    return (cs2 - ca2) / below * phi3 + (cs2 + 3 * ca2) / below * psi


def _whitt_probability(rho: mp.mpf, c: int, ca2: mp.mpf, cs2: mp.mpf) -> mp.mpf:
    """Whitt (1993), eq. 3.5-3.11."""
    erlang = _erlang_c(rho, c)
    if ca2 == 1:
        return erlang
    root = (1 - rho) * mp.sqrt(c)

    def above(x: mp.mpf) -> mp.mpf:
        return mp.erfc(x / mp.sqrt(2)) / 2

    pi4 = min(mp.mpf(1), erlang * above((1 + cs2) * root / (ca2 + cs2)) / above(root))
    pi5 = min(mp.mpf(1), erlang * above(2 * root / (1 + ca2)) / above(root))
    pi1 = rho**2 * pi4 + (1 - rho**2) * pi5
    gap = (c - c * rho - mp.mpf(1) / 2) / mp.sqrt(c * rho * (ca2 + cs2) / (1 + cs2))
    pi2 = ca2 * pi1 + (1 - ca2) * above(gap)
    t = 2 * (1 - ca2) * (gap - mp.mpf(1) / 2)
    if c <= 6 or gap <= 0.5 or ca2 >= 1:
        return pi1
    return pi2 if gap >= 1 else t * pi2 + (1 - t) * pi1


@laws
@given(rhos, counts, scvs, scvs)
def test_means_and_probabilities_as_printed(rho: float, servers: int, gap_scv: float, scv: float) -> None:
    whitt, plain = (queue(rho, servers, gap_scv, scv, formula) for formula in (Formula.WHITT, ANY_GAPS[0]))
    with mp.workdps(40):
        load, ca2, cs2 = mp.mpf(whitt.utilization), mp.mpf(gap_scv), mp.mpf(scv)
        markov = _erlang_c(load, servers) / (servers * (1 - load))
        mean = markov * (ca2 + cs2) / 2
        if mean == 0:
            assert whitt.wait_mean_s == whitt.wait_probability == plain.wait_mean_s == 0.0
            return
        # 1 - rho of a rounded rho: what is lost near 1 is lost before the formula
        allowed = CLAIM + 1e-15 / (1.0 - rho)
        assert plain.wait_mean_s == pytest.approx(float(mean), rel=allowed)
        assert plain.wait_probability == pytest.approx(float(_erlang_c(load, servers)), rel=allowed)
        ratio = _whitt_ratio(load, servers, ca2, cs2)
        assert whitt.wait_mean_s == pytest.approx(float(mean * ratio), rel=allowed)
        waited = float(_whitt_probability(load, servers, ca2, cs2))
        assert whitt.wait_probability == pytest.approx(waited, rel=allowed, abs=1e-300)


@pytest.mark.parametrize(
    ("rho", "servers", "gap_scv"),
    [(0.98, 20, 0.3), (0.92, 20, 0.3), (0.5, 20, 0.3), (0.8, 7, 0.9), (0.3, 6, 0.2)],
)
def test_each_case_of_the_wait_probability(rho: float, servers: int, gap_scv: float) -> None:
    """Gap of eq. 3.5 below 1/2, between, above 1; few servers."""
    with mp.workdps(40):
        expected = _whitt_probability(mp.mpf(rho), servers, mp.mpf(gap_scv), mp.mpf(2))
    assert queue(rho, servers, gap_scv, 2.0).wait_probability == pytest.approx(float(expected), rel=1e-12)


@laws
@given(rhos, counts, st.one_of(st.just(0.0), st.floats(0.01, 30.0)))
def test_kimura_and_tijms_as_printed(rho: float, servers: int, scv: float) -> None:
    kimura, tijms = (queue(rho, servers, 1.0, scv, formula) for formula in (Formula.KIMURA, Formula.TIJMS))
    rate = 1.0 / kimura.arrival.mean_s
    fixed = MDc(arrival_rate_rps=rate, service_time_s=1.0, servers=servers)
    markov = MMc(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers)
    m, d, c2 = mp.mpf(markov.wait_mean_s), mp.mpf(fixed.wait_mean_s), mp.mpf(scv)
    assert kimura.wait_mean_s == pytest.approx(float((1 + c2) / (2 * c2 / m + (1 - c2) / d)), rel=1e-12)
    assert tijms.wait_mean_s == pytest.approx(float(c2 * m + (1 - c2) * d), rel=1e-12)
    assert kimura.wait_probability == tijms.wait_probability == markov.wait_probability
    for share in (0.3, 0.9, 0.999):  # of those who wait
        quantile = 1.0 - markov.wait_probability * (1.0 - share)
        if quantile == 1.0:
            continue
        of_fixed = fixed.wait_quantile_s(
            1.0 - (1.0 - quantile) / markov.wait_probability * fixed.wait_probability
        )
        of_markov = markov.wait_quantile_s(quantile)
        expected = max(0.0, (1.0 - scv) * of_fixed + scv * of_markov)
        room = 1e-16 / (markov.wait_probability * (1.0 - share)) * (1.0 + scv) * markov.wait_mean_s
        allowed = 1e-9 * (scv * of_markov + of_fixed) + 1e3 * room / markov.wait_probability
        assert tijms.wait_quantile_s(quantile) == pytest.approx(expected, abs=allowed)


@pytest.mark.parametrize("scv", [0.2, 0.49, 0.5, 0.500001, 0.7, 0.98, 0.995, 1.0, 1.005, 1.02, 3.0, 40.0])
def test_a_delay_has_its_mean_and_variability(scv: float) -> None:
    """By areas: Whitt (1983), sec. 5; Erlang-2 below 1/2, exponential within 0.01 of 1."""
    delay = delay_of(2.0, scv)
    with mp.workdps(30):
        cuts = [0, 1, 10, 100, 3000]

        def tail(t: mp.mpf) -> mp.mpf:
            return mp.mpf(float(delay.tail(np.array(float(t)))))

        def weighted(t: mp.mpf) -> mp.mpf:
            return 2 * t * tail(t)

        first, second = mp.quad(tail, cuts), mp.quad(weighted, cuts)
    assert float(first) == pytest.approx(2.0, rel=1e-9)
    expected = 1.0 if abs(scv - 1.0) <= 0.01 else max(scv, 0.5)
    assert float(second / first**2 - 1) == pytest.approx(expected, rel=1e-9)
    times, step = np.array([0.3, 2.0, 9.0]), 1e-5
    slope = (delay.tail(times - step) - delay.tail(times + step)) / (2.0 * step)
    assert delay.density(times) == pytest.approx(slope, rel=1e-8)


def test_two_stages_that_are_nearly_alike() -> None:
    """Erlang-2 at a gap of 0, and no jump beside it."""
    for gap in (0.0, 1e-12, 1e-6):
        tail = float(Series(slow=3.0, gap=gap).tail(np.array(0.7)))
        assert tail == pytest.approx(math.exp(-2.1) * 3.1, rel=1e-6)
    assert float(Series(slow=3.0, gap=0.0).tail(np.array(0.7))) == pytest.approx(
        math.exp(-2.1) * 3.1, rel=1e-14
    )
    expected = (5.0 * math.exp(-2.1) - 3.0 * math.exp(-3.5)) / 2.0
    assert float(Series(slow=3.0, gap=2.0).tail(np.array(0.7))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scv", [0.0, 0.5, 1.0, 4.0])
def test_variability_of_a_delay_of_one_server(rho: float, scv: float) -> None:
    """Eq. 4.2 is Pollaczek and Khinchine's second moment, third moments as of H2 or Erlang laws."""
    third = 3.0 * scv * (1.0 + scv) if scv >= 1.0 else (2.0 * scv + 1.0) * (scv + 1.0)
    mean = rho * (1.0 + scv) / (2.0 * (1.0 - rho))
    square = 2.0 * mean**2 + rho * third / (3.0 * (1.0 - rho))
    assert delay_scv(rho, scv) == pytest.approx(square / rho / (mean / rho) ** 2 - 1.0, rel=1e-13)


@pytest.mark.parametrize(
    "service",
    [
        law(4e-4),
        law(0.01),
        law(0.3),
        law(1.0),
        law(20.0),
        law(0.02, family=Family.LOGNORMAL),
        law(5.0, family=Family.LOGNORMAL),
        law(0.25, family=Family.ERLANG),
        law(9.0, family=Family.HYPEREXPONENTIAL),
    ],
    ids=str,
)
@pytest.mark.parametrize("spread", [0.6, 4.0])
def test_delay_and_service_added_up(service: Duration, spread: float) -> None:
    """By tanh-sinh quadrature instead of Gauss-Legendre."""
    delay = delay_of(0.8, spread)
    for time in (1e-3, 0.9, 1.2, 7.0):

        def joined(x: mp.mpf, time: float = time) -> mp.mpf:
            density = float(delay.density(np.array(float(time - x))))
            return mp.mpf(density * float(service.tail(np.array(float(x)))))

        steep = [1.0 + k * math.sqrt(service.variability) / 2.0 for k in range(-16, 17)]
        cuts = [0.0, *(x for x in sorted({*steep, 1e-9, 1e-6, 1e-3, 0.1}) if 0.0 < x < time), time]
        expected = float(delay.tail(np.array(time))) + float(mp.quad(joined, cuts))
        assert sum_tail(delay, service, time) == pytest.approx(expected, rel=CLAIM)


@pytest.mark.parametrize("formula", ANY_GAPS)
@pytest.mark.parametrize(("gap_scv", "scv"), [(1.0, 0.3), (0.2, 1.0), (3.0, 2.0), (0.4, 0.0)])
def test_areas_under_the_tails_are_the_means(formula: Formula, gap_scv: float, scv: float) -> None:
    model = queue(0.8, 3, gap_scv, scv, formula)
    cuts = [0.0, *(2.0**k for k in range(-40, 9))]
    for tail, mean in ((model.wait_tail, model.wait_mean_s), (model.response_tail, model.response_mean_s)):
        area = sum(_gauss(tail, low, high) for low, high in pairwise(cuts))
        assert area == pytest.approx(mean, rel=1e-8)


def _gauss(function, low: float, high: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(12)
    times = low + (high - low) / 2.0 * (nodes + 1.0)
    return float(
        (high - low) / 2.0 * sum(w * function(float(t)) for w, t in zip(weights, times, strict=True))
    )


@pytest.mark.parametrize(("rho", "servers"), list(product((1e-4, 0.3, 0.9, 0.999), (1, 2, 10, 50))))
@pytest.mark.parametrize("formula", list(Formula))
def test_all_are_exact_for_exponential_laws(rho: float, servers: int, formula: Formula) -> None:
    model = queue(rho, servers, 1.0, 1.0, formula, mean_s=0.25)
    known = MMc(arrival_rate_rps=1.0 / model.arrival.mean_s, service_rate_rps=4.0, servers=servers)
    for name in ("utilization", "wait_probability", "queue_length_mean", "in_system_mean", "offered_load"):
        assert getattr(model, name) == pytest.approx(getattr(known, name), rel=CLAIM)
    for name in ("wait_mean_s", "response_mean_s"):
        assert getattr(model, name) == pytest.approx(getattr(known, name), rel=CLAIM)
    if formula is not Formula.KIMURA:
        assert model.wait_quantile_s(0.99) == pytest.approx(known.wait_quantile_s(0.99), rel=1e-9)
    if formula in ANY_GAPS:
        assert model.response_quantile_s(0.99) == pytest.approx(known.response_quantile_s(0.99), rel=1e-9)
    assert set(model.performance().relative_error_max.values()) == {0.0}


@laws
@given(
    st.floats(1e-4, 0.999), st.one_of(st.just(0.0), st.floats(0.01, 100.0)), st.sampled_from(list(Formula))
)
def test_one_server_has_the_mean_of_pollaczek_and_khinchine(rho: float, scv: float, formula: Formula) -> None:
    model = queue(rho, 1, 1.0, scv, formula)
    known = MG1(arrival_rate_rps=1.0 / model.arrival.mean_s, service=model.service)
    allowed = CLAIM + 1e-14 * scv / (1.0 - rho)  # kimura: the difference of two large numbers
    assert model.wait_mean_s == pytest.approx(known.wait_mean_s, rel=allowed)
    assert model.wait_probability == pytest.approx(known.wait_probability, rel=CLAIM)


@pytest.mark.parametrize(("rho", "servers"), [(0.3, 2), (0.7, 5), (0.95, 20)])
def test_constant_service_is_exact_for_kimura_and_tijms(rho: float, servers: int) -> None:
    kimura, tijms = (queue(rho, servers, 1.0, 0.0, formula) for formula in (Formula.KIMURA, Formula.TIJMS))
    known = MDc(arrival_rate_rps=1.0 / tijms.arrival.mean_s, service_time_s=1.0, servers=servers)
    assert kimura.wait_mean_s == pytest.approx(known.wait_mean_s, rel=CLAIM)
    assert tijms.wait_mean_s == pytest.approx(known.wait_mean_s, rel=CLAIM)


def test_nothing_varies_nobody_waits() -> None:
    for formula in ANY_GAPS:
        model = queue(0.9, 3, 0.0, 0.0, formula, mean_s=2.0)
        assert model.wait_probability == model.wait_mean_s == model.queue_length_mean == 0.0
        assert model.wait_quantile_s(0.9999) == model.wait_tail(0.0) == 0.0
        assert model.response_quantile_s(0.5) == model.response_quantile_s(0.9999) == 2.0


@pytest.mark.parametrize("formula", ANY_GAPS)
def test_heavy_traffic(formula: Formula) -> None:
    """Kingman (1962): (1 - rho) E W tends to (ca^2 + cs^2) / (2 c), whatever the servers."""
    for servers, gap_scv, scv in ((1, 3.0, 0.5), (4, 0.2, 2.0), (20, 0.5, 0.5)):
        model = queue(1.0 - 1e-6, servers, gap_scv, scv, formula)
        spare = 1.0 - model.utilization
        assert model.wait_mean_s * spare * servers == pytest.approx((gap_scv + scv) / 2.0, rel=1e-4)


def gamma_phases(scv: float, count: int) -> PhaseService:
    """Mixture of exponentials with the first 2 n - 1 moments of a gamma law, by Gauss quadrature."""
    with mp.workdps(50):
        moments = [mp.mpf(1)]
        for j in range(2 * count):
            moments.append(moments[-1] * (1 + j * mp.mpf(scv)) / (j + 1))
        hankel = mp.matrix(count, count)
        for i, j in product(range(count), repeat=2):
            hankel[i, j] = moments[i + j]
        monic = mp.lu_solve(hankel, mp.matrix([-moments[count + i] for i in range(count)]))
        means = mp.polyroots([*monic, 1], asc=True, maxsteps=200, extraprec=200)
        powers = mp.matrix(count, count)
        for i, j in product(range(count), repeat=2):
            powers[i, j] = mp.re(means[j]) ** i
        shares = mp.lu_solve(powers, mp.matrix(moments[:count]))
    pairs = sorted((float(mp.re(mean)), float(share)) for mean, share in zip(means, shares, strict=True))
    start = np.array([share for _, share in pairs])
    return PhaseService(
        start=start / start.sum(), moves=np.zeros((count, count)), exits=1.0 / np.array([m for m, _ in pairs])
    )


def met(rho: float, servers: int, gaps: PhaseService | None, service: PhaseService) -> Waits:
    """The exact queue, in mean services."""
    rate = rho * servers
    arrivals = MarkovArrivals(hidden=np.zeros((1, 1)), marked=np.array([[rate]]))
    if gaps is not None:
        arrivals = MarkovArrivals(hidden=gaps.moves * rate, marked=np.outer(gaps.exits * rate, gaps.start))
    return solve(arrivals, service, servers, servers * (1.0 - rho))


def shares_off(model: GGc, exact: Waits) -> dict[str, float]:
    """Relative errors of whatever the formula has."""
    answer = model.performance((0.99,))
    pairs = {
        "wait_probability": (answer.wait_probability, exact.wait_probability),
        "wait_mean_s": (answer.wait_mean_s, exact.wait_mean),
        "response_mean_s": (answer.response_mean_s, 1.0 + exact.wait_mean),
    }
    if answer.wait_quantiles_s:
        truth = quantile_of(exact.wait_tail, 0.99, 1.0)
        pairs["wait_quantiles_s"] = (answer.wait_quantiles_s[0.99].value, truth)
    if answer.response_quantiles_s:
        truth = quantile_of(exact.response_tail, 0.99, 1.0)
        pairs["response_quantiles_s"] = (answer.response_quantiles_s[0.99].value, truth)
    return {name: abs(value / truth - 1.0) for name, (value, truth) in pairs.items()}


def phases(law_: Duration, count: int) -> PhaseService:
    if law_.family is Family.GAMMA and law_.variability > 1.0:
        return gamma_phases(law_.variability, count)
    return PhaseService.of(law_)


ERLANG, HYPER, GAMMA = Family.ERLANG, Family.HYPEREXPONENTIAL, Family.GAMMA
POISSON = (GAMMA, 1.0)
# servers, gaps, service, utilization, and the formulas and fields whose largest error this is
CORNERS = [
    (5, POISSON, (HYPER, 9.0), 0.7, {"allen-cunneen": "wait_mean_s response_mean_s", "tijms": "wait_mean_s"}),
    (
        1,
        POISSON,
        (HYPER, 9.0),
        0.7,
        {"allen-cunneen": "wait_quantiles_s response_quantiles_s", "tijms": "wait_quantiles_s"},
    ),
    (5, POISSON, (GAMMA, 9.0), 0.7, {"kimura": "wait_mean_s response_mean_s", "whitt": "wait_mean_s"}),
    (1, POISSON, (GAMMA, 9.0), 0.7, {"whitt": "wait_quantiles_s response_quantiles_s"}),
    (
        20,
        POISSON,
        (HYPER, 9.0),
        0.7,
        {
            "allen-cunneen": "wait_mean_s wait_quantiles_s",
            "whitt": "wait_mean_s wait_quantiles_s",
            "tijms": "wait_mean_s wait_quantiles_s",
        },
    ),
    (20, POISSON, (GAMMA, 9.0), 0.7, {"kimura": "wait_mean_s"}),
    (5, (ERLANG, 0.25), (ERLANG, 0.5), 0.7, {"allen-cunneen": "wait_probability wait_mean_s"}),
    (5, (ERLANG, 0.25), (GAMMA, 4.0), 0.7, {"whitt": "wait_probability"}),
    (5, (GAMMA, 4.0), (ERLANG, 0.5), 0.7, {"whitt": "wait_mean_s wait_quantiles_s response_quantiles_s"}),
    (4, (GAMMA, 4.0), (ERLANG, 0.5), 0.7, {"allen-cunneen": "response_mean_s", "whitt": "response_mean_s"}),
    (1, (HYPER, 4.0), (ERLANG, 0.5), 0.7, {"allen-cunneen": "wait_quantiles_s response_quantiles_s"}),
    (
        20,
        (ERLANG, 0.25),
        (ERLANG, 0.5),
        0.7,
        {"allen-cunneen": "wait_probability wait_mean_s wait_quantiles_s", "whitt": "wait_mean_s"},
    ),
]


@pytest.mark.parametrize(("servers", "gaps", "service", "rho", "worst"), CORNERS, ids=str)
def test_errors_are_the_largest_that_were_met(servers, gaps, service, rho, worst) -> None:
    """No formula is further off than it says, and somewhere it is as far off."""
    gap, served = law(gaps[1], 1.0 / (rho * servers), gaps[0]), law(service[1], 1.0, service[0])
    count = 4 if servers <= 5 else 3
    exact = met(rho, servers, None if gaps is POISSON else phases(gap, count), phases(served, count))
    for formula in Formula if gaps is POISSON else ANY_GAPS:
        model = GGc(arrival=gap, service=served, servers=servers, formula=formula)
        off, stated = shares_off(model, exact), model.performance((0.99,)).relative_error_max
        for name, share in off.items():
            assert share <= stated[name]
        for name in worst.get(str(formula), "").split():
            assert off[name] >= 0.91 * stated[name]


@pytest.mark.parametrize("rho", [0.7, 0.8, 0.95])
@pytest.mark.parametrize("servers", [1, 4, 12])
def test_errors_hold_between_the_points_at_which_they_were_measured(rho: float, servers: int) -> None:
    """Against the laws of M/D/c, M/PH/c and GI/M/c."""
    for family, scv in ((ERLANG, 0.5), (HYPER, 3.0), (HYPER, 7.0)):
        gap, service = law(1.0, 1.0 / (rho * servers)), law(scv, 1.0, family)
        known = MPHc(arrival_rate_rps=rho * servers, service=service, servers=servers)
        _holds(gap, service, servers, known, Formula)
    known = MDc(arrival_rate_rps=rho * servers, service_time_s=1.0, servers=servers)
    _holds(law(1.0, 1.0 / (rho * servers)), law(0.0), servers, known, Formula)
    for family, scv in ((ERLANG, 1 / 3), (GAMMA, 2.0), (HYPER, 3.0)):
        gap = law(scv, 1.0 / (rho * servers), family)
        known = GIMc(arrival=gap, service_rate_rps=1.0, servers=servers)
        _holds(gap, law(1.0), servers, known, ANY_GAPS)


def _holds(gap: Duration, service: Duration, servers: int, known, formulas) -> None:
    truth = known.performance((0.99,))
    for formula in formulas:
        answer = GGc(arrival=gap, service=service, servers=servers, formula=formula).performance((0.99,))
        for name, share in answer.relative_error_max.items():
            here, there = getattr(answer, name), getattr(truth, name)
            if name.endswith("quantiles_s"):
                here, there = here[0.99].value, there[0.99].value
            assert abs(here - there) <= share * there * (1.0 + 1e-9), (formula, name, gap, service)


def test_where_nobody_looked_the_error_is_infinite() -> None:
    gap, service = law(1.0), law(4.0)

    def stated(gap: Duration, service: Duration, servers: int, rho: float) -> float:
        return errors_measured(Formula.WHITT, gap, service, servers, rho)["wait_mean_s"]

    assert stated(gap, service, 5, 0.7) == 0.13
    assert stated(gap, service, 6, 0.7) == stated(gap, service, 20, 0.9) == 0.30
    assert stated(law(4.0), service, 5, 0.7) == stated(law(0.25), law(0.5), 5, 0.7) == 0.35
    for unseen in (
        (gap, service, 5, 0.69),
        (gap, service, 21, 0.8),
        (gap, law(9.1), 5, 0.8),
        (law(4.1), service, 5, 0.8),
        (law(0.24), service, 5, 0.8),
        (law(2.0), law(0.49), 5, 0.8),
        (law(2.0), law(4.1), 5, 0.8),
        (gap, law(2.0, family=Family.LOGNORMAL), 5, 0.8),
        (Duration(family=Family.LOGNORMAL, mean_s=1.0, scv=1.0), service, 5, 0.8),
    ):
        assert stated(*unseen) == math.inf


def test_two_moments_do_not_decide_a_percentile() -> None:
    """Why lognormal services are not among the measured ones."""
    service = law(9.0, family=Family.LOGNORMAL)
    model = GGc(arrival=law(1.0, 1.0 / 0.7), service=service, servers=1)
    known = MG1(arrival_rate_rps=0.7, service=service)
    assert abs(model.wait_quantile_s(0.99) / known.wait_quantile_s(0.99) - 1.0) > 0.25
    assert model.performance().relative_error_max["wait_quantiles_s"] == math.inf


@laws
@given(st.floats(0.05, 0.9), counts, scvs, scvs, st.sampled_from(ANY_GAPS))
def test_more_load_and_more_variability_wait_longer(rho, servers, gap_scv, scv, formula) -> None:
    model = queue(rho, servers, gap_scv, scv, formula)
    assert queue(rho + 0.05, servers, gap_scv, scv, formula).wait_mean_s >= model.wait_mean_s
    assert queue(rho, servers, gap_scv, scv + 1.0, formula).wait_mean_s >= model.wait_mean_s * (1.0 - 1e-12)
    assert 0.0 <= model.wait_probability <= 1.0


@pytest.mark.parametrize("formula", list(Formula))
def test_performance_says_the_same(formula: Formula) -> None:
    """Never exact, and silent about what the formula has not."""
    model = queue(0.8, 4, 1.0, 2.0, formula, mean_s=0.5)
    answer = model.performance((0.99, 0.5))
    assert answer.kind is Kind.APPROXIMATION
    assert answer.load == answer.utilization == model.utilization == pytest.approx(0.8)
    names = ("wait_probability", "queue_length_mean", "in_system_mean", "wait_mean_s", "response_mean_s")
    for name in (*names, "offered_load"):
        assert getattr(answer, name) == getattr(model, name)
    quantiles = [] if formula is Formula.KIMURA else [0.5, 0.99]
    assert list(answer.wait_quantiles_s) == quantiles
    assert list(answer.response_quantiles_s) == (quantiles if formula in ANY_GAPS else [])
    for quantile in quantiles:
        assert answer.wait_quantiles_s[quantile].value == model.wait_quantile_s(quantile)
    for quantile in answer.response_quantiles_s:
        assert answer.response_quantiles_s[quantile].value == model.response_quantile_s(quantile)
    stated = {*names, *(n for n in ("wait_quantiles_s", "response_quantiles_s") if getattr(answer, n))}
    assert set(answer.relative_error_max) == stated
    assert all(0.0 < error < math.inf for error in answer.relative_error_max.values())


@pytest.mark.parametrize("formula", [Formula.KIMURA, Formula.TIJMS])
def test_formulas_for_poisson_arrivals(formula: Formula) -> None:
    for gap in (law(2.0, 100.0), law(0.0, 100.0), Duration(family=Family.LOGNORMAL, mean_s=100.0, scv=1.0)):
        with pytest.raises(
            DomainError, match=f"{formula} is for Poisson arrivals, got gaps of .*; use whitt"
        ):
            GGc(arrival=gap, service=law(2.0), servers=2, formula=formula)
    poisson = Duration(family=Family.HYPEREXPONENTIAL, mean_s=100.0, scv=1.0)
    assert GGc(arrival=poisson, service=law(2.0), servers=2, formula=formula).wait_mean_s > 0.0
    model = queue(0.5, 2, 1.0, 2.0, formula)
    for name in ("wait_tail", "response_tail"):
        with pytest.raises(DomainError, match=f"{formula} gives no {name}; use whitt"):
            getattr(model, name)(1.0)
    with pytest.raises(DomainError, match=f"{formula} gives no response_quantile_s; use whitt"):
        model.response_quantile_s(0.9)


def test_kimura_has_only_a_mean() -> None:
    with pytest.raises(DomainError, match="kimura gives no wait_quantile_s; use whitt"):
        queue(0.5, 2, 1.0, 2.0, Formula.KIMURA).wait_quantile_s(0.9)


def test_what_is_no_formula_and_no_duration() -> None:
    with pytest.raises(DomainError, match="formula must be one of allen-cunneen, .*got 'kingman'"):
        GGc(arrival=law(1.0, 2.0), service=law(1.0), servers=1, formula="kingman")
    assert GGc(arrival=law(1.0, 2.0), service=law(1.0), servers=1, formula="tijms").formula is Formula.TIJMS
    with pytest.raises(DomainError, match="service must be a Duration, got 1"):
        GGc(arrival=law(1.0, 2.0), service=1, servers=1)
    with pytest.raises(DomainError, match="arrival must be a Duration, got None"):
        GGc(arrival=None, service=law(1.0), servers=1)
