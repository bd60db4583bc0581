"""Savings: the smallest change with which one device fewer meets the objective."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from capacity.errors import CapacityError
from capacity.question.candidate import Candidate, closest
from capacity.question.plan import Plan, Routing
from capacity.question.question import Question
from capacity.search.certificate import SIMPLICITY
from capacity.search.exact import theory_of
from capacity.search.what_if import Asker, with_demand, with_limits, with_service

# Precision of the smallest change, and the range in which it is sought: doubled from the first on.
_RESOLUTION = 0.01
_LIMIT_MOST, _SHRINK_MOST = 2.56, 0.64


class Lever(StrEnum):
    """What can be changed."""

    ROUTING = "routing"
    LIMIT = "limit"
    SERVICE = "service_time"
    DEMAND = "demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """A change with which one device fewer is enough.

    Attributes:
        plan: the plan after that change.
        share: smallest relative change found to be enough; None for a routing.
        refused: largest change found not to be enough, or undecided; 0 if none was tried.
        hourly_usd: what it saves; None if no price is known. [USD/h]
    """

    lever: Lever
    plan: Plan
    candidate: Candidate
    share: float | None = None
    refused: float = 0.0
    hourly_usd: float | None = None


def one_fewer(asker: Asker, question: Question, plan: Plan) -> list[Candidate]:
    """Judgements of one device fewer, one for each setting that may need fewest, all else equal."""
    found: list[Candidate] = []
    for less in theory_of(question.profile(plan.profile)).fewer(question, plan):
        found.append(asker.ask(question, less, f"one fewer, {less.size_text}"))
        if less.at_once >= plan.at_once and found[-1].performance is not None and found[-1].accepted:
            break
    return found


def nearest(fewer: list[Candidate], question: Question) -> Candidate | None:
    """The judgement closest to the objective; None if there is none."""
    return closest(fewer, question.objective) if fewer else None


def find_savings(asker: Asker, question: Question, plan: Plan, less: Candidate | None) -> Iterator[Saving]:
    """Savings: a routing if that alone is enough; then the smallest change of each other lever.

    Args:
        less: the fleet of one device fewer closest to the objective; None if there is none fewer.
    """
    if less is None:
        return
    yield from _routing(asker, question, plan, less)
    levers: dict[Lever, tuple[Callable[[float], Question], float]] = {
        Lever.LIMIT: (lambda share: with_limits(question, 1.0 + share), _LIMIT_MOST),
        Lever.SERVICE: (lambda share: with_service(question, 1.0 - share), _SHRINK_MOST),
        Lever.DEMAND: (lambda share: with_demand(question, 1.0 - share), _SHRINK_MOST),
    }
    # The closest one today need not be the closest after a change.
    plans = dict.fromkeys((less.plan, *_alike(question, plan, less.plan.replicas)))
    for lever, (variant, most) in levers.items():
        found = None
        for other in plans:
            most = most if found is None else found[1] - _RESOLUTION
            found = _least(asker, variant, other, most, lever) or found
        if found is not None:
            candidate, share, refused = found
            yield Saving(
                lever=lever,
                plan=candidate.plan,
                candidate=candidate,
                share=share,
                refused=refused,
                hourly_usd=_price(question, plan, candidate.plan),
            )


def _alike(question: Question, plan: Plan, replicas: int) -> Iterator[Plan]:
    """Plans with this many replicas: in the plan's own setting, and in the one that sustains most."""
    own = replace(plan, replicas=replicas)
    yield own
    yield theory_of(question.profile(plan.profile)).strongest(question, own)


def best_saving(savings: tuple[Saving, ...]) -> Saving | None:
    """A routing that is enough alone, since it costs nothing; else the smallest relative change."""
    return min(savings, key=lambda saving: saving.share or 0.0, default=None)


def _routing(asker: Asker, question: Question, plan: Plan, less: Candidate) -> Iterator[Saving]:
    fleets = dict.fromkeys((replace(plan, replicas=less.plan.replicas), less.plan))
    for routing in SIMPLICITY:
        if (
            routing is plan.routing.base or routing is Routing.RANDOM
        ):  # which knows least, and never does better
            continue
        if routing.needs_sessions and not plan.routing.needs_sessions:  # of which this question may have none
            continue
        for fleet in fleets:
            try:
                other = replace(fleet, routing=routing)
            except CapacityError:  # such replicas do not have it
                continue
            candidate = asker.ask(question, other, f"one fewer, {routing}")
            if candidate.accepted:
                usd = _price(question, plan, other)
                yield Saving(lever=Lever.ROUTING, plan=other, candidate=candidate, hourly_usd=usd)
                return


def _least(
    asker: Asker, variant: Callable[[float], Question], plan: Plan, most: float, lever: Lever
) -> tuple[Candidate, float, float] | None:
    """The smallest share that is enough, and the largest below it that is not; None if none is."""

    def tried(share: float) -> Candidate:
        return asker.ask(variant(share), plan, f"one fewer, {lever.value} {100.0 * share:.3g} %")

    refused, share = 0.0, _RESOLUTION
    if share > most * (1.0 + 1e-9):
        return None
    candidate = tried(share)
    while not candidate.accepted:
        if 2.0 * share > most * (1.0 + 1e-9):
            return None
        refused, share = share, 2.0 * share
        candidate = tried(share)
    while share - refused > _RESOLUTION * (1.0 + 1e-9):
        middle = (share + refused) / 2.0
        other = tried(middle)
        if other.accepted:
            share, candidate = middle, other
        else:
            refused = middle
    return candidate, share, refused


def _price(question: Question, plan: Plan, less: Plan) -> float | None:
    profile = question.profile(plan.profile)
    before, after = profile.hourly_cost_usd(plan.replicas), profile.hourly_cost_usd(less.replicas)
    return None if before is None or after is None else before - after
