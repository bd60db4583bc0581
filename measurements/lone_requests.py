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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from capacity.errors import InconclusiveError
from capacity.performance import Interval
from capacity.plan import Routing
from capacity.profile import ServiceProfile
from capacity.units import format_duration
from measurements.balancer import Balancer
from measurements.clock import WallClock, precise_runner
from measurements.driver import Driver
from measurements.http_client import UNREACHABLE, Target, connected
from measurements.load_run import Journal
from measurements.mean_interval import mean_interval, sections
from measurements.schedule import Floats, Schedule
from measurements.server_timing import parse_server_timing

if TYPE_CHECKING:
    from measurements.driver import Send

REQUESTS, REQUESTS_MIN = 150, 20
# Requests that are sent as the load will be: so many at most, for so long; fewer are lone ones anyway.
AT_RATE_MAX, AT_RATE_MIN, _AT_RATE_S = 4000, 50, 4.0
# In so many stretches, of which some have a stall or the opening of connections.
_STRETCHES = 10
_PAUSE_MAX_S = 0.05
# Beyond this share without an answer that tells, those with one are a choice.
_SILENT_MAX = 0.1
# A slow server is asked one by one for so long at most, and everything ends after the latter.
_ONE_BY_ONE_MAX_S, _TOGETHER_MAX_S = 30.0, 60.0
# A lone batch that differs from the profile's by more than this, beyond chance, is another machine's.
_DRIFT_OF_NOTE = 0.03
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRequests:
    """Requests of one row.

    Attributes:
        beside_s: what requests at the rate took beside their batches and their waits for them, from when they
            were meant to be sent: the middle of the means of stretches. [s]
        batch: mean time of its batch, with its interval. [s]
        silent: requests that had no answer that tells, and are left out.
    """

    beside_s: float
    batch: Interval
    silent: int = 0

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
        if self.silent:
            yield f"{self.silent} of the requests before the load had no answer that tells, and are left out"
        said_s = profile.service_mean_s(1) - profile.work_s(1) + profile.wake_s
        off = self.batch.value / said_s - 1.0
        if not self.batch.low <= said_s <= self.batch.high and abs(off) > _DRIFT_OF_NOTE:
            yield (
                f"a lone batch takes {format_duration(self.batch.value)} now, {off:+.1%} from the profile's "
                f"{format_duration(said_s)}; measure the profile again, just before"
            )


def lone_requests(
    target: Target, rate_rps: float, seed: int, confidence: float, *, in_flight_max: int
) -> LoneRequests:
    """Send some, one by one and then at a rate.

    Raises:
        InconclusiveError: too few were answered by what tells of their batches, or not in time.
    """
    gaps_s = np.random.default_rng(seed).exponential(1.0 / rate_rps, lone_requests_max(rate_rps))
    with precise_runner() as runner:
        lone, at_rate, silent = runner.run(_told_in_time(target, gaps_s, in_flight_max))
    batch = mean_interval([one.batch_s for one in lone], confidence)
    assert batch is not None  # noqa: S101  (of many)
    stretches = sections([one.beside_s for one in at_rate or lone], _STRETCHES)
    return LoneRequests(beside_s=median(map(fmean, stretches)), batch=batch, silent=silent)


def lone_requests_max(rate_rps: float) -> int:
    """How many requests are sent at most."""
    return REQUESTS + at_rate_count(rate_rps)


def at_rate_count(rate_rps: float) -> int:
    """How many requests are sent at a rate; none at one that leaves each alone."""
    count = math.ceil(min(AT_RATE_MAX, rate_rps * _AT_RATE_S))
    return count if count >= AT_RATE_MIN else 0


class _Told(NamedTuple):
    """Of a request what it took beside its batch and its wait for it, and its batch. [s]"""

    beside_s: float
    batch_s: float


def _told(took_s: float, server_timing: str) -> _Told | None:
    """What an answer tells; None where it does not."""
    told_s = parse_server_timing(server_timing)
    if "batch" not in told_s:
        return None
    return _Told(beside_s=took_s - told_s["batch"] - told_s.get("queue", 0.0), batch_s=told_s["batch"])


async def _told_in_time(
    target: Target, gaps_s: Floats, in_flight_max: int
) -> tuple[list[_Told], list[_Told], int]:
    """Of requests one by one, and of others at a rate; how many told nothing."""
    heard: list[str] = []
    try:
        async with asyncio.timeout(_TOGETHER_MAX_S), connected(target, heard.append) as send:
            lone, silent = await _one_by_one(send, len(target.urls), gaps_s[:REQUESTS], heard)
            heard.clear()
            later_s = gaps_s[REQUESTS:]
            at_rate = await _at_rate(send, target, later_s, heard, in_flight_max) if len(later_s) else []
            return lone, at_rate, silent + len(later_s) - len(at_rate)
    except TimeoutError:
        raise InconclusiveError(
            f"the requests before the load took more than {_TOGETHER_MAX_S:g} s"
        ) from None


async def _one_by_one(send: "Send", urls: int, gaps_s: Floats, heard: list[str]) -> tuple[list[_Told], int]:
    """Each after the answer to the one before and a pause, to the urls in turn; how many told nothing."""
    found: list[_Told] = []
    silent, until_s = 0, time.perf_counter() + _ONE_BY_ONE_MAX_S
    for number, pause_s in enumerate(np.minimum(gaps_s, _PAUSE_MAX_S).tolist()):
        await asyncio.sleep(pause_s)
        heard.clear()
        asked_s = time.perf_counter()
        outcome = await send(number % urls)
        answered_s = time.perf_counter()
        told = _told(answered_s - asked_s, heard[0]) if heard else None
        if told is not None:
            found.append(told)
        else:
            silent += 1
        if not found or silent > _SILENT_MAX * REQUESTS:
            raise InconclusiveError(_why_silent(outcome))
        if answered_s > until_s:
            break
    if len(found) < REQUESTS_MIN:
        raise InconclusiveError(
            f"{len(found)} requests one by one took {format_duration(_ONE_BY_ONE_MAX_S)}, and {REQUESTS_MIN} "
            "are needed"
        )
    return found, silent


async def _at_rate(
    send: "Send", target: Target, gaps_s: Floats, heard: list[str], in_flight_max: int
) -> list[_Told]:
    """Requests at their instants, whatever became of those before, by what each took from its instant on."""
    instants_s = np.cumsum(gaps_s)
    journal = Journal(Schedule(instants_s=instants_s, duration_s=float(instants_s[-1])))
    balancer = Balancer(Routing.ROUND_ROBIN, len(target.urls), np.random.default_rng(0))
    await Driver(send, balancer, WallClock(), in_flight_max).run(journal)
    if journal.is_overflowed:
        raise InconclusiveError(
            f"{in_flight_max} requests were in flight before the load, and none more may be"
        )
    found = [
        told for took_s, timing in _paired(journal, heard) if (told := _told(took_s, timing)) is not None
    ]
    if len(found) < (1.0 - _SILENT_MAX) * len(gaps_s):
        others = [outcome for outcome in journal.outcomes if outcome != _OK]
        raise InconclusiveError(_why_silent(others[0] if others else _OK))
    return found


def _paired(journal: Journal, heard: Sequence[str]) -> Iterator[tuple[float, str]]:
    """What each request with a good answer took and what was heard of it, in the order of sending.

    It was heard in the order in which requests ended; but those that a stall held up are neighbours as they
    were sent, and are to stay in few stretches.
    """
    ended_s = np.array(journal.ended_s)
    good = np.flatnonzero(np.array(journal.outcomes) == _OK)
    by_end = good[np.argsort(ended_s[good], kind="stable")]
    timings = dict(zip(by_end.tolist(), heard, strict=True))
    took_s = ended_s - journal.schedule.instants_s
    return ((float(took_s[number]), timings[number]) for number in good.tolist())


def _why_silent(outcome: int) -> str:
    """What came instead of an answer that tells."""
    if outcome == _OK:
        return "answers do not tell by Server-Timing what their batches took"
    if outcome > 0:
        return f"a request before the load was answered by {outcome}"
    return f"a request before the load failed: the server {UNREACHABLE[outcome]}"
