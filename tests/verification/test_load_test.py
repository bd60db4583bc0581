"""Load tests in a row: what was measured is kept, whatever becomes of the runs that follow."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_server import metrics_page
from virtual_time import VirtualClock, VirtualLoop

from capacity.errors import DependencyError, InputError
from capacity.measurement.http import parse_address
from capacity.question.plan import Routing
from capacity.traffic.workload import DeterministicArrivals, TraceArrivals, Workload
from capacity.verification.calibrate import lone_requests_max
from capacity.verification.load_test import LoadTest
from capacity.verification.send import Sent, Target
from capacity.verification.watch import Look
from simulations.draws.arrivals import Seed, Stage, Stream

ADDRESS = parse_address("http://127.0.0.1:9/predict", "--url")
METRICS = (parse_address("http://127.0.0.1:9/metrics", "--metrics"),)
TELL_NOTHING = [Look(instant_s=float(number), pages=(b"other 1\n",)) for number in range(2)]


def draw(workload, number):
    return Stream(workload, 1000, Seed(value=0, stage=Stage.VERIFY, replication=number))


def load_test(
    ends=None,
    looks=(),
    *,
    runs=3,
    workload=None,
    warm_up_s=0.0,
    duration_s=1.0,
    report=lambda message: None,
    **others,
):
    """A load test that sends nothing: each request is answered after a millisecond.

    Args:
        ends: by the number of a run from 1, what it ends with, after which share of its requests.
    """
    sent = []

    class StandIn(LoadTest):
        async def _send(self, run, balancer, watch):
            sent.append(run)
            stop, share = (ends or {}).get(len(sent), (None, 1.0))
            count = int(share * run.schedule.requests)
            run.sent_s[:count] = run.schedule.instants_s[:count]
            run.ended_s[:count] = run.sent_s[:count] + 0.001
            run.outcomes[:count] = 200
            run.is_complete = share == 1.0
            watch.looks += looks
            if stop is not None:
                raise stop

    return StandIn(
        target=Target(addresses=(ADDRESS,), body=b"{}", timeout_s=3.0),
        workload=Workload(arrival_rate_rps=100.0) if workload is None else workload,
        draw=draw,
        warm_up_s=warm_up_s,
        duration_s=duration_s,
        runs=runs,
        seed=0,
        report=report,
        **others,
    )


def test_runs_are_drawn_once_and_each_has_its_own_arrivals():
    asked = load_test()
    runs, stop = asked.measure()
    assert [run.schedule for run in runs] == list(asked.schedules)
    assert len({run.schedule.requests for run in runs}) > 1
    assert (stop, runs[0].timeout_s) == (None, 3.0)


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), DependencyError("gone"), InputError("refused")], ids=repr
)
def test_what_was_measured_is_kept(stop):
    """Runs before the one that fails, be it at its start or within; and what ended them is to be told."""
    for share in (0.0, 0.5):
        runs, found = load_test({3: (stop, share)}).measure()
        assert (len(runs), type(found)) == (2, type(stop))
    with pytest.raises(type(stop)):
        load_test({1: (stop, 0.0)}).measure()


def test_a_run_that_was_over_is_kept_although_a_last_look_was_interrupted():
    runs, stop = load_test({2: (KeyboardInterrupt(), 1.0)}).measure()
    assert [run.is_complete for run in runs] == [True, True]
    assert isinstance(stop, KeyboardInterrupt)


def test_of_a_first_run_that_was_broken_off_there_is_what_was_sent():
    (only,), _ = load_test({1: (KeyboardInterrupt(), 0.5)}, TELL_NOTHING, metrics=METRICS).measure()
    assert not only.is_complete
    assert 0 < only.sent < only.schedule.requests
    assert only.unseen.startswith("mean batch and utilization are not known: ")


@pytest.mark.parametrize("looks", [[], TELL_NOTHING], ids=["none", "other"])
def test_metrics_that_tell_nothing_cost_no_measurement(looks):
    (only,), _ = load_test(looks=looks, runs=1, metrics=METRICS).measure()
    assert (only.is_complete, only.uses) == (True, ())
    assert only.unseen.startswith("mean batch and utilization are not known: ")


def test_all_requests_that_may_be_sent_are_counted():
    """Those of all runs, one to each address before each, and those before the load."""
    steady = Workload(arrival_rate_rps=100.0, arrivals=DeterministicArrivals())
    exact = 3 * 100 + 3
    for is_calibrated, most in ((False, exact), (True, exact + lone_requests_max(100.0))):
        assert len(load_test(workload=steady, requests_max=most, is_calibrated=is_calibrated).schedules) == 3
        with pytest.raises(InputError, match="more than the 99 requests that are left for it"):
            _ = load_test(workload=steady, requests_max=most - 1, is_calibrated=is_calibrated).schedules
    assert len(load_test(workload=steady, requests_max=exact).schedules) == 3
    with pytest.raises(InputError, match="more than the 0 requests that are left for it"):
        _ = load_test(workload=steady, requests_max=1).schedules


def test_a_trace_that_ends_in_the_warm_up_is_refused():
    trace = Workload(arrival_rate_rps=10.0, arrivals=TraceArrivals(instants_s=tuple(np.arange(5) * 0.1)))
    with pytest.raises(InputError, match="within the warm-up"):
        _ = load_test(workload=trace, warm_up_s=1.0).schedules


def test_a_trace_that_ends_after_the_warm_up_is_sent():
    trace = Workload(arrival_rate_rps=8.0, arrivals=TraceArrivals(instants_s=tuple(np.arange(5) / 8.0)))
    (schedule,) = load_test(workload=trace, warm_up_s=0.4, runs=1).schedules
    assert schedule.instants_s.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    with pytest.raises(InputError, match="the arrivals end after 500 ms, within the warm-up"):
        _ = load_test(workload=trace, warm_up_s=0.5).schedules


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"duration_s": 0.0}, "--duration must be above 0 and at most 3600s, got 0s"),
        ({"duration_s": 3601.0}, "--duration must be above 0 and at most 3600s, got 3601s"),
        ({"warm_up_s": -1.0}, "--warm-up must be at most 3600s, got -1s"),
        ({"warm_up_s": 3601.0}, "--warm-up must be at most 3600s, got 3601s"),
        ({"runs": 0}, "--runs must be from 1 to 100, got 0"),
        ({"runs": 101}, "--runs must be from 1 to 100, got 101"),
    ],
)
def test_load_tests_have_limits(changes, said):
    with pytest.raises(InputError) as refused:
        load_test(**changes)
    assert str(refused.value) == said
    load_test(duration_s=3600.0, warm_up_s=3600.0, runs=100)


def test_each_run_is_announced():
    told = []
    steady = Workload(arrival_rate_rps=100.0, arrivals=DeterministicArrivals())
    load_test(workload=steady, runs=2, warm_up_s=0.5, report=told.append).measure()
    assert told == [
        "run 1 of 2: 150 requests at 100 rps for 1.5 s",
        "run 2 of 2: 150 requests at 100 rps for 1.5 s",
    ]


def test_the_cpu_share_of_sending_is_kept(monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 4.0 * next(ticks), process_time=lambda: 3.0 * next(ticks))
    monkeypatch.setattr("capacity.verification.load_test.time", clock)
    (only,), _ = load_test(runs=1).measure()
    # Ticks 0 to 3 in the order wall, CPU, CPU, wall: (6 - 3)/(12 - 0).
    assert only.cpu_share == 0.25


def test_uses_of_the_server_are_the_differences_between_looks():
    def page(count):
        return Look(instant_s=float(count), pages=(metrics_page({2: [0.25] * count}),))

    for metrics, batches in ((METRICS, [3, 4]), ((), [])):
        (only,), _ = load_test(looks=[page(1), page(4), page(8)], runs=1, metrics=metrics).measure()
        assert [use.batches for use in only.uses] == batches
        assert only.unseen is None


def test_lone_requests_are_announced_with_their_largest_number(monkeypatch):
    given, told = [], []

    def lone(*arguments, **others):
        given.append((arguments, others))

    monkeypatch.setattr("capacity.verification.load_test.lone_requests", lone)
    asked = load_test(report=told.append, in_flight_max=12)
    asked.lone_requests(0.9)
    assert given == [((asked.target, 100.0, 0, 0.9), {"in_flight_max": 12})]
    assert told == ["before the load: up to 550 requests, to measure what this client adds"]


def test_one_request_to_each_address_before_each_run_is_counted():
    steady = Workload(arrival_rate_rps=100.0, arrivals=DeterministicArrivals())
    asked = load_test(workload=steady, runs=2, requests_max=205)
    asked = replace(asked, target=replace(asked.target, addresses=(ADDRESS,) * 3))
    with pytest.raises(InputError, match="more than the 99 requests that are left"):
        _ = asked.schedules
    assert len(replace(asked, requests_max=206).schedules) == 2


def sent_slowly(monkeypatch, **changes):
    """A run of 1000 requests in a second, each of which takes 10 s, and when it ended; a look takes 1000 s."""
    ended_s = []

    @asynccontextmanager
    async def connected(target):
        async def send(replica, tokens=None):
            await asyncio.sleep(10.0)
            return Sent(200)

        yield send
        ended_s.append(asyncio.get_running_loop().time())

    async def look(watch, clock, began_s):
        await asyncio.sleep(1000.0)

    async def reachable(send, target):
        pass

    module = "capacity.verification.load_test"
    monkeypatch.setattr(f"{module}.connected", connected)
    monkeypatch.setattr(f"{module}.check_reachable", reachable)
    monkeypatch.setattr(f"{module}.MetricsWatch.run", look)
    monkeypatch.setattr(f"{module}.WallClock", VirtualClock)
    monkeypatch.setattr(f"{module}.precise_runner", lambda: asyncio.Runner(loop_factory=VirtualLoop))
    steady = Workload(arrival_rate_rps=1000.0, arrivals=DeterministicArrivals())
    asked = load_test(runs=1, workload=steady)
    given = {one.name: getattr(asked, one.name) for one in fields(LoadTest)}
    sending = LoadTest(**(given | changes))  # which sends, unlike the stand-in
    (only,), _ = sending.measure()
    return only, ended_s[0]


def test_900_requests_in_flight_end_a_run_without_its_last_look(monkeypatch):
    run, ended_s = sent_slowly(monkeypatch, metrics=METRICS)
    assert (run.sent, run.is_overflowed) == (900, True)
    assert ended_s == pytest.approx(
        10.95, abs=0.01
    )  # 50 ms before the first, 0.9 s to the 900th, and its 10 s


def test_the_last_look_is_awaited_if_metrics_are_watched(monkeypatch):
    run, ended_s = sent_slowly(monkeypatch, metrics=METRICS, in_flight_max=1000)
    assert (run.sent, run.is_overflowed, ended_s) == (1000, False, 1000.0)
    assert sent_slowly(monkeypatch, in_flight_max=1000)[1] == pytest.approx(11.05, abs=0.01)


def test_each_run_routes_by_its_own_random_numbers():
    asked = load_test(routing=Routing.RANDOM)
    for number in (0, 1):
        uniform = np.random.default_rng([0, number]).random(4096)[0]
        balancer = replace(asked, target=replace(asked.target, addresses=(ADDRESS,) * 7))._balancer(number)
        assert balancer.pick() == int(7 * uniform)
