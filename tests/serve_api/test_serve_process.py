"""`python -m serve_api` as it is run: start, swaps under load, the end."""

import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import pytest
from serving import FEATURES, PATIENCE_S, ROOT, a_store, instances, metric, onnx_model, publish
from serving_process import running, until
from typer.testing import CliRunner

from serve_api.commands import app as commands

SERVER = str(ROOT / "tests" / "made_up_server.py")


def made_up(**given):
    return running(json.dumps({"batch_wait_max_s": 0.0, **given}), script=SERVER)


def slow(milliseconds):
    return instances([float(milliseconds)] + [0.0] * (FEATURES - 1))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = a_store(tmp_path_factory.mktemp("model"))
    fast = ("--batch-wait-max", "1ms", "--inference-nice", "1")
    with running("--artifacts", str(store.root), *fast) as started:
        yield started


def test_it_predicts_and_says_where_it_listens(server):
    response, body = server.ask(instances(), headers={"X-Request-ID": "mine"})
    assert (response.status, json.loads(body)["model_version"]) == (200, "v1.0.0")
    assert response.headers["X-Request-ID"] == "mine"
    assert response.headers["X-Batch-Size"] == "1"
    assert [e["version"] for e in server.events("loaded")] == ["v1.0.0"]


def test_probes_and_documentation_answer(server):
    for path in ("/livez", "/readyz", "/health", "/metrics", "/docs", "/openapi.json"):
        assert server.ask(path=path)[0].status == 200, path


def test_what_it_logs_is_one_line_of_json_each_and_holds_no_request(server):
    server.ask(b'{"instances": "SECRET"}', headers={"X-Request-ID": "SECRET"})
    lines = [line for line in server.lines if not line.startswith("listening on ")]
    assert all({"time_s", "event"} <= json.loads(line).keys() for line in lines)
    assert "SECRET" not in " ".join(lines)


def nice_of(stat):
    return int(stat.read_text().rsplit(")", 1)[1].split()[16])


def test_inference_steps_back_and_the_event_loop_does_not(server):
    server.ask(instances())
    process = Path("/proc") / str(server.process.pid)
    assert 1 in [nice_of(task / "stat") for task in (process / "task").iterdir()]
    assert nice_of(process / "stat") == 0  # of the first thread, which runs the event loop


def start_fails(artifacts, port="0"):
    done = subprocess.run(
        [sys.executable, "-m", "serve_api", "--artifacts", str(artifacts), "--port", port],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("damage", ["current", "model.onnx"])
def test_what_cannot_be_served_ends_the_start_with_one_line(tmp_path, damage):
    store = a_store(tmp_path)
    if damage == "current":
        (store.root / "current").unlink()
    else:
        (store.root / "v1.0.0" / damage).write_bytes(b"xxxx")
    start_fails(tmp_path)


def test_a_port_that_is_taken_ends_the_start_with_one_line(tmp_path):
    a_store(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = start_fails(tmp_path, port)
    assert f"cannot listen on 127.0.0.1:{port}: " in said


class Asking:
    """Closed-loop clients that go on until they are told to stop, or the server is gone."""

    def __init__(self, server, clients, body):
        self.server, self.body = server, body
        self.answers, self.failures, self.stop = [], [], False
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        with closing(self.server.connect()) as connection:
            while not self.stop:
                try:
                    connection.request("POST", "/predict", self.body)
                    response = connection.getresponse()
                    self.answers.append((response.status, json.loads(response.read())))
                except ConnectionRefusedError:
                    return
                except (OSError, HTTPException, ValueError) as error:  # cut off, or no whole answer
                    self.failures.append(repr(error))
                    return

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join(PATIENCE_S)


def test_no_request_fails_while_versions_are_swapped_and_rolled_back(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))
    fast = ("--poll-interval", "20ms", "--batch-wait-max", "1ms")
    with running("--artifacts", str(tmp_path), *fast) as server:
        asking = Asking(server, 8, instances())
        for count, words in enumerate((["promote", "v1.1.0"], ["rollback"]), start=1):
            done = CliRunner().invoke(commands, [*words, "--artifacts", str(tmp_path)])
            assert done.exit_code == 0, done.output
            until(lambda count=count: len(server.events("version_swapped")) == count)
            before = len(asking.answers)
            until(lambda before=before: len(asking.answers) > before + 20)
        asking.end()
        text = server.metrics()
    assert asking.failures == []
    assert {(status, a["model_version"], *a["predictions"]) for status, a in asking.answers} == {
        (200, "v1.0.0", 0),
        (200, "v1.1.0", 1),
    }
    assert metric(text, "serve_requests_total", status="200") == len(asking.answers)


def asked_once(server, body):
    response, answer = server.ask(body)
    return response.status, json.loads(answer)["predictions"]


def test_who_waits_at_sigterm_is_answered_and_the_end_is_in_order():
    with made_up(batch_size_max=1) as server, ThreadPoolExecutor(20) as clients:
        asking = [clients.submit(asked_once, server, slow(1000))]
        until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        asking += [clients.submit(asked_once, server, slow(20)) for _ in range(19)]
        until(lambda: metric(server.metrics(), "serve_in_flight") == 20)
        assert server.terminate() == 0
        answers = [one.result(PATIENCE_S) for one in asking]
    assert answers == [(200, [1000]), *[(200, [20])] * 19]
    assert server.events("ended")
    assert "Traceback" not in " ".join(server.lines)


def test_in_the_drain_delay_it_is_not_ready_and_still_serves():
    with made_up(drain_delay_s=0.5) as server:
        asking = Asking(server, 8, slow(1))
        until(lambda: len(asking.answers) > 50)
        told_s = time.monotonic()
        server.process.terminate()
        until(lambda: server.ask(path="/readyz")[0].status == 503)
        response, _ = server.ask(slow(1))
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - told_s >= 0.49
        asking.end()
    assert {status for status, _ in asking.answers} == {200}


def test_what_takes_longer_than_the_drain_is_cut_off():
    with made_up(drain_max_s=1.0, inference_time_max_s=60.0) as server, ThreadPoolExecutor(1) as clients:
        cut = clients.submit(server.ask, slow(3000))
        until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        assert server.terminate() == 0
        assert cut.result(PATIENCE_S)[0].status == 500


def test_a_model_that_hangs_is_told_of_and_does_not_keep_the_process():
    with made_up(inference_time_max_s=0.1) as server:
        assert server.ask(slow(-2))[0].status == 503
        assert server.ask(path="/livez")[0].status == 503
        assert server.terminate() == 0
