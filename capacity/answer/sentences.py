"""Sentences: a recommendation in words, each sentence with its numbers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from capacity.answer.refusals import broken_briefly, fate_of_fewer, format_loss, format_refusal
from capacity.answer.saturation import hits, saturates
from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Verdict, closest
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.plan import Plan, Routing
from capacity.question.question import Family, Question
from capacity.question.resilience import Survival
from capacity.question.scenario import AnyScenario
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation
from capacity.traffic.burstiness import irregularity
from capacity.traffic.daily import DAY_S, DailyCurve, clock
from capacity.traffic.scale import scale_of
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import format_duration, format_growth, format_rate, format_usd

# Sentences beyond which the price of a million is left out of a brief answer, alone and of what survives failures.
_SENTENCES_MAX, _SENTENCES_OF_FAILURES_MAX = 7, 8


def explain(
    recommendation: Recommendation,
    question: Question,
    day: DailyCurve | None = None,
    *,
    briefly: bool = False,
    besides: int = 0,
) -> Iterator[str]:
    """The recommendation and how certain it is, why a smaller fleet is not enough, and what the plan survives.

    Args:
        day: the day for whose highest rate the plan is.
        briefly: whether what only explains is left out, and the price of a million where there are many sentences.
        besides: number of lines that the answer has besides these sentences.
    """
    if recommendation.plan is None or recommendation.performance is None:
        yield from _explain_refusal(recommendation, question)
        return
    plan, performance = recommendation.plan, recommendation.performance
    price = "" if recommendation.hourly_usd is None else f" for {recommendation.hourly_usd:.3f} USD/h"
    where = demand(question.workload)
    where += "," if "," in where and price else ""
    yield (
        f"{fleet(plan)}{_routed(plan)} {_verb(plan, 'meet')} {limits_in_words(recommendation.objective)} "
        f"{where}{price}: {_binds(recommendation.objective, performance)}."
    )
    others = list(_others(recommendation, question, plan, briefly=briefly))
    costs = list(_costs(recommendation, question, day))
    instead = list(_instead(recommendation, question, plan))
    most = _SENTENCES_MAX if question.survival == Survival() else _SENTENCES_OF_FAILURES_MAX
    is_short = 1 + len(others) + len(costs) + len(instead) + besides <= most
    yield from others
    yield from costs if is_short or not briefly else ()
    yield from instead


def _others(
    recommendation: Recommendation, question: Question, plan: Plan, *, briefly: bool
) -> Iterator[str]:
    """Why a smaller fleet is not enough, what this one survives, and what it would carry or need in other cases."""
    yield why_not_fewer(recommendation, question, plan, briefly=briefly)
    if recommendation.saturation is not None:
        yield saturates(plan, recommendation.saturation, briefly=briefly)
    if recommendation.performance is not None:
        yield from hits(recommendation.performance)
    yield from _survival(recommendation, question, plan)
    yield from _under_poisson(recommendation, question, plan, briefly=briefly)
    if recommendation.headroom is not None:
        aside = "" if question.survival.spike is None else ", without the spike"
        yield (
            f"Headroom{_what_holds(recommendation)}: up to {format_headroom(recommendation.headroom)}{aside}"
            f"{format_missed_at(recommendation.headroom, 'missed')}, in shorter runs."
        )
    # One replica is sent all, however it is picked; and of a routing that was listed the alternatives say more.
    is_told = plan.replicas > 1 and Routing.RANDOM not in question.routings
    random = recommendation.random_routing if is_told else None
    if random is not None:
        yield _if_random(random, plan, briefly=briefly)


def _routed(plan: Plan) -> str:
    """How requests are routed, if not in turn."""
    return "" if plan.routing is Routing.ROUND_ROBIN else f" behind {plan.routing.in_words}"


def _costs(recommendation: Recommendation, question: Question, day: DailyCurve | None) -> Iterator[str]:
    """The whole price over a million requests, and over a million tokens of each kind, where prices are known."""
    usd = recommendation.usd_per_million(question.space, day)
    if not usd:
        return
    when = "" if day is None else " over the day"
    told = [f"{what.replace('_', ' ')} {format_usd(one).removesuffix(' USD')}" for what, one in usd.items()]
    if len(told) > 1:
        yield f"USD per million{when}: {', or '.join(told)}."
    else:
        yield f"Cost: {format_usd(usd['requests'])} per million requests{when}."


# Alternatives that are named one by one; and those of the plan's price up to which each has its figure.
_NAMED, _WITH_FIGURES = 5, 2
_BUSIER = 1.05  # load over that of the plan, from which a choice of its price is said to leave less room


def _instead(recommendation: Recommendation, question: Question, plan: Plan) -> Iterator[str]:
    """What each choice that was not made would take, and its price; and which were not tried."""
    found, untried = recommendation.alternatives, recommendation.untried
    alike: dict[tuple[str, str], list[Plan]] = {}
    tied = [one.accepted and question.cost(one.plan) == question.cost(plan) for one in found]
    figures_of = recommendation if sum(tied) <= _WITH_FIGURES else None
    for one, is_tied in zip(found[:_NAMED], tied, strict=False):
        takes = _takes(one, question)
        does = _takes_too(one, figures_of, plan, takes) if is_tied else takes
        alike.setdefault(does, []).append(one.plan)
    told = [
        f"{_choices(plans, plan)} {does[len(plans) > 1 or _is_plural(plans[0], plan)]}"
        for does, plans in alike.items()
    ]
    told += [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
    if untried:
        names = ", ".join(other_choice(one, plan) for one in untried[:_NAMED])
        more = f" and {len(untried) - _NAMED} more" if len(untried) > _NAMED else ""
        told.append(f"not tried: {names}{more}")
    if told:
        yield f"Instead: {'; '.join(told)}."


def _takes_too(
    one: Candidate, recommendation: Recommendation | None, plan: Plan, takes: tuple[str, str]
) -> tuple[str, str]:
    """What a choice takes that costs as much as the plan, as it is said of one thing and of several.

    Args:
        recommendation: of the plan, to say why this was not taken; None if that is not said.
        takes: what it takes, with its price.
    """
    why = "" if recommendation is None else _why_not(one, recommendation)
    is_alike = one.plan.replicas == plan.replicas
    does, do = (told.partition(",")[0] if is_alike else told for told in takes)
    return f"{does} too{why}", f"{do} too{why}"


def _why_not(one: Candidate, recommendation: Recommendation) -> str:
    """What comes closest to its limit with another choice, and how much busier its replicas are than the plan's."""
    seen, taken = one.performance, recommendation.performance
    if seen is None:
        return ""
    binding = recommendation.objective.binding(seen)
    figure = binding.found(seen)
    if figure is None:
        return ""
    load, least = seen.load or 0.0, None if taken is None else taken.load
    is_busier = least is not None and load > _BUSIER * least
    return f": {binding.what} {format_value(binding, figure)}" + (
        f" at load {load:.2f}, not {least:.2f}" if is_busier else ""
    )


def _takes(one: Candidate, question: Question) -> tuple[str, str]:
    """What one choice takes, by the search, as it is said of one thing and of several."""
    if one.verdict is Verdict.INCONCLUSIVE:
        return "is in doubt", "are in doubt"
    if not one.accepted:
        return "is not enough within the limits", "are not enough within the limits"
    usd = question.hourly_usd(one.plan)
    what = f"{one.plan.replicas}{'' if usd is None else f', {usd:.3f} USD/h'}"
    return f"takes {what}", f"take {what}"


def _choices(plans: Sequence[Plan], plan: Plan) -> str:
    """Several choices in a list, the word that they have in common last once."""
    names = [other_choice(one, plan) for one in plans]
    last = names[-1].rpartition(" ")[2]
    if all(name.endswith(f" {last}") for name in names):
        names = [*(name.removesuffix(f" {last}") for name in names[:-1]), names[-1]]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_plural(one: Plan, plan: Plan) -> bool:
    """Whether a choice is called by batches or sequences, of which there are several."""
    return other_choice(one, plan) == one.size_text and not one.size_text.endswith(" 1 sequence")


def other_choice(one: Plan, plan: Plan) -> str:
    """What an alternative is called: its profile, its routing, or else its setting."""
    if one.profile != plan.profile:
        return one.profile
    if one.routing is not plan.routing:
        return one.routing.in_words
    if one.size_text != plan.size_text and one.holds_s == plan.holds_s:
        return one.size_text
    if one.holds_s == plan.holds_s:
        return one.server_text
    return f"a batch wait of {format_duration(one.holds_s)}" if one.holds_s > 0.0 else "no batch wait"


def format_headroom(headroom: Headroom) -> str:
    """The highest accepted rate, compared with today's."""
    return f"{format_rate(headroom.accepted_rps)} ({format_room(headroom)})"


_ROUNDED = 1e-9  # of a digit, below which it is an error of the computation


def format_room(headroom: Headroom) -> str:
    """How much more than today's rate is accepted; if none is known to be, less than how much that is.

    >>> format_room(Headroom(today_rps=50.0, accepted_rps=50.4, refused_rps=51.0))
    '+0.8 %'
    >>> format_room(Headroom(today_rps=50.0, accepted_rps=50.0, refused_rps=50.4))
    'under 0.8 %'
    >>> format_room(Headroom(today_rps=50.0, accepted_rps=50.0, refused_rps=80.0))
    'none known'
    """
    if headroom.accepted_rps > headroom.today_rps:
        return format_growth(headroom.accepted_rps / headroom.today_rps - 1.0)
    if headroom.is_decided and headroom.refused_rps > headroom.today_rps:
        percent = 100.0 * (headroom.refused_rps / headroom.today_rps - 1.0)
        digit = 10.0 ** min(0, math.floor(math.log10(percent)))
        return f"under {math.ceil(percent / digit - _ROUNDED) * digit:.1g} %"
    return "none known"


def format_missed_at(headroom: Headroom, verb: str) -> str:
    """The lowest rate above it that misses the objective; empty if that is practically the same rate."""
    if headroom.is_decided:
        return ""
    refused_rps = headroom.refused_rps
    return f", {verb} at {format_rate(refused_rps)} ({format_growth(refused_rps / headroom.today_rps - 1.0)})"


def _if_random(random: RandomRouting, plan: Plan, *, briefly: bool) -> str:
    """What the same objective needs under random routing; briefly, an interval is left out if that is more."""
    has_interval = not briefly or random.replicas == plan.replicas
    found, who = _found_at_random(random, has_interval=has_interval), "Random routing (Kubernetes Service)"
    if random.replicas == plan.replicas:
        return f"{who} takes {plan.replicas} too{f': {found}' if found else ''}."
    with_it = f"with {plan.replicas}, {found}" if found else ""
    if random.replicas is None:
        return f"{who}: no fleet is known to be enough{f'; {with_it}' if found else ''}."
    return f"{who} takes {random.replicas}{f': {with_it}' if found else ''}."


def _found_at_random(random: RandomRouting, *, has_interval: bool) -> str:
    """The limited measure and its value under random routing, or its lower end; empty if neither is known."""
    limit = random.binding
    if random.figure is not None:
        figure = random.figure if has_interval else Interval.exact(random.figure.value)
        return f"{limit.what} {format_value(limit, figure)}"
    if random.least is None:
        return ""
    return f"{limit.what} >= {format_value(limit, Interval.exact(random.least))}"


def _binds(objective: Objective, performance: Performance) -> str:
    """The value of the limit that binds; with its share of the limit if there are several limits."""
    binding = objective.binding(performance)
    found, pressure = format_found(binding, performance), binding.pressure(performance)
    if performance.loss_probability and binding.measure is not Measure.LOSS:
        found = f"{found}, with {format_loss(performance)} of the requests {performance.lost_word}"
    if len(objective.limits) == 1 or pressure is None:
        return found
    return f"{found}, closest to its limit ({100.0 * pressure.value:.0f} %)"


_AS_RECORDED = 1e-3  # change of a trace's speed that is none, but rounding of its rate


def demand(workload: Demand) -> str:
    """The workload as the end of a sentence, with the day whose highest rate it has, or the speed of its trace."""
    if isinstance(workload, ClosedPopulation):
        thought = format_duration(workload.think_time_s)
        who = "1 user who thinks" if workload.users == 1 else f"{workload.users} users who think"
        return f"for {who} for {thought}"
    rate, scale = format_rate(workload.arrival_rate_rps), scale_of(workload)
    day = workload.day
    if day is None:
        times = scale.times(workload.arrival_rate_rps)
        is_scaled = times is not None and abs(times - 1.0) > _AS_RECORDED
        return f"at {rate}, {scale.brief(workload.arrival_rate_rps)}" if is_scaled else f"at {rate}"
    is_whole = day.begins_s == 0.0 and day.ends_s == DAY_S
    part = "" if is_whole else f" from {clock(day.begins_s)} to {clock(day.ends_s)}"
    return f"at {rate}, the highest rate of {day.name}{part}"


def format_found(limit: Limit, performance: Performance) -> str:
    """The measured or predicted value of a limit's quantity, with its interval.

    >>> from capacity.question.objective import Measure
    >>> from capacity.performance import Kind
    >>> found = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(0.02)})
    >>> format_found(Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.2), found)
    'P99 is 20 ms'
    """
    found = limit.found(performance)
    if found is not None and math.isinf(found.value):
        lost = f"{format_loss(performance)} of the requests are {performance.lost_word}"
        return f"{limit.what} is infinite, since {lost}"
    return "" if found is None else f"{limit.what} is {format_value(limit, found)}"


def _explain_refusal(recommendation: Recommendation, question: Question) -> Iterator[str]:
    objective = recommendation.objective
    what = "is known to meet" if recommendation.verdict is Verdict.INCONCLUSIVE else "meets"
    nearest = closest(recommendation.considered, objective)
    yield (
        f"No plan within the limits {what} {limits_in_words(objective)} {demand(question.workload)}; "
        f"closest is {fleet(nearest.plan)}: {format_refusal(nearest)}."
    )


def why_not_fewer(
    recommendation: Recommendation, question: Question, plan: Plan, *, briefly: bool = False
) -> str:
    """Why one device fewer is not enough."""
    family = question.family(plan)
    step = family.per_device
    fewer = [one for one in recommendation.considered if _is_fewer(one.plan, plan, family)]
    one = "replica" if step == 1 else "device"
    if plan.replicas <= step:
        return f"One {one} is the minimum."
    losses = question.survival.losses(plan.replicas - step, step)
    gone = [event for event, lost in losses.items() if lost >= plan.replicas - step]
    if gone:
        return f"With one {one} fewer and {gone[0]}, nothing would be left."
    if not fewer:
        if question.replicas_min >= plan.replicas:
            return f"Fewer than {plan.replicas // step} {one}s were not tried; the reason is below."
        return f"One {one} fewer was not tried."
    nearest, less = closest(fewer, recommendation.objective), "One fewer" if step == 1 else "One device fewer"
    if nearest.accepted:
        also = f"{less} meets the limits as well: the plan has more for what else was asked"
        return f"{also}, such as to recover in time."
    is_told = nearest.plan.settings == plan.settings or (nearest.rejection and nearest.rejection.event)
    setting = "" if is_told else f"{nearest.plan.with_text}, "
    return f"{less} {fate_of_fewer(nearest.verdict)}: {setting}{broken_briefly(nearest, has_interval=not briefly)}."


def _is_fewer(one: Plan, plan: Plan, family: Family) -> bool:
    """Whether a plan has one device fewer, is of the same family, and has a batch wait that is no longer."""
    return (
        one.replicas == plan.replicas - family.per_device
        and family.includes(one)
        and one.settings[0] <= plan.settings[0]
    )


def _survival(recommendation: Recommendation, question: Question, plan: Plan) -> Iterator[str]:
    for event in recommendation.survived:
        number = event.plan.replicas
        left = "" if event.plan == plan else f" {number} {'are' if number > 1 else 'is'} left, and"
        binding = recommendation.objective.binding(event.performance)
        yield f"With {event.event}:{left} {format_found(binding, event.performance)}."
    without = recommendation.without_survival
    if without is None or without.plan in (None, plan):
        return
    price = ""
    if recommendation.hourly_usd is not None and without.hourly_usd is not None:
        saved = recommendation.hourly_usd - without.hourly_usd
        price = f", {saved:.3f} USD/h less" if saved > 0.0 else ", at the same price"
    assert without.plan is not None  # noqa: S101  (see above)
    is_smaller = replace(without.plan, replicas=plan.replicas) == plan
    same = without.plan.profile == plan.profile
    what = fleet(without.plan)
    if same:
        what = f"{without.plan.replicas}{'' if is_smaller else f' {without.plan.with_text}'}"
    befalls = list(_what_befalls(question))
    without_it = f"Without {' and '.join(befalls)}"
    if befalls == [_SPIKE]:
        without_it = f"{plan.replicas} must be ready before {_SPIKE}; without it"
    yield f"{without_it}, {what} would be enough{price}."


_SPIKE = "the spike"


def _what_befalls(question: Question) -> Iterator[str]:
    """What the plan must survive: failures, a spike, or both."""
    spike = question.survival.spike
    if spike is None or replace(question.survival, spike=None) != Survival():
        yield "failures"
    if spike is not None:
        yield _SPIKE


def _under_poisson(
    recommendation: Recommendation, question: Question, plan: Plan, *, briefly: bool
) -> Iterator[str]:
    """How many more replicas the fleet needs than under Poisson arrivals, or what the same number would do.

    Unless briefly, also why.
    """
    calm = recommendation.under_poisson
    if calm is None or isinstance(question.workload, ClosedPopulation):
        return
    if calm.plan is None:
        if calm.verdict is Verdict.MISSED:
            yield "Under Poisson arrivals no plan within the limits is enough either."
        return
    measured = None if briefly else irregularity(question.workload)
    why = "" if measured is None else f": {measured}"
    if calm.plan.profile != plan.profile:
        yield f"Under Poisson arrivals {fleet(calm.plan)} would be enough{why}."
        return
    more = plan.replicas - calm.plan.replicas
    difference = f"{abs(more)} {'more' if more > 0 else 'fewer'}" if more else "as many"
    then = "" if more else _seen_at_poisson(recommendation, calm)
    yield (
        f"Under Poisson arrivals {calm.plan.replicas} would be enough{then}; these arrivals need {difference}{why}."
    )


def _seen_at_poisson(recommendation: Recommendation, calm: Recommendation) -> str:
    """The figure that binds the plan as it would be under Poisson arrivals; empty if it is not known."""
    if recommendation.performance is None or calm.performance is None:
        return ""
    limit = recommendation.objective.binding(recommendation.performance)
    found = limit.found(calm.performance)
    return "" if found is None else f", with {limit.what} {format_value(limit, found)}"


def _what_holds(recommendation: Recommendation) -> str:
    """Whose headroom it is, if not that of the whole fleet."""
    losses = [event for event in recommendation.survived if event.plan != recommendation.plan]
    return " after the worst failure" if losses else ""


def replicas_text(scenario: AnyScenario) -> str:
    """Number of replicas, and how many of them a failure leaves."""
    outage = scenario.outage
    if outage is None:
        return str(scenario.plan.replicas)
    return f"{outage.left} left of {outage.replicas}, with {outage.event}"


def fleet_in(scenario: AnyScenario) -> str:
    """The whole fleet of a scenario in words, and the failure that it is in."""
    outage = scenario.outage
    return fleet(scenario.whole) + ("" if outage is None else f" ({outage.event})")


def fleet(plan: Plan) -> str:
    """A plan in words.

    >>> from capacity.server.batch.plan import BatchPlan
    >>> fleet(BatchPlan(profile="t4", replicas=1, batch_size_max=8, batch_wait_max_s=0.002))
    '1 replica of t4 with batches up to 8 that wait up to 2 ms'
    """
    count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
    return f"{count} of {plan.profile} {plan.with_text}"


def _verb(plan: Plan, verb: str) -> str:
    return verb if plan.replicas > 1 or " " in verb else f"{verb}s"


def limits_in_words(objective: Objective) -> str:
    """All limits, separated by commas."""
    return ", ".join(map(str, objective.limits))
