"""Metrics: those of vLLM that are read here or by autoscalers, under vLLM's names."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from capacity.profile.llm import Scheduler
from serve_api.server.metrics import bounds_s
from simulations.draws.tokens import EngineRules
from simulations.reference.request import Request


class EngineMetrics:
    """Counters, gauges and histograms of one engine, in a registry of their own.

    Source:
        vLLM 0.19.0, vllm/v1/metrics/loggers.py, `PrometheusStatLogger`.
    """

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._labels = {"model_name": model, "engine": "0"}
        self._first_s = self._histogram("time_to_first_token_seconds", "Time to first token.")
        self._gap_s = self._histogram("inter_token_latency_seconds", "Time between output tokens.")
        self._per_token_s = self._histogram("request_time_per_output_token_seconds", "TPOT of a request.")
        self._response_s = self._histogram("e2e_request_latency_seconds", "Time to the last token.")
        self._prompts = self._counter("prompt_tokens", "Prefill tokens processed.")
        self._tokens = self._counter("generation_tokens", "Generation tokens processed.")
        self._preemptions = self._counter("num_preemptions", "Preemptions.")
        self._answered = self._counter("request_success", "Answered requests.", finished_reason="length")
        self._drafts: list[Counter] = []
        self._accepted_at: list[Counter] = []

    def watch(
        self,
        *,
        running: Callable[[], int],
        waiting: Callable[[], int],
        kv_use: Callable[[], float],
        rules: EngineRules,
    ) -> None:
        """Show the state of an engine, and the size of its cache if it has the blocks of vLLM."""
        self._gauge("num_requests_running", "Requests in model execution batches.").set_function(running)
        self._gauge("num_requests_waiting", "Requests waiting to be processed.").set_function(waiting)
        self._gauge("kv_cache_usage_perc", "KV-cache usage; 1 is 100 percent usage.").set_function(kv_use)
        if rules.scheduler.family is not Scheduler.VLLM_V1:
            return
        if rules.acceptance:
            self._watch_drafts(len(rules.acceptance))
        told = {
            "block_size": str(rules.block_tokens),
            "num_gpu_blocks": str(rules.blocks + 1),  # vLLM counts the one that no request can use
            "enable_prefix_caching": str(rules.caching),
        }
        self._gauge("cache_config_info", "Information of the LLMEngine CacheConfig.", **told).set(1)

    def _watch_drafts(self, most: int) -> None:
        """Count drafts, their tokens and those accepted, also by position."""
        self._drafts = [
            self._counter(f"spec_decode_num_{name}", text)
            for name, text in (
                ("drafts", "Number of spec decoding drafts."),
                ("draft_tokens", "Number of draft tokens."),
                ("accepted_tokens", "Number of accepted tokens."),
            )
        ]
        name, labels = "vllm:spec_decode_num_accepted_tokens_per_pos", [*self._labels, "position"]
        family = Counter(name, "Accepted tokens per draft position.", labels, registry=self.registry)
        self._accepted_at = [family.labels(**self._labels, position=str(at)) for at in range(most)]

    def first_token(self, after_s: float) -> None:
        """A request has its first token."""
        self._first_s.observe(after_s)
        self._tokens.inc()

    def next_tokens(self, count: int, after_s: float) -> None:
        """A request has more tokens, which came together."""
        self._gap_s.observe(after_s)
        self._tokens.inc(count)

    def drafted(self, tokens: int, accepted: int) -> None:
        """Tokens were drafted for a request, of which the first few were accepted."""
        for counter, count in zip(self._drafts, (1, tokens, accepted), strict=True):
            counter.inc(count)
        for position in range(accepted):
            self._accepted_at[position].inc()

    def answered(self, request: Request, after_s: float) -> None:
        """A request has all its tokens."""
        self._response_s.observe(after_s)
        if request.output > 1:
            self._per_token_s.observe((request.token_s - request.first_s) / (request.output - 1))
        self._prompts.inc(request.input)
        self._preemptions.inc(request.preemptions)
        self._answered.inc()

    def text(self) -> bytes:
        """The metrics page."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        found = Histogram(f"vllm:{name}", text, self._labels, buckets=bounds_s(), registry=self.registry)
        return found.labels(**self._labels)

    def _counter(self, name: str, text: str, **more: str) -> Counter:
        labels = self._labels | more
        return Counter(f"vllm:{name}", text, labels, registry=self.registry).labels(**labels)

    def _gauge(self, name: str, text: str, **more: str) -> Gauge:
        labels = self._labels | more
        return Gauge(f"vllm:{name}", text, labels, registry=self.registry).labels(**labels)
