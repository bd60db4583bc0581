"""Header: the comment at the start of each file: its plan, what was evaluated, and how the target differs."""

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.files import printable
from capacity.performance import Kind
from capacity.question.plan import Routing, plan_words, rejects
from capacity.render.deploy.features import counted, unset_notes
from capacity.render.deploy.fleet import Fleet, deployed
from capacity.render.report.command import command_to_repeat
from capacity.server.batch.batching import Batching
from capacity.traffic.workload import ClosedPopulation
from capacity.units import format_duration, format_quantile, format_rate

_WIDTH = 108


def header(fleet: Fleet, target: str, notes: Iterable[str], mark: str = "#") -> str:
    """The header as comment lines, ending in a line break.

    Args:
        notes: how the target differs from what was evaluated, and notes on its numbers. Features that the file does
            not set are added.
        mark: start of a comment in the file's format.

    Raises:
        InputError: the target cannot have a feature of the plan.
    """
    name = shlex.quote(printable(fleet.saved.file))
    lines = [*_evaluated(fleet), "", *(f"- {note}" for note in (*notes, *unset_notes(fleet, target)))]
    made = [
        f"{mark} Written by: capacity render {name} --target {target}",
        f"{mark} Planned by: {printable(command_to_repeat(fleet.saved))}",  # on one line, to be copied
        *comments(lines, mark),
    ]
    return "".join(f"{line}\n" for line in made)


def header_of(saved: SavedPlan, target: str, notes: Iterable[str]) -> str:
    """The header for a plan of either kind."""
    fleet = deployed(saved)
    if isinstance(fleet, Fleet):
        return header(fleet, target, notes)
    plan, question = saved.plan, saved.question
    objective = ", ".join(str(one) for one in question.objective.limits)
    lines = [
        f"Written by: capacity render {shlex.quote(printable(saved.file))} --target {target}",
        f"Evaluated:  {counted(plan.replicas, 'engine')} of {plan.profile}, {plan.server_text}, "
        f"{plan.routing.value} routing, at {format_rate(question.workload.arrival_rate_rps)}, seed "
        f"{saved.effort.seed}; objective {objective}: {saved.verdict.value}.",
        "",
        *(f"- {note}" for note in (*notes, *unset_notes(saved, target))),
    ]
    return "".join(f"{line}\n" for line in comments(lines))


def comments(lines: Iterable[str], mark: str = "#") -> Iterator[str]:
    """Lines as comments, broken if they are too long.

    >>> list(comments(["- a note", ""]))
    ['# - a note', '#']
    """
    for line in lines:
        for part in _wrapped(line):
            yield f"{mark} {part}".rstrip()


def _wrapped(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else "    "
    kept = re.sub(
        r"(\d) (ms|s|µs|rps|%)(?!\w)", "\\1\N{NO-BREAK SPACE}\\2", line
    )  # a number stays with its unit
    parts = textwrap.wrap(
        kept, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace("\N{NO-BREAK SPACE}", " ") for part in parts] or [""]


def _evaluated(fleet: Fleet) -> Iterator[str]:
    plan, saved, found = fleet.plan, fleet.saved, fleet.performance
    queue = f"queue limit {plan_words(plan)['queue limit']}" if rejects(plan) else "no queue limit"
    preferred = f"{plan.preferred_text}, " if plan.preferred_text else ""
    yield (
        f"Evaluated:  {counted(plan.replicas, 'replica')} of {plan.profile}, batches up to "
        f"{plan.batch_size_max}, {wait_in_words(fleet)}, "
        f"{preferred}{plan.routing.value} routing, {queue}, {_traffic(fleet)}."
    )
    q, size = fleet.response_quantile, found.batch_size_mean
    interval = found.response_quantiles_s.get(q)
    shown = (
        ""
        if interval is None
        else (
            f"{format_quantile(q)} {format_duration(interval.value)} "
            f"({format_duration(interval.low)} to {format_duration(interval.high)}), "
        )
    )
    batch = "" if size is None else f"mean batch {size:.3g}, "
    by = "an exact law" if found.kind is Kind.EXACT else found.kind.value
    objective = ", ".join(str(one) for one in saved.question.objective.limits)
    yield (
        f"Found:      {shown}{batch}by {by}, seed {saved.effort.seed}; objective {objective}: "
        f"{saved.verdict.value}."
    )


def wait_in_words(fleet: Fleet) -> str:
    """The batch wait of the plan, and when it begins."""
    plan = fleet.plan
    return f"wait {format_duration(plan.batch_wait_max_s)} ({_FROM[plan.batching]})"


_FROM = {
    Batching.TRITON: "from the arrival of the oldest request",
    Batching.TORCHSERVE: "from the moment an idle replica sees a request",
    Batching.RAY_SERVE: "from the first request of a batch, which is collected while the replica is busy too",
}
# Rules that differ in the batch wait alone.
_BY_A_TIMER = {Batching.TRITON, Batching.TORCHSERVE}


def _traffic(fleet: Fleet) -> str:
    workload = fleet.saved.question.workload
    if isinstance(workload, ClosedPopulation):
        return f"with {workload.users} users"
    return f"at {format_rate(workload.arrival_rate_rps)}"


def device_note(fleet: Fleet, instead: str) -> Iterator[str]:
    """What is written if the profile does not say whether the device is a GPU; else nothing."""
    if fleet.profile.kind is None:
        yield f'The profile does not say "kind": "gpu" or "cpu": {instead}.'


def shed_note(fleet: Fleet, where: str) -> Iterator[str]:
    """How the server sheds requests so that the fleet recovers; empty if it sheds none.

    Args:
        where: what the server does, and by which setting.
    """
    if fleet.recovery is None or fleet.wait_limit_s is None or fleet.patience_s is None:
        return
    yield (
        f"--shed {fleet.recovery.shed}: {where} what has waited {format_duration(fleet.wait_limit_s)}, as its client "
        f"waits for {format_duration(fleet.patience_s)} and would have less than "
        f"{format_duration(fleet.patience_s - fleet.wait_limit_s)} left. The fleet was not found to recover without it."
    )
    deadline_s = fleet.recovery.clients.deadline_s
    if deadline_s is not None:
        yield (
            f"Clients have a deadline of {format_duration(deadline_s)} for all attempts together, which no server "
            "knows: later attempts may have less left than it takes them to have."
        )


def batching_note(fleet: Fleet, server: str, rule: Batching) -> str:
    """Whether a server starts batches by the rule that was evaluated, and how to evaluate its own."""
    plan = fleet.plan
    counts = f"{server} counts the batch wait {_FROM[rule]}"
    if plan.preferred_text and server != "Triton":
        return f"{server} has no preferred sizes, and the plan has: plan without --preferred-sizes to evaluate that."
    if plan.batching is rule:
        return f"{counts}, as the plan does."
    if plan.batch_wait_max_s == 0.0 and {plan.batching, rule} <= _BY_A_TIMER:
        return f"{counts}; with a wait of 0 that makes no difference."
    return f"{counts}, and the plan does not: plan with --batching {rule.value} to evaluate its rule."


def routing_note(fleet: Fleet, has: Routing, what: str) -> Iterator[str]:
    """What to do if the target routes differently from the plan; empty if it does not."""
    if fleet.plan.routing is not has and fleet.plan.replicas > 1:
        yield (
            f"Routing: {what} has {has.value}, and the plan was evaluated with {fleet.plan.routing.value}; plan with "
            f"--routing {has.value}, or put a balancer with the plan's routing in front."
        )
