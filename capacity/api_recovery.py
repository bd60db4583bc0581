"""The verb `stress`: whether a fleet recovers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capacity.answer.plan_like import Saved, as_saved, is_llm_plan, llm_plan
from capacity.doors import Asked, door
from capacity.errors import InconclusiveError, InputError, UnstableError, quoted
from capacity.profile.load import ProfileLike
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.candidate import Judge
from capacity.question.objective import Measure
from capacity.question.overload import Saturation
from capacity.question.plan import REPLICAS_LIMIT
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario
from capacity.question.verbs import refuse_for_batches
from capacity.recovery.disturbance import Disturbances
from capacity.recovery.effect import Effects, given_flags, require_effect
from capacity.recovery.parse import clients_of, has_clients, read_cold, read_protection, read_trigger
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.recovery.stress import DETECTION_S, Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.server import TokenEngine
from capacity.traffic.clients import Clients
from capacity.traffic.workload import Workload, is_patient
from capacity.units import require_count

if TYPE_CHECKING:
    from capacity.answer.check import Finding
    from capacity.answer.saved_plan import SavedPlan
    from capacity.api_work import Work
    from capacity.question.resilience import Breakdowns, Spike, Survival
    from capacity.recovery.findings import StressJudge
    from capacity.recovery_answers import StressAnswer
    from capacity.search.disturbed_plan import DisturbedPlan
    from capacity.search.recommendation import Recommendation
    from capacity.search.recovery_plan import RecoveryPlan
    from capacity.traffic.workload import ArrivalProcess
    from simulations.judge import SimulationJudge

RUNS_MAX = 10_000
_OF_STRESS = (
    "abandoned",
    "detection",
    "startup_time",
    "cold_batches",
    "client",
    "attempts",
    "backoff",
    "retry_budget",
    "retry_on",
)


@door("stress")
def stress(asked: Asked) -> "StressAnswer":
    """Whether a fleet recovers by itself after trouble, and the smallest change with which it does if not.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        UnstableError: the fleet cannot sustain the arrival rate without any trouble.
        InconclusiveError: most requests fail before the trigger.

    >>> answer = stress("resnet50-t4-fp16", rate="800rps", replicas=2, trigger="lose:1,10s", timeout="200ms",
    ...                 runs=5, only_verdict=True, horizon="1min")
    >>> answer.recovered.value
    1.0
    """
    if asked.plan is None and hasattr(asked.profile, "to_saved"):  # an answer is a scenario
        asked = Asked("stress", {**asked, "profile": None, "plan": asked.profile})
    saved = None if asked.plan is None else as_saved(asked.plan)
    _require_sense(asked)
    given = {**asked, "plan": saved}
    is_llm = _is_llm(asked.profile, saved)
    scenario = _token_stress(given) if is_llm else _batch_stress(given)
    require_effect(
        Effects(
            flags=given_flags(given, _OF_STRESS),
            trigger=scenario.trigger,
            clients=scenario.clients,
            protection=scenario.protection,
            routings=(scenario.plan.routing,),
            limits_queue=scenario.limit is not None,
            breaks_down=scenario.breakdowns is not None,
        )
    )
    effort = asked.effort
    from capacity.api_work import at_work
    from capacity.recovery_answers import StressAnswer
    from capacity.search.stress import screen
    from simulations.stress import StressSimulation

    with at_work(effort, asked.progress) as work:
        judge = StressSimulation(
            seed=effort.seed, runs=asked.runs, confidence=effort.confidence, mapper=work.mapper
        )
        found = screen(
            scenario,
            judge,
            work.report,
            replicas_max=asked.replicas_max,
            only_verdict=asked.only_verdict,
            is_map=asked.spike_map,
        )
    return StressAnswer(screen=found, effort=effort)


def _require_sense(asked: Asked) -> None:
    """Refuse contradictions and invalid values before anything is read."""
    trigger, runs, arrivals = asked.trigger, asked.runs, asked.arrivals
    if asked.replicas is not None:
        require_count("--replicas", asked.replicas, most=REPLICAS_LIMIT)
    if not isinstance(trigger, str):
        raise InputError(f"trigger={trigger!r} is none; write text such as lose:1,60s")
    if isinstance(runs, bool) or not isinstance(runs, int) or not 2 <= runs <= RUNS_MAX:
        raise InputError(f"--runs must be from 2 to {RUNS_MAX}, got {runs}")
    if asked.only_verdict and asked.spike_map:
        raise InputError("--map is of spikes, which --only-verdict leaves out; leave out one of the two")
    if isinstance(arrivals, str) and arrivals.startswith("trace"):
        raise InputError(
            "a trace ends when its requests do; give --rate, and --arrivals gamma or mmpp for bursts"
        )
    if (asked.profile is None) == (asked.plan is None):
        raise InputError("give either a saved --plan, or --profile with --rate and --replicas")


def _is_llm(profile: ProfileLike | None, plan: Saved | None) -> bool:
    """Whether the fleet serves a language model."""
    if plan is not None:
        return is_llm_plan(plan)
    assert profile is not None  # noqa: S101  (one of the two is given)
    return not isinstance(parse.find_profile(profile), ServiceProfile)


def _trouble_of(given: Mapping[str, Any], abandoned: Abandoned, late_s: float) -> dict[str, Any]:
    """Fields of `Stress` that every fleet has."""
    unseen_s, horizon_s = parse.seconds_of(given, "detection"), given["horizon_s"]
    horizon = None if horizon_s is not None else given["horizon"]
    return {
        "clients": clients_of(given),
        "trigger": read_trigger(given["trigger"]),
        "protection": read_protection(
            given["shed"] or "none", late_s, given["abandoned"] or abandoned, ejection=given["ejection"]
        ),
        "detection_s": DETECTION_S if unseen_s is None else unseen_s,
        "startup_s": parse.seconds_of(given, "startup_time") or 0.0,
        "cold": None if given["cold_batches"] is None else read_cold(given["cold_batches"]),
        "breakdowns": _breakdowns_of(given),
        "horizon_s": parse.duration_s(horizon, horizon_s, "--horizon") or 0.0,
    }


def _breakdowns_of(given: Mapping[str, Any]) -> "Breakdowns | None":
    """Breakdowns beside the trigger, from flags or else from a saved plan that has to survive some."""
    from capacity.answer.saved_plan import read_plans

    found = parse.read_breakdowns(given)
    if found is not None or given["plan"] is None:
        return found
    (saved,) = read_plans([given["plan"]])
    survival: Survival = saved.question.survival
    return survival.breakdowns


def _batch_stress(given: Mapping[str, Any]) -> Stress:
    """A fleet of replicas that serve batches, in trouble."""
    refuse_for_batches(given)
    measured, workload, fleet = _fleet(
        given["profile"],
        given["plan"],
        parse.rate_rps(given["rate"], given["rate_rps"]),
        given["arrivals"],
        given["replicas"],
        given["batch_size_max"],
        parse.duration_s(given["batch_wait"], given["batch_wait_s"], "--batch-wait"),
        given["routing"],
        given["queue_limit"],
        parse.duration_s(given["request_overhead"], given["request_overhead_s"], "--request-overhead"),
    )
    late_s = measured.law(fleet.batch_size_max).quantile_s(0.99)
    trouble = _trouble_of(given, Abandoned.SERVED, late_s)
    if not has_clients(given):
        trouble["clients"] = workload.clients
    return Stress(server=BatchServer(profile=measured), workload=workload, plan=fleet, **trouble)


def _token_stress(given: Mapping[str, Any]) -> Stress:
    """A fleet of engines of a language model, in trouble."""
    from capacity.api_llm import fleet_in_trouble

    trouble = _trouble_of(given, Abandoned.STOPPED, 0.0)
    _refuse_for_engines(trouble["protection"], given)
    saved = None if given["plan"] is None else llm_plan(given["plan"])
    found = None if saved is not None else parse.find_profile(given["profile"])
    assert not isinstance(found, ServiceProfile)  # noqa: S101  (it was looked at before)
    scenario, saturation = fleet_in_trouble(found, saved, given["replicas"], given)
    return Stress(
        server=TokenEngine.of(scenario, saturation),
        workload=scenario.workload,
        plan=replace(scenario.plan, queue_limit=given["queue_limit"]),
        **trouble,
    )


def _refuse_for_engines(protection: Protection, given: Mapping[str, Any]) -> None:
    refuse_shedding(protection.shedding)
    if protection.abandoned is Abandoned.DROPPED:
        raise InputError(
            "engines of language models stop attempts that no client waits for, or serve them; give "
            "--abandoned stopped or served"
        )
    if given["cold_batches"] is not None:
        raise InputError(
            "--cold-batches does not apply to engines of language models, which form no batches; leave it out"
        )
    if given["queue_limit"] == 0:
        raise InputError(
            "--queue-limit 0 lets nothing into an engine, where all wait for the next step; give 1 or more"
        )
    if given["queue_limit"] is not None:
        require_count("--queue-limit", given["queue_limit"])


def refuse_shedding(shedding: str) -> None:
    """Refuse shedding, which engines do not have."""
    if shedding != Shedding.NONE:
        raise InputError(
            "--shed does not apply to engines of language models, which admit in order; a gateway can hold a limit of "
            "what waits, which capacity stress --queue-limit 20 tries"
        )


def _fleet(
    profile: ProfileLike | None,
    plan: "str | Path | SavedPlan | None",
    rate_rps: float | None,
    arrivals: "str | ArrivalProcess",
    replicas: int | None,
    batch_size_max: int | None,
    batch_wait_s: float | None,
    routing: str | None,
    queue_limit: int | None,
    overhead_s: float | None,
) -> tuple[ServiceProfile, Workload, BatchPlan]:
    """Profile, workload and plan: from a saved plan, changed by the other flags, or from flags alone."""
    if plan is not None:
        if arrivals != "poisson" or overhead_s is not None:
            raise InputError("a saved plan has arrivals and an overhead of its own; leave these flags out")
        measured, demand, saved = _saved(plan, rate_rps)
        fleet = BatchPlan(
            profile=saved.profile,
            replicas=saved.replicas if replicas is None else replicas,
            batch_size_max=saved.batch_size_max if batch_size_max is None else batch_size_max,
            batch_wait_max_s=saved.batch_wait_max_s if batch_wait_s is None else batch_wait_s,
            routing=saved.routing if routing is None else parse.read_routing(routing),
            batching=saved.batching,
            preferred_sizes=saved.preferred_sizes,
            queue_limit=saved.queue_limit if queue_limit is None else queue_limit,
        )
        return measured, demand, fleet
    assert profile is not None  # noqa: S101  (settled above)
    if rate_rps is None or replicas is None:
        raise InputError("--profile needs --rate and --replicas too; or give a saved --plan, which has both")
    measured = parse.read_profile(profile, overhead_s, None)
    workload = parse.read_demand(arrivals, rate_rps, None, None)
    assert isinstance(workload, Workload)  # noqa: S101  (no users were given)
    fleet = BatchPlan(
        profile=measured.name,
        replicas=replicas,
        batch_size_max=measured.batch_size_max if batch_size_max is None else batch_size_max,
        batch_wait_max_s=batch_wait_s or 0.0,
        routing=parse.read_routing(routing or "round-robin"),
        queue_limit=queue_limit,
    )
    return measured, workload, fleet


def _saved(
    plan: "str | Path | SavedPlan", rate_rps: float | None
) -> tuple[ServiceProfile, Workload, BatchPlan]:
    from capacity.answer.saved_plan import read_plans

    (saved,) = read_plans([plan])
    demand = saved.question.workload
    if isinstance(demand, Workload):
        if rate_rps is not None:
            demand = replace(demand, arrival_rate_rps=rate_rps)
    elif rate_rps is None:
        raise InputError(
            f"{saved.name} was planned for users in a closed loop, who never overload; give a --rate"
        )
    else:
        demand = Workload(arrival_rate_rps=rate_rps)
    return saved.question.profile(saved.plan.profile), demand, saved.plan


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

    @property
    def replicas_min(self) -> int:
        """The smallest fleet of which the trigger leaves something."""
        return 1 if self.trigger.left(1) > 0.0 else max(self.trigger.replicas, 1) + 1

    def stress_of(self, scenario: AnyScenario, judge: Judge) -> Stress:
        """The trouble of a plan before the judge."""
        if scenario.lengths is None:
            return self.stress(scenario)
        return self.token_stress(scenario, judge.saturated(scenario))

    def token_stress(self, scenario: TokenScenario, saturation: Saturation) -> Stress:
        """The trouble of engines; they stop attempts that no client waits for, as in `stress`."""
        return Stress(
            server=TokenEngine.of(scenario, saturation),
            workload=scenario.workload,
            plan=scenario.plan,
            clients=self.clients,
            trigger=self.trigger,
            protection=Protection(abandoned=Abandoned.STOPPED),
            detection_s=self.detection_s,
            startup_s=self.startup_s,
        )

    def stress(self, scenario: AnyScenario) -> Stress:
        """The trouble of a fleet that batches."""
        measured, workload, plan = scenario.profile, scenario.workload, scenario.plan
        assert isinstance(workload, Workload)  # noqa: S101  (settled before)
        late_s = measured.law(plan.batch_size_max).quantile_s(0.99)
        return Stress(
            server=BatchServer(profile=measured),
            workload=workload,
            plan=plan,
            clients=self.clients,
            trigger=self.trigger,
            protection=read_protection(self.shed, late_s, "served", ejection=False),
            detection_s=self.detection_s,
            startup_s=self.startup_s,
        )


_TROUBLE = (
    "trigger", "detection", "detection_s", "client", "timeout", "timeout_s", "deadline", "deadline_s", "attempts",
    "backoff", "retry_budget", "retry_burst", "retry_on", "hedge", "hedge_s", "shed",
)  # fmt: skip


_ONLY_TROUBLE = ("trigger", "detection", "detection_s", "shed")  # clients are there in any case
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


def _require_effect_in_plan(given: Mapping[str, Any], trigger: Trigger, clients: Clients) -> None:
    """Refuse flags of trouble that change nothing; a start-up time may also belong to a --spike."""
    flags, routing = given_flags(given, _OF_STRESS), given["routing"]
    require_effect(
        Effects(
            flags=flags if given["spike"] is None else flags - {"startup_time"},
            trigger=trigger,
            clients=clients,
            protection=read_protection(given["shed"] or "none", 0.0, "served", ejection=False),
            routings=parse.read_routings([routing] if isinstance(routing, str) else list(routing or ())),
            limits_queue=given["queue_limit"] is not None,
        )
    )


def _require_trouble(within_s: float, given: Mapping[str, Any]) -> None:
    """Refuse an invalid time, a missing trigger, and values that are not text."""
    if not 0.0 <= within_s < math.inf:
        raise InputError(f"--recover-within must be 0 or more and finite, got {within_s:g} s")
    if given["trigger"] is None:
        raise InputError("--recover-within needs a --trigger, such as lose:1,60s or spike:2x,30s")
    for name in ("trigger", "shed"):
        if given[name] is not None and not isinstance(given[name], str):
            raise InputError(f"{name}={given[name]!r} is none; write text such as lose:1,60s or late:50ms")


def read_trouble(given: Mapping[str, Any]) -> Trouble | None:
    """The trouble that `plan` was asked about; None if there is none.

    Raises:
        InputError: part of it without `recover_within`, or that without a trigger or a timeout.
    """
    within_s = parse.duration_s(given["recover_within"], given["recover_within_s"], "--recover-within")
    if within_s is None:
        for name in _ONLY_TROUBLE:
            if given[name] is not None:
                raise InputError(f"--{name.replace('_', '-')} belongs to --recover-within 60s; give that too")
        return None
    _require_trouble(within_s, given)
    if parse.duration_s(given["timeout"], given["timeout_s"], "--timeout") is None:
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
    from capacity.search.planner import recommend
    from capacity.search.recovery_plan import plan_to_recover as search
    from simulations.stress import StressSimulation

    effort = work.effort

    def replan(plan: BatchPlan) -> "Recommendation":
        return recommend(question.for_plan(plan), work.judge, work.report, confidence=effort.confidence)

    judge = StressSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper)
    return search(
        found,
        lambda plan: trouble.stress(question.scenario(plan)),
        trouble.within_s,
        judge,
        replan,
        work.report,
        replicas_min=trouble.replicas_min,
        replicas_max=question.replicas_max,
        flags=trouble.flags,
    )


def plan_engines_to_recover(
    question: Question,
    found: "Recommendation",
    trouble: Trouble,
    engines: "SimulationJudge",
    report: Callable[[str], None],
) -> "tuple[Recommendation, RecoveryPlan]":
    """The plan for a language model that also comes back in time."""
    from capacity.search.planner import recommend
    from capacity.search.recovery_plan import plan_to_recover as search
    from simulations.stress import StressSimulation

    def stress_of(plan: TokenPlan) -> Stress:
        scenario = question.scenario(plan)
        return trouble.token_stress(scenario, engines.saturated(scenario))

    def replan(plan: TokenPlan) -> "Recommendation":
        return recommend(question.for_plan(plan), engines, report, has_headroom=False)

    judge = StressSimulation(seed=engines.seed, confidence=engines.confidence, mapper=engines.mapper)
    return search(
        found,
        stress_of,
        trouble.within_s,
        judge,
        replan,
        report,
        replicas_min=trouble.replicas_min,
        replicas_max=question.replicas_max,
        flags=trouble.flags,
    )


def plan_disturbed(
    question: Question, found: "Recommendation", disturbances: Disturbances, work: "Work"
) -> "tuple[Recommendation, DisturbedPlan]":
    """The plan that meets the objective in spite of pauses and long requests."""
    from capacity.search.disturbed_plan import plan_disturbed as search
    from capacity.search.planner import recommend
    from simulations.disturbed import Disturbed, DisturbedSimulation

    workload, effort = question.workload, work.effort
    if not isinstance(workload, Workload):
        raise InputError("--pause and --class plan for a --rate; leave out --users")
    quantiles = tuple(sorted({0.5, 0.99, *question.objective.by_quantile(Measure.RESPONSE)}))
    judge = DisturbedSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper)

    def simulate(plan: BatchPlan) -> Disturbed:
        return judge(question.profile(plan.profile), workload, plan, disturbances, quantiles)

    def replan(plan: BatchPlan) -> "Recommendation":
        return recommend(question.for_plan(plan), work.judge, work.report, confidence=effort.confidence)

    return search(found, question, disturbances, simulate, replan, work.report)
