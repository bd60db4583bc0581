"""`capacity littles-law`: any two of its numbers give the third, and a load test is checked against them."""

import json
from pathlib import Path
from typing import Any

import in_process
import pytest


def run(folder: Path, line: str) -> tuple[int, dict[str, Any], str]:
    done = in_process.capacity(folder, "littles-law", *line.split(), "--json")
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.parametrize(
    "given",
    [
        "--rate 100rps --latency-mean 45ms",
        "--rate 100rps --concurrency 4.5",
        "--latency-mean 45ms --concurrency 4.5",
    ],
)
def test_two_give_the_third(tmp_path: Path, given: str) -> None:
    code, found, _ = run(tmp_path, given)
    del found["schema_version"]
    assert (code, found) == (
        0,
        {
            "arrival_rate_rps": pytest.approx(100.0),
            "response_mean_s": pytest.approx(0.045),
            "in_system_mean": pytest.approx(4.5),
        },
    )


def test_a_load_test_is_checked_with_its_percentiles(tmp_path: Path) -> None:
    """N/X - Z is 700 ms, and percentiles of 45 to 340 ms leave more than 50 s for the slowest 1 %."""
    percentiles = "--latency-p50 45ms --latency-p90 46ms --latency-p95 47ms --latency-p99 340ms"
    code, found, _ = run(tmp_path, f"--users 100 --think-time 300ms --rate 100rps {percentiles}")
    assert (code, found["credible"]) == (4, False)
    assert found["response_quantiles_s"] == {"0.5": 0.045, "0.9": 0.046, "0.95": 0.047, "0.99": 0.34}
    assert found["response_mean_required_s"] == pytest.approx(0.7)
    others_s = 0.5 * 0.045 + 0.4 * 0.046 + 0.05 * 0.047 + 0.04 * 0.34  # at most
    assert found["tail_mean_required_s"] == pytest.approx((0.7 - others_s) / 0.01)
    code, found, _ = run(tmp_path, "--users 100 --think-time 300ms --rate 100rps --latency-mean 700ms")
    assert (code, found["credible"], found["response_mean_s"]) == (0, True, 0.7)
