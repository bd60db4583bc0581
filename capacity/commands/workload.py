"""`capacity workload`: what recorded arrivals are like."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.api import _at_work
from capacity.commands.options import (
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    RateOption,
    RoutingOption,
    SeedOption,
    WaitOption,
    WorkersOption,
    input_option,
    note_input,
    option,
)
from capacity.commands.output import Format, check_effort, emit
from capacity.errors import InputError
from capacity.question.parse import both_confidence, read_choice, read_profile, read_quantiles, read_routing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document


def workload(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The recorded arrivals, as for --arrivals trace:FILE.", callback=note_input
        ),
    ],
    profile: Annotated[
        str | None,
        input_option("--profile", help="With --replicas: what would Poisson arrivals get wrong here?"),
    ] = None,
    replicas: Annotated[int | None, option("--replicas", help="How many replicas.")] = None,
    rate: RateOption = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: WaitOption = "0ms",
    routing: RoutingOption = "round-robin",
    request_overhead: OverheadOption = None,
    quantile: Annotated[float, option("--quantile", help="The quantile to compare.")] = 0.99,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """How much and how bursty recorded traffic is, whether it is Poisson, and what is lost if it is not."""
    from pathlib import Path

    from capacity.question.comparison import PoissonError
    from capacity.question.plan import Plan
    from capacity.question.stability import require_answerable
    from capacity.search.caveats import profile_caveats, trace_caveats
    from capacity.traffic.description import describe
    from capacity.traffic.parse import workload as workload_of
    from capacity.traffic.trace import read_trace
    from capacity.traffic.workload import PoissonArrivals
    from capacity.units import parse_duration_s, parse_rate_rps
    from simulations.replication import Engine
    from simulations.simulate import Simulation

    if (profile is None) != (replicas is None):
        raise InputError("give --profile and --replicas together, or neither to describe the trace alone")
    if profile is None and rate is not None:
        raise InputError("--rate is for the plan that --profile and --replicas describe; give those too")
    check_effort(confidence=confidence, precision=precision, requests_max=requests_max, seed=seed)
    (asked,) = read_quantiles([quantile], ())
    about = describe(read_trace(Path(trace)))
    error, caveats = None, []
    if profile is not None and replicas is not None:
        measured = read_profile(profile, request_overhead)
        recorded = workload_of(about.trace, None if rate is None else parse_rate_rps(rate, "--rate"))
        poisson = replace(recorded, arrivals=PoissonArrivals())
        candidate = Plan(
            profile=measured.name,
            replicas=replicas,
            batch_size_max=measured.batch_size_max if batch_size_max is None else batch_size_max,
            batch_wait_max_s=parse_duration_s(batch_wait, "--batch-wait"),
            routing=read_routing(routing),
        )
        require_answerable(measured, recorded, candidate)
        chosen = read_choice(Engine, engine, "--engine")
        with _at_work(chosen, workers, cluster) as (mapper, report):
            simulation = Simulation(
                seed=seed,
                confidence=both_confidence(confidence),
                precision=precision,
                requests_max=requests_max,
                engine=chosen,
                quantiles=(asked,),
                mapper=mapper,
            )
            report("simulating the trace")
            by_trace = simulation(measured, recorded, candidate).response_quantiles_s[asked]
            report("simulating Poisson arrivals")
            by_poisson = simulation(measured, poisson, candidate).response_quantiles_s[asked]
        error = PoissonError(
            plan=candidate,
            arrival_rate_rps=recorded.arrival_rate_rps,
            quantile=asked,
            by_trace=by_trace,
            by_poisson=by_poisson,
            confidence=confidence,
        )
        caveats = [
            *profile_caveats(measured, candidate.batch_size_max, (asked,)),
            *trace_caveats(replace(recorded, arrivals=replace(about.trace, remarks=())), (asked,)),
        ]

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.trace import description_tables

        yield from description_tables(about, error, caveats)

    def document() -> "Document":
        from capacity.render.trace import description_document

        return description_document(about, error, caveats, seed=seed)

    emit(output, as_json=as_json, document=document, tables=tables)
