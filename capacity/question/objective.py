"""LatencyObjective: limits on responses, waits, losses and utilization."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Self

from capacity.errors import DomainError, InputError
from capacity.performance import (
    Interval,
    Performance,
    Quantiles,
    format_interval,
    format_share_interval,
)
from capacity.units import format_duration, format_quantile, format_share, parse_duration_s


class Measure(StrEnum):
    """What a promise is about; each names a field of `Performance`."""

    RESPONSE = "response_quantiles_s"
    RESPONSE_MEAN = "response_mean_s"
    WAIT = "wait_quantiles_s"
    LOSS = "loss_probability"
    UTILIZATION = "utilization"
    TTFT = "ttft_quantiles_s"
    TPOT = "tpot_quantiles_s"
    ITL = "itl_quantiles_s"
    TTFT_MEAN = "ttft_mean_s"
    TPOT_MEAN = "tpot_mean_s"
    ITL_MEAN = "itl_mean_s"
    MISSED = "missed_share"  # of requests that do not keep all limits at once

    @property
    def is_duration(self) -> bool:
        """Whether it is in seconds; otherwise it is a share."""
        return self not in (Measure.LOSS, Measure.UTILIZATION, Measure.MISSED)

    @property
    def has_quantile(self) -> bool:
        """Whether it needs a quantile to say which."""
        return self.value.endswith("_quantiles_s")

    @property
    def short(self) -> str:
        """As people call it: `TTFT`, `wait`; empty for the response, which needs no name."""
        name = self.value.partition("_")[0]
        return {"response": "", "ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}.get(name, name)

    @property
    def with_losses(self) -> str:
        """The field of `Performance` in which a rejected request counts as infinitely late."""
        return f"{self.value.removesuffix('_s')}_with_losses_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One limit of an objective: a measure, at a quantile where it has them, and what is allowed."""

    measure: Measure
    allowed: float
    quantile: float | None = None

    def __str__(self) -> str:
        """As people say it.

        >>> str(Promise(measure=Measure.RESPONSE, quantile=0.99, allowed=0.2))
        'P99 <= 200 ms'
        """
        return f"{self.what} <= {self.limit}"

    @property
    def limit(self) -> str:
        """What is allowed, with its unit: a duration, or a percentage."""
        return format_duration(self.allowed) if self.measure.is_duration else format_share(self.allowed)

    @property
    def what(self) -> str:
        """What is limited, in one or two words: `P99`, `wait P99`, `mean`, `loss`, `utilization`."""
        if self.measure is Measure.MISSED:
            return "share beyond a limit"
        shown = format_quantile(self.quantile) if self.quantile is not None else "mean"
        if not self.measure.is_duration:
            return self.measure.short
        return f"{self.measure.short} {shown}".lstrip()

    def found(self, performance: Performance) -> Interval | None:
        """Its value in a performance, with interval; None if the performance does not have it.

        For a quantile, the one in which lost requests count as late, if any were lost.
        """
        if self.quantile is None:
            known = performance.intervals.get(self.measure.value)
            value = getattr(performance, self.measure, None)
            return known or (None if value is None else Interval.exact(value))
        late: Quantiles = getattr(performance, self.measure.with_losses, {})
        served: Quantiles = getattr(performance, self.measure)
        return (late or served).get(self.quantile)

    def pressure(self, performance: Performance) -> Interval | None:
        """Value and ends over what is allowed: above 1 it is missed."""
        found = self.found(performance)
        return None if found is None else found.mapped(lambda x: x / self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjective:
    """Limits that must all be met: `{0.99: 0.2}` limits P99 of the response to 200 ms.

    A rejected request is late: with 0.8 % rejected, P99 allows 0.2 % to be served late. The mean is over
    served requests.

    Attributes:
        limits: of response quantiles, as floats or text with a unit. [s]
        response_mean_s: of the mean response. [s]
        wait_limits: of quantiles of the wait before service. [s]
        loss_probability: share of requests that may be rejected by a full queue.
        utilization: share of time that a replica may be busy.

    Raises:
        InputError: a limit that has no effect, because a higher quantile has a stricter one.
        DomainError: a quantile or a share outside (0, 1), or a limit that is not positive.
    """

    limits: Mapping[float, float] = field(default_factory=dict, hash=False)
    response_mean_s: float | None = None
    wait_limits: Mapping[float, float] = field(default_factory=dict, hash=False)
    loss_probability: float | None = None
    utilization: float | None = None

    def __post_init__(self) -> None:
        for name, what in (("limits", "{}"), ("wait_limits", "wait {}")):
            given = getattr(self, name).items()
            ordered = dict(sorted((q, _seconds(limit, what, q)) for q, limit in given))
            object.__setattr__(self, name, ordered)
            _check_limits(ordered, what)
        if self.response_mean_s is not None and not 0.0 < self.response_mean_s < math.inf:
            raise DomainError(f"the limit of the mean response must be positive, got {self.response_mean_s}")
        for name in ("loss_probability", "utilization"):
            share = getattr(self, name)
            if share is not None and not 0.0 < share < 1.0:
                raise DomainError(f"the limit of {name} must be within (0, 1), got {share}")

    def require(self) -> Self:
        """The objective, if it has a limit.

        Raises:
            InputError: it has none.
        """
        if not self.promises:
            raise InputError("no objective given; use --slo-p99 200ms or --tier interactive")
        return self

    @property
    def promises(self) -> tuple[Promise, ...]:
        """Every limit, in the usual order."""
        return self.of_responses

    @property
    def of_responses(self) -> tuple[Promise, ...]:
        """The limits of responses, waits, losses and utilization, in the usual order."""
        single = {
            Measure.RESPONSE_MEAN: self.response_mean_s,
            Measure.LOSS: self.loss_probability,
            Measure.UTILIZATION: self.utilization,
        }
        return (
            *(Promise(measure=Measure.RESPONSE, quantile=q, allowed=x) for q, x in self.limits.items()),
            *(Promise(measure=Measure.WAIT, quantile=q, allowed=x) for q, x in self.wait_limits.items()),
            *(Promise(measure=name, allowed=x) for name, x in single.items() if x is not None),
        )

    @property
    def quantiles(self) -> tuple[float, ...]:
        """All quantiles asked for, rising."""
        return tuple(sorted({*self.limits, *self.wait_limits}))

    @property
    def loss_allowed(self) -> float | None:
        """Largest share of rejected requests that all limits allow, counted as late; None if unlimited."""
        return min((share for share, _ in self._losses_allowed), default=None)

    @property
    def strictest_of_losses(self) -> Promise:
        """The limit that allows the fewest rejected requests, if any does."""
        return min(self._losses_allowed, key=lambda one: one[0])[1]

    @property
    def _losses_allowed(self) -> list[tuple[float, Promise]]:
        """Share that may be lost, for each promise that limits it."""
        return [
            (promise.allowed if promise.quantile is None else 1.0 - promise.quantile, promise)
            for promise in self.promises
            if promise.quantile is not None or promise.measure is Measure.LOSS
        ]

    def binding(self, performance: Performance) -> Promise:
        """The limit that is closest to being missed, or is exceeded by most."""

        def pressure(promise: Promise) -> float:
            found = promise.pressure(performance)
            return -math.inf if found is None else found.value

        return max(self.promises, key=pressure)


def _seconds(limit: float | str, what: str, quantile: float) -> float:
    """A limit of a quantile; a whole number is likely to be in another unit. [s]"""
    if isinstance(limit, str):
        return parse_duration_s(limit, what.format(f"the limit of {format_quantile(quantile)}"))
    if isinstance(limit, int):
        raise InputError(f"the limit {{{quantile}: {limit}}} is in seconds; write '{limit}ms', or {limit}.0")
    return limit


def _check_limits(limits: Mapping[float, float], what: str) -> None:
    for quantile, limit_s in limits.items():
        if not 0.0 < quantile < 1.0:
            raise DomainError(f"a quantile must be within (0, 1), got {quantile}")
        if not 0.0 < limit_s < math.inf:
            shown = what.format(format_quantile(quantile))
            raise DomainError(f"the {shown} limit must be positive, got {limit_s}")
    for (low, low_s), (high, high_s) in pairwise(limits.items()):
        if low_s > high_s:
            raise InputError(
                f"the {what.format(format_quantile(low))} limit {format_duration(low_s)} is above the "
                f"{what.format(format_quantile(high))} limit {format_duration(high_s)} and has no effect; "
                "drop or swap them"
            )


# Measures that a request of one output token does not have.
BETWEEN_TOKENS = frozenset({Measure.TPOT, Measure.ITL, Measure.TPOT_MEAN, Measure.ITL_MEAN})
_TOKEN_LIMITS = (
    ("ttft_limits", Measure.TTFT),
    ("tpot_limits", Measure.TPOT),
    ("itl_limits", Measure.ITL),
)
_TOKEN_MEANS = (
    ("ttft_mean_s", Measure.TTFT_MEAN),
    ("tpot_mean_s", Measure.TPOT_MEAN),
    ("itl_mean_s", Measure.ITL_MEAN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenObjective(LatencyObjective):
    """Limits of a language model's service; those inherited are of the whole response.

    Attributes:
        ttft_limits, tpot_limits, itl_limits: of quantiles. [s]
        ttft_mean_s, tpot_mean_s, itl_mean_s: of means. [s]
        goodput_min: share of requests that must keep all limits at once: of each measure that of the highest
            quantile, and of gaps between tokens their mean over the request.
    """

    ttft_limits: Mapping[float, float] = field(default_factory=dict, hash=False)
    tpot_limits: Mapping[float, float] = field(default_factory=dict, hash=False)
    itl_limits: Mapping[float, float] = field(default_factory=dict, hash=False)
    ttft_mean_s: float | None = None
    tpot_mean_s: float | None = None
    itl_mean_s: float | None = None
    goodput_min: float | None = None

    def __post_init__(self) -> None:
        LatencyObjective.__post_init__(self)
        for name, measure in _TOKEN_LIMITS:
            what = measure.short + " {}"
            ordered = {q: _seconds(x, what, q) for q, x in sorted(getattr(self, name).items())}
            object.__setattr__(self, name, ordered)
            _check_limits(ordered, what)
        for name, measure in _TOKEN_MEANS:
            limit = getattr(self, name)
            if limit is not None and not 0.0 < limit < math.inf:
                raise DomainError(f"the limit of the mean {measure.short} must be positive, got {limit}")
        if self.goodput_min is not None and not 0.0 < self.goodput_min < 1.0:
            raise DomainError(f"goodput must be within (0, 1), got {self.goodput_min}")
        if self.goodput_min is not None and not self.together:
            raise InputError(
                "goodput counts requests that keep all limits at once; give some, such as --slo-ttft-p99 2s"
            )

    @property
    def promises(self) -> tuple[Promise, ...]:
        """Every limit, in the usual order: first token, other tokens, response, all at once."""
        means = [(measure, getattr(self, name)) for name, measure in _TOKEN_MEANS]
        return (
            *(
                Promise(measure=measure, quantile=q, allowed=limit_s)
                for name, measure in _TOKEN_LIMITS
                for q, limit_s in getattr(self, name).items()
            ),
            *(Promise(measure=measure, allowed=x) for measure, x in means if x is not None),
            *self.of_responses,
            *(
                ()
                if self.goodput_min is None
                else (Promise(measure=Measure.MISSED, allowed=1.0 - self.goodput_min),)
            ),
        )

    @property
    def quantiles(self) -> tuple[float, ...]:
        """All quantiles that are asked for, rising."""
        given = (self.limits, *(getattr(self, name) for name, _ in _TOKEN_LIMITS))
        return tuple(sorted({q for limits in given for q in limits}))

    @property
    def together(self) -> dict[Measure, float]:
        """What a request must keep for it to count as good: the limit of the highest quantile of each. [s]"""
        limits = {Measure.RESPONSE: self.limits} | {
            measure: getattr(self, name) for name, measure in _TOKEN_LIMITS
        }
        return {measure: given[max(given)] for measure, given in limits.items() if given}


TIERS: dict[str, LatencyObjective] = {
    "interactive": LatencyObjective(limits={0.5: 0.1, 0.95: 0.3, 0.99: 1.0}),
    "batch": LatencyObjective(limits={0.5: 1.0, 0.95: 5.0, 0.99: 30.0}),
    "background": LatencyObjective(limits={0.5: 10.0, 0.95: 60.0, 0.99: 300.0}),
}


def format_value(promise: Promise, found: Interval) -> str:
    """A duration or a share with the ends of its interval."""
    return format_interval(found) if promise.measure.is_duration else format_share_interval(found)
