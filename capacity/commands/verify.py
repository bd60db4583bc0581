"""`capacity verify`: what a plan predicts, compared with a load test of a real server."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capacity.commands.options import flags
from capacity.commands.output import Format, emit_pieces, workbench
from capacity.errors import DependencyError, InputError
from capacity.question.asked import FLAGS
from capacity.question.flag import COUNT, DURATION, FILE, REQUIRED, TEXT, Flag, reads, writes
from capacity.question.parse import duration_s, read_profile, read_routing
from capacity.units import parse_duration_s, parse_rate_rps

if TYPE_CHECKING:
    from capacity.measurement.http import Address
    from capacity.traffic.workload import ArrivalProcess, Workload
    from capacity.verification.load_test import LoadTest
    from capacity.verification.run import Arrivals
    from capacity.verification.subject import Subject
    from capacity.verification.verification import Verification

# Flags that describe a plan if no saved one does.
_PLAN = ("profile", "replicas", "batch_size_max", "batch_wait", "routing", "queue_limit", "request_overhead")


@flags(
    f"url body plan {' '.join(_PLAN)} rate arrivals duration warm_up runs timeout requests_max metrics tolerance "
    "seed confidence precision workers file",
    url=Flag(
        TEXT.named("URL"),
        REQUIRED,
        "Endpoint to load: http://127.0.0.1:8000/predict; repeat for each replica.",
        is_many=True,
    ),
    body=reads(FILE, REQUIRED, "A .json file with one request of one row."),
    plan=reads(FILE, None, "A plan saved by capacity plan -o, with its rate and objective."),
    profile=FLAGS["profile"].but(
        default=None, help="Instead of --plan: a bundled name, or a .json or .csv file."
    ),
    replicas=FLAGS["replicas"].but(default=None, help="Number of replicas. Default: one per --url."),
    batch_wait=FLAGS["batch_wait"].but(
        default=None, help="How long the oldest request may wait for its batch to fill: 2ms. Default: 0ms."
    ),
    routing=FLAGS["routing"].but(
        default=None, help="How requests are spread over several --url. Default: round-robin."
    ),
    rate=FLAGS["rate"].but(help="Arrival rate: 300rps. A plan and a trace have their own."),
    arrivals=FLAGS["arrivals"].but(
        default=None, help="poisson (default), gamma:cv=2, trace:FILE, as in simulate."
    ),
    duration=Flag(DURATION, "60s", "Measured time of each run."),
    warm_up=Flag(DURATION, "5s", "Warm-up before each run, not counted."),
    runs=Flag(COUNT, 1, "Number of load tests, each with its own random arrivals."),
    timeout=Flag(DURATION, "10s", "Timeout of each request."),
    requests_max=Flag(COUNT, 1_000_000, "Most requests to send, warm-up included."),
    metrics=Flag(
        TEXT.named("URL"),
        None,
        "Metrics address of each replica, or none. Default: /metrics at each --url.",
        is_many=True,
    ),
    tolerance=Flag(
        TEXT.named("QUANTITY=SHARE"),
        None,
        "How far a prediction may be off: p99=15%; repeatable.",
        is_many=True,
    ),
    file=writes("Also write the answer as .json."),
)
def verify(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """Load-test a server in an open loop and compare prediction with measurement; exit 4 if they disagree.

    Examples:
      capacity verify --plan plan.json --body request.json --url http://127.0.0.1:8000/predict
    """
    from capacity.files import check_target
    from capacity.measurement.http import import_aiohttp
    from capacity.question.budget import Effort
    from capacity.verification.quantities import read_tolerances, with_tolerances
    from capacity.verification.subject import check_urls
    from capacity.verification.verification import Verifier

    given = context.params
    import_aiohttp()
    tolerances = read_tolerances(given["tolerance"] or ())
    subject = _subject(given)
    effort = Effort(**{name: given[name] for name in ("seed", "confidence", "precision", "workers")})
    load = _load_test(given, subject)
    notes = check_urls(given["url"], subject.plan)
    if file is not None:
        check_target(Path(file), "a verification", (".json",))
    addresses, seen = _read_metrics(given["metrics"], given["url"], subject)
    verifier = Verifier(
        subject=subject, load=replace(load, metrics=addresses), effort=effort, workbench=workbench
    )
    found = verifier.verify(with_tolerances(tolerances, verifier.quantiles), (*notes, *seen))
    _answer(found, _environment(given["url"]), output, None if file is None else Path(file), as_json=as_json)


def _subject(given: Mapping[str, Any]) -> "Subject":
    """The plan to verify, from a file or from flags; notes on the trace are printed before anything can fail."""
    from capacity.traffic.parse import parse_arrivals

    arrivals, rate = given["arrivals"], given["rate"]
    process = None if arrivals is None else parse_arrivals(arrivals)
    for remark in getattr(process, "remarks", ()):
        _tell(f"note: {remark}")
    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    said = {name: given[name] for name in _PLAN}
    if given["plan"] is None:
        return _flagged_subject(said, len(given["url"]), process, rate_rps)
    return _saved_subject(given["plan"], said, process, rate_rps)


def _load_test(given: Mapping[str, Any], subject: "Subject") -> "LoadTest":
    """The load that is sent, before the addresses of metrics are known."""
    from capacity.measurement.http import parse_address
    from capacity.verification.load_test import LoadTest
    from capacity.verification.send import Target
    from capacity.verification.subject import read_request_body
    from simulations.draws.arrivals import Seed, Stage, Stream

    def draw(workload: "Workload", number: int) -> "Arrivals":
        """The arrivals that the simulator would draw for a run."""
        seed = Seed(value=given["seed"], stage=Stage.VERIFY, replication=number)
        return Stream(workload, given["requests_max"], seed)

    return LoadTest(
        target=Target(
            addresses=tuple(parse_address(each, "--url") for each in given["url"]),
            body=read_request_body(Path(given["body"])),
            timeout_s=parse_duration_s(given["timeout"], "--timeout"),
        ),
        workload=subject.workload,
        draw=draw,
        warm_up_s=parse_duration_s(given["warm_up"], "--warm-up"),
        duration_s=parse_duration_s(given["duration"], "--duration"),
        runs=given["runs"],
        seed=given["seed"],
        report=_tell,
        routing=subject.plan.routing,
        requests_max=given["requests_max"],
        is_calibrated=given["request_overhead"] is None,
    )


def _saved_subject(
    plan: str, said: dict[str, Any], process: "ArrivalProcess | None", rate_rps: float | None
) -> "Subject":
    from capacity.answer.saved_plan import read_plan_file
    from capacity.verification.subject import saved_subject

    for name, value in said.items():
        if value is not None:
            raise InputError(
                f"--plan already gives the whole plan; leave out --{name.replace('_', '-')}, or --plan"
            )
    return saved_subject(read_plan_file(Path(plan), process), process, rate_rps)


def _flagged_subject(
    said: dict[str, Any], urls: int, process: "ArrivalProcess | None", rate_rps: float | None
) -> "Subject":
    from capacity.server.batch.plan import BatchPlan
    from capacity.traffic.parse import workload
    from capacity.traffic.workload import PoissonArrivals
    from capacity.verification.subject import Subject

    if said["profile"] is None:
        raise InputError("give --plan plan.json, or --profile and the rest of the plan")
    overhead_s = duration_s(said["request_overhead"], None, "--request-overhead")
    profile = read_profile(said["profile"], overhead_s)
    replicas, size = said["replicas"], said["batch_size_max"]
    return Subject(
        profile=profile,
        workload=workload(PoissonArrivals() if process is None else process, rate_rps),
        plan=BatchPlan(
            profile=profile.name,
            replicas=urls if replicas is None else replicas,
            batch_size_max=profile.batch_size_max if size is None else size,
            batch_wait_max_s=parse_duration_s(said["batch_wait"] or "0ms", "--batch-wait"),
            routing=read_routing(said["routing"] or "round-robin"),
            queue_limit=said["queue_limit"],
        ),
    )


def _read_metrics(
    given: Sequence[str] | None, urls: Sequence[str], subject: "Subject"
) -> "tuple[tuple[Address, ...], tuple[str, ...]]":
    """Addresses of the metrics, and a note if they cannot be read; an error if they were asked for.

    Another note, printed before the run, says that servers batch otherwise than planned.
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
    """Print and save the verification, and exit with its code."""
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
