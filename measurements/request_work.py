"""RequestWork: what a server computes for each request beside the batches, by its counters of CPU time."""

import math
from dataclasses import dataclass

from measurements.histogram_delta import gain
from measurements.metrics_text import Scrape

PROCESS_CPU = "process_cpu_seconds_total"
BATCH_CPU = "serve_batch_cpu_seconds_total"
REQUESTS = "serve_requests_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWork:
    """CPU time outside the batches, shared out among the requests.

    Attributes:
        process_s, batch_s: CPU time of the process, and of its batches. [s]
        requests: that were answered meanwhile.
        rows: that the batches held; a plan counts these.
    """

    process_s: float
    batch_s: float
    requests: int
    rows: int

    @property
    def request_s(self) -> float:
        """Of each request; where requests hold several rows, of each row, since a plan counts rows. [s]"""
        return max(0.0, self.process_s - self.batch_s) / max(self.requests, self.rows)


def request_work(before: Scrape, after: Scrape, rows: int) -> RequestWork | None:
    """Between two scrapes; None where the server does not count what it takes."""
    if any(not after.series(name) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)):
        return None
    process_s, batch_s, requests = (
        math.fsum(gain(before, after, name).values()) for name in (PROCESS_CPU, BATCH_CPU, REQUESTS)
    )
    if max(requests, rows) < 1:
        return None
    return RequestWork(process_s=process_s, batch_s=batch_s, requests=round(requests), rows=rows)
