"""Refusals and verdicts in words: one sentence for each limit, with its numbers."""

import pytest

from capacity.explain import closest, explain, format_interval, format_refusal, format_verdict
from capacity.objective import LatencyObjective, Measure, Promise
from capacity.performance import Interval, Kind, Performance
from capacity.plan import Candidate, Limit, Plan, Recommendation, Rejection, Verdict
from capacity.profile import BatchTiming, ServiceProfile
from capacity.question import Question
from capacity.workload import Workload

OBJECTIVE = LatencyObjective(limits={0.99: 0.04})
PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
QUESTION = Question(profiles=(PROFILE,), workload=Workload(arrival_rate_rps=50.0), objective=OBJECTIVE)


def performance(p99_s: float) -> Performance:
    interval = Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)
    return Performance(kind=Kind.SIMULATION, load=0.5, response_quantiles_s={0.99: interval})


def candidate(limit: Limit | None, allowed=0.04, needed=0.05, replicas=1, **fields) -> Candidate:
    promise = None
    if limit in (Limit.LATENCY, Limit.SERVICE_FLOOR):
        promise = Promise(measure=Measure.RESPONSE, quantile=0.99, allowed=allowed)
    given = fields.pop("promise", promise)
    event = fields.pop("event", None)
    rejection = (
        None
        if limit is None
        else Rejection(limit=limit, allowed=allowed, needed=needed, promise=given, event=event)
    )
    verdict = fields.pop("verdict", Verdict.MET if limit is None else Verdict.MISSED)
    plan = Plan(profile="p", replicas=replicas, batch_size_max=1)
    return Candidate(plan=plan, verdict=verdict, rejection=rejection, **fields)


@pytest.mark.parametrize(
    ("given", "refusal", "verdict"),
    [
        (candidate(None), "", "met"),
        (candidate(Limit.STABILITY, 1.0, 1.25), "unstable: load 1.250 >= 1", "unstable: load 1.250"),
        (
            candidate(Limit.SERVICE_FLOOR),
            "no batch is served within 40 ms at P99; the fastest takes 50 ms",
            "missed: no batch is served within 40 ms at P99; the fastest takes 50 ms",
        ),
        (
            candidate(Limit.LATENCY, performance=performance(0.05)),
            "P99 of 50 (45 to 55) ms is above 40 ms",
            "missed: P99 above 40 ms",
        ),
        (
            candidate(Limit.LATENCY, performance=performance(0.05), settled=False),
            "P99 of at least 50 (45 to 55) ms is above 40 ms",
            "missed: P99 above 40 ms",
        ),
        (
            candidate(Limit.LATENCY, performance=performance(0.039), verdict=Verdict.INCONCLUSIVE),
            "P99 of 39 (35.1 to 42.9) ms may be above 40 ms",
            "in doubt",
        ),
        (
            candidate(Limit.PROFILE_RANGE, 128, 200),
            "the profile was measured up to batch size 128 only",
            "missed: the profile was measured up to batch size 128 only",
        ),
        (
            candidate(Limit.REPLICAS_MAX, 1024, 2000),
            "stability takes at least 2000 replicas, and 1024 are allowed",
            "missed: stability takes at least 2000 replicas, and 1024 are allowed",
        ),
        (
            candidate(Limit.BUDGET, 1000, 31210, verdict=Verdict.INCONCLUSIVE),
            "undecided within the budget of 1000 simulated requests; 31210 might do (--requests-max)",
            "in doubt",
        ),
    ],
)
def test_each_limit_has_its_words(given, refusal, verdict):
    assert format_refusal(given) == refusal
    assert format_verdict(given) == verdict


def test_intervals():
    assert format_interval(Interval.exact(0.05)) == "50 ms"
    assert format_interval(Interval(value=0.95, low=0.9, high=1.2)) == "950 ms (900 ms to 1.2 s)"


def test_the_closest_is_a_refused_one_that_was_simulated():
    far = candidate(Limit.LATENCY, performance=performance(0.09), replicas=2)
    near = candidate(Limit.LATENCY, performance=performance(0.05), replicas=3)
    unstable = candidate(Limit.STABILITY, 1.0, 1.001, replicas=1)
    accepted = candidate(None, performance=performance(0.03), replicas=4)
    assert closest([unstable, far, near, accepted], OBJECTIVE) == near
    assert closest([unstable], OBJECTIVE) == unstable


@pytest.mark.parametrize(
    ("verdict", "words"), [(Verdict.MISSED, "keeps P99"), (Verdict.INCONCLUSIVE, "is known to keep P99")]
)
def test_no_plan(verdict, words):
    refused = candidate(Limit.LATENCY, performance=performance(0.05), verdict=verdict)
    answer = Recommendation(verdict=verdict, objective=OBJECTIVE, considered=(refused,))
    (sentence,) = explain(answer, QUESTION)
    assert words in sentence
    assert "at 50 rps; closest is 1 replica of p with batches up to 1: P99 of 50 (45 to 55) ms" in sentence


def test_a_plan_with_its_neighbour():
    neighbour = candidate(Limit.LATENCY, performance=performance(0.05), replicas=1)
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=OBJECTIVE,
        plan=Plan(profile="p", replicas=2, batch_size_max=1),
        performance=performance(0.03),
        arrival_rate_max_rps=60.0,
        considered=(neighbour, candidate(None, performance=performance(0.03), replicas=2)),
    )
    kept, fewer, headroom = explain(answer, QUESTION)
    assert (
        kept == "2 replicas of p with batches up to 1 keep P99 <= 40 ms at 50 rps: P99 is 30 (27 to 33) ms."
    )
    assert fewer == (
        "One fewer would not do: 1 replica of p with batches up to 1 would be stable at load 0.500, but "
        "P99 of 50 (45 to 55) ms is above 40 ms."
    )
    assert headroom == "In shorter trials the same plan holds up to 60 rps."
