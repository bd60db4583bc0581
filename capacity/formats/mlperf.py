"""Logs of MLPerf's LoadGen, in nanoseconds: `mlperf_log_summary.txt` and `mlperf_log_detail.txt`.

The summary has lines `key : value`, the detail a JSON object in each line, with the same figures and the number of
queries. Server sends by a Poisson schedule, whatever comes back, and counts latencies from it; SingleStream and
MultiStream send a query when the one before is answered. Offline sends everything at once, so that its latencies are
of no use to a service.
"""

import re
from dataclasses import replace
from decimal import Decimal
from functools import partial

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.document import Document, Part, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.table import Row
from capacity.json_text import parse_object
from capacity.performance import Interval

NAME = "MLPerf LoadGen (mlperf_log_summary.txt, mlperf_log_detail.txt)"
_TITLE = "MLPerf Results Summary"
_LOOPS = {
    "Server": Loop.OPEN,
    "SingleStream": Loop.CLOSED,
    "MultiStream": Loop.CLOSED,
    "Offline": Loop.UNKNOWN,
}
_PERCENTILE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?) percentile latency \(ns\)")
_LINE_MAX = 1000
_MARK = ":::MLLOG "
_QUERIES = "Query count"  # absent from the summary
_MUST_BE = {
    "Performance constraints satisfied": "its latency limit was not met",
    "Min duration satisfied": "it did not last long enough",
    "Min queries satisfied": "it had too few queries",
    "Early stopping satisfied": "early stopping was not satisfied: it had too few queries for the percentile",
}
# Keys of the detail that have another name in the summary.
_SUMMARY_KEYS = {
    "effective_scenario": "Scenario",
    "effective_test_mode": "Mode",
    "effective_samples_per_query": "samples_per_query",
    "effective_target_qps": "target_qps",
    "result_validity": "Result is",
    "result_perf_constraints_met": "Performance constraints satisfied",
    "result_min_duration_met": "Min duration satisfied",
    "result_min_queries_met": "Min queries satisfied",
    "early_stopping_met": "Early stopping satisfied",
    "result_query_count": _QUERIES,
    "result_completed_samples_per_sec": "Completed samples per second",
    "result_scheduled_samples_per_sec": "Scheduled samples per second",
    "result_samples_per_second": "Samples per second",
    "result_qps_with_loadgen_overhead": "QPS w/ loadgen overhead",
    **{f"result_{one}_latency_ns": f"{one.capitalize()} latency (ns)" for one in ("min", "max", "mean")},
}
_KEY = re.compile(_MARK + r'\{"key": ?"([^"]{1,80})"')
_DETAIL_PERCENTILE = re.compile(r"result_([0-9]{1,2}(?:\.[0-9]{1,4})?)_percentile_latency_ns")
# The last line of the summary; a line of the detail is an object.
_END = re.compile(r"(?:No|[0-9]{1,9}) errors? encountered(?: during test)?\..{0,200}", re.IGNORECASE)
_DETAIL = re.compile(r":::MLLOG \{.*\}")
_NANOSECOND = 1e-9


def recognises(document: Document) -> bool:
    """Whether it has the title of the summary, or the mark of the detail."""
    return _TITLE in document.head or document.head.startswith(_MARK)


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: an unknown scenario, no latency, or a number that cannot be.

    Source:
        mlcommons/inference, loadgen/results.cc, `PerformanceSummary::LogSummary` and `LogDetail`; latencies from
        when a query was scheduled: loadgen.cc, `ResponseDelegateDetailed::SampleComplete`.
    """
    fields = _details(document) if document.head.startswith(_MARK) else _fields(document)
    scenario = fields.text("Scenario")
    if scenario not in _LOOPS:
        raise InputError(
            f"{document.name} has the scenario {quoted(scenario)}; known are {', '.join(_LOOPS)}"
        )
    run = placed(document, document.name, partial(_run, fields, scenario))
    return LoadTest(tool="mlperf", name=document.name, runs=(run,), notes=_notes(fields, scenario))


def _fields(document: Document) -> Row:
    """Values by key; for a repeated key the first one, which is the result's."""
    found: dict[str, str] = {}
    for _, line in document.ending(_END.fullmatch).records():
        key, colon, value = line[:_LINE_MAX].partition(":")
        if colon:
            found.setdefault(" ".join(key.split()), value.strip())
    return Row(document.name, found)


def _details(document: Document) -> Row:
    """The values of the detail by the keys of the summary."""
    found: dict[str, str] = {}
    for number, line in document.ending(_DETAIL.fullmatch).records():
        key = _KEY.match(line[:_LINE_MAX])
        name = _summary_key(key[1]) if key else None
        if name is not None:
            where = f"{document.name} line {number}"
            value = Part(where, parse_object(line.removeprefix(_MARK), where, "a JSON object")).scalar(
                "value"
            )
            found.setdefault(name, {True: "Yes", False: "NO"}.get(value, str(value)))
    if "Scenario" not in found:
        raise InputError(f"{document.name} has no effective_scenario; is it a log of LoadGen, to its end?")
    return Row(document.name, found)


def _summary_key(key: str) -> str | None:
    """Name in the summary for a key of the detail; None if it has none."""
    percentile = _DETAIL_PERCENTILE.fullmatch(key)
    return f"{percentile[1]} percentile latency (ns)" if percentile else _SUMMARY_KEYS.get(key)


def _run(fields: Row, scenario: str) -> LoadRun:
    queries = _per_query(fields) if scenario == "MultiStream" else 1
    completed = _first(
        fields, "Completed samples per second", "Samples per second", "QPS w/ loadgen overhead"
    )
    run = LoadRun(
        name=scenario,
        loop=_LOOPS[scenario],
        is_corrected=scenario == "Server",
        throughput_rps=None if completed is None else completed / queries,
        batch_size=queries,
        succeeded=int(fields.number(_QUERIES)) if _QUERIES in fields else None,
        invalid_because=_invalid_because(fields),
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


def _invalid_because(fields: Row) -> str:
    """Objections of LoadGen, or of its mode, to the run; empty if there are none."""
    if fields.text("Mode").startswith("Accuracy"):
        return "an accuracy run says nothing of performance"
    if fields.text("Result is") in ("", "VALID"):
        return ""
    broken = [why for key, why in _MUST_BE.items() if fields.text(key).upper() == "NO"]
    return "; ".join(broken) or printable(f"Result is {fields.text('Result is')}")[:80]


def _notes(fields: Row, scenario: str) -> tuple[str, ...]:
    notes = []
    if not fields.text("Result is"):
        notes.append("the log has no verdict of LoadGen; was it cut off?")
    if _QUERIES not in fields:
        notes.append("the summary has no number of queries; mlperf_log_detail.txt beside it has")
    if scenario == "Offline":
        notes.append("Offline sends everything at once: only its throughput is read")
    return tuple(notes)


READERS = {"load-test": read_load_test}
