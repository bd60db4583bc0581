"""`capacity curve`: where waiting explodes, of M/M/c or of a profile."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, emit_pieces, is_typed, outputs, run, width
from capacity.errors import InputError
from capacity.files import check_target
from capacity.question.parse import read_choice
from capacity.question.verbs import VERBS
from capacity.units import parse_rate_rps

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document
    from capacity.queues.curves import Curve


@verb("curve")
def curve(
    context: typer.Context,
    y: str,
    x: str,
    service_rate: list[str] | None,
    servers: list[int] | None,
    profile: str | None,
    out: list[str] | None,
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
    if profile is not None:
        _of_profile(context, out, output, as_json=as_json)
        return
    given = [name for name in _OF_PROFILES if is_typed(context, name)]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} belongs to --profile; give a profile too")
    _of_theory(y, x, service_rate, servers, out, output, as_json=as_json)


_OF_THEORY = ("y", "x", "service_rate", "servers")
_OF_PROFILES = tuple(name for name in VERBS["curve"].flags if name not in (*_OF_THEORY, "profile", "out"))


def _of_profile(context: typer.Context, out: list[str] | None, output: Format, *, as_json: bool) -> None:
    """A simulated curve."""
    import capacity

    for name in _OF_THEORY:
        if is_typed(context, name):
            raise InputError(f"--{name.replace('_', '-')} is for M/M/c; leave it out with --profile")
    paths = outputs(out)
    emit_and_write(run(capacity.curve, context), paths, output, as_json=as_json)


def _of_theory(
    y: str,
    x: str,
    service_rate: list[str] | None,
    servers: list[int] | None,
    out: list[str] | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """Curves of M/M/c, as a picture or as JSON."""
    from capacity.answer.documents import curves_document
    from capacity.queues.curves import Axis, Quantity, curves

    for file in out or ():
        check_target(Path(file), "curves of theory", (".svg", ".png", ".json"))
    rates_rps = [parse_rate_rps(text, "--service-rate") for text in service_rate or ("10rps", "5rps", "2rps")]
    quantity, axis = read_choice(Quantity, y, "--y"), read_choice(Axis, x, "--x")
    drawn = curves(quantity, axis, rates_rps, servers or [1])
    document = partial(curves_document, quantity, axis, drawn)
    for file in out or ():
        _write_curves(Path(file), drawn, document)

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import line_chart

        yield Text(line_chart(drawn, width=width()))

    emit_pieces(output, as_json=as_json, document=document, tables=tables)


def _write_curves(path: Path, drawn: "Sequence[Curve]", document: "Callable[[], Document]") -> None:
    from capacity.answer.documents import dumps
    from capacity.files import write_whole
    from capacity.render.figures import draw_curves

    if path.suffix.lower() == ".json":
        write_whole(path, (dumps(document()) + "\n").encode())
    else:
        draw_curves(drawn).save(path)
