"""The command that a report tells asks the very question of the plan."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from saved_reports import save
from typer.testing import CliRunner

import capacity as cap
from capacity.answer.saved_batches import question_to_document
from capacity.answer.saved_plan import SavedPlan, read_plan_file
from capacity.doors import door
from capacity.question.arguments import Asked
from capacity.question.asked import FLAGS
from capacity.question.question import Question
from capacity.render.report.command import command_to_repeat
from cli import app

ASKED: list[dict[str, Any]] = [
    {"rate": "3200rps", "slo_p99": "40ms"},
    {"rate_rps": 1234.5678901234567, "slo_p95": "37.3ms", "slo_p50": "20ms", "slo_mean": "25ms", "seed": 7},
    {"rate": "30000/min", "slo_p99": "40ms", "arrivals": "gamma:cv=2", "batch_wait": ["0ms", "1.7ms"]},
    {"rate": "500rps", "slo_p99": "40ms", "arrivals": "mmpp:ratio=2,burst=0.1s,calm=0.4s", "batch_wait": "0ms"},
    {"users": 40, "think_time": "33ms", "slo_mean": "40ms", "batch_size_max": 8, "batch_wait": "0ms"},
    {"rate": "800rps", "slo_wait_p95": "10ms", "slo_wait_p999": "40ms", "queue_limit": 64, "loss_max": "0.7%"},
    {"rate": "800rps", "slo_p999": "90ms", "utilization_max": "83%", "timer": "open", "replicas_max": 50},
    {"rate": "800rps", "slo_p99": "60ms", "survive": ["n-2", "zone:3"], "rolling_update": "max-unavailable=29%"},
    {"rate": "800rps", "slo_p99": "60ms", "spike": "1.5x", "startup_time": "20s", "confidence": 0.9},
    {"rate": "800rps", "slo_p99": "60ms", "mtbf": "30d", "recovery_time": "90min"},
    {"rate": "800rps", "slo_p99": "60ms", "routing": ["random", "power-of-two"], "precision": 0.05},
]  # fmt: skip


class AskedError(Exception):
    """Ends a search before any work."""

    def __init__(self, question: Question) -> None:
        self.question = question


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> SavedPlan:
    """Any answer will do; the command is about the question."""
    frame = pd.DataFrame({"batch_size": [1], "mean_ms": [5.0]})
    answer = cap.plan(frame, rate="10rps", slo_p99="1s", batch_wait="0ms")
    return read_plan_file(save(answer, tmp_path_factory.mktemp("old") / "a plan.json"))


def stop(question: Question) -> None:
    raise AskedError(question)


@pytest.mark.parametrize("asked", ASKED, ids=lambda one: " ".join(one))
def test_it_asks_the_same_question(asked, old, tmp_path, monkeypatch) -> None:
    with pytest.raises(AskedError) as first:
        cap.plan("resnet50-t4-fp16", **asked, before=stop)
    effort = {name: asked[name] for name in ("seed", "confidence", "precision") if name in asked}
    saved = replace(old, question=first.value.question, effort=replace(old.effort, **effort))

    kept: dict[str, Any] = {}

    @door("plan")
    def planned(given: Asked) -> None:
        """Keep what was typed."""
        kept.update({name: value for name, value in given.items() if given.is_told(name)})
        raise cap.InputError("asked")

    monkeypatch.setattr("capacity.api.plan.plan", planned)
    words = shlex.split(command_to_repeat(saved))
    assert saved.path is not None
    assert words[-2:] == ["-o", saved.path]
    done = CliRunner().invoke(app, [*words[1:-1], str(tmp_path / "new.json")])
    assert done.output.endswith("asked\n"), done.output
    monkeypatch.undo()
    kept = {key: value for key, value in kept.items() if key not in ("before", "progress")}
    with pytest.raises(AskedError) as again:
        cap.plan(**kept, before=stop)
    assert question_to_document(again.value.question) == question_to_document(saved.question)
    assert {name: kept.get(name, FLAGS[name].default) for name in effort} == effort


def test_files_are_those_that_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile and a trace that lie in folders, and a plan that is read from one."""
    monkeypatch.chdir(tmp_path)
    for folder in ("measured", "logs", "plans"):
        (tmp_path / folder).mkdir()
    (tmp_path / "measured" / "ranker 2.csv").write_text("batch_size,mean_ms\n1,5\n", encoding="utf-8")
    arrivals = "".join(f"{0.01 * number:.2f}\n" for number in range(600))
    (tmp_path / "logs" / "monday.csv").write_text(f"t_s\n{arrivals}", encoding="utf-8")
    answer = cap.plan(
        "measured/ranker 2.csv", arrivals="trace:logs/monday.csv", slo_p90="1s", batch_wait="0ms"
    )
    answer.save("plans/plan.json")
    saved = read_plan_file(Path("plans/plan.json"))
    words = shlex.split(command_to_repeat(saved))
    assert words[2:4] == ["--profile", "measured/ranker 2.csv"]
    assert words[words.index("--arrivals") + 1] == "trace:logs/monday.csv"
    assert words[-2:] == ["-o", "plans/plan.json"]
    assert saved.question == answer.question
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    for target, written in (("kubernetes", "k.yaml"), ("k6", "load.js")):
        done = CliRunner().invoke(app, ["render", "plans/plan.json", "--target", target, "-o", written])
        assert done.exit_code == 0, done.output
        text = (tmp_path / written).read_text(encoding="utf-8")
        assert f"capacity render plans/plan.json --target {target}" in text
        assert "capacity plan --profile 'measured/ranker 2.csv'" in text
