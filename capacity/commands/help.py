"""Help: flags in groups, whole summaries, and examples as they are typed."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any


class Panel(StrEnum):
    """The groups of a command's help, in its order."""

    TRAFFIC = "Profile and traffic"
    OBJECTIVE = "Objective"
    FLEET = "Fleet"
    FAILURES = "Failures and spikes"
    MEASUREMENT = "Measurement"
    SIMULATION = "Simulation"
    OUTPUT = "Output"


_EXAMPLES = "\n\nExamples:\n"


class Helpful:
    """How a command or a group shows its help.

    Mixed into Typer's two classes, which have the methods that a type checker misses here.
    """

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What it does, without its examples, which come last."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_split(self)[0])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and flags by group, and the commands of a group."""
        for title, rows in _panels(self, ctx):
            with formatter.section(title):
                formatter.write_dl(rows, col_max=28)
        commands: dict[str, Any] = getattr(self, "commands", {})
        for title in dict.fromkeys(_panel(one, "Commands") for one in commands.values()):
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name, _summary(one))
                        for name, one in commands.items()
                        if _panel(one, "Commands") == title
                    ]
                )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples, to be copied as they stand."""
        examples = _split(self)[1]
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    for part in _broken(line.strip(), formatter.width - 4):
                        formatter.write(f"{'':>{formatter.current_indent}}{part}\n")


def _split(command: Any) -> tuple[str, str]:
    """The text of a command's help, and its examples."""
    text, _, examples = (command.help or "").partition(_EXAMPLES)
    return text, examples


def _summary(command: Any) -> str:
    """The first paragraph of a command's help, whole."""
    return " ".join(_split(command)[0].split("\n\n")[0].split())


def _panel(one: Any, default: str) -> str:
    title = getattr(one, "rich_help_panel", None)
    return default if title is None or not isinstance(title, str) else str(title)


def _broken(command: str, width: int) -> Iterator[str]:
    """A command over lines no longer than so many columns, broken before its flags."""
    line, *flags = command.replace(" --", "\0--").split("\0")
    for flag in flags:
        if len(line) + len(flag) > width - 3:
            yield f"{line} \\"
            line = f"    {flag}"
        else:
            line = f"{line} {flag}"
    yield line


def _named(flag: str, text: str) -> tuple[str, str]:
    """A row of help, where Typer names a kind of value by Python's type."""
    kinds = {"str": "TEXT", "int": "N", "float": "NUMBER"}
    flag = re.sub(r"(?<=FILE) <list\[str\]>", "...", flag)
    return re.sub(r"<(?:list\[)?(str|int|float)\]?>", lambda found: kinds[found[1]], flag), text


def _panels(command: Any, ctx: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each group of parameters with its rows: arguments, what only this command has, then by group."""
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], **{one: [] for one in Panel}}
    for one in command.get_params(ctx):
        record = one.get_help_record(ctx)
        if record is not None:
            is_flag = one.param_type_name == "option"
            rows[_panel(one, "Options") if is_flag else "Arguments"].append(_named(*record))
    *options, shows_help = rows["Options"]  # --help is last, and stands last
    rows["Options"] = options
    last = [title for title, found in rows.items() if found][-1:] or ["Options"]
    rows[last[0]].append(shows_help)
    yield from ((title, found) for title, found in rows.items() if found)
