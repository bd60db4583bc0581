"""EndpointSource: measures a server's endpoint by batches sent to it, one at a time and then in crowds."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from capacity.caveats import Caveat, CaveatCode
from capacity.errors import DependencyError, InconclusiveError
from measurements.address import Address
from measurements.batch_body import BatchBody
from measurements.crowds import Crowds
from measurements.endpoint_subject import EndpointSubject
from measurements.http_exchange import HttpExchange
from measurements.rounds import Rounds
from measurements.sampling import Report, Sampling, take
from measurements.server_facts import UNTOLD, server_facts
from measurements.server_timing import check_told
from measurements.window import scrape
from measurements.work_beside import Stretch, WorkBeside

_CLIENT_SEEN = Caveat(
    code=CaveatCode.MEASURED_BY_CLIENT,
    message="the server tells no batch time, so service times are what the client saw, HTTP and JSON "
    "included, and a plan takes all of that for time in which the replica is busy; have the server send the "
    "header Server-Timing: batch;dur=MILLISECONDS, or measure by --metrics",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to send what.

    Attributes:
        counters: the server's metrics, if its work beside batches is to be told apart.
    """

    address: Address
    body: BatchBody
    timeout_s: float
    counters: Address | None = None


class Found(NamedTuple):
    """What sending batches gave; `server` is what it tells of itself, `stop` what ended it early."""

    sampling: Sampling
    beside: WorkBeside | None
    tells_batch: bool
    caveats: tuple[Caveat, ...]
    server: Mapping[str, str]
    stop: KeyboardInterrupt | DependencyError | InconclusiveError | None


def sample_endpoint(endpoint: Endpoint, rounds: Rounds, report: Report) -> Found:
    """Batches one at a time, in rounds; then crowds, where there are counters to tell from."""
    with closing(HttpExchange(endpoint.address, timeout_s=endpoint.timeout_s)) as exchange:
        subject = EndpointSubject(exchange, endpoint.body, rounds.batch_sizes)
        if endpoint.counters is None:
            sampling, beside, server = _take(subject, rounds, report), None, UNTOLD
            stop: KeyboardInterrupt | DependencyError | InconclusiveError | None = sampling.stop
        else:
            with closing(HttpExchange(endpoint.counters, timeout_s=endpoint.timeout_s)) as counters:
                crowds = Crowds(
                    address=endpoint.address,
                    body=endpoint.body.of(1),
                    counters=counters,
                    timeout_s=endpoint.timeout_s,
                )
                server = server_facts(scrape(counters))
                sampling, beside, stop = _with_crowds(crowds, subject, rounds, report)
    tells_batch = bool(subject.tells_batch)
    seen = () if tells_batch else (_CLIENT_SEEN,)
    caveats = (*seen, *_connection_caveats(exchange.connections, sampling))
    return Found(sampling, beside, tells_batch, caveats, server, stop)


def _take(subject: EndpointSubject, rounds: Rounds, report: Report) -> Sampling:
    """Rounds of what the server may be believed in.

    Raises:
        DependencyError: by its word some batch size took longer than the client saw; nothing of it is kept.
    """
    sampling = take(subject, rounds, time.perf_counter, report)
    for batches in sampling.batches.values():
        check_told(one.beside_s for one in batches if one.beside_s is not None)
    return sampling


def _with_crowds(
    crowds: Crowds, subject: EndpointSubject, rounds: Rounds, report: Report
) -> tuple[Sampling, WorkBeside | None, KeyboardInterrupt | DependencyError | InconclusiveError | None]:
    """Rounds between two looks at the counter, then the crowds; no failure costs a finished round."""
    before_s = crowds.computed_s()
    sampling = _take(subject, rounds, report)
    if sampling.stop is not None:
        return sampling, None, sampling.stop
    try:
        alone = Stretch(
            batches=subject.batches,
            requests=subject.batches,
            lasted_s=subject.service_s,
            computed_s=crowds.computed_s() - before_s,
        )
        means_s = {size: fmean(one.service_s for one in found) for size, found in sampling.batches.items()}
        return sampling, crowds.tell(alone, means_s, report), None
    except (KeyboardInterrupt, DependencyError, InconclusiveError) as stop:
        return sampling, None, stop


def _connection_caveats(connections: int, sampling: Sampling) -> tuple[Caveat, ...]:
    requests = sum(map(len, sampling.batches.values()))
    if connections <= max(2, requests // 100):
        return ()
    return (
        Caveat(
            code=CaveatCode.MEASURED_RECONNECTED,
            message=f"the server closed the connection {connections - 1} times in about {requests} requests; "
            "connecting is not in the figures, and costs clients time; have the server keep them open",
        ),
    )
