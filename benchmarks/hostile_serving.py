"""What 10,000 clients at once do to the server: answers, refusals, memory.

    python benchmarks/hostile_serving.py artifacts/mlp [clients]

Starts a server of its own with the limits that it has by default, on a free port of this machine, and ends
it. Each line tells what was done, how many got which status (0 is no answer), and the resident memory then.
"""

import asyncio
import json
import resource
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

CLIENTS = 10_000
PATIENCE_S = 60.0
SPARE_FILES = 200
BODY = json.dumps({"instances": [[1.0] * 30]}).encode()
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
LARGE_BYTES = 60_000_000
SLOW_BYTES = 256 * 1024


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


async def ask(port: int, sent: bytes, opened: asyncio.Event, counts: Counter[int]) -> None:
    """Open a connection, wait until all are open, send, and count the status."""
    status = 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(reader.readline())  # who is turned away is told before it asks
        await opened.wait()
        if not answer.done():
            writer.write(sent)
        status = int((await asyncio.wait_for(answer, PATIENCE_S)).split()[1])
        writer.close()
    except (OSError, TimeoutError, IndexError):
        pass
    counts[status] += 1


async def together(port: int, clients: int, sent: bytes) -> Counter[int]:
    """All of them send at one instant."""
    opened, counts = asyncio.Event(), Counter[int]()
    tasks = [asyncio.create_task(ask(port, sent, opened, counts)) for _ in range(clients)]
    await asyncio.sleep(5.0)
    told(port, f"{clients} connections open, nothing sent", Counter())
    opened.set()
    await asyncio.gather(*tasks)
    return counts


def told(port: int, what: str, counts: Counter[int]) -> None:
    """One line."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as response:
        lines = response.read().decode().splitlines()
    name = "process_resident_memory_bytes "
    rss_mib = next(float(line.removeprefix(name)) for line in lines if line.startswith(name)) / 2**20
    print(f"{what}: {dict(sorted(counts.items()))}, {rss_mib:.0f} MiB")


def main(artifacts: str, clients: int) -> None:
    """Do one after the other."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < clients + SPARE_FILES:
        sys.exit(
            f"{clients} clients need {clients + SPARE_FILES} open files, and {hard} are allowed: ulimit -n"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with server(artifacts) as port:
        told(port, "at rest", Counter())
        counts = asyncio.run(together(port, clients, HEAD % len(BODY) + BODY))
        told(port, f"{clients} requests at once", counts)
        large = HEAD % LARGE_BYTES + b" " * LARGE_BYTES
        told(port, "20 bodies of 60 MB at once", asyncio.run(together(port, 20, large)))
        slow = HEAD % SLOW_BYTES + b" " * (SLOW_BYTES - 1)
        told(port, "2000 bodies of 256 KiB that never end", asyncio.run(together(port, 2000, slow)))
        told(port, "one request", asyncio.run(together(port, 1, HEAD % len(BODY) + BODY)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLIENTS)
