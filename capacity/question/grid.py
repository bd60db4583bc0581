"""Grid: axes of a sweep, as single values and ranges, and the cells that they span."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Any, Generic, Literal, NamedTuple, Protocol

from capacity.errors import InputError, quoted
from capacity.files import printable, versions
from capacity.performance import Performance
from capacity.question.autoscaler import Autoscaler
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
_COUNT = re.compile(r"[+-]?[0-9]{1,9}")


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
    """Rates and ranges of rates, each once, in the given order.

    >>> parse_rates_rps(["100rps:300rps:100rps", "30000/min"])
    (100.0, 200.0, 300.0, 500.0)
    """
    return _axis(texts, name, lambda text: parse_rate_rps(text, name), mend="100rps:1000rps:100rps")


def parse_durations_s(texts: Sequence[str], name: str) -> tuple[float, ...]:
    """Durations and ranges of durations.

    >>> parse_durations_s(["0ms:0.3ms:0.1ms"], "--batch-wait")
    (0.0, 0.0001, 0.0002, 0.0003)
    """
    return _axis(texts, name, lambda text: parse_duration_s(text, name), mend="0ms:10ms:2ms")


def parse_counts(texts: Sequence[str], name: str) -> tuple[int, ...]:
    """Whole numbers and ranges of them, by steps of 1 if no step is given.

    >>> parse_counts(["1:4", "8:16:4"], "--replicas")
    (1, 2, 3, 4, 8, 12, 16)
    """
    numbers = _axis(texts, name, lambda text: _count(text, name), mend="1:8 or 2:16:2", step="1")
    return tuple(int(number) for number in numbers)


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


def _count(text: str, name: str) -> float:
    if _COUNT.fullmatch(text.strip()) is None:
        raise InputError(f"{name} {quoted(text)} is not a whole number, such as 4")
    return float(text)


def _axis(
    texts: Sequence[str], name: str, parse: Callable[[str], float], mend: str, step: str | None = None
) -> tuple[float, ...]:
    values: dict[float, None] = {}
    for text in texts:
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
