"""Single requests of inference-perf, `per_request_lifecycle_metrics.json`: a list, with the times of each in seconds.

Times are on one clock, from any origin: when a request was sent, and when its answer was complete. When it was due is
not recorded.
"""

import re

from capacity.errors import InputError
from capacity.formats.document import Document, Part
from capacity.formats.load_test import LoadTest
from capacity.formats.request_log import Request, nanoseconds, runs, trace
from capacity.traffic.workload import TraceArrivals

NAME = "inference-perf (per_request_lifecycle_metrics.json)"
_BEGINNING = re.compile(
    r'\[\s{0,20}\{\s{0,20}"start_time"\s{0,20}:\s{0,20}[-0-9.eE+]{1,40}\s{0,20},\s{0,20}"end_time"'
)
_NO_SCHEDULE = (
    "these are single requests without their schedule; stage_N_lifecycle_metrics.json beside it says how late they "
    "were sent"
)


def recognises(document: Document) -> bool:
    """Whether it is a list of objects that begin as each request does."""
    return bool(_BEGINNING.match(document.head))


def read_load_test(document: Document) -> LoadTest:
    """The one run; the file does not say what decided when requests were sent.

    Raises:
        InputError: no requests, or times that cannot be.

    Source:
        kubernetes-sigs/inference-perf, inference_perf/reportgen/base.py, `per_request_lifecycle_metrics`.
    """
    found = runs(_requests(document), whole="requests")
    return LoadTest(tool="inference-perf", name=document.name, runs=found, notes=(_NO_SCHEDULE,))


def read_workload(document: Document) -> TraceArrivals:
    """The instants at which requests were sent.

    Raises:
        InputError: fewer than two requests, or times that cannot be.
    """
    return trace(_requests(document), document.name)


def _requests(document: Document) -> list[Request]:
    return [_request(part) for part in document.parts]


def _request(part: Part) -> Request:
    sent, ended = (
        nanoseconds(part.number(key), 1e9, f"{part.where}.{key}") for key in ("start_time", "end_time")
    )
    if ended < sent:
        raise InputError(f"{part.where} ends before it starts; are the times of one clock?")
    return Request(sent_ns=sent, took_ns=ended - sent, is_good="error" not in part)


READERS = {"load-test": read_load_test, "workload": read_workload}
