"""The driver, in virtual time: requests go out when they were meant to, whatever becomes of others."""

import asyncio

import numpy as np
import pytest
from measurements.driver import Driver
from measurements.load_run import Journal
from virtual_time import VirtualClock, run

from capacity.plan import Routing
from capacity.verification.run import NOT_CONNECTED, TIMED_OUT, UNKNOWN, LoadRun, Schedule
from capacity.verification.send import Balancer
from capacity.verification.validity import faults


class OneServer:
    """FIFO, one at a time, each for the same time."""

    def __init__(self, service_s):
        self.service_s, self.free_s, self.seen = service_s, 0.0, []

    async def __call__(self, replica):
        now_s = asyncio.get_running_loop().time()
        self.seen.append(replica)
        self.free_s = max(now_s, self.free_s) + self.service_s
        await asyncio.sleep(self.free_s - now_s)
        return 200


def poisson(requests=2000, rate_rps=100.0, seed=5):
    instants_s = np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate_rps, requests))
    return Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]))


def every(gap_s, requests):
    instants_s = gap_s * np.arange(1.0, requests + 1.0)
    return Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]))


def drive(schedule, send, *, stalls_s=None, in_flight_max=900, replicas=1, warm_up_s=0.0):
    journal = Journal(schedule)
    balancer = Balancer(Routing.ROUND_ROBIN, replicas, np.random.default_rng(0))
    driver = Driver(send, balancer, VirtualClock(stalls_s), in_flight_max)
    run(driver.run(journal))
    assert balancer.outstanding == [0] * replicas
    return LoadRun.of(journal, warm_up_s)


def lindley(instants_s, service_s):
    free_s, responses_s = 0.0, []
    for instant_s in instants_s:
        free_s = max(instant_s, free_s) + service_s
        responses_s.append(free_s - instant_s)
    return responses_s


def test_responses_are_those_of_the_queue():
    schedule = poisson()
    found = drive(schedule, OneServer(0.008))
    assert found.responses_s == pytest.approx(lindley(schedule.instants_s, 0.008), abs=1e-9)
    assert found.lags_s == pytest.approx(0.0, abs=1e-9)
    assert (found.sent, found.statuses) == (2000, {"200": 2000})
    assert list(faults(found, 900)) == []


def test_slow_answers_hold_up_no_request():
    found = drive(every(0.001, 500), OneServer(1.0))
    assert found.lags_s == pytest.approx(0.0, abs=1e-9)
    assert found.responses_s[-1] == pytest.approx(500.0 - 0.499)


def test_what_is_sent_late_counts_from_when_it_was_meant_to_be_sent():
    """Coordinated omission: a generator that stands still for a second must not look fast."""
    found = drive(every(0.01, 200), OneServer(0.001), stalls_s={0.495: 1.0})
    late = np.flatnonzero(found.lags_s > 1e-9)
    assert found.lags_s.max() == pytest.approx(1.0 - 0.0, abs=0.011)
    assert len(late) == pytest.approx(100, abs=2)
    assert found.responses_s.max() >= found.lags_s.max()
    assert found.responses_s.min() == pytest.approx(0.001)
    (said,) = faults(found, 900)
    assert said.startswith("the load generator fell behind: P99 of its lag is ")
    assert "or lower --rate" in said


def test_too_many_in_flight_end_the_run_instead_of_waiting():
    async def late(replica):
        await asyncio.sleep(0.4)  # so that places would be free again later
        return TIMED_OUT

    found = drive(every(0.01, 1000), late, in_flight_max=25)
    assert (found.sent, found.scheduled, found.is_overflowed) == (25, 1000, True)
    assert found.statuses == {"timeout": 25}
    assert "25 requests were in flight, and no more are allowed: 25 of 1000 were sent" in "".join(
        faults(found, 25)
    )


def test_as_many_in_flight_as_allowed_are_no_fault():
    found = drive(every(0.01, 25), OneServer(10.0), in_flight_max=25)
    assert (found.sent, found.is_overflowed) == (25, False)


def test_failures_are_counted_by_kind_and_are_in_no_response():
    outcomes = [200, 503, 200, TIMED_OUT, 307, NOT_CONNECTED, 200, 503]

    async def send(replica):
        await asyncio.sleep(0.001)
        return outcomes.pop(0)

    found = drive(every(0.01, 8), send)
    assert found.statuses == {"connection": 1, "timeout": 1, "200": 3, "307": 1, "503": 2}
    assert len(found.responses_s) == 3
    assert found.losses.tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert found.given_up.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]


def test_the_warm_up_counts_for_nothing():
    found = drive(every(0.01, 100), OneServer(0.001), warm_up_s=0.505)
    assert (found.sent, found.counted, len(found.responses_s), len(found.lags_s)) == (100, 50, 50, 50)
    assert found.window_s == (0.505, 1.0)
    # Answers come a millisecond later: that of 0.5 s within the warm-up, and that of 1 s after the end.
    assert len(found.answered_at_s) == 49


def test_requests_go_round_the_urls():
    server = OneServer(0.001)
    found = drive(every(0.01, 9), server, replicas=3)
    assert server.seen == [0, 1, 2] * 3
    assert found.replicas.tolist() == server.seen


def test_a_run_that_is_broken_off_leaves_what_there_is():
    journal = Journal(every(0.01, 1000))
    balancer = Balancer(Routing.ROUND_ROBIN, 1, np.random.default_rng(0))

    async def broken_off():
        task = asyncio.create_task(Driver(OneServer(0.015), balancer, VirtualClock(), 900).run(journal))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(broken_off())
    found = LoadRun.of(journal, 0.0)
    assert not found.is_complete
    assert 90 <= found.sent <= 100
    assert 55 <= len(found.responses_s) <= 66
    assert found.statuses["unanswered"] == found.sent - len(found.responses_s)
    assert found.window_s == (0.0, pytest.approx(np.nanmax(found.sent_s)))
    (said,) = faults(found, 900)
    assert said.startswith(f"the run was broken off after {found.sent} of 1000")
    assert UNKNOWN in found.outcomes
    settled = found.sent - found.statuses["unanswered"]  # of the others nobody knows
    assert len(found.losses) == len(found.given_up) == len(found.at_least_s) == settled
