"""Users: they ask, think and ask again, each by itself, and so tell a server's work beside its batches.

With a request at a time, a batch has the core to itself. With many users, requests come and answers go while
a batch is served on the same core, and it takes longer by the work on these. Of a batch's time only what the
inference thread computed itself is taken off, by its own clock, since the machine may be quicker now.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.optimize import nnls

from capacity.errors import DependencyError, InconclusiveError
from capacity.interrupts import ctrl_c_by_python
from capacity.measurement.http import Address, check_told, fetch, session, told_by
from capacity.measurement.overhead import BATCH_CPU
from capacity.measurement.rounds import Report
from capacity.measurement.scrape import Scrape, read_page

if TYPE_CHECKING:
    import aiohttp

# Users for batches of a size, and how long each thinks, in times of such a batch: together they keep a server
# busy for seven tenths of its time or so, and come as irregularly as strangers.
_USERS_PER_REQUEST, _USERS_MAX, _THINK_BATCHES = 4, 256, 4.2
# More requests a second take a core for asking; where batches are quick, users think longer, and more of the
# server's time is its own.
_RATE_MAX_RPS = 1500.0
_DURATION_S = 3.0
# Users that take this share of a core may come as fast as they can ask, not as they mean to.
_CPU_SHARE_MAX = 0.9
_BATCHES_MIN = 20.0
_MEND = "leave out --counters, and give --request-work if you know it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Batches over some time.

    Attributes:
        requests: of one row, that came and were answered while batches were served.
        lasted_s: time of the batches. [s]
        computed_s: CPU time of the inference thread in them. [s]
    """

    batches: float
    requests: float
    lasted_s: float
    computed_s: float

    @property
    def beside_s(self) -> float:
        """Time of each batch that the inference thread did not compute. [s]"""
        return (self.lasted_s - self.computed_s) / self.batches

    @property
    def requests_per_batch(self) -> float:
        """Requests on which there was work while a batch was served."""
        return self.requests / self.batches


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBeside:
    """Work beside what was timed: of each batch, and of each of its requests. [s]

    Attributes:
        crowds: what they are told from.
    """

    batch_s: float
    request_s: float
    crowds: tuple[Stretch, ...]

    @classmethod
    def of(cls, alone: Stretch, crowds: Sequence[Stretch]) -> Self:
        """The two that fit crowds of several sizes best, neither below nothing, by least squares.

        What a lone batch takes beside its computing, such as being handed over, is in its timing already.

        Args:
            alone: the batches that were timed, one at a time.
        """
        requests = np.array([crowd.requests_per_batch for crowd in crowds])
        more_s = np.array([crowd.beside_s - alone.beside_s for crowd in crowds])
        terms = np.column_stack([np.ones(len(requests)), requests])
        # Each as a share of its batch, since the times of large batches scatter by more.
        scale = np.array([crowd.batches / crowd.lasted_s for crowd in crowds])
        (batch_s, request_s), _ = nnls(terms * scale[:, None], more_s * scale)
        return cls(batch_s=float(batch_s), request_s=float(request_s), crowds=tuple(crowds))


def computed_s(page: Scrape) -> float:
    """CPU time that a server's inference thread has taken so far. [s]

    Raises:
        DependencyError: it does not tell.
    """
    total_s = page.total(BATCH_CPU)
    if total_s is None:
        raise DependencyError(
            f"the metrics have no {BATCH_CPU}, without which work beside batches cannot be told from them; "
            f"{_MEND}"
        )
    return total_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who asks a server, and how.

    Attributes:
        body: a request of one row.
        timeout_s: of each request. [s]
        counters: where the server's metrics are.
        duration_s: how long each crowd asks. [s]
    """

    address: Address
    body: bytes
    timeout_s: float
    counters: Address
    duration_s: float = _DURATION_S

    def work_beside(self, alone: Stretch, means_s: Mapping[int, float], report: Report) -> WorkBeside:
        """Crowds for batches of several sizes.

        Args:
            means_s: mean time of batches one at a time by their size. [s]

        Raises:
            DependencyError: a request failed, or the server does not tell each request's batch.
            InconclusiveError: asking may have taken longer than answering.
        """
        return WorkBeside.of(alone, [self._stretch(size, means_s[size], report) for size in sorted(means_s)])

    def _stretch(self, size: int, mean_s: float, report: Report) -> Stretch:
        count = min(_USERS_PER_REQUEST * size, _USERS_MAX)
        report(f"a crowd of {count} users")
        think_s = max(_THINK_BATCHES * mean_s * count / (_USERS_PER_REQUEST * size), count / _RATE_MAX_RPS)
        with ctrl_c_by_python(), asyncio.Runner() as runner:
            crowd = runner.run(self.ask(count, think_s, seed=size))
        return crowd.stretch()

    async def ask(self, count: int, think_s: float, seed: int) -> "Crowd":
        """Let so many users ask, who think for so long on average. [s]"""
        async with session(self.timeout_s) as client:
            crowd = Crowd(count=count)
            try:
                async with asyncio.TaskGroup() as first:
                    for _ in range(count):  # all are connected and warm before anything counts
                        first.create_task(self._once(client, Crowd(count=1)))
                computed_s = await self._computed_s(client)
                began_s, began_cpu_s = time.perf_counter(), time.process_time()
                async with asyncio.TaskGroup() as asking:
                    for number in range(count):
                        asking.create_task(self._user(client, crowd, think_s, f"{seed}-{number}"))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            crowd.cpu_s = time.process_time() - began_cpu_s
            crowd.lasted_s = crowd.answered_s - began_s
            crowd.computed_s = await self._computed_s(client) - computed_s
        check_told(crowd.beside_s)
        return crowd

    async def _computed_s(self, client: "aiohttp.ClientSession") -> float:
        return computed_s(read_page((await fetch(client, self.counters)).body))

    async def _user(self, client: "aiohttp.ClientSession", crowd: "Crowd", think_s: float, seed: str) -> None:
        """Ask until time is up; nobody waits for who is still thinking then."""
        dice = random.Random(seed)  # noqa: S311  (nothing secret)
        until_s = time.monotonic() + self.duration_s
        while (thought_s := dice.expovariate(1.0 / think_s)) < until_s - time.monotonic():
            await asyncio.sleep(thought_s)
            await self._once(client, crowd)

    async def _once(self, client: "aiohttp.ClientSession", crowd: "Crowd") -> None:
        answer = await fetch(client, self.address, self.body)
        size, told_s = answer.headers.get("X-Batch-Size", ""), told_by(answer)
        if told_s is None or told_s[0] <= 0.0 or not (size.isdecimal() and int(size[:9]) > 0):
            raise DependencyError(
                "the server does not tell each request's batch by X-Batch-Size and Server-Timing, without "
                f"which its work beside batches is not to be seen; {_MEND}"
            )
        crowd.answered_s = time.perf_counter()
        crowd.beside_s.append(told_s[1])
        crowd.batches += 1.0 / int(size)  # of a batch of b, each request is one b-th
        crowd.batches_s += told_s[0] / int(size)


@dataclass(slots=True, kw_only=True)
class Crowd:
    """What so many users were answered.

    Attributes:
        batches, batches_s: that requests were served in, and the time of these. [s]
        beside_s: of each answer, what was seen beyond the queue and the batch that it tells. [s]
        answered_s: when the last answer came. [s]
        lasted_s: from the first request to the last answer. [s]
        computed_s: by which the server's counter grew meanwhile. [s]
        cpu_s: CPU time that asking took. [s]
    """

    count: int
    batches: float = 0.0
    batches_s: float = 0.0
    beside_s: list[float] = field(default_factory=list)
    answered_s: float = 0.0
    lasted_s: float = 0.0
    computed_s: float = 0.0
    cpu_s: float = 0.0

    def stretch(self) -> Stretch:
        """Requests come at any time, so that those within batches are as many as batches last.

        Raises:
            InconclusiveError: users may not have asked as they were to, or were answered in few batches.
        """
        if self.batches < _BATCHES_MIN:
            raise InconclusiveError(
                f"{self.count} users were answered in {self.batches:.0f} batches, and {_BATCHES_MIN:.0f} "
                f"tell what is beside them; {_MEND}"
            )
        if self.cpu_s > _CPU_SHARE_MAX * self.lasted_s:
            raise InconclusiveError(
                f"asking took {self.cpu_s / self.lasted_s:.0%} of a core with {self.count} users, who then "
                f"do not come as they would; {_MEND}"
            )
        return Stretch(
            batches=self.batches,
            requests=len(self.beside_s) * min(1.0, self.batches_s / self.lasted_s),
            lasted_s=self.batches_s,
            computed_s=self.computed_s,
        )
