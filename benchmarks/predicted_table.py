"""The cells of `predicted_beside_measured.py` as a page: predicted, measured, and the worst of it.

python benchmarks/predicted_table.py docs/measurements/predicted-beside-measured.jsonl > page.md
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

NAMES = {"mean": "mean", "p50": "P50", "p95": "P95", "p99": "P99"}
# What is aimed at, as shares of what is measured.
ALLOWED = {"mean": 0.05, "p50": 0.05, "p95": 0.10, "p99": 0.15}
PREDICTIONS = {"stationary": "predicted", "replay": "replayed", "in_runs": "with the runs' own batch times"}


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one cell; errors are shares of what was measured. [s]"""

    cell: str
    quantity: str
    measured: dict[str, float]
    predicted: dict[str, float]
    errors: dict[str, float]


def read(path: Path) -> list[dict[str, Any]]:
    """Cells, in the order of their keys."""
    cells = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(cells, key=_order)


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    load, size, wait_s, replicas, routing = cell["key"]
    return replicas, routing != "round-robin", size, wait_s, load


def rows(cell: dict[str, Any]) -> Iterator[Row]:
    """Of the quantities in `NAMES`."""
    for told in cell["verification"]["rows"]:
        quantity = _quantity(told)
        if quantity is None or told["measured"] is None:
            continue
        held = {kind: told[kind]["predicted"] for kind in ("stationary", "replay") if told[kind] is not None}
        own = (cell["in_runs_replay"] or {}).get(quantity)
        if own is not None:
            held["in_runs"] = {"value": own}
        value = told["measured"]["value"]
        yield Row(
            cell=name(cell),
            quantity=quantity,
            measured=told["measured"],
            predicted={kind: interval["value"] for kind, interval in held.items()},
            errors={kind: interval["value"] / value - 1.0 for kind, interval in held.items()},
        )


def _quantity(told: dict[str, Any]) -> str | None:
    if told["field"] == "response_mean_s":
        return "mean"
    quantity = "" if told["quantile"] is None else f"p{100 * told['quantile']:g}"
    return quantity if quantity in NAMES else None


def name(cell: dict[str, Any]) -> str:
    """A cell in words."""
    return f"{batching(cell)}, load {cell['key'][0]:g}"


def batching(cell: dict[str, Any]) -> str:
    """What cells of a table have in common."""
    _, size, wait_s, replicas, routing = cell["key"]
    batches = "batches of one" if size == 1 else f"batches up to {size}"
    wait = "" if size == 1 else ", greedy" if wait_s == 0.0 else f", batch wait {1e3 * wait_s:g} ms"
    return batches + wait + ("" if replicas == 1 else f", {replicas} replicas, {routing}")


def page(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown, from the summary down to each cell."""
    found = [row for cell in cells for row in rows(cell)]
    yield from summary(found)
    for title, some in itertools.groupby(cells, batching):
        yield from ["", f"## {title[0].upper()}{title[1:]}", ""]
        yield from table(list(some))


def summary(found: Sequence[Row]) -> Iterator[str]:
    """By quantity and kind of prediction: how many are as near as is aimed at, and the worst."""
    yield "| | aim | prediction | cells within | middle error | worst error | where |"
    yield "|---|---|---|---|---|---|---|"
    for quantity, allowed in ALLOWED.items():
        for kind, title in PREDICTIONS.items():
            errors = {
                row.cell: row.errors[kind] for row in found if row.quantity == quantity and kind in row.errors
            }
            if not errors:
                continue
            worst = max(errors, key=lambda cell: abs(errors[cell]))
            within = sum(abs(error) <= allowed for error in errors.values())
            yield (
                f"| {NAMES[quantity]} | {allowed:.0%} | {title} | {within} of {len(errors)} | "
                f"{median(abs(error) for error in errors.values()):.1%} | {errors[worst]:+.1%} | {worst} |"
            )


def table(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row for each quantity of each cell; what is farther off than is aimed at is bold."""
    yield "| load | runs | | measured (95 %) | predicted | error | replayed | error | own batch times |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        first = f"{cell['key'][0]:g}: {cell['rate_rps']:.0f} rps"
        runs = f"{len(cell['verification']['runs'])} × {cell['duration']}"
        for row in rows(cell):
            yield f"| {first} | {runs} | {NAMES[row.quantity]} | {' | '.join(_figures(row))} |"
            first = runs = ""
        yield f"| | | machine | {machine_drift(cell)} | | | | | |"


def _figures(row: Row) -> Iterable[str]:
    low, value, high = (f"{1e3 * row.measured[end]:.2f}" for end in ("low", "value", "high"))
    yield f"{value} ({low} to {high}) ms"
    for kind in ("stationary", "replay"):
        known = kind in row.predicted
        yield f"{1e3 * row.predicted[kind]:.2f} ms" if known else ""
        yield _error(row, kind)
    yield _error(row, "in_runs")


def _error(row: Row, kind: str) -> str:
    if kind not in row.errors:
        return ""
    text = f"{row.errors[kind]:+.1%}"
    return text if abs(row.errors[kind]) <= ALLOWED[row.quantity] else f"**{text}**"


def machine_drift(cell: dict[str, Any]) -> str:
    """How a lone batch went just before the load, against what the profile says of it."""
    lone = cell["lone_requests"]
    if lone is None:
        return "lone batches not told"
    said_s = cell["lone_batch_said_s"]
    return f"lone batches just before: {lone['batch_s']['value'] / said_s - 1.0:+.1%} from the profile"


def main() -> None:
    print("\n".join(page(read(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
