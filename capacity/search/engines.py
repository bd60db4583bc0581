"""Engines of a language model as a search sees them: what is known without simulating a fleet, and what stays open."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Performance, Width, format_span
from capacity.profile.llm import RESIDUAL_MAX, LlmProfile, Scheduler
from capacity.profile.llm_sampling import has_spread
from capacity.question.candidate import Candidate, Doubt, Judge, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode, controller_caveats
from capacity.question.objective import Limit
from capacity.question.overload import Saturation
from capacity.question.plan import REPLICAS_LIMIT, rejects
from capacity.question.question import Family
from capacity.recovery.stress import Stress
from capacity.search.fewest import HUNDREDTHS
from capacity.search.recommendation import Floors, HeadroomEffort, RatesEffort, less_for_bursts
from capacity.server.engine.lengths import require_lengths
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.space import EngineQuestion
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.lengths import LengthLaws, LengthRows
from capacity.traffic.workload import ClosedPopulation, Workload

# Loads and shares of the KV cache above which there is a note.
_LOAD_HIGH, _KV_HIGH = 0.85, 0.9
_PREEMPTIONS_SOME = 1e-3  # preemptions a request, below which P99 hardly changes
# What settles a doubt, by its cause.
ENGINE_MENDS: Mapping[Doubt, str] = {
    Doubt.REQUESTS: "raise --requests-max",
    Doubt.MARGIN: "lower --precision to separate it from its limit",
    Doubt.PROFILE: "measure the profile's steps more often",
}


class EngineTheory:
    """Theory of language models' engines: a judge measures where one saturates, and refuses higher loads."""

    search_requests_max, confirm_requests_max = 60_000_000, 400_000_000
    careful_requests_max = 0  # a request takes some hundred times as long to simulate as in batches
    around_requests_max = 40_000_000
    mends = ENGINE_MENDS
    confirms_from_start = True  # a saved plan does not keep where it began
    serves_all = False
    curve_loads: tuple[float, ...] = (
        0.1,
        0.3,
        0.5,
        0.6,
        0.65,
        0.7,
        0.75,
        0.8,
        0.85,
        0.9,
    )  # slow responses explode before the last

    def require(self, profile: LlmProfile) -> None:
        """The question has looked at its settings."""

    def require_plan(self, scenario: TokenScenario) -> None:
        """Refuse settings beyond what was measured, and requests without room."""
        plan = scenario.plan
        scenario.profile.require(plan.sequences_max, plan.batched_tokens_max)
        require_lengths(scenario.profile, scenario.lengths, plan.sequences_max)

    def floors(self, question: EngineQuestion, confidence: float) -> Floors:
        """None are known."""
        return Floors()

    def fleets(
        self, question: EngineQuestion, family: Family[LlmProfile], devices: int, floors: Floors
    ) -> Iterator[Any]:
        """The one of this number."""
        yield from question.fleets(family, devices)

    def may_wait(
        self,
        question: EngineQuestion,
        plan: TokenPlan,
        size_max: int | None,
        judged: Callable[[TokenPlan], Candidate],
    ) -> bool:
        """Whether a plan waits at all, which engines never do."""
        return not plan.starts_at_once

    def devices_min(
        self, question: EngineQuestion, family: Family[LlmProfile], floors: Floors, judge: Judge
    ) -> int:
        """Fewest engines with a load below 1, or that need not lose too many, after the failures to survive."""
        return question.survival.devices_min(
            self._engines_min(question, family, judge), question.replicas_min
        )

    def _engines_min(self, question: EngineQuestion, family: Family[LlmProfile], judge: Judge) -> int:
        """Fewest engines at which queues do not grow for ever, nor lose more than is allowed; one for users."""
        workload, allowed = question.workload, question.objective.loss_allowed
        if isinstance(workload, ClosedPopulation):
            return 1
        (engine,) = question.fleets(family, 1)
        one = judge.saturated(question.scenario(engine))
        if not rejects(engine):
            return one.engines_min(workload.arrival_rate_rps)
        return 1 if allowed is None else one.engines_min((1.0 - allowed) * workload.arrival_rate_rps)

    def doubt_parts(self, family: Family) -> int:
        """A hundred."""
        return HUNDREDTHS

    def one_by_one(self, question: EngineQuestion, family: Family[LlmProfile], floors: Floors) -> list[bool]:
        """Whether to try all smaller fleets: more engines never hurt, but that they find less where prompts repeat."""
        return [False] if are_sessions(question.space.lengths) else []

    def refuse_load(self, scenario: TokenScenario) -> None:
        """None, as the judge refuses it."""

    def refuse_setting(self, scenario: TokenScenario, confidence: float) -> None:
        """No limit is known to be out of reach."""

    def is_barely_stable(self, scenario: TokenScenario) -> bool:
        """False, as its load is not known before it is simulated."""
        return False

    def law(self, scenario: TokenScenario, quantiles: tuple[float, ...]) -> None:
        """There is none."""

    def too_many(
        self, question: EngineQuestion, family: Family[LlmProfile], devices: int, floors: Floors
    ) -> Candidate[TokenPlan]:
        """Shown with as many as a plan may have."""
        (plan,) = question.fleets(family, min(devices, REPLICAS_LIMIT))
        rejection = Rejection(
            reason=Reason.REPLICAS_MAX,
            allowed=question.replicas_max,
            needed=devices,
            event=question.survival.worst(devices),
        )
        return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)

    def sustained_rps(self, profile: LlmProfile, plan: TokenPlan) -> None:
        """None, as a judge measures where an engine saturates."""

    def saturation(self, scenario: TokenScenario, judge: Judge) -> Saturation:
        """Saturation as it was measured; with sessions, that of engines whose caches hold all that comes again."""
        return judge.saturated(scenario)

    def in_service(self, scenario: TokenScenario, judge: Judge) -> float:
        """Requests that run in saturated engines."""
        return scenario.plan.replicas * judge.saturated(scenario).running_mean

    def size_max(self, scenario: TokenScenario, judge: Judge) -> float:
        """Capacity with all engines saturated, or twice the users whom that serves in the longest limited time.

        N users who think for Z and take R are served at the rate N/(Z + R), which is at most the capacity: twice as
        many take longer than that on average.
        """
        served_rps: float = scenario.swing * scenario.plan.replicas * judge.saturated(scenario).rate_rps
        users = scenario.workload
        if not isinstance(users, ClosedPopulation):
            return served_rps
        longest_s = max(
            (one.allowed for one in scenario.objective.limits if one.measure.is_duration), default=0.0
        )
        in_time = served_rps * (users.think_time_s + longest_s) + self.in_service(scenario, judge)
        return float(math.ceil(2.0 * in_time))

    def served_max_rps(self, scenario: TokenScenario, judge: Judge) -> float:
        """Capacity of the engines, or with a queue limit more, as some may be lost."""
        served_rps, allowed = self.size_max(scenario, judge), scenario.objective.loss_allowed
        is_whole = not rejects(scenario.plan) or allowed is None
        return served_rps if allowed is None or is_whole else served_rps / (1.0 - allowed)

    def rates_effort(self, scenario: TokenScenario) -> RatesEffort:
        """Few loads, as each takes long, and no confirmations; a higher rate was never seen to be faster."""
        loads = (0.01, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95)
        may_overload = rejects(scenario.plan) and isinstance(scenario.workload, Workload)
        overloads = (1.0, 1.1, 1.3) if may_overload else ()
        return RatesEffort(loads=(*loads, *overloads), only_rises=scenario.autoscaler is None, careful_max=0)

    def lone(self, scenario: TokenScenario, confidence: float) -> None:
        """None, as there is no law of a lone request."""

    def headroom_effort(self, scenario: TokenScenario) -> HeadroomEffort:
        """Probes find the end; a request of many output tokens takes longer to simulate."""
        in_tokens = int(800_000_000 / scenario.lengths.moments.output)
        most = less_for_bursts(scenario.workload, 15_000_000)
        return HeadroomEffort(
            first_step=0.05,
            requests_max=min(most, 4_000_000, in_tokens),
            probes_max=min(most, in_tokens),
            probed_to=0.02,
            leaves_last=most < 4_000_000,
        )

    def neighbours(self, question: EngineQuestion, plan: TokenPlan) -> Iterator[tuple[str, TokenPlan]]:
        """Half and twice the sequences, and half and twice the tokens a step, where measured and where requests fit."""
        profile = question.profile(plan.profile)
        limits = profile.limits_measured
        for name, most in (
            ("sequences_max", limits.sequences_max),
            ("batched_tokens_max", limits.batched_tokens_max),
        ):
            today = getattr(plan, name)
            for value in sorted({max(1, today // 2), min(2 * today, most)} - {today}):
                other = replace(plan, **{name: value})
                if question.space.allows(profile, other):
                    yield f"--{name.replace('_', '-')} {value}", other

    def fewer(self, question: EngineQuestion, plan: TokenPlan) -> Iterator[TokenPlan]:
        """One engine fewer in the same setting."""
        if plan.replicas > 1:
            yield replace(plan, replicas=plan.replicas - 1)

    def strongest(self, question: EngineQuestion, plan: TokenPlan) -> TokenPlan:
        """The plan itself, as other settings would have to be measured."""
        return plan

    def strain(self, performance: Performance) -> float:
        """The load: times between tokens are short up to the very rate at which queues grow."""
        return performance.load or 0.0

    def load_min(self, question: EngineQuestion, plan: TokenPlan, judge: Judge) -> float:
        """The load in the plan's own setting."""
        assert isinstance(question.workload, Workload)  # noqa: S101  (users have no load)
        rate_rps = judge.saturated(question.scenario(plan)).rate_rps
        return question.workload.arrival_rate_rps / (plan.replicas * rate_rps)

    def floor_s(self, scenario: TokenScenario, limit: Limit) -> None:
        """None, as it is not known."""

    def lone_s(self, scenario: TokenScenario, limit: Limit) -> None:
        """None, as there is no law of a lone request."""

    def other_rules(self, scenario: TokenScenario) -> TokenScenario | None:
        """The scenario by the rules of another version, where the profile does not tell which was measured."""
        other = scenario.profile.engine.other_rules
        return None if other is None else replace(scenario, profile=replace(scenario.profile, engine=other))

    def unbatched(self, plan: TokenPlan) -> None:
        """None, as an engine batches continuously."""

    def mend(self, profile: LlmProfile, candidate: Candidate) -> str:
        """Remedy for the cause alone."""
        return self.mends[candidate.doubt or Doubt.REQUESTS]

    def setting_text(self, plans: Sequence[TokenPlan]) -> str:
        """Sequences of the plans, in words."""
        return f"up to {' or '.join(map(str, sorted({one.sequences_max for one in plans})))} sequences"

    def implausible(self, profiles: Sequence[LlmProfile], quantile_max: float) -> Iterator[Caveat]:
        """No caveat, as the steps are checked when the profile is read."""
        return iter(())

    def caveats(self, scenario: TokenScenario, performance: Performance) -> Iterator[Caveat]:
        """Caveats on the load, the cache, the lengths and the steps."""
        return engine_caveats(scenario, performance)

    def setting_caveats(self, scenario: TokenScenario) -> Iterator[Caveat]:
        """There are none: an answer has what an engine does while requests always wait."""
        return iter(())

    def grid_caveats(self, scenario: TokenScenario, quantile_max: float) -> Iterator[Caveat]:
        """Caveats on the lengths, the steps and the cache."""
        return self.profile_caveats(scenario)

    def interval_caveats(self, profile: LlmProfile, width: Width, precision: float) -> Iterator[Caveat]:
        """No caveat, as other durations than the response decide how long engines are simulated."""
        return iter(())

    def trouble_caveats(self, stress: Stress[TokenPlan]) -> Iterator[Caveat]:
        """Caveats on the lengths, the steps and the cache."""
        engine: Any = stress.server  # of its own kind
        return self.profile_caveats(engine.scenario(stress.workload, stress.plan))

    def controlled_caveats(self, scenario: TokenScenario) -> Iterator[Caveat]:
        """Caveats on the lengths, the steps and the cache, and on what utilization says of engines."""
        yield from self.profile_caveats(scenario)
        yield from controller_caveats(scenario.plan, scenario.autoscaler)

    def profile_caveats(self, scenario: TokenScenario) -> Iterator[Caveat]:
        """Caveats on the lengths, the steps and the cache."""
        yield from length_caveats(scenario)
        yield from llm_profile_caveats(scenario.profile)
        yield from cache_caveats(scenario)


def engine_caveats(scenario: TokenScenario, performance: Performance) -> Iterator[Caveat]:
    """What an answer about a language model does not say by itself, whatever its arrivals."""
    yield from session_caveats(scenario, performance)
    load = 0.0 if rejects(scenario.plan) else performance.load or 0.0  # a full queue takes no more
    if load >= 1.0:  # of a replay, which has an end
        yield Caveat(
            code=CaveatCode.LOAD_HIGH,
            message=f"the load is {load:.2f}: more requests come than the engines can serve, and wait the "
            "longer the longer that lasts; an error of 1 % in the profile changes the latency several times over",
        )
    elif load > _LOAD_HIGH:
        yield Caveat(
            code=CaveatCode.LOAD_HIGH,
            message=f"the load is {load:.2f}: an error of 1 % in the profile changes the latency by "
            f"{1.0 / (1.0 - load):.0f} % or more; leave room, or check with a load test",
        )
    preempted = performance.preemption_rate or 0.0
    if preempted >= _PREEMPTIONS_SOME:
        yield Caveat(
            code=CaveatCode.PREEMPTIONS,
            message=f"{100.0 * preempted:.3g} preemptions per 100 requests: the KV cache runs full "
            "and work is done twice; lower --sequences-max, or add a replica",
        )
    if (performance.kv_utilization or 0.0) > _KV_HIGH:
        has_slots = scenario.profile.engine.scheduler is Scheduler.LLAMA_CPP
        yield Caveat(
            code=CaveatCode.KV_NEARLY_FULL,
            message=f"the KV cache is {100.0 * (performance.kv_utilization or 0.0):.0f} % full on average; longer "
            f"requests than these would be {'refused' if has_slots else 'preempted'}",
        )
    yield from EngineTheory().profile_caveats(scenario)


def session_caveats(scenario: TokenScenario, performance: Performance) -> Iterator[Caveat]:
    """What a fleet does from empty caches, where that is not enough."""
    cold_rps, share = performance.cold_saturation, performance.hit_share
    rate_rps = getattr(scenario.workload, "arrival_rate_rps", 0.0)
    if cold_rps is None or share is None or rate_rps <= cold_rps.value:
        return
    enough = math.ceil(rate_rps * scenario.plan.replicas / cold_rps.value)
    yield Caveat(
        code=CaveatCode.BISTABLE,
        message=f"bistable: this holds while its caches are warm (hits {100.0 * share.mean:.0f} %); from empty caches "
        f"and a backlog it serves {format_span('{:.3g}'.format, cold_rps)} of {rate_rps:.3g} turns/s and does not "
        f"recover; {enough} replicas do",
    )


def warmth_caveats(fleet: ScaledFleet) -> Iterator[Caveat]:
    """What an autoscaler could not bring back from empty caches, even with all its replicas."""
    served_rps, peak_rps = fleet.plan.replicas * fleet.replica_rps, fleet.peak_rate_rps
    if fleet.scenario.bistable or not are_sessions(fleet.scenario.lengths) or peak_rps <= served_rps:
        return
    enough = math.ceil(peak_rps / fleet.replica_rps)
    yield Caveat(
        code=CaveatCode.BISTABLE,
        message=f"bistable: from empty caches and a backlog {fleet.plan.replicas} replicas serve {served_rps:.3g} of "
        f"the {peak_rps:.3g} turns/s at the peak, and do not recover before it is over; {enough} replicas do",
    )


def cache_caveats(scenario: TokenScenario) -> Iterator[Caveat]:
    """What is assumed of the prefix cache."""
    if scenario.cached_share > 0.0:
        yield Caveat(
            code=CaveatCode.CACHE_HITS_ASSUMED,
            message=f"{100.0 * scenario.cached_share:g} % of each prompt is assumed to be in the cache; without these "
            "hits prompts take as much longer",
        )


def length_caveats(scenario: TokenScenario) -> Iterator[Caveat]:
    """What the lengths leave open."""
    lengths = scenario.lengths
    if isinstance(lengths, LengthRows):
        yield from (Caveat(code=CaveatCode.TRACE_READING, message=remark) for remark in lengths.remarks)
    if isinstance(lengths, LengthRows) and lengths.dropped:
        total, is_one = lengths.dropped + len(lengths.input_tokens), lengths.dropped == 1
        yield Caveat(
            code=CaveatCode.LENGTHS_CUT,
            message=f"{lengths.dropped} of {total} requests of {lengths.name} {'is' if is_one else 'are'} longer than "
            f"the context and {'was' if is_one else 'were'} left out; an engine refuses such requests",
        )
    if isinstance(lengths, LengthLaws):
        yield Caveat(
            code=CaveatCode.LENGTHS_OF_A_LAW,
            message="input and output lengths are drawn independently from laws, cut at the context; real ones are "
            "correlated and have longer tails, which P99 depends on: give --lengths a file of your "
            "own requests",
        )


def llm_profile_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """What the measurements leave open."""
    yield from _calibration_caveats(profile)
    if profile.speculation is not None and not profile.speculation.in_steps:
        yield Caveat(
            code=CaveatCode.DRAFTS_UNMEASURED,
            message="no step with drafts to verify was measured, and each drafted token is timed as one of a prompt; "
            "measure the steps with speculation on, and say so by in_steps",
        )
    if profile.coefficients is not None:
        yield Caveat(
            code=CaveatCode.STEPS_FROM_COEFFICIENTS,
            message=f"profile {profile.name} is a straight line, and real steps are staircases in the batch; measure a "
            "table of steps",
        )
    else:
        if not (profile.table.is_mixed_measured or profile.calibration):  # loads have such steps in them
            yield Caveat(
                code=CaveatCode.STEPS_MIXED_UNMEASURED,
                message="no step with prompts and decoding together was measured, and their times are added; measure "
                "some to be surer of ITL",
            )
        if not profile.table.is_past_measured:
            yield Caveat(
                code=CaveatCode.STEPS_PAST_UNMEASURED,
                message="no part of a prompt after its first was measured; its time is taken from longer prompts",
            )
        if not has_spread(profile):
            yield Caveat(
                code=CaveatCode.STEPS_ERROR_UNKNOWN,
                message="intervals leave out how far steps vary; give single steps or percentiles",
            )
    yield from _unstated_caveats(profile)
    if not (profile.check or profile.calibration):
        yield Caveat(
            code=CaveatCode.STEPS_UNCHECKED,
            message="the profile has no saturated run to be checked against; measure one, and give it as check",
        )


def _unstated_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """What the source of the profile does not say of the engine."""
    if profile.kv.is_estimate:
        yield Caveat(
            code=CaveatCode.KV_NOT_MEASURED,
            message=f"the size of the engine's KV cache is an estimate, from {profile.kv.tokens_low} to "
            f"{profile.kv.tokens_high} tokens, which intervals allow for; give --kv-tokens as your engine's log says",
        )
    elif "kv" in profile.source:
        yield Caveat(
            code=CaveatCode.KV_NOT_MEASURED,
            message="the size of the engine's KV cache was not published; the profile's "
            f"{profile.kv.tokens} tokens are {profile.source['kv']}; give --kv-tokens as your engine's log says",
        )
    if (other := profile.engine.other_rules) is not None:
        yield Caveat(
            code=CaveatCode.ENGINE_RULES_UNSTATED,
            message=f"the source of profile {profile.name} does not say which rules its engine had, "
            f"'{profile.engine.rules_text}' or '{other.rules_text}'; figures are for the former; give --engine-policy "
            "and --async-scheduling as your engine has them",
        )


def _calibration_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """Whether loads that calibrated the steps are given back by them."""
    calibration = profile.calibration
    if calibration is not None and calibration.residual > RESIDUAL_MAX:
        yield Caveat(
            code=CaveatCode.STEPS_UNTRUSTED,
            message=f"profile {profile.name} is not to be trusted: its steps miss the loads that calibrated them by "
            f"{100.0 * calibration.residual:.1f} %, and {100.0 * RESIDUAL_MAX:g} % are allowed; calibrate it from "
            "more loads, or measure its steps",
        )
