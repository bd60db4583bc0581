"""What a server's histograms gained between two scrapes, by batch size."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from capacity.errors import DependencyError
from capacity.profile import BATCH_SIZE_LIMIT
from capacity.reading import printable
from measurements.histogram_names import Histograms
from measurements.metrics_text import Labels, Scrape, count

_RESTARTED = (
    "the server restarted or counts from more than one process; measure one process without a restart"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the buckets of one batch size gained: cumulative counts by bound, number and sum.

    Attributes:
        sections: what sum and number gained in consecutive parts of the time, where it was looked at in
            between.
    """

    cumulative: Mapping[float, int]
    count: int
    sum_s: float
    sections: tuple[tuple[float, float], ...] = ()


def gain(before: Scrape, after: Scrape, name: str) -> Mapping[Labels, float]:
    """By labels, how much each counter of that name rose; one that was not there before rose from 0.

    Raises:
        DependencyError: one fell or is gone, as after a restart.
    """
    old, new = before.series(name), after.series(name)
    if set(old) - set(new):
        raise DependencyError(
            f"a series of {printable(name)[:80]} is gone from the second scrape: {_RESTARTED}"
        )
    rises = {labels: count(value, name) - count(old.get(labels, 0.0), name) for labels, value in new.items()}
    if any(rise < 0.0 for rise in rises.values()):
        raise DependencyError(f"a counter of {printable(name)[:80]} fell between the scrapes: {_RESTARTED}")
    return rises


def check_same_process(before: Scrape, after: Scrape) -> None:
    """Refuse two scrapes of which a restart lies between."""
    name = "process_start_time_seconds"
    if before.total(name) != after.total(name):
        raise DependencyError(f"{name} changed between the scrapes: {_RESTARTED}")


def gains(before: Scrape, after: Scrape, metric: str, label: str) -> dict[int, Gain]:
    """By batch size, what its histograms gained, summed over other labels; sizes without a batch are absent.

    Raises:
        DependencyError: no such histogram, one that contradicts itself, or a restart between the scrapes.
    """
    check_same_process(before, after)
    if not after.series(f"{metric}_bucket"):
        raise DependencyError(f"the server has no histogram {printable(metric)[:80]}; check --metric")
    buckets, counts, sums = (gain(before, after, f"{metric}_{part}") for part in ("bucket", "count", "sum"))
    cumulative = _by_size_and_bound(buckets, label)
    numbers, totals_s = _by_size(counts, label), _by_size(sums, label)
    if not set(cumulative) == set(numbers) == set(totals_s):
        raise DependencyError(
            f"{printable(metric)[:80]} has buckets, _count and _sum of different batch sizes"
        )
    found = {
        size: Gain(cumulative=bounds, count=_whole(numbers[size]), sum_s=totals_s[size])
        for size, bounds in cumulative.items()
    }
    for size, one in found.items():
        _check(one, f"{printable(metric)[:80]} at batch size {size}")
    return {size: one for size, one in sorted(found.items()) if one.count}


def sectioned(gained: Mapping[int, Gain], scrapes: Sequence[Scrape], where: Histograms) -> Mapping[int, Gain]:
    """The same in seconds, with what each batch size gained from one scrape to the next.

    Raises:
        DependencyError: as of the whole.
    """
    parts = [
        tuple(_by_size(gain(before, after, name), where.label) for name in where.totals)
        for before, after in pairwise(scrapes)
    ]
    return {
        size: Gain(
            cumulative={bound * where.unit_s: count for bound, count in one.cumulative.items()},
            count=one.count,
            sum_s=one.sum_s * where.unit_s,
            sections=tuple(
                (sums.get(size, 0.0) * where.unit_s, counts.get(size, 0.0)) for sums, counts in parts
            ),
        )
        for size, one in gained.items()
    }


def _check(one: Gain, where: str) -> None:
    bounds = sorted(one.cumulative)
    if not bounds or bounds[-1] != math.inf:
        raise DependencyError(f"{where} has no bucket up to +Inf")
    if any(one.cumulative[low] > one.cumulative[high] for low, high in pairwise(bounds)):
        raise DependencyError(f"{where}: counts must not fall from one bucket to the next")
    if one.cumulative[math.inf] != one.count:
        raise DependencyError(f"{where}: _count gained {one.count}, its buckets {one.cumulative[math.inf]}")


def _by_size_and_bound(rises: Mapping[Labels, float], label: str) -> dict[int, dict[float, int]]:
    found: dict[int, dict[float, int]] = defaultdict(lambda: defaultdict(int))
    bounds_of: dict[Labels, set[float]] = defaultdict(set)
    for labels, rise in rises.items():
        bound_s = _bound_s(labels)
        found[_size(labels, label)][bound_s] += _whole(rise)
        bounds_of[frozenset(pair for pair in labels if pair[0] != "le")].add(bound_s)
    if len({frozenset(bounds) for bounds in bounds_of.values()}) > 1:
        raise DependencyError("histograms of one metric have different buckets, and cannot be added up")
    return {size: dict(bounds) for size, bounds in found.items()}


def _by_size(rises: Mapping[Labels, float], label: str) -> dict[int, float]:
    found: dict[int, float] = defaultdict(float)
    for labels, rise in rises.items():
        found[_size(labels, label)] += rise
    return dict(found)


def _size(labels: Labels, label: str) -> int:
    text = dict(labels).get(label)
    if text is None:
        raise DependencyError(f"a histogram has no label {printable(label)[:80]}; check --label")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= BATCH_SIZE_LIMIT):
        raise DependencyError(
            f"label {printable(label)[:80]} is {printable(text)[:20]!r}, which is no batch size"
        )
    return int(text)


def _bound_s(labels: Labels) -> float:
    text = dict(labels).get("le", "")
    try:
        bound_s = float(text)
    except ValueError:
        bound_s = math.nan
    if not bound_s > 0.0:
        raise DependencyError(f"a bucket's bound is {printable(text)[:20]!r}, which is no duration")
    return bound_s


def _whole(value: float) -> int:
    if value != int(value):
        raise DependencyError(f"a histogram counts {value}, which is no whole number")
    return int(value)
