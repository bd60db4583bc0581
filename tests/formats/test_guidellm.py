"""Reports of guidellm, as the engine on paper writes them; nothing here is a file of guidellm's own."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_on_paper import as_guidellm, closed_loop

from capacity.errors import InputError
from capacity.evidence.omission import from_schedule
from capacity.formats.load_test import LoadRun, Loop
from capacity.formats.registry import Kind, read
from capacity.profile.llm_runs import SeenRun

SEEN = [closed_loop([(16, 5), (40, 1), (16, 3)], 2), closed_loop([(30, 2)], 1)]
EXAMPLES = {"report": as_guidellm(SEEN)}


def report() -> dict[str, Any]:
    return as_guidellm(SEEN)


def runs(folder: Path, document: dict[str, Any]) -> tuple[SeenRun, ...]:
    path = folder / "report.txt"
    path.write_text(json.dumps(document), encoding="utf-8")
    found: tuple[SeenRun, ...] = read(path, Kind.RUNS)
    return found


def test_each_benchmark_is_a_run(tmp_path: Path) -> None:
    first, second = runs(tmp_path, report())
    assert (len(first.requests), len(second.requests)) == (3, 1)
    for one, seen in zip(first.requests, SEEN[0], strict=True):
        assert one.first_s - one.start_s == pytest.approx(seen.stamps_s[0] - seen.start_s, abs=1e-6)
        assert one.last_s - one.start_s == pytest.approx(seen.stamps_s[-1] - seen.start_s, abs=1e-6)
    assert not first.has_stamps  # only the ends of a request are written down


def test_requests_without_an_answer_count_as_being_there(tmp_path: Path) -> None:
    document = report()
    cut = {"info": {"timings": {"request_start": 1.7e9, "resolve_end": 1.7e9 + 9.0}}}
    never = {"info": {"timings": {"request_start": None, "resolve_end": 1.7e9}}}
    document["benchmarks"][1]["requests"]["incomplete"] = [cut, never]
    document["benchmarks"][1]["metrics"]["request_totals"]["incomplete"] = 2
    assert runs(tmp_path, document)[1].others_s == ((1.7e9, 1.7e9 + 9.0),)


def changed(path: str, value: Any) -> dict[str, Any]:
    document = report()
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = document
    for step in way:
        place = place[step]
    place[last] = value
    return document


FIRST = "benchmarks.0.requests.successful.0"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metadata.version", 1, "metadata.version 1, and 2 is read here"),
        ("benchmarks", [], "has no benchmarks"),
        ("benchmarks.0", 3, "report.txt.benchmarks[0] must be an object, got 3"),
        ("benchmarks.0.metrics.request_totals.successful", 9, "holds 3 of 9 successful requests"),
        (f"{FIRST}.prompt_tokens", None, "successful[0] has no prompt_tokens"),
        (f"{FIRST}.info.timings.first_token_iteration", "x", "first_token_iteration must be a number"),
        (f"{FIRST}.info.timings.last_token_iteration", 1.0, "a request is sent, then"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, path: str, value: Any, said: str) -> None:
    with pytest.raises(InputError) as refused:
        runs(tmp_path, changed(path, value))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def strategy(**given: Any) -> dict[str, Any]:
    document = report()
    document["benchmarks"][0]["config"] = {"strategy": given}
    return document


@pytest.mark.parametrize(
    ("given", "sending"),
    [
        ({"type_": "constant", "rate": 7}, (Loop.OPEN, 7.0, None)),
        ({"type_": "poisson", "rate": 7}, (Loop.OPEN, 7.0, None)),
        ({"type_": "async", "rate": 7}, (Loop.OPEN, 7.0, None)),
        ({"type_": "constant"}, (Loop.UNKNOWN, None, None)),
        ({"type_": "synchronous", "rate": 7}, (Loop.CLOSED, None, 1.0)),
        ({"type_": "concurrent", "streams": 3}, (Loop.CLOSED, None, 3.0)),
        ({"type_": "concurrent"}, (Loop.CLOSED, None, None)),
        ({"type_": "throughput", "rate": 7}, (Loop.UNKNOWN, None, None)),
        ({"rate": 7}, (Loop.UNKNOWN, None, None)),
    ],
)
def test_what_decides_when_requests_are_sent(tmp_path, given, sending) -> None:
    path = tmp_path / "report.txt"
    path.write_text(json.dumps(strategy(**given)), encoding="utf-8")
    run = read(path, Kind.LOAD_TEST).runs[0]
    assert (run.loop, run.rate_asked_rps, run.users) == sending
    assert run.failed == 0


def test_a_benchmark_may_have_more_requests_than_its_totals_say_and_no_strategy(tmp_path: Path) -> None:
    document = changed("benchmarks.0.metrics.request_totals.successful", 2)
    assert len(runs(tmp_path, document)[0].requests) == 3
    document["benchmarks"][0]["config"] = {}
    path = tmp_path / "report.txt"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read(path, Kind.LOAD_TEST).runs[0].loop is Loop.UNKNOWN


def scheduled(tmp_path: Path, late_s: float) -> LoadRun:
    """The first benchmark by a schedule of 7/s, whose second request was sent late and whose fourth failed at once."""
    document = strategy(type_="poisson", rate=7)
    requests = document["benchmarks"][0]["requests"]
    for at, one in enumerate(requests["successful"]):
        timings = one["info"]["timings"]
        timings["targeted_start"] = timings["request_start"] - (late_s if at == 1 else 1e-3)
    first_s = requests["successful"][0]["info"]["timings"]["request_start"]
    failed = {
        "info": {
            "timings": {"request_start": None, "resolve_start": first_s + 3.0, "resolve_end": first_s + 3.0}
        }
    }
    requests["errored"] = [failed]
    document["benchmarks"][0]["metrics"]["request_totals"]["errored"] = 1
    path = tmp_path / "report.txt"
    path.write_text(json.dumps(document), encoding="utf-8")
    found: LoadRun = read(path, Kind.LOAD_TEST).runs[0]
    return found


def test_a_schedule_says_how_late_requests_were_sent(tmp_path: Path) -> None:
    run = scheduled(tmp_path, 2.0)
    late_s = run.samples.sent_s - run.samples.due_s
    assert sorted(late_s.tolist()) == pytest.approx([1e-3, 1e-3, 2.0], abs=1e-6)
    late = from_schedule(run, 0.99)
    assert late.value == pytest.approx(2.0 + run.samples.response_s[1])


def test_requests_that_failed_were_sent_too(tmp_path: Path) -> None:
    """Three of the four were answered, and the last came 3 s after the first."""
    run = scheduled(tmp_path, 1e-3)
    assert (run.succeeded, run.failed, run.rate_sent_rps) == (3, 1, pytest.approx(1.0))
