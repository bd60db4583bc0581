"""A day's rates: exact values, laws of steps, and every file that cannot be a day."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.traffic.daily import DailyCurve, clock, read_daily_curve, read_span


def curve_of(tmp_path, text: str) -> DailyCurve:
    path = tmp_path / "day.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_daily_curve(path)


@pytest.mark.parametrize(
    "text",
    [
        "time,rate_rps\n06:30,30\n18:00:00,10\n",
        "time,rate_per_min\r\n6:30,1800\r\n18:00,600\r\n",
        "\ufeffRate,who,Time\n30rps,a,06:30\n600/min,b,18:00\n",
        'time,rate\n"06:30","30 rps"\n\n18:00,36000/h\n',
    ],
    ids=["rps", "per minute, CRLF", "units, order, BOM", "quotes, blank line"],
)
def test_a_day(tmp_path, text):
    curve = curve_of(tmp_path, text)
    assert curve.times_s == (6.5 * 3600, 18 * 3600)
    assert curve.rates_rps == pytest.approx((30.0, 10.0))
    assert curve.name == "day.csv"
    assert curve.peak_rate_rps == pytest.approx(30.0)
    assert curve.requests_per_day == pytest.approx(3600 * (30 * 11.5 + 10 * 12.5))
    assert curve.mean_rate_rps == pytest.approx((30 * 11.5 + 10 * 12.5) / 24)
    assert [curve.rate_rps(h * 3600.0) for h in (0, 6.499, 6.5, 17.99, 18, 24, 31)] == pytest.approx(
        [10, 10, 30, 30, 10, 10, 30]
    )
    assert curve.hourly_rates_rps == pytest.approx((10,) * 6 + (30,) * 12 + (10,) * 6)


def test_an_hour_needs_its_highest_rate():
    """A peak of one second counts for its hour alone, at the ends of the day too."""
    curve = DailyCurve(times_s=(3600.0, 7199.0, 7200.0, 86_399.0), rates_rps=(1.0, 9.0, 2.0, 7.0))
    assert curve.hourly_rates_rps == (7.0, 9.0, *(2.0,) * 21, 7.0)


def test_one_row_is_a_constant_rate(tmp_path):
    curve = curve_of(tmp_path, "time,rate_rps\n09:15,4\n")
    assert curve.hourly_rates_rps == (4.0,) * 24
    assert curve.requests_per_day == 4.0 * 86_400
    assert curve.rate_rps(0.0) == curve.rate_rps(-1e-20) == curve.rate_rps(1e9) == 4.0


@given(
    st.dictionaries(st.integers(0, 86_399), st.floats(0.0, 1e6), min_size=1, max_size=30).filter(
        lambda day: any(day.values())
    )
)
@settings(derandomize=True, deadline=None, max_examples=30)
def test_the_day_is_what_its_seconds_sum_to(day):
    curve = DailyCurve(times_s=tuple(map(float, sorted(day))), rates_rps=tuple(day[t] for t in sorted(day)))
    seconds = [curve.rate_rps(float(second)) for second in range(0, 86_400, 1)] if len(day) < 4 else None
    if seconds is not None:
        assert curve.requests_per_day == pytest.approx(math.fsum(seconds))
        assert curve.hourly_rates_rps == tuple(max(seconds[3600 * h : 3600 * h + 3600]) for h in range(24))
    assert math.fsum(to - since for since, to, _ in curve.steps()) == 86_400
    assert curve.peak_rate_rps == max(curve.hourly_rates_rps)
    assert curve.mean_rate_rps <= curve.peak_rate_rps * (1 + 1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "day.csv is empty; write a line time,rate_rps"),
        ("time,rate_rps\n", "day.csv has a header and no rows"),
        ("when,rate_rps\n00:00,1\n", "line 1: the columns 'when,rate_rps' must hold time once"),
        ("time,time,rate_rps\n00:00,1,1\n", "must hold time once"),
        ("time,qps\n00:00,1\n", "must hold one of rate_rps, rate_per_min, rate; use time,rate_rps"),
        ("time,rate_rps,rate\n00:00,1,1rps\n", "must hold one of"),
        ("00:00,5\n01:00,6\n", "must hold time once"),
        ("time,rate_rps\n00:00,1\n08:00,2\n08:00:00,3\n", "day.csv line 4: 08:00 is there twice; keep one"),
        ("time,rate_rps\n08:00,1\n07:59:30,2\n", "day.csv line 3: 07:59:30 goes back; sort by time"),
        ("time,rate_rps\n24:00,1\n", "day.csv line 2: '24:00' is not a time of day"),
        ("time,rate_rps\n8,1\n", "'8' is not a time of day"),
        ("time,rate_rps\n08:60,1\n", "is not a time of day"),
        ("time,rate_rps\n08:00:60,1\n", "is not a time of day"),
        ("time,rate_rps\n08:00,-1\n", "day.csv line 2: the rate '-1' is not a number >= 0"),
        ("time,rate_rps\n08:00,nan\n", "the rate 'nan' is not a number >= 0"),
        ("time,rate_rps\n08:00,1e999\n", "the rate '1e999' is not a number >= 0"),
        ("time,rate_rps\n08:00,5rps\n", "the rate '5rps' is not a number >= 0"),
        ("time,rate_rps\n08:00,\n", "the rate '' is not a number"),
        ("time,rate\n08:00,5\n", "day.csv line 2: rate '5' has no unit; write 5rps"),
        ("time,rate\n08:00,-5rps\n", "must not be negative"),
        ("time,rate_rps\n08:00\n", "day.csv line 2: 1 cells, fewer than the header names"),
        ("time,rate_rps\n00:00,0\n08:00,0\n", "day.csv has no arrivals all day; give a rate above 0"),
        ("time,rate\n00:00,0rps\n", "day.csv has no arrivals all day"),
        ('time,rate\n"00:00,0rps\n', "not valid CSV"),
    ],
)
def test_files_that_are_no_day(tmp_path, text, message):
    with pytest.raises(InputError, match="day.csv") as caught:
        curve_of(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("times_s", "rates_rps", "message"),
    [
        ((), (), "as many times as rates, one at least, got 0 and 0"),
        ((0.0, 1.0), (1.0,), "got 2 and 1"),
        ((86_400.0,), (1.0,), "within [0, 86400) s, got 86400"),
        ((-1.0,), (1.0,), "got -1"),
        ((math.nan,), (1.0,), "got nan"),
        ((60.0, 60.0), (1.0, 2.0), "times must rise, got 00:01 after 00:01"),
        ((0.0,), (math.inf,), "the rate at 00:00 must be >= 0 and finite, got inf"),
        ((0.0,), (-1.0,), "got -1"),
        ((0.0, 3600.0), (0.0, 0.0), "has no arrivals all day"),
    ],
)
def test_no_day_is_born_wrong(times_s, rates_rps, message):
    with pytest.raises(DomainError) as caught:
        DailyCurve(times_s=times_s, rates_rps=rates_rps)
    assert message in str(caught.value)


def test_a_missing_file_is_no_day(tmp_path):
    with pytest.raises(InputError, match="cannot read gone.csv"):
        read_daily_curve(tmp_path / "gone.csv")


def test_clock():
    assert [clock(t) for t in (0.0, 86_399.0, 3660.0)] == ["00:00", "23:59:59", "01:01"]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("00:00-00:01", (0.0, 60.0)),
        (" 07:30 - 11:30:30 ", (27_000.0, 41_430.0)),
        ("23:59-24:00", (86_340.0, 86_400.0)),
        ("23:59:58-23:59:59", (86_398.0, 86_399.0)),
    ],
)
def test_a_part_of_a_day(text, span):
    assert read_span(text) == span


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("07:00", "--between '07:00' is no part of a day"),
        ("07:00-07:00", "'07:00-07:00' ends before it begins"),
        ("24:00-24:00", "'24:00' is not a time of day"),
        ("07:60-08:00", "'07:60' is not a time of day"),
        ("07:00:60-08:00", "'07:00:60' is not a time of day"),
        ("x" * 61, f"'{'x' * 60}' is no part of a day"),
    ],
)
def test_what_is_no_part_of_a_day_is_refused(text, said):
    with pytest.raises(InputError) as refused:
        read_span(text)
    assert said in str(refused.value)


def test_a_rate_has_forty_digits_at_most_and_may_be_0(tmp_path):
    longest = "1." + "0" * 38
    curve = curve_of(tmp_path, f"time,rate_rps\n00:00,0\n12:00,{longest}\n")
    assert curve.rates_rps == (0.0, 1.0)
    assert curve.hourly_rates_rps == (0.0,) * 12 + (1.0,) * 12
    with pytest.raises(InputError, match="is not a number >= 0"):
        curve_of(tmp_path, f"time,rate_rps\n00:00,{longest}0\n")
