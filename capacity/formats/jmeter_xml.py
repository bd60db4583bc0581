"""The XML results (JTL) of Apache JMeter: an element for each sample; milliseconds.

Time stamps are starts or ends, as in `capacity.formats.jmeter_csv`. An element within a sample is a part of it, such
as an image of a page, and is skipped. A transaction controller is skipped too, and the samples within it are read.
"""

from collections.abc import Callable
from itertools import dropwhile
from typing import Any
from xml.parsers import expat  # declarations of entities are refused below

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, Row
from capacity.formats.jmeter_csv import TRANSACTION, Samples, is_success
from capacity.formats.request_log import Log, Request, log_readers, nanoseconds

NAME = "JMeter, as XML"
_SAMPLES = {"sample", "httpSample"}
_DEPTH_MAX = 100


def recognises(document: Document) -> bool:
    """Whether its first element is JMeter's."""
    return document.head.startswith("<") and "<testResults" in document.head


def read_log(document: Document) -> Log:
    """Samples by label.

    Raises:
        InputError: not XML, a declaration of a document type, or an attribute that cannot be.

    Source:
        JMeter 5.6 user's manual, "Listeners", XML log format 2.1; testResults version 1.2.
    """
    samples = Samples()

    def take(row: Row) -> None:
        thread = row.text("tn") if "tn" in row else ""
        samples.add(row.where, _stamped(row), thread, row.number("na") if "na" in row else None)

    _Elements(document, take)
    return samples.log


class _Elements:
    """Passes on the attributes of each sample as the parser meets it."""

    def __init__(self, document: Document, take: Callable[[Row], None]) -> None:
        self._name, self._take = document.name, take
        self._inside: list[bool] = []  # for each open element: whether samples in it are read
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        lines = dropwhile(lambda line: not line.strip(), (line for _, line in document.numbered()))
        try:
            for line in lines:
                self._parser.Parse(f"{line}\n", False)  # noqa: FBT003  (it takes no keywords)
            self._parser.Parse("", True)  # noqa: FBT003
        except expat.ExpatError as error:
            raise InputError(f"{document.name}: not valid XML ({error}); was the file cut off?") from None

    def _refuse(self, *_: Any) -> None:
        raise InputError(f"{self._name} declares a document type, which JMeter never writes; remove it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        """Read a sample at the top level, or directly within a transaction that counts."""
        if len(self._inside) > _DEPTH_MAX:
            raise InputError(f"{self._name} line {self._parser.CurrentLineNumber} is nested too deeply")
        is_at_top = not self._inside or self._inside[-1]
        is_sample = tag in _SAMPLES
        is_transaction = is_sample and attributes.get("rm", "").startswith(TRANSACTION)
        if is_sample and is_at_top and self._inside and not is_transaction:
            where = f"{self._name} line {self._parser.CurrentLineNumber}"
            self._take(Row(where, attributes, "attribute"))
        self._inside.append(is_at_top and (tag == "testResults" or is_transaction))

    def _end(self, _: str) -> None:
        self._inside.pop()


def _stamped(row: Row) -> Request:
    return Request(
        sent_ns=nanoseconds(row.whole("ts"), 1e6, row.place("ts")),
        took_ns=nanoseconds(row.whole("t"), 1e6, row.place("t")),
        is_good=is_success(row.text("s"), row.place("s")),
        name=printable(row.text("lb")) if "lb" in row else "",
    )


READERS = log_readers("jmeter", read_log)
