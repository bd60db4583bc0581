"""An asker that answers by a rule, in place of one that simulates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from capacity.question.candidate import Candidate
from capacity.question.plan import Plan
from capacity.question.question import Question


@dataclass
class Asked:
    """Answers by a rule and keeps each thing it was asked, with its plan."""

    rule: Callable[[Question, Plan], Candidate]
    seen: list[tuple[str, Plan]] = field(default_factory=list)
    judge: None = None

    def ask(self, question: Question, plan: Plan, what: str, *, careful: bool = False) -> Candidate:
        self.seen.append((what, plan))
        return self.rule(question, plan)


def asker(rule: Callable[[Question, Plan], Candidate]) -> Any:
    """One that stands in for any asker."""
    return Asked(rule)
