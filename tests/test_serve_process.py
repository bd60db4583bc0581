"""`python -m serve_api` as it is run: start, headers on the wire, swaps under load, the end."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest
from serving import FEATURES, PATIENCE_S, ROOT, a_store, instances, metric, onnx_model, publish
from serving_process import not_reading, running, until
from typer.testing import CliRunner

from serve_api.commands import app as commands

SERVER = str(ROOT / "tests" / "made_up_server.py")
TOKEN = "0123456789abcdef"


def made_up(**parts):
    return running(json.dumps({"batch": {"wait_max_s": 0.0}, **parts}), script=SERVER)


def slow(milliseconds):
    return instances([float(milliseconds)] + [0.0] * (FEATURES - 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(store):
    with running(
        "--artifacts", str(store.root), "--batch-wait-max", "1ms", "--inference-nice", "1"
    ) as started:
        yield started


def test_it_predicts_and_says_where_it_listens(server):
    response, body = server.ask(instances(), headers={"X-Request-ID": "mine"})
    assert (response.status, json.loads(body)["model_version"]) == (200, "v1.0.0")
    assert response.headers["X-Request-ID"] == "mine"
    assert re.fullmatch(r"queue;dur=[\d.]+, batch;dur=[\d.]+", response.headers["Server-Timing"])
    assert response.headers["X-Batch-Size"] == "1"
    assert [e["version"] for e in server.events("loaded")] == ["v1.0.0"]


def test_probes_and_documentation_answer(server):
    for path in ("/livez", "/readyz", "/health", "/metrics", "/openapi.json"):
        assert server.ask(path=path)[0].status == 200, path


def test_what_it_logs_is_one_line_of_json_each_and_holds_no_request(server):
    server.ask(b'{"instances": "SECRET"}', headers={"X-Request-ID": "SECRET"})
    server.ask(b"SECRET{")
    lines = [line for line in server.lines if not line.startswith("listening on ")]
    assert all({"time_s", "event"} <= json.loads(line).keys() for line in lines)
    assert "SECRET" not in " ".join(lines)


def nice_of(stat):
    return int(stat.read_text().rsplit(")", 1)[1].split()[16])


def test_inference_steps_back_and_the_event_loop_does_not(server):
    process = Path("/proc") / str(server.process.pid)
    assert 1 in [nice_of(task / "stat") for task in (process / "task").iterdir()]
    assert nice_of(process / "stat") == 0  # of the first thread, which runs the event loop


def no_current(store):
    (store.root / "current").unlink()


def damaged(store):
    with (store.root / "v1.0.0" / "model.onnx").open("r+b") as file:
        file.write(b"xxxx")


def no_model(store):
    publish(store, "v1.1.0", b"no model")
    store.set_current("v1.1.0")


@pytest.mark.parametrize("bad", [no_current, damaged, no_model])
def test_what_cannot_be_served_ends_the_start_with_one_line(tmp_path, bad):
    store = a_store(tmp_path)
    bad(store)
    done = subprocess.run(
        [sys.executable, "-m", "serve_api", "--artifacts", str(tmp_path), "--port", "0"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_ends_the_start_with_one_line(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "serve_api", "--artifacts", str(store.root), "--port", port],
            capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"error: cannot listen on 127.0.0.1:{port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_connections_that_the_system_does_not_allow_end_the_start_with_one_line(store):
    command = [sys.executable, "-m", "serve_api", "--artifacts", str(store.root), "--port", "0"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 1000; exec "$@"', "bash", *command],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: --connections-max 4096 needs 4240 open files, and the system allows 1000; "
        "raise its limit (ulimit -Hn), or take 856 at most\n"
    )


def test_the_token_comes_from_the_environment_and_is_never_shown(store):
    with running("--artifacts", str(store.root), env={"SERVE_TOKEN": TOKEN}) as server:
        assert server.ask(instances())[0].status == 401
        response, _ = server.ask(instances(), headers={"Authorization": f"Bearer {TOKEN}"})
        assert response.status == 200
        shown = [server.ask(path=path)[1].decode() for path in ("/metrics", "/health", "/openapi.json")]
        assert TOKEN not in " ".join([*shown, *server.lines])


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


def all_are_whole_and_of_both(asking):
    """No request failed, and each answer is of one version or the other."""
    assert asking.failures == []
    assert {status for status, _ in asking.answers} == {200}
    assert {(a["model_version"], *a["predictions"]) for _, a in asking.answers} == {
        ("v1.0.0", 0),
        ("v1.1.0", 1),
    }


def test_no_request_fails_while_versions_are_swapped(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))

    def back():
        result = CliRunner().invoke(commands, ["rollback", "--artifacts", str(tmp_path)])
        assert (result.exit_code, result.output) == (0, "v1.0.0\n")

    with running(
        "--artifacts", str(tmp_path), "--poll-interval", "20ms", "--batch-wait-max", "1ms"
    ) as server:
        asking = Asking(server, 8, instances())
        ways = [*[partial(store.set_current, version) for version in ("v1.1.0", "v1.0.0", "v1.1.0")], back]
        for count, switch in enumerate(ways, start=1):
            switch()
            until(lambda count=count: len(server.events("version_swapped")) == count)
            before = len(asking.answers)
            until(lambda before=before: len(asking.answers) > before + 20)
        asking.end()
        text = server.metrics()
    all_are_whole_and_of_both(asking)
    assert metric(text, "serve_reloads_total", outcome="swapped") == 4
    total = metric(text, "serve_requests_total", status="200")
    assert total == len(asking.answers)


def test_no_request_fails_while_a_canary_takes_its_share_or_is_made_current(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))
    canary = ("--canary", "v1.1.0", "--canary-share", "0.5")
    fast = ("--poll-interval", "20ms", "--batch-wait-max", "1ms")
    with running("--artifacts", str(tmp_path), *canary, *fast) as server:
        asking = Asking(server, 8, instances())
        until(lambda: len(asking.answers) > 800)  # a hundred batches at least
        shared = [answer["model_version"] for _, answer in list(asking.answers)]
        store.set_current("v1.1.0")
        until(lambda: server.events("version_swapped"))
        before = len(asking.answers)
        until(lambda: len(asking.answers) > before + 100)
        asking.end()
        text = server.metrics()
    all_are_whole_and_of_both(asking)
    for version in ("v1.0.0", "v1.1.0"):
        assert shared.count(version) > len(shared) / 4
        answered = sum(a["model_version"] == version for _, a in asking.answers)
        assert metric(text, "serve_requests_total", status="200", version=version) == answered
    assert {a["model_version"] for _, a in asking.answers[-50:]} == {"v1.1.0"}


def asked_once(server, body):
    """What a client is told that asks once and does not try again."""
    with closing(server.connect()) as connection:
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["predictions"]


def test_who_waits_at_sigterm_is_answered_and_the_end_is_in_order():
    patient = {"batch": {"size_max": 1, "wait_max_s": 0.0}, "inference": {"time_max_s": PATIENCE_S}}
    with made_up(**patient) as server, ThreadPoolExecutor(20) as clients:
        asking = [clients.submit(asked_once, server, slow(2000))]
        until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        asking += [clients.submit(asked_once, server, slow(20)) for _ in range(19)]
        until(lambda: metric(server.metrics(), "serve_in_flight") == 20)
        assert server.terminate() == 0
        answers = [one.result(PATIENCE_S) for one in asking]
    assert answers == [(200, [2000]), *[(200, [20])] * 19]
    assert server.events("ended")[0]["answered"] == 20
    assert "Traceback" not in " ".join(server.lines)


def posting(body):
    return b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def test_who_hangs_up_while_it_waits_is_not_computed():
    patient = {"batch": {"size_max": 1, "wait_max_s": 0.0}, "inference": {"time_max_s": PATIENCE_S}}
    with made_up(**patient) as server, ThreadPoolExecutor(1) as clients:
        before = clients.submit(asked_once, server, slow(2000))
        until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as leaving:
            leaving.sendall(posting(slow(-3)))  # which the model would tell of
            until(lambda: metric(server.metrics(), "serve_queue_length") == 1)
        until(lambda: metric(server.metrics(), "serve_rejected_total", reason="disconnected") == 1)
        assert metric(server.metrics(), "serve_in_flight") == 1
        assert before.result(PATIENCE_S)[0] == 200
        assert server.ask(slow(0))[0].status == 200  # who came before it has had its turn
        text = server.metrics()
    assert metric(text, "serve_requests_total", status="200") == 2
    assert metric(text, "serve_request_seconds_count") == 2
    assert metric(text, "serve_rejected_total") == 1
    assert server.events("told") == server.events("library") == []


@pytest.mark.parametrize("missing", [5, len(slow(-3))], ids=["its end", "all of it"])
def test_who_hangs_up_before_its_body_has_come_is_counted_and_not_computed(missing):
    with made_up() as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as leaving:
            leaving.sendall(posting(slow(-3))[:-missing])
            until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        until(lambda: metric(server.metrics(), "serve_in_flight") == 0)
        assert server.ask(slow(0))[0].status == 200
        text = server.metrics()
    assert metric(text, "serve_rejected_total", reason="disconnected") == 1
    assert metric(text, "serve_rejected_total") == 1
    assert server.events("told") == server.events("library") == []


def test_in_the_drain_delay_it_is_not_ready_and_still_serves_under_load():
    with made_up(listen={"port": 0, "drain_delay_s": 0.5}) as server:
        asking = Asking(server, 8, slow(1))
        until(lambda: len(asking.answers) > 50)
        told_s = time.time()
        server.process.terminate()
        until(lambda: server.ask(path="/readyz")[0].status == 503)
        response, _ = server.ask(slow(1))
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert server.process.wait(PATIENCE_S) == 0
        asking.end()
        until(lambda: server.events("ended"))
    assert server.events("draining")[0]["time_s"] - told_s >= 0.49
    assert {status for status, _ in asking.answers} <= {200, 503}
    # Each request that was taken has its answer with its client.
    assert server.events("ended")[0]["answered"] == len(asking.answers) + 1


def asked_at_the_last_moment():
    """What a client is told that connected before the end and asks after the port has closed."""
    answer = b""
    with made_up() as server, socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as connection:
        server.ask(path="/livez")  # so that the connection before is accepted too
        server.process.terminate()
        until(lambda: server.events("draining"))
        with suppress(ConnectionError):
            connection.sendall(posting(slow(1)))
            while part := connection.recv(65_536):
                answer += part
        assert server.process.wait(PATIENCE_S) == 0
    return answer


def test_who_is_connected_when_the_port_closes_is_told_to_go_elsewhere():
    # There is a quarter of a second for it, which a busy machine may take away once, but not each time.
    answers = (asked_at_the_last_moment() for _ in range(4))
    answer = next((a for a in answers if a), b"")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in answer
    assert b'"reason": "draining"' in answer


def test_a_model_that_hangs_does_not_keep_the_process():
    with made_up(inference={"time_max_s": 0.1}) as server:
        response, body = server.ask(slow(-2))
        assert (response.status, json.loads(body)["reason"]) == (503, "model_hung")
        assert server.ask(path="/readyz")[0].status == 503
        assert server.ask(path="/livez")[0].status == 503
        response, _ = server.ask(slow(1))
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert [e["version"] for e in server.events("model_hung")] == ["v1.0.0"]
        assert server.terminate() == 0
        assert server.events("ended")
        assert server.events("finalized") == []  # an interpreter at its end would meet the thread


def test_what_takes_longer_than_the_drain_is_cut_off():
    with made_up(inference={"time_max_s": 60.0}, listen={"port": 0, "drain_max_s": 1.0}) as server:
        asking = Asking(server, 1, slow(-2))
        until(lambda: metric(server.metrics(), "serve_in_flight") == 1)
        told_s = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - told_s < PATIENCE_S / 2
        asking.end()
    assert (asking.answers, len(asking.failures)) == ([], 1)
    assert server.events("ended")[0]["answered"] == 0


def test_who_reads_no_answers_does_not_keep_the_process():
    with made_up(limits={"answer_time_max_s": 0.5}) as server, not_reading(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 25)
        server.ask(path="/livez")  # so that the requests before are seen
        told_s = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - told_s < PATIENCE_S / 2  # half of --drain-max


def test_a_server_whose_threads_have_ended_ends_in_order():
    with made_up() as server:
        assert server.ask(slow(1))[0].status == 200
        assert server.terminate() == 0
        assert server.events("finalized")


def test_a_connection_may_be_used_again_and_again():
    headers = {"X-Long": "x" * 8000}
    with made_up() as server, closing(server.connect()) as connection:
        for _ in range(20):  # more than the headers of one request may have
            connection.request("POST", "/predict", slow(0), headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 200


def test_what_stalls_a_server_is_done_before_it_serves():
    with made_up() as server:
        server.ask(slow(-3))
        (told,) = server.events("told")
    assert told["frozen"] > 10_000  # all that was imported: no collection looks through it any more
    assert told["switch_interval_s"] <= 0.001


def test_requests_that_come_together_are_served_together():
    async def together(port, count):
        async def one():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(posting(slow(0)))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return int(re.search(rb"x-batch-size: (\d+)", head)[1])

        return await asyncio.wait_for(asyncio.gather(*[one() for _ in range(count)]), PATIENCE_S)

    with made_up(batch={"size_max": 8, "wait_max_s": 5.0}) as server:
        began_s = time.monotonic()
        sizes = asyncio.run(together(server.port, 16))
        assert sizes == [8] * 16
        assert time.monotonic() - began_s < 5.0  # full batches wait for no timer
        assert metric(server.metrics(), "serve_batch_seconds_count", batch_size="8") == 2
