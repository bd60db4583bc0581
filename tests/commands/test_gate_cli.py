"""`plan -o`, `check` and `compare`, and the worked workflow of the documentation."""

import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main
from in_process import capacity

from cli import app

COMMAND = Path(sys.executable).with_name("capacity")
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "gate-a-release.md"
ASKED = [
    "plan", "--profile", "mine.csv", "--rate", "150rps", "--slo-p99", "60ms", "--batch-wait", "0ms",
    "--hourly-usd", "0.5", "--requests-max", "1000000", "--seed", "4",
]  # fmt: skip


def samples(times: float) -> str:
    """A profile of batches of 1 and 8, this many times as slow."""
    rows = [(b, times * (base + 0.01 * i)) for b, base in ((1, 5.0), (8, 12.0)) for i in range(100)]
    return "batch_size,latency_ms\n" + "".join(f"{b},{latency_ms:.4f}\n" for b, latency_ms in rows)


class Here:
    """A directory in which the command is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return capacity(self.path, *arguments, environment={"GITHUB_STEP_SUMMARY": None, **environment})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """With a plan that was saved, and profiles to check it against."""
    folder = Here(tmp_path_factory.mktemp("gate"))
    for name, times in (("mine", 1.0), ("slow", 3.5), ("same", 1.001)):
        (folder.path / f"{name}.csv").write_text(samples(times), encoding="utf-8")
    done = folder.run(*ASKED, "-o", "plan.json", "--json")
    assert done.returncode == 0, done.stderr
    (folder.path / "answer.json").write_text(done.stdout, encoding="utf-8")
    return folder


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_saved_plan_has_the_answer_and_the_same_bytes_every_time(here: Here) -> None:
    first = (here.path / "plan.json").read_bytes()
    saved = json.loads(first)
    printed = json.loads((here.path / "answer.json").read_text(encoding="utf-8"))
    assert {"schema_version": 1, **saved["answer"]} == printed
    assert here.run(*ASKED, "-o", "again.json", "--workers", "1").returncode == 0
    assert (here.path / "again.json").read_bytes() == first
    assert str(here.path) not in first.decode()


def test_a_plan_that_cannot_be_saved_says_so_before_any_work(here: Here) -> None:
    done = here.run(*ASKED, "-o", "gone/plan.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "error: cannot write gone/plan.json: no such directory; create it, or check the path\n"
    )


@pytest.mark.long
def test_a_full_disk_costs_the_file_and_not_the_answer(here: Here) -> None:
    """Files may have 4 KiB: the plan is longer."""
    command = shlex.join([str(COMMAND), *ASKED, "--json", "-o", "full.json"])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4; {command}"], capture_output=True, text=True, cwd=here.path, check=False
    )
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("error: cannot write full.json: ")
    assert document(done)["verdict"] == "met"
    assert [path.name for path in here.path.iterdir() if "full" in path.name] == []


@pytest.mark.long
def test_a_closed_stdout_costs_the_answer_and_not_the_file(here: Here) -> None:
    command = shlex.join([str(COMMAND), *ASKED, "-o", "closed.json"])
    done = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, cwd=here.path, check=False)
    assert done.returncode == 5
    assert (here.path / "closed.json").read_bytes() == (here.path / "plan.json").read_bytes()


def test_no_plan_is_saved_as_such_and_cannot_be_checked(here: Here) -> None:
    done = here.run(*["1ms" if one == "60ms" else one for one in ASKED], "-o", "none.json")
    assert done.returncode == 3
    done = here.run("check", "--plan", "none.json")
    assert done.returncode == 2
    assert "none.json holds no plan: its verdict is missed" in done.stderr


def test_unchanged_inputs_give_the_same_performance(here: Here) -> None:
    done = here.run("check", "--plan", "plan.json", "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    saved = json.loads((here.path / "plan.json").read_text(encoding="utf-8"))["answer"]
    assert json.dumps(answer["performance"]) == json.dumps(saved["performance"])
    assert (answer["verdict"], answer["reproduced"]) == ("met", True)
    assert here.run("check", "--plan", "plan.json", "--json", "--workers", "1").stdout == done.stdout


def test_a_slower_profile_is_refused_with_numbers_in_every_form(here: Here) -> None:
    arguments = ["check", "--plan", "plan.json", "--profile", "slow.csv"]
    forms = {
        form: here.run(*arguments, "--format", form)
        for form in ("table", "json", "github", "junit", "markdown")
    }
    assert {done.returncode for done in forms.values()} == {3}
    needs = re.compile(r"needs (\d+) replicas \(.*?\), the plan has (\d+) replica")
    for form, done in forms.items():
        text = " ".join(re.sub(r"\\", "", done.stdout).split())
        found = needs.search(text)
        assert found, form
        assert int(found[1]) > int(found[2])
        assert "profile mine is replaced by slow" in text
    ElementTree.fromstring(forms["junit"].stdout)
    commands = [line for line in forms["github"].stdout.splitlines() if line.startswith("::")]
    assert sum(line.startswith("::error title=capacity%3A ") for line in commands) >= 1
    refused = [f for f in document(forms["json"])["findings"] if f["rejection"] is not None]
    assert all(f["rejection"]["needed"] > f["rejection"]["allowed"] for f in refused)


def test_a_profile_that_is_as_fast_passes(here: Here) -> None:
    done = here.run("check", "--plan", "plan.json", "--profile", "same.csv", "--baseline", "plan.json")
    assert done.returncode == 0, done.stdout
    assert "no more than the baseline" in done.stdout


def test_the_summary_is_appended_and_its_failure_is_the_disks(here: Here) -> None:
    summary = here.path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    arguments = ["check", "--plan", "plan.json", "--format", "github"]
    assert here.run(*arguments, GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text(encoding="utf-8").startswith("before\n### \u2705 ")
    done = here.run(*arguments, GITHUB_STEP_SUMMARY=str(here.path))
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == (
        "error: cannot write the step's summary: Is a directory; fix or unset GITHUB_STEP_SUMMARY"
    )
    assert done.stdout.startswith("::notice ")
    assert here.run("check", "--plan", "plan.json", GITHUB_STEP_SUMMARY=str(here.path)).returncode == 0


def test_too_small_a_budget_is_inconclusive(here: Here) -> None:
    done = here.run("check", "--plan", "plan.json", "--requests-max", "1000")
    assert done.returncode == 4
    assert "undecided within the budget of 1000" in " ".join(done.stdout.split())


@pytest.mark.long
def test_a_long_trace_is_given_again(here: Here) -> None:
    """A trace beyond the limit is named by its digest; another one in its place is refused."""
    for name, gap_s in (("log", 0.01), ("other", 0.011)):
        text = "".join(f"{gap_s * i:.3f}\n" for i in range(100_001))
        (here.path / f"{name}.csv").write_text(text, encoding="utf-8")
    trace = ["--arrivals", "trace:log.csv"]
    plain = [word for word in ASKED if word not in ("--rate", "150rps")]
    assert here.run(*plain, *trace, "-o", "traced.json").returncode == 0
    assert (here.path / "traced.json").stat().st_size < 100_000
    check = ["check", "--plan", "traced.json", "--json"]
    assert document(here.run(*check, *trace))["reproduced"] is True
    for more, message in (
        ([], "give it again by --arrivals trace:log.csv"),
        (["--arrivals", "trace:other.csv"], "is not the trace of the plan, which has 100001 arrivals"),
        (["--arrivals", "poisson"], "can only give a saved plan its trace again"),
    ):
        done = here.run(*check, *more)
        assert done.returncode == 2
        assert message in done.stderr
    done = here.run("check", "--plan", "plan.json", *trace)
    assert (done.returncode, "leave --arrivals out" in done.stderr) == (2, True)


@pytest.mark.long
def test_fleets_stand_side_by_side(here: Here) -> None:
    """Twice the replicas: the tail is surely shorter, and the price twice as high."""
    fleets = ["plan.json", "--fleet", "replicas=6,batch=8"]
    done = here.run("compare", *fleets, "--json")
    assert done.returncode == 0, done.stderr
    first, second = document(done)["fleets"]
    assert "profile_few_samples" in {c["code"] for c in document(done)["caveats"]}
    assert (first["name"], first["difference"]) == ("plan.json", None)
    assert second["cost"]["hourly_usd"] == 3.0
    difference = second["difference"]["response_quantiles_s"]["0.99"]
    assert difference["high"] < 0.0
    quantiles = [one["performance"]["response_quantiles_s"]["0.99"]["value"] for one in (first, second)]
    assert difference["value"] == pytest.approx(quantiles[1] - quantiles[0])
    assert here.run("compare", *fleets, "--json", "--workers", "1").stdout == done.stdout
    table = here.run("compare", *fleets).stdout
    for text in ("replicas=6, batch=8", "3.000 USD/h", "P99, less A's", "utilization", "response, P50"):
        assert text in table


@pytest.mark.long
def test_plans_for_different_workloads_take_a_rate(here: Here) -> None:
    asked = [word if word != "150rps" else "140rps" for word in ASKED]
    assert here.run(*asked, "-o", "less.json").returncode == 0
    done = here.run("compare", "plan.json", "less.json")
    assert done.returncode == 2
    assert (
        "plan.json and less.json are for different workloads (150 rps and 140 rps); give --rate"
        in done.stderr
    )
    done = here.run("compare", "plan.json", "less.json", "--rate", "145rps", "--json")
    assert done.returncode == 0, done.stderr
    assert document(done)["workload"] == {"arrival_rate_rps": 145.0, "arrivals": "poisson"}
    asked = [*ASKED, "--arrivals", "gamma:cv=0.5"]
    assert here.run(*asked, "-o", "even.json").returncode == 0
    done = here.run("compare", "plan.json", "even.json", "--rate", "145rps")
    assert "(other arrivals); make the plans for the same arrivals" in done.stderr


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)


def command_lines() -> list[str]:
    """Every command line of ours in the how-to, those within the workflow included."""
    text = "\n".join([*blocks("sh"), *blocks("yaml")])
    return re.findall(r"^\s*(?:run: )?(capacity .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("line", command_lines())
def test_each_command_line_of_the_how_to_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line.split(" > ")[0])
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    if name == "profiles":
        name, *arguments = arguments
        command = command.commands[name]
    context = command.make_context(name, arguments)
    assert all(context.params[p.name] is not None for p in command.params if p.required)


def test_the_how_to_has_its_commands() -> None:
    assert {line.split()[1] for line in command_lines()} == {"plan", "check", "profiles"}
    assert sum("--format github" in line for line in command_lines()) == 2


def test_the_workflow_is_one() -> None:
    yaml = pytest.importorskip("yaml")
    text, action, _ = blocks("yaml")
    workflow = yaml.safe_load(text)
    assert set(yaml.safe_load(action)) == {"name", True, "permissions", "jobs"}
    steps = workflow["jobs"]["gate"]["steps"]
    assert set(workflow) == {"name", True, "permissions", "env", "jobs"}  # YAML 1.1 takes `on` for true
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert any("capacity check --plan plan.json" in step.get("run", "") for step in steps)


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers whatever it is asked."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/infer"
        served.shutdown()
        thread.join()


def test_what_the_how_to_measures_is_a_profile(here: Here, server: str) -> None:
    (script,) = blocks("python")
    (here.path / "measure.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "measure.py", server, "30", "1", "8"],
        capture_output=True, text=True, cwd=here.path, timeout=60, check=True,
    )  # fmt: skip
    (here.path / "measured.csv").write_text(done.stdout, encoding="utf-8")
    shown = document(here.run("profiles", "show", "measured.csv", "--json"))
    assert shown["batch_sizes"] == [1, 8]
    assert len(done.stdout.splitlines()) == 61
