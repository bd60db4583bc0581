"""hey's CSV, as hey 0.1.4 wrote it for twelve requests by two workers."""

import pytest
from reading import example, load_test, refusal, workload

from capacity.formats.load_test import Loop

TEXT = example("hey_csv.csv")
EXAMPLES = {"csv": TEXT}


def test_offsets_are_when_requests_were_sent() -> None:
    """Each worker sends its next request as soon as it has its answer, to within the file's four decimals."""
    (run,) = load_test(TEXT).runs
    assert (run.loop, run.succeeded, run.failed, run.resolution_s) == (Loop.CLOSED, 10, 2, 1e-4)
    assert run.samples.sent_s[:3].tolist() == [0.0, 0.0002, 0.014]
    assert run.samples.response_s[1] == 0.0139
    ends_s = run.samples.sent_s + run.samples.response_s
    assert min(abs(ends_s - run.samples.sent_s[2])) < 2e-4
    assert workload(TEXT).instants_s[-1] == pytest.approx(0.2495)


def test_columns_may_come_in_any_order_with_others() -> None:
    rows = [line.split(",") for line in TEXT.splitlines()]
    turned = "".join(",".join([*reversed(row), "x"]) + "\n" for row in rows)
    assert workload(turned) == workload(TEXT)


REFUSED = [
    (TEXT.replace(old, new), said)
    for old, new, said in [
        (",offset", ",start", "has no column offset; write it by hey"),
        ("0.0139,", "13.9ms,", "line 2 column response-time must be a number, got '13.9ms'"),
        ("0.0139,", "-0.0139,", "line 2 has a duration below 0"),
        (",200,0.0004", ",OK,0.0004", "line 2 column status-code must be a number, got 'OK'"),
        (",0.2497", "", "line 13 has 7 cells for 8 columns; was the file cut off?"),
        (",0.2497", ",1e60", "line 13 column offset is too large for a time"),
    ]
]
REFUSED += [(TEXT.partition("\n")[0] + "\n", "there are no requests")]


def test_status_400_is_a_failure_and_399_is_none() -> None:
    head = "response-time,DNS+dialup,status-code,offset\n"
    (run,) = load_test(head + "0.1,0,399,0\n0.1,0,400,1\n").runs
    assert (run.succeeded, run.failed) == (1, 1)
    assert "has no column offset" in refusal("response-time,DNS+dialup,status-code\n")


def test_long_times_are_exact() -> None:
    rows = "1000,0,0,0,0,0,200,0\n2000,0,0,0,0,0,200,500\n"
    (run,) = load_test(TEXT.splitlines()[0] + "\n" + rows).runs
    assert run.samples.sent_s.tolist() == [0.0, 500.0]
    assert run.samples.response_s.tolist() == [1000.0, 2000.0]
