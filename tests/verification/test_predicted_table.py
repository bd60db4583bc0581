"""The page of predictions beside measurements: made from the cells that were measured, and from nothing else."""

import copy
import math
from pathlib import Path

import pytest
from predicted_table import (
    ALLOWED,
    PREDICTIONS,
    foundation,
    is_late,
    name,
    page,
    read,
    rows,
    summary,
    table,
    used,
)

FOLDER = Path(__file__).parents[2] / "docs" / "measurements"
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
    assert all(f"| {cell['key'][0]:g}: {cell['rate_rps']:.0f} rps" in text for cell in cells)


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


def test_a_cell_without_such_a_round_is_told_and_not_counted(cells):
    late = copy.deepcopy(cells)
    for one in late[0]["rounds"]:
        one["faults"] = ["fell behind"]
    lines = list(page(late))
    first = f"| {late[0]['key'][0]:g}: {late[0]['rate_rps']:.0f} rps"
    assert any(line.startswith(f"{first} (late) | mean | ") for line in lines)
    counted = {(row.cell, row.quantity) for cell in late if not is_late(cell) for row in rows(cell)}
    alone = [cell for cell in late[1:] if cell["key"][3] == 1 and not is_late(cell)]
    assert list(summary([row for cell in alone for row in rows(cell)])) == lines[: 2 + 12]
    assert name(late[0]) not in {cell for cell, _ in counted}


def test_a_round_that_its_profile_cannot_sustain_is_beyond_all_bounds(cells):
    cell = copy.deepcopy(next(one for one in cells if len(one["rounds"]) == 3 and not is_late(one)))
    cell["rounds"] = [{**one, "faults": []} for one in cell["rounds"]]
    before = {row.quantity: row.predicted["predicted"][1] for row in rows(cell)}
    for one in cell["rounds"][:2]:
        one["predicted"] = {quantity: [None, None, None] for quantity in one["predicted"]}
        found = {row.quantity: row for row in rows(cell)}
        values = [found[quantity].predicted["predicted"][1] for quantity in before]
        if one is cell["rounds"][0]:
            assert all(
                before[quantity] <= value < math.inf for quantity, value in zip(before, values, strict=True)
            )
    assert set(values) == {math.inf}
    assert found["p99"].errors["predicted"] == math.inf
    assert sum("**unstable**" in line for line in table([cell])) == len(before)


def test_the_worst_is_the_worst(cells):
    worse = [cell for cell in copy.deepcopy(cells) if not is_late(cell)]
    for one in worse[-1]["rounds"]:
        one["replayed"]["p99"] = [3.0 * x for x in one["measured"]["p99"]]
    lines = list(summary([row for cell in worse for row in rows(cell)]))
    assert any("| P99 | 15%" in line and f"| +200.0% | {name(worse[-1])}" in line for line in lines)
    assert len(lines) == 2 + len(ALLOWED) * len(PREDICTIONS)


def test_a_quantile_that_is_not_told_is_none_within(cells):
    some = [cell for cell in copy.deepcopy(cells) if not is_late(cell)]
    for one in some[0]["rounds"]:
        one["predicted"].pop("p95")
    lines = list(summary([row for cell in some for row in rows(cell)]))
    (line,) = [line for line in lines if line.startswith("| P95 |") and "| from the profile |" in line]
    assert f" of {len(some)} |" in line
    assert f"not told: {name(some[0])}" in line


def test_a_quantile_of_some_rounds_is_theirs_and_says_so(cells):
    cell = copy.deepcopy(next(one for one in cells if not is_late(one) and len(used(one)) == 3))
    used(cell)[0]["replayed"].pop("p95")
    (row,) = [row for row in rows(cell) if row.quantity == "p95"]
    pairs = [(one["replayed"]["p95"][1], one["measured"]["p95"][1]) for one in used(cell)[1:]]
    assert row.errors["replayed"] == pytest.approx(sum(told / found - 1.0 for told, found in pairs) / 2)
    assert row.of_medians["replayed"] == pytest.approx(
        sum(told for told, _ in pairs) / sum(found for _, found in pairs) - 1.0
    )
    assert row.told_in == {"replayed": "2 of 3"}
    assert sum("(2 of 3)" in line for line in table([cell])) == 1


def test_errors_of_medians_are_of_what_stands_beside_them(cells):
    for cell in cells:
        for row in rows(cell):
            quotient = row.predicted["predicted"][1] / row.measured[1] - 1.0
            assert row.of_medians["predicted"] == pytest.approx(quotient)


def test_a_summary_says_on_how_many_rounds_it_rests(cells):
    some = [copy.deepcopy(cells[0]) for _ in range(3)]
    assert list(foundation(some)) == ["Of these 3 cells each rests on 3 rounds or more."]
    for one, count in zip(some, (1, 2, 3), strict=True):
        one["rounds"] = one["rounds"][:count]
    (line,) = foundation(some)
    assert line.startswith("Of these 3 cells 2 rest on fewer than 3 rounds")
    assert line.endswith(", 1 of them on one.")


def test_counted_times_of_the_first_replica_are_not_taken_for_all(cells):
    kinds = {cell["key"][3]: {kind for row in rows(cell) for kind in row.errors} for cell in cells}
    assert kinds == {1: set(PREDICTIONS), 2: set(PREDICTIONS) - {"own_times"}}


def test_the_readme_sums_up_what_the_table_has(cells):
    text = " ".join((FOLDER.parent.parent / "README.md").read_text(encoding="utf-8").split())
    found = [row for cell in cells if cell["key"][3] == 1 and not is_late(cell) for row in rows(cell)]
    within = [
        sum(abs(row.errors["predicted"]) <= ALLOWED[quantity] for row in found if row.quantity == quantity)
        for quantity in ALLOWED
    ]
    assert (
        "within the aim in {} (mean, 5 %), {} (P50, 5 %), {} (P95, 10 %) and {} (P99, 15 %)".format(*within)
        in text
    )
    ones = [row for row in found if row.cell.startswith("batches of one") and row.quantity == "mean"]
    least, most = (round(-100 * end(row.errors["predicted"] for row in ones)) for end in (max, min))
    assert f"too low at every load, by {least} to {most} % in the mean" in text


def test_cells_tell_nothing_of_the_machine_but_what_bears_on_the_figures():
    text = CELLS.read_text(encoding="utf-8")
    assert not [word for word in ("/home", "/root", "/tmp", "/work", "127.0.0.1:") if word in text]
