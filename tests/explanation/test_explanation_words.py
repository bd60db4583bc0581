"""Every sentence of an explanation, to the last word, from made-up findings."""

import math
from dataclasses import replace
from typing import Any

import pytest

from capacity.explanation.binding import Binding, Burst, Cause
from capacity.explanation.explanation import Change, Explanation
from capacity.explanation.savings import Lever, Saving
from capacity.performance import Interval, Kind, Performance
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.question.plan import Routing
from capacity.render.explanation import sections
from capacity.server.batch.plan import BatchPlan

PLAN = BatchPlan(profile="flat", replicas=3, batch_size_max=4)
FEWER = replace(PLAN, replicas=2)
PROMISE = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.1)


def of(plan: BatchPlan, p99_s: float, load: float | None = None, **changed: Any) -> Candidate:
    """A candidate whose P99 meets the promise or not."""
    is_met = p99_s <= PROMISE.allowed
    performance = Performance(
        kind=Kind.SIMULATION, load=load, response_quantiles_s={0.99: Interval.exact(p99_s)}
    )
    found = Candidate(
        plan=plan,
        verdict=Verdict.MET if is_met else Verdict.MISSED,
        rejection=None if is_met else Rejection.of(PROMISE, p99_s),
        performance=performance,
    )
    return replace(found, **changed)


def refused(plan: BatchPlan, reason: Reason, needed: float) -> Candidate:
    """By theory, without a performance."""
    rejection = Rejection(reason=reason, allowed=1.0, needed=needed)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)


BINDING = Binding(cause=Cause.QUEUEING, limit=PROMISE, found=Interval.exact(0.05))
NOTHING = Explanation(
    plan=PLAN,
    base=of(PLAN, 0.05),
    binding=BINDING,
    fewer=(),
    nearest=None,
    neighbours=(),
    sensitivities=(),
    assumptions=(),
    savings=(),
    requests=0,
)


def burst(**changed: Any) -> Binding:
    poisson = of(PLAN, 0.02)
    usual = Burst(cv=None, dispersion=None, window_s=None, poisson=poisson, replicas=None)
    return replace(BINDING, burst=replace(usual, **changed))


USES = "P99 of 50 ms uses up 50 % of what is allowed; what limits it most is"
QUEUES = f"{USES} queueing: requests wait for those before them."


@pytest.mark.parametrize(
    ("binding", "told"),
    [
        (BINDING, [QUEUES]),
        (
            replace(BINDING, cause=Cause.STABILITY, load_fewer=1.0),
            [
                f"{USES} stability: with one fewer, requests would arrive faster than full batches leave.",
                "Stability: one fewer would be unstable, at load 1.000 at best.",
            ],
        ),
        (
            replace(BINDING, cause=Cause.SERVICE_FLOOR, load_fewer=0.9996, floor_s=0.075),
            [
                f"{USES} the service itself: at best it takes half of the limit or more.",
                "Stability: one fewer would be stable, at load 1.000 at best.",
                "Service: at best 75 ms, 75 % of the limit.",
            ],
        ),
        (
            replace(BINDING, lone_s=0.02),
            [
                QUEUES,
                "Queueing and batching: a lone request takes 20 ms; waiting for others and sharing a batch with them "
                "adds 30 ms.",
            ],
        ),
        (
            replace(BINDING, cause=Cause.BATCHING, lone_s=0.06, wait=Interval(value=0.01, low=0.009, high=0.011)),
            [
                f"{USES} batching: waiting for a batch to fill and sharing it takes most of the time.",
                "Queueing and batching: a lone request takes 60 ms; waiting for others and sharing a batch with them "
                "adds 0 s; the wait alone has P99 10 (9 to 11) ms.",
            ],
        ),
        (replace(BINDING, unbatched=of(PLAN, 0.2)), [QUEUES, "Without batches: P99 is 200 ms, missed."]),
        (
            replace(BINDING, unbatched=refused(PLAN, Reason.STABILITY, 1.2)),
            [QUEUES, "Without batches: unstable: load 1.200 >= 1."],
        ),
        (burst(), [QUEUES, "Arrivals: under Poisson arrivals P99 is 20 ms, met."]),
        (
            burst(cv=2.5, replicas=1),
            [
                QUEUES,
                "Arrivals: gaps vary by 2.5 of their mean (Poisson: 1); under Poisson arrivals P99 is 20 ms, met, and "
                "1 would be enough, 2 fewer.",
            ],
        ),
        (
            burst(dispersion=4.0, replicas=3),
            [
                QUEUES,
                "Arrivals: counts in long windows vary 4 times as much as Poisson's; under Poisson arrivals P99 is "
                "20 ms, met, and 3 would be needed.",
            ],
        ),
        (
            replace(burst(cv=2.5, dispersion=4.0, window_s=0.5), cause=Cause.BURSTINESS),
            [
                f"{USES} burstiness: Poisson arrivals at the same rate would need fewer.",
                "Arrivals: gaps vary by 2.5 of their mean (Poisson: 1); counts in 500 ms vary 4 times as much as "
                "Poisson's; under Poisson arrivals P99 is 20 ms, met.",
            ],
        ),
    ],
)  # fmt: skip
def test_what_limits_the_plan(binding: Binding, told: list[str]) -> None:
    assert dict(sections(replace(NOTHING, binding=binding)))["What limits the plan"] == told


def test_a_plan_that_theory_refuses_was_not_simulated() -> None:
    bare = replace(NOTHING, binding=None, base=refused(PLAN, Reason.STABILITY, 1.5))
    assert dict(sections(bare))["What limits the plan"] == [
        "The plan was not simulated: unstable: load 1.500 >= 1."
    ]


SINGLE, PAIR = replace(FEWER, batch_size_max=1), replace(FEWER, batch_size_max=2)
LOSING = replace(
    refused(PAIR, Reason.LOSS, 2.0),
    rejection=Rejection(reason=Reason.LOSS, allowed=0.05, needed=0.11, is_loss=True),
)
UNSTABLE = (refused(SINGLE, Reason.STABILITY, 1.5), refused(PAIR, Reason.SURVIVAL, 1.2))


@pytest.mark.parametrize(
    ("fewer", "nearest", "told"),
    [
        ((), None, ["One is the minimum."]),
        (UNSTABLE, UNSTABLE[1], ["With batches up to 1, 2 it would be unstable, at load 1.200 at best."]),
        (
            (UNSTABLE[0], refused(PAIR, Reason.SERVICE_FLOOR, 2.0)), of(FEWER, 0.15, load=0.8765),
            [
                "With batches up to 1 it would be unstable, at load 1.500 at best.",
                "Batches up to 2 are refused, or in doubt, with any number of replicas.",
                "Closest is 2 replicas of flat with batches up to 4, at load 0.876: P99 of 150 ms is above 100 ms, "
                "50 % over the limit.",
            ],
        ),
        (
            (LOSING,), LOSING,  # more replicas would lose less: it was said that no number would do
            ["With batches up to 2 it would reject more than is allowed."],
        ),
        (
            (of(FEWER, 0.09),), of(FEWER, 0.09),
            [
                "Short simulations accept 2 replicas of flat with batches up to 4; the stricter confirmation, or the "
                "budget, decided against it.",
            ],
        ),
        (
            (of(FEWER, 0.15),), of(FEWER, 0.15, load=0.9, settled=False),
            [
                "Closest is 2 replicas of flat with batches up to 4, at load 0.900: P99 of at least 150 ms is above "
                "100 ms, 50 % over the limit.",
            ],
        ),
    ],
)  # fmt: skip
def test_why_one_fewer_is_not_enough(fewer, nearest, told) -> None:
    found = dict(sections(replace(NOTHING, fewer=fewer, nearest=nearest)))
    assert found["Why one fewer is not enough"] == told


def test_one_fewer_that_is_in_doubt_has_a_heading_of_its_own() -> None:
    nearest = replace(of(FEWER, 0.15), verdict=Verdict.INCONCLUSIVE)
    found = dict(sections(replace(NOTHING, fewer=(nearest,), nearest=nearest)))
    assert "Why one fewer is in doubt" in found
    assert "Why one fewer is not enough" not in found


def change(what: str, p99_s: float, **changed: Any) -> Change:
    return replace(Change(what=what, plan=PLAN, candidate=of(PLAN, p99_s)), **changed)


def test_other_batches() -> None:
    waiting = replace(PLAN, batch_wait_max_s=0.002)
    neighbours = (
        change("batch size", 0.04, shift=-0.2),
        change("batch wait", 0.12, plan=waiting, candidate=of(waiting, 0.12, settled=False), shift=1.4),
        change("batch size", 0.0, candidate=refused(SINGLE, Reason.STABILITY, 1.5), plan=SINGLE, shift=math.inf),
    )  # fmt: skip
    assert dict(sections(replace(NOTHING, neighbours=neighbours)))["Other batches"] == [
        "Batch size up to 4: P99 is 40 ms, met (-20 %).",
        "Batch wait 2 ms: P99 is at least 120 ms, missed (+140 %).",
        "Batch size up to 1: unstable: load 1.500 >= 1.",
    ]


def test_what_the_answer_depends_on() -> None:
    rising = change("rate", 0.06, step=0.1, shift=0.2, replicas=3)
    falling = change("service time", 0.04, step=-0.1, shift=-0.3, replicas=1)
    gaps = change("cv", 0.08, step=0.5, shift=0.6)
    told = dict(sections(replace(NOTHING, sensitivities=(rising, falling, gaps))))
    assert told["What the answer depends on"] == [
        "Rate +10 %: P99 is 60 ms, met (+20 %); 3 replicas are enough with this batch.",
        "Service time -10 %: P99 is 40 ms, met (-30 %); 1 replica is enough with this batch.",
        "Variation of the gaps between arrivals +50 %: P99 is 80 ms, met (+60 %).",
        "The answer depends most on the service time: a change of 10 % moves the figure closest to its limit by 30 %.",
    ]  # fmt: skip
    unstable = replace(rising, candidate=refused(PLAN, Reason.STABILITY, 1.01), shift=math.inf, replicas=4)
    told = dict(sections(replace(NOTHING, sensitivities=(falling, unstable))))
    assert told["What the answer depends on"][1:] == [
        "Rate +10 %: unstable: load 1.010 >= 1; 4 replicas are enough with this batch.",
        "The answer depends most on the rate: a change of 10 % makes the plan unstable.",
    ]
    told = dict(sections(replace(NOTHING, sensitivities=(replace(gaps, shift=3.0), falling))))
    assert told["What the answer depends on"][-1] == (
        "The answer depends most on the variation of the gaps between arrivals: a change of 10 % moves the figure "
        "closest to its limit by 60 %."
    )
    still = dict(sections(replace(NOTHING, sensitivities=(replace(rising, shift=0.0),))))
    assert len(still["What the answer depends on"]) == 1


def saving(lever: Lever, hourly_usd: float | None = 0.5, **changed: Any) -> Saving:
    found = Saving(lever=lever, plan=FEWER, candidate=of(FEWER, 0.09), hourly_usd=hourly_usd)
    return replace(found, **changed)


def test_what_would_save_most() -> None:
    found = (
        saving(Lever.LIMIT, share=0.25),
        saving(Lever.SERVICE, share=0.08),
        saving(Lever.DEMAND, share=0.1),
    )
    assert dict(sections(replace(NOTHING, savings=found)))["What would save most"] == [
        "Service times 8 % shorter: 2 replicas of flat with batches up to 4 would be enough, 0.500 USD/h less.",
        "The same with a limit 25 % higher.",
        "The same with 10 % less traffic at the peak.",
    ]
    routed = replace(FEWER, routing=Routing.LEAST_OUTSTANDING)
    free = replace(NOTHING, savings=(saving(Lever.ROUTING, None, plan=routed),))
    assert dict(sections(free))["What would save most"] == [
        "Routing least-outstanding alone: 2 replicas of flat with batches up to 4 would be enough."
    ]
    none = replace(NOTHING, nearest=of(FEWER, 0.15))
    assert dict(sections(none))["What would save most"] == [
        "No single change that was tried makes one replica fewer enough."
    ]
    assert dict(sections(NOTHING))["What would save most"] == []
