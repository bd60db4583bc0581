"""The search for a fleet of sessions, of which more replicas may find less."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app

PROFILE = {
    "schema_version": 1, "kind": "llm", "name": "engine", "hourly_usd": 6.0,
    "kv": {"tokens": 310_000, "block_tokens": 16},
    "limits_measured": {"sequences_max": 64, "batched_tokens_max": 8192, "context_tokens_max": 40_000},
    "coefficients": {
        "base_s": 0.0125, "per_prefill_token_s": 6.3e-5, "per_decode_request_s": 1e-5, "per_kv_token_s": 3.8e-8,
    },
}  # fmt: skip
CHAT = "turns=constant:1;first=constant:4000;output=constant:2"


@pytest.mark.long
def test_every_smaller_fleet_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is skipped between the fewest that could be stable and the ones that are taken."""
    monkeypatch.chdir(tmp_path)
    Path("engine.json").write_text(json.dumps(PROFILE))
    tried: list[int] = []
    judge = "simulations.judge.SimulationJudge.search"
    search = __import__("simulations.judge", fromlist=["SimulationJudge"]).SimulationJudge.search

    def noted(self, scenario, *given, **named):
        tried.append(scenario.plan.replicas)
        return search(self, scenario, *given, **named)

    monkeypatch.setattr(judge, noted)
    asked = (
        "plan",
        "--profile",
        "engine.json",
        "--rate",
        "20rps",
        "--sessions",
        CHAT,
        "--slo-ttft-p99",
        "2s",
    )
    found = CliRunner().invoke(app, [*asked, "--routing", "session", "--seed", "1", "--json"])
    assert found.exit_code == 0, found.output
    needed = json.loads(found.stdout)["recommendation"]["replicas"]
    assert needed >= 5
    assert set(range(min(tried), needed + 1)) <= set(tried)
