"""The `profile_export.jsonl` of aiperf: one run, a line for each request, each metric with its unit.

What it calls inter token latency is a mean for each request. Single gaps are in `inter_chunk_latency`, of chunks.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, each, number, seconds_per
from capacity.formats.load_test import LoadTest
from capacity.formats.seen_runs import load_run, load_test
from capacity.profile.llm_runs import SeenRequest, SeenRun, token_gaps

NAME = "aiperf profile, its profile_export.jsonl"
_NS = 1e-9


def recognises(document: Document) -> bool:
    """Whether its first line has metrics of a request, and when that was sent."""
    metadata = document.first_line.get("metadata")
    return isinstance(metadata, dict) and "request_start_ns" in metadata and "metrics" in document.first_line


def read_runs(document: Document) -> tuple[SeenRun, ...]:
    """The one run; requests of a warm-up, and those that failed, count only as being there.

    Raises:
        InputError: a line that is not of a request, or values that cannot be.

    Source:
        aiperf 0.13.0, aiperf.common.models.record_models, `MetricRecordInfo`.
    """
    parts = [Part(where, line) for where, line in document.lines()]
    began_ns = min(one.part("metadata").whole("request_start_ns") for one in parts)
    seen, others = [], []
    for one in parts:
        metadata = one.part("metadata")
        start_s, end_s = (
            _NS * (metadata.whole(name) - began_ns) for name in ("request_start_ns", "request_end_ns")
        )
        if _counts(one, metadata):
            due_s = (
                _NS * (metadata.whole("credit_issued_ns") - began_ns)
                if "credit_issued_ns" in metadata
                else None
            )
            seen.append(located(one.where, partial(_request, one.part("metrics"), start_s, due_s)))
        else:
            others.append((start_s, max(start_s, end_s)))
    has_stamps = any("inter_chunk_latency" in one.part("metrics") for one in parts)
    return (SeenRun(name=document.name, requests=tuple(seen), others_s=tuple(others), has_stamps=has_stamps),)


def read_load_test(document: Document) -> LoadTest:
    """The same as a load test; the file does not say what decided when requests were sent.

    Raises:
        InputError: as `read_runs`.
    """
    (run,) = read_runs(document)
    return load_test(NAME, document.name, [load_run(run, failed=len(run.others_s))])


def _counts(one: Part, metadata: Part) -> bool:
    """Whether a request was answered, and belongs to no warm-up."""
    is_warm_up = metadata.text("benchmark_phase") == "warmup" if "benchmark_phase" in metadata else False
    return not (is_warm_up or "error" in one or metadata.is_true("was_cancelled"))


def _request(metrics: Part, start_s: float, due_s: float | None) -> SeenRequest:
    output_tokens = metrics.part("output_sequence_length").whole("value")
    first_s = start_s + _seconds(metrics, "time_to_first_token")
    last_s = first_s if output_tokens == 1 else start_s + _seconds(metrics, "request_latency")
    return SeenRequest(
        input_tokens=metrics.part("input_sequence_length").whole("value"),
        output_tokens=output_tokens,
        start_s=start_s,
        first_s=first_s,
        last_s=last_s,
        due_s=due_s,
        gaps_s=token_gaps(_chunk_gaps_s(metrics), output_tokens),
    )


def _seconds(metrics: Part, name: str) -> float:
    metric = metrics.part(name)
    return metric.number("value") * seconds_per(metric.text("unit"), metric.where)


def _chunk_gaps_s(metrics: Part) -> list[float]:
    """From each chunk to the next; none where they were not kept."""
    if "inter_chunk_latency" not in metrics:
        return []
    metric = metrics.part("inter_chunk_latency")
    gaps = each(metric.list("value"), metric.where, number)
    if gaps and min(gaps) < 0.0:
        raise InputError(f"{metric.where} must not be negative")
    scale = seconds_per(metric.text("unit"), metric.where)
    return [scale * gap for gap in gaps]


READERS: Mapping[str, Callable[[Document], Any]] = {"runs": read_runs, "load-test": read_load_test}
