"""When success is again what it was, from outcomes that are made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from stresses import fleet_in_trouble

from capacity.errors import DomainError, InconclusiveError
from capacity.recovery.findings import Run
from capacity.recovery.protection import Abandoned, Protection
from capacity.recovery.stress import Stress
from capacity.traffic.clients import Clients
from simulations.draws.attempts import Outcomes
from simulations.draws.records import Floats
from simulations.statistics.recovered import run_of
from simulations.stress import StressSimulation

# 100 rps, a trigger from 60 to 70 s, a horizon of 100 s: windows of 5 s with 500 requests each.
STRESS = fleet_in_trouble("spike:2x,10s", rate_rps=100.0, horizon_s=100.0)
UNTIL_S = STRESS.ends_s + STRESS.horizon_s


def outcomes(
    fails: Floats, arrived_s: Floats, *, stopped_s: float = math.inf, took_s: float = 0.02
) -> Outcomes:
    """Requests that are answered after a while, but for those that fail."""
    answered_s = np.where(fails, np.nan, arrived_s + took_s)
    return Outcomes(
        arrived_s=arrived_s,
        answered_s=answered_s,
        ended_s=arrived_s + took_s,
        attempts=np.where(fails, 3, 1),
        sent=np.bincount(arrived_s.astype(int), weights=np.where(fails, 3, 1)).astype(int),
        served=0,
        for_nobody=0,
        rejected=0,
        shed=0,
        crashed=0,
        dropped=0,
        timed_out=0,
        stopped_s=stopped_s,
    )


def seen(
    *bad: tuple[float, float], every: int = 1, stress: Stress = STRESS, stopped_s: float = math.inf
) -> Run:
    """A run of 100 requests a second, of which one in a given number fails in some stretches of time."""
    until_s = stress.ends_s + stress.horizon_s
    arrived_s = np.arange(0.0, until_s, 0.01) + 0.005
    fails = np.zeros(len(arrived_s), dtype=bool)
    for from_s, to_s in bad:
        fails |= (arrived_s >= from_s) & (arrived_s < to_s) & (np.arange(len(arrived_s)) % every == 0)
    return run_of(stress, outcomes(fails, arrived_s, stopped_s=stopped_s), until_s, 0.0)


def test_the_stress_is_what_these_tests_are_about() -> None:
    assert (STRESS.begins_s, STRESS.ends_s, STRESS.window_s) == (60.0, 70.0, 5.0)


def test_who_came_after_a_run_was_given_up_has_failed() -> None:
    whole = outcomes(np.arange(17_000) >= 9_000, np.arange(0.0, UNTIL_S, 0.01) + 0.005, stopped_s=100.0)
    cut = replace(whole, answered_s=whole.answered_s[:9_500])
    assert run_of(STRESS, cut, UNTIL_S, 0.0) == run_of(STRESS, whole, UNTIL_S, 0.0)


def test_no_harm_is_back_at_once() -> None:
    run = seen()
    assert (run.recovered_s, run.relapsed, run.baseline, run.goodput_during, run.lost) == (
        0.0, False, 1.0, 1.0, 0,
    )  # fmt: skip


def test_the_first_window_that_is_as_before_begins_when_the_last_failure_is_over() -> None:
    """Less than one in twenty may fail in a window: the last failing second leaves it at its end, less a quarter."""
    run = seen((62.0, 83.0))
    assert run.recovered_s == 13.0
    assert not run.relapsed
    assert run.goodput_during == pytest.approx(0.2)
    assert run.lost == 2100


def test_a_twentieth_less_is_as_before() -> None:
    """Every 20th of all requests fails from the trigger's end on: 5 points below."""
    assert seen((70.0, 200.0), every=20).recovered_s == 0.0
    assert seen((70.0, 200.0), every=16).recovered_s is None


def test_three_standard_errors_are_as_before_where_few_come() -> None:
    """A baseline of 80 % and 200 requests a window: 3 errors are 8.5 points."""
    stress = fleet_in_trouble("spike:2x,10s", Clients(), rate_rps=40.0, horizon_s=100.0)
    assert stress.window_s == 5.0
    until_s = stress.ends_s + stress.horizon_s
    arrived_s = np.arange(0.0, until_s, 0.025) + 0.01
    number = np.arange(len(arrived_s))
    for bad_share, is_back in ((0.28, True), (0.30, False)):
        share = np.where(arrived_s < stress.ends_s, 0.20, bad_share)
        fails = (number % 200) < np.round(200 * share)
        run = run_of(stress, outcomes(fails, arrived_s), until_s, 0.0)
        assert run.baseline == pytest.approx(0.8)
        assert (run.recovered_s is not None) is is_back


def test_windows_hold_200_requests() -> None:
    slow = fleet_in_trouble("spike:2x,10s", rate_rps=10.0, horizon_s=100.0)
    assert (slow.window_s, slow.begins_s) == (20.0, 60.0)
    very_slow = fleet_in_trouble("spike:2x,10s", rate_rps=5.0, horizon_s=100.0)
    assert (very_slow.window_s, very_slow.begins_s) == (40.0, 70.0)


def test_half_a_minute_of_success_is_a_recovery_and_what_follows_a_relapse() -> None:
    """From 80 s on all is well for so long that every window of 30 s is."""
    run = seen((60.0, 80.0), (116.0, 120.0))
    assert (run.recovered_s, run.relapsed) == (10.0, True)


def test_less_than_half_a_minute_of_success_is_none() -> None:
    """The next failures come a second too early: the recovery is after them."""
    run = seen((60.0, 80.0), (114.0, 120.0))
    assert (run.recovered_s, run.relapsed) == (50.0, False)


def test_what_does_not_come_back_within_the_horizon() -> None:
    """The last window that counts begins half a minute and a window before its end."""
    assert seen((60.0, 135.0)).recovered_s == 65.0
    run = seen((60.0, 136.0))
    assert (run.recovered_s, run.relapsed) == (None, False)
    assert run.lost == 7600


def test_the_shortest_horizon_shows_a_recovery() -> None:
    """Whatever the instants come to in binary."""
    for lasting_s in (0.1, 0.3, 1.1, 7.7):
        stress = fleet_in_trouble(f"spike:2x,{lasting_s}s", rate_rps=100.0, horizon_s=35.0)
        assert seen(stress=stress).recovered_s == 0.0, lasting_s


def test_the_shortest_horizon_is_in_whole_seconds() -> None:
    """Three tries of 10.25 s take 30.75 s, and success is looked at once a second, so 31 s and a window of 5 s."""
    clients = Clients(timeout_s=10.25, attempts=3)
    stress = fleet_in_trouble("spike:2x,10s", clients, rate_rps=100.0, horizon_s=36.0)
    assert seen(stress=stress).recovered_s == 0.0
    with pytest.raises(
        DomainError, match="the horizon must be at least 36 s, so that a recovery can be seen"
    ):
        replace(stress, horizon_s=35.9)


def test_only_failures_from_the_trigger_to_the_recovery_are_lost() -> None:
    """Some fail before the trigger, and some long after: one in a hundred, which is no harm."""
    run = seen((0.0, 170.0), every=100)
    assert run.recovered_s == 0.0
    assert run.baseline == pytest.approx(0.99, abs=0.001)  # of 28.5 s
    assert run.lost == 10


def test_a_fleet_that_fails_before_the_trigger_has_nothing_to_come_back_to() -> None:
    with pytest.raises(InconclusiveError, match="only 0.0 % of the requests succeed before the trigger"):
        seen((30.0, 60.0))
    with pytest.raises(InconclusiveError, match="nothing to come back to"):
        seen((30.0, 45.5))
    assert seen((30.0, 44.0)).baseline == pytest.approx(14.5 / 28.5)
    assert seen((30.0, 44.25)).baseline == 0.5


def test_who_is_in_the_fleet_when_the_trigger_begins_is_lost_and_no_part_of_the_baseline() -> None:
    """Clients give up after 1.5 s: the requests of the last second before the trigger fail within it."""
    arrived_s = np.arange(0.0, UNTIL_S, 0.01) + 0.005
    fails = (arrived_s >= 59.0) & (arrived_s < 60.0)
    run = run_of(STRESS, outcomes(fails, arrived_s, took_s=1.4), UNTIL_S, 0.0)
    assert (run.baseline, run.lost, run.goodput_during) == (1.0, 100, 1.0)
    earlier = run_of(STRESS, outcomes(fails, arrived_s, took_s=0.5), UNTIL_S, 0.0)
    assert (earlier.baseline, earlier.lost) == (
        1.0,
        50,
    )  # those who came in the first half had given up before


def test_patient_clients_are_watched_as_long_as_they_wait() -> None:
    patient = fleet_in_trouble("lose:1,10s", Clients(timeout_s=20.0, attempts=3))
    assert (patient.steady_s, patient.begins_s) == (60.0, 30.0 + 30.0 + 55.0)
    assert patient.baseline_s == (30.0, 55.0)
    assert patient.comes_until_s == patient.until_s + 60.0
    hurried = replace(patient, clients=replace(patient.clients, deadline_s=4.0))
    assert (hurried.steady_s, hurried.begins_s, hurried.baseline_s) == (30.0, 60.0, (30.0, 56.0))


def test_what_happened_does_not_depend_on_how_long_is_looked() -> None:
    """Four servers of 100 rps, one of which is lost, and clients that wait for 5 s and try three times.

    What clients have given up is dropped, so that no run is given up.
    """
    asked = fleet_in_trouble(
        "lose:1,60s",
        Clients(timeout_s=5.0, attempts=3),
        rate_rps=390.0,
        protection=Protection(abandoned=Abandoned.DROPPED),
        horizon_s=40.0,
    )
    judge = StressSimulation(seed=1, runs=2)
    short, long = judge(asked), judge(replace(asked, horizon_s=120.0))
    assert [run.goodput_during for run in short.runs] == [run.goodput_during for run in long.runs]
    # Nobody stops coming, so that the end of a short look is as bad as the middle of a long one.
    for one, other in zip(short.runs, long.runs, strict=True):
        assert one.course.succeeded == other.course.succeeded[: len(one.course.succeeded)]


def test_what_was_given_up_has_failed() -> None:
    """What would have been sent later is not known, and whoever came later has no reply."""
    run = seen((62.0, 170.0), stopped_s=100.0)
    assert run.recovered_s is None
    assert (len(run.course.came), len(run.course.sent)) == (170, 100)
    assert sum(run.course.succeeded[62:]) == 0
    assert run.lost == 10_800


def test_the_course_second_by_second() -> None:
    run = seen((62.0, 64.0), every=2)
    assert len(run.course.came) == len(run.course.succeeded) == len(run.course.sent) == 170
    assert set(run.course.came) == {100}
    assert run.course.succeeded[61:65] == (100, 50, 50, 100)
    assert run.course.sent[61:65] == (100, 200, 200, 100)


def test_p99_of_those_that_succeed_meanwhile_with_the_overhead() -> None:
    stress = STRESS
    arrived_s = np.arange(0.0, UNTIL_S, 0.005) + 0.0025
    during = (arrived_s >= 60.0) & (arrived_s < 70.0)
    rank = np.cumsum(during)
    took_s = np.where(during, rank / 1000.0, 0.5)
    nobody = np.zeros(len(arrived_s), dtype=bool)
    found = outcomes(nobody, arrived_s)
    answered = Outcomes(
        **{**{name: getattr(found, name) for name in Outcomes.__slots__}, "answered_s": arrived_s + took_s}
    )
    run = run_of(stress, answered, UNTIL_S, 0.25)
    assert run.response_p99_s == pytest.approx(0.99 * 2.0 + 0.25)
    assert seen().response_p99_s == pytest.approx(0.02)  # of 1000
    assert seen((60.0, 60.01)).response_p99_s is None
