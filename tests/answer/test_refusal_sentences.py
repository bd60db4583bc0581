"""Why a plan is refused, as a sentence and in the few words of a row; and plans and traffic in words."""

import math
from typing import Any

import pytest

from capacity.answer.refusals import format_loss, format_refusal, format_verdict
from capacity.answer.sentences import demand, fleet
from capacity.performance import Interval, Kind, Performance
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, TraceArrivals, Workload

PLAN = BatchPlan(profile="flat", replicas=2, batch_size_max=4)
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.1)
MEAN = Limit(measure=Measure.RESPONSE_MEAN, allowed=0.1)
WAIT = Limit(measure=Measure.WAIT, quantile=0.9, allowed=0.1)
LOSS = Limit(measure=Measure.LOSS, allowed=0.01)
UTILIZATION = Limit(measure=Measure.UTILIZATION, allowed=0.4)
MISSED, OPEN = Verdict.MISSED, Verdict.INCONCLUSIVE


def performance(p99_s: float, low_s: float, high_s: float, loss: float | None = None) -> Performance:
    return Performance(
        kind=Kind.SIMULATION,
        response_quantiles_s={0.99: Interval(value=p99_s, low=low_s, high=high_s)},
        loss_probability=loss,
    )


def limit(kind: Reason, allowed: float, needed: float, **others: Any) -> Rejection:
    return Rejection(reason=kind, allowed=allowed, needed=needed, **others)


LOST = Rejection(reason=Reason.LATENCY, allowed=0.01, needed=0.025, limit=P99, is_loss=True)
CASES: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"rejection": None, "verdict": Verdict.MET}, "", "met"),
    ({"rejection": limit(Reason.STABILITY, 1, 1.25)}, "unstable: load 1.250 >= 1", "unstable: load 1.250"),
    (
        {"rejection": limit(Reason.SURVIVAL, 1.0, 1.25, event="1 replica gone")},
        "with 1 replica gone, unstable: load 1.250 >= 1",
        "unstable with 1 replica gone: load 1.250",
    ),
    (
        {"rejection": limit(Reason.SERVICE_FLOOR, 0.1, 0.2, limit=P99)},
        "no batch is served within 100 ms at P99; the fastest takes 200 ms",
        "missed: no batch is served within 100 ms at P99; the fastest takes 200 ms",
    ),
    (
        {"rejection": limit(Reason.SERVICE_FLOOR, 0.1, 0.2, limit=MEAN)},
        "no batch is served within 100 ms on average; the fastest takes 200 ms",
        "missed: no batch is served within 100 ms on average; the fastest takes 200 ms",
    ),
    (
        {"rejection": limit(Reason.SERVICE_FLOOR, 0.1, 0.2), "verdict": OPEN, "doubt": Doubt.PROFILE},
        "the service alone may take 200 ms, judging by the profile's samples, and 100 ms is allowed",
        "in doubt: too few samples in the profile",
    ),
    (
        {"rejection": limit(Reason.PROFILE_RANGE, 8, 16)},
        "the profile was measured up to batch size 8 only",
        "missed: the profile was measured up to batch size 8 only",
    ),
    (
        {"rejection": limit(Reason.REPLICAS_MAX, 1, 3)},
        "stability needs at least 3 replicas, and 1 is allowed (--replicas-max)",
        "missed: stability needs at least 3 replicas, and 1 is allowed (--replicas-max)",
    ),
    (
        {"rejection": limit(Reason.REPLICAS_MAX, 2, 3)},
        "stability needs at least 3 replicas, and 2 are allowed (--replicas-max)",
        "missed: stability needs at least 3 replicas, and 2 are allowed (--replicas-max)",
    ),
    (
        {"rejection": limit(Reason.BUDGET, 1000, 2000.4), "verdict": OPEN, "doubt": Doubt.REQUESTS},
        "undecided within the budget of 1000 simulated requests; 2000 might be enough (--requests-max)",
        "in doubt: too few requests simulated",
    ),
    (
        {"rejection": LOST},
        "2.5 % of the requests are rejected, but P99 leaves 1 % to be rejected or late",
        "missed: 2.5 % rejected",
    ),
    ({"rejection": Rejection.of(LOSS, 0.02)}, "loss of 2 % is above 1 %", "missed: loss above 1 %"),
    ({"rejection": Rejection.of(MEAN, 0.2)}, "mean of 200 ms is above 100 ms", "missed: mean above 100 ms"),
    (
        {"rejection": Rejection.of(WAIT, 0.2), "settled": False},
        "wait P90 of at least 200 ms is above 100 ms",
        "missed: wait P90 above 100 ms",
    ),
    (
        {"rejection": Rejection.of(P99, 0.25), "performance": performance(0.2, 0.15, 0.25)},
        "P99 of 200 (150 to 250) ms is above 100 ms",
        "missed: P99 above 100 ms",
    ),
    (
        {
            "rejection": Rejection.of(P99, 0.11), "verdict": OPEN, "doubt": Doubt.MARGIN,
            "performance": performance(0.1, 0.09, 0.11),
        },
        "P99 of 100 (90 to 110) ms may be above 100 ms",
        "in doubt: too close to the limit",
    ),
    (
        {
            "rejection": Rejection.of(P99, math.inf), "verdict": OPEN, "doubt": Doubt.PROFILE,
            "performance": performance(0.1, 0.09, math.inf, loss=0.0125),
        },
        "P99 of 100 ms (90 ms or more), with 1.25 % rejected may be above 100 ms",
        "in doubt: too few samples in the profile",
    ),
    (
        {"rejection": limit(Reason.SURVIVAL, 0.1, 0.2, limit=P99, event="one of 3 zones gone")},
        "with one of 3 zones gone, P99 of 200 ms is above 100 ms",
        "missed with one of 3 zones gone: P99 above 100 ms",
    ),
    (
        {"rejection": limit(Reason.BUDGET, 1000, 31210, event="rolling update"), "verdict": OPEN},
        "with rolling update, undecided within the budget of 1000 simulated requests; 31210 might be enough (--requests-max)",
        "in doubt with rolling update",
    ),
    (
        {
            "rejection": Rejection.of(UTILIZATION, 0.55),
            "performance": Performance(
                kind=Kind.SIMULATION, utilization=0.5, intervals={"utilization": Interval(value=0.5, low=0.45, high=0.55)}
            ),
        },
        "utilization of 50 (45 to 55) % is above 40 %",
        "missed: utilization above 40 %",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("given", "refusal", "verdict"), CASES)
def test_a_refusal_in_a_sentence_and_in_a_row(given: dict[str, Any], refusal: str, verdict: str) -> None:
    candidate = Candidate(**{"plan": PLAN, "verdict": MISSED, **given})
    assert format_refusal(candidate) == refusal
    assert format_verdict(candidate) == verdict


def test_traffic_in_words() -> None:
    assert demand(Workload(arrival_rate_rps=12.5)) == "at 12.5 rps"
    assert demand(ClosedPopulation(users=1, think_time_s=0.2)) == "for 1 user who thinks for 200 ms"
    assert demand(ClosedPopulation(users=2, think_time_s=0.0)) == "for 2 users who think for 0 s"
    trace = TraceArrivals(instants_s=(0.0, 0.02))  # 50 rps
    assert (
        demand(Workload(arrival_rate_rps=65.0, arrivals=trace)) == "at 65 rps, 1.3 times the recorded speed"
    )
    assert demand(Workload(arrival_rate_rps=50.04, arrivals=trace)) == "at 50 rps"


def test_fleets_in_words() -> None:
    waiting = BatchPlan(profile="flat", replicas=1, batch_size_max=2, batch_wait_max_s=0.002)
    assert fleet(PLAN) == "2 replicas of flat with batches up to 4"
    assert fleet(waiting) == "1 replica of flat with batches up to 2 that wait up to 2 ms"


def test_losses_in_words() -> None:
    assert format_loss(None) == format_loss(performance(0.1, 0.1, 0.1, loss=0.0)) == ""
    assert format_loss(performance(0.1, 0.1, 0.1, loss=0.025)) == "2.5 %"
