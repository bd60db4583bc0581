"""Histograms of a server's metrics: what two scrapes give, and pages that contradict themselves."""

import itertools
import math
import random
from collections.abc import Mapping

import pytest
from fake_server import metrics_page
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.counted import counted_findings, counting_caveats
from capacity.measurement.metrics import Histogram, Histograms, gains, read_page, relative_error, sectioned
from capacity.measurement.sections import ratio_interval
from capacity.question.caveat import CaveatCode

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)
EMPTY = metrics_page({})
METRIC = "serve_batch_seconds"
SERVE = Histograms()
FINE = tuple(1e-4 * 1.1**k for k in range(120))  # 10 % buckets from 0.1 ms to beyond 8 s


def between(before: bytes, after: bytes) -> dict[int, Histogram]:
    return gains(read_page(before), read_page(after), SERVE)


def page(*lines: str) -> bytes:
    return "\n".join(["# TYPE serve_batch_seconds histogram", *lines, ""]).encode()


def refusal(before: bytes, after: bytes) -> str:
    with pytest.raises(DependencyError) as caught:
        between(before, after)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


times_s = st.lists(st.floats(0.0005, 0.003), max_size=30)


@laws_hold
@given(old=st.dictionaries(st.integers(1, 8), times_s), new=st.dictionaries(st.integers(1, 8), times_s))
def test_deltas_are_the_batches_in_between(old, new):
    """Batches before the first scrape leave no trace: counts are exact, and so are means."""
    both = {size: old.get(size, []) + new.get(size, []) for size in set(old) | set(new)}
    if not both:
        return
    found = between(metrics_page(old), metrics_page(both))
    assert {size: one.count for size, one in found.items()} == {k: len(v) for k, v in new.items() if v}
    for size, one in found.items():
        assert one.mean_s == pytest.approx(sum(new[size]) / len(new[size]), rel=1e-9)
        for bound_s, count in zip(one.bounds_s, itertools.accumulate(one.counts), strict=True):
            assert count == sum(time_s <= bound_s for time_s in new[size])


def test_other_labels_are_summed():
    lines = [
        f'serve_batch_seconds_{part}{{batch_size="4",version="{version}"{bound}}} {value}'
        for version, count, total in (("v1", 3, 0.3), ("v2", 5, 0.7))
        for part, bound, value in (
            ("bucket", ',le="0.1"', count - 1),
            ("bucket", ',le="+Inf"', count),
            ("count", "", count),
            ("sum", "", total),
        )
    ]
    found = between(b"", page(*lines))
    assert found[4].count == 8
    assert found[4].sum_s == pytest.approx(1.0)
    assert (found[4].bounds_s, found[4].counts) == ((0.1, math.inf), (6, 2))


@settings(laws_hold, max_examples=20)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.01, 1.0), count=st.integers(1000, 5000))
def test_percentiles_are_within_their_bucket(seed, spread, count):
    dice = random.Random(seed)
    samples = sorted(0.01 * math.exp(dice.gauss(0.0, spread)) for _ in range(count))
    seen = between(EMPTY, metrics_page({1: samples}, bounds_s=FINE))[1]
    for u in (0.5, 0.9, 0.95, 0.99):
        found = seen.percentile_s(u)
        assert found is not None
        truth = samples[math.ceil(round(u * count, 9)) - 1]
        assert found.low < truth <= found.high
        assert relative_error(found) < 0.101
        assert abs(found.value - truth) <= relative_error(found) * found.value * 1.0001


BUCKETS = (
    'serve_batch_seconds_bucket{batch_size="1",le="0.1"} 2',
    'serve_batch_seconds_bucket{batch_size="1",le="+Inf"} 3',
)
REST = ('serve_batch_seconds_count{batch_size="1"} 3', 'serve_batch_seconds_sum{batch_size="1"} 0.4')
GOOD = page(*BUCKETS, *REST)


def changed(old: str, new: str) -> bytes:
    text = GOOD.decode()
    assert old in text
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (b"", "has no histogram serve_batch_seconds; check --metric"),
        (changed("batch_size", "size"), "has no label batch_size; check --label"),
        (changed('batch_size="1"', 'batch_size="many"'), "is 'many', which is not a batch size"),
        (changed('batch_size="1"', 'batch_size="0"'), "is '0', which is not a batch size"),
        (changed('batch_size="1"', f'batch_size="{"x" * 61}"'), f"is '{'x' * 60}', which is not a batch size"),
        (changed('batch_size="1"', f'batch_size="{"9" * 5000}"'), "which is not a batch size"),
        (changed('le="+Inf"', 'le="0.2"'), "has no bucket up to +Inf"),
        (changed('le="0.1"', 'le="NaN"'), "bound is 'NaN'"),
        (changed('le="0.1"', 'le="-1"'), "bound is '-1'"),
        (changed('le="0.1"', 'le="0"'), "bucket's bound is '0', which is not a duration"),
        (changed('le="0.1"', 'le="x"'), "bound is 'x'"),
        (changed('"} 2', '"} NaN'), "is nan, which is not possible for a counter"),
        (changed('"} 2', '"} -2'), "is -2.0, which is not possible for a counter"),
        (changed('"} 2', '"} 1.5'), "counts 1.5, which is not a whole number"),
        (changed('"} 2', '"} 4'), "counts must not fall from one bucket to the next"),
        (changed('_count{batch_size="1"} 3', '_count{batch_size="1"} 4'), "_count gained 4, its buckets 3"),
        (changed('_count{batch_size="1"} 3', '_count{batch_size="1"} 2'), "_count gained 2, its buckets 3"),
        (changed('"} 0.4', '"} NaN'), "is nan"),
        (changed('"} 0.4', '"} +Inf'), "is inf"),
        (changed("_sum", "_total"), "buckets, _count and _sum of different batch sizes"),
        (changed('"} 2', '"} 1e300'), "is 1e+300, which is not possible for a counter"),
        (changed('"} 0.4', '"} ' + "9" * 400), "not in Prometheus' text format"),
        (changed('"} 0.4', '"} 0.4 ' + "9" * 400), "not in Prometheus' text format"),
        (GOOD + b"# " + b"x" * 8191, "have a line of more than 8192 characters"),
        (page(*BUCKETS, *BUCKETS, *REST), "appears twice with the same labels"),
        (b"<html>not metrics</html>", "not in Prometheus' text format"),
        (b'serve_batch_seconds_bucket{batch_size="1" 3', "not in Prometheus' text format"),
        (b"serve_batch_seconds_bucket{} many", "not in Prometheus' text format"),
    ],
)  # fmt: skip
def test_pages_that_are_refused(after, said):
    assert said in refusal(b"", after)


def test_restarts_are_refused():
    before, after = metrics_page({1: [0.0011] * 5}), metrics_page({1: [0.0011] * 3})
    assert "fell between the scrapes: the server restarted" in refusal(before, after)
    assert "is gone from the second scrape" in refusal(metrics_page({1: [0.001], 2: [0.001]}), after)
    more = metrics_page({1: [0.0011] * 9}, start_s=2.0)  # it has caught up already
    assert "process_start_time_seconds changed" in refusal(before, more)


def test_deltas_of_nothing_are_inconclusive():
    with pytest.raises(InconclusiveError, match="send traffic to the server meanwhile"):
        counted_findings(between(metrics_page({1: [0.001] * 50}), metrics_page({1: [0.001] * 50})), 0.95)
    with pytest.raises(InconclusiveError, match="9 batches in all"):
        counted_findings(between(EMPTY, metrics_page({1: [0.001] * 9})), 0.95)


def looked_at(sections: list[dict[int, list[float]]], where: Histograms = SERVE) -> Mapping[int, Histogram]:
    """What sections of batches gained, by a look at the metrics after each."""
    so_far: dict[int, list[float]] = {}
    scrapes = [read_page(EMPTY)]
    for section in sections:
        so_far = {size: so_far.get(size, []) + section.get(size, []) for size in {**so_far, **section}}
        shown = metrics_page(so_far, bounds_s=FINE).decode().replace(METRIC, where.metric)
        scrapes.append(read_page(shown.encode()))
    return sectioned(gains(scrapes[0], scrapes[-1], where), scrapes, where)


def test_findings_of_counts():
    dice = random.Random(7)
    sections = [
        {size: [0.001 * size * math.exp(dice.gauss(0, 0.1)) for _ in range(90 + k)] for size in (1, 2)}
        for k in range(20)
    ]
    sections[4] |= {3: [0.003] * 5, 5: [0.005] * 100}
    samples = {size: [x for section in sections for x in section.get(size, [])] for size in (1, 2, 5)}
    gained = looked_at(sections)
    one, two, five = findings = counted_findings(gained, 0.95)
    assert one.timing.mean_s == pytest.approx(sum(samples[1]) / len(samples[1]), rel=1e-9)
    assert two.timing.p99_s == pytest.approx(sorted(samples[2])[1970], rel=0.1)
    parts = [section[1] for section in sections]
    expected = ratio_interval([sum(part) for part in parts], [len(part) for part in parts], 0.95)
    assert (one.mean.value, one.mean.low) == pytest.approx((expected.value, expected.low), rel=1e-6)
    assert (one.count, one.stalls, one.drift) == (len(samples[1]), None, None)
    assert (five.batch_size, five.timing.p50_s is not None, five.timing.p95_s) == (5, True, None)
    assert five.mean is None
    assert five.bucket_error is not None
    assert 0.0 < five.bucket_error < 0.1
    said = {caveat.code: caveat.message for caveat in counting_caveats(gained, findings)}
    assert set(said) == {
        CaveatCode.MEASURED_FEW_BATCHES,
        CaveatCode.MEASURED_PERCENTILES,
        CaveatCode.MEASURED_NOISE,
    }
    assert (
        "one batch size was served fewer than 10 times and left out, the largest 3"
        in said[CaveatCode.MEASURED_FEW_BATCHES]
    )
    assert "P95, P99 are not known" in said[CaveatCode.MEASURED_PERCENTILES]
    assert "means of batches of 5 have no interval" in said[CaveatCode.MEASURED_NOISE]


def test_two_looks_alone_give_no_interval():
    found = counted_findings(between(EMPTY, metrics_page({1: [0.0011] * 500})), 0.95)
    assert found[0].mean is None


def test_times_in_another_unit_are_taken_for_what_they_are():
    """Milliseconds by the buckets and the sum: 20 of them are 20 ms."""
    gained = looked_at([{1: [2.0, 4.0]}] * 20, Histograms(metric="x_latency_ms", unit_s=1e-3))
    (found,) = counted_findings(gained, 0.95)
    assert found.timing.mean_s == pytest.approx(0.003)
    assert found.mean.value == pytest.approx(0.003)
    assert gained[1].sections[0] == pytest.approx((0.006, 2.0))


@pytest.mark.parametrize(
    ("sum_s", "said"),
    [
        (0.0, "took 0 s on average, outside 1e-07 s to 600 s; check --metric"),
        (70_000.0, "took 700 s on average"),
    ],
)
def test_means_that_no_batches_have_are_the_servers_fault(sum_s, said):
    with pytest.raises(DependencyError) as caught:
        counted_findings({4: Histogram(bounds_s=(0.02, math.inf), counts=(100, 0), sum_s=sum_s)}, 0.95)
    assert said in str(caught.value)
    assert "batches of 4" in str(caught.value)


@laws_hold
@given(counts=st.lists(st.integers(0, 2000), min_size=5, max_size=5), position=st.floats(0.0, 1.0))
def test_any_counts_make_a_law_with_their_mean(counts, position):
    """Whatever the percentiles' buckets and the sum say of each other, a profile comes of it, with the mean exact."""
    bounds_s = (0.001, 0.0011, 0.0012, 0.05, 0.055, math.inf)
    counts = [0, *counts[:4], counts[4] // 100]
    total = sum(counts)
    if total < 10:
        return
    low = sum(n * x for n, x in zip(counts, (0.0, *bounds_s[:-1]), strict=True))
    high = sum(n * x for n, x in zip(counts, (*bounds_s[:-1], 0.1), strict=True))
    sum_s = low + position * (high - low)
    gained = Histogram(bounds_s=bounds_s, counts=tuple(counts), sum_s=sum_s)
    (found,) = counted_findings({3: gained}, 0.95)
    assert found.timing.law().mean_s == pytest.approx(sum_s / total)


def test_of_percentiles_that_contradict_the_mean_the_upper_go():
    """All durations at the upper ends of their buckets: lines through the buckets leave the mean no room."""
    bounds_s, sum_s = (0.001, 0.00125, 0.0015, math.inf), 900 * 0.00125 + 100 * 0.0015
    gained = Histogram(bounds_s=bounds_s, counts=(0, 900, 100, 0), sum_s=sum_s)
    assert gained.percentile_s(0.99) is not None
    (found,) = counted_findings({1: gained}, 0.95)
    assert found.timing.p99_s is None
    assert sorted(found.timing.percentiles_s) == [0.5, 0.9, 0.95]
    assert found.timing.law().mean_s == pytest.approx(0.001275)
