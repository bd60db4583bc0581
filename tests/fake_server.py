"""A server to be measured, whose answers a test makes; on 127.0.0.1, at a free port."""

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METRICS = """# TYPE serve_batch_seconds histogram
{series}
# TYPE serve_requests counter
serve_requests_total{{status="200",version="v1.0.0"}} {requests}
# TYPE process_cpu_seconds counter
process_cpu_seconds_total {process_s}
# TYPE serve_batch_cpu_seconds counter
serve_batch_cpu_seconds_total {batch_s}
# TYPE process_start_time_seconds gauge
process_start_time_seconds {start_s}
"""


@dataclass
class Reply:
    """An answer: status, head and body; `raw` instead is put on the wire as it is."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    raw: bytes | None = None


@dataclass
class FakeServer:
    """What was asked of it: method, target and body of each request, and how many connections there were."""

    url: str = ""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(answer: Callable[[str, bytes], Reply]) -> Iterator[FakeServer]:
    """A server that answers what `answer` makes of a target and a body."""
    seen = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self):
            super().setup()
            seen.connections += 1

        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.asked.append((self.command, self.path, body))
            reply = answer(self.path, body)
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.headers.get("X-Then") == "hang up"

        do_GET = do_POST = respond  # noqa: N815  (the names that the library calls)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256  # a crowd comes at once

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def predicting(batch_s: Callable[[int], float], **headers: str) -> Callable[[str, bytes], Reply]:
    """Answers like the reference server: `batch_s` by number of rows is what its batches take, and what it says."""

    def answer(target: str, body: bytes) -> Reply:
        rows = len(json.loads(body)["instances"])
        took_s = batch_s(rows)
        time.sleep(took_s)
        timing = f"queue;dur=0.010, batch;dur={1e3 * took_s:.6f}"
        said = {
            "Server-Timing": timing,
            "X-Batch-Size": str(rows),
            "Content-Type": "application/json",
            **headers,
        }
        return Reply(headers=said, body=json.dumps({"predictions": [0] * rows}).encode())

    return answer


def metrics_page(
    batches: dict[int, list[float]],
    *,
    bounds_s: tuple[float, ...] = (0.001, 0.0011, 0.0012, 0.0013, 0.002, 0.0022),
    requests: int = 0,
    process_s: float = 0.0,
    batch_s: float = 0.0,
    start_s: float = 1.0,
) -> bytes:
    """A page of metrics after batches of these times, by size."""
    lines = []
    for size, times_s in batches.items():
        ordered = sorted(times_s)
        labels = f'version="v1.0.0",batch_size="{size}"'
        for bound_s in (*bounds_s, float("inf")):
            shown = "+Inf" if bound_s == float("inf") else repr(bound_s)
            count = bisect_right(ordered, bound_s)
            lines.append(f'serve_batch_seconds_bucket{{{labels},le="{shown}"}} {count}')
        lines.append(f"serve_batch_seconds_count{{{labels}}} {len(times_s)}")
        lines.append(f"serve_batch_seconds_sum{{{labels}}} {sum(times_s)!r}")
    return METRICS.format(
        series="\n".join(lines), requests=requests, process_s=process_s, batch_s=batch_s, start_s=start_s
    ).encode()
