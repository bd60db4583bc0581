"""HTTP client: sends one body again and again to the addresses that were given, and to no others."""

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capacity.errors import DependencyError, InputError
from measurements.address import parse_address
from measurements.load_run import EXHAUSTED, NOT_CONNECTED, TIMED_OUT, TOO_LONG

if TYPE_CHECKING:
    import aiohttp

    from measurements.driver import Send

ANSWER_BYTES_MAX = 16 * 2**20
TIMEOUT_MAX_S = 600.0
UNREACHABLE = {
    TIMED_OUT: "did not answer in time",
    NOT_CONNECTED: "cannot be reached",
    TOO_LONG: f"answered more than {ANSWER_BYTES_MAX} bytes",
    EXHAUSTED: "cannot be asked, since this machine has no descriptor or port left",
}
# Idle connections are given up before a server does so (uvicorn: after 5 s), for it may while one is used.
_KEEP_ALIVE_S = 3.0
# `select`, which waits for connections, knows no descriptor from here on.
_DESCRIPTORS = 1024
# What this machine lacks, and not the server.
_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is sent, and where.

    Attributes:
        urls: of the replicas, or of the balancer in front of them.
        body: of every request, JSON.
        timeout_s: after which a request is given up. [s]
    """

    urls: tuple[str, ...]
    body: bytes = field(repr=False)
    timeout_s: float

    def __post_init__(self) -> None:
        for url in self.urls:
            parse_address(url, "--url")
        if not 0.0 < self.timeout_s <= TIMEOUT_MAX_S:
            raise InputError(
                f"--timeout must be above 0 and at most {TIMEOUT_MAX_S:g}s, got {self.timeout_s:g}s"
            )


def import_aiohttp() -> Any:
    """The library, where it is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import aiohttp
    except ImportError:
        raise InputError(
            "measuring a server takes aiohttp, which is not installed; pip install 'capacity[measure]'"
        ) from None
    return aiohttp


@asynccontextmanager
async def connected(target: Target, heard: Callable[[str], None] | None = None) -> AsyncIterator["Send"]:
    """What sends one request to the url of a number; no redirect is followed, no proxy or cookie known.

    Args:
        heard: is told the Server-Timing of each good answer, in the order in which requests end.
    """
    async with session(target.timeout_s) as client:
        yield _sender(client, target, heard)


@asynccontextmanager
async def session(timeout_s: float) -> AsyncIterator["aiohttp.ClientSession"]:
    """Connections that are kept; no proxy or cookie is known."""
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
    """A socket for an address that was looked up, if `select` can wait for it.

    Idle connections are kept beside those in use, so that there may be more of them than requests in flight.

    Raises:
        OSError: it cannot, since too many are open.
    """
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    if os.name == "posix" and made.fileno() >= _DESCRIPTORS:
        made.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return made


def _sender(client: "aiohttp.ClientSession", target: Target, heard: Callable[[str], None] | None) -> "Send":
    from aiohttp import ClientError
    from yarl import URL

    urls, body = [URL(url, encoded=True) for url in target.urls], target.body

    async def send(replica: int) -> int:
        try:
            async with client.post(urls[replica], data=body, allow_redirects=False) as answer:
                outcome = answer.status if await is_read(answer.content) else TOO_LONG
        except TimeoutError:
            return TIMED_OUT
        except (ClientError, OSError, ValueError) as error:
            return EXHAUSTED if getattr(error, "errno", None) in _OWN else NOT_CONNECTED
        if heard is not None and outcome == 200:
            heard(answer.headers.get("Server-Timing", ""))  # at once before the end, so that the order is one
        return outcome

    return send


async def is_read(content: "aiohttp.StreamReader") -> bool:
    """Take in the answer to its last byte; False where it is longer than any."""
    length = 0
    while chunk := await content.readany():
        length += len(chunk)
        if length > ANSWER_BYTES_MAX:
            return False
    return True


async def check_reachable(send: "Send", target: Target) -> None:
    """One request to each url, before many.

    Raises:
        DependencyError: a server that does not answer, or cannot just now.
        InputError: a server that refuses the request.
    """
    for number, url in enumerate(target.urls):
        outcome = await send(number)
        shown = parse_address(url, "--url").shown[:80]
        if outcome < 0:
            raise DependencyError(f"{shown} {UNREACHABLE[outcome]}; is the server up, and the address right?")
        if outcome >= 500:
            raise DependencyError(f"{shown} answered the first request by {outcome}; wait until it is ready")
        if 300 <= outcome < 400:
            raise InputError(
                f"{shown} answered by {outcome}, a redirect, which is not followed; give the address itself"
            )
        if outcome != 200:
            raise InputError(f"{shown} answered the first request by {outcome}; check --url and --body")
