"""What a verb was asked, from its flags: a question, a scenario or a grid, for any kind of server."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import product
from typing import Any

from capacity.errors import InputError
from capacity.profile.load import ProfileLike
from capacity.question import parse
from capacity.question.arguments import Asked, many
from capacity.question.autoscaler import read_autoscaler
from capacity.question.grid import (
    POINTS_MAX,
    VARIED_MAX,
    Grid,
    Varied,
    parse_counts,
    populations,
    workloads,
)
from capacity.question.objective import Objective
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario, Scenario, require_losses, with_autoscaler
from capacity.question.verbs import VERBS, in_both, keywords, typed_name
from capacity.recovery.parse import with_clients
from capacity.server.asked import AskedFleet
from capacity.server.kinds import asked_of
from capacity.traffic.workload import ArrivalProcess, Demand

# A flag of autoscalers, whatever their servers; engines lack it elsewhere.
STARTS = ("startup_time",)
# The demand of a verb, of arrivals that flags describe.
DemandOf = Callable[[ArrivalProcess, Asked], Demand]


def as_asked(arrivals: ArrivalProcess, asked: Asked) -> Demand:
    """Arrivals at the rate of the flags, those of a day, or users; with the clients of the flags."""
    demand = parse.read_demand(arrivals, asked.rate, asked.users, asked.think_time, asked.daily)
    return with_clients(demand, asked)


def to_scale(arrivals: ArrivalProcess, asked: Asked) -> Demand:
    """Arrivals at a rate that stands for all, those of a day or a trace as they are, or users; with the clients."""
    demand = parse.read_scaled_demand(arrivals, asked.users, asked.think_time, asked.daily)
    return with_clients(demand, asked)


def at_rate(arrivals: ArrivalProcess, asked: Asked) -> Demand:
    """Arrivals at the rate of the flags; clients are asked about by themselves."""
    return parse.read_demand(arrivals, asked.rate, None, None)


def with_answer_as_plan(asked: Asked) -> Asked:
    """What a verb was asked, with an answer in the place of the profile as the plan that it holds, if it does."""
    from capacity.answers.answer import Answer

    if asked.plan is not None or not isinstance(asked.profile, Answer):
        return asked
    return asked.but(profile=None, plan=asked.profile)


def asked_scenario(
    asked: Asked, demand_of: DemandOf = as_asked, *, has_limits: bool = False, besides: Collection[str] = ()
) -> AnyScenario:
    """The one fleet of a verb and its requests.

    Args:
        has_limits: whether the verb asks for an objective.
        besides: flags that fleets of any kind have in this verb, as in `AskedFleet.refuse`.

    Raises:
        InputError: a flag that cannot be read, contradicts another, or is of another kind of server.
        DomainError: settings or requests beyond what was measured.
    """
    found = parse.find_profile(asked.profile)
    kind = asked_of([found])
    kind.refuse(asked, (*STARTS, *besides))
    requests = kind.requests(found, asked)
    demand = demand_of(requests.arrivals, asked)
    profile = kind.ready(found, asked)
    scenario = Scenario(
        profile=profile,
        workload=demand,
        plan=kind.plan(profile, asked),
        objective=kind.objective(asked) if has_limits else Objective(),
        **requests.parts,
    )
    kind.require(scenario)
    return scenario


def asked_requests(profile: Any, plan: Any, asked: Asked) -> AnyScenario:
    """A fleet that is known, the requests of a verb, and what sizes the fleet."""
    requests = asked_of([profile]).requests(profile, asked)
    demand = as_asked(requests.arrivals, asked)
    scenario = Scenario(profile=profile, workload=demand, plan=plan, **requests.parts)
    return with_autoscaler(scenario, asked)


def asked_question(asked: Asked, rate_rps: float | None) -> Question:
    """The question of `plan`, at this rate.

    Raises:
        InputError: a flag that cannot be read, contradicts another, or is of another kind of server.
        DomainError: settings or requests beyond what was measured.
    """
    kind, found = _profiles(asked.profile)
    recovers = asked.recover_within is not None
    kind.refuse(asked, STARTS if recovers or asked.autoscale is not None else ())
    requests = kind.requests(next(iter(found), None), asked)
    demand = parse.read_demand(requests.arrivals, rate_rps, asked.users, asked.think_time)
    return Question(
        profiles=parse.priced([kind.ready(one, asked) for one in found], asked.hourly_usd),
        workload=demand if recovers else with_clients(demand, asked),  # else they belong to the trouble
        objective=kind.objective(asked),
        space=kind.space(requests, asked),
        routings=kind.routings(asked),
        replicas_max=asked.replicas_max,
        survival=parse.read_survival(asked),
    )


def asked_grid(asked: Asked) -> Grid[Any]:
    """The axes of a sweep.

    Raises:
        InputError: an argument that cannot be read, or too many cells.
    """
    kind, found = _profiles(asked.profile)
    kind.refuse(asked, STARTS)
    requests = kind.requests(next(iter(found), None), asked)
    demands, settings = _demands(requests.arrivals, asked), kind.settings(requests, asked)
    for one in demands:
        require_losses(Objective(), one, rejects=settings.rejects)
    replicas = parse_counts([str(one) for one in asked.replicas], "--replicas")
    return Grid(
        profiles=tuple(kind.ready(one, asked) for one in found),
        workloads=tuple(parse.within(with_clients(one, asked), asked.between) for one in demands),
        replicas=replicas,
        autoscaler=read_autoscaler(asked, min(replicas, default=1)),
        routings=kind.routings(asked)
        if asked.get("sessions") is not None
        else tuple(dict.fromkeys(map(parse.read_routing, asked.routing or ["round-robin"]))),
        settings=settings,
        survival=parse.read_survival(asked),
    )


def asked_varied(asked: Asked) -> tuple[Varied, ...]:
    """The flags of a verb with a list or a range of values, each of which is a question of its own.

    Raises:
        InputError: more of them than a table shows, too many values, or a flag that goes with none.
    """
    flags = {name: flag for name, flag in keywords(asked.verb).items() if flag.is_axis}
    read = (
        Varied.of(name, flag, typed_name(name, flag), *(asked[one] for one in in_both(name, flag)))
        for name, flag in flags.items()
    )
    found = tuple(one for one in read if one is not None)
    names = [typed_name(one.name, flags[one.name]) for one in found]
    if len(found) > VARIED_MAX:
        raise InputError(
            f"{', '.join(names)} have several values each, and a frontier has {VARIED_MAX} such flags at most; "
            "give one value of the others"
        )
    count = math.prod(len(one.values) for one in found)
    if count > POINTS_MAX:
        raise InputError(
            f"{' and '.join(names)} ask{'s' if len(names) == 1 else ''} for {count} plans, above the {POINTS_MAX} of "
            "one frontier; take a larger step"
        )
    for name, why in VERBS[asked.verb].alone.items() if found else ():
        if asked.is_said(name):
            typed = typed_name(name, VERBS[asked.verb].flags[name])
            raise InputError(f"leave out {typed} with several values of {names[0]}: {why}")
    return found


def asked_at(asked: Asked, varied: Sequence[Varied]) -> Iterator[Asked]:
    """What a verb was asked at each point; the last flag changes fastest."""
    for values in product(*(one.values for one in varied)):
        changes = [one.asked_at(value) for one, value in zip(varied, values, strict=True)]
        yield asked.but(**{name: value for change in changes for name, value in change.items()})


def _profiles(given: Sequence[ProfileLike]) -> tuple[AskedFleet, list[Any]]:
    """Profiles of one kind, and how their fleets are asked for."""
    found = [parse.find_profile(one) for one in given]
    return asked_of(found), found


def _demands(arrivals: ArrivalProcess, asked: Asked) -> tuple[Demand, ...]:
    """The rates of a sweep, or its numbers of users."""
    users, rates, rates_rps = asked.users, many(asked["rate"]), many(asked["rate_rps"])
    if asked.daily is not None:
        if users or rates or rates_rps:
            raise InputError(
                f"--daily has the rates of the day; leave out {'--users' if users else '--rate'}"
            )
        return (parse.read_demand(arrivals, None, None, asked.think_time, asked.daily),)
    if not users and asked.think_time is None:
        known_rps = [float(parse.rate_rps(None, one) or 0.0) for one in rates_rps]
        return workloads(arrivals, rates, known_rps)
    if not users or rates or rates_rps or arrivals != parse.read_arrivals("poisson"):
        raise InputError("give either --rate and --arrivals or --users and --think-time, not a mix")
    return populations([str(one) for one in users], asked.think_time)
