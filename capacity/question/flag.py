"""Flag: one flag, and the forms of values that flags take."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The form of a value.

    Attributes:
        typed: type of an option: `str`, `int`, `float` or `bool`.
        python: annotation of a keyword.
        unit: ending of a second keyword that takes the value as a number in SI; empty if there is none.
        metavar: name of the value in help.
    """

    typed: type
    python: str
    unit: str = ""
    metavar: str | None = None

    def named(self, metavar: str) -> "Kind":
        """The same kind with another name in help."""
        return replace(self, metavar=metavar)

    @property
    def is_text(self) -> bool:
        """Whether a keyword takes nothing but text."""
        return self.python == "str" and not self.unit


TEXT = Kind(typed=str, python="str", metavar="TEXT")
NAME = TEXT.named("NAME")
COUNT = Kind(typed=int, python="int", metavar="N")
COUNTS = Kind(typed=str, python="int | str", metavar="TEXT")  # with ranges: 1:8
NUMBER = Kind(typed=float, python="float", metavar="NUMBER")
QUANTILE = NUMBER.named("Q")
CONFIDENCE = NUMBER.named("SHARE")
SWITCH = Kind(typed=bool, python="bool")
ON_OFF = Kind(typed=str, python="str | bool", metavar="ON|OFF")
DURATION = Kind(typed=str, python="str", unit="s", metavar="DURATION")
RATE = Kind(typed=str, python="str", unit="rps", metavar="RATE")
SHARE = Kind(typed=str, python="str | float", metavar="SHARE")
FACTOR = Kind(typed=str, python="str | float", metavar="TEXT")
PRICE = Kind(typed=float, python="float", metavar="USD")
PRICES = Kind(typed=str, python="str | float", metavar="[NAME=]PRICE")
SIZES = Kind(typed=str, python="str | Iterable[int]", metavar="N,N,...")
FILE = Kind(typed=str, python="str | Path", metavar="FILE")
PLAN = Kind(typed=str, python="PlanLike", metavar="FILE")
PROFILE = Kind(typed=str, python="ProfileLike | LlmProfile", metavar="PROFILE")
ARRIVALS = Kind(typed=str, python="str | ArrivalProcess", metavar="ARRIVALS")
SESSIONS = Kind(typed=str, python="str | Path | AnySessions", metavar="SESSIONS")
LENGTHS = Kind(typed=str, python="str | Path | AnyLengths", metavar="LENGTHS")
OBJECTIVE = Kind(typed=str, python="Objective")
CALLED = Kind(typed=str, python="Callable[..., None]")


class Reads(Enum):
    """Kinds of files that flags may name, which are known so that no output replaces an input or another output."""

    INPUT = "input"
    OUTPUT = "output"
    ARRIVALS = "arrivals"


class _Required:
    """Type of the default of flags that must be given."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        default: `REQUIRED` if it must be given.
        names: its spellings, if they differ from `--` and the entry's name.
        is_many: whether it may be repeated; its keyword then takes one value or several.
        is_hidden: whether help leaves it out, as it has another name there.
        argument: name in help of an argument without a flag; None for a flag.
        reads: the kind of file that it may name; None if it names none.
        panel: title under which help lists it; None for the command's own.
        keyword: name in Python; empty if only the command line has it.
        is_typed: whether the command line has it.
        values: what completion offers: names, or the function that returns them as `module:function`.
        engines_lack: why engines of language models do not have it; empty if they do.
        of_engines: whether only engines have it.
        is_axis: whether one value may be a list or a range, each of whose values is a question of its own.
    """

    kind: Kind
    default: Any = None
    help: str = ""
    names: tuple[str, ...] = ()
    is_many: bool = False
    is_hidden: bool = False
    argument: str | None = None
    reads: Reads | None = None
    panel: str | None = None
    keyword: str | None = None
    is_typed: bool = True
    values: tuple[str, ...] | str = ()
    engines_lack: str = ""
    of_engines: bool = False
    is_axis: bool = False

    def but(self, **changes: Any) -> "Flag":
        """The same flag with changes."""
        return replace(self, **changes)


def reads(kind: Kind, default: object, help: str, *, is_many: bool = False) -> Flag:  # noqa: A002
    """A flag that names a file to read, or takes a value."""
    return Flag(kind, default, help, is_many=is_many, reads=Reads.INPUT)


def switch(help: str, *names: str) -> Flag:  # noqa: A002
    """A flag without a value."""
    return Flag(SWITCH, False, help, names)  # noqa: FBT003


def writes(help: str, *names: str, keyword: str = "") -> Flag:  # noqa: A002
    """A flag that names a file to write; -o if it is the command's only one."""
    spelled = names or ("-o", "--output")
    return Flag(FILE, None, help, spelled, reads=Reads.OUTPUT, panel="Output", keyword=keyword)


def argument(kind: Kind, default: object, help: str, metavar: str = "FILE", *, is_many: bool = False) -> Flag:  # noqa: A002
    """An argument without a flag, which may name a file to read."""
    return Flag(kind, default, help, is_many=is_many, reads=Reads.INPUT, argument=metavar)
