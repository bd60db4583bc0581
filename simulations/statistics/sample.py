"""Sample: one run without its start and its end, reduced as it runs to what statistics need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.question.objective import Measure
from simulations.compiled import compiled, inlined
from simulations.draws.cells import BITS, CELLS, LOWEST_CELL, PER_OCTAVE, cell_of, edges, middle
from simulations.draws.records import Floats, Integers
from simulations.kernel.state import Structs

RELATIVE_ERROR_MAX = 0.5 / PER_OCTAVE
# A tally with more distinct values switches to cells.
EXACT_MAX = 65_536
# Relative error of the difference of two instants: two roundings, and two more.
ROUNDING = 4.0 * 2.0**-52
_NEAR = 1e-6  # share of a mark within which rounding can never move a value across it


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Durations with their counts.

    Attributes:
        values_s: distinct and rising, shape `(values,)`; exact, or middles of cells. [s]
        counts: shape `(values,)`; whole unless tallies were mixed.
        total_s: sum of all durations, unrounded. [s]
        marks_s: rising; values that are exact in any case, shape `(marks,)`. [s]
        is_exact: whether all values are exact; shares of two tallies are comparable if both are or neither is.
    """

    values_s: Floats
    counts: Integers | Floats
    total_s: float
    marks_s: Floats
    is_exact: bool = True

    @classmethod
    def of(cls, durations_s: Floats, marks_s: Floats, rounding_s: float = 0.0) -> "Tally":
        """A tally of durations in any order; one within the clock's rounding of a mark becomes it."""
        values_s, counts = np.unique(snapped(durations_s, marks_s, rounding_s), return_counts=True)
        total_s = float(np.cumsum(durations_s)[-1]) if len(durations_s) else 0.0
        return cls(values_s=values_s, counts=counts, total_s=total_s, marks_s=marks_s)._bounded()

    @classmethod
    def merged(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All durations of some tallies with the same marks."""
        is_exact = all(tally.is_exact for tally in tallies)
        left = [tally if is_exact else tally.in_cells() for tally in tallies]
        while len(left) > 1:  # two by two, so that each value moves only a few times
            pairs = zip(left[::2], left[1::2], strict=False)
            left = [_both(one, other) for one, other in pairs] + left[len(left) // 2 * 2 :]
        total_s = math.fsum(tally.total_s for tally in tallies)
        return replace(left[0], total_s=total_s)._bounded()

    @classmethod
    def mixed(cls, tallies: Sequence["Tally"], factors: Sequence[float]) -> "Tally":
        """All durations of some tallies with the same marks, each counted with its factor, whole or not."""
        parts = list(tallies) if all(one.is_exact for one in tallies) else [one.in_cells() for one in tallies]
        values_s, places = np.unique(np.concatenate([one.values_s for one in parts]), return_inverse=True)
        weights = np.concatenate([k * one.counts for one, k in zip(parts, factors, strict=True)])
        total_s = math.fsum(k * one.total_s for one, k in zip(tallies, factors, strict=True))
        counts = np.bincount(places, weights=weights, minlength=len(values_s))
        seen = counts > 0.0
        return replace(parts[0], values_s=values_s[seen], counts=counts[seen], total_s=total_s)

    @cached_property
    def ranks(self) -> Integers | Floats:
        """Number of durations up to each value, shape `(values,)`."""
        return cast("Integers | Floats", np.cumsum(self.counts))

    @property
    def count(self) -> int:
        """Number of durations, rounded if they are mixed."""
        return round(self._total)

    @property
    def _total(self) -> float:
        return float(self.ranks[-1]) if len(self.ranks) else 0.0

    @property
    def positive(self) -> int:
        """Number of durations that are not 0."""
        return round(float(self.counts[self.values_s > 0.0].sum()))

    def quantile_s(self, quantile: float) -> float:
        """Smallest value that a share `quantile` of the durations does not exceed. [s]"""
        rank = max(quantile * self._total - 1e-9, 1e-9)  # for whole counts the next whole one, at least 1
        return float(self.values_s[np.searchsorted(self.ranks, rank)])

    def relative_error_of(self, value_s: float) -> float:
        """How far a value of this tally may lie from the durations that it stands for."""
        is_kept = self.is_exact or value_s == 0.0 or value_s in self.marks_s
        return 0.0 if is_kept else RELATIVE_ERROR_MAX

    def share_above(self, limit_s: float) -> float:
        """Share of the durations above a limit; exact for a mark."""
        return self._share_from(int(np.searchsorted(self.values_s, limit_s, side="right")))

    def share_from(self, limit_s: float) -> float:
        """Share of the durations at a limit and above."""
        return self._share_from(int(np.searchsorted(self.values_s, limit_s, side="left")))

    def _share_from(self, place: int) -> float:
        below = float(self.ranks[place - 1]) if place else 0.0
        return (self._total - below) / self._total if self._total else 0.0

    def with_lost(self, lost: float) -> "Tally":
        """The tally with this many more durations that never ended, and so are infinitely long."""
        if not lost:
            return self
        values_s, counts = np.append(self.values_s, np.inf), np.append(self.counts, lost)
        return replace(self, values_s=values_s, counts=counts)

    def in_cells(self) -> "Tally":
        """The tally in cells, if it is not already."""
        if not self.is_exact:
            return self
        return _gathered(middles(self.values_s, self.marks_s), self.counts, self.total_s, self.marks_s)

    def _bounded(self) -> "Tally":
        """The tally, in cells if it has too many values."""
        return self if len(self.values_s) <= EXACT_MAX else self.in_cells()


def _both(one: Tally, other: Tally) -> Tally:
    """Two tallies, both exact or both in cells, as one."""
    whole = cast("Integers", one.counts), cast("Integers", other.counts)
    values_s, counts = _merge(one.values_s, whole[0], other.values_s, whole[1])
    return replace(one, values_s=values_s, counts=counts)


@compiled
def _merge(
    one_s: Floats, one_counts: Integers, other_s: Floats, other_counts: Integers
) -> tuple[Floats, Integers]:
    """Two rising sequences of distinct values as one, with the counts of each value added."""
    values_s = np.empty(len(one_s) + len(other_s))
    counts = np.zeros(len(values_s), dtype=np.int64)
    here = there = filled = 0
    while here < len(one_s) or there < len(other_s):
        left_s = one_s[here] if here < len(one_s) else np.inf
        right_s = other_s[there] if there < len(other_s) else np.inf
        values_s[filled] = min(left_s, right_s)
        if left_s <= right_s:
            counts[filled] += one_counts[here]
            here += 1
        if right_s <= left_s:
            counts[filled] += other_counts[there]
            there += 1
        filled += 1
    return values_s[:filled].copy(), counts[:filled].copy()


def _gathered(values_s: Floats, counts: Integers | Floats, total_s: float, marks_s: Floats) -> Tally:
    """A tally of rising values that are not exact, equal ones next to each other."""
    first = np.flatnonzero(np.diff(values_s, prepend=-np.inf) > 0.0)
    sums = np.add.reduceat(counts, first) if len(first) else counts
    return Tally(values_s=values_s[first], counts=sums, total_s=total_s, marks_s=marks_s, is_exact=False)


def snapped(durations_s: Floats, marks_s: Floats, rounding_s: float) -> Floats:
    """Durations, with those within the clock's rounding of a mark moved to it. [s]"""
    if not len(marks_s):
        return durations_s
    right = np.searchsorted(marks_s, durations_s)
    above_s = marks_s[np.minimum(right, len(marks_s) - 1)]
    below_s = marks_s[np.maximum(right - 1, 0)]
    near_s = np.where(np.abs(above_s - durations_s) <= np.abs(durations_s - below_s), above_s, below_s)
    return np.where(np.abs(near_s - durations_s) <= rounding_s, near_s, durations_s)


def middles(values_s: Floats, marks_s: Floats) -> Floats:
    """Middles of the values' cells, or of their parts between marks; marks and 0 stay. [s]"""
    cells = np.clip((values_s.view(np.int64) >> BITS) - LOWEST_CELL, -1, CELLS - 2)
    low_s, high_s = edges(cells)
    right = np.searchsorted(marks_s, values_s)
    padded = np.concatenate([[-np.inf], marks_s, [np.inf]])
    low_s, high_s = np.maximum(low_s, padded[right]), np.minimum(high_s, padded[right + 1])
    kept = (values_s == padded[right + 1]) | (values_s == 0.0)
    return np.where(kept, values_s, middle(low_s, high_s))


class Counters:
    """Cells for compiled code to count in; a tally in the making.

    Attributes:
        cells: shape `(CELLS,)`; the first is everything below the lowest, 0 included.
        at_marks: count at each mark, and below it in its cell, alternating.
        marks_s: shape `(marks,)`. [s]
        first_mark: index of the first mark in each cell or at its edge; -1 if there is none.
    """

    def __init__(self, marks_s: Floats) -> None:
        self.cells = np.zeros(CELLS, dtype=np.int64)
        self.marks_s = marks_s
        self.at_marks = np.zeros(2 * len(marks_s), dtype=np.int64)
        self.first_mark = _first_marks(marks_s.tobytes())

    @property
    def arrays(self) -> "Cells":
        """The arrays that compiled code reads and writes."""
        return (self.cells, self.at_marks, self.marks_s, self.first_mark)

    def tally(self, total_s: float, zeros: int) -> Tally:
        """The tally of what was counted, with the number of zeros."""
        self.cells[0] -= zeros
        used = _used(self.cells)
        low_s, high_s = edges(used - 1)
        right = np.searchsorted(self.marks_s, high_s)  # what is above all marks of a cell is left in it
        padded = np.concatenate([[-np.inf], self.marks_s])
        low_s = np.maximum(low_s, padded[right])
        rest_s = middle(low_s, high_s)
        below_s = middles(np.nextafter(self.marks_s, 0.0), self.marks_s)
        values_s = np.concatenate([[0.0], rest_s, self.marks_s, below_s])
        counts = np.concatenate([[zeros], self.cells[used], self.at_marks[::2], self.at_marks[1::2]])
        order = np.argsort(values_s, kind="stable")
        order = order[counts[order] > 0]
        return _gathered(values_s[order], counts[order], total_s, self.marks_s)


@lru_cache(maxsize=16)
def _first_marks(marks: bytes) -> "Places":
    """The first mark in each cell or at its edge, the same for all replications of a case."""
    marks_s = np.frombuffer(marks)
    first = np.full(CELLS, -1, dtype=np.int32)
    places = np.arange(len(marks_s), dtype=np.int32)[::-1]  # of several the first is written last
    for near in (1.0 - _NEAR, 1.0 + _NEAR):
        cells = (marks_s[::-1] * near).view(np.int64) >> BITS
        first[np.clip(cells - LOWEST_CELL + 1, 0, CELLS - 1)] = places
    return first


@compiled
def _used(cells: Integers) -> Integers:
    """Indices of the cells in which something was counted."""
    used = np.empty(len(cells), dtype=np.int64)
    count = 0
    for cell in range(len(cells)):
        if cells[cell] != 0:
            used[count] = cell
            count += 1
    return used[:count].copy()


Places = npt.NDArray[np.int32]
Cells = tuple[Integers, Integers, Floats, Places]


@inlined
def cell_or_mark(marks_s: Floats, first_mark: Places, duration_s: float, rounding_s: float) -> int:
    """Where to count a positive duration: in a cell, at a mark (~2k), or below it in its cell (~(2k + 1))."""
    cell = cell_of(duration_s)
    mark = first_mark[cell]
    while 0 <= mark < len(marks_s):
        if abs(duration_s - marks_s[mark]) <= rounding_s:
            return int(~(2 * mark))
        if duration_s < marks_s[mark]:
            return int(~(2 * mark + 1)) if cell_of(marks_s[mark]) == cell else cell
        mark += 1
    return cell


# A run of up to this many requests keeps each duration; a longer one counts in cells, which is faster than sorting.
EXACT_REQUESTS_MAX = 8192


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
        missed: number of served requests that missed a limit of the objective, where runs count them.
        rises_s: for each run, mean response of the second half minus that of the first. [s]
        attempts: attempts at the counted and the lost requests; 0 if clients were not simulated.
        retried: number of those requests with more than one attempt.
        fallen: number of runs that were given up, as retries alone kept the fleet down.
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

    @property
    def compared(self) -> tuple[Measure, ...]:
        """Durations of requests in which fleets are compared."""
        return (Measure.RESPONSE,)

    def durations(self, measure: Measure) -> Tally:
        """Durations of served requests."""
        return {Measure.RESPONSE: self.responses, Measure.WAIT: self.waits}[measure]

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
        )


def mixed(values: Sequence[float], factors: Sequence[float]) -> float:
    """Weighted sum of the values."""
    return math.fsum(value * factor for value, factor in zip(values, factors, strict=True))


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


class Reduction:
    """A sample in the making: requests are added in order of arrival, any number at a time.

    The sums are added one request after another, so they do not depend on the size of the parts.
    """

    def __init__(
        self,
        length: Length,
        requests: int,
        overhead_s: float,
        wait_marks_s: Floats,
        response_marks_s: Floats,
    ) -> None:
        """Reduce a run of this many requests, of which `length` says what counts; a trace may be shorter."""
        end = requests - length.cool_down
        start = length.warm_up
        if requests < length.requests:  # half of a shorter run counts
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
        """Add the next requests, shape `(requests,)` each; size 0 is lost. [s]"""
        _reduce(
            self._progress, self._waits.arrays, self._responses.arrays, self._wait_s, self._response_s,
            arrived_s, started_s, finished_s, size,
        )  # fmt: skip

    def halve(self) -> None:
        """Begin the second half: requests added from now on belong to it."""
        self._progress["middle"] = -1
        self._progress["first_half"], self._progress["first_half_s"] = (
            self._progress["kept"],
            self._progress["response_s"],
        )

    def part(self, rate_rps: float, ended_s: float) -> Sample:
        """The sample, if this is a part of a run in which requests come at a known rate; it may be empty.

        Args:
            ended_s: when the last request of the run came. [s]
        """
        self._progress["closed_s"] = ended_s
        return self._sample(int(self._progress["number"][0]) / rate_rps)

    def sample(self, window_s: float | None = None, *, may_be_empty: bool = False) -> Sample:
        """The sample, once all requests have been added.

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
        return self._sample(window_s)

    def _sample(self, window_s: float) -> Sample:
        """The sample from the sums; lost is what was asked and not served."""
        sums = self._progress[0]
        asked = int(min(sums["number"], sums["end"]) - sums["start"])
        waits, responses = self._tallies()
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

    def _tallies(self) -> tuple[Tally, Tally]:
        """Tallies of waits and of responses."""
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
    """Add requests one after the other, in order of arrival."""
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
