"""Grid: axes of a sweep, as single values and ranges, and the cells that they span."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Any, Generic, Literal, NamedTuple, Protocol, Self

from capacity.errors import InputError, quoted
from capacity.files import printable, versions
from capacity.performance import Performance
from capacity.question import parse
from capacity.question.autoscaler import Autoscaler
from capacity.question.flag import COUNT, SHARE, Flag, Kind
from capacity.question.plan import AnyProfile, Routing
from capacity.question.resilience import Survival
from capacity.traffic.parse import workload
from capacity.traffic.scale import Scale, scale_of
from capacity.traffic.workload import ArrivalProcess, ClosedPopulation, Demand, TraceArrivals, Workload
from capacity.units import parse_duration_s, parse_rate_rps


class Outcome(StrEnum):
    """The result of a cell.

    ANSWERED: it has numbers.
    UNSTABLE: it has no steady state, so no numbers.
    PROFILE_RANGE: the profile does not cover its batches.
    INCONCLUSIVE: the budget, or the trace, was too small for numbers with intervals.
    """

    ANSWERED = "answered"
    UNSTABLE = "unstable"
    PROFILE_RANGE = "profile_range"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The performance of a cell, or the reason why it has none."""

    outcome: Outcome
    reason: str = ""
    performance: Performance | None = None


CELLS_MAX = 100_000
# Plans of one frontier, each as long to find as one alone, or nearly so.
POINTS_MAX, VARIED_MAX = 100, 2


class Replicas(NamedTuple):
    """Number of replicas of a fleet, and the routing of requests to them."""

    number: int
    routing: Routing


COUNT_MAX = 2**63 - 1  # largest value of a column of whole numbers
Value = str | int | float | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, unit last, and the type of its values, any of which may be None."""

    name: str
    holds: Literal["text", "count", "number"]


class RowForm(Protocol):
    """What a row says of one kind of server, besides profile, arrivals, outcome and load."""

    @property
    def asked(self) -> tuple[Column, ...]:
        """Columns of the requests, the fleet and its settings."""

    @property
    def scalars(self) -> tuple[str, ...]:
        """Columns with a number of a performance, by its field."""

    @property
    def durations(self) -> tuple[str, ...]:
        """Durations that have columns of quantiles; `_with_losses` counts lost requests as infinitely late."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The columns of the settings that a table shows, by their heads."""

    @property
    def hides_shared(self) -> bool:
        """Whether a table leaves out a setting that all rows share."""

    @property
    def shown(self) -> Mapping[str, str]:
        """The durations that a table shows, by their names there."""

    def values(self, cell: Any) -> Row:
        """Values of the columns `asked` for a cell."""

    def label(self, row: Mapping[str, Value]) -> str:
        """Settings of the fleet in a row, in a few words."""


class Settings(Protocol):
    """Settings of a server that a sweep varies, and those that all its cells share."""

    @property
    def rows(self) -> RowForm:
        """What a row says of such a server."""

    @property
    def axes(self) -> tuple[Sequence[Any], ...]:
        """Values of each setting, in the order of the cells."""

    @property
    def rejects(self) -> bool:
        """Whether requests that find a queue full are rejected."""

    def at_once(self, sizes: Sequence[int]) -> Self:
        """The same settings, but these numbers of requests that a replica takes at once."""

    def with_outputs(self, profile: Any, factor: float) -> Self:
        """The same settings for requests with outputs that are `factor` times as long, if they have lengths.

        Outputs are cut where the servers of the profile have no room for them.
        """

    def require(self, profile: Any) -> None:
        """Refuse a profile for which no cell can be answered."""

    def cell(self, profile: Any, workload: Any, replicas: Replicas, *values: Any) -> Any:
        """The scenario of one cell.

        Args:
            values: one value of each axis.
        """

    def document(self) -> dict[str, Any]:
        """Settings on which the answers depend, in brief."""


_NOTHING = Survival()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid(Generic[AnyProfile]):
    """Axes of a sweep, each value once.

    Attributes:
        settings: axes of one kind of server, which is that of the profiles.
        survival: failures, in the worst of which every fleet is.
        autoscaler: what sizes every fleet over the day, up to its replicas; None if these run all the time.

    Raises:
        InputError: an axis is empty, two profiles have one name, or there are more than `CELLS_MAX` cells.
    """

    profiles: tuple[AnyProfile, ...]
    workloads: tuple[Demand, ...]
    replicas: tuple[int, ...]
    routings: tuple[Routing, ...] = (Routing.ROUND_ROBIN,)
    settings: Settings
    survival: Survival = _NOTHING
    autoscaler: Autoscaler | None = None

    def __post_init__(self) -> None:
        names = [profile.name for profile in self.profiles]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(
                f"--profile {min(twice)} is given twice; rename one, so that rows can be told apart"
            )
        if not len(self):
            raise InputError("the grid is empty; give --profile, --rate and --replicas at least once each")
        if len(self) > CELLS_MAX:
            raise InputError(
                f"the grid has {len(self)} cells, above the {CELLS_MAX} of one sweep; take larger steps, or "
                "several sweeps"
            )
        for profile in self.profiles:
            self.settings.require(profile)

    @property
    def _axes(self) -> tuple[Sequence[Any], ...]:
        """Values of each axis, in the order of the cells."""
        return self.profiles, self.workloads, self.replicas, *self.settings.axes, self.routings

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self._axes)

    def cells(self) -> Iterator[Any]:
        """The scenario of every combination; the last axis, the routing, changes fastest."""
        for profile, demand, count, *values, routing in product(*self._axes):
            cell = self.settings.cell(profile, demand, Replicas(count, routing), *values)
            cell = cell if self.autoscaler is None else replace(cell, autoscaler=self.autoscaler)
            yield cell.after(self.survival)

    def document(self, **effort: Any) -> dict[str, Any]:
        """Settings on which the answers depend, with long axes, profiles and traces as digests.

        Args:
            effort: seed, budget and the like, unchanged.
        """
        return {
            "versions": {name: found for name, found in versions().items() if name != "python"},
            "profiles": {profile.name: digest(repr(profile)) for profile in self.profiles},
            **self._demand_document(),
            "replicas": short(self.replicas),
            "routings": [routing.value for routing in self.routings],
            **self.settings.document(),
            **({"survival": repr(self.survival)} if self.is_in_failure else {}),
            **self._controller_document(),
            **effort,
        }

    @property
    def is_in_failure(self) -> bool:
        """Whether the fleets are those that a failure leaves."""
        return self.survival != _NOTHING

    @property
    def scale(self) -> Scale:
        """The words and keys for the sizes of the demands."""
        return scale_of(self.workloads[0])

    def _controller_document(self) -> dict[str, Any]:
        """The day and the autoscaler; nothing without one, as a day is its highest rate then."""
        first = self.workloads[0]
        if self.autoscaler is None or not isinstance(first, Workload):
            return {}
        return {"day": digest(repr(first.day)), "autoscaler": repr(self.autoscaler)}

    def _demand_document(self) -> dict[str, Any]:
        first, sizes = self.workloads[0], [demand.size for demand in self.workloads]
        if isinstance(first, ClosedPopulation):
            return {"users": short(sizes), "think_time_s": first.think_time_s}
        trace = first.arrivals.instants_s if isinstance(first.arrivals, TraceArrivals) else ()
        found = {"arrival_rates_rps": short(sizes), "arrivals": f"{first.arrivals!r} {digest(repr(trace))}"}
        if first.clients.is_patient:
            return found
        values = {one.name: getattr(first.clients, one.name) for one in fields(first.clients)}
        values["retried"] = sorted(first.clients.retried)
        return found | {"clients": {name: repr(value) for name, value in values.items()}}


def parse_rates_rps(texts: Sequence[str], name: str = "--rate") -> tuple[float, ...]:
    """Rates, lists and ranges of rates, each once, in the given order.

    >>> parse_rates_rps(["100rps:300rps:100rps", "30000/min,1krps"])
    (100.0, 200.0, 300.0, 500.0, 1000.0)
    """
    return _axis(texts, name, lambda text: parse_rate_rps(text, name), mend="100rps:1000rps:100rps")


def parse_durations_s(texts: Sequence[str], name: str) -> tuple[float, ...]:
    """Durations, lists and ranges of durations.

    >>> parse_durations_s(["0ms:0.3ms:0.1ms"], "--batch-wait")
    (0.0, 0.0001, 0.0002, 0.0003)
    """
    return _axis(texts, name, lambda text: parse_duration_s(text, name), mend="0ms:10ms:2ms")


def parse_counts(texts: Sequence[str], name: str) -> tuple[int, ...]:
    """Whole numbers, lists and ranges of them, by steps of 1 if no step is given.

    >>> parse_counts(["1:4", "8:16:4,32"], "--replicas")
    (1, 2, 3, 4, 8, 12, 16, 32)
    """
    numbers = _axis(
        texts, name, lambda text: float(parse.read_count(text, name)), mend="1:8 or 2:16:2", step="1"
    )
    return tuple(int(number) for number in numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A flag with several values, each of which is a question of its own.

    Attributes:
        name: its keyword.
        unit: `s`, `rps` or empty: the unit of the values, and the ending of the keyword that takes them.
        values: rising, each once.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, flag: Flag, typed: str, text: Any, si: Any = None) -> Self | None:
        """The values of a flag that was given a list or a range; None if it was given one, or some to choose from.

        Args:
            typed: the flag as messages name it.
            text: value of its keyword.
            si: value of the keyword that takes it in SI.

        Raises:
            InputError: a value that cannot be read, or a list beside a choice.
        """
        several = next((one for one in (text, si) if is_several(one, flag)), None)
        if several is None or (text is not None and si is not None):  # reading the question refuses both
            return None
        if not isinstance(several, str) and not list(several):
            raise InputError(f"{typed} has no value; give at least one")
        if flag.is_many and len(several) > 1:
            raise InputError(
                f"{typed} chooses among its values where it is repeated, and a list or a range asks for each; do one "
                "of the two"
            )
        values = _varied(flag.kind, typed, _each(several), is_si=text is None)
        return cls(name=name, unit=flag.kind.unit, values=values)

    @property
    def key(self) -> str:
        """Name in documents and rows, unit last."""
        return f"{self.name}_{self.unit}" if self.unit else self.name

    @property
    def counts(self) -> bool:
        """Whether the values are whole numbers of something."""
        return all(isinstance(value, int) for value in self.values)

    def asked_at(self, value: float) -> dict[str, Any]:
        """Keywords that ask for one of the values alone."""
        return {self.name: None, self.key: value}


def is_several(given: Any, flag: Flag) -> bool:
    """Whether the value of a flag is a list or a range: `20ms,40ms`, `20ms:100ms:10ms`, or in Python an iterable.

    What a repeatable flag was given is a choice, unless one of the texts is a list or a range.
    """
    if not flag.is_axis or given is None:
        return False
    if isinstance(given, str):
        return "," in given or ":" in given
    if flag.is_many:
        return any(isinstance(one, str) and is_several(one, flag) for one in _each(given))
    return isinstance(given, Iterable)


def _each(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _varied(kind: Kind, typed: str, parts: Sequence[Any], *, is_si: bool) -> tuple[float, ...]:
    """The values of a list, and of the ranges in it, rising; a number without its unit is refused."""
    read, mend, step = _READ[kind.unit or ("" if kind == SHARE else "count")]
    texts = [one for one in parts if isinstance(one, str)]
    found = set(_axis(texts, typed, lambda one: float(read(one, typed)), mend=mend, step=step))
    for one in parts:
        if not isinstance(one, str):
            found.add(float(_number(kind, typed, one, is_si=is_si)))
    if kind == COUNT:
        return tuple(sorted(map(int, found)))
    return tuple(sorted(found))


# How the values of a list are read, by their unit, with a range as an example and the step of one without.
_READ: Mapping[str, tuple[Callable[[Any, str], float], str, str | None]] = {
    "s": (parse_duration_s, "20ms:100ms:20ms", None),
    "rps": (parse_rate_rps, "100rps:500rps:100rps", None),
    "": (parse.read_share, "10%:50%:10%", None),
    "count": (parse.read_count, "1:8 or 2:16:2", "1"),
}


def _number(kind: Kind, typed: str, given: Any, *, is_si: bool) -> float:
    """A number of an iterable that Python passed."""
    if kind.unit:
        read = parse.duration_s if kind.unit == "s" else parse.rate_rps
        return (read(None, given, typed) if is_si else read(given, None, typed)) or 0.0
    return parse.read_share(given, typed) if kind == SHARE else int(given)


def workloads(
    arrivals: ArrivalProcess, rates: Sequence[str], rates_rps: Sequence[float] = ()
) -> tuple[Workload, ...]:
    """A workload for each rate; without rates, the one of a trace."""
    asked = (*(parse_rates_rps(rates) if rates else ()), *rates_rps)
    if not asked:
        return (workload(arrivals, None),)
    return tuple(workload(arrivals, rate_rps) for rate_rps in dict.fromkeys(asked))


def populations(users: Sequence[str], think_time_s: float | None) -> tuple[ClosedPopulation, ...]:
    """Users of each number, who think as long."""
    counts = parse_counts(users, "--users")
    return tuple(ClosedPopulation(users=count, think_time_s=think_time_s or 0.0) for count in counts)


def _axis(
    texts: Sequence[str], name: str, parse: Callable[[str], float], mend: str, step: str | None = None
) -> tuple[float, ...]:
    values: dict[float, None] = {}
    for text in (one for given in texts for one in given.split(",")):
        parts = [*text.split(":"), *([step] if step is not None and text.count(":") == 1 else [])]
        if len(parts) not in (1, 3):
            raise InputError(f"{name} {quoted(text)} is not a range from low to high in steps: {mend}")
        numbers = [parse(part) for part in parts]
        values.update(dict.fromkeys(numbers if len(numbers) == 1 else _range(*numbers, name=name, text=text)))
        if len(values) > CELLS_MAX:
            raise InputError(f"{name} has more than {CELLS_MAX} values; take a larger step")
    return tuple(values)


def _range(low: float, high: float, step: float, *, name: str, text: str) -> list[float]:
    """Numbers from low to high, with high if the steps reach it; decimal, so that 0.1 and 0.2 add up to 0.3."""
    shown = printable(text)[:80]
    if step <= 0.0:
        raise InputError(f"{name} {shown!r} has a step that is not above 0; it would never end")
    if high < low:
        raise InputError(f"{name} {shown!r} runs from high to low; write the low end first")
    first, by = Decimal(repr(low)), Decimal(repr(step))
    steps = (Decimal(repr(high)) - first) / by
    if steps >= CELLS_MAX:
        raise InputError(f"{name} {shown!r} has more than {CELLS_MAX} values; take a larger step")
    return [float(first + number * by) for number in range(int(steps) + 1)]


def digest(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def short(values: Sequence[Any]) -> Any:
    """An axis, or its digest if it is long."""
    return list(values) if len(values) <= 20 else f"{len(values)} values, {digest(repr(tuple(values)))}"
