"""Url: what an address answers to a GET, by Python's own client, so that reading metrics needs no extra.

It follows no redirects, and knows no proxies or cookies.
"""

import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from threading import Thread

from capacity.files import printable, text_of
from capacity.measurement.http import (
    ANSWER_BYTES_MAX,
    Address,
    Answer,
    TooLongError,
    parse_address,
    require_success,
    unanswered,
)

_PART_BYTES = 2**16
_CLIENTS: Mapping[str, type[HTTPConnection]] = {"http": HTTPConnection, "https": HTTPSConnection}
_SAVE_FIRST = "save what it answers to a file, such as by curl -o FILE, and give that"


def read_url(text: str, timeout_s: float = 30.0) -> str:
    """The text that a URL returns to a GET.

    Raises:
        InputError: no such address, or an answer that is not UTF-8.
        DependencyError: no answer in time, or one that fails.
    """
    page = Page(address=parse_address(text, "the URL"), timeout_s=timeout_s, slow=_SAVE_FIRST)
    return text_of(page.ask().body, f"the answer of {printable(text)[:80]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that is read as often as it is asked for, over a new connection each time.

    Attributes:
        timeout_s: the time for a whole answer, connecting included. [s]
        slow: what to do if there is no answer in time.
    """

    address: Address
    timeout_s: float
    slow: str = "raise --timeout, or fix the server"

    def ask(self) -> Answer:
        """A successful answer.

        Raises:
            DependencyError: no answer in time, or one that fails, redirects, is too large or not HTTP.
        """
        try:
            answer = self._answer()
        except (HTTPException, OSError, ValueError, ArithmeticError) as error:
            raise unanswered(self.address, error, self.timeout_s, self.slow) from None
        require_success(self.address, answer.status, answer.headers, answer.body)
        return answer

    def _answer(self) -> Answer:
        """The answer, which a thread waits for: a server that drips ends each single wait in time, and never all."""
        address, found, opened = self.address, Future[Answer](), list[socket.socket]()

        def wait() -> None:
            try:
                with closing(
                    _CLIENTS[address.scheme](address.host, address.port, timeout=self.timeout_s)
                ) as client:
                    client.connect()
                    opened.append(client.sock)  # which the client forgets where the server will close it
                    found.set_result(_got(client, address))
            except Exception as error:  # which `result` raises again, in the caller's thread
                found.set_exception(error)

        thread = Thread(target=wait, daemon=True)
        thread.start()
        try:
            return found.result(self.timeout_s)
        finally:
            for one in opened:
                with suppress(OSError):  # it is closed already
                    one.shutdown(socket.SHUT_RDWR)
            if opened:
                thread.join(self.timeout_s)


def _got(client: HTTPConnection, address: Address) -> Answer:
    """The whole answer of a server, of limited size."""
    parts, length, began_s = [], 0, time.perf_counter()
    client.request("GET", address.target, headers={"Accept": "*/*", "Connection": "close"})
    with client.getresponse() as answer:
        while part := answer.read1(_PART_BYTES):  # `read` takes all that a chunk of length -1 has
            parts.append(part)
            length += len(part)
            if length > ANSWER_BYTES_MAX:
                raise TooLongError(f"answered more than {ANSWER_BYTES_MAX} bytes; is it what was meant?")
        if answer.length:
            raise IncompleteRead(b"", answer.length)
    seconds = time.perf_counter() - began_s
    headers = {"Location": answer.getheader("Location", "")}  # all that is asked for of them
    return Answer(status=answer.status, headers=headers, body=b"".join(parts), seconds=seconds)
