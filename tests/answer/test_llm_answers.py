"""Answers about language models in Python: rows, curves and figures, what is saved, and what is asked by keywords."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from questions import varied

import capacity as cap
from capacity.answer.check import gate_inputs, new_profiles
from capacity.answer.compare import contenders
from capacity.answers.evidence import LlmProfileAnswer
from capacity.answers.performance import SimulationAnswer
from capacity.answers.plan import PlanAnswer
from capacity.answers.rates import RatesAnswer
from capacity.api.profile import _sweep_caveats, asked_engine
from capacity.api.saved import confirmed
from capacity.api.work import at_work
from capacity.profile.llm import KvCache, LimitsMeasured
from capacity.profile.load import load_llm
from capacity.question.arguments import Asked
from capacity.question.asked import QUANTILES, TOKEN_MEASURES
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.search.engines import EngineTheory
from capacity.search.max_rate import Point
from capacity.search.recommendation import Certificate, Headroom
from capacity.server.engine.asked import AskedEngines
from capacity.traffic.lengths import LengthRows
from capacity.traffic.scale import RATES

FILES = Path(__file__).parents[1] / "kept" / "files"
LINE, LENGTHS = FILES / "line.json", FILES / "lengths.csv"
SMALL: dict[str, Any] = {"lengths": LENGTHS, "precision": 0.3, "quantile": 0.5}
PLAN = {"profile": "line", "sequences_max": 16, "batched_tokens_max": 512, "routing": "round-robin"}


def objective_of(**given: Any) -> Objective:
    return AskedEngines().objective(Asked("plan", given))


@pytest.fixture(scope="module")
def planned() -> PlanAnswer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.plan_decision.find_headroom", lambda *_: None)
        asked = {"lengths": LENGTHS, "slo_tpot_mean": "6.4ms", "precision": 0.1}
        found = cap.plan(LINE, rate_rps=100.0, **asked)
    assert isinstance(found, PlanAnswer)
    return found


def test_a_plan_is_a_row_and_so_is_each_fleet_that_was_judged(planned: PlanAnswer) -> None:
    (chosen,) = planned.rows()
    assert (chosen["replicas"], chosen["hourly_usd"], planned.sustainable_rate_rps > 100.0) == (3, 6.0, True)
    judged = planned.considered.to_frame().to_dict("records")
    two, three, four = (row for row in judged if row["sequences_max"] == 16)
    fewer = [row for row in judged if row["sequences_max"] < 16]
    assert {(row["replicas"], row["verdict"]) for row in fewer} == {(2, "missed")}  # and overloaded
    assert {name: two[name] for name in PLAN} == PLAN
    verdicts = [(row["replicas"], row["verdict"]) for row in (two, three, four)]
    assert verdicts == [(2, "missed"), (3, "met"), (4, "met")]
    assert two["tpot_mean_s"] > 0.0064 >= three["tpot_mean_s"]
    for name in ("ttft", "tpot", "itl", "response"):
        for q in ("p50", "p90", "p95", "p99"):
            known = getattr(planned.performance, f"{name}_quantiles_s")[QUANTILES[q]]
            row = [three[f"{name}_{q}{end}_s"] for end in ("_low", "", "_high")]
            assert row == [known.low, known.value, known.high]


def test_the_curve_of_a_plan_is_of_the_limit_that_binds(planned: PlanAnswer) -> None:
    curve = planned.curve()
    assert curve.title == "TPOT mean of line by replicas, the best settings that were tried"
    assert (curve.chosen, curve.beyond, curve.size_name) == (3, (), "S: sequences at most")
    assert [point.x for point in curve.points] == [2, 3, 4]
    assert planned.plot().axes.get_ylabel() == "TPOT mean [ms]"
    nothing = replace(planned, recommendation=replace(planned.recommendation, plan=None))
    assert nothing.curve() is None
    with pytest.raises(cap.InputError, match="no plan meets the objective: there is nothing to draw"):
        nothing.plot()


def test_a_plan_is_saved_and_is_its_own_saved_plan(planned: PlanAnswer, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    planned.save(path)
    planned.save(str(path))
    document = json.loads(path.read_text())
    assert path.read_text().endswith("}\n")
    assert document["answer"]["verdict"] == "met"
    saved = planned.to_saved("mine")
    assert (saved.name, saved.verdict, saved.plan) == ("mine", Verdict.MET, planned.plan)
    assert planned.to_saved().name == "plan.json"
    checked = cap.check(planned)
    assert checked.summary == "3 replicas of line with up to 16 sequences at 100 rps: the plan holds"
    assert checked.answer.reproduced  # with the certificate, to the last digit
    assert checked.exit_code == 0
    assert [row["what"] for row in checked.rows()] == ["TPOT mean <= 6.4 ms"]
    assert checked.rows()[0]["verdict"] == "met"
    assert re.fullmatch(r"TPOT mean is 6\.\d+ \(.*\) ms", checked.rows()[0]["found"])
    titles = [one.axes.get_title("left") for one in checked.plot().plots]
    assert titles == ["first token", "between tokens", "response"]
    unstable = cap.check(planned, rate_rps=250.0)
    assert unstable.exit_code == 3
    with pytest.raises(
        cap.InputError, match="the plan was refused before a simulation: there is nothing to draw"
    ):
        unstable.plot()


def test_new_steps_as_a_csv_keep_what_only_the_profile_says(planned: PlanAnswer, tmp_path: Path) -> None:
    """Such a file has neither a price nor a cache, and named fields of batches before."""
    columns = "num_prefill_requests,sum_prefill_tokens,sum_prefill_kv_tokens,num_decode_requests,sum_decode_kv_tokens"
    path = tmp_path / "steps.csv"
    path.write_text(
        f"{columns},wall_time_s\n1,512,0,0,0,0.05\n1,16,0,0,0,0.01\n0,0,0,1,1,0.005\n0,0,0,1,1000,0.005\n"
        "0,0,0,16,16,0.006\n0,0,0,16,16000,0.006\n",
        encoding="utf-8",
    )
    saved = planned.to_saved("plan.json")
    inputs = gate_inputs(saved, list(new_profiles([path], saved)), None)
    (old,), (new,) = saved.question.profiles, inputs.question.profiles
    assert (new.kv, new.engine, new.overhead, new.hourly_usd) == (old.kv, old.engine, old.overhead, 2.0)
    assert inputs.notes == ("profile line is replaced by steps; its price, KV cache and engine are kept",)


def test_an_explanation_says_what_binds_and_what_would_save(planned: PlanAnswer) -> None:
    found = cap.explain(planned)
    why = found.explanation
    fewer, *settings = found.rows()
    assert (found.verdict, fewer["replicas"]) == (planned.verdict, planned.plan.replicas - 1)
    assert (why.binding.cause.value, str(why.binding.limit)) == ("sharing", "TPOT mean <= 6.4 ms")
    assert [row["what"] for row in settings] == ["--sequences-max 8", "--batched-tokens-max 256"]
    assert [row["saturation_rps"] for row in settings] == [one.saturation.rate_rps for one in why.neighbours]
    assert why.binding.load_fewer == pytest.approx(100.0 / (fewer["replicas"] * why.saturation.rate_rps))
    slower, faster = (one for one in why.sensitivities if one.what == "service time")
    assert (slower.step, faster.step) == (0.1, -0.1)
    assert slower.candidate.performance.tpot_mean_s > 1.1 * faster.candidate.performance.tpot_mean_s
    assert slower.replicas > faster.replicas
    levers = {one.lever.value for one in why.savings}
    assert {"limit", "service_time", "demand"} <= levers
    assert all(one.plan.replicas == fewer["replicas"] for one in why.savings)


def test_a_plan_that_was_saved_without_a_certificate_is_confirmed_from_the_start(planned: PlanAnswer) -> None:
    """Older files of engines have none, and their confirmation always began there."""
    saved = planned.to_saved("plan.json")
    assert confirmed(replace(saved, certificate=None)).certificate == Certificate() == saved.certificate


def test_a_simulation_is_one_row_and_only_a_replay_has_requests(tmp_path: Path) -> None:
    found = cap.simulate(LINE, 2, rate="40rps", **SMALL)
    short, long = (next(found.tables(100, **how)) for how in ({}, {"verbose": True}))
    assert short.row_count < long.row_count
    (row,) = found.rows()
    assert {**PLAN, "replicas": 2}.items() <= row.items()
    assert {"ttft_p50_s", "response_p50_high_s", "load", "kind"} <= set(row)
    found.save(tmp_path / "one.csv")
    assert len((tmp_path / "one.csv").read_text().splitlines()) == 2
    replay = cap.simulate(LINE, 2, arrivals=f"trace:{FILES / 'requests.csv'}", replay=True)
    rows = replay.rows()
    assert [row["replica"] for row in rows] == [0, 1] * 6
    assert [row["t_s"] for row in rows] == pytest.approx([0.01 * n for n in range(12)])
    replay.save(tmp_path / "served.csv")
    assert len((tmp_path / "served.csv").read_text().splitlines()) == 13


def test_a_sweep_and_a_comparison_have_rows_too() -> None:
    swept = cap.sweep(LINE, 1, rate=["20rps", "30rps"], **SMALL)
    assert [row["arrival_rate_rps"] for row in swept.rows()] == [20.0, 30.0]
    assert swept.plot().axes.get_ylabel() == "TTFT (ms)"
    assert [one.code for one in swept.caveats] == [
        CaveatCode.STEPS_FROM_COEFFICIENTS,
        CaveatCode.STEPS_UNCHECKED,
    ]
    compared = cap.compare(profile=[LINE], fleet=["replicas=1", "replicas=2"], rate="20rps", **SMALL)
    assert [(row["fleet"], row["replicas"]) for row in compared.rows()] == [
        ("replicas=1", 1),
        ("replicas=2", 2),
    ]
    assert len(compared.plot().plots) == 3
    one, two = compared.contenders
    priced = replace(compared, contenders=(one, replace(two, profile=replace(two.profile, hourly_usd=None))))
    fleets = priced.document()["fleets"]
    assert [fleet["cost"] for fleet in fleets] == [{"hourly_usd": 2.0}, None]
    assert [fleet["difference"] is None for fleet in fleets] == [True, False]
    assert [one.code for one in compared.caveats] == [
        CaveatCode.STEPS_FROM_COEFFICIENTS,
        CaveatCode.STEPS_UNCHECKED,
    ]


def test_a_curve_tells_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = EngineTheory.curve_loads
    assert [0.0, *loads, 1.0] == sorted({0.0, *loads, 1.0})
    monkeypatch.setattr(EngineTheory, "curve_loads", (0.1, 0.3))
    found = cap.curve(LINE, lengths=LENGTHS, quantile=0.5)
    loads = [load for load, _, _ in found.points()]
    assert loads == pytest.approx([0.1, 0.3])
    assert found.plan.replicas == 1
    rates = [rate_rps for _, rate_rps, _ in found.points()]
    assert rates[1] == pytest.approx(3.0 * rates[0])
    pieces = list(found.tables(100))
    assert str(pieces[0]).startswith("1 replica of line with up to 16 sequences: TTFT P50 is ")
    assert "TTFT P50 of 1 x line, up to 16 sequences\n" in str(pieces[-3])


def test_a_profile_from_sweeps_has_a_row_for_each_step_and_no_figure() -> None:
    profile = load_llm(str(FILES / "steps.json"))
    found = LlmProfileAnswer(profile=profile, checked_rps=None, caveats=())
    assert [row["decode_requests"] for row in found.rows()] == [1, 1, 4, 4, 16, 16, 0, 0, 0]
    assert found.document()["check"] is None
    with pytest.raises(cap.InputError, match="has no figure yet; use to_frame"):
        found.plot()


def test_plans_are_compared_under_the_same_requests(planned: PlanAnswer) -> None:
    question = planned.question
    slower = replace(question, workload=replace(question.workload, arrival_rate_rps=50.0))
    slow = replace(planned, question=slower, effort=replace(planned.effort, seed=7)).to_saved("slow.json")
    with pytest.raises(cap.InputError) as refused:
        cap.compare([planned, slow])
    assert str(refused.value) == (
        "plan 1 and slow.json are for different workloads (100 rps and 50 rps); give rate to compare them at one "
        "rate"
    )
    short = replace(planned, question=varied(question, lengths=LengthRows((20,), (30,)))).to_saved(
        "short.json"
    )
    with pytest.raises(cap.InputError) as refused:
        cap.compare([planned, short])
    assert str(refused.value) == (
        "plan 1 and short.json are for different workloads (other lengths); make the plans for the "
        "same requests"
    )
    found = cap.compare([planned, slow], rate_rps=20.0, quantile=0.5, precision=0.3)
    assert (found.scenario.workload.arrival_rate_rps, found.effort.seed) == (20.0, 0)
    assert [one.name for one in found.contenders] == ["plan 1", "slow.json"]
    with pytest.raises(
        cap.InputError, match="^a --fleet needs a --profile, or a saved plan to take it from$"
    ):
        contenders((), (), ["replicas=1"], ())


def test_each_limit_has_a_keyword() -> None:
    """Each a different one, in text and in seconds."""
    given: dict[str, Any] = {
        "goodput_min": "95%",
        "sessions": "turns=constant:1;first=constant:9;output=constant:9",
    }
    limits: dict[str, dict[float, float]] = {}
    means = {}
    for at, prefix in enumerate(("", *(f"{one}_" for one in TOKEN_MEASURES))):
        for place, (name, q) in enumerate(QUANTILES.items()):
            seconds = 1.0 + at + 0.125 * place
            limits.setdefault(prefix, {})[q] = seconds
            given |= (
                {f"slo_{prefix}{name}_s": seconds} if place % 2 else {f"slo_{prefix}{name}": f"{seconds}s"}
            )
        means[f"{prefix or 'response_'}mean"] = 10.0 + at
        given[f"slo_{prefix}mean_s"] = 10.0 + at
    assert list(limits["ttft_"]) == [0.5, 0.9, 0.95, 0.99, 0.999]
    assert objective_of(**given) == Objective.of(
        response=limits[""],
        ttft=limits["ttft_"],
        tpot=limits["tpot_"],
        itl=limits["itl_"],
        session=limits["session_"],
        goodput=0.95,
        **means,
    )


@pytest.mark.parametrize(("engine", "threads"), [("kernel", 3), ("simpy", 1)])
def test_only_compiled_engines_share_the_work(monkeypatch, engine, threads) -> None:
    """The other is Python, of which one thread runs at a time."""
    asked: list[int] = []

    def counted(count: int) -> "nullcontext[type[map[Any]]]":
        asked.append(count)
        return nullcontext(map)

    monkeypatch.setattr("simulations.workers.workers", counted)
    effort = Effort(seed=5, confidence=0.9, precision=0.3, requests_max=77, engine=engine, workers=3)
    with at_work(effort, lambda _: None) as work:
        judge = work.judge
        assert (judge.seed, judge.confidence, judge.precision) == (5, 0.9, 0.3)
        assert (judge.requests_max, judge.engine.value, judge.mapper) == (77, engine, map)
    assert asked == [threads]


def test_an_engine_is_on_one_device_unless_said_otherwise() -> None:
    asked = {"kv_tokens": 100, "sequences_max": 2, "batched_tokens_max": 8}
    found = asked_engine(asked)
    assert (found.name, found.devices, found.tensor_parallel, found.all_reduce) == ("measured", 1, 1, False)
    assert asked_engine(asked | {"devices": 2}).all_reduce


@pytest.mark.parametrize("name", ["slo_ttft_p999", "slo_p50", "slo_itl_mean"])
def test_a_limit_that_cannot_be_is_named_by_its_flag(name: str) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(cap.InputError, match=f"^{re.escape(flag)} "):
        objective_of(**{name: "5"})


def test_steps_that_read_little_of_what_they_may_are_noted() -> None:
    """6,400 tokens at most; with room for 16 x 800, or as many blocks as hold that."""
    profile = load_llm(str(FILES / "steps.json"))
    limits = LimitsMeasured(sequences_max=16, batched_tokens_max=512, context_tokens_max=800)
    at_half = replace(profile, kv=KvCache(tokens=65_536), limits_measured=limits)
    assert list(_sweep_caveats(at_half)) == []
    (one,) = _sweep_caveats(replace(at_half, limits_measured=replace(limits, context_tokens_max=801)))
    assert one.code is CaveatCode.STEPS_READ_FEW
    assert one.message == (
        "no step was measured that reads more than 6400 cached tokens, and one may read 12816; send long prompts at "
        "higher concurrencies too, with more output tokens"
    )
    assert list(_sweep_caveats(replace(at_half, kv=KvCache(tokens=12_816), limits_measured=replace(limits, context_tokens_max=1024)))) == []  # fmt: skip


def test_a_plan_that_does_not_recover_is_missed(planned: PlanAnswer) -> None:
    for chosen, verdict, code in ((None, Verdict.MISSED, 3), (object(), Verdict.MET, 0)):
        found = replace(planned, recovery=SimpleNamespace(chosen=chosen))  # type: ignore[arg-type]
        assert (found.verdict, found.exit_code) == (verdict, code)
    assert planned.caveats is planned.recommendation.caveats


def test_a_plan_document_has_its_price_and_headroom_where_known(planned) -> None:
    document = planned.document()
    assert (document["headroom"], "recovery" in document) == (None, False)
    seen = planned.performance
    prompts_per_s = seen.throughput_rps * planned.question.space.lengths.moments.input
    per_second = {
        "requests": seen.throughput_rps,
        "input_tokens": prompts_per_s,
        "output_tokens": seen.output_tokens_per_s,
    }
    assert document["cost"] == {"hourly_usd": 6.0}
    assert document["usd_per_million"] == {
        what: pytest.approx(6.0 * 1e6 / (3600.0 * served)) for what, served in per_second.items()
    }
    headroom = Headroom(today_rps=100.0, accepted_rps=110.0, refused_rps=120.0)
    priced = replace(
        planned, recommendation=replace(planned.recommendation, hourly_usd=None, headroom=headroom)
    )
    assert (priced.document()["cost"], priced.document()["usd_per_million"]) == (None, None)
    assert priced.document()["headroom"] == {"arrival_rate_max_rps": 110.0, "arrival_rate_refused_rps": 120.0}
    assert (planned.hourly_usd, priced.hourly_usd) == (6.0, None)


def test_rates_have_a_row_each(planned: PlanAnswer) -> None:
    one = next(
        each
        for each in planned.recommendation.considered
        if each.performance is not None and each.performance.tpot_mean_s
    )
    points = (
        Point(size=10.0, candidate=one),
        Point(size=20.0, candidate=replace(one, performance=None)),
    )
    rates: Any = SimpleNamespace(points=points, scale=RATES, scenario=SimpleNamespace(whole=one.plan))
    first, second = RatesAnswer(rates=rates, effort=planned.effort).rows()
    assert (first["arrival_rate_rps"], first["verdict"]) == (10.0, one.verdict.value)
    assert first["tpot_mean_s"] == one.performance.tpot_mean_s
    assert (second["arrival_rate_rps"], second["verdict"]) == (20.0, one.verdict.value)
    assert "tpot_mean_s" not in second


def test_rows_of_a_replay_by_hand(planned: PlanAnswer) -> None:
    """Each has 10 input tokens, which makes an overhead of 0.5 s + 10 x 0.01 s outside the engine."""
    columns = {
        "arrived_s": [1.0, 2.0], "input_tokens": [10, 10], "output_tokens": [1, 5], "first_s": [1.5, 3.0],
        "finished_s": [1.5, 5.0], "preemptions": [0, 2], "replica": [1, 0],
    }  # fmt: skip
    both = SimpleNamespace(**{name: np.array(values) for name, values in columns.items()})
    overhead = SimpleNamespace(request_s=0.5, per_input_token_s=0.01)
    scenario = SimpleNamespace(profile=SimpleNamespace(overhead=overhead))
    served = SimulationAnswer(
        scenario=scenario,
        performance=planned.performance,
        caveats=(),
        effort=planned.effort,
        served=(both, both),  # type: ignore[arg-type]
    )
    first, second = served.rows()
    assert first == {
        "t_s": 1.0, "input_tokens": 10, "output_tokens": 1, "ttft_s": pytest.approx(1.1), "tpot_s": None,
        "response_s": pytest.approx(1.1), "preemptions": 0, "replica": 1,
    }  # fmt: skip
    assert (second["ttft_s"], second["tpot_s"], second["response_s"]) == pytest.approx((1.6, 0.5, 3.6))
    assert (second["preemptions"], second["replica"]) == (2, 0)


def test_a_sweep_refuses_figures_of_unknown_quantities() -> None:
    swept = cap.sweep(LINE, 1, rate=["20rps"], **SMALL)
    with pytest.raises(
        cap.InputError, match="there is no figure of 'cost'; use one of ttft, tpot, itl, response"
    ):
        swept.plot("cost")


def test_an_objective_that_is_given_stands_for_all_limits_if_engines_have_its_measures() -> None:
    given = Objective.of(ttft={0.99: 2.0}, goodput=0.99)
    assert objective_of(objective=given) is given
    with pytest.raises(cap.InputError, match="^a language model has no wait P99; leave out the limit"):
        objective_of(objective=Objective.of(wait={0.99: 2.0}))
    with pytest.raises(cap.InputError, match="^a fleet that serves batches has no TTFT P99; leave out"):
        cap.plan("resnet50-t4-fp16", rate="1rps", objective=given)
