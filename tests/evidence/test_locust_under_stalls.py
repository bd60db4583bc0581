"""A real load test of a server that does nothing for a second in every five: what audit says of it."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from serving import FEATURES, a_store
from serving_process import running
from typer.testing import CliRunner

from cli import app

USERS, STALL_S, EVERY_S, LASTS_S = 50, 1.0, 5.0, 20
USER = f"""
from locust import FastHttpUser, constant, task

class User(FastHttpUser):
    wait_time = constant(0.2)

    @task
    def predict(self):
        self.client.post("/predict", json={{"instances": [[0.5] * {FEATURES}]}})
"""


def stop_and_go(process: subprocess.Popen[str], done: threading.Event) -> None:
    """Stop a process for a second in every five."""
    while not done.wait(EVERY_S - STALL_S):
        process.send_signal(signal.SIGSTOP)
        done.wait(STALL_S)
        process.send_signal(signal.SIGCONT)


@pytest.mark.long
def test_audit_names_the_coordinated_omission_and_its_size(tmp_path: Path) -> None:
    """A fifth of the requests of a schedule meet the stall, of users who wait for their answers a twentieth."""
    (tmp_path / "user.py").write_text(USER)
    place = ["-f", str(tmp_path / "user.py"), "--headless", "--csv", str(tmp_path / "run")]
    bounds = ["--users", str(USERS), "--spawn-rate", "1000", "--run-time", f"{LASTS_S}s"]
    done = threading.Event()
    store = a_store(tmp_path / "model")
    with running("--artifacts", str(store.root), "--deadline", "10s") as server:
        thread = threading.Thread(target=stop_and_go, args=(server.process, done))
        thread.start()
        try:
            host = ["--host", f"http://127.0.0.1:{server.port}"]
            subprocess.run(
                [sys.executable, "-m", "locust", *place, *bounds, *host], check=False, capture_output=True
            )
        finally:
            done.set()
            thread.join()
            server.process.send_signal(signal.SIGCONT)
    asked = ["audit", str(tmp_path / "run_stats.csv"), "--users", str(USERS)]
    found = CliRunner().invoke(app, [*asked, "--json"])
    assert found.exit_code == 4, found.output
    document = json.loads(found.stdout)
    (omission,) = [
        one
        for one in document["findings"]
        if one["check"] == "coordinated-omission" and one["run"] == "Aggregated"
    ]
    assert omission["belief"] == "broken"
    numbers = omission["numbers"]
    assert 0.05 < numbers["unsent_share"] < 0.25
    # How far P90 is off depends on how many requests the machine managed between the stalls.
    assert 2.0 * numbers["reported_s"] < numbers["scheduled_s"] < 1.1
    shown = CliRunner().invoke(app, asked).stdout
    assert "were held back by slow answers" in " ".join(shown.split())
