"""What a host takes for each step: `capacity import --profile` finds it in requests, and plans count it."""

import json
import re
from dataclasses import replace

import in_process
import numpy as np
import pytest

from capacity.errors import InputError
from capacity.profile.llm import (
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
    Scheduler,
)
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.profile.llm_loads import SeenLoad, figures_of
from capacity.profile.llm_sampling import has_spread, resampled_steps
from capacity.profile.load import load_llm
from simulations.calibration.calibrate import forecast
from simulations.calibration.host import host_of

BASE = LlmProfile(
    name="kernels",
    kv=KvCache(tokens=200_000),
    limits_measured=LimitsMeasured(sequences_max=32, batched_tokens_max=512, context_tokens_max=2048),
    coefficients=Coefficients(
        base_s=0.012, per_prefill_token_s=4e-5, per_decode_request_s=1e-4, per_kv_token_s=1e-8
    ),
    engine=Engine(scheduler=Scheduler.VLLM_V1_0_33),
)
SETTINGS, HOST_S = (32, 512), 0.0015
RUN = ("run.jsonl", "--profile", "kernels.json")


def load_with(profile, count=120):
    """Requests at random that an engine of the profile serves."""
    dice = np.random.default_rng(5)
    sent_s = np.cumsum(dice.exponential(0.15, count))
    lengths = (
        tuple(dice.integers(20, 400, count).tolist()),
        tuple(dice.integers(2, 120, count).tolist()),
    )
    load = SeenLoad(
        name="run", requests=count, input_tokens=lengths[0], output_tokens=lengths[1],
        sent_s=tuple(sent_s.tolist()), figures={"e2e_mean": 1.0},
    )  # fmt: skip
    seen = forecast(profile, SETTINGS, load, 0)
    taken_s = tuple(zip(seen.ttft_s.tolist(), seen.response_s.tolist(), strict=True))
    figures = figures_of(taken_s, list(zip(*lengths, strict=True)))
    return replace(load, taken_s=taken_s, figures=figures)


SLOWER = replace(BASE, overhead=Overhead(step_s=HOST_S))
LOAD = load_with(SLOWER)


def aiperf(load):
    lines = []
    for sent_s, (ttft_s, response_s), given, got in zip(
        load.sent_s, load.taken_s, load.input_tokens, load.output_tokens, strict=True
    ):
        told = {
            "time_to_first_token": (1e3 * ttft_s, "ms"), "request_latency": (1e3 * response_s, "ms"),
            "input_sequence_length": (given, "tokens"), "output_sequence_length": (got, "tokens"),
        }  # fmt: skip
        sent_ns = round(1e9 * sent_s)
        lines.append(
            json.dumps(
                {
                    "metadata": {
                        "request_start_ns": sent_ns,
                        "request_end_ns": sent_ns + round(1e9 * response_s),
                    },
                    "metrics": {name: {"value": value, "unit": unit} for name, (value, unit) in told.items()},
                }
            )
        )
    return "\n".join(lines)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kernels.json").write_text(json.dumps(llm_profile_to_document(BASE)), encoding="utf-8")
    (tmp_path / "run.jsonl").write_text(aiperf(LOAD), encoding="utf-8")
    return tmp_path


def test_a_host_makes_every_step_longer_by_the_same_time() -> None:
    for sizes in ((0, 0, 4, 400), (256, 0, 0, 0), (256, 100, 4, 400)):
        assert SLOWER.table.mean_s(*sizes) == pytest.approx(BASE.table.mean_s(*sizes) + HOST_S)


@pytest.mark.parametrize("part", [slice(None), slice(0, None, 5), slice(0, 40)])
def test_its_time_is_what_requests_were_served_with(part: slice) -> None:
    found = host_of(BASE, [LOAD], SETTINGS, part)
    assert found.profile.overhead.step_s == pytest.approx(HOST_S, rel=0.02)
    for one in found.figures:
        # Times that differ by a thousandth give the same mean time per token, and first tokens in other steps.
        rel = 0.06 if one.name.startswith("ttft") else 0.01
        assert one.predicted_s == pytest.approx(one.measured_s, rel=rel), one.name


def test_without_a_host_there_is_hardly_any_time() -> None:
    found = host_of(BASE, [load_with(BASE)], SETTINGS)
    assert found.profile.overhead.step_s < 0.005 * 0.012


def test_the_others_are_shown_and_have_no_part_in_it() -> None:
    """Answers of the others twice as slow: the time is the same, and their figures are half of what was measured."""
    slow = tuple(one if not at % 5 else (2.0 * one[0], 2.0 * one[1]) for at, one in enumerate(LOAD.taken_s))
    every = slice(0, None, 5)
    found = host_of(BASE, [replace(LOAD, taken_s=slow)], SETTINGS, every)
    assert found.profile.overhead == host_of(BASE, [LOAD], SETTINGS, every).profile.overhead
    assert [one.name for one in found.figures] == [
        "ttft_mean", "tpot_mean", "e2e_mean", "ttft_p99", "tpot_p99", "e2e_p99",
    ]  # fmt: skip
    assert all(one.predicted_s == pytest.approx(0.5 * one.measured_s, rel=0.01) for one in found.figures)


def test_its_error_is_part_of_what_the_profile_leaves_open() -> None:
    """Two percent of a time per token of some 15 ms are 0.3 ms, a fifth of the host's time."""
    overhead = host_of(BASE, [LOAD], SETTINGS).profile.overhead
    assert 0.1 < overhead.step_error < 0.4
    profile = replace(BASE, coefficients=None, steps=steps(), overhead=overhead)
    assert has_spread(profile)
    dice = np.random.default_rng(1)
    drawn = np.log([resampled_steps(profile, dice).overhead.step_s / overhead.step_s for _ in range(400)])
    assert drawn.std() == pytest.approx(overhead.step_error, rel=0.15)


def steps():
    from capacity.profile.steps import StepTiming

    return (
        StepTiming(decode_requests=1, decode_kv_tokens=100, mean_s=0.01),
        StepTiming(decode_requests=32, decode_kv_tokens=3200, mean_s=0.012),
        StepTiming(prefill_requests=1, prefill_tokens=512, mean_s=0.03),
    )


def test_figures_alone_do_not_tell_it() -> None:
    with pytest.raises(InputError, match="run has no single requests, which tell what a host takes"):
        host_of(BASE, [replace(LOAD, taken_s=())], SETTINGS)
    one_each = replace(LOAD, output_tokens=(1,) * LOAD.requests)
    with pytest.raises(InputError, match="has no request of several tokens that calibrates"):
        host_of(BASE, [one_each], SETTINGS)


def test_import_adds_it_to_a_profile(folder) -> None:
    done = in_process.capacity(folder, "import", *RUN, "--every", "5", "-o", "mine.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"host, each step +1\.5 ms", done.stdout)
    found = load_llm(str(folder / "mine.json"))
    assert found.overhead.step_s == pytest.approx(HOST_S, rel=0.02)
    assert "of 24 of 120 requests of run.jsonl" in found.source["host"]
    assert found.coefficients == BASE.coefficients


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run.jsonl", "--every", "5"), "--every is of --profile"),
        ((*RUN, "--as", "load-test"), "leave one out"),
        ((*RUN, "--every", "0"), "--every must be"),
        (("run.jsonl", "--profile", "resnet50-t4-fp16"), "has batch times"),
        ((*RUN, "--sequences-max", "64"), "was measured up to sequences-max 32"),
    ],
)
def test_what_does_not_go_with_it_is_refused(folder, arguments, said) -> None:
    done = in_process.capacity(folder, "import", *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
