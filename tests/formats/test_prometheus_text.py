"""Pages of metrics: as prometheus-client writes them, and by the shape of Triton's and Ray's."""

import re

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from reading import example, load_test, only_run, read_bytes, refusal

from capacity.formats.load_test import EngineNow, LoadRun
from capacity.formats.registry import Kind

TRITON = example("prometheus_text_triton.txt")
RAY = example("prometheus_text_ray.txt")


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


DRAFTING = """# TYPE vllm:spec_decode_num_drafts_total counter
vllm:spec_decode_num_drafts_total{engine="0",model_name="opt"} 30.0
vllm:spec_decode_num_drafts_total{engine="1",model_name="opt"} 10.0
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos_total counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="opt",position="0"} 20.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="1",model_name="opt",position="0"} 10.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="opt",position="1"} 10.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="1",model_name="opt",position="1"} 0.0
"""
EXAMPLES = {
    "text": page(),
    "openmetrics": page(openmetrics=True),
    "triton": TRITON,
    "ray": RAY,
    "drafting": DRAFTING,
}


ENGINE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 12.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.95
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{engine="0"} 2.0
"""
STAGES = {
    "e2e_request_latency": 40,
    "request_queue_time": 16,
    "request_prefill_time": 4,
    "request_decode_time": 20,
}
for name, sum_s in STAGES.items():
    metric = f"vllm:{name}_seconds"
    ENGINE += f"# TYPE {metric} histogram\n"
    for engine, answered, times in (("0", 8, 1), ("1", 4, 2)):
        ENGINE += "".join(
            f'{metric}_bucket{{engine="{engine}",le="{le}"}} {answered}\n' for le in ("30.0", "+Inf")
        )
        ENGINE += f'{metric}_count{{engine="{engine}"}} {answered}\n{metric}_sum{{engine="{engine}"}} {times * sum_s}\n'


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_request_of_vllm_has_its_stages_and_what_its_engine_holds(*, openmetrics: bool) -> None:
    page = ENGINE.replace("vllm:", "vllm_") + "# EOF\n" if openmetrics else ENGINE
    first, second = [run for run in load_test(page.encode()).runs if "e2e" in run.name]
    assert first.stages_s == {"queue": 2.0, "prefill": 0.5, "decode": 2.5}
    assert first.engine == EngineNow(running=12.0, waiting=3.0, kv_share=0.95, preemptions=0.25)
    # Another engine has its own times; of this one the page has no counts of requests.
    assert second.stages_s == {"queue": 8.0, "prefill": 2.0, "decode": 10.0}
    assert second.engine is None
    others = [run for run in load_test(page.encode()).runs if "e2e" not in run.name]
    assert not any(run.stages_s or run.engine for run in others)


@pytest.mark.parametrize("value", ["NaN", "-1.0", "+Inf"])
def test_counts_of_an_engine_that_are_none_are_passed_over(value: str) -> None:
    def first(page: str) -> LoadRun:
        return next(run for run in load_test(page.encode()).runs if "e2e" in run.name)

    assert (
        first(
            ENGINE.replace(
                'num_requests_waiting{engine="0"} 3.0', f'num_requests_waiting{{engine="0"}} {value}'
            )
        ).engine
        is None
    )
    without = first(ENGINE.replace('usage_perc{engine="0"} 0.95', f'usage_perc{{engine="0"}} {value}'))
    assert without.engine == EngineNow(running=12.0, waiting=3.0, kv_share=None, preemptions=0.25)


def test_without_one_of_its_stages_a_request_of_vllm_has_none() -> None:
    page = ENGINE.replace("request_queue_time_seconds_sum", "request_queue_time_seconds_other")
    assert not any(run.stages_s for run in load_test(page.encode()).runs)


def test_drafts_are_counted_over_all_engines() -> None:
    found = read_bytes(DRAFTING, Kind.DRAFTS)
    assert (found.draft_tokens, found.rates, found.in_steps) == (2, (0.75, 0.25), True)
    escaped = DRAFTING.replace("vllm:", "vllm_") + "# EOF\n"
    assert read_bytes(escaped.replace("_total counter", " counter"), Kind.DRAFTS) == found


def test_a_server_that_accepted_nothing_yet_drafts_all_the_same() -> None:
    found = read_bytes(re.sub(r" \d+\.0\n", " 0.0\n", DRAFTING), Kind.DRAFTS)
    assert found.rates == (0.0, 0.0)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_histogram_is_a_run_with_intervals(openmetrics: bool) -> None:
    run = only_run(page(openmetrics=openmetrics))
    assert run.name.replace("vllm_", "vllm:") == "vllm:e2e_request_latency_seconds{model_name=opt}"
    assert run.counted == 4
    assert run.mean_s == pytest.approx(7.75 / 4)
    median, last = run.quantiles_s[0.5], run.quantiles_s[0.99]
    assert (median.low, median.high, median.value) == (0.1, 0.5, 0.5)
    assert (last.low, last.high, last.value) == (1.0, float("inf"), 1.0)  # an open bucket has no upper end


HEAD = "# TYPE x_seconds histogram\n"


REFUSED = [
    (page(), "does not count drafts (vllm:spec_decode_num_drafts_total)", Kind.DRAFTS),
    (
        "".join(DRAFTING.splitlines(keepends=True)[:3]),
        "drafts_total is 40, and there is no vllm:spec",
        Kind.DRAFTS,
    ),
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
]


PLAIN = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m"} 20
nv_inference_count{model="m",gpu_uuid="a"} 15
nv_inference_count{model="m",gpu_uuid="b"} 15
nv_inference_request_duration_us{model="m"} 100000
nv_inference_queue_duration_us{model="m"} 40000
"""


def test_what_triton_does_not_count_is_not_told() -> None:
    """Of 30 inferences, on two GPUs, and nothing says which of 20 requests brought how many."""
    run = only_run(PLAIN)
    assert (run.name, run.succeeded, run.failed) == ("triton{model=m}", 20, None)
    assert (run.mean_s, run.stages_s) == (pytest.approx(0.005), pytest.approx({"queue": 0.002}))
    assert (run.batch_size, run.batch_size_mean, run.batch_mean_s) == (1, None, None)
    executed = only_run(PLAIN + 'nv_inference_exec_count{model="m"} 12\n')
    assert (executed.batch_size, executed.batch_size_mean, executed.batch_mean_s) == (1, 2.5, None)


def test_a_single_request_of_triton_has_its_times() -> None:
    counters = {"request_success": 1, "request_duration_us": 5000, "queue_duration_us": 1000,
                "compute_infer_duration_us": 3000, "count": 1, "exec_count": 1}  # fmt: skip
    text = "# TYPE nv_inference_count counter\n"
    run = only_run(
        text + "".join(f'nv_inference_{name}{{model="m"}} {one}\n' for name, one in counters.items())
    )
    assert (run.succeeded, run.batch_size, run.batch_size_mean) == (1, 1, 1.0)
    assert (run.mean_s, run.batch_mean_s) == pytest.approx((0.005, 0.003))
    assert run.stages_s == pytest.approx({"queue": 0.001, "compute infer": 0.003})


def test_what_a_cache_answered_alone_has_no_stage_but_its_queue() -> None:
    cached = (
        PLAIN
        + 'nv_cache_num_hits_per_model{model="m"} 20\nnv_inference_compute_infer_duration_us{model="m"} 0\n'
    )
    run = only_run(cached)
    assert run.stages_s == pytest.approx({"queue": 0.002})
    assert run.batch_size == 1


def summary(*lines: str) -> str:
    return "# TYPE x_ms summary\n" + "".join(f"x_ms{line}\n" for line in lines)


def test_a_summary_may_have_quantiles_alone() -> None:
    run = only_run(summary('{a="b",quantile="0.9"} 12'))
    assert (run.name, run.counted, run.mean_s) == ("x_ms{a=b}", None, None)
    assert run.quantiles_s[0.9].value == pytest.approx(0.012)
    counted = only_run(summary('{quantile="0.9"} 0', "_count 4"))
    assert (counted.counted, counted.mean_s, counted.quantiles_s[0.9].value) == (4, None, 0.0)
    whole = only_run(summary('{quantile="0.9"} 12', "_count 4", "_sum 8"))
    assert (whole.counted, whole.mean_s) == (4, pytest.approx(0.002))


REFUSED += [
    (summary('{quantile="0.9"} NaN', "_count 4"), "counts no request"),
    (summary('{quantile="0.9"} -1'), "x_ms has a quantile that is no duration"),
    (summary('{quantile="0.9"} +Inf'), "x_ms has a quantile that is no duration"),
    (summary('{quantile="a"} 1'), "x_ms has a quantile that is no number"),
    (f'# TYPE a summary\n{"y" * 90}_ms{{quantile="a"}} 1\n', f": {'y' * 80} has a quantile"),
    (f'# TYPE a histogram\n{"y" * 90}_ms_bucket{{le="a"}} 1\n', f": {'y' * 80} has a bucket"),
    (HEAD + "x" * 8191 + " 1\n", "has a line of 8193 characters"),
    (HEAD + "x" * 8190 + " 1\n", "counts no request"),
    (PLAIN.replace(" 20", " 0"), "counts no request"),
]


def test_as_many_samples_as_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.prometheus_text.ROWS_MAX", 6)
    monkeypatch.setattr("capacity.formats.prometheus_text.LINE_LENGTH_MAX", 60)
    text = "# TYPE x_ms summary\n" + 'x_ms{quantile="0.9"} 12\n' + "y 1\n" * 5
    assert only_run(text).quantiles_s[0.9].value == pytest.approx(0.012)
    assert "has more than 6 samples" in refusal(text + "y 1\n")


def test_names_of_histograms_without_a_unit_are_cut() -> None:
    text = RAY + f'{"z" * 300}_bucket{{le="+Inf"}} 5\n'
    (note,) = [note for note in load_test(text).notes if "no unit" in note]
    assert note.endswith("passed over: serve_actual_batch_size, " + "z" * 175)


def test_a_long_reason_is_cut() -> None:
    said = refusal(HEAD + "x " + "z" * 200 + "\n")
    reason = said.partition("text format (")[2].partition("); save")[0]
    assert len(reason) == 120


def test_other_series_with_the_same_prefix_are_not_the_sum() -> None:
    """Such as a total and the time of creation, before the sum and after it."""
    name, labels = "ray_serve_deployment_processing_latency_ms", '{deployment="d"}'
    others = "".join(f"{name}_{part}{labels} 999\n" for part in ("total", "created", "max"))
    others += "".join(f'{name}_{part}{{deployment="d",le="10.0"}} 999\n' for part in ("age", "max"))
    for text in (others + RAY, RAY + others):
        assert only_run(text).mean_s == pytest.approx(0.015)


def test_a_counter_below_0_is_refused() -> None:
    text = "# TYPE nv_inference_request_success counter\nnv_inference_request_success -40\n"
    assert "nv_inference_request_success is a counter, and never below 0" in refusal(text)


def test_blank_lines_around_a_page_are_none_of_it() -> None:
    for text in (page(), page(openmetrics=True)):
        (run,), (same,) = (load_test(one).runs for one in (text, f"\n{text}\n \n"))
        assert (run.name, run.quantiles_s) == (same.name, same.quantiles_s)
