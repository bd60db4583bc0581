"""An engine that batches continuously by a known law of its steps, and closed loops of clients that it serves.

It shares no code with the package: vLLM's default rules without a limit of the cache. Time is virtual, or a
server's that asks it for one step after another. What the clients see is written as each tool writes it.
"""

import heapq
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Law:
    """Seconds of a step: a line, but for stairs every eight decoding requests. [s]"""

    base_s: float = 0.008
    per_prompt_token_s: float = 4e-5
    per_request_s: float = 2e-4
    per_read_s: float = 3e-8
    stair_s: float = 1e-3

    def step_s(self, prompt_tokens: int, requests: int, read: int) -> float:
        stairs = self.stair_s * (requests // 8)
        return (
            self.base_s
            + self.per_prompt_token_s * prompt_tokens
            + self.per_request_s * requests
            + self.per_read_s * read
            + stairs
        )


@dataclass
class Job:
    """A request within the engine, when it was sent, and when its tokens came. [s]"""

    input_tokens: int
    output_tokens: int
    sent_s: float = 0.0
    computed: int = 0
    stamps_s: list[float] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.stamps_s) == self.output_tokens


class Engine:
    """Composes a step, and hands out its tokens."""

    def __init__(self, law: Law, sequences_max: int, tokens_max: int) -> None:
        self.law, self.sequences_max, self.tokens_max = law, sequences_max, tokens_max
        self.running: list[Job] = []
        self.waiting: deque[Job] = deque()

    def compose(self) -> tuple[list[tuple[Job, int]], float]:
        """Who gets how many tokens computed, and how long that takes; nobody where there is nothing to do."""
        parts, budget = [], self.tokens_max
        for job in self.running:
            tokens = min(job.input_tokens + len(job.stamps_s) - job.computed, budget)
            if tokens:
                parts.append((job, tokens))
                budget -= tokens
        while self.waiting and budget and len(self.running) < self.sequences_max:
            job = self.waiting.popleft()
            self.running.append(job)
            parts.append((job, min(job.input_tokens, budget)))
            budget -= parts[-1][1]
        decode = [job for job, _ in parts if job.stamps_s]
        prompt_tokens = sum(tokens for job, tokens in parts if not job.stamps_s)
        read = sum(job.computed + 1 for job in decode)
        return parts, self.law.step_s(prompt_tokens, len(decode), read)

    def hand_out(self, parts: list[tuple[Job, int]], now_s: float) -> list[Job]:
        """Tokens at the end of a step; those who got one."""
        got = []
        for job, tokens in parts:
            job.computed += tokens
            if job.computed >= job.input_tokens:
                job.stamps_s.append(now_s)
                got.append(job)
        self.running = [job for job in self.running if not job.is_done]
        return got


@dataclass(frozen=True)
class Seen:
    """What a client saw of one request. [s]"""

    input_tokens: int
    output_tokens: int
    start_s: float
    stamps_s: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """What an engine itself records of a step."""

    prompts: int
    prompt_tokens: int
    past: int
    requests: int
    read: int
    held: int
    seconds: float


def step_of(parts: list[tuple[Job, int]], seconds: float) -> Step:
    """A step before its tokens are handed out."""
    decode = [job for job, _ in parts if job.stamps_s]
    prompts = [(job, tokens) for job, tokens in parts if not job.stamps_s]
    return Step(
        prompts=len(prompts),
        prompt_tokens=sum(tokens for _, tokens in prompts),
        past=sum(job.computed for job, _ in prompts),
        requests=len(decode),
        read=sum(job.computed + 1 for job in decode),
        held=sum(16 * -(-(job.computed + tokens) // 16) for job, tokens in parts),
        seconds=seconds,
    )


def as_forward_pass(steps: list[Step]) -> str:
    """As Dynamo's trace of forward pass metrics has them."""
    lines = [
        {
            "schema": "dynamo.fpm.trace.v1",
            "source": {"namespace": "dynamo", "component": "backend", "producer_id": "p"},
            "capture_mode": "full",
            "observed_at_unix_ms": 1_780_000_000_000 + number,
            "fpm": {
                "version": 1,
                "worker_id": "w",
                "dp_rank": 0,
                "counter_id": number,
                "wall_time": step.seconds,
                "scheduled_requests": {
                    "num_prefill_requests": step.prompts,
                    "sum_prefill_tokens": step.prompt_tokens,
                    "var_prefill_length": 0.0,
                    "sum_prefill_kv_tokens": step.past,
                    "num_decode_requests": step.requests,
                    "sum_decode_kv_tokens": step.read,
                    "var_decode_kv_tokens": 0.0,
                },
                "queued_requests": {
                    "num_prefill_requests": 0,
                    "sum_prefill_tokens": 0,
                    "var_prefill_length": 0.0,
                    "num_decode_requests": 0,
                    "sum_decode_kv_tokens": 0,
                    "var_decode_kv_tokens": 0.0,
                },
            },
        }
        for number, step in enumerate(steps)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def as_iterations(steps: list[Step], kv_tokens: int) -> str:
    """As vLLM logs them with `--enable-logging-iteration-details`."""
    began = "(EngineCore pid=1) INFO 12-01 10:00:00 [kv_cache_utils.py:1716] "
    loop = "(APIServer pid=1) INFO 12-01 10:00:00 [loggers.py:197] Engine 000: "
    lines = [
        f"{began}GPU KV cache size: {kv_tokens:,} tokens, Maximum concurrency for 2,048 tokens per request: 32.00x"
    ]
    lines += [
        f"{loop}Iteration({number}): {step.prompts} context requests, {step.prompt_tokens} context tokens, "
        f"{step.requests} generation requests, {step.requests} generation tokens, "
        f"iteration elapsed time: {1e3 * step.seconds:.2f} ms, GPU KV cache usage: {100 * step.held / kv_tokens:.1f}%"
        for number, step in enumerate(steps)
    ]
    return "\n".join(lines) + "\n"


def closed_loop(
    lengths: list[tuple[int, int]],
    concurrency: int,
    *,
    law: Law = Law(),
    sequences_max: int = 16,
    tokens_max: int = 512,
    overhead_s: float = 0.004,
    jitter_s: float = 0.0,
    seed: int = 0,
    record: list["Step"] | None = None,
    starts_s: list[float] | None = None,
) -> list[Seen]:
    """Serve requests in order, a number at a time; each client's tokens come a little late by its own jitter.

    Args:
        record: takes each step, if given.
        starts_s: instants of the first requests, in place of 0; of all of them, the loop is open.
    """
    engine, dice = Engine(law, sequences_max, tokens_max), random.Random(seed)
    todo, jobs = deque(lengths), []
    recorded = [] if record is None else record
    arrivals: list[tuple[float, int, Job]] = []
    now_s = 0.0

    def send(at_s: float) -> None:
        if todo:
            jobs.append(Job(*todo.popleft(), at_s))
            heapq.heappush(arrivals, (at_s + overhead_s, len(jobs), jobs[-1]))

    for start_s in starts_s or [0.0] * concurrency:
        send(start_s)
    while arrivals or engine.running or engine.waiting:
        if not engine.running and not engine.waiting:
            now_s = max(now_s, arrivals[0][0])
        while arrivals and arrivals[0][0] <= now_s:
            engine.waiting.append(heapq.heappop(arrivals)[2])
        parts, step_s = engine.compose()
        now_s += step_s
        recorded.append(step_of(parts, step_s))
        for job in filter(lambda job: job.is_done, engine.hand_out(parts, now_s)):
            job.stamps_s = sorted(stamp + dice.random() * jitter_s for stamp in job.stamps_s)
            send(job.stamps_s[-1] + 1e-4)
    return [Seen(job.input_tokens, job.output_tokens, job.sent_s, tuple(job.stamps_s)) for job in jobs]


def sweeps(**others: Any) -> dict[str, list[Seen]]:
    """The three sweeps and the saturated run, each run by its name."""
    settings = {"sequences_max": 16, "tokens_max": 512, **others}
    lengths = [(tokens, 1) for tokens in (8, 32, 128, 256, 512, 1024) for _ in range(4)]
    found = {"prompts": closed_loop(lengths, 1, **settings)}
    for concurrency in (1, 2, 4, 7, 8, 12, 15, 16):
        found[f"short-{concurrency}"] = closed_loop([(16, 64)] * (3 * concurrency), concurrency, **settings)
    for concurrency in (1, 8, 16):
        found[f"long-{concurrency}"] = closed_loop([(1024, 200)] * concurrency, concurrency, **settings)
    found["saturated"] = closed_loop([(200, 50)] * 160, 32, **settings)
    return found


def examples() -> dict[str, str]:
    """The files of docs/examples/sweeps, by name."""
    settings: dict[str, Any] = {"sequences_max": 8, "tokens_max": 512, "jitter_s": 3e-4}
    prompts = [(tokens, 1) for tokens in (16, 64, 256, 512, 1023) for _ in range(6)]
    runs = {
        "prompts": closed_loop(prompts, 1, **settings),
        "short-1": closed_loop([(16, 48)] * 3, 1, **settings),
        "short-4": closed_loop([(16, 48)] * 8, 4, **settings),
        "short-8": closed_loop([(16, 48)] * 16, 8, **settings),
        "long-8": closed_loop([(900, 100)] * 8, 8, **settings),
        "saturated": closed_loop([(200, 40)] * 48, 16, **settings),
    }
    return {f"{name}.json": json.dumps(as_vllm_bench(run)) + "\n" for name, run in runs.items()}


def as_vllm_bench(seen: list[Seen]) -> dict[str, Any]:
    """As `vllm bench serve --save-detailed` writes a run."""
    ends_s = [one.stamps_s[-1] for one in seen]
    given, got = (sum(getattr(one, name) for one in seen) for name in ("input_tokens", "output_tokens"))
    duration_s = max(ends_s) - seen[0].start_s
    return {
        "date": "20260101-000000",
        "backend": "openai",
        "label": "made by an engine on paper; nothing was measured, and vLLM did not write it",
        "model_id": "on-paper",
        "num_prompts": len(seen),
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": duration_s,
        "completed": len(seen),
        "failed": 0,
        "total_input_tokens": given,
        "total_output_tokens": got,
        "request_throughput": len(seen) / duration_s,
        "output_throughput": got / duration_s,
        "input_lens": [one.input_tokens for one in seen],
        "output_lens": [one.output_tokens for one in seen],
        "ttfts": [_us(one.stamps_s[0] - one.start_s) for one in seen],
        "itls": [[_us(b - a) for a, b in _pairs(one)] for one in seen],
        "start_times": [_us(1000.0 + one.start_s) for one in seen],
        "generated_texts": ["" for _ in seen],
        "errors": ["" for _ in seen],
    }


def _us(seconds: float) -> float:
    """As many digits as a clock has."""
    return round(seconds, 6)


def _pairs(one: Seen) -> Iterator[tuple[float, float]]:
    yield from zip(one.stamps_s, one.stamps_s[1:], strict=False)


def as_guidellm(runs: list[list[Seen]]) -> dict[str, Any]:
    """As guidellm writes a report of several benchmarks."""
    return {
        "metadata": {
            "version": 2,
            "guidellm_version": "0.8.1",
            "python_version": "3.12",
            "platform": "on paper",
        },
        "config": {},
        "benchmarks": [
            {
                "type_": "generative_benchmark",
                "config": {"strategy": {"type_": "concurrent"}},
                "metrics": {
                    "request_totals": {
                        "successful": len(run),
                        "errored": 0,
                        "incomplete": 0,
                        "total": len(run),
                    }
                },
                "requests": {
                    "successful": [_guidellm_request(one, 1.7e9) for one in run],
                    "incomplete": [],
                    "errored": [],
                },
            }
            for run in runs
        ],
        "conclusions": [],
    }


def _guidellm_request(one: Seen, began_s: float) -> dict[str, Any]:
    first_s, last_s = one.stamps_s[0], one.stamps_s[-1]
    return {
        "request_id": "r",
        "prompt_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "request_latency": last_s - one.start_s,
        "time_to_first_token_ms": 1e3 * (first_s - one.start_s),
        "time_per_output_token_ms": 1e3 * (last_s - one.start_s) / one.output_tokens,
        "info": {
            "status": "completed",
            "timings": {
                "request_start": began_s + one.start_s,
                "first_token_iteration": began_s + first_s,
                "last_token_iteration": began_s + last_s,
                "token_iterations": len(one.stamps_s),
                "request_end": began_s + last_s,
                "resolve_end": began_s + last_s,
            },
        },
    }


def as_aiperf(seen: list[Seen]) -> list[dict[str, Any]]:
    """As aiperf writes `profile_export.jsonl`, an object a line."""
    return [_aiperf_line(number, one) for number, one in enumerate(seen)]


def _aiperf_line(number: int, one: Seen) -> dict[str, Any]:
    def told(value: Any, unit: str) -> dict[str, Any]:
        return {"value": value, "unit": unit}

    rest_ms = 1e3 * (one.stamps_s[-1] - one.stamps_s[0])
    metrics = {
        "request_latency": told(1e3 * (one.stamps_s[-1] - one.start_s), "ms"),
        "time_to_first_token": told(1e3 * (one.stamps_s[0] - one.start_s), "ms"),
        "input_sequence_length": told(one.input_tokens, "tokens"),
        "output_sequence_length": told(one.output_tokens, "tokens"),
    }
    if one.output_tokens > 1:
        metrics["inter_token_latency"] = told(rest_ms / (one.output_tokens - 1), "ms")
        metrics["inter_chunk_latency"] = told([1e3 * (b - a) for a, b in _pairs(one)], "ms")
    began_ns = 1_700_000_000_000_000_000
    metadata = {
        "session_num": number,
        "request_start_ns": began_ns + round(1e9 * one.start_s),
        "request_end_ns": began_ns + round(1e9 * one.stamps_s[-1]),
        "worker_id": "w",
        "record_processor_id": "p",
        "benchmark_phase": "profiling",
        "was_cancelled": False,
    }
    return {"metadata": metadata, "metrics": metrics, "error": None}


def write_all(folder: Path, tool: str, runs: dict[str, list[Seen]]) -> list[Path]:
    """The runs as files of a tool."""
    writers: dict[str, Callable[[], dict[str, str]]] = {
        "vllm_bench": lambda: {f"{name}.json": json.dumps(as_vllm_bench(run)) for name, run in runs.items()},
        "guidellm": lambda: {"benchmarks.json": json.dumps(as_guidellm(list(runs.values())))},
        "aiperf": lambda: {
            f"{name}.jsonl": "\n".join(map(json.dumps, as_aiperf(run))) for name, run in runs.items()
        },
    }
    paths = []
    for name, text in writers[tool]().items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths


if __name__ == "__main__":
    place = Path(__file__).parent.parent / "docs" / "examples" / "sweeps"
    place.mkdir(exist_ok=True)
    for file_name, content in examples().items():
        (place / file_name).write_text(content, encoding="utf-8")
