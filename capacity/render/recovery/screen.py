"""Screen of `capacity stress`: the verdict, the reasons, what would help, and the course of a run."""

import math
from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from capacity.performance import Interval
from capacity.question.resilience import Breakdowns
from capacity.recovery.findings import Course, Runs, Screen, SpikeSurvived
from capacity.recovery.fluid import Fluid, amplification, is_even, patience_s
from capacity.recovery.protection import Abandoned, Ejecting, Shedding
from capacity.recovery.stress import TOLERANCE, Stress
from capacity.recovery.trigger import TriggerKind
from capacity.render.tables import sparkline
from capacity.traffic.clients import BudgetKind, Clients
from capacity.units import format_duration, format_percent, format_rate

_AT_ONCE_S = 1.5  # seconds that the eye takes for at once
_NAMES = ("no", "one", "two", "three", "four", "five", "six")
_SECOND = 1.0  # resolution of the times to recover [s]
_SHOWN_AFTER_S = 120.0  # seconds of the course to show, if nothing changes later


def stress_tables(screen: Screen, width: int, *, verbose: bool) -> Iterator[RenderableType]:
    """The screen of `capacity stress`."""
    found = screen.found
    yield Text(f"{_suffered(found)}{_best(screen)}", style="bold")
    yield Text(f"{_runs_recovered(found)}: {_why(screen)}")
    yield from (Text(one) for one in _sessions(found))
    lines = [*_smallest(screen, verbose=verbose), *_tried(screen, verbose=verbose)]
    if verbose or shows_spikes(screen):
        lines += [_spike_line(one) for one in sorted(screen.spikes, key=lambda one: -one.factor)]
    left = max((len(name) for name, _ in lines), default=0)
    yield from (Text(f" {name.ljust(left)}  {told}") for name, told in lines)
    if verbose:
        yield from _course(found, width)
        yield from _details(screen)


def shows_spikes(screen: Screen) -> bool:
    """Whether spikes that are survived are part of the short answer; if no remedy is needed, they are the answer."""
    return not screen.remedies


def _sessions(found: Runs) -> Iterator[str]:
    """What sessions went through, in a sentence; nothing where requests come by themselves."""
    around = [one for one in found.sessions_around.values() if one is not None]
    if not around:
        return
    live = " → ".join(f"{one.live:.0f}" for one in around)
    hits = " → ".join("–" if one.hit_share is None else f"{100 * one.hit_share:.0f}" for one in around)
    ttft = " → ".join("–" if one.ttft_mean_s is None else format_duration(one.ttft_mean_s) for one in around)
    yield (
        f"Before, during and after: live sessions {live}; prefix hits {hits} %; mean time to first token {ttft}."
    )


def _runs_recovered(found: Runs) -> str:
    """How many runs recovered, and what that says of any."""
    happened, count, share = found.count_recovered, len(found.runs), found.recovered
    if happened == count:
        again = f"; {found.relapsed} fell again later" if found.relapsed else ""
        meanwhile = f"{format_percent(found.goodput_during.value)} succeed meanwhile"
        told = f"{happened} of {count} runs recover {how_soon(found)} (at least {format_percent(share.low)})"
        return f"{told}; {meanwhile}{again}"
    told = f"{happened} of {count} runs recover within {_rounded(found.stress.horizon_s)}"
    most = format_percent(share.high)
    ends = f"at most {most}" if happened == 0 else f"{format_percent(share.low)} to {most}"
    return f"{told} ({ends})"


_OUT = 0.5  # share of the requests that succeed up to which users call it an outage
_MINUTES_FROM_S = 120.0


def _suffered(found: Runs) -> str:
    """What users suffered, and for how long."""
    stress, happened, count = found.stress, found.count_recovered, len(found.runs)
    what = trigger_in_words(stress).removeprefix("after ")
    comma, rate = "," if "," in what else "", format_rate(stress.rate_rps)
    what = f"{what[0].upper()}{what[1:]}{comma} at {rate}{comma}"
    name, lasted_s = _name(found), stress.ends_s - stress.begins_s
    if happened == 0:
        least = _minutes(lasted_s + stress.horizon_s, math.floor)
        return f"{what} becomes {_a(name)} of more than {least}: {_lost(found)}."
    if happened < count:
        failed = f"{count - happened} of {count} runs do not recover"
        return f"{what} may become {_a(name)} without end: {failed}, {_lost(found)}."
    if _recovery_s(found) <= _AT_ONCE_S:
        return f"{what} costs {_requests(found)}."
    return f"{what} becomes {_minutes(lasted_s + _recovery_s(found))} of {name}: {_lost(found)}."


def _name(found: Runs) -> str:
    """What users call it."""
    return "outage" if found.goodput_during.value <= _OUT else "disruption"


def _a(name: str) -> str:
    return f"{'an' if name == 'outage' else 'a'} {name}"


def _minutes(seconds: float, rounded: Callable[[float], float] = round) -> str:
    """A duration that people live through."""
    if seconds >= _MINUTES_FROM_S:
        return f"{rounded(seconds / 60.0):.0f} minutes"
    return f"{rounded(seconds):.0f} s"


def _best(screen: Screen) -> str:
    """The change after which the fleet recovers soonest, and of those loses least; empty if none makes it better."""
    known = [one for one in screen.remedies if one.found.count_recovered == len(one.found.runs)]
    best = min(known, key=lambda one: _harm(one.found), default=None)
    if best is None or _harm(best.found) >= _harm(screen.found):
        return ""
    took_s = _recovery_s(best.found)
    soon = "over at once" if took_s <= _AT_ONCE_S else f"over {_minutes(took_s)} later"
    lost = f", {_requests(best.found).split()[0]} lost" if best.found.lost.value >= 1.0 else ""
    return f" With {best.setting}: {soon}{lost}."


def _harm(found: Runs) -> tuple[float, float]:
    """Time to recover, all that is at once alike, and requests lost: less is better."""
    is_whole = found.count_recovered == len(found.runs)
    return max(_AT_ONCE_S, _recovery_s(found)) if is_whole else math.inf, found.lost.value


def _recovery_s(found: Runs) -> float:
    """How long the runs took to recover on average; infinite if none did. [s]"""
    return math.inf if found.recovery_s is None else found.recovery_s.value


def fleet_in_words(replicas: int) -> str:
    """A number of replicas, in words."""
    return f"{replicas} replica{'s' if replicas != 1 else ''}"


def trigger_in_words(stress: Stress) -> str:
    """The trigger, as the beginning of a clause."""
    cold = stress.cold
    slow = "" if cold is None else f" with {cold.batches} cold batches ({cold.factor:g}x)"
    return _trigger_alone(stress) + slow + _breakdowns(stress.breakdowns)


def _breakdowns(breakdowns: Breakdowns | None) -> str:
    if breakdowns is None:
        return ""
    often, back = _rounded(breakdowns.mtbf_s), _rounded(breakdowns.recovery_s)
    return f", with breakdowns of each replica every {often} for {back}"


def _trigger_alone(stress: Stress) -> str:
    trigger, all_of = stress.trigger, stress.plan.replicas
    lasting = format_duration(trigger.lasting_s)
    return {
        TriggerKind.SPIKE: f"after a spike of {trigger.factor:g}x for {lasting}",
        TriggerKind.LOSE: f"after losing {trigger.replicas} of {all_of} for {lasting}",
        TriggerKind.CRASH: f"after a crash of {trigger.replicas} of {all_of} for {lasting}",
        TriggerKind.HANG: f"after a hang of {trigger.replicas} of {all_of} for {lasting}",
        TriggerKind.RESTART: f"after a restart of {_hit(stress)} for {lasting}",
        TriggerKind.SPOT: f"after a spot notice of {_rounded(trigger.notice_s)} to {trigger.replicas} of "
        f"{all_of}, replaced after {_rounded(trigger.lasting_s)}",
        TriggerKind.PAUSE: f"after {lasting} of pauses of {format_duration(trigger.pause_s)}, "
        f"{60.0 * trigger.pauses_per_s:g} a minute at each replica",
        TriggerKind.STRAGGLER: f"after a slowdown of one replica by {trigger.factor:g}x for {lasting}",
        TriggerKind.ROLLOUT: f"after a rollout of {format_duration(stress.startup_s)} a replica",
    }[trigger.kind]


def _hit(stress: Stress) -> str:
    """The replicas that a trigger takes away, in words."""
    hit, all_of = stress.trigger.hit(stress.plan.replicas), stress.plan.replicas
    return f"all {all_of}" if hit == all_of > 1 else f"{hit} of {all_of}"


def _rounded(seconds: float) -> str:
    """A duration as it was typed, in the largest unit that divides it."""
    for unit, length_s in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= length_s and seconds % length_s == 0.0:
            return f"{seconds / length_s:g} {unit}"
    return format_duration(seconds)


def how_soon(found: Runs) -> str:
    """How soon a fleet recovers, in words."""
    recovery_s = found.recovery_s
    if recovery_s is None:
        return "not"
    if recovery_s.value <= _AT_ONCE_S:
        return "at once"
    below, above = recovery_s.value - recovery_s.low, recovery_s.high - recovery_s.value
    if max(above, below) < _SECOND / 2.0:
        return f"in {recovery_s.value:.0f} s"
    if recovery_s.low > 0.0 and abs(above - below) <= 1e-9 * above:
        return f"in {recovery_s.value:.0f} ± {above:.0f} s"
    return f"in {recovery_s.value:.0f} s ({recovery_s.low:.0f} to {recovery_s.high:.0f})"


def _why(screen: Screen) -> str:
    """What arrives, what is served, and what follows from that."""
    stress, law = screen.found.stress, screen.fluid
    if screen.found.exit_code == 0:
        return _why_it_recovers(stress, law)
    if stress.cold_rps is not None and stress.cold_rps < stress.rate_rps:
        return f"{_from_cold(stress.cold_rps, stress.rate_rps)}, so that what waits grows."
    tries = amplification(stress.clients, stress.rate_rps)
    comes = tries * stress.rate_rps
    served = f"the fleet serves {stress.capacity_rps:,.0f}, and what it serves comes too late"
    if comes > stress.capacity_rps:
        return f"{_attempts(stress.clients, tries)} make {comes:,.0f} rps, {served}."
    return (
        f"at most {comes:,.0f} attempts a second come, {served}; to catch up takes longer than the horizon."
    )


def _attempts(clients: Clients, tries: float) -> str:
    if clients.budget.kind is BudgetKind.NONE:
        count = round(tries)
        return f"{_NAMES[count] if count < len(_NAMES) else count} attempts"
    return f"{tries:.3g} attempts a request, as the retry budget allows,"


def _from_cold(cold_rps: float, rate_rps: float) -> str:
    return f"from empty caches and a backlog the fleet serves {cold_rps:.3g} of {rate_rps:.3g} turns/s"


def _why_it_recovers(stress: Stress, law: Fluid) -> str:
    left_rps = stress.capacity_rps * stress.trigger.left(stress.plan.replicas)
    comes_rps = stress.rate_rps * stress.spike_factor
    if not stress.trigger.waits(stress.plan.replicas):
        return "nothing can be served meanwhile, so that nothing waits when it is over."
    if is_even(stress) and comes_rps < left_rps:
        return f"{comes_rps:.4g} rps arrive meanwhile, and {left_rps:.4g} rps can be served."
    if not is_even(stress) and law.amplification * comes_rps < left_rps:
        return (
            f"even if every attempt fails, {law.amplification * comes_rps:.4g} rps arrive meanwhile, "
            f"and {left_rps:.4g} rps can be served."
        )
    patience = patience_s(stress.clients)
    if law.stuck is None or patience is None:
        return _without_a_law(stress)
    if law.amplification * stress.rate_rps < stress.capacity_rps:
        return (
            f"even if every attempt fails, {law.amplification * stress.rate_rps:.4g} rps come and "
            f"{stress.capacity_rps:.4g} are served, so that the queue drains"
            + (f" (fluid law: in {law.recovery_s:.0f} s)." if law.recovery_s else ".")
        )
    waits = format_duration(patience)
    return f"the overload ends before the queue holds more than clients wait for ({waits})."


def _without_a_law(stress: Stress) -> str:
    if patience_s(stress.clients) is None and stress.cold_rps is not None:
        if stress.cold_rps < stress.rate_rps:
            return f"{_from_cold(stress.cold_rps, stress.rate_rps)}, but caches fill before that many wait."
        return (
            f"even from empty caches and a backlog the fleet serves {stress.cold_rps:.3g} turns/s, more than the "
            f"{stress.rate_rps:.3g} that come."
        )
    if patience_s(stress.clients) is None:
        return "no client gives up, so all that waits is served in the end."
    protection = _protection(stress)
    if protection is not None:
        return f"{protection} keeps the queue short enough."
    return "what waits when it is over is served before its clients give up for good."


def _protection(stress: Stress) -> str | None:
    """What keeps the queue short; None if nothing does."""
    if stress.protection.ejection is Ejecting.NGINX:
        return "leaving out replicas that fail"
    names = {
        Shedding.LATE: "shedding what would be late",
        Shedding.CODEL: "CoDel",
        Shedding.LIFO: "serving the newest first",
        Shedding.NEW: "turning new sessions away",
    }
    if stress.protection.shedding in names:
        return names[stress.protection.shedding]
    if stress.limit is not None:
        return f"the queue limit of {stress.limit}"
    verbs = {Abandoned.DROPPED: "dropping", Abandoned.STOPPED: "stopping"}
    if stress.protection.abandoned in verbs:
        return f"{verbs[stress.protection.abandoned]} what no client waits for"
    return None


def _smallest(screen: Screen, *, verbose: bool) -> Iterator[tuple[str, str]]:
    if screen.smallest is None:
        return
    smallest = screen.smallest
    p99_s = smallest.response_p99_s
    during = "" if p99_s is None or not verbose else f" (P99 {format_duration(p99_s.value)} during it)"
    count = smallest.stress.plan.replicas
    # A fleet that was lost as a whole recovers easily, as it has no queue. It is not called the smallest.
    is_left = screen.found.stress.trigger.waits(screen.found.stress.plan.replicas)
    what = "that recovers as it is" if is_left else "of which something is left"
    yield f"{count} without any setting", f"the smallest fleet {what}{during}"


def _tried(screen: Screen, *, verbose: bool) -> Iterator[tuple[str, str]]:
    replicas = screen.found.stress.plan.replicas
    for number, remedy in enumerate(screen.remedies):
        name = f"{replicas} with" if number == 0 else " " * len(f"{replicas} with")
        yield f"{name} {remedy.setting}", outcome(remedy.found) if verbose else _in_brief(remedy.found)


def _in_brief(found: Runs) -> str:
    """The outcome of one change, in a few words."""
    happened, count = found.count_recovered, len(found.runs)
    if happened < count:
        return f"{happened} of {count} runs recover"
    lost = f", {_lost(found)}" if found.lost.value >= 1.0 else ""
    return f"{how_soon(found)}{lost}"


def outcome(found: Runs, when: str = "") -> str:
    """The outcome of one change, in words."""
    happened, count = found.count_recovered, len(found.runs)
    recover, do_not = ("recover", "do not") if found.stress.plan.replicas > 1 else ("recovers", "does not")
    if happened == 0:
        return f"{do_not} recover{when}: 0 of {count} runs"
    if happened < count:
        return f"{recover}{when} in {happened} of {count} runs"
    baseline = sum(run.baseline for run in found.runs) / count
    served = found.goodput_during.value
    if served >= baseline - TOLERANCE:
        return f"{recover} {how_soon(found)}; {format_percent(served)} succeed meanwhile"
    return f"{recover} {how_soon(found)}; {format_percent(served)} succeed meanwhile, {_lost(found)}"


def _lost(found: Runs) -> str:
    return f"{_requests(found)} lost"


def _requests(found: Runs) -> str:
    """How many requests are lost, in words."""
    if found.lost.value < 1.0:
        return "no request" if found.lost.value == 0.0 else "less than 1 request"
    lost = f"{float(f'{found.lost.value:.2g}'):,.0f}"
    return f"{lost} request{'s' if lost != '1' else ''}"


def _ends(lasting_s: Interval) -> str:
    low = format_duration(lasting_s.low)
    if math.isinf(lasting_s.high):
        return f"{low} or more" if lasting_s.low > 0.0 else "too few runs for an interval"
    return f"{low} to {format_duration(lasting_s.high)}"


def _spike_line(spike: SpikeSurvived) -> tuple[str, str]:
    name = f"spike of {spike.factor:g}x survived"
    if spike.lasting_s is None:
        law = "of any length in the end: fewer attempts come than are served, even if all fail"
        return name, law if math.isinf(
            spike.searched_s
        ) else f"up to {format_duration(spike.searched_s)} at least"
    ends = _ends(spike.lasting_s)
    return name, f"for {format_duration(spike.lasting_s.value)} (half of all runs; {ends})"


def shown_seconds(found: Runs) -> tuple[int, int]:
    """First and last second of a run whose course is worth showing."""
    stress = found.stress
    first = math.floor(stress.begins_s - max(10.0, 0.1 * stress.lasts_s))
    latest = max(run.recovered_s or 0.0 for run in found.runs)
    last = math.ceil(stress.ends_s + max(_SHOWN_AFTER_S, 1.5 * latest))
    return max(0, first), min(last, *(len(run.course.came) for run in found.runs))


def course_of(found: Runs, first: int, last: int, step: int) -> tuple[list[float], list[float]]:
    """Share of first tries that succeed, and attempts per second, as means over the runs for each `step` seconds.

    Attempts are NaN once the first of the runs was given up, as those that go on are the better ones.
    """
    courses: Sequence[Course] = [run.course for run in found.runs]
    shares, sent = [], []
    for begin in range(first, last, step):
        end = min(begin + step, last)
        came = sum(sum(one.came[begin:end]) for one in courses)
        good = sum(sum(one.succeeded[begin:end]) for one in courses)
        shares.append(good / came if came else 1.0)
        known = [one.sent[begin:end] for one in courses if len(one.sent) >= end]
        whole = len(known) == len(courses)
        sent.append(sum(map(sum, known)) / (len(known) * (end - begin)) if whole else math.nan)
    return shares, sent


def _course(found: Runs, width: int) -> Iterator[RenderableType]:
    first, last = shown_seconds(found)
    room = max(20, min(width, 100) - 34)
    step = max(1, math.ceil((last - first) / room))
    shares, sent = course_of(found, first, last, step)
    if not shares or max(shares) <= 0.0:
        return
    begins, ends = found.stress.begins_s, found.stress.ends_s
    mark = "".join(
        "━" if begins < first + (place + 1) * step and first + place * step < ends else " "
        for place in range(len(shares))
    ).rstrip()
    yield Text("")
    yield Text(f" {'trigger':<28}{mark}")
    yield Text(f" {'success of first tries':<28}{sparkline(shares)}  {format_percent(shares[-1])}")
    known = [one for one in sent if not math.isnan(one)]
    yield Text(f" {'attempts a second':<28}{sparkline(known)}  {known[-1]:.0f}")
    yield Text(f" {'':<28}one column is {step} s")


def _details(screen: Screen) -> Iterator[RenderableType]:
    found, law = screen.found, screen.fluid
    stress = found.stress
    yield Text("")
    yield Text(f" load {stress.load:.3f}, {format_rate(stress.capacity_rps)} at most")
    during = found.goodput_during
    value, low, high = (format_percent(one, 2) for one in (during.value, during.low, during.high))
    yield Text(f" success during the trigger {value} ({low} to {high})")
    yield Text(
        f" requests lost in a run {found.lost.value:,.0f} ({found.lost.low:,.0f} to {found.lost.high:,.0f})"
    )
    if found.relapsed:
        yield Text(f" {found.relapsed} of {len(found.runs)} runs fell again after they had recovered")
    if law.stuck is not None:
        told = "stuck" if law.stuck else f"back after {law.recovery_s:.3g} s"
        attempts = f"{law.amplification:.3g}"
        yield Text(
            f" fluid law: {told}; {attempts} attempt{'s' if attempts != '1' else ''} a request if all fail; "
            f"a budget of {law.critical_budget:.3g} retries a first try and more keeps it down"
        )
