"""Endpoint: times a server with one batch per request, one at a time, then under many users at once."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from capacity.errors import DependencyError, InconclusiveError, InputError, quoted
from capacity.files import printable, read_text
from capacity.json_text import parse_object
from capacity.measurement.findings import MEASURED_BY, Measurement, Stop, sampled, server_machine
from capacity.measurement.http import Address, Answer, Exchange, check_server_times, server_times
from capacity.measurement.metrics import UNTOLD, scrape
from capacity.measurement.rounds import Report, Rounds, Sampling, TimedBatch, take
from capacity.measurement.users import Stretch, Users, WorkBeside, computed_s
from capacity.question.caveat import Caveat, CaveatCode

BODIES_BYTES_MAX = 256 * 2**20  # bytes of the bodies of all batch sizes, which are held at once
_PATH_MAX = 200
_CLIENT_SEEN = Caveat(
    code=CaveatCode.MEASURED_BY_CLIENT,
    message="the server reports no batch time, so service times are what the client saw, including HTTP "
    "and JSON, and a plan counts all of that as time in which the replica is busy; have the server send "
    "the header Server-Timing: batch;dur=MILLISECONDS, or measure with --metrics",
)


class EndpointSubject:
    """Times requests that carry a batch each.

    If answers report the batch's time by `Server-Timing`, that is the service time, and what the client saw beyond it
    and the wait in the queue is reported apart. Otherwise all that the client saw is service time. `batches` and
    `service_s` count all batches, including those of the warm-up.
    """

    def __init__(self, exchange: Exchange, bodies: Mapping[int, bytes]) -> None:
        self._exchange, self._bodies = exchange, bodies
        self._seen: set[int] = set()
        self.tells_batch: bool | None = None
        self.batches = 0
        self.service_s = 0.0

    def serve(self, batch_size: int) -> TimedBatch:
        """Send one request. Raises DependencyError: it failed, or its answer is not one."""
        answer = self._exchange.ask(self._bodies[batch_size])
        if batch_size not in self._seen:
            self._seen.add(batch_size)
            _check_json(answer.body, batch_size)
        _check_size(answer, batch_size)
        told = server_times(answer)
        if self.tells_batch is None:
            self.tells_batch = told is not None
        if self.tells_batch is not (told is not None):
            raise DependencyError(
                f"some answers have Server-Timing with batch;dur and some, as one to a batch of "
                f"{batch_size}, do not; samples of both kinds cannot be mixed"
            )
        service_s, beside_s = told or (answer.seconds, None)
        self.batches += 1
        self.service_s += service_s
        return TimedBatch(service_s=service_s, beside_s=beside_s)


def _check_json(body: bytes, batch_size: int) -> None:
    """Refuse an answer that is none: success and an error page look alike to a stopwatch."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict | list):
        raise DependencyError(
            f"the answer to a batch of {batch_size} is not JSON; check that --url is the prediction endpoint"
        )
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if isinstance(predictions, list) and len(predictions) != batch_size:
        raise DependencyError(
            f"the answer to a batch of {batch_size} has {len(predictions)} predictions; check that "
            "--rows-key is where the request has its rows"
        )


def _check_size(answer: Answer, batch_size: int) -> None:
    """Refuse a batch that held others' rows, or only some of ours."""
    told = answer.headers.get("X-Batch-Size", "")
    if told.isascii() and told.isdigit() and told.lstrip("0") != str(batch_size):
        raise DependencyError(
            f"a request of {batch_size} rows was served in a batch of {told[:12]}; measure a server "
            "without other traffic, and sizes up to its own largest"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to send which requests."""

    address: Address
    # a JSON object with a list of rows under `rows_key`, of which the first is repeated
    request: Mapping[str, Any]
    rows_key: str
    timeout_s: float  # timeout of each request
    counters: Address | None = None  # the server's metrics, which show its work outside batches

    def bodies(self, batch_sizes: Sequence[int]) -> dict[int, bytes]:
        """A request for each batch size. Raises InputError: they are too large together."""
        row = self.request[self.rows_key][0]
        if sum(batch_sizes) * len(json.dumps(row)) > BODIES_BYTES_MAX:
            raise InputError(
                f"requests for batches of {max(batch_sizes)} and smaller would have more than "
                f"{BODIES_BYTES_MAX} bytes together; measure fewer or smaller --batch-sizes"
            )
        return {
            size: json.dumps({**self.request, self.rows_key: [row] * size}).encode() for size in batch_sizes
        }


def read_request(path: Path, rows_key: str) -> dict[str, Any]:
    """The request in a JSON file: an object with a list of rows.

    Raises InputError: the file cannot be read, or has no such list.
    """
    shown = printable(path.name)
    document = parse_object(
        read_text(path, BODIES_BYTES_MAX), shown, "a request is a JSON object with its rows"
    )
    rows = document.get(rows_key)
    if not isinstance(rows, list) or not rows:
        known = ", ".join(printable(key)[:40] for key, value in document.items() if isinstance(value, list))
        raise InputError(
            f"{shown}: {quoted(rows_key)} must be a list with at least one row; "
            f"set --rows-key{f' to one of {known[:200]}' if known else ''}"
        )
    return document


def measure_endpoint(endpoint: Endpoint, rounds: Rounds, *, confidence: float, report: Report) -> Measurement:
    """Time requests to a server, one batch each; then crowds of users, if it has counters.

    Raises:
        DependencyError: the server fails in the first round, or its report contradicts the client's clock.
        InconclusiveError: no round was finished in time.
    """
    beside: WorkBeside | None = None
    server: Mapping[str, str] = UNTOLD
    with Exchange(endpoint.address, timeout_s=endpoint.timeout_s) as exchange:
        subject = EndpointSubject(exchange, endpoint.bodies(rounds.batch_sizes))
        if endpoint.counters is None:
            sampling = _take(subject, rounds, report)
            stop: Stop | None = sampling.stop
        else:
            with Exchange(endpoint.counters, timeout_s=endpoint.timeout_s) as counters:
                server = scrape(counters).facts()
                sampling, beside, stop = _with_crowds(endpoint, subject, counters, rounds, report)
    path = endpoint.address.path[:_PATH_MAX]
    source = {
        "measured_by": f"{MEASURED_BY} --url, POST {path} on one connection, one request at a time",
        "service_time": "the server's batch time, from Server-Timing"
        if subject.tells_batch
        else "everything that the client saw",
        **server_machine(endpoint.address),
        **server,
    }
    caveats = () if subject.tells_batch else (_CLIENT_SEEN,)
    return replace(sampled(sampling, rounds, confidence, source, caveats), beside=beside, stop=stop)


def _take(subject: EndpointSubject, rounds: Rounds, report: Report) -> Sampling:
    """Rounds in which the server's report can be trusted; none is kept if one contradicts the clock."""
    sampling = take(subject, rounds, time.perf_counter, report)
    for batches in sampling.batches.values():
        check_server_times(one.beside_s for one in batches if one.beside_s is not None)
    return sampling


def _with_crowds(
    endpoint: Endpoint, subject: EndpointSubject, counters: Exchange, rounds: Rounds, report: Report
) -> tuple[Sampling, WorkBeside | None, Stop | None]:
    """Rounds between two reads of the counter, then the crowds; no failure costs a finished round."""
    before_s = computed_s(scrape(counters))
    sampling = _take(subject, rounds, report)
    if sampling.stop is not None:
        return sampling, None, sampling.stop
    users = Users(
        address=endpoint.address,
        body=endpoint.bodies((1,))[1],
        timeout_s=endpoint.timeout_s,
        counters=counters.address,
    )
    try:
        alone = Stretch(
            batches=subject.batches,
            requests_within=subject.batches,
            batches_s=subject.service_s,
            computed_s=computed_s(scrape(counters)) - before_s,
        )
        means_s = {size: fmean(one.service_s for one in found) for size, found in sampling.batches.items()}
        return sampling, users.work_beside(alone, means_s, report), None
    except (KeyboardInterrupt, DependencyError, InconclusiveError) as stop:
        return sampling, None, stop
