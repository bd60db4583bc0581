"""Trouble: what a plan must recover from or endure, as flags and saved plans say it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from capacity.errors import InconclusiveError, InputError, UnstableError, quoted
from capacity.question import parse
from capacity.question.objective import Measure
from capacity.question.overload import Saturated
from capacity.question.plan import Plan, Routing
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario
from capacity.recovery.disturbance import Disturbances
from capacity.recovery.effect import Effects, given_flags, limits_queue, require_effect
from capacity.recovery.parse import clients_of, read_protection, read_slow_start_s, read_trigger
from capacity.recovery.protection import Abandoned, Protection
from capacity.recovery.stress import DETECTION_S, Caches, Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.kinds import server_of
from capacity.server.server import Server
from capacity.traffic.clients import Clients
from capacity.traffic.workload import Workload, is_patient

if TYPE_CHECKING:
    from capacity.answer.check import Finding
    from capacity.api.work import Work
    from capacity.question.resilience import Spike
    from capacity.recovery.findings import StressJudge
    from capacity.search.disturbed_plan import DisturbedPlan
    from capacity.search.recommendation import Recommendation
    from capacity.search.recovery_plan import RecoveryPlan


OF_STRESS = (
    "abandoned",
    "detection",
    "startup_time",
    "slow_start",
    "cold_batches",
    "client",
    "attempts",
    "backoff",
    "retry_budget",
    "retry_on",
)


def protection_of(
    server: Server,
    plan: Any,
    shed: str,
    abandoned: str | None = None,
    ejection: str | None = None,
    slow_start_s: int = 0,
) -> Protection:
    """Protection by flags; what becomes of abandoned attempts is by default what such a server can do best."""
    margin_s = server.late_margin_s(plan) if server.sheds else 0.0
    usual = Abandoned.STOPPED if server.stops else Abandoned.SERVED
    return read_protection(shed, margin_s, abandoned or usual, ejection, slow_start_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The trouble that a plan must recover from, and its clients; the fleet is still to be found."""

    within_s: float
    trigger: Trigger
    clients: Clients
    shed: str
    detection_s: float
    startup_s: float
    flags: tuple[str, ...]
    slow_start_s: int = 0

    @property
    def replicas_min(self) -> int:
        """The smallest fleet of which the trigger leaves something."""
        least = max(self.trigger.replicas, 1)
        return 1 if self.trigger.waits(1) else least if self.trigger.waits(least) else least + 1

    def stress_of(self, scenario: AnyScenario, saturated: Saturated) -> Stress:
        """The trouble of a plan.

        Args:
            saturated: function that measures saturation, for servers whose capacity no law gives.
        """
        assert isinstance(scenario.workload, Workload)  # noqa: S101  (settled before)
        server = server_of(scenario, saturated)
        return Stress(
            server=server,
            workload=scenario.workload,
            plan=scenario.plan,
            clients=self.clients,
            trigger=self.trigger,
            protection=protection_of(server, scenario.plan, self.shed, slow_start_s=self.slow_start_s),
            detection_s=self.detection_s,
            startup_s=self.startup_s,
            caches=caches_of(scenario) if server.has_sessions else None,
        )


def caches_of(scenario: AnyScenario) -> Caches | None:
    """The caches of a fleet that serves turns; None where no rate from empty ones is known."""
    from simulations.cold import cold_saturation_rps
    from simulations.saturation import session_requests

    cold_rps = cold_saturation_rps(scenario)
    if cold_rps is None:
        return None
    return Caches(
        fills_s=sum(session_requests(scenario)) / float(scenario.workload.arrival_rate_rps),
        cold_each_rps=cold_rps / scenario.plan.replicas,
        held=scenario.profile.kv.usable_tokens / scenario.lengths.moments.input,
    )


_TROUBLE = (
    "trigger", "detection", "detection_s", "slow_start", "slow_start_s", "client", "timeout", "timeout_s", "deadline",
    "deadline_s", "attempts", "backoff", "retry_budget", "retry_burst", "retry_on", "hedge", "hedge_s", "shed",
)  # fmt: skip


_FLAGS = ("recover_within", "recover_within_s", *_TROUBLE, "startup_time", "startup_time_s")


_NUMBERS: dict[str, Callable[[str], int | float]] = {"attempts": int, "retry_burst": float}


def flags_of(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The flags of `plan` about trouble, as they are typed."""
    typed = []
    for name in _FLAGS:
        value = given[name]
        is_of_a_spike = name.startswith("startup_time") and given["spike"] is not None  # and saved with that
        if value is not None and not is_of_a_spike:
            text = f"{value:g}s" if name.endswith("_s") else str(value)
            typed += [f"--{name.removesuffix('_s').replace('_', '-')}", text]
    return tuple(typed)


def _require_rate_alone(given: Mapping[str, Any]) -> None:
    """Refuse questions that cannot be planned together with trouble."""
    if given["users"] is not None or given["daily"] is not None:
        raise InputError("--recover-within plans for a --rate; leave out --users and --daily")
    if given["pause"] is not None or given["request_class"]:
        raise InputError(
            "--recover-within is not planned together with --pause or --class; ask for one at a time"
        )
    if given.get("outstanding_max") is not None:
        raise InputError(
            "--recover-within is not planned with a limit of outstanding requests; leave out one of them"
        )


def _require_effect_in_plan(given: Mapping[str, Any], trigger: Trigger, clients: Clients) -> None:
    """Refuse flags of trouble that change nothing; a start-up time may also belong to a --spike."""
    flags, routing = given_flags(given, OF_STRESS), given["routing"]
    has_sessions = given.get("sessions") is not None
    routings = (
        (Routing.SESSION,)  # a line for each replica, whichever it is
        if has_sessions
        else parse.read_routings([routing] if isinstance(routing, str) else list(routing or ()))
    )
    for one in () if has_sessions else routings:
        Protection(slow_start_s=read_slow_start_s(given)).require_weights(one)
    require_effect(
        Effects(
            flags=flags if given["spike"] is None else flags - {"startup_time"},
            trigger=trigger,
            clients=clients,
            protection=read_protection(given["shed"] or "none", 0.0, "served"),
            routings=routings,
            limits_queue=limits_queue(given),
        )
    )


def _require_trouble(within_s: float, given: Mapping[str, Any]) -> None:
    """Refuse an invalid time and a missing trigger."""
    if not 0.0 <= within_s < math.inf:
        raise InputError(f"--recover-within must be 0 or more and finite, got {within_s:g} s")
    if given["trigger"] is None:
        raise InputError("--recover-within needs a --trigger, such as lose:1,60s or spike:2x,30s")


def read_trouble(given: Mapping[str, Any]) -> Trouble | None:
    """The trouble that `plan` was asked about; None if there is none.

    Raises:
        InputError: part of it without `recover_within`, or that without a trigger or a timeout.
    """
    within_s = parse.duration_s(given["recover_within"], given["recover_within_s"], "--recover-within")
    if within_s is None:
        return None
    _require_trouble(within_s, given)
    waits = parse.duration_s(given["timeout"], given["timeout_s"], "--timeout") is None
    if waits and given.get("sessions") is None:  # of patient clients sessions alone may pile up for ever
        raise InputError("--recover-within needs the clients' --timeout, such as 500ms")
    _require_rate_alone(given)
    trouble = _trouble(given, within_s)
    _require_effect_in_plan(given, trouble.trigger, trouble.clients)
    return trouble


def _trouble(given: Mapping[str, Any], within_s: float) -> Trouble:
    """The trouble that a plan must recover from within a time, from its flags."""
    detection_s = parse.duration_s(given["detection"], given["detection_s"], "--detection")
    startup_s = parse.duration_s(given["startup_time"], given["startup_time_s"], "--startup-time")
    trigger = read_trigger(given["trigger"])
    if trigger.kind is TriggerKind.ROLLOUT and not startup_s:
        raise InputError("a rollout needs --startup-time: how long a new replica takes until it serves")
    return Trouble(
        within_s=within_s,
        trigger=trigger,
        clients=clients_of(given),
        shed=given["shed"] or "none",
        detection_s=DETECTION_S if detection_s is None else detection_s,
        startup_s=startup_s or 0.0,
        slow_start_s=read_slow_start_s(given),
        flags=flags_of(given),
    )


def saved_trouble(answer: Mapping[str, Any], spike: "Spike | None" = None) -> Trouble | None:
    """The trouble that a saved plan must recover from; None if there is none, or if its file does not say it in full.

    Args:
        spike: spike that the plan survives, whose start-up time is also that of the replicas in trouble.

    Raises:
        InputError: flags that cannot be read.
    """
    recovery = answer.get("recovery")
    flags = recovery.get("flags") if isinstance(recovery, Mapping) else None
    if not isinstance(flags, list) or not flags or len(flags) % 2:
        return None
    given: dict[str, Any] = dict.fromkeys((*_FLAGS, "spike"))
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        name = str(flag).removeprefix("--").replace("-", "_")
        if name not in given:
            raise InputError(
                f"answer.recovery.flags: {quoted(str(flag))} is no flag of trouble; make the plan again"
            )
        given[name] = _read(name, str(value))
    if spike is not None and given["startup_time"] is None:
        given["startup_time_s"] = spike.startup_time_s
    within_s = parse.duration_s(given["recover_within"], None, "--recover-within")
    return None if within_s is None or given["trigger"] is None else _trouble(given, within_s)


def _read(name: str, text: str) -> str | int | float:
    """The value of a saved flag."""
    try:
        return _NUMBERS.get(name, str)(text)
    except ValueError:
        raise InputError(
            f"answer.recovery.flags: --{name.replace('_', '-')} {quoted(text)} is no number"
        ) from None


def check_recovery(
    trouble: Trouble, setting: str | None, stress_of: Callable[[Trouble], Stress], judge: "StressJudge"
) -> "Finding":
    """Whether a saved plan still recovers in time, with the setting that it was made with."""
    from capacity.answer.check import Finding, recovery_finding, recovery_name
    from capacity.question.candidate import Verdict
    from capacity.search.recovery_plan import recovered_runs

    try:
        found = recovered_runs(stress_of(trouble), setting, trouble.within_s, judge)
    except (InconclusiveError, UnstableError) as error:
        name = recovery_name(trouble.within_s)
        return Finding(name=name, verdict=Verdict.INCONCLUSIVE, message=str(error))
    return recovery_finding(found, trouble.within_s)


def in_trouble(question: Question, trouble: Trouble | None, disturbances: Disturbances | None) -> Question:
    """The question with the requirements that trouble adds to every plan.

    Raises:
        InputError: failures to survive together with pauses, which cannot be judged; or pauses without a limit.
    """
    from capacity.question.resilience import Survival

    if disturbances is not None and not question.objective.by_quantile(Measure.RESPONSE):
        raise InputError("--pause and --class need a limit on a response quantile, such as --slo-p99 80ms")
    if disturbances is not None and not is_patient(question.workload):
        raise InputError(
            "--pause and --class are judged with clients who wait and try once; leave out --timeout, --hedge and the "
            "other flags of clients, or ask for a steady fleet and capacity stress --trigger pause:500ms,10/min"
        )
    if disturbances is not None and question.survival != Survival():
        raise InputError(
            "--pause and --class are judged with all replicas up; leave out --spare, --survive, --rolling-update, "
            "--spike and --mtbf, or plan with these alone and add the replicas that they take"
        )
    return question if trouble is None else large_enough(question, trouble)


AnyQuestion = TypeVar("AnyQuestion", bound=Question)


def large_enough(question: AnyQuestion, trouble: Trouble) -> AnyQuestion:
    """The question about fleets of which the trigger leaves something.

    Raises:
        InputError: it leaves nothing of the largest.
    """
    least = trouble.replicas_min
    if least > question.replicas_max:
        raise InputError(
            f"the trigger leaves nothing of {question.replicas_max} "
            f"replica{'' if question.replicas_max == 1 else 's'}; give --replicas-max {least} or more"
        )
    return replace(question, replicas_min=max(question.replicas_min, least))


def plan_to_recover(
    question: Question, found: "Recommendation", trouble: Trouble, work: "Work"
) -> "tuple[Recommendation, RecoveryPlan]":
    """The plan that also recovers in time."""
    from capacity.search.recovery_plan import plan_to_recover as search
    from simulations.stress import StressSimulation

    effort = work.effort

    judge = StressSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper)
    return search(
        found,
        lambda plan: trouble.stress_of(question.scenario(plan), work.judge.saturated),
        trouble.within_s,
        judge,
        partial(_replanned, question, work),
        work.report,
        replicas_min=trouble.replicas_min,
        replicas_max=question.replicas_max,
        flags=trouble.flags,
    )


def _replanned(question: Question, work: "Work", plan: Plan) -> "Recommendation":
    """One plan, confirmed for the objective like any other; how far its rate may rise is found in the end."""
    from capacity.search.plan_decision import recommend

    return recommend(
        question.for_plan(plan),
        work.judge,
        work.report,
        has_headroom=False,
        confidence=work.effort.confidence,
    )


def plan_disturbed(
    question: Question, found: "Recommendation", disturbances: Disturbances, work: "Work"
) -> "tuple[Recommendation, DisturbedPlan]":
    """The plan that meets the objective in spite of pauses and long requests."""
    from capacity.search.disturbed_plan import plan_disturbed as search
    from simulations.disturbed import Disturbed, DisturbedSimulation

    workload, effort = question.workload, work.effort
    if not isinstance(workload, Workload):
        raise InputError("--pause and --class plan for a --rate; leave out --users")
    quantiles = tuple(sorted({0.5, 0.99, *question.objective.by_quantile(Measure.RESPONSE)}))
    judge = DisturbedSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper)

    def simulate(plan: Any) -> Disturbed:
        return judge(question.profile(plan.profile), workload, plan, disturbances, quantiles)

    replan = partial(_replanned, question, work)
    return search(found, question, disturbances, simulate, replan, work.report)
