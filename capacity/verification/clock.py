"""Clock: the time in a load test, and waiting for an instant to a tenth of a millisecond."""

import asyncio
import gc
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# `select` wakes up this late at most, so the last part of a wait polls the event loop.
_SPIN_S = 1.5e-4


class WallClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        """The present instant. [s]"""
        return time.perf_counter()

    async def sleep_until(self, instant_s: float) -> None:
        """Return at the instant, or at once if it has passed; other tasks get their turn in any case."""
        while (left_s := instant_s - time.perf_counter()) > 0.0:
            await asyncio.sleep(left_s - _SPIN_S if left_s > _SPIN_S else 0.0)
        await asyncio.sleep(0.0)


@contextmanager
def precise_runner() -> Iterator[asyncio.Runner]:
    """A runner whose loop can wait for less than a millisecond; Ctrl-C cancels what it runs.

    `epoll`, the usual selector on Linux, counts its timeout in whole milliseconds and rounds up, as uvloop does;
    `select` counts in microseconds. It takes no file descriptor above 1023, which limits the number of connections.
    Objects already in memory are not searched for garbage, which would delay requests.
    """
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        gc.collect()
        gc.freeze()
        try:
            yield runner
        finally:
            gc.unfreeze()


def _precise_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.set_exception_handler(_tell)
    return loop


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """SIGTERM may end any task, a request too; that is passed on, and is not reported as a failure."""
    if not isinstance(context.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(context)
