"""`capacity plan` with a list or a range, and the map of `capacity sweep`: screens, exit codes, and files of -o."""

import json
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import in_process
import pandas as pd
import pytest

TIMES = "batch_size,mean_ms\n1,5\n2,7\n4,10\n"
ASKED = ["--profile", "mine.csv", "--rate", "300rps", "--batch-wait", "0ms", "--precision", "0.2"]
FILES = ("csv", "parquet", "json", "svg", "png", "html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile, and the files of a frontier."""
    path = tmp_path_factory.mktemp("frontier")
    (path / "mine.csv").write_text(TIMES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def done(folder: Path) -> "CompletedProcess[str]":
    """A frontier without a plan at its first value, written in every form."""
    out = [word for ending in FILES for word in ("-o", f"frontier.{ending}")]
    found = in_process.capacity(folder, "plan", *ASKED, "--slo-p99", "4ms,15ms:45ms:30ms", *out)
    assert found.returncode == 3, found.stderr
    return found


def test_the_screen_is_a_sentence_and_a_row_for_each_value(done: "CompletedProcess[str]") -> None:
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert lines[0].startswith("From P99 <= 45 ms to 15 ms the fleet grows from ")
    assert [line.split()[:2] for line in lines if line.split()[1:2] == ["ms"]] == [
        ["4", "ms"], ["15", "ms"], ["45", "ms"]
    ]  # fmt: skip
    place = lines.index("In brackets: 95 % intervals. Each plan is confirmed by itself.")
    assert lines[place + 1].startswith("Note")
    assert lines[-1] == "More: -v (2 more notes)."
    assert len(lines) <= 10


def test_each_file_holds_every_point(done: "CompletedProcess[str]", folder: Path) -> None:
    rows = pd.read_csv(folder / "frontier.csv")
    assert rows["slo_p99_s"].tolist() == [0.004, 0.015, 0.045]
    assert rows["verdict"].tolist() == ["missed", "met", "met"]
    pd.testing.assert_frame_equal(rows, pd.read_parquet(folder / "frontier.parquet"), check_dtype=False)
    document = json.loads((folder / "frontier.json").read_text(encoding="utf-8"))
    assert [one["verdict"] for one in document["points"]] == ["missed", "met", "met"]
    assert b"limit of P99 (ms)" in (folder / "frontier.svg").read_bytes()
    assert (folder / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert "From P99 ≤ 45 ms to 15 ms" in (folder / "frontier.html").read_text(encoding="utf-8")
    assert done.stderr.startswith("plan 2 of 3: ")


def test_json_on_the_screen_is_what_the_file_holds(done: "CompletedProcess[str]", folder: Path) -> None:
    again = in_process.capacity(folder, "plan", *ASKED, "--slo-p99", "4ms,15ms:45ms:30ms", "--json")
    assert again.returncode == 3
    assert again.stdout == (folder / "frontier.json").read_text(encoding="utf-8")


def test_a_point_is_the_plan_that_is_asked_alone(folder: Path) -> None:
    plan = partial(in_process.capacity, folder, "plan", *ASKED, "--json")
    (point,) = json.loads(plan("--slo-p99", "15ms:15ms:1ms").stdout)["points"]
    alone = json.loads(plan("--slo-p99", "15ms").stdout)
    assert alone.pop("schema_version") == 1
    assert point.pop("at") == {"slo_p99_s": 0.015}
    assert point == alone


def test_without_any_plan_nothing_is_drawn(folder: Path) -> None:
    found = in_process.capacity(
        folder, "plan", *ASKED, "--slo-p99", "3ms,4ms", "-o", "none.svg", "-o", "none.csv"
    )
    assert (found.returncode, found.stdout.splitlines()[0]) == (
        3,
        "There is no plan at any of the 2 points.",
    )
    assert "no plan at any point, so none.svg is not drawn" in found.stderr
    assert not (folder / "none.svg").exists()
    assert len(pd.read_csv(folder / "none.csv")) == 2


def test_a_frontier_is_no_saved_plan(done: "CompletedProcess[str]", folder: Path) -> None:
    found = in_process.capacity(folder, "check", "--plan", "frontier.json")
    assert (found.returncode, found.stderr) == (
        2,
        "error: frontier.json: a frontier of 3 plans, not a saved plan; make it again with capacity plan ... -o plan.json "
        "at one of its values\n",
    )


def test_defaults_from_a_file_may_be_a_list(folder: Path) -> None:
    path = folder / "capacity.toml"
    path.write_text('[plan]\nslo-p99 = "15ms,45ms"\nreplicas-max = "4"\n', encoding="utf-8")
    try:
        found = in_process.capacity(folder, "plan", *ASKED, "--json")
    finally:
        path.unlink()
    assert len(json.loads(found.stdout)["points"]) == 2


def test_a_sweep_draws_its_replicas_and_batches_as_a_map(folder: Path) -> None:
    asked = ["sweep", "--profile", "mine.csv", "--rate", "300rps", "--replicas", "1,2", "--precision", "0.2"]
    sizes = ["--batch-size-max", "1,4", "--limit", "20ms"]
    found = in_process.capacity(folder, *asked, *sizes, "-o", "map.svg", "-o", "rows.csv")
    assert found.returncode == 0, found.stderr
    picture = (folder / "map.svg").read_text(encoding="utf-8")
    assert "P99 of the response at 300 rps, and what stays within 20 ms" in picture
    assert "unstable" in picture
    assert len(pd.read_csv(folder / "rows.csv")) == 4
    refused = [
        (["--limit", "20", "-o", "no.svg"], "--limit '20' has no unit; write 20ms or 20s"),
        (["--limit", "20ms"], "--limit is what a picture marks; give -o map.svg too"),
    ]
    for flags, said in refused:
        none = in_process.capacity(folder, *asked, *flags)
        assert (none.returncode, none.stdout, none.stderr) == (2, "", f"error: {said}\n")
