"""HTTP protocol: that of uvicorn with httptools, and limits on how long a client may take to ask."""

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class LimitedProtocol(HttpToolsProtocol):
    """A connection that knows since when its client owes it the rest of a request.

    uvicorn limits how long a connection may be silent between two requests, but neither how long a first one
    may take to begin nor how slowly headers may come. The server sweeps over the connections instead of
    setting a timer for each request, which would cost every one of them.
    """

    headers_since_s: float | None = None
    body_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.headers_since_s = time.monotonic()

    def on_message_begin(self) -> None:
        """Begin to wait for its headers."""
        super().on_message_begin()
        self.headers_since_s = time.monotonic()

    def on_headers_complete(self) -> None:
        """Wait for its body."""
        super().on_headers_complete()
        self.body_since_s, self.headers_since_s = self.headers_since_s, None

    def on_message_complete(self) -> None:
        """Wait no longer."""
        super().on_message_complete()
        self.body_since_s = None

    def owes(self, headers_before_s: float, bodies_before_s: float) -> bool:
        """Whether headers that began before the one instant, or a body before the other, are not here yet."""
        headers_s, body_s = self.headers_since_s, self.body_since_s
        return (headers_s is not None and headers_s < headers_before_s) or (
            body_s is not None and body_s < bodies_before_s
        )

    def give_up(self) -> None:
        """Close at once; what was not read is not answered."""
        self.transport.abort()
