"""Gatling's `simulation.log` before 3.12, as text: a line for each request, with tabs between its fields.

Newer versions write it in a binary form that only Gatling reads.
"""

from collections.abc import Iterator
from functools import partial

from capacity.errors import InputError, quoted
from capacity.files import located
from capacity.formats.document import Document, parsed, whole
from capacity.formats.request_log import Log, Request, log_readers, nanoseconds

NAME = "Gatling before 3.12, its simulation.log"
RESOLUTION_S = 1e-3
# Fields of a request's line, from its end: name, start, end, OK or KO, and a message.
_FIELDS = 5
_STATUSES = ("OK", "KO")


def recognises(document: Document) -> bool:
    """Whether it begins with the line of a run."""
    return document.head.startswith("RUN\t") and document.head.count("\t", 0, document.head.find("\n")) >= 3


def read_log(document: Document) -> Log:
    """The requests; the file does not say what decided when they were sent.

    Raises:
        InputError: a line that is not a request.

    Source:
        Gatling 3.11, gatling-core, stats/writer/LogFileDataWriter: `REQUEST`, groups, name, start, end, status.
    """
    return Log(_requests(document), known={"resolution_s": RESOLUTION_S})


def _requests(document: Document) -> Iterator[Request]:
    for number, line in document.ending(_is_whole).records():
        if line.startswith("REQUEST\t"):
            fields = line.rstrip("\r").split("\t")
            yield located(f"{document.name} line {number}", partial(_request, fields))


def _is_whole(line: str) -> bool:
    """Whether a line is a user, or a request up to its status, which only a message follows."""
    fields = line.split("\t")
    return fields[0] == "USER" or (
        fields[0] == "REQUEST" and len(fields) > _FIELDS and fields[_FIELDS] in _STATUSES
    )


def _request(fields: list[str]) -> Request:
    if len(fields) < _FIELDS + 1:
        raise InputError(f"{len(fields)} fields are too few for a request; was the file cut off?")
    name, start, end, status = fields[2:6]
    if status not in _STATUSES:
        raise InputError(
            f"{quoted(status)} is neither OK nor KO; only logs of Gatling 3.4 to 3.11 are read here"
        )
    sent_ns, ended_ns = (
        nanoseconds(whole(parsed(text, what), what), 1e6, what)
        for text, what in ((start, "start"), (end, "end"))
    )
    if ended_ns < sent_ns:
        raise InputError("a request that ends before it starts; fix or drop the line")
    return Request(sent_ns=sent_ns, took_ns=ended_ns - sent_ns, is_good=status == "OK", name=name)


READERS = log_readers("gatling", read_log)
