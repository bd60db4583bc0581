"""Answers of `autoscale`, for days that were never simulated, and the arguments it takes from Python."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from planned import ENGINES
from questions import engine_question
from test_causes import PROFILE, days
from test_screens import fixed, held, scaled, screen

import capacity as cap
from capacity.answer.documents import dumps, plan_document
from capacity.answer.saved_plan import plan_file_document
from capacity.answers.autoscale import AutoscaleAnswer
from capacity.api.autoscale import _curve, _effort
from capacity.autoscaling.findings import Course, ScaledScreen
from capacity.errors import InputError
from capacity.profile.load import load_llm
from capacity.question.autoscaler import (
    STABILIZATION_S,
    Autoscaler,
    read_target,
    require_bounds,
    require_whole,
    with_durations,
)
from capacity.question.budget import Effort
from capacity.question.objective import Objective
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import Workload


def answer_of(shown: ScaledScreen) -> AutoscaleAnswer:
    return AutoscaleAnswer(screen=shown, effort=Effort(seed=4, confidence=0.9), runs=3)


def test_a_row_for_each_fleet() -> None:
    found = replace(
        days(), course=Course(arrived=(60.0, 61.0), late=(1.0, 0.0), wanted=(2.0, 3.0), ready=(1.0, 2.0))
    )
    remedy = scaled(held(days()), replicas_min=2)
    answer = answer_of(screen(found, None, fixed(3), [remedy]))
    assert (answer.limited_s, answer.fleet) == (found.binding.found_s, found.fleet)
    first, second, third = answer.rows()
    assert [row["fleet"] for row in (first, second, third)] == ["autoscaled", "fixed", "remedy"]
    assert (first["target"], first["replicas_min"], first["replicas_max"]) == ("utilization:0.6", 1, 4)
    assert first["late_share"] == 0.1
    assert first["cost_usd"] == 96.0  # 48 hours at 2 USD
    assert (second["target"], second["replicas_min"], second["replicas_max"]) == (None, 3, 3)
    assert (third["replicas_min"], third["response_p99_s"]) == (2, 0.4)
    assert [row["fleet"] for row in answer_of(screen(found)).rows()] == ["autoscaled"]
    frame = answer.course()
    assert frame["time_s"].tolist() == [found.fleet.begins_s, found.fleet.begins_s + 60.0]
    assert (frame["wanted"].tolist(), frame["ready"].tolist()) == ([2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(("is_held", "verdict", "code"), [(True, "met", 0), (False, "missed", 3)])
def test_the_document_has_the_verdict_and_each_fleet(is_held: bool, verdict: str, code: int) -> None:
    found = held(days()) if is_held else days()
    remedy = scaled(held(days()), replicas_min=2)
    document = json.loads(json.dumps(answer_of(screen(found, None, fixed(3), [remedy])).to_dict()))
    assert (document["verdict"], document["exit_code"]) == (verdict, code)
    assert document["smallest_fleet"]["autoscaler"] is None
    assert document["smallest_fleet"]["replicas_max"] == 3
    assert document["autoscaled"]["autoscaler"]["target"] == "utilization:0.6"
    assert [one["setting"] for one in document["remedies"]] == ["--replicas-min 2"]
    assert (document["runs"], document["seed"], document["confidence"]) == (3, 4, 0.9)
    assert document["objective"] == {"response_quantiles_s": {"0.99": 0.5}}
    alone = answer_of(screen(found)).to_dict()
    assert (alone["smallest_fleet"], alone["remedies"]) == (None, [])


@pytest.mark.parametrize(
    ("value", "least", "most", "said"),
    [
        (2, 2, 1000, None),
        (1000, 2, 1000, None),
        (5000, 2, None, None),
        (1, 2, 1000, "--runs must be a whole number from 2 to 1000, got 1"),
        (1001, 2, 1000, "--runs must be a whole number from 2 to 1000, got 1001"),
        (1, 2, None, "--runs must be a whole number of 2 or more, got 1"),
        (True, 0, None, "--runs must be a whole number of 0 or more, got True"),
        (2.0, 0, None, "--runs must be a whole number of 0 or more, got 2.0"),
    ],
)
def test_whole_numbers_have_bounds(value: Any, least: int, most: int | None, said: str | None) -> None:
    if said is None:
        require_whole("--runs", value, least, most)
        return
    with pytest.raises(InputError) as refused:
        require_whole("--runs", value, least, most)
    assert str(refused.value) == said


def test_the_range_of_replicas_is_checked() -> None:
    require_bounds(0, 10_000)
    require_bounds(10_000, 10_000)
    for least, most, said in (
        (1, 10_001, "--replicas-max must be at most 10000, got 10001; look at a part"),
        (5, 4, "--replicas-min 5 is above --replicas-max 4; swap them"),
    ):
        with pytest.raises(InputError, match=said):
            require_bounds(least, most)


def test_a_time_that_lengthens_the_warm_up_is_a_day_at_most() -> None:
    usual = Autoscaler(target=read_target("utilization:0.6"), replicas_max=3, metric_lag_s=7.0)

    def lag_s(seconds: float | None) -> float:
        asked = SimpleNamespace(metric_lag=seconds, startup_time=None, stabilization=None)
        return with_durations(usual, asked).metric_lag_s

    assert [lag_s(seconds) for seconds in (None, 86_400.0, 0.0)] == [7.0, 86_400.0, 0.0]
    for seconds in (86_401.0, -1.0):
        with pytest.raises(InputError, match="--metric-lag must be from 0s to 24h, got"):
            lag_s(seconds)


def test_a_rate_is_the_same_all_day(tmp_path: Path) -> None:
    found = _curve(2.5, None)
    assert (found.times_s, found.rates_rps, found.name) == ((0.0,), (2.5,), "constant rate")
    with pytest.raises(InputError, match="give the traffic of the day: --daily"):
        _curve(None, None)
    day = tmp_path / "day.csv"
    day.write_text("time,rate_rps\n00:00,100\n12:00,250\n", encoding="utf-8")
    assert _curve(None, day).rates_rps == (100.0, 250.0)
    with pytest.raises(InputError, match="--daily has the rates of the day; leave out --rate"):
        _curve(2.5, str(day))


def test_an_effort_of_another_type_is_refused() -> None:
    assert _effort(0, 0.9, 1) == Effort(seed=0, confidence=0.9, workers=1)
    assert _effort(3, 0.5, None).workers is None
    for given, said in (
        ((-1, 0.9, None), "--seed must be a whole number of 0 or more, got -1"),
        ((0, "x", None), "--confidence must be a number, such as 0.95, got 'x'"),
        ((0, 0.9, 0), "--workers must be a whole number of 1 or more, got 0"),
    ):
        with pytest.raises(InputError, match=f"^{said}$"):
            _effort(*given)  # type: ignore[arg-type]


def test_by_default_a_whole_day_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an autoscaler that reacts at once, and batches up to the largest of the profile."""
    asked: list[Any] = []

    @contextmanager
    def at_work(effort: Effort, progress: Any) -> Any:
        yield SimpleNamespace(mapper=map, report=progress)

    monkeypatch.setattr("capacity.api.work.at_work", at_work)
    monkeypatch.setattr(
        "capacity.autoscaling.comparison.screen",
        lambda *given, **how: asked.append((*given, how)) or "screen",
    )
    told: list[str] = []
    answer = cap.autoscale(PROFILE, rate="5rps", slo_p99="1s", runs=2, seed=3, progress=told.append)
    ((fleet, judge, _, how),) = asked
    assert (answer.screen, answer.runs, answer.effort.seed) == ("screen", 2, 3)
    assert (fleet.begins_s, fleet.ends_s, fleet.limits[0].allowed) == (0.0, 86_400.0, 1.0)
    assert (fleet.autoscaler.startup_s, fleet.autoscaler.metric_lag_s) == (0.0, 0.0)
    assert fleet.autoscaler.stabilization_s == STABILIZATION_S
    assert (fleet.plan.batch_size_max, fleet.plan.batch_wait_max_s) == (PROFILE.batch_size_max, 0.0)
    assert fleet.plan.replicas == fleet.autoscaler.replicas_max
    assert (judge.seed, judge.runs, how) == (3, 2, {"only_verdict": False})
    assert told == [f"2 runs of {fleet.requests:.3g} requests each for every fleet"]


LINE = Path(__file__).parents[1] / "kept" / "files" / "line.json"
SHORTLY = {"rate": "1rps", "between": "00:00-00:20", "slo_ttft_p90": "2s", "runs": 2, "only_verdict": True}


def test_engines_take_a_start_up_with_the_usual_target() -> None:
    found = cap.autoscale(LINE, lengths="input=constant:28;output=constant:37", startup_time="30s", **SHORTLY)
    scaler = found.fleet.autoscaler
    assert scaler is not None
    assert (str(scaler.target), scaler.startup_s) == ("utilization:0.6", 30.0)


def test_a_saved_plan_of_engines_takes_a_start_up(tmp_path: Path) -> None:
    question = engine_question(
        profiles=(load_llm(LINE),),
        workload=Workload(arrival_rate_rps=1.0),
        lengths=LengthRows((28,), (37,), "lengths", 0),
        objective=Objective.of(ttft={0.9: 2.0}),
    )
    answer = {"verdict": "met", "recommendation": plan_document(replace(ENGINES, replicas=1))}
    saved = tmp_path / "plan.json"
    saved.write_text(dumps(plan_file_document(question, Effort(), None, answer)), encoding="utf-8")
    part = {name: SHORTLY[name] for name in ("between", "runs", "only_verdict")}
    found = cap.autoscale(plan=saved, startup_time="45s", **part)
    assert found.fleet.autoscaler is not None
    assert found.fleet.autoscaler.startup_s == 45.0
