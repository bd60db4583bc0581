"""The verbs `max_rate` and `curve`: one fleet under ever more load."""

from dataclasses import replace
from typing import TYPE_CHECKING

from capacity.api.asked import asked_scenario, to_scale
from capacity.api.sweep import swept
from capacity.api.work import Work, at_work
from capacity.doors import door
from capacity.errors import InputError
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.scenario import AnyScenario, with_autoscaler

if TYPE_CHECKING:
    from capacity.answers.rates import RatesAnswer
    from capacity.answers.sweep import LoadCurveAnswer


@door("max-rate")
def max_rate(asked: Asked) -> "RatesAnswer":
    """The arrival rates at which a plan meets the objective, and P99 against the rate.

    A trace is sped up and slowed down, a day has higher or lower rates; with users, it is the number of users.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """
    scenario = with_autoscaler(asked_scenario(asked, to_scale, has_limits=True), asked)
    scenario = parse.in_failure(scenario, asked)
    effort = asked.effort
    from capacity.answers.rates import RatesAnswer
    from capacity.search.max_rate import find_rates
    from simulations.servers import require_sound
    from simulations.warm import warm_saturation_rps

    with at_work(effort, asked.progress) as work:
        require_sound(scenario.profile, work.report)
        rates = find_rates(scenario, work.judge, work.report, effort.confidence)
        if rates.cold_rps is not None:
            work.report("finding the rate that settles from empty caches")
            rates = replace(rates, warm_rps=warm_saturation_rps(scenario))
    return RatesAnswer(rates=rates, effort=effort)


# Shares of the users who saturate the fleet.
_USERS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5)


@door("curve")
def curve(asked: Asked) -> "LoadCurveAnswer":
    """Where the response time of a fleet explodes: a quantile from nearly no load to nearly full load.

    A trace or a day is scaled, and with users there are ever more of them. For a language model it is the time to first
    token that explodes.

    Raises:
        InputError: an argument that cannot be read.
    """

    if asked.profile is None:
        raise InputError("give a --profile, whose fleet is simulated; cap.curves draws what theory knows")
    parse.read_quantiles([asked.quantile], ())
    scenario = with_autoscaler(asked_scenario(asked, to_scale), asked)
    left = parse.in_failure(scenario, asked)
    from capacity.answers.sweep import LoadCurveAnswer
    from capacity.question.grid import Grid
    from capacity.server.kinds import settings_of

    plan = scenario.plan
    grid = Grid(
        profiles=(scenario.profile,),
        workloads=tuple(scenario.sized(size).workload for size in _sizes_of_a_curve(left, asked)),
        replicas=(plan.replicas,),
        routings=(plan.routing,),
        settings=settings_of(scenario),
        survival=parse.read_survival(asked),
        autoscaler=scenario.autoscaler,
    )
    found = swept(grid, asked)
    return LoadCurveAnswer(grid=grid, table=found.table, cells=found.cells, plan=plan)


def _sizes_of_a_curve(scenario: AnyScenario, asked: Asked) -> list[float]:
    """The rates of a curve, up to nearly the sustainable one, or its users, up to more than saturate the fleet.

    Users saturate it once their think and service times are full of other users' services (Denning & Buzen 1978).
    """
    from capacity.search.exact import theory_of
    from capacity.traffic.scale import scale_of
    from capacity.traffic.workload import ClosedPopulation, Workload

    demand, scale, theory = scenario.workload, scale_of(scenario.workload), theory_of(scenario.profile)
    judge = Work(asked.effort, map, asked.progress).judge
    # Any rate does, but the day of an autoscaler has its swing.
    at_once = Workload(arrival_rate_rps=1.0) if scenario.autoscaler is None else demand
    most_rps = theory.size_max(replace(scenario, workload=at_once), judge)
    if isinstance(demand, ClosedPopulation):
        saturating = most_rps * demand.think_time_s + theory.in_service(scenario, judge)
        return sorted({*(scale.whole(share * saturating) for share in _USERS), *scale.tried})
    rates_rps = {*(share * most_rps for share in theory.curve_loads), *scale.tried}
    return sorted(rate_rps for rate_rps in rates_rps if rate_rps < most_rps)
