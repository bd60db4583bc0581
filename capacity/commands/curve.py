"""`capacity curve`: where waiting explodes, of M/M/c or of a profile."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import LLM, Flag, flags, reads, writes
from capacity.commands.output import Format, check_figure, emit, emit_pieces, run, width
from capacity.errors import InputError
from capacity.question.parse import read_choice
from capacity.units import parse_rate_rps

if TYPE_CHECKING:
    from rich.console import RenderableType


@flags(
    f"y x service_rate servers profile replicas batch_size_max batch_wait routing quantile {LLM} file",
    y=Flag(str, "queue-length", "queue-length, wait-probability, wait, response or p99."),
    x=Flag(str, "utilization", "utilization or arrival-rate."),
    service_rate=Flag(list[str], None, "Service rate of a server: 10rps; repeatable."),
    servers=Flag(list[int], None, "Number of servers; repeatable."),
    profile=reads(str, None, "Draw the response time of a fleet with this profile instead, by simulation."),
    replicas=Flag(int, 1, "With --profile: number of replicas."),
    batch_wait=Flag(
        str, "0ms", "With --profile: how long the oldest request may wait for its batch to fill."
    ),
    batch_size_max=Flag(int, None, "With --profile: largest batch. Default: the largest in the profile."),
    routing=Flag(str, "round-robin", "With --profile: how requests are spread over the replicas."),
    quantile=Flag(float, 0.99, "With --profile: quantile of the response time."),
    file=writes("Draw the curves, as .png or .svg."),
)
def curve(
    context: typer.Context,
    y: str,
    x: str,
    service_rate: list[str] | None,
    servers: list[int] | None,
    profile: str | None,
    file: str | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Where waiting explodes: queue length, wait or P99 against load, of M/M/c or of your profile.

    Examples:
      capacity curve --profile resnet50-t4-fp16
      capacity curve --y p99 --service-rate 10rps --servers 1 --servers 4
      capacity curve --x arrival-rate --y response --service-rate 10rps --servers 4 -o curve.svg
    """
    if file is not None:
        check_figure(file)
    if profile is not None:
        _of_profile(context, file, output, as_json=as_json)
        return
    given = [name for name in _OF_PROFILES if _is_given(context, name)]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} belongs to --profile; give a profile too")
    _of_theory(y, x, service_rate, servers, file, output, as_json=as_json)


_OF_PROFILES = ("replicas", "batch_size_max", "batch_wait", "routing", "quantile", *LLM.split())
_OF_THEORY = ("y", "x", "service_rate", "servers")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _of_profile(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """A simulated curve."""
    from capacity import api

    for name in _OF_THEORY:
        if _is_given(context, name):
            raise InputError(f"--{name.replace('_', '-')} is for M/M/c; leave it out with --profile")
    found = run(api.load_curve, context)
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs both
        if file is not None:
            after.callback(lambda path: found.plot().save(path), Path(file))
        emit(found, output, as_json=as_json)


def _of_theory(
    y: str,
    x: str,
    service_rate: list[str] | None,
    servers: list[int] | None,
    file: str | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Curves of M/M/c."""
    from capacity.answer.documents import curves_document
    from capacity.queues.curves import Axis, Quantity, curves

    rates_rps = [parse_rate_rps(text, "--service-rate") for text in service_rate or ("10rps", "5rps", "2rps")]
    quantity, axis = read_choice(Quantity, y, "--y"), read_choice(Axis, x, "--x")
    drawn = curves(quantity, axis, rates_rps, servers or [1])
    if file is not None:
        from capacity.render.figures import draw_curves

        draw_curves(drawn).save(Path(file))

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import line_chart

        yield Text(line_chart(drawn, width=width()))

    emit_pieces(
        output, as_json=as_json, document=lambda: curves_document(quantity, axis, drawn), tables=tables
    )
