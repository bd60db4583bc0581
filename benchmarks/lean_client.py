"""Lean client: a target of load tests that is sent to at a fifth of the CPU time of a general HTTP client."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from capacity.measurement.http import Address, parse_server_timing
from capacity.verification.run import Tokens
from capacity.verification.send import Sent, Target

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_TIMING = re.compile(rb"(?i)\r\nserver-timing: *([^\r]+)")
_SIZE = re.compile(rb"(?i)\r\nx-batch-size: *(\d+)")


class _Wire(asyncio.Protocol):
    """A connection that is kept, with one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self.answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self.is_lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and length and len(body) >= int(length[1]) and self.answer and not self.answer.done():
            self._buffer = b""
            self.answer.set_result((head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.answer and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("closed"))


async def _idle_wires() -> AsyncIterator[list[_Wire]]:
    """Connections that wait for a request; their event loop closes them when it ends, as it does its generators."""
    wires: list[_Wire] = []
    try:
        yield wires
    finally:
        for wire in wires:
            wire.transport.close()


@dataclass(frozen=True, kw_only=True)
class LeanTarget(Target):
    """A `Target` with connections of its own, of which an idle one is taken before another is opened.

    Attributes:
        batches: time and size of the batch of each answer, in the order in which answers came. [s]
    """

    batches: list[tuple[float, int]] = field(default_factory=list)
    pools: dict[tuple[asyncio.AbstractEventLoop, Address], AsyncIterator[list[_Wire]]] = field(
        default_factory=dict
    )
    idle: dict[tuple[asyncio.AbstractEventLoop, Address], list[_Wire]] = field(default_factory=dict)

    async def exchange(self, client: Any, address: Address, tokens: Tokens | None) -> Sent:
        """The outcome of one request; raises OSError where the connection fails, TimeoutError."""
        loop = asyncio.get_running_loop()
        place = loop, address
        if place not in self.pools:
            self.pools[place] = _idle_wires()
            self.idle[place] = await anext(self.pools[place])
        wires = self.idle[place]
        wire = wires.pop() if wires else None
        async with asyncio.timeout(self.timeout_s):
            if wire is None or wire.is_lost:
                _, wire = await loop.create_connection(_Wire, address.host, address.port)
            wire.answer = loop.create_future()
            try:
                wire.transport.write(_request(address, self.body))
                head, _ = await wire.answer
            except BaseException:
                wire.transport.close()
                raise
        wires.append(wire)
        told = _TIMING.search(head)
        told_s = parse_server_timing(told[1].decode()) if told else {}
        size = _SIZE.search(head)
        self.batches.append((told_s.get("batch", math.nan), int(size[1]) if size else 0))
        return Sent(int(head[9:12]), told_s.get("batch", math.nan), told_s.get("queue", 0.0))


def _request(address: Address, body: bytes) -> bytes:
    head = f"POST {address.target} HTTP/1.1\r\nHost: {address.host}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
