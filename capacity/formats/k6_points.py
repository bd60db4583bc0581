"""The points of `k6 run --out json`: a JSON object on each line, including each request; milliseconds.

A point of `http_req_duration` is stamped when the answer has arrived, so the request was sent its value earlier.
"""

from capacity.formats.document import Document, Part
from capacity.formats.k6_loop import TAKEN, Point, Points
from capacity.formats.request_log import Log, instant_ns, log_readers

NAME = "k6 --out json"


def recognises(document: Document) -> bool:
    """Whether its first line declares a metric, or is a point of one."""
    return document.first_line.get("type") in ("Metric", "Point") and {"metric", "data"} <= set(
        document.first_line
    )


def read_log(document: Document) -> Log:
    """Requests by `name`.

    Raises:
        InputError: no point of an HTTP request, or a value that cannot be.

    Source:
        k6 2.0 documentation, "JSON output"; grafana/k6 issue 1194 for what the time of a point is.
    """
    points = Points()
    for where, line in document.each_line(*TAKEN):
        one = Part(where, line)
        metric = one.text("metric")
        if one.text("type") == "Point" and metric in TAKEN:
            points.add(metric, _point(one.part("data")))
    return points.log(document.name)


def _point(data: Part) -> Point:
    tags = data.part("tags") if "tags" in data else Part(data.where, {})
    return Point(
        where=data.where,
        value_at=f"{data.where}.value",
        value=data.number("value"),
        stamp_ns=lambda: instant_ns(data.text("time"), f"{data.where}.time"),
        tag=lambda name: tags.text(name) if name in tags else None,
    )


READERS = log_readers("k6", read_log)
