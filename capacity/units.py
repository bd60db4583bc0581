"""Units: seconds and requests per second inside; other units only where a person types or reads."""

import math
import re
import sys
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation

from capacity.errors import DomainError, InputError


def quantile_name(quantile: float) -> str:
    """Name of a quantile as `p99` or `p99_9`: the point stays, as P12.5 is not P1.25."""
    return format_quantile(quantile).lower().replace(".", "_")


SECONDS_PER_UNIT: dict[str, Decimal] = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
# `rps`, `qps`, `/s`, `req/s`, `/min`; thousands and millions of them: `krps`, `k/min`, `M/h`.
_RATE_UNIT = re.compile(
    r"([kKM]?)(?:rps|qps|(?:req|reqs|requests|queries)?/(ns|us|µs|ms|s|sec|second|min|minute|h|hour))"
)
_PERIODS = {"sec": "s", "second": "s", "minute": "min", "hour": "h"}
_MULTIPLES = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
_QUANTITY = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?))\s*(\S*)\s*", re.I | re.ASCII
)
# From less than any clock resolves to 30,000 years; beyond, laws overflow and runs never end.
DURATION_MIN_S, DURATION_MAX_S = 1e-15, 1e12
RATE_MIN_RPS, RATE_MAX_RPS = 1e-12, 1e15
NUMBER_MIN, NUMBER_MAX = 1e-12, 1e12  # of a number without a unit, 0 apart
SCV_MIN, SCV_MAX = 1e-4, 1e4  # of a law that is not constant: coefficients of variation from 0.01 to 100
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.I | re.ASCII)
_WORDY = 1e12  # from here on a number is shown with its exponent
_LENGTH_MAX = 64  # longer than any quantity that is typed
# Wide enough to tell values too small for a float from 0, without trapping.
_WIDE = Context(prec=100, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


def parse_duration_s(text: str, name: str = "duration") -> float:
    """Seconds from text such as `200ms`, `1.5s` or `5min`.

    Raises:
        InputError: no unit, an unknown unit, or a number that is negative or not finite.

    >>> parse_duration_s("200ms"), parse_duration_s("5min")
    (0.2, 300.0)
    """
    number, unit = _split(text, name, mend="200ms")
    if unit == "":
        raise InputError(f"{name} {text.strip()!r} has no unit; write {text.strip()}ms or {text.strip()}s")
    if unit not in SECONDS_PER_UNIT:
        raise InputError(f"{name} has an unknown unit {unit!r}; use one of {', '.join(SECONDS_PER_UNIT)}")
    return _checked(in_seconds(number, unit), text, name, (DURATION_MIN_S, DURATION_MAX_S), "s")


def parse_rate_rps(text: str, name: str = "rate", *, allow_zero: bool = False) -> float:
    """Requests per second from text such as `500rps`, `500qps`, `500 req/s` or `30k/min`.

    Raises:
        InputError: no unit, an unknown unit, or a number that is not positive and finite.

    >>> parse_rate_rps("30000/min"), parse_rate_rps("30k/min"), parse_rate_rps("0.5krps")
    (500.0, 500.0, 500.0)
    """
    number, unit = _split(text, name, mend="500rps")
    if unit == "":
        raise InputError(
            f"{name} {text.strip()!r} has no unit; write {text.strip()}rps or {text.strip()}/min"
        )
    match = _RATE_UNIT.fullmatch(unit)
    if match is None:
        raise InputError(
            f"{name} has an unknown unit {unit!r}; use rps, qps, req/s, /min, /h, or thousands: krps, k/min"
        )
    period = _PERIODS.get(match[2], match[2] or "s")
    rate = _WIDE.divide(_WIDE.multiply(number, _MULTIPLES[match[1]]), SECONDS_PER_UNIT[period])
    rate_rps = _checked(rate, text, name, (RATE_MIN_RPS, RATE_MAX_RPS), "rps")
    if rate_rps == 0.0 and not allow_zero:
        raise InputError(f"{name} must be > 0, got {text.strip()!r}")
    return rate_rps


def is_number(text: str) -> bool:
    """Whether text is a finite number in plain digits; `1_000`, `０.５`, `nan` and `inf` are none.

    >>> is_number("2.5"), is_number("1_000"), is_number("1e999")
    (True, False, False)
    """
    if len(text) > _LENGTH_MAX or _NUMBER.fullmatch(text) is None:
        return False
    value = float(text)
    return not math.isinf(value) and (value != 0.0 or Decimal(text) == 0)


def in_seconds(number: Decimal, unit: str) -> Decimal:
    """A number of units as seconds, whatever its exponent. [s]"""
    return _WIDE.multiply(number, SECONDS_PER_UNIT[unit])


def _split(text: str, name: str, mend: str) -> tuple[Decimal, str]:
    """Number and unit; decimal, so that `0.1ms` is the double nearest to 0.0001."""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None or "_" in text:
        plain = text.strip().replace("_", "")
        mend = plain if match is not None and _QUANTITY.fullmatch(plain) else mend
        raise InputError(f"{name} {text[:_LENGTH_MAX]!r} is not a number with a unit, such as {mend}")
    try:
        number = Decimal(match[1])
    except InvalidOperation:
        raise InputError(f"{name} {text!r} is not a number with a unit, such as {mend}") from None
    if not number.is_finite():
        raise InputError(f"{name} must be finite, got {text.strip()!r}")
    return number, match[2].replace("μ", "µ")  # the Greek letter for the micro sign


def _checked(value: Decimal, text: str, name: str, limits: tuple[float, float], unit: str) -> float:
    if value < 0:
        raise InputError(f"{name} must not be negative, got {text.strip()!r}")
    result, (least, most) = float(value), limits
    if value != 0 and not least <= result <= most:
        raise InputError(
            f"{name} {text.strip()!r} is outside the supported range, {least:g}{unit} to {most:g}{unit};"
            " check the number and its unit"
        )
    return abs(result)  # no -0.0


def format_count(number: float) -> str:
    """A number of things to two digits.

    >>> format_count(1234.5)
    '1200'
    """
    return f"{float(f'{max(1.0, number):.2g}'):.0f}"


def format_duration(seconds: float) -> str:
    """A duration in words, three significant digits in a fitting unit.

    >>> format_duration(0.01837), format_duration(75.0), format_duration(0.0)
    ('18.4 ms', '75 s', '0 s')
    """
    magnitude = abs(seconds)
    if magnitude == 0.0 or magnitude >= 0.9995:
        return f"{three_digits(seconds)} s"
    for unit, scale in (("ms", 1e3), ("µs", 1e6)):
        if magnitude * scale >= 0.9995:
            return f"{three_digits(seconds * scale)} {unit}"
    return f"{three_digits(seconds * 1e9)} ns"


def typed_duration(value_s: float) -> str:
    """A duration as it is typed: in milliseconds if they read back to the same number, else in seconds.

    >>> typed_duration(0.0125)
    '12.5ms'
    """
    shown = f"{1e3 * value_s:.10g}ms"
    return shown if parse_duration_s(shown) == value_s else f"{value_s!r}s"


def format_rate(rate_rps: float) -> str:
    """A rate in words.

    >>> format_rate(3200.0)
    '3200 rps'
    """
    return f"{three_digits(rate_rps)} rps"


def format_usd(usd: float) -> str:
    """Money in words.

    >>> format_usd(0.0511), format_usd(2.104), format_usd(8543.2)
    ('0.0511 USD', '2.1 USD', '8543 USD')
    """
    return f"{three_digits(usd)} USD"


def format_percent(share: float, digits: int = 0) -> str:
    """A share in percent, with as many digits after the point.

    >>> format_percent(0.136), format_percent(0.00123, 2)
    ('14 %', '0.12 %')
    """
    return f"{100.0 * share:.{digits}f} %"


def format_share(share: float) -> str:
    """A share in words.

    >>> format_share(0.001), format_share(0.8)
    ('0.1 %', '80 %')
    """
    return f"{100.0 * share:.4g} %"


def format_growth(share: float) -> str:
    """A relative change with its sign: in whole percents, and less than one of them with its first digit.

    >>> format_growth(0.2), format_growth(0.009), format_growth(-0.0004), format_growth(0.0)
    ('+20 %', '+0.9 %', '-0.04 %', '+0 %')
    """
    percent = 100.0 * share
    return f"{percent:+.0f} %" if abs(percent) >= _WHOLE else f"{percent:+.1g} %"


_WHOLE = 0.95  # per cent that are shown as one


def format_quantile(quantile: float) -> str:
    """The usual name of a quantile.

    >>> format_quantile(0.99), format_quantile(0.999), format_quantile(0.5)
    ('P99', 'P99.9', 'P50')
    """
    percent = f"{Decimal(repr(quantile)) * 100:f}"
    return "P" + (percent.rstrip("0").rstrip(".") if "." in percent else percent)


def three_digits(value: float) -> str:
    """A number with three significant digits, and in full from 1000 on.

    >>> three_digits(3.14159), three_digits(2000.4)
    ('3.14', '2000')
    """
    return f"{value:.3g}" if abs(value) < 999.5 or abs(value) >= _WORDY else f"{value:.0f}"


QUANTILES = (0.5, 0.9, 0.95, 0.99)  # reported unless others are asked for


def require_positive(name: str, value: float) -> None:
    """Refuse a value that is not a positive, finite number."""
    if isinstance(value, bool) or not 0.0 < value <= sys.float_info.max:  # also refuses NaN
        raise DomainError(f"{name} must be > 0 and finite, got {value!r}")


def require_not_negative(name: str, value: float) -> None:
    """Refuse a value that is not a finite number from 0."""
    if isinstance(value, bool) or not 0.0 <= value <= sys.float_info.max:
        raise DomainError(f"{name} must be >= 0 and finite, got {value!r}")


def require_quantile(value: float) -> None:
    """Refuse a value that is not strictly between 0 and 1."""
    if isinstance(value, bool) or not 0.0 < value < 1.0:
        raise DomainError(f"quantile must be in (0, 1), got {value!r}; P99 is 0.99")


def require_count(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Refuse a value that is not an integer from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DomainError(f"{name} must be an integer >= {least}, got {value!r}")
    if most is not None and value > most:
        raise DomainError(f"{name} must be <= {most}, got {value!r}")


def before_zero(time_s: float) -> bool:
    """Whether a time lies before 0; refuses NaN."""
    if math.isnan(time_s):
        raise DomainError(f"time_s must be a number, got {time_s!r}")
    return time_s < 0.0
