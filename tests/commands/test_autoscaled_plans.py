"""`capacity plan --autoscale` as somebody types it: the answer, its JSON, the saved plan, exit codes and mistakes."""

import contextlib
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import in_process
import pytest
import yaml

import capacity as cap
from capacity.traffic.daily import DAY_S, read_daily_curve

Command = Callable[..., "subprocess.CompletedProcess[str]"]

DAY = ["--profile", "flat.csv", "--daily", "day.csv", "--slo-p99", "1s", "--runs", "2"]
ONE = [
    *DAY, "--hourly-usd", "2", "--startup-time", "60s", "--metric-lag", "15s", "--autoscale",
    "utilization:0.6",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of one take 100 ms; a day of 3, 15 and 5 rps."""
    path = tmp_path_factory.mktemp("controlled")
    (path / "flat.csv").write_text("batch_size,mean_ms\n1,100\n", encoding="utf-8")
    (path / "day.csv").write_text("time,rate_rps\n00:00,3\n08:00,15\n20:00,5\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def capacity(folder: Path) -> Command:
    return partial(in_process.capacity, folder)


@pytest.fixture(scope="module")
def planned(folder: Path, capacity: Command) -> "subprocess.CompletedProcess[str]":
    """A plan for one target, printed as JSON and saved."""
    return capacity("plan", *ONE, "--json", "-o", "plan.json")


def test_the_bounds_of_a_target_are_chosen_and_checked_on_fresh_numbers(planned: Any) -> None:
    found = json.loads(planned.stdout)
    assert (planned.returncode, found["verdict"], found["exit_code"]) == (0, "met", 0)
    scaled = found["autoscaled"]
    assert (scaled["verdict"], scaled["asked"]) == ("met", "utilization:0.6")
    scaler = scaled["autoscaler"]
    assert (scaler["target"], scaler["startup_s"], scaler["metric_lag_s"]) == ("utilization:0.6", 60.0, 15.0)
    assert 1 <= scaler["replicas_min"] < scaler["replicas_max"] == scaled["replicas_max"]
    assert scaled["response_p99_s"]["high"] <= 1.0
    assert 2 <= scaled["runs"] <= 8
    assert scaled["confidence"] > 0.95
    assert scaled["day"]["rates_rps"] == [3.0, 15.0, 5.0]


def test_what_it_saves_is_beside_the_smallest_fixed_fleet(planned: Any) -> None:
    scaled = json.loads(planned.stdout)["autoscaled"]
    fixed = scaled["smallest_fleet"]
    assert fixed["autoscaler"] is None
    assert fixed["replica_hours"]["value"] == 24.0 * fixed["replicas_max"] == 48.0
    assert fixed["response_p99_s"]["high"] <= 1.0
    for end, other in (("value", "value"), ("low", "high"), ("high", "low")):
        saved = 1.0 - scaled["replica_hours"][other] / 48.0
        assert math.isclose(scaled["saved_share"][end], saved, abs_tol=1e-12)
    assert scaled["cost_usd"]["value"] == 2.0 * scaled["replica_hours"]["value"]


def test_the_saved_plan_has_the_autoscaler(planned: Any, folder: Path) -> None:
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert saved["answer"]["autoscaled"] == json.loads(planned.stdout)["autoscaled"]


def test_the_rendered_autoscaler_is_that_of_the_plan(planned: Any, capacity: Command) -> None:
    scaler = json.loads(planned.stdout)["autoscaled"]["autoscaler"]
    done = capacity("render", "plan.json", "--target", "kubernetes")
    (hpa,) = (one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "HorizontalPodAutoscaler")
    spec = hpa["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (scaler["replicas_min"], scaler["replicas_max"])
    assert spec["metrics"][0]["pods"]["target"]["averageValue"] == "600m"
    repeated = "--daily day.csv --autoscale utilization:0.6 --metric-lag 15s --startup-time 60s --runs 2"
    assert repeated in " ".join(done.stdout.replace("\n#", "").split())


def test_a_saved_plan_is_judged_over_its_day_and_flags_replace_it(planned: Any, capacity: Command) -> None:
    """Its own autoscaler and limit at first; then another target, bound, limit and part of the day."""
    chosen = json.loads(planned.stdout)["autoscaled"]
    asked = ["--plan", "plan.json", "--only-verdict", "--runs", "2", "--json"]
    found = json.loads(capacity("autoscale", *asked).stdout)
    assert found["autoscaled"]["autoscaler"] == chosen["autoscaler"]
    assert (found["objective"], found["plan"]) == ({"response_quantiles_s": {"0.99": 1.0}}, chosen["plan"])
    assert (found["traffic"]["peak_rate_rps"], found["replica_hourly_usd"]) == (15.0, 2.0)
    others = [
        "--autoscale", "concurrency:2", "--replicas-max", "9", "--slo-p99", "2s", "--between", "07:00-09:00",
    ]  # fmt: skip
    found = json.loads(capacity("autoscale", *asked, *others).stdout)
    scaler = found["autoscaled"]["autoscaler"]
    assert (scaler["target"], scaler["replicas_max"], scaler["startup_s"]) == ("concurrency:2", 9, 60.0)
    assert scaler["replicas_min"] == chosen["autoscaler"]["replicas_min"]
    assert found["objective"] == {"response_quantiles_s": {"0.99": 2.0}}
    assert (found["traffic"]["begins_s"], found["traffic"]["ends_s"]) == (25_200.0, 32_400.0)


def test_a_plan_without_an_autoscaler_is_asked_about_the_usual_one(folder: Path) -> None:
    """At its rate, for its own server and limit; an answer is as good as its file."""
    with contextlib.chdir(folder):
        asked = {"routing": "least-outstanding", "requests_max": 2_000_000, "precision": 0.2}
        answer = cap.plan("flat.csv", rate="12rps", slo_p99="2s", **asked)
        found = cap.autoscale(answer, between="00:00-01:00", runs=2, only_verdict=True)
    scaler = found.fleet.autoscaler
    assert (str(scaler.target), scaler.replicas_min, scaler.replicas_max) == ("utilization:0.6", 1, 10)
    assert (found.fleet.plan.routing.value, found.fleet.limits[0].allowed) == ("least-outstanding", 2.0)
    assert found.fleet.mean_rate_rps == 12.0


def test_a_plan_of_a_day_is_asked_about_that_day(folder: Path) -> None:
    """And not about its highest rate all day."""
    with contextlib.chdir(folder):
        answer = cap.plan("flat.csv", daily="day.csv", slo_p99="2s", requests_max=2_000_000, precision=0.2)
        found = cap.autoscale(answer, between="07:00-08:30", runs=2, only_verdict=True)
    whole = replace(found.fleet.curve, begins_s=0.0, ends_s=DAY_S)
    assert whole == read_daily_curve(folder / "day.csv")
    assert found.fleet.peak_rate_rps == max(answer.day.rates_rps) == 15.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan", "plan.json", "--profile", "flat.csv"], "give either a saved --plan, or --profile"),
        (["--slo-p99", "1s", "--rate", "5rps"], "give either a saved --plan, or --profile"),
        (["--plan", "day.csv"], "is not a saved plan"),
        (["--plan", "users.json"], "who do not follow a rate that changes"),
    ],
)
def test_a_plan_that_no_autoscaler_follows_is_refused(planned, capacity, folder, words, said) -> None:
    if "users.json" in words:
        given = ["--users", "4", "--think-time", "1s", "--slo-p99", "5s", "-o", "users.json"]
        assert capacity("plan", *DAY[:2], *given).returncode == 0
    done = capacity("autoscale", *words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_plan_with_two_limits_has_an_autoscaler_that_holds_both(capacity: Command, folder: Path) -> None:
    """The screen, the saved plan, its page and `autoscale` know both."""
    found = capacity("plan", *ONE, "--slo-p50", "200ms", "-o", "both.json", "-o", "both.html")
    assert found.returncode == 0
    assert "has a P50 of 100 ms" in found.stdout
    assert found.stdout.count("late by") == 2  # columns
    kept = json.loads((folder / "both.json").read_text(encoding="utf-8"))["answer"]["autoscaled"]
    assert kept["response_p50_s"]["high"] <= 0.2
    assert kept["response_p99_s"]["high"] <= 1.0
    assert set(kept["late_shares"]) == {"response_p50", "response_p99"}
    page = (folder / "both.html").read_text(encoding="utf-8")
    assert "holds the limits over day.csv" in page
    again = capacity(
        "autoscale",
        "--plan",
        "both.json",
        "--between",
        "07:50-08:30",
        "--runs",
        "2",
        "--only-verdict",
        "--json",
    )
    assert set(json.loads(again.stdout)["objective"]["response_quantiles_s"]) == {"0.5", "0.99"}


@pytest.mark.long
def test_the_same_question_has_the_same_answer_with_any_number_of_workers(planned, capacity) -> None:
    assert capacity("plan", *ONE, "--json", "--workers", "1").stdout == planned.stdout


def test_the_screen_names_the_autoscaler_and_what_it_saves(capacity: Command) -> None:
    told = " ".join(capacity("plan", *ONE).stdout.split())
    assert "Autoscaler: --autoscale utilization:0.6 with" in told
    assert "than 2 replicas that hold it all the time" in told
    assert "1 autoscaler was simulated; this one was checked on fresh random numbers, over" in told


@pytest.mark.long
def test_the_best_of_all_targets_costs_no_more_than_one_of_them(planned: Any, capacity: Command) -> None:
    words = [word if word != "utilization:0.6" else "any" for word in ONE]
    done = capacity("plan", *words, "--json")
    found, one = json.loads(done.stdout)["autoscaled"], json.loads(planned.stdout)["autoscaled"]
    assert done.returncode == 0
    assert found["replica_hours"]["value"] < 0.9 * one["replica_hours"]["value"]
    assert found["response_p99_s"]["high"] <= 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*DAY[:2], "--rate", "5rps", "--slo-p99", "1s", "--autoscale", "any"], "give --daily, a .csv of time,rate_rps"),
        ([*DAY, "--autoscale", "all"], "write any, utilization:0.6 or concurrency:4"),
        ([*DAY, "--autoscale", "utilization:2"], "must be a share up to 1"),
        ([*DAY, "--autoscale", "any", "--utilization-max", "80%"], "is judged by limits on quantiles"),
        ([*DAY, "--autoscale", "any", "--pause", "200ms,6/min"], "--pause is not simulated with an autoscaler"),
        ([*DAY[:-2], "--autoscale", "any", "--runs", "1"], "--runs must be a whole number from 2"),
        ([*DAY, "--metric-lag", "30s"], "--metric-lag belongs to --autoscale; give that too"),
        ([*DAY, "--stabilization", "30s"], "--stabilization belongs to --autoscale; give that too"),
        ([*DAY[:-2], "--runs", "5"], "--runs belongs to --autoscale; give that too, or leave it out"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_a_way_out(capacity: Command, words: list[str], said: str) -> None:
    done = capacity("plan", *words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_the_least_of_compared_fleets_bounds_the_autoscaler(capacity: Command) -> None:
    fleets = [word for count in (3, 1) for word in ("--fleet", f"replicas={count},batch=1")]
    day = ["--daily", "day.csv", "--autoscale", "utilization:0.6", "--replicas-min", "2"]
    done = capacity("compare", "--profile", "flat.csv", *fleets, *day)
    assert done.returncode == 2
    assert "--replicas-min 2 is above --replicas 1" in done.stderr


def test_a_comparison_says_that_it_leaves_the_autoscaler_out(planned: Any, capacity: Command) -> None:
    fleets = ["plan.json", "--fleet", "replicas=4,batch=1", "--requests-max", "2000000"]
    found = json.loads(capacity("compare", *fleets, "--json").stdout)
    (said,) = (one["message"] for one in found["caveats"] if one["code"] == "autoscaler_left_out")
    assert said == "the autoscaler of the day was not judged again; run capacity autoscale --plan"
    assert f"Note: {said}." in " ".join(capacity("compare", *fleets).stdout.split())
    done = capacity("compare", *fleets, "--profile", "flat.csv", "--autoscale", "utilization:0.6")
    assert "saved plans are compared as fixed fleets; leave out --autoscale" in done.stderr
    assert done.returncode == 2


def test_an_autoscaled_curve_ends_where_the_mean_of_the_day_is_the_capacity(capacity: Command) -> None:
    """Two replicas of 10 rps, and a day whose highest rate is twice its mean."""
    day = ["--daily", "day.csv", "--between", "07:00-09:00", "--autoscale", "utilization:0.6"]
    few = ["--replicas", "2", "--batch-size-max", "1", "--requests-max", "100000", "--quantile", "0.9"]
    done = capacity("curve", "--profile", "flat.csv", *day, *few, "--json")
    most_rps = max(row["arrival_rate_rps"] for row in json.loads(done.stdout)["rows"])
    assert 20.0 < most_rps < 20.0 * 15.0 / 9.0


def test_no_autoscaler_holds_what_no_fleet_holds(capacity: Command) -> None:
    done = capacity("plan", *[word if word != "1s" else "90ms" for word in ONE])
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("variable", "command"), [("utilization:0.7", "autoscale"), ("concurrency:4", "plan")]
)
def test_the_old_name_of_the_target_is_answered_with_the_new_one(capacity, monkeypatch, variable, command):
    """In the environment; what is render's target is left alone."""
    monkeypatch.setenv("CAPACITY_TARGET", variable)
    done = capacity(command, *DAY)
    assert done.returncode == 2
    assert "--target is now --autoscale utilization:0.6" in " ".join(done.stderr.split())
    monkeypatch.setenv("CAPACITY_TARGET", "keda")
    assert "--target" not in capacity(command, *DAY, "--slo-p99", "wrong").stderr


def test_the_old_key_of_the_target_is_answered_with_the_new_one(tmp_path: Path) -> None:
    """In a file, for all commands; what is render's target is left alone."""
    file = tmp_path / "capacity.toml"
    file.write_text('target = "utilization:0.7"\n', encoding="utf-8")
    done = in_process.capacity(tmp_path, "autoscale", *DAY)
    assert done.returncode == 2
    assert "target is now autoscale" in " ".join(done.stderr.split())
    file.write_text('target = "keda"\n', encoding="utf-8")
    assert "target" not in in_process.capacity(tmp_path, "autoscale", *DAY).stderr
