"""Sizing commands: `capacity queue closed`, `staffing` and `usl`: how many users, servers or replicas."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.command_line import (
    ArrivalRateOption,
    Format,
    FormatOption,
    JsonOption,
    QuantileOption,
    ServiceRateOption,
    ServiceTimeOption,
    emit,
    note_input,
    option,
    read_quantiles,
    read_service_rate_rps,
)
from capacity.errors import InputError
from capacity.queue_options import (
    NoQuantileOption,
    ServersOption,
    ThinkTimeOption,
    UsersOption,
    emit_law,
    emit_performance,
    queue_app,
    read_service_time_s,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.queues.scalability import UniversalScalability
    from capacity.queues.scalability_fit import ScalabilityFit


@queue_app.command()
def closed(
    users: UsersOption,
    think_time: ThinkTimeOption = "0s",
    servers: ServersOption = 1,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """A number of users who think, ask, and wait for the answer: c exponential servers, one queue."""
    from capacity.queues.closed import Closed
    from capacity.units import parse_duration_s

    law = Closed(
        users=users,
        think_time_s=parse_duration_s(think_time, "--think-time"),
        service_time_s=read_service_time_s(service_rate, service_time),
        servers=servers,
    )
    emit_law("closed M/M/c", law, quantile, output, as_json=as_json)


@queue_app.command()
def staffing(
    arrival_rate: ArrivalRateOption,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    wait_p99: Annotated[str | None, option("--wait-p99", help="Limit on P99 of the wait: 20ms.")] = None,
    response_p99: Annotated[
        str | None, option("--response-p99", help="Limit on P99 of the response time: 250ms.")
    ] = None,
    wait_probability: Annotated[
        float | None, option("--wait-probability", help="Largest share of requests that wait: 0.2.")
    ] = None,
    quantile: QuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """The fewest servers of M/M/c that keep one limit, and the queue with so many."""
    from capacity.queues.domain import QUANTILES
    from capacity.queues.mmc import MMc
    from capacity.queues.staffing import (
        servers_for_response,
        servers_for_wait,
        servers_for_wait_probability,
    )
    from capacity.units import parse_duration_s, parse_rate_rps

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
def usl(
    file: Annotated[
        str | None,
        typer.Argument(help="A .csv of measurements, n,throughput_rps, to fit.", callback=note_input),
    ] = None,
    throughput_one: Annotated[
        str | None, option("--lambda", help="Throughput of one replica: 1000rps; instead of a file.")
    ] = None,
    sigma: Annotated[
        float | None, option("--sigma", help="Contention, 0 to 1; with --lambda, 0 by default.")
    ] = None,
    kappa: Annotated[
        float | None, option("--kappa", help="Crosstalk, from 0; with --lambda, 0 by default.")
    ] = None,
    replicas: Annotated[int | None, option("--replicas", help="Number of replicas to evaluate at.")] = None,
    quantile: NoQuantileOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Universal Scalability Law: what N replicas serve, and from where on more of them serve less."""
    from capacity.report import scalability_document

    read_quantiles(quantile, (0.5,))  # refused where they are none, though the law has no use for them
    if (file is None) == (throughput_one is None):
        raise InputError("give either a file of measurements or --lambda 1000rps --sigma 0.05 --kappa 0.001")
    if throughput_one is not None:
        law = _read_scalability(throughput_one, sigma or 0.0, kappa or 0.0)
        document = scalability_document(law, None, replicas)
    else:
        if sigma is not None or kappa is not None:
            raise InputError("--sigma and --kappa belong to --lambda; from a file they are fitted")
        fit = _fit(file or "")
        document = scalability_document(fit.law, fit, replicas)

    def tables() -> Iterator["RenderableType"]:
        from capacity.tables import document_table

        yield document_table(document)

    emit(output, as_json=as_json, document=lambda: document, tables=tables)


def _read_scalability(throughput_one: str, sigma: float, kappa: float) -> "UniversalScalability":
    from capacity.queues.scalability import UniversalScalability
    from capacity.units import parse_rate_rps

    return UniversalScalability(
        throughput_one_rps=parse_rate_rps(throughput_one, "--lambda"), sigma=sigma, kappa=kappa
    )


def _fit(file: str) -> "ScalabilityFit":
    from pathlib import Path

    from capacity.queues.scalability_fit import fit
    from capacity.scalability_csv import read_points

    return fit(read_points(Path(file)))
