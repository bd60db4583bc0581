"""Commands answer as in tests/kept/, to the last sentence; `python tests/kept_answers.py --write` keeps another answer."""

from pathlib import Path

import kept_answers
import pytest


@pytest.mark.parametrize("path", kept_answers.TOPICS, ids=[path.stem for path in kept_answers.TOPICS])
def test_commands_answer_as_kept(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for expected, found in zip(kept_answers.kept(text), kept_answers.found(text, tmp_path), strict=True):
        assert found == expected


@pytest.mark.parametrize(
    "path", sorted(kept_answers.FOLDER.glob("*refusals.txt")), ids=lambda path: path.stem
)
def test_a_refusal_is_one_line_and_prints_nothing_else(path: Path) -> None:
    """But for usage that Click itself refuses, in a few lines."""
    for block in kept_answers.kept(path.read_text(encoding="utf-8")):
        _, *said, end = block.replace("\\\n", " ").split("\n")
        if end == "exit code 2" and not said[0].startswith("! Usage: "):
            assert [line[:9] for line in said] == ["! error: "], block
