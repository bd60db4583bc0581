"""HTTP client: sends one body again and again to the addresses that were given, and to no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capacity.errors import DependencyError, InputError
from capacity.reading import printable
from measurements.address import parse_address
from measurements.load_run import NOT_CONNECTED, TIMED_OUT, TOO_LONG

if TYPE_CHECKING:
    import aiohttp

    from measurements.driver import Send

ANSWER_BYTES_MAX = 16 * 2**20
TIMEOUT_MAX_S = 600.0
_UNREACHABLE = {
    TIMED_OUT: "did not answer in time",
    NOT_CONNECTED: "cannot be reached",
    TOO_LONG: f"answered more than {ANSWER_BYTES_MAX} bytes",
}
# Idle connections are given up before a server does so (uvicorn: after 5 s), for it may while one is used.
_KEEP_ALIVE_S = 3.0


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
async def connected(target: Target) -> AsyncIterator["Send"]:
    """What sends one request to the url of a number; no redirect is followed, no proxy or cookie known."""
    async with session(target) as client:
        yield _sender(client, target, import_aiohttp().ClientError)


@asynccontextmanager
async def session(target: Target) -> AsyncIterator["aiohttp.ClientSession"]:
    """Connections that are kept; no proxy or cookie is known."""
    aiohttp = import_aiohttp()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=None),
        timeout=aiohttp.ClientTimeout(total=target.timeout_s),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as client:
        yield client


def _sender(client: "aiohttp.ClientSession", target: Target, broken: type[Exception]) -> "Send":
    from yarl import URL

    urls, body = [URL(url, encoded=True) for url in target.urls], target.body

    async def send(replica: int) -> int:
        try:
            async with client.post(urls[replica], data=body, allow_redirects=False) as answer:
                return answer.status if await is_read(answer.content) else TOO_LONG
        except TimeoutError:
            return TIMED_OUT
        except (broken, OSError, ValueError):
            return NOT_CONNECTED

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
        shown = printable(url)[:80]
        if outcome < 0:
            raise DependencyError(
                f"{shown} {_UNREACHABLE[outcome]}; is the server up, and the address right?"
            )
        if outcome >= 500:
            raise DependencyError(f"{shown} answered the first request by {outcome}; wait until it is ready")
        if 300 <= outcome < 400:
            raise InputError(
                f"{shown} answered by {outcome}, a redirect, which is not followed; give the address itself"
            )
        if outcome != 200:
            raise InputError(f"{shown} answered the first request by {outcome}; check --url and --body")
