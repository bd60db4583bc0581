"""Registry: which formats there are, and which of them a file is."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from capacity.errors import InputError
from capacity.formats import (
    access_log,
    aiperf,
    autocannon,
    fortio,
    ghz,
    guidellm,
    hey_csv,
    hey_text,
    jmeter_csv,
    jmeter_xml,
    json_schema,
    k6_points,
    k6_summary,
    locust_csv,
    locust_json,
    oha,
    vegeta,
    vllm_bench,
    wrk_text,
)
from capacity.formats.document import Document


class Kind(StrEnum):
    """What a file is read for.

    RUNS are requests of a language model as its clients saw them, of which several sweeps together make a
    profile; their readers return a tuple of `capacity.profile.llm_runs.SeenRun`.
    """

    PROFILE = "profile"
    WORKLOAD = "workload"
    LOAD_TEST = "load-test"
    RUNS = "runs"


class Format(Protocol):
    """What a module of this folder has, which is a format; see the folder's own words."""

    NAME: str
    READERS: Mapping[str, Callable[[Document], Any]]

    def recognises(self, document: Document) -> bool:
        """Whether a file is of this format."""


# Each line is a format. They exclude each other, so that their order is only that of the alphabet.
FORMATS: tuple[Format, ...] = (
    access_log,
    aiperf,
    autocannon,
    fortio,
    ghz,
    guidellm,
    hey_csv,
    hey_text,
    jmeter_csv,
    jmeter_xml,
    json_schema,
    k6_points,
    k6_summary,
    locust_csv,
    locust_json,
    oha,
    vegeta,
    vllm_bench,
    wrk_text,
)


def format_of(document: Document) -> Format:
    """The format that a file is of, by what it holds.

    Raises:
        InputError: none, with those that there are.
    """
    for one in FORMATS:
        if one.recognises(document):
            return one
    known = "; ".join(one.NAME for one in FORMATS)
    raise InputError(f"{document.name} is of no format that is known here, which are: {known}")


def read(path: Path, kind: Kind) -> Any:
    """What a file holds, read for a purpose.

    Raises:
        InputError: the file cannot be read, is of no known format or of one that does not serve the purpose, or
            is not as that format should be.
    """
    document = Document.read(path)
    found = format_of(document)
    if kind not in found.READERS:
        kinds = ", ".join(found.READERS)
        raise InputError(f"{document.name} is from {found.NAME}, which has no {kind} in it, only: {kinds}")
    try:
        return found.READERS[kind](document)
    except InputError as error:
        if str(error).startswith(document.name):
            raise
        raise InputError(f"{document.name}: {error}") from None  # a noun does not know its file
