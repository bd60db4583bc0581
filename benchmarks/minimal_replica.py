"""Minimal replicas: emulated replicas of which a wide fleet fits on one core, as a request costs little CPU.

    python benchmarks/minimal_replica.py --profile emulated.csv --batch-size-max 8 --batch-wait-max-s 0.01 --replicas 4

Each replica is a process of its own. It batches by the rule that the simulator has: an idle replica starts a batch as
soon as it holds `--batch-size-max` requests or its oldest has waited `--batch-wait-max-s`, and a batch takes one draw
from the profile's law at its size. Batches follow an absolute schedule: the next one begins when the last one should
have ended, so that late wake-ups delay answers and take no capacity. Addresses are printed, one a line.
"""

import argparse
import gc
import os
import random
import re
import select
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from capacity.profile.distribution import ServiceLaw
from capacity.profile.load import load_profile

_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_FOREVER_S = 3600.0
_KNOWN_MAX = 1024  # requests of which the rows are remembered
_ANSWER = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"
_TOLD = b"Server-Timing: queue;dur=%.4f, batch;dur=%.4f\r\nX-Batch-Size: %d\r\n"


@dataclass(slots=True, eq=False)
class Client:
    """A connection, and what came over it and is no whole request yet."""

    socket: socket.socket
    buffer: bytes = b""


@dataclass(slots=True)
class Waiting:
    """A request of some rows that waits for its batch."""

    client: Client
    rows: int
    arrived_s: float


@dataclass(slots=True)
class Counts:
    """Number and total time of the batches of each size, as `/metrics` tells them. [s]"""

    batches: Counter[int] = field(default_factory=Counter)
    busy_s: Counter[int] = field(default_factory=Counter)

    def page(self) -> bytes:
        """A histogram in Prometheus' text format."""
        lines = ["# TYPE serve_batch_seconds histogram"]
        for size, count in sorted(self.batches.items()):
            label = f'batch_size="{size}"'
            lines += [
                f'serve_batch_seconds_bucket{{{label},le="+Inf"}} {count}',
                f"serve_batch_seconds_count{{{label}}} {count}",
                f"serve_batch_seconds_sum{{{label}}} {self.busy_s[size]:.9f}",
            ]
        return "\n".join([*lines, ""]).encode()


class MinimalReplica:
    """One replica over its listening socket; laws are those of batches of 1, 2, ... rows."""

    def __init__(
        self, listener: socket.socket, laws: Sequence[ServiceLaw], batch_wait_max_s: float, seed: str
    ) -> None:
        self._listener, self._laws, self._wait_s = listener, laws, batch_wait_max_s
        self._bodies = [b'{"predictions": [%s]}' % b", ".join([b"0"] * rows) for rows in range(len(laws) + 1)]
        self._random = random.Random(seed)
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._members: list[Waiting] = []
        self._began_s = self._ends_s = 0.0
        self._counts = Counts()
        self._clients: dict[int, Client] = {}  # by their file descriptors
        self._ready = select.epoll()
        self._ready.register(listener, select.EPOLLIN)
        self._known: dict[bytes, int] = {}  # rows of whole requests, which are often the same to the byte

    def run(self) -> None:
        """Serve until the process ends."""
        ready, clients = self._ready, self._clients
        watched = [ready.fileno()]  # `select` waits for microseconds, and `epoll` for milliseconds
        while True:
            due_s = self._due_s()
            left_s = due_s - time.perf_counter()
            if left_s <= 0.0:
                self._turn(due_s)
            elif select.select(watched, (), (), left_s)[0]:
                for one, _ in ready.poll(0):
                    if one in clients:
                        self._read(clients[one])
                    else:
                        self._accept()

    def _due_s(self) -> float:
        """The instant at which the batch in service ends, or the oldest request has waited long enough. [s]"""
        if self._members:
            return self._ends_s
        if self._queue:
            return self._queue[0].arrived_s + self._wait_s
        return time.perf_counter() + _FOREVER_S

    def _turn(self, instant_s: float) -> None:
        """What is due at an instant: the batch ends, the next one begins if it may, and then come the answers."""
        done, began_s = self._members, self._began_s
        self._members = []
        self._begin_if_due(instant_s)
        if done:
            self._answer(done, began_s, instant_s)

    def _begin_if_due(self, instant_s: float) -> None:
        """Begin a batch at an instant if this idle replica holds a full one or its oldest request is due."""
        if not self._queue:
            return
        if self._rows < len(self._laws) and instant_s < self._queue[0].arrived_s + self._wait_s:
            return
        room = len(self._laws)
        while self._queue and self._queue[0].rows <= room:
            one = self._queue.popleft()
            room -= one.rows
            self._members.append(one)
        size = len(self._laws) - room
        self._rows -= size
        took_s = self._laws[size - 1].quantile_s(self._random.random())
        self._began_s, self._ends_s = instant_s, instant_s + took_s
        self._counts.batches[size] += 1
        self._counts.busy_s[size] += took_s

    def _answer(self, members: Sequence[Waiting], began_s: float, ended_s: float) -> None:
        size, batch_ms = sum(one.rows for one in members), 1e3 * (ended_s - began_s)
        for one in members:
            queue_ms = 1e3 * max(0.0, began_s - one.arrived_s)
            self._write(one.client, self._bodies[one.rows], _TOLD % (queue_ms, batch_ms, size))

    def _accept(self) -> None:
        found, _ = self._listener.accept()
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[found.fileno()] = Client(found)
        self._ready.register(found, select.EPOLLIN)

    def _read(self, client: Client) -> None:
        try:
            data = client.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            del self._clients[client.socket.fileno()]
            client.socket.close()  # which the kernel watches no longer
            return
        if not client.buffer and (rows := self._known.get(data, 0)):
            self._join(client, rows)
            return
        client.buffer += data
        head, end, rest = client.buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        expected = int(length[1]) if length else 0
        if end and len(rest) >= expected:
            client.buffer = rest[expected:]
            rows = self._asked(client, head, rest[:expected])
            if rows and len(data) == len(head) + len(end) + expected and len(self._known) < _KNOWN_MAX:
                self._known[data] = rows

    def _asked(self, client: Client, head: bytes, body: bytes) -> int:
        """Rows of a whole request, counted by their brackets, as JSON takes longer than all else here; 0 of others."""
        if not head.startswith(b"POST "):
            page = self._counts.page() if b"/metrics" in head.partition(b"\r\n")[0] else b"{}"
            self._write(client, page, b"")
            return 0
        rows = body.count(b"[") - 1
        if not 1 <= rows <= len(self._laws):
            self._write(client, b"{}", b"", b"400 Bad Request")
            return 0
        self._join(client, rows)
        return rows

    def _join(self, client: Client, rows: int) -> None:
        """A request joins the queue, and begins a batch if it is due."""
        now_s = time.perf_counter()
        self._queue.append(Waiting(client, rows, now_s))
        self._rows += rows
        if not self._members:
            self._begin_if_due(now_s)

    def _write(self, client: Client, body: bytes, head: bytes, status: bytes = b"200 OK") -> None:
        try:
            client.socket.sendall(_ANSWER % (status, len(body), head, body))
        except OSError:  # it has left; the next read tells
            return


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", required=True)
    parser.add_argument("--batch-size-max", type=int, default=1)
    parser.add_argument("--batch-wait-max-s", type=float, default=0.0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the batch times")
    options = parser.parse_args()
    profile = load_profile(options.profile)
    laws = [profile.law(size) for size in range(1, options.batch_size_max + 1)]
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(options.replicas)]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, listener in enumerate(listeners):
        if os.fork() == 0:
            gc.disable()  # a replica makes no cycles
            MinimalReplica(listener, laws, options.batch_wait_max_s, f"{options.seed}/{number}").run()
        print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
