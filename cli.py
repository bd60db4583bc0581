"""The `capacity` command: read, call, print. No arithmetic.

Everything heavy is imported inside the command that needs it, so that help and `queue` start at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity import (
    __version__,
)
from capacity.command_line import (
    ArrivalsOption,
    BudgetOption,
    ClusterOption,
    ConfidenceOption,
    EngineOption,
    Format,
    FormatOption,
    InstancesOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    ProfileOption,
    ProfilesOption,
    QuantileOption,
    QueueLimitOption,
    RateOption,
    RatesOption,
    RoutingOption,
    SeedOption,
    TimerOption,
    WaitOption,
    WorkersOption,
    both_confidence,
    check_effort,
    emit,
    input_option,
    note_input,
    option,
    output_option,
    progress,
    read_choice,
    read_demand,
    read_profile,
    read_quantiles,
    read_routing,
    told,
    width,
    worker_count,
)
from capacity.commands.measure import profile as profile_command
from capacity.commands.verify import verify as verify_command
from capacity.compare_commands import compare as compare_command
from capacity.errors import InputError
from capacity.explain_commands import explain as explain_command
from capacity.gate_commands import check as check_command
from capacity.guarded import Guarded
from capacity.plan_commands import plan as plan_command
from capacity.queue_options import queue_app
from capacity.rate_commands import max_rate
from capacity.strict import StrictTyper

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.report import Document
    from capacity.workbench import Effort
    from simulations.judge import SimulationJudge
    from simulations.paired import PairedSimulation
    from simulations.replication import Engine
    from simulations.simulate import Simulation
    from simulations.workers import Mapper

app = StrictTyper(
    cls=Guarded,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="How many replicas and what batch keep the P99 promise, and how sure that is.",
)
profiles_app = StrictTyper(invoke_without_command=True, help="Measured profiles that come along.")
app.add_typer(queue_app, name="queue")
app.add_typer(profiles_app, name="profiles")


def _version(value: bool) -> None:  # noqa: FBT001  (Typer calls it with the flag)
    if value:
        typer.echo(__version__)
        raise typer.Exit


@contextmanager
def _at_work(
    engine: "Engine", workers: int | None, cluster: str | None = None
) -> Iterator[tuple["Mapper", Callable[[str], None]]]:
    """What `--workers` or `--cluster` spreads work over, and whom to tell what it is at."""
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.workers import workers as threads

    count = worker_count(workers, cluster)
    if cluster is None:
        pool = threads(count if engine is Engine.KERNEL else 1)
    else:
        from simulations.cluster_executor import cluster as dask_workers

        pool = dask_workers(cluster, warn=lambda message: typer.echo(message, err=True))
    with pool as mapper, progress() as report, announced(report):
        yield mapper, report


class _Work:
    """Workers that are ready; a `capacity.workbench.Work`."""

    def __init__(
        self, effort: "Effort", engine: "Engine", mapper: "Mapper", report: Callable[[str], None]
    ) -> None:
        self._effort, self._engine, self._mapper, self.report = effort, engine, mapper, report

    @property
    def judge(self) -> "SimulationJudge":
        """Judges plans by simulation."""
        from simulations.judge import SimulationJudge

        return SimulationJudge(**self._settings())

    def simulate(self, quantiles: Sequence[float]) -> "Simulation":
        """The performance of one plan."""
        from simulations.simulate import Simulation

        return Simulation(**self._settings(), quantiles=quantiles)

    def compare(self, quantiles: Sequence[float]) -> "PairedSimulation":
        """Fleets under the same requests."""
        from simulations.paired import PairedSimulation

        return PairedSimulation(**self._settings(), quantiles=quantiles)

    def _settings(self) -> dict[str, Any]:
        effort = self._effort
        return {
            "seed": effort.seed,
            "confidence": effort.confidence,
            "precision": effort.precision,
            "requests_max": effort.requests_max,
            "engine": self._engine,
            "mapper": self._mapper,
        }


@contextmanager
def _workbench(effort: "Effort") -> Iterator[_Work]:
    """What commands find their workers at; a `capacity.workbench.Workbench`."""
    from simulations.replication import Engine

    engine = read_choice(Engine, effort.engine, "--engine")
    with _at_work(engine, effort.workers, effort.cluster) as (mapper, report):
        yield _Work(effort, engine, mapper, report)


@app.callback()
def main(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Capacity planning for inference serving."""
    context.obj = _workbench


app.command()(plan_command)
app.command("max-rate")(max_rate)
app.command("verify")(verify_command)
app.command()(check_command)
app.command()(explain_command)
app.command()(compare_command)
app.command("profile")(profile_command)


@app.command()
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
    from capacity.caveats import interval_caveats, mean_caveats, profile_caveats, trace_caveats
    from capacity.plan import BatchTimer, Plan
    from capacity.report import simulation_document
    from capacity.units import parse_duration_s
    from simulations.replication import Engine
    from simulations.simulate import QUANTILES, Simulation, require_answerable

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
        from capacity.tables import caveat_lines, performance_table

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


@app.command()
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

    from capacity.caveats import profile_caveats, trace_caveats
    from capacity.plan import Plan
    from capacity.trace_csv import read_trace
    from capacity.trace_description import PoissonError, describe
    from capacity.traffic import workload as workload_of
    from capacity.units import parse_duration_s, parse_rate_rps
    from capacity.workload import PoissonArrivals
    from simulations.replication import Engine
    from simulations.simulate import Simulation, require_answerable

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
        from capacity.trace_report import description_tables

        yield from description_tables(about, error, caveats)

    def document() -> "Document":
        from capacity.trace_report import description_document

        return description_document(about, error, caveats, seed=seed)

    emit(output, as_json=as_json, document=document, tables=tables)


@app.command()
def sweep(
    profile: ProfilesOption,
    replicas: Annotated[
        list[str], option("--replicas", help="How many replicas: 4, or 1:8, or 2:16:2; may be repeated.")
    ],
    rate: RatesOption = None,
    batch_size_max: Annotated[
        list[str] | None,
        option("--batch-size-max", help="Largest batch: 16, or 8:32:8; each profile's largest by default."),
    ] = None,
    batch_wait: Annotated[
        list[str] | None, option("--batch-wait", help="As in simulate: 2ms, or 0ms:10ms:2ms; 0ms by default.")
    ] = None,
    routing: Annotated[
        list[str] | None, option("--routing", help="As in simulate; round-robin by default; may be repeated.")
    ] = None,
    timer: TimerOption = "oldest",
    queue_limit: QueueLimitOption = None,
    arrivals: ArrivalsOption = "poisson",
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
    file: Annotated[
        str | None,
        output_option("-o", "--output", help="Write the rows into this .csv, .json or .parquet file."),
    ] = None,
    fresh: Annotated[
        bool, option("--fresh", help="Begin anew, whatever an interrupted run has left.")
    ] = False,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """A grid of rates, plans and profiles, one row each; with -o an interrupted run goes on where it was."""
    from pathlib import Path

    from capacity.caveats import device_caveats, plausibility_caveats
    from capacity.plan import BatchTimer
    from capacity.report import caveat_documents
    from capacity.sweep_file import check_file
    from capacity.sweep_grid import Grid, parse_counts, parse_durations_s, workloads
    from capacity.sweep_rows import kept_rows
    from capacity.sweep_table import SweepTable, outcome_document, sweep_document, sweep_exit_code
    from capacity.traffic import parse_arrivals
    from simulations.replication import Engine
    from simulations.simulate import QUANTILES, Simulation
    from simulations.sweep import Countdown, answers

    chosen, quantiles = read_choice(Engine, engine, "--engine"), read_quantiles(quantile, QUANTILES)
    effort = {"confidence": confidence, "precision": precision, "requests_max": requests_max, "seed": seed}
    check_effort(confidence=confidence, precision=precision, requests_max=requests_max, seed=seed)
    grid = Grid(
        profiles=tuple(read_profile(name, request_overhead, instances_per_device) for name in profile),
        workloads=workloads(told(parse_arrivals(arrivals)), rate or ()),
        replicas=parse_counts(replicas, "--replicas"),
        batch_sizes_max=parse_counts(batch_size_max, "--batch-size-max") if batch_size_max else (None,),
        batch_waits_max_s=parse_durations_s(batch_wait or ["0ms"], "--batch-wait"),
        routings=tuple(dict.fromkeys(read_routing(name) for name in routing or ["round-robin"])),
        timer=read_choice(BatchTimer, timer, "--timer"),
        queue_limit=queue_limit,
    )
    cells = list(grid.cells())
    table = SweepTable(quantiles=quantiles, seed=seed, confidence=confidence)
    path = None if file is None else Path(file)
    if path is not None:
        check_file(path)
    settings = grid.settings(**effort, quantiles=quantiles)
    with (
        kept_rows(path, settings, table.columns, len(cells), fresh=fresh) as rows,
        _at_work(chosen, workers, cluster) as (mapper, report),
    ):
        simulation = Simulation(
            seed=seed,
            confidence=confidence,
            precision=precision,
            requests_max=requests_max,
            engine=chosen,
            quantiles=quantiles,
            mapper=mapper,
        )
        left = cells[len(rows) :]
        found = answers(left, simulation)
        countdown = Countdown(len(cells), len(rows), report)
        for cell, answer in zip(left, found, strict=True):
            rows.append(table.row(cell, answer))
            countdown.tick()

    implausible = [note for one in grid.profiles for note in plausibility_caveats(one, max(quantiles))]
    shared = [note for one in grid.profiles for note in device_caveats(one)]
    caveats = list(dict.fromkeys((*implausible, *shared)))
    noted = {"caveats": caveat_documents(caveats)} if caveats else {}  # rows alone are what a file has too
    document = sweep_document(table.columns, rows) if path is None else outcome_document(rows, path.name)

    def tables() -> Iterator["RenderableType"]:
        from capacity.sweep_table import sweep_table
        from capacity.tables import caveat_lines

        yield from [sweep_table(table, rows)] if path is None else _document_table(document)
        yield from caveat_lines(caveats)

    emit(output, as_json=as_json, document=lambda: document | noted, tables=tables)
    raise typer.Exit(sweep_exit_code(rows))


@app.command("littles-law")
def littles_law(
    rate: Annotated[str | None, option("--rate", help="Throughput: 100rps.")] = None,
    latency_mean: Annotated[str | None, option("--latency-mean", help="Mean response time: 45ms.")] = None,
    concurrency: Annotated[
        float | None, option("--concurrency", help="Mean number of requests in the system.")
    ] = None,
    users: Annotated[int | None, option("--users", help="Users of a closed load test.")] = None,
    think_time: Annotated[str, option("--think-time", help="Mean think time of a user: 300ms.")] = "0s",
    latency_p50: Annotated[str | None, option("--latency-p50", help="Reported median: 45ms.")] = None,
    latency_p90: Annotated[str | None, option("--latency-p90", help="Reported P90.")] = None,
    latency_p95: Annotated[str | None, option("--latency-p95", help="Reported P95.")] = None,
    latency_p99: Annotated[str | None, option("--latency-p99", help="Reported P99: 340ms.")] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """L = λW: any two give the third; with --users, whether a load test's report can be true."""
    from capacity.queues.little import LittlesLaw, LoadTestReport
    from capacity.report import little_document, load_test_document
    from capacity.units import format_quantile, parse_duration_s, parse_rate_rps

    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    mean_s = None if latency_mean is None else parse_duration_s(latency_mean, "--latency-mean")
    reported = {0.5: latency_p50, 0.9: latency_p90, 0.95: latency_p95, 0.99: latency_p99}
    if users is None:
        if sum(value is not None for value in (rate_rps, mean_s, concurrency)) < 2:
            raise InputError("give two of --rate, --latency-mean and --concurrency, for the third")
        if any(text is not None for text in reported.values()) or think_time != "0s":
            raise InputError("percentiles and think time belong to a load test; give --users too")
        law = LittlesLaw.solve(arrival_rate_rps=rate_rps, response_mean_s=mean_s, in_system_mean=concurrency)
        document = little_document(law)
        emit(output, as_json=as_json, document=lambda: document, tables=lambda: _document_table(document))
        return
    if rate_rps is None or concurrency is not None:
        raise InputError("a load test is checked by --users and --rate, without --concurrency")
    report = LoadTestReport(
        users=users,
        think_time_s=parse_duration_s(think_time, "--think-time"),
        throughput_rps=rate_rps,
        response_mean_s=mean_s,
        response_quantiles_s={
            q: parse_duration_s(text, f"--latency-{format_quantile(q).lower()}")
            for q, text in reported.items()
            if text is not None
        },
    )
    document = load_test_document(report)
    emit(output, as_json=as_json, document=lambda: document, tables=lambda: _document_table(document))
    raise typer.Exit(0 if report.credible else 4)


def _document_table(document: "Document") -> Iterator["RenderableType"]:
    from capacity.tables import document_table

    yield document_table(document)


@profiles_app.callback()
def profiles(
    context: typer.Context,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List the measured profiles that come along, with throughput and knee."""
    if context.invoked_subcommand is not None:
        return
    from capacity.profile_files import bundled_names, load_profile
    from capacity.report import profile_document

    bundled = [load_profile(name) for name in bundled_names()]

    def tables() -> Iterator["RenderableType"]:
        from capacity.tables import profiles_table

        yield profiles_table(bundled)

    emit(
        output,
        as_json=as_json,
        document=lambda: {"profiles": [profile_document(profile) for profile in bundled]},
        tables=tables,
    )


@profiles_app.command("show")
def show_profile(
    name: Annotated[
        str, typer.Argument(help="A bundled profile's name, or a .json or .csv file.", callback=note_input)
    ],
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """One profile, batch size by batch size, with a chart."""
    from capacity.caveats import plausibility_caveats
    from capacity.profile_files import load_profile
    from capacity.report import profile_document

    profile = load_profile(name)

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import profile_chart
        from capacity.tables import caveat_lines, profile_tables

        yield from profile_tables(profile)
        yield Text(profile_chart(profile, width=width()))
        yield from caveat_lines(plausibility_caveats(profile, 0.99))

    emit(output, as_json=as_json, document=lambda: profile_document(profile), tables=tables)


@app.command()
def curve(
    y: Annotated[
        str, option("--y", help="queue-length, wait-probability, wait, response or p99.")
    ] = "queue-length",
    x: Annotated[str, option("--x", help="utilization or arrival-rate.")] = "utilization",
    service_rate: Annotated[
        list[str] | None, option("--service-rate", help="Service rate of a server: 10rps; may be repeated.")
    ] = None,
    servers: Annotated[
        list[int] | None, option("--servers", help="Number of servers; may be repeated.")
    ] = None,
    file: Annotated[
        str | None, output_option("-o", "--output", help="Draw into this .png or .svg file.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Queue length, wait or P99 of M/M/c against utilization or arrival rate, drawn here or in a file."""
    from capacity.curves import Axis, Quantity, curves
    from capacity.report import curves_document
    from capacity.units import parse_rate_rps

    rates_rps = [parse_rate_rps(text, "--service-rate") for text in service_rate or ("10rps", "5rps", "2rps")]
    quantity, axis = read_choice(Quantity, y, "--y"), read_choice(Axis, x, "--x")
    drawn = curves(quantity, axis, rates_rps, servers or [1])
    if file is not None:
        from pathlib import Path

        from capacity.render.figures import draw_curves

        draw_curves(drawn).save(Path(file))

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import line_chart

        yield Text(line_chart(drawn, width=width()))

    emit(output, as_json=as_json, document=lambda: curves_document(quantity, axis, drawn), tables=tables)


@app.command()
def agreement(
    grid: Annotated[str, option("--grid", help="short (one or two queues of each law) or full.")] = "short",
    seed: SeedOption = 0,
    requests_max: Annotated[
        int, option("--requests-max", help="Requests to simulate for one queue at most.")
    ] = 200_000_000,
    engine: EngineOption = "kernel",
    workers: WorkersOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Hold the simulator against theory; exit 4 where they disagree or a row proves nothing."""
    from simulations.agreement import compare, rows_document, rows_tables, verdict_exit_code
    from simulations.agreement_grid import Grid, systems
    from simulations.replication import Engine

    chosen, played = read_choice(Grid, grid, "--grid"), read_choice(Engine, engine, "--engine")
    check_effort(confidence=0.95, precision=0.02, requests_max=requests_max, seed=seed)
    rows = []
    with _at_work(played, workers) as (mapper, report):
        for system in systems(chosen):
            report(f"simulating {system.name}")
            rows.extend(compare(system, seed, requests_max, mapper, played))
    emit(
        output,
        as_json=as_json,
        document=lambda: rows_document(rows, seed),
        tables=lambda: rows_tables(rows),
    )
    raise typer.Exit(verdict_exit_code(rows))
