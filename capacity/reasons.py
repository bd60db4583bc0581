"""Reasons: why a plan is as it is, as data: what binds, what else would do, what the answer hangs on."""

from dataclasses import dataclass

from capacity.assumptions import Assumption, find_assumptions
from capacity.binding import Binding, find_binding
from capacity.judge import Judge
from capacity.performance import Kind, Performance
from capacity.plan import Candidate, Plan, Verdict
from capacity.question import Question
from capacity.savings import Saving, best_saving, find_savings, nearest, one_fewer
from capacity.search import Progress
from capacity.sensitivity import Change, most_sensitive, neighbours, sensitivities
from capacity.what_if import Asker


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a plan is as it is.

    Attributes:
        base: the plan itself; its performance is the certified one where there is one.
        binding: what binds; None where the plan's performance could not be told.
        fewer: one device fewer, by batch size; empty where there is none fewer.
        nearest: of those, the one that comes nearest to the objective.
        neighbours: the next batch sizes and batch waits.
        sensitivities: of rate, service time and variation of the gaps.
        requests: simulated for all of it.
    """

    plan: Plan
    base: Candidate
    binding: Binding | None
    fewer: tuple[Candidate, ...]
    nearest: Candidate | None
    neighbours: tuple[Change, ...]
    sensitivities: tuple[Change, ...]
    assumptions: tuple[Assumption, ...]
    savings: tuple[Saving, ...]
    requests: int

    @property
    def most_sensitive(self) -> Change | None:
        """Which input moves what binds by most."""
        return most_sensitive(self.sensitivities)

    @property
    def best_saving(self) -> Saving | None:
        """The one change that would save most."""
        return best_saving(self.savings)


def explain_plan(
    question: Question,
    plan: Plan,
    judge: Judge,
    progress: Progress,
    *,
    performance: Performance | None = None,
    precision: float = 0.02,
) -> Explanation:
    """Everything that can be said for a plan, by laws and short trials with the same random numbers.

    Args:
        performance: of the plan, where it was certified.
        precision: relative half-width that was asked for.
    """
    asker = Asker(judge, progress)
    base = asker.ask(question, plan, "the plan itself", careful=True)
    law = base.performance if base.performance is not None and base.performance.kind is Kind.EXACT else None
    shown = base
    if performance is not None:
        shown = Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    binding = None if shown.performance is None else find_binding(asker, question, plan, shown)
    fewer = one_fewer(asker, question, plan)
    less = nearest(fewer, question)
    return Explanation(
        plan=plan,
        base=shown,
        binding=binding,
        fewer=tuple(fewer),
        nearest=less,
        neighbours=tuple(neighbours(asker, question, plan, base)),
        sensitivities=tuple(sensitivities(asker, question, plan, base)),
        assumptions=tuple(
            find_assumptions(
                question,
                plan,
                shown,
                certified=performance is not None,
                precision=precision,
                law=law,
            )
        ),
        savings=tuple(find_savings(asker, question, plan, less)),
        requests=asker.requests,
    )
