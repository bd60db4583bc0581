"""The verbs that `import capacity as cap` offers, and where search meets simulation.

Each flag of a command is a keyword of the verb of the same name, with the same default. Durations and
rates are text with a unit, `slo_p99="80ms"`, or SI numbers by the keyword with the unit in its name,
`slo_p99_s=0.08`; a number without a unit is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from capacity.answer.plan_like import PlanLike, Saved, as_saved, batch_plan, is_llm_plan, llm_plan
from capacity.errors import InputError
from capacity.files import holds, is_file
from capacity.profile.load import ProfileLike, load_profile
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.budget import Effort
from capacity.question.plan import Plan
from capacity.question.scenario import Scenario

if TYPE_CHECKING:
    from capacity.answer.check import Finding, GateInputs
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers import (
        CheckAnswer,
        ComparisonAnswer,
        ExplanationAnswer,
        LawAnswer,
        LoadCurveAnswer,
        PlanAnswer,
        PredictionAnswer,
        RatesAnswer,
        SimulationAnswer,
        SweepAnswer,
        WorkloadAnswer,
    )
    from capacity.evidence.beside import RunBeside
    from capacity.evidence_answers import AuditAnswer, ImportAnswer, StagesAnswer
    from capacity.formats.load_test import LoadRun
    from capacity.formats.running_plan import RunningPlan
    from capacity.llm_answers import (
        LlmCheckAnswer,
        LlmComparisonAnswer,
        LlmExplanationAnswer,
        LlmLoadCurveAnswer,
        LlmPlanAnswer,
        LlmProfileAnswer,
        LlmRatesAnswer,
        LlmSimulationAnswer,
        LlmSweepAnswer,
    )
    from capacity.performance import Interval, Performance
    from capacity.profile.llm import LlmProfile
    from capacity.question.objective import LatencyObjective
    from capacity.question.window import Window
    from capacity.render.report import Findings
    from capacity.render.report import Report as PlanReport
    from capacity.traffic.lengths import AnyLengths
    from capacity.traffic.workload import ArrivalProcess, TraceArrivals
    from simulations.compare import PairedSimulation
    from simulations.judge import SimulationJudge
    from simulations.simulate import Simulation
    from simulations.workers import Mapper

Item = TypeVar("Item")
Report = Callable[[str], None]
Many: TypeAlias = Item | Sequence[Item] | None


def silent(message: str) -> None:
    """Progress for those who do not want any."""


class Work:
    """Workers that are ready; a `capacity.question.budget.Work`."""

    def __init__(self, effort: Effort, mapper: "Mapper", report: Report) -> None:
        self.effort, self.mapper, self.report = effort, mapper, report

    @property
    def judge(self) -> "SimulationJudge":
        """Judges plans by simulation."""
        from simulations.judge import SimulationJudge

        return SimulationJudge(**self._settings())

    def simulate(self, quantiles: Sequence[float]) -> "Simulation":
        """Simulates one plan."""
        from simulations.simulate import Simulation

        return Simulation(**self._settings(), quantiles=quantiles)

    def compare(self, quantiles: Sequence[float]) -> "PairedSimulation":
        """Simulates fleets under the same requests."""
        from simulations.compare import PairedSimulation

        return PairedSimulation(**self._settings(), quantiles=quantiles)

    def _settings(self) -> dict[str, Any]:
        from simulations.replication import Engine

        effort = self.effort
        return {
            "seed": effort.seed,
            "confidence": effort.confidence,
            "precision": effort.precision,
            "requests_max": effort.requests_max,
            "engine": Engine(effort.engine),
            "mapper": self.mapper,
        }


@contextmanager
def at_work(effort: Effort, report: Report = silent) -> Iterator[Work]:
    """Threads, or the workers of a Dask cluster, for one verb."""
    from simulations.compiled import announced
    from simulations.replication import Engine
    from simulations.workers import workers

    engine = parse.read_choice(Engine, effort.engine, "--engine")
    count = parse.worker_count(effort.workers, effort.cluster)
    if effort.cluster is None:
        pool = workers(count if engine is Engine.KERNEL else 1)
    else:
        from simulations.cluster_executor import cluster

        pool = cluster(effort.cluster, warn=report)
    with pool as mapper, announced(report):
        yield Work(effort, mapper, report)


def plan(
    profile: "ProfileLike | LlmProfile | Sequence[ProfileLike | LlmProfile]",
    *,
    rate: str | None = None,
    rate_rps: float | None = None,
    slo_p50: str | None = None,
    slo_p90: str | None = None,
    slo_p95: str | None = None,
    slo_p99: str | None = None,
    slo_p999: str | None = None,
    slo_mean: str | None = None,
    slo_p50_s: float | None = None,
    slo_p90_s: float | None = None,
    slo_p95_s: float | None = None,
    slo_p99_s: float | None = None,
    slo_p999_s: float | None = None,
    slo_mean_s: float | None = None,
    slo_ttft_p50: str | None = None,
    slo_ttft_p90: str | None = None,
    slo_ttft_p95: str | None = None,
    slo_ttft_p99: str | None = None,
    slo_ttft_p999: str | None = None,
    slo_ttft_mean: str | None = None,
    slo_tpot_p50: str | None = None,
    slo_tpot_p90: str | None = None,
    slo_tpot_p95: str | None = None,
    slo_tpot_p99: str | None = None,
    slo_tpot_p999: str | None = None,
    slo_tpot_mean: str | None = None,
    slo_itl_p50: str | None = None,
    slo_itl_p90: str | None = None,
    slo_itl_p95: str | None = None,
    slo_itl_p99: str | None = None,
    slo_itl_p999: str | None = None,
    slo_itl_mean: str | None = None,
    slo_ttft_p50_s: float | None = None,
    slo_ttft_p90_s: float | None = None,
    slo_ttft_p95_s: float | None = None,
    slo_ttft_p99_s: float | None = None,
    slo_ttft_p999_s: float | None = None,
    slo_ttft_mean_s: float | None = None,
    slo_tpot_p50_s: float | None = None,
    slo_tpot_p90_s: float | None = None,
    slo_tpot_p95_s: float | None = None,
    slo_tpot_p99_s: float | None = None,
    slo_tpot_p999_s: float | None = None,
    slo_tpot_mean_s: float | None = None,
    slo_itl_p50_s: float | None = None,
    slo_itl_p90_s: float | None = None,
    slo_itl_p95_s: float | None = None,
    slo_itl_p99_s: float | None = None,
    slo_itl_p999_s: float | None = None,
    slo_itl_mean_s: float | None = None,
    goodput_min: str | float | None = None,
    slo_wait: Many[str] = None,
    loss_max: str | float | None = None,
    utilization_max: str | float | None = None,
    tier: str | None = None,
    objective: "LatencyObjective | None" = None,
    batch_size_max: int | None = None,
    batch_wait: Many[str] = None,
    batch_wait_s: Many[float] = None,
    batching: str = "triton",
    preferred_sizes: "str | Iterable[int] | None" = None,
    timer: str | None = None,
    routing: Many[str] = None,
    queue_limit: int | None = None,
    replicas_max: int = 1024,
    hourly_usd: Many[str | float] = None,
    arrivals: "str | ArrivalProcess" = "poisson",
    daily: str | Path | None = None,
    users: int | None = None,
    think_time: str | None = None,
    think_time_s: float | None = None,
    spare: int = 0,
    survive: Many[str] = None,
    rolling_update: str | None = None,
    startup_time: str | None = None,
    startup_time_s: float | None = None,
    spike: str | float | None = None,
    mtbf: str | None = None,
    mtbf_s: float | None = None,
    recovery_time: str | None = None,
    recovery_time_s: float | None = None,
    pause: str | None = None,
    request_class: Many[str] = None,
    recover_within: str | None = None,
    recover_within_s: float | None = None,
    trigger: str | None = None,
    detection: str | None = None,
    detection_s: float | None = None,
    client: str | None = None,
    timeout: str | None = None,
    timeout_s: float | None = None,
    deadline: str | None = None,
    deadline_s: float | None = None,
    attempts: int | None = None,
    backoff: str | None = None,
    retry_budget: str | float | None = None,
    retry_burst: float | None = None,
    retry_on: str | None = None,
    shed: str | None = None,
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    instances_per_device: int | None = None,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    sequences_max: Many[int] = None,
    batched_tokens_max: Many[int] = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.02,
    requests_max: int = 100_000_000,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    explain: bool = False,
    before: "Callable[[Any], None] | None" = None,
    progress: Report = silent,
) -> "PlanAnswer | LlmPlanAnswer":
    """The cheapest fleet that meets the objective, how certain that is, and why fewer are not enough.

    Args:
        profile: a bundled profile's name, a .json or .csv file, a DataFrame or a `ServiceProfile`; several
            to choose between by price. For one of a language model, give `lengths`, and limits on the first
            token and the others.
        objective: instead of `slo_...`, `tier`, `loss_max` and `utilization_max`.
        explain: also find what limits the plan, what the answer depends on, and what would save most.
        mtbf: mean time that a replica runs until it fails, and `recovery_time` until it runs again; the objective is
            met with as many down as there are at once but for 53 minutes a year.
        pause: replicas pause, "200ms,6/min"; `request_class`: requests that take longer, "long:share=0.02,scale=8".
            The fleet then meets the limits on response quantiles with these.
        recover_within: also come back so soon after `trigger`, with `timeout`, `attempts` and the other settings
            of clients as in `stress`; the cheapest fleet that does, with one more setting where that is enough.
        before: called with the question before any work; may raise to refuse it.
        progress: called with each step of the search.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: an argument out of range.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()  # constant times, whose law is exact
    >>> answer = plan(resnet, rate="500rps", slo_p99="100ms", batch_wait="0ms", batch_size_max=4)
    >>> answer.plan.replicas, answer.verdict.value
    (1, 'met')
    """
    given = locals()
    profiles = [parse.find_profile(one) for one in _profiles(profile)]
    if any(not isinstance(one, ServiceProfile) for one in profiles):
        from capacity import api_llm

        return api_llm.plan(_llm(profiles), given)
    _refuse_for_batches(given)
    from capacity.question.question import Question

    rates_rps = parse.rate_rps(rate, rate_rps)
    day = parse.read_curve(daily, rates_rps, users)
    slos = {
        0.5: (slo_p50, slo_p50_s),
        0.9: (slo_p90, slo_p90_s),
        0.95: (slo_p95, slo_p95_s),
        0.99: (slo_p99, slo_p99_s),
        0.999: (slo_p999, slo_p999_s),
    }
    mean_s = parse.duration_s(slo_mean, slo_mean_s, "--slo-mean")
    rule = parse.read_batching(batching, preferred_sizes, timer)
    question = Question(
        profiles=parse.read_profiles(
            [one for one in profiles if isinstance(one, ServiceProfile)],
            parse.duration_s(request_overhead, request_overhead_s, "--request-overhead"),
            _many(hourly_usd),
            instances_per_device,
        ),
        workload=parse.read_demand(
            arrivals,
            rates_rps if day is None else day.peak_rate_rps,
            users,
            parse.duration_s(think_time, think_time_s, "--think-time"),
        ),
        objective=objective
        or parse.read_full_objective(
            parse.limits_s(slos), tier, mean_s, _many(slo_wait), loss_max, utilization_max
        ),
        batch_size_limit=batch_size_max,
        batch_waits_s=parse.read_batch_waits(_many(batch_wait), _many(batch_wait_s)),
        routings=parse.read_routings(_many(routing)),
        batching=rule.batching,
        preferred_sizes=rule.preferred_sizes,
        queue_limit=queue_limit,
        replicas_max=replicas_max,
        survival=parse.read_survival(
            spare,
            _many(survive),
            rolling_update,
            parse.duration_s(startup_time, startup_time_s, "--startup-time"),
            spike,
            mtbf_s=parse.duration_s(mtbf, mtbf_s, "--mtbf"),
            recovery_s=parse.duration_s(recovery_time, recovery_time_s, "--recovery-time"),
            may_stand_alone=trigger is not None,
        ),
    )
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    from capacity import api_recovery
    from capacity.recovery.parse import read_disturbances

    trouble = api_recovery.read_trouble(given)
    disturbances = read_disturbances(pause, _many(request_class))
    question = api_recovery.in_trouble(question, trouble, disturbances)
    if before is not None:
        before(question)
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.answers import PlanAnswer
    from capacity.explanation.explanation import explain_plan
    from capacity.search.by_hour import schedule
    from capacity.search.caveats import with_implausible
    from capacity.search.planner import recommend

    with at_work(effort, progress) as work:
        found = recommend(question, work.judge, work.report, confidence=effort.confidence)
        recovery = disturbed = None
        if disturbances is not None and found.plan is not None:
            found, disturbed = api_recovery.plan_disturbed(question, found, disturbances, work)
        if trouble is not None and found.plan is not None:
            found, recovery = api_recovery.plan_to_recover(question, found, trouble, work)
        if found.plan is not None and (recovery or disturbed):
            question = replace(question, replicas_min=found.plan.replicas, queue_limit=found.plan.queue_limit)
        recommendation = with_implausible(found, question)
        hours, reasons = None, None
        if recommendation.plan is not None and day is not None:
            hours = schedule(question, recommendation.plan, day.hourly_rates_rps, work.judge, work.report)
        if recommendation.plan is not None and explain:
            reasons = explain_plan(
                question,
                recommendation.plan,
                work.judge,
                work.report,
                performance=recommendation.performance,
                like_it=recommendation.like_it,
                precision=effort.precision,
                confidence=effort.confidence,
            )
    return PlanAnswer(
        question=question,
        effort=effort,
        recommendation=recommendation,
        day=hours,
        explanation=reasons,
        recovery=recovery,
        disturbed=disturbed,
    )


def simulate(
    profile: "ProfileLike | LlmProfile",
    replicas: int,
    *,
    rate: str | None = None,
    rate_rps: float | None = None,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    batching: str = "triton",
    preferred_sizes: "str | Iterable[int] | None" = None,
    timer: str | None = None,
    routing: str = "round-robin",
    arrivals: "str | ArrivalProcess" = "poisson",
    users: int | None = None,
    think_time: str | None = None,
    think_time_s: float | None = None,
    queue_limit: int | None = None,
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    instances_per_device: int | None = None,
    quantile: Many[float] = None,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    sequences_max: int | None = None,
    batched_tokens_max: int | None = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    replay: bool = False,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.02,
    requests_max: int = 100_000_000,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "SimulationAnswer | LlmSimulationAnswer":
    """The performance of one plan, with intervals.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        UnstableError: the plan cannot sustain the arrival rate.
        InconclusiveError: the budget is too small for an interval.
    """
    given = locals()
    found = parse.find_profile(profile)
    if not isinstance(found, ServiceProfile):
        from capacity import api_llm

        return api_llm.simulate(found, replicas, given)
    _refuse_for_batches(given)
    from capacity.question.stability import require_answerable
    from capacity.units import QUANTILES

    measured = parse.read_profile(
        found,
        parse.duration_s(request_overhead, request_overhead_s, "--request-overhead"),
        instances_per_device,
    )
    workload = parse.read_demand(
        arrivals,
        parse.rate_rps(rate, rate_rps),
        users,
        parse.duration_s(think_time, think_time_s, "--think-time"),
    )
    rule = parse.read_batching(batching, preferred_sizes, timer)
    fleet = _plan(measured, replicas, batch_size_max, (batch_wait, batch_wait_s), rule, routing, queue_limit)
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    quantiles = parse.read_quantiles(_many(quantile), QUANTILES)
    require_answerable(measured, workload, fleet)
    from capacity.answers import SimulationAnswer
    from capacity.search.caveats import simulation_caveats

    with at_work(effort, progress) as work:
        work.report(f"simulating {_count(fleet.replicas)}, batch {fleet.batch_size_max}")
        simulation = work.simulate(quantiles)
        simulated = simulation.look(measured, workload, fleet)
        like_it = simulation.like_it(measured, workload, fleet)
    scenario = Scenario(profile=measured, workload=workload, plan=fleet, quantiles=quantiles)
    return SimulationAnswer(
        scenario=scenario,
        performance=simulated.performance,
        caveats=tuple(
            simulation_caveats(scenario, simulated.performance, simulated.width, precision, like_it)
        ),
        effort=effort,
    )


def predict(
    profile: ProfileLike,
    replicas: int,
    *,
    rate: str | None = None,
    rate_rps: float | None = None,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    batching: str = "triton",
    preferred_sizes: "str | Iterable[int] | None" = None,
    timer: str | None = None,
    routing: str = "round-robin",
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    instances_per_device: int | None = None,
    quantile: Many[float] = None,
) -> "PredictionAnswer":
    """The performance of one plan from the exact law that describes it, without a simulation.

    There is a law for Poisson arrivals and constant batch times (`profile.of_means()` has these) under
    round-robin and random routing, and for measured times without batching at one replica.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: no exact law; the message says why. Use `simulate` then.
        UnstableError: the plan cannot sustain the arrival rate.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()
    >>> answer = predict(resnet, 2, rate="1500rps", batch_size_max=16)
    >>> round(1e3 * answer.performance.response_quantiles_s[0.99].value, 1)
    18.5
    """
    from capacity.answers import PredictionAnswer
    from capacity.question.stability import require_answerable
    from capacity.search.exact import predict as predict_exactly
    from capacity.traffic.workload import Workload
    from capacity.units import QUANTILES

    measured = parse.read_profile(
        profile,
        parse.duration_s(request_overhead, request_overhead_s, "--request-overhead"),
        instances_per_device,
    )
    workload = parse.read_demand("poisson", parse.rate_rps(rate, rate_rps), None, None)
    assert isinstance(workload, Workload)  # noqa: S101  (no users were given)
    rule = parse.read_batching(batching, preferred_sizes, timer)
    fleet = _plan(measured, replicas, batch_size_max, (batch_wait, batch_wait_s), rule, routing, None)
    quantiles = parse.read_quantiles(_many(quantile), QUANTILES)
    require_answerable(measured, workload, fleet)
    return PredictionAnswer(
        scenario=Scenario(profile=measured, workload=workload, plan=fleet, quantiles=quantiles),
        performance=predict_exactly(measured, workload, fleet, quantiles),
    )


def simulate_law(
    law: Any,
    *,
    requests: int = 2_000_000,
    quantile: Many[float] = None,
    seed: int = 0,
    confidence: float = 0.95,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "LawAnswer":
    """A law of `cap.queues` compared with a simulation of the queue that it describes.

    Args:
        law: such as `cap.queues.MMc(...)`.
        requests: number that count, in twenty independent runs.

    Raises:
        DomainError: a law that cannot be simulated by itself; the message says which can.
        InconclusiveError: too few requests for a valid interval.

    >>> from capacity.queues import MMc
    >>> answer = simulate_law(MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2), quantile=0.9)
    >>> found = answer.performance.response_quantiles_s[0.9]
    >>> found.low < answer.theory.response_quantiles_s[0.9].value < found.high
    True
    """
    from capacity.answers import LawAnswer
    from capacity.units import QUANTILES, require_count
    from simulations.replication import Engine
    from simulations.validation.simulation import LawSimulation

    require_count("requests", requests)
    quantiles = parse.read_quantiles(_many(quantile), QUANTILES)
    effort = Effort(seed=seed, confidence=confidence, engine=engine, workers=workers, cluster=cluster)
    name = type(law).__name__
    with at_work(effort, progress) as work:
        work.report(f"simulating {name}")
        simulation = LawSimulation(
            requests=requests,
            quantiles=quantiles,
            seed=seed,
            confidence=confidence,
            engine=Engine(engine),
            mapper=work.mapper,
        )
        found = simulation(law)
    return LawAnswer(model=name, theory=law.performance(quantiles), performance=found, effort=effort)


def sampling_intervals(
    profiles: Sequence[ProfileLike],
    statistics: Callable[..., Sequence[float]],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> "list[Interval]":
    """Numbers computed from profiles, with intervals that come from the profiles' own samples.

    The samples are resampled 400 times. The intervals say how far the samples of these very runs may be
    off, not what another machine would do; of profiles without samples they have no width.

    Args:
        statistics: takes the given profiles and returns numbers, the same count each time.

    >>> (faster,) = sampling_intervals(
    ...     ["serve-mlp-cpu-fp32", "serve-mlp-cpu-int8"],
    ...     lambda before, after: [after.throughput_rps(8) / before.throughput_rps(8)],
    ... )
    >>> 1.0 < faster.low < faster.value < faster.high < 3.0
    True
    """
    from simulations.statistics.profile_error import sampling_intervals as intervals_of

    measured = [load_profile(one) for one in profiles]
    return intervals_of(measured, statistics, confidence=confidence, seed=seed)


def max_rate(
    profile: "ProfileLike | LlmProfile",
    replicas: int,
    *,
    slo_p50: str | None = None,
    slo_p90: str | None = None,
    slo_p95: str | None = None,
    slo_p99: str | None = None,
    slo_p999: str | None = None,
    slo_mean: str | None = None,
    slo_p50_s: float | None = None,
    slo_p90_s: float | None = None,
    slo_p95_s: float | None = None,
    slo_p99_s: float | None = None,
    slo_p999_s: float | None = None,
    slo_mean_s: float | None = None,
    slo_ttft_p50: str | None = None,
    slo_ttft_p90: str | None = None,
    slo_ttft_p95: str | None = None,
    slo_ttft_p99: str | None = None,
    slo_ttft_p999: str | None = None,
    slo_ttft_mean: str | None = None,
    slo_tpot_p50: str | None = None,
    slo_tpot_p90: str | None = None,
    slo_tpot_p95: str | None = None,
    slo_tpot_p99: str | None = None,
    slo_tpot_p999: str | None = None,
    slo_tpot_mean: str | None = None,
    slo_itl_p50: str | None = None,
    slo_itl_p90: str | None = None,
    slo_itl_p95: str | None = None,
    slo_itl_p99: str | None = None,
    slo_itl_p999: str | None = None,
    slo_itl_mean: str | None = None,
    slo_ttft_p50_s: float | None = None,
    slo_ttft_p90_s: float | None = None,
    slo_ttft_p95_s: float | None = None,
    slo_ttft_p99_s: float | None = None,
    slo_ttft_p999_s: float | None = None,
    slo_ttft_mean_s: float | None = None,
    slo_tpot_p50_s: float | None = None,
    slo_tpot_p90_s: float | None = None,
    slo_tpot_p95_s: float | None = None,
    slo_tpot_p99_s: float | None = None,
    slo_tpot_p999_s: float | None = None,
    slo_tpot_mean_s: float | None = None,
    slo_itl_p50_s: float | None = None,
    slo_itl_p90_s: float | None = None,
    slo_itl_p95_s: float | None = None,
    slo_itl_p99_s: float | None = None,
    slo_itl_p999_s: float | None = None,
    slo_itl_mean_s: float | None = None,
    goodput_min: str | float | None = None,
    slo_wait: Many[str] = None,
    loss_max: str | float | None = None,
    utilization_max: str | float | None = None,
    tier: str | None = None,
    objective: "LatencyObjective | None" = None,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    batching: str = "triton",
    preferred_sizes: "str | Iterable[int] | None" = None,
    timer: str | None = None,
    routing: str = "round-robin",
    queue_limit: int | None = None,
    arrivals: "str | ArrivalProcess" = "poisson",
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    sequences_max: int | None = None,
    batched_tokens_max: int | None = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.02,
    requests_max: int = 100_000_000,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "RatesAnswer | LlmRatesAnswer":
    """The arrival rates at which a plan meets the objective, and P99 against the rate.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """
    given = locals()
    found = parse.find_profile(profile)
    if not isinstance(found, ServiceProfile):
        from capacity import api_llm

        return api_llm.max_rate(found, replicas, given)
    _refuse_for_batches(given)
    from capacity.traffic.workload import Workload

    measured = parse.read_profile(
        found, parse.duration_s(request_overhead, request_overhead_s, "--request-overhead")
    )
    rule = parse.read_batching(batching, preferred_sizes, timer)
    fleet = _plan(measured, replicas, batch_size_max, (batch_wait, batch_wait_s), rule, routing, queue_limit)
    slos = {
        0.5: (slo_p50, slo_p50_s),
        0.9: (slo_p90, slo_p90_s),
        0.95: (slo_p95, slo_p95_s),
        0.99: (slo_p99, slo_p99_s),
        0.999: (slo_p999, slo_p999_s),
    }
    mean_s = parse.duration_s(slo_mean, slo_mean_s, "--slo-mean")
    limits = objective or parse.read_full_objective(
        parse.limits_s(slos), tier, mean_s, _many(slo_wait), loss_max, utilization_max
    )
    if limits.loss_probability is not None and queue_limit is None:
        raise InputError("a loss limit needs a queue limit; give --queue-limit too")
    workload = Workload(arrival_rate_rps=1.0, arrivals=parse.read_arrivals(arrivals))  # stands for all rates
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    from capacity.answers import RatesAnswer
    from capacity.search.max_rate import find_rates

    with at_work(effort, progress) as work:
        scenario = Scenario(profile=measured, workload=workload, plan=fleet, objective=limits)
        rates = find_rates(scenario, work.judge, work.report, effort.confidence)
    return RatesAnswer(rates=rates, effort=effort)


def compare(
    plans: Many[PlanLike] = None,
    *,
    fleet: Many[str] = None,
    profile: "ProfileLike | LlmProfile | Sequence[ProfileLike | LlmProfile] | None" = None,
    rate: str | None = None,
    rate_rps: float | None = None,
    arrivals: str = "poisson",
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    quantile: Many[float] = None,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    seed: int | None = None,
    confidence: float | None = None,
    precision: float | None = None,
    requests_max: int | None = None,
    engine: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "ComparisonAnswer | LlmComparisonAnswer":
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Args:
        plans: files that `capacity plan` has saved by -o, or answers of `plan`.
        fleet: `replicas=4,batch=16,wait=2ms,routing=random,profile=NAME`; of a language model
            `replicas=4,sequences=128,tokens=2048`.

    Raises:
        InputError: fewer than two fleets or too many, or an argument that cannot be read.
    """
    given = locals()
    paths = [as_saved(one, f"plan {number}") for number, one in enumerate(_many(plans), start=1)]
    known = [parse.find_profile(one) for one in _profiles(profile)]
    if any(map(is_llm_plan, paths)) or any(not isinstance(one, ServiceProfile) for one in known):
        from capacity import api_llm

        return api_llm.compare([llm_plan(one) for one in paths], _llm(known), given | {"plans": paths})
    _refuse_for_batches(given)
    from capacity.answer.compare import common_workload, contenders, require_all_answerable
    from capacity.answer.saved_plan import read_plans
    from capacity.answers import ComparisonAnswer
    from capacity.traffic.parse import workload as workload_of

    kept = [batch_plan(one) for one in paths]
    saved = read_plans(kept, None if arrivals == "poisson" else arrivals)
    overhead_s = parse.duration_s(request_overhead, request_overhead_s, "--request-overhead")
    measured = [parse.read_profile(cast("ServiceProfile", one), overhead_s) for one in known]
    rates_rps = parse.rate_rps(rate, rate_rps)
    workload = (
        common_workload(saved, rates_rps) if saved else workload_of(parse.read_arrivals(arrivals), rates_rps)
    )
    fleets = contenders(saved, kept, _many(fleet), measured)
    require_all_answerable(fleets, workload)
    asked: dict[str, Any] = {
        "seed": seed,
        "confidence": confidence,
        "precision": precision,
        "requests_max": requests_max,
        "engine": engine,
        "workers": workers,
        "cluster": cluster,
    }
    usual = saved[0].effort if saved else Effort()
    effort = replace(usual, **{name: value for name, value in asked.items() if value is not None})
    promised = {q for one in saved for q in one.question.objective.limits}
    quantiles = parse.read_quantiles(_many(quantile), sorted({0.5, 0.99, *promised}))
    with at_work(effort, progress) as work:
        work.report(f"simulating {len(fleets)} fleets under the same requests")
        comparison = work.compare(quantiles)(fleets, workload)
    return ComparisonAnswer(contenders=fleets, workload=workload, comparison=comparison, effort=effort)


def check(
    plan: PlanLike,
    *,
    profile: ProfileLike | Sequence[ProfileLike] | None = None,
    rate: str | None = None,
    rate_rps: float | None = None,
    baseline: PlanLike | None = None,
    arrivals: str | None = None,
    without_recovery: bool = False,
    requests_max: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "CheckAnswer | LlmCheckAnswer":
    """Check whether a saved plan still meets its objective, with new measurements or at another rate.

    Args:
        plan: a file written by `capacity plan -o`, or an answer of `plan`.
        profile: new measurements that replace the saved ones: a file; `NAME=FILE` if there are several.
        baseline: a saved plan whose fleet must still be enough.
        without_recovery: leave out whether a plan made by `recover_within` still comes back in time.

    Raises:
        InputError: an argument that cannot be read, or a file without a plan.
    """
    given = locals()
    kept = as_saved(plan)
    if is_llm_plan(kept):
        from capacity import api_llm

        return api_llm.check(llm_plan(kept), given)
    asked = [batch_plan(kept), *([] if baseline is None else [batch_plan(as_saved(baseline))])]
    from capacity.answer.check import gate, gate_inputs, new_profiles, notes_on_trouble
    from capacity.answer.saved_plan import read_plans
    from capacity.answers import CheckAnswer

    saved, *others = read_plans(asked, arrivals)
    anew = list(new_profiles(_profiles(profile), saved))
    inputs = gate_inputs(saved, anew, parse.rate_rps(rate, rate_rps), requests_max)
    effort = replace(inputs.effort, workers=workers, cluster=cluster)
    with at_work(effort, progress) as work:
        answer = gate(saved, inputs, others[0] if others else None, work.judge, work.report)
        recovery = None if without_recovery else _recovery(saved, inputs, work)
    findings = answer.findings if recovery is None else (*answer.findings, recovery)
    notes = (*answer.notes, *notes_on_trouble(saved.answer, recovery))
    return CheckAnswer(answer=replace(answer, findings=findings, notes=notes), saved=saved, effort=effort)


def _recovery(saved: "SavedPlan", inputs: "GateInputs", work: "Work") -> "Finding | None":
    """Whether a plan still comes back in time; None if that was not asked of it."""
    from capacity import api_recovery
    from simulations.stress import StressSimulation

    trouble = api_recovery.saved_trouble(saved.answer, inputs.question.survival.spike)
    if trouble is None:
        return None
    work.report("what the plan does in trouble")
    effort = work.effort
    return api_recovery.check_recovery(
        trouble,
        saved.answer["recovery"].get("setting"),
        lambda trouble: trouble.stress(inputs.question, inputs.plan),
        StressSimulation(seed=effort.seed, confidence=effort.confidence, mapper=work.mapper),
    )


def explain(
    plan: PlanLike,
    *,
    arrivals: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "ExplanationAnswer | LlmExplanationAnswer | StagesAnswer":
    """Why a saved plan is as it is: what limits it, what the answer depends on, and what would save most.

    The plan is confirmed again with the random numbers that it was saved with; nothing is searched again. Of a
    server's statistics it says where a request's time goes, and why the queue is as long as it is.

    Args:
        plan: a file written by `capacity plan -o`, an answer of `plan`, or a server's statistics.

    Raises:
        InputError: a file without a plan, or one without a confirmation.
    """
    given = locals()
    if isinstance(plan, str | Path) and not holds(Path(plan), '"format": "capacity-plan"'):
        from capacity import api_evidence

        if not is_llm_plan(as_saved(plan)) and api_evidence.is_of_another_tool(plan):
            if arrivals is not None:
                raise InputError("--arrivals belongs to a saved plan; leave it out")
            return api_evidence.explain(plan)
    kept = as_saved(plan)
    if is_llm_plan(kept):
        from capacity import api_llm

        return api_llm.explain(llm_plan(kept), given)
    from capacity.answer.saved_plan import read_plans
    from capacity.answers import ExplanationAnswer
    from capacity.explanation.explanation import explain_plan
    from capacity.search.certificate import certify

    (saved,) = read_plans([batch_plan(kept)], arrivals)
    if saved.certificate is None:
        raise InputError(f"{saved.name} has no confirmation; make it again with capacity plan ... -o")
    with at_work(replace(saved.effort, workers=workers, cluster=cluster), progress) as work:
        trial = certify(saved.question, work.judge, saved.plan, saved.certificate, work.report)
        explanation = explain_plan(
            saved.question,
            saved.plan,
            work.judge,
            work.report,
            performance=trial.whole.performance if trial.candidate.accepted else None,
            like_it=trial.candidate.like_it,
            precision=saved.effort.precision,
            confidence=saved.effort.confidence,
        )
    return ExplanationAnswer(saved=saved, verdict=trial.candidate.verdict, explanation=explanation)


def write_report(
    plan: PlanLike,
    output: str | Path,
    *,
    arrivals: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "PlanReport":
    """Write a saved plan as one page of HTML, with charts and tables, to pass on or to print.

    The plan is simulated again with its saved random numbers; the search is not repeated.

    Args:
        plan: a file written by `capacity plan -o`, or an answer of `plan`.
        output: the .html file to write.

    Raises:
        InputError: a file that holds no plan, or one without a certificate; or a path that cannot be written.
    """
    from capacity.answer.saved_plan import read_plans
    from capacity.files import check_target, write_whole
    from capacity.render.report import write_page

    path = Path(output)
    check_target(path, "a report", (".html",))
    kept = as_saved(plan)
    if is_llm_plan(kept):
        raise InputError(
            "the plan is for a language model, of which there is no report yet; capacity explain tells what it rests on"
        )
    (saved,) = read_plans([batch_plan(kept)], arrivals)
    if saved.certificate is None:
        raise InputError(f"{saved.name} has no confirmation; make it again with capacity plan ... -o")
    with at_work(replace(saved.effort, workers=workers, cluster=cluster), progress) as work:
        report = write_page(_report_findings(saved, work, _digest(kept)))
    write_whole(path, report.page.encode())
    return report


def _report_findings(saved: "SavedPlan", work: Work, digest: str | None) -> "Findings":
    """Everything that a report shows of a plan, most of it simulated again."""
    from capacity.answer.saved_answer import read_recommendation
    from capacity.explanation.explanation import find_assumptions
    from capacity.render.report import Findings
    from capacity.search.certificate import certify
    from capacity.search.nearby import one_lost, performance_at_rates

    assert saved.certificate is not None  # noqa: S101  (who asks has looked)
    question, plan, confidence = saved.question, saved.plan, saved.effort.confidence
    trial = certify(question, work.judge, plan, saved.certificate, work.report)
    recommendation = read_recommendation(saved, trial)
    distribution = _distribution(question.scenario(plan), work)
    seen = distribution or trial.whole.performance
    return Findings(
        saved=saved,
        recommendation=recommendation,
        certified=trial.candidate,
        assumptions=tuple(
            find_assumptions(
                question,
                plan,
                trial.whole,
                certified=trial.candidate.accepted,
                precision=saved.effort.precision,
            )
        ),
        rates=performance_at_rates(question, trial.whole, work.judge, work.report, confidence),
        one_lost=one_lost(question, trial, work.judge, work.report, confidence),
        distribution=distribution,
        window=None if seen is None else _window(question.scenario(plan), seen, saved.effort.seed, work),
        digest=digest,
    )


def _distribution(scenario: Scenario, work: Work) -> "Performance | None":
    """Quantiles of the response enough for a curve; None where the budget does not suffice for them."""
    from capacity.errors import InconclusiveError
    from capacity.search.exact import judge_exactly

    shares = [0.02, 0.05, *(number / 10 for number in range(1, 10)), 0.95, 0.97, 0.98, 0.985, 0.99]
    tail = [0.993, 0.995, 0.997, 0.998, 0.999] if max(scenario.objective.limits, default=0.0) > 0.99 else []
    quantiles = tuple(sorted({*shares, *tail, *scenario.objective.limits}))
    work.report("simulating the response times")
    exact = judge_exactly(scenario, quantiles)
    if exact is not None:
        return exact.performance
    try:
        return work.simulate(quantiles)(scenario.profile, scenario.workload, scenario.plan)
    except InconclusiveError:
        return None


def _window(scenario: Scenario, found: "Performance", seed: int, work: Work) -> "Window | None":
    """A short stretch of a run, to look at."""
    from simulations.reference.window import watch

    work.report("simulating a few seconds, batch by batch")
    return watch(scenario, found.throughput_rps, found.batch_size_mean or 1.0, seed)


def _digest(plan: Saved) -> str | None:
    """SHA-256 of the file that holds a plan; None of a plan or a stream, which cannot be read again."""
    import hashlib

    if not isinstance(plan, str | Path) or not is_file(plan):
        return None
    return hashlib.sha256(Path(plan).read_bytes()).hexdigest()


def sweep(
    profile: "ProfileLike | LlmProfile | Sequence[ProfileLike | LlmProfile]",
    replicas: int | str | Iterable[int | str],
    *,
    rate: Many[str] = None,
    rate_rps: float | Iterable[float] | None = None,
    batch_size_max: Many[int | str] = None,
    batch_wait: Many[str] = None,
    batch_wait_s: Many[float] = None,
    routing: Many[str] = None,
    batching: str = "triton",
    preferred_sizes: "str | Iterable[int] | None" = None,
    timer: str | None = None,
    queue_limit: int | None = None,
    arrivals: "str | ArrivalProcess" = "poisson",
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    instances_per_device: int | None = None,
    quantile: Many[float] = None,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    sequences_max: Many[int | str] = None,
    batched_tokens_max: Many[int | str] = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.02,
    requests_max: int = 100_000_000,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    output: str | Path | None = None,
    fresh: bool = False,
    progress: Report = silent,
) -> "SweepAnswer | LlmSweepAnswer":
    """A grid of rates, plans and profiles, one row each.

    Args:
        rate: a rate with its unit, or a range `100rps:1000rps:100rps`.
        output: a .csv, .json or .parquet file to write the rows into; an interrupted run resumes there.
        fresh: start over, ignoring the rows that an interrupted run left.

    Raises:
        InputError: an argument that cannot be read, or too many cells.
    """
    given = locals()
    known = [parse.find_profile(one) for one in _profiles(profile)]
    if any(not isinstance(one, ServiceProfile) for one in known):
        from capacity import api_llm

        return api_llm.sweep(_llm(known), given)
    _refuse_for_batches(given)
    from capacity.answer.sweep import SweepTable, check_file, kept_rows
    from capacity.question.grid import Grid, parse_counts, workloads
    from capacity.units import QUANTILES

    quantiles = parse.read_quantiles(_many(quantile), QUANTILES)
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    overhead_s = parse.duration_s(request_overhead, request_overhead_s, "--request-overhead")
    sizes = _many(batch_size_max)
    rule = parse.read_batching(batching, preferred_sizes, timer)
    grid = Grid(
        profiles=tuple(
            parse.read_profile(cast("ServiceProfile", one), overhead_s, instances_per_device) for one in known
        ),
        workloads=workloads(parse.read_arrivals(arrivals), _many(rate), _numbers(rate_rps)),
        replicas=parse_counts([str(one) for one in _many(replicas)], "--replicas"),
        batch_sizes_max=parse_counts([str(one) for one in sizes], "--batch-size-max") if sizes else (None,),
        batch_waits_max_s=parse.batch_wait_axis_s(_many(batch_wait), _many(batch_wait_s)),
        routings=tuple(dict.fromkeys(map(parse.read_routing, _many(routing) or ["round-robin"]))),
        batching=rule.batching,
        preferred_sizes=rule.preferred_sizes,
        queue_limit=queue_limit,
    )
    for remark in getattr(grid.workloads[0].arrivals, "remarks", ()):
        progress(f"note: {remark}")
    cells = list(grid.cells())
    table = SweepTable(quantiles=quantiles, seed=seed, confidence=confidence)
    path = None if output is None else Path(output)
    if path is not None:
        check_file(path)
    how = {"confidence": confidence, "precision": precision, "requests_max": requests_max, "seed": seed}
    settings = grid.settings(**how, quantiles=quantiles)
    from capacity.answers import SweepAnswer
    from simulations.simulate import Countdown, answers

    with (
        kept_rows(path, settings, table.columns, len(cells), fresh=fresh) as rows,
        at_work(effort, progress) as work,
    ):
        left = cells[len(rows) :]
        found = answers(left, work.simulate(quantiles))
        countdown = Countdown(len(cells), len(rows), work.report)
        for cell, answer in zip(left, found, strict=True):
            rows.append(table.row(cell, answer))
            countdown.tick()
    return SweepAnswer(grid=grid, table=table, cells=tuple(rows), path=path)


# Shares of the sustainable rate at which a curve is simulated: the closer to the wall, the denser.
_LOADS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95)


def load_curve(
    profile: "ProfileLike | LlmProfile",
    replicas: int = 1,
    *,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    routing: str = "round-robin",
    quantile: float = 0.99,
    lengths: "str | Path | AnyLengths | None" = None,
    cached_share: str | float | None = None,
    context_tokens_max: int | None = None,
    sequences_max: int | None = None,
    batched_tokens_max: int | None = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.05,
    requests_max: int = 100_000_000,
    workers: int | None = None,
    progress: Report = silent,
) -> "LoadCurveAnswer | LlmLoadCurveAnswer":
    """Where the response time of a fleet explodes: a quantile from nearly no load to nearly full load.

    Of a language model it is the time to the first token that explodes.

    Raises:
        InputError: an argument that cannot be read.
    """
    given = locals()
    known = parse.find_profile(profile)
    if not isinstance(known, ServiceProfile):
        from capacity import api_llm

        return api_llm.load_curve(known, replicas, given)
    _refuse_for_batches(given)
    from capacity.answers import LoadCurveAnswer, SweepAnswer
    from capacity.question.stability import sustainable_rate_rps

    measured = known
    (asked,) = parse.read_quantiles([quantile], ())
    fleet = _plan(
        measured, replicas, batch_size_max, (batch_wait, batch_wait_s), parse.BatchingRule(), routing, None
    )
    most_rps = sustainable_rate_rps(measured, fleet)
    found = sweep(
        measured,
        replicas,
        rate_rps=[share * most_rps for share in _LOADS],
        batch_size_max=[fleet.batch_size_max],
        batch_wait_s=[fleet.batch_wait_max_s],
        routing=routing,
        quantile=[asked],
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        workers=workers,
        progress=progress,
    )
    assert isinstance(found, SweepAnswer)  # noqa: S101  (of what batches)
    return LoadCurveAnswer(grid=found.grid, table=found.table, cells=found.cells, plan=fleet)


def describe_workload(
    trace: str | Path,
    *,
    profile: ProfileLike | None = None,
    replicas: int | None = None,
    rate: str | None = None,
    rate_rps: float | None = None,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    routing: str = "round-robin",
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    quantile: float = 0.99,
    seed: int = 0,
    confidence: float = 0.95,
    precision: float = 0.02,
    requests_max: int = 100_000_000,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "WorkloadAnswer":
    """How heavy and bursty recorded traffic is, whether it is Poisson, and what assuming Poisson would cost.

    Args:
        trace: the recorded arrivals; `capacity workload` documents the columns.
        profile: with `replicas`, the plan whose percentile is compared with that under Poisson arrivals.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
    """
    from capacity.answers import WorkloadAnswer
    from capacity.question.comparison import PoissonError
    from capacity.question.stability import require_answerable
    from capacity.traffic.description import describe
    from capacity.traffic.lengths import has_lengths, read_token_trace
    from capacity.traffic.parse import workload as workload_of
    from capacity.traffic.workload import PoissonArrivals

    rates_rps = parse.rate_rps(rate, rate_rps)
    if (profile is None) != (replicas is None):
        raise InputError("give --profile and --replicas together, or neither to describe the trace alone")
    if profile is None and rates_rps is not None:
        raise InputError("--rate is for the plan that --profile and --replicas describe; give those too")
    effort = Effort(
        seed=seed,
        confidence=confidence,
        precision=precision,
        requests_max=requests_max,
        engine=engine,
        workers=workers,
        cluster=cluster,
    )
    (asked,) = parse.read_quantiles([quantile], ())
    arrivals, lengths = (
        read_token_trace(Path(trace))
        if has_lengths(Path(trace))
        else (cast("TraceArrivals", parse.read_arrivals(f"trace:{trace}")), None)
    )
    about = describe(arrivals)
    if profile is None or replicas is None:
        return WorkloadAnswer(description=about, effort=effort, lengths=lengths)
    measured = parse.read_profile(
        profile, parse.duration_s(request_overhead, request_overhead_s, "--request-overhead")
    )
    recorded = workload_of(about.trace, rates_rps)
    fleet = _plan(
        measured, replicas, batch_size_max, (batch_wait, batch_wait_s), parse.BatchingRule(), routing, None
    )
    require_answerable(measured, recorded, fleet)
    both = replace(effort, confidence=parse.both_confidence(confidence))
    with at_work(both, progress) as work:
        simulation = work.simulate((asked,))
        work.report("simulating the trace")
        by_trace = simulation.of_traffic_like(measured, recorded, fleet)
        work.report("simulating Poisson arrivals")
        poisson = replace(recorded, arrivals=PoissonArrivals())
        by_poisson = simulation(measured, poisson, fleet).response_quantiles_s[asked]
    error = PoissonError(
        plan=fleet,
        arrival_rate_rps=recorded.arrival_rate_rps,
        quantile=asked,
        by_trace=by_trace,
        by_poisson=by_poisson,
        confidence=confidence,
    )
    return WorkloadAnswer(description=about, effort=effort, error=error, profile=measured, lengths=lengths)


def import_file(
    files: str | Path | Sequence[str | Path],
    *,
    kind: str | None = None,
    name: str | None = None,
    model: str | None = None,
    device: str | None = None,
    devices: int = 1,
    device_kind: str | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    hourly_usd: float | None = None,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    sequences_max: int | None = None,
    batched_tokens_max: int | None = None,
    engine_policy: str | None = None,
    prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None,
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    progress: Report = silent,
) -> "LlmProfileAnswer | ImportAnswer":
    """What files of other tools hold: a profile, a workload, a load test, or the settings of a server.

    Args:
        files: a file or a URL; several where they are sweeps over the server of a language model, written by
            `vllm bench serve --save-detailed`, guidellm or aiperf, which together are its profile.
        kind: profile, load-test, workload or plan, of a file that holds several of these.
        model: its name; of a file with several, such as Triton's statistics, which of them.
        devices: that the server of a language model runs on, as one replica.
        device_kind: cpu or gpu, of a profile of batch times; files for servers need to know.

    Raises:
        InputError: a file of no known format; of a language model, a flag that clients cannot see is missing, a
            sweep is missing, or the steps miss the throughput of the saturated run among the files.
        DependencyError: a URL does not answer.
    """
    from capacity import api_evidence

    given = dict(locals())
    paths = api_evidence.sources(files)
    if kind is not None or (len(paths) == 1 and not api_evidence.is_sweep(paths[0])):
        if len(paths) > 1:
            raise InputError(f"--as {kind} reads one file, got {len(paths)}")
        return api_evidence.import_file(paths[0], kind, given)
    api_evidence.require_sweeps(paths)
    from capacity import api_llm
    from capacity.formats.registry import Kind, read
    from simulations.saturation import require_check

    if device_kind is not None:
        raise InputError(
            "--kind is of a profile of batch times, and these are sweeps over an engine; leave it out"
        )
    given = dict(locals())
    asked = api_llm.asked_engine(given)
    settings = api_llm.sweep_settings(asked, given)
    runs = [run for path in paths for run in read(Path(path), Kind.RUNS)]
    progress("working out the steps")
    answer = api_llm.profile_of_sweeps(runs, asked, settings)
    require_check(answer.profile)
    return answer


def audit(
    file: str | Path,
    *,
    loop: str | None = None,
    users: float | None = None,
    think_time: str | None = None,
    think_time_s: float | None = None,
    rate: str | None = None,
    rate_rps: float | None = None,
    profile: "ProfileLike | LlmProfile | None" = None,
    plan: PlanLike | None = None,
    replicas: int = 1,
    batch_size_max: int | None = None,
    batch_wait: str | None = None,
    batch_wait_s: float | None = None,
    routing: str = "round-robin",
    queue_limit: int | None = None,
    request_overhead: str | None = None,
    request_overhead_s: float | None = None,
    lengths: "str | Path | AnyLengths | None" = None,
    sequences_max: int | None = None,
    batched_tokens_max: int | None = None,
    kv_tokens: int | None = None,
    prefix_caching: str | bool | None = None,
    seed: int = 0,
    precision: float = 0.05,
    workers: int | None = None,
    progress: Report = silent,
) -> "AuditAnswer":
    """Whether a load test is to be believed, by laws that its own figures must obey.

    Args:
        file: a report of a load generator, or the URL of one.
        loop: `open` if requests were sent by a schedule, `closed` if each user waited for an answer, where the file
            does not say.
        users: of a closed loop, where the file does not say how many there were.
        think_time: of those users, mean time between an answer and the next request.
        rate: at which requests arrived, where the file does not say.
        profile: predict each run by this profile, and lay the prediction beside what was measured.
        plan: predict by a saved plan instead: its profile, replicas and batching; or, with a profile, by the
            replicas and the batching of a server's configuration, such as Triton's config.pbtxt.
        lengths: of the requests of a language model, where the file has no single requests with their tokens.

    Raises:
        InputError: the file is of no known format, or holds no load test.
    """
    given = locals()
    from capacity import api_evidence

    Effort(seed=seed, precision=precision)  # refuses what is out of range, also where nothing is predicted
    known = api_evidence.Told(
        users=users,
        loop=loop,
        think_time_s=parse.duration_s(think_time, think_time_s, "--think-time"),
        rate_rps=parse.rate_rps(rate, rate_rps),
    )
    running = api_evidence.running_plan(plan)
    if running is not None and profile is None:
        raise InputError("the plan says how a server batches and not how long it takes; give --profile too")
    if profile is not None and plan is not None and running is None:
        raise InputError("give --profile or --plan to predict by, not both")
    of_profile = {
        "--replicas": replicas != 1, "--batch-size-max": batch_size_max, "--routing": routing != "round-robin",
        "--batch-wait": batch_wait not in (None, "0ms") or batch_wait_s, "--queue-limit": queue_limit,
        "--request-overhead": (request_overhead or request_overhead_s) and running is None,
        "--lengths": lengths is not None and plan is None,
        **{f"--{name.replace('_', '-')}": given[name] is not None for name in _OF_ENGINES},
    }  # fmt: skip
    told = [flag for flag, is_told in of_profile.items() if is_told]
    if told and profile is None:
        raise InputError(f"{told[0]} belongs to --profile; give a profile too, or leave it out")
    if told and running is not None:
        raise InputError(f"{told[0]} is in the plan of the server; leave it out, or --plan")
    effort = {"seed": seed, "precision": precision, "workers": workers, "progress": progress}
    predicted, notes = _prediction(given, running, effort)
    return api_evidence.audit(file, known, predicted, notes)


# Settings of the engines of a language model that an audit takes besides its profile.
_OF_ENGINES = ("sequences_max", "batched_tokens_max", "kv_tokens", "prefix_caching")


def _prediction(
    given: Mapping[str, Any], running: "RunningPlan | None", effort: Mapping[str, Any]
) -> "tuple[Callable[[LoadRun], RunBeside] | None, tuple[str, ...]]":
    """What lays a prediction beside each run of an audit, None without a profile; and notes on it."""
    from capacity import api_evidence

    if given["plan"] is not None and running is None:
        return _saved_prediction(as_saved(given["plan"]), given, effort), ()
    if given["profile"] is None:
        return None, ()
    found = parse.find_profile(given["profile"])
    if not isinstance(found, ServiceProfile):
        names = (*_OF_ENGINES, "lengths", "routing", "request_overhead", "request_overhead_s")
        settings = {name: given[name] for name in names}
        return (lambda run: api_evidence.of_tokens(run, found, given["replicas"], settings, effort)), ()
    _refuse_for_batches(given)
    overhead = given["request_overhead"], given["request_overhead_s"]
    measured = parse.read_profile(found, parse.duration_s(*overhead, "--request-overhead"))
    if running is not None:
        fleet, notes = api_evidence.plan_of(running, measured), api_evidence.notes_of(running, measured)
    else:
        wait, rule = (given["batch_wait"], given["batch_wait_s"]), parse.BatchingRule()
        asked = (
            given["replicas"],
            given["batch_size_max"],
            wait,
            rule,
            given["routing"],
            given["queue_limit"],
        )
        fleet, notes = _plan(measured, *asked), ()
    return (lambda run: api_evidence.of_batches(run, measured, fleet, effort)), notes


def _saved_prediction(
    kept: Saved, given: Mapping[str, Any], effort: Mapping[str, Any]
) -> "Callable[[LoadRun], RunBeside]":
    """What lays the prediction of a saved plan beside each run."""
    from capacity import api_evidence
    from capacity.answer.saved_plan import read_plans

    if is_llm_plan(kept):
        saved = llm_plan(kept)
        engines = saved.plan
        settings = {
            "sequences_max": engines.sequences_max, "batched_tokens_max": engines.batched_tokens_max,
            "routing": engines.routing.value, "cached_share": saved.question.cached_share, "lengths": given["lengths"],
        }  # fmt: skip
        return lambda run: api_evidence.of_tokens(run, saved.profile, engines.replicas, settings, effort)
    (batches,) = read_plans([batch_plan(kept)])
    measured = batches.question.profile(batches.plan.profile)
    return lambda run: api_evidence.of_batches(run, measured, batches.plan, effort)


def _plan(
    profile: ServiceProfile,
    replicas: int,
    batch_size_max: int | None,
    batch_wait: tuple[str | None, float | None],
    rule: parse.BatchingRule,
    routing: str,
    queue_limit: int | None,
) -> Plan:
    """One fleet; batches up to the profile's largest that start at once, unless something else is asked."""
    return Plan(
        profile=profile.name,
        replicas=replicas,
        batch_size_max=profile.batch_size_max if batch_size_max is None else batch_size_max,
        batch_wait_max_s=parse.duration_s(*batch_wait, "--batch-wait") or 0.0,
        routing=parse.read_routing(routing),
        batching=rule.batching,
        preferred_sizes=rule.preferred_sizes,
        queue_limit=queue_limit,
    )


def render_plan(plan: PlanLike, target: str, arrivals: str | None = None) -> str:
    """A saved plan as the settings of what is to run it, to scale it, to watch it or to load it.

    Args:
        plan: a file written by `capacity plan -o`, or an answer of `plan`.
        target: `triton`, `kubernetes`, `keda`, `kserve`, `ray-serve`, `bentoml`, `compose`, `serve-api`, `k6` or
            `prometheus` for a fleet that batches, `vllm` for a language model; `envoy`, `istio` or `grpc` for the
            clients of a plan of either that recovers.
        arrivals: `trace:FILE`, where the plan's trace was too long to be saved with it.

    Raises:
        InputError: a file without a plan, an unknown target, or one that cannot run such a plan.
    """
    from capacity.answer.saved_plan import read_plans
    from capacity.render.deploy.registry import find_target, render

    find_target(target)  # before the file is read
    kept = as_saved(plan)
    if is_llm_plan(kept):
        return render(llm_plan(kept), target)
    (saved,) = read_plans([batch_plan(kept)], arrivals)
    return render(saved, target)


def _llm(profiles: "Sequence[ServiceProfile | LlmProfile]") -> "list[LlmProfile]":
    """Profiles that are all of language models.

    Raises:
        InputError: one is not.
    """
    batches = [one.name for one in profiles if isinstance(one, ServiceProfile)]
    if batches:
        raise InputError(
            f"{batches[0]} has batch times, and others are of language models; plan for one kind"
        )
    return [one for one in profiles if not isinstance(one, ServiceProfile)]


def _refuse_for_batches(given: Mapping[str, Any]) -> None:
    """Refuse keywords that only language models have."""
    if any(given[name] for name in given if name.startswith(_OF_TOKENS)):
        from capacity.api_llm import refuse_for_batches

        refuse_for_batches(given)


_OF_TOKENS = (
    "slo_ttft", "slo_tpot", "slo_itl", "goodput", "lengths", "cached", "context", "sequences", "batched", "kv_",
    "block_tokens", "engine_policy", "prefix", "async", "chunked", "replay",
)  # fmt: skip


def _many(value: Any) -> list[Any]:
    """A list of what may be one, several or none."""
    if value is None:
        return []
    if isinstance(value, str | bytes | Path | Mapping) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _numbers(value: float | Iterable[float] | None) -> list[float]:
    return [float(one) for one in _many(value)]


def _profiles(value: ProfileLike | Sequence[ProfileLike] | None) -> list[ProfileLike]:
    """One profile or several; a DataFrame is one, though it can be iterated."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _count(replicas: int) -> str:
    return f"{replicas} replica" + ("s" if replicas > 1 else "")


__all__ = [
    "at_work",
    "audit",
    "check",
    "compare",
    "describe_workload",
    "explain",
    "load_curve",
    "load_profile",
    "max_rate",
    "plan",
    "predict",
    "render_plan",
    "sampling_intervals",
    "simulate",
    "simulate_law",
    "sweep",
    "write_report",
]
