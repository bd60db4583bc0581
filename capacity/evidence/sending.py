"""Sending: what decided when requests were sent, whether all were, and what was held back."""

import math
from collections.abc import Mapping

from capacity.evidence.finding import Belief, CheckFinding, decisive, finding_of
from capacity.evidence.inferences import answered_mean_s, implied_batch, in_flight
from capacity.evidence.omission import from_schedule, has_tail, unsent_share_max, worst_omission
from capacity.formats.load_test import LoadRun, Loop
from capacity.units import format_duration, format_quantile, format_rate, three_digits

# Allowed difference between figures of one run: rounding, and requests in flight at its beginning and end.
_TOLERANCE = 0.05
# Achieved over target rate below which the generator or server fell behind, and above which it sent too many.
_BEHIND, _AHEAD = 0.95, 1.05
_CHANCE = 3.0  # standard deviations of a Poisson count that chance allows
_AT_REST = 0.1  # share of the time that a user is idle from which it is reported
# Factors between a rate or duration and its value in a wrong unit, with some room for idle users.
_UNITS_APART = {1e3: "ms taken for s", 1e6: "µs taken for s"}
_ROOM = 0.25
_MATTERS = 0.1  # change of a quantile by coordinated omission that matters
# Change that no spread of service times explains: it is smaller for an exponential one without think time.
_GROSS = 1.0
_CYCLES_MAX = 10.0  # cycles of a user within the longest answer if nothing stood still
# Share of the responses beyond a quantile that may be filled in without moving it.
_FEW_FILLED = 0.25
_SAY_WHICH = (
    "give --loop open if they were sent by a schedule, --loop closed if each user waited for an answer"
)
_BY_A_SCHEDULE = (
    "send by a schedule (an open loop), such as capacity verify --rate, wrk2, vegeta or k6 "
    "constant-arrival-rate"
)
# Share of failures, by weight beyond a quantile, that is not worth reporting.
_FEW_FAILURES = 0.01


def kind_of_loop(run: LoadRun) -> CheckFinding:
    """Whether the clock or the answers decided when requests were sent."""
    taken = f" ({run.loop_because})" if run.loop_because else ""
    match run.loop:
        case Loop.OPEN:
            message = f"open: requests were sent by a schedule{taken}"
            return finding_of(run, "loop", Belief.HOLDS, message)
        case Loop.CLOSED:
            users = "its users" if run.users is None else _users(run.users)
            message = (
                f"closed, with {users} waiting for each answer{taken}: it does not say what happens at an arrival "
                "rate, as a slow server gets fewer requests"
            )
            fix = "compare it with simulate --users, or send by a schedule: capacity verify --rate"
            return finding_of(run, "loop", Belief.HOLDS, message, fix, numbers={"users": run.users})
        case Loop.SERVED:
            message = "the server's own figures: what a request waited for before it arrived is not in them"
            return finding_of(run, "loop", Belief.HOLDS, message)
        case Loop.UNKNOWN:
            message = "the file does not say whether requests were sent by a schedule or after each answer"
            return finding_of(run, "loop", Belief.UNKNOWN, message, _SAY_WHICH)


def _users(count: float) -> str:
    return f"{count:g} user" + ("" if count == 1.0 else "s")


def littles_law(run: LoadRun) -> CheckFinding | None:
    """Whether throughput x mean response, the requests in flight, is possible with the users there were.

    Source:
        Little (1961), A proof for the queuing formula L = λW, Oper. Res. 9(3); Lazowska et al. (1984),
        Quantitative System Performance, sec. 3.3, the response time law of interactive systems.
    """
    count, mean_s = in_flight(run), answered_mean_s(run)
    if count is None or not run.throughput_rps or mean_s is None:
        return None
    told = f"{format_rate(run.throughput_rps)} x {format_duration(mean_s)} = {three_digits(count)} requests in flight"
    if not run.users:
        message = f"{told}; how many could be is not said"
        return finding_of(run, "littles-law", Belief.UNKNOWN, message, numbers={"in_flight": count})
    if run.is_corrected:
        message = f"{told} of {_users(run.users)}, but the tool's mean has responses in it that it filled in"
        return finding_of(run, "littles-law", Belief.UNKNOWN, message, numbers={"in_flight": count})
    share = count / run.users
    numbers = {"in_flight": count, "users": run.users}
    if share > 1.0 + _TOLERANCE:
        message = f"{told}, but each of {_users(run.users)} can have one"
        batch = implied_batch(run)
        belief = Belief.BROKEN if batch is None else Belief.DOUBTFUL
        return finding_of(run, "littles-law", belief, message, _too_many(run, share, batch), numbers=numbers)
    if run.loop is not Loop.CLOSED:
        return finding_of(
            run, "littles-law", Belief.HOLDS, f"{told}, of {run.users:g} that may be", numbers=numbers
        )
    rest_s = max(0.0, run.users / run.throughput_rps - mean_s)
    if run.think_time_s is not None or share < 1.0 - _AT_REST:
        return _at_rest(run, rest_s, f"{told} of {_users(run.users)}", numbers)
    message = f"{told}, as many as there are users ({run.users:g})"
    return finding_of(run, "littles-law", Belief.HOLDS, message, numbers=numbers)


def _at_rest(run: LoadRun, rest_s: float, told: str, numbers: Mapping[str, float]) -> CheckFinding:
    """Whether users stay idle between an answer and the next request for their think time.

    A generator short of CPU wakes its users late and reads their answers late; it counts both as its own.
    """
    assert run.users and run.throughput_rps  # noqa: S101, PT018  (else nothing is known)
    cycle_s = run.users / run.throughput_rps
    message = f"{told}: each rests {format_duration(rest_s)} between requests"
    numbers = {"rest_s": rest_s, **numbers}
    if run.think_time_s is None:
        return finding_of(run, "littles-law", Belief.HOLDS, message, numbers=numbers)
    excess_s, think = rest_s - run.think_time_s, format_duration(run.think_time_s)
    message += f" and thinks {think}"
    if excess_s > _AT_REST * cycle_s:
        fix = (
            f"{format_duration(excess_s)} of each cycle of {format_duration(cycle_s)} are the generator's own, which "
            "also reads answers late, so that response times are too long: give it more processes or fewer users; a "
            "ramp of users shows like this too"
        )
        return finding_of(run, "littles-law", Belief.DOUBTFUL, message, fix, numbers=numbers)
    if -excess_s > _AT_REST * cycle_s:
        fix = "rate, response and think time are not of the same requests: check what each counts, and the units"
        return finding_of(run, "littles-law", Belief.DOUBTFUL, message, fix, numbers=numbers)
    return finding_of(run, "littles-law", Belief.HOLDS, message, numbers=numbers)


def _too_many(run: LoadRun, share: float, batch: int | None) -> str:
    """Why there are more requests in flight than users.

    Args:
        share: requests in flight per user.
        batch: inferences per request that would explain it.
    """
    if batch is not None:
        return f"it fits if each request carries {batch} inferences (-b {batch}), as the throughput counts inferences"
    for factor, units in _UNITS_APART.items():
        if abs(share / factor - 1.0) <= _ROOM:
            return f"that is about {factor:g} times too many: was a duration or a rate read in another unit, {units}?"
    if run.counts_inferences:
        return "the throughput counts inferences: if each request carried several (-b), divide it by their number"
    return "rate and response are not of the same requests: check what each counts, and the units"


def coordinated_omission(run: LoadRun) -> CheckFinding | None:
    """What a percentile leaves out because slow answers held back requests that would have waited."""
    quantile = decisive(run)
    if run.loop is Loop.OPEN and run.is_corrected:
        message = "latencies count from when requests were due, late sending included"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message)
    if run.loop is Loop.OPEN:
        return _late_sending(run, quantile)
    if run.loop is Loop.SERVED:
        return None
    if run.loop is Loop.UNKNOWN:
        message = "whether users waited for their answers would be needed to tell"
        return finding_of(
            run, "coordinated-omission", Belief.UNKNOWN, message, "give --loop, or --users if they did"
        )
    if run.is_corrected:
        return _filled_in(run, quantile)
    found = worst_omission(run, quantile)
    if found is None:
        return _bounded(run, quantile) or _lacking(run)
    name = format_quantile(found.quantile)
    numbers = {
        "quantile": found.quantile,
        "reported_s": found.reported_s,
        "scheduled_s": found.scheduled_s,
        "unsent_share": found.unsent_share,
        "cycle_s": found.cycle_s,
    }
    if found.change <= _MATTERS:
        message = f"{name} would be the same by a schedule: {format_duration(found.scheduled_s)}"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers=numbers)
    message = (
        f"{name} of {format_duration(found.reported_s)} is of the requests that were sent. A user sends every "
        f"{format_duration(found.cycle_s)}, and {100.0 * found.unsent_share:.3g} % of the requests that were due "
        f"were held back by slow answers; with them {name} is about {format_duration(found.scheduled_s)}"
    )
    fix = _BY_A_SCHEDULE
    belief = Belief.BROKEN if found.change > _GROSS else Belief.DOUBTFUL
    return finding_of(run, "coordinated-omission", belief, message, fix, numbers=numbers)


def _lacking(run: LoadRun) -> CheckFinding:
    """The data that a file would need for the check."""
    lacks = [
        name
        for name, is_there in (
            ("the number of users", run.users),
            ("the rate", run.throughput_rps),
            ("percentiles up to the maximum, or single responses", has_tail(run)),
        )
        if not is_there
    ]
    message = f"{' and '.join(lacks)} would be needed to tell"
    fix = "give --users" if not run.users and run.loop is Loop.CLOSED else ""
    return finding_of(run, "coordinated-omission", Belief.UNKNOWN, message, fix)


def _bounded(run: LoadRun, quantile: float) -> CheckFinding | None:
    """Bound without a tail: what mean and maximum leave for requests that were held back."""
    share = unsent_share_max(run)
    if share is None or run.max_s is None:
        return None
    numbers = {"unsent_share_max": share}
    if run.quantiles_s and share <= _FEW_FILLED * (1.0 - quantile):
        name = format_quantile(quantile)
        message = f"at most {100.0 * share:.2g} % of what was due was held back: {name} is as by a schedule"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers=numbers)
    assert run.users and run.throughput_rps  # noqa: S101, PT018  (else no share is known)
    cycles = run.max_s * run.throughput_rps / run.users
    if not run.quantiles_s and cycles <= _CYCLES_MAX:
        message = (
            f"no percentile is reported that could leave anything out, and the longest answer held back "
            f"{cycles:.2g} requests of its user"
        )
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers=numbers)
    return None


def _filled_in(run: LoadRun, quantile: float) -> CheckFinding:
    """Whether a tool that adds responses to a closed loop added any that matter."""
    name, reported = format_quantile(quantile), run.quantiles_s.get(quantile)
    found = _filled_share_max(run, quantile)
    if found is None or reported is None:
        message = "the tool fills in responses, and users, rate, mean and a percentile would be needed to tell how many"
        return finding_of(run, "coordinated-omission", Belief.UNKNOWN, message, _BY_A_SCHEDULE)
    numbers = {"filled_share_max": found, "reported_s": reported.value, "mean_s": run.mean_s}
    if found <= _FEW_FILLED * (1.0 - quantile):
        message = f"nearly nothing was held back or filled in: {name} would be the same by a schedule"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers=numbers)
    message = (
        "slow answers held back requests, and the tool has filled in responses for them: "
        f"{_filled(run)}. {name} of {format_duration(reported.value)} is an estimate of what users of a schedule see, "
        "and rather a low one, as stalls stretch the interval that it fills by"
    )
    return finding_of(run, "coordinated-omission", Belief.DOUBTFUL, message, _BY_A_SCHEDULE, numbers=numbers)


def _filled(run: LoadRun) -> str:
    """How much the tool filled in, by counts if it reports them, else by the means."""
    if run.counted is not None:
        return f"{run.counted} durations are of {run.requests} requests"
    assert run.users and run.throughput_rps and run.mean_s is not None  # noqa: S101, PT018  (else nothing is known)
    return (
        f"the mean of {format_duration(run.mean_s)} is of both, that of the requests sent is "
        f"{format_duration(run.users / run.throughput_rps)}"
    )


def _filled_share_max(run: LoadRun, quantile: float) -> float | None:
    """Upper bound on the share of responses that are filled in and above a quantile; None if it is unknown.

    A user who is never idle sends once in `cycle = users / rate`, which is also the mean of what was sent. Filled-in
    responses are longer than a cycle, so that at most (mean - cycle) / (x - cycle) of all responses are filled in
    above x; and nothing is filled in for an answer shorter than two cycles.

    Source:
        Markov's inequality; wrk 4.1.0, src/stats.c, `stats_correct(stats, runtime / requests of a connection)`.
    """
    if run.counted is not None and run.requests is not None:
        return max(0.0, 1.0 - run.requests / run.counted) if run.counted else 0.0
    reported = run.quantiles_s.get(quantile)
    if not run.users or not run.throughput_rps or run.mean_s is None or reported is None:
        return None
    cycle_s = run.users / run.throughput_rps
    excess_s, above_s = max(0.0, run.mean_s - cycle_s), reported.low - cycle_s
    if not excess_s or (run.max_s is not None and run.max_s < 2.0 * cycle_s):
        return 0.0
    return 1.0 if excess_s >= above_s else excess_s / above_s


def _late_sending(run: LoadRun, quantile: float) -> CheckFinding | None:
    """How late an open loop sent its requests, which had waited before that."""
    late = from_schedule(run, quantile)
    reported = run.quantiles_s.get(quantile)
    if late is None and run.dropped == 0:
        message = "a request that cannot be sent when it is due would have been dropped, and none was"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers={"dropped": 0.0})
    if late is None or reported is None:
        message = "open loop, and the file does not say how late requests were sent"
        return finding_of(run, "coordinated-omission", Belief.UNKNOWN, message)
    name = format_quantile(quantile)
    numbers = {"reported_s": reported.value, "from_schedule_s": late.low}
    if late.low <= (1.0 + _MATTERS) * reported.value:
        message = f"requests were sent in time: {name} from the schedule on is {format_duration(late.low)}"
        return finding_of(run, "coordinated-omission", Belief.HOLDS, message, numbers=numbers)
    at_least = "" if math.isfinite(late.high) else "at least "
    message = (
        f"{name} of {format_duration(reported.value)} counts from when a request was sent, which was late; from "
        f"when it was due it is {at_least}{format_duration(late.low)}"
    )
    if run.schedule_delay_mean_s is not None and run.mean_s is not None:
        mean_s = run.schedule_delay_mean_s + run.mean_s
        numbers["mean_from_schedule_s"] = mean_s
        message += f", and the mean {format_duration(mean_s)} instead of {format_duration(run.mean_s)}"
    fix = (
        "lower the rate until requests are sent in time, or give the generator more processes and connections"
    )
    return finding_of(run, "coordinated-omission", Belief.BROKEN, message, fix, numbers=numbers)


def generator(run: LoadRun) -> CheckFinding | None:
    """Whether the target rate was sent and answered."""
    if run.dropped:
        message = f"{run.dropped} requests were never sent, for want of users or connections"
        numbers = {"dropped": float(run.dropped)}
        return finding_of(run, "generator", Belief.BROKEN, message, "allow more at once", numbers=numbers)
    asked, achieved = run.rate_asked_rps, _sent_rps(run)
    if not asked or achieved is None:
        return None
    numbers = {"asked_rps": asked, "achieved_rps": achieved}
    told = f"{format_rate(achieved)} of the {format_rate(asked)} that were asked for"
    if _BEHIND * asked <= achieved <= _AHEAD * asked:
        return finding_of(run, "generator", Belief.HOLDS, told, numbers=numbers)
    if run.requests and abs(achieved / asked - 1.0) <= _CHANCE / math.sqrt(run.requests):
        message = f"{told}, which may be chance if {run.requests} requests came at random"
        fix = "run it for longer; sent at even intervals, it is a generator that does not keep its schedule"
        return finding_of(run, "generator", Belief.DOUBTFUL, message, fix, numbers=numbers)
    if achieved < asked:
        message = (
            f"{told}: the figures are those of the lower rate, and not of a steady state at the higher one"
        )
        fix = "see whether the generator or the server is at its limit; ask for less, or add generators"
    else:
        message = f"{told}: the figures are those of the higher rate"
        fix = "see whether several generators ran, and what the rate is of: each user, or all of them"
    return finding_of(run, "generator", Belief.BROKEN, message, fix, numbers=numbers)


def _sent_rps(run: LoadRun) -> float | None:
    """Rate at which requests were sent, over the time until the last one."""
    if run.rate_sent_rps is not None:
        return run.rate_sent_rps
    if run.throughput_rps is None or run.duration_s is None or run.mean_s is None:
        return run.throughput_rps
    sending_s = run.duration_s - run.mean_s
    return run.throughput_rps * run.duration_s / sending_s if sending_s > 0.0 else None


def answered(run: LoadRun) -> CheckFinding | None:
    """Whether all requests were answered; a lost request is a late request."""
    if run.failed is None or not run.requests:
        return None
    share = run.failed / run.requests
    if not run.failed:
        message = f"no request of {run.requests} failed"
        return finding_of(run, "failures", Belief.HOLDS, message, numbers={"failed_share": 0.0})
    quantile = decisive(run)
    name, told = (
        format_quantile(quantile),
        f"{run.failed} of {run.requests} requests failed ({100.0 * share:.3g} %)",
    )
    fix = "find out why requests fail; a percentile of the others says nothing of these"
    if share <= _FEW_FAILURES * (1.0 - quantile):
        return finding_of(run, "failures", Belief.HOLDS, told, numbers={"failed_share": share})
    if share >= 1.0 - quantile:
        message = f"{told}: counted as late, {name} is not finite"
        return finding_of(run, "failures", Belief.BROKEN, message, fix, numbers={"failed_share": share})
    inner = format_quantile(round(quantile / (1.0 - share), 6))
    message = f"{told}: counted as late, {name} is where {inner} of the good ones is"
    return finding_of(run, "failures", Belief.DOUBTFUL, message, fix, numbers={"failed_share": share})
