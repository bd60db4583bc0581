"""HTTP: requests to one address, within limits of time and size, by aiohttp.

It follows no redirects, and knows no proxies or cookies.
"""

import asyncio
import errno
import math
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from capacity.errors import DependencyError, InputError
from capacity.files import printable
from capacity.units import format_duration

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_Found = TypeVar("_Found")

ANSWER_BYTES_MAX = 16 * 2**20
_EXCERPT, _LENGTH_MAX = 120, 2000
_PORTS = {"http": 80, "https": 443}
# Idle connections are closed before a server closes them (uvicorn after 5 s), perhaps while one is used.
_KEEP_ALIVE_S = 3.0
# `select`, on which the load generator waits, takes no descriptors from here on.
_DESCRIPTORS = 1024
# A metric's duration among the parameters of Server-Timing; in milliseconds.
_DURATION = re.compile(r'(?:^|;)\s*dur\s*=\s*"?(\d{1,15}(?:\.\d*)?)"?\s*(?:;|$)', re.I)
# Batch and queue, each rounded up to whole milliseconds, may exceed a quick request by this much.
_ROUNDING_S = 2e-3
# More contradictions than this are not a clock that was adjusted meanwhile.
_CONTRADICTED_MAX = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def url(self) -> str:
        """The whole URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    @property
    def path(self) -> str:
        """The target without its query, which may hold secrets."""
        return self.target.partition("?")[0]

    @property
    def shown(self) -> str:
        """The address to print and keep, without its query.

        >>> parse_address("http://127.0.0.1:8000/predict?key=secret", "--url").shown
        'http://127.0.0.1:8000/predict'
        """
        return self.url.partition("?")[0]

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine: by IP address, since a name may lead anywhere."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str, flag: str) -> Address:
    """An address from text such as `http://127.0.0.1:8000/predict`.

    Raises InputError: not http or https, no host, an impossible port, credentials, or a blank.
    """
    shown = printable(text)[:80]
    if not (text.isascii() and text.isprintable() and " " not in text and len(text) <= _LENGTH_MAX):
        raise InputError(f"{flag} {shown!r} is too long or has a character that must be escaped by %")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(f"{flag} {shown!r} is not an address; write http://127.0.0.1:8000/predict") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InputError(f"{flag} {shown!r} must begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{flag} must hold no user name or password")
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=_PORTS[parts.scheme] if port is None else port,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer, and the time to its last byte, connecting included. [s]"""

    status: int
    headers: "Mapping[str, str]"
    body: bytes
    seconds: float


class TooLongError(ValueError):
    """An answer that is too long to read."""


def import_aiohttp() -> Any:
    """The library. Raises DependencyError: it is not installed."""
    try:
        import aiohttp
    except ImportError:
        raise DependencyError(
            "measuring a server needs aiohttp, which is not installed; "
            "pip install 'capacity-planner[measure]'"
        ) from None
    return aiohttp


@asynccontextmanager
async def session(timeout_s: float | None) -> "AsyncIterator[aiohttp.ClientSession]":
    """A client that keeps its connections; `timeout_s` is for a whole request. [s]"""
    aiohttp = import_aiohttp()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=None, socket_factory=_socket
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as client:
        yield client


def _socket(info: Any) -> socket.socket:
    """A socket that `select` can wait for; idle connections are kept beside those in use, without limit.

    Raises OSError: too many are open.
    """
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    if os.name == "posix" and made.fileno() >= _DESCRIPTORS:
        made.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return made


@lru_cache(maxsize=1024)
def _url(address: Address) -> "URL":
    from yarl import URL

    return URL(address.url, encoded=True)


@asynccontextmanager
async def posted(
    client: "aiohttp.ClientSession",
    address: Address,
    body: bytes,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> "AsyncIterator[aiohttp.ClientResponse]":
    """An answer to a POST that can be read as it arrives; raises as `ask` does."""
    async with client.request(
        "POST", _url(address), data=body, headers=headers, allow_redirects=False
    ) as answer:
        yield answer


async def ask(client: "aiohttp.ClientSession", address: Address, body: bytes | None = None) -> Answer:
    """POST a body, or GET without one, and read the whole answer.

    Raises:
        TooLongError: more than `ANSWER_BYTES_MAX` bytes.
        aiohttp.ClientError, OSError, ValueError: no answer, TimeoutError included.
    """
    url, method = _url(address), "GET" if body is None else "POST"
    parts, length, began_s = [], 0, time.perf_counter()
    async with client.request(method, url, data=body, allow_redirects=False) as answer:
        while part := await answer.content.readany():
            parts.append(part)
            length += len(part)
            if length > ANSWER_BYTES_MAX:
                raise TooLongError(f"answered more than {ANSWER_BYTES_MAX} bytes; is it what was meant?")
    seconds = time.perf_counter() - began_s
    return Answer(status=answer.status, headers=answer.headers, body=b"".join(parts), seconds=seconds)


_RAISE_TIMEOUT = "raise --timeout, or fix the server"  # for commands that have this flag
LOOK_AT_SERVER = "is it overloaded? its metrics must answer at once"


async def fetch(
    client: "aiohttp.ClientSession",
    address: Address,
    body: bytes | None = None,
    *,
    slow: str = _RAISE_TIMEOUT,
) -> Answer:
    """A successful answer; a connection that the server closed while idle is reopened once.

    Args:
        slow: what to do if there is no answer in time.

    Raises DependencyError: no answer in time, or one that fails, redirects, is too large or not HTTP.
    """
    with explained(client, address, slow):
        answer = await reopening(client, lambda client: ask(client, address, body))
    require_success(address, answer.status, answer.headers, answer.body)
    return answer


async def reopening(
    client: "aiohttp.ClientSession", exchange: Callable[["aiohttp.ClientSession"], Awaitable[_Found]]
) -> _Found:
    """The result of an exchange; on a new connection where the server had closed the one that was kept."""
    aiohttp = import_aiohttp()
    try:
        return await exchange(client)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
        pass
    # Any other connection of this client may have been closed as well.
    async with session(client.timeout.total) as fresh:
        return await exchange(fresh)


def _named(address: Address) -> str:
    return f"{address.host}:{address.port}{printable(address.path)[:_EXCERPT]}"


@contextmanager
def explained(
    client: "aiohttp.ClientSession", address: Address, slow: str = _RAISE_TIMEOUT
) -> Iterator[None]:
    """Turn failures inside into a DependencyError that names the address and what to do."""
    try:
        yield
    except (import_aiohttp().ClientError, OSError, ValueError) as error:
        raise unanswered(address, error, client.timeout.total or math.inf, slow) from None


def unanswered(
    address: Address, error: Exception, limit_s: float, slow: str = _RAISE_TIMEOUT
) -> DependencyError:
    """The error for a request without a whole answer, which names the address and what to do.

    Args:
        limit_s: the time that it had. [s]
    """
    name = _named(address)
    if isinstance(error, TooLongError):
        return DependencyError(f"{name} {error}")
    if isinstance(error, TimeoutError):
        return DependencyError(f"{name} gave no complete answer within {limit_s:g} s; {slow}")
    number = getattr(error, "errno", None) or 0
    is_of_system = number > 0 and not hasattr(error, "reason")  # numbers of TLS are its own
    told = os.strerror(number) if is_of_system else getattr(error, "strerror", None)
    reason = printable(told or f"{type(error).__name__} {error}")[:_EXCERPT]
    return DependencyError(f"{name} cannot be reached: {reason}; is it running?")


def require_success(address: Address, status: int, headers: "Mapping[str, str]", body: bytes) -> None:
    """Refuse an answer that redirects or fails, and quote it.

    Raises:
        DependencyError: a status other than 200 to 299.
    """
    name = _named(address)
    if 300 <= status < 400:
        where = printable(headers.get("Location") or "nowhere")[:_EXCERPT]
        raise DependencyError(
            f"{name} redirects to {where}, which is not followed; give that address if it is meant"
        )
    if not 200 <= status < 300:
        excerpt = printable(body[:_EXCERPT].decode("utf-8", "replace"))
        raise DependencyError(f"{name} answered {status}: {excerpt}")


class Exchange:
    """A synchronous client that asks one address, one request after another."""

    def __init__(self, address: Address, *, timeout_s: float, slow: str = _RAISE_TIMEOUT) -> None:
        self.address, self._slow = address, slow
        self._runner, self._session = asyncio.Runner(), session(timeout_s)

    def __enter__(self) -> Self:
        self._client = self._runner.run(self._session.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        with self._runner:
            self._runner.run(self._session.__aexit__(None, None, None))

    def ask(self, body: bytes | None = None) -> Answer:
        """Send one request and return its answer; raises as `fetch` does."""
        return self._runner.run(fetch(self._client, self.address, body, slow=self._slow))


def parse_server_timing(header: str) -> dict[str, float]:
    """Durations by name; entries without a valid number are skipped. [s]

    Source:
        W3C, Server Timing (2023), sec. 3.

    >>> parse_server_timing('queue;dur=1.5, batch;desc="of 8";dur=20, miss')
    {'queue': 0.0015, 'batch': 0.02}
    """
    found: dict[str, float] = {}
    for entry in header.split(","):
        name, _, parameters = entry.partition(";")
        if match := _DURATION.search(parameters):
            found.setdefault(name.strip(), float(match[1]) / 1e3)
    return found


def server_times(answer: Answer) -> tuple[float, float] | None:
    """Time of the batch, and time outside batch and queue, by Server-Timing; None without it. [s]"""
    told_s = parse_server_timing(answer.headers.get("Server-Timing", ""))
    if "batch" not in told_s:
        return None
    return told_s["batch"], answer.seconds - told_s["batch"] - told_s.get("queue", 0.0)


def check_server_times(beside_s: Iterable[float]) -> None:
    """Refuse a server whose reported times in queue and batch exceed the requests' whole times.

    `beside_s` has what the client saw beyond queue and batch, for each request [s]. Raises DependencyError if more
    than a tenth are below zero by more than rounding explains.
    """
    known_s = tuple(beside_s)
    below_s = [one for one in known_s if one < -_ROUNDING_S]
    if len(below_s) > _CONTRADICTED_MAX * len(known_s):
        raise DependencyError(
            f"by Server-Timing {len(below_s)} of {len(known_s)} requests spent longer in queue and batch "
            f"than the client waited for their answers, by up to {format_duration(-min(below_s))}; is "
            "its dur in milliseconds?"
        )
