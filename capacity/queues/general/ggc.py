"""G/G/c: any law of gaps and of services, c servers, approximated from means and variabilities."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar

import numpy as np

from capacity.errors import DomainError
from capacity.performance import Kind, Performance
from capacity.queues.durations import Duration, Family, Floats
from capacity.queues.general.mdc import MDc
from capacity.queues.law import LawInServices, settle
from capacity.queues.markov.mmc import MMc
from capacity.queues.numerics.tail import in_atom, quantile_of
from capacity.units import QUANTILES, require_count, require_quantile

_NEARLY_ONE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A mixture of two exponentials."""

    branches: tuple[tuple[float, float], tuple[float, float]]

    def tail(self, time: Floats) -> Floats:
        """P(D > t) for t >= 0."""
        return np.asarray(sum(p * np.exp(-rate * time) for p, rate in self.branches))

    def density(self, time: Floats) -> Floats:
        """Density at t >= 0."""
        return np.asarray(sum(p * rate * np.exp(-rate * time) for p, rate in self.branches))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Two exponentials one after the other, their rates `slow` and `slow + gap`; gap 0 is Erlang-2."""

    slow: float
    gap: float

    def tail(self, time: Floats) -> Floats:
        """P(D > t) = e^-yt (1 + y (1 - e^-gt) / g), which does not cancel where the rates are alike."""
        return np.asarray(np.exp(-self.slow * time) * (1.0 + self.slow * self._ramp(time)))

    def density(self, time: Floats) -> Floats:
        """Density at t >= 0."""
        return np.asarray(self.slow * (self.slow + self.gap) * np.exp(-self.slow * time) * self._ramp(time))

    def _ramp(self, time: Floats) -> Floats:
        return np.asarray(-np.expm1(-self.gap * time) / self.gap) if self.gap > 0.0 else time


Delay = Mixed | Series  # a positive law with a density


def delay_of(mean: float, scv: float) -> Delay:
    """Law by mean and scv: hyper-exponential (balanced means) above scv 1, exponential at it, two in a row below.

    Below scv 1/2 it is Erlang-2, whose scv is 1/2.

    Source:
        Whitt (1983), Bell System Technical Journal 62(9), sec. 5; Whitt (1993), sec. 4.
    """
    if abs(scv - 1.0) <= _NEARLY_ONE:
        return Mixed(branches=((1.0, 1.0 / mean), (0.0, 1.0 / mean)))
    if scv > 1.0:
        return Mixed(branches=Duration(family=Family.HYPEREXPONENTIAL, mean_s=mean, scv=scv).branches)
    apart = math.sqrt(max(0.0, 2.0 * scv - 1.0))
    slow = 2.0 / (mean * (1.0 + apart))
    return Series(slow=slow, gap=2.0 / (mean * (1.0 - apart)) - slow)


_ORDER = 16
_HALVINGS = 40  # panels halve towards either end: a root of a time at 0 is then below rounding
_FLANK = 10  # standard deviations around the mean in which a steep law falls


def sum_tail(delay: Delay, service: Duration, time: float) -> float:
    """P(D + S > t), t >= 0, times in mean services: P(D > t) and the integral of f_D(t - x) P(S > x)."""
    if service.family is Family.DETERMINISTIC:
        return float(delay.tail(np.array(time - 1.0))) if time >= 1.0 else 1.0
    nodes, weights = _panels(service.variability, time)
    served = service.tail(nodes * service.mean_s)
    return float(delay.tail(np.array(time))) + float((weights * served) @ delay.density(time - nodes))


def _panels(scv: float, time: float) -> tuple[Floats, Floats]:
    """Nodes and weights from 0 to t, dense at both ends and where the service law falls."""
    halves = time * 0.5 ** np.arange(1, _HALVINGS + 1)
    flank = 1.0 + math.sqrt(scv) * np.arange(-_FLANK, _FLANK + 1)
    ends = np.unique(np.concatenate([[0.0, time], halves, time - halves, flank]))
    ends = ends[(ends >= 0.0) & (ends <= time)]
    nodes, weights = _legendre()
    widths = np.diff(ends)[:, None] / 2.0
    return (ends[:-1, None] + widths * (nodes + 1.0)).ravel(), (widths * weights).ravel()


@lru_cache(maxsize=1)
def _legendre() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(_ORDER)


_SQUEEZE_MAX = 0.24


def wait_ratio(rho: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Mean wait over (ca^2 + cs^2)/2 times that of M/M/c.

    The interpolation (eq. 2.25) misses two cases whose ratios are known, so they are handled separately: one
    server with Poisson arrivals, exactly 1 (Pollaczek-Khinchine), and D/M/c (eq. 2.20).

    Source:
        Whitt (1993), Production and Operations Management 2(2), 114-161, eq. 2.16-2.25.
    """
    if servers == 1 and arrival_scv == 1.0:
        return 1.0
    squeeze = _squeeze(rho, servers)
    fixed_service = 1.0 + squeeze
    fixed_gaps = (1.0 - 4.0 * squeeze) * math.exp(-2.0 * (1.0 - rho) / (3.0 * rho))
    if arrival_scv == 0.0 and service_scv == 1.0:
        return fixed_gaps
    scv = (arrival_scv + service_scv) / 2.0
    alike = math.pow(min(1.0, (fixed_service + fixed_gaps) / 2.0), max(0.0, 2.0 * (1.0 - scv)))
    if arrival_scv >= service_scv:
        total = 4.0 * arrival_scv - 3.0 * service_scv
        return (4.0 * (arrival_scv - service_scv) * fixed_service + service_scv * alike) / total
    total = 4.0 * scv
    return ((service_scv - arrival_scv) * fixed_gaps + (service_scv + 3.0 * arrival_scv) * alike) / total


def _squeeze(rho: float, servers: int) -> float:
    """The gamma of eq. 2.16: Cosmetatos' correction, kept below 0.24."""
    root = math.sqrt(4.0 + 5.0 * servers) - 2.0
    return min(_SQUEEZE_MAX, (1.0 - rho) * (servers - 1) * root / (16.0 * servers * rho))


def wait_probability(
    rho: float, servers: int, erlang_c: float, arrival_scv: float, service_scv: float
) -> float:
    """P(W > 0) of GI/G/c: Whitt (1993), eq. 3.5-3.11; Erlang's C where arrivals are Poisson."""
    if arrival_scv == 1.0 or erlang_c == 0.0:
        return erlang_c
    spread = (arrival_scv + service_scv) / (1.0 + service_scv)
    spare = (1.0 - rho) * math.sqrt(servers)
    heavy = _shifted(erlang_c, spare, spare / spread)
    light = _shifted(erlang_c, spare, 2.0 * spare / (1.0 + arrival_scv))
    few = rho**2 * heavy + (1.0 - rho**2) * light
    gap = (servers - servers * rho - 0.5) / math.sqrt(servers * rho * spread)
    if servers <= 6 or gap <= 0.5 or arrival_scv >= 1.0:
        return few
    many = arrival_scv * few + (1.0 - arrival_scv) * _normal_tail(gap)
    share = 1.0 if gap >= 1.0 else 2.0 * (1.0 - arrival_scv) * (gap - 0.5)
    return share * many + (1.0 - share) * few


def _shifted(erlang_c: float, spare: float, point: float) -> float:
    """min(1, C P(Z > point) / P(Z > spare)) for a normal Z, however small the tails."""
    from scipy.special import log_ndtr

    log_ratio = float(log_ndtr(-point) - log_ndtr(-spare))
    return math.exp(min(0.0, math.log(erlang_c) + log_ratio))


def _normal_tail(point: float) -> float:
    return math.erfc(point / math.sqrt(2.0)) / 2.0


def delay_scv(rho: float, service_scv: float) -> float:
    """Squared coefficient of variation of a wait that is not 0: Whitt (1993), eq. 4.2-4.3; exact for M/M/c.

    The service's third moment, of a hyper-exponential law with balanced means or an Erlang law, is printed
    wrongly there; right in Whitt (1983), Bell System Technical Journal 62(9), sec. 5.
    """
    second = service_scv + 1.0
    third = 3.0 * service_scv * second if service_scv >= 1.0 else (2.0 * service_scv + 1.0) * second
    return 2.0 * rho - 1.0 + 4.0 * (1.0 - rho) * third / (3.0 * second**2)


class Formula(StrEnum):
    """Approximation formulas."""

    ALLEN_CUNNEEN = "allen-cunneen"
    KIMURA = "kimura"
    WHITT = "whitt"
    TIJMS = "tijms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximation:
    """A wait, in mean services.

    Attributes:
        mean: mean over all requests, including those that do not wait.
        delay: law of a wait that is not 0; None if the formula has none.
    """

    probability: float
    mean: float
    delay: Delay | None


def formula_of(name: str) -> Formula:
    """The approximation of that name."""
    try:
        return Formula(name)
    except ValueError:
        raise DomainError(f"formula must be one of {', '.join(Formula)}, got {name!r}") from None


def is_poisson(arrival: Duration) -> bool:
    """Whether gaps are exponential, as one family or another."""
    return arrival.variability == 1.0 and arrival.family is not Family.LOGNORMAL


def approximation(
    formula: Formula, markov: MMc, fixed: MDc | None, arrival_scv: float, service_scv: float
) -> Approximation:
    """The wait, from that of M/M/c; for `kimura` and `tijms` also from that of M/D/c."""
    erlang_c, markov_mean = markov.wait_probability, markov.wait_mean_s * markov.service_rate_rps
    scv = (arrival_scv + service_scv) / 2.0
    if fixed is not None:
        fixed_mean = fixed.wait_mean_s / fixed.service_time_s
        combine = _kimura if formula is Formula.KIMURA else _tijms
        return Approximation(
            probability=erlang_c, mean=combine(markov_mean, fixed_mean, service_scv), delay=None
        )
    probability, mean, spread = erlang_c, scv * markov_mean, 1.0
    if formula is Formula.WHITT:
        rho, servers = markov.utilization, int(markov.servers)
        mean *= wait_ratio(rho, servers, arrival_scv, service_scv) if scv > 0.0 else 0.0
        probability = wait_probability(rho, servers, erlang_c, arrival_scv, service_scv) if scv > 0.0 else 0.0
        spread = delay_scv(rho, service_scv)
    if mean == 0.0 or probability == 0.0:
        return Approximation(probability=0.0, mean=0.0, delay=delay_of(1.0, 1.0))
    return Approximation(probability=probability, mean=mean, delay=delay_of(mean / probability, spread))


def _kimura(markov_mean: float, fixed_mean: float, scv: float) -> float:
    """Kimura (1994), Queueing Systems 17, eq. for M/G/c: a harmonic mean, exact for M/M/c and M/D/c."""
    if fixed_mean == 0.0:
        return 0.0
    return (1.0 + scv) / (2.0 * scv / markov_mean + (1.0 - scv) / fixed_mean)


def _tijms(markov_mean: float, fixed_mean: float, scv: float) -> float:
    """Tijms (1986), Stochastic Modelling and Analysis, sec. 4.3: the mean that goes with his quantiles."""
    return scv * markov_mean + (1.0 - scv) * fixed_mean


_FEW, _MANY = 5, 20
_UTILIZATION_MIN = 0.7 * (1.0 - 1e-12)  # rates of 0.7 round to either side
_FIELDS = ("wait_probability", "wait_mean_s", "response_mean_s", "wait_quantiles_s", "response_quantiles_s")
_ALIKE = {"queue_length_mean": "wait_mean_s", "in_system_mean": "response_mean_s"}  # Little's law

# Rounded up; of the quantiles the P99. Rows: Poisson gaps, other gaps; 1 to 5 servers, to 20.
_MEASURED: dict[tuple[Formula, bool, bool], tuple[float | None, ...]] = {
    (Formula.ALLEN_CUNNEEN, True, True): (0.06, 0.30, 0.15, 0.16, 0.15),
    (Formula.ALLEN_CUNNEEN, True, False): (0.11, 1.0, 0.15, 0.90, 0.15),
    (Formula.ALLEN_CUNNEEN, False, True): (0.90, 0.63, 0.20, 0.30, 0.29),
    (Formula.ALLEN_CUNNEEN, False, False): (3.6, 2.6, 0.20, 1.4, 0.29),
    (Formula.KIMURA, True, True): (0.06, 0.32, 0.18, None, None),
    (Formula.KIMURA, True, False): (0.11, 0.50, 0.18, None, None),
    (Formula.WHITT, True, True): (0.06, 0.13, 0.09, 0.18, 0.18),
    (Formula.WHITT, True, False): (0.11, 0.30, 0.09, 0.25, 0.18),
    (Formula.WHITT, False, True): (0.16, 0.35, 0.18, 0.31, 0.24),
    (Formula.WHITT, False, False): (0.24, 0.86, 0.18, 0.71, 0.24),
    (Formula.TIJMS, True, True): (0.06, 0.22, 0.11, 0.10, None),
    (Formula.TIJMS, True, False): (0.11, 0.64, 0.11, 0.46, None),
}


def errors_measured(
    formula: Formula, arrival: Duration, service: Duration, servers: int, utilization: float
) -> Mapping[str, float]:
    """The largest relative error found, by field of a `Performance`; infinite if none was measured.

    Measured against MAP/PH/c (M/G/1 and M/D/c beside it) at utilization 0.7 and 0.9 with 1 to 5 and 20 servers.
    Poisson gaps with deterministic, Erlang-2, hyper-exponential and gamma services of scv 0, 1/2, 2, 4 and 9;
    Erlang-4, hyper-exponential and gamma gaps (scv 4) with Erlang-2, exponential, hyper-exponential and gamma
    services (scv 4). Gamma laws above scv 1 are mixtures of 3 to 6 exponentials with their first 5 to 11 moments. Two
    moments do not decide a wait, so other laws (lognormal) may be further off: Gupta, Harchol-Balter, Dai & Zwart
    (2010), Queueing Systems 64, 5-48. The quantiles are P99; near the share that does not wait they may be further
    off. M/M/c has no error.
    """
    poisson = is_poisson(arrival)
    exact = poisson and is_poisson(service)
    seen = utilization >= _UTILIZATION_MIN and servers <= _MANY
    seen = seen and _seen(poisson=poisson, arrival=arrival, service=service)
    row = zip(_FIELDS, _MEASURED[formula, poisson, servers <= _FEW], strict=True)
    fields = {name: 0.0 if exact else error if seen else math.inf for name, error in row if error is not None}
    return fields | {name: fields[source] for name, source in _ALIKE.items()}


def _seen(*, poisson: bool, arrival: Duration, service: Duration) -> bool:
    """Whether the laws are of families that were measured, their variabilities within the measured ones."""
    if Family.LOGNORMAL in (arrival.family, service.family):
        return False
    if poisson:
        return service.variability <= 9.0
    return 0.25 <= arrival.variability <= 4.0 and 0.5 <= service.variability <= 4.0


_SERVERS_MAX = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class GGc(LawInServices):
    """G/G/c in steady state, approximately; an unstable queue is refused, with the smallest fix.

    All formulas are exact for M/M/c, and `whitt` has the exact mean of M/G/1. They are a first guess and
    a sanity check: `performance().relative_error_max` says how far off they were, and an exact queue or
    a simulation decides.

    Attributes:
        arrival: law of the gaps between arrivals; only its mean and variability count.
        service: law of the services; the response needs all of it, the wait mean and variability.
        formula: `allen-cunneen` and `whitt` for any gaps, `kimura` (mean wait only) and `tijms` (no law
            of the response) for Poisson arrivals.

    Raises:
        DomainError: servers not an integer in 1..1e9 (20000 for kimura and tijms); arrivals that a
            formula is not made for.
        UnstableError: utilization >= 1, up to the rounding of the means.

    Source:
        Allen (1990), Probability, Statistics, and Queueing Theory, 2nd ed., sec. 5.3.4 (Allen-Cunneen);
        Kimura (1994), Queueing Systems 17, 347-382; Whitt (1993), Production and Operations
        Management 2(2), 114-161; Tijms (1986), Stochastic Modelling and Analysis, sec. 4.3 (percentiles).

    Assumes:
        Independent gaps, independent services, FIFO, unlimited queue, steady state.

    >>> gap = Duration(family=Family.EXPONENTIAL, mean_s=0.125)
    >>> service = Duration(family=Family.GAMMA, mean_s=0.4, scv=2.0)
    >>> queue = GGc(arrival=gap, service=service, servers=4)
    >>> round(queue.wait_mean_s, 4), round(queue.response_quantile_s(0.99), 3)
    (0.4273, 4.03)
    """

    _kind: ClassVar[Kind] = Kind.APPROXIMATION

    arrival: Duration
    service: Duration
    servers: int
    formula: Formula = Formula.WHITT
    _markov: MMc = field(init=False, repr=False, compare=False)
    _fixed: MDc | None = field(init=False, repr=False, compare=False)
    _wait: Approximation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("arrival", "service"):
            if not isinstance(getattr(self, name), Duration):
                raise DomainError(f"{name} must be a Duration, got {getattr(self, name)!r}")
        formula = formula_of(self.formula)
        require_count("servers", self.servers, most=_SERVERS_MAX)
        rate_rps, service_s = 1.0 / self.arrival.mean_s, self.service.mean_s
        markov = MMc(arrival_rate_rps=rate_rps, service_rate_rps=1.0 / service_s, servers=self.servers)
        fixed = None
        if formula in (Formula.KIMURA, Formula.TIJMS):
            if not is_poisson(self.arrival):
                raise DomainError(
                    f"{formula} is for Poisson arrivals, got gaps of {self.arrival.family}; use whitt"
                )
            fixed = MDc(arrival_rate_rps=rate_rps, service_time_s=service_s, servers=self.servers)
        wait = approximation(formula, markov, fixed, self.arrival.variability, self.service.variability)
        settle(self, formula=formula, _markov=markov, _fixed=fixed, _wait=wait)

    @property
    def utilization(self) -> float:
        """Share of time that a server is busy: exact, whatever the laws."""
        return self._markov.utilization

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return self._markov.offered_load

    @property
    def wait_probability(self) -> float:
        """P(W > 0): Erlang's C for Poisson arrivals, and for `allen-cunneen` always."""
        return self._wait.probability

    @property
    def throughput_rps(self) -> float:
        """Rate of arrivals, all of which are served."""
        return 1.0 / self.arrival.mean_s

    @property
    def _wait_mean(self) -> float:
        return self._wait.mean

    @property
    def _service_mean_s(self) -> float:
        return self.service.mean_s

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of requests stays within; 0.0 where that many do not wait. [s]

        Raises:
            DomainError: quantile is not in (0, 1); `kimura` has none.

        Source:
            Tijms (1986), Stochastic Modelling and Analysis, sec. 4.3: among those who wait, the quantile
            is scv parts of that of M/M/c and 1 - scv parts of that of M/D/c; others by the fitted law.
        """
        if self._fixed is None or self.formula is not Formula.TIJMS:
            return LawInServices.wait_quantile_s(self, quantile)  # super() does not know a class with slots
        require_quantile(quantile)
        return self._interpolated_s(self._fixed, quantile)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The performance with all fields that the formula has."""
        waits = quantiles if self.formula is not Formula.KIMURA else ()
        responses = quantiles if self._wait.delay is not None else ()
        waits_s = {q: self.wait_quantile_s(q) for q in waits}
        return self._performance(waits_s, {q: self.response_quantile_s(q) for q in responses})

    def _relative_error_max(self) -> Mapping[str, float]:
        return errors_measured(self.formula, self.arrival, self.service, self.servers, self.utilization)

    def _wait_tail(self, time: float) -> float:
        return self.wait_probability * float(self._fitted("wait_tail").tail(np.array(time)))

    def _wait_quantile(self, quantile: float) -> float:
        self._fitted("wait_quantile_s")
        scale = self._wait.mean / self.wait_probability if self.wait_probability > 0.0 else 1.0
        return quantile_of(self._wait_tail, quantile, scale or 1.0)

    def _response_tail(self, time: float) -> float:
        """The fitted wait convolved with the law of the service: Whitt (1993), sec. 4."""
        delay, waited = self._fitted("response_tail"), self.wait_probability
        served = float(self.service.tail(np.array(time * self.service.mean_s)))
        late = waited * sum_tail(delay, self.service, time) if waited > 0.0 else 0.0
        return (1.0 - waited) * served + late

    def _response_quantile(self, quantile: float) -> float:
        self._fitted("response_quantile_s")
        atoms = (1.0,) if self.service.family is Family.DETERMINISTIC else ()
        return quantile_of(self._response_tail, quantile, 1.0 + self._wait.mean, atoms=atoms)

    def _fitted(self, asked: str) -> Delay:
        if self._wait.delay is None:
            raise DomainError(f"{self.formula} gives no {asked}; use whitt")
        return self._wait.delay

    def _interpolated_s(self, fixed: MDc, quantile: float) -> float:
        """Tijms' quantile: the same share of the requests that wait in M/D/c and in M/M/c."""
        if in_atom(self.wait_probability, quantile):
            return 0.0
        left = (1.0 - quantile) / self.wait_probability
        scv = self.service.variability
        exponential_s = -math.log(left) * self._markov.wait_mean_s / self._markov.wait_probability
        fixed_s = fixed.wait_quantile_s(1.0 - left * fixed.wait_probability)
        return max(0.0, (1.0 - scv) * fixed_s + scv * exponential_s)
