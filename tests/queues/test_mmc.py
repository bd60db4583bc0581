"""M/M/c against a textbook's clinic, birth-death sums at 60 digits, and by its own laws."""

import math
from itertools import accumulate

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import UnstableError
from capacity.queues.markov.mmc import MMc, log_response_tail

CLAIM = 1e-12
laws = settings(derandomize=True, deadline=None)


def queue(arrival: float, service: float, servers: int) -> MMc:
    return MMc(arrival_rate_rps=arrival, service_rate_rps=service, servers=servers)


class Exact:
    """The same queue at 60 digits from sums of births and deaths and the textbook's two-term law.

    The two terms cancel where the spare rate is near the service rate; 60 digits carry that.
    """

    def __init__(self, model: MMc) -> None:
        with mp.workdps(60):
            self.mu = mp.mpf(model.service_rate_rps)
            self.load = mp.mpf(model.arrival_rate_rps) / self.mu
            self.spare = model.servers - self.load
            term, total, left = mp.mpf(1), mp.mpf(0), model.servers
            while left > 0 and (left > self.load or term > total * mp.mpf(10) ** -35):
                total, term, left = total + term, term * left / self.load, left - 1
            loss = 1 / (total + term)
            self.waiting = loss / (1 - self.load / model.servers * (1 - loss))

    def response_tail(self, time_s: float) -> mp.mpf:
        with mp.workdps(90):
            x, s = self.mu * mp.mpf(time_s), self.spare
            if s == 1:
                return mp.exp(-x) * (1 + self.waiting * x)
            late = (s * mp.exp(-x) - mp.exp(-s * x)) / (s - 1)
            return (1 - self.waiting) * mp.exp(-x) + self.waiting * late

    def error_of_response_quantile(self, time_s: float, quantile: float) -> float:
        """Relative distance to the root, by one Newton step in log P(T > t)."""
        with mp.workdps(60):
            t = mp.mpf(time_s)
            step = t * mp.mpf(10) ** -20
            logs = [mp.log(self.response_tail(t + k * step)) for k in (-1, 0, 1)]
            slope = (logs[2] - logs[0]) / (2 * step)
            return float(abs((logs[1] - mp.log(1 - mp.mpf(quantile))) / slope / t))


CORNERS = [
    (1e-6, 1.0, 1),
    (1e-6, 1.0, 3),
    (9.0, 5.0, 2),
    (9e-8, 1e-8, 10),  # spare rate = service rate, but for rounding
    (9.0, 1.0, 10),
    (math.nextafter(9.0, 10.0), 1.0, 10),
    (math.nextafter(9.0, 8.0), 1.0, 10),
    (9.0 + 1e-9, 1.0, 10),
    (9.0 - 1e-9, 1.0, 10),
    (9.0 + 1e-5, 1.0, 10),
    (9.0 - 1e-3, 1.0, 10),
    (0.999, 1.0, 1),
    (0.999999, 1.0, 1),
    (1.999998, 1.0, 2),
    (99.9999, 1.0, 100),
    (63e12, 1e12, 70),
    (63e-12, 1e-12, 70),
    (999_000.0, 1.0, 1_000_000),
    (999_999.0, 1.0, 1_000_000),  # utilization 0.999999 and s = 1
    (1e6, 1.0, 1_001_000),
    (1e6, 1.0, 1_020_000),
    (1e5, 0.1, 1_020_000),  # 0.1 is not a tenth: the load is rounded
    (369_999.63, 0.37, 1_000_000),  # and so would be the spare server, from a rounded load
    (0.99999 * 0.7, 0.7, 1),
]


@pytest.mark.parametrize(("arrival", "service", "servers"), CORNERS)
def test_all_numbers_at_sixty_digits(arrival: float, service: float, servers: int) -> None:
    model = queue(arrival, service, servers)
    exact = Exact(model)
    with mp.workdps(60):
        wait_mean = exact.waiting / exact.spare / exact.mu
        for value, truth in (
            (model.offered_load, exact.load),
            (model.utilization, exact.load / servers),
            (model.wait_probability, exact.waiting),
            (model.wait_mean_s, wait_mean),
            (model.response_mean_s, wait_mean + 1 / exact.mu),
            (model.queue_length_mean, wait_mean * mp.mpf(arrival)),
            (model.in_system_mean, wait_mean * mp.mpf(arrival) + exact.load),
        ):
            assert abs(value / truth - 1) < CLAIM
        for quantile in (0.5, 0.9, 0.99, 0.9999, 1 - 1e-9):
            time_s = model.response_quantile_s(quantile)
            assert exact.error_of_response_quantile(time_s, quantile) < CLAIM
            for t in (0.3 * time_s, time_s, 7 * time_s):
                assert abs(model.response_tail(t) / exact.response_tail(t) - 1) < CLAIM
                tail = exact.waiting * mp.exp(-exact.spare * exact.mu * mp.mpf(t))
                assert tail < 1e-300 or abs(model.wait_tail(t) / tail - 1) < CLAIM
            log_ratio = mp.log(exact.waiting / (1 - mp.mpf(quantile)))
            wait = max(mp.mpf(0), log_ratio / exact.spare / exact.mu)
            # near the atom the logarithm is a difference, as far as its two terms are rounded
            scale = max(1, -mp.log(1 - mp.mpf(quantile))) / exact.spare / exact.mu
            assert abs(model.wait_quantile_s(quantile) - wait) < CLAIM * max(wait, scale)


def test_the_clinic_of_gross_and_harris() -> None:
    """Gross et al. (2008), sec. 2.3: 6 patients an hour, 3 doctors, 20 minutes each; in hours."""
    clinic = queue(6.0, 3.0, 3)
    assert clinic.empty_probability == pytest.approx(1 / 9, rel=CLAIM)
    assert clinic.queue_length_mean == pytest.approx(8 / 9, rel=CLAIM)
    assert clinic.wait_mean_s * 60 == pytest.approx(8.88, abs=0.01)
    assert clinic.response_mean_s * 60 == pytest.approx(28.9, abs=0.05)
    assert clinic.in_system_mean == pytest.approx(26 / 9, rel=CLAIM)


@pytest.mark.parametrize(("load", "servers"), [(0.5, 1), (9.0, 10), (2.2, 5), (99.9, 100)])
def test_birth_and_death(load: float, servers: int) -> None:
    """Ratios lambda / (mu min(n, c)) multiplied up state by state, summed as they stand."""
    model = queue(load, 1.0, servers)
    weights = list(accumulate((load / min(n, servers) for n in range(1, 60_000)), lambda x, y: x * y))
    weights.insert(0, 1.0)
    total = math.fsum(weights)
    assert model.empty_probability == pytest.approx(1 / total, rel=CLAIM)
    assert model.wait_probability == pytest.approx(math.fsum(weights[servers:]) / total, rel=CLAIM)
    queued = math.fsum((n - servers) * w for n, w in enumerate(weights) if n > servers) / total
    assert model.queue_length_mean == pytest.approx(queued, rel=CLAIM)


def test_empty_probability_at_many_servers() -> None:
    assert queue(600.0, 1.0, 700).empty_probability == pytest.approx(math.exp(-600), rel=1e-4)
    assert queue(800.0, 1.0, 900).empty_probability == 0.0


@pytest.mark.parametrize(
    ("load", "servers"), [(0.5, 1), (1.8, 2), (9.0, 10), (8.999, 10), (50.0, 80), (999.0, 1000)]
)
def test_the_law_is_wait_density_convolved_with_service(load: float, servers: int) -> None:
    """P(T > t) = P(S > t) + integral over service x of P(W > t - x); its area is the mean."""
    model = queue(load, 1.0, servers)
    for time_s in (0.1, 1.0, 5.0):
        area = mp.quad(
            lambda x, t=time_s: mp.exp(-x) * model.wait_tail(float(t - x)), [0, time_s / 2, time_s]
        )
        assert model.response_tail(time_s) == pytest.approx(float(area) + math.exp(-time_s), rel=1e-11)
    ends = [k * model.response_quantile_s(0.9) for k in (0, 0.1, 0.5, 1, 2, 4, 8, 16)]
    mean = float(mp.quad(lambda t: model.response_tail(float(t)), ends))
    assert model.response_mean_s == pytest.approx(mean, rel=1e-11)


@pytest.mark.parametrize("load", [1.9, 1.99, 1.999, 1.99999])
@pytest.mark.parametrize("quantile", [0.001, 0.01, 0.1])
def test_low_quantiles_under_heavy_load(load: float, quantile: float) -> None:
    """There service alone moves a response by more than the quantile of service."""
    model = queue(load, 1.0, 2)
    tail = model.response_tail(model.response_quantile_s(quantile))
    assert tail == pytest.approx(1.0 - quantile, rel=CLAIM)


@laws
@given(st.integers(2, 60), st.floats(-16, -1), st.booleans())
def test_nothing_happens_where_spare_rate_passes_service_rate(servers, power, above) -> None:
    """s = c - a through 1: the tail moves by no more than its slope in s allows."""
    shift = 10.0**power * (1.0 if above else -1.0)
    at, near = queue(servers - 1.0, 1.0, servers), queue(servers - 1.0 + shift, 1.0, servers)
    for time_s in (0.5, 3.0, 20.0):
        moved = near.response_tail(time_s) / at.response_tail(time_s) - 1.0
        assert abs(moved) <= abs(shift) * (1.0 + time_s) * 5.0 + CLAIM


def first(meets: list[bool], start: int) -> int:
    return start + meets.index(True)


def test_nearly_full_is_stable() -> None:
    assert queue(3.99999999, 1.0, 4).response_mean_s == pytest.approx(1e8, rel=1e-6)
    assert queue(4.0 * (1.0 - 2**-50), 1.0, 4).utilization < 1.0
    with pytest.raises(UnstableError):
        queue(1e300, 1e-300, 10**9)


@pytest.mark.parametrize(("load", "servers"), [(1.8, 2.5), (0.2, 0.6), (90.0, 100.25), (7.5, 7.625)])
def test_a_count_that_is_not_whole_interpolates(load: float, servers: float) -> None:
    """Erlang's integral (Jagerman 1974): 1/B = a * integral of e^-at (1 + t)^c, and C and the wait from it."""
    with mp.workdps(30):
        a, c = mp.mpf(load), mp.mpf(servers)
        lost = 1 / (a * mp.quad(lambda t: mp.exp(-a * t) * (1 + t) ** c, [0, 1, 5, 50, mp.inf]))
        waiting = c * lost / (c - a + a * lost)
        wait = waiting / (c - a)
    queue = MMc(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers)
    assert queue.wait_probability == pytest.approx(float(waiting), rel=1e-12)
    assert queue.wait_mean_s == pytest.approx(float(wait), rel=1e-12)
    assert queue.empty_probability is None
    below = MMc(arrival_rate_rps=load, service_rate_rps=1.0, servers=math.ceil(servers))
    assert queue.wait_mean_s > below.wait_mean_s
    with pytest.raises(UnstableError, match="use at least"):
        MMc(arrival_rate_rps=servers, service_rate_rps=1.0, servers=servers)


@pytest.mark.parametrize(
    ("load", "servers", "services"),
    [(1e-300, 0.5, 80.0), (1e-300, 0.5, 900.0), (1e-20, 0.5, 60.0), (1e-8, 0.01, 50.0), (0.4, 0.5, 300.0)],
)
def test_far_tails_of_less_than_one_server(load: float, servers: float, services: float) -> None:
    """The textbook's law where both of its exponentials are small against the slower one alone."""
    queue = MMc(arrival_rate_rps=load, service_rate_rps=1.0, servers=servers)
    with mp.workdps(60):
        a, c, t = mp.mpf(load), mp.mpf(servers), mp.mpf(services)
        lost = a**c * mp.exp(-a) / mp.gammainc(c + 1, a)  # Erlang's integral
        waiting, spare = c * lost / (c - a + a * lost), c - a
        direct, delayed = mp.exp(-t), mp.exp(-spare * t)
        tail = direct + waiting * (delayed - direct) / (1 - spare)
    assert queue.response_tail(services) == pytest.approx(float(tail), rel=1e-12)


def test_the_atom_is_not_missed_by_rounding() -> None:
    """P(W > 0) = 1/10 with a = 1/2 on two servers, and P90 is 0 whatever the unit."""
    for k in range(1, 100):
        queue = MMc(arrival_rate_rps=0.05 * k, service_rate_rps=0.1 * k, servers=2)
        assert queue.wait_quantile_s(0.9) == 0.0
        assert queue.wait_quantile_s(0.9 + 1e-11) > 0.0


def test_far_tails_of_hardly_any_wait() -> None:
    """The first guess of a staffing may see waits that underflow; services alone are left."""
    assert log_response_tail(0.0, 0.5, 80.0) == -80.0
    assert log_response_tail(1e-300, 0.5, 80.0) == pytest.approx(-80.0, rel=1e-14)
    # e^-1600 is nothing beside 1e-300 x 2 (e^-800 - e^-1600)
    expected = math.log(2.0) - 300.0 * math.log(10.0) - 800.0
    assert log_response_tail(1e-300, 0.5, 1600.0) == pytest.approx(expected, rel=1e-14)
