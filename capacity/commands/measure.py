"""`capacity profile`: measures service time by batch size, and writes the profile that a plan takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from capacity.commands.options import flags
from capacity.commands.output import Format, emit, emit_pieces, is_typed
from capacity.errors import InputError, quoted
from capacity.files import TEXT_LENGTH_MAX
from capacity.question.asked import FLAGS
from capacity.question.flag import (
    COUNT,
    DURATION,
    FILE,
    NAME,
    PRICE,
    SIZES,
    TEXT,
    Flag,
    reads,
    switch,
    writes,
)
from capacity.units import SECONDS_PER_UNIT, parse_duration_s

if TYPE_CHECKING:
    from capacity.measurement.findings import Measurement
    from capacity.measurement.metrics import Histograms
    from capacity.measurement.rounds import Rounds
    from capacity.profile.profile import ServiceProfile

Given = Mapping[str, Any]  # the values of all flags
_NAME = "measured"
_TIMEOUT_MAX_S = 600.0
# Flags of one source alone; all others belong to all sources.
_OWNERS = {
    **dict.fromkeys(("body", "rows_key", "counters"), ("--url",)),
    **dict.fromkeys(("duration", "metric", "label", "metric_unit"), ("--metrics",)),
    **dict.fromkeys(("batch_sizes", "samples", "warm_up", "rests", "duration_max"), ("--callable", "--url")),
    "timeout": ("--url", "--metrics", "--llm"),
    **dict.fromkeys(
        ("kind", "confidence", "request_work"), ("--callable", "--url", "--metrics")
    ),
    **dict.fromkeys(
        (
            "devices", "kv_tokens", "block_tokens", "sequences_max", "batched_tokens_max", "context_tokens_max",
            "engine_policy", "prefix_caching", "async_scheduling", "chunked_prefill",
        ),
        ("--llm",),
    ),
}  # fmt: skip
_LLM_TIMEOUT = "10min"  # requests of the saturated run wait for long


@flags(
    "callable_name url body rows_key counters metrics llm duration metric label metric_unit batch_sizes samples "
    "warm_up rests seed duration_max timeout confidence name model device devices kind precision runtime hourly_usd "
    "request_overhead request_work kv_tokens block_tokens sequences_max batched_tokens_max context_tokens_max "
    "engine_policy prefix_caching async_scheduling chunked_prefill file",
    callable_name=Flag(
        TEXT.named("MODULE:FUNCTION"),
        None,
        "Time calls of a Python function that takes the batch size: module:function.",
        ("--callable",),
    ),
    url=Flag(TEXT.named("URL"), None, "Time requests, one batch each: http://127.0.0.1:8000/predict."),
    body=reads(FILE, None, "With --url: a .json file with a request; its first row is repeated."),
    rows_key=Flag(TEXT.named("KEY"), "instances", "With --url: key of the rows in the request."),
    counters=Flag(
        TEXT.named("URL"),
        None,
        "With --url: the server's metrics, to separate work on requests from work on batches.",
    ),
    metrics=Flag(
        TEXT.named("URL"),
        None,
        "Read a server's own histograms while it serves traffic: http://127.0.0.1:8000/metrics.",
    ),
    llm=Flag(
        TEXT,
        None,
        "Measure the steps of a language model's engine at an OpenAI-compatible server: http://127.0.0.1:8000.",
    ),
    duration=Flag(DURATION, None, "With --metrics: how long to watch. Default: 30s."),
    metric=Flag(NAME, "serve_batch_seconds", "With --metrics: name of the histogram of batch times."),
    label=Flag(NAME, "batch_size", "With --metrics: the label that holds the batch size."),
    metric_unit=Flag(
        TEXT.named("UNIT"), None, "With --metric: its unit if the name does not end in _seconds: ms."
    ),
    batch_sizes=Flag(SIZES, "1,2,4,8,16,32,64", "Batch sizes to measure."),
    samples=Flag(COUNT, 500, "Batches of each size."),
    warm_up=Flag(COUNT, 20, "Warm-up batches of each size, not counted."),
    rests=switch("Also time batches that start after an idle pause.", "--rests/--no-rests").but(default=True),
    duration_max=Flag(DURATION, "10min", "Stop after this long and keep what was measured."),
    timeout=Flag(DURATION, "10s", "Longest time to wait for a response; of --llm 10min."),
    name=Flag(NAME, None, "Name of the profile. Default: that of the file."),
    model=Flag(NAME, None, "Name of the model; with --llm as the server knows it."),
    device=Flag(NAME, None, "Device of the replicas: T4, c6i.xlarge."),
    devices=Flag(COUNT, 1, "With --llm: devices that the server runs on, as one replica."),
    kind=Flag(TEXT.named("KIND"), None, "cpu or gpu."),
    precision=Flag(TEXT, None, "fp32, fp16, int8, ..."),
    runtime=Flag(NAME, None, "Runtime of the model, with its version."),
    hourly_usd=Flag(PRICE, None, "Price of one device in USD per hour."),
    request_work=Flag(DURATION, None, "Time a replica spends on each request outside batches: 200us."),
    sequences_max=FLAGS["sequences_max"].but(
        help="Most requests that the engine runs at once, as it was started."
    ),
    batched_tokens_max=FLAGS["batched_tokens_max"].but(
        help="Most tokens of a step of the engine, as it was started."
    ),
    context_tokens_max=FLAGS["context_tokens_max"].but(
        help="Longest request to measure, input and output tokens together."
    ),
    file=writes("Write the profile as .json."),
)
def profile(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """Measure service time by batch size, and write the profile that plan --profile takes.

    Times a Python function (--callable) or an endpoint that is sent batches (--url), or reads the histograms
    of a server under traffic (--metrics). An interrupt or a failure keeps what was measured before it.

    For a language model's server (--llm) it measures the steps of the engine by three sweeps, and checks them by a
    run with requests always waiting. This needs all of its runs.

    Examples:
      capacity profile --callable bench:predict -o mine.json
      capacity profile --url http://127.0.0.1:8000/predict --body row.json -o mine.json
      capacity profile --metrics http://127.0.0.1:8000/metrics --duration 60s -o mine.json
      capacity profile --llm http://127.0.0.1:8000 --model llama --kv-tokens 535040 --sequences-max 64 \
          --batched-tokens-max 2048 --context-tokens-max 8192 -o mine.json
    """
    from dataclasses import replace

    from capacity.files import check_target
    from capacity.question.budget import Effort
    from capacity.server.batch.caveats import plausibility_caveats

    given = context.params
    Effort(confidence=given["confidence"], seed=given["seed"])  # refuses what is out of range
    source = _source(given)
    _check_given(context, source)
    path = None if file is None else Path(file)
    if path is not None:  # refused before hours of work if it could not be written
        check_target(path, "a profile", (".json",))
    given["name"] = _read_name(given["name"], path)
    if source == "--llm":
        _measure_llm(context, path, output, as_json=as_json)
        return
    asked, outside_s = (
        _asked(given),
        [_duration_s(given, name) for name in ("request_overhead", "request_work")],
    )
    found = _SOURCES[source](given, _rounds(given), _timeout_s(given["timeout"]))
    measured = found.profile(asked, *outside_s)
    found = replace(found, caveats=(*found.caveats, *plausibility_caveats(measured, 0.99)))
    try:
        if path is not None:
            write_profile(measured, path)
    finally:  # a full disk does not cost what was measured
        _show(found, measured, given, output, as_json=as_json)
    if found.stop is not None:  # all is saved now; the exit code says that it was cut short
        raise found.stop


def _show(
    found: "Measurement", measured: "ServiceProfile", given: Given, output: Format, *, as_json: bool
) -> None:
    """Print what was measured."""
    from capacity.measurement.report import measurement_document, measurement_tables

    effort = {name: given[name] for name in ("seed", "confidence")}
    emit_pieces(
        output,
        as_json=as_json,
        document=lambda: measurement_document(found, measured, **effort),
        tables=lambda: measurement_tables(found, measured),
    )


def _duration_s(given: Given, name: str) -> float | None:
    """The duration of a flag; None if it is left out. [s]"""
    return None if given[name] is None else parse_duration_s(given[name], f"--{name.replace('_', '-')}")


def _rounds(given: Given) -> "Rounds":
    """Batches to time, and how long at most."""
    from capacity.measurement.rounds import Rounds, parse_batch_sizes

    return Rounds(
        batch_sizes=parse_batch_sizes(given["batch_sizes"]),
        samples=given["samples"],
        warm_up=given["warm_up"],
        seed=given["seed"],
        duration_max_s=parse_duration_s(given["duration_max"], "--duration-max"),
        has_rests=given["rests"],
    )


def _timeout_s(text: str) -> float:
    """The timeout of `--timeout`."""
    timeout_s = parse_duration_s(text, "--timeout")
    if not 0.001 <= timeout_s <= _TIMEOUT_MAX_S:
        raise InputError(f"--timeout must be from 1ms to {_TIMEOUT_MAX_S:g}s, got {text.strip()}")
    return timeout_s


def _measure_llm(context: typer.Context, path: Path | None, output: Format, *, as_json: bool) -> None:
    """Measure by `--llm`; the result is written and shown even if its check fails, which the exit code says."""
    from capacity.api import profile
    from capacity.errors import InconclusiveError
    from simulations.saturation import require_check

    given = context.params
    asked = given["timeout"] if is_typed(context, "timeout") else _LLM_TIMEOUT
    answer = profile.measure(given["llm"], _timeout_s(asked), given, _report)
    if path is not None:
        answer.write_profile(path)
    emit(answer, output, as_json=as_json)
    try:
        require_check(answer.profile)
    except InputError as error:
        raise InconclusiveError(str(error)) from None


def _source(given: Given) -> str:
    """The source that was given, exactly one."""
    flags = {"--callable": "callable_name", "--url": "url", "--metrics": "metrics", "--llm": "llm"}
    chosen = [flag for flag, name in flags.items() if given[name] is not None]
    if len(chosen) != 1:
        raise InputError(
            f"give one of {', '.join(flags)}, got {' and '.join(chosen) or 'none'}; "
            "each measures the same thing in a different way"
        )
    if (chosen[0] == "--url") != (given["body"] is not None):
        raise InputError("give --url and --body FILE.json together: where to send, and what")
    return chosen[0]


def _check_given(context: typer.Context, source: str) -> None:
    """Refuse a flag of another source, which would be ignored."""
    for name, owners in _OWNERS.items():
        if source not in owners and is_typed(context, name):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is only for {' and '.join(owners)}, not for {source}; leave it out")


def _read_name(name: str | None, path: Path | None) -> str:
    """The name from `--name`, or else from the file."""
    from capacity.profile.load import profile_name

    if name is not None or path is None:
        return _NAME if name is None else name
    return profile_name(path, _NAME)


def _asked(given: Given) -> "ServiceProfile":
    """A profile with what cannot be measured; refuses at once what could not be read back from a file."""
    from capacity.profile.formats import profile_to_document, read_document
    from capacity.profile.profile import BatchTiming, DeviceKind, ServiceProfile

    lines: dict[str, Any] = {name: given[name] for name in ("model", "device", "precision", "runtime")}
    for flag, text in lines.items():
        if text is not None and not (text.isprintable() and len(text) <= TEXT_LENGTH_MAX):
            raise InputError(f"--{flag} must be one line of {TEXT_LENGTH_MAX} characters at most")
    kinds: tuple[DeviceKind, ...] = get_args(DeviceKind)
    kind = given["kind"]
    if kind not in (None, *kinds):
        raise InputError(f"--kind must be {' or '.join(kinds)}, got {quoted(kind)}")
    timings = (BatchTiming(batch_size=1, mean_s=1.0),)
    asked = ServiceProfile(
        name=given["name"], timings=timings, kind=kind, hourly_usd=given["hourly_usd"], **lines
    )
    read_document(profile_to_document(asked), "the profile")
    return asked


def _of_callable(given: Given, rounds: "Rounds", _: float) -> "Measurement":
    """Times of calls of a Python function."""
    from capacity.measurement.callable import load, measure_callable

    name = given["callable_name"]
    function = load(name)  # before numpy, so that it can still set how many threads that takes
    return measure_callable(function, name, rounds, given["confidence"], _report)


def _of_endpoint(given: Given, rounds: "Rounds", timeout_s: float) -> "Measurement":
    """Times of requests, a batch each."""
    from capacity.measurement.endpoint import Endpoint, measure_endpoint, read_request
    from capacity.measurement.http import parse_address

    counters = given["counters"]
    endpoint = Endpoint(
        address=parse_address(given["url"], "--url"),
        request=read_request(Path(given["body"]), given["rows_key"]),
        rows_key=given["rows_key"],
        timeout_s=timeout_s,
        counters=None if counters is None else parse_address(counters, "--counters"),
    )
    return measure_endpoint(endpoint, rounds, confidence=given["confidence"], report=_report)


def _of_metrics(given: Given, _: "Rounds", timeout_s: float) -> "Measurement":
    """Batch times of a server under traffic, from its own histograms."""
    from capacity.measurement.counted import measure_metrics
    from capacity.measurement.http import parse_address
    from capacity.measurement.rounds import DURATION_MAX_S

    where, duration = _histograms(given), given["duration"]
    duration_s = parse_duration_s(duration or "30s", "--duration")
    if not 0.0 < duration_s <= DURATION_MAX_S:
        raise InputError(
            f"--duration must be above 0s and at most {DURATION_MAX_S / 3600:g}h, got {duration}"
        )
    return measure_metrics(
        parse_address(given["metrics"], "--metrics"),
        where,
        duration_s=duration_s,
        timeout_s=timeout_s,
        confidence=given["confidence"],
        report=_report,
    )


def _histograms(given: Given) -> "Histograms":
    """Names from `--metric`, `--label` and `--metric-unit`."""
    from capacity.measurement.metrics import Histograms

    metric, unit = given["metric"], given["metric_unit"]
    if unit is None and not metric.endswith("_seconds"):
        raise InputError(
            f"--metric {quoted(metric)} does not end in _seconds; give its unit, such as --metric-unit ms"
        )
    if unit is not None and unit not in SECONDS_PER_UNIT:
        raise InputError(f"--metric-unit {quoted(unit)} is unknown; use one of {', '.join(SECONDS_PER_UNIT)}")
    return Histograms(metric=metric, label=given["label"], unit_s=float(SECONDS_PER_UNIT[unit or "s"]))


_SOURCES = {"--callable": _of_callable, "--url": _of_endpoint, "--metrics": _of_metrics}


def write_profile(profile: "ServiceProfile", path: Path) -> None:
    """Write the profile to a file, whole or not at all; an old file is replaced, as by other commands' `-o`."""
    from capacity.answer.documents import dumps
    from capacity.files import write_whole
    from capacity.profile.formats import profile_to_document

    write_whole(path, (dumps(profile_to_document(profile)) + "\n").encode())


def _report(message: str) -> None:
    """Print a line on stderr; a spinner would take its thread's time from what is measured."""
    typer.echo(message, err=True)
