"""Compiled: numba's decorators with types for the checker; machine code is kept beside the sources.

Compiled functions take numbers and arrays only, are called with checked input alone (they check no
index), and release the interpreter's lock, so that threads run them side by side.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import config, event

Function = TypeVar("Function", bound=Callable[..., object])
_HERE = Path(__file__).parent


def compiled(function: Function) -> Function:
    """Machine code, made at the first call and found again by later processes if it can be kept."""
    folder = _folder()
    if folder is None:
        return cast("Function", njit(nogil=True)(function))
    settings = cast("Any", config)  # they come from the environment, unknown to the checker
    given, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
    try:
        dispatcher = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba finds the folder not to its liking
        return cast("Function", njit(nogil=True)(function))
    finally:
        settings.CACHE_DIR = given
    _tolerate_a_full_disk(dispatcher)
    return cast("Function", dispatcher)


def inlined(function: Function) -> Function:
    """A part of compiled functions, copied to where it is called: a call would cost more than it does."""
    return cast("Function", njit(inline="always")(function))


@cache
def _folder() -> Path | None:
    """Where machine code is kept: by all sources that go into it, at the first place that can be written.

    Numba itself only looks at the file of a function, and not at those whose parts and constants it holds.
    """
    given = cast("Any", config).CACHE_DIR
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111  (never raises)
    places = [Path(given)] if given else []
    for place in (*places, _HERE / "__pycache__", home / "capacity"):
        folder = place / f"compiled-{_fingerprint()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


@cache
def _fingerprint() -> str:
    """Of all sources of the simulator."""
    sources = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
    return hashlib.sha256(sources).hexdigest()[:16]


def _tolerate_a_full_disk(dispatcher: Any) -> None:
    """What cannot be saved is compiled again by the next process; numba would raise at the first call."""
    kept: Any = getattr(dispatcher, "_cache", None)
    save = getattr(kept, "save_overload", None)
    if save is None:  # in another version of numba
        return

    def save_if_possible(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    kept.save_overload = save_if_possible


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
