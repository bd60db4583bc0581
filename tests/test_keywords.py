"""Whatever a function is given, it refuses as an error of ours, and its message names keywords; the command's names flags."""

import re
from itertools import product
from typing import Any

import pytest
from typer.testing import CliRunner

import capacity as cap
from capacity.question.verbs import keywords
from cli import app

VERBS = {name: getattr(cap, name) for name in cap._PLACES if hasattr(getattr(cap, name), "verb")}
WRONG = ("nonsense", "5", "-1s", "a:b", 0, -1, 1.5, True, [])
SMALL = {
    "profile": "resnet50-t4-fp16", "rate": "5rps", "replicas": 1, "batch_size_max": 1, "slo_p99": "50ms",
}  # fmt: skip
# As it is typed: a flag, but not within a whole command that a message proposes, which is for a terminal.
_COMMAND, _FLAG = re.compile(r"capacity [a-z][a-z-]* [^;,]*"), re.compile(r"(?<![\w-])--[a-z]")


def asked(verb: str, keyword: str, value: Any, others: dict[str, Any]) -> dict[str, Any]:
    """Keywords of a question that takes no time if it is answered after all."""
    known = keywords(verb)
    quick = {"requests_max": 2000, "precision": 0.9, "seed": 1}
    return {name: one for name, one in (others | quick).items() if name in known} | {keyword: value}


def message(function: Any, given: dict[str, Any]) -> str | None:
    """What a refusal says; None where the question is answered after all."""
    try:
        function(**given)
    except (cap.CapacityError, TypeError) as error:  # TypeError: as Python says, of a missing keyword
        return str(error)
    return None


@pytest.mark.parametrize("name", VERBS)
def test_no_message_of_a_function_names_a_flag(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.validation.grid.systems", lambda _: ())  # which take minutes
    function = VERBS[name]
    asked_for = product(keywords(function.verb), WRONG, ({}, SMALL))
    told = [(*one[:2], message(function, asked(function.verb, *one))) for one in asked_for]
    messages = [one for one in told if one[2] is not None]
    assert len(messages) > 10
    assert [one for one in messages if _FLAG.search(_COMMAND.sub("", one[2]))] == []


@pytest.mark.parametrize(
    ("wrong", "flag", "keyword"),
    [
        ({"rate": "5"}, "--rate '5' has no unit", "rate '5' has no unit"),
        ({"rate": "5rps", "think-time": "1s"}, "--think-time", "think_time"),
        ({"rate": "5rps", "slo-p99": "50ms", "batch-size-max": "0"}, "--batch-size-max", "batch_size_max"),
        ({"rate": "5rps", "slo-p99": "50ms", "attempts": "3"}, "--attempts", "attempts"),
    ],
)
def test_one_refusal_names_flags_to_the_command_and_keywords_to_python(
    wrong: dict[str, str], flag: str, keyword: str
) -> None:
    typed = [word for name, value in wrong.items() for word in (f"--{name}", value)]
    command = CliRunner().invoke(app, ["plan", "--profile", "resnet50-t4-fp16", *typed])
    given = {
        name.replace("-", "_"): int(value) if value.isdigit() and name != "rate" else value
        for name, value in wrong.items()
    }
    with pytest.raises(cap.CapacityError) as refused:
        cap.plan("resnet50-t4-fp16", **given)
    assert command.exit_code == 2
    assert flag in command.stderr
    assert keyword in str(refused.value)
    assert "--" not in str(refused.value)


def test_a_repr_names_keywords() -> None:
    """Reasons of a refusal that only a larger search would change."""
    refused = cap.plan("resnet50-t4-fp16", rate="9000rps", slo_p99="50ms", replicas_max=2)
    assert "(replicas_max)" in repr(refused)
    assert "(--replicas-max)" in refused.explain()
