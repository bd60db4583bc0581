"""Access logs of nginx and Apache, written here by their log formats; nothing is a file of theirs."""

import pytest
from reading import example, load_test, refusal, workload
from test_ingress_log import LOG as INGRESS

from capacity.formats.registry import Kind

START = '192.0.2.1 - - [28/Nov/2026:13:30:5{second} +0100] "POST /predict HTTP/1.1" {status} 612 "-" "curl/8.5 (x; y)"'


def line(second: int, end: str = "", status: int = 200) -> str:
    return f"{START.format(second=second, status=status)}{end}\n"


NGINX = line(1, " 0.250") + line(2, " 1.500") + line(3, " 0.010", 503) + line(3, " 0.100", 499)
EXACT = (
    line(1, " 1795869051.100 rt=0.100 urt=0.090")
    + line(1, " 1795869051.900 rt=0.150 urt=0.140")
    + line(2, " 1795869052.000 rt=1.000 urt=-")
)
DATE = "192.0.2.1 - - [28/Nov/2026:13:30:59 +0100] "
APACHE = line(1, " 250000us") + line(2, " 1500000us")
COMMON = '::1 - ann [01/Feb/2026:00:00:00 +0000] "GET / HTTP/1.0" 200 -\n' * 2 + (
    '::1 - - [01/Feb/2026:00:00:04 +0000] "\\"\\x16" 400 150\n'
)
EXAMPLES = {
    "nginx": NGINX,
    "exact": EXACT,
    "apache": APACHE,
    "nanoseconds": APACHE.replace("us\n", "000ns\n"),
    "without request times": COMMON,
    "statuses": "".join(line(1, " 0.250", status) for status in (200, 498, 499, 500, 501)),
}


REFUSED = [
    (text, said, Kind.WORKLOAD, Kind.LOAD_TEST)
    for text, said in [
        (line(1, " 250000") * 2, "line 1 ends in 250000, which may be of any unit; for nginx add $request_time"),
        (line(1, " 0.250 0.240") * 2, "line 1 has 2 fields that may be the request time; write rt=$request_time"),
        (NGINX + line(4), "line 5 differs from the lines before in whether it has a request time"),
        (NGINX + DATE + "now what\n", f"line 5 is not of the combined log format: '{DATE}now what'; fix or drop it"),
        (NGINX + line(4, " 0.1").replace("Nov", "Nox"), "line 5: Nox is no month"),
        (NGINX + line(4, " 0.100").replace("28/", "31/"), "line 5: 2026-11-31"),
    ]
]  # fmt: skip
REFUSED += [
    (line(1) * 2 + line(1, " 0.250"), "line 3 differs from the lines before", Kind.WORKLOAD),
    (NGINX + DATE + "x" * 61 + "\n", f"format: '{DATE}{'x' * (60 - len(DATE))}';"),
]


def test_as_many_lines_as_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.request_log.ROWS_MAX", 4)
    assert len(workload(NGINX).instants_s) == 4
    assert "there are more than 4 requests; keep fewer" in refusal(NGINX + line(4, " 0.100"))


# What the controller of ingress-nginx, nginx, its container and Apache write beside requests.
BESIDE = example("access_log_beside.txt")


@pytest.mark.parametrize("log", [NGINX, INGRESS])
def test_lines_that_are_of_no_request_are_passed_over_and_counted(log: str) -> None:
    expected = load_test(log * 3)
    for text in (BESIDE + log * 3, log + BESIDE + log * 2):
        found = load_test(text)
        assert found.runs[-1].quantiles_s == expected.runs[-1].quantiles_s
        assert found.runs[-1].requests == expected.runs[-1].requests
        assert found.notes == (*expected.notes, "9 lines are not of a request, and were passed over")
        assert workload(text).instants_s == workload(log * 3).instants_s
        assert workload(text).remarks[-1] == found.notes[-1]
    one = load_test(log * 3 + BESIDE.splitlines(keepends=True)[-1])
    assert one.notes[-1] == "1 line is not of a request, and was passed over"


@pytest.mark.parametrize("log", [NGINX, INGRESS])
def test_a_log_of_which_most_lines_are_of_no_request_is_refused(log: str) -> None:
    said = "file: 9 of {} lines, such as line 1, are not of a request; keep the lines of requests"
    said = said.format(9 + log.count("\n")).removeprefix("file")
    for kind in (Kind.LOAD_TEST, Kind.WORKLOAD):
        assert said in refusal(BESIDE + log, kind)


def test_a_request_is_found_behind_a_long_start() -> None:
    assert load_test(BESIDE * 30 + NGINX * 80).runs[0].requests == 320


def test_of_a_long_line_the_end_is_read_up_to_a_limit() -> None:
    agent = 65_536 - len(line(1, " 0.250").strip())
    long = line(1, " 0.250").replace("curl", "c" * (agent + 4))
    assert len(long.strip()) == 65_536
    assert load_test(line(1, " 0.250") + long).runs[0].succeeded == 2
    assert "line 2 is not of the combined" in refusal(line(1, " 0.250") + long.replace("cc", "ccc", 1))
