"""Refusal: why a request got no prediction, for the client and the metrics."""

import math
from enum import StrEnum


class Reason(StrEnum):
    """The closed list of reasons, as in `serve_rejected_total`."""

    INVALID_JSON = "invalid_json"
    INVALID_TIMEOUT = "invalid_timeout"
    DISCONNECTED = "disconnected"
    BODY_TOO_LARGE = "body_too_large"
    WRONG_SHAPE = "wrong_shape"
    NOT_FINITE = "not_finite"
    NO_ANSWER = "no_answer"
    MODEL_FAILED = "model_failed"
    INTERNAL = "internal"
    QUEUE_FULL = "queue_full"
    CIRCUIT_OPEN = "circuit_open"
    MODEL_HUNG = "model_hung"
    DEADLINE = "deadline"


STATUS = {
    **dict.fromkeys((Reason.INVALID_JSON, Reason.INVALID_TIMEOUT, Reason.DISCONNECTED), 400),
    Reason.BODY_TOO_LARGE: 413,
    **dict.fromkeys((Reason.WRONG_SHAPE, Reason.NOT_FINITE, Reason.NO_ANSWER), 422),
    **dict.fromkeys((Reason.MODEL_FAILED, Reason.INTERNAL), 500),
    **dict.fromkeys((Reason.QUEUE_FULL, Reason.CIRCUIT_OPEN, Reason.MODEL_HUNG), 503),
    Reason.DEADLINE: 504,
}


class Refused(Exception):  # noqa: N818  (a refusal is no error of the server)
    """An answer other than 200; the message never holds what a client sent."""

    def __init__(self, reason: Reason, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = STATUS[reason]
        wait_s = retry_after_s if self.status == 503 else None
        self.headers = {} if wait_s is None else {"Retry-After": str(max(1, math.ceil(wait_s)))}
