"""Screen of `capacity stress`: the verdict, the reasons, what would help, and the course of a run."""

import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from capacity.performance import Interval
from capacity.question.resilience import Breakdowns
from capacity.recovery.findings import Course, Runs, Screen, SpikeSurvived
from capacity.recovery.fluid import Fluid, amplification, is_even, patience_s
from capacity.recovery.protection import Abandoned, Shedding
from capacity.recovery.stress import TOLERANCE, Stress
from capacity.recovery.trigger import TriggerKind
from capacity.render.tables import sparkline
from capacity.traffic.clients import BudgetKind, Clients
from capacity.units import format_duration, format_rate

_AT_ONCE_S = 1.5  # seconds that the eye takes for at once
_NAMES = ("no", "one", "two", "three", "four", "five", "six")
_SHOWN_AFTER_S = 120.0  # seconds of the course to show, if nothing changes later


def stress_tables(screen: Screen, width: int, *, verbose: bool) -> Iterator[RenderableType]:
    """The screen of `capacity stress`."""
    found = screen.found
    yield Text(_verdict(found), style="bold")
    yield Text(f"Why: {_why(screen)}")
    lines = (
        list(_smallest(screen))
        + list(_tried(screen))
        + [_spike_line(one) for one in sorted(screen.spikes, key=lambda one: -one.factor)]
    )
    left = max((len(name) for name, _ in lines), default=0)
    yield from (Text(f" {name.ljust(left)}  {told}") for name, told in lines)
    yield from _course(found, width)
    if verbose:
        yield from _details(screen)


def fleet_in_words(replicas: int) -> str:
    """A number of replicas, in words."""
    return f"{replicas} replica{'s' if replicas != 1 else ''}"


def _verdict(found: Runs) -> str:
    stress = found.stress
    happened, count = found.count_recovered, len(found.runs)
    plural = stress.plan.replicas != 1
    fleet = f"{fleet_in_words(stress.plan.replicas)} at {format_rate(stress.rate_rps)}"
    when = f"{trigger_in_words(stress)}"
    horizon = f"within {_rounded(stress.horizon_s)}"
    if happened == count:
        verb = "recover" if plural else "recovers"
        told = (
            f"{fleet} {verb} {when}, {how_soon(found)}: all {count} runs (at least {found.recovered.low:.0%})"
        )
        return f"{told}; {_meanwhile(found)}."
    if happened == 0:
        verb = "do not recover" if plural else "does not recover"
        return f"{fleet} {verb} {when}: 0 of {count} runs {horizon} (at most {found.recovered.high:.0%})."
    verb = "recover" if plural else "recovers"
    return (
        f"{fleet} {verb} {when} in {happened} of {count} runs {horizon} "
        f"({found.recovered.low:.0%} to {found.recovered.high:.0%})."
    )


def _meanwhile(found: Runs) -> str:
    """Success during the trigger, losses, and relapses."""
    told = f"{found.goodput_during.value:.0%} succeed meanwhile"
    if found.lost.value >= 1.0:
        told += f", {_lost(found)}"
    if found.relapsed:
        told += f"; {found.relapsed} of {len(found.runs)} runs fell again later"
    return told


def trigger_in_words(stress: Stress) -> str:
    """The trigger, as the beginning of a clause."""
    cold = stress.cold
    slow = "" if cold is None else f" and {cold.batches} cold batches ({cold.factor:g}x)"
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
        TriggerKind.HANG: f"after {trigger.replicas} of {all_of} hung for {lasting}",
        TriggerKind.SPOT: f"after a spot notice of {_rounded(trigger.notice_s)} to {trigger.replicas} of "
        f"{all_of}, replaced after {_rounded(trigger.lasting_s)}",
        TriggerKind.PAUSE: f"after {lasting} of pauses of {format_duration(trigger.pause_s)}, "
        f"{60.0 * trigger.pauses_per_s:g} a minute at each replica",
        TriggerKind.STRAGGLER: f"after one replica was {trigger.factor:g} times slower for {lasting}",
        TriggerKind.ROLLOUT: f"after a rollout, {format_duration(stress.startup_s)} a replica",
    }[trigger.kind]


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
    if recovery_s.low > 0.0 and abs(above - below) <= 1e-9 * above:
        return f"in {recovery_s.value:.0f} ± {above:.0f} s"
    return f"in {recovery_s.value:.0f} s ({recovery_s.low:.0f} to {recovery_s.high:.0f})"


def _why(screen: Screen) -> str:
    """What arrives, what is served, and what follows from that."""
    stress, law = screen.found.stress, screen.fluid
    if screen.found.exit_code == 0:
        return _why_it_recovers(stress, law)
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


def _why_it_recovers(stress: Stress, law: Fluid) -> str:
    left_rps = stress.capacity_rps * stress.trigger.left(stress.plan.replicas)
    comes_rps = stress.rate_rps * stress.spike_factor
    if left_rps == 0.0:
        return "nothing can be served meanwhile, so that nothing waits when it is over."
    if is_even(stress) and comes_rps < left_rps:
        return f"{comes_rps:.4g} rps come meanwhile, and {left_rps:.4g} can be served."
    if not is_even(stress) and law.amplification * comes_rps < left_rps:
        return (
            f"even if every attempt fails, {law.amplification * comes_rps:.4g} rps come meanwhile, "
            f"and {left_rps:.4g} can be served."
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
    if patience_s(stress.clients) is None:
        return "no client gives up, so all that waits is served in the end."
    protection = _protection(stress)
    if protection is not None:
        return f"{protection} keeps the queue short enough."
    return "what waits when it is over is served before its clients give up for good."


def _protection(stress: Stress) -> str | None:
    """What keeps the queue short; None if nothing does."""
    names = {
        Shedding.LATE: "shedding what would be late",
        Shedding.CODEL: "CoDel",
        Shedding.LIFO: "serving the newest first",
    }
    if stress.protection.shedding in names:
        return names[stress.protection.shedding]
    if stress.limit is not None:
        return f"the queue limit of {stress.limit}"
    verbs = {Abandoned.DROPPED: "dropping", Abandoned.STOPPED: "stopping"}
    if stress.protection.abandoned in verbs:
        return f"{verbs[stress.protection.abandoned]} what no client waits for"
    return None


def _smallest(screen: Screen) -> Iterator[tuple[str, str]]:
    if screen.smallest is None:
        return
    smallest = screen.smallest
    p99_s = smallest.response_p99_s
    during = "" if p99_s is None else f" (P99 {format_duration(p99_s.value)} during it)"
    count = smallest.stress.plan.replicas
    # A fleet that was lost as a whole recovers easily, as it has no queue. It is not called the smallest.
    left = screen.found.stress.trigger.left(screen.found.stress.plan.replicas)
    name = (
        "smallest fleet that recovers as it is" if left > 0.0 else "smallest fleet of which something is left"
    )
    yield name, f"{count}{during}"


def _tried(screen: Screen) -> Iterator[tuple[str, str]]:
    replicas = screen.found.stress.plan.replicas
    for number, remedy in enumerate(screen.remedies):
        name = f"{replicas} with" if number == 0 else " " * len(f"{replicas} with")
        yield f"{name} {remedy.setting}", outcome(remedy.found)


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
        return f"{recover} {how_soon(found)}; {served:.0%} succeed meanwhile"
    return f"{recover} {how_soon(found)}; {served:.0%} succeed meanwhile, {_lost(found)}"


def _lost(found: Runs) -> str:
    lost = f"{float(f'{found.lost.value:.2g}'):,.0f}"
    return f"{lost} request{'s' if lost != '1' else ''} lost"


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
    yield Text(f" {'success of first tries':<28}{sparkline(shares)}  {shares[-1]:.0%}")
    known = [one for one in sent if not math.isnan(one)]
    yield Text(f" {'attempts a second':<28}{sparkline(known)}  {known[-1]:.0f}")
    yield Text(f" {'':<28}one column is {step} s")


def _details(screen: Screen) -> Iterator[RenderableType]:
    found, law = screen.found, screen.fluid
    stress = found.stress
    yield Text("")
    yield Text(f" load {stress.load:.3f}, {format_rate(stress.capacity_rps)} at most")
    during = found.goodput_during
    yield Text(f" success during the trigger {during.value:.2%} ({during.low:.2%} to {during.high:.2%})")
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
