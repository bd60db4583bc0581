"""Sessions as users ask for them: what verbs say of hits, of fleets that would not come back, and of wrong input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app
from simulations import autoscaled
from simulations.draws.arrivals import Stage

LAWS = (
    "turns=geometric:mean=3;think=exponential:mean=2s;system=512;first=constant:1000;"
    "user=constant:100;output=geometric:mean=60"
)
PROFILE = {
    "schema_version": 1, "kind": "llm", "name": "engine", "model": "a model", "device": "a device", "devices": 1,
    "tensor_parallel": 1, "precision": "bf16", "hourly_usd": 6.0,
    "engine": {
        "name": "vllm", "version": "0.19.0", "scheduler": "vllm-v1", "chunked_prefill": True,
        "async_scheduling": False, "prefix_caching": True,
    },
    "kv": {"tokens": 310_000, "block_tokens": 16, "reserve_full_prompt": True},
    "limits_measured": {"sequences_max": 64, "batched_tokens_max": 8192, "context_tokens_max": 40_000},
    "coefficients": {
        "base_s": 0.0125, "per_prefill_token_s": 6.3e-5, "per_decode_request_s": 1e-5, "per_kv_token_s": 3.8e-8,
    },
    "source": "made for a test",
}  # fmt: skip
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command with this profile, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.json").write_text(json.dumps(PROFILE))

    def command(verb: str, *words: str) -> Any:
        return CliRunner().invoke(app, [verb, "--profile", "engine.json", "--seed", "1", *words])

    return command


def document(found: Any) -> Any:
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_simulation_says_what_turns_find_and_obeys_littles_law_of_sessions(run: Run) -> None:
    found = document(
        run(
            "simulate",
            "--rate",
            "20rps",
            "--sessions",
            LAWS,
            "--replicas",
            "2",
            "--routing",
            "session",
            "--json",
        )
    )
    seen = found["performance"]
    share = seen["hit_share"]
    assert 0.7 < share["low"] < share["mean"] < share["high"] < 0.85
    assert seen["hit_share_by_turn"][0] == pytest.approx(512 / 1512, abs=0.01)  # the system's prompt alone
    assert all(later > 0.9 for later in seen["hit_share_by_turn"][1:5])
    mean_s = seen["session_response_mean_s"]
    assert seen["sessions_live_mean"] == pytest.approx(20.0 / 3.0 * mean_s, rel=0.05)
    assert set(seen["session_response_quantiles_s"]) >= {"0.5", "0.99"}


@pytest.mark.long
def test_both_engines_say_the_same_of_sessions(run: Run) -> None:
    asked = (
        "--rate", "1rps", "--sessions", LAWS, "--replicas", "1", "--routing", "prefix:llm-d,gate=5s",
        "--precision", "0.5", "--json",
    )  # fmt: skip
    one, other = (run("simulate", *asked, "--engine", engine) for engine in ("kernel", "simpy"))
    assert one.exit_code == 0, one.output
    assert one.stdout == other.stdout


def test_a_fleet_that_would_not_come_back_is_refused_unless_it_is_allowed(run: Run) -> None:
    asked = ("--rate", "30rps", "--sessions", LAWS, "--routing", "session", "--slo-ttft-p99", "500ms")
    told = run("plan", *asked, "-o", "safe.json")
    assert told.exit_code == 0, told.output
    safe = json.loads(Path("safe.json").read_text())["answer"]
    bold = document(run("plan", *asked, "--allow-bistable", "--json"))
    more, fewer = (one["recommendation"]["replicas"] for one in (safe, bold))
    assert fewer < more
    assert safe["performance"]["cold_saturation_rps"] >= 30.0
    assert bold["performance"]["cold_saturation_rps"] < 30.0
    refused = [one for one in safe["considered"] if (one["rejection"] or {}).get("limit") == "bistable"]
    assert refused
    assert "bistable" in [one["code"] for one in bold["caveats"]]
    assert "bistable" not in [one["code"] for one in safe["caveats"]]
    assert "from empty caches and a backlog it serves" in " ".join(told.stdout.split())
    assert "Prefix hits" in told.stdout
    for found in (
        safe,
        bold,
    ):  # the load is with the hits that were found, and the cold rate has its interval
        seen = found["performance"]
        ends = seen["intervals"]["cold_saturation_rps"]
        assert ends["low"] < seen["cold_saturation_rps"] == ends["value"] < ends["high"] < 1.2 * ends["low"]
        assert 0.3 < seen["load"] < 1.0
    assert bold["performance"]["load"] > 1.3 * safe["performance"]["load"]


def test_a_saved_plan_of_sessions_is_checked_and_explained(run: Run) -> None:
    asked = (
        "--rate",
        "10rps",
        "--sessions",
        LAWS,
        "--routing",
        "prefix:llm-d,gate=5s",
        "--slo-ttft-p99",
        "500ms",
    )
    assert run("plan", *asked, "-o", "plan.json").exit_code == 0
    saved = json.loads(Path("plan.json").read_text())
    assert saved["answer"]["recommendation"]["router"]["gate_s"] == 5.0
    explained = CliRunner().invoke(app, ["explain", "plan.json"])
    assert explained.exit_code == 0, explained.output


def test_stress_routes_the_sessions_of_a_saved_plan_as_it_is_told(run: Run) -> None:
    """Every routing of sessions was refused there, as if requests came by themselves."""
    asked = ("--rate", "10rps", "--sessions", LAWS, "--slo-ttft-p99", "500ms")
    assert run("plan", *asked, "--routing", "prefix:llm-d,gate=5s", "-o", "plan.json").exit_code == 0

    def stressed(routing: str) -> Any:
        trouble = ("--trigger", "restart:1,5s", "--runs", "2", "--only-verdict", "--json")
        return CliRunner().invoke(app, ["stress", "--plan", "plan.json", "--routing", routing, *trouble])

    session, other = document(stressed("session"))["plan"], document(stressed("prefix:llm-d,gate=9s"))["plan"]
    assert (session["routing"], session.get("router")) == ("session", None)
    assert (other["routing"], other["router"]["gate_s"]) == ("prefix:llm-d", 9.0)
    wrong = stressed("sesion")
    assert wrong.exit_code == 2
    assert "is unknown; use one of round-robin" in wrong.stderr
    assert "session-cookie" in wrong.stderr


def test_an_autoscaler_sizes_a_fleet_that_serves_sessions_over_a_day(run: Run) -> None:
    Path("day.csv").write_text("time,rate_rps\n00:00,5\n00:20,20\n00:40,5\n", "utf-8")
    asked = ("--sessions", LAWS, "--routing", "session", "--daily", "day.csv", "--between", "00:00-01:00")
    scaler = ("--autoscale", "concurrency:8", "--slo-ttft-p99", "1s", "--runs", "2")
    found = document(run("autoscale", *asked, *scaler, "--json"))
    assert found["autoscaled"]["scalings"]["value"] > 0.0
    assert found["autoscaled"]["replica_hours"]["value"] > 1.0
    none = run("autoscale", *asked, *scaler, "--replicas-min", "0")
    assert none.exit_code == 2
    assert "at least one replica stays; give --replicas-min 1" in none.stderr


@pytest.mark.long
def test_the_autoscaler_of_a_day_of_sessions_is_found_by_few_days(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day takes long to simulate: whole ones only confirm, up to five of each of two fleets, and an excerpt is short."""
    slow = PROFILE | {"coefficients": PROFILE["coefficients"] | {"base_s": 0.2, "per_prefill_token_s": 5e-3}}
    Path("engine.json").write_text(json.dumps(slow))
    Path("day.csv").write_text("time,rate_rps\n00:00,0.5\n09:00,2.5\n17:00,0.5\n", "utf-8")
    laws = (
        "turns=geometric:mean=3;think=exponential:mean=2s;system=64;first=constant:200;user=constant:20;"
        "output=constant:4"
    )
    asked = ("--sessions", laws, "--routing", "session", "--daily", "day.csv", "--slo-ttft-p99", "10s")
    monkeypatch.setattr("capacity.api.autoscale._SEARCH_REQUESTS", 200_000)  # as if answers were longer
    ran: list[tuple[Stage, float]] = []
    run_day = autoscaled._run

    def counted(times: Any, fleet: Any, seed: Any) -> Any:
        ran.append((seed.stage, fleet.lasts_s / 86_400.0))
        return run_day(times, fleet, seed)

    monkeypatch.setattr(autoscaled, "_run", counted)
    found = document(run("plan", *asked, "--autoscale", "any", "--workers", "1", "--json"))["autoscaled"]
    assert found["verdict"] == "met"
    assert found["autoscaler"]["target"].startswith("concurrency:")
    assert found["saved_share"]["low"] > 0.1
    assert {stage for stage, days in ran if days == 1.0} == {Stage.AUTOSCALE_CERTIFY}
    assert {stage for stage, days in ran if days < 1.0} == {Stage.AUTOSCALE}
    assert sum(days for _, days in ran if days < 1.0) < 5.0
    assert sum(days for _, days in ran) < 15.0
    assert len(ran) < 40


def test_more_replicas_that_any_turn_may_reach_find_less(run: Run) -> None:
    asked = ("--rate", "10rps", "--sessions", LAWS, "--routing", "random", "--precision", "0.2", "--json")
    shares = [
        document(run("simulate", *asked, "--replicas", str(count)))["performance"]["hit_share"]
        for count in (1, 4)
    ]
    assert shares[1]["high"] < shares[0]["low"]


WRONG = [
    (["--sessions", LAWS, "--lengths", "input=constant:9;output=constant:9"], "sessions say the lengths"),
    (["--sessions", LAWS, "--cached-share", "30%"], "what turns find in the cache is a result"),
    (["--sessions", LAWS, "--routing", "prefix:llm-d,gait=5s"], "has no option 'gait'"),
    (["--sessions", LAWS, "--routing", "shared-queue"], "shared-queue does not apply"),
    (
        ["--sessions", LAWS, "--arrivals", "mmpp:ratio=5,burst=10s,calm=60s"],
        "sessions begin by --arrivals poisson",
    ),
    (["--sessions", "turns=constant:1"], "do not say first"),
    (
        ["--lengths", "input=constant:9;output=constant:9", "--routing", "session"],
        "routes turns of conversations",
    ),
    (["--lengths", "input=constant:9;output=constant:9", "--slo-session-p99", "9s"], "no turn of --sessions"),
]


@pytest.mark.parametrize(("words", "why"), WRONG)
def test_wrong_input_is_refused_with_a_mend(run: Run, words: list[str], why: str) -> None:
    found = run("plan", "--rate", "5rps", "--slo-ttft-p99", "1s", *words)
    assert found.exit_code == 2, found.output
    assert why in " ".join(found.output.split())
