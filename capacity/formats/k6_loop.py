"""What decided when k6 sent: its file never names the executor, but its users and its counts tell which kind it was.

Users (VUs) of a closed executor are never idle: each starts its next iteration as soon as the last one has ended, so
by Little's law iterations/s x their mean duration are as many as there are users. An arrival-rate executor takes one
of the allocated users whenever an iteration is due, so most of them are idle, and it drops an iteration that finds
none. Its iterations are a whole number each second, one more or less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capacity.formats.load_test import Floats, Loop

_ALWAYS_BUSY = 0.9  # share of the allocated users that are in an iteration, from which on none was ever idle
_IDLE = 0.5  # share of the allocated users that were in an iteration at most, below which many never were
_CHANCE = 0.05  # with which a count that no schedule gave may look like a whole number each second
_STARTING_S = 0.1  # of a run, before its first iteration
_GAPS_MIN, _PARTS = 100, 10
_EVEN = 0.5  # standard deviation of a gap over its mean; about 1 where users send independently of each other
_ADDS_UP = 3.0  # variance over a tenth of the run, over that over a few gaps; larger where errors add up
_USERS_MAX = 30  # gaps that are few: a cycle of so many users; those of more are uneven
_ROUNDING = 1e-6  # variance of a clock's last digits, as a share of a squared gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """What a run of k6 tells of its iterations and of the users that ran them; what it does not say is None.

    Attributes:
        count: iterations that ended.
        duration_s: of the run. [s]
        mean_s, max_s: of an iteration, pauses in it included. [s]
        dropped: iterations that found no user; 0 only where k6 was told to count them.
        users_max: users in an iteration at once, at most.
        allocated: users that were ready, at most.
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
    """Iterations and users of a run, counted while the points of its log go by."""

    def __init__(self) -> None:
        self._count = 0
        self._took_ns = self._max_ns = 0
        self._span_ns: tuple[int, int] | None = None
        self._dropped: int | None = None
        self._users: float | None = None
        self._allocated: float | None = None

    def iteration(self, ended_ns: int, took_ns: int) -> None:
        """An iteration that has ended. [ns]"""
        self._count += 1
        self._took_ns += took_ns
        self._max_ns = max(self._max_ns, took_ns)
        began_ns = ended_ns - took_ns
        first_ns, last_ns = self._span_ns or (began_ns, ended_ns)
        self._span_ns = min(first_ns, began_ns), max(last_ns, ended_ns)

    def drop(self, count: int) -> None:
        """Iterations that found no user."""
        self._dropped = (self._dropped or 0) + count

    def users(self, count: float) -> None:
        """Users that are in an iteration at once."""
        self._users = max(self._users or 0.0, count)

    def allocate(self, count: float) -> None:
        """Users that are ready."""
        self._allocated = max(self._allocated or 0.0, count)

    def known(self, sent_ns: npt.NDArray[np.int64]) -> dict[str, Any]:
        """What the run of all requests has by it: its loop, its users, and what was dropped.

        Args:
            sent_ns: when requests were sent, in any order, shape `(requests,)`. [ns]
        """
        loop, because = loop_of(self._seen(np.sort(sent_ns)))
        return {
            "loop": loop,
            "loop_because": because,
            "dropped": self._dropped or 0,  # k6 has no such points where it dropped none
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
    """What decided when requests were sent, and what tells it; unknown where nothing does."""
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
    """Users in an iteration on average.

    Source:
        Little (1961), A proof for the queuing formula L = λW, Oper. Res. 9(3).
    """
    if found.count is None or not found.duration_s or found.mean_s is None:
        return None
    return found.count * found.mean_s / found.duration_s


def _are_idle(found: Iterations) -> bool:
    """Whether many users never ran, or some never did and iterations are a whole number each second.

    Not where those that ran were never idle: groups of users who take turns are allocated all at once.
    """
    if found.users_max is None or not found.allocated or found.users_max >= found.allocated:
        return False
    busy = _busy(found)
    if busy is not None and busy >= _ALWAYS_BUSY * found.users_max:
        return False
    return found.users_max <= _IDLE * found.allocated or _is_whole_each_second(found)


def _is_whole_each_second(found: Iterations) -> bool:
    """Whether a whole rate over whole seconds gives the count, and would hardly do so by chance.

    The run ends up to an iteration after the last second in which one began. Of any count a number of seconds is a
    divisor with a chance of one over it, so that long iterations, which leave many numbers open, tell nothing.
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
    """Whether gaps between requests are alike, and their errors do not add up.

    What a schedule sends late leaves the next in time, so the spread over many gaps is that over a few. A user who
    waits for answers is late for good, so the spread grows with the number of cycles.
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
    """Variance of the time from a request to the one that is `lag` later. [s^2]"""
    return float(np.var(sent_s[lag:] - sent_s[:-lag]))
