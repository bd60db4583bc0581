"""Loop: `python -m serve_api.loop` trains, serves, measures, plans, deploys and verifies, and reports.

The predicted P99 beside the measured one, by one command on one machine.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.command_line import Format, FormatOption, JsonOption, emit, option, read_choice
from capacity.guarded import Guarded
from capacity.report import dumps
from capacity.writing import write_whole
from serve_api.loop_report import report
from serve_api.loop_stages import Loop, LoopSettings
from serve_api.training import ModelKind

if TYPE_CHECKING:
    from rich.console import RenderableType

_USUAL = LoopSettings(output=Path("loop"))

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def loop(
    output: Annotated[Path, option("-o", "--output", help="Folder for all that comes out.")] = _USUAL.output,
    model: Annotated[str, option("--model", help="logistic or mlp.")] = _USUAL.model.value,
    rate: Annotated[str, option("--rate", help="Arrival rate to plan for.")] = _USUAL.rate,
    slo_p99: Annotated[str, option("--slo-p99", help="Limit on P99 to plan for.")] = _USUAL.slo_p99,
    duration: Annotated[str, option("--duration", help="Of each load test.")] = _USUAL.duration,
    runs: Annotated[int, option("--runs", help="Load tests.")] = _USUAL.runs,
    samples: Annotated[
        int, option("--samples", help="Batches of each size in the profile.")
    ] = _USUAL.samples,
    short: Annotated[
        bool, option("--short", help="A small model and little of everything, to see that all works.")
    ] = False,
    form: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Train, serve, measure, plan, deploy the planned replicas here, verify, and write report.md.

    Figures are as good as the machine is quiet. The exit code is that of `capacity verify`: 0 where
    prediction and measurement agree and the objective is met; without a plan, that of `capacity plan`.
    """
    asked = LoopSettings(
        output=output,
        model=read_choice(ModelKind, model, "--model"),
        rate=rate,
        slo_p99=slo_p99,
        duration=duration,
        runs=runs,
        samples=samples,
    )
    settings = asked.shortened() if short else asked
    found = Loop(settings=settings, tell=lambda message: typer.echo(message, err=True)).run()
    text = report(found, settings)
    write_whole(output / "report.md", text.encode())
    write_whole(output / "report.json", (dumps(found) + "\n").encode())

    def tables() -> Iterable["RenderableType"]:
        from rich.markdown import Markdown

        yield Markdown(text)

    emit(form, as_json=as_json, document=lambda: found, tables=tables)
    raise typer.Exit((found["verification"] or found["plan"])["exit_code"])


if __name__ == "__main__":
    app(prog_name="python -m serve_api.loop")
