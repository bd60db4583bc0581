"""Tally: durations with their counts, and the cells in which compiled code counts them."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from simulations.compiled import compiled, inlined
from simulations.draws.cells import BITS, CELLS, LOWEST_CELL, PER_OCTAVE, cell_of, middle_of
from simulations.draws.records import Floats, Integers

RELATIVE_ERROR_MAX = 0.5 / PER_OCTAVE
# A tally with more distinct values switches to cells.
EXACT_MAX = 65_536
_NO_MARKS = np.zeros(0)
Booleans = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int32]
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
        values_s, counts = _distinct(snapped(durations_s, marks_s, rounding_s))
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
        total_s = math.fsum(k * one.total_s for one, k in zip(tallies, factors, strict=True))
        starts = np.cumsum([0, *(len(one.values_s) for one in parts)])
        weights = np.concatenate([k * one.counts for one, k in zip(parts, factors, strict=True)])
        values_s, counts = _mix(np.concatenate([one.values_s for one in parts]), weights, starts)
        return replace(parts[0], values_s=values_s, counts=counts, total_s=total_s)

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
        values_s, counts = _in_cells(self.values_s, self.counts, self.marks_s)
        return replace(self, values_s=values_s, counts=counts, is_exact=False)

    def _bounded(self) -> "Tally":
        """The tally, in cells if it has too many values."""
        return self if len(self.values_s) <= EXACT_MAX else self.in_cells()


def _distinct(values: Floats) -> tuple[Floats, Integers]:
    """What `numpy.unique` finds and counts, sooner where no value comes twice, as most durations do not."""
    rising = np.sort(values)
    is_first = np.ones(len(rising), dtype=np.bool_)
    np.not_equal(rising[1:], rising[:-1], out=is_first[1:])
    if is_first.all():
        return rising, np.ones(len(rising), dtype=np.int64)
    places = np.flatnonzero(is_first)
    return rising[places], np.diff(places, append=len(rising))


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
    counts = np.empty(len(values_s), dtype=np.int64)
    here = there = filled = 0
    while here < len(one_s) and there < len(other_s):
        left_s, right_s = one_s[here], other_s[there]
        values_s[filled] = min(left_s, right_s)
        counts[filled] = (left_s <= right_s) * one_counts[here] + (right_s <= left_s) * other_counts[there]
        here, there, filled = here + (left_s <= right_s), there + (right_s <= left_s), filled + 1
    for place in range(here, len(one_s)):
        values_s[filled], counts[filled] = one_s[place], one_counts[place]
        filled += 1
    for place in range(there, len(other_s)):
        values_s[filled], counts[filled] = other_s[place], other_counts[place]
        filled += 1
    return values_s[:filled].copy(), counts[:filled].copy()


@compiled
def _mix(values_s: Floats, weights: Floats, starts: Integers) -> tuple[Floats, Floats]:
    """Rising sequences, which begin at `starts`, as one, with the weights of each value added in their order."""
    ahead, mixed_s, counts = starts[:-1].copy(), np.empty(len(values_s)), np.zeros(len(values_s))
    filled = 0
    while True:
        next_s, is_over = np.inf, True
        for one in range(len(ahead)):
            if ahead[one] < starts[one + 1]:
                next_s, is_over = min(next_s, values_s[ahead[one]]), False
        if is_over:
            return mixed_s[:filled].copy(), counts[:filled].copy()
        mixed_s[filled], counts[filled] = next_s, 0.0
        for one in range(len(ahead)):
            if ahead[one] < starts[one + 1] and values_s[ahead[one]] == next_s:
                counts[filled] += weights[ahead[one]]
                ahead[one] += 1
        filled += counts[filled] > 0.0


@compiled
def _in_cells(
    values_s: Floats, counts: Integers | Floats, marks_s: Floats
) -> tuple[Floats, Integers | Floats]:
    """Rising values as the middles of their cells, or of their parts between marks; marks and 0 stay. [s]"""
    middles_s, sums = np.empty(len(values_s)), np.empty_like(counts)
    filled, mark = -1, 0
    for place in range(len(values_s)):
        value_s = values_s[place]
        while mark < len(marks_s) and marks_s[mark] < value_s:
            mark += 1
        below_s = marks_s[mark] if mark < len(marks_s) else np.inf
        middle_s = value_s
        if value_s not in (0.0, below_s):
            middle_s = middle_of(cell_of(value_s), marks_s[mark - 1] if mark else -np.inf, below_s)
        if filled < 0 or middles_s[filled] != middle_s:
            filled += 1
            middles_s[filled], sums[filled] = middle_s, 0
        sums[filled] += counts[place]
    return middles_s[: filled + 1].copy(), sums[: filled + 1].copy()


def snapped(durations_s: Floats, marks_s: Floats, rounding_s: float) -> Floats:
    """Durations, with those within the clock's rounding of a mark moved to it. [s]"""
    if not len(marks_s):
        return durations_s
    right = np.searchsorted(marks_s, durations_s)
    above_s = marks_s[np.minimum(right, len(marks_s) - 1)]
    below_s = marks_s[np.maximum(right - 1, 0)]
    near_s = np.where(np.abs(above_s - durations_s) <= np.abs(durations_s - below_s), above_s, below_s)
    return np.where(np.abs(near_s - durations_s) <= rounding_s, near_s, durations_s)


class Counters:
    """Cells for compiled code to count in; tallies in the making, one for each part of a run.

    Attributes:
        cells: shape `(parts, CELLS)`; the first cell is everything below the lowest, 0 included.
        octaves: whether anything is counted in each octave of cells, shape `(parts, octaves)`.
        at_marks: count below each mark in its cell, and at the mark, alternating; shape `(parts, 2 * marks)`.
        marks_s: shape `(marks,)`. [s]
        first_mark: index of the first mark in each cell or at its edge; -1 if there is none.
    """

    def __init__(self, marks_s: Floats, parts: int = 1) -> None:
        self.cells = _empty_cells(parts)
        self.octaves = np.zeros((parts, len(_EVERY_OCTAVE)), dtype=np.bool_)
        self.marks_s = marks_s
        self.at_marks = np.zeros((parts, 2 * len(marks_s)), dtype=np.int64)
        self.first_mark, self._around_s = _first_marks(marks_s.tobytes())

    @property
    def arrays(self) -> "Cells":
        """The arrays that compiled code reads and writes."""
        return (self.cells, self.octaves, self.at_marks, self.marks_s, self.first_mark)

    def tally(self, total_s: float, zeros: int, part: int = 0) -> Tally:
        """The tally of what was counted in a part, with the number of zeros."""
        values_s, counts = _tallied(self.cells[part], self.octaves[part], zeros, self.marks_s)
        seen = np.flatnonzero(self.at_marks[part])
        if len(seen):
            values_s, counts = _merge(values_s, counts, self._around_s[seen], self.at_marks[part][seen])
        return Tally(values_s=values_s, counts=counts, total_s=total_s, marks_s=self.marks_s, is_exact=False)

    def give_back(self) -> None:
        """Leave the cells to the next run in this thread; nothing is counted or read any more."""
        _clear(self.cells, self.octaves)
        _left_cells().append(self.cells)
        del self.cells


_EVERY_OCTAVE = np.ones(-(-CELLS // PER_OCTAVE), dtype=np.bool_)
_of_thread = threading.local()


def _left_cells() -> list[Integers]:
    """Cells that the last run of this thread left, all 0; to clear those in use is quicker than new memory."""
    left: list[Integers] = _of_thread.__dict__.setdefault("cells", [])
    return left


def _empty_cells(parts: int) -> Integers:
    """Cells in which nothing is counted, shape `(parts, CELLS)`."""
    left = _left_cells()
    while parts and left:
        if len(cells := left.pop()) == parts:
            return cells
    return np.zeros((parts, CELLS), dtype=np.int64)


@compiled
def _clear(cells: Integers, octaves: Booleans) -> None:
    """Set all cells to 0."""
    for part in range(len(cells)):
        for octave in range(octaves.shape[1]):
            if octaves[part, octave]:
                cells[part, octave * PER_OCTAVE : (octave + 1) * PER_OCTAVE] = 0


@lru_cache(maxsize=16)
def _first_marks(marks: bytes) -> "tuple[Places, Floats]":
    """The first mark in each cell or at its edge, and the values of `at_marks`, for all replications of a case."""
    marks_s = np.frombuffer(marks)
    first = np.full(CELLS, -1, dtype=np.int32)
    places = np.arange(len(marks_s), dtype=np.int32)[::-1]  # of several the first is written last
    for near in (1.0 - _NEAR, 1.0 + _NEAR):
        cells = (marks_s[::-1] * near).view(np.int64) >> BITS
        first[np.clip(cells - LOWEST_CELL + 1, 0, CELLS - 1)] = places
    below_s, _ = _in_cells(np.nextafter(marks_s, 0.0), np.ones(len(marks_s)), marks_s)
    return first, np.column_stack([below_s, marks_s]).ravel()


@compiled
def _tallied(cells: Integers, octaves: Booleans, zeros: int, marks_s: Floats) -> tuple[Floats, Integers]:
    """The middles of the cells in which something was counted, above their last mark, and their counts.

    Args:
        zeros: how many of the first cell are 0.
    """
    used = _used(cells, octaves)
    values_s, counts = np.empty(len(used) + 1), np.empty(len(used) + 1, dtype=np.int64)
    filled = mark = 0
    if zeros:
        values_s[0], counts[0], filled = 0.0, zeros, 1
    for cell in used:
        count = cells[cell] - zeros if cell == 0 else cells[cell]
        if count:
            while mark < len(marks_s) and cell_of(marks_s[mark]) <= cell:
                mark += 1
            values_s[filled] = middle_of(cell, marks_s[mark - 1] if mark else -np.inf, np.inf)
            counts[filled] = count
            filled += 1
    return values_s[:filled].copy(), counts[:filled].copy()


@compiled
def _used(cells: Integers, octaves: Booleans) -> Integers:
    """Indices of the cells in which something was counted."""
    count = seen = 0
    for octave in range(len(octaves)):
        count += octaves[octave]
    used = np.empty(PER_OCTAVE * count, dtype=np.int64)
    for octave in range(len(octaves)):
        if octaves[octave]:
            for cell in range(octave * PER_OCTAVE, min((octave + 1) * PER_OCTAVE, len(cells))):
                used[seen] = cell
                seen += cells[cell] != 0
    return used[:seen].copy()


def tally_of_cells(cells: Integers) -> Tally:
    """The tally of durations that were counted in cells, shape `(CELLS,)`, without their total."""
    values_s, counts = _tallied(cells, _EVERY_OCTAVE, 0, _NO_MARKS)
    return Tally(values_s=values_s, counts=counts, total_s=0.0, marks_s=_NO_MARKS, is_exact=False)


Cells = tuple[Integers, Booleans, Integers, Floats, Places]


@inlined
def count_in(counters: Cells, part: int, duration_s: float, rounding_s: float) -> None:
    """Count a duration of a part in its cell, at a mark within the clock's rounding, or below a mark in its cell."""
    cells, octaves, at_marks, marks_s, first_mark = counters
    cell = cell_of(duration_s)
    mark = first_mark[cell]
    while 0 <= mark < len(marks_s) and duration_s - marks_s[mark] > rounding_s:
        mark += 1
    is_at = 0 <= mark < len(marks_s) and marks_s[mark] - duration_s <= rounding_s
    if is_at or (0 <= mark < len(marks_s) and cell_of(marks_s[mark]) == cell):
        at_marks[part, 2 * mark + is_at] += 1
    else:
        cells[part, cell] += 1
        octaves[part, cell // PER_OCTAVE] = True
