"""Autoscaler: its settings, the metric that it watches, and the level at which it holds that."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from capacity.errors import DomainError, InputError, quoted
from capacity.question.asked import FLAGS
from capacity.question.verbs import in_both, typed_name
from capacity.units import format_duration, require_count, require_not_negative

TOLERANCE = 0.1  # the default of --horizontal-pod-autoscaler-tolerance
# Defaults of kube-controller-manager and of the HPA's `behavior`.
SYNC_S = 15.0
STABILIZATION_S = 300.0
_WHOLE = 1e-9  # largest relative distance from a whole number


class Metric(StrEnum):
    """The metric, which is measured at each replica.

    UTILIZATION: share of the time that a replica was busy, like the HPA's resource metrics.
    CONCURRENCY: requests waiting or in service at a replica, like the HPA's pod metrics.
    """

    UTILIZATION = "utilization"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The mean over replicas that an autoscaler holds.

    Attributes:
        level: a share in whole percents up to 1, as the HPA reads it; or requests per replica, in whole thousandths.

    Raises:
        DomainError: the HPA cannot express the level.

    >>> Target(metric=Metric.UTILIZATION, level=0.6).count
    60
    >>> str(Target(metric=Metric.CONCURRENCY, level=4.0))
    'concurrency:4'
    """

    metric: Metric
    level: float

    def __post_init__(self) -> None:
        if not 0.0 < self.level < math.inf:
            raise DomainError(f"a target must be above 0 and finite, got {self.level:g}")
        if self.metric is Metric.UTILIZATION and self.level > 1.0:
            raise DomainError(f"a target of utilization must be a share up to 1, got {self.level:g}")
        scaled = self.level * self._scale
        if abs(scaled - self.count) > _WHOLE * scaled:
            step = "percents, such as 0.65" if self.metric is Metric.UTILIZATION else "thousandths"
            raise DomainError(f"a target of {self.metric} has whole {step}, got {self.level:g}")

    @property
    def count(self) -> int:
        """The level as the HPA counts it: percents, or thousandths of a request."""
        return round(self.level * self._scale)

    @property
    def _scale(self) -> float:
        return 100.0 if self.metric is Metric.UTILIZATION else 1000.0

    def __str__(self) -> str:
        return f"{self.metric}:{self.level:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """Settings of an autoscaler.

    Attributes:
        replicas_min: with 0 the last replica is removed after `controller.COOLDOWN_S` without requests, and returns
            within `controller.POLLING_S` of the next request.
        startup_s: time from the decision until a new replica serves. [s]
        metric_lag_s: age of the metrics at the decision. [s]

    Raises:
        DomainError: the bounds contradict each other, or a time is below 0.
    """

    target: Target
    replicas_min: int = 1
    replicas_max: int
    startup_s: float = 0.0
    metric_lag_s: float = 0.0
    tolerance: float = TOLERANCE
    stabilization_s: float = STABILIZATION_S

    def __post_init__(self) -> None:
        require_count("replicas_min", self.replicas_min, 0)
        require_count("replicas_max", self.replicas_max, max(1, self.replicas_min))
        require_not_negative("startup_s", self.startup_s)
        require_not_negative("metric_lag_s", self.metric_lag_s)
        if not 0.0 <= self.tolerance < 1.0:
            raise DomainError(f"tolerance must be in [0, 1), got {self.tolerance:g}")
        require_not_negative("stabilization_s", self.stabilization_s)

    @property
    def reaction_s(self) -> float:
        """Longest time from a change of the load to replicas that serve it: lag, one sync and start-up. [s]"""
        return self.metric_lag_s + SYNC_S + self.startup_s


def read_target(text: str, or_else: str = "") -> Target:
    """The target that was typed.

    Args:
        or_else: alternative that the message offers.

    Raises:
        InputError: the text is no target; the message says what to write.

    >>> read_target("utilization:0.6").level
    0.6
    """
    name, _, level = text.partition(":")
    try:
        return Target(metric=Metric(name), level=float(level))
    except DomainError as error:
        raise InputError(f"--autoscale {quoted(text)}: {error}") from error
    except ValueError as error:
        raise InputError(
            f"--autoscale {quoted(text)} is none; write {or_else}utilization:0.6 or concurrency:4"
        ) from error


# Each replica is measured every 15 s: with this many a run takes seconds, with ten times as many minutes.
REPLICAS_MAX = 10_000
_DAY_S = 86_400.0
_NOT_SIMULATED = ("spike", "pause", "request_class", "recover_within")
_DURATIONS = {"startup_time": "startup_s", "metric_lag": "metric_lag_s", "stabilization": "stabilization_s"}


def read_autoscaler(asked: Any, replicas: int) -> Autoscaler | None:
    """The autoscaler that flags describe; None without `--autoscale`.

    Args:
        asked: flags of a verb, parsed by attribute.
        replicas: the fewest replicas of any fleet that it sizes, which are its most.

    Raises:
        InputError: a flag that cannot be read, or that belongs to others.
    """
    if asked.autoscale is None:
        return None
    if asked.daily is None:
        raise InputError("--autoscale needs the rates of a day; give --daily, a .csv of time,rate_rps")
    require_alone(asked)
    least = 1 if asked.replicas_min is None else asked.replicas_min
    require_whole("--replicas-min", least, 0)
    require_bounds(least, replicas, "--replicas")
    usual = Autoscaler(target=read_target(asked.autoscale), replicas_min=least, replicas_max=replicas)
    return with_durations(usual, asked)


def require_alone(asked: Any) -> None:
    """Refuse trouble that is not simulated with an autoscaler.

    Args:
        asked: flags of a verb, which may not have all of these.
    """
    for name in _NOT_SIMULATED:
        if any(asked.get(one) for one in in_both(name, FLAGS[name])):
            raise InputError(
                f"{typed_name(name, FLAGS[name])} is not simulated with an autoscaler; leave out one of the two"
            )


def with_durations(usual: Autoscaler, asked: Any) -> Autoscaler:
    """An autoscaler with the start-up, the lag and the stabilization of the flags, each of a day at most.

    Raises:
        InputError: one is longer.
    """
    changes: dict[str, Any] = {}
    for name, field in _DURATIONS.items():
        found = getattr(asked, name)
        if found is not None and not 0.0 <= found <= _DAY_S:  # each lengthens the warm-up
            raise InputError(
                f"--{name.replace('_', '-')} must be from 0s to 24h, got {format_duration(found)}"
            )
        changes |= {} if found is None else {field: found}
    return replace(usual, **changes)


def require_bounds(least: int, most: int, flag: str = "--replicas-max") -> None:
    """Refuse bounds that contradict each other, and more replicas than can be simulated in time.

    Args:
        flag: flag of the upper bound.
    """
    if most > REPLICAS_MAX:
        raise InputError(
            f"{flag} must be at most {REPLICAS_MAX}, got {most}; look at a part of a larger fleet at its part of the "
            "rates"
        )
    if least > most:
        raise InputError(f"--replicas-min {least} is above {flag} {most}; swap them")


def require_whole(flag: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse a number that is not a whole one within bounds, which Python's callers can pass."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{flag} must be a whole number {bounds}, got {value!r}")
