"""A verb: the flags that it takes, in the order of its help, and where one differs from the table in `asked`."""

from collections.abc import Mapping
from dataclasses import dataclass

from capacity.question.asked import FLAGS
from capacity.question.flag import Flag, writes

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """The flags of a verb.

    Attributes:
        flags: flags by their names, in the order of help.
        positional: flags that its function also takes by position.
        needs: names of flags that change nothing without another, by the names of the others, of which one is enough.
        idle: names of flags that change nothing beside another, by the name of the other.
        alone: why flags are refused beside a list or a range of values, by their names.
    """

    flags: Mapping[str, Flag]
    positional: tuple[str, ...]
    needs: Mapping[str, str]
    idle: Mapping[str, str]
    alone: Mapping[str, str]


_WRITTEN = "its rows as .csv or .parquet, its picture as .svg or .png"


def answer_file(what: str = "the answer as .json", more: str = "") -> Flag:
    """-o of a verb that answers a question: the ending of each file decides what is written."""
    text = f"Write {what}{more}, {_WRITTEN}; repeatable."
    return writes(text).but(is_many=True)


def verb_of(
    names: str,
    positional: str = "",
    needs: Mapping[str, str] = NOTHING,
    idle: Mapping[str, str] = NOTHING,
    axes: str = "",
    alone: Mapping[str, str] = NOTHING,
    /,
    **own: Flag,
) -> Verb:
    """A verb with these flags.

    Args:
        axes: names of flags of which one value may be a list or a range.
        own: flags that differ from the table.
    """
    known = {"out": answer_file(), **FLAGS}
    listed = {name: _own(name, own[name]) if name in own else known[name] for name in names.split()}
    listed |= {name: listed[name].but(is_axis=True) for name in axes.split()}
    return Verb(flags=listed, positional=tuple(positional.split()), needs=needs, idle=idle, alone=alone)


def _own(name: str, flag: Flag) -> Flag:
    """A verb's own flag, which is listed, completed and refused like the one of that name in the table."""
    usual = FLAGS.get(name)
    if usual is None:
        return flag
    return flag.but(
        panel=usual.panel if flag.panel is None else flag.panel or None,
        values=flag.values or usual.values,
        engines_lack=flag.engines_lack or usual.engines_lack,
        of_engines=flag.of_engines or usual.of_engines,
    )


def typed_name(name: str, flag: Flag) -> str:
    """A flag as it is typed."""
    return max(flag.names, key=len) if flag.names else f"--{name.replace('_', '-')}"


def in_both(name: str, flag: Flag) -> tuple[str, ...]:
    """The keyword of a flag, and the one that takes the same value in SI."""
    return (name, f"{name}_{flag.kind.unit}") if flag.kind.unit else (name,)
