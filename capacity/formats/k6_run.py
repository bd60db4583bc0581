"""k6 run: what is kept of a run's points while they are read, some 14 for each request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import whole
from capacity.formats.k6_loop import Tally
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Log, Request, Requests, nanoseconds

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
