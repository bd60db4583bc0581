"""Sweep table: one row a cell, tidy: what was asked, what became of it, and every number with its unit."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from capacity.errors import InputError
from capacity.explain import format_interval
from capacity.objective import format_share
from capacity.performance import QUANTILE_FIELDS, Interval, Performance, Quantiles
from capacity.report import Document, arrivals_name
from capacity.scenario import Scenario
from capacity.sweep import Answer, Outcome
from capacity.units import format_duration, format_quantile, format_rate
from capacity.workload import Workload

if TYPE_CHECKING:
    from rich.table import Table

QUANTILES_MAX = 100
COUNT_MAX = 2**63 - 1  # what a column of whole numbers holds
Value = str | int | float | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """Name, unit last, and what its values are; any may be None."""

    name: str
    holds: Literal["text", "count", "number"]


_ASKED = (
    Column("profile", "text"),
    Column("arrival_rate_rps", "number"),
    Column("arrivals", "text"),
    Column("replicas", "count"),
    Column("batch_size_max", "count"),
    Column("batch_wait_max_s", "number"),
    Column("routing", "text"),
    Column("timer", "text"),
    Column("queue_limit", "count"),
    Column("request_overhead_s", "number"),
    Column("instances_per_device", "count"),
    Column("contention", "text"),
    Column("seed", "count"),
    Column("confidence", "number"),
    Column("outcome", "text"),
    Column("reason", "text"),
    Column("load", "number"),
)
_OUTCOME = [column.name for column in _ASKED].index("outcome")
_SCALARS = tuple(
    field.name
    for field in fields(Performance)
    if field.name not in ("kind", "load", *QUANTILE_FIELDS, "intervals", "relative_error_max")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTable:
    """What the rows of one sweep have in common.

    Attributes:
        quantiles: of waits and responses, in rising order: P99 of the response is in the columns
            `response_p99_s`, `response_p99_low_s` and `response_p99_high_s`; with lost requests as
            infinitely late in `response_p99_with_losses_s` and its ends, empty where it is infinite.
    """

    quantiles: Sequence[float]
    seed: int
    confidence: float

    def __post_init__(self) -> None:
        if len(self.quantiles) > QUANTILES_MAX:
            raise InputError(f"a sweep has {QUANTILES_MAX} quantiles at most, got {len(self.quantiles)}")
        if self.seed > COUNT_MAX:
            raise InputError(f"--seed of a sweep must be at most {COUNT_MAX}, got {self.seed}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Name and kind of every value of a row."""
        names = [f"{what}_{_named(q)}" for what in ("wait", "response") for q in self.quantiles]
        names += [f"response_{_named(q)}_with_losses" for q in self.quantiles]
        ends = (f"{name}{end}_s" for name in names for end in ("", "_low", "_high"))
        return (*_ASKED, *(Column(name, "number") for name in (*_SCALARS, *ends)))

    def row(self, cell: Scenario, answer: Answer) -> Row:
        """One cell: no number of a performance where there is none, and none that is not finite."""
        plan, performance = cell.plan, answer.performance
        assert isinstance(cell.workload, Workload)  # noqa: S101  (a grid has rates)
        asked = (
            plan.profile,
            float(cell.workload.arrival_rate_rps),
            arrivals_name(cell.workload),
            plan.replicas,
            plan.batch_size_max,
            float(plan.batch_wait_max_s),
            plan.routing.value,
            plan.timer.value,
            plan.queue_limit,
            float(cell.profile.request_overhead_s),
            min(cell.profile.instances_per_device, COUNT_MAX),
            _contention(cell),
            self.seed,
            float(self.confidence),
            answer.outcome.value,
            answer.reason or None,
            _finite(cell.load),
        )
        if performance is None:
            return (*asked, *[None] * (len(self.columns) - len(asked)))
        scalars = (_finite(getattr(performance, name)) for name in _SCALARS)
        waits = self._values(performance.wait_quantiles_s)
        served = performance.response_quantiles_s
        late = performance.response_quantiles_with_losses_s or served
        return (*asked, *scalars, *waits, *self._values(served), *self._values(late))

    def _values(self, known: Quantiles) -> Iterator[Value]:
        for quantile in self.quantiles:
            interval = known[quantile]
            yield from (_finite(end) for end in (interval.value, interval.low, interval.high))


def _contention(cell: Scenario) -> str:
    """How the slowdown of instances on one device is known."""
    contention = cell.profile.device_contention(cell.plan.replicas)
    if contention is None:
        return "none"
    return "measured" if contention.is_measured else "assumed"


def sweep_exit_code(rows: Iterable[Row]) -> int:
    """4 where any row is inconclusive; a refusal that is certain is an answer."""
    return 4 if any(row[_OUTCOME] == Outcome.INCONCLUSIVE for row in rows) else 0


def sweep_document(names: Sequence[Column], rows: Iterable[Row]) -> Document:
    """`capacity sweep` as JSON: the rows, by name."""
    known = [column.name for column in names]
    return {"rows": [dict(zip(known, one, strict=True)) for one in rows]}


def outcome_document(rows: Sequence[Row], file: str) -> Document:
    """What a file has been given: its rows, and how many of each outcome."""
    count = Counter(row[_OUTCOME] for row in rows)
    outcomes = {outcome.value: count[outcome.value] for outcome in Outcome}
    return {"file": file, "rows": len(rows), **outcomes}


def sweep_table(common: SweepTable, rows: Sequence[Row]) -> "Table":
    """A line for each row: what was asked, the load, the highest quantile and the outcome."""
    from capacity.tables import table

    names = [column.name for column in common.columns]
    quantile = max(common.quantiles)
    known = [dict(zip(names, row, strict=True)) for row in rows]
    waits = any(row["batch_wait_max_s"] for row in known)  # where nobody waits, room for the rest
    lost = any(row["loss_probability"] for row in known)
    columns = (
        "<profile",
        "rate",
        "replicas",
        "batch",
        *(["batch wait"] if waits else []),
        "<routing",
        "load",
    )
    return table(
        (*columns, format_quantile(quantile), *(["lost"] if lost else []), "<outcome"),
        (_cells(row, quantile, waits=waits, lost=lost) for row in known),
    )


def _cells(known: Mapping[str, Value], quantile: float, *, waits: bool, lost: bool) -> tuple[str, ...]:
    load, losses = known["load"], known["loss_probability"]
    name = f"response_{_named(quantile)}_with_losses"
    return (
        str(known["profile"]),
        format_rate(_number(known["arrival_rate_rps"])),
        str(known["replicas"]),
        str(known["batch_size_max"]),
        *([format_duration(_number(known["batch_wait_max_s"]))] if waits else []),
        str(known["routing"]),
        "" if load is None else f"{load:.3f}",
        _shown_interval(*(known[f"{name}{end}_s"] for end in ("", "_low", "_high")))
        or ("infinite" if losses else ""),
        *([format_share(_number(losses)) if losses else ""] if lost else []),
        str(known["outcome"]),
    )


def _shown_interval(value: Value, low: Value, high: Value) -> str:
    """No quantile without its interval, whose upper end may lie among the lost."""
    if value is None or low is None:
        return ""
    high = math.inf if high is None else high
    return format_interval(Interval(value=_number(value), low=_number(low), high=_number(high)))


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))  # noqa: S101  (as its column says)
    return float(value)


def _named(quantile: float) -> str:
    """`p99`, `p99_9`: the point stays, as P12.5 is not P1.25."""
    return format_quantile(quantile).lower().replace(".", "_")


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
