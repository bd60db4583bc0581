"""Scale: what is scaled of a demand (its rate, the speed of its trace, its users), and the words for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from capacity.performance import Interval, format_span
from capacity.traffic.workload import ClosedPopulation, Demand, TraceArrivals
from capacity.units import format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The words and keys for how much of a demand there is.

    Attributes:
        one, many: what is scaled: the rate, or the number of users.
        key: key of one size in rows and documents, unit last.
        group: key of all that a document says of sizes.
        most: key of the largest size.
        suffix: end of the keys of ends of sizes, which is their unit.
        head: head of the column of sizes in a table.
        title: title of an axis of sizes.
        shown: a size with its unit.
        step: the smallest difference between two sizes; 0 if there is none.
        tried: sizes of which to know, besides those that a search looks at.
        trace: name of the trace that is sped up; None of other demands.
        recorded_rps: rate at which it was recorded. [requests/s]
    """

    one: str = "rate"
    many: str = "rates"
    key: str = "arrival_rate_rps"
    group: str = "rates"
    most: str = "arrival_rate_max_rps"
    suffix: str = "_rps"
    head: str = "rate"
    title: str = "arrival rate [rps]"
    shown: Callable[[float], str] = format_rate
    step: float = 0.0
    tried: tuple[float, ...] = ()
    trace: str | None = None
    recorded_rps: float | None = None

    def whole(self, size: float) -> float:
        """The nearest size that there is: any, or one or more whole steps."""
        return size if self.step == 0.0 else max(self.step, self.step * round(size / self.step))

    def times(self, size: float) -> float | None:
        """Speed of a trace as a multiple of its recorded speed; None of other demands."""
        return None if self.recorded_rps is None else size / self.recorded_rps

    def text(self, size: float) -> str:
        """A size in words.

        >>> scale_of(ClosedPopulation(users=40)).text(1.0)
        '1 user'
        >>> Scale(trace="log.csv", recorded_rps=50.0).text(65.0)
        '1.3 times the recorded speed (65 rps)'
        """
        return self.shown(size) if self.trace is None else f"{self.brief(size)} ({self.shown(size)})"

    def brief(self, size: float) -> str:
        """A size in words; of a trace, its speed alone."""
        times = self.times(size)
        return self.shown(size) if times is None else _times(times)

    def span(self, found: Interval) -> str:
        """A size with its ends, in words; of a trace, its speed.

        >>> scale_of(ClosedPopulation(users=40)).span(Interval(value=52.0, low=52.0, high=53.0))
        '52 (52 to 53) users'
        """
        if found.high == math.inf:
            return f"at least {self.text(found.value)}"
        if (recorded_rps := self.recorded_rps) is None:
            return format_span(self.shown, found)
        return format_span(_times, found.mapped(lambda size: size / recorded_rps))

    def stretch(self, low: Interval, high: Interval) -> str:
        """All sizes between two, in words.

        >>> trace = Scale(trace="log.csv", recorded_rps=50.0)
        >>> trace.stretch(Interval.exact(0.0), Interval(value=65.0, low=65.0, high=66.0))
        'up to 1.3 (1.3 to 1.32) times the recorded speed, at 65 (65 to 66) rps'
        """
        start = "up" if low.value <= self.step else f"from {self.span(low)}"
        where = "" if self.trace is None or high.high == math.inf else f", at {format_span(self.shown, high)}"
        return f"{start} to {self.span(high)}{where}"


def _times(times: float) -> str:
    return f"{times:.3g} times the recorded speed"


def _users(users: float) -> str:
    return f"{users:.0f} user{'' if users == 1.0 else 's'}"


RATES = Scale()
USERS = Scale(
    one="number of users",
    many="numbers of users",
    key="users",
    group="users",
    most="users_max",
    suffix="",
    head="users",
    title="users",
    shown=_users,
    step=1.0,
)


def scale_of(demand: Demand) -> Scale:
    """How a demand is scaled.

    >>> scale_of(ClosedPopulation(users=40)).text(52.0)
    '52 users'
    """
    if isinstance(demand, ClosedPopulation):
        return replace(USERS, tried=(1.0, demand.size))
    arrivals = demand.arrivals
    if isinstance(arrivals, TraceArrivals):
        return Scale(trace=arrivals.name, recorded_rps=arrivals.rate_rps, tried=(arrivals.rate_rps,))
    return RATES
