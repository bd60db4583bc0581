"""The log of HAProxy with `option httplog` or `httpslog`: a line for each request, at its end; whole milliseconds.

`[date]` is when its first byte came, and `Ta` the time from then to the last byte of the answer. Its parts TR, Tw, Tc
and Tr are the wait for the whole request, in the queue, for the connection, and for the server. Other lines, such as
`Server b/s1 is DOWN`, a failed handshake, or a connection of `option tcplog`, are skipped.
"""

import re

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.access_line import FAILED_FROM, LENGTH_MAX, RESOLUTION_S, Others, clock_ns
from capacity.formats.document import Document
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Log, Request, Requests, log_readers

NAME = "HAProxy's log with option httplog"
_START = re.compile(
    r"(?:.{0,200}?\s)?[0-9A-Za-z_.:%-]{1,80}:[0-9]{1,6} "
    r"\[(?P<day>[0-9]{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>[0-9]{4}):(?P<time>[0-9:]{8})(?P<ms>\.[0-9]{3})\] "
)
_REQUEST = re.compile(
    r"(?P<frontend>\S{1,200}) (?P<backend>[^\s/]{1,200})/(?P<server>\S{1,200}) "
    r"(?:-?[0-9]{1,12}/){4}(?P<took>\+?-?[0-9]{1,12}) (?P<status>-?[0-9]{1,3}) \+?[0-9]{1,19} \S+ \S+ "
    r"(?P<state>\S{4}) (?:[0-9]{1,9}/){4}\+?[0-9]{1,9} [0-9]{1,9}/[0-9]{1,9} (?:\{.*\} )?\".*"
)
# What can follow a date in place of a request: an error of a connection, and a line of `option tcplog`.
_NO_REQUEST = re.compile(
    r"[^\s/]{1,200}/[^\s/]{1,200}: |"
    r"\S{1,200} \S{1,200}/\S{1,200} (?:-?[0-9]{1,12}/){2}\+?[0-9]{1,12} \+?[0-9]{1,19} \S\S "
)
# Fields that `option httpslog` adds to a request: error, verification, server's errors, name and cipher.
_TLS = re.compile(r"\" -?[0-9]{1,9}/[0-9A-Fa-f]{1,32}/[0-9]{1,9}/[0-9]{1,9}/[0-9]{1,9} \S{1,400}")
# A line that HAProxy itself has cut has no quote at its end; it keeps 1024 bytes by default.
_CUT_FROM = 1000
_DONE = "-L"  # the session ended normally, or HAProxy answered itself


def recognises(document: Document) -> bool:
    """Whether one of its first lines has the fields of a request."""
    return any(_START.match(line) and _read(line) for line in document.first_lines)


def read_log(document: Document) -> Log:
    """Requests by backend, including those without a backend.

    A status of 500 or above, or none, is a failure; so is a session that client, server or proxy broke off.

    Raises:
        InputError: a request line that is not whole.

    Source:
        HAProxy 3.0, configuration manual, sections 8.2.3, "HTTP log format", 8.4, "Timing events", and 8.5.
    """
    requests, others = Requests(), Others()
    for number, line in document.ending(_read).records():
        start = _START.match(line[:LENGTH_MAX])
        if start and not _NO_REQUEST.match(line, start.end()):
            requests.add(_request(line, f"{document.name} line {number}"))
        elif line.strip():
            others.add(number)
    return Log(requests, others.notes, {"loop": Loop.SERVED, "resolution_s": RESOLUTION_S})


def _read(line: str) -> tuple[re.Match[str], re.Match[str]] | None:
    """Start and rest of a request line; None if it is not whole."""
    line = line.rstrip()
    start = _START.match(line[:LENGTH_MAX])
    rest = _REQUEST.fullmatch(line[:LENGTH_MAX], start.end()) if start else None
    is_whole = line.endswith('"') or len(line) >= _CUT_FROM or _TLS.fullmatch(line, max(0, line.rfind('"')))
    if start is None or rest is None or not is_whole:
        return None
    return start, rest


def _request(line: str, where: str) -> Request:
    found = _read(line)
    if found is None:
        raise InputError(f"{where} is not of option httplog, or was cut off: {quoted(line)}; fix or drop it")
    start, rest = found
    if not rest["took"].isdigit():
        raise InputError(
            f"{where} has the time {rest['took']}, which is not the whole one; log without option logasap"
        )
    status = int(rest["status"])
    return Request(
        sent_ns=clock_ns(start, where, fraction=start["ms"]),
        took_ns=int(rest["took"]) * 10**6,
        is_good=0 < status < FAILED_FROM and rest["state"][0] in _DONE,
        name=_backend(rest),
    )


def _backend(rest: re.Match[str]) -> str:
    """The backend of a request; empty if HAProxy itself answered, and has the frontend's name in its place."""
    is_frontend = rest["server"] == "<NOSRV>" and rest["backend"] == rest["frontend"].removesuffix("~")
    return "" if is_frontend else printable(rest["backend"])


READERS = log_readers("haproxy", read_log)
