"""Calibrate: time of a request outside its batch as this client sees it, and time of a lone batch.

The profile was measured by another client, perhaps from elsewhere and at another hour. The time outside the server is
this client's own, and a prediction of its responses must add it; and if a lone batch no longer takes what the profile
says, no prediction from it will hold. A lone request gives the batch. The time outside it comes from requests sent as
the load will be, at instants of its rate, since a busier client sends later and reads answers later.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from capacity.errors import InconclusiveError
from capacity.measurement.sections import Floats, mean_interval, sections
from capacity.performance import Interval
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.units import format_duration
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.run import OK, LoadRun, Schedule
from capacity.verification.send import UNREACHABLE, Balancer, Send, Target, connected, send_all

REQUESTS, REQUESTS_MIN = 150, 20
# Requests sent as the load will be: at most this many, for at most this long; fewer are lone ones anyway.
AT_RATE_MAX, AT_RATE_MIN, _AT_RATE_S = 4000, 50, 4.0
# Number of stretches, some of which have a stall or the opening of connections.
_STRETCHES = 10
_PAUSE_MAX_S = 0.05
# If a larger share has no usable answer, those that have one are a biased sample.
_SILENT_MAX = 0.1
# A slow server is asked one by one for at most the first, and everything ends after the second.
_ONE_BY_ONE_MAX_S, _TOGETHER_MAX_S = 30.0, 60.0
# A lone batch that differs from the profile's by more than this, beyond chance, is another machine's.
_DRIFT_OF_NOTE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRequests:
    """Results of requests of one row."""

    # time outside batches and waits of requests at the rate, from when they should have been sent: the middle of the
    # means of stretches
    beside_s: float
    batch_s: Interval  # mean time of a lone request's batch, with its interval
    silent: int = 0  # requests without a usable answer, which are left out

    def seen_by(self, profile: ServiceProfile) -> ServiceProfile:
        """The profile with this client's overhead; the server's own work is in the batch already."""
        return replace(profile, request_overhead_s=max(0.0, self.beside_s - profile.work_s(1)))

    def notes(self, profile: ServiceProfile) -> Iterator[str]:
        """Notes on the calibration."""
        yield (
            f"a request takes this client {format_duration(self.beside_s)} outside its batch, of which "
            f"{format_duration(self.seen_by(profile).request_overhead_s)} is used as request overhead "
            f"(the profile has {format_duration(profile.request_overhead_s)})"
        )
        if self.silent:
            yield f"{self.silent} of the requests before the load had no usable answer, and are left out"
        said_s = profile.service_mean_s(1) - profile.work_s(1) + profile.wake_s
        off = self.batch_s.value / said_s - 1.0
        if not self.batch_s.low <= said_s <= self.batch_s.high and abs(off) > _DRIFT_OF_NOTE:
            yield (
                f"a lone batch takes {format_duration(self.batch_s.value)} now, {100.0 * off:+.1f} % from the "
                f"profile's {format_duration(said_s)}; measure the profile again, just before the load test"
            )


def lone_requests_max(rate_rps: float) -> int:
    """Largest number of requests to send; 0 at a rate that leaves each alone."""
    count = math.ceil(min(AT_RATE_MAX, rate_rps * _AT_RATE_S))
    return REQUESTS + (count if count >= AT_RATE_MIN else 0)


def lone_requests(
    target: Target, rate_rps: float, seed: int, confidence: float, *, in_flight_max: int
) -> LoneRequests:
    """Send some requests, one by one and then at a rate.

    Raises InconclusiveError: too few answers report their batches, or too few came in time.
    """
    gaps_s = np.random.default_rng(seed).exponential(1.0 / rate_rps, lone_requests_max(rate_rps))
    with precise_runner() as runner:
        batches_s, besides_s, silent = runner.run(_told_in_time(target, gaps_s, in_flight_max))
    batch_s = mean_interval(batches_s, confidence)
    assert batch_s is not None  # noqa: S101  (of many)
    beside_s = median(map(fmean, sections(besides_s, _STRETCHES)))
    return LoneRequests(beside_s=beside_s, batch_s=batch_s, silent=silent)


async def _told_in_time(
    target: Target, gaps_s: Floats, in_flight_max: int
) -> tuple[list[float], list[float], int]:
    """Batches of requests one by one, time outside batches at the rate, and the number of silent requests. [s]"""
    try:
        async with asyncio.timeout(_TOGETHER_MAX_S), connected(target) as send:
            batches_s, besides_s, silent = await _one_by_one(send, len(target.addresses), gaps_s[:REQUESTS])
            if len(gaps_s) == REQUESTS:
                return batches_s, besides_s, silent
            besides_s = await _at_rate(send, len(target.addresses), gaps_s[REQUESTS:], in_flight_max)
            return batches_s, besides_s, silent + len(gaps_s) - REQUESTS - len(besides_s)
    except TimeoutError:
        raise InconclusiveError(
            f"the requests before the load took more than {_TOGETHER_MAX_S:g} s"
        ) from None


async def _one_by_one(send: Send, urls: int, gaps_s: Floats) -> tuple[list[float], list[float], int]:
    """Send each request after the answer to the one before and a pause, to the urls in turn."""
    batches_s: list[float] = []
    besides_s: list[float] = []
    silent, until_s = 0, time.perf_counter() + _ONE_BY_ONE_MAX_S
    for number, pause_s in enumerate(np.minimum(gaps_s, _PAUSE_MAX_S).tolist()):
        await asyncio.sleep(pause_s)
        asked_s = time.perf_counter()
        sent = await send(number % urls, None)
        answered_s = time.perf_counter()
        if sent.outcome == OK and not math.isnan(sent.batch_s):
            batches_s.append(sent.batch_s)
            besides_s.append(answered_s - asked_s - sent.batch_s - sent.queue_s)
        else:
            silent += 1
        if not batches_s or silent > _SILENT_MAX * REQUESTS:
            raise InconclusiveError(_why_silent(sent.outcome))
        if answered_s > until_s:
            break
    if len(batches_s) < REQUESTS_MIN:
        raise InconclusiveError(
            f"{len(batches_s)} requests one by one took {format_duration(_ONE_BY_ONE_MAX_S)}, and "
            f"{REQUESTS_MIN} are needed"
        )
    return batches_s, besides_s, silent


async def _at_rate(send: Send, urls: int, gaps_s: Floats, in_flight_max: int) -> list[float]:
    """Time of each request outside its batch, from the instant at which it should have been sent. [s]"""
    instants_s = np.cumsum(gaps_s)
    run = LoadRun.blank(Schedule(instants_s=instants_s, duration_s=float(instants_s[-1])))
    balancer = Balancer(Routing.ROUND_ROBIN, urls, np.random.default_rng(0))
    await send_all(run, send, balancer, WallClock(), in_flight_max)
    if run.is_overflowed:
        raise InconclusiveError(
            f"{in_flight_max} requests were in flight before the load, and no more are allowed"
        )
    tells = (run.outcomes == OK) & np.isfinite(run.inside_s)
    if tells.sum() < (1.0 - _SILENT_MAX) * len(gaps_s):
        others = run.outcomes[run.outcomes != OK]
        raise InconclusiveError(_why_silent(int(others[0]) if len(others) else OK))
    besides_s: list[float] = (run.ended_s - instants_s - run.inside_s)[tells].tolist()
    return besides_s


def _why_silent(outcome: int) -> str:
    """What came instead of a usable answer."""
    if outcome == OK:
        return "answers have no Server-Timing header with the time of their batch"
    if outcome > 0:
        return f"a request before the load was answered with status {outcome}"
    return f"a request before the load failed: the server {UNREACHABLE[outcome]}"
