"""Predicted table: the cells of `predicted_beside_measured.py` as a page, with the worst errors.

python benchmarks/predicted_table.py docs/measurements/predicted-beside-measured.jsonl
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any

NAMES = {"mean": "mean", "p50": "P50", "p95": "P95", "p99": "P99"}
# Minimum for a cell.
ROUNDS = 3
# Targets, as shares of the measured values.
ALLOWED = {"mean": 0.05, "p50": 0.05, "p95": 0.10, "p99": 0.15}
PREDICTIONS = {
    "predicted": "from the profile",
    "replayed": "from the profile, the very requests",
    "own_times": "with the round's own batch times",
}


Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one cell: medians over rounds, of values, of their ends and of errors. [s]

    Each round has a profile of its own, so a prediction is compared with what its own round measured; errors are
    shares of that, and those of the medians are shown too.

    Attributes:
        told_in: number of rounds that have it, by kind of prediction, if not all do.
    """

    cell: str
    quantity: str
    measured: Ends
    predicted: dict[str, Ends]
    errors: dict[str, float]
    of_medians: dict[str, float]
    told_in: dict[str, str]


def read(path: Path) -> list[dict[str, Any]]:
    """Cells, by their common properties and then by load."""
    cells = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(cells, key=_order)


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    load, size, wait_s, replicas, routing = cell["key"]
    return replicas, routing != "round-robin", size, wait_s, load


def rows(cell: dict[str, Any]) -> Iterator[Row]:
    """Rows for the quantities that were measured in every round in use."""
    rounds = used(cell)
    for quantity in NAMES:
        if len(_having(rounds, "measured", quantity)) < len(rounds):
            continue
        having = {kind: _having(rounds, kind, quantity) for kind in _kinds(cell)}
        having = {kind: some for kind, some in having.items() if some}
        predicted = {kind: _middle(some, kind, quantity) for kind, some in having.items()}
        yield Row(
            cell=name(cell),
            quantity=quantity,
            measured=_middle(rounds, "measured", quantity),
            predicted=predicted,
            errors={kind: median(_errors(some, kind, quantity)) for kind, some in having.items()},
            of_medians={
                kind: predicted[kind][1] / _middle(some, "measured", quantity)[1] - 1.0
                for kind, some in having.items()
            },
            told_in={
                kind: f"{len(some)} of {len(rounds)}"
                for kind, some in having.items()
                if len(some) < len(rounds)
            },
        )


def _kinds(cell: dict[str, Any]) -> Iterator[str]:
    """Kinds of prediction; counted batch times are those of the first replica, which has a core to itself."""
    return (kind for kind in PREDICTIONS if kind != "own_times" or cell["key"][3] == 1)


def _having(rounds: Sequence[dict[str, Any]], kind: str, quantity: str) -> list[dict[str, Any]]:
    return [one for one in rounds if one[kind].get(quantity) is not None]


def _errors(rounds: Sequence[dict[str, Any]], kind: str, quantity: str) -> list[float]:
    """Error of each round."""
    return [_bounded(one[kind][quantity])[1] / one["measured"][quantity][1] - 1.0 for one in rounds]


def used(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Rounds in which the load generator kept its schedule; all of them if it never did."""
    return [one for one in cell["rounds"] if not one["faults"]] or cell["rounds"]


def in_time(cell: dict[str, Any]) -> int:
    """Number of rounds that kept their schedule."""
    return sum(not one["faults"] for one in cell["rounds"])


def is_late(cell: dict[str, Any]) -> bool:
    """Whether no round kept its schedule: its figures include the generator's lag, and count nowhere."""
    return in_time(cell) == 0


def _middle(rounds: Sequence[dict[str, Any]], kind: str, quantity: str) -> Ends:
    """Low, value and high, each the median over rounds that have them."""
    known = [_bounded(one[kind][quantity]) for one in rounds]
    low, value, high = (median(ends) for ends in zip(*known, strict=True))
    return low, value, high


def _bounded(ends: Sequence[float | None]) -> list[float]:
    """Ends of an interval; infinite if the rate was more than the profile of that round can sustain."""
    return [inf if end is None else end for end in ends]


def name(cell: dict[str, Any]) -> str:
    """A cell in words."""
    return f"{batching(cell)}, load {cell['key'][0]:g}"


def batching(cell: dict[str, Any]) -> str:
    """Common properties of the cells in a table."""
    _, size, wait_s, replicas, routing = cell["key"]
    batches = "batches of one" if size == 1 else f"batches up to {size}"
    wait = "" if size == 1 else ", greedy" if wait_s == 0.0 else f", batch wait {1e3 * wait_s:g} ms"
    return batches + wait + ("" if replicas == 1 else f", {replicas} replicas, {routing}")


def page(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown, from the summary down to each cell."""
    for replicas, some in itertools.groupby(cells, lambda cell: int(cell["key"][3])):
        if replicas > 1:
            yield from ["", f"With {replicas} replicas, the last on the core of the load generator:", ""]
        in_time = [cell for cell in some if not is_late(cell)]
        yield from summary([row for cell in in_time for row in rows(cell)])
        yield ""
        yield from foundation(in_time)
    yield ""
    yield from steadiness(cells)
    for title, some in itertools.groupby(cells, batching):
        together = list(some)
        yield from ["", f"## {title[0].upper()}{title[1:]}", ""]
        yield from table(together)
        yield ""
        yield from conditions(together)


def summary(found: Sequence[Row]) -> Iterator[str]:
    """Number of predictions within the target, and the worst one, by quantity and kind."""
    yield "| | aim | prediction | cells within | by medians | middle error | worst error | where |"
    yield "|---|---|---|---|---|---|---|---|"
    for quantity, allowed in ALLOWED.items():
        of_quantity = [row for row in found if row.quantity == quantity]
        for kind, title in PREDICTIONS.items():
            errors = {row.cell: row.errors[kind] for row in of_quantity if kind in row.errors}
            if errors:
                worst = max(errors, key=lambda cell: abs(errors[cell]))
                within = sum(abs(error) <= allowed for error in errors.values())
                by_medians = sum(abs(row.of_medians.get(kind, inf)) <= allowed for row in of_quantity)
                middle = _percent(median(map(abs, errors.values()))).removeprefix("+")
                untold = [row.cell for row in of_quantity if kind not in row.errors]
                also = f"; not told: {' and '.join(untold)}" if untold else ""
                yield (
                    f"| {NAMES[quantity]} | {allowed:.0%} | {title} | {within} of {len(of_quantity)} | "
                    f"{by_medians} | {middle} | {_percent(errors[worst])} | {worst}{also} |"
                )


def foundation(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Number of rounds behind the cells of a summary."""
    counts = [len(used(cell)) for cell in cells]
    fewer = sum(count < ROUNDS for count in counts)
    if not fewer:
        yield f"Of these {len(counts)} cells each rests on {ROUNDS} rounds or more."
        return
    yield (
        f"Of these {len(counts)} cells {fewer} rest on fewer than {ROUNDS} rounds that were sent in time, "
        f"{counts.count(1)} of them on one."
    )


def steadiness(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Drift of the machine during the measurement, and how two replicas slow each other down."""
    rounds = [one for cell in cells if cell["key"][3] == 1 and not is_late(cell) for one in used(cell)]
    counted = [1e3 * one["counted"]["1"] for one in rounds]
    ratios = [one["counted"]["1"] / one["profile"]["service_mean_s"]["1"] - 1.0 for one in rounds]
    yield (
        f"In the {len(rounds)} rounds with one replica that were sent in time a batch of one took from "
        f"{min(counted):.2f} to {max(counted):.2f} ms, and "
        f"from {min(ratios):+.0%} to {max(ratios):+.0%} of what the profiles around it said "
        f"(middle {median(ratios):+.0%}): that is the machine, and what a batch takes longer after a rest."
    )


def table(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row for each quantity of each cell, in ms; errors beyond the target are bold."""
    yield (
        "| load | | measured (95 %) | predicted (95 %) | error | by medians | replayed | error | "
        "own times, error |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        first = f"{cell['key'][0]:g}: {cell['rate_rps']:.0f} rps" + (" (late)" if is_late(cell) else "")
        for row in rows(cell):
            yield f"| {first} | {NAMES[row.quantity]} | {' | '.join(_figures(row))} |"
            first = ""


def _figures(row: Row) -> Iterator[str]:
    yield _interval(row.measured)
    yield _interval(row.predicted["predicted"]) if "predicted" in row.predicted else ""
    yield _error(row, "predicted")
    yield _percent(row.of_medians["predicted"]) if "predicted" in row.of_medians else ""
    yield f"{1e3 * row.predicted['replayed'][1]:.2f}" if "replayed" in row.predicted else ""
    yield _error(row, "replayed")
    yield _error(row, "own_times")


def _interval(ends: tuple[float, float, float]) -> str:
    low, value, high = (f"{1e3 * x:.2f}" if isfinite(x) else "unstable" for x in ends)
    return f"{value} ({low} to {high})"


def _error(row: Row, kind: str) -> str:
    if kind not in row.errors:
        return ""
    text = _percent(row.errors[kind])
    text = text if abs(row.errors[kind]) <= ALLOWED[row.quantity] else f"**{text}**"
    return f"{text} ({row.told_in[kind]})" if kind in row.told_in else text


def _percent(error: float) -> str:
    return f"{error:+.1%}" if isfinite(error) else "unstable"


def conditions(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Batch times in the profiles and in the runs, and how the load was sent."""
    yield (
        "| load | rounds | valid | busy | batch | batch of one: profile, run [ms] | lag P99 [ms] | sending | "
        "date |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        told = cell["rounds"]
        batches = ", ".join(
            f"{1e3 * one['profile']['service_mean_s']['1']:.2f} → {1e3 * one['counted']['1']:.2f}"
            for one in told
        )
        lags = ", ".join(f"{1e3 * one['lag_p99_s']:.2f}" for one in told)
        busy, size = (median(one["measured"][what][1] for one in used(cell)) for what in ("busy", "batch"))
        sending = median(one["cpu_share"] for one in used(cell))
        yield (
            f"| {cell['key'][0]:g} | {_rounds(told)} | {in_time(cell)} | {busy:.0%} | "
            f"{size:.2f} | {batches} | {lags} | {sending:.0%} | {cell['machine']['date']} |"
        )


def _rounds(told: Sequence[dict[str, Any]]) -> str:
    """Number and length of rounds; rounds added later may be of another kind."""
    kinds = [(f"{one['window_s']:.0f} s", one.get("slices", 1)) for one in told]
    return " + ".join(
        f"{len(list(alike))} × {lasting}" + (f" in {slices}" if slices > 1 else "")
        for (lasting, slices), alike in itertools.groupby(kinds)
    )


def main() -> None:
    print("\n".join(page(read(Path(sys.argv[1])))))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
