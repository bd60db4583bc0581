"""ServiceProfile: measured service time by batch size of one model on one device."""

import math
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Literal

from capacity.errors import CoverageError, DomainError, InputError, quoted
from capacity.profile.contention import Contention, processor_sharing
from capacity.profile.distribution import ServiceLaw, between, from_samples, from_summary, later


@dataclass(frozen=True, slots=True, kw_only=True)
class Spells:
    """Spells in which a machine is faster or slower, because of neighbours, memory and clock.

    Spells make queues longer: several slow batches come in a row. The law of a single batch stays the same.

    Attributes:
        share: share of the variance of the times' normal scores that batches at one instant have in common.
        lasting_s: time after which exp(-1) of that is left. [s]

    Raises:
        InputError: a share outside (0, 1), or a time that is not positive and finite.
    """

    share: float
    lasting_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InputError(f"spell_share must be within (0, 1), such as 0.5, got {self.share}")
        if not 0.0 < self.lasting_s < math.inf:
            raise InputError(f"spell_lasting_s must be positive and finite, got {self.lasting_s}")


DeviceKind = Literal["cpu", "gpu"]

BATCH_SIZE_LIMIT = 1_000_000
# A batch slower or faster than this is more likely a wrong unit than a measurement.
BATCH_DURATION_MAX_S = 600.0
BATCH_DURATION_MIN_S = 1e-7
# A larger batch pays while doubling it gives at least this much more throughput.
KNEE_GAIN_PER_DOUBLING = 0.10

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTiming:
    """Service time of one batch size: raw samples, or a mean and any percentiles.

    Raises:
        InputError: neither or both given, or a duration that is not positive or looks like a wrong unit.
    """

    batch_size: int
    samples_s: tuple[float, ...] = ()
    mean_s: float | None = None
    p50_s: float | None = None
    p90_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= BATCH_SIZE_LIMIT:
            raise InputError(f"batch size must be from 1 to {BATCH_SIZE_LIMIT}, got {self.batch_size}")
        if bool(self.samples_s) == (self.mean_s is not None):
            raise InputError(f"batch size {self.batch_size} needs either raw samples or a mean")
        if self.samples_s and self.percentiles_s:
            raise InputError(
                f"batch size {self.batch_size} has raw samples, which give its percentiles; drop these"
            )
        given_s = () if self.mean_s is None else (self.mean_s, *self.percentiles_s.values())
        for duration_s in self.samples_s or given_s:
            if not BATCH_DURATION_MIN_S <= duration_s <= BATCH_DURATION_MAX_S:  # of thousands nearly none
                check_duration(duration_s, self.batch_size)

    @property
    def percentiles_s(self) -> dict[float, float]:
        """The given percentiles, by probability. [s]"""
        given = {0.5: self.p50_s, 0.9: self.p90_s, 0.95: self.p95_s, 0.99: self.p99_s}
        return {probability: value for probability, value in given.items() if value is not None}

    def law(self) -> ServiceLaw:
        """The quantile function that fits the figures."""
        if self.samples_s:
            return from_samples(self.samples_s)
        assert self.mean_s is not None  # noqa: S101  (settled at birth)
        try:
            return from_summary(self.mean_s, self.percentiles_s)
        except InputError as error:
            raise InputError(f"batch size {self.batch_size}: {error}") from None

    def scaled(self, factor: float) -> "BatchTiming":
        """The timing of a device on which every batch takes `factor` times as long.

        Every sample, the mean and each given percentile are multiplied; what was absent stays absent. So the
        law is multiplied as a whole, and its coefficient of variation stays the same.

        >>> BatchTiming(batch_size=1, mean_s=0.01, p99_s=0.02).scaled(0.5).p99_s
        0.01
        """

        def scaled(value: float | None) -> float | None:
            return None if value is None else factor * value

        return replace(
            self,
            samples_s=tuple(factor * x for x in self.samples_s),
            mean_s=scaled(self.mean_s),
            p50_s=scaled(self.p50_s),
            p90_s=scaled(self.p90_s),
            p95_s=scaled(self.p95_s),
            p99_s=scaled(self.p99_s),
        )


def check_duration(duration_s: float, batch_size: int) -> None:
    """Refuse a duration that cannot be a service time, or looks like a wrong unit."""
    if not (duration_s > 0.0 and math.isfinite(duration_s)):
        raise InputError(f"batch size {batch_size}: a duration must be positive and finite, got {duration_s}")
    if not BATCH_DURATION_MIN_S <= duration_s <= BATCH_DURATION_MAX_S:
        raise InputError(
            f"batch size {batch_size}: {duration_s:g} s for one batch is outside {BATCH_DURATION_MIN_S:g} s "
            f"to {BATCH_DURATION_MAX_S:g} s; is the unit in the column name right (_s, _ms, _us)?"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProfile:
    """Measured service times of one model on one device, and its price.

    Batch sizes between two measured ones are interpolated quantile by quantile; sizes outside the measured range are
    refused, never extrapolated.

    Attributes:
        timings: one per batch size, in any order; kept in rising order.
        batch_work_s, request_work_s: work of a replica for each batch and each request outside the timed part, such
        as reading, checking and answering, if the same processor does both: a batch of b occupies its replica longer
            than its timing by the former plus b times the latter. All laws of this profile include that. [s]
        wake_s: extra time of a batch that starts at an idle replica, one whose queue ended no batch at that very
            instant; laws and means of this profile are for back-to-back batches. [s]
        spells: how batches that begin near each other in time are correlated; None if they are independent.
        request_overhead_s: time added to every response that takes no server capacity. [s]
        instances_per_device: replicas that share one device, and its price.
        contention: how they slow each other down, for at least that many; None if it was not measured.
        hourly_usd: price of one device; None if unknown. [USD/h]
        source: where the figures come from, by aspect (repository, file, line, licence, price, ...).
        timings_column: the column or key of a file that has the times, with its unit: latency_ms.
        path: path of its file as given; None for a bundled profile, or without a file.
    """

    # Fields that a CSV does not have, and their names in messages.
    BEYOND_CSV: ClassVar[Mapping[str, str]] = {
        "batch_work_s": "work for each batch",
        "request_work_s": "work for each request",
        "wake_s": "wake time",
        "spells": "spells",
        "request_overhead_s": "request overhead",
        "instances_per_device": "number of instances per device",
        "memory_bytes": "",
    }

    name: str
    timings: tuple[BatchTiming, ...]
    model: str | None = None
    device: str | None = None
    kind: DeviceKind | None = None
    precision: str | None = None
    runtime: str | None = None
    batch_work_s: float = 0.0
    request_work_s: float = 0.0
    wake_s: float = 0.0
    spells: Spells | None = None
    request_overhead_s: float = 0.0
    instances_per_device: int = 1
    contention: Contention | None = None
    hourly_usd: float | None = None
    memory_bytes: int | None = None
    source: Mapping[str, str] = field(default_factory=dict, hash=False)
    timings_column: str | None = field(default=None, compare=False)
    path: str | None = field(default=None, compare=False, repr=False)
    _laws: tuple[ServiceLaw, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"profile name {quoted(self.name)} may contain only letters, digits, '.', '_' and '-', "
                "at most 128, and must start with a letter or digit"
            )
        ordered = tuple(sorted(self.timings, key=lambda timing: timing.batch_size))
        if not ordered:
            raise InputError(f"profile {self.name} has no batch size; measure at least one")
        for low, high in pairwise(ordered):
            if low.batch_size == high.batch_size:
                raise InputError(f"profile {self.name} has batch size {low.batch_size} twice; keep one")
        self._check_scalars()
        object.__setattr__(self, "timings", ordered)
        laws = (later(timing.law(), self.work_s(timing.batch_size)) for timing in ordered)
        object.__setattr__(self, "_laws", tuple(laws))

    def _check_scalars(self) -> None:
        for name in ("batch_work_s", "request_work_s", "wake_s", "request_overhead_s"):
            duration_s = getattr(self, name)
            if not 0.0 <= duration_s <= BATCH_DURATION_MAX_S:
                raise InputError(f"{name} must be from 0 to {BATCH_DURATION_MAX_S:g}, got {duration_s}")
        if self.instances_per_device < 1:
            raise InputError(f"instances_per_device must be >= 1, got {self.instances_per_device}")
        if self.contention is not None and self.contention.instances < self.instances_per_device:
            raise InputError(
                f"profile {self.name} knows the contention of {self.contention.instances} busy instances and "
                f"has {self.instances_per_device} per device; measure it for that many too, or leave "
                "contention out, which assumes processor sharing"
            )
        if self.hourly_usd is not None and not 0.0 < self.hourly_usd < math.inf:
            raise InputError(f"hourly_usd must be positive and finite, got {self.hourly_usd}")
        if self.kind not in (None, "cpu", "gpu"):
            raise InputError(f"kind must be cpu or gpu, got {self.kind!r}")
        if self.memory_bytes is not None and self.memory_bytes < 0:
            raise InputError(f"memory_bytes must not be negative, got {self.memory_bytes}")

    @property
    def facts(self) -> tuple[str, ...]:
        """What was measured, as far as it is known: model, device, precision and runtime."""
        return tuple(filter(None, (self.model, self.device, self.precision, self.runtime)))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The measured batch sizes, rising."""
        return tuple(timing.batch_size for timing in self.timings)

    @property
    def batch_size_min(self) -> int:
        """Smallest measured batch size."""
        return self.timings[0].batch_size

    @property
    def batch_size_max(self) -> int:
        """Largest measured batch size."""
        return self.timings[-1].batch_size

    @property
    def laws(self) -> tuple[ServiceLaw, ...]:
        """Laws of how long a batch of each measured size occupies a replica, in order of size."""
        return self._laws

    def of_means(self) -> "ServiceProfile":
        """The profile with constant batch times, the means, and no wakes: what exact laws of batches know."""
        timings = (
            BatchTiming(batch_size=timing.batch_size, mean_s=timing.law().mean_s) for timing in self.timings
        )
        return replace(self, timings=tuple(timings), spells=None, wake_s=0.0)

    def work_s(self, batch_size: int) -> float:
        """Work for a batch outside its timed part. [s]"""
        return self.batch_work_s + batch_size * self.request_work_s

    def place(self, batch_size: int) -> tuple[int, float]:
        """Position of a batch size: the index of the measured size at or below it, and the weight of the next.

        Raises:
            CoverageError: the batch size lies outside the measured range.
        """
        if not self.batch_size_min <= batch_size <= self.batch_size_max:
            raise CoverageError(
                f"profile {self.name} was measured from batch size {self.batch_size_min} to "
                f"{self.batch_size_max} and does not cover {batch_size}; measure that size too"
            )
        sizes = self.batch_sizes
        right = bisect_left(sizes, batch_size)
        if sizes[right] == batch_size:
            return right, 0.0
        return right - 1, (batch_size - sizes[right - 1]) / (sizes[right] - sizes[right - 1])

    def law(self, batch_size: int) -> ServiceLaw:
        """How long a batch occupies its replica, interpolated between the two measured sizes around it.

        Raises:
            CoverageError: the batch size lies outside the measured range.
        """
        place, weight = self.place(batch_size)
        if weight == 0.0:
            return self._laws[place]
        return between(self._laws[place], self._laws[place + 1], weight)

    def service_mean_s(self, batch_size: int) -> float:
        """Mean service time of a batch, including its requests' own work. [s]"""
        return self.law(batch_size).mean_s

    def throughput_rps(self, batch_size: int) -> float:
        """Requests per second of one replica that always serves full batches of this size."""
        return batch_size / self.service_mean_s(batch_size)

    def sizes_up_to(self, batch_size_max: int) -> list[int]:
        """The batch sizes that were measured below a largest one, and that one."""
        return [*(size for size in self.batch_sizes if size < batch_size_max), batch_size_max]

    def service_floor_s(self, quantile: float, batch_size_max: int) -> float:
        """Response-time quantile that no plan with batches up to `batch_size_max` can beat. [s]

        A response takes at least the service of its batch, whose size no plan can make other than 1 ...
        `batch_size_max`; the fastest size need not be 1. Interpolation is linear in the batch size, so the minimum is
        at a measured size or at the limit itself.
        """
        sizes = self.sizes_up_to(batch_size_max)
        return min(self.law(size).quantile_s(quantile) for size in sizes) + self.request_overhead_s

    def service_floor_mean_s(self, batch_size_max: int) -> float:
        """Mean response that no plan with batches up to `batch_size_max` can beat. [s]"""
        return (
            min(self.service_mean_s(size) for size in self.sizes_up_to(batch_size_max))
            + self.request_overhead_s
        )

    @property
    def knee_batch_size(self) -> int:
        """Largest batch size that pays: each doubling up to it gives at least 10 % more throughput."""
        knee = self.batch_size_min
        for size in self.batch_sizes[1:]:
            worth = (1.0 + KNEE_GAIN_PER_DOUBLING) ** math.log2(size / knee)
            if self.throughput_rps(size) >= worth * self.throughput_rps(knee):
                knee = size
        return knee

    @property
    def is_monotone(self) -> bool:
        """Whether larger batches take at least as long, quantile by quantile."""
        grid = sorted({u for law in self._laws for u in law.probabilities} | {0.5, 0.99})
        return all(
            low.quantile_s(u) <= high.quantile_s(u) for low, high in pairwise(self._laws) for u in grid
        )

    def slowdown(self, busy: int) -> float:
        """How many times longer a batch takes while this many instances of its device are busy.

        The measured slowdown, else m for m instances: processor sharing, which is assumed.

        Raises:
            DomainError: more instances than a device has.
        """
        if not 1 <= busy <= self.instances_per_device:
            raise DomainError(
                f"a device of profile {self.name} has {self.instances_per_device} instances, so that {busy} "
                "cannot be busy; raise instances_per_device"
            )
        return float(busy) if self.contention is None else self.contention.slowdown(busy)

    def device_contention(self, replicas: int) -> Contention | None:
        """Contention on the fullest device of a fleet; None if each replica has a device of its own."""
        instances = min(replicas, self.instances_per_device)
        if self.instances_per_device == 1:
            return None
        if self.contention is None:
            return processor_sharing(instances)
        return self.contention.up_to(instances)

    def slowdowns(self, replicas: int) -> tuple[float, ...]:
        """Slowdowns by number of busy instances, from 1, for as many as share a device in this fleet."""
        contention = self.device_contention(replicas)
        return (1.0,) if contention is None else contention.slowdowns

    def devices(self, replicas: int) -> int:
        """Number of devices that this many replicas need."""
        return -(-replicas // self.instances_per_device)

    def hourly_cost_usd(self, replicas: int) -> float | None:
        """Price of a fleet; None if the device's price is unknown. [USD/h]"""
        return None if self.hourly_usd is None else self.devices(replicas) * self.hourly_usd

    def scaled(self, factor: float) -> "ServiceProfile":
        """The profile of a device on which every batch takes `factor` times as long.

        The request overhead lies outside the server and stays the same.

        Raises:
            DomainError: a factor that is not positive and finite.
        """
        if not 0.0 < factor < math.inf:
            raise DomainError(f"factor must be positive and finite, got {factor}")
        return replace(self, timings=tuple(timing.scaled(factor) for timing in self.timings))
