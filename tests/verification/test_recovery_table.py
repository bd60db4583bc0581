"""The page of recovery, predicted and measured, is that of its rows."""

import json

import numpy as np
import pytest
from recovery_beside_measured import EMULATED, SETTINGS, asked_of, seed_of
from recovery_chance import share_that_succeeds
from recovery_table import agrees, in_short, tables
from serving import ROOT

import capacity as cap
from simulations.stress import outcomes_of

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
    cells = {(row["setting"], row["balancer"]) for row in rows}
    assert {balancer for setting, balancer in cells if setting in ("killed", "paused", "slow")} == {
        "haproxy",
        "nginx",
    }
    assert len(cells) == 18
    assert tables(rows) in PAGE.read_text("utf-8")


def test_the_readme_says_what_the_page_shows():
    rows = [json.loads(line) for line in PAGE.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    assert in_short(rows) in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_a_run_with_its_own_batch_times_is_the_predicted_one(tmp_path):
    """And on another second of nginx's clock it is another run of the same first tries."""
    (tmp_path / "emulated.csv").write_text(EMULATED, encoding="utf-8")
    setting = next(one for one in SETTINGS if (one.name, one.balancer) == ("budget 0.1", "nginx"))
    asked = asked_of(setting, 1.0, 1.0)
    stress = cap.stress(str(tmp_path / "emulated.csv"), **asked, runs=2, only_verdict=True).stress
    outcomes = outcomes_of(seed_of(1), stress)
    first, last = np.searchsorted(outcomes.arrived_s, [stress.begins_s, stress.ends_s])
    wanted = np.mean(~np.isnan(outcomes.answered_s[first:last]))
    assert share_that_succeeds(stress, 1, 1, 0.0) == wanted < 1.0
    assert share_that_succeeds(stress, 1, 1, 0.5) != wanted
