"""The verb `autoscale`: cost and response time of a fleet that follows its load."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from capacity.answer.plan_like import Saved, as_saved
from capacity.answer.saved_autoscaler import SavedAutoscaler, read_autoscaler
from capacity.answer.saved_day import read_curve
from capacity.answer.saved_plan import read_plans
from capacity.api.asked import STARTS, asked_scenario, with_answer_as_plan
from capacity.autoscaling.scaled_fleet import JUDGED, ScaledFleet
from capacity.doors import door
from capacity.errors import InputError
from capacity.performance import Performance
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.autoscaler import (
    REPLICAS_MAX,
    Autoscaler,
    Metric,
    Target,
    read_target,
    require_alone,
    require_bounds,
    require_whole,
    with_durations,
)
from capacity.question.budget import Effort
from capacity.question.objective import Objective
from capacity.question.plan import FIXED_PLACES, Plan
from capacity.question.resilience import Survival
from capacity.question.scenario import AnyScenario
from capacity.question.verbs import VERBS
from capacity.recovery.parse import with_clients
from capacity.server.kinds import asked_of
from capacity.traffic.any_lengths import tokens_each
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ClosedPopulation, Workload

if TYPE_CHECKING:
    from capacity.answers.autoscale import AutoscaleAnswer
    from capacity.api.work import Work
    from capacity.autoscaling.cheapest import AutoscaledPlan
    from capacity.autoscaling.findings import Days
    from capacity.question.question import Question
    from simulations.autoscaled import DaySimulation

RUNS_MAX = 1000
_NOTHING = Survival()
# Limits of a search: most replicas, as a multiple of those for the peak; fewest requests in all runs of a fleet, of
# engines their tokens, which take as long to simulate; and fewest runs.
_AMPLE, _SEARCH_REQUESTS, _SEARCH_RUNS = 4, 20_000_000, 2
# Requests beyond the limited quantile in all runs of a fleet, on a day that passes faster.
_BEYOND_MIN = 1_000
_TARGET, _MOST = "utilization:0.6", 10  # of an autoscaler that nothing else is known of
# Enough to choose by, since what is chosen is confirmed; and by an excerpt of a day, which must be clear, since whole
# days take long.
_SEARCH_CONFIDENCE, _EXCERPT_CONFIDENCE = 0.5, 0.9


@door("autoscale")
def autoscale(asked: Asked) -> "AutoscaleAnswer":
    """Cost and limited quantile of an autoscaled fleet, and of the smallest fixed fleet that holds the limit.

    Raises:
        InputError: an argument that cannot be read or contradicts another, or more requests than a run holds.
        InconclusiveError: too few requests for the limited quantile.

    >>> answer = autoscale("jasper-7s-t4-fp16", rate="60rps", between="00:00-00:20", slo_p99="400ms",
    ...                    replicas_max=4, batch_size_max=1, runs=2, only_verdict=True)
    >>> answer.exit_code
    0
    """
    asked = with_answer_as_plan(asked)
    runs = asked.runs
    require_whole("--runs", runs, 2, RUNS_MAX)
    scaled = _scaled_fleet(asked)
    effort = _effort(asked.seed, asked.confidence, asked.workers)
    from capacity.answers.autoscale import AutoscaleAnswer
    from capacity.api.work import at_work
    from capacity.autoscaling.comparison import screen
    from simulations.autoscaled import DaySimulation

    with at_work(effort, asked.progress) as work:
        judge = DaySimulation(seed=effort.seed, runs=runs, confidence=effort.confidence, mapper=work.mapper)
        work.report(f"{runs} runs of {scaled.requests:.3g} requests each for every fleet")
        found = screen(scaled, judge, work.report, only_verdict=asked.only_verdict)
    return AutoscaleAnswer(screen=found, effort=effort, runs=runs)


def require_controlled(asked: Asked, question: "Question", day: DailyCurve | None) -> None:
    """Refuse a plan for an autoscaler that cannot be judged.

    Raises:
        InputError: names the flag.
    """
    _choices(asked.autoscale, 1)
    require_whole("--runs", asked.runs, 2, RUNS_MAX)
    if day is None:
        raise InputError("--autoscale needs the rates of a day; give --daily, a .csv of time,rate_rps")
    require_alone(asked)
    if asked.get("outstanding_max") is not None:
        raise InputError(FIXED_PLACES)
    _judged(question.objective, question.objective)


def plan_autoscaled(
    question: "Question",
    plan: Plan,
    asked: Asked,
    day: DailyCurve,
    work: "Work",
    at_peak: Performance | None = None,
) -> "AutoscaledPlan | None":
    """The cheapest autoscaler that holds the objective over a day with a plan's servers; None if none is asked for.

    Args:
        at_peak: performance of the plan at the highest rate.
    """
    if asked.autoscale is None:
        return None
    from capacity.autoscaling.cheapest import AutoscaledPlan, cheapest
    from simulations.autoscaled import DaySimulation

    workload = question.workload
    assert isinstance(workload, Workload)  # noqa: S101  (a day has no users)
    most = min(question.replicas_max, REPLICAS_MAX, _AMPLE * plan.replicas + _AMPLE)
    choices = _choices(asked.autoscale, plan.at_once)
    asked_of = question.scenario(replace(plan, replicas=most))
    fleet = _fleet_on(
        replace(
            asked_of,
            workload=replace(workload, arrival_rate_rps=day.peak_rate_rps, day=day),
            autoscaler=with_durations(Autoscaler(target=choices[0][0], replicas_max=most), asked),
        ),
        question.survival,
    )
    effort, runs = work.effort, asked.runs
    hurry = _SEARCH_RUNS * tokens_each(asked_of.lengths) * fleet.requests / _SEARCH_REQUESTS
    few = max(_SEARCH_RUNS, min(runs, math.ceil(_SEARCH_RUNS / hurry)))
    judge = DaySimulation(seed=effort.seed, runs=runs, confidence=effort.confidence, mapper=work.mapper)
    work.report(f"{few} to {runs} runs of {fleet.requests:.3g} requests each for every fleet")
    screen, searched, passed_over = cheapest(
        fleet,
        choices,
        partial(_searched, replace(judge, runs=few)),
        partial(judge.certify, few=few),
        work.report,
        hurry=min(hurry, _SEARCH_RUNS * fleet.requests * (1.0 - fleet.quantile_max) / _BEYOND_MIN),
        at_peak=_levels(at_peak, plan),
    )
    return AutoscaledPlan(
        screen=screen,
        asked=asked.autoscale,
        searched=searched,
        passed_over=passed_over,
        flags=tuple(_flags(asked)),
    )


def _searched(judge: "DaySimulation", fleet: ScaledFleet) -> "Days":
    """Days of a fleet that a search tries."""
    confidence = _EXCERPT_CONFIDENCE if fleet.stands_for else _SEARCH_CONFIDENCE
    return replace(judge, confidence=confidence)(fleet)


def _levels(at_peak: Performance | None, plan: Plan) -> dict[Metric, float]:
    """What a replica has of each metric, as far as it is known."""
    if at_peak is None:
        return {}
    requests = None if at_peak.in_system_mean is None else at_peak.in_system_mean / plan.replicas
    found = {Metric.CONCURRENCY: requests, Metric.UTILIZATION: at_peak.utilization}
    return {metric: level for metric, level in found.items() if level is not None}


def _flags(asked: Asked) -> Iterator[str]:
    """What was asked of the day and of the autoscaler, as it is typed."""
    yield from (*parse.day_flags(asked.daily), "--autoscale", asked.autoscale)
    for name in ("metric_lag", "startup_time", "stabilization"):
        seconds = getattr(asked, name)
        if seconds is not None:
            yield from (f"--{name.replace('_', '-')}", f"{seconds:g}s")
    if asked.runs != VERBS["plan"].flags["runs"].default:
        yield from ("--runs", str(asked.runs))


def _choices(asked: str, at_once: int) -> "Sequence[Sequence[Target]]":
    """The targets to choose from."""
    from capacity.autoscaling.cheapest import ANY, ladders

    return ladders(at_once) if asked == ANY else ((read_target(asked, or_else=f"{ANY}, "),),)


class _Usual(NamedTuple):
    """What a fleet is before the other flags change it: as a saved plan has it, or as usual.

    Attributes:
        scenario: its workload has a rate that counts only where there is no other.
        curve: rates of its day; None if flags must give them.
        survival: failures that a saved plan was made for.
    """

    scenario: AnyScenario
    autoscaler: Autoscaler
    curve: DailyCurve | None = None
    survival: Survival = _NOTHING


def _usual(asked: Asked) -> _Usual:
    """The fleet of a profile, or of a saved plan."""
    if (asked.profile is None) == (asked.plan is None):
        raise InputError("give either a saved --plan, or --profile with the traffic and the limit")
    if asked.plan is not None:
        return _of_plan(as_saved(asked.plan), asked)
    fleet = asked.but(replicas=_MOST, arrivals=asked.arrivals or "poisson")
    scenario = asked_scenario(fleet, lambda arrivals, _: Workload(arrival_rate_rps=1.0, arrivals=arrivals))
    return _Usual(scenario, Autoscaler(target=read_target(_TARGET), replicas_max=_MOST))


def _of_plan(saved: Saved, asked: Asked) -> _Usual:
    """The fleet of a saved plan: its autoscaler, else one of twice its replicas; its day, else its rate."""
    (kept,) = read_plans([saved])
    asked_of([kept.profile]).refuse(asked, STARTS)
    question, scaled = kept.question, read_autoscaler(kept)
    workload = question.workload
    if isinstance(workload, ClosedPopulation):
        raise InputError(
            f"{kept.name} was made for {workload.users} users, who do not follow a rate that changes; plan with --rate"
        )
    if scaled is None:
        most = max(_MOST, 2 * kept.plan.replicas)
        scaler = Autoscaler(target=read_target(_TARGET), replicas_max=most)
        scaled = SavedAutoscaler(
            autoscaler=scaler,
            plan=kept.plan,
            curve=read_curve(kept) or _constant(workload.arrival_rate_rps),
            is_confirmed=False,
        )
    return _Usual(question.scenario(scaled.plan), scaled.autoscaler, scaled.curve, question.survival)


def _scaled_fleet(asked: Asked) -> ScaledFleet:
    """The fleet, its autoscaler and its day."""
    for flag, least in (("replicas_min", 0), ("replicas_max", 1), ("batch_size_max", 1), ("queue_limit", 0)):
        if asked[flag] is not None:
            require_whole(f"--{flag.replace('_', '-')}", asked[flag], least)
    usual = _usual(asked)
    scenario = usual.scenario
    is_kept = asked.rate is asked.daily is None and usual.curve is not None
    day = usual.curve if is_kept else _curve(asked.rate, asked.daily)
    assert day is not None  # noqa: S101  (kept or asked for)
    part = parse.part_of_day(day, asked.between)
    workload = replace(scenario.workload, arrival_rate_rps=part.peak_rate_rps, day=part)
    if asked.arrivals is not None:
        workload = replace(workload, arrivals=parse.read_arrivals(asked.arrivals))
    survival = parse.read_survival(asked)
    survival = usual.survival if survival == _NOTHING else survival
    scaler = _bounded(asked, usual.autoscaler, survival, scenario.profile.instances_per_device)
    changed = asked_of([scenario.profile]).changed(scenario, asked)
    found = _fleet_on(
        replace(
            scenario,
            profile=_priced(scenario.profile, asked),
            plan=replace(changed, replicas=scaler.replicas_max),
            workload=with_clients(workload, asked),
            objective=_judged(parse.read_objective(asked), scenario.objective),
            autoscaler=scaler,
        ),
        survival,
    )
    found.scenario.require_any_left()
    return found


def _bounded(asked: Asked, usual: Autoscaler, survival: Survival, per_device: int) -> Autoscaler:
    """The autoscaler with the target, the bounds and the durations of the flags.

    Unless flags say otherwise, failures leave at least one of the fewest replicas.
    """
    least, most = (
        kept if given is None else given
        for given, kept in (
            (asked.replicas_min, usual.replicas_min),
            (asked.replicas_max, usual.replicas_max),
        )
    )
    if asked.replicas_min is None:
        least = max(least, min(most, most - survival.left(most, per_device) + 1))
    require_bounds(least, most)
    target = usual.target if asked.autoscale is None else read_target(asked.autoscale)
    return with_durations(replace(usual, target=target, replicas_min=least, replicas_max=most), asked)


def _judged(given: Objective, usual: Objective) -> Objective:
    """The limits that an autoscaler is judged by.

    Raises:
        InputError: there is none, or one of another kind.
    """
    found = given if given.limits else usual
    if not found.limits or not all(one.measure in JUDGED for one in found.limits):
        raise InputError(
            "an autoscaler is judged by limits on quantiles of the response time or of the time to the first token; "
            "give --slo-p99 200ms or --slo-ttft-p99 2s, and no others"
        )
    return found


def _fleet_on(scenario: AnyScenario, survival: Survival) -> ScaledFleet:
    """A fleet on its day, in the worst of some failures.

    Raises:
        DomainError: such a fleet is not simulated with an autoscaler.
    """
    from simulations.servers import controlled

    case = controlled(scenario.after(survival))
    case.require_day()
    return replace(case.fleet, survival=survival)


def _priced(profile: Any, asked: Asked) -> Any:
    """The profile with the price and the overhead of the question."""
    prices = [] if asked.hourly_usd is None else [asked.hourly_usd]
    (found,) = parse.priced([asked_of([profile]).ready(profile, asked)], prices)
    return found


def _curve(rate_rps: float | None, daily: str | Path | None) -> DailyCurve:
    """The rates of the day: one rate for the whole day, or those of a file."""
    if daily is not None:
        if not isinstance(daily, str | Path):
            raise InputError(
                f"--daily must name a .csv of time,rate_rps, got a {type(daily).__name__}; save it as one"
            )
        found = parse.read_curve(daily, rate_rps, None)
        assert found is not None  # noqa: S101  (a file was given)
        return found
    if rate_rps is None:
        raise InputError("give the traffic of the day: --daily, a .csv of time,rate_rps, or one --rate")
    return _constant(rate_rps)


def _constant(rate_rps: float) -> DailyCurve:
    return DailyCurve(times_s=(0.0,), rates_rps=(rate_rps,), name="constant rate")


def _effort(seed: int, confidence: float, workers: int | None) -> Effort:
    """Seed, confidence and workers of the runs; refuses values of another type."""
    require_whole("--seed", seed, 0, None)
    if workers is not None:
        require_whole("--workers", workers, 1, None)
    if not isinstance(confidence, int | float):
        raise InputError(f"--confidence must be a number, such as 0.95, got {confidence!r}")
    return Effort(seed=seed, confidence=confidence, workers=workers)
