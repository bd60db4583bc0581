"""Unread: files that people often give and that no format reads, with what to give instead."""

from capacity.formats.document import Document

_LOG_INSTEAD = (
    "log in the combined format with the request time, or give a CSV with t_s to --arrivals trace:FILE"
)
# Beginnings that such a file has, what it is, and what to do.
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
    (
        ("Label,# Samples,Average",),
        "JMeter's aggregate or summary report",
        "give the results with each sample, as jmeter -l results.jtl writes them",
    ),
    (
        ('"sampleCount"', '"pct1ResTime"'),
        "the statistics of JMeter's dashboard",
        "give the results with each sample, as jmeter -l results.jtl writes them",
    ),
    (('"request_time"', '"status"'), "an access log as JSON", _LOG_INSTEAD),
    (('"DownstreamStatus"',), "Traefik's access log as JSON", _LOG_INSTEAD),
    (("http.log.access", '"duration"'), "Caddy's access log", _LOG_INSTEAD),
    (('Z] "', " HTTP/"), "an access log as Envoy and Istio write it", _LOG_INSTEAD),
    (("PK\x03\x04",), "a zip archive or a spreadsheet", "unpack it, or save its sheet as CSV"),
    (("\x00ustar",), "an archive", "unpack it first"),
    (("%PDF-",), "a PDF", "give the file that the tool wrote"),
)


def instead(document: Document) -> tuple[str, str] | None:
    """What a file without a format is, and what to do; None if it is unknown."""
    if not document.head:
        return "empty", "did the tool write it to its end?"
    start = "\n".join(document.first_lines)
    return next(((what, mend) for marks, what, mend in _KNOWN if all(mark in start for mark in marks)), None)
