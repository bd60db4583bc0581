"""The CSV of guidellm, `benchmarks.csv`: three rows of header (group, field, statistic), then a row for each benchmark.

Durations are in the unit that ends the field's name, such as `Successful Sec`. Percentiles are a list in one cell:
minimum, P0.1, P1, P5, P10, P25, P75, P90, P95, P99 and maximum; the median has a column of its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, each, number, parsed, placed, whole
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.json_text import parse_list
from capacity.performance import Interval

NAME = "guidellm benchmark, as CSV"
_GROUPS = {"Benchmark", "Request Counts", "Request Latency", "Server Throughput"}
_HEADER = 3
_AT = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.99, 1.0)
# The response from when a request was due, if there is a schedule, and from when it was sent.
_SCHEDULED, _SENT = "Scheduled Latency", "Request Latency"
_STRATEGY = re.compile(r"(synchronous|concurrent|throughput|constant|poisson|trace)(?:@([0-9.]{1,20}))?")

Cells = Mapping[tuple[str, str, str], str]


def recognises(document: Document) -> bool:
    """Whether its first row has the groups of metrics."""
    return set(document.columns) >= _GROUPS


def read_load_test(document: Document) -> LoadTest:
    """A run for each benchmark.

    Raises:
        InputError: no benchmark, or cells that cannot be.

    Source:
        guidellm 0.8.1, guidellm/benchmark/outputs/csv.py, `GenerativeBenchmarkerCSV`.
    """
    found = [placed(document, where, partial(_run, where, cells)) for where, cells in _benchmarks(document)]
    if not found:
        raise InputError(f"{document.name} has no row below its three rows of header; run guidellm again")
    return LoadTest(tool="guidellm", name=document.name, runs=tuple(found))


def _benchmarks(document: Document) -> Iterator[tuple[str, Cells]]:
    """Place of each row, and its cells that are not empty, by group, field and statistic."""
    header: list[list[str]] = []
    for line, raw in document.cells():
        cells = [cell.strip() for cell in raw]
        where = f"{document.name} line {line}"
        if header and len(cells) != len(header[0]):
            raise InputError(
                f"{where} has {len(cells)} cells for {len(header[0])} columns; was the file cut off?"
            )
        if len(header) < _HEADER:
            header.append(cells)
        else:
            keys: list[tuple[str, ...]] = list(zip(*header, strict=True))
            yield where, {(a, b, c): cell for (a, b, c), cell in zip(keys, cells, strict=True) if cell}


def _run(where: str, cells: Cells) -> LoadRun:
    strategy = cells.get(("Benchmark", "Strategy", ""), "")
    latency = _SCHEDULED if (_SCHEDULED, "Successful Sec", "Mean") in cells else _SENT
    if (latency, "Successful Sec", "Mean") not in cells:
        raise InputError(f"{where} has no mean of Request Latency of successful requests; did all fail?")
    known = partial(_number, where, cells)
    values_s = each(
        parse_list(cells.get((latency, "Successful Sec", "Percentiles"), "[]"), where, "a list"),
        where,
        number,
    )
    if len(values_s) != len(_AT):
        raise InputError(
            f"{where} has {len(values_s)} percentiles of {latency}, not {len(_AT)}; write it by 0.8"
        )
    median_s = known(latency, "Successful Sec", "Median")
    inner = dict(zip(_AT[1:-1], values_s[1:-1], strict=True)) | ({} if median_s is None else {0.5: median_s})
    errored = known("Request Counts", "Errored", "")
    return LoadRun(
        name=printable(strategy)[:80] or "benchmark",
        **_sending(strategy, where),
        rate_sent_rps=_sent_rps(known),
        throughput_rps=known("Server Throughput", "Successful Requests/Sec", "Mean"),
        duration_s=known("Timings", "Duration", "Sec"),
        succeeded=whole(known("Request Counts", "Successful", ""), f"{where}, Request Counts Successful"),
        failed=None if errored is None else whole(errored, f"{where}, Request Counts Errored"),
        mean_s=known(latency, "Successful Sec", "Mean"),
        min_s=values_s[0],
        max_s=values_s[-1],
        quantiles_s={q: Interval.exact(value_s) for q, value_s in inner.items()},
        is_corrected=latency == _SCHEDULED,
        schedule_delay_mean_s=None
        if latency == _SCHEDULED
        else known("Dispatch Delay", "Successful Sec", "Mean"),
    )


def _sent_rps(known: Callable[[str, str, str], float | None]) -> float | None:
    """Requests of every outcome over the time of the benchmark; None if either is missing. [requests/s]"""
    counts = [known("Request Counts", outcome, "") for outcome in ("Successful", "Errored", "Incomplete")]
    duration_s = known("Timings", "Duration", "Sec")
    if duration_s is None or duration_s <= 0.0 or counts[0] is None:
        return None
    return sum(count or 0.0 for count in counts) / duration_s


def _sending(strategy: str, where: str) -> dict[str, Any]:
    """What decided when requests were sent, from a strategy such as `poisson@10.00` or `concurrent@8`."""
    found = _STRATEGY.fullmatch(strategy)
    if found is None:
        return {}
    kind, value = found[1], None if found[2] is None else parsed(found[2], f"{where}, Strategy")
    if kind in ("constant", "poisson"):
        return {"loop": Loop.OPEN, "rate_asked_rps": value}
    if kind == "trace":
        return {"loop": Loop.OPEN}
    return {"loop": Loop.CLOSED, "users": 1.0 if kind == "synchronous" else value}


def _number(where: str, cells: Cells, group: str, name: str, statistic: str) -> float | None:
    """The number in a column; None if there is none."""
    text = cells.get((group, name, statistic))
    return None if text is None else parsed(text, f"{where}, {group} {name} {statistic}".strip())


READERS = {"load-test": read_load_test}
