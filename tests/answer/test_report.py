"""Documents: every field of an answer comes out under its key, and with its own value."""

import json
import math
from dataclasses import replace

import pytest
from questions import batch_question

from capacity.answer.documents import (
    arrivals_name,
    dumps,
    load_test_document,
    objective_document,
    performance_document,
    plain,
    recommendation_document,
    workload_document,
)
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.queues.little import LittlesLaw, LoadTestReport
from capacity.search.recommendation import Headroom, Recommendation, Survived, Tally
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)

OBJECTIVE = Objective.of(response={0.99: 0.04})
(PROMISE,) = OBJECTIVE.limits
PERFORMANCE = Performance(
    kind=Kind.SIMULATION,
    load=0.5,
    utilization=0.75,
    response_quantiles_s={0.99: Interval(value=0.02, low=0.01, high=0.03)},
)
PLAN = BatchPlan(
    profile="p", replicas=2, batch_size_max=8, batch_wait_max_s=0.002, routing=Routing.SHARED_QUEUE
)
PLAN_DOCUMENT = {
    "profile": "p",
    "replicas": 2,
    "batch_size_max": 8,
    "batch_wait_max_s": 0.002,
    "routing": "shared-queue",
}
PERFORMANCE_DOCUMENT = {
    "kind": "simulation",
    "load": 0.5,
    "utilization": 0.75,
    "response_quantiles_s": {"0.99": {"value": 0.02, "low": 0.01, "high": 0.03}},
}


def document(**fields) -> dict:
    question = batch_question(
        profiles=(ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),)),),
        workload=Workload(arrival_rate_rps=50.0, arrivals=GammaArrivals(cv=2.0)),
        objective=OBJECTIVE,
    )
    answer = Recommendation(objective=OBJECTIVE, **fields)
    return recommendation_document(answer, question, seed=7, confidence=0.9)


def test_a_plan_that_is_met():
    rejection = replace(Rejection.of(PROMISE, 0.05, Reason.SURVIVAL), event="1 replica gone")
    refused = Candidate(
        plan=PLAN, verdict=Verdict.MISSED, rejection=rejection, performance=PERFORMANCE, settled=False
    )
    accepted = Candidate(plan=PLAN, verdict=Verdict.MET)
    caveat = Caveat(code=CaveatCode.PRICE_UNKNOWN, message="m")
    assert document(
        verdict=Verdict.MET,
        plan=PLAN,
        performance=PERFORMANCE,
        headroom=Headroom(today_rps=50.0, accepted_rps=60.0, refused_rps=61.0),
        hourly_usd=1.5,
        considered=(refused, accepted),
        caveats=(caveat,),
        survived=(Survived(event="1 replica gone", plan=replace(PLAN, replicas=1), performance=PERFORMANCE),),
        without_survival=Recommendation(
            verdict=Verdict.MET, objective=OBJECTIVE, plan=replace(PLAN, replicas=1), hourly_usd=0.75
        ),
        tally=Tally(screened=5, simulated=4, certified=3, requests=1000),
    ) == {
        "verdict": "met",
        "exit_code": 0,
        "recommendation": PLAN_DOCUMENT,
        "performance": PERFORMANCE_DOCUMENT,
        "objective": {"response_quantiles_s": {"0.99": 0.04}},
        "binding": {
            "measure": "response_quantiles_s",
            "allowed": 0.04,
            "quantile": 0.99,
            "share_of_limit": {"value": 0.5, "low": 0.25, "high": 0.75},
        },
        "workload": {"arrival_rate_rps": 50.0, "arrivals": "gamma:cv=2"},
        "headroom": {"arrival_rate_max_rps": 60.0, "arrival_rate_refused_rps": 61.0},
        "random_routing": None,
        "cost": {"hourly_usd": 1.5},
        "usd_per_million": None,
        "survived": [
            {
                "event": "1 replica gone",
                "plan": {**PLAN_DOCUMENT, "replicas": 1},
                "performance": PERFORMANCE_DOCUMENT,
            }
        ],
        "without_survival": {
            "recommendation": {**PLAN_DOCUMENT, "replicas": 1},
            "cost": {"hourly_usd": 0.75},
            "performance": None,
        },
        "under_poisson": None,
        "alternatives": [],
        "candidates": {"screened": 5, "simulated": 4, "certified": 3, "requests": 1000},
        "considered": [
            {
                "plan": PLAN_DOCUMENT,
                "accepted": False,
                "verdict": "missed",
                "settled": False,
                "performance": PERFORMANCE_DOCUMENT,
                "rejection": {
                    "limit": "survival",
                    "allowed": 0.04,
                    "needed": 0.05,
                    "measure": "response_quantiles_s",
                    "quantile": 0.99,
                    "event": "1 replica gone",
                },
            },
            {
                "plan": PLAN_DOCUMENT,
                "accepted": True,
                "verdict": "met",
                "settled": True,
                "performance": None,
                "rejection": None,
            },
        ],
        "caveats": [{"code": "price_unknown", "message": "m"}],
        "seed": 7,
        "confidence": 0.9,
    }


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.MISSED, 3), (Verdict.INCONCLUSIVE, 4)])
def test_no_plan(verdict, code):
    found = document(verdict=verdict)
    assert (found["verdict"], found["exit_code"]) == (verdict.value, code)
    for key in ("recommendation", "performance", "headroom", "cost"):
        assert found[key] is None


def test_every_promise_stands_under_the_measure_that_it_limits():
    objective = Objective.of(
        response={0.99: 0.04, 0.5: 0.01}, response_mean=0.02, wait={0.99: 0.005}, loss=0.001, utilization=0.8
    )
    assert objective_document(objective) == {
        "response_quantiles_s": {"0.5": 0.01, "0.99": 0.04},
        "wait_quantiles_s": {"0.99": 0.005},
        "response_mean_s": 0.02,
        "loss_probability": 0.001,
        "utilization": 0.8,
    }


def test_users_are_a_workload_without_a_rate():
    assert workload_document(ClosedPopulation(users=5, think_time_s=0.3)) == {"users": 5, "think_time_s": 0.3}


def test_what_a_performance_does_not_have_is_absent():
    assert performance_document(Performance(kind=Kind.EXACT)) == {"kind": "exact"}


def test_infinite_numbers_are_null():
    found = plain({0.5: math.inf, "low": -math.inf, "x": 1.0, "nested": [math.inf, 2.0]})
    assert found == {"0.5": None, "low": None, "x": 1.0, "nested": [None, 2.0]}


def test_json_is_strict_and_led_by_its_version():
    assert next(iter(json.loads(dumps({"a": 1})).items())) == ("schema_version", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": float("nan")})


def test_little():
    law = LittlesLaw.solve(arrival_rate_rps=40.0, in_system_mean=4.0)
    assert plain(law) == {"arrival_rate_rps": 40.0, "response_mean_s": 0.1, "in_system_mean": 4.0}


def test_more_throughput_than_users_can_send_has_no_required_mean():
    report = LoadTestReport(
        users=100, think_time_s=0.3, throughput_rps=1000.0, response_quantiles_s={0.99: 0.1}
    )
    found = load_test_document(report)
    assert not {"response_mean_required_s", "in_system_mean_required", "tail_mean_required_s"} & set(found)
    assert found["credible"] is False
    assert "saturated" in found["likely_cause"]


def test_a_load_test_is_credible_or_has_a_cause():
    """100 users who think for 0.3 s at 100 rps leave 0.7 s for a response, with 70 requests in progress."""
    report = LoadTestReport(
        users=100,
        think_time_s=0.3,
        throughput_rps=100.0,
        response_mean_s=0.71,
        response_quantiles_s={0.5: 0.6, 0.99: 0.9},
    )
    found = load_test_document(report)
    assert (found["users"], found["think_time_s"], found["throughput_rps"]) == (100, 0.3, 100.0)
    assert found["response_mean_required_s"] == pytest.approx(0.7)
    assert found["in_system_mean_required"] == pytest.approx(70.0)
    assert found["response_mean_s"] == 0.71
    assert found["response_quantiles_s"] == {"0.5": 0.6, "0.99": 0.9}
    assert found["tail_quantile"] == 0.99
    # Half take at least 0 s, the next 49 % at least 0.6 s and the last 1 % at least 0.9 s.
    assert found["response_mean_min_s"] == pytest.approx(0.49 * 0.6 + 0.01 * 0.9)
    assert found["tail_mean_required_s"] == 0.9  # the others may have a mean of up to 0.741 s
    assert found["credible"] is True
    assert found["reason"].startswith("nothing reported contradicts")
    assert "likely_cause" not in found
    bare = load_test_document(
        LoadTestReport(users=100, think_time_s=0.3, throughput_rps=100.0, response_mean_s=0.7)
    )
    assert bare["credible"] is True
    absent = {
        "response_quantiles_s", "tail_quantile", "tail_mean_required_s", "likely_cause",
        "response_mean_min_s",
    }  # fmt: skip
    assert not absent & set(bare)
    even = LoadTestReport(users=100, think_time_s=1.0, throughput_rps=100.0, response_quantiles_s={0.5: 0.1})
    doubtful = load_test_document(even)
    assert doubtful["response_mean_required_s"] == 0.0
    assert doubtful["credible"] is False
    assert doubtful["likely_cause"] == "the load generator was saturated, or some of the users were idle"


@pytest.mark.parametrize(
    ("arrivals", "name"),
    [
        (PoissonArrivals(), "poisson"),
        (DeterministicArrivals(), "deterministic"),
        (GammaArrivals(cv=2.0), "gamma:cv=2"),
        (MmppArrivals(ratio=4.0, burst_mean_s=0.5, calm_mean_s=2.0), "mmpp:ratio=4,burst=0.5s,calm=2s"),
        (TraceArrivals(instants_s=(0.0, 1.0), name="log.csv"), "trace:log.csv"),
        (SurgingArrivals(base=GammaArrivals(cv=2.0), before=10, factor=2.0), "gamma:cv=2"),
    ],
)
def test_arrivals_have_the_name_that_is_typed(arrivals, name):
    assert arrivals_name(Workload(arrival_rate_rps=50.0, arrivals=arrivals)) == name
