"""Where a law is exact it decides: the fewest replicas by the law are the plan's, and nothing is simulated."""

import pytest
from questions import batch_question

from capacity.performance import Kind
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.fleet import predict
from capacity.search.plan_decision import recommend
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload

SINGLE = {1: 0.010}
BATCHING = {1: 0.010, 2: 0.012, 4: 0.016, 8: 0.024}
# So near that an interval of 2 % holds P99 of one replica fewer too.
WITHIN = 1.0 + 1e-9


class Unasked:
    """A judge that no question should come to."""

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        raise AssertionError(scenario.plan)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        raise AssertionError(scenario.plan)

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        raise AssertionError(scenario.plan)


def profile_of(means_s: dict[int, float]) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="means", timings=timings)


def p99_s(profile: ServiceProfile, rate_rps: float, plan: BatchPlan) -> float:
    performance = predict(profile, Workload(arrival_rate_rps=rate_rps), plan, (0.99,))
    return performance.response_quantiles_s[0.99].value


def plan_of(replicas: int, batch_size_max: int, routing: Routing) -> BatchPlan:
    return BatchPlan(profile="means", replicas=replicas, batch_size_max=batch_size_max, routing=routing)


def planned(
    means_s: dict[int, float], replicas: int, routing: Routing, load: float, **fields: object
) -> tuple[Recommendation, float, float]:
    """The answer where this many replicas keep P99 by a hair, the rate and the limit."""
    profile, largest = profile_of(means_s), max(means_s)
    rate_rps = load * replicas * profile.throughput_rps(largest)
    limit_s = WITHIN * p99_s(profile, rate_rps, plan_of(replicas, largest, routing))
    question = batch_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=rate_rps),
        objective=Objective.of(response={0.99: limit_s}),
        routings=(routing,),
        **fields,
    )
    return recommend(question, Unasked(), plan_alone=True), rate_rps, limit_s


@pytest.mark.parametrize(
    ("means_s", "replicas", "routing", "load"),
    [
        (SINGLE, 35, Routing.RANDOM, 0.7),
        (SINGLE, 120, Routing.RANDOM, 0.7),
        (SINGLE, 230, Routing.RANDOM, 0.7),
        (SINGLE, 120, Routing.SHARED_QUEUE, 0.97),
        (SINGLE, 120, Routing.ROUND_ROBIN, 0.97),
        (BATCHING, 35, Routing.RANDOM, 0.8),
        (BATCHING, 35, Routing.ROUND_ROBIN, 0.8),
    ],
)
def test_the_fewest_replicas_by_the_law_are_the_plans(means_s, replicas, routing, load) -> None:
    answer, rate_rps, limit_s = planned(means_s, replicas, routing, load)
    assert answer.verdict is Verdict.MET
    assert answer.plan == plan_of(replicas, max(means_s), routing)
    assert answer.performance.kind is Kind.EXACT
    assert list(answer.performance.response_quantiles_s) == [0.5, 0.9, 0.95, 0.99]
    interval = answer.performance.response_quantiles_s[0.99]
    assert interval.low == interval.value == interval.high == limit_s / WITHIN
    fewer = plan_of(replicas - 1, max(means_s), routing)
    (refused,) = [one for one in answer.considered if one.plan == fewer]
    assert (refused.rejection.reason, refused.rejection.allowed) == (Reason.LATENCY, limit_s)
    assert refused.rejection.needed == p99_s(profile_of(means_s), rate_rps, fewer) > limit_s
    assert answer.tally.requests == 0


def test_what_a_loss_leaves_is_certified_by_the_law_too() -> None:
    """With a spare replica the law is asked of one fewer, and one more is needed."""
    answer, _, limit_s = planned(SINGLE, 35, Routing.RANDOM, 0.7, survival=Survival(spare=1))
    assert answer.plan == plan_of(36, 1, Routing.RANDOM)
    (survived,) = answer.survived
    assert survived.performance.kind is Kind.EXACT
    assert survived.performance.response_quantiles_s[0.99].value == limit_s / WITHIN


@pytest.mark.parametrize("load", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("replicas", [2, 7, 40])
def test_replicas_of_one_constant_time_take_turns_at_a_shared_queue(replicas: int, load: float) -> None:
    """Round-robin by the chain of bulk service, which counts arrivals of the fleet, and by M/D/c."""
    profile, rate_rps = profile_of(SINGLE), load * replicas / SINGLE[1]
    found = predict(profile, Workload(arrival_rate_rps=rate_rps), plan_of(replicas, 1, Routing.ROUND_ROBIN))
    law = Bulk(arrival_rate_rps=rate_rps, batch_times_s=(SINGLE[1],), replicas=replicas).performance()
    assert found.wait_mean_s == pytest.approx(law.wait_mean_s, rel=1e-11)
    assert found.wait_probability == pytest.approx(law.wait_probability, rel=1e-11)
    assert (found.utilization, found.batch_size_mean) == pytest.approx((law.utilization, 1.0), rel=1e-12)
    for quantile, interval in law.response_quantiles_s.items():
        assert found.response_quantiles_s[quantile].value == pytest.approx(interval.value, rel=1e-11)
