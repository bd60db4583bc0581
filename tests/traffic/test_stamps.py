"""Instants as they are written, at the ends of days, times and zones."""

from decimal import Decimal

import pytest

from capacity.errors import InputError
from capacity.traffic.trace import is_stamp, parse_stamp


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
        ("x" * 41, f"'{'x' * 40}' is not a finite number"),
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
