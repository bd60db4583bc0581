"""Writing to disk: a file is whole or not there, and what was there stays until the new one is."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.reading import printable


def check_target(path: Path, what: str, suffixes: tuple[str, ...]) -> None:
    """Refuse early what could not be written after hours of work.

    Args:
        what: what the file would be: `a plan`.

    Raises:
        InputError: another suffix, something that is no file, or no such folder.
    """
    shown = printable(str(path))
    try:
        if path.suffix.lower() not in suffixes:
            raise InputError(f"cannot write {shown}: {what} is a {', '.join(suffixes)} file; name it so")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {shown}: no such directory; make it, or check the path")
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):  # to put a file in its place would take it away
                raise InputError(f"cannot write {shown}: it is no file; name one")
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file and put it in its place, over what was there.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        target = path.resolve()  # a link stays one
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            with suppress(FileNotFoundError):
                beside.unlink()
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def refused(error: OSError | ValueError, shown: str) -> CapacityError:
    """What a file that cannot be opened or written means to who asked for it."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return InputError(f"cannot write {shown}: {error.strerror}; check the path")
    if isinstance(error, ValueError):
        return InputError(f"cannot write {shown}: not a valid path; check the path")
    return DependencyError(f"cannot write {shown}: {error.strerror}; free or change the disk")
