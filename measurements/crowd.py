"""Crowd: users who ask, think and ask again, each by itself, so that requests come as they do in service."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError, Thread

from capacity.errors import DependencyError
from measurements.http_exchange import HttpExchange
from measurements.server_timing import parse_server_timing

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# Users that are ready wait this long at most for the last of them.
_GATHER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server told of the batch that a request was in: its size and time. [s]"""

    batch_size: int
    batch_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdRun:
    """What a crowd was answered.

    Attributes:
        users: who asked, one request of one row at a time each.
        told: of the batch of each answer.
        lasted_s: from the first request to the last answer. [s]
        computed_s: by which the server's counter grew meanwhile. [s]
        cpu_share: of one core, that asking took.
    """

    users: int
    told: Sequence[Told]
    lasted_s: float
    computed_s: float
    cpu_share: float

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.told)

    @property
    def batches(self) -> float:
        """How many batches they were served in: of a batch of b, each request is one b-th."""
        return sum(1.0 / one.batch_size for one in self.told)

    @property
    def batches_s(self) -> float:
        """Time of all batches. [s]"""
        return sum(one.batch_s / one.batch_size for one in self.told)


@dataclass(slots=True, kw_only=True)
class _User:
    """One of the crowd."""

    exchange: HttpExchange
    body: bytes
    dice: random.Random
    think_s: float
    told: list[Told] = field(default_factory=list)
    answered_s: float = 0.0
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
        while True:
            thought_s = self.dice.expovariate(1.0 / self.think_s)
            left_s = until_s - time.monotonic()
            if thought_s >= left_s:
                return  # and nobody waits for who is still thinking
            time.sleep(thought_s)
            self.told.append(self._once())
            self.answered_s = time.perf_counter()

    def _once(self) -> Told:
        headers = self.exchange.ask("POST", self.body, _HEADERS).headers
        size = headers.get("x-batch-size", "")
        batch_s = parse_server_timing(headers.get("server-timing", "")).get("batch", 0.0)
        if not (size.isascii() and size.isdigit() and 0 < len(size) < 9 and int(size) > 0 and batch_s > 0.0):
            raise DependencyError(
                "the server does not tell each request's batch by X-Batch-Size and Server-Timing, without "
                "which its work beside batches is not to be seen; leave out --counters, and give "
                "--request-work if you know it"
            )
        return Told(batch_size=int(size), batch_s=batch_s)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a crowd asks.

    Attributes:
        body: a request of one row.
        think_s: mean of the exponential time from an answer to the next request. [s]
    """

    body: bytes
    think_s: float
    duration_s: float
    seed: int


def crowd(exchanges: Sequence[HttpExchange], manner: Manner, counter: Callable[[], float]) -> CrowdRun:
    """Let a user on each connection ask for so long.

    Args:
        counter: CPU time of the server's inference thread so far. [s]

    Raises:
        DependencyError: a request failed.
    """
    users = [
        _User(
            exchange=exchange,
            body=manner.body,
            dice=random.Random(f"{manner.seed}-{number}"),  # noqa: S311  (nothing secret)
            think_s=manner.think_s,
        )
        for number, exchange in enumerate(exchanges)
    ]
    clocks = _Clocks(counter)
    start = Barrier(len(users), action=clocks.read)
    threads = [Thread(target=user.ask, args=(start, manner.duration_s), daemon=True) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu_s = time.process_time() - clocks.began_cpu_s
    for failure in (clocks.failure, *(user.failure for user in users)):
        if failure is not None:
            raise failure
    lasted_s = max(user.answered_s for user in users) - clocks.began_s
    return CrowdRun(
        users=len(users),
        told=[told for user in users for told in user.told],
        lasted_s=lasted_s,
        computed_s=counter() - clocks.computed_s,
        cpu_share=cpu_s / lasted_s if lasted_s > 0.0 else 0.0,
    )
