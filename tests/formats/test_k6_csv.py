"""The CSV of k6, written here by shape; nothing is a file of k6's own."""

import pytest
from reading import load_test

HEADER = (
    "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,scenario,service,"
    "status,subproto,tls_version,url,extra_tags,metadata\n"
)


def row(metric: str, stamp: str, value: float, expected: str = "", name: str = "", status: str = "") -> str:
    return f"{metric},{stamp},{value:f},,,,{expected},,GET,{name},HTTP/1.1,open,,{status},,,{name},,\n"


def request(stamp: str, value: float, expected: str = "true", name: str = "/a", status: str = "200") -> str:
    others = row("http_reqs", stamp, 1.0, expected, name, status) + row("http_req_blocked", stamp, 5.0)
    return others + row("http_req_duration", stamp, value, expected, name, status)


EXACT = HEADER + "".join(
    [
        row("vus", "1796016201000000", 2.0),
        request("1796016201110000", 100.0),
        request("1796016201310000", 250.0, name="/b"),
        request("1796016202010000", 10.0, expected="false", status="503"),
        row("iteration_duration", "1796016202010000", 11.0),
        row("vus", "1796016203000000", 3.0),
        row("vus_max", "1796016203000000", 5.0),
    ]
)
SECONDS = HEADER + "".join(request(str(1796016201 + at // 10), 5.0) for at in range(400))
DATES = HEADER + request("2026-11-30T05:23:21.11Z", 100.0) + request("2026-11-30T05:23:22Z", 50.0)
DROPPED = EXACT + row("dropped_iterations", "1796016203000000", 4.0)
EXAMPLES = {
    "exact": EXACT,
    "seconds": SECONDS[: len(HEADER) + 4000].rpartition("\n")[0] + "\n",
    "dates": DATES,
    "dropped": DROPPED,
}


def test_stamps_of_whole_seconds_are_told_and_short_runs_have_no_rate() -> None:
    """Forty seconds at 10 rps; of the first seconds alone no rate is known."""
    test = load_test(SECONDS)
    assert "K6_CSV_TIME_FORMAT=unix_micro" in test.notes[0]
    assert test.runs[-1].throughput_rps == pytest.approx(10.2, abs=0.1)
    short = load_test(HEADER + "".join(request("1796016201", 5.0) for _ in range(30))).runs[-1]
    assert (short.throughput_rps, short.rate_sent_rps, short.duration_s) == (None, None, None)
    assert short.succeeded == 30


REFUSED = [
    (HEADER + row("vus", "1796016201", 1.0), "has no point of http_req_duration; only tests of HTTP"),
    (EXACT + request("17960162", 5.0), "timestamp must be seconds, ms, us or ns since 1970, or a date"),
    (EXACT + request("1796016201", -5.0), "has a duration below 0; fix or drop the line"),
    (EXACT + request("soon", 5.0), "'soon' is not a finite number, nor a date"),
]
