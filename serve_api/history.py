"""History: which versions of a model were made current, in their order, one a line; only ever appended to.

    v1.0.0
    v1.1.0
    back v1.0.0

A way back takes away what came after the version that it leads to: of these, v1.0.0 alone still stands.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from serve_api.model_version import is_version

_END_BYTES = 2**16  # of the file, which is all that is looked at
_BACK = "back "


class History:
    """The file of one store; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, version: str, switch: Callable[[], None], *, back: bool = False) -> None:
        """Switch to a version and write it down, while no other writer does.

        The switch comes first: what a crash leaves out is the current version, which nobody looks for here.

        Args:
            back: whether what was made current after that version was no good.

        Raises:
            OSError: of the disk.
        """
        with self._locked() as descriptor:
            switch()
            os.write(descriptor, f"{_BACK if back else ''}{version}\n".encode())
            os.fsync(descriptor)

    def versions(self) -> list[str]:
        """The last ones that still stand, oldest first; empty where none was ever written.

        A line that names no version was cut off by a crash, and is passed over.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return []
        try:
            end = _end_of(descriptor)
        finally:
            os.close(descriptor)
        return _standing(end.decode("ascii", errors="replace").split("\n")[:-1])

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o644)
        try:
            flock(descriptor, LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _standing(lines: Iterable[str]) -> list[str]:
    """What is left where each way back takes away what came after the version that it leads to."""
    standing: list[str] = []
    for line in lines:
        version = line.removeprefix(_BACK)
        if not is_version(version):
            continue
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
