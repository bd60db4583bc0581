"""The GitHub Action and the pre-commit hook: valid, and the script of the action run as a runner would."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from planned import plan_document

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
CHECK = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "check")
HOW_TO = (ROOT / "docs" / "how-to" / "gate-a-release.md").read_text("utf-8")


def test_the_action_has_the_form_of_one() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    done = subprocess.run([*checker, str(ROOT / "action.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pre_commit_takes_the_manifest() -> None:
    clientlib = pytest.importorskip("pre_commit.clientlib", reason="needs pre-commit")
    (hook,) = clientlib.load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    assert (hook["id"], hook["language"]) == ("capacity-check", "python")


def test_every_input_is_used_and_none_is_part_of_a_script() -> None:
    used = set(re.findall(r"inputs\.([a-z-]+)", json.dumps(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_every_input_of_the_check_is_a_flag_of_it() -> None:
    text = subprocess.run(
        [Path(sys.executable).with_name("capacity"), "check", "--help"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    for name in set(ACTION["inputs"]) - {"working-directory", "python-version"}:
        assert f"--{name} " in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plan of five replicas for 1000 rps, and measurements by which it holds, and does not."""
    (tmp_path / "my plan.json").write_text(json.dumps(plan_document(survival=None)), encoding="utf-8")
    for name, mean_ms in (("same", 10), ("slower", 90)):
        rows = "".join(f"{size},{mean_ms}\n" for size in (1, 64))
        (tmp_path / f"{name}.csv").write_text(f"batch_size,mean_ms\n{rows}", encoding="utf-8")
    return tmp_path


def run(folder: Path, **inputs: str) -> tuple[int, str, str, str]:
    """What the step ends with: its code, its log, what it hands on, and the summary."""
    variables = dict.fromkeys(CHECK["env"], "") | {"PLAN": "my plan.json"} | inputs
    paths = {name: str(folder / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in paths.values():
        Path(path).unlink(missing_ok=True)
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    here |= {name: os.environ[name] for name in {"NUMBA_CACHE_DIR"} & set(os.environ)}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", CHECK["run"]],  # as a runner calls it
        capture_output=True, text=True, cwd=folder, env=here | variables | paths, check=False, timeout=240,
    )  # fmt: skip
    told = [Path(path).read_text("utf-8") if Path(path).exists() else "" for path in paths.values()]
    return done.returncode, done.stdout + done.stderr, *told


@pytest.mark.long
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_step_passes_and_fails_with_the_plan(folder: Path) -> None:
    code, log, outputs, summary = run(folder, PROFILES="same.csv\n")
    assert (code, outputs) == (0, "exit-code=0\n"), log
    assert "::notice" in log
    assert "|" in summary
    code, log, outputs, _ = run(folder, PROFILES="resnet50=slower.csv")
    assert (code, outputs) == (3, "exit-code=3\n"), log
    assert "::error" in log
    code, log, outputs, _ = run(folder, PROFILES="same.csv", RATE="fast")
    assert (code, outputs) == (2, "exit-code=2\n")
    assert "--rate 'fast'" in log


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_an_input_is_never_run(folder: Path) -> None:
    names = ("PLAN", "PROFILES", "RATE", "BASELINE", "ARRIVALS", "REQUESTS_MAX")
    for given in (names, names[1:]):  # all at once; and beside a plan that is read
        code, log, _, _ = run(folder, **dict.fromkeys(given, '$(touch owned) `touch owned`"; touch owned; "'))
        assert code == 2, log
    assert not (folder / "owned").exists()


def test_the_hook_calls_the_check() -> None:
    assert HOOK["entry"] == "capacity check --plan"
    assert HOOK["pass_filenames"] is False


def test_the_how_to_shows_both() -> None:
    workflows = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", HOW_TO, re.DOTALL)]
    hooks = [hook["id"] for one in workflows for repo in one.get("repos", ()) for hook in repo["hooks"]]
    assert hooks == [HOOK["id"]]
    steps = [step for one in workflows for job in one.get("jobs", {}).values() for step in job["steps"]]
    (used,) = [step for step in steps if step.get("uses", "").startswith("tools/")]
    assert set(used["with"]) <= set(ACTION["inputs"])
