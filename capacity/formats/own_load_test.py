"""Own load test: the format that `capacity import` writes, in SI and complete, so that it can be audited again."""

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import located, printable
from capacity.formats.document import Document, Part, each, number, whole
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop, Moment, Samples, Times
from capacity.performance import Interval
from capacity.traffic.lengths import LengthRows

NAME = "capacity import"
FORMAT = "capacity-load-test"
SAMPLES_MAX = 200_000  # single requests that a file holds

# Fields of a run that are written unchanged.
_PLAIN = (
    "users", "rate_asked_rps", "rate_sent_rps", "throughput_rps", "duration_s", "succeeded", "failed", "dropped",
    "mean_s", "min_s", "max_s", "answered_mean_s", "counted", "is_corrected", "schedule_delay_mean_s",
    "schedule_delay_p99_s", "think_time_s", "batch_size", "counts_inferences", "batch_size_mean", "batch_mean_s",
    "resolution_s",
)  # fmt: skip
_TEXTS = ("loop_because", "invalid_because")  # written only if not empty
_TRUE = ("is_corrected", "counts_inferences")  # written only if true
_LENGTHS = ("input_tokens", "output_tokens")
_WHOLE = ("succeeded", "failed", "dropped", "counted", "batch_size")


def load_test_to_document(test: LoadTest) -> dict[str, Any]:
    """A load test as JSON; what lies beyond a last bound is null."""
    return {
        "format": FORMAT,
        "schema_version": 1,
        "tool": test.tool,
        "name": test.name,
        "whole": test.whole,
        "notes": list(test.notes),
        "runs": [_run_to_document(run) for run in test.runs],
    }


def _run_to_document(run: LoadRun) -> dict[str, Any]:
    found: dict[str, Any] = {"name": run.name, "loop": run.loop.value}
    found |= {
        name: value for name in _PLAIN if (value := getattr(run, name)) is not None and value is not False
    }
    found["quantiles_s"] = _ends(run.quantiles_s)
    found |= {name: text for name in _TEXTS if (text := getattr(run, name))}
    if run.stages_s:
        found["stages_s"] = dict(run.stages_s)
    if run.histogram is not None:
        edges = list(map(_finite, run.histogram.edges_s))
        found["histogram"] = {"edges_s": edges, "counts": list(run.histogram.counts)}
    if run.history:
        names = [one.name for one in fields(Moment)]
        found["history"] = [
            {name: value for name in names if (value := getattr(moment, name)) is not None}
            for moment in run.history
        ]
    if run.samples is not None and len(run.samples.response_s) <= SAMPLES_MAX:
        found["samples"] = _columns(run.samples)
        if run.lengths is not None:
            found["lengths"] = {name: list(getattr(run.lengths, name)) for name in _LENGTHS}
    if run.answered is not None and len(run.answered.response_s) <= SAMPLES_MAX:
        found["answered"] = _columns(run.answered)
    if run.measures:
        found["measures"] = {
            name: {"mean_s": one.mean_s, "quantiles_s": _ends(one.quantiles_s)}
            for name, one in run.measures.items()
        }
    return found


def _ends(quantiles_s: Mapping[float, Interval]) -> dict[str, Any]:
    return {
        f"{q:g}": {"value": _finite(one.value), "low": one.low, "high": _finite(one.high)}
        for q, one in quantiles_s.items()
    }


def _columns(samples: Samples) -> dict[str, list[float]]:
    return {name: getattr(samples, name).tolist() for name in ("sent_s", "response_s", "due_s")}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def recognises(document: Document) -> bool:
    """Whether it names this format."""
    return {"format", "runs"} <= document.keys and document.object["format"] == FORMAT


def read_load_test(document: Document) -> LoadTest:
    """The load test as it was written.

    Raises:
        InputError: another version, or values that cannot be.
    """
    test = Part(document.name, document.object)
    if test.whole("schema_version") != 1:
        raise InputError(
            f"{document.name} has a schema_version other than 1; a newer capacity may have made it"
        )
    return LoadTest(
        tool=test.text("tool"),
        name=test.text("name"),
        runs=tuple(located(part.where, partial(_run, part)) for part in test.parts("runs")),
        whole=test.text("whole") if "whole" in test else None,
        notes=tuple(str(note) for note in test.list("notes")) if "notes" in test else (),
    )


def _run(part: Part) -> LoadRun:
    numbers: dict[str, Any] = {}
    for name in _PLAIN:
        if name in part and name not in _TRUE:
            numbers[name] = part.whole(name) if name in _WHOLE else part.number(name)
    others: dict[str, Any] = {name: printable(part.text(name)) for name in _TEXTS if name in part}
    others |= {name: part.is_true(name) for name in _TRUE}
    loop = part.text("loop")
    if loop not in tuple(Loop):
        raise InputError(f"{part.where}.loop must be one of {', '.join(Loop)}")
    return LoadRun(
        name=part.text("name"),
        loop=Loop(loop),
        quantiles_s=_quantiles(part.part("quantiles_s")),
        stages_s=part.part("stages_s").numbers() if "stages_s" in part else {},
        histogram=_histogram(part.part("histogram")) if "histogram" in part else None,
        samples=_samples(part.part("samples")) if "samples" in part else None,
        answered=_samples(part.part("answered")) if "answered" in part else None,
        history=tuple(_moment(one) for one in part.parts("history")),
        lengths=_lengths(part.part("lengths"), part) if "lengths" in part else None,
        measures=_measures(part.part("measures")) if "measures" in part else {},
        **numbers,
        **others,
    )


def _lengths(part: Part, run: Part) -> LengthRows:
    """Tokens of each of the run's samples. Raises InputError: not one for each sample."""
    given, got = (tuple(map(int, each(part.list(name), f"{part.where}.{name}", whole))) for name in _LENGTHS)
    found = LengthRows(given, got)
    if "samples" not in run or len(run.part("samples").list("sent_s")) != len(given):
        raise InputError(f"{part.where} must be of as many requests as samples")
    return found


def _measures(part: Part) -> dict[str, Times]:
    parts = {name: part.part(name) for name in part.keys if name in ("ttft", "tpot")}
    return {
        name: Times(mean_s=one.number("mean_s"), quantiles_s=_quantiles(one.part("quantiles_s")))
        for name, one in parts.items()
    }


def _moment(part: Part) -> Moment:
    names = [one.name for one in fields(Moment) if one.name != "t_s" and one.name in part]
    return Moment(part.number("t_s"), **{name: part.number(name) for name in names})


def _quantiles(part: Part) -> dict[float, Interval]:
    found = {}
    for key in part.keys:
        one = part.part(key)
        low = one.number("low")
        high = one.number("high") if "high" in one else math.inf
        value = one.number("value") if "value" in one else high
        found[number(_float(key, part.where), part.where)] = Interval(value=value, low=low, high=high)
    return found


def _float(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where} has a key that is no quantile, such as 0.99") from None


def _histogram(part: Part) -> Histogram:
    edges = list(part.list("edges_s"))
    last = math.inf if edges and edges[-1] is None else None
    known = each(edges[:-1] if last else edges, f"{part.where}.edges_s", number)
    counts = each(part.list("counts"), f"{part.where}.counts", number)
    return Histogram((*known, last) if last else tuple(known), tuple(counts))


def _samples(part: Part) -> Samples:
    columns = [
        each(part.list(name), f"{part.where}.{name}", number) for name in ("sent_s", "response_s", "due_s")
    ]
    return Samples.of(*columns)


READERS = {"load-test": read_load_test}
