"""Reading bytes as if they were a file, for the tests of formats."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.registry import Kind, read
from capacity.traffic.workload import TraceArrivals

NAME = "result.bin"  # a format is recognised by what a file holds, not by its name


def example(name: str) -> str:
    """What a tool writes, kept in a file here with its line ends as they are."""
    return (Path(__file__).parent / "files" / name).read_bytes().decode()


def file(folder: Path, content: Any) -> Path:
    """A file of bytes; of text, with the mark that some systems put first; or of JSON."""
    path = folder / NAME
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8-sig"))
    return path


def read_bytes(content: Any, kind: Kind) -> Any:
    with TemporaryDirectory() as folder:
        return read(file(Path(folder), content), kind)


def load_test(content: Any) -> LoadTest:
    found = read_bytes(content, Kind.LOAD_TEST)
    assert isinstance(found, LoadTest)
    return found


def only_run(content: Any) -> LoadRun:
    (run,) = load_test(content).runs
    return run


def workload(content: Any) -> TraceArrivals:
    found = read_bytes(content, Kind.WORKLOAD)
    assert isinstance(found, TraceArrivals)
    return found


def refusal(content: Any, kind: Kind = Kind.LOAD_TEST) -> str:
    """The one line that says what is wrong with a file, and names it."""
    with pytest.raises(InputError) as refused:
        read_bytes(content, kind)
    said = str(refused.value)
    assert said.startswith(NAME)
    assert said.count(NAME) == 1  # the place is named once
    assert "\n" not in said
    return said
