"""Plan report: a recommendation as a JSON document."""

import math
from collections.abc import Iterable

from capacity.performance import Performance
from capacity.plan import Candidate, Headroom, RandomRouting, Recommendation, Survived
from capacity.question import Question
from capacity.report import (
    Document,
    caveat_documents,
    interval_document,
    objective_document,
    performance_document,
    plan_document,
    rejection_document,
    workload_document,
)


def recommendation_document(
    recommendation: Recommendation, question: Question, *, seed: int, confidence: float
) -> Document:
    """`capacity plan`."""
    verdict = recommendation.verdict
    return {
        "verdict": verdict.value,
        "exit_code": verdict.exit_code,
        "recommendation": plan_document(recommendation.plan) if recommendation.plan else None,
        "performance": _optional_performance(recommendation.performance),
        "objective": objective_document(recommendation.objective),
        "binding": _binding_document(recommendation),
        "workload": workload_document(question.workload),
        "headroom": _headroom_document(recommendation.headroom),
        "random_routing": _random_document(recommendation.random_routing),
        "cost": _one_if_any("hourly_usd", recommendation.hourly_usd),
        "survived": survived_documents(recommendation.survived),
        "without_survival": _without_document(recommendation.without_survival),
        "under_poisson": _without_document(recommendation.under_poisson),
        "candidates": {
            "screened": recommendation.tally.screened,
            "simulated": recommendation.tally.simulated,
            "certified": recommendation.tally.certified,
            "requests": recommendation.tally.requests,
        },
        "considered": [_candidate_document(candidate) for candidate in recommendation.considered],
        "caveats": caveat_documents(recommendation.caveats),
        "seed": seed,
        "confidence": confidence,
    }


def survived_documents(survived: Iterable[Survived]) -> list[Document]:
    """What was outlived, and what was left meanwhile."""
    return [
        {
            "event": one.event,
            "plan": plan_document(one.plan),
            "performance": performance_document(one.performance),
        }
        for one in survived
    ]


def _headroom_document(headroom: Headroom | None) -> Document | None:
    """Both ends of what is known: the largest rate accepted, and the smallest above it refused."""
    if headroom is None:
        return None
    return {
        "arrival_rate_max_rps": headroom.accepted_rps,
        "arrival_rate_refused_rps": headroom.refused_rps,
    }


def _random_document(routing: RandomRouting | None) -> Document | None:
    """What random routing would take; its P99 as a number, and with its interval."""
    if routing is None:
        return None
    p99 = routing.response_p99
    is_known = p99 is not None and math.isfinite(p99.value)
    return {
        "replicas": routing.replicas,
        "response_p99_s": p99.value if p99 is not None and is_known else None,
        "response_p99": interval_document(p99) if p99 is not None and is_known else None,
    }


def _binding_document(recommendation: Recommendation) -> Document | None:
    """The promise that comes closest to its limit, and what share of that it takes up."""
    if recommendation.performance is None:
        return None
    promise = recommendation.objective.binding(recommendation.performance)
    pressure = promise.pressure(recommendation.performance)
    document: Document = {"measure": promise.measure.value, "allowed": promise.allowed}
    if promise.quantile is not None:
        document["quantile"] = promise.quantile
    if pressure is not None:
        document["share_of_limit"] = interval_document(pressure)
    return document


def _without_document(recommendation: Recommendation | None) -> Document | None:
    """What would do under easier conditions, and its price."""
    if recommendation is None or recommendation.plan is None:
        return None
    return {
        "recommendation": plan_document(recommendation.plan),
        "cost": _one_if_any("hourly_usd", recommendation.hourly_usd),
    }


def _candidate_document(candidate: Candidate) -> Document:
    return {
        "plan": plan_document(candidate.plan),
        "accepted": candidate.accepted,
        "verdict": candidate.verdict.value,
        "settled": candidate.settled,
        "performance": _optional_performance(candidate.performance),
        "rejection": rejection_document(candidate.rejection) if candidate.rejection else None,
    }


def _optional_performance(performance: Performance | None) -> Document | None:
    return None if performance is None else performance_document(performance)


def _one_if_any(key: str, value: float | None) -> Document | None:
    return None if value is None else {key: value}
