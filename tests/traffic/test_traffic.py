"""Arrival processes as typed, and traces from files; every bad one with its file, line and mend."""

import datetime
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity import files as reading
from capacity.answer.documents import arrivals_name
from capacity.errors import DomainError, InputError
from capacity.traffic import trace as trace_csv
from capacity.traffic.parse import parse_arrivals, workload
from capacity.traffic.trace import read_trace
from capacity.traffic.workload import (
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

BURSTY = MmppArrivals(ratio=5.0, burst_mean_s=10.0, calm_mean_s=60.0)


def trace_of(tmp_path, text: str) -> TraceArrivals:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_trace(path)


def test_names():
    assert parse_arrivals("poisson") == PoissonArrivals()
    assert parse_arrivals("deterministic") == DeterministicArrivals()
    for cv in (0.01, 0.5, 20.0):
        assert parse_arrivals(f"gamma:cv={cv}") == GammaArrivals(cv=cv)
    for cv in (0.009, 20.01):
        with pytest.raises(InputError, match=rf"cv of gamma arrivals must be from 0\.01 to 20, got {cv}"):
            parse_arrivals(f"gamma:cv={cv}")


@pytest.mark.parametrize(
    "text", ["mmpp:ratio=5,burst=10s,calm=60s", "mmpp: calm=1min, ratio=5.0, burst=10000ms"]
)
def test_bursts_are_typed_with_units_in_any_order(text):
    assert parse_arrivals(text) == BURSTY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mmpp", "unknown arrivals"),
        ("mmpp:", "mmpp takes ratio, burst and calm, once each"),
        ("mmpp:ratio=5", "once each"),
        ("mmpp:ratio=5,burst=10s", "once each"),
        ("mmpp:ratio=5,burst=10s,calm=60s,calm=70s", "once each"),
        ("mmpp:ratio=5,burst=10s,quiet=60s", "once each"),
        ("mmpp:ratio=5,burst=10,calm=60s", "burst of mmpp '10' has no unit"),
        ("mmpp:ratio=5,burst=10s,calm=0s", "calm of mmpp must last 1e-09 to 1e+09 s on average, got 0 s"),
        ("mmpp:ratio=5,burst=-1s,calm=6s", "burst of mmpp must not be negative"),
        ("mmpp:ratio=5,burst=inf,calm=6s", "burst of mmpp must be finite"),
        ("mmpp:ratio=1,burst=10s,calm=60s", "ratio of mmpp must be above 1 and at most 1e+06, got 1"),
        ("mmpp:ratio=1e7,burst=10s,calm=60s", "ratio of mmpp must be above 1"),
        ("mmpp:ratio=nan,burst=10s,calm=60s", "not a finite number"),
        ("mmpp:ratio=x,burst=10s,calm=60s", "not a finite number"),
    ],
)
def test_bursts_that_cannot_be_are_refused(text, message):
    with pytest.raises(InputError) as caught:
        parse_arrivals(text)
    assert message in str(caught.value)


@given(
    ratio=st.floats(1.001, 1e6),
    burst_s=st.floats(1e-6, 1e6),
    calm_s=st.floats(1e-6, 1e6),
    rate_rps=st.floats(1e-3, 1e6),
)
@settings(derandomize=True, deadline=None)
def test_rates_of_bursts_average_to_the_rate(ratio, burst_s, calm_s, rate_rps):
    arrivals = MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s)
    burst_rps, calm_rps = arrivals.rates_rps(rate_rps)
    mean_rps = (burst_rps * burst_s + calm_rps * calm_s) / (burst_s + calm_s)
    assert mean_rps == pytest.approx(rate_rps)
    assert burst_rps == pytest.approx(ratio * calm_rps)
    out, back = 1.0 / burst_s, 1.0 / calm_s  # the formula of the cookbook, as it is printed
    weighed = 2.0 * out * back * (burst_rps - calm_rps) ** 2
    expected = 1.0 + weighed / ((out + back) ** 2 * (burst_rps * back + calm_rps * out))
    assert arrivals.dispersion_index(rate_rps) == pytest.approx(expected, rel=1e-6)
    assert arrivals.dispersion_index(rate_rps, 1e12) == pytest.approx(expected, rel=1e-5)
    short = arrivals.dispersion_index(rate_rps, 1e-9 * min(burst_s, calm_s))
    assert 1.0 <= short <= 1.0 + 1e-6 * expected


def test_bursts_have_the_name_by_which_they_are_typed():
    name = arrivals_name(Workload(arrival_rate_rps=1.0, arrivals=BURSTY))
    assert name == "mmpp:ratio=5,burst=10s,calm=60s"
    assert parse_arrivals(name) == BURSTY


def test_bursts_between_which_hardly_anybody_comes_are_poisson_and_refused_as_such():
    flicker = MmppArrivals(ratio=5.0, burst_mean_s=1e-6, calm_mean_s=1e-6)
    with pytest.raises(
        DomainError, match=r"mmpp switches 1e\+06 times between two arrivals, above 1000; use"
    ):
        Workload(arrival_rate_rps=1.0, arrivals=flicker)
    assert Workload(arrival_rate_rps=1e4, arrivals=flicker).switches_per_arrival == pytest.approx(100.0)


@pytest.mark.parametrize(
    "text", ["", "Poisson", "gamma", "gamma:cv=", "gamma:cv=1.2.3", "gamma:cv=0", "uniform"]
)
def test_unknown_arrivals_are_refused(text):
    with pytest.raises(InputError):
        parse_arrivals(text)


@pytest.mark.parametrize("cv", [0.0, -0.5, 20.1, math.nan])
def test_gaps_that_no_gamma_law_has_are_refused_in_python_too(cv):
    with pytest.raises(DomainError, match="above 0 and at most 20"):
        GammaArrivals(cv=cv)
    assert GammaArrivals(cv=20.0).cv == 20.0


def test_a_rate_is_needed_without_a_trace():
    with pytest.raises(InputError, match="no arrival rate"):
        workload(PoissonArrivals(), None)


def test_a_trace_is_not_a_plan_for_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read gone.csv"):
        parse_arrivals(f"trace:{tmp_path / 'gone.csv'}")


def test_trace_is_sorted_by_birth():
    with pytest.raises(InputError, match="not sorted"):
        TraceArrivals(instants_s=(0.0, 2.0, 1.0))


@pytest.mark.parametrize(
    "text",
    [
        "0\n1.5\n3\n",
        "-1\n.5\n2e0\n",
        "t_s\n0\n1.5\n3\n",
        "t_s,tokens\r\n0,7\r\n1.5,8\r\n\r\n3,9\r\n",
        "t_s\r0\r1.5\r3\r",
        "\ufefft_s\n0\n1.5\n3",
        '"tokens","T_S"\n"7","0"\n"8"," 1.5 "\n"9","3"\n',
        "t_ms\n100\n1600\n3100\n",
        "t_us,x\n0,1\n1500000,1\n3e6,1\n",
        "t_ns\n1700000000000000000\n1700000001500000000\n1700000003000000000\n",
        "2023-11-16 18:15:46\n2023-11-16 18:15:47.5\n2023-11-16 18:15:49.0\n",
        "2023-11-16T23:59:59Z\n2023-11-17T00:00:00.500Z\n2023-11-17T01:00:02+01:00\n",
        "timestamp\n2023-11-16 18:15:46-0500\n2023-11-16 23:15:47.5 UTC\n2023-11-16T18:15:49-05:00\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-02-28 23:59:59.0000000,4808,10\n2024-02-29 00:00:00.5000000,3180,8\n2024-02-29 00:00:02,1,1\n",
    ],
    ids=["plain", "signs and exponents", "headed", "columns, CRLF, blank line", "CR", "byte-order mark", "quotes",
         "ms", "us", "ns", "dates", "zones", "offsets", "Azure"],
)  # fmt: skip
def test_traces(tmp_path, text):
    trace = trace_of(tmp_path, text)
    assert trace.instants_s == (0.0, 1.5, 3.0)
    assert [remark for remark in trace.remarks if "not used" not in remark] == []
    assert workload(trace, None).arrival_rate_rps == pytest.approx(2.0 / 3.0)
    assert workload(trace, 10.0).arrival_rate_rps == 10.0


@pytest.mark.parametrize(
    ("unit", "named", "per_s"),
    [("s", "seconds", 0), ("ms", "milliseconds", 3), ("us", "microseconds", 6), ("ns", "nanoseconds", 9)],
)
@pytest.mark.parametrize("header", ["", "Timestamp\n"])
def test_a_clock_since_1970_tells_its_unit_by_its_size(tmp_path, unit, named, per_s, header):
    first = 1_700_158_546 * 10**per_s
    stamps = [first, first + 2 * 10**per_s, first + 3 * 10**per_s]
    trace = trace_of(tmp_path, header + "\n".join(map(str, stamps)))
    assert trace.instants_s == (0.0, 2.0, 3.0)
    assert trace.remarks == (f"t.csv: timestamps near {float(first):.3g} are read as {named} since 1970",)


def test_nanoseconds_since_1970_are_not_lost(tmp_path):
    """A double of 1.7e18 has steps of 256."""
    trace = trace_of(tmp_path, "1700158546000000001\n1700158546000000002\n1700158546000000009\n")
    assert trace.instants_s == (0.0, 1e-9, 8e-9)
    dates = trace_of(tmp_path, "2023-11-16 18:15:46.000000001\n2023-11-16 18:15:46.000000002\n")
    assert dates.instants_s == (0.0, 1e-9)


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=30, unique=True), st.integers(0, 10**18))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_dates_and_counts_of_nanoseconds_agree(tmp_path_factory, gaps_ns, since):
    """The same instants, written as dates and as nanoseconds, whatever their order."""
    path = tmp_path_factory.mktemp("traces") / "t.csv"
    first = 10**18 + since
    stamps = [first + gap for gap in gaps_ns]
    path.write_text("\n".join(map(str, stamps)))
    counted = read_trace(path)
    days = [
        datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=ns // 10**9)
        for ns in stamps
    ]
    path.write_text(
        "\n".join(f"{d:%Y-%m-%d %H:%M:%S}.{ns % 10**9:09}Z" for d, ns in zip(days, stamps, strict=True))
    )
    dated = read_trace(path)
    assert dated.instants_s == counted.instants_s
    assert dated.instants_s == tuple((ns - min(stamps)) / 1e9 for ns in sorted(stamps))
    assert [r for r in counted.remarks if "1970" not in r] == list(dated.remarks)


def test_equal_instants_are_kept_and_told(tmp_path):
    trace = trace_of(tmp_path, "0\n1\n1\n1\n2\n")
    assert trace.instants_s == (0.0, 1.0, 1.0, 1.0, 2.0)
    assert trace.remarks == (
        "t.csv: 2 of 5 arrivals have the timestamp of the one before, and are treated as simultaneous",
    )


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("0\n2\n1\n3\n", "t.csv: 1 timestamp goes back in time, by at most 1 s; they were sorted"),
        ("t_ms\n3000\n2\n1000\n0\n2500\n", "t.csv: 2 timestamps go back in time, by at most 3 s; they were sorted"),
    ],
)  # fmt: skip
def test_disorder_is_sorted_and_told(tmp_path, text, remark):
    trace = trace_of(tmp_path, text)
    assert list(trace.instants_s) == sorted(trace.instants_s)
    assert trace.instants_s[0] == 0.0
    assert trace.remarks == (remark,)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("t_s,session_id", "column session_id is"),
        ("cached_tokens, t_s ,session_id", "columns cached_tokens and session_id are"),
        ("t_s,,a", "columns without a name and a are"),
        (
            ",".join(["t_s", *(f"c{number}" for number in range(1, 11))]),
            "columns c1, c2, c3, c4, c5, c6, c7 and others are",
        ),
    ],
)
def test_columns_that_are_not_used_are_told(tmp_path, header, told):
    rows = [",".join(str(number) for _ in header.split(",")) for number in (1, 2)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    assert read_trace(tmp_path / "t.csv").remarks == (f"t.csv: {told} not used",)


def test_remarks_do_not_make_another_trace():
    one, other = (TraceArrivals(instants_s=(0.0, 1.0), remarks=told) for told in ((), ("sorted",)))
    assert one == other
    assert repr(one) == repr(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv has no arrivals; a rate needs at least 2"),
        ("\n\n", "t.csv has no arrivals"),
        ("t_s\n", "t.csv has no arrivals"),
        ("5\n", "t.csv has 1 arrival"),
        ("2023-11-16 18:15:46\n", "t.csv has 1 arrival"),
        ("1\n1\n", "has no duration"),
        ("t_s\n0\n1e400\n", "lasts too long to compute with; is the unit right?"),
        ("0\nnan\n", "t.csv line 2: 'nan' is not a finite number"),
        ("nan\n0\n", "t.csv line 1: 'nan' is not a finite number"),
        ("0\n-inf\n", "t.csv line 2: '-inf' is not a finite number"),
        ("0\nx\n", "t.csv line 2: 'x' is not a finite number"),
        ("0\n1_000\n", "t.csv line 2: '1_000' is not"),
        ("0\n١\n", "t.csv line 2: '١' is not"),
        ("0\n" + 200 * "9" + "\n", "t.csv line 2: '9999"),
        ("0\n1,5\n", "t.csv line 2: no time in column 1 of 2"),
        ("when\n0\n1\n", "t.csv line 1: no column t_s, t_ms, t_us, t_ns or timestamp among 'when'"),
        ("a,b\n0,1\n", "t.csv line 1: no column t_s"),
        ("0,1\n1,2\n", "t.csv line 1: no column t_s"),
        ("t_s,timestamp\n0,1\n", "t.csv line 1: more than one column of times (t_s, timestamp)"),
        ("t_s,T_S\n0,1\n", "more than one column of times"),
        ("a,t_s\n0,1\n3\n", "t.csv line 3: no time in column 2"),
        ("t_s\n\n0\n  \n1\n-\n", "t.csv line 6: '-' is not"),
        ("2023-02-29 00:00:00\n2023-03-01 00:00:00\n", "t.csv line 1: 2023-02-29 00:00:00 is not a day"),
        ("2023-02-28 24:00:00\n2023-03-01 00:00:00\n", "is not a time of day"),
        ("2023-02-28 23:59:60\n2023-03-01 00:00:00\n", "is not a time of day"),
        ("2023-02-28 23:59:00+25:00\n2023-03-01 00:00:00+00:00\n", "is not an offset from UTC"),
        ("2023-02-28 23:59:00Z\n2023-03-01 00:00:00\n", "mixes times with a zone and times without"),
        ("2023-02-28 23:59:00Z\n0\n", "mixes numbers and dates"),
        ("t_ms\n2023-02-28 23:59:00Z\n2023-02-28 23:59:01Z\n", "has dates in column t_ms; name that column timestamp"),
        ("timestamp\n0\n27\n", "the unit of the timestamps from 0 to 27 is unclear; name their column t_s, t_ms"),
        ("0\n1700000000\n", "the unit of the timestamps from 0 to 1.7e+09 is unclear"),
        ("20000000000\n20000000001\n", "is unclear"),
        ("1700000000\n1700000000000\n", "is unclear"),
        ("t_s\n1700000000000\n1700000000001\n", "in column t_s look like ms since 1970; name it t_ms"),
        ("t_ms\n1700000000000000001\n1700000000000000002\n", "look like ns since 1970"),
        ('"0\n1\n', "t.csv line 2: not valid CSV"),
        ("0\n1\x00\n", "t.csv line 2: "),
        ("0\n\x1b[31m\n", "t.csv line 2: '?[31m' is not"),
        ("0\n" + 200_000 * "a" + "\n", "t.csv line 2: not valid CSV"),
    ],
)  # fmt: skip
def test_bad_traces(tmp_path, text, message):
    with pytest.raises(InputError, match="t.csv") as caught:
        trace_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_hostile_name_is_shown_safely(tmp_path):
    path = tmp_path / "\x1b[31mred.csv"
    path.write_text("0\nx\n")
    with pytest.raises(InputError, match=r"\?\[31mred.csv line 2") as caught:
        read_trace(path)
    assert str(caught.value).isprintable()


def test_more_rows_than_can_be_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "ROWS_MAX", 3)
    monkeypatch.setattr(trace_csv, "ROWS_MAX", 3)
    assert len(trace_of(tmp_path, "0\n1\n2\n3\n").instants_s) == 4  # a header would count too
    with pytest.raises(InputError, match=r"t.csv has more than 3 rows; cut it to 3 arrivals"):
        trace_of(tmp_path, "0\n1\n2\n3\n4\n")


def test_trace_arrivals_need_a_file():
    with pytest.raises(InputError, match="^'trace' needs a file, in the same word: trace:FILE$"):
        parse_arrivals("trace")
