"""From a measurement to a profile: what was measured, what a person says, and on what it was made."""

import importlib.metadata
import io
import itertools
import json
import math
import os
import platform
import random
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from fake_server import Reply, metrics_page, serving
from rich.console import Console
from screens import cells

from capacity.errors import DependencyError, InconclusiveError
from capacity.files import TEXT_LENGTH_MAX
from capacity.measurement import findings as environment
from capacity.measurement.callable import measure_callable
from capacity.measurement.counted import Window, measure_metrics, watch
from capacity.measurement.findings import Measurement, SizeFinding, sampled, size_caveats
from capacity.measurement.http import Exchange, parse_address
from capacity.measurement.metrics import Histograms, read_page
from capacity.measurement.overhead import Overhead, RequestWork
from capacity.measurement.report import measurement_document, measurement_tables
from capacity.measurement.rounds import Nap, Rounds, Sampling, TimedBatch
from capacity.measurement.sections import Stalls, drift, mean_interval, stalls
from capacity.measurement.users import Stretch, WorkBeside
from capacity.performance import Interval
from capacity.profile.formats import profile_to_document, read_document
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.caveat import CaveatCode

ONE = SizeFinding(
    timing=BatchTiming(batch_size=1, mean_s=0.002, p50_s=0.002),
    count=50,
    mean=Interval(value=0.002, low=0.0019, high=0.0021),
    bucket_error=0.05,
)
OVERHEAD = Overhead(median_s=0.0008, batch_size=1, growth_per_row_s=5e-6)
ASKED = ServiceProfile(name="a", timings=(BatchTiming(batch_size=1, mean_s=1.0),), model="m", kind="cpu")
WORK = RequestWork(process_cpu_s=2.0, batch_cpu_s=1.5, batch_s=1.6, requests=1000, rows=1000)


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
    profile = measurement(**measured).profile(ASKED, **said)
    assert (profile.name, profile.model, profile.kind) == ("a", "m", "cpu")
    assert profile.timings == (ONE.timing,)
    assert profile.request_overhead_s == pytest.approx(overhead_s)
    assert profile.request_work_s == pytest.approx(work_s)


def test_document_and_table_of_counts():
    found = measurement(work=WORK, overhead=OVERHEAD)
    profile = found.profile(ASKED)
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
    found = measurement(overhead=replace(OVERHEAD, batch_size=batch_size, low_s=0.0007, high_s=0.0009))
    profile = found.profile(ASKED)
    document = measurement_document(found, profile, seed=3, confidence=0.9)
    assert document["request_overhead"] == {
        "median_s": 0.0008, "low_s": 0.0007, "high_s": 0.0009, "batch_size": batch_size, "growth_per_row_s": 5e-6,
    }  # fmt: skip
    console = Console(width=120, file=io.StringIO())
    with console.capture() as text:
        for table in measurement_tables(found, profile):
            console.print(table)
    assert shown in text.get()


def rows(found: Measurement, profile: ServiceProfile) -> list[list[str]]:
    return cells(measurement_tables(found, profile), 160)


def test_tables_show_what_was_found_and_no_more():
    full = replace(
        ONE,
        timing=BatchTiming(batch_size=1, samples_s=(0.002,) * 99 + (0.004,)),
        drift=Interval(value=0.05, low=-0.01, high=0.11),
        stalls=Stalls(count=3, share=0.03, limit_s=0.006, largest_s=0.01),
    )
    bare = SizeFinding(timing=BatchTiming(batch_size=2, mean_s=0.004), count=7, mean=None)
    found = measurement(
        findings=(full, bare),
        overhead=OVERHEAD,
        work=WORK,
        spells=Spells(share=0.25, lasting_s=0.5),
        wake=Interval(value=2e-4, low=1e-4, high=3e-4),
    )
    profile = found.profile(ASKED)
    shown = rows(found, profile)
    assert shown[3][:4] == ["1", "2 (1.9 to 2.1) ms", "2 ms", "2 ms"]
    assert shown[3][5:] == ["50", "3", "+5.0 % (-1.0 to +11.0 %)"]
    assert shown[4] == ["2", "4 ms", "-", "-", f"{profile.throughput_rps(2):.4g}", "7", "-", "-"]
    assert shown[5:] == [
        ["knee", f"batch size {profile.knee_batch_size}"],
        ["outside the batch", "800 µs at batch size 1, and 5 µs more for each row"],
        ["request work", "500 µs (2 s CPU less 1.5 s in batches, 1000 requests)"],
        ["spells", "25 % in common, lasting 500 ms"],
        ["after a pause", "200 µs longer (100 µs to 300 µs)"],
        ["request overhead", "300 µs"],
        ["work per batch", "0 s"],
        ["work per request", "500 µs"],
    ]
    plain = measurement()
    assert [row[0] for row in rows(plain, plain.profile(ASKED))[4:]] == [
        "knee", "request overhead", "work per batch", "work per request",
    ]  # fmt: skip
    alone = measurement(overhead=replace(OVERHEAD, batch_size=4, growth_per_row_s=None, low_s=0.0007))
    assert ["outside the batch", "800 µs at batch size 4"] in rows(alone, alone.profile(ASKED))


def test_the_document_has_all_that_was_measured():
    crowd = Stretch(batches=10.0, requests_within=20.0, batches_s=1.0, computed_s=0.5)
    found = measurement(
        findings=(replace(ONE, mean=None, drift=Interval.exact(0.25), stalls=stalls([0.002] * 3)),),
        spells=Spells(share=0.25, lasting_s=0.5),
        wake=Interval.exact(2e-4),
        beside=WorkBeside(batch_s=1e-3, request_s=1e-4, crowds=(crowd,)),
        stop=KeyboardInterrupt(),
    )
    profile = found.profile(ASKED)
    document = json.loads(json.dumps(measurement_document(found, profile, seed=3, confidence=0.9)))
    assert (profile.batch_work_s, profile.request_work_s) == (1e-3, 1e-4)
    assert document["spells"] == {"share": 0.25, "lasting_s": 0.5}
    assert document["wake_s"] == {"value": 2e-4, "low": 2e-4, "high": 2e-4}
    assert document["work_beside"]["crowds"] == [
        {"batches": 10.0, "requests_within": 20.0, "batches_s": 1.0, "computed_s": 0.5}
    ]
    assert document["complete"] is False
    (batch,) = document["batches"]
    assert (batch["mean_s"], batch["drift"]) == ({"value": 0.002}, {"value": 0.25, "low": 0.25, "high": 0.25})
    assert batch["stalls"] == {"count": 0, "share": 0.0, "limit_s": 0.006}


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


def test_environment_takes_the_version_of_the_package_where_a_module_has_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", object())
    monkeypatch.setitem(sys.modules, "jax", object())  # which is not installed
    found = environment.process()
    assert found["numpy"] == importlib.metadata.version("numpy")
    assert "jax" not in found


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("processor\t: 0\nmodel name\t: Fast CPU @ 3: x\nmodel name\t: Other\n", "Fast CPU @ 3: x"),
        (f"model name: {'y' * 300}\n", "y" * 200),
        (f"{'z' * 65_535}\nmodel name: too far\n", "generic"),
        ("flags: none\n", "generic"),
        (None, "generic"),
    ],
)
def test_environment_names_the_processor(monkeypatch, tmp_path, text, cpu):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(environment, "Path", lambda name: path)
    monkeypatch.setattr(platform, "processor", lambda: "generic")
    assert environment.machine()["cpu"] == cpu
    if cpu == "generic":
        monkeypatch.setattr(platform, "processor", lambda: "")
        assert environment.machine()["cpu"] == "unknown"


def test_environment_of_a_system_that_does_not_know_its_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert (environment.machine()["cores"], environment.process()["cores_usable"]) == ("unknown", "1")
    assert environment.process()["threads"] == "not limited"
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert (environment.machine()["cores"], environment.process()["cores_usable"]) == ("6", "6")


@pytest.mark.parametrize("text", ["x" * 3000, "a\nb\x1b[31m", "POST /predict"])
def test_whatever_was_measured_can_be_read_back(text):
    """A file that could not would cost hours."""
    found = measurement(source={"measured_by": text, text: "kept"}).profile(ASKED)
    read = read_document(json.loads(json.dumps(profile_to_document(found))), "it")
    assert read.source["measured_by"].startswith(text[:1])


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
        == "30 rounds of all batch sizes in random order, seed 1, after 2 of warm-up at most"
    )


@pytest.mark.parametrize(
    ("found", "taken_s"),
    [
        (None, 0.0),
        (Interval(value=2e-4, low=1e-4, high=3e-4), 2e-4),
        (Interval(value=2e-4, low=-1e-5, high=4e-4), 0.0),
        (Interval(value=2e-4, low=0.0, high=4e-4), 0.0),
        (Interval(value=-2e-4, low=-3e-4, high=-1e-4), 0.0),
    ],
)
def test_a_profile_takes_of_a_rest_what_chance_does_not_explain(found, taken_s):
    assert measurement(wake=found).profile(ASKED).wake_s == taken_s


@pytest.mark.parametrize(
    ("drift", "is_told"),
    [
        (Interval(value=0.05, low=0.01, high=0.09), True),
        (Interval(value=-0.05, low=-0.09, high=-0.01), True),
        (Interval(value=0.05, low=-0.01, high=0.11), False),
        (Interval(value=0.02, low=0.01, high=0.03), True),
        (Interval(value=0.019, low=0.01, high=0.03), False),
        (Interval(value=0.05, low=0.0, high=0.11), False),
        (Interval(value=-0.05, low=-0.11, high=0.0), False),
        (None, False),
    ],
)
def test_drift_of_note_is_certain_and_large_enough(drift, is_told):
    codes = [caveat.code for caveat in size_caveats([replace(ONE, drift=drift)])]
    assert (CaveatCode.MEASURED_DRIFT in codes) == is_told


@pytest.mark.parametrize(
    ("stalled", "code"),
    [
        (Stalls(count=2, share=0.01, limit_s=0.006, largest_s=0.05), CaveatCode.MEASURED_STALLS),
        (Stalls(count=2, share=0.009, limit_s=0.006, largest_s=0.05), None),
        (Stalls(count=1, share=0.5, limit_s=0.006, largest_s=0.05), None),
    ],
)
def test_a_caveat_needs_two_stalls_and_one_percent(stalled, code):
    found = [one.code for one in size_caveats([replace(ONE, mean=None, stalls=stalled)])]
    assert found == ([code] if code else [])


def test_a_mean_is_imprecise_beyond_5_percent():
    at, beyond = (replace(ONE, mean=Interval(value=20.0, low=20.0 - x, high=20.0 + x)) for x in (1.0, 1.25))
    assert list(size_caveats([at, replace(ONE, mean=None)])) == []
    (caveat,) = size_caveats([at, beyond])
    assert caveat.code is CaveatCode.MEASURED_NOISE


def test_a_caveat_names_the_worst_of_several_sizes():
    def of(size: int, shift: float, share: float, half: float) -> SizeFinding:
        return SizeFinding(
            timing=BatchTiming(batch_size=size, mean_s=0.002),
            count=50,
            mean=Interval(value=1.0, low=1.0 - half, high=1.0 + half),
            drift=Interval(value=shift, low=shift - 0.01, high=shift + 0.01),
            stalls=Stalls(count=2, share=share, limit_s=0.006, largest_s=0.05 * size),
        )

    drifted, stalled, wide = (
        caveat.message
        for caveat in size_caveats([of(1, 0.03, 0.02, 0.1), of(2, -0.04, 0.03, 0.2), of(4, 0.02, 0.01, 0.15)])
    )
    assert drifted == (
        "batches of 1, 2, 4 drifted from the first half of the rounds to the second, those of 2 by -4.0 % "
        "(-5.0 to -3.0 %), more than chance explains; let the machine settle and measure again"
    )
    assert stalled == (
        "batches of 1, 2, 4 stalled so often that stalls determine their P99: 3.0 % of those of 2 took more than "
        "6 ms, up to 100 ms; these samples are kept; if the fleet will not stall, find what else runs on the machine"
    )
    assert wide == (
        "means of batches of 1, 2, 4 are imprecise, that of 2 by 20 %; measure on a quiet machine, or raise --samples"
    )


def watched(answer, duration_s, sleep=None):
    """What a window shows on a clock of its own, and how often the server was asked."""
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds
        if sleep is not None:
            sleep(now[0])

    with serving(answer) as seen, Exchange(parse_address(seen.url, "--metrics"), timeout_s=5.0) as exchange:
        return watch(exchange, duration_s, clock=lambda: now[0], sleep=wait), len(seen.asked)


def interrupted(now_s: float) -> None:
    if now_s > 5.0:
        raise KeyboardInterrupt


def test_windows_long_enough_are_looked_at_in_between():
    """In twenty sections, of which a look that fails makes two one."""
    number = itertools.count()

    def answer(target: str, body: bytes) -> Reply:
        k = next(number)
        return Reply(status=503) if k == 5 else Reply(body=metrics_page({1: [0.001] * k}, requests=k))

    found, asked = watched(answer, 40.0)
    assert (asked, found.seconds, found.interrupt) == (21, pytest.approx(40.0), None)
    totals = [one.total("serve_batch_seconds_count") for one in found.scrapes]
    assert totals == [*range(5), *range(6, 21)]


def test_short_windows_are_not():
    assert watched(lambda *_: Reply(body=metrics_page({})), 4.9)[1] == 2


def test_an_interrupt_ends_a_window_with_a_scrape():
    number = itertools.count(1)
    found, asked = watched(lambda *_: Reply(body=metrics_page({}, requests=next(number))), 40.0, interrupted)
    assert isinstance(found.interrupt, KeyboardInterrupt)
    assert (asked, found.seconds) == (4, 6.0)
    assert found.scrapes[-1].total("serve_requests_total") == 4


def test_an_interrupt_of_a_window_without_anything_is_one(monkeypatch):
    """Too few batches would be exit code 4, and a server that is gone 5."""
    same = read_page(metrics_page({1: [0.0011] * 50}))
    window = Window((same, same), 1.0, KeyboardInterrupt())
    monkeypatch.setattr("capacity.measurement.counted.watch", lambda *_: window)
    address = parse_address("http://127.0.0.1:9/metrics", "--metrics")
    with pytest.raises(KeyboardInterrupt):
        measure_metrics(address, Histograms(), duration_s=9.0, timeout_s=1.0, confidence=0.95, report=print)
    replies = iter([*[Reply(body=metrics_page({}))] * 3, Reply(status=503)])
    with pytest.raises(KeyboardInterrupt):
        watched(lambda *_: next(replies), 40.0, interrupted)


@pytest.mark.parametrize("interrupt", [None, KeyboardInterrupt()], ids=["whole", "cut short"])
def test_a_window_that_an_interrupt_cut_short_is_told_and_a_whole_one_is_not(monkeypatch, interrupt):
    pages = [read_page(metrics_page({1: [0.0011] * count})) for count in (50, 100)]
    monkeypatch.setattr("capacity.measurement.counted.watch", lambda *_: Window((*pages,), 1.0, interrupt))
    address = parse_address("http://127.0.0.1:9/metrics", "--metrics")
    found = measure_metrics(
        address, Histograms(), duration_s=9.0, timeout_s=1.0, confidence=0.95, report=print
    )
    assert [one.count for one in found.findings] == [50]
    told = [one.code for one in found.caveats].count(CaveatCode.MEASURED_EARLY_END)
    assert (told, found.stop) == (0 if interrupt is None else 1, interrupt)


def metrics_of(pages: list[bytes], seconds: float = 1.04) -> Measurement:
    """The measurement by these pages of metrics."""
    window = Window(tuple(map(read_page, pages)), seconds, None)
    with patch("capacity.measurement.counted.watch", lambda *_: window):
        return measure_metrics(
            parse_address("http://127.0.0.1:9/metrics", "--metrics"),
            Histograms(),
            duration_s=9.0,
            timeout_s=1.0,
            confidence=0.95,
            report=print,
        )


def test_counted_batches_are_reported_with_the_error_of_their_buckets():
    """In a bucket from 1 to 1.1 ms, P99 is 1.099 ms and may be 0.099 ms too high, which is 9 %."""
    found = metrics_of(
        [metrics_page({}), metrics_page({1: [0.00105] * 1000}, batch_s=0.9, process_s=1.0, requests=500)]
    )
    assert found.source["service_time"].endswith("percentiles are within 9.0 %, the width of their buckets")
    assert found.source["measured_by"].endswith("--metrics, serve_batch_seconds by batch_size in 1.0 s")
    assert (found.source["batches"], found.source["excludes"]) == ("1000", "HTTP and network")
    assert found.work.request_s == pytest.approx(0.1 / 1000)
    said = {caveat.code: caveat.message for caveat in found.caveats}
    assert set(said) == {CaveatCode.MEASURED_ROWS, CaveatCode.MEASURED_CORE_SHARED, CaveatCode.MEASURED_NOISE}
    assert said[CaveatCode.MEASURED_NOISE] == (
        "means of batches of 1 have no interval: that needs 10 sections of the time with such batches; "
        "raise --duration or the traffic"
    )


def test_wide_buckets_give_no_percentile():
    page = metrics_page({1: [0.0005] * 10, 2: [0.0005] * 10, 3: [0.0005] * 9, 4: [0.0005]})
    found = metrics_of([metrics_page({}), page.replace(b"process_cpu_seconds_total", b"other")])
    assert [one.count for one in found.findings] == [10, 10]
    assert found.source["service_time"].endswith("percentiles are within wide buckets and left out")
    assert found.work is None
    few, unknown, bare = (caveat.message for caveat in found.caveats)
    assert few == (
        "2 batch sizes were served fewer than 10 times and left out, the largest 4; raise --duration or the traffic"
    )
    assert unknown.startswith("P50, P90, P95, P99 are not known for every batch size")
    assert bare.startswith("means of batches of 1, 2 have no interval")


class Pages:
    """Metrics that take a while to answer, on a clock of their own."""

    def __init__(self, slow_s: float) -> None:
        self.slow_s, self.now_s = slow_s, 0.0
        self.slept_s: list[float] = []
        self.body = metrics_page({})

    def ask(self) -> "Pages":
        self.now_s += self.slow_s
        return self

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


@pytest.mark.parametrize(
    ("duration_s", "slow_s", "looks", "slept_s"),
    [
        (4.9, 0.0, 2, [4.9]),
        (5.0, 0.0, 11, [0.5] * 10),
        (100.0, 0.0, 21, [5.0] * 20),
        (5.0, 0.125, 11, [0.5] + [0.375] * 9),  # each look begins when it is due
        (5.0, 1.0, 11, [0.5] + [0.0] * 9),  # or at once, if it is late
    ],
)
def test_looks_at_metrics_begin_when_they_are_due(duration_s, slow_s, looks, slept_s):
    pages = Pages(slow_s)
    found = watch(pages, duration_s, clock=lambda: pages.now_s, sleep=pages.sleep)
    assert len(found.scrapes) == looks
    assert pages.slept_s == pytest.approx(slept_s)
    assert found.seconds == pytest.approx(sum(slept_s) + (looks - 1) * slow_s)


def noisy(dice: random.Random, count: int, scale_s: float = 0.01, spread: float = 0.05) -> list[float]:
    return [scale_s * math.exp(dice.gauss(0.0, spread)) for _ in range(count)]


def sampling(samples: dict[int, list[float]], stop: BaseException | None = None) -> Sampling:
    batches = {size: tuple(TimedBatch(service_s=x) for x in xs) for size, xs in samples.items()}
    return Sampling(batches=batches, stop=stop)


def found_in(taken: Sampling, samples: int = 200) -> Measurement:
    rounds = Rounds(batch_sizes=tuple(taken.batches), samples=samples)
    with patch("capacity.measurement.findings.fit_spells", lambda batches: None):
        return sampled(taken, rounds, 0.95, {})


def caveats(taken: Sampling, samples: int) -> dict[CaveatCode, str]:
    return {caveat.code: caveat.message for caveat in found_in(taken, samples).caveats}


def test_findings_keep_every_sample_to_the_nanosecond():
    samples = [0.00012345678912, 0.1, 0.0002]
    one, two = found_in(sampling({1: samples, 2: samples[::-1]})).findings
    assert one.timing.samples_s == (0.000123457, 0.1, 0.0002)
    assert two.timing.samples_s == (0.0002, 0.1, 0.000123457)
    assert (one.batch_size, one.count) == (1, 3)
    assert one.stalls.count == 1
    assert one.mean.value == pytest.approx(sum(samples) / 3, abs=1e-9)


def test_drifts_hold_jointly_and_means_one_by_one():
    dice = random.Random(6)
    samples = {size: [round(x, 9) for x in noisy(dice, 200)] for size in (1, 2)}
    for one in found_in(sampling(samples)).findings:
        given = samples[one.batch_size]
        assert one.mean == mean_interval(given, 0.95)
        assert one.drift == drift(given, 0.975)
        assert one.stalls == stalls(given)


def test_the_wake_is_found_and_a_failed_fit_of_spells_is_a_caveat():
    def batches(service_s: float, beside_s: float, count: int) -> tuple[TimedBatch, ...]:
        return (TimedBatch(service_s=service_s, beside_s=beside_s),) * count

    nap = Nap(awake=batches(0.003, 0.001, 10), rested=batches(0.004, 0.002, 10))
    taken = Sampling(batches={1: batches(0.003, 0.001, 50)}, naps=(nap,) * 5)
    with patch("capacity.measurement.findings.fit_spells", side_effect=InconclusiveError("no fit")):
        found = sampled(taken, Rounds(batch_sizes=(1,), samples=50), 0.95, {"cpu": "here"})
    assert found.overhead.median_s == 0.002
    assert (found.wake.low, found.wake.high) == pytest.approx((0.001, 0.001))
    assert found.spells is None
    assert [(one.code, one.message) for one in found.caveats] == [(CaveatCode.MEASURED_NOISE, "no fit")]
    assert found.source["cpu"] == "here"


def test_caveats_say_what_was_seen_and_nothing_else():
    dice = random.Random(5)
    calm = noisy(dice, 200)
    assert caveats(sampling({1: calm}), 200) == {}
    rough = caveats(sampling({1: calm, 4: noisy(dice, 200, spread=1.0)}), 200)
    assert "means of batches of 4 are imprecise, that of 4 by " in rough[CaveatCode.MEASURED_NOISE]
    shifted = caveats(sampling({1: calm, 8: noisy(dice, 100) + noisy(dice, 100, scale_s=0.012)}), 200)
    # Of a machine that changed there is no one mean to be known.
    assert set(shifted) == {CaveatCode.MEASURED_DRIFT, CaveatCode.MEASURED_NOISE}
    assert "batches of 8 drifted" in shifted[CaveatCode.MEASURED_DRIFT]
    stalled = caveats(sampling({1: calm, 2: [*calm[:-3], 0.05, 0.06, 0.07]}), 200)
    assert set(stalled) == {CaveatCode.MEASURED_STALLS, CaveatCode.MEASURED_NOISE}
    assert "batches of 2 stalled" in stalled[CaveatCode.MEASURED_STALLS]
    assert "1.5 % of those of 2 took more than 2" in stalled[CaveatCode.MEASURED_STALLS]
    assert "up to 70 ms" in stalled[CaveatCode.MEASURED_STALLS]
    early = caveats(sampling({1: calm}), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "200 of 500 rounds were finished, as --duration-max 600 s was reached" in early
    assert "raise --duration-max" in early
    interrupted = caveats(sampling({1: calm}, KeyboardInterrupt()), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "as it was interrupted" in interrupted
    failed = caveats(sampling({1: calm}, DependencyError("gone")), 500)[CaveatCode.MEASURED_EARLY_END]
    assert "as the next one failed" in failed
