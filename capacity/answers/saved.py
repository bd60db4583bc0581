"""Answers of `check` and `explain`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.check import Finding, GateAnswer
from capacity.answer.documents import (
    Document,
    considered_documents,
    explanation_document,
    like_it_document,
    plain,
    saturation_document,
)
from capacity.answer.saved_plan import (
    SavedPlan,
)
from capacity.answer.sentences import fleet
from capacity.answers.answer import Answer, OfOneFleet, candidate_row, drawn, quantile_bars
from capacity.explanation.explanation import Explanation
from capacity.performance import Performance
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.plan import Plan

if TYPE_CHECKING:
    from capacity.render.figures import ObjectiveCurve
    from capacity.render.plot import Panels, Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckAnswer(OfOneFleet):
    """Whether a saved plan still meets its objective."""

    answer: GateAnswer
    saved: SavedPlan
    effort: Effort

    @property
    def plan(self) -> Plan:
        """The saved plan."""
        plan: Plan = self.saved.plan
        return plan

    @property
    def performance(self) -> Performance | None:
        """Performance of the fleet now; None if theory refused the plan."""
        return self.answer.performance

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return self.answer.verdict

    @property
    def findings(self) -> Sequence[Finding]:
        """The results, one for each thing that was checked."""
        return self.answer.findings

    @property
    def summary(self) -> str:
        """The plan and its verdict on one line."""
        return self.answer.summary

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity check --json`."""
        from capacity.render.check import gate_document

        return gate_document(self.answer, seed=self.effort.seed, confidence=self.effort.confidence)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity check`."""
        from capacity.render.tables import gate_tables

        yield from gate_tables(self.answer)

    def rows(self) -> list[dict[str, Any]]:
        """One row a finding."""
        return [
            {"verdict": one.verdict.value, "what": one.name, "found": one.message}
            for one in self.answer.findings
        ]

    def plot(self) -> "Plot | Panels":
        """Quantiles of the response of the plan as it was checked.

        Raises:
            InputError: nothing was measured or simulated.
        """
        from capacity.errors import InputError

        if self.answer.performance is None:
            raise InputError("the plan was refused before a simulation: there is nothing to draw")
        return quantile_bars([self.answer.performance], [self.saved.plan.profile])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExplanationAnswer(Answer):
    """Why a saved plan is as it is."""

    saved: SavedPlan
    verdict: Verdict
    explanation: Explanation

    @property
    def summary(self) -> str:
        """The plan and what limits it, on one line."""
        from capacity.render.explanation import sections

        first = next(chain.from_iterable(told for _, told in sections(self.explanation)))
        return f"{fleet(self.saved.plan)}: {first}".removesuffix(".")

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity explain --json`."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            **like_it_document(self.explanation.base.like_it),
            "plan": plain(self.saved.plan),
            **self._where_saturation_is_measured(),
            "explanation": explanation_document(self.explanation),
            "seed": self.saved.effort.seed,
            "confidence": self.saved.effort.confidence,
        }

    def _where_saturation_is_measured(self) -> Document:
        """What a replica does while requests always wait, fewer replicas and other settings; else empty."""
        found = self.explanation
        if found.saturation is None:
            return {}
        considered = {"considered": considered_documents(found.fewer)}
        return saturation_document(found.saturation, found.neighbours) | considered

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity explain`."""
        from capacity.render.charts import objective_chart
        from capacity.render.explanation import explanation_texts
        from capacity.render.plan import changes_table

        yield from explanation_texts(self.explanation)
        if self.explanation.saturation is not None:
            yield changes_table(self.explanation.neighbours)
        curve = self.curve()
        if curve is not None:
            yield Text(objective_chart(curve, width=width))

    def rows(self) -> list[dict[str, Any]]:
        """One row for each fleet of fewer replicas that was tried, and where it is measured for each other setting."""
        fewer = [candidate_row(one) for one in self.explanation.fewer]
        settings = (
            {"what": one.what, "saturation_rps": one.saturation.rate_rps} | candidate_row(one.candidate)
            for one in self.explanation.neighbours
            if one.saturation is not None
        )
        return [*fewer, *settings]

    def curve(self) -> "ObjectiveCurve | None":
        """The quantity closest to its limit against the number of replicas; None if the plan misses its objective."""
        from capacity.render.figures import replicas_curve

        base, binding = self.explanation.base, self.explanation.binding
        if not base.accepted or base.performance is None or binding is None:
            return None
        return replicas_curve(base, binding.limit, self.explanation.fewer)

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the number of replicas.

        Raises:
            InputError: the plan no longer meets its objective.
        """
        return drawn(self.curve())
