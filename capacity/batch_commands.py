"""Batch commands: `capacity queue bulk`, one law or another by what is asked."""

from typing import Annotated

from capacity.command_line import (
    Format,
    FormatOption,
    JsonOption,
    QuantileOption,
    input_option,
    option,
    read_choice,
)
from capacity.errors import InputError
from capacity.queue_options import emit_law, queue_app, read_durations_s


@queue_app.command()
def bulk(
    arrival_rate: Annotated[
        str | None, option("--arrival-rate", help="Arrival rate at all replicas.")
    ] = None,
    batch_times: Annotated[
        str | None, option("--batch-times", help="Service time of a batch of 1, 2, ..., B: 2.5ms,3ms.")
    ] = None,
    profile: Annotated[
        str | None,
        input_option("--profile", help="A profile's mean service times up to --batch-size-max instead."),
    ] = None,
    batch_size_max: Annotated[int | None, option("--batch-size-max", help="Largest batch B.")] = None,
    batch_size_min: Annotated[int, option("--batch-size-min", help="A free replica waits for so many.")] = 1,
    batch_wait: Annotated[str, option("--batch-wait", help="How long a batch may wait to fill: 2ms.")] = "0s",
    timer: Annotated[
        str, option("--timer", help="Since when it counts: oldest (request's arrival) or open (batch).")
    ] = "oldest",
    batch_service: Annotated[
        str, option("--batch-service", help="deterministic or exponential service of a batch.")
    ] = "deterministic",
    service_cv: Annotated[
        float, option("--service-cv", help="Coefficient of variation of gamma service: 0.1.")
    ] = 0.0,
    replicas: Annotated[int, option("--replicas", help="How many replicas.")] = 1,
    routing: Annotated[str, option("--routing", help="round-robin, random or shared-queue.")] = "round-robin",
    users: Annotated[
        int | None, option("--users", help="So many users take turns, instead of a rate.")
    ] = None,
    think_time: Annotated[
        str | None, option("--think-time", help="Mean think time of a user: 300ms.")
    ] = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Dynamic batching: up to B requests at once, greedy, with a minimum batch or a batch wait."""
    from capacity.plan import BatchTimer, Routing
    from capacity.queues.bulk_question import BatchService, BulkQuestion
    from capacity.units import parse_duration_s, parse_rate_rps

    question = BulkQuestion(
        batch_times_s=_read_batch_times_s(batch_times, profile, batch_size_max, replicas),
        arrival_rate_rps=None if arrival_rate is None else parse_rate_rps(arrival_rate, "--arrival-rate"),
        batch_size_min=batch_size_min,
        batch_wait_max_s=parse_duration_s(batch_wait, "--batch-wait"),
        timer=read_choice(BatchTimer, timer, "--timer"),
        batch_service=read_choice(BatchService, batch_service, "--batch-service"),
        service_cv=service_cv,
        replicas=replicas,
        routing=read_choice(Routing, routing, "--routing"),
        users=users,
        think_time_s=None if think_time is None else parse_duration_s(think_time, "--think-time"),
    )
    emit_law(question.model, question.law(), quantile, output, as_json=as_json)


def _read_batch_times_s(
    text: str | None, profile: str | None, size_max: int | None, replicas: int
) -> tuple[float, ...]:
    """`--batch-times`, or `--profile` up to `--batch-size-max`. [s]"""
    if (text is None) == (profile is None):
        raise InputError("give either --batch-times 2.5ms,3ms,… or --profile NAME")
    if size_max is not None and size_max < 1:
        raise InputError(f"--batch-size-max must be >= 1, got {size_max}; 1 is without batching")
    if text is not None:
        times_s = read_durations_s(text, "--batch-times")
        if size_max is not None and size_max > len(times_s):
            raise InputError(
                f"--batch-times has batches up to {len(times_s)}, --batch-size-max {size_max} wants more; "
                "give a time for each"
            )
        return times_s if size_max is None else times_s[:size_max]
    from capacity.profile_files import load_profile

    assert profile is not None  # noqa: S101  (settled above)
    measured = load_profile(profile)
    if replicas > 1 and measured.slowdowns(replicas)[-1] > 1.0:
        raise InputError(
            f"profile {measured.name} has {measured.instances_per_device} instances to a device, which slow "
            "each other down, and no law knows that; take capacity simulate, or --batch-times to ignore it"
        )
    size_max = measured.batch_size_max if size_max is None else size_max
    return tuple(measured.service_mean_s(size) for size in range(1, size_max + 1))
