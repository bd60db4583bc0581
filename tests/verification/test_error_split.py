"""How an error is split: slices that the simulator served itself, of which each part of the error is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from error_split import PARTS, QUANTITIES, STAGES, WHOLE, Kept, in_common, page, parts, quantities, stages
from predicted_beside_measured import Cell

from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed, draw
from simulations.draws.service import ProfileTimes
from simulations.kernel.serve import run

FOLDER = Path(__file__).parents[2] / "docs" / "measurements"
SLICES, PAGE = FOLDER / "error-split.jsonl", FOLDER / "predicted-beside-measured.md"
MADE = "<!-- below: python benchmarks/error_split.py docs/measurements/error-split.jsonl -->\n"
BESIDE_S = 0.001
CELL = Cell(load=0.8, batch_size_max=4, batch_wait_max_s=0.0)


def profile(factor=1.0):
    spread = np.linspace(0.5, 1.5, 101)
    timings = (
        BatchTiming(batch_size=size, samples_s=tuple(factor * mean_s * spread))
        for size, mean_s in ((1, 0.010), (4, 0.016))
    )
    return ServiceProfile(name="p", timings=tuple(timings))


def served(by, lag_s=0.0):
    """A slice that a simulated server with this profile served, some of whose requests were sent late."""
    draws = draw(Workload(arrival_rate_rps=200.0), 3000, Seed(value=7))
    sent_s = np.maximum.accumulate(draws.arrived_s + lag_s)
    records = run(CELL.plan, ProfileTimes(by), replace(draws, arrived_s=sent_s))
    return Kept(
        meant_s=draws.arrived_s,
        sent_s=sent_s,
        ended_s=records.finished_s + BESIDE_S,
        batch_s=records.finished_s - records.started_s,
        batch_size=records.batch_size,
    )


def split(kept, before, after):
    found = stages(CELL, kept, before, after, BESIDE_S, copies=10)
    return {stage: quantities(found[stage]) for stage in STAGES}


@pytest.mark.parametrize("name", QUANTITIES)
def test_what_the_simulator_served_itself_has_no_error_of_model_generator_or_drift(name):
    found = parts(split(served(profile()), profile(), profile()), name)
    assert found["model"] == pytest.approx(0.0, abs=1e-9)
    assert (found["generator"], found["drift"]) == (
        pytest.approx(0.0, abs=1e-9),
        pytest.approx(0.0, abs=1e-9),
    )
    assert abs(found["profile"]) < 0.12  # chance: another draw of 3,000 batches


def test_a_slice_of_slower_batches_is_an_error_of_the_profile():
    found = parts(split(served(profile(1.2)), profile(), profile()), "mean")
    assert found["profile"] < -0.2
    assert found["drift"] == pytest.approx(0.0, abs=1e-9)
    assert found["model"] == pytest.approx(0.0, abs=1e-9)


def test_spells_that_are_not_there_lengthen_the_prediction():
    spelled = replace(profile(), spells=Spells(share=0.8, lasting_s=1.0))
    found = parts(split(served(profile()), spelled, spelled), "p99")
    assert found["of that spells"] > 0.1
    assert abs(found["order"]) < found["of that spells"]


def test_what_the_profile_afterwards_knows_is_drift_and_no_longer_profile():
    kept = served(profile(1.1))
    without, found = (parts(split(kept, profile(), after), "mean") for after in (profile(), profile(1.2)))
    assert found["drift"] < -0.05
    assert found["drift"] + found["profile"] == pytest.approx(without["profile"])


def test_late_requests_are_an_error_of_the_generator():
    """Every fortieth is late by 60 ms, and with it those due meanwhile, which no replay of the instants at which they were meant to be sent can know."""
    lag_s = np.where(np.arange(3000) % 40 == 0, 0.060, 0.0)
    found = parts(split(served(profile(), lag_s), profile(), profile()), "mean")
    assert found["generator"] < -0.1
    assert found["model"] == pytest.approx(0.0, abs=1e-9)


def test_what_neighbours_have_in_common():
    apart_s = np.random.default_rng(1).exponential(size=4000)
    assert in_common(apart_s) == pytest.approx(0.0, abs=0.05)
    assert in_common(np.sort(apart_s)) == pytest.approx(1.0, abs=0.05)


def test_parts_add_up_to_the_error():
    found = parts(split(served(profile(1.1)), profile(), profile(1.3)), "p99")
    assert sum(found[part] for part in WHOLE) == pytest.approx(found["error"])
    assert set(found) == {"error", *PARTS}
    assert found["of that spells"] + found["times"] + found["order"] == pytest.approx(found["profile"])


def test_the_page_is_made_from_the_slices():
    cells = [json.loads(line) for line in SLICES.read_text(encoding="utf-8").splitlines()]
    written = PAGE.read_text(encoding="utf-8").partition(MADE)[2].partition("\n## ")[0]
    assert written.strip() == "\n".join(page(cells)).strip()
