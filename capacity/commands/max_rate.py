"""`capacity max-rate`: the arrival rates at which one plan keeps what was promised."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    ArrivalsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    FormatOption,
    JsonOption,
    LossOption,
    MeanOption,
    OverheadOption,
    P50Option,
    P90Option,
    P95Option,
    P99Option,
    P999Option,
    PrecisionOption,
    ProfileOption,
    QueueLimitOption,
    RoutingOption,
    SeedOption,
    TierOption,
    TimerOption,
    UtilizationOption,
    WaitLimitsOption,
    WaitOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, check_figure, emit, width
from capacity.question.parse import read_choice, read_full_objective, read_profile, read_routing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.profile.profile import ServiceProfile
    from capacity.question.objective import LatencyObjective
    from capacity.question.plan import Plan
    from capacity.question.scenario import Scenario
    from capacity.render.figures import ObjectiveCurve


def max_rate(
    context: typer.Context,
    profile: ProfileOption,
    replicas: Annotated[int, option("--replicas", help="How many replicas.")],
    slo_p50: P50Option = None,
    slo_p90: P90Option = None,
    slo_p95: P95Option = None,
    slo_p99: P99Option = None,
    slo_p999: P999Option = None,
    slo_mean: MeanOption = None,
    slo_wait: WaitLimitsOption = None,
    loss_max: LossOption = None,
    utilization_max: UtilizationOption = None,
    tier: TierOption = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: WaitOption = "0ms",
    timer: TimerOption = "oldest",
    routing: RoutingOption = "round-robin",
    queue_limit: QueueLimitOption = None,
    arrivals: ArrivalsOption = "poisson",
    request_overhead: OverheadOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    requests_max: BudgetOption = 100_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    file: Annotated[
        str | None, output_option("-o", "--output", help="Draw the curve into this .png or .svg file.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The arrival rates at which a plan keeps the objective, and P99 against the rate.

    A batch wait makes low rates slow: what is kept may begin above 0, and lie in several stretches.
    """
    from capacity.answer.documents import rates_document
    from capacity.question.budget import Effort
    from capacity.question.plan import BatchTimer, Plan
    from capacity.search.rates import find_rates
    from capacity.units import parse_duration_s

    slos = {0.5: slo_p50, 0.9: slo_p90, 0.95: slo_p95, 0.99: slo_p99, 0.999: slo_p999}
    measured = read_profile(profile, request_overhead)
    plan = Plan(
        profile=measured.name,
        replicas=replicas,
        batch_size_max=measured.batch_size_max if batch_size_max is None else batch_size_max,
        batch_wait_max_s=parse_duration_s(batch_wait, "--batch-wait"),
        routing=read_routing(routing),
        timer=read_choice(BatchTimer, timer, "--timer"),
        queue_limit=queue_limit,
    )
    objective = read_full_objective(slos, tier, slo_mean, slo_wait, loss_max, utilization_max)
    scenario = _scenario(measured, plan, objective, arrivals)
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    if file is not None:
        check_figure(file)
    with context.obj(effort) as work:
        rates = find_rates(scenario, work.judge, work.report)

    def curve() -> "ObjectiveCurve":
        from capacity.render.figures import rate_curve

        return rate_curve(rates)

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.charts import objective_chart
        from capacity.render.rates import rates_tables

        chart = objective_chart(curve(), width=width()) if rates.points else ""
        yield from rates_tables(rates, chart, confidence)

    with ExitStack() as after:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            after.callback(_draw, curve(), file)
        emit(
            output,
            as_json=as_json,
            document=lambda: rates_document(rates, seed=seed, confidence=confidence),
            tables=tables,
        )
    raise typer.Exit(rates.verdict.exit_code)


def _scenario(
    profile: "ServiceProfile", plan: "Plan", objective: "LatencyObjective", arrivals: str
) -> "Scenario":
    """The plan before the judge, at a rate that stands for all."""
    from capacity.errors import InputError
    from capacity.question.scenario import Scenario
    from capacity.traffic.parse import parse_arrivals
    from capacity.traffic.workload import Workload

    if objective.loss_probability is not None and plan.queue_limit is None:
        raise InputError("a loss limit needs a queue that can be full; give --queue-limit too")
    workload = Workload(arrival_rate_rps=1.0, arrivals=parse_arrivals(arrivals))
    return Scenario(profile=profile, workload=workload, plan=plan, objective=objective)


def _draw(curve: "ObjectiveCurve", file: str) -> None:
    from pathlib import Path

    from capacity.render.figures import draw_objective

    draw_objective(curve).save(Path(file))
