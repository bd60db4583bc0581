"""Documents: answers as JSON; SI with the unit in the key, no NaN, same answer same bytes."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from capacity.performance import Interval, Kind, Performance
from capacity.question.plan import BatchTimer, Plan
from capacity.traffic.workload import (
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)

if TYPE_CHECKING:
    from capacity.explanation.binding import Binding
    from capacity.explanation.explanation import Explanation
    from capacity.explanation.savings import Saving
    from capacity.explanation.sensitivity import Change
    from capacity.profile.profile import ServiceProfile
    from capacity.profile.scalability import ScalabilityFit, UniversalScalability
    from capacity.question.candidate import Candidate, Rejection
    from capacity.question.caveat import Caveat
    from capacity.question.objective import LatencyObjective
    from capacity.question.question import Question
    from capacity.queues.curves import Axis, Curve, Quantity
    from capacity.queues.little import LittlesLaw, LoadTestReport
    from capacity.search.by_hour import Schedule
    from capacity.search.rates import Point, Rates
    from capacity.search.recommendation import Headroom, RandomRouting, Recommendation, Survived

SCHEMA_VERSION = 1
Document = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """JSON text of a document, led by its schema version; numbers in full precision."""
    return json.dumps(versioned(document), indent=2, allow_nan=False)


def versioned(document: Mapping[str, Any]) -> Document:
    """A document, led by the version of its schema."""
    return {"schema_version": SCHEMA_VERSION, **document}


def simulation_document(
    plan: Plan,
    workload: Demand,
    performance: Performance,
    caveats: Iterable["Caveat"],
    *,
    seed: int,
    confidence: float,
) -> Document:
    """`capacity simulate`."""
    return {
        "plan": plan_document(plan),
        "workload": workload_document(workload),
        "performance": performance_document(performance),
        "caveats": caveat_documents(caveats),
        "seed": seed,
        "confidence": confidence,
    }


def queue_document(model: str, performance: Performance) -> Document:
    """`capacity queue`, by Kendall's name."""
    return {"model": model, **performance_document(performance)}


def little_document(law: "LittlesLaw") -> Document:
    """`capacity littles-law` of any two."""
    return {
        "arrival_rate_rps": law.arrival_rate_rps,
        "response_mean_s": law.response_mean_s,
        "in_system_mean": law.in_system_mean,
    }


def scalability_document(
    law: "UniversalScalability", fit: "ScalabilityFit | None", replicas: int | None
) -> Document:
    """`capacity queue usl`; how sure the parameters are where they were fitted."""
    document: Document = {
        "model": "USL",
        "kind": str(Kind.EXACT if fit is None else Kind.APPROXIMATION),
        "throughput_one_rps": law.throughput_one_rps,
        "sigma": law.sigma,
        "kappa": law.kappa,
    }
    if law.peak is not None:
        document |= {"replicas_peak": law.peak, "replicas_peak_real": law.peak_size}
    if math.isfinite(law.throughput_max_rps):
        document["throughput_max_rps"] = law.throughput_max_rps
    if replicas is not None:
        document["replicas"] = replicas
        document["throughput_rps"] = (law if fit is None else fit).throughput_rps(replicas)
        document["efficiency"] = law.efficiency(replicas)
    if fit is not None:
        known = {name: x for name, x in fit.intervals.items() if math.isfinite(fit.standard_errors[name])}
        if known:  # not where as many parameters as points were fitted
            document["intervals"] = {name: interval_document(x) for name, x in known.items()}
        document["relative_error_max"] = {"throughput_rps": fit.relative_error_max}
        document["doubts"] = list(fit.doubts)
    return document


def load_test_document(report: "LoadTestReport") -> Document:
    """`capacity littles-law --users`."""
    required_s = report.required_response_mean_s
    document: Document = {
        "users": report.users,
        "think_time_s": report.think_time_s,
        "throughput_rps": report.throughput_rps,
    }
    if required_s >= 0.0:
        document["response_mean_required_s"] = required_s
        document["in_system_mean_required"] = report.throughput_rps * required_s
    if report.response_mean_s is not None:
        document["response_mean_s"] = report.response_mean_s
    if report.response_quantiles_s:
        document["response_quantiles_s"] = {repr(q): x for q, x in report.response_quantiles_s.items()}
        document["response_mean_min_s"] = report.response_mean_min_s
        if required_s >= 0.0:
            document["tail_mean_required_s"] = report.tail_mean_needed_s
            document["tail_quantile"] = max(report.response_quantiles_s)
    document |= {"credible": report.credible, "reason": report.reason}
    if not report.credible:
        document["likely_cause"] = "the load generator was saturated, or some of the users were idle"
    return document


def curves_document(quantity: "Quantity", axis: "Axis", curves: Iterable["Curve"]) -> Document:
    """`capacity curve`."""
    return {
        "x": axis.value,
        "y": quantity.value,
        "curves": [
            {
                "label": curve.label,
                "service_rates_rps": list(curve.service_rates_rps),
                "servers": curve.servers,
                "x": list(curve.x),
                "y": list(curve.y),
            }
            for curve in curves
        ],
    }


def plan_document(plan: Plan) -> Document:
    """A plan; a timer and a queue limit where they are not the usual ones."""
    return {
        "profile": plan.profile,
        "replicas": plan.replicas,
        "batch_size_max": plan.batch_size_max,
        "batch_wait_max_s": plan.batch_wait_max_s,
        "routing": plan.routing.value,
        **({"timer": plan.timer.value} if plan.timer is not BatchTimer.OLDEST else {}),
        **({"queue_limit": plan.queue_limit} if plan.queue_limit is not None else {}),
    }


def performance_document(performance: Performance) -> Document:
    """A performance; what it does not have is absent, and so is an error that nobody knows."""
    document: Document = {}
    for field in fields(performance):
        value = getattr(performance, field.name)
        if isinstance(value, Mapping):
            known = {_key(key): _plain(x) for key, x in value.items() if x != math.inf}
            if known:
                document[field.name] = known
        elif value is not None:
            document[field.name] = str(value) if field.name == "kind" else value
    return document


def _key(key: str | float) -> str:
    return key if isinstance(key, str) else repr(key)


def _plain(value: Interval | float) -> Document | float | None:
    """A number; an interval as its ends; nothing where all of it lies beyond what is ever served."""
    if isinstance(value, Interval):
        return None if value.value == math.inf else interval_document(value)
    return value


def objective_document(objective: "LatencyObjective") -> Document:
    """The limits by measure, and by quantile where it has them."""
    document: Document = {}
    for promise in objective.promises:
        if promise.quantile is None:
            document[promise.measure.value] = promise.allowed
        else:
            document.setdefault(promise.measure.value, {})[repr(promise.quantile)] = promise.allowed
    return document


def workload_document(workload: Demand) -> Document:
    """The arrival rate, and the process by name; or the users and their think time."""
    if isinstance(workload, ClosedPopulation):
        return {"users": workload.users, "think_time_s": workload.think_time_s}
    return {"arrival_rate_rps": workload.arrival_rate_rps, "arrivals": arrivals_name(workload)}


def arrivals_name(workload: Workload) -> str:
    """The arrival process as it is typed."""
    match workload.arrivals:
        case PoissonArrivals():
            return "poisson"
        case DeterministicArrivals():
            return "deterministic"
        case GammaArrivals(cv=cv):
            return f"gamma:cv={cv:g}"
        case MmppArrivals(ratio=ratio, burst_mean_s=burst_s, calm_mean_s=calm_s):
            return f"mmpp:ratio={ratio:g},burst={burst_s:g}s,calm={calm_s:g}s"
        case TraceArrivals(name=name):
            return f"trace:{name}"
        case SurgingArrivals(base=base):
            return arrivals_name(Workload(arrival_rate_rps=workload.arrival_rate_rps, arrivals=base))


def profile_document(profile: "ServiceProfile") -> Document:
    """A profile as a row of `capacity profiles`."""
    from capacity.search.caveats import plausibility_caveats

    return {
        "name": profile.name,
        "model": profile.model,
        "device": profile.device,
        "kind": profile.kind,
        "precision": profile.precision,
        "runtime": profile.runtime,
        "batch_sizes": list(profile.batch_sizes),
        "service_mean_s": [profile.service_mean_s(size) for size in profile.batch_sizes],
        "throughput_rps": [profile.throughput_rps(size) for size in profile.batch_sizes],
        "knee_batch_size": profile.knee_batch_size,
        "spells": None if profile.spells is None else asdict(profile.spells),
        "batch_work_s": profile.batch_work_s,
        "request_work_s": profile.request_work_s,
        "wake_s": profile.wake_s,
        "request_overhead_s": profile.request_overhead_s,
        "hourly_usd": profile.hourly_usd,
        "source": dict(profile.source),
        "caveats": caveat_documents(plausibility_caveats(profile, 0.99)),
    }


def caveat_documents(caveats: Iterable["Caveat"]) -> list[Document]:
    """Code and message of each."""
    return [{"code": caveat.code.value, "message": caveat.message} for caveat in caveats]


def rejection_document(rejection: "Rejection") -> Document:
    """What refused a plan, with its numbers."""
    document: Document = {
        "limit": rejection.limit.value,
        "allowed": rejection.allowed,
        "needed": rejection.needed if math.isfinite(rejection.needed) else None,
    }
    if rejection.promise is not None:
        document["measure"] = rejection.promise.measure.value
    if rejection.quantile is not None:
        document["quantile"] = rejection.quantile
    if rejection.event is not None:
        document["event"] = rejection.event
    return document


def interval_document(interval: Interval) -> Document:
    """A value with its ends; none above where there is none."""
    high = None if interval.high == math.inf else interval.high
    return {"value": interval.value, "low": interval.low, "high": high}


def recommendation_document(
    recommendation: "Recommendation", question: "Question", *, seed: int, confidence: float
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


def survived_documents(survived: Iterable["Survived"]) -> list[Document]:
    """What was outlived, and what was left meanwhile."""
    return [
        {
            "event": one.event,
            "plan": plan_document(one.plan),
            "performance": performance_document(one.performance),
        }
        for one in survived
    ]


def _headroom_document(headroom: "Headroom | None") -> Document | None:
    """Both ends of what is known: the largest rate accepted, and the smallest above it refused."""
    if headroom is None:
        return None
    return {
        "arrival_rate_max_rps": headroom.accepted_rps,
        "arrival_rate_refused_rps": headroom.refused_rps,
    }


def _random_document(routing: "RandomRouting | None") -> Document | None:
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


def _binding_document(recommendation: "Recommendation") -> Document | None:
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


def _without_document(recommendation: "Recommendation | None") -> Document | None:
    """What would do under easier conditions, and its price."""
    if recommendation is None or recommendation.plan is None:
        return None
    return {
        "recommendation": plan_document(recommendation.plan),
        "cost": _one_if_any("hourly_usd", recommendation.hourly_usd),
    }


def _candidate_document(candidate: "Candidate") -> Document:
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


def rates_document(rates: "Rates", *, seed: int, confidence: float) -> Document:
    """The stretches of rates that are kept, and the curve; an end that was not found is null."""
    from capacity.search.rates import Point, caveats

    workload, closest = rates.scenario.workload, rates.closest
    refusal = closest.rejection if closest is not None and not rates.stretches else None
    assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
    return {
        "verdict": rates.verdict.value,
        "exit_code": rates.verdict.exit_code,
        "plan": plan_document(rates.scenario.plan),
        "objective": objective_document(rates.scenario.objective),
        "workload": {"arrivals": arrivals_name(workload)},
        "rates": {
            "intervals": [
                {"low_rps": _rate_interval(one.low), "high_rps": _rate_interval(one.high)}
                for one in rates.stretches
            ],
            "in_doubt": [{"low_rps": low_rps, "high_rps": high_rps} for low_rps, high_rps in rates.doubts],
            "arrival_rate_max_rps": rates.arrival_rate_max_rps,
            "taken_to_rise": rates.only_rises,
        },
        "rejection": None if refusal is None else rejection_document(refusal),
        "low_rate_limit": None
        if rates.lone is None
        else _point_document(Point(arrival_rate_rps=0.0, candidate=rates.lone)),
        "curve": [_point_document(point) for point in rates.points],
        "caveats": caveat_documents(caveats(rates)),
        "seed": seed,
        "confidence": confidence,
    }


def _point_document(point: "Point") -> Document:
    performance, rejection = point.candidate.performance, point.candidate.rejection
    return {
        "arrival_rate_rps": point.arrival_rate_rps,
        "verdict": point.verdict.value,
        "settled": point.candidate.settled,
        "performance": None if performance is None else performance_document(performance),
        "rejection": None if rejection is None else rejection_document(rejection),
    }


def _rate_interval(end: Interval) -> Document:
    return {"value": end.value, "low": end.low, "high": None if end.high == math.inf else end.high}


def explanation_document(explanation: "Explanation") -> Document:
    """Everything that the sentences tell, as numbers; what is not known is null."""
    most = explanation.most_sensitive
    best = explanation.best_saving
    return {
        "binding": None if explanation.binding is None else _binding(explanation.binding),
        "one_fewer": [_candidate(one) for one in explanation.fewer],
        "neighbours": [_change(one) for one in explanation.neighbours],
        "sensitivities": [_change(one) for one in explanation.sensitivities],
        "most_sensitive": None if most is None else most.what,
        "assumptions": [
            {"what": one.what, "checked": one.checked, "how": one.how} for one in explanation.assumptions
        ],
        "savings": [_saving(one) for one in explanation.savings],
        "best_saving": None if best is None else _saving(best),
        "requests": explanation.requests,
    }


def _binding(binding: "Binding") -> Document:
    burst = binding.burst
    return {
        "cause": binding.cause.value,
        "measure": binding.promise.measure.value,
        **({} if binding.promise.quantile is None else {"quantile": binding.promise.quantile}),
        "allowed": binding.promise.allowed,
        "found": _reason_interval(binding.found),
        "share": binding.share,
        "service_floor_s": binding.floor_s,
        "lone_s": binding.lone_s,
        "wait_s": None if binding.wait is None else _reason_interval(binding.wait),
        "without_batches": None if binding.unbatched is None else _candidate(binding.unbatched),
        "load_one_fewer": binding.load_fewer,
        "burstiness": None
        if burst is None
        else {
            "cv": burst.cv,
            "dispersion": burst.dispersion,
            "window_s": burst.window_s,
            "poisson": _candidate(burst.poisson),
            "replicas_poisson": burst.replicas,
        },
    }


def _change(change: "Change") -> Document:
    unstable = change.shift == math.inf
    return {
        "what": change.what,
        **({} if change.step is None else {"step": change.step, "replicas": change.replicas}),
        "shift": None if unstable else change.shift,
        **_candidate(change.candidate),
    }


def _saving(saving: "Saving") -> Document:
    return {
        "lever": saving.lever.value,
        "share": saving.share,
        "share_refused": saving.refused if saving.share is not None else None,
        "hourly_usd": saving.hourly_usd,
        **_candidate(saving.candidate),
    }


def _candidate(candidate: "Candidate") -> Document:
    performance, rejection = candidate.performance, candidate.rejection
    return {
        "plan": plan_document(candidate.plan),
        "verdict": candidate.verdict.value,
        "settled": candidate.settled,
        "performance": None if performance is None else performance_document(performance),
        "rejection": None if rejection is None else rejection_document(rejection),
    }


def _reason_interval(interval: Interval) -> Document:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def schedule_document(day: "Schedule") -> Document:
    """`schedule` of `capacity plan --daily`."""
    rows = zip(day.rates_rps, day.replicas, strict=True)
    document: Document = {
        "hours": [
            {"hour": hour, "arrival_rate_rps": rate_rps, "replicas": replicas}
            for hour, (rate_rps, replicas) in enumerate(rows)
        ],
        "replica_hours_flat": day.replica_hours_flat,
        "replica_hours_ideal": day.replica_hours_ideal,
        "share_saved": day.share_saved,
    }
    if day.unkept_rps:
        document["unkept_rates_rps"] = list(day.unkept_rps)
    if day.daily_usd_saved is not None:
        document["daily_usd_saved"] = day.daily_usd_saved
    return document
