"""Lazy: no command is built before it is asked for, and values are what Typer would make of them."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.main import get_command
from typer.testing import CliRunner

from capacity.commands.guard import Guarded, StrictTyper
from capacity.commands.lazy import Entry, Plain
from capacity.commands.options import flags
from capacity.question.flag import COUNT, NUMBER, TEXT, Flag, Kind, argument, switch

ROOT = Path(__file__).parents[2]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


COLOUR = Kind(typed=Colour, python="str")


def shop() -> StrictTyper:
    """An application of two commands and a group."""
    app = StrictTyper(help="A shop.")

    @app.callback()
    def main() -> None:
        """A shop."""

    @app.command(rich_help_panel="Trade")
    @flags("price", price=Flag(NUMBER, 0.5, "What it costs."))
    def sell_all(price: float, **_: Any) -> None:
        """Sell all of it.

        Examples:
          shop sell-all --price 2
        """
        typer.echo(repr(price))

    @app.command("count", help="Count what is there.")
    @flags("name", name=argument(TEXT, None, "Whose."))
    def count_them(name: str | None, **_: Any) -> None:
        """Count."""
        typer.echo(repr(name))

    back = StrictTyper(help="Behind the shop.")
    back.command("sweep", help="Clean it.")(lambda: typer.echo("clean"))
    app.add("back", back, rich_help_panel="Trade")
    return app


def test_a_command_is_built_when_it_is_asked_for() -> None:
    app = shop()
    built = lambda: [name for name, one in app.entries.items() if "command" in vars(one)]  # noqa: E731
    group: Any = get_command(app)
    assert list(group.commands) == ["sell-all", "count", "back"]
    assert len(group.commands) == 3
    assert "sell" not in group.commands
    assert built() == []
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    assert built() == []
    assert CliRunner().invoke(app, ["count"]).output == "None\n"
    assert built() == ["count"]
    assert group.commands["count"] is group.commands["count"]


def test_the_list_has_titles_and_summaries() -> None:
    shown = CliRunner().invoke(shop(), ["--help"]).output
    trade, _, others = shown.partition("Trade:")[2].partition("Commands:")
    assert [line.split() for line in trade.splitlines() if line] == [
        ["sell-all", "Sell", "all", "of", "it."],
        ["back", "Behind", "the", "shop."],
    ]
    assert others.split() == ["count", "Count", "what", "is", "there."]


def test_a_group_is_called_by_its_name_and_has_plain_help() -> None:
    done = CliRunner().invoke(shop(), ["back", "--help"], prog_name="shop")
    assert done.output.startswith("Usage: shop back [OPTIONS] COMMAND [ARGS]...\n\n  Behind the shop.\n")
    assert CliRunner().invoke(shop(), ["back", "sweep"]).output == "clean\n"


@pytest.mark.parametrize("cls", [StrictTyper, typer.Typer])
def test_what_typer_has_built_is_a_command_too(cls: Any) -> None:
    app = cls(cls=Guarded)
    app.callback()(lambda: None)
    app.command("one", help="The first.")(lambda: typer.echo("one ran"))
    below = typer.Typer(help="More.")
    below.callback()(lambda: None)
    below.command("two", help="The second.")(lambda: typer.echo("two ran"))
    app.add_typer(below, name="below")
    runner = CliRunner()
    assert runner.invoke(app, ["one"]).output == "one ran\n"
    assert runner.invoke(app, ["below", "two"]).output == "two ran\n"
    shown = runner.invoke(app, ["--help"]).output
    assert "The first." in shown
    assert "More." in shown


def test_an_error_in_building_a_command_is_not_hidden() -> None:
    app = shop()
    app.command("wrong")(flags("no_such_flag")(lambda **_: None))
    with pytest.raises(KeyError, match="no_such_flag"):
        get_command(app).get_command(None, "wrong")  # type: ignore[attr-defined]
    assert get_command(app).get_command(None, "missing") is None  # type: ignore[attr-defined]


def test_help_needs_no_docstrings() -> None:
    """Python started with -OO has none."""
    done = subprocess.run(
        [sys.executable, "-OO", "-c", "import sys, cli; sys.argv = ['capacity', '--help']; cli.app()"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=True,
    )  # fmt: skip
    assert "max-rate" in done.stdout


def test_a_command_is_found_in_its_module() -> None:
    app = StrictTyper()
    app.add("law", "capacity.commands.littles_law:littles_law")
    assert app.entries["law"].help.startswith("L = λW")
    assert app.entries["law"].rich_help_panel is None
    assert app.entries["law"].command.name == "law"
    assert "\n\nExamples:\n  capacity littles-law" in app.entries["law"].help


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "mm1", "--arrival-rate", "3rps", "--service-rate", "5rps"],
        ["littles-law", "--rate", "3rps", "--latency-mean", "2s"],
    ],
    ids=" ".join,
)
def test_other_commands_are_not_imported(arguments: list[str]) -> None:
    program = (
        "import sys, cli\n"
        f"sys.argv = ['capacity', *{arguments!r}]\n"
        "try: cli.app()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('capacity.commands.')), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    shared = {"defaults", "guard", "help", "lazy", "options", "output", "streams"}
    loaded = {name.rpartition(".")[2] for name in done.stderr.split()}
    assert loaded - shared == {arguments[0].replace("-", "_")}


@flags(
    "count ratio text maybe sizes names colour colours loud place words",
    count=Flag(COUNT, 3),
    ratio=Flag(NUMBER, 1),
    text=Flag(TEXT, "none"),
    maybe=Flag(COUNT, None),
    sizes=Flag(COUNT, None, is_many=True),
    names=Flag(TEXT, None, is_many=True),
    colour=Flag(COLOUR, Colour.RED),
    colours=Flag(COLOUR, None, is_many=True),
    loud=switch("Loud."),
    place=Flag(Kind(typed=Path, python="Path"), None),
    words=argument(TEXT, None, "Words.", is_many=True),
)
def collect(**_: Any) -> None:
    """Take all kinds of flags."""


def commands() -> Iterator[Any]:
    """The same command, read by Typer and by us."""
    collect.add_flags()  # type: ignore[attr-defined]
    plain = type("PlainCommand", (Plain, TyperCommand), {})
    for cls in (TyperCommand, plain):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cls=cls)(collect)
        yield get_command(alone)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--count 4 --ratio 0.25 --text 4 --maybe 0",
        "--count -4 --ratio 1e3 --text ''",
        "--sizes 1 --sizes 2 --names a --names b",
        "--colour blue --colours red --colours blue",
        "--loud --place here.txt",
        "one two",
        "--count four",
        "--count 4.5",
        "--ratio much",
        "--sizes 1 --sizes many",
        "--colour green",
        "--colours red --colours green",
    ],
)
def test_values_are_those_that_typer_reads(arguments: str) -> None:
    def outcome(command: Any) -> Any:
        try:
            return command.make_context("collect", shlex.split(arguments)).params
        except Exception as error:
            return type(error), error.format_message()  # type: ignore[attr-defined]

    typers, ours = (outcome(command) for command in commands())
    assert ours == typers
    if isinstance(ours, dict):
        assert [type(one) for one in ours.values()] == [type(one) for one in typers.values()]


def test_rules_of_typer_are_typers_to_keep() -> None:
    def sell(
        count: Annotated[int, typer.Option(min=0, max=5)] = 1,
        share: Annotated[float, typer.Option(max=1.0, clamp=True)] = 0.5,
        word: Annotated[str, typer.Option(parser=str.upper)] = "a",
    ) -> None:
        """Sell some."""

    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(cls=type("PlainCommand", (Plain, TyperCommand), {}))(sell)
    command = get_command(alone)
    given = command.make_context("sell", ["--share", "3", "--word", "b"]).params
    assert given == {"count": 1, "share": 1.0, "word": "B"}
    for count in ("9", "-1"):
        with pytest.raises(typer.BadParameter):
            command.make_context("sell", ["--count", count])


def test_a_list_that_is_a_text_is_refused() -> None:
    _, ours = commands()
    with pytest.raises(typer.BadParameter, match="iterable"):
        ours.make_context("collect", [], default_map={"names": "ab"})


def test_readers_do_not_nest() -> None:
    _, ours = commands()
    first, second = (
        [getattr(one, "get_runtime_param", None) for one in ours.make_context("collect", []).command.params]
        for _ in range(2)
    )
    assert first == second


def test_variables_and_files_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COUNT": "5", "SIZES": "1 2", "LOUD": "yes", "COLOUR": "blue"}.items():
        monkeypatch.setenv(f"CAPACITY_{name}", value)
    typers, ours = (
        command.make_context("collect", [], default_map={"ratio": "0.5", "names": ["a"]}).params
        for command in commands()
    )
    assert ours == typers
    assert (ours["count"], list(ours["sizes"]), ours["loud"]) == (5, [1, 2], True)
    assert (ours["colour"], ours["ratio"], list(ours["names"])) == (Colour.BLUE, 0.5, ["a"])


def test_matrices_take_one_thread_but_where_a_users_code_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(name: str) -> str | None:
        assert Entry(name, "capacity.commands.littles_law:littles_law", {}).help
        return os.environ.get("OPENBLAS_NUM_THREADS")

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    assert [threads("profile"), threads("queue")] == [None, "1"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert threads("queue") == "3"


def test_the_command_that_measures_a_users_code_is_profile() -> None:
    code = (
        "import os, sys; from cli import app\n"
        "sys.argv = ['capacity', 'profile', '--help']\n"
        "try: app()\n"
        "except SystemExit: print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.rstrip().endswith("None")
