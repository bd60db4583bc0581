"""Registry: finds the targets, and renders a saved plan for one of them."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.render import deploy
from capacity.render.deploy.clients import SafeClients, safe_clients
from capacity.render.deploy.features import AnyPlan, Coverage
from capacity.render.deploy.fleet import Fleet, deployed
from capacity.render.deploy.recovery import read_recovery


class Target(Protocol):
    """A module of this folder that is a target, as the folder's docstring describes."""

    NAME: str
    FILE: str
    PLANS: type[Any]
    COVERS: Coverage

    def render(self, plan: Any) -> str:
        """The plan as the target's file."""


def _targets() -> dict[str, Target]:
    """The target modules of this folder, by name."""
    names = sorted(one.name for one in iter_modules(deploy.__path__) if one.name != "registry")
    modules = (cast("Target", import_module(f"capacity.render.deploy.{name}")) for name in names)
    return {one.NAME: one for one in modules if hasattr(one, "FILE")}


TARGETS = _targets()


def find_target(name: str) -> Target:
    """The target of this name.

    Raises:
        InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(f"--target {quoted(name)} is unknown; use one of {', '.join(TARGETS)}")
    return TARGETS[name]


def has_file(plan: AnyPlan, target: Target) -> bool:
    """Whether a target has a file for such a plan."""
    if target.PLANS is SafeClients:
        saved = plan.saved if isinstance(plan, Fleet) else plan
        return read_recovery(saved) is not None
    rules = getattr(target, "SCHEDULER", None)
    return isinstance(plan, target.PLANS) and (rules is None or rules is plan.profile.engine.scheduler)


def render(saved: SavedPlan, name: str) -> str:
    """A saved plan as a target's file.

    Raises:
        InputError: an unknown target, or one that cannot run such a plan.
    """
    target = find_target(name)
    if target.PLANS is SafeClients:
        return target.render(safe_clients(saved, name))
    plan = deployed(saved)
    if not isinstance(plan, target.PLANS):
        raise InputError(_misfit(saved.name, plan, target))
    return target.render(plan)


_WORDS = {Fleet: "a fleet that batches requests", SavedPlan: "a language model"}


def _misfit(name: str, plan: AnyPlan, target: Target) -> str:
    fitting = [one.NAME for one in TARGETS.values() if one.PLANS is not SafeClients and has_file(plan, one)]
    return (
        f"--target {target.NAME} is for a plan of {_WORDS[target.PLANS]}, and {printable(name)} is one of "
        f"{_WORDS[type(plan)]}; use {'one of ' if len(fitting) > 1 else '--target '}{', '.join(fitting)}"
    )
