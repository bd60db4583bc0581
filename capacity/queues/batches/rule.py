"""Bulk rule: when a free replica starts a batch, and the law of the waits that follow from it."""

import math
from dataclasses import dataclass

import numpy as np

from capacity.errors import DomainError
from capacity.plan import BatchTimer, Routing
from capacity.queues.batches.chain import Service, Window
from capacity.queues.batches.oldest import OldestLaw
from capacity.queues.batches.window import WindowLaw
from capacity.queues.domain import require_count, require_not_negative

BatchLaw = WindowLaw | OldestLaw
_PHASES_MAX = 2048  # requests of a full batch times replicas under round-robin


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRule:
    """Greedy, a minimum batch, or a batch wait with one of the two timers; each has its exact law.

    Attributes:
        batch_size_min: a, without a batch wait.
        batch_wait_max_s: T; of the timer of the oldest request exact up to the time of a full batch. [s]
    """

    batch_size_min: int
    batch_wait_max_s: float
    timer: BatchTimer

    def require_law(self, batch_times_s: tuple[float, ...]) -> None:
        """Refuse what has no exact law with these batch times, before anything is computed.

        Raises:
            DomainError: a number out of range; a batch wait with a minimum batch; the timer of the
                oldest request with a wait above the time of a full batch.
        """
        size_max, full_s = len(batch_times_s), batch_times_s[-1]
        require_count("batch_size_min", self.batch_size_min, most=size_max)
        require_not_negative("batch_wait_max_s", self.batch_wait_max_s)
        if self.batch_wait_max_s > 0.0 and self.batch_size_min > 1:
            raise DomainError(
                f"a minimum batch has no batch wait, got {self.batch_size_min} and "
                f"{self.batch_wait_max_s:g} s; give batch_size_min or batch_wait_max_s"
            )
        if self.timer is BatchTimer.OLDEST and self.batch_wait_max_s > full_s and size_max > 1:
            raise DomainError(
                f"a batch wait of {self.batch_wait_max_s:g} s since the oldest request has an exact law up "
                f"to the service time of a full batch, {full_s:g} s; simulate instead, or take the "
                "timer 'open'"
            )

    def law(self, batch_times_s: tuple[float, ...], phase_rate_rps: float, stride: int) -> BatchLaw:
        """The law, with time in mean gaps of `phase_rate_rps`, of which `stride` make a request."""
        service = Service(phases=phase_rate_rps * np.array(batch_times_s), stride=stride)
        if self.batch_wait_max_s == 0.0 or service.batch_size_max == 1:
            return WindowLaw(service, Window(level=self.batch_size_min, wait=math.inf))
        wait = self.batch_wait_max_s * phase_rate_rps
        if self.timer is BatchTimer.OPEN:
            return WindowLaw(service, Window(level=service.batch_size_max, wait=wait))
        return OldestLaw(service, wait)


def require_routing(routing: Routing, replicas: int, batch_size_max: int) -> None:
    """Refuse a fleet of deterministic batches without an exact law, or with one that takes too long.

    Raises:
        DomainError: several replicas that share a queue or look at each other's; too many phases.
    """
    if replicas > 1 and routing not in (Routing.ROUND_ROBIN, Routing.RANDOM):
        raise DomainError(
            f"routing {routing} of deterministic batches has no exact law, only round-robin and "
            "random have; simulate instead"
        )
    phases = replicas * batch_size_max if routing is Routing.ROUND_ROBIN else batch_size_max
    if phases > _PHASES_MAX:
        raise DomainError(
            f"round-robin over {replicas} replicas with batches up to {batch_size_max} takes "
            f"{phases} phases, more than {_PHASES_MAX}; simulate instead, or take smaller batches"
        )
