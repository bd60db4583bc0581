"""Plans under a recorded trace: one verdict on the trace itself, and one for traffic like it."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import in_process
import pytest

pytestmark = pytest.mark.usefixtures("no_headroom")

BURSTS = Path(__file__).parents[2] / "docs" / "examples" / "bursts.csv"
JASPER = ["--profile", "jasper-7s-t4-fp16", "--arrivals", f"trace:{BURSTS}", "--batch-size-max", "8"]
SMALL = ["--batch-wait", "0ms", "--replicas-max", "8"]
ONE = {"schema_version": 1, "name": "one", "timings": [{"batch_size": 1, "mean_ms": 10.0}]}
QUICK = ["--requests-max", "2000000"]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs `capacity` in a folder with a profile of 10 ms, and with a trace of one burst."""
    (tmp_path / "one.json").write_text(json.dumps(ONE), encoding="utf-8")
    instants_s = sorted([*(0.02 * number for number in range(12_000)), *[120.0] * 60])
    (tmp_path / "burst.csv").write_text("t_s\n" + "".join(f"{t_s:.6f}\n" for t_s in instants_s))
    return partial(in_process.capacity, tmp_path)


def document(done: Any, code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def notes(answer: dict[str, Any]) -> dict[str, str]:
    return {one["code"]: one["message"] for one in answer["caveats"]}


def test_a_loss_limit_on_a_trace_does_not_cost_the_plan(run: Any) -> None:
    """5 % of 4,000 requests are fewer than 300, but on the trace as it was recorded nobody is rejected."""
    asked = ["--slo-p90", "200ms", "--queue-limit", "64", "--loss-max", "5%"]
    answer = document(run("plan", *JASPER, *SMALL, *asked, "--json", "-o", "plan.json"))
    assert (answer["verdict"], answer["recommendation"]["replicas"]) == ("met", 1)
    assert answer["performance"]["loss_probability"] == 0.0
    assert answer["verdict_like_it"] == "inconclusive"
    assert "only a few bursts of the trace determine its loss" in notes(answer)["trace_few_bursts"]
    checked = document(run("check", "--plan", "plan.json", "--json"))
    assert (checked["verdict"], checked["verdict_like_it"]) == ("met", "inconclusive")
    assert checked["reproduced"] is True
    assert any("only a few bursts of the trace determine its loss" in note for note in checked["notes"])


def test_a_trace_of_many_bursts_speaks_for_traffic_like_it_too(run: Any) -> None:
    answer = document(run("plan", *JASPER, *SMALL, "--slo-p90", "200ms", "--json"))
    assert (answer["verdict"], answer["verdict_like_it"]) == ("met", "met")
    assert "which meets the objective too" in notes(answer)["trace_one_path"]


def test_one_burst_that_the_trace_has_room_for_costs_no_replica(run: Any) -> None:
    """Of 12,060 requests 58 or so are late, 0.5 % of the 1 % allowed, all of them in one of twenty sections."""
    asked = ["--profile", "one.json", "--arrivals", "trace:burst.csv", *QUICK]
    answer = document(run("plan", *asked, "--slo-p99", "100ms", "--json", "-o", "plan.json"))
    assert (answer["verdict"], answer["recommendation"]["replicas"]) == ("met", 1)
    assert answer["verdict_like_it"] == "inconclusive"
    explained = document(run("explain", "plan.json", "--json"))
    assert (explained["verdict"], explained["verdict_like_it"]) == ("met", "inconclusive")
    assert any("only a few bursts" in one["how"] for one in explained["explanation"]["assumptions"])
    simulated = document(run("simulate", *asked, "--replicas", "1", "--json"))
    p99 = answer["performance"]["response_quantiles_s"]["0.99"]
    assert simulated["performance"]["response_quantiles_s"]["0.99"] == p99
    assert "trace_few_bursts" in notes(simulated)


def test_a_trace_that_is_late_is_missed_and_not_in_doubt(run: Any) -> None:
    asked = ["--profile", "one.json", "--arrivals", "trace:burst.csv", *QUICK, "--replicas-max", "1"]
    answer = document(run("plan", *asked, "--slo-p99", "9.9ms", "--json"), 3)
    assert answer["verdict"] == "missed"
    assert "verdict_like_it" not in answer  # nothing was recommended
    done = run("plan", *asked, "--slo-p99", "100ms", "--json", "-o", "plan.json")
    assert done.returncode == 0
    checked = document(run("check", "--plan", "plan.json", "--rate", "90rps", "--json"), 3)
    assert checked["verdict"] == "missed"


def test_a_plan_without_a_trace_has_one_verdict(run: Any) -> None:
    asked = ["--profile", "one.json", "--rate", "10rps", "--slo-p99", "100ms"]
    assert "verdict_like_it" not in document(run("plan", *asked, *QUICK, "--json"))
