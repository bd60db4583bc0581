"""Whether a run is steady, and its percentiles are known: each boundary by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from capacity.evidence.finding import Belief
from capacity.evidence.percentiles import buckets, samples
from capacity.evidence.steadiness import ramp, stalls, stationary, warm_up
from capacity.formats.load_test import LoadRun, Loop, Moment, Samples
from capacity.performance import Interval

MS = 1e-3


def run_of(**others: Any) -> LoadRun:
    return LoadRun(**{"name": "run", **others})


def in_parts(*medians_ms: float, users: Sequence[float | None] = ()) -> LoadRun:
    given = users or [None] * len(medians_ms)
    moments = (
        Moment(float(at), users=one, median_s=x * MS)
        for at, (x, one) in enumerate(zip(medians_ms, given, strict=True))
    )
    return run_of(history=tuple(moments))


@pytest.mark.parametrize(("full_s", "belief"), [(5.0, Belief.HOLDS), (5.1, Belief.DOUBTFUL)])
def test_a_twentieth_of_a_run_may_be_a_ramp(full_s: float, belief: Belief) -> None:
    """From 10 s to 110 s."""
    times = (0.0, 1.0, 2.0, full_s, 50.0, 100.0)
    history = tuple(Moment(10.0 + t_s, users=min(4.0, 1.0 + at)) for at, t_s in enumerate(times))
    one = ramp(run_of(history=history))
    assert one.belief is belief
    assert one.numbers == {"ramp_share": pytest.approx(full_s / 100.0)}
    assert ramp(run_of(history=history[:5])) is None
    assert ramp(run_of(history=tuple(Moment(1.0, users=4.0) for _ in range(6)))) is None


@pytest.mark.parametrize(
    ("medians_ms", "belief"),
    [
        ((15.0, 10, 10, 10, 10, 10), Belief.HOLDS),
        ((15.1, 10, 10, 10, 10, 10), Belief.DOUBTFUL),
        ((25.0, 10, 10, 10, 10, 20), Belief.HOLDS),  # of the rest a twentieth is 8 ms above the median
        ((27.0, 10, 10, 10, 10, 20), Belief.DOUBTFUL),
        ((5.0, 10, 10, 10, 10, 10), Belief.HOLDS),
    ],
)
def test_a_beginning_half_as_long_again_is_cold(medians_ms: tuple[float, ...], belief: Belief) -> None:
    one = warm_up(in_parts(*medians_ms))
    assert one.belief is belief
    assert one.numbers == pytest.approx({"first_s": medians_ms[0] * MS, "rest_s": 10 * MS})
    if belief is Belief.DOUBTFUL:
        assert one.message.startswith(f"the first 17 % of the run has a median of {medians_ms[0]:g} ms")


@pytest.mark.parametrize(
    ("medians_ms", "belief", "rise"),
    [
        ((10, 10, 10, 12, 12, 12), Belief.DOUBTFUL, 0.2),
        ((10, 10, 10, 8, 8, 8), Belief.DOUBTFUL, -0.2),
        ((10, 10, 10, 10.9, 10.9, 10.9), Belief.HOLDS, 0.09),
        # Student's t of 99 % and 4 degrees is 4.604: 2 ms are sure up to a scatter of 0.532 ms.
        ((9.48, 10, 10.52, 11.48, 12, 12.52), Belief.DOUBTFUL, 0.2),
        ((9.45, 10, 10.55, 11.45, 12, 12.55), Belief.HOLDS, 0.2),
    ],
)
def test_a_half_a_tenth_longer_than_the_other_is_a_drift(medians_ms, belief, rise) -> None:
    one = stationary(in_parts(*medians_ms))
    assert one.belief is belief
    assert one.numbers["rise"] == pytest.approx(rise)
    assert f"second half {100.0 * rise:+.0f} % from" in one.message


def test_only_parts_with_all_users_are_compared() -> None:
    users = (1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0)
    one = stationary(in_parts(90, 90, 10, 10, 10, 10, 10, 10, users=users))
    assert one.numbers["rise"] == 0.0
    assert stationary(in_parts(90, 90, 90, 10, 10, 10, 10, 10, users=(1.0, 2.0, 3.0, *[4.0] * 5))) is None
    assert stationary(in_parts(10, 10, 10, 10, 10)) is None


@pytest.mark.parametrize(("count", "is_told"), [(199, False), (200, True)])
def test_two_hundred_single_responses_are_parted_in_twenty(count: int, is_told: bool) -> None:
    took_s = np.where(np.arange(count) < count / 20, 30 * MS, 10 * MS)
    one = warm_up(run_of(samples=Samples.of(np.arange(count, dtype=float), took_s)))
    assert (one.belief is not Belief.UNKNOWN) is is_told
    if is_told:
        assert one.message.startswith("the first 5 % of the run has a median of 30 ms, the rest 10 ms")


def counted(succeeded: int | None, **others: Any) -> Any:
    quantiles = {q: Interval.exact(x * MS) for q, x in ((0.5, 38), (0.9, 50), (0.99, 70))}
    return samples(run_of(**{"succeeded": succeeded, "quantiles_s": quantiles, **others}))


@pytest.mark.parametrize(
    ("succeeded", "belief", "words", "fix"),
    [
        (9, Belief.BROKEN, "9 requests say nothing of a percentile", "send at least 1000 requests"),
        (10, Belief.BROKEN, "10 requests have 0.1 beyond P99: it is the slowest", "send at least 1000 requests"),
        (99, Belief.BROKEN, "99 requests have 0.99 beyond P99: it is", "use percentiles up to P50, or send"),
        (100, Belief.DOUBTFUL, "100 requests have 1 beyond P99; it may be", "use percentiles up to P90, or send"),
        (999, Belief.DOUBTFUL, "999 requests have 10 beyond P99", "use percentiles up to P90, or send at least"),
        (1000, Belief.HOLDS, "10 of 1000 requests lie beyond P99; it may be", ""),
    ],
)  # fmt: skip
def test_ten_requests_lie_beyond_a_percentile(succeeded: int, belief: Belief, words: str, fix: str) -> None:
    one = counted(succeeded)
    assert one.belief is belief
    assert one.message.startswith(words)
    assert one.fix.startswith(fix)


def test_durations_are_of_the_requests_to_a_twentieth() -> None:
    assert counted(10_000, counted=10_499).belief is Belief.HOLDS
    assert counted(10_000, counted=9_501).belief is Belief.HOLDS
    for other in (10_501, 9_499):
        one = counted(10_000, counted=other)
        assert one.belief is Belief.BROKEN
        assert one.numbers == {"counted": other, "succeeded": 10_000}
    assert counted(None).belief is Belief.UNKNOWN
    assert counted(None, counted=1000).belief is Belief.HOLDS
    assert counted(10_000, quantiles_s={}) is None


@pytest.mark.parametrize(
    ("low", "resolution_s", "belief"),
    [
        (0.375, 0.0, Belief.HOLDS),  # a quarter of 0.5 s
        (0.374, 0.0, Belief.DOUBTFUL),
        (0.5, 0.0, None),
        (0.5, 0.0249, None),  # less than a twentieth
        (0.5, 0.0251, Belief.DOUBTFUL),
    ],
)
def test_a_quarter_between_bounds_leaves_a_percentile_open(low, resolution_s, belief) -> None:
    quantiles = {0.99: Interval(value=0.5, low=low, high=0.5)}
    one = buckets(run_of(quantiles_s=quantiles, resolution_s=resolution_s))
    assert (None if one is None else one.belief) is belief
    assert buckets(run_of(resolution_s=resolution_s)) is None


def test_responses_of_no_duration_cannot_rise() -> None:
    at_once = run_of(samples=Samples.of(np.arange(200.0), np.zeros(200)))
    assert stationary(at_once) is None


@pytest.mark.parametrize(
    ("others", "is_told"),
    [
        ({}, True),  # k6 by a schedule at a server that stops for a second in every five
        ({0.9: 127.0}, False),  # twenty times the median, and no more; P95 was not reported
        ({0.9: 7.5, 0.95: 128.0}, True),
        ({0.9: 7.5, 0.99: 967.0}, False),  # one request in a hundred is a tail
        ({0.5: 80.0}, False),
    ],
)
def test_a_server_that_stops_is_seen_by_a_schedule(others: dict[float, float], is_told: bool) -> None:
    values_ms = {0.5: 6.36, 0.9: 579.5, **others}
    found = stalls(run_of(quantiles_s={q: Interval.exact(x * MS) for q, x in values_ms.items()}))
    assert (found is not None) == is_told
    if found is not None:
        assert found.belief is Belief.DOUBTFUL
        assert "times the median" in found.message


def test_no_spread_of_service_times_is_taken_for_a_stall() -> None:
    """P95 of a lognormal law of cv 4 is 16 times its median, and of buckets only what is certain counts."""
    cv = 4.0
    sigma = float(np.sqrt(np.log(1.0 + cv * cv)))
    quantiles_s = {0.5: Interval.exact(0.01), 0.95: Interval.exact(0.01 * float(np.exp(1.645 * sigma)))}
    assert stalls(run_of(quantiles_s=quantiles_s)) is None
    wide = {0.5: Interval(value=0.1, low=0.0, high=0.1), 0.95: Interval(value=2.5, low=1.0, high=2.5)}
    assert stalls(run_of(quantiles_s=wide)) is None
    assert stalls(run_of(quantiles_s={0.95: Interval.exact(1.0)})) is None


def test_a_cold_beginning_is_seen_beside_a_ramp_of_users() -> None:
    """Medians of the last ten seconds that Locust wrote, of a server ten times slower for its first four seconds."""
    medians_ms = [92, 90, 67, 13, 11, 10, 10, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 7]
    one = warm_up(in_parts(*medians_ms, users=[10.0] * len(medians_ms)))
    assert (one.belief, one.numbers["first_s"]) == (Belief.DOUBTFUL, pytest.approx(91 * MS))
    assert "the first 7 % of the run" in one.message


def test_a_cold_beginning_is_seen_by_the_rate_of_users_who_wait() -> None:
    """Answers in each second of the same server, by Locust's JSON; of an open loop a rate says nothing."""
    counts = [
        54, 49, 62, 94, 86, 91, 87, 95, 92, 92, 85, 91, 87, 90, 89, 92, 93, 91, 87, 92, 89, 89, 89, 90, 97,
        58,
    ]  # fmt: skip
    history = tuple(Moment(float(at), rate_rps=float(count)) for at, count in enumerate(counts))
    one = warm_up(run_of(loop=Loop.CLOSED, history=history))
    assert one.belief is Belief.DOUBTFUL
    assert one.numbers == {"first_rps": pytest.approx(49.0), "rest_rps": pytest.approx(90.0, rel=0.02)}
    assert warm_up(run_of(loop=Loop.OPEN, history=history)).belief is Belief.UNKNOWN
    assert warm_up(run_of(loop=Loop.CLOSED, history=history[3:])).belief is Belief.HOLDS


def test_a_file_without_times_says_that_a_warm_up_is_not_known() -> None:
    one = warm_up(run_of(quantiles_s={0.99: Interval.exact(0.1)}))
    assert (one.belief, one.message.startswith("not known")) == (Belief.UNKNOWN, True)


def test_a_slow_beginning_of_users_who_wait_is_seen_though_few_requests_are_of_it() -> None:
    """A server that is ten times slower for four of thirty seconds gets one request in sixty in these."""
    cold, warm = np.full(40, 100 * MS), np.full(2600, 10 * MS)
    took_s = np.concatenate([cold, warm])
    sent_s = np.concatenate([[0.0], np.cumsum(took_s)[:-1]])
    one = warm_up(run_of(loop=Loop.CLOSED, samples=Samples.of(sent_s, took_s)))
    assert (one.belief, one.numbers["first_s"]) == (Belief.DOUBTFUL, pytest.approx(100 * MS))
    assert warm_up(run_of(samples=Samples.of(np.zeros(300), np.full(300, 10 * MS)))).belief is Belief.HOLDS
