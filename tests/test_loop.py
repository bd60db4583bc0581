"""The loop, all of it, short: each stage works and the report is complete; no figure is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.profile_files import load_profile
from serve_api.local_server import Replica, pinned, running
from serve_api.loop_stages import LoopSettings, cores, placed

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
