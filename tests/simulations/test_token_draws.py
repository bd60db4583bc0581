"""Requests of language models and the rules of their engines: what is taken over, and what could never be served."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capacity.errors import DomainError
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from simulations.draws.tokens import EngineRules, TokenDraws, TokenRecords, pass_noise

PROFILE = LlmProfile(
    name="p",
    kv=KvCache(tokens=1600, block_tokens=32),
    limits_measured=LimitsMeasured(sequences_max=8, batched_tokens_max=64, context_tokens_max=100),
    coefficients=Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0),
    engine=Engine(chunked_prefill=False, async_scheduling=True, prefix_caching=False),
)


def test_rules_are_those_of_the_profile() -> None:
    assert EngineRules.of(PROFILE, 4, 16) == EngineRules(
        sequences_max=4,
        tokens_max=16,
        blocks=PROFILE.kv.blocks,
        block_tokens=32,
        chunked=False,
        ahead=True,
        caching=False,
        reserve=PROFILE.kv.reserve_full_prompt,
        lone_is_whole=True,
        unfilled_first=True,
        scheduler=Scheduler.VLLM_V1,
    )
    kept = replace(PROFILE.engine, scheduler=Scheduler.VLLM_V1, long_prefill_tokens=8, watermark=0.25)
    today = EngineRules.of(replace(PROFILE, engine=kept), 4, 16)
    assert (today.part_max, today.spare) == (8, 12)  # a quarter of 50 blocks, that of the engine included
    older = EngineRules.of(replace(PROFILE, engine=Engine(version="0.19.1")), 4, 16)
    assert (older.ahead, older.lone_is_whole, older.unfilled_first) == (False, False, False)
    prompts_first = replace(PROFILE, engine=Engine(scheduler=Scheduler.SGLANG, mixed_chunk=True))
    found = EngineRules.of(prompts_first, 4, 64)
    assert (found.scheduler, found.ahead, found.mixed, found.unfilled_first) == (
        Scheduler.SGLANG,
        True,
        True,
        True,
    )
    slots = replace(PROFILE, engine=Engine(scheduler=Scheduler.LLAMA_CPP))
    assert EngineRules.of(slots, 4, 16) == EngineRules(
        sequences_max=4,
        tokens_max=16,
        blocks=4 * slots.kv.slot_tokens(4),
        block_tokens=1,
        chunked=True,
        ahead=False,
        caching=False,
        reserve=True,
        scheduler=Scheduler.LLAMA_CPP,
    )


def draws_of(inputs: list[int], outputs: list[int], **fields: Any) -> TokenDraws:
    count = len(inputs)
    given: dict[str, Any] = {
        "arrived_s": np.arange(count, dtype=float),
        "input_tokens": np.array(inputs, dtype=np.int64),
        "output_tokens": np.array(outputs, dtype=np.int64),
        "cached_tokens": np.zeros(count, dtype=np.int64),
        "routing": np.zeros(2 * count),
    }
    return TokenDraws(**(given | fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arrived_s": np.array([1.0, 0.5])}, "instants of arrival must be finite, not negative, and must not fall"),
        ({"arrived_s": np.array([-0.5, 0.5])}, "instants of arrival must be finite, not negative"),
        ({"arrived_s": np.array([0.0, np.inf])}, "instants of arrival must be finite, not negative"),
        ({"routing": np.zeros(3)}, "there must be lengths and two routing draws for each request"),
        ({"cached_tokens": np.zeros(1, dtype=np.int64)}, "there must be lengths and two routing draws"),
        ({"input_tokens": np.array([1, 0])}, "a request has at least one input token and one output token"),
        ({"output_tokens": np.array([0, 1])}, "a request has at least one input token and one output token"),
    ],
)  # fmt: skip
def test_draws_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DomainError, match=f"^{said}"):
        draws_of([1, 1], [1, 1], **fields)


def test_draws_that_may_be() -> None:
    assert len(draws_of([], []).arrived_s) == 0
    assert draws_of([1, 1], [1, 1], arrived_s=np.array([0.0, 0.0])).noise_seed == 0


def served(inputs: list[int], outputs: list[int], rules: EngineRules) -> str:
    try:
        draws_of(inputs, outputs).require_served(rules)
    except DomainError as error:
        return str(error)
    return ""


def test_a_request_fits_the_cache_but_for_its_last_token() -> None:
    rules = EngineRules(sequences_max=2, tokens_max=8, blocks=4, block_tokens=16)
    assert served([60, 1], [5, 1], rules) == ""
    assert served([60, 1], [6, 1], rules).startswith(
        "a request computes 65 tokens, and the KV cache has room for 64;"
    )
    assert served([], [], rules) == ""


def test_a_prompt_fits_a_pass_where_it_is_not_taken_in_parts() -> None:
    whole = EngineRules(sequences_max=2, tokens_max=8, blocks=40, block_tokens=16, chunked=False)
    assert served([8], [200], whole) == ""
    assert served([9], [1], whole).startswith("a prompt of 9 tokens never fits a pass of 8 without chunked")
    assert served([9], [1], whole._replace(chunked=True)) == ""
    # Thrown out at its end, a request of 8 and 6 tokens has 13 to compute again, where two have no room.
    tight = whole._replace(blocks=25, block_tokens=1)
    assert served([8], [6], tight).startswith(
        "a preempted request may have to compute 13 tokens again, which never fit"
    )
    assert served([8], [6], tight._replace(blocks=26)) == ""
    assert served([8], [1], tight._replace(blocks=8)) == ""


def test_a_slot_holds_a_request_with_its_last_token_and_a_pass_has_a_token_for_each() -> None:
    slots = EngineRules(
        sequences_max=4, tokens_max=4, blocks=80, block_tokens=1, scheduler=Scheduler.LLAMA_CPP
    )
    assert served([10], [10], slots) == ""
    assert served([10], [11], slots).startswith(
        "a request has 21 tokens, and a slot has room for 20; raise --kv-tok"
    )
    assert served([1], [1], slots._replace(tokens_max=3)).startswith(
        "a pass of 3 tokens has none for some of 4 slots; raise --batched-tokens-max"
    )


def test_the_noise_of_a_pass_is_uniform_over_the_quantiles() -> None:
    noise = np.array([0.5, 1.0, 2.0])
    found = np.array(
        [pass_noise(noise, 7, replica, number) for replica in range(20) for number in range(500)]
    )
    assert found.min() >= 0.5
    assert found.max() < 2.0
    assert float((found < 1.0).mean()) == pytest.approx(0.5, abs=0.02)
    assert float(found.mean()) == pytest.approx((0.75 + 1.5) / 2.0, abs=0.02)
    assert len(set(found.tolist())) == len(found)
    assert pass_noise(np.zeros(0), 7, 1, 1) == 1.0


@pytest.mark.parametrize(("seed", "word"), [(0, 0xE220A8397B1DCDAF), (-0x9E3779B97F4A7C15 & (2**64 - 1), 0)])
def test_the_hash_is_splitmix(seed: int, word: int) -> None:
    """Its first output for seed 0 is e220a8397b1dcdaf, and of a state of 0 it is 0."""
    two = np.array([0.0, 1.0])
    assert pass_noise(two, seed, 0, 0) == (word >> 11) * 2.0**-53


@pytest.mark.parametrize(
    ("place", "size"),
    [
        (0, "decoding requests"),
        (1, "prompt tokens"),
        (2, "tokens read by a decoding request"),
        (3, "tokens before a prompt's part"),
    ],
)
def test_a_pass_larger_than_any_that_was_measured_is_refused(place: int, size: str) -> None:
    table: Any = SimpleNamespace(
        decode_requests=(0.0, 8.0), prefill_tokens=(0.0, 16.0), context=(0.0, 32.0), past=(0.0, 64.0)
    )
    reached = [8.0, 16.0, 32.0, 64.0]
    records = TokenRecords(
        **dict.fromkeys(TokenRecords.__dataclass_fields__, 0) | {"largest": tuple(reached)}
    )
    records.require_measured(table, "p")
    larger = list(reached)
    larger[place] += 1.0
    with pytest.raises(DomainError) as caught:
        replace(records, largest=tuple(larger)).require_measured(table, "p")
    assert str(caught.value) == (
        f"profile p was measured up to {reached[place]:g} {size} in a step, and {larger[place]:g} came up; measure up "
        "to there, or allow shorter requests only"
    )
