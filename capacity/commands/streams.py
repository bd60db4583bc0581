"""Streams: stdout and stderr of a command, which fail as they should and escape control characters."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from capacity.errors import DependencyError
from capacity.files import neutral


class _Answers(io.FileIO):
    """Stdout; a reader that has left, as `head` does, is no error."""

    _has_failed = False

    def write(self, data: Any) -> int:
        """Write, or fail once: what is left in the buffer is written again at the end."""
        if self._has_failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                return len(data)
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise DependencyError(f"cannot write to stdout: {reason}; send it to another place") from None


class _Remarks(io.FileIO):
    """Stderr; a message that cannot be written changes no answer."""

    def write(self, data: Any) -> int:
        """Write, if that is possible."""
        with suppress(OSError):
            return super().write(data)
        return len(data)


class Shown:
    """A stream of text for people: control characters other than new lines become `?`. All else is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        self.styled = stream  # for text that has been checked, and has colours

    def write(self, text: str) -> int:
        """Write a text."""
        self.styled.write(neutral(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.styled, name)


def styled(stream: TextIO) -> TextIO:
    """The stream for text that has been checked, and may have our own escape sequences."""
    return stream.styled if isinstance(stream, Shown) else stream


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard both streams: stdout fails with `DependencyError`, stderr never; in `Shown`, streams of tests stay."""
    before = sys.stdout, sys.stderr
    _occupy()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Answers, sys.stdout, errors="replace")  # replaces what its encoding cannot show
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Remarks, sys.stderr, errors="backslashreplace")
    sys.stdout, sys.stderr = cast("TextIO", Shown(sys.stdout)), cast("TextIO", Shown(sys.stderr))
    try:
        yield
    finally:
        with suppress(DependencyError):
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Open the null device in place of a closed standard stream, or the next file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number


def _text(kind: type[io.FileIO], before: TextIO | None, errors: str) -> TextIO:
    """A stream of text to the old one's file; to nowhere if that was closed."""
    number = os.open(os.devnull, os.O_RDONLY) if before is None else before.fileno()
    encoding = "utf-8" if before is None else before.encoding
    raw = kind(number, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=True)
