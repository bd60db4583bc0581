"""Options: the flags that commands share.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import os
import stat
from collections.abc import Callable
from typing import Annotated, Any

import typer

from capacity.commands.help import Panel
from capacity.commands.output import Format
from capacity.errors import InputError
from capacity.files import JOURNAL_SUFFIX, printable

_FILES = "capacity.files"  # where a command's context keeps what its flags read and write


def option(
    *names: str,
    help: str,  # noqa: A002  (Typer's own word)
    callback: Callable[..., Any] | None = None,
    metavar: str | None = None,
    panel: Panel | None = None,
) -> Any:
    """A flag by its names, with one sentence of help, and what looks at its value before all else."""
    return typer.Option(
        *names, help=help, callback=callback, metavar=metavar, rich_help_panel=panel, show_default=True
    )


def input_option(*names: str, help: str, metavar: str = "FILE", panel: Panel | None = None) -> Any:  # noqa: A002
    """A flag that may name a file to read, which no output of the same command may replace."""
    return option(*names, help=help, callback=note_input, metavar=metavar, panel=panel)


def output_option(*names: str, help: str) -> Any:  # noqa: A002
    """A flag that names a file to write."""
    return option(*names, help=help, callback=_note_output, metavar="FILE", panel=Panel.OUTPUT)


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


_TRAFFIC, _OBJECTIVE, _FLEET = Panel.TRAFFIC, Panel.OBJECTIVE, Panel.FLEET
_FAILURES, _SIMULATION, _OUTPUT = Panel.FAILURES, Panel.SIMULATION, Panel.OUTPUT

FormatOption = Annotated[Format, option("--format", help="What to print.", panel=_OUTPUT)]
VerboseOption = Annotated[
    bool, option("--verbose", "-v", help="Add every figure, and what the search took.", panel=_OUTPUT)
]
JsonOption = Annotated[bool, option("--json", help="Same as --format json.", panel=_OUTPUT)]
ProfileOption = Annotated[
    str,
    input_option(
        "--profile",
        help="Measured service times: the name of a bundled profile, or a .json or .csv file.",
        metavar="PROFILE",
        panel=_TRAFFIC,
    ),
]
PlanProfilesOption = Annotated[
    list[str],
    input_option(
        "--profile",
        help="Measured service times: the name of a bundled profile, or a .json or .csv file. "
        "Repeat to choose between several.",
        metavar="PROFILE",
        panel=_TRAFFIC,
    ),
]
ProfilesOption = Annotated[
    list[str],
    input_option(
        "--profile",
        help="The name of a bundled profile, or a .json or .csv file; repeatable.",
        metavar="PROFILE",
        panel=_TRAFFIC,
    ),
]
RateOption = Annotated[
    str | None,
    option(
        "--rate",
        help="Arrival rate with its unit: 500rps, 500qps, 30000/min. A trace has its own.",
        metavar="RATE",
        panel=_TRAFFIC,
    ),
]
RatesOption = Annotated[
    list[str] | None,
    option(
        "--rate",
        help="Arrival rate, or a range 100rps:1000rps:100rps; repeatable.",
        metavar="RATE",
        panel=_TRAFFIC,
    ),
]
ArrivalsOption = Annotated[
    str,
    option(
        "--arrivals",
        help="How requests arrive: poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s "
        "or trace:FILE.",
        callback=_note_arrivals,
        metavar="ARRIVALS",
        panel=_TRAFFIC,
    ),
]
DailyOption = Annotated[
    str | None,
    input_option(
        "--daily", help="Rates over a day, a .csv of time,rate_rps, instead of --rate.", panel=_TRAFFIC
    ),
]
UsersOption = Annotated[
    int | None,
    option(
        "--users",
        help="Number of users who take turns, instead of --rate; with --think-time.",
        metavar="N",
        panel=_TRAFFIC,
    ),
]
ThinkTimeOption = Annotated[
    str | None,
    option("--think-time", help="Mean think time of a user: 300ms.", metavar="DURATION", panel=_TRAFFIC),
]


def _limit(flag: str, what: str) -> Any:
    return option(flag, help=what, metavar="DURATION", panel=_OBJECTIVE)


P50Option = Annotated[str | None, _limit("--slo-p50", "Limit on the median response time: 50ms.")]
P90Option = Annotated[str | None, _limit("--slo-p90", "Limit on the P90 response time.")]
P95Option = Annotated[str | None, _limit("--slo-p95", "Limit on the P95 response time.")]
P99Option = Annotated[str | None, _limit("--slo-p99", "Limit on the P99 response time: 200ms.")]
P999Option = Annotated[str | None, _limit("--slo-p999", "Limit on the P99.9 response time.")]
MeanOption = Annotated[str | None, _limit("--slo-mean", "Limit on the mean response time.")]
WaitLimitsOption = Annotated[
    list[str] | None,
    option(
        "--slo-wait",
        help="Limit on a quantile of the time in queue: p99=5ms; repeatable.",
        metavar="QUANTILE=DURATION",
        panel=_OBJECTIVE,
    ),
]
LossOption = Annotated[
    str | None,
    option(
        "--loss-max",
        help="Largest share of requests that may be rejected, with --queue-limit: 0.1%.",
        metavar="SHARE",
        panel=_OBJECTIVE,
    ),
]
UtilizationOption = Annotated[
    str | None,
    option(
        "--utilization-max",
        help="Largest share of time that a replica may be busy: 80%.",
        metavar="SHARE",
        panel=_OBJECTIVE,
    ),
]
TierOption = Annotated[
    str | None,
    option(
        "--tier",
        help="Preset limits: interactive, batch or background.",
        metavar="TIER",
        panel=_OBJECTIVE,
    ),
]


def _count_option(flag: str, what: str, panel: Panel = _FLEET) -> Any:
    return option(flag, help=what, metavar="N", panel=panel)


ReplicasOption = Annotated[int, _count_option("--replicas", "Number of replicas.")]
BatchSizeOption = Annotated[
    int | None, _count_option("--batch-size-max", "Largest batch; default: the largest in the profile.")
]
BatchWaitsOption = Annotated[
    list[str] | None,
    option(
        "--batch-wait",
        help="How long the oldest request may wait for its batch to fill: 2ms. Default: several are tried.",
        metavar="DURATION",
        panel=_FLEET,
    ),
]
WaitOption = Annotated[
    str,
    option(
        "--batch-wait",
        help="How long the oldest request may wait for its batch to fill: 2ms.",
        metavar="DURATION",
        panel=_FLEET,
    ),
]
TimerOption = Annotated[
    str,
    option(
        "--timer",
        help="When --batch-wait starts: oldest (arrival of the oldest request) or open (of the batch).",
        metavar="TIMER",
        panel=_FLEET,
    ),
]
RoutingOption = Annotated[
    str,
    option(
        "--routing",
        help="round-robin, random, least-outstanding, power-of-two or shared-queue.",
        metavar="ROUTING",
        panel=_FLEET,
    ),
]
RoutingsOption = Annotated[
    list[str] | None,
    option(
        "--routing",
        help="round-robin (default), random, least-outstanding, power-of-two or shared-queue. "
        "Repeat, or give any, to choose between several.",
        metavar="ROUTING",
        panel=_FLEET,
    ),
]
QueueLimitOption = Annotated[
    int | None,
    _count_option("--queue-limit", "Queue capacity per replica; requests that find it full are rejected."),
]
ReplicasMaxOption = Annotated[int, _count_option("--replicas-max", "Largest number of replicas to consider.")]
PricesOption = Annotated[
    list[str] | None,
    option(
        "--hourly-usd",
        help="Price of a device in USD per hour; with several profiles NAME=PRICE: t4=0.526.",
        metavar="[NAME=]PRICE",
        panel=_FLEET,
    ),
]
OverheadOption = Annotated[
    str | None,
    option(
        "--request-overhead",
        help="Time spent outside the server, added to each response: 5ms.",
        metavar="DURATION",
        panel=_FLEET,
    ),
]
InstancesOption = Annotated[
    int | None, _count_option("--instances-per-device", "Replicas that share one device.")
]
SpareOption = Annotated[
    int,
    _count_option("--spare", "Replicas that may fail while the objective is still met.", _FAILURES),
]
SurviveOption = Annotated[
    list[str] | None,
    option(
        "--survive",
        help="Failures under which the objective is still met: n-1, n-2, zone:3; repeatable.",
        metavar="FAILURE",
        panel=_FAILURES,
    ),
]
RollingOption = Annotated[
    str | None,
    option(
        "--rolling-update",
        help="Meet the objective during a rolling update: max-unavailable=25%.",
        metavar="UPDATE",
        panel=_FAILURES,
    ),
]
SpikeOption = Annotated[
    str | None,
    option(
        "--spike",
        help="Traffic that jumps to a multiple of itself: 2x; with --startup-time.",
        metavar="FACTOR",
        panel=_FAILURES,
    ),
]
StartupOption = Annotated[
    str | None,
    option(
        "--startup-time",
        help="Time until a new replica is ready: 120s; with --spike.",
        metavar="DURATION",
        panel=_FAILURES,
    ),
]
SeedOption = Annotated[
    int, _count_option("--seed", "Random seed; the same seed and input give the same bytes.", _SIMULATION)
]
ConfidenceOption = Annotated[
    float,
    option("--confidence", help="Confidence of intervals and verdicts.", metavar="SHARE", panel=_SIMULATION),
]
PrecisionOption = Annotated[
    float,
    option(
        "--precision",
        help="Relative half-width to reach for the decisive quantile.",
        metavar="SHARE",
        panel=_SIMULATION,
    ),
]
BudgetOption = Annotated[
    int, _count_option("--requests-max", "Most requests to simulate for one plan.", _SIMULATION)
]
EngineOption = Annotated[
    str,
    option(
        "--engine",
        help="kernel (compiled) or simpy (readable, slow); both give the same bytes.",
        metavar="ENGINE",
        panel=_SIMULATION,
    ),
]
WorkersOption = Annotated[
    int | None,
    _count_option("--workers", "Threads; default: all cores. The answer does not depend on it.", _SIMULATION),
]
ClusterOption = Annotated[
    str | None,
    option(
        "--cluster",
        help="Dask scheduler to send the work to instead: tcp://HOST:8786.",
        metavar="URL",
        panel=_SIMULATION,
    ),
]
ArrivalRateOption = Annotated[str, option("--arrival-rate", help="Arrival rate: 9rps.", metavar="RATE")]
ServiceRateOption = Annotated[
    str | None, option("--service-rate", help="Requests per second of one busy server: 5rps.", metavar="RATE")
]
ServiceTimeOption = Annotated[
    str | None, option("--service-time", help="Mean service time instead: 200ms.", metavar="DURATION")
]
QuantileOption = Annotated[
    list[float] | None,
    option("--quantile", help="Quantile to report: 0.999; repeatable.", metavar="Q", panel=_OUTPUT),
]
SavedPlanOption = Annotated[
    str | None,
    output_option("-o", "--output", help="Save the plan as .json, for check, compare and explain."),
]
