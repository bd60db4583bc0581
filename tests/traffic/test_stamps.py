"""Instants as they are written, at the ends of days, times and zones."""

from decimal import Decimal

import pytest

from capacity.errors import InputError
from capacity.traffic.trace import Stamp, is_stamp, parse_stamp, unit_and_instants, unit_of


@pytest.mark.parametrize(
    ("text", "value", "zone"),
    [
        ("12.50", "12.50", None),
        ("1970-01-01 00:00:00", "0", False),
        ("1970-01-02T23:59:59.25Z", "172799.25", True),
        ("1970-01-01 01:00:00+01:00", "0", True),
        ("1970-01-01 00:00:00-23:59", "86340", True),
        ("1970-01-02 00:30:00+00:45", "85500", True),
        ("2024-02-29 00:00:00Z", "1709164800", True),
    ],
)
def test_an_instant_is_exact(text: str, value: str, zone: bool | None) -> None:
    found = parse_stamp(text, "line 2")
    assert (found.value, found.zone) == (Decimal(value), zone)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1970-01-01 24:00:00", "not a time of day"),
        ("1970-01-01 23:60:00", "not a time of day"),
        ("1970-01-01 23:59:60", "not a time of day"),
        ("2023-02-29 00:00:00", "not a day of the calendar"),
        ("1970-01-01 00:00:00+24:00", r"\+24:00 is not an offset from UTC"),
        ("1970-01-01 00:00:00-00:60", "-00:60 is not an offset from UTC"),
        ("x" * 61, f"'{'x' * 60}' is not a finite number"),
    ],
)
def test_what_is_no_instant_is_refused_by_its_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^line 2: .*{said}"):
        parse_stamp(text, "line 2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(text, True) for text in ("0", "-1", ".5", "+.5", "nan", "-INF", "2024-13-01")],
        *[(text, False) for text in ("t_s", "", "-", "time", "-x", "infinite")],
    ],
)
def test_a_cell_looks_like_an_instant_or_a_name(text: str, expected: bool) -> None:
    assert is_stamp(text) is expected


def numbers(*values: str) -> list[Stamp]:
    return [Stamp(value=Decimal(value)) for value in values]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (("1000000000", "9999999999"), "s"),
        (("1000000000000", "9999999999999"), "ms"),
        (("1000000000000000", "9999999999999999"), "us"),
        (("1000000000000000000", "9999999999999999999"), "ns"),
    ],
)
def test_a_clock_since_1970_has_ten_digits_of_seconds(values: tuple[str, str], unit: str) -> None:
    found, remarks = unit_of(numbers(*values), None, "f", guess=False)
    assert found == unit
    assert len(remarks) == 1


@pytest.mark.parametrize(
    "values", [("999999999", "1000000000"), ("999999999",), ("10000000000",), ("0", "1")]
)
def test_other_numbers_have_a_unit_by_their_column_alone(values: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="f: the unit of the timestamps from .* is unclear"):
        unit_of(numbers(*values), None, "f", guess=False)
    with pytest.raises(InputError, match="f: the unit of the timestamps from .* is unclear"):
        unit_and_instants(numbers(*values), None, "f")
    assert unit_of(numbers(*values), "us", "f", guess=False) == ("us", [])


def test_bare_numbers_below_a_clock_are_seconds() -> None:
    assert unit_of(numbers("0", "999999999"), None, "f", guess=True) == ("s", [])
    with pytest.raises(InputError, match="is unclear"):
        unit_of(numbers("0", "1000000000"), None, "f", guess=True)


def test_rows_are_ordered_by_their_instants() -> None:
    """The second is 2 ms before the first, and the last two are at once."""
    order, instants_s, remarks = unit_and_instants(numbers("5", "3", "9", "9"), "ms", "f")
    assert (order, instants_s) == ([1, 0, 2, 3], (0.0, 0.002, 0.006, 0.006))
    assert remarks == (
        "f: 1 timestamp goes back in time, by at most 2 ms; they were sorted",
        "f: 1 of 4 arrivals have the timestamp of the one before, and are treated as simultaneous",
    )
