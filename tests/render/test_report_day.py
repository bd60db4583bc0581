"""The day of a saved plan on its report page: what each hour needs, and what its autoscaler costs."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from saved_reports import QUICK, Page, save

import capacity as cap
from capacity.answer.saved_day import judged_by, read_day_costs
from capacity.errors import InputError
from capacity.performance import Interval
from capacity.question.objective import Objective
from capacity.render.autoscaling.report import day_parts

TIMES = pd.DataFrame({"batch_size": [1], "mean_ms": [100.0]})
SHORT = {"requests_max": 2_000_000, "batch_size_max": 1, "hourly_usd": "1"}


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A day of 0.5, 15 and 0.5 rps; one replica serves 10."""
    path = tmp_path / "day.csv"
    path.write_text("time,rate_rps\n00:00,0.5\n08:00,15\n09:00,0.5\n", encoding="utf-8")
    return path


def _saved(answer: dict[str, Any], **limits: dict[float, float]) -> SimpleNamespace:
    """A saved plan with nothing but an answer and an objective."""
    question = SimpleNamespace(objective=Objective.of(**limits))
    return SimpleNamespace(answer=answer, question=question, name="plan.json")


def sections(page: Page) -> dict[str, str]:
    return {one.all("h2")[0].text: re.sub(r"\s+", " ", one.text) for one in page.all("section")}


def test_a_page_has_what_each_hour_of_the_day_needs(day: Path, tmp_path: Path) -> None:
    answer = cap.plan(TIMES, daily=day, slo_p99="500ms", **QUICK, **SHORT)
    saved = save(answer, tmp_path / "plan.json")
    found = sections(Page(cap.report(saved, tmp_path / "report.html").page))
    told = found["The day, hour by hour"]
    peak = answer.plan.replicas
    for row in ("00:00 to 08:00", "0.5 rps", "1", "08:00 to 09:00", "15 rps", str(peak), "09:00 to 24:00"):
        assert row in told
    assert f"An ideal schedule takes {23 + peak} of {24 * peak} replica-hours: " in told
    assert "USD a day" in told
    assert f"--daily {day}" in found["Commands to repeat"]
    assert "The autoscaler over the day" not in found


@pytest.mark.parametrize("quantile", ["P99", "P95"])
def test_a_page_has_the_autoscaler_beside_the_fixed_fleet(day: Path, tmp_path: Path, quantile: str) -> None:
    limit = {f"slo_{quantile.lower()}": "3s"}
    answer = cap.plan(TIMES, daily=day, autoscale="utilization:0.5", **limit, runs=2, **QUICK, **SHORT)
    saved = save(answer, tmp_path / "plan.json")
    told = sections(Page(cap.report(saved, tmp_path / "report.html").page))["The autoscaler over the day"]
    document = json.loads(saved.read_text(encoding="utf-8"))["answer"]["autoscaled"]
    bounds = document["autoscaler"]
    assert (
        f"--autoscale utilization:0.5 with {bounds['replicas_min']} to {bounds['replicas_max']} replicas"
        in told
    )
    assert f"{document['replica_hours']['value']:.1f}" in told
    assert f"{document['smallest_fleet']['replica_hours']['value']:.1f}" in told
    assert "over day.csv" in told
    assert f"replicas at most{quantile}replica-hours" in told


def _costs(limited: str, value: dict[str, float] | None) -> dict[str, Any]:
    return {"replicas_max": 3, limited: value, "replica_hours": {"value": 48.0, "low": 48.0, "high": 48.0}}


def test_the_costs_of_a_day_have_the_limit_on_the_first_token() -> None:
    found = _costs("ttft_p90_s", {"value": 0.5, "low": 0.25, "high": 0.75})
    autoscaled = {**found, "smallest_fleet": _costs("ttft_p90_s", None)}
    saved = _saved({"autoscaled": autoscaled}, ttft={0.9: 2.0})
    both = read_day_costs(saved)
    assert both is not None
    assert both[1] is not None
    assert both[0].limited == (Interval(value=0.5, low=0.25, high=0.75),)
    assert both[1].limited[0].value == math.inf
    assert judged_by(saved)[0].lost_text == "10 %"


@pytest.mark.parametrize("smallest", [None, {"replicas_max": 3}])
def test_costs_without_the_limit_of_the_plan_are_refused(smallest: dict[str, object] | None) -> None:
    limited = "response_p99_s" if smallest is None else "ttft_p90_s"
    saved = _saved({"autoscaled": {**_costs(limited, None), "smallest_fleet": smallest}}, ttft={0.9: 2.0})
    with pytest.raises(InputError, match="has no ttft_p90_s; make the plan again"):
        read_day_costs(saved)


def test_an_autoscaler_with_two_limits_has_a_figure_for_each() -> None:
    found = _costs("response_p50_s", {"value": 0.05, "low": 0.04, "high": 0.06})
    saved = _saved(
        {"autoscaled": {**found, "response_p90_s": None, "smallest_fleet": None}},
        response={0.5: 0.1, 0.9: 2.0},
    )
    both = read_day_costs(saved)
    assert both is not None
    assert [one.value for one in both[0].limited] == [0.05, math.inf]
    with pytest.raises(InputError, match="has no response_p90_s; make the plan again"):
        read_day_costs(_saved({"autoscaled": found}, response={0.5: 0.1, 0.9: 2.0}))


def test_a_plan_for_one_rate_has_no_day() -> None:
    saved = SimpleNamespace(answer={}, name="plan.json")
    assert list(day_parts(saved)) == []


@pytest.mark.parametrize("part", [{"schedule": {"hours": 5}}, {"autoscaled": {"replicas_max": "many"}}])
def test_a_day_that_was_edited_is_refused(part: dict[str, object]) -> None:
    saved = _saved(part, response={0.99: 1.0})
    with pytest.raises(InputError, match=f"answer.{next(iter(part))}"):
        list(day_parts(saved))
