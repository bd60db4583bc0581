"""The loop, all of it, short: each stage works and the report is complete; no figure is asserted."""

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
from serve_api import loop as module
from serve_api.loop import Loop, LoopSettings, kept, placed
from serve_api.models.store import ArtifactStore
from serve_api.replica import Replica, pinned, running
from serve_api.train import ModelKind, Recipe, train_into

ROOT = Path(__file__).parents[2]
ANSWERED = (0, 3, 4)  # agree; objective missed; disagree, or invalid, as on a busy machine


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder that one short loop leaves."""
    folder = tmp_path_factory.mktemp("loop") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "serve_api.loop", "-o", str(folder), "--short"],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in ANSWERED, done.stderr
    assert done.stdout.rstrip() == (folder / "report.md").read_text().rstrip()
    return folder


@pytest.mark.long
def test_each_stage_left_its_work(out):
    profile = load_profile(str(out / "profile.json"))
    assert profile.batch_sizes == (1, 4, 8)
    assert {len(timing.samples_s) for timing in profile.timings} == {40}
    assert (profile.source["threads"], profile.source["cores_usable"]) == ("1", "1")
    assert profile.source["onnxruntime"] == version("onnxruntime")
    plan = json.loads((out / "plan.json").read_text())["answer"]
    assert plan["verdict"] == "met"
    (run,) = json.loads((out / "verification.json").read_text())["runs"]
    assert len(run["sent_by_url"]) == plan["recommendation"]["replicas"]
    assert run["statuses"].get("200", 0) > 500


@pytest.mark.long
def test_the_report_is_complete(out):
    text = (out / "report.md").read_text()
    assert "mlp v1.0.0, 73,985 parameters, 120rps, P99 <= 60ms." in text
    for title in ("Profile", "Plan", "Verify"):
        assert f"## {title}\n\nIt took " in text
    assert re.search(r"^ +measured +predicted +error", text, re.M)
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
    usual = LoopSettings(output=Path("loop"))
    asked = inspect.signature(module.loop).parameters
    for name in ("output", "model", "rate", "slo_p99", "duration", "runs", "samples"):
        assert asked[name].default == getattr(usual, name), name
    for file in ("justfile", "README.md"):
        (flags,) = re.findall(r"^\s*python -m serve_api\.loop(.*)$", (ROOT / file).read_text(), re.M)
        for flag, value in re.findall(r"--([a-z0-9-]+) (\S+)", flags):
            assert value == str(getattr(usual, flag.replace("-", "_"))), f"{file}: --{flag}"


@pytest.mark.parametrize(
    "words", [["--rate", "120"], ["--slo-p99", "60"], ["--duration", "60"], ["--model", "tree"]]
)
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(tmp_path, words):
    done = CliRunner().invoke(module.app, ["-o", str(tmp_path / "out"), *words])
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_model_of_an_earlier_loop_is_kept_if_it_is_what_is_asked_for(tmp_path):
    small = Recipe(kind=ModelKind.MLP, hidden=4)
    store = ArtifactStore(tmp_path / "mlp")
    assert kept(store, small) is None
    train_into(store, small, "v1.0.0")
    assert kept(store, small) is None  # not current
    store.set_current("v1.0.0")
    assert kept(store, small).version == "v1.0.0"
    assert kept(store, Recipe(kind=ModelKind.MLP, hidden=5)) is None


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_a_command_that_fails_ends_the_loop_as_it_ended(tmp_path, monkeypatch, code):
    monkeypatch.setattr(
        module.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, stdout="")
    )
    monkeypatch.setattr(Loop, "_train", lambda _: "mlp v1.0.0")
    monkeypatch.setattr(Loop, "_measure", lambda _: None)
    assert CliRunner().invoke(module.app, ["-o", str(tmp_path)]).exit_code == code


def test_without_a_plan_nothing_is_deployed_and_the_report_says_so(tmp_path, monkeypatch):
    def missed(work):
        work.exit_code = 3

    monkeypatch.setattr(Loop, "_train", lambda _: "mlp v1.0.0")
    monkeypatch.setattr(Loop, "_measure", lambda _: None)
    monkeypatch.setattr(Loop, "_plan", missed)
    done = CliRunner().invoke(module.app, ["-o", str(tmp_path), "--slo-p99", "3ms"])
    assert done.exit_code == 3, done.output
    text = (tmp_path / "report.md").read_text()
    assert "mlp v1.0.0, 120rps, P99 <= 3ms." in text
    assert "Nothing was deployed." in text
