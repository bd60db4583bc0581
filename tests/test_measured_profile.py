"""From a measurement to a profile: what was measured, what a person says, and on what it was made."""

import json
import os
import platform
import sys
from pathlib import Path

import pytest
from fake_server import Reply, metrics_page, serving

from capacity.errors import InputError
from capacity.performance import Interval
from capacity.profile import BatchTiming
from capacity.reading import TEXT_LENGTH_MAX
from measurements import environment
from measurements.address import parse_address
from measurements.facts import ProfileFacts
from measurements.http_exchange import HttpExchange
from measurements.measurement import Measurement, SizeFinding
from measurements.overhead import Overhead
from measurements.profile_report import measurement_document, measurement_tables
from measurements.request_work import RequestWork
from measurements.rounds import Rounds
from measurements.sources import measure_callable
from measurements.window import watch

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
        exchange = HttpExchange(parse_address(seen.url, "--metrics"), timeout_s=5.0)
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
