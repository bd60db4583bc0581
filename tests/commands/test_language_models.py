"""Language models as a user asks about them: plan, simulate, replay, max-rate, check, explain, render."""

import csv
import json
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

import capacity as cap
from capacity.answer.saved_plan import signature
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document
from capacity.profile.load import load_llm
from capacity.render.check import junit, markdown
from capacity.search.engines import EngineTheory
from cli import app
from simulations.judge import SimulationJudge
from simulations.simulate import answer as answer_of_cell

LENGTHS = "input=uniform:low=20,high=60;output=geometric:mean=20"
LINE = {"base_s": 0.005, "per_prefill_token_s": 2e-5, "per_decode_request_s": 2e-4, "per_kv_token_s": 1e-8}


def profile(**others: Any) -> dict[str, Any]:
    usual = {
        "schema_version": 1,
        "kind": "llm",
        "name": "line",
        "model": "a model",
        "hourly_usd": 2.0,
        "kv": {"tokens": 16_384},
        "limits_measured": {"sequences_max": 16, "batched_tokens_max": 512, "context_tokens_max": 1024},
        "coefficients": LINE,
    }
    return {**usual, **others}


@pytest.fixture(scope="module", autouse=True)
def rates_are_few_and_tried_once() -> Iterator[None]:
    """Trials of rates take most of the time here, and several tests plan the same fleet: to 20 % and once."""
    known: dict[object, Any] = {}
    accepts = SimulationJudge.accepts

    def asked_once(self: SimulationJudge, scenario: Any, *how: int) -> Any:
        key = (self.seed, self.confidence, self.requests_max, self.engine, scenario, how)
        if key not in known:
            known[key] = accepts(self, scenario, *how)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulationJudge, "accepts", asked_once)
        usual = EngineTheory.headroom_effort
        patch.setattr(EngineTheory, "headroom_effort", lambda *one: replace(usual(*one), probed_to=0.2))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("llm")
    (made / "line.json").write_text(json.dumps(profile()))
    rows = ["t_s,input_tokens,output_tokens"]
    rows += [f"{5.0 + 0.01 * number},{10 + number % 7},{1 + number % 5}" for number in range(40)]
    (made / "trace.csv").write_text("\n".join(rows) + "\n")
    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def answer(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def asked(folder: Path) -> list[object]:
    limits = ["--slo-ttft-p99", "60ms", "--slo-tpot-p99", "12ms"]
    return ["--profile", folder / "line.json", "--lengths", LENGTHS, *limits, "--precision", "0.05"]


@pytest.fixture(scope="module")
def saved(folder: Path, asked: list[object]) -> Path:
    path = folder / "plan.json"
    done = run("plan", *asked, "--rate", "150rps", "-o", path)
    assert done.exit_code == 0, done.output
    assert "More: -v (3 fleets, " in done.stdout
    return path


def test_a_plan_meets_its_limits_and_one_fewer_does_not(asked: list[object]) -> None:
    found = answer("plan", *asked, "--rate", "150rps")
    count, performance = found["recommendation"]["replicas"], found["performance"]
    assert found["verdict"] == "met"
    assert performance["ttft_quantiles_s"]["0.99"]["high"] <= 0.06
    assert performance["tpot_quantiles_s"]["0.99"]["high"] <= 0.012
    assert performance["throughput_rps"] == pytest.approx(150.0, rel=0.02)
    assert performance["output_tokens_per_s"] == pytest.approx(3000.0, rel=0.02)
    fewer = [one for one in found["considered"] if one["plan"]["replicas"] == count - 1]
    assert [one["accepted"] for one in fewer] == [False]
    assert found["cost"] == {"hourly_usd": 2.0 * count}
    assert found["headroom"]["arrival_rate_max_rps"] >= 150.0
    assert found["objective"] == {"ttft_quantiles_s": {"0.99": 0.06}, "tpot_quantiles_s": {"0.99": 0.012}}


def test_the_same_seed_gives_the_same_bytes(folder: Path) -> None:
    asked = ["--profile", folder / "line.json", "--lengths", LENGTHS, "--rate", "20rps", "--replicas", 1]
    one, other = (
        run("simulate", *asked, "--workers", n, "--precision", "0.3", "--json").stdout for n in (1, 2)
    )
    assert one == other
    assert '"ttft_mean_s"' in one


def test_a_simulation_obeys_littles_law(folder: Path) -> None:
    asked = ["--profile", folder / "line.json", "--lengths", LENGTHS, "--rate", "40rps", "--replicas", 1]
    found = answer("simulate", *asked, "--precision", "0.1")["performance"]
    inside = found["running_mean"] + found["queue_length_mean"]
    assert inside == pytest.approx(found["throughput_rps"] * found["response_mean_s"], rel=1e-9)
    assert found["tpot_mean_s"] >= 0.005
    assert found["kind"] == "simulation"
    assert found["load"] < 1.0


def test_a_replay_serves_each_request_once(folder: Path) -> None:
    served = folder / "served.csv"
    trace = f"trace:{folder / 'trace.csv'}"
    asked = ["--profile", folder / "line.json", "--arrivals", trace, "--replay", "--replicas", 2]
    found = answer("simulate", *asked, "-o", served)["performance"]
    with served.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["t_s"]) for row in rows[:2]] == pytest.approx([0.0, 0.01])
    assert len(rows) == 40
    assert {row["replica"] for row in rows} == {"0", "1"}
    assert found["kind"] == "replay"
    ttft_s = [float(row["ttft_s"]) for row in rows]
    assert found["ttft_mean_s"] == pytest.approx(sum(ttft_s) / 40, rel=1e-12)
    assert found["ttft_quantiles_s"]["0.99"]["value"] == max(ttft_s)
    for row in rows:
        rest_s = float(row["response_s"]) - float(row["ttft_s"])
        alone = int(row["output_tokens"]) == 1
        assert row["tpot_s"] == "" if alone else rest_s / (int(row["output_tokens"]) - 1) > 0.005


def test_a_replay_beyond_saturation_says_so(folder: Path, tmp_path: Path) -> None:
    """100 requests of 400 output tokens within a second; the load was null, and nothing was noted."""
    rows = ["t_s,input_tokens,output_tokens", *(f"{0.01 * number},20,400" for number in range(100))]
    (tmp_path / "over.csv").write_text("\n".join(rows) + "\n")
    asked = ["--arrivals", f"trace:{tmp_path / 'over.csv'}", "--replay", "--replicas", 1]
    found = answer("simulate", "--profile", folder / "line.json", *asked)
    assert found["performance"]["load"] > 1.0
    notes = [one["message"] for one in found["caveats"] if one["code"] == "load_high"]
    assert len(notes) == 1
    assert "more requests come than the engines can serve" in notes[0]


def test_few_requests_of_two_tokens_are_an_answer_or_none(folder: Path, tmp_path: Path) -> None:
    """Runs in which nobody has a second token say nothing about TPOT, and fail at nothing."""
    rows = ["input_tokens,output_tokens", *["20,1"] * 1999, "20,2"]
    (tmp_path / "rare.csv").write_text("\n".join(rows) + "\n")
    asked = ["--lengths", tmp_path / "rare.csv", "--rate", "1rps", "--slo-tpot-p90", "50ms"]
    known = answer("plan", "--profile", folder / "line.json", *asked, "--requests-max", 50_000)
    assert known["verdict"] == "met"
    answer("plan", "--profile", folder / "line.json", *asked, "--requests-max", 100, code=4)


def test_a_profile_without_the_size_of_its_cache_wants_the_flag(tmp_path: Path) -> None:
    """It was set to two of the longest contexts, which cost five replicas of seven."""
    (tmp_path / "open.json").write_text(json.dumps(profile(kv={"tokens": None})))
    asked = [
        "simulate",
        "--profile",
        tmp_path / "open.json",
        "--replicas",
        1,
        "--rate",
        "10rps",
        "--lengths",
        LENGTHS,
    ]
    refused = run(*asked)
    assert refused.exit_code == 2
    assert "give --kv-tokens as the engine's log says" in refused.output
    mended = answer(*asked, "--kv-tokens", 16_384, "--precision", 0.2)
    assert mended["performance"]["load"] > 0.0


def test_the_bundled_profile_of_no_published_run_has_no_cache() -> None:
    assert "unknown: give --kv-tokens" in run("profiles", "show", "qwen3-32b-rtx-pro-6000-bf16").output
    found = load_llm("qwen3-32b-rtx-pro-6000-bf16")
    assert found.kv.tokens is None
    assert read_llm_document(llm_profile_to_document(found), "again") == found


def test_both_engines_give_the_same_bytes(folder: Path) -> None:
    trace = f"trace:{folder / 'trace.csv'}"
    asked = ["--profile", folder / "line.json", "--arrivals", trace, "--replay", "--replicas", 1]
    assert answer("simulate", *asked) == answer("simulate", *asked, "--engine", "simpy")


@pytest.mark.long
def test_the_largest_rate_is_where_the_plan_ends(asked: list[object]) -> None:
    found = answer("max-rate", *asked, "--replicas", 2)
    rates = found["rates"]
    assert 0.0 < rates["arrival_rate_max_rps"] < rates["arrival_rate_refused_rps"]
    assert rates["arrival_rate_refused_rps"] <= 2 * found["saturation"]["rate_rps"]
    verdicts = [point["verdict"] for point in found["curve"]]
    assert verdicts == sorted(verdicts, key=["met", "inconclusive", "missed"].index)


@pytest.mark.long
def test_a_saved_plan_is_checked_explained_and_rendered(saved: Path, folder: Path) -> None:
    met = answer("check", "--plan", saved)
    laws, line, unchecked = left_open = met["notes"]
    assert (met["verdict"], met["reproduced"]) == ("met", True)
    assert "give --lengths a file of your own requests" in laws
    assert "is a straight line" in line
    assert "no saturated run" in unchecked
    document = json.loads(saved.read_text())
    document["answer"]["recovery"] = {"within_s": 60.0}
    (folder / "recovers.json").write_text(json.dumps(document | {"sha256": signature(document)}))
    assert answer("check", "--plan", folder / "recovers.json")["notes"] == [
        *left_open,
        "whether the fleet recovers from trouble was not judged again; run capacity stress --plan",
    ]
    assert answer("check", "--plan", saved, "--rate", "900rps", code=3)["rejection"]["limit"] == "stability"
    slow = profile(coefficients={**LINE, "base_s": 0.02})
    (folder / "slow.json").write_text(json.dumps(slow))
    checked = answer("check", "--plan", saved, "--profile", folder / "slow.json", code=3)
    assert checked["verdict"] == "missed"
    assert checked["notes"] == ["profile line is replaced by another with the same name", *left_open]
    explained = answer("explain", saved)
    assert {one["what"] for one in explained["changes"]} == {"--sequences-max 8", "--batched-tokens-max 256"}
    assert explained["saturation"]["binding"] == "slots"
    text = run("render", saved, "--target", "vllm").stdout
    for flag in (
        "vllm serve 'a model'", "--max-num-seqs 16", "--max-num-batched-tokens 512", "--block-size 16",
    ):  # fmt: skip
        assert flag in text


def test_the_shell_hands_the_plan_to_vllm(saved: Path, tmp_path: Path) -> None:
    """The script as it is run, with a `vllm` that only says what it was called with."""
    (tmp_path / "vllm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    script = tmp_path / "serve.sh"
    assert run("render", saved, "--target", "vllm", "-o", script).exit_code == 0
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, env=environment, check=True)
    words = done.stdout.splitlines()
    flags = dict(zip(words[2::2], words[3::2], strict=False))
    plan = json.loads(saved.read_text())["answer"]["recommendation"]
    assert words[:2] == ["serve", "a model"]
    assert int(flags["--max-num-seqs"]) == plan["sequences_max"]
    assert int(flags["--max-num-batched-tokens"]) == plan["batched_tokens_max"]


@pytest.mark.long
@pytest.mark.usefixtures("no_headroom")
def test_a_plan_for_llama_cpp(folder: Path, asked: list[object]) -> None:
    """Saved, checked, and rendered; with twice the slots its requests would not fit."""
    engine = {"name": "llama.cpp", "scheduler": "llama-cpp"}
    (folder / "slots.json").write_text(json.dumps(profile(engine=engine, kv={"tokens": 8192})))
    path, lengths = folder / "slots_plan.json", "input=uniform:low=20,high=60;output=uniform:low=1,high=900"
    slots = ["plan", "--profile", folder / "slots.json", "--lengths", lengths, "--sequences-max", 8]
    limits = ["--rate", "2rps", "--slo-ttft-p90", "2s", "--precision", "0.3", "--explain"]
    assert run(*slots, *limits, "-o", path).exit_code == 0
    found = json.loads(path.read_text())
    assert found["question"]["profiles"][0]["profile"]["engine"]["scheduler"] == "llama-cpp"
    assert "--sequences-max 16" not in {one["what"] for one in found["answer"]["changes"]}
    assert answer("check", "--plan", path)["verdict"] == "met"
    done = run("render", path, "--target", "llama-server")
    for option in ("--parallel 8", "--batch-size 512", "--ctx-size 8192"):
        assert f"  {option}" in f"{done.exception} {done.output}"


def test_both_engines_give_the_same_bytes_by_llama_cpps_rules(folder: Path) -> None:
    """Which are not vLLM's: with two sequences prompts come in another order."""
    trace = f"trace:{folder / 'trace.csv'}"
    asked = ["--profile", folder / "line.json", "--arrivals", trace, "--replay", "--replicas", 1]
    short = ["--sequences-max", 3, "--batched-tokens-max", 12]
    found = answer("simulate", *asked, *short, "--engine-policy", "llama-cpp")
    assert found == answer("simulate", *asked, *short, "--engine-policy", "llama-cpp", "--engine", "simpy")
    assert (
        found["performance"]["ttft_mean_s"]
        != answer("simulate", *asked, *short)["performance"]["ttft_mean_s"]
    )


def test_an_edited_plan_is_refused(saved: Path, folder: Path) -> None:
    edited = folder / "edited.json"
    edited.write_text(saved.read_text().replace('"replicas_max": 1024', '"replicas_max": 1023'))
    done = run("check", "--plan", edited)
    assert done.exit_code == 2
    assert "was edited" in str(done.exception) or "was edited" in done.output


def test_near_saturation_there_is_no_narrow_p99(folder: Path, saved: Path) -> None:
    asked = ["--profile", folder / "line.json", "--lengths", LENGTHS, "--replicas", 1]
    most = json.loads(saved.read_text())["answer"]["saturation"]["rate_rps"]
    done = run("simulate", *asked, "--rate", f"{0.97 * most:.3f}rps")
    assert done.exit_code == 4
    assert "within 5 % of saturation" in str(done.exception) or "within 5 %" in done.output


def test_a_profile_that_misses_its_own_check_is_refused(folder: Path) -> None:
    wrong = profile(check={"saturated_throughput_rps": 1.0, "input_tokens": 40, "output_tokens": 20})
    (folder / "wrong.json").write_text(json.dumps(wrong))
    asked = ["--lengths", LENGTHS, "--rate", "10rps", "--replicas", 1]
    done = run("simulate", "--profile", folder / "wrong.json", *asked)
    assert done.exit_code == 2
    assert "fails its check" in str(done.exception) or "fails its check" in done.output


def test_a_trace_is_described_with_its_lengths(folder: Path) -> None:
    found = answer("workload", folder / "trace.csv")["lengths"]
    assert found["input_tokens"]["largest"] == 16
    assert found["output_tokens"]["mean"] == 3.0
    assert "Lengths" in run("workload", folder / "trace.csv").stdout


def test_a_recorded_burst_costs_no_engine_and_leaves_traffic_like_it_in_doubt(folder: Path) -> None:
    """Of 600 requests 20 come at once, and few of them wait for long: P90 has room for them, their section has not."""
    instants_s = sorted([*(0.2 * number for number in range(580)), *[60.0] * 20])
    rows = [f"{t_s:.3f},{10 + number % 7},{20 + number % 5}" for number, t_s in enumerate(instants_s)]
    (folder / "burst.csv").write_text("\n".join(["t_s,input_tokens,output_tokens", *rows]) + "\n")
    trace = ["--profile", folder / "line.json", "--arrivals", f"trace:{folder / 'burst.csv'}"]
    found = answer("plan", *trace, "--slo-ttft-p90", "20ms", "-o", folder / "traced.json")
    assert (found["verdict"], found["recommendation"]["replicas"]) == ("met", 1)
    assert found["verdict_like_it"] == "inconclusive"
    checked = answer("check", "--plan", folder / "traced.json")
    assert (checked["verdict"], checked["verdict_like_it"]) == ("met", "inconclusive")
    assert any("bursts of the trace determine its TTFT P90" in note for note in checked["notes"])


def test_a_recording_gives_no_quantile_that_it_is_too_short_for(folder: Path) -> None:
    rows = ["t_s,input_tokens,output_tokens"]
    rows += [
        f"{0.05 * number + 0.013 * (number % 5):.3f},{10 + number % 7},{1 + number % 5}"
        for number in range(400)
    ]
    (folder / "long.csv").write_text("\n".join(rows) + "\n")
    trace = ["--profile", folder / "line.json", "--arrivals", f"trace:{folder / 'long.csv'}"]
    found = answer("plan", *trace, "--slo-ttft-p50", "1s")
    assert list(found["performance"]["ttft_quantiles_s"]) == ["0.5"]
    assert "trace_one_path" in {one["code"] for one in found["caveats"]}
    done = run("plan", *trace, "--slo-ttft-p99", "1s")
    assert done.exit_code == 4
    assert "needs at least 5000" in f"{done.exception} {done.output}"


@pytest.fixture(scope="module")
def noisy(folder: Path) -> Path:
    """Single steps of the same engine, each off by some per cent."""
    generator = random.Random(5)
    columns = "wall_time_s,num_prefill_requests,sum_prefill_tokens,sum_prefill_kv_tokens"
    rows = [f"{columns},num_decode_requests,sum_decode_kv_tokens"]
    for number in range(400):
        tokens, requests, off = (1, 64, 256, 512)[number % 4], 1 + number % 16, generator.gauss(1.0, 0.05)
        rows.append(f"{off * (0.005 + 2e-5 * tokens)},1,{tokens},0,0,0")
        rows.append(
            f"{off * (0.005 + 2e-4 * requests + 1e-8 * 400 * requests)},0,0,0,{requests},{400 * requests}"
        )
    path = folder / "noisy.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_single_steps_widen_the_intervals_by_their_own_error(noisy: Path, folder: Path) -> None:
    lengths = [
        "--lengths", LENGTHS, "--rate", "40rps", "--replicas", 1, "--precision", "0.1",
        "--context-tokens-max", 400,
    ]  # fmt: skip
    exact = answer("simulate", "--profile", folder / "line.json", *lengths)["performance"]
    found = answer("simulate", "--profile", noisy, "--kv-tokens", 16_384, *lengths)["performance"]
    one, other = exact["tpot_quantiles_s"]["0.5"], found["tpot_quantiles_s"]["0.5"]
    assert other["value"] == pytest.approx(one["value"], rel=0.03)
    assert (other["high"] - other["low"]) / other["value"] > 1.2 * (one["high"] - one["low"]) / one["value"]
    assert found["intervals"]["response_mean_s"]["high"] > found["response_mean_s"]


def test_single_steps_plan_for_a_recording(noisy: Path, folder: Path) -> None:
    rows = [
        "t_s,input_tokens,output_tokens",
        *(f"{0.05 * number:.3f},20,{1 + number % 5}" for number in range(400)),
    ]
    (folder / "even.csv").write_text("\n".join(rows) + "\n")
    trace = ["--arrivals", f"trace:{folder / 'even.csv'}", "--kv-tokens", 16_384]
    assert answer("plan", "--profile", noisy, *trace, "--slo-ttft-p50", "1s")["verdict"] == "met"


def test_flags_of_language_models_are_refused_beside_batch_times() -> None:
    done = run(
        "plan", "--profile", "resnet50-t4-fp16", "--rate", "9rps", "--slo-p99", "1s", "--lengths", LENGTHS
    )
    assert done.exit_code == 2
    assert "for language models" in f"{done.exception} {done.output}"


def test_python_has_the_same_answer(folder: Path) -> None:
    plan = cap.plan(
        folder / "line.json",
        rate_rps=150.0,
        lengths=LENGTHS,
        slo_ttft_p99_s=0.06,
        slo_tpot_p99="12ms",
        precision=0.05,
    )
    assert plan.plan is not None
    assert plan.verdict.value == "met"
    frame = plan.to_frame()
    assert {"replicas", "ttft_p99_s", "tpot_p99_high_s"} <= set(frame.columns)
    assert "TTFT P99" in plan.explain()


@pytest.fixture(scope="module")
def swept(folder: Path) -> list[object]:
    grid = ["--rate", "40rps:140rps:100rps", "--replicas", "1:2", "--sequences-max", 16, "--precision", "0.3"]
    return ["sweep", "--profile", folder / "line.json", "--lengths", LENGTHS, *grid, "--quantile", "0.9"]


@pytest.fixture(scope="module")
def rows(swept: list[object]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(*swept)["rows"]
    return found


def test_a_sweep_has_a_row_for_each_fleet_and_no_number_for_an_unstable_one(rows) -> None:
    assert [(row["arrival_rate_rps"], row["replicas"], row["outcome"]) for row in rows] == [
        (40.0, 1, "answered"), (40.0, 2, "answered"), (140.0, 1, "unstable"), (140.0, 2, "answered"),
    ]  # fmt: skip
    one, _, unstable, _ = rows
    assert one["ttft_p90_low_s"] <= one["ttft_p90_s"] <= one["ttft_p90_high_s"]
    assert one["tpot_p90_s"] > LINE["base_s"]
    assert one["input_tokens_mean"] == 40.0
    assert unstable["ttft_p90_s"] is None
    assert unstable["load"] > 1.0
    assert "use at least" in unstable["reason"]


def test_the_table_of_a_sweep_says_why_there_are_no_numbers(rows, swept) -> None:
    refused = rows[2]
    title, heads, *lines = [line for line in run(*swept).stdout.splitlines() if line.strip(" ─")]
    assert title == "line, round-robin"
    assert heads.split()[-1] == "why"
    most_rps = refused["arrival_rate_rps"] / refused["load"]
    assert lines[2].endswith(f"at most {most_rps:.3g} rps")
    assert lines[0].split()[-1] == lines[1].split()[-1] == "answered"


def test_a_row_of_a_sweep_is_what_a_simulation_says(rows: list[dict[str, Any]], folder: Path) -> None:
    (row, *_) = rows
    asked = ["--profile", folder / "line.json", "--lengths", LENGTHS, "--rate", "40rps", "--replicas", 1]
    found = answer("simulate", *asked, "--precision", "0.3", "--quantile", "0.9")["performance"]
    assert row["ttft_p90_s"] == found["ttft_quantiles_s"]["0.9"]["value"]
    assert row["kv_utilization"] == found["kv_utilization"]


@pytest.mark.long
def test_an_interrupted_sweep_goes_on_where_it_stopped(swept: list[object], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    assert run(*swept, "-o", whole).exit_code == 0
    journal = tmp_path / "cut.csv.partial"
    with pytest.MonkeyPatch.context() as patch:
        calls = iter(range(100))

        def stops(*arguments: Any) -> Any:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return answer_of_cell(*arguments)

        patch.setattr("simulations.simulate.answer", stops)
        assert run(*swept, "-o", cut).exit_code == 130
    assert len(journal.read_text().splitlines()) == 4  # its settings, and a cell that needs no run
    again = run(*swept, "-o", cut)
    assert "going on after 3 of 4 cells" in again.stderr
    assert cut.read_bytes() == whole.read_bytes()


def test_a_sweep_that_cannot_tell_fleets_apart_is_refused(swept: list[object], folder: Path) -> None:
    done = run(*swept, "--profile", folder / "line.json")
    assert (done.exit_code, "given twice" in done.stderr) == (2, True)
    assert run(*swept, "--batch-wait", "2ms").exit_code == 2
    assert run("sweep", "--profile", "resnet50-t4-fp16", "--replicas", 1, "--lengths", LENGTHS).exit_code == 2


@pytest.mark.long
def test_a_curve_says_where_the_first_token_explodes(folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "curve.svg"
    asked = ["--profile", folder / "line.json", "--lengths", LENGTHS, "--quantile", "0.9", "-o", figure]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.engines.EngineTheory.curve_loads", (0.1, 0.5, 0.8))
        done = run("curve", *asked)
        assert done.exit_code == 0, done.output
    assert "TTFT P90 is" in done.stdout
    assert "It doubles between load 0.50 and 0.80" in done.stdout
    assert "TTFT (ms)" in figure.read_text()


@pytest.fixture(scope="module")
def compared(folder: Path) -> list[object]:
    asked = ["compare", "--profile", folder / "line.json", "--lengths", LENGTHS, "--rate", "60rps"]
    return [*asked, "--precision", "0.2", "--quantile", "0.9"]


def test_the_same_fleet_twice_differs_by_nothing(compared: list[object]) -> None:
    fleets = ["--fleet", "replicas=1", "--fleet", "replicas=1,sequences=16,tokens=512"]
    first, second = answer(*compared, *fleets)["fleets"]
    assert first["difference"] is None
    for name, found in second["difference"].items():
        for one in [found] if name.endswith("_mean_s") else found.values():
            assert (one["low"], one["value"], one["high"]) == (0.0, 0.0, 0.0), name
    assert first["performance"] == second["performance"]


def test_differences_are_narrower_than_those_of_separate_simulations(compared: list[object]) -> None:
    """The same requests: what both fleets have in common cancels."""
    first, second = answer(*compared, "--fleet", "replicas=1", "--fleet", "replicas=1,tokens=256")["fleets"]
    one, other = (each["performance"]["response_quantiles_s"]["0.9"] for each in (first, second))
    difference = second["difference"]["response_quantiles_s"]["0.9"]
    assert difference["value"] == pytest.approx(other["value"] - one["value"])
    apart = sum((each["high"] - each["low"]) ** 2 for each in (one, other)) ** 0.5
    assert difference["high"] - difference["low"] < 0.8 * apart


def test_saved_plans_are_compared_under_their_own_requests(saved: Path, compared: list[object]) -> None:
    found = answer("compare", saved, "--fleet", "replicas=5", "--precision", "0.3")
    assert [one["plan"]["replicas"] for one in found["fleets"]][1] == 5
    assert found["fleets"][1]["difference"]["ttft_quantiles_s"]["0.99"]["value"] < 0.0
    assert found["workload"]["arrival_rate_rps"] == 150.0
    for wrong in (["--lengths", LENGTHS], ["--arrivals", "gamma:cv=2"], ["--cached-share", "0.1"]):
        assert run("compare", saved, saved, *wrong).exit_code == 2
    done = run(*compared, "--fleet", "replicas=1,batch=4", "--fleet", "replicas=2")
    assert (done.exit_code, "known keys are replicas, sequences, tokens" in done.stderr) == (2, True)
    unstable = run(*compared, "--fleet", "replicas=1,sequences=2", "--fleet", "replicas=2")
    assert (unstable.exit_code, "sequences=2" in unstable.stderr) == (2, True)


@pytest.mark.long
def test_a_plan_is_a_gate_in_continuous_integration(saved: Path, folder: Path) -> None:
    done = run("check", "--plan", saved, "--rate", "260rps", "--format", "github")
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::error title=capacity%3A TTFT P99 <= 60 ms::TTFT P99 of ")
    assert "no more than the plan::needs 4 replicas (8.000 USD/h), the plan has 3" in done.stdout
    assert (
        " at 260 rps: the plan does not hold; 4 replicas of line with up to 16 sequences would" in lines[-1]
    )
    found = cap.check(saved).answer
    suite = ElementTree.fromstring(junit(found, "plan.json"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    assert "| ✅ met | TTFT P99 \\<= 60 ms |".replace("\\<", "&lt;") in markdown(found)
    assert found.needed is None  # nothing has changed


@pytest.mark.long
@pytest.mark.usefixtures("no_headroom")
def test_figures_show_what_the_tables_say(folder: Path, tmp_path: Path, asked: list[object]) -> None:
    plan, rates = tmp_path / "plan.svg", tmp_path / "rates.svg"
    assert run("plan", *asked, "--rate", "150rps", "-o", plan).exit_code == 0
    assert run("max-rate", *asked, "--replicas", 1, "-o", rates).exit_code == 0
    assert "S 16" in plan.read_text()
    assert "limit: 12 ms" in plan.read_text()  # to which the plan is closest
    assert "limit: " in rates.read_text()
    small = {"lengths": LENGTHS, "precision": 0.3, "quantile": 0.9}
    alone = cap.simulate(folder / "line.json", 1, rate="40rps", **small)
    titles = [one.axes.get_title("left") for one in alone.plot().plots]
    assert titles == ["first token", "between tokens", "response"]
    grid = cap.sweep(folder / "line.json", 1, rate=["20rps", "40rps"], **small)
    assert grid.plot("tpot").axes.get_ylabel() == "TPOT (ms)"
    with pytest.raises(cap.InputError, match="use one of ttft, tpot, itl, response"):
        grid.plot("wait")


def test_a_saved_plan_gets_into_trouble(saved: Path) -> None:
    trouble = [
        "--trigger", "lose:1,5s", "--timeout", "5s", "--horizon", "60s", "--runs", "3", "--only-verdict",
    ]  # fmt: skip
    planned = json.loads(saved.read_text())["answer"]["recommendation"]
    found = answer("stress", "--plan", saved, *trouble, "--replicas", planned["replicas"] + 1)
    assert found["plan"] == {**planned, "replicas": planned["replicas"] + 1}
    assert found["arrival_rate_rps"] == 150.0
    assert found["recovered"]["value"] == 1.0
    slower = answer("stress", "--plan", saved, *trouble, "--rate", "15rps", "--routing", "least-outstanding")
    assert slower["load"] == pytest.approx(
        found["load"] * 0.1 * (planned["replicas"] + 1) / planned["replicas"]
    )
    assert slower["plan"]["routing"] == "least-outstanding"
    refused = run("stress", "--plan", saved, *trouble, "--kv-tokens", "5000")
    assert refused.exit_code == 2
    assert "leave out --kv-tokens" in refused.output
