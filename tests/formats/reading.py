"""Reading bytes as if they were a file, for the tests of formats."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import LoadTest
from capacity.formats.registry import Kind, read
from capacity.traffic.workload import TraceArrivals

NAME = "result.bin"  # a format is told by what a file holds, not by its name


def example(name: str) -> str:
    """What a tool writes, kept in a file here with its line ends as they are."""
    return (Path(__file__).parent / "files" / name).read_bytes().decode()


def read_bytes(data: bytes | str, kind: Kind) -> Any:
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return read(path, kind)


def load_test(data: bytes | str) -> LoadTest:
    found = read_bytes(data, Kind.LOAD_TEST)
    assert isinstance(found, LoadTest)
    return found


def workload(data: bytes | str) -> TraceArrivals:
    found = read_bytes(data, Kind.WORKLOAD)
    assert isinstance(found, TraceArrivals)
    return found


def refusal(data: bytes | str, kind: Kind = Kind.LOAD_TEST) -> str:
    """The one line that says what is wrong with a file, and names it."""
    with pytest.raises(InputError) as refused:
        read_bytes(data, kind)
    said = str(refused.value)
    assert said.startswith(NAME)
    assert "\n" not in said
    return said
