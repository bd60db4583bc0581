"""Load test: a load generator's report of its runs, in SI, as far as it goes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.performance import Interval
from capacity.traffic.lengths import LengthRows

_INSTANT_S = 1e-9  # no clock tells this from 0
# Names of a server's stages in order, whatever its tool calls them; `compute` is input, inference and output
# together, as in old servers; an engine of a language model prefills and decodes.
QUEUE, INFERENCE, PREFILL, DECODE = "queue", "compute infer", "prefill", "decode"
SERVER_STAGES = (
    *(QUEUE, "compute input", INFERENCE, "compute output", "compute", "cache hit", "cache miss"),
    *(PREFILL, DECODE),
)
Floats = npt.NDArray[np.float64]


class Loop(StrEnum):
    """What decides when a request is sent: the clock (open), or the answer to the one before (closed).

    SERVED: the figures are the server's own, whoever sent the requests.
    """

    OPEN = "open"
    CLOSED = "closed"
    SERVED = "served"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Answered requests, one by one, in the order in which they were sent.

    Attributes:
        sent_s: when each was sent, from any origin, in order, shape `(requests,)`. [s]
        response_s: response time of each, shape `(requests,)`. [s]
        due_s: when each should have been sent; empty if unknown. [s]
    """

    sent_s: Floats
    response_s: Floats
    due_s: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(
        cls,
        sent_s: Sequence[float] | Floats,
        response_s: Sequence[float] | Floats,
        due_s: Sequence[float] = (),
    ) -> "Samples":
        """Samples from columns in any order of requests.

        Raises:
            InputError: columns of different lengths, a negative duration, or numbers that are not finite.
        """
        sent, response, due = (np.asarray(column, dtype=float) for column in (sent_s, response_s, due_s))
        if len(sent) != len(response) or len(due) not in (0, len(sent)):
            raise InputError(
                f"{len(sent)} instants of sending have {len(response)} responses and {len(due)} due times; "
                "they must be as many"
            )
        if not (np.isfinite(sent).all() and np.isfinite(response).all() and np.isfinite(due).all()):
            raise InputError("instants and durations must be finite numbers")
        if len(response) and response.min() < 0.0:
            raise InputError(f"a response takes no less than 0 s, got {response.min():g} s")
        order = np.argsort(sent, kind="stable")
        return cls(sent[order], response[order], due[order] if len(due) else due)


def sent_rps(samples: Samples) -> float | None:
    """Rate at which requests were sent, from the first to the last; None with fewer than two, or all at once."""
    span_s = float(np.ptp(samples.sent_s)) if len(samples.sent_s) else 0.0
    return (len(samples.sent_s) - 1) / span_s if span_s > 0.0 else None


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of responses between bounds, the last of which may be infinite.

    Attributes:
        edges_s: rising, one more than the counts. [s]
        counts: responses above the lower and up to the upper edge.
    """

    edges_s: tuple[float, ...]
    counts: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges_s) != len(self.counts) + 1:
            raise InputError(
                f"{len(self.counts)} counts need {len(self.counts) + 1} bounds, got {len(self.edges_s)}"
            )
        if not all(low < high for low, high in pairwise(self.edges_s)):
            raise InputError("bounds of a histogram must rise")
        if not all(0.0 <= count < math.inf for count in self.counts):
            raise InputError("counts of a histogram are finite and never below 0")

    @classmethod
    def up_to(cls, counts: Sequence[tuple[float, float]]) -> "Histogram":
        """A histogram from upper bounds and the count between each and the one before; the first counts from 0.

        Raises:
            InputError: bounds that do not rise, or a negative count.
        """
        uppers = [upper for upper, _ in counts]
        low = 0.0 if not uppers or uppers[0] > 0.0 else -_INSTANT_S
        return cls(edges_s=(low, *uppers), counts=tuple(count for _, count in counts))

    @property
    def total(self) -> float:
        """Sum of the counts."""
        return math.fsum(self.counts)

    def quantile(self, q: float) -> Interval:
        """The bounds that a quantile lies between; the value is the upper one, unless that is infinite. [s]

        Raises:
            InputError: the histogram is empty.
        """
        if not self.total:
            raise InputError("an empty histogram has no quantiles")
        seen = list(accumulate(self.counts))
        wanted = q * seen[-1] * (1.0 - 1e-12)
        low, high = next(
            bucket
            for bucket, count, so_far in zip(pairwise(self.edges_s), self.counts, seen, strict=True)
            if count and so_far >= wanted
        )
        return Interval(value=high if high < math.inf else low, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Moment:
    """One row of a run's history; None for what it lacks.

    Attributes:
        t_s: instant, from any origin. [s]
        rate_rps: rate of answered requests. [requests/s]
        median_s, p99_s: quantiles of responses. [s]
    """

    t_s: float
    users: float | None = None
    rate_rps: float | None = None
    median_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of one measure over the requests of a run: their mean, and quantiles by level. [s]"""

    mean_s: float
    quantiles_s: Mapping[float, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNow:
    """What an engine of a language model held at the instant when it was asked.

    Attributes:
        running, waiting: requests that it served, and that waited for their first step or, once preempted, for another.
        kv_share: part of its KV cache that was in use, from 0 to 1; None if it does not say.
        preemptions: requests preempted so far, for each one that was answered.
    """

    running: float
    waiting: float
    kv_share: float | None = None
    preemptions: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadRun:
    """One run against one endpoint, in seconds and requests per second; what a tool does not say is None or empty.

    Attributes:
        name: name of the run or the endpoint in the file.
        loop: what decides when a request is sent, by the tool or its settings.
        loop_because: evidence for the loop if the file does not name it; else empty.
        users: largest number of requests in flight at once: users, threads or connections.
        rate_asked_rps, rate_sent_rps: the scheduled rate, and the rate at which requests were sent. [requests/s]
        throughput_rps: rate of answered requests. [requests/s]
        duration_s: length of the run. [s]
        succeeded, failed, dropped: requests answered well; answered badly or not at all; never sent, for lack of
            users or connections.
        mean_s, min_s, max_s: statistics of the responses that the quantiles describe. [s]
        answered_mean_s: mean of all responses, including those of failed requests, if `mean_s` leaves them out. [s]
        quantiles_s: as reported; the intervals hold what rounding or buckets leave open. [s]
        counted: number of durations behind the quantiles, if that is not the number of requests.
        is_corrected: whether the tool added durations of requests that it should have sent.
        histogram, samples, history: data behind the figures, if available; samples are of good answers.
        answered: single requests, including failed ones.
        schedule_delay_mean_s, schedule_delay_p99_s: delay of sending after the schedule. [s]
        stages_s: mean time of a request in each stage of the server, in order, such as queue and compute. [s]
        think_time_s: time between an answer and the next request of a user; None if unknown. [s]
        batch_size: inferences in each request of the client.
        counts_inferences: whether the throughput counts inferences, of which a request may have carried several.
        batch_size_mean: mean number of requests in a batch of the server. [requests]
        batch_mean_s: mean time of a batch. [s]
        invalid_because: why the tool itself calls the run invalid; empty if it does not.
        lengths: tokens of each sample's request, in order, for a language model.
        engine: what the engine held when it was asked, of a language model; None if it does not say.
        measures: times of its requests besides their responses, by measure: ttft and tpot.
        resolution_s: resolution of durations; 0 if they are exact. [s]
    """

    name: str
    loop: Loop = Loop.UNKNOWN
    loop_because: str = ""
    users: float | None = None
    rate_asked_rps: float | None = None
    rate_sent_rps: float | None = None
    throughput_rps: float | None = None
    duration_s: float | None = None
    succeeded: int | None = None
    failed: int | None = None
    dropped: int | None = None
    mean_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    answered_mean_s: float | None = None
    quantiles_s: Mapping[float, Interval] = field(default_factory=dict)
    counted: int | None = None
    is_corrected: bool = False
    histogram: Histogram | None = None
    samples: Samples | None = None
    answered: Samples | None = None
    history: tuple[Moment, ...] = ()
    schedule_delay_mean_s: float | None = None
    schedule_delay_p99_s: float | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    think_time_s: float | None = None
    batch_size: int = 1
    counts_inferences: bool = False
    batch_size_mean: float | None = None
    batch_mean_s: float | None = None
    invalid_because: str = ""
    lengths: LengthRows | None = None
    engine: EngineNow | None = None
    measures: Mapping[str, Times] = field(default_factory=dict)
    resolution_s: float = 0.0

    def __post_init__(self) -> None:
        known = {
            name: getattr(self, name)
            for name in ("users", "rate_asked_rps", "rate_sent_rps", "throughput_rps", "duration_s", "mean_s",
                         "answered_mean_s", "min_s", "max_s", "succeeded", "failed", "dropped", "counted")
        }  # fmt: skip
        for name, value in known.items():
            if value is not None and not 0.0 <= value < math.inf:
                raise InputError(f"{self.name}: {name} must be finite and not below 0, got {value}")
        if not all(0.0 <= q <= 1.0 for q in self.quantiles_s):
            raise InputError(f"{self.name}: quantiles are from 0 to 1, got {sorted(self.quantiles_s)}")
        if any(one.low < 0.0 for one in self.quantiles_s.values()):
            raise InputError(f"{self.name}: no response takes less than 0 s, and a quantile does")
        object.__setattr__(self, "quantiles_s", dict(sorted(self.quantiles_s.items())))

    @property
    def requests(self) -> int | None:
        """Number of requests sent and counted: those answered well, and the others."""
        return None if self.succeeded is None else self.succeeded + (self.failed or 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadTest:
    """The runs of a file, and the tool that made them.

    Attributes:
        whole: name of the run that sums up all others, such as a table's last row; None if there is none.
        notes: what its reader had to decide, a sentence each.
    """

    tool: str
    name: str
    runs: tuple[LoadRun, ...]
    whole: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError(f"{self.name} holds no run with a measurement; run the load test again")
