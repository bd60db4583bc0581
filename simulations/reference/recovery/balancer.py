"""Balancer: sends each attempt to a replica that it believes to be well, or into the queue of all."""

from collections.abc import Sequence
from typing import Protocol

from capacity.question.plan import Routing
from capacity.traffic.clients import Failure
from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.ejection import Ejection
from simulations.reference.recovery.surroundings import Counts
from simulations.routing.candidates import Policy
from simulations.routing.policies import POLICIES


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

    def admit(self, attempt: Attempt) -> Failure | None:
        """Take an attempt, or say how it has failed at once."""
        if self._queue.admit(attempt):
            return None
        self._counts.rejected += 1
        return Failure.REJECTED

    def failed(self, attempt: Attempt) -> None:
        """Replicas are not ejected where none is chosen."""

    def answered(self, attempt: Attempt) -> None:
        """Replicas are not ejected where none is chosen."""


_NOT_DRAWN = [0.0, 0.0]  # for policies that leave nothing to chance


class Balancer:
    """A queue at each replica.

    Args:
        uniforms: by number of the attempt and of the request, two of them.
        hedges: whether clients send attempts beside others, which go to another replica if there is one.
        ejection: None where replicas are not ejected.
    """

    def __init__(
        self,
        routing: Routing,
        replicas: Sequence[Routed],
        uniforms: list[list[list[float]]],
        ejection: Ejection | None,
        counts: Counts,
        *,
        hedges: bool,
    ) -> None:
        self._replicas = replicas
        self._hedges = hedges
        self._uniforms = uniforms
        self._ejection = ejection
        self._counts = counts
        self._policy: Policy[Routed] = POLICIES[routing](len(replicas))

    def admit(self, attempt: Attempt) -> Failure | None:
        """Take an attempt, or say how it has failed at once."""
        candidates = self._candidates(attempt)
        if not candidates:
            attempt.target = None
            self._counts.rejected += 1
            return Failure.REJECTED
        uniforms = self._uniforms[attempt.number][attempt.request.number] if self._uniforms else _NOT_DRAWN
        replica = self._policy(candidates, uniforms)
        attempt.target = replica
        if replica.has_crashed:
            self._counts.crashed += 1
            return Failure.CRASHED
        if not replica.admit(attempt):
            self._counts.rejected += 1
            return Failure.REJECTED
        replica.outstanding += 1
        return None

    def failed(self, attempt: Attempt) -> None:
        """Its client had no reply."""
        if self._ejection is not None and attempt.target is not None:
            self._ejection.failed(attempt.target)

    def answered(self, attempt: Attempt) -> None:
        """Its client had the reply in time."""
        if self._ejection is not None and attempt.target is not None:
            self._ejection.answered(attempt.target)

    def _candidates(self, attempt: Attempt) -> list[Routed]:
        """Replicas that seem well; where clients hedge, without those that hold another attempt, if others are left."""
        well = [replica for replica in self._replicas if self._seems_well(replica)]
        if not self._hedges:
            return well
        held = {other.target.index for other in attempt.request.live if other is not attempt and other.target}
        return [replica for replica in well if replica.index not in held] or well

    def _seems_well(self, replica: Routed) -> bool:
        return replica.is_visible and not (self._ejection and replica.index in self._ejection.ejected_s)
