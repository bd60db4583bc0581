"""Little's law and the interactive law: what means must satisfy, whatever the distributions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from capacity.errors import DomainError
from capacity.units import (
    format_duration,
    format_quantile,
    format_rate,
    require_not_negative,
    require_positive,
    require_quantile,
)

_ROUNDING = 1e-9
TAIL_OVER_QUANTILE_MAX = 10.0
MEAN_MISMATCH_MAX = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LittlesLaw:
    """Mean number in the system = arrival rate x mean response time, L = lambda W.

    It holds on any path that starts and ends empty, thus in any steady state: no distribution,
    no order of service and no independence enters.

    Raises:
        DomainError: a number is not positive and finite, or the three contradict one another.

    Source:
        Little (1961), Operations Research 9(3), "A proof for the queuing formula L = lambda W".

    >>> LittlesLaw.solve(arrival_rate_rps=40.0, in_system_mean=4.0).response_mean_s
    0.1
    """

    arrival_rate_rps: float
    response_mean_s: float
    in_system_mean: float

    def __post_init__(self) -> None:
        for name in ("arrival_rate_rps", "response_mean_s", "in_system_mean"):
            require_positive(name, getattr(self, name))
        product = self.arrival_rate_rps * self.response_mean_s
        if not math.isclose(product, self.in_system_mean, rel_tol=_ROUNDING):
            raise DomainError(
                f"arrival_rate_rps x response_mean_s = {product:g} must equal in_system_mean, "
                f"got {self.in_system_mean:g}; give any two of the three"
            )

    @classmethod
    def solve(
        cls,
        *,
        arrival_rate_rps: float | None = None,
        response_mean_s: float | None = None,
        in_system_mean: float | None = None,
    ) -> Self:
        """The law with the missing one of its three numbers computed.

        Raises:
            DomainError: fewer than two are given, or three that contradict one another.

        >>> LittlesLaw.solve(arrival_rate_rps=0.5, response_mean_s=15.0).in_system_mean
        7.5
        """
        given = {
            "arrival_rate_rps": arrival_rate_rps,
            "response_mean_s": response_mean_s,
            "in_system_mean": in_system_mean,
        }
        known = {name: value for name, value in given.items() if value is not None}
        if len(known) < 2:
            raise DomainError(f"Little's law needs two of {', '.join(given)}, got {len(known)}")
        for name, value in known.items():
            require_positive(name, value)
        if in_system_mean is None:
            known["in_system_mean"] = known["arrival_rate_rps"] * known["response_mean_s"]
        elif response_mean_s is None:
            known["response_mean_s"] = in_system_mean / known["arrival_rate_rps"]
        elif arrival_rate_rps is None:
            known["arrival_rate_rps"] = in_system_mean / response_mean_s
        return cls(**known)

    @property
    def in_words(self) -> str:
        """The law with its numbers.

        >>> LittlesLaw.solve(arrival_rate_rps=100.0, response_mean_s=0.045).in_words
        'L = λW: at 100 rps, each for 45 ms, 4.5 requests are in the system on average.'
        """
        rate, each = format_rate(self.arrival_rate_rps), format_duration(self.response_mean_s)
        count = f"{self.in_system_mean:.4g}"
        are = "request is" if count == "1" else "requests are"
        return f"L = λW: at {rate}, each for {each}, {count} {are} in the system on average."


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestReport:
    """What a closed load test reports, checked against the interactive law N = X (R + Z).

    Each of N users thinks for Z, sends, and waits for R. That is Little's law for the whole loop, a
    law of means without distributions, so N, X and Z fix the mean R that every complete record of
    the test must have. Reported times that cannot have this mean were not measured on all requests
    (a saturated generator omits the slow ones), or not all users were at work.

    Credible unless one of these doubts holds:
    - R < 0: throughput above N/Z, more than the users can send even if answered at once;
    - R below the smallest mean that the quantiles allow: more in flight than there are users;
    - the requests beyond the last quantile would need a mean above 10 times that quantile
      (an exponential tail beyond P99 has a mean of 1.2 times P99);
    - a reported mean more than 10 % away from R.
    R is a difference: if Z is nearly all of N/X, throughput must be given with many digits.

    Raises:
        DomainError: a number is out of range, or the quantiles fall.

    Source:
        Denning & Buzen (1978), Computing Surveys 10(3), "interactive response time formula";
        Lavenberg (1983), Computer Performance Modeling Handbook.

    Assumes:
        Closed loop (each user waits for the answer), run much longer than R + Z.

    >>> report = LoadTestReport(users=100, think_time_s=0.3, throughput_rps=100.0,
    ...     response_quantiles_s={0.5: 0.045, 0.99: 0.34})
    >>> round(report.required_response_mean_s, 3), round(report.tail_mean_needed_s, 1)
    (0.7, 51.1)
    >>> report.credible, report.reason
    (False, 'needs a tail mean of 51.1 s beyond P99 (340 ms)')
    """

    users: int
    think_time_s: float
    throughput_rps: float
    response_quantiles_s: Mapping[float, float] = field(default_factory=dict)
    response_mean_s: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.users, bool) or not isinstance(self.users, int) or self.users < 1:
            raise DomainError(f"users must be an integer >= 1, got {self.users!r}")
        require_not_negative("think_time_s", self.think_time_s)
        require_positive("throughput_rps", self.throughput_rps)
        if self.response_mean_s is not None:
            require_not_negative("response_mean_s", self.response_mean_s)
        for quantile, value_s in self.response_quantiles_s.items():
            require_quantile(quantile)
            require_not_negative(f"response_quantiles_s[{quantile}]", value_s)
        ordered = dict(sorted(self.response_quantiles_s.items()))
        if any(late < early for early, late in pairwise(ordered.values())):
            raise DomainError(f"response_quantiles_s must not fall, got {ordered}")
        object.__setattr__(self, "response_quantiles_s", ordered)

    @property
    def required_response_mean_s(self) -> float:
        """Mean response time that users, think time and throughput leave: R = N/X - Z."""
        return self.users / self.throughput_rps - self.think_time_s

    @property
    def body_mean_min_s(self) -> float:
        """Smallest mean of the requests up to the last quantile: each at its interval's start."""
        return self._body_s((0.0, *self.response_quantiles_s.values()))

    @property
    def body_mean_max_s(self) -> float:
        """Largest mean of the requests up to the last quantile: each at its interval's end."""
        return self._body_s(tuple(self.response_quantiles_s.values()))

    @property
    def response_mean_min_s(self) -> float:
        """Smallest mean of all requests that the quantiles allow."""
        share, last_s = self._last
        return share * self.body_mean_min_s + (1.0 - share) * last_s

    @property
    def tail_mean_needed_s(self) -> float:
        """Mean that the requests beyond the last quantile need at least, so that R is reached."""
        share, last_s = self._last
        rest_s = self.required_response_mean_s - share * self.body_mean_max_s
        return max(last_s, rest_s / (1.0 - share))

    @property
    def credible(self) -> bool:
        """Whether no doubt holds; the rules are in the docstring of the class."""
        return not self._doubts

    @property
    def reason(self) -> str:
        """The doubts in words, or that there are none."""
        if self._doubts:
            return "; ".join(self._doubts)
        if self.response_mean_s is None and not self.response_quantiles_s:
            return "no response time was reported that could be held against it"
        return "nothing reported contradicts users = throughput x (R + think)"

    @property
    def in_words(self) -> str:
        """Whether the report can be true, and why."""
        required_s = self.required_response_mean_s
        thinking = f" who think for {format_duration(self.think_time_s)}" if self.think_time_s else ""
        who, wait = ("1 user", "waits") if self.users == 1 else (f"{self.users} users", "wait")
        thinking = thinking.replace("think ", "thinks ") if self.users == 1 else thinking
        at = f"at {format_rate(self.throughput_rps)}"
        waits = (
            f"{who}{thinking} {at} {wait} {format_duration(required_s)} on average; "
            if required_s >= 0.0
            else ""
        )
        if self.credible:
            return f"This report can be true: {waits}{self.reason}."
        why = f"it {self.reason}" if self.reason.startswith(("needs", "reports")) else self.reason
        return f"This report cannot be true: {waits}{why}. Likely cause: {self.likely_cause}."

    @property
    def likely_cause(self) -> str:
        """What makes most reports that are not credible."""
        return "the load generator was saturated, or some of the users were idle"

    @property
    def _last(self) -> tuple[float, float]:
        return max(self.response_quantiles_s.items(), default=(0.0, 0.0))

    def _body_s(self, values_s: tuple[float, ...]) -> float:
        """Mean up to the last quantile with one value for each interval between two quantiles."""
        shares = [0.0, *self.response_quantiles_s]
        total = sum(
            (end - start) * value for (start, end), value in zip(pairwise(shares), values_s, strict=False)
        )
        return total / shares[-1] if shares[-1] > 0.0 else 0.0

    @property
    def _doubts(self) -> tuple[str, ...]:
        required_s = self.required_response_mean_s
        if required_s < -_ROUNDING * self.think_time_s:
            return (
                f"throughput {self.throughput_rps:g} rps is above users / think time = "
                f"{self.users / self.think_time_s:g} rps",
            )
        found = (self._doubt_of_minimum(), self._doubt_of_tail(), self._doubt_of_mean())
        return tuple(doubt for doubt in found if doubt)

    def _doubt_of_minimum(self) -> str:
        least_s = self.response_mean_min_s
        if self.required_response_mean_s >= least_s * (1.0 - _ROUNDING):
            return ""
        busy = self.throughput_rps * (least_s + self.think_time_s)
        return (
            f"the quantiles need a mean of at least {format_duration(least_s)}, thus "
            f"{busy:.4g} users, more than the {self.users} there are"
        )

    def _doubt_of_tail(self) -> str:
        share, last_s = self._last
        needed_s = self.tail_mean_needed_s
        if not self.response_quantiles_s or needed_s <= TAIL_OVER_QUANTILE_MAX * last_s:
            return ""
        return (
            f"needs a tail mean of {format_duration(needed_s)} beyond "
            f"{format_quantile(float(share))} ({format_duration(last_s)})"
        )

    def _doubt_of_mean(self) -> str:
        mean_s, required_s = self.response_mean_s, self.required_response_mean_s
        if mean_s is None or abs(mean_s - required_s) <= MEAN_MISMATCH_MAX * required_s:
            return ""
        return f"reports a mean of {format_duration(mean_s)} where {format_duration(required_s)} is required"
