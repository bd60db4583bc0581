"""The CSV files of `locust --csv`: totals by endpoint, and their history; milliseconds.

Locust rounds each response time before it counts it: to 1 ms below 100 ms, to 10 ms below 1 s, to 100 ms below 10 s,
and to 1 s above that. Its percentiles are within half such a step of the measured value, so 100 % may be above Max,
which is exact. A user waits for an answer before it sends again, so the loop is closed.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import dropwhile, pairwise
from statistics import median
from typing import Any

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, Row
from capacity.formats.load_test import LoadRun, LoadTest, Loop, Moment
from capacity.performance import Interval

NAME = "locust --csv"
AGGREGATED = "Aggregated"
_STATS = {"Type", "Name", "Request Count", "Failure Count", "Average Response Time"}
_HISTORY = {"Timestamp", "User Count", "Type", "Name", "Total Request Count"}
_WITHOUT_A_MEASUREMENT = (
    {"Method", "Name", "Error", "Occurrences"},
    {"Count", "Message", "Traceback", "Nodes"},
)
_STEPS_MS = ((100.0, 1.0), (1000.0, 10.0), (10_000.0, 100.0))
_LAST_STEP_MS = 1000.0


def recognises(document: Document) -> bool:
    """Whether it has the columns of one of Locust's four files."""
    return any(columns <= set(document.columns) for columns in (_STATS, _HISTORY, *_WITHOUT_A_MEASUREMENT))


def read_load_test(document: Document) -> LoadTest:
    """A run for each endpoint, and for all of them.

    Raises:
        InputError: the table of failures or of exceptions, which holds no measurement, or invalid cells.

    Source:
        Locust 2.47, locust/stats.py, `StatsCSV` and `StatsCSVFileWriter`; percentiles by
        `calculate_response_time_percentile`, rounding by `StatsEntry._log_response_time`.
    """
    columns = set(document.columns)
    if any(other <= columns for other in _WITHOUT_A_MEASUREMENT):
        raise InputError(
            f"{document.name} lists Locust's failures and holds no measurement; give the file that ends in _stats.csv"
        )
    read = _runs_of_history if columns >= _HISTORY else _runs_of_totals
    found = tuple(read(document))
    whole = AGGREGATED if any(run.name == AGGREGATED for run in found) else None
    return LoadTest(tool="locust", name=document.name, runs=found, whole=whole)


def bucket_s(rounded_ms: float) -> Interval:
    """The range of durations that Locust rounds to this one. [s]

    Where the step changes, the range reaches half the finer step below, as 99.7 ms is rounded to 100 ms.

    >>> bucket_s(110.0).low, bucket_s(110.0).high
    (0.105, 0.115)
    >>> bucket_s(100.0).low
    0.0995
    """
    below = next((step for end, step in _STEPS_MS if rounded_ms <= end), _LAST_STEP_MS)
    above = next((step for end, step in _STEPS_MS if rounded_ms < end), _LAST_STEP_MS)
    low_ms = min(rounded_ms, max(0.0, rounded_ms - below / 2.0))
    high_ms = rounded_ms + above / 2.0
    return Interval(value=rounded_ms / 1e3, low=low_ms / 1e3, high=high_ms / 1e3)


def _runs_of_totals(document: Document) -> Iterator[LoadRun]:
    quantiles = _quantile_columns(document)
    for row in document.ending(partial(_is_whole, document.columns)).rows():
        requests, failed = row.whole("Request Count"), row.whole("Failure Count")
        if not requests:
            continue
        yield LoadRun(
            name=_name(row),
            loop=Loop.CLOSED,
            throughput_rps=row.number("Requests/s"),
            **_counts(requests, failed, row.where),
            **_times(row, ""),
            quantiles_s={q: bucket_s(row.number(column)) for q, column in quantiles.items() if column in row},
        )


def _is_whole(columns: Sequence[str], line: str) -> bool:
    """Whether a row of totals is the last one, and ends in a 100 % that is its maximum as Locust rounds it."""
    row = Row("", dict(zip(columns, line.split(","), strict=False)))
    if not line.startswith(f",{AGGREGATED},") or columns[-1] != "100%" or "100%" not in row:
        return False
    try:
        found = bucket_s(row.number("100%"))
        return found.low <= row.number("Max Response Time") / 1e3 <= found.high
    except InputError:
        return False


def _runs_of_history(document: Document) -> Iterator[LoadRun]:
    """Runs of a history: the last row of each name has its totals, and percentiles of the last 10 seconds only."""
    by_name: dict[str, list[Row]] = {}
    before: list[Row] = []  # the last row without a request, after which users started
    for row in document.rows(unread=("Total Average Content Size",)):
        if not by_name and not row.whole("Total Request Count"):
            before = [row]
        else:
            by_name.setdefault(_name(row), list(before)).append(row)
    for name, rows in by_name.items():
        last = rows[-1]
        requests = last.whole("Total Request Count")
        if not requests:
            continue
        duration_s = _lasted_s(rows)
        counted = requests - rows[0].whole("Total Request Count")  # the first row's came before it
        yield LoadRun(
            name=name,
            loop=Loop.CLOSED,
            users=max(row.number("User Count") for row in rows),
            duration_s=duration_s,
            throughput_rps=counted / duration_s if duration_s > 0.0 and counted > 0 else None,
            **_counts(requests, last.whole("Total Failure Count"), last.where),
            **_times(last, "Total "),
            quantiles_s={0.5: bucket_s(last.number("Total Median Response Time"))},
            history=tuple(_history(rows)),
        )


def _lasted_s(rows: list[Row]) -> float:
    """Time from the first row to the last. [s]

    Rows come at even steps, of a second unless Locust is short of CPU, and their stamps are truncated to whole
    seconds: the step is the usual one, or the shortest that the stamps allow.
    """
    stamps = [row.number("Timestamp") for row in rows]
    steps = len(stamps) - 1
    if not steps:
        return 0.0
    usual_s = median(after - before for before, after in pairwise(stamps))
    since_first = ((stamp - stamps[0] - 1.0) / number for number, stamp in enumerate(stamps[1:], 1))
    until_last = ((stamps[-1] - stamp - 1.0) / (steps - number) for number, stamp in enumerate(stamps[:-1]))
    return steps * max(usual_s, *since_first, *until_last)


def _history(rows: list[Row]) -> Iterator[Moment]:
    """Moments of the history, without the first rows, which hold N/A and 0 while Locust collects."""
    rated = list(dropwhile(lambda row: not row.number("Requests/s"), rows))
    for place, row in enumerate(rows):
        yield Moment(
            t_s=row.number("Timestamp"),
            users=row.number("User Count"),
            rate_rps=row.number("Requests/s") if place >= len(rows) - len(rated) else None,
            median_s=_seen_s(row, "50%"),
            p99_s=_seen_s(row, "99%"),
        )


def _seen_s(row: Row, column: str) -> float | None:
    if column not in row or row.text(column) == "N/A":
        return None
    return row.number(column) / 1e3 or None


def _quantile_columns(document: Document) -> dict[float, str]:
    """Columns such as `99.9%`; a setting of Locust decides which there are."""
    found = {}
    for column in document.columns:
        text = column.removesuffix("%")
        if column.endswith("%") and text.replace(".", "", 1).isdecimal() and text.isascii():
            found[round(float(text) / 100.0, 12)] = column
    return {q: column for q, column in found.items() if q <= 1.0}


def _name(row: Row) -> str:
    """Name of a row: `GET /predict`, or the name alone if it has no type, as in Aggregated."""
    return printable(f"{row.text('Type')} {row.text('Name')}".strip())


def _counts(requests: int, failed: int, where: str) -> dict[str, Any]:
    if failed > requests:
        raise InputError(f"{where} has {failed} failures of {requests} requests; is the file complete?")
    return {"succeeded": requests - failed, "failed": failed}


def _times(row: Row, prefix: str) -> dict[str, Any]:
    names = {"mean_s": "Average", "min_s": "Min", "max_s": "Max"}
    return {key: row.number(f"{prefix}{name} Response Time") / 1e3 for key, name in names.items()}


READERS = {"load-test": read_load_test}
