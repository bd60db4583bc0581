"""Answer of `verify`: what a plan predicts beside what a server showed under load."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import Document
from capacity.answers.answer import Answer
from capacity.errors import InputError
from capacity.verification.verification import Outcome, Verification

if TYPE_CHECKING:
    from capacity.render.plot import Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerificationAnswer(Answer):
    """Whether prediction and measurement agree.

    Attributes:
        found: the load tests and both predictions.
        environment: where the load came from and went to.
    """

    found: Verification
    environment: Mapping[str, Any]

    @property
    def outcome(self) -> Outcome:
        """The outcome."""
        return self.found.outcome

    @property
    def stop(self) -> BaseException | None:
        """The interrupt or the failure that ended the load early; None without one."""
        return self.found.stop

    @property
    def exit_code(self) -> int:
        """0 agreement, 3 a missed limit, 4 disagreement or doubt."""
        return self.found.exit_code

    def document(self) -> Document:
        """Document of `capacity verify --json`."""
        from capacity.verification.report import verify_document

        return verify_document(self.found, self.environment)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity verify`."""
        from capacity.verification.report import verify_tables

        return verify_tables(self.found)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each quantity that was measured, with what was predicted of it."""
        return [
            {
                "quantity": row.quantity.name,
                "measured": row.measured.value,
                "measured_low": row.measured.low,
                "measured_high": row.measured.high,
                "predicted": None if row.stationary is None else row.stationary.predicted.value,
                "verdict": None if row.stationary is None else row.stationary.agreement.value,
                "replayed": None if row.replay is None else row.replay.predicted.value,
                "replayed_verdict": None if row.replay is None else row.replay.agreement.value,
            }
            for row in self.found.rows
        ]

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("a verification has no figure; use to_frame()")
