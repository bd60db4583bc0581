"""Examples of each format are read as in `read/`, and its refusals say what they should.

`python tests/formats/readings.py --write [format ...]` keeps another reading.
"""

from typing import Any

import pytest
import readings
from reading import BY_NAME, refusal, refusals

from capacity.formats.registry import Kind


@pytest.mark.parametrize("name", BY_NAME)
def test_examples_are_read_as_kept(name: str) -> None:
    path = readings.FOLDER / f"{name}.txt"
    assert path.exists(), f"run: python tests/formats/readings.py --write {name}"
    assert readings.text(name).split("\n\n") == path.read_text(encoding="utf-8").split("\n\n")


def test_what_is_kept_is_of_a_format() -> None:
    assert {path.stem for path in readings.FOLDER.iterdir()} == set(BY_NAME)


@pytest.mark.parametrize(("name", "row"), [(name, row) for name in BY_NAME for row in refusals(name)])
def test_what_cannot_be_is_refused(name: str, row: tuple[Any, ...]) -> None:
    """A row has the content, what is said of it, and for which purposes it is read, if not only as a load test."""
    content, said, *kinds = row
    for kind in kinds or [Kind.LOAD_TEST]:
        assert said in refusal(content, kind)
