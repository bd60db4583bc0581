"""Cheapest: which fleets cost least among those that the search accepts, and of each choice that was not made."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from capacity.question.candidate import Candidate, Rejection, closest
from capacity.question.question import Family, Question
from capacity.search.candidates import Search
from capacity.search.fewest import always, fewest_enough, finest, halve_in

# Simulated requests for fleets that no neighbour's verdict lets the search skip.
UNSKIPPED_REQUESTS_MAX = 200_000_000
_UNSKIPPED_MAX = 250  # and numbers of devices, however short their runs
# Share of the budget that doubt may take before these are tried.
_DOUBT_FIRST = 0.5
# Share of a missed value below which another setting has moved it.
_MOVED = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The lowest cost at which anything is accepted, and all that is accepted there.

    Attributes:
        cost: [USD/h], or devices if there is no price.
        starts: fewest devices accepted, for families whose batches start at once.
    """

    cost: float
    candidates: tuple[Candidate, ...]
    starts: dict[Family, int]


def find_cheapest(search: Search) -> Level | None:
    """The cheapest accepted fleets; None if none is accepted. What was not tried is noted in the search.

    First those whose batches start at once. Then, at every number of devices that would be cheaper still, those
    about which no neighbour's verdict says anything: batches that wait, and profiles in which a larger batch may be
    faster. A candidate that is undecided after a first look is put off, so that none takes the budget of others; the
    search goes on with it as long as it could be the best. What that decides starts another round, in which all else
    is remembered.
    """
    search.is_patient, starts, is_open = False, dict[Family, int](), True
    while is_open:
        search.fleets_untried = 0
        _try_families(search, starts)
        if not search.go_on(search.requests_max * _DOUBT_FIRST):
            search.fleets_untried += _without_skipping(search, _lowest(search))
            is_open = search.go_on()
    bound = _lowest(search)
    level = None if bound == math.inf else _level(search, bound, starts)
    search.is_patient = True
    return level


def _lowest(search: Search) -> float:
    """The lowest cost at which anything is accepted; infinite if nothing is."""
    return min(
        (search.question.cost(one.plan) for one in search.considered if one.accepted), default=math.inf
    )


def _try_families(search: Search, starts: dict[Family, int]) -> None:
    """Fleets whose batches start at once, family by family, each only as long as it may be cheaper than the best.

    Args:
        starts: as in `Level`, to be added to.
    """
    bound = math.inf
    for family in _cheapest_first(search):
        devices = fewest(search, family, devices_within(search, family, bound), is_bounded=bound < math.inf)
        if devices is not None:
            starts[family] = devices
            bound = min(bound, family.cost(devices))
    for family in search.question.families:
        bound = _ease(search, family, bound, starts)


def _ease(search: Search, family: Family, bound: float, starts: dict[Family, int]) -> float:
    """The lowest cost once cheaper fleets were tried in settings that were left open, where they ease what is missed.

    From one setting to the next by what the last one missed, as long as that moves.

    Args:
        starts: as in `Level`, to be added to.
    """
    tried, before = {family}, None
    while refused := _refused_below(search, family, bound):
        eased = None if _is_alike(before, refused) else search.question.eased(family, refused)
        if eased is None or eased in tried:
            break
        devices = _devices_below(search, family, bound)
        family, before = eased, refused
        tried.add(family)
        found = fewest(search, family, devices, is_bounded=True)
        if found is not None:
            starts[family], bound, before = found, family.cost(found), None
        elif not search.out_of_budget:
            search.at(family, devices)  # refused at once, and so not tried
    return bound


def _refused_below(search: Search, family: Family, bound: float) -> Rejection | None:
    """Why the largest fleet of a family that costs less is not accepted; None if it is, or was not tried."""
    devices = _devices_below(search, family, bound)
    known = search.known(family, devices, waits=False) if devices else []
    return next((one.rejection for one in known if not one.accepted), None)


def _is_alike(before: Rejection | None, refused: Rejection) -> bool:
    """Whether another setting misses the same limit by hardly less."""
    return before is not None and refused.limit == before.limit and refused.needed > _MOVED * before.needed


def _devices_below(search: Search, family: Family, bound: float) -> int:
    """Most devices that cost less than this, within the limit of replicas."""
    devices = devices_within(search, family, bound)
    return devices - (family.cost(devices) == bound)


def _level(search: Search, bound: float, starts: dict[Family, int]) -> Level:
    """What is accepted at the lowest cost, once all settings there were tried.

    A wait is worth its delay only where it saves a device: at the lowest cost none is tried unless all need one.
    """
    price = search.question.cost
    for family in search.question.families:
        _show_outpriced(search, family, bound)
    waits = not (_starts_at_once(search, bound) or search.fleets_untried or search.out_of_budget)
    for family in search.question.families:
        devices = devices_within(search, family, bound)
        if family.cost(devices) == bound:
            _look_around(search, family, devices, waits=waits)
    while search.go_on():
        pass
    accepted = [one for one in search.considered if one.accepted and price(one.plan) == bound]
    return Level(cost=bound, candidates=tuple(accepted), starts=starts)


def _starts_at_once(search: Search, cost: float) -> bool:
    """Whether a fleet whose batches start at once is accepted at this cost, so that no batch need wait."""
    accepted = (one.plan for one in search.considered if one.accepted)
    return any(plan.starts_at_once and search.question.cost(plan) == cost for plan in accepted)


def _look_around(search: Search, family: Family, devices: int, *, waits: bool) -> None:
    """All settings of a family at the lowest cost, so that ties can be broken; if asked, those that wait."""
    least = search.devices_min(family)
    if least is None or devices < least:
        return
    if any(candidate.accepted for candidate in search.known(family, devices, waits=False)):
        search.at(family, devices)
    if waits:
        search.at(family, devices, waits=True)


def _show_outpriced(search: Search, family: Family, bound: float) -> None:
    """What the same money buys of a family that needs more to be stable: refused, shown with the answer."""
    devices = max(1, devices_within(search, family, bound))
    least = search.devices_min(family)
    if least is not None and least > devices:
        search.at(family, devices)


def devices_within(search: Search, family: Family, bound: float) -> int:
    """Most devices that cost no more than this, within the limit of replicas."""
    most = search.question.devices_max(family)
    if bound == math.inf:
        return most
    devices = min(most, int(bound / family.cost(1)) + 1)
    while devices > 0 and family.cost(devices) > bound:
        devices -= 1
    return devices


def fewest(search: Search, family: Family, devices_max: int, *, is_bounded: bool) -> int | None:
    """Fewest devices at which some setting that starts at once is accepted; None if none is.

    More replicas are assumed never to hurt: an observation on all cases tried, not a theorem, and only where
    larger batches take longer. The number is doubled until accepted, then bisected.

    Args:
        is_bounded: the most is what another family costs, so it is worth trying before the fewest.
    """
    least = search.devices_min(family)
    if least is None or least > devices_max:
        return None
    if search.out_of_budget:
        search.fleets_untried += _untried(search, family, least, devices_max)
        return None
    if is_bounded and not search.accepted_at(family, devices_max):
        return None
    return _doubling(search, family, least, devices_max) or (devices_max if is_bounded else None)


def _doubling(search: Search, family: Family, least: int, most: int) -> int | None:
    """Fewest devices accepted by growing steps and bisection; None if none is, or the budget is spent."""
    found = fewest_enough(
        lambda devices: search.accepted_at(family, devices),
        least - 1,
        most,
        step=2,
        may_go_on=lambda: not search.out_of_budget,
        is_in_doubt=lambda devices: search.is_in_doubt(family, devices),
        parts=search.doubt_parts(family),
    )
    if found is None and search.out_of_budget:
        search.fleets_untried += _untried(search, family, least, most)
    return found


def _untried(search: Search, family: Family, least: int, most: int) -> int:
    """How many numbers of devices were not tried."""
    return sum(not search.known(family, devices, waits=False) for devices in range(least, most + 1))


def _without_skipping(search: Search, bound: float) -> int:
    """Try the fleets that no neighbour's verdict lets the search skip; return how many the budget left out.

    Below a known cost the most expensive first, which are the most likely to be enough; without one the
    cheapest first, up to the first that is enough.
    """
    is_open = bound == math.inf
    lines = defaultdict[Hashable, list[Fleet]](list)
    for fleet in sorted(unskippable(search, bound), key=lambda one: one.price, reverse=not is_open):
        lines[fleet.line].append(fleet)
    telling = (fleet for line in lines.values() for fleet in _apart(line, is_open=is_open))
    fleets = sorted(telling, key=lambda one: one.price, reverse=not is_open)
    search.fleets_between = sum(map(len, lines.values())) - len(fleets)
    start, last = search.requests, dict[Hashable, Fleet]()
    for number, fleet in enumerate(fleets):
        spent = search.requests - start >= UNSKIPPED_REQUESTS_MAX or number >= _UNSKIPPED_MAX
        if search.out_of_budget or spent:
            return len(fleets) - number
        is_enough = fleet.is_accepted(search)
        _try_between(search, last.get(fleet.line, fleet), fleet)
        last[fleet.line] = fleet
        if is_enough and is_open:
            break
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A number of devices of a family, with all settings whose batches wait, or all that start at once."""

    price: float
    family: Family
    devices: int
    waits: bool

    @property
    def line(self) -> Hashable:
        """What it differs from only by its number of devices."""
        return self.family, self.waits

    def is_accepted(self, search: Search) -> bool:
        """Whether any of its settings is accepted."""
        return search.accepted_at(self.family, self.devices, waits=self.waits)


def _apart(fleets: list[Fleet], *, is_open: bool) -> Iterator[Fleet]:
    """The fleets of a line that are worth trying: all, or if they are large those farther and farther apart.

    The first step is a hundredth, below which no budget tells two fleets apart, and each step is twice the last.

    Args:
        is_open: whether nothing is known to be enough; else the first step is from what is.
    """
    step = finest(fleets[0].devices, always)
    growth, place = (1, 0) if step == 1 else (2, 0 if is_open else step - 1)
    while place < len(fleets) - 1:
        yield fleets[place]
        place, step = place + step, growth * step
    yield fleets[-1]


def _try_between(search: Search, one: Fleet, other: Fleet) -> None:
    """Halve what lies between two fleets of a line, if the larger one is enough and the smaller one is not."""
    smaller, larger = sorted((one, other), key=lambda fleet: fleet.devices)
    if larger.is_accepted(search) and not smaller.is_accepted(search):
        halve_in(
            lambda devices: search.accepted_at(one.family, devices, waits=one.waits),
            smaller.devices,
            larger.devices,
            lambda devices: search.is_in_doubt(one.family, devices, waits=one.waits),
        )


def unskippable(search: Search, bound: float) -> Iterator[Fleet]:
    """Fleets that would cost less, about which no neighbour's verdict says anything."""
    question = search.question
    for family in question.families:
        least = search.devices_min(family)
        if least is None:
            continue
        kinds = search.theory.one_by_one(question, family, search.floors)
        most = devices_within(search, family, bound) if kinds else 0
        numbers = (n for n in range(least, most + 1) if family.cost(n) < bound)
        for n, waits in product(numbers, kinds):
            yield Fleet(price=family.cost(n), family=family, devices=n, waits=waits)


def _cheapest_first(search: Search) -> list[Family]:
    """Families by the price of the fewest devices that are stable."""

    def price(family: Family) -> float:
        least = search.devices_min(family)
        return math.inf if least is None else family.cost(least)

    return sorted(search.question.families, key=price)


# Choices that are tried, and the share of a search's budget that each may take.
_MOST, _SHARE = 12, 0.1


class Alternatives(NamedTuple):
    """What the choices that a plan did not make would take.

    Attributes:
        found: the cheapest fleet of each, the cheapest first.
        untried: a plan of each that was not tried.
    """

    found: tuple[Candidate[Any], ...]
    untried: tuple[Any, ...]


def find_alternatives(search: Search, plan: Any) -> Alternatives:
    """The cheapest fleet of each choice that a plan did not make, as the search accepts it.

    They are what the chosen plan is compared with: judged as in a search, not confirmed, from a budget of their own.
    A choice of which no fleet is accepted is shown by the one that comes closest; those beyond a dozen are not tried.

    Args:
        search: the one that found the plan, whose judgements are used again.
    """
    found, untried = list[Candidate[Any]](), list[Any]()
    for number, other in enumerate(search.question.others(plan)):
        if number >= _MOST:
            untried.extend(_plan_of(other))
            continue
        search.progress(f"what {other.profiles[0].name} would take")
        aside = search.separate(other, is_aside=True, share=_SHARE)
        aside.learn(search)
        best = _best_of(aside, other)
        if best is None:
            untried.extend(_plan_of(other))
        else:
            found.append(best)
        search.count_in(aside)
    price = search.question.cost
    found.sort(key=lambda one: (not one.accepted, price(one.plan)))
    return Alternatives(tuple(found), tuple(untried))


def _plan_of(question: Question) -> list[Any]:
    """A plan that stands for a choice: that with the longest wait, as batches of one request have none."""
    plans = (plan for family in question.families for plan in question.fleets(family, 1))
    longest = max(plans, key=lambda plan: plan.holds_s, default=None)
    return [] if longest is None else [longest]


def _best_of(search: Search, question: Question) -> Candidate[Any] | None:
    """The cheapest accepted fleet, farthest within its limits of those at one price; else the closest refused one.

    None if the budget allowed no trial.
    """
    refused = search.refused_at_once()
    level = None if refused else find_cheapest(search)
    if level is not None:
        return min(level.candidates, key=search.merit)
    considered = refused or search.considered
    return closest(considered, question.objective) if considered else None
