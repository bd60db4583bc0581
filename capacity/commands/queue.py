"""`capacity queue`: a command for each law."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from capacity.commands.guard import StrictTyper
from capacity.commands.options import flags
from capacity.commands.output import Format, emit_document, emit_pieces
from capacity.errors import InputError
from capacity.question.asked import FLAGS
from capacity.question.flag import (
    COUNT,
    DURATION,
    FILE,
    NUMBER,
    PROFILE,
    RATE,
    REQUIRED,
    TEXT,
    Flag,
    argument,
    reads,
)
from capacity.question.parse import read_choice, read_quantiles, read_routing, read_service_rate_rps
from capacity.units import (
    QUANTILES,
    SCV_MAX,
    SCV_MIN,
    parse_duration_s,
    parse_rate_rps,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document
    from capacity.performance import Performance
    from capacity.profile.scalability import UniversalScalability
    from capacity.queues.durations import Duration

queue_app = StrictTyper(
    no_args_is_help=True,
    help="Instant answers from queueing theory: exact, or marked as a bound or an approximation.",
)


class Law(Protocol):
    """A queue in steady state."""

    def performance(self, quantiles: tuple[float, ...]) -> "Performance":
        """Its performance at these quantiles."""
        ...


def emit_law(model: str, law: Law, quantile: list[float] | None, output: Format, *, as_json: bool) -> None:
    """Print a law at the requested quantiles."""
    emit_performance(model, law.performance(read_quantiles(quantile, QUANTILES)), output, as_json=as_json)


def emit_performance(
    model: str,
    performance: "Performance",
    output: Format,
    *,
    as_json: bool,
    extra: "Document | None" = None,
) -> None:
    """Print a performance, after figures that only this command has."""

    def document() -> "Document":
        from capacity.answer.documents import queue_document

        return {**queue_document(model, performance), **(extra or {})}

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.tables import performance_table

        yield performance_table(None, performance, extra)

    emit_pieces(output, as_json=as_json, document=document, tables=tables)


def read_service_time_s(service_rate: str | None, service_time: str | None) -> float:
    """The time of `--service-time`, or that of `--service-rate`. [s]"""
    rate_rps = read_service_rate_rps(service_rate, service_time)
    return 1.0 / rate_rps if service_time is None else parse_duration_s(service_time, "--service-time")


def read_duration(family: str | None, scv: float | None, mean_s: float, flag: str) -> "Duration":
    """Duration from `--service` or `--arrival` and its scv; gamma without a family, exponential without both."""
    from capacity.queues.durations import Duration, Family

    default = Family.EXPONENTIAL if scv is None else Family.GAMMA
    chosen = default if family is None else read_choice(Family, family, flag)
    if chosen is Family.GAMMA and scv in (0.0, 1.0):
        chosen = Family.DETERMINISTIC if scv == 0.0 else Family.EXPONENTIAL
    if scv is not None and scv != 0.0 and not SCV_MIN <= scv <= SCV_MAX:
        raise InputError(
            f"{flag}-scv must be 0 or from {SCV_MIN:g} to {SCV_MAX:g}, got {scv:g}; "
            f"{'deterministic is nearly the same' if scv < SCV_MIN else 'measure it again'}"
        )
    if scv is None and chosen not in (Family.DETERMINISTIC, Family.EXPONENTIAL):
        raise InputError(f"{flag} {family} needs {flag}-scv, its squared coefficient of variation")
    return Duration(family=chosen, mean_s=mean_s, scv=scv)


def refuse_together(flag: str, **others: object) -> None:
    """Refuse flags that `flag` replaces; keywords are names of flags, None if not given."""
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value is not None]
    if given:
        raise InputError(f"{flag} replaces {' and '.join(given)}; give one or the other")


def read_rates_rps(text: str, flag: str, *, allow_zero: bool = False) -> tuple[float, ...]:
    """Rates with their units, separated by commas. [1/s]"""
    return tuple(parse_rate_rps(part, flag, allow_zero=allow_zero) for part in _parts(text, flag))


def read_pair_rps(text: str, flag: str) -> tuple[float, float]:
    """Two rates with their units, separated by a comma; either may be 0. [1/s]"""
    rates_rps = read_rates_rps(text, flag, allow_zero=True)
    if len(rates_rps) != 2:
        raise InputError(f"{flag} needs two rates, one for each phase: 1.5rps,0.3rps")
    return rates_rps[0], rates_rps[1]


def read_durations_s(text: str, flag: str) -> tuple[float, ...]:
    """Durations with their units, separated by commas. [s]"""
    return tuple(parse_duration_s(part, flag) for part in _parts(text, flag))


def _parts(text: str, flag: str, most: int = 100_000) -> list[str]:
    parts = text.split(",")
    if len(parts) > most or not all(part.strip() for part in parts):
        raise InputError(f"{flag} must be values with units, separated by commas, at most {most}")
    return parts


# Flags of laws, in the order of their help.
_FLAGS = {
    "offered_load": Flag(NUMBER, REQUIRED, "Arrival rate x service time, erlangs."),
    "users": Flag(COUNT, REQUIRED, "Number of users in a closed loop."),
    "think_time": Flag(DURATION, "0s", "Mean think time of a user: 300ms."),
    "arrival_rate": Flag(RATE, REQUIRED, "Arrival rate: 9rps."),
    "arrival_rates": Flag(TEXT.named("RATE,RATE"), REQUIRED, "Arrival rate of each phase: 1.5rps,0.3rps."),
    "switch_rates": Flag(TEXT.named("RATE,RATE"), REQUIRED, "How often each phase ends: 0.01/s,0.01/s."),
    "servers": Flag(COUNT, REQUIRED, "Number of servers that share the queue."),
    "capacity": Flag(COUNT, REQUIRED, "Most requests in the system, including those in service."),
    "patience": Flag(DURATION, REQUIRED, "Mean patience: how long a request waits before it gives up: 5s."),
    "arrival": Flag(
        TEXT, None, "Interarrival times: deterministic, exponential, erlang, gamma or hyperexponential."
    ),
    "arrival_scv": Flag(NUMBER, None, "Squared coefficient of variation of interarrival times: 4."),
    "service": Flag(TEXT, None, "deterministic, exponential, erlang, hyperexponential, gamma or lognormal."),
    "service_scv": Flag(NUMBER, None, "Squared coefficient of variation of the service time: 2."),
    "service_rate": Flag(RATE, None, "Requests per second of one busy server: 5rps."),
    "service_time": Flag(DURATION, None, "Mean service time instead of the rate: 200ms."),
    "formula": Flag(
        TEXT.named("FORMULA"), "whitt", "whitt, allen-cunneen, kimura or tijms (the last two for M/G/c only)."
    ),
}
_ONE_SERVER = {"servers": _FLAGS["servers"].but(default=1)}
_REAL_SERVERS = {
    "servers": Flag(NUMBER, REQUIRED, "Number of servers that share the queue; 2.5 interpolates.")
}
_NO_WAITS = {"quantile": FLAGS["quantile"].but(help="Accepted, but unused: no request ever waits.")}
_PHASES = {"service": Flag(TEXT, None, "exponential (default), erlang or hyperexponential.")}


def _read_arrival(arrival_rate: str, arrival: str | None, arrival_scv: float | None) -> "Duration":
    gap_s = 1.0 / parse_rate_rps(arrival_rate, "--arrival-rate")
    return read_duration(arrival, arrival_scv, gap_s, "--arrival")


def _read_service(
    service: str | None, service_scv: float | None, service_rate: str | None, service_time: str | None
) -> "Duration":
    return read_duration(service, service_scv, read_service_time_s(service_rate, service_time), "--service")


def _read_servers(servers: float) -> float:
    return int(servers) if abs(servers) < 1e15 and float(servers).is_integer() else servers


def _read_formula(formula: str) -> Any:
    from capacity.queues.general.ggc import Formula

    return read_choice(Formula, formula, "--formula")


# Readers of each field of a law; their parameters are the flags that they read.
_READERS: dict[str, Callable[..., Any]] = {
    "offered_load": lambda offered_load: offered_load,
    "users": lambda users: users,
    "think_time_s": lambda think_time: parse_duration_s(think_time, "--think-time"),
    "arrival_rate_rps": lambda arrival_rate: parse_rate_rps(arrival_rate, "--arrival-rate"),
    "arrival_rates_rps": lambda arrival_rates: read_pair_rps(arrival_rates, "--arrival-rates"),
    "switch_rates_per_s": lambda switch_rates: read_pair_rps(switch_rates, "--switch-rates"),
    "servers": _read_servers,
    "capacity": lambda capacity: capacity,
    "patience_mean_s": lambda patience: parse_duration_s(patience, "--patience"),
    "arrival": _read_arrival,
    "service": _read_service,
    "service_rate_rps": read_service_rate_rps,
    "service_time_s": read_service_time_s,
    "formula": _read_formula,
}


@dataclass(frozen=True, slots=True)
class _LawCommand:
    """A command that prints the law of its flags.

    Attributes:
        noun: class of the law, in `capacity.queues`.
        fields: fields of the law, in the order in which they are read.
        flags: flags that differ from those in `_FLAGS`.
    """

    name: str
    model: str
    noun: str
    fields: str
    help: str
    flags: Mapping[str, Flag] = field(default_factory=dict)

    @property
    def readers(self) -> dict[str, Callable[..., Any]]:
        """Readers by field, in the order in which fields are read."""
        return {name: _READERS[name] for name in self.fields.split()}

    def law(self, given: Mapping[str, Any]) -> Law:
        """The law of the flags as they were typed."""
        module, _, noun = self.noun.rpartition(".")
        parts = {
            name: read(**{flag: given[flag] for flag in signature(read).parameters})
            for name, read in self.readers.items()
        }
        found: Law = getattr(import_module(f"capacity.queues.{module}"), noun)(**parts)
        return found

    def register(self) -> None:
        """Add it to the commands."""
        taken = {flag for read in self.readers.values() for flag in signature(read).parameters}
        names = [name for name in _FLAGS if name in taken]

        @flags(" ".join([*names, "quantile"]), **_FLAGS | dict(self.flags))
        def command(quantile: list[float] | None, output: Format, *, as_json: bool, **given: Any) -> None:
            emit_law(self.model, self.law(given), quantile, output, as_json=as_json)

        queue_app.command(self.name, help=self.help)(command)


for _law in (
    _LawCommand(
        "mm1", "M/M/1", "markov.mm1.MM1", "arrival_rate_rps service_rate_rps",
        "M/M/1: Poisson arrivals, exponential service, one server.",
    ),
    _LawCommand(
        "mmc", "M/M/c", "markov.mmc.MMc", "arrival_rate_rps service_rate_rps servers",
        "M/M/c: Poisson arrivals, exponential service, c servers, one queue.",
        _REAL_SERVERS,
    ),
    _LawCommand(
        "mmck", "M/M/c/K", "markov.mmck.MMcK", "arrival_rate_rps service_rate_rps servers capacity",
        "M/M/c/K: M/M/c with room for K requests; waits are of accepted requests.",
    ),
    _LawCommand(
        "mminf", "M/M/∞", "markov.mminf.MMInf", "arrival_rate_rps service_rate_rps",
        "M/M/∞: a server for every request; the number in the system is Poisson.",
    ),
    _LawCommand(
        "erlang-a", "M/M/c+M", "markov.erlang_a.ErlangA",
        "arrival_rate_rps service_rate_rps servers patience_mean_s",
        "M/M/c+M: requests give up when their exponential patience ends; the mean wait is over all requests.",
    ),
    _LawCommand(
        "erlang-b", "M/G/c/c", "markov.erlang.MGcc", "offered_load servers",
        "M/G/c/c: a request that finds every server busy is rejected.",
        _REAL_SERVERS | _NO_WAITS,
    ),
):  # fmt: skip
    _law.register()


@queue_app.command()
@flags(
    **_FLAGS
    | _ONE_SERVER
    | {
        "arrival_rates": Flag(
            TEXT.named("RATE,RATE"), REQUIRED, "Arrival rates by class, highest priority first: 1rps,3rps."
        )
    },
)
def priority(
    arrival_rates: str,
    servers: int,
    service_rate: str | None,
    service_time: str | None,
    quantile: list[float] | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """M/M/c with priority classes, not preemptive: a free server takes from the highest class waiting."""
    from capacity.answer.documents import performance_document, queue_document
    from capacity.queues.markov.priority import Priority

    law = Priority(
        arrival_rates_rps=read_rates_rps(arrival_rates, "--arrival-rates"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
    )
    quantiles = read_quantiles(quantile, QUANTILES)
    by_class, together = law.performances(quantiles), law.performance(quantiles)

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.tables import performance_rows, table

        for number, one in enumerate(by_class, 1):
            yield table(("<", "<"), performance_rows(one), title=f"class {number}")
        yield table(("<", "<"), performance_rows(together), title="all")

    emit_pieces(
        output,
        as_json=as_json,
        document=lambda: {
            **queue_document("M/M/c priority", together),
            "classes": [performance_document(one) for one in by_class],
        },
        tables=tables,
    )


@queue_app.command()
@flags(
    **_FLAGS,
    profile=reads(PROFILE, None, "Service times of this profile's --batch-size instead."),
    batch_size=Flag(COUNT, None, "Batch size of the profile. Default: 1."),
)
def mg1(
    arrival_rate: str,
    service: str | None,
    service_scv: float | None,
    service_rate: str | None,
    service_time: str | None,
    profile: str | None,
    batch_size: int | None,
    quantile: list[float] | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """M/G/1: Poisson arrivals, one server, service times of any distribution."""
    from capacity.queues.general.mg1 import MG1

    rate_rps = parse_rate_rps(arrival_rate, "--arrival-rate")
    if profile is not None:
        from capacity.profile.load import load_profile
        from capacity.queues.general.mg1_wait import Empirical

        refuse_together(
            "--profile",
            service=service,
            service_scv=service_scv,
            service_rate=service_rate,
            service_time=service_time,
        )
        size = 1 if batch_size is None else batch_size
        law = MG1(arrival_rate_rps=rate_rps, service=Empirical(law=load_profile(profile).law(size)))
    elif batch_size is not None:
        raise InputError("--batch-size belongs to --profile; give --profile NAME too, or leave it out")
    else:
        service_s = read_service_time_s(service_rate, service_time)
        law = MG1(
            arrival_rate_rps=rate_rps, service=read_duration(service, service_scv, service_s, "--service")
        )
    emit_law("M/G/1", law, quantile, output, as_json=as_json)


for _law in (
    _LawCommand(
        "mdc", "M/D/c", "general.mdc.MDc", "arrival_rate_rps service_time_s servers",
        "M/D/c: Poisson arrivals, constant service time, c servers.",
    ),
    _LawCommand(
        "mphc", "M/PH/c", "general.mphc.MPHc", "service arrival_rate_rps servers",
        "M/PH/c: Poisson arrivals, service in exponential phases: erlang or hyperexponential.",
        _PHASES,
    ),
    _LawCommand(
        "gimc", "GI/M/c", "general.gimc.GIMc", "arrival service_rate_rps servers",
        "GI/M/c: independent interarrival times of any distribution, exponential service.",
        _ONE_SERVER,
    ),
    _LawCommand(
        "ggc", "G/G/c", "general.ggc.GGc", "arrival service servers formula",
        "G/G/c: an approximation from the mean and variability of interarrival and service times.",
        _ONE_SERVER,
    ),
    _LawCommand(
        "mmpp", "MMPP/M/c", "general.mmpp.MMPPMc",
        "arrival_rates_rps switch_rates_per_s service_rate_rps servers",
        "MMPP(2)/M/c: Poisson arrivals whose rate switches between two values.",
        _ONE_SERVER,
    ),
    _LawCommand(
        "closed", "closed M/M/c", "markov.closed.Closed", "users think_time_s service_time_s servers",
        "Closed loop: users who think, send a request and wait for the answer; c exponential servers, one "
        "queue.",
        _ONE_SERVER,
    ),
):  # fmt: skip
    _law.register()


@queue_app.command()
@flags(
    **_FLAGS,
    wait_p99=Flag(TEXT, None, "Limit on P99 of the wait: 20ms."),
    response_p99=Flag(TEXT, None, "Limit on P99 of the response time: 250ms."),
    wait_probability=Flag(NUMBER, None, "Largest share of requests that wait: 0.2."),
)
def staffing(
    arrival_rate: str,
    service_rate: str | None,
    service_time: str | None,
    wait_p99: str | None,
    response_p99: str | None,
    wait_probability: float | None,
    quantile: list[float] | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """The fewest M/M/c servers that meet one limit, and how that queue performs."""
    from capacity.queues.markov.mmc import MMc
    from capacity.queues.staffing import (
        servers_for_response,
        servers_for_wait,
        servers_for_wait_probability,
    )

    rate_rps = parse_rate_rps(arrival_rate, "--arrival-rate")
    service_rps = read_service_rate_rps(service_rate, service_time)
    if sum(limit is not None for limit in (wait_p99, response_p99, wait_probability)) != 1:
        raise InputError("give one of --wait-p99 20ms, --response-p99 250ms and --wait-probability 0.2")
    if wait_p99 is not None:
        servers = servers_for_wait(rate_rps, service_rps, 0.99, parse_duration_s(wait_p99, "--wait-p99"))
    elif response_p99 is not None:
        limit_s = parse_duration_s(response_p99, "--response-p99")
        servers = servers_for_response(rate_rps, service_rps, 0.99, limit_s)
    else:
        assert wait_probability is not None  # noqa: S101  (settled above)
        servers = servers_for_wait_probability(rate_rps, service_rps, wait_probability)
    law = MMc(arrival_rate_rps=rate_rps, service_rate_rps=service_rps, servers=servers)
    performance = law.performance(read_quantiles(quantile, QUANTILES))
    emit_performance("M/M/c", performance, output, as_json=as_json, extra={"servers": servers})


@queue_app.command()
@flags(
    file=argument(FILE, None, "A .csv of measurements, n,throughput_rps, to fit."),
    throughput_one=Flag(TEXT, None, "Throughput of one replica: 1000rps; instead of a file.", ("--lambda",)),
    sigma=Flag(NUMBER, None, "Contention, 0 to 1; with --lambda, 0 by default."),
    kappa=Flag(NUMBER, None, "Crosstalk, from 0; with --lambda, 0 by default."),
    replicas=Flag(COUNT, None, "Number of replicas to evaluate at."),
    **_NO_WAITS,
)
def usl(
    file: str | None,
    throughput_one: str | None,
    sigma: float | None,
    kappa: float | None,
    replicas: int | None,
    quantile: list[float] | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Universal Scalability Law: the throughput of N replicas, and where adding more reduces it."""
    from capacity.answer.documents import scalability_document

    read_quantiles(quantile, (0.5,))  # refused if invalid, though the law does not use them
    if (file is None) == (throughput_one is None):
        raise InputError("give either a file of measurements or --lambda 1000rps --sigma 0.05 --kappa 0.001")
    if throughput_one is not None:
        law = _read_scalability(throughput_one, sigma or 0.0, kappa or 0.0)
        document = scalability_document(law, None, replicas)
    else:
        if sigma is not None or kappa is not None:
            raise InputError("--sigma and --kappa belong to --lambda; from a file they are fitted")
        from capacity.profile.scalability import fit_scalability, read_points

        fit = fit_scalability(read_points(Path(file or "")))
        document = scalability_document(fit.law, fit, replicas)

    emit_document(document, output, as_json=as_json)


def _read_scalability(throughput_one: str, sigma: float, kappa: float) -> "UniversalScalability":
    from capacity.profile.scalability import UniversalScalability

    return UniversalScalability(
        throughput_one_rps=parse_rate_rps(throughput_one, "--lambda"), sigma=sigma, kappa=kappa
    )


@queue_app.command()
@flags(
    "arrival_rate batch_times profile batch_size_max batch_size_min batch_wait timer batch_service service_cv replicas "
    "routing users think_time quantile",
    arrival_rate=Flag(RATE, None, "Arrival rate at all replicas."),
    batch_times=Flag(TEXT, None, "Service time of a batch of 1, 2, ..., B: 2.5ms,3ms."),
    profile=reads(PROFILE, None, "A profile's mean service times up to --batch-size-max instead."),
    batch_size_max=Flag(COUNT, None, "Largest batch B."),
    batch_size_min=Flag(COUNT, 1, "Smallest batch that a free replica starts."),
    batch_wait=Flag(DURATION, "0s", "How long a batch may wait to fill: 2ms."),
    timer=Flag(
        TEXT.named("TIMER"),
        "oldest",
        "What starts the --batch-wait timer: oldest (the oldest request arrives) or open (the batch opens).",
    ),
    batch_service=Flag(TEXT, "deterministic", "deterministic or exponential service of a batch."),
    service_cv=Flag(NUMBER, 0.0, "Coefficient of variation of gamma service: 0.1."),
    replicas=Flag(COUNT, 1, "Number of replicas."),
    routing=Flag(TEXT.named("ROUTING"), "round-robin", "round-robin, random or shared-queue."),
    users=Flag(COUNT, None, "Number of users in a closed loop, instead of a rate."),
)
def bulk(context: typer.Context, quantile: list[float] | None, output: Format, *, as_json: bool) -> None:
    """Dynamic batching: up to B requests at once, greedy, with a minimum batch or a batch wait."""
    from capacity.queues.batch.which_law import BatchService, BulkQuestion
    from capacity.server.batch.batching import BatchTimer

    given = context.params
    rate, think_time = given["arrival_rate"], given["think_time"]
    names = ("batch_times", "profile", "batch_size_max", "replicas")
    question = BulkQuestion(
        batch_times_s=_read_batch_times_s(*(given[name] for name in names)),
        arrival_rate_rps=None if rate is None else parse_rate_rps(rate, "--arrival-rate"),
        batch_wait_max_s=parse_duration_s(given["batch_wait"], "--batch-wait"),
        timer=read_choice(BatchTimer, given["timer"], "--timer"),
        batch_service=read_choice(BatchService, given["batch_service"], "--batch-service"),
        routing=read_routing(given["routing"]),
        think_time_s=None if think_time is None else parse_duration_s(think_time, "--think-time"),
        **{name: given[name] for name in ("batch_size_min", "service_cv", "replicas", "users")},
    )
    emit_law(question.model, question.law(), quantile, output, as_json=as_json)


def _read_batch_times_s(
    text: str | None, profile: str | None, size_max: int | None, replicas: int
) -> tuple[float, ...]:
    """Times from `--batch-times`, or from `--profile` up to `--batch-size-max`. [s]"""
    if (text is None) == (profile is None):
        raise InputError("give either --batch-times 2.5ms,3ms,… or --profile NAME")
    if size_max is not None and size_max < 1:
        raise InputError(f"--batch-size-max must be >= 1, got {size_max}; 1 means no batching")
    if text is not None:
        times_s = read_durations_s(text, "--batch-times")
        if size_max is not None and size_max > len(times_s):
            raise InputError(
                f"--batch-times stops at batches of {len(times_s)}, but --batch-size-max is {size_max}; "
                "give a time for each size"
            )
        return times_s if size_max is None else times_s[:size_max]
    from capacity.profile.load import load_profile

    assert profile is not None  # noqa: S101  (settled above)
    measured = load_profile(profile)
    if replicas > 1 and measured.slowdowns(replicas)[-1] > 1.0:
        raise InputError(
            f"profile {measured.name} has {measured.instances_per_device} instances per device, which slow "
            "each other down; no exact law covers that; use capacity simulate, or --batch-times to ignore it"
        )
    size_max = measured.batch_size_max if size_max is None else size_max
    return tuple(measured.service_mean_s(size) for size in range(1, size_max + 1))
