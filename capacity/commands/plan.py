"""`capacity plan`: the cheapest fleet that meets the objective."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit_and_write, outputs, run
from capacity.files import format_suffix, write_whole

if TYPE_CHECKING:
    from capacity.answers.frontier import FrontierAnswer
    from capacity.answers.plan import PlanAnswer
    from capacity.question.question import Question


@verb("plan")
def plan(
    context: typer.Context, out: list[str] | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """The cheapest fleet that meets the objective, how certain that is, and why a smaller one is not enough.

    A limit, a rate or a number may be a list (20ms,40ms) or a range (20ms:100ms:10ms): each value is asked, and a table
    shows what it costs.

    Examples:
      capacity plan --profile resnet50-t4-fp16 --rate 3200rps --slo-p99 40ms
      capacity plan --profile mine.csv --rate 120rps --slo-p99 80ms --survive n-1 -o plan.json
      capacity plan --profile engine.json --rate 20rps --lengths lengths.csv --slo-ttft-p99 2s --slo-tpot-p99 60ms
      capacity plan --profile resnet50-t4-fp16 --profile resnet50-v100-fp16 --rate 5000rps --slo-p99 50ms
      capacity plan --profile resnet50-t4-fp16 --rate 3200rps --slo-p99 10ms:60ms:10ms -o frontier.svg
    """
    import capacity

    paths = outputs(out, ".html")
    kept = [path for path in paths if _ending(path) == ".json" and not _is_frontier(context)]
    found = run(capacity.plan, context, before=partial(_check_targets, kept) if kept else None)
    emit_and_write(
        found, paths, output, as_json=as_json, verbose=verbose, write=partial(_write, found, context)
    )
    raise typer.Exit(found.exit_code)


def _is_frontier(context: typer.Context) -> bool:
    """Whether a flag has a list or a range of values, so that the answer is not one plan."""
    from capacity.question.grid import is_several
    from capacity.question.verbs import VERBS

    return any(is_several(context.params.get(name), flag) for name, flag in VERBS["plan"].flags.items())


def _check_targets(paths: Sequence[Path], question: "Question[Any, Any, Any]") -> None:
    """Refuse early a plan that could not be written."""
    from capacity.answer.saved_plan import check_plan_target

    for path in paths:
        check_plan_target(path, question)


def _write(found: "PlanAnswer | FrontierAnswer", context: typer.Context, path: Path) -> None:
    """Write the plan, its page, its rows or its picture; without a plan, say why there is no picture or page."""
    import capacity
    from capacity.answers.frontier import FrontierAnswer
    from capacity.doors import ask

    ending = _ending(path)
    if ending in (".json", ".csv", ".parquet"):
        found.save(path)
    elif isinstance(found, FrontierAnswer):
        _draw_frontier(found, path)
    elif found.plan is None:
        typer.echo(f"no plan, so {path} is not {'written' if ending == '.html' else 'drawn'}", err=True)
    elif ending == ".html":
        how = {name: context.params[name] for name in ("workers", "cluster")}
        ask(capacity.report, {"plan": found, "file": path, **how})
    else:
        found.plot().save(path)


def _draw_frontier(found: "FrontierAnswer", path: Path) -> None:
    """Write the page or the picture of a frontier; if no point has a plan, say so."""
    if all(one.plan is None for one in found.points):
        typer.echo(f"no plan at any point, so {path} is not drawn", err=True)
    elif _ending(path) == ".html":
        from capacity.api.report import today

        write_whole(path, found.page(today()).encode())
    else:
        found.plot().save(path)


def _ending(path: Path) -> str:
    """The ending that decides how a plan is written; a stream such as /dev/stdout gets the plan itself."""
    from capacity.answers.answer import ENDINGS

    return format_suffix(path, (*ENDINGS, ".html"))
