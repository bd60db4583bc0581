"""`capacity profile`, as a user runs it, and `capacity plan` with what it wrote."""

import itertools
import json
import math
import random
import sys
import threading
import time

import pytest
from fake_server import Reply, metrics_page, predicting, serving
from test_cli import document, installed

import capacity as cap
import cli
from capacity.errors import DependencyError
from capacity.profile.load import load_profile

__all__ = ["installed"]
BENCH = """
import os, signal, time
calls = 0
def predict(batch_size):
    return sum(range(300 * batch_size))
def fails(batch_size):
    if batch_size == 4: raise RuntimeError("out of memory")
def interrupted(batch_size):
    global calls
    calls += 1
    if calls == 40: os.kill(os.getpid(), signal.SIGINT)
    return sum(range(300))
def sleeps(batch_size):
    time.sleep(0.002)
def interrupted_at_once(batch_size):
    os.kill(os.getpid(), signal.SIGINT)
"""
SHORT = ["--batch-sizes", "1,2,4", "--samples", "50", "--warm-up", "2"]
FINE = tuple(1e-4 * 1.1**k for k in range(120))
PATHS = ("/home", "/tmp", "/root", "127.0.0.1")


@pytest.fixture
def bench(tmp_path):
    """A module of callables and a request, where the command runs."""
    (tmp_path / "bench.py").write_text(BENCH, encoding="utf-8")
    (tmp_path / "row.json").write_text('{"instances": [[1, 2, 3]]}', encoding="utf-8")
    return tmp_path


@pytest.fixture
def here(bench, monkeypatch, capsys):
    """Runs the command in this process, which is quicker: exit code, stdout and stderr."""
    monkeypatch.chdir(bench)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "bench", None)  # so that it is out again afterwards
    monkeypatch.delitem(sys.modules, "bench")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.app(["profile", *arguments])
        return end.value.code, *capsys.readouterr()

    return run


def test_of_a_callable(installed, bench):
    done = installed("profile", "--callable", "bench:predict", *SHORT, "-o", "sum.json", "--json", "--seed", "3",
                    "--model", "sum", "--device", "here", "--kind", "cpu", "--precision", "int", "--runtime", "CPython",
                    "--hourly-usd", "0.5", "--request-overhead", "2ms", "--request-work", "50us")  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert set(answer) == {
        "schema_version", "batches", "confidence", "caveats", "complete", "profile", "seed",
        "wake_s",
    }  # fmt: skip
    assert [batch["batch_size"] for batch in answer["batches"]] == [1, 2, 4]
    for batch in answer["batches"]:
        assert batch["mean_s"]["low"] <= batch["mean_s"]["value"] <= batch["mean_s"]["high"]
        assert 0 < batch["p50_s"] <= batch["p90_s"] <= batch["p95_s"] <= batch["p99_s"]
        assert batch["batches"] == 50
        assert {"drift", "stalls", "throughput_rps"} <= set(batch)
    written = load_profile(str(bench / "sum.json"))
    assert json.loads((bench / "sum.json").read_text(encoding="utf-8")) == answer["profile"]
    assert (written.name, written.model, written.device, written.kind) == ("sum", "sum", "here", "cpu")
    assert (written.precision, written.runtime, written.hourly_usd) == ("int", "CPython", 0.5)
    assert (written.request_overhead_s, written.request_work_s) == (0.002, 50e-6)
    assert [len(timing.samples_s) for timing in written.timings] == [50, 50, 50]
    assert written.source["measured_by"].endswith("capacity profile --callable bench:predict")
    assert {"cpu", "kernel", "date", "cores_usable", "threads", "python"} <= set(written.source)
    assert "50 rounds of all batch sizes in random order, seed 3" in written.source["settings"]
    assert not any(path in value for value in written.source.values() for path in PATHS)

    planned = installed("plan", "--profile", "sum.json", "--rate", "100rps", "--slo-p99", "1s", "--json",
                       "--batch-wait", "0ms", "--precision", "0.2", "--requests-max", "500000")  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    assert document(planned)["recommendation"]["profile"] == "sum"


def test_table_has_a_row_for_each_size(installed, bench):
    done = installed("profile", "--callable", "bench:predict", *SHORT)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["batch", "mean", "P50", "P99", "rps", "samples", "stalls", "drift"] in rows
    assert [row[0] for row in rows if row and row[0] in ("1", "2", "4")] == ["1", "2", "4"]
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert sorted(entry.name for entry in bench.iterdir() if entry.is_file()) == ["bench.py", "row.json"]


def test_of_an_endpoint_that_tells_its_batch_times(installed, bench):
    dice = random.Random(1)
    with serving(predicting(lambda rows: 5e-4 * (1 + rows) * math.exp(dice.gauss(0, 0.05)))) as seen:
        url = f"{seen.url}/predict?api_key=secret"
        done = installed("profile", "--url", url, "--body", "row.json", *SHORT, "--json",
                        "-o", "told.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert seen.connections == 1
    assert len(seen.asked) == 3 * 52 + 5 * 11  # naps between rounds
    answer = document(done)
    for batch in answer["batches"]:
        assert batch["mean_s"]["value"] == pytest.approx(5e-4 * (1 + batch["batch_size"]), rel=0.05)
    overhead = answer["request_overhead"]
    assert overhead["batch_size"] == 1
    assert overhead["low_s"] <= overhead["median_s"] <= overhead["high_s"]
    assert {target for _, target, _ in seen.asked} == {"/predict?api_key=secret"}
    assert "secret" not in done.stdout + done.stderr
    written = load_profile(str(bench / "told.json"))
    assert written.request_overhead_s == overhead["median_s"]
    assert "Server-Timing" in written.source["service_time"]
    assert written.source["measured_by"].endswith("POST /predict on one connection, one request at a time")
    assert not any(path in value for value in written.source.values() for path in PATHS)


@pytest.mark.long
def test_of_an_endpoint_that_tells_nothing(installed, bench):
    with serving(lambda target, body: Reply()) as seen:
        done = installed("profile", "--url", seen.url, "--body", "row.json", *SHORT, "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert "request_overhead" not in answer
    assert answer["profile"]["request_overhead_s"] == 0.0
    assert "measured_by_client" in [caveat["code"] for caveat in answer["caveats"]]


def test_of_a_server_s_metrics(installed, bench):
    """The first scrape shows an hour of the past, which leaves no trace."""
    dice = random.Random(2)
    times = {size: [1e-3 * size * math.exp(dice.gauss(0, 0.1)) for _ in range(3000)] for size in (1, 2, 4)}
    past = {size: [0.5] * 1000 for size in (1, 2, 4)}
    pages = iter([
        metrics_page(past, bounds_s=FINE, requests=900, process_s=100.0, batch_s=50.0),
        metrics_page({k: past[k] + times[k] for k in times}, bounds_s=FINE,
                     requests=900 + 21000, process_s=100.0 + 26.2, batch_s=50.0 + 22.0),
    ])  # fmt: skip
    with serving(lambda target, body: Reply(body=next(pages))) as seen:
        done = installed("profile", "--metrics", f"{seen.url}/metrics", "--duration", "200ms", "--json",
                        "-o", "counted.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(method, target) for method, target, _ in seen.asked] == [("GET", "/metrics")] * 2
    answer = document(done)
    for batch in answer["batches"]:
        size = batch["batch_size"]
        assert batch["mean_s"]["value"] == pytest.approx(sum(times[size]) / 3000, rel=1e-9)
        assert batch["p99_s"] == pytest.approx(sorted(times[size])[2969], rel=0.11)
        assert 0.0 < batch["percentile_error"] < 0.1
        assert not {"drift", "stalls"} & set(batch)
    assert answer["request_work"]["request_s"] == pytest.approx(4.2 / 21000)
    written = load_profile(str(bench / "counted.json"))
    assert written.request_work_s == answer["request_work"]["request_s"]
    assert "percentiles are within" in written.source["service_time"]


def test_other_names_of_metrics(installed):
    old = metrics_page({}).decode()
    new = metrics_page({8: [1.05] * 100}, bounds_s=(1.0, 1.1, 1.2)).decode()
    renamed = [
        page.replace("serve_batch_seconds", "infer_ms").replace("batch_size", "n").encode()
        for page in (old, new)
    ]
    pages = iter(renamed)
    with serving(lambda target, body: Reply(body=next(pages))) as seen:
        done = installed(
            "profile",
            "--metrics",
            seen.url,
            "--duration",
            "10ms",
            "--metric",
            "infer_ms",
            "--label",
            "n",
            "--metric-unit",
            "ms",
        )
    assert done.returncode == 0, done.stderr
    assert "1.05 ms" in done.stdout


def test_an_interrupt_keeps_what_was_finished(installed, bench):
    done = installed("profile", "--callable", "bench:interrupted", *SHORT, "-o", "cut.json", "--json")
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted"
    answer = document(done)
    assert answer["complete"] is False
    assert "measured_early_end" in [caveat["code"] for caveat in answer["caveats"]]
    # 2 rounds of 3 warm up; of the other 33 calls that ended, 10 rounds, and a nap that did not end.
    assert {len(timing.samples_s) for timing in load_profile(str(bench / "cut.json")).timings} == {10}


def test_an_interrupt_before_anything_is_finished_writes_nothing(here, bench):
    returned, stdout, stderr = here("--callable", "bench:interrupted_at_once", *SHORT, "-o", "cut.json")
    assert (returned, stdout, stderr) == (130, "", "interrupted\n")
    assert not (bench / "cut.json").exists()


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (Reply(body=b"<html>"), 5, "not in Prometheus' text format"),
        (Reply(body=b"\xff\xfe"), 5, "not UTF-8 text"),
        (Reply(status=404), 5, "answered 404"),
        (Reply(body=metrics_page({})), 5, "has no histogram serve_batch_seconds"),
        (Reply(body=metrics_page({1: [0.001] * 100})), 4, "send traffic to the server meanwhile"),
        (Reply(body=b"a " + b"9" * 400), 5, "not in Prometheus' text format"),
    ],
)
def test_metrics_that_do_not_do(here, reply, code, said):
    with serving(lambda target, body: reply) as seen:
        returned, stdout, stderr = here("--metrics", seen.url, "--duration", "10ms")
    assert (returned, stdout) == (code, "")
    assert said in stderr


@pytest.mark.parametrize(("good", "rounds"), [(20, 4), (8, None)])
def test_an_endpoint_that_fails_midway_leaves_finished_rounds(here, bench, good, rounds):
    """Of three sizes, after two rounds that warm up."""
    answered = itertools.count(1)
    well = predicting(lambda rows: 0.001)

    def answer(target: str, body: bytes) -> Reply:
        return well(target, body) if next(answered) <= good else Reply(status=503, body=b"overloaded")

    with serving(answer) as seen:
        returned, stdout, stderr = here("--url", seen.url, "--body", "row.json", *SHORT, "-o", "p.json")
    assert returned == 5
    assert stderr.splitlines()[-1].endswith("answered 503: overloaded")
    assert ("4 of 50 rounds were finished, as the next one failed" in stdout) is (rounds is not None)
    if rounds is None:
        assert not (bench / "p.json").exists()
    else:
        assert {len(one.samples_s) for one in load_profile(str(bench / "p.json")).timings} == {rounds}


def test_what_is_not_known_in_time_is_inconclusive(here):
    returned, stdout, stderr = here(
        "--callable", "bench:sleeps", "--batch-sizes", "1,2", "--duration-max", "1ms"
    )
    assert (returned, stdout) == (4, "")
    assert "was not enough for one round of 2 batch sizes" in stderr


class Working:
    """A server that serves batches of one, one after another, and more slowly where there are many clients."""

    def __init__(self) -> None:
        self.computed_s = 0.0
        self.busy = threading.Lock()

    def __call__(self, target: str, body: bytes) -> Reply:
        if target == "/metrics":
            return Reply(body=metrics_page({}, batch_s=self.computed_s))
        with self.busy:
            rows = len(json.loads(body)["instances"])
            self.computed_s += 2e-3 * rows
            took_s = 2e-3 * rows + (2e-3 if threading.active_count() > 5 else 0.0)
            time.sleep(took_s)
        return Reply(headers={"X-Batch-Size": str(rows), "Server-Timing": f"batch;dur={1e3 * took_s}"})


@pytest.mark.long
def test_crowds_tell_work_beside_batches(here, bench, monkeypatch):
    monkeypatch.setattr("capacity.measurement.users._DURATION_S", 0.5)
    with serving(Working()) as seen:
        code, out, error = here("--url", f"{seen.url}/predict", "--body", "row.json", *SHORT, "--json",
                                "--counters", f"{seen.url}/metrics", "-o", "told.json")  # fmt: skip
    assert code == 0, error
    found = json.loads(out)["work_beside"]
    assert len(found["crowds"]) == 3
    # The server says of each batch that it took 2 ms longer than it computed.
    assert found["batch_s"] + 0.9 * found["request_s"] == pytest.approx(2e-3, rel=0.25)
    written = load_profile(str(bench / "told.json"))
    assert (written.batch_work_s, written.request_work_s) == (found["batch_s"], found["request_s"])
    assert written.service_mean_s(2) == pytest.approx(4e-3 + found["batch_s"] + 2 * found["request_s"])
    assert "a crowd of 16 users" in error


def test_counters_that_tell_nothing_are_refused_before_any_round(here, bench):
    answer = predicting(lambda rows: 1e-3)
    with serving(lambda target, body: Reply() if target == "/metrics" else answer(target, body)) as seen:
        code, _, error = here("--url", f"{seen.url}/predict", "--body", "row.json", *SHORT,
                              "--counters", f"{seen.url}/metrics", "-o", "told.json")  # fmt: skip
    assert code == 5
    assert "have no serve_batch_cpu_seconds_total" in error or "text format" in error


def test_counters_belong_to_an_endpoint(here):
    code, _, error = here(
        "--metrics", "http://127.0.0.1:1/metrics", "--counters", "http://127.0.0.1:1/metrics"
    )
    assert (code, "--counters is only for --url" in error) == (2, True)


@pytest.mark.parametrize(("samples", "wrong_from"), [("3", 0), ("20", 30)])
def test_a_server_that_contradicts_the_clock_leaves_no_profile(here, bench, samples, wrong_from):
    """At once, with too few requests for an early look, or midway and for one batch size alone."""
    number = itertools.count()
    honest = predicting(lambda rows: 1e-4)

    def answer(target: str, body: bytes) -> Reply:
        reply = honest(target, body)
        if next(number) >= wrong_from and len(json.loads(body)["instances"]) == 2:
            reply.headers["Server-Timing"] = "batch;dur=5700"
        return reply

    with serving(answer) as seen:
        returned, stdout, stderr = here("--url", seen.url, "--body", "row.json", "--batch-sizes", "1,2,4", "--warm-up",
                                        "0", "--no-rests", "--samples", samples, "-o", "p.json")  # fmt: skip
    assert (returned, stdout) == (5, "")
    assert "requests spent longer in queue and batch than the client waited" in stderr
    assert "is its dur in milliseconds?" in stderr
    assert not (bench / "p.json").exists()


def test_a_path_longer_than_any_text_makes_a_profile_that_can_be_read(here, bench):
    with serving(predicting(lambda rows: 1e-4)) as seen:
        code, _, error = here("--url", f"{seen.url}/{'a' * 1500}?api_key=secret", "--body", "row.json",
                              "--batch-sizes", "1", "--samples", "3", "--warm-up", "0", "-o", "p.json")  # fmt: skip
    assert code == 0, error
    written = load_profile(str(bench / "p.json"))
    assert f"POST /{'a' * 199} on one connection" in written.source["measured_by"]
    assert "secret" not in (bench / "p.json").read_text(encoding="utf-8")


def test_a_full_disk_leaves_the_answer(here, monkeypatch):
    def fails(answer: object, path: object) -> None:
        raise DependencyError("cannot write p.json: No space left on device")

    monkeypatch.setattr("capacity.answers.evidence.MeasurementAnswer.write_profile", fails)
    code, stdout, stderr = here("--callable", "bench:predict", "--batch-sizes", "1", "--samples", "5", "--json",
                                "-o", "p.json")  # fmt: skip
    assert (code, stderr) == (5, "error: cannot write p.json: No space left on device\n")
    assert json.loads(stdout)["batches"][0]["batches"] == 5


def test_the_function_measures_what_it_is_given_and_keeps_what_an_interrupt_leaves(tmp_path):
    calls: list[int] = []

    def predict(size: int) -> None:
        calls.append(size)
        time.sleep(0.001)
        if len(calls) > 12:
            raise KeyboardInterrupt

    answer = cap.measure_profile(
        function=predict, batch_sizes=[2, 1], samples=100, warm_up=1, rests=False, name="mine"
    )
    assert isinstance(answer.stop, KeyboardInterrupt)
    assert answer.profile.name == "mine"
    assert [row["batch_size"] for row in answer.rows()] == [1, 2] == list(answer.profile.batch_sizes)
    assert all(row["mean_s"] >= 0.001 for row in answer.rows())
    assert answer.to_dict()["complete"] is False
    assert "predict" in answer.profile.source["measured_by"]
    answer.write_profile(tmp_path / "mine.json")
    assert cap.load_profile(tmp_path / "mine.json") == answer.profile


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"function": 3}, "function must be a function that takes the batch size, got 3"),
        ({}, "give one of callable_name, url, metrics, llm, got none"),
        ({"url": "http://127.0.0.1:9"}, "give url and body FILE.json together"),
        ({"function": len, "rows_key": "x"}, "rows_key is only for url, not for callable_name"),
        (
            {"metrics": "http://127.0.0.1:9", "rests": False},
            "rests is only for callable_name and url, not for metrics",
        ),
        ({"function": len, "batch_sizes": [1.5]}, "batch_sizes has '1.5', which is not a batch size"),
    ],
)
def test_the_function_refuses_by_its_keywords(given, said):
    with pytest.raises(cap.InputError) as refused:
        cap.measure_profile(**given)
    assert said in str(refused.value)


def test_a_callable_that_fails_is_named_with_its_line(here, bench):
    returned, stdout, stderr = here("--callable", "bench:fails", *SHORT)
    assert (returned, stdout) == (5, "")
    assert "failed on a batch of 4: RuntimeError: out of memory (bench.py line 7)" in stderr
