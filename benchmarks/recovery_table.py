"""Recovery table: rows of `recovery_beside_measured.py` as two tables: setting by setting, and run by run."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

# Allowed error of a predicted time to recover: a share of the measured one, or this long.
OFF_SHARE, OFF_S = 0.15, 2.0

Row = dict[str, Any]


def agrees(predicted_s: float | None, measured_s: float | None) -> bool:
    """Whether a predicted time to recover is near enough; None is a fleet that does not recover."""
    if predicted_s is None or measured_s is None:
        return predicted_s is measured_s
    return abs(predicted_s - measured_s) <= max(OFF_S, OFF_SHARE * measured_s)


def mean_s(runs: Sequence[Row]) -> float | None:
    """Mean time to recover of the runs that did; None if none did."""
    times_s = [run["recovered_s"] for run in runs if run["recovered_s"] is not None]
    return fmean(times_s) if times_s else None


def tables(rows: Sequence[Row]) -> str:
    """Both tables, in Markdown."""
    names = dict.fromkeys(row["setting"] for row in rows)
    settings = [[row for row in rows if row["setting"] == name] for name in names]
    summary = [
        "| setting | recovers after: predicted | measured | | goodput during: predicted | measured | |",
        "|---|---|---|---|---|---|---|",
        *map(_setting, settings),
    ]
    single = [
        "| setting | run | recovers after: simulated | measured | goodput during: simulated | measured | attempts "
        "| batches | lag P99 | date |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_run(row) for rows in settings for row in rows),
    ]
    return "\n".join([*summary, "", *single]) + "\n"


def _setting(rows: Sequence[Row]) -> str:
    predicted, measured = rows[0]["predicted"], [row["measured"] for row in rows]
    fits = agrees(mean_s(predicted), mean_s(measured))
    goods = [fmean(run["goodput_during"] for run in runs) for runs in (predicted, measured)]
    return _line(
        rows[0]["setting"],
        _times(predicted),
        _times(measured),
        "within" if fits else "**off**",
        *(f"{good:.1%}" for good in goods),
        f"{100 * (goods[0] - goods[1]):+.1f} points",
    )


def _times(runs: Sequence[Row]) -> str:
    """Mean and range, and how many did not recover."""
    times_s, count = [run["recovered_s"] for run in runs if run["recovered_s"] is not None], len(runs)
    if not times_s:
        return f"0 of {count}"
    some = "" if len(times_s) == count else f", {len(times_s)} of {count}"
    return f"{fmean(times_s):.1f} s ({min(times_s):.0f} to {max(times_s):.0f}{some})"


def _run(row: Row) -> str:
    same, found = row["predicted"][row["run"]], row["measured"]
    return _line(
        row["setting"],
        str(row["run"]),
        _time(same["recovered_s"], 600.0),
        _time(found["recovered_s"], row["watched_s"]),
        f"{same['goodput_during']:.1%}",
        f"{found['goodput_during']:.1%}",
        f"{found['attempts'] / found['requests']:.2f}",
        f"{100 * (found['batch_time_ratio'] - 1):+.1f}%",
        f"{1e3 * found['lag_p99_s']:.2f} ms",
        row["date"],
    )


def _time(recovered_s: float | None, watched_s: float) -> str:
    return f"not in {watched_s:.0f} s" if recovered_s is None else f"{recovered_s:.0f} s"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
