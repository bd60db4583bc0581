"""The CSV of several runs of aiperf together, `profile_export_aiperf_aggregate.csv`: means with their intervals.

A row is a statistic of a metric, such as `request_latency_p99`: its mean over the runs, and the mean's confidence
interval by Student's t. After a blank line come the numbers of runs.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, placed, seconds_per
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.table import Row
from capacity.performance import Interval
from capacity.units import format_duration

NAME = "aiperf over several runs (profile_export_aiperf_aggregate.csv)"
_COLUMNS = ("metric", "mean", "std", "ci_low", "ci_high", "unit")
_QUANTILE = re.compile(r"request_latency_p([0-9]{1,2})")
_RUNS = "Successful Runs"


def recognises(document: Document) -> bool:
    """Whether it has the columns of a mean and its interval."""
    return set(_COLUMNS) <= set(document.columns)


def read_load_test(document: Document) -> LoadTest:
    """The one run, of means over the runs.

    Raises:
        InputError: no request latency, an unknown unit, or a cell that cannot be.

    Source:
        aiperf 0.13.0, exporters/aggregate/aggregate_confidence_csv_exporter.py.
    """
    statistics, runs = _rows(document)
    if "request_latency_avg" not in statistics:
        raise InputError(
            f"{document.name} has no row request_latency_avg; export the file again with that metric"
        )
    run = placed(document, document.name, partial(_run, statistics))
    return LoadTest(tool="aiperf", name=document.name, runs=(run,), notes=tuple(_notes(statistics, runs)))


def _rows(document: Document) -> tuple[dict[str, Row], str]:
    """Rows by statistic, and the number of runs; the lines below have fewer cells."""
    header: list[str] = []
    statistics: dict[str, Row] = {}
    runs = ""
    for line, raw in document.cells():
        cells, where = [cell.strip() for cell in raw], f"{document.name} line {line}"
        if not header:
            header = cells
        elif len(cells) == len(header):
            if cells[0] in statistics:
                raise InputError(f"{where} has {printable(cells[0])[:60]} again; keep one")
            statistics[cells[0]] = Row(where, dict(zip(header, cells, strict=True)))
        elif cells[0] == _RUNS:
            runs = printable(cells[1] if len(cells) > 1 else "")[:20]
    return statistics, runs


def _run(statistics: Mapping[str, Row]) -> LoadRun:
    return LoadRun(
        name="mean over runs",
        throughput_rps=_mean(statistics, "request_throughput_avg"),
        succeeded=_count(statistics, "request_count_avg"),
        failed=_count(statistics, "error_request_count_avg"),
        mean_s=_seconds(statistics["request_latency_avg"], "mean"),
        quantiles_s={
            int(found[1]) / 100.0: Interval.exact(_seconds(row, "mean"))
            for name, row in statistics.items()
            if (found := _QUANTILE.fullmatch(name))
        },
    )


def _seconds(row: Row, column: str) -> float:
    return row.number(column) * seconds_per(row.text("unit"), row.where)


def _mean(statistics: Mapping[str, Row], name: str) -> float | None:
    return statistics[name].number_or_none("mean") if name in statistics else None


def _count(statistics: Mapping[str, Row], name: str) -> int | None:
    found = _mean(statistics, name)
    return None if found is None else int(found)


def _notes(statistics: Mapping[str, Row], runs: str) -> Iterator[str]:
    of = f"{runs} runs" if runs else "several runs"
    yield f"figures are means over {of}: P99 is the mean of their P99s, and counts are of one run"
    row = statistics.get("request_latency_p99")
    if row is not None and "ci_low" in row and "ci_high" in row:
        low, high = (format_duration(_seconds(row, column)) for column in ("ci_low", "ci_high"))
        yield f"the mean P99 lies between {low} and {high}, by the spread of the runs"


READERS = {"load-test": read_load_test}
