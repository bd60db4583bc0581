"""App: the endpoints, and the way of each request from its headers to its answer."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_api.server.backend import FloatRows
from serve_api.server.batcher import Batcher, Served
from serve_api.server.log import kind_of, say
from serve_api.server.metrics import Metrics
from serve_api.server.refusal import STATUS, Reason, Refused
from serve_api.server.settings import Settings
from serve_api.server.versions import Loader, Versions

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_TIMEOUT_MS = re.compile(r"[0-9]{1,9}")


class Instances(BaseModel):
    """The rows to predict."""

    model_config = ConfigDict(extra="forbid")

    instances: Annotated[list[list[FiniteFloat]], Field(min_length=1, description="Rows of finite numbers.")]


class Prediction(BaseModel):
    """The predictions, row by row."""

    predictions: list[int]
    probabilities: list[list[float]]
    model_version: str


class Problem(BaseModel):
    """Why there is no prediction."""

    error: str
    reason: Reason


class Service:
    """State that all requests share."""

    def __init__(self, settings: Settings, versions: Versions, metrics: Metrics) -> None:
        self.settings = settings
        self.versions = versions
        self.metrics = metrics
        self.batcher = Batcher(settings, versions, metrics)
        self.draining = False  # clients should go elsewhere
        self.in_flight = 0
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.ready.set_function(lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return not (self.draining or self.batcher.hung)

    def summary(self) -> dict[str, Any]:
        """The summary of `/health`."""
        now_s = time.monotonic()
        return {
            "ready": self.ready,
            "draining": self.draining,
            "model_hung": self.batcher.hung,
            "in_flight": self.in_flight,
            "queue_length": len(self.batcher),
            "versions": {
                role: {"version": one.version, "circuit": one.breaker.state(now_s).name.lower()}
                for role, one in self.versions.loaded()
            },
        }

    async def predict(self, request: Request) -> Response:
        """Answer a request; an error is an answer too."""
        began_s = time.monotonic()
        self.in_flight += 1
        try:
            served = await self._served(request, began_s)
        except Refused as refused:
            return self._refusal(refused)
        except Exception as error:  # a bug of ours: the client gets no traceback, and the log no data
            say("internal_error", failure=kind_of(error), request_id=request.scope["state"]["request_id"])
            return self._refusal(Refused(Reason.INTERNAL, "internal error; please report it"))
        finally:
            self.in_flight -= 1
        self.metrics.requests.labels("200", served.version).inc()
        self.metrics.request_seconds.labels(served.version).observe(time.monotonic() - began_s)
        return _answer(served)

    async def _served(self, request: Request, began_s: float) -> Served:
        self.batcher.check_room(began_s)  # before the body is read
        deadline_s = began_s + _patience_s(request.headers, self.settings.deadline_s)
        features = len(self.versions.serving.backend.features)
        # No name for the body: it is not kept while the request waits.
        rows = parse_rows(
            await _read_body(request, self.settings.body_bytes_max), features, self.settings.request_rows_max
        )
        return await self.batcher.submit(rows, deadline_s)

    def _refusal(self, refused: Refused) -> Response:
        self.metrics.rejected.labels(refused.reason).inc()
        self.metrics.requests.labels(str(refused.status), self.versions.serving.version).inc()
        return JSONResponse(
            {"error": str(refused), "reason": refused.reason}, refused.status, refused.headers
        )


def _answer(served: Served) -> Response:
    prediction = Prediction.model_construct(
        predictions=served.labels, probabilities=served.probabilities, model_version=served.version
    )
    timing = f"queue;dur={served.queue_s * 1e3:.3f}, batch;dur={served.batch_s * 1e3:.3f}"
    headers = {"Server-Timing": timing, "X-Batch-Size": str(served.batch_size)}
    return Response(prediction.model_dump_json(), media_type="application/json", headers=headers)


def _patience_s(headers: Headers, patience_max_s: float) -> float:
    """How long a request may wait: by its own header, if that is shorter than the server's limit."""
    given = headers.get("x-request-timeout-ms")
    if given is None:
        return patience_max_s
    if _TIMEOUT_MS.fullmatch(given) is None:
        message = "X-Request-Timeout-Ms must be a whole number of milliseconds, such as 250"
        raise Refused(Reason.INVALID_TIMEOUT, message)
    return min(int(given) / 1e3, patience_max_s)


async def _read_body(request: Request, bytes_max: int) -> bytes:
    """The body, with no more of it in memory than allowed; a proxy in front limits how long it may take."""
    too_large = Refused(Reason.BODY_TOO_LARGE, f"the body is larger than {bytes_max} bytes")
    if int(request.headers.get("content-length", 0)) > bytes_max:
        raise too_large
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > bytes_max:
                raise too_large
    except ClientDisconnect:
        raise Refused(Reason.DISCONNECTED, "the client left") from None
    return bytes(body)


def parse_rows(body: bytes, features: int, rows_max: int) -> FloatRows:
    """Rows of `{"instances": [[...], ...]}`, finite as float32; anything else is refused."""
    try:
        instances = Instances.model_validate_json(body, strict=True).instances
    except ValidationError as error:
        raise _invalid(error) from None
    if len(instances) > rows_max:
        raise Refused(Reason.WRONG_SHAPE, f"instances must be a list of 1 to {rows_max} rows")
    if any(len(row) != features for row in instances):
        raise Refused(Reason.WRONG_SHAPE, f"each row must be a list of {features} numbers")
    with np.errstate(over="ignore"):
        rows: FloatRows = np.array(instances, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise Refused(Reason.NOT_FINITE, "a number is beyond what float32 holds; send finite numbers")
    return rows


def _invalid(error: ValidationError) -> Refused:
    """The refusal for invalid input, without the input itself, which pydantic's error quotes."""
    kinds = {one["type"] for one in error.errors(include_input=False, include_url=False)}
    if "json_invalid" in kinds:
        return Refused(Reason.INVALID_JSON, "the body is not valid JSON")
    if kinds == {"finite_number"}:
        return Refused(Reason.NOT_FINITE, "a number is not finite; send finite numbers")
    return Refused(Reason.WRONG_SHAPE, 'the body must be {"instances": [[numbers], ...]} and nothing else')


class Marks:
    """Middleware that adds the request's id and its time to each answer; predictions bypass routing."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.monotonic()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Process-Time"] = f"{time.monotonic() - began_s:.6f}"
                if self._service.draining:
                    headers["Connection"] = "close"  # so that clients go elsewhere before the port closes
            await send(message)

        if (scope["method"], scope["path"]) == ("POST", "/predict"):
            # Past FastAPI's routing, which takes longer than everything else for a prediction.
            response = await self._service.predict(Request(scope, receive))
            await response(scope, receive, send_marked)
        else:
            await self._app(scope, receive, send_marked)


def create_app(service: Service, loader: Loader | None = None) -> FastAPI:
    """The application; without a loader it always serves the same versions."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.batcher.run())]
        if loader is not None:
            tasks.append(asyncio.create_task(loader.watch(service.versions)))
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(title="serve_api", lifespan=life)
    app.add_middleware(Marks, service=service)
    if service.settings.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.cors_origin,
            allow_methods=["POST"],
            allow_headers=["x-request-id", "x-request-timeout-ms"],
            expose_headers=["x-request-id", "x-process-time", "x-batch-size", "server-timing", "retry-after"],
        )
    _add_predict(app, service)
    _add_probes(app, service)
    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    refusals: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in STATUS.values()}
    body = {"content": {"application/json": {"schema": Instances.model_json_schema()}}, "required": True}
    documented: dict[str, Any] = {"responses": refusals, "openapi_extra": {"requestBody": body}}

    @app.post("/predict", response_model=Prediction, **documented)
    async def predict(request: Request) -> Response:
        """Predict one row or many; all rows of a request are served in one batch."""
        return await service.predict(request)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/livez")
    async def livez() -> Response:
        """Whether the process is worth keeping: not while a model hangs, which only a restart cures."""
        return Response("model hangs", 503) if service.batcher.hung else Response("ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether new requests should be sent here: loaded, warm, not draining."""
        return Response("ready") if service.ready else Response("not ready", 503)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """A summary for people."""
        return service.summary()

    @app.get("/metrics")
    def metrics() -> Response:  # in a thread, since the text takes milliseconds
        """Metrics in the text of Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
