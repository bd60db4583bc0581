"""Intervals of means and shares hold what is exact as often as they say: M/M/1/K and M/D/1."""

from collections.abc import Callable

import pytest
from cases import fixed

from capacity.performance import Interval
from capacity.question.objective import Measure
from capacity.queues.general.mdc import MDc
from capacity.queues.markov.mmck import MMcK
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.replication import Task, replicate
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.sample import Length

EXPERIMENTS = 60
HELD_MIN = 52  # of 60 intervals of 95 % each; fewer hold once in 800 times

Intervals = dict[str, Callable[[Pool], Interval]]
INTERVALS: Intervals = {
    "loss": lambda pool: pool.loss_interval(0.95),
    "response": lambda pool: pool.mean(Measure.RESPONSE_MEAN).interval(0.95),
    "utilization": lambda pool: pool.utilization(1).interval(0.95),
}


def held(plan: BatchPlan, rate_rps: float, times: ServiceTimes, exact: dict[str, float]) -> dict[str, int]:
    """How many of the intervals hold the exact value, by name."""
    count = dict.fromkeys(exact, 0)
    for value in range(EXPERIMENTS):
        pool = Pool.of(
            replicate(
                Task(
                    plan=plan,
                    workload=Workload(arrival_rate_rps=rate_rps),
                    service_times=times,
                    request_overhead_s=0.0,
                    length=Length(warm_up=100, measured=500, cool_down=5),
                    seed=Seed(value=value, replication=number),
                )
            )
            for number in range(SECTIONS)
        )
        for name, truth in exact.items():
            interval = INTERVALS[name](pool)
            count[name] += interval.low <= truth <= interval.high
    return count


@pytest.mark.long
@pytest.mark.parametrize(("rate_rps", "waiting_places"), [(0.5, 2), (0.9, 4), (2.0, 0)])
def test_of_a_queue_that_turns_requests_away(rate_rps: float, waiting_places: int) -> None:
    """M/M/1/K has K - 1 waiting places."""
    plan = BatchPlan(profile="p", replicas=1, batch_size_max=1, queue_limit=waiting_places)
    queue = MMcK(arrival_rate_rps=rate_rps, service_rate_rps=1.0, servers=1, capacity=waiting_places + 1)
    exact = {
        "loss": queue.loss_probability,
        "response": queue.response_mean_s,
        "utilization": queue.utilization,
    }
    count = held(plan, rate_rps, ExponentialTimes(1.0), exact)
    assert min(count.values()) >= HELD_MIN, count


@pytest.mark.parametrize("rate_rps", [0.3, 0.7])
def test_of_a_queue_without_end(rate_rps: float) -> None:
    queue = MDc(arrival_rate_rps=rate_rps, service_time_s=1.0, servers=1)
    exact = {"response": queue.response_mean_s, "utilization": rate_rps}
    plan = BatchPlan(profile="p", replicas=1, batch_size_max=1)
    count = held(plan, rate_rps, fixed(lambda size: 1.0), exact)
    assert min(count.values()) >= HELD_MIN, count
