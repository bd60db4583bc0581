"""Rows of a sweep, the files they are written to, and the journal from which an interrupted sweep goes on."""

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_sweep_grid import profile_of

from capacity.answer.sweep import (
    FILE_BYTES_MAX,
    LINE_BYTES_MAX,
    Row,
    SweepTable,
    check_file,
    kept_rows,
    open_journal,
    outcome_document,
    sweep_document,
    sweep_exit_code,
    write_file,
)
from capacity.errors import DependencyError, InputError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.contention import measured
from capacity.question.grid import Answer, Outcome
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.render.tables import sweep_table
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.rows import BatchRows
from capacity.server.batch.stability import load_of
from capacity.traffic.workload import Workload
from capacity.units import format_rate

ROOT = Path(__file__).parents[2]
TABLE = SweepTable(form=BatchRows(), quantiles=(0.5, 0.999), seed=3, confidence=0.9)
NAMES = [column.name for column in TABLE.columns]
SETTINGS = {"seed": 3, "profiles": {"made-up": "abc"}}
CELL = Scenario(
    profile=profile_of(),
    workload=Workload(arrival_rate_rps=50.0),
    plan=BatchPlan(profile="made-up", replicas=2, batch_size_max=4),
)
PERFORMANCE = Performance(
    kind=Kind.SIMULATION,
    load=0.1,
    utilization=0.2,
    throughput_rps=49.9,
    wait_quantiles_s={0.5: Interval.exact(0.0), 0.999: Interval(value=0.02, low=0.0, high=math.inf)},
    response_quantiles_s={0.5: Interval.exact(0.01), 0.999: Interval(value=0.03, low=0.02, high=0.05)},
)
ANSWERED = TABLE.row(CELL, Answer(outcome=Outcome.ANSWERED, performance=PERFORMANCE), load_of(CELL))
UNSTABLE = TABLE.row(CELL, Answer(outcome=Outcome.UNSTABLE, reason='load, "1.2" >= 1'), load_of(CELL))
ROWS = [ANSWERED, UNSTABLE]


def known(row: tuple) -> dict:
    return dict(zip(NAMES, row, strict=True))


def test_a_row_has_every_number_with_its_unit() -> None:
    row = known(ANSWERED)
    assert list(row)[:5] == ["profile", "arrival_rate_rps", "arrivals", "replicas", "batch_size_max"]
    assert (row["profile"], row["arrival_rate_rps"], row["arrivals"]) == ("made-up", 50.0, "poisson")
    assert (row["replicas"], row["batch_size_max"], row["batch_wait_max_s"]) == (2, 4, 0.0)
    assert (row["routing"], row["timer"], row["queue_limit"]) == ("round-robin", "oldest", None)
    assert (row["seed"], row["confidence"], row["request_overhead_s"]) == (3, 0.9, 0.0)
    assert (row["outcome"], row["reason"], row["load"]) == ("answered", None, pytest.approx(0.125))
    assert (row["utilization"], row["throughput_rps"], row["batch_size_mean"]) == (0.2, 49.9, None)
    assert [row[f"response_p99_9{end}_s"] for end in ("", "_low", "_high")] == [0.03, 0.02, 0.05]
    assert [row[f"wait_p50{end}_s"] for end in ("", "_low", "_high")] == [0.0, 0.0, 0.0]
    assert row["wait_p99_9_high_s"] is None  # JSON knows no infinity


def test_a_row_says_how_the_contention_is_known() -> None:
    def contention(instances: int, replicas: int, slowdowns: list[float] | None) -> object:
        profile = replace(
            CELL.profile,
            instances_per_device=instances,
            contention=None if slowdowns is None else measured(slowdowns),
        )
        cell = replace(CELL, profile=profile, plan=replace(CELL.plan, replicas=replicas))
        row = known(TABLE.row(cell, Answer(outcome=Outcome.UNSTABLE, reason="x"), load_of(cell)))
        assert row["instances_per_device"] == instances
        return row["contention"]

    assert contention(1, 2, None) == "none"
    assert contention(2, 2, None) == "assumed"
    assert contention(2, 2, [1.0, 1.46]) == "measured"


def test_unknown_quantiles_are_empty() -> None:
    fewer = replace(PERFORMANCE, response_quantiles_s={0.5: Interval.exact(0.01)})
    row = known(TABLE.row(CELL, Answer(outcome=Outcome.ANSWERED, performance=fewer), load_of(CELL)))
    assert [row[f"response_p50{end}_s"] for end in ("", "_low", "_high")] == [0.01] * 3
    assert [row[f"response_p99_9{end}_s"] for end in ("", "_low", "_high")] == [None] * 3
    assert [row[f"wait_p99_9{end}_s"] for end in ("", "_low", "_high")] == [0.02, 0.0, None]


def test_a_row_without_an_answer_has_a_reason_and_no_number_of_a_performance() -> None:
    row = known(UNSTABLE)
    assert (row["outcome"], row["reason"]) == ("unstable", 'load, "1.2" >= 1')
    after = NAMES[NAMES.index("load") + 1 :]
    assert len(after) > 10
    assert {row[name] for name in after} == {None}


def test_quantiles_near_each_other_have_names_of_their_own() -> None:
    table = SweepTable(form=BatchRows(), quantiles=(0.0125, 0.125, 0.99, 0.999), seed=0, confidence=0.95)
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert {"response_p1_25_s", "response_p12_5_s", "response_p99_s", "response_p99_9_low_s"} <= set(names)


def test_what_a_column_cannot_hold_is_refused_before_the_sweep() -> None:
    with pytest.raises(InputError, match="--seed of a sweep must be at most 9223372036854775807"):
        SweepTable(form=BatchRows(), quantiles=(0.5,), seed=2**63, confidence=0.95)
    with pytest.raises(InputError, match="100 quantiles at most, got 101"):
        SweepTable(form=BatchRows(), quantiles=[n / 1000 for n in range(1, 102)], seed=0, confidence=0.95)


def test_exit_code_is_4_where_any_row_is_inconclusive() -> None:
    inconclusive = TABLE.row(CELL, Answer(outcome=Outcome.INCONCLUSIVE, reason="budget"), load_of(CELL))
    beyond = TABLE.row(CELL, Answer(outcome=Outcome.PROFILE_RANGE, reason="range"), load_of(CELL))
    assert sweep_exit_code(TABLE.columns, []) == sweep_exit_code(TABLE.columns, [*ROWS, beyond]) == 0
    assert sweep_exit_code(TABLE.columns, [*ROWS, inconclusive, beyond]) == 4
    assert outcome_document(TABLE.columns, [*ROWS, beyond, beyond], "x.csv") == {
        "file": "x.csv", "rows": 4, "answered": 1, "unstable": 1, "profile_range": 2, "inconclusive": 0,
    }  # fmt: skip


def test_the_table_shows_no_quantile_without_its_interval() -> None:
    from rich.console import Console

    console = Console(width=160)
    with console.capture() as text:
        console.print(sweep_table(TABLE, ROWS))
    answered, unstable = [line for line in text.get().splitlines() if "rps" in line]
    assert "30 (20 to 50) ms" in answered
    assert answered.split()[-1] == "answered"
    assert "P99.9" in text.get()
    assert unstable.split()[-6:-4] == ["0.125", "unstable"]
    assert "batch wait" not in text.get()
    open_ended = replace(PERFORMANCE, response_quantiles_s=PERFORMANCE.wait_quantiles_s)
    row = TABLE.row(CELL, Answer(outcome=Outcome.ANSWERED, performance=open_ended), load_of(CELL))
    with console.capture() as text:
        console.print(sweep_table(TABLE, [row]))
    assert text.get().split()[-3:] == ["or", "more)", "answered"]
    waiting = replace(CELL, plan=replace(CELL.plan, batch_wait_max_s=0.002))
    with console.capture() as text:
        console.print(
            sweep_table(
                TABLE, [ANSWERED, TABLE.row(waiting, Answer(outcome=Outcome.UNSTABLE), load_of(waiting))]
            )
        )
    assert "batch wait" in text.get()
    assert "2 ms" in text.get()


def test_the_table_says_why_there_are_no_numbers() -> None:
    from rich.console import Console

    def shown(*rows: Row, width: int = 100) -> str:
        console = Console(width=width)
        with console.capture() as text:
            console.print(sweep_table(TABLE, rows))
        return text.get()

    def row(outcome: Outcome, rate_rps: float) -> Row:
        cell = replace(CELL, workload=replace(CELL.workload, arrival_rate_rps=rate_rps))
        return TABLE.row(cell, Answer(outcome=outcome, reason="a long sentence"), load_of(cell))

    most_rps = CELL.workload.arrival_rate_rps / load_of(CELL)
    at_most = f"at most {format_rate(most_rps)}"
    refused = shown(
        ANSWERED,
        row(Outcome.UNSTABLE, 1.25 * most_rps),
        row(Outcome.INCONCLUSIVE, 0.98 * most_rps),
        row(Outcome.INCONCLUSIVE, 0.5 * most_rps),
        row(Outcome.PROFILE_RANGE, 0.5 * most_rps),
    ).splitlines()
    assert all(len(line) <= 100 for line in refused)
    assert [line.rstrip().split("  ")[-1].strip() for line in refused[-6:-1]] == [
        "answered", at_most, at_most, "too few requests", "beyond the profile",
    ]  # fmt: skip
    assert "why" in refused[2]
    assert "why" not in shown(ANSWERED)


def test_what_is_the_same_in_all_rows_is_the_title_of_the_table() -> None:
    from rich.console import Console

    console = Console(width=160)
    elsewhere = replace(CELL, plan=replace(CELL.plan, routing=Routing.RANDOM))
    other = TABLE.row(elsewhere, Answer(outcome=Outcome.UNSTABLE), load_of(elsewhere))
    with console.capture() as text:
        console.print(sweep_table(TABLE, ROWS))
    assert text.get().splitlines()[0].strip() == "made-up, round-robin"
    with console.capture() as text:
        console.print(sweep_table(TABLE, [ANSWERED, other]))
    title, heads = text.get().splitlines()[0].strip(), text.get()
    assert title == "made-up"
    assert "routing" in heads


def test_csv(tmp_path: Path) -> None:
    write_file(tmp_path / "x.csv", TABLE.columns, ROWS)
    data = (tmp_path / "x.csv").read_bytes()
    assert data.count(b"\n") == 3
    assert b"\r" not in data
    header, one, other = csv.reader(data.decode().splitlines())
    assert header == NAMES
    read = dict(zip(header, one, strict=True))
    assert (read["response_p99_9_s"], read["replicas"], read["queue_limit"]) == ("0.03", "2", "")
    assert dict(zip(header, other, strict=True))["reason"] == 'load, "1.2" >= 1'
    assert "nan" not in data.decode().lower()
    assert "None" not in data.decode()


@pytest.mark.parametrize("reason", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path, reason: str) -> None:
    row = TABLE.row(CELL, Answer(outcome=Outcome.INCONCLUSIVE, reason=reason), load_of(CELL))
    write_file(tmp_path / "x.csv", TABLE.columns, [row])
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        (read,) = csv.DictReader(file)
    assert read["reason"] == f"'{reason}"


def test_json_is_what_stdout_would_get(tmp_path: Path) -> None:
    write_file(tmp_path / "x.JSON", TABLE.columns, ROWS)
    answer = json.loads((tmp_path / "x.JSON").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert answer == {"schema_version": 1, **sweep_document(TABLE.columns, ROWS)}
    assert answer["rows"] == [known(row) for row in ROWS]


def test_parquet(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_file(tmp_path / "x.parquet", TABLE.columns, ROWS)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.to_pylist() == [known(row) for row in ROWS]
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["profile"], types["queue_limit"], types["abandon_probability"]) == (
        "string",
        "int64",
        "double",
    )
    write_file(tmp_path / "y.parquet", TABLE.columns, ROWS)
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()


def test_parquet_without_pyarrow_names_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DependencyError, match=r"pip install 'capacity-planner\[parquet\]'"):
        check_file(tmp_path / "x.parquet")
    check_file(tmp_path / "x.csv")


def test_a_file_that_is_there_is_replaced_whole_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old", encoding="utf-8")
    (tmp_path / "x.csv").symlink_to("real.csv")
    write_file(tmp_path / "x.csv", TABLE.columns, ROWS)
    assert (tmp_path / "x.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text(encoding="utf-8").startswith("profile,")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.csv", "x.csv"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "x.csv").write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DependencyError, match="cannot write .*x.csv: No space left on device"):
        write_file(tmp_path / "x.csv", TABLE.columns, ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", "a sweep is a .csv, .json or .parquet file; change its name"),
        ("x.xlsx", "change its name"),
        ("x.csv.gz", "change its name"),
        ("folder.csv", "it is a directory; give a file name"),
        ("gone/x.csv", "no such directory"),
        ("x\0.csv", "cannot write"),
        ("\x1b[31m/x.csv", r"cannot write .*\?\[31m/x.csv: no such directory"),
        ("a" * 300 + ".csv", "cannot write"),
    ],
)
def test_outputs_that_are_refused_before_the_sweep(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()

    def begin() -> None:
        check_file(tmp_path / name)
        with kept_rows(tmp_path / name, SETTINGS, TABLE.columns, 2, fresh=False):
            pass

    with pytest.raises((InputError, DependencyError), match=message):
        begin()


def begin(tmp_path: Path, rows: list, cells: int = 3) -> Path:
    """The journal of a sweep that was interrupted after some rows."""

    def sweep() -> None:
        with kept_rows(tmp_path / "x.csv", SETTINGS, TABLE.columns, cells, fresh=False) as kept:
            for row in rows:
                kept.append(row)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep()
    return tmp_path / "x.csv.partial"


def going_on(tmp_path: Path, cells: int = 3, **settings: object) -> list:
    with open_journal(
        tmp_path / "x.csv.partial", {**SETTINGS, **settings}, TABLE.columns, cells, fresh=False
    ) as journal:
        return journal.rows


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    begin(tmp_path, ROWS)
    assert going_on(tmp_path) == ROWS
    assert not (tmp_path / "x.csv").exists()


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    def sweep() -> None:
        with kept_rows(tmp_path / "x.csv", SETTINGS, TABLE.columns, 3, fresh=False) as kept:
            kept.append(ANSWERED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        sweep()
    assert stop.value.__notes__ == [
        "1 of 3 rows are kept in x.csv.partial; the same command goes on from there"
    ]


def test_an_interrupt_before_the_first_row_leaves_nothing(tmp_path: Path) -> None:
    begin(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_a_whole_sweep_leaves_its_file_alone(tmp_path: Path) -> None:
    begin(tmp_path, [ANSWERED])
    with kept_rows(tmp_path / "x.csv", SETTINGS, TABLE.columns, 2, fresh=False) as kept:
        assert kept == [ANSWERED]
        kept.append(UNSTABLE)
    write_file(tmp_path / "y.csv", TABLE.columns, ROWS)
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "y.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "y.csv"]


def test_every_row_is_in_the_file_before_the_next_is_worked_on(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j", SETTINGS, TABLE.columns, 2, fresh=False) as journal:
        for number, row in enumerate(ROWS, start=1):
            journal.append(row)
            assert (tmp_path / "j").read_bytes().count(b"\n") == 1 + number


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_last_line_that_was_cut_off_is_dropped(tmp_path: Path, kept: int) -> None:
    journal = begin(tmp_path, ROWS)
    header, one, other = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(header + one + other[:kept])
    assert going_on(tmp_path) == [ANSWERED]
    with kept_rows(tmp_path / "x.csv", SETTINGS, TABLE.columns, 2, fresh=False) as rows:
        rows.append(UNSTABLE)
    write_file(tmp_path / "y.csv", TABLE.columns, ROWS)
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "y.csv").read_bytes()


def test_nothing_of_a_longer_line_that_was_cut_off_remains(tmp_path: Path) -> None:
    journal = begin(tmp_path, [UNSTABLE])
    with journal.open("ab") as file:
        file.write(json.dumps(ANSWERED).encode())
    with open_journal(journal, SETTINGS, TABLE.columns, 3, fresh=False) as again:
        again.append(UNSTABLE)
    assert journal.read_bytes().endswith(b"\n")
    assert going_on(tmp_path) == [UNSTABLE, UNSTABLE]


def test_a_header_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    journal = begin(tmp_path, ROWS)
    whole = journal.read_bytes()
    for kept in (0, 1, 20):
        journal.write_bytes(whole[:kept])
        assert going_on(tmp_path) == []
        assert journal.read_bytes() == whole.splitlines(keepends=True)[0]


def test_the_journal_of_other_settings_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    journal = begin(tmp_path, ROWS)
    before = journal.read_bytes()
    with pytest.raises(InputError, match=r"x.csv.partial .* other settings \(seed\); finish .* --fresh"):
        going_on(tmp_path, seed=4)
    with pytest.raises(InputError, match=r"\(profiles\)"):
        going_on(tmp_path, profiles={"made-up": "abd"})
    assert journal.read_bytes() == before
    with open_journal(journal, {**SETTINGS, "seed": 4}, TABLE.columns, 3, fresh=True) as again:
        assert again.rows == []
    assert going_on(tmp_path, seed=4) == []


@pytest.mark.parametrize(
    "text", ["my diary", "my diary\n", "[1]\n", "{}\n", '{"capacity_sweep": 2}\n', "[" * 9999 + "\n", "\0\n", "\xff\n"]
)  # fmt: skip
def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv.partial").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="is not the journal of a sweep; move it away"):
        going_on(tmp_path)
    assert (tmp_path / "x.csv.partial").read_bytes() == text.encode("latin-1")


def hostile() -> list[str]:
    good = json.loads(json.dumps(ANSWERED))
    load, outcome, replicas, reason = (NAMES.index(n) for n in ("load", "outcome", "replicas", "reason"))
    bad = [good[:-1], [*good, 1.0], {"load": 1.0}, "row", 7, None]
    for at, value in (
        (load, "0.5"), (load, True), (load, 1), (outcome, "maybe"), (outcome, None), (outcome, []),
        (replicas, 2.0), (replicas, True), (replicas, -1), (replicas, 2**63), (reason, 5), (reason, {}),
    ):  # fmt: skip
        bad.append([value if i == at else x for i, x in enumerate(good)])
    texts = [json.dumps(value) for value in bad]
    nan = json.dumps([math.nan if i == load else x for i, x in enumerate(good)])
    huge = json.dumps(["@" if i == load else x for i, x in enumerate(good)]).replace('"@"', "1e999")
    return [*texts, nan, huge, "[" * 50_000, "9" * 5000, "", "\0"]


@pytest.mark.parametrize("line", hostile(), ids=range(len(hostile())))
def test_a_line_that_is_no_row_is_refused(tmp_path: Path, line: str) -> None:
    journal = begin(tmp_path, [ANSWERED])
    journal.write_bytes(journal.read_bytes() + line.encode() + b"\n")
    with pytest.raises(
        InputError, match="x.csv.partial line 3 is not a row of this sweep; start over with --fresh"
    ):
        going_on(tmp_path)


def test_a_count_may_be_as_large_as_a_column_holds(tmp_path: Path) -> None:
    journal = begin(tmp_path, [ANSWERED])
    largest = [2**63 - 1 if name == "replicas" else x for name, x in zip(NAMES, ANSWERED, strict=True)]
    journal.write_bytes(journal.read_bytes() + json.dumps(largest).encode() + b"\n")
    assert going_on(tmp_path) == [ANSWERED, tuple(largest)]


def test_a_journal_that_somebody_took_away_is_no_fault(tmp_path: Path) -> None:
    with kept_rows(tmp_path / "x.csv", SETTINGS, TABLE.columns, 1, fresh=False) as kept:
        kept.append(ANSWERED)
        (tmp_path / "x.csv.partial").unlink()
    assert (tmp_path / "x.csv").exists()


def test_more_rows_than_cells_are_refused(tmp_path: Path) -> None:
    begin(tmp_path, ROWS)
    assert going_on(tmp_path, cells=2) == ROWS
    with pytest.raises(InputError, match="line 3 is not a row"):
        going_on(tmp_path, cells=1)


def test_journals_that_are_too_large_are_refused(tmp_path: Path) -> None:
    journal = begin(tmp_path, [ANSWERED])
    with journal.open("ab") as file:
        file.write(b"1" * (LINE_BYTES_MAX + 1))
    with pytest.raises(InputError, match="line 3 is not a row"):
        going_on(tmp_path)
    with journal.open("ab") as file:
        file.truncate(FILE_BYTES_MAX + 1)  # sparse
    with pytest.raises(InputError, match="is larger than 1073741824 bytes; start over with --fresh"):
        going_on(tmp_path)


def test_a_pipe_or_a_directory_in_its_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv.partial")
    with pytest.raises(InputError, match="it is not a file; move it away"):
        going_on(tmp_path)
    (tmp_path / "y.csv.partial").mkdir()
    with (
        pytest.raises(InputError, match="it is not a file; move it away"),
        kept_rows(tmp_path / "y.csv", SETTINGS, TABLE.columns, 1, fresh=False),
    ):
        pass


def test_a_sweep_can_be_resumed_without_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system without `fcntl`."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    path = begin(tmp_path, ROWS)
    assert path.exists()
    assert going_on(tmp_path) == ROWS


def test_a_second_sweep_of_the_same_file_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j", SETTINGS, TABLE.columns, 2, fresh=False) as journal:
        journal.append(ANSWERED)
        with (
            pytest.raises(InputError, match="another sweep is writing j; wait for it, or write to another"),
            open_journal(tmp_path / "j", SETTINGS, TABLE.columns, 2, fresh=True),
        ):
            pass
    with open_journal(tmp_path / "j", SETTINGS, TABLE.columns, 2, fresh=False) as journal:
        assert journal.rows == [ANSWERED]


FULL = """
import resource, signal, sys
from pathlib import Path
from test_sweep_files import SETTINGS, TABLE, UNSTABLE
from capacity.errors import DependencyError
from capacity.answer.sweep import kept_rows

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
try:
    with kept_rows(Path("x.csv"), SETTINGS, TABLE.columns, 9, fresh=False) as rows:
        while len(rows) < 9:
            rows.append(UNSTABLE)
except DependencyError as error:
    print(error, *error.__notes__ if hasattr(error, "__notes__") else (), sep="; ")
"""


def sweep_on_a_disk_of(size_bytes: int, folder: Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            map(str, (ROOT, *(ROOT / "tests" / name for name in ("", "answer", "question"))))
        )
    }
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(size_bytes)],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_disk_that_fills_up_keeps_the_rows_so_far(tmp_path: Path) -> None:
    """Also those that fit in part: what was cut off is dropped, and the sweep goes on."""
    assert sweep_on_a_disk_of(1000, tmp_path) == (
        "cannot write x.csv.partial: File too large; free space, or use another disk; 3 of 9 rows are kept "
        "in "
        "x.csv.partial; the same command goes on from there\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv.partial"]
    assert sweep_on_a_disk_of(100_000, tmp_path) == ""
    write_file(tmp_path / "y.csv", TABLE.columns, [UNSTABLE] * 9)
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "y.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "y.csv"]


def test_a_disk_that_takes_no_first_line_is_left_as_it_was(tmp_path: Path) -> None:
    assert sweep_on_a_disk_of(10, tmp_path) == (
        "cannot write x.csv.partial: File too large; free space, or use another disk\n"
    )
    assert list(tmp_path.iterdir()) == []
