"""`capacity report` as a user runs it: what it writes, what it says, and how it ends."""

import json
from pathlib import Path

import pytest
from saved_reports import Page
from typer.testing import CliRunner

from cli import app

ASKED = ["--rate", "500rps", "--slo-p99", "80ms", "--batch-wait", "0ms"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("batch_size,mean_ms\n1,5\n2,7\n4,10\n", encoding="utf-8")
    return tmp_path


def test_a_plan_becomes_a_page(folder: Path) -> None:
    run = CliRunner()
    assert run.invoke(app, ["plan", "--profile", "mine.csv", *ASKED, "-o", "plan.json"]).exit_code == 0
    done = run.invoke(app, ["report", "plan.json", "-o", "report.html"])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "2 replicas of mine with batches up to 4 meet P99 <= 80 ms" in done.stderr
    assert done.stderr.endswith("See report.html.\n")
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert page.all("h1")[0].text in done.stderr.replace("<=", "≤")
    assert "capacity report plan.json -o report.html" in page.all("pre")[0].text
    assert "capacity plan --profile mine.csv --rate 500rps" in page.all("pre")[0].text
    assert Path("report.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_a_file_that_holds_no_plan_ends_with_2(folder: Path) -> None:
    run = CliRunner()
    missed = ["plan", "--profile", "mine.csv", "--rate", "500rps", "--slo-p99", "1ms", "-o", "none.json"]
    assert run.invoke(app, missed).exit_code == 3
    Path("other.json").write_text(json.dumps({"format": "other"}), encoding="utf-8")
    said = {
        "none.json": "holds no plan: its verdict is missed",
        "other.json": "not a saved plan",
        "absent.json": "cannot read absent.json",
    }
    for name, words in said.items():
        done = run.invoke(app, ["report", name, "-o", "report.html"])
        assert done.exit_code == 2, name
        assert words in done.stderr
    assert not Path("report.html").exists()
    done = run.invoke(app, ["report", "none.json"])
    assert (done.exit_code, "--output" in done.stderr) == (2, True)
