"""The JSON of Triton's perf_analyzer, `--profile-export-file FILE`: every request, in nanoseconds.

A request has the instant it was sent and those of its responses, of which a streaming model sends several. Instants
are on one clock, which need not be the calendar's.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from capacity.errors import InputError
from capacity.files import ROWS_MAX, printable
from capacity.formats.document import Document, Part, placed, whole
from capacity.formats.load_test import LoadRun, LoadTest, Loop, Samples, sent_rps
from capacity.performance import Interval

NAME = "perf_analyzer --profile-export-file FILE (JSON)"
_QUANTILES = (0.5, 0.9, 0.95, 0.99)
_NANOSECOND = 1e-9


def recognises(document: Document) -> bool:
    """Whether it has experiments with a kind of service."""
    return {"experiments", "service_kind"} <= document.keys


def read_load_test(document: Document) -> LoadTest:
    """A run for each experiment, with a sample for each answered request.

    Raises:
        InputError: no experiment with an answered request, or instants that cannot be.

    Source:
        perf_analyzer, src/profile_data_exporter.cc, `ProfileDataExporter::ConvertToJson`.
    """
    experiments = Part(document.name, document.object).parts("experiments")
    if sum(len(one.list("requests")) for one in experiments if "requests" in one) > ROWS_MAX:
        raise InputError(
            f"{document.name} has more than {ROWS_MAX} requests; export fewer experiments at a time"
        )
    answered = [one for one in experiments if any("response_timestamps" in r for r in one.parts("requests"))]
    runs = tuple(placed(document, document.name, partial(_run, one)) for one in answered)
    notes = ["the export names no client batch size (-b): each request counts as one"]
    return LoadTest(tool="perf_analyzer", name=document.name, runs=runs, notes=tuple(notes))


def _run(experiment: Part) -> LoadRun:
    setting = experiment.part("experiment")
    mode, load = setting.text("mode"), setting.number("value")
    pairs = list(_spans(experiment))
    if not pairs:
        raise InputError(f"{experiment.where} has no answered request; run it again")
    sent, took = zip(*pairs, strict=True)
    first = min(sent)  # subtracted as whole numbers, since a float has no nanoseconds of 1970
    samples = Samples.of([_NANOSECOND * (one - first) for one in sent], [_NANOSECOND * one for one in took])
    duration_s = _NANOSECOND * (max(start + span for start, span in pairs) - first)
    values_s = np.quantile(samples.response_s, _QUANTILES, method="inverted_cdf")
    is_closed = mode == "concurrency"
    return LoadRun(
        name=printable(f"{mode.replace('_', ' ')} {load:g}")[:80],
        loop={"concurrency": Loop.CLOSED, "request_rate": Loop.OPEN}.get(mode, Loop.UNKNOWN),
        users=load if is_closed else None,
        rate_asked_rps=load if mode == "request_rate" else None,
        rate_sent_rps=sent_rps(samples),
        throughput_rps=len(pairs) / duration_s if duration_s else None,
        duration_s=duration_s,
        succeeded=len(pairs),
        failed=len(experiment.list("requests")) - len(pairs),
        mean_s=float(samples.response_s.mean()),
        min_s=float(samples.response_s.min()),
        max_s=float(samples.response_s.max()),
        quantiles_s={q: Interval.exact(float(value)) for q, value in zip(_QUANTILES, values_s, strict=True)},
        samples=samples,
        resolution_s=_NANOSECOND,
    )


def _spans(experiment: Part) -> Iterator[tuple[int, int]]:
    """Send time of each answered request, and the time to its last response. [ns]"""
    for request in experiment.parts("requests"):
        sent = request.whole("timestamp")
        stamps = request.list("response_timestamps") if "response_timestamps" in request else []
        if not stamps:
            continue
        last = max(whole(one, f"{request.where}.response_timestamps") for one in stamps)
        if last < sent:
            raise InputError(f"{request.where} was answered before it was sent ({last} ns before {sent} ns)")
        yield sent, last - sent


READERS = {"load-test": read_load_test}
