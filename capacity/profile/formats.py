"""Profiles as CSV and JSON: raw samples or a summary, and their form in a saved plan."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import csv_rows, located, printable
from capacity.json_text import Line, parse_object, read_as
from capacity.profile.contention import INSTANCES_MAX, Contention, from_sweep, measured
from capacity.profile.profile import (
    BATCH_SIZE_LIMIT,
    BatchTiming,
    DeviceKind,
    ServiceProfile,
    Spells,
    check_duration,
)
from capacity.units import in_seconds

UNITS = ("s", "ms", "us")
PERCENTILES = ("p50", "p90", "p95", "p99")
_MAIN_COLUMNS = ("latency", "mean")
_TIMING_COLUMN = re.compile(rf"(latency|mean|{'|'.join(PERCENTILES)})_({'|'.join(UNITS)})")


def parse_csv(text: str, file_name: str, profile_name: str) -> ServiceProfile:
    """A profile from raw samples `batch_size,latency_ms` or a summary `batch_size,mean_ms,...`."""
    rows = csv_rows(text, file_name, "keep fewer samples")
    line, header = next(rows, (1, []))
    where = f"{file_name} line {line}"
    columns = [_column(name.strip(), where) for name in header]
    _check_header(columns, where)
    if any(name == "latency" for name, _ in columns):
        timings = _raw_timings(rows, columns, file_name)
    else:
        timings = _summary_timings(rows, columns, file_name)
    column = next(f"{name}_{unit}" for name, unit in columns if name in _MAIN_COLUMNS)
    return located(
        file_name, partial(ServiceProfile, name=profile_name, timings=timings, timings_column=column)
    )


def _column(name: str, where: str) -> tuple[str, str]:
    """Quantity and unit of a column."""
    if name == "batch_size":
        return name, ""
    match = _TIMING_COLUMN.fullmatch(name)
    if match:
        return match[1], match[2]
    if name in ("latency", "mean", *PERCENTILES):
        raise InputError(f"{where}: column {name} has no unit; name it {name}_ms, {name}_s or {name}_us")
    raise InputError(
        f"{where}: unknown column {printable(name)!r}; use batch_size with latency_ms (raw samples), "
        "or with mean_ms and any of p50_ms, p90_ms, p95_ms, p99_ms (_s and _us likewise)"
    )


def _check_header(columns: list[tuple[str, str]], where: str) -> None:
    names = [name for name, _ in columns]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a column is given twice; keep one of each")
    if "batch_size" not in names:
        raise InputError(f"{where}: no column batch_size; the first line must name the columns")
    if ("latency" in names) == ("mean" in names) or ("latency" in names and len(names) > 2):
        raise InputError(f"{where}: give either latency_ms (raw samples) or mean_ms (a summary)")


def _raw_timings(
    rows: Iterator[tuple[int, list[str]]], columns: list[tuple[str, str]], file_name: str
) -> tuple[BatchTiming, ...]:
    samples_s: dict[int, list[float]] = {}
    for line, row in rows:
        where = f"{file_name} line {line}"
        cells = _cells(row, columns, where)
        size = int(cells["batch_size"])
        located(where, partial(check_duration, cells["latency"], size))
        samples_s.setdefault(size, []).append(cells["latency"])
    return tuple(
        located(file_name, partial(BatchTiming, batch_size=size, samples_s=tuple(samples)))
        for size, samples in samples_s.items()
    )


def _summary_timings(
    rows: Iterator[tuple[int, list[str]]], columns: list[tuple[str, str]], file_name: str
) -> tuple[BatchTiming, ...]:
    seen: dict[int, int] = {}
    timings = []
    for line, row in rows:
        where = f"{file_name} line {line}"
        cells = _cells(row, columns, where)
        size = int(cells.pop("batch_size"))
        if size in seen:
            raise InputError(f"{where}: batch size {size} stands on line {seen[size]} already; keep one")
        seen[size] = line
        fields = {f"{name}_s": value for name, value in cells.items()}
        timings.append(located(where, partial(_summary_timing, size, fields)))
    return tuple(timings)


def _summary_timing(batch_size: int, fields: dict[str, float]) -> BatchTiming:
    """A timing whose figures do not contradict each other, checked while the line can still be named."""
    timing = BatchTiming(batch_size=batch_size, samples_s=(), **fields)
    timing.law()
    return timing


def _cells(row: list[str], columns: list[tuple[str, str]], where: str) -> dict[str, float]:
    """Numbers of one row by quantity, durations in seconds; an empty percentile is absent."""
    if len(row) != len(columns):
        raise InputError(f"{where}: {len(row)} cells for {len(columns)} columns; complete or drop the row")
    cells: dict[str, float] = {}
    for text, (name, unit) in zip(row, columns, strict=True):
        if name == "batch_size":
            cells[name] = _batch_size(text.strip(), where)
        elif text.strip() or name not in PERCENTILES:
            cells[name] = seconds(text.strip(), unit, f"{where}: {name}_{unit}")
    return cells


def _batch_size(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"{where}: batch_size must be a whole number, got {printable(text)!r}")
    if not 1 <= int(text) <= BATCH_SIZE_LIMIT:
        raise InputError(f"{where}: batch_size must be from 1 to {BATCH_SIZE_LIMIT}, got {text}")
    return int(text)


def seconds(text: str, unit: str, where: str) -> float:
    """A positive duration written in `unit`. [s]"""
    try:
        value = Decimal(text if text.isascii() and "_" not in text else "not a number")
    except InvalidOperation:
        raise InputError(f"{where} must be a number, got {printable(text)!r}; fix or drop the row") from None
    if not value.is_finite() or value <= 0:
        raise InputError(f"{where} must be positive and finite, got {printable(text)}; fix or drop the row")
    return float(in_seconds(value, unit))


@dataclass(frozen=True, kw_only=True)
class _ProfileDocument:
    """A profile as its JSON file holds it; null and absent mean the same."""

    name: Line
    timings: tuple[dict[str, Any], ...]
    schema_version: int = 1
    model: Line | None = None
    device: Line | None = None
    kind: DeviceKind | None = None
    precision: Line | None = None
    runtime: Line | None = None
    batch_work_s: float | None = None
    request_work_s: float | None = None
    wake_s: float | None = None
    spell_share: float | None = None
    spell_lasting_s: float | None = None
    request_overhead_s: float | None = None
    instances_per_device: int | None = None
    contention_slowdowns: tuple[float, ...] | None = None
    contention_throughputs_rps: tuple[tuple[int, float], ...] | None = None
    hourly_usd: float | None = None
    memory_bytes: int | None = None
    source: dict[Line, Line] | None = None
    timings_column: Line | None = None


# A batch size and its measurement: raw samples, or a mean and percentiles, each in any unit.
_TimingDocument = make_dataclass(
    "_TimingDocument",
    [
        ("batch_size", int),
        *((f"samples_{unit}", tuple[float, ...] | None, None) for unit in UNITS),
        *((f"{name}_{unit}", float | None, None) for name in ("mean", *PERCENTILES) for unit in UNITS),
    ],
)


def parse_json(text: str, file_name: str) -> ServiceProfile:
    """A profile from JSON as in `capacity/profile/bundled/`; unknown keys are errors."""
    shown = printable(file_name)
    document = parse_object(text, shown, "a profile is a JSON object, with name and timings")
    return read_document(document, shown)


def read_document(document: dict[str, Any], shown: str) -> ServiceProfile:
    """A profile from the content of a JSON file.

    Raises:
        InputError: not a valid profile; `shown` names the place.
    """
    return located(shown, lambda: _profile(read_as(_ProfileDocument, document)))


def _profile(document: _ProfileDocument) -> ServiceProfile:
    if document.schema_version != 1:
        raise InputError(f"schema_version must be 1, got {document.schema_version}")
    known = {field.name for field in fields(ServiceProfile)}
    given = {key: value for key, value in vars(document).items() if key in known and value is not None}
    timings = [_given(timing, f"timings[{place}]") for place, timing in enumerate(document.timings)]
    return ServiceProfile(
        **{"timings_column": _timings_column(timings)}
        | given
        | {
            "timings": tuple(_timing(timing) for timing in timings),
            "contention": _contention(document),
            "spells": _spells(document),
        }
    )


def _spells(document: _ProfileDocument) -> Spells | None:
    """The spells, if both of their keys are there."""
    share, lasting_s = document.spell_share, document.spell_lasting_s
    if share is None and lasting_s is None:
        return None
    if share is None or lasting_s is None:
        raise InputError("spell_share and spell_lasting_s belong together; give both, or neither")
    return Spells(share=share, lasting_s=lasting_s)


def _contention(document: _ProfileDocument) -> Contention | None:
    """`contention_slowdowns` by busy instances, or a sweep of pairs of busy instances and throughput."""
    slowdowns, sweep = document.contention_slowdowns, document.contention_throughputs_rps
    if slowdowns is not None and sweep is not None:
        raise InputError(
            "contention_slowdowns and contention_throughputs_rps say the same thing twice; keep one"
        )
    for key, rows in (("slowdowns", slowdowns), ("throughputs_rps", sweep)):
        if rows is not None and not 1 <= len(rows) <= INSTANCES_MAX:
            raise InputError(
                f"contention_{key} must be a list of 1 to {INSTANCES_MAX} entries, one per number"
            )
    if sweep is None:
        return None if slowdowns is None else measured(slowdowns)
    throughputs_rps = dict(sweep)
    if len(throughputs_rps) < len(sweep):
        counts = [busy for busy, _ in sweep]
        twice = next(busy for busy in counts if counts.count(busy) > 1)
        raise InputError(f"contention_throughputs_rps has {twice} busy instances twice; keep one")
    return from_sweep(throughputs_rps)


def _given(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """The measurement of one batch size in a file."""
    found = vars(read_as(_TimingDocument, entry, where))
    return {key: value for key, value in found.items() if value is not None}


def _timing(given: dict[str, Any]) -> BatchTiming:
    where = f"batch size {given['batch_size']}"
    parts: dict[str, Any] = {}
    for key, value in given.items():
        name, _, unit = key.rpartition("_")
        if f"{name}_s" in parts:
            raise InputError(f"{where}: {name} is given twice, in two units; keep one")
        if key != "batch_size":
            parts[f"{name}_s"] = _durations(value, unit, f"{where}: {key}")
    return BatchTiming(batch_size=given["batch_size"], **parts)


def _timings_column(timings: list[dict[str, Any]]) -> str | None:
    """The key under which all batch sizes have their samples or mean; None if it differs.

    None for seconds too, the unit in which files are written here, whoever measured or planned.
    """
    keys = {key for timing in timings for key in timing if key.startswith(("samples_", "mean_"))}
    key = keys.pop() if len(keys) == 1 else ""
    return None if key in ("", "samples_s", "mean_s") else key


def _durations(value: float | tuple[float, ...], unit: str, where: str) -> float | tuple[float, ...]:
    if isinstance(value, tuple):
        return tuple(seconds(repr(sample), unit, where) for sample in value)
    return seconds(repr(value), unit, where)


def profile_to_document(profile: ServiceProfile) -> dict[str, Any]:
    """A profile as in `capacity/profile/bundled/`, durations in seconds; unknown fields are absent."""
    document: dict[str, Any] = {}
    for field in fields(profile):
        if not field.init or field.name == "path":
            continue
        value = getattr(profile, field.name)
        if field.name == "timings":
            document["timings"] = [_plain(timing) for timing in value]
        elif isinstance(value, Contention):
            document["contention_slowdowns"] = list(value.slowdowns)
        elif isinstance(value, Spells):
            document |= {"spell_share": value.share, "spell_lasting_s": value.lasting_s}
        elif isinstance(value, Mapping):
            document[field.name] = dict(value)
        elif value is not None:
            document[field.name] = value
    return document


def _plain(timing: BatchTiming) -> dict[str, Any]:
    """A batch size and its measurement."""
    given = {key: list(x) if isinstance(x, tuple) else x for key, x in asdict(timing).items()}
    return {key: x for key, x in given.items() if x not in (None, [])}


def digest(document: Any) -> str:
    """SHA-256 of a document as canonical JSON: keys sorted, no blanks, numbers in full precision."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def signed(document: Any, path: str | None) -> dict[str, Any]:
    """The document of a profile with its digest, and the path of its file if it has one."""
    return {"sha256": digest(document), "profile": document} | ({} if path is None else {"path": path})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedProfile:
    """A profile with its digest, as a saved plan holds it."""

    sha256: str
    profile: dict[str, Any]
    path: Line | None = None

    def read(self, where: str, read: Callable[[Any, str], Any]) -> Any:
        """The profile, if it matches its digest.

        Args:
            read: function that reads the profile's document, at a place that messages name.

        Raises:
            InputError: not a valid profile, or one that was edited since.
        """
        profile = read(self.profile, f"{where}.profile")
        if digest(self.profile) != self.sha256:
            raise InputError(
                f"{where} of {profile.name} was edited after the plan was made (its sha256 is another); "
                "make the plan again, or check it against your profile by --profile"
            )
        return replace(profile, path=self.path)
