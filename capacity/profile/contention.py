"""Contention: how much longer a batch takes while other model instances of its device are busy."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from capacity.errors import DomainError, InputError
from capacity.profile.scalability import fit_scalability


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """How many times longer service takes while 1, 2, ..., k instances of one device are busy.

    All 1 is no contention; m for m is processor sharing (the device works at one rate, divided among the busy
    instances); above m is worse than one after the other.

    Attributes:
        slowdowns: by number of busy instances, from 1; the first is 1, and they do not fall. [dimensionless]
        is_measured: whether they were measured; processor sharing is an assumption.

    Raises:
        InputError: no slowdown, a first one other than 1, or one that falls or is not finite.
    """

    slowdowns: tuple[float, ...]
    is_measured: bool

    def __post_init__(self) -> None:
        if not self.slowdowns or self.slowdowns[0] != 1.0:
            raise InputError(
                f"the first slowdown must be 1, got {self.slowdowns[:1]}; it is for one busy instance "
                "alone, so divide all by it"
            )
        for busy, (below, slowdown) in enumerate(pairwise(self.slowdowns), start=2):
            if not below <= slowdown < math.inf:
                raise InputError(
                    f"the slowdown of {busy} busy instances must be finite and not below the {below:g} of "
                    f"{busy - 1}, got {slowdown}; measure both again, with all of them always busy"
                )

    @property
    def instances(self) -> int:
        """The largest number of busy instances with a slowdown."""
        return len(self.slowdowns)

    def slowdown(self, busy: int) -> float:
        """How many times longer service takes while this many instances are busy, itself included.

        Raises:
            DomainError: no instance, or more than there are slowdowns for.
        """
        if not 1 <= busy <= self.instances:
            raise DomainError(
                f"contention is known for 1 to {self.instances} busy instances and not for {busy}; "
                "measure it for that many too"
            )
        return self.slowdowns[busy - 1]

    def up_to(self, instances: int) -> "Contention":
        """The contention of a device with at most this many instances."""
        self.slowdown(instances)
        return Contention(slowdowns=self.slowdowns[:instances], is_measured=self.is_measured)


def processor_sharing(instances: int) -> Contention:
    """A device whose rate of work does not depend on the number of busy instances: m of them take m times as long.

    This is conservative as long as a lone instance leaves part of the device idle.

    Source:
        Kleinrock (1967), J. ACM 14(2), 242-261; with a rate for each number of busy ones: Cohen (1979),
        Acta Informatica 12, 245-284.

    >>> processor_sharing(3).slowdowns
    (1.0, 2.0, 3.0)
    """
    if instances < 1:
        raise DomainError(f"instances must be >= 1, got {instances}")
    return Contention(slowdowns=tuple(float(busy) for busy in range(1, instances + 1)), is_measured=False)


def measured(slowdowns: Iterable[float]) -> Contention:
    """Slowdowns measured with 1, 2, ... instances always busy.

    >>> measured([1, 1.8]).slowdown(2)
    1.8
    """
    return Contention(slowdowns=tuple(float(slowdown) for slowdown in slowdowns), is_measured=True)


INSTANCES_MAX = 1000  # more on one device is a mistake
_FIT_SIZES_MIN = 3  # parameters of the universal scalability law


def from_sweep(throughputs_rps: Mapping[int, float]) -> Contention:
    """Slowdowns from throughput by number of busy instances, within what was measured.

    m instances that do X(m) together each take m·X(1)/X(m) times as long as one alone. Three or more numbers of
    instances are smoothed by the universal scalability law, whose slowdown is 1 + sigma (m - 1) + kappa m (m - 1);
    with only 1 and 2 the quotient is used as it is.

    Args:
        throughputs_rps: throughput of the whole device, by number of instances that were always busy. [requests/s]

    Raises:
        InputError: one instance or a second number is missing, or two do less than one alone.
        DomainError: a throughput that is not positive and finite.

    Source:
        Gunther (2007), Guerrilla Capacity Planning, ch. 4-6.

    >>> from_sweep({1: 500.0, 2: 800.0}).slowdowns
    (1.0, 1.25)
    """
    if 1 not in throughputs_rps or len(throughputs_rps) < 2:
        raise InputError(
            f"a sweep of busy instances needs 1 and at least one more, got {sorted(throughputs_rps)[:6]}; "
            "measure one instance alone and all together"
        )
    most = max(throughputs_rps)
    if not 1 < most <= INSTANCES_MAX or min(throughputs_rps) < 1:
        raise InputError(
            f"busy instances must be from 1 to {INSTANCES_MAX}, got {sorted(throughputs_rps)[:6]}; "
            "they count those of one device"
        )
    if len(throughputs_rps) < _FIT_SIZES_MIN:
        return _of_two(throughputs_rps, most)
    law = fit_scalability({float(busy): rate for busy, rate in throughputs_rps.items()}).law
    return measured([1.0, *(1.0 / law.efficiency(busy) for busy in range(2, most + 1))])


def _of_two(throughputs_rps: Mapping[int, float], most: int) -> Contention:
    """Slowdowns of 1 and 2; two numbers do not determine the law's parameters."""
    if most > 2:
        raise InputError(
            f"a sweep of 1 and {most} busy instances says nothing about the numbers in between; measure "
            "one of them too"
        )
    for busy, rate_rps in throughputs_rps.items():
        if not 0.0 < rate_rps < float("inf"):
            raise InputError(f"throughput of {busy} busy instances must be > 0 and finite, got {rate_rps}")
    return measured([1.0, max(1.0, 2.0 * throughputs_rps[1] / throughputs_rps[2])])
