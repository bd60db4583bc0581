"""Plans as verbs take them: a saved plan, the path of one, or an answer that was not saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

from capacity.errors import InputError

if TYPE_CHECKING:
    from capacity.answer.saved_plan import SavedPlan

Saved: TypeAlias = Union[str, Path, "SavedPlan"]


@runtime_checkable
class Savable(Protocol):
    """An answer of `plan`."""

    def to_saved(self, name: str = "plan.json") -> "SavedPlan":
        """The plan as if it were read from a file of that name."""


PlanLike: TypeAlias = Saved | Savable


def as_path(path: str | Path) -> Path:
    """The path to save a plan to.

    Raises:
        InputError: not a path.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"an answer is saved to the path of a file, got {type(path).__name__}")
    return Path(path)


def as_saved(plan: PlanLike, name: str = "plan.json") -> Saved:
    """A saved plan, of either kind.

    Args:
        name: name for an answer, which has none of its own.

    Raises:
        InputError: not a plan, or an answer without one.
    """
    if isinstance(plan, type):
        raise InputError(f"{plan.__name__} is a kind of answer; give the answer itself")
    if isinstance(plan, Savable):
        return plan.to_saved(name)
    if isinstance(plan, str | Path) or hasattr(plan, "recommendation_plan"):
        return plan
    raise InputError(
        "a plan is the path of a file that capacity plan -o has saved, or an answer of capacity.plan; "
        f"got {type(plan).__name__}"
    )


def require_plan(plan: object) -> None:
    """Refuse an answer that holds no plan."""
    if plan is None:
        raise InputError(
            "the answer holds no plan, since none is known to meet the objective; plan with other limits"
        )
