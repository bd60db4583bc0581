"""RequestWork: what a server computes for each request beside the batches, by its counters of CPU time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from measurements.histogram_delta import Gain, gain
from measurements.metrics_text import Scrape

PROCESS_CPU = "process_cpu_seconds_total"
BATCH_CPU = "serve_batch_cpu_seconds_total"
REQUESTS = "serve_requests_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWork:
    """CPU time outside the batches, shared out among the requests.

    Attributes:
        process_s, batch_s: CPU time of the process, and of its batches. [s]
        batch_wall_s: what the batches took by the clock. [s]
        requests: that were answered meanwhile.
        rows: that the batches held; a plan counts these.
    """

    process_s: float
    batch_s: float
    batch_wall_s: float
    requests: int
    rows: int

    @property
    def request_s(self) -> float:
        """Of each request; where requests hold several rows, of each row, since a plan counts rows. [s]"""
        return max(0.0, self.process_s - self.batch_s) / max(self.requests, self.rows)

    @property
    def waited_share(self) -> float:
        """Of the batches' time, how much they did not compute in, and others had the core."""
        return max(0.0, 1.0 - self.batch_s / self.batch_wall_s) if self.batch_wall_s else 0.0


def request_work(before: Scrape, after: Scrape, gained: Mapping[int, Gain]) -> RequestWork | None:
    """Between two scrapes, with the batches between them by size; None where CPU time is not counted."""
    if any(not after.series(name) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)):
        return None
    process_s, batch_s, requests = (
        math.fsum(gain(before, after, name).values()) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)
    )
    rows = sum(size * one.count for size, one in gained.items())
    if max(requests, rows) < 1:
        return None
    return RequestWork(
        process_s=process_s,
        batch_s=batch_s,
        batch_wall_s=math.fsum(one.sum_s for one in gained.values()),
        requests=round(requests),
        rows=rows,
    )
