"""The loop, all of it, short: each stage works and the report is complete; no figure is asserted."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.profile_files import load_profile
from serve_api import loop_stages
from serve_api.local_server import Replica, pinned, running
from serve_api.loop import app as loop_app
from serve_api.loop import loop
from serve_api.loop_command import run
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


@pytest.mark.long
def test_each_stage_was_there_and_left_its_work(out):
    found = json.loads((out / "report.json").read_text())
    assert [stage["stage"] for stage in found["stages"]] == ["train", "measure", "plan", "deploy and verify"]
    profile = load_profile(str(out / "profile.json"))
    assert profile.batch_sizes == (1, 4, 8)
    assert {len(timing.samples_s) for timing in profile.timings} == {40}
    assert (profile.source["threads"], profile.source["cores_usable"]) == ("1", "1")
    assert profile.source["onnxruntime"] == version("onnxruntime")
    assert found["plan"]["verdict"] == "met"
    (run,) = found["verification"]["runs"]
    assert len(run["sent_by_url"]) == found["plan"]["recommendation"]["replicas"]
    assert run["statuses"].get("200", 0) > 500
    assert json.loads((out / "verification.json").read_text()) == found["verification"]


@pytest.mark.long
def test_the_report_is_complete(out):
    text = (out / "report.md").read_text()
    for title in ("Predicted beside measured", "Promises", "Profile", "Stages", "Machine"):
        assert f"## {title}\n" in text
    for quantity in ("mean", "p50", "p95", "throughput", "batch", "utilization"):
        assert f"| {quantity} |" in text
    assert "mlp v1.0.0 (2 hidden layers of 256, 73,985 parameters), 120rps, P99 <= 60ms: " in text
    assert re.search(r"^\| P99 \| 60 ms \| .* \| (met|missed|unproven|not measured) \|$", text, re.M)
    assert re.search(r"^\| loss \| .* pp \| ", text, re.M)
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

    monkeypatch.setattr(loop_stages, "run", in_process)

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


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"rate": "120"}, "--rate '120' has no unit"),
        ({"slo_p99": "60"}, "--slo-p99 '60' has no unit"),
        ({"slo_p99": "0ms"}, "P99 limit must be positive"),
        ({"duration": "60"}, "--duration '60' has no unit"),
        ({"duration": "0s"}, "--duration must be above 0"),
        ({"runs": 0}, "--runs must be from 1"),
        ({"samples": 0}, "--samples must be from 1"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(flags, said):
    with pytest.raises(InputError, match=re.escape(said)):
        LoopSettings(output=Path("out"), **flags)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    for output in (tmp_path / "out", tmp_path / "out" / "deeper"):
        loop = Loop(settings=LoopSettings(output=output), tell=lambda message: None)
        with pytest.raises(InputError, match="cannot be a folder"):
            loop.run()


@pytest.mark.parametrize(
    ("code", "kind"), [(1, DependencyError), (2, InputError), (4, InconclusiveError), (5, DependencyError)]
)
def test_a_command_that_fails_ends_the_loop_as_it_ended(code, kind):
    with pytest.raises(kind, match=f"ended with {code}; see above"):
        run([sys.executable, "-c", f"import sys; print('{{}}'); sys.exit({code})"])
    answered = [sys.executable, "-c", "import sys; print('{}'); sys.exit(4)"]
    assert run(answered, (0, 3, 4)) == "{}\n"
    silent = [sys.executable, "-c", "import sys; sys.exit(4)"]
    with pytest.raises(InconclusiveError):  # it had no answer, and said why
        run(silent, (0, 3, 4))


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_command_that_is_interrupted_may_say_what_it_has(tmp_path, number, stop):
    """Ctrl-C reaches both; SIGTERM is passed on."""
    child = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): time.sleep(0.5); pathlib.Path('told').write_text('all'); sys.exit(1)\n"
        "signal.signal(signal.SIGINT, end); signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path('begun').write_text('')\n"
        "time.sleep(30)"
    )
    parent = (
        "import typer, sys\n"
        "from capacity.guarded import Guarded\n"
        "from serve_api.loop_command import run\n"
        "app = typer.Typer(cls=Guarded, pretty_exceptions_enable=False)\n"
        "@app.callback(invoke_without_command=True)\n"
        f"def main(): run([sys.executable, '-c', {child!r}])\n"
        "app()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        until_s = time.monotonic() + 30.0
        while not (tmp_path / "begun").exists() and time.monotonic() < until_s:
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (tmp_path / "told").read_text() == "all"
    assert said.splitlines()[-1] == stop


def refused(needed_s, measure="response_quantiles_s"):
    return {"rejection": {"limit": "latency", "allowed": 0.003, "needed": needed_s, "measure": measure}}


def test_without_a_plan_nothing_is_deployed_and_the_report_says_why(tmp_path, monkeypatch):
    profile = WORK | {"timings": [{"batch_size": 1, "samples_s": [0.004, 0.005]}]}
    plan = {
        "verdict": "missed", "exit_code": 3, "recommendation": None,
        "considered": [refused(0.0052), refused(0.0048), refused(0.1, "loss_probability"), {"rejection": None}],
    }  # fmt: skip
    model = {"name": "mlp", "version": "v1.0.0", "hidden": 4, "parameters": 149, "trained": True}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    monkeypatch.setattr(Loop, "_train", lambda self: model)
    monkeypatch.setattr(Loop, "_measure", lambda self: tmp_path / "profile.json")
    monkeypatch.setattr(Loop, "_plan", lambda self, profile: plan)
    done = CliRunner().invoke(loop_app, ["-o", str(tmp_path), "--slo-p99", "3ms", "--json"])
    assert done.exit_code == 3, done.output
    text = (tmp_path / "report.md").read_text()
    assert "P99 <= 3ms: no plan, the verdict is missed; the lowest P99 of what was tried is 4.8 ms." in text
    assert "Nothing was deployed." in text
    assert "## Profile" in text
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["verification"] is None
    assert [stage["stage"] for stage in found["stages"]] == ["train", "measure", "plan"]


WORK = {"batch_work_s": 0.0, "request_work_s": 0.0001, "request_overhead_s": 0.001}
