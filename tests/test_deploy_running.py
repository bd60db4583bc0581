"""What runs beside the service: its health check, and locust's users, against a stand-in on 127.0.0.1."""

import os
import re
import signal
import subprocess
import sys

import pytest
from deployment import DEPLOY, ROOT, documents, health_check
from http_stub import stub
from serving import a_store, onnx_model, publish
from typer.testing import CliRunner

from serve_api.commands import app as commands
from serve_api.store import ArtifactStore

LOCUSTFILE = DEPLOY / "locustfile.py"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        timeout=120,
        check=False,
    )


def locust(host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Four users for a second."""
    bounds = ("--headless", "--users", "4", "--spawn-rate", "100", "--run-time", "1s", "--stop-timeout", "5")
    return python("-m", "locust", "-f", str(LOCUSTFILE), "--host", host, *bounds, *arguments)


def test_users_ask_as_the_contract_says():
    with stub() as service:
        done = locust(f"http://127.0.0.1:{service.server_port}", "--think-time", "50ms", "--rows", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(service.asked) >= 4  # each of them once at least, however slow the machine
    for path, body in service.asked:
        assert path == "/predict"
        assert [len(row) for row in body["instances"]] == [30, 30, 30]


@pytest.mark.parametrize(("status", "rows_answered"), [(503, None), (200, 2)])
def test_what_is_no_prediction_is_a_failure(status, rows_answered):
    with stub(status, rows_answered) as service:
        done = locust(f"http://127.0.0.1:{service.server_port}", "--think-time", "50ms")
    assert service.asked
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_no_answer_is_a_failure():
    with stub() as service:
        port = service.server_port
    done = locust(f"http://127.0.0.1:{port}", "--think-time", "500ms")
    assert done.returncode == 1
    assert "refused" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--think-time", "50"), "has no unit; write 50ms"),
        (("--rows", "0"), "whole number from 1 on, got '0'"),
    ],
)
def test_bad_arguments_are_refused_before_anybody_asks(arguments, complaint):
    with stub() as service:
        done = locust(f"http://127.0.0.1:{service.server_port}", *arguments)
    assert (done.returncode != 0, service.asked) == (True, [])
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rule_for_the_number_of_users_adds_up():
    done = python("-m", "doctest", "-v", str(LOCUSTFILE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_pytest_does_not_import_locust():
    done = python("-m", "pytest", "--collect-only", "-q", "-n0", "-p", "no:cacheprovider", str(DEPLOY))
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr


def check(file: str, port: int, process: int) -> subprocess.CompletedProcess[str]:
    """The health check of a file, of a stand-in; what it may end is a process of this test, never the container's own."""
    found = documents()
    words = {
        "Dockerfile": health_check(found),
        "compose.yaml": found["compose"]["services"]["serve-api"]["healthcheck"]["test"][1:],
    }[file]
    own = {"--port=8000": f"--port={port}", "--end-hung=1": f"--end-hung={process}"}
    assert {"--port=8000"} <= set(words) <= {"python", "-m", "serve_api.health_check", *own}
    return python(*(own.get(word, word) for word in words[1:]))


@pytest.fixture
def server():
    """A process that stands for the server, and does nothing."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml"])
@pytest.mark.parametrize("ready", [200, 503])
def test_health_check_goes_by_readiness(file, ready, server):
    with stub(statuses={"/readyz": ready, "/livez": 200}) as service:
        done = check(file, service.server_port, server.pid)
    assert (done.returncode == 0) == (ready == 200)
    assert service.asked[0] == ("/readyz", None)
    assert done.stderr == ("" if ready == 200 else "/readyz answers 503\n")
    assert server.poll() is None  # one that drains is left alone


def test_compose_ends_a_server_whose_model_hangs_and_the_image_alone_does_not(server):
    with stub(statuses={"/readyz": 503, "/livez": 503}) as service:
        assert check("Dockerfile", service.server_port, server.pid).returncode == 1
        assert server.poll() is None
        done = check("compose.yaml", service.server_port, server.pid)
    assert (done.returncode, server.wait(timeout=10)) == (1, -signal.SIGTERM)
    assert "the model hangs: the server is told to end" in done.stderr


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml"])
def test_health_check_fails_where_nobody_listens_and_ends_nothing(file, server):
    with stub() as service:
        port = service.server_port
    done = check(file, port, server.pid)
    assert (done.returncode, done.stderr) == (1, "no answer\n")
    assert server.poll() is None


def test_jobs_fill_a_new_volume_and_switch_it_there_and_back(tmp_path):
    models, shared = a_store(tmp_path / "models" / "mlp"), ArtifactStore(tmp_path / "artifacts" / "mlp")
    publish(models, "v1.1.0", onnx_model())

    def job(name: str, *, version: str = "v1.1.0") -> str:
        (container,) = documents()["jobs"][name]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["python", "-m", "serve_api"]
        words = [re.sub("=/(models|artifacts)", rf"={tmp_path}/\1", word) for word in container["args"]]
        done = CliRunner().invoke(commands, [word.replace("v1.1.0", version) for word in words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert job("publish", version="v1.0.0") == "v1.0.0\n"
    assert shared.current() == "v1.0.0"  # the first one, so that pods can start
    assert job("publish") == job("publish") == "v1.1.0\n"  # Kubernetes may run it twice
    assert shared.current() == "v1.0.0"
    assert job("promote") == job("promote") == "v1.1.0\n"
    assert (shared.current(), shared.load().model) == ("v1.1.0", models.load("v1.1.0").model)
    assert job("rollback") == "v1.0.0\n"
    assert shared.current() == "v1.0.0"
