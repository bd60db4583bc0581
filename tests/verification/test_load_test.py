"""A series of load tests: what was measured is kept, whatever becomes of the runs that follow."""

import numpy as np
import pytest
from measurements.load_series import Course, LoadSeries

from capacity.errors import DependencyError, InputError
from capacity.measurement.http import parse_address
from capacity.verification.calibrate import lone_requests_max
from capacity.verification.send import Target
from capacity.verification.watch import Look
from capacity.workload import DeterministicArrivals, TraceArrivals, Workload

TARGET = Target(urls=("http://127.0.0.1:9/predict",), body=b"{}", timeout_s=3.0)


class StandIn:
    """A load test that sends nothing: each request is answered after a millisecond.

    Args:
        ends: by the number of a run, what it ends with, after which share of its requests.
    """

    target, in_flight_max = TARGET, 900

    def __init__(self, ends=None, looks=()):
        self.ends, self.looks, self.schedules = ends or {}, looks, []

    def balancer(self, seed):
        pass

    def run(self, journal, seed, watch=None):
        self.schedules.append(journal.schedule)
        stop, share = self.ends.get(len(self.schedules), (None, 1.0))
        instants_s = journal.schedule.instants_s.tolist()
        for number, instant_s in enumerate(instants_s[: int(share * len(instants_s))]):
            journal.sent_s[number], journal.ended_s[number] = instant_s, instant_s + 0.001
            journal.outcomes[number] = 200
        journal.is_complete = share == 1.0
        if watch is not None:
            watch.looks += self.looks
        if stop is not None:
            raise stop


def series(test, *, runs=3, workload=None, metrics=(), warm_up_s=0.0, **others):
    return LoadSeries(
        test=test,
        workload=Workload(arrival_rate_rps=100.0) if workload is None else workload,
        course=Course(warm_up_s=warm_up_s, duration_s=1.0, runs=runs, seed=0),
        metrics=metrics,
        report=lambda message: None,
        **others,
    )


def test_runs_are_drawn_once_and_each_has_its_own_arrivals():
    test = StandIn()
    asked = series(test)
    asked.check()
    found = asked.measure()
    assert [one.run.schedule for one in found.runs] == test.schedules
    assert len({schedule.requests for schedule in test.schedules}) > 1
    assert (found.interrupt, found.stop) == (None, None)
    assert found.runs[0].run.timeout_s == 3.0


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), DependencyError("gone"), InputError("refused")], ids=repr
)
def test_what_was_measured_is_kept(stop):
    """Runs before the one that fails, be it at its start or within; and what ended them is to be told."""
    for share in (0.0, 0.5):
        found = series(StandIn({3: (stop, share)})).measure()
        assert len(found.runs) == 2
        assert (found.interrupt or found.stop) is stop
    with pytest.raises(type(stop)):
        series(StandIn({1: (stop, 0.0)})).measure()


def test_a_run_that_was_over_is_kept_although_a_last_look_was_interrupted():
    found = series(StandIn({2: (KeyboardInterrupt(), 1.0)})).measure()
    assert [one.run.is_complete for one in found.runs] == [True, True]
    assert isinstance(found.interrupt, KeyboardInterrupt)


def test_of_a_first_run_that_was_broken_off_there_is_what_was_sent():
    found = series(StandIn({1: (KeyboardInterrupt(), 0.5)})).measure()
    (only,) = found.runs
    assert not only.run.is_complete
    assert 0 < only.run.sent < only.run.scheduled


def test_of_a_first_run_that_was_broken_off_the_servers_are_told_until_then():
    metrics = (parse_address("http://127.0.0.1:9/metrics", "--metrics"),)
    looks = [Look(instant_s=float(number), pages=(b"other 1\n",)) for number in range(2)]
    (only,) = series(StandIn({1: (KeyboardInterrupt(), 0.5)}, looks), metrics=metrics).measure().runs
    assert not only.run.is_complete
    assert only.unseen.startswith("mean batch and utilization were lost: ")


def test_metrics_that_tell_nothing_cost_no_measurement():
    metrics = (parse_address("http://127.0.0.1:9/metrics", "--metrics"),)
    looks = [Look(instant_s=float(number), pages=(b"other 1\n",)) for number in range(2)]
    for seen in ([], looks):
        (only,) = series(StandIn(looks=seen), runs=1, metrics=metrics).measure().runs
        assert (only.run.is_complete, only.uses) == (True, ())
        assert only.unseen.startswith("mean batch and utilization were lost: ")


def test_all_requests_that_may_be_sent_are_counted():
    """Those of all runs, one to each url before each, and those before the load."""
    steady = Workload(arrival_rate_rps=100.0, arrivals=DeterministicArrivals())
    exact = 3 * 100 + 3
    series(StandIn(), workload=steady, requests_max=exact).check()
    with pytest.raises(InputError, match="300 requests of 3 runs, and 3 before them, are 303, and 302 are"):
        series(StandIn(), workload=steady, requests_max=exact - 1).check()
    calibrated = exact + lone_requests_max(100.0)
    series(StandIn(), workload=steady, requests_max=calibrated).check(is_calibrated=True)
    with pytest.raises(InputError, match=f"are {calibrated}, and {calibrated - 1} are allowed"):
        series(StandIn(), workload=steady, requests_max=calibrated - 1).check(is_calibrated=True)


def test_a_trace_that_ends_in_the_warm_up_is_refused():
    trace = Workload(arrival_rate_rps=10.0, arrivals=TraceArrivals(instants_s=tuple(np.arange(5) * 0.1)))
    with pytest.raises(InputError, match="within the warm-up"):
        series(StandIn(), workload=trace, warm_up_s=1.0).check()
