"""What one replica gets of gamma or regular arrivals at random: its gaps, and that it stands for the fleet."""

import math

import numpy as np
import pytest

from capacity.answer.documents import arrivals_name
from capacity.errors import DomainError
from capacity.profile.load import load_profile
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    SplitArrivals,
    Workload,
)
from simulations.case import arrivals_scv, one_for_all
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed, Stream
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length

T4 = load_profile("resnet50-t4-fp16")
PLAN = BatchPlan(profile=T4.name, replicas=8, batch_size_max=16, routing=Routing.RANDOM)
ROUGH, SMOOTH, REGULAR = GammaArrivals(cv=3.0), GammaArrivals(cv=0.3), DeterministicArrivals()


def gaps_of(arrivals: ArrivalProcess, requests: int, rate_rps: float = 1.0) -> np.ndarray:
    stream = Stream(Workload(arrival_rate_rps=rate_rps, arrivals=arrivals), requests, Seed(value=3))
    return np.diff(stream.arrived_s(requests), prepend=0.0)


@pytest.mark.parametrize("arrivals", [ROUGH, SMOOTH, REGULAR])
def test_one_replica_gets_a_split(arrivals: ArrivalProcess) -> None:
    alone, plan = one_for_all(Workload(arrival_rate_rps=80.0, arrivals=arrivals), PLAN)
    assert plan.replicas == 1
    assert alone == Workload(arrival_rate_rps=10.0, arrivals=SplitArrivals(base=arrivals, count=8))
    assert arrivals_name(alone) == arrivals_name(Workload(arrival_rate_rps=1.0, arrivals=arrivals))


def test_one_replica_alone_gets_all_and_a_split_of_poisson_arrivals_is_poisson() -> None:
    alone = BatchPlan(profile=T4.name, replicas=1, batch_size_max=16, routing=Routing.RANDOM)
    rough = Workload(arrival_rate_rps=80.0, arrivals=ROUGH)
    assert one_for_all(rough, alone)[0] == rough
    assert one_for_all(Workload(arrival_rate_rps=80.0), PLAN)[0].arrivals == PoissonArrivals()


@pytest.mark.parametrize("arrivals", [ROUGH, SMOOTH, REGULAR])
def test_its_gaps_have_the_law_of_every_gap_that_a_coin_leaves(arrivals: ArrivalProcess) -> None:
    """Mean, variance and quantiles, beside a split of the whole stream; and that they do not depend on each other."""
    split = SplitArrivals(base=arrivals, count=8)
    gaps = gaps_of(split, 200_000)
    whole = np.cumsum(gaps_of(arrivals, 1_600_000, rate_rps=8.0))
    kept = np.diff(whole[np.random.default_rng(4).random(len(whole)) < 1.0 / 8.0])
    assert gaps.mean() == pytest.approx(1.0, abs=5.0 * math.sqrt(split.scv / len(gaps)))
    assert gaps.var() == pytest.approx(split.scv, rel=0.05)
    assert arrivals_scv(Workload(arrival_rate_rps=1.0, arrivals=split)) == split.scv
    for share in (0.5, 0.9, 0.99):
        assert np.quantile(gaps, share) == pytest.approx(np.quantile(kept, share), rel=0.03)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 5.0 / math.sqrt(len(gaps))


def test_they_are_the_same_in_blocks_of_any_size() -> None:
    workload = Workload(arrival_rate_rps=10.0, arrivals=SplitArrivals(base=ROUGH, count=8))
    for requests in (1_000, 50_000):  # short runs share what they draw, long ones do not
        whole = Stream(workload, requests, Seed(value=1)).arrived_s(requests)
        stream = Stream(workload, requests, Seed(value=1))
        parts = [stream.arrived_s(requests // 10) for _ in range(10)]
        assert np.allclose(np.concatenate(parts), whole, rtol=1e-12)


@pytest.mark.parametrize("arrivals", [ROUGH, SMOOTH, REGULAR])
def test_it_stands_for_the_fleet(arrivals: ArrivalProcess) -> None:
    """P50, P99 and the mean of the responses of eight replicas, and of one."""
    scenario = Scenario(
        profile=T4,
        workload=Workload(arrival_rate_rps=6400.0, arrivals=arrivals),
        plan=PLAN,
        objective=Objective.of(response={0.99: 1.0}),
        quantiles=(0.99,),
    )
    pools = []
    for is_whole, measured in ((True, 160_000), (False, 40_000)):
        case = BatchCase(scenario=scenario, is_whole=is_whole)
        length = Length(warm_up=measured // 4, measured=measured, cool_down=2_000)
        pools.append(Pool.of(map(case.replicate, case.tasks(length, Seed(value=5), range(20)))))
    for quantile in (0.5, 0.99):
        fleet, one = (pool.response_quantile(quantile).interval(0.999) for pool in pools)
        assert max(fleet.low, one.low) <= min(fleet.high, one.high)
        assert one.relative_half_width < 0.05


def test_a_split_needs_two_replicas() -> None:
    with pytest.raises(DomainError, match="a split is over 2 replicas or more, got 1"):
        SplitArrivals(base=ROUGH, count=1)
