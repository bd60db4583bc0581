"""`import`, `audit` and `explain` of files of other tools, as a user runs them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import capacity as cap
from capacity.formats.load_test import LoadTest
from capacity.profile.load import load_profile
from capacity.profile.profile import ServiceProfile
from cli import app

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TRITON, LOCUST, PERF = (
    EXAMPLES / name for name in ("triton-statistics.json", "locust-stalls_stats.csv", "perf_analyzer.csv")
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def answer(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def served(body: bytes, status: int = 200) -> Iterator[str]:
    """A server that answers anything with one body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nothing: a test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v2/models/classifier/stats"
        finally:
            server.shutdown()
            thread.join(timeout=10)


def test_statistics_of_triton_become_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    done = run("import", TRITON, "-o", path)
    assert done.exit_code == 0, done.output
    assert "a profile. It also holds a load-test: give --as." in done.stdout
    profile = load_profile(path)
    stats = json.loads(TRITON.read_text())["model_stats"][0]["batch_stats"]
    for one in stats:
        took = sum(one[stage]["ns"] for stage in ("compute_input", "compute_infer", "compute_output"))
        mean_s = 1e-9 * took / one["compute_infer"]["count"]
        assert profile.service_mean_s(one["batch_size"]) == pytest.approx(mean_s, rel=1e-12)


def test_what_is_said_of_a_profile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    said = ["--name", "mine", "--device", "H100", "--hourly-usd", 3, "--request-overhead", "5ms", "--model", "net"]  # fmt: skip
    assert run("import", TRITON, *said, "-o", path).exit_code == 0
    profile = load_profile(path)
    assert (profile.name, profile.device, profile.hourly_usd, profile.model) == ("mine", "H100", 3.0, "net")
    assert profile.request_overhead_s == 0.005
    for wrong in (["--kv-tokens", 100], ["--as", "load-test", "--device", "H100"]):
        done = run("import", TRITON, *wrong)
        assert (done.exit_code, "does not apply to a" in done.stderr) == (2, True)


def test_a_url_is_read_like_a_file() -> None:
    with served(TRITON.read_bytes()) as url:
        assert answer("import", url)["kind"] == "profile"
        assert answer("explain", url)["tool"] == "triton"
    with served(b"no such model", 400) as url:
        assert run("import", url).exit_code == 5
    with served(b"\xff\xfe") as url:
        assert run("import", url).exit_code == 2


def test_what_is_asked_for_is_read_where_a_file_holds_several(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    assert run("import", TRITON, "--as", "load-test", "-o", path).exit_code == 0
    again = answer("import", path)
    assert (again["tool"], again["kind"]) == ("capacity import", "load-test")
    assert again["load_test"]["runs"] == answer("import", TRITON, "--as", "load-test")["load_test"]["runs"]
    for wrong, message in (("workload", "no workload in it"), ("song", "--as 'song' is none of profile")):
        done = run("import", TRITON, "--as", wrong)
        assert (done.exit_code, message in done.output) == (2, True), done.output
    assert run("import", TRITON, PERF, "--as", "profile").exit_code == 2


def test_requests_of_a_log_become_a_trace(tmp_path: Path) -> None:
    log, trace = tmp_path / "hey.csv", tmp_path / "trace.csv"
    rows = ["response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset"]
    rows += [f"0.01,0,0,0,0.01,0,200,{0.05 * number:.4f}" for number in range(100)]
    log.write_text("\n".join(rows) + "\n")
    assert run("import", log, "--as", "workload", "-o", trace).exit_code == 0
    by_trace, by_log = (answer("workload", path) for path in (trace, log))
    assert (
        by_trace["arrival_rate_rps"]
        == pytest.approx(by_log["arrival_rate_rps"])
        == pytest.approx(20.0, rel=0.02)
    )
    as_json = tmp_path / "workload.json"
    assert run("import", log, "--as", "workload", "-o", as_json).exit_code == 0
    assert answer("workload", as_json)["arrival_rate_rps"] == pytest.approx(by_log["arrival_rate_rps"])
    assert run("import", log, "--as", "workload", "-o", tmp_path / "trace.txt").exit_code == 2


@pytest.mark.parametrize("command", ["import", "audit", "explain"])
@pytest.mark.parametrize("content", ["", "{}", "a,b\n1,2\n", '{"$schema": "x", "properties": {}}'])
def test_a_file_of_no_known_format_is_refused_in_one_line(command: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    done = run(command, path)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "file.json" in done.stderr


def test_a_profile_of_another_tool_is_taken_where_one_is_asked_for() -> None:
    found = answer("simulate", "--profile", TRITON, "--rate", "100rps", "--replicas", 1, "--precision", "0.2")
    assert found["plan"]["profile"] == "classifier"
    assert found["plan"]["batch_size_max"] == 8


def test_an_audit_names_the_omission_of_users_who_waited() -> None:
    found = answer("audit", LOCUST, "--users", 50, code=4)
    broken = {one["run"]: one for one in found["findings"] if one["belief"] == "broken"}
    assert set(broken) == {"Aggregated"}  # users belong to all endpoints together
    numbers = broken["Aggregated"]["numbers"]
    assert numbers["quantile"] == 0.9
    assert numbers["reported_s"] == pytest.approx(0.1)
    assert 0.4 < numbers["scheduled_s"] < 0.8
    unknown = answer("audit", LOCUST, code=4)
    assert unknown["verdict"] == "doubtful"  # the server stops at times, users or none


def k6_export(folder: Path, **users: int) -> Path:
    """A summary of k6 1.1.0 by shape: 100 iterations a second for 30 s, which took 6 ms on average."""
    took = {"avg": 5.8, "min": 3.3, "med": 5.4, "max": 33.9, "p(90)": 7.5, "p(95)": 8.6, "p(99)": 12.7}
    metrics = {
        "http_req_duration": took | {"thresholds": {"p(95)<100": False}},
        "http_req_duration{expected_response:true}": took,
        "http_reqs": {"count": 3001, "rate": 99.9975},
        "http_req_failed": {"passes": 0, "fails": 3001, "value": 0},
        "iterations": {"count": 3001, "rate": 99.9975},
        "iteration_duration": took,
        **{name: {"min": 0, "value": count, "max": count} for name, count in users.items()},
    }
    path = folder / "export.json"
    path.write_text(json.dumps({"root_group": {}, "metrics": metrics}), encoding="utf-8")
    return path


def test_a_healthy_run_of_k6_may_be_used(tmp_path: Path) -> None:
    found = answer("audit", k6_export(tmp_path, vus=3, vus_max=50))
    assert [run["name"] for run in found["runs"]] == ["http_req_duration"]
    assert (found["runs"][0]["loop"], "at most 3" in found["runs"][0]["loop_because"]) == ("open", True)
    refused = CliRunner().invoke(app, ["audit", str(tmp_path / "export.json"), "--users", "50"])
    assert (refused.exit_code, "give --loop closed if they were not" in refused.output) == (2, True)


def test_a_loop_that_nothing_tells_is_told(tmp_path: Path) -> None:
    path = k6_export(tmp_path, vus=50, vus_max=50)
    assert answer("audit", path, code=4)["verdict"] == "unknown"
    assert answer("audit", path, "--loop", "open")["verdict"] == "holds"


def test_figures_that_hold_end_with_0(tmp_path: Path) -> None:
    log = tmp_path / "hey.csv"
    rows = ["response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset"]
    rows += [f"0.0100,0,0,0,0.01,0,200,{0.01 * number:.4f}" for number in range(2000)]
    log.write_text("\n".join(rows) + "\n")
    done = run("audit", log, "--users", 1)
    assert done.exit_code == 0, done.output
    assert "Sound for 1 waiting user; it says nothing about an arrival rate." in done.stdout
    unknown = run("audit", PERF)
    assert unknown.exit_code == 4
    assert "does not say enough to tell: " in unknown.stdout
    assert "as many as there are users (8)" in run("audit", PERF, "--verbose").stdout
    for wrong in (["--users", 0], ["--replicas", 2], ["--batch-wait", "1ms"]):
        assert run("audit", PERF, *wrong).exit_code == 2, wrong


def test_a_profile_predicts_each_run() -> None:
    asked = ["--profile", TRITON, "--request-overhead", "2.1ms"]
    found = answer("audit", PERF, *asked, code=4)
    partings = {one["run"]: one["parting"] for one in found["beside"]}
    assert partings["concurrency 2"] == partings["concurrency 4"] == "agrees"
    for one in found["beside"]:
        mean = next(row for row in one["rows"] if row["quantity"] == "response mean")
        assert mean["measured"]["value"] == pytest.approx(mean["predicted"]["value"], rel=0.1)
    slow = answer("audit", PERF, *asked[:2], "--request-overhead", "30ms", code=4)
    (first, *_) = slow["beside"]
    assert first["parting"] == "faster"
    assert "outside the server: 2.1 ms measured, 30 ms predicted" in first["message"]


def test_a_rate_beyond_what_is_sustained_is_overload(tmp_path: Path) -> None:
    run_ = {"name": "500 rps", "loop": "open", "rate_asked_rps": 500.0, "quantiles_s": {}}
    document = {"format": "capacity-load-test", "schema_version": 1, "tool": "x", "name": "x", "runs": [run_]}
    (tmp_path / "test.json").write_text(json.dumps(document))
    found = answer("audit", tmp_path / "test.json", "--profile", TRITON, code=4)
    (beside,) = found["beside"]
    assert beside["parting"] == "overloaded"
    assert "load 1." in beside["message"]


def test_a_saved_plan_predicts_too(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    limits = ["--slo-p99", "200ms", "--batch-wait", "0ms", "--batch-size-max", 8, "--precision", "0.2"]
    assert run("plan", "--profile", TRITON, "--rate", "100rps", *limits, "-o", plan).exit_code == 0
    assert len(answer("audit", PERF, "--plan", plan, code=4)["beside"]) == 4
    assert run("audit", PERF, "--plan", plan, "--profile", TRITON).exit_code == 2


def test_explain_tells_the_queue_by_littles_law() -> None:
    found = answer("explain", PERF)
    last = found["runs"][-1]
    assert last["name"] == "concurrency 8"
    waiting = last["waiting"]
    assert waiting["waiting"] == pytest.approx(204.0 * 0.011881, rel=1e-3)
    # With what is on the way, all eight.
    outside = 204.0 * (0.00201 + 0.00009)
    assert waiting["waiting"] + waiting["served"] + outside == pytest.approx(8.0, rel=0.02)
    assert (
        "The queue is short: a request waits about as long as the batch before it takes to end."
        in last["reasons"]
    )
    second = found["runs"][1]["reasons"]
    assert any("Of 2 users who wait for their answers 0.83 stand in the queue" in one for one in second)
    assert run("explain", PERF, "--arrivals", "trace:none.csv").exit_code == 2
    done = run("explain", LOCUST)
    assert (done.exit_code, "no times of the server's stages" in done.stderr) == (2, True)


def test_python_has_the_same_answers(tmp_path: Path) -> None:
    audit = cap.audit(LOCUST, users=50)
    assert audit.belief.value == "broken"
    assert audit.exit_code == 4
    assert set(audit.to_frame()["run"]) == {"POST /predict", "Aggregated"}
    assert audit.to_frame().query("verdict == 'broken'")["run"].tolist() == ["Aggregated"]
    profile, test = (cap.import_file(TRITON, kind=kind).found for kind in ("profile", "load-test"))
    assert isinstance(profile, ServiceProfile)
    assert isinstance(test, LoadTest)
    assert cap.explain(TRITON).to_frame().iloc[0]["compute infer"] > 0.01


CONFIG = """\
name: "classifier"
max_batch_size: 32
instance_group [ { kind: KIND_GPU count: 1 gpus: [ 0 ] } ]
dynamic_batching { max_queue_delay_microseconds: 500 default_queue_policy { max_queue_size: 16 } }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Written here by the schema of Triton."""
    path = tmp_path / "config.pbtxt"
    path.write_text(CONFIG)
    return path


def test_the_plan_of_a_server_predicts_with_a_profile(config: Path) -> None:
    """The batches of the example are of up to 8, and 16 places have room for 8 users."""
    flags = ("--plan", config, "--profile", TRITON, "--request-overhead", "2.1ms")
    found = answer("audit", PERF, *flags, code=4)
    assert [one["parting"] for one in found["beside"]][1:3] == ["agrees", "agrees"]
    assert any("batches up to 32, and the profile has times up to 8" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain",), "capacity simulate --profile PROFILE --rate RATE --replicas 1 --batch-size-max 32"),
        (("render", "--target", "triton"), "not a saved plan; capacity import shows its settings as flags"),
        (("check", "--plan"), "not a saved plan; capacity import"),
        (("audit", PERF, "--plan"), "and not how long it takes; give --profile too"),
        (("audit", PERF, "--replicas", "2", "--profile", TRITON, "--plan"), "--replicas is in the plan of the server"),
    ],
)  # fmt: skip
def test_a_server_s_configuration_is_no_dead_end(words: tuple[object, ...], said: str, config: Path) -> None:
    done = run(*words, config)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "words", [("plan", "--rate", "10rps", "--slo-p99", "1s", "--profile"), ("workload",)]
)
def test_a_load_test_in_the_place_of_a_profile_is_told_to_be_one(words: tuple[str, ...]) -> None:
    done = run(*words, LOCUST)
    assert done.exit_code == 2
    assert "is from locust --csv, which has no" in done.stderr
    assert "only: load-test; give it to capacity audit" in done.stderr


def test_a_trace_of_another_tool_s_report_is_told_to_be_none() -> None:
    done = run("simulate", "--profile", TRITON, "--replicas", 1, "--arrivals", f"trace:{LOCUST}")
    assert "is from locust --csv, which has no workload in it" in done.stderr


def test_several_files_that_are_no_sweeps_are_not_asked_for_their_cache() -> None:
    done = run("import", PERF, LOCUST)
    assert done.exit_code == 2
    assert "only where all are of the server of one language model" in done.stderr
    assert "kv-tokens" not in done.stderr


# Written here by the fields of vLLM's benchmarks/serve.py, without --save-detailed.
TOTALS = {
    "request_rate": 10.0, "max_concurrency": None, "duration": 102.0, "completed": 1000, "failed": 0,
    "total_input_tokens": 512_000, "total_output_tokens": 101_000, "request_throughput": 9.804,
    "mean_e2el_ms": 2000.0, "median_e2el_ms": 1900.0, "p99_e2el_ms": 3000.0,
}  # fmt: skip


@pytest.mark.parametrize("words", [(), ("--as", "load-test")])
def test_totals_of_a_language_model_are_a_load_test_and_no_sweep(words, tmp_path) -> None:
    path, written = tmp_path / "bench.json", tmp_path / "test.json"
    path.write_text(json.dumps(TOTALS))
    assert answer("import", path, *words, "-o", written)["kind"] == "load-test"
    assert answer("audit", written, code=4)["runs"] == answer("audit", path, code=4)["runs"]
