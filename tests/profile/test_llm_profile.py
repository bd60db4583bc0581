"""Profiles of language models: step times to the letter, what is refused, files that come back as they were."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from capacity.errors import CapacityError, DomainError, InputError
from capacity.profile.llm import (
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
    SaturationCheck,
    Scheduler,
)
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document, with_settings
from capacity.profile.llm_sampling import has_spread, resampled_steps
from capacity.profile.load import bundled_llm_names, load_any, load_llm, load_profile
from capacity.profile.steps import StepTable, StepTiming, table_of

LIMITS = LimitsMeasured(sequences_max=64, batched_tokens_max=512, context_tokens_max=2048)
KV = KvCache(tokens=16_384)
HEADER = (
    "wall_time_s,num_prefill_requests,sum_prefill_tokens,sum_prefill_kv_tokens,"
    "num_decode_requests,sum_decode_kv_tokens"
)


def decode(requests: int, context: int, mean_s: float) -> StepTiming:
    return StepTiming(decode_requests=requests, decode_kv_tokens=requests * context, mean_s=mean_s)


def prefill(tokens: int, past: int, mean_s: float) -> StepTiming:
    return StepTiming(prefill_requests=1, prefill_tokens=tokens, prefill_kv_tokens=past, mean_s=mean_s)


def mixed(tokens: int, past: int, requests: int, context: int, mean_s: float) -> StepTiming:
    return replace(
        prefill(tokens, past, mean_s), decode_requests=requests, decode_kv_tokens=requests * context
    )


GRID = [decode(d, k, 0.01 + 1e-4 * d + 1e-7 * d * k) for d in (1, 8, 64) for k in (128, 2048)]
PROMPTS = [prefill(p, past, 0.01 + 5e-5 * p + 1e-8 * p * past) for p in (16, 128, 512) for past in (0, 1024)]


@pytest.fixture(scope="module")
def table() -> StepTable:
    return table_of([*GRID, *PROMPTS])


def test_measured_steps_come_back(table: StepTable) -> None:
    for step in GRID:
        found = table.mean_s(decode_requests=step.decode_requests, kv_tokens=step.decode_kv_tokens)
        assert found == pytest.approx(step.mean_s, rel=1e-12)
    for step in PROMPTS:
        assert table.mean_s(step.prefill_tokens, step.past) == pytest.approx(step.mean_s, rel=1e-12)


def test_between_steps_it_is_as_scipy_interpolates(table: StepTable) -> None:
    generator = np.random.default_rng(1)
    axes = (table.prefill_tokens, table.past, table.decode_requests, table.context)
    places = np.column_stack([generator.uniform(axis[0], axis[-1], 200) for axis in axes])
    expected = RegularGridInterpolator(axes, table.mixed_s)(places)
    found = [table.mean_s(p, past, d, d * context) for p, past, d, context in places]
    assert found == pytest.approx(expected, rel=1e-12)


def test_scattered_steps_are_fitted_by_least_squares() -> None:
    generator = np.random.default_rng(2)
    requests, context = generator.integers(1, 65, 400), generator.integers(100, 2000, 400)
    steps = [
        decode(int(d), int(k), 0.01 + 1e-4 * d + 1e-7 * d * k) for d, k in zip(requests, context, strict=True)
    ]
    table = table_of([*steps, *PROMPTS])
    for d, k in ((2, 1500), (30, 300), (60, 1900)):
        found = table.mean_s(decode_requests=d, kv_tokens=d * k)
        assert found == pytest.approx(0.01 + 1e-4 * d + 1e-7 * d * k, rel=1e-6)


@pytest.mark.parametrize("name", bundled_llm_names())
def test_a_bundled_profile_says_where_it_comes_from_and_comes_back(name: str) -> None:
    profile = load_any(name)
    assert isinstance(profile, LlmProfile)
    assert {"repository", "revision", "licence", "measures", "kv"} <= set(profile.source)
    document = json.loads(json.dumps(llm_profile_to_document(profile)))
    assert read_llm_document(document, "there") == profile


def given(**others: object) -> LlmProfile:
    usual = {"name": "mine", "kv": KV, "limits_measured": LIMITS, "steps": (*GRID, *PROMPTS)}
    return LlmProfile(**{**usual, **others})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"devices": 8, "tensor_parallel": 8}, "communication"),
        ({"steps": ()}, "either steps or coefficients"),
        ({"coefficients": Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0)}, "either"),
        ({"steps": tuple(GRID)}, "prompts alone"),
        ({"limits_measured": replace(LIMITS, sequences_max=65)}, "more than 64"),
        ({"limits_measured": replace(LIMITS, batched_tokens_max=513)}, "more than 512"),
        ({"hourly_usd": -1.0}, "hourly_usd"),
        ({"name": "a b"}, "profile name"),
    ],
)  # fmt: skip
def test_a_profile_that_could_mislead_is_refused(others: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        given(**others)


def test_a_csv_of_steps_is_a_profile_with_an_error(tmp_path: Path) -> None:
    rows = [HEADER]
    for step in (*GRID, *PROMPTS):
        cells = (step.mean_s, step.prefill_requests, step.prefill_tokens, step.prefill_kv_tokens)
        rows.append(",".join(map(str, (*cells, step.decode_requests, step.decode_kv_tokens))))
    path = tmp_path / "steps.csv"
    path.write_text("\n".join(rows))
    profile = load_any(path)
    assert isinstance(profile, LlmProfile)
    assert profile.limits_measured == LimitsMeasured(
        sequences_max=64, batched_tokens_max=512, context_tokens_max=2048
    )
    assert profile.table.mean_s(128, 0) == pytest.approx(given().table.mean_s(128, 0), rel=1e-9)
    assert has_spread(profile)
    again = resampled_steps(profile, np.random.default_rng(0))
    assert again.limits_measured == profile.limits_measured


@pytest.mark.parametrize(
    ("rows", "limits", "kv_tokens"),
    [
        (("0.01,0,0,0,1,1", "0.02,1,1,0,0,0"), (1, 1, 1), 32),  # two blocks at least
        # A mixed step raises no limit.
        (("0.01,0,0,0,1,20", "0.02,1,5,9,0,0", "0.03,1,7,4,2,30"), (1, 5, 20), 41),
        (("0.01,0,0,0,3,30", "0.02,1,5,19,0,0"), (3, 5, 19), 32),
    ],
)
def test_the_limits_of_a_csv_come_from_its_rows(tmp_path, rows, limits, kv_tokens) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("\n".join([HEADER, *rows]))
    profile = load_any(path)
    assert isinstance(profile, LlmProfile)
    found = profile.limits_measured
    assert (found.sequences_max, found.batched_tokens_max, found.context_tokens_max) == limits
    assert profile.kv.tokens == kv_tokens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}\n0.01,0,0,0,1\n", "line 2: 5 cells for 6 columns"),
        (f"{HEADER}\n0.01,0,0,0,1,1.5\n", "line 2: sum_decode_kv_tokens must be a whole number"),
        (f"{HEADER}\ne5,0,0,0,1,10\n", "line 2: wall_time_s must be a positive number"),
        (f"{HEADER}\n-1,0,0,0,1,10\n", "line 2: a step of -1 s"),
        (f"{HEADER}\nfast,0,0,0,1,10\n", "line 2: wall_time_s must be a positive number"),
        (f"{HEADER},more\n", "unknown column 'more'"),
        (f"{HEADER},wall_time_s\n", "line 1: a column is given twice; keep one of each"),
        ("wall_time_s,num_decode_requests\n", "no column num_prefill_requests"),
        (f"{HEADER}\n", "no steps"),
    ],
)
def test_a_csv_that_is_no_list_of_steps_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_any(path)


def test_a_notebook_shows_a_profile_without_its_steps() -> None:
    one = LlmProfile(name="p", kv=KV, limits_measured=LIMITS, steps=tuple([*GRID, *PROMPTS] * 100))
    assert "name='p'" in repr(one)
    assert len(repr(one)) < 2000


def test_a_language_model_is_no_profile_of_batch_times() -> None:
    with pytest.raises(InputError, match="batches continuously"):
        load_profile("llama-3.1-8b-rtx-pro-6000-bf16")
    with pytest.raises(DomainError, match="does not cover 512"):
        load_any("llama-3.1-8b-rtx-pro-6000-bf16").require(512, 2048)  # type: ignore[union-attr]


def test_an_engine_keeps_a_block_for_itself() -> None:
    cache = KvCache(tokens=100, block_tokens=16)
    assert (cache.blocks, cache.usable_tokens, cache.slot_tokens(3)) == (5, 80, 33)
    assert KvCache(tokens=32).blocks == 1
    assert KvCache(tokens=2, block_tokens=1).usable_tokens == 1
    assert KvCache(tokens=8192, block_tokens=4096).blocks == 1


def test_a_replica_costs_what_its_devices_do() -> None:
    assert given(devices=3, tensor_parallel=2, all_reduce=True, hourly_usd=1.5).hourly_cost_usd(2) == 9.0
    assert given().hourly_cost_usd(2) is None


def test_what_is_valid_at_its_ends() -> None:
    assert Overhead(request_s=60.0).per_input_token_s == 0.0
    assert SaturationCheck(saturated_throughput_rps=1e-9, input_tokens=1, output_tokens=1).input_tokens == 1
    Coefficients(base_s=0.0, per_prefill_token_s=1e-9, per_decode_request_s=1e-9)
    Coefficients(base_s=60.0, per_prefill_token_s=0.0, per_decode_request_s=0.0)
    LimitsMeasured(sequences_max=1, batched_tokens_max=1, context_tokens_max=1)
    assert given(name="a" * 128).name == "a" * 128


def line(base_s: float, prompt_s: float, request_s: float) -> Coefficients:
    return Coefficients(base_s=base_s, per_prefill_token_s=prompt_s, per_decode_request_s=request_s)


def saturated(rate: float = 1.0, tokens: tuple[int, int] = (1, 1)) -> SaturationCheck:
    return SaturationCheck(saturated_throughput_rps=rate, input_tokens=tokens[0], output_tokens=tokens[1])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: KvCache(tokens=31), "from two blocks of 16 tokens"),
        (lambda: KvCache(tokens=99, block_tokens=0), "block_tokens must be from 1 to 4096, got 0"),
        (lambda: KvCache(tokens=99_999, block_tokens=4097), "block_tokens must be from 1 to 4096"),
        (lambda: Engine(scheduler=Scheduler.LLAMA_CPP, async_scheduling=True), "computes prompts in parts"),
        (lambda: Engine(scheduler=Scheduler.LLAMA_CPP, chunked_prefill=False), "computes prompts in parts"),
        (lambda: replace(LIMITS, context_tokens_max=0), "context_tokens_max must be from 1"),
        (lambda: Overhead(request_s=-0.1), "request_s must be from 0 to 60 s"),
        (lambda: Overhead(per_input_token_s=61.0), "per_input_token_s must be from 0 to 60 s, got 61.0"),
        (lambda: saturated(0.0), "a throughput must be positive"),
        (lambda: saturated(float("inf")), "a throughput must be positive"),
        (lambda: saturated(1.0, (0, 1)), "at least one input and one output token"),
        (lambda: saturated(1.0, (1, 0)), "at least one input and one output token"),
        (lambda: line(0.0, 0.0, 1.0), "a pass takes time"),
        (lambda: line(0.0, 1.0, 0.0), "a pass takes time"),
        (lambda: line(61.0, 0.0, 0.0), "coefficients must be from 0 to 60 s"),
        (lambda: line(1.0, -1.0, 0.0), "coefficients must be from 0 to 60 s"),
        (lambda: given(tensor_parallel=2), "tensor_parallel must be from 1 to the 1 devices, got 2"),
        (lambda: given(tensor_parallel=0), "tensor_parallel must be from 1"),
        (lambda: given(devices=2), "spans 2 devices"),
        (lambda: given(hourly_usd=0.0), "hourly_usd must be positive"),
        (lambda: given(hourly_usd=float("inf")), "hourly_usd must be positive"),
        (lambda: given(name="-" * 61), f"profile name '{'-' * 60}' may contain"),
        (lambda: given().require(65, 512), "does not cover 65"),
        (lambda: given().require(64, 1024), "does not cover 1024"),
        (lambda: given().require(0, 512), "--sequences-max must be >= 1, got 0"),
        (lambda: given().require(1, 0), "--batched-tokens-max must be >= 1, got 0"),
        (lambda: given(engine=Engine(chunked_prefill=False)).require(3, 2), "2 is below --sequences-max 3"),
        (lambda: given(engine=Engine(scheduler=Scheduler.LLAMA_CPP)).require(3, 2), "2 is below --sequences-max 3"),
    ],
)  # fmt: skip
def test_what_is_beyond_its_ends_is_refused(build: Callable[[], object], said: str) -> None:
    with pytest.raises(CapacityError, match=said):
        build()


def test_settings_that_were_measured_are_allowed() -> None:
    given().require(64, 512)
    given().require(3, 2)  # prompts are computed in parts
    given(engine=Engine(chunked_prefill=False)).require(3, 3)
    given(engine=Engine(scheduler=Scheduler.LLAMA_CPP)).require(2, 2)


@pytest.mark.parametrize(
    ("engine", "rules", "ahead", "other"),
    [
        (Engine(), Scheduler.VLLM_V1_0_33, True, None),  # a CSV says nothing of an engine
        (Engine(async_scheduling=False), Scheduler.VLLM_V1_0_33, False, None),
        (Engine(scheduler=Scheduler.VLLM_V1_0_19), Scheduler.VLLM_V1_0_19, False, None),
        (Engine(name="vllm", version="0.33.0"), Scheduler.VLLM_V1_0_33, True, None),
        (Engine(name="vllm", version="v1.0"), Scheduler.VLLM_V1_0_33, True, None),
        (Engine(name="vllm", version="0.19.0"), Scheduler.VLLM_V1_0_19, False, {"async_scheduling": True}),
        (Engine(name="vllm", version="0.19.0", async_scheduling=False), Scheduler.VLLM_V1_0_19, False, None),
        (Engine(name="vllm", version="0.9.2"), Scheduler.VLLM_V1_0_19, False, None),
        (Engine(name="vllm", version="0.25.1"), Scheduler.VLLM_V1_0_33, True, {"scheduler": "vllm-v1@0.19"}),
        (Engine(name="vllm", watermark=0.1), Scheduler.VLLM_V1_0_33, True,
         {"scheduler": "vllm-v1@0.19", "watermark": None}),
        (Engine(name="vllm", scheduler=Scheduler.VLLM_V1_0_33), Scheduler.VLLM_V1_0_33, True, None),
        (Engine(scheduler=Scheduler.LLAMA_CPP), Scheduler.LLAMA_CPP, False, None),
        (Engine(name="sglang", scheduler=Scheduler.SGLANG, mixed_chunk=True), Scheduler.SGLANG, True, None),
    ],
)  # fmt: skip
def test_an_engine_goes_by_the_rules_of_its_version(engine, rules, ahead, other) -> None:
    """And by those of another as well, where what was measured does not say which."""
    assert (engine.rules, engine.composes_ahead) == (rules, ahead)
    assert engine.other_rules == (None if other is None else replace(engine, **other))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"long_prefill_tokens": 0}, "from 1 to"),
        ({"watermark": 1.0}, "from 0 to below 1"),
        ({"watermark": 0.1, "version": "0.19.0"}, "vllm-v1@0.19 keeps no blocks free"),
        ({"long_prefill_tokens": 64, "scheduler": Scheduler.LLAMA_CPP}, "leave long_prefill_tokens out"),
        ({"mixed_chunk": True}, "vllm-v1@0.33 has no passes of prompts alone"),
    ],
)
def test_settings_that_the_rules_do_not_have_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Engine(**settings)


def test_flags_replace_what_a_file_says_of_the_engine() -> None:
    """And what was not asked for stays, even where it is not the usual."""
    odd = Engine(prefix_caching=False, async_scheduling=True, chunked_prefill=False)
    profile = given(engine=odd, source={"kv": "a log", "steps": "here"})
    assert with_settings(profile) == profile
    assert with_settings(profile).source == profile.source
    found = with_settings(
        profile,
        kv_tokens=320,
        block_tokens=32,
        scheduler=Scheduler.LLAMA_CPP,
        prefix_caching=True,
        async_scheduling=False,
        chunked_prefill=True,
    )
    assert (found.kv.tokens, found.kv.block_tokens) == (320, 32)
    assert found.engine == Engine(scheduler=Scheduler.LLAMA_CPP, async_scheduling=False)
    assert found.source == {"steps": "here"}
    assert with_settings(profile, block_tokens=8).kv == replace(KV, block_tokens=8)


def test_means_are_drawn_again_by_their_standard_error() -> None:
    """P99 lies 2.326 deviations above P50: of 0.01 s, which 25 steps leave a fifth of."""
    told = [
        replace(step, p50_s=step.mean_s, p99_s=step.mean_s + 0.02326, count=25) for step in (*GRID, *PROMPTS)
    ]
    profile = given(steps=tuple(told))
    assert has_spread(profile)
    again = resampled_steps(profile, np.random.default_rng(5))
    normals = np.random.default_rng(5).standard_normal(len(told))
    means_s = [step.mean_s * np.exp(0.002 / step.mean_s * z) for step, z in zip(told, normals, strict=True)]
    assert [step.mean_s for step in again.steps] == pytest.approx(means_s)


@pytest.mark.parametrize(
    "others",
    [
        {"p99_s": 0.03, "count": None},
        {"p50_s": None, "count": 9},
        {"p99_s": None, "count": 9},
        {"p99_s": 0.02},
    ],
)
def test_without_percentiles_or_counts_no_error_is_known(others: dict[str, float | None]) -> None:
    told = [replace(step, **{"p50_s": 0.02, "p99_s": 0.03, "count": 9, **others}) for step in GRID]  # type: ignore[arg-type]
    profile = given(steps=(*told, *PROMPTS))
    assert not has_spread(profile)
    assert resampled_steps(profile, np.random.default_rng(0)).steps == profile.steps


def test_rows_are_drawn_again_by_kind_and_the_largest_stay() -> None:
    rows = tuple(replace(step, count=1) for step in (*GRID, *PROMPTS))
    again = resampled_steps(given(steps=rows), np.random.default_rng(0)).steps
    assert len(again) == len(rows) + 2 * 2
    assert sum(step.decode_requests > 0 for step in again) == len(GRID) + 2
    assert set(again) <= set(rows)
    one_more = (*rows[:-1], replace(rows[-1], count=2))
    assert resampled_steps(given(steps=one_more), np.random.default_rng(0)).steps == one_more


def test_a_document_has_its_version_and_may_name_one_source() -> None:
    document = llm_profile_to_document(given())
    assert read_llm_document({**document, "source": "a log"}, "there").source == {"source": "a log"}
    for version in (0, 2):
        with pytest.raises(InputError, match=f"^there: schema_version must be 1, got {version}$"):
            read_llm_document({**document, "schema_version": version}, "there")


def test_a_profile_of_batch_times_is_refused_for_a_language_model() -> None:
    with pytest.raises(InputError, match=r"resnet50-t4-fp16 has batch times, and this needs the profile of"):
        load_llm("resnet50-t4-fp16")
    assert load_llm(given()) == given()
