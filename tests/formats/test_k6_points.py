"""Points of k6, written here by shape; nothing is a file of k6's own."""

import json
from itertools import accumulate
from typing import Any

from reading import load_test, refusal

from capacity.formats.load_test import Loop
from capacity.formats.registry import Kind

DECLARED = {
    "type": "Metric",
    "data": {"name": "http_req_duration", "type": "trend"},
    "metric": "http_req_duration",
}


def point(metric: str, time: str, value: float, **tags: str) -> dict[str, Any]:
    data = {"time": f"2026-03-01T08:00:{time}Z", "value": value, "tags": tags or None}
    return {"metric": metric, "type": "Point", "data": data}


LINES = [
    DECLARED,
    point("vus", "00", 2),
    point("http_req_duration", "00.110000001", 100.0, status="200", name="/a", expected_response="true"),
    point("http_req_blocked", "00.110000001", 5.0, status="200"),
    point("http_req_duration", "00.310", 250.0, status="200", name="/b", expected_response="true"),
    point("http_req_duration", "01.010", 10.0, status="503", name="/a", expected_response="false"),
    point("vus", "01", 3),
]


def as_text(lines: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(line) for line in lines)


EXAMPLES = {"points": as_text(LINES)}


def test_dropped_iterations_are_added_up() -> None:
    dropped = [point("dropped_iterations", "01", 1), point("dropped_iterations", "02", 2)]
    run = load_test(as_text([*LINES, *dropped])).runs[-1]
    assert (run.dropped, run.loop) == (3, Loop.OPEN)


def test_without_a_word_of_the_test_an_error_is_a_failure() -> None:
    lines = [point("http_req_duration", "00", 1.0, status=status) for status in ("200", "302", "404", "0")]
    run = load_test(as_text(lines)).runs[-1]
    assert (run.succeeded, run.failed) == (2, 2)


REFUSED = [
    (as_text([*LINES, line]), said)
    for line, said in [
        (point("http_req_duration", "xx", 1.0), "line 8.data.time: "),
        (point("http_req_duration", "00", -1.0), "line 8.data has a duration below 0"),
        (point("http_req_duration", "00", 1e60), "line 8.data.value is too large for a time"),
        (point("http_req_duration", "00", 1e308), "line 8.data.value is too large for a time"),
        (point("http_req_duration", "00", True), "line 8.data.value must be a number"),
        (point("dropped_iterations", "00", 0.5), "line 8.data.value must be a whole number"),
        ({"metric": "http_req_duration", "type": "Point", "data": {"time": "17", "value": 1}}, "must be a date"),
        ({"metric": "http_req_duration", "data": {}}, "line 8 has no type"),
    ]
]  # fmt: skip
REFUSED += [(as_text([DECLARED, point("vus", "00", 2)]), "has no point of http_req_duration", Kind.WORKLOAD)]


def test_the_loop_is_open_where_iterations_were_dropped() -> None:
    assert load_test(as_text(LINES)).runs[-1].loop_because == ""
    run = load_test(as_text([*LINES, point("dropped_iterations", "01", 4)])).runs[-1]
    assert (run.loop, run.dropped) == (Loop.OPEN, 4)
    assert "dropped 4 iterations" in run.loop_because


def test_even_gaps_tell_a_schedule_and_iterations_back_to_back_tell_users() -> None:
    """Answers take 5 to 15 ms: sent every 100 ms whatever they took, or each when the one before had ended."""
    took_ms = [5.0 + 10.0 * (number * 37 % 101) / 101 for number in range(400)]
    ends_ms = [100.0 * number + took for number, took in enumerate(took_ms)]
    scheduled = [
        point("http_req_duration", stamp(at), took) for at, took in zip(ends_ms, took_ms, strict=True)
    ]
    run = load_test(as_text([DECLARED, *scheduled])).runs[-1]
    assert (run.loop, "even intervals" in run.loop_because, run.dropped) == (Loop.OPEN, True, 0)

    ends_ms = list(accumulate(took_ms))
    waited = [
        point(metric, stamp(at), took)
        for at, took in zip(ends_ms, took_ms, strict=True)
        for metric in ("http_req_duration", "iteration_duration")
    ]
    run = load_test(as_text([DECLARED, point("vus_max", "00", 1), *waited])).runs[-1]
    assert (run.loop, "never idle" in run.loop_because, run.users) == (Loop.CLOSED, True, 1)


def stamp(at_ms: float) -> str:
    return f"{at_ms / 1e3:09.6f}"


def test_the_first_line_is_of_a_metric_by_all_of_its_keys() -> None:
    for without in ("type", "metric", "data"):
        first = {key: value for key, value in DECLARED.items() if key != without}
        assert "of none of the" in refusal(as_text([first, *LINES[1:]]))
    assert "of none of the" in refusal(as_text([DECLARED | {"type": "Other"}, *LINES[1:]]))
