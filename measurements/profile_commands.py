"""`capacity profile`: measures service time by batch size, and writes the profile that a plan takes."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.command_line import (
    ConfidenceOption,
    Format,
    FormatOption,
    JsonOption,
    OverheadOption,
    SeedOption,
    check_effort,
    emit,
    input_option,
    option,
    output_option,
)
from measurements.profile_options import (
    check_source,
    given_flags,
    read_duration_s,
    read_histograms,
    read_kind,
    read_name,
    read_rounds,
    read_target,
    read_timeout_s,
    read_wait_s,
    write_profile,
)

if TYPE_CHECKING:
    from measurements.endpoint_source import Endpoint
    from measurements.histogram_names import Histograms
    from measurements.measurement import Measurement
    from measurements.rounds import Rounds


def profile(
    context: typer.Context,
    callable_name: Annotated[
        str | None,
        option("--callable", help="Time calls of module:function with the batch size; it returns when done."),
    ] = None,
    url: Annotated[
        str | None, option("--url", help="Time requests, a batch each: http://127.0.0.1:8000/predict.")
    ] = None,
    body: Annotated[
        str | None,
        input_option("--body", help="With --url: a JSON file with a request, whose first row is repeated."),
    ] = None,
    rows_key: Annotated[
        str, option("--rows-key", help="With --url: where the request has its rows.")
    ] = "instances",
    counters: Annotated[
        str | None,
        option("--counters", help="With --url: the server's metrics, to tell its work beside batches apart."),
    ] = None,
    metrics: Annotated[
        str | None,
        option(
            "--metrics", help="Take a server's own histograms under traffic: http://127.0.0.1:8000/metrics."
        ),
    ] = None,
    duration: Annotated[
        str | None, option("--duration", help="With --metrics: how long to watch; 30s by default.")
    ] = None,
    metric: Annotated[
        str, option("--metric", help="With --metrics: the histogram of batch times.")
    ] = "serve_batch_seconds",
    label: Annotated[
        str, option("--label", help="With --metrics: the histogram's label that is the batch size.")
    ] = "batch_size",
    metric_unit: Annotated[
        str | None,
        option("--metric-unit", help="With --metric: its unit, where its name does not end in _seconds: ms."),
    ] = None,
    batch_sizes: Annotated[str, option("--batch-sizes", help="Sizes to measure.")] = "1,2,4,8,16,32,64",
    samples: Annotated[int, option("--samples", help="Batches of each size.")] = 500,
    warm_up: Annotated[
        int, option("--warm-up", help="Batches of each size before, which do not count.")
    ] = 20,
    rests: Annotated[bool, option("--rests/--no-rests", help="Time batches after a rest too.")] = True,
    seed: SeedOption = 0,
    duration_max: Annotated[
        str, option("--duration-max", help="End the rounds after this long, with what was measured by then.")
    ] = "10min",
    timeout: Annotated[str, option("--timeout", help="How long an answer may take.")] = "10s",
    confidence: ConfidenceOption = 0.95,
    name: Annotated[str | None, option("--name", help="The profile's name; the file's by default.")] = None,
    model: Annotated[str | None, option("--model", help="The model's name.")] = None,
    device: Annotated[
        str | None, option("--device", help="What the fleet's replicas run on: T4, c6i.xlarge.")
    ] = None,
    kind: Annotated[str | None, option("--kind", help="cpu or gpu.")] = None,
    precision: Annotated[str | None, option("--precision", help="fp32, fp16, int8, ...")] = None,
    runtime: Annotated[str | None, option("--runtime", help="What runs the model, with its version.")] = None,
    hourly_usd: Annotated[
        float | None, option("--hourly-usd", help="Price of one device in USD per hour.")
    ] = None,
    request_overhead: OverheadOption = None,
    request_work: Annotated[
        str | None, option("--request-work", help="A replica's work on each request beside its batch: 200us.")
    ] = None,
    file: Annotated[
        str | None, output_option("-o", "--output", help="Write the profile into this .json file.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Measure service time by batch size, and write the profile that plan --profile takes.

    Of a Python function (--callable), of an endpoint that is sent batches (--url), or of a server at work,
    by its own histograms (--metrics). What was finished before an interrupt or a failure is not lost.
    """
    from capacity.caveats import plausibility_caveats
    from measurements.facts import ProfileFacts
    from measurements.profile_report import measurement_document, measurement_tables

    check_effort(confidence=confidence, precision=0.02, requests_max=1, seed=seed)
    check_source(
        {"--callable": callable_name, "--url": url, "--metrics": metrics}, body, given_flags(context)
    )
    path = None if file is None else read_target(file)
    facts = ProfileFacts(
        name=read_name(name, path),
        model=model,
        device=device,
        kind=read_kind(kind),
        precision=precision,
        runtime=runtime,
        hourly_usd=hourly_usd,
        request_overhead_s=read_duration_s(request_overhead, "--request-overhead"),
        request_work_s=read_duration_s(request_work, "--request-work"),
    )
    facts.check()
    rounds = replace(read_rounds(batch_sizes, samples, warm_up, seed, duration_max), has_rests=rests)
    timeout_s = read_timeout_s(timeout)
    if callable_name is not None:
        found = _of_callable(callable_name, rounds, confidence)
    elif url is not None:
        endpoint = _endpoint(url, (body or "", rows_key), counters, timeout_s)
        found = _of_endpoint(endpoint, rounds, confidence)
    else:
        where = read_histograms(metric, label, metric_unit)
        found = _of_metrics(metrics or "", where, read_wait_s(duration), timeout_s, confidence)
    measured = facts.profile(found)
    found = replace(found, caveats=(*found.caveats, *plausibility_caveats(measured, 0.99)))
    try:
        if path is not None:
            write_profile(measured, path)
    finally:  # a full disk does not cost what was measured
        emit(
            output,
            as_json=as_json,
            document=lambda: measurement_document(found, measured, seed=seed, confidence=confidence),
            tables=lambda: measurement_tables(found, measured),
        )
    if found.stop is not None:  # all is safe now; the exit code says that it was cut short
        raise found.stop


def _of_callable(name: str, rounds: "Rounds", confidence: float) -> "Measurement":
    from measurements.callable_subject import load

    function = load(name)  # before numpy, so that it may still say how many threads that is to take
    from measurements.sources import measure_callable

    return measure_callable(function, name, rounds, confidence, _report)


def _endpoint(url: str, body: tuple[str, str], counters: str | None, timeout_s: float) -> "Endpoint":
    from pathlib import Path

    from measurements.address import parse_address
    from measurements.batch_body import read_body
    from measurements.endpoint_source import Endpoint

    file, rows_key = body
    return Endpoint(
        address=parse_address(url, "--url"),
        body=read_body(Path(file), rows_key),
        timeout_s=timeout_s,
        counters=None if counters is None else parse_address(counters, "--counters"),
    )


def _of_endpoint(endpoint: "Endpoint", rounds: "Rounds", confidence: float) -> "Measurement":
    from measurements.sources import measure_endpoint

    return measure_endpoint(endpoint, rounds, confidence=confidence, report=_report)


def _of_metrics(
    url: str, where: "Histograms", duration_s: float, timeout_s: float, confidence: float
) -> "Measurement":
    from measurements.address import parse_address
    from measurements.sources import measure_metrics

    return measure_metrics(
        parse_address(url, "--metrics"),
        where,
        duration_s=duration_s,
        timeout_s=timeout_s,
        confidence=confidence,
        report=_report,
    )


def _report(message: str) -> None:
    """A line on stderr; a spinner would take its thread's time from what is measured."""
    typer.echo(message, err=True)
