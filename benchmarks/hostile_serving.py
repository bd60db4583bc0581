"""What 10,000 clients at once do to the server: answers, refusals, memory.

    python benchmarks/hostile_serving.py artifacts/mlp [clients]

Starts a server of its own with the limits that it has by default, on a free port of this machine, and ends
it. Each line tells what was done, how many got which status (0 is no answer), and the resident memory then.
Exits with 1 if a client gets no answer or one that it should not, if the metrics do not tell of the refusals,
if memory grows beyond what the server's README says, or if the server is not well afterwards.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

CLIENTS = 10_000
PATIENCE_S = 60.0
SETTLED_S = 3.0  # within which those who find no room are told so
SPARE_FILES = 200
BODY = json.dumps({"instances": [[1.0] * 30]}).encode()
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
LARGE_BYTES = 60_000_000
SLOW_BYTES = 256 * 1024
REFUSED = (503, 504)
GROWTH_MAX_MIB = 128  # from rest, with all clients at once
BODIES_MAX_MIB = 128  # beside that: as many as may be open, and what comes at one instant


@contextmanager
def server(artifacts: str) -> Iterator[int]:
    """The port of a server that is ended afterwards."""
    command = [sys.executable, "-m", "serve_api", "--artifacts", artifacts, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines = (line for line in process.stderr if line.startswith("listening on "))
        yield int(next(lines).rsplit(":", 1)[1])
        process.terminate()
        print(f"ended with {process.wait(PATIENCE_S)}")
    finally:
        process.kill()


def lack_of_files(clients: int) -> str:
    """Let this process open as many connections; why it cannot, or nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        return f"{clients} clients need {needed} open files, and {hard} are allowed: ulimit -Hn"
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ""


class Crowd:
    """Clients that open a connection each, and send once all are open.

    Attributes:
        counts: how many got which status; 0 is no answer.
    """

    def __init__(self, port: int, clients: int, sent: bytes, opened: Callable[[], None]) -> None:
        self._port, self._clients, self._sent, self._opened = port, clients, sent, opened
        self._connected = 0
        self._all_connected, self._go = asyncio.Event(), asyncio.Event()
        self.counts = Counter[int]()

    async def ask(self) -> None:
        """All of them send at one instant."""
        tasks = [asyncio.create_task(self._ask()) for _ in range(self._clients)]
        async with asyncio.timeout(PATIENCE_S):
            await self._all_connected.wait()
        await asyncio.sleep(SETTLED_S)
        self._opened()
        self._go.set()
        await asyncio.gather(*tasks)

    async def _ask(self) -> None:
        status = 0
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            self._count_connected()
        else:
            self._count_connected()
            status = await self._status(reader, writer)
        self.counts[status] += 1

    async def _status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        answer = asyncio.create_task(reader.readline())  # who is turned away is told before it asks
        try:
            await self._go.wait()
            if not answer.done():
                writer.write(self._sent)
            return int((await asyncio.wait_for(answer, PATIENCE_S)).split()[1])
        except (OSError, TimeoutError, IndexError):
            return 0
        finally:
            writer.transport.abort()  # nobody reads the rest

    def _count_connected(self) -> None:
        self._connected += 1
        if self._connected == self._clients:
            self._all_connected.set()


async def together(
    port: int, clients: int, sent: bytes, opened: Callable[[], None] = lambda: None
) -> Counter[int]:
    """All of them send at one instant; how many got which status.

    Args:
        opened: called once all are connected and nothing is sent.
    """
    crowd = Crowd(port, clients, sent, opened)
    await crowd.ask()
    return crowd.counts


def metrics(port: int) -> str:
    """The text; asked for again while those who have left still take up room."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as response:
                return str(response.read().decode())
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)


class Told:
    """What the server tells of itself at one moment."""

    def __init__(self, port: int) -> None:
        self._lines = metrics(port).splitlines()
        self.rss_mib = self._sum("process_resident_memory_bytes") / 2**20
        self.rejected = self._sum("serve_rejected_total")

    def _sum(self, name: str) -> float:
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in self._lines if line.split("{")[0].split(" ")[0] == name
        )


class Ordeal:
    """One deed after the other, each held to what the server promises.

    Attributes:
        complaints: what it did not keep.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._last = self._rest = Told(port)
        self.complaints: list[str] = []
        print(f"at rest: {self._rest.rss_mib:.0f} MiB")

    def suffer(self, what: str, clients: int, sent: bytes, allowed: Collection[int], growth_mib: int) -> None:
        """Do it, print a line, and note what is wrong."""
        counts = asyncio.run(together(self._port, clients, sent, lambda: self._show_opened(clients)))
        told, before = Told(self._port), self._last
        self._last = told
        print(f"{what}: {dict(sorted(counts.items()))}, {told.rss_mib:.0f} MiB")
        refused = sum(count for status, count in counts.items() if status >= 400)
        if set(counts) - set(allowed) or counts.total() != clients:
            self.complaints.append(f"{what}: only {sorted(allowed)} are answers to it, got {dict(counts)}")
        if told.rejected - before.rejected < refused:
            self.complaints.append(
                f"{what}: {refused} were refused, and the metrics tell of {told.rejected - before.rejected:g}"
            )
        if told.rss_mib - self._rest.rss_mib > growth_mib:
            self.complaints.append(f"{what}: memory grew by more than {growth_mib} MiB from rest")

    def _show_opened(self, clients: int) -> None:
        print(f"{clients} connections open, nothing sent: {Told(self._port).rss_mib:.0f} MiB")


def main(artifacts: str, clients: int) -> None:
    """Do one after the other."""
    if lack := lack_of_files(clients):
        sys.exit(lack)
    one = HEAD % len(BODY) + BODY
    with server(artifacts) as port:
        ordeal = Ordeal(port)
        ordeal.suffer(f"{clients} requests at once", clients, one, (200, *REFUSED), GROWTH_MAX_MIB)
        large = HEAD % LARGE_BYTES + b" " * LARGE_BYTES
        ordeal.suffer("20 bodies of 60 MB at once", 20, large, (413, 503), GROWTH_MAX_MIB)
        slow = HEAD % SLOW_BYTES + b" " * (SLOW_BYTES - 1)
        most_mib = GROWTH_MAX_MIB + BODIES_MAX_MIB
        ordeal.suffer("2000 bodies of 256 KiB that never end", 2000, slow, (0, 408, 503), most_mib)
        ordeal.suffer("one request", 1, one, (200,), most_mib)
    if ordeal.complaints:
        sys.exit("\n".join(ordeal.complaints))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLIENTS)
