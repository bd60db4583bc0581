"""Curves: a quantity of M/M/c against utilization or arrival rate, as data, from theory alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, product

from capacity.errors import DomainError, InputError
from capacity.queues.markov.mmc import MMc
from capacity.units import require_positive


def knee(x: Sequence[float], y: Sequence[float], limit: float) -> float:
    """Largest x up to which y is within the limit; nan if not even the first y is, the last x if all are.

    Between two points 1/y is taken to be straight, as it is for any quantile of M/M/1's response against the
    utilization: with points as close as those of `utilization_grid` the error is small.

    Args:
        x: rising, shape `(points,)`: utilizations, say.
        y: positive, shape `(points,)`: P99 at each x. If it also falls, its first crossing counts.
        limit: the largest y allowed, in the unit of y.

    Raises:
        InputError: fewer than two points, or lengths that differ.
        DomainError: x does not rise, or a y or the limit is not positive and finite.

    >>> response_s = [1.0 / (1.0 - rho) for rho in (0.1, 0.5, 0.9)]
    >>> round(knee((0.1, 0.5, 0.9), response_s, 4.0), 9)
    0.75
    """
    if len(x) != len(y) or len(x) < 2:
        raise InputError(f"a knee needs as many x as y, two at least, got {len(x)} and {len(y)}")
    if any(right <= left for left, right in pairwise(x)):
        raise DomainError("x of a knee must rise from point to point; sort the points")
    if not all(0.0 < value < math.inf for value in (*y, limit)):
        raise DomainError(f"y and limit of a knee must be positive and finite, got a limit of {limit!r}")
    if y[0] > limit:
        return math.nan
    for (left, kept), (right, broken) in pairwise(zip(x, y, strict=True)):
        if broken > limit:
            share = (1.0 / kept - 1.0 / limit) / (1.0 / kept - 1.0 / broken)
            return float(left + share * (right - left))
    return float(x[-1])


CURVES_MAX = 24  # more lines in one chart cannot be distinguished
POINTS_MAX = 10_000
UTILIZATION_MAX = 0.95
# Values that lie further apart than this cannot be read off one linear axis.
LINEAR_RATIO_MAX = 100.0
# Span of a logarithmic axis, and how far it goes if whole lines lie lower.
LOG_RATIO, LOG_RATIO_MAX = 1e4, 1e12


class Quantity(StrEnum):
    """Quantity on the y axis."""

    QUEUE_LENGTH = "queue-length"
    WAIT_PROBABILITY = "wait-probability"
    WAIT = "wait"
    RESPONSE = "response"
    P99 = "p99"

    @property
    def symbol(self) -> str:
        """Its symbol in formulas."""
        return _QUANTITIES[self][0]

    @property
    def axis_title(self) -> str:
        """Title of its axis, with the unit."""
        return _QUANTITIES[self][1]

    @property
    def is_dimensionless(self) -> bool:
        """Whether it depends on the rates through the offered load alone, so that no unit is left."""
        return self in (Quantity.QUEUE_LENGTH, Quantity.WAIT_PROBABILITY)


class Axis(StrEnum):
    """Quantity on the x axis."""

    UTILIZATION = "utilization"
    ARRIVAL_RATE = "arrival-rate"

    @property
    def symbol(self) -> str:
        """Its symbol in formulas."""
        return "ρ" if self is Axis.UTILIZATION else "λ"

    @property
    def axis_title(self) -> str:
        """Title of the axis, with the unit."""
        return "utilization ρ" if self is Axis.UTILIZATION else "arrival rate λ [rps]"


_QUANTITIES: dict[Quantity, tuple[str, str, Callable[[MMc], float]]] = {
    Quantity.QUEUE_LENGTH: ("Lq", "requests waiting Lq", lambda queue: queue.queue_length_mean),
    Quantity.WAIT_PROBABILITY: ("P(wait)", "probability P(wait)", lambda queue: queue.wait_probability),
    Quantity.WAIT: ("Wq", "mean wait Wq [s]", lambda queue: queue.wait_mean_s),
    Quantity.RESPONSE: ("W", "mean response time W [s]", lambda queue: queue.response_mean_s),
    Quantity.P99: ("P99", "P99 response time [s]", lambda queue: queue.response_quantile_s(0.99)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart, for several service rates if they give the same line.

    Attributes:
        service_rates_rps: the service rates that this line holds for. [requests/s]
        x: utilization, or arrival rate in requests per second, rising.
        y: the quantity at x; durations in seconds.
    """

    quantity: Quantity
    axis: Axis
    label: str
    service_rates_rps: tuple[float, ...]
    servers: int
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or len(self.x) < 2:
            sizes = f"{len(self.x)} and {len(self.y)}"
            raise DomainError(f"a curve needs as many x as y, two at least, got {sizes}")


def curves(
    quantity: Quantity,
    axis: Axis,
    service_rates_rps: Sequence[float],
    servers: Sequence[int] = (1,),
    *,
    utilization_max: float = UTILIZATION_MAX,
    points: int = 200,
) -> tuple[Curve, ...]:
    """One curve for each service rate and server count; equal lines appear once.

    Against the utilization, a dimensionless quantity is one line for all service rates. Against the arrival rate,
    each line ends at its own wall.

    Args:
        service_rates_rps: requests per second of one busy server, shape `(rates,)`.
        servers: server counts, shape `(counts,)`.
        utilization_max: where each line ends, in (0, 1).
        points: points on each line, 2 to 10,000.

    Raises:
        InputError: no service rate, no server count, or more than 24 lines.
        DomainError: an argument out of range.

    Source:
        `MMc`; at one server it is M/M/1.

    Assumes:
        Poisson arrivals, exponential service, FIFO, unlimited queue, steady state.

    >>> lines = curves(Quantity.QUEUE_LENGTH, Axis.ARRIVAL_RATE, [10.0, 5.0])
    >>> [(line.label, round(line.x[-1], 3), round(line.y[-1], 3)) for line in lines]
    [('μ = 10 rps', 9.5, 18.05), ('μ = 5 rps', 4.75, 18.05)]
    """
    grid = utilization_grid(utilization_max, points)
    rates, counts = tuple(dict.fromkeys(service_rates_rps)), tuple(dict.fromkeys(servers))
    if not rates or not counts:
        raise InputError("curves need a service rate and a number of servers; give at least one of each")
    if len(rates) * len(counts) > CURVES_MAX:
        asked = f"{len(rates)} service rates x {len(counts)} server counts"
        raise InputError(f"{asked} are more than {CURVES_MAX} curves; give fewer, to tell them apart")
    for rate in rates:
        require_positive("service_rate_rps", rate)
    one_line = quantity.is_dimensionless and axis is Axis.UTILIZATION
    groups = [rates] if one_line else [(rate,) for rate in rates]
    labels = _labels(quantity, groups, counts)
    return tuple(_curve(quantity, axis, label, *line, grid) for line, label in labels.items())


def utilization_grid(utilization_max: float, points: int) -> tuple[float, ...]:
    """Utilizations up to the largest, evenly spaced in log(1 - ρ): the closer to the knee, the denser.

    >>> [round(rho, 2) for rho in utilization_grid(0.9375, 4)]
    [0.5, 0.75, 0.88, 0.94]
    """
    if not 0.0 < utilization_max < 1.0:
        raise DomainError(f"utilization_max must be in (0, 1), got {utilization_max!r}; 0.95 shows the knee")
    if not 2 <= points <= POINTS_MAX:
        raise DomainError(f"points must be from 2 to {POINTS_MAX}, got {points!r}")
    log_idle = math.log1p(-utilization_max)
    inner = (-math.expm1(log_idle * k / points) for k in range(1, points))
    return (*inner, utilization_max)  # the end to the last digit


def chart_title(lines: Sequence[Curve]) -> str:
    """The law, the quantities on both axes, and what all lines share.

    >>> chart_title(curves(Quantity.P99, Axis.UTILIZATION, [10.0], [1, 2]))
    'M/M/c, μ = 10 rps: P99 against ρ'
    """
    first = require_one_chart(lines)
    counts = {line.servers for line in lines}
    rates = {line.service_rates_rps for line in lines}
    law = "M/M/c" if len(counts) > 1 else f"M/M/{first.servers}"
    shared = len(lines) > 1 and len(rates) == 1 and len(first.service_rates_rps) == 1
    rate = f", μ = {_shown(first.service_rates_rps)[0]} rps" if shared else ""
    return f"{law}{rate}: {first.quantity.symbol} against {first.axis.symbol}"


def require_one_chart(lines: Sequence[Curve]) -> Curve:
    """First of the lines; refuses no lines, too many, and lines whose axes differ."""
    if not 1 <= len(lines) <= CURVES_MAX:
        raise InputError(f"a chart shows 1 to {CURVES_MAX} curves, got {len(lines)}")
    if len({(line.quantity, line.axis) for line in lines}) > 1:
        raise InputError("curves of one chart need the same axes; draw one chart for each quantity and axis")
    return lines[0]


def y_range(lines: Sequence[Curve]) -> tuple[float, float]:
    """Ends of the y axis; a lower end above 0 asks for a logarithmic one.

    Logarithmic if a tail hides what another line does halfway to it. Halfway, not at the
    first point: a line that rises from zero would always need it. The lower end leaves each line a decade
    to be seen in, within `LOG_RATIO_MAX`.
    """
    top = max(max(line.y) for line in lines)
    if top <= LINEAR_RATIO_MAX * min(_halfway(line) for line in lines):
        return 0.0, top or 1.0
    lowest_end = min(max(line.y) for line in lines)
    return max(top / LOG_RATIO_MAX, min(top / LOG_RATIO, lowest_end / 10.0)), top


def _halfway(line: Curve) -> float:
    """y at the first point beyond half of the x range."""
    return next(y for x, y in zip(line.x, line.y, strict=True) if x >= line.x[-1] / 2.0)


def _curve(
    quantity: Quantity,
    axis: Axis,
    label: str,
    rates: tuple[float, ...],
    servers: int,
    grid: tuple[float, ...],
) -> Curve:
    """One line, computed at the first of the service rates that share it."""
    arrivals = [rho * servers * rates[0] for rho in grid]
    queues = [MMc(arrival_rate_rps=rate, service_rate_rps=rates[0], servers=servers) for rate in arrivals]
    value = _QUANTITIES[quantity][2]
    return Curve(
        quantity=quantity,
        axis=axis,
        label=label,
        service_rates_rps=rates,
        servers=servers,
        x=grid if axis is Axis.UTILIZATION else tuple(arrivals),
        y=tuple(value(queue) for queue in queues),
    )


def _labels(
    quantity: Quantity, groups: Sequence[tuple[float, ...]], counts: Sequence[int]
) -> dict[tuple[tuple[float, ...], int], str]:
    """What distinguishes each line from the others, and no more; both for a single line."""
    rates = [rate for group in groups for rate in group]
    shown = dict(zip(rates, _shown(rates), strict=True))
    reason = f" (one curve: {quantity.symbol} depends on ρ and c alone)"
    labels = {}
    for group, count in product(groups, counts):
        rate, server = f"μ = {', '.join(shown[rate] for rate in group)} rps", f"c = {count}"
        if len(groups) == 1 and len(counts) > 1:
            label = server if len(group) == 1 else f"{server}, any μ"
        elif len(groups) > 1 and len(counts) == 1:
            label = rate
        else:
            label = f"{rate}, {server}" if len(group) == 1 else rate + reason
        labels[group, count] = label
    return labels


def _shown(values: Sequence[float]) -> list[str]:
    """Numbers with as few digits as still distinguish them."""
    short = [f"{value:.6g}" for value in values]
    return short if len(set(short)) == len(values) else [repr(float(value)) for value in values]
