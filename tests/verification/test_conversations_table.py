"""The table of sessions behind real routers: what the page says is what its rows say."""

from pathlib import Path

import conversations
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "measurements"
ROWS = [
    conversations.json.loads(line)
    for line in (FOLDER / "conversations.jsonl").read_text("utf-8").splitlines()
]
PAGE = (FOLDER / "conversations.md").read_text("utf-8")
MADE = (
    "<!-- below: python benchmarks/conversations.py -o docs/measurements/conversations.jsonl --table -->\n\n"
)


def test_the_page_has_the_table_of_its_rows():
    assert PAGE.partition(MADE)[2] == conversations.table(ROWS) + "\n"


def test_every_row_was_sent_in_time_and_answered():
    for row in ROWS:
        assert not row["faults"]
        assert set(row["statuses"]) == {"200"}


def test_what_is_farther_off_than_wanted_is_bold():
    found = {"measured": {"value": 0.1}, "replay": {"value": 0.104}, "stationary": {"value": 0.102}}
    row = {"target": "nginx", "routing": "session", "lag_p99_s": 1e-4, "date": "2026-12-01"}
    row["rows"] = dict.fromkeys(conversations.SHOWN, found)
    assert list(conversations.cells(row))[2:5] == ["100.0 ms", "**+4.0 %**", "+2.0 %"]
    assert conversations.error(row, "hits", "replay") == pytest.approx(0.004)
