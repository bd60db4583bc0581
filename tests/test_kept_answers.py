"""Commands answer as in tests/kept/, to the last sentence; `python tests/kept_answers.py --write` keeps another answer."""

from pathlib import Path

import kept_answers
import pytest


@pytest.mark.parametrize("path", kept_answers.TOPICS, ids=[path.stem for path in kept_answers.TOPICS])
def test_commands_answer_as_kept(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for expected, found in zip(kept_answers.kept(text), kept_answers.found(text, tmp_path), strict=True):
        assert found == expected
