"""Answers of `stress`: attributes, rows, course and document, from runs that were made up."""

import json
import math
from dataclasses import replace

import pytest
from stresses import fleet_in_trouble, run_of

from capacity.answers.recovery import StressAnswer
from capacity.performance import Interval
from capacity.question.budget import Effort
from capacity.recovery.findings import Course, Remedy, Runs, Screen, SpikeSurvived
from capacity.recovery.fluid import fluid

STRESS = fleet_in_trouble()
LARGE = fleet_in_trouble(replicas=6)


def runs(*found, stress=STRESS):
    return Runs(stress=stress, runs=found, confidence=0.95)


def made_up(**changes) -> StressAnswer:
    asked = runs(
        run_of(8.0, goodput=0.5, lost=10, p99_s=0.25, relapsed=True),
        run_of(None, goodput=0.75, lost=30, p99_s=0.5),
    )
    screen = Screen(
        found=asked,
        fluid=fluid(STRESS),
        remedies=(Remedy(setting="--attempts 1", found=runs(run_of(2.0), run_of(4.0))),),
        smallest=runs(run_of(1.0), run_of(3.0), stress=LARGE),
        spikes=(
            SpikeSurvived(factor=1.5, lasting_s=None, searched_s=math.inf),
            SpikeSurvived(factor=3.0, lasting_s=Interval(value=8.0, low=6.0, high=10.0), searched_s=600.0),
        ),
    )
    return StressAnswer(screen=replace(screen, **changes), effort=Effort(seed=7, confidence=0.95))


def test_attributes_are_those_of_the_runs() -> None:
    answer = made_up()
    assert answer.stress is STRESS
    assert answer.recovered.value == 0.5
    assert answer.recovery_s == Interval(value=8.0, low=0.0, high=math.inf)
    assert answer.exit_code == 4
    assert made_up(found=runs(run_of(1.0), run_of(2.0))).exit_code == 0
    assert made_up(found=runs(run_of(None), run_of(None))).exit_code == 3


def test_rows_are_the_fleet_the_smallest_and_each_setting() -> None:
    answer = made_up()
    as_is, smallest, setting = answer.rows()
    assert as_is == {
        "setting": "as it is",
        "replicas": 4,
        "recovered": 0.5,
        "recovered_low": pytest.approx(0.0126, abs=1e-4),  # Clopper-Pearson of 1 in 2
        "recovered_high": pytest.approx(0.9874, abs=1e-4),
        "recovery_s": 8.0,
        "goodput_during": 0.625,
        "lost": 20.0,
    }
    assert (smallest["setting"], smallest["replicas"], smallest["recovery_s"]) == ("smallest fleet", 6, 2.0)
    assert (setting["setting"], setting["replicas"], setting["recovery_s"]) == ("--attempts 1", 4, 3.0)
    (alone,) = made_up(found=runs(run_of(None)), smallest=None, remedies=()).rows()
    assert alone["recovery_s"] is None


def test_the_document_says_what_was_found_and_what_was_asked() -> None:
    document = json.loads(json.dumps(made_up().to_dict()))
    assert (document["runs"], document["relapsed"], document["exit_code"]) == (2, 1, 4)
    assert document["recovered"]["value"] == 0.5
    assert document["recovery_s"] == {"value": 8.0, "low": 0.0, "high": None}
    assert (document["goodput_during"], document["lost"]) == (0.625, 20.0)
    assert document["response_p99_during_s"]["value"] == 0.375
    assert document["intervals"]["lost"]["low"] == 0.0
    assert document["intervals"]["goodput_during"] == {"low": 0.0, "high": 1.0}
    assert document["smallest_fleet"] == 6
    assert [(one["setting"], one["recovered"]["value"]) for one in document["remedies"]] == [
        ("--attempts 1", 1.0)
    ]
    assert document["spikes_survived"] == [
        {"factor": 1.5, "lasting_s": None, "searched_s": None},
        {"factor": 3.0, "lasting_s": {"value": 8.0, "low": 6.0, "high": 10.0}, "searched_s": 600.0},
    ]
    assert document["plan"]["replicas"] == 4
    assert (document["arrival_rate_rps"], document["capacity_rps"]) == (320.0, pytest.approx(400.0))
    assert document["load"] == pytest.approx(0.8)
    assert document["clients"]["attempts"] == 3
    assert document["clients"]["retried"] == ["crashed", "rejected", "timed_out"]
    assert (document["seed"], document["confidence"], document["horizon_s"]) == (7, 0.95, 600.0)
    bare = made_up(found=runs(run_of(None), run_of(None)), smallest=None, remedies=(), spikes=()).to_dict()
    assert (bare["smallest_fleet"], bare["remedies"], bare["spikes_survived"]) == (None, [], [])
    assert (bare["recovery_s"], bare["response_p99_during_s"]) == (None, None)


def test_the_course_is_second_by_second_from_the_trigger() -> None:
    """The mean of two runs, up to the end of the shorter; attempts only while both are known."""
    begins = int(STRESS.begins_s)
    courses = [
        Course(came=(10,) * (begins + 3), succeeded=(10,) * begins + (5, 0, 10), sent=(10,) * (begins + 2)),
        Course(came=(10,) * (begins + 9), succeeded=(10,) * begins + (10,) * 9, sent=(30,) * (begins + 9)),
    ]
    frame = made_up(found=runs(*(replace(run_of(1.0), course=course) for course in courses))).course()
    assert frame["second"].tolist() == list(range(-begins, 3))
    assert frame["success"].tolist() == [1.0] * begins + [0.75, 0.5, 1.0]
    assert frame["attempts_rps"].tolist()[:-1] == [20.0] * (begins + 2)
    assert math.isnan(frame["attempts_rps"].iloc[-1])
