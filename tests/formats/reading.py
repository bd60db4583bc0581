"""Reading bytes as if they were a file, for the tests of formats."""

import importlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.registry import FORMATS, Kind, read
from capacity.traffic.workload import TraceArrivals

NAME = "result.bin"  # a format is recognised by what a file holds, not by its name
BY_NAME = {one.__name__.rpartition(".")[2]: one for one in FORMATS}


def examples(name: str) -> dict[str, bytes]:
    """Valid files of a format, from its test."""
    found = getattr(importlib.import_module(f"test_{name}"), "EXAMPLES", {})
    assert found, f"tests/formats/test_{name}.py needs EXAMPLES, files that its reader takes, by name"
    return {key: as_bytes(content) for key, content in found.items()}


def refusals(name: str) -> list[tuple[Any, ...]]:
    """Files that a reader refuses and what it says of them, from the test of its format."""
    return getattr(importlib.import_module(f"test_{name}"), "REFUSED", [])


def as_bytes(content: Any) -> bytes:
    """What a file holds: bytes, text, or what JSON makes of it."""
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def example(name: str) -> str:
    """What a tool writes, kept in a file here with its line ends as they are."""
    return (Path(__file__).parent / "files" / name).read_bytes().decode()


def file(folder: Path, content: Any) -> Path:
    """A file of bytes; of text, with the mark that some systems put first; or of JSON."""
    path = folder / NAME
    path.write_bytes(content if isinstance(content, bytes) else b"\xef\xbb\xbf" + as_bytes(content))
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
