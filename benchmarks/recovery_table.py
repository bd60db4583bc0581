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
    names = dict.fromkeys((row["setting"], row["balancer"]) for row in rows)
    settings = [[row for row in rows if (row["setting"], row["balancer"]) == name] for name in names]
    summary = [
        "| setting | balancer | recovers after: predicted | measured | | success during: predicted | measured | "
        "| P99: predicted | measured | |",
        "|---" * 11 + "|",
        *map(_setting, settings),
    ]
    single = [
        "| setting | balancer | run | recovers after: simulated | measured | | success during: simulated | measured "
        "| P99: simulated | measured | attempts | batches | lag P99 | date |",
        "|---" * 14 + "|",
        *(_run(row) for rows in settings for row in rows),
    ]
    return "\n".join([*summary, "", *single]) + "\n"


def in_short(rows: Sequence[Row]) -> str:
    """How many runs recovered as the simulator says of the very same first tries."""
    pairs = [(row["predicted"][row["run"]], row["measured"]) for row in rows]
    near = sum(agrees(same["recovered_s"], found["recovered_s"]) for same, found in pairs)
    off = fmean(abs(same["goodput_during"] - found["goodput_during"]) for same, found in pairs)
    return (
        f"{near} of {len(pairs)} runs recover within 15 % or 2 s of what is predicted, and the share that succeeds "
        f"meanwhile is {100 * off:.0f} points off on average"
    )


def _setting(rows: Sequence[Row]) -> str:
    predicted, measured = rows[0]["predicted"], [row["measured"] for row in rows]
    goods = [fmean(run["goodput_during"] for run in runs) for runs in (predicted, measured)]
    long_s = [_mean([run.get("p99_s") for run in runs]) for runs in (predicted, measured)]
    off = f"{100 * (long_s[0] / long_s[1] - 1):+.0f}%" if long_s[0] and long_s[1] else ""
    return _line(
        rows[0]["setting"],
        rows[0]["balancer"],
        _times(predicted),
        _times(measured),
        _verdict(mean_s(predicted), mean_s(measured)),
        *(f"{good:.1%}" for good in goods),
        f"{100 * (goods[0] - goods[1]):+.1f} points",
        *map(_seconds, long_s),
        off,
    )


def _verdict(predicted_s: float | None, measured_s: float | None) -> str:
    return "within" if agrees(predicted_s, measured_s) else "**off**"


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if one is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _seconds(value_s: float | None) -> str:
    return "" if value_s is None else f"{value_s:.2f} s"


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
        row["balancer"],
        str(row["run"]),
        _time(same["recovered_s"], 600.0),
        _time(found["recovered_s"], row["watched_s"]),
        _verdict(same["recovered_s"], found["recovered_s"]),
        f"{same['goodput_during']:.1%}",
        f"{found['goodput_during']:.1%}",
        _seconds(same.get("p99_s")),
        _seconds(found.get("p99_s")),
        f"{found['attempts'] / found['requests']:.2f}",
        f"{100 * (found['batch_time_ratio'] - 1):+.1f}%",
        f"{1e3 * found['lag_p99_s']:.2f} ms",
        row["date"],
    )


def _time(recovered_s: float | None, watched_s: float) -> str:
    return f"not in {watched_s:.0f} s" if recovered_s is None else f"{recovered_s:.0f} s"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
