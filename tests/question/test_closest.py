"""The candidate that comes nearest to the objective."""

import math

from capacity.performance import Interval, Kind, Performance
from capacity.question.candidate import Candidate, Verdict, closest
from capacity.question.objective import Objective
from capacity.server.batch.plan import BatchPlan


def losing(batch_size_max: int, lost: float, p99_s: float = math.inf) -> Candidate:
    performance = Performance(
        kind=Kind.SIMULATION,
        response_quantiles_s={0.99: Interval.exact(0.050)},
        response_quantiles_with_losses_s={0.99: Interval.exact(p99_s)},
        loss_probability=lost,
    )
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=batch_size_max)
    return Candidate(plan=plan, verdict=Verdict.MISSED, performance=performance)


def test_of_candidates_that_all_lose_too_much_the_one_that_loses_least_is_closest() -> None:
    """Before, the first of them, here the worst: the P99 of each is infinite."""
    objective = Objective.of(response={0.99: 0.040})
    losers = [losing(1, 0.40), losing(2, 0.05), losing(4, 0.20)]
    assert closest(losers, objective).plan.batch_size_max == 2
    assert closest([*losers, losing(8, 0.009, 0.060)], objective).plan.batch_size_max == 8
