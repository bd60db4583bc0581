"""k6's loop: what decided when k6 sent requests; its file names no executor, but its users and counts show the kind.

Users (VUs) of a closed executor are never idle: each starts its next iteration as soon as the last one has ended, so
by Little's law iterations/s x their mean duration equals the number of users. An arrival-rate executor takes one of
the allocated users whenever an iteration is due, so most of them are idle, and it drops an iteration that finds none.
Its iterations are a whole number each second, plus or minus one.

`Points` collect what is needed of a run while they are read, some 14 points for each request.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.formats.document import whole
from capacity.formats.load_test import Floats, Loop
from capacity.formats.request_log import Log, Request, Requests, nanoseconds

_ALWAYS_BUSY = 0.9  # share of the allocated users in an iteration from which none was ever idle
_IDLE = 0.5  # largest share of the allocated users in an iteration, below which many never were
_CHANCE = 0.05  # probability that a count without a schedule looks like a whole number each second
_STARTING_S = 0.1  # time before the first iteration of a run
_GAPS_MIN, _PARTS = 100, 10
_EVEN = 0.5  # standard deviation of a gap over its mean; about 1 for independent users
_ADDS_UP = 3.0  # variance over a tenth of the run, over that over a few gaps; larger if errors add up
_USERS_MAX = 30  # a few gaps: a cycle of this many users; cycles of more are uneven
_ROUNDING = 1e-6  # variance of a clock's last digits, as a share of a squared gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """Iterations of a k6 run and the users that ran them; None if unknown.

    Attributes:
        count: iterations that ended.
        duration_s: length of the run. [s]
        mean_s, max_s: length of an iteration, including its pauses. [s]
        dropped: iterations that found no user; 0 only if k6 counted them.
        users_max: largest number of users in an iteration at once.
        allocated: largest number of allocated users.
        sent_s: when requests were sent, rising, shape `(requests,)`. [s]
    """

    count: float | None = None
    duration_s: float | None = None
    mean_s: float | None = None
    max_s: float | None = None
    dropped: int | None = None
    users_max: float | None = None
    allocated: float | None = None
    sent_s: Sequence[float] | Floats = ()


class Tally:
    """Iterations and users of a run, counted while its log is read."""

    def __init__(self) -> None:
        self._count = 0
        self._took_ns = self._max_ns = 0
        self._span_ns: tuple[int, int] | None = None
        self._dropped: int | None = None
        self._users: float | None = None
        self._allocated: float | None = None

    def iteration(self, ended_ns: int, took_ns: int) -> None:
        """Add an iteration that has ended. [ns]"""
        self._count += 1
        self._took_ns += took_ns
        self._max_ns = max(self._max_ns, took_ns)
        began_ns = ended_ns - took_ns
        first_ns, last_ns = self._span_ns or (began_ns, ended_ns)
        self._span_ns = min(first_ns, began_ns), max(last_ns, ended_ns)

    def drop(self, count: int) -> None:
        """Add iterations that found no user."""
        self._dropped = (self._dropped or 0) + count

    def users(self, count: float) -> None:
        """Add the number of users in an iteration at once."""
        self._users = max(self._users or 0.0, count)

    def allocate(self, count: float) -> None:
        """Add the number of allocated users."""
        self._allocated = max(self._allocated or 0.0, count)

    def known(self, sent_ns: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Fields of the run of all requests: its loop, its users, and dropped iterations.

        Args:
            sent_ns: when requests were sent, in any order, shape `(requests,)`. [ns]
        """
        loop, because = loop_of(self._seen(np.sort(sent_ns)))
        return {
            "loop": loop,
            "loop_because": because,
            "dropped": self._dropped or 0,  # k6 has no such points if it dropped none
            "users": self._allocated if self._users is None else self._users,
        }

    def _seen(self, sent_ns: npt.NDArray[np.int64]) -> Iterations:
        return Iterations(
            count=self._count or None,
            duration_s=None if self._span_ns is None else (self._span_ns[1] - self._span_ns[0]) / 1e9,
            mean_s=self._took_ns / self._count / 1e9 if self._count else None,
            max_s=self._max_ns / 1e9 if self._count else None,
            dropped=self._dropped,
            users_max=self._users,
            allocated=self._allocated,
            sent_s=(sent_ns - sent_ns[0]) / 1e9,
        )


def loop_of(found: Iterations) -> tuple[Loop, str]:
    """What decided when requests were sent, and the evidence; unknown without any."""
    busy = _busy(found)
    if found.dropped:
        return Loop.OPEN, (
            f"k6 dropped {found.dropped} iterations, as an arrival-rate executor does; if one that counts iterations "
            "ran out of time, the loop is closed: give --loop closed"
        )
    if busy is not None and found.allocated and busy >= _ALWAYS_BUSY * found.allocated:
        return (
            Loop.CLOSED,
            f"k6's {found.allocated:g} users were never idle ({busy:.3g} were in an iteration)",
        )
    if _are_idle(found):
        return Loop.OPEN, (
            f"of {found.allocated:g} users of k6 at most {found.users_max:g} were in an iteration at once, as under "
            "an arrival-rate executor"
        )
    if _are_even(found):
        return Loop.OPEN, "requests were sent at even intervals, whatever the answers took"
    if found.dropped == 0:
        return Loop.OPEN, "k6 was told to count dropped iterations, and dropped none"
    return Loop.UNKNOWN, ""


def _busy(found: Iterations) -> float | None:
    """Mean number of users in an iteration.

    Source:
        Little (1961), A proof for the queuing formula L = λW, Oper. Res. 9(3).
    """
    if found.count is None or not found.duration_s or found.mean_s is None:
        return None
    return found.count * found.mean_s / found.duration_s


def _are_idle(found: Iterations) -> bool:
    """Whether many users never ran, or some never did and iterations are a whole number each second.

    Not if those that ran were never idle: groups of users who take turns are allocated all at once.
    """
    if found.users_max is None or not found.allocated or found.users_max >= found.allocated:
        return False
    busy = _busy(found)
    if busy is not None and busy >= _ALWAYS_BUSY * found.users_max:
        return False
    return found.users_max <= _IDLE * found.allocated or _is_whole_each_second(found)


def _is_whole_each_second(found: Iterations) -> bool:
    """Whether a whole rate over whole seconds gives the count, and would hardly do so by chance.

    The run ends up to an iteration after the last second in which one began. A number of seconds divides an arbitrary
    count with a probability of one over it, so long iterations, which leave many numbers possible, prove nothing.
    """
    if found.count is None or found.duration_s is None or found.max_s is None:
        return False
    longest = math.floor(found.duration_s)
    shortest = max(1, math.ceil(found.duration_s - found.max_s - _STARTING_S))
    lasted = range(shortest, longest + 1)
    if math.fsum(1.0 / seconds for seconds in lasted) > _CHANCE:
        return False
    return any((found.count - 1) % seconds == 0 for seconds in lasted)


def _are_even(found: Iterations) -> bool:
    """Whether gaps between requests are equal, and their errors do not add up.

    A request that a schedule sends late leaves the next one on time, so the spread over many gaps is that over a few.
    A user who waits for answers stays late, so the spread grows with the number of cycles.
    """
    sent_s = np.asarray(found.sent_s, dtype=float)
    if len(sent_s) < _GAPS_MIN:
        return False
    gaps_s, many = np.diff(sent_s), len(sent_s) // _PARTS
    if not np.std(gaps_s) <= _EVEN * np.mean(gaps_s):
        return False
    few = min(_spread(sent_s, lag) for lag in range(1, min(many // 3, _USERS_MAX) + 1))
    return _spread(sent_s, many) <= _ADDS_UP * few + _ROUNDING * float(np.mean(gaps_s)) ** 2


def _spread(sent_s: Floats, lag: int) -> float:
    """Variance of the time from a request to the one `lag` later. [s^2]"""
    return float(np.var(sent_s[lag:] - sent_s[:-lag]))


DURATION, ITERATION, DROPPED = "http_req_duration", "iteration_duration", "dropped_iterations"
USERS, ALLOCATED = "vus", "vus_max"
TAKEN = (DURATION, ITERATION, DROPPED, USERS, ALLOCATED)  # metrics whose points are read
_OK_STATUSES = {str(status) for status in range(200, 400)}
_ERROR = 0.05  # share of a run's time by the clock above which its rate is unknown
_UNTIMED: dict[str, Any] = {"throughput_rps": None, "rate_sent_rps": None, "duration_s": None}


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a metric, however it is written.

    Attributes:
        where: place of the point, and `value_at` of its value, for messages.
        value: milliseconds, or a count.
        stamp_ns: function that gives when a request or an iteration had ended. [ns]
        tag: function that gives the text of a tag; None if it is absent.
    """

    where: str
    value_at: str
    value: float
    stamp_ns: Callable[[], int]
    tag: Callable[[str], str | None]

    @property
    def took_ns(self) -> int:
        """The duration that is its value. [ns]"""
        return nanoseconds(self.value, 1e6, self.value_at)

    @property
    def request(self) -> Request:
        """Its request, which was sent its value before its stamp."""
        took_ns = self.took_ns
        if took_ns < 0:
            raise InputError(f"{self.where} has a duration below 0; fix or drop the line")
        is_good = is_expected(self.tag("expected_response"), self.tag("status"))
        sent_ns = self.stamp_ns() - took_ns
        return Request(sent_ns=sent_ns, took_ns=took_ns, is_good=is_good, name=self.tag("name") or "")


class Points:
    """The requests of a run, and the tally of its iterations and users."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.tally = Tally()

    def add(self, metric: str, point: Point) -> None:
        """Add a point of a metric that is `TAKEN`. Raises InputError: a value that cannot be; names its place."""
        if metric == DURATION:
            self.requests.add(point.request)
        elif metric == ITERATION:
            self.tally.iteration(point.stamp_ns(), point.took_ns)
        elif metric == DROPPED:
            self.tally.drop(whole(point.value, point.value_at))
        elif metric == USERS:
            self.tally.users(point.value)
        else:
            self.tally.allocate(point.value)

    def log(self, name: str, notes: tuple[str, ...] = (), clock_s: float = 0.0) -> Log:
        """Requests by `name`.

        Args:
            clock_s: resolution of the instants. The rate of a run that lasts only a few of them is unknown, and so is
                what it says about the loop. [s]

        Raises:
            InputError: there are no requests.
        """
        if not len(self.requests):
            raise InputError(f"{name} has no point of {DURATION}; only tests of HTTP are read here")
        sent_ns = self.requests.sent_ns
        known = self.tally.known(sent_ns)
        if float(sent_ns.max() - sent_ns.min()) / 1e9 < clock_s / _ERROR:
            known |= _UNTIMED | ({} if known["dropped"] else {"loop": Loop.UNKNOWN, "loop_because": ""})
        return Log(self.requests, notes, known)


def is_expected(expected: str | None, status: str | None) -> bool:
    """Whether the test expected the response; if k6 does not say, whether its status is no error."""
    if expected is not None:
        return expected == "true"
    return status is None or status in _OK_STATUSES
