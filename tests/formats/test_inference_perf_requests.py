"""Single requests of inference-perf, written by the shape of its report; nothing here is a file of its own."""

import json
from typing import Any


def request(start_s: float, took_s: float, **others: Any) -> dict[str, Any]:
    return {
        "start_time": start_s,
        "end_time": start_s + took_s,
        "request": '{"model": "m", "prompt": "x"}',
        "response": "y",
        "info": {"input_tokens": 200, "output_tokens": 3, "output_token_times": [start_s + 0.1]},
        "error": None,
    } | others


REQUESTS = [request(1000.0 + 0.25 * at, 0.4 + 0.01 * at) for at in range(20)]
FAILED = request(1005.0, 2.0, error={"error_type": "Timeout", "error_msg": "after 2 s"})
EXAMPLES = {
    "requests": [*REQUESTS, FAILED],
    "indented": json.dumps(REQUESTS, indent=2),
    "no time": [request(1.0, 0.0), request(2.0, 0.0)],
    "whole nanoseconds": [request(1000.0, 0.0), request(1500.0, 0.5)],
}


REFUSED = [
        ([request(1.0, 0.1), {"start_time": 2.0}], "result.bin[1] has no end_time"),
        ([request(1.0, -0.1)], "result.bin[0] ends before it starts"),
        ([request(1.0, 0.1), request(1.0, 0.1, start_time="now")], "[1].start_time must be a number, got 'now'"),
        ([request(1.0, 0.1), 3], "must be an object, got 3"),
    ]  # fmt: skip
