"""Documents: answers as JSON, in SI with the unit in the key, without NaN, and the same bytes for the same answer."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from capacity.performance import Interval, Kind, Performance
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve
from capacity.traffic.scale import Scale, scale_of
from capacity.traffic.workload import (
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    SplitArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)

if TYPE_CHECKING:
    from capacity.explanation.binding import Binding
    from capacity.explanation.explanation import Explanation
    from capacity.explanation.savings import Saving
    from capacity.profile.scalability import ScalabilityFit, UniversalScalability
    from capacity.question.candidate import Candidate, LikeIt, Rejection
    from capacity.question.caveat import Caveat
    from capacity.question.comparison import Difference
    from capacity.question.objective import Limit, Objective
    from capacity.question.overload import Saturation
    from capacity.question.plan import Plan
    from capacity.question.question import Question
    from capacity.question.resilience import Outage
    from capacity.queues.curves import Axis, Curve, Quantity
    from capacity.queues.little import LoadTestReport
    from capacity.search.by_hour import Schedule
    from capacity.search.max_rate import Point, Rates
    from capacity.search.recommendation import Change, RandomRouting, Recommendation
    from capacity.traffic.any_lengths import AnyLengths

SCHEMA_VERSION = 1
Document = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """JSON text of a document, schema version first; numbers in full precision."""
    return json.dumps(versioned(document), indent=2, allow_nan=False)


def versioned(document: Mapping[str, Any]) -> Document:
    """A document, schema version first."""
    return {"schema_version": SCHEMA_VERSION, **document}


def plain(value: Any) -> Any:
    """A value as JSON holds it: a noun by its own form below or by its fields; infinity as null."""
    form = _FORMS.get(type(value).__name__)
    if form is not None:
        return form(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return _by_field(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and value in (math.inf, -math.inf) else value


def picked(noun: object, *names: str) -> Document:
    """Some attributes of a noun, by name."""
    return {name: plain(getattr(noun, name)) for name in names}


def simulation_document(
    scenario: Any, performance: Performance, caveats: Iterable["Caveat"], *, seed: int, confidence: float
) -> Document:
    """Document of `capacity simulate`."""
    return {
        "plan": plain(scenario.whole),
        **outage_document(scenario.outage, scenario.plan),
        "workload": requests_document(scenario.workload, scenario.lengths),
        **controller_document(scenario),
        "performance": plain(performance),
        "caveats": caveat_documents(caveats),
        "seed": seed,
        "confidence": confidence,
    }


def outage_document(outage: "Outage | None", left: Any) -> Document:
    """The failure that a fleet is in, and the plan that is left of it; empty with all replicas up."""
    if outage is None:
        return {}
    return {"outage": {**picked(outage, "event", "beyond_share"), "plan": plain(left)}}


def controller_document(scenario: Any) -> Document:
    """The autoscaler of a scenario, and the part of the day over which its figures are; nothing without one."""
    if scenario.autoscaler is None:
        return {}
    day = scenario.workload.day
    return {
        "autoscaler": autoscaler_document(scenario.autoscaler),
        "day": {"name": day.name, "begins_s": day.begins_s, "ends_s": day.ends_s},
    }


def autoscaler_document(scaler: Any) -> Document:
    """Settings of an autoscaler, with its target as it is typed."""
    return {**plain(scaler), "target": str(scaler.target)}


def queue_document(model: str, performance: Performance) -> Document:
    """Document of `capacity queue`, with the law's Kendall name."""
    return {"model": model, **performance_document(performance)}


def scalability_document(
    law: "UniversalScalability", fit: "ScalabilityFit | None", replicas: int | None
) -> Document:
    """Document of `capacity queue usl`; with the uncertainty of the parameters if they were fitted."""
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
            document["intervals"] = plain(known)
        document["relative_error_max"] = {"throughput_rps": fit.relative_error_max}
        document["doubts"] = list(fit.doubts)
    return document


def load_test_document(report: "LoadTestReport") -> Document:
    """Document of `capacity littles-law --users`."""
    required_s = report.required_response_mean_s
    document = picked(report, "users", "think_time_s", "throughput_rps")
    if required_s >= 0.0:
        document["response_mean_required_s"] = required_s
        document["in_system_mean_required"] = report.throughput_rps * required_s
    if report.response_mean_s is not None:
        document["response_mean_s"] = report.response_mean_s
    if report.response_quantiles_s:
        document["response_quantiles_s"] = plain(report.response_quantiles_s)
        document["response_mean_min_s"] = report.response_mean_min_s
        if required_s >= 0.0:
            document["tail_mean_required_s"] = report.tail_mean_needed_s
            document["tail_quantile"] = max(report.response_quantiles_s)
    document |= picked(report, "credible", "reason")
    if not report.credible:
        document["likely_cause"] = report.likely_cause
    return document


def curves_document(quantity: "Quantity", axis: "Axis", curves: Iterable["Curve"]) -> Document:
    """Document of `capacity curve`."""
    return {
        "x": axis.value,
        "y": quantity.value,
        "curves": [picked(curve, "label", "service_rates_rps", "servers", "x", "y") for curve in curves],
    }


def plan_document(plan: "Plan") -> Document:
    """A plan, by its settings."""
    return picked(plan, *plan.kept)


def performance_document(performance: Performance) -> Document:
    """A performance; what it does not have is absent, and so is an unknown error."""
    document: Document = {}
    for field in fields(performance):
        value = getattr(performance, field.name)
        if isinstance(value, Mapping):
            value = {key: _within(x) for key, x in value.items() if x != math.inf} or None
        if value is not None:
            document[field.name] = plain(value)
    return document


def difference_document(difference: "Difference") -> Document:
    """A difference; a measure that the fleets do not have is absent."""
    return {name: value for name, value in _by_field(difference).items() if value not in (None, {})}


def _by_field(noun: Any) -> Document:
    return picked(noun, *(field.name for field in fields(noun)))


def _interval_document(interval: Interval) -> Document:
    """Value and ends; `high` is null if nothing bounds it, and `known_to` then says how far the samples reach."""
    ends = picked(interval, "value", "low", "high")
    return ends if interval.known_to is None else {**ends, "known_to": interval.known_to}


def _key(key: str | float) -> str:
    return key if isinstance(key, str) else repr(key)


def _within(value: Interval | float) -> Interval | float | None:
    """None if the whole interval lies beyond every served request; else the interval."""
    return None if isinstance(value, Interval) and value.value == math.inf else value


def objective_document(objective: "Objective") -> Document:
    """The limits by measure, and by quantile if they have one."""
    document: Document = {}
    for limit in objective.limits:
        if limit.quantile is None:
            document[limit.measure.value] = limit.allowed
        else:
            document.setdefault(limit.measure.value, {})[repr(limit.quantile)] = limit.allowed
    return document


def requests_document(workload: Demand, lengths: "AnyLengths | None") -> Document:
    """A workload, with the lengths of its requests if they have any."""
    return workload_document(workload) | _lengths_of(lengths)


def _lengths_of(lengths: "AnyLengths | None") -> Document:
    return {} if lengths is None else lengths_document(lengths)


def lengths_document(lengths: "AnyLengths") -> Document:
    """Means of the lengths, and the name of their source."""
    from capacity.traffic.any_lengths import are_sessions  # which only language models need

    moments = lengths.moments
    if are_sessions(lengths):
        return {
            "sessions": lengths.typed,
            "turns_mean": lengths.turns_mean,
            "input_tokens_mean": moments.input,
            "output_tokens_mean": moments.output,
        }
    name = {"lengths": lengths.name} if hasattr(lengths, "name") else {}
    return {**name, "input_tokens_mean": moments.input, "output_tokens_mean": moments.output}


def workload_document(workload: Demand) -> Document:
    """The arrival rate and the process by name, or the users and their think time."""
    if isinstance(workload, ClosedPopulation):
        return asdict(workload)
    day = {} if workload.day is None else day_document(workload.day)
    who = {} if workload.clients.is_patient else {"clients": clients_document(workload.clients)}
    return {"arrival_rate_rps": workload.arrival_rate_rps, "arrivals": arrivals_name(workload), **day, **who}


def clients_document(clients: Clients) -> Document:
    """The settings of clients, the failures that they retry in the order of their names."""
    return {**_by_field(clients), "retried": sorted(one.value for one in clients.retried)}


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
        case SplitArrivals(base=base) | SurgingArrivals(base=base) | ModulatedArrivals(bursts=base):
            return arrivals_name(Workload(arrival_rate_rps=workload.arrival_rate_rps, arrivals=base))


def caveat_documents(caveats: Iterable["Caveat"]) -> list[Document]:
    """Code and message of each caveat."""
    return [plain(caveat) for caveat in caveats]


def _caveat_document(caveat: "Caveat") -> Document:
    """Code and message, and whether it is about a profile that the plan does not have."""
    other = {"of_another_profile": True} if caveat.of_another_profile else {}
    return {"code": caveat.code.value, "message": caveat.message} | other


def rejection_document(rejection: "Rejection") -> Document:
    """A rejection with its numbers."""
    document = {"limit": rejection.reason.value, **picked(rejection, "allowed", "needed")}
    if rejection.limit is not None:
        document["measure"] = rejection.limit.measure.value
    return document | {name: x for name, x in picked(rejection, "quantile", "event").items() if x is not None}


def candidate_document(candidate: "Candidate") -> Document:
    """A plan that was considered, and its verdict."""
    return picked(candidate, "plan", "verdict", "settled", "performance", "rejection")


def recommendation_document(
    recommendation: "Recommendation", question: "Question", *, seed: int, confidence: float
) -> Document:
    """Document of `capacity plan`."""
    verdict, headroom = recommendation.verdict, recommendation.headroom
    return {
        "verdict": verdict.value,
        "exit_code": verdict.exit_code,
        **like_it_document(recommendation.like_it),
        "recommendation": plain(recommendation.plan),
        **picked(recommendation, "performance", "objective"),
        "binding": _binding_document(recommendation),
        "workload": requests_document(question.workload, question.space.lengths),
        "headroom": None
        if headroom is None
        else {
            "arrival_rate_max_rps": headroom.accepted_rps,
            "arrival_rate_refused_rps": headroom.refused_rps,
        },
        "random_routing": _random_document(recommendation.random_routing),
        "cost": _cost(recommendation),
        "usd_per_million": recommendation.usd_per_million(question.space) or None,
        "survived": plain(recommendation.survived),
        "without_survival": _without_document(recommendation.without_survival),
        "under_poisson": _without_document(recommendation.under_poisson),
        "alternatives": [_alternative_document(one, question) for one in recommendation.alternatives],
        **({"alternatives_untried": plain(recommendation.untried)} if recommendation.untried else {}),
        "candidates": plain(recommendation.tally),
        "considered": considered_documents(recommendation.considered),
        "caveats": plain(recommendation.caveats),
        "seed": seed,
        "confidence": confidence,
        **(
            saturation_document(recommendation.saturation, recommendation.changes)
            if question.space.lengths is not None
            else {}
        ),
    }


def considered_documents(candidates: "Iterable[Candidate]") -> list[Document]:
    """Fleets that were judged."""
    return [picked(one, "plan", "accepted") | plain(one) for one in candidates]


def saturation_document(saturation: "Saturation | None", changes: "Sequence[Change]") -> Document:
    """What a replica does while requests always wait, and with other settings; only where that is measured."""
    return {"saturation": plain(saturation), "changes": [_setting_document(one) for one in changes]}


def _setting_document(change: "Change") -> Document:
    """What another setting would do."""
    found = picked(change.candidate, "verdict", "performance", "rejection")
    return {"what": change.what, "plan": plain(change.plan), "saturation": plain(change.saturation), **found}


def like_it_document(like_it: "LikeIt | None") -> Document:
    """The verdict for traffic like a recorded trace; empty without a trace."""
    return {} if like_it is None or like_it.verdict is None else {"verdict_like_it": like_it.verdict.value}


def _random_document(routing: "RandomRouting | None") -> Document | None:
    """What random routing needs; the response's P99 as a number and with its interval, and what is limited instead."""
    if routing is None:
        return None
    known, limit = _finite(routing.response_p99), routing.limit
    document = {
        "replicas": routing.replicas,
        "response_p99_s": known and known.value,
        "response_p99": plain(known),
    }
    if limit is None:
        return document | _where_known(response_p99_least_s=routing.least)
    found = {"found": plain(_finite(routing.found)), **_where_known(found_least=routing.least)}
    return document | {"limited": _limit_document(limit) | found}


def _where_known(**known: Any) -> Document:
    """The keys that have a value."""
    return {name: value for name, value in known.items() if value is not None}


def _finite(interval: Interval | None) -> Interval | None:
    return None if interval is None or math.isinf(interval.value) else interval


def _limit_document(limit: "Limit") -> Document:
    """The measure of a limit, its quantile if it has one, and the allowed value."""
    quantile = {} if limit.quantile is None else {"quantile": limit.quantile}
    return picked(limit, "measure", "allowed") | quantile


def _binding_document(recommendation: "Recommendation") -> Document | None:
    """The limit that binds, and the share of it that is used up."""
    if recommendation.performance is None:
        return None
    limit = recommendation.objective.binding(recommendation.performance)
    pressure = limit.pressure(recommendation.performance)
    document = _limit_document(limit)
    if pressure is not None:
        document["share_of_limit"] = plain(pressure)
    return document


def _without_document(recommendation: "Recommendation | None") -> Document | None:
    """The plan that would be enough under easier conditions, its price, and what it does there."""
    if recommendation is None or recommendation.plan is None:
        return None
    found = picked(recommendation, "performance")
    return {"recommendation": plain(recommendation.plan), "cost": _cost(recommendation)} | found


def _cost(recommendation: "Recommendation") -> Document | None:
    return None if recommendation.hourly_usd is None else picked(recommendation, "hourly_usd")


def _alternative_document(candidate: "Candidate", question: "Question") -> Document:
    """A fleet that another choice would take, with its price."""
    usd = question.hourly_usd(candidate.plan)
    found = picked(candidate, "plan", "accepted", "verdict", "rejection", "performance", "settled")
    return found | {"cost": None if usd is None else {"hourly_usd": usd}}


def rates_document(rates: "Rates", *, seed: int, confidence: float) -> Document:
    """The stretches of sizes that meet the objective, and the curve; an end that was not found is null."""
    from capacity.search.max_rate import Point, caveats

    scale, closest = rates.scale, rates.closest
    refusal = closest.rejection if closest is not None and not rates.stretches else None
    measured = _where_known(
        saturation=plain(rates.saturation) if rates.cold_rps is None else None,
        cold_saturation_rps=None if rates.cold_rps is None else rates.cold_rps.value,
        intervals=None if rates.cold_rps is None else {"cold_saturation_rps": plain(rates.cold_rps)},
        warm_saturation_rps=rates.warm_rps,
    )
    return {
        "verdict": rates.verdict.value,
        "exit_code": rates.verdict.exit_code,
        "plan": plain(rates.scenario.whole),
        **outage_document(rates.scenario.outage, rates.scenario.plan),
        **picked(rates.scenario, "objective"),
        "workload": scaled_document(rates.scenario.workload) | _lengths_of(rates.scenario.lengths),
        **measured,
        scale.group: _sizes_document(rates),
        "rejection": plain(refusal),
        "low_rate_limit": None
        if rates.lone is None
        else _point_document(Point(size=0.0, candidate=rates.lone), scale),
        "curve": [_point_document(point, scale) for point in rates.points],
        "caveats": plain(caveats(rates)),
        "seed": seed,
        "confidence": confidence,
    }


def _sizes_document(rates: "Rates") -> Document:
    """The ends of the stretches, and the largest size; of a trace or a day also as a multiple."""
    scale, most = rates.scale, rates.size_max
    low, high = (f"{end}{scale.suffix}" for end in ("low", "high"))
    return {
        "intervals": [{low: plain(one.low), high: plain(one.high)} for one in rates.stretches],
        "in_doubt": [{low: first, high: last} for first, last in rates.doubts],
        scale.most: most,
        **_multiple_document(scale, most, "_max"),
        "taken_to_rise": rates.only_rises,
        **({} if rates.saturation is None else {f"arrival_rate_refused{scale.suffix}": rates.size_open}),
    }


def scaled_document(demand: Demand) -> Document:
    """What stays of a demand that is scaled: how its requests arrive, or how long its users think."""
    if isinstance(demand, ClosedPopulation):
        return {"think_time_s": demand.think_time_s}
    if demand.day is not None:
        return {"arrivals": arrivals_name(demand), **day_document(demand.day)}
    multiple = scale_of(demand).multiple
    known = {} if multiple is None else {"recorded_rate_rps": multiple.once_rps}
    return {"arrivals": arrivals_name(demand), **known}


def day_document(day: DailyCurve) -> Document:
    """The name of a day, its highest rate and its requests."""
    return {"daily": day.name, "peak_rate_rps": day.peak_rate_rps, "requests_per_day": day.requests_per_day}


def _multiple_document(scale: Scale, size: float | None, end: str = "") -> Document:
    """A size as a multiple of a trace or a day, under its key; empty of other demands."""
    multiple = scale.multiple
    return {} if multiple is None else {f"{multiple.key}{end}": None if size is None else scale.times(size)}


def _point_document(point: "Point", scale: Scale) -> Document:
    return {
        scale.key: point.size,
        **_multiple_document(scale, point.size),
        **picked(point.candidate, "verdict", "settled", "performance", "rejection"),
    }


def explanation_document(explanation: "Explanation") -> Document:
    """All numbers of the explanation's sentences; null if unknown."""
    most = explanation.most_sensitive
    return {
        "binding": None if explanation.binding is None else _binding(explanation.binding),
        "one_fewer": plain(explanation.fewer),
        "neighbours": [_change(one) for one in explanation.neighbours],
        "sensitivities": [_change(one) for one in explanation.sensitivities],
        "most_sensitive": None if most is None else most.what,
        "assumptions": plain(explanation.assumptions),
        "savings": [_saving(one) for one in explanation.savings],
        "best_saving": None if explanation.best_saving is None else _saving(explanation.best_saving),
        "requests": explanation.requests,
    }


def _binding(binding: "Binding") -> Document:
    burst, limit = binding.burst, binding.limit
    return {
        "cause": binding.cause.value,
        "measure": limit.measure.value,
        **({} if limit.quantile is None else {"quantile": limit.quantile}),
        "allowed": limit.allowed,
        **picked(binding, "found", "share"),
        "service_floor_s": binding.floor_s,
        "lone_s": binding.lone_s,
        "wait_s": plain(binding.wait),
        "without_batches": plain(binding.unbatched),
        "load_one_fewer": binding.load_fewer,
        "burstiness": None
        if burst is None
        else {**picked(burst, "cv", "dispersion", "window_s", "poisson"), "replicas_poisson": burst.replicas},
    }


def _change(change: "Change") -> Document:
    steps = [] if change.step is None else ["step", "replicas"]
    return picked(change, "what", *steps, "shift") | candidate_document(change.candidate)


def _saving(saving: "Saving") -> Document:
    return {
        **picked(saving, "lever", "share"),
        "share_refused": saving.refused if saving.share is not None else None,
        "hourly_usd": saving.hourly_usd,
        **candidate_document(saving.candidate),
    }


def schedule_document(day: "Schedule") -> Document:
    """`schedule` of `capacity plan --daily`."""
    rows = zip(day.rates_rps, day.replicas, strict=True)
    document: Document = {
        "hours": [
            {"hour": hour, "arrival_rate_rps": rate_rps, "replicas": replicas}
            for hour, (rate_rps, replicas) in enumerate(rows)
        ],
        **picked(day, "replica_hours_flat", "replica_hours_ideal", "share_saved"),
    }
    if day.flags:
        document["flags"] = list(day.flags)
    if day.curve is not None:
        document["day"] = picked(day.curve, "name", "times_s", "rates_rps")
    if day.unkept_rps:
        document["unkept_rates_rps"] = list(day.unkept_rps)
    if day.daily_usd_saved is not None:
        document["daily_usd_saved"] = day.daily_usd_saved
    return document


# Documents of nouns that are not just their fields, by class name, so that no module of theirs is imported here.
_FORMS: dict[str, Callable[[Any], Document]] = {
    "Candidate": candidate_document,
    "Caveat": _caveat_document,
    "Clients": clients_document,
    "ClosedPopulation": workload_document,
    "Difference": difference_document,
    "Interval": _interval_document,
    "Objective": objective_document,
    "Performance": performance_document,
    "BatchPlan": plan_document,
    "Rejection": rejection_document,
    "TokenPlan": plan_document,
    "Workload": workload_document,
}
