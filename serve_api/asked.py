"""Asked: what a request says in its headers."""

import hmac
import re
import secrets
import time
from itertools import count

from starlette.types import Scope

from serve_api.refusal import Reason, Refused

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~-]{1,128}")
_TIMEOUT_MS = re.compile(rb"[0-9]{1,9}")
_RUN_NAME = secrets.token_hex(6)  # so that numbers of two runs differ
_NUMBERS = count(1)


class Asked:
    """A request whose headers are here."""

    __slots__ = ("_headers", "_id", "began_s")

    def __init__(self, scope: Scope) -> None:
        self.began_s = time.monotonic()
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._id: bytes | None = None

    @property
    def body_bytes(self) -> int | None:
        """What `Content-Length` announces."""
        announced = self._headers.get(b"content-length")
        return None if announced is None else int(announced)

    def request_id(self) -> bytes:
        """The one that came along, if it is fit to be repeated in a header; else a new one, once."""
        if self._id is None:
            given = self._headers.get(b"x-request-id")
            if given is not None and _REQUEST_ID.fullmatch(given):
                self._id = given
            else:
                self._id = f"{_RUN_NAME}-{next(_NUMBERS):x}".encode()
        return self._id

    def marks(self) -> list[tuple[bytes, bytes]]:
        """Headers that every answer carries: which request it is to, and how long that took. [s]"""
        took_s = time.monotonic() - self.began_s
        return [(b"x-request-id", self.request_id()), (b"x-process-time", b"%.6f" % took_s)]

    def deadline_s(self, patience_max_s: float) -> float:
        """Until when it may wait: by its own word, if that is shorter than the server's.

        Raises:
            Refused: `X-Request-Timeout-Ms` is no whole number.
        """
        given = self._headers.get(b"x-request-timeout-ms")
        if given is None:
            return self.began_s + patience_max_s
        if _TIMEOUT_MS.fullmatch(given) is None:
            message = "X-Request-Timeout-Ms must be a whole number of milliseconds, such as 250"
            raise Refused(Reason.INVALID_TIMEOUT, message)
        return self.began_s + min(int(given) / 1e3, patience_max_s)

    def bears(self, token: str) -> bool:
        """Whether it carries the token; compared in a time that tells nothing of it."""
        given = self._headers.get(b"authorization", b"")
        return hmac.compare_digest(given, b"Bearer " + token.encode())
