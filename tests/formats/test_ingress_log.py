"""Access logs of ingress-nginx, written here by its default format; nothing is a file of its own."""

import pytest
from reading import refusal

from capacity.formats.registry import Kind


def line(
    second: int, took: str, status: int = 200, upstream: str = "default-predict-80", tail: str = ""
) -> str:
    tail = tail or f"10.0.0.9:8080 105 {took} {status} 4eaed362ae1958b8a369f4e437d40a51"
    return (
        f'192.0.2.1 - - [30/Nov/2026:05:38:{second:02d} +0000] "GET /predict HTTP/1.1" {status} 11 "-" "hey [x] 0.1" '
        f"119 {took} [{upstream}] [] {tail}\n"
    )


AGAIN = "10.0.0.9:8080, 10.0.0.8:8080 0, 105 0.010, 0.020 502, 200 4eaed362ae1958b8a369f4e437d40a51"
LOG = (
    line(21, "0.250")
    + line(22, "1.500")
    + line(23, "0.010", 503)
    + line(23, "0.100", 499)
    + line(24, "0.030", tail=AGAIN)
)
TWO = LOG + line(25, "0.005", upstream="default-other-80")
NO_UPSTREAM = line(21, "0.000", 308, "", "- - - - 4eaed362ae1958b8a369f4e437d40a51") * 2
OLD = LOG.replace("[] ", "").replace("192.0.2.1 - - ", "192.0.2.1 - [192.0.2.1] - - ")
EXAMPLES = {
    "log": LOG,
    "two": TWO,
    "no upstream": NO_UPSTREAM,
    "old": OLD,
    "windows": LOG.replace("\n", "\r\n"),
    "two and none": TWO + NO_UPSTREAM,
}


@pytest.mark.parametrize("end", [" [default", " 10.0.0.9", " 105", " 0.030 200"])
def test_a_line_that_was_cut_off_is_refused(end: str) -> None:
    last = line(24, "0.030")
    said = refusal(LOG + last[: last.rindex(end)] + "\n", Kind.WORKLOAD)
    assert "line 6 is not of ingress-nginx's log format, or was cut off" in said
