"""A metrics page in Prometheus' text format or OpenMetrics: a server's counts of its requests since it started.

Histograms of times are recognised by the unit in their names (`vllm:e2e_request_latency_seconds`,
`ray_serve_deployment_processing_latency_ms`), summaries likewise, and Triton's counters by their names. Other metrics
are skipped.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from capacity.errors import InputError
from capacity.files import ROWS_MAX, printable
from capacity.formats.buckets import (
    COUNT_MAX,
    SINCE_START,
    count,
    from_cumulative,
    label,
    loop_of,
    run_of,
    unit_of,
)
from capacity.formats.document import Document, placed
from capacity.formats.load_test import DECODE, PREFILL, QUEUE, EngineNow, LoadRun, LoadTest, Loop
from capacity.performance import Interval
from capacity.profile.speculation import Speculation

NAME = "a page of Prometheus metrics (GET /metrics)"
LINE_LENGTH_MAX = 8192  # the parser takes quadratic time
_PAGE = re.compile(r"^# TYPE \S+ (?:counter|gauge|histogram|gaugehistogram|summary|untyped|unknown|info|stateset)\s*$"
                   r"|^[A-Za-z_:][\w:]*_bucket\{[^\n]*\ble=", re.MULTILINE)  # fmt: skip
_RUNTIMES = ("go_", "python_", "process_", "promhttp_", "net_conntrack_")
_TRITON = "nv_inference_"
_TRITON_STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
_TRITON_COUNTERS = {
    "nv_cache_num_hits_per_model",
    *(f"{_TRITON}{name}" for name in ("request_success", "request_failure", "request_duration_us")),
    *(f"{_TRITON}{name}" for name in ("count", "exec_count")),
    *(f"{_TRITON}{stage}_duration_us" for stage in _TRITON_STAGES),
}
# vLLM's histograms of a request's time in all, and of its parts; what an engine holds now, and its preemptions.
_VLLM_REQUEST = "vllm:e2e_request_latency_seconds"
_VLLM_STAGES = {stage: f"vllm:request_{stage}_time_seconds" for stage in (QUEUE, PREFILL, DECODE)}
_RUNNING, _WAITING, _PREEMPTIONS = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:num_preemptions_total",
)
_KV_SHARE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")  # the latter in older versions
# vLLM's counters of drafts, and of those whose token at a position was accepted.
DRAFTS, ACCEPTED = "vllm:spec_decode_num_drafts_total", "vllm:spec_decode_num_accepted_tokens_per_pos_total"

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, dict[str, float]]  # value by labels and by part of the metric, such as _sum


class _Sample(NamedTuple):
    """One line of the page."""

    name: str
    labels: Mapping[str, str]
    value: float


def recognises(document: Document) -> bool:
    """Whether its first part declares a type of metric, or has a bucket."""
    return not document.head.startswith(("{", "[", "<")) and bool(_PAGE.search(document.head))


def read_load_test(document: Document) -> LoadTest:
    """A run for each histogram or summary of times, and for each of Triton's models.

    Raises:
        InputError: not such a page, no times in it, or counts that contradict each other.

    Source:
        Prometheus text format 0.0.4 and OpenMetrics 1.0; Triton docs/user_guide/metrics.md; vLLM
        docs/design/metrics.md and docs/usage/metrics.md; Ray Serve docs, monitoring.
    """
    samples = _samples(document)
    runs = placed(
        document, document.name, lambda: (*_requests(samples), *_summaries(samples), *_triton(samples))
    )
    if not runs:
        raise InputError(
            f"{document.name} counts no request in a histogram or summary that names a unit of time, such as "
            "request_latency_seconds; save the page after requests were sent"
        )
    return LoadTest(tool="prometheus", name=document.name, runs=runs, notes=(SINCE_START, *_notes(samples)))


def read_drafts(document: Document) -> Speculation:
    """What the server drafted since it started, and how much of it was accepted.

    Raises:
        InputError: it does not count what was accepted by position.

    Source:
        vLLM 0.33.0, vllm/v1/spec_decode/metrics.py, `SpecDecodingProm`.
    """
    found = drafts_of(_samples(document))
    if found is None:
        raise InputError(
            f"{document.name} does not count drafts ({DRAFTS}), for which it would be read beside sweeps or steps; "
            "save the page of the server that drafts, or leave it out"
        )
    return found


def drafts_of(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Speculation | None:
    """What vLLM's counters say of drafts; None if there are none.

    Raises:
        InputError: drafts without a count of what was accepted by position.
    """
    drafts, accepted = 0.0, defaultdict[int, float](float)
    for shown, labels, value in samples:
        name = _vllm_name(shown)
        if name == DRAFTS:
            drafts += count(value, name)
        elif name == ACCEPTED and labels.get("position", "").isdecimal():
            accepted[int(labels["position"])] += count(value, name)
    if drafts and not accepted:
        raise InputError(f"{DRAFTS} is {drafts:g}, and there is no {ACCEPTED}; save the whole page")
    return Speculation.counted(drafts, [accepted[at] for at in range(max(accepted, default=-1) + 1)])


def _samples(document: Document) -> list[_Sample]:
    is_open = document.text.rstrip().endswith("# EOF")  # a mark that it is whole
    lines = document.numbered() if is_open else document.records()
    text = "".join(f"{line}\n" for _, line in lines if line.strip())
    longest = max(map(len, text.split("\n")))
    if longest > LINE_LENGTH_MAX:
        raise InputError(f"{document.name} has a line of {longest} characters, as no page of metrics has")
    try:
        found = list(_parsed(text))
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        reason = printable(str(error))[:120]
        raise InputError(
            f"{document.name} is not in Prometheus' text format ({reason}); save the page again"
        ) from None
    if len(found) > ROWS_MAX:
        raise InputError(f"{document.name} has more than {ROWS_MAX} samples; keep those of the requests")
    return found


def _parsed(text: str) -> Iterator[_Sample]:
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as openmetrics_parser

    is_open = text.rstrip().endswith("# EOF")
    parse = (
        openmetrics_parser.text_string_to_metric_families
        if is_open
        else parser.text_string_to_metric_families
    )
    for family in parse(text):
        for sample in family.samples:
            if isinstance(sample.value, int | float):
                if family.type == "counter" and sample.value < 0:
                    raise ValueError(f"{family.name} is a counter, and never below 0")
                yield _Sample(sample.name, sample.labels, float(sample.value))


def _vllm_name(shown: str) -> str:
    """The name of a metric of vLLM; OpenMetrics has no colon in it."""
    return shown.replace("vllm_", "vllm:", 1)


def _requests(samples: Sequence[_Sample]) -> Iterator[LoadRun]:
    """Runs of histograms; those of vLLM's requests with their stages, and what the engine holds."""
    found = {label(_VLLM_REQUEST, dict(labels)): values for labels, values in _vllm(samples).items()}
    for run in _histograms(samples):
        values = found.get(_vllm_name(run.name), {})
        stages_s = dict(_vllm_stages(values))
        yield replace(run, stages_s=stages_s, engine=_vllm_now(values)) if stages_s else run


def _vllm(samples: Iterable[_Sample]) -> Series:
    """Values of vLLM's metrics that are no buckets, by engine and model."""
    found: Series = defaultdict(dict)
    for sample in samples:
        name = _vllm_name(sample.name)
        if name.startswith("vllm:") and "le" not in sample.labels:
            found[_labels(sample.labels)][name] = sample.value
    return found


def _vllm_stages(values: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """The mean time of a request in each stage; nothing unless all are counted. [s]"""
    counts = {stage: values.get(f"{metric}_count", 0.0) for stage, metric in _VLLM_STAGES.items()}
    sums_s = {stage: values.get(f"{metric}_sum", -1.0) for stage, metric in _VLLM_STAGES.items()}
    if min(counts.values()) > 0.0 and all(0.0 <= total_s < math.inf for total_s in sums_s.values()):
        for stage, total_s in sums_s.items():
            yield stage, total_s / count(counts[stage], _VLLM_STAGES[stage])


def _vllm_now(values: Mapping[str, float]) -> EngineNow | None:
    """What an engine held when the page was read; None if it does not say."""
    running, waiting, preempted = (values.get(name, math.nan) for name in (_RUNNING, _WAITING, _PREEMPTIONS))
    if not (0.0 <= running <= COUNT_MAX and 0.0 <= waiting <= COUNT_MAX):
        return None
    answered = values.get(f"{_VLLM_REQUEST}_count", 0.0)
    return EngineNow(
        running=running,
        waiting=waiting,
        kv_share=next((values[name] for name in _KV_SHARE if 0.0 <= values.get(name, -1.0) <= 1.0), None),
        preemptions=preempted / answered if answered > 0.0 and 0.0 <= preempted <= COUNT_MAX else 0.0,
    )


def _histograms(samples: Iterable[_Sample]) -> Iterator[LoadRun]:
    """Runs of histograms whose names end in a unit of time."""
    bounds: dict[tuple[str, Labels], dict[float, float]] = defaultdict(dict)
    sums: dict[tuple[str, Labels], float] = {}
    for sample in samples:
        metric, _, part = sample.name.rpartition("_")
        key = (metric, _labels(sample.labels, without="le"))
        if part == "bucket" and "le" in sample.labels and _tells_of_requests(metric):
            bound = _bound(sample)
            if bound in bounds[key]:
                raise InputError(
                    f"{label(metric, dict(key[1]))} has the bucket le={bound:g} twice; keep one page"
                )
            bounds[key][bound] = sample.value
        elif part == "sum":
            sums[key] = sample.value
    for (metric, labels), counts in bounds.items():
        name, unit_s = label(metric, dict(labels)), unit_of(metric)
        assert unit_s is not None  # noqa: S101  (settled above)
        total = sums.get((metric, labels))
        run = run_of(name, from_cumulative(counts, unit_s, name), None if total is None else total * unit_s)
        if run is not None:
            yield run


def _tells_of_requests(metric: str) -> bool:
    """Whether a metric is about times of requests, not about the runtime of the server."""
    return unit_of(metric) is not None and not metric.startswith(_RUNTIMES)


def _bound(sample: _Sample) -> float:
    try:
        bound = float(sample.labels["le"])
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise InputError(f"{printable(sample.name)[:80]} has a bucket whose le is no number; export it again")
    return bound


def _summaries(samples: Iterable[_Sample]) -> Iterator[LoadRun]:
    """Runs of quantiles that a server computed itself, over a recent window."""
    quantiles: dict[tuple[str, Labels], dict[float, float]] = defaultdict(dict)
    totals: dict[tuple[str, Labels], dict[str, float]] = defaultdict(dict)
    for sample in samples:
        if "quantile" in sample.labels and _tells_of_requests(sample.name):
            key = (sample.name, _labels(sample.labels, without="quantile"))
            quantiles[key][_quantile(sample)] = sample.value
        metric, _, part = sample.name.rpartition("_")
        if part in ("sum", "count"):
            totals[metric, _labels(sample.labels)][part] = sample.value
    for key, found in quantiles.items():
        run = _summary(key, found, totals.get(key, {}))
        if run is not None:
            yield run


def _quantile(sample: _Sample) -> float:
    try:
        return float(sample.labels["quantile"])
    except ValueError:
        raise InputError(
            f"{printable(sample.name)[:80]} has a quantile that is no number; export it again"
        ) from None


def _summary(
    key: tuple[str, Labels], found: Mapping[float, float], totals: Mapping[str, float]
) -> LoadRun | None:
    """The run of a summary; None if nothing was observed recently, which is written as NaN."""
    unit_s, name = unit_of(key[0]) or 1.0, label(key[0], dict(key[1]))
    known = {q: value * unit_s for q, value in found.items() if not math.isnan(value)}
    if any(not 0.0 <= value_s < math.inf for value_s in known.values()):
        raise InputError(f"{name} has a quantile that is no duration; export it again")
    number = count(totals.get("count", 0.0), f"{name}_count")
    if not known:
        return None
    return LoadRun(
        name=name,
        loop=loop_of(key[0]),
        counted=int(number) or None,
        mean_s=totals["sum"] * unit_s / number if number and "sum" in totals else None,
        quantiles_s={q: Interval.exact(value_s) for q, value_s in known.items()},
    )


def _triton(samples: Iterable[_Sample]) -> Iterator[LoadRun]:
    """Runs by model and version, with the means over requests from Triton's counters."""
    models: Series = defaultdict(dict)
    for sample in samples:
        counter = sample.name.removesuffix("_total")  # which the parser adds
        if counter in _TRITON_COUNTERS and "model" in sample.labels:
            key = _labels({one: sample.labels[one] for one in ("model", "version") if one in sample.labels})
            counters = models[key]  # a model has counters for each GPU
            counters[counter] = counters.get(counter, 0.0) + count(sample.value, sample.name)
    for labels, counters in models.items():
        if counters.get(f"{_TRITON}request_success"):
            yield _triton_run(label("triton", dict(labels)), counters)


def _triton_run(name: str, counters: Mapping[str, float]) -> LoadRun:
    succeeded = counters[f"{_TRITON}request_success"]
    computed = succeeded - counters.get("nv_cache_num_hits_per_model", 0.0)
    durations = {
        stage: counters.get(f"{_TRITON}{stage}_duration_us") for stage in ("request", *_TRITON_STAGES)
    }
    over = {stage: succeeded if stage in ("request", "queue") else computed for stage in durations}
    means_s = {
        stage.replace("_", " "): 1e-6 * value / over[stage]
        for stage, value in durations.items()
        if value is not None and over[stage] > 0.0
    }
    mean_s = means_s.pop("request", None)
    failed = counters.get(f"{_TRITON}request_failure")
    client_batch, in_batch = _triton_batches(counters, computed)
    computing_s = math.fsum(value_s for stage, value_s in means_s.items() if stage != QUEUE)
    return LoadRun(
        name=name,
        loop=Loop.SERVED,
        succeeded=int(succeeded),
        failed=None if failed is None else int(failed),
        mean_s=mean_s,
        stages_s=means_s,
        batch_size=client_batch,
        batch_size_mean=in_batch,
        batch_mean_s=computing_s if in_batch and computing_s else None,
    )


def _triton_batches(counters: Mapping[str, float], computed: float) -> tuple[int, float | None]:
    """Mean inferences per request, and mean requests per batch; None if none was executed."""
    inferences, executions = (counters.get(f"{_TRITON}{name}", 0.0) for name in ("count", "exec_count"))
    is_whole = computed > 0.0 and inferences > 0.0 and inferences % computed == 0.0
    client_batch = int(inferences / computed) if is_whole else 1
    return client_batch, inferences / client_batch / executions if inferences and executions else None


def _notes(samples: Iterable[_Sample]) -> Iterator[str]:
    counters: dict[str, float] = defaultdict(float)
    nameless = set()
    for sample in samples:
        counters[sample.name.removesuffix("_total")] += sample.value
        metric = sample.name.removesuffix("_bucket")
        if metric != sample.name and unit_of(metric) is None:
            nameless.add(metric)
    if executions := counters.get(f"{_TRITON}exec_count"):
        mean = counters[f"{_TRITON}count"] / executions
        yield f"Triton: {mean:.3g} inferences in a batch on average, over all models and {executions:.0f} executions"
        yield (
            "Triton counts the computing of a batch for each of its requests: the mean over requests stands for that "
            "over batches, which is shorter where sizes differ; its statistics (v2/models/MODEL/stats) have both"
        )
    if nameless:
        names = printable(", ".join(sorted(nameless)))[:200]
        yield f"histograms whose names end in no unit of time were passed over: {names}"


def _labels(labels: Mapping[str, str], without: str = "") -> Labels:
    return tuple(sorted((key, value) for key, value in labels.items() if key != without))


READERS = {"load-test": read_load_test, "drafts": read_drafts}
