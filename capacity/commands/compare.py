"""`capacity compare`: fleets side by side under the same requests."""

from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.help import Panel
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
            help="Plans saved by capacity plan -o.", metavar="FILE", show_default=False, callback=note_input
        ),
    ] = None,
    fleet: Annotated[
        list[str] | None,
        option(
            "--fleet",
            help="A fleet: replicas=4,batch=16,wait=2ms; also routing=random, profile=NAME; repeatable.",
            metavar="FLEET",
            panel=Panel.FLEET,
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        input_option(
            "--profile",
            help="Profile of each --fleet: a bundled name, or a .json or .csv file; repeatable.",
            metavar="PROFILE",
            panel=Panel.FLEET,
        ),
    ] = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = "poisson",
    request_overhead: OverheadOption = None,
    quantile: QuantileOption = None,
    seed: Annotated[
        int | None,
        option(
            "--seed",
            help="Random seed. Default: that of the first plan, or 0.",
            metavar="N",
            panel=Panel.SIMULATION,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        option(
            "--confidence",
            help="Confidence of intervals. Default: that of the first plan, or 0.95.",
            metavar="SHARE",
            panel=Panel.SIMULATION,
        ),
    ] = None,
    precision: Annotated[
        float | None,
        option(
            "--precision",
            help="Relative half-width to reach for the highest quantile. Default: 0.02.",
            metavar="SHARE",
            panel=Panel.SIMULATION,
        ),
    ] = None,
    requests_max: Annotated[
        int | None,
        option(
            "--requests-max",
            help="Most requests to simulate for one fleet. Default: 100000000.",
            metavar="N",
            panel=Panel.SIMULATION,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        option(
            "--engine",
            help="kernel (default) or simpy; both give the same bytes.",
            metavar="ENGINE",
            panel=Panel.SIMULATION,
        ),
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Fleets side by side under the same requests, and how sure their differences are.

    Examples:
      capacity compare --profile resnet50-t4-fp16 --rate 1000rps --fleet replicas=2 --fleet replicas=3
      capacity compare old.json new.json
    """
    from capacity import api

    emit(run(api.compare, context), output, as_json=as_json)
