"""`capacity simulate`: the performance of one plan."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from capacity.api import _at_work
from capacity.commands.options import (
    ArrivalsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    InstancesOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    ProfileOption,
    QuantileOption,
    QueueLimitOption,
    RateOption,
    RoutingOption,
    SeedOption,
    TimerOption,
    WaitOption,
    WorkersOption,
    option,
)
from capacity.commands.output import Format, check_effort, emit
from capacity.question.parse import read_choice, read_demand, read_profile, read_quantiles, read_routing

if TYPE_CHECKING:
    from rich.console import RenderableType


def simulate(
    profile: ProfileOption,
    replicas: Annotated[int, option("--replicas", help="How many replicas.")],
    rate: RateOption = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: WaitOption = "0ms",
    timer: TimerOption = "oldest",
    routing: RoutingOption = "round-robin",
    arrivals: ArrivalsOption = "poisson",
    users: Annotated[
        int | None, option("--users", help="So many users take turns, instead of arrivals at a rate.")
    ] = None,
    think_time: Annotated[
        str | None, option("--think-time", help="Mean think time of a user: 300ms.")
    ] = None,
    queue_limit: QueueLimitOption = None,
    request_overhead: OverheadOption = None,
    instances_per_device: InstancesOption = None,
    quantile: QuantileOption = None,
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
    """The performance of one plan, with intervals."""
    from capacity.answer.documents import simulation_document
    from capacity.question.plan import BatchTimer, Plan
    from capacity.question.stability import require_answerable
    from capacity.search.caveats import interval_caveats, mean_caveats, profile_caveats, trace_caveats
    from capacity.units import parse_duration_s
    from simulations.replication import Engine
    from simulations.simulate import QUANTILES, Simulation

    measured = read_profile(profile, request_overhead, instances_per_device)
    workload = read_demand(arrivals, rate, users, think_time)
    candidate = Plan(
        profile=measured.name,
        replicas=replicas,
        batch_size_max=measured.batch_size_max if batch_size_max is None else batch_size_max,
        batch_wait_max_s=parse_duration_s(batch_wait, "--batch-wait"),
        routing=read_routing(routing),
        timer=read_choice(BatchTimer, timer, "--timer"),
        queue_limit=queue_limit,
    )
    check_effort(confidence=confidence, precision=precision, requests_max=requests_max, seed=seed)
    quantiles = read_quantiles(quantile, QUANTILES)
    require_answerable(measured, workload, candidate)
    chosen = read_choice(Engine, engine, "--engine")
    with _at_work(chosen, workers, cluster) as (mapper, report):
        count = f"{candidate.replicas} replica" + ("s" if candidate.replicas > 1 else "")
        report(f"simulating {count}, batch {candidate.batch_size_max}")
        simulation = Simulation(
            seed=seed,
            confidence=confidence,
            precision=precision,
            requests_max=requests_max,
            engine=chosen,
            quantiles=quantiles,
            mapper=mapper,
        )
        simulated = simulation.look(measured, workload, candidate)
    performance = simulated.performance
    caveats = [
        *profile_caveats(measured, candidate.batch_size_max, quantiles),
        *trace_caveats(workload, quantiles),
        *interval_caveats(
            workload,
            measured,
            width=performance.response_quantiles_s[max(quantiles)].relative_half_width,
            simulated_width=simulated.simulated_width,
            precision=precision,
        ),
        *mean_caveats(performance),
    ]

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.tables import caveat_lines, performance_table

        yield performance_table(candidate, performance)
        yield from caveat_lines(caveats)

    emit(
        output,
        as_json=as_json,
        document=lambda: simulation_document(
            candidate, workload, performance, caveats, seed=seed, confidence=confidence
        ),
        tables=tables,
    )
