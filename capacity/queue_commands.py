"""Queue commands: `capacity queue …` for exponential service, requests served one by one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from capacity.command_line import (
    ArrivalRateOption,
    Format,
    FormatOption,
    JsonOption,
    QuantileOption,
    ServiceRateOption,
    ServiceTimeOption,
    emit,
    option,
    read_service_rate_rps,
)
from capacity.queue_options import (
    NoQuantileOption,
    RealServersOption,
    ServersOption,
    emit_law,
    queue_app,
    read_rates_rps,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


@queue_app.command()
def mm1(
    arrival_rate: ArrivalRateOption,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/1: Poisson arrivals, exponential service, one server."""
    from capacity.queues.mm1 import MM1
    from capacity.units import parse_rate_rps

    law = MM1(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
    )
    emit_law("M/M/1", law, quantile, output, as_json=as_json)


@queue_app.command()
def mmc(
    arrival_rate: ArrivalRateOption,
    servers: RealServersOption,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/c: Poisson arrivals, exponential service, c servers at one queue."""
    from capacity.queues.mmc import MMc
    from capacity.units import parse_rate_rps

    law = MMc(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=int(servers) if abs(servers) < 1e15 and servers.is_integer() else servers,
    )
    emit_law("M/M/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def mmck(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption,
    capacity: Annotated[int, option("--capacity", help="Places in all, those in service included.")],
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/c/K: M/M/c with room for K requests; waits are those of the accepted ones."""
    from capacity.queues.mmck import MMcK
    from capacity.units import parse_rate_rps

    law = MMcK(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
        capacity=capacity,
    )
    emit_law("M/M/c/K", law, quantile, output, as_json=as_json)


@queue_app.command()
def mminf(
    arrival_rate: ArrivalRateOption,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/∞: a server for everyone, so that the number in the system is Poisson."""
    from capacity.queues.mminf import MMInf
    from capacity.units import parse_rate_rps

    law = MMInf(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
    )
    emit_law("M/M/∞", law, quantile, output, as_json=as_json)


@queue_app.command("erlang-a")
def erlang_a(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption,
    patience: Annotated[str, option("--patience", help="Mean time that a request would wait: 5s.")],
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/c+M: requests leave the queue when their exponential patience ends; the mean wait is of all."""
    from capacity.queues.erlang_a import ErlangA
    from capacity.units import parse_duration_s, parse_rate_rps

    law = ErlangA(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
        patience_mean_s=parse_duration_s(patience, "--patience"),
    )
    emit_law("M/M/c+M", law, quantile, output, as_json=as_json)


@queue_app.command("erlang-b")
def erlang_b(
    offered_load: Annotated[float, option("--offered-load", help="Arrival rate x service time, erlangs.")],
    servers: RealServersOption,
    quantile: NoQuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/G/c/c: what finds no free server is lost."""
    from capacity.queues.mgcc import MGcc

    law = MGcc(offered_load=offered_load, servers=servers)
    emit_law("M/G/c/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def priority(
    arrival_rates: Annotated[
        str, option("--arrival-rates", help="Arrival rates by class, the first served first: 1rps,3rps.")
    ],
    servers: ServersOption = 1,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/M/c with classes: the next to be served is of the highest class; nobody is interrupted."""
    from capacity.command_line import read_quantiles
    from capacity.queues.domain import QUANTILES
    from capacity.queues.priority import Priority
    from capacity.report import performance_document, queue_document

    law = Priority(
        arrival_rates_rps=read_rates_rps(arrival_rates, "--arrival-rates"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
    )
    quantiles = read_quantiles(quantile, QUANTILES)
    by_class, together = law.performances(quantiles), law.performance(quantiles)

    def tables() -> Iterator["RenderableType"]:
        from capacity.tables import performance_rows, table

        for number, one in enumerate(by_class, 1):
            yield table(("<", "<"), performance_rows(one), title=f"class {number}")
        yield table(("<", "<"), performance_rows(together), title="all")

    emit(
        output,
        as_json=as_json,
        document=lambda: {
            **queue_document("M/M/c priority", together),
            "classes": [performance_document(one) for one in by_class],
        },
        tables=tables,
    )
