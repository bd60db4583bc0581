"""`capacity autoscale` as somebody types it: answers, exit codes, JSON, figures and mistakes."""

import json
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import in_process
import pandas as pd
import pytest

import capacity as cap

Command = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = ["--profile", "flat.csv", "--batch-size-max", "1", "--between", "00:30-01:30", "--runs", "2"]
RAMP = [*FLEET, "--daily", "ramp.csv", "--replicas-max", "6", "--startup-time", "2min", "--metric-lag", "30s"]
INTERVAL = {"value", "low", "high"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of one take 100 ms; at 01:00 the rate goes from 5 to 25 rps."""
    path = tmp_path_factory.mktemp("scaled")
    (path / "morning.csv").write_text("time,rate_rps\n00:00,0\n06:00,25\n", encoding="utf-8")
    (path / "flat.csv").write_text("batch_size,mean_ms\n1,100\n", encoding="utf-8")
    (path / "ramp.csv").write_text("time,rate_rps\n00:00,5\n01:00,25\n", encoding="utf-8")
    return path


@pytest.fixture
def autoscale(folder: Path) -> Command:
    return partial(in_process.capacity, folder, "autoscale")


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The answer, strictly read."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return dict(json.loads(done.stdout, parse_constant=refuse))


@pytest.mark.long
def test_a_ramp_that_outruns_the_start_up_is_late_and_a_way_out_is_named(autoscale, folder) -> None:
    done = autoscale(*RAMP, "--slo-p99", "1s", "--hourly-usd", "2", "-o", "day.svg")
    assert done.returncode == 3
    told = " ".join(done.stdout.split())
    assert "over the limit of 1 s" in told
    assert "Why:" in told
    assert "from 00:5" in told or "from 01:0" in told
    assert "--autoscale utilization:0." in told
    assert "all the time" in told
    assert "USD" in told
    assert (folder / "day.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.long
def test_the_json_has_all_fleets_with_their_intervals(autoscale: Command) -> None:
    done = autoscale(*RAMP, "--slo-p99", "1s", "--json")
    found = document(done)
    assert (done.returncode, found["exit_code"], found["verdict"]) == (3, 3, "missed")
    fleets = [found["autoscaled"], found["smallest_fleet"], *found["remedies"]]
    assert len(fleets) >= 3
    assert [one["setting"].split(" ")[0] for one in found["remedies"]] == ["--autoscale"]
    for one in fleets:
        assert set(one["response_p99_s"]) == set(one["replica_hours"]) == INTERVAL
        assert one["cost_usd"] is None
    assert found["autoscaled"]["autoscaler"]["target"] == "utilization:0.6"
    assert found["smallest_fleet"]["autoscaler"] is None
    assert found["smallest_fleet"]["scalings"]["value"] == 0.0
    assert found["smallest_fleet"]["response_p99_s"]["high"] <= 1.0
    assert found["autoscaled"]["replica_hours"]["value"] < found["smallest_fleet"]["replica_hours"]["value"]
    assert found["worst"]["wanted"] > found["worst"]["ready"]
    assert found["traffic"] == {
        "name": "ramp.csv",
        "begins_s": 1800.0,
        "ends_s": 5400.0,
        "mean_rate_rps": 15.0,
        "peak_rate_rps": 25.0,
    }
    assert autoscale(*RAMP, "--slo-p99", "1s", "--json", "--workers", "1").stdout == done.stdout


def test_a_steady_rate_is_held(autoscale: Command) -> None:
    done = autoscale(*FLEET, "--rate", "12rps", "--slo-p99", "2s", "--only-verdict")
    assert done.returncode == 0
    assert "within 2 s" in " ".join(done.stdout.split())
    assert "Why" not in done.stdout


def test_what_never_comes_is_null_in_json(autoscale: Command) -> None:
    asked = [*FLEET, "--rate", "12rps", "--slo-p99", "2s", "--queue-limit", "0", "--only-verdict"]
    found = document(autoscale(*asked, "--json"))
    assert found["autoscaled"]["response_p99_s"]["value"] is None
    assert found["autoscaled"]["lost_share"] > 0.01
    told = " ".join(autoscale(*asked).stdout.split())
    assert "of the requests, too many for a P99" in told


@pytest.mark.long
def test_where_no_fleet_is_large_enough_the_bound_is_named(autoscale: Command) -> None:
    """Two replicas of 10 rps at 25 rps, all the time."""
    done = autoscale(*FLEET, "--rate", "25rps", "--slo-p99", "1s", "--replicas-max", "2")
    told = " ".join(done.stdout.split())
    assert done.returncode == 3
    assert (
        "Why: the rate goes up to 25 rps, and the 2 replicas of --replicas-max serve at most 20 rps" in told
    )
    assert "raise --replicas-max. Not even 2 replicas all the time hold the limit." in told
    alone = " ".join(
        autoscale(*FLEET, "--rate", "25rps", "--slo-p99", "1s", "--replicas-max", "1").stdout.split()
    )
    assert "the 1 replica of --replicas-max serves at most 10 rps" in alone
    assert "Not even 1 replica all the time holds the limit." in alone


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slo-p99", "50ms"], "no batch is served within 50 ms at P99; the fastest takes 100 ms. No number"),
        (
            ["--slo-p99", "1s", "--request-overhead", "1s"],
            "no batch is served within 1 s at P99; the fastest takes 1.1 s, of which 1 s is overhead",
        ),
        (
            ["--slo-p99", "250ms", "--autoscale", "utilization:0.95"],
            "the rate is even where most requests are late, 12 rps",
        ),
        (["--slo-p99", "1s", "--queue-limit", "0"], "full queues reject "),
    ],
)  # fmt: skip
def test_the_reason_is_what_stands_between_the_fleet_and_its_limit(autoscale, words, said) -> None:
    told = " ".join(autoscale(*FLEET, "--rate", "12rps", *words).stdout.split())
    assert f"Why: {said}" in told
    assert "the rate goes" not in told


def test_rejections_are_cured_by_what_was_measured_without_the_limit(autoscale: Command) -> None:
    found = document(autoscale(*FLEET, "--rate", "12rps", "--slo-p99", "2s", "--queue-limit", "0", "--json"))
    assert found["remedies"][0]["setting"] == "no --queue-limit"
    assert found["remedies"][0]["lost_share"] == 0.0


def test_a_batch_that_waits_too_long_is_named(autoscale: Command, folder: Path) -> None:
    (folder / "pairs.csv").write_text("batch_size,mean_ms\n1,100\n4,130\n", encoding="utf-8")
    asked = [
        "--profile",
        "pairs.csv",
        *FLEET[4:],
        "--rate",
        "8rps",
        "--slo-p99",
        "400ms",
        "--batch-wait",
        "10s",
    ]
    done = autoscale(*asked, "--autoscale", "concurrency:2")
    told = " ".join(done.stdout.split())
    assert (
        "Why: a batch may wait 10 s for others, and beside the fastest batch the limit leaves 300 ms" in told
    )
    assert " --batch-wait 0s " in told


def test_a_hunting_fleet_on_utilization_is_told_to_stabilize(autoscale: Command) -> None:
    hunts = [
        "--stabilization", "0s", "--arrivals", "gamma:cv=6", "--autoscale", "utilization:0.7",
        "--only-verdict",
    ]  # fmt: skip
    told = " ".join(autoscale(*FLEET, "--rate", "30rps", "--slo-p99", "400ms", *hunts).stdout.split())
    assert "The fleet hunts:" in told
    assert "a --stabilization longer than 0 s" in told
    assert "steadier" not in told


def test_from_none_a_poll_decides(autoscale: Command, folder: Path) -> None:
    (folder / "night.csv").write_text("time,rate_rps\n00:00,0\n01:00,5\n", encoding="utf-8")
    scaled = ["--daily", "night.csv", "--replicas-min", "0", "--startup-time", "20s", "--only-verdict"]
    told = " ".join(autoscale(*FLEET, *scaled, "--slo-p99", "1s").stdout.split())
    assert "0 replicas serve before" in told
    assert "50 s after the first request (a poll every 30 s, start-up 20 s)" in told


def test_python_says_the_same(autoscale: Command, folder: Path) -> None:
    asked = [*FLEET, "--rate", "12rps", "--slo-p99", "2s", "--only-verdict", "--json"]
    answer = cap.autoscale(
        folder / "flat.csv",
        rate_rps=12.0,
        slo_p99_s=2.0,
        between="00:30-01:30",
        batch_size_max=1,
        runs=2,
        only_verdict=True,
    )
    assert answer.to_dict() == document(autoscale(*asked))
    assert answer.rows()[0]["fleet"] == "autoscaled"
    assert len(answer.course()) == 60


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"autoscale": 5}, "autoscale must be text, got 5"),
        ({"between": 5}, "between must be text, got 5"),
        ({"rate": None, "daily": pd.DataFrame({"time": ["00:00"]})}, "got a DataFrame; save it as one"),
        ({"routing": 5}, "routing must be text, got 5"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"hourly_usd": "x"}, "is not a price in USD/h"),
        ({"queue_limit": "3"}, "queue_limit must be a whole number"),
        ({"batch_size_max": "3"}, "batch_size_max must be a whole number"),
        ({"replicas_max": 2.5}, "replicas_max must be a whole number"),
        ({"workers": "x"}, "workers must be a whole number"),
        ({"confidence": "x"}, "confidence must be a number"),
    ],
)
def test_python_s_callers_learn_what_type_is_meant(folder: Path, wrong: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"rate": "5rps", "slo_p99": "1s", "batch_size_max": 1, **wrong}
    with pytest.raises(cap.InputError, match=re.escape(said)):
        cap.autoscale(folder / "flat.csv", **given)


def test_a_price_may_name_the_profile(folder: Path) -> None:
    answer = cap.autoscale(
        folder / "flat.csv",
        rate="12rps",
        slo_p99="2s",
        between="00:30-01:30",
        batch_size_max=1,
        hourly_usd="flat=2",
        runs=2,
        only_verdict=True,
    )
    assert answer.document()["replica_hourly_usd"] == 2.0
    scaled = answer.document()["autoscaled"]
    assert scaled["cost_usd"] == {end: 2.0 * scaled["replica_hours"][end] for end in INTERVAL}


def test_too_few_requests_are_not_enough_for_a_verdict(autoscale: Command) -> None:
    done = autoscale(*FLEET, "--slo-p99", "1s", "--rate", "0.5rps")
    assert done.returncode == 4
    assert "too few for a P99" in done.stderr
