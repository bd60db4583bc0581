"""Body: what a client sends to be predicted, read within limits of size and time."""

import asyncio

from starlette.types import Receive

from serve_api.refusal import Reason, Refused
from serve_api.settings import LimitSettings


class BodyReader:
    """Reads the bodies of a server, and knows how much of those that come in parts is in memory."""

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._open_bytes = 0

    async def read(self, receive: Receive, announced: int | None) -> bytes:
        """The body, never more of it in memory than is allowed.

        Args:
            announced: its bytes by `Content-Length`, if there is one.

        Raises:
            Refused: too large, too slow, no room beside others, or the client left.
        """
        if announced is not None:
            self._check_size(announced)
        try:
            async with asyncio.timeout(self._limits.body_time_max_s):
                return await self._read(receive)
        except TimeoutError:
            message = f"the body took longer than {self._limits.body_time_max_s:g} s"
            raise Refused(Reason.BODY_TOO_SLOW, message) from None

    async def _read(self, receive: Receive) -> bytes:
        event = await receive()
        if event["type"] == "http.request" and not event.get("more_body", False):
            body: bytes = event["body"]
            self._check_size(len(body))
            return body
        body_so_far = bytearray()
        try:
            while event["type"] == "http.request":
                body_so_far += event["body"]
                self._open_bytes += len(event["body"])
                self._check_size(len(body_so_far))
                if not event.get("more_body", False):
                    return bytes(body_so_far)
                self._check_room()
                event = await receive()
        finally:
            self._open_bytes -= len(body_so_far)
        raise Refused(Reason.DISCONNECTED, "the client left")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.body_bytes_max:
            message = f"the body is larger than {self._limits.body_bytes_max} bytes"
            raise Refused(Reason.BODY_TOO_LARGE, message)

    def _check_room(self) -> None:
        if self._open_bytes > self._limits.open_bytes_max:
            raise Refused(Reason.OPEN_BODIES, "too many bodies come slowly", retry_after_s=1.0)
