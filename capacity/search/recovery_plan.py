"""Recovery plan: the cheapest fleet that meets the objective and comes back in time after a trigger."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from capacity.errors import InconclusiveError, InputError, quoted
from capacity.recovery.findings import Remedy, Run, Runs, StressJudge
from capacity.recovery.parse import read_budget, read_protection, read_slow_start_s
from capacity.recovery.stress import Stress
from capacity.search.recommendation import Recommendation
from capacity.search.stress import Report, remedies, smallest_fleet

# A setting that serves this much more meanwhile is the better one; below that the first is.
_MORE_GOODPUT = 0.02
# Share of the requests before the trigger that a setting may make fail.
_HARM = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """What it takes to come back in time, beside what the objective alone would take.

    Attributes:
        within_s: how soon after the trigger's end all runs must have recovered. [s]
        as_planned: the fleet that the objective alone would take, as it is.
        setting: the flag that makes the recommended fleet recover; None where it does as it is.
        chosen: the recommended fleet with that setting; None where none that recovers meets the objective too.
        tried: settings, each of them alone, at the fleet of the objective.
        as_is: the smallest fleet that recovers in time without any setting; None where none does.
        replicas_min: the smallest fleet of which the trigger leaves something; no smaller one was looked at.
        flags: what was asked, as it is typed.
    """

    within_s: float
    as_planned: Runs
    setting: str | None
    chosen: Runs | None
    tried: tuple[Remedy, ...]
    as_is: Runs | None
    replicas_min: int = 1
    flags: tuple[str, ...] = ()


def is_in_time(found: Runs, within_s: float) -> bool:
    """Whether all runs recover, and soon enough."""
    return all(run.recovered_s is not None and run.recovered_s <= within_s for run in found.runs)


def with_setting(stress: Stress, setting: str | None) -> Stress:
    """The same stress with a setting, as `RecoveryPlan.setting` names it; what the plan itself has stays.

    Raises:
        InputError: a setting that no plan is given.
    """
    if setting is None:
        return stress
    same = next((changed for name, changed in remedies(stress) if name == setting), None)
    if same is not None:
        return same
    flag, _, value = setting.partition(" ")
    if flag == "--queue-limit" and value.isdecimal():
        return stress.with_limit(int(value))
    if flag == "--retry-budget":
        return replace(stress, clients=replace(stress.clients, budget=read_budget(value, None)))
    if flag == "--shed" and (stress.server.sheds or stress.server.has_sessions):
        margin_s = stress.server.late_margin_s(stress.plan) if stress.server.sheds else 0.0
        kept = stress.protection
        shedding = read_protection(value, margin_s, kept.abandoned, slow_start_s=kept.slow_start_s)
        return replace(stress, protection=shedding)
    if flag == "--slow-start":
        slowly = replace(stress.protection, slow_start_s=read_slow_start_s({"slow_start": value}))
        return replace(stress, protection=slowly)
    raise InputError(f"{quoted(setting)} is no setting with which a plan recovers; make the plan again")


def recovered_runs(stress: Stress, setting: str | None, within_s: float, judge: StressJudge) -> Runs:
    """The runs of a fleet in trouble with a setting, as the plan was judged by; later recoveries count as none."""
    in_time = _InTime(judge, within_s)
    return in_time(with_setting(in_time.asked(stress), setting))


def plan_to_recover(
    planned: Recommendation[Any],
    stress_of: Callable[[Any], Stress],
    within_s: float,
    judge: StressJudge,
    replan: Callable[[Any], Recommendation[Any]],
    report: Report,
    *,
    replicas_max: int,
    replicas_min: int = 1,
    flags: tuple[str, ...] = (),
) -> tuple[Recommendation[Any], RecoveryPlan]:
    """The plan that recovers in time: as it is, else with one more setting, else with more replicas.

    Args:
        stress_of: the trouble of a plan.
        replan: one plan, confirmed for the objective like any other.
    """
    assert planned.plan is not None  # noqa: S101  (there is nothing to recover otherwise)
    in_time = _InTime(judge, within_s)

    def asked(plan: Any) -> Stress:
        return in_time.asked(stress_of(plan))

    report("what the plan does in trouble")
    as_planned = in_time(asked(planned.plan))
    found = RecoveryPlan(
        within_s=within_s,
        as_planned=as_planned,
        setting=None,
        chosen=as_planned,
        tried=(),
        as_is=as_planned,
        replicas_min=replicas_min,
        flags=flags,
    )
    if is_in_time(as_planned, within_s):
        return planned, found
    tried = tuple(_tried(asked(planned.plan), in_time, report))
    as_is, _ = smallest_fleet(as_planned, in_time, report, replicas_max)
    enough = [one for one in tried if is_in_time(one.found, within_s) and is_harmless(one.found, as_planned)]
    planned, setting, chosen = _with_a_setting(planned, enough, replan)
    if chosen is None and as_is is not None:
        planned, chosen = _with_more_replicas(
            planned, as_is, replan, lambda plan: in_time(asked(plan)), within_s
        )
    return planned, replace(found, setting=setting, chosen=chosen, tried=tried, as_is=as_is)


def _with_a_setting(
    planned: Recommendation[Any], enough: list[Remedy], replan: Callable[[Any], Recommendation[Any]]
) -> tuple[Recommendation[Any], str | None, Runs | None]:
    """The best setting with which the plan still meets the objective; None if there is none."""
    for remedy in _best_first(enough):
        plan = remedy.found.stress.plan
        again = planned if plan == planned.plan else replan(plan)
        if again.plan == plan:
            return again, remedy.setting, remedy.found
    return planned, None, None


def _with_more_replicas(
    planned: Recommendation[Any],
    as_is: Runs,
    replan: Callable[[Any], Recommendation[Any]],
    in_trouble: Callable[[Any], Runs],
    within_s: float,
) -> tuple[Recommendation[Any], Runs | None]:
    """The smallest fleet that recovers, or what it grows to when it is confirmed; None if none can be."""
    again = replan(as_is.stress.plan)
    if again.plan is None:
        return planned, None
    found = as_is if again.plan == as_is.stress.plan else in_trouble(again.plan)
    return (again, found) if is_in_time(found, within_s) else (planned, None)


class _InTime:
    """A judge that looks no further than a recovery would be in time; later ones count as none."""

    def __init__(self, judge: StressJudge, within_s: float) -> None:
        self._judge, self._within_s = judge, within_s
        self.runs, self.confidence, self.each = judge.runs, judge.confidence, judge.each

    def with_runs(self, runs: int) -> "_InTime":
        """The same with this number of runs."""
        return _InTime(self._judge.with_runs(runs), self._within_s)

    def asked(self, stress: Stress) -> Stress:
        """The same stress with a horizon that is just long enough."""
        return replace(stress, horizon_s=self._within_s + stress.steady_s + stress.window_s + 1.0)

    def __call__(self, stress: Stress) -> Runs:
        found = self._judge(stress)
        return replace(found, runs=tuple(self._late_as_none(run) for run in found.runs))

    def _late_as_none(self, run: Run) -> Run:
        is_late = run.recovered_s is not None and run.recovered_s > self._within_s
        return replace(run, recovered_s=None) if is_late else run


def _tried(stress: Stress, in_time: "_InTime", report: Report) -> Iterator[Remedy]:
    for name, changed in remedies(stress):
        report(f"trying {name}")
        with suppress(InconclusiveError):  # with this setting most requests fail before the trigger
            yield Remedy(setting=name, found=in_time(changed))


def is_harmless(found: Runs, as_planned: Runs) -> bool:
    """Whether before the trigger, in which all is well, a setting makes no requests fail."""
    before, changed = (sum(run.baseline for run in one.runs) / len(one.runs) for one in (as_planned, found))
    return changed >= before - _HARM


def _best_first(enough: list[Remedy]) -> Iterator[Remedy]:
    """The setting with which most succeed meanwhile, or the first of those that do about as well; then the next."""
    left = list(enough)
    while left:
        most = max(one.found.goodput_during.value for one in left)
        best = next(one for one in left if one.found.goodput_during.value >= most - _MORE_GOODPUT)
        left.remove(best)
        yield best
