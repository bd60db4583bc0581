"""Profiles calibrated from loads: a known law of steps must come back, and what was not seen must be refused."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_on_paper import Law, Seen, as_aiperf, as_guidellm, as_vllm_bench, closed_loop

import capacity as cap
from capacity.answers.evidence import LlmProfileAnswer
from capacity.errors import DomainError, InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.llm_loads import SeenLoad, spread_lengths
from capacity.profile.llm_sampling import resampled_steps
from capacity.profile.load import load_llm
from simulations.calibration.calibrate import forecast
from simulations.calibration.fit import fit, fit_scattered, root
from simulations.calibration.law import Reach, StepLaw
from simulations.calibration.loads import Served, served
from simulations.draws.records import Floats
from simulations.draws.tokens import EngineRules

PAPER = Law()
FLAGS: dict[str, Any] = {
    "async_scheduling": "off",
    "kv_tokens": 65_536,
    "sequences_max": 16,
    "batched_tokens_max": 512,
}
# A law that bends at 24 and at 32 requests, and an engine that has it.
KNOWN = StepLaw(
    at=(1, 24, 32, 64), decode_s=(0.008, 0.010, 0.0115, 0.015), per_prompt_s=3e-5, request_s=0.012
)
RULES = EngineRules(sequences_max=64, tokens_max=2048, blocks=10_000, caching=False)
REACH = Reach(requests=64, prompt_tokens=2048, context=2048, past=2048)
TABLES: dict[str, Any] = {
    "kv_tokens": 160_016, "sequences_max": 64, "batched_tokens_max": 2048, "prefix_caching": "off", "async_scheduling": "off",
}  # fmt: skip


def closed(users: int, *, seed: int = 3, slow: float = 1.0, law: Law = PAPER) -> list[Seen]:
    """A closed loop with lengths as they come; the first requests may be slow, as in a warm-up."""
    dice = random.Random(seed)
    lengths = [(dice.randint(50, 500), dice.randint(20, 100)) for _ in range(max(60, 12 * users))]
    seen = closed_loop(lengths, users, jitter_s=5e-4, law=law)
    return (
        seen if slow == 1.0 else closed_loop(lengths[:40], users, jitter_s=5e-4, law=slower(law, slow)) + seen
    )


def slower(law: Law, factor: float) -> Law:
    names = ("base_s", "per_prompt_token_s", "per_request_s", "per_read_s", "stair_s")
    return replace(law, **{name: factor * getattr(law, name) for name in names})


def written(folder: Path, documents: dict[str, Any]) -> list[Path]:
    paths = []
    for name, content in documents.items():
        path = folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        paths.append(path)
    return paths


def imported(folder: Path, documents: dict[str, Any], **flags: Any) -> LlmProfileAnswer:
    answer = cap.import_file(written(folder, documents), **flags)
    assert isinstance(answer, LlmProfileAnswer)
    return answer


def spread_of(profile: LlmProfile, **size: float) -> float:
    """Standard deviation of the logarithm of a step over other calibrations."""
    generator = np.random.default_rng(1)
    drawn = [resampled_steps(profile, generator).table.mean_s(**size) for _ in range(40)]
    return float(np.std(np.log(drawn)))


# Single requests, whose tokens show steps themselves.


@pytest.fixture(scope="module")
def loops() -> dict[int, list[Seen]]:
    return {users: closed(users) for users in (1, 4, 10, 16)}


def as_tool(tool: str, loops: dict[int, list[Seen]]) -> dict[str, Any]:
    if tool == "guidellm":
        return {"benchmarks.json": as_guidellm(list(loops.values()))}
    if tool == "aiperf":
        return {
            f"{users}.jsonl": "".join(json.dumps(one) + "\n" for one in as_aiperf(seen))
            for users, seen in loops.items()
        }
    return {f"{users}.json": as_vllm_bench(seen) for users, seen in loops.items()}


@pytest.mark.parametrize(("tool", "off_max"), [("vllm_bench", 0.02), ("aiperf", 0.02), ("guidellm", 0.06)])
def test_single_requests_give_the_steps_back(
    loops: dict[int, list[Seen]], tool: str, off_max: float, tmp_path: Path
) -> None:
    answer = imported(tmp_path, as_tool(tool, loops), **FLAGS)
    profile = answer.profile
    assert profile.calibration is not None
    assert profile.calibration.residual < 0.05
    for requests in (1, 4, 6, 8, 10, 16):  # 6 was hardly seen, and may be anywhere between 4 and 8
        size = {"decode_requests": requests, "kv_tokens": 300 * requests}
        off = profile.table.mean_s(**size) / PAPER.step_s(0, requests, 300 * requests) - 1.0
        assert abs(off) < max(off_max, 3.0 * spread_of(profile, **size)), (requests, off)
        assert requests == 6 or abs(off) < off_max
    if tool != "guidellm":  # its single tokens have no times
        assert profile.table.mean_s(512) == pytest.approx(PAPER.step_s(512, 0, 0), rel=0.03)
        assert profile.overhead.request_s == pytest.approx(0.004, abs=0.001)


def test_an_open_load_is_sent_again_as_it_was(tmp_path: Path) -> None:
    documents = {}
    for rate in (2.0, 8.0, 14.0):
        dice = random.Random(int(rate))
        lengths = [(dice.randint(50, 500), dice.randint(20, 100)) for _ in range(150)]
        starts_s = [dice.uniform(0.0, 150 / rate) for _ in lengths]
        seen = closed_loop(lengths, 1, jitter_s=5e-4, starts_s=sorted(starts_s))
        documents[f"{rate:g}.json"] = as_vllm_bench(seen)
    profile = imported(tmp_path, documents, **FLAGS).profile
    assert profile.calibration is not None
    assert profile.calibration.residual < 0.05
    for requests in (1, 4, 8):
        expected_s = PAPER.step_s(0, requests, 300 * requests)
        assert profile.table.mean_s(decode_requests=requests, kv_tokens=300 * requests) == pytest.approx(
            expected_s, rel=0.02
        )


def test_a_warm_up_is_left_out_and_said(loops: dict[int, list[Seen]], tmp_path: Path) -> None:
    begun_s = 0.0
    cold = closed(4, slow=1.6)
    moved = []
    for number, one in enumerate(cold):  # the second part begins when the first has ended
        if number == 40:
            begun_s = max(max(each.stamps_s) for each in cold[:40])
        moved.append(
            replace(one, start_s=one.start_s + begun_s, stamps_s=tuple(at + begun_s for at in one.stamps_s))
        )
    documents = as_tool("vllm_bench", {**loops, 4: moved})
    profile = imported(tmp_path, documents, **FLAGS).profile
    assert "requests of 4.json, a warm-up" in profile.source["left_out"]
    assert profile.calibration is not None
    assert profile.calibration.residual < 0.05
    assert profile.table.mean_s(decode_requests=4, kv_tokens=1200) == pytest.approx(
        PAPER.step_s(0, 4, 1200), rel=0.02
    )


# Tables of percentiles, which the simulated loads must give.


def load(rate_rps: float | None = None, users: int | None = None, count: int = 3000) -> SeenLoad:
    return SeenLoad(
        name="load",
        requests=count,
        input_tokens=spread_lengths({0.0: 100.0, 0.5: 300.0, 1.0: 900.0}, count, 1),
        output_tokens=spread_lengths({0.0: 40.0, 0.5: 100.0, 1.0: 160.0}, count, 2),
        figures={"e2e_mean": 1.0},
        rate_rps=rate_rps,
        users=users,
    )


LOADS = [load(rate_rps=4.0, count=600), load(rate_rps=15.0), load(rate_rps=26.0), load(users=40)]


@pytest.fixture(scope="module")
def answers() -> list[Served]:
    return [served(KNOWN.table(REACH), RULES, one, KNOWN.request_s, seed=17) for one in LOADS]


def figures(seen: Served, measure: str, keys: dict[str, str], scale: float) -> dict[str, float]:
    return {key: scale * seen.figure(f"{measure}_{which}") for key, which in keys.items()}


QUANTILES = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}


def quantiles(lengths: tuple[int, ...]) -> dict[str, float]:
    levels = {
        "min": 0,
        "p10": 10,
        "p25": 25,
        "p50": 50,
        "p75": 75,
        "p90": 90,
        "p95": 95,
        "p99": 99,
        "max": 100,
    }
    return {"avg": float(np.mean(lengths))} | {
        key: float(np.percentile(lengths, at)) for key, at in levels.items()
    }


def as_inference_perf(one: SeenLoad, seen: Served) -> dict[str, Any]:
    keys = {"mean": "mean", "median": "p50", "p90": "p90", "p99": "p99"}
    lengths = [quantiles(column) for column in (one.input_tokens, one.output_tokens)]
    given, got = ({"mean": each.pop("avg"), "median": each.pop("p50"), **each} for each in lengths)
    return {
        "load_summary": {"count": one.requests, "requested_rate": one.rate_rps, "concurrency": one.users},
        "successes": {
            "count": one.requests,
            "latency": {
                "request_latency": figures(seen, "e2e", keys, 1.0),
                "time_to_first_token": figures(seen, "ttft", keys, 1.0),
            },
            "prompt_len": given,
            "output_len": got,
        },
        "failures": {"count": 0},
    }


def as_aiperf_summary(one: SeenLoad, seen: Served) -> dict[str, Any]:
    keys = {"avg": "mean", **QUANTILES}
    phase = {"concurrency": one.users} if one.users else {"type": "poisson", "rate": one.rate_rps}
    names = {"e2e": "request_latency", "ttft": "time_to_first_token", "tpot": "inter_token_latency"}
    return {
        **{name: {"unit": "ms", **figures(seen, measure, keys, 1e3)} for measure, name in names.items()},
        "request_throughput": {"unit": "requests/sec", "avg": 1.0},
        "request_count": {"unit": "requests", "avg": float(one.requests)},
        "input_sequence_length": {"unit": "tokens", **quantiles(one.input_tokens)},
        "output_sequence_length": {"unit": "tokens", **quantiles(one.output_tokens)},
        "input_config": {"phases": [{"kind": "profiling", **phase}]},
    }


def as_totals(one: SeenLoad, seen: Served) -> dict[str, Any]:
    keys = {"mean": "mean", "median": "p50", "p99": "p99"}
    found = {
        f"{key}_{name}_ms": value
        for measure, name in (("e2e", "e2el"), ("ttft", "ttft"), ("tpot", "tpot"))
        for key, value in figures(seen, measure, keys, 1e3).items()
    }
    return {
        "model_id": "known",
        "request_rate": one.rate_rps or "inf",
        "max_concurrency": one.users,
        "duration": 100.0,
        "completed": one.requests,
        "total_input_tokens": sum(one.input_tokens),
        "total_output_tokens": sum(one.output_tokens),
        "request_throughput": 1.0,
        **found,
    }


def off_by(profile: LlmProfile) -> dict[str, float]:
    """Errors of the steps that loads show, as logarithms."""
    table = profile.table
    sizes = {n: {"decode_requests": n, "kv_tokens": 300 * n} for n in (4, 16, 40)}
    known = KNOWN.table(REACH)
    off = {f"{n} requests": np.log(table.mean_s(**size) / known.mean_s(**size)) for n, size in sizes.items()}
    off["prompts"] = np.log(table.mean_s(600) / known.mean_s(600))
    return {name: float(value) for name, value in off.items()}


@pytest.mark.parametrize("write", [as_inference_perf, as_aiperf_summary])
def test_tables_of_percentiles_give_the_steps_back(write: Any, answers: list[Served], tmp_path: Path) -> None:
    """Lengths come by their quantiles, each by itself, and so not quite as they were."""
    documents = {
        f"{number}.json": write(*pair) for number, pair in enumerate(zip(LOADS, answers, strict=True))
    }
    answer = imported(tmp_path, documents, **TABLES)
    profile = answer.profile
    assert profile.calibration is not None
    assert profile.calibration.residual < 0.05
    for name, off in off_by(profile).items():
        size = (
            {"prefill_tokens": 600}
            if name == "prompts"
            else {"decode_requests": int(name.split()[0]), "kv_tokens": 300 * int(name.split()[0])}
        )
        assert abs(off) < 3.0 * spread_of(profile, **size), (name, off)
        assert abs(off) < 0.06
    assert {one.load for one in answer.figures} == set(documents)
    steady = [
        one for one in answer.figures if not one.name.startswith("ttft")
    ]  # the third load has a queue by chance
    assert max(abs(one.predicted_s / one.measured_s - 1.0) for one in steady) < 0.1


def test_what_loads_calibrated_predicts_other_loads(answers: list[Served], tmp_path: Path) -> None:
    """One near a load that calibrated, and one whose batch lies between those of the loads."""
    documents = {f"{at}.json": as_aiperf_summary(LOADS[at], answers[at]) for at in (0, 1, 2)}
    profile = imported(tmp_path, documents, **TABLES).profile
    near = load(rate_rps=10.0, count=1500)
    measured = served(KNOWN.table(REACH), RULES, near, KNOWN.request_s, seed=23)
    for name in ("e2e_mean", "e2e_p99", "tpot_p50"):
        runs = [forecast(profile, (64, 2048), near, seed).figure(name) for seed in range(3)]
        assert np.median(runs) == pytest.approx(measured.figure(name), rel=0.05)
    generator = np.random.default_rng(3)
    drawn = [resampled_steps(profile, generator) for _ in range(16)]
    for name in ("e2e_mean", "e2e_p99", "tpot_p50"):
        middle_s = forecast(profile, (64, 2048), LOADS[3], 0).figure(name)
        others = [forecast(one, (64, 2048), LOADS[3], 0).figure(name) for one in drawn]
        off = np.log(answers[3].figure(name) / middle_s)
        assert abs(off) < 2.2 * np.std(np.log(others), ddof=1)


def test_a_batch_that_no_load_had_is_refused(answers: list[Served], tmp_path: Path) -> None:
    documents = {f"{at}.json": as_aiperf_summary(LOADS[at], answers[at]) for at in (0, 1, 3)}
    profile = imported(tmp_path, documents, **TABLES).profile
    most = profile.limits_measured.sequences_max
    assert most < 64
    with pytest.raises(DomainError, match="decoding requests in a step"):
        forecast(profile, (64, 2048), load(users=64), 0)
    with pytest.raises(DomainError, match=f"measured up to sequences-max {most}"):
        cap.simulate(
            profile=profile,
            lengths="input=constant:300;output=constant:100",
            rate_rps=5.0,
            replicas=1,
            sequences_max=64,
        )


def test_totals_have_means_of_lengths_alone_and_the_residual_says_so(
    answers: list[Served], tmp_path: Path
) -> None:
    """Lengths that vary are taken as equal: the profile must not look true."""
    documents = {f"{at}.json": as_totals(LOADS[at], answers[at]) for at in (1, 2, 3)}
    answer = imported(tmp_path, documents, **TABLES)
    assert "lengths are equal to their means" in answer.profile.source["lengths"]


def test_loads_of_two_engines_are_not_to_be_trusted(answers: list[Served], tmp_path: Path) -> None:
    other = served(
        replace(KNOWN, decode_s=tuple(1.4 * one for one in KNOWN.decode_s)).table(REACH),
        RULES,
        LOADS[1],
        0.03,
        seed=5,
    )
    documents = {
        **{f"{at}.json": as_aiperf_summary(LOADS[at], answers[at]) for at in (0, 1, 3)},
        "other.json": as_aiperf_summary(LOADS[1], other),
    }
    answer = imported(tmp_path, documents, **TABLES)
    profile = answer.profile
    assert profile.calibration is not None
    assert profile.calibration.residual > 0.05
    assert "steps_untrusted" in {one.code for one in answer.caveats}
    path = tmp_path / "profile.json"
    answer.write_profile(path)
    plan = cap.simulate(
        profile=str(path),
        lengths="input=constant:300;output=constant:100",
        rate_rps=2.0,
        replicas=1,
        precision=0.2,
    )
    assert "steps_untrusted" in {one.code for one in plan.caveats}


def test_a_profile_reads_back_and_its_steps_move_together(answers: list[Served], tmp_path: Path) -> None:
    documents = {f"{at}.json": as_aiperf_summary(LOADS[at], answers[at]) for at in (0, 1, 3)}
    answer = imported(tmp_path, documents, **TABLES)
    answer.write_profile(tmp_path / "profile.json")
    found = load_llm(str(tmp_path / "profile.json"))
    assert found.steps == answer.profile.steps
    assert found.calibration == answer.profile.calibration
    generator = np.random.default_rng(2)
    drawn = [resampled_steps(found, generator) for _ in range(50)]
    moved = np.array([[step.mean_s for step in one.steps] for one in drawn])
    rows = [
        at for at, step in enumerate(found.steps) if step.prefill_tokens == found.steps[-1].prefill_tokens
    ]
    assert len(rows) == 2  # with a past and without, which is one time of the law
    assert np.corrcoef(np.log(moved[:, rows].T)).min() > 0.999
    assert len({one.overhead.request_s for one in drawn}) > 40
    wrong = json.loads((tmp_path / "profile.json").read_text())
    wrong["calibration"]["step_errors"][0].pop()
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(InputError, match="needs an error for each of its steps"):
        load_llm(str(tmp_path / "wrong.json"))


def test_what_is_no_calibration_is_refused(
    loops: dict[int, list[Seen]], answers: list[Served], tmp_path: Path
) -> None:
    tables = {f"{at}.json": as_totals(LOADS[at], answers[at]) for at in (1, 2, 3)}
    two = dict(list(tables.items())[:2])
    with pytest.raises(InputError, match="are 2 loads, and steps show from 3 on"):
        imported(tmp_path, two, **TABLES)
    mixed = {**tables, "1.json": tables["1.json"] | {"model_id": "other"}}
    with pytest.raises(InputError, match="of different models, known and other"):
        imported(tmp_path, mixed, **TABLES)
    alike = {f"{number}.json": as_vllm_bench(closed(4, seed=number)) for number in range(3)}
    with pytest.raises(InputError, match="about 4 requests in flight"):
        imported(tmp_path, alike, **FLAGS)
    with pytest.raises(InputError, match="not valid JSON"):
        imported(tmp_path, {**tables, "1.json": json.dumps(tables["1.json"])[:-40]}, **TABLES)
    with pytest.raises(InputError, match="empty"):
        imported(tmp_path, {**tables, "1.json": ""}, **TABLES)
    with pytest.raises(InputError, match="kv_tokens is needed"):
        imported(tmp_path, tables, sequences_max=64, batched_tokens_max=2048)
    with pytest.raises(InputError, match="request_overhead"):
        imported(tmp_path, tables, request_overhead="4ms", **TABLES)


def test_figures_of_one_run_are_weighed_by_how_far_its_draws_scatter() -> None:
    """Both figures of the first run move together with its draw by a tenth, and the second run's does not."""
    draws = np.log([0.9, 1.1] * 500)

    def predict(values: Floats, seed: int) -> Floats:
        return values[0] * np.exp([draws[seed], draws[seed], 0.0])

    together = np.array([0, 0, 1])
    found = fit_scattered([[1.0]], predict, [1.0, 1.0, 2.0], np.array([0.01, 0.01, 0.02]), together)
    chance = 2.0 * np.var(draws[:32], ddof=1)
    expected = np.diag([1e-4, 1e-4, 4e-4]) + chance * np.outer([1, 1, 0], [1, 1, 0])
    assert found.errors == pytest.approx(expected)
    assert found.values[0] == pytest.approx(2.0, rel=0.05)  # by the run that does not scatter


def test_figures_that_jump_do_not_hold_a_fit_up() -> None:
    """A ridge of three values whose figures jump by 5 % where a request falls into another step."""
    shares = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.3, 1.0], [0.5, 0.5, 0.6]])

    def predict(values: Floats) -> Floats:
        return np.exp(shares @ np.log(values) + 0.05 * (np.floor(40.0 * np.log(values).sum()) % 2.0))

    known = np.array([1.7, 0.4, 3.0])
    found = fit([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]], predict, predict(known).tolist(), np.diag([1e-4] * 4))
    assert found.values == pytest.approx(known, rel=0.03)
    assert found.residual < 0.01


def test_what_is_left_open_is_the_curvature_of_the_fit() -> None:
    """One value of one figure: its error is the figure's, less a prior of 1."""
    found = fit([[1.0]], lambda values: values, [2.0], np.array([[0.04]]))
    spread = root(found, lambda by: found.values * np.exp(by), np.array([0.1]))
    assert spread[0, 0] == pytest.approx((1.0 / 0.04 + 1.0) ** -0.5)
