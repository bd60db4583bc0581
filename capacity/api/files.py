"""Files of other tools, as verbs take them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.errors import CapacityError, InputError
from capacity.files import is_file, read_text
from capacity.formats.document import Document
from capacity.formats.load_test import LoadTest
from capacity.formats.registry import Kind, format_of, known_format, read_document

if TYPE_CHECKING:
    from capacity.formats.running_plan import RunningPlan


def document_of(source: str | Path) -> Document:
    """A file, the answer of a URL, or for `-` what stdin has, within limits.

    Raises:
        InputError, DependencyError: it cannot be read.
    """
    text = str(source)
    if text == "-":
        return _stdin()
    if is_url(source):
        from capacity.measurement.url import read_url

        return Document.of(text[:200], read_url(text))
    return Document.read(Path(source))


@cache
def _stdin() -> Document:
    """What stdin has, which comes only once and is asked for by each who wants to know its format."""
    return Document.of("stdin", read_text(Path("/dev/stdin")))


def is_url(source: str | Path) -> bool:
    """Whether a source is the address of a page."""
    return str(source).startswith(("http://", "https://"))


def is_of_another_tool(source: str | Path) -> bool:
    """Whether a file has a known format; False if it cannot be read, which others report."""
    if is_url(source) or str(source) == "-":
        return True  # no plan is saved there
    try:
        return known_format(document_of(source)) is not None
    except CapacityError:
        return False


# What files of a language model's server are read for, the most telling first.
_OF_ENGINES = (Kind.STEPS, Kind.RUNS, Kind.LOADS)


def engine_kind(source: str | Path) -> Kind | None:
    """What a file has of a language model's server: its steps, or requests one by one; None if neither or a URL."""
    if is_url(source):
        return None
    kind = _engine_kind(document_of(source))
    return None if kind is Kind.LOADS else kind


def _engine_kind(document: Document) -> Kind | None:
    """The most that a file tells of a language model's engine; None if it is of anything else."""
    found = known_format(document)
    if found is None or Kind.PROFILE in found.READERS:
        return None
    has_requests = getattr(found, "has_requests", None)
    kinds = [one for one in _OF_ENGINES if one in found.READERS]
    if has_requests is not None and not has_requests(document):
        kinds = [one for one in kinds if one is not Kind.RUNS]
    return kinds[0] if kinds else None


def counts_drafts(document: Document) -> bool:
    """Whether a file is read beside others of an engine, for what it drafted."""
    found = known_format(document)
    return found is not None and Kind.DRAFTS in found.READERS


def require_engines(sources: Sequence[str | Path]) -> Kind:
    """What several files have of one language model's server; refuses what cannot be read together.

    Raises:
        InputError: a file of another format, or of an unknown one, or steps beside loads.
    """
    documents = [document_of(source) for source in sources]
    kinds = []
    documents = [one for one in documents if not counts_drafts(one)] or documents
    for document in documents:
        found, kind = format_of(document), _engine_kind(document)
        if kind is None:
            raise InputError(
                f"{document.name} is from {found.NAME}, and several files are read together only where all are of the "
                "server of one language model: sweeps, loads, or its own steps; import it by itself"
            )
        kinds.append(kind)
    others = [
        document.name for document, kind in zip(documents, kinds, strict=True) if kind is not Kind.STEPS
    ]
    if others and len(others) < len(documents):
        steps = documents[kinds.index(Kind.STEPS)].name
        raise InputError(
            f"{steps} holds steps of an engine and {others[0]} loads on one, which are not read together; import each "
            "kind by itself"
        )
    return Kind.LOADS if Kind.LOADS in kinds else kinds[0]


def is_of_engines(sources: Sequence[str]) -> bool:
    """Whether files make the profile of a language model."""
    if len(sources) > 1:
        return True
    try:
        return engine_kind(sources[0]) is not None
    except CapacityError:
        return False


def running_plan(source: object) -> "RunningPlan | None":
    """Batching of a running server, from a file of another tool; None for any other file."""
    if not isinstance(source, str | Path) or not is_file(source):
        return None
    document = Document.read(Path(source))
    found = known_format(document)
    if found is None or Kind.PLAN not in found.READERS:
        return None
    running: RunningPlan = read_document(document, Kind.PLAN)
    return running


def load_test(source: str | Path) -> LoadTest:
    """The load test in a file."""
    found: LoadTest = read_document(document_of(source), Kind.LOAD_TEST)
    return found


def sources(value: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """Files as a list, from one or several."""
    return [value] if isinstance(value, str | Path) else list(value)
