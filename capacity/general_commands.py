"""General commands: `capacity queue …` where gaps or services have other laws than the exponential one."""

from typing import Annotated

from capacity.command_line import (
    ArrivalRateOption,
    Format,
    FormatOption,
    JsonOption,
    QuantileOption,
    ServiceRateOption,
    ServiceTimeOption,
    input_option,
    option,
    read_service_rate_rps,
)
from capacity.errors import InputError
from capacity.queue_options import (
    ArrivalFamilyOption,
    ArrivalScvOption,
    PhaseFamilyOption,
    ServersOption,
    ServiceFamilyOption,
    ServiceScvOption,
    emit_law,
    queue_app,
    read_duration,
    read_pair_rps,
    read_service_time_s,
    refuse_together,
)


@queue_app.command()
def mg1(
    arrival_rate: ArrivalRateOption,
    service: ServiceFamilyOption = None,
    service_scv: ServiceScvOption = None,
    service_rate: ServiceRateOption = None,
    service_time: ServiceTimeOption = None,
    profile: Annotated[
        str | None, input_option("--profile", help="Service times of this profile's --batch-size instead.")
    ] = None,
    batch_size: Annotated[
        int | None, option("--batch-size", help="Batch size of the profile; 1 where it is left out.")
    ] = None,
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
    service: PhaseFamilyOption = None,
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
