"""Defaults from `capacity.toml`, `pyproject.toml` and the environment: which goes first, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app

RATE = ["queue", "mm1", "--arrival-rate", "1rps"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CAPACITY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


def wait_s(done: Result) -> float:
    """Of M/M/1 at 1 rps: 1/(μ(μ - 1)) by Kleinrock, so that it tells the service rate."""
    return json.loads(done.stdout)["wait_mean_s"]


def write(text: str, name: str = "capacity.toml", folder: Path | None = None) -> None:
    ((folder or Path.cwd()) / name).write_text(text, encoding="utf-8")


def test_a_flag_goes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('service-rate = "2rps"\njson = true\n')
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 2.0)
    monkeypatch.setenv("CAPACITY_SERVICE_RATE", "4rps")
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 12.0)
    assert wait_s(run(*RATE, "--service-rate", "5rps")) == pytest.approx(1.0 / 20.0)


def test_a_commands_own_table_goes_before_what_all_share() -> None:
    write('service-rate = "2rps"\njson = true\n[queue.mm1]\nservice-rate = "5rps"\n')
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 20.0)
    assert wait_s(run("queue", "mmc", *RATE[2:], "--servers", "1")) == pytest.approx(1.0 / 2.0)


def test_what_a_file_gave_is_told_on_stderr_and_changes_no_byte_of_the_answer(monkeypatch) -> None:
    typed = run(*RATE, "--service-rate", "2rps", "--json")
    assert "note:" not in typed.stderr
    write('service-rate = "2rps"\n')
    monkeypatch.setenv("CAPACITY_JSON", "true")
    found = run(*RATE)
    assert found.stdout == typed.stdout
    assert found.stderr == "note: service-rate from capacity.toml; CAPACITY_JSON from the environment\n"


def test_a_flag_that_may_be_repeated_takes_a_list_or_one_value() -> None:
    write('service-rate = "2rps"\nquantile = [0.5, 0.9]\njson = true\n')
    assert set(json.loads(run(*RATE).stdout)["wait_quantiles_s"]) == {"0.5", "0.9"}
    write('service-rate = "2rps"\nquantile = 0.25\njson = true\n')
    assert set(json.loads(run(*RATE).stdout)["wait_quantiles_s"]) == {"0.25"}


def test_a_project_has_its_settings_in_pyproject_unless_there_is_a_file_of_their_own() -> None:
    write('[project]\nname = "x"\n[tool.capacity]\nservice-rate = "2rps"\njson = true\n', "pyproject.toml")
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 2.0)
    write('service-rate = "5rps"\njson = true\n')
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 20.0)


def test_a_pyproject_of_others_is_not_looked_into() -> None:
    write("[tool.ruff]\nline-length = {{ broken }}\n", "pyproject.toml")
    run(*RATE, "--service-rate", "2rps")


def test_in_a_repository_a_folder_above_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    write('service-rate = "2rps"\njson = true\n')
    monkeypatch.chdir(folder / "a" / "b")
    run(*RATE, code=2)  # no repository: only this folder's own
    (folder / ".git").mkdir()
    found = run(*RATE)
    assert wait_s(found) == pytest.approx(1.0 / 2.0)
    assert found.stderr == "note: service-rate, json from ../../capacity.toml\n"
    write('service-rate = "5rps"\njson = true\n', folder=folder / "a")
    assert wait_s(run(*RATE)) == pytest.approx(1.0 / 20.0)  # the nearest
    (folder / "a" / "b" / ".git").mkdir()
    run(*RATE, code=2)  # another repository, whose root this is


def test_numbers_need_plain_digits_in_files_and_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    law = ["queue", "mmc", "--arrival-rate", "1rps", "--service-rate", "5rps"]
    said = "--servers '2_0' is not a number in plain digits; write 20"
    write('servers = "2_0"')
    assert said in run(*law, code=2).output
    write('servers = "2"')
    assert run(*law).exit_code == 0
    monkeypatch.setenv("CAPACITY_SERVERS", "2_0")
    assert said in run(*law, code=2).output
    assert run(*law, "--servers", "3").exit_code == 0


def test_a_removed_working_folder_has_no_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('service-rate = "3rps"')
    assert wait_s(run(*RATE, "--json")) == pytest.approx(1 / 6)

    def gone() -> Path:
        raise FileNotFoundError

    monkeypatch.setattr("capacity.commands.defaults.Path.cwd", gone)
    assert "give either --service-rate" in run(*RATE, code=2).output


def test_a_path_begins_at_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    (folder / ".git").mkdir()
    write("batch_size,mean_ms\n1,2\n", "mine.csv")
    write("".join(f"{0.1 * n * n}\n" for n in range(60)), "arrivals.csv")
    write('[simulate]\nprofile = "mine.csv"\nreplicas = 1\nrate = "100rps"\njson = true\nquantile = 0.5\n')
    here = run("simulate").stdout
    monkeypatch.chdir(folder / "sub")
    assert run("simulate").stdout == here
    trace = '[simulate]\nprofile = "mine.csv"\nreplicas = 1\narrivals = "trace:arrivals.csv"\njson = true\nquantile = 0.5\n'
    write(trace, folder=folder)
    assert "arrivals.csv has 60 arrivals" in run("simulate", code=4).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('slo_p99 = "80ms"', "capacity.toml has an unknown key, 'slo_p99'; did you mean slo-p99?"),
        ('zzz = "80ms"', "an unknown key, 'zzz'; keys are flags without their dashes: capacity COMMAND --help"),
        ('[autoscale]\ntarget = "utilization:0.6"', "'target'; did you mean autoscale?"),
        ('[queue.mm1]\nservers = 2', "an unknown key in [queue.mm1], 'servers'; did you mean"),
        ('[plann]\nrate = "1rps"', "an unknown command, 'plann'; did you mean plan?"),
        ('[queue.mm9]\nrate = "1rps"', "an unknown command in [queue], 'mm9'; did you mean"),
        ('output = "x.json"', "an unknown key, 'output'"),
        ('cluster = "tcp://127.0.0.1:1"', "cluster is not taken from capacity.toml: whoever runs that scheduler can"),
        ('[plan]\ncluster = "tcp://127.0.0.1:1"', "give --cluster or set CAPACITY_CLUSTER"),
        ('[profile]\ncallable = "os:getcwd"', "an unknown key in [profile], 'callable'"),
        ("service-rate = [", "capacity.toml is not valid TOML: "),
        ("service-rate = 500rps", 'texts need quotes: rate = "500rps"'),
        ('service-rate = ["2rps"]', "service-rate of capacity.toml is a list, and takes one value"),
        ("service-rate = true", "service-rate of capacity.toml is true or false, and takes one value"),
        ("service-rate = 2026-01-01", "service-rate of capacity.toml is another kind of value"),
        ('json = "yes"', "json of capacity.toml is another kind of value, and takes true or false"),
        ("service-rate = 2", "--service-rate '2' has no unit"),
        ('service-rate = "fast"', "--service-rate 'fast'"),
        ('service-rate = "2rps"\nquantile = "4_0"', "--quantile '4_0' is not a number in plain digits"),
        ('service-rate = "2rps"\nquantile = nan', "--quantile 'nan' is not a number in plain digits"),
        ('service-rate = "2rps"\nformat = "yaml"', "--format"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_file_or_flag(text: str, said: str) -> None:
    write(text)
    assert said in " ".join(run(*RATE, code=2).stderr.split())


def test_a_variable_that_was_a_limit_is_answered_with_the_new_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignored, it would leave a plan without the limit that somebody relies on."""
    monkeypatch.setenv("CAPACITY_SLO_WAIT", "p99=5ms")
    found = run("plan", "--profile", "resnet50-t4-fp16", "--rate", "1rps", "--slo-p99", "1s", code=2)
    assert "CAPACITY_SLO_WAIT is no variable any more: --slo-wait is now --slo-wait-p99 5ms" in found.stderr
    run(*RATE, "--service-rate", "2rps")  # which never had it


def test_a_value_that_looks_like_an_old_flag_is_a_value() -> None:
    found = run("audit", "report.csv", "--loop", "--plot", code=2)
    assert "is now" not in found.stderr


def test_a_cluster_is_taken_from_the_flag_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from a file, which may have come with a checkout: a scheduler can have code run here."""
    command = ["simulate", "--profile", "resnet50-t4-fp16", "--rate", "1rps", "--replicas", "1"]
    write('[tool.capacity]\ncluster = "tcp://127.0.0.1:1"\n', "pyproject.toml")
    assert "cluster is not taken from pyproject.toml" in run(*command, code=2).stderr
    write("")
    said = "--cluster 'nowhere' is not an address"
    assert said in run(*command, "--cluster", "nowhere", code=2).stderr
    monkeypatch.setenv("CAPACITY_CLUSTER", "nowhere")
    assert said in run(*command, code=2).stderr


def test_a_value_too_long_for_a_path_is_none() -> None:
    write(f'slo-p99 = "{"9" * 300}"')
    assert "--slo-p99" in run("plan", "--profile", "resnet50-t4-fp16", "--rate", "1rps", code=2).stderr


def test_a_wrong_variable_is_told_as_its_flag_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPACITY_QUANTILE", "4_0")
    assert "--quantile '4_0' is not a number" in run(*RATE, "--service-rate", "2rps", code=2).stderr
    monkeypatch.setenv("CAPACITY_QUANTILE", "0.5 0.9")
    assert '"0.9"' in run(*RATE, "--service-rate", "2rps", "--json").stdout
    monkeypatch.setenv("CAPACITY_SERVICE_RATE", "")  # as if it were not there
    run(*RATE, code=2)


def test_tool_capacity_is_a_table() -> None:
    write("[tool]\ncapacity = 4\n# [tool.capacity]\n", "pyproject.toml")
    assert "must be a table: [tool.capacity]" in run(*RATE, code=2).stderr


def test_a_file_is_of_limited_size() -> None:
    write("#" * 1_000_001)
    assert "larger than 1000000 bytes; keep only defaults in it" in run(*RATE, code=2).stderr


def test_help_and_the_version_are_had_whatever_the_file_says() -> None:
    write("broken = [")
    for words in (["--help"], ["--version"], ["plan", "--help"], ["queue", "mm1", "-h"]):
        run(*words)


@pytest.mark.long
def test_as_a_user_runs_it(folder: Path) -> None:
    write(
        'profile = "resnet50-t4-fp16"\nslo-p99 = "60ms"\n[simulate]\nreplicas = 2\nrate = "300rps"\nquantile = 0.9\n'
    )
    (folder / ".git").mkdir()
    (folder / "service").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"CAPACITY_SEED": "4"}
    done = subprocess.run(
        [Path(sys.executable).with_name("capacity"), "simulate", "--batch-size-max", "4", "--json"],
        capture_output=True, text=True, cwd=folder / "service", env=environment, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["seed"], found["plan"]["replicas"], found["plan"]["batch_size_max"]) == (4, 2, 4)
    told = "note: profile, replicas, rate, quantile from ../capacity.toml; CAPACITY_SEED from the environment"
    assert told in done.stderr.splitlines()
