"""Measurement: what was found of each batch size and of requests, whatever it was found by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from capacity.caveats import Caveat
from capacity.errors import DependencyError, InconclusiveError
from capacity.performance import Interval
from capacity.profile import BatchTiming
from capacity.spells import Spells
from measurements.overhead import Overhead
from measurements.request_work import RequestWork
from measurements.stalls import Stalls
from measurements.work_beside import WorkBeside


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFinding:
    """One batch size.

    Attributes:
        timing: what goes into the profile.
        count: batches behind it.
        mean: with its interval; None where a single batch or open buckets give none. [s]
        drift: relative shift from the first half to the second; None where it cannot be told.
        stalls: None where no samples are known.
        bucket_error: how far a percentile may be off, as a share of it; None where none is from buckets.
    """

    timing: BatchTiming
    count: int
    mean: Interval | None
    drift: Interval | None = None
    stalls: Stalls | None = None
    bucket_error: float | None = None

    @property
    def batch_size(self) -> int:
        """Requests of a batch."""
        return self.timing.batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All batch sizes, rising, and what lies beside the batches.

    Attributes:
        wake: how much longer a batch took after a rest; None where that was not tried. [s]
        source: how and on what it was made, by aspect, for the profile.
        stop: interrupt or failure that ended it early, to be raised again when all is safe; None without one.
    """

    findings: tuple[SizeFinding, ...]
    source: Mapping[str, str]
    caveats: tuple[Caveat, ...] = ()
    overhead: Overhead | None = None
    work: RequestWork | None = None
    beside: WorkBeside | None = None
    spells: Spells | None = None
    wake: Interval | None = None
    stop: KeyboardInterrupt | DependencyError | InconclusiveError | None = field(default=None, compare=False)
