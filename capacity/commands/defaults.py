"""Defaults: values of flags from `capacity.toml`, `[tool.capacity]` of `pyproject.toml`, or the environment.

A flag takes precedence over `CAPACITY_...`, and that over the file; Typer applies them in this order. Values of a
file are passed as text, so that each is read and refused as it would be after its flag.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import typer

from capacity.errors import InputError, quoted
from capacity.files import is_file, printable, read_text
from capacity.question.asked import GONE, OLD_VALUES

FILE, PROJECT = "capacity.toml", "pyproject.toml"
BYTES_MAX = 1_000_000
# No default may name a file to replace, or code to run.
_NEVER = {"help", "version", "output", "plot", "callable"}
# A file that comes with a checkout must not say who may run code here; the user's own environment may.
_NEVER_IN_A_FILE = {
    "cluster": "whoever runs that scheduler can run code here; remove it, and give --cluster or set CAPACITY_CLUSTER"
}
_PATHS_ABOVE_MAX = 100


def variable_of(*names: str) -> str | None:
    """The environment variable that can give a flag its value; None for a flag without a default.

    >>> variable_of("--slo-p99"), variable_of("--output", "-o")
    ('CAPACITY_SLO_P99', None)
    """
    name = _name(names)
    return None if name in _NEVER else f"CAPACITY_{name.replace('-', '_').upper()}"


def _name(names: tuple[str, ...] | list[str]) -> str:
    """A flag without its dashes, by its longest name."""
    return max(names, key=len).lstrip("-")


Values = dict[str, Any]


def defaults_of(group: Any, context: Any, words: set[str]) -> Values | None:
    """Settings in this folder's file, as the default map of a group of commands; None without a file.

    Args:
        words: the words that were typed, commands among them.

    Raises:
        InputError: not TOML, an unknown key, or a value that no flag can have; names the file and the fix.
    """
    found = _find()
    if found is None:
        return None
    path, text = found
    table = _table(path, text)
    shown = printable(os.path.relpath(path))
    return _Reader(shown, path.parent).values(group, context, table, words)


def _find() -> tuple[Path, str] | None:
    """The nearest file, from this folder up to the root of its repository; outside one, the folder's own."""
    try:
        here = Path.cwd()
    except OSError:  # the folder was removed
        return None
    above = [here, *here.parents][:_PATHS_ABOVE_MAX]
    root = next((place for place, one in enumerate(above) if (one / ".git").exists()), 0)
    for one in above[: root + 1]:
        for name, mark in ((FILE, ""), (PROJECT, "[tool.capacity")):
            path = one / name
            if path.is_file():
                text = read_text(path, BYTES_MAX, mend="keep only defaults in it")
                if mark in text:
                    return path, text
    return None


def _table(path: Path, text: str) -> Mapping[str, Any]:
    """The settings in a file."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            f'{printable(path.name)} is not valid TOML: {error}; texts need quotes: rate = "500rps"'
        ) from None
    if path.name == FILE:
        return document
    tools = document.get("tool")
    found = tools.get("capacity", {}) if isinstance(tools, Mapping) else {}
    if not isinstance(found, Mapping):
        raise InputError(f"tool.capacity of {PROJECT} must be a table: [tool.capacity]")
    return found


class _Reader:
    """Reads the settings of one file for the existing commands.

    Args:
        shown: name of the file in messages.
        folder: folder of the file, where its relative paths begin.
    """

    def __init__(self, shown: str, folder: Path) -> None:
        self._shown, self._folder = shown, folder

    def values(self, group: Any, context: Any, table: Mapping[str, Any], words: set[str]) -> Values:
        """Values from the file for the commands on the command line, by command and parameter.

        A command's own table overrides the shared one. Keys are checked in all tables, values only when they are
        used: a shared value need not fit every command.
        """
        commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
        shared = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
        for key in shared:
            self._require(key, {key for one in commands.values() for key in _all_keys(one)}, "")
        tables = _tables(table)
        for name, own in tables.items():
            self._require(name, set(commands), "", what="command")
            self._check(commands[name], own, name)
        return {
            name: self._of(commands[name], tables.get(name, {}), shared, words)
            for name in commands.keys() & words
        }

    def _check(self, command: Any, table: Mapping[str, Any], name: str) -> None:
        """Refuse keys that a command does not have, and tables for commands that it does not have."""
        inner, tables = _commands(command), _tables(table)
        for key in table.keys() - tables.keys():
            self._require(key, set(_flags(command)), name)
        for key, own in tables.items():
            self._require(key, set(inner), name, what="command")
            self._check(inner[key], own, f"{name}.{key}")

    def _of(
        self, command: Any, table: Mapping[str, Any], shared: Mapping[str, Any], words: set[str]
    ) -> Values:
        """Values for one command, and for the commands in it that were typed."""
        flags, tables, inner = _flags(command), _tables(table), _commands(command)
        if not inner:
            self._refuse_old_values(shared, flags)
        given = {
            key: value for key, value in {**shared, **table}.items() if key in flags and key not in tables
        }
        found = {flags[key].name: self._value(flags[key], key, value) for key, value in given.items()}
        called = inner.keys() & words
        return found | {one: self._of(inner[one], tables.get(one, {}), shared, words) for one in called}

    def _refuse_old_values(self, shared: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
        """Refuse a key for all commands that one of them would leave out, as its flag is spelled otherwise now."""
        for name, starts in OLD_VALUES.items():
            key, renamed = name.lstrip("-"), GONE[name].partition(" ")[0].lstrip("-")
            if key not in flags and renamed in flags and str(shared.get(key, "")).startswith(starts):
                raise InputError(f"{self._shown}: {key} is now {renamed}, such as {GONE[name]}")

    def _require(self, key: str, known: set[str], table: str, what: str = "key") -> None:
        if what == "key" and key in _NEVER_IN_A_FILE:
            raise InputError(f"{key} is not taken from {self._shown}: {_NEVER_IN_A_FILE[key]}")
        if key in known:
            return
        from difflib import get_close_matches

        where = f" in [{printable(table)}]" if table else ""
        plain = key.replace("_", "-").lstrip("-")
        renamed = GONE.get(f"--{plain}", "").partition(" ")[0].lstrip("-")
        near = [renamed] if renamed in known else get_close_matches(plain, known, n=1)
        flags = f"capacity {table.replace('.', ' ') or 'COMMAND'} --help"
        mend = f"did you mean {near[0]}?" if near else f"keys are flags without their dashes: {flags}"
        raise InputError(f"{self._shown} has an unknown {what}{where}, {quoted(key)}; {mend}")

    def _value(self, flag: Any, key: str, value: Any) -> Any:
        """A value as it would be typed; a list for a flag that can be repeated."""
        if flag.is_flag:
            if not isinstance(value, bool):
                raise self._misfit(key, value, "true or false")
            return value
        if not flag.multiple:
            return self._text(key, value)
        return [self._text(key, one) for one in (value if isinstance(value, list) else [value])]

    def _text(self, key: str, value: Any) -> str:
        if isinstance(value, bool | list | Mapping | date | datetime | time):
            raise self._misfit(key, value, "one value, as after its flag")
        return self._place(value) if isinstance(value, str) else repr(value)

    def _place(self, value: str) -> str:
        """A path relative to the file, as in other tools' files; anything else is unchanged."""
        head, mark, tail = value.rpartition(":" if value.startswith("trace:") else "=")
        path = self._folder / tail
        if self._folder == Path.cwd() or not tail or not is_file(path):
            return value
        return f"{head}{mark}{os.path.relpath(path)}"

    def _misfit(self, key: str, value: Any, wanted: str) -> InputError:
        kind = {bool: "true or false", list: "a list"}.get(type(value), "another kind of value")
        return InputError(f"{key} of {self._shown} is {kind}, and takes {wanted}")


def _flags(command: Any) -> dict[str, Any]:
    """The flags of a command that can have defaults, by their keys."""
    found = {
        _name(one.opts): one for one in command.params if one.param_type_name == "option" and not one.hidden
    }
    return {key: one for key, one in found.items() if key not in _NEVER}


def _commands(command: Any) -> Mapping[str, Any]:
    """The commands in a group; empty for a command."""
    found: Mapping[str, Any] = getattr(command, "commands", {})
    return found


def _tables(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tables in a table."""
    return {key: value for key, value in table.items() if isinstance(value, Mapping)}


def _all_keys(command: Any) -> Iterator[str]:
    """Keys of a command and of all commands in it."""
    yield from _flags(command)
    for one in _commands(command).values():
        yield from _all_keys(one)


def defaults_given(context: Any) -> Values:
    """Values of a command's flags from the environment and the file, as text."""
    file = context.default_map or {}
    given = {one.name: one.value_from_envvar(context) or file.get(one.name) for one in context.command.params}
    return {name: value for name, value in given.items() if value is not None}


def report_sources(context: Any) -> None:
    """Report on stderr, in one line, which flags took their values from the environment or the file."""
    names: dict[str, list[str]] = {"DEFAULT_MAP": [], "ENVIRONMENT": []}
    for one in context.command.params:
        source = getattr(context.get_parameter_source(one.name), "name", "")
        if source in names:
            names[source].append(one.envvar if source == "ENVIRONMENT" else _name(one.opts))
    found = _find() if names["DEFAULT_MAP"] else None
    parts = (
        []
        if found is None
        else [f"{', '.join(names['DEFAULT_MAP'])} from {printable(os.path.relpath(found[0]))}"]
    )
    parts += [f"{', '.join(names['ENVIRONMENT'])} from the environment"] if names["ENVIRONMENT"] else []
    if parts:
        typer.echo(f"note: {'; '.join(parts)}", err=True)
