"""Profiles of steps that an engine recorded itself: a known law of steps must come back."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_on_paper import Law, Step, as_forward_pass, as_iterations, closed_loop

import capacity as cap
from capacity.errors import InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.llm_steps import rising, thinned

LAW = Law()
KV_TOKENS = 65_536


def recorded(jitter: float = 0.02, seed: int = 1) -> list[Step]:
    """The steps of closed loops with lengths as they come, each a little off."""
    dice, steps = random.Random(seed), []
    for users in (1, 3, 8, 12, 16):
        lengths = [(dice.randint(16, 900), dice.randint(20, 120)) for _ in range(12 * users)]
        closed_loop(lengths, users, record=steps)
    return [replace(step, seconds=step.seconds * dice.gauss(1.0, jitter)) for step in steps]


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return recorded()


def profile_of(path: Path, text: str, **flags: object) -> LlmProfile:
    path.write_text(text)
    return cap.import_file([path], **flags).profile


def worst(profile: LlmProfile) -> tuple[float, float]:
    """Largest errors of steps without prompts, and of prompts alone, as shares."""
    decode = [
        profile.table.mean_s(decode_requests=n, kv_tokens=n * context) / LAW.step_s(0, n, n * context) - 1.0
        for n in range(1, 17)
        for context in (100, 400, 800)
    ]
    prefill = [
        profile.table.mean_s(tokens) / LAW.step_s(tokens, 0, 0) - 1.0 for tokens in (50, 200, 400, 512)
    ]
    return float(np.abs(decode).max()), float(np.abs(prefill).max())


def test_forward_passes_give_the_steps_back_with_their_stairs(steps: list[Step], tmp_path: Path) -> None:
    profile = profile_of(tmp_path / "steps.jsonl", as_forward_pass(steps), kv_tokens=KV_TOKENS)
    decode, prefill = worst(profile)
    assert decode < 0.02
    assert prefill < 0.03
    stair_s = [profile.table.mean_s(decode_requests=n, kv_tokens=n * 400) for n in (7, 8)]
    assert stair_s[1] - stair_s[0] > LAW.stair_s  # one more request, and a stair
    assert profile.limits_measured.sequences_max == 16
    assert profile.limits_measured.batched_tokens_max == 512


def test_the_log_of_iterations_does_too_and_says_the_cache(steps: list[Step], tmp_path: Path) -> None:
    profile = profile_of(tmp_path / "vllm.log", as_iterations(steps, KV_TOKENS))
    decode, prefill = worst(profile)
    assert decode < 0.02
    assert prefill < 0.05
    assert profile.kv.tokens == KV_TOKENS
    assert "without what the engine does between" in profile.source["steps"]


def test_a_warm_up_is_found_left_out_and_said(steps: list[Step], tmp_path: Path) -> None:
    cold = [replace(step, seconds=1.5 * step.seconds) for step in recorded(seed=2)[:150]] + steps
    profile = profile_of(tmp_path / "steps.jsonl", as_forward_pass(cold), kv_tokens=KV_TOKENS)
    assert "in which the engine warmed up" in profile.source["left_out"]
    assert worst(profile)[0] < 0.02
    warm = profile_of(tmp_path / "warm.jsonl", as_forward_pass(steps), kv_tokens=KV_TOKENS)
    assert "left_out" not in warm.source


def test_the_error_of_a_row_is_that_of_its_steps(steps: list[Step], tmp_path: Path) -> None:
    profile = profile_of(tmp_path / "steps.jsonl", as_forward_pass(steps), kv_tokens=KV_TOKENS)
    spreads = [
        (row.p99_s - row.p50_s) / 2.326 / row.mean_s
        for row in profile.steps
        if row.decode_requests and row.p99_s and row.p50_s and row.count and row.count > 100
    ]
    assert min(spreads) > 0.01
    assert max(spreads) < 0.04


def test_limits_beyond_the_record_are_refused(steps: list[Step], tmp_path: Path) -> None:
    text = as_forward_pass(steps)
    with pytest.raises(InputError, match="sequences_max is 32, and no recorded step has more than 16"):
        profile_of(tmp_path / "steps.jsonl", text, kv_tokens=KV_TOKENS, sequences_max=32)
    with pytest.raises(InputError, match="kv_tokens is needed"):
        profile_of(tmp_path / "steps.jsonl", text)


def test_too_few_steps_and_files_of_two_kinds_are_refused(steps: list[Step], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps with prompts, and a profile needs"):
        profile_of(tmp_path / "steps.jsonl", as_forward_pass(steps[:30]), kv_tokens=KV_TOKENS)
    (tmp_path / "vllm.log").write_text(as_iterations(steps, KV_TOKENS))
    (tmp_path / "other.log").write_text(as_iterations(steps, 2 * KV_TOKENS))
    with pytest.raises(InputError, match="KV caches of 65536 and of 131072 tokens"):
        cap.import_file([tmp_path / "vllm.log", tmp_path / "other.log"])


def test_values_that_fall_are_pooled_by_their_weights() -> None:
    found = rising(np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0, 1.0]))
    assert found.tolist() == [1.0, 2.25, 2.25, 4.0]


def test_a_line_needs_two_nodes_and_a_stair_its_edges() -> None:
    places = np.arange(1.0, 33.0)
    assert thinned(places, 1.0 + 0.1 * places).tolist() == [0, 31]
    stairs = 1.0 + places // 8
    kept = thinned(places, stairs)
    assert np.abs(np.interp(places, places[kept], stairs[kept]) / stairs - 1.0).max() <= 0.002
    assert len(kept) <= 10
