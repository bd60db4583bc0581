"""Subject: the plan to verify, from a file or from flags, and the addresses of its servers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capacity.answer.plan_like import as_saved
from capacity.answer.saved_plan import SavedPlan, read_plan_file
from capacity.errors import InputError
from capacity.files import printable, read_text
from capacity.json_text import parse_object
from capacity.measurement.http import Address, parse_address
from capacity.question.arguments import Asked
from capacity.question.objective import Measure, Objective
from capacity.question.parse import find_profile, read_arrivals
from capacity.question.scenario import Scenario
from capacity.question.verbs import DESCRIBED
from capacity.server.kinds import asked_of
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.parse import workload as workload_of
from capacity.traffic.workload import ArrivalProcess, ClosedPopulation, Workload
from capacity.units import format_quantile
from capacity.verification.quantities import QUANTILES

BODY_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A plan under its workload, with its objective."""

    profile: Any
    workload: Workload
    plan: Any
    objective: Objective | None = None  # None where nothing was limited
    # mean and quantiles that the plan itself was made with, by title; none where they are not known, or of
    # other arrivals
    planned_s: Mapping[str, float] = field(default_factory=dict)
    # what is said of the requests beside their rate, by name in `Scenario`; empty if they are all alike
    requests: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scenario(self) -> Any:
        """What is to be simulated."""
        return Scenario(profile=self.profile, workload=self.workload, plan=self.plan, **self.requests)

    @property
    def lengths(self) -> AnyLengths | None:
        """Input and output tokens of the requests; None if requests have no lengths."""
        found: AnyLengths | None = self.requests.get("lengths")
        return found


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
        requests=_requests(saved, arrivals),
    )


def _requests(saved: SavedPlan, arrivals: ArrivalProcess | None) -> dict[str, Any]:
    """The lengths or sessions that a plan was made for; with other arrivals they come in any order."""
    question = saved.question if arrivals is None else saved.question.with_arrivals(arrivals)
    space = question.space
    if space.lengths is None:
        return {}
    return _sent(space)


def _sent(requests: Any) -> dict[str, Any]:
    """What is said of requests with lengths, by name in `Scenario`."""
    return {name: getattr(requests, name) for name in ("lengths", "cached_share", "in_order")}


def asked_subject(asked: Asked, tell: Callable[[str], None]) -> Subject:
    """The plan to verify, from a file or from flags; `tell` gets notes on the trace before anything can fail.

    Raises:
        InputError: no plan, two, or one that cannot be read.
    """
    arrivals = asked.arrivals
    process = None if arrivals is None else read_arrivals(arrivals)
    for remark in getattr(process, "remarks", ()):
        tell(f"note: {remark}")
    if asked.plan is None:
        return described_subject(asked)
    for name in DESCRIBED:
        if asked[name] is not None or asked.get(f"{name}_s") is not None:
            raise InputError(
                f"--plan already gives the whole plan; leave out --{name.replace('_', '-')}, or --plan"
            )
    saved = as_saved(asked.plan)
    saved = saved if isinstance(saved, SavedPlan) else read_plan_file(Path(saved), process)
    return saved_subject(saved, process, asked.rate)


def described_subject(asked: Asked) -> Subject:
    """A plan that flags describe, with a replica for each url unless it is said how many there are.

    Raises:
        InputError: no profile, or a flag that such a fleet does not have.
    """
    if asked["profile"] is None:
        raise InputError("give --plan plan.json, or --profile and the rest of the plan")
    usual: dict[str, Any] = {"replicas": len(asked.url)}
    if asked["sessions"] is None or asked.rate is not None:  # a recording has its own arrivals
        usual["arrivals"] = "poisson"
    whole = asked.but(**{name: value for name, value in usual.items() if asked[name] is None})
    found = find_profile(asked["profile"])
    fleets = asked_of([found])
    fleets.refuse(asked)
    profile = fleets.ready(found, whole)
    requests = fleets.requests(profile, whole)
    return Subject(
        profile=profile,
        workload=workload_of(requests.arrivals, asked.rate),
        plan=fleets.plan(profile, whole),
        requests={} if requests.lengths is None else _sent(requests),
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


def check_urls(urls: Sequence[str], plan: Any) -> tuple[str, ...]:
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
    given: Sequence[str], urls: Sequence[str], plan: Any, what: str = "mean batch and utilization"
) -> tuple[tuple[Address, ...], str | None]:
    """Addresses of each replica's metrics, and a note if there are none.

    Args:
        what: what these tell.

    Raises InputError: not as many as replicas.
    """
    if list(given) == ["none"]:
        return (), f"{what} were not requested (--metrics none)"
    if not given and len(urls) < plan.replicas:
        return (), f"{what} are not known; give --metrics of each replica"
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
