"""The Python API: the commands' names and defaults, units that cannot be wrong, and answers in four forms."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from typer.main import get_command
from typer.testing import CliRunner

import capacity as cap
from capacity.answer.saved_plan import read_plan_file
from capacity.answers.answer import Answer
from capacity.answers.plan import PlanAnswer
from capacity.api.report import _distribution
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import GammaArrivals, Workload
from cli import app

ROOT = Path(__file__).parent.parent
ASKED = {"rate": "120rps", "slo_p99": "80ms", "batch_wait": "0ms", "batch_size_max": 4, "precision": 0.2}
VERBS = {
    "plan": cap.plan,
    "simulate": cap.simulate,
    "max-rate": cap.max_rate,
    "compare": cap.compare,
    "check": cap.check,
    "explain": cap.explain,
    "report": cap.report,
    "sweep": cap.sweep,
    "workload": cap.describe_workload,
    "import": cap.import_file,
    "audit": cap.audit,
    "render": cap.render_plan,
    "stress": cap.stress,
    "autoscale": cap.autoscale,
    "agreement": cap.agreement,
    "profile": cap.measure_profile,
    "verify": cap.verify,
}
# Commands whose functions have another form: parts of the library, without flags, or two for one.
OTHERS = {
    "curve": cap.curve,
    "queue": cap.queues.MMc,
    "littles-law": cap.queues.LittlesLaw,
    "profiles": cap.bundled_names,
    "schema": cap.schema,
}
# Commands without a function, each with the reason why it has none.
ONLY_COMMANDS: dict[str, str] = {}
OF_THE_TERMINAL = {"file", "out", "output", "as_json", "help", "verbose"}
# Text defaults that Python says by leaving a keyword out, since it may be given in SI instead.
BY_DEFAULT = {"batch_wait": "0ms"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})


@pytest.fixture(scope="module")
def answer(frame: pd.DataFrame) -> PlanAnswer:
    return cap.plan(frame, **ASKED)


def test_every_command_is_a_function_or_says_why_not() -> None:
    assert get_command(app).commands.keys() == VERBS.keys() | OTHERS.keys() | ONLY_COMMANDS.keys()
    named = (ROOT / "docs" / "how-to" / "use-it-from-python.md").read_text(encoding="utf-8")
    assert [name for name in (*OTHERS, *ONLY_COMMANDS) if f"`{name}`" not in named] == []


@pytest.mark.parametrize("name", VERBS)
def test_each_flag_is_a_keyword_of_the_same_name_and_default(name: str) -> None:
    keywords = inspect.signature(VERBS[name]).parameters
    for parameter in get_command(app).commands[name].params:
        if parameter.name in OF_THE_TERMINAL:
            continue
        assert parameter.name in keywords, parameter.name
        default = keywords[parameter.name].default
        if default is inspect.Parameter.empty:
            assert parameter.required
        elif default is None and parameter.name in BY_DEFAULT:
            assert parameter.default in (None, BY_DEFAULT[parameter.name])
        else:
            assert parameter.default == default, parameter.name


def test_a_plan_has_nouns(answer: PlanAnswer) -> None:
    assert (answer.plan.replicas, answer.verdict.value, answer.exit_code) == (1, "met", 0)
    assert answer.performance.response_quantiles_s[0.99].value < 0.08
    assert answer.headroom.accepted_rps > 120.0
    assert answer.hourly_usd is None
    assert len(answer.considered) == len(answer.considered.to_frame()) > 0
    assert answer.considered[0].plan.profile == "profile"


def test_text_and_si_are_the_same_question(frame: pd.DataFrame, answer: PlanAnswer) -> None:
    others = {"rate_rps": 120, "slo_p99_s": 0.08, "batch_wait_s": 0.0}
    kept = {key: value for key, value in ASKED.items() if key not in ("rate", "slo_p99", "batch_wait")}
    assert cap.plan(frame, **kept, **others).to_dict() == answer.to_dict()


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"rate": 120}, "rate=120 has no unit; write text with one, or rate_rps=120"),
        ({"rate": "120"}, "rate '120' has no unit"),
        ({"rate": "120rps", "rate_rps": 120.0}, "rate and rate_rps are both given; keep one"),
        ({"rate_rps": "120"}, "rate_rps must be a number, got '120'"),
        ({"rate_rps": float("nan")}, "rate_rps must be a number, got nan"),
        ({"rate": "120rps", "slo_p99": 80}, "slo_p99=80 has no unit"),
        (
            {"rate": "120rps", "objective": 0.08},
            "objective must be a cap.Objective, got 0.08; or give slo_p99",
        ),
    ],
)
def test_a_number_without_a_unit_is_refused(keywords: dict, said: str) -> None:
    with pytest.raises(cap.CapacityError) as refused:
        cap.plan("resnet50-t4-fp16", **{"slo_p99": "80ms", **keywords})
    assert said in str(refused.value)


@pytest.mark.parametrize("limits", [{0.99: 50}, {0.99: True}])
def test_a_limit_is_seconds_or_text_with_a_unit(limits: dict) -> None:
    with pytest.raises(cap.CapacityError, match="is in seconds"):
        cap.Objective.of(response=limits)
    assert cap.Objective.of(response={0.99: "50ms"}) == cap.Objective.of(response={0.99: 0.05})


def test_a_profile_is_a_name_a_path_a_frame_or_a_profile(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    frame.to_csv(path, index=False)
    from_frame = cap.load_profile(frame)
    assert cap.load_profile(path) == cap.load_profile(str(path)) == from_frame
    assert cap.load_profile(from_frame) is from_frame
    assert cap.load_profile("resnet50-t4-fp16").name == "resnet50-t4-fp16"
    with pytest.raises(cap.CapacityError, match="the DataFrame line 1: no column batch_size"):
        cap.load_profile(pd.DataFrame({"mean_ms": [5.0]}))


def test_the_dict_is_the_json_of_the_command(answer: PlanAnswer, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    frame.to_csv(path, index=False)
    flags = ["--rate", "120rps", "--slo-p99", "80ms", "--batch-wait", "0ms", "--batch-size-max", "4"]
    done = CliRunner().invoke(app, ["plan", "--profile", str(path), *flags, "--precision", "0.2", "--json"])
    assert json.loads(done.stdout) == json.loads(json.dumps(answer.to_dict()))


def all_answers(frame: pd.DataFrame, folder: Path) -> list[Answer]:
    quick = {"precision": 0.2, "requests_max": 2_000_000}
    saved = folder / "plan.json"
    flags = ["--rate", "120rps", "--slo-p99", "80ms", "--batch-wait", "0ms", "--precision", "0.2"]
    frame.to_csv(folder / "p.csv", index=False)
    CliRunner().invoke(app, ["plan", "--profile", str(folder / "p.csv"), *flags, "-o", str(saved)])
    bursts = Path(__file__).parents[1] / "docs" / "examples" / "bursts.csv"
    return [
        cap.plan(frame, **ASKED),
        cap.simulate(frame, 1, rate="120rps", **quick),
        cap.max_rate(frame, 1, slo_p99="80ms", **quick),
        cap.compare(fleet=["replicas=1", "replicas=2"], profile=frame, rate="120rps", **quick),
        cap.check(saved),
        cap.explain(saved),
        cap.sweep(frame, [1, 2], rate_rps=range(50, 151, 50), **quick),
        cap.describe_workload(bursts),
        cap.predict(frame, 1, rate="120rps"),
        cap.simulate_law(cap.queues.MMc(arrival_rate_rps=1, service_rate_rps=2, servers=1), requests=200_000),
    ]


def test_every_answer_has_its_four_forms(frame: pd.DataFrame, tmp_path: Path) -> None:
    for answer in all_answers(frame, tmp_path):
        name = type(answer).__name__
        assert answer.to_dict()["schema_version"] == 1, name
        assert isinstance(answer.to_frame(), pd.DataFrame), name
        assert len(answer.explain().split()) > 10, name
        assert ("<table>" in answer._repr_html_()) is (name != "ExplanationAnswer"), name  # which is text
        assert repr(answer) == f"<{name}: {answer.summary}>"
        assert re.fullmatch(rf"<{name}: [^\n]*\d[^\n.]*(\.\d[^\n.]*)*>", repr(answer)), repr(answer)
        picture = tmp_path / f"{name}.svg"
        answer.plot().save(picture)
        assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml"), name


def test_a_repr_is_the_first_sentence(answer: PlanAnswer, frame: pd.DataFrame) -> None:
    sentence = " ".join(answer.explain().split(".\n")[0].split())
    assert repr(answer) == f"<PlanAnswer: {sentence}>"
    met = sum(one.accepted for one in answer.considered)
    assert repr(answer.considered) == (
        f"<Considered: {len(answer.considered)} candidates, of which {met} meet the objective>"
    )


def test_answers_about_one_fleet_have_its_replicas_and_its_p99(frame: pd.DataFrame, tmp_path: Path) -> None:
    """P99 is that of the response in seconds with its interval, as the JSON of each command has it."""
    plan, simulated, rates, _, checked, *_, predicted, _ = all_answers(frame, tmp_path)
    for one in (plan, simulated, rates, checked, predicted):
        assert one.replicas == one.plan.replicas == 1
        found = one.p99
        assert 0.005 < found.low <= found.value <= found.high < 0.09
    for one in (plan, simulated):
        document = one.to_dict()["performance"]["response_quantiles_s"]["0.99"]
        assert document == {"value": one.p99.value, "low": one.p99.low, "high": one.p99.high}
    assert rates.p99.value == max(
        row["response_p99_s"] for row in rates.rows() if row["verdict"] == "met"
    )  # at the highest rate that meets the objective
    missed = cap.plan(frame, **{**ASKED, "slo_p99": "4ms"})
    assert (missed.replicas, missed.p99) == (None, None)
    none = cap.max_rate(frame, 1, slo_p99="4ms")
    assert (none.replicas, none.p99) == (1, None)


def test_a_lost_request_is_late_in_p99(frame: pd.DataFrame) -> None:
    lossy = cap.simulate(frame, 1, rate="700rps", queue_limit=4, precision=0.2)
    served = lossy.performance.response_quantiles_s[0.99]
    assert lossy.performance.loss_probability > 0.01
    assert lossy.p99.value == float("inf")
    assert served.value < lossy.p99.value
    assert "P99 is infinite" in repr(lossy)


def test_an_answer_is_saved_as_the_command_saves_it(answer: PlanAnswer, tmp_path: Path) -> None:
    answer.save(tmp_path / "plan.json")
    kept, read = answer.to_saved(), read_plan_file(tmp_path / "plan.json")
    assert replace(kept, name=read.name) == read
    with pytest.raises(cap.CapacityError, match="an answer is a .json, .csv, .parquet, .svg or .png file"):
        answer.save(tmp_path / "plan.txt")


def test_what_takes_a_saved_plan_takes_an_answer(answer, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # rendered files name the path that is given
    path = Path("plan.json")
    answer.save(path)
    trouble = {"trigger": "spike:1.5x,1s", "timeout": "1s", "runs": 2, "only_verdict": True, "horizon": "40s"}

    def asked(plan: object) -> list[object]:
        return [
            cap.check(plan, rate="110rps").to_dict(),
            cap.explain(plan).to_dict(),
            cap.stress(
                *([plan] if isinstance(plan, PlanAnswer) else []),
                plan=None if isinstance(plan, PlanAnswer) else plan,
                **trouble,
            ).to_dict(),
            cap.render_plan(plan, "k6"),
        ]

    assert asked(answer) == asked(path)
    two = cap.compare([answer, path], precision=0.2)
    assert [one.plan for one in two.contenders] == [answer.plan] * 2
    assert "plan 1" in two.explain()


def test_what_is_no_plan_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(cap.CapacityError, match="or an answer of capacity.plan; got int"):
        cap.check(7)
    with pytest.raises(cap.CapacityError, match="PlanAnswer is a kind of answer"):
        cap.check(PlanAnswer)
    with pytest.raises(cap.CapacityError, match="to the path of a file, got int"):
        cap.plan(frame, **ASKED).save(5)
    missed = cap.plan(frame, **{**ASKED, "slo_p99": "4ms"})
    with pytest.raises(cap.CapacityError, match="the answer holds no plan"):
        cap.stress(plan=missed, trigger="spike:2x,1s")


def test_an_answer_without_a_plan_is_neither_a_plan_nor_a_profile(frame: pd.DataFrame) -> None:
    predicted = cap.predict(frame, 1, rate="10rps", batch_size_max=1)
    for verb in (cap.autoscale, partial(cap.stress, trigger="spike:2x,1s")):
        with pytest.raises(cap.CapacityError, match="an answer of capacity.plan; got PredictionAnswer"):
            verb(predicted)
    with pytest.raises(cap.CapacityError, match="a DataFrame or a profile, got PredictionAnswer"):
        cap.simulate(predicted, 1, rate="10rps")


def test_jupyter_gets_one_page_and_words(answer: PlanAnswer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would display each piece by itself in a notebook, and keep none for the page."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    displayed: list[object] = []
    monkeypatch.setattr("rich.jupyter.display", lambda *pieces: displayed.append(pieces))
    assert "1 replica" in answer._repr_html_()
    assert "1 replica" in answer.explain()
    assert displayed == []
    shown, _ = DisplayFormatter().format(answer)
    assert shown == {"text/plain": answer.explain(), "text/html": answer._repr_html_()}


def test_a_sweep_is_a_frame_of_its_cells(frame: pd.DataFrame) -> None:
    rows = cap.sweep(frame, 1, rate_rps=[50, 100], precision=0.2).to_frame()
    assert list(rows["arrival_rate_rps"]) == [50.0, 100.0]
    assert (rows["response_p99_s"] > 0.005).all()


def test_where_no_plan_does_there_is_no_plan_and_no_picture(frame: pd.DataFrame) -> None:
    answer = cap.plan(frame, rate="120rps", slo_p99="1ms")
    assert (answer.plan, answer.exit_code, len(answer.to_frame())) == (None, 3, 0)
    assert "service_floor" in set(answer.considered.to_frame()["rejection"])
    with pytest.raises(cap.CapacityError, match="nothing to draw"):
        answer.plot()


def test_importing_capacity_costs_nothing() -> None:
    program = "import sys, capacity as cap; cap.__version__; dir(cap); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert {"plan", "queues", "load_profile"} <= set(dir(cap))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cap.nothing  # noqa: B018


def test_every_law_is_found_by_its_name() -> None:
    law = cap.queues.MMc(arrival_rate_rps=9, service_rate_rps=5, servers=2)
    assert law.performance().response_mean_s == pytest.approx(1.0526315789473684)  # 0.2 / (1 - 0.9^2)
    assert all(getattr(cap.queues, name) is not None for name in dir(cap.queues))
    with pytest.raises(AttributeError, match="no attribute 'MM2'"):
        cap.queues.MM2  # noqa: B018


def test_the_public_names_are_all_there() -> None:
    missing = [name for name in dir(cap) if getattr(cap, name, None) is None]
    assert missing == []


def test_a_prediction_is_what_a_simulation_finds(frame: pd.DataFrame) -> None:
    asked = {"rate": "150rps", "batch_size_max": 4, "quantile": [0.5, 0.99]}
    exact = cap.predict(frame, 2, **asked)
    seen = cap.simulate(frame, 2, **asked)
    assert (exact.performance.kind.value, exact.plan) == ("exact", seen.plan)
    for quantile, found in seen.performance.response_quantiles_s.items():
        distance = abs(found.value - exact.performance.response_quantiles_s[quantile].value)
        assert distance <= 1.5 * found.half_width  # three standard errors
    assert exact.sustainable_rate_rps == seen.sustainable_rate_rps == pytest.approx(2 * 4 / 0.010)


def test_what_has_no_exact_law_is_refused_with_the_way_out(frame: pd.DataFrame) -> None:
    with pytest.raises(cap.DomainError, match="simulate instead"):
        cap.predict(frame, 2, rate="150rps", routing="shared-queue")
    with pytest.raises(cap.UnstableError, match="use at least 2 replicas"):
        cap.predict(frame, 1, rate="400rps")


def test_the_sustainable_rate_is_that_of_the_plan(answer: PlanAnswer, frame: pd.DataFrame) -> None:
    size = answer.plan.batch_size_max
    assert answer.sustainable_rate_rps == pytest.approx(cap.load_profile(frame).throughput_rps(size))
    assert cap.plan(frame, rate="120rps", slo_p99="1ms").sustainable_rate_rps is None


EXPONENTIAL = cap.queues.Duration(family="exponential", mean_s=0.2)
GAMMA = cap.queues.Duration(family="gamma", mean_s=0.2, scv=2.0)
OPEN = {"arrival_rate_rps": 3.0, "service_rate_rps": 5.0}
BATCHES = (0.2, 0.25, 0.3)
LAWS = [
    cap.queues.MM1(**OPEN),
    cap.queues.MMc(**OPEN, servers=1),
    cap.queues.MMcK(arrival_rate_rps=12.0, service_rate_rps=5.0, servers=2, capacity=6),
    cap.queues.MG1(arrival_rate_rps=3.0, service=GAMMA),
    cap.queues.MDc(arrival_rate_rps=6.0, service_time_s=0.2, servers=2),
    cap.queues.GIMc(arrival=GAMMA, service_rate_rps=5.0, servers=2),
    cap.queues.MMPPMc(arrival_rates_rps=(6.0, 1.0), switch_rates_per_s=(1.0, 0.5), service_rate_rps=5.0, servers=1),
    cap.queues.Closed(users=8, think_time_s=1.0, service_time_s=0.2, servers=2),
    cap.queues.RandomSplit(**OPEN, replicas=2),
    cap.queues.RoundRobin(**OPEN, replicas=2),
    cap.queues.ShortestQueue(**OPEN),
    cap.queues.Bulk(arrival_rate_rps=5.0, batch_times_s=BATCHES, batch_wait_max_s=0.1, replicas=2),
    cap.queues.BulkClosed(users=4, think_time_s=0.5, batch_times_s=BATCHES),
]  # fmt: skip


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_law_is_simulated_in_its_own_unit_of_time(law: object) -> None:
    rows = cap.simulate_law(law, requests=400_000, quantile=[0.5, 0.9], seed=3).to_frame()
    known = rows[rows["low"].notna() & (rows["simulation"] > 0.0)]
    wide = 1.5 * (known["high"] - known["low"]) / 2.0 + 1e-9  # three standard errors
    assert {"response_p50_s", "response_p90_s"} <= set(known["quantity"])
    assert ((known["simulation"] - known["theory"]).abs() <= wide).all(), known


def test_more_requests_narrow_the_interval() -> None:
    law = cap.queues.MM1(arrival_rate_rps=3.0, service_rate_rps=5.0)
    few, many = (
        cap.simulate_law(law, requests=n, quantile=0.9).performance.response_quantiles_s[0.9]
        for n in (100_000, 1_600_000)
    )
    assert many.half_width < 0.5 * few.half_width


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(cap.DomainError, match="ErlangA is not a law .* MMcK"):
        cap.simulate_law(
            cap.queues.ErlangA(arrival_rate_rps=3, service_rate_rps=5, servers=1, patience_mean_s=1)
        )
    with pytest.raises(cap.InconclusiveError, match="raise requests"):
        cap.simulate_law(cap.queues.MM1(arrival_rate_rps=4.9, service_rate_rps=5.0), requests=20_000)
    gap = cap.queues.Duration(family="lognormal", mean_s=1.0, scv=2.0)
    with pytest.raises(cap.DomainError, match="lognormal gaps"):
        cap.simulate_law(cap.queues.GGc(arrival=gap, service=EXPONENTIAL, servers=1))


@pytest.mark.long
def test_samples_give_numbers_their_intervals() -> None:
    rate_at_8 = ["serve-mlp-cpu-fp32"], lambda one: [one.throughput_rps(8)]
    (one,) = cap.sampling_intervals(*rate_at_8)
    assert one.low < one.value < one.high
    assert one.value == cap.load_profile("serve-mlp-cpu-fp32").throughput_rps(8)
    (summary,) = cap.sampling_intervals(["resnet50-t4-fp16"], lambda profile: [profile.throughput_rps(8)])
    assert summary.low == summary.value == summary.high  # it has no samples


@pytest.mark.long
def test_a_load_curve_says_where_the_response_explodes(frame: pd.DataFrame) -> None:
    curve = cap.curve(frame, 2, batch_size_max=4)
    loads, rates_rps, found = zip(*curve.points(), strict=True)
    most_rps = 2 * 4 / 0.010
    assert rates_rps == pytest.approx([load * most_rps for load in loads])
    assert (loads[0], loads[-1]) == (0.05, 0.95)
    assert all(later.value > earlier.value for earlier, later in pairwise(found))
    doubled = next(load for load, one in zip(loads, found, strict=True) if one.value >= 2 * found[0].value)
    text = curve.explain()
    assert f"It doubles between load {loads[loads.index(doubled) - 1]:.2f} and {doubled:.2f}" in text
    assert "arrival rate [rps]" in text


def test_the_curve_of_a_report_has_neither_the_least_nor_the_longest_time_of_a_run() -> None:
    """These depend on how long the run is."""
    asked: list[float] = []

    def simulate(quantiles: tuple[float, ...]) -> Callable[..., None]:
        asked.extend(quantiles)
        return lambda *_: None

    scenario = Scenario(
        profile=cap.load_profile("resnet50-t4-fp16"),
        workload=Workload(arrival_rate_rps=100.0, arrivals=GammaArrivals(cv=2.0)),
        plan=BatchPlan(profile="resnet50-t4-fp16", replicas=2, batch_size_max=8),
        objective=Objective.of(response={0.999: 0.04}),
    )
    _distribution(scenario, SimpleNamespace(report=lambda message: None, simulate=simulate))
    assert len(asked) > 10
    assert 0.0 < min(asked) < max(asked) < 1.0
