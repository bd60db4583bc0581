"""EndpointSubject: a server's endpoint that is sent a batch as one request, one at a time."""

import json
from typing import Any

from capacity.errors import DependencyError
from measurements.batch_body import BatchBody
from measurements.http_exchange import Answer, HttpExchange, StatusError
from measurements.server_timing import check_told, parse_server_timing
from measurements.timed_batch import TimedBatch

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# So many requests tell a wrong unit before minutes are spent; all of them are looked at in the end.
_FIRST = 10
# What servers say of a body that has more rows or bytes than they take.
_TOO_LARGE = (400, 413, 422)


class EndpointSubject:
    """Times requests that carry a batch each.

    Where answers tell by `Server-Timing` what the batch took, that is its service time, and what the client
    saw beyond it and the wait in the queue lies beside it. Else all that the client saw is service time.
    `batches` and `service_s` count all that were served, those of the warm-up too.
    """

    def __init__(self, exchange: HttpExchange, body: BatchBody, batch_sizes: tuple[int, ...]) -> None:
        self._exchange = exchange
        self._bodies = body.of_each(batch_sizes)
        self._seen: set[int] = set()
        self._first_beside_s: list[float] = []
        self.tells_batch: bool | None = None
        self.batches = 0
        self.service_s = 0.0

    def serve(self, batch_size: int) -> TimedBatch:
        """Send one request.

        Raises:
            DependencyError: it failed, or the answer is not one to such a request.
        """
        answer = self._ask(batch_size)
        if batch_size not in self._seen:
            self._seen.add(batch_size)
            _check_json(answer.body, batch_size)
        _check_size(answer, batch_size)
        told_s = parse_server_timing(answer.headers.get("server-timing", ""))
        batch_s = told_s.get("batch")
        self._check_steady(batch_size, tells_batch=batch_s is not None)
        self.batches += 1
        self.service_s += answer.seconds if batch_s is None else batch_s
        if batch_s is None:
            return TimedBatch(service_s=answer.seconds)
        beside_s = answer.seconds - batch_s - told_s.get("queue", 0.0)
        self._check_first(beside_s)
        return TimedBatch(service_s=batch_s, beside_s=beside_s)

    def _ask(self, batch_size: int) -> Answer:
        try:
            return self._exchange.ask("POST", self._bodies[batch_size], _HEADERS)
        except StatusError as error:
            if batch_size > 1 and error.status in _TOO_LARGE:
                error.add_note(f"if {batch_size} rows are too many for it, leave them out of --batch-sizes")
            raise

    def _check_steady(self, batch_size: int, *, tells_batch: bool) -> None:
        """Refuse samples of which some are the server's own and some the client's."""
        if self.tells_batch is None:
            self.tells_batch = tells_batch
        if self.tells_batch is not tells_batch:
            raise DependencyError(
                f"some answers have Server-Timing with batch;dur and some, as one to a batch of {batch_size},"
                " have not; samples of both kinds are not of one thing"
            )

    def _check_first(self, beside_s: float) -> None:
        """Refuse what contradicts the client's clock while little time is lost."""
        if len(self._first_beside_s) < _FIRST:
            self._first_beside_s.append(beside_s)
            if len(self._first_beside_s) == _FIRST:
                check_told(self._first_beside_s)


def _check_json(body: bytes, batch_size: int) -> None:
    """Refuse an answer that is no answer: success and an error page look alike to a stopwatch."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict | list):
        raise DependencyError(
            f"the answer to a batch of {batch_size} is not JSON; check that --url is what predicts"
        )
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if isinstance(predictions, list) and len(predictions) != batch_size:
        raise DependencyError(
            f"the answer to a batch of {batch_size} has {len(predictions)} predictions; check that "
            "--rows-key is where the request has its rows"
        )


def _check_size(answer: Answer, batch_size: int) -> None:
    """Refuse a batch that others' rows were in, or only some of ours."""
    told = answer.headers.get("x-batch-size", "")
    if told.isascii() and told.isdigit() and told.lstrip("0") != str(batch_size):
        raise DependencyError(
            f"a request of {batch_size} rows was served in a batch of {told[:12]}; measure a server that "
            "nobody else uses, and sizes up to its own largest"
        )
