"""Strict: no option twice, and no number but in plain digits, in whichever command."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from capacity.errors import InputError
from capacity.question.parse import (
    read_choice,  # noqa: F401  (the flags are what is tested)
    read_share,
)
from capacity.units import is_number, parse_duration_s, parse_rate_rps
from cli import app


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its words; a group with options of its own is one too."""
    group = get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        if command.callback is not None:
            yield (*path, name), command


def options(command: Any) -> Iterator[tuple[str, set[type]]]:
    """Flags that take one value, each with the plain types of its annotation."""
    parameters = inspect.signature(command.callback).parameters
    for one in command.params:
        if one.param_type_name == "option" and not one.is_flag and one.name in parameters:
            hint = get_args(parameters[one.name].annotation)[0]
            parts = {part for part in (hint, *get_args(hint)) if part is not type(None)}
            if not one.multiple:
                yield max(one.opts, key=len), {part for part in parts if get_origin(part) is None}


COMMANDS = dict(commands())
SINGLE = [(words, flag) for words, command in COMMANDS.items() for flag, _ in options(command)]
NUMBERS = [
    (words, flag, kinds)
    for words, command in COMMANDS.items()
    for flag, kinds in options(command)
    if kinds & {int, float}
]


def told(words: tuple[str, ...], *arguments: str) -> str:
    """What a command that must refuse says, on one line."""
    done = CliRunner().invoke(app, [*words, *arguments])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


def test_every_command_is_looked_at() -> None:
    assert {("plan",), ("queue", "mm1"), ("profiles",), ("profile",), ("verify",)} <= set(COMMANDS)
    assert len(SINGLE) > 300
    assert len(NUMBERS) > 80


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_option_with_one_value_is_given_once(words: tuple[str, ...]) -> None:
    for flag in [flag for path, flag in SINGLE if path == words]:
        assert told(words, flag, "1", flag, "2").startswith(f"error: {flag} is given twice; give it once")


def test_a_flag_that_takes_a_list_says_so_when_it_is_given_twice() -> None:
    assert told(("plan",), "--batch-size-max", "4", "--batch-size-max", "8") == (
        "error: --batch-size-max is given twice; give it once, or its values with commas for a plan at each"
    )
    assert told(("simulate",), "--batch-size-max", "4", "--batch-size-max", "8").endswith("give it once")


def test_what_may_be_repeated_is() -> None:
    queue = ["queue", "mm1", "--arrival-rate", "1rps", "--service-rate", "5rps"]
    done = CliRunner().invoke(app, [*queue, "--quantile", "0.5", "--quantile", "0.9", "--json", "--json"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, [*queue, *queue[2:4], "--help"]).exit_code == 0
    assert "3 times" in told(("queue", "mm1"), *["--service-time=1s"] * 3)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_number_is_in_plain_digits(words: tuple[str, ...]) -> None:
    """Whatever is wrong with it, at the first flag of each kind; at the others one of each is refused."""
    met: set[type] = set()
    for flag, kinds in [(flag, kinds) for path, flag, kinds in NUMBERS if path == words]:
        others = ("nan", "inf", "0x10", "abc") if float in kinds else ("1e400", "9" * 70, "0x10", "abc")
        few = 1 if kinds & {int, float} <= met else 4
        met |= kinds
        for text, plain in (("4_0", "40"), ("１２", "12"), ("٣", "3"))[:few]:
            message = told(words, flag, text)
            assert f"error: {flag} {text!r} is not a " in message
            assert f"in plain digits; write {plain}" in message
        for text in others[:few]:
            assert f"error: {flag} " in told(words, flag, text)


def test_a_whole_number_says_what_its_exponent_means() -> None:
    servers = ("queue", "mdc")
    assert "--servers '1e3' is not a whole number in plain digits; write 1000" in told(
        servers, "--servers", "1e3"
    )
    assert "such as 4" in told(servers, "--servers", "2.5")
    done = CliRunner().invoke(
        app, ["queue", "mdc", "--arrival-rate", "9rps", "--service-rate", "5rps", "--servers", " 2"]
    )
    assert done.exit_code == 0


@pytest.mark.parametrize("text", ["1_000", "１２", "inf", "nan", "0x10", "1e999", "1e-999", "", "1" * 70])
def test_so_is_a_number_within_a_text(text: str) -> None:
    assert not is_number(text)
    for read, unit in ((parse_rate_rps, "rps"), (parse_duration_s, "ms"), (read_share, "%")):
        with pytest.raises(InputError):
            read(f"{text}{unit}", "--flag")
    for words, flag, value in (
        (("plan", "--rate", "1rps", "--slo-p99", "1s"), "--hourly-usd", "{}"),
        (("plan", "--rate", "1rps", "--startup-time", "9s", "--slo-p99", "1s"), "--spike", "{}x"),
        (("plan", "--rate", "1rps", "--slo-p99", "1s"), "--survive", "zone:{}"),
        (("plan", "--rate", "1rps", "--slo-p99", "1s"), "--arrivals", "mmpp:ratio={},burst=1s,calm=1s"),
    ):
        message = told(words, "--profile", "resnet50-t4-fp16", flag, value.format(text))
        assert flag.lstrip("-")[:4] in message or "ratio" in message


def test_an_underscore_is_mended() -> None:
    with pytest.raises(InputError, match="--rate '1_000rps' is not a number with a unit, such as 1000rps"):
        parse_rate_rps("1_000rps", "--rate")


def test_a_percentage_is_the_decimal_that_it_says() -> None:
    """Divided as a float, 99.9 % would be 0.9990000000000001."""
    assert read_share("99.9%", "--utilization-max") == 0.999
