"""Crowd: users who each ask again as soon as they are answered, so that a server never rests."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError, Thread

from capacity.errors import DependencyError
from measurements.address import Address
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
        cpu_share: of one core, that asking took.
    """

    users: int
    batch_sizes: Sequence[int]
    lasted_s: float
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
        with suppress(BrokenBarrierError):  # whoever broke it says why
            try:
                self._once()  # connected and warm
                start.wait(_GATHER_S)
                self._go_on(time.monotonic() + duration_s)
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
                "its batches; leave out --metrics, and give --request-work if you know it"
            )
        return int(told)


def crowd(address: Address, body: bytes, users: int, duration_s: float, timeout_s: float) -> CrowdRun:
    """Let so many users ask for so long, each over a connection of its own.

    Raises:
        DependencyError: a request failed.
    """
    asking = [_User(HttpExchange(address, timeout_s=timeout_s), body) for _ in range(users)]
    start = Barrier(users + 1)
    threads = [Thread(target=user.ask, args=(start, duration_s), daemon=True) for user in asking]
    try:
        for thread in threads:
            thread.start()
        began_s, began_cpu_s = _start(start)
        for thread in threads:
            thread.join()
        lasted_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    finally:
        for user in asking:
            user.exchange.close()
    _check(asking)
    sizes = [size for user in asking for size in user.batch_sizes]
    return CrowdRun(users=users, batch_sizes=sizes, lasted_s=lasted_s, cpu_share=cpu_s / lasted_s)


def _start(start: Barrier) -> tuple[float, float]:
    """Clock and CPU time at which all begin; a user that failed has said so."""
    with suppress(BrokenBarrierError):
        start.wait(_GATHER_S)
    return time.perf_counter(), time.process_time()


def _check(asking: Sequence[_User]) -> None:
    for user in asking:
        if user.failure is not None:
            raise user.failure
    if not all(user.batch_sizes for user in asking):
        raise DependencyError("a crowd of users was not answered once in its time; give it longer")
