"""Our own workload: what is written is read again, and what was edited badly is refused."""

from pathlib import Path

from reading import file, read_bytes

import capacity as cap
from capacity.formats.own_workload import workload_to_document
from capacity.formats.registry import Kind
from capacity.traffic.workload import TraceArrivals

TRACE = TraceArrivals(instants_s=(5.0, 5.25, 5.25, 7.0), name="access.log")
WRITTEN = workload_to_document(TRACE)
EXAMPLES = {"workload": WRITTEN}


def test_what_is_written_is_read_again() -> None:
    found = read_bytes(WRITTEN, Kind.WORKLOAD)
    assert found.instants_s == (0.0, 0.25, 0.25, 2.0)
    assert found.rate_rps == TRACE.rate_rps


def test_what_is_written_says_what_it_is() -> None:
    assert workload_to_document(TRACE) == {
        "format": "capacity-workload",
        "schema_version": 1,
        "name": "access.log",
        "requests": 4,
        "rate_rps": TRACE.rate_rps,
        "t_s": [0.0, 0.25, 0.25, 2.0],
    }


def test_as_csv_it_is_a_trace_from_its_first_arrival_on(tmp_path: Path) -> None:
    given = file(tmp_path, WRITTEN | {"t_s": list(TRACE.instants_s)})
    cap.import_file(given, kind="workload").write(tmp_path / "trace.csv")
    assert (tmp_path / "trace.csv").read_text(encoding="utf-8") == "t_s\n0.0\n0.25\n0.25\n2.0\n"


REFUSED = [
    (WRITTEN | changes, said, Kind.WORKLOAD)
    for changes, said in [
        ({"schema_version": 2}, "a newer capacity"),
        ({"t_s": [0.0, "1"]}, "t_s[1] must be a number, got '1'"),
        ({"t_s": [1.0, 0.0]}, "result.bin"),
        ({"t_s": []}, "result.bin"),
        ({"t_s": 3}, "t_s must be a list, got 3"),
    ]
]
