"""`capacity curve`: queueing curves of M/M/c."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from capacity.commands.options import FormatOption, JsonOption, option, output_option
from capacity.commands.output import Format, emit_pieces, width
from capacity.question.parse import read_choice

if TYPE_CHECKING:
    from rich.console import RenderableType


def curve(
    y: Annotated[
        str, option("--y", help="queue-length, wait-probability, wait, response or p99.", metavar="QUANTITY")
    ] = "queue-length",
    x: Annotated[str, option("--x", help="utilization or arrival-rate.", metavar="AXIS")] = "utilization",
    service_rate: Annotated[
        list[str] | None,
        option("--service-rate", help="Service rate of a server: 10rps; repeatable.", metavar="RATE"),
    ] = None,
    servers: Annotated[
        list[int] | None, option("--servers", help="Number of servers; repeatable.", metavar="N")
    ] = None,
    file: Annotated[
        str | None, output_option("-o", "--output", help="Draw the curves, as .png or .svg.")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Queue length, wait or P99 of M/M/c against utilization or arrival rate.

    Examples:
      capacity curve --y p99 --service-rate 10rps --servers 1 --servers 4
      capacity curve --x arrival-rate --y response --service-rate 10rps --servers 4 -o curve.svg
    """
    from capacity.answer.documents import curves_document
    from capacity.queues.curves import Axis, Quantity, curves
    from capacity.units import parse_rate_rps

    rates_rps = [parse_rate_rps(text, "--service-rate") for text in service_rate or ("10rps", "5rps", "2rps")]
    quantity, axis = read_choice(Quantity, y, "--y"), read_choice(Axis, x, "--x")
    drawn = curves(quantity, axis, rates_rps, servers or [1])
    if file is not None:
        from pathlib import Path

        from capacity.render.figures import draw_curves

        draw_curves(drawn).save(Path(file))

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import line_chart

        yield Text(line_chart(drawn, width=width()))

    emit_pieces(
        output, as_json=as_json, document=lambda: curves_document(quantity, axis, drawn), tables=tables
    )
