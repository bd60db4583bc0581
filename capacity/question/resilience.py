"""Survival: what a fleet must survive, and how many of its replicas are gone then."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from capacity.beta import beta_shares
from capacity.errors import DomainError, InputError

# A share is meant as it was typed: 29 % of 100 are 29, not the 28 of 28.999999999999996.
_DENOMINATOR_MAX = 1_000_000_000
_STARTUP_MAX_S = 1e9
MORE_DOWN_SHARE = 1e-4  # of the time, in which more replicas may be down than a fleet is planned for


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """A jump in traffic that lasts; new replicas need a while to be ready."""

    factor: float
    startup_time_s: float

    def __post_init__(self) -> None:
        if not 1.0 < self.factor <= 100.0:
            raise DomainError(f"a spike's factor must be above 1 and at most 100, got {self.factor:g}")
        if not 0.0 < self.startup_time_s <= _STARTUP_MAX_S:
            raise DomainError(
                f"a spike's startup time must be above 0 and at most {_STARTUP_MAX_S:g} s, "
                f"got {self.startup_time_s:g} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What a failure leaves of a fleet.

    Attributes:
        replicas: number of replicas of the whole fleet.
        left: number of those that are left; 0 or less if none is.
        beyond_share: share of the time in which fewer are left; None if the failure is not one of chance.
    """

    event: str
    replicas: int
    left: int
    beyond_share: float | None = None


def whole_fleet(plan: Any, outage: Outage | None) -> Any:
    """The whole fleet of a plan of which a failure has left this."""
    return plan if outage is None else replace(plan, replicas=outage.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdowns:
    """Replicas that fail now and then, each by itself, and come back.

    Attributes:
        mtbf_s: mean time that a replica runs until it fails. [s]
        recovery_s: mean time until it runs again. [s]

    Source:
        Barlow & Proschan (1975), Statistical Theory of Reliability and Life Testing, sec. 7.2: the share of time
        that a unit is down depends on the two means alone.
    """

    mtbf_s: float
    recovery_s: float

    def __post_init__(self) -> None:
        for name, value_s in (("--mtbf", self.mtbf_s), ("--recovery-time", self.recovery_s)):
            if not 0.0 < value_s < math.inf:
                raise DomainError(f"{name} must be above 0 and finite, got {value_s:g} s")

    @property
    def down_share(self) -> float:
        """Share of the time that a replica is down."""
        return self.recovery_s / (self.mtbf_s + self.recovery_s)

    def down_at_once(self, replicas: int) -> int:
        """Replicas that may be down at once: more are at most 0.01 % of the time, 53 minutes a year.

        >>> Breakdowns(mtbf_s=264 * 86400.0, recovery_s=300.0).down_at_once(100)
        1
        """
        down = 0
        while self.beyond_share(replicas, down) > MORE_DOWN_SHARE:
            down += 1
        return down

    def beyond_share(self, replicas: int, down: int) -> float:
        """Share of the time in which more replicas than these are down at once: each is by itself.

        >>> round(Breakdowns(mtbf_s=9.0, recovery_s=1.0).beyond_share(2, 1), 12)
        0.01
        """
        down_share = self.down_share
        return (
            0.0
            if down >= replicas
            else beta_shares(down + 1, replicas - down, down_share, 1.0 - down_share)[0]
        )

    def outage(self, replicas: int) -> Outage:
        """What breakdowns leave of a fleet for all but 0.01 % of the time."""
        down = self.down_at_once(replicas)
        return Outage(
            event=f"{down} broken down at once",
            replicas=replicas,
            left=replicas - down,
            beyond_share=self.beyond_share(replicas, down),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """The failures under which the objective must still be met; none by default.

    Attributes:
        spare: replicas that may be gone at once.
        zones: zones over which devices are spread as evenly as possible, one of which may be gone, with all
            replicas on its devices.
        unavailable_share: share of the replicas that a rolling update may take away, rounded down as
            orchestrators do, and at least one, since otherwise no update could begin.
        spike: traffic to survive until new replicas are ready.
        breakdowns: of replicas, of which as many may be down at once as are but for 53 minutes a year.
    """

    spare: int = 0
    zones: int | None = None
    unavailable_share: float | None = None
    spike: Spike | None = None
    breakdowns: Breakdowns | None = None

    def __post_init__(self) -> None:
        if self.spare < 0:
            raise DomainError(f"spare must be >= 0, got {self.spare}")
        if self.zones is not None and self.zones < 2:
            raise InputError(
                f"zones must be 2 or more, or the loss of one is the loss of all, got {self.zones}"
            )
        if self.unavailable_share is not None and not 0.0 < self.unavailable_share < 1.0:
            raise DomainError(f"unavailable_share must be within (0, 1), got {self.unavailable_share}")

    def losses(self, replicas: int, per_device: int = 1) -> dict[str, int]:
        """Number of replicas gone in each event that was asked for.

        Args:
            per_device: replicas that share a device, and so a zone.

        >>> Survival(spare=1, zones=3, unavailable_share=0.25).losses(10)
        {'1 replica gone': 1, 'one of 3 zones gone': 4, 'rolling update': 2}
        """
        lost: dict[str, int] = {}
        if self.spare:
            lost[f"{self.spare} replica{'s' if self.spare > 1 else ''} gone"] = self.spare
        if self.zones is not None:
            devices = -(-replicas // per_device)
            lost[f"one of {self.zones} zones gone"] = min(replicas, -(-devices // self.zones) * per_device)
        if self.unavailable_share is not None:
            share = Fraction(self.unavailable_share).limit_denominator(_DENOMINATOR_MAX)
            lost["rolling update"] = max(1, math.floor(share * replicas))
        if self.breakdowns is not None:
            broken = self.breakdowns.outage(replicas)
            lost[broken.event] = replicas - broken.left
        return lost

    def events(self, replicas: int, per_device: int = 1) -> Iterator[tuple[str, int]]:
        """Each loss that was asked for and how many replicas it leaves, if any, the worst first."""
        losses = self.losses(replicas, per_device)
        for event in sorted(losses, key=lambda name: -losses[name]):
            if replicas > losses[event]:
                yield event, replicas - losses[event]

    def devices_min(self, stable: int, replicas_min: int, per_device: int = 1) -> int:
        """Fewest full devices, of at least this many replicas, that leave a stable number after the worst loss."""
        devices = math.ceil(max(stable, replicas_min) / per_device)
        while (missing := stable - self.left(devices * per_device, per_device)) > 0:
            devices += math.ceil(missing / per_device)
        return devices

    def worst(self, replicas: int, per_device: int = 1) -> str | None:
        """The loss of most replicas; None if there is nothing to survive."""
        losses = self.losses(replicas, per_device)
        return max(losses, key=lambda event: losses[event], default=None)

    def outage(self, replicas: int, per_device: int = 1) -> Outage | None:
        """What the worst failure leaves; None if there is nothing to survive."""
        event = self.worst(replicas, per_device)
        if event is None:
            return None
        broken = None if self.breakdowns is None else self.breakdowns.outage(replicas)
        if broken is not None and broken.event == event:
            return broken
        return Outage(event=event, replicas=replicas, left=self.left(replicas, per_device))

    def left(self, replicas: int, per_device: int = 1) -> int:
        """Replicas left in the worst case; 0 or less if none is."""
        return replicas - max(self.losses(replicas, per_device).values(), default=0)
