"""-o means one thing for every verb that answers: the ending of each file decides what is written."""

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from in_process import capacity

import capacity as cap

PROFILE = ["--profile", "one.csv"]
QUICK = ["--precision", "0.2", "--requests-max", "2000000"]
VERBS = {
    "plan": [*PROFILE, "--rate", "100rps", "--slo-p99", "40ms", "--batch-wait", "0ms", *QUICK],
    "simulate": [*PROFILE, "--rate", "100rps", "--replicas", "1", *QUICK],
    "max-rate": [*PROFILE, "--replicas", "1", "--slo-p99", "40ms", *QUICK],
    "compare": [*PROFILE, "--rate", "100rps", "--fleet", "replicas=1", "--fleet", "replicas=2", *QUICK],
    "check": ["--plan", "kept.json"],
    "explain": ["kept.json"],
    "stress": ["--plan", "kept.json", "--trigger", "lose:1,5s", "--timeout", "1s", "--replicas", "2", "--runs", "2",
               "--only-verdict"],
    "autoscale": [*PROFILE, "--rate", "60rps", "--between", "00:00-00:10", "--slo-p99", "400ms", "--runs", "2",
                  "--only-verdict"],
    "workload": ["trace.csv"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.csv").write_text("batch_size,mean_ms\n1,5\n2,7\n4,10\n", encoding="utf-8")
    gaps = "\n".join(str(0.01 * number) for number in range(200))
    (tmp_path / "trace.csv").write_text(f"t_s\n{gaps}\n", encoding="utf-8")
    answer = cap.plan(tmp_path / "one.csv", rate="100rps", slo_p99="40ms", batch_wait="0ms", precision=0.2)
    answer.save(tmp_path / "kept.json")
    return tmp_path


SLOW = ("max-rate", "explain", "stress", "autoscale")


@pytest.mark.parametrize(
    "verb", [pytest.param(one, marks=pytest.mark.long) if one in SLOW else one for one in VERBS]
)
def test_every_verb_that_answers_writes_by_the_ending(folder, verb):
    wanted = ["a.json", "a.csv", "a.parquet", "a.svg"]
    done = capacity(folder, verb, *VERBS[verb], *(word for name in wanted for word in ("-o", name)), "--json")
    assert done.returncode in (0, 3), done.stderr
    said, kept = json.loads(done.stdout), json.loads((folder / "a.json").read_text())
    assert kept.get("format") == "capacity-plan" if verb == "plan" else kept == said
    rows = list(csv.DictReader((folder / "a.csv").read_text().splitlines()))
    table = pq.read_table(folder / "a.parquet")
    assert (len(rows), list(rows[0]) if rows else []) == (table.num_rows, table.column_names)
    assert (folder / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("verb", ["plan", "simulate"])
def test_a_stream_without_an_ending_gets_json(folder, verb):
    with (folder / "stream").open("wb") as stream:
        done = capacity(folder, verb, *VERBS[verb], "--json", "-o", f"/dev/fd/{stream.fileno()}")
    assert done.returncode == 0, done.stderr
    kept = json.loads((folder / "stream").read_text())
    assert kept.get("format") == "capacity-plan" if verb == "plan" else kept == json.loads(done.stdout)


def test_parquet_without_pyarrow_is_refused_before_any_work(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = capacity(folder, "simulate", *VERBS["simulate"], "-o", "a.parquet")
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert "needs pyarrow" in done.stderr


def test_a_plan_has_a_page_too(folder):
    done = capacity(folder, "plan", *VERBS["plan"], "-o", "a.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (folder / "a.html").read_text()


def test_an_ending_that_says_nothing_is_refused_before_any_work(folder):
    for verb, more in (("plan", ", .html"), ("simulate", "")):
        done = capacity(folder, verb, *VERBS[verb], "-o", "a.txt")
        assert done.returncode == 2
        assert "cannot write a.txt: an answer is a .json" in done.stderr
        assert (".html" in done.stderr) == bool(more)
    assert not (folder / "a.txt").exists()


def test_a_row_without_a_column_leaves_it_empty(folder):
    from capacity.answer.sweep import write_rows

    write_rows(folder / "r.csv", [{"a": 1, "b": "x"}, {"a": 2.5, "c": True}])
    assert (folder / "r.csv").read_text() == "a,b,c\n1,x,\n2.5,,True\n"
    write_rows(folder / "none.csv", [])
    assert (folder / "none.csv").read_text() == "\n"
