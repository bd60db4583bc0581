"""Debian's nginx with the configuration that is shipped, in front of the real server."""

import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest
from serving import PATIENCE_S, ROOT, a_store, instances
from serving_process import running, until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIGURATION = (ROOT / "serve_api" / "deploy" / "nginx.conf").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed; `bash .ci/balancers` does it on Debian"
)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@contextmanager
def proxy(folder, server_port, **changes):
    """The port of nginx, with the shipped configuration but for ports, folders, and what a test waits for."""
    port = free_port()
    text = CONFIGURATION.replace("/tmp/", f"{folder}/").replace("listen 8080", f"listen 127.0.0.1:{port}")
    text = text.replace("server serve-api:8000", f"server 127.0.0.1:{server_port}")
    for name, value in changes.items():
        text, count = re.subn(rf"^(\s*){name} [^;]+;", rf"\1{name} {value};", text, flags=re.M)
        assert count == 1, name
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    command = [
        NGINX,
        "-c",
        str(path),
        "-e",
        str(folder / "error.log"),
        "-p",
        str(folder),
        "-g",
        "daemon off;",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or is_open(port))
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def is_open(port):
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = a_store(tmp_path_factory.mktemp("model"))
    with running("--artifacts", str(store.root), "--batch-wait-max", "1ms") as started:
        yield started


@pytest.fixture(scope="module")
def port(server, tmp_path_factory):
    """A proxy that waits for a second where it is shipped with ten."""
    short = {"client_header_timeout": "1s", "client_body_timeout": "1s", "limit_conn": "clients 4"}
    with proxy(tmp_path_factory.mktemp("nginx"), server.port, **short) as opened:
        yield opened


def ask(port, body=None, path="/predict", headers=None):
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()


def drip(port, first, pieces):
    """What a client gets that sends a piece every half a second, and how long it may."""
    began_s = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) as client:
        client.sendall(first)
        try:
            for piece in pieces:
                time.sleep(0.5)
                client.sendall(piece)
            answer = client.recv(65_536)
        except ConnectionError:
            answer = b""
    return answer, time.monotonic() - began_s


def test_a_prediction_goes_through_with_its_headers(port):
    response, body = ask(port, instances(), headers={"X-Request-ID": "mine"})
    assert response.status == 200
    assert b'"predictions":[0]' in body
    assert response.headers["X-Request-ID"] == "mine"
    for name in ("X-Process-Time", "Server-Timing", "X-Batch-Size"):
        assert response.headers[name]
    assert len(ask(port, instances())[0].headers["X-Request-ID"]) == 32  # nginx makes one


def test_probes_go_through_and_metrics_stay_inside(port):
    assert ask(port, path="/readyz")[0].status == 200
    assert [ask(port, path=path)[0].status for path in ("/metrics", "/docs", "/health")] == [404] * 3


def test_a_body_that_is_too_large_is_refused_before_the_server_sees_it(port, server):
    before = server.metrics().count("\n")
    assert ask(port, b"x" * 300_000)[0].status == 413
    assert server.metrics().count("\n") == before
    assert "body_too_large" in ask(server.port, b"x" * 300_000)[1].decode()  # the server has a limit too


def test_headers_that_never_end_are_cut_off(port):
    dripping = [b"X-More: 1\r\n"] * 8
    answer, took_s = drip(port, b"POST /predict HTTP/1.1\r\nHost: x\r\n", dripping)
    assert b" 200 " not in answer
    assert took_s < 5.0


def test_a_body_that_stops_is_cut_off_and_never_reaches_the_server(port, server):
    asked = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    answer, took_s = drip(port, asked, [])
    assert b" 200 " not in answer
    assert 0.9 <= took_s < 5.0
    assert 'reason="disconnected"} 0.0' in server.metrics()


def test_headers_that_are_too_large_are_refused(port):
    assert ask(port, path="/readyz", headers={"X-Large": "x" * 10_000})[0].status == 400


def test_one_client_has_so_many_connections(port):
    begun = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with ThreadPoolExecutor(4) as clients:
        waiting = [clients.submit(drip, port, begun, []) for _ in range(4)]
        time.sleep(0.3)
        assert ask(port, instances())[0].status == 503
        for one in waiting:
            one.result(PATIENCE_S)
    assert ask(port, instances())[0].status == 200
