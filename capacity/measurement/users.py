"""Users in a closed loop, which reveal a server's work outside its batches.

With one request at a time, a batch has the core to itself. With many users, requests and answers are handled on the
same core while a batch is served, and it takes longer by that work. Only what the inference thread computed itself,
by its own clock, is subtracted from a batch's time, since the machine may be quicker now.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from scipy.optimize import nnls

from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.http import Address, Answer, check_server_times, fetch, server_times, session
from capacity.measurement.metrics import Scrape, read_page
from capacity.measurement.overhead import BATCH_CPU
from capacity.measurement.rounds import Report
from capacity.units import format_percent

if TYPE_CHECKING:
    import aiohttp

# Users for batches of a size, and their mean think time in times of such a batch: together they keep a server busy
# for about seven tenths of its time, and arrive as irregularly as strangers.
_USERS_PER_REQUEST, _USERS_MAX, _THINK_BATCHES = 4, 256, 4.2
# More requests a second take a core for asking; with quick batches, users think longer, and more of the server's time
# is its own.
_RATE_MAX_RPS = 1500.0
_DURATION_S = 3.0
# Users that take this share of a core may be limited by it instead of by their think times.
_CPU_SHARE_MAX, _BATCHES_MIN = 0.9, 20.0
_MEND = "leave out --counters, and give --request-work if you know it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Batches, one-row requests that were handled within them, and times of the batches. [s]"""

    batches: float
    requests_within: float
    batches_s: float  # time by the clock
    computed_s: float  # CPU time of the inference thread

    @property
    def beside_s(self) -> float:
        """Time of each batch that the inference thread did not compute. [s]"""
        return (self.batches_s - self.computed_s) / self.batches


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBeside:
    """Work outside the timed part, for each batch and for each request, and the evidence for it. [s]"""

    batch_s: float
    request_s: float
    crowds: tuple[Stretch, ...]

    @classmethod
    def of(cls, alone: Stretch, crowds: Sequence[Stretch]) -> Self:
        """The two that fit crowds of several sizes best by least squares, neither below zero.

        What a batch alone takes besides computing, such as being handed over, is in its timing already.
        """
        more_s = np.array([crowd.beside_s - alone.beside_s for crowd in crowds])
        terms = np.array([[1.0, crowd.requests_within / crowd.batches] for crowd in crowds])
        # Each as a share of its batch, since times of large batches scatter more.
        scale = np.array([crowd.batches / crowd.batches_s for crowd in crowds])
        (batch_s, request_s), _ = nnls(terms * scale[:, None], more_s * scale)
        return cls(batch_s=float(batch_s), request_s=float(request_s), crowds=tuple(crowds))


def computed_s(page: Scrape) -> float:
    """CPU time that a server's inference thread has used so far. [s]

    Raises DependencyError: it is not reported.
    """
    total_s = page.total(BATCH_CPU)
    if total_s is None:
        raise DependencyError(
            f"the metrics have no {BATCH_CPU}, without which work outside batches is unknown; {_MEND}"
        )
    return total_s


class Told(NamedTuple):
    """What the server reported about a request's batch, and what the client saw outside it. [s]"""

    size: int
    batch_s: float
    beside_s: float


def _read(answer: Answer) -> Told:
    size, told_s = answer.headers.get("X-Batch-Size", ""), server_times(answer)
    if told_s is None or told_s[0] <= 0.0 or not (size.isdecimal() and int(size[:9]) > 0):
        raise DependencyError(
            "the server does not report each request's batch in X-Batch-Size and Server-Timing, without "
            f"which its work outside batches is unknown; {_MEND}"
        )
    return Told(int(size[:9]), *told_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Users of a server: what they ask, and how long each crowd lasts; `counters` is where its metrics are. [s]"""

    address: Address
    body: bytes
    timeout_s: float
    counters: Address

    def work_beside(self, alone: Stretch, means_s: Mapping[int, float], report: Report) -> WorkBeside:
        """Crowds for batches of several sizes; `means_s` has their mean times one at a time. [s]

        Raises:
            DependencyError: a request failed, or the server does not report each request's batch.
            InconclusiveError: asking may have taken longer than answering.
        """
        return WorkBeside.of(alone, [self._stretch(size, means_s[size], report) for size in sorted(means_s)])

    def _stretch(self, size: int, mean_s: float, report: Report) -> Stretch:
        count = min(_USERS_PER_REQUEST * size, _USERS_MAX)
        report(f"a crowd of {count} users")
        think_s = max(_THINK_BATCHES * mean_s * count / (_USERS_PER_REQUEST * size), count / _RATE_MAX_RPS)
        with asyncio.Runner() as runner:
            return runner.run(self.ask(count, think_s, seed=size))

    async def ask(self, count: int, think_s: float, seed: int) -> Stretch:
        """Let this many users ask, with this mean think time; raises as `work_beside` does. [s]"""
        told: list[Told] = []
        try:
            async with session(self.timeout_s) as client:
                async with asyncio.TaskGroup() as first:  # all are connected and warm before anything counts
                    for _ in range(count):
                        first.create_task(self._once(client))
                before_s = await self._computed_s(client)
                began_s, began_cpu_s = time.perf_counter(), time.process_time()
                async with asyncio.TaskGroup() as asking:
                    for number in range(count):
                        asking.create_task(self._user(client, told, think_s, f"{seed}-{number}"))
                cpu_share = (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
                lasted_s = time.perf_counter() - began_s
                gained_s = await self._computed_s(client) - before_s
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        check_server_times(one.beside_s for one in told)
        batches = sum(1.0 / one.size for one in told)  # in a batch of b, each request is one b-th
        if cpu_share > _CPU_SHARE_MAX or batches < _BATCHES_MIN:
            raise InconclusiveError(
                f"{count} users were answered in {batches:.0f} batches (at least {_BATCHES_MIN:.0f} needed), "
                f"and asking took {format_percent(cpu_share)} of a core "
                f"(at most {format_percent(_CPU_SHARE_MAX)}); {_MEND}"
            )
        batches_s = sum(one.batch_s / one.size for one in told)
        return Stretch(
            batches=batches,
            # Requests come at any time, so those within batches are in proportion to the batches' time.
            requests_within=len(told) * min(1.0, batches_s / lasted_s),
            batches_s=batches_s,
            computed_s=gained_s,
        )

    async def _computed_s(self, client: "aiohttp.ClientSession") -> float:
        return computed_s(read_page((await fetch(client, self.counters)).body))

    async def _user(
        self, client: "aiohttp.ClientSession", told: list[Told], think_s: float, seed: str
    ) -> None:
        """Ask until time is up; users who are still thinking then are not waited for."""
        dice = random.Random(seed)  # noqa: S311  (nothing secret)
        until_s = time.monotonic() + _DURATION_S
        while (thought_s := dice.expovariate(1.0 / think_s)) < until_s - time.monotonic():
            await asyncio.sleep(thought_s)
            told.append(await self._once(client))

    async def _once(self, client: "aiohttp.ClientSession") -> Told:
        return _read(await fetch(client, self.address, self.body))
