"""Answers of Prometheus: by the shape that it documents, and of a real server where there is one."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from reading import only_run, refusal

PROMETHEUS = shutil.which("prometheus")
METRIC = "api_latency_seconds"


def answer(kind: str, *result: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": list(result)}}


def bucket(le: str, *values: float, metric: str = f"{METRIC}_bucket") -> dict[str, Any]:
    """A series with a value each ten seconds."""
    labels = {"__name__": metric, "job": "api", "le": le}
    return {"metric": labels, "values": [[1e9 + 10 * at, f"{one:g}"] for at, one in enumerate(values)]}


def at_once(series: dict[str, Any]) -> dict[str, Any]:
    return {"metric": series["metric"], "value": series["values"][0]}


def native(*histograms: dict[str, Any]) -> dict[str, Any]:
    points = [[1e9 + 10 * at, one] for at, one in enumerate(histograms)]
    return {"metric": {"__name__": METRIC}, "histograms": points}


BEFORE = {"count": "3", "sum": "0.5", "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.25", "0.5", "2"]]}
AFTER = {
    "count": "7",
    "sum": "4.1",
    "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.25", "0.5", "3"], [0, "1", "2", "3"]],
}
VECTOR = answer("vector", *map(at_once, (bucket("0.1", 6), bucket("0.5", 9), bucket("+Inf", 10))))
MATRIX = answer("matrix", bucket("0.1", 100, 106, 2), bucket("+Inf", 200, 210, 3))
NATIVE = answer("matrix", native(BEFORE, AFTER))
RATE = answer("matrix", bucket("", 10, 30, 5, metric="http_requests_total"))
EXAMPLES = {"vector": VECTOR, "matrix": MATRIX, "native": NATIVE, "counter": RATE}


def test_a_restart_is_seen_in_any_bucket() -> None:
    """The first bucket went on rising across the restart, from 1 to 4: all four came after it."""
    run = only_run(answer("matrix", bucket("0.1", 1, 4), bucket("+Inf", 50, 6)))
    assert run.histogram.counts == (4.0, 2.0)


def test_sums_tell_the_mean() -> None:
    total = bucket("", 5, 8.5, metric=f"{METRIC}_sum")
    del total["metric"]["le"]
    run = only_run(answer("matrix", bucket("0.1", 0, 5), bucket("+Inf", 0, 10), total))
    assert run.mean_s == pytest.approx(0.35)


def test_a_native_histogram_keeps_its_bounds() -> None:
    run = only_run(NATIVE)
    assert run.counted == 4
    assert run.mean_s == pytest.approx(3.6 / 4)
    assert (run.quantiles_s[0.5].low, run.quantiles_s[0.5].high) == (1.0, 2.0)
    assert run.history[0].rate_rps == pytest.approx(0.4)
    once = {"metric": {"__name__": METRIC}, "histogram": [1e9, AFTER]}
    assert only_run(answer("vector", once)).counted == 7


@pytest.mark.parametrize("metric", ["vllm:prompt_tokens_total", "vllm:num_requests_waiting"])
def test_what_counts_no_requests_is_no_run(metric: str) -> None:
    other = bucket("", 100, 300, 500, metric=metric)
    assert only_run(answer("matrix", *RATE["data"]["result"], other)).counted == 25


def test_a_gauge_of_requests_in_flight_is_users() -> None:
    run = only_run(answer("matrix", bucket("", 3, 4, metric="vllm:num_requests_running")))
    assert [one.users for one in run.history] == [3.0, 4.0]


@pytest.mark.parametrize("values", [(3.0,), (3.0, -1.0)])
def test_a_gauge_of_one_point_or_below_zero_is_no_run(values: tuple[float, ...]) -> None:
    other = bucket("", *values, metric="vllm:num_requests_running")
    assert only_run(answer("matrix", *RATE["data"]["result"], other)).counted == 25


REFUSED = [
        ({"status": "error", "errorType": "bad_data", "error": "parse\nerror"}, "an error of Prometheus (parse?error)"),
        (answer("scalar"), "resultType 'scalar'"),
        (answer("vector"), "has no histogram of times"),
        (answer("vector", at_once(bucket("1", 3, metric=""))), "rate() and sum() drop the name"),
        (answer("matrix", bucket("0.1", 1, 2)), 'has no bucket le="+Inf"'),
        (answer("matrix", bucket("1", 1, float("nan")), bucket("+Inf", 1, 2)), "is no count"),
        (answer("matrix", bucket("1", -0.5, 1), bucket("+Inf", 1, 2)), "is no count"),
        (answer("matrix", bucket("1", 3, 9), bucket("+Inf", 3, 4)), "must not fall"),
        (answer("matrix", bucket("x", 1, 2)), "must be a number as a text, got 'x'"),
        (answer("matrix", bucket("1", 1), bucket("+Inf", 1, 2)), "one instant at which all of its buckets"),
        (answer("vector", {"metric": {"a\nb" * 99: 1}, "value": [1, "1"]}), "must be a text, got 1"),
        (answer("matrix", {"metric": {}, "values": [[1]]}), "values[0] must be an instant and a value"),
        (answer("matrix", native(AFTER | {"buckets": [[0, "2", "1", "3"]]})), "must rise from lower to upper"),
        (answer("matrix", native(BEFORE, AFTER | {"buckets": [[0, "1", "2", "9"]]})), "changed its buckets"),
        (  # the only request of a bucket is gone
            answer("matrix", native(BEFORE, AFTER | {"buckets": [[0, "0.25", "0.5", "7"]]})),
            "changed its buckets",
        ),
        (answer("x" * 61), f"resultType {'x' * 60!r};"),
    ]  # fmt: skip


def test_one_instant_twice_is_refused() -> None:
    content = answer("matrix", native(BEFORE, BEFORE))
    content["data"]["result"][0]["histograms"][1][0] = content["data"]["result"][0]["histograms"][0][0]
    assert "keep one point an instant" in refusal(content)
    content = answer("matrix", bucket("1", 3, 5), bucket("+Inf", 4, 6))
    content["data"]["result"][0]["values"].append(content["data"]["result"][0]["values"][0])
    assert "keep one point an instant" in refusal(content)


def test_a_counter_below_0_is_no_restart() -> None:
    requests = bucket("", 5, -3, 4, metric="http_requests_total")
    del requests["metric"]["le"]
    assert "a counter is never below 0, and it is -3" in refusal(answer("matrix", requests))
    sums = bucket("", 5, -3, metric=f"{METRIC}_sum")
    del sums["metric"]["le"]
    content = answer("matrix", bucket("1", 3, 5), bucket("+Inf", 4, 6), sums)
    assert "its sum: a counter is never below 0, and it is -3" in refusal(content)


def test_milliseconds_are_told_by_the_name() -> None:
    """Ten of the 15 took up to 100 ms, and all together 1200 ms."""
    series = [bucket("100", 0, 10, metric="x_ms_bucket"), bucket("+Inf", 0, 15, metric="x_ms_bucket")]
    total = bucket("", 7, 9, 1207, metric="x_ms_sum")
    del total["metric"]["le"]
    early, _, late = total["values"]
    run = only_run(answer("matrix", *series, total | {"values": [early, [1e9 + 10, late[1]], late]}))
    assert run.quantiles_s[0.5].high == pytest.approx(0.1)
    assert run.mean_s == pytest.approx(0.08)
    late_only = answer("matrix", *series, total | {"values": [late]})
    assert only_run(late_only).mean_s is None  # the sum was not there at either instant


def test_series_that_tell_nothing_are_passed_over() -> None:
    """One whose name has no unit, and one that counted nothing, before one that did."""
    empty = {"count": "0", "sum": "0"}
    nameless = native(BEFORE, AFTER) | {"metric": {"__name__": "api_latency"}}
    idle = native(empty, empty) | {"metric": {"__name__": "idle_seconds"}}
    assert only_run(answer("matrix", nameless, idle, native(BEFORE, AFTER))).counted == 4


@pytest.mark.parametrize(
    ("buckets", "said"),
    [
        ([[0, "1", "2", "3"], [0, "3", "4", "1"], [0, "3.5", "5", "1"]], "has buckets that overlap"),
        ([[0, "1", "2"]], "histogram[1].buckets[0] must be which ends belong to it"),
        (["0123"], "histogram[1].buckets[0] must be which ends belong to it"),
        ([[0, "1", "2", "-1"]], "histogram[1].buckets[0] must be a count"),
        ([[0, "1", "1", "1"]], "must rise from lower to upper, got 1 and 1"),
    ],
)
def test_native_buckets_that_cannot_be_are_refused(buckets: list[Any], said: str) -> None:
    once = {"metric": {"__name__": METRIC}, "histogram": [1e9, AFTER | {"buckets": buckets}]}
    assert said.replace("histogram[1]", "result[0].histogram") in refusal(answer("vector", once))


def test_native_buckets_may_touch() -> None:
    buckets = [[0, "1", "2", "3"], [0, "2", "4", "1"]]
    once = {"metric": {"__name__": METRIC}, "histogram": [1e9, AFTER | {"buckets": buckets, "sum": "NaN"}]}
    run = only_run(answer("vector", once))
    assert run.histogram.edges_s == (0.0, 1.0, 2.0, 4.0)
    assert run.histogram.counts == (0.0, 3.0, 1.0)
    assert run.mean_s is None


REFUSED += [
    ({"status": "success", "data": {}}, "of none of the"),
    ({"status": "success", "data": ["resultType"]}, "of none of the"),
    ({"status": "error", "errorType": "x"}, "an error of Prometheus (no reason given)"),
    ({"status": "error", "errorType": "x", "error": "y" * 201}, f"an error of Prometheus ({'y' * 200})"),
    (answer("vector", {"metric": {}, "value": [1, "z" * 41]}), f"got '{'z' * 39}"),
    (answer("vector", {"metric": {}, "value": [1, "1", 2]}), "result[0].value must be an instant"),
]


def test_the_number_of_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two native histograms, a series of two values and one of one."""
    monkeypatch.setattr("capacity.formats.prometheus_query._VALUES_MAX", 5)
    series = [native(BEFORE, AFTER), bucket("", 10, 30, metric="requests_total"), bucket("", 1, metric="x")]
    assert only_run(answer("matrix", *series)).counted == 4
    said = refusal(answer("matrix", *series, bucket("", 1, metric="y")))
    assert "has more than 5 values; query with a longer step" in said


def test_buckets_without_a_common_instant_are_refused() -> None:
    late = bucket("+Inf", 2)
    late["values"][0][0] += 5
    said = refusal(answer("matrix", bucket("0.1", 1), late))
    assert "has no instant at which all of its buckets are there; query them together" in said


def test_a_native_histogram_counts_from_0_after_a_restart() -> None:
    """Four requests before the restart, one after it; an equal count adds none."""
    after = {"count": "1", "sum": "0.4", "buckets": [[0, "0.25", "0.5", "1"]]}
    run = only_run(answer("matrix", native(BEFORE, AFTER, after, after)))
    assert run.counted == 5
    assert run.mean_s == pytest.approx((3.6 + 0.4) / 5)
    assert [one.rate_rps for one in run.history] == pytest.approx([0.4, 0.1, 0.0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus, which scrapes an exporter with a classic histogram, and itself, which has native ones."""
    if PROMETHEUS is None:
        pytest.skip("prometheus is not on PATH; `bash .ci/prometheus FOLDER` fetches it on Debian")
    folder = tmp_path_factory.mktemp("prometheus")
    registry = CollectorRegistry()
    histogram = Histogram(METRIC, "Of the test.", registry=registry, buckets=(0.1, 0.5, 1.0))
    for seconds in (0.05, 0.2, 0.3, 0.4, 2.0):
        histogram.observe(seconds)
    exporter, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    port = free_port()
    targets = [f"127.0.0.1:{exporter.server_port}", f"127.0.0.1:{port}"]
    jobs = [{"job_name": "test", "static_configs": [{"targets": targets}]}]
    settings = {"global": {"scrape_interval": "200ms"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # which is YAML too
    process = subprocess.Popen(
        [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=native-histograms"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(10)
        exporter.shutdown()
        exporter.server_close()
        thread.join(10)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def ask(url: str, **query: object) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=5) as response:
        found: dict[str, Any] = json.load(response)
        return found


def when_there(url: str, **query: object) -> dict[str, Any]:
    """The answer once it has a series; it takes Prometheus five seconds to find its targets."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        try:
            if (found := ask(url, **query))["data"]["result"]:
                return found
        except OSError:
            pass  # it is not listening yet
        time.sleep(0.2)
    raise AssertionError(f"no series for {query} within 30 s")


def test_a_real_classic_histogram(server: str) -> None:
    found = when_there(f"{server}/query", query=f'{{__name__=~"{METRIC}_.+"}}')
    run = only_run(found)
    assert run.counted == 5
    assert run.mean_s == pytest.approx(2.95 / 5)
    assert (run.quantiles_s[0.5].low, run.quantiles_s[0.5].high) == (0.1, 0.5)


def test_a_real_native_histogram_holds_the_quantile_that_prometheus_gives(server) -> None:
    metric = 'prometheus_http_request_duration_seconds{handler="/metrics"}'
    found = when_there(f"{server}/query", query=metric)
    if "histogram" not in found["data"]["result"][0]:
        pytest.skip("this Prometheus has no native histograms of its own")
    t_s = found["data"]["result"][0]["histogram"][0]
    theirs = ask(f"{server}/query", query=f"histogram_quantile(0.9, {metric})", time=t_s)
    value_s = float(theirs["data"]["result"][0]["value"][1])
    ours = only_run(found).quantiles_s[0.9]
    assert ours.low <= value_s <= ours.high
    time.sleep(1.0)
    end_s = time.time()
    ranged = ask(f"{server}/query_range", query=metric, start=end_s - 1.0, end=end_s, step="500ms")
    run = only_run(ranged)
    assert run.counted is not None
    assert run.counted >= 1
    assert len(run.history) == len(ranged["data"]["result"][0]["histograms"]) - 1
