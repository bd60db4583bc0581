"""Wait of G/G/c by each approximation: its probability, its mean and the law fitted to them."""

from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family
from capacity.queues.general.delay import Delay, delay_of
from capacity.queues.general.whitt import delay_scv, wait_probability, wait_ratio
from capacity.queues.mdc import MDc
from capacity.queues.mmc import MMc


class Formula(StrEnum):
    """Which approximation."""

    ALLEN_CUNNEEN = "allen-cunneen"
    KIMURA = "kimura"
    WHITT = "whitt"
    TIJMS = "tijms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximation:
    """A wait, in mean services.

    Attributes:
        mean: of all, those who do not wait included.
        delay: law of a wait that is not 0; None where the formula has none.
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
    """The wait from that of M/M/c, for `kimura` and `tijms` also from that of M/D/c."""
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
