"""Pages of metrics: as prometheus-client writes them, and by the shape of Triton's and Ray's."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from written import load_test, only_run, refusal

TRITON = """\
# HELP nv_inference_request_success Number of successful inference requests
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="1"} 40
nv_inference_request_failure{model="m",reason="OTHER",version="1"} 2
nv_inference_request_failure{model="m",reason="CANCELED",version="1"} 1
nv_inference_count{model="m",version="1"} 90
nv_inference_exec_count{model="m",version="1"} 15
nv_inference_request_duration_us{model="m",version="1"} 800000
nv_inference_queue_duration_us{model="m",version="1"} 200000
nv_inference_compute_input_duration_us{model="m",version="1"} 30000
nv_inference_compute_infer_duration_us{model="m",version="1"} 300000
nv_inference_compute_output_duration_us{model="m",version="1"} 60000
nv_cache_num_hits_per_model{model="m",version="1"} 10
nv_inference_request_success{model="idle",version="1"} 0
# TYPE nv_inference_queue_summary_us summary
nv_inference_queue_summary_us_count{model="m",version="1"} 40
nv_inference_queue_summary_us_sum{model="m",version="1"} 200000
nv_inference_queue_summary_us{model="m",version="1",quantile="0.5"} 4000
nv_inference_queue_summary_us{model="m",version="1",quantile="0.99"} NaN
"""
RAY = """\
# TYPE ray_serve_deployment_processing_latency_ms histogram
ray_serve_deployment_processing_latency_ms_bucket{deployment="d",le="10.0"} 5
ray_serve_deployment_processing_latency_ms_bucket{deployment="d",le="20.0"} 9
ray_serve_deployment_processing_latency_ms_bucket{deployment="d",le="+Inf"} 10
ray_serve_deployment_processing_latency_ms_count{deployment="d"} 10
ray_serve_deployment_processing_latency_ms_sum{deployment="d"} 150
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="1"} 0.001
go_gc_duration_seconds_sum 0.01
go_gc_duration_seconds_count 40
# TYPE serve_actual_batch_size histogram
serve_actual_batch_size_bucket{le="1.0"} 3
serve_actual_batch_size_bucket{le="+Inf"} 5
"""


def page(*, openmetrics: bool = False) -> str:
    """Four requests, as prometheus-client counts them."""
    registry = CollectorRegistry()
    histogram = Histogram(
        "vllm:e2e_request_latency_seconds",
        "By model.",
        ["model_name"],
        registry=registry,
        buckets=(0.1, 0.5, 1.0),
    )
    for seconds in (0.05, 0.3, 0.4, 7.0):
        histogram.labels("opt").observe(seconds)
    return (generate_openmetrics if openmetrics else generate_latest)(registry).decode()


EXAMPLES = {
    "text": page().encode(),
    "openmetrics": page(openmetrics=True).encode(),
    "triton": TRITON.encode(),
    "ray": RAY.encode(),
}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_histogram_is_a_run_with_intervals(tmp_path: Path, openmetrics: bool) -> None:
    run = only_run(tmp_path, page(openmetrics=openmetrics))
    assert run.name.replace("vllm_", "vllm:") == "vllm:e2e_request_latency_seconds{model_name=opt}"
    assert run.counted == 4
    assert run.mean_s == pytest.approx(7.75 / 4)
    median, last = run.quantiles_s[0.5], run.quantiles_s[0.99]
    assert (median.low, median.high, median.value) == (0.1, 0.5, 0.5)
    assert (last.low, last.high, last.value) == (1.0, float("inf"), 1.0)  # an open bucket has no upper end


def test_milliseconds_are_told_by_the_name(tmp_path: Path) -> None:
    found = load_test(tmp_path, RAY)
    assert [run.name for run in found.runs] == ["ray_serve_deployment_processing_latency_ms{deployment=d}"]
    assert found.runs[0].mean_s == pytest.approx(0.015)
    assert found.runs[0].quantiles_s[0.5].high == pytest.approx(0.010)
    assert any("serve_actual_batch_size" in note for note in found.notes)
    assert any("since the server started" in note for note in found.notes)


def test_triton_s_counters_tell_means_and_stages(tmp_path: Path) -> None:
    found = load_test(tmp_path, TRITON)
    summary, run = found.runs
    assert (run.name, run.succeeded, run.failed) == ("triton{model=m,version=1}", 40, 3)
    assert run.mean_s == pytest.approx(0.020)
    # The cache answered ten, which were queued and never computed.
    assert run.stages_s == pytest.approx(
        {"queue": 0.005, "compute input": 0.001, "compute infer": 0.010, "compute output": 0.002}
    )
    # 90 inferences of 30 requests in 15 executions: three in a request, two requests in a batch of 13 ms.
    assert (run.batch_size, run.batch_size_mean) == (3, 2.0)
    assert run.batch_mean_s == pytest.approx(0.013)
    assert any("6 inferences in a batch on average" in note for note in found.notes)
    assert {q: one.value for q, one in summary.quantiles_s.items()} == pytest.approx({0.5: 0.004})
    assert summary.mean_s == pytest.approx(0.005)


HEAD = "# TYPE x_seconds histogram\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "counts no request in a histogram"),
        (HEAD + 'x_seconds_bucket{le="1"} 3\n', 'has no bucket le="+Inf"'),
        (HEAD + 'x_seconds_bucket{le="1"} 3\nx_seconds_bucket{le="+Inf"} 2\n', "3 up to 1 and 2 up to inf"),
        (HEAD + 'x_seconds_bucket{le="1"} 1\nx_seconds_bucket{le="1"} 2\n', "le=1 twice"),
        (HEAD + 'x_seconds_bucket{le="1"} NaN\nx_seconds_bucket{le="+Inf"} 2\n', "must be a count"),
        (HEAD + 'x_seconds_bucket{le="a"} 1\n', "le is no number"),
        (HEAD + 'x_seconds_bucket{le="-1"} 1\nx_seconds_bucket{le="0"} 1\n', 'no bucket le="+Inf"'),
        (
            HEAD + 'x_seconds_bucket{le="1"} 1\nx_seconds_bucket{le="+Inf"} 1\nx_seconds_sum 900\n',
            "is not one that the buckets allow",
        ),
        (HEAD + "x_seconds_bucket{le=\n", "is not in Prometheus' text format"),
        (HEAD + "x" * 9000 + " 1\n", "a line of 9002 characters"),
        ("# TYPE a histogram\n# TYPE a gauge\n# EOF", "is not in Prometheus' text format"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)
