"""`capacity compare`: fleets side by side under the same requests."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capacity.commands.check import read_plans
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
from capacity.commands.output import Format, emit
from capacity.errors import InputError
from capacity.question.parse import read_profile, read_quantiles, read_workload

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.saved_plan import SavedPlan
    from capacity.profile.profile import ServiceProfile
    from capacity.question.budget import Effort
    from capacity.question.comparison import Contender
    from capacity.traffic.workload import Demand

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
    from capacity.answer.compare import CONTENDERS_MAX
    from capacity.files import located
    from capacity.question.stability import require_answerable
    from capacity.render.compare import comparison_caveats, comparison_document, comparison_tables

    saved = read_plans(plans, None if arrivals == "poisson" else arrivals) if plans else []
    measured = [read_profile(name, request_overhead) for name in profile or ()]
    workload = _workload(saved, arrivals, rate)
    contenders = _contenders(saved, plans or (), fleet or (), measured)
    if not 2 <= len(contenders) <= CONTENDERS_MAX:
        raise InputError(
            f"give 2 to {CONTENDERS_MAX} fleets to compare, saved plans or --fleet replicas=4,batch=16; "
            f"got {len(contenders)}"
        )
    for one in contenders:
        located(one.name, partial(require_answerable, one.profile, workload, one.plan))
    asked = {
        "seed": seed,
        "confidence": confidence,
        "precision": precision,
        "requests_max": requests_max,
        "engine": engine,
        "workers": workers,
        "cluster": cluster,
    }
    effort = _effort(saved, {name: value for name, value in asked.items() if value is not None})
    quantiles = read_quantiles(quantile, _quantiles(saved))
    with context.obj(effort) as work:
        work.report(f"simulating {len(contenders)} fleets under the same requests")
        comparison = work.compare(quantiles)(contenders, workload)
    caveats = comparison_caveats(contenders, workload, comparison, effort.precision)

    def tables() -> Iterator["RenderableType"]:
        yield from comparison_tables(contenders, workload, comparison, caveats, effort.confidence)

    emit(
        output,
        as_json=as_json,
        document=lambda: comparison_document(
            contenders, workload, comparison, caveats, seed=effort.seed, confidence=effort.confidence
        ),
        tables=tables,
    )


def _workload(saved: "Sequence[SavedPlan]", arrivals: str, rate: str | None) -> "Demand":
    """That of the saved plans, which `--rate` may bring to one rate; else as in `simulate`."""
    from capacity.answer.compare import common_workload
    from capacity.units import parse_rate_rps

    if not saved:
        return read_workload(arrivals, rate)
    return common_workload(saved, None if rate is None else parse_rate_rps(rate, "--rate"))


def _contenders(
    saved: "Sequence[SavedPlan]",
    paths: Sequence[str],
    fleets: Sequence[str],
    measured: "Sequence[ServiceProfile]",
) -> "list[Contender]":
    """Saved plans, then fleets of the profiles that are given, or else of those of the first plan."""
    from capacity.answer.compare import parse_fleet, saved_contender
    from capacity.files import printable

    profiles = measured or (saved[0].question.profiles if saved else ())
    if fleets and not profiles:
        raise InputError("a --fleet needs a --profile, or a saved plan to take it from")
    return [
        *(saved_contender(plan, printable(path)) for plan, path in zip(saved, paths, strict=True)),
        *(parse_fleet(text, profiles) for text in fleets),
    ]


def _effort(saved: "Sequence[SavedPlan]", asked: dict[str, Any]) -> "Effort":
    """That of the first plan, or the usual one, where nothing else is asked."""
    from dataclasses import replace

    from capacity.question.budget import Effort

    return replace(saved[0].effort if saved else Effort(), **asked)


def _quantiles(saved: "Sequence[SavedPlan]") -> tuple[float, ...]:
    promised = {q for plan in saved for q in plan.question.objective.limits}
    return tuple(sorted({*_QUANTILES, *promised}))
