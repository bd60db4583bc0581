"""Unread: files that people often give and that no format reads, and what to give instead."""

from capacity.formats.document import Document

# What all of the beginnings of such a file hold, what it is, and what to do.
_KNOWN: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("http_req_duration", "avg=", "p(95)="),
        "k6's summary as text",
        "run k6 with --summary-export=FILE or --out json=FILE",
    ),
    (("Latencies ", "[min, mean, 50,"), "vegeta's report as text", "write it by vegeta report -type=json"),
    (
        ("Success rate:", "Slowest:", "Requests/sec:"),
        "oha's report as text",
        "write oha's JSON (--output-format json, --json of older versions)",
    ),
    (("# reqs", "# fails", "req/s"), "Locust's table as text", "run locust with --csv NAME"),
    (("PK\x03\x04",), "a zip archive or a spreadsheet", "unpack it, or save its sheet as CSV"),
    (("\x00ustar",), "an archive", "unpack it first"),
    (("%PDF-",), "a PDF", "give the file that the tool wrote"),
)


def instead(document: Document) -> tuple[str, str] | None:
    """What a file is that no format reads, and what to do; None of one that is not known."""
    if not document.head:
        return "empty", "did the tool write it to its end?"
    start = "\n".join(document.first_lines)
    return next(((what, mend) for marks, what, mend in _KNOWN if all(mark in start for mark in marks)), None)
