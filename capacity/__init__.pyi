# Written by tests/readme.py from the table of flags, so that editors know the keywords of each verb.
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from capacity import queues as queues
from capacity.answer.plan_like import PlanLike
from capacity.answer.schema import schema as schema
from capacity.answers.agreement import AgreementAnswer
from capacity.answers.autoscale import AutoscaleAnswer
from capacity.answers.comparison import ComparisonAnswer
from capacity.answers.evidence import AuditAnswer
from capacity.answers.evidence import ImportAnswer
from capacity.answers.evidence import LlmProfileAnswer
from capacity.answers.evidence import MeasurementAnswer
from capacity.answers.evidence import StagesAnswer
from capacity.answers.performance import PredictionAnswer
from capacity.answers.performance import SimulationAnswer
from capacity.answers.plan import PlanAnswer
from capacity.answers.rates import RatesAnswer
from capacity.answers.recovery import StressAnswer
from capacity.answers.saved import CheckAnswer
from capacity.answers.saved import ExplanationAnswer
from capacity.answers.sweep import LoadCurveAnswer
from capacity.answers.sweep import SweepAnswer
from capacity.answers.verification import VerificationAnswer
from capacity.answers.workload import SessionsAnswer
from capacity.answers.workload import WorkloadAnswer
from capacity.api.saved import render_plan as render_plan
from capacity.api.simulate import sampling_intervals as sampling_intervals
from capacity.api.simulate import simulate_law as simulate_law
from capacity.errors import CapacityError as CapacityError
from capacity.errors import DomainError as DomainError
from capacity.errors import InconclusiveError as InconclusiveError
from capacity.errors import InputError as InputError
from capacity.errors import UnstableError as UnstableError
from capacity.performance import Interval as Interval
from capacity.performance import Performance as Performance
from capacity.performance import format_interval as format_interval
from capacity.profile.contention import Contention as Contention
from capacity.profile.llm import LlmProfile
from capacity.profile.load import ProfileLike
from capacity.profile.load import bundled_names as bundled_names
from capacity.profile.load import load_profile as load_profile
from capacity.profile.profile import BatchTiming as BatchTiming
from capacity.profile.profile import ServiceProfile as ServiceProfile
from capacity.profile.quantization import load_measured_quantization as load_measured_quantization
from capacity.profile.quantization import quantize as quantize
from capacity.profile.scalability import UniversalScalability as UniversalScalability
from capacity.profile.scalability import fit_scalability as fit_scalability
from capacity.question.candidate import Verdict as Verdict
from capacity.question.objective import Objective as Objective
from capacity.question.plan import Routing as Routing
from capacity.queues.curves import curves as curves
from capacity.render.plot import PALETTE as PALETTE
from capacity.render.plot import new_panels as new_panels
from capacity.render.plot import new_plot as new_plot
from capacity.render.report.page import PlanReport
from capacity.server.batch.batching import BatchTimer as BatchTimer
from capacity.server.batch.plan import Plan as Plan
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.any_lengths import AnySessions
from capacity.traffic.workload import ArrivalProcess
from capacity.traffic.workload import ClosedPopulation as ClosedPopulation
from capacity.traffic.workload import DeterministicArrivals as DeterministicArrivals
from capacity.traffic.workload import GammaArrivals as GammaArrivals
from capacity.traffic.workload import MmppArrivals as MmppArrivals
from capacity.traffic.workload import PoissonArrivals as PoissonArrivals
from capacity.traffic.workload import Workload as Workload
from capacity.units import format_duration as format_duration
from capacity.units import format_rate as format_rate

__version__: str
_PLACES: dict[str, str]

def plan(
    profile: ProfileLike | LlmProfile | Iterable[ProfileLike | LlmProfile], *,
    rate: str | Iterable[str] | None = None, rate_rps: float | Iterable[float] | None = None,
    slo_p50: str | Iterable[str] | None = None, slo_p50_s: float | Iterable[float] | None = None,
    slo_p90: str | Iterable[str] | None = None, slo_p90_s: float | Iterable[float] | None = None,
    slo_p95: str | Iterable[str] | None = None, slo_p95_s: float | Iterable[float] | None = None,
    slo_p99: str | Iterable[str] | None = None, slo_p99_s: float | Iterable[float] | None = None,
    slo_p999: str | Iterable[str] | None = None, slo_p999_s: float | Iterable[float] | None = None,
    slo_mean: str | Iterable[str] | None = None, slo_mean_s: float | Iterable[float] | None = None,
    slo_wait_p50: str | Iterable[str] | None = None, slo_wait_p50_s: float | Iterable[float] | None = None,
    slo_wait_p90: str | Iterable[str] | None = None, slo_wait_p90_s: float | Iterable[float] | None = None,
    slo_wait_p95: str | Iterable[str] | None = None, slo_wait_p95_s: float | Iterable[float] | None = None,
    slo_wait_p99: str | Iterable[str] | None = None, slo_wait_p99_s: float | Iterable[float] | None = None,
    slo_wait_p999: str | Iterable[str] | None = None, slo_wait_p999_s: float | Iterable[float] | None = None,
    loss_max: str | float | Iterable[str | float] | None = None,
    utilization_max: str | float | Iterable[str | float] | None = None, tier: str | None = None,
    slo_ttft_p50: str | Iterable[str] | None = None, slo_ttft_p50_s: float | Iterable[float] | None = None,
    slo_ttft_p90: str | Iterable[str] | None = None, slo_ttft_p90_s: float | Iterable[float] | None = None,
    slo_ttft_p95: str | Iterable[str] | None = None, slo_ttft_p95_s: float | Iterable[float] | None = None,
    slo_ttft_p99: str | Iterable[str] | None = None, slo_ttft_p99_s: float | Iterable[float] | None = None,
    slo_ttft_p999: str | Iterable[str] | None = None, slo_ttft_p999_s: float | Iterable[float] | None = None,
    slo_ttft_mean: str | Iterable[str] | None = None, slo_ttft_mean_s: float | Iterable[float] | None = None,
    slo_tpot_p50: str | Iterable[str] | None = None, slo_tpot_p50_s: float | Iterable[float] | None = None,
    slo_tpot_p90: str | Iterable[str] | None = None, slo_tpot_p90_s: float | Iterable[float] | None = None,
    slo_tpot_p95: str | Iterable[str] | None = None, slo_tpot_p95_s: float | Iterable[float] | None = None,
    slo_tpot_p99: str | Iterable[str] | None = None, slo_tpot_p99_s: float | Iterable[float] | None = None,
    slo_tpot_p999: str | Iterable[str] | None = None, slo_tpot_p999_s: float | Iterable[float] | None = None,
    slo_tpot_mean: str | Iterable[str] | None = None, slo_tpot_mean_s: float | Iterable[float] | None = None,
    slo_itl_p50: str | Iterable[str] | None = None, slo_itl_p50_s: float | Iterable[float] | None = None,
    slo_itl_p90: str | Iterable[str] | None = None, slo_itl_p90_s: float | Iterable[float] | None = None,
    slo_itl_p95: str | Iterable[str] | None = None, slo_itl_p95_s: float | Iterable[float] | None = None,
    slo_itl_p99: str | Iterable[str] | None = None, slo_itl_p99_s: float | Iterable[float] | None = None,
    slo_itl_p999: str | Iterable[str] | None = None, slo_itl_p999_s: float | Iterable[float] | None = None,
    slo_itl_mean: str | Iterable[str] | None = None, slo_itl_mean_s: float | Iterable[float] | None = None,
    slo_session_p50: str | Iterable[str] | None = None,
    slo_session_p50_s: float | Iterable[float] | None = None,
    slo_session_p90: str | Iterable[str] | None = None,
    slo_session_p90_s: float | Iterable[float] | None = None,
    slo_session_p95: str | Iterable[str] | None = None,
    slo_session_p95_s: float | Iterable[float] | None = None,
    slo_session_p99: str | Iterable[str] | None = None,
    slo_session_p99_s: float | Iterable[float] | None = None,
    slo_session_p999: str | Iterable[str] | None = None,
    slo_session_p999_s: float | Iterable[float] | None = None,
    slo_session_mean: str | Iterable[str] | None = None,
    slo_session_mean_s: float | Iterable[float] | None = None,
    goodput_min: str | float | Iterable[str | float] | None = None, objective: Objective | None = None,
    batch_size_max: int | Iterable[int] | str | None = None, batch_wait: str | Iterable[str] | None = None,
    batch_wait_s: float | Iterable[float] | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str | Iterable[str] | None = None, queue_limit: int | Iterable[int] | str | None = None,
    outstanding_max: int | None = None, replicas_max: int | Iterable[int] | str = 1024,
    hourly_usd: str | float | Iterable[str | float] | None = None,
    arrivals: str | ArrivalProcess = 'poisson', daily: str | Path | None = None,
    autoscale: str | None = None, metric_lag: str | None = None, metric_lag_s: float | None = None,
    stabilization: str | None = None, stabilization_s: float | None = None, runs: int = 5,
    users: int | Iterable[int] | str | None = None, think_time: str | Iterable[str] | None = None,
    think_time_s: float | Iterable[float] | None = None, spare: int | Iterable[int] | str = 0,
    survive: str | Iterable[str] | None = None, rolling_update: str | None = None,
    startup_time: str | Iterable[str] | None = None, startup_time_s: float | Iterable[float] | None = None,
    spike: str | float | None = None, mtbf: str | Iterable[str] | None = None,
    mtbf_s: float | Iterable[float] | None = None, recovery_time: str | Iterable[str] | None = None,
    recovery_time_s: float | Iterable[float] | None = None, pause: str | None = None,
    request_class: str | Iterable[str] | None = None, recover_within: str | Iterable[str] | None = None,
    recover_within_s: float | Iterable[float] | None = None, trigger: str | None = None,
    detection: str | None = None, detection_s: float | None = None, slow_start: str | None = None,
    slow_start_s: float | None = None, client: str | None = None, timeout: str | Iterable[str] | None = None,
    timeout_s: float | Iterable[float] | None = None, deadline: str | Iterable[str] | None = None,
    deadline_s: float | Iterable[float] | None = None, attempts: int | Iterable[int] | str | None = None,
    backoff: str | None = None, retry_budget: str | float | None = None, retry_burst: float | None = None,
    retry_on: str | None = None, hedge: str | Iterable[str] | None = None,
    hedge_s: float | Iterable[float] | None = None, shed: str | None = None,
    request_overhead: str | Iterable[str] | None = None,
    request_overhead_s: float | Iterable[float] | None = None,
    instances_per_device: int | Iterable[int] | str | None = None,
    lengths: str | Path | AnyLengths | None = None, sessions: str | Path | AnySessions | None = None,
    allow_bistable: bool = False, cached_share: str | float | Iterable[str | float] | None = None,
    context_tokens_max: int | Iterable[int] | str | None = None,
    kv_tokens: int | Iterable[int] | str | None = None, block_tokens: int | None = None,
    engine_policy: str | None = None, prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None, chunked_prefill: str | bool | None = None,
    long_prefill_tokens: int | None = None, watermark: str | float | None = None,
    mixed_chunk: str | bool | None = None, draft_tokens: int | None = None,
    sequences_max: int | Iterable[int] | str | None = None,
    batched_tokens_max: int | Iterable[int] | str | None = None, seed: int = 0, confidence: float = 0.95,
    precision: float = 0.02, requests_max: int = 100000000, engine: str = 'kernel',
    workers: int | None = None, cluster: str | None = None, explain: bool = False, before: Callable[...,
    None] | None = None, progress: Callable[..., None] | None = None
) -> PlanAnswer | Any: ...

def simulate(
    profile: ProfileLike | LlmProfile, replicas: int, *, rate: str | None = None,
    rate_rps: float | None = None, batch_size_max: int | None = None, batch_wait: str = '0ms',
    batch_wait_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str = 'round-robin', arrivals: str | ArrivalProcess = 'poisson',
    daily: str | Path | None = None, between: str | None = None, autoscale: str | None = None,
    replicas_min: int | None = None, startup_time: str | None = None, startup_time_s: float | None = None,
    metric_lag: str | None = None, metric_lag_s: float | None = None, stabilization: str | None = None,
    stabilization_s: float | None = None, users: int | None = None, think_time: str | None = None,
    think_time_s: float | None = None, queue_limit: int | None = None, outstanding_max: int | None = None,
    request_overhead: str | None = None, request_overhead_s: float | None = None,
    instances_per_device: int | None = None, client: str | None = None, timeout: str | None = None,
    timeout_s: float | None = None, deadline: str | None = None, deadline_s: float | None = None,
    attempts: int | None = None, backoff: str | None = None, retry_budget: str | float | None = None,
    retry_burst: float | None = None, retry_on: str | None = None, hedge: str | None = None,
    hedge_s: float | None = None, spare: int = 0, survive: str | Iterable[str] | None = None,
    rolling_update: str | None = None, mtbf: str | None = None, mtbf_s: float | None = None,
    recovery_time: str | None = None, recovery_time_s: float | None = None,
    quantile: float | Iterable[float] | None = None, lengths: str | Path | AnyLengths | None = None,
    sessions: str | Path | AnySessions | None = None, allow_bistable: bool = False,
    cached_share: str | float | None = None, context_tokens_max: int | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, long_prefill_tokens: int | None = None,
    watermark: str | float | None = None, mixed_chunk: str | bool | None = None,
    draft_tokens: int | None = None, sequences_max: int | None = None, batched_tokens_max: int | None = None,
    replay: bool = False, seed: int = 0, confidence: float = 0.95, precision: float = 0.02,
    requests_max: int = 100000000, engine: str = 'kernel', workers: int | None = None,
    cluster: str | None = None, progress: Callable[..., None] | None = None
) -> SimulationAnswer: ...

def predict(
    profile: ProfileLike | LlmProfile, replicas: int, *, rate: str | None = None,
    rate_rps: float | None = None, batch_size_max: int | None = None, batch_wait: str = '0ms',
    batch_wait_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str = 'round-robin', request_overhead: str | None = None,
    request_overhead_s: float | None = None, instances_per_device: int | None = None,
    quantile: float | Iterable[float] | None = None
) -> PredictionAnswer: ...

def agreement(
    *, grid: str = 'short', seed: int = 0, requests_max: int = 200000000, engine: str = 'kernel',
    workers: int | None = None, progress: Callable[..., None] | None = None
) -> AgreementAnswer: ...

def max_rate(
    profile: ProfileLike | LlmProfile, replicas: int, *, slo_p50: str | None = None,
    slo_p50_s: float | None = None, slo_p90: str | None = None, slo_p90_s: float | None = None,
    slo_p95: str | None = None, slo_p95_s: float | None = None, slo_p99: str | None = None,
    slo_p99_s: float | None = None, slo_p999: str | None = None, slo_p999_s: float | None = None,
    slo_mean: str | None = None, slo_mean_s: float | None = None, slo_wait_p50: str | None = None,
    slo_wait_p50_s: float | None = None, slo_wait_p90: str | None = None,
    slo_wait_p90_s: float | None = None, slo_wait_p95: str | None = None,
    slo_wait_p95_s: float | None = None, slo_wait_p99: str | None = None,
    slo_wait_p99_s: float | None = None, slo_wait_p999: str | None = None,
    slo_wait_p999_s: float | None = None, loss_max: str | float | None = None,
    utilization_max: str | float | None = None, tier: str | None = None, slo_ttft_p50: str | None = None,
    slo_ttft_p50_s: float | None = None, slo_ttft_p90: str | None = None,
    slo_ttft_p90_s: float | None = None, slo_ttft_p95: str | None = None,
    slo_ttft_p95_s: float | None = None, slo_ttft_p99: str | None = None,
    slo_ttft_p99_s: float | None = None, slo_ttft_p999: str | None = None,
    slo_ttft_p999_s: float | None = None, slo_ttft_mean: str | None = None,
    slo_ttft_mean_s: float | None = None, slo_tpot_p50: str | None = None,
    slo_tpot_p50_s: float | None = None, slo_tpot_p90: str | None = None,
    slo_tpot_p90_s: float | None = None, slo_tpot_p95: str | None = None,
    slo_tpot_p95_s: float | None = None, slo_tpot_p99: str | None = None,
    slo_tpot_p99_s: float | None = None, slo_tpot_p999: str | None = None,
    slo_tpot_p999_s: float | None = None, slo_tpot_mean: str | None = None,
    slo_tpot_mean_s: float | None = None, slo_itl_p50: str | None = None, slo_itl_p50_s: float | None = None,
    slo_itl_p90: str | None = None, slo_itl_p90_s: float | None = None, slo_itl_p95: str | None = None,
    slo_itl_p95_s: float | None = None, slo_itl_p99: str | None = None, slo_itl_p99_s: float | None = None,
    slo_itl_p999: str | None = None, slo_itl_p999_s: float | None = None, slo_itl_mean: str | None = None,
    slo_itl_mean_s: float | None = None, slo_session_p50: str | None = None,
    slo_session_p50_s: float | None = None, slo_session_p90: str | None = None,
    slo_session_p90_s: float | None = None, slo_session_p95: str | None = None,
    slo_session_p95_s: float | None = None, slo_session_p99: str | None = None,
    slo_session_p99_s: float | None = None, slo_session_p999: str | None = None,
    slo_session_p999_s: float | None = None, slo_session_mean: str | None = None,
    slo_session_mean_s: float | None = None, goodput_min: str | float | None = None,
    objective: Objective | None = None, batch_size_max: int | None = None, batch_wait: str = '0ms',
    batch_wait_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str = 'round-robin', queue_limit: int | None = None, outstanding_max: int | None = None,
    arrivals: str | ArrivalProcess = 'poisson', daily: str | Path | None = None, between: str | None = None,
    autoscale: str | None = None, replicas_min: int | None = None, startup_time: str | None = None,
    startup_time_s: float | None = None, metric_lag: str | None = None, metric_lag_s: float | None = None,
    stabilization: str | None = None, stabilization_s: float | None = None, users: int | None = None,
    think_time: str | None = None, think_time_s: float | None = None, request_overhead: str | None = None,
    request_overhead_s: float | None = None, instances_per_device: int | None = None,
    client: str | None = None, timeout: str | None = None, timeout_s: float | None = None,
    deadline: str | None = None, deadline_s: float | None = None, attempts: int | None = None,
    backoff: str | None = None, retry_budget: str | float | None = None, retry_burst: float | None = None,
    retry_on: str | None = None, hedge: str | None = None, hedge_s: float | None = None, spare: int = 0,
    survive: str | Iterable[str] | None = None, rolling_update: str | None = None, mtbf: str | None = None,
    mtbf_s: float | None = None, recovery_time: str | None = None, recovery_time_s: float | None = None,
    lengths: str | Path | AnyLengths | None = None, sessions: str | Path | AnySessions | None = None,
    allow_bistable: bool = False, cached_share: str | float | None = None,
    context_tokens_max: int | None = None, kv_tokens: int | None = None, block_tokens: int | None = None,
    engine_policy: str | None = None, prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None, chunked_prefill: str | bool | None = None,
    long_prefill_tokens: int | None = None, watermark: str | float | None = None,
    mixed_chunk: str | bool | None = None, draft_tokens: int | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, seed: int = 0, confidence: float = 0.95, precision: float = 0.02,
    requests_max: int = 100000000, engine: str = 'kernel', workers: int | None = None,
    cluster: str | None = None, progress: Callable[..., None] | None = None
) -> RatesAnswer: ...

def curve(
    profile: ProfileLike | LlmProfile | None = None, replicas: int = 1, *,
    arrivals: str | ArrivalProcess = 'poisson', daily: str | Path | None = None, between: str | None = None,
    autoscale: str | None = None, replicas_min: int | None = None, startup_time: str | None = None,
    startup_time_s: float | None = None, metric_lag: str | None = None, metric_lag_s: float | None = None,
    stabilization: str | None = None, stabilization_s: float | None = None, users: int | None = None,
    think_time: str | None = None, think_time_s: float | None = None, batch_size_max: int | None = None,
    batch_wait: str = '0ms', batch_wait_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str = 'round-robin', queue_limit: int | None = None, outstanding_max: int | None = None,
    request_overhead: str | None = None, request_overhead_s: float | None = None,
    instances_per_device: int | None = None, client: str | None = None, timeout: str | None = None,
    timeout_s: float | None = None, deadline: str | None = None, deadline_s: float | None = None,
    attempts: int | None = None, backoff: str | None = None, retry_budget: str | float | None = None,
    retry_burst: float | None = None, retry_on: str | None = None, hedge: str | None = None,
    hedge_s: float | None = None, spare: int = 0, survive: str | Iterable[str] | None = None,
    rolling_update: str | None = None, mtbf: str | None = None, mtbf_s: float | None = None,
    recovery_time: str | None = None, recovery_time_s: float | None = None, quantile: float = 0.99,
    lengths: str | Path | AnyLengths | None = None, sessions: str | Path | AnySessions | None = None,
    allow_bistable: bool = False, cached_share: str | float | None = None,
    context_tokens_max: int | None = None, kv_tokens: int | None = None, block_tokens: int | None = None,
    engine_policy: str | None = None, prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None, chunked_prefill: str | bool | None = None,
    long_prefill_tokens: int | None = None, watermark: str | float | None = None,
    mixed_chunk: str | bool | None = None, draft_tokens: int | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, seed: int = 0, confidence: float = 0.95, precision: float = 0.05,
    requests_max: int = 100000000, workers: int | None = None, progress: Callable[..., None] | None = None
) -> LoadCurveAnswer: ...

def sweep(
    profile: ProfileLike | LlmProfile | Iterable[ProfileLike | LlmProfile],
    replicas: int | str | Iterable[int | str], *, rate: str | Iterable[str] | None = None,
    rate_rps: float | Iterable[float] | None = None,
    batch_size_max: int | str | Iterable[int | str] | None = None,
    batch_wait: str | Iterable[str] | None = None, batch_wait_s: float | Iterable[float] | None = None,
    routing: str | Iterable[str] | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    queue_limit: int | None = None, outstanding_max: int | None = None,
    arrivals: str | ArrivalProcess = 'poisson', daily: str | Path | None = None, between: str | None = None,
    autoscale: str | None = None, replicas_min: int | None = None, startup_time: str | None = None,
    startup_time_s: float | None = None, metric_lag: str | None = None, metric_lag_s: float | None = None,
    stabilization: str | None = None, stabilization_s: float | None = None,
    users: int | str | Iterable[int | str] | None = None, think_time: str | None = None,
    think_time_s: float | None = None, request_overhead: str | None = None,
    request_overhead_s: float | None = None, instances_per_device: int | None = None,
    client: str | None = None, timeout: str | None = None, timeout_s: float | None = None,
    deadline: str | None = None, deadline_s: float | None = None, attempts: int | None = None,
    backoff: str | None = None, retry_budget: str | float | None = None, retry_burst: float | None = None,
    retry_on: str | None = None, hedge: str | None = None, hedge_s: float | None = None, spare: int = 0,
    survive: str | Iterable[str] | None = None, rolling_update: str | None = None, mtbf: str | None = None,
    mtbf_s: float | None = None, recovery_time: str | None = None, recovery_time_s: float | None = None,
    quantile: float | Iterable[float] | None = None, lengths: str | Path | AnyLengths | None = None,
    sessions: str | Path | AnySessions | None = None, allow_bistable: bool = False,
    cached_share: str | float | None = None, context_tokens_max: int | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, long_prefill_tokens: int | None = None,
    watermark: str | float | None = None, mixed_chunk: str | bool | None = None,
    draft_tokens: int | None = None, sequences_max: int | str | Iterable[int | str] | None = None,
    batched_tokens_max: int | str | Iterable[int | str] | None = None, seed: int = 0,
    confidence: float = 0.95, precision: float = 0.02, requests_max: int = 100000000, engine: str = 'kernel',
    workers: int | None = None, cluster: str | None = None, limit: str | None = None,
    limit_s: float | None = None, fresh: bool = False, output: str | Path | None = None,
    progress: Callable[..., None] | None = None
) -> SweepAnswer: ...

def compare(
    plans: PlanLike | Iterable[PlanLike] | None = None, *, fleet: str | Iterable[str] | None = None,
    profile: ProfileLike | LlmProfile | Iterable[ProfileLike | LlmProfile] | None = None,
    rate: str | None = None, rate_rps: float | None = None, arrivals: str | ArrivalProcess = 'poisson',
    daily: str | Path | None = None, between: str | None = None, autoscale: str | None = None,
    replicas_min: int | None = None, startup_time: str | None = None, startup_time_s: float | None = None,
    metric_lag: str | None = None, metric_lag_s: float | None = None, stabilization: str | None = None,
    stabilization_s: float | None = None, users: int | None = None, think_time: str | None = None,
    think_time_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    queue_limit: int | None = None, outstanding_max: int | None = None, request_overhead: str | None = None,
    request_overhead_s: float | None = None, instances_per_device: int | None = None,
    client: str | None = None, timeout: str | None = None, timeout_s: float | None = None,
    deadline: str | None = None, deadline_s: float | None = None, attempts: int | None = None,
    backoff: str | None = None, retry_budget: str | float | None = None, retry_burst: float | None = None,
    retry_on: str | None = None, hedge: str | None = None, hedge_s: float | None = None, spare: int = 0,
    survive: str | Iterable[str] | None = None, rolling_update: str | None = None, mtbf: str | None = None,
    mtbf_s: float | None = None, recovery_time: str | None = None, recovery_time_s: float | None = None,
    quantile: float | Iterable[float] | None = None, lengths: str | Path | AnyLengths | None = None,
    sessions: str | Path | AnySessions | None = None, allow_bistable: bool = False,
    cached_share: str | float | None = None, context_tokens_max: int | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, long_prefill_tokens: int | None = None,
    watermark: str | float | None = None, mixed_chunk: str | bool | None = None,
    draft_tokens: int | None = None, seed: int | None = None, confidence: float | None = None,
    precision: float | None = None, requests_max: int | None = None, engine: str | None = None,
    workers: int | None = None, cluster: str | None = None, progress: Callable[..., None] | None = None
) -> ComparisonAnswer: ...

def check(
    plan: PlanLike, *, profile: ProfileLike | LlmProfile | Iterable[ProfileLike | LlmProfile] | None = None,
    rate: str | None = None, rate_rps: float | None = None, baseline: PlanLike | None = None,
    arrivals: str | ArrivalProcess | None = None, without_recovery: bool = False,
    requests_max: int | None = None, workers: int | None = None, cluster: str | None = None,
    progress: Callable[..., None] | None = None
) -> CheckAnswer: ...

def explain(
    plan: PlanLike, *, arrivals: str | ArrivalProcess | None = None, workers: int | None = None,
    cluster: str | None = None, progress: Callable[..., None] | None = None
) -> ExplanationAnswer | StagesAnswer: ...

def verify(
    plan: PlanLike | None = None, *, url: str | Iterable[str], body: str | Path | None = None,
    model: str | None = None, profile: ProfileLike | LlmProfile | None = None, replicas: int | None = None,
    batch_size_max: int | None = None, batch_wait: str | None = None, batch_wait_s: float | None = None,
    routing: str | None = None, queue_limit: int | None = None, outstanding_max: int | None = None,
    request_overhead: str | None = None, request_overhead_s: float | None = None,
    lengths: str | Path | AnyLengths | None = None, sessions: str | Path | AnySessions | None = None,
    cached_share: str | float | None = None, context_tokens_max: int | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, long_prefill_tokens: int | None = None,
    watermark: str | float | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, rate: str | None = None, rate_rps: float | None = None,
    arrivals: str | ArrivalProcess | None = None, duration: str = '60s', duration_s: float | None = None,
    warm_up: str = '5s', warm_up_s: float | None = None, runs: int = 1, timeout: str = '10s',
    timeout_s: float | None = None, requests_max: int = 1000000, metrics: str | Iterable[str] | None = None,
    tolerance: str | Iterable[str] | None = None, seed: int = 0, confidence: float = 0.95,
    precision: float = 0.02, workers: int | None = None, progress: Callable[..., None] | None = None
) -> VerificationAnswer: ...

def report(
    plan: PlanLike, output: str | Path, *, arrivals: str | ArrivalProcess | None = None,
    workers: int | None = None, cluster: str | None = None, progress: Callable[..., None] | None = None
) -> PlanReport: ...

def stress(
    profile: ProfileLike | LlmProfile | None = None, *, plan: PlanLike | None = None,
    rate: str | None = None, rate_rps: float | None = None, replicas: int | None = None,
    batch_size_max: int | None = None, batch_wait: str | None = None, batch_wait_s: float | None = None,
    batching: str = 'triton', preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    routing: str | None = None, queue_limit: int | None = None, outstanding_max: int | None = None,
    arrivals: str | ArrivalProcess = 'poisson', request_overhead: str | None = None,
    request_overhead_s: float | None = None, instances_per_device: int | None = None, trigger: str,
    detection: str | None = None, detection_s: float | None = None, startup_time: str | None = None,
    startup_time_s: float | None = None, slow_start: str | None = None, slow_start_s: float | None = None,
    cold_batches: str | None = None, mtbf: str | None = None, mtbf_s: float | None = None,
    recovery_time: str | None = None, recovery_time_s: float | None = None, spare: int = 0,
    survive: str | Iterable[str] | None = None, rolling_update: str | None = None, horizon: str = '10min',
    horizon_s: float | None = None, client: str | None = None, timeout: str | None = None,
    timeout_s: float | None = None, deadline: str | None = None, deadline_s: float | None = None,
    attempts: int | None = None, backoff: str | None = None, retry_budget: str | float | None = None,
    retry_burst: float | None = None, retry_on: str | None = None, hedge: str | None = None,
    hedge_s: float | None = None, shed: str | None = None, abandoned: str | None = None,
    ejection: bool = False, ejection_rule: str | None = None, replicas_max: int = 1024,
    only_verdict: bool = False, spike_map: bool = False, lengths: str | Path | AnyLengths | None = None,
    sessions: str | Path | AnySessions | None = None, allow_bistable: bool = False,
    cached_share: str | float | None = None, context_tokens_max: int | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, long_prefill_tokens: int | None = None,
    watermark: str | float | None = None, mixed_chunk: str | bool | None = None,
    draft_tokens: int | None = None, sequences_max: int | None = None, batched_tokens_max: int | None = None,
    runs: int = 20, seed: int = 0, confidence: float = 0.95, workers: int | None = None,
    progress: Callable[..., None] | None = None
) -> StressAnswer: ...

def autoscale(
    profile: ProfileLike | LlmProfile | None = None, *, plan: PlanLike | None = None,
    rate: str | None = None, rate_rps: float | None = None, daily: str | Path | None = None,
    between: str | None = None, arrivals: str | ArrivalProcess | None = None, slo_p50: str | None = None,
    slo_p50_s: float | None = None, slo_ttft_p50: str | None = None, slo_ttft_p50_s: float | None = None,
    slo_p90: str | None = None, slo_p90_s: float | None = None, slo_ttft_p90: str | None = None,
    slo_ttft_p90_s: float | None = None, slo_p95: str | None = None, slo_p95_s: float | None = None,
    slo_ttft_p95: str | None = None, slo_ttft_p95_s: float | None = None, slo_p99: str | None = None,
    slo_p99_s: float | None = None, slo_ttft_p99: str | None = None, slo_ttft_p99_s: float | None = None,
    slo_p999: str | None = None, slo_p999_s: float | None = None, slo_ttft_p999: str | None = None,
    slo_ttft_p999_s: float | None = None, autoscale: str | None = None, replicas_min: int | None = None,
    replicas_max: int | None = None, startup_time: str | None = None, startup_time_s: float | None = None,
    metric_lag: str | None = None, metric_lag_s: float | None = None, stabilization: str | None = None,
    stabilization_s: float | None = None, batch_size_max: int | None = None, batch_wait: str | None = None,
    batch_wait_s: float | None = None, batching: str = 'triton',
    preferred_sizes: str | Iterable[int] | None = None, timer: str | None = None,
    instances_per_device: int | None = None, routing: str | None = None, queue_limit: int | None = None,
    hourly_usd: str | float | None = None, request_overhead: str | None = None,
    request_overhead_s: float | None = None, client: str | None = None, timeout: str | None = None,
    timeout_s: float | None = None, deadline: str | None = None, deadline_s: float | None = None,
    attempts: int | None = None, backoff: str | None = None, retry_budget: str | float | None = None,
    retry_burst: float | None = None, retry_on: str | None = None, hedge: str | None = None,
    hedge_s: float | None = None, spare: int = 0, survive: str | Iterable[str] | None = None,
    rolling_update: str | None = None, mtbf: str | None = None, mtbf_s: float | None = None,
    recovery_time: str | None = None, recovery_time_s: float | None = None,
    lengths: str | Path | AnyLengths | None = None, sessions: str | Path | AnySessions | None = None,
    allow_bistable: bool = False, cached_share: str | float | None = None,
    context_tokens_max: int | None = None, kv_tokens: int | None = None, block_tokens: int | None = None,
    engine_policy: str | None = None, prefix_caching: str | bool | None = None,
    async_scheduling: str | bool | None = None, chunked_prefill: str | bool | None = None,
    long_prefill_tokens: int | None = None, watermark: str | float | None = None,
    mixed_chunk: str | bool | None = None, draft_tokens: int | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, only_verdict: bool = False, runs: int = 5, seed: int = 0,
    confidence: float = 0.95, workers: int | None = None, progress: Callable[..., None] | None = None
) -> AutoscaleAnswer: ...

def describe_workload(
    trace: str | Path, *, profile: ProfileLike | LlmProfile | None = None, replicas: int | None = None,
    rate: str | None = None, rate_rps: float | None = None, batch_size_max: int | None = None,
    batch_wait: str = '0ms', batch_wait_s: float | None = None, routing: str = 'round-robin',
    request_overhead: str | None = None, request_overhead_s: float | None = None, quantile: float = 0.99,
    seed: int = 0, confidence: float = 0.95, precision: float = 0.02, requests_max: int = 100000000,
    engine: str = 'kernel', workers: int | None = None, cluster: str | None = None, progress: Callable[...,
    None] | None = None
) -> WorkloadAnswer | SessionsAnswer: ...

def import_file(
    files: str | Path | Iterable[str | Path], *, kind: str | None = None,
    profile: ProfileLike | LlmProfile | None = None, every: int = 1, name: str | None = None,
    model: str | None = None, device: str | None = None, devices: int = 1, device_kind: str | None = None,
    precision: str | None = None, runtime: str | None = None, hourly_usd: float | None = None,
    kv_tokens: int | None = None, block_tokens: int | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, draft_tokens: int | None = None,
    request_overhead: str | None = None, request_overhead_s: float | None = None,
    in_flight_max: int | None = None, cached_share: str | float | None = None, progress: Callable[...,
    None] | None = None
) -> LlmProfileAnswer | ImportAnswer: ...

def audit(
    file: str | Path, *, loop: str | None = None, users: float | None = None, think_time: str | None = None,
    think_time_s: float | None = None, rate: str | None = None, rate_rps: float | None = None,
    profile: ProfileLike | LlmProfile | None = None, plan: PlanLike | None = None, replicas: int = 1,
    batch_size_max: int | None = None, batch_wait: str = '0ms', batch_wait_s: float | None = None,
    routing: str = 'round-robin', queue_limit: int | None = None, outstanding_max: int | None = None,
    request_overhead: str | None = None, request_overhead_s: float | None = None,
    lengths: str | Path | AnyLengths | None = None, sequences_max: int | None = None,
    batched_tokens_max: int | None = None, kv_tokens: int | None = None,
    prefix_caching: str | bool | None = None, seed: int = 0, precision: float = 0.05,
    workers: int | None = None, progress: Callable[..., None] | None = None
) -> AuditAnswer: ...

def measure_profile(
    *, callable_name: str | None = None, function: Callable[..., None] | None = None, url: str | None = None,
    body: str | Path | None = None, rows_key: str = 'instances', counters: str | None = None,
    metrics: str | None = None, llm: str | None = None, duration: str | None = None,
    duration_s: float | None = None, metric: str = 'serve_batch_seconds', label: str = 'batch_size',
    metric_unit: str | None = None, batch_sizes: str | Iterable[int] = '1,2,4,8,16,32,64',
    samples: int = 500, warm_up: int = 20, rests: bool = True, seed: int = 0, duration_max: str = '10min',
    duration_max_s: float | None = None, timeout: str = '10s', timeout_s: float | None = None,
    confidence: float = 0.95, name: str | None = None, model: str | None = None, device: str | None = None,
    devices: int = 1, kind: str | None = None, precision: str | None = None, runtime: str | None = None,
    hourly_usd: float | None = None, request_overhead: str | None = None,
    request_overhead_s: float | None = None, request_work: str | None = None,
    request_work_s: float | None = None, kv_tokens: int | None = None, block_tokens: int | None = None,
    sequences_max: int | None = None, batched_tokens_max: int | None = None,
    context_tokens_max: int | None = None, engine_policy: str | None = None,
    prefix_caching: str | bool | None = None, async_scheduling: str | bool | None = None,
    chunked_prefill: str | bool | None = None, draft_tokens: int | None = None, progress: Callable[...,
    None] | None = None
) -> MeasurementAnswer | LlmProfileAnswer: ...
