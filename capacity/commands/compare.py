"""`capacity compare`: fleets side by side under the same requests."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.options import (
    ArrivalsOption,
    ClusterOption,
    FormatOption,
    JsonOption,
    OverheadOption,
    QuantileOption,
    RateOption,
    WorkersOption,
    input_option,
    note_input,
    option,
)
from capacity.commands.output import Format, emit, run

if TYPE_CHECKING:
    pass

_QUANTILES = (0.5, 0.99)


def compare(
    context: typer.Context,
    plans: Annotated[
        list[str] | None,
        typer.Argument(
            help="Plans that capacity plan has saved by -o.", show_default=False, callback=note_input
        ),
    ] = None,
    fleet: Annotated[
        list[str] | None,
        option("--fleet", help="replicas=4,batch=16,wait=2ms,routing=random,profile=NAME; may be repeated."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        input_option("--profile", help="As in simulate; of --fleet, where it is no saved plan's."),
    ] = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = "poisson",
    request_overhead: OverheadOption = None,
    quantile: QuantileOption = None,
    seed: Annotated[int | None, option("--seed", help="0, or that of the first plan, by default.")] = None,
    confidence: Annotated[float | None, option("--confidence", help="0.95, or as planned.")] = None,
    precision: Annotated[
        float | None, option("--precision", help="Relative half-width of the highest quantile; 0.02.")
    ] = None,
    requests_max: Annotated[
        int | None, option("--requests-max", help="Requests to simulate for one fleet; 100000000.")
    ] = None,
    engine: Annotated[
        str | None, option("--engine", help="kernel or simpy; both give the same bytes.")
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Fleets side by side under the same requests, and how sure their differences are."""
    from capacity import api

    emit(run(api.compare, context), output, as_json=as_json)
