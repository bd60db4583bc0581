"""`capacity profile --llm`, against a server whose engine notes what each of its steps took."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import pytest
from completions_server import CompletionsServer, completing
from engine_on_paper import Law
from typer.testing import CliRunner, Result

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.measurement.completions import Prompt, completions_address
from capacity.measurement.http import parse_address
from capacity.measurement.sweeps import AskedRun, Server, sweeps_of
from capacity.profile.llm import KvCache
from capacity.profile.llm_runs import SeenRequest, SeenRun
from capacity.profile.llm_sweeps import EngineSettings
from capacity.profile.load import load_llm
from cli import app

# Requests and cached tokens make steps so much longer that it shows through the delays of a busy machine.
LAW = Law(base_s=0.001, per_prompt_token_s=2e-5, per_request_s=1e-3, per_read_s=5e-6, stair_s=0.0)
FLAGS = {
    "--model": "paper", "--kv-tokens": "8192", "--sequences-max": "2", "--batched-tokens-max": "128",
    "--context-tokens-max": "256",
}  # fmt: skip


def profile(url: str, *others: object, **instead: str | None) -> Result:
    flags = FLAGS | {f"--{name.replace('_', '-')}": value for name, value in instead.items()}
    given = [word for flag, value in flags.items() if value is not None for word in (flag, value)]
    return CliRunner().invoke(app, ["profile", "--llm", url, *given, *map(str, others)])


Measured = tuple[CompletionsServer, Result, Path]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    path = tmp_path_factory.mktemp("sweeps") / "paper-engine.json"
    with completing(LAW, sequences_max=2, tokens_max=128) as server:
        yield server, profile(server.url, "-o", path, "--json", "--runtime", "paper 1.0"), path


def noted_s(server: CompletionsServer, requests: int, least: int, most: int) -> list[float]:
    """Of steps without prompts, by how much each request reads. [s]"""
    return [
        step.seconds
        for step in server.steps
        if step.decode_requests == requests
        and not step.prompt_tokens
        and least <= step.decode_read / requests < most
    ]


def test_the_profile_is_written_whether_or_not_a_busy_machine_fails_its_check(measured: Measured) -> None:
    _, done, path = measured
    assert done.exit_code in (0, 4), done.output
    answer = json.loads(done.stdout)
    assert answer["profile"] == json.loads(path.read_text(encoding="utf-8"))
    assert answer["check"]["measured_rps"] > 0.0
    assert (done.exit_code == 0) == (abs(answer["check"]["difference"]) <= answer["check"]["allowed"])
    found = load_llm(str(path))
    assert (found.name, found.model, found.engine.name, found.engine.version) == (
        "paper-engine", "paper", "paper", "1.0",
    )  # fmt: skip
    assert found.limits_measured.sequences_max == 2
    assert found.limits_measured.batched_tokens_max == 128
    assert 240 <= found.limits_measured.context_tokens_max <= 256
    assert "127.0.0.1" not in path.read_text(encoding="utf-8")


@pytest.mark.long
def test_steps_that_no_prompt_fills_are_measured_as_far_as_prompts_reach(tmp_path: Path) -> None:
    """A context of 256 and steps of 512 tokens, as where a server takes all its context at once; nothing was written."""
    path = tmp_path / "short.json"
    with completing(LAW, sequences_max=2, tokens_max=512) as server:
        done = profile(server.url, "-o", path, batched_tokens_max="512")
    assert done.exit_code in (0, 4), done.output
    assert "no prompt fills a step of 512 tokens: steps are measured up to 255" in done.stderr
    found = load_llm(str(path))
    assert found.limits_measured.batched_tokens_max == 255
    assert found.source["batched_tokens_max"].startswith(
        "255, since no prompt fills a step of the 512 tokens"
    )


@pytest.mark.parametrize("requests", [1, 2])
@pytest.mark.parametrize(("least", "most"), [(0, 100), (200, 300)])
def test_steps_are_as_the_server_noted_them(measured: Measured, requests: int, least: int, most: int) -> None:
    """Most of them are found; and of whatever most of the noted ones, the median is not among the few at the ends."""
    server, _, path = measured
    noted = noted_s(server, requests, least, most)
    rows = [
        step
        for step in load_llm(str(path)).steps
        if step.decode_requests == requests and least <= step.context < most
    ]
    assert 0.5 * len(noted) <= sum(step.count or 0 for step in rows) <= 1.1 * len(noted) + 2
    low_s, high_s = quantiles(noted, n=20)[0], quantiles(noted, n=20)[-1]
    often = [
        step for step in rows if (step.count or 0) >= 5
    ]  # of three, two may come in one read of a busy machine
    assert often
    for step in often:
        assert 0.8 * low_s <= (step.p50_s or step.mean_s) <= 1.2 * high_s


def test_the_client_sees_each_request_as_the_engine_served_it() -> None:
    """From the first to the last token; a delay at an end is little of that, and on a busy machine not of most."""
    with completing(LAW, sequences_max=2, tokens_max=128) as server:
        asked = [AskedRun(name="two", waves=(((16, 40),) * 2,) * 6, in_flight=2)]
        address = completions_address(parse_address(server.url, "--llm"))
        (run,) = Server(address=address, model="paper", timeout_s=60.0).measure(asked, 0, print)
    served = server.jobs[1:]  # but the one that does not count
    ratios = [
        (seen.last_s - seen.first_s) / (job.stamps_s[-1] - job.stamps_s[0])
        for seen, job in zip(run.requests, served, strict=True)
    ]
    assert median(ratios) == pytest.approx(1.0, abs=0.05)
    assert all(
        (one.input_tokens, one.output_tokens, one.has_stamps) == (16, 40, True) for one in run.requests
    )


def test_prompts_and_what_is_outside_the_engine_make_the_first_token(measured: Measured) -> None:
    server, _, path = measured
    found = load_llm(str(path))
    for tokens in (16, 64, 128):
        noted = min(step.seconds for step in server.steps if step.prompt_tokens == tokens)
        seen_s = found.overhead.request_s + next(
            step.mean_s
            for step in found.steps
            if step.prefill_tokens == tokens and not step.prefill_kv_tokens
        )
        assert seen_s > noted  # a client sees the step and more


def test_the_protocol_is_openais(measured: Measured) -> None:
    server, _, _ = measured
    assert all(body["stream"] and body["stream_options"] == {"include_usage": True} for body in server.asked)
    assert {body["model"] for body in server.asked} == {"paper"}
    prompts = [tuple(body["prompt"][:16]) for body in server.asked]
    assert len(set(prompts)) == len(prompts)  # nobody finds another's beginning in the cache
    assert {len(body["prompt"]) for body in server.asked if body["max_tokens"] == 1} == {16, 64, 128, 255}


@pytest.mark.parametrize(
    ("spoil", "status", "code", "said"),
    [
        (lambda event: event, 503, 5, 'answered 503: {"error": "overloaded"}'),
        (lambda event: event, 302, 5, "redirects to nowhere"),
        (lambda event: event if event["choices"] else None, 200, 5, "does not say how many tokens there were"),
        (lambda event: None if event["choices"] else event, 200, 5, "sent no token"),
        (lambda event: {"error": {"message": "no room"}}, 200, 5, "sent an error: {'message': 'no room'}"),
        (lambda event: [event], 200, 5, "sent an event that is no JSON object"),
    ],
)  # fmt: skip
def test_a_server_that_is_not_as_it_should_be_is_named(spoil: Any, status: int, code: int, said: str) -> None:
    with completing(LAW, sequences_max=2, tokens_max=128, spoil=spoil, status=status) as server:
        done = profile(server.url)
    assert done.exit_code == code, done.output
    assert said in done.output
    assert "Traceback" not in done.output


def test_where_completions_are_asked_for() -> None:
    for given in ("http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/completions"):
        assert completions_address(parse_address(given, "--llm")).target == "/v1/completions"
    assert completions_address(parse_address("http://h/a/b/", "--llm")).target == "/a/b/v1/completions"


def test_the_sweeps_reach_every_limit() -> None:
    settings = EngineSettings(kv=KvCache(tokens=535_040), sequences_max=48, batched_tokens_max=2048)
    runs = {run.name: run for run in sweeps_of(settings, 16_384, 0)}
    prompts = Counter(tokens for ((tokens, _),) in runs["prompts"].waves)
    reached = (16, 64, 256, 1024, 2048, 4096, 6144, 8192, 10_240, 14_336, 16_383)
    assert prompts == dict.fromkeys(reached, 8)
    assert [run.in_flight for name, run in runs.items() if name.startswith("short")] == [
        1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48,
    ]  # fmt: skip
    assert [run.in_flight for name, run in runs.items() if name.startswith("long")] == [
        1,
        16,
        32,
    ]  # what the cache holds
    assert {
        sum(lengths)
        for name, run in runs.items()
        if name.startswith("long")
        for wave in run.waves
        for lengths in wave
    } == {16_384}
    assert (runs["saturated"].in_flight, runs["saturated"].requests) == (96, 288)
    assert runs["saturated"].waves[0][0] == (512, 128)
    assert runs["long-1"].waves == (((16_304, 80),),)
    with pytest.raises(InputError, match="that the KV cache can use"):
        sweeps_of(settings, 1_000_000, 0)


def test_the_sweeps_of_a_small_engine_by_hand() -> None:
    """The cache can use 512 tokens, in which six contexts of 80 fit, or two of 256."""
    settings = EngineSettings(kv=KvCache(tokens=528), sequences_max=8, batched_tokens_max=128)
    assert settings.kv.usable_tokens == 512
    prompts, *runs = sweeps_of(settings, 256, 0)
    assert [run.name for run in runs] == [
        *(f"short-{count}" for count in (1, 2, 3, 4, 6)), "long-1", "long-2", "saturated",
    ]  # fmt: skip
    shown = {
        run.name: (run.in_flight, len(run.waves), {one for wave in run.waves for one in wave}) for run in runs
    }
    assert shown["short-6"] == (6, 3, {(16, 64)})
    assert [run.requests for run in runs[:5]] == [3, 6, 9, 12, 18]
    assert shown["long-1"] == (1, 1, {(188, 68)})  # 64 steps, and twice the two passes of its prompt
    assert shown["long-2"] == (2, 1, {(184, 72)})
    assert shown["saturated"] == (16, 1, {(128, 64)})
    assert runs[-1].requests == 48
    assert (prompts.name, prompts.in_flight) == ("prompts", 1)
    assert Counter(prompts.waves) == {((tokens, 1),): 8 for tokens in (16, 64, 128, 255)}
    assert prompts == sweeps_of(settings, 256, 0)[0] != sweeps_of(settings, 256, 1)[0]


def test_the_largest_context_is_limited_by_the_cache() -> None:
    settings = EngineSettings(kv=KvCache(tokens=528), sequences_max=1, batched_tokens_max=1024)
    runs = {run.name: run for run in sweeps_of(settings, 512, 0)}
    assert runs["long-1"].waves == (((446, 66),),)
    # The longest prompt is one pass.
    assert Counter(runs["prompts"].waves) == {((tokens, 1),): 8 for tokens in (16, 64, 255, 256, 511)}
    for tokens in (255, 513):
        with pytest.raises(
            InputError, match=f"--context-tokens-max must be from 256 to the 512 .*, got {tokens}"
        ):
            sweeps_of(settings, tokens, 0)


@pytest.mark.parametrize(("batched", "least"), [(1, 1), (3, 1), (4, 2)])
def test_the_shortest_prompt_is_half_a_pass_or_a_token(batched: int, least: int) -> None:

    settings = EngineSettings(kv=KvCache(tokens=528), sequences_max=1, batched_tokens_max=batched)
    prompts, *_ = sweeps_of(settings, 256, 0)
    assert min(tokens for ((tokens, _),) in prompts.waves) == least


def test_the_longest_prompt_leaves_room_for_one_token() -> None:
    settings = EngineSettings(kv=KvCache(tokens=1600), sequences_max=1, batched_tokens_max=128)
    for context, reached in ((769, {768}), (768, {640, 767})):
        prompts, *_ = sweeps_of(settings, context, 0)
        lengths = {tokens for ((tokens, _),) in prompts.waves}
        assert lengths == {16, 64, 128, 256, 384, 512, 640} | reached


class Answering:
    """Completions that begin five seconds apart on a clock of their own; keeps the prompts that were sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpu_s: float = 0.0) -> None:
        self.prompts: list[Prompt] = []
        self.at_once = self.most = 0
        self.rounds: list[int] = []
        monkeypatch.setattr("capacity.measurement.sweeps.complete", self.complete)
        clock = SimpleNamespace(
            perf_counter=lambda: 5.0 * len(self.prompts), thread_time=lambda: cpu_s * len(self.prompts)
        )
        monkeypatch.setattr("capacity.measurement.sweeps.time", clock)

    async def complete(self, client: object, address: object, prompt: Prompt) -> SeenRequest:
        self.at_once += 1
        self.prompts.append(prompt)
        self.most = max(self.most, self.at_once)
        sent_s = 5.0 * len(self.prompts)
        await asyncio.sleep(0.0)
        self.at_once -= 1
        if len(self.prompts) > 20:
            raise DependencyError("gone")
        return SeenRequest(
            input_tokens=len(prompt.tokens),
            output_tokens=prompt.output_tokens,
            start_s=sent_s,
            first_s=sent_s + 1.0,
            last_s=sent_s + 1.0,
        )

    def measure(self, *runs: AskedRun, report: Any = print) -> list[SeenRun]:
        """The runs as they were seen."""
        address = parse_address("http://127.0.0.1:1/v1/completions", "--llm")
        return Server(address=address, model="m", timeout_s=1.0).measure(list(runs), 3, report)


WAVES = AskedRun(name="waves", waves=(((5, 1),) * 3, ((6, 1),) * 4), in_flight=2)


def test_waves_are_sent_one_after_another_with_at_most_two_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    server = Answering(monkeypatch)
    (run,) = server.measure(WAVES, report=told.append)
    assert told == ["waves: 7 requests (run 1 of 1)"]
    assert server.most == 2
    first, *rest = server.prompts
    assert (len(first.tokens), first.output_tokens) == (16, 2)  # which does not count
    assert [len(prompt.tokens) for prompt in rest] == [5, 5, 5, 6, 6, 6, 6]
    assert {prompt.output_tokens for prompt in rest} == {1}
    assert {prompt.model for prompt in rest} == {"m"}
    assert all(100 <= token < 10_000 for prompt in server.prompts for token in prompt.tokens)
    assert len({prompt.tokens for prompt in rest}) == 7
    # Instants count from the start of the run.
    assert (run.name, min(one.start_s for one in run.requests)) == ("waves", 5.0)
    assert all(one.first_s == one.last_s == one.start_s + 1.0 for one in run.requests)


def test_a_request_that_fails_ends_the_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DependencyError, match="gone"):
        Answering(monkeypatch).measure(WAVES, WAVES, WAVES)


def test_a_client_that_reads_for_more_than_four_fifths_of_the_time_is_inconclusive(monkeypatch) -> None:
    assert len(Answering(monkeypatch, cpu_s=4.0).measure(WAVES)) == 1
    with pytest.raises(InconclusiveError, match="waves: reading 2 streams took 85 % of a core"):
        Answering(monkeypatch, cpu_s=4.25).measure(WAVES)
