"""The summary of MLPerf's LoadGen, `mlperf_log_summary.txt`: `key : value` lines, in nanoseconds.

Server sends by a Poisson schedule, whatever comes back; SingleStream and MultiStream send a query when the one
before is answered. Offline sends everything at once, so that its latencies are of no use to a service.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.table import Row
from capacity.performance import Interval

NAME = "MLPerf LoadGen (mlperf_log_summary.txt)"
_TITLE = "MLPerf Results Summary"
_LOOPS = {
    "Server": Loop.OPEN,
    "SingleStream": Loop.CLOSED,
    "MultiStream": Loop.CLOSED,
    "Offline": Loop.UNKNOWN,
}
_PERCENTILE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?) percentile latency \(ns\)")
_LINE_MAX = 1000
_NANOSECOND = 1e-9


def recognises(document: Document) -> bool:
    """Whether it has the title of the summary."""
    return _TITLE in document.head


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: an unknown scenario, no latency, or a number that cannot be.

    Source:
        mlcommons/inference, loadgen/results.cc, `PerformanceSummary::LogSummary`.
    """
    fields = _fields(document)
    scenario = fields.text("Scenario")
    if scenario not in _LOOPS:
        raise InputError(
            f"{document.name} has the scenario {printable(scenario)[:40]!r}; known are {', '.join(_LOOPS)}"
        )
    run = placed(document, document.name, partial(_run, fields, scenario))
    return LoadTest(tool="mlperf", name=document.name, runs=(run,), notes=_notes(fields, scenario))


def _fields(document: Document) -> Row:
    """Values by key; of a key that comes again, the first, which is of the result."""
    found: dict[str, str] = {}
    for line in document.text.splitlines():
        key, colon, value = line[:_LINE_MAX].partition(":")
        if colon:
            found.setdefault(" ".join(key.split()), value.strip())
    return Row(document.name, found)


def _run(fields: Row, scenario: str) -> LoadRun:
    queries = _per_query(fields) if scenario == "MultiStream" else 1
    completed = _first(
        fields, "Completed samples per second", "Samples per second", "QPS w/ loadgen overhead"
    )
    run = LoadRun(
        name=scenario,
        loop=_LOOPS[scenario],
        throughput_rps=None if completed is None else completed / queries,
        batch_size=queries,
    )
    if scenario == "Offline":
        return run
    is_server = scenario == "Server"
    return replace(
        run,
        users=None if is_server else 1.0,
        rate_asked_rps=fields.number_or_none("target_qps") if is_server else None,
        rate_sent_rps=fields.number_or_none("Scheduled samples per second") if is_server else None,
        mean_s=_NANOSECOND * fields.number("Mean latency (ns)"),
        min_s=_seconds(fields, "Min latency (ns)"),
        max_s=_seconds(fields, "Max latency (ns)"),
        quantiles_s=_quantiles(fields),
        resolution_s=_NANOSECOND,
    )


def _quantiles(fields: Row) -> dict[float, Interval]:
    found = {key: _PERCENTILE.fullmatch(key) for key in fields.cells}
    return {
        float(Decimal(match[1]) / 100): Interval.exact(_NANOSECOND * fields.number(key))
        for key, match in found.items()
        if match
    }


def _per_query(fields: Row) -> int:
    found = fields.number("samples_per_query") if "samples_per_query" in fields else 1.0
    if found < 1.0 or found != int(found):
        raise InputError(f"samples_per_query must be a whole number from 1, got {found:g}")
    return int(found)


def _first(fields: Row, *keys: str) -> float | None:
    return next((fields.number(key) for key in keys if key in fields), None)


def _seconds(fields: Row, key: str) -> float | None:
    found = fields.number_or_none(key)
    return None if found is None else _NANOSECOND * found


def _notes(fields: Row, scenario: str) -> tuple[str, ...]:
    notes = []
    if fields.text("Result is") != "VALID":
        result = printable(fields.text("Result is") or "not said")[:40]
        notes.append(f"LoadGen's own verdict on the run is {result}; its constraints were not all met")
    if scenario == "Offline":
        notes.append("Offline sends everything at once: only its throughput is read")
    if fields.text("Mode").startswith("Accuracy"):
        notes.append("this is an accuracy run, which says nothing of performance")
    return tuple(notes)


READERS: Mapping[str, Callable[[Document], Any]] = {"load-test": read_load_test}
