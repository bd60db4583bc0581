"""The command: what each answers and refuses; and as it is installed, run from the outside in another directory."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import in_process
import pytest

COMMAND = Path(sys.executable).with_name("capacity")
T4 = ["--profile", "resnet50-t4-fp16"]
QUICK = ["--requests-max", "1000000"]  # where the headroom is not what is tested


@pytest.fixture
def capacity(tmp_path):
    """Runs the command in an empty directory and returns what happened."""
    return partial(in_process.capacity, tmp_path)


@pytest.fixture
def installed(tmp_path):
    """The same in a process of its own."""

    def run(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=timeout,
            check=False,
        )

    return run


def document(done: subprocess.CompletedProcess[str]) -> dict:
    """The JSON on stdout, strictly read."""

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(done.stdout, parse_constant=refuse)


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """A plan of two replicas; one is stable with large batches, and refused by latency."""
    asked = ["--rate", "1000rps", "--slo-p99", "30ms", "--seed", "3", *QUICK]
    done = in_process.capacity(tmp_path_factory.mktemp("plan"), "plan", *T4, *asked, "--json")
    assert done.returncode == 0, done.stderr
    return document(done)


def test_plan_has_the_contracts_keys(answer):
    assert answer["schema_version"] == 1
    assert (answer["verdict"], answer["exit_code"]) == ("met", 0)
    plan = answer["recommendation"]
    assert set(plan) == {"profile", "replicas", "batch_size_max", "batch_wait_max_s", "routing"}
    assert plan["routing"] == "round-robin"
    performance = answer["performance"]
    assert {
        "load", "utilization", "kind", "throughput_rps", "batch_size_mean", "queue_length_mean",
        "in_system_mean", "wait_mean_s", "response_mean_s", "loss_probability", "response_quantiles_s",
    } <= set(performance)  # fmt: skip
    p99 = performance["response_quantiles_s"]["0.99"]
    assert p99["low"] <= p99["value"] <= p99["high"] <= 0.030
    assert {"0.5", "0.95", "0.99"} <= set(performance["response_quantiles_s"])
    assert answer["objective"] == {"response_quantiles_s": {"0.99": 0.03}}
    assert answer["headroom"]["arrival_rate_max_rps"] >= 1000.0
    assert answer["cost"] == {"hourly_usd": pytest.approx(0.526 * plan["replicas"])}
    assert (answer["seed"], answer["confidence"]) == (3, 0.95)
    assert "profile_error_unknown" in {c["code"] for c in answer["caveats"]}
    assert all(c["message"] for c in answer["caveats"])


def test_plan_shows_every_neighbour_with_its_numbers(answer):
    replicas = answer["recommendation"]["replicas"]
    assert replicas == 2
    fewer = [c for c in answer["considered"] if c["plan"]["replicas"] == replicas - 1]
    assert [c["plan"]["batch_size_max"] for c in fewer][:5] == [1, 2, 4, 8, 16]
    assert not any(c["accepted"] for c in fewer)
    for candidate in fewer:
        rejection = candidate["rejection"]
        assert rejection["needed"] > rejection["allowed"] or rejection["limit"] == "stability"
    limits = {c["rejection"]["limit"] for c in fewer}
    assert limits == {"stability", "latency"}
    refused = [c for c in fewer if c["rejection"]["limit"] == "latency"]
    assert all(c["performance"]["load"] < 1.0 for c in refused)
    assert all(c["rejection"]["quantile"] == 0.99 for c in refused)


def test_same_command_same_bytes_for_any_number_of_workers(capacity):
    arguments = [
        "plan", *T4, "--rate", "300rps", "--slo-p99", "20ms", "--batch-wait", "0ms", *QUICK, "--json",
    ]  # fmt: skip
    one, two = (capacity(*arguments, "--workers", n).stdout for n in ("1", "2"))
    assert one == two
    other = capacity(*arguments, "--seed", "1").stdout
    assert other != one
    assert json.loads(other)["recommendation"]["replicas"] == json.loads(one)["recommendation"]["replicas"]


def test_simulate_reports_one_plan(capacity):
    done = capacity(
        "simulate", *T4, "--rate", "500rps", "--replicas", "1", "--batch-size-max", "16",
        "--batch-wait", "2ms", "--routing", "shared-queue", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert answer["plan"]["batch_wait_max_s"] == 0.002
    performance = answer["performance"]
    assert performance["kind"] == "simulation"
    assert performance["throughput_rps"] == pytest.approx(500.0, rel=0.02)
    little = performance["throughput_rps"] * performance["response_mean_s"]
    assert performance["in_system_mean"] == pytest.approx(little, rel=0.02)
    p99 = performance["response_quantiles_s"]["0.99"]
    assert p99["high"] - p99["low"] <= 2 * 0.0201 * p99["value"]


def test_simulate_says_that_the_precision_was_not_reached(capacity):
    arguments = ["simulate", *T4, "--rate", "500rps", "--replicas", "1", "--batch-size-max", "16",
                 "--requests-max", "3000000", "--json"]  # fmt: skip
    for precision, missed in (("0.0001", True), ("0.1", False)):
        done = capacity(*arguments, "--precision", precision)
        assert done.returncode == 0, done.stderr
        assert ("precision_missed" in {c["code"] for c in document(done)["caveats"]}) is missed


def test_a_queue_limit_beyond_whole_numbers_loses_nobody(capacity):
    arguments = ["simulate", *T4, "--rate", "300rps", "--replicas", "1", "--batch-size-max", "8",
                 "--requests-max", "500000", "--json"]  # fmt: skip
    limited = document(capacity(*arguments, "--queue-limit", "99999999999999999999"))["performance"]
    free = document(capacity(*arguments, "--queue-limit", "1000000"))["performance"]
    assert limited["loss_probability"] == 0.0
    assert limited == free


@pytest.mark.timeout(60)
def test_a_rate_at_which_the_clock_cannot_tell_a_service_is_refused_at_once(capacity):
    done = capacity("simulate", *T4, "--rate", "1e-10rps", "--replicas", "1")
    assert (done.returncode, done.stdout) == (2, "")
    *_, error = done.stderr.splitlines()
    assert error.startswith("error: at 1e-10 rps a run lasts ")
    assert error.endswith("is the unit of the rate right?")


@pytest.mark.timeout(60)
def test_a_crowd_beyond_the_budget_is_refused_at_once(capacity):
    done = capacity("simulate", *T4, "--users", "1000000000", "--replicas", "1", *QUICK)
    assert done.returncode == 4
    assert "requests or more, and 1000000 are allowed" in done.stderr


def test_request_overhead_is_added_to_every_response(capacity):
    """Both runs are as long as their own precision takes; what is exact is in test_invariants."""
    arguments = ["simulate", *T4, "--rate", "300rps", "--replicas", "1", "--json"]
    plain = document(capacity(*arguments))["performance"]
    later = document(capacity(*arguments, "--request-overhead", "10ms"))["performance"]
    assert later["response_mean_s"] == pytest.approx(plain["response_mean_s"] + 0.010, rel=0.01)
    assert later["wait_mean_s"] == pytest.approx(plain["wait_mean_s"], rel=0.03)
    assert later["utilization"] == pytest.approx(plain["utilization"], rel=0.01)


def test_queue_mmc(capacity):
    done = capacity(
        "queue", "mmc", "--arrival-rate", "9rps", "--service-rate", "5rps", "--servers", "2",
        "--quantile", "0.5", "--quantile", "0.999", "--format", "json",
    )  # fmt: skip
    answer = document(done)
    assert answer["kind"] == "exact"
    assert answer["utilization"] == pytest.approx(0.9, rel=1e-14)
    assert answer["wait_probability"] == pytest.approx(81 / 95, rel=1e-14)  # C = 2ρ²/(1+ρ) at c = 2
    assert answer["in_system_mean"] == pytest.approx(2 * 0.9 / (1 - 0.81), rel=1e-13)
    assert set(answer["response_quantiles_s"]) == {"0.5", "0.999"}


def test_service_time_is_the_rates_reciprocal(capacity):
    by_time = capacity("queue", "mm1", "--arrival-rate", "4rps", "--service-time", "200ms", "--json").stdout
    by_rate = capacity("queue", "mm1", "--arrival-rate", "240/min", "--service-rate", "5rps", "--json").stdout
    assert by_time == by_rate
    assert json.loads(by_time)["response_mean_s"] == pytest.approx(1.0)


def test_profiles_list_and_show(capacity):
    listed = document(capacity("profiles", "--json"))["profiles"]
    t4 = next(p for p in listed if p["name"] == "resnet50-t4-fp16")
    assert t4["knee_batch_size"] == 16
    assert t4["throughput_rps"][4] == pytest.approx(16 / 0.015113)
    assert len(listed) >= 8
    assert {p["kind"] for p in listed} == {"cpu", "gpu"}
    shown = capacity("profiles", "show", "dlrm-cpu-fp32")
    assert shown.returncode == 0
    assert "131072" in shown.stdout
    assert "knee" in shown.stdout


def test_curve_draws_into_files_and_here(capacity, tmp_path):
    for name in ("a.png", "b.svg"):
        done = capacity("curve", "--y", "p99", "--servers", "1", "--servers", "4", "-o", name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).stat().st_size > 1000
    answer = document(capacity("curve", "--x", "arrival-rate", "--json"))
    assert len(answer["curves"]) == 3
    assert len(document(capacity("curve", "--json"))["curves"]) == 1


def test_own_profile_from_samples(capacity, tmp_path):
    rows = [f"{b},{base + 0.01 * i:.2f}" for b, base in ((1, 5.0), (8, 12.0)) for i in range(100)]
    (tmp_path / "mine.csv").write_text("batch_size,latency_ms\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = capacity(
        "plan", "--profile", "mine.csv", "--rate", "120rps", "--slo-p99", "80ms", *QUICK, "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert answer["recommendation"]["profile"] == "mine"
    assert answer["cost"] is None
    assert {"price_unknown", "profile_few_samples"} <= {c["code"] for c in answer["caveats"]}


def test_nothing_is_feasible_below_the_service_floor(capacity):
    done = capacity("plan", *T4, "--rate", "100rps", "--slo-p99", "1ms", "--json")
    assert done.returncode == 3
    answer = document(done)
    assert (answer["verdict"], answer["recommendation"], answer["exit_code"]) == ("missed", None, 3)
    rejections = [c["rejection"] for c in answer["considered"]]
    assert {r["limit"] for r in rejections} == {"service_floor"}
    assert all((r["allowed"], r["needed"]) == (0.001, 0.003189) for r in rejections)


@pytest.mark.timeout(60)
def test_a_rate_beyond_all_replicas_is_refused_at_once(capacity):
    done = capacity("plan", *T4, "--rate", "1e9rps", "--slo-p99", "50ms", "--json")
    assert done.returncode == 3
    (candidate,) = document(done)["considered"]
    assert candidate["rejection"] == {"limit": "replicas_max", "allowed": 1024, "needed": 782461}


@pytest.mark.usefixtures("no_headroom")
def test_a_batch_beyond_the_profile_is_refused_and_the_rest_goes_on(capacity):
    done = capacity(
        "plan", *T4, "--rate", "100rps", "--slo-p99", "50ms", "--batch-size-max", "200", *QUICK, "--json"
    )
    assert done.returncode == 0, done.stderr
    beyond = [c for c in document(done)["considered"] if c["plan"]["batch_size_max"] == 200]
    assert [c["rejection"]["limit"] for c in beyond] == ["profile_range"]


def test_a_budget_that_cannot_decide_is_inconclusive(capacity):
    done = capacity(
        "plan", *T4, "--rate", "900rps", "--slo-p99", "40ms", "--requests-max", "1000",
        "--replicas-max", "1", "--json",
    )  # fmt: skip
    assert done.returncode == 4
    answer = document(done)
    assert answer["verdict"] == "inconclusive"
    assert "budget" in {c["rejection"]["limit"] for c in answer["considered"] if c["rejection"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--rate", "5rps"],
        ["nonsense"],
        ["simulate", *T4, "--replicas", "two"],
        ["plan", "--format", "xml"],
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2_without_a_traceback(installed, arguments):
    done = installed(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_a_bug_of_ours_shows_one_line_and_exit_1(tmp_path):
    program = (
        "import cli, sys, capacity.profile.load as files\n"
        "files.load_any = lambda name: 1 / 0\n"
        "sys.argv = ['capacity', 'plan', '--profile', 'x', '--rate', '1rps', '--slo-p99', '1s']\n"
        "cli.app()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "internal error: ZeroDivisionError: division by zero; please report it\n"


def test_progress_and_timing_go_to_stderr(capacity):
    done = capacity("plan", *T4, "--rate", "100rps", "--slo-p99", "50ms", "--batch-wait", "0ms", *QUICK)
    assert "judging" in done.stderr
    assert "done in" in done.stderr
    assert "done in" not in done.stdout
    assert "More: -v (4 fleets" in done.stdout


def test_a_reader_that_leaves_is_no_error(tmp_path):
    done = subprocess.run(
        f"{COMMAND} curve --json | head -c 10", shell=True, capture_output=True, text=True, cwd=tmp_path, check=False
    )  # fmt: skip
    assert done.stdout == '{\n  "schem'
    assert done.stderr == ""


@pytest.mark.timeout(60)
def test_a_huge_rate_is_refused_at_once(capacity):
    for rate in ("1e10rps", "1e12rps"):
        done = capacity("plan", *T4, "--rate", rate, "--slo-p99", "50ms")
        assert done.returncode == 3
        done = capacity("simulate", *T4, "--rate", rate, "--replicas", "3")
        assert done.returncode == 2
        assert "unstable plan" in done.stderr


def test_an_encoding_without_greek_loses_no_answer(tmp_path):
    done = subprocess.run(
        [COMMAND, "curve"], capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False
    )  # fmt: skip
    assert done.returncode == 0
    assert b"utilization ?" in done.stdout


def test_a_narrow_terminal_cuts_no_number(tmp_path):
    """On 80 columns every number of the considered table stands whole in one line."""
    from rich.console import Console

    from capacity.performance import Interval, Kind, Performance
    from capacity.question.candidate import Candidate, Rejection, Verdict
    from capacity.question.objective import Limit, Measure
    from capacity.render.plan import considered_tables
    from capacity.server.batch.plan import BatchPlan

    performance = Performance(
        kind=Kind.SIMULATION,
        load=0.886,
        response_quantiles_s={0.99: Interval(value=0.0483, low=0.046, high=0.0507)},
    )
    promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.04)
    candidate = Candidate(
        plan=BatchPlan(profile="x", replicas=1023, batch_size_max=131072),
        verdict=Verdict.MISSED,
        rejection=Rejection.of(promise, 0.0483),
        performance=performance,
    )
    console = Console(width=80)
    with console.capture() as text:
        console.print(*considered_tables([candidate], [promise]))
    (line,) = [row for row in text.get().splitlines() if "1023" in row]
    for part in ("131072", "0.886", "48.3 (46 to 50.7) ms", "missed: P99 above 40 ms"):
        assert part in line


def test_version(installed):
    from importlib.metadata import version

    assert installed("--version").stdout.strip() == version("capacity-planner")


def test_a_trace_too_short_for_its_percentile_is_inconclusive(capacity, tmp_path):
    (tmp_path / "t.csv").write_text("".join(f"{i / 100}\n" for i in range(500)), encoding="utf-8")
    done = capacity("plan", *T4, "--arrivals", "trace:t.csv", "--slo-p99", "50ms")
    assert done.returncode == 4
    assert "t.csv has 500 arrivals; P99 with an interval needs at least 5000" in done.stderr


@pytest.mark.long
@pytest.mark.usefixtures("no_headroom")
def test_a_trace_is_planned_on_its_own_rate(capacity, tmp_path):
    (tmp_path / "t.csv").write_text("".join(f"{i / 200}\n" for i in range(12_000)), encoding="utf-8")
    done = capacity("plan", *T4, "--arrivals", "trace:t.csv", "--slo-p99", "50ms", "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert answer["workload"]["arrival_rate_rps"] == pytest.approx(200.0)
    assert "trace_one_path" in {c["code"] for c in answer["caveats"]}
