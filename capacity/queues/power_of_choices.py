"""Power of choices: an arrival looks at d of many replicas' queues and joins the shortest of them."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from capacity.errors import DomainError
from capacity.performance import Kind
from capacity.queues.law import settle
from capacity.queues.markov.departures import Joined, JoiningLaw
from capacity.queues.markov.erlang import exact_load, require_stable
from capacity.units import require_count

_UNDERFLOW_LOG = -745.0
_CHOICES_MEASURED_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOfChoices(JoiningLaw):
    """The limit of ever more replicas, in which their queues become independent: P(queue >= k) =
    rho^((d^k - 1) / (d - 1)).

    With finitely many replicas requests are slower than this. The measured share of the truth by which
    the limit is too low is at most (0.12 + 0.045 d) / (N (1 - rho)): simulations of 2 to 100 replicas,
    d = 2, 3, 5 and 10 (distinct ones), loads 0.3 to 0.98, 2e7 events or more each, for the mean and the
    P50, P90, P99 and P99.9 of the response. At 2 replicas `ShortestQueue` is exact; at more,
    Mitzenmacher's simulations of 100 replicas lie within it, too.

    Raises:
        DomainError: a rate that is not positive and finite; choices not in 2..replicas.
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Vvedenskaya, Dobrushin & Karpelevich (1996), Problems of Information Transmission 32(1);
        Mitzenmacher (2001), IEEE Trans. Parallel and Distributed Systems 12(10).

    Assumes:
        Poisson arrivals, exponential service, FIFO in each queue, steady state, many replicas.

    >>> queue = PowerOfChoices(arrival_rate_rps=900.0, service_rate_rps=10.0, replicas=100)
    >>> round(queue.response_mean_s, 5), round(queue.response_quantile_s(0.99), 5)
    (0.26141, 0.8791)
    """

    _kind: ClassVar[Kind] = Kind.APPROXIMATION

    arrival_rate_rps: float
    service_rate_rps: float
    replicas: int
    choices: int = 2
    utilization: float = field(init=False, repr=False, compare=False)
    _spare_share: float = field(init=False, repr=False, compare=False)
    _joined: Joined = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("replicas", self.replicas, least=2)
        require_count("choices", self.choices, least=2)
        if self.choices > self.replicas:
            raise DomainError(f"choices must be <= replicas, got {self.choices} of {self.replicas}")
        require_stable(self.arrival_rate_rps, self.service_rate_rps, self.replicas)
        exact = exact_load(self.arrival_rate_rps, self.service_rate_rps) / self.replicas
        rho, spare = float(exact), float(1 - exact)
        settle(self, utilization=rho, _spare_share=spare, _joined=_joined(rho, spare, self.choices))

    @property
    def response_error_max(self) -> float:
        """Relative error by which the mean or a quantile of responses may be too low, measured."""
        if self.choices > _CHOICES_MEASURED_MAX:
            return 1.0
        return min(1.0, (0.12 + 0.045 * self.choices) / (self.replicas * self._spare_share))

    def _relative_error_max(self) -> dict[str, float]:
        """Relative errors by field. Requests are never slower than at random, 1 / (1 - rho) in the mean (Turner 1998,
        Probability in the Engineering and Informational Sciences 12(1)), nor do more than rho wait.
        """
        shown, share = self._joined.wait_mean, self.response_error_max
        longest = self.utilization / self._spare_share
        if share < 1.0:
            longest = min(longest, (shown + share) / (1.0 - share))
        mean, wait = (longest - shown) / (1.0 + longest), (longest - shown) / longest
        return {
            "response_mean_s": mean,
            "in_system_mean": mean,
            "wait_mean_s": wait,
            "queue_length_mean": wait,
            "wait_probability": 1.0 - self.wait_probability / self.utilization,
            "response_quantiles_s": self.response_error_max,
            "wait_quantiles_s": 1.0,
        }


def _joined(rho: float, spare: float, choices: int) -> Joined:
    """P(all d queues hold at least k) = rho^(d e_k), e_0 = 0, e_{k+1} = d e_k + 1, until it underflows."""
    log_rho = math.log1p(-spare) if spare < 0.5 else math.log(rho)
    levels, exponent = [1.0], choices
    while exponent * log_rho > _UNDERFLOW_LOG:
        levels.append(math.exp(exponent * log_rho))
        exponent = choices * (exponent + 1)
    return Joined(levels=(*levels, 0.0))
