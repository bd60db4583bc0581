"""LoneRequests: what a request takes beside its batch as this client sees it, one at a time, before the load.

The profile was measured by another client, maybe from elsewhere and at another hour. What lies outside the
server is this client's own, and is what a prediction of its responses must add; and if a lone batch no longer
takes what the profile says, nothing that is predicted from it will hold.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from capacity.performance import Interval
from capacity.profile import ServiceProfile
from capacity.units import format_duration
from measurements.clock import precise_loop
from measurements.http_client import Target, is_read, session
from measurements.mean_interval import mean_interval
from measurements.server_timing import parse_server_timing

REQUESTS = 150
_PAUSE_MAX_S = 0.05
# A lone batch that differs from the profile's by more than this, beyond chance, is another machine's.
_DRIFT_OF_NOTE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRequests:
    """Lone requests of one row.

    Attributes:
        beside_s: median of what each took beside its batch and its wait for it. [s]
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
            f"a lone request takes this client {format_duration(self.beside_s)} beside its batch, of which "
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
    """Send some, with pauses as between requests at a rate; None where the server tells no batch times."""
    gaps_s = np.random.default_rng(seed).exponential(1.0 / rate_rps, REQUESTS)
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        told = runner.run(_told(target, np.minimum(gaps_s, _PAUSE_MAX_S).tolist()))
    if len(told) < REQUESTS:
        return None
    batch = mean_interval([batch_s for _, batch_s in told], confidence)
    assert batch is not None  # noqa: S101  (of many)
    return LoneRequests(beside_s=median(beside_s for beside_s, _ in told), batch=batch)


async def _told(target: Target, pauses_s: list[float]) -> list[tuple[float, float]]:
    """Of each request what it took beside its batch, and its batch; up to the first that was not told. [s]"""
    from aiohttp import ClientError
    from yarl import URL

    found: list[tuple[float, float]] = []
    with suppress(ClientError, OSError, ValueError):
        async with session(target) as client:
            for number, pause_s in enumerate(pauses_s):
                await asyncio.sleep(pause_s)
                began_s = time.perf_counter()
                url = URL(target.urls[number % len(target.urls)], encoded=True)
                async with client.post(url, data=target.body, allow_redirects=False) as answer:
                    if not await is_read(answer.content):
                        break
                    took_s = time.perf_counter() - began_s
                    told_s = parse_server_timing(answer.headers.get("Server-Timing", ""))
                if answer.status != 200 or "batch" not in told_s:
                    break
                found.append((took_s - told_s["batch"] - told_s.get("queue", 0.0), told_s["batch"]))
    return found
