"""Roads: the ways to the laws of wait and response of M/G/1, one for each shape of service.

Times are in mean services. The response needs no inversion of its own: by level crossing
P(T > t) = P(W > t) + w(t) / lambda, w the density of the wait (Brill & Posner 1977, Operations
Research 25(4)), so that a jump of the service law never meets a transform.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from capacity.queues.durations import Duration, Family, Floats
from capacity.queues.empirical import Empirical
from capacity.queues.general.backlog import Backlog
from capacity.queues.general.residual import residual_tail
from capacity.queues.general.rough import Rough
from capacity.queues.general.smooth import Smooth


class Road(Protocol):
    """What M/G/1 asks of its road; times in mean services."""

    @property
    def atoms(self) -> Floats:
        """Times at which the response has a probability of its own, rising."""

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0, R what is left of a service in progress."""


def road_for(service: Duration | Empirical, rho: float, spare: float) -> Road:
    """The road of a service law; `spare` is 1 - rho with digits that a rounded rho has lost."""
    if isinstance(service, Empirical):
        if not service.law.is_deterministic:
            return Rough(service=service, rho=rho, spare=spare)
        return Constant(backlog=Backlog(load=rho, spare=spare, servers=1))
    match service.family:
        case Family.DETERMINISTIC:
            return Constant(backlog=Backlog(load=rho, spare=spare, servers=1))
        case Family.EXPONENTIAL | Family.HYPEREXPONENTIAL:
            return Mixture(scv=service.variability, rho=rho, spare=spare)
        case _:
            return Smooth(service=service, rho=rho, spare=spare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """M/D/1: the response is the wait, one service later."""

    backlog: Backlog

    @property
    def atoms(self) -> Floats:
        """A response without a wait takes one service."""
        return np.ones(1)

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        return self.backlog.wait_tail(time)

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""
        return self.backlog.wait_tail(time - 1.0) if time >= 1.0 else 1.0

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0, R what is left of a service in progress."""
        return np.maximum(0.0, 1.0 - time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Exponential or hyper-exponential service with balanced means: two exponentials with positive weights.

    The decay rates x > y are the roots of x^2 - (2 - rho) x + P (1 - rho), P = 2 / (scv + 1) the product
    of the branches' rates; the weights follow from P(W > 0) = rho and its slope there, rho (1 - rho).
    P = 1 and x = 1 with weight 0 is M/M/1. Every difference is rewritten as a sum.

    Source:
        Cohen (1982), The Single Server Queue, sec. II.4.5: partial fractions of the
        Pollaczek-Khinchine transform.
    """

    scv: float
    rho: float
    spare: float

    @property
    def atoms(self) -> Floats:
        """None: the response has a density."""
        return np.zeros(0)

    @property
    def parts(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Weight in P(W > t) and decay rate of either exponential, the slow one last."""
        product, left = 2.0 / (self.scv + 1.0), (self.scv - 1.0) / (self.scv + 1.0)  # left = 1 - product
        root = math.sqrt(4.0 * left * self.spare + self.rho**2)
        fast = (1.0 + self.spare + root) / 2.0
        slow = product * self.spare / fast
        lean = self.rho - 2.0 * left
        above = (root - lean) / 2.0 if lean < 0.0 else 2.0 * product * left / (root + lean)  # fast - product
        weight = self.rho * self.spare * above / (fast * root)
        return (weight, fast), (self.rho * (self.rho + root) / (2.0 * root), slow)

    def wait_tail(self, time: float) -> float:
        """P(W > t) for t >= 0."""
        return sum(weight * math.exp(-rate * time) for weight, rate in self.parts)

    def response_tail(self, time: float) -> float:
        """P(T > t) for t >= 0."""
        return sum(weight * (1.0 + rate / self.rho) * math.exp(-rate * time) for weight, rate in self.parts)

    def residual_tail(self, time: Floats) -> Floats:
        """P(R > t) for t >= 0: the branches are equally likely to be in progress, at rates 2p."""
        family = Family.HYPEREXPONENTIAL
        return residual_tail(Duration(family=family, mean_s=1.0, scv=self.scv), time)
