"""`capacity stress`: does it recover?"""

from contextlib import ExitStack
from pathlib import Path

import typer

from capacity.commands.options import CLIENTS, FLAGS, LLM, REQUIRED, Flag, flags, reads, writes
from capacity.commands.output import Format, check_figure, emit, run


@flags(
    "plan profile rate replicas batch_size_max batch_wait routing queue_limit arrivals request_overhead trigger "
    f"detection startup_time cold_batches mtbf recovery_time horizon {CLIENTS} hedge shed abandoned ejection "
    f"replicas_max only_verdict spike_map {LLM} runs seed confidence workers file verbose",
    plan=reads(str, None, "A plan that capacity plan -o has saved, instead of --profile, --rate and --replicas."),
    profile=FLAGS["profile"]._replace(default=None),
    replicas=FLAGS["replicas"]._replace(default=None),
    batch_wait=FLAGS["batch_wait"]._replace(default=None),
    routing=FLAGS["routing"]._replace(default=None),
    arrivals=FLAGS["arrivals"]._replace(
        help="How requests arrive: poisson, deterministic, gamma:cv=2 or mmpp:ratio=5,burst=10s,calm=60s."
    ),
    trigger=FLAGS["trigger"]._replace(default=REQUIRED),
    startup_time=Flag(str, None, "What a replica needs to serve, after an outage or in a rollout: 90s."),
    cold_batches=Flag(
        str, None, "The first batches of a replica that has come back, and how much longer they take: 20:3x."
    ),
    mtbf=Flag(
        str, None, "Beside the trigger, each replica crashes after so long on average: 6h; with --recovery-time."
    ),
    recovery_time=Flag(str, None, "How long a replica that crashed by itself is down: 5min; with --mtbf."),
    horizon=Flag(str, "10min", "How long after the trigger the fleet may take to recover."),
    hedge=Flag(str, None, "Send another attempt beside the first after this long without a reply: 50ms."),
    abandoned=Flag(
        str,
        None,
        "What becomes of attempts no client waits for: served, dropped or stopped. Default: served, and stopped by "
        "engines of language models.",
    ),
    ejection=Flag(bool, False, "The balancer ejects replicas that fail five times in a row, as Envoy does."),
    replicas_max=Flag(int, 1024, "Most replicas to try in the search for the smallest fleet."),
    only_verdict=Flag(bool, False, "Leave out the smallest fleet, what would help, and the spikes."),
    spike_map=Flag(
        bool, False, "Find the longest spikes that are survived for seven heights, as a map for -o.", ("--map",)
    ),
    runs=Flag(int, 20, "Independent runs behind each verdict."),
    file=writes("Save the course of it and the map of spikes, as .png or .svg."),
)  # fmt: skip
def stress(context: typer.Context, file: str | None, output: Format, *, verbose: bool, as_json: bool) -> None:
    """Does a fleet come back by itself after something went wrong?

    Examples:
      capacity stress --plan plan.json --trigger lose:1,60s --timeout 500ms --attempts 3
      capacity stress --profile mine.csv --rate 90rps --replicas 3 --trigger spike:2x,30s --client envoy --timeout 1s
      capacity stress --plan llm-plan.json --trigger crash:1,60s --startup-time 3min --timeout 60s --attempts 3
    """
    from capacity.api_recovery import stress as ask

    if file is not None:
        check_figure(file)
    found = run(ask, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if file is not None:
            after.callback(lambda: found.plot().save(Path(file)))
        emit(found, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
