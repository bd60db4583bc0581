"""Time-varying: the percentiles of a day from the stationary laws of its rates, weighed by their requests."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from capacity.errors import DomainError, UnstableError
from capacity.numerics.tail import Tail, quantile_of
from capacity.performance import Interval, Kind, Performance
from capacity.queues.domain import (
    QUANTILES,
    require_not_negative,
    require_positive,
    require_quantile,
)
from capacity.queues.relaxation import measured_error


class Stationary(Protocol):
    """A law of one constant rate."""

    def response_tail(self, time_s: float) -> float:
        """P(T > t)."""

    def performance(self, quantiles: tuple[float, ...] = ..., /) -> Performance:
        """Everything the law has."""


@runtime_checkable
class _Waiting(Protocol):
    def wait_tail(self, time_s: float) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One rate of a day and how long it holds."""

    share: float
    rate_rps: float
    law: Stationary
    means: Performance

    @property
    def arrived(self) -> float:
        return self.share * self.rate_rps

    @property
    def served(self) -> float:
        rate_rps = self.means.throughput_rps
        return self.arrived if rate_rps is None else self.share * rate_rps


@dataclass(frozen=True, slots=True, kw_only=True)
class PointwiseStationary:
    """A day of changing rates, each of which acts as if it had lasted for ever (PSA).

    The share of a day's requests beyond t is the average of P(T > t) over requests, not over hours,
    and the day's P99 is where that is 1 %: neither the average of the hours' P99 nor the P99 at the
    average rate. Good where the system forgets much faster than the rate changes (see
    `capacity.queues.relaxation`);
    elsewhere it is on the safe side, since no peak lasts long enough to fill the queue.

    Attributes:
        law: stationary law by arrival rate, such as
            `lambda rate: MMc(arrival_rate_rps=rate, service_rate_rps=5.0, servers=2)`.
        rates_rps: arrival rate of each part of the day; 0 is allowed.
        durations_s: how long each lasts; all the same where left out.
        relaxation_s: how long the system remembers at the largest rate, if it is to be said how far
            off the percentiles of the wait may be; needs durations.

    Raises:
        DomainError: no part, a rate or a duration out of range, no request in the whole day.
        UnstableError: the law has no steady state at the largest rate. A short overload may be
            survived, but by a backlog, which no stationary law knows.

    Source:
        Green & Kolesar (1991), Management Science 37(1), "The pointwise stationary approximation
        for queues with nonstationary arrivals".

    Assumes:
        What the law assumes; arrivals Poisson with the rate of the moment.

    >>> from capacity.queues.mmc import MMc
    >>> day = PointwiseStationary(law=lambda rate: MMc(arrival_rate_rps=rate, service_rate_rps=5.0,
    ...     servers=2), rates_rps=(1.0, 9.0, 4.0))
    >>> round(day.response_quantile_s(0.99), 3), round(day.law(9.0).response_quantile_s(0.99), 3)
    (4.227, 4.669)
    """

    law: Callable[[float], Stationary]
    rates_rps: tuple[float, ...]
    durations_s: tuple[float, ...] | None = None
    relaxation_s: float | None = None
    _parts: tuple[_Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_rps", tuple(self.rates_rps))
        if self.durations_s is not None:
            object.__setattr__(self, "durations_s", tuple(self.durations_s))
        if self.relaxation_s is not None:
            require_positive("relaxation_s", self.relaxation_s)
        shares = _shares(self.rates_rps, self.durations_s)
        # the largest rate first: what is refused is refused there, with the largest mend
        parts = tuple(self._part(rate, shares[rate]) for rate in sorted(shares, reverse=True))
        object.__setattr__(self, "_parts", parts)

    def _part(self, rate_rps: float, share: float) -> _Part:
        try:
            law = self.law(rate_rps)
        except UnstableError as error:
            message = f"at the largest rate of the day, {rate_rps:g} rps: {error}"
            raise UnstableError(message, servers_min=error.servers_min) from None
        return _Part(share=share, rate_rps=rate_rps, law=law, means=law.performance(()))

    def response_tail(self, time_s: float) -> float:
        """P(T > t) of a served request of the day; 1 before t = 0. [dimensionless]"""
        return self._average(lambda part: part.law.response_tail(time_s), lambda part: part.served)

    def wait_tail(self, time_s: float) -> float:
        """P(W > t) of a served request of the day; 1 before t = 0. [dimensionless]

        Raises:
            DomainError: the law has no law of the wait.
        """

        def tail(part: _Part) -> float:
            if isinstance(part.law, _Waiting):
                return part.law.wait_tail(time_s)
            raise DomainError(f"{type(part.law).__name__} has no law of the wait; ask for the response")

        return self._average(tail, lambda part: part.served)

    def response_quantile_s(self, quantile: float) -> float:
        """Response time that a fraction `quantile` of the day's served requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1).
        """
        return self._quantile_s(self.response_tail, quantile)

    def wait_quantile_s(self, quantile: float) -> float:
        """Wait that a fraction `quantile` of the day's served requests stays within. [s]

        Raises:
            DomainError: quantile is not in (0, 1), or the law has no law of the wait.
        """
        return self._quantile_s(self.wait_tail, quantile)

    def _quantile_s(self, tail: Tail, quantile: float) -> float:
        require_quantile(quantile)
        return quantile_of(tail, quantile, self._parts[0].means.response_mean_s or 1.0)

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """The day as the answer that simulation and measurement give too.

        Waits and responses are averages over requests, occupancies over the day.

        >>> from capacity.queues.mm1 import MM1
        >>> day = PointwiseStationary(law=lambda rate: MM1(arrival_rate_rps=rate, service_rate_rps=5.0),
        ...     rates_rps=(1.0, 4.0, 0.0))
        >>> round(day.performance().response_mean_s, 3), round(day.performance().utilization, 3)
        (0.85, 0.333)
        """
        return Performance(
            kind=Kind.APPROXIMATION,
            utilization=self._over_time("utilization"),
            offered_load=self._over_time("offered_load"),
            throughput_rps=math.fsum(part.served for part in self._parts),
            wait_probability=self._over_requests("wait_probability"),
            queue_length_mean=self._over_time("queue_length_mean"),
            in_system_mean=self._over_time("in_system_mean"),
            wait_mean_s=self._over_requests("wait_mean_s"),
            response_mean_s=self._over_requests("response_mean_s"),
            loss_probability=self._over_requests("loss_probability"),
            abandon_probability=self._over_requests("abandon_probability"),
            response_quantiles_s={q: Interval.exact(self.response_quantile_s(q)) for q in quantiles},
            wait_quantiles_s=(
                {q: Interval.exact(self.wait_quantile_s(q)) for q in quantiles}
                if isinstance(self._parts[0].law, _Waiting)
                else {}
            ),
            relative_error_max=self._error_max(),
        )

    def _error_max(self) -> dict[str, float]:
        if self.relaxation_s is None or self.durations_s is None:
            return {}
        return {"wait_quantiles_s": measured_error(math.fsum(self.durations_s), self.relaxation_s)}

    def _average(self, value: Callable[[_Part], float], weight: Callable[[_Part], float]) -> float:
        total = math.fsum(weight(part) for part in self._parts)
        return math.fsum(weight(part) * value(part) for part in self._parts) / total

    def _over_time(self, name: str) -> float | None:
        """A mean of the day, its hours without requests counting 0."""
        if any(getattr(part.means, name) is None for part in self._parts):
            return None
        return math.fsum(part.share * getattr(part.means, name) for part in self._parts)

    def _over_requests(self, name: str) -> float | None:
        """A mean over requests: over all that arrived for what concerns those not served too."""
        if any(getattr(part.means, name) is None for part in self._parts):
            return None
        impatient = self._parts[0].means.abandon_probability is not None
        of_all = name.endswith(("loss_probability", "abandon_probability"))
        of_all = of_all or (impatient and name == "wait_mean_s")
        return self._average(
            lambda part: float(getattr(part.means, name)),
            lambda part: part.arrived if of_all else part.served,
        )


def _shares(rates_rps: tuple[float, ...], durations_s: tuple[float, ...] | None) -> dict[float, float]:
    """Share of the day by positive rate."""
    durations = (1.0,) * len(rates_rps) if durations_s is None else durations_s
    if len(durations) != len(rates_rps):
        raise DomainError(
            f"durations_s must have one for each of the {len(rates_rps)} rates, got {len(durations)}"
        )
    for index, (rate, duration) in enumerate(zip(rates_rps, durations, strict=True)):
        require_not_negative(f"rates_rps[{index}]", rate)
        require_positive(f"durations_s[{index}]", duration)
    if not any(rates_rps):
        raise DomainError("rates_rps must hold a rate > 0; there is no request in the whole day")
    longest = max(durations)  # scaled, so that no sum overflows
    total = math.fsum(duration / longest for duration in durations)
    shares: dict[float, float] = {}
    for rate, duration in zip(rates_rps, durations, strict=True):
        if rate > 0.0:
            shares[rate] = shares.get(rate, 0.0) + duration / longest / total
    return shares
