"""The JSON of ghz, written here by shape; nothing is a file of ghz's own."""

import json
from typing import Any

from reading import load_test

DETAILS = [
    {"timestamp": "2026-03-01T08:00:00.100Z", "latency": 100_000_000, "error": "", "status": "OK"},
    {"timestamp": "2026-03-01T08:00:00.350Z", "latency": 300_000_000, "error": "", "status": "OK"},
    {"timestamp": "2026-03-01T08:00:01.000Z", "latency": 10_000_000, "error": "late", "status": "Unavailable"},
]  # fmt: skip
REPORT: dict[str, Any] = {
    "date": "2026-03-01T08:00:01Z",
    "endReason": "normal",
    "options": {"call": "a.B.C", "concurrency": 2, "total": 3, "rps": 3, "async": False},
    "count": 3,
    "total": 1_000_000_000,
    "average": 200_000_000,
    "fastest": 100_000_000,
    "slowest": 300_000_000,
    "rps": 3.0,
    "errorDistribution": {"late": 1},
    "statusCodeDistribution": {"OK": 2, "Unavailable": 1},
    "latencyDistribution": [{"percentage": 50, "latency": 100_000_000}, {"percentage": 99, "latency": 300_000_000}],
    "histogram": [
        {"mark": 0.1, "count": 1, "frequency": 0.5},
        {"mark": 0.2, "count": 0, "frequency": 0.0},
        {"mark": 0.3, "count": 1, "frequency": 0.5},
    ],
    "details": DETAILS,
}  # fmt: skip


def changed(**others: Any) -> str:
    return json.dumps(REPORT | others)


EXAMPLES = {
    "json": changed(),
    "details are missing": changed(details=DETAILS[:2]),
    "async": changed(options={"async": True}),
    "details of more": changed(count=2, statusCodeDistribution={"OK": 2}),
    "equal responses": changed(histogram=[{"mark": 0.1, "count": 1}, {"mark": 0.1, "count": 1}]),
}


REFUSED = [
    (changed(**others), said)
    for others, said in [
        ({"count": 0}, "has no requests"),
        ({"count": 1}, "has 2 requests of 1"),
        ({"average": "200ms"}, ".average must be a number"),
        ({"histogram": [{"mark": 2, "count": 1}, {"mark": 1, "count": 1}]}, "bounds of a histogram must rise"),
        ({"details": [DETAILS[0] | {"latency": -1}]}, "details[0] has a duration below 0"),
        ({"details": [DETAILS[0] | {"timestamp": "1"}]}, "details[0].timestamp must be a date and time"),
        ({"details": [{}]}, "details[0] has no timestamp"),
        ({"details": {}}, ".details must be a list"),
    ]
]  # fmt: skip


def test_a_histogram_of_one_mark_has_no_width() -> None:
    one = {"mark": 0.1, "count": 3}
    for marks in ([one], [one, one], []):
        assert load_test(changed(histogram=marks)).runs[0].histogram is None
