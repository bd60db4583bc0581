"""Disturbances of everyday operation: pauses of replicas, and requests that take longer than others."""

import math
from dataclasses import dataclass
from itertools import pairwise

from capacity.errors import DomainError

CLASSES_MAX = 16
ORDINARY = "ordinary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses of each replica, as for garbage collections; times between pauses are exponential.

    Attributes:
        length_s: length of a pause. [s]
        per_s: rate of pauses of a replica while it runs. [1/s]
    """

    length_s: float
    per_s: float

    def __post_init__(self) -> None:
        if not (0.0 < self.length_s < math.inf and 0.0 < self.per_s < math.inf):
            raise DomainError("pauses need a length and a rate above 0")

    @property
    def share(self) -> float:
        """Share of time that a replica stands still: it runs 1/per_s on average, then pauses."""
        return self.length_s / (self.length_s + 1.0 / self.per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests that take `scale` times as long as the profile says, and their share of all."""

    name: str
    share: float
    scale: float

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise DomainError(f"the share of class {self.name} must be within (0, 1), got {self.share:g}")
        if not 0.0 < self.scale <= 1000.0:
            raise DomainError(
                f"the scale of class {self.name} must be above 0 and at most 1000, got {self.scale:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbances:
    """Pauses, and classes of requests besides the ordinary ones, which take what the profile says."""

    pauses: Pauses | None = None
    classes: tuple[RequestClass, ...] = ()

    def __post_init__(self) -> None:
        names = [one.name for one in self.classes]
        if len(names) > CLASSES_MAX or len({*names, ORDINARY}) <= len(names):
            raise DomainError(f"at most {CLASSES_MAX} classes, each with a name of its own but {ORDINARY!r}")
        if math.fsum(one.share for one in self.classes) >= 1.0:
            raise DomainError("the shares of all classes together must leave some ordinary requests")

    @property
    def all_classes(self) -> tuple[RequestClass, ...]:
        """The ordinary requests first, if there are other ones; else empty."""
        if not self.classes:
            return ()
        rest = 1.0 - math.fsum(one.share for one in self.classes)
        return (RequestClass(name=ORDINARY, share=rest, scale=1.0), *self.classes)

    def slowdown(self, batch_size: int) -> float:
        """Mean factor by which a batch takes longer, by its longest request and the pauses.

        >>> round(Disturbances(classes=(RequestClass(name="long", share=0.02, scale=8.0),)).slowdown(1), 9)
        1.14
        """
        longer = 1.0
        if self.classes:
            by_scale = sorted((one.scale, one.share) for one in self.all_classes)
            within = [math.fsum(share for _, share in by_scale[:count]) for count in range(len(by_scale) + 1)]
            within[-1] = 1.0
            chances = [high**batch_size - low**batch_size for low, high in pairwise(within)]
            longer = math.fsum(scale * chance for (scale, _), chance in zip(by_scale, chances, strict=True))
        return longer / (1.0 - (self.pauses.share if self.pauses else 0.0))
