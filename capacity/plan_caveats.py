"""Plan caveats: what a recommendation leaves open, each with what would settle it."""

import math
from collections.abc import Iterable, Iterator, Sequence

from capacity.caveats import Caveat, CaveatCode
from capacity.cheapest import cost
from capacity.plan import Candidate, Doubt, Headroom, Plan, Routing, Verdict
from capacity.profile import ServiceProfile
from capacity.profile_sampling import FloorDoubt, has_samples
from capacity.search import Search
from capacity.units import format_duration, format_rate

# Cheaper fleets in doubt that are named one by one.
_FLEETS_NAMED = 3
# Batches beyond which it is not more measuring that helps, but another limit.
_BATCHES_MAX = 1e6
# Replicas from which on one balancer that sees every request is an assumption to be questioned.
_ONE_BALANCER_MAX = 100
# What settles a doubt, by its cause.
MENDS = {
    Doubt.REQUESTS: "raise --requests-max",
    Doubt.MARGIN: "lower --precision to tell it from its limit",
    Doubt.PROFILE: "measure more batches of each size for the profile",
    Doubt.TRACE: "record the trace for longer",
}


def search_caveats(search: Search, chosen: Candidate | None) -> Iterator[Caveat]:
    """What was left in doubt or not tried, though it may be cheaper than what was chosen."""
    yield from _floors_in_doubt(search)
    if chosen is not None:
        yield from _cheaper_in_doubt(search, chosen)
    yield from _untried(search)


def _floors_in_doubt(search: Search) -> Iterator[Caveat]:
    """Once for each profile: what the samples behind its service time cannot tell."""
    doubts = {name: doubt for (name, _), doubt in search.floor_doubts.items()}
    for name, doubt in doubts.items():
        yield Caveat(code=CaveatCode.FLOOR_IN_DOUBT, message=_floor_message(name, doubt))


def _floor_message(name: str, doubt: FloorDoubt) -> str:
    floor_s, limit = doubt.floor_s, format_duration(doubt.limit_s)
    found = (
        f"{name}: the service time itself, from {doubt.samples} samples of batch size {doubt.batch_size}, is "
        f"{format_duration(floor_s.low)} to {format_duration(floor_s.high)} at the promised quantile, on "
        f"both sides of {limit}, and no number of replicas makes it shorter"
    )
    missing = doubt.batches_missing
    if missing > _BATCHES_MAX:
        return f"{found}; choose a limit above {format_duration(floor_s.high)}"
    count = format_count(missing)
    return f"{found}; measure about {count} more batches of size {doubt.batch_size}, or choose another limit"


def format_count(number: float) -> str:
    """A number of things to two digits.

    >>> format_count(1234.5)
    '1200'
    """
    return f"{float(f'{max(1.0, number):.2g}'):.0f}"


def batches_missing(candidate: Candidate, profile: ServiceProfile) -> float | None:
    """Batches of each size to measure beside those there are, for a profile's doubt to be settled.

    The half-width falls with the root of the samples, and must fall to the distance of the limit.
    """
    rejection, performance = candidate.rejection, candidate.performance
    found = None
    if rejection is not None and rejection.promise is not None and performance is not None:
        found = rejection.promise.found(performance)
    counts = [len(timing.samples_s) for timing in profile.timings if timing.samples_s]
    if found is None or rejection is None or not counts or not 0.0 < found.value < rejection.allowed:
        return None
    width = math.log(found.high / found.value) / math.log(rejection.allowed / found.value)
    return min(counts) * (width**2 - 1.0)


def _mend(search: Search, candidates: Iterable[Candidate]) -> str:
    """What would settle the doubts of some candidates."""
    mends = dict.fromkeys(_mend_of(search, one) for one in candidates)
    return ", and ".join(mends)


def _mend_of(search: Search, candidate: Candidate) -> str:
    doubt = candidate.doubt or Doubt.REQUESTS
    profile = search.question.profile(candidate.plan.profile)
    if doubt is Doubt.MARGIN and has_samples(profile):  # whose error is larger than any such margin
        return f"{MENDS[Doubt.PROFILE]} and {MENDS[Doubt.MARGIN]}"
    if doubt is Doubt.PROFILE:
        missing = batches_missing(candidate, profile)
        if missing is not None and missing <= _BATCHES_MAX:
            return f"measure about {format_count(missing)} more batches of each size for the profile"
    return MENDS[doubt]


def _cheaper_in_doubt(search: Search, chosen: Candidate) -> Iterator[Caveat]:
    """One caveat for each cheaper fleet size that could be neither accepted nor refused; or one for many."""
    price = cost(search, chosen)
    open_ones: dict[tuple[str, int], list[Candidate]] = {}
    for one in search.considered:
        if one.verdict is Verdict.INCONCLUSIVE and cost(search, one) < price:
            open_ones.setdefault((one.plan.profile, one.plan.replicas), []).append(one)
    is_one = len(search.question.profiles) == 1
    for fleet, alike in _fleets(open_ones, is_one=is_one):
        yield Caveat(
            code=CaveatCode.CHEAPER_INCONCLUSIVE,
            message=f"{fleet} cheaper and could be neither accepted nor refused; {_mend(search, alike)}",
        )


def _fleets(
    open_ones: dict[tuple[str, int], list[Candidate]], *, is_one: bool
) -> Iterator[tuple[str, Sequence[Candidate]]]:
    """Fleets in words, each with its candidates; many as one."""
    if len(open_ones) > _FLEETS_NAMED:
        counts = [replicas for _, replicas in open_ones]
        every = [one for alike in open_ones.values() for one in alike]
        yield f"{len(open_ones)} fleets, of {min(counts)} to {max(counts)} replicas, are", every
        return
    for (name, replicas), alike in open_ones.items():
        sizes = " or ".join(map(str, sorted({one.plan.batch_size_max for one in alike})))
        whose = "" if is_one else f" of {name}"
        yield f"a fleet of {replicas}{whose} with batches up to {sizes} is", alike


def _untried(search: Search) -> Iterator[Caveat]:
    if search.families_untried:
        names = dict.fromkeys(f"{one.profile.name} behind {one.routing}" for one in search.families_untried)
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message=f"the budget of the search was spent before all fleets of {', '.join(names)} were tried, "
            "which may be cheaper; plan for each by itself, with one --profile and one --routing",
        )
    if search.fleets_untried:
        yield Caveat(
            code=CaveatCode.FLEETS_UNTRIED,
            message=f"{search.fleets_untried} of the cheapest fleets were left out for want of budget; each "
            "must be tried by itself, since its batches wait or larger ones may be faster; give one "
            "--batch-wait, or a smaller --batch-size-max, to try fewer",
        )


def headroom_caveats(headroom: Headroom | None) -> Iterator[Caveat]:
    """Rates that are open, and a plan with next to no room for more traffic."""
    if headroom is None:
        return
    accepted, refused = format_rate(headroom.accepted_rps), format_rate(headroom.refused_rps)
    if headroom.is_in_doubt and headroom.doubt is not None:
        yield Caveat(
            code=CaveatCode.HEADROOM_IN_DOUBT,
            message=f"between {accepted} and {refused} the plan could be neither accepted nor refused; "
            f"{MENDS[headroom.doubt]}",
        )
    if headroom.is_thin:
        share = 100.0 * (headroom.accepted_rps / headroom.today_rps - 1.0)
        yield Caveat(
            code=CaveatCode.HEADROOM_THIN,
            message=f"the plan is known to hold for {share:.2g} % more traffic only, up to {accepted}; if "
            "traffic may exceed that, plan for a higher --rate",
        )


def routing_caveats(plan: Plan) -> Iterator[Caveat]:
    """A fleet so large that one balancer in front of all of it is not likely."""
    if plan.replicas >= _ONE_BALANCER_MAX and plan.routing is not Routing.RANDOM:
        yield Caveat(
            code=CaveatCode.ONE_BALANCER,
            message=f"{plan.routing} over {plan.replicas} replicas takes one balancer that sees every "
            "request; several that do not know of each other route at random: plan with --routing random",
        )
