"""A server in another process, as tests start, ask and end it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from serving import PATIENCE_S, ROOT


class RunningServer:
    """A server in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("listening on http://"):
                self.port = int(line.rsplit(":", 1)[1])
                self.listening.set()
        self.listening.set()

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(
        self, body: bytes | None = None, path: str = "/predict", headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        connection = self.connect()
        try:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def metrics(self) -> str:
        return self.ask(path="/metrics")[1].decode()

    def events(self, name: str) -> list[dict[str, Any]]:
        logged = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [line for line in logged if line["event"] == name]

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)  # all that it said is here
        return code


@contextmanager
def running(*arguments: str, script: str = "", env: dict[str, str] | None = None) -> Iterator[RunningServer]:
    """`python -m serve_api`, or a script of tests, until the test is done with it."""
    program = [script] if script else ["-m", "serve_api", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        # A script finds what lies beside it alone; the server need not be installed.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **(env or {})},
    )  # fmt: skip
    server = RunningServer(process)
    try:
        assert server.listening.wait(60.0)
        assert server.port, server.lines
        yield server
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def until(what: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end_s, "never came to be"
        time.sleep(0.02)
