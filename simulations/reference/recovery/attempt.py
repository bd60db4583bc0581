"""Attempt: one try of a request, where it is, and whether its client still waits for it."""

import math
from dataclasses import dataclass, field
from typing import Protocol


class Place(Protocol):
    """A queue, or a batch at a replica."""

    def abandon(self, attempt: "Attempt") -> None:
        """Its client has told that no client waits for it any more."""


class Target(Protocol):
    """A replica that attempts are routed to.

    Attributes:
        outstanding: attempts routed there that it still holds.
    """

    index: int
    outstanding: int

    def count(self, more: int) -> None:
        """It holds this many attempts more, or fewer."""


@dataclass(slots=True, eq=False)
class Request:
    """What a client wants.

    Attributes:
        number: in order of arrival.
        deadline_s: the instant from which on no attempt begins, and no reply counts. [s]
        used: attempts sent so far, or to be sent after a backoff.
        live: those of them that the client waits for, in order.
    """

    number: int
    arrived_s: float
    deadline_s: float
    used: int = 0
    live: list["Attempt"] = field(default_factory=list)
    is_decided: bool = False


@dataclass(slots=True, eq=False)
class Attempt:
    """One try.

    Attributes:
        number: 0 is the first try of its request.
        expires_s: when its client stops waiting for it. [s]
        place: which queue or batch it is in, if any.
        target: where it was routed to last; none in a queue that all replicas share.
    """

    request: Request
    number: int
    is_waited_for: bool = True
    sent_s: float = math.nan
    expires_s: float = math.inf
    place: Place | None = None
    target: Target | None = None

    @property
    def is_retry(self) -> bool:
        """Whether another one was made before it."""
        return self.number > 0

    def leave(self) -> None:
        """Served or not, it is in no queue or batch any more."""
        self.place = None
        if self.target is not None:
            self.target.count(-1)
