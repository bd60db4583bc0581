"""`capacity sweep`: a grid of rates, plans and profiles."""

import typer

from capacity.commands.options import BATCHING, EFFORT, LLM, REQUIRED, Flag, flags, reads, writes
from capacity.commands.output import Format, emit, run


@flags(
    f"profile replicas rate batch_size_max batch_wait routing {BATCHING} queue_limit arrivals request_overhead "
    f"instances_per_device quantile {LLM} {EFFORT} file fresh",
    profile=reads(list[str], REQUIRED, "The name of a bundled profile, or a .json or .csv file; repeatable."),
    replicas=Flag(list[str], REQUIRED, "Number of replicas: 4, 1:8 or 2:16:2; repeatable."),
    rate=Flag(list[str], None, "Arrival rate, or a range 100rps:1000rps:100rps; repeatable."),
    batch_size_max=Flag(
        list[str], None, "Largest batch: 16 or 8:32:8; repeatable. Default: the largest in each profile."
    ),
    sequences_max=Flag(
        list[str],
        None,
        "Language models: most requests that run at once in an engine: 64 or 64:256:64; repeatable.",
    ),
    batched_tokens_max=Flag(
        list[str], None, "Language models: most tokens a step: 2048 or 512:2048:512; repeatable."
    ),
    batch_wait=Flag(
        list[str],
        None,
        "How long the oldest request may wait for its batch to fill: 2ms or 0ms:10ms:2ms; repeatable. "
        "Default: 0ms.",
    ),
    routing=Flag(
        list[str],
        None,
        "round-robin (default), random, least-outstanding, power-of-two or shared-queue; repeatable.",
    ),
    file=writes("Write the rows as .csv, .json or .parquet."),
    fresh=Flag(bool, False, "Start over, ignoring the rows that an interrupted run left."),
)
def sweep(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """P99 over a grid of rates, fleets and profiles, one row each; with -o an interrupted run resumes.

    Examples:
      capacity sweep --profile resnet50-t4-fp16 --rate 800rps:1600rps:400rps --replicas 1:2
      capacity sweep --profile mine.csv --rate 100rps --replicas 1:8 --batch-size-max 8 -o rows.csv
    """
    from capacity import api

    found = run(api.sweep, context)
    emit(found, output, as_json=as_json)
    raise typer.Exit(found.exit_code)
