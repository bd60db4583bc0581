"""No control character of any input reaches a terminal: names of files, models, metrics, endpoints and flags are sweeped."""

import importlib
import json
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from in_process import capacity

import cli
from capacity.formats.registry import FORMATS
from capacity.render.console import as_text

sys.path.append(str(Path(__file__).parent.parent / "formats"))  # whose tests have examples of each format
# To set a title, to colour, to go to the beginning of the line, to turn the direction, one of eight bits, and others.
EVIL = "\x1b]0;title\x07\x1b[31m\r\u202e\x9b\x08\x00"
TAME = "\n"
NAMES = [one.__name__.rpartition(".")[2] for one in FORMATS]
EXAMPLES = Path(cli.__file__).parent / "docs" / "examples"


def leaks(text: str) -> list[str]:
    return [one for one in set(text) if not one.isprintable() and one not in TAME]


def check(folder: Path, *words: object, **how: Any) -> str:
    done = capacity(folder, *words, **how)
    assert leaks(done.stdout) == [], (words, done.stdout)
    assert leaks(done.stderr) == [], (words, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def evil_json(value: Any) -> Any:
    """Every text with control characters at its end, keys that a reader does not know included."""
    if isinstance(value, dict):
        return {key: evil_json(one) for key, one in value.items()} | {f"more{EVIL}": EVIL}
    if isinstance(value, list):
        return [evil_json(one) for one in value]
    return f"{value}{EVIL}" if isinstance(value, str) and not value.replace(".", "").isdigit() else value


def variants(name: str) -> list[bytes]:
    """An example of a format whose texts are evil, one by one and all together."""
    rng, found = random.Random(name), []
    reading = importlib.import_module("reading")
    for data in importlib.import_module(f"test_{name}").EXAMPLES.values():
        text = reading.as_bytes(data).decode("utf-8-sig")
        with suppress(ValueError):
            found.append(json.dumps(evil_json(json.loads(text))).encode())
        letters = [at for at, one in enumerate(text) if one.isalpha()]
        for at in rng.sample(letters, min(6, len(letters))):
            found.append(f"{text[:at]}{EVIL}{text[at:]}".encode())
            found.append(f"{text[:at]}{json.dumps(EVIL)[1:-1]}{text[at:]}".encode())
    return found


def sweep(name: str, folder: Path, most: int) -> None:
    path = folder / "a\x1b[31mb\r"
    for data in variants(name)[:most]:
        path.write_bytes(data)
        for command in ("audit", "import"):
            check(folder, command, path.name)


@pytest.mark.parametrize(
    "name", ["k6_summary", "hey_text", "haproxy_log", "prometheus_text", "triton_statistics"]
)
def test_files_of_other_tools(name: str, tmp_path: Path) -> None:
    sweep(name, tmp_path, 3)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_files_of_every_other_tool(name: str, tmp_path: Path) -> None:
    sweep(name, tmp_path, 100)


def test_a_name_is_shown_with_question_marks(tmp_path: Path) -> None:
    """A failed threshold of k6 was printed as it stood in the file."""
    threshold = f"p(95)<1{EVIL}"
    metric = {"avg": 2.0, "min": 1.0, "med": 2.0, "max": 3.0, "p(95)": 3.0, "thresholds": {threshold: True}}
    metrics = {
        "http_req_duration": metric,
        "http_reqs": {"count": 100, "rate": 10.0},
        "iterations": {"count": 100, "rate": 10.0},
        "iteration_duration": {"avg": 2.0},
        "vus_max": {"max": 3},
        "data_received": {"count": 1, "rate": 1.0},
    }
    (tmp_path / "k6.json").write_text(json.dumps({"metrics": metrics}))
    said = check(tmp_path, "audit", "k6.json")
    assert "p(95)<1?]0;title??[31m????? of http_req_duration was not met" in " ".join(said.split())


PLAN = ["--profile", "resnet50-t4-fp16", "--rate", "10rps", "--slo-p99", "1s"]


@pytest.mark.parametrize(
    "words",
    [
        [EVIL],
        ["plan", EVIL],
        ["plan", f"--{EVIL}"],
        ["plan", *PLAN[2:], "--profile", EVIL],
        ["plan", *PLAN[:2], *PLAN[4:], "--rate", EVIL],
        ["plan", *PLAN, "--routing", EVIL],
        ["plan", *PLAN, "--arrivals", f"trace:{EVIL}"],
        ["plan", *PLAN, "-o", f"{EVIL}/x.json"],
        ["plan", *PLAN, "--survive", EVIL],
        ["plan", *PLAN, "--cluster", EVIL],
        ["plan", *PLAN, "--seed", EVIL],
        ["queue", EVIL],
        ["queue", "mm1", "--arrival-rate", EVIL],
        ["profiles", "show", EVIL],
        ["schema", EVIL],
        ["check", "--plan", EVIL],
        ["explain", EVIL],
        ["render", EVIL, "--target", EVIL],
        ["stress", *PLAN[:4], "--replicas", "2", "--trigger", EVIL],
        ["audit", EVIL],
        ["import", f"http://{EVIL}"],
        ["workload", EVIL],
    ],
    ids=lambda words: ascii(" ".join(words)),
)  # fmt: skip
def test_flags_and_names_that_are_typed(words: list[str], tmp_path: Path) -> None:
    check(tmp_path, *(word.replace("\x00", "") for word in words))


def test_defaults_of_a_folder_and_of_the_environment(tmp_path: Path) -> None:
    law = ["queue", "mm1", "--arrival-rate", "1rps"]
    evil = EVIL.replace("\x00", "")
    for text in (
        f"{json.dumps(evil)} = 1",
        f"service-rate = {json.dumps(evil)}",
        f"[{json.dumps(evil)}]\na = 1",
        evil,
    ):
        (tmp_path / "capacity.toml").write_text(text)
        check(tmp_path, *law)
    (tmp_path / "capacity.toml").unlink()
    check(tmp_path, *law, environment={"CAPACITY_SERVICE_RATE": evil})


def test_profiles_plans_and_traces(tmp_path: Path) -> None:
    """What people write by hand, and what the command has saved, changed by another hand."""
    evil = EVIL.replace("\x00", "").replace("\r", "")
    profile = {"name": f"n{evil}", "model": evil, "timings": [{"batch_size": 1, "mean_ms": 5.0}]}
    rows = {
        "p.json": json.dumps(profile),
        "p.csv": f"batch_size,mean_ms{evil}\n1,5{evil}\n",
        "t.csv": f"t_s{evil}\n0\n1{evil}\n",
        "d.csv": f"time,rate_rps{evil}\n0:00,1{evil}\n",
    }
    for name, text in rows.items():
        (tmp_path / name).write_text(text)
    for name in ("p.json", "p.csv"):
        check(tmp_path, "plan", "--profile", name, *PLAN[2:])
        check(tmp_path, "profiles", "show", name)
    check(tmp_path, "workload", "t.csv")
    check(tmp_path, "plan", *PLAN[:2], *PLAN[4:], "--daily", "d.csv")
    named = tmp_path / f"t{evil}.csv"
    named.write_text("".join(f"{at}\n" for at in range(300)))
    assert "t?]0;title??[31m" in check(tmp_path, "workload", named.name)


def test_what_python_prints_is_as_safe() -> None:
    """Rich itself drops bells, backspaces and returns of the carriage."""
    assert as_text([f"a{EVIL}b"], 100) == "a?]0;title?[31m???b\n"


def test_no_name_is_taken_for_markup() -> None:
    """Rich makes links of some, and fails at others."""
    name = "a[/red] [link=http://a.example]b[/link] :smile:"
    assert as_text([name], 100, "standard") == f"{name}\n"


def test_colours_are_ours() -> None:
    from rich.text import Text

    text = as_text([Text("a\x1b[32mb", style="red")], 100, "standard")
    assert text == "\x1b[31ma?[32mb\x1b[0m\n"
