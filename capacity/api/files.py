"""Files of other tools, as verbs take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.errors import CapacityError, InputError
from capacity.files import is_file
from capacity.formats.document import Document
from capacity.formats.load_test import LoadTest
from capacity.formats.registry import Kind, format_of, known_format, read_document

if TYPE_CHECKING:
    from capacity.formats.running_plan import RunningPlan


def document_of(source: str | Path) -> Document:
    """A file, or the answer of a URL, within limits.

    Raises:
        InputError, DependencyError: it cannot be read.
    """
    text = str(source)
    if text.startswith(("http://", "https://")):
        from capacity.measurement.http import read_url

        return Document.of(text[:200], read_url(text))
    return Document.read(Path(source))


def is_of_another_tool(source: str | Path) -> bool:
    """Whether a file has a known format; False if it cannot be read, which others report."""
    if str(source).startswith(("http://", "https://")):
        return True  # no plan is saved there
    try:
        return known_format(document_of(source)) is not None
    except CapacityError:
        return False


def is_sweep(source: str | Path) -> bool:
    """Whether a file is a run over a language model's server, with its single requests."""
    document = document_of(source)
    found = known_format(document)
    if found is None or Kind.RUNS not in found.READERS or Kind.PROFILE in found.READERS:
        return False
    has_requests = getattr(found, "has_requests", None)
    return has_requests is None or bool(has_requests(document))


def require_sweeps(sources: Sequence[str | Path]) -> None:
    """Refuse several files of which one is no sweep over a language model's server.

    Raises:
        InputError: a file of another format, or of an unknown one.
    """
    for source in sources:
        document = document_of(source)
        found = format_of(document)
        if Kind.RUNS not in found.READERS:
            raise InputError(
                f"{document.name} is from {found.NAME}, and several files are read together only where all are sweeps "
                "over the server of a language model; import it by itself"
            )


def is_of_sweeps(sources: Sequence[str]) -> bool:
    """Whether files are sweeps; a URL is none."""
    if len(sources) > 1:
        return True
    try:
        return not sources[0].startswith("http") and is_sweep(sources[0])
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
