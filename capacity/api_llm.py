"""The verbs for language models, to which `capacity.api` delegates for profiles of kind llm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.answer.saved_plan import SavedPlan
from capacity.api_recovery import (
    Trouble,
    large_enough,
    plan_engines_to_recover,
    read_trouble,
    refuse_shedding,
)
from capacity.api_work import Report, at_work
from capacity.doors import many, read_switch
from capacity.errors import DomainError, InputError, quoted
from capacity.profile.llm import (
    TOKENS_LIMIT,
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
    Scheduler,
)
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document, with_settings
from capacity.profile.llm_runs import SeenRun
from capacity.profile.llm_sweeps import EngineSettings
from capacity.profile.llm_sweeps import sweep as seen_sweep
from capacity.question import parse
from capacity.question.asked import FLAGS
from capacity.question.autoscaler import read_autoscaler
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.grid import workloads
from capacity.question.objective import Objective
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.scenario import Scenario, with_autoscaler
from capacity.question.verbs import in_both, is_given, refuse_for_engines
from capacity.recovery.parse import has_clients
from capacity.server.engine.lengths import fitted_lengths, require_lengths
from capacity.server.engine.plan import MEASURES, TokenPlan, TokenScenario
from capacity.server.engine.space import EngineQuestion, EngineSpace
from capacity.traffic.lengths import (
    AnyLengths,
    LengthLaws,
    LengthRows,
    has_lengths,
    parse_lengths,
    read_token_trace,
)
from capacity.traffic.parse import workload as workload_of
from capacity.traffic.workload import ArrivalProcess, TraceArrivals, Workload
from capacity.units import require_count

if TYPE_CHECKING:
    from capacity.answers import PlanAnswer, RatesAnswer, SimulationAnswer
    from capacity.evidence_answers import LlmProfileAnswer
    from capacity.question.grid import Grid

Given = Mapping[str, Any]


def _flag(name: str) -> str:
    """A keyword as its flag is typed."""
    return f"--{name.removesuffix('_s').replace('_', '-')}"


def _set(profile: LlmProfile, given: Given) -> LlmProfile:
    """The profile with the flags' settings of its engine, its cache and its overhead."""
    policy = given.get("engine_policy")
    found = with_settings(
        profile,
        kv_tokens=given.get("kv_tokens"),
        block_tokens=given.get("block_tokens"),
        scheduler=None if policy is None else parse.read_choice(Scheduler, policy, "--engine-policy"),
        prefix_caching=read_switch(given.get("prefix_caching"), "--prefix-caching"),
        async_scheduling=read_switch(given.get("async_scheduling"), "--async-scheduling"),
        chunked_prefill=read_switch(given.get("chunked_prefill"), "--chunked-prefill"),
    )
    if found.kv.tokens is None:
        raise InputError(
            f"profile {found.name} does not say how many tokens its KV cache holds, which nobody published; give "
            "--kv-tokens as the engine's log says, such as vLLM's line GPU KV cache size"
        )
    overhead_s = parse.duration_s(
        given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
    )
    return (
        found
        if overhead_s is None
        else replace(found, overhead=replace(found.overhead, request_s=overhead_s))
    )


_NEEDED = {
    "kv_tokens": "the engine's log says how many tokens its KV cache holds",
    "sequences_max": "it is what the engine was started with, such as vLLM's --max-num-seqs",
    "batched_tokens_max": "it is what the engine was started with, such as vLLM's --max-num-batched-tokens",
}
# Share of the tokens that one step may read that should have been read in a measured one.
_READ_SHARE = 0.5


def asked_engine(given: Given) -> LlmProfile:
    """A profile of what no client can see, from flags, which refuses at once all that is wrong there.

    Its steps are a linear stand-in for those to be measured.

    Raises:
        InputError: a flag is missing or invalid.
    """
    for name, where in _NEEDED.items():
        if given.get(name) is None:
            raise InputError(f"{_flag(name)} is needed, since clients do not see it; {where}")
    for name in ("sequences_max", "batched_tokens_max"):
        require_count(_flag(name), given[name], most=TOKENS_LIMIT)
    devices = 1 if given.get("devices") is None else given["devices"]
    require_count("--devices", devices)
    name, _, version = (given.get("runtime") or "").strip().rpartition(" ")
    asked = LlmProfile(
        name=given.get("name") or "measured",
        kv=KvCache(tokens=given["kv_tokens"]),
        limits_measured=LimitsMeasured(
            sequences_max=given["sequences_max"],
            batched_tokens_max=given["batched_tokens_max"],
            context_tokens_max=TOKENS_LIMIT,
        ),
        coefficients=Coefficients(base_s=1.0, per_prefill_token_s=0.0, per_decode_request_s=0.0),
        model=given.get("model"),
        device=given.get("device"),
        devices=devices,
        tensor_parallel=devices,
        all_reduce=devices > 1,  # a client waits for the communication too
        precision=given.get("precision"),
        hourly_usd=given.get("hourly_usd"),
        engine=Engine(name=name or version or None, version=version if name else None),
    )
    asked = _set(asked, given)
    read_llm_document(llm_profile_to_document(asked), "the profile")  # as it will be read again
    return asked


def sweep_settings(asked: LlmProfile, given: Given) -> EngineSettings:
    """Settings by which steps are computed; `asked` comes from `asked_engine`."""
    return EngineSettings(
        kv=asked.kv,
        sequences_max=asked.limits_measured.sequences_max,
        batched_tokens_max=asked.limits_measured.batched_tokens_max,
        request_overhead_s=parse.duration_s(
            given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
        ),
    )


def profile_of_sweeps(
    runs: Sequence[SeenRun], asked: LlmProfile, settings: EngineSettings
) -> "LlmProfileAnswer":
    """The profile that sweeps reveal, compared with the saturated run among them; a misfit is not refused here."""
    from capacity.evidence_answers import LlmProfileAnswer
    from capacity.search.engines import llm_profile_caveats
    from simulations.saturation import checked_rate_rps

    found = seen_sweep(runs, settings)
    profile = replace(
        asked,
        coefficients=None,
        steps=found.steps,
        limits_measured=found.limits_measured,
        overhead=Overhead(request_s=found.overhead_s),
        check=found.check,
        source=found.source,
    )
    return LlmProfileAnswer(
        profile=profile,
        checked_rps=checked_rate_rps(profile),
        caveats=(*llm_profile_caveats(profile), *_sweep_caveats(profile)),
    )


def measure(url: str, timeout_s: float, given: Given, report: Report) -> "LlmProfileAnswer":
    """The profile of a server by sweeps over it; `given` are the flags of `capacity profile`.

    Raises:
        InputError: a missing flag, or sweeps that do not tell the steps apart.
        DependencyError: the server fails, or is not OpenAI-compatible.
        InconclusiveError: this client was too slow.
    """
    from capacity.measurement.completions import completions_address
    from capacity.measurement.http import parse_address
    from capacity.measurement.sweeps import Server, sweeps_of

    asked_for = asked_engine(given)
    settings = sweep_settings(asked_for, given)
    for name, what in (
        ("model", "the server knows its model by a name"),
        ("context_tokens_max", "requests are measured up to some length"),
    ):
        if given.get(name) is None:
            raise InputError(f"{_flag(name)} is needed: {what}")
    seed = given.get("seed") or 0
    asked = sweeps_of(settings, given["context_tokens_max"], seed)
    fills = min(
        settings.batched_tokens_max, given["context_tokens_max"] - 1
    )  # the longest prompt, and its first token
    full = settings.batched_tokens_max
    if fills < full:
        report(
            f"no prompt fills a step of {full} tokens: steps are measured up to {fills}, which --batched-tokens-max "
            "of the plan will be"
        )
    settings = replace(settings, batched_tokens_max=fills)
    address = completions_address(parse_address(url, "--llm"))
    runs = Server(address=address, model=given["model"], timeout_s=timeout_s).measure(asked, seed, report)
    answer = profile_of_sweeps(runs, asked_for, settings)
    source = {"measured_by": f"capacity profile --llm, POST {address.path}, seed {seed}"}
    if fills < full:
        source["batched_tokens_max"] = (
            f"{fills}, since no prompt fills a step of the {full} tokens that the engine takes"
        )
    return replace(answer, profile=replace(answer.profile, source={**source, **answer.profile.source}))


def _sweep_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """Caveats of sweeps beyond those of their profile."""
    limits = profile.limits_measured
    read = max(step.decode_kv_tokens for step in profile.steps)
    most = min(profile.kv.usable_tokens, limits.sequences_max * limits.context_tokens_max)
    if read < _READ_SHARE * most:
        yield Caveat(
            code=CaveatCode.STEPS_READ_FEW,
            message=f"no step was measured that reads more than {read} cached tokens, and one may read {most}; "
            "send long prompts at higher concurrencies too, with more output tokens",
        )


def _workload(given: Given) -> tuple[Workload, AnyLengths, bool]:
    """Arrivals and lengths; whether the lengths go with the arrivals of a trace, in its order.

    Raises:
        InputError: no lengths, or clients who give up or retry while nothing goes wrong.
    """
    if given.get("trigger") is None and has_clients(given):
        raise InputError(
            "clients of a language model that give up, retry or hedge are simulated by capacity stress alone; leave "
            "out --timeout, --attempts and the other flags of clients"
        )
    arrivals: str | ArrivalProcess = given["arrivals"]
    rate_rps = parse.rate_rps(given.get("rate"), given.get("rate_rps"))
    lengths = given.get("lengths")
    day = parse.read_curve(given.get("daily"), rate_rps, None)
    if isinstance(arrivals, str) and arrivals.startswith("trace:"):
        path = Path(arrivals.removeprefix("trace:"))
        if lengths is None and day is None:
            if not has_lengths(path):
                raise InputError(
                    f"{path.name} has no columns input_tokens and output_tokens; a language model "
                    "needs the lengths "
                    "of requests: add them, or give --lengths"
                )
            trace, rows = read_token_trace(path)
            return workload_of(trace, rate_rps), rows, True
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
    if day is not None:
        return parse.workload_of_day(found, day), read, False
    return workload_of(found, rate_rps), read, _go_together(found, read) and bool(given.get("replay"))


def _go_together(arrivals: ArrivalProcess, lengths: AnyLengths) -> bool:
    """Whether there is a row of lengths for each arrival of a trace."""
    if not isinstance(arrivals, TraceArrivals) or not isinstance(lengths, LengthRows):
        return False
    return len(arrivals.instants_s) == len(lengths.input_tokens)


def _objective(given: Given) -> Objective:
    """Limits on the first token, the others and the whole response."""
    mend = "--slo-ttft-p99 2s and --slo-tpot-p99 50ms, or --slo-p99 20s"
    return parse.read_objective(given).require(mend).require_among(MEASURES, "a language model")


def _effort(given: Given) -> Effort:
    names = ("seed", "confidence", "precision", "requests_max", "engine", "workers")
    return Effort(**{name: given[name] for name in names})


def _settings(value: Any, flag: str) -> tuple[int, ...] | None:
    """One setting of the engine, or several to choose from."""
    if value is None or value == []:
        return None
    given = [value] if isinstance(value, int) else list(value)
    if not all(isinstance(one, int) and one >= 1 for one in given):
        raise InputError(f"{flag} takes whole numbers from 1 on, got {given!r}")
    return tuple(sorted(set(given)))


def _single(value: Any, usual: int, flag: str) -> int:
    found = _settings(value, flag) or (usual,)
    if len(found) > 1:
        raise InputError(f"{flag} is given more than once; keep one")
    return found[0]


def _priced(profiles: Sequence[LlmProfile], prices: Sequence[Any]) -> tuple[LlmProfile, ...]:
    """Profiles with the prices from flags."""
    found = {one.name: one for one in profiles}
    if len(found) < len(profiles):
        raise InputError("two of the profiles have the same name; rename or drop one")
    for text in map(str, prices):
        name, _, price = text.rpartition("=")
        name = name.strip() or next(iter(found))
        if name not in found or ("=" not in text and len(found) > 1):
            raise InputError(f"--hourly-usd {quoted(text)} names no profile; {next(iter(found))}=6.88 does")
        found[name] = replace(found[name], hourly_usd=parse.read_price(price))
    return tuple(found.values())


def plan(profiles: Sequence[LlmProfile], given: Given) -> "PlanAnswer":
    """The cheapest fleet for a language model; `given` are the keywords of `capacity.api.plan`."""
    trouble = _trouble(given)
    day = parse.read_curve(
        given.get("daily"), parse.rate_rps(given.get("rate"), given.get("rate_rps")), given.get("users")
    )
    at_peak = {} if day is None else {"daily": None, "rate": None, "rate_rps": day.peak_rate_rps}
    workload, lengths, in_order = _workload({**given, **at_peak})
    ready = [_set(one, given) for one in _priced(profiles, many(given.get("hourly_usd")))]
    if trouble is not None:
        _require_vllm(ready)
    question: EngineQuestion = Question(
        profiles=tuple(ready),
        workload=workload,
        objective=_objective(given),
        space=EngineSpace(
            lengths=fitted_lengths(ready[0], lengths, given.get("context_tokens_max")),
            sequences_max=_settings(given.get("sequences_max"), "--sequences-max"),
            batched_tokens_max=_settings(given.get("batched_tokens_max"), "--batched-tokens-max"),
            cached_share=_share(given),
            in_order=in_order,
        ),
        routings=_routings(given),
        replicas_max=given["replicas_max"],
        survival=parse.read_survival(given),
    )
    if trouble is not None:
        question = large_enough(question, trouble)
    effort = _effort(given)
    if given.get("before") is not None:
        given["before"](question)
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.answers import PlanAnswer
    from capacity.explanation.explanation import explain_plan
    from capacity.search.by_hour import schedule
    from capacity.search.planner import recommend, with_headroom
    from simulations.saturation import require_check

    report: Report = given["progress"]
    with at_work(effort, report) as work:
        judge = work.judge
        report("finding where an engine saturates")
        for one in ready:
            require_check(one)
        found, recovery = recommend(question, judge, report, has_headroom=trouble is None), None
        if found.plan is not None and trouble is not None:
            found, recovery = plan_engines_to_recover(question, found, trouble, judge, report)
            found = with_headroom(question, found, judge, report)
            question = replace(
                question, replicas_min=question.replicas_min if found.plan is None else found.plan.replicas
            )
        hours = reasons = None
        if found.plan is not None and day is not None:
            hours = schedule(question, found.plan, day.hourly_rates_rps, judge, report)
            hours = replace(hours, flags=parse.day_flags(given["daily"]), curve=day)
        if found.plan is not None and given.get("explain"):
            reasons = explain_plan(
                question,
                found.plan,
                judge,
                report,
                performance=found.performance,
                like_it=found.like_it,
                precision=effort.precision,
                confidence=effort.confidence,
            )
            found = replace(found, changes=reasons.neighbours)
    return PlanAnswer(
        question=question,
        effort=effort,
        recommendation=found,
        recovery=recovery,
        day=hours,
        explanation=reasons,
    )


def _require_vllm(profiles: Sequence[LlmProfile]) -> None:
    """Refuse engines that cannot be simulated in trouble, before the search starts."""
    for one in profiles:
        if one.engine.scheduler is not Scheduler.VLLM_V1:
            raise InputError(
                f"--recover-within is for engines with vLLM's scheduler, and {one.name} has that of "
                f"{one.engine.scheduler}; leave it out, or give --engine-policy {Scheduler.VLLM_V1}"
            )


def _trouble(given: Given) -> Trouble | None:
    """The trouble that a plan must recover from; None if that was not asked.

    Raises:
        InputError: a flag that engines do not have, or that changes nothing.
    """
    trouble = read_trouble(given)
    if trouble is None:
        refuse_for_engines(given)
        return None
    refuse_for_engines({name: value for name, value in given.items() if not name.startswith("startup_time")})
    refuse_shedding(trouble.shed)
    if isinstance(given["arrivals"], TraceArrivals) or str(given["arrivals"]).startswith("trace"):
        raise InputError(
            "a trace ends when its requests do, and --recover-within asks what comes after; give --rate, and "
            "--arrivals gamma or mmpp for bursts"
        )
    return trouble


def simulate(profile: LlmProfile, replicas: int, given: Given) -> "SimulationAnswer":
    """The performance of one plan; `given` are the keywords of `capacity.api.simulate`."""
    refuse_for_engines(given)
    workload, lengths, in_order = _workload(given)
    ready, effort = _set(profile, given), _effort(given)
    fleet = _fleet(ready, replicas, given)
    is_replay = bool(given.get("replay"))
    if is_replay and not in_order:
        raise InputError(
            "--replay serves the requests of a trace; give --arrivals trace:FILE with their lengths"
        )
    if is_replay and given.get("context_tokens_max") is not None:
        raise InputError("--replay serves every request of the trace; leave out --context-tokens-max")
    if not is_replay and in_order and given.get("context_tokens_max") is not None:
        raise InputError(
            "lengths that go with a trace are served as they are; drop long requests from the trace"
        )
    from capacity.units import QUANTILES as USUAL

    quantiles = parse.read_quantiles(many(given.get("quantile")), USUAL)
    scenario = Scenario(
        profile=ready,
        workload=workload,
        lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
        plan=fleet,
        cached_share=_share(given),
        quantiles=quantiles,
        in_order=in_order,
    )
    scenario = parse.in_failure(with_autoscaler(scenario, given), given)
    from capacity.answers import SimulationAnswer
    from capacity.search.caveats import scenario_caveats
    from simulations.cases.engine import replay
    from simulations.replication import Engine
    from simulations.saturation import require_check

    require_lengths(ready, scenario.lengths, fleet.sequences_max)
    report: Report = given["progress"]
    served, like_it = None, None
    with at_work(effort, report) as work:
        if is_replay:
            report("serving the requests of the trace")
            draws, records, performance = replay(scenario, quantiles, Engine(effort.engine))
            served = draws, records
        else:
            require_check(ready)
            left = scenario.plan.replicas
            report(f"simulating {left} engine{'s' if left > 1 else ''}")
            simulation = work.simulate(quantiles)
            performance, like_it = simulation(scenario), simulation.like_it(scenario)
    return SimulationAnswer(
        scenario=scenario,
        performance=performance,
        caveats=tuple(scenario_caveats(scenario, performance, like_it)),
        effort=effort,
        served=served,
    )


def max_rate(profile: LlmProfile, replicas: int, given: Given) -> "RatesAnswer":
    """The rates at which a fleet meets its objective; `given` are the keywords of `capacity.api.max_rate`."""
    refuse_for_engines(given)
    workload, lengths, in_order = _scaled(given)
    ready, effort = _set(profile, given), _effort(given)
    scenario = Scenario(
        profile=ready,
        workload=workload,
        lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
        plan=_fleet(ready, replicas, given),
        objective=_objective(given),
        cached_share=_share(given),
        in_order=in_order,
    )
    scenario = parse.in_failure(with_autoscaler(scenario, given), given)
    require_lengths(ready, scenario.lengths, scenario.plan.sequences_max)
    from capacity.answers import RatesAnswer
    from capacity.search.max_rate import find_rates
    from simulations.saturation import require_check

    report: Report = given["progress"]
    with at_work(effort, report) as work:
        judge = work.judge
        require_check(ready)
        rates = find_rates(scenario, judge, report, effort.confidence)
    return RatesAnswer(rates=rates, effort=effort)


def _scaled(given: Given) -> tuple[Workload, AnyLengths, bool]:
    """Arrivals at a rate that stands for all, or those of a trace at its recorded speed, as `_workload` has them."""
    arrivals = given.get("arrivals") or "poisson"
    is_trace = isinstance(arrivals, TraceArrivals) or str(arrivals).startswith("trace:")
    rate_rps = None if is_trace or given.get("daily") is not None else 1.0
    found = _workload({**given, "arrivals": arrivals, "rate": None, "rate_rps": rate_rps})
    _, _, in_order = found
    if in_order and given.get("context_tokens_max") is not None:
        raise InputError(
            "lengths that go with a trace are served as they are; drop long requests from the trace"
        )
    return found


def grid(profiles: Sequence[LlmProfile], given: Given) -> "Grid[LlmProfile]":
    """The axes of a sweep over engines."""
    refuse_for_engines({**given, "batch_size_max": given["batch_size_max"] or None})
    from capacity.question.grid import Grid, parse_counts

    rates, rates_rps = (
        many(given["rate"]),
        [float(parse.rate_rps(None, one) or 0.0) for one in many(given["rate_rps"])],
    )
    workload, lengths, in_order = _scaled(given)
    if workload.day is not None and (rates or rates_rps):
        raise InputError("--daily has the rates of the day; leave out --rate")

    def counts(name: str) -> tuple[int, ...] | None:
        texts = [str(one) for one in many(given.get(name))]
        return parse_counts(texts, _flag(name)) if texts else None

    ready = tuple(_set(one, given) for one in profiles)
    fleets = parse_counts([str(one) for one in many(given["replicas"])], "--replicas")
    demands = _rates_of_a_sweep(workload, rates, rates_rps)
    return Grid(
        profiles=ready,
        workloads=tuple(parse.within(one, given.get("between")) for one in demands),
        replicas=fleets,
        autoscaler=read_autoscaler(given, min(fleets, default=1)),
        routings=tuple(dict.fromkeys(map(parse.read_routing, many(given["routing"]) or ["round-robin"]))),
        settings=EngineSpace(
            lengths=fitted_lengths(ready[0], lengths, given.get("context_tokens_max")),
            sequences_max=counts("sequences_max"),
            batched_tokens_max=counts("batched_tokens_max"),
            cached_share=_share(given),
            in_order=in_order,
        ),
        survival=parse.read_survival(given),
    )


def _rates_of_a_sweep(
    workload: Workload, rates: Sequence[str], rates_rps: Sequence[float]
) -> tuple[Workload, ...]:
    """A workload at each rate, that of a day by default at its highest."""
    if workload.day is None:
        return workloads(workload.arrivals, rates, rates_rps)
    return tuple(map(workload.sized, rates_rps)) or (workload,)


def curve_scenario(profile: LlmProfile, given: Given) -> TokenScenario:
    """A fleet of engines and the arrivals that are scaled."""
    refuse_for_engines(given)
    workload, lengths, in_order = _scaled(given)
    ready = _set(profile, given)
    fleet = _fleet(ready, given["replicas"], given)
    scenario = Scenario(
        profile=ready,
        workload=workload,
        lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
        plan=fleet,
        cached_share=_share(given),
        in_order=in_order,
    )
    require_lengths(ready, scenario.lengths, fleet.sequences_max)
    return with_autoscaler(scenario, given)


def compared(
    saved: Sequence[SavedPlan], profiles: Sequence[LlmProfile], given: Given
) -> tuple[Sequence[SavedPlan], list[LlmProfile], Callable[[Any], TokenScenario]]:
    """Saved plans, profiles as flags set them, and what fleets serve that are given by flags alone."""
    refuse_for_engines(given)
    ready = [_set(one, given) for one in profiles]
    if saved:
        for name in ("lengths", "cached_share", "context_tokens_max"):
            if given.get(name) is not None:
                raise InputError(f"a saved plan has its own lengths; leave {_flag(name)} out")
        if given["arrivals"] != "poisson":
            raise InputError("a saved plan has its own arrivals; leave --arrivals out")
        for name in ("daily", "between", "autoscale"):
            if given.get(name) is not None:
                raise InputError(f"a saved plan has its own arrivals; leave --{name} out")

    def typed(one: Any) -> TokenScenario:
        workload, lengths, in_order = _workload(given)
        scenario = Scenario(
            profile=one.profile,
            workload=workload,
            lengths=fitted_lengths(one.profile, lengths, given.get("context_tokens_max")),
            plan=one.plan,
            cached_share=_share(given),
            in_order=in_order,
        )
        return with_autoscaler(scenario, given)

    return saved, ready, typed


def _fleet(profile: LlmProfile, replicas: int, given: Given) -> TokenPlan:
    """One fleet, with engines as they were measured unless flags say otherwise."""
    limits = profile.limits_measured
    plan = TokenPlan(
        profile=profile.name,
        replicas=replicas,
        sequences_max=_single(given.get("sequences_max"), limits.sequences_max, "--sequences-max"),
        batched_tokens_max=_single(
            given.get("batched_tokens_max"), limits.batched_tokens_max, "--batched-tokens-max"
        ),
        routing=parse.read_routing(given["routing"]),
    )
    profile.require(plan.sequences_max, plan.batched_tokens_max)
    return plan


def _share(given: Given) -> float:
    """The share from `--cached-share`."""
    share = given.get("cached_share")
    if share is None or share == 0.0:
        return 0.0
    found = parse.read_share(share, "--cached-share")
    if not 0.0 <= found < 1.0:
        raise DomainError(f"--cached-share must be from 0 to below 1, got {share}")
    return found


def _routings(given: Given) -> tuple[Routing, ...]:
    found = parse.read_routings(many(given.get("routing")))
    return tuple(one for one in found if one is not Routing.SHARED_QUEUE) or found


_OF_ENGINES = tuple(
    one for name, flag in FLAGS.items() if flag.of_engines and name != "replay" for one in in_both(name, flag)
)


def fleet_in_trouble(
    profile: LlmProfile | None, saved: SavedPlan | None, replicas: int | None, given: Given
) -> tuple[TokenScenario, Saturation]:
    """Engines for `capacity.stress`, from a saved plan or from flags, and the saturation of one of them.

    Raises:
        InputError: a flag that engines do not have, or a missing one.
        DomainError: requests beyond what was measured.
    """
    from simulations.saturation import require_check, saturation

    refuse_for_engines({name: given.get(name) for name in _NOT_IN_TROUBLE})
    if saved is not None:
        scenario = _saved_in_trouble(saved, replicas, given)
    else:
        assert profile is not None  # noqa: S101  (one of the two is given)
        if replicas is None:
            raise InputError("--profile needs --replicas too; or give a saved --plan, which has them")
        workload, lengths, _ = _workload(given)
        ready = _set(profile, given)
        fleet = _fleet(ready, replicas, {**given, "routing": given.get("routing") or "round-robin"})
        scenario = Scenario(
            profile=ready,
            workload=workload,
            lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
            plan=fleet,
            cached_share=_share(given),
        )
    require_lengths(scenario.profile, scenario.lengths, scenario.plan.sequences_max)
    require_check(scenario.profile)
    found = saturation(scenario.profile, scenario.plan, scenario.lengths, scenario.cached_share)
    return scenario, found


_NOT_IN_TROUBLE = ("batch_size_max", "batch_wait", "batch_wait_s")


def _saved_in_trouble(saved: SavedPlan, replicas: int | None, given: Given) -> TokenScenario:
    """A saved plan, with the given rate, routing or number of engines in place of its own."""
    for name in (*_OF_ENGINES, "request_overhead", "request_overhead_s"):
        if is_given(given, name):
            raise InputError(f"a saved plan has settings of its own; leave out {_flag(name)}")
    if given["arrivals"] != "poisson":
        raise InputError("a saved plan has arrivals of its own; leave out --arrivals")
    scenario = saved.question.scenario(saved.plan)
    rate_rps = parse.rate_rps(given.get("rate"), given.get("rate_rps"))
    if rate_rps is not None:
        scenario = scenario.at_rate(rate_rps)
    plan, routing = scenario.plan, given.get("routing")
    if replicas is not None:
        plan = replace(plan, replicas=replicas)
    if routing is not None:
        plan = replace(plan, routing=parse.read_routing(routing))
    return replace(scenario, plan=plan)
