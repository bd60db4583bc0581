"""An emulated engine: the simulator's own steps at the pace of a clock, behind OpenAI's and vLLM's endpoints."""

import asyncio
import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from serving import ask, metric
from virtual_time import run

from capacity.errors import DomainError, InputError
from capacity.profile.llm import (
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
    Scheduler,
)
from capacity.profile.speculation import Speculation
from capacity.question.plan import Routing
from serve_api.emulation.app import OpenAi
from serve_api.emulation.engine import ANSWER_TOKEN, EmulatedEngine, Lengths, contents, emulated_rules
from serve_api.emulation.log import StepLog
from serve_api.emulation.metrics import EngineMetrics
from serve_api.server.settings import Settings, read_settings
from simulations.draws.tokens import TokenDraws
from simulations.reference.engine import run_engines

PROFILE = LlmProfile(
    name="slow",
    model="made-up",
    kv=KvCache(tokens=1024, block_tokens=16),
    limits_measured=LimitsMeasured(sequences_max=4, batched_tokens_max=64, context_tokens_max=512),
    coefficients=Coefficients(
        base_s=0.02, per_prefill_token_s=1e-4, per_decode_request_s=1e-3, per_kv_token_s=1e-6
    ),
)
DRAFTING = replace(PROFILE, speculation=Speculation(draft_tokens=2, acceptance_rates=(0.8, 0.5)))
GENERATOR = np.random.default_rng(7)
ARRIVED_S = np.cumsum(GENERATOR.exponential(0.15, 80))
GIVEN, GOT = GENERATOR.integers(1, 300, 80), GENERATOR.integers(1, 40, 80)


@pytest.fixture(autouse=True)
def logs_are_closed():
    yield
    while Emulation.logs:
        Emulation.logs.pop().__exit__()


class Emulation:
    """An engine within a virtual loop, with its log."""

    logs: ClassVar[list[StepLog]] = []

    def __init__(self, path, profile=PROFILE):
        self.path, self.metrics = path / "log.jsonl", EngineMetrics(profile.model or profile.name)
        self.logs.append(StepLog(self.path))
        self.engine = EmulatedEngine(
            profile,
            emulated_rules(profile),
            seed=3,
            log=self.logs[-1],
            metrics=self.metrics,
            clock_s=asyncio.get_running_loop().time,
        )

    async def serve(self, arrived_s, stalls_s=None):
        """Submit all requests at their instants, and wait for all their tokens."""
        loop, streams, left_s = asyncio.get_running_loop(), [], dict(stalls_s or {})
        for arrived, given, got in zip(arrived_s, GIVEN, GOT, strict=True):
            await asyncio.sleep(max(0.0, arrived - loop.time()))
            for start_s in [start_s for start_s in left_s if start_s <= loop.time()]:
                loop.advance(left_s.pop(start_s))
            streams.append(self.engine.submit(Lengths(int(given), int(got))))
        while self.engine.streams:
            await asyncio.sleep(1.0)
        return streams

    def rows(self, kind):
        rows = map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
        return [row for row in rows if row["kind"] == kind]

    def app(self):
        return OpenAi(Settings(emulate="slow"), self.engine, self.metrics).app


@pytest.mark.parametrize(
    "profile",
    [
        PROFILE,
        replace(PROFILE, engine=Engine(async_scheduling=True, prefix_caching=False)),
        replace(PROFILE, kv=KvCache(tokens=512), engine=Engine(chunked_prefill=True)),
        replace(PROFILE, kv=KvCache(tokens=2048), engine=Engine(scheduler=Scheduler.LLAMA_CPP)),
        DRAFTING,
    ],
    ids=["today's", "asynchronous", "short of blocks", "llama.cpp", "drafting"],
)
def test_it_does_what_the_simulator_does_with_the_same_requests(tmp_path, profile):
    async def emulate():
        one = Emulation(tmp_path, profile)
        await one.serve(ARRIVED_S)
        return one.rows("request"), one.rows("step")

    requests, steps = run(emulate())
    requests.sort(key=lambda row: row["number"])
    draws = TokenDraws(
        arrived_s=np.array([row["arrived_s"] for row in requests]),
        input_tokens=GIVEN,
        output_tokens=GOT,
        cached_tokens=np.zeros(80, dtype=np.int64),
        routing=np.zeros(160),
        noise_seed=3,
    )
    found = run_engines(profile.table, emulated_rules(profile), 1, Routing.ROUND_ROBIN, draws)
    assert draws.arrived_s == pytest.approx(ARRIVED_S, abs=1e-9)
    assert [row["first_s"] for row in requests] == found.first_s.tolist()
    assert [row["finished_s"] for row in requests] == found.finished_s.tolist()
    assert [row["preemptions"] for row in requests] == found.preemptions.tolist()
    assert len(steps) == found.steps
    computed = sum(row["prefill_tokens"] + row["decode_requests"] for row in steps)
    assert computed == found.computed or profile is DRAFTING  # whose drafts are in no step of the log
    if profile.kv.tokens == 512:
        assert found.preemptions.sum() > 0  # or this case says nothing


def test_a_step_that_is_handed_out_late_shortens_the_next(tmp_path):
    """While this process stands still the engine's schedule goes on, but for what could not arrive meanwhile."""

    async def emulate():
        one = Emulation(tmp_path)
        stream = one.engine.submit(Lengths(10, 30))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().advance(0.2)
        while one.engine.streams:
            await asyncio.sleep(0.001)
        assert stream.tokens.qsize() == 30
        return one.rows("step")

    steps = run(emulate())
    assert [row["start_s"] for row in steps[1:]] == [row["end_s"] for row in steps[:-1]]
    for row in steps:
        sizes = (row["prefill_tokens"], 0, row["decode_requests"], row["decode_kv_tokens"])
        assert row["end_s"] - row["start_s"] == pytest.approx(PROFILE.table.mean_s(*sizes), abs=1e-9)
    late_s = [row["late_s"] for row in steps]
    assert 0.15 < max(late_s) <= 0.2
    assert late_s[-1] < 0.001
    assert len([one for one in late_s if one > 0.01]) <= 10


def test_requests_enter_after_the_overhead_of_the_profile(tmp_path):
    async def emulate():
        one = Emulation(tmp_path, replace(PROFILE, overhead=Overhead(request_s=0.5, per_input_token_s=0.01)))
        one.engine.submit(Lengths(10, 1))
        while one.engine.streams:
            await asyncio.sleep(0.1)
        return one.rows("request")

    (row,) = run(emulate())
    assert row["first_s"] - row["arrived_s"] == pytest.approx(0.5 + 0.1 + 0.02 + 10 * 1e-4)


def test_equal_beginnings_are_found_in_the_cache(tmp_path):
    async def emulate():
        one = Emulation(tmp_path)
        tokens = tuple(range(100))
        for prompt in (tokens, tokens, (*tokens[:40], *range(500, 560)), ()):
            one.engine.submit(Lengths(100, 1), prompt)
            while one.engine.streams:
                await asyncio.sleep(0.1)
        return [row["cached_tokens"] for row in one.rows("request")]

    assert run(emulate()) == [0, 96, 32, 0]
    assert len(list(contents(tuple(range(95)), 16))) == 5  # the last block is not full


def test_a_next_turn_finds_the_answer_before_it(tmp_path):
    """The first answer of 30 tokens ends in the fifth block, of which the cache has no end until another fills it."""

    async def emulate():
        one, found = Emulation(tmp_path), []
        prompt = tuple(range(40))
        for answer in (30, 1):
            stream = one.engine.submit(Lengths(len(prompt), answer), prompt)
            while one.engine.streams:
                await asyncio.sleep(0.1)
            found.append(stream.cached_tokens)
            prompt = (*prompt, *(ANSWER_TOKEN,) * answer, *range(50))
        return found

    assert run(emulate()) == [0, 64]


def test_a_client_that_leaves_is_called_off_wherever_its_request_is(tmp_path):
    """Before it joins, while it waits, in the middle of its prompt, and while it decodes; the others are served."""

    async def emulate():
        one = Emulation(tmp_path)
        streams = [one.engine.submit(Lengths(150, 20)) for _ in range(8)]
        for after_s, number in ((0.0, 7), (0.001, 6), (0.04, 1), (0.3, 0)):
            await asyncio.sleep(after_s)
            one.engine.leave(streams[number])
            one.engine.leave(streams[number])
        while one.engine.streams:
            await asyncio.sleep(0.1)
        text = one.metrics.text()
        assert metric(text, "vllm:num_requests_running") == metric(text, "vllm:num_requests_waiting") == 0
        assert metric(text, "vllm:kv_cache_usage_perc") == 0
        return sorted(row["number"] for row in one.rows("request") if row["output_tokens"] == 20)

    assert run(emulate()) == [2, 3, 4, 5]


def test_a_full_queue_refuses_at_once(tmp_path):
    """Four run, and two may wait."""

    async def emulate():
        one = Emulation(tmp_path)
        one.engine._queue_max = 2
        app, body = one.app(), b'{"prompt": "a b c", "max_tokens": 30}'
        answers = []
        for _ in range(8):
            await asyncio.sleep(
                0.05 if len(answers) < 5 else 0.0
            )  # a step, in which the one before gets a place
            answers.append(asyncio.create_task(ask(app, body, path="/v1/completions")))
        return [(await one).status for one in answers], (await answers[-1]).headers

    statuses, headers = run(emulate())
    assert statuses == [200] * 6 + [503] * 2
    assert headers["retry-after"] == "1"


def events(body):
    return [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_tokens_are_streamed_as_openai_does(tmp_path, path):
    prompt = (
        {"messages": [{"role": "user", "content": "three short words"}]}
        if "chat" in path
        else {"prompt": "three short words"}
    )
    asked = {**prompt, "model": "made-up", "max_tokens": 4}
    streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}

    async def emulate():
        app = Emulation(tmp_path).app()
        return [await ask(app, json.dumps(one).encode(), path=path) for one in (streamed, asked)]

    stream, whole = run(emulate())
    *told, usage, done = events(stream.body)
    assert done == "[DONE]"
    counted = {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert (json.loads(usage)["choices"], json.loads(usage)["usage"]) == ([], counted)
    choices = [json.loads(one)["choices"][0] for one in told]
    texts = [one.get("text") or one.get("delta", {}).get("content") for one in choices]
    assert list(filter(None, texts)) == [" a"] * 4
    assert [one["finish_reason"] for one in choices][-2:] == [None, "length"]
    assert whole.json["usage"] == counted
    assert whole.json["choices"][0]["finish_reason"] == "length"


def test_tokens_that_come_together_are_one_event_and_counted_as_vllm_does(tmp_path):
    """All drafts are accepted: the first token, then three, and the last two of three."""
    profile = replace(PROFILE, speculation=Speculation(draft_tokens=2, acceptance_length=3.0))
    asked = {
        "prompt": "some words",
        "model": "made-up",
        "max_tokens": 6,
        "stream": True,
        "return_token_ids": True,
    }

    async def emulate():
        one = Emulation(tmp_path, profile)
        answer = await ask(one.app(), json.dumps(asked).encode(), path="/v1/completions")
        return answer, one.metrics.text().decode()

    answer, metrics = run(emulate())
    *told, _ = events(answer.body)
    choices = [json.loads(one)["choices"][0] for one in told]
    assert [one["text"] for one in choices] == [" a", " a a a", " a a"]
    assert [len(one["token_ids"]) for one in choices] == [1, 3, 2]
    counts = {"drafts": 2, "draft_tokens": 4, "accepted_tokens": 3}
    for name, count in counts.items():
        assert metric(metrics, f"vllm:spec_decode_num_{name}_total") == count
    assert 'num_accepted_tokens_per_pos_total{engine="0",model_name="made-up",position="1"} 1.0' in metrics
    assert metric(metrics, "vllm:generation_tokens_total") == 6
    assert metric(metrics, "vllm:inter_token_latency_seconds_count") == 2


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"prompt": "a", "model": "other"}, 404, "does not exist"),
        ({"prompt": ""}, 400, "the prompt must be text"),
        ({"prompt": ["a", "b"]}, 400, "the prompt must be text"),
        ({"prompt": [True]}, 400, "the prompt must be text"),
        ({"prompt": "a", "n": 2}, 400, "leave out n"),
        ({"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": "a", "max_tokens": 512}, 400, "maximum context length is 512 tokens"),
        ([], 400, "not a JSON object"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path, asked, status, said):
    async def emulate():
        return await ask(Emulation(tmp_path).app(), json.dumps(asked).encode(), path="/v1/completions")

    found = run(emulate())
    assert found.status == status
    assert said in found.json["error"]["message"]


def test_it_tells_its_model_and_its_cache_as_vllm_does(tmp_path):
    async def emulate():
        app = Emulation(tmp_path).app()
        await ask(app, b'{"prompt": [1, 2], "max_tokens": 3}', path="/v1/completions")
        return [await ask(app, method="GET", path=path) for path in ("/v1/models", "/health", "/metrics")]

    models, health, metrics = run(emulate())
    assert models.json["data"] == [{"id": "made-up", "object": "model", "max_model_len": 512}]
    assert health.status == 200
    assert metric(metrics.body, "vllm:cache_config_info", num_gpu_blocks="64", block_size="16") == 1
    assert metric(metrics.body, "vllm:generation_tokens_total", model_name="made-up") == 3
    assert metric(metrics.body, "vllm:inter_token_latency_seconds_count") == 2
    assert metric(metrics.body, "vllm:request_time_per_output_token_seconds_sum") == pytest.approx(
        0.021, abs=1e-4
    )


def test_settings_beyond_the_profile_are_refused():
    with pytest.raises(DomainError, match="does not cover 5"):
        emulated_rules(PROFILE, sequences_max=5)
    with pytest.raises(InputError, match="--kv-tokens"):
        emulated_rules(replace(PROFILE, kv=KvCache(tokens=None)))
    with pytest.raises(InputError, match="--step-log is of an emulated engine"):
        read_settings({"artifacts": "models", "step_log": "log.jsonl"})
    with pytest.raises(InputError, match="name another file"):
        StepLog(Settings(emulate="slow", step_log="/nowhere/log.jsonl").step_log)
