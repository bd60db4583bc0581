"""Registry: finds the formats, and recognises which of them a file has."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from capacity import formats
from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.formats.unread import instead

_SEVERAL = "Extra data"  # Python's message if one object follows another


class Kind(StrEnum):
    """What a file is read for.

    RUNS are a language model's requests as its clients saw them, of which several sweeps together make a profile;
    their readers return a tuple of `capacity.profile.llm_runs.SeenRun`. STEPS are those of its engine, one by one
    (`capacity.profile.llm_steps.SeenSteps`), and LOADS what a load generator reports of each load on it, in figures
    or by single requests (`capacity.profile.llm_loads.SeenLoad`), both as tuples too. DRAFTS are what its server
    counted of them (`capacity.profile.speculation.Speculation`). A PLAN has the settings of a server that runs today,
    a `capacity.formats.running_plan.RunningPlan`.
    """

    PROFILE = "profile"
    WORKLOAD = "workload"
    LOAD_TEST = "load-test"
    PLAN = "plan"
    RUNS = "runs"
    STEPS = "steps"
    LOADS = "loads"
    DRAFTS = "drafts"


# What reads a file of each kind.
_USES = {
    Kind.PROFILE: "--profile",
    Kind.WORKLOAD: "--arrivals trace:FILE",
    Kind.LOAD_TEST: "capacity audit",
    Kind.PLAN: "capacity import",
    Kind.RUNS: "capacity import, with all sweeps of the server",
    Kind.LOADS: "capacity import, with three loads or more of one engine",
    Kind.STEPS: "capacity import, with all records of the engine",
    Kind.DRAFTS: "capacity import, beside sweeps or steps of the engine",
}


class Format(Protocol):
    """A module of this folder that is a format, as the folder's docstring describes."""

    NAME: str
    READERS: Mapping[str, Callable[[Document], Any]]

    def recognises(self, document: Document) -> bool:
        """Whether a file is of this format."""


def _formats() -> tuple[Format, ...]:
    """The modules of this folder with readers, by name; they exclude each other, so order does not matter."""
    names = sorted(one.name for one in iter_modules(formats.__path__) if one.name != "registry")
    modules = (import_module(f"capacity.formats.{name}") for name in names)
    return tuple(cast("Format", one) for one in modules if hasattr(one, "READERS"))


FORMATS = _formats()


def format_of(document: Document) -> Format:
    """The format of a file, by what it holds.

    Raises:
        InputError: no known format.
    """
    found = known_format(document)
    if found is not None:
        return found
    known = instead(document)
    if known is None and document.head.startswith(("{", "[")):
        _require_json(document)
    what, mend = known or ("", "capacity import --help names them")
    told = f": it is {what}" if what else ""
    raise InputError(f"{document.name} is of none of the {len(FORMATS)} formats that are known{told}; {mend}")


def _require_json(document: Document) -> None:
    """Refuse invalid JSON, by line and column; a file with several objects has its own message."""
    if document.has_lines_of_json:
        return
    try:
        _ = document.object
    except InputError as error:
        if document.path is not None and "larger than" in str(error):
            raise
        if "not valid JSON" in str(error) and _SEVERAL not in str(error):
            raise InputError(f"{error}; was the file cut off? save it again") from None


def known_format(document: Document) -> Format | None:
    """The format of a file; None if it is unknown."""
    return next((one for one in FORMATS if one.recognises(document)), None)


def read(path: Path, kind: Kind) -> Any:
    """Content of a file, read for a purpose.

    Raises:
        InputError: the file cannot be read, has no known format or one that does not serve the purpose, or is invalid
            in its format.
    """
    return read_document(Document.read(path), kind)


def read_document(document: Document, kind: Kind) -> Any:
    """Content of a document, read for a purpose. Raises InputError, as `read` does."""
    found = format_of(document)
    if kind not in found.READERS:
        kinds = ", ".join(found.READERS)
        uses = " or ".join(_USES[Kind(one)] for one in found.READERS)
        raise InputError(
            f"{document.name} is from {found.NAME}, which has no {kind} in it, only: {kinds}; give it to {uses}"
        )
    try:
        return found.READERS[kind](document)
    except InputError as error:
        if str(error).startswith(document.name):
            raise
        raise InputError(f"{document.name}: {error}") from None  # a noun does not know its file
