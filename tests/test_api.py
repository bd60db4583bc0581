"""The Python API: the commands' names and defaults, units that cannot be wrong, and answers in four forms."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import capacity as cap
from capacity import api
from capacity.answers import Answer, PlanAnswer
from cli import app

ASKED = {"rate": "120rps", "slo_p99": "80ms", "batch_wait": "0ms", "batch_size_max": 4, "precision": 0.2}
VERBS = {
    "plan": api.plan,
    "simulate": api.simulate,
    "max-rate": api.max_rate,
    "compare": api.compare,
    "check": api.check,
    "explain": api.explain,
    "sweep": api.sweep,
    "workload": api.describe_workload,
}
OF_THE_TERMINAL = {"file", "plot", "output", "as_json", "help"}
# Text defaults that Python says by leaving a keyword out, since it may be given in SI instead.
BY_DEFAULT = {"batch_wait": "0ms"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})


@pytest.fixture(scope="module")
def answer(frame: pd.DataFrame) -> PlanAnswer:
    return cap.plan(frame, **ASKED)


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
        ({"rate": "120"}, "--rate '120' has no unit"),
        ({"rate": "120rps", "rate_rps": 120.0}, "rate and rate_rps are given both; keep one"),
        ({"rate_rps": "120"}, "rate_rps must be a number, got '120'"),
        ({"rate_rps": float("nan")}, "rate_rps must be a number, got nan"),
        ({"rate": "120rps", "slo_p99": 80}, "slo_p99=80 has no unit"),
    ],
)
def test_a_number_without_a_unit_is_refused(keywords: dict, said: str) -> None:
    with pytest.raises(cap.CapacityError) as refused:
        cap.plan("resnet50-t4-fp16", **{"slo_p99": "80ms", **keywords})
    assert said in str(refused.value)


@pytest.mark.parametrize("limits", [{0.99: 50}, {0.99: True}])
def test_a_limit_is_seconds_or_text_with_a_unit(limits: dict) -> None:
    with pytest.raises(cap.CapacityError, match="is in seconds"):
        cap.LatencyObjective(limits=limits)
    assert cap.LatencyObjective(limits={0.99: "50ms"}) == cap.LatencyObjective(limits={0.99: 0.05})


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
    ]


def test_every_answer_has_its_four_forms(frame: pd.DataFrame, tmp_path: Path) -> None:
    for answer in all_answers(frame, tmp_path):
        name = type(answer).__name__
        assert answer.to_dict()["schema_version"] == 1, name
        assert isinstance(answer.to_frame(), pd.DataFrame), name
        assert len(answer.explain().split()) > 10, name
        assert answer._repr_html_().startswith("<pre>"), name
        picture = tmp_path / f"{name}.svg"
        answer.plot().save(picture)
        assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml"), name


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
