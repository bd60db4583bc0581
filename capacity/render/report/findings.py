"""Findings: all that a report page shows of a saved plan."""

from dataclasses import dataclass
from datetime import date

from capacity.answer.saved_plan import SavedPlan
from capacity.explanation.around import Explored
from capacity.explanation.explanation import Assumption
from capacity.performance import Performance, Window
from capacity.question.candidate import Candidate
from capacity.question.objective import Limit
from capacity.render.plan import shown_limit
from capacity.search.recommendation import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All findings on a page.

    Attributes:
        recommendation: recommendation of the saved plan, certified again.
        certified: result of the plan under its saved random numbers.
        rates: results at other rates, rising. [requests/s]
        one_lost: result without one replica; None if that leaves none.
        distribution: quantiles of the response time; None if the budget was too small.
        window: a short stretch of a run; None if nothing was served.
        around: the simulated grids around the plan; None if there are none.
        digest: SHA-256 of the plan's file; None if it came from none.
        written: the day on which the page is written.
    """

    saved: SavedPlan
    recommendation: Recommendation
    certified: Candidate
    assumptions: tuple[Assumption, ...]
    rates: tuple[tuple[float, Candidate], ...]
    one_lost: Candidate | None
    distribution: Performance | None
    window: Window | None
    around: Explored | None
    digest: str | None
    written: date


def shown(found: Findings) -> Limit:
    """The limit that charts and tables show: the one that binds."""
    performance, objective = found.recommendation.performance, found.saved.question.objective
    return shown_limit(objective) if performance is None else objective.binding(performance)
