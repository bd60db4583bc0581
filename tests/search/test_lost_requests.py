"""A lost request is late: verdicts on quantiles count it, by hand, by an exact law and in every command."""

import json
import math
from typing import Any

import numpy as np
import pytest
from cases import sample_of
from questions import batch_question
from typer.testing import CliRunner

from capacity.answer.documents import performance_document, rejection_document
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Reason, Rejection, Verdict
from capacity.question.objective import Measure, Objective
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.queues.markov.mmck import MMcK
from capacity.search.candidates import refuse_loads
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.refusal import refuse_load
from capacity.traffic.workload import Workload
from cli import app
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.service import ExponentialTimes
from simulations.replication import Task, replicate
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length
from simulations.statistics.verdict import Errors, Look, decide, open_limits

pytestmark = pytest.mark.usefixtures("no_headroom")

FIVE_PERCENT = Errors(accept=0.05, refuse=0.05)
PROFILE = ServiceProfile(
    name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=4, mean_s=0.02))
)


def pool_of(lost: int) -> Pool:
    """Twenty sections of 1000 requests, of which some are lost; the rest take 1 ms to 1 s, evenly."""
    served = [(number + 1) / (1000 - lost) for number in range(1000 - lost)]
    return Pool.of([sample_of(served, limits_s=(2.5,), lost=lost)] * 20)


def test_lost_requests_lie_beyond_every_response() -> None:
    """Of 1000 requests 20 are lost: P95 is the 950th of the 980 served, P98 the last, P99 is infinite."""
    pool = pool_of(20)
    assert pool.of_measure(Measure.RESPONSE, 0.95).value == pytest.approx(950 / 980, rel=1e-3)
    assert pool.of_measure(Measure.RESPONSE, 0.98).value == pytest.approx(1.0, rel=1e-3)
    assert pool.of_measure(Measure.RESPONSE, 0.981).value == math.inf
    assert pool.response_quantile(0.95).value == pytest.approx(0.95, rel=2e-3)  # of the served


def test_the_share_of_late_requests_counts_the_lost() -> None:
    """Later than 0.9 s are 98 of the 980 served, and 20 are lost: 118 of 1000."""
    assert pool_of(20).beyond(Measure.RESPONSE, 0.9).value == pytest.approx(0.118, abs=2e-3)
    assert pool_of(20).beyond(Measure.WAIT, 1e9).value == pytest.approx(0.02)


def test_without_a_loss_nothing_changes() -> None:
    pool = pool_of(0)
    assert pool.of_measure(Measure.RESPONSE, 0.99).interval(0.95) == pool.response_quantile(0.99).interval(
        0.95
    )
    performance = batch_performance(pool, load=None, replicas=1, quantiles=(0.99,), confidence=0.95)
    assert performance.response_quantiles_with_losses_s == {}
    assert "response_quantiles_with_losses_s" not in performance_document(performance)


def test_a_document_has_null_where_all_beyond_is_lost() -> None:
    performance = batch_performance(
        pool_of(20), load=None, replicas=1, quantiles=(0.95, 0.99), confidence=0.95
    )
    document = performance_document(performance)
    assert document["response_quantiles_with_losses_s"]["0.99"] is None
    assert document["wait_quantiles_with_losses_s"]["0.99"] is None
    assert (
        document["response_quantiles_with_losses_s"]["0.95"]["value"]
        > document["response_quantiles_s"]["0.95"]["value"]
    )
    json.dumps(document, allow_nan=False)


def test_a_promise_is_found_among_all_requests() -> None:
    """In tables, headlines and verdicts alike: P95 of all, not of the served."""
    performance = batch_performance(pool_of(20), load=None, replicas=1, quantiles=(0.95,), confidence=0.95)
    for objective in (Objective.of(response={0.95: 1.0}), Objective.of(wait={0.95: 1.0})):
        (promise,) = objective.limits
        found = promise.found(performance)
        assert found is not None
        assert found == getattr(performance, promise.measure.with_losses)[0.95]
    assert performance.response_quantiles_with_losses_s[0.95] != performance.response_quantiles_s[0.95]


def test_an_end_among_the_lost_has_no_number() -> None:
    found = Interval(value=0.1, low=0.09, high=math.inf)
    assert found.half_width == found.relative_half_width == math.inf
    performance = Performance(kind=Kind.SIMULATION, response_quantiles_with_losses_s={0.99: found})
    shown = performance_document(performance)["response_quantiles_with_losses_s"]["0.99"]
    assert shown == {"value": 0.1, "low": 0.09, "high": None}


def verdict_of(lost: int, objective: Objective) -> tuple[Verdict, Rejection | None]:
    return decide(Look(pool=pool_of(lost), settled=True, requests=20_000), objective, FIVE_PERCENT)


def test_the_verdict_is_about_lost_or_late() -> None:
    """P95 within 0.96 s: 4 % of the served are later; with 0 % lost it holds, with 2 % it does not."""
    objective = Objective.of(response={0.95: 0.961})
    assert verdict_of(0, objective)[0] is Verdict.MET
    assert verdict_of(20, objective)[0] is Verdict.MISSED


def test_a_quantile_among_the_lost_is_refused_by_their_share() -> None:
    verdict, rejection = verdict_of(20, Objective.of(response={0.99: 100.0}))
    assert verdict is Verdict.MISSED
    assert (rejection.reason, rejection.is_loss) == (Reason.LOSS, True)
    assert (rejection.allowed, rejection.needed) == (pytest.approx(0.01), pytest.approx(0.02))


def test_a_limit_on_the_wait_counts_the_lost_too() -> None:
    verdict, rejection = verdict_of(20, Objective.of(wait={0.99: 100.0}))
    assert verdict is Verdict.MISSED
    assert rejection.reason is Reason.LOSS


def test_an_infinite_refusal_has_no_number_in_json() -> None:
    rejection = Rejection(reason=Reason.LATENCY, allowed=0.1, needed=math.inf)
    assert rejection_document(rejection)["needed"] is None


def test_a_loss_of_which_too_few_were_possible_is_open_and_not_marginal() -> None:
    """0.05 % of 20,000 are 10 losses: none was seen, and that says too little."""
    objective = Objective.of(response={0.99: 2.5}, loss=0.0005)
    (open_one,) = open_limits(pool_of(0), objective, FIVE_PERCENT)
    assert open_one.measure is Measure.LOSS


@pytest.mark.parametrize("rate_rps", [80.0, 110.0])
def test_the_simulator_finds_the_lost_or_late_of_m_m_1_k(rate_rps: float) -> None:
    """P(lost) + P(served) P(T > t | served), of an exact law, lies within the interval of the simulation."""
    law = MMcK(arrival_rate_rps=rate_rps, service_rate_rps=100.0, servers=1, capacity=9)
    limit_s = 0.05
    late = law.loss_probability + (1.0 - law.loss_probability) * law.response_tail(limit_s)
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=1, queue_limit=8)
    length = Length(warm_up=1000, measured=50_000, cool_down=0)
    tasks = [
        Task(
            plan=plan,
            workload=Workload(arrival_rate_rps=rate_rps),
            service_times=ExponentialTimes(0.01),
            request_overhead_s=0.0,
            length=length,
            seed=Seed(value=5, stage=Stage.CERTIFY, replication=number),
            limits_s=(limit_s,),
        )
        for number in range(20)
    ]
    pool = Pool.of(map(replicate, tasks))
    interval = pool.beyond(Measure.RESPONSE, limit_s).interval(0.999)
    assert interval.low <= late <= interval.high
    assert interval.high - interval.low < 0.02
    quantile = 1.0 - late
    assert pool.of_measure(Measure.RESPONSE, quantile).value == pytest.approx(limit_s, rel=0.02)


def proposal_of(rate_rps: float, replicas: int, objective: Objective) -> Scenario:
    plan = BatchPlan(profile="made-up", replicas=replicas, batch_size_max=4, queue_limit=8)
    return Scenario(
        profile=PROFILE, workload=Workload(arrival_rate_rps=rate_rps), plan=plan, objective=objective
    )


def test_losses_beyond_the_strictest_promise_are_refused_at_once() -> None:
    objective = Objective.of(response={0.5: 1.0, 0.99: 1.0}, loss=0.1)
    rejection = refuse_load(proposal_of(250.0, 1, objective))
    assert (rejection.reason, rejection.quantile) == (Reason.LOSS, 0.99)
    assert (rejection.allowed, rejection.needed) == (pytest.approx(0.01), pytest.approx(0.2))
    assert refuse_load(proposal_of(250.0, 2, objective)) is None
    assert refuse_load(proposal_of(250.0, 1, Objective.of(response_mean=1.0))) is None


def test_a_failure_that_leaves_too_few_is_refused_at_once() -> None:
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=250.0),
        objective=Objective.of(response={0.99: 1.0}),
        queue_limit=8,
        survival=Survival(spare=1),
    )
    assert question.space.devices_min(question, question.families[0], 4) == 3
    plan = question.space.plan(question.families[0], 2, 4, 0.0)
    rejection = refuse_loads(question, plan)
    assert (rejection.reason, rejection.event) == (Reason.SURVIVAL, "1 replica gone")


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


T4 = ("--profile", "resnet50-t4-fp16")
FAST = ("--requests-max", "4000000")


def test_plan_does_not_keep_p99_by_losing_requests() -> None:
    """Before: 3 replicas, exit 0, 97.9 % lost."""
    code, answer = run(
        "plan", *T4, "--rate", "3000rps", "--slo-p99", "200ms", "--queue-limit", "10",
        "--batch-wait", "0ms", "--batch-size-max", "16", *FAST,
    )  # fmt: skip
    assert code == 0
    performance = answer["performance"]
    late = performance["response_quantiles_with_losses_s"]["0.99"]
    assert late["high"] <= 0.2
    assert performance["loss_probability"] < 0.01
    assert late["value"] >= performance["response_quantiles_s"]["0.99"]["value"]
    assert answer["recommendation"]["replicas"] >= 3  # at 1059 rps each in batches of 16


@pytest.mark.long
def test_a_loss_limit_that_nothing_breaks_is_met() -> None:
    """Before: exit 4, though 2 replicas lose none in 3.2 million."""
    code, answer = run(
        "plan", *T4, "--rate", "200rps", "--slo-p95", "6ms", "--queue-limit", "50",
        "--loss-max", "0.05%", "--batch-size-max", "4", "--batch-wait", "0ms", "--requests-max", "10000000",
    )  # fmt: skip
    assert (code, answer["recommendation"]["replicas"]) == (0, 2)
    for candidate in answer["considered"]:
        rejection = candidate["rejection"]
        if candidate["verdict"] == "inconclusive" and rejection["limit"] != "budget":
            assert rejection["needed"] > rejection["allowed"]


def test_a_refused_request_of_a_load_test_is_late() -> None:
    """Of 20,000 requests every fiftieth is refused: P95 moves, P98 is the slowest answer, P99 is infinite."""
    from capacity.verification.measured import measured_performance
    from capacity.verification.run import LoadRun, Schedule

    instants_s = np.arange(20_000) / 100.0
    run = LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=200.0),
        warm_up_s=0.0,
        sent_s=instants_s,
        ended_s=instants_s + 0.01 * (1.0 + np.arange(20_000) % 49 / 49.0),
        outcomes=np.where(np.arange(20_000) % 50 == 0, 503, 200),
        replicas=np.zeros(20_000, dtype=np.int64),
    )
    found = measured_performance([run], (0.5, 0.95, 0.99), 0.95)
    assert found.loss_probability == pytest.approx(0.02)
    assert found.response_quantiles_with_losses_s[0.99].value == math.inf
    assert found.response_quantiles_s[0.99].value < 0.02
    assert found.response_quantiles_with_losses_s[0.95].value > found.response_quantiles_s[0.95].value
