"""Domain: what a law accepts, refused with the name, the rule and the value."""

import math
import sys

from capacity.errors import DomainError

QUANTILES = (0.5, 0.9, 0.95, 0.99)  # reported unless others are asked for


def require_positive(name: str, value: float) -> None:
    """Refuse what is not a positive, finite number."""
    if isinstance(value, bool) or not 0.0 < value <= sys.float_info.max:  # NaN fails too
        raise DomainError(f"{name} must be > 0 and finite, got {value!r}")


def require_not_negative(name: str, value: float) -> None:
    """Refuse what is not a finite number from 0."""
    if isinstance(value, bool) or not 0.0 <= value <= sys.float_info.max:
        raise DomainError(f"{name} must be >= 0 and finite, got {value!r}")


def require_quantile(value: float) -> None:
    """Refuse what is not a fraction strictly between 0 and 1."""
    if isinstance(value, bool) or not 0.0 < value < 1.0:
        raise DomainError(f"quantile must be in (0, 1), got {value!r}; P99 is 0.99")


def require_count(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Refuse what is not an integer from `least`, or is above `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DomainError(f"{name} must be an integer >= {least}, got {value!r}")
    if most is not None and value > most:
        raise DomainError(f"{name} must be <= {most}, got {value!r}")


def before_zero(time_s: float) -> bool:
    """Whether a time lies before 0; NaN is refused."""
    if math.isnan(time_s):
        raise DomainError(f"time_s must be a number, got {time_s!r}")
    return time_s < 0.0
