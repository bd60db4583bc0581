"""The CSV of Triton's perf_analyzer, `-f FILE`: a row for each load that it tried, in microseconds.

Rows are sorted by throughput, not by load. Client batches (`-b`) are in no column, and `Inferences/Second` counts
inferences.
"""

from collections.abc import Mapping
from functools import partial

from capacity.errors import InputError, quoted
from capacity.formats.document import Document, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.table import Row, rows
from capacity.performance import Interval

NAME = "perf_analyzer -f FILE (CSV)"
_THROUGHPUT = "Inferences/Second"
_NETWORK = "Network+Server Send/Recv"
_STAGES = {
    "Client Send": "client send",
    _NETWORK: "network",
    "Server Queue": "queue",
    "Server Cache Hit": "cache hit",
    "Server Cache Miss": "cache miss",
    "Server Compute Input": "compute input",
    "Server Compute Infer": "compute infer",
    "Server Compute Output": "compute output",
    "Client Recv": "client receive",
}
_MICROSECOND = 1e-6
NOTE = (
    "perf_analyzer writes down no client batch size: throughput counts inferences, so with -b other than 1 divide "
    "it by that number"
)


def recognises(document: Document) -> bool:
    """Whether it has the columns of a load and its throughput."""
    return _THROUGHPUT in document.columns and bool({"Concurrency", "Request Rate"} & set(document.columns))


def read_load_test(document: Document) -> LoadTest:
    """A run for each row, by rising load.

    Raises:
        InputError: a cell that cannot be, or no row.

    Source:
        perf_analyzer, src/report_writer.cc, `ReportWriter::GenerateReport`, and docs/measurements_metrics.md.
    """
    found = [placed(document, row.where, partial(_run, row)) for row in rows(document)]
    found.sort(key=lambda run: (run.users or 0.0, run.rate_asked_rps or 0.0))
    return LoadTest(tool="perf_analyzer", name=document.name, runs=tuple(found), notes=(NOTE,))


def _run(row: Row) -> LoadRun:
    stages_s = {
        stage: _MICROSECOND * row.number(column) for column, stage in _STAGES.items() if column in row
    }
    is_closed = "Concurrency" in row.cells
    load = row.number("Concurrency" if is_closed else "Request Rate")
    quantiles_s = {
        q: Interval.exact(_MICROSECOND * row.number(column))
        for column in row.cells
        if (q := quantile_of(column)) is not None and column in row
    }
    return LoadRun(
        name=f"concurrency {load:g}" if is_closed else f"request rate {load:g}",
        loop=Loop.CLOSED if is_closed else Loop.OPEN,
        users=load if is_closed else None,
        rate_asked_rps=None if is_closed else load,
        throughput_rps=row.number(_THROUGHPUT),
        mean_s=_mean_s(row, stages_s),
        quantiles_s=quantiles_s,
        stages_s=stages_s,
        counts_inferences=True,
        resolution_s=_MICROSECOND,
    )


def _mean_s(row: Row, stages_s: Mapping[str, float]) -> float | None:
    """The mean response: its column, else the sum of its stages.

    The network's part is what the server's stages leave of the response. If they leave nothing, it is written as 0
    and the sum says nothing about the mean.
    """
    if "Avg latency" in row:
        return _MICROSECOND * row.number("Avg latency")
    return sum(stages_s.values()) if stages_s.get("network") and "queue" in stages_s else None


def quantile_of(column: str) -> float | None:
    """The quantile in a column such as `p99 latency`; None for another column.

    Raises:
        InputError: a percentile that is not within 0 and 100.
    """
    name, _, what = column.partition(" ")
    if what != "latency" or not name.startswith("p"):
        return None
    try:
        percent = float(name[1:])
    except ValueError:
        return None
    if not 0.0 <= percent <= 100.0:
        raise InputError(f"column {quoted(column)} is of no percentile from 0 to 100")
    return percent / 100.0


READERS = {"load-test": read_load_test}
