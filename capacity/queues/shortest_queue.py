"""Shortest queue: Poisson arrivals join the shorter of two exponential servers' own queues."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.queues.law import settle
from capacity.queues.markov.departures import Joined, JoiningLaw
from capacity.queues.markov.erlang import exact_load, require_stable
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.units import require_count

Floats = NDArray[np.float64]
_DIFFERENCE_MAX = 40  # P(difference) falls by rho^2 / (2 + rho) < 1/3 a step: the rest is below 1e-19
_LEVELS = 22  # of the shorter queue; then its law is geometric to 1e-13
_DOUBLINGS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortestQueue(JoiningLaw):
    """Two replicas with a queue each; an arrival joins the shorter one and stays there.

    It is the chain (shorter queue, difference) with the difference cut at 40, which changes no number by 1e-18 of
    itself; the shorter queue is solved without a limit, and its law ends geometrically with rho^2.

    Raises:
        DomainError: a rate that is not positive and finite; replicas other than 2.
        UnstableError: utilization >= 1, up to the rounding of the two rates.

    Source:
        Adan, Wessels & Zijm (1990), Stochastic Models 6(4), "Analysis of the symmetric shortest queue
        problem"; solved as a quasi birth-and-death process by Latouche & Ramaswami (1993), J. Applied
        Probability 30(3).

    Assumes:
        Poisson arrivals, exponential service, FIFO in each queue, steady state.

    >>> queue = ShortestQueue(arrival_rate_rps=18.0, service_rate_rps=10.0)
    >>> round(queue.response_mean_s, 7), round(queue.response_quantile_s(0.99), 7)
    (0.5474913, 2.4507702)
    """

    arrival_rate_rps: float
    service_rate_rps: float
    replicas: int = 2
    empty_probability: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    _joined: Joined = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("replicas", self.replicas)
        if self.replicas != 2:
            raise DomainError(
                f"replicas of the shortest queue must be 2, got {self.replicas}; "
                "use PowerOfChoices, or simulate"
            )
        require_stable(self.arrival_rate_rps, self.service_rate_rps, 2)
        exact = exact_load(self.arrival_rate_rps, self.service_rate_rps) / 2
        rho = float(exact)
        empty, joined = _solved(rho, float(1 - exact))
        settle(self, utilization=rho, empty_probability=empty, _joined=joined)

    @property
    def offered_load(self) -> float:
        """Arrival rate x mean service time. [erlang]"""
        return 2.0 * self.utilization

    @property
    def in_system_mean(self) -> float:
        """Mean number waiting or in service."""
        return self.offered_load + self.queue_length_mean


def _solved(rho: float, spare: float) -> tuple[float, Joined]:
    """P(both empty), and P(shorter queue >= m)."""
    up, local, down = _steps(rho)
    back = _first_passage(up, local, down)  # the shorter queue returns to the level it left
    censored = local + up @ back  # an empty queue serves no request: staying in place may be left out
    law = stationary(lambda i: censored[i], _DIFFERENCE_MAX, _DIFFERENCE_MAX, _DIFFERENCE_MAX)
    climb = up @ np.linalg.inv(np.eye(len(up)) - local - up @ back)
    masses, first = [], law
    for _ in range(_LEVELS):
        masses.append(float(law.sum()))
        law = law @ climb
    fall = spare * (1.0 + rho)  # 1 - rho^2
    levels = [float(law.sum()) / fall]
    for mass in reversed(masses):
        levels.append(levels[-1] + mass)
    total = levels[-1]
    shares = tuple(level / total for level in reversed(levels))
    return float(first[0]) / total, Joined(levels=(1.0, *shares[1:]), fall=fall)


def _steps(rho: float) -> tuple[Floats, Floats, Floats]:
    """Probabilities of the steps that raise, keep and lower the shorter queue, by the difference.

    At the largest difference a service of the shorter queue counts as one of the longer, too.
    """
    size = _DIFFERENCE_MAX + 1
    arrive, serve = rho / (1.0 + rho), 0.5 / (1.0 + rho)
    up, down = arrive * np.eye(size, k=-1), serve * np.eye(size, k=1)
    local = serve * np.eye(size, k=-1)
    local[0, 1], down[0, 1], down[-1, -1] = arrive, 2.0 * serve, serve
    return up, local, down


def _first_passage(up: Floats, local: Floats, down: Floats) -> Floats:
    """G: from one level down to the next for the first time, by logarithmic reduction."""
    one = np.eye(len(up))
    high, low = np.linalg.solve(one - local, up), np.linalg.solve(one - local, down)
    passage, reach = low.copy(), high.copy()
    for _ in range(_DOUBLINGS_MAX):
        stay = one - high @ low - low @ high
        high, low = np.linalg.solve(stay, high @ high), np.linalg.solve(stay, low @ low)
        passage += reach @ low
        reach = reach @ high
        if reach.max() < 1e-18:
            break
    return np.asarray(passage)
