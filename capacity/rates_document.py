"""Rates as a document: what `capacity max-rate --json` prints."""

import math

from capacity.performance import Interval
from capacity.rates import Point, Rates
from capacity.rates_text import caveats
from capacity.report import (
    Document,
    arrivals_name,
    caveat_documents,
    objective_document,
    performance_document,
    plan_document,
    rejection_document,
)
from capacity.workload import Workload


def rates_document(rates: Rates, *, seed: int, confidence: float) -> Document:
    """The stretches of rates that are kept, and the curve; an end that was not found is null."""
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
                {"low_rps": _interval(one.low), "high_rps": _interval(one.high)} for one in rates.stretches
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


def _point_document(point: Point) -> Document:
    performance, rejection = point.candidate.performance, point.candidate.rejection
    return {
        "arrival_rate_rps": point.arrival_rate_rps,
        "verdict": point.verdict.value,
        "settled": point.candidate.settled,
        "performance": None if performance is None else performance_document(performance),
        "rejection": None if rejection is None else rejection_document(rejection),
    }


def _interval(end: Interval) -> Document:
    return {"value": end.value, "low": end.low, "high": None if end.high == math.inf else end.high}
