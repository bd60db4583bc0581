"""Server: uvicorn in one process, that ends in order when it is told to."""

import asyncio
import signal
import socket
import sys
import time
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from serve_api.app import ServingApp
from serve_api.http_protocol import ConnectionLimits, LimitedProtocol, Round
from serve_api.log import say
from serve_api.metrics import Metrics
from serve_api.settings import Settings

BACKLOG = 4096
_KEEP_ALIVE_S = 75  # longer than clients and balancers have as a rule, so that it is they who close
_SWEEP_EVERY_TICKS = 5
_TICK_S = 0.1  # of uvicorn
_LAST_CALL_S = 0.25  # for a request on its way over a connection that is open
_ANSWER_FIRST_S = 1.0  # a body that is late gets an answer of the service before its connection ends


class DrainingServer(uvicorn.Server):
    """At SIGTERM: not ready, then no new requests, then the answers to the old ones, then the end with 0."""

    def __init__(self, app: ServingApp, settings: Settings, metrics: Metrics) -> None:
        super().__init__(_config(app, settings, metrics))
        self._app = app
        self._drain_delay_s = settings.listen.drain_delay_s
        self._stop_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; Ctrl-C after that ends at once.

        uvicorn would raise the signal again after it has ended, and the process would not end with 0.
        """
        if self._stop_at_s is None:
            self._stop_at_s = time.monotonic() + self._drain_delay_s
            self._app.service.draining = True
        elif sig == signal.SIGINT:
            self.force_exit = self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port and say which."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{port}", file=sys.stderr, flush=True)  # noqa: T201

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s: what is due."""
        now_s = time.monotonic()
        if self._stop_at_s is not None and now_s >= self._stop_at_s:
            self.should_exit = True
        if counter % _SWEEP_EVERY_TICKS == 0:
            self._sweep(now_s)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, tell who is connected to go elsewhere, then let uvicorn wait for the answers.

        uvicorn alone would hang up on a client that is about to ask and cannot tell whether it was heard.
        """
        self._app.service.closed = True
        say("draining", in_flight=self._app.service.in_flight)
        for port in (*self.servers, *(sockets or ())):
            port.close()
        await asyncio.sleep(_LAST_CALL_S)
        sweeping = asyncio.create_task(self._go_on_sweeping())
        await super().shutdown(sockets)
        sweeping.cancel()

    async def _go_on_sweeping(self) -> None:
        """uvicorn ticks no more, and a client that does not read its answer would keep the process."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_TICKS * _TICK_S)
            self._sweep(time.monotonic())

    def _sweep(self, now_s: float) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.check_time(now_s)


def _config(app: ServingApp, settings: Settings, metrics: Metrics) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=_protocol(settings, metrics),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.listen.drain_max_s),
    )


def _protocol(settings: Settings, metrics: Metrics) -> Any:
    """What makes the connections; uvicorn's types want a class, and any callable does."""
    limits = settings.limits
    of_each = ConnectionLimits(
        connections_max=limits.connections_max,
        header_time_max_s=limits.header_time_max_s,
        answer_time_max_s=limits.answer_time_max_s,
        round=Round(limits.open_bytes_max),
        request_time_max_s=limits.header_time_max_s + limits.body_time_max_s + _ANSWER_FIRST_S,
        reject=metrics.reject,
    )
    return partial(LimitedProtocol, limits=of_each)
