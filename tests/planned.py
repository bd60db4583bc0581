"""Plans that were never searched for: what a saved file would hold, with made-up numbers, and one of engines."""

import json
from collections.abc import Mapping
from typing import Any

from questions import batch_question

from capacity.answer.documents import dumps, recommendation_document
from capacity.answer.documents import plan_document as plan_settings
from capacity.answer.saved_plan import SavedPlan, plan_file_document, read_plan_file_document
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.render.deploy.fleet import Fleet, read_fleet
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.workload import Demand, Workload

FOUND = Performance(
    kind=Kind.SIMULATION,
    batch_size_mean=4.0,
    response_mean_s=0.010,
    response_quantiles_s={0.99: Interval(value=0.020, low=0.019, high=0.021)},
)

# Three engines of the profile kept/files/line.json, and what they are to meet.
ENGINES = TokenPlan(profile="line", replicas=3, sequences_max=16, batched_tokens_max=512)
TOKEN_LIMITS = Objective.of(ttft={0.99: 0.5}, tpot_mean=0.01)


def file_document(
    found: Recommendation, question: Question, effort: Effort, others: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Content of the saved plan of a recommendation, with further parts of the answer."""
    document = recommendation_document(found, question, seed=effort.seed, confidence=effort.confidence)
    return plan_file_document(question, effort, found.certificate, document | dict(others or {}))


def plan_document(
    *,
    replicas: int = 5,
    batch_size_max: int = 16,
    batch_wait_max_s: float = 0.005,
    queue_limit: int | None = 64,
    outstanding_max: int | None = None,
    routing: Routing = Routing.ROUND_ROBIN,
    batching: Batching = Batching.TRITON,
    preferred_sizes: tuple[int, ...] = (),
    workload: Demand | None = None,
    objective: Objective | None = None,
    headroom_rps: float | None = 1280.0,
    survival: Survival | None = None,
    found: Performance = FOUND,
    recovery: dict[str, Any] | None = None,
    autoscaled: dict[str, Any] | None = None,
    **profile: Any,
) -> dict[str, Any]:
    """What the file of a plan holds; 5 replicas at 1000 rps, P99 within 50 ms, unless told otherwise."""
    usual = {
        "name": "resnet50",
        "kind": "gpu",
        "timings": [BatchTiming(batch_size=n, mean_s=0.01) for n in (1, 64)],
    }
    workload = workload or Workload(arrival_rate_rps=1000.0)
    objective = objective or Objective.of(response={0.99: 0.050})
    made = ServiceProfile(**{**usual, "timings": tuple(usual["timings"]), **profile})
    question = batch_question(
        profiles=(made,), workload=workload, objective=objective, routings=(routing,), batching=batching,
        queue_limit=queue_limit, survival=survival or Survival(), preferred_sizes=preferred_sizes,
        outstanding_max=outstanding_max,
    )  # fmt: skip
    plan = BatchPlan(
        profile=made.name, replicas=replicas, batch_size_max=batch_size_max, batch_wait_max_s=batch_wait_max_s,
        queue_limit=queue_limit, routing=routing, batching=batching, preferred_sizes=preferred_sizes,
        outstanding_max=outstanding_max,
    )  # fmt: skip
    rate_rps = getattr(workload, "arrival_rate_rps", None)
    known = headroom_rps is not None and rate_rps is not None
    answer = Recommendation(
        verdict=Verdict.MET, objective=objective, plan=plan, performance=found,
        headroom=Headroom(today_rps=rate_rps, accepted_rps=headroom_rps, refused_rps=1.1 * headroom_rps) if known else None,
    )  # fmt: skip
    others = {} if recovery is None else {"recovery": recovery}
    if autoscaled is not None:
        most = {"replicas": autoscaled["autoscaler"]["replicas_max"]}
        others["autoscaled"] = autoscaled | {"plan": plan_settings(plan) | most}
    document: dict[str, Any] = json.loads(dumps(file_document(answer, question, Effort(seed=5), others)))
    return document


# What clients do, as a saved plan has it: three attempts of 500 ms at once, without a retry budget.
CLIENTS: dict[str, Any] = {"timeout_s": 0.5, "attempts": 3, "retried": ["crashed", "rejected", "timed_out"]}


def recovery(setting: str | None = None, flags: tuple[str, ...] = (), **clients: Any) -> dict[str, Any]:
    """What a saved plan that recovers says of it."""
    return {"chosen": {}, "setting": setting, "flags": flags, "clients": CLIENTS | clients}


def autoscaled(target: str = "utilization:0.65", verdict: str = "met", **scaler: Any) -> dict[str, Any]:
    """What a saved plan says of the autoscaler that was chosen for a day."""
    usual = {
        "target": target, "replicas_min": 2, "replicas_max": 7, "startup_s": 90.0, "metric_lag_s": 30.0,
        "tolerance": 0.1, "stabilization_s": 240.0,
    }  # fmt: skip
    return {
        "verdict": verdict,
        "autoscaler": usual | scaler,
        "day": {"name": "day.csv", "times_s": [0.0, 43_200.0], "rates_rps": [300.0, 1000.0]},
        "flags": ["--daily", "day.csv", "--autoscale", "any"],
    }


def saved_plan(**given: Any) -> SavedPlan:
    """The same, read again."""
    return read_plan_file_document(plan_document(**given), "plan.json")


def fleet(**given: Any) -> Fleet:
    """The same, as targets have it."""
    return read_fleet(saved_plan(**given))
