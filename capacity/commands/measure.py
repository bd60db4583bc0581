"""`capacity profile`: measures service time by batch size, and writes the profile that a plan takes."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from capacity.commands.options import (
    ConfidenceOption,
    FormatOption,
    JsonOption,
    OverheadOption,
    SeedOption,
    input_option,
    option,
    output_option,
)
from capacity.commands.output import Format, emit_pieces
from capacity.errors import InputError
from capacity.files import TEXT_LENGTH_MAX, printable

if TYPE_CHECKING:
    from capacity.measurement.findings import Measurement
    from capacity.measurement.metrics import Histograms
    from capacity.profile.profile import ServiceProfile

_NAME = "measured"
_TIMEOUT_MAX_S = 600.0
# What each source has no use for but these; all else belongs to all.
_OWNERS = {
    **dict.fromkeys(("body", "rows_key", "counters"), ("--url",)),
    **dict.fromkeys(("duration", "metric", "label", "metric_unit"), ("--metrics",)),
    **dict.fromkeys(("batch_sizes", "samples", "warm_up", "rests", "duration_max"), ("--callable", "--url")),
    "timeout": ("--url", "--metrics"),
}
_CALLABLE_NAME = option(
    "--callable",
    help="Time calls of a Python function that takes the batch size: module:function.",
    metavar="MODULE:FUNCTION",
)
_URL = option("--url", help="Time requests, one batch each: http://127.0.0.1:8000/predict.", metavar="URL")
_BODY = input_option("--body", help="With --url: a .json file with a request; its first row is repeated.")
_ROWS_KEY = option("--rows-key", help="With --url: key of the rows in the request.", metavar="KEY")
_COUNTERS = option(
    "--counters",
    help="With --url: the server's metrics, to separate work on requests from work on batches.",
    metavar="URL",
)
_METRICS = option(
    "--metrics",
    help="Read a server's own histograms while it serves traffic: http://127.0.0.1:8000/metrics.",
    metavar="URL",
)
_DURATION = option("--duration", help="With --metrics: how long to watch. Default: 30s.", metavar="DURATION")
_METRIC = option("--metric", help="With --metrics: name of the histogram of batch times.", metavar="NAME")
_LABEL = option("--label", help="With --metrics: the label that holds the batch size.", metavar="NAME")
_METRIC_UNIT = option(
    "--metric-unit", help="With --metric: its unit if the name does not end in _seconds: ms.", metavar="UNIT"
)
_WARM_UP = option("--warm-up", help="Warm-up batches of each size, not counted.", metavar="N")
_DURATION_MAX = option(
    "--duration-max", help="Stop after this long, with what was measured by then.", metavar="DURATION"
)
_DEVICE = option("--device", help="Device of the replicas: T4, c6i.xlarge.", metavar="NAME")
_HOURLY_USD = option("--hourly-usd", help="Price of one device in USD per hour.", metavar="PRICE")
_REQUEST_WORK = option(
    "--request-work", help="Time a replica spends on each request outside batches: 200us.", metavar="DURATION"
)
_FILE = output_option("-o", "--output", help="Write the profile as .json.")


def profile(
    context: typer.Context,
    callable_name: Annotated[str | None, _CALLABLE_NAME] = None,
    url: Annotated[str | None, _URL] = None,
    body: Annotated[str | None, _BODY] = None,
    rows_key: Annotated[str, _ROWS_KEY] = "instances",
    counters: Annotated[str | None, _COUNTERS] = None,
    metrics: Annotated[str | None, _METRICS] = None,
    duration: Annotated[str | None, _DURATION] = None,
    metric: Annotated[str, _METRIC] = "serve_batch_seconds",
    label: Annotated[str, _LABEL] = "batch_size",
    metric_unit: Annotated[str | None, _METRIC_UNIT] = None,
    batch_sizes: Annotated[
        str, option("--batch-sizes", help="Batch sizes to measure.", metavar="N,N,...")
    ] = "1,2,4,8,16,32,64",
    samples: Annotated[int, option("--samples", help="Batches of each size.", metavar="N")] = 500,
    warm_up: Annotated[int, _WARM_UP] = 20,
    rests: Annotated[bool, option("--rests/--no-rests", help="Also time batches after a rest.")] = True,
    seed: SeedOption = 0,
    duration_max: Annotated[str, _DURATION_MAX] = "10min",
    timeout: Annotated[
        str, option("--timeout", help="Longest time to wait for a response.", metavar="DURATION")
    ] = "10s",
    confidence: ConfidenceOption = 0.95,
    name: Annotated[
        str | None, option("--name", help="Name of the profile. Default: that of the file.", metavar="NAME")
    ] = None,
    model: Annotated[str | None, option("--model", help="Name of the model.", metavar="NAME")] = None,
    device: Annotated[str | None, _DEVICE] = None,
    kind: Annotated[str | None, option("--kind", help="cpu or gpu.", metavar="KIND")] = None,
    precision: Annotated[
        str | None, option("--precision", help="fp32, fp16, int8, ...", metavar="NAME")
    ] = None,
    runtime: Annotated[
        str | None, option("--runtime", help="Runtime of the model, with its version.", metavar="NAME")
    ] = None,
    hourly_usd: Annotated[float | None, _HOURLY_USD] = None,
    request_overhead: OverheadOption = None,
    request_work: Annotated[str | None, _REQUEST_WORK] = None,
    file: Annotated[str | None, _FILE] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Measure service time by batch size, and write the profile that plan --profile takes.

    Times a Python function (--callable) or an endpoint that is sent batches (--url), or reads the histograms
    of a server under traffic (--metrics). An interrupt or a failure keeps what was measured before it.

    Examples:
      capacity profile --callable bench:predict -o mine.json
      capacity profile --url http://127.0.0.1:8000/predict --body row.json -o mine.json
      capacity profile --metrics http://127.0.0.1:8000/metrics --duration 60s -o mine.json
    """
    from dataclasses import replace

    from capacity.files import check_target
    from capacity.measurement.rounds import Rounds, parse_batch_sizes
    from capacity.question.budget import Effort
    from capacity.search.caveats import plausibility_caveats
    from capacity.units import parse_duration_s

    Effort(confidence=confidence, seed=seed)  # refuses what is out of range
    source = _source({"--callable": callable_name, "--url": url, "--metrics": metrics}, body)
    _check_given(context, source)
    path = None if file is None else Path(file)
    if path is not None:  # refused before hours of work if it could not be written
        check_target(path, "a profile", (".json",))
    lines = {"model": model, "device": device, "precision": precision, "runtime": runtime}
    asked = _asked(_read_name(name, path), kind, hourly_usd, lines)
    overhead_s, work_s = (
        None if text is None else parse_duration_s(text, flag)
        for text, flag in ((request_overhead, "--request-overhead"), (request_work, "--request-work"))
    )
    rounds = Rounds(
        batch_sizes=parse_batch_sizes(batch_sizes),
        samples=samples,
        warm_up=warm_up,
        seed=seed,
        duration_max_s=parse_duration_s(duration_max, "--duration-max"),
        has_rests=rests,
    )
    timeout_s = parse_duration_s(timeout, "--timeout")
    if not 0.001 <= timeout_s <= _TIMEOUT_MAX_S:
        raise InputError(f"--timeout must be from 1ms to {_TIMEOUT_MAX_S:g}s, got {timeout.strip()}")
    if callable_name is not None:
        from capacity.measurement.callable import load, measure_callable

        function = load(callable_name)  # before numpy, so that it may still say how many threads that takes
        found = measure_callable(function, callable_name, rounds, confidence, _report)
    elif url is not None:
        from capacity.measurement.endpoint import Endpoint, measure_endpoint, read_request
        from capacity.measurement.http import parse_address

        endpoint = Endpoint(
            address=parse_address(url, "--url"),
            request=read_request(Path(body or ""), rows_key),
            rows_key=rows_key,
            timeout_s=timeout_s,
            counters=None if counters is None else parse_address(counters, "--counters"),
        )
        found = measure_endpoint(endpoint, rounds, confidence=confidence, report=_report)
    else:
        where = _histograms(metric, label, metric_unit)
        found = _of_metrics(metrics or "", where, duration, timeout_s, confidence)
    measured = found.profile(asked, overhead_s, work_s)
    found = replace(found, caveats=(*found.caveats, *plausibility_caveats(measured, 0.99)))
    from capacity.measurement.report import measurement_document, measurement_tables

    try:
        if path is not None:
            write_profile(measured, path)
    finally:  # a full disk does not cost what was measured
        emit_pieces(
            output,
            as_json=as_json,
            document=lambda: measurement_document(found, measured, seed=seed, confidence=confidence),
            tables=lambda: measurement_tables(found, measured),
        )
    if found.stop is not None:  # all is safe now; the exit code says that it was cut short
        raise found.stop


def _source(sources: dict[str, str | None], body: str | None) -> str:
    """The one of the three that was given."""
    chosen = [flag for flag, value in sources.items() if value is not None]
    if len(chosen) != 1:
        raise InputError(
            f"give one of {', '.join(sources)}, got {' and '.join(chosen) or 'none'}; "
            "each measures the same thing in another way"
        )
    if (chosen[0] == "--url") != (body is not None):
        raise InputError("--url and --body FILE.json belong together: where to, and what to send")
    return chosen[0]


def _check_given(context: typer.Context, source: str) -> None:
    """Refuse a flag that belongs to another source, and would be passed over."""
    for name, owners in _OWNERS.items():
        given = context.get_parameter_source(name)
        if given is not None and given.name == "COMMANDLINE" and source not in owners:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{flag} belongs to {' and '.join(owners)}, and {source} has no use for it; leave it out"
            )


def _read_name(name: str | None, path: Path | None) -> str:
    """`--name`, else the file's."""
    if name is not None or path is None:
        return _NAME if name is None else name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:128] or _NAME


def _asked(name: str, kind: str | None, hourly_usd: float | None, lines: dict[str, Any]) -> "ServiceProfile":
    """A profile of what nobody can measure; refused at once what no file could give back."""
    from capacity.profile.formats import profile_to_document, read_document
    from capacity.profile.profile import BatchTiming, DeviceKind, ServiceProfile

    for flag, text in lines.items():
        if text is not None and not (text.isprintable() and len(text) <= TEXT_LENGTH_MAX):
            raise InputError(f"--{flag} must be one line of {TEXT_LENGTH_MAX} characters at most")
    kinds: tuple[DeviceKind, ...] = get_args(DeviceKind)
    known = next((one for one in kinds if one == kind), None)
    if kind != known:
        raise InputError(f"--kind must be {' or '.join(kinds)}, got {(kind or '')[:40]!r}")
    timings = (BatchTiming(batch_size=1, mean_s=1.0),)
    asked = ServiceProfile(name=name, timings=timings, kind=known, hourly_usd=hourly_usd, **lines)
    read_document(profile_to_document(asked), "the profile")
    return asked


def _histograms(metric: str, label: str, unit: str | None) -> "Histograms":
    """`--metric`, `--label` and `--metric-unit`."""
    from capacity.measurement.metrics import Histograms
    from capacity.units import SECONDS_PER_UNIT

    if unit is None and not metric.endswith("_seconds"):
        raise InputError(
            f"--metric {printable(metric)[:80]!r} does not end in _seconds; say in what its times are by "
            "--metric-unit ms"
        )
    if unit is not None and unit not in SECONDS_PER_UNIT:
        raise InputError(f"--metric-unit {unit[:20]!r} is unknown; use one of {', '.join(SECONDS_PER_UNIT)}")
    return Histograms(metric=metric, label=label, unit_s=float(SECONDS_PER_UNIT[unit or "s"]))


def _of_metrics(
    url: str, where: "Histograms", duration: str | None, timeout_s: float, confidence: float
) -> "Measurement":
    from capacity.measurement.counted import measure_metrics
    from capacity.measurement.http import parse_address
    from capacity.measurement.rounds import DURATION_MAX_S
    from capacity.units import parse_duration_s

    duration_s = parse_duration_s(duration or "30s", "--duration")
    if not 0.0 < duration_s <= DURATION_MAX_S:
        raise InputError(
            f"--duration must be above 0s and at most {DURATION_MAX_S / 3600:g}h, got {duration}"
        )
    return measure_metrics(
        parse_address(url, "--metrics"),
        where,
        duration_s=duration_s,
        timeout_s=timeout_s,
        confidence=confidence,
        report=_report,
    )


def write_profile(profile: "ServiceProfile", path: Path) -> None:
    """The profile as a file, whole or not at all; what was there is replaced, as by other commands' `-o`."""
    from capacity.answer.documents import dumps
    from capacity.files import write_whole
    from capacity.profile.formats import profile_to_document

    write_whole(path, (dumps(profile_to_document(profile)) + "\n").encode())


def _report(message: str) -> None:
    """A line on stderr; a spinner would take its thread's time from what is measured."""
    typer.echo(message, err=True)
