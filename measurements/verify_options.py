"""Verify options: what is verified and where its metrics are, as flags say it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.command_line import read_profile, read_routing, told
from capacity.errors import DependencyError, InputError

if TYPE_CHECKING:
    from capacity.workload import ArrivalProcess
    from measurements.address import Address
    from measurements.verify_inputs import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFlags:
    """What says a plan where no file does; None where it was not given."""

    profile: str | None
    replicas: int | None
    batch_size_max: int | None
    batch_wait: str | None
    routing: str | None
    queue_limit: int | None
    request_overhead: str | None


def read_subject(
    plan: str | None, flags: PlanFlags, urls: int, arrivals: str | None, rate: str | None
) -> "Subject":
    """`--plan`, or all the flags that stand for it."""
    from capacity.plan_file import read_plan_file
    from capacity.traffic import parse_arrivals
    from capacity.units import parse_rate_rps
    from measurements.verify_inputs import saved_subject

    process = None if arrivals is None else told(parse_arrivals(arrivals))
    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    if plan is None:
        return _flagged_subject(flags, urls, process, rate_rps)
    given = [field.name for field in fields(flags) if getattr(flags, field.name) is not None]
    if given:
        raise InputError(f"--plan says all of the plan; leave out --{given[0].replace('_', '-')}, or --plan")
    return saved_subject(read_plan_file(Path(plan), process), process, rate_rps)


def _flagged_subject(
    flags: PlanFlags, urls: int, process: "ArrivalProcess | None", rate_rps: float | None
) -> "Subject":
    from capacity.plan import Plan
    from capacity.traffic import workload
    from capacity.units import parse_duration_s
    from capacity.workload import PoissonArrivals
    from measurements.verify_inputs import Subject

    if flags.profile is None:
        raise InputError("give --plan plan.json, or --profile and what else says the plan")
    profile = read_profile(flags.profile, flags.request_overhead)
    size = flags.batch_size_max
    return Subject(
        profile=profile,
        workload=workload(PoissonArrivals() if process is None else process, rate_rps),
        plan=Plan(
            profile=profile.name,
            replicas=urls if flags.replicas is None else flags.replicas,
            batch_size_max=profile.batch_size_max if size is None else size,
            batch_wait_max_s=parse_duration_s(flags.batch_wait or "0ms", "--batch-wait"),
            routing=read_routing(flags.routing or "round-robin"),
            queue_limit=flags.queue_limit,
        ),
    )


def read_metrics(
    given: Sequence[str] | None, urls: Sequence[str], subject: "Subject", tell: Callable[[str], None]
) -> "tuple[tuple[Address, ...], tuple[str, ...]]":
    """Where metrics are, and a note where they are not to be had; an error where they were asked for.

    Another note, for which nobody should have to wait, says that servers batch otherwise than planned.
    """
    from measurements.batching_told import batching_notes
    from measurements.server_use import look
    from measurements.verify_inputs import metrics_addresses

    addresses, note = metrics_addresses(given or (), urls, subject.plan)
    if note is not None:
        return (), (note,)
    try:
        pages = look(addresses)
    except DependencyError as error:
        if given:
            raise DependencyError(f"{error}; give other --metrics, or none") from None
        return (), (f"mean batch and utilization are not known: {error}",)
    notes = batching_notes(addresses, pages, subject.plan)
    for each in notes:
        tell(f"note: {each}")
    return addresses, notes
