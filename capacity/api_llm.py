"""The verbs for language models: `capacity.api` hands over to these where a profile is of kind llm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.answer.saved_llm_plan import SavedLlmPlan
from capacity.errors import DomainError, InputError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.profile.llm_formats import with_settings
from capacity.profile.load import load_any
from capacity.question import parse
from capacity.question.budget import Effort
from capacity.question.objective import TokenObjective
from capacity.question.plan import Routing
from capacity.question.tokens import (
    TokenCandidate,
    TokenPlan,
    TokenQuestion,
    TokenScenario,
    fitted_lengths,
    require_lengths,
)
from capacity.traffic.lengths import AnyLengths, has_lengths, parse_lengths, read_token_trace
from capacity.traffic.parse import workload as workload_of
from capacity.traffic.workload import ArrivalProcess, TraceArrivals, Workload
from capacity.units import format_quantile

if TYPE_CHECKING:
    from capacity.llm_answers import (
        LlmCheckAnswer,
        LlmExplanationAnswer,
        LlmPlanAnswer,
        LlmRatesAnswer,
        LlmSimulationAnswer,
    )
    from simulations.tokens import TokenJudge

Report = Callable[[str], None]
Given = Mapping[str, Any]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
TOKEN_MEASURES = ("ttft", "tpot", "itl")
# Keywords of a verb that are about batches of one service time, or closed users, and have no meaning here.
_OF_BATCHES = {
    "batch_size_max": None,
    "batch_wait": None,
    "batch_wait_s": None,
    "timer": "oldest",
    "queue_limit": None,
    "users": None,
    "think_time": None,
    "think_time_s": None,
    "instances_per_device": None,
    "slo_wait": None,
    "loss_max": None,
    "utilization_max": None,
    "tier": None,
    "daily": None,
    "spare": 0,
    "survive": None,
    "rolling_update": None,
    "startup_time": None,
    "startup_time_s": None,
    "spike": None,
    "objective": None,
    "cluster": None,
}
# Keywords that only language models have.
ONLY_HERE = (
    "lengths", "cached_share", "context_tokens_max", "sequences_max", "batched_tokens_max", "kv_tokens",
    "block_tokens", "engine_policy", "prefix_caching", "async_scheduling", "chunked_prefill", "goodput_min",
    *(f"slo_{one}_{q}{unit}" for one in TOKEN_MEASURES for q in (*QUANTILES, "mean") for unit in ("", "_s")),
)  # fmt: skip


def refuse_for_batches(given: Given) -> None:
    """Refuse keywords of language models beside a profile of batches.

    Raises:
        InputError: names the first.
    """
    for name in (*ONLY_HERE, "replay"):
        if given.get(name):
            raise InputError(
                f"{_flag(name)} is for language models, and this profile has batch times; give one of "
                "kind llm"
            )


def _refuse_of_batches(given: Given) -> None:
    for name, usual in _OF_BATCHES.items():
        if name in given and given[name] not in (usual, (), [], "0ms"):
            raise InputError(
                f"{_flag(name)} does not apply to language models, whose engines batch continuously; "
                "leave it out"
            )


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_s").replace("_", "-")


def _switch(value: str | bool | None, flag: str) -> bool | None:  # noqa: FBT001  (what a keyword takes)
    """`on` or `off`."""
    if value is None or isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise InputError(f"{flag} {value[:20]!r} is neither on nor off")
    return value == "on"


def _set(profile: LlmProfile, given: Given) -> LlmProfile:
    """A profile with what flags say of its engine, its cache and its overhead."""
    policy = given.get("engine_policy")
    found = with_settings(
        profile,
        kv_tokens=given.get("kv_tokens"),
        block_tokens=given.get("block_tokens"),
        scheduler=None if policy is None else parse.read_choice(Scheduler, policy, "--engine-policy"),
        prefix_caching=_switch(given.get("prefix_caching"), "--prefix-caching"),
        async_scheduling=_switch(given.get("async_scheduling"), "--async-scheduling"),
        chunked_prefill=_switch(given.get("chunked_prefill"), "--chunked-prefill"),
    )
    overhead_s = parse.duration_s(
        given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
    )
    return (
        found
        if overhead_s is None
        else replace(found, overhead=replace(found.overhead, request_s=overhead_s))
    )


def _workload(given: Given) -> tuple[Workload, AnyLengths, bool]:
    """Arrivals and lengths; whether the lengths go with the arrivals of a trace, in its order."""
    arrivals: str | ArrivalProcess = given["arrivals"]
    rate_rps = parse.rate_rps(given.get("rate"), given.get("rate_rps"))
    lengths = given.get("lengths")
    if isinstance(arrivals, str) and arrivals.startswith("trace:"):
        path = Path(arrivals.removeprefix("trace:"))
        if lengths is None:
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
    return workload_of(parse.read_arrivals(arrivals), rate_rps), read, False


def _objective(given: Given) -> TokenObjective:
    """Limits on the first token, the others and the whole response."""

    def limits(prefix: str) -> dict[float, float]:
        pairs = {
            q: (given.get(f"slo_{prefix}{name}"), given.get(f"slo_{prefix}{name}_s"))
            for name, q in QUANTILES.items()
        }
        found = {
            q: parse.duration_s(*one, f"--slo-{prefix.replace('_', '-')}{format_quantile(q).lower()}")
            for q, one in pairs.items()
        }
        return {q: limit_s for q, limit_s in found.items() if limit_s is not None}

    def mean(prefix: str) -> float | None:
        text, number = given.get(f"slo_{prefix}mean"), given.get(f"slo_{prefix}mean_s")
        return parse.duration_s(text, number, f"--slo-{prefix.replace('_', '-')}mean")

    goodput = given.get("goodput_min")
    objective = TokenObjective(
        limits=limits(""),
        response_mean_s=mean(""),
        ttft_limits=limits("ttft_"),
        tpot_limits=limits("tpot_"),
        itl_limits=limits("itl_"),
        ttft_mean_s=mean("ttft_"),
        tpot_mean_s=mean("tpot_"),
        itl_mean_s=mean("itl_"),
        goodput_min=None if goodput is None else parse.read_share(goodput, "--goodput-min"),
    )
    if not objective.promises:
        raise InputError(
            "no objective given; use --slo-ttft-p99 2s and --slo-tpot-p99 50ms, or --slo-p99 20s"
        )
    return objective


def _effort(given: Given) -> Effort:
    names = ("seed", "confidence", "precision", "requests_max", "engine", "workers")
    return Effort(**{name: given[name] for name in names})


def _settings(value: Any, flag: str) -> tuple[int, ...] | None:
    """One setting of the engine or several to choose from."""
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
    """Profiles with the prices that flags give."""
    found = {one.name: one for one in profiles}
    if len(found) < len(profiles):
        raise InputError("two of the profiles have the same name; rename or drop one")
    for text in map(str, prices):
        name, _, price = text.rpartition("=")
        name = name.strip() or next(iter(found))
        if name not in found or ("=" not in text and len(found) > 1):
            raise InputError(f"--hourly-usd {text[:80]!r} names no profile; {next(iter(found))}=6.88 does")
        found[name] = replace(found[name], hourly_usd=parse.read_price(price))
    return tuple(found.values())


def plan(profiles: Sequence[LlmProfile], given: Given) -> "LlmPlanAnswer":
    """The cheapest fleet for a language model; `given` are the keywords of `capacity.api.plan`."""
    _refuse_of_batches(given)
    workload, lengths, in_order = _workload(given)
    ready = [_set(one, given) for one in _priced(profiles, _many(given.get("hourly_usd")))]
    question = TokenQuestion(
        profiles=tuple(ready),
        workload=workload,
        lengths=fitted_lengths(ready[0], lengths, given.get("context_tokens_max")),
        objective=_objective(given),
        sequences_max=_settings(given.get("sequences_max"), "--sequences-max"),
        batched_tokens_max=_settings(given.get("batched_tokens_max"), "--batched-tokens-max"),
        routings=_routings(given),
        replicas_max=given["replicas_max"],
        cached_share=_share(given),
        in_order=in_order,
    )
    effort = _effort(given)
    if given.get("before") is not None:
        given["before"](question)
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.llm_answers import LlmPlanAnswer
    from capacity.search.tokens import recommend_tokens, token_changes
    from simulations.tokens import require_check

    report: Report = given["progress"]
    with _at_work(effort, report) as judge:
        report("finding where an engine saturates")
        for one in ready:
            require_check(one)
        found = recommend_tokens(question, judge, report)
        if found.plan is not None and given.get("explain"):
            found = replace(found, changes=token_changes(question, found.plan, judge, report))
    return LlmPlanAnswer(question=question, effort=effort, recommendation=found)


def simulate(profile: LlmProfile, replicas: int, given: Given) -> "LlmSimulationAnswer":
    """The performance of one plan; `given` are the keywords of `capacity.api.simulate`."""
    _refuse_of_batches(given)
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

    quantiles = parse.read_quantiles(_many(given.get("quantile")), USUAL)
    scenario = TokenScenario(
        profile=ready,
        workload=workload,
        lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
        plan=fleet,
        cached_share=_share(given),
        quantiles=quantiles,
        in_order=in_order,
    )
    from capacity.llm_answers import LlmSimulationAnswer
    from capacity.search.tokens import token_caveats
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.tokens import TokenSimulation, replay, require_check
    from simulations.workers import workers

    require_lengths(ready, scenario.lengths, fleet.sequences_max)
    engine = parse.read_choice(Engine, effort.engine, "--engine")
    report: Report = given["progress"]
    served = None
    with workers(parse.worker_count(effort.workers, None)) as mapper, announced(report):
        if is_replay:
            report("serving the requests of the trace")
            draws, records, performance = replay(scenario, quantiles, engine)
            served = draws, records
        else:
            require_check(ready)
            report(f"simulating {replicas} engine{'s' if replicas > 1 else ''}")
            simulation = TokenSimulation(
                seed=effort.seed,
                confidence=effort.confidence,
                precision=effort.precision,
                requests_max=effort.requests_max,
                engine=engine,
                quantiles=quantiles,
                mapper=mapper,
            )
            performance = simulation(scenario)
    return LlmSimulationAnswer(
        scenario=scenario,
        performance=performance,
        caveats=tuple(token_caveats(scenario, performance)),
        effort=effort,
        served=served,
    )


@contextmanager
def _at_work(effort: Effort, report: Report) -> "Iterator[TokenJudge]":
    """A judge with threads of its own."""
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.tokens import TokenJudge
    from simulations.workers import workers

    engine = parse.read_choice(Engine, effort.engine, "--engine")
    count = parse.worker_count(effort.workers, None)
    with workers(count if engine is Engine.KERNEL else 1) as mapper, announced(report):
        yield TokenJudge(
            seed=effort.seed,
            confidence=effort.confidence,
            precision=effort.precision,
            requests_max=effort.requests_max,
            engine=engine,
            mapper=mapper,
        )


def max_rate(profile: LlmProfile, replicas: int, given: Given) -> "LlmRatesAnswer":
    """The rates at which a fleet meets its objective; `given` are the keywords of `capacity.api.max_rate`."""
    _refuse_of_batches(given)
    workload, lengths, in_order = _workload({**given, "rate": None, "rate_rps": 1.0})
    if in_order or isinstance(workload.arrivals, TraceArrivals):
        raise InputError(
            "a trace has a rate of its own; give its lengths by --lengths, and a named --arrivals"
        )
    ready, effort = _set(profile, given), _effort(given)
    scenario = TokenScenario(
        profile=ready,
        workload=workload,
        lengths=fitted_lengths(ready, lengths, given.get("context_tokens_max")),
        plan=_fleet(ready, replicas, given),
        objective=_objective(given),
        cached_share=_share(given),
    )
    require_lengths(ready, scenario.lengths, scenario.plan.sequences_max)
    from capacity.llm_answers import LlmRatesAnswer
    from capacity.search.tokens import token_rates
    from simulations.tokens import require_check

    report: Report = given["progress"]
    with _at_work(effort, report) as judge:
        require_check(ready)
        rates = token_rates(scenario, judge, report)
    return LlmRatesAnswer(rates=rates, effort=effort)


def check(saved: SavedLlmPlan, given: Given) -> "LlmCheckAnswer":
    """A saved plan judged again, with new steps or at another rate; `given` are those of `capacity.api.check`."""
    for name in ("baseline", "arrivals", "cluster"):
        if given.get(name) is not None:
            raise InputError(f"{_flag(name)} does not apply to plans for language models; leave it out")
    question, profile = saved.question, saved.profile
    news = _many(given.get("profile"))
    if len(news) > 1:
        raise InputError("a plan for a language model runs one profile; give --profile once")
    if news:
        found = load_any(news[0])
        if not isinstance(found, LlmProfile):
            raise InputError(f"{found.name} has batch times; give one of kind llm")
        profile = replace(found, name=profile.name)
    rate_rps = parse.rate_rps(given.get("rate"), given.get("rate_rps"))
    workload = question.workload
    if rate_rps is not None:
        workload = replace(workload, arrival_rate_rps=rate_rps)
    scenario = replace(question.scenario(saved.plan), profile=profile, workload=workload)
    profile.require(saved.plan.sequences_max, saved.plan.batched_tokens_max)
    require_lengths(profile, scenario.lengths, saved.plan.sequences_max)
    requests_max = given.get("requests_max") or saved.effort.requests_max
    effort = replace(saved.effort, requests_max=requests_max, workers=given.get("workers"))
    from capacity.llm_answers import LlmCheckAnswer
    from simulations.tokens import require_check

    report: Report = given["progress"]
    with _at_work(effort, report) as judge:
        require_check(profile)
        report("confirming the plan")
        judged = judge.certify(scenario, 1)
    return LlmCheckAnswer(scenario=scenario, found=judged, effort=effort)


def explain(saved: SavedLlmPlan, given: Given) -> "LlmExplanationAnswer":
    """What binds a saved plan, what one replica fewer does, and what other settings would do."""
    for name in ("arrivals", "cluster"):
        if given.get(name) is not None:
            raise InputError(f"{_flag(name)} does not apply to plans for language models; leave it out")
    question, plan = saved.question, saved.plan
    effort = replace(saved.effort, workers=given.get("workers"))
    from capacity.llm_answers import LlmExplanationAnswer
    from capacity.search.tokens import TokenRecommendation, token_changes

    report: Report = given["progress"]
    with _at_work(effort, report) as judge:
        considered: tuple[TokenCandidate, ...] = ()
        if plan.replicas > 1:
            report("trying one replica fewer")
            considered = (judge.search(question.scenario(replace(plan, replicas=plan.replicas - 1)), 1),)
        found = TokenRecommendation(
            verdict=saved.verdict,
            objective=question.objective,
            plan=plan,
            saturation=judge.saturated(question.scenario(plan)),
            considered=considered,
            changes=token_changes(question, plan, judge, report),
        )
    return LlmExplanationAnswer(recommendation=found, question=question, effort=effort)


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
    """`--cached-share`."""
    share = given.get("cached_share")
    if share is None or share == 0.0:
        return 0.0
    found = parse.read_share(share, "--cached-share")
    if not 0.0 <= found < 1.0:
        raise DomainError(f"--cached-share must be from 0 to below 1, got {share}")
    return found


def _routings(given: Given) -> tuple[Routing, ...]:
    found = parse.read_routings(_many(given.get("routing")))
    return tuple(one for one in found if one is not Routing.SHARED_QUEUE) or found


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
