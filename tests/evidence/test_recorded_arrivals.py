"""Requests of load tests taken for traffic: waiting users held some back, and a recording says so."""

from pathlib import Path

import numpy as np
import pytest

from capacity.evidence.recorded import most_in_flight, read_recorded
from capacity.formats.document import Document
from capacity.formats.load_test import Samples
from capacity.question.parse import read_arrivals
from capacity.traffic.workload import TraceArrivals

HEADER = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset"


def hey(path: Path, users: int, stalled_s: float) -> Path:
    """A closed loop as hey 0.1.4 writes it: answers take 10 ms, and for 1 s in 5 none comes before the end of it."""
    rows = []
    for user in range(users):
        now_s = 0.001 * user
        while now_s < 20.0:
            phase_s = now_s % 5.0
            took_s = 0.01 if phase_s < 5.0 - stalled_s - 0.01 else 5.01 - phase_s
            rows.append(f"{took_s:.4f},0.0000,0.0000,0.0000,{took_s:.4f},0.0000,200,{now_s:.4f}")
            now_s += took_s
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_closed_loop_that_stalled_says_what_was_not_sent(tmp_path: Path) -> None:
    """Of 5 s each user spends 1 waiting for one answer, where it would have sent a fifth of its requests."""
    trace = read_arrivals(f"trace:{hey(tmp_path / 'stalled.csv', 4, 1.0)}")
    assert isinstance(trace, TraceArrivals)
    (told,) = [remark for remark in trace.remarks if "closed loop" in remark]
    assert told.startswith("stalled.csv: a closed loop sent these requests")
    assert "4 users waited for up to 1.0" in told
    assert "of their usual pace 1" in told  # 19 % of them or so; the pace itself counts the stalls
    assert told.endswith("plan with --users, or record traffic that does not wait")


def test_a_closed_loop_without_a_stall_is_told_to_be_one(tmp_path: Path) -> None:
    found = read_recorded(Document.read(hey(tmp_path / "well.csv", 4, 0.0)))
    (told,) = [remark for remark in found.remarks if "closed loop" in remark]
    assert "waited for up to" not in told


def test_a_log_of_a_server_is_traffic(tmp_path: Path) -> None:
    """Whoever came to a server came; nothing is known of a loop."""
    stamps = [f"16/Nov/2023:18:15:{second:02}" for second in range(30)]
    lines = [f'10.0.0.1 - - [{stamp} +0000] "GET / HTTP/1.1" 200 12 "-" "x"' for stamp in stamps]
    (tmp_path / "access.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_recorded(Document.read(tmp_path / "access.log"))
    assert not [remark for remark in found.remarks if "closed loop" in remark]


@pytest.mark.parametrize(("rounding_s", "most"), [(0.0, 3), (0.002, 2)])
def test_the_most_that_were_in_flight_at_once(rounding_s: float, most: int) -> None:
    """The third is sent as the first is answered, 1 ms before by the file's rounded clock."""
    samples = Samples.of(np.array([0.0, 0.5, 0.999]), np.array([1.0, 1.0, 1.0]))
    assert most_in_flight(samples, rounding_s) == most
