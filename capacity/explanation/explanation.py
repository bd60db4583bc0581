"""Explanation: why a plan is as it is, as data: what limits it, what it depends on, what would be enough."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from capacity.explanation.binding import Binding, find_binding
from capacity.explanation.savings import Saving, best_saving, find_savings, nearest, one_fewer
from capacity.performance import Kind, Performance
from capacity.question.candidate import Candidate, Judge, LikeIt, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import format_value
from capacity.question.overload import Saturation
from capacity.question.plan import Plan, Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.search.candidates import Progress
from capacity.search.caveats import trace_caveats
from capacity.search.exact import theory_of
from capacity.search.recommendation import CHANGE_STEP, Change
from capacity.search.what_if import (
    Asker,
    burstier,
    fewest_replicas,
    neighbours,
    shift_of,
    with_demand,
    with_service,
)
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import ClosedPopulation, PoissonArrivals, TraceArrivals, is_patient, is_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """An assumption: how it was checked, or that it was not and what would check it."""

    what: str
    checked: bool
    how: str


def find_assumptions(
    question: Question,
    plan: Plan,
    base: Candidate,
    *,
    certified: bool,
    precision: float,
    law: Performance | None = None,
) -> Iterator[Assumption]:
    """Checked assumptions, then unchecked ones.

    Args:
        law: what an exact law says of the plan; None if there is none.
        certified: whether the performance was checked on fresh random numbers.
        precision: relative half-width that was requested.
    """
    yield from _checked(question, base, certified=certified, precision=precision)
    yield from _failures(question, plan, certified=certified)
    if law is not None and base.performance is not None:
        yield from _against_law(question, base.performance, law)
    yield from _arrivals(question, base.like_it)
    yield from _profile(question, plan)
    yield from _fleet(question, plan)


def _checked(
    question: Question, base: Candidate, *, certified: bool, precision: float
) -> Iterator[Assumption]:
    performance = base.performance
    if performance is None:
        return
    if performance.kind is Kind.EXACT:
        yield Assumption(
            what="the numbers", checked=True, how="they come from an exact law, not from a simulation"
        )
        return
    trace = is_trace(question.workload)
    yield from _of_a_path(base) if trace else _steady(base)
    limit = question.objective.binding(performance)
    found = limit.found(performance)
    if found is not None:
        width = found.relative_half_width
        yield Assumption(
            what="the precision",
            checked=width <= precision,
            how=f"{limit.what} is known to {100.0 * width:.2g} %; {100.0 * precision:.2g} % was requested",
        )
    if trace:
        how = "the plan was chosen and judged with the same trace"
    elif certified:
        how = "checked on fresh random numbers, which had no part in choosing the plan"
    else:
        how = "every variant used the same random numbers; capacity plan checks its choice on fresh ones"
    yield Assumption(what="the choice", checked=certified and not trace, how=how)


def _failures(question: Question, plan: Plan, *, certified: bool) -> Iterator[Assumption]:
    """What the plan must survive, if anything."""
    events = [event for event, _ in question.events(plan)]
    if events:
        holds = "holds" if certified else "must hold"
        yield Assumption(
            what="failures",
            checked=certified,
            how=f"the objective {holds} with {', and with '.join(events)}; the time until it is noticed is left out",
        )


def _steady(base: Candidate) -> Iterator[Assumption]:
    """Whether runs were long enough."""
    how = "runs were long enough to reach it, and their second half is not slower than chance explains"
    how = how if base.settled else "runs were too short; raise --requests-max"
    yield Assumption(what="a steady state", checked=base.settled, how=how)


def _of_a_path(base: Candidate) -> Iterator[Assumption]:
    """Whether a trace has enough bursts to speak for other days, if that was asked."""
    if base.like_it is None:
        return
    is_enough = base.like_it.found is not None
    how = "enough" if is_enough else "too few"
    mend = "" if is_enough else "; record for longer"
    yield Assumption(
        what="enough bursts",
        checked=is_enough,
        how=f"{how} busy periods of the trace have late responses to tell of other days{mend}",
    )


def _against_law(question: Question, seen: Performance, law: Performance) -> Iterator[Assumption]:
    """Whether the simulated interval holds the value of an exact law."""
    limit = question.objective.binding(seen)
    found, truth = limit.found(seen), limit.found(law)
    if seen.kind is Kind.EXACT or found is None or truth is None:
        return
    holds = found.low <= truth.value <= found.high
    yield Assumption(
        what="law and simulation",
        checked=holds,
        how=f"an exact law gives {limit.what} {format_value(limit, truth)}, and the simulation "
        f"{format_value(limit, found)}{'' if holds else '; an interval may miss the true value'}",
    )


def _arrivals(question: Question, like_it: LikeIt | None) -> Iterator[Assumption]:
    workload = question.workload
    if isinstance(workload, ClosedPopulation):
        yield Assumption(
            what="closed loop", checked=False,
            how="each user has at most one request in flight, and think times are exponential",
        )  # fmt: skip
        return
    if isinstance(workload.arrivals, TraceArrivals):
        yield from (
            Assumption(what="arrivals", checked=False, how=caveat.message)
            for caveat in trace_caveats(workload, like_it)
        )
        return
    kind = "Poisson" if isinstance(workload.arrivals, PoissonArrivals) else "independent of each other"
    yield Assumption(
        what="arrivals",
        checked=False,
        how=f"assumed {kind}, at one rate; record them, and plan with --arrivals trace:FILE",
    )


def _profile(question: Question, plan: Plan) -> Iterator[Assumption]:
    names = {
        CaveatCode.PROFILE_ERROR_UNKNOWN: "the profile's own error",
        CaveatCode.PROFILE_EXCLUDES: "what the profile leaves out",
        CaveatCode.DEVICE_SHARED: "a shared device",
        CaveatCode.LENGTHS_OF_A_LAW: "lengths",
        CaveatCode.LENGTHS_CUT: "lengths",
        CaveatCode.KV_NOT_MEASURED: "the KV cache",
        CaveatCode.CACHE_HITS_ASSUMED: "the cache of prefixes",
    }
    theory = theory_of(question.profile(plan.profile))
    for caveat in theory.profile_caveats(question.scenario(plan)):
        yield Assumption(what=names.get(caveat.code, "service times"), checked=False, how=caveat.message)


def _fleet(question: Question, plan: Plan) -> Iterator[Assumption]:
    if plan.replicas > 1:
        yield Assumption(
            what="equal replicas", checked=False, how="every replica is as fast as the measured profile"
        )
    yield Assumption(
        what="order",
        checked=False,
        how="each queue is served first come, first served; "
        + (
            "no request gives up waiting"
            if is_patient(question.workload)
            else "attempts that no client waits for any more are served too"
        ),
    )
    if plan.routing is Routing.ROUND_ROBIN and plan.replicas > 1:
        yield Assumption(
            what="routing", checked=False,
            how="one balancer sees every request and sends them out in turn; several balancers, or a "
            "Kubernetes Service, amount to random routing: plan that with --routing random",
        )  # fmt: skip
    if plan.routing not in (Routing.ROUND_ROBIN, Routing.RANDOM) and plan.replicas > 1:
        yield Assumption(
            what="the router's knowledge", checked=False,
            how=f"{plan.routing.value} sees the current state of all queues, without delay",
        )  # fmt: skip
    if question.survival == Survival():
        yield Assumption(
            what="no failure",
            checked=False,
            how="no replica ever fails; --survive n-1 plans for one that does",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a plan is as it is.

    Attributes:
        base: the plan itself, with its certified performance if it has one.
        binding: what binds; None if the plan's performance is unknown.
        fewer: one device fewer, by setting; empty if there is none fewer.
        nearest: the one of these closest to the objective.
        neighbours: the next smaller and larger settings.
        sensitivities: effect of rate, service time and variation of the gaps.
        requests: number of requests simulated for all of it.
        saturation: what one replica does while requests always wait; None if theory needs no more than its rate.
        must_recover: whether the plan was asked for more than its limits, to recover from trouble in time.
    """

    plan: Plan
    base: Candidate
    binding: Binding | None
    fewer: tuple[Candidate, ...]
    nearest: Candidate | None
    neighbours: tuple[Change, ...]
    sensitivities: tuple[Change, ...]
    assumptions: tuple[Assumption, ...]
    savings: tuple[Saving, ...]
    requests: int
    saturation: Saturation | None = None
    must_recover: bool = False

    @property
    def most_sensitive(self) -> Change | None:
        """The input that moves the limiting figure most."""
        return most_sensitive(self.sensitivities)

    @property
    def best_saving(self) -> Saving | None:
        """The single change that would save most."""
        return best_saving(self.savings)


def explain_plan(
    question: Question,
    plan: Plan,
    judge: Judge,
    progress: Progress,
    *,
    performance: Performance | None = None,
    like_it: LikeIt | None = None,
    precision: float = 0.02,
    confidence: float = 0.95,
) -> Explanation:
    """The whole explanation of a plan, by laws and short trials with the same random numbers.

    Args:
        performance: certified performance of the plan; None if it has none.
        like_it: what traffic like its trace would do; None without a trace.
        precision: relative half-width that was requested.
        confidence: confidence of the interval of a service time that samples leave open.
    """
    asker = Asker(judge, progress, confidence=confidence)
    base = asker.ask(question, plan, "the plan itself", careful=True)
    law = base.performance if base.performance is not None and base.performance.kind is Kind.EXACT else None
    shown = replace(base, like_it=like_it)
    if performance is not None:
        shown = Candidate(plan=plan, verdict=Verdict.MET, performance=performance, like_it=like_it)
    binding = None if shown.performance is None else find_binding(asker, question, plan, shown)
    fewer = one_fewer(asker, question, plan)
    less = nearest(fewer, question)
    return Explanation(
        plan=plan,
        base=shown,
        binding=binding,
        fewer=tuple(fewer),
        nearest=less,
        neighbours=tuple(neighbours(asker, question, plan, base)),
        sensitivities=tuple(sensitivities(asker, question, plan, base)),
        assumptions=tuple(
            find_assumptions(
                question, plan, shown, certified=performance is not None, precision=precision, law=law
            )
        ),
        savings=tuple(find_savings(asker, question, plan, less)),
        requests=asker.requests,
        saturation=_saturation(question, plan, judge),
    )


_CV_STEP = 0.5


def sensitivities(asker: Asker, question: Question, plan: Plan, base: Candidate) -> Iterator[Change]:
    """Rate and service time ten per cent up and down, and gaps that vary half as much again."""
    asked = "rate" if hasattr(question.workload, "arrival_rate_rps") else "users"
    for step in (CHANGE_STEP, -CHANGE_STEP):
        yield _given(asker, with_demand(question, 1.0 + step), plan, base, asked, step)
    for step in (CHANGE_STEP, -CHANGE_STEP):
        yield _given(asker, with_service(question, 1.0 + step), plan, base, "service time", step)
    bursty = burstier(question.workload, 1.0 + _CV_STEP)
    if bursty is not None:
        yield _given(asker, replace(question, workload=bursty), plan, base, "cv", _CV_STEP)


def most_sensitive(changes: tuple[Change, ...]) -> Change | None:
    """The input that moves the limiting figure most for each 10 %; None if none does."""
    most = max(changes, key=lambda change: change.shift_per_step, default=None)
    return most if most is not None and most.shift_per_step > 0.0 else None


def _given(asker: Asker, question: Question, plan: Plan, base: Candidate, what: str, step: float) -> Change:
    candidate = asker.ask(question, plan, f"{what} {100.0 * step:+g} %", careful=True)
    return Change(
        what=what,
        plan=plan,
        candidate=candidate,
        step=step,
        shift=shift_of(question, base, candidate),
        replicas=fewest_replicas(asker, question, plan, candidate),
    )


def _saturation(question: Question, plan: Plan, judge: Judge) -> Saturation | None:
    """What one replica does while requests always wait; None where that depends on what caches find."""
    if are_sessions(question.space.lengths):
        return None
    found: Saturation | None = theory_of(question.profile(plan.profile)).saturation(
        question.scenario(plan), judge
    )
    return found
