"""M/G/1: Poisson arrivals, one server, service times of any law."""

from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction

from capacity.errors import DomainError
from capacity.queues.durations import Duration
from capacity.queues.general.mg1_wait import Empirical, Road, road_for
from capacity.queues.law import LawInServices, settle
from capacity.queues.markov.erlang import require_stable
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class MG1(LawInServices):
    """M/G/1 in steady state; an unstable queue is refused, with the smallest fix.

    The means are Pollaczek and Khinchine's. The law of the wait is a closed mixture of exponentials
    for exponential and hyper-exponential service, Franx's sum of positive terms for deterministic
    service, and a Fourier series for gamma, Erlang, lognormal and measured service, which is right to
    about ten digits or more down to tails of 1e-6.

    Raises:
        DomainError: a rate that is not positive and finite, a service that is not a law.
        UnstableError: utilization >= 1, up to the rounding of rate and mean.

    Source:
        Pollaczek (1930), Mathematische Zeitschrift 32; Khinchine (1932), Matematicheskii Sbornik 39;
        Kleinrock (1975), Queueing Systems vol. 1, ch. 5; Brill & Posner (1977), Operations Research
        25(4), for the response: P(T > t) = P(W > t) + w(t) / lambda.

    Assumes:
        Poisson arrivals, independent service times, FIFO, unlimited queue, steady state.

    >>> from capacity.queues.durations import Family
    >>> service = Duration(family=Family.LOGNORMAL, mean_s=0.1, scv=2.0)
    >>> queue = MG1(arrival_rate_rps=8.0, service=service)
    >>> round(queue.wait_mean_s, 6), round(queue.response_quantile_s(0.99), 4)
    (0.6, 4.0024)
    """

    arrival_rate_rps: float
    service: Duration | Empirical
    utilization: float = field(init=False, repr=False, compare=False)
    _spare: float = field(init=False, repr=False, compare=False)
    _road: Road = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.service, (Duration, Empirical)):
            raise DomainError(f"service must be a Duration or an Empirical, got {self.service!r}")
        require_positive("arrival_rate_rps", self.arrival_rate_rps)
        require_stable(self.arrival_rate_rps, 1.0 / self.service.mean_s, 1)
        exact = Fraction(self.arrival_rate_rps) * Fraction(self.service.mean_s)
        rho, spare = float(exact), float(1 - exact)
        settle(self, utilization=rho, _spare=spare, _road=road_for(self.service, rho, spare))

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self.utilization

    @property
    def empty_probability(self) -> float:
        """P(N = 0)."""
        return self._spare

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Poisson arrivals see the server busy as often as it is (PASTA, Wolff 1982)."""
        return self.utilization

    @property
    def _wait_mean(self) -> float:
        """Pollaczek and Khinchine's."""
        return self.utilization * (1.0 + self.service.variability) / (2.0 * self._spare)

    @property
    def _service_mean_s(self) -> float:
        return self.service.mean_s

    def _wait_tail(self, time: float) -> float:
        return self._road.wait_tail(time)

    def _response_tail(self, time: float) -> float:
        return self._road.response_tail(time)

    def _wait_quantile(self, quantile: float) -> float:
        # near the atom at 0 the density is rho (1 - rho), and the answer may be far below the mean
        above = max(1e-16, 1.0 - (1.0 - quantile) / self.utilization)
        scale = min(above, (1.0 + self.service.variability) / 2.0) / self._spare
        return quantile_of(self._road.wait_tail, quantile, scale)

    def _response_quantile(self, quantile: float) -> float:
        tail, atoms = self._road.response_tail, self._road.atoms
        reached = bisect_left(atoms, 1, key=lambda atom: int(tail(float(atom)) <= 1.0 - quantile))
        near = [float(atom) for atom in atoms[reached : reached + 1]]
        return quantile_of(tail, quantile, 1.0 + self._wait_mean, atoms=near)
