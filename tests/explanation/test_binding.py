"""What limits a plan, and what it assumes: both sides of every condition, with made-up findings."""

import math
from dataclasses import replace
from typing import Any

import pytest
from asked import asker
from questions import batch_question

from capacity.explanation.binding import Cause, find_binding
from capacity.explanation.explanation import Assumption, find_assumptions
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, LikeIt, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Spike, Survival
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    TraceArrivals,
    Workload,
)

# Ten milliseconds for any batch up to 4: three replicas serve 1200 rps.
FLAT = ServiceProfile(name="flat", timings=tuple(BatchTiming(batch_size=n, mean_s=0.01) for n in (1, 2, 4)))
PLAN = BatchPlan(profile="flat", replicas=3, batch_size_max=4)


def question(rate_rps: float = 100.0, allowed_s: float = 0.1, **others: Any) -> Question:
    usual = {
        "workload": Workload(arrival_rate_rps=rate_rps),
        "objective": Objective.of(response={0.99: allowed_s}),
    }
    return batch_question(profiles=(FLAT,), **usual | others)


def base(p99_s: float, batch_mean: float | None = 2.0, **others: Any) -> Candidate:
    performance = Performance(
        kind=Kind.SIMULATION,
        batch_size_mean=batch_mean,
        response_quantiles_s={0.99: Interval.exact(p99_s)},
        wait_quantiles_s={0.99: Interval.exact(0.004)},
        response_mean_s=p99_s,
        loss_probability=0.001,
    )
    return Candidate(plan=PLAN, verdict=Verdict.MET, performance=performance, **others)


def accepts_from(least: int = 3) -> Any:
    """An asker that accepts plans of this many replicas or more."""

    def rule(question: Question, plan: BatchPlan) -> Candidate:
        return Candidate(plan=plan, verdict=Verdict.MET if plan.replicas >= least else Verdict.MISSED)

    return asker(rule)


def cause(found: Candidate, asked: Question | None = None, plan: BatchPlan = PLAN, least: int = 3) -> Cause:
    return find_binding(accepts_from(least), asked or question(), plan, found).cause


@pytest.mark.parametrize(
    ("p99_s", "batch_mean", "found"),
    [
        (0.020, 2.0, Cause.BATCHING),  # half of it is more than the 10 ms that a lone request takes
        (0.019, 2.0, Cause.QUEUEING),
        (0.030, 1.51, Cause.BATCHING),
        (0.030, 1.5, Cause.QUEUEING),
        (0.030, None, Cause.QUEUEING),
    ],
)
def test_batching_binds_where_batches_form_and_take_half_of_the_time(p99_s, batch_mean, found) -> None:
    assert cause(base(p99_s, batch_mean)) is found


@pytest.mark.parametrize(("wait_s", "found"), [(0.05, Cause.BATCHING), (0.049, Cause.QUEUEING)])
def test_batching_binds_where_its_wait_may_take_half_of_the_limit(wait_s: float, found: Cause) -> None:
    assert cause(base(0.07, 1.0), plan=replace(PLAN, batch_wait_max_s=wait_s)) is found


@pytest.mark.parametrize(("allowed_s", "found"), [(0.02, Cause.SERVICE_FLOOR), (0.021, Cause.QUEUEING)])
def test_the_service_binds_where_it_takes_half_of_the_limit(allowed_s: float, found: Cause) -> None:
    assert cause(base(0.015), question(allowed_s=allowed_s)) is found
    mean = question(objective=Objective.of(response_mean=allowed_s))
    assert cause(base(0.015), mean) is found


@pytest.mark.parametrize(("rate_rps", "found"), [(800.0, Cause.STABILITY), (799.0, Cause.QUEUEING)])
def test_stability_binds_where_one_replica_fewer_would_saturate(rate_rps: float, found: Cause) -> None:
    assert cause(base(0.015), question(rate_rps)) is found
    binding = find_binding(accepts_from(), question(rate_rps), PLAN, base(0.015))
    assert binding.load_fewer == pytest.approx(rate_rps / 800.0)


def test_one_replica_has_no_smaller_fleet_and_users_have_no_rate() -> None:
    one = find_binding(accepts_from(), question(), replace(PLAN, replicas=1), base(0.015))
    assert one.load_fewer is None
    users = question(workload=ClosedPopulation(users=9, think_time_s=1.0))
    found = find_binding(accepts_from(), users, PLAN, base(0.015))
    assert (found.load_fewer, found.burst) == (None, None)


def test_a_binding_has_its_floor_wait_and_share() -> None:
    asked = accepts_from()
    found = find_binding(asked, question(), PLAN, base(0.03))
    assert (found.floor_s, found.lone_s, found.wait) == (0.01, pytest.approx(0.01), Interval.exact(0.004))
    assert found.share == pytest.approx(0.3)
    assert [what for what, _ in asked.seen] == ["without batches"]
    assert found.unbatched.plan == replace(PLAN, batch_size_max=1)
    alone = accepts_from()
    single = replace(PLAN, batch_size_max=1)
    assert find_binding(alone, question(), single, base(0.03)).unbatched is None
    assert alone.seen == []


def test_a_limit_on_losses_has_no_floor() -> None:
    loss = question(objective=Objective.of(loss=0.01), queue_limit=4)
    found = find_binding(accepts_from(), loss, PLAN, base(0.03))
    assert (found.cause, found.floor_s, found.lone_s) == (Cause.QUEUEING, None, None)


@pytest.mark.parametrize(("least", "found"), [(2, Cause.BURSTINESS), (3, Cause.QUEUEING)])
def test_burstiness_binds_where_poisson_arrivals_need_fewer_replicas(least: int, found: Cause) -> None:
    asked = question(workload=Workload(arrival_rate_rps=100.0, arrivals=GammaArrivals(cv=2.0)))
    assert cause(base(0.015), asked, least=least) is found


@pytest.mark.parametrize(
    ("arrivals", "known"),
    [
        (GammaArrivals(cv=2.0), (2.0, 4.0, None)),
        (DeterministicArrivals(), (0.0, 0.0, None)),
        (TraceArrivals(instants_s=(0.0, 1.0, 2.0), name="short"), (None, None, None)),
    ],
)
def test_how_arrivals_vary(arrivals: Any, known: tuple[float | None, ...]) -> None:
    asked = question(workload=Workload(arrival_rate_rps=100.0, arrivals=arrivals))
    burst = find_binding(accepts_from(), asked, PLAN, base(0.015)).burst
    assert (burst.cv, burst.dispersion, burst.window_s) == known
    assert burst.replicas == 3


def test_dispersion_is_taken_over_windows_as_long_as_a_burst() -> None:
    """Fischer and Meier-Hellstern (1993): bursts of 250 rps and calms of 62.5 rps switch at 1/2 + 1/8 a second."""
    bursty = MmppArrivals(ratio=4.0, burst_mean_s=2.0, calm_mean_s=8.0)
    asked = question(workload=Workload(arrival_rate_rps=100.0, arrivals=bursty))
    burst = find_binding(accepts_from(), asked, PLAN, base(0.015)).burst
    assert (burst.cv, burst.window_s) == (None, 2.0)
    variance = 0.2 * 0.8 * (250.0 - 62.5) ** 2  # of the rate
    assert burst.dispersion == pytest.approx(
        1.0 + 2.0 * variance / (100.0 * 0.625) * (1.0 - (1.0 - math.exp(-1.25)) / 1.25)
    )


def assumed(
    found: Candidate,
    asked: Question | None = None,
    plan: BatchPlan = PLAN,
    *,
    certified: bool = True,
    law: Performance | None = None,
) -> dict[str, Assumption]:
    told = find_assumptions(asked or question(), plan, found, certified=certified, precision=0.02, law=law)
    return {one.what: one for one in told}


TRACED = question(
    workload=Workload(
        arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=tuple(map(float, range(9))), name="t")
    )
)


@pytest.mark.parametrize(
    ("settled", "how"),
    [
        (True, "runs were long enough to reach it, and their second half is not slower than chance explains"),
        (False, "runs were too short; raise --requests-max"),
    ],
)
def test_a_steady_state(how: str, *, settled: bool) -> None:
    one = assumed(base(0.03, settled=settled))["a steady state"]
    assert (one.checked, one.how) == (settled, how)


@pytest.mark.parametrize(
    ("found", "how"),
    [
        (
            Interval(value=0.03, low=0.02, high=0.04),
            "enough busy periods of the trace have late responses to tell of other days",
        ),
        (
            None,
            "too few busy periods of the trace have late responses to tell of other days; record for longer",
        ),
    ],
)
def test_a_trace_needs_bursts_to_tell_of_other_days_and_no_steady_state(found, how) -> None:
    like_it = LikeIt(verdict=Verdict.MET, limit=TRACED.objective.limits[0], found=found)
    told = assumed(replace(base(0.03), like_it=like_it), TRACED)
    assert (told["enough bursts"].checked, told["enough bursts"].how) == (found is not None, how)
    assert "a steady state" not in told
    assert not {"enough bursts", "a steady state"} & assumed(base(0.03), TRACED).keys()


@pytest.mark.parametrize(
    ("asked", "certified", "checked", "how"),
    [
        (question(), True, True, "checked on fresh random numbers, which had no part in choosing the plan"),
        (
            question(),
            False,
            False,
            "every variant used the same random numbers; capacity plan checks its choice on fresh ones",
        ),
        (TRACED, True, False, "the plan was chosen and judged with the same trace"),
        (TRACED, False, False, "the plan was chosen and judged with the same trace"),
    ],
)  # fmt: skip
def test_whether_luck_in_choosing_is_ruled_out(asked, how, *, certified, checked) -> None:
    one = assumed(base(0.03), asked, certified=certified)["the choice"]
    assert (one.checked, one.how) == (checked, how)


def seen(low: float, high: float) -> Candidate:
    found = base(0.03)
    assert found.performance is not None
    span = Interval(value=(low + high) / 2.0, low=low, high=high)
    return replace(found, performance=replace(found.performance, response_quantiles_s={0.99: span}))


@pytest.mark.parametrize(("half", "checked"), [(0.015625, True), (0.03125, False)])
def test_the_precision(half: float, checked: bool) -> None:
    one = assumed(seen(0.0625 * (1 - half), 0.0625 * (1 + half)))["the precision"]
    assert one.checked is checked
    assert one.how == f"P99 is known to {100 * half:.2g} %; 2 % was requested"


@pytest.mark.parametrize(
    ("truth_s", "checked", "ends"),
    [(0.02, True, ") ms"), (0.03, True, ") ms"), (0.0301, False, "; an interval may miss the true value")],
)
def test_a_law_is_compared_with_the_simulation(truth_s: float, checked: bool, ends: str) -> None:
    law = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(truth_s)})
    one = assumed(seen(0.02, 0.03), law=law)["law and simulation"]
    assert one.checked is checked
    assert one.how.startswith(
        f"an exact law gives P99 {1e3 * truth_s:g} ms, and the simulation 25 (20 to 30) ms"
    )
    assert one.how.endswith(ends)


def test_an_exact_answer_is_not_compared_with_the_law() -> None:
    law = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(0.03)})
    exact = replace(base(0.03), performance=law)
    told = assumed(exact, law=law)
    assert "law and simulation" not in told
    assert told["the numbers"].checked
    assert not {"a steady state", "the precision", "the choice"} & set(told)
    unknown = assumed(Candidate(plan=PLAN, verdict=Verdict.MISSED), law=law)
    assert not {"law and simulation", "the numbers", "a steady state"} & set(unknown)


def test_arrivals_are_assumed_or_recorded() -> None:
    assert assumed(base(0.03))["arrivals"].how.startswith("assumed Poisson, at one rate; record them")
    gamma = question(workload=Workload(arrival_rate_rps=100.0, arrivals=GammaArrivals(cv=2.0)))
    assert assumed(base(0.03), gamma)["arrivals"].how.startswith("assumed independent of each other, at")
    users = assumed(base(0.03), question(workload=ClosedPopulation(users=9, think_time_s=1.0)))
    assert "arrivals" not in users
    assert users["closed loop"].how.startswith("each user has at most one request in flight")


@pytest.mark.parametrize(
    ("replicas", "routing", "told"),
    [
        (1, Routing.ROUND_ROBIN, set()),
        (1, Routing.LEAST_OUTSTANDING, set()),
        (2, Routing.ROUND_ROBIN, {"equal replicas", "routing"}),
        (2, Routing.RANDOM, {"equal replicas"}),
        (2, Routing.LEAST_OUTSTANDING, {"equal replicas", "the router's knowledge"}),
    ],
)
def test_what_is_assumed_about_a_fleet(replicas: int, routing: Routing, told: set[str]) -> None:
    found = assumed(base(0.03), plan=replace(PLAN, replicas=replicas, routing=routing))
    assert {"equal replicas", "routing", "the router's knowledge"} & set(found) == told
    assert {"order", "no failure"} <= set(found)
    assert not any(found[name].checked for name in (*told, "order", "no failure"))
    assert "no failure" not in assumed(base(0.03), question(survival=Survival(spare=1)))


def test_failures_that_a_plan_was_confirmed_with_are_checked() -> None:
    survival = Survival(spare=1, spike=Spike(factor=2.0, startup_time_s=60.0))
    asked = question(survival=survival)
    one = assumed(base(0.03), asked)["failures"]
    assert one.how.startswith(
        "the objective holds with 1 replica gone, and with 2 times the traffic; the time until"
    )
    assert one.checked
    assert "failures" not in assumed(base(0.03))
    again = assumed(base(0.03), asked, certified=False)["failures"]
    assert (again.checked, again.how.startswith("the objective must hold with")) == (False, True)
