"""Target: the metric that an autoscaler watches, and the level at which it holds it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError, InputError, quoted

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


def read_target(text: str, or_else: str = "") -> Target:
    """The target that was typed.

    Args:
        or_else: alternative that the message offers.

    Raises:
        InputError: the text is no target; the message says what to write.

    >>> read_target("utilization:0.6").level
    0.6
    """
    if not isinstance(text, str):
        raise InputError(f"--autoscale {text!r} is no text; write {or_else}utilization:0.6 or concurrency:4")
    name, _, level = text.partition(":")
    try:
        return Target(metric=Metric(name), level=float(level))
    except DomainError as error:
        raise InputError(f"--autoscale {quoted(text)}: {error}") from error
    except ValueError as error:
        raise InputError(
            f"--autoscale {quoted(text)} is none; write {or_else}utilization:0.6 or concurrency:4"
        ) from error
