"""Access log lines: the parts that formats of web servers' logs share."""

import re
from dataclasses import dataclass

from capacity.errors import InputError
from capacity.traffic.trace import parse_stamp

# nginx and Apache: the common log format, and whatever follows it.
COMMON = re.compile(
    r'(?P<before>[^\["]{1,500})\[(?P<day>[0-9]{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>[0-9]{4}):'
    r'(?P<time>[0-9:]{8}) (?P<zone>[+-][0-9]{4})\] "(?:[^"\\]|\\.)*" '
    r"(?P<status>[0-9]{3}) (?:[0-9]+|-)(?P<after>(?: .*)?)"
)
_DATE = re.compile(r"\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} [+-][0-9]{4}\]")
LENGTH_MAX = 65_536  # largest length of a line; web servers take no longer requests
RESOLUTION_S = 0.001
WHOLE_SECONDS = "the log gives ends of requests in whole seconds; add $msec to log_format for exact instants"
FAILED_FROM = 500
_CLIENT_LEFT = 499
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class Others:
    """Lines of a log that belong to no request, such as messages at the server's start, and its errors.

    Attributes:
        count: number of such lines.
        first: line number of the first one.
    """

    count: int = 0
    first: int = 0

    def has(self, line: str, number: int) -> bool:
        """Whether a line has no date of a request; it is counted then."""
        is_other = _DATE.search(line[:LENGTH_MAX]) is None
        if is_other and line.strip():
            self.add(number)
        return is_other

    def add(self, number: int) -> None:
        """Count a line."""
        self.first = self.first or number
        self.count += 1

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on how many lines were skipped, if any."""
        if not self.count:
            return ()
        are = (
            "line is not of a request, and was" if self.count == 1 else "lines are not of a request, and were"
        )
        return (f"{self.count} {are} passed over",)

    def require_few(self, requests: int, name: str) -> None:
        """Refuse a log that has more such lines than requests."""
        if self.count > requests:
            raise InputError(
                f"{name}: {self.count} of {self.count + requests} lines, such as line {self.first}, are not of a "
                "request; keep the lines of requests"
            )


def clock_ns(match: re.Match[str], where: str, zone: str = "", fraction: str = "") -> int:
    """The instant in the groups `day`, `month`, `year` and `time`, since 1970. [ns]

    Args:
        zone: time zone as `+0100`; UTC if it is empty.
        fraction: fraction of a second, as `.250`.

    Raises:
        InputError: no such day, or no such time.
    """
    if match["month"] not in _MONTHS:
        raise InputError(f"{where}: {match['month']} is no month; fix or drop the line")
    month = _MONTHS.index(match["month"]) + 1
    text = f"{match['year']}-{month:02d}-{match['day']} {match['time']}{fraction}{zone}"
    return int(parse_stamp(text, where).value * 10**9)


def is_good(status: int) -> bool:
    """Whether a request was answered: its status is below 500, and not nginx's 499 of a client that left."""
    return status < FAILED_FROM and status != _CLIENT_LEFT
