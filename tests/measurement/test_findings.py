"""From a measurement to a profile: what was measured, what a person says, and on what it was made."""

import http.client
import io
import itertools
import json
import os
import platform
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_server import Reply, metrics_page, serving
from measurements import environment
from measurements.facts import ProfileFacts
from rich.console import Console
from serving_process import until

from capacity.errors import InputError
from capacity.measurement.callable import measure_callable
from capacity.measurement.counted import Window, measure_metrics, watch
from capacity.measurement.findings import Measurement, SizeFinding
from capacity.measurement.histogram import Histograms
from capacity.measurement.http import Exchange, parse_address
from capacity.measurement.overhead import Overhead, RequestWork
from capacity.measurement.report import measurement_document, measurement_tables
from capacity.measurement.rounds import Rounds
from capacity.measurement.scrape import read_page
from capacity.performance import Interval
from capacity.profile import BatchTiming
from capacity.profile_json import read_document
from capacity.reading import TEXT_LENGTH_MAX
from capacity.saved_profile import profile_to_document

ONE = SizeFinding(
    timing=BatchTiming(batch_size=1, mean_s=0.002, p50_s=0.002),
    count=50,
    mean=Interval(value=0.002, low=0.0019, high=0.0021),
    bucket_error=0.05,
)
OVERHEAD = Overhead(request_s=0.0008, batch_size=1, growth_s=5e-6)
WORK = RequestWork(process_s=2.0, batch_s=1.5, batch_wall_s=1.6, requests=1000, rows=1000)


def measurement(**changes) -> Measurement:
    return Measurement(**{"findings": (ONE,), "source": {"date": "2026-01-01"}, **changes})


@pytest.mark.parametrize(
    ("measured", "said", "overhead_s", "work_s"),
    [
        ({}, {}, 0.0, 0.0),
        ({"overhead": OVERHEAD}, {}, 0.0008, 0.0),
        ({"work": WORK}, {}, 0.0, 0.0005),
        # The work of the request is in what the client saw, and a plan adds it to the batch.
        ({"overhead": OVERHEAD, "work": WORK}, {}, 0.0003, 0.0005),
        ({"overhead": OVERHEAD}, {"request_work_s": 0.0005}, 0.0003, 0.0005),
        ({"overhead": OVERHEAD}, {"request_work_s": 0.009}, 0.0, 0.009),
        ({"overhead": OVERHEAD, "work": WORK}, {"request_overhead_s": 0.004}, 0.004, 0.0005),
        ({"overhead": OVERHEAD, "work": WORK}, {"request_work_s": 0.0}, 0.0008, 0.0),
    ],
)
def test_work_and_overhead_are_not_counted_twice(measured, said, overhead_s, work_s):
    profile = ProfileFacts(name="a", **said).profile(measurement(**measured))
    assert profile.request_overhead_s == pytest.approx(overhead_s)
    assert profile.request_work_s == pytest.approx(work_s)


def test_facts_go_into_the_profile():
    facts = ProfileFacts(
        name="a", model="m", device="d", kind="gpu", precision="fp16", runtime="r 1", hourly_usd=2.0
    )
    profile = facts.profile(measurement())
    assert (profile.name, profile.model, profile.device, profile.kind) == ("a", "m", "d", "gpu")
    assert (profile.precision, profile.runtime, profile.hourly_usd) == ("fp16", "r 1", 2.0)
    assert profile.source == {"date": "2026-01-01"}
    assert profile.timings == (ONE.timing,)


@pytest.mark.parametrize("flag", ["model", "device", "precision", "runtime"])
@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "x" * (TEXT_LENGTH_MAX + 1)])
def test_facts_that_no_profile_file_could_hold(flag, text):
    with pytest.raises(InputError, match=f"--{flag} must be one line"):
        ProfileFacts(name="a", **{flag: text})


def test_document_and_table_of_counts():
    found = measurement(work=WORK, overhead=OVERHEAD)
    profile = ProfileFacts(name="a").profile(found)
    document = measurement_document(found, profile, seed=3, confidence=0.9)
    (batch,) = json.loads(json.dumps(document, allow_nan=False))["batches"]
    assert batch == {
        "batch_size": 1,
        "batches": 50,
        "mean_s": {"value": 0.002, "low": 0.0019, "high": 0.0021},
        "p50_s": 0.002,
        "throughput_rps": pytest.approx(1 / 0.0025),  # batch and work
        "percentile_error": 0.05,
    }
    assert document["request_work"] == {
        "request_s": 0.0005, "process_cpu_s": 2.0, "batch_cpu_s": 1.5, "batch_s": 1.6, "requests": 1000, "rows": 1000,
    }  # fmt: skip
    assert document["request_overhead"] == {"median_s": 0.0008, "batch_size": 1, "growth_per_row_s": 5e-6}
    assert (document["seed"], document["confidence"], document["complete"]) == (3, 0.9, True)
    assert len(list(measurement_tables(found, profile))) == 2


@pytest.mark.parametrize(
    ("batch_size", "shown"),
    [
        (1, "800 (700 to 900) µs at batch size 1, and 5 µs more for each row"),
        (8, "800 (700 to 900) µs for one row, by 8 rows and more, and 5 µs more for each row"),
    ],
)
def test_the_overheads_interval_is_shown(batch_size, shown):
    interval = Interval(value=0.0008, low=0.0007, high=0.0009)
    found = measurement(overhead=replace(OVERHEAD, batch_size=batch_size, interval=interval))
    profile = ProfileFacts(name="a").profile(found)
    document = measurement_document(found, profile, seed=3, confidence=0.9)
    assert document["request_overhead"] == {
        "median_s": 0.0008, "low_s": 0.0007, "high_s": 0.0009, "batch_size": batch_size, "growth_per_row_s": 5e-6,
    }  # fmt: skip
    console = Console(width=120, file=io.StringIO())
    with console.capture() as text:
        for table in measurement_tables(found, profile):
            console.print(table)
    assert shown in text.get()


def test_environment_names_the_machine_and_nobody(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = environment.machine() | environment.process()
    assert {"cpu", "cores", "kernel", "date", "cores_usable", "threads", "python"} <= set(found)
    assert "OMP_NUM_THREADS=3" in found["threads"]
    assert "MKL" not in found["threads"]
    assert found["python"] == platform.python_version()
    assert platform.release() in found["kernel"]
    assert 1 <= int(found["cores_usable"]) <= int(found["cores"])
    text = " ".join(found.values())
    for private in (platform.node(), str(Path.cwd()), str(Path.home())):
        assert not private or private not in text
    assert all(value.isprintable() and len(value) <= TEXT_LENGTH_MAX for value in found.values())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")
def test_environment_counts_the_cores_that_are_left():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert environment.process()["cores_usable"] == "1"
    finally:
        os.sched_setaffinity(0, before)


def test_environment_names_runtimes_that_are_loaded(monkeypatch):
    class Torch:
        __version__ = "9.9"

    monkeypatch.setitem(sys.modules, "torch", Torch)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    found = environment.process()
    assert found["torch"] == "9.9"
    assert "jax" not in found


def test_window_waits_and_an_interrupt_ends_it_with_a_scrape():
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        if len(slept) == 4:
            raise KeyboardInterrupt

    pages = iter([metrics_page({}, requests=n) for n in (1, 2, 3, 4)])
    told: list[str] = []
    with serving(lambda target, body: Reply(body=next(pages))) as seen:
        exchange = Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)
        whole = watch(exchange, 12.0, told.append, clock=lambda: now[0], sleep=sleep)
        cut = watch(exchange, 100.0, told.append, clock=lambda: now[0], sleep=sleep)
        exchange.close()
    assert slept[:3] == [5.0, 5.0, 2.0]
    assert (whole.seconds, whole.interrupt) == (12.0, None)
    assert [w.total("serve_requests_total") for w in (whole.before, whole.after, cut.before, cut.after)] == [
        1,
        2,
        3,
        4,
    ]
    assert cut.seconds == 5.0
    assert isinstance(cut.interrupt, KeyboardInterrupt)
    assert told[0] == "watching the server's metrics for 12 s more"


def test_an_interrupt_amid_a_scrape_ends_the_window_with_a_scrape_of_its_own(monkeypatch):
    """Of what was asked before it the answer still lies in the connection, and is nobody's."""
    now, number = [0.0], itertools.count(1)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def cut_short(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        if next(scrapes) == 3:
            until(lambda: len(seen.asked) == 3)
            raise KeyboardInterrupt
        return answered(connection)

    scrapes, answered = itertools.count(1), http.client.HTTPConnection.getresponse
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", cut_short)
    with (
        serving(lambda *_: Reply(body=metrics_page({}, requests=next(number)))) as seen,
        closing(Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)) as exchange,
    ):
        try:
            found = watch(exchange, 40.0, print, Histograms().totals, clock=lambda: now[0], sleep=sleep)
        except KeyboardInterrupt:  # which would end all tests
            pytest.fail("the window is lost")
        assert (seen.connections, len(seen.asked), len(found.between)) == (2, 4, 1)
    assert isinstance(found.interrupt, KeyboardInterrupt)
    assert found.after.total("serve_requests_total") == 4


def test_windows_long_enough_are_looked_at_in_between():
    """In twenty sections, of which a look that fails makes two one."""
    now, number = [0.0], itertools.count()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def answer(target: str, body: bytes) -> Reply:
        k = next(number)
        return Reply(status=503) if k == 5 else Reply(body=metrics_page({1: [0.001] * k}, requests=k))

    told: list[str] = []
    with serving(answer) as seen:
        exchange = Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)
        found = watch(exchange, 40.0, told.append, Histograms().totals, clock=lambda: now[0], sleep=sleep)
        exchange.close()
    assert len(seen.asked) == 21
    assert found.seconds == pytest.approx(40.0)
    totals = [one.total("serve_batch_seconds_count") for one in found.scrapes]
    assert totals == [*range(5), *range(6, 21)]
    assert all(set(one.samples) == set(Histograms().totals) for one in found.between)
    assert found.after.total("serve_requests_total") == 20
    assert len(told) == 7  # once in three sections of 2 s


def test_short_windows_are_not():
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with serving(lambda target, body: Reply(body=metrics_page({}))) as seen:
        exchange = Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)
        watch(exchange, 4.9, print, Histograms().totals, clock=lambda: now[0], sleep=sleep)
        exchange.close()
    assert len(seen.asked) == 2


def test_an_interrupt_of_a_window_without_anything_is_one(monkeypatch):
    """Too few batches would be exit code 4, and a server that is gone 5."""
    same = read_page(metrics_page({1: [0.0011] * 50}).decode())
    window = Window(before=same, after=same, seconds=1.0, interrupt=KeyboardInterrupt())
    monkeypatch.setattr("measurements.sources.watch", lambda *_: window)
    address = parse_address("http://127.0.0.1:9/metrics", "--metrics")
    with pytest.raises(KeyboardInterrupt):
        measure_metrics(address, Histograms(), duration_s=9.0, timeout_s=1.0, confidence=0.95, report=print)

    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    replies = iter([Reply(body=metrics_page({})), Reply(status=503)])
    with serving(lambda target, body: next(replies)) as seen:
        exchange = Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)
        with pytest.raises(KeyboardInterrupt):
            watch(exchange, 9.0, print, sleep=sleep)
        exchange.close()


@pytest.mark.parametrize("text", ["x" * 3000, "a\nb\x1b[31m", "POST /predict"])
def test_whatever_was_measured_can_be_read_back(text):
    """A file that could not would cost hours."""
    found = ProfileFacts(name="a").profile(measurement(source={"measured_by": text, text: "kept"}))
    read = read_document(json.loads(json.dumps(profile_to_document(found))), "it")
    assert read.source["measured_by"].startswith(text[:1])


def test_what_no_file_gives_back_is_refused_before_it_is_measured(monkeypatch):
    monkeypatch.setattr("capacity.profile_json.TEXT_LENGTH_MAX", 10)
    with pytest.raises(InputError, match="the profile: runtime must be a text of one line"):
        ProfileFacts(name="a", runtime="a runtime and its version").check()
    ProfileFacts(name="a", runtime="numpy", kind="cpu", hourly_usd=1.0).check()


def test_a_callable_is_measured_in_rounds():
    called: list[int] = []
    rounds = Rounds(batch_sizes=(1, 3), samples=30, warm_up=2, seed=1)
    found = measure_callable(
        lambda size: called.append(size) or sum(range(500 * size)), "m:f", rounds, 0.95, print
    )
    assert len(called) == 2 * 32
    assert [one.count for one in found.findings] == [30, 30]
    assert all(one.drift is not None and one.stalls is not None for one in found.findings)
    assert found.overhead is None
    assert found.source["excludes"] == "HTTP, network and queue"
    assert (
        found.source["settings"]
        == "30 rounds of all batch sizes in random order, seed 1, after 2 to warm up at most"
    )
