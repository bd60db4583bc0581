"""Flags that name files: no command writes over what it reads, and each flag says which it does."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import cli
from capacity.commands.options import note_input

PROFILE = Path(cli.__file__).parent / "capacity" / "profile" / "bundled" / "resnet50-t4-fp16.json"
URL = ["--url", "http://127.0.0.1:1/predict"]
PLAN = ["plan", "--rate", "1rps", "--slo-p99", "1s"]
RATE = ["max-rate", "--replicas", "1", "--slo-p99", "1s", "--profile", "resnet50-t4-fp16"]
# What each command writes, with each flag by which it can read the same file.
OVERWRITES = [
    ([*PLAN, "--profile", "in.json", "-o", "OUT"], "-o/--output", "--profile"),
    ([*PLAN, "-o", "OUT", "--profile", "in.json"], "-o/--output", "--profile"),
    ([*PLAN, "--profile", "resnet50-t4-fp16", "--profile", "in.json", "-o", "OUT"], "-o/--output", "--profile"),
    (["compare", "in.json", "--fleet", "replicas=2", "-o", "OUT"], "-o/--output", "plans"),
    ([*PLAN, "--profile", "resnet50-t4-fp16", "--arrivals", "trace:in.json", "-o", "OUT"], "-o/--output", "--arrivals"),
    ([*PLAN, "--profile", "resnet50-t4-fp16", "--daily", "in.json", "-o", "OUT"], "-o/--output", "--daily"),
    ([*RATE, "--arrivals", "trace:in.json", "-o", "OUT"], "-o/--output", "--arrivals"),
    (["sweep", "--profile", "in.json", "--rate", "1rps", "--replicas", "1", "-o", "OUT"], "-o/--output", "--profile"),
    (["profile", *URL, "--body", "in.json", "-o", "OUT"], "-o/--output", "--body"),
    (["verify", *URL, "--body", "in.json", "--profile", "resnet50-t4-fp16", "-o", "OUT"], "-o/--output", "--body"),
    (["verify", *URL, "--body", "body.json", "--plan", "in.json", "-o", "OUT"], "-o/--output", "--plan"),
    (["verify", *URL, "--body", "body.json", "--profile", "in.json", "-o", "OUT"], "-o/--output", "--profile"),
    (["report", "in.json", "-o", "OUT"], "-o/--output", "plan"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROFILE, "in.json")
    (tmp_path / "body.json").write_text('{"instances": [[1]]}', encoding="utf-8")
    return tmp_path


def refusal(arguments: list[str]) -> str:
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 2, done.output
    return done.output


@pytest.mark.parametrize(("arguments", "writer", "reader"), OVERWRITES)
def test_an_input_is_not_written_over(folder: Path, arguments: list[str], writer: str, reader: str) -> None:
    before = (folder / "in.json").read_bytes()
    said = refusal([argument.replace("OUT", "in.json") for argument in arguments])
    assert said == f"error: {writer} would replace in.json, which {reader} reads; write to another file\n"
    assert (folder / "in.json").read_bytes() == before


def test_a_file_is_the_same_by_whatever_name(folder: Path) -> None:
    Path("link.json").symlink_to("in.json")
    os.link("in.json", "hard.json")
    Path("sub").mkdir()
    for name in ("./in.json", "sub/../in.json", str(folder / "in.json"), "link.json", "hard.json"):
        said = refusal([*PLAN, "--profile", "in.json", "-o", name])
        assert said.endswith(", which --profile reads; write to another file\n")
        assert "would replace" in refusal([*PLAN, "--profile", name, "-o", "in.json"])


def test_two_outputs_are_two_files(folder: Path) -> None:
    Path("out.json").write_text("old", encoding="utf-8")
    Path("out.svg").symlink_to("out.json")
    said = refusal([*PLAN, "--profile", "in.json", "-o", "out.json", "-o", "out.svg"])
    assert (
        said == "error: -o/--output would replace out.svg, which -o/--output writes; write to another file\n"
    )


def test_the_journal_of_a_sweep_begins_anew_over_no_input(folder: Path) -> None:
    Path("x.csv.partial").write_text("t_s\n1\n2\n", encoding="utf-8")
    said = refusal([
        "sweep", "--profile", "in.json", "--arrivals", "trace:x.csv.partial", "--replicas", "1", "-o", "x.csv", "--fresh",
    ])  # fmt: skip
    assert "-o/--output would replace x.csv.partial, which --arrivals reads" in said
    assert Path("x.csv.partial").read_text(encoding="utf-8") == "t_s\n1\n2\n"


def test_other_files_of_any_name_are_written(folder: Path) -> None:
    """What is there already and no input, a name with `=`, and an input in another folder."""
    for name in ("old.svg", "a=in.svg"):
        Path(name).write_text("old", encoding="utf-8")
        done = CliRunner().invoke(cli.app, ["curve", "-o", name])
        assert done.exit_code == 0, done.output
        assert Path(name).read_text(encoding="utf-8").startswith("<?xml")


def parameters(command: Any) -> Iterator[tuple[str, Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield from ((f"{name} {at}".strip(), parameter) for at, parameter in parameters(each))
    yield from (("", parameter) for parameter in command.params)


def test_every_flag_that_names_a_file_looks_after_it() -> None:
    """A new one is found by its name here, or by the word file in its help."""
    known = ("--output", "--plot", "--profile", "--plan", "--baseline", "--arrivals", "--daily", "--body")
    bare, seen = [], 0
    for command, parameter in parameters(typer.main.get_command(cli.app)):
        is_argument = parameter.param_type_name == "argument"
        speaks_of_one = any(word in (getattr(parameter, "help", "") or "") for word in (" file", "FILE"))
        if is_argument or speaks_of_one or parameter.opts[-1] in known:
            seen += 1
            looks = getattr(parameter.callback, "__module__", "") == note_input.__module__
            # Names of a file, what is given instead of one, and the kind of one.
            if not looks and parameter.opts[-1] not in ("--name", "--lambda", "--model", "file"):
                bare.append(f"{command} {parameter.opts[-1]}")
    assert bare == []
    assert seen > 30


LONG = 300 * "x"
R = ["--profile", "resnet50-t4-fp16"]
LONG_PATHS = [
    ["plan", "--profile", LONG, "--rate", "1rps", "--slo-p99", "1s"],
    ["plan", "--profile", f"{LONG}.csv", "--rate", "1rps", "--slo-p99", "1s"],
    ["plan", *R, "--arrivals", f"trace:{LONG}", "--slo-p99", "1s"],
    ["plan", *R, "--daily", LONG, "--slo-p99", "1s"],
    ["plan", *R, "--rate", "1rps", "--slo-p99", "1s", "-o", f"{LONG}.json"],
    ["plan", *R, "--rate", "1rps", "--slo-p99", "1s", "--plot", f"{LONG}.png"],
    ["audit", LONG],
    ["audit", "in.json", *R, "--plan", LONG],
    ["import", LONG],
    ["import", "in.json", "-o", f"{LONG}.json"],
    ["check", "--plan", LONG],
    ["explain", LONG],
    ["compare", LONG],
    ["workload", LONG],
    ["render", LONG, "--target", "k6"],
    ["report", LONG, "-o", "page.html"],
    ["stress", "--plan", LONG, "--trigger", "rollout"],
    ["queue", "usl", LONG],
    ["profile", *URL, "--body", LONG],
    ["verify", *URL, "--body", LONG, *R, "--rate", "1rps"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", LONG_PATHS, ids=lambda words: " ".join(words).replace(LONG, "LONG"))
def test_a_path_that_is_too_long_is_refused_in_one_line(folder: Path, arguments: list[str]) -> None:
    said = refusal(arguments)
    assert said.splitlines()[-1].startswith("error: ")
    assert "internal" not in said


@pytest.mark.parametrize("command", [["audit", "in.csv"], [*PLAN, *R], ["workload", "in.csv"]])
def test_a_seed_below_0_is_refused(folder: Path, command: list[str]) -> None:
    (folder / "in.csv").write_text("t_s\n0\n1\n")
    assert "error: --seed must be >= 0, got -1" in refusal([*command, "--seed", "-1"])
