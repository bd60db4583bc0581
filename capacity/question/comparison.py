"""Comparison: several fleets under the same requests, and their differences from the first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

from capacity.performance import Interval, Performance, Width
from capacity.question.plan import AnyPlan, AnyProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender(Generic[AnyProfile, AnyPlan]):
    """One of the fleets.

    Attributes:
        name: its name in the comparison.
    """

    name: str
    profile: AnyProfile
    plan: AnyPlan

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None if it is not known. [USD/h]"""
        return self.profile.hourly_cost_usd(self.plan.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Excess of a fleet over the first one, with ends; negative if it has less. [s], and of the hit share [-]

    A measure is absent if the fleets do not have it, such as the time between tokens if all requests have one output
    token.
    """

    ttft_mean_s: Interval | None = None
    response_mean_s: Interval
    tpot_mean_s: Interval | None = None
    itl_mean_s: Interval | None = None
    session_response_mean_s: Interval | None = None
    hit_share: Interval | None = None
    ttft_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)
    response_quantiles_s: Mapping[float, Interval]
    tpot_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)
    itl_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)
    session_response_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The performance of each fleet, and its difference from the first; the first has no difference.

    Attributes:
        widths: widths of the highest quantile of each fleet; empty if they were not asked for.
    """

    performances: tuple[Performance, ...]
    differences: tuple[Difference, ...]
    widths: tuple[Width, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonError(Generic[AnyPlan]):
    """Error of the assumption of Poisson arrivals in a quantile of the response time of one plan.

    Attributes:
        by_trace, by_poisson: the quantile from the trace, and from Poisson arrivals at its rate; both intervals hold
            together with `confidence`. [s]
    """

    plan: AnyPlan
    arrival_rate_rps: float
    quantile: float
    by_trace: Interval
    by_poisson: Interval
    confidence: float

    @property
    def relative_error(self) -> Interval:
        """Poisson over trace, minus 1: below 0 where Poisson is too optimistic."""
        return Interval(
            value=self.by_poisson.value / self.by_trace.value - 1.0,
            low=self.by_poisson.low / self.by_trace.high - 1.0,
            high=self.by_poisson.high / self.by_trace.low - 1.0,
        )
