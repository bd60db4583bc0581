"""`capacity verify`: what was predicted of a plan, beside what a load test of a real server finds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.commands.options import (
    ConfidenceOption,
    FormatOption,
    JsonOption,
    OverheadOption,
    PrecisionOption,
    QueueLimitOption,
    SeedOption,
    WorkersOption,
    input_option,
    option,
    output_option,
)
from capacity.commands.output import Format, emit_pieces, workbench
from capacity.errors import DependencyError, InputError
from capacity.question.parse import duration_s, read_profile, read_routing

if TYPE_CHECKING:
    from capacity.measurement.http import Address
    from capacity.traffic.workload import ArrivalProcess, Workload
    from capacity.verification.run import Arrivals
    from capacity.verification.subject import Subject
    from capacity.verification.verification import Verification
_URL = option(
    "--url", help="Endpoint to load: http://127.0.0.1:8000/predict; repeat for each replica.", metavar="URL"
)
_PLAN = input_option("--plan", help="A plan saved by capacity plan -o, with its rate and objective.")
_PROFILE = input_option(
    "--profile", help="Instead of --plan: a bundled name, or a .json or .csv file.", metavar="PROFILE"
)
_REPLICAS = option("--replicas", help="Number of replicas. Default: one per --url.", metavar="N")
_BATCH_SIZE_MAX = option(
    "--batch-size-max", help="Largest batch. Default: the largest in the profile.", metavar="N"
)
_BATCH_WAIT = option(
    "--batch-wait",
    help="How long the oldest request may wait for its batch to fill: 2ms. Default: 0ms.",
    metavar="DURATION",
)
_ROUTING = option(
    "--routing", help="How requests are spread over several --url. Default: round-robin.", metavar="ROUTING"
)
_RATE = option("--rate", help="Arrival rate: 300rps. A plan and a trace have their own.", metavar="RATE")
_ARRIVALS = input_option(
    "--arrivals", help="poisson (default), gamma:cv=2, trace:FILE, as in simulate.", metavar="ARRIVALS"
)
_RUNS = option("--runs", help="Number of load tests, each with its own random arrivals.", metavar="N")
_REQUESTS_MAX = option("--requests-max", help="Most requests to send, warm-up included.", metavar="N")
_METRICS = option(
    "--metrics",
    help="Metrics of each replica; none for none. Default: /metrics at each --url.",
    metavar="URL",
)
_TOLERANCE = option(
    "--tolerance", help="How far a prediction may be off: p99=15%; repeatable.", metavar="QUANTITY=SHARE"
)
_FILE = output_option("-o", "--output", help="Also write the answer as .json.")


def verify(
    context: typer.Context,
    url: Annotated[list[str], _URL],
    body: Annotated[str, input_option("--body", help="A .json file with one request of one row.")],
    plan: Annotated[str | None, _PLAN] = None,
    profile: Annotated[str | None, _PROFILE] = None,
    replicas: Annotated[int | None, _REPLICAS] = None,
    batch_size_max: Annotated[int | None, _BATCH_SIZE_MAX] = None,
    batch_wait: Annotated[str | None, _BATCH_WAIT] = None,
    routing: Annotated[str | None, _ROUTING] = None,
    queue_limit: QueueLimitOption = None,
    request_overhead: OverheadOption = None,
    rate: Annotated[str | None, _RATE] = None,
    arrivals: Annotated[str | None, _ARRIVALS] = None,
    duration: Annotated[
        str, option("--duration", help="Measured time of each run.", metavar="DURATION")
    ] = "60s",
    warm_up: Annotated[
        str, option("--warm-up", help="Warm-up before each run, not counted.", metavar="DURATION")
    ] = "5s",
    runs: Annotated[int, _RUNS] = 1,
    timeout: Annotated[
        str, option("--timeout", help="Time after which a request is given up.", metavar="DURATION")
    ] = "10s",
    requests_max: Annotated[int, _REQUESTS_MAX] = 1_000_000,
    metrics: Annotated[list[str] | None, _METRICS] = None,
    tolerance: Annotated[list[str] | None, _TOLERANCE] = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = 0.95,
    precision: PrecisionOption = 0.02,
    workers: WorkersOption = None,
    file: Annotated[str | None, _FILE] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Load-test a server open-loop and set prediction beside measurement; exit 4 where they disagree.

    Examples:
      capacity verify --plan plan.json --body request.json --url http://127.0.0.1:8000/predict
    """
    from capacity.files import check_target
    from capacity.measurement.http import import_aiohttp, parse_address
    from capacity.question.budget import Effort
    from capacity.traffic.parse import parse_arrivals
    from capacity.units import parse_duration_s, parse_rate_rps
    from capacity.verification.load_test import LoadTest
    from capacity.verification.quantities import read_tolerances, with_tolerances
    from capacity.verification.send import Target
    from capacity.verification.subject import check_urls, read_request_body
    from capacity.verification.verification import Verifier
    from simulations.draws.arrivals import Seed, Stage, Stream

    def draw(workload: "Workload", number: int) -> "Arrivals":
        """What the simulator would draw for a run of its own."""
        return Stream(workload, requests_max, Seed(value=seed, stage=Stage.VERIFY, replication=number))

    import_aiohttp()
    tolerances = read_tolerances(tolerance or ())
    process = None if arrivals is None else parse_arrivals(arrivals)
    for remark in getattr(process, "remarks", ()):
        typer.echo(f"note: {remark}", err=True)
    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    flags = {
        "profile": profile,
        "replicas": replicas,
        "batch_size_max": batch_size_max,
        "batch_wait": batch_wait,
        "routing": routing,
        "queue_limit": queue_limit,
        "request_overhead": request_overhead,
    }
    if plan is None:
        subject = _flagged_subject(flags, len(url), process, rate_rps)
    else:
        subject = _saved_subject(plan, flags, process, rate_rps)
    effort = Effort(seed=seed, confidence=confidence, precision=precision, workers=workers)
    load = LoadTest(
        target=Target(
            addresses=tuple(parse_address(each, "--url") for each in url),
            body=read_request_body(Path(body)),
            timeout_s=parse_duration_s(timeout, "--timeout"),
        ),
        workload=subject.workload,
        draw=draw,
        warm_up_s=parse_duration_s(warm_up, "--warm-up"),
        duration_s=parse_duration_s(duration, "--duration"),
        runs=runs,
        seed=seed,
        report=_tell,
        routing=subject.plan.routing,
        requests_max=requests_max,
        is_calibrated=request_overhead is None,
    )
    notes = check_urls(url, subject.plan)
    if file is not None:
        check_target(Path(file), "a verification", (".json",))
    addresses, seen = _read_metrics(metrics, url, subject)
    verifier = Verifier(
        subject=subject, load=replace(load, metrics=addresses), effort=effort, workbench=workbench
    )
    found = verifier.verify(with_tolerances(tolerances, verifier.quantiles), (*notes, *seen))
    _answer(found, _environment(url), output, None if file is None else Path(file), as_json=as_json)


def _saved_subject(
    plan: str, flags: dict[str, Any], process: "ArrivalProcess | None", rate_rps: float | None
) -> "Subject":
    from capacity.answer.saved_plan import read_plan_file
    from capacity.verification.subject import saved_subject

    for name, value in flags.items():
        if value is not None:
            raise InputError(f"--plan says all of the plan; leave out --{name.replace('_', '-')}, or --plan")
    return saved_subject(read_plan_file(Path(plan), process), process, rate_rps)


def _flagged_subject(
    flags: dict[str, Any], urls: int, process: "ArrivalProcess | None", rate_rps: float | None
) -> "Subject":
    from capacity.question.plan import Plan
    from capacity.traffic.parse import workload
    from capacity.traffic.workload import PoissonArrivals
    from capacity.units import parse_duration_s
    from capacity.verification.subject import Subject

    if flags["profile"] is None:
        raise InputError("give --plan plan.json, or --profile and what else says the plan")
    overhead_s = duration_s(flags["request_overhead"], None, "--request-overhead")
    profile = read_profile(flags["profile"], overhead_s)
    replicas, size = flags["replicas"], flags["batch_size_max"]
    return Subject(
        profile=profile,
        workload=workload(PoissonArrivals() if process is None else process, rate_rps),
        plan=Plan(
            profile=profile.name,
            replicas=urls if replicas is None else replicas,
            batch_size_max=profile.batch_size_max if size is None else size,
            batch_wait_max_s=parse_duration_s(flags["batch_wait"] or "0ms", "--batch-wait"),
            routing=read_routing(flags["routing"] or "round-robin"),
            queue_limit=flags["queue_limit"],
        ),
    )


def _read_metrics(
    given: Sequence[str] | None, urls: Sequence[str], subject: "Subject"
) -> "tuple[tuple[Address, ...], tuple[str, ...]]":
    """Where metrics are, and a note where they are not to be had; an error where they were asked for.

    Another note, for which nobody should have to wait, says that servers batch otherwise than planned.
    """
    from capacity.verification.subject import metrics_addresses
    from capacity.verification.watch import batching_notes, look

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
        _tell(f"note: {each}")
    return addresses, notes


def _answer(
    found: "Verification", environment: dict[str, Any], output: Format, file: Path | None, *, as_json: bool
) -> None:
    """Print and save it, and end as it came out."""
    from capacity.answer.documents import dumps
    from capacity.files import write_whole
    from capacity.verification.report import verify_document, verify_tables

    try:
        emit_pieces(
            output,
            as_json=as_json,
            document=lambda: verify_document(found, environment),
            tables=lambda: verify_tables(found),
        )
    finally:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            write_whole(file, (dumps(verify_document(found, environment)) + "\n").encode())
    if found.stop is not None:
        raise found.stop
    raise typer.Exit(found.exit_code)


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _environment(urls: Sequence[str]) -> dict[str, Any]:
    """Where the load came from and went to."""
    from importlib.metadata import version

    from capacity.files import versions
    from capacity.measurement.findings import machine, process
    from capacity.measurement.http import parse_address

    shown = [parse_address(url, "--url").shown for url in urls]
    sender = {**machine(), **process()}
    return {"urls": shown, "sender": sender, "versions": versions() | {"aiohttp": version("aiohttp")}}
