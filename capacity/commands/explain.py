"""`capacity explain`: why a saved plan is as it is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from capacity.commands.check import TraceOption, read_plans
from capacity.commands.options import ClusterOption, FormatOption, JsonOption, WorkersOption, note_input
from capacity.commands.output import Format, emit, width

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.documents import Document


def explain(
    context: typer.Context,
    plan: Annotated[
        str, typer.Argument(help="A plan that capacity plan has saved by -o.", callback=note_input)
    ],
    arrivals: TraceOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Why a saved plan is as it is: what binds, what the answer hangs on, and what would save most.

    The plan is certified again by the random numbers that it was saved with, and nothing is searched anew.
    """
    from capacity.answer.documents import explanation_document, plan_document
    from capacity.errors import InputError
    from capacity.explanation.explanation import explain_plan
    from capacity.search.certificate import certify

    (saved,) = read_plans([plan], arrivals)
    if saved.certificate is None:
        raise InputError(f"{saved.name} holds no certificate; make it anew by capacity plan ... -o")
    with context.obj(replace(saved.effort, workers=workers, cluster=cluster)) as work:
        trial = certify(saved.question, work.judge, saved.plan, saved.certificate, work.report)
        verdict = trial.candidate.verdict
        explanation = explain_plan(
            saved.question,
            saved.plan,
            work.judge,
            work.report,
            performance=trial.whole.performance if trial.candidate.accepted else None,
            precision=saved.effort.precision,
        )

    def document() -> "Document":
        return {
            "verdict": verdict.value,
            "exit_code": verdict.exit_code,
            "plan": plan_document(saved.plan),
            "explanation": explanation_document(explanation),
            "seed": saved.effort.seed,
            "confidence": saved.effort.confidence,
        }

    def tables() -> Iterator["RenderableType"]:
        from rich.text import Text

        from capacity.render.charts import objective_chart
        from capacity.render.explanation import explanation_texts
        from capacity.render.figures import replicas_curve

        yield from explanation_texts(explanation)
        if explanation.base.accepted and explanation.binding is not None:
            curve = replicas_curve(explanation.base, explanation.binding.promise, explanation.fewer)
            yield Text(objective_chart(curve, width=width()))

    emit(output, as_json=as_json, document=document, tables=tables)
    raise typer.Exit(verdict.exit_code)
