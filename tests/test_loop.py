"""The loop, all of it, short: each stage works and the report is complete; no figure is asserted."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.profile_files import load_profile
from serve_api import loop_stages
from serve_api.local_server import Replica, pinned, running
from serve_api.loop import loop
from serve_api.loop_model import free_version, kept
from serve_api.loop_report import _model
from serve_api.loop_stages import Loop, LoopSettings, cores, placed
from serve_api.store import ArtifactStore
from serve_api.train import app as train_app
from serve_api.train import train_into
from serve_api.training import ModelKind, Recipe

ROOT = Path(__file__).parent.parent
ANSWERED = (0, 3, 4)  # agree; objective missed; disagree, or invalid, as on a busy machine


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder that one short loop leaves."""
    folder = tmp_path_factory.mktemp("loop") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "serve_api.loop", "-o", str(folder), "--short", "--json"],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in ANSWERED, done.stderr
    assert json.loads(done.stdout)["stages"] == json.loads((folder / "report.json").read_text())["stages"]
    return folder


def test_each_stage_was_there_and_left_its_work(out):
    found = json.loads((out / "report.json").read_text())
    assert [stage["stage"] for stage in found["stages"]] == ["train", "measure", "plan", "deploy and verify"]
    profile = load_profile(str(out / "profile.json"))
    assert profile.batch_sizes == (1, 4, 8)
    assert profile.request_work_s >= 0.0
    assert found["plan"]["verdict"] == "met"
    assert found["verification"]["verdict"] in ("agree", "disagree", "unsure", "invalid", "missed")
    assert found["verification"]["runs"][0]["statuses"].get("200", 0) > 500


def test_the_report_is_complete(out):
    text = (out / "report.md").read_text()
    for title in ("Predicted beside measured", "Promises", "Profile", "Stages", "Machine"):
        assert f"## {title}\n" in text
    for quantity in ("mean", "p50", "p95", "throughput", "batch", "utilization"):
        assert f"| {quantity} |" in text
    assert "mlp v1.0.0 (2 hidden layers of 256, 73,985 parameters), 120rps, P99 <= 60ms: " in text
    assert str(out.parent) not in text
    assert os.uname().nodename not in text


def test_a_replica_for_each_core_and_no_more():
    assert placed(len(cores())) == cores()
    with pytest.raises(InconclusiveError, match="each takes one; lower the rate"):
        placed(len(cores()) + 1)


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


def test_short_is_short_in_all_that_takes_time():
    whole = LoopSettings(output=Path("out"))
    short = whole.shortened()
    assert (short.hidden, short.samples, short.runs) < (whole.hidden, whole.samples, whole.runs)
    assert (short.rate, short.slo_p99, short.output) == (whole.rate, whole.slo_p99, whole.output)


def test_the_usual_settings_stand_in_one_place():
    usual = LoopSettings(output=Path("loop"))
    asked = inspect.signature(loop).parameters
    for name in ("output", "model", "rate", "slo_p99", "duration", "runs", "samples"):
        assert asked[name].default == getattr(usual, name), name
    for file in ("justfile", "README.md"):
        (flags,) = re.findall(r"^\s*python -m serve_api\.loop(.*)$", (ROOT / file).read_text(), re.M)
        for flag, value in re.findall(r"--([a-z0-9-]+) (\S+)", flags):
            assert value == str(getattr(usual, flag.replace("-", "_"))), f"{file}: --{flag}"


# The model that is measured.

SMALL = Recipe(kind=ModelKind.MLP, hidden=4)


@pytest.fixture
def store(tmp_path):
    """A small mlp, current."""
    built = ArtifactStore(tmp_path / "artifacts" / "mlp")
    train_into(built, SMALL, "v1.0.0")
    built.set_current("v1.0.0")
    return built


def test_a_recipe_knows_how_large_its_model_is(store, tmp_path):
    logistic = Recipe(kind=ModelKind.LOGISTIC)
    trained = train_into(ArtifactStore(tmp_path / "artifacts" / "logistic"), logistic, "v1.0.0")
    assert trained.metadata.parameters == logistic.parameters(30) == 31
    assert store.load().metadata.parameters == SMALL.parameters(30) == 149
    assert Recipe(kind=ModelKind.MLP).parameters(30) == 16_912_385


def test_only_the_model_that_is_asked_for_is_kept(store, tmp_path):
    assert kept(store, SMALL) is not None
    for other in (
        Recipe(kind=ModelKind.MLP, hidden=5),
        Recipe(kind=ModelKind.MLP, hidden=4, seed=1),
        Recipe(kind=ModelKind.LOGISTIC),
    ):
        assert kept(store, other) is None, other
    assert kept(ArtifactStore(tmp_path / "none"), SMALL) is None
    assert free_version(ArtifactStore(tmp_path / "none")) == "v1.0.0"
    assert free_version(store) == "v1.0.1"
    (store.root / "current").unlink()
    assert kept(store, SMALL) is None


def test_a_damaged_model_of_an_earlier_loop_is_refused(store):
    with (store.root / "v1.0.0" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="copy the version anew"):
        kept(store, SMALL)


def test_a_model_of_another_size_is_not_measured_as_the_one_that_is_asked_for(tmp_path, monkeypatch):
    def in_process(command, answers=(0,)):
        done = CliRunner().invoke(train_app, command[3:])
        assert done.exit_code == 0, done.output

    monkeypatch.setattr(loop_stages, "_run", in_process)

    def train(**settings):
        loop = Loop(settings=LoopSettings(output=tmp_path, **settings), tell=lambda message: None)
        return loop._train()

    assert train(hidden=4) == {
        "name": "mlp", "version": "v1.0.0", "hidden": 4, "parameters": 149, "trained": True
    }  # fmt: skip
    again, wider = train(hidden=4), train(hidden=6)
    assert (again["version"], again["trained"]) == ("v1.0.0", False)
    assert (wider["version"], wider["hidden"], wider["trained"]) == ("v1.0.1", 6, True)
    store = ArtifactStore(tmp_path / "artifacts" / "mlp")
    assert (store.current(), store.previous()) == ("v1.0.1", "v1.0.0")
    (row,) = json.loads((tmp_path / "request.json").read_text())["instances"]
    assert row == json.loads(store.load().scaler)["mean"]
    assert _model(again) == "mlp v1.0.0 (2 hidden layers of 4, 149 parameters, of an earlier loop)"
    logistic = train(model=ModelKind.LOGISTIC)
    assert _model(logistic) == "logistic v1.0.0 (31 parameters)"


def test_a_model_that_is_none_is_refused_before_anything_is_made(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "serve_api.loop", "-o", str(tmp_path / "out"), "--model", "forest"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--model 'forest' is unknown; use one of logistic, mlp" in done.stderr
    assert not (tmp_path / "out").exists()
