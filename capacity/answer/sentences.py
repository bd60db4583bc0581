"""Sentences: a recommendation in words, each sentence with its numbers."""

import math
from collections.abc import Iterator

from capacity.performance import Interval, Performance, format_share_interval
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict, closest
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.question.overload import Saturation
from capacity.question.plan import Plan
from capacity.question.question import Family, Question
from capacity.question.scenario import AnyScenario
from capacity.search.recommendation import Headroom, RandomRouting, Recommendation
from capacity.traffic.burstiness import irregularity
from capacity.traffic.daily import DAY_S, clock
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import format_duration, format_rate, format_share


def explain(recommendation: Recommendation, question: Question) -> Iterator[str]:
    """The recommendation and how certain it is, why a smaller fleet is not enough, and what the plan survives."""
    if recommendation.plan is None or recommendation.performance is None:
        yield from _explain_refusal(recommendation, question)
        return
    plan, performance = recommendation.plan, recommendation.performance
    price = "" if recommendation.hourly_usd is None else f" for {recommendation.hourly_usd:.3f} USD/h"
    yield (
        f"{fleet(plan)} {_verb(plan, 'meet')} {limits_in_words(recommendation.objective)} "
        f"{demand(question.workload)}{price}: {_binds(recommendation.objective, performance)}."
    )
    yield why_not_fewer(recommendation, question, plan)
    if recommendation.saturation is not None:
        yield saturates(plan, recommendation.saturation)
    yield from _survival(recommendation, plan)
    yield from _under_poisson(recommendation, question, plan)
    if recommendation.headroom is not None:
        aside = "" if question.survival.spike is None else ", without the spike"
        yield (
            f"Headroom: {_what_holds(recommendation)} still meets the objective at "
            f"{format_headroom(recommendation.headroom)}{aside}"
            f"{format_missed_at(recommendation.headroom, 'and misses it')}, in shorter simulations."
        )
    if recommendation.random_routing is not None:
        yield _if_random(recommendation.random_routing, plan, recommendation.objective)


def saturates(plan: Plan, one: Saturation) -> str:
    """The resource that a replica runs out of first, where that was measured."""
    what = {
        "kv_cache": f"its KV cache, {100.0 * one.kv_utilization:.0f} % full with {one.running_mean:.0f} requests",
        "slots": f"its {plan.at_once} sequences",
        "tokens": f"its {plan.other_setting[1]} tokens a step, with {one.running_mean:.0f} requests running",
    }[one.binding]
    return (
        f"An engine saturates at {format_rate(one.rate_rps)}, bound by {what}; "
        f"{100.0 * one.prefill_time_share:.0f} % of its time then goes to prompts."
    )


def format_headroom(headroom: Headroom) -> str:
    """The highest accepted rate, compared with today's."""
    return _beside_today(headroom, headroom.accepted_rps)


def format_missed_at(headroom: Headroom, verb: str) -> str:
    """The lowest rate above it that misses the objective; empty if that is practically the same rate."""
    if headroom.is_decided:
        return ""
    return f", {verb} at {_beside_today(headroom, headroom.refused_rps)}"


def _beside_today(headroom: Headroom, rate_rps: float) -> str:
    return f"{format_rate(rate_rps)} ({100.0 * (rate_rps / headroom.today_rps - 1.0):+.0f} %)"


def _if_random(random: RandomRouting, plan: Plan, objective: Objective) -> str:
    """What the same objective needs under random routing."""
    if plan.replicas == 1:
        return "With one replica, routing makes no difference."
    replicas = random.replicas
    found = _found_at_random(random)
    if replicas is None:
        takes = f"no fleet within the limits is known to meet {limits_in_words(objective)}"
    elif replicas == plan.replicas:
        takes = "the same number of replicas is enough"
    else:
        takes = f"the objective needs {replicas} replicas"
    return f"Under random routing, such as a Kubernetes Service, its {found}; {takes}."


def _found_at_random(random: RandomRouting) -> str:
    """The limited measure and its value under random routing."""
    limit = random.limit or Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=math.inf)
    found = random.response_p99 if random.limit is None else random.found
    return f"{limit.what} " + ("is not known" if found is None else f"would be {format_value(limit, found)}")


def _binds(objective: Objective, performance: Performance) -> str:
    """The value of the limit that binds; with its share of the limit if there are several limits."""
    binding = objective.binding(performance)
    found, pressure = format_found(binding, performance), binding.pressure(performance)
    if performance.loss_probability and binding.measure is not Measure.LOSS:
        found = f"{found}, with {format_loss(performance)} of the requests {performance.lost_word}"
    if len(objective.limits) == 1 or pressure is None:
        return found
    return f"{found}, the closest to its limit, at {100.0 * pressure.value:.0f} % of it"


def format_loss(performance: Performance | None) -> str:
    """Share of rejected requests, with its interval if it has one; empty if none was rejected."""
    if performance is None or not performance.loss_probability:
        return ""
    known = performance.intervals.get(Measure.LOSS.value)
    return format_share(performance.loss_probability) if known is None else format_share_interval(known)


def demand(workload: Demand) -> str:
    """The workload as the end of a sentence."""
    if isinstance(workload, ClosedPopulation):
        thought = format_duration(workload.think_time_s)
        who = "1 user who thinks" if workload.users == 1 else f"{workload.users} users who think"
        return f"for {who} for {thought}"
    rate = format_rate(workload.arrival_rate_rps)
    day = workload.day
    if day is None:
        return f"at {rate}"
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


def format_refusal(candidate: Candidate) -> str:
    """Why a candidate was refused, with numbers and units; empty if it was not."""
    rejection = candidate.rejection
    if rejection is None:
        return ""
    told = _refusal(candidate, rejection)
    return told if rejection.event is None else f"with {rejection.event}, {told}"


def _refusal(candidate: Candidate, rejection: Rejection) -> str:
    allowed, needed, limit = rejection.allowed, rejection.needed, rejection.limit
    if limit is not None and rejection.reason is not Reason.SERVICE_FLOOR:
        return _broken(candidate, rejection, limit)
    match rejection.reason:
        case Reason.STABILITY | Reason.SURVIVAL:
            return _unstable(allowed, needed)
        case Reason.SERVICE_FLOOR if candidate.verdict is Verdict.INCONCLUSIVE:
            if math.isinf(needed):
                return (
                    "the samples of the profile do not tell whether the service alone stays within "
                    f"{format_duration(allowed)}"
                )
            return (
                f"the service alone may take {format_duration(needed)}, judging by the profile's samples, "
                f"and {format_duration(allowed)} is allowed"
            )
        case Reason.SERVICE_FLOOR:
            which = "on average" if limit is None or limit.quantile is None else f"at {limit.what}"
            return (
                f"no batch is served within {format_duration(allowed)} {which}; "
                f"the fastest takes {format_duration(needed)}"
            )
        case Reason.PROFILE_RANGE:
            return f"the profile was measured up to batch size {allowed:g} only"
        case Reason.REPLICAS_MAX:
            verb = "is" if allowed == 1 else "are"
            most = f"{allowed:g} {verb} allowed (--replicas-max)"
            return f"stability needs at least {needed:g} replicas, and {most}"
        case _:
            return (
                f"undecided within the budget of {allowed:.0f} simulated requests; "
                f"{needed:.0f} might be enough (--requests-max)"
            )


def _unstable(allowed: float, load: float) -> str:
    if load < 1.0:  # where engines saturate is measured, with an error
        return f"load {load:.3f}, too near saturation for the profile's accuracy"
    return f"unstable: load {load:.3f} >= {allowed:g}"


def _broken(candidate: Candidate, rejection: Rejection, limit: Limit) -> str:
    """The value that missed a limit, or may have missed it."""
    if rejection.is_loss and limit.quantile is not None:
        return (
            f"{format_share(rejection.needed)} of the requests are {_lost_word(candidate)}, but {limit.what} leaves "
            f"{format_share(rejection.allowed)} to be {_lost_word(candidate)} or late"
        )
    found, allowed = _found(candidate, limit, rejection.needed), limit.allowed_text
    if candidate.verdict is Verdict.INCONCLUSIVE:
        lost = "" if math.isfinite(rejection.needed) else format_loss(candidate.performance)
        rejected = f", with {lost} {_lost_word(candidate)}" if lost else ""
        return f"{limit.what} of {found}{rejected} may be above {allowed}"
    least = "" if candidate.settled else "at least "
    return f"{limit.what} of {least}{found} is above {allowed}"


def _lost_word(candidate: Candidate) -> str:
    """What is said of its requests that are lost."""
    return "rejected" if candidate.performance is None else candidate.performance.lost_word


def format_verdict(candidate: Candidate) -> str:
    """A candidate's verdict in a few words, for a row that shows its numbers."""
    rejection = candidate.rejection
    if rejection is None:
        return candidate.verdict.value
    event = "" if rejection.event is None else f" with {rejection.event}"
    if candidate.verdict is Verdict.INCONCLUSIVE:
        return f"in doubt{event}{_doubts(candidate)}"
    if rejection.limit is None or rejection.reason is Reason.SERVICE_FLOOR:
        if rejection.reason in (Reason.STABILITY, Reason.SURVIVAL):
            return f"unstable{event}: load {rejection.needed:.3f}"
        return f"missed: {format_refusal(candidate)}"
    if rejection.is_loss and rejection.limit.quantile is not None:
        return f"missed{event}: {format_share(rejection.needed)} {_lost_word(candidate)}"
    return f"missed{event}: {rejection.limit.what} above {rejection.limit.allowed_text}"


_DOUBTS = {
    Doubt.REQUESTS: "too few requests simulated",
    Doubt.MARGIN: "too close to the limit",
    Doubt.PROFILE: "too few samples in the profile",
}


def _doubts(candidate: Candidate) -> str:
    """Why a row is undecided."""
    return "" if candidate.doubt is None else f": {_DOUBTS[candidate.doubt]}"


def _explain_refusal(recommendation: Recommendation, question: Question) -> Iterator[str]:
    objective = recommendation.objective
    what = "is known to meet" if recommendation.verdict is Verdict.INCONCLUSIVE else "meets"
    nearest = closest(recommendation.considered, objective)
    yield (
        f"No plan within the limits {what} {limits_in_words(objective)} {demand(question.workload)}; "
        f"closest is {fleet(nearest.plan)}: {format_refusal(nearest)}."
    )


def why_not_fewer(recommendation: Recommendation, question: Question, plan: Plan) -> str:
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
    fate = fate_of_fewer(nearest.verdict)
    if nearest.performance is None or nearest.performance.load is None:
        return f"{less} {fate}: {fleet(nearest.plan)}: {format_refusal(nearest)}."
    return (
        f"{less} {fate}: {fleet(nearest.plan)} would run at load "
        f"{nearest.performance.load:.3f}, but {format_refusal(nearest)}."
    )


def fate_of_fewer(verdict: Verdict) -> str:
    """The fate of a fleet that is one smaller and was not accepted."""
    return "is in doubt" if verdict is Verdict.INCONCLUSIVE else "is not enough"


def _is_fewer(one: Plan, plan: Plan, family: Family) -> bool:
    """Whether a plan has one device fewer, is of the same family, and has a batch wait that is no longer."""
    return (
        one.replicas == plan.replicas - family.per_device
        and family.includes(one)
        and one.settings[0] <= plan.settings[0]
    )


def _survival(recommendation: Recommendation, plan: Plan) -> Iterator[str]:
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
    yield f"Without failures to survive, {fleet(without.plan)} would be enough{price}."


def _under_poisson(recommendation: Recommendation, question: Question, plan: Plan) -> Iterator[str]:
    """How many more replicas the fleet needs than under Poisson arrivals, and why."""
    calm = recommendation.under_poisson
    if calm is None or isinstance(question.workload, ClosedPopulation):
        return
    if calm.plan is None:
        if calm.verdict is Verdict.MISSED:
            yield "Under Poisson arrivals at the same rate, no plan within the limits is enough."
        return
    measured = irregularity(question.workload)
    why = "" if measured is None else f": {measured}"
    if calm.plan.profile != plan.profile:
        yield f"Under Poisson arrivals at the same rate, {fleet(calm.plan)} would be enough{why}."
        return
    more = plan.replicas - calm.plan.replicas
    difference = f"{abs(more)} {'more' if more > 0 else 'fewer'}" if more else "as many"
    yield (
        f"Under Poisson arrivals at the same rate, {calm.plan.replicas} would be enough; these arrivals "
        f"need {difference}{why}."
    )


def _what_holds(recommendation: Recommendation) -> str:
    losses = [event for event in recommendation.survived if event.plan != recommendation.plan]
    return "what is left after the worst failure" if losses else "the same plan"


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


def _found(candidate: Candidate, limit: Limit, needed: float) -> str:
    """The value that refused a candidate, with its interval if it has one."""
    found = None if candidate.performance is None else limit.found(candidate.performance)
    return format_value(limit, Interval.exact(needed) if found is None else found)
