"""`capacity autoscale`: what does a fleet that follows its load cost and hold?"""

from contextlib import ExitStack
from pathlib import Path

import typer

from capacity.commands.options import FLAGS, Flag, flags, reads, writes
from capacity.commands.output import Format, check_figure, emit, run


@flags(
    "profile rate daily between arrivals slo_p99 target replicas_min replicas_max startup_time metric_lag "
    "stabilization batch_size_max batch_wait routing queue_limit hourly_usd request_overhead only_verdict runs "
    "seed confidence workers file verbose",
    daily=reads(str, None, "Rates over a day, instead of --rate: a .csv of time,rate_rps."),
    between=Flag(str, None, "Part of the day to look at: 07:00-11:30. Default: all of it."),
    arrivals=FLAGS["arrivals"]._replace(help="How requests arrive: poisson, deterministic or gamma:cv=2."),
    slo_p99=FLAGS["slo_p99"]._replace(help="Limit on the P99 of all requests of that time: 200ms; required."),
    target=Flag(
        str,
        "utilization:0.6",
        "What the autoscaler holds: utilization:0.6, share of time busy, or concurrency:4, requests at a replica.",
    ),
    replicas_min=Flag(int, 1, "Fewest replicas; with 0 the last one leaves after 300 s without requests."),
    replicas_max=Flag(int, 10, "Most replicas."),
    startup_time=Flag(str, None, "From the decision until a new replica serves: 2min. Default: 0 s."),
    metric_lag=Flag(str, None, "Age of the metrics that it decides with: 30s. Default: 0 s."),
    stabilization=Flag(
        str, None, "It shrinks to the largest recommendation of this time. Default: 300s, as the HPA's."
    ),
    batch_wait=FLAGS["batch_wait"]._replace(default=None),
    hourly_usd=Flag(str, None, "Price of one device in USD per hour: 0.526. Default: the profile's."),
    only_verdict=Flag(bool, False, "Leave out the fixed fleet, and what would hold the limit."),
    runs=Flag(int, 5, "Independent days behind each figure."),
    file=writes("Save arrivals, replicas and late requests over the day, as .png or .svg."),
)  # fmt: skip
def autoscale(
    context: typer.Context, file: str | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """What does a fleet that follows its load cost and hold, beside one that does not?

    Examples:
      capacity autoscale --profile mine.csv --daily day.csv --slo-p99 300ms --startup-time 2min --metric-lag 30s
      capacity autoscale --profile mine.csv --rate 90rps --between 00:00-02:00 --slo-p99 300ms --target concurrency:4
    """
    from capacity.api_autoscale import autoscale as ask

    if file is not None:
        check_figure(file)
    found = run(ask, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if file is not None:
            after.callback(lambda: found.plot().save(Path(file)))
        emit(found, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)
