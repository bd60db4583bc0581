"""Writing: a file is whole or not there, and what was there stays until the new one is.

What is no file, as a pipe or `/dev/null`, is written straight.
"""

import os
import secrets
import stat
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.reading import own_descriptor, printable

JOURNAL_SUFFIX = ".partial"  # of what is kept beside a file until that is whole


def check_target(path: Path, what: str, suffixes: Collection[str]) -> None:
    """Refuse early what could not be written after hours of work.

    Args:
        what: what the file would be: `a plan`.

    Raises:
        InputError: another suffix, a directory, no such folder, or one that must not be written to.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        if is_stream(path):
            return
        if path.suffix.lower() not in suffixes:
            raise InputError(f"cannot write {shown}: {what} is a {' or a '.join(suffixes)} file; name it so")
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise InputError(f"cannot write {shown}: it is a directory; give the name of a file")
        if not target.parent.is_dir():
            raise InputError(f"cannot write {shown}: no such directory; make it, or check the path")
        _require_writable(target, shown)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def _require_writable(target: Path, shown: str) -> None:
    """Refuse a file that is protected from writing, which a new one could replace all the same."""
    if target.exists():
        if not target.is_file():
            raise InputError(f"cannot write {shown}: it is not a file; give the name of a file")
        with target.open("r+b"):
            pass
    with tempfile.TemporaryFile(dir=target.parent):
        pass


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a terminal, `/dev/null` or an open file of this process, as `/dev/stdout`.

    Raises:
        OSError: links that lead nowhere but to each other, or a folder that must not be looked into.
        ValueError: not a path at all.
    """
    if own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def format_suffix(path: Path, suffixes: Collection[str]) -> str:
    """The suffix that says in which format a path is written; of a stream without one, the first."""
    suffix = path.suffix.lower()
    return suffix if suffix in suffixes or not is_stream(path) else next(iter(suffixes))


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file and put it in its place, over what was there; a stream is written straight.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    shown = printable(str(path))
    try:
        if is_stream(path):
            _write_straight(path, data)
        else:
            target = Path(os.path.realpath(path))  # a link stays one
            _require_writable(target, shown)
            _replace(target, data)
    except (OSError, ValueError) as error:
        raise refused(error, shown) from None


def _write_straight(path: Path, data: bytes) -> None:
    """An open file goes on where it is: to open it by its name would write over what it has."""
    number = own_descriptor(path)
    with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes) -> None:
    beside = target.with_name(f".{secrets.token_hex(8)}.part")  # never one that a killed run has left
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            _take_over(file.fileno(), target)
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def _take_over(descriptor: int, target: Path) -> None:
    """Owner, group and mode of the file that is replaced; a new one has what the umask leaves."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def refused(error: OSError | ValueError, shown: str) -> CapacityError:
    """What a file that cannot be opened or written means to who asked for it."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return InputError(f"cannot write {shown}: {error.strerror}; check the path")
    if isinstance(error, ValueError):
        return InputError(f"cannot write {shown}: not a valid path; check the path")
    return DependencyError(f"cannot write {shown}: {error.strerror}; free or change the disk")
