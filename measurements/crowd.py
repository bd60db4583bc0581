"""Crowd: users who each ask again as soon as they are answered, so that a server never rests."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError, Thread

from capacity.errors import DependencyError
from measurements.http_exchange import HttpExchange

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# Idle users that have all connected wait this long at most for the last of them.
_GATHER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdRun:
    """What a crowd was answered.

    Attributes:
        users: who asked, one request of one row at a time each.
        batch_sizes: of the batch of each answer, as the server told it.
        lasted_s: from the first request to the last answer. [s]
        computed_s: by which the server's counter grew meanwhile. [s]
        cpu_share: of one core, that asking took.
    """

    users: int
    batch_sizes: Sequence[int]
    lasted_s: float
    computed_s: float
    cpu_share: float

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.batch_sizes)

    @property
    def batches(self) -> float:
        """How many batches they were served in: of a batch of b, each request is one b-th."""
        return sum(1.0 / size for size in self.batch_sizes)


@dataclass(slots=True)
class _User:
    """One of the crowd."""

    exchange: HttpExchange
    body: bytes
    batch_sizes: list[int] = field(default_factory=list)
    failure: DependencyError | None = None

    def ask(self, start: Barrier, duration_s: float) -> None:
        """Ask until time is up, beginning with all others; a failure is kept."""
        try:
            self._once()  # connected and warm
            start.wait(_GATHER_S)
            self._go_on(time.monotonic() + duration_s)
        except BrokenBarrierError:
            pass  # who broke it says why
        except DependencyError as error:
            self.failure = error
            start.abort()

    def _go_on(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            self.batch_sizes.append(self._once())

    def _once(self) -> int:
        told = self.exchange.ask("POST", self.body, _HEADERS).headers.get("x-batch-size", "")
        if not (told.isascii() and told.isdigit() and 0 < len(told) < 9 and int(told) > 0):
            raise DependencyError(
                "the server tells no X-Batch-Size, without which its work on requests cannot be told from "
                "its batches; leave out --counters, and give --request-work if you know it"
            )
        return int(told)


@dataclass(slots=True)
class _Clocks:
    """What is read when all begin: the time, the time on a core, and the server's counter."""

    counter: Callable[[], float]
    computed_s: float = 0.0
    began_s: float = 0.0
    began_cpu_s: float = 0.0
    failure: DependencyError | None = None

    def read(self) -> None:
        try:
            self.computed_s = self.counter()
        except DependencyError as error:
            self.failure = error
            raise
        self.began_s, self.began_cpu_s = time.perf_counter(), time.process_time()


def crowd(
    exchanges: Sequence[HttpExchange], body: bytes, duration_s: float, counter: Callable[[], float]
) -> CrowdRun:
    """Let a user on each connection ask for so long.

    Args:
        counter: CPU time of the server's inference thread so far. [s]

    Raises:
        DependencyError: a request failed.
    """
    users, clocks = [_User(exchange, body) for exchange in exchanges], _Clocks(counter)
    start = Barrier(len(users), action=clocks.read)
    threads = [Thread(target=user.ask, args=(start, duration_s), daemon=True) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted_s, cpu_s = time.perf_counter() - clocks.began_s, time.process_time() - clocks.began_cpu_s
    for failure in (clocks.failure, *(user.failure for user in users)):
        if failure is not None:
            raise failure
    return CrowdRun(
        users=len(users),
        batch_sizes=[size for user in users for size in user.batch_sizes],
        lasted_s=lasted_s,
        computed_s=counter() - clocks.computed_s,
        cpu_share=cpu_s / lasted_s,
    )
