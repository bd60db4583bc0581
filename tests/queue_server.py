"""A server of a known queue, FIFO and one at a time, in a thread on a free port of this machine."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

METRICS = """# TYPE serve_batch_seconds histogram
serve_batch_seconds_bucket{{batch_size="1",le="+Inf"}} {count}
serve_batch_seconds_count{{batch_size="1"}} {count}
serve_batch_seconds_sum{{batch_size="1"}} {busy_s}
"""


@dataclass
class QueueServer:
    """What it does, and what it has seen.

    Attributes:
        status: of the answer to a request of that number, from 1; None never answers.
    """

    service_s: float = 0.002
    status: Callable[[int], int | None] = field(default=lambda number: 200)
    has_metrics: bool = True
    more_metrics: str = ""
    port: int = 0
    requests: int = 0
    bodies: set[bytes] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)
    served: int = 0
    _free_s: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/predict"

    async def predict(self, request: web.Request) -> web.Response:
        self.bodies.add(await request.read())
        self.requests += 1
        status = self.status(self.requests)
        if status is None:
            await asyncio.sleep(60.0)
        if status == 200:
            now_s = asyncio.get_running_loop().time()
            self._free_s = max(now_s, self._free_s) + self.service_s
            self.served += 1
            await asyncio.sleep(self._free_s - now_s)
        headers = {"Location": "/elsewhere"} if status in (302, 307) else {}
        return web.json_response({"predictions": [1]}, status=status, headers=headers)

    async def metrics(self, request: web.Request) -> web.Response:
        if not self.has_metrics:
            raise web.HTTPNotFound
        text = METRICS.format(count=self.served, busy_s=self.served * self.service_s)
        return web.Response(text=text + self.more_metrics)

    async def elsewhere(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        return web.json_response({})


@contextmanager
def serving(server: QueueServer) -> Iterator[QueueServer]:
    """The server while it runs."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/predict", server.predict)
        app.router.add_get("/metrics", server.metrics)
        app.router.add_route("*", "/elsewhere", server.elsewhere)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]
        return runner

    def work() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10.0)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10.0)
