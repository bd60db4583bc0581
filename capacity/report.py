"""Report: answers as JSON documents; SI with the unit in the key, no NaN, same answer same bytes."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from capacity.caveats import Caveat, plausibility_caveats
from capacity.curves import Axis, Curve, Quantity
from capacity.objective import LatencyObjective
from capacity.performance import Interval, Kind, Performance
from capacity.plan import BatchTimer, Plan, Rejection
from capacity.profile import ServiceProfile
from capacity.queues.little import LittlesLaw, LoadTestReport
from capacity.queues.scalability import UniversalScalability
from capacity.workload import (
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
    from capacity.queues.scalability_fit import ScalabilityFit  # numpy, for those alone who fit

SCHEMA_VERSION = 1
Document = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """JSON text of a document, led by its schema version; numbers in full precision."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, allow_nan=False)


def simulation_document(
    plan: Plan,
    workload: Demand,
    performance: Performance,
    caveats: Iterable[Caveat],
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


def little_document(law: LittlesLaw) -> Document:
    """`capacity littles-law` of any two."""
    return {
        "arrival_rate_rps": law.arrival_rate_rps,
        "response_mean_s": law.response_mean_s,
        "in_system_mean": law.in_system_mean,
    }


def scalability_document(
    law: UniversalScalability, fit: "ScalabilityFit | None", replicas: int | None
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


def load_test_document(report: LoadTestReport) -> Document:
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


def curves_document(quantity: Quantity, axis: Axis, curves: Iterable[Curve]) -> Document:
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


def objective_document(objective: LatencyObjective) -> Document:
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


def profile_document(profile: ServiceProfile) -> Document:
    """A profile as a row of `capacity profiles`."""
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


def caveat_documents(caveats: Iterable[Caveat]) -> list[Document]:
    """Code and message of each."""
    return [{"code": caveat.code.value, "message": caveat.message} for caveat in caveats]


def rejection_document(rejection: Rejection) -> Document:
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
