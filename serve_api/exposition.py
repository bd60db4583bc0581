"""Exposition: the text of the metrics, for all who ask at about the same time at once."""

import asyncio
import time
from collections.abc import Callable

_INTERVAL_S = 0.1  # between two writings, in the long run
_BURST_S = 1.0  # after a rest, as many at once as would have been written in that time


class Exposition:
    """Writes the text in a thread, since it takes a while; one at a time, and not too often.

    Who asks while one is written shares the next. So whatever was counted before a client asked is in what it
    reads, and those who ask and never read an answer hold a hundred texts in memory, not one each.
    """

    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._writing = asyncio.Lock()
        self._due_s = 0.0
        self._next: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        """The text of now or a little later, never of earlier."""
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._write())
        return await asyncio.shield(self._next)  # one who leaves takes it from nobody

    async def _write(self) -> bytes:
        async with self._writing:
            now_s = time.monotonic()
            self._due_s = max(self._due_s, now_s - _BURST_S)
            await asyncio.sleep(max(0.0, self._due_s - now_s))
            self._due_s += _INTERVAL_S
            self._next = None
            return await asyncio.to_thread(self._text)
