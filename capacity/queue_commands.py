"""Queue commands: `capacity queue …` for requests that are served one by one."""

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
    ArrivalFamilyOption,
    ArrivalScvOption,
    RealServersOption,
    ServersOption,
    ServiceFamilyOption,
    ServiceScvOption,
    emit_law,
    queue_app,
    read_duration,
    read_pair_rps,
    read_rates_rps,
    read_service_time_s,
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
        servers=int(servers) if servers == servers // 1 else servers,
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
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/G/c/c: what finds no free server is lost."""
    from capacity.queues.mgcc import MGcc

    law = MGcc(offered_load=offered_load, servers=servers)
    emit_law("M/G/c/c", law, None, output, as_json=as_json)


@queue_app.command()
def mg1(
    arrival_rate: ArrivalRateOption,
    service: ServiceFamilyOption = None,
    service_scv: ServiceScvOption = None,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    profile: Annotated[
        str | None, option("--profile", help="Service times of this profile's --batch-size instead.")
    ] = None,
    batch_size: Annotated[int, option("--batch-size", help="Batch size of the profile.")] = 1,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/G/1: Poisson arrivals, one server, service of any law."""
    from capacity.queues.mg1 import MG1
    from capacity.units import parse_rate_rps

    rate_rps = parse_rate_rps(arrival_rate, "--arrival-rate")
    if profile is not None:
        from capacity.profile_files import load_profile
        from capacity.queues.empirical import Empirical

        law = MG1(arrival_rate_rps=rate_rps, service=Empirical(law=load_profile(profile).law(batch_size)))
    else:
        service_s = read_service_time_s(service_rate, service_time)
        law = MG1(
            arrival_rate_rps=rate_rps, service=read_duration(service, service_scv, service_s, "--service")
        )
    emit_law("M/G/1", law, quantile, output, as_json=as_json)


@queue_app.command()
def mdc(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/D/c: Poisson arrivals, c servers that always take equally long."""
    from capacity.queues.mdc import MDc
    from capacity.units import parse_rate_rps

    law = MDc(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service_time_s=read_service_time_s(service_rate, service_time),
        servers=servers,
    )
    emit_law("M/D/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def mphc(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption,
    service: ServiceFamilyOption = None,
    service_scv: ServiceScvOption = None,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """M/PH/c: Poisson arrivals, service in exponential phases: erlang or hyperexponential."""
    from capacity.queues.mphc import MPHc
    from capacity.units import parse_rate_rps

    service_s = read_service_time_s(service_rate, service_time)
    law = MPHc(
        arrival_rate_rps=parse_rate_rps(arrival_rate, "--arrival-rate"),
        service=read_duration(service, service_scv, service_s, "--service"),
        servers=servers,
    )
    emit_law("M/PH/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def gimc(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption = 1,
    arrival: ArrivalFamilyOption = None,
    arrival_scv: ArrivalScvOption = None,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """GI/M/c: independent gaps of any law, exponential service."""
    from capacity.queues.gimc import GIMc
    from capacity.units import parse_rate_rps

    gap_s = 1.0 / parse_rate_rps(arrival_rate, "--arrival-rate")
    law = GIMc(
        arrival=read_duration(arrival, arrival_scv, gap_s, "--arrival"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
    )
    emit_law("GI/M/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def ggc(
    arrival_rate: ArrivalRateOption,
    servers: ServersOption = 1,
    arrival: ArrivalFamilyOption = None,
    arrival_scv: ArrivalScvOption = None,
    service: ServiceFamilyOption = None,
    service_scv: ServiceScvOption = None,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    formula: Annotated[
        str, option("--formula", help="whitt, allen-cunneen, kimura or tijms (the last two: M/G/c).")
    ] = "whitt",
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """G/G/c, approximately, by the means and variabilities of gaps and service."""
    from capacity.command_line import read_choice
    from capacity.queues.general.ggc_wait import Formula
    from capacity.queues.ggc import GGc
    from capacity.units import parse_rate_rps

    gap_s = 1.0 / parse_rate_rps(arrival_rate, "--arrival-rate")
    service_s = read_service_time_s(service_rate, service_time)
    law = GGc(
        arrival=read_duration(arrival, arrival_scv, gap_s, "--arrival"),
        service=read_duration(service, service_scv, service_s, "--service"),
        servers=servers,
        formula=read_choice(Formula, formula, "--formula"),
    )
    emit_law("G/G/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def mmpp(
    arrival_rates: Annotated[
        str, option("--arrival-rates", help="Arrival rate of either phase: 1.5rps,0.3rps.")
    ],
    switch_rates: Annotated[
        str, option("--switch-rates", help="How often either phase ends: 0.01/s,0.01/s.")
    ],
    servers: ServersOption = 1,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """MMPP(2)/M/c: Poisson arrivals whose rate switches between two values."""
    from capacity.queues.mmpp import MMPPMc

    law = MMPPMc(
        arrival_rates_rps=read_pair_rps(arrival_rates, "--arrival-rates"),
        switch_rates_per_s=read_pair_rps(switch_rates, "--switch-rates"),
        service_rate_rps=read_service_rate_rps(service_rate, service_time),
        servers=servers,
    )
    emit_law("MMPP/M/c", law, quantile, output, as_json=as_json)


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
