"""Large pools: hundreds of replicas that serve as one need few runs, and these hold what the law says."""

from dataclasses import replace

import pytest

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Doubt, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.markov.mmc import MMc
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.judge import SimulationJudge
from simulations.looks import looks, run_counts

SECOND = ServiceProfile(name="one-second", timings=(BatchTiming(batch_size=1, mean_s=1.0),))


class ExponentialCase(BatchCase):
    @property
    def service_times(self) -> ServiceTimes:
        return ExponentialTimes(1.0)


def single(replicas: int, load: float, kind: type[BatchCase] = BatchCase) -> BatchCase:
    """Requests one by one at a shared queue, of 1 s each."""
    plan = BatchPlan(profile=SECOND.name, replicas=replicas, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    workload = Workload(arrival_rate_rps=load * replicas)
    return kind(scenario=Scenario(profile=SECOND, workload=workload, plan=plan, quantiles=(0.5, 0.99)))


def of_batches(replicas: int, rate_rps: float, p99_s: float = 0.04) -> Scenario:
    profile = load_profile("resnet50-t4-fp16")
    plan = BatchPlan(profile=profile.name, replicas=replicas, batch_size_max=32, routing=Routing.SHARED_QUEUE)
    workload, objective = Workload(arrival_rate_rps=rate_rps), Objective.of(response={0.99: p99_s})
    return Scenario(profile=profile, workload=workload, plan=plan, objective=objective, quantiles=(0.99,))


def test_a_pool_needs_no_more_bursts_than_its_services_hide() -> None:
    """Bursts an eleventh as long as a service, as M/D/c has them at load 0.8, add little to the 200 services."""
    large, small = single(1000, 0.8), single(8, 0.8)
    assert large.counted_min(1.0) < 250 * 800
    assert large.counted_min(1.0) >= 200 * 800
    assert large.length.measured >= 2 * large.length.warm_up >= 20 * 800 * 0.999
    assert small.length.measured >= 8 * small.length.warm_up
    by_itself = replace(small.scenario.plan, replicas=1000, routing=Routing.RANDOM)
    others = BatchCase(scenario=replace(large.scenario, plan=by_itself))
    assert others.length.measured >= 8 * others.length.warm_up


@pytest.mark.parametrize(("replicas", "load"), [(400, 0.8)])
def test_intervals_of_large_pools_hold_the_median_and_p99_of_mmc(replicas: int, load: float) -> None:
    law = MMc(arrival_rate_rps=load * replicas, service_rate_rps=1.0, servers=replicas)
    case, held = single(replicas, load, ExponentialCase), 0
    for seed in range(8):
        found = looks(case, Seed(value=seed), 10**8)
        pool = next(look.pool for look in found if look.settled)
        for quantile in (0.5, 0.99):
            within = pool.response_quantile(quantile).interval(0.95)
            held += within.low <= law.response_quantile_s(quantile) <= within.high
    assert held >= 13  # of 16; fewer in one of a thousand


def test_a_look_that_settles_is_not_missed_by_a_few_runs() -> None:
    assert list(run_counts(100, 22, settling=100)) == [22, 44, 88, 100]
    assert list(run_counts(99, 22, settling=100)) == [22, 44, 88]
    assert list(run_counts(200, 22, settling=100)) == [22, 44, 88, 176]
    assert list(run_counts(100, 22, settling=60)) == [22, 44, 88]


def test_a_large_pool_that_no_budget_confirms_is_left_in_doubt_at_once() -> None:
    """At load 0.997 its bursts outlast services, and 20 long runs would tell no more than short ones do."""
    found = SimulationJudge(requests_max=20_000_000).search(of_batches(120, 135_000.0), 1)
    assert (found.verdict, found.doubt) == (Verdict.INCONCLUSIVE, Doubt.REQUESTS)
    assert found.requests < 10_000_000


def test_a_large_pool_that_no_budget_confirms_is_still_refused() -> None:
    found = SimulationJudge(requests_max=20_000_000).search(of_batches(120, 135_000.0, p99_s=0.025), 1)
    assert found.verdict is Verdict.MISSED
