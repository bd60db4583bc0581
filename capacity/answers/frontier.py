"""Answer of `plan` to a list or a range: a plan at each of its values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from typing import TYPE_CHECKING, Any, Self

from rich.console import RenderableType

from capacity.answer.documents import Document
from capacity.answers.answer import Answer, candidate_row
from capacity.answers.plan import PlanAnswer
from capacity.errors import InputError
from capacity.question.candidate import Verdict, closest
from capacity.question.grid import Varied
from capacity.render.frontier import Frontier, Spot

if TYPE_CHECKING:
    from capacity.answer.saved_plan import SavedPlan
    from capacity.render.plot import Plot

# The least favourable verdict comes first.
_WORST = (Verdict.MISSED, Verdict.INCONCLUSIVE, Verdict.MET)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FrontierAnswer(Answer):
    """Plans at each value of a list or a range, or at each pair of values of two.

    Attributes:
        varied: the flags with several values.
        points: the answer to each single question, as if it had been asked alone; the last flag changes fastest.
        uncovered: values at which there is no answer, as the profile was not measured there, with the reason.
    """

    varied: tuple[Varied, ...]
    points: tuple[PlanAnswer, ...]
    uncovered: Mapping[tuple[float, ...], str] = field(default_factory=dict)

    @classmethod
    def of(cls, varied: tuple[Varied, ...], answers: Sequence[PlanAnswer | str]) -> Self:
        """Put together what there is at each point: an answer, or the reason why the profile does not cover it."""
        values = product(*(one.values for one in varied))
        pairs = list(zip(values, answers, strict=True))
        return cls(
            varied=varied,
            points=tuple(one for one in answers if not isinstance(one, str)),
            uncovered={at: one for at, one in pairs if isinstance(one, str)},
        )

    @property
    def at(self) -> tuple[dict[str, float], ...]:
        """What each point was asked at, by name with the unit last."""
        return tuple(map(self._named, self._values))

    @property
    def verdict(self) -> Verdict:
        """The least favourable verdict of the points: missed before inconclusive before met.

        A value that the profile does not cover is inconclusive.
        """
        verdicts = [one.verdict for one in self.points] + [Verdict.INCONCLUSIVE for _ in self.uncovered]
        return min(verdicts, key=_WORST.index)

    @property
    def exit_code(self) -> int:
        """0 if every point is met; 3 if one is missed, else 4."""
        return self.verdict.exit_code

    def document(self) -> Document:
        """Document of `capacity plan --json` with a list or a range; each point as its plan alone has it."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "axes": [
                {"flag": one.name, "unit": one.unit or None, "values": list(one.values)}
                for one in self.varied
            ],
            "points": [{"at": at} | one.document() for at, one in zip(self.at, self.points, strict=True)],
            "uncovered": [{"at": self._named(at), "why": why} for at, why in self.uncovered.items()],
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """What the frontier comes to in a sentence, and a row for each point; `verbose` adds their notes."""
        from capacity.render.frontier import frontier_tables

        yield from frontier_tables(self._frontier, width, verbose=verbose)

    def rows(self) -> list[dict[str, Any]]:
        """One row a point: what it was asked at, its verdict, and its plan with performance and cost.

        A point without a plan has the numbers of the refusal that is closest. Where a plan has a column of the same
        name, what was asked is `asked_...`: the largest batch allowed is not always the one chosen.
        """
        return [self._row(at, one) for at, one in zip(self.at, self.points, strict=True)]

    def plot(self) -> "Plot":
        """The cost of the fleet, or its replicas without a price, against the values; between two points the higher.

        Raises:
            InputError: no point has a plan.
        """
        from capacity.render.figures import draw_costs

        return draw_costs(self._frontier)

    def page(self, written: date) -> str:
        """The sentence, the picture and the table as one page of HTML.

        Args:
            written: the day on which the page is written.

        Raises:
            InputError: no point has a plan.
        """
        from capacity.render.report.frontier import frontier_page

        return frontier_page(self._frontier, written)

    def to_saved(self, name: str = "plan.json") -> "SavedPlan":
        """Refuse to be taken for one plan.

        Raises:
            InputError: always; names the way to one of the plans.
        """
        raise InputError(
            f"a frontier holds {len(self.points)} plans; give one of its points: answer.points[0]"
        )

    @property
    def _values(self) -> Iterator[tuple[float, ...]]:
        """What each point was asked at."""
        return (one for one in product(*(axis.values for axis in self.varied)) if one not in self.uncovered)

    def _named(self, values: Sequence[float]) -> dict[str, float]:
        return dict(zip([one.key for one in self.varied], values, strict=True))

    @property
    def _frontier(self) -> Frontier:
        spots = (
            Spot(
                values=values,
                verdict=one.verdict,
                found=one.recommendation,
                question=one.question,
                usd_per_million=one.usd_per_million,
            )
            for values, one in zip(self._values, self.points, strict=True)
        )
        return Frontier(
            varied=self.varied,
            spots=tuple(spots),
            confidence=self.points[0].effort.confidence,
            uncovered=self.uncovered,
        )

    @staticmethod
    def _row(at: dict[str, float], one: PlanAnswer) -> dict[str, Any]:
        nearest = closest(one.considered, one.recommendation.objective) if one.considered else None
        found = one.rows()[0] if one.plan is not None else {} if nearest is None else candidate_row(nearest)
        told = found if one.plan is not None else {name: found[name] for name in _REFUSED if name in found}
        asked = {f"asked_{key}" if key in found else key: value for key, value in at.items()}
        headroom = one.recommendation.arrival_rate_max_rps
        costs = {"usd_per_million": one.usd_per_million, "arrival_rate_max_rps": headroom}
        return asked | told | {"verdict": one.verdict.value} | costs


_REFUSED = ("verdict", "rejection", "allowed", "needed")
