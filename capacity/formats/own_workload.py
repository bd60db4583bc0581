"""Own workload: the format that `capacity import` writes as JSON: arrivals in seconds from the first."""

from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Part, each, number
from capacity.traffic.workload import TraceArrivals

NAME = "capacity import (a workload)"
FORMAT = "capacity-workload"


def workload_to_document(trace: TraceArrivals) -> dict[str, Any]:
    """Arrivals as JSON."""
    first_s = trace.instants_s[0]
    return {
        "format": FORMAT,
        "schema_version": 1,
        "name": trace.name,
        "requests": len(trace.instants_s),
        "rate_rps": trace.rate_rps,
        "t_s": [instant_s - first_s for instant_s in trace.instants_s],
    }


def recognises(document: Document) -> bool:
    """Whether it names this format."""
    return {"format", "t_s"} <= document.keys and document.object["format"] == FORMAT


def read_workload(document: Document) -> TraceArrivals:
    """The arrivals as they were written.

    Raises:
        InputError: another version, or instants that are no rising numbers.
    """
    whole = Part(document.name, document.object)
    if whole.whole("schema_version") != 1:
        raise InputError(
            f"{document.name} has a schema_version other than 1; a newer capacity may have made it"
        )
    instants_s = each(whole.list("t_s"), f"{document.name}.t_s", number)
    return TraceArrivals(instants_s=tuple(instants_s), name=document.name)


READERS = {"workload": read_workload}
