"""What requests take beside their batches: as the client saw it, after rests, and by CPU time."""

import math
import random
from statistics import median

import pytest
from fake_server import metrics_page

from capacity.measurement.metrics import Histogram, read_page
from capacity.measurement.overhead import RequestWork, overhead, request_work, wake
from capacity.measurement.rounds import Nap, TimedBatch
from capacity.measurement.sections import half_width, sections
from capacity.question.caveat import CaveatCode


def test_overhead_is_of_one_row_and_grows_by_row():
    batches = {
        size: [
            TimedBatch(service_s=1.0, beside_s=0.001 + 0.00001 * size + noise) for noise in (-1e-5, 0.0, 9.0)
        ]
        for size in (1, 2, 8, 64)
    }
    found = overhead(batches)
    assert found.median_s == pytest.approx(0.00101)
    assert found.batch_size == 1
    assert found.growth_per_row_s == pytest.approx(0.00001)
    single = overhead({4: batches[8]})
    assert (single.batch_size, single.growth_per_row_s) == (4, None)
    assert overhead({1: [TimedBatch(service_s=1.0)]}) is None
    rounding = overhead({1: [TimedBatch(service_s=1.0, beside_s=-1e-6)]})
    assert rounding.median_s == 0.0


def beside(times_s: list[float]) -> list[TimedBatch]:
    return [TimedBatch(service_s=0.01, beside_s=x) for x in times_s]


def test_the_overhead_of_one_row_is_told_from_larger_requests_by_their_growth():
    found = overhead({size: beside([0.001 + 1e-5 * size] * 60) for size in (8, 16)})
    assert found.median_s == pytest.approx(0.00101)
    assert (found.batch_size, found.low_s) == (8, None)
    (caveat,) = found.caveats()
    assert caveat.code is CaveatCode.MEASURED_ROWS
    assert "requests of 8 rows and more, less 10 µs for each above the first; include 1 in" in caveat.message
    (alone,) = overhead({8: beside([0.001] * 60)}).caveats()
    assert "is for 8 rows, and may be less for one" in alone.message
    assert list(overhead({1: beside([0.001] * 60), 8: beside([0.002] * 60)}).caveats()) == []
    # Noise that makes larger requests look quicker does not make one of one row slower.
    falling = overhead({8: beside([0.002] * 60), 16: beside([0.001] * 60)})
    assert falling.median_s == 0.002


def test_the_overhead_has_an_interval_that_stalls_do_not_widen():
    dice, covered = random.Random(9), 0
    for _ in range(200):
        times_s = [dice.gauss(6e-4, 5e-5) + (0.05 if dice.random() < 0.03 else 0.0) for _ in range(300)]
        found = overhead({1: beside(times_s)}, confidence=0.95)
        assert found.low_s is not None
        assert found.high_s - found.median_s < 3e-5
        covered += found.low_s <= 6e-4 + 2e-6 <= found.high_s
    assert covered >= 178  # 190, and four standard deviations
    few = overhead({1: beside([6e-4] * 49)})
    assert few.low_s is None
    enough = overhead({1: beside([6e-4] * 50)})
    assert (enough.low_s, enough.high_s) == (6e-4, 6e-4)


@pytest.mark.parametrize(("count", "parts"), [(54, 10), (60, 12), (300, 20)])
def test_the_overheads_interval_is_that_of_the_medians_of_10_to_20_sections(count, parts):
    """Of five samples or more each; the seven values return in turn, and their median is 3 ms."""
    times_s = [1e-3 * (k % 7) for k in range(count)]
    found = overhead({1: beside(times_s)}, confidence=0.9)
    half_s = half_width([median(section) for section in sections(times_s, parts)], 0.9)
    assert (found.median_s, found.high_s) == pytest.approx((3e-3, 3e-3 + half_s))
    assert found.low_s == pytest.approx(max(0.0, 3e-3 - half_s))


def naps(count, longer_s, *, stalled=0.0, seed=1):
    """Batches of 3 ms and a little, of which the rested take so much longer; some of either kind stall."""
    dice = random.Random(seed)

    def batch(more_s):
        stall_s = 0.05 if dice.random() < stalled else 0.0
        return TimedBatch(service_s=0.003 + more_s + dice.uniform(0.0, 2e-4) + stall_s)

    return [
        Nap(awake=tuple(batch(0.0) for _ in range(15)), rested=tuple(batch(longer_s) for _ in range(10)))
        for _ in range(count)
    ]


def test_what_rested_batches_take_longer_is_found_within_its_interval():
    found = [wake(naps(30, 2e-4, seed=seed), 0.95) for seed in range(60)]
    assert all(one is not None for one in found)
    inside = sum(one.low <= 2e-4 <= one.high for one in found)
    assert 52 <= inside <= 60  # of 95 %: P(fewer than 52) is 0.3 %
    assert max(one.high - one.low for one in found) < 6e-5


def test_stalls_tell_nothing_of_rests():
    found = wake(naps(30, 2e-4, stalled=0.03), 0.95)
    assert found.value == pytest.approx(2e-4, rel=0.15)


def test_few_naps_tell_nothing():
    assert wake(naps(4, 2e-4), 0.95) is None
    assert wake(naps(5, 2e-4), 0.95) is not None
    assert wake([], 0.95) is None


def test_the_overhead_is_that_of_rested_requests():
    batches = {1: [TimedBatch(service_s=0.003, beside_s=0.0005)] * 5}
    rested = [TimedBatch(service_s=0.004, beside_s=0.0009)] * 5
    told, told_without = overhead(batches, rested), overhead(batches)
    assert told_without is not None
    assert told.median_s == 0.0009
    assert told_without.median_s == 0.0005


def test_request_work_is_cpu_beside_the_batches():
    before = metrics_page({1: [0.001] * 10}, requests=10, process_s=5.0, batch_s=1.0)
    after = metrics_page({1: [0.001] * 110}, requests=110, process_s=5.5, batch_s=1.3)
    scrapes = read_page(before), read_page(after)
    ones, fours, few = (
        {size: Histogram(bounds_s=(math.inf,), counts=(count,), sum_s=0.4)}
        for size, count in ((1, 100), (4, 100), (1, 50))
    )
    work = request_work(*scrapes, ones)
    assert work.request_s == pytest.approx(0.002)
    assert (work.requests, work.rows) == (100, 100)
    assert work.waited_share == pytest.approx(0.25)
    assert request_work(*scrapes, fours).request_s == pytest.approx(0.0005)
    assert request_work(*scrapes, few).request_s == pytest.approx(0.002)
    assert request_work(scrapes[0], scrapes[0], {}) is None
    assert (
        request_work(scrapes[0], read_page(metrics_page({}).replace(b"process_cpu", b"other")), few) is None
    )


def test_request_work_needs_all_counters_and_a_request():
    page = metrics_page({}, requests=1, process_s=0.5, batch_s=0.2)
    found = request_work(read_page(metrics_page({})), read_page(page), {})
    assert (found.request_s, found.rows, found.waited_share) == (pytest.approx(0.3), 0, 0.0)
    for name in (b"process_cpu_seconds", b"serve_batch_cpu_seconds", b"serve_requests"):
        assert request_work(read_page(b""), read_page(page.replace(name, b"other")), {}) is None


def test_request_work_is_never_negative():
    """CPU clocks of two kinds may differ by a tick."""
    work = RequestWork(process_cpu_s=1.0, batch_cpu_s=1.01, batch_s=1.0, requests=10, rows=10)
    assert (work.request_s, work.waited_share) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({}, None, ""),
        ({"rows": 103}, CaveatCode.MEASURED_ROWS, "100 requests held 103 rows"),
        ({"rows": 102}, None, ""),
        ({"rows": 98}, None, ""),
        ({"batch_s": 1.1}, None, ""),
        ({"batch_s": 1.125}, CaveatCode.MEASURED_CORE_SHARED, "and computed for 1 s"),
        ({"rows": 97}, CaveatCode.MEASURED_ROWS, "100 requests held 97 rows"),
        ({"batch_s": 1.2}, CaveatCode.MEASURED_CORE_SHARED, "batches took 1.2 s and computed for 1 s"),
    ],
)
def test_caveats_of_request_work(changes, code, said):
    usual = {"process_cpu_s": 1.5, "batch_cpu_s": 1.0, "batch_s": 1.05, "requests": 100, "rows": 100}
    found = {caveat.code: caveat.message for caveat in RequestWork(**(usual | changes)).caveats()}
    assert set(found) == ({code} if code else set())
    assert said in "".join(found.values())
