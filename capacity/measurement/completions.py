"""Completions: sends one request to an OpenAI-compatible server, and times the tokens as they stream in.

Each event is a line `data: {...}`, the last one `data: [DONE]`. The server counts the tokens, in the event that
`stream_options.include_usage` asks for.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from capacity.errors import DependencyError
from capacity.files import printable
from capacity.measurement.http import (
    ANSWER_BYTES_MAX,
    Address,
    TooLongError,
    explained,
    posted,
    reopening,
    require_success,
)
from capacity.profile.llm_runs import SeenRequest, token_gaps

if TYPE_CHECKING:
    import aiohttp

PATH = "/v1/completions"
_DATA, _DONE = b"data:", b"[DONE]"
_EXCERPT = 120


def completions_address(address: Address) -> Address:
    """Address of completions: the given path, or the usual one below a bare address."""
    path = address.path.rstrip("/")
    if path.endswith("/completions"):
        return address
    return replace(
        address, target=(path if path.endswith("/v1") else f"{path}/v1") + PATH.removeprefix("/v1")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens to complete, and how many to generate.

    Attributes:
        tokens: token ids, so that none is lost or added by a tokenizer.
        tells_tokens: whether the answer should have the token ids of its text; vLLM and SGLang know this.
    """

    model: str
    tokens: tuple[int, ...]
    output_tokens: int
    tells_tokens: bool = False

    @property
    def body(self) -> bytes:
        """The request as JSON. `ignore_eos` is not OpenAI's, but vLLM, SGLang and llama.cpp know it."""
        return json.dumps(
            {
                "model": self.model,
                "prompt": self.tokens,
                "max_tokens": self.output_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
                **({"return_token_ids": True} if self.tells_tokens else {}),
            }
        ).encode()


async def complete(client: "aiohttp.ClientSession", address: Address, prompt: Prompt) -> SeenRequest:
    """Send a prompt, and record when its tokens arrive, by the monotonic clock. [s]

    Raises:
        DependencyError: no answer in time, one that fails, or a stream that is not of completions.
    """
    with explained(client, address):
        streamed = await stream(client, address, prompt.body)
    if streamed.status != 200:
        require_success(address, streamed.status, streamed.headers, streamed.excerpt)
    return streamed.seen(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A whole answer as it came. Instants are on the monotonic clock. [s]

    Attributes:
        events: lines with data, each with the instant at which it was read; none but of an answer with status 200.
        excerpt: the beginning of any other answer.
    """

    status: int
    headers: Mapping[str, str]
    start_s: float
    events: list[tuple[float, bytes]]
    excerpt: bytes = b""

    def seen(self, address: Address) -> SeenRequest:
        """The request, from its events.

        Raises:
            DependencyError: they are not those of completions, or say that the request failed.
        """
        return _seen(self.start_s, self.events, address)

    def text(self, address: Address) -> "Text":
        """What the answer says of tokens, where its server knows `return_token_ids` and counts cached tokens.

        Raises:
            DependencyError: the events are not those of completions.
        """
        tokens: list[int] = []
        cached = math.nan
        for _, line in self.events:
            text = line.removeprefix(_DATA).strip()
            if text == _DONE:
                break
            event = _event(text, address)
            for choice in event.get("choices") or ():
                tokens += _whole(choice.get("token_ids") if isinstance(choice, dict) else None)
            usage = event.get("usage")
            details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
            for count in _whole([details.get("cached_tokens")] if isinstance(details, dict) else None):
                cached = float(count)
        return Text(tokens=tuple(tokens), cached_tokens=cached)


class Text(NamedTuple):
    """What a server says of the tokens of an answer and of its prompt.

    Attributes:
        tokens: token ids of the answer; empty where they are not told.
        cached_tokens: of the prompt, found in its cache of prefixes; NaN where that is not told.
    """

    tokens: tuple[int, ...]
    cached_tokens: float


def _whole(found: Any) -> list[int]:
    """Whole numbers from 0 on; none where there is anything else."""
    is_list = isinstance(found, list) and all(type(one) is int and one >= 0 for one in found)
    return found if is_list else []


async def stream(
    client: "aiohttp.ClientSession",
    address: Address,
    body: bytes,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Streamed:
    """Send a request, and record when its events arrive; raises as `capacity.measurement.http.ask` does."""
    # llama.cpp's server closes a connection after each stream.
    return await reopening(client, lambda client: _stream(client, address, body, headers))


async def _stream(
    client: "aiohttp.ClientSession", address: Address, body: bytes, headers: Mapping[str, str]
) -> Streamed:
    start_s = time.perf_counter()
    events: list[tuple[float, bytes]] = []
    async with posted(client, address, body, headers) as answer:
        if answer.status != 200:
            excerpt = await answer.content.read(_EXCERPT)
            return Streamed(
                status=answer.status, headers=answer.headers, start_s=start_s, events=events, excerpt=excerpt
            )
        rest, length = b"", 0
        while part := await answer.content.readany():
            now_s = time.perf_counter()
            length += len(part)
            if length > ANSWER_BYTES_MAX:
                raise TooLongError(f"sent more than {ANSWER_BYTES_MAX} bytes; is it what was meant?")
            *lines, rest = (rest + part).split(b"\n")
            events += [(now_s, line) for line in lines if line.startswith(_DATA)]
    # Parsed only later: parsing would delay the other streams on this thread.
    return Streamed(status=answer.status, headers=answer.headers, start_s=start_s, events=events)


def _seen(start_s: float, events: list[tuple[float, bytes]], address: Address) -> SeenRequest:
    """The request, from its events."""
    stamps_s, usage, is_empty = [], None, False
    for at_s, line in events:
        text = line.removeprefix(_DATA).strip()
        if text == _DONE:
            break
        event = _event(text, address)
        usage = event.get("usage") or usage
        if choices := event.get("choices"):
            stamps_s.append(at_s)
            is_empty = (
                isinstance(choices, list) and isinstance(choices[0], dict) and choices[0].get("text") == ""
            )
    if not stamps_s:
        raise DependencyError(f"{address.shown} sent no token; check that the path is one of completions")
    given, got = (_count(usage, name, address) for name in ("prompt_tokens", "completion_tokens"))
    if is_empty and len(stamps_s) > got:
        stamps_s.pop()  # the chunk with the finish reason, which llama.cpp sends on its own
    gaps_s = [later - earlier for earlier, later in pairwise(stamps_s)]
    return SeenRequest(
        input_tokens=given,
        output_tokens=got,
        start_s=start_s,
        first_s=stamps_s[0],
        last_s=stamps_s[0] if got == 1 else stamps_s[-1],
        gaps_s=token_gaps(gaps_s, got),
        events=min(len(stamps_s), got),
    )


def _event(text: bytes, address: Address) -> dict[str, Any]:
    try:
        event: Any = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise DependencyError(
            f"{address.shown} sent an event that is no JSON object; is it OpenAI-compatible?"
        )
    if event.get("error"):
        raise DependencyError(f"{address.shown} sent an error: {printable(str(event['error']))[:_EXCERPT]}")
    return event


def _count(usage: Any, name: str, address: Address) -> int:
    """A number of tokens as the server counted them."""
    found = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise DependencyError(
            f"{address.shown} does not say how many tokens there were (usage.{name}); it must know "
            "stream_options.include_usage"
        )
    return found
