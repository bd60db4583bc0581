"""`capacity curve`: queueing curves of M/M/c."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.commands.options import Flag, flags, writes
from capacity.commands.output import Format, emit_pieces, width
from capacity.question.parse import read_choice
from capacity.units import parse_rate_rps

if TYPE_CHECKING:
    from rich.console import RenderableType


@flags(
    y=Flag(str, "queue-length", "queue-length, wait-probability, wait, response or p99."),
    x=Flag(str, "utilization", "utilization or arrival-rate."),
    service_rate=Flag(list[str], None, "Service rate of a server: 10rps; repeatable."),
    servers=Flag(list[int], None, "Number of servers; repeatable."),
    file=writes("Draw the curves, as .png or .svg."),
)
def curve(
    y: str,
    x: str,
    service_rate: list[str] | None,
    servers: list[int] | None,
    file: str | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Queue length, wait or P99 of M/M/c against utilization or arrival rate.

    Examples:
      capacity curve --y p99 --service-rate 10rps --servers 1 --servers 4
      capacity curve --x arrival-rate --y response --service-rate 10rps --servers 4 -o curve.svg
    """
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
