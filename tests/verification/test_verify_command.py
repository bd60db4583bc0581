"""`capacity verify` against a server of a known queue; what a busy machine may change is not asserted."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from queue_server import QueueServer, serving

import capacity as cap
import cli
from capacity.answer.documents import dumps

COMMAND = Path(sys.executable).with_name("capacity")
BODY = {"instances": [[1.0, 2.5]]}
FLAGS = ["--profile", "two.csv", "--batch-size-max", "1", "--body", "body.json"]
SHORT = ["--rate", "150rps", "--duration", "1.5s", "--warm-up", "0.2s", "--precision", "0.1"]

pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the command runs."""
    (tmp_path / "two.csv").write_text("batch_size,mean_ms\n1,2\n4,4\n", encoding="utf-8")
    (tmp_path / "body.json").write_text(json.dumps(BODY, indent=2), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):  # which must not be used
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def verify(folder, capsys):
    """Exit code, stdout and stderr of the command."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.app(["verify", *arguments])
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


def test_predicted_beside_measured(verify, folder):
    with serving(QueueServer()) as server:
        code, out, errors = verify(
            *FLAGS, *SHORT, "--url", server.url, "--runs", "2", "-o", "a.json", "--json"
        )
    answer = json.loads(out)
    assert out == (folder / "a.json").read_text(encoding="utf-8")
    assert set(answer) == {
        "schema_version", "verdict", "exit_code", "plan", "workload", "objective", "measured", "predicted", "rows",
        "promises", "doubts", "runs", "pool_faults", "stopped_by", "lone_requests", "notes", "environment", "seed",
        "confidence",
    }  # fmt: skip
    assert answer["exit_code"] == code
    assert code in (0, 4), errors
    assert answer["measured"]["kind"] == "measurement"
    rows = {row["quantity"]: row for row in answer["rows"]}
    assert set(rows) == {
        "mean",
        "p50",
        "throughput",
        "batch",
        "utilization",
        "loss",
        "given-up",
    }  # no 1000 answers for P95
    assert rows["mean"]["stationary"]["predicted"]["value"] == pytest.approx(
        0.002 + 0.002 * 0.3 / 1.4, rel=0.05
    )
    assert rows["mean"]["measured"]["value"] > 0.002
    assert rows["batch"]["measured"]["value"] == 1.0
    for name in ("batch", "utilization"):  # of two runs of three sections each
        assert rows[name]["stationary"]["verdict"] in ("no interval", "void")
    assert rows["loss"]["measured"]["value"] == 0.0
    sent = sum(run["sent"] for run in answer["runs"])
    assert server.requests == sent + 3  # one before each run, and a lone one that told nothing
    assert server.bodies == {b'{"instances":[[1.0,2.5]]}'}
    first, second = answer["runs"]
    assert first["scheduled"] != second["scheduled"]
    assert first["statuses"] == {"200": first["counted"]}
    assert set(first["lag_s"]) == {"0.5", "0.99", "max"}
    assert any("no measured P99: an interval needs 5000 answered" in note for note in answer["notes"])
    assert answer["environment"]["urls"] == [server.url]


def test_the_function_answers_as_the_command_does(folder):
    """An answer of `plan` is a plan to verify, and messages are called back."""
    plan = cap.plan("two.csv", rate="150rps", slo_p99="1s", batch_size_max=1, batch_wait="0ms", precision=0.2)
    said: list[str] = []
    with serving(QueueServer()) as server:
        answer = cap.verify(
            plan, url=server.url, body="body.json", duration_s=1.0, warm_up="0.2s", precision=0.2,
            progress=said.append,
        )  # fmt: skip
    assert answer.to_dict()["exit_code"] == answer.exit_code
    assert answer.exit_code in (0, 4)
    assert answer.stop is None
    assert {row["quantity"] for row in answer.rows()} >= {"mean", "loss"}
    assert answer.to_dict()["plan"]["profile"] == "two"
    assert "simulating the requests that were sent" in said
    with pytest.raises(cap.InputError, match="already gives the whole plan; leave out replicas, or plan"):
        cap.verify(plan, url=server.url, body="body.json", replicas=2)
    with pytest.raises(cap.InputError, match="leave out batch_wait, or plan"):
        cap.verify(plan, url=server.url, body="body.json", batch_wait_s=0.001)


@pytest.mark.long
def test_utilization_is_what_the_server_counted(verify):
    with serving(QueueServer(service_s=0.004)) as server:
        _, out, _ = verify(*FLAGS, *SHORT, "--url", f"{server.url}?api_key=secret", "--json")
    answer = json.loads(out)
    assert "secret" not in out
    (run,) = answer["runs"]
    served_s = 0.004 * run["counted"]
    assert answer["measured"]["utilization"] == pytest.approx(served_s / run["window_s"], rel=0.25)


@pytest.mark.long
def test_another_way_of_batching_than_the_plans_is_told_before_and_after(verify):
    batching = "serve_batch_size_max 32.0\nserve_batch_wait_max_seconds 0.005\n"
    with serving(QueueServer(more_metrics=batching)) as server:
        _, out, errors = verify(*FLAGS, *SHORT, "--url", server.url, "--json")
    (told,) = [note for note in json.loads(out)["notes"] if "reports batches" in note]
    assert told.startswith(f"127.0.0.1:{server.port} reports batches up to 32 that wait up to 5 ms")
    assert errors.index(f"note: {told}") < errors.index("run 1 of 1")


@pytest.mark.long
def test_the_same_seed_sends_the_same_and_a_table_is_narrow(verify):
    with serving(QueueServer()) as server:
        _, first, _ = verify(*FLAGS, *SHORT, "--url", server.url, "--seed", "3", "--json")
        _, again, errors = verify(*FLAGS, *SHORT, "--url", server.url, "--seed", "3", "--metrics", "none")
    sent = json.loads(first)["runs"][0]["sent"]
    assert f"run 1 of 1: {sent} requests at 150 rps for 1.7 s" in errors
    assert max(map(len, again.splitlines())) <= 120
    assert "1 replica of two with batches up to 1 at 150 rps: " in again
    assert "utilization were not requested (--metrics none)" in " ".join(again.split())
    assert "mean batch  " not in again


@pytest.mark.long
def test_replicas_are_routed_to_in_turn(verify):
    with serving(QueueServer()) as one, serving(QueueServer()) as other:
        _, out, _ = verify(*FLAGS, *SHORT, "--url", one.url, "--url", other.url, "--json")
    answer = json.loads(out)
    assert answer["plan"]["replicas"] == 2
    sent_to, sent_to_other = answer["runs"][0]["sent_by_url"]
    assert 0 <= sent_to - sent_to_other <= 1
    assert (one.requests, other.requests) == (sent_to + 2, sent_to_other + 1)


def test_refused_requests_are_counted_and_held_against_the_prediction(verify):
    status = {0: 503, 1: 307}
    with serving(QueueServer(status=lambda n: status.get(n % 5, 200) if n > 1 else 200)) as server:
        code, out, _ = verify(*FLAGS, *SHORT, "--url", server.url, "--json", "--tolerance", "loss=1%")
    answer = json.loads(out)
    statuses = answer["runs"][0]["statuses"]
    assert set(statuses) == {"200", "307", "503"}
    assert server.paths == []  # a redirect is an answer, and is not followed
    assert answer["runs"][0]["answered"] == statuses["200"]
    (loss,) = [row for row in answer["rows"] if row["quantity"] == "loss"]
    assert loss["measured"]["value"] == pytest.approx(0.4, abs=0.02)
    assert loss["tolerance"] == 0.01
    assert code == 4
    if answer["verdict"] != "invalid":
        assert loss["stationary"]["verdict"] == "disagree"


def test_requests_that_are_never_answered_time_out(verify):
    with serving(QueueServer(status=lambda n: None if n % 10 == 0 else 200)) as server:
        _, out, _ = verify(*FLAGS, *SHORT, "--url", server.url, "--json", "--timeout", "300ms")
    assert json.loads(out)["runs"][0]["statuses"]["timeout"] >= 20


@pytest.mark.long
def test_a_saved_plan_says_rate_and_promise(verify, folder, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.app(
            ["plan", "--profile", "two.csv", "--rate", "150rps", "--slo-p50", "1s", "--slo-mean", "2.5ms",
             "--batch-size-max", "1", "--routing", "random", "-o", "plan.json"]
        )  # fmt: skip
    assert (ended.value.code or 0) == 0, capsys.readouterr()
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["answer"]["recommendation"]
    with serving(QueueServer(service_s=0.015)) as server:  # far slower than the profile says
        code, out, errors = verify(
            "--plan", "plan.json", "--body", "body.json", *SHORT[4:], "--url", server.url, "--rate", "30rps",
            "--duration", "4s", "--json",
        )  # fmt: skip
    answer = json.loads(out)
    assert answer["plan"]["replicas"] == plan["replicas"]
    assert answer["plan"]["routing"] == "random"
    assert answer["workload"] == {"arrival_rate_rps": 30.0, "arrivals": "poisson"}
    verdicts = {row["measure"]: row["verdict"] for row in answer["promises"]}
    assert verdicts["response_mean_s"] == "missed"
    assert verdicts["response_quantiles_s"] == "met"
    assert (code, answer["verdict"]) in ((3, "missed"), (4, "invalid")), errors


def unused_url():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/predict"


def test_a_server_that_is_not_there(verify):
    code, out, errors = verify(*FLAGS, *SHORT, "--url", unused_url())
    assert (code, out) == (5, "")
    assert "cannot be reached; is the server up, and is the address right?" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (503, 5, "answered the first request with status 503; wait until it is ready"),
        (422, 2, "answered the first request with status 422; check --url and --body"),
        (
            307,
            2,
            "answered the first request with status 307, a redirect, which is not followed; give the final address",
        ),
    ],
)
def test_a_server_that_will_not_answer(verify, status, code, said):
    with serving(QueueServer(status=lambda n: status)) as server:
        found, out, errors = verify(*FLAGS, *SHORT, "--url", server.url)
    assert (found, out) == (code, "")
    assert errors.splitlines()[-1].endswith(said)
    assert (server.requests, server.paths) == (2, [])  # a lone one, and the one before the run


def test_an_answer_without_end_is_given_up(verify, monkeypatch):
    monkeypatch.setattr("capacity.measurement.http.ANSWER_BYTES_MAX", 10)
    with serving(QueueServer()) as server:
        code, out, errors = verify(*FLAGS, *SHORT, "--url", server.url)
    assert (code, out, server.requests) == (5, "", 2)
    assert "answered more than 16777216 bytes" in errors


def test_a_server_that_does_not_answer_in_time(verify):
    with serving(QueueServer(status=lambda n: None)) as server:
        code, _, errors = verify(*FLAGS, *SHORT, "--url", server.url, "--timeout", "200ms")
    assert code == 5
    assert "did not answer in time" in errors


@pytest.mark.long
def test_metrics_that_are_asked_for_must_be_there(verify):
    with serving(QueueServer(has_metrics=False)) as server:
        metrics = server.url.replace("predict", "metrics")
        code, out, errors = verify(*FLAGS, *SHORT, "--url", server.url, "--metrics", metrics)
        assert (code, out, server.requests) == (5, "", 0)
        assert "404" in errors
        _, out, _ = verify(*FLAGS, *SHORT, "--url", server.url, "--json")
    assert "mean batch and utilization are not known: 127.0.0.1:" in " ".join(json.loads(out)["notes"])


@pytest.mark.long
def test_a_server_whose_metrics_go_away_costs_no_measurement(verify):
    with serving(QueueServer()) as server:

        def last(number):
            server.has_metrics = number < 20  # some time in the run
            return 200

        server.status = last
        code, out, errors = verify(*FLAGS, *SHORT, "--url", server.url, "--json")
    answer = json.loads(out)
    assert code in (0, 4), errors
    assert {"mean", "loss"} <= {row["quantity"] for row in answer["rows"]}
    assert any(note.startswith("mean batch and utilization are not known: ") for note in answer["notes"])


NOWHERE = "http://127.0.0.1:9/predict"


def test_without_a_plan_or_a_profile(verify):
    code, _, errors = verify("--body", "body.json", "--url", NOWHERE, "--rate", "1rps")
    assert (code, errors) == (2, "error: give --plan plan.json, or --profile and the rest of the plan\n")


def test_without_aiohttp_the_message_says_how_to_get_it(verify, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    code, _, errors = verify(*FLAGS, *SHORT, "--url", NOWHERE)
    assert code == 5
    assert errors.endswith("not installed; pip install 'capacity-planner[measure]'\n")


@pytest.mark.long
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGINT, 130, "interrupted")])
def test_an_interrupt_ends_with_what_there_is(folder, number, code, said):
    with serving(QueueServer()) as server:
        arguments = [*FLAGS, "--rate", "100rps", "--duration", "60s", "--warm-up", "0s", "-o", "part.json"]
        with subprocess.Popen(
            [COMMAND, "verify", *arguments, "--url", server.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        ) as program:  # fmt: skip
            try:
                for _ in range(600):
                    if server.requests > 60:
                        break
                    time.sleep(0.05)
                program.send_signal(number)
                out, errors = program.communicate(timeout=20.0)
            finally:
                program.kill()
    assert program.returncode == code, errors
    assert errors.splitlines()[-1] == said
    assert "Traceback" not in errors
    assert "exception" not in errors
    assert "simulating the requests" not in errors  # who interrupts is in a hurry
    assert "interrupted; these are the results so far" in out
    text = (folder / "part.json").read_text(encoding="utf-8")
    answer = json.loads(text)
    assert text == dumps({key: answer[key] for key in answer if key != "schema_version"}) + "\n"
    assert (answer["verdict"], answer["exit_code"]) == ("interrupted", code)
    assert 40 <= answer["runs"][0]["sent"] < 5000
