"""Theory as a model of a plan: which law answers, and what is refused."""

from dataclasses import replace

import pytest

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.search.exact import predict
from capacity.server.batch.batching import BatchTimer, batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import DeterministicArrivals, Workload

TIMES_S = (0.010, 0.012, 0.014, 0.018)


def profile(**changes) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=b, mean_s=t) for b, t in enumerate(TIMES_S, 1))
    return ServiceProfile(**{"name": "steady", "timings": timings, **changes})


def plan(**changes) -> BatchPlan:
    return BatchPlan(**{"profile": "steady", "replicas": 2, "batch_size_max": 4, **changes})


WORKLOAD = Workload(arrival_rate_rps=200.0)


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.RANDOM])
def test_batches_of_constant_time(routing):
    found = predict(profile(), WORKLOAD, plan(routing=routing), (0.5, 0.99))
    law = Bulk(arrival_rate_rps=200.0, batch_times_s=TIMES_S, replicas=2, routing=routing)
    assert found.kind is Kind.EXACT
    assert found == law.performance((0.5, 0.99))


def test_batch_wait_and_timer_are_the_plans():
    for timer in BatchTimer:
        found = predict(profile(), WORKLOAD, plan(batch_wait_max_s=0.005, batching=batching_of(timer)))
        law = Bulk(
            arrival_rate_rps=200.0, batch_times_s=TIMES_S, replicas=2, batch_wait_max_s=0.005, timer=timer
        )
        assert found == law.performance()


def test_sizes_between_measured_ones_interpolate():
    sparse = profile(
        timings=(BatchTiming(batch_size=1, mean_s=0.010), BatchTiming(batch_size=3, mean_s=0.014))
    )
    found = predict(sparse, WORKLOAD, plan(batch_size_max=3))
    law = Bulk(arrival_rate_rps=200.0, batch_times_s=(0.010, 0.012, 0.014), replicas=2)
    assert found.response_mean_s == pytest.approx(law.response_mean_s, rel=1e-12)


def test_one_queue_without_batching_is_mdc():
    found = predict(
        profile(), Workload(arrival_rate_rps=150.0), plan(batch_size_max=1, routing=Routing.SHARED_QUEUE)
    )
    law = MDc(arrival_rate_rps=150.0, service_time_s=0.010, servers=2).performance()
    assert found == replace(law, batch_size_mean=1.0, empty_probability=None)


def test_measured_variation_without_batching_is_mg1():
    samples = (0.008, 0.009, 0.013)
    varying = profile(timings=(BatchTiming(batch_size=1, samples_s=samples),))
    found = predict(varying, Workload(arrival_rate_rps=120.0), plan(batch_size_max=1, routing=Routing.RANDOM))
    one = MG1(arrival_rate_rps=60.0, service=Empirical(law=varying.law(1)))
    assert found.response_mean_s == one.response_mean_s
    assert found.in_system_mean == pytest.approx(2 * one.in_system_mean, rel=1e-12)
    assert found.throughput_rps == 120.0


def test_overhead_is_on_every_response_and_takes_no_capacity():
    bare, carried = (predict(profile(request_overhead_s=x), WORKLOAD, plan()) for x in (0.0, 0.005))
    assert carried.response_mean_s == pytest.approx(bare.response_mean_s + 0.005, rel=1e-12)
    assert carried.in_system_mean == pytest.approx(bare.in_system_mean + 1.0, rel=1e-12)
    assert carried.wait_mean_s == bare.wait_mean_s
    assert carried.utilization == bare.utilization
    for q, interval in carried.response_quantiles_s.items():
        assert interval.value == pytest.approx(bare.response_quantiles_s[q].value + 0.005, rel=1e-12)


VARYING = profile(
    timings=tuple(
        BatchTiming(batch_size=b, mean_s=t, p99_s=2 * t, p50_s=0.9 * t) for b, t in enumerate(TIMES_S, 1)
    )
)


@pytest.mark.parametrize(
    ("measured", "workload", "candidate", "words"),
    [
        (profile(), WORKLOAD, plan(routing=Routing.SHARED_QUEUE), "shared queue with deterministic batches"),
        (profile(), WORKLOAD, plan(routing=Routing.LEAST_OUTSTANDING), "no exact law"),
        (profile(), WORKLOAD, plan(queue_limit=3), "queue limit"),
        (profile(), Workload(arrival_rate_rps=1.0, arrivals=DeterministicArrivals()), plan(), "not Poisson"),
        (profile(), WORKLOAD, plan(batch_size_max=5), "does not cover 5"),
        (VARYING, WORKLOAD, plan(), "batches whose service time varies"),
        (VARYING, WORKLOAD, plan(batch_size_max=1, replicas=8), "random routing has one"),
        (profile(), WORKLOAD, plan(batch_wait_max_s=0.02), "take the timer 'open'"),
    ],
)
def test_refusals_say_what_to_do(measured, workload, candidate, words):
    with pytest.raises(DomainError, match=words):
        predict(measured, workload, candidate)


def test_no_number_at_a_load_of_one():
    with pytest.raises(UnstableError, match="load 1.125 >= 1 .* use at least 3 replicas"):
        predict(profile(), Workload(arrival_rate_rps=500.0), plan())
