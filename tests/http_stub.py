"""A stand-in for the service on 127.0.0.1: answers with one status, and keeps what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Stub(ThreadingHTTPServer):
    """Answers as many predictions as it got rows, or `rows_answered` where that is given."""

    daemon_threads = True

    def __init__(self, status: int, rows_answered: int | None, statuses: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.statuses = statuses
        self.rows_answered = rows_answered
        self.asked: list[tuple[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, None))
        self._answer({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        rows = self.server.rows_answered
        self._answer({"predictions": [0] * (len(body["instances"]) if rows is None else rows)})

    def _answer(self, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(self.server.statuses.get(self.path, self.server.status))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def stub(
    status: int = 200, rows_answered: int | None = None, statuses: dict[str, int] | None = None
) -> Iterator[Stub]:
    """A stand-in; `statuses` are by path, where they are not the one of all."""
    with Stub(status, rows_answered, statuses or {}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=10)
