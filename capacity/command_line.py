"""Command line: the flags that commands share, how they are read, and how answers leave.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from capacity.errors import InputError
from capacity.reading import printable
from capacity.writing import JOURNAL_SUFFIX, check_target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.plan import Routing
    from capacity.profile import ServiceProfile
    from capacity.workload import ArrivalProcess, Demand, Workload

Choice = TypeVar("Choice", bound=StrEnum)

_WIDTH_MIN, _WIDTH_MAX = 60, 1000
_WIDTH_OF_A_FILE = 120  # where no terminal says how wide it is
_FILES = "capacity.files"  # where a command's context keeps what its flags read and write


class Format(StrEnum):
    """What stdout gets."""

    TABLE = "table"
    JSON = "json"


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


def read_profile(
    name: str, request_overhead: str | None, instances_per_device: int | None = None
) -> "ServiceProfile":
    """`--profile` with `--request-overhead` and `--instances-per-device`, which replace what it says."""
    from capacity.profile_files import load_profile
    from capacity.units import parse_duration_s

    profile = load_profile(name)
    if instances_per_device is not None:
        if instances_per_device < 1:
            raise InputError(f"--instances-per-device must be >= 1, got {instances_per_device}")
        profile = replace(profile, instances_per_device=instances_per_device)
    if request_overhead is None:
        return profile
    return replace(profile, request_overhead_s=parse_duration_s(request_overhead, "--request-overhead"))


def read_workload(arrivals: str, rate: str | None) -> "Workload":
    """`--arrivals` and `--rate`."""
    from capacity.traffic import parse_arrivals, workload
    from capacity.units import parse_rate_rps

    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    return workload(parse_arrivals(arrivals), rate_rps)


def told(arrivals: "ArrivalProcess") -> "ArrivalProcess":
    """The arrivals, after stderr has heard what their reader decided."""
    from capacity.workload import TraceArrivals

    if isinstance(arrivals, TraceArrivals):
        for remark in arrivals.remarks:
            typer.echo(f"note: {remark}", err=True)
    return arrivals


def read_demand(arrivals: str, rate: str | None, users: int | None, think_time: str | None) -> "Demand":
    """`--users` and `--think-time`, or `--arrivals` and `--rate`."""
    from capacity.units import parse_duration_s
    from capacity.workload import ClosedPopulation

    if users is None and think_time is None:
        return read_workload(arrivals, rate)
    if users is None or rate is not None or arrivals != "poisson":
        raise InputError("give either --rate and --arrivals or --users and --think-time, not some of both")
    return ClosedPopulation(users=users, think_time_s=parse_duration_s(think_time or "0s", "--think-time"))


def read_routing(name: str) -> "Routing":
    """`--routing`."""
    from capacity.plan import Routing

    return read_choice(Routing, name, "--routing")


def read_choice(choices: type[Choice], name: str, flag: str) -> Choice:
    """One of the names of an enumeration."""
    try:
        return choices(name)
    except ValueError:
        raise InputError(f"{flag} {name[:40]!r} is unknown; use one of {', '.join(choices)}") from None


def read_service_rate_rps(service_rate: str | None, service_time: str | None) -> float:
    """`--service-rate` or `--service-time`. [requests/s]"""
    from capacity.units import parse_duration_s, parse_rate_rps

    if (service_rate is None) == (service_time is None):
        raise InputError("give either --service-rate 5rps or --service-time 200ms")
    if service_rate is not None:
        return parse_rate_rps(service_rate, "--service-rate")
    assert service_time is not None  # noqa: S101  (settled above)
    seconds = parse_duration_s(service_time, "--service-time")
    if seconds == 0.0:
        raise InputError(f"--service-time must be > 0, got {service_time.strip()!r}; 200ms is one")
    return 1.0 / seconds


def read_quantiles(given: list[float] | None, default: Sequence[float]) -> tuple[float, ...]:
    """`--quantile`, in rising order."""
    quantiles = tuple(sorted(set(given or default)))
    for quantile in quantiles:
        if not 0.0 < quantile < 1.0:
            raise InputError(f"--quantile must be within (0, 1), such as 0.99, got {quantile}")
    return quantiles


def both_confidence(confidence: float) -> float:
    """Confidence of each of two intervals that shall hold together, by Bonferroni's inequality."""
    return (1.0 + confidence) / 2.0


def check_effort(*, confidence: float, precision: float, requests_max: int, seed: int) -> None:
    """The numbers that say how hard to try."""
    from capacity.workbench import Effort

    Effort(confidence=confidence, precision=precision, requests_max=requests_max, seed=seed)


def worker_count(workers: int | None, cluster: str | None = None) -> int:
    """`--workers`; all cores where it is not given."""
    if workers is not None and cluster is not None:
        raise InputError("give either --workers or --cluster, which has workers of its own")
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be >= 1, got {workers}")
    return workers or os.cpu_count() or 1


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what long work is at, and at last how long it took."""
    from rich.console import Console

    began_s = time.monotonic()
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield lambda message: typer.echo(message, err=True)
    typer.echo(f"done in {time.monotonic() - began_s:.1f} s", err=True)


def emit(
    output: Format,
    *,
    as_json: bool,
    document: Callable[[], Mapping[str, Any]],
    tables: Callable[[], Iterable["RenderableType"]],
) -> None:
    """The answer on stdout, in the form that was asked for."""
    if as_json or output is Format.JSON:
        from capacity.report import dumps

        write_text(dumps(document()) + "\n")
        return
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width(), highlight=False, color_system=None)
    with console.capture() as text:
        for table in tables():
            console.print(table)
    write_text(text.get())


def check_figure(file: str) -> None:
    """Refuse early a figure that could not be written."""
    check_target(Path(file), "a figure", (".png", ".svg"))


def write_text(text: str) -> None:
    """Text to stdout, which `guarded_streams` looks after."""
    sys.stdout.write(text)
    sys.stdout.flush()


def width() -> int:
    """Columns that stdout has."""
    if not sys.stdout.isatty():
        return _WIDTH_OF_A_FILE
    columns = os.get_terminal_size().columns or _WIDTH_OF_A_FILE  # some terminals say 0
    return min(max(columns, _WIDTH_MIN), _WIDTH_MAX)
