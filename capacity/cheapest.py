"""Cheapest: which fleets cost least among those that the search accepts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from capacity.plan import Candidate
from capacity.question import Family
from capacity.search import Search

# Simulated requests that fleets whose batches wait may take; a neighbour's fate says nothing of theirs.
WAITS_REQUESTS_MAX = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The lowest cost at which anything is accepted, and all that is accepted there.

    Attributes:
        cost: [USD/h], or devices where there is no price.
        starts: fewest devices accepted, of families whose batches start at once.
        waits_untried: fleets with a batch wait that would cost less and were not tried, for want of budget.
    """

    cost: float
    candidates: tuple[Candidate, ...]
    starts: dict[Family, int]
    waits_untried: int = 0


def find_cheapest(search: Search) -> Level | None:
    """The cheapest accepted fleets; None where none is.

    First those whose batches start at once, family by family, each only as far as it may be cheaper than
    the best so far. Then, at every number of devices that would be cheaper still, those whose batches wait:
    P99 may fall and rise again with their number, so that none is skipped.
    """
    bound, starts = math.inf, {}
    for family in _cheapest_first(search):
        devices = fewest(search, family, devices_within(search, family, bound), is_bounded=bound < math.inf)
        if devices is not None:
            starts[family] = devices
            bound = min(bound, family.cost(devices))
    bound, untried = _with_waits(search, bound)
    if bound == math.inf:
        return None
    for family in search.question.families:  # another routing of the same profile costs the same
        devices = devices_within(search, family, bound)
        least = search.devices_min(family)
        if least is None or devices < least or family.cost(devices) != bound:
            continue
        if family in starts:
            search.at(family, devices)
        if not (untried or search.out_of_budget):
            search.at(family, devices, waits=True)
    accepted = [one for one in search.considered if one.accepted and cost(search, one) == bound]
    return Level(cost=bound, candidates=tuple(accepted), starts=starts, waits_untried=untried)


def cost(search: Search, candidate: Candidate) -> float:
    """Price of a candidate; devices where there is no price. [USD/h]"""
    profile = search.question.profile(candidate.plan.profile)
    family = Family(profile=profile, routing=candidate.plan.routing)
    return family.cost(profile.devices(candidate.plan.replicas))


def devices_within(search: Search, family: Family, bound: float) -> int:
    """Most devices that cost no more than so much, within the limit of replicas."""
    most = search.question.devices_max(family)
    if bound == math.inf:
        return most
    devices = min(most, int(bound / family.cost(1)) + 1)
    while devices > 0 and family.cost(devices) > bound:
        devices -= 1
    return devices


def fewest(search: Search, family: Family, devices_max: int, *, is_bounded: bool) -> int | None:
    """Fewest devices at which some batch size that starts at once is accepted; None where none is.

    For a profile whose larger batches take longer, more replicas are taken never to hurt (an observation on
    all cases tried, not a theorem): the number is doubled until accepted, then halved in. Otherwise every
    number is tried in turn.

    Args:
        is_bounded: the most is what another family costs, so that it is worth a look before the fewest.
    """
    least = search.devices_min(family)
    if least is None or least > devices_max:
        return None
    if not family.profile.is_monotone:
        numbers = (n for n in range(least, devices_max + 1) if not search.out_of_budget)
        return next((n for n in numbers if search.accepted_at(family, n)), None)
    if is_bounded and not search.accepted_at(family, devices_max):
        return None
    return _doubling(search, family, least, devices_max)


def _doubling(search: Search, family: Family, least: int, most: int) -> int | None:
    refused, step = least - 1, 1
    while refused < most and not search.out_of_budget:
        devices = min(refused + step, most)
        if search.accepted_at(family, devices):
            return _halve_in(search, family, refused, devices)
        refused, step = devices, 2 * step
    return None


def _halve_in(search: Search, family: Family, refused: int, accepted: int) -> int:
    while accepted - refused > 1:
        middle = (refused + accepted) // 2
        if search.accepted_at(family, middle):
            accepted = middle
        else:
            refused = middle
    return accepted


def _with_waits(search: Search, bound: float) -> tuple[float, int]:
    """The lowest cost when batches may also wait, and how many fleets were left untried.

    Below a known cost the dearest first, which are the likeliest to do; without one the cheapest first,
    up to the first that does.
    """
    is_open = bound == math.inf
    fleets = sorted(waiting_fleets(search, bound), key=lambda one: one[0], reverse=not is_open)
    start = search.requests
    for number, (price, family, devices) in enumerate(fleets):
        if search.out_of_budget or search.requests - start >= WAITS_REQUESTS_MAX:
            return bound, len(fleets) - number
        if search.accepted_at(family, devices, waits=True):
            bound = price
            if is_open:
                break
    return bound, 0


def waiting_fleets(search: Search, bound: float) -> Iterator[tuple[float, Family, int]]:
    """Fleets that would cost less and have a batch to wait for, each with its price."""
    question = search.question
    for family in question.families:
        least = search.devices_min(family)
        waits = (question.batch_waits(family.profile, size) for size in search.sizes(family))
        if least is None or not any(wait_s > 0.0 for some in waits for wait_s in some):
            continue
        most = devices_within(search, family, bound)
        numbers = (n for n in range(least, most + 1) if family.cost(n) < bound)
        yield from ((family.cost(devices), family, devices) for devices in numbers)


def _cheapest_first(search: Search) -> list[Family]:
    """Families by the price of the fewest devices that are stable."""

    def price(family: Family) -> float:
        least = search.devices_min(family)
        return math.inf if least is None else family.cost(least)

    return sorted(search.question.families, key=price)
