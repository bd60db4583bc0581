"""The page of predictions beside measurements: made from the cells that were measured, and from nothing else."""

import copy
from pathlib import Path

import pytest
from predicted_table import ALLOWED, PREDICTIONS, name, page, read, rows, summary

FOLDER = Path(__file__).parent.parent / "docs" / "measurements"
CELLS = FOLDER / "predicted-beside-measured.jsonl"
PAGE = FOLDER / "predicted-beside-measured.md"
MADE = (
    "<!-- below: python benchmarks/predicted_table.py docs/measurements/predicted-beside-measured.jsonl -->\n"
)


@pytest.fixture(scope="module")
def cells():
    return read(CELLS)


def test_the_page_is_made_from_the_cells(cells):
    written = PAGE.read_text(encoding="utf-8").partition(MADE)[2]
    assert written.strip() == "\n".join(page(cells)).strip()


def test_each_cell_is_there_once(cells):
    names = [name(cell) for cell in cells]
    assert len(set(names)) == len(names)
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {cell['key'][0]:g}: {cell['rate_rps']:.0f} rps |" in text for cell in cells)


def test_errors_are_those_of_rounds(cells):
    """With one round alone a cell's error is that of its value."""
    alone = {**cells[0], "rounds": [one for one in cells[0]["rounds"] if not one["faults"]][:1]}
    for row in rows(alone):
        low, value, high = row.measured
        assert low <= value <= high
        for kind, error in row.errors.items():
            assert row.predicted[kind][1] == pytest.approx((1.0 + error) * value)


def test_a_round_whose_schedule_was_not_kept_says_nothing(cells):
    broken = copy.deepcopy(cells[0])
    broken["rounds"].append({**copy.deepcopy(broken["rounds"][0]), "faults": ["fell behind"]})
    for quantity in ("mean", "p99"):
        broken["rounds"][-1]["measured"][quantity] = [9.0, 9.0, 9.0]
    assert list(rows(broken)) == list(rows(cells[0]))
    broken["rounds"] = broken["rounds"][-1:]
    assert list(rows(broken)) == []


def test_the_worst_is_the_worst(cells):
    worse = copy.deepcopy(cells)
    for one in worse[-1]["rounds"]:
        one["replayed"]["p99"] = [3.0 * x for x in one["measured"]["p99"]]
    lines = list(summary([row for cell in worse for row in rows(cell)]))
    assert any("| P99 | 15%" in line and f"| +200.0% | {name(worse[-1])} |" in line for line in lines)
    assert len(lines) == 2 + len(ALLOWED) * len(PREDICTIONS)


def test_cells_tell_nothing_of_the_machine_but_what_bears_on_the_figures():
    text = CELLS.read_text(encoding="utf-8")
    assert not [word for word in ("/home", "/root", "/tmp", "/work", "127.0.0.1:") if word in text]
