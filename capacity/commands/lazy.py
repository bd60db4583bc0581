"""Lazy: imports and builds commands when they are called, and reads flags without pydantic.

Help and laws must not wait for what other commands need; `benchmarks/start_up.py` measures how long they wait.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from importlib import import_module
from inspect import cleandoc
from typing import Any, TypeVar, get_args, get_origin

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

Function = TypeVar("Function", bound=Callable[..., Any])
_MEASURES = "profile"  # it runs its user's code, with as many threads as that has


class Entry:
    """A command, or a group of them, in the list of commands.

    Args:
        name: its name as typed.
        place: the function or application itself, or its place as `module:name`.
        settings: settings for Typer's decorator of commands.
    """

    def __init__(self, name: str, place: Any, settings: Mapping[str, Any]) -> None:
        self.name, self._place, self._settings = name, place, settings

    @cached_property
    def _source(self) -> Any:
        if not isinstance(self._place, str):
            return self._place
        if self.name != _MEASURES:
            _keep_matrices_to_one_thread()
        module, _, name = self._place.partition(":")
        return getattr(import_module(module), name)

    @property
    def help(self) -> str:
        """Its description, with examples."""
        if isinstance(self._source, typer.Typer):
            return str(self._source.info.help)
        return cleandoc(self._settings.get("help") or self._source.__doc__ or "")

    @property
    def rich_help_panel(self) -> str | None:
        """Title under which help lists it."""
        return self._settings.get("rich_help_panel")

    @cached_property
    def command(self) -> Any:
        """The Click command that parses its flags and runs it."""
        source = self._source
        if isinstance(source, typer.Typer):
            callback = source.registered_callback
            _add_flags(callback and callback.callback)
            return get_group(source)
        _add_flags(source)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name, **self._settings)(source)
        return get_command(alone)


def _keep_matrices_to_one_thread() -> None:
    """Give NumPy, which is not imported yet, one thread: on the matrices of laws several mostly wait for each other.

    Simulations have threads of their own. What a user has set stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _add_flags(function: Any) -> None:
    """Let Typer see the flags of a command, which `flags` makes when they are needed."""
    getattr(function, "add_flags", lambda: None)()


class Commands(Mapping[str, Any]):
    """The commands of a group by their names, each built when it is looked up."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = entries

    def __getitem__(self, name: str) -> Any:
        found = self.entries[name]
        return found.command if isinstance(found, Entry) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class LazyGroup(TyperGroup):
    """A group of its application's entries, and of other commands that Typer has built."""

    entries: Mapping[str, Any] = {}

    def __init__(self, *, commands: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.entries = {**self.entries, **(commands or {})}
        super().__init__(commands=Commands(self.entries), **settings)  # type: ignore[arg-type]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; an error while building it is not taken for its absence."""
        return self.commands[cmd_name] if cmd_name in self.entries else None


class LazyTyper(typer.Typer):
    """An application that keeps its commands as entries; to run by itself it needs a callback."""

    def __init__(self, *, cls: type[LazyGroup], **settings: Any) -> None:
        self.entries: dict[str, Entry] = {}
        own = type(cls.__name__, (cls,), {"entries": self.entries})
        super().__init__(cls=own, rich_markup_mode=None, **settings)

    def add(self, name: str, place: Any, **settings: Any) -> None:
        """Add a command by its name and place."""
        self.entries[name] = Entry(name, place, settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Add the function below as a command."""

        def take(function: Function) -> Function:
            self.add(name or function.__name__.replace("_", "-"), function, **settings)
            return function

        return take


class Plain:
    """Mixed into a command or a group; reads their values without pydantic if possible.

    Typer has the methods that the type checker misses here.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, with our readers."""
        for one in self.get_params(ctx):  # type: ignore[attr-defined]
            get_reader = getattr(one, "get_runtime_param", None)  # absent before Typer 0.29
            if get_reader is not None and not isinstance(get_reader, _Reader):
                one.get_runtime_param = _Reader(one)
        found: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return found


class _Reader:
    """Reads the values of a flag: text, numbers and choices as Python does, all else as Typer does.

    Typer calls it to get a reader, and then that reader's `coerce`.
    """

    def __init__(self, option: Any) -> None:
        annotation = option.type_descriptor.annotation
        self._kind = get_args(annotation)[0] if get_origin(annotation) is list else annotation
        info = option.type_descriptor.parameter_info
        if any(rule not in (None, False) for rule in (info.min, info.max, info.clamp, info.parser)):
            self._kind = None
        self._get_typers = option.get_runtime_param

    def __call__(self) -> "_Reader":
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """A value of the command, from what was typed or from the default."""
        is_several = param.multiple or param.nargs == -1
        try:
            if value is None:
                return () if is_several else None
            if not is_several:
                return self._read(value)
            if not isinstance(value, str):
                return [self._read(one) for one in value]
        except (TypeError, ValueError):  # Typer reports what is wrong
            pass
        return self._get_typers().coerce(value, param=param, ctx=ctx)

    def _read(self, value: Any) -> Any:
        if self._kind not in (str, int, float) and not issubclass(self._kind, Enum):
            raise TypeError
        return self._kind(value)
