"""Crowd: users who ask, think and ask again, each by itself, so that requests come as they do in service."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError, Event, Thread

from capacity.errors import DependencyError
from capacity.reading import printable
from measurements.http_exchange import HttpExchange
from measurements.server_timing import check_told, parse_server_timing

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
    """One of the crowd.

    Attributes:
        beside_s: of each answer, what was seen beyond the queue and the batch that it tells. [s]
        is_ready: whether it was answered once while the others still waited for it.
    """

    exchange: HttpExchange
    body: bytes
    dice: random.Random
    think_s: float
    told: list[Told] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    answered_s: float = 0.0
    is_ready: bool = False
    failure: Exception | None = None

    def ask(self, start: Barrier, stop: Event, duration_s: float) -> None:
        """Ask until time is up, beginning with all others; a failure is kept."""
        try:
            self._once()  # connected and warm
            self.beside_s.clear()
            self.is_ready = not start.broken
            start.wait(_GATHER_S)
            self._go_on(time.monotonic() + duration_s, stop)
        except BrokenBarrierError:
            pass  # who broke it says why, or nobody was ready in time
        except Exception as error:  # in a thread, whatever is not kept is lost
            self.failure = error
            stop.set()
            start.abort()

    def _go_on(self, until_s: float, stop: Event) -> None:
        while True:
            thought_s = self.dice.expovariate(1.0 / self.think_s)
            left_s = until_s - time.monotonic()
            if thought_s >= left_s:
                return  # and nobody waits for who is still thinking
            time.sleep(thought_s)
            if stop.is_set():
                return
            self.told.append(self._once())
            self.answered_s = time.perf_counter()

    def _once(self) -> Told:
        answer = self.exchange.ask("POST", self.body, _HEADERS)
        size = answer.headers.get("x-batch-size", "")
        told_s = parse_server_timing(answer.headers.get("server-timing", ""))
        batch_s = told_s.get("batch", 0.0)
        if not (size.isascii() and size.isdigit() and 0 < len(size) < 9 and int(size) > 0 and batch_s > 0.0):
            raise DependencyError(
                "the server does not tell each request's batch by X-Batch-Size and Server-Timing, without "
                "which its work beside batches is not to be seen; leave out --counters, and give "
                "--request-work if you know it"
            )
        self.beside_s.append(answer.seconds - batch_s - told_s.get("queue", 0.0))
        return Told(batch_size=int(size), batch_s=batch_s)


@dataclass(slots=True)
class _Clocks:
    """What is read when all begin: the time, the time on a core, and the server's counter."""

    counter: Callable[[], float]
    computed_s: float = 0.0
    began_s: float = 0.0
    began_cpu_s: float = 0.0
    has_begun: bool = False
    failure: Exception | None = None

    def read(self) -> None:
        try:
            self.computed_s = self.counter()
        except Exception as error:
            self.failure = error
            raise
        self.began_s, self.began_cpu_s = time.perf_counter(), time.process_time()
        self.has_begun = True


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
        DependencyError: a request failed, or the users could not all begin.
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
    _let_ask(users, clocks, manner.duration_s)
    cpu_s = time.process_time() - clocks.began_cpu_s
    _check(users, clocks)
    lasted_s = max(user.answered_s for user in users) - clocks.began_s
    return CrowdRun(
        users=len(users),
        told=[told for user in users for told in user.told],
        lasted_s=lasted_s,
        computed_s=counter() - clocks.computed_s,
        cpu_share=cpu_s / lasted_s if lasted_s > 0.0 else 0.0,
    )


def _let_ask(users: Sequence[_User], clocks: _Clocks, duration_s: float) -> None:
    """Until all are done. What ends it early ends their asking too, since connections are closed next."""
    start, stop = Barrier(len(users), action=clocks.read), Event()
    threads = [Thread(target=user.ask, args=(start, stop, duration_s), daemon=True) for user in users]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except RuntimeError as error:  # no more threads are to be had
        raise DependencyError(f"{len(users)} users are more than this machine can be: {error}") from None
    finally:
        stop.set()
        start.abort()


def _check(users: Sequence[_User], clocks: _Clocks) -> None:
    """Say what went wrong, whoever met it."""
    for failure in (clocks.failure, *(user.failure for user in users)):
        if isinstance(failure, DependencyError):
            raise failure
        if failure is not None:
            raise DependencyError(
                f"a user of the crowd failed: {type(failure).__name__} {printable(str(failure))[:120]}"
            ) from failure
    if not clocks.has_begun:
        waiting = sum(not user.is_ready for user in users)
        raise DependencyError(
            f"{waiting} of {len(users)} users had no first answer {_GATHER_S:g} s after others had, and the "
            "crowd did not begin; leave out --counters, and give --request-work if you know it"
        )
    check_told(beside_s for user in users for beside_s in user.beside_s)
