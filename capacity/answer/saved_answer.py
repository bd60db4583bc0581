"""Saved answer: what a saved plan says of its search, as the nouns that the search had."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from capacity.answer.saved_plan import SavedPlan, choice, read_plan_document
from capacity.errors import InputError
from capacity.files import Fields, located, number
from capacity.performance import QUANTILE_FIELDS, Interval, Kind, Performance
from capacity.question.candidate import Candidate, Limit, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import LatencyObjective, Measure, Promise
from capacity.search.certificate import Trial
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation
from capacity.traffic.workload import Workload

_NUMBERS = [
    field.name
    for field in fields(Performance)
    if field.name not in (*QUANTILE_FIELDS, "kind", "intervals", "relative_error_max")
]
_INTERVAL_KEYS = ("value", "low", "high")


def read_recommendation(saved: SavedPlan, trial: Trial) -> Recommendation:
    """The recommendation of a saved plan, its numbers those of a certificate that was given again.

    Raises:
        InputError: an answer that another version has written in another form.
    """
    return located(saved.name, lambda: _recommendation(saved, trial))


def _recommendation(saved: SavedPlan, trial: Trial) -> Recommendation:
    answer, objective = saved.answer, saved.question.objective
    return Recommendation(
        verdict=trial.candidate.verdict,
        objective=objective,
        plan=saved.plan,
        performance=trial.whole.performance,
        headroom=_headroom(saved),
        random_routing=_random_routing(answer.get("random_routing")),
        hourly_usd=saved.hourly_usd,
        considered=tuple(
            _candidate(one, f"answer.considered[{place}]", objective)
            for place, one in enumerate(_list(answer, "considered"))
        ),
        caveats=tuple(_caveat(one) for one in _list(answer, "caveats")),
        survived=trial.survived,
        without_survival=_easier(answer.get("without_survival"), "answer.without_survival", objective),
        under_poisson=_easier(answer.get("under_poisson"), "answer.under_poisson", objective),
        certificate=saved.certificate,
    )


def _headroom(saved: SavedPlan) -> Headroom | None:
    workload = saved.question.workload
    found = saved.answer.get("headroom")
    if found is None or not isinstance(workload, Workload):
        return None
    given = _open(found, "answer.headroom")
    return Headroom(
        today_rps=workload.arrival_rate_rps,
        accepted_rps=given.number("arrival_rate_max_rps"),
        refused_rps=given.number("arrival_rate_refused_rps"),
    )


def _random_routing(found: Any) -> RandomRouting | None:
    if found is None:
        return None
    given = _open(found, "answer.random_routing")
    p99 = given.raw("response_p99") if given.has("response_p99") else None
    return RandomRouting(
        replicas=given.whole("replicas") if given.has("replicas") else None,
        response_p99=None if p99 is None else _interval(p99, given.at("response_p99")),
    )


def _easier(found: Any, where: str, objective: LatencyObjective) -> Recommendation | None:
    """What would do under easier conditions."""
    if found is None:
        return None
    given = _open(found, where)
    cost = _open(given.raw("cost"), given.at("cost")) if given.has("cost") else None
    return Recommendation(
        verdict=Verdict.MET,
        objective=objective,
        plan=read_plan_document(given.raw("recommendation"), given.at("recommendation")),
        hourly_usd=None if cost is None else cost.number("hourly_usd"),
    )


def _candidate(found: Any, where: str, objective: LatencyObjective) -> Candidate:
    given = _open(found, where)
    refused, performance = given.has("rejection"), given.has("performance")
    return Candidate(
        plan=read_plan_document(given.raw("plan"), given.at("plan")),
        verdict=choice(Verdict, given.raw("verdict"), given.at("verdict")),
        rejection=_rejection(given.raw("rejection"), given.at("rejection"), objective) if refused else None,
        performance=_performance(given.raw("performance"), given.at("performance")) if performance else None,
        settled=given.raw("settled") is not False,
    )


def _rejection(found: Any, where: str, objective: LatencyObjective) -> Rejection:
    """A refusal; its promise is the one of the objective that it names."""
    given = _open(found, where)
    promise = None
    if given.has("measure"):
        measure = choice(Measure, given.raw("measure"), given.at("measure"))
        quantile = given.number("quantile") if given.has("quantile") else None
        promise = _promise(objective, measure, quantile, given)
    limit = choice(Limit, given.raw("limit"), given.at("limit"))
    return Rejection(
        limit=limit,
        allowed=given.number("allowed"),
        needed=given.number("needed") if given.has("needed") else math.inf,
        promise=promise,
        event=given.text("event") if given.has("event") else None,
        is_loss=limit is Limit.LOSS,
    )


def _promise(objective: LatencyObjective, measure: Measure, quantile: float | None, given: Fields) -> Promise:
    for promise in objective.promises:
        if (promise.measure, promise.quantile) == (measure, quantile):
            return promise
    raise InputError(f"{given.where} names a limit that the objective does not have")


def _performance(found: Any, where: str) -> Performance:
    given = _open(found, where)
    known: dict[str, Any] = {name: given.number(name) for name in _NUMBERS if given.has(name)}
    known |= {name: _quantiles(given, name) for name in QUANTILE_FIELDS if given.has(name)}
    if given.has("intervals"):
        known["intervals"] = _intervals(given)
    return Performance(kind=choice(Kind, given.raw("kind"), given.at("kind")), **known)


def _quantiles(given: Fields, name: str) -> dict[float, Interval]:
    """By quantile; what lies wholly beyond what is served is null, and infinite."""
    try:
        return {float(key): _interval(one, given.at(name)) for key, one in given.mapping(name).items()}
    except ValueError:
        raise InputError(f"{given.at(name)} has a key that is no number") from None


def _intervals(given: Fields) -> dict[str, Interval]:
    where = given.at("intervals")
    return {key: _interval(one, where) for key, one in given.mapping("intervals").items()}


def _interval(found: Any, where: str) -> Interval:
    if found is None:
        return Interval.exact(math.inf)
    given = Fields(found, where, _INTERVAL_KEYS)
    high = given.raw("high")
    return Interval(
        value=given.number("value"),
        low=given.number("low"),
        high=math.inf if high is None else number(high, given.at("high")),
    )


def _caveat(found: Any) -> Caveat:
    given = _open(found, "answer.caveats")
    return Caveat(
        code=choice(CaveatCode, given.raw("code"), given.at("code")), message=str(given.raw("message"))
    )


def _list(answer: Mapping[str, Any], key: str) -> list[Any]:
    return Fields(answer, "answer", answer).items(key)


def _open(found: Any, where: str) -> Fields:
    """An object with whatever keys: a newer version may have more."""
    return Fields(found, where, found if isinstance(found, dict) else ())
