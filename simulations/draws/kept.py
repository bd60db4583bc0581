"""Kept: numbers that the runs of one command draw alike, such as candidates that see the same requests."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from simulations.draws.records import Floats

# Of numbers that are drawn again for a longer run, an eighth more are drawn: the next may be longer by little.
_SPARE = 8


class Kept:
    """The first numbers of random streams, those used last, in a limited number of bytes.

    Args:
        bytes_max: of all of them together.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: OrderedDict[Hashable, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def first(self, key: Hashable, count: int, draw: Callable[[int], Floats]) -> Floats:
        """The first numbers of a stream, shape `(count,)`, to be copied and not changed.

        Args:
            draw: gives the first numbers, of which fewer are the first of more.
        """
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
        if held is None or len(held) < count:
            held = draw(count if held is None else count + count // _SPARE)
            self._hold(key, held)
        return held[:count]

    def _hold(self, key: Hashable, numbers: Floats) -> None:
        with self._lock:
            before = self._held.pop(key, None)
            self._bytes += numbers.nbytes - (0 if before is None else before.nbytes)
            self._held[key] = numbers
            while self._bytes > self._bytes_max and self._held:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
