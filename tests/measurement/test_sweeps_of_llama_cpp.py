"""`capacity profile --llm` against a real engine: llama.cpp's server with a small model of random weights.

Step times of a shared machine are not tested; what is asked, counted and written is.
"""

import json
from pathlib import Path

import pytest
from llama_server import Stream, served
from typer.testing import CliRunner

from capacity.profile.load import load_llm
from cli import app

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")
STREAM = Stream(requests=1, gap_s=1.0, slots=4, slot_tokens=512, batch_tokens=64, vocabulary=12_000)
ENGINE = ["--kv-tokens", "2048", "--sequences-max", "4", "--batched-tokens-max", "64"]
RULES = ["--engine-policy", "llama-cpp", "--prefix-caching", "off", "--context-tokens-max", "512"]


@pytest.mark.long
def test_the_steps_of_llama_cpp_are_measured_over_its_own_protocol(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    with served(STREAM, tmp_path) as address:
        asked = ["profile", "--llm", address, "--model", "tiny", *ENGINE, *RULES, "-o", str(path)]
        done = CliRunner().invoke(app, asked)
    # 4 where its steps miss the saturated run: mixed steps of this engine take longer than their parts.
    assert done.exit_code in (0, 4), done.output
    assert "saturated: " in done.stderr
    profile = load_llm(path)
    assert profile.engine.scheduler.value == "llama-cpp"
    decoding = {step.decode_requests for step in profile.steps if not step.prefill_tokens}
    assert decoding == {1, 2, 3, 4}
    assert max(step.prefill_tokens for step in profile.steps) == 64
    assert profile.limits_measured.sequences_max == 4
    check = json.loads(path.read_text())["check"]
    assert check["saturated_throughput_rps"] > 0.0
    # Each step of one request is shorter than one of four, as far as a noisy machine lets it.
    table = profile.table
    assert table.mean_s(decode_requests=1, kv_tokens=100) <= table.mean_s(decode_requests=4, kv_tokens=400)
