"""The page of recovery, predicted and measured, is that of its rows."""

import json

import pytest
from recovery_table import agrees, tables
from serving import ROOT

PAGE = ROOT / "docs" / "measurements" / "recovery-beside-measured.md"


@pytest.mark.parametrize(
    ("predicted_s", "measured_s", "wanted"),
    [
        (18.0, 20.0, True),
        (10.0, 12.5, False),
        (35.0, 40.0, True),
        (33.0, 40.0, False),
        (None, None, True),
        (None, 40.0, False),
        (40.0, None, False),
    ],
)
def test_a_time_to_recover_may_be_off_by_fifteen_per_cent_or_two_seconds(predicted_s, measured_s, wanted):
    assert agrees(predicted_s, measured_s) is wanted


def test_the_page_has_the_tables_of_all_rows():
    rows = [json.loads(line) for line in PAGE.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    assert len({row["setting"] for row in rows}) == 6
    assert tables(rows) in PAGE.read_text("utf-8")
