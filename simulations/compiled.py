"""Compiled: numba's decorators with types for the checker; machine code is kept beside the sources.

Compiled functions take numbers and arrays only, are called with checked input alone (they check no
index), and release the interpreter's lock, so that threads run them side by side.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import config, event

Function = TypeVar("Function", bound=Callable[..., object])
_HERE = Path(__file__).parent


def compiled(function: Function) -> Function:
    """Machine code, made at the first call and found again by later processes if it can be kept."""
    with _kept_by_sources():
        try:
            return cast("Function", njit(cache=True, nogil=True)(function))
        except RuntimeError:  # neither beside the source nor in the user's cache may anything be written
            return cast("Function", njit(nogil=True)(function))


def inlined(function: Function) -> Function:
    """A part of compiled functions, copied to where it is called: a call would cost more than it does."""
    return cast("Function", njit(inline="always")(function))


@contextmanager
def _kept_by_sources() -> Iterator[None]:
    """Keep what is compiled in a folder named by all sources that go into it.

    Numba itself only looks at the file of the function, and not at those of the parts copied into it.
    """
    settings = cast("Any", config)  # they come from the environment, unknown to the checker
    given = settings.CACHE_DIR
    settings.CACHE_DIR = str(Path(given or _HERE / "__pycache__") / f"compiled-{_fingerprint()}")
    try:
        yield
    finally:
        settings.CACHE_DIR = given


@cache
def _fingerprint() -> str:
    """Of this file and of all that have compiled code."""
    sources = [path.read_bytes() for path in sorted(_HERE.glob("*.py"))]
    relevant = b"".join(source for source in sources if b"simulations.compiled" in source)
    return hashlib.sha256(relevant + Path(__file__).read_bytes()).hexdigest()[:16]


@contextmanager
def announced(report: Callable[[str], None]) -> Iterator[None]:
    """Report what the first call of all waits for; later ones find the machine code on disk."""
    with event.install_listener("numba:compile", _Announcement(report)):
        yield


class _Announcement(event.Listener):
    """Speaks once."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._spoken = False

    def on_start(self, _: Any) -> None:
        """Something is not found on disk, and is compiled."""
        if not self._spoken:
            self._spoken = True
            self._report("compiling the simulator for this machine, which takes some seconds, once")

    def on_end(self, _: Any) -> None:
        """Compiled: whose turn it is now will report itself."""
