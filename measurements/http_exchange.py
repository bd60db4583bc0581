"""HttpExchange: requests one after another over one connection, each within limits of time and size."""

import http.client
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capacity.errors import DependencyError
from capacity.reading import printable
from measurements.address import Address
from measurements.sampling import Clock

ANSWER_BYTES_MAX = 16 * 2**20
_HEAD_BYTES_MAX = 2**20  # and what chunks take beside the body
_EXCERPT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said with success, and how long it took from the first byte sent to the last received."""

    headers: Mapping[str, str]
    body: bytes
    seconds: float


class StatusError(DependencyError):
    """The server answered, and not with success.

    Attributes:
        status: what it said, as 422.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _TooLongError(http.client.HTTPException):
    """More bytes on the wire than any answer may have."""


class _Bounded(io.RawIOBase):
    """A socket's bytes: all of them before one instant, and so many at most.

    A timeout of each read alone may never end, and not all that HTTP says of lengths is to be believed.
    """

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw, self._sock = raw, sock
        self._until_s = time.monotonic() + sock.gettimeout()
        self._left = ANSWER_BYTES_MAX + _HEAD_BYTES_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise _TooLongError
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is there within the timeout, head and body together."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock))


class HttpExchange:
    """One keep-alive connection to one address; redirects are refused, proxies and cookies unknown."""

    def __init__(self, address: Address, *, timeout_s: float, clock: Clock = time.perf_counter) -> None:
        self._address, self._timeout_s, self._clock = address, timeout_s, clock
        https = address.scheme == "https"
        kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
        self._connection = kind(address.host, address.port, timeout=timeout_s)
        self._connection.response_class = _Response
        self._connection.auto_open = 0  # it would connect by itself, between our looking and its sending
        self._is_closed = False
        self.connections = 0

    def close(self) -> None:
        """Hang up for good: not even a request under way in another thread connects again."""
        self._is_closed = True
        self.hang_up()

    def hang_up(self) -> None:
        """Let the next request have a new connection."""
        self._connection.close()

    def ask(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request and its answer; connecting is not part of the time.

        A connection that the server closed while it was idle is opened again, once.

        Raises:
            StatusError: the answer is no success.
            DependencyError: no answer in time, or one that redirects, is too large or not HTTP; or closed.
        """
        was_open = self._connection.sock is not None
        try:
            return self._ask(method, body, headers)
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            self.hang_up()
            if not was_open:
                raise self._failed(error) from None
        except _TooLongError:
            self.hang_up()
            raise self._too_long() from None
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            self.hang_up()
            raise self._failed(error) from None
        except AttributeError:  # http.client's own, where its socket was closed under it
            if not self._is_closed:
                raise
            raise self._closed() from None
        return self.ask(method, body, headers)

    def _ask(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        if self._connection.sock is None and not self._is_closed:
            self._connection.connect()
            self.connections += 1
        if self._is_closed:  # maybe while it connected
            self.hang_up()
            raise self._closed()
        self._connection.sock.settimeout(self._timeout_s)
        began_s = self._clock()
        self._connection.request(method, self._address.target, body=body, headers=dict(headers))
        response = self._connection.getresponse()
        data = response.read(ANSWER_BYTES_MAX + 1)
        took_s = self._clock() - began_s
        if response.length and len(data) <= ANSWER_BYTES_MAX:  # `read` of a size says nothing of it
            raise http.client.IncompleteRead(data, response.length)
        self._check(response, data)
        return Answer(
            headers={name.lower(): value for name, value in response.getheaders()}, body=data, seconds=took_s
        )

    def _check(self, response: http.client.HTTPResponse, data: bytes) -> None:
        if len(data) > ANSWER_BYTES_MAX:
            self.hang_up()
            raise self._too_long()
        if 300 <= response.status < 400:
            where = printable(response.headers.get("Location") or "nowhere")[:_EXCERPT]
            raise DependencyError(
                f"{self._name} redirects to {where}, which is not followed; give that address if it is meant"
            )
        if not 200 <= response.status < 300:
            excerpt = printable(data[:_EXCERPT].decode("utf-8", "replace"))
            raise StatusError(f"{self._name} answered {response.status}: {excerpt}", response.status)

    def _too_long(self) -> DependencyError:
        return DependencyError(
            f"{self._name} answered more than {ANSWER_BYTES_MAX} bytes; is it what was meant?"
        )

    def _closed(self) -> DependencyError:
        return DependencyError(f"{self._name} is not asked any more, since its connection was closed")

    def _failed(self, error: Exception) -> DependencyError:
        if self._is_closed:
            return self._closed()
        if isinstance(error, TimeoutError):
            return DependencyError(
                f"{self._name} gave no whole answer within {self._timeout_s:g} s; raise --timeout, or mend it"
            )
        reason = getattr(error, "strerror", None) or f"{type(error).__name__} {error}"
        return DependencyError(f"{self._name} cannot be asked: {printable(reason)[:_EXCERPT]}; does it run?")

    @property
    def _name(self) -> str:
        return f"{self._address.host}:{self._address.port}{printable(self._address.path)[:_EXCERPT]}"
