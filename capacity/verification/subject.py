"""Subject: the plan to verify, from a file or from flags, and the addresses of its servers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.files import printable, read_text
from capacity.json_text import parse_object
from capacity.measurement.http import Address, parse_address
from capacity.profile.profile import ServiceProfile
from capacity.question.objective import Measure, Objective
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ArrivalProcess, ClosedPopulation, Workload
from capacity.units import format_quantile
from capacity.verification.quantities import QUANTILES

BODY_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A plan under its workload, with its objective."""

    profile: ServiceProfile
    workload: Workload
    plan: BatchPlan
    objective: Objective | None = None  # None where nothing was limited
    # mean and quantiles that the plan itself was made with, by title; none where they are not known, or of
    # other arrivals
    planned_s: Mapping[str, float] = field(default_factory=dict)


def saved_subject(saved: SavedPlan, arrivals: ArrivalProcess | None, rate_rps: float | None) -> Subject:
    """A saved plan, with another rate or other arrivals if they are given.

    Raises InputError: the file holds no plan, or one for a closed population.
    """
    question = saved.question
    demand = question.workload
    if isinstance(demand, ClosedPopulation):
        raise InputError(
            f"{saved.name} was planned for users in a closed loop, but this load test is an open loop; "
            "plan for a --rate"
        )
    workload = Workload(
        arrival_rate_rps=demand.arrival_rate_rps if rate_rps is None else rate_rps,
        arrivals=demand.arrivals if arrivals is None else arrivals,
    )
    return Subject(
        profile=question.profile(saved.plan.profile),
        workload=workload,
        plan=saved.plan,
        objective=question.objective,
        planned_s=_planned_s(saved.answer, question.objective) if workload == demand else {},
    )


def _planned_s(answer: Mapping[str, Any], objective: Objective) -> dict[str, float]:
    """Mean and quantiles of responses in an answer of `capacity plan`."""
    performance = answer.get("performance")
    if not isinstance(performance, Mapping):
        return {}
    found = {"mean": performance.get("response_mean_s")}
    quantiles = performance.get("response_quantiles_s")
    for quantile in sorted({*QUANTILES, *objective.by_quantile(Measure.RESPONSE)}):
        interval = quantiles.get(repr(quantile)) if isinstance(quantiles, Mapping) else None
        if isinstance(interval, Mapping):
            found[format_quantile(quantile)] = interval.get("value")
    return {title: value for title, value in found.items() if isinstance(value, float)}


def check_urls(urls: Sequence[str], plan: BatchPlan) -> tuple[str, ...]:
    """The urls of the replicas, or that of the balancer in front of them; notes for the reader.

    Raises InputError: another number of urls than replicas.
    """
    if len(urls) not in (1, plan.replicas):
        raise InputError(
            f"{len(urls)} urls for {plan.replicas} replicas; give --url once for each, or once for the "
            "balancer in front of them"
        )
    if len(set(urls)) < len(urls):
        raise InputError("one --url is given twice; each replica needs its own")
    if len(urls) == plan.replicas:
        return ()
    return (
        f"the server behind the one url is assumed to route by {plan.routing} to {plan.replicas} replicas",
    )


def metrics_addresses(
    given: Sequence[str], urls: Sequence[str], plan: BatchPlan
) -> tuple[tuple[Address, ...], str | None]:
    """Addresses of each replica's metrics, and a note if there are none.

    Raises InputError: not as many as replicas.
    """
    if list(given) == ["none"]:
        return (), "mean batch and utilization were not requested (--metrics none)"
    if not given and len(urls) < plan.replicas:
        return (), "mean batch and utilization are not known; give --metrics of each replica"
    if not given:
        return tuple(replace(parse_address(url, "--url"), target="/metrics") for url in urls), None
    if len(given) != plan.replicas:
        raise InputError(
            f"{len(given)} --metrics for {plan.replicas} replicas; give one for each, or none at all"
        )
    return tuple(parse_address(text, "--metrics") for text in given), None


def read_request_body(path: Path) -> bytes:
    """The request in a file, without its blanks; it must have one row, since the model counts rows.

    Raises InputError: no file, no JSON object, or one with several rows.
    """
    shown = printable(path.name)
    document = parse_object(read_text(path, BODY_BYTES_MAX), shown, "a request is a JSON object")
    rows = document.get("instances")
    if isinstance(rows, list) and len(rows) != 1:
        raise InputError(
            f"{shown} has {len(rows)} instances; predictions are for requests of one row: keep one"
        )
    return json.dumps(document, separators=(",", ":")).encode()
