"""History: which versions of a model were made current, in their order, one a line; only ever appended to.

    v1.0.0
    v1.1.0
    back v1.0.0

A way back takes away what came after the version that it leads to: of these, v1.0.0 alone still stands. A
line is written before the switch that it tells of; where the switch never came, `current` tells so.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path

from serve_api.model_version import is_version

_END_BYTES = 2**16  # of the file, which is all that is looked at
_BACK = "back "
_CUT_OFF = " (cut off)\n"  # ends a line that a crash left without its end, as one that names no version


class History:
    """The file of one store; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(
        self,
        version: str,
        switch: Callable[[], None],
        *,
        current: Callable[[], str | None],
        back: bool = False,
    ) -> None:
        """Write a version down and switch to it, while no other writer does.

        The line comes first: where it cannot be written nothing has changed, so that who tries again goes no
        step further. A line whose switch failed, or was left out by a crash, the next writer takes back.

        Args:
            current: which version is current, asked while no other writer switches; None where none is.
            back: whether what was made current after that version was no good.

        Raises:
            OSError: of the disk, and nothing was switched; beside these what `switch` raises.
        """
        with self._locked() as descriptor:
            end = _end_of(descriptor)
            lines = [*_amends(_lines(end), current()), f"{_BACK if back else ''}{version}"]
            cut_off = bool(end) and not end.endswith(b"\n")
            _write(descriptor, ((_CUT_OFF if cut_off else "") + "\n".join(lines) + "\n").encode())
            os.fsync(descriptor)
            switch()

    def versions(self, current: str | None) -> list[str]:
        """The last ones that still stand, the current one last; empty where none was ever written.

        A line that names no version was cut off by a crash, and is passed over.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return []
        try:
            lines = _lines(_end_of(descriptor))
        finally:
            os.close(descriptor)
        return _standing([*lines, *_amends(lines, current)])

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o644)
        try:
            flock(descriptor, LOCK_EX)
            yield descriptor
        finally:
            with suppress(OSError):  # all of it is on the disk already
                os.close(descriptor)


def _lines(end: bytes) -> list[str]:
    """Those that name a version."""
    lines = end.decode("ascii", errors="replace").split("\n")[:-1]
    return [line for line in lines if is_version(line.removeprefix(_BACK))]


def _amends(lines: Sequence[str], current: str | None) -> list[str]:
    """The line that is missing where the last ones lead to another version than the current one.

    Their switch never came, or `current` was set by another hand.
    """
    standing = _standing(lines)
    if current is None or standing[-1:] == [current]:
        return []
    promoted_in_vain = current in standing and not lines[-1].startswith(_BACK)
    return [f"{_BACK}{current}" if promoted_in_vain else current]


def _standing(lines: Iterable[str]) -> list[str]:
    """What is left where each way back takes away what came after the version that it leads to."""
    standing: list[str] = []
    for line in lines:
        version = line.removeprefix(_BACK)
        while line.startswith(_BACK) and standing and standing[-1] != version:
            standing.pop()
        if standing[-1:] != [version]:
            standing.append(version)
    return standing


def _end_of(descriptor: int) -> bytes:
    """The last bytes of a file; none of a folder or a pipe."""
    try:
        return os.pread(descriptor, _END_BYTES, max(0, os.fstat(descriptor).st_size - _END_BYTES))
    except OSError:
        return b""


def _write(descriptor: int, data: bytes) -> None:
    """All of it, though the system may take a part at a time."""
    while data:
        data = data[os.write(descriptor, data) :]
