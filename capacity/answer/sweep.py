"""Sweep rows: columns, rows and files of a sweep, with a journal that keeps the rows until the file is whole."""

import csv
import io
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from capacity.answer.documents import Document, arrivals_name, dumps
from capacity.errors import DependencyError, InputError
from capacity.files import (
    JOURNAL_SUFFIX,
    check_target,
    format_suffix,
    is_stream,
    printable,
    refused,
    write_whole,
)
from capacity.performance import QUANTILE_FIELDS, SCALAR_FIELDS, Performance, Quantiles, Share
from capacity.question.grid import COUNT_MAX, Answer, Column, Outcome, Row, RowForm, Value
from capacity.traffic.scale import RATES, Scale
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import quantile_name

QUANTILES_MAX = 100
_OUTAGE = (Column("outage", "text"), Column("replicas_left", "count"))
_OUTCOME = (
    Column("seed", "count"),
    Column("confidence", "number"),
    Column("outcome", "text"),
    Column("reason", "text"),
    Column("load", "number"),
)


_OF_AUTOSCALERS = ("replicas_mean", "replicas_most", "scalings", "hourly_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTable:
    """What the rows of one sweep share.

    Attributes:
        form: what a row says of the kind of server that is swept.
        quantiles: those of each duration of the form, rising: P99 of the response has the columns `response_p99_s`,
            `response_p99_low_s` and `response_p99_high_s`; with lost requests as infinitely late,
            `response_p99_with_losses_s` and its ends, empty where infinite.
        scale: the words and keys for the sizes of the demands.
        is_in_failure: whether rows say what a failure leaves of their fleet.
        is_scaled: whether an autoscaler sizes the fleets.
    """

    form: RowForm
    quantiles: Sequence[float]
    seed: int
    confidence: float
    scale: Scale = RATES
    is_in_failure: bool = False
    is_scaled: bool = False

    def __post_init__(self) -> None:
        if len(self.quantiles) > QUANTILES_MAX:
            raise InputError(f"a sweep has {QUANTILES_MAX} quantiles at most, got {len(self.quantiles)}")
        if self.seed > COUNT_MAX:
            raise InputError(f"--seed of a sweep must be at most {COUNT_MAX}, got {self.seed}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Name and type of each value in a row."""
        names = [duration_column(what, q) for what in self.form.durations for q in self.quantiles]
        ends = (f"{name}{end}_s" for name in names for end in ("", "_low", "_high"))
        return (
            *self._demand_columns,
            *self.form.asked,
            *(_OUTAGE if self.is_in_failure else ()),
            *_OUTCOME,
            *(Column(name, "number") for name in (*self._scalars, *ends)),
        )

    @property
    def _scalars(self) -> tuple[str, ...]:
        """Columns with a number of a performance, by its field."""
        return (*self.form.scalars, *(_OF_AUTOSCALERS if self.is_scaled else ()))

    @property
    def _demand_columns(self) -> tuple[Column, ...]:
        """The first columns: the profile, and the rate, with the multiple of a trace or a day, or the users."""
        profile = Column("profile", "text")
        if self.scale.step:
            return (profile, Column("users", "count"), Column("think_time_s", "number"))
        multiple = self.scale.multiple
        times = () if multiple is None else (Column(multiple.key, "number"),)
        return (profile, Column("arrival_rate_rps", "number"), Column("arrivals", "text"), *times)

    def _demand(self, demand: Demand) -> tuple[Value, ...]:
        """The values of these columns but the profile."""
        if isinstance(demand, ClosedPopulation):
            return demand.users, demand.think_time_s
        times = self.scale.times(demand.size)
        return (float(demand.size), arrivals_name(demand), *(() if times is None else (times,)))

    def row(self, cell: Any, answer: Answer, load: float | None) -> Row:
        """One cell: no number of a performance where there is none, and none that is not finite."""
        asked = (
            cell.plan.profile,
            *self._demand(cell.workload),
            *self.form.values(cell),
            *((cell.outage.event, max(0, cell.outage.left)) if self.is_in_failure else ()),
            self.seed,
            float(self.confidence),
            answer.outcome.value,
            answer.reason or None,
            finite(load),
        )
        performance = answer.performance
        if performance is None:
            return (*asked, *[None] * (len(self.columns) - len(asked)))
        scalars = (finite(getattr(performance, name)) for name in self._scalars)
        known = (_quantiles(performance, what) for what in self.form.durations)
        return (*asked, *scalars, *(value for one in known for value in self._values(one)))

    def _values(self, known: Quantiles) -> Iterator[Value]:
        """Each quantile with its ends; None for all of them if it is unknown."""
        for quantile in self.quantiles:
            interval = known.get(quantile)
            if interval is None:
                yield from (None, None, None)
            else:
                yield from (finite(end) for end in (interval.value, interval.low, interval.high))


_LOST = "_with_losses"


def duration_column(what: str, quantile: float) -> str:
    """Name of the columns of a quantile, without end and unit.

    >>> duration_column("response_with_losses", 0.99)
    'response_p99_with_losses'
    """
    name = f"{what.removesuffix(_LOST)}_{quantile_name(quantile)}"
    return name + (_LOST if what.endswith(_LOST) else "")


def _quantiles(performance: Performance, what: str) -> Quantiles:
    """Quantiles of a duration; with losses those of served requests if none was lost."""
    served: Quantiles = getattr(performance, f"{what.removesuffix(_LOST)}_quantiles_s")
    if not what.endswith(_LOST):
        return served
    late: Quantiles = getattr(performance, f"{what.removesuffix(_LOST)}_quantiles_with_losses_s")
    return late or served


def performance_columns(performance: Performance) -> dict[str, Value]:
    """The numbers of one performance by column, as in a sweep; what a source does not have is absent."""
    found: dict[str, Value] = {"kind": performance.kind.value}
    found |= {name: finite(getattr(performance, name)) for name in SCALAR_FIELDS}
    if (share := performance.hit_share) is not None:
        found |= {"hit_share": share.mean, "hit_share_low": share.low, "hit_share_high": share.high}
    for name in QUANTILE_FIELDS:
        known: Quantiles = getattr(performance, name)
        for quantile, interval in known.items():
            column = name.replace("quantiles", quantile_name(quantile)).removesuffix("_s")
            ends = {"": interval.value, "_low": interval.low, "_high": interval.high}
            found |= {f"{column}{end}_s": finite(value) for end, value in ends.items()}
    return {name: value for name, value in found.items() if value is not None}


def outcomes(columns: Sequence[Column], rows: Iterable[Row]) -> Counter[Value]:
    """Number of rows by outcome."""
    at = [column.name for column in columns].index("outcome")
    return Counter(row[at] for row in rows)


def sweep_document(names: Sequence[Column], rows: Iterable[Row]) -> Document:
    """`capacity sweep` as JSON: the rows by name."""
    known = [column.name for column in names]
    return {"rows": [dict(zip(known, one, strict=True)) for one in rows]}


def sweep_exit_code(columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """4 if any row is inconclusive, else 0: a certain refusal is an answer."""
    return 4 if outcomes(columns, rows)[Outcome.INCONCLUSIVE] else 0


def outcome_document(columns: Sequence[Column], rows: Sequence[Row], file: str) -> Document:
    """Number of rows in a file, and of each outcome."""
    count = outcomes(columns, rows)
    return {"file": file, "rows": len(rows), **{one.value: count[one.value] for one in Outcome}}


def finite(value: float | Share | None) -> float | None:
    """A number that a file can hold, of a share its mean; None if it is not finite."""
    value = value.mean if isinstance(value, Share) else value
    return None if value is None or not math.isfinite(value) else float(value)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_file(path: Path) -> None:
    """Refuse early a file that could not be written after hours of work.

    Raises:
        InputError: another suffix, a directory, or no such folder.
        DependencyError: Parquet without pyarrow.
    """
    check_target(path, "a sweep", _FORMATS)
    if path.suffix.lower() == ".parquet":
        require_pyarrow()


def write_file(path: Path, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Write a table beside the file and move it into place, over any old file.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    write_whole(path, _FORMATS[format_suffix(path, _FORMATS)](columns, rows))


def write_rows(path: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    """Write rows by name as .csv or .parquet; a column that a row lacks is empty.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed, or Parquet without pyarrow.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [Column(name, _holds([row.get(name) for row in rows])) for name in names]
    write_file(
        path, columns, [tuple(_cell(column, row.get(column.name)) for column in columns) for row in rows]
    )


def _holds(values: Sequence[Value]) -> Literal["text", "count", "number"]:
    """Type of a column, by its values."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return "text"
    return "count" if known and all(isinstance(value, int) for value in known) else "number"


def _cell(column: Column, value: Value) -> Value:
    return str(value) if column.holds == "text" and value is not None else value


def _csv(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([_plain(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _plain(value: Value) -> Value:
    """A value as CSV; a text that a spreadsheet would run as a formula is quoted, as spreadsheets do."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _json(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    return (dumps(sweep_document(columns, rows)) + "\n").encode()


def _parquet(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    arrow: Any = require_pyarrow()
    from pyarrow import parquet

    types = {"text": arrow.string(), "count": arrow.int64(), "number": arrow.float64()}
    schema = arrow.schema([(column.name, types[column.holds]) for column in columns])
    values = [[row[at] for row in rows] for at in range(len(columns))]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(values, schema=schema), buffer)
    return buffer.getvalue()


def require_pyarrow() -> Any:
    """The writer of Parquet. Raises DependencyError: it is not installed."""
    try:
        import pyarrow as arrow
    except ImportError:
        raise DependencyError(
            "a .parquet file needs pyarrow, which is not installed; pip install 'capacity-planner[parquet]'"
        ) from None
    return arrow


_FORMATS: dict[str, Callable[[Sequence[Column], Sequence[Row]], bytes]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
}


FILE_BYTES_MAX = 2**30
LINE_BYTES_MAX = 2**20
_FORMAT = 1


class Journal:
    """An open journal.

    Attributes:
        rows: rows of earlier runs, in the order of the cells.
    """

    def __init__(self, path: Path, file: BinaryIO, rows: list[Row]) -> None:
        self.path = path
        self.rows = rows
        self._file = file

    def append(self, row: Row) -> None:
        """Append a row, and hand it to the system before returning.

        Raises:
            DependencyError: the disk failed.
        """
        self.write(_line(row))

    def write(self, data: bytes) -> None:
        """Write past the file's buffer, or a full disk would fail again when the file is closed.

        Raises:
            DependencyError: the disk failed.
        """
        try:
            while data:
                data = data[os.write(self._file.fileno(), data) :]
        except OSError as error:
            raise refused(error, printable(str(self.path))) from None

    def remove(self) -> None:
        """Remove the journal, once its rows have reached their file."""
        self.path.unlink(missing_ok=True)


@contextmanager
def open_journal(
    path: Path, settings: Mapping[str, Any], columns: Sequence[Column], cells: int, *, fresh: bool
) -> Iterator[Journal]:
    """The journal of a sweep with these settings, new or continued.

    Args:
        fresh: start again, whatever the file holds.

    Raises:
        InputError: a journal of another sweep, a damaged one, or a path that cannot be written.
    """
    shown = printable(path.name)
    header = _line({"capacity_sweep": _FORMAT, **settings})
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"cannot write {shown}: it is not a file; move it away")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None
    with os.fdopen(descriptor, "r+b") as file:
        _lock(file, path, shown)
        if fresh:
            file.truncate(0)
        rows, end = _read(file, header, columns, cells, shown)
        file.seek(end)
        file.truncate()
        os.lseek(file.fileno(), end, os.SEEK_SET)
        journal = Journal(path, file, rows)
        if end == 0:
            _begin(journal, header)
        yield journal


def _begin(journal: Journal, header: bytes) -> None:
    """Begin a journal; one that fails is not left behind."""
    try:
        journal.write(header)
    except BaseException:
        journal.remove()
        raise


def _lock(file: BinaryIO, path: Path, shown: str) -> None:
    """Lock the file for one sweep; the lock ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # not everywhere
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        ours = False
    if not ours:
        raise InputError(f"another sweep is writing {shown}; wait for it, or write to another file")


def _read(
    file: BinaryIO, header: bytes, columns: Sequence[Column], cells: int, shown: str
) -> tuple[list[Row], int]:
    """The whole rows, and the position where the last of them ends."""
    if os.fstat(file.fileno()).st_size > FILE_BYTES_MAX:
        raise InputError(f"{shown} is larger than {FILE_BYTES_MAX} bytes; start over with --fresh")
    file.seek(0)
    first = file.readline(LINE_BYTES_MAX)
    if not first.endswith(b"\n") and header.startswith(first):
        return [], 0
    _require_same(first, header, shown)
    rows: list[Row] = []
    end = len(first)
    while (line := file.readline(LINE_BYTES_MAX)).endswith(b"\n"):
        row = _parsed(line, columns)
        if row is None or len(rows) == cells:
            raise InputError(
                f"{shown} line {len(rows) + 2} is not a row of this sweep; start over with --fresh"
            )
        rows.append(row)
        end += len(line)
    if len(line) == LINE_BYTES_MAX:
        raise InputError(f"{shown} line {len(rows) + 2} is not a row of this sweep; start over with --fresh")
    return rows, end


def _require_same(first: bytes, header: bytes, shown: str) -> None:
    if first == header:
        return
    found, wanted = _object(first), json.loads(header)
    if found is None or found.get("capacity_sweep") != _FORMAT:
        raise InputError(f"{shown} is not the journal of a sweep; move it away, or write to another file")
    other = ", ".join(key for key in wanted if found.get(key) != wanted[key])
    raise InputError(
        f"{shown} is of an unfinished sweep with other settings ({other}); finish that one, write to another "
        "file, or start over with --fresh"
    )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _parsed(line: bytes, columns: Sequence[Column]) -> Row | None:
    """The row on a line; None if it is not one."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or len(values) != len(columns):
        return None
    if not all(_fits(value, column) for value, column in zip(values, columns, strict=True)):
        return None
    return tuple(values)


def _fits(value: object, column: Column) -> bool:
    if column.name == "outcome":
        return isinstance(value, str) and value in set(Outcome)
    if value is None:
        return True
    match column.holds:
        case "text":
            return isinstance(value, str)
        case "count":
            return type(value) is int and 0 <= value < 2**63
        case "number":
            return type(value) is float and math.isfinite(value)


def _line(value: object) -> bytes:
    return (json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n").encode()


class Rows(list[Row]):
    """Rows in the order of the cells; appended ones go to the journal too, if there is one."""

    def __init__(self, journal: Journal | None = None) -> None:
        super().__init__(journal.rows if journal else ())
        self._journal = journal

    def append(self, row: Row) -> None:
        """Append a row."""
        if self._journal is not None:
            self._journal.append(row)
        super().append(row)


@contextmanager
def kept_rows(
    path: Path | None, settings: Mapping[str, Any], columns: Sequence[Column], cells: int, *, fresh: bool
) -> Iterator[Rows]:
    """The rows so far, to be appended to; written to their file at the end, or kept beside it after an error.

    A stream, such as `/dev/stdout`, has no journal.

    Raises:
        InputError: the journal there is of another sweep, or the path cannot be written.
        DependencyError: the disk failed.
    """
    if path is None or is_stream(path):
        rows = Rows()
        yield rows
        if path is not None:
            write_file(path, columns, rows)
        return
    kept = path.with_name(path.name + JOURNAL_SUFFIX)
    with open_journal(kept, settings, columns, cells, fresh=fresh) as journal:
        rows = Rows(journal)
        try:
            yield rows
            write_file(path, columns, rows)
        except BaseException as error:
            if rows:
                error.add_note(
                    f"{len(rows)} of {cells} rows are kept in {printable(kept.name)}; the same command goes "
                    "on from there"
                )
            else:
                journal.remove()
            raise
        journal.remove()
