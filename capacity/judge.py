"""Judge: what the planner asks of whatever predicts performance, simulation or theory."""

from typing import Protocol

from capacity.plan import Candidate
from capacity.scenario import Scenario


class Judge(Protocol):
    """Three degrees of care."""

    def search(self, scenario: Scenario, attempt: int) -> Candidate:
        """Enough to choose between candidates; `attempt` counts them from 1, refusing ever more carefully."""

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        """Enough to recommend a plan: fresh random numbers, and intervals of the asked precision.

        Args:
            attempt: which certificate of a command this is, from 1; later ones are stricter.
            requests_first: what it took to choose the plan, and so where to begin.
        """

    def accepts(self, scenario: Scenario) -> Candidate:
        """Enough for a point of the headroom: cheaper, and never met while in doubt."""
