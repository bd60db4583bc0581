"""Answers about language models, for profiles of kind llm."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
    caveat_documents,
    dumps,
)
from capacity.answers import (
    Answer,
)
from capacity.errors import InputError
from capacity.files import check_target, write_whole
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.question.caveat import Caveat

if TYPE_CHECKING:
    from capacity.render.plot import Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmProfileAnswer(Answer):
    """A profile of a language model, derived from sweeps.

    Attributes:
        checked_rps: throughput that its steps give in the saturated run that checks it; None without one.
            [requests/s]
    """

    profile: LlmProfile
    checked_rps: float | None
    caveats: tuple[Caveat, ...]

    def document(self) -> Document:
        """Document of `capacity import --json` for such files, and of `capacity profile --llm --json`."""
        check = self.profile.check
        return {
            "profile": llm_profile_to_document(self.profile),
            "check": None
            if check is None or self.checked_rps is None
            else {
                "measured_rps": check.saturated_throughput_rps,
                "predicted_rps": self.checked_rps,
                "difference": self.checked_rps / check.saturated_throughput_rps - 1.0,
                "allowed": CHECK_SHARE,
            },
            "caveats": caveat_documents(self.caveats),
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of the profile."""
        from capacity.render.tables import caveat_lines
        from capacity.render.tokens import check_table, llm_profile_pieces

        yield from llm_profile_pieces(self.profile)
        yield check_table(self.profile, self.checked_rps)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [asdict(step) for step in self.profile.steps]

    def write_profile(self, path: Path) -> None:
        """Write the profile as a .json file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        check_target(path, "a profile", (".json",))
        write_whole(path, (dumps(llm_profile_to_document(self.profile)) + "\n").encode())

    def plot(self) -> "Plot":
        """Refuse: there is no figure yet.

        Raises:
            InputError: always.
        """
        raise InputError("the profile of a language model has no figure yet; use to_frame()")
