"""`capacity stress`, and `plan` with trouble, as somebody types them: answers, exit codes, JSON, figures and mistakes."""

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import in_process
import pytest

pytestmark = pytest.mark.usefixtures("no_headroom")

Command = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = [
    "--profile", "flat.csv", "--batch-size-max", "1", "--routing", "shared-queue", "--replicas", "4",
    "--timeout", "500ms", "--attempts", "3",
]  # fmt: skip
LOSS = [*FLEET, "--rate", "316rps", "--trigger", "lose:1,30s", "--horizon", "90s", "--runs", "3"]
INTERVAL = {"value", "low", "high"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the profile is: batches of one take 10 ms."""
    path = tmp_path_factory.mktemp("trouble")
    (path / "flat.csv").write_text("batch_size,mean_ms\n1,10\n", encoding="utf-8")
    return path


@pytest.fixture
def stress(folder: Path) -> Command:
    return partial(in_process.capacity, folder, "stress")


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The answer, strictly read."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return dict(json.loads(done.stdout, parse_constant=refuse))


def test_the_whole_screen_and_its_figure(stress: Command, folder: Path) -> None:
    done = stress(*LOSS, "-v", "-o", "trouble.svg")
    assert done.returncode == 3, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0].startswith("Losing 1 of 4 for 30 s at 316 rps becomes an outage of more than 2 minutes: ")
    assert "requests lost. With --shed " in " ".join(lines[:2])
    whole = " ".join(lines)
    assert (
        "0 of 3 runs recover within 90 s (at most 63 %): three attempts make 948 rps, the fleet serves 400"
        in whole
    )
    assert any(
        line.startswith("5 without any setting the smallest fleet that recovers as it is (P99 ")
        for line in lines
    )
    assert any(line.startswith("4 with --retry-budget 0.1 recover in ") for line in lines)
    for setting in ("--shed late:10ms", "--queue-limit 100", "--shed lifo"):
        assert any(line.startswith(f"{setting} recover at once; 9") for line in lines), setting
    assert any(line.startswith("spike of 2x survived for ") for line in lines)
    assert any(line.startswith("success of first tries") for line in lines)
    drawn = ET.parse(folder / "trouble.svg").getroot()
    assert drawn.tag.endswith("svg")


@pytest.mark.long
def test_every_key_of_the_document(stress: Command) -> None:
    done = stress(*LOSS, "--json")
    assert done.returncode == 3
    found = document(done)
    assert found["exit_code"] == 3
    assert set(found["recovered"]) == INTERVAL
    assert found["recovered"]["value"] == 0.0
    assert found["recovery_s"] is None
    assert 0.0 < found["goodput_during"] < 0.5
    assert found["lost"] > 1000
    assert found["fluid"]["stuck"] is True
    assert found["fluid"]["recovery_s"] is None
    assert found["fluid"]["critical_budget"] == pytest.approx(400.0 / 316.0 - 1.0)
    assert found["smallest_fleet"] == 5
    assert [one["setting"] for one in found["remedies"]] == [
        "--retry-budget 0.1", "--shed late:10ms", "--queue-limit 100", "--shed lifo",
    ]  # fmt: skip
    for one in found["remedies"]:
        assert set(one["recovered"]) == set(one["recovery_s"]) == INTERVAL
        assert 0.0 <= one["goodput_during"] <= 1.0
        assert one["recovery_s"]["low"] >= 0.0
    assert [one["factor"] for one in found["spikes_survived"]] == [2.0, 1.6]
    assert all(set(one["lasting_s"]) == INTERVAL for one in found["spikes_survived"])
    assert (found["runs"], found["seed"], found["confidence"]) == (3, 0, 0.95)
    assert found["trigger"]["kind"] == "lose"
    assert found["clients"]["attempts"] == 3


VERDICT = ["--only-verdict", "--runs", "6", "--horizon", "60s"]


def test_same_seed_same_bytes_for_any_number_of_workers(stress: Command) -> None:
    asked = [*FLEET, "--rate", "280rps", "--trigger", "spike:2x,1s", *VERDICT, "--json"]
    first = stress(*asked, "--workers", "1")
    assert first.stdout == stress(*asked, "--workers", "2").stdout
    assert first.stdout != stress(*asked, "--seed", "1").stdout


@pytest.mark.parametrize(
    ("rate", "trigger", "code", "said"),
    [
        ("280rps", "spike:2x,300ms", 0, "6 of 6 runs recover at once (at least 61 %); "),
        ("280rps", "spike:2x,1.25s", 4, " of 6 runs recover within 1 min ("),
        (
            "280rps",
            "spike:2x,4s",
            3,
            "A spike of 2x for 4 s at 280 rps becomes an outage of more than 64 s: ",
        ),
        ("200rps", "crash:1,5s", 0, "A crash of 1 of 4 for 5 s "),
        ("200rps", "hang:1,5s", 0, "A hang of 1 of 4 for 5 s "),
        ("200rps", "spot:1,1s,5s", 0, "A spot notice of 1 s to 1 of 4, replaced after 5 s, "),
        ("200rps", "pause:100ms,6/min,10s", 0, "10 s of pauses of 100 ms, 6 a minute at each replica, "),
        ("200rps", "straggler:3x,5s", 0, "A slowdown of one replica by 3x for 5 s at 200 rps "),
        ("200rps", "rollout", 0, "A rollout of 2 s a replica at 200 rps "),
    ],
)
def test_verdicts_and_how_they_end(stress: Command, rate: str, trigger: str, code: int, said: str) -> None:
    takes = trigger.startswith(("crash", "hang", "spot", "rollout"))  # it lasts until the replica has started
    starts = ["--startup-time", "2s"] if takes else []
    done = stress(*FLEET, "--rate", rate, "--trigger", trigger, *VERDICT, *starts)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())


def test_only_one_run_that_recovers_has_no_upper_end(stress: Command) -> None:
    """Null in JSON, which has no infinity."""
    seeds = range(8)
    for seed in seeds:
        done = stress(
            *FLEET, "--rate", "280rps", "--trigger", "spike:2x,1.25s", "--only-verdict", "--runs", "2",
            "--horizon", "60s", "--seed", seed, "--json",
        )  # fmt: skip
        found = document(done)
        if found["recovered"]["value"] == 0.5:
            assert done.returncode == 4
            assert found["recovery_s"]["high"] is None
            return
    raise AssertionError("no run of these recovers alone")


def test_a_cold_cache_keeps_a_fleet_down_that_would_come_back(stress: Command) -> None:
    """316 rps need all four; one that serves 10 rps for 600 batches is as good as away for a minute more."""
    asked = [*FLEET, "--rate", "316rps", "--trigger", "lose:1,2s", *VERDICT, "--json"]
    warm, cold = document(stress(*asked)), document(stress(*asked, "--cold-batches", "600:10x"))
    assert (warm["exit_code"], warm["cold_batches"]) == (0, None)
    assert (cold["exit_code"], cold["cold_batches"]) == (3, {"batches": 600, "factor": 10.0})
    assert cold["fluid"]["stuck"] is None
    told = stress(*asked[:-1], "--cold-batches", "600:10x").stdout
    assert "Losing 1 of 4 for 2 s with 600 cold batches (10x) at 316 rps becomes a disruption of" in " ".join(
        told.split()
    )


def test_breakdowns_come_beside_the_trigger(stress: Command) -> None:
    own = ["round-robin" if word == "shared-queue" else word for word in FLEET[:-2]]
    asked = [*own, "--rate", "100rps", "--trigger", "spike:1.2x,5s", *VERDICT, "--mtbf", "20s"]
    done = stress(*asked, "--recovery-time", "2s", "--detection", "1s", "--json")
    found = document(done)
    assert found["breakdowns"] == {"mtbf_s": 20.0, "recovery_s": 2.0}
    assert 0.9 < found["goodput_during"] < 1.0
    assert found["lost"] > 10
    told = stress(*asked, "--recovery-time", "2s", "--detection", "1s").stdout
    assert "with breakdowns of each replica every 20 s for 2 s" in " ".join(told.split())


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        ([], "none"),
        (["--ejection"], "envoy"),
        (["--ejection-rule", "nginx"], "nginx"),
        (["--ejection", "--ejection-rule", "nginx"], "nginx"),
    ],
)
def test_a_balancer_leaves_out_replicas_by_a_rule(stress: Command, flags: list[str], rule: str) -> None:
    own = ["round-robin" if word == "shared-queue" else word for word in FLEET]
    asked = [*own, "--rate", "100rps", "--trigger", "lose:1,5s", *VERDICT, "--json"]
    assert document(stress(*asked, *flags))["protection"]["ejection"] == rule
    wrong = stress(*asked, "--ejection-rule", "istio")
    assert wrong.returncode == 2
    assert "--ejection-rule" in wrong.stderr


def test_a_saved_plan_goes_into_trouble(folder: Path, stress: Command) -> None:
    saved = in_process.capacity(
        folder, "plan", "--profile", "flat.csv", "--rate", "316rps", "--slo-p99", "100ms", "--batch-wait", "0ms",
        "--routing", "shared-queue", "--requests-max", "2000000", "--precision", "0.1", "-o", "plan.json",
    )  # fmt: skip
    assert saved.returncode == 0, saved.stderr
    asked = [
        "--plan", "plan.json", "--trigger", "lose:1,30s", "--timeout", "500ms", "--attempts", "3", *VERDICT,
    ]  # fmt: skip
    found = document(stress(*asked, "--json"))
    assert (found["exit_code"], found["plan"]["replicas"], found["arrival_rate_rps"]) == (3, 4, 316.0)
    changed = document(stress(*asked, "--replicas", "5", "--rate", "300rps", "--json"))
    assert (changed["exit_code"], changed["plan"]["replicas"], changed["arrival_rate_rps"]) == (0, 5, 300.0)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--rate 500rps", "4 replicas serve at most 400 rps and 500 rps arrive"),
        ("--rate 399rps --timeout 10ms", "nothing to come back to"),
    ],
)
def test_fleets_that_fail_before_any_trouble(stress: Command, flags: str, said: str) -> None:
    given = [word for word in FLEET if word not in ("--timeout", "500ms")]
    if "--timeout" not in flags:
        given += ["--timeout", "500ms"]
    done = stress(*given, *flags.split(), "--trigger", "spike:2x,1s", *VERDICT)
    assert done.returncode in (2, 4)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trigger_is_asked_for(stress: Command) -> None:
    done = stress(*FLEET, "--rate", "316rps")
    assert done.returncode == 2
    assert "Missing option '--trigger'" in done.stderr


QUICK = [
    "--profile", "flat.csv", "--batch-size-max", "1", "--batch-wait", "0ms", "--routing", "shared-queue",
    "--rate", "316rps", "--slo-p99", "100ms", "--requests-max", "2000000", "--precision", "0.1",
]  # fmt: skip
TROUBLE = ["--recover-within", "20s", "--trigger", "lose:1,10s", "--timeout", "500ms", "--attempts", "3"]


@pytest.fixture
def plan(folder: Path) -> Command:
    return partial(in_process.capacity, folder, "plan")


@pytest.mark.long
def test_a_plan_that_comes_back_in_time(plan: Command) -> None:
    done = plan(*QUICK, *TROUBLE, "--json")
    assert done.returncode == 0, done.stderr
    found = document(done)
    recovery = found["recovery"]
    assert found["recommendation"]["replicas"] == 4
    assert recovery["within_s"] == 20.0
    assert recovery["setting"] in {one["setting"] for one in recovery["tried"]}
    assert recovery["chosen"]["recovered"]["value"] == 1.0
    assert recovery["chosen"]["recovery_s"]["high"] <= 20.0
    assert recovery["as_planned"]["replicas"] == 4
    assert recovery["as_planned"]["recovered"]["value"] < 1.0
    assert recovery["smallest_fleet"] == 5
    assert recovery["clients"]["attempts"] == 3


def test_a_plan_that_comes_back_as_it_is(plan: Command) -> None:
    """Clients that try once come back by themselves as the queue drains."""
    done = plan(*QUICK, "--recover-within", "20s", "--trigger", "lose:1,10s", "--timeout", "500ms")
    assert done.returncode == 0, done.stderr
    assert "It recovers after losing 1 of 4 for 10 s within 20 s, at once: all 20 runs." in done.stdout


def test_a_plan_for_spot_replicas(plan: Command) -> None:
    done = plan(*QUICK, "--recover-within", "20s", "--trigger", "spot:1,2s,10s", "--timeout", "500ms")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert (
        "It recovers after a spot notice of 2 s to 1 of 4, replaced after 10 s within 20 s, at once" in told
    )


def test_a_plan_says_that_the_trigger_asks_for_a_larger_fleet(plan: Command) -> None:
    """Ten requests a second need one replica; of two the trigger leaves one."""
    small = ["10rps" if word == "316rps" else word for word in QUICK]
    asked = [*small, "--recover-within", "20s", "--trigger", "lose:2,10s"]
    done = plan(*asked, "--timeout", "500ms")
    assert done.returncode == 0, done.stderr
    assert "Fleets of fewer than 3 replicas were left out, as the trigger takes them down" in done.stdout
    found = document(plan(*asked, "--timeout", "500ms", "--json"))
    assert found["recommendation"]["replicas"] == found["recovery"]["replicas_min"] == 3


def test_spares_for_replicas_that_break_down(plan: Command) -> None:
    done = plan(*QUICK, "--mtbf", "30d", "--recovery-time", "30min", "--json")
    assert done.returncode == 0, done.stderr
    found = document(done)
    assert found["recommendation"]["replicas"] == 5
    assert [one["event"] for one in found["survived"]] == ["1 broken down at once"]
    rare = document(plan(*QUICK, "--mtbf", "9000d", "--recovery-time", "1min", "--json"))
    assert rare["recommendation"]["replicas"] == 4
