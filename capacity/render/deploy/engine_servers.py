"""Engine servers: what vLLM and SGLang call the same settings, metrics and probes.

Source:
    vLLM 0.33.0, vllm/engine/arg_utils.py and vllm/v1/metrics/loggers.py; SGLang 0.5.23, python/sglang/srt: flags in
    arg_groups/fields, metrics in observability/metrics_collector.py, probes in entrypoints/http_server.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.recovery import read_recovery

# Pods of engines listen here.
PORT = 8000
# Tokens that SGLang keeps free of a context: an answer ends 2 before it, and a prompt must be 7 shorter.
_CONTEXT_KEPT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineServer:
    """The names that a server of language models has for what the files of a plan need.

    Attributes:
        name: the server as its profiles and its users call it.
        image: image of the server, to which its version is added.
        command: what a container runs; empty where the image says it.
        model: the argument with the model.
        host: arguments without which the server answers its own machine alone.
        ready, alive: paths of the probes for a pod that serves, and for one that still computes.
        probe_timeout_s: how long these may take; None if Kubernetes' own second is enough. [s]
        at_once: a path that is answered without a step of the engine, for balancers that ask every second.
        metrics: what the names of its metrics begin with.
        answers, running, waiting: metrics of requests: answered so far, being computed, and in the queue.
        cache_use: metric of the share of the KV cache that requests use.
        makes_way: what is done to a request for which no KV cache is left.
        cache_line: what the engine's log tells of its KV cache.
        queue_flag: the flag of the queue limit, with what to know of it.
        flags: the settings that were evaluated, as the server takes them.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    model: str
    host: tuple[str, ...] = ()
    ready: str
    alive: str
    probe_timeout_s: int | None = None
    at_once: str
    metrics: str
    answers: str
    running: str
    waiting: str
    cache_use: str
    makes_way: str
    cache_line: str
    queue_flag: str
    flags: Callable[[SavedPlan], Iterator[str]]

    @property
    def container(self) -> str:
        """Name of its container."""
        return self.name.lower()


def server_of(saved: SavedPlan) -> EngineServer:
    """The server that runs the rules of a plan."""
    return SERVERS[saved.profile.engine.scheduler.family]


def probe_at_once(saved: SavedPlan) -> str:
    """The path by which a balancer asks whether an engine answers."""
    found = SERVERS.get(saved.profile.engine.scheduler.family)
    return "/health" if found is None else found.at_once


def queue_limit(saved: SavedPlan) -> int | None:
    """The queue limit of the plan, or with which it recovers; None if there is none."""
    recovery = read_recovery(saved)
    limit: int | None = (saved.plan if recovery is None else recovery.plan).queue_limit
    return limit


_QUEUE_LIMIT_SINCE = (0, 29)  # an earlier version does not start with a flag that it does not know


def _of_vllm(saved: SavedPlan) -> Iterator[str]:
    plan, profile = saved.plan, saved.profile
    engine = profile.engine
    yield f"--max-num-seqs {plan.sequences_max}"
    yield f"--max-num-batched-tokens {plan.batched_tokens_max}"
    yield f"--max-model-len {saved.question.space.lengths.context_max}"
    yield f"--block-size {profile.kv.block_tokens}"
    knows_limit = engine.stated is None or engine.stated >= _QUEUE_LIMIT_SINCE
    if (limit := queue_limit(saved)) is not None and knows_limit:
        yield f"--max-num-queued-reqs {plan.sequences_max + limit}"
    if profile.tensor_parallel > 1:
        yield f"--tensor-parallel-size {profile.tensor_parallel}"
    yield "--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching"
    yield "--enable-chunked-prefill" if engine.chunked_prefill else "--no-enable-chunked-prefill"
    if engine.async_scheduling is not None:  # else the engine does as its version usually does
        yield "--async-scheduling" if engine.async_scheduling else "--no-async-scheduling"
    if engine.long_prefill_tokens is not None:
        yield f"--long-prefill-token-threshold {engine.long_prefill_tokens}"
    if engine.watermark:
        yield f"--watermark {engine.watermark:g}"
    if (drafts := profile.speculation) is not None and drafts.is_named:  # vLLM takes keys of JSON by dots
        told = {"method": drafts.method, "model": drafts.model, "num_speculative_tokens": drafts.draft_tokens}
        yield from (
            f"--speculative-config.{name} {value}" for name, value in told.items() if value is not None
        )


def _of_sglang(saved: SavedPlan) -> Iterator[str]:
    plan, profile = saved.plan, saved.profile
    engine = profile.engine
    yield f"--max-running-requests {plan.sequences_max}"
    yield f"--chunked-prefill-size {plan.batched_tokens_max if engine.chunked_prefill else -1}"
    yield f"--max-prefill-tokens {plan.batched_tokens_max}"  # by default 16,384, which a step would not exceed
    yield f"--context-length {saved.question.space.lengths.context_max + _CONTEXT_KEPT}"
    yield f"--page-size {profile.kv.block_tokens}"
    yield "--schedule-policy fcfs"
    if (limit := queue_limit(saved)) is not None:
        yield f"--max-queued-requests {limit}"
    if profile.tensor_parallel > 1:
        yield f"--tensor-parallel-size {profile.tensor_parallel}"
    if not engine.prefix_caching:
        yield "--disable-radix-cache"
    if engine.async_scheduling is False:  # there is no flag for what is usual
        yield "--disable-overlap-schedule"
    if engine.mixed_chunk:
        yield "--enable-mixed-chunk"
    yield "--enable-metrics"


VLLM = EngineServer(
    name="vLLM",
    image="vllm/vllm-openai",
    model="--model",
    ready="/health",
    alive="/health",
    at_once="/health",
    metrics="vllm",
    answers="request_success_total",
    running="num_requests_running",
    waiting="num_requests_waiting",
    cache_use="kv_cache_usage_perc",
    makes_way="preempted",
    cache_line="a KV cache of at least {tokens} tokens",
    queue_flag="--max-num-queued-reqs, of vLLM 0.29 and later, counts the {running} that run as well",
    flags=_of_vllm,
)
# Both probes of SGLang wait for a token, which takes a second at least, and give up after 20.
SGLANG = EngineServer(
    name="SGLang",
    image="lmsysorg/sglang",
    command=("python3", "-m", "sglang.launch_server"),
    model="--model-path",
    host=("--host=0.0.0.0",),
    ready="/health",
    alive="/health_generate",
    probe_timeout_s=25,
    at_once="/v1/models",
    metrics="sglang",
    answers="num_requests_total",
    running="num_running_reqs",
    waiting="num_queue_reqs",
    cache_use="token_usage",
    makes_way="retracted",
    cache_line="a max_total_num_tokens of {tokens} or more",
    queue_flag="--max-queued-requests counts those that wait alone, as the plan does",
    flags=_of_sglang,
)
SERVERS = {Scheduler.VLLM_V1: VLLM, Scheduler.SGLANG: SGLANG}
