"""BulkQuestion: a question about dynamic batching, and the law that answers it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.chain import require_batch_times
from capacity.queues.batch.exponential import BulkMarkov
from capacity.server.batch.batching import BatchTimer
from capacity.units import QUANTILES, require_count, require_not_negative

if TYPE_CHECKING:  # heavy, and not to be loaded before they are needed
    from capacity.queues.batch.by_size import BulkCTMC
    from capacity.queues.batch.closed import BulkClosed
    from capacity.queues.batch.gamma import BulkJitter

    BulkLaw = Bulk | BulkClosed | BulkCTMC | BulkJitter | BulkMarkov


class BatchService(StrEnum):
    """Law of a batch's service time, given its size."""

    DETERMINISTIC = "deterministic"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSplit:
    """A fleet under random routing: Poisson arrivals split into independent Poisson streams.

    Source:
        Kingman (1993), Poisson Processes, sec. 5.1 (colouring theorem).
    """

    one: "BulkLaw"
    replicas: int

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """Performance of the fleet: counts are summed over the replicas."""
        return self.one.performance(quantiles).times(self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkQuestion:
    """Poisson arrivals or a number of users, and replicas that serve in batches.

    Raises:
        DomainError: neither or both of a rate and users, or two features that no law has together;
            simulation answers these.
    """

    batch_times_s: tuple[float, ...]
    arrival_rate_rps: float | None = None
    batch_size_min: int = 1
    batch_wait_max_s: float = 0.0
    timer: BatchTimer = BatchTimer.OLDEST
    batch_service: BatchService = BatchService.DETERMINISTIC
    service_cv: float = 0.0
    replicas: int = 1
    routing: Routing = Routing.ROUND_ROBIN
    users: int | None = None
    think_time_s: float | None = None

    def __post_init__(self) -> None:
        if (self.arrival_rate_rps is None) == (self.users is None):
            raise DomainError("give either an arrival rate or a number of users")
        if (self.users is None) != (self.think_time_s is None):
            raise DomainError("users and their think time belong together; 0 s is a think time too")
        require_batch_times(self.batch_times_s)
        require_count("replicas", self.replicas)
        require_not_negative("service_cv", self.service_cv)
        plain = self.batch_size_min == 1 and self.batch_wait_max_s == 0.0
        if self.users is not None and not (plain and self.replicas == 1 and self._is_deterministic):
            raise DomainError(
                "a number of users has an exact law for one greedy replica with deterministic batches; "
                "simulate instead"
            )
        if not plain and not self._is_deterministic:
            raise DomainError(
                "a minimum batch or a batch wait has an exact law for deterministic batches; simulate instead"
            )
        if self.batch_service is BatchService.EXPONENTIAL and self.service_cv not in (0.0, 1.0):
            raise DomainError("exponential service has a service_cv of 1; leave one of the two out")

    @property
    def model(self) -> str:
        """The usual name of the law."""
        size, count = len(self.batch_times_s), self.replicas
        if self.users is not None:
            return f"closed D^[1,{size}]/1"
        letter = "D" if self._is_deterministic else "M" if self._is_exponential else "G"
        servers = f"{count}" if self._is_shared or count == 1 else f"1 x {count}, {self.routing}"
        return f"M/{letter}^[{self.batch_size_min},{size}]/{servers}"

    def law(self) -> "BulkLaw | RandomSplit":
        """The law that answers the question.

        Raises:
            DomainError: no law does, or a number out of range.
            UnstableError: load >= 1.
        """
        if self.users is not None and self.think_time_s is not None:
            from capacity.queues.batch.closed import BulkClosed

            return BulkClosed(
                users=self.users, think_time_s=self.think_time_s, batch_times_s=self.batch_times_s
            )
        if self._is_deterministic:
            return self._deterministic()
        if self.replicas > 1 and self.routing is Routing.RANDOM:
            return RandomSplit(one=self._varying(1, self._rate_rps / self.replicas), replicas=self.replicas)
        if self.replicas > 1 and not self._is_shared:
            raise DomainError(
                f"routing {self.routing} of batches whose time varies has no exact law; "
                "random has, and shared-queue with exponential service; simulate instead"
            )
        return self._varying(self.replicas, self._rate_rps)

    @property
    def _rate_rps(self) -> float:
        return self.arrival_rate_rps or 0.0

    @property
    def _is_deterministic(self) -> bool:
        return self.batch_service is BatchService.DETERMINISTIC and self.service_cv == 0.0

    @property
    def _is_exponential(self) -> bool:
        return self.batch_service is BatchService.EXPONENTIAL or self.service_cv == 1.0

    @property
    def _is_shared(self) -> bool:
        return self.routing is Routing.SHARED_QUEUE

    def _deterministic(self) -> Bulk:
        return Bulk(
            arrival_rate_rps=self._rate_rps,
            batch_times_s=self.batch_times_s,
            batch_size_min=self.batch_size_min,
            batch_wait_max_s=self.batch_wait_max_s,
            timer=self.timer,
            replicas=self.replicas,
            routing=self.routing,
        )

    def _varying(self, servers: int, rate_rps: float) -> "BulkLaw":
        """The law of greedy replicas at one queue, with exponential service or, for one of them, gamma service."""
        times_s = self.batch_times_s
        if self._is_exponential and min(times_s) == max(times_s):
            return BulkMarkov(
                arrival_rate_rps=rate_rps,
                service_time_s=times_s[0],
                batch_size_max=len(times_s),
                servers=servers,
            )
        if self._is_exponential and servers > 1:
            from capacity.queues.batch.by_size import BulkCTMC

            return BulkCTMC(arrival_rate_rps=rate_rps, batch_times_s=times_s, servers=servers)
        if servers > 1:
            raise DomainError(
                "a shared queue has an exact law for exponential service only; simulate instead"
            )
        from capacity.queues.batch.gamma import BulkJitter

        return BulkJitter(
            arrival_rate_rps=rate_rps,
            batch_times_s=times_s,
            service_cv=1.0 if self._is_exponential else self.service_cv,
        )
