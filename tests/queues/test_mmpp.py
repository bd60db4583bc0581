"""MMPP(2)/M/c against its spectral solution at sixty digits, Takacs's GI/M/c, Poisson, and its own laws."""

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.markov.mmc import MMc

CLAIM = 1e-11
laws = settings(derandomize=True, deadline=None, max_examples=40)
pairs = st.tuples(st.floats(-6.0, 3.0), st.floats(-6.0, 3.0)).map(lambda p: (10.0 ** p[0], 10.0 ** p[1]))


calms = st.one_of(st.just(0.0), st.floats(1e-6, 0.9))


def queue(
    arrivals: tuple[float, float], switches: tuple[float, float], servers: int, service: float = 1.0
) -> MMPPMc:
    return MMPPMc(
        arrival_rates_rps=arrivals, switch_rates_per_s=switches, service_rate_rps=service, servers=servers
    )


def loaded(utilization: float, calm: float, switches: tuple[float, float], servers: int) -> MMPPMc:
    """A queue whose phase 2 has `calm` times the arrivals of phase 1, at a utilization."""
    share = switches[1] / (switches[0] + switches[1])
    busy = utilization * servers / (share + calm * (1.0 - share))
    return queue((busy, calm * busy), switches, servers)


class Exact:
    """The same queue at many digits: pi_(c+k) = sum of a_i z_i^k v_i over the roots inside the unit circle.

    det(L + z (Q - L - c mu) + z^2 c mu) = 0, Neuts (1981), sec. 6.2; the weights a_i and the levels
    below c from all balance equations at once.
    """

    def __init__(self, model: MMPPMc, digits: int = 60) -> None:
        self.digits, self.servers = digits, model.servers
        with mp.workdps(digits):
            self.mu = mp.mpf(model.service_rate_rps)
            self.first, self.second = (mp.mpf(rate) for rate in model.arrival_rates_rps)
            self.out, self.back = (mp.mpf(rate) for rate in model.switch_rates_per_s)
            self._solve()

    def _roots(self) -> list[mp.mpf]:
        full = self.servers * self.mu
        one = [full, -(self.first + self.out + full), self.first]  # falling powers of z
        two = [full, -(self.second + self.back + full), self.second]
        product = [mp.mpf(0)] * 5
        for i, x in enumerate(one):
            for j, y in enumerate(two):
                product[i + j] += x * y
        product[2] -= self.out * self.back
        divided = [product[0]]  # by z - 1
        for coefficient in product[1:4]:
            divided.append(coefficient + divided[-1])
        companion = mp.matrix([[-x / divided[0] for x in divided[1:]], [1, 0, 0], [0, 1, 0]])
        return sorted((mp.re(z) for z in mp.eig(companion, left=False, right=False)), key=abs)[:2]

    def _vector(self, z: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        """v (L + z (Q - L - c mu) + z^2 c mu) = 0, by the column that tells more."""
        full = self.servers * self.mu
        one = self.first - z * (self.first + self.out + full) + z * z * full
        two = self.second - z * (self.second + self.back + full) + z * z * full
        return max((z * self.back, -one), (two, -z * self.out), key=lambda v: abs(v[0]) + abs(v[1]))

    def _solve(self) -> None:
        c, mu = self.servers, self.mu
        self.roots = self._roots()
        lambdas, switches = (self.first, self.second), (self.out, self.back)
        vectors = [self._vector(z) for z in self.roots]
        size = 2 * c + 2  # levels 0 to c - 1, then the two weights
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)

        def add(row: int, level: int, phase: int, value: mp.mpf) -> None:
            if level < c:
                matrix[row, 2 * level + phase] += value
            else:
                for i, (z, vector) in enumerate(zip(self.roots, vectors, strict=True)):
                    matrix[row, 2 * c + i] += value * vector[phase] * z ** (level - c)

        for level in range(c + 1):
            for phase in range(2):
                row = 2 * level + phase
                add(row, level, phase, -(lambdas[phase] + switches[phase] + min(level, c) * mu))
                add(row, level, 1 - phase, switches[1 - phase])
                add(row, level + 1, phase, min(level + 1, c) * mu)
                if level > 0:
                    add(row, level - 1, phase, lambdas[phase])
        for j in range(size):
            matrix[size - 1, j] = 1 if j < 2 * c else sum(vectors[j - 2 * c]) / (1 - self.roots[j - 2 * c])
        right[size - 1] = 1
        found = mp.lu_solve(matrix, right)
        self.rate = (self.first * self.back + self.second * self.out) / (self.out + self.back)
        self.empty = found[0] + found[1]
        # P(W > t) = sum of r_i e^(-c mu (1 - z_i) t)
        self.terms = [
            (
                found[2 * c + i] * (vector[0] * self.first + vector[1] * self.second) / (1 - z) / self.rate,
                c * mu * (1 - z),
            )
            for i, (z, vector) in enumerate(zip(self.roots, vectors, strict=True))
        ]
        self.waiting = sum(weight for weight, _ in self.terms)
        self.wait_mean = sum(weight / fall for weight, fall in self.terms)

    def wait_tail(self, time: float) -> mp.mpf:
        return sum(weight * mp.exp(-fall * time) for weight, fall in self.terms)

    def response_tail(self, time: float) -> mp.mpf:
        mu, total = self.mu, (1 - self.waiting) * mp.exp(-self.mu * time)
        for weight, fall in self.terms:
            if abs(fall / mu - 1) < mp.mpf(10) ** -25:
                total += weight * mp.exp(-mu * time) * (1 + mu * time)
            else:
                total += weight * (mu * mp.exp(-fall * time) - fall * mp.exp(-mu * time)) / (mu - fall)
        return total


def error_of_quantile(tail, time_s: float, quantile: float) -> float:
    """Relative distance to the root, by one Newton step in log P."""
    step = mp.mpf(time_s) * mp.mpf(10) ** -20
    logs = [mp.log(tail(time_s + k * step)) for k in (-1, 0, 1)]
    slope = (logs[2] - logs[0]) / (2 * step)
    return float(abs((logs[1] - mp.log(1 - mp.mpf(quantile))) / slope / time_s))


def agree(model: MMPPMc, exact: Exact) -> None:
    with mp.workdps(exact.digits):
        wait_mean = exact.wait_mean
        for value, truth in (
            (model.wait_probability, exact.waiting),
            (model.empty_probability, exact.empty),
            (model.throughput_rps, exact.rate),
            (model.utilization, exact.rate / exact.mu / exact.servers),
            (model.offered_load, exact.rate / exact.mu),
            (model.wait_mean_s, wait_mean),
            (model.response_mean_s, wait_mean + 1 / exact.mu),
            (model.queue_length_mean, wait_mean * exact.rate),
            (model.in_system_mean, (wait_mean + 1 / exact.mu) * exact.rate),
        ):
            assert abs(value / truth - 1) < CLAIM
        for time in (1e-9 / exact.mu, 0.7 / exact.mu, 9 / exact.mu, 3 * model.response_mean_s):
            time = float(time)
            assert abs(model.wait_tail(time) / exact.wait_tail(time) - 1) < CLAIM
            assert abs(model.response_tail(time) / exact.response_tail(time) - 1) < CLAIM
        for quantile in (0.2, 0.5, 0.99, 0.9999):
            time = model.response_quantile_s(quantile)
            assert error_of_quantile(exact.response_tail, time, quantile) < CLAIM
            time = model.wait_quantile_s(quantile)
            if exact.waiting > 1.01 * (1 - quantile):  # closer to the atom, only P itself has all its digits
                assert error_of_quantile(exact.wait_tail, time, quantile) < CLAIM
            elif exact.waiting < 1 - quantile:
                assert time == 0.0


@pytest.mark.parametrize(
    ("arrivals", "switches", "service", "servers"),
    [
        ((1.5, 0.3), (0.01, 0.01), 1.2, 1),
        ((1.5, 0.3), (1e-6, 1e-6), 1.6, 1),  # nearly two queues
        ((1.5, 0.3), (1e-6, 1e-6), 1.2, 1),  # and one of them unstable
        ((5.0, 0.1), (2e-6, 1e-6), 1.0, 3),
        ((1e-6, 3e-6), (1e-3, 1.0), 1.0, 2),
        ((0.1, 9.0), (0.3, 7.0), 1.0, 1),
        ((3.0, 30.0), (0.2, 1.7), 1.0, 7),
        ((9.9, 9.97), (1e-3, 1e-3), 1.0, 10),
        ((1.999, 1.998), (100.0, 300.0), 1.0, 2),
        ((2.0, 0.0), (1.0, 1.0), 1.0, 2),
        ((0.0, 40.0), (0.5, 2.0), 2.0, 5),
        ((1.5e12, 0.3e12), (1e10, 1e10), 1.2e12, 1),
        ((1.5e-9, 0.3e-9), (1e-11, 1e-11), 1.2e-9, 1),
    ],
)
def test_all_numbers_at_sixty_digits(arrivals, switches, service, servers) -> None:
    model = queue(arrivals, switches, servers, service)
    agree(model, Exact(model))


@laws
@given(st.floats(1e-3, 0.999), calms, pairs, st.integers(1, 6))
def test_random_queues_at_sixty_digits(utilization, calm, switches, servers) -> None:
    model = loaded(utilization, calm, switches, servers)
    agree(model, Exact(model, digits=60))


class Takacs:
    """GI/M/c whose gaps are those of an interrupted Poisson process, hyper-exponential, at sixty digits.

    Kuczura (1973), Bell System Technical Journal 52(3), 437-448: branches r1, r2 the roots of
    r^2 - (lambda + on + off) r + lambda on; then Takacs (1962), Introduction to the Theory of Queues, ch. 2.
    """

    def __init__(self, model: MMPPMc) -> None:
        c = model.servers
        with mp.workdps(60):
            busy, mu = mp.mpf(model.arrival_rates_rps[0]), mp.mpf(model.service_rate_rps)
            off, on = (mp.mpf(rate) for rate in model.switch_rates_per_s)
            trace = busy + on + off
            root = mp.sqrt(trace**2 - 4 * busy * on)
            fast, slow = (trace + root) / 2, (trace - root) / 2
            share = (busy - slow) / (fast - slow)

            def transform(s: mp.mpf) -> mp.mpf:
                return share * fast / (fast + s) + (1 - share) * slow / (slow + s)

            # sigma = A*(c mu (1 - sigma)) is a cubic: 1 is a root, the one within (0, 1) is wanted
            full = c * mu
            quadratic = [full**2, -(full**2 + full * trace), full * busy + slow * fast]
            discriminant = mp.sqrt(quadratic[1] ** 2 - 4 * quadratic[0] * quadratic[2])
            self.sigma = 2 * quadratic[2] / (-quadratic[1] + discriminant)
            assert abs(self.sigma / transform(full * (1 - self.sigma)) - 1) < mp.mpf(10) ** -40
            total, product = 1 / (1 - self.sigma), mp.mpf(1)
            for j in range(1, c + 1):
                phi = transform(j * mu)
                product *= phi / (1 - phi)
                part = mp.binomial(c, j) / (product * (1 - phi))
                total += part * (c * (1 - phi) - j) / (c * (1 - self.sigma) - j)
            self.waiting = 1 / total / (1 - self.sigma)
            self.fall = full * (1 - self.sigma)
            self.gap_mean = share / fast + (1 - share) / slow


@pytest.mark.parametrize("utilization", [0.05, 0.52, 0.9, 0.999])
@pytest.mark.parametrize("switches", [(1.0, 1.0), (1e-4, 3e-4), (50.0, 20.0), (0.2, 0.01)])
@pytest.mark.parametrize("servers", [1, 2, 5, 12])
def test_interrupted_arrivals_are_a_renewal_process(utilization, switches, servers) -> None:
    model = loaded(utilization, 0.0, switches, servers)
    exact = Takacs(model)
    with mp.workdps(60):
        assert abs(model.wait_probability / exact.waiting - 1) < CLAIM
        assert abs(model.wait_mean_s / (exact.waiting / exact.fall) - 1) < CLAIM
        assert abs(model.throughput_rps * exact.gap_mean - 1) < CLAIM
        wait = mp.log(exact.waiting / mp.mpf(1 - 0.9999)) / exact.fall
        if exact.waiting > 1e-3:
            assert model.wait_quantile_s(0.9999) == pytest.approx(float(wait), rel=1e-9)


def test_fast_switching_is_poisson_and_slow_a_mixture() -> None:
    fast = queue((3.0, 0.5), (1e9, 4e9), 3)
    mean = MMc(arrival_rate_rps=0.8 * 3.0 + 0.2 * 0.5, service_rate_rps=1.0, servers=3)
    assert fast.wait_mean_s == pytest.approx(mean.wait_mean_s, rel=1e-8)
    assert fast.response_quantile_s(0.99) == pytest.approx(mean.response_quantile_s(0.99), rel=1e-8)
    slow = queue((2.5, 0.5), (1e-12, 4e-12), 3)
    parts = [(0.8 * 2.5, 2.5), (0.2 * 0.5, 0.5)]  # arrivals in either phase, and their rate
    queues = [(w, MMc(arrival_rate_rps=rate, service_rate_rps=1.0, servers=3)) for w, rate in parts]
    total = sum(w for w, _ in parts)
    for time in (0.0, 1.0, 20.0):
        wait = sum(w * known.wait_tail(time) for w, known in queues) / total
        assert slow.wait_tail(time) == pytest.approx(wait, rel=1e-9)
        response = sum(w * known.response_tail(time) for w, known in queues) / total
        assert slow.response_tail(time) == pytest.approx(response, rel=1e-9)


@laws
@given(st.floats(1e-3, 0.999), calms, pairs, st.integers(1, 6))
def test_names_of_phases_do_not_matter(utilization, calm, switches, servers) -> None:
    model = loaded(utilization, calm, switches, servers)
    (first, second), (out, back) = model.arrival_rates_rps, model.switch_rates_per_s
    swapped = queue((second, first), (back, out), servers)
    for name in ("wait_probability", "empty_probability", "in_system_mean"):
        assert getattr(swapped, name) == pytest.approx(getattr(model, name), rel=1e-11)
    assert swapped.response_tail(2.0) == pytest.approx(model.response_tail(2.0), rel=1e-11)


@laws
@given(st.floats(1e-2, 0.99), calms, pairs, st.integers(1, 6))
def test_bursts_more_load_and_fewer_servers_are_slower(utilization, calm, switches, servers) -> None:
    model = loaded(utilization, calm, switches, servers)
    poisson = MMc(arrival_rate_rps=model.throughput_rps, service_rate_rps=1.0, servers=servers)
    assert model.wait_mean_s > poisson.wait_mean_s * (1.0 - CLAIM)
    first, second = model.arrival_rates_rps
    for other in (
        queue((first, second), switches, servers + 1),
        queue((0.9 * first, 0.9 * second), switches, servers),
    ):
        assert other.wait_mean_s < model.wait_mean_s
        assert other.wait_probability < model.wait_probability
        for quantile in (0.5, 0.99):
            assert other.wait_quantile_s(quantile) <= model.wait_quantile_s(quantile) * (1.0 + CLAIM)
            assert other.response_quantile_s(quantile) <= model.response_quantile_s(quantile) * (1.0 + CLAIM)
