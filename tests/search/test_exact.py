"""The candidate of a law: that of the law itself, to the last digit, and none where no law is exact."""

import math
import time
from dataclasses import replace

import pytest

from capacity.errors import DomainError, UnstableError
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.candidate import Reason, Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.resilience import Spike
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.fleet import predict
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.search.exact import judge_exactly
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, DeterministicArrivals, GammaArrivals, Workload


def profile_of(means_s: dict[int, float], **fields: object) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="p", timings=timings, **fields)


PROFILE = profile_of({1: 0.010, 2: 0.012, 4: 0.016})
TIMES_S = (0.010, 0.012, 0.014, 0.016)  # a batch of 3 takes what lies between
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=4)
POISSON = Workload(arrival_rate_rps=150.0)
P99 = Objective.of(response={0.99: 0.05})
ASKED = Scenario(profile=PROFILE, workload=POISSON, plan=PLAN, objective=P99)


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.RANDOM])
@pytest.mark.parametrize("batching", [Batching.TRITON, Batching.TORCHSERVE])
@pytest.mark.parametrize("wait_s", [0.0, 0.006])
def test_the_performance_is_that_of_the_law(routing: Routing, batching: Batching, wait_s: float) -> None:
    plan = replace(PLAN, routing=routing, batching=batching, batch_wait_max_s=wait_s)
    law = Bulk(
        arrival_rate_rps=150.0, batch_times_s=TIMES_S, replicas=2, batch_wait_max_s=wait_s, timer=plan.timer,
        routing=routing,
    )  # fmt: skip
    candidate = judge_exactly(replace(ASKED, plan=plan))
    assert (candidate.verdict, candidate.rejection, candidate.requests) == (Verdict.MET, None, 0)
    assert (candidate.settled, candidate.is_precise, candidate.batch_size_largest) == (True, True, None)
    assert candidate.performance == law.performance((0.99,))
    assert predict(PROFILE, POISSON, plan) == law.performance()


def test_every_quantile_that_is_asked_for_is_there_and_p99_besides() -> None:
    objective = Objective.of(response={0.5: 1.0}, wait={0.9: 1.0})
    candidate = judge_exactly(replace(ASKED, objective=objective))
    assert list(candidate.performance.response_quantiles_s) == [0.5, 0.9, 0.99]
    assert list(candidate.performance.wait_quantiles_s) == [0.5, 0.9, 0.99]


@pytest.mark.parametrize(
    "measure", [Measure.RESPONSE, Measure.RESPONSE_MEAN, Measure.WAIT, Measure.UTILIZATION]
)
def test_on_its_limit_a_plan_is_met_and_a_hair_beyond_it_is_missed(measure: Measure) -> None:
    performance = predict(PROFILE, POISSON, PLAN, (0.99,))

    def objective(allowed: float) -> Objective:
        match measure:
            case Measure.RESPONSE:
                return Objective.of(response={0.99: allowed})
            case Measure.WAIT:
                return Objective.of(wait={0.99: allowed})
            case Measure.RESPONSE_MEAN:
                return Objective.of(response_mean=allowed)
            case _:
                return Objective.of(utilization=allowed)

    (promise,) = objective(0.5).limits
    found = promise.found(performance)
    within = judge_exactly(replace(ASKED, objective=objective(found.value)))
    assert (within.verdict, within.rejection) == (Verdict.MET, None)
    allowed = math.nextafter(found.value, 0.0)
    beyond = judge_exactly(replace(ASKED, objective=objective(allowed)))
    assert beyond.verdict is Verdict.MISSED
    assert (beyond.rejection.reason, beyond.rejection.limit) == (
        Reason.of(measure), objective(allowed).limits[0]
    )  # fmt: skip
    assert (beyond.rejection.allowed, beyond.rejection.needed) == (allowed, found.value)
    assert beyond.performance == performance


def test_a_queue_without_a_limit_loses_nobody() -> None:
    candidate = judge_exactly(replace(ASKED, objective=Objective.of(loss=1e-9)))
    assert candidate.verdict is Verdict.MET


def test_of_several_broken_promises_the_one_exceeded_most_is_named() -> None:
    objective = Objective.of(response={0.99: 0.02}, response_mean=0.002)
    candidate = judge_exactly(replace(ASKED, objective=objective))
    assert candidate.rejection.limit == objective.limits[1]


def test_single_requests_at_a_shared_queue_are_m_d_c() -> None:
    plan = replace(PLAN, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    law = MDc(arrival_rate_rps=150.0, service_time_s=0.010, servers=2).performance()
    assert predict(PROFILE, POISSON, plan) == replace(law, batch_size_mean=1.0, empty_probability=None)


def test_overhead_is_on_every_response_and_takes_no_capacity() -> None:
    bare, carried = (
        predict(replace(PROFILE, request_overhead_s=x), POISSON, PLAN, (0.5, 0.99)) for x in (0.0, 0.005)
    )
    assert carried.response_mean_s == pytest.approx(bare.response_mean_s + 0.005, rel=1e-12)
    assert carried.in_system_mean == pytest.approx(bare.in_system_mean + 0.75, rel=1e-12)
    assert carried.wait_mean_s == bare.wait_mean_s
    assert carried.utilization == bare.utilization
    for q, interval in carried.response_quantiles_s.items():
        assert interval.value == pytest.approx(bare.response_quantiles_s[q].value + 0.005, rel=1e-12)


def test_the_overhead_counts_in_responses_and_not_in_waits() -> None:
    slow = replace(PROFILE, request_overhead_s=0.1)
    objective = Objective.of(response={0.99: 0.05}, wait={0.99: 0.05})
    candidate = judge_exactly(replace(ASKED, profile=slow, objective=objective))
    assert candidate.rejection.limit == objective.limits[0]


def test_samples_that_are_all_alike_are_a_constant() -> None:
    timings = tuple(BatchTiming(batch_size=b, samples_s=(s,) * 5) for b, s in ((1, 0.01), (4, 0.016)))
    same = ServiceProfile(name="p", timings=timings)
    assert judge_exactly(replace(ASKED, profile=same)) is not None


VARYING = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, samples_s=(0.009, 0.011)),))
LONG = profile_of({1: 0.010, 1024: 1.0})


@pytest.mark.parametrize(
    "scenario",
    [
        replace(ASKED, spike=Spike(factor=2.0, startup_time_s=60.0)),
        replace(ASKED, workload=ClosedPopulation(users=5)),
        replace(ASKED, workload=replace(POISSON, arrivals=GammaArrivals(cv=1.0))),
        replace(ASKED, workload=replace(POISSON, arrivals=DeterministicArrivals())),
        replace(ASKED, plan=replace(PLAN, queue_limit=100)),
        replace(ASKED, plan=replace(PLAN, routing=Routing.LEAST_OUTSTANDING)),
        replace(ASKED, plan=replace(PLAN, routing=Routing.POWER_OF_TWO)),
        replace(ASKED, plan=replace(PLAN, routing=Routing.SHARED_QUEUE)),
        replace(ASKED, plan=replace(PLAN, batch_size_max=1, routing=Routing.LEAST_OUTSTANDING)),
        replace(ASKED, plan=replace(PLAN, batch_wait_max_s=0.017)),  # above the service of a full batch
        replace(ASKED, plan=replace(PLAN, batch_size_max=5)),  # beyond the profile
        replace(ASKED, profile=LONG, plan=replace(PLAN, batch_size_max=513)),  # beyond the law
        replace(ASKED, plan=replace(PLAN, replicas=513)),  # as quick by simulation
        replace(ASKED, profile=VARYING, plan=replace(PLAN, batch_size_max=1)),
        replace(ASKED, profile=replace(PROFILE, instances_per_device=2)),
    ],
    ids=[
        "spike", "users", "gamma", "metronome", "queue limit", "least outstanding", "power of two",
        "shared batches", "least outstanding of one", "long wait", "beyond the profile", "large batch",
        "large fleet",
        "service that varies", "shared device",
    ],
)  # fmt: skip
def test_nothing_is_said_where_no_law_is_exact(scenario: Scenario) -> None:
    assert judge_exactly(scenario) is None


def test_one_replica_has_one_law_whatever_the_router() -> None:
    alone = replace(PLAN, replicas=1)
    found = [
        judge_exactly(
            replace(ASKED, workload=Workload(arrival_rate_rps=70.0), plan=replace(alone, routing=one))
        )
        for one in PLAIN_ROUTINGS
    ]
    performances = [candidate.performance for candidate in found if candidate is not None]
    assert len(performances) == len(PLAIN_ROUTINGS)
    assert all(one == performances[0] for one in performances)


def test_a_timer_from_the_opening_of_the_batch_has_a_law_of_any_wait() -> None:
    plan = replace(PLAN, batch_wait_max_s=0.03, batching=Batching.TORCHSERVE)
    candidate = judge_exactly(replace(ASKED, plan=plan))
    assert candidate.performance == predict(PROFILE, POISSON, plan, (0.99,))


def test_batches_of_512_are_judged_by_the_law_at_once() -> None:
    workload = Workload(arrival_rate_rps=700.0)
    plan = replace(PLAN, batch_size_max=512, routing=Routing.RANDOM)
    began_s = time.process_time()
    candidate = judge_exactly(replace(ASKED, profile=LONG, workload=workload, plan=plan))
    assert candidate is not None
    assert time.process_time() - began_s < 10.0  # a second by itself; summed one by one it took two minutes


ONE = replace(PLAN, batch_size_max=1)
MIXED = ServiceProfile(name="p", timings=(*VARYING.timings, BatchTiming(batch_size=4, mean_s=0.02)))


@pytest.mark.parametrize(
    ("profile", "plan", "said", "way_out"),
    [
        (PROFILE, replace(PLAN, preferred_sizes=(2,)), "preferred batch sizes", "or use triton batching"),
        (PROFILE, replace(PLAN, batching=Batching.RAY_SERVE), "ray-serve batching", "or use triton batching"),
        (PROFILE, replace(PLAN, queue_limit=9), "a queue limit", "or plan without one"),
        (replace(PROFILE, wake_s=0.001), PLAN, "a slower first batch after an idle pause", "or leave wake_s out"),
        (
            replace(PROFILE, spells=Spells(share=0.5, lasting_s=1.0)), PLAN,
            "service times that come in spells", "or leave spells out",
        ),
        (MIXED, PLAN, r"batches whose service time varies \(profile p\)", r"\(capacity queue bulk --service-cv has"),
        (VARYING, ONE, "routing round-robin of service that varies", r"\(random routing has one"),
        (PROFILE, replace(ONE, routing=Routing.POWER_OF_TWO), "routing power-of-two of constant service", "or use round-robin"),
        (PROFILE, replace(PLAN, routing=Routing.SHARED_QUEUE), "a shared queue with deterministic batches", "or use round-robin"),
    ],
)  # fmt: skip
def test_a_case_without_an_exact_law_is_refused_with_a_way_out(profile, plan, said, way_out) -> None:
    with pytest.raises(DomainError, match=f"^no exact law covers {said}.*; simulate instead,? {way_out}"):
        predict(profile, POISSON, plan)


@pytest.mark.parametrize(
    ("workload", "plan", "said"),
    [
        (POISSON, replace(PLAN, routing=Routing.LEAST_OUTSTANDING),
         "has no exact law, only round-robin and random have; simulate instead"),
        (Workload(arrival_rate_rps=1.0, arrivals=DeterministicArrivals()), PLAN, "that are not Poisson; simulate instead"),
        (POISSON, replace(PLAN, batch_size_max=5), "from batch size 1 to 4 and does not cover 5; measure that size"),
        (POISSON, replace(PLAN, batch_wait_max_s=0.02),
         "up to the service time of a full batch, 0.016 s; simulate instead, or take the timer 'open'"),
    ],
)  # fmt: skip
def test_a_case_beyond_its_law_is_refused_with_a_way_out(workload, plan, said) -> None:
    with pytest.raises(DomainError, match=said):
        predict(PROFILE, workload, plan)


def test_no_number_at_a_load_of_one() -> None:
    with pytest.raises(UnstableError, match="load 1.2 >= 1 .* use at least 3 replicas"):
        predict(PROFILE, Workload(arrival_rate_rps=600.0), PLAN)


def test_each_replica_of_a_random_split_is_m_g_1() -> None:
    plan = BatchPlan(profile="p", replicas=3, batch_size_max=1, routing=Routing.RANDOM)
    found = predict(VARYING, POISSON, plan)
    one = MG1(arrival_rate_rps=50.0, service=Empirical(law=VARYING.law(1)))
    assert found.response_mean_s == one.response_mean_s
    assert found.in_system_mean == pytest.approx(3 * one.in_system_mean, rel=1e-12)
    assert found.throughput_rps == 150.0
