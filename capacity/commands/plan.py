"""`capacity plan`: the cheapest fleet that meets the objective."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capacity.commands.options import (
    BATCHING,
    CLIENTS,
    EFFORT,
    LLM,
    OBJECTIVE,
    REQUIRED,
    TOKEN_OBJECTIVE,
    Flag,
    flags,
    reads,
    writes,
)
from capacity.commands.output import Format, check_figure, emit, run

if TYPE_CHECKING:
    from capacity.answers import PlanAnswer
    from capacity.llm_answers import LlmPlanAnswer
    from capacity.question.question import Question
    from capacity.question.tokens import TokenQuestion


@flags(
    f"profile rate {OBJECTIVE} {TOKEN_OBJECTIVE} goodput_min batch_size_max batch_wait {BATCHING} routing "
    "queue_limit replicas_max hourly_usd "
    "arrivals daily users think_time spare survive rolling_update startup_time spike "
    f"mtbf recovery_time pause request_class recover_within trigger detection {CLIENTS} shed request_overhead "
    f"instances_per_device {LLM} {EFFORT} explain file plot verbose",
    profile=reads(
        list[str],
        REQUIRED,
        "Measured service times: the name of a bundled profile, or a .json or .csv file. "
        "Repeat to choose between several.",
    ),
    batch_size_max=Flag(int, None, "Largest batch to consider. Default: the largest in the profile."),
    batch_wait=Flag(
        list[str],
        None,
        "How long the oldest request may wait for its batch to fill: 2ms. Default: several are tried.",
    ),
    routing=Flag(
        list[str],
        None,
        "round-robin (default), random, least-outstanding, power-of-two or shared-queue. "
        "Repeat, or give any, to choose between several.",
    ),
    sequences_max=Flag(
        list[int],
        None,
        "Most requests that run at once in an engine; repeat to choose. Default: as measured.",
    ),
    batched_tokens_max=Flag(
        list[int], None, "Most tokens of a step of the engine; repeat to choose. Default: as measured."
    ),
    replicas_max=Flag(int, 1024, "Largest number of replicas to consider."),
    hourly_usd=Flag(
        list[str], None, "Price of a device in USD per hour; with several profiles NAME=PRICE: t4=0.526."
    ),
    daily=reads(str, None, "Rates over a day, instead of --rate: a .csv of time,rate_rps."),
    spare=Flag(int, 0, "Replicas that may fail while the objective is still met."),
    survive=Flag(
        list[str], None, "Failures under which the objective is still met: n-1, n-2, zone:3; repeatable."
    ),
    rolling_update=Flag(str, None, "Meet the objective during a rolling update: max-unavailable=25%."),
    startup_time=Flag(
        str, None, "Time until a new replica is ready: 120s; with --spike, or for a --trigger."
    ),
    mtbf=Flag(str, None, "Mean time that a replica runs until it fails: 264d; with --recovery-time."),
    recovery_time=Flag(str, None, "Mean time until a failed replica runs again: 5min; with --mtbf."),
    pause=Flag(str, None, "Replicas pause for so long, so often: 200ms,6/min."),
    request_class=Flag(
        list[str],
        None,
        "Requests that take longer than the profile says: long:share=0.02,scale=8; repeatable.",
        ("--class",),
    ),
    recover_within=Flag(
        str, None, "Also be as before so soon after a --trigger, with clients that have a --timeout: 60s."
    ),
    spike=Flag(str, None, "Sudden jump in traffic to handle: 2x; with --startup-time."),
    explain=Flag(
        bool, False, "Also show what limits the plan, what the answer depends on, and what would save most."
    ),
    file=writes("Save the plan as .json, for check, compare and explain."),
    plot=writes("Plot the objective's metric against the number of replicas, as .png or .svg.", "--plot"),
)
def plan(
    context: typer.Context,
    file: str | None,
    plot: str | None,
    output: Format,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """The cheapest fleet that meets the objective, how certain that is, and why a smaller one is not enough.

    Examples:
      capacity plan --profile resnet50-t4-fp16 --rate 3200rps --slo-p99 40ms
      capacity plan --profile mine.csv --rate 120rps --slo-p99 80ms --survive n-1 -o plan.json
      capacity plan --profile engine.json --rate 20rps --lengths lengths.csv --slo-ttft-p99 2s --slo-tpot-p99 60ms
      capacity plan --profile resnet50-t4-fp16 --profile resnet50-v100-fp16 --rate 5000rps --slo-p99 50ms
    """
    from capacity import api

    path = None if file is None else Path(file)
    if plot is not None:
        check_figure(plot)
    found = run(api.plan, context, before=None if path is None else partial(_check_target, path))
    with ExitStack() as after:  # neither a closed stdout nor a full disk costs more than one of them
        if plot is not None:
            after.callback(_draw, found, plot)
        if path is not None:
            after.callback(found.save, path)
        emit(found, output, as_json=as_json, verbose=verbose)
    raise typer.Exit(found.exit_code)


def _check_target(path: Path, question: "Question | TokenQuestion") -> None:
    """Refuse early a plan that could not be written."""
    from capacity.answer.saved_llm_plan import check_llm_plan_target
    from capacity.answer.saved_plan import check_plan_target
    from capacity.question.question import Question

    if isinstance(question, Question):
        check_plan_target(path, question)
    else:
        check_llm_plan_target(path, question)


def _draw(found: "PlanAnswer | LlmPlanAnswer", file: str) -> None:
    """The figure of a plan; without a plan there is none, which is said."""
    if found.curve() is None:
        typer.echo(f"no plan, so {file} is not drawn", err=True)
    else:
        found.plot().save(Path(file))
