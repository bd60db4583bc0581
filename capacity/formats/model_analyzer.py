"""Tables of Triton's Model Analyzer: a row for each configuration and load that it tried.

Users choose the columns; their names carry their units. `metrics-model-inference.csv` holds latencies;
`metrics-model-gpu.csv` and `metrics-server-only.csv` hold memory, utilization and power alone.
"""

import re
from collections.abc import Mapping
from functools import partial

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.table import Row, rows
from capacity.performance import Interval

NAME = "Model Analyzer (metrics-model-inference.csv)"
_THROUGHPUT = "Throughput (infer/sec)"
_MEAN = "Avg Latency (ms)"
_PERCENTILE = re.compile(r"p([0-9]{1,2}) Latency \(ms\)")
_STAGES = {
    "Server Queue time (ms)": "queue",
    "Server Compute Input time (ms)": "compute input",
    "Server Compute Infer time (ms)": "compute infer",
    "Server Compute Output time (ms)": "compute output",
}
_LOADS = ("Concurrency", "Request Rate")
_MILLISECOND = 1e-3
# Columns of all three tables, some of which a user may have left out.
_OWN = {
    "Model Config Path",
    "Satisfies Constraints",
    "GPU UUID",
    "Instance Group",
    "Max Batch Size",
    _THROUGHPUT,
}


def recognises(document: Document) -> bool:
    """Whether it has a model and one of the tool's own columns."""
    return "Model" in document.columns and bool(_OWN & set(document.columns))


def read_load_test(document: Document) -> LoadTest:
    """A run for each row.

    Raises:
        InputError: a table without latencies, or a cell that cannot be.

    Source:
        Model Analyzer, docs/report.md and model_analyzer/record/types, whose `header` names each column.
    """
    columns = document.columns
    if not any(column == _MEAN or _PERCENTILE.fullmatch(column) for column in columns):
        raise InputError(
            f"{document.name} is a table of Model Analyzer without latencies; give metrics-model-inference.csv, "
            "with a column such as p99 Latency (ms)"
        )
    runs = tuple(placed(document, row.where, partial(_run, row)) for row in rows(document))
    notes = (
        [] if "Batch" in columns else ["without a column Batch, each request is taken to be one inference"]
    )
    return LoadTest(tool="model_analyzer", name=document.name, runs=runs, notes=tuple(notes))


def _run(row: Row) -> LoadRun:
    batch_size = _batch_size(row)
    loads = {column: row.number(column) for column in _LOADS if column in row}
    users, rate_rps = (loads.get(column) for column in _LOADS)
    throughput = row.number_or_none(_THROUGHPUT)
    mean_ms = row.number_or_none(_MEAN)
    return LoadRun(
        name=_name(row, batch_size, loads),
        loop=Loop.CLOSED if users is not None else Loop.OPEN if rate_rps is not None else Loop.UNKNOWN,
        users=users,
        rate_asked_rps=None if users is not None else rate_rps,
        throughput_rps=None if throughput is None else throughput / batch_size,
        mean_s=None if mean_ms is None else _MILLISECOND * mean_ms,
        quantiles_s={
            int(found[1]) / 100.0: Interval.exact(_MILLISECOND * row.number(column))
            for column in row.cells
            if (found := _PERCENTILE.fullmatch(column)) and column in row
        },
        stages_s={
            stage: _MILLISECOND * row.number(column) for column, stage in _STAGES.items() if column in row
        },
        batch_size=batch_size,
        counts_inferences="Batch" not in row,
    )


def _batch_size(row: Row) -> int:
    found = row.number_or_none("Batch")
    if found is None:
        return 1
    if found < 1.0 or found != int(found):
        raise InputError(f"column 'Batch' must be a whole number from 1, got {found:g}")
    return int(found)


def _name(row: Row, batch_size: int, loads: Mapping[str, float]) -> str:
    model = row.text("Model Config Path") or row.text("Model")
    load = "".join(f", {column.lower()} {value:g}" for column, value in loads.items())
    return printable(f"{model}, batch {batch_size}{load}")[:200]


READERS = {"load-test": read_load_test}
