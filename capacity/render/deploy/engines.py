"""Engines: what the commands that start engines of language models have in common."""

from collections.abc import Iterable, Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.profile.llm import Scheduler
from capacity.render.deploy.features import unset_notes
from capacity.render.deploy.header import comments
from capacity.traffic.workload import ClosedPopulation
from capacity.units import format_rate


def require_scheduler(saved: SavedPlan, target: str, wanted: Scheduler) -> None:
    """Refuse a plan for an engine with other rules than those of a target.

    Raises:
        InputError: names the rules of both, and the targets that have those of the plan.
    """
    from capacity.render.deploy.registry import TARGETS

    held = saved.profile.engine.scheduler
    if held is not wanted:
        fitting = [name for name, one in TARGETS.items() if getattr(one, "SCHEDULER", None) is held]
        mend = f"use --target {' or '.join(fitting)}" if fitting else "no target runs these"
        raise InputError(
            f"the plan was evaluated with the rules of {held.value}, and --target {target} is for those of "
            f"{wanted.value}; {mend}"
        )


def command(saved: SavedPlan, target: str, start: str, notes: Iterable[str], flags: Iterable[str]) -> str:
    """The command that starts each replica, after comments on what was evaluated.

    Args:
        notes: what to know of the target's settings; what it does not set is added.
    """
    lines = [start, *(f"  {flag}" for flag in flags)]
    head = comments([*_evaluated(saved), *notes, *unset_notes(saved, target)])
    return "\n".join([*head, " \\\n".join(lines)]) + "\n"


def _evaluated(saved: SavedPlan) -> Iterator[str]:
    """The fleet, its traffic and its limits, and the engine that was measured."""
    plan, profile = saved.plan, saved.profile
    yield f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''} of this command behind {plan.routing.value},"
    yield f"evaluated at {format_rate(_rate_rps(saved))}:"
    events = [f", and with {event}" for event, _ in saved.question.events(plan)]
    yield f"{', '.join(map(str, saved.question.objective.limits))}{''.join(events)}."
    version = f" with {profile.engine.name} {profile.engine.version}" if profile.engine.version else ""
    yield (
        f"Steps were measured on {profile.device or 'a device that the profile does not name'}{version}; another "
        "version or device needs a profile of its own."
    )


def _rate_rps(saved: SavedPlan) -> float:
    """Arrival rate of the plan. [requests/s]

    Raises:
        InputError: the plan is for a closed population.
    """
    workload = saved.question.workload
    if isinstance(workload, ClosedPopulation):
        raise InputError(
            f"{saved.name} was made for {workload.users} users, and this target needs an arrival rate; plan with --rate"
        )
    return float(workload.arrival_rate_rps)


def model_of(saved: SavedPlan) -> str:
    """The name of the model as a word for the shell; MODEL if the profile does not say it.

    Raises:
        InputError: a name that would be taken for an option.
    """
    model = saved.profile.model or "MODEL"
    if model.startswith("-"):
        raise InputError(
            f"the profile's model {quoted(model)} begins with a hyphen, and a server would take it for an option; "
            'give the profile the name that the model is served under ("model"), and plan again'
        )
    return "'" + model.replace("'", "'\\''") + "'"
