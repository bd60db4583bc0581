"""`capacity sweep`: a grid of rates, plans and profiles."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

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
    ProfilesOption,
    QuantileOption,
    QueueLimitOption,
    RatesOption,
    SeedOption,
    TimerOption,
    WorkersOption,
    option,
    output_option,
)
from capacity.commands.output import Format, _document_table, check_effort, emit, told
from capacity.question.parse import read_choice, read_profile, read_quantiles, read_routing

if TYPE_CHECKING:
    from rich.console import RenderableType


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

    from capacity.answer.documents import caveat_documents
    from capacity.answer.sweep import (
        SweepTable,
        check_file,
        kept_rows,
        outcome_document,
        sweep_document,
        sweep_exit_code,
    )
    from capacity.question.grid import Grid, parse_counts, parse_durations_s, workloads
    from capacity.question.plan import BatchTimer
    from capacity.search.caveats import device_caveats, plausibility_caveats
    from capacity.traffic.parse import parse_arrivals
    from simulations.replication import Engine
    from simulations.simulate import QUANTILES, Countdown, Simulation, answers

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
        from capacity.render.tables import caveat_lines, sweep_table

        yield from [sweep_table(table, rows)] if path is None else _document_table(document)
        yield from caveat_lines(caveats)

    emit(output, as_json=as_json, document=lambda: document | noted, tables=tables)
    raise typer.Exit(sweep_exit_code(rows))
