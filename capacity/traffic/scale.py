"""Scale: what is scaled of a demand (its rate, its trace, its day, its users), and the words for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from capacity.performance import Interval, format_span
from capacity.traffic.workload import ClosedPopulation, Demand, TraceArrivals, Workload
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
        multiple: what multiples of a trace or a day are called and counted in; None of other demands.
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
    multiple: "Multiple | None" = None

    def whole(self, size: float) -> float:
        """The nearest size that there is: any, or one or more whole steps."""
        return size if self.step == 0.0 else max(self.step, self.step * round(size / self.step))

    def times(self, size: float) -> float | None:
        """A size as a multiple of the recorded trace or day; None of other demands."""
        return None if self.multiple is None else size / self.multiple.once_rps

    def text(self, size: float) -> str:
        """A size in words.

        >>> scale_of(ClosedPopulation(users=40)).text(1.0)
        '1 user'
        >>> scale_of(Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 0.02)))).text(65.0)
        '1.3 times the recorded speed (65 rps)'
        """
        return self.shown(size) if self.multiple is None else f"{self.brief(size)} ({self.shown(size)})"

    def brief(self, size: float) -> str:
        """A size in words; of a trace or a day, the multiple alone."""
        return (
            self.shown(size) if self.multiple is None else self.multiple.text(size / self.multiple.once_rps)
        )

    def span(self, found: Interval) -> str:
        """A size with its ends, in words; of a trace or a day, its multiple.

        >>> scale_of(ClosedPopulation(users=40)).span(Interval(value=52.0, low=52.0, high=53.0))
        '52 (52 to 53) users'
        """
        if found.high == math.inf:
            return f"at least {self.text(found.value)}"
        if (multiple := self.multiple) is None:
            return format_span(self.shown, found)
        return format_span(multiple.text, found.mapped(lambda size: size / multiple.once_rps))

    def stretch(self, low: Interval, high: Interval) -> str:
        """All sizes between two, in words.

        >>> trace = scale_of(Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 0.02))))
        >>> trace.stretch(Interval.exact(0.0), Interval(value=65.0, low=65.0, high=66.0))
        'up to 1.3 (1.3 to 1.32) times the recorded speed, at 65 (65 to 66) rps'
        """
        start = "up" if low.value <= self.step else f"from {self.span(low)}"
        is_open = self.multiple is None or high.high == math.inf
        where = "" if is_open else f", at {format_span(self.shown, high)}"
        return f"{start} to {self.span(high)}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiple:
    """The multiples of a recorded trace, or of a day.

    Attributes:
        key: key in rows and documents.
        head: head of the column in a table.
        name: trace or day, as the end of a clause: under log.csv.
        unit: what the multiples are of: times the recorded speed.
        once_rps: rate of the trace as it was recorded, or the highest of the day. [requests/s]
    """

    key: str
    head: str
    name: str
    unit: str
    once_rps: float

    def text(self, times: float) -> str:
        """A multiple in words."""
        return f"{times:.3g} {self.unit}"


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
    multiple = _multiple(demand)
    return RATES if multiple is None else Scale(multiple=multiple, tried=(multiple.once_rps,))


def _multiple(workload: Workload) -> Multiple | None:
    arrivals, day = workload.arrivals, workload.day
    if day is not None:
        name, once_rps = f"in the busiest hour of {day.name}", day.peak_rate_rps
        unit = "times the rates of the day"
        return Multiple(key="day_factor", head="day", name=name, unit=unit, once_rps=once_rps)
    if isinstance(arrivals, TraceArrivals):
        name, once_rps = f"under {arrivals.name}", arrivals.rate_rps
        return Multiple(
            key="speed", head="speed", name=name, unit="times the recorded speed", once_rps=once_rps
        )
    return None
