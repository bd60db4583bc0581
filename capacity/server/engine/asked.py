"""Engines as flags ask for them: `--sequences-max 64 --lengths lengths.csv --kv-tokens 400000`."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from capacity.errors import DomainError, InputError
from capacity.formats.load_test import LoadRun, Loop
from capacity.formats.running_plan import RunningPlan
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.profile.llm_formats import with_settings
from capacity.question import parse
from capacity.question.arguments import Asked, only_given, read_switch, refuse_for_engines
from capacity.question.asked import FLAGS
from capacity.question.grid import parse_counts
from capacity.question.objective import Measure, Objective
from capacity.question.plan import Routing, rejects
from capacity.question.scenario import require_losses
from capacity.question.verbs import in_both
from capacity.server.asked import NO_RATE, Requests
from capacity.server.engine.lengths import fitted_lengths, require_lengths, require_patience, require_router
from capacity.server.engine.plan import MEASURES, OF_SESSIONS, TokenPlan, TokenScenario
from capacity.server.engine.router import RouterRules, parse_routing, routing_text
from capacity.server.engine.space import EngineSpace
from capacity.traffic.any_lengths import AnyLengths, are_sessions
from capacity.traffic.lengths import (
    LengthLaws,
    LengthRows,
    has_lengths,
    parse_lengths,
    read_token_trace,
)
from capacity.traffic.sessions.laws import EXAMPLE
from capacity.traffic.sessions.parse import parse_sessions
from capacity.traffic.sessions.rows import SessionRows
from capacity.traffic.workload import (
    ArrivalProcess,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
)
from capacity.units import require_count

_MEND = "--slo-ttft-p99 2s and --slo-tpot-p99 50ms, or --slo-p99 20s"


class AskedEngines:
    """A `capacity.server.asked.AskedFleet` of engines of a language model."""

    def refuse(self, asked: Asked, besides: Collection[str] = ()) -> None:
        """Refuse flags of batches, and what engines do not have in trouble."""
        taken = {one for name in besides for one in in_both(name, FLAGS[name])}
        given = {name: value for name, value in asked.items() if name not in taken}
        refuse_for_engines(given, [name for name in given if asked.is_told(name)])
        _refuse_trace_in_trouble(asked)
        _refuse_protection(asked)

    def ready(self, profile: LlmProfile, asked: Asked) -> LlmProfile:
        """The profile with the engine, the cache and the overhead of the flags."""
        return with_engine_flags(profile, asked)

    def requests(self, profile: LlmProfile, asked: Asked) -> Requests:
        """Requests with lengths, which may be those of the requests of a trace, in its order.

        Raises:
            InputError: no lengths, or a replay of other requests than those of a trace.
            DomainError: longer requests than the profile was measured with.
        """
        arrivals, lengths, in_order = _arrivals_and_lengths(asked)
        context = asked.get("context_tokens_max")
        if asked.get("replay") and not in_order:
            raise InputError(
                "--replay serves the requests of a trace; give --arrivals trace:FILE with their lengths"
            )
        if asked.get("replay") and context is not None:
            raise InputError("--replay serves every request of the trace; leave out --context-tokens-max")
        if in_order and context is not None and not are_sessions(lengths):
            raise InputError(
                "lengths that go with a trace are served as they are; drop long requests from the trace"
            )
        return Requests(
            arrivals=arrivals,
            lengths=fitted_lengths(profile, lengths, context),
            cached_share=_cached_share(asked),
            bistable=bool(asked.get("allow_bistable")),
            in_order=in_order,
        )

    def objective(self, asked: Asked) -> Objective:
        """Limits on the first token, the others and the whole response."""
        found = parse.read_objective(asked).require(_MEND)
        if asked.get("sessions") is None:
            found.require_among(frozenset(Measure) - OF_SESSIONS, "a request that is no turn of --sessions")
        return found.require_among(MEASURES, "a language model")

    def routings(self, asked: Asked) -> tuple[Routing, ...]:
        """The routings but the queue that engines do not share, unless that alone is asked for."""
        if asked.get("sessions") is not None:
            return tuple(_routed(asked))
        found = parse.read_routings(asked.routing)
        return tuple(one for one in found if one is not Routing.SHARED_QUEUE) or found

    def space(self, requests: Requests, asked: Asked) -> EngineSpace:
        """Sequences and tokens of a step to choose from."""
        return EngineSpace(
            **requests.parts,
            sequences_max=_chosen(asked.sequences_max, "--sequences-max"),
            batched_tokens_max=_chosen(asked.batched_tokens_max, "--batched-tokens-max"),
            queue_limit=asked.queue_limit,
            routers=_router_rules(asked),
        )

    def settings(self, requests: Requests, asked: Asked) -> EngineSpace:
        """Sequences and tokens of a step of a sweep."""
        return EngineSpace(
            **requests.parts,
            sequences_max=_axis(asked.sequences_max, "--sequences-max"),
            batched_tokens_max=_axis(asked.batched_tokens_max, "--batched-tokens-max"),
            queue_limit=asked.queue_limit,
            routers=_router_rules(asked),
        )

    def plan(self, profile: LlmProfile, asked: Asked) -> TokenPlan:
        """The fleet, with engines as they were measured unless flags say otherwise.

        Raises:
            DomainError: settings beyond what was measured.
        """
        limits = profile.limits_measured
        routing, router = _routing(
            asked.routing or Routing.ROUND_ROBIN, of_sessions=asked.get("sessions") is not None
        )
        plan = TokenPlan(
            profile=profile.name,
            replicas=asked.replicas,
            sequences_max=_single(asked.sequences_max, limits.sequences_max, "--sequences-max"),
            batched_tokens_max=_single(
                asked.batched_tokens_max, limits.batched_tokens_max, "--batched-tokens-max"
            ),
            routing=routing,
            queue_limit=asked.get("queue_limit"),
            router=router,
        )
        profile.require(plan.sequences_max, plan.batched_tokens_max)
        return plan

    def changed(self, scenario: TokenScenario, asked: Asked) -> TokenPlan:
        """The plan of a known fleet, with the routing and the numbers of the flags."""
        changes = only_given({"replicas": asked.get("replicas"), "queue_limit": asked.queue_limit})
        if asked.routing is not None:
            changes["routing"], changes["router"] = _routing(
                asked.routing, of_sessions=are_sessions(scenario.lengths)
            )
        return replace(scenario.plan, **changes)

    def usual(self, asked: Asked) -> dict[str, Any]:
        """How many may wait; each fleet says all else of its engines."""
        return {} if asked.queue_limit is None else {"queue-limit": str(asked.queue_limit)}

    def running(self, profile: LlmProfile, running: RunningPlan) -> tuple[TokenPlan, tuple[str, ...]]:
        """Refuse the plan of a server, which forms batches."""
        raise InputError(
            f"the plan is of a server that forms batches, and {profile.name} is the profile of a language model; leave "
            "out --plan"
        )

    def keywords(self, plan: TokenPlan) -> dict[str, Any]:
        """The settings of a plan's engines, the routing and the queue limit."""
        return {
            "sequences_max": plan.sequences_max,
            "batched_tokens_max": plan.batched_tokens_max,
            "routing": routing_text(plan.routing, plan.router),
            "queue_limit": plan.queue_limit,
        }

    def traffic(self, run: LoadRun, plan: TokenPlan, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The very requests of a run, sent when they were sent, or requests at its rate."""
        if requests.get("lengths") is None:
            if run.lengths is None or run.samples is None:
                raise InputError("the file does not say how many tokens requests had; give --lengths")
            sent_s = tuple((run.samples.sent_s - run.samples.sent_s[0]).tolist())
            arrivals = TraceArrivals(instants_s=sent_s, name=run.name)
            return {"arrivals": arrivals, "lengths": run.lengths, "replay": True}
        if run.loop is Loop.CLOSED:
            raise InputError("users of a language model are predicted by their single requests; keep those")
        if run.rate_asked_rps or run.throughput_rps:
            return {"rate_rps": run.rate_asked_rps or run.throughput_rps}
        raise InputError(NO_RATE)

    def require(self, scenario: TokenScenario) -> None:
        """Refuse requests for which an engine has no room, and a limit on losses where no request can be lost."""
        require_lengths(scenario.profile, scenario.lengths, scenario.plan.sequences_max)
        require_router(scenario.plan.routing, scenario.lengths)
        require_patience(scenario.workload, scenario.lengths)
        require_losses(scenario.objective, scenario.workload, rejects=rejects(scenario.plan))


def _refuse_trace_in_trouble(asked: Asked) -> None:
    """Refuse a trace, which ends when its requests do, for a fleet that must recover."""
    arrivals = asked.get("arrivals")
    is_trace = isinstance(arrivals, TraceArrivals) or str(arrivals).startswith("trace")
    if is_trace and any(asked.get(name) is not None for name in ("recover_within", "recover_within_s")):
        raise InputError(
            "a trace ends when its requests do, and --recover-within asks what comes after; give --rate, and "
            "--arrivals gamma or mmpp for bursts"
        )


def _refuse_protection(asked: Asked) -> None:
    """Refuse protection and faults that only batches have, in verbs with flags of these."""
    shed = asked.get("shed")
    if isinstance(shed, str) and shed.partition(":")[0] not in ("none", "new"):
        raise InputError(
            "--shed does not apply to engines of language models, which admit in order, but for new:8, which turns new "
            "sessions away where 8 wait; a gateway can hold a limit of what waits, which capacity stress "
            "--queue-limit 20 tries"
        )
    if asked.get("abandoned") == "dropped":
        raise InputError(
            "engines of language models stop attempts that no client waits for, or serve them; give "
            "--abandoned stopped or served"
        )
    if asked.get("cold_batches") is not None:
        raise InputError(
            "--cold-batches does not apply to engines of language models, which form no batches; leave it out"
        )
    limit = asked.get("queue_limit")
    if limit == 0:
        raise InputError(
            "--queue-limit 0 lets nothing into an engine, where all wait for the next step; give 1 or more"
        )
    if limit is not None:
        require_count("--queue-limit", limit)


_OF_BLOCKS = ("block_tokens", "prefix_caching")


def with_engine_flags(profile: LlmProfile, given: Mapping[str, Any]) -> LlmProfile:
    """The profile with the flags' settings of its engine, its cache and its overhead.

    Raises:
        InputError: an invalid value, or neither profile nor flags say how many tokens the KV cache holds.
    """
    policy, watermark = given.get("engine_policy"), given.get("watermark")
    found = with_settings(
        profile,
        kv_tokens=given.get("kv_tokens"),
        block_tokens=given.get("block_tokens"),
        scheduler=None if policy is None else _policy(policy),
        prefix_caching=read_switch(given.get("prefix_caching"), "--prefix-caching"),
        async_scheduling=read_switch(given.get("async_scheduling"), "--async-scheduling"),
        chunked_prefill=read_switch(given.get("chunked_prefill"), "--chunked-prefill"),
        long_prefill_tokens=given.get("long_prefill_tokens"),
        watermark=None if watermark is None else parse.read_share(watermark, "--watermark"),
        mixed_chunk=read_switch(given.get("mixed_chunk"), "--mixed-chunk"),
        draft_tokens=given.get("draft_tokens"),
    )
    if found.engine.scheduler is Scheduler.LLAMA_CPP:
        for name in _OF_BLOCKS:
            if given.get(name) not in (None, False, "off"):
                raise InputError(
                    f"--{name.replace('_', '-')} is of a cache in blocks, and llama-cpp divides its cache among slots; "
                    "leave it out"
                )
    if found.kv.tokens is None:
        raise InputError(
            f"profile {found.name} does not say how many tokens its KV cache holds, which nobody published; give "
            "--kv-tokens as the engine's log says, such as vLLM's line GPU KV cache size"
        )
    overhead_s = parse.duration_s(
        given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
    )
    if overhead_s is None:
        return found
    return replace(found, overhead=replace(found.overhead, request_s=overhead_s))


def _policy(text: Any) -> Scheduler:
    """The scheduler that a flag names; `vllm-v1` is today's there, whatever was measured."""
    found: Scheduler = parse.read_choice(Scheduler, text, "--engine-policy")
    return Scheduler.VLLM_V1_0_33 if found is Scheduler.VLLM_V1 else found


def _arrivals_and_lengths(asked: Asked) -> tuple[ArrivalProcess, AnyLengths, bool]:
    """Arrivals and lengths; whether the lengths go with the arrivals of a trace, in its order.

    Raises:
        InputError: no lengths.
    """
    if (sessions := asked.get("sessions")) is not None:
        return _sessions(asked, sessions)
    arrivals, lengths = asked.arrivals, asked.lengths
    is_trace = isinstance(arrivals, str) and arrivals.startswith("trace:")
    if is_trace and lengths is None and asked.get("daily") is None:
        path = Path(arrivals.removeprefix("trace:"))
        if not has_lengths(path):
            raise InputError(
                f"{path.name} has no columns input_tokens and output_tokens; a language model needs the lengths "
                "of requests: add them, or give --lengths"
            )
        return *read_token_trace(path), True
    if lengths is None:
        raise InputError(
            "a language model needs the lengths of requests; give --lengths FILE with columns "
            "input_tokens and "
            'output_tokens, or --lengths "input=lognormal:mean=512,cv=1;output=geometric:mean=200"'
        )
    read = parse_lengths(str(lengths)) if isinstance(lengths, str | Path) else lengths
    if not isinstance(read, LengthLaws | LengthRows):
        raise InputError(
            "lengths are text such as input=constant:200;output=geometric:mean=200, a file's path, or LengthRows or "
            f"LengthLaws, not {type(read).__name__}"
        )
    found = parse.read_arrivals(arrivals)
    return found, read, bool(asked.get("replay")) and _go_together(found, read)


def _routed(asked: Asked) -> dict[Routing, RouterRules | None]:
    """The routings to choose from for turns of sessions, and the rules of their routers.

    Raises:
        InputError: one of them twice, with other options, or the queue that engines do not share.
    """
    given = list(asked.routing or [Routing.ROUND_ROBIN])
    if given == ["any"]:
        return {one: None for one in Routing if one.base is one and one is not Routing.SHARED_QUEUE}
    if "any" in given:
        raise InputError("--routing any tries each one; leave the others out")
    found: dict[Routing, RouterRules | None] = {}
    for text in given:
        routing, rules = _one_routed(text)
        if found.get(routing, rules) != rules:
            raise InputError(f"--routing {routing} is given with two sets of options; keep one")
        found[routing] = rules
    return found


def _routing(text: str, *, of_sessions: bool) -> tuple[Routing, RouterRules | None]:
    """The routing of a fleet, and the rules of its router, which only turns of sessions have."""
    return _one_routed(text) if of_sessions else (parse.read_routing(text), None)


def _one_routed(text: str) -> tuple[Routing, RouterRules | None]:
    """A routing of turns of sessions, and the rules of its router."""
    routing, rules = parse_routing(text)
    if routing is Routing.SHARED_QUEUE:
        raise InputError(
            "engines have a queue each, so that shared-queue does not apply; use least-outstanding"
        )
    return routing, rules


def _router_rules(asked: Asked) -> tuple[tuple[Routing, RouterRules], ...]:
    """Rules of routers that are not as usual."""
    if asked.get("sessions") is None:
        return ()
    return tuple((routing, rules) for routing, rules in _routed(asked).items() if rules is not None)


def _sessions(asked: Asked, given: Any) -> tuple[ArrivalProcess, AnyLengths, bool]:
    """Arrivals of sessions and their turns; whether the sessions begin when they did in their file.

    Raises:
        InputError: beside what says the same otherwise, or a recorded pace without a file of times.
    """
    for name, why in _NOT_BESIDE_SESSIONS.items():
        if asked.get(name) not in (None, [], ()):
            raise InputError(
                f"--{name.replace('_', '-')} does not go with --sessions: {why}; leave one of them out"
            )
    sessions = parse_sessions(str(given)) if isinstance(given, str | Path) else given
    if not are_sessions(sessions):
        raise InputError(
            f"sessions are text such as {EXAMPLE}, a file's path, or SessionLaws or SessionRows, not "
            f"{type(given).__name__}"
        )
    is_recorded = isinstance(sessions, SessionRows) and sessions.has_times
    has_rate = asked.get("rate") is not None or asked.get("daily") is not None
    if asked.get("replay") or (is_recorded and not asked.is_told("arrivals") and not has_rate):
        if not isinstance(sessions, SessionRows):
            raise InputError("--replay serves recorded sessions; give --sessions a file with times")
        return sessions.arrivals, sessions, True
    arrivals = parse.read_arrivals(asked.arrivals)
    if not isinstance(arrivals, PoissonArrivals | DeterministicArrivals | GammaArrivals):
        raise InputError(
            "sessions begin by --arrivals poisson, deterministic or gamma:cv=2, or as their file says"
        )
    return arrivals, sessions, False


_NOT_BESIDE_SESSIONS = {
    "lengths": "sessions say the lengths of their turns",
    "cached_share": "what turns find in the cache is a result",
    "users": "sessions come at a rate, and each waits for its answers",
}


def _go_together(arrivals: ArrivalProcess, lengths: AnyLengths) -> bool:
    """Whether there is a row of lengths for each arrival of a trace."""
    if not isinstance(arrivals, TraceArrivals) or not isinstance(lengths, LengthRows):
        return False
    return len(arrivals.instants_s) == len(lengths.input_tokens)


def _cached_share(asked: Asked) -> float:
    """The share from `--cached-share`, which may be 0."""
    share = asked.get("cached_share")
    if share is None or share == 0.0:
        return 0.0
    found = parse.read_share(share, "--cached-share")
    if not 0.0 <= found < 1.0:
        raise DomainError(f"--cached-share must be from 0 to below 1, got {share}")
    return found


def _chosen(values: list[int], flag: str) -> tuple[int, ...] | None:
    """Values of a setting to choose from, rising; None if it is as measured."""
    if not all(isinstance(one, int) and one >= 1 for one in values):
        raise InputError(f"{flag} takes whole numbers from 1 on, got {values!r}")
    return tuple(sorted(set(values))) or None


def _single(value: int | None, usual: int, flag: str) -> int:
    """The value of a setting of one fleet."""
    (found,) = _chosen([] if value is None else [value], flag) or (usual,)
    return found


def _axis(texts: list[int | str], flag: str) -> tuple[int, ...] | None:
    """Values of a setting in a sweep, single ones and ranges; None if it is as measured."""
    return parse_counts([str(one) for one in texts], flag) if texts else None
