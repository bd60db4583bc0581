"""The sweep: each row what `simulate` says of its cell, for any workers, interrupted or not."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import capacity
from test_sweep_grid import grid_of, profile_of

from capacity.question.grid import Outcome, workloads
from capacity.question.plan import Routing
from capacity.server.batch.stability import load_of
from capacity.traffic.workload import PoissonArrivals, TraceArrivals
from simulations.simulate import Countdown, Simulation, allowance, answers, needed
from simulations.workers import workers

COMMAND = Path(sys.executable).with_name("capacity")
T4 = ["--profile", "resnet50-t4-fp16"]
QUICK = ["--precision", "0.5", "--quantile", "0.5", "--quantile", "0.9"]
GRID = [*T4, "--rate", "300rps:1800rps:300rps", "--replicas", "1:2", "--batch-size-max", "8", *QUICK]
FIRST_LOOK = Simulation(precision=0.5, quantiles=(0.5, 0.9))


def test_each_cell_is_answered_or_has_its_reason() -> None:
    grid = grid_of(
        workloads=workloads(PoissonArrivals(), ["50rps", "1000rps"]),
        batch_sizes_max=(4, 5),
        routings=(Routing.SHARED_QUEUE,),
    )
    cells = list(grid.cells())
    found = list(answers(cells, FIRST_LOOK))
    assert [one.outcome for one in found] == [
        Outcome.ANSWERED, Outcome.PROFILE_RANGE, Outcome.UNSTABLE, Outcome.PROFILE_RANGE
    ]  # fmt: skip
    assert found[0].performance == FIRST_LOOK(cells[0])
    assert found[0].reason == ""
    assert "does not cover 5" in found[1].reason
    assert "use at least 6 replicas" in found[2].reason
    assert all(one.performance is None for one in found[1:])


def test_load_of_one_is_unstable_and_a_limit_on_the_queue_makes_any_load_steady() -> None:
    axes = {"workloads": workloads(PoissonArrivals(), ["200rps"])}
    (cell,) = grid_of(**axes).cells()
    assert load_of(cell) == pytest.approx(1.0)
    assert [one.outcome for one in answers([cell], FIRST_LOOK)] == [Outcome.UNSTABLE]
    (limited,) = answers(list(grid_of(**axes, queue_limit=3).cells()), FIRST_LOOK)
    assert limited.outcome is Outcome.ANSWERED
    assert limited.performance.loss_probability > 0.0


def test_what_cells_need_is_what_their_first_answer_takes() -> None:
    """One request less, and there is none."""
    grid = grid_of(workloads=workloads(PoissonArrivals(), ["50rps", "90rps", "1000rps"]))
    cells = list(grid.cells())
    needs = needed(cells, FIRST_LOOK)
    assert needs[2] is None
    for cell, need in zip(cells[:2], needs[:2], strict=True):
        assert need is not None
        for requests, outcome in ((need, Outcome.ANSWERED), (need - 1, Outcome.INCONCLUSIVE)):
            (found,) = answers([cell], replace(FIRST_LOOK, requests_max=requests))
            assert found.outcome is outcome


@given(st.lists(st.none() | st.integers(1, 1000), max_size=20), st.integers(0, 5000))
def test_as_many_cells_as_fit_share_an_allowance(needs: list[int | None], total: int) -> None:
    most = allowance(needs, total)
    known = [need for need in needs if need is not None]
    fitting = [need for need in known if need <= most]
    assert most in {0, *known}
    assert sum(fitting) <= total
    assert most * len(fitting) <= 8 * total
    larger = min((need for need in known if need > most), default=None)
    if larger is not None:
        more = [need for need in known if need <= larger]
        assert sum(more) > total or larger * len(more) > 8 * total


def test_a_budget_or_a_trace_that_does_not_suffice_is_inconclusive_and_the_rest_goes_on() -> None:
    few = replace(FIRST_LOOK, requests_max=10)
    trace = workloads(TraceArrivals(instants_s=(0.0, 0.1, 0.2), name="short"), [])
    cells = [*grid_of().cells(), *grid_of(workloads=trace).cells()]
    found = list(answers(cells, few))
    assert [one.outcome for one in found] == [Outcome.INCONCLUSIVE] * 2
    assert "raise --requests-max" in found[0].reason
    assert "short has 3 arrivals" in found[1].reason


def test_what_was_simulated_without_numbers_is_inconclusive() -> None:
    """A flood that loses every counted request: an error for `simulate`, a row for a sweep."""
    grid = grid_of(
        workloads=workloads(PoissonArrivals(), ["1e9rps"]),
        queue_limit=0,
        profiles=(profile_of(mean_s=100.0),),
    )
    (found,) = answers(list(grid.cells()), FIRST_LOOK)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "requests are rejected" in found.reason


class Recorder:
    """A mapper that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, function: Any, tasks: Iterable[Any], /) -> Iterable[Any]:
        for task in tasks:
            self.asked.append(type(task).__name__)
            yield function(task)


@pytest.mark.parametrize(("count", "spread"), [(2, "Task"), (3, "Scenario")])
def test_many_cells_are_spread_themselves_and_few_by_their_replications(count, spread, monkeypatch) -> None:
    monkeypatch.setattr("simulations.simulate.CELLS_TO_SPREAD", 3)
    recorder = Recorder()
    grid = grid_of(workloads=workloads(PoissonArrivals(), [f"50rps:{50 + count - 1}rps:1rps", "900rps"]))
    found = list(answers(list(grid.cells()), replace(FIRST_LOOK, mapper=recorder)))
    assert [one.outcome for one in found] == [Outcome.ANSWERED] * count + [Outcome.UNSTABLE]
    assert set(recorder.asked) == {spread}
    assert spread == "Task" or len(recorder.asked) == count


def test_what_is_refused_reaches_no_worker() -> None:
    def none(function: Any, tasks: Iterable[Any], /) -> Iterable[Any]:
        assert list(tasks) == []
        return []

    grid = grid_of(workloads=workloads(PoissonArrivals(), ["1000rps:1500rps:1rps"]))
    found = list(answers(list(grid.cells()), replace(FIRST_LOOK, mapper=none)))
    assert [one.outcome for one in found] == [Outcome.UNSTABLE] * 501


def test_spread_cells_give_the_same_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = list(grid_of(workloads=workloads(PoissonArrivals(), ["50rps:350rps:50rps"])).cells())
    alone = list(answers(cells, FIRST_LOOK))
    monkeypatch.setattr("simulations.simulate.CELLS_TO_SPREAD", 2)
    with workers(2) as mapper:
        assert list(answers(cells, replace(FIRST_LOOK, mapper=mapper))) == alone
    assert [one.outcome for one in alone] == [Outcome.ANSWERED] * 3 + [Outcome.UNSTABLE] * 4


def test_countdown_tells_the_rest_at_the_pace_of_this_run() -> None:
    now, told = [0.0], []
    countdown = Countdown(10, 4, told.append, lambda: now[0])
    for now[0] in (100.0, 100.5, 200.0, 12_000.0, 12_100.0, 12_100.1):
        countdown.tick()
    assert told == [
        "going on after 4 of 10 cells, which an earlier run has done", "cell 5 of 10, about 8 min left",
        "cell 7 of 10, about 3 min left", "cell 8 of 10, about 1.7 h left", "cell 9 of 10, about 40 min left",
        "cell 10 of 10",
    ]  # fmt: skip


def test_a_row_is_what_simulate_says(tmp_path: Path) -> None:
    done = capacity(tmp_path, "sweep", *GRID, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout, parse_constant=pytest.fail)["rows"]
    assert [(row["arrival_rate_rps"], row["replicas"]) for row in rows] == [
        (float(rate), replicas) for rate in range(300, 1801, 300) for replicas in (1, 2)
    ]
    assert {row["outcome"] for row in rows} == {"answered", "unstable"}
    for row in rows:
        assert (row["load"] >= 1.0) == (row["outcome"] == "unstable") == (row["response_mean_s"] is None)
    row = rows[3]
    simulated = capacity(
        tmp_path, "simulate", *T4, "--rate", "600rps", "--replicas", "2", "--batch-size-max", "8", *QUICK, "--json"
    )  # fmt: skip
    performance = json.loads(simulated.stdout)["performance"]
    for name in (
        "load", "utilization", "throughput_rps", "batch_size_mean", "wait_mean_s", "loss_probability",
    ):  # fmt: skip
        assert row[name] == performance[name]
    for what in ("wait", "response"):
        for quantile, named in (("0.5", "p50"), ("0.9", "p90")):
            interval = performance[f"{what}_quantiles_s"][quantile]
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
                assert row[f"{what}_{named}{end}_s"] == interval[key]


@pytest.mark.long
def test_the_three_files_and_stdout_say_the_same_for_any_workers(tmp_path: Path) -> None:
    from pyarrow import parquet

    stdout = capacity(tmp_path, "sweep", *GRID, "--json", "--workers", "1").stdout
    for name in ("x.csv", "x.json", "x.parquet"):
        done = capacity(tmp_path, "sweep", *GRID, "-o", name, "--workers", "2", "--json")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary == {
            "schema_version": 1, "file": name, "rows": 12, "answered": 7, "unstable": 5,
            "profile_range": 0, "inconclusive": 0,
        }  # fmt: skip
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == stdout
    rows = json.loads(stdout)["rows"]
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == rows
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [list(row) for row in read] == [list(row) for row in rows]
    for one, other in zip(read, rows, strict=True):
        assert {k: "" if v is None else str(v) for k, v in other.items()} == one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.json", "x.parquet"]


def test_table_on_stdout(tmp_path: Path) -> None:
    done = capacity(
        tmp_path, "sweep", *T4, "--rate", "300rps", "--rate", "3000rps", "--replicas", "1", *QUICK
    )
    assert done.returncode == 0
    for part in ("replicas", "P90", "answered", "unstable", "round-robin"):
        assert part in done.stdout
    assert " of 2" in done.stderr
    assert "done in" in done.stderr


def test_an_inconclusive_row_exits_4(tmp_path: Path) -> None:
    done = capacity(
        tmp_path, "sweep", *T4, "--rate", "900rps", "--replicas", "1:2", "--requests-max", "9", "--json"
    )
    assert done.returncode == 4
    assert {row["outcome"] for row in json.loads(done.stdout)["rows"]} == {"inconclusive"}


def test_ten_thousand_refusals_take_no_time(tmp_path: Path) -> None:
    began_s = time.monotonic()
    done = capacity(
        tmp_path, "sweep", *T4, "--rate", "9000rps:18999rps:1rps", "--replicas", "1", "-o", "x.csv", "--json"
    )
    assert json.loads(done.stdout)["unstable"] == 10_000
    assert time.monotonic() - began_s < 60.0  # simulated they would take hours


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGTERM, signal.SIGKILL))],
)
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(tmp_path: Path, number: int) -> None:
    arguments = ["sweep", *GRID, "--workers", "2", "-o"]
    whole = capacity(tmp_path, *arguments, "whole.csv")
    assert whole.returncode == 0
    with subprocess.Popen(
        [COMMAND, *arguments, "x.csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as program:  # fmt: skip
        kept = tmp_path / "x.csv.partial"
        while not kept.exists() or kept.read_bytes().count(b"\n") < 4:
            assert program.poll() is None
            time.sleep(0.01)
        program.send_signal(number)
        _, errors = program.communicate(timeout=30)
    assert not (tmp_path / "x.csv").exists()
    done = kept.read_bytes().count(b"\n") - 1
    if number == signal.SIGINT:
        assert errors.splitlines()[-1] == (
            f"interrupted; {done} of 12 rows are kept in x.csv.partial; the same command goes on from there"
        )
        assert program.returncode == 128 + number
    else:  # the process ends at once, and what it had written stays
        assert program.returncode == -number
    with kept.open("ab") as file:
        file.write(b'["resnet50-t4-fp16",300.')
    again = capacity(tmp_path, *arguments, "x.csv")
    assert again.returncode == 0, again.stderr
    assert f"going on after {done} of 12 cells" in again.stderr
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert again.stdout.split() == [w.replace("whole.csv", "x.csv") for w in whole.stdout.split()]
    assert not kept.exists()


def test_other_settings_are_refused_until_fresh(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("batch_size,mean_ms\n1,5\n8,9\n", encoding="utf-8")
    arguments = ["sweep", "--profile", "mine.csv", "--rate", "9rps", "--replicas", "1", *QUICK, "-o", "x.csv"]
    done = capacity(tmp_path, *arguments)
    assert done.returncode == 0
    text = (tmp_path / "x.csv").read_text(encoding="utf-8")
    from capacity.answer.sweep import open_journal

    with open_journal(tmp_path / "x.csv.partial", {"seed": 1}, [], 1, fresh=True):
        pass
    done = capacity(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unfinished sweep with other settings (versions, profiles, arrival_rates_rps" in done.stderr
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == text
    done = capacity(tmp_path, *arguments, "--fresh")
    assert done.returncode == 0
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == text
    assert not (tmp_path / "x.csv.partial").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = capacity(tmp_path, "sweep", *GRID, "-o", "locked/x.csv")
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


ONE = [*T4, "--rate", "9rps", "--replicas", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*T4, "--rate", "9rps", "--replicas", "0"], "replicas must be from 1 to 1000000, got 0"),
        ([*T4, "--rate", "9rps", "--replicas", "0:3"], "replicas must be from 1 to 1000000, got 0"),
        ([*T4, "--rate", "9rps", "--replicas", "1:100001"], "more than 100000 values"),
        ([*T4, "--rate", "9rps", "--replicas", "3:1"], "runs from high to low"),
        ([*T4, "--rate", "9rps", "--replicas", "many"], "'many' is not a whole number"),
        ([*T4, "--replicas", "1"], "no arrival rate given"),
        ([*T4, "--rate", "9", "--replicas", "1"], "--rate '9' has no unit; write 9rps"),
        ([*T4, "--rate", "nan", "--replicas", "1"], "--rate must be finite, got 'nan'"),
        ([*T4, "--rate", "1rps:1e12rps:1rps", "--replicas", "1"], "more than 100000 values"),
        ([*T4, "--rate", "1rps:1000rps:1rps", "--replicas", "1:1000"], "the grid has 1000000 cells"),
        ([*ONE, *T4], "--profile resnet50-t4-fp16 is given twice"),
        ([*ONE, "--batch-size-max", "0"], "--batch-size-max must be >= 1"),
        ([*ONE, "--batch-wait", "5"], "--batch-wait '5' has no unit"),
        ([*ONE, "--routing", "rr"], "use one of round-robin"),
        ([*ONE, "--queue-limit=-1"], "the queue limit must be >= 0, got -1"),
        ([*ONE, "--quantile", "99"], "such as 0.99"),
        ([*ONE, "--seed", "9223372036854775808"], "--seed of a sweep must be at most"),
        ([*ONE, "-o", "x.txt"], "an answer is a .json, .csv, .parquet, .svg or .png file"),
        ([*ONE, "-o", "gone/x.csv"], "no such directory"),
        ([*ONE, "-o", "."], "an answer is a .json, .csv, .parquet, .svg or .png file"),
        ([*ONE, "--workers", "2", "--cluster", "tcp://h:1"], "give either --workers or --cluster"),
        ([*ONE, "-o", "x.csv", "--cluster", "h:1"], "is not an address"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)  # fmt: skip
@pytest.mark.timeout(60)
def test_bad_input_is_one_clear_line_and_exit_2_at_once(tmp_path, arguments, message) -> None:
    done = capacity(tmp_path, "sweep", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
