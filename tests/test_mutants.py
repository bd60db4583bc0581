"""The planted bugs: each finds the text that it changes and the test that should notice."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mutants
import pytest
from mutants import MUTANTS, QUICK, text_errors

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def test_every_planted_bug_finds_its_text_and_its_test() -> None:
    assert [error for mutant in MUTANTS for error in text_errors(mutant)] == []
    quick = [replace(mutant, tests=QUICK[mutant.name]) for mutant in MUTANTS if mutant.name in QUICK]
    assert [error for mutant in quick for error in text_errors(mutant)] == []


def test_names_are_told_apart_and_those_of_ci_are_among_them() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)
    assert set(QUICK) <= set(names)
    assert all("::" in test for test in QUICK.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"edits": [("no such text", "")]},
            "'no such text' occurs 0 times in simulations/reference/replica.py, not once",
        ),
        ({"edits": [("self", "")]}, "times in simulations/reference/replica.py, not once"),
        (
            {"tests": "tests/simulations/test_cluster.py::test_the_tim"},
            "tests/simulations/test_cluster.py has no test test_the_tim",
        ),
    ],
)
def test_what_is_not_there_is_an_error(change: dict[str, object], said: str) -> None:
    (error,) = text_errors(replace(BY_NAME["the newest request is served first"], **change))
    assert said in error


def test_a_bug_is_planted_in_a_copy_and_taken_out_again(tmp_path: Path) -> None:
    mutant = BY_NAME["the newest request is served first"]
    path = tmp_path / mutant.file
    path.parent.mkdir()
    before = (mutants.ROOT / mutant.file).read_bytes()
    with mutants.planted(mutant, tmp_path):
        assert b"self._waiting.pop()" in path.read_bytes()
    assert path.read_bytes() == before == (mutants.ROOT / mutant.file).read_bytes()


def test_a_name_that_nothing_has_ends_with_2() -> None:
    done = subprocess.run(
        [sys.executable, mutants.__file__, "no such bug"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "no mutant has no such bug in its name\n")
