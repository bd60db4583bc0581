"""Service times: the duration of a batch, from one uniform number and the size of the batch."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np

from capacity.errors import DomainError
from capacity.profile.distribution import ServiceLaw
from capacity.profile.profile import ServiceProfile
from simulations.compiled import compiled, inlined
from simulations.draws.records import Floats, Integers
from simulations.rising import first_not_below

FIXED, SCALED, KNOTS = range(3)
_NOTHING = np.zeros(0)
_NO_PLACES = np.zeros(0, dtype=np.int64)


class ServiceTable(NamedTuple):
    """Service times by batch size and uniform number, in one of three forms, named by `kind`.

    FIXED has a duration by batch size. SCALED has a mean by batch size, and a function from the uniform number to a
    duration of mean 1, applied to whole blocks of requests beforehand. KNOTS has quantile functions of the measured
    sizes, and for each batch size the weight of the measured one above it.

    Attributes:
        times_s: durations or means, by batch size less 1. [s]
        draw: function from many uniform numbers to durations of mean 1.
        below: index of the measured size at or below a batch size, by batch size less 1.
        weight: position between that size and the next measured one, by batch size less 1.
        first: index of the first knot of each measured size, and the end.
        probabilities, durations_s: knots of all measured sizes, one after the other's. [s]
        wake_s: extra time of a batch that starts at an idle replica. [s]
    """

    kind: int
    times_s: Floats = _NOTHING
    draw: Callable[[Floats], Floats] | None = None
    below: Integers = _NO_PLACES
    weight: Floats = _NOTHING
    first: Integers = _NO_PLACES
    probabilities: Floats = _NOTHING
    durations_s: Floats = _NOTHING
    wake_s: float = 0.0

    def require(self, batch_size_max: int, *, needs_time: str | None = None) -> Self:
        """The table, if it can serve batches up to a size, as compiled code checks nothing itself.

        Args:
            needs_time: who cannot do with service that takes no time, if there are such.
        """
        sizes = len(self.below) if self.kind == KNOTS else len(self.times_s)
        durations_s = self.durations_s if self.kind == KNOTS else self.times_s
        if sizes < batch_size_max:
            raise DomainError(f"there are service times up to a batch of {sizes}, not of {batch_size_max}")
        if not (np.isfinite(durations_s).all() and (durations_s >= 0.0).all()):
            raise DomainError("service times must be finite and not negative")
        if not 0.0 <= self.wake_s < math.inf:
            raise DomainError("wake_s must be finite and not negative")
        if needs_time is not None and not durations_s.all():
            raise DomainError(f"{needs_time} need service that takes time")
        return self

    @property
    def arrays(self) -> "Laws":
        """The arrays that compiled code reads."""
        knots = (self.below, self.weight, self.first, self.probabilities, self.durations_s)
        return (self.kind, self.times_s, *knots, self.wake_s)

    @property
    def atoms_s(self) -> Floats:
        """Durations that have a probability of their own, also after a rest, rising. [s]"""
        atoms_s = self._atoms_s
        return atoms_s if self.wake_s == 0.0 else np.unique([*atoms_s, *(atoms_s + self.wake_s)])

    @property
    def _atoms_s(self) -> Floats:
        """Durations with a probability of their own for a batch right after another, rising. [s]"""
        if self.kind == FIXED:
            return np.unique(self.times_s)
        if self.kind != KNOTS:
            return _NOTHING
        level = np.flatnonzero(self.durations_s[1:] == self.durations_s[:-1])
        chosen = level[self.probabilities[level + 1] > self.probabilities[level]]
        return np.unique(self.durations_s[chosen])


Laws = tuple[int, Floats, Integers, Floats, Integers, Floats, Floats, float]


def knots(laws: Sequence[ServiceLaw], below: Integers, weight: Floats, wake_s: float = 0.0) -> ServiceTable:
    """A table of measured laws, and of mixtures of two neighbours; fixed times if nothing varies."""
    if all(law.is_deterministic for law in laws):
        ends_s = np.array([*(law.durations_s[0] for law in laws), math.nan])
        low_s, high_s = ends_s[below], ends_s[below + 1]
        times_s = np.where(weight == 0.0, low_s, (1.0 - weight) * low_s + weight * high_s)  # as `mixed`
        return ServiceTable(kind=FIXED, times_s=times_s, wake_s=wake_s)
    return ServiceTable(
        kind=KNOTS,
        below=below,
        weight=weight,
        first=np.cumsum([0, *(len(law.probabilities) for law in laws)], dtype=np.int64),
        probabilities=np.concatenate([law.probabilities for law in laws]),
        durations_s=np.concatenate([law.durations_s for law in laws]),
        wake_s=wake_s,
    )


def unit_exponential(uniforms: Floats) -> Floats:
    """Exponential durations of mean 1 by inversion; numpy gives the same digits for one and for many."""
    return np.asarray(-np.log1p(-uniforms))


def mixed(low: float, high: float, weight: float) -> float:
    """A value between two others, by weight."""
    return low if weight == 0.0 else (1.0 - weight) * low + weight * high


@inlined
def quantile_s(
    first: Integers, probabilities: Floats, durations_s: Floats, law: int, probability: float
) -> float:
    """`ServiceLaw.quantile_s`, on arrays. [s]"""
    low, high = first[law], first[law + 1]
    right = low + 1
    if high - low > 2:
        right = max(right, low + first_not_below(probabilities[low:high], probability))
    u0, u1 = probabilities[right - 1], probabilities[right]
    x0, x1 = durations_s[right - 1], durations_s[right]
    if probability == u1:
        return float(x1)
    return float(min(x1, x0 + (x1 - x0) * ((probability - u0) / (u1 - u0))))


@inlined
def duration_s(
    kind: int,
    times_s: Floats,
    below: Integers,
    weight: Floats,
    first: Integers,
    probabilities: Floats,
    durations_s: Floats,
    size: int,
    uniform: float,
) -> float:
    """Service time of a batch, from its oldest request's uniform number or its duration of mean 1. [s]"""
    if kind == FIXED:
        return float(times_s[size - 1])
    if kind == SCALED:
        return float(times_s[size - 1] * uniform)
    law, share = below[size - 1], weight[size - 1]
    time_s = quantile_s(first, probabilities, durations_s, law, uniform)
    if share > 0.0:
        next_s = quantile_s(first, probabilities, durations_s, law + 1, uniform)
        time_s = (1.0 - share) * time_s + share * next_s
    return float(time_s)


@compiled
def service_time_s(laws: Laws, size: int, uniform: float) -> float:
    """`duration_s`, for calls from outside compiled code. [s]"""
    kind, times_s, below, weight, first, probabilities, durations_s, _ = laws
    return duration_s(kind, times_s, below, weight, first, probabilities, durations_s, size, uniform)


# A service time by batch size and uniform number. [s]
Draw = Callable[[int, float], float]

# Slowdowns of replicas that share nothing: each has its own device.
ALONE = (1.0,)


def slowdowns_of(profile: ServiceProfile, replicas: int) -> tuple[float, ...]:
    """Slowdowns of the replicas that share a device; those of one alone if none slows another."""
    slowdowns = profile.slowdowns(replicas)
    return slowdowns if slowdowns[-1] > 1.0 else ALONE


class ServiceTimes(Protocol):
    """Service times that either engine can draw, to the same digit.

    Attributes:
        wake_s: extra time of a batch that starts at an idle replica. [s]
    """

    @property
    def wake_s(self) -> float: ...  # noqa: D102  (see above)

    def __call__(self, batch_size: int, uniform: float, /) -> float:
        """Service time of a batch that starts right after another. [s]"""

    def table(self, batch_size_max: int) -> ServiceTable:
        """Table of these service times for the compiled engine, up to a batch size."""


class ProfileTimes:
    """Draws from a measured profile by inverse quantile function, interpolated between measured sizes."""

    def __init__(self, profile: ServiceProfile) -> None:
        self._profile = profile
        self.wake_s = profile.wake_s
        self._mixtures: dict[int, tuple[ServiceLaw, ServiceLaw, float]] = {}
        self._tables: dict[int, ServiceTable] = {}

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time of a batch. [s]"""
        mixture = self._mixtures.get(batch_size)
        if mixture is None:
            mixture = self._mixtures[batch_size] = self._mixture(batch_size)
        low, high, weight = mixture
        if weight == 0.0:
            return low.quantile_s(uniform)
        return mixed(low.quantile_s(uniform), high.quantile_s(uniform), weight)

    def table(self, batch_size_max: int) -> ServiceTable:
        """Knots of the measured sizes, and the position of each size up to the largest between two of them."""
        if batch_size_max not in self._tables:
            below, weight = _places(self._profile, batch_size_max)
            self._tables[batch_size_max] = knots(self._profile.laws, below, weight, self.wake_s)
        return self._tables[batch_size_max]

    def _mixture(self, batch_size: int) -> tuple[ServiceLaw, ServiceLaw, float]:
        place, weight = self._profile.place(batch_size)
        laws = self._profile.laws
        return laws[place], laws[min(place + 1, len(laws) - 1)], weight


def _places(profile: ServiceProfile, batch_size_max: int) -> tuple[Integers, Floats]:
    """`ServiceProfile.place` of each batch size up to the largest, which may be a hundred thousand."""
    for size in (1, batch_size_max):
        profile.place(size)  # refuses sizes outside
    measured, sizes = np.array(profile.batch_sizes), np.arange(1, batch_size_max + 1)
    right = np.searchsorted(measured, sizes)
    below = np.where(measured[right] == sizes, right, right - 1)
    return below, (sizes - measured[below]) / np.maximum(measured[right] - measured[below], 1)


class ExponentialTimes:
    """Exponential service, for queues that theory knows exactly.

    Args:
        means_s: one mean whatever the batch size, or by batch size less 1. [s]
        wake_s: extra time of the first batch after a rest. [s]
    """

    def __init__(self, means_s: float | Sequence[float], wake_s: float = 0.0) -> None:
        self._means_s = means_s
        self.wake_s = wake_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        """Service time by inversion. [s]"""
        return self._mean_s(batch_size) * float(unit_exponential(np.array([uniform]))[0])

    def table(self, batch_size_max: int) -> ServiceTable:
        """Means by batch size, and the inverse of the distribution function."""
        means_s = np.array([self._mean_s(size) for size in range(1, batch_size_max + 1)])
        return ServiceTable(kind=SCALED, times_s=means_s, draw=unit_exponential, wake_s=self.wake_s)

    def _mean_s(self, batch_size: int) -> float:
        return self._means_s if isinstance(self._means_s, float) else self._means_s[batch_size - 1]
