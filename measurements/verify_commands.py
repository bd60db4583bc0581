"""`capacity verify`: what was predicted of a plan, beside what a load test of a real server finds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.command_line import (
    ConfidenceOption,
    Format,
    FormatOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    SeedOption,
    WorkersOption,
    emit,
    option,
    read_profile,
    read_routing,
    told,
)
from capacity.errors import DependencyError, InputError

if TYPE_CHECKING:
    from capacity.workload import ArrivalProcess
    from measurements.address import Address
    from measurements.verify_inputs import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flags:
    """What says a plan where no file does; None where it was not given."""

    profile: str | None
    replicas: int | None
    batch_size_max: int | None
    batch_wait: str | None
    routing: str | None
    queue_limit: int | None
    request_overhead: str | None


def verify(
    context: typer.Context,
    url: Annotated[
        list[str],
        option("--url", help="Where requests go: http://127.0.0.1:8000/predict; repeat it for each replica."),
    ],
    body: Annotated[str, option("--body", help="A .json file: one request, of one row.")],
    plan: Annotated[
        str | None, option("--plan", help="A plan that capacity plan -o saved, with its rate and objective.")
    ] = None,
    profile: Annotated[
        str | None, option("--profile", help="Instead of --plan: a profile's name, or a .json or .csv file.")
    ] = None,
    replicas: Annotated[
        int | None, option("--replicas", help="How many replicas; as many as urls by default.")
    ] = None,
    batch_size_max: Annotated[
        int | None, option("--batch-size-max", help="Largest batch; the profile's largest by default.")
    ] = None,
    batch_wait: Annotated[
        str | None,
        option("--batch-wait", help="How long the oldest may wait for a batch to fill: 2ms; 0ms by default."),
    ] = None,
    routing: Annotated[
        str | None,
        option("--routing", help="How several urls are chosen from; round-robin by default, as in simulate."),
    ] = None,
    queue_limit: Annotated[
        int | None, option("--queue-limit", help="Waiting places of each queue; who finds none is lost.")
    ] = None,
    request_overhead: OverheadOption = None,
    rate: Annotated[
        str | None, option("--rate", help="Arrival rate: 300rps; a plan and a trace have their own.")
    ] = None,
    arrivals: Annotated[
        str | None, option("--arrivals", help="poisson (by default), gamma:cv=2, trace:FILE, as in simulate.")
    ] = None,
    duration: Annotated[str, option("--duration", help="Of what counts of each run.")] = "60s",
    warm_up: Annotated[str, option("--warm-up", help="Before it, of each run.")] = "5s",
    runs: Annotated[int, option("--runs", help="Load tests, each with arrivals of its own.")] = 1,
    timeout: Annotated[str, option("--timeout", help="After which a request is given up.")] = "10s",
    requests_max: Annotated[
        int, option("--requests-max", help="Requests to send at most, in all runs.")
    ] = 1_000_000,
    metrics: Annotated[
        list[str] | None,
        option("--metrics", help="Metrics of each replica; /metrics at its url by default; none for none."),
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        option("--tolerance", help="How far a prediction may be off: p99=15%; may be repeated."),
    ] = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    workers: WorkersOption = None,
    file: Annotated[
        str | None, option("-o", "--output", help="Write the answer into this .json file, too.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Predicted beside measured, by an open-loop load test of a server; exit 4 where they disagree."""
    from capacity.report import dumps
    from capacity.units import parse_duration_s
    from capacity.workbench import Effort
    from capacity.writing import check_target, write_whole
    from measurements.http_client import Target, import_aiohttp
    from measurements.load_series import Course, LoadSeries
    from measurements.load_test import LoadTest
    from measurements.quantities import read_tolerances, with_tolerances
    from measurements.schedule import check_requests
    from measurements.verifier import Verifier
    from measurements.verify_document import Setting, verify_document
    from measurements.verify_inputs import check_urls, read_request_body
    from measurements.verify_report import verify_tables

    import_aiohttp()
    quantities = with_tolerances(read_tolerances(tolerance or ()))
    asked = _Flags(
        profile=profile,
        replicas=replicas,
        batch_size_max=batch_size_max,
        batch_wait=batch_wait,
        routing=routing,
        queue_limit=queue_limit,
        request_overhead=request_overhead,
    )
    subject = _subject(plan, asked, len(url), arrivals, rate)
    course = Course(
        warm_up_s=parse_duration_s(warm_up, "--warm-up"),
        duration_s=parse_duration_s(duration, "--duration"),
        runs=runs,
        seed=seed,
    )
    check_requests(subject.workload, course.run_s, runs, requests_max)
    notes = check_urls(url, subject.plan)
    test = LoadTest(
        target=Target(
            urls=tuple(url),
            body=read_request_body(Path(body)),
            timeout_s=parse_duration_s(timeout, "--timeout"),
        ),
        routing=subject.plan.routing,
    )
    effort = Effort(seed=seed, confidence=confidence, precision=precision, workers=workers)
    if file is not None:
        check_target(Path(file), "a verification", (".json",))
    addresses, missing = _metrics(metrics, url, subject)
    verifier = Verifier(
        subject=subject,
        load=LoadSeries(test=test, workload=subject.workload, course=course, metrics=addresses, report=_tell),
        effort=effort,
        workbench=context.obj,
    )
    found = verifier.verify(quantities, (*notes, *missing))
    setting = Setting(
        plan=subject.plan,
        workload=subject.workload,
        seed=seed,
        confidence=confidence,
        environment=_environment(url),
    )
    try:
        emit(
            output,
            as_json=as_json,
            document=lambda: verify_document(found, setting),
            tables=lambda: verify_tables(found, setting),
        )
    finally:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            write_whole(Path(file), (dumps(verify_document(found, setting)) + "\n").encode())
    if found.interrupt is not None:
        raise found.interrupt
    raise typer.Exit(found.exit_code)


def _subject(plan: str | None, flags: _Flags, urls: int, arrivals: str | None, rate: str | None) -> "Subject":
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
    flags: _Flags, urls: int, process: "ArrivalProcess | None", rate_rps: float | None
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


def _metrics(
    given: Sequence[str] | None, urls: Sequence[str], subject: "Subject"
) -> "tuple[tuple[Address, ...], tuple[str, ...]]":
    """Where metrics are, and a note where they are not to be had; an error where they were asked for."""
    from measurements.server_use import why_unseen
    from measurements.verify_inputs import metrics_addresses

    addresses, note = metrics_addresses(given or (), urls, subject.plan)
    if note is not None:
        return (), (note,)
    reason = why_unseen(addresses)
    if reason is None:
        return addresses, ()
    if given:
        raise DependencyError(f"{reason}; give other --metrics, or none")
    return (), (f"mean batch and utilization are not known: {reason}",)


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _environment(urls: Sequence[str]) -> dict[str, Any]:
    """Where the load came from and went to."""
    from importlib.metadata import version

    from capacity.versions import versions
    from measurements.environment import machine, process

    sender = {**machine(), **process()}
    return {"urls": list(urls), "sender": sender, "versions": versions() | {"aiohttp": version("aiohttp")}}
