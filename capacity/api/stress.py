"""The verb `stress`: whether a fleet recovers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from capacity.answer.plan_like import as_saved
from capacity.api.asked import STARTS, asked_scenario, at_rate, with_answer_as_plan
from capacity.api.trouble import OF_STRESS, caches_of, protection_of
from capacity.doors import door
from capacity.errors import InputError
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.overload import Saturation
from capacity.question.plan import REPLICAS_LIMIT
from capacity.question.scenario import AnyScenario
from capacity.recovery.effect import Effects, given_flags, require_effect
from capacity.recovery.parse import (
    clients_of,
    has_clients,
    read_cold,
    read_shedding,
    read_slow_start_s,
    read_trigger,
)
from capacity.recovery.stress import DETECTION_S, Stress
from capacity.server.kinds import asked_of, server_of
from capacity.traffic.workload import Workload
from capacity.units import require_count

if TYPE_CHECKING:
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers.recovery import StressAnswer


RUNS_MAX = 10_000


@door("stress")
def stress(asked: Asked) -> "StressAnswer":
    """Whether a fleet recovers by itself after trouble, and the smallest change with which it does if not.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        UnstableError: the fleet cannot sustain the arrival rate without any trouble.
        InconclusiveError: most requests fail before the trigger.

    >>> answer = stress("resnet50-t4-fp16", rate="800rps", replicas=2, trigger="lose:1,10s", timeout="200ms",
    ...                 runs=5, only_verdict=True, horizon="1min")
    >>> answer.recovered.value
    1.0
    """
    asked = with_answer_as_plan(asked)
    _require_sense(asked)
    scenario = _stress(asked)
    require_effect(
        Effects(
            flags=given_flags(asked, OF_STRESS),
            trigger=scenario.trigger,
            clients=scenario.clients,
            protection=scenario.protection,
            routings=(scenario.plan.routing,),
            limits_queue=scenario.limit is not None,
            breaks_down=scenario.breakdowns is not None,
        )
    )
    effort = asked.effort
    from capacity.answers.recovery import StressAnswer
    from capacity.api.work import at_work
    from capacity.search.stress import screen
    from simulations.stress import StressSimulation

    with at_work(effort, asked.progress) as work:
        judge = StressSimulation(
            seed=effort.seed, runs=asked.runs, confidence=effort.confidence, mapper=work.mapper
        )
        found = screen(
            scenario,
            judge,
            work.report,
            replicas_max=asked.replicas_max,
            only_verdict=asked.only_verdict,
            is_map=asked.spike_map,
        )
    return StressAnswer(screen=found, effort=effort)


def _require_sense(asked: Asked) -> None:
    """Refuse contradictions and invalid values before anything is read."""
    runs, arrivals = asked.runs, asked.arrivals
    if asked.replicas is not None:
        require_count("--replicas", asked.replicas, most=REPLICAS_LIMIT)
    if isinstance(runs, bool) or not isinstance(runs, int) or not 2 <= runs <= RUNS_MAX:
        raise InputError(f"--runs must be from 2 to {RUNS_MAX}, got {runs}")
    if isinstance(arrivals, str) and arrivals.startswith("trace"):
        raise InputError(
            "a trace ends when its requests do; give --rate, and --arrivals gamma or mmpp for bursts"
        )
    if (asked.profile is None) == (asked.plan is None):
        raise InputError("give either a saved --plan, or --profile with --rate and --replicas")


# Flags that fleets of any kind have in trouble.
_IN_TROUBLE = ("queue_limit", *STARTS)


def _stress(asked: Asked) -> Stress:
    """The fleet of flags or of a saved plan, in trouble."""
    trigger, shed = read_trigger(asked.trigger), asked.shed or "none"
    read_shedding(shed)
    cold = None if asked.cold_batches is None else read_cold(asked.cold_batches)
    breakdowns = parse.read_breakdowns(asked)
    clients = clients_of(asked) if has_clients(asked) else None
    if asked.plan is None:
        scenario = _asked_fleet(asked)
    else:
        from capacity.answer.saved_plan import read_plans

        (saved,) = read_plans([as_saved(asked.plan)])
        scenario = _saved_fleet(saved, asked)
        breakdowns = breakdowns or saved.question.survival.breakdowns
    # Breakdowns are simulated beside the trigger, and take no replica from the first.
    scenario = scenario.after(replace(parse.read_survival(asked), breakdowns=None))
    scenario.require_any_left()
    server, plan = server_of(scenario, _saturated), scenario.plan
    return Stress(
        server=server,
        workload=scenario.workload,
        plan=plan,
        clients=clients or scenario.workload.clients,
        trigger=trigger,
        protection=protection_of(
            server,
            plan,
            shed,
            asked.abandoned,
            asked.ejection_rule or ("envoy" if asked.ejection else None),
            read_slow_start_s(asked),
        ),
        detection_s=DETECTION_S if asked.detection is None else asked.detection,
        startup_s=asked.startup_time or 0.0,
        cold=cold,
        breakdowns=breakdowns,
        horizon_s=asked.horizon or 0.0,
        outage=scenario.outage,
        caches=caches_of(scenario) if server.has_sessions else None,
    )


def _saturated(scenario: AnyScenario) -> Saturation:
    """The saturation of a fleet, whose profile is sound."""
    from simulations.saturation import saturated
    from simulations.servers import require_sound

    require_sound(scenario.profile)
    return saturated(scenario)


def _asked_fleet(asked: Asked) -> AnyScenario:
    """A fleet as flags describe it, at their rate."""
    if asked.rate is None or asked.replicas is None:
        raise InputError("--profile needs --rate and --replicas too; or give a saved --plan, which has both")
    return asked_scenario(asked, at_rate, besides=_IN_TROUBLE)


def _saved_fleet(saved: "SavedPlan", asked: Asked) -> AnyScenario:
    """A saved plan, with the given rate, routing, settings or number of replicas in place of its own."""
    kind = asked_of([saved.profile])
    kind.refuse(asked, _IN_TROUBLE)
    scenario: AnyScenario = saved.question.scenario(saved.plan)
    scenario = replace(
        scenario, plan=kind.changed(scenario, asked), workload=_open_workload(saved, asked.rate)
    )
    kind.require(scenario)
    return scenario


def _open_workload(saved: "SavedPlan", rate_rps: float | None) -> Workload:
    """The workload of a saved plan, at another rate if one is given.

    Raises:
        InputError: it was made for users, and there is no rate.
    """
    demand = saved.question.workload
    if isinstance(demand, Workload):
        return demand if rate_rps is None else replace(demand, arrival_rate_rps=rate_rps)
    if rate_rps is None:
        raise InputError(
            f"{saved.name} was planned for users in a closed loop, who never overload; give a --rate"
        )
    return Workload(arrival_rate_rps=rate_rps)
