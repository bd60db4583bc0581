"""Send: an open loop of requests at the instants of a run, each to the replica that a balancer would pick."""

import asyncio
import errno
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

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
from capacity.profile.llm_runs import SeenRequest
from capacity.question.plan import Routing
from capacity.verification.clock import WallClock
from capacity.verification.conversations import ConversationSchedule, Turn
from capacity.verification.run import (
    EXHAUSTED,
    NO_STREAM,
    NOT_CONNECTED,
    OK,
    TIMED_OUT,
    TOO_LONG,
    LoadRun,
    Tokens,
)

if TYPE_CHECKING:
    import aiohttp

LEAD_S = 0.05  # time until the first instant can be met
TIMEOUT_MAX_S = 600.0
UNREACHABLE = {
    TIMED_OUT: "did not answer in time",
    NOT_CONNECTED: "cannot be reached",
    TOO_LONG: f"answered more than {ANSWER_BYTES_MAX} bytes",
    EXHAUSTED: "cannot be reached, since this machine has no descriptor or port left",
    NO_STREAM: "does not stream completions with stream_options.include_usage",
}
# Errors of this machine, not of the server.
_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
_UNIFORMS_AT_ONCE = 4096


class Balancer:
    """Picks among replicas as a plan's load balancer would; ties go to the lowest, or as the balancer has them.

    A single replica gets everything, whatever the routing: it may be a balancer itself. Several replicas behind one
    queue are an InputError, since only their own balancer can have that; likewise a router of conversations.
    """

    def __init__(self, routing: Routing, replicas: int, generator: np.random.Generator) -> None:
        if routing.needs_sessions and replicas > 1:
            raise InputError(
                f"{routing} routing to {replicas} urls is for the router in front of them; give the one --url of that"
            )
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
        self._unchanged = list(range(replicas))  # whose number changed longest ago first
        self._owed = [0] * replicas  # turns of smooth round robin

    def pick(self) -> int:
        """Pick the replica for the next request, and count the request as outstanding."""
        replica = self._choose()
        self._sent += 1
        self._count(replica, 1)
        return replica

    def release(self, replica: int) -> None:
        """Count one of its requests as ended."""
        self._count(replica, -1)

    def _count(self, replica: int, more: int) -> None:
        self.outstanding[replica] += more
        if self._routing is Routing.LEAST_OUTSTANDING_HAPROXY:
            self._unchanged.remove(replica)
            self._unchanged.append(replica)

    def _choose(self) -> int:
        outstanding, count = self.outstanding, len(self.outstanding)
        match self._routing:
            case Routing.RANDOM:
                return int(self._uniform() * count)
            case Routing.LEAST_OUTSTANDING:
                return outstanding.index(min(outstanding))
            case Routing.LEAST_OUTSTANDING_HAPROXY:
                return min(self._unchanged, key=outstanding.__getitem__)
            case Routing.LEAST_OUTSTANDING_NGINX:
                return self._in_smooth_turn()
        if self._routing.base is Routing.POWER_OF_TWO:
            return self._of_two()
        return self._sent % count

    def _in_smooth_turn(self) -> int:
        """The one of equal replicas that smooth round robin among them picks, as nginx does."""
        fewest = min(self.outstanding)
        equal = [replica for replica, number in enumerate(self.outstanding) if number == fewest]
        for replica in equal:
            self._owed[replica] += 1
        chosen = max(equal, key=self._owed.__getitem__)  # the first of those that are owed most
        self._owed[chosen] -= len(equal)
        return chosen

    def _of_two(self) -> int:
        """The less busy of two random replicas, which for HAProxy may be one; balancers take the second of equals."""
        outstanding, count = self.outstanding, len(self.outstanding)
        first, uniform = int(self._uniform() * count), self._uniform()
        second = (first + 1 + int(uniform * (count - 1))) % count
        if self._routing is Routing.POWER_OF_TWO_HAPROXY:
            second = int(uniform * count)
        if self._routing is Routing.POWER_OF_TWO:
            return min((outstanding[first], first), (outstanding[second], second))[1]
        return first if outstanding[second] > outstanding[first] else second

    def _uniform(self) -> float:
        """A uniform number from a block, since single draws cost ten times as much."""
        for uniform in self._uniforms:
            return uniform
        self._uniforms = iter(self._generator.random(_UNIFORMS_AT_ONCE).tolist())
        return next(self._uniforms)


class Sent(NamedTuple):
    """Outcome of a request: an HTTP status or another outcome, and the times that the server reported. [s]

    Attributes:
        seen: the tokens of an answer that is streamed.
        cached_tokens: of its prompt, where the server says so.
        is_untold: whether the next turn has to do without the tokens of this answer.
    """

    outcome: int
    batch_s: float = math.nan
    queue_s: float = 0.0
    seen: SeenRequest | None = None
    cached_tokens: float = math.nan
    is_untold: bool = False


# What a request asks for: tokens in and out if it has any, or a turn of a conversation.
Asks = Tokens | Turn | None
# Sends one request to the replica of that number; it never raises.
Send = Callable[[int, Asks], Awaitable[Sent]]


async def send_all(
    run: LoadRun, send: Send, balancer: Balancer, clock: WallClock, in_flight_max: int
) -> None:
    """Send a run's requests in an open loop, none of which waits for another, and wait for the last answer.

    Sessions begin in an open loop; a turn waits for the answer to the one before it, as its user does.

    Args:
        in_flight_max: reaching it ends the run, which is then marked as overflowed: waiting for an answer would make
            it a closed loop, and hide the very delays that it should show.
    """
    began_s = clock.now_s() + LEAD_S
    sender = _Sender(run, send, balancer, clock, in_flight_max, began_s)
    async with asyncio.TaskGroup() as tasks:
        for instant_s, begin in sender.beginnings():
            await clock.sleep_until(began_s + instant_s)
            if run.is_overflowed:
                break
            tasks.create_task(begin())
    run.is_complete = True


@dataclass(slots=True)
class _Sender:
    """Sends the requests of a run, which began then. [s]"""

    run: LoadRun
    send: Send
    balancer: Balancer
    clock: WallClock
    in_flight_max: int
    began_s: float
    numbers: Iterator[int] = field(default_factory=count)

    def beginnings(self) -> Iterator[tuple[float, Callable[[], Coroutine[None, None, object]]]]:
        """What begins at which instant, in order: each request, or each session."""
        schedule = self.run.schedule
        if isinstance(schedule, ConversationSchedule):
            for session, instant_s in enumerate(schedule.acted.starts_s.tolist()):
                yield instant_s, partial(self._converse, schedule, session, instant_s)
            return
        for number, instant_s in enumerate(schedule.instants_s.tolist()):
            yield instant_s, partial(self._request, number, schedule.tokens(number))

    async def _request(self, number: int, asks: Asks) -> bool:
        """Send a request, unless too many are in flight; whether it has a good answer."""
        run, balancer = self.run, self.balancer
        run.is_overflowed |= sum(balancer.outstanding) >= self.in_flight_max
        if run.is_overflowed:
            return False
        replica = balancer.pick()
        run.replicas[number] = replica
        run.sent_s[number] = self.clock.now_s() - self.began_s
        try:
            sent = await self.send(replica, asks)
            run.ended_s[number] = self.clock.now_s() - self.began_s
            run.outcomes[number], run.inside_s[number] = sent.outcome, sent.batch_s + sent.queue_s
            run.cached_tokens[number] = sent.cached_tokens
            run.untold += sent.is_untold
            if sent.seen is not None:
                run.note(number, sent.seen, self.began_s)
        finally:
            balancer.release(replica)
        return sent.outcome == OK

    async def _converse(self, schedule: ConversationSchedule, session: int, due_s: float) -> None:
        """The turns of a session that fall due within the run, until one has no good answer."""
        conversation = schedule.conversation(session)
        for row in schedule.rows(session):
            await self.clock.sleep_until(self.began_s + due_s)
            turn, number = Turn(conversation=conversation, row=row), next(self.numbers)
            schedule.note(number, turn, due_s)
            if not await self._request(number, turn):
                return
            due_s = schedule.follows_s(row, due_s, float(self.run.ended_s[number]))
            if due_s > schedule.duration_s:
                return


@dataclass(frozen=True, kw_only=True)
class Target:
    """The JSON body of every request, the replicas, and the timeout. [s]

    Attributes:
        drafts: whether an event of a stream brings all tokens of a step, of which there may be several.
    """

    addresses: tuple[Address, ...]
    body: bytes = field(default=b"", repr=False)
    timeout_s: float
    drafts: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.timeout_s <= TIMEOUT_MAX_S:
            limits = f"above 0 and at most {TIMEOUT_MAX_S:g}s"
            raise InputError(f"--timeout must be {limits}, got {self.timeout_s:g}s")

    async def exchange(self, client: "aiohttp.ClientSession", address: Address, asks: Asks) -> Sent:
        """The outcome of one request; raises as `ask` does."""
        answer = await ask(client, address, self.body)
        told_s = parse_server_timing(answer.headers.get("Server-Timing", ""))
        return Sent(answer.status, told_s.get("batch", math.nan), told_s.get("queue", 0.0))


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Send]:
    """A function that sends one request to the address of a number, and to no other."""
    client_error = import_aiohttp().ClientError
    async with session(target.timeout_s) as client:

        async def send(replica: int, asks: Asks) -> Sent:
            try:
                return await target.exchange(client, target.addresses[replica], asks)
            except TimeoutError:
                return Sent(TIMED_OUT)
            except TooLongError:
                return Sent(TOO_LONG)
            except DependencyError:
                return Sent(NO_STREAM)
            except (client_error, OSError, ValueError) as error:
                return Sent(EXHAUSTED if getattr(error, "errno", None) in _OWN else NOT_CONNECTED)

        yield send


async def check_reachable(send: Send, target: Target) -> None:
    """Send one request to each address before the load.

    Raises:
        DependencyError: a server does not answer, or cannot just now.
        InputError: a server refuses the request.
    """
    for number, address in enumerate(target.addresses):
        outcome, shown = (await send(number, None)).outcome, address.shown[:80]
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
