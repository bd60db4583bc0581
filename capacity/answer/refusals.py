"""Refusals: why a fleet is not accepted, in words with numbers and units."""

import math

from capacity.performance import Interval, Performance, format_share_interval
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, format_value
from capacity.units import format_duration, format_share


def format_loss(performance: Performance | None) -> str:
    """Share of rejected requests, with its interval if it has one; empty if none was rejected."""
    if performance is None or not performance.loss_probability:
        return ""
    known = performance.intervals.get(Measure.LOSS.value)
    return format_share(performance.loss_probability) if known is None else format_share_interval(known)


def format_refusal(candidate: Candidate) -> str:
    """Why a candidate was refused, with numbers and units; empty if it was not."""
    rejection = candidate.rejection
    if rejection is None:
        return ""
    told = _refusal(candidate, rejection)
    return told if rejection.event is None else f"with {rejection.event}, {told}"


def _floor_in_doubt(allowed_s: float, needed_s: float) -> str:
    """Why it is not known whether the service alone is quick enough."""
    if math.isinf(needed_s):
        return (
            "the samples of the profile do not tell whether the service alone stays within "
            f"{format_duration(allowed_s)}"
        )
    return (
        f"the service alone may take {format_duration(needed_s)}, judging by the profile's samples, "
        f"and {format_duration(allowed_s)} is allowed"
    )


def _of_rates(served_rps: float, come_rps: float) -> str:
    """Turns that are served of those that come.

    >>> _of_rates(5.283, 7.0)
    '5.28 of 7 turns/s'
    """
    return f"{served_rps:.3g} of {come_rps:.3g} turns/s"


def _refusal(candidate: Candidate, rejection: Rejection) -> str:
    allowed, needed, limit = rejection.allowed, rejection.needed, rejection.limit
    if limit is not None and rejection.reason is not Reason.SERVICE_FLOOR:
        return _broken(candidate, rejection, limit)
    match rejection.reason:
        case Reason.STABILITY | Reason.SURVIVAL:
            return _unstable(allowed, needed)
        case Reason.BISTABLE:
            return f"from empty caches and a backlog it serves {_of_rates(allowed, needed)}, and does not recover"
        case Reason.SERVICE_FLOOR if candidate.verdict is Verdict.INCONCLUSIVE:
            return _floor_in_doubt(allowed, needed)
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


_TOO_NEAR = "too near saturation for the profile's accuracy"


def _unstable(allowed: float, load: float) -> str:
    if load < 1.0:  # where engines saturate is measured, with an error
        return f"load {load:.3f}, {_TOO_NEAR}"
    return f"unstable: load {load:.3f} >= {allowed:g}"


def _broken(candidate: Candidate, rejection: Rejection, limit: Limit) -> str:
    """The value that missed a limit, or may have missed it."""
    if rejection.is_loss and limit.quantile is not None:
        return (
            f"{format_share(rejection.needed)} of the requests are {lost_word(candidate)}, but {limit.what} leaves "
            f"{format_share(rejection.allowed)} to be {lost_word(candidate)} or late"
        )
    found, allowed = _found(candidate, limit, rejection.needed), limit.allowed_text
    if candidate.verdict is Verdict.INCONCLUSIVE:
        lost = "" if math.isfinite(rejection.needed) else format_loss(candidate.performance)
        rejected = f", with {lost} {lost_word(candidate)}" if lost else ""
        return f"{limit.what} of {found}{rejected} may be above {allowed}"
    least = "" if candidate.settled else "at least "
    return f"{limit.what} of {least}{found} is above {allowed}"


def lost_word(candidate: Candidate) -> str:
    """What is said of its requests that are lost."""
    return "rejected" if candidate.performance is None else candidate.performance.lost_word


def format_verdict(candidate: Candidate) -> str:
    """A candidate's verdict in a few words, for a row that shows its numbers."""
    rejection = candidate.rejection
    if rejection is None:
        return candidate.verdict.value
    event = "" if rejection.event is None else f" with {rejection.event}"
    if candidate.verdict is Verdict.INCONCLUSIVE:
        return f"in doubt{event}{doubts(candidate)}"
    if rejection.limit is None or rejection.reason is Reason.SERVICE_FLOOR:
        if rejection.reason in (Reason.STABILITY, Reason.SURVIVAL):
            return f"unstable{event}: load {rejection.needed:.3f}"
        if rejection.reason is Reason.BISTABLE:
            return f"bistable: cold {_of_rates(rejection.allowed, rejection.needed)}"
        return f"missed: {format_refusal(candidate)}"
    if rejection.is_loss and rejection.limit.quantile is not None:
        return f"missed{event}: {format_share(rejection.needed)} {lost_word(candidate)}"
    return f"missed{event}: {rejection.limit.what} above {rejection.limit.allowed_text}"


_DOUBTS = {
    Doubt.REQUESTS: "too few requests simulated",
    Doubt.MARGIN: "too close to the limit",
    Doubt.PROFILE: "too few samples in the profile",
}


def doubts(candidate: Candidate) -> str:
    """Why a row is undecided, after a colon; empty if that is not known."""
    return "" if candidate.doubt is None else f": {_DOUBTS[candidate.doubt]}"


def broken_briefly(candidate: Candidate, *, has_interval: bool) -> str:
    """Why a candidate was refused, without the limit that the sentence before it has told.

    Args:
        has_interval: whether a lower bound has its interval too, which others always have.
    """
    rejection, seen = candidate.rejection, candidate.performance
    load = None if seen is None else seen.load
    whole = format_refusal(candidate) if load is None else f"at load {load:.3f}, {format_refusal(candidate)}"
    if rejection is None or rejection.is_loss or math.isinf(rejection.needed):
        return whole
    event = "" if rejection.event is None else f"with {rejection.event}, "
    if rejection.limit is None and rejection.reason in (Reason.STABILITY, Reason.SURVIVAL):
        fate = "so that its queues grow for ever" if rejection.needed >= 1.0 else _TOO_NEAR
        return f"{event}load {rejection.needed:.3f}, {fate}"
    if rejection.limit is None or rejection.reason is Reason.SERVICE_FLOOR:
        return whole
    is_bound = candidate.verdict is Verdict.MISSED and not candidate.settled
    at = "" if load is None else f" at load {load:.3f}"
    found = _found(candidate, rejection.limit, rejection.needed)
    if is_bound and not has_interval:
        found = _least(candidate, rejection.limit, rejection.needed)
    return f"{event}{rejection.limit.what} {'>= ' if is_bound else ''}{found}{at}"


def fate_of_fewer(verdict: Verdict) -> str:
    """The fate of a fleet that is one smaller and was not accepted."""
    return "is in doubt" if verdict is Verdict.INCONCLUSIVE else "is not enough"


def _least(candidate: Candidate, limit: Limit, needed: float) -> str:
    """The lower end of the value that refused a candidate."""
    found = None if candidate.performance is None else limit.found(candidate.performance)
    return format_value(limit, Interval.exact(needed if found is None else found.low))


def _found(candidate: Candidate, limit: Limit, needed: float) -> str:
    """The value that refused a candidate, with its interval if it has one."""
    found = None if candidate.performance is None else limit.found(candidate.performance)
    return format_value(limit, Interval.exact(needed) if found is None else found)
