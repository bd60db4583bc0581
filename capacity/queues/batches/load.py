"""Bulk load: how near servers of batches are to the most they sustain, and what their queue does then."""

import math
from fractions import Fraction

from capacity.errors import DomainError, UnstableError
from capacity.numerics.tail import first_true
from capacity.queues.domain import require_positive

BATCH_SIZE_LIMIT = 512  # of the laws that eliminate a chain of all sizes: larger ones take long
_FALL_MAX = 1000.0  # how much longer a smaller batch may take: each full one in its time is a term of a sum
_SPARE_SHARE_MIN = Fraction(1, 2**51)  # as for single servers: what the roundings of the rates amount to


def require_batch_times(batch_times_s: tuple[float, ...], *, most: int | None = None) -> None:
    """Refuse what does not give a positive, finite time for a batch of 1, 2, ..., B, B at most `most`."""
    if not isinstance(batch_times_s, tuple) or not batch_times_s:
        raise DomainError(f"batch_times_s must be a tuple with one time at least, got {batch_times_s!r}")
    if most is not None and len(batch_times_s) > most:
        raise DomainError(f"batches up to {len(batch_times_s)} are beyond {most} here; simulate instead")
    for size, time_s in enumerate(batch_times_s, start=1):
        require_positive(f"batch_times_s of a batch of {size}", time_s)
    longest, last = max(batch_times_s), batch_times_s[-1]
    if longest > _FALL_MAX * last:
        raise DomainError(
            f"a batch of {len(batch_times_s)} takes {last:g} s and a smaller one {longest:g} s, more than "
            f"{_FALL_MAX:g} times as long; is the unit of each time right?"
        )


def exact_batch_load(
    arrival_rate_rps: float,
    full_batch_time_s: float,
    batch_size_max: int,
    servers: int,
    *,
    unit: str = "servers",
) -> Fraction:
    """lambda s_B / (c B) without rounding; refused where full batches would not keep up.

    Args:
        unit: what the message calls a server.
    """
    require_positive("arrival_rate_rps", arrival_rate_rps)
    require_positive("service_time_s", full_batch_time_s)
    needed = Fraction(arrival_rate_rps) * Fraction(full_batch_time_s) / batch_size_max
    require_positive("load", _as_float(needed / servers))
    servers_min = needed // (1 - _SPARE_SHARE_MIN) + 1
    if servers < servers_min:
        raise UnstableError(
            f"unstable queue: load {_as_float(needed / servers):.4g} >= 1 ({arrival_rate_rps:g} rps on "
            f"{servers} x {batch_size_max} requests per {full_batch_time_s:g} s); use at least "
            f"{servers_min if servers_min < 10**12 else f'{_as_float(needed):.4g}'} {unit}",
            servers_min=servers_min,
        )
    return needed / servers


def _as_float(value: Fraction) -> float:
    """The double, kept below overflow."""
    return float(min(value, Fraction(10**300)))


def log_inverse_ratio(share: Fraction, batch: int) -> float:
    """x = -ln r > 0 with (r + ... + r^B)/B = share < 1, by bisection to adjacent doubles.

    Near saturation both sides are taken off 1, elsewhere in logarithms, so that neither loses digits.
    """
    filled, spare = float(share * batch), float(1 - share)
    target = math.log(filled)
    # r + r^2 + ... + r^B < r / (1 - r), so that x < ln(1 + 1/filled)
    highest = math.log1p(1.0 / filled) if filled > 1.0 else math.log1p(filled) - target
    if share > Fraction(1, 2):
        return first_true(lambda x: _shortfall(x, batch) >= spare, 2.0 * spare / (batch + 1), highest)
    return first_true(lambda x: _log_sum(x, batch) <= target, max(0.0, -target), highest)


def _log_sum(x: float, batch: int) -> float:
    """ln(e^-x + ... + e^-Bx), x >= 0."""
    if x == 0.0:
        return math.log(batch)
    return math.log(-math.expm1(-batch * x)) - x - math.log(-math.expm1(-x))


def _shortfall(x: float, batch: int) -> float:
    """1 - (e^-x + ... + e^-Bx)/B = u + (1 - u) v; u = 1 - (1 - e^-Bx)/(Bx), v = 1 - x/(e^x - 1)."""
    y = batch * x
    u = _exponential_rest(-y) / y
    return u + (1.0 - u) * _exponential_rest(x) / math.expm1(x)


def _exponential_rest(z: float) -> float:
    """e^z - 1 - z for |z| <= 2, without the cancellation near 0."""
    total, term, k = 0.0, z, 1
    while abs(term) > 1e-18 * abs(total):
        k += 1
        term *= z / k
        total += term
    return total
