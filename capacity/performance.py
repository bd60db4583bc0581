"""Performance: the form of every answer, from theory, simulation or measurement; and its intervals."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Self

from capacity.errors import DomainError
from capacity.units import format_duration, format_share


class Kind(StrEnum):
    """How a number was obtained, which decides what may be concluded from it."""

    EXACT = "exact"
    BOUND = "bound"
    APPROXIMATION = "approximation"
    SIMULATION = "simulation"
    REPLAY = "replay"
    MEASUREMENT = "measurement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value, and the ends between which the true value lies at the stated confidence.

    Attributes:
        high: infinite if the samples give no bound.
        known_to: the largest value that the samples reach, if too few lie beyond the value for an upper end; None if
            there is an upper end, or no such value.
    """

    value: float
    low: float
    high: float
    known_to: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:  # also refuses NaN
            raise DomainError(
                f"interval needs low <= value <= high, got {self.low}, {self.value}, {self.high}"
            )
        if self.known_to is not None and not (self.value <= self.known_to < math.inf == self.high):
            raise DomainError(
                f"known_to must be finite, from value {self.value} on, and without an upper end, got "
                f"{self.known_to} and high {self.high}"
            )

    @classmethod
    def exact(cls, value: float) -> Self:
        """An interval without width, for a value that theory gives exactly."""
        return cls(value=value, low=value, high=value)

    def scaled(self, factor: float) -> Self:
        """Value and ends times a positive factor, for example in another unit.

        >>> Interval(value=0.002, low=0.001, high=0.004).scaled(1e3).high
        4.0
        """
        if not 0.0 < factor < math.inf:
            raise DomainError(f"factor must be positive and finite, got {factor!r}")
        return self.mapped(lambda x: factor * x)

    def mapped(self, rising: Callable[[float], float]) -> Self:
        """Value and ends through a rising function.

        >>> Interval(value=2.0, low=1.0, high=4.0).mapped(lambda x: x + 1.0).high
        5.0
        """
        known_to = None if self.known_to is None else rising(self.known_to)
        return type(self)(
            value=rising(self.value), low=rising(self.low), high=rising(self.high), known_to=known_to
        )

    def over(self, other: "Interval") -> Self:
        """Ratio to another positive interval, with ends that allow for the errors of both.

        >>> Interval(value=4.0, low=3.0, high=5.0).over(Interval(value=2.0, low=1.0, high=2.5)).low
        1.2
        """
        if not (self.low >= 0.0 and other.low > 0.0):
            raise DomainError(f"a ratio needs positive intervals, got ends {self.low} and {other.low}")
        return type(self)(
            value=self.value / other.value, low=self.low / other.high, high=self.high / other.low
        )

    @property
    def half_width(self) -> float:
        """The larger of the two distances from the value to an end."""
        if math.isinf(self.high):
            return math.inf
        return max(self.high - self.value, self.value - self.low)

    @property
    def relative_half_width(self) -> float:
        """Half-width as a share of the value; at value 0 it is infinite unless the width is 0 too."""
        if self.half_width == 0.0:
            return 0.0
        return self.half_width / self.value if self.value > 0.0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """Width of an interval to one side, as a share of its value, and its reason.

    Attributes:
        found: with all errors; infinite if there is no upper end.
        simulated: without the error of the profile.
        samples_times: factor by which more samples of the profile would narrow it as asked, if they were alike;
            infinite if no number would, None if the profile has no samples.
    """

    found: float
    simulated: float
    samples_times: float | None = None


Quantiles = Mapping[float, Interval]
# Fields of a performance that are quantiles of durations.
QUANTILE_FIELDS = (
    "wait_quantiles_s",
    "ttft_quantiles_s",
    "tpot_quantiles_s",
    "itl_quantiles_s",
    "response_quantiles_s",
    "session_response_quantiles_s",
    "wait_quantiles_with_losses_s",
    "ttft_quantiles_with_losses_s",
    "tpot_quantiles_with_losses_s",
    "itl_quantiles_with_losses_s",
    "response_quantiles_with_losses_s",
    "session_response_quantiles_with_losses_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mean share with the ends of its interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """The share of an interval of one."""
        return cls(mean=interval.value, low=max(0.0, interval.low), high=min(1.0, interval.high))

    @property
    def interval(self) -> Interval:
        """The interval."""
        return Interval(value=self.mean, low=self.low, high=self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Steady-state performance of one plan or queue. What a source does not provide is None or empty.

    Waits and responses are those of served requests; those `_with_losses` count a rejected request as
    infinitely late, and are empty if none was rejected. `load` is the arrival rate over the largest
    sustainable rate, of turns of sessions with the hits that were found; `utilization` is the share of
    time busy: a greedy batching server is busier than its load says. TTFT is the time from a request's arrival to its
    first output token, TPOT the rest of its response over its other output tokens, and ITL the time between two of
    them, pooled over all requests.
    Durations are in seconds, rates in requests per second, and numbers of requests those of the whole fleet.

    Attributes:
        goodput: share of requests within all limits at once; None without limits.
        preemption_rate: preemptions per request.
        kv_utilization: share of the KV cache in use, averaged over the time in which an engine computes.
        hit_share: share of the tokens of prompts that turns of sessions find in the cache when they are first admitted;
            None of other requests.
        hit_share_by_turn: of the first, second, … turns of sessions; the last counts for all that follow.
        cached_tokens_per_s: tokens of prompts found so. [1/s]
        sessions_live_mean: mean number of sessions from the arrival of their first turn to the end of the last answer.
        sessions_cut: share of sessions that end at the longest context allowed.
        cold_saturation_rps: turns that the fleet serves from empty caches and a backlog of sessions.
        running_mean: mean number of requests that run in engines.
        attempts_mean: attempts at a request, answered or not; None if clients were not simulated.
        retried_share: share of requests with more than one attempt.
        replicas_mean, replicas_most: replicas that an autoscaler asked for over the day; None without one.
        scalings: changes of their number in a day.
        hourly_usd: mean price of these replicas; None if no price is known. [USD/h]
        intervals: intervals of fields that have no quantile, by field name, if they are known.
        relative_error_max: largest relative error of a value, by field name: proved for a bound, the largest that was
            measured for an approximation; empty if exact.
    """

    kind: Kind
    load: float | None = None
    utilization: float | None = None
    offered_load: float | None = None
    throughput_rps: float | None = None
    output_tokens_per_s: float | None = None
    batch_size_mean: float | None = None
    wait_probability: float | None = None
    queue_length_mean: float | None = None
    in_system_mean: float | None = None
    wait_mean_s: float | None = None
    ttft_mean_s: float | None = None
    tpot_mean_s: float | None = None
    itl_mean_s: float | None = None
    response_mean_s: float | None = None
    session_response_mean_s: float | None = None
    goodput: float | None = None
    preemption_rate: float | None = None
    kv_utilization: float | None = None
    hit_share: Share | None = None
    hit_share_by_turn: tuple[float, ...] | None = None
    cached_tokens_per_s: float | None = None
    sessions_live_mean: float | None = None
    sessions_cut: float | None = None
    cold_saturation_rps: float | None = None
    running_mean: float | None = None
    attempts_mean: float | None = None
    retried_share: float | None = None
    replicas_mean: float | None = None
    replicas_most: float | None = None
    scalings: float | None = None
    hourly_usd: float | None = None
    loss_probability: float | None = None
    abandon_probability: float | None = None
    empty_probability: float | None = None
    wait_quantiles_s: Quantiles = field(default_factory=dict)
    ttft_quantiles_s: Quantiles = field(default_factory=dict)
    tpot_quantiles_s: Quantiles = field(default_factory=dict)
    itl_quantiles_s: Quantiles = field(default_factory=dict)
    response_quantiles_s: Quantiles = field(default_factory=dict)
    session_response_quantiles_s: Quantiles = field(default_factory=dict)
    wait_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    ttft_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    tpot_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    itl_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    response_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    session_response_quantiles_with_losses_s: Quantiles = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    relative_error_max: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in QUANTILE_FIELDS:
            ordered = dict(sorted(getattr(self, name).items()))
            object.__setattr__(self, name, ordered)

    @property
    def cold_saturation(self) -> "Interval | None":
        """The rate from empty caches and a backlog, with its interval if it is known. [turns/s]"""
        if self.cold_saturation_rps is None:
            return None
        return self.intervals.get("cold_saturation_rps") or Interval.exact(self.cold_saturation_rps)

    @property
    def missed_share(self) -> float | None:
        """Share of requests beyond a limit."""
        return None if self.goodput is None else 1.0 - self.goodput

    @property
    def lost_word(self) -> str:
        """What is said of requests that are lost: full queues reject them, or their clients give up too."""
        return "rejected" if self.attempts_mean is None else "unanswered"

    def times(self, replicas: float) -> Self:
        """The performance of several independent queues like this one, whole or not; counts add up."""
        counted = ("throughput_rps", "queue_length_mean", "in_system_mean")
        held = {name: getattr(self, name) for name in counted}
        scaled = {name: replicas * value for name, value in held.items() if value is not None}
        # The probability that all are empty is not that of one.
        alone = self if replicas == 1 else replace(self, empty_probability=None)
        return replace(alone, **scaled)


# Fields of a performance that are numbers.
SCALAR_FIELDS = tuple(
    one.name
    for one in fields(Performance)
    if one.name
    not in ("kind", *QUANTILE_FIELDS, "intervals", "relative_error_max", "hit_share", "hit_share_by_turn")
)


def format_interval(interval: Interval) -> str:
    """A duration with the ends of its interval.

    >>> format_interval(Interval(value=0.0483, low=0.046, high=0.0507))
    '48.3 (46 to 50.7) ms'
    >>> format_interval(Interval(value=0.04, low=0.023, high=math.inf, known_to=0.065))
    '40 ms (at least 23 ms; not known above 65 ms)'
    """
    if math.isinf(interval.value):
        return "infinite"
    if interval.known_to is not None:
        return _format_one_sided(interval, interval.known_to)
    if math.isinf(interval.high):
        return f"{format_duration(interval.value)} ({format_duration(interval.low)} or more)"
    return format_span(format_duration, interval)


def _format_one_sided(interval: Interval, known_to: float) -> str:
    value, low, end = (format_duration(x) for x in (interval.value, interval.low, known_to))
    return f"{value} (at least {low}; not known above {end})"


def format_share_interval(found: Interval) -> str:
    """A share with the ends of its interval.

    >>> format_share_interval(Interval(value=0.002, low=0.001, high=0.003))
    '0.2 (0.1 to 0.3) %'
    """
    return format_span(format_share, found)


def format_turns(found: Interval) -> str:
    """A rate of turns with the ends of its interval.

    >>> format_turns(Interval(value=5.28, low=5.1, high=5.5))
    '5.28 (5.1 to 5.5) turns/s'
    """
    return format_span(lambda rate_rps: f"{rate_rps:.3g} turns/s", found)


def format_span(shown: Callable[[float], str], interval: Interval) -> str:
    """A value with its ends if it has any, and the unit once if all have the same.

    >>> format_span(format_duration, Interval(value=0.0009, low=0.0008, high=0.001))
    '900 µs (800 µs to 1 ms)'
    """
    if interval.low == interval.high:
        return shown(interval.value)
    parts = [shown(x).partition(" ") for x in (interval.value, interval.low, interval.high)]
    if len({unit for _, _, unit in parts}) > 1:
        value, low, high = ("".join(part) for part in parts)
        return f"{value} ({low} to {high})"
    (value, _, unit), (low, _, _), (high, _, _) = parts
    return f"{value} ({low} to {high}) {unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBatch:
    """One batch; instants count from the beginning of the window, and may lie outside of it."""

    replica: int
    size: int
    started_s: float
    finished_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The batches of a fleet during a stretch of time, long after it began; for a picture, not for measurement.

    Attributes:
        length_s: length of the stretch. [s]
        replicas_shown: number of replicas whose batches are listed, from the first on.
        batches: batches of those replicas, in the order of their start.
        instants_s: instants spread evenly over the stretch.
        waiting: requests in the queues of the whole fleet at these instants.
    """

    length_s: float
    replicas: int
    replicas_shown: int
    batches: tuple[ServedBatch, ...]
    instants_s: tuple[float, ...]
    waiting: tuple[int, ...]
