"""Recorded arrivals: the requests of a load test as traffic, and what speaks against that."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from capacity.errors import InputError
from capacity.evidence.finding import decisive
from capacity.evidence.omission import worst_omission
from capacity.formats.document import Document
from capacity.formats.load_test import LoadRun, LoadTest, Loop, Samples
from capacity.formats.registry import Kind, format_of, read_document
from capacity.traffic.workload import TraceArrivals
from capacity.units import format_duration

_HELD_BACK = 0.01  # share of the usual number of requests from which held-back ones are worth reporting


def read_recorded(document: Document) -> TraceArrivals:
    """Send times of the requests in another tool's file; remarks say where waiting users held them back.

    Raises:
        InputError: the file does not say when, or is invalid in its format.
    """
    trace: TraceArrivals = read_document(document, Kind.WORKLOAD)
    return replace(trace, remarks=(*trace.remarks, *_against(document)))


def _against(document: Document) -> Iterator[str]:
    """Why the requests differ from those of users who do not wait, if the file tells."""
    if Kind.LOAD_TEST not in format_of(document).READERS:
        return
    try:
        test: LoadTest = read_document(document, Kind.LOAD_TEST)
    except InputError:  # a file may say when requests were sent, but not how long they took
        return
    run = next((one for one in test.runs if one.name == test.whole), test.runs[0])
    if run.loop is Loop.CLOSED:
        yield (
            f"{document.name}: a closed loop sent these requests, each user after an answer, so that a slow server got "
            f"fewer{_held_back(run)}; plan with --users, or record traffic that does not wait"
        )


def _held_back(run: LoadRun) -> str:
    """How many requests long answers held back; empty if that is unknown or does not matter."""
    samples = run.samples if run.answered is None else run.answered
    if samples is None or not len(samples.response_s):
        return ""
    users = run.users or most_in_flight(samples, 2.0 * run.resolution_s)
    found = worst_omission(replace(run, users=users), decisive(run))
    if found is None or found.unsent_share < _HELD_BACK:
        return ""
    return (
        f": {users:g} users waited for up to {format_duration(float(samples.response_s.max()))}, and of the requests "
        f"of their usual pace {100.0 * found.unsent_share:.2g} % were not sent"
    )


def most_in_flight(samples: Samples, rounding_s: float = 0.0) -> int:
    """Most requests in flight at once; a completion makes room before the next send.

    Args:
        rounding_s: how much earlier than reported an answer may have come. [s]
    """
    ended_s = np.sort(samples.sent_s + samples.response_s - rounding_s)
    before = np.searchsorted(ended_s, samples.sent_s, side="right")
    return int((np.arange(1, len(samples.sent_s) + 1) - before).max())
