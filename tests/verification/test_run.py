"""Schedules are what the simulator draws, within the run, and the same for the same seed."""

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.traffic.workload import (
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from capacity.verification.run import (
    EXHAUSTED,
    NOT_CONNECTED,
    OK,
    TIMED_OUT,
    TOO_LONG,
    UNKNOWN,
    LoadRun,
    Schedule,
    draw_schedule,
)
from simulations.draws.arrivals import Seed, Stage, Stream


def schedule(arrivals, rate_rps=200.0, duration_s=200.0, seed=0, **most):
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=arrivals)
    stream = Stream(workload, 10**6, Seed(value=seed, stage=Stage.VERIFY))
    return draw_schedule(stream, workload, duration_s, **most)


RANDOM = [PoissonArrivals(), GammaArrivals(cv=2.0), GammaArrivals(cv=0.5)]
BURSTS = MmppArrivals(ratio=5.0, burst_mean_s=0.5, calm_mean_s=2.0)


@pytest.mark.parametrize("arrivals", [*RANDOM, BURSTS, DeterministicArrivals()], ids=repr)
def test_all_lie_within_the_run_and_rise(arrivals):
    drawn = schedule(arrivals)
    assert (np.diff(drawn.instants_s) >= 0.0).all()
    assert drawn.instants_s[0] >= 0.0
    assert 190.0 < drawn.instants_s[-1] <= drawn.duration_s == 200.0


@pytest.mark.parametrize("arrivals", RANDOM, ids=repr)
def test_gaps_have_the_rate_and_the_variation_that_were_asked_for(arrivals):
    gaps_s = np.diff(schedule(arrivals).instants_s)
    cv = getattr(arrivals, "cv", 1.0)
    error = gaps_s.std() / np.sqrt(len(gaps_s))
    assert abs(gaps_s.mean() - 1 / 200.0) < 4.0 * error
    scaled = (gaps_s / gaps_s.mean()) ** 2
    assert abs(scaled.mean() - (1.0 + cv**2)) < 6.0 * scaled.std() / np.sqrt(len(gaps_s))


def test_poisson_numbers_vary_from_seed_to_seed_as_they_should():
    counts = np.array([schedule(PoissonArrivals(), duration_s=10.0, seed=s).requests for s in range(400)])
    assert abs(counts.mean() - 2000.0) < 4.0 * np.sqrt(2000.0 / 400.0)
    assert 0.8 < counts.var(ddof=1) / 2000.0 < 1.25


def test_bursts_have_the_rate_on_average_and_are_more_irregular_than_chance():
    counts = np.array([schedule(BURSTS, duration_s=10.0, seed=s).requests for s in range(400)])
    dispersion = BURSTS.dispersion_index(200.0, 10.0)
    assert abs(counts.mean() - 2000.0) < 4.0 * np.sqrt(2000.0 * dispersion / 400.0)
    assert 0.75 < counts.var(ddof=1) / 2000.0 / dispersion < 1.33


def test_a_metronome_ticks():
    assert schedule(DeterministicArrivals(), 4.0, 1.0).instants_s == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("arrivals", [*RANDOM, BURSTS], ids=repr)
def test_the_same_seed_draws_the_same_and_another_one_does_not(arrivals):
    first, again, other = (schedule(arrivals, seed=s).instants_s for s in (3, 3, 4))
    assert (first == again).all()
    assert first[0] != other[0]


def test_a_trace_begins_at_zero_runs_at_the_asked_rate_and_is_cut():
    trace = TraceArrivals(instants_s=(100.0, 101.0, 103.0, 104.0))  # 0.75 rps
    assert schedule(trace, 0.75, 60.0).instants_s.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert schedule(trace, 0.75, 60.0).duration_s == 4.0
    twice = schedule(trace, 1.5, 1.5)
    assert twice.instants_s == pytest.approx([0.0, 0.5, 1.5])
    assert twice.duration_s == 1.5


def test_too_few_and_too_many_are_refused_with_numbers():
    with pytest.raises(InputError, match="raise --rate or --duration"):
        schedule(DeterministicArrivals(), 1.0, 1.5)
    assert schedule(DeterministicArrivals(), 300.0, 60.0, most=18_000).requests == 18_000
    with pytest.raises(
        InputError, match="a run of 60 s has more than the 17999 requests that are left for it"
    ):
        schedule(DeterministicArrivals(), 300.0, 60.0, most=17_999)


@pytest.mark.parametrize(
    "arrivals",
    [
        GammaArrivals(cv=20.0),
        MmppArrivals(ratio=1e6, burst_mean_s=0.1, calm_mean_s=10.0),
        TraceArrivals(instants_s=(*np.linspace(0.0, 1e-3, 2000), 100.0)),
    ],
    ids=lambda arrivals: type(arrivals).__name__,
)
def test_no_more_are_drawn_than_may_be_sent(arrivals):
    """A burst at the beginning is many times what comes on average, and must not fill the memory either."""

    def drawn(seed):
        try:
            return schedule(arrivals, 20.0, 10.0, seed, most=300).requests
        except InputError as error:
            return str(error)

    found = [drawn(seed) for seed in range(40)]
    assert any("more than the 300 requests that are left for it" in x for x in found if isinstance(x, str))
    assert all(x <= 300 for x in found if isinstance(x, int))


@pytest.mark.parametrize("instants_s", [[1.0, 0.5], [0.5, 2.5], [-1.0, 0.5], [0.5, np.nan]])
def test_a_schedule_is_valid_or_not_born(instants_s):
    with pytest.raises(InputError):
        Schedule(instants_s=np.array(instants_s), duration_s=2.0)


def a_run(**changes):
    """Ten requests, one a second from 0 s on; the first two are warm-up, and the last was not sent."""
    instants_s = np.arange(10.0)
    sent_s = np.append(instants_s[:9] + 0.125, np.nan)
    made = {
        "schedule": Schedule(instants_s=instants_s, duration_s=10.0),
        "warm_up_s": 2.0,
        "timeout_s": 3.0,
        "sent_s": sent_s,
        "ended_s": instants_s + np.array([0.5, 3.0, 0.5, 4.0, 0.25, 3.5, 0.5, 1.0, 0.5, np.nan]),
        "outcomes": np.array([OK, OK, OK, TIMED_OUT, NOT_CONNECTED, 201, TOO_LONG, OK, EXHAUSTED, UNKNOWN]),
        "replicas": np.zeros(10, dtype=np.int64),
    }
    return LoadRun(**(made | changes))


def test_requests_after_the_warm_up_are_counted():
    found = a_run()
    assert (found.sent, found.counted) == (9, 7)
    assert found.lags_s().tolist() == [0.125] * 7
    assert found.lags_s(of_good=True).tolist() == [0.125] * 2
    assert found.responses_s.tolist() == [0.5, 1.0]
    assert found.losses.tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert found.given_up.tolist() == [0, 1, 1, 0, 1, 0, 1]
    assert found.statuses == {
        "exhausted": 1, "too_long": 1, "connection": 1, "timeout": 1, "200": 2, "201": 1,
    }  # fmt: skip


def test_a_request_given_up_would_have_taken_the_timeout_or_longer():
    found = a_run()
    assert found.endured_s().tolist() == [0.5, 4.0, 3.0, 3.0, 1.0, 3.0]
    assert found.endured_s(at_most=True).tolist() == [0.5, np.inf, np.inf, np.inf, 1.0, np.inf]
    assert found.endured_s(with_losses=True).tolist() == [0.5, 4.0, 3.0, np.inf, 3.0, 1.0, 3.0]


def test_good_answers_count_from_the_warm_up_to_the_end():
    """The request of 1 s was answered at 4 s; an answer at the very end of the window is outside it."""
    found = a_run()
    assert found.window_s == (2.0, 10.0)
    assert found.answered_at_s.tolist() == [2.5, 4.0, 8.0]
    assert a_run(ended_s=np.array([2.0, 10.0, *[9.0] * 8])).answered_at_s.tolist() == [2.0, 9.0, 9.0]


@pytest.mark.parametrize("changes", [{"is_complete": False}, {"is_overflowed": True}])
def test_the_window_of_an_aborted_run_ends_with_its_last_request(changes):
    assert a_run(**changes).window_s == (2.0, 8.125)
    assert a_run(**changes, sent_s=np.full(10, np.nan)).window_s == (2.0, 2.0)


def test_a_blank_run_has_sent_nothing():
    found = LoadRun.blank(Schedule(instants_s=np.arange(3.0), duration_s=3.0), 1.0, 2.0)
    assert (found.sent, found.counted, found.is_complete, found.timeout_s) == (0, 0, False, 2.0)
    assert (found.statuses, found.replicas.tolist()) == ({}, [-1, -1, -1])
    for values in (found.sent_s, found.ended_s, found.inside_s):
        assert np.isnan(values).all()
    assert found.outcomes.tolist() == [UNKNOWN] * 3


def test_a_schedule_has_at_least_two_requests():
    for instants_s in ([], [1.0]):
        with pytest.raises(InputError, match=f"^{len(instants_s)} requests are too few"):
            Schedule(instants_s=np.array(instants_s), duration_s=2.0)
    assert Schedule(instants_s=np.array([0.0, 0.0, 2.0]), duration_s=2.0).requests == 3
