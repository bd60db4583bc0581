"""Sample: one run without its start and its end, or several, as statistics need them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from capacity.question.objective import Measure
from simulations.statistics.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Number of requests that a run serves.

    Attributes:
        warm_up: first requests, at least this many, not counted; the fleet starts empty.
        measured: requests counted.
        cool_down: last requests, not counted; no requests follow to share a batch with.
    """

    warm_up: int
    measured: int
    cool_down: int

    @property
    def requests(self) -> int:
        """Number of simulated requests."""
        return self.warm_up + self.measured + self.cool_down


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Observations of one run between warm-up and end, or of several; only served requests count.

    Attributes:
        waits, responses: tallies of the counted requests; a response includes the request overhead.
        window_s: time that the counted arrivals stand for, a gap each. [s]
        busy_s: time of one replica that the counted requests took, each its share of its batch. [s]
        batches: number of batches that the counted requests make up, with parts of batches.
        batch_size_largest: largest batch of the run.
        lost: number of requests that arrived within the window and were rejected; whole unless samples were mixed.
        missed: number of requests that missed a limit of the objective, as lost ones do, where runs count them.
        rises_s: for each run, mean response of the second half minus that of the first. [s]
        attempts: attempts at the counted and the lost requests; 0 if clients were not simulated.
        retried: number of those requests with more than one attempt.
        fallen: number of runs that were given up, as retries alone kept the fleet down.
        replica_s: time of the replicas that an autoscaler asked for; 0 without one. [s]
        replicas_most, scalings: most of them, and how often their number changed.
    """

    waits: Tally = field(repr=False)
    responses: Tally = field(repr=False)
    window_s: float
    busy_s: float
    batches: float
    batch_size_largest: int
    lost: float
    missed: float = 0.0
    rises_s: tuple[float, ...] = field(repr=False)
    attempts: float = 0.0
    retried: float = 0.0
    fallen: int = 0
    replica_s: float = 0.0
    replicas_most: int = 0
    scalings: int = 0

    @property
    def compared(self) -> tuple[Measure, ...]:
        """Durations of requests in which fleets are compared."""
        return (Measure.RESPONSE,)

    def durations(self, measure: Measure) -> Tally:
        """Durations of served requests."""
        return {Measure.RESPONSE: self.responses, Measure.WAIT: self.waits}[measure]

    def lost_of(self, measure: Measure) -> float:
        """Durations of a measure that lost requests would have had."""
        return self.lost

    def total(self, measure: Measure) -> tuple[float, float]:
        """Durations behind a mean added up [s], and the number to divide them by."""
        tally = self.durations(measure.durations)
        return tally.total_s, tally.count

    @property
    def counted(self) -> int:
        """Number of counted requests."""
        return self.responses.count

    @property
    def as_one(self) -> Self:
        """The sample that statistics use: itself; for strata, their mixture."""
        return self

    def in_cells(self) -> "Sample":
        """The sample with its durations in cells."""
        return replace(self, waits=self.waits.in_cells(), responses=self.responses.in_cells())

    @classmethod
    def merged(cls, samples: Sequence["Sample"]) -> "Sample":
        """Several runs as one."""
        if len(samples) == 1:
            return samples[0]
        return cls(
            waits=Tally.merged([sample.waits for sample in samples]),
            responses=Tally.merged([sample.responses for sample in samples]),
            window_s=math.fsum(sample.window_s for sample in samples),
            busy_s=math.fsum(sample.busy_s for sample in samples),
            batches=math.fsum(sample.batches for sample in samples),
            batch_size_largest=max(sample.batch_size_largest for sample in samples),
            lost=sum(sample.lost for sample in samples),
            missed=sum(sample.missed for sample in samples),
            rises_s=tuple(rise_s for sample in samples for rise_s in sample.rises_s),
            attempts=sum(sample.attempts for sample in samples),
            retried=sum(sample.retried for sample in samples),
            fallen=sum(sample.fallen for sample in samples),
            replica_s=math.fsum(sample.replica_s for sample in samples),
            replicas_most=max(sample.replicas_most for sample in samples),
            scalings=sum(sample.scalings for sample in samples),
        )

    @classmethod
    def mixed(cls, samples: Sequence["Sample"], factors: Sequence[float]) -> "Sample":
        """Samples of the same runs as one, each counted with its factor, whole or not."""
        offered = [k * (one.counted + one.lost) for one, k in zip(samples, factors, strict=True)]
        rises = np.average([one.rises_s for one in samples], axis=0, weights=offered)
        return cls(
            waits=Tally.mixed([one.waits for one in samples], factors),
            responses=Tally.mixed([one.responses for one in samples], factors),
            window_s=mixed([one.window_s for one in samples], factors),
            busy_s=mixed([one.busy_s for one in samples], factors),
            batches=mixed([one.batches for one in samples], factors),
            batch_size_largest=max(one.batch_size_largest for one in samples),
            lost=mixed([one.lost for one in samples], factors),
            missed=mixed([one.missed for one in samples], factors),
            rises_s=tuple(rises.tolist()),
            attempts=mixed([one.attempts for one in samples], factors),
            retried=mixed([one.retried for one in samples], factors),
            fallen=max(one.fallen for one in samples),
        )


def mixed(values: Sequence[float], factors: Sequence[float]) -> float:
    """Weighted sum of the values."""
    return math.fsum(value * factor for value, factor in zip(values, factors, strict=True))
