"""Objective: limits on responses, waits, tokens, losses and utilization."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.performance import Interval, Performance, Quantiles, format_interval, format_share_interval
from capacity.units import format_duration, format_quantile, format_share, parse_duration_s


class Measure(StrEnum):
    """The quantity that is limited, in the order of its importance to users; each is a field of `Performance`."""

    TTFT = "ttft_quantiles_s"
    TPOT = "tpot_quantiles_s"
    ITL = "itl_quantiles_s"
    TTFT_MEAN = "ttft_mean_s"
    TPOT_MEAN = "tpot_mean_s"
    ITL_MEAN = "itl_mean_s"
    RESPONSE = "response_quantiles_s"
    SESSION = "session_response_quantiles_s"
    WAIT = "wait_quantiles_s"
    RESPONSE_MEAN = "response_mean_s"
    SESSION_MEAN = "session_response_mean_s"
    LOSS = "loss_probability"
    UTILIZATION = "utilization"
    MISSED = "missed_share"  # of requests that are beyond a limit

    @property
    def is_duration(self) -> bool:
        """Whether it is in seconds; otherwise it is a share."""
        return self not in (Measure.LOSS, Measure.UTILIZATION, Measure.MISSED)

    @property
    def has_quantile(self) -> bool:
        """Whether a limit of it is at a quantile."""
        return self.value.endswith("_quantiles_s")

    @property
    def durations(self) -> "Measure":
        """The durations behind a mean; itself if it is no mean."""
        return Measure(self.value.replace("_mean_s", "_quantiles_s"))

    @property
    def mean(self) -> "Measure":
        """The mean of these durations."""
        return Measure(self.value.replace("_quantiles_s", "_mean_s"))

    @property
    def short(self) -> str:
        """Short name in sentences, such as `TTFT` or `wait`; empty for the response."""
        name = self.value.partition("_")[0]
        return {"response": "", "ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}.get(name, name)

    @property
    def with_losses(self) -> str:
        """The field of `Performance` in which a rejected request counts as infinitely late."""
        return f"{self.value.removesuffix('_s')}_with_losses_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of an objective: a measure, its quantile if it has one, and the largest allowed value."""

    measure: Measure
    allowed: float
    quantile: float | None = None

    def __str__(self) -> str:
        """The limit in words.

        >>> str(Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.2))
        'P99 <= 200 ms'
        """
        return f"{self.what} <= {self.allowed_text}"

    @property
    def allowed_text(self) -> str:
        """The allowed value with its unit: a duration, or a percentage."""
        return format_duration(self.allowed) if self.measure.is_duration else format_share(self.allowed)

    @property
    def what(self) -> str:
        """The limited quantity in one or two words: `P99`, `wait P99`, `mean`, `loss`, `utilization`."""
        if self.measure is Measure.MISSED:
            return "share beyond a limit"
        shown = format_quantile(self.quantile) if self.quantile is not None else "mean"
        if not self.measure.is_duration:
            return self.measure.short
        return f"{self.measure.short} {shown}".lstrip()

    @property
    def lost_text(self) -> str:
        """Share of the requests beyond which lost ones make the quantile infinite: `1 %` for P99."""
        return format_share(1.0 - (self.quantile or 0.0))

    @property
    def name(self) -> str:
        """Name of the limited quantity in documents and rows, without its unit: `response_p99` or `ttft_p95`."""
        if self.quantile is None:
            return self.measure.value.removesuffix("_s")
        return f"{self.measure.value.partition('_')[0]}_{format_quantile(self.quantile)}".lower().replace(
            ".", "_"
        )

    def found(self, performance: Performance) -> Interval | None:
        """Value of the measure in a performance, with its interval; None if the performance does not have it.

        A quantile is the one in which lost requests count as late, if any were lost.
        """
        if self.quantile is None:
            known = performance.intervals.get(self.measure.value)
            value = getattr(performance, self.measure, None)
            return known or (None if value is None else Interval.exact(value))
        late: Quantiles = getattr(performance, self.measure.with_losses, {})
        served: Quantiles = getattr(performance, self.measure)
        return (late or served).get(self.quantile)

    def pressure(self, performance: Performance) -> Interval | None:
        """Value and ends over the allowed value: above 1 the limit is missed."""
        found = self.found(performance)
        return None if found is None else found.mapped(lambda x: x / self.allowed)


# Measures that a request of one output token does not have.
BETWEEN_TOKENS = frozenset({Measure.TPOT, Measure.ITL, Measure.TPOT_MEAN, Measure.ITL_MEAN})
# Measures whose limits a good request must meet.
_TOGETHER = (Measure.RESPONSE, Measure.TTFT, Measure.TPOT, Measure.ITL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Limits that must all be met: `Objective.of(response={0.99: 0.2})` limits P99 of the response to 200 ms.

    A rejected request is late: with 0.8 % rejected, P99 allows 0.2 % to be served late. The mean is over served
    requests.

    Attributes:
        limits: limits in the order of importance to users: first token, other tokens, response, wait, losses,
            utilization, all at once; by quantile if a measure has several.

    Raises:
        InputError: a limit has no effect, because a higher quantile has a stricter one.
        DomainError: a quantile or a share is outside (0, 1), or a limit is not positive.
    """

    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        places = {measure: place for place, measure in enumerate(Measure)}
        ordered = sorted(self.limits, key=lambda one: (places[one.measure], one.quantile or 0.0))
        object.__setattr__(self, "limits", tuple(ordered))
        for one in ordered:
            _require_in_range(one)
        for low, high in pairwise(ordered):
            _require_effective(low, high)
        if self.allowed(Measure.MISSED) is not None and not self.together:
            raise InputError(
                "goodput counts requests that keep all limits at once; give some, such as --slo-ttft-p99 2s"
            )

    @classmethod
    def of(cls, **allowed: Mapping[float, float | str] | float | str | None) -> Self:
        """An objective from limits by measure.

        Args:
            allowed: limits by quantile of `response`, `wait`, `ttft`, `tpot`, `itl` and `session`; one limit of
                `response_mean`, `ttft_mean`, `tpot_mean`, `itl_mean` and `session_mean`, all as floats in seconds or as
                text with a unit; largest share of `loss` and `utilization`; for `goodput` the smallest share of
                requests within all limits at once, which are those of the highest quantile of each measure, and for
                gaps between tokens their mean over the request. None is no limit.

        Raises:
            InputError: a measure is unknown, or a duration has no unit.
            DomainError: a quantile or a share is outside (0, 1), or a limit is not positive.

        >>> [str(one) for one in Objective.of(response={0.99: "200ms"}, loss=0.001).limits]
        ['P99 <= 200 ms', 'loss <= 0.1 %']
        """
        given = {name: value for name, value in allowed.items() if value is not None}
        return cls(limits=tuple(one for name, value in given.items() for one in _limits(name, value)))

    def require(self, mend: str = "--slo-p99 200ms or --tier interactive") -> Self:
        """The objective, if it has a limit.

        Raises:
            InputError: it has no limit.
        """
        if not self.limits:
            raise InputError(f"no objective given; use {mend}")
        return self

    def require_among(self, measures: Collection[Measure], served: str) -> Self:
        """The objective, if all its limits are of these measures.

        Args:
            served: the kind of fleet that has only these measures, in words.

        Raises:
            InputError: a limit is of another measure.
        """
        for limit in self.limits:
            if limit.measure not in measures:
                raise InputError(f"{served} has no {limit.what}; leave out the limit {limit}")
        return self

    def by_quantile(self, measure: Measure) -> dict[float, float]:
        """The limits on quantiles of a measure. [s]"""
        return {one.quantile: one.allowed for one in self.limits if one.measure is measure and one.quantile}

    def allowed(self, measure: Measure) -> float | None:
        """The limit of a measure without quantiles; None if there is none."""
        return next((one.allowed for one in self.limits if one.measure is measure), None)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """All quantiles of the limits, rising."""
        return tuple(sorted({one.quantile for one in self.limits if one.quantile is not None}))

    @property
    def together(self) -> dict[Measure, float]:
        """Limits that a good request must meet: for each measure that of the highest quantile. [s]"""
        known = {measure: self.by_quantile(measure) for measure in _TOGETHER}
        return {measure: limits[max(limits)] for measure, limits in known.items() if limits}

    @property
    def loss_allowed(self) -> float | None:
        """Largest share of rejected requests, counted as late, that all limits allow; None if unlimited."""
        return min((share for share, _ in self._losses_allowed), default=None)

    @property
    def strictest_of_losses(self) -> Limit:
        """The limit that allows the fewest rejected requests."""
        return min(self._losses_allowed, key=lambda one: one[0])[1]

    @property
    def _losses_allowed(self) -> list[tuple[float, Limit]]:
        """Allowed share of rejected requests for each limit that has one."""
        return [
            (limit.allowed if limit.quantile is None else 1.0 - limit.quantile, limit)
            for limit in self.limits
            if limit.quantile is not None or limit.measure is Measure.LOSS
        ]

    def binding(self, performance: Performance) -> Limit:
        """The limit that is closest to being missed, or is exceeded by most."""

        def pressure(limit: Limit) -> float:
            found = limit.pressure(performance)
            return -math.inf if found is None else found.value

        return max(self.limits, key=pressure)


def _limits(name: str, given: Mapping[float, float | str] | float | str) -> Iterator[Limit]:
    """Limits of a measure by its name in Python."""
    measure = Measure.MISSED if name == "goodput" else Measure.__members__.get(name.upper())
    if measure is None or name == "missed":
        known = ", ".join(one.name.lower() for one in Measure if one is not Measure.MISSED)
        raise InputError(f"no limit is called {name}; use {known} or goodput")
    if measure.has_quantile != isinstance(given, Mapping):
        wanted = "limits by quantile, {0.99: 0.2}" if measure.has_quantile else "one number"
        raise InputError(f"{name} takes {wanted}, got {given!r}")
    by_quantile = given if isinstance(given, Mapping) else {None: given}
    for quantile, limit in by_quantile.items():
        yield Limit(measure=measure, quantile=quantile, allowed=_allowed(measure, quantile, limit))


def _allowed(measure: Measure, quantile: float | None, limit: float | str) -> float:
    """A limit as a number; a whole number of seconds probably has another unit."""
    if measure is Measure.MISSED:
        if not isinstance(limit, float) or not 0.0 < limit < 1.0:
            raise DomainError(f"goodput must be within (0, 1), got {limit}")
        return 1.0 - limit
    if isinstance(limit, str) and measure.is_duration:
        what = f"{measure.short} {'mean' if quantile is None else format_quantile(quantile)}".lstrip()
        return parse_duration_s(limit, f"the limit of {what}")
    if isinstance(limit, int) and quantile is not None:
        raise InputError(f"the limit {{{quantile}: {limit}}} is in seconds; write '{limit}ms', or {limit}.0")
    return float(limit)


def _require_in_range(limit: Limit) -> None:
    quantile, allowed, measure = limit.quantile, limit.allowed, limit.measure
    if quantile is not None and not 0.0 < quantile < 1.0:
        raise DomainError(f"a quantile must be within (0, 1), got {quantile}")
    if not measure.is_duration:
        if not 0.0 < allowed < 1.0:
            raise DomainError(f"the limit of {measure.value} must be within (0, 1), got {allowed}")
    elif not 0.0 < allowed < math.inf:
        mean = f"the limit of the mean {measure.short or 'response'}"
        what = mean if quantile is None else f"the {limit.what} limit"
        raise DomainError(f"{what} must be positive, got {allowed}")


def _require_effective(low: Limit, high: Limit) -> None:
    """Refuse a limit that has no effect, since a higher quantile has a stricter one."""
    if low.measure is high.measure and low.quantile is not None and low.allowed > high.allowed:
        raise InputError(
            f"the {low.what} limit {low.allowed_text} is above the {high.what} limit {high.allowed_text} and has "
            "no effect; drop or swap them"
        )


TIERS: dict[str, Objective] = {
    "interactive": Objective.of(response={0.5: 0.1, 0.95: 0.3, 0.99: 1.0}),
    "batch": Objective.of(response={0.5: 1.0, 0.95: 5.0, 0.99: 30.0}),
    "background": Objective.of(response={0.5: 10.0, 0.95: 60.0, 0.99: 300.0}),
}


def format_value(limit: Limit, found: Interval) -> str:
    """A duration or a share with the ends of its interval."""
    return format_interval(found) if limit.measure.is_duration else format_share_interval(found)
