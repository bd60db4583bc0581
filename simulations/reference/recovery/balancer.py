"""Balancer: sends each attempt to a replica that it believes to be well, or into the queue of all."""

from collections.abc import Sequence
from typing import Protocol

from capacity.traffic.clients import Failure
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.ejection import Ejection
from simulations.reference.recovery.guide import Guide
from simulations.reference.recovery.room import Room
from simulations.reference.recovery.surroundings import Counts
from simulations.reference.replica import Clock


class Routed(Protocol):
    """A replica that attempts are sent to.

    Attributes:
        outstanding: attempts that it holds.
        is_visible: whether the router sends attempts there.
        has_crashed: whether it refuses them.
    """

    index: int
    outstanding: int
    is_visible: bool
    has_crashed: bool

    def count(self, more: int) -> None:
        """It holds this many attempts more; none if one was sent there and refused at once."""

    def admit(self, attempt: Attempt) -> bool:
        """An attempt is sent there; False if its queue is full."""


class Queue(Protocol):
    """Where attempts wait."""

    def admit(self, attempt: Attempt) -> bool:
        """An attempt comes to the end; False if it is full."""


class OneQueue:
    """No balancer: all replicas share a queue, where attempts wait for any of them."""

    def __init__(self, queue: Queue, counts: Counts) -> None:
        self._queue = queue
        self._counts = counts
        self.room = Room(counts)

    def read(self, instant_s: float) -> None:
        """A queue of all needs to know nothing of the replicas."""

    def goes(self, replica: int, *, is_back: bool) -> None:
        """A queue of all is there without any replica."""

    def left(self, replica: int) -> None:
        """A queue of all chooses no replica."""

    def admit(self, attempt: Attempt) -> Failure | None:
        """Take an attempt, or say how it has failed at once."""
        if self._queue.admit(attempt):
            return None
        self._counts.rejected += 1
        return Failure.REJECTED

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """Replicas are not ejected where none is chosen."""

    def answered(self, attempt: Attempt) -> None:
        """Replicas are not ejected where none is chosen."""

    def first_token(self, attempt: Attempt) -> None:
        """A queue of all remembers nothing."""


class Balancer:
    """A queue at each replica.

    Attributes:
        room: where attempts wait for replicas that will be back.

    Args:
        hedges: whether clients send attempts beside others, which go to another replica if there is one.
        ejection: None where replicas are not ejected.
    """

    def __init__(
        self,
        clock: Clock,
        guide: Guide,
        replicas: Sequence[Routed],
        ejection: Ejection | None,
        counts: Counts,
        *,
        hedges: bool,
    ) -> None:
        self._clock, self._guide = clock, guide
        self._replicas = replicas
        self._hedges = hedges
        self._ejection = ejection
        self._counts = counts
        self.room = Room(counts)
        self._away: set[int] = set()  # replicas that will be back

    def admit(self, attempt: Attempt) -> Failure | None:
        """Take an attempt, or say how it has failed at once."""
        if self._guide.drops_abandoned and not attempt.is_waited_for:
            self._counts.dropped += 1
            return None
        candidates = self._candidates(attempt)
        if not candidates and self._away:
            self.room.keep(attempt)
            return None
        if not candidates:
            attempt.target = None
            self._counts.rejected += 1
            return Failure.REJECTED
        replica: Routed = self._guide.choose(candidates, attempt, self._clock.now)
        attempt.target = replica
        if self._ejection is not None:
            self._ejection.chosen(replica)
        if replica.has_crashed:
            replica.count(0)
            self._counts.crashed += 1
            return Failure.CRASHED
        is_admitted = replica.admit(attempt)
        replica.count(int(is_admitted))
        if not is_admitted:
            self._counts.rejected += 1
            return Failure.REJECTED
        return None

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """Its client had no reply."""
        self._guide.done(attempt.request.number)
        if self._ejection is not None and attempt.target is not None:
            self._ejection.failed(attempt.target, failure)

    def answered(self, attempt: Attempt) -> None:
        """Its client had the reply in time."""
        self._guide.done(attempt.request.number)
        if self._ejection is not None and attempt.target is not None:
            self._ejection.answered(attempt.target)

    def first_token(self, attempt: Attempt) -> None:
        """Its client has the first token."""
        self._guide.first_token(attempt.request.number)

    def read(self, instant_s: float) -> None:
        """Something will change just after this instant."""
        self._guide.read([replica for replica in self._replicas if self._seems_well(replica)], instant_s)

    def goes(self, replica: int, *, is_back: bool) -> None:
        """A replica goes away for a while, or is back."""
        if is_back:
            self._away.discard(replica)
        else:
            self._away.add(replica)

    def left(self, replica: int) -> None:
        """A replica is in the pool no more."""
        self._guide.left(replica)

    def _candidates(self, attempt: Attempt) -> list[Routed]:
        """Replicas that seem well; where clients hedge, without those that hold another attempt, if others are left."""
        well = [replica for replica in self._replicas if self._seems_well(replica)]
        if not self._hedges:
            return well
        held = {other.target.index for other in attempt.request.live if other is not attempt and other.target}
        return [replica for replica in well if replica.index not in held] or well

    def _seems_well(self, replica: Routed) -> bool:
        return replica.is_visible and not (self._ejection and self._ejection.is_out(replica))
