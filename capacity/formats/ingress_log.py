"""The access log of ingress-nginx in its default format: nginx's combined format, then the upstream's fields.

Each line ends in `$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name]
$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id`. The request time is the
client's, from the first byte of the request to the last of the answer; an upstream that was retried has several
values. Old versions have no alternative upstream, and the client's address twice.
"""

import re

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.access_line import (
    COMMON,
    LENGTH_MAX,
    RESOLUTION_S,
    WHOLE_SECONDS,
    Others,
    clock_ns,
    is_good,
)
from capacity.formats.document import Document
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Log, Request, Requests, log_readers

NAME = "access log of ingress-nginx"
_TWICE = re.compile(r"(\S{1,100}) - \[[^\]]{1,100}\] - ")
_AFTER = re.compile(
    r' "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*" [0-9]{1,12} (?P<took>[0-9]{1,8}\.[0-9]{3}) '
    r"\[(?P<upstream>[^\]\s]{0,300})\] (?:\[[^\]\s]{0,300}\] )?\S{1,200}(?: \S{1,200}){4,100}"
)


def recognises(document: Document) -> bool:
    """Whether one of its first lines has the fields of an upstream after those of the combined log format."""
    return any(_fields(line) for line in document.first_lines)


def read_log(document: Document) -> Log:
    """Requests by upstream, including those without one, as the proxy saw them.

    Raises:
        InputError: a malformed request line, or mostly lines that belong to none.

    Source:
        kubernetes/ingress-nginx, docs/user-guide/nginx-configuration/log-format.md.
    """
    requests, others = Requests(), Others()
    for number, line in document.ending(_fields).records():
        if not others.has(line, number):
            requests.add(_request(line, f"{document.name} line {number}"))
    others.require_few(len(requests), document.name)
    known = {"loop": Loop.SERVED, "resolution_s": RESOLUTION_S}
    return Log(requests, (WHOLE_SECONDS, *others.notes), known)


def _fields(line: str) -> tuple[re.Match[str], re.Match[str]] | None:
    """nginx's and the upstream's fields of a request; None if the line is malformed."""
    if len(line) > LENGTH_MAX:
        return None
    common = COMMON.fullmatch(_TWICE.sub(r"\1 - ", line.strip(), count=1))
    after = _AFTER.fullmatch(common["after"]) if common else None
    return None if common is None or after is None else (common, after)


def _request(line: str, where: str) -> Request:
    found = _fields(line)
    if found is None:
        raise InputError(
            f"{where} is not of ingress-nginx's log format, or was cut off: {quoted(line)}; fix or drop it"
        )
    common, after = found
    took_ns = int(after["took"].replace(".", "")) * 10**6
    return Request(
        sent_ns=clock_ns(common, where, zone=common["zone"]) - took_ns,
        took_ns=took_ns,
        is_good=is_good(int(common["status"])),
        name=printable(after["upstream"]),
    )


READERS = log_readers("ingress-nginx", read_log)
