"""Statistics of a Triton that ran become a profile, whose closed loop of 8 users is laid beside what was measured there.

Figures of teaching-on-testbeds/serve-system-chi at 012a8b9, snippets/triton.md, section "Dynamic batching" (MIT): the
statistics after, and perf_analyzer's lines of, one benchmark of 8 users against one instance of a PyTorch model.
"""

import json
from pathlib import Path

import pytest

import capacity as cap
from capacity.answers.evidence import AuditAnswer
from capacity.evidence.compared import Parting

# By batch size: executions, and nanoseconds of input, inference and output of all of them.
BATCHES = {
    1: (26, 1_754_466, 757_012_965, 2_038_319),
    2: (127, 14_474_588, 3_718_519_926, 13_184_875),
    3: (55, 7_182_962, 2_144_383_142, 7_683_505),
    4: (9, 1_446_080, 456_549_788, 1_596_636),
    5: (73, 14_796_021, 4_268_808_423, 16_766_209),
    6: (82, 19_691_717, 5_577_222_019, 22_604_780),
    7: (14, 4_742_974, 1_103_416_079, 4_618_631),
}
STAGES = ("compute_input", "compute_infer", "compute_output")
REQUESTS = {
    "success": 144_129_653_806,
    "queue": 64_542_800_676,
    "compute_input": 283_368_073,
    "compute_infer": 78_984_688_177,
    "compute_output": 309_635_270,
}
STATISTICS = {
    "name": "food_classifier",
    "version": "1",
    "inference_count": 1436,
    "execution_count": 386,
    "inference_stats": {stage: {"count": 1436, "ns": ns} for stage, ns in REQUESTS.items()},
    "batch_stats": [
        {"batch_size": size}
        | {stage: {"count": count, "ns": ns} for stage, ns in zip(STAGES, all_ns, strict=True)}
        for size, (count, *all_ns) in BATCHES.items()
    ],
}
MEASURED = """\
Avg request latency: 100423 usec (overhead 6 usec + queue 44892 usec + compute input 197 usec + compute infer 55111 usec + compute output 216 usec)

Inferences/Second vs. Client Average Batch Latency
Concurrency: 8, throughput: 78.6276 infer/sec, latency 101232 usec
"""
CONFIG = """\
name: "food_classifier"
max_batch_size: 16
instance_group [ { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching { preferred_batch_size: [4, 6, 8, 10] max_queue_delay_microseconds: 100 }
"""


@pytest.fixture
def answer(tmp_path: Path) -> AuditAnswer:
    """The way to the server and back took 101.232 - 100.423 ms."""
    for name, text in {
        "statistics.json": json.dumps({"model_stats": [STATISTICS]}),
        "config.pbtxt": CONFIG,
        "perf_analyzer.txt": MEASURED,
    }.items():
        (tmp_path / name).write_text(text)
    return cap.audit(
        tmp_path / "perf_analyzer.txt",
        profile=tmp_path / "statistics.json",
        plan=tmp_path / "config.pbtxt",
        request_overhead="0.809ms",
    )


def test_the_closed_loop_is_predicted_within_a_tenth(answer: AuditAnswer) -> None:
    """Its own clients saw 78.6 requests a second and 101 ms."""
    (run,) = answer.beside
    assert run.parting is Parting.AGREES
    rows = {row.quantity: row for row in run.rows}
    # As the how-to "Bring your measurements" has it.
    assert rows["throughput"].predicted.value == pytest.approx(73.6, rel=0.005)
    assert rows["response mean"].predicted.value == pytest.approx(0.110, rel=0.005)
    assert rows["throughput"].measured.value == 78.6276
    assert rows["throughput"].ratio == pytest.approx(1.0, abs=0.1)
    assert rows["response mean"].measured.value == pytest.approx(0.101232)
    assert rows["response mean"].ratio == pytest.approx(1.0, abs=0.1)


def test_littles_law_holds_of_the_measurement(answer: AuditAnswer) -> None:
    (one,) = [one for one in answer.findings if one.check == "littles-law"]
    assert one.numbers["in_flight"] == pytest.approx(8.0, rel=0.01)
    assert one.belief.value == "holds"
