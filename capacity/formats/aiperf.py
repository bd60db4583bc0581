"""The `profile_export.jsonl` of aiperf: one run, a line for each request, each metric with its unit.

What it calls inter token latency is a mean for each request. Single gaps are in `inter_chunk_latency`, of chunks.
"""

from dataclasses import replace
from functools import partial

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, each, number, seconds_per
from capacity.formats.load_test import LoadTest
from capacity.formats.seen_runs import load_run, load_test
from capacity.json_text import VALUES_MAX
from capacity.profile.llm_loads import SeenLoad, load_of_run
from capacity.profile.llm_runs import REQUESTS_MAX, SeenRequest, SeenRun, token_gaps

NAME = "aiperf profile, its profile_export.jsonl"
_NS = 1e-9


def recognises(document: Document) -> bool:
    """Whether its first line has metrics of a request, and when it was sent."""
    metadata = document.first_line.get("metadata")
    return isinstance(metadata, dict) and "request_start_ns" in metadata and "metrics" in document.first_line


def read_runs(document: Document) -> tuple[SeenRun, ...]:
    """The one run; requests of a warm-up, and failed ones, only count as being in flight.

    Raises:
        InputError: a line that is not of a request, values that cannot be, or too many of them.

    Source:
        aiperf 0.13.0, aiperf.common.models.record_models, `MetricRecordInfo`.
    """
    return (_run(document, keeps_gaps=True),)


def read_loads(document: Document) -> tuple[SeenLoad, ...]:
    """The loads, by their single requests.

    Raises:
        InputError: as `read_runs`.
    """
    return tuple(load_of_run(run) for run in read_runs(document))


def read_load_test(document: Document) -> LoadTest:
    """The run as a load test; the file does not say what decided when requests were sent.

    Raises:
        InputError: as `read_runs`.
    """
    run = _run(document, keeps_gaps=False)
    return load_test(NAME, document.name, [load_run(run, failed=len(run.others_s))])


def _run(document: Document, *, keeps_gaps: bool) -> SeenRun:
    """The run; only the gaps between tokens take much memory."""
    seen: list[tuple[int, SeenRequest]] = []  # each with the instant that its own times count from
    others: list[tuple[int, int]] = []
    has_stamps, gaps = False, 0
    for where, line in document.each_line():
        one = Part(where, line)
        metadata = one.part("metadata")
        start_ns, end_ns = metadata.whole("request_start_ns"), metadata.whole("request_end_ns")
        has_stamps = has_stamps or "inter_chunk_latency" in one.part("metrics")
        if _counts(one, metadata):
            due_ns = metadata.whole("credit_issued_ns") - start_ns if "credit_issued_ns" in metadata else None
            request = located(where, partial(_request, one.part("metrics"), due_ns))
            seen.append((start_ns, request if keeps_gaps else replace(request, gaps_s=())))
            gaps += len(seen[-1][1].gaps_s)
        else:
            others.append((start_ns, max(start_ns, end_ns)))
        if len(seen) + len(others) > REQUESTS_MAX or gaps > VALUES_MAX:
            raise InputError(
                f"{document.name} has more than {REQUESTS_MAX} requests or {VALUES_MAX} tokens; send fewer"
            )
    began_ns = min((start_ns for start_ns, _ in [*seen, *others]), default=0)
    return SeenRun(
        name=document.name,
        requests=tuple(_later(one, _NS * (start_ns - began_ns)) for start_ns, one in seen),
        others_s=tuple(
            (_NS * (start_ns - began_ns), _NS * (end_ns - began_ns)) for start_ns, end_ns in others
        ),
        has_stamps=has_stamps and keeps_gaps,
    )


def _later(one: SeenRequest, by_s: float) -> SeenRequest:
    """The same request, with its instants on another clock."""
    due_s = None if one.due_s is None else by_s + one.due_s
    return replace(one, start_s=by_s, first_s=by_s + one.first_s, last_s=by_s + one.last_s, due_s=due_s)


def _counts(one: Part, metadata: Part) -> bool:
    """Whether a request was answered, and belongs to no warm-up."""
    is_warm_up = metadata.text("benchmark_phase") == "warmup" if "benchmark_phase" in metadata else False
    return not (is_warm_up or "error" in one or metadata.is_true("was_cancelled"))


def _request(metrics: Part, due_ns: int | None) -> SeenRequest:
    """A request on a clock that starts when it is sent."""
    output_tokens = metrics.part("output_sequence_length").whole("value")
    first_s, gaps_s = _seconds(metrics, "time_to_first_token"), _chunk_gaps_s(metrics)
    return SeenRequest(
        input_tokens=metrics.part("input_sequence_length").whole("value"),
        output_tokens=output_tokens,
        start_s=0.0,
        first_s=first_s,
        last_s=first_s if output_tokens == 1 else _seconds(metrics, "request_latency"),
        due_s=None if due_ns is None else _NS * due_ns,
        gaps_s=token_gaps(gaps_s, output_tokens),
        events=min(len(gaps_s) + 1, output_tokens) if gaps_s else 0,
    )


def _seconds(metrics: Part, name: str) -> float:
    metric = metrics.part(name)
    return metric.number("value") * seconds_per(metric.text("unit"), metric.where)


def _chunk_gaps_s(metrics: Part) -> list[float]:
    """Gaps between chunks; empty if they were not kept."""
    if "inter_chunk_latency" not in metrics:
        return []
    metric = metrics.part("inter_chunk_latency")
    gaps = each(metric.list("value"), metric.where, number)
    if gaps and min(gaps) < 0.0:
        raise InputError(f"{metric.where} must not be negative")
    scale = seconds_per(metric.text("unit"), metric.where)
    return [scale * gap for gap in gaps]


READERS = {"runs": read_runs, "loads": read_loads, "load-test": read_load_test}
