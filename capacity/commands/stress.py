"""`capacity stress`: does it recover?"""

from contextlib import ExitStack
from pathlib import Path

import typer

from capacity.commands.options import FLAGS, REQUIRED, Flag, flags, reads, writes
from capacity.commands.output import Format, check_figure, emit, run


@flags(
    "plan profile rate replicas batch_size_max batch_wait routing queue_limit arrivals request_overhead trigger "
    "detection startup_time horizon client timeout deadline attempts backoff retry_budget retry_burst retry_on "
    "hedge shed abandoned ejection replicas_max only_verdict runs seed confidence workers file verbose",
    plan=reads(str, None, "A plan that capacity plan -o has saved, instead of --profile, --rate and --replicas."),
    profile=FLAGS["profile"]._replace(default=None),
    replicas=FLAGS["replicas"]._replace(default=None),
    batch_wait=FLAGS["batch_wait"]._replace(default=None),
    routing=FLAGS["routing"]._replace(default=None),
    trigger=Flag(
        str,
        REQUIRED,
        "What goes wrong: spike:2x,30s, lose:1,60s, crash:1,30s, hang:1,60s, pause:500ms,10/min, "
        "straggler:3x,60s or rollout.",
    ),
    detection=Flag(str, "30s", "From a crash or a hang until the balancer sends nothing there any more."),
    startup_time=Flag(str, None, "What a replica needs to serve, after an outage or in a rollout: 90s."),
    horizon=Flag(str, "10min", "How long after the trigger the fleet may take to recover."),
    client=Flag(str, None, "Settings of a well-known client: istio, envoy, grpc, aws, linkerd or finagle."),
    timeout=Flag(str, None, "How long a client waits for the reply to one attempt: 500ms."),
    deadline=Flag(str, None, "How long it waits for all attempts of a request together."),
    attempts=Flag(int, None, "Attempts at a request, the first one included. Default: 1."),
    backoff=Flag(str, None, "Wait before the first retry, doubled up to the longest: 50ms:10s; full jitter."),
    retry_budget=Flag(
        str, None, "What retries are paid from: 0.1 (of first tries), successes:0.5, concurrent:0.2, throttle:10,0.1."
    ),
    retry_burst=Flag(float, None, "Tokens that the retry budget holds at most, and at first. Default: 100."),
    retry_on=Flag(str, None, "Failures that are tried again. Default: rejected,timed_out,crashed."),
    hedge=Flag(str, None, "Send another attempt beside the first after this long without a reply: 50ms."),
    shed=Flag(str, "none", "Which waiting requests are turned away: none, late, late:50ms, codel or lifo."),
    abandoned=Flag(str, "served", "What becomes of attempts nobody waits for: served, dropped or stopped."),
    ejection=Flag(bool, False, "The balancer ejects replicas that fail five times in a row, as Envoy does."),
    replicas_max=Flag(int, 1024, "Most replicas to try in the search for the smallest fleet."),
    only_verdict=Flag(bool, False, "Leave out the smallest fleet, what would help, and the spikes."),
    runs=Flag(int, 20, "Independent runs behind each verdict."),
    file=writes("Save the course of it and the map of spikes, as .png or .svg."),
)  # fmt: skip
def stress(context: typer.Context, file: str | None, output: Format, *, verbose: bool, as_json: bool) -> None:
    """Does a fleet come back by itself after something went wrong?

    Examples:
      capacity stress --plan plan.json --trigger lose:1,60s --timeout 500ms --attempts 3
      capacity stress --profile mine.csv --rate 90rps --replicas 3 --trigger spike:2x,30s --client envoy --timeout 1s
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
