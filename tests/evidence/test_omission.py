"""Coordinated omission: what a closed loop reports beside what an open loop sees of the same stalls."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.evidence.finding import Belief
from capacity.evidence.omission import from_schedule, has_tail, omission, unsent_share_max, worst_omission
from capacity.evidence.sending import coordinated_omission
from capacity.formats.load_test import Histogram, LoadRun, Loop, Samples
from capacity.performance import Interval

SERVICE_S, STALL_S, EVERY_S, LASTS_S = 0.010, 1.0, 5.0, 60.0


def answered_s(sent_s: np.ndarray) -> np.ndarray:
    """When a server answers that takes 10 ms, and does nothing in the last second of every five."""
    due_s = sent_s + SERVICE_S
    into_s = np.mod(due_s, EVERY_S)
    stalled = into_s > EVERY_S - STALL_S
    return np.where(stalled, due_s + EVERY_S - into_s + SERVICE_S, due_s)


def closed(users: int, think_s: float) -> Samples:
    """Users who wait for their answers, and think for a while."""
    sent, took = [], []
    for user in range(users):
        now_s = think_s * user / users + SERVICE_S * user / users
        while now_s < LASTS_S:
            end_s = float(answered_s(np.array([now_s]))[0])
            sent.append(now_s)
            took.append(end_s - now_s)
            now_s = end_s + think_s
    return Samples.of(sent, took)


def run_of(samples: Samples, users: int, /, **others: Any) -> LoadRun:
    p99_s = float(np.quantile(samples.response_s, 0.99, method="higher"))
    usual = {
        "name": "stalls",
        "loop": Loop.CLOSED,
        "users": float(users),
        "throughput_rps": len(samples.response_s) / LASTS_S,
        "succeeded": len(samples.response_s),
        "max_s": float(samples.response_s.max()),
        "quantiles_s": {0.99: Interval.exact(p99_s)},
        "samples": samples,
    }
    return LoadRun(**{**usual, **others})


@pytest.mark.parametrize("think_s", [0.0, 0.02, 0.05])
def test_what_is_told_is_what_a_schedule_sees(think_s: float) -> None:
    """A fifth of all requests of a schedule come in a stall: P99 is nearly all of it."""
    samples = closed(50, think_s)
    schedule_s = np.arange(0.0, LASTS_S, 0.001)
    truth_s = float(np.quantile(answered_s(schedule_s) - schedule_s, 0.99))
    found = omission(run_of(samples, 50), 0.99)
    assert found is not None
    assert truth_s == pytest.approx(0.96, abs=0.01)
    assert found.scheduled_s == pytest.approx(truth_s, rel=0.05)
    assert found.reported_s < 0.5 * truth_s or think_s > 0.0
    # In truth a fifth; the mean cycle is longer than the usual one, so that fewer are counted as missing.
    assert 0.1 < found.unsent_share < 0.2


def test_a_steady_server_hides_nothing() -> None:
    samples = Samples.of(np.arange(0.0, 10.0, 0.01), np.full(1000, SERVICE_S))
    run = run_of(samples, 1, throughput_rps=100.0)
    found = omission(run, 0.99)
    assert (found.scheduled_s, found.unsent_share) == (SERVICE_S, 0.0)
    told = coordinated_omission(run)
    assert told.belief is Belief.HOLDS


def test_the_percentile_is_told_that_hides_most() -> None:
    """Who thinks for 0.2 s meets a stall with one request in twenty: P99 has it, and P90 has not."""
    samples = closed(50, 0.2)
    quantiles = {q: Interval.exact(float(np.quantile(samples.response_s, q))) for q in (0.5, 0.9, 0.99)}
    found = worst_omission(run_of(samples, 50, quantiles_s=quantiles), 0.99)
    assert found.quantile == 0.9
    assert found.change == pytest.approx(found.scheduled_s / found.reported_s - 1.0)
    assert found.reported_s < 0.05
    schedule_s = np.arange(0.0, LASTS_S, 0.001)
    truth_s = float(np.quantile(answered_s(schedule_s) - schedule_s, 0.9))
    assert found.scheduled_s == pytest.approx(truth_s, rel=0.15)  # a cycle is a quarter of a stall


def test_percentiles_and_buckets_say_nearly_the_same_as_single_requests() -> None:
    samples = closed(50, 0.0)
    at = [0.5, 0.9, 0.99, 0.995, 0.999, 0.9999]
    values = np.quantile(samples.response_s, at)
    whole = run_of(samples, 50)
    few = run_of(
        samples, 50, samples=None, quantiles_s={q: Interval.exact(v) for q, v in zip(at, values, strict=True)}
    )
    counts, edges = np.histogram(samples.response_s, bins=np.linspace(0.0, 1.1, 111))
    binned = run_of(samples, 50, samples=None, histogram=Histogram(tuple(edges), tuple(counts.astype(float))))
    found = [omission(run, 0.99) for run in (whole, few, binned)]
    assert all(one is not None for one in found)
    first_s, by_percentiles_s, by_buckets_s = (one.scheduled_s for one in found if one is not None)
    assert by_percentiles_s == pytest.approx(first_s, rel=0.1)  # straight lines between six of them
    assert by_buckets_s == pytest.approx(first_s, rel=0.01)


def test_without_users_or_a_tail_nothing_is_told() -> None:
    samples = closed(5, 0.0)
    for others in (
        {"users": None},
        {"throughput_rps": None},
        {"loop": Loop.OPEN},
        {
            "samples": None,
            "max_s": None,
            "quantiles_s": {0.5: Interval.exact(0.01), 0.9: Interval.exact(0.02)},
        },
    ):
        assert omission(run_of(samples, 5, **others), 0.99) is None, others
    found = coordinated_omission(run_of(samples, 5, users=None))
    assert found.belief is Belief.UNKNOWN


@pytest.mark.parametrize(
    ("known", "has"),
    [
        ({"quantiles_s": (0.5, 0.9), "max_s": 1.0}, True),
        ({"quantiles_s": (0.5,), "max_s": 1.0}, False),
        ({"quantiles_s": (0.5, 0.9, 0.999)}, True),
        ({"quantiles_s": (0.5, 0.9, 0.99)}, False),
        ({"histogram": Histogram((0.0, 0.1, 0.2), (3.0, 1.0))}, True),
        ({"histogram": Histogram((0.0, 0.1, np.inf), (3.0, 1.0))}, False),
        ({"histogram": Histogram((0.0, 0.1, 0.2), (0.0, 0.0))}, False),
        ({"samples": Samples.of([0.0], [0.1])}, True),
        ({"samples": Samples.of([0.0], [0.1]), "answered": Samples.of([], [])}, False),
    ],
)
def test_a_tail_is_known_up_to_the_maximum_or_to_a_thousandth(known: dict[str, Any], has: bool) -> None:
    quantiles_s = {q: Interval.exact(q) for q in known.get("quantiles_s", ())}
    assert has_tail(LoadRun(name="r", **{**known, "quantiles_s": quantiles_s})) is has


def test_mean_and_maximum_tell_how_much_was_held_back_at_most() -> None:
    """The longest response is two thirds beyond the cycle of 100 ms, and no other is more: 100 ms of the mean."""
    run = LoadRun(name="r", users=1.0, throughput_rps=10.0, mean_s=0.15, max_s=0.3)
    assert unsent_share_max(run) == pytest.approx(0.5)
    assert unsent_share_max(replace(run, max_s=0.1)) == 0.0
    for lacking in ("users", "throughput_rps", "mean_s", "max_s"):
        assert unsent_share_max(replace(run, **{lacking: None})) is None


def test_a_request_that_was_sent_late_had_waited_already() -> None:
    samples = Samples.of([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], due_s=[1.0, 1.5, 1.0])
    run = LoadRun(name="late", loop=Loop.OPEN, quantiles_s={0.99: Interval.exact(0.1)}, samples=samples)
    assert from_schedule(run, 0.99) == Interval.exact(2.1)
    found = coordinated_omission(run)
    assert found.belief is Belief.BROKEN
    assert "from when it was due it is 2.1 s" in found.message


def test_only_bounds_are_told_where_delays_are_known_by_their_percentile() -> None:
    late = LoadRun(
        name="stage 5",
        loop=Loop.OPEN,
        mean_s=3.74,
        quantiles_s={0.99: Interval.exact(3.97)},
        schedule_delay_mean_s=16.22,
        schedule_delay_p99_s=34.4,
    )
    found = coordinated_omission(late)
    assert found.belief is Belief.BROKEN
    assert "at least 34.4 s, and the mean 20 s instead of 3.74 s" in found.message
