"""Refused: why a request got no prediction, as the client and the metrics know it."""

import json
import math
from enum import StrEnum


class Reason(StrEnum):
    """The closed list, as `serve_rejected_total` has it."""

    INVALID_JSON = "invalid_json"
    INVALID_TIMEOUT = "invalid_timeout"
    DISCONNECTED = "disconnected"
    UNAUTHORIZED = "unauthorized"
    BODY_TOO_SLOW = "body_too_slow"
    BODY_TOO_LARGE = "body_too_large"
    WRONG_SHAPE = "wrong_shape"
    NOT_FINITE = "not_finite"
    NO_ANSWER = "no_answer"
    MODEL_FAILED = "model_failed"
    INTERNAL = "internal"
    QUEUE_FULL = "queue_full"
    IN_FLIGHT = "in_flight"
    OPEN_BODIES = "open_bodies"
    CIRCUIT_OPEN = "circuit_open"
    MODEL_HUNG = "model_hung"
    DRAINING = "draining"
    DEADLINE = "deadline"
    # These are refused below HTTP's requests: the connection ends.
    CONNECTIONS = "connections"
    HEADERS_TOO_LARGE = "headers_too_large"
    REQUEST_TOO_SLOW = "request_too_slow"
    PIPELINED = "pipelined"
    ANSWER_UNREAD = "answer_unread"
    INVALID_HTTP = "invalid_http"


STATUS = {
    Reason.INVALID_JSON: 400,
    Reason.INVALID_TIMEOUT: 400,
    Reason.DISCONNECTED: 400,
    Reason.UNAUTHORIZED: 401,
    Reason.BODY_TOO_SLOW: 408,
    Reason.BODY_TOO_LARGE: 413,
    Reason.WRONG_SHAPE: 422,
    Reason.NOT_FINITE: 422,
    Reason.NO_ANSWER: 422,
    Reason.MODEL_FAILED: 500,
    Reason.INTERNAL: 500,
    Reason.QUEUE_FULL: 503,
    Reason.IN_FLIGHT: 503,
    Reason.OPEN_BODIES: 503,
    Reason.CIRCUIT_OPEN: 503,
    Reason.MODEL_HUNG: 503,
    Reason.DRAINING: 503,
    Reason.DEADLINE: 504,
}
_CLOSING = {Reason.BODY_TOO_SLOW, Reason.DRAINING}  # the connection is of no more use


class Refused(Exception):  # noqa: N818  (a refusal is no error of the server)
    """An answer other than 200."""

    def __init__(self, reason: Reason, message: str, *, retry_after_s: float | None = None) -> None:
        """For a reason.

        Args:
            message: for the client; never holds what another one sent.
            retry_after_s: when it may be worth another try; None where it never is.
        """
        super().__init__(message)
        self.reason = reason
        self.status = STATUS[reason]
        self.retry_after_s = retry_after_s

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer that are its own."""
        own: list[tuple[bytes, bytes]] = []
        if self.retry_after_s is not None:
            own.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        if self.reason in _CLOSING:
            own.append((b"connection", b"close"))
        if self.reason is Reason.UNAUTHORIZED:
            own.append((b"www-authenticate", b"Bearer"))
        return own

    def body(self) -> bytes:
        """JSON of the answer."""
        return json.dumps({"error": str(self), "reason": self.reason}).encode()
