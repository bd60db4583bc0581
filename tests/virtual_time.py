"""An event loop whose time jumps to the next event, so that load tests take none."""

import asyncio
import selectors
from collections.abc import Callable


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, tells how long it would have."""

    waited: Callable[[float], None]

    def select(self, timeout=None):
        if timeout is not None and timeout > 0.0:
            self.waited(timeout)
        return super().select(0.0 if timeout is not None else 5.0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 and knows no other time than that of its timers."""

    def __init__(self) -> None:
        self._now_s = 0.0
        selector = _Jumping()
        selector.waited = self.advance
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class VirtualClock:
    """A `capacity.verification.run.WallClock` of that loop.

    Args:
        stalls_s: by instant, how long everything stands still from there on, once. [s]
    """

    def __init__(self, stalls_s: dict[float, float] | None = None) -> None:
        self._stalls_s = dict(stalls_s or {})

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, instant_s: float) -> None:
        await asyncio.sleep(max(0.0, instant_s - self.now_s()))
        for start_s in [start_s for start_s in self._stalls_s if start_s <= self.now_s()]:
            asyncio.get_running_loop().advance(self._stalls_s.pop(start_s))


def run(main):
    """The result of a coroutine, at once."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
