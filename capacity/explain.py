"""Explain: a recommendation in sentences, each with its numbers."""

from collections.abc import Iterator

from capacity.judge import binding_quantile, pressure
from capacity.performance import Interval
from capacity.plan import Candidate, Limit, Plan, Recommendation, Rejection, Verdict
from capacity.search import Question
from capacity.units import format_duration, format_quantile, format_rate
from capacity.workload import LatencyObjective


def explain(recommendation: Recommendation, question: Question) -> Iterator[str]:
    """What is recommended and how sure that is; why one replica fewer would not do; how far it reaches."""
    if recommendation.plan is None or recommendation.performance is None:
        yield from _explain_refusal(recommendation, question)
        return
    plan, performance = recommendation.plan, recommendation.performance
    quantile = binding_quantile(recommendation.objective, performance)
    yield (
        f"{_fleet(plan)} {_verb(plan, 'keep')} {_promise(recommendation.objective)} at "
        f"{format_rate(question.workload.arrival_rate_rps)}: {format_quantile(quantile)} is "
        f"{format_interval(performance.response_quantiles_s[quantile])}."
    )
    yield _why_not_fewer(recommendation, plan)
    if recommendation.arrival_rate_max_rps is not None:
        rate = format_rate(recommendation.arrival_rate_max_rps)
        yield f"In shorter trials the same plan holds up to {rate}."


def format_interval(interval: Interval) -> str:
    """A duration with the ends of its interval.

    >>> format_interval(Interval(value=0.0483, low=0.046, high=0.0507))
    '48.3 (46 to 50.7) ms'
    """
    if interval.low == interval.high:
        return format_duration(interval.value)
    shown = [format_duration(x) for x in (interval.value, interval.low, interval.high)]
    value, low, high = (text.split(" ")[0] for text in shown)
    units = {text.split(" ")[1] for text in shown}
    if len(units) == 1:
        return f"{value} ({low} to {high}) {units.pop()}"
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def format_refusal(candidate: Candidate) -> str:
    """Why a candidate was refused, with numbers and units; empty where it was not."""
    rejection = candidate.rejection
    if rejection is None:
        return ""
    allowed, needed = rejection.allowed, rejection.needed
    match rejection.limit:
        case Limit.STABILITY:
            return f"unstable: load {needed:.3f} >= {allowed:g}"
        case Limit.SERVICE_FLOOR:
            return (
                f"no batch is served within {format_duration(allowed)} at {_quantile(rejection)}; "
                f"the fastest takes {format_duration(needed)}"
            )
        case Limit.LATENCY:
            if candidate.verdict is Verdict.INCONCLUSIVE:
                return (
                    f"{_quantile(rejection)} of {_found(candidate)} may be above {format_duration(allowed)}"
                )
            least = "" if candidate.settled else "at least "
            return f"{_quantile(rejection)} of {least}{_found(candidate)} is above {format_duration(allowed)}"
        case Limit.PROFILE_RANGE:
            return f"the profile was measured up to batch size {allowed:g} only"
        case Limit.REPLICAS_MAX:
            return f"stability takes at least {needed:g} replicas, and {allowed:g} are allowed"
        case _:
            return (
                f"undecided within the budget of {allowed:.0f} simulated requests; "
                f"{needed:.0f} might do (--requests-max)"
            )


def format_verdict(candidate: Candidate) -> str:
    """A candidate's verdict in a few words, for a row that has its numbers."""
    rejection = candidate.rejection
    if rejection is None:
        return candidate.verdict.value
    match rejection.limit:
        case Limit.STABILITY:
            return f"unstable: load {rejection.needed:.3f}"
        case Limit.LATENCY if candidate.verdict is Verdict.MISSED:
            return f"missed: {_quantile(rejection)} above {format_duration(rejection.allowed)}"
        case Limit.BUDGET | Limit.LATENCY:
            return "in doubt"
        case _:
            return f"missed: {format_refusal(candidate)}"


def closest(candidates: list[Candidate], objective: LatencyObjective) -> Candidate:
    """The candidate that comes nearest to the objective: simulated ones first, then the lowest refusal."""

    def distance(candidate: Candidate) -> tuple[int, float]:
        if candidate.performance is not None:
            quantile = binding_quantile(objective, candidate.performance)
            return 0, pressure(objective, candidate.performance, quantile)
        assert candidate.rejection is not None  # noqa: S101  (theory refuses with numbers only)
        return 1, candidate.rejection.needed / candidate.rejection.allowed

    refused = [candidate for candidate in candidates if not candidate.accepted]
    return min(refused or candidates, key=distance)


def _explain_refusal(recommendation: Recommendation, question: Question) -> Iterator[str]:
    objective = recommendation.objective
    what = "is known to keep" if recommendation.verdict is Verdict.INCONCLUSIVE else "keeps"
    nearest = closest(list(recommendation.considered), objective)
    yield (
        f"No plan within the limits {what} {_promise(objective)} at "
        f"{format_rate(question.workload.arrival_rate_rps)}; closest is {_fleet(nearest.plan)}: "
        f"{format_refusal(nearest)}."
    )


def _why_not_fewer(recommendation: Recommendation, plan: Plan) -> str:
    fewer = [one for one in recommendation.considered if one.plan.replicas == plan.replicas - 1]
    if not fewer:
        return "One replica is the fewest there can be."
    nearest = closest(fewer, recommendation.objective)
    if nearest.performance is None:
        return f"One fewer would not do: {_fleet(nearest.plan)}: {format_refusal(nearest)}."
    fate = "is in doubt" if nearest.verdict is Verdict.INCONCLUSIVE else "would not do"
    return (
        f"One fewer {fate}: {_fleet(nearest.plan)} would be stable at load "
        f"{nearest.performance.load:.3f}, but {format_refusal(nearest)}."
    )


def _fleet(plan: Plan) -> str:
    count = f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")
    return f"{count} of {plan.profile} with batches up to {plan.batch_size_max}"


def _verb(plan: Plan, verb: str) -> str:
    return verb if plan.replicas > 1 or " " in verb else f"{verb}s"


def _promise(objective: LatencyObjective) -> str:
    return ", ".join(f"{format_quantile(q)} <= {format_duration(x)}" for q, x in objective.limits.items())


def _found(candidate: Candidate) -> str:
    """What was found of the quantile that refused a candidate, with its interval where there is one."""
    rejection, performance = candidate.rejection, candidate.performance
    if rejection is None:
        return ""
    if performance is None or rejection.quantile is None:
        return format_duration(rejection.needed)
    return format_interval(performance.response_quantiles_s[rejection.quantile])


def _quantile(rejection: Rejection) -> str:
    return "" if rejection.quantile is None else format_quantile(rejection.quantile)
