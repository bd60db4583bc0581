"""App: OpenAI's completions and chat completions over an emulated engine, as vLLM serves them."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from capacity.errors import InputError
from serve_api.emulation.engine import ANSWER_TOKEN, EmulatedEngine, FullError, Lengths, Stream
from serve_api.emulation.metrics import EngineMetrics
from serve_api.server.settings import Settings

_TEXT = " a"  # of every token
_TOKENS_DEFAULT = 16  # that OpenAI's completions have unless told
_DONE = b"data: [DONE]\n\n"


class _UnknownModelError(InputError):
    """The request is for another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request as its client sent it.

    Attributes:
        tokens: the prompt as numbers; empty if it came as text, whose words count as tokens.
    """

    lengths: Lengths
    tokens: tuple[int, ...]
    is_chat: bool
    is_streamed: bool
    has_usage: bool
    has_tokens: bool

    @classmethod
    def read(cls, body: bytes, model: str, *, is_chat: bool) -> "Wanted":
        """The request in a body of JSON.

        Raises:
            InputError: it is none, or asks for what is not emulated.
        """
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise InputError("the body is not a JSON object")
        if given.get("model", model) != model:
            raise _UnknownModelError(f"The model `{str(given['model'])[:128]}` does not exist.")
        if given.get("n", 1) != 1:
            raise InputError("one completion of each prompt is emulated; leave out n")
        tokens, count = _prompt(given.get("messages" if is_chat else "prompt"), is_chat=is_chat)
        names = ("max_completion_tokens", "max_tokens")
        most = next((given[name] for name in names if given.get(name) is not None), _TOKENS_DEFAULT)
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise InputError("max_tokens must be a whole number from 1 on")
        options = given.get("stream_options")
        return cls(
            lengths=Lengths(count, most),
            tokens=tokens,
            is_chat=is_chat,
            is_streamed=given.get("stream") is True,
            has_usage=isinstance(options, dict) and options.get("include_usage") is True,
            has_tokens=given.get("return_token_ids") is True,
        )

    def usage(self, cached: int) -> dict[str, Any]:
        """Numbers of tokens, as they are when all have come, and those of the prompt that the cache had."""
        given, got = self.lengths
        details = {"cached_tokens": cached}
        return {
            "prompt_tokens": given,
            "completion_tokens": got,
            "total_tokens": given + got,
            "prompt_tokens_details": details,
        }


def _prompt(given: Any, *, is_chat: bool) -> tuple[tuple[int, ...], int]:
    """A prompt as numbers of tokens, if it is given so, and how many there are."""
    if is_chat:
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise InputError("messages must be a list of objects with role and content")
        given = " ".join(str(one.get("content") or "") for one in given)
    if isinstance(given, str) and given.split():
        return (), len(given.split())
    if isinstance(given, list) and given and all(type(one) is int and one >= 0 for one in given):
        return tuple(given), len(given)
    raise InputError("the prompt must be text, or a list of token numbers; one in a request")


class OpenAi:
    """The endpoints of one engine.

    Attributes:
        draining: whether clients should go elsewhere.
    """

    def __init__(self, settings: Settings, engine: EmulatedEngine, metrics: EngineMetrics) -> None:
        self.settings, self.draining = settings, False
        self._engine, self._metrics = engine, metrics

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._engine.streams)

    async def completions(self, request: Request) -> Response:
        """Complete a prompt."""
        return await self._answer(request, is_chat=False)

    async def chat(self, request: Request) -> Response:
        """Answer a chat."""
        return await self._answer(request, is_chat=True)

    async def _answer(self, request: Request, *, is_chat: bool) -> Response:
        body = await request.body()
        try:
            wanted = Wanted.read(body, self._engine.name, is_chat=is_chat)
            stream = self._engine.submit(wanted.lengths, wanted.tokens)
        except FullError as error:
            told = {"error": {"message": str(error), "type": "ServiceUnavailableError", "code": 503}}
            return JSONResponse(told, 503, {"Retry-After": "1"})
        except InputError as error:
            status = 404 if isinstance(error, _UnknownModelError) else 400
            kind = "NotFoundError" if status == 404 else "BadRequestError"
            return JSONResponse({"error": {"message": str(error), "type": kind, "code": status}}, status)
        if wanted.is_streamed:
            return StreamingResponse(self._events(wanted, stream), media_type="text/event-stream")
        async for _ in self._tokens(stream):
            pass
        text = _TEXT * wanted.lengths.output
        shown: dict[str, Any] = {"text": text}
        if is_chat:
            shown = {"message": {"role": "assistant", "content": text}}
        if wanted.has_tokens:
            shown["token_ids"] = [ANSWER_TOKEN] * wanted.lengths.output
        choice = {"index": 0, **shown, "finish_reason": "length"}
        usage = wanted.usage(stream.cached_tokens)
        return JSONResponse({**self._head(wanted, ""), "choices": [choice], "usage": usage})

    async def _tokens(self, stream: Stream) -> AsyncIterator[tuple[int, bool]]:
        """Tokens when they come: how many, and whether they are the last."""
        try:
            left = stream.request.output
            while left:
                count = await stream.tokens.get()
                left -= count
                yield count, not left
        finally:
            self._engine.leave(stream)

    async def _events(self, wanted: Wanted, stream: Stream) -> AsyncIterator[bytes]:
        """One event for all tokens that come together, then the usage, if it is asked for, and the end."""
        head = self._head(wanted, ".chunk")
        if wanted.is_chat:
            first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            opening = _event({**head, "choices": [first]})
        is_first = True
        async for count, is_last in self._tokens(stream):
            text = count * _TEXT
            shown: dict[str, Any] = {"delta": {"content": text}} if wanted.is_chat else {"text": text}
            if wanted.has_tokens:
                shown["token_ids"] = [ANSWER_TOKEN] * count
            reason = "length" if is_last else None
            event = _event({**head, "choices": [{"index": 0, **shown, "finish_reason": reason}]})
            yield opening + event if wanted.is_chat and is_first else event
            is_first = False
        if wanted.has_usage:
            yield _event({**head, "choices": [], "usage": wanted.usage(stream.cached_tokens)})
        yield _DONE

    def _head(self, wanted: Wanted, ending: str) -> dict[str, Any]:
        """What all events of an answer begin with."""
        kind, prefix = (
            (f"chat.completion{ending}", "chatcmpl") if wanted.is_chat else ("text_completion", "cmpl")
        )
        return {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self._engine.name,
        }

    async def models(self, _: Request) -> Response:
        """The model that is emulated."""
        one = {"id": self._engine.name, "object": "model", "max_model_len": self._engine.context_max}
        return JSONResponse({"object": "list", "data": [one]})

    async def health(self, _: Request) -> Response:
        """Whether new requests should be sent here."""
        return Response(status_code=503 if self.draining else 200)

    async def metrics(self, _: Request) -> Response:
        """Metrics in the text of Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @property
    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
            ]
        )


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"
