"""The planted bugs: each finds the function and text that it changes, and the test that should catch it."""

import subprocess
import sys
from pathlib import Path

import planted_bugs
import pytest
from planted_bugs import BUGS, ROOT, errors, place_of

BY_NAME = {bug.name: bug for bug in BUGS}
NEWEST_FIRST = BY_NAME["the newest request is served first"]


def test_every_bug_finds_its_place_and_its_test() -> None:
    assert list(errors(BUGS)) == []


def test_names_are_unique_and_every_test_is_one_function() -> None:
    assert len(BY_NAME) == len(BUGS)
    assert all("::test_" in bug.test for bug in BUGS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"place": "RequestQueue.gone"}, "RequestQueue.gone is found 0 times"),
        ({"place": "Floats"}, "Floats is found"),
        ({"place": "resamples_for", "old": "no such text"}, "'no such text' occurs 0 times"),
        ({"old": "self"}, "'self' occurs 7 times in RequestQueue.take, not once"),
        ({"test": "test_invariants.py::test_gone"}, "test_invariants.py::test_gone is found 0 times"),
        ({"test": "test_gone.py::test_fifo"}, "test_gone.py::test_fifo is found 0 times"),
    ],
)
def test_what_is_not_there_is_an_error(change: dict[str, str], said: str) -> None:
    (error,) = errors([NEWEST_FIRST._replace(**change)])
    assert said in error


def test_a_bug_is_planted_in_its_function_alone_and_taken_out_again(tmp_path: Path) -> None:
    path, source = place_of(NEWEST_FIRST)
    copy = tmp_path / path
    copy.parent.mkdir(parents=True)
    before = (ROOT / path).read_text()
    copy.write_text(before)
    with planted_bugs.planted(NEWEST_FIRST, tmp_path):
        assert copy.read_text() == before.replace(source, source.replace("popleft()", "pop()"))
    assert copy.read_text() == before == (ROOT / path).read_text()


def test_a_word_that_no_bug_has_ends_with_2() -> None:
    done = subprocess.run(
        [sys.executable, planted_bugs.__file__, "no such bug"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "no bug has no such bug in its name\n")
