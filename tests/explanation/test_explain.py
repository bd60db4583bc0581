"""Refusals and verdicts in words: one sentence for each limit, with its numbers."""

from dataclasses import replace

import pytest
from questions import batch_question

from capacity.answer.sentences import explain, format_found
from capacity.performance import Interval, Kind, Performance, format_interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict, closest
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Spike, Survival
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation, Survived
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, Workload

OBJECTIVE = Objective.of(response={0.99: 0.04})
PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
QUESTION = batch_question(profiles=(PROFILE,), workload=Workload(arrival_rate_rps=50.0), objective=OBJECTIVE)


def performance(p99_s: float) -> Performance:
    interval = Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)
    return Performance(kind=Kind.SIMULATION, load=0.5, response_quantiles_s={0.99: interval})


P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.04)


def candidate(reason: Reason | None, allowed=0.04, needed=0.05, replicas=1, **fields) -> Candidate:
    promise = None
    if reason in (Reason.LATENCY, Reason.SERVICE_FLOOR):
        promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=allowed)
    given = fields.pop("limit", promise)
    event = fields.pop("event", None)
    rejection = (
        None
        if reason is None
        else Rejection(reason=reason, allowed=allowed, needed=needed, limit=given, event=event)
    )
    verdict = fields.pop("verdict", Verdict.MET if reason is None else Verdict.MISSED)
    plan = BatchPlan(profile="p", replicas=replicas, batch_size_max=1)
    return Candidate(plan=plan, verdict=verdict, rejection=rejection, **fields)


def test_intervals():
    assert format_interval(Interval.exact(0.05)) == "50 ms"
    assert format_interval(Interval(value=0.95, low=0.9, high=1.2)) == "950 ms (900 ms to 1.2 s)"


def test_the_closest_is_a_refused_one_that_was_simulated():
    far = candidate(Reason.LATENCY, performance=performance(0.09), replicas=2)
    near = candidate(Reason.LATENCY, performance=performance(0.05), replicas=3)
    unstable = candidate(Reason.STABILITY, 1.0, 1.001, replicas=1)
    accepted = candidate(None, performance=performance(0.03), replicas=4)
    assert closest([unstable, far, near, accepted], OBJECTIVE) == near
    assert closest([unstable], OBJECTIVE) == unstable


@pytest.mark.parametrize(
    ("verdict", "words"), [(Verdict.MISSED, "meets P99"), (Verdict.INCONCLUSIVE, "is known to meet P99")]
)
def test_no_plan(verdict, words):
    refused = candidate(Reason.LATENCY, performance=performance(0.05), verdict=verdict)
    answer = Recommendation(verdict=verdict, objective=OBJECTIVE, considered=(refused,))
    (sentence,) = explain(answer, QUESTION)
    assert words in sentence
    assert "at 50 rps; closest is 1 replica of p with batches up to 1: P99 of 50 (45 to 55) ms" in sentence


def test_a_plan_with_its_neighbour():
    neighbour = candidate(Reason.LATENCY, performance=performance(0.05), replicas=1)
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=OBJECTIVE,
        plan=BatchPlan(profile="p", replicas=2, batch_size_max=1),
        performance=performance(0.03),
        headroom=Headroom(today_rps=50.0, accepted_rps=60.0, refused_rps=61.0),
        considered=(neighbour, candidate(None, performance=performance(0.03), replicas=2)),
    )
    kept, fewer, headroom = explain(answer, QUESTION)
    assert (
        kept == "2 replicas of p with batches up to 1 meet P99 <= 40 ms at 50 rps: P99 is 30 (27 to 33) ms."
    )
    assert fewer == "One fewer is not enough: P99 50 (45 to 55) ms at load 0.500."
    assert headroom == "Headroom: up to 60 rps (+20 %), in shorter runs."
    open_end = replace(answer, headroom=Headroom(today_rps=50.0, accepted_rps=60.0, refused_rps=75.0))
    assert list(explain(open_end, QUESTION))[-1] == (
        "Headroom: up to 60 rps (+20 %), missed at 75 rps (+50 %), in shorter runs."
    )


def test_what_is_outlived_and_what_that_costs():
    plan = BatchPlan(profile="p", replicas=3, batch_size_max=1)
    left = BatchPlan(profile="p", replicas=2, batch_size_max=1)
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=OBJECTIVE,
        plan=plan,
        performance=performance(0.02),
        headroom=Headroom(today_rps=50.0, accepted_rps=60.0, refused_rps=61.0),
        hourly_usd=1.5,
        survived=(
            Survived(event="1 replica gone", plan=left, performance=performance(0.03)),
            Survived(event="2 times the traffic", plan=plan, performance=performance(0.035)),
        ),
        without_survival=Recommendation(verdict=Verdict.MET, objective=OBJECTIVE, plan=left, hourly_usd=1.0),
    )
    _, fewer, loss, spike, without, headroom = explain(answer, QUESTION)
    assert fewer == "One replica fewer was not tried."
    assert loss == "With 1 replica gone: 2 are left, and P99 is 30 (27 to 33) ms."
    assert spike == "With 2 times the traffic: P99 is 35 (31.5 to 38.5) ms."
    assert without == "Without failures, 2 would be enough, 0.500 USD/h less."
    assert headroom == "Headroom after the worst failure: up to 60 rps (+20 %), in shorter runs."
    elsewhere = Recommendation(
        verdict=Verdict.MET, objective=OBJECTIVE, plan=replace(left, profile="q"), hourly_usd=1.0
    )
    assert list(explain(replace(answer, without_survival=elsewhere), QUESTION))[-2] == (
        "Without failures, 2 replicas of q with batches up to 1 would be enough, 0.500 USD/h less."
    )
    asked = replace(QUESTION, survival=Survival(spare=1, spike=Spike(factor=2.0, startup_time_s=60.0)))
    *_, headroom = explain(answer, asked)
    assert headroom.endswith("up to 60 rps (+20 %), without the spike, in shorter runs.")


def outlived(replicas: int, without: Recommendation | None, survival: Survival) -> list[str]:
    plan = BatchPlan(profile="p", replicas=replicas, batch_size_max=1)
    left = replace(plan, replicas=replicas - 1)
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=OBJECTIVE,
        plan=plan,
        performance=performance(0.02),
        hourly_usd=0.5 * replicas,
        survived=(Survived(event="1 replica gone", plan=left, performance=performance(0.03)),),
        without_survival=without,
    )
    return list(explain(answer, replace(QUESTION, survival=survival)))


def test_of_a_fleet_that_leaves_nothing_no_more_is_said():
    _, fewer, loss = outlived(2, None, Survival(spare=1))
    assert fewer == "With one replica fewer and 1 replica gone, nothing would be left."
    assert loss == "With 1 replica gone: 1 is left, and P99 is 30 (27 to 33) ms."


def test_what_would_do_without_survival_is_not_told_where_it_is_the_same_plan():
    plan = BatchPlan(profile="p", replicas=3, batch_size_max=1)
    same = Recommendation(verdict=Verdict.MET, objective=OBJECTIVE, plan=plan, hourly_usd=1.5)
    assert len(outlived(3, same, Survival(spare=1))) == 3
    other = replace(same, plan=replace(plan, batch_size_max=2))
    assert outlived(3, other, Survival(spare=1))[-1] == (
        "Without failures, 3 with batches up to 2 would be enough, at the same price."
    )


def test_what_an_event_refused_is_closer_than_what_theory_refused():
    broken = candidate(Reason.SURVIVAL, needed=0.09, limit=P99, event="1 replica gone", replicas=3)
    unstable = candidate(Reason.STABILITY, 1.0, 1.001, replicas=3)
    shaken = candidate(Reason.SURVIVAL, 1.0, 1.5, event="1 replica gone", replicas=3)
    simulated = candidate(Reason.LATENCY, performance=performance(0.5), replicas=3)
    assert closest([unstable, shaken, broken], OBJECTIVE) == broken
    assert closest([unstable, broken, simulated], OBJECTIVE) == simulated
    assert closest([unstable, shaken], OBJECTIVE) == shaken


def test_the_neighbour_is_the_same_profile_behind_the_same_router_a_device_smaller():
    """Not one replica, where two share a device, nor one that waits longer."""
    plan = BatchPlan(profile="p", replicas=4, batch_size_max=1)
    shared = replace(QUESTION, profiles=(replace(PROFILE, instances_per_device=2),))
    others = [
        replace(plan, replicas=3),
        replace(plan, replicas=2, routing=Routing.RANDOM),
        replace(plan, replicas=2, batch_size_max=2, batch_wait_max_s=0.001),
    ]
    refused = candidate(Reason.LATENCY, performance=performance(0.05))
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=OBJECTIVE,
        plan=plan,
        performance=performance(0.03),
        considered=tuple(replace(refused, plan=other) for other in others),
    )
    assert list(explain(answer, shared))[1] == "One device fewer was not tried."
    # These have a P99 of 50 ms, and the neighbour has one of 60 ms.
    known = replace(refused, plan=replace(plan, replicas=2), performance=performance(0.06))
    answer = replace(answer, considered=(*answer.considered, known))
    assert list(explain(answer, shared))[1] == (
        "One device fewer is not enough: P99 60 (54 to 66) ms at load 0.500."
    )
    larger = replace(known, plan=replace(plan, replicas=2, batch_size_max=4), performance=performance(0.055))
    answer = replace(answer, considered=(*answer.considered, larger))
    assert list(explain(answer, shared))[1] == (
        "One device fewer is not enough: with batches up to 4, P99 55 (49.5 to 60.5) ms at load 0.500."
    )
    alone = replace(answer, plan=replace(plan, replicas=2))
    assert list(explain(alone, shared))[1] == "One device is the minimum."


PLAN = BatchPlan(profile="p", replicas=3, batch_size_max=1)


TTFT = Limit(measure=Measure.TTFT, quantile=0.99, allowed=0.5)


def recommended(**others) -> Recommendation:
    given = {"plan": PLAN, "performance": performance(0.03), "objective": OBJECTIVE, "verdict": Verdict.MET}
    return Recommendation(**given | others)


@pytest.mark.parametrize(
    ("replicas", "random", "told"),
    [
        (
            3,
            RandomRouting(replicas=3, response_p99=Interval.exact(0.035)),
            " takes 3 too: P99 35 ms.",
        ),
        (3, RandomRouting(replicas=5, response_p99=None), " takes 5."),
        (3, RandomRouting(replicas=3, response_p99=None), " takes 3 too."),
        (3, RandomRouting(replicas=None, response_p99=None), ": no fleet is known to be enough."),
        (3, RandomRouting(replicas=5, response_p99=None, least=0.09), " takes 5: with 3, P99 >= 90 ms."),
        (
            3,
            RandomRouting(replicas=None, response_p99=Interval.exact(0.05)),
            ": no fleet is known to be enough; with 3, P99 50 ms.",
        ),
        (
            3,
            RandomRouting(replicas=4, response_p99=Interval.exact(20.9), limit=TTFT, found=Interval.exact(0.9)),
            " takes 4: with 3, TTFT P99 900 ms.",
        ),
        (
            3,
            RandomRouting(replicas=4, response_p99=None, limit=TTFT),
            " takes 4.",
        ),
        (
            3,
            RandomRouting(replicas=4, response_p99=None, limit=TTFT, least=0.7),
            " takes 4: with 3, TTFT P99 >= 700 ms.",
        ),
    ],
)  # fmt: skip
def test_what_random_routing_would_need(replicas, random, told):
    answer = recommended(plan=replace(PLAN, replicas=replicas), random_routing=random)
    last = list(explain(answer, QUESTION))[-1]
    start = "" if replicas == 1 else "Random routing (Kubernetes Service)"
    assert last == start + told


IRREGULAR = replace(QUESTION, workload=Workload(arrival_rate_rps=50.0, arrivals=GammaArrivals(cv=2.0)))


@pytest.mark.parametrize(
    ("calm", "told"),
    [
        (None, "no plan within the limits is enough either."),
        (replace(PLAN, profile="q", replicas=1), "1 replica of q with batches up to 1 would be enough: "),
        (replace(PLAN, replicas=2), "2 would be enough; these arrivals need 1 more: "),
        (PLAN, "3 would be enough, with P99 25 (22.5 to 27.5) ms; these arrivals need as many: "),
        (replace(PLAN, replicas=5), "5 would be enough; these arrivals need 2 fewer: "),
    ],
)
def test_what_poisson_arrivals_would_need(calm, told):
    """Why they differ is left out of a brief answer."""
    others = recommended(
        plan=calm,
        performance=None if calm is None else performance(0.025),
        verdict=Verdict.MISSED if calm is None else Verdict.MET,
    )
    last = list(explain(recommended(under_poisson=others), IRREGULAR))[-1]
    assert last.startswith(f"Under Poisson arrivals {told}")
    assert calm is None or last.endswith(": gaps have a cv of 2.")
    *_, brief = explain(recommended(under_poisson=others), IRREGULAR, briefly=True)
    assert brief == last.replace(": gaps have a cv of 2", "")
    users = replace(QUESTION, workload=ClosedPopulation(users=5, think_time_s=1.0))
    assert len(list(explain(recommended(under_poisson=others), users))) == 2


def test_a_search_for_poisson_arrivals_that_ended_early_says_nothing():
    others = recommended(plan=None, performance=None, verdict=Verdict.INCONCLUSIVE)
    assert not any("Poisson" in one for one in explain(recommended(under_poisson=others), IRREGULAR))


def test_the_limit_closest_to_being_missed_and_losses_are_named():
    """P99 takes three quarters of its 40 ms, the mean half of its 20 ms."""
    objective = Objective.of(response={0.99: 0.04}, response_mean=0.02)
    found = replace(performance(0.03), response_mean_s=0.01, loss_probability=0.015)
    said = next(explain(recommended(performance=found, objective=objective), QUESTION))
    assert said.endswith(
        ": P99 is 30 (27 to 33) ms, with 1.5 % of the requests rejected, closest to its limit (75 %)."
    )
    lossy = Objective.of(response={0.99: 0.04}, loss=0.016)
    said = next(explain(recommended(performance=found, objective=lossy), QUESTION))
    assert said.endswith(": loss is 1.5 %, closest to its limit (94 %).")


def test_a_quantile_of_requests_that_are_never_answered_is_infinite():
    lost = Performance(
        kind=Kind.SIMULATION,
        loss_probability=0.02,
        response_quantiles_with_losses_s={0.99: Interval.exact(float("inf"))},
        response_quantiles_s={0.99: Interval.exact(0.03)},
    )
    assert format_found(P99, lost) == "P99 is infinite, since 2 % of the requests are rejected"


def test_the_price_and_why_a_smaller_fleet_is_not_enough():
    answer = recommended(hourly_usd=1.5)
    kept, fewer = explain(answer, QUESTION)
    assert "at 50 rps for 1.500 USD/h: P99 is 30 (27 to 33) ms." in kept
    assert fewer == "One replica fewer was not tried."
    asked = replace(QUESTION, replicas_min=3)
    assert list(explain(answer, asked))[1] == "Fewer than 3 replicas were not tried; the reason is below."
    asked = replace(QUESTION, replicas_min=2)
    assert list(explain(answer, asked))[1] == "One replica fewer was not tried."
    doubt = candidate(Reason.LATENCY, replicas=2, performance=performance(0.05), verdict=Verdict.INCONCLUSIVE)
    told = list(explain(replace(answer, considered=(doubt,)), QUESTION))[1]
    assert told == "One fewer is in doubt: P99 50 (45 to 55) ms at load 0.500."
    in_event = candidate(
        Reason.LATENCY, replicas=2, verdict=Verdict.INCONCLUSIVE
    )  # which leaves no performance
    told = list(explain(replace(answer, considered=(in_event,)), QUESTION))[1]
    assert told == "One fewer is in doubt: P99 50 ms."
    unstable = candidate(Reason.STABILITY, 1.0, 1.25, replicas=2)
    told = list(explain(replace(answer, considered=(unstable,)), QUESTION))[1]
    assert told == "One fewer is not enough: load 1.250, so that its queues grow for ever."


def test_a_brief_answer_has_no_interval_of_what_is_a_bound_or_not_the_plan():
    refused = candidate(Reason.LATENCY, replicas=2, performance=performance(0.05), verdict=Verdict.MISSED)
    bound = replace(refused, settled=False)
    doubt = replace(refused, verdict=Verdict.INCONCLUSIVE)
    random = RandomRouting(replicas=4, response_p99=Interval(value=0.05, low=0.045, high=0.055))

    def told(fewer, routed, *, briefly):
        answer = recommended(considered=(fewer,), random_routing=routed)
        _, *others = explain(answer, QUESTION, briefly=briefly)
        return others

    who = "Random routing (Kubernetes Service)"
    assert told(bound, random, briefly=False) == [
        "One fewer is not enough: P99 >= 50 (45 to 55) ms at load 0.500.",
        f"{who} takes 4: with 3, P99 50 (45 to 55) ms.",
    ]
    assert told(bound, random, briefly=True) == [
        "One fewer is not enough: P99 >= 45 ms at load 0.500.",
        f"{who} takes 4: with 3, P99 50 ms.",
    ]
    enough = replace(random, replicas=3)
    for briefly in (False, True):
        assert told(doubt, enough, briefly=briefly) == [
            "One fewer is in doubt: P99 50 (45 to 55) ms at load 0.500.",
            f"{who} takes 3 too: P99 50 (45 to 55) ms.",
        ]


LOST = replace(performance(0.05), loss_probability=0.02)
GONE = "1 replica gone"


@pytest.mark.parametrize(
    ("rejection", "seen", "told"),
    [
        (Rejection.of(P99, 0.05), performance(0.05), "P99 50 (45 to 55) ms at load 0.500"),
        (
            replace(Rejection.of(P99, 0.05, Reason.SURVIVAL), event=GONE),
            performance(0.05),
            f"with {GONE}, P99 50 (45 to 55) ms at load 0.500",
        ),
        (
            Rejection(reason=Reason.SURVIVAL, allowed=1.0, needed=1.25, event=GONE),
            None,
            f"with {GONE}, load 1.250, so that its queues grow for ever",
        ),
        # Where an engine saturates is known but roughly: below a load of 1, no queue is said to grow.
        (
            Rejection(reason=Reason.STABILITY, allowed=0.96, needed=0.97),
            None,
            "load 0.970, too near saturation for the profile's accuracy",
        ),
        # The load is that of the fleet, not of what is late.
        (
            Rejection.of_losses(P99, 0.02),
            LOST,
            "at load 0.500, 2 % of the requests are rejected, but P99 leaves 1 % to be rejected or late",
        ),
        (
            Rejection(reason=Reason.SERVICE_FLOOR, allowed=0.04, needed=0.05, limit=P99),
            None,
            "no batch is served within 40 ms at P99; the fastest takes 50 ms",
        ),
    ],
)
def test_why_one_fewer_is_not_enough_is_told_briefly(rejection, seen, told):
    """Without the limit, which the sentence before it has told."""
    plan = replace(PLAN, replicas=2)
    refused = Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection, performance=seen)
    sentences = list(explain(recommended(considered=(refused,)), QUESTION))
    assert sentences[1] == f"One fewer is not enough: {told}."
