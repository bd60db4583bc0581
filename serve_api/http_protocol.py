"""HTTP protocol: that of uvicorn with httptools, and limits below the requests of HTTP."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve_api.refusal import Reason

# Of request line, headers, chunk sizes and trailers together; the parser itself has no limit.
OVERHEAD_BYTES_MAX = 64 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may take up, and who counts the refusals."""

    connections_max: int
    header_time_max_s: float
    request_time_max_s: float
    reject: Callable[[Reason], None]


class LimitedProtocol(HttpToolsProtocol):
    """A connection that knows since when its client owes it the rest of a request.

    uvicorn limits how long a connection may be silent between two requests, but neither how long a first one
    may take to begin, nor how slowly headers may come, nor how large they are. The server sweeps over the
    connections instead of setting a timer for each request, which would cost every one of them.
    """

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._headers_since_s: float | None = None
        self._body_since_s: float | None = None
        self._overhead_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room."""
        super().connection_made(transport)
        self._headers_since_s = time.monotonic()
        if len(self.connections) > self._limits.connections_max:
            self._limits.reject(Reason.CONNECTIONS)
            transport.write(_FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on, while what is no body stays small."""
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > OVERHEAD_BYTES_MAX:
            self._give_up(Reason.HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin to wait for headers."""
        super().on_message_begin()
        self._headers_since_s = time.monotonic()

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        super().on_headers_complete()
        self._body_since_s, self._headers_since_s = self._headers_since_s, None

    def on_body(self, body: bytes) -> None:
        """Body that was announced as such has limits of its own."""
        self._overhead_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no longer."""
        super().on_message_complete()
        self._body_since_s = None
        self._overhead_bytes = 0

    def check_time(self, now_s: float) -> None:
        """End the connection if its client takes too long to ask."""
        headers_s, body_s = self._headers_since_s, self._body_since_s
        if (headers_s is not None and now_s - headers_s > self._limits.header_time_max_s) or (
            body_s is not None and now_s - body_s > self._limits.request_time_max_s
        ):
            self._give_up(Reason.REQUEST_TOO_SLOW)

    def _give_up(self, reason: Reason) -> None:
        if not self.transport.is_closing():
            self._limits.reject(reason)
            self.transport.abort()
