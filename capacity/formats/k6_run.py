"""What is kept of the points of a k6 run while they are read, of which there are some 14 for each request."""

from typing import Any

from capacity.errors import InputError
from capacity.formats.k6_loop import Tally
from capacity.formats.load_test import LoadTest, Loop
from capacity.formats.request_log import Request, Requests, runs, whole_of

DURATION, ITERATION, DROPPED = "http_req_duration", "iteration_duration", "dropped_iterations"
USERS, ALLOCATED = "vus", "vus_max"
TAKEN = (DURATION, ITERATION, DROPPED, USERS, ALLOCATED)  # metrics whose points are read
_OK_STATUSES = {str(status) for status in range(200, 400)}
_ERROR = 0.05  # of the time that a run took, by the clock, from which on it is not told
_UNTIMED: dict[str, Any] = {"throughput_rps": None, "rate_sent_rps": None, "duration_s": None}


class Points:
    """The requests of a run, and the tally of its iterations and users."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.tally = Tally()

    def add_request(self, where: str, request: Request) -> None:
        """A point of a request's duration. Raises InputError: a duration below 0, by its place."""
        if request.took_ns < 0:
            raise InputError(f"{where} has a duration below 0; fix or drop the line")
        self.requests.add(request)

    def add_count(self, metric: str, value: float) -> None:
        """A point of iterations that were dropped, or of the number of users."""
        if metric == DROPPED:
            self.tally.drop(int(value))
        elif metric == USERS:
            self.tally.users(value)
        else:
            self.tally.allocate(value)

    def log(self, name: str) -> Requests:
        """The requests. Raises InputError: there are none."""
        if not len(self.requests):
            raise InputError(f"{name} has no point of {DURATION}; only tests of HTTP are read here")
        return self.requests

    def load_test(self, name: str, notes: tuple[str, ...] = (), clock_s: float = 0.0) -> LoadTest:
        """The requests by their `name`, and all of them.

        Args:
            clock_s: in whole numbers of which instants are given. Of a run of a few no rate is known, nor what its
                rate tells of the loop. [s]

        Raises:
            InputError: there are no requests.
        """
        sent_ns = self.log(name).sent_ns
        known = self.tally.known(sent_ns)
        if float(sent_ns.max() - sent_ns.min()) / 1e9 < clock_s / _ERROR:
            known |= _UNTIMED | ({} if known["dropped"] else {"loop": Loop.UNKNOWN, "loop_because": ""})
        found = runs(self.requests, **known)
        return LoadTest(tool="k6", name=name, runs=found, whole=whole_of(found), notes=notes)


def is_expected(expected: str | None, status: str | None) -> bool:
    """Whether the test expected the response; if k6 does not say, whether its status is no error."""
    if expected is not None:
        return expected == "true"
    return status is None or status in _OK_STATUSES
