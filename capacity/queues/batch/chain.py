"""Bulk chain: the batches that a replica starts in steady state, and what each leaves behind.

Time is counted in mean gaps of the arrival process, so that its rate is 1. Under round-robin over c
replicas a replica receives every c-th arrival: each arrival is a *phase*, and c phases make a request.
With c = 1 a phase is a request.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from capacity.errors import DomainError, UnstableError
from capacity.queues.law import settle
from capacity.queues.numerics.chains import Floats, at_least, likely_counts, pmf, pmf_run
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.numerics.mills import second_remainder
from capacity.queues.numerics.tail import first_true
from capacity.units import require_positive

BATCH_SIZE_LIMIT = 512  # for the laws that eliminate a chain of all sizes: larger ones take long
_SERIES_TO = 2.0  # the largest argument of `_shortfall`
_FALL_MAX = 1000.0  # largest ratio of a smaller batch's time: each full one in its time is a term of a sum
_SPARE_SHARE_MIN = Fraction(1, 2**51)  # as for single servers: the roundings of the rates


def require_batch_times(batch_times_s: tuple[float, ...], *, most: int | None = None) -> None:
    """Refuse a table without a positive, finite time for each batch of 1, 2, ..., B, with B at most `most`."""
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
    """lambda s_B / (c B) without rounding; refused if full batches would not keep up."""
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

    Near saturation both sides are subtracted from 1, elsewhere taken in logarithms, so neither loses digits.
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
    u = second_remainder(-y, _SERIES_TO) / y
    return u + (1.0 - u) * second_remainder(x, _SERIES_TO) / math.expm1(x)


_DECAY_MAX = 700.0  # beyond it a double underflows
_NEGLIGIBLE = 1e-32  # probability of the states that are left out
UNHEARD_OF = 1e-30  # share of the batches; their requests' share of the mean wait is as small
_BAND_ENTRIES_MAX = 60_000_000  # half a gigabyte


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Service:
    """Deterministic batches: phases that come during one of 1, ..., B; `stride` make a request."""

    phases: Floats
    stride: int

    @property
    def batch_size_max(self) -> int:
        """B."""
        return len(self.phases)

    @property
    def full(self) -> int:
        """Phases of a full batch."""
        return self.stride * self.batch_size_max

    @property
    def decay(self) -> float:
        """Rate per phase at which the queue's law falls: theta > 0 with cB theta = phases_B (e^theta - 1)."""
        load = float(self.phases[-1]) / self.full
        highest = min(2.0 - 2.0 * math.log(load), _DECAY_MAX)
        return first_true(lambda x: load * math.expm1(x) >= x, 0.5 * (1.0 - load), highest)

    @property
    def up(self) -> int:
        """Number of phases exceeded during a service only with negligible probability."""
        most = float(self.phases.max())
        return likely_counts(most, most)[1]

    @property
    def states(self) -> int:
        """Number of phases at a completion exceeded only with negligible probability."""
        return self.full + self.up + self.stride + math.ceil(-math.log(_NEGLIGIBLE) / self.decay)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Starts:
    """Probabilities per cycle, from one batch to the next, of what is started and left behind.

    Attributes:
        partial: batch of b with less than one request left behind, by phases left; shape `(B, stride)`.
        backlog: full batch with y phases left, at least a request; shape `(states,)`, 0 below `stride`.
        idle_phases: mean number of phases that pass while there is no request.
        shares: batches of b that leave less than one request; shape `(B,)`.
        backlog_share: full batches that leave more.
        by_size: batches of b; shape `(B,)`.
    """

    service: Service
    partial: Floats
    backlog: Floats
    idle_phases: float
    shares: Floats = field(init=False)
    backlog_share: float = field(init=False)
    by_size: Floats = field(init=False)

    def __post_init__(self) -> None:
        shares, backlog_share = self.partial.sum(axis=1), float(self.backlog.sum())
        by_size = shares.copy()
        by_size[-1] += backlog_share
        settle(self, shares=shares, backlog_share=backlog_share, by_size=by_size)

    @property
    def batch_size_mean(self) -> float:
        """Requests per batch."""
        return float(np.arange(1, len(self.by_size) + 1) @ self.by_size)

    @property
    def busy_phases(self) -> float:
        """Mean service of a batch."""
        return float(self.service.phases @ self.by_size)

    @property
    def served_phases(self) -> float:
        """Mean service over requests, not over batches."""
        sizes = np.arange(1, len(self.by_size) + 1)
        return float((sizes * self.service.phases) @ self.by_size) / self.batch_size_mean

    def waiting_in_service(self) -> float:
        """Integral of the mean number of waiting requests over the service of a cycle."""
        stride, shares = self.service.stride, self.shares
        total = math.fsum(
            float(self.partial[b] @ _waiting_integrals(float(self.service.phases[b]), stride, stride))
            for b in np.flatnonzero(shares > UNHEARD_OF)
        )
        full = float(self.service.phases[-1])
        return total + float(self.backlog @ _waiting_integrals(full, stride, len(self.backlog)))


def _waiting_integrals(service: float, stride: int, count: int) -> Floats:
    """Integral over a service of the mean of floor((y + N(u)) / stride), for y = 0, ..., count - 1.

    The integral of P(N(u) >= n) is the sum of P(N >= k) over k > n: all positive.
    """
    reach = math.ceil(service + 14.0 * math.sqrt(service)) + 40 + stride
    tails = at_least(np.arange(1, reach + 2), service)
    beyond = np.cumsum(tails[::-1])[::-1]  # at n: the integral of P(N(u) >= n)
    later = np.array([beyond[stride - phase :: stride].sum() for phase in range(stride)])
    y = np.arange(count)
    return np.asarray(y // stride * service + later[y % stride])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """The start of a replica that becomes idle: at `level` requests, or `wait` phases after it saw one.

    Greedy is level 1; a minimum batch has an infinite wait; an open timer has the largest batch as level.
    """

    level: int
    wait: float


def window_starts(service: Service, window: Window) -> tuple[Starts, Floats]:
    """Starts, and the probabilities per cycle that a window opens on y phases, `(stride * level + 1,)`.

    Source:
        Bailey (1954), J. Royal Statistical Society B 16, 80-87 (bulk service, embedded at completions);
        Neuts (1967), Annals of Mathematical Statistics 38(3), 759-770 (a minimum batch).
    """
    stride, full, at_level = service.stride, service.full, service.stride * window.level
    outcomes, after_start = _window_outcomes(service, at_level, window.wait), _after_start(service)
    opened = len(outcomes)  # this many numbers of phases open a window, from c on
    after_completion = np.vstack([outcomes @ after_start, after_start[opened : full - stride + 1]])
    after_full = pmf_run(0, service.up + 1, service.phases[-1])

    def row(y: int) -> Floats:
        return after_full if y > full else after_completion[max(y, stride) - stride]

    law = solve(service, row, service.states, service.up + stride)
    openings = np.zeros(at_level + 1)
    openings[stride:at_level] = law[stride:at_level]
    openings[stride] = law[: min(at_level, stride + 1)].sum()
    at_start = law[stride : full + 1] * 1.0
    at_start[0] = law[: stride + 1].sum()
    partial = at_start[:opened] @ outcomes
    partial[opened : full - stride + 1] += at_start[opened:]
    left = law[full + 1 :]
    partial[full - stride + 1 :] += left[: stride - 1]
    backlog = np.concatenate([np.zeros(stride), left[stride - 1 :]])
    starts = Starts(
        service=service,
        partial=partial.reshape(-1, stride),
        backlog=backlog,
        idle_phases=float((stride - np.arange(stride)) @ law[:stride]),
    )
    return starts, openings


def _window_outcomes(service: Service, at_level: int, wait: float) -> Floats:
    """Transitions from y = c, ..., `at_level` - 1 phases at a completion to c, ..., cB + c - 1 at the start."""
    stride = service.stride
    missing = at_level - np.arange(stride, at_level)
    outcomes = np.zeros((len(missing), service.full))
    if math.isinf(wait):
        outcomes[:, at_level - stride] = 1.0
        return outcomes
    arrived = np.arange(at_level - stride)[None, :] - np.arange(len(missing))[:, None]
    outcomes[:, : at_level - stride] = pmf(arrived, wait)
    outcomes[:, at_level - stride] = at_least(missing, wait)
    return outcomes


def _after_start(service: Service) -> Floats:
    """Transitions from y phases at the start, y = c, ..., cB + c - 1, to those at the completion."""
    stride, up = service.stride, service.up
    rows = np.zeros((service.batch_size_max, stride, up + 2 * stride))
    arrived = pmf_run(0, up + 1, service.phases[:, None])
    for left in range(stride):
        rows[:, left, left : left + up + 1] = arrived
    return rows.reshape(service.full, -1)


def solve(service: Service, row: Callable[[int], Floats], last: int, up: int) -> Floats:
    """The stationary law, refused if it would not fit into memory."""
    entries = (last + 1) * (service.full + up + 1)
    if entries > _BAND_ENTRIES_MAX:
        raise DomainError(
            f"load {float(service.phases[-1]) / service.full:.6f} with batches up to "
            f"{service.batch_size_max} and {service.stride} phases a request needs {entries:.2g} numbers, "
            f"more than {_BAND_ENTRIES_MAX:.2g}; simulate instead, or lower the load or the batch size"
        )
    return stationary(row, last, service.full, up)
