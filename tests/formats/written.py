"""What tests of formats share: a file from text, read for a purpose, and the one line of a refusal."""

import json
from pathlib import Path
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.registry import Kind, read


def file(folder: Path, content: Any) -> Path:
    """Told by what it holds: the name says nothing. JSON, where it is no text."""
    path = folder / "file.txt"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8-sig", newline="")  # also with the mark that some systems put first
    return path


def load_test(folder: Path, content: Any) -> LoadTest:
    found = read(file(folder, content), Kind.LOAD_TEST)
    assert isinstance(found, LoadTest)
    return found


def only_run(folder: Path, content: Any) -> LoadRun:
    (run,) = load_test(folder, content).runs
    return run


def refusal(folder: Path, content: Any, kind: Kind = Kind.LOAD_TEST) -> str:
    with pytest.raises(InputError) as refused:
        read(file(folder, content), kind)
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith("file.txt")
    assert said.count("file.txt") == 1  # the place is told once
    return said
