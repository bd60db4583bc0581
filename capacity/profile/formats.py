"""Profiles as CSV and as JSON: raw samples or a summary, and what a saved plan keeps of them."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import ROWS_MAX, TEXT_LENGTH_MAX, csv_rows, located, parse_object, printable
from capacity.files import shown as shown_value
from capacity.profile.contention import INSTANCES_MAX, Contention, from_sweep, measured
from capacity.profile.profile import BATCH_SIZE_LIMIT, BatchTiming, ServiceProfile, Spells, check_duration
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
    """A timing whose figures do not contradict each other, so that the line can still be named."""
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
        raise InputError(f"{where} must be a number, got {printable(text)!r}; mend or drop the row") from None
    if not value.is_finite() or value <= 0:
        raise InputError(f"{where} must be positive and finite, got {printable(text)}; mend or drop the row")
    return float(in_seconds(value, unit))


_TEXT_KEYS = ("model", "device", "kind", "precision", "runtime", "timings_column")
_SPELL_KEYS = ("spell_share", "spell_lasting_s")
_NUMBER_KEYS = ("batch_work_s", "request_work_s", "wake_s", "request_overhead_s", "hourly_usd")
_COUNT_KEYS = ("instances_per_device", "memory_bytes")
COUNT_MAX = 2**53
_CONTENTION_KEYS = ("contention_slowdowns", "contention_throughputs_rps")
_PROFILE_KEYS = {
    "schema_version", "name", "timings", "source",
    *_TEXT_KEYS, *_NUMBER_KEYS, *_COUNT_KEYS, *_CONTENTION_KEYS, *_SPELL_KEYS,
}  # fmt: skip


def parse_json(text: str, file_name: str) -> ServiceProfile:
    """A profile from JSON as in `capacity/profile/bundled/`; unknown keys are errors."""
    shown = printable(file_name)
    document = parse_object(text, shown, "a profile is a JSON object, with name and timings")
    return read_document(document, shown)


def read_document(document: dict[str, Any], shown: str) -> ServiceProfile:
    """A profile from what a JSON file holds.

    Raises:
        InputError: not a valid profile; `shown` says where.
    """
    return located(shown, lambda: _profile(document))


def _profile(document: dict[str, Any]) -> ServiceProfile:
    _check_keys(document, _PROFILE_KEYS, "profile")
    version = document.get("schema_version", 1)
    if isinstance(version, bool) or version != 1:
        raise InputError(f"schema_version must be 1, got {shown_value(version)}")
    for key in ("name", "timings"):
        if key not in document:
            raise InputError(f"key {key} is missing")
    timings = document["timings"]
    if not isinstance(timings, list) or len(timings) > ROWS_MAX:
        raise InputError("timings must be a list of objects, one per batch size")
    source = {} if document.get("source") is None else document["source"]
    if not isinstance(source, dict):
        raise InputError("source must be an object of texts")
    readers: dict[str, Callable[[Any, str], Any]] = {
        **dict.fromkeys(_TEXT_KEYS, _text),
        **dict.fromkeys(_NUMBER_KEYS, _number),
        **dict.fromkeys(_COUNT_KEYS, _count),
    }
    given: dict[str, Any] = {
        key: read(document[key], key) for key, read in readers.items() if document.get(key) is not None
    }
    read = tuple(_timing(timing) for timing in timings)
    given.setdefault("timings_column", _timings_column(timings))
    return ServiceProfile(
        name=_text(document["name"], "name"),
        timings=read,
        contention=_contention(document),
        spells=_spells(document),
        source={_text(key, "source"): _text(value, f"source.{key}") for key, value in source.items()},
        **given,
    )


def _spells(document: dict[str, Any]) -> Spells | None:
    """Both keys or neither."""
    given = {key: _number(document[key], key) for key in _SPELL_KEYS if document.get(key) is not None}
    if not given:
        return None
    if len(given) == 1:
        raise InputError(f"{' and '.join(_SPELL_KEYS)} belong together; give both, or neither")
    share, lasting_s = (given[key] for key in _SPELL_KEYS)
    return Spells(share=share, lasting_s=lasting_s)


def _contention(document: dict[str, Any]) -> Contention | None:
    """`contention_slowdowns` by busy instances, or a sweep of pairs of busy instances and throughput."""
    slowdowns, sweep = (document.get(key) for key in _CONTENTION_KEYS)
    if slowdowns is None and sweep is None:
        return None
    if slowdowns is not None and sweep is not None:
        raise InputError(f"{' and '.join(_CONTENTION_KEYS)} say the same thing twice; keep one")
    if slowdowns is not None:
        return measured(_number(entry, "contention_slowdowns") for entry in _rows(slowdowns, "slowdowns"))
    throughputs_rps: dict[int, float] = {}
    for entry in _rows(sweep, "throughputs_rps"):
        if not isinstance(entry, list) or len(entry) != 2:
            raise InputError("contention_throughputs_rps must be a list of [busy instances, throughput]")
        busy = _count(entry[0], "contention_throughputs_rps")
        if busy in throughputs_rps:
            raise InputError(f"contention_throughputs_rps has {busy} busy instances twice; keep one")
        throughputs_rps[busy] = _number(entry[1], "contention_throughputs_rps")
    return from_sweep(throughputs_rps)


def _rows(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= INSTANCES_MAX:
        raise InputError(f"contention_{what} must be a list of 1 to {INSTANCES_MAX} entries, one per number")
    return value


def _timing(entry: Any) -> BatchTiming:
    if not isinstance(entry, dict) or "batch_size" not in entry:
        raise InputError("each timing must be an object with batch_size")
    fields: dict[str, Any] = {"batch_size": _count(entry["batch_size"], "batch_size")}
    where = f"batch size {fields['batch_size']}"
    for key, value in entry.items():
        if key == "batch_size" or value is None:
            continue
        name, _, unit = key.rpartition("_")
        if name not in ("samples", "mean", *PERCENTILES) or unit not in UNITS:
            raise InputError(f"{where}: unknown key {printable(key)!r}; durations end in _s, _ms or _us")
        if f"{name}_s" in fields:
            raise InputError(f"{where}: {name} is given twice, in two units; keep one")
        fields[f"{name}_s"] = _durations(value, name, unit, f"{where}: {key}")
    return BatchTiming(**fields)


def _timings_column(timings: list[dict[str, Any]]) -> str | None:
    """The key that all batch sizes have their samples or mean under; None of several.

    None of seconds either, which is how these files are written here, by whoever measured or planned.
    """
    given = [key for timing in timings for key, value in timing.items() if value is not None]
    keys = {key for key in given if key.startswith(("samples_", "mean_"))}
    key = keys.pop() if len(keys) == 1 else ""
    return None if key in ("", "samples_s", "mean_s") else key


def _durations(value: Any, name: str, unit: str, where: str) -> float | tuple[float, ...]:
    if name != "samples":
        return seconds(repr(_number(value, where)), unit, where)
    if not isinstance(value, list) or not 1 <= len(value) <= ROWS_MAX:
        raise InputError(f"{where} must be a list of 1 to {ROWS_MAX} numbers")
    return tuple(seconds(repr(_number(sample, where)), unit, where) for sample in value)


def _check_keys(document: dict[str, Any], allowed: set[str], what: str) -> None:
    unknown = sorted(set(document) - allowed)
    if unknown:
        raise InputError(
            f"unknown {what} key {printable(unknown[0])!r}; known are {', '.join(sorted(allowed))}"
        )


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not value.isprintable():
        raise InputError(f"{printable(key)} must be a text of one line, {TEXT_LENGTH_MAX} characters at most")
    return value


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{printable(key)} must be a number, got {shown_value(value)}")
    return float(value)


def _count(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{printable(key)} must be a whole number, got {shown_value(value)}")
    if abs(value) > COUNT_MAX:
        raise InputError(f"{printable(key)} is too large a number; {COUNT_MAX} at most")
    return value


def profile_to_document(profile: ServiceProfile) -> dict[str, Any]:
    """A profile as in `capacity/profile/bundled/`, durations in seconds; what is not known is absent."""
    document: dict[str, Any] = {}
    for field in fields(profile):
        if not field.init:
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


def _plain(timing: Any) -> dict[str, Any]:
    """A batch size with what was measured of it."""
    given = {field.name: getattr(timing, field.name) for field in fields(timing)}
    kept = {name: value for name, value in given.items() if value is not None and value != ()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def digest(document: Any) -> str:
    """SHA-256 of a document as canonical JSON: keys sorted, no blanks, numbers in full precision."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def signed(profile: ServiceProfile) -> dict[str, Any]:
    """A profile with its digest."""
    document = profile_to_document(profile)
    return {"sha256": digest(document), "profile": document}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedProfile:
    """A profile with its digest, as a saved plan holds it."""

    sha256: str
    profile: dict[str, Any]

    def read(self, where: str) -> ServiceProfile:
        """The profile, which is what its digest says.

        Raises:
            InputError: not a valid profile, or one that was edited since.
        """
        profile = read_document(self.profile, f"{where}.profile")
        if digest(self.profile) != self.sha256:
            raise InputError(
                f"{where} of {profile.name} was edited after the plan was made (its sha256 is another); make "
                "the plan anew, or check it against your profile by --profile"
            )
        return profile
