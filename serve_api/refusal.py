"""Refused: why a request got no prediction, as the client, the metrics and the log know it."""

import json
import math


class Refused(Exception):  # noqa: N818  (a refusal is no error of the server)
    """An answer other than 200.

    Attributes:
        reason: in `serve_rejected_total`; a word of a closed list.
        retry_after_s: when it may be worth another try; None where it never is.
        closes: whether the connection ends with it, since the rest of the request was not read.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.closes = closes

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer that are its own."""
        own = [(b"connection", b"close")] if self.closes else []
        if self.retry_after_s is not None:
            own.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        return own

    def body(self) -> bytes:
        """JSON of the answer."""
        return json.dumps({"error": str(self), "reason": self.reason}).encode()
