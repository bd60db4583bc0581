"""An asker that answers by a rule, in place of one that simulates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from capacity.question.candidate import Candidate
from capacity.question.question import Question
from capacity.server.batch.plan import BatchPlan


@dataclass
class Asked:
    """Answers by a rule and keeps each thing it was asked, with its plan."""

    rule: Callable[[Question, BatchPlan], Candidate]
    seen: list[tuple[str, BatchPlan]] = field(default_factory=list)
    judge: None = None

    def ask(self, question: Question, plan: BatchPlan, what: str, *, careful: bool = False) -> Candidate:
        self.seen.append((what, plan))
        return self.rule(question, plan)


def asker(rule: Callable[[Question, BatchPlan], Candidate]) -> Any:
    """One that stands in for any asker."""
    return Asked(rule)
