"""`capacity verify`: what was predicted of a plan, beside what a load test of a real server finds."""

from collections.abc import Sequence
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
    input_option,
    option,
    output_option,
)

if TYPE_CHECKING:
    from measurements.verification import Verification
    from measurements.verify_document import Setting


def verify(
    context: typer.Context,
    url: Annotated[
        list[str],
        option("--url", help="Where requests go: http://127.0.0.1:8000/predict; repeat it for each replica."),
    ],
    body: Annotated[str, input_option("--body", help="A .json file: one request, of one row.")],
    plan: Annotated[
        str | None,
        input_option("--plan", help="A plan that capacity plan -o saved, with its rate and objective."),
    ] = None,
    profile: Annotated[
        str | None,
        input_option("--profile", help="Instead of --plan: a profile's name, or a .json or .csv file."),
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
        str | None,
        input_option("--arrivals", help="poisson (by default), gamma:cv=2, trace:FILE, as in simulate."),
    ] = None,
    duration: Annotated[str, option("--duration", help="Of what counts of each run.")] = "60s",
    warm_up: Annotated[str, option("--warm-up", help="Before it, of each run.")] = "5s",
    runs: Annotated[
        int, option("--runs", help="Load tests, each with arrivals of its own where these are random.")
    ] = 1,
    timeout: Annotated[str, option("--timeout", help="After which a request is given up.")] = "10s",
    requests_max: Annotated[
        int, option("--requests-max", help="Requests to send at most, in all runs and before them.")
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
        str | None, output_option("-o", "--output", help="Write the answer into this .json file, too.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Predicted beside measured, by an open-loop load test of a server; exit 4 where they disagree."""
    from capacity.units import parse_duration_s
    from capacity.workbench import Effort
    from capacity.writing import check_target
    from measurements.http_client import Target, import_aiohttp
    from measurements.load_series import Course, LoadSeries
    from measurements.load_test import LoadTest
    from measurements.quantities import read_tolerances, with_tolerances
    from measurements.verifier import Verifier
    from measurements.verify_document import Setting
    from measurements.verify_inputs import check_urls, read_request_body
    from measurements.verify_options import PlanFlags, read_metrics, read_subject

    import_aiohttp()
    tolerances = read_tolerances(tolerance or ())
    asked = PlanFlags(
        profile=profile,
        replicas=replicas,
        batch_size_max=batch_size_max,
        batch_wait=batch_wait,
        routing=routing,
        queue_limit=queue_limit,
        request_overhead=request_overhead,
    )
    subject = read_subject(plan, asked, len(url), arrivals, rate)
    course = Course(
        warm_up_s=parse_duration_s(warm_up, "--warm-up"),
        duration_s=parse_duration_s(duration, "--duration"),
        runs=runs,
        seed=seed,
    )
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
    addresses, told = read_metrics(metrics, url, subject, _tell)
    verifier = Verifier(
        subject=subject,
        load=LoadSeries(
            test=test,
            workload=subject.workload,
            course=course,
            metrics=addresses,
            report=_tell,
            requests_max=requests_max,
        ),
        effort=effort,
        workbench=context.obj,
        is_calibrated=request_overhead is None,
    )
    found = verifier.verify(with_tolerances(tolerances, verifier.quantiles), (*notes, *told))
    setting = Setting(
        plan=subject.plan,
        workload=subject.workload,
        seed=seed,
        confidence=confidence,
        environment=_environment(url),
    )
    _answer(found, setting, output, None if file is None else Path(file), as_json=as_json)


def _answer(
    found: "Verification", setting: "Setting", output: Format, file: Path | None, *, as_json: bool
) -> None:
    """Print and save it, and end as it came out."""
    from capacity.report import dumps
    from capacity.writing import write_whole
    from measurements.verify_document import verify_document
    from measurements.verify_report import verify_tables

    try:
        emit(
            output,
            as_json=as_json,
            document=lambda: verify_document(found, setting),
            tables=lambda: verify_tables(found, setting),
        )
    finally:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            write_whole(file, (dumps(verify_document(found, setting)) + "\n").encode())
    if found.interrupt is not None:
        raise found.interrupt
    if found.stop is not None:
        raise found.stop
    raise typer.Exit(found.exit_code)


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _environment(urls: Sequence[str]) -> dict[str, Any]:
    """Where the load came from and went to."""
    from importlib.metadata import version

    from capacity.versions import versions
    from measurements.address import parse_address
    from measurements.environment import machine, process

    shown = [parse_address(url, "--url").shown for url in urls]
    sender = {**machine(), **process()}
    return {"urls": shown, "sender": sender, "versions": versions() | {"aiohttp": version("aiohttp")}}
