"""The summary of a run of k6, in its three shapes; milliseconds.

- The argument of `handleSummary`: `metrics` by name, each with its `values`.
- `--summary-export`: the same, flat; the `rate` of a rate is called `value`, and a threshold that is true has failed.
- The machine-readable summary of k6 2: a list of metrics, and the duration of the run in seconds.

In all of them `http_req_failed` counts a failed request as a pass, or match. The test's `summaryTrendStats` says
which quantiles there are; by default there is no P99.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, Part, parsed
from capacity.formats.k6_loop import Iterations, loop_of
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.performance import Interval

NAME = "k6, as its summary"
_DURATION = "http_req_duration"
# Several of these are in each run of k6, whatever it sends.
_ALWAYS = {"iterations", "iteration_duration", "data_received", "vus_max", "http_reqs", _DURATION}
_QUANTILE = re.compile(r"p\(([0-9.]{1,12})\)")
# A submetric that k6 keeps by itself: the requests answered as the test expected.
_GOOD = "{expected_response:true}"


def recognises(document: Document) -> bool:
    """Whether it has two of the metrics that every run of k6 has."""
    if "metrics" in document.keys:
        metrics = document.object["metrics"]
        return isinstance(metrics, dict) and len(_ALWAYS & set(metrics)) > 1
    return "results" in document.keys and len(_ALWAYS & _listed_names(document.object["results"])) > 1


def read_load_test(document: Document) -> LoadTest:
    """The run, and the part of it with each tag for which the test defined a submetric.

    If requests failed, durations are those of the others, if k6 kept them apart.

    Raises:
        InputError: no HTTP requests, or values that cannot be.

    Source:
        k6 2.0 documentation, "End of test" and "Machine-readable summary"; k6 1.x for `--summary-export`.
    """
    metrics, duration_s = _metrics(Part(document.name, document.object))
    names = [name for name in metrics if name.partition("{")[0] == _DURATION]
    if _DURATION not in names:
        raise InputError(f"{document.name} has no {_DURATION}; only tests of HTTP are read here")
    tags = [name.removeprefix(_DURATION) for name in sorted(names)]
    runs = tuple(_run(metrics, tag, duration_s) for tag in tags if tag != _GOOD)
    return LoadTest(
        tool="k6",
        name=document.name,
        runs=runs,
        whole=_DURATION if len(runs) > 1 else None,
        notes=tuple(_failed_thresholds(metrics)),
    )


class _Metric:
    """A metric in any of the shapes: its values, and the thresholds that it missed."""

    def __init__(self, metric: Part, *, is_nested: bool) -> None:
        self.values = metric.part("values") if is_nested else metric
        told = metric.part("thresholds") if _is_object(metric, "thresholds") else None
        self.missed = [] if told is None else [key for key in told.keys if _is_missed(told, key)]

    def first(self, *keys: str) -> float | None:
        """The number under the first of these keys that exists."""
        return next((self.values.number(key) for key in keys if key in self.values), None)


def _metrics(summary: Part) -> tuple[dict[str, _Metric], float | None]:
    """Metrics by name, and the length of the run if the summary has it. [s]"""
    if "results" in summary:
        listed = summary.part("results").parts("metrics")
        found = {one.text("name"): _Metric(one, is_nested=True) for one in listed}
        return found, summary.part("config").number("duration")
    metrics = summary.part("metrics")
    found = {}
    for name in metrics.keys:
        one = metrics.part(name)
        found[name] = _Metric(one, is_nested="values" in one and _is_object(one, "values"))
    state = summary.part("state") if "state" in summary else None
    return found, state.number("testRunDurationMs") / 1e3 if state else None


def _run(metrics: Mapping[str, _Metric], tag: str, duration_s: float | None) -> LoadRun:
    """The requests with a tag such as `{name:login}`; all of them for an empty one."""
    took, sent = metrics[_DURATION + tag], metrics.get("http_reqs" + tag)
    requests = None if sent is None else sent.first("count")
    rate_rps = None if sent is None else sent.first("rate")
    if requests is not None and rate_rps is None and duration_s:
        rate_rps = requests / duration_s
    if duration_s is None and requests and rate_rps:
        duration_s = requests / rate_rps
    counts = _counts(metrics, tag, requests)
    good = took if tag or not counts.get("failed") else metrics.get(_DURATION + _GOOD, took)
    loop, because = loop_of(_iterations(metrics, duration_s))
    return LoadRun(
        name=printable(_DURATION + tag),
        loop=loop,
        loop_because=because,
        throughput_rps=rate_rps,
        rate_sent_rps=rate_rps,
        duration_s=duration_s,
        **counts,
        **({} if tag else _of_the_whole(metrics)),
        answered_mean_s=None if good is took else _seconds(took.first("avg")),
        mean_s=_seconds(good.first("avg")),
        min_s=_seconds(good.first("min")),
        max_s=_seconds(good.first("max")),
        quantiles_s=dict(_quantiles(good.values)),
    )


def _counts(metrics: Mapping[str, _Metric], tag: str, requests: float | None) -> dict[str, Any]:
    """Requests that succeeded and failed, if the summary has both counts."""
    failing = metrics.get("http_req_failed" + tag)
    failed = None if failing is None else failing.first("passes", "matches")
    if requests is None or failed is None:
        return {}
    if failed > requests:
        raise InputError(f"{failed:g} requests failed of {requests:g}; is the summary complete?")
    return {"succeeded": int(requests - failed), "failed": int(failed)}


def _of_the_whole(metrics: Mapping[str, _Metric]) -> dict[str, Any]:
    """Users, and iterations dropped because no user was free: k6 has no such metric if it dropped none."""
    return {
        "users": _first(metrics, "vus_max", "max", "value"),
        "dropped": int(_first(metrics, "dropped_iterations", "count") or 0),
    }


def _iterations(metrics: Mapping[str, _Metric], duration_s: float | None) -> Iterations:
    dropped = _first(metrics, "dropped_iterations", "count")
    return Iterations(
        count=_first(metrics, "iterations", "count"),
        duration_s=duration_s,
        mean_s=_seconds(_first(metrics, "iteration_duration", "avg")),
        max_s=_seconds(_first(metrics, "iteration_duration", "max")),
        dropped=None if dropped is None else int(dropped),
        users_max=_first(metrics, "vus", "max"),
        allocated=_first(metrics, "vus_max", "max", "value"),
    )


def _first(metrics: Mapping[str, _Metric], name: str, *keys: str) -> float | None:
    """The number under the first of the keys of a metric; None without that metric."""
    return metrics[name].first(*keys) if name in metrics else None


def _quantiles(values: Part) -> Iterator[tuple[float, Interval]]:
    if "med" in values:
        yield 0.5, Interval.exact(values.number("med") / 1e3)
    for key in values.keys:
        found = _QUANTILE.fullmatch(key)
        if found:
            percent = parsed(found[1], f"{values.where}.{key}")
            yield round(percent / 100.0, 12), Interval.exact(values.number(key) / 1e3)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1e3


def _failed_thresholds(metrics: Mapping[str, _Metric]) -> Iterator[str]:
    for name, metric in metrics.items():
        for threshold in metric.missed:
            yield printable(f"k6's threshold {threshold} of {name} was not met")


def _is_missed(thresholds: Part, key: str) -> bool:
    """Whether a threshold was missed: `{"ok": false}`, or in the flat form: true."""
    if _is_object(thresholds, key):
        told = thresholds.part(key)
        return "ok" in told and not told.is_true("ok")
    return thresholds.is_true(key)


def _is_object(part: Part, key: str) -> bool:
    return isinstance(part.value(key), Mapping)


def _listed_names(results: Any) -> set[str]:
    listed = results.get("metrics") if isinstance(results, dict) else None
    found = listed if isinstance(listed, list) else []
    return {str(one.get("name")) for one in found if isinstance(one, dict)}


READERS = {"load-test": read_load_test}
