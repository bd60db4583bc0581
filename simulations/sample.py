"""Sample: one run, its beginning and its end cut off, reduced to what statistics need as it goes by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from capacity.errors import InputError
from simulations.compiled import compiled
from simulations.kernel_state import Structs
from simulations.records import Floats, Integers
from simulations.tally import ROUNDING, Cells, Counters, Tally, cell_or_mark

# Of up to so many requests a run keeps each; of more it counts in cells, which is quicker than sorting them.
EXACT_REQUESTS_MAX = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How many requests a run serves.

    Attributes:
        warm_up: first requests, at least so many not counted; the fleet starts empty.
        measured: requests counted.
        cool_down: last requests, not counted; none come after them to share a batch with.
    """

    warm_up: int
    measured: int
    cool_down: int

    @property
    def requests(self) -> int:
        """All that are simulated."""
        return self.warm_up + self.measured + self.cool_down


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What one run saw between warm-up and end, or several did; only requests that were served count.

    Attributes:
        waits, responses: of the counted requests; a response includes the request overhead.
        window_s: time that the counted arrivals stand for, a gap each. [s]
        busy_s: time of one replica that the counted requests took, each its share of its batch. [s]
        batches: batches that the counted requests make up, a batch cut in two counted in part.
        batch_size_largest: of all batches of the run.
        lost: requests that arrived within the window and found no place.
        rises_s: of each run, mean response of the second half less that of the first. [s]
    """

    waits: Tally = field(repr=False)
    responses: Tally = field(repr=False)
    window_s: float
    busy_s: float
    batches: float
    batch_size_largest: int
    lost: int
    rises_s: tuple[float, ...] = field(repr=False)

    @property
    def counted(self) -> int:
        """Requests that count."""
        return self.responses.count

    def in_cells(self) -> "Sample":
        """The same with its durations in cells."""
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
            rises_s=tuple(rise_s for sample in samples for rise_s in sample.rises_s),
        )


# Where a reduction has come to, and its sums; a half is that of the counted arrivals.
_PROGRESS = np.dtype(
    [
        ("number", np.int64),
        ("start", np.int64),
        ("middle", np.int64),
        ("end", np.int64),
        ("kept", np.int64),
        ("overhead_s", np.float64),
        ("opened_s", np.float64),
        ("closed_s", np.float64),
        ("wait_s", np.float64),
        ("response_s", np.float64),
        ("first_half_s", np.float64),
        ("first_half", np.int64),
        ("busy_s", np.float64),
        ("batches", np.float64),
        ("largest", np.int64),
        ("zeros", np.int64),
        ("response_zeros", np.int64),
    ]
)


class Reduction:
    """A sample in the making: requests go by in the order of their arrival, however many at a time.

    The sums are those of one request after the other, so that they do not depend on the size of the parts.
    """

    def __init__(
        self,
        length: Length,
        requests: int,
        overhead_s: float,
        wait_marks_s: Floats,
        response_marks_s: Floats,
    ) -> None:
        """Reduce a run of so many requests, of which `length` says what counts; a trace may be shorter."""
        end = requests - length.cool_down
        start = length.warm_up
        if requests < length.requests:  # as long as it is, half of it counts
            start = min(start, end // 2)
        self._progress = np.zeros(1, dtype=_PROGRESS)
        self._progress["start"], self._progress["end"] = start, end
        self._progress["middle"] = (start + end) // 2
        self._progress["overhead_s"] = overhead_s
        self._marks_s = (wait_marks_s, response_marks_s)
        self._is_exact = end - start <= EXACT_REQUESTS_MAX
        room = end - start if self._is_exact else 0
        self._wait_s, self._response_s = np.empty(room), np.empty(room)
        nothing = np.zeros(0)
        self._waits = Counters(nothing if self._is_exact else wait_marks_s)
        self._responses = Counters(nothing if self._is_exact else response_marks_s)

    def add(self, arrived_s: Floats, started_s: Floats, finished_s: Floats, size: Integers) -> None:
        """The next requests, shape `(requests,)` each; size 0 is lost. [s]"""
        _reduce(
            self._progress, self._waits.arrays, self._responses.arrays, self._wait_s, self._response_s,
            arrived_s, started_s, finished_s, size,
        )  # fmt: skip

    def sample(self, window_s: float | None = None) -> Sample:
        """What was seen, once all requests have gone by.

        Args:
            window_s: time that the counted requests stand for, if it is known otherwise. [s]

        Raises:
            InputError: nothing can be said of the counted requests.
        """
        sums = self._progress[0]
        asked = int(sums["end"] - sums["start"])
        if window_s is None:
            span_s = float(sums["closed_s"] - sums["opened_s"])
            if not span_s > 0.0:
                raise InputError(f"all {asked} counted requests arrive at one instant; a rate needs more")
            window_s = span_s * asked / (asked - 1)
        waits, responses = self._tallies()
        first, second = int(sums["first_half"]), responses.count - int(sums["first_half"])
        if not responses.count:
            raise InputError(f"all {asked} counted requests are lost; allow more of them to wait")
        first_s = float(sums["first_half_s"])
        second_s = float(sums["response_s"]) - first_s
        rise_s = second_s / second - first_s / first if first and second else 0.0
        return Sample(
            waits=waits,
            responses=responses,
            window_s=window_s,
            busy_s=float(sums["busy_s"]),
            batches=float(sums["batches"]),
            batch_size_largest=int(sums["largest"]),
            lost=asked - responses.count,
            rises_s=(rise_s,),
        )

    def _tallies(self) -> tuple[Tally, Tally]:
        """Of waits and of responses."""
        sums = self._progress[0]
        if not self._is_exact:
            waits = self._waits.tally(float(sums["wait_s"]), int(sums["zeros"]))
            return waits, self._responses.tally(float(sums["response_s"]), int(sums["response_zeros"]))
        kept = int(sums["kept"])
        rounding_s = ROUNDING * float(sums["closed_s"])
        waits_s, responses_s = self._wait_s[:kept], self._response_s[:kept]
        return (
            Tally.of(waits_s, self._marks_s[0], rounding_s),
            Tally.of(responses_s, self._marks_s[1], rounding_s),
        )


@compiled
def _reduce(  # noqa: C901  (one loop, whose sums stay in registers)
    progress: Structs,
    waits: Cells,
    responses: Cells,
    kept_wait_s: Floats,
    kept_response_s: Floats,
    arrived_s: Floats,
    started_s: Floats,
    finished_s: Floats,
    size: Integers,
) -> None:
    """Add requests one after the other, in the order of arrival."""
    sums = progress[0]
    number, start, middle, end = sums.number, sums.start, sums.middle, sums.end
    overhead_s, is_exact, kept = sums.overhead_s, len(kept_wait_s) > 0, sums.kept
    total_wait_s, total_response_s = sums.wait_s, sums.response_s
    busy_s, batches, largest = sums.busy_s, sums.batches, sums.largest
    zeros, response_zeros = sums.zeros, sums.response_zeros
    wait_cells, waits_at, wait_marks_s, wait_first = waits
    response_cells, responses_at, response_marks_s, response_first = responses
    for place in range(len(arrived_s)):
        members = size[place]
        largest = max(largest, members)
        number += 1
        if not start < number <= end:
            continue
        came_s = arrived_s[place]
        if number == start + 1:
            sums.opened_s = came_s
        if number == end:
            sums.closed_s = came_s
        if number == middle + 1:
            sums.first_half, sums.first_half_s = kept, total_response_s
        if members == 0:
            continue
        wait_s = started_s[place] - came_s
        response_s = finished_s[place] - came_s + overhead_s
        total_wait_s += wait_s
        total_response_s += response_s
        share = 1.0 / members
        busy_s += (finished_s[place] - started_s[place]) * share
        batches += share
        zeros += wait_s == 0.0
        response_zeros += response_s == 0.0
        if is_exact:
            kept_wait_s[kept] = wait_s
            kept_response_s[kept] = response_s
        else:
            rounding_s = ROUNDING * finished_s[place]
            cell = cell_or_mark(wait_marks_s, wait_first, wait_s, rounding_s)
            if cell >= 0:
                wait_cells[cell] += 1
            else:
                waits_at[~cell] += 1
            cell = cell_or_mark(response_marks_s, response_first, response_s, rounding_s)
            if cell >= 0:
                response_cells[cell] += 1
            else:
                responses_at[~cell] += 1
        kept += 1
    sums.number, sums.kept, sums.largest = number, kept, largest
    sums.zeros, sums.response_zeros = zeros, response_zeros
    sums.wait_s, sums.response_s = total_wait_s, total_response_s
    sums.busy_s, sums.batches = busy_s, batches
