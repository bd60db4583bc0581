"""Server: uvicorn with one process, that ends in order when it is told to."""

import signal
import sys
import time
from types import FrameType

import uvicorn

from serve_api.app import ServingApp
from serve_api.http_protocol import LimitedProtocol
from serve_api.settings import Settings

_BACKLOG = 2048
_SWEEP_EVERY_TICKS = 5  # a tick of uvicorn is 0.1 s
_ANSWER_FIRST_S = 1.0  # a body that is late gets an answer from the service before it is cut off


class DrainingServer(uvicorn.Server):
    """At SIGTERM: not ready, then no new requests, then the answers to the old ones, then exit 0."""

    def __init__(self, app: ServingApp, settings: Settings) -> None:
        super().__init__(_config(app, settings))
        self._app = app
        self._settings = settings
        self._stop_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; Ctrl-C a second time ends at once."""
        if self._stop_at_s is not None:
            self.force_exit = self.should_exit = sig == signal.SIGINT or self.should_exit
            return
        self._stop_at_s = time.monotonic() + self._settings.listen.drain_delay_s
        self._app.service.draining = True

    async def startup(self, sockets: object = None) -> None:
        """Open the port and say which."""
        await super().startup()
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{port}", file=sys.stderr, flush=True)  # noqa: T201

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s: what is due."""
        if self._stop_at_s is not None and time.monotonic() >= self._stop_at_s:
            self._app.service.closed = True
            self.should_exit = True
        if counter % _SWEEP_EVERY_TICKS == 0:
            self._sweep()
        return await super().on_tick(counter)

    def _sweep(self) -> None:
        """Close the connections whose clients take too long to ask."""
        limits, now_s = self._settings.limits, time.monotonic()
        headers_s = now_s - limits.header_time_max_s
        bodies_s = headers_s - limits.body_time_max_s - _ANSWER_FIRST_S
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol) and connection.owes(headers_s, bodies_s):
                connection.give_up()
                self._app.service.metrics.rejected.labels("too_slow").inc()


def _config(app: ServingApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.listen.host,
        port=settings.listen.port,
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.listen.drain_max_s),
    )
