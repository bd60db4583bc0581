"""Locust's CSV, as Locust 2.47.0 wrote it for three users and 6 seconds; some rows of the history are left out."""

import pytest
from reading import example, load_test

from capacity.formats.locust_csv import bucket_s

STATS = example("locust_csv_stats.csv").encode()
HISTORY = example("locust_csv_history.csv").encode()
FAILURES = b"""\
Method,Name,Error,Occurrences,First Seen,Last Seen
GET,/predict,HTTPError('503 Server Error'),2,2026-11-28T13:44:28Z,2026-11-28T13:44:31Z
"""
EXAMPLES = {"stats": STATS, "history": HISTORY}


def test_the_highest_percentile_holds_the_exact_maximum() -> None:
    for run in load_test(STATS).runs:
        assert run.quantiles_s[1.0].low <= run.max_s <= run.quantiles_s[1.0].high


@pytest.mark.parametrize(
    ("rounded_ms", "low_s", "high_s"),
    [
        (0, 0.0, 0.0005),
        (7, 0.0065, 0.0075),
        (100, 0.0995, 0.105),
        (110, 0.105, 0.115),
        (1000, 0.995, 1.05),
        (1100, 1.05, 1.15),
        (10_000, 9.95, 10.5),
        (12_000, 11.5, 12.5),
    ],
)
def test_a_bucket_is_what_locust_rounds_to_it(rounded_ms: float, low_s: float, high_s: float) -> None:
    found = bucket_s(rounded_ms)
    assert (found.low, found.value, found.high) == pytest.approx((low_s, rounded_ms / 1e3, high_s))


@pytest.mark.parametrize("start", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("step_s", [1.0, 1.004, 1.02])
def test_the_rate_of_a_history_is_that_of_its_rows(start: float, step_s: float) -> None:
    """167 rps for 30 rows a little more than a second apart, the first of them written when requests already came."""
    header, row = (
        HISTORY.decode().splitlines()[0],
        "{},20,GET,/p,0,0" + ",12" * 11 + ",{},0,12,15.0,5.0,90.0,2.0",
    )
    instants = [start + step_s * (number + 1) for number in range(30)]
    rows = [row.format(1795873468 + int(at_s), round(167.0 * (at_s - start))) for at_s in instants]
    (run,) = load_test("\n".join([header, *rows, ""])).runs
    assert run.throughput_rps == pytest.approx(
        167.0, rel=0.021
    )  # the drift of the rows, which stamps do not tell


def test_columns_may_come_in_any_order_with_others() -> None:
    rows = [line.split(",") for line in STATS.decode().splitlines()]
    turned = "".join(",".join(["x", *reversed(row)]) + "\n" for row in rows)
    turned = turned.replace("x,100%", "Host,100%", 1)
    assert load_test(turned).runs[1].quantiles_s == load_test(STATS).runs[1].quantiles_s


REFUSED = [
    (STATS.replace(old, new), said)
    for old, new, said in [
        (b",55,2,", b",55,x,", "line 3 column Failure Count must be a number, got 'x'"),
        (b",55,2,", b",55,56,", "line 3 has 56 failures of 55 requests"),
        (b",55,2,", b",5.5,2,", "line 3 column Request Count must be a whole number"),
        (b",100,100,100,100,100\n", b",100", "was the file cut off?"),
        (b",69,2,13", b",69,2,\xff", "is not UTF-8"),
        (b"Max Response Time", b"Maximum", "line 2 has no column Max Response Time"),
        (b",66%,", b",50%,", "two columns '50%'"),
    ]
]
REFUSED += [
    (FAILURES, "holds no measurement; give the file that ends in _stats.csv"),
    ("Count,Message,Traceback,Nodes\n", "holds no measurement"),
    (STATS.partition(b"\n")[0] + b"\n", "holds no run with a measurement"),
]


def test_endpoints_without_requests_are_left_out() -> None:
    header, rest = STATS.split(b"\n", 1)
    unused = b"GET,/unused,0,0,0,0,0,0,0,0.0,0.0," + b",".join([b"N/A"] * 11) + b"\n"
    assert [run.name for run in load_test(header + b"\n" + unused + rest).runs] == [
        "GET /health",
        "GET /predict",
        "Aggregated",
    ]
    first = b"1795873470,0,GET,/unused,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
    header, rest = HISTORY.split(b"\n", 1)
    assert [run.name for run in load_test(header + b"\n" + first + rest).runs] == ["Aggregated"]
