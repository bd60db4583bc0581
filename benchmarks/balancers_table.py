"""Balancers table: predictions for the cells of `balancers.py`, and a page of them beside what was measured.

    python benchmarks/balancers_table.py --predict FOLDER -o docs/measurements/real-balancers.jsonl
    python benchmarks/balancers_table.py docs/measurements/real-balancers.jsonl

The first command takes the runs in FOLDER and leaves a line for each cell; the second prints the page of them.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from balancers import CONFIDENCE, LAG_P99_MAX_S, LOAD_REPORTED, RULES, RUNS, Cell, cells, load_test, read_runs
from predicted_beside_measured import quantities

from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.verification.load_test import IN_FLIGHT_MAX
from capacity.verification.measured import measured_performance
from capacity.verification.prediction import Predictor
from capacity.verification.run import LoadRun
from capacity.verification.validity import faults
from simulations.simulate import Simulation

QUANTILES = (0.5, 0.95, 0.99)
NAMES = {"mean": "mean", "p50": "P50", "p95": "P95", "p99": "P99"}
# Aims, as shares of what was measured, and the share of the rows that should be within.
ALLOWED = {"mean": 0.02, "p50": 0.02, "p95": 0.04, "p99": 0.06}
WANTED = {"mean": 0.97, "p50": 0.92, "p95": 0.96, "p99": 0.96}
ALL_WANTED, OVERLAP_WANTED = 0.86, 0.90
KINDS = {
    "given": "given profile, the very requests",
    "seen": "measured profile, the very requests",
    "long": "given profile, long run",
}
WORST = 12
# An answer that takes this much longer than usual outside its replica met a machine that stood still. [s]
STALL_S = 2e-3


def run_of(cell: Cell, told: Mapping[str, Any], output: Path) -> LoadRun:
    """A run that was kept, as it was when it had ended."""
    test = load_test(cell, "http://127.0.0.1:1", told["seed"])
    run = LoadRun.blank(test.schedules[0], test.warm_up_s, test.target.timeout_s)
    with np.load(output / "instants" / f"{told['seed']}.npz") as kept:
        for name in ("sent", "ended", "inside"):
            times_us = kept[f"{name}_us"]
            getattr(run, f"{name}_s")[:] = np.where(times_us < 0, np.nan, times_us / 1e6)
        run.outcomes[:] = kept["outcomes"]
    run.is_complete, run.cpu_share = True, told["cpu_share"]
    return run


def late(run: LoadRun) -> list[str]:
    """Why a run was not sent in time; empty if it was."""
    found = list(faults(run, IN_FLIGHT_MAX))
    lag_s = float(np.quantile(run.lags_s(), 0.99))
    if lag_s >= LAG_P99_MAX_S:
        found.append(f"P99 of its lag is {1e3 * lag_s:.2f} ms")
    return found


def predictor(cell: Cell, profile: ServiceProfile, **limits: int) -> Predictor:
    """What predicts a cell from a profile.

    Args:
        limits: of the plan, by keyword.
    """
    plan = BatchPlan(
        profile=profile.name,
        replicas=cell.replicas,
        batch_size_max=cell.batch,
        batch_wait_max_s=cell.batch_wait_max_s,
        routing=Routing(RULES[cell.routing]),
        **limits,
    )
    return Predictor(
        profile=profile,
        plan=plan,
        quantiles=QUANTILES,
        simulator=lambda asked: Simulation(quantiles=asked),
    )


def compared(cell: Cell, output: Path) -> dict[str, Any]:
    """The line of a cell: runs sent in time, or all if there is none, measured and predicted."""
    told = [one for one in read_runs(output) if one["cell"] == cell.name]
    runs = [run_of(cell, one, output) for one in told]
    reasons = [late(run) for run in runs]
    in_time = [number for number, why in enumerate(reasons) if not why]
    used = in_time or list(range(len(runs)))
    kept, beside_s = [runs[number] for number in used], fmean(told[number]["beside_s"] for number in used)
    measured = measured_performance(kept, QUANTILES, CONFIDENCE, replicas=cell.replicas)
    sizes = [
        (int(size), count)
        for number in used
        for one in told[number]["batches"]
        for size, count in one.items()
    ]
    profiles = (cell.profile, load_profile(str(output / "profiles" / f"{cell.size}.json")))
    given, seen = (predictor(cell, replace(one, request_overhead_s=beside_s)) for one in profiles)
    return {
        "cell": cell.name,
        "rate_rps": cell.workload.arrival_rate_rps,
        "runs": len(told),
        "in_time": len(in_time),
        "late": reasons,
        "requests": sum(len(run.responses_s) for run in kept),
        "lag_p99_s": max(float(np.quantile(run.lags_s(), 0.99)) for run in kept),
        "beside_s": beside_s,
        "stalled": float(np.mean(np.concatenate([_beside_s(run) for run in kept]) > beside_s + STALL_S)),
        "batch_mean": sum(size * count for size, count in sizes) / sum(count for _, count in sizes),
        "machine": told[0]["machine"],
        "dates": [one["date"] for one in told],
        "measured": quantities(measured),
        "inside": inside(kept),
        "given": quantities(given.of(kept).performance),
        "seen": quantities(seen.of(kept).performance),
        "long": quantities(given.in_the_long_run(cell.workload).performance),
    }


def inside(runs: Sequence[LoadRun]) -> dict[str, float]:
    """Mean and quantiles of the time in a replica's queue and batch, by the replica's own clock. [s]"""
    times_s = np.concatenate([run.inside_s[run.schedule.instants_s >= run.warm_up_s] for run in runs])
    times_s = times_s[np.isfinite(times_s)]
    found = {f"p{100 * q:g}": float(np.quantile(times_s, q)) for q in QUANTILES}
    return {"mean": float(times_s.mean()), **found}


def _beside_s(run: LoadRun) -> Any:
    """Time of each good answer outside its replica's queue and batch. [s]"""
    beside_s = run.ended_s - run.schedule.instants_s - run.inside_s
    return beside_s[np.isfinite(beside_s) & (run.schedule.instants_s >= run.warm_up_s)]


@dataclass(frozen=True, slots=True)
class Row:
    """Errors of one cell, by kind of prediction and quantity, as shares of what was measured."""

    cell: Cell
    line: Mapping[str, Any]
    errors: Mapping[str, Mapping[str, float]]

    def error_inside(self, name: str) -> float:
        """Error of the replay of what the replicas themselves counted, without the time outside them."""
        told = self.line["given"].get(name)
        return (
            math.inf if told is None else (told[1] - self.line["beside_s"]) / self.line["inside"][name] - 1.0
        )

    @property
    def is_late(self) -> bool:
        """Whether no run of it was sent in time."""
        return self.line["in_time"] == 0

    @property
    def counts(self) -> bool:
        """Whether its figures are held to the aims."""
        return not self.is_late and self.cell.load != LOAD_REPORTED

    def is_within(self, kind: str, name: str) -> bool:
        """Whether an error is within its aim."""
        return abs(self.errors[kind].get(name, math.inf)) <= ALLOWED[name]

    def overlaps(self, kind: str) -> bool:
        """Whether the intervals of P99 overlap; a replay has no width."""
        told, found = self.line[kind].get("p99"), self.line["measured"].get("p99")
        return told is not None and found is not None and told[0] <= found[2] and found[0] <= told[2]


def rows_of(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows in the order of routing, replicas, load and the rest."""
    known = {cell.name: cell for cell in cells()}
    found = []
    for line in lines:
        errors = {
            kind: {
                name: line[kind][name][1] / line["measured"][name][1] - 1.0
                for name in NAMES
                if line[kind].get(name) is not None and line["measured"].get(name) is not None
            }
            for kind in KINDS
        }
        found.append(Row(known[line["cell"]], line, errors))
    return sorted(found, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    cell = row.cell
    return list(RULES).index(cell.routing), cell.replicas, cell.load, cell.batch, cell.wait, cell.arrivals


def page(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of Markdown, from the summary down to each row."""
    counted = [row for row in rows if row.counts]
    late_rows, reported = (
        sum(row.is_late for row in rows),
        sum(row.cell.load == LOAD_REPORTED for row in rows),
    )
    dates = sorted(date for row in rows for date in row.line["dates"])
    yield (
        f"{len(rows)} of {len(cells())} cells have been measured, from {dates[0]} to {dates[-1]} UTC on "
        f"{rows[0].line['machine']}; {reported} of them at load {LOAD_REPORTED}, which are reported and not held to "
        f"the aims, and {late_rows} without a run sent in time. {len(counted)} rows are held to the aims:"
    )
    yield ""
    yield from summary(counted)
    yield ""
    untold = sum("p99" not in row.errors["given"] for row in counted)
    if untold:
        yield f"P99 of {untold} rows is not told, as their one run in time has too few requests. They count as missed."
        yield ""
    yield inside_summary(counted)
    yield ""
    yield from worst(counted)
    for routing, some in groupby(rows, lambda row: row.cell.routing):
        yield from ["", f"## {routing}", ""]
        yield from table(list(some))


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Rows within each aim, by kind of prediction."""
    yield "| | aim | wanted | " + " | ".join(KINDS.values()) + " |"
    yield "|---|---|---|" + "---|" * len(KINDS)
    for name, allowed in ALLOWED.items():
        shares = [_share(row.is_within(kind, name) for row in rows) for kind in KINDS]
        middles = [median(abs(row.errors[kind].get(name, math.inf)) for row in rows) for kind in KINDS]
        figures = (
            f"{share}, middle {100 * middle:.1f} %" for share, middle in zip(shares, middles, strict=True)
        )
        yield f"| {NAMES[name]} | {100 * allowed:g} % | {WANTED[name]:.0%} | {' | '.join(figures)} |"
    yield f"| all four | | {ALL_WANTED:.0%} | {' | '.join(_all_four(rows, kind) for kind in KINDS)} |"
    for balancer in dict.fromkeys(row.cell.balancer for row in rows):
        some = [row for row in rows if row.cell.balancer == balancer]
        yield f"| all four, {balancer} | | | {' | '.join(_all_four(some, kind) for kind in KINDS)} |"
    overlaps = (_share(row.overlaps(kind) for row in rows) for kind in KINDS)
    yield f"| 95 % intervals of P99 overlap | | {OVERLAP_WANTED:.0%} | {' | '.join(overlaps)} |"


def _all_four(rows: Sequence[Row], kind: str) -> str:
    return _share(all(row.is_within(kind, name) for name in NAMES) for row in rows)


def in_short(rows: Sequence[Row]) -> str:
    """The clause of the README: how many rows count, and how many of these are within each aim."""
    counted = [row for row in rows if row.counts]
    *first, last = (
        f"{sum(row.is_within('given', name) for row in counted)} ({NAMES[name]}, {100 * allowed:g} %)"
        for name, allowed in ALLOWED.items()
    )
    return (
        f"{len(rows)} of {len(cells())} rows have been measured, of which {len(counted)} were sent in time at loads up "
        f"to 0.85. Of these, predictions are within the aim in {', '.join(first)} and {last}"
    )


def inside_summary(rows: Sequence[Row]) -> str:
    """Rows within each aim by what the replicas counted, which no stall outside them touches."""
    shares = (
        f"{NAMES[name]} {_share(abs(row.error_inside(name)) <= allowed for row in rows)}"
        for name, allowed in ALLOWED.items()
    )
    return f"By what the replicas count of queue and batch themselves, the replay is within: {', '.join(shares)}."


def _share(found: Any) -> str:
    each = list(found)
    return f"{sum(each)} of {len(each)} ({sum(each) / len(each):.0%})" if each else "none"


def worst(rows: Sequence[Row]) -> Iterator[str]:
    """The rows that are farthest off, in aims, and what is known of them."""
    yield f"The {WORST} rows that are farthest off for their aims, replayed with the given profile:"
    yield ""
    yield "| row | mean | P50 | P95 | P99 | the same inside replicas | stalled | batch: measured, replayed |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in sorted(rows, key=_aims_off, reverse=True)[:WORST]:
        errors = " | ".join(_error(row, "given", name) for name in NAMES)
        within = ", ".join(f"{100 * row.error_inside(name):+.1f} %" for name in NAMES)
        batch = row.line["given"].get("batch", [0.0, 0.0, 0.0])[1]
        yield (
            f"| {words(row.cell)} | {errors} | {within} | {row.line['stalled']:.1%} | "
            f"{row.line['batch_mean']:.2f}, {batch:.2f} |"
        )


def _aims_off(row: Row) -> float:
    """The largest error of a row, in aims."""
    return max(abs(row.errors["given"].get(name, math.inf)) / ALLOWED[name] for name in NAMES)


def words(cell: Cell) -> str:
    """A cell in words."""
    return (
        f"{cell.routing}, {cell.replicas} replicas, batch {cell.batch}, wait {1e3 * cell.batch_wait_max_s:.1f} ms, "
        f"load {cell.load:g}, {_arrivals(cell)}"
    )


def _arrivals(cell: Cell) -> str:
    return "Poisson" if cell.arrivals == "poisson" else "bursts"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each row; errors beyond the aim are bold."""
    yield (
        "| replicas | batch | wait [ms] | load | arrivals | [rps] | mean [ms] | P50 [ms] | P95 [ms] | "
        "P99 [ms] (95 %) | measured profile | long run | lag P99 [ms] | runs in time |"
    )
    yield "|" + "---|" * 14
    for row in rows:
        cell, line = row.cell, row.line
        wait = f"{1e3 * cell.batch_wait_max_s:.1f}"
        yield (
            f"| {cell.replicas} | {cell.batch} | {wait} | {cell.load:g} | {_arrivals(cell)} | {line['rate_rps']:.0f} | "
            f"{' | '.join(_pair(row, name) for name in NAMES)} | "
            f"{' | '.join(_errors(row, kind) for kind in KINDS if kind != 'given')} | "
            f"{1e3 * line['lag_p99_s']:.2f} | {line['in_time']} of {line['runs']} |"
        )


def _pair(row: Row, name: str) -> str:
    """A quantity as it was measured, replayed with the given profile, and the error of that."""
    measured, replayed = row.line["measured"].get(name), row.line["given"].get(name)
    if measured is None or replayed is None:
        return "not told"
    low, value, high = (f"{1e3 * end:.1f}" for end in measured)
    ends = f" ({low} to {high})" if name == "p99" else ""
    return f"{value}{ends}, {1e3 * replayed[1]:.1f}: {_error(row, 'given', name)}"


def _errors(row: Row, kind: str) -> str:
    return ", ".join(_error(row, kind, name) for name in NAMES)


def _error(row: Row, kind: str, name: str) -> str:
    error = row.errors[kind].get(name)
    if error is None:
        return "not told"
    return f"{100 * error:+.1f} %" if row.is_within(kind, name) else f"**{100 * error:+.1f} %**"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", type=Path, nargs="?")
    parser.add_argument("--predict", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.predict is None:
        print("\n".join(page(rows_of(read_lines(options.lines)))))
        return
    predict(options.predict, options.output)


def predict(folder: Path, output: Path) -> None:
    """Write a line for each cell of which all runs are there, and leave those that are of the same runs already."""
    known = {line["cell"]: line for line in read_lines(output)} if output.exists() else {}
    runs = read_runs(folder)
    profiles = {path.stem for path in (folder / "profiles").glob("*.json")}
    for cell in cells():
        dates = [one["date"] for one in runs if one["cell"] == cell.name]
        if len(dates) == RUNS and cell.size in profiles and known.get(cell.name, {}).get("dates") != dates:
            known[cell.name] = compared(cell, folder)
            output.write_text("".join(json.dumps(line) + "\n" for line in known.values()), "utf-8")
            print(cell.name, file=sys.stderr, flush=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of cells that were measured and predicted."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
