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
