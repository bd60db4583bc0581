"""HTTP protocol: that of uvicorn with httptools, and limits below the requests of HTTP."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serve_api.refusal import Reason

# Of request line, headers, chunk sizes and trailers together; the parser itself has no limit.
OVERHEAD_BYTES_MAX = 16 * 1024
HEADERS_MAX = 128  # a short one takes up fifty times its bytes
AHEAD_BYTES_MAX = 32 * 1024  # of all requests that came before the answer to the one before them
_AHEAD_BYTES_EACH = 1024  # however short it is
UNSENT_BYTES_MAX = 16 * 1024  # of answers; beyond, nothing more is read or answered until they are read
PROBE_CONNECTIONS = 16  # beyond the limit, so that a server that is full is not taken for dead
_PROBE_PATHS = {"/livez", "/readyz", "/metrics"}
_PROBE_TIME_S = 1.0
_DEPARTURE = "serve_api.departure"
_PART_BYTES = 8 * 1024  # that are looked at together, of up to a quarter of a million read at once
_FULL_HEADERS = [(b"retry-after", b"1"), (b"connection", b"close"), (b"content-length", b"0")]
_FULL = b"HTTP/1.1 503 Service Unavailable\r\n%s\r\n" % b"".join(
    b"%s: %s\r\n" % pair for pair in _FULL_HEADERS
)


class Departure:
    """That the client of a connection leaves before it has its answer.

    Attributes:
        then: is called when it does; None where nobody waits for an answer to it.
    """

    __slots__ = ("then",)

    def __init__(self) -> None:
        self.then: Callable[[], object] | None = None


def departure_of(scope: Scope) -> Departure | None:
    """That of the client of a request; None behind another protocol, which does not tell."""
    departure: Departure | None = scope.get("state", {}).get(_DEPARTURE)
    return departure


class Round:
    """Bytes that were read in one round of the loop, before anybody could look at a body and refuse it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0

    def takes(self, count: int, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is room for so many more."""
        if not self._bytes:
            loop.call_soon(self._end)
        self._bytes += count
        return self._bytes <= self._bytes_max

    def _end(self) -> None:
        self._bytes = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may take up, and who counts the refusals."""

    connections_max: int
    header_time_max_s: float
    request_time_max_s: float
    answer_time_max_s: float
    round: Round
    reject: Callable[[Reason], None]

    def hurried(self) -> "ConnectionLimits":
        """Those of a connection that is there for a probe alone."""
        return replace(
            self,
            header_time_max_s=min(_PROBE_TIME_S, self.header_time_max_s),
            answer_time_max_s=min(_PROBE_TIME_S, self.answer_time_max_s),
        )


class LimitedProtocol(HttpToolsProtocol):
    """A connection that knows since when its client owes it the rest of a request, or reads no answer.

    uvicorn limits how long a connection may be silent between two requests, but neither how long a first one
    may take to begin, nor how slowly headers may come, nor how large they are, nor how long answers lie.
    The server sweeps over the connections instead of setting a timer for each request, which would cost every
    one of them.
    """

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._departure = Departure()
        self.app_state = {**self.app_state, _DEPARTURE: self._departure}  # every scope has what is in there
        self._for_probes = False
        self._answering: RequestResponseCycle | None = None
        self._headers_since_s: float | None = None
        self._body_since_s: float | None = None
        self._unsent_since_s: float | None = None
        self._overhead_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        self._headers_since_s = time.monotonic()
        beyond = len(self.connections) - self._limits.connections_max
        if beyond > PROBE_CONNECTIONS:
            self._turn_away(Reason.CONNECTIONS)
        elif beyond > 0:
            self._for_probes, self._limits = True, self._limits.hurried()
            self.app = partial(_probes_alone, self.app, self._limits.reject)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who works for its client; let go of it.

        uvicorn tells only who reads a body, and its timer would keep it all for another minute where the
        client reset the connection.
        """
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.disconnected = True  # uvicorn tells the newest request alone
        if self._departure.then is not None:
            self._departure.then()
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Read on, while what is no body stays small."""
        if len(data) > _PART_BYTES and not self._limits.round.takes(len(data), self.loop):
            self._turn_away(Reason.OPEN_BODIES)
        for start in range(0, len(data), _PART_BYTES):
            if self.transport.is_closing():
                return
            part = data[start : start + _PART_BYTES]  # as a rule all of it, which is not copied
            self._overhead_bytes += len(part)
            super().data_received(part)
            self._check_size()
        if self._is_idle() and self.timeout_keep_alive_task is None:
            # Something that begins no request, such as an empty line, has stopped uvicorn's timer.
            self._headers_since_s = time.monotonic()

    def on_message_begin(self) -> None:
        """Begin to wait for headers."""
        super().on_message_begin()
        self._headers_since_s = time.monotonic()

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        super().on_headers_complete()
        self._body_since_s, self._headers_since_s = self._headers_since_s, None
        if self._for_probes:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, app)
        self._answering = cycle

    def on_body(self, body: bytes) -> None:
        """Body that was announced as such has limits of its own."""
        self._overhead_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no longer."""
        super().on_message_complete()
        if self.flow.read_paused and not (self.pipeline or self.flow.write_paused):
            self.flow.resume_reading()  # uvicorn does so at the answer, and would not see a client leave
        if len(self.headers) > HEADERS_MAX:
            self._give_up(Reason.HEADERS_TOO_LARGE)
        self._body_since_s = None
        self._overhead_bytes = 0
        if self.cycle.response_complete and not self.transport.is_closing():
            # The rest of a body that was refused has stopped uvicorn's timer.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Keep nothing of the request; read the next one if the client reads its answers."""
        self._departure.then = None
        super().on_response_complete()
        if self.cycle.response_complete:
            self.cycle.body = bytearray()  # what was read of one that was refused
        if self.flow.write_paused:
            self.flow.pause_reading()

    def pause_writing(self) -> None:
        """Who does not read is not read either, so that neither its answers nor its requests pile up."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on with both."""
        super().resume_writing()
        self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and count it."""
        if not self.transport.is_closing():
            self._limits.reject(Reason.INVALID_HTTP)
            super().send_400_response(msg)

    def check_time(self, now_s: float) -> None:
        """End the connection if its client takes too long to ask, or to read."""
        self._check_unsent(now_s)
        if self.flow.read_paused or self.pipeline:
            self._begin_anew(now_s)
            return
        headers_s, body_s = self._headers_since_s, self._body_since_s
        if headers_s is not None and now_s - headers_s > self._limits.header_time_max_s:
            if self._for_probes:
                self._turn_away(Reason.CONNECTIONS)
            else:
                self._give_up(Reason.REQUEST_TOO_SLOW)
        elif body_s is not None and now_s - body_s > self._limits.request_time_max_s:
            self._give_up(Reason.REQUEST_TOO_SLOW)

    def _begin_anew(self, now_s: float) -> None:
        """What the server itself does not read yet, its client does not owe."""
        if self._headers_since_s is not None:
            self._headers_since_s = now_s
        if self._body_since_s is not None:
            self._body_since_s = now_s

    def _check_unsent(self, now_s: float) -> None:
        """A connection that is closing waits for its answer to be read, too."""
        if not self.transport.get_write_buffer_size():
            self._unsent_since_s = None
        elif self._unsent_since_s is None:
            self._unsent_since_s = now_s
        elif now_s - self._unsent_since_s > self._limits.answer_time_max_s:
            self._limits.reject(Reason.ANSWER_UNREAD)
            self.transport.abort()

    def _check_size(self) -> None:
        if self._overhead_bytes > OVERHEAD_BYTES_MAX or (self.headers and len(self.headers) > HEADERS_MAX):
            self._give_up(Reason.HEADERS_TOO_LARGE)
        elif self.pipeline and sum(_bytes_of(cycle) for cycle, _ in self.pipeline) > AHEAD_BYTES_MAX:
            self._give_up(Reason.PIPELINED)

    def _is_idle(self) -> bool:
        """Whether every request has come to its end and has its answer."""
        return (
            self._headers_since_s is None
            and self._body_since_s is None
            and self.cycle is not None
            and self.cycle.response_complete
        )

    def _turn_away(self, reason: Reason) -> None:
        if self.cycle is not None and self.cycle.response_started:
            self._give_up(reason)
        elif not self.transport.is_closing():
            self._limits.reject(reason)
            self.transport.write(_FULL)
            self.transport.close()

    def _give_up(self, reason: Reason) -> None:
        if not self.transport.is_closing():
            self._limits.reject(reason)
            self.transport.abort()


def _bytes_of(cycle: RequestResponseCycle) -> int:
    """What a request that waits for its turn takes up, about."""
    scope = cycle.scope
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return _AHEAD_BYTES_EACH + len(scope["raw_path"]) + len(scope["query_string"]) + headers + len(cycle.body)


async def _probes_alone(
    app: ASGIApp, reject: Callable[[Reason], None], scope: Scope, receive: Receive, send: Send
) -> None:
    """The application as a connection beyond the limit sees it."""
    if scope["path"] in _PROBE_PATHS:
        await app(scope, receive, send)
        return
    reject(Reason.CONNECTIONS)
    await send({"type": "http.response.start", "status": 503, "headers": list(_FULL_HEADERS)})
    await send({"type": "http.response.body", "body": b""})
