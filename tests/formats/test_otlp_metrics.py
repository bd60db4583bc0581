"""OpenTelemetry metrics, written by their schema; nothing here is an export of somebody's service."""

import json
import math
from typing import Any

import pytest
from reading import only_run, refusal

from capacity.formats.load_test import Loop

NAME = "http.server.request.duration"


def point(counts: list[int], time_s: int = 10, start_s: int = 0, **others: Any) -> dict[str, Any]:
    return {
        "attributes": [{"key": "route", "value": {"stringValue": "/predict"}}],
        "startTimeUnixNano": str(start_s * 10**9),
        "timeUnixNano": str(time_s * 10**9),
        "count": str(sum(counts)),
        "sum": 0.3 * sum(counts),
        "bucketCounts": [str(one) for one in counts],
        "explicitBounds": [0.1, 0.5],
    } | others


def metrics(*metrics: dict[str, Any]) -> dict[str, Any]:
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]}


def histogram(
    temporality: Any, *points: dict[str, Any], unit: str = "s", kind: str = "histogram"
) -> dict[str, Any]:
    data = {"aggregationTemporality": temporality, "dataPoints": list(points)}
    return metrics({"name": NAME, "unit": unit, kind: data}, {"name": "requests", "sum": {"dataPoints": []}})


def exponential(**others: Any) -> dict[str, Any]:
    """Scale 0: bounds are powers of two. One at 0, two in (1/4, 1/2], three in (1/2, 1]."""
    return {
        "timeUnixNano": "1",
        "count": "6",
        "sum": 3.1,
        "scale": 0,
        "zeroCount": "1",
        "positive": {"offset": -2, "bucketCounts": ["2", "3"]},
        "negative": {},
    } | others


DELTA = histogram(1, point([1, 2, 1]), point([0, 4, 0], 20))
CUMULATIVE = histogram(
    "AGGREGATION_TEMPORALITY_CUMULATIVE", point([1, 2, 1]), point([2, 5, 1], 20), point([0, 3, 0], 30, 25)
)
EXPONENTIAL = histogram(2, exponential(), kind="exponentialHistogram")
EXAMPLES = {
    "delta": json.dumps(DELTA, indent=1),
    "lines": f"{json.dumps(DELTA)}\n\n{json.dumps(DELTA)}\n",
    "exponential": EXPONENTIAL,
    "cumulative": CUMULATIVE,
    "fine": histogram(2, exponential(scale=1, sum=3.8), kind="exponentialHistogram"),
    "milliseconds": histogram(1, point([1, 2, 1], explicitBounds=[100, 500], sum=1200.0), unit="ms"),
    "empty points": histogram(1, {"timeUnixNano": "1"}, point([1, 2, 1]), {"timeUnixNano": "1"}),
}


def test_deltas_say_in_which_time_they_were_counted() -> None:
    """Eight requests in two exports of 2 s each; totals since a start may have been idle for years."""
    began_s = 1_700_000_000
    points = [point([1, 2, 1], began_s + 2, began_s), point([0, 4, 0], began_s + 4, began_s + 2)]
    run = only_run(histogram(1, *points))
    assert (run.duration_s, run.throughput_rps) == (pytest.approx(4.0), pytest.approx(2.0))
    assert only_run(histogram(2, *points)).throughput_rps is None


def test_what_a_client_measured_is_not_the_server_s() -> None:
    data = {"aggregationTemporality": 1, "dataPoints": [point([1, 2, 1])]}
    for name, loop in (
        ("http.client.request.duration", Loop.UNKNOWN),
        ("rpc.client.duration", Loop.UNKNOWN),
        ("http.server.request.duration", Loop.SERVED),
        ("clients.duration", Loop.SERVED),
    ):
        assert only_run(metrics({"name": name, "unit": "s", "histogram": data})).loop is loop


REFUSED = [
        (metrics(), "has no histogram with a unit of time"),
        (histogram(1, point([1, 2, 1]), unit="By"), "has no histogram with a unit of time"),
        (histogram(0, point([1, 2, 1])), "aggregationTemporality must be 1 (delta) or 2 (cumulative)"),
        (histogram(1, point([1, 2])), "has 2 bucketCounts for 2 explicitBounds; there must be one more"),
        (histogram(1, point([1, 2, 1], count="5")), "count is 5, but its buckets hold 4"),
        (histogram(1, point([1, 2, 1], count="five")), "count must be a whole number, got 'five'"),
        (histogram(1, point([1, 2, 1], explicitBounds=[0.5, 0.1])), "bounds of a histogram must rise"),
        (histogram(1, point([1, 2, 1], sum=900.0), point([1, 0, 0], explicitBounds=[0.1, 0.6])), "changed its buckets"),
        (histogram(1, point([4, 0, 0], sum=900.0)), "is not one that the buckets allow"),
        (histogram(2, exponential(scale=99), kind="exponentialHistogram"), "scale must be from -10 to 20"),
        (
            histogram(
                2, exponential(positive={"offset": 5000, "bucketCounts": [5]}), kind="exponentialHistogram"
            ),
            "has a bucket at 2^5000",
        ),
        (
            histogram(2, exponential(negative={"bucketCounts": ["1"]}), kind="exponentialHistogram"),
            "counts durations below 0",
        ),
    ]  # fmt: skip


def test_protocol_buffers_agree_on_the_encoding() -> None:
    schema = pytest.importorskip(
        "opentelemetry.proto.metrics.v1.metrics_pb2", reason="needs opentelemetry-proto"
    )
    json_format = pytest.importorskip("google.protobuf.json_format")
    theirs = json_format.MessageToJson(json_format.ParseDict(CUMULATIVE, schema.MetricsData()))
    assert only_run(theirs).counted == 11


def test_as_many_points_as_may_be_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.otlp_metrics._POINTS_MAX", 2)
    assert only_run(DELTA).counted == 8
    more = histogram(1, point([1, 2, 1]), point([0, 4, 0], 20), point([0, 4, 0], 30))
    assert "has more than 2 points; keep a shorter time" in refusal(more)


def test_a_point_that_counted_nothing_may_leave_out_its_buckets() -> None:
    """As protocol buffers leave out what is 0, and beside others, before and after."""
    empty = {"timeUnixNano": "1"}
    assert only_run(histogram(1, empty, point([1, 2, 1]), empty)).counted == 4
    assert "has no histogram with a unit" in refusal(histogram(1, empty))


def test_a_large_count_is_a_text_of_twenty_digits() -> None:
    run = only_run(histogram(1, point([4, 0, 0], count="0" * 19 + "4", sum=0.2)))
    assert run.counted == 4
    assert "count must be" in refusal(histogram(1, point([4, 0, 0], count="0" * 20 + "4")))


def test_an_exponential_histogram_may_have_zeros_alone_or_none() -> None:
    zeros = exponential(count="3", zeroCount="3", positive={}, sum=0.0)
    run = only_run(histogram(1, zeros, kind="exponentialHistogram"))
    assert run.histogram.edges_s == (0.0, 1e-12, math.inf)
    assert run.histogram.counts == (3.0, 0.0)
    wide = zeros | {"zeroThreshold": 0.5}
    found = only_run(histogram(1, wide, kind="exponentialHistogram")).histogram
    assert found.edges_s == (0.0, 0.5, math.inf)
    bare = exponential(count="5")
    del bare["zeroCount"], bare["scale"], bare["positive"]["offset"]
    found = only_run(histogram(1, bare | {"sum": 8.0}, kind="exponentialHistogram")).histogram
    assert (found.edges_s, found.counts) == ((0.0, 1.0, 2.0, 4.0, math.inf), (0.0, 2.0, 3.0, 0.0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (histogram(1, point([4], bucketCounts=["y" * 41] * 3)), f"bucketCounts must be a number, got '{'y' * 39}"),
        (histogram(1, point([4, 0, 0], count="z" * 20)), f"count must be a whole number, got '{'z' * 20}'"),
        (histogram(2, exponential(scale=21), kind="exponentialHistogram"), "scale must be from -10 to 20, got 21"),
        (histogram(2, exponential(scale=-11), kind="exponentialHistogram"), "scale must be from -10 to 20, got -11"),
    ],
)  # fmt: skip
def test_what_is_beyond_its_ends_is_refused(content: Any, said: str) -> None:
    assert said.rstrip("'") in refusal(content)


def test_attributes_of_all_kinds_are_part_of_a_name() -> None:
    attributes = [
        {"key": "d", "value": {"doubleValue": 0.5}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "a", "value": {"arrayValue": {}}},
        {"key": "i", "value": {"intValue": "7"}},
        {"key": "n"},
    ]
    run = only_run(histogram(1, point([1, 2, 1], attributes=attributes)))
    assert run.name == f"{NAME}{{a=?,b=True,d=0.5,i=7,n=?}}"


@pytest.mark.parametrize("more", [0, 1])
def test_a_histogram_has_at_most_2000_buckets(more: int) -> None:
    """At scale 10, 1024 buckets span a factor of two."""
    one = exponential(
        scale=10,
        count=str(2001 + more),
        sum=sum(2.0 ** ((at + 0.5) / 1024) for at in range(2000 + more)),
        positive={"offset": 0, "bucketCounts": ["1"] * (2000 + more)},
    )
    content = histogram(2, one, kind="exponentialHistogram")
    if more:
        assert "has 2001 buckets; there are 2000 at most" in refusal(content)
        return
    found = only_run(content).histogram
    assert (found.total, found.edges_s[1]) == (2001.0, 1.0)
    assert found.edges_s[1025] == pytest.approx(2.0)
