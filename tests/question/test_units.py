"""Units: what a person types becomes seconds or requests per second, or an error with its mend."""

import math
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import InputError
from capacity.units import (
    SECONDS_PER_UNIT,
    format_duration,
    format_quantile,
    format_rate,
    parse_duration_s,
    parse_rate_rps,
)

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5ns", 5e-9),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        ("200ms", 0.2),
        ("0.1ms", 0.0001),
        ("1.5s", 1.5),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("0s", 0.0),
        ("+3s", 3.0),
        (".5s", 0.5),
        ("3.s", 3.0),
        ("1e-3s", 0.001),
        ("2E3ms", 2.0),
        ("  200 ms ", 0.2),
        ("1e12s", 1e12),
        ("1e-12s", 1e-12),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


def test_every_unit_is_covered_and_agrees_with_its_size() -> None:
    assert set(SECONDS_PER_UNIT) == {"ns", "us", "µs", "ms", "s", "min", "h", "d"}
    for unit, size_s in SECONDS_PER_UNIT.items():
        assert parse_duration_s(f"3{unit}") == float(3 * size_s)


def test_a_negative_zero_is_zero() -> None:
    assert math.copysign(1.0, parse_duration_s("-0s")) == 1.0


@pytest.mark.parametrize(
    ("text", "rps"),
    [
        ("500rps", 500.0),
        ("500/s", 500.0),
        ("500/sec", 500.0),
        ("30000/min", 500.0),
        ("1800000/h", 500.0),
        ("500qps", 500.0),
        ("500 req/s", 500.0),
        ("30k/min", 500.0),
        ("0.5krps", 500.0),
        ("1.8M/h", 500.0),
        ("500 requests/second", 500.0),
        ("0.5K/s", 500.0),
    ],
)
def test_rates(text: str, rps: float) -> None:
    assert parse_rate_rps(text) == rps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("200", "wait '200' has no unit; write 200ms or 200s"),
        (" 1e3 ", "wait '1e3' has no unit; write 1e3ms or 1e3s"),
        ("200rps", "wait has an unknown unit 'rps'; use one of ns, us, µs, ms, s, min, h, d"),
        ("200MS", "wait has an unknown unit 'MS'; use one of"),
        ("5\x1b[31m", r"wait has an unknown unit '\x1b[31m'; use one of"),
        ("nans", "wait must be finite, got 'nans'"),
        ("nan", "wait must be finite, got 'nan'"),
        ("infs", "wait must be finite, got 'infs'"),
        ("-infinity s", "wait must be finite, got '-infinity s'"),
        ("-1ms", "wait must not be negative, got '-1ms'"),
        ("1e308s", "wait '1e308s' is outside the supported range, 1e-15s to 1e+12s; check the number and its unit"),
        ("1e-16s", "wait '1e-16s' is outside"),
        ("1e400s", "wait '1e400s' is outside the supported range"),
        ("1e306h", "wait '1e306h' is outside the supported range"),
        ("1e9999999s", "wait '1e9999999s' is outside the supported range"),
        ("1e999999999999999999h", "is outside the supported range"),
        ("1e-400s", "wait '1e-400s' is outside the supported range"),
        ("1e-320ns", "wait '1e-320ns' is outside the supported range"),
        ("1e-9999999s", "wait '1e-9999999s' is outside the supported range"),
        ("1e99999999999999999999999s", "is not a number with a unit, such as 200ms"),
        ("", "wait '' is not a number with a unit, such as 200ms"),
        ("ms", "wait 'ms' is not a number with a unit, such as 200ms"),
        ("fast", "wait 'fast' is not a number with a unit, such as 200ms"),
        ("2 min 30 s", "wait '2 min 30 s' is not a number with a unit, such as 200ms"),
        ("1,5s", "wait has an unknown unit ',5s'; use one of"),
        ("0x10s", "wait has an unknown unit 'x10s'; use one of"),
    ],
)  # fmt: skip
def test_bad_durations(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration_s(text, "wait")
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("500", "rate '500' has no unit; write 500rps or 500/min"),
        ("500ms", "rate has an unknown unit 'ms'; use rps, qps, req/s, /min, /h, or thousands: krps, k/min"),
        ("0rps", "rate must be > 0, got '0rps'"),
        ("-0/h", "rate must be > 0, got '-0/h'"),
        ("-5rps", "rate must not be negative, got '-5rps'"),
        ("nan/s", "rate must be finite, got 'nan/s'"),
        ("inf rps", "rate must be finite, got 'inf rps'"),
        ("1e16rps", "rate '1e16rps' is outside the supported range, 1e-12rps to 1e+15rps; check"),
        ("5e-324rps", "rate '5e-324rps' is outside"),
        ("1e400rps", "rate '1e400rps' is outside the supported range"),
        ("1e9999999/h", "rate '1e9999999/h' is outside the supported range"),
        ("1e-322/h", "rate '1e-322/h' is outside the supported range"),
        ("1e-9999999rps", "rate '1e-9999999rps' is outside the supported range"),
        ("many", "rate 'many' is not a number with a unit, such as 500rps"),
    ],
)
def test_bad_rates(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_rate_rps(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 100_000 + "s", "1s" + " " * 100, "\x1b" * 10_000])
def test_very_long_text_is_refused_and_not_echoed(text: str) -> None:
    for parse in (parse_duration_s, parse_rate_rps):
        with pytest.raises(InputError, match="is not a number with a unit") as caught:
            parse(text)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


@laws_hold
@given(st.text(max_size=80))
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    for parse in (parse_duration_s, parse_rate_rps):
        with suppress(InputError):
            assert 0.0 <= parse(text) < math.inf


@laws_hold
@given(st.floats(1e-12, 1e12))
def test_what_is_printed_in_full_is_read_back_exactly(value: float) -> None:
    assert parse_duration_s(f"{value!r}s") == value
    assert parse_rate_rps(f"{value!r}rps") == value


@laws_hold
@given(st.integers(1, 10**7), st.sampled_from(sorted(SECONDS_PER_UNIT)))
def test_a_unit_is_an_exact_decimal_factor(count: int, unit: str) -> None:
    assert parse_duration_s(f"{count}{unit}") == float(Decimal(count) * SECONDS_PER_UNIT[unit])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.01837, "18.4 ms"),
        (0.2, "200 ms"),
        (0.9994, "999 ms"),
        (0.99951, "1 s"),
        (1.5, "1.5 s"),
        (75.0, "75 s"),
        (999.4, "999 s"),
        (999.6, "1000 s"),
        (1234.5, "1234 s"),
        (9.994e-4, "999 µs"),
        (9.9951e-4, "1 ms"),
        (2.5e-6, "2.5 µs"),
        (9.9951e-7, "1 µs"),
        (3e-9, "3 ns"),
        (-0.02, "-20 ms"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("rps", "text"),
    [(3200.0, "3200 rps"), (0.5, "0.5 rps"), (512.3, "512 rps"), (999.7, "1000 rps"), (12345.6, "12346 rps")],
)
def test_format_rate(rps: float, text: str) -> None:
    assert format_rate(rps) == text


@pytest.mark.parametrize(
    ("quantile", "text"),
    [
        (0.99, "P99"),
        (0.999, "P99.9"),
        (0.5, "P50"),
        (0.9, "P90"),
        (0.07, "P7"),
        (0.9999, "P99.99"),
        (0.1, "P10"),
    ],
)
def test_format_quantile(quantile: float, text: str) -> None:
    assert format_quantile(quantile) == text


@laws_hold
@given(st.floats(1e-9, 1e6))
def test_what_is_printed_for_people_reads_back_to_three_digits(value: float) -> None:
    assert parse_duration_s(format_duration(value)) == pytest.approx(value, rel=6e-3)
    assert parse_rate_rps(format_rate(value)) == pytest.approx(value, rel=6e-3)


@laws_hold
@given(st.floats(1e-9, 1e6))
def test_no_printed_duration_needs_an_exponent_or_a_fourth_digit(value: float) -> None:
    number, unit = format_duration(value).split(" ")
    assert "e" not in number
    assert unit in SECONDS_PER_UNIT
    assert value >= 999.5 or len(number.replace(".", "").lstrip("0")) <= 3 or number == "1000"


def test_what_is_huge_is_told_by_its_exponent() -> None:
    assert format_rate(1e308) == "1e+308 rps"
    assert format_duration(2e20) == "2e+20 s"
    assert format_rate(12345678.0) == "12345678 rps"
