"""Queue options: the flags that `capacity queue …` commands share, how they are read, and how laws leave."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Protocol

from capacity.command_line import Format, emit, option, read_choice, read_quantiles
from capacity.errors import InputError
from capacity.strict import StrictTyper

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.performance import Performance
    from capacity.queues.durations import Duration
    from capacity.report import Document

queue_app = StrictTyper(
    no_args_is_help=True, help="Queueing laws, at once: exact, or named as what they are."
)

ServersOption = Annotated[int, option("--servers", help="How many servers share the queue.")]
RealServersOption = Annotated[
    float, option("--servers", help="How many servers share the queue; 2.5 interpolates.")
]
ServiceFamilyOption = Annotated[
    str | None,
    option("--service", help="deterministic, exponential, erlang, hyperexponential, gamma or lognormal."),
]
ServiceScvOption = Annotated[
    float | None, option("--service-scv", help="Squared coefficient of variation of the service time: 2.")
]
PhaseFamilyOption = Annotated[
    str | None, option("--service", help="exponential, erlang or hyperexponential; exponential if left out.")
]
ArrivalFamilyOption = Annotated[
    str | None,
    option("--arrival", help="Gaps: deterministic, exponential, erlang, gamma or hyperexponential."),
]
ArrivalScvOption = Annotated[
    float | None, option("--arrival-scv", help="Squared coefficient of variation of the gaps: 4.")
]
UsersOption = Annotated[int, option("--users", help="How many users take turns.")]
ThinkTimeOption = Annotated[str, option("--think-time", help="Mean think time of a user: 300ms.")]


NoQuantileOption = Annotated[
    list[float] | None, option("--quantile", help="Accepted as everywhere; this law has no waits to report.")
]


class Law(Protocol):
    """A queue in steady state."""

    def performance(self, quantiles: tuple[float, ...]) -> "Performance":
        """All of it."""
        ...


def emit_law(model: str, law: Law, quantile: list[float] | None, output: Format, *, as_json: bool) -> None:
    """A law at the quantiles that were asked for."""
    from capacity.queues.domain import QUANTILES

    emit_performance(model, law.performance(read_quantiles(quantile, QUANTILES)), output, as_json=as_json)


def emit_performance(
    model: str,
    performance: "Performance",
    output: Format,
    *,
    as_json: bool,
    extra: "Document | None" = None,
) -> None:
    """A performance, led by what is particular to the command."""
    from capacity.report import queue_document

    def tables() -> Iterator["RenderableType"]:
        from capacity.tables import performance_table

        yield performance_table(None, performance, extra)

    emit(
        output,
        as_json=as_json,
        document=lambda: {**queue_document(model, performance), **(extra or {})},
        tables=tables,
    )


def read_service_time_s(service_rate: str | None, service_time: str | None) -> float:
    """`--service-time` as it is given, or the time of `--service-rate`. [s]"""
    from capacity.command_line import read_service_rate_rps
    from capacity.units import parse_duration_s

    rate_rps = read_service_rate_rps(service_rate, service_time)
    return 1.0 / rate_rps if service_time is None else parse_duration_s(service_time, "--service-time")


def read_duration(family: str | None, scv: float | None, mean_s: float, flag: str) -> "Duration":
    """`--service` or `--arrival` with its scv; without a family gamma, or exponential without both."""
    from capacity.queues.durations import Duration, Family
    from capacity.units import SCV_MAX, SCV_MIN

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
    """Refuse what `flag` takes the place of; keywords are the names of flags, None where not given."""
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value is not None]
    if given:
        raise InputError(f"{flag} takes the place of {' and '.join(given)}; give either, not both")


def read_rates_rps(text: str, flag: str, *, allow_zero: bool = False) -> tuple[float, ...]:
    """Rates with their units, separated by commas. [1/s]"""
    from capacity.units import parse_rate_rps

    return tuple(parse_rate_rps(part, flag, allow_zero=allow_zero) for part in _parts(text, flag))


def read_pair_rps(text: str, flag: str) -> tuple[float, float]:
    """Two rates with their units, separated by a comma; either may be 0. [1/s]"""
    rates_rps = read_rates_rps(text, flag, allow_zero=True)
    if len(rates_rps) != 2:
        raise InputError(f"{flag} needs two rates, one for each phase: 1.5rps,0.3rps")
    return rates_rps[0], rates_rps[1]


def read_durations_s(text: str, flag: str) -> tuple[float, ...]:
    """Durations with their units, separated by commas. [s]"""
    from capacity.units import parse_duration_s

    return tuple(parse_duration_s(part, flag) for part in _parts(text, flag))


def _parts(text: str, flag: str, most: int = 100_000) -> list[str]:
    parts = text.split(",")
    if len(parts) > most or not all(part.strip() for part in parts):
        raise InputError(f"{flag} must be values with units, separated by commas, at most {most}")
    return parts
