"""What each stage of the demo asks of `capacity` and starts, without a server or a load; and how a replica is started."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from capacity.errors import DependencyError, InconclusiveError, InputError
from serve_api import demo as module
from serve_api import replica as replicas
from serve_api.demo import Demo, DemoSettings, placed
from serve_api.models import graph
from serve_api.models.dataset import Dataset
from serve_api.quantize import _effect
from serve_api.replica import Replica, _address, example, pinned, running

SETTINGS: dict[str, Any] = {
    "hidden": 4, "batch_sizes": (1, 8, 4), "samples": 9, "rate": "50rps", "slo_p99": "70ms", "duration": "5s",
    "runs": 2,
}  # fmt: skip


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A demo of which replicas and commands are only kept: which were started, and which were run."""
    started: list[tuple[Replica, str]] = []
    ran: list[list[str]] = []

    @contextmanager
    def runs(replica, log):
        started.append((replica, log.name))
        yield f"http://127.0.0.1:{8000 + len(started)}"

    @contextmanager
    def pins(core):
        pinned_to.append(core)
        yield

    @contextmanager
    def goes_first(rank):
        fronts.append(("load", rank))
        yield

    def run(words, **_):
        ran.append([str(word) for word in words])
        return subprocess.CompletedProcess(words, code, stdout="said\n  more \n", stderr="")

    code = 0
    monkeypatch.setattr(module, "running", runs)
    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module, "_cores", lambda: [3, 5, 7])
    monkeypatch.setattr(module, "pinned", pins)
    monkeypatch.setattr(module, "example", lambda _: [1.5])
    monkeypatch.setattr(module, "in_front", goes_first)
    monkeypatch.setattr(module, "put_in_front", lambda _, main: fronts.append(("servers", main)))
    monkeypatch.setattr(Demo, "_answer", lambda _, url: asked.append(url))
    pinned_to: list[int] = []
    fronts: list[tuple[str, int]] = []
    asked: list[str] = []
    demo = Demo(settings=DemoSettings(output=tmp_path, **SETTINGS))
    return SimpleNamespace(demo=demo, started=started, ran=ran, folder=tmp_path, pinned_to=pinned_to, fronts=fronts,
                           asked=asked)  # fmt: skip


def flags(words):
    """What follows each flag; of one that is repeated, a list."""
    found: dict[str, list[str]] = {}
    for name, value in zip(words[2::2], words[3::2], strict=True):
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def test_one_replica_is_measured_alone_on_the_first_core(work):
    with pytest.raises(InputError, match="profile.json"):  # which a command that is not run did not write
        work.demo._profile()
    ((replica, log),) = work.started
    assert (replica.batch_size_max, replica.batch_wait_max_s, replica.core) == (8, 0.0, 3)
    assert (replica.artifacts, log) == (work.folder / "artifacts" / "mlp", "profiled.log")
    ((program, verb, *_),) = work.ran
    assert (Path(program).name, verb) == ("capacity", "profile")
    assert flags(work.ran[0]) == {
        "--url": "http://127.0.0.1:8001/predict",
        "--body": str(work.folder / "request.json"),
        "--counters": "http://127.0.0.1:8001/metrics",
        "--batch-sizes": "1,8,4",
        "--samples": "9",
        "--name": "mlp-here",
        "--kind": "cpu",
        "-o": str(work.folder / "profile.json"),
    }
    assert work.pinned_to == [7]
    assert (work.asked, work.fronts) == (["http://127.0.0.1:8001"], [("servers", 2), ("load", 3)])
    assert work.demo.report[1] == "## Profile"
    assert work.demo.report[3:] == ["```", "said", "  more", "```"]


def test_the_plan_is_read_as_it_was_saved(work):
    saved = {"answer": {"verdict": "met", "recommendation": {"replicas": 2, "batch_size_max": 4}}}
    (work.folder / "plan.json").write_text(json.dumps(saved), encoding="utf-8")
    told = "2 replicas with batches up to 4 for P99 <= 70ms at 50rps with a replica gone: met"
    assert work.demo._find_plan() == told
    assert work.demo.plan == saved["answer"]["recommendation"]
    assert work.ran[0][1] == "plan"
    assert (work.pinned_to, work.fronts) == ([None], [])  # it has all cores, and waits for other work
    assert flags(work.ran[0]) == {
        "--profile": str(work.folder / "profile.json"),
        "--rate": "50rps",
        "--slo-p99": "70ms",
        "--survive": "n-1",
        "-o": str(work.folder / "plan.json"),
    }


@pytest.fixture
def rendered(work):
    """A demo with a plan of two replicas and its rendered files."""
    folder = work.folder / "deploy"
    folder.mkdir()
    settings = "# a note\nSERVE_BATCH_SIZE_MAX=4\nSERVE_BATCH_WAIT_MAX=2ms\n"
    (folder / "serve-api.env").write_text(settings, encoding="utf-8")
    (folder / "nginx.conf").write_text("the file", encoding="utf-8")
    work.demo.plan = {"replicas": 2}
    return work


def test_each_planned_replica_has_a_core_and_the_rendered_settings(rendered, monkeypatch):
    """Without a balancer, clients take turns among the replicas; with one they ask it."""
    monkeypatch.setattr(module, "installed", lambda: None)
    with ExitStack() as until:
        assert "neither HAProxy nor nginx is installed" in rendered.demo._deploy(until)
    flags_ = ("--batch-size-max", "4", "--batch-wait-max", "2ms")
    assert [(one.core, one.flags, log) for one, log in rendered.started] == [
        (3, flags_, "replica-0.log"),
        (5, flags_, "replica-1.log"),
    ]
    assert rendered.demo.urls == ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]
    behind = []

    @contextmanager
    def balanced(*given):
        behind.append(given)
        yield "http://127.0.0.1:9999"

    monkeypatch.setattr(module, "installed", lambda: "nginx")
    monkeypatch.setattr(module, "balanced", balanced)
    with ExitStack() as until:
        assert rendered.demo._deploy(until) == "2 servers behind nginx with its rendered file"
    urls = ["http://127.0.0.1:8003", "http://127.0.0.1:8004"]
    assert behind == [("nginx", "the file", urls, rendered.folder / "deploy")]
    assert rendered.demo.urls == ["http://127.0.0.1:9999"]
    assert rendered.demo.metrics == [f"{url}/metrics" for url in urls]
    assert rendered.asked[-2:] == urls  # each has all its threads when they are put in front
    assert rendered.fronts == [("servers", 2)] * 2
    assert placed(3) == [3, 5, 7]
    with pytest.raises(
        InconclusiveError, match="^the plan asks for 4 replicas and this machine has 3 cores, one"
    ):
        placed(4)


def test_what_was_deployed_is_loaded_and_compared(work):
    work.demo.urls, work.demo.metrics = ["http://a"], ["http://b/metrics", "http://c/metrics"]
    quantiles = {"response_quantiles_s": {"0.95": {"value": 0.002}, "0.99": {"value": 0.004}}}
    found = {
        "verdict": "agree",
        "measured": quantiles,
        "predicted": {"stationary": {"performance": quantiles}},
    }
    (work.folder / "verification.json").write_text(json.dumps(found), encoding="utf-8")
    assert work.demo._verify() == "agree: P99 4 ms measured, 4 ms predicted"
    void = "invalid: P99 4 ms measured, 4 ms predicted; void, report.md says why"
    assert module.verdict_words(found | {"verdict": "invalid"}) == void
    assert work.fronts == [("load", 3)]
    assert flags(work.ran[0]) == {
        "--url": "http://a/predict",
        "--metrics": ["http://b/metrics", "http://c/metrics"],
        "--plan": str(work.folder / "plan.json"),
        "--body": str(work.folder / "request.json"),
        "--duration": "5s",
        "--runs": "2",
        "-o": str(work.folder / "verification.json"),
    }


def test_both_forms_of_a_model_are_published_and_the_first_is_served(work):
    work.demo.version, work.demo.canary = "v1.0.0", "v1.1.0"
    assert work.demo._publish() == "v1.0.0 and v1.1.0 copied and checked, v1.0.0 current"
    artifacts = ["--artifacts", str(work.folder / "artifacts" / "mlp")]
    assert [words[3:] for words in work.ran] == [
        ["publish", "v1.0.0", "--from", str(work.folder / "built" / "mlp"), *artifacts],
        ["publish", "v1.1.0", "--from", str(work.folder / "built" / "mlp-int8"), *artifacts],
        ["promote", "v1.0.0", *artifacts],
    ]
    assert json.loads((work.folder / "request.json").read_text()) == {"instances": [[1.5]]}


def answering(versions, classes=(0,)):
    """Answers by these versions and of these classes in turn."""
    given = (
        {"model_version": one, "predictions": [two]} for one, two in zip(cycle(versions), cycle(classes))
    )
    return lambda *_: next(given)


def test_a_canary_that_answers_as_the_other_version_does_is_promoted(work, monkeypatch):
    work.demo.version, work.demo.canary = "v1.0.0", "v1.1.0"
    answers = chain(islice(cycle(["v1.0.0", "v1.0.0", "v1.0.0", "v1.1.0"]), 200), repeat("v1.1.0"))
    monkeypatch.setattr(Demo, "_answer", answering(list(islice(answers, 300))))
    assert work.demo._try_canary().startswith(
        "v1.1.0 answered 50 of 200 requests, all as v1.0.0 did; promoted, "
    )
    assert [words[3:5] for words in work.ran] == [["promote", "v1.1.0"]]


@pytest.mark.parametrize(
    ("versions", "classes", "said"),
    [(["v1.0.0"], [0], "has 0 answers"), (["v1.0.0", "v1.1.0"], [0, 1], "has 100 answers, 2 classes")],
)
def test_a_canary_without_answers_or_with_others_is_not_promoted(work, monkeypatch, versions, classes, said):
    work.demo.version, work.demo.canary = "v1.0.0", "v1.1.0"
    monkeypatch.setattr(Demo, "_answer", answering(versions, classes))
    with pytest.raises(InconclusiveError, match=f"{said}.*not promoted"):
        work.demo._try_canary()
    assert work.ran == []


def test_a_model_is_trained_once_and_kept(work):
    first = work.demo._train()
    parameters = 30 * 4 + 4 + 4 * 4 + 4 + 4 + 1
    assert first.startswith(f"mlp v1.0.0, {parameters:,} parameters, ")
    assert "in eight bits v1.1.0, " in first
    again = Demo(settings=work.demo.settings)._train()
    assert again == f"{first}, of an earlier demo"
    other = DemoSettings(output=work.folder, **SETTINGS | {"hidden": 5})
    assert Demo(settings=other)._train().startswith("mlp v1.0.1, ")


@pytest.mark.parametrize(
    ("code", "stdout", "answers", "ends"),
    [
        (0, "said", (0,), None),
        (3, "said", (0, 3), None),
        (3, "said", (0,), 3),
        (4, "", (0, 4), 4),
    ],
)
def test_a_stage_without_an_answer_ends_the_demo(work, monkeypatch, code, stdout, answers, ends):
    done = subprocess.CompletedProcess([], code, stdout=stdout, stderr="")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    if ends is None:
        work.demo._capacity("plan", answers=answers)
        assert work.demo.report
    else:
        with pytest.raises(typer.Exit) as ended:
            work.demo._capacity("plan", answers=answers)
        assert ended.value.exit_code == ends
        assert work.demo.report == []


def test_the_settings_of_a_demo_are_those_that_are_documented():
    usual = DemoSettings(output=Path("demo"))
    assert (usual.hidden, usual.samples, usual.runs) == (3072, 200, 2)
    assert (usual.rate, usual.slo_p99, usual.duration) == ("200rps", "60ms", "25s")
    assert usual.batch_sizes == (1, 2, 4, 8, 16, 32)
    assert usual.artifacts == Path("demo/artifacts/mlp")


def test_a_replica_is_started_at_a_free_port():
    replica = Replica(
        artifacts=Path("a"), batch_size_max=8, batch_wait_max_s=0.0025, flags=("--threads", "2")
    )
    assert replica.command() == [
        sys.executable, "-m", "serve_api", "--artifacts", "a", "--host", "127.0.0.1", "--port", "0",
        "--batch-size-max", "8", "--batch-wait-max", "2500us", "--threads", "2",
    ]  # fmt: skip
    emulated = Replica(emulate=Path("p.json"), batch_size_max=1).command()
    assert emulated[3:5] == ["--emulate", "p.json"]
    assert emulated[-1] == "0us"


def test_an_example_is_the_mean_of_each_feature(tmp_path):
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "scaler.json").write_text('{"mean": [1, 2.5], "scale": [3, 4]}', encoding="utf-8")
    assert example(tmp_path) == [1.0, 2.5]


class Process:
    """A process that ends when asked, or only when it is killed."""

    def __init__(self, *, ended: bool = False, stubborn: bool = False) -> None:
        self.ended, self.stubborn, self.told = ended, stubborn, []

    def poll(self):
        return 1 if self.ended else None

    def send_signal(self, number):
        self.told.append(number)

    def wait(self, patience_s=None):
        self.told.append(patience_s)
        if self.stubborn and patience_s is not None:
            raise subprocess.TimeoutExpired("serve", patience_s)

    def kill(self):
        self.told.append("killed")


def test_a_server_says_where_it_listens_or_why_it_does_not(tmp_path, monkeypatch):
    log = tmp_path / "log"
    now_s = iter(range(100))
    monkeypatch.setattr(replicas.time, "monotonic", lambda: next(now_s))
    monkeypatch.setattr(replicas.time, "sleep", lambda _: None)
    log.write_text("warm\nlistening on http://127.0.0.1:8123 now\n", encoding="utf-8")
    assert _address(Process(), log, 1000.0) == "http://127.0.0.1:8123"
    log.write_text("x" * 2001, encoding="utf-8")
    with pytest.raises(DependencyError, match=f"^the server did not start: {'x' * 2000}$"):
        _address(Process(ended=True), log, 1000.0)
    log.write_text("", encoding="utf-8")
    with pytest.raises(DependencyError, match="^the server did not start: it said nothing$"):
        _address(Process(), log, 20.0)
    assert 20 <= next(now_s) <= 23  # it was waited for until then


@pytest.mark.parametrize(
    ("stubborn", "told"), [(False, [signal.SIGTERM, 9.0]), (True, [signal.SIGTERM, 9.0, "killed", None])]
)
def test_a_replica_is_drained_and_gone_afterwards(tmp_path, monkeypatch, stubborn, told):
    process = Process(stubborn=stubborn)
    monkeypatch.setattr(replicas.subprocess, "Popen", lambda *_, **__: process)
    monkeypatch.setattr(replicas, "_address", lambda *_: "here")
    with running(Replica(artifacts=tmp_path, batch_size_max=1), tmp_path / "log", 9.0) as url:
        assert (url, process.told) == ("here", [])
    assert process.told == told


def test_a_core_that_is_not_usable_is_named_beside_those_that_are():
    usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(InputError, match=f"^core 4096 is not usable; usable are {usable}$"), pinned(4096):
        pass


class Session:
    """Answers by what its bytes say."""

    answers: dict[bytes, tuple[list[int], list[list[float]]]]

    def __init__(self, model: bytes) -> None:
        labels, probabilities = self.answers[model]
        self.found = np.array(labels), np.array(probabilities)

    def predict(self, _):
        return self.found


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(graph, "OnnxSession", Session)
    Session.answers = {
        b"before": ([0, 1, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]]),
        b"aft": ([0, 1, 0, 1], [[0.8, 0.2], [0.5, 0.5], [0.7, 0.3], [0.0, 1.0]]),
    }


LABELS = np.array([0, 1, 1, 0])


def test_a_score_is_the_share_that_is_right_and_the_mean_surprise(session):
    found = graph.score(b"aft", np.zeros((4, 2), dtype=np.float32), LABELS)
    assert (found["test_rows"], found["test_accuracy"]) == (4, 0.5)
    assert found["test_log_loss"] == pytest.approx(-np.log([0.8, 0.5, 0.3, 1e-7]).mean())


def test_what_became_of_answers_is_counted_by_hand(session):
    rows = np.zeros((4, 2), dtype=np.float32)
    data = Dataset(names=("a", "b"), train_rows=rows, train_labels=LABELS, test_rows=rows, test_labels=LABELS)
    found = _effect(b"before", b"aft", data)
    assert (found["test_accuracy"], found["test_accuracy_before"], found["test_labels_changed"]) == (
        0.5,
        0.75,
        1,
    )
    assert found["probability_difference_max"] == pytest.approx(0.5)
    assert found["file_ratio"] == 2.0


@pytest.mark.parametrize(
    ("off", "labels", "said"),
    [
        (1e-6, [0, 1, 1, 1], None),
        (1.2e-5, [0, 1, 1, 1], "0 labels differ, and probabilities by 1.2e-05, 1e-05 at most"),
        (1e-6, [0, 1, 0, 1], "1 labels differ, and probabilities by 1e-06, 1e-05 at most"),
    ],
)
def test_a_graph_that_is_another_model_is_refused(session, off, labels, said):
    probabilities = Session.answers[b"before"][1]
    pipeline = SimpleNamespace(
        predict_proba=lambda _: np.array(probabilities) - off, predict=lambda _: np.array(labels)
    )
    rows = np.zeros((4, 2), dtype=np.float32)
    if said is None:
        assert graph.difference_max(b"before", pipeline, rows) == pytest.approx(off)
        return
    with pytest.raises(InconclusiveError, match=f"^the ONNX graph and scikit-learn disagree: {said}"):
        graph.difference_max(b"before", pipeline, rows)


@pytest.mark.parametrize(
    ("code", "goes_on"), [(0, True), (3, True), (4, True), (1, False), (2, False), (5, False)]
)
def test_what_is_missed_or_cannot_be_told_is_an_answer_too(work, monkeypatch, code, goes_on):
    done = subprocess.CompletedProcess([], code, stdout="said", stderr="")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    if goes_on:
        work.demo._capacity("verify")
    else:
        with pytest.raises(typer.Exit):
            work.demo._capacity("verify")
