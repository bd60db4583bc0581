"""Answer of `agreement`: theory beside simulation, quantity by quantity."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import Document
from capacity.answers.answer import Answer
from capacity.errors import InputError

if TYPE_CHECKING:
    from capacity.render.plot import Plot

_AGREES = "agrees"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AgreementAnswer(Answer):
    """Whether the simulator agrees with theory.

    Attributes:
        compared: rows of `simulations.validation.agreement`, one for each quantity of a queue.
        seed: random seed of the simulations.
    """

    compared: tuple[Any, ...]
    seed: int

    @property
    def agrees(self) -> bool:
        """Whether every row agrees, and is certain enough to prove it."""
        return all(row.verdict.value == _AGREES for row in self.compared)

    @property
    def summary(self) -> str:
        """How many quantities agree, on one line."""
        agreeing = sum(row.verdict.value == _AGREES for row in self.compared)
        queues = len({row.system for row in self.compared})
        return f"{agreeing} of {len(self.compared)} quantities of {queues} queues agree with theory"

    @property
    def exit_code(self) -> int:
        """4 if a row disagrees or proves nothing, else 0."""
        return 0 if self.agrees else 4

    def document(self) -> Document:
        """Document of `capacity agreement --json`."""
        return {"agrees": self.agrees, "rows": self.rows(), "seed": self.seed}

    def rows(self) -> list[dict[str, Any]]:
        """One row for each quantity of each queue."""
        return [
            {
                "system": row.system,
                "quantity": row.quantity,
                "theory": row.theory,
                "allowance": row.allowance,
                "simulation": row.simulation.value,
                "half_width": row.half_width,
                "standard_error": row.simulation.standard_error,
                "power": row.power,
                "verdict": row.verdict.value,
            }
            for row in self.compared
        ]

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity agreement`, one for each queue."""
        from capacity.render.tables import table

        columns = ("<quantity", "theory", "simulation", "± 95 %", "deviation", "power", "<verdict")
        for name, group in groupby(self.compared, key=lambda row: str(row.system)):
            yield table(columns, map(_cells, group), title=name)

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("an agreement has no figure; use to_frame()")


def _cells(row: Any) -> tuple[str, ...]:
    """A row as it is shown: the deviation in standard errors, and the power to find an error of 5 %."""
    return (
        row.quantity,
        f"{row.theory:.6g}",
        f"{row.simulation.value:.6g}",
        f"{row.half_width:.2g}",
        f"{row.deviation_se:+.1f} SE",
        f"{row.power:.3f}",
        row.verdict.value,
    )
