"""Answers about language models, for profiles of kind llm."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
    caveat_documents,
    dumps,
    picked,
    plain,
    saturation_document,
)
from capacity.answers import (
    Answer,
    performance_row,
    quantile_bars,
)
from capacity.errors import InputError
from capacity.files import check_target, write_whole
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.question.budget import Effort
from capacity.question.candidate import Candidate
from capacity.question.caveat import Caveat
from capacity.question.question import Question
from capacity.search.recommendation import Recommendation

if TYPE_CHECKING:
    from capacity.render.plot import Panels, Plot


def _considered(candidates: Iterable[Candidate]) -> list[Document]:
    return [picked(one, "plan", "accepted", "verdict", "performance", "rejection") for one in candidates]


def _replicas(count: int) -> str:
    return f"{count} replica{'s' if count > 1 else ''}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmExplanationAnswer(Answer):
    """Why a saved plan for a language model is as it is."""

    recommendation: Recommendation
    question: Question[Any, Any, Any]
    effort: Effort

    def document(self) -> Document:
        """Document of `capacity explain --json`."""
        found = self.recommendation
        return {
            "plan": plain(found.plan),
            "saturation": plain(found.saturation),
            "considered": _considered(found.considered),
            "changes": saturation_document(found)["changes"],
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity explain`."""
        from capacity.render.tokens import explanation_tables

        yield from explanation_tables(self.recommendation, self.question)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each setting that was tried."""
        return [
            {
                "what": one.what,
                "saturation_rps": None if one.saturation is None else one.saturation.rate_rps,
                "verdict": one.candidate.verdict.value,
            }
            | performance_row(one.candidate.performance)
            for one in self.recommendation.changes
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of TTFT, ITL and the response under each setting that was tried.

        Raises:
            InputError: none of them has a steady state.
        """
        found = ((one.what, one.candidate.performance) for one in self.recommendation.changes)
        known = [(what, performance) for what, performance in found if performance]
        if not known:
            raise InputError("no other setting was simulated: there is nothing to draw")
        return quantile_bars([found for _, found in known], [what for what, _ in known])
