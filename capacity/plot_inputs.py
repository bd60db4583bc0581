"""What may be drawn: numbers of one length, finite, in a full grid; the rest is refused."""

import math
from collections.abc import Sequence, Sized

from capacity.errors import InputError


def floats(values: Sequence[float], what: str) -> list[float]:
    """Plain floats of any sequence of numbers, numpy's included."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a sequence of numbers") from None
    if not found:
        raise InputError(f"{what} must have at least one value, got none")
    return found


def finite(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points whose y is finite."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
    return [a for a, _ in points], [b for _, b in points]


def require_same_length(one: Sized, other: Sized) -> None:
    """Refuse two sequences of which one is longer."""
    if len(one) != len(other):
        raise InputError(f"lengths differ: {len(one)} and {len(other)}; give one value for each")


def require_finite(values: Sequence[float]) -> None:
    """Refuse what has no place on an axis."""
    wrong = next((value for value in values if not math.isfinite(value)), None)
    if wrong is not None:
        raise InputError(f"cannot draw {wrong}: values, points and ends of intervals must be finite")


def grid(
    cells: Sequence[Sequence[float]], columns: Sequence[object], rows: Sequence[object], what: str
) -> list[list[float]]:
    """Rows of floats, as many as there are names for."""
    found = [[float(cell) for cell in row] for row in cells]
    if not found or len(found) != len(rows) or any(len(row) != len(columns) for row in found):
        raise InputError(f"{what} must be {len(rows)} rows of {len(columns)} cells, one for each name")
    return found
