"""Reduction: a run becomes a sample request by request, as it is served."""

from collections.abc import Sequence

import numpy as np

from capacity.errors import InputError
from simulations.compiled import borrowing
from simulations.draws.records import Floats, Integers
from simulations.kernel.state import Structs
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import ROUNDING, Cells, Counters, Tally, count_in

# A run of up to this many requests keeps each duration; a longer one counts in cells, which is faster than sorting.
EXACT_REQUESTS_MAX = 2048

# Position and sums of a reduction; a half is half of the counted arrivals.
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


_OF_THE_FIRST = np.zeros(0, dtype=np.int64)  # labels of requests that all belong to one part


class Reduction:
    """Samples in the making, one for each part of a run: requests are added in order of arrival, any number at a time.

    The sums are added one request after another, so they do not depend on how many are added at a time.
    """

    def __init__(
        self,
        length: Length,
        requests: int,
        overhead_s: float,
        wait_marks_s: Floats,
        response_marks_s: Floats,
        parts: int = 1,
    ) -> None:
        """Reduce a run of this many requests, of which `length` says what counts; a trace may be shorter."""
        end = requests - length.cool_down
        start = length.warm_up
        if requests < length.requests:  # half of a shorter run counts
            start = min(start, end // 2)
        self._progress = np.zeros(parts, dtype=_PROGRESS)
        self._progress["start"], self._progress["end"] = start, end
        self._progress["middle"] = (start + end) // 2
        self._progress["overhead_s"] = overhead_s
        self._marks_s = (wait_marks_s, response_marks_s)
        self._is_exact = end - start <= EXACT_REQUESTS_MAX
        room = end - start if self._is_exact else 0
        self._wait_s, self._response_s = np.empty((parts, room)), np.empty((parts, room))
        counted = 0 if self._is_exact else parts
        self._counters = Counters(wait_marks_s, counted), Counters(response_marks_s, counted)

    def add(
        self,
        arrived_s: Floats,
        started_s: Floats,
        finished_s: Floats,
        size: Integers,
        parts: Integers = _OF_THE_FIRST,
    ) -> None:
        """Add the next requests, shape `(requests,)` each; size 0 is lost. [s]

        Args:
            parts: part to which each belongs, if there are several.
        """
        waits, responses = self._counters
        _reduce(
            self._progress, waits.arrays, responses.arrays, self._wait_s, self._response_s,
            parts, arrived_s, started_s, finished_s, size,
        )  # fmt: skip

    def halve(self) -> None:
        """Begin the second half: requests added from now on belong to it."""
        self._progress["middle"] = -1
        self._progress["first_half"], self._progress["first_half_s"] = (
            self._progress["kept"],
            self._progress["response_s"],
        )

    def parts(self, rates_rps: Sequence[float], ended_s: float) -> tuple[Sample, ...]:
        """The samples of the parts, each of which may be empty, if requests of each come at a known rate.

        Args:
            ended_s: when the last request of the run came. [s]
        """
        self._progress["closed_s"] = ended_s
        numbers = self._progress["number"].tolist()
        samples = [
            self._sample(number / rate_rps, part)
            for part, (number, rate_rps) in enumerate(zip(numbers, rates_rps, strict=True))
        ]
        self._close()
        return tuple(samples)

    def stretch(self, window_s: float, ended_s: float) -> Sample:
        """The sample, if this is what came in a stretch of time, however much that was; it may be empty.

        Args:
            window_s: length of the stretch. [s]
            ended_s: when it ended. [s]
        """
        self._progress["closed_s"] = ended_s
        sample = self._sample(window_s, 0)
        self._close()
        return sample

    def sample(self, window_s: float | None = None, *, may_be_empty: bool = False) -> Sample:
        """The sample of a run with one part, once all requests have been added.

        Args:
            window_s: time that the counted requests stand for, if it is known otherwise. [s]
            may_be_empty: whether all counted requests may be lost.

        Raises:
            InputError: no counted request was served.
        """
        sums = self._progress[0]
        asked = int(sums["end"] - sums["start"])
        if window_s is None:
            span_s = float(sums["closed_s"] - sums["opened_s"])
            if not span_s > 0.0:
                raise InputError(f"all {asked} counted requests arrive at one instant; a rate needs more")
            window_s = span_s * asked / (asked - 1)
        if not int(sums["kept"]) and not may_be_empty:
            raise InputError(f"all {asked} counted requests are rejected; allow more of them to wait")
        sample = self._sample(window_s, 0)
        self._close()
        return sample

    def _close(self) -> None:
        """Give back what only a run needs."""
        if not self._is_exact:
            for one in self._counters:
                one.give_back()

    def _sample(self, window_s: float, part: int) -> Sample:
        """The sample from the sums; lost is what was asked and not served."""
        sums = self._progress[part]
        asked = int(min(sums["number"], sums["end"]) - sums["start"])
        waits, responses = self._tallies(part)
        first, second = int(sums["first_half"]), responses.count - int(sums["first_half"])
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

    def _tallies(self, part: int) -> tuple[Tally, Tally]:
        """Tallies of waits and of responses."""
        sums = self._progress[part]
        if not self._is_exact:
            waits, responses = self._counters
            return (
                waits.tally(float(sums["wait_s"]), int(sums["zeros"]), part),
                responses.tally(float(sums["response_s"]), int(sums["response_zeros"]), part),
            )
        kept = int(sums["kept"])
        rounding_s = ROUNDING * float(sums["closed_s"])
        waits_s, responses_s = self._wait_s[part, :kept], self._response_s[part, :kept]
        return (
            Tally.of(waits_s, self._marks_s[0], rounding_s),
            Tally.of(responses_s, self._marks_s[1], rounding_s),
        )


@borrowing
def _reduce(  # noqa: C901  (one loop, whose sums stay in registers)
    progress: Structs,
    waits: Cells,
    responses: Cells,
    kept_wait_s: Floats,
    kept_response_s: Floats,
    parts: Integers,
    arrived_s: Floats,
    started_s: Floats,
    finished_s: Floats,
    size: Integers,
) -> None:
    """Add requests one after the other, in order of arrival; a stretch of those of one part at a time."""
    is_exact, after = kept_wait_s.shape[1] > 0, 0
    while after < len(arrived_s):
        begin, after, part = after, len(arrived_s), 0
        if len(parts):
            after, part = begin + 1, parts[begin]
            while after < len(parts) and parts[after] == part:
                after += 1
        sums = progress[part]
        number, start, middle, end = sums.number, sums.start, sums.middle, sums.end
        overhead_s, kept = sums.overhead_s, sums.kept
        total_wait_s, total_response_s = sums.wait_s, sums.response_s
        busy_s, batches, largest = sums.busy_s, sums.batches, sums.largest
        zeros, response_zeros = sums.zeros, sums.response_zeros
        for place in range(begin, after):
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
                kept_wait_s[part, kept] = wait_s
                kept_response_s[part, kept] = response_s
            else:
                count_in(waits, part, wait_s, ROUNDING * finished_s[place])
                count_in(responses, part, response_s, ROUNDING * finished_s[place])
            kept += 1
        sums.number, sums.kept, sums.largest = number, kept, largest
        sums.zeros, sums.response_zeros = zeros, response_zeros
        sums.wait_s, sums.response_s = total_wait_s, total_response_s
        sums.busy_s, sums.batches = busy_s, batches
