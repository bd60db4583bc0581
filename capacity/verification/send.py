"""Send: an open loop of requests at the instants of a run, each to the replica that a balancer would pick."""

import asyncio
import errno
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from capacity.errors import DependencyError, InputError
from capacity.measurement.http import (
    ANSWER_BYTES_MAX,
    Address,
    TooLongError,
    ask,
    import_aiohttp,
    parse_server_timing,
    session,
)
from capacity.question.plan import Routing
from capacity.verification.clock import WallClock
from capacity.verification.run import EXHAUSTED, NOT_CONNECTED, OK, TIMED_OUT, TOO_LONG, LoadRun

LEAD_S = 0.05  # time until the first instant can be met
TIMEOUT_MAX_S = 600.0
UNREACHABLE = {
    TIMED_OUT: "did not answer in time",
    NOT_CONNECTED: "cannot be reached",
    TOO_LONG: f"answered more than {ANSWER_BYTES_MAX} bytes",
    EXHAUSTED: "cannot be reached, since this machine has no descriptor or port left",
}
# Errors of this machine, not of the server.
_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
_UNIFORMS_AT_ONCE = 4096


class Balancer:
    """Picks among replicas as a plan's load balancer would; ties go to the lowest.

    A single replica gets everything, whatever the routing: it may be a balancer itself. Several replicas behind one
    queue are an InputError, since only their own balancer can have that.
    """

    def __init__(self, routing: Routing, replicas: int, generator: np.random.Generator) -> None:
        if routing is Routing.SHARED_QUEUE and replicas > 1:
            raise InputError(
                f"{replicas} urls cannot share a queue, which only a balancer in front of them can hold; "
                "give "
                "the one --url of that balancer, or another --routing"
            )
        self.outstanding = [0] * replicas
        self._routing, self._generator = routing, generator
        self._uniforms: Iterator[float] = iter(())
        self._sent = 0

    def pick(self) -> int:
        """Pick the replica for the next request, and count the request as outstanding."""
        replica = self._choose()
        self._sent += 1
        self.outstanding[replica] += 1
        return replica

    def release(self, replica: int) -> None:
        """Count one of its requests as ended."""
        self.outstanding[replica] -= 1

    def _choose(self) -> int:
        outstanding, count = self.outstanding, len(self.outstanding)
        match self._routing:
            case Routing.RANDOM:
                return int(self._uniform() * count)
            case Routing.LEAST_OUTSTANDING:
                return outstanding.index(min(outstanding))
            case Routing.POWER_OF_TWO:  # the less busy of two different random replicas
                first = int(self._uniform() * count)
                second = (first + 1 + int(self._uniform() * (count - 1))) % count
                return min((outstanding[first], first), (outstanding[second], second))[1]
        return self._sent % count

    def _uniform(self) -> float:
        """A uniform number from a block, since single draws cost ten times as much."""
        for uniform in self._uniforms:
            return uniform
        self._uniforms = iter(self._generator.random(_UNIFORMS_AT_ONCE).tolist())
        return next(self._uniforms)


class Sent(NamedTuple):
    """Outcome of a request: an HTTP status or another outcome, and the times that the server reported. [s]"""

    outcome: int
    batch_s: float = math.nan
    queue_s: float = 0.0


# Sends one request to the replica of that number; it never raises.
Send = Callable[[int], Awaitable[Sent]]


async def send_all(
    run: LoadRun, send: Send, balancer: Balancer, clock: WallClock, in_flight_max: int
) -> None:
    """Send a run's requests in an open loop, none of which waits for another, and wait for the last answer.

    Args:
        in_flight_max: reaching it ends the run, which is then marked as overflowed: waiting for an answer would make
            it a closed loop, and hide the very delays that it should show.
    """
    began_s = clock.now_s() + LEAD_S

    async def request(number: int) -> None:
        replica = balancer.pick()
        run.replicas[number] = replica
        run.sent_s[number] = clock.now_s() - began_s
        try:
            sent = await send(replica)
            run.ended_s[number] = clock.now_s() - began_s
            run.outcomes[number], run.inside_s[number] = sent.outcome, sent.batch_s + sent.queue_s
        finally:
            balancer.release(replica)

    async with asyncio.TaskGroup() as requests:
        in_flight: set[asyncio.Task[None]] = set()
        for number, instant_s in enumerate(run.schedule.instants_s.tolist()):
            await clock.sleep_until(began_s + instant_s)
            if len(in_flight) >= in_flight_max:
                run.is_overflowed = True
                break
            task = requests.create_task(request(number))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
    run.is_complete = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The JSON body of every request, the replicas, and the timeout. [s]"""

    addresses: tuple[Address, ...]
    body: bytes = field(repr=False)
    timeout_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.timeout_s <= TIMEOUT_MAX_S:
            limits = f"above 0 and at most {TIMEOUT_MAX_S:g}s"
            raise InputError(f"--timeout must be {limits}, got {self.timeout_s:g}s")


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Send]:
    """A function that sends one request to the address of a number, and to no other."""
    client_error = import_aiohttp().ClientError
    async with session(target.timeout_s) as client:

        async def send(replica: int) -> Sent:
            try:
                answer = await ask(client, target.addresses[replica], target.body)
            except TimeoutError:
                return Sent(TIMED_OUT)
            except TooLongError:
                return Sent(TOO_LONG)
            except (client_error, OSError, ValueError) as error:
                return Sent(EXHAUSTED if getattr(error, "errno", None) in _OWN else NOT_CONNECTED)
            told_s = parse_server_timing(answer.headers.get("Server-Timing", ""))
            return Sent(answer.status, told_s.get("batch", math.nan), told_s.get("queue", 0.0))

        yield send


async def check_reachable(send: Send, target: Target) -> None:
    """Send one request to each address before the load.

    Raises:
        DependencyError: a server does not answer, or cannot just now.
        InputError: a server refuses the request.
    """
    for number, address in enumerate(target.addresses):
        outcome, shown = (await send(number)).outcome, address.shown[:80]
        if outcome < 0:
            raise DependencyError(
                f"{shown} {UNREACHABLE[outcome]}; is the server up, and is the address right?"
            )
        said = f"{shown} answered the first request with status {outcome}"
        if outcome >= 500:
            raise DependencyError(f"{said}; wait until it is ready")
        if 300 <= outcome < 400:
            raise InputError(f"{said}, a redirect, which is not followed; give the final address")
        if outcome != OK:
            raise InputError(f"{said}; check --url and --body")
