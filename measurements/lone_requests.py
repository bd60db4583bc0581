"""LoneRequests: what a request takes beside its batch as this client sees it, and a lone batch, before load.

The profile was measured by another client, maybe from elsewhere and at another hour. What lies outside the
server is this client's own, and is what a prediction of its responses must add; and if a lone batch no longer
takes what the profile says, nothing that is predicted from it will hold.

A lone request tells of the batch. What is beside it is told by requests that are sent as the load will be, at
instants of its rate, since a client that is asked for more at once sends later, and takes answers in later.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from capacity.performance import Interval
from capacity.profile import ServiceProfile
from capacity.units import format_duration
from measurements.clock import WallClock, precise_loop
from measurements.http_client import Target, is_read, session
from measurements.mean_interval import mean_interval, sections
from measurements.server_timing import parse_server_timing

if TYPE_CHECKING:
    import aiohttp

REQUESTS = 150
# Requests that are sent as the load will be: so many at most, for so long; fewer are lone ones anyway.
AT_RATE_MAX, AT_RATE_MIN, _AT_RATE_S = 4000, 50, 4.0
# In so many stretches, of which some have a stall or the opening of connections.
_STRETCHES = 10
_PAUSE_MAX_S = 0.05
_LEAD_S = 0.05  # until the first instant can be met
# A lone batch that differs from the profile's by more than this, beyond chance, is another machine's.
_DRIFT_OF_NOTE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRequests:
    """Requests of one row.

    Attributes:
        beside_s: what requests at the rate took beside their batches and their waits for them, from when they
            were meant to be sent: the middle of the means of stretches. [s]
        batch: mean time of its batch, with its interval. [s]
    """

    beside_s: float
    batch: Interval

    def seen_by(self, profile: ServiceProfile) -> ServiceProfile:
        """The profile with this client's way to the server; the server's own work is in the batch already."""
        return replace(profile, request_overhead_s=max(0.0, self.beside_s - profile.work_s(1)))

    def notes(self, profile: ServiceProfile) -> Iterator[str]:
        """What is to be said of it."""
        yield (
            f"a request takes this client {format_duration(self.beside_s)} beside its batch, of which "
            f"{format_duration(self.seen_by(profile).request_overhead_s)} is taken as request overhead "
            f"(the profile has {format_duration(profile.request_overhead_s)})"
        )
        said_s = profile.service_mean_s(1) - profile.work_s(1) + profile.wake_s
        off = self.batch.value / said_s - 1.0
        if not self.batch.low <= said_s <= self.batch.high and abs(off) > _DRIFT_OF_NOTE:
            yield (
                f"a lone batch takes {format_duration(self.batch.value)} now, {off:+.1%} from the profile's "
                f"{format_duration(said_s)}; measure the profile again, just before"
            )


def lone_requests(target: Target, rate_rps: float, seed: int, confidence: float) -> LoneRequests | None:
    """Send some, one by one and then at a rate; None where the server does not tell of their batches."""
    count = REQUESTS + at_rate_count(rate_rps)
    gaps_s = np.random.default_rng(seed).exponential(1.0 / rate_rps, count)
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        lone, at_rate = runner.run(_told(target, gaps_s))
    if len(lone) + len(at_rate) < count:
        return None
    batch = mean_interval([one.batch_s for one in lone], confidence)
    assert batch is not None  # noqa: S101  (of many)
    stretches = sections([one.beside_s for one in at_rate or lone], _STRETCHES)
    return LoneRequests(beside_s=median(map(fmean, stretches)), batch=batch)


def at_rate_count(rate_rps: float) -> int:
    """How many requests are sent at a rate; none at one that leaves each alone."""
    count = math.ceil(min(AT_RATE_MAX, rate_rps * _AT_RATE_S))
    return count if count >= AT_RATE_MIN else 0


class _Told(NamedTuple):
    """Of a request what it took beside its batch, and its batch. [s]"""

    beside_s: float
    batch_s: float


class _NotToldError(Exception):
    """An answer that is none, or that does not tell."""


async def _told(target: Target, gaps_s: "npt.NDArray[np.float64]") -> tuple[list[_Told], list[_Told]]:
    """Requests one by one and then at a rate, each up to the first that was not told."""
    from aiohttp import ClientError

    lone: list[_Told] = []
    at_rate: list[_Told] = []
    with suppress(ClientError, OSError, ValueError, _NotToldError):
        async with session(target) as client:
            for number, pause_s in enumerate(np.minimum(gaps_s[:REQUESTS], _PAUSE_MAX_S).tolist()):
                await asyncio.sleep(pause_s)
                lone.append(await _one(client, target, number, time.perf_counter()))
            await _at_rate(client, target, gaps_s[REQUESTS:].tolist(), at_rate)
    return lone, at_rate


async def _at_rate(
    client: "aiohttp.ClientSession", target: Target, gaps_s: list[float], found: list[_Told]
) -> None:
    """Requests at their instants, whatever became of those before, and their answers."""
    clock, instant_s, asked = WallClock(), time.perf_counter() + _LEAD_S, []
    try:
        for number, gap_s in enumerate(gaps_s):
            instant_s += gap_s
            await clock.sleep_until(instant_s)
            asked.append(asyncio.create_task(_one(client, target, number, instant_s)))
        found += await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()


async def _one(client: "aiohttp.ClientSession", target: Target, number: int, meant_s: float) -> _Told:
    """One request, from when it was meant to be sent.

    Raises:
        _NotToldError: it was not answered as it should be.
    """
    from yarl import URL

    url = URL(target.urls[number % len(target.urls)], encoded=True)
    async with client.post(url, data=target.body, allow_redirects=False) as answer:
        is_whole = await is_read(answer.content)
        took_s = time.perf_counter() - meant_s
        told_s = parse_server_timing(answer.headers.get("Server-Timing", ""))
    if not is_whole or answer.status != 200 or "batch" not in told_s:
        raise _NotToldError
    return _Told(beside_s=took_s - told_s["batch"] - told_s.get("queue", 0.0), batch_s=told_s["batch"])
