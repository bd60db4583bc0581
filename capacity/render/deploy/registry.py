"""Registry: finds the targets, and renders a saved plan for one of them."""

from importlib import import_module
from pkgutil import iter_modules
from types import UnionType
from typing import Any, Protocol, cast

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.question.plan import Routing
from capacity.render import deploy
from capacity.render.deploy.clients import SafeClients, safe_clients
from capacity.render.deploy.features import AnyPlan, Coverage, Feature
from capacity.render.deploy.fleet import Fleet, deployed
from capacity.render.deploy.recovery import read_recovery


class Target(Protocol):
    """A module of this folder that is a target, as the folder's docstring describes."""

    NAME: str
    FILE: str
    PLANS: type[Any] | UnionType
    COVERS: Coverage

    def render(self, plan: Any) -> str:
        """The plan as the target's file."""


def _targets() -> dict[str, tuple[Target, ...]]:
    """The target modules of this folder, by name: one for each kind of plan that has such a file."""
    names = sorted(one.name for one in iter_modules(deploy.__path__) if one.name != "registry")
    modules = (cast("Target", import_module(f"capacity.render.deploy.{name}")) for name in names)
    found: dict[str, tuple[Target, ...]] = {}
    for one in modules:
        if hasattr(one, "FILE"):
            found[one.NAME] = (*found.get(one.NAME, ()), one)
    return found


TARGETS = _targets()


def find_target(name: str) -> Target:
    """The target of this name, for any kind of plan, as all have the same file.

    Raises:
        InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(f"--target {quoted(name)} is unknown; use one of {', '.join(TARGETS)}")
    return TARGETS[name][0]


def target_of(name: str, plan: AnyPlan) -> Target | None:
    """The target of this name for such a plan, or for the clients of any; None if there is none."""
    forms = TARGETS[name]
    return next((one for one in forms if one.PLANS is SafeClients or isinstance(plan, one.PLANS)), None)


def has_file(plan: AnyPlan, target: Target) -> bool:
    """Whether a target has a file for such a plan."""
    if target.PLANS is SafeClients:
        saved = plan.saved if isinstance(plan, Fleet) else plan
        return read_recovery(saved) is not None
    rules = getattr(target, "SCHEDULERS", None)
    return isinstance(plan, target.PLANS) and (rules is None or plan.profile.engine.scheduler.family in rules)


def sets(target: Target, feature: Feature, plan: AnyPlan) -> bool:
    """Whether the file of a target sets a feature of such a plan; some have only a few of the routings."""
    if feature is Feature.ROUTING and plan.plan.routing not in getattr(target, "ROUTINGS", Routing):
        return False
    return feature in target.COVERS.sets and has_file(plan, target)


def render(saved: SavedPlan, name: str) -> str:
    """A saved plan as a target's file.

    Raises:
        InputError: an unknown target, or one that cannot run such a plan.
    """
    first = find_target(name)
    if first.PLANS is SafeClients:
        return first.render(safe_clients(saved, name))
    plan = deployed(saved)
    target = target_of(name, plan)
    if target is None:
        raise InputError(_misfit(saved.name, plan, first))
    return target.render(plan)


_WORDS: dict[object, str] = {Fleet: "a fleet that batches requests", SavedPlan: "a language model"}


def _misfit(name: str, plan: AnyPlan, target: Target) -> str:
    forms = (one for forms in TARGETS.values() for one in forms)
    fitting = [one.NAME for one in forms if one.PLANS is not SafeClients and has_file(plan, one)]
    return (
        f"--target {target.NAME} is for a plan of {_WORDS[target.PLANS]}, and {printable(name)} is one of "
        f"{_WORDS[type(plan)]}; use {'one of ' if len(fitting) > 1 else '--target '}{', '.join(fitting)}"
    )
