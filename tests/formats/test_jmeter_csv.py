"""CSV results of JMeter, written here by the columns of its manual; nothing is a file of JMeter's own."""

import pytest
from reading import load_test, refusal, workload

from capacity.formats.registry import Kind

HEADER = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,"
    "sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect"
)
ROWS = [
    '1700000000500,40,buy,200,OK,Users 1-1,text,true,,10,120,2,2,http://host/buy,39,0,1',
    '1700000000000,120,buy,200,OK,Users 1-2,text,true,,10,120,2,2,http://host/buy,118,0,3',
    '1700000001000,5,pay,503,"Sorry, busy",Users 1-1,text,false,"expected 2xx,\ngot 503",0,120,2,3,http://host/pay,5,0,0',
    '1700000000000,620,all,200,"Number of samples in transaction : 2, number of failing samples : 0",Users 1-1,,true,'
    ",20,240,2,2,null,0,455,4",
]  # fmt: skip
TEXT = "\n".join([HEADER, *ROWS]) + "\n"
WITHOUT_HEADER = "\n".join(ROWS) + "\n"
EXAMPLES = {
    "header": TEXT,
    "without_header": WITHOUT_HEADER,
    "few columns": "success,elapsed,timeStamp\ntrue,10,2026/01/31 12:00:00.250\nfalse,20,2026/01/31 12:00:00.000\n",
}


def test_stamps_that_can_only_be_ends_are_ends() -> None:
    """A thread has one sample at a time: of 300 ms from 0.0 s, and of 100 ms from 0.3 and from 0.4 s."""
    header = "timeStamp,elapsed,success,threadName\n"
    starts = "1700000000000,300,true,a\n1700000000300,100,true,a\n1700000000400,100,true,a\n"
    ends = "1700000000300,300,true,a\n1700000000400,100,true,a\n1700000000500,100,true,a\n"
    assert workload(header + starts).instants_s == pytest.approx((0.0, 0.3, 0.4))
    found = workload(header + ends)
    assert found.instants_s == pytest.approx((0.0, 0.3, 0.4))
    assert found.remarks[0].startswith("time stamps are taken as ends")


@pytest.mark.parametrize(
    ("thread", "elapsed", "starts_s"), [("a", 102, 0.1), ("a", 103, 0.092), ("", 103, 0.1)]
)
def test_whole_milliseconds_may_overlap_by_two(thread: str, elapsed: int, starts_s: float) -> None:
    """Starts 100 ms apart with a sample of 102 ms between; of 103 ms the stamps must be ends, of 5 and 10 ms less."""
    rows = f"1700000000000,{elapsed},true,{thread}\n1700000000100,5,true,{thread}\n"
    found = workload(f"timeStamp,elapsed,success,threadName\n{rows}")
    gap_s = abs(found.instants_s[1] - found.instants_s[0])
    assert gap_s == pytest.approx(0.1 if starts_s == 0.1 else 0.1 + (elapsed - 5) / 1e3)


REFUSED = [
    (TEXT.replace(old, new, 1), said)
    for old, new, said in [
        (",true,", ",maybe,", "line 2 column success must be true or false, got 'maybe'"),
        (",40,", ",4.5,", "line 2 column elapsed must be a whole number"),
        (",40,", ",-40,", "line 2 has a duration below 0"),
        ("1700000000500", "1700000", "line 2 column timeStamp must be milliseconds since 1970"),
        ("1700000000500", "2026-31-01 00:00:00", "line 2 column timeStamp: "),
        (",10,120,2,2,", ",10,120,", "line 2 has 15 cells for 17 columns"),
        ("elapsed,", "elapsed,elapsed,", "two columns 'elapsed'"),
        ('"Sorry', '"Sorry"x', "not valid CSV"),
    ]
]
REFUSED += [(HEADER + "\n", "there are no requests"), (HEADER + "\n", "no arrivals", Kind.WORKLOAD)]


@pytest.mark.parametrize(("text", "succeeded"), [("true", 1), ("TRUE", 1), ("false", 0), ("False", 0)])
def test_success_is_true_in_any_case_and_may_take_no_time(text: str, succeeded: int) -> None:
    (run,) = load_test(f"timeStamp,elapsed,success\n1700000000000,0,{text}\n").runs
    assert (run.succeeded, run.failed) == (succeeded, 1 - succeeded)


@pytest.mark.parametrize(("old", "new"), [(",40,", ",x,"), (",true,,", ",yes,,")])
def test_a_first_row_that_is_no_sample_is_of_another_tool(old: str, new: str) -> None:
    assert "of none of the" in refusal(WITHOUT_HEADER.replace(old, new, 1))


def test_the_number_of_samples_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"170000000000{at},5,true\n" for at in range(3))
    monkeypatch.setattr("capacity.formats.request_log.ROWS_MAX", 3)
    assert load_test(f"timeStamp,elapsed,success\n{rows}").runs[0].succeeded == 3
    said = refusal(f"timeStamp,elapsed,success\n{rows}1700000000009,5,true\n")
    assert said.endswith("there are more than 3 requests; keep fewer")
