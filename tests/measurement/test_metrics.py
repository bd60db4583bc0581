"""Counters of a server between two scrapes, as histograms by batch size: each figure by hand."""

import math

import pytest

from capacity.errors import DependencyError
from capacity.measurement.metrics import (
    Histogram,
    Histograms,
    Scrape,
    gain,
    gains,
    read_page,
    relative_error,
    sectioned,
)
from capacity.performance import Interval

MS = Histograms(metric="x_ms", label="size", unit_s=1e-3)


def page(*lines: str) -> Scrape:
    return read_page("".join(f"{line}\n" for line in lines).encode())


def of_size(size: str, upto_10: float, upto_20: float, total: float, sum_ms: float) -> list[str]:
    """A histogram with bounds of 10 and 20 ms."""
    bounds = (("10", upto_10), ("20", upto_20), ("+Inf", total))
    buckets = [f'x_ms_bucket{{size="{size}",le="{bound}"}} {count}' for bound, count in bounds]
    return [*buckets, f'x_ms_count{{size="{size}"}} {total}', f'x_ms_sum{{size="{size}"}} {sum_ms}']


FIRST = page(*of_size("1", 5, 6, 6, 50.0), *of_size("4", 0, 0, 0, 0.0))
SECOND = page(*of_size("1", 6, 9, 10, 120.0), *of_size("4", 0, 0, 0, 0.0))
THIRD = page(*of_size("1", 8, 12, 14, 200.0), *of_size("4", 0, 0, 0, 0.0), *of_size("8", 0, 2, 2, 30.0))


def test_what_rose_between_scrapes_is_a_histogram_by_size() -> None:
    """A size that was not there before rose from 0, and one without a batch is absent."""
    found = gains(FIRST, THIRD, MS)
    assert sorted(found) == [1, 8]
    assert found[1].bounds_s == (0.01, 0.02, math.inf)
    assert (found[1].counts, found[1].count) == ((3, 3, 2), 8)
    assert (found[1].sum_s, found[1].mean_s) == (pytest.approx(0.15), pytest.approx(0.15 / 8))
    assert (found[8].counts, found[8].mean_s) == ((0, 2, 0), pytest.approx(0.015))


def test_sections_are_what_rose_from_one_scrape_to_the_next() -> None:
    found = sectioned(gains(FIRST, THIRD, MS), [FIRST, SECOND, THIRD], MS)
    assert [part for one in found[1].sections for part in one] == pytest.approx([0.07, 4.0, 0.08, 4.0])
    assert [part for one in found[8].sections for part in one] == pytest.approx([0.0, 0.0, 0.03, 2.0])


def test_totals_are_over_all_labels() -> None:
    scrape = page('a{b="1"} 2', 'a{b="2"} 3')
    assert scrape.total("a") == 5.0
    assert scrape.total("b") is None
    assert dict(scrape.series("b")) == {}
    assert sorted(gain(page('a{b="1"} 2'), scrape, "a").values()) == [0.0, 3.0]
    assert page(f"a {2**53}").total("a") == 2.0**53
    with pytest.raises(DependencyError, match="which is not possible for a counter"):
        page(f"a {2**53 + 2}").total("a")


def test_batch_sizes_have_a_limit() -> None:
    assert list(gains(page(), page(*of_size("1000000", 1, 2, 2, 1.0)), MS)) == [1_000_000]
    for size in ("1000001", "1000000000"):
        with pytest.raises(DependencyError, match=f"label size is '{size}', which is not a batch size"):
            gains(page(), page(*of_size(size, 1, 2, 2, 1.0)), MS)


def test_names_are_cut_after_80_characters() -> None:
    long = "y" * 100
    where = Histograms(metric=long, label=long)
    told = [
        (page(), f"the server has no histogram {'y' * 80}; check --metric"),
        (page(f'{long}_bucket{{le="1"}} 1'), f"a histogram has no label {'y' * 80}; check --label"),
        (page(f'{long}_bucket{{{long}="0",le="1"}} 1'), f"label {'y' * 80} is '0', which"),
        (page(f'{long}_bucket{{{long}="1",le="1"}} -1'), f"the metric {'y' * 80} is -1.0, which"),
        (page(f'{long}_bucket{{{long}="1",le="1"}} 1'), f"{'y' * 80} has buckets, _count and _sum of different"),
    ]  # fmt: skip
    for after, said in told:
        with pytest.raises(DependencyError) as refused:
            gains(page(), after, where)
        assert str(refused.value).startswith(said)
    with pytest.raises(DependencyError, match=f"^the metric {'y' * 80} appears twice"):
        page(f"{long} 1", f"{long} 1")
    for before, after, said in (
        (page(f"{long} 2"), page(f"{long} 1"), f"a counter of {'y' * 80} fell"),
        (page(f'{long}{{a="1"}} 2'), page(f"{long} 3"), f"a series of {'y' * 80} is gone"),
    ):
        with pytest.raises(DependencyError) as refused:
            gain(before, after, long)
        assert str(refused.value).startswith(said)


def test_the_reason_why_a_page_cannot_be_read_is_cut_after_120_characters() -> None:
    with pytest.raises(DependencyError) as refused:
        page(f"a {'x' * 500}")
    reason = (
        str(refused.value).removeprefix("the metrics are not in Prometheus' text format (").removesuffix(")")
    )
    assert (len(reason), reason.endswith("x" * 50)) == (120, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "not UTF-8 text"),
        (b"x" * 8193 + b"\n", "a line of more than 8192 characters"),
        (b"a 1\na 2\n", "the metric a appears twice"),
        (b"a{ 1\n", "not in Prometheus' text format"),
    ],
)
def test_what_is_no_page_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(DependencyError, match=said):
        read_page(text)
    assert read_page(b"# " + b"x" * 8190 + b"\na 1\n").total("a") == 1.0


def counted(*counts: int) -> Histogram:
    return Histogram(bounds_s=(1.0, 1.5, 2.0, math.inf), counts=counts, sum_s=1.0)


@pytest.mark.parametrize(
    ("histogram", "probability", "ends"),
    [
        (counted(0, 40, 40, 20), 0.2, (1.25, 1.0, 1.5)),  # halfway through the second bucket
        (counted(0, 40, 40, 20), 0.4, None),  # at 1.5 s, which may be a third less
        (counted(0, 40, 40, 20), 0.6, (1.75, 1.5, 2.0)),
        (counted(0, 40, 40, 20), 0.8, (2.0, 1.5, 2.0)),
        (counted(0, 40, 40, 20), 0.81, None),  # beyond the last bound
        (counted(0, 40, 60, 0), 0.9, (pytest.approx(1.5 + 0.5 * 50 / 60), 1.5, 2.0)),  # ten beyond
        (counted(0, 40, 60, 0), 0.91, None),
        (counted(40, 40, 20, 0), 0.2, None),  # from 0 to 1 s is wide
        (counted(0, 40, 0, 60), 0.4, None),
        (counted(0, 0, 100, 0), 0.0, None),
    ],
)
def test_a_percentile_lies_on_a_line_through_its_bucket(histogram, probability, ends) -> None:
    found = histogram.percentile_s(probability)
    assert (None if found is None else (found.value, found.low, found.high)) == ends


def test_how_far_off_a_percentile_may_be() -> None:
    assert relative_error(Interval(value=2.0, low=1.5, high=2.5)) == 0.25
    assert relative_error(Interval.exact(0.0)) == math.inf


@pytest.mark.parametrize(
    ("bounds_s", "counts", "sum_s", "said"),
    [
        ((), (), 0.0, "no bucket up to \\+Inf"),
        ((1.0,), (1,), 0.0, "no bucket up to \\+Inf"),
        ((1.0, math.inf), (1,), 0.0, "not a count for each bucket"),
        ((1.0, 1.0, math.inf), (1, 1, 1), 0.0, "must rise"),
        ((math.nan, math.inf), (1, 1), 0.1, "must rise"),
        ((1.0, math.inf), (1, -1), 0.0, "must not fall"),
        ((1.0, math.inf), (1, 1), -0.5, "nor its sum be negative"),
        ((1.0, math.inf), (1, 1), math.inf, "nor its sum be negative"),
        ((1.0, math.inf), (1, 1), math.nan, "nor its sum be negative"),
    ],
)
def test_a_histogram_is_valid_or_not_born(bounds_s, counts, sum_s, said) -> None:
    with pytest.raises(DependencyError, match=said):
        Histogram(bounds_s=bounds_s, counts=counts, sum_s=sum_s)
