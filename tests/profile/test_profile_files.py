"""Profiles from files: what is bundled, what is read, and what is refused with place and mend."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import InputError
from capacity.files import FILE_BYTES_MAX, TEXT_LENGTH_MAX, printable, read_text
from capacity.profile.formats import parse_csv, parse_json
from capacity.profile.load import bundled_names, load_profile, read_profile
from capacity.profile.profile import BatchTiming, ServiceProfile

laws_hold = settings(derandomize=True, deadline=None, max_examples=80)

ROOT = Path(__file__).parents[2]
REQUIRED = (
    "resnet50-t4-fp16", "resnet50-a100-fp16", "bert-large-384-l40s-fp16", "resnet50-mxnet-t4-fp16",
    "dlrm-cpu-fp32",
)  # fmt: skip


def refusal(call: Callable[[], object]) -> str:
    """The message of the input error that a call ends in; safe on a terminal, and of limited length."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1200
    return message


def csv_profile(text: str) -> ServiceProfile:
    return parse_csv(text, "t.csv", "t")


def csv_refusal(text: str) -> str:
    return refusal(lambda: csv_profile(text))


def document(**changes: Any) -> dict[str, Any]:
    timings = [{"batch_size": 1, "mean_ms": 3}, {"batch_size": 2, "mean_ms": 4.5, "p99_ms": 5.0}]
    return {"schema_version": 1, "name": "made-up", "timings": timings, **changes}


def json_profile(value: Any) -> ServiceProfile:
    return parse_json(json.dumps(value), "t.json")


def json_refusal(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return refusal(lambda: parse_json(text, "t.json"))


def test_the_required_profiles_are_there() -> None:
    names = bundled_names()
    assert set(REQUIRED) <= set(names)
    assert 10 <= len(FROM_ELSEWHERE) <= 12
    assert names == sorted(names)


# Profiles of the reference service are measured here, by `capacity profile`; the others were published.
OURS = [name for name in bundled_names() if name.startswith("serve-")]
FROM_ELSEWHERE = [name for name in bundled_names() if name not in OURS]


@pytest.mark.parametrize("name", OURS)
def test_a_profile_of_the_service_is_complete(name: str) -> None:
    profile = load_profile(name)
    assert (profile.name, profile.batch_size_min, profile.kind) == (name, 1, "cpu")
    assert all((profile.model, profile.device, profile.precision, profile.runtime))
    assert all(len(timing.samples_s) >= 500 for timing in profile.timings)
    assert profile.request_work_s > 0.0
    assert profile.spells is not None
    for aspect in ("measured_by", "service_time", "cpu", "cores", "kernel", "date", "settings", "artifact"):
        assert profile.source[aspect], aspect


@pytest.mark.parametrize("name", FROM_ELSEWHERE)
def test_a_bundled_profile_is_complete(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.batch_size_min == 1
    assert len(profile.batch_sizes) >= 5
    assert profile.kind in ("cpu", "gpu")
    assert all((profile.model, profile.device, profile.precision, profile.runtime))
    assert profile.instances_per_device == 1
    for aspect in ("repository", "file", "revision", "line", "licence", "measures", "price"):
        assert profile.source[aspect], aspect
    assert profile.source["licence"] in ("Apache-2.0", "BSD-3-Clause", "MIT")
    assert "/" in profile.source["repository"]


@pytest.mark.parametrize("name", bundled_names())
def test_a_bundled_price_has_its_source(name: str) -> None:
    profile = load_profile(name)
    if profile.hourly_usd is None:
        assert profile.kind == "cpu"
        assert profile.source["price"].startswith("none: ")
        return
    price = profile.source["price"]
    for part in (
        "us-east-1", "on demand", "aws/karpenter-provider-aws revision 1d927085", "2026-07-20", ".go",
    ):  # fmt: skip
        assert part in price
    size = r"[a-z0-9]+\.(?:[0-9]*xlarge|medium \(1 core of an AMD EPYC\))"
    instance = re.match(size + r" ([0-9.]+) USD/h(?: / ([0-9]+))?, AWS ", price)
    assert instance is not None
    assert profile.hourly_usd == pytest.approx(float(instance[1]) / int(instance[2] or 1), rel=1e-12)


@pytest.mark.parametrize("name", FROM_ELSEWHERE)
def test_a_bundled_profile_needs_no_stretched_tail_and_keeps_its_figures(name: str) -> None:
    profile = load_profile(name)
    for timing in profile.timings:
        law = timing.law()
        assert law.tail_ratio is None
        assert law.mean_s == pytest.approx(timing.mean_s, rel=1e-12)
        assert {u: law.quantile_s(u) for u in timing.percentiles_s} == timing.percentiles_s


@pytest.mark.parametrize("name", bundled_names())
def test_a_bundled_file_is_readable_one_timing_a_line(name: str) -> None:
    path = ROOT / "capacity" / "profile" / "bundled" / f"{name}.json"
    lines = path.read_text(encoding="utf-8").splitlines()
    timing_lines = [line for line in lines if '"batch_size"' in line]
    assert len(timing_lines) == len(load_profile(name).timings)
    assert all(line.count('"batch_size"') == 1 for line in timing_lines)
    assert read_profile(path) == load_profile(name)


# Copied from the published tables: batch size, mean, then the percentiles that are published. [ms]
PUBLISHED: list[tuple[str, int, float, dict[str, float]]] = [
    ("resnet50-t4-fp16", 1, 3.003, {"p90_s": 3.065, "p95_s": 3.093, "p99_s": 3.189}),
    ("resnet50-t4-fp16", 16, 15.113, {"p90_s": 15.319, "p95_s": 15.337, "p99_s": 15.389}),
    ("resnet50-t4-fp16", 128, 100.155, {"p90_s": 102.466, "p95_s": 102.825, "p99_s": 103.177}),
    ("resnet50-a100-fp16", 64, 25.244, {"p90_s": 26.345, "p95_s": 26.899, "p99_s": 29.744}),
    ("resnet50-v100-fp16", 32, 15.664, {"p90_s": 15.833, "p95_s": 15.977, "p99_s": 16.438}),
    ("bert-large-384-l40s-fp16", 8, 10.30, {"p95_s": 10.32, "p99_s": 10.33}),
    ("bert-large-384-l40s-int8", 128, 83.34, {"p95_s": 84.15, "p99_s": 84.40}),
    ("resnet50-mxnet-t4-fp16", 8, 11.9, {"p50_s": 11.21, "p90_s": 14.54, "p95_s": 17.24, "p99_s": 28.65}),
    ("dlrm-cpu-fp32", 1, 1.051, {"p95_s": 1.195, "p99_s": 1.225}),
    ("dlrm-cpu-fp32", 131072, 1606.89, {"p95_s": 1635.36, "p99_s": 1635.36}),
    ("jasper-7s-t4-fp16", 1, 40.76, {"p90_s": 47.49, "p95_s": 48.66, "p99_s": 53.36}),
    ("gpunet-065ms-a100-fp16", 64, 8.29, {"p50_s": 8.27, "p90_s": 8.42, "p95_s": 8.53, "p99_s": 8.74}),
    ("tft-electricity-t4-fp16", 1024, 78.4, {"p50_s": 78.4, "p90_s": 78.9, "p95_s": 79.0, "p99_s": 79.2}),
    ("llama2-70b-h100-tp8-fp16", 64, 9323.32, {"p50_s": 9337.7, "p90_s": 9467.81, "p95_s": 9484.81}),
]


@pytest.mark.parametrize(("name", "batch_size", "mean_ms", "percentiles_ms"), PUBLISHED)
def test_published_digits(name, batch_size, mean_ms, percentiles_ms) -> None:
    (timing,) = (each for each in load_profile(name).timings if each.batch_size == batch_size)
    assert timing.mean_s == pytest.approx(mean_ms / 1e3, rel=1e-15)
    for percentile in ("p50_s", "p90_s", "p95_s", "p99_s"):
        expected = percentiles_ms.get(percentile)
        value = getattr(timing, percentile)
        assert value == (None if expected is None else pytest.approx(expected / 1e3, rel=1e-15)), percentile


def test_published_sizes_and_prices() -> None:
    assert load_profile("dlrm-cpu-fp32").batch_sizes == tuple(2**k for k in range(18))
    assert load_profile("resnet50-t4-fp16").batch_sizes == (1, 2, 4, 8, 16, 32, 64, 128)
    assert load_profile("resnet50-mxnet-t4-fp16").batch_sizes == (1, 2, 4, 8, 16, 32, 64, 128, 192, 256)
    prices_usd = {
        "resnet50-t4-fp16": 0.526,
        "resnet50-a100-fp16": 27.44705 / 8,
        "resnet50-v100-fp16": 31.212 / 8,
        "bert-large-384-l40s-fp16": 1.861,
        "llama2-70b-h100-tp8-fp16": 55.04,
        "dlrm-cpu-fp32": None,
    }
    assert {name: load_profile(name).hourly_usd for name in prices_usd} == prices_usd


def test_the_published_throughput_agrees_with_the_published_latency() -> None:
    """Batch over mean beside the inferences per second that NVIDIA's table gives for T4."""
    published_rps = {1: 332.4, 2: 499.4, 4: 695.2, 8: 888.0, 16: 1057.6, 32: 1129.6, 64: 1203.2, 128: 1280.0}
    profile = load_profile("resnet50-t4-fp16")
    for size, rps in published_rps.items():
        assert profile.throughput_rps(size) == pytest.approx(rps, rel=3e-3)


def test_the_knee_on_t4_is_16_by_the_stated_rule() -> None:
    """Going from 16 to 32 gains 6.6 %; 64 and 128 gain less than 10 % for each doubling from 16."""
    means_ms = {1: 3.003, 2: 3.998, 4: 5.747, 8: 8.998, 16: 15.113, 32: 28.353, 64: 53.187, 128: 100.155}
    rates = {size: size / mean_ms for size, mean_ms in means_ms.items()}
    assert all(rates[2 * size] >= 1.1 * rates[size] for size in (1, 2, 4, 8))
    assert all(rates[16 * 2**k] < 1.1**k * rates[16] for k in (1, 2, 3))
    assert load_profile("resnet50-t4-fp16").knee_batch_size == 16


SUMMARY = "batch_size,mean_ms,p95_ms,p99_ms\n1,3.003,3.093,3.189\n16,15.113,15.337,15.389\n"


def test_a_summary() -> None:
    expected = (
        BatchTiming(batch_size=1, mean_s=0.003003, p95_s=0.003093, p99_s=0.003189),
        BatchTiming(batch_size=16, mean_s=0.015113, p95_s=0.015337, p99_s=0.015389),
    )
    assert csv_profile(SUMMARY).timings == expected


@pytest.mark.parametrize(
    "text",
    [
        SUMMARY.rstrip("\n"),
        SUMMARY.replace("\n", "\r"),
        SUMMARY.replace("\n", "\r\n"),
        "\n\n" + SUMMARY.replace("\n", "\n\n") + "  \n,,,\n",
        SUMMARY.replace(",", " , "),
        "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in SUMMARY.splitlines()),
        "p99_ms,batch_size,p95_ms,mean_ms\n15.389,16,15.337,15.113\n3.189,1,3.093,3.003\n",
        "batch_size,mean_ms,p95_s,p99_us\n1,3.003,.003093,3189\n016,1.5113e1,+0.015337,15389.0\n",
    ],
    ids=["no-last-newline", "cr", "crlf", "blank-lines", "spaces", "quoted", "other-order", "mixed-units"],
)
def test_the_same_summary_written_otherwise(text: str) -> None:
    assert csv_profile(text) == csv_profile(SUMMARY)


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "made up.csv"
    path.write_bytes(b"\xef\xbb\xbf" + SUMMARY.replace("\n", "\r\n").encode())
    profile = read_profile(path)
    assert profile.timings == csv_profile(SUMMARY).timings
    assert profile.name == "made-up"
    path = tmp_path / "t.JSON"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(document()).encode())
    assert load_profile(str(path)) == json_profile(document())


def test_an_empty_percentile_is_absent() -> None:
    timings = csv_profile("batch_size,mean_ms,p99_ms\n1,3,\n2,4,5\n").timings
    assert [timing.percentiles_s for timing in timings] == [{}, {0.99: 0.005}]


def test_every_raw_sample_is_kept_repeated_ones_too() -> None:
    text = "batch_size,latency_us\n4,900\n1,500\n4,900\n1,700\n4,800\n"
    timings = csv_profile(text).timings
    assert [(timing.batch_size, timing.samples_s) for timing in timings] == [
        (1, (0.0005, 0.0007)),
        (4, (0.0009, 0.0009, 0.0008)),
    ]


@laws_hold
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 10**6)), min_size=1, max_size=40))
def test_no_raw_row_is_lost(rows: list[tuple[int, int]]) -> None:
    text = "latency_us,batch_size\n" + "".join(f"{sample},{size}\n" for size, sample in rows)
    profile = csv_profile(text)
    kept = [(t.batch_size, sample_s) for t in profile.timings for sample_s in t.samples_s]
    assert sorted(kept) == sorted((size, sample / 1e6) for size, sample in rows)


HEAD = "batch_size,mean_ms,p95_ms,p99_ms\n1,3,3.1,3.2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv line 1: no column batch_size; the first line must name the columns"),
        ("\n\n", "t.csv line 1: no column batch_size; the first line must name the columns"),
        ("batch_size,mean_ms\n", "t.csv: profile t has no batch size; measure at least one"),
        ("batch_size,latency_ms\n\n", "t.csv: profile t has no batch size; measure at least one"),
        ("1,3.0\n2,4.0\n", "t.csv line 1: unknown column '1'; use batch_size with latency_ms (raw samples)"),
        ("\n\nbatch,mean_ms\n1,2\n", "t.csv line 3: unknown column 'batch'; use batch_size"),
        ("batch_size,mean_ms,p97_ms\n", "t.csv line 1: unknown column 'p97_ms'; use batch_size"),
        ("batch_size,mean_min\n", "t.csv line 1: unknown column 'mean_min'; use batch_size"),
        ("batch_size,MEAN_MS\n", "t.csv line 1: unknown column 'MEAN_MS'; use batch_size"),
        ("batch_size,mean_ms,\n1,2,\n", "t.csv line 1: unknown column ''; use batch_size"),
        ("batch_size,\x1b[31m\n", "t.csv line 1: unknown column '?[31m'; use batch_size"),
        ("batch_size,mean\n", "t.csv line 1: column mean has no unit; name it mean_ms, mean_s or mean_us"),
        ("batch_size,latency\n", "column latency has no unit; name it latency_ms, latency_s or latency_us"),
        ("batch_size,mean_ms,p99\n", "line 1: column p99 has no unit; name it p99_ms, p99_s or p99_us"),
        ("batch_size,mean_ms,mean_s\n", "t.csv line 1: a column is given twice; keep one of each"),
        ("batch_size,mean_ms,batch_size\n", "t.csv line 1: a column is given twice; keep one of each"),
        ("mean_ms,p99_ms\n", "t.csv line 1: no column batch_size"),
        ("batch_size,p99_ms\n", "line 1: give either latency_ms (raw samples) or mean_ms (a summary)"),
        ("batch_size\n", "line 1: give either latency_ms (raw samples) or mean_ms (a summary)"),
        ("batch_size,latency_ms,mean_ms\n", "line 1: give either latency_ms (raw samples) or mean_ms"),
        ("batch_size,latency_ms,p99_ms\n", "line 1: give either latency_ms (raw samples) or mean_ms"),
        (HEAD + "2,4,5\n", "t.csv line 3: 3 cells for 4 columns; complete or drop the row"),
        (HEAD + "2,4,5,6,7\n", "t.csv line 3: 5 cells for 4 columns; complete or drop the row"),
        (HEAD + "\n1,4,5,6\n", "t.csv line 4: batch size 1 stands on line 2 already; keep one"),
        (HEAD + "01,4,5,6\n", "t.csv line 3: batch size 1 stands on line 2 already; keep one"),
        (HEAD + "2,nan,5,6\n", "t.csv line 3: mean_ms must be positive and finite, got nan; fix or drop"),
        (HEAD + "2,4,inf,6\n", "t.csv line 3: p95_ms must be positive and finite, got inf; fix or drop"),
        (HEAD + "2,4,5,-Infinity\n", "t.csv line 3: p99_ms must be positive and finite, got -Infinity"),
        (HEAD + "2,sNaN,5,6\n", "t.csv line 3: mean_ms must be positive and finite, got sNaN"),
        (HEAD + "2,-4,5,6\n", "t.csv line 3: mean_ms must be positive and finite, got -4; fix or drop"),
        (HEAD + "2,0,5,6\n", "t.csv line 3: mean_ms must be positive and finite, got 0; fix or drop"),
        (HEAD + "2,,5,6\n", "t.csv line 3: mean_ms must be a number, got ''; fix or drop the row"),
        (HEAD + "2,4ms,5,6\n", "t.csv line 3: mean_ms must be a number, got '4ms'; fix or drop the row"),
        (HEAD + '2,"4,5",5,6\n', "t.csv line 3: mean_ms must be a number, got '4,5'; fix or drop"),
        (HEAD + "2,\x1b[2J,5,6\n", "t.csv line 3: mean_ms must be a number, got '?[2J'; fix or drop"),
        (HEAD + "2,1e9999999,5,6\n", "t.csv line 3: batch size 2: a duration must be positive and finite"),
        (HEAD + "2,1e-9999999,5,6\n", "t.csv line 3: batch size 2: a duration must be positive and finite"),
        (HEAD + "2,1e99999999999999999999,5,6\n", "t.csv line 3: mean_ms must be a number, got '1e9999"),
        (HEAD + '2,"4\n\n",5,6\n3,0,5,6\n', "t.csv line 6: mean_ms must be positive and finite, got 0"),
        (HEAD + "2.0,4,5,6\n", "t.csv line 3: batch_size must be a whole number, got '2.0'"),
        (HEAD + "-2,4,5,6\n", "t.csv line 3: batch_size must be a whole number, got '-2'"),
        (HEAD + ",4,5,6\n", "t.csv line 3: batch_size must be a whole number, got ''"),
        (HEAD + "²,4,5,6\n", "t.csv line 3: batch_size must be a whole number, got '²'"),
        (HEAD + "0,4,5,6\n", "t.csv line 3: batch_size must be from 1 to 1000000, got 0"),
        (HEAD + "1000001,4,5,6\n", "t.csv line 3: batch_size must be from 1 to 1000000, got 1000001"),
        (HEAD + "9" * 50 + ",4,5,6\n", "t.csv line 3: batch_size must be a whole number, got '99999"),
        (HEAD + "2,4,5.2,5.1\n", "t.csv line 3: batch size 2: percentiles must not fall: P95 = 0.0052 s"),
        (HEAD + "2,9,5,6\n", "t.csv line 3: batch size 2: mean 0.009 s contradicts P95 = 0.005 s, P99"),
        (HEAD + "2,9,5,6\n", "would have to average 66.8 x P99, more than 2 x"),
        (HEAD + "2,.1,5,6\n", "t.csv line 3: batch size 2: mean 0.0001 s is too small for its percentiles"),
        ("batch_size,mean_s\n1,3003\n", "t.csv line 2: batch size 1: 3003 s for one batch is outside"),
        ("batch_size,mean_s\n1,3003\n", "is the unit in the column name right (_s, _ms, _us)?"),
        ("batch_size,latency_ms\n1,3\n1,3e9\n", "t.csv line 3: batch size 1: 3e+06 s for one batch is"),
        ("batch_size,latency_ms\n1,3\n0,3\n", "t.csv line 3: batch_size must be from 1 to 1000000, got 0"),
        ("batch_size,latency_ms\n1,3\n1,0\n", "t.csv line 3: latency_ms must be positive and finite, got 0"),
        ("batch_size,latency_ms\n1,3\n1,\n", "t.csv line 3: latency_ms must be a number, got ''"),
        ("batch_size,latency_ms\n1,3\n1\n", "t.csv line 3: 1 cells for 2 columns; complete or drop the row"),
        (HEAD + '2,"4,5,6\n', "t.csv line 3: not valid CSV (unexpected end of data)"),
        (HEAD + '2,"4"x,5,6\n', "t.csv line 3: not valid CSV (',' expected after '\"')"),
        (HEAD + "2," + "4" * 200_000 + ",5,6\n", "t.csv line 3: not valid CSV (field larger than"),
    ],
)
def test_bad_csv_names_file_line_and_mend(text: str, message: str) -> None:
    assert message in csv_refusal(text)


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.files.ROWS_MAX", 3)
    rows = "batch_size,latency_ms\n" + "1,3\n" * 3
    assert len(csv_profile(rows).timings[0].samples_s) == 3
    assert csv_refusal(rows + "1,3\n") == "t.csv has more than 3 rows; keep fewer samples"


@laws_hold
@given(st.text(alphabet='batch_sizemnlcy,p950\n"\r 123.e-+\x00é', max_size=200))
def test_any_csv_is_a_profile_or_an_input_error(text: str) -> None:
    for whole in (text, HEAD + text):
        with suppress(InputError):
            assert csv_profile(whole).timings


def test_a_document_with_everything() -> None:
    profile = json_profile(
        document(
            model="ResNet-50",
            device="T4",
            kind="gpu",
            precision="fp16",
            runtime="Triton",
            request_overhead_s=0.001,
            hourly_usd=0.526,
            instances_per_device=2,
            memory_bytes=16_000_000_000,
            source={"file": "README.md", "line": "483"},
        )
    )
    assert profile == ServiceProfile(
        name="made-up",
        timings=(
            BatchTiming(batch_size=1, mean_s=0.003),
            BatchTiming(batch_size=2, mean_s=0.0045, p99_s=0.005),
        ),
        model="ResNet-50",
        device="T4",
        kind="gpu",
        precision="fp16",
        runtime="Triton",
        request_overhead_s=0.001,
        hourly_usd=0.526,
        instances_per_device=2,
        memory_bytes=16_000_000_000,
        source={"file": "README.md", "line": "483"},
    )


def test_null_and_absent_mean_the_same() -> None:
    optional = ("model", "device", "kind", "precision", "runtime", "hourly_usd", "memory_bytes", "source")
    given_null = document(**dict.fromkeys((*optional, "request_overhead_s", "instances_per_device")))
    given_null["timings"][0]["p99_s"] = None
    assert json_profile(given_null) == json_profile(document())
    assert json_profile(document()).instances_per_device == 1


def test_samples_and_mixed_units() -> None:
    timings = [
        {"batch_size": 4, "samples_us": [900, 800.5, 900]},
        {"batch_size": 1, "mean_ms": 3, "p99_s": 0.004},
    ]
    profile = json_profile(document(timings=timings))
    assert profile.timings == (
        BatchTiming(batch_size=1, mean_s=0.003, p99_s=0.004),
        BatchTiming(batch_size=4, samples_s=(0.0009, 0.0008005, 0.0009)),
    )


def timing(**fields: Any) -> dict[str, Any]:
    return document(timings=[{"batch_size": 1, **fields}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "t.json: not valid JSON (Expecting value: line 1 column 1 (char 0))"),
        ('{"name": "a",\n "timings": [}', "t.json: not valid JSON (Expecting value: line 2 column 14"),
        ('{"name": "a"} x', "t.json: not valid JSON (Extra data: line 1 column 15"),
        ('{"name": "a", "name": "b"}', "t.json: not valid JSON (key 'name' appears twice in one object"),
        (
            '{"name":"a","timings":[{"batch_size":1,"mean_s":1,"mean_s":2}]}',
            "not valid JSON (key 'mean_s' appears twice in one object; keep one)",
        ),
        ('{"\\u001b[2J": 1, "\\u001b[2J": 1}', "key '?[2J' appears twice in one object; keep one"),
        ('{"hourly_usd": NaN}', "t.json: not valid JSON (NaN is not a number)"),
        ('{"hourly_usd": Infinity}', "t.json: not valid JSON (Infinity is not a number)"),
        ('{"hourly_usd": -Infinity}', "t.json: not valid JSON (-Infinity is not a number)"),
        ("[" * 100_000, "t.json: not valid JSON (maximum recursion depth exceeded"),
        ('{"a":' * 100_000, "t.json: not valid JSON (maximum recursion depth exceeded"),
        ('{"hourly_usd": ' + "9" * 5000 + "}", "t.json: not valid JSON (a number is too long)"),
        ([], "t.json: a profile is a JSON object, with name and timings"),
        ("null", "t.json: a profile is a JSON object, with name and timings"),
        ('"text"', "t.json: a profile is a JSON object, with name and timings"),
        ({}, "t.json: the file has no key name"),
        ({"name": "a"}, "t.json: the file has no key timings"),
        (
            document(price=1),
            "t.json: the file has an unknown key 'price'; known keys are batch_work_s, contention_slowdowns,",
        ),
        (document(**{"\x1b[31m": 1}), "t.json: the file has an unknown key '?[31m'; known keys are"),
        (document(schema_version=2), "t.json: schema_version must be 1, got 2"),
        (document(schema_version="1"), "t.json: schema_version must be a whole number, got '1'"),
        (document(schema_version=True), "t.json: schema_version must be a whole number, got True"),
        (document(schema_version=None), "t.json: schema_version must be a whole number, got None"),
        (document(schema_version=[1]), "t.json: schema_version must be a whole number, got a list"),
        (document(name=""), "t.json: profile name '' may contain only letters"),
        (document(name="../../etc/passwd"), "profile name '../../etc/passwd' may contain only letters, digits,"),
        (document(name="a\x1b[31mb"), "t.json: name must be a text of one line, 500 characters at most"),
        (document(name="a\nb"), "t.json: name must be a text of one line"),
        (document(name="x" * 501), "t.json: name must be a text of one line, 500 characters at most"),
        (document(name="x" * 200), f"t.json: profile name '{'x' * 60}' may contain only letters"),
        (document(model="right\u202eleft"), "t.json: model must be a text of one line"),
        (document(kind="tpu"), "t.json: kind must be one of cpu, gpu, got 'tpu'"),
        (document(hourly_usd=True), "t.json: hourly_usd must be a number, got True"),
        (document(hourly_usd="0.5"), "t.json: hourly_usd must be a number, got '0.5'"),
        (document(hourly_usd=[0.5]), "t.json: hourly_usd must be a number, got a list"),
        (document(hourly_usd={}), "t.json: hourly_usd must be a number, got an object"),
        (document(hourly_usd=0), "t.json: hourly_usd must be positive and finite, got 0.0"),
        (document(hourly_usd=10**400), "t.json: hourly_usd is too large"),
        ('{"name":"a","timings":[{"batch_size":1,"mean_s":1}],"hourly_usd":1e400}', "t.json: hourly_usd is too large"),
        (document(request_overhead_s=-1), "t.json: request_overhead_s must be from 0 to 600, got -1.0"),
        (document(instances_per_device=1.0), "instances_per_device must be a whole number, got 1.0"),
        (document(instances_per_device=True), "instances_per_device must be a whole number, got True"),
        (document(instances_per_device=0), "t.json: instances_per_device must be >= 1, got 0"),
        (document(instances_per_device=-(10**4000)), "instances_per_device is too large"),
        (document(memory_bytes=10**400), "t.json: memory_bytes is too large; keep it below 1e100"),
        (document(memory_bytes=-1), "t.json: memory_bytes must not be negative, got -1"),
        (document(source=[]), "t.json: source must be an object, got a list"),
        (document(source=False), "t.json: source must be an object, got False"),
        (document(source={"line": 483}), "t.json: source.line must be a text, got 483"),
        (document(source={"line": "1\x07"}), "t.json: source.line must be a text of one line"),
        (document(source={"\x07": "1"}), "t.json: source: each key must be a text of one line"),
        (document(timings=None), "t.json: timings must be a list, got None"),
        (document(timings={"1": 3}), "t.json: timings must be a list, got an object"),
        (document(timings=[]), "t.json: profile made-up has no batch size; measure at least one"),
        (document(timings=[3]), "t.json: timings[0] must be an object, got 3"),
        (document(timings=[{"mean_ms": 3}]), "t.json: timings[0] has no key batch_size"),
        (document(timings=document()["timings"] * 2), "profile made-up has batch size 1 twice; keep one"),
        (timing(), "t.json: batch size 1 needs either raw samples or a mean"),
        (timing(mean_ms=3, samples_ms=[3]), "t.json: batch size 1 needs either raw samples or a mean"),
        (timing(p99_ms=3, samples_ms=[3]), "has raw samples, which give its percentiles; drop these"),
        (timing(mean_ms=3, mean_s=0.003), "batch size 1: mean is given twice, in two units; keep one"),
        (timing(mean=3), "timings[0] has an unknown key 'mean'; known keys are batch_size, mean_ms, mean_s"),
        (timing(mean_min=3), "timings[0] has an unknown key 'mean_min'; known keys are batch_size, mean_ms, mean_s"),
        (
            timing(latency_ms=3),
            "timings[0] has an unknown key 'latency_ms'; known keys are batch_size, mean_ms, mean_s",
        ),
        (timing(**{"\x1b_ms": 3}), "timings[0] has an unknown key '?_ms'; known keys are batch_size, mean_ms, mean_s"),
        (timing(mean_ms=True), "timings[0].mean_ms must be a number, got True"),
        (timing(mean_ms="3"), "timings[0].mean_ms must be a number, got '3'"),
        (timing(mean_ms=[3]), "timings[0].mean_ms must be a number, got a list"),
        (timing(mean_ms=10**400), "timings[0].mean_ms is too large"),
        (timing(mean_ms=0), "batch size 1: mean_ms must be positive and finite, got 0.0"),
        (timing(mean_ms=-3), "batch size 1: mean_ms must be positive and finite, got -3.0"),
        ('{"name":"a","timings":[{"batch_size":1,"mean_s":1e400}]}', "t.json: timings[0].mean_s is too large"),
        (timing(mean_s=3003), "batch size 1: 3003 s for one batch is outside 1e-07 s to 600 s; is the unit"),
        (timing(mean_ms=3, p95_ms=3.2, p99_ms=3.1), "t.json: batch size 1: percentiles must not fall"),
        (timing(mean_ms=9, p95_ms=5, p99_ms=6), "would have to average 66.8 x P99, more than 2 x"),
        (timing(samples_ms=[]), "batch size 1 needs either raw samples or a mean"),
        (timing(samples_ms=3), "timings[0].samples_ms must be a list, got 3"),
        (timing(samples_ms=[3, True]), "timings[0].samples_ms[1] must be a number, got True"),
        (timing(samples_ms=[3, None]), "timings[0].samples_ms[1] must be a number, got None"),
        (timing(samples_ms=[3, 0]), "batch size 1: samples_ms must be positive and finite, got 0.0"),
        (document(timings=[{"batch_size": True, "mean_s": 1}]), "timings[0].batch_size must be a whole number, got T"),
        (document(timings=[{"batch_size": "1", "mean_s": 1}]), "timings[0].batch_size must be a whole number, got '1'"),
        (document(timings=[{"batch_size": 1.5, "mean_s": 1}]), "timings[0].batch_size must be a whole number, got 1.5"),
        (document(timings=[{"batch_size": 0, "mean_s": 1}]), "batch size must be from 1 to 1000000, got 0"),
        (document(timings=[{"batch_size": 10**4000, "mean_s": 1}]), "batch_size is too large"),
    ],
)  # fmt: skip
def test_bad_json_names_file_place_and_mend(value: Any, message: str) -> None:
    assert message in json_refusal(value)


@pytest.mark.long
def test_depth_just_below_what_the_parser_refuses_does_not_break_the_message() -> None:
    bodies = (
        '{"name": "a", "timings": [{"batch_size": %s}]}',
        '{"name": "a", "timings": [{"batch_size": 1, "mean_s": %s}]}',
        '{"name": "a", "timings": [], "schema_version": %s}', '{"name": %s, "timings": []}',
    )  # fmt: skip
    for depth in range(700, 1010, 1):
        for body in bodies:
            json_refusal(body % ("[" * depth + "]" * depth))


def test_too_many_samples_or_timings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.json_text.ROWS_MAX", 2)
    assert json_profile(timing(samples_ms=[3, 4])).timings
    assert "timings[0].samples_ms must be a list, of 2 at most" in json_refusal(timing(samples_ms=[3, 4, 5]))
    three = [{"batch_size": size, "mean_ms": 3} for size in (1, 2, 3)]
    assert "timings must be a list, of 2 at most" in json_refusal(document(timings=three))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "schema_version", "name", "timings", "model", "kind", "hourly_usd", "request_overhead_s",
        "instances_per_device", "memory_bytes", "source", "extra",
    ]
)  # fmt: skip
timing_keys = st.sampled_from(
    ["batch_size", "mean_ms", "p50_s", "p99_us", "samples_ms", "samples_s", "extra"]
)


@laws_hold
@given(st.dictionaries(keys, json_values, max_size=3), st.dictionaries(timing_keys, json_values, max_size=3))
def test_wrong_types_anywhere_are_input_errors(top: dict[str, Any], inner: dict[str, Any]) -> None:
    value = document(**top)
    if isinstance(value["timings"], list) and value["timings"] and isinstance(value["timings"][0], dict):
        value["timings"][0].update(inner)
    with suppress(InputError):
        assert json_profile(value).timings


@laws_hold
@given(st.text(max_size=60))
def test_any_text_as_json_is_a_profile_or_an_input_error(text: str) -> None:
    with suppress(InputError):
        parse_json(text, "t.json")


def test_json_and_csv_of_the_same_figures_are_the_same_profile() -> None:
    timings = [
        {"batch_size": 1, "mean_ms": 3.003, "p95_ms": 3.093, "p99_ms": 3.189},
        {"batch_size": 16, "mean_ms": 15.113, "p95_ms": 15.337, "p99_ms": 15.389},
    ]
    assert json_profile({"name": "t", "timings": timings}) == csv_profile(SUMMARY)


@pytest.mark.parametrize(
    ("timings", "column"),
    [
        ([{"mean_ms": 3}, {"mean_ms": 4}], "mean_ms"),
        ([{"samples_us": [900]}, {"samples_us": [950]}], "samples_us"),
        ([{"mean_us": 900, "p99_ms": 1}, {"mean_us": 950}], "mean_us"),
        ([{"mean_ms": 3}, {"mean_us": 4000}], None),
        ([{"mean_ms": 3}, {"samples_ms": [4]}], None),
        ([{"mean_s": 3}], None),
        ([{"samples_s": [3]}], None),
    ],
)
def test_the_common_key_of_times_is_kept_unless_in_seconds(timings, column) -> None:
    sized = [{"batch_size": at, **one} for at, one in enumerate(timings, start=1)]
    assert json_profile(document(timings=sized)).timings_column == column
    assert json_profile(document(timings=sized, timings_column="mine")).timings_column == "mine"


@pytest.mark.parametrize("name", ["no-such-profile", "", "../../../etc/passwd", "/etc/passwd"])
def test_an_unknown_name_says_where_the_known_ones_are(name: str) -> None:
    message = refusal(lambda: load_profile(name))
    assert message.startswith(
        f"unknown profile {name!r}; capacity profiles lists those that come with the package;"
    )
    assert message.endswith("or - for stdin")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50-t4-fp16.txt", "resnet50-t4-fp16"),
        ("../profiles/resnet50-t4-fp16", "resnet50-t4-fp16"),
        ("RESNET50-T4-FP16", "resnet50-t4-fp16"),
        ("resnet50-t4", "resnet50-t4-fp16"),
        ("jasper", "jasper-7s-t4-fp16"),
        ("llama-3.1-8b-rtx-pro-6000", "llama-3.1-8b-rtx-pro-6000-bf16"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, meant: str) -> None:
    assert refusal(lambda: load_profile(name)).startswith(f"unknown profile {name!r}; did you mean {meant}? ")


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_a_name_whose_file_is_there_is_answered_with_the_file(tmp_path, monkeypatch, ending) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"jasper{ending}").write_text("", encoding="utf-8")
    message = refusal(lambda: load_profile("jasper"))
    assert message == f"unknown profile 'jasper'; there is jasper{ending}: give the file with its ending"


def test_a_profile_knows_the_path_that_was_given_and_none_that_cannot_be_typed_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.csv", "a\tb.csv"):
        (tmp_path / name).write_text("batch_size,mean_ms\n1,5\n", encoding="utf-8")
    assert load_profile("mine.csv").path == "mine.csv"
    assert load_profile("a\tb.csv").path is None
    assert load_profile("resnet50-t4-fp16").path is None
    assert load_profile("mine.csv") == load_profile(tmp_path / "mine.csv")


def test_hostile_names_are_never_echoed_raw() -> None:
    assert "unknown profile '?[31mred?'; capacity" in refusal(lambda: load_profile("\x1b[31mred\n"))
    message = refusal(lambda: load_profile("x" * 100_000))
    assert "x" * (TEXT_LENGTH_MAX + 1) not in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.csv", "cannot read missing.csv: No such file or directory; check the path"),
        ("missing.json", "cannot read missing.json: No such file or directory; check the path"),
        ("nul\0.json", "cannot read nul?.json: not a valid path; check the path"),
        ("\x1b[31m.csv", "cannot read ?[31m.csv: No such file or directory; check the path"),
        ("x" * 5000 + ".csv", f"cannot read {'x' * TEXT_LENGTH_MAX}: File name too long; check the path"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, message: str) -> None:
    assert refusal(lambda: load_profile(str(tmp_path / name))) == message


def test_a_folder_is_not_a_profile(tmp_path: Path) -> None:
    for name in ("folder.csv", "folder.json"):
        (tmp_path / name).mkdir()
        message = refusal(lambda name=name: load_profile(str(tmp_path / name)))
        assert message == f"cannot read {name}: it is a directory; give a file name"


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_a_file_that_is_not_utf8_says_at_which_byte(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"batch_size,mean_ms\n1,3\xff\n")
    message = refusal(lambda: load_profile(str(tmp_path / name)))
    assert message == f"{name} is not UTF-8 text (byte 22); save it as UTF-8"


def test_a_file_that_a_shell_saved_as_utf16_is_read(tmp_path: Path) -> None:
    for name, encoding in (("a.csv", "utf-8"), ("b.csv", "utf-16")):
        (tmp_path / name).write_bytes(SUMMARY.encode(encoding))
    first, second = (load_profile(str(tmp_path / name)) for name in ("a.csv", "b.csv"))
    assert first.timings == second.timings


def test_a_file_that_is_too_large_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1234567890")
    assert read_text(path, bytes_max=10) == "1234567890"
    assert refusal(lambda: read_text(path, bytes_max=9)) == "t.csv is larger than 9 bytes; keep fewer samples"
    os.truncate(path, 4 * FILE_BYTES_MAX)  # sparse
    message = refusal(lambda: read_profile(path))
    assert message == "t.csv is larger than 67108864 bytes; keep fewer samples"


@pytest.mark.parametrize(
    ("file_name", "profile_name"),
    [
        ("made up.v2.csv", "made-up.v2"),
        ("---.csv", "profile"),
        ("\x1b[31mred.csv", "31mred"),
        ("modèle.CSV", "mod-le"),
        ("x" * 200 + ".csv", "x" * 128),
    ],
)
def test_a_csv_is_named_after_its_file(tmp_path: Path, file_name: str, profile_name: str) -> None:
    path = tmp_path / file_name
    path.write_text(SUMMARY)
    assert read_profile(path).name == profile_name
    path.write_text("batch_size,mean\n1,3\n")
    message = refusal(lambda: load_profile(str(path)))
    assert message.startswith(f"{printable(file_name)} line 1: column mean has no unit")


def test_a_bundled_name_wins_over_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resnet50-t4-fp16").write_text("not a profile")
    monkeypatch.chdir(tmp_path)
    assert load_profile("resnet50-t4-fp16").batch_sizes[0] == 1


def test_printable_text_is_short_and_without_control_characters() -> None:
    assert printable("a\x1b[31m\tb\u202e\ud800é") == "a?[31m?b??é"
    assert printable("x" * 10_000) == "x" * TEXT_LENGTH_MAX
    assert printable("\0\x7f\x9b") == "???"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    os.mkfifo(path)
    assert "it is a pipe" in refusal(lambda: load_profile(str(path)))


@pytest.mark.parametrize("number", ["1_000", "\uff15"], ids=["underscore", "full width"])
def test_only_plain_digits_are_numbers(number: str) -> None:
    assert "must be a number" in refusal(lambda: csv_profile(f"batch_size,mean_ms\n1,{number}\n"))


@pytest.mark.parametrize(
    "text",
    [
        "batch_size;latency_ms\n1;5,12\n1;5,31\n8;11,9\n",
        "batch_size\tlatency_ms\n1\t5.12\n1\t5.31\n8\t11,9\n",
        "\r\nbatch_size;latency_ms\r\n1;5.12\r\n1; 5,31 \r\n8;11.9\r\n",
    ],
)
def test_semicolons_and_tabs_separate_as_commas_do(text: str) -> None:
    assert csv_profile(text) == csv_profile("batch_size,latency_ms\n1,5.12\n1,5.31\n8,11.9\n")


def test_a_decimal_comma_is_none_where_commas_separate() -> None:
    assert "cells for 2 columns" in csv_refusal("batch_size,latency_ms\n1,5,12\n")
    assert "'1,234,5'" in csv_refusal("batch_size;latency_ms\n1;1,234,5\n")


@pytest.mark.parametrize(
    "text",
    ["batch_size,latency_ms\n1,5.12\n8,11.9\n", json.dumps(document()), f"\n {json.dumps(document())}"],
)
def test_a_profile_comes_on_stdin(text: str) -> None:
    command = [sys.executable, "-c", "import capacity as cap; print(cap.load_profile('-').batch_size_max)"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) == (8 if text.startswith("batch") else 2)


def test_files_with_other_suffixes_are_read_as_csv(tmp_path: Path) -> None:
    for name in ("t.txt", "t.dat"):
        (tmp_path / name).write_text(SUMMARY)
        assert read_profile(tmp_path / name).name == "t"
