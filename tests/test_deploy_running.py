"""What runs beside the service: its health check, and locust's users, against a stand-in on 127.0.0.1."""

import os
import subprocess
import sys

import pytest
from deployment import DEPLOY, ROOT, documents, health_check
from http_stub import stub

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


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml"])
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_goes_by_readiness(file, status, healthy):
    found = documents()
    check = {
        "Dockerfile": health_check(found),
        "compose.yaml": found["compose"]["services"]["serve-api"]["healthcheck"]["test"][1:],
    }[file]
    with stub(status) as service:
        done = python(*(word.replace("8000", str(service.server_port)) for word in check[1:]))
    assert (done.returncode == 0) == healthy
    assert service.asked == [("/readyz", None)]


def test_health_check_fails_where_nobody_listens():
    with stub() as service:
        port = service.server_port
    check = health_check(documents())
    assert python(*(word.replace("8000", str(port)) for word in check[1:])).returncode != 0
