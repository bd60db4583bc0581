"""`capacity audit`: whether a load test is to be believed."""

import typer

from capacity.commands.options import REQUIRED, Flag, argument, flags, reads
from capacity.commands.output import Format, emit, run


@flags(
    "file loop users think_time rate "
    "profile plan replicas batch_size_max batch_wait routing queue_limit request_overhead "
    "lengths sequences_max batched_tokens_max kv_tokens prefix_caching seed precision "
    "workers verbose",
    file=argument(str, REQUIRED, "A report of a load generator, or its URL.", metavar="FILE|URL"),
    loop=Flag(
        str,
        None,
        "What decided when a request was sent, if the report does not say: open (a schedule) or closed.",
    ),
    think_time=Flag(
        str,
        None,
        "Mean time between an answer and the next request of a user: shows a generator that is slow itself.",
    ),
    rate=Flag(str, None, "Arrival rate of the requests, if the report does not say: 100rps."),
    users=Flag(float, None, "Users of a closed loop, if the report does not say how many there were."),
    profile=reads(str, None, "Predict each run by this profile, and lay that beside what was measured."),
    plan=reads(
        str,
        None,
        "Predict by a plan saved by capacity plan -o instead; or, with --profile, by Triton's config.pbtxt.",
    ),
    replicas=Flag(int, 1, "With --profile: number of replicas."),
    batch_size_max=Flag(int, None, "With --profile: largest batch. Default: the largest in the profile."),
    batch_wait=Flag(
        str, "0ms", "With --profile: how long the oldest request may wait for its batch to fill."
    ),
    routing=Flag(str, "round-robin", "With --profile: how requests are spread over the replicas."),
    precision=Flag(float, 0.05, "Relative half-width to reach for the highest quantile predicted."),
)
def audit(context: typer.Context, *, output: Format, verbose: bool, as_json: bool) -> None:
    """Whether a load test is to be believed: laws that its own figures must obey, each with what to do.

    Checks Little's law, whether the loop was closed and what that hides (coordinated omission), whether the
    generator kept up, failures, samples behind percentiles, buckets, warm-up and drift. Exits with 0 where the
    figures may be used as they are, else with 4. With --profile or --plan it predicts each run.

    Examples:
      capacity audit run_stats.csv
      capacity audit perf.csv --profile resnet50-t4-fp16 --batch-size-max 8
    """
    from capacity import api

    found = run(api.audit, context)
    emit(found, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
