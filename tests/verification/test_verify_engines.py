"""`capacity verify` of a language model, in virtual time: the emulated engine is the simulated one, so all must agree."""

import asyncio
import json
import math

import numpy as np
import pytest
from emulated import Fleet, verify_in_virtual_time

import cli
from capacity.errors import DependencyError
from capacity.measurement.http import parse_address
from capacity.measurement.metrics import read_page
from capacity.profile.load import load_llm
from capacity.question.objective import Measure, Objective
from capacity.verification.engines import Prompts, cache_notes
from capacity.verification.measured import measured_performance
from capacity.verification.run import LoadRun, Schedule
from capacity.verification.send import connected
from capacity.verification.subject import Subject

PROFILE = {
    "schema_version": 1,
    "kind": "llm",
    "name": "slow",
    "model": "made-up",
    "kv": {"tokens": 8192, "block_tokens": 16},
    "limits_measured": {"sequences_max": 8, "batched_tokens_max": 256, "context_tokens_max": 1024},
    "coefficients": {
        "base_s": 0.02,
        "per_prefill_token_s": 6e-5,
        "per_decode_request_s": 5e-4,
        "per_kv_token_s": 5e-7,
    },
}
LENGTHS = "input=uniform:low=16,high=300;output=geometric:mean=12"
URL = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A profile, and a plan with it."""
    path = tmp_path_factory.mktemp("engines")
    (path / "slow.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    plan_of(path, "p.json", "8rps")
    return path


def plan_of(path, name, rate, *more):
    """Save a plan for some rate."""
    limits = ["--slo-ttft-p95", "400ms", "--goodput-min", "0.9", "--context-tokens-max", "512"]
    asked = ["--lengths", LENGTHS, "--rate", rate, *limits, *more]
    with pytest.raises(SystemExit) as ended:
        cli.app(["plan", "--profile", str(path / "slow.json"), *asked, "-o", str(path / name)])
    assert not ended.value.code


def fleet_of(folder, slower=1.0, **asked):
    """Engines of the plan's profile, each slower than said by a factor."""
    return Fleet(load_llm(str(folder / "slow.json")).scaled(slower), **asked)


@pytest.fixture
def verify(folder, monkeypatch, capsys):
    """Exit code and answer of the command against a fleet in this process, in no time."""

    def run(fleet, *arguments, plan="p.json"):
        verify_in_virtual_time(monkeypatch, fleet)
        capsys.readouterr()
        planned = [] if plan is None else ["--plan", str(folder / plan)]
        asked = [*planned, "--metrics", "none", "--precision", "0.05", "--json"]
        with pytest.raises(SystemExit) as ended:
            cli.app(["verify", "--url", URL, *asked, *arguments])
        told = capsys.readouterr()
        assert told.out, told.err
        return ended.value.code or 0, json.loads(told.out)

    return run


def errors(answer, which):
    return {row["quantity"]: row[which]["error"] for row in answer["rows"] if row[which] is not None}


def test_a_replay_is_what_the_same_engine_did(folder, verify):
    """Instant by instant, but for the gaps of requests at the ends of what counts, and the clock's rounding."""
    code, answer = verify(fleet_of(folder), "--duration", "900s", "--warm-up", "20s")
    found = errors(answer, "replay")
    assert {"mean", "p99", "ttft-mean", "ttft-p99", "tpot-mean", "tpot-p99"} <= found.keys()
    exact = {name: error for name, error in found.items() if not name.startswith(("itl", "through"))}
    assert all(abs(error) < 1e-3 for error in exact.values()), exact
    assert all(abs(found[name]) < 0.01 for name in ("itl-mean", "itl-p50", "itl-p95", "throughput")), found
    assert all(row["replay"]["verdict"] == "agree" for row in answer["rows"] if "p99" not in row["quantity"])
    limits = {(one["measure"], one["quantile"]): one["verdict"] for one in answer["promises"]}
    assert limits == {("ttft_quantiles_s", 0.95): "met", ("missed_share", None): "met"}
    assert code in (0, 4)  # 4 while the long run's interval is wider than the tolerance
    assert answer["verdict"] in ("agree", "unsure")
    measured = answer["measured"]
    assert measured["ttft_mean_s"] < measured["response_mean_s"]
    assert 0.9 < measured["goodput"] <= 1.0


def test_steps_of_an_engine_that_drafts_are_its_events(folder, verify):
    """Several tokens come together, and times between events are those between steps, predicted and measured."""
    drafting = PROFILE | {
        "name": "drafting",
        "speculation": {"draft_tokens": 2, "acceptance_rates": [0.8, 0.5]},
    }
    (folder / "drafting.json").write_text(json.dumps(drafting), encoding="utf-8")
    flags = ["--profile", str(folder / "drafting.json"), "--lengths", LENGTHS, "--rate", "8rps"]
    fleet = Fleet(load_llm(str(folder / "drafting.json")))
    _, answer = verify(fleet, *flags, "--duration", "900s", "--warm-up", "20s", plan=None)
    measured = answer["measured"]
    assert measured["itl_mean_s"] > 1.5 * measured["tpot_mean_s"]
    found = errors(answer, "stationary")
    assert {"itl-mean", "itl-p50", "itl-p95"} <= found.keys()
    assert abs(found["itl-mean"]) < 0.02


def test_a_slower_engine_disagrees_and_each_figure_says_by_how_much(folder, verify):
    code, answer = verify(fleet_of(folder, slower=1.3), "--duration", "300s")
    found = errors(answer, "replay")
    assert code in (3, 4)
    assert answer["verdict"] in ("disagree", "missed")
    assert -0.3 < found["itl-p50"] < 1 / 1.3 - 0.99  # more requests decode at once, too
    assert found["tpot-mean"] < -0.2


def test_refused_requests_are_losses_and_late(folder, verify):
    _, answer = verify(fleet_of(folder, refused=10), "--duration", "300s")
    rows = {row["quantity"]: row for row in answer["rows"]}
    assert rows["loss"]["measured"]["value"] == pytest.approx(0.1, abs=0.005)
    assert rows["loss"]["stationary"]["verdict"] == "disagree"
    missed = next(one for one in answer["promises"] if one["measure"] == "missed_share")
    assert missed["measured"]["value"] == pytest.approx(0.1, abs=0.01)
    ttft = next(one for one in answer["promises"] if one["measure"] == "ttft_quantiles_s")
    assert ttft["verdict"] == "missed"  # since 10 % are lost, P95 is infinite


def test_answers_of_other_lengths_void_the_run(folder, verify):
    code, answer = verify(fleet_of(folder, longer=1), "--duration", "60s")
    assert (code, answer["verdict"]) == (4, "invalid")
    assert "max_tokens and ignore_eos" in answer["runs"][0]["faults"][0]


def test_several_replicas_are_replayed_as_routed(folder, verify):
    plan_of(folder, "many.json", "45rps", "--routing", "least-outstanding")
    saved = json.loads((folder / "many.json").read_text(encoding="utf-8"))
    replicas = saved["answer"]["recommendation"]["replicas"]
    assert replicas > 1
    others = [part for number in range(1, replicas) for part in ("--url", f"{URL}/{number}")]
    _, answer = verify(fleet_of(folder, replicas=replicas), *others, "--duration", "60s", plan="many.json")
    assert answer["plan"]["replicas"] == replicas
    assert all(abs(errors(answer, "replay")[name]) < 1e-3 for name in ("mean", "ttft-mean", "tpot-mean"))
    sent = answer["runs"][0]["sent_by_url"]
    assert len(sent) == replicas
    assert max(sent) > min(sent)  # by turns they would be equal


def test_a_plan_in_flags_is_the_same(folder, verify):
    """But for its limits, which only a saved plan has."""
    flags = ["--profile", str(folder / "slow.json"), "--lengths", LENGTHS, "--rate", "8rps"]
    limits = ["--context-tokens-max", "512", "--duration", "100s"]
    _, described = verify(fleet_of(folder), *flags, *limits, plan=None)
    _, saved = verify(fleet_of(folder), "--duration", "100s")
    assert described["objective"] in (None, {})
    assert described["rows"] == [
        row for row in saved["rows"] if row["quantity"] in {r["quantity"] for r in described["rows"]}
    ]
    assert described["plan"] == saved["plan"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--profile", "slow.json", "--rate", "8rps"], "needs the lengths of requests"),
        (["--plan", "p.json", "--lengths", LENGTHS], "leave out --lengths, or --plan"),
        (["--plan", "p.json", "--body", "slow.json"], "leave out --body"),
        (["--plan", "p.json", "--tolerance", "batch=5%"], "names no quantity"),
        (
            ["--profile", "slow.json", "--rate", "8rps", "--lengths", LENGTHS, "--batch-wait", "2ms"],
            "leave out --batch-wait",
        ),
    ],
)
def test_what_does_not_fit_is_refused(folder, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        cli.app(["verify", "--url", URL, *flags])
    assert (ended.value.code, said in capsys.readouterr().err) == (2, True)


def run_of(requests, outcomes=None, seen=None):
    """A run with requests a second apart, of 10 tokens each, the first after 100 ms and another every 20 ms."""
    instants_s = np.arange(float(requests))
    lengths = np.full(requests, 5), np.full(requests, 10)
    run = LoadRun.blank(
        Schedule(instants_s=instants_s, duration_s=float(requests), lengths=lengths), 0.0, timeout_s=7.0
    )
    run.sent_s[:], run.outcomes[:], run.is_complete = instants_s, 200, True
    for number in range(requests):
        run.first_s[number], run.ended_s[number] = number + 0.1, number + 0.28
        run.gaps_s[number] = (0.02,) * 9
    for number, outcome in (outcomes or {}).items():
        run.outcomes[number], run.first_s[number] = outcome, math.nan
        del run.gaps_s[number]
    return run


def test_tokens_are_measured_from_when_a_request_should_have_been_sent():
    found = measured_performance([run_of(1200)], (0.5, 0.95), 0.95)
    assert found.ttft_mean_s == pytest.approx(0.1)
    assert found.tpot_quantiles_s[0.95].value == pytest.approx(0.02)
    assert found.itl_mean_s == pytest.approx(0.02)
    assert found.response_mean_s == pytest.approx(0.28)
    assert found.goodput is None
    limits = Objective.of(ttft={0.5: 0.1 + 1e-9}, tpot={0.5: 0.021}, goodput=0.9)
    assert measured_performance([run_of(1200)], (0.5,), 0.95, objective=limits).goodput == 1.0
    strict = Objective.of(ttft={0.5: 0.09}, goodput=0.9)
    assert measured_performance([run_of(1200)], (0.5,), 0.95, objective=strict).goodput == 0.0


def test_requests_that_were_given_up_have_waited_for_their_first_token_at_least_as_long_as_they_might():
    found = measured_performance([run_of(1200, dict.fromkeys(range(0, 1200, 10), -1))], (0.5, 0.95), 0.95)
    assert found.ttft_quantiles_s[0.95].high == math.inf
    assert found.ttft_mean_s == pytest.approx(0.9 * 0.1 + 0.1 * 7.0)
    assert found.tpot_mean_s == pytest.approx(0.02)
    assert run_of(1200, {0: -1}).missed({Measure.TTFT: 9.0}).sum() == 1


def test_tokens_that_came_together_have_no_gaps():
    run = run_of(200)
    for number in range(11):
        del run.gaps_s[number]
    assert run.all_gaps_s is None
    assert measured_performance([run], (0.5,), 0.95).itl_mean_s is None
    run.gaps_s[0] = (0.02,) * 9
    assert len(run.all_gaps_s) == 190 * 9


def test_prompts_are_random_but_for_what_they_share():
    one, other = (
        Prompts(addresses=(), timeout_s=1.0, model="m", seed=3, cached_share=share) for share in (0.0, 0.5)
    )
    first, second = one.prompt(40), one.prompt(40)
    assert (len(first), len(second)) == (40, 40)
    assert first[:5] != second[:5]
    shared, longer = other.prompt(40), other.prompt(60)
    assert shared[:20] == longer[:20]
    assert shared[20:30] != longer[20:30]


def test_what_streams_no_completions_is_an_outcome_of_its_own(monkeypatch):
    address = parse_address(URL, "--url")

    async def fails(client, to, body):
        raise DependencyError("no events")

    monkeypatch.setattr("capacity.verification.engines.stream", fails)

    async def ask():
        prompts = Prompts(addresses=(address,), timeout_s=1.0, model="m", seed=0)
        async with connected(prompts) as send:
            return await send(0, None)

    pytest.importorskip("aiohttp")
    assert asyncio.run(ask()).outcome == -5


def page(blocks, size=16):
    labels = f'block_size="{size}",num_gpu_blocks="{blocks}"'
    return read_page(f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{labels}}} 1\n".encode())


@pytest.mark.parametrize(("found", "said"), [(page(512), 0), (page(513), 1), (page("None"), 0)])
def test_a_cache_of_another_size_is_noted(folder, found, said):
    subject = Subject(profile=load_llm(str(folder / "slow.json")), workload=None, plan=None)
    notes = cache_notes((parse_address(URL, "--url"),), [found], subject)
    assert len(notes) == said
    assert all("reports a KV cache of 8208 tokens, but the plan has 8192" in note for note in notes)
