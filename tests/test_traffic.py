"""Arrival processes as typed, and traces from files; every bad one with its file, line and mend."""

import pytest

from capacity.errors import InputError
from capacity.traffic import parse_arrivals, read_trace, workload
from capacity.workload import DeterministicArrivals, GammaArrivals, PoissonArrivals, TraceArrivals


def test_names():
    assert parse_arrivals("poisson") == PoissonArrivals()
    assert parse_arrivals("deterministic") == DeterministicArrivals()
    assert parse_arrivals("gamma:cv=0.5") == GammaArrivals(cv=0.5)


@pytest.mark.parametrize(
    "text", ["", "Poisson", "gamma", "gamma:cv=", "gamma:cv=1.2.3", "gamma:cv=0", "uniform"]
)
def test_unknown_arrivals_are_refused(text):
    with pytest.raises(InputError):
        parse_arrivals(text)


@pytest.mark.parametrize(
    "text",
    ["0\n1.5\n3\n", "t_s\n0\n1.5\n3\n", "t_s,tokens\r\n0,7\r\n1.5,8\r\n\r\n3,9\r\n", "\ufefft_s\n0\n1.5\n3"],
    ids=["plain", "headed", "columns, CRLF, blank line", "byte-order mark"],
)
def test_traces(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    trace = read_trace(path)
    assert trace.instants_s == (0.0, 1.5, 3.0)
    assert workload(trace, None).arrival_rate_rps == pytest.approx(2.0 / 3.0)
    assert workload(trace, 10.0).arrival_rate_rps == 10.0


def test_equal_instants_are_kept(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("0\n1\n1\n2\n", encoding="utf-8")
    assert read_trace(path).instants_s == (0.0, 1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv has 0 arrivals; a rate needs at least 2"),
        ("5\n", "t.csv has 1 arrivals"),
        ("1\n1\n", "has no duration"),
        ("0\n2\n1\n", "t.csv line 3: 1 s is before 2 s; sort by time"),
        ("0\nnan\n", "t.csv line 2: 'nan' is not a finite number"),
        ("0\nx\n", "t.csv line 2: 'x' is not a finite number"),
        ("when\n0\n1\n", "t.csv line 1: no column t_s"),
        ("a,b\n0,1\n", "t.csv line 1: no column t_s"),
        ("a,t_s\n0,1\n3\n", "t.csv line 3: no instant in column 2"),
    ],
)
def test_bad_traces(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="t.csv") as caught:
        read_trace(path)
    assert message in str(caught.value)


def test_a_rate_is_needed_without_a_trace():
    with pytest.raises(InputError, match="no arrival rate"):
        workload(PoissonArrivals(), None)


def test_a_trace_is_not_a_plan_for_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read gone.csv"):
        parse_arrivals(f"trace:{tmp_path / 'gone.csv'}")


def test_trace_is_sorted_by_birth():
    with pytest.raises(InputError, match="not sorted"):
        TraceArrivals(instants_s=(0.0, 2.0, 1.0))
