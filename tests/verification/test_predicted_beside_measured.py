"""How rounds of slices are put together, by slices whose figures are known; the rest takes a server and hours."""

import json
from pathlib import Path

import numpy as np
import pytest
from predicted_beside_measured import added, cells, joined, pooled

from capacity.measurement.metrics import Histogram
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.verification.run import LoadRun, Schedule

MEASURED = Path(__file__).parents[2] / "docs" / "measurements" / "predicted-beside-measured.jsonl"


def run(*instants_s, responses_s, lag_s=0.001, warm_up_s=3.0):
    """A slice of 10 s; a response of NaN was not sent."""
    instants_s, responses_s = np.array(instants_s), np.array(responses_s)
    ended_s = instants_s + responses_s
    return LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=10.0),
        warm_up_s=warm_up_s,
        sent_s=np.where(np.isnan(ended_s), np.nan, instants_s + lag_s),
        ended_s=ended_s,
        outcomes=np.where(np.isnan(ended_s), 0, 200),
        replicas=np.zeros(len(instants_s), dtype=np.int64),
    )


def test_slices_are_one_run_without_their_warm_ups():
    one = run(1.0, 4.0, 9.0, responses_s=[9.0, 0.1, 0.2])
    other = run(2.0, 3.0, 5.0, responses_s=[9.0, 0.3, 0.4], lag_s=0.002)
    both = joined([one, other])
    assert both.schedule.instants_s.tolist() == [1.0, 6.0, 7.0, 9.0]
    assert both.window_s == (0.0, 14.0)
    assert both.responses_s == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert both.lags_s() == pytest.approx([0.001, 0.001, 0.002, 0.002])
    assert both.is_complete


def test_what_was_not_sent_is_not_sent_in_the_whole():
    both = joined([run(4.0, 5.0, responses_s=[0.1, np.nan]), run(4.0, 5.0, responses_s=[0.1, 0.1])])
    assert (both.schedule.requests, both.sent, both.counted) == (4, 3, 3)


def test_histograms_add_up_size_by_size():
    bounds_s = (0.1, np.inf)
    first = {1: Histogram(bounds_s=bounds_s, counts=(2, 1), sum_s=0.4)}
    second = {
        1: Histogram(bounds_s=bounds_s, counts=(1, 0), sum_s=0.1),
        4: Histogram(bounds_s=bounds_s, counts=(0, 2), sum_s=0.9),
    }
    found = added([first, second])
    assert found[1] == Histogram(bounds_s=bounds_s, counts=(3, 1), sum_s=0.5)
    assert found[4] == second[4]


def profile(samples_s, **facts):
    timings = (BatchTiming(batch_size=1, samples_s=tuple(samples_s)),)
    return ServiceProfile(name="p", timings=timings, **facts)


def test_each_look_weighs_alike_and_what_only_whole_profiles_tell_is_in_their_middle():
    before = profile([0.1] * 30, request_work_s=0.002, spells=Spells(share=0.2, lasting_s=1.0))
    after = profile([0.4] * 30, request_work_s=0.004, spells=Spells(share=0.6, lasting_s=2.0))
    between = [profile([0.2] * 10), profile([0.3] * 10)]
    found = pooled(before, between, after)
    (timing,) = found.timings
    assert sorted(timing.samples_s) == [0.1] * 10 + [0.2] * 10 + [0.3] * 10 + [0.4] * 10
    assert found.request_work_s == pytest.approx(0.003)
    assert found.spells == Spells(share=0.4, lasting_s=1.5)


def test_without_looks_between_all_samples_count():
    found = pooled(profile([0.1] * 3), [], profile([0.3] * 3))
    assert found.timings[0].samples_s == (0.1,) * 3 + (0.3,) * 3
    assert found.spells is None


def test_every_cell_was_measured_and_none_beside_them():
    lines = MEASURED.read_text(encoding="utf-8").splitlines()
    measured = [tuple(json.loads(line)["key"]) for line in lines]
    wanted = [[tuple(cell.key) for cell in cells(replicas)] for replicas in (1, 2)]
    assert [len(keys) for keys in wanted] == [20, 6]
    assert sorted(measured) == sorted(key for keys in wanted for key in keys)
