"""Options: the flags that commands share.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import os
import stat
from collections.abc import Callable
from typing import Annotated, Any

import typer

from capacity.commands.output import Format
from capacity.errors import InputError
from capacity.files import JOURNAL_SUFFIX, printable

_FILES = "capacity.files"  # where a command's context keeps what its flags read and write


def option(*names: str, help: str, callback: Callable[..., Any] | None = None) -> Any:  # noqa: A002  (Typer's own word)
    """A flag by its names, with one sentence of help, and what looks at its value before all else."""
    return typer.Option(*names, help=help, callback=callback, show_default=True)


def input_option(*names: str, help: str) -> Any:  # noqa: A002
    """A flag that may name a file to read, which no output of the same command may replace."""
    return option(*names, help=help, callback=note_input)


def output_option(*names: str, help: str) -> Any:  # noqa: A002
    """A flag that names a file to write."""
    return option(*names, help=help, callback=_note_output)


def note_input(
    context: typer.Context, parameter: typer.CallbackParam, value: str | list[str] | None
) -> str | list[str] | None:
    """What looks at the value of a flag or an argument that may name files to read."""
    for text in [value] if isinstance(value, str) else value or []:
        for name in {text, text.removeprefix("trace:"), text.partition("=")[2]}:
            _note(context, parameter, name, is_output=False)
    return value


def _note_arrivals(
    context: typer.Context, parameter: typer.CallbackParam, value: str | None
) -> str | list[str] | None:
    """Of `trace FILE` all that would be said is that the file was not expected."""
    if value == "trace":
        raise InputError("--arrivals trace names no file; write the two as one word: --arrivals trace:FILE")
    return note_input(context, parameter, value)


def _note_output(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    if value is not None:
        for name in (value, value + JOURNAL_SUFFIX):
            _note(context, parameter, name, is_output=True)
    return value


def _note(context: typer.Context, parameter: typer.CallbackParam, name: str, *, is_output: bool) -> None:
    """Keep what a flag names, where that is a file; by whatever name, none is written that is read too.

    Raises:
        InputError: it would replace an input of the command, or another output.
    """
    try:
        found = os.stat(name)  # noqa: PTH116  (a path may be empty)
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(found.st_mode):
        return
    flag = "/".join(parameter.opts)
    noted = context.meta.setdefault(_FILES, [])
    for other, other_flag, is_other_output in noted:
        if (is_output or is_other_output) and os.path.samestat(found, other):
            writer, reader = (flag, other_flag) if is_output else (other_flag, flag)
            does = "writes" if is_output and is_other_output else "reads"
            raise InputError(
                f"{writer} would replace {printable(name)}, which {reader} {does}; write to another file"
            )
    noted.append((found, flag, is_output))


FormatOption = Annotated[Format, option("--format", help="What to print.")]
JsonOption = Annotated[bool, option("--json", help="Short for --format json.")]
ProfileOption = Annotated[
    str, input_option("--profile", help="A bundled profile's name, or a .json or .csv file.")
]
RateOption = Annotated[
    str | None, option("--rate", help="Arrival rate with its unit: 500rps, 30000/min; a trace has its own.")
]
ProfilesOption = Annotated[list[str], input_option("--profile", help="As in simulate; may be repeated.")]
RatesOption = Annotated[
    list[str] | None, option("--rate", help="Rate, or range of rates 100rps:1000rps:100rps; may be repeated.")
]
QueueLimitOption = Annotated[
    int | None, option("--queue-limit", help="Waiting places of each queue; who finds none is lost.")
]
ArrivalsOption = Annotated[
    str,
    option(
        "--arrivals",
        help="poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s or trace:FILE.",
        callback=_note_arrivals,
    ),
]
WaitOption = Annotated[
    str, option("--batch-wait", help="How long the oldest request may wait for a batch to fill: 2ms.")
]
RoutingOption = Annotated[
    str,
    option("--routing", help="round-robin, random, least-outstanding, power-of-two or shared-queue."),
]
TimerOption = Annotated[
    str, option("--timer", help="Since when --batch-wait counts: oldest (request's arrival) or open (batch).")
]
OverheadOption = Annotated[
    str | None, option("--request-overhead", help="Time outside the server, on every response: 5ms.")
]
InstancesOption = Annotated[
    int | None,
    option("--instances-per-device", help="Replicas that share one device and its work."),
]
SeedOption = Annotated[int, option("--seed", help="Same seed and input, same bytes out.")]
ConfidenceOption = Annotated[float, option("--confidence", help="Confidence of intervals and verdicts.")]
PrecisionOption = Annotated[
    float, option("--precision", help="Relative half-width wanted of the decisive quantile.")
]
BudgetOption = Annotated[int, option("--requests-max", help="Requests to simulate for one plan at most.")]
EngineOption = Annotated[
    str, option("--engine", help="kernel (compiled) or simpy (readable, slow); both give the same bytes.")
]
WorkersOption = Annotated[
    int | None,
    option("--workers", help="Threads (SimPy: processes); all cores by default; same answer."),
]
ClusterOption = Annotated[
    str | None, option("--cluster", help="A Dask scheduler to send the work to, instead: tcp://HOST:8786.")
]
ArrivalRateOption = Annotated[str, option("--arrival-rate", help="Arrival rate: 9rps.")]
ServiceRateOption = Annotated[
    str | None, option("--service-rate", help="Requests per second of one busy server: 5rps.")
]
ServiceTimeOption = Annotated[
    str | None, option("--service-time", help="Mean service time instead of the rate: 200ms.")
]
QuantileOption = Annotated[
    list[float] | None, option("--quantile", help="Quantile to report, 0.999; may be repeated.")
]
P50Option = Annotated[str | None, option("--slo-p50", help="Limit on the median response time: 50ms.")]
P90Option = Annotated[str | None, option("--slo-p90", help="Limit on P90.")]
P95Option = Annotated[str | None, option("--slo-p95", help="Limit on P95.")]
P99Option = Annotated[str | None, option("--slo-p99", help="Limit on P99: 200ms.")]
P999Option = Annotated[str | None, option("--slo-p999", help="Limit on P99.9.")]


PlanProfilesOption = Annotated[
    list[str],
    input_option(
        "--profile", help="A bundled profile's name, or a .json or .csv file; repeat it to choose between."
    ),
]
PricesOption = Annotated[
    list[str] | None,
    option("--hourly-usd", help="Price of a device, of one profile's where there are several: t4=0.526."),
]
TierOption = Annotated[
    str | None, option("--tier", help="Ready-made limits: interactive, batch or background.")
]
MeanOption = Annotated[str | None, option("--slo-mean", help="Limit on the mean response time.")]
WaitLimitsOption = Annotated[
    list[str] | None, option("--slo-wait", help="Limit on a quantile of the wait: p99=5ms; may be repeated.")
]
LossOption = Annotated[
    str | None, option("--loss-max", help="Share of requests that may be lost, with --queue-limit: 0.1%.")
]
UtilizationOption = Annotated[
    str | None, option("--utilization-max", help="Share of time that a replica may be busy: 80%.")
]
BatchSizeOption = Annotated[
    int | None, option("--batch-size-max", help="Largest batch to consider; the profile's by default.")
]
BatchWaitsOption = Annotated[
    list[str] | None,
    option(
        "--batch-wait", help="How long the oldest may wait for a batch to fill: 2ms; searched by default."
    ),
]
RoutingsOption = Annotated[
    list[str] | None,
    option(
        "--routing",
        help="round-robin (the default), random, least-outstanding, power-of-two or shared-queue; "
        "repeat it, or say any, to choose between.",
    ),
]
ReplicasMaxOption = Annotated[int, option("--replicas-max", help="Most replicas to consider.")]
DailyOption = Annotated[
    str | None, input_option("--daily", help="A day's rates from a .csv of time,rate_rps, instead of --rate.")
]
UsersOption = Annotated[
    int | None, option("--users", help="So many users take turns, instead of arrivals at a rate.")
]
ThinkTimeOption = Annotated[str | None, option("--think-time", help="Mean think time of a user: 300ms.")]
SpareOption = Annotated[int, option("--spare", help="So many replicas may be gone, and the objective holds.")]
SurviveOption = Annotated[
    list[str] | None,
    option("--survive", help="What the objective outlives: n-1, n-2, zone:3; may be repeated."),
]
RollingOption = Annotated[
    str | None, option("--rolling-update", help="An update that takes replicas away: max-unavailable=25%.")
]
StartupOption = Annotated[
    str | None, option("--startup-time", help="Until a new replica is ready: 120s; with --spike.")
]
SpikeOption = Annotated[
    str | None, option("--spike", help="Traffic that jumps to a multiple of itself: 2x; with --startup-time.")
]

SavedPlanOption = Annotated[
    str | None,
    output_option("-o", "--output", help="Save the plan into this .json file, for check and compare."),
]
