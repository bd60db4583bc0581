"""The CSV of genai-perf and of its successor aiperf: a table of metrics by statistic, then one of single values.

Units are in parentheses after the metric's name: `Request Latency (ms)`. Further tables, on GPUs or a server, are
skipped.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial

from capacity.errors import InputError, quoted
from capacity.formats.document import Document, placed, seconds_per
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.table import Row
from capacity.performance import Interval

NAME = "genai-perf or aiperf (profile_export_genai_perf.csv, profile_export_aiperf.csv)"
_LATENCY = "request latency"
_THROUGHPUT = "request throughput"
_COUNT, _ERRORS = "request count", "error request count"
_UNIT = re.compile(r"(.+?)\s*\(([^()]*)\)")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PER_SECOND = ("per sec", "requests/sec", "requests/s")


def recognises(document: Document) -> bool:
    """Whether its first table has metrics by statistic."""
    return document.columns[:1] == ("Metric",) and "avg" in document.columns


def read_load_test(document: Document) -> LoadTest:
    """The one run: its response times, throughput and count.

    Raises:
        InputError: no request latency, an unknown unit, or a cell that cannot be.

    Source:
        genai-perf, genai_perf/export_data/csv_exporter.py; aiperf 0.13, metrics_csv_exporter.py.
    """
    metrics = _metrics(document)
    if _LATENCY not in metrics:
        raise InputError(
            f"{document.name} has no row Request Latency; export the file again with that metric"
        )
    run = placed(document, document.name, partial(_run, metrics))
    note = "the file does not say how requests were sent; give the concurrency or the rate beside it"
    return LoadTest(tool="genai-perf", name=document.name, runs=(run,), notes=(note,))


def _metrics(document: Document) -> dict[str, tuple[str, Row]]:
    """Rows of the first two tables by metric in lower case, with its unit."""
    found: dict[str, tuple[str, Row]] = {}
    for where, header, cells in _cells(document):
        split = _UNIT.fullmatch(cells[0])
        title, unit = (split[1], split[2]) if split else (cells[0], "")
        if title.lower() in found:
            raise InputError(f"{where} has the metric {quoted(title)} again; keep one run a file")
        found[title.lower()] = unit, Row(where, dict(zip(header, map(_plain, cells), strict=False)))
    return found


def _cells(document: Document) -> Iterator[tuple[str, list[str], list[str]]]:
    """Place of each row, the header above it, and its cells, up to a table on GPUs or a server."""
    header: list[str] = []
    for line, raw in document.cells():
        cells = [cell.strip() for cell in raw]
        is_header = cells[0] == "Metric"
        if (is_header and "GPU" in cells) or (not is_header and len(cells) > len(header)):
            return
        if is_header:
            header = cells
        else:
            yield f"{document.name} line {line}", header, cells


def _plain(cell: str) -> str:
    """A cell without the commas that genai-perf puts between thousands."""
    return cell.replace(",", "") if _THOUSANDS.fullmatch(cell) else cell


def _run(metrics: Mapping[str, tuple[str, Row]]) -> LoadRun:
    unit, row = metrics[_LATENCY]
    unit_s = seconds_per(unit, f"{row.where}, Request Latency")
    succeeded, failed = _count(metrics, _COUNT), _count(metrics, _ERRORS)
    return LoadRun(
        name="requests",
        throughput_rps=_throughput_rps(metrics),
        succeeded=succeeded,
        failed=failed,
        mean_s=unit_s * row.number("avg"),
        min_s=_scaled(row, "min", unit_s),
        max_s=_scaled(row, "max", unit_s),
        quantiles_s={
            int(column[1:]) / 100.0: Interval.exact(unit_s * row.number(column))
            for column in row.cells
            if re.fullmatch(r"p[0-9]{1,2}", column) and column in row
        },
    )


def _scaled(row: Row, column: str, unit_s: float) -> float | None:
    found = row.number_or_none(column)
    return None if found is None else unit_s * found


def _throughput_rps(metrics: Mapping[str, tuple[str, Row]]) -> float | None:
    if _THROUGHPUT not in metrics:
        return None
    unit, row = metrics[_THROUGHPUT]
    if unit not in _PER_SECOND:
        raise InputError(
            f"{row.where}, Request Throughput has the unit {quoted(unit)}, not {_PER_SECOND[0]!r}"
        )
    return _single(row)


def _count(metrics: Mapping[str, tuple[str, Row]], metric: str) -> int | None:
    found = _single(metrics[metric][1]) if metric in metrics else None
    return None if found is None else int(found)


def _single(row: Row) -> float | None:
    """The value of a metric in either table."""
    return row.number_or_none("Value") if "Value" in row.cells else row.number_or_none("avg")


READERS = {"load-test": read_load_test}
