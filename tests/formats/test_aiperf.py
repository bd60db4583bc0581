"""Exports of aiperf, as the engine on paper writes them; nothing here is a file of aiperf's own."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from engine_on_paper import as_aiperf, closed_loop
from test_packed_and_large_files import parts_of

from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.formats.registry import Kind, read
from capacity.profile.llm_runs import SeenRun

SEEN = closed_loop([(16, 5), (40, 1), (16, 3)], 2)
EXAMPLES = {"export": "\n".join(map(json.dumps, as_aiperf(SEEN)))}


def run_of(folder: Path, lines: list[dict[str, Any]]) -> SeenRun:
    path = folder / "export.txt"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    (run,) = read(path, Kind.RUNS)
    assert isinstance(run, SeenRun)
    return run


def test_each_request_comes_back_in_seconds(tmp_path: Path) -> None:
    lines = as_aiperf(SEEN)
    gaps = lines[0]["metrics"]["inter_chunk_latency"]
    gaps |= {"value": [1e6 * gap for gap in gaps["value"]], "unit": "ns"}  # each metric says its own unit
    for one, seen in zip(run_of(tmp_path, lines).requests, SEEN, strict=True):
        assert one.start_s == pytest.approx(seen.start_s, abs=2e-9)
        assert one.stamps_s == pytest.approx(seen.stamps_s, abs=1e-8)


def test_a_file_larger_than_memory_is_read_for_an_audit(tmp_path: Path) -> None:
    """Of each request its ends are kept, and not the gaps between its tokens, of which there are 119,400 here."""
    (line,) = as_aiperf(closed_loop([(16, 200)], 1))
    path = tmp_path / "export.txt"
    path.write_text((json.dumps(line) + "\n") * 600, encoding="utf-8")
    with parts_of(20_000):
        assert Document.read(path).path == path
        tracemalloc.start()
        try:
            (run,) = read(path, Kind.LOAD_TEST).runs
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert run.succeeded == 600
    assert path.stat().st_size > 2_000_000
    assert peak < 1_000_000


@pytest.mark.parametrize(("limit", "most"), [("REQUESTS_MAX", 2), ("VALUES_MAX", 5)])
def test_requests_and_tokens_are_limited(limit, most, tmp_path, monkeypatch) -> None:
    """Three requests with 4, 0 and 2 gaps between their tokens."""
    monkeypatch.setattr(f"capacity.formats.aiperf.{limit}", most + 1)
    assert len(run_of(tmp_path, as_aiperf(SEEN)).requests) == 3
    monkeypatch.setattr(f"capacity.formats.aiperf.{limit}", most)
    with pytest.raises(InputError, match="more than .* requests or .* tokens; send fewer"):
        run_of(tmp_path, as_aiperf(SEEN))


def test_warm_ups_and_failures_count_as_being_there(tmp_path: Path) -> None:
    lines = as_aiperf(SEEN)
    lines[0]["metadata"]["benchmark_phase"] = "warmup"
    lines[1] |= {"metrics": {}, "error": {"code": 500, "message": "no"}}
    run = run_of(tmp_path, lines)
    assert len(run.requests) == 1
    assert [end - start for start, end in run.others_s] == pytest.approx(
        [one.stamps_s[-1] - one.start_s for one in SEEN[:2]], abs=1e-8
    )


def test_without_gaps_only_the_ends_are_known(tmp_path: Path) -> None:
    lines = as_aiperf(SEEN)
    for line in lines:
        line["metrics"].pop("inter_chunk_latency", None)
    run = run_of(tmp_path, lines)
    assert not run.has_stamps
    assert run.requests[0].last_s == pytest.approx(SEEN[0].stamps_s[-1], abs=1e-8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line["metadata"].pop("request_end_ns"), "export.txt line 2.metadata has no request_end_ns"),
        (lambda line: line["metrics"].pop("request_latency"), "line 2.metrics has no request_latency"),
        (lambda line: line["metrics"]["request_latency"].update(unit="ticks"), "has the unit 'ticks'; known are"),
        (lambda line: line["metrics"]["time_to_first_token"].update(value=-1), "a request is sent, then"),
        (
            lambda line: (
                line["metrics"]["output_sequence_length"].update(value=0),
                line["metrics"].pop("inter_chunk_latency", None),
            ),
            "a request has from 1",
        ),
        (lambda line: line["metrics"]["inter_chunk_latency"].update(value=[1.0, -1.0]), "must not be negative"),
        (lambda line: line["metrics"]["inter_chunk_latency"].update(unit="s"), "is the unit right?"),
        (lambda line: line.update(metadata=4), "export.txt line 2.metadata must be an object, got 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    lines = [as_aiperf(SEEN)[1], as_aiperf(SEEN)[2]]
    change(lines[1])
    with pytest.raises(InputError) as refused:
        run_of(tmp_path, lines)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_line_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text(json.dumps(as_aiperf(SEEN)[0]) + "\n[1]\n")
    with pytest.raises(InputError, match="line 2: each line is a JSON object"):
        read(path, Kind.RUNS)


def test_a_request_without_a_phase_counts(tmp_path: Path) -> None:
    lines = as_aiperf(SEEN)
    for one in lines:
        one["metadata"].pop("benchmark_phase", None)
    assert len(run_of(tmp_path, lines).requests) == 3


@pytest.mark.parametrize("without", ["metadata", "metrics", "request_start_ns"])
def test_the_first_line_has_metrics_and_a_start(tmp_path: Path, without: str) -> None:
    lines = as_aiperf(SEEN)
    lines[0].pop(without, None)
    lines[0].get("metadata", {}).pop(without, None)
    with pytest.raises(InputError, match="of none of the"):
        run_of(tmp_path, lines)
