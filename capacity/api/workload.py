"""The verb `describe_workload`: recorded traffic."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from capacity.api.work import at_work
from capacity.doors import door
from capacity.errors import InputError
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.scenario import Scenario
from capacity.server.kinds import asked_of

if TYPE_CHECKING:
    from capacity.answers.workload import SessionsAnswer, WorkloadAnswer
    from capacity.question.comparison import PoissonError
    from capacity.traffic.sessions.rows import SessionRows
    from capacity.traffic.workload import TraceArrivals


@door("workload")
def describe_workload(asked: Asked) -> "WorkloadAnswer | SessionsAnswer":
    """How heavy and bursty recorded traffic is, whether it is Poisson, and what assuming Poisson would cost.

    Of recorded sessions: how they grow and go on, and what caches of their prefixes would find at best.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """

    from capacity.answers.workload import WorkloadAnswer
    from capacity.traffic.description import describe
    from capacity.traffic.lengths import has_lengths, read_token_trace

    profile, trace = asked.profile, Path(asked.trace)
    if profile is None and (sessions := _sessions(str(asked.trace))) is not None:
        return _of_sessions(sessions, asked)
    if (profile is None) != (asked.replicas is None):
        raise InputError("give --profile and --replicas together, or neither to describe the trace alone")
    effort = asked.effort
    parse.read_quantiles([asked.quantile], ())
    arrivals, lengths = (
        read_token_trace(trace)
        if has_lengths(trace)
        else (cast("TraceArrivals", parse.read_arrivals(f"trace:{trace}")), None)
    )
    about = describe(arrivals)
    if profile is None:
        return WorkloadAnswer(description=about, effort=effort, lengths=lengths)
    measured = parse.read_profile(profile, asked.request_overhead)
    error = _poisson_error(measured, about.trace, asked)
    return WorkloadAnswer(description=about, effort=effort, error=error, profile=measured, lengths=lengths)


def _sessions(text: str) -> "SessionRows | None":
    """Recorded sessions, by a bundled name or from a file of them; None of other recordings."""
    from capacity.traffic.sessions.parse import bundled_sessions, has_sessions, read_bundled, read_sessions

    if text in bundled_sessions():
        return read_bundled(text)
    return read_sessions(Path(text)) if has_sessions(Path(text)) else None


def _of_sessions(rows: "SessionRows", asked: Asked) -> "SessionsAnswer":
    from capacity.answers.workload import SessionsAnswer
    from capacity.traffic.sessions.description import REPLICAS, SessionsDescription

    replicas = REPLICAS if asked.replicas is None else tuple(sorted({1, asked.replicas}))
    return SessionsAnswer(description=SessionsDescription(rows=rows, replicas=replicas))


def _poisson_error(measured: ServiceProfile, trace: "TraceArrivals", asked: Asked) -> "PoissonError[Any]":
    """Effect of assuming Poisson arrivals on a quantile of one fleet."""
    from capacity.question.comparison import PoissonError
    from capacity.server.batch.stability import require_answerable
    from capacity.traffic.parse import workload as workload_of
    from capacity.traffic.workload import PoissonArrivals

    quantile, confidence = asked.quantile, asked.confidence
    recorded, fleet = workload_of(trace, asked.rate), asked_of([measured]).plan(measured, asked)
    require_answerable(measured, recorded, fleet)
    both = replace(asked.effort, confidence=parse.both_confidence(confidence))
    with at_work(both, asked.progress) as work:
        simulation = work.simulate((quantile,))
        work.report("simulating the trace")
        scenario = Scenario(profile=measured, workload=recorded, plan=fleet)
        by_trace = simulation.of_traffic_like(scenario)
        work.report("simulating Poisson arrivals")
        poisson = replace(recorded, arrivals=PoissonArrivals())
        by_poisson = simulation(replace(scenario, workload=poisson)).response_quantiles_s[quantile]
    return PoissonError(
        plan=fleet,
        arrival_rate_rps=recorded.arrival_rate_rps,
        quantile=quantile,
        by_trace=by_trace,
        by_poisson=by_poisson,
        confidence=confidence,
    )
