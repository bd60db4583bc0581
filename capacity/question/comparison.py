"""Comparison: several fleets under the same requests, and by how much each differs from the first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from capacity.performance import Interval, Performance, Width
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Plan

if TYPE_CHECKING:
    from capacity.profile.llm import LlmProfile
    from capacity.question.tokens import TokenPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A fleet that is compared.

    Attributes:
        name: its name in the comparison.
    """

    name: str
    profile: ServiceProfile
    plan: Plan

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None where it is not known. [USD/h]"""
        return self.profile.hourly_cost_usd(self.plan.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much more a fleet has than the first one, with ends; negative if it has less. [s]"""

    response_mean_s: Interval
    response_quantiles_s: Mapping[float, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The performance of each fleet, and its difference from the first; the first has no difference.

    Attributes:
        widths: of each fleet's highest quantile.
    """

    performances: tuple[Performance, ...]
    differences: tuple[Difference, ...]
    widths: tuple[Width, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContender:
    """A fleet that serves a language model and is compared, by its name in the comparison."""

    name: str
    profile: "LlmProfile"
    plan: "TokenPlan"

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None where it is not known. [USD/h]"""
        price = self.profile.replica_hourly_usd
        return None if price is None else self.plan.replicas * price


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDifference:
    """How much more a fleet has than the first one, with ends; negative if it has less. [s]

    TPOT and ITL have none where all requests have one output token.
    """

    ttft_mean_s: Interval
    response_mean_s: Interval
    tpot_mean_s: Interval | None = None
    itl_mean_s: Interval | None = None
    ttft_quantiles_s: Mapping[float, Interval]
    response_quantiles_s: Mapping[float, Interval]
    tpot_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)
    itl_quantiles_s: Mapping[float, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenComparison:
    """The performance of each fleet, and its difference from the first; the first has no difference."""

    performances: tuple[Performance, ...]
    differences: tuple[TokenDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonError:
    """What the assumption of Poisson arrivals does to a quantile of the response time of one plan.

    Attributes:
        by_trace, by_poisson: the quantile by simulation of the trace, and of Poisson arrivals at its rate;
            both intervals hold together with `confidence`. [s]
    """

    plan: Plan
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
