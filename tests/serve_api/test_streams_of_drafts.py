"""Streams whose events bring several tokens, made by the emulator: profiles of them are what the emulator was given.

All in virtual time, so that only what is accepted is left to chance.
"""

import asyncio
import json
import re
from dataclasses import replace
from math import sqrt

import in_process
import numpy as np
import pytest
import virtual_time
from emulated import Fleet, profile_in_virtual_time
from engine_on_paper import Seen, Step, as_forward_pass, as_iterations, write_all

from capacity.errors import DependencyError
from capacity.measurement import sweeps
from capacity.profile.llm_runs import SeenRequest
from capacity.profile.load import load_llm
from serve_api.emulation.log import StepLog

RATES = (0.75, 0.55, 0.4)
ENGINE = {
    "schema_version": 1,
    "kind": "llm",
    "name": "drafting",
    "engine": {"name": "vllm", "version": "0.33.0", "scheduler": "vllm-v1@0.33"},
    "kv": {"tokens": 8192, "block_tokens": 16},
    "limits_measured": {"sequences_max": 4, "batched_tokens_max": 256, "context_tokens_max": 512},
    "coefficients": {
        "base_s": 0.025, "per_prefill_token_s": 1e-4, "per_decode_request_s": 3e-4, "per_kv_token_s": 4e-6,
    },
    "speculation": {"draft_tokens": 3, "acceptance_rates": RATES, "draft_token_s": 0.0006, "method": "ngram"},
}  # fmt: skip
FLAGS = (
    "--kv-tokens", "8192", "--sequences-max", "4", "--batched-tokens-max", "256", "--runtime", "vllm 0.33.0", "-o",
    "mine.json",
)  # fmt: skip
STEPS_FLAGS = ("--kv-tokens", "8192", "--runtime", "vllm 0.33.0", "-o", "mine.json")
PROFILED = (
    "profile",
    "--llm",
    "http://127.0.0.1:9",
    "--model",
    "made-up",
    "--context-tokens-max",
    "512",
    *FLAGS,
)


def measured(folder, fleet, *flags, shows_metrics=True):
    """A profile of what an emulated engine streams, and the runs that its client saw."""
    runs = []

    def none(page):
        raise DependencyError("no such page")

    kept = sweeps._since
    with pytest.MonkeyPatch.context() as patch:
        profile_in_virtual_time(patch, fleet)
        patch.setattr(sweeps, "_since", lambda run, began_s: runs.append(kept(run, began_s)) or runs[-1])
        if not shows_metrics:
            patch.setattr(sweeps, "scrape", none)
        done = in_process.capacity(folder, *PROFILED, *flags)
    return done, runs


def engine(folder, **changes):
    (folder / "engine.json").write_text(json.dumps(ENGINE | changes), encoding="utf-8")
    return load_llm(str(folder / "engine.json"))


@pytest.fixture(scope="module")
def drafted(tmp_path_factory):
    """Runs of an engine that drafts, and its log."""
    folder = tmp_path_factory.mktemp("drafted")
    with StepLog(folder / "log.jsonl") as log:
        fleet = Fleet(engine(folder), outside_s=0.002, log=log)
        done, runs = measured(folder, fleet)
    assert done.returncode == 0, done.stderr
    (folder / "metrics.txt").write_bytes(fleet.metrics[0].text())
    return folder, runs


def step_errors(folder, name="mine.json"):
    """Mean error of the profile's steps without prompts, by how many requests decode."""
    table, errors = load_llm(str(folder / name)).table, {}
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        step = json.loads(line)
        if step["kind"] == "step" and not step["prefill_tokens"]:
            told_s = table.mean_s(0, 0, step["decode_requests"], step["decode_kv_tokens"])
            seconds = step["end_s"] - step["start_s"]
            errors.setdefault(step["decode_requests"], []).append(told_s / seconds - 1.0)
    return {requests: float(np.mean(found)) for requests, found in errors.items()}


def drafts(runs):
    """Steps that brought a request tokens after the first, of all requests of its sweeps."""
    return sum(one.events - 1 for run in runs for one in run.requests)


def assert_given_back(folder, count, rates=RATES):
    """The acceptance within four standard deviations, and steps within two percent."""
    found = load_llm(str(folder / "mine.json"))
    assert found.speculation is not None
    assert (found.speculation.draft_tokens, found.speculation.in_steps) == (3, True)
    length, mean = found.speculation.tokens_mean, 1.0 + sum(rates)
    chances = np.diff((0.0, *(1.0 - np.array(rates)), 1.0))
    spread = sqrt(float((chances * (np.arange(1, 5) - mean) ** 2).sum()) / count)
    assert length == pytest.approx(mean, abs=4.0 * spread)
    errors = step_errors(folder)
    assert set(errors) == {1, 2, 3, 4}
    assert all(abs(error) <= 0.02 for error in errors.values()), errors


def test_counters_of_the_server_say_what_was_accepted(drafted):
    folder, runs = drafted
    count = drafts(runs)
    assert_given_back(folder, count)
    found = load_llm(str(folder / "mine.json")).speculation.rates
    for rate, true in zip(found, RATES, strict=True):
        assert rate == pytest.approx(true, abs=4.0 * sqrt(true * (1.0 - true) / count))


def test_events_say_it_where_no_counter_does(drafted, tmp_path):
    folder, runs = drafted
    fleet = Fleet(engine(tmp_path), outside_s=0.002)
    done, _ = measured(tmp_path, fleet, "--draft-tokens", "3", shows_metrics=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "log.jsonl").write_bytes((folder / "log.jsonl").read_bytes())
    assert_given_back(tmp_path, drafts(runs))


def as_seen(one: SeenRequest) -> Seen:
    """The request, sent a moment after the answer before it, from which files round off less."""
    return Seen(one.input_tokens, one.output_tokens, one.start_s + 1e-5, tuple(one.stamps_s))


@pytest.fixture(params=["vllm_bench", "guidellm", "aiperf"])
def files(request, drafted, tmp_path):
    """What a tool writes of these runs, all beside the engine's log."""
    folder, runs = drafted
    (tmp_path / "log.jsonl").write_bytes((folder / "log.jsonl").read_bytes())
    return write_all(
        tmp_path, request.param, {run.name: [as_seen(one) for one in run.requests] for run in runs}
    )


def test_a_flag_tells_every_tool_how_many_were_drafted(files, drafted):
    done = in_process.capacity(files[0].parent, "import", *files, "--draft-tokens", "3", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert_given_back(files[0].parent, drafts(drafted[1]))


def test_a_page_of_metrics_tells_every_tool_what_was_accepted(files, drafted):
    page = drafted[0] / "metrics.txt"
    done = in_process.capacity(files[0].parent, "import", *files, page, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert_given_back(files[0].parent, drafts(drafted[1]))


def test_streams_of_drafts_that_nothing_tells_of_are_refused(files):
    done = in_process.capacity(files[0].parent, "import", *files, *FLAGS)
    assert done.returncode == 2
    assert "came neither one by one nor always as many at a time; if the server drafts" in done.stderr
    assert "--draft-tokens" in done.stderr


def test_fewer_drafts_than_events_bring_are_refused(files):
    done = in_process.capacity(files[0].parent, "import", *files, "--draft-tokens", "1", *FLAGS)
    assert done.returncode == 2
    assert "more at a time than the next one and 1 drafted after it; check --draft-tokens" in done.stderr


def steps_of(folder):
    """What the engine could have recorded itself."""
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        step = json.loads(line)
        if step["kind"] == "step":
            yield Step(
                prompts=step["prefill_requests"], prompt_tokens=step["prefill_tokens"], past=step["prefill_kv_tokens"],
                requests=step["decode_requests"], read=step["decode_kv_tokens"], held=16 * step["blocks_used"],
                seconds=step["end_s"] - step["start_s"],
            )  # fmt: skip


def imported_steps(folder, tmp_path, text, *others):
    (tmp_path / "log.jsonl").write_bytes((folder / "log.jsonl").read_bytes())
    (tmp_path / "steps.txt").write_text(text, encoding="utf-8")
    return in_process.capacity(tmp_path, "import", "steps.txt", *others, *STEPS_FLAGS)


def iterations(folder):
    """The engine's log as vLLM writes it, in which each request that decodes has four tokens."""
    return re.sub(
        r"(\d+) generation requests, \d+",
        lambda found: f"{found[1]} generation requests, {4 * int(found[1])}",
        as_iterations(list(steps_of(folder)), 8192),
    )


def test_a_page_of_metrics_tells_what_recorded_steps_do_not(drafted, tmp_path):
    folder, runs = drafted
    for text in (as_forward_pass(list(steps_of(folder))), iterations(folder)):
        done = imported_steps(folder, tmp_path, text, folder / "metrics.txt")
        assert done.returncode == 0, done.stderr
        assert_given_back(tmp_path, drafts(runs))


def test_steps_that_draft_are_refused_where_nothing_says_what_was_accepted(drafted, tmp_path):
    folder, _ = drafted
    text = iterations(folder)
    done = imported_steps(folder, tmp_path, text)
    assert done.returncode == 2
    assert "steps with 3 tokens drafted for a request, and does not say how many were accepted" in done.stderr
    done = imported_steps(folder, tmp_path, text, "--draft-tokens", "3")
    assert done.returncode == 2
    assert (
        "--draft-tokens is of requests, whose events say what was accepted, and these are steps"
        in done.stderr
    )
    done = imported_steps(folder, tmp_path, text, *[folder / "metrics.txt"] * 2)
    assert "are both pages of metrics; give the last one" in done.stderr


LOADS = (0.3, 1.2, 2.4)  # [requests/s]


def load(profile, rate_rps):
    """Requests at random, as their client saw them."""
    chance, count = np.random.default_rng(round(10.0 * rate_rps)), 300
    sent_s = np.cumsum(chance.exponential(1.0 / rate_rps, count)).tolist()
    lengths = zip(
        chance.integers(16, 200, count).tolist(), chance.integers(20, 100, count).tolist(), strict=True
    )

    async def serve():
        fleet = Fleet(profile, outside_s=0.002)
        fleet.begin()

        async def one(at_s, given, got):
            await asyncio.sleep(at_s)
            return as_seen(await fleet.see(0, given, got))

        asked = zip(sent_s, lengths, strict=True)
        return await asyncio.gather(*(one(at_s, *tokens) for at_s, tokens in asked))

    return virtual_time.run(serve())


def test_loads_of_an_engine_that_drafts_give_back_its_steps(drafted, tmp_path):
    profile = load_llm(str(drafted[0] / "engine.json"))
    files = write_all(tmp_path, "aiperf", {f"at-{rate}": load(profile, rate) for rate in LOADS})
    done = in_process.capacity(tmp_path, "import", *files, "--draft-tokens", "3", *FLAGS)
    assert done.returncode == 0, done.stderr
    found = load_llm(str(tmp_path / "mine.json"))
    assert found.speculation is not None
    assert found.speculation.tokens_mean == pytest.approx(1.0 + sum(RATES), rel=0.02)
    for requests in (1, 2, 3, 4):
        drafted_s = 1e-4 * 3 * requests  # which the engine computes as prompt tokens
        true_s = profile.table.mean_s(0, 0, requests, 150 * requests) + drafted_s
        assert found.table.mean_s(0, 0, requests, 150 * requests) == pytest.approx(true_s, rel=0.02)


def held_back(one: SeenRequest, interval: int) -> SeenRequest:
    """The request as its client sees it if the server sends the first token, then as many together, then the rest."""
    stamps_s = one.stamps_s
    kept = [0, *range(interval, len(stamps_s) - 1, interval), len(stamps_s) - 1][: len(stamps_s)]
    gaps_s = tuple(np.diff([stamps_s[at] for at in kept]).tolist()) if len(kept) > 1 else ()
    return replace(one, gaps_s=gaps_s, events=len(kept))


@pytest.mark.parametrize("interval", [4, 10])
@pytest.mark.parametrize("tool", ["vllm_bench", "guidellm", "aiperf"])
def test_tokens_that_are_held_back_are_steps_of_their_own(tmp_path, interval, tool):
    """The engine drafts nothing, and sends every few tokens: what it takes for a step is the same."""
    plain = {key: value for key, value in ENGINE.items() if key != "speculation"}
    (tmp_path / "engine.json").write_text(json.dumps(plain), encoding="utf-8")
    with StepLog(tmp_path / "log.jsonl") as log:
        fleet = Fleet(load_llm(str(tmp_path / "engine.json")), outside_s=0.002, log=log)
        done, runs = measured(tmp_path, fleet)
    assert done.returncode == 0, done.stderr
    seen = {run.name: [as_seen(held_back(one, interval)) for one in run.requests] for run in runs}
    done = in_process.capacity(tmp_path, "import", *write_all(tmp_path, tool, seen), *FLAGS)
    assert done.returncode == 0, done.stderr
    found = load_llm(str(tmp_path / "mine.json"))
    assert found.speculation is None
    assert found.source["streams"].startswith(f"tokens came {interval} at a time")
    errors = step_errors(tmp_path)
    assert set(errors) == {1, 2, 3, 4}
    assert all(abs(error) <= 0.02 for error in errors.values()), errors
