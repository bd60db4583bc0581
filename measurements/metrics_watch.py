"""MetricsWatch: looks at servers' metrics a few times while requests are sent, from the same event loop.

A look costs the load generator about what three requests cost it, and pages are read when the run is over.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from capacity.errors import DependencyError
from measurements.address import Address
from measurements.clock import Clock
from measurements.http_client import ANSWER_BYTES_MAX, session
from measurements.mean_interval import SECTIONS_MAX
from measurements.schedule import Floats
from measurements.server_use import Look

if TYPE_CHECKING:
    import aiohttp

# A look may hold up a server for milliseconds, which is little of so long.
_APART_MIN_S = 0.5
_TIMEOUT_S = 5.0
_HEADERS = {"Accept": "text/plain;version=0.0.4"}


def look_instants_s(start_s: float, end_s: float) -> Floats:
    """From the start to the end of what counts, the ends of as many sections as there may be. [s]"""
    sections = min(SECTIONS_MAX, max(1, int((end_s - start_s) / _APART_MIN_S)))
    return np.linspace(start_s, end_s, sections + 1, dtype=np.float64)


class MetricsWatch:
    """Looks at the metrics of each replica at instants of a run; one that fails is left out, and said.

    Args:
        instants_s: from the start of the run, rising. [s]

    Attributes:
        looks: so far, in order.
        failure: what came of the last look that failed; None where none did.
    """

    def __init__(self, addresses: Sequence[Address], instants_s: Floats) -> None:
        self.looks: list[Look] = []
        self.failure: str | None = None
        self._addresses, self._instants_s = addresses, instants_s.tolist()

    async def run(self, clock: Clock, began_s: float) -> None:
        """Look at each instant of a run that begins at one of the clock's."""
        async with session(_TIMEOUT_S) as client:
            for instant_s in self._instants_s:
                await asyncio.sleep(max(0.0, began_s + instant_s - clock.now_s()))
                asked_s = clock.now_s() - began_s
                pages = await self._pages(client)
                if pages is not None:
                    middle_s = (asked_s + clock.now_s() - began_s) / 2.0
                    self.looks.append(Look(instant_s=middle_s, pages=tuple(pages)))

    async def _pages(self, client: "aiohttp.ClientSession") -> list[bytes] | None:
        """Of all replicas at once; None where one of them is not to be had."""
        from aiohttp import ClientError

        try:
            return await asyncio.gather(*(_page(client, address) for address in self._addresses))
        except (ClientError, OSError, ValueError, DependencyError) as error:
            self.failure = str(error) or type(error).__name__
            return None


async def _page(client: "aiohttp.ClientSession", address: Address) -> bytes:
    """The page as it is now.

    Raises:
        DependencyError: another status than 200, or more than anybody counts.
    """
    from yarl import URL

    host = f"[{address.host}]" if ":" in address.host else address.host
    url = URL(f"{address.scheme}://{host}:{address.port}{address.target}", encoded=True)
    async with client.get(url, headers=_HEADERS, allow_redirects=False) as answer:
        if answer.status != 200:
            raise DependencyError(f"{address.host}:{address.port} answered {answer.status}")
        parts = []
        length = 0
        while part := await answer.content.readany():
            parts.append(part)
            length += len(part)
            if length > ANSWER_BYTES_MAX:
                raise DependencyError(
                    f"{address.host}:{address.port} answered more than {ANSWER_BYTES_MAX} bytes"
                )
    return b"".join(parts)
