"""Profiles as JSON: the form of the bundled ones, with model, device, price and source."""

from collections.abc import Callable
from typing import Any

from capacity.contention import Contention, measured
from capacity.contention_fit import INSTANCES_MAX, from_sweep
from capacity.errors import InputError
from capacity.json_reading import parse_object
from capacity.json_reading import shown as shown_value
from capacity.profile import BatchTiming, ServiceProfile
from capacity.profile_csv import PERCENTILES, UNITS, seconds
from capacity.reading import ROWS_MAX, TEXT_LENGTH_MAX, located, printable
from capacity.spells import Spells

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
    """A profile from JSON as in `capacity/profiles/`; unknown keys are errors."""
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
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{printable(key)} is too large a number") from None


def _count(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{printable(key)} must be a whole number, got {shown_value(value)}")
    if abs(value) > COUNT_MAX:
        raise InputError(f"{printable(key)} is too large a number; {COUNT_MAX} at most")
    return value
