"""Answer of `plan`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import (
    Document,
    dumps,
    explanation_document,
    recommendation_document,
    schedule_document,
)
from capacity.answer.plan_like import require_plan
from capacity.answers.answer import WIDTH, OfOneFleet, candidate_row, drawn, frame_of
from capacity.performance import Performance
from capacity.question.budget import Effort
from capacity.question.candidate import Candidate, Verdict
from capacity.question.caveat import Caveat
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.render.console import as_text
from capacity.search.by_hour import Schedule
from capacity.search.exact import theory_of
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    from capacity.answer.saved_plan import SavedPlan
    from capacity.autoscaling.cheapest import AutoscaledPlan
    from capacity.explanation.explanation import Explanation
    from capacity.render.figures import ObjectiveCurve
    from capacity.render.plot import Plot
    from capacity.search.disturbed_plan import DisturbedPlan
    from capacity.search.recovery_plan import RecoveryPlan


@dataclass(frozen=True, slots=True, repr=False)
class Considered(Sequence[Candidate]):
    """The candidates of a search, accepted and refused."""

    candidates: tuple[Candidate, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.candidates[index]

    def __len__(self) -> int:
        return len(self.candidates)

    def __repr__(self) -> str:
        met = sum(one.accepted for one in self.candidates)
        return f"<Considered: {len(self)} candidates, of which {met} meet the objective>"

    def to_frame(self) -> "pd.DataFrame":
        """One row a candidate: the plan, its verdict, its refusal, and its performance.

        Raises:
            DependencyError: pandas is not installed.
        """
        return frame_of([candidate_row(one) for one in self.candidates])


# Parts of an answer that are not part of its saved plan, as they are made from it.
_NOT_SAVED = ("explanation",)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PlanAnswer(OfOneFleet):
    """A recommendation and its optional parts; None for parts that were not asked for, or without a plan."""

    question: Question[Any, Any, Any]
    effort: Effort
    recommendation: Recommendation
    day: Schedule | None = None
    explanation: "Explanation | None" = None
    recovery: "RecoveryPlan | None" = None
    disturbed: "DisturbedPlan | None" = None
    autoscaled: "AutoscaledPlan | None" = None

    @property
    def verdict(self) -> Verdict:
        """Verdict of the plan, under disturbances too and including its recovery if these were asked for."""
        if self.autoscaled is not None and self.recommendation.verdict is Verdict.MET:
            return self.autoscaled.verdict
        if any(part is not None and part.chosen is None for part in (self.recovery, self.disturbed)):
            return Verdict.MISSED
        return self.recommendation.verdict

    @property
    def plan(self) -> Plan | None:
        """The cheapest plan that meets the objective; None if no plan does."""
        return self.recommendation.plan

    @property
    def performance(self) -> Performance | None:
        """Performance of the plan."""
        return self.recommendation.performance

    @property
    def headroom(self) -> Headroom | None:
        """Room for a higher arrival rate."""
        return self.recommendation.headroom

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None if the profile has none. [USD/h]"""
        return self.recommendation.hourly_usd

    @property
    def usd_per_million(self) -> float | None:
        """Price of a million served requests, over the day if the plan is for one; None without a price. [USD]"""
        return self._usd_per_million.get("requests")

    @property
    def _usd_per_million(self) -> dict[str, float]:
        curve = None if self.day is None else self.day.curve
        return self.recommendation.usd_per_million(self.question.space, curve)

    @property
    def sustainable_rate_rps(self) -> float | None:
        """Largest arrival rate below which the queues of the plan do not grow for ever. [requests/s]"""
        if self.plan is None:
            return None
        saturation, profile = self.recommendation.saturation, self.question.profile(self.plan.profile)
        if saturation is not None:
            return self.plan.replicas * saturation.rate_rps
        return theory_of(profile).sustained_rps(profile, self.plan)

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the answer."""
        return self.recommendation.caveats

    @property
    def considered(self) -> Considered:
        """All candidates of the search."""
        return Considered(self.recommendation.considered)

    @property
    def exit_code(self) -> int:
        """0 met, 3 missed, 4 inconclusive."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity plan --json`."""
        document = recommendation_document(
            self.recommendation, self.question, seed=self.effort.seed, confidence=self.effort.confidence
        )
        if self.day is not None:
            document["schedule"] = schedule_document(self.day)
            document["usd_per_million"] = self._usd_per_million or None
        if self.explanation is not None:
            document["explanation"] = explanation_document(self.explanation)
        document |= {"verdict": self.verdict.value, "exit_code": self.exit_code}
        if self.disturbed is not None:
            from capacity.answers.recovery import disturbed_plan_document

            document["disturbed"] = disturbed_plan_document(self.disturbed)
        if self.autoscaled is not None:
            from capacity.answers.autoscale import autoscaled_plan_document

            document["autoscaled"] = autoscaled_plan_document(self.autoscaled)
        if self.recovery is not None:
            from capacity.answers.recovery import recovery_plan_document

            document["recovery"] = recovery_plan_document(self.recovery)
        return document

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity plan`."""
        from capacity.render.charts import objective_chart
        from capacity.render.explanation import explanation_texts
        from capacity.render.plan import (
            recommendation_details,
            recommendation_lines,
            schedule_tables,
            where_next,
        )

        found, confidence = self.recommendation, self.effort.confidence
        yield from recommendation_lines(found, self.question, self.day, verbose=verbose)
        if self.disturbed is not None:
            from capacity.render.recovery.plan import disturbed_plan_lines

            yield from disturbed_plan_lines(
                self.disturbed, cast("BatchPlan | None", self.plan), self.hourly_usd
            )
        if self.recovery is not None:
            from capacity.render.recovery.plan import recovery_plan_lines

            yield from recovery_plan_lines(self.recovery)
        if self.day is not None:
            yield from schedule_tables(self.day, verbose=verbose)
        if self.autoscaled is not None:
            from capacity.render.autoscaling.plan import autoscaled_plan_tables

            yield from autoscaled_plan_tables(self.autoscaled, width, verbose=verbose)
        if self.explanation is not None:
            yield from explanation_texts(self.explanation)
            curve = self.curve()
            if curve is not None:
                yield Text(objective_chart(curve, width=width))
        if verbose:
            yield from recommendation_details(found, self.question, confidence)
        else:
            yield where_next(found)

    def _repr_html_(self) -> str:
        # A notebook has room for the tables, which a terminal shows on demand.
        from capacity.render.html import as_html

        return as_html(self.tables(WIDTH, verbose=True), WIDTH)

    def to_saved(self, name: str = "plan.json") -> "SavedPlan":
        """The plan as if it were read from its file; `check`, `explain`, `stress` and others take the answer itself.

        Args:
            name: name of the plan in messages and tables.

        Raises:
            InputError: there is no plan.
        """
        from capacity.answer.saved_parts import is_named_only
        from capacity.answer.saved_plan import read_plan_file_document

        require_plan(self.plan)
        workload = self.question.workload
        trace = workload.arrivals if is_named_only(workload) and isinstance(workload, Workload) else None
        return read_plan_file_document(json.loads(dumps(self._file())), name, trace)

    def _write(self, target: Path) -> None:
        """Write a saved plan, which `check`, `compare` and `explain` read.

        Raises:
            InputError: a question too long for a file.
        """
        from capacity.answer.saved_plan import check_plan_target, write_plan_file

        check_plan_target(target, self.question)
        write_plan_file(target, self._file())

    def _file(self) -> Document:
        from capacity.answer.saved_plan import plan_file_document

        answer = {name: part for name, part in self.document().items() if name not in _NOT_SAVED}
        certificate = self.recommendation.certificate
        return plan_file_document(self.question, self.effort, certificate, answer)

    def rows(self) -> list[dict[str, Any]]:
        """The recommended plan alone; `considered.to_frame()` has all."""
        if self.plan is None:
            return []
        chosen = Candidate(plan=self.plan, verdict=self.verdict, performance=self.performance)
        return [candidate_row(chosen) | {"hourly_usd": self.hourly_usd}]

    def curve(self) -> "ObjectiveCurve | None":
        """The quantity closest to its limit, against the number of replicas; None without a plan."""
        from capacity.render.figures import plan_curve

        return plan_curve(self.recommendation)

    def plot(self) -> "Plot":
        """The quantity closest to its limit, against the number of replicas.

        Raises:
            InputError: there is no plan to draw.
        """
        return drawn(self.curve())

    def explain(self) -> str:
        """The reasons if `explain=True` was asked, else the answer as the command prints it."""
        from capacity.render.explanation import explanation_texts

        return as_text(
            self.tables(WIDTH) if self.explanation is None else explanation_texts(self.explanation), WIDTH
        )
