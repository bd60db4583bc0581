"""The demo, all of it, short: each stage works and has its line, and the report is complete; no figure is asserted."""

import inspect
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.profile.load import load_profile
from serve_api import demo as module
from serve_api.balancer import installed
from serve_api.demo import Demo, DemoSettings, kept, made_of, placed
from serve_api.models.dataset import breast_cancer
from serve_api.models.store import ArtifactStore
from serve_api.quantize import quantize_into
from serve_api.replica import Replica, pinned, running
from serve_api.train import ModelKind, Recipe, train_into

ROOT = Path(__file__).parents[2]
ANSWERED = (0, 3, 4)  # agree; objective missed; disagree, or invalid, as on a busy machine


STAGES = ["train", "publish", "serve", "canary", "profile", "plan", "render", "deploy", "verify", "report"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What one short demo prints, and the folder that it leaves."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "serve_api.demo", "-o", str(folder), "--short"],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in ANSWERED, done.stderr
    assert done.stderr == ""
    return done.stdout, folder


@pytest.fixture(scope="module")
def out(shown):
    return shown[1]


@pytest.mark.long
def test_each_stage_has_a_line_with_its_time(shown):
    lines = shown[0].splitlines()
    assert [line.split()[0] for line in lines] == STAGES
    assert all(re.search(r" \([0-9.]+ (µs|ms|s|min)\)$", line) for line in lines), lines


@pytest.mark.long
def test_each_stage_left_its_work(out):
    for store, versions in (("artifacts/mlp", ("v1.0.0", "v1.1.0")), ("built/mlp", ("v1.0.0",))):
        assert ArtifactStore(out / store).versions() == versions
    served = ArtifactStore(out / "artifacts" / "mlp")
    assert (served.current(), served.load().metadata.precision) == (
        "v1.1.0",
        "int8",
    )  # the canary was promoted
    profile = load_profile(str(out / "profile.json"))
    assert profile.batch_sizes == (1, 4, 8)
    assert {len(timing.samples_s) for timing in profile.timings} == {40}
    assert (profile.source["threads"], profile.source["cores_usable"]) == ("1", "1")
    assert profile.source["onnxruntime"] == version("onnxruntime")
    plan = json.loads((out / "plan.json").read_text())["answer"]
    assert plan["verdict"] == "met"
    assert plan["recommendation"]["replicas"] >= 2  # one may be lost
    (run,) = json.loads((out / "verification.json").read_text())["runs"]
    assert len(run["sent_by_url"]) == (plan["recommendation"]["replicas"] if installed() is None else 1)
    assert run["statuses"].get("200", 0) > 500


@pytest.mark.long
def test_what_was_deployed_is_what_was_rendered(out):
    """The settings of the servers, and the balancer's file with their addresses in place of names."""
    size = json.loads((out / "plan.json").read_text())["answer"]["recommendation"]["batch_size_max"]
    assert f"SERVE_BATCH_SIZE_MAX={size}\n" in (out / "deploy" / "serve-api.env").read_text()
    if installed() is not None:
        (here,) = (out / "deploy").glob("*.here")
        assert len(re.findall(r"^ +server .*127\.0\.0\.1:\d+", here.read_text(), re.M)) >= 2


@pytest.mark.long
def test_the_report_is_complete(out):
    text = (out / "report.md").read_text()
    for stage in STAGES[:-1]:
        assert re.search(rf"^{stage} ", text, re.M), stage
    for title in ("Publish", "Promote", "Profile", "Plan", "Verify"):
        assert f"## {title}\n" in text
    assert re.search(r"^ +measured +predicted +error", text, re.M)
    assert (out / "report.html").stat().st_size > 10_000
    for name in (str(out.parent), os.uname().nodename):
        assert name not in text


def test_a_replica_for_each_core_and_no_more():
    cores = sorted(os.sched_getaffinity(0))
    assert placed(len(cores)) == cores
    with pytest.raises(InconclusiveError, match="one for each replica; lower the rate"):
        placed(len(cores) + 1)


def test_what_is_started_within_is_pinned_and_nothing_after():
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(InputError, match="core 4096 is not usable"), pinned(4096):
        pass


def test_a_server_that_does_not_start_says_why(tmp_path):
    replica = Replica(artifacts=tmp_path / "nothing", batch_size_max=8)
    refused = pytest.raises(DependencyError, match="the server did not start: .*nothing")
    with refused, running(replica, tmp_path / "log"):
        pass


def test_the_usual_settings_stand_in_one_place():
    usual = DemoSettings(output=Path("demo"))
    asked = inspect.signature(module.demo).parameters
    for name in ("output", "rate", "slo_p99", "duration", "runs", "samples"):
        assert asked[name].default == getattr(usual, name), name
    for file in ("justfile", "README.md"):
        (flags,) = re.findall(r"^\s*python -m serve_api\.demo(.*)$", (ROOT / file).read_text(), re.M)
        for flag, value in re.findall(r"--([a-z0-9-]+) (\S+)", flags):
            assert value == str(getattr(usual, flag.replace("-", "_"))), f"{file}: --{flag}"


@pytest.mark.parametrize("words", [["--rate", "120"], ["--slo-p99", "60"], ["--duration", "60"]])
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(tmp_path, words):
    done = CliRunner().invoke(module.app, ["-o", str(tmp_path / "out"), *words])
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_model_of_an_earlier_demo_is_kept_if_it_is_what_is_asked_for(tmp_path):
    small = Recipe(kind=ModelKind.MLP, hidden=4)
    store, eight = ArtifactStore(tmp_path / "mlp"), ArtifactStore(tmp_path / "mlp-int8")
    assert kept(store, small) is None
    found = train_into(store, small, "v1.0.0")
    assert kept(store, small) is None  # not current
    store.set_current("v1.0.0")
    assert kept(store, small).version == "v1.0.0"
    assert kept(store, Recipe(kind=ModelKind.MLP, hidden=5)) is None
    assert made_of(eight, found) is None
    quantize_into(eight, found, breast_cancer(), "v1.1.0")
    assert made_of(eight, found).version == "v1.1.0"
    assert made_of(eight, train_into(store, small, "v1.0.1")) is None


def without_work(monkeypatch):
    """Stages that need a server or a model say a word."""
    for name in ("_train", "_publish", "_try_canary", "_profile", "_write_report"):
        monkeypatch.setattr(Demo, name, lambda _: "done")
    monkeypatch.setattr(Demo, "_serve", lambda *_: "done")


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_a_command_that_fails_ends_the_demo_as_it_ended(tmp_path, monkeypatch, code):
    done = subprocess.CompletedProcess([], code, stdout="", stderr="said why")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    without_work(monkeypatch)
    ended = CliRunner().invoke(module.app, ["-o", str(tmp_path)])
    assert ended.exit_code == code
    assert "said why" in ended.output


def test_without_a_plan_nothing_is_deployed_and_its_line_says_so(tmp_path, monkeypatch):
    (tmp_path / "plan.json").write_text('{"answer": {"recommendation": null, "verdict": "missed"}}')
    done = subprocess.CompletedProcess([], 3, stdout="nothing meets it", stderr="")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    without_work(monkeypatch)
    ended = CliRunner().invoke(module.app, ["-o", str(tmp_path), "--slo-p99", "3ms", "--rate", "120rps"])
    assert ended.exit_code == 3, ended.output
    assert "no plan for P99 <= 3ms at 120rps with a replica gone; nothing was deployed" in ended.output
    assert not any(line.startswith(("render", "deploy", "verify")) for line in ended.output.splitlines())
