"""Endpoints: what is asked of the server, as FastAPI and its documentation know them."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from serve_api.asked import Asked
from serve_api.exposition import Exposition
from serve_api.service import Service

_TEXT_OF_METRICS = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter()


class Instances(BaseModel):
    """What is to be predicted."""

    instances: list[list[float]] = Field(description="Rows of finite numbers, all features in their order.")


class Predictions(BaseModel):
    """What was predicted, row by row."""

    predictions: list[int]
    probabilities: list[list[float]]
    model_version: str


class Problem(BaseModel):
    """Why there is no prediction."""

    error: str
    reason: str


_BODY = {"content": {"application/json": {"schema": Instances.model_json_schema()}}, "required": True}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "Not valid JSON.",
        401: "No or another bearer token.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        422: "Rows of another shape, or numbers that are not finite.",
        500: "The model failed.",
        503: "No room, draining, or the model is left alone; see Retry-After.",
        504: "The deadline passed while the request waited.",
    }.items()
}


def service_of(request: Request) -> Service:
    """The service behind the application."""
    service: Service = request.app.service
    return service


@router.post(
    "/predict",
    response_model=Predictions,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY},
)
async def predict(request: Request) -> Response:
    """Predict one row or many; all rows of a request are served in one batch."""
    reply = await service_of(request).predict(request.scope, request.receive)
    response = Response(content=reply.body, status_code=reply.status)
    response.raw_headers = reply.headers
    return response


@router.get("/livez")
async def livez(request: Request) -> Response:
    """Whether the process is worth keeping: not while a model hangs, which only a restart mends."""
    alive = not service_of(request).batcher.hung
    return Response(status_code=200 if alive else 503, content="ok" if alive else "model hangs")


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Whether new requests shall be sent here: loaded, warm, not draining."""
    ready = service_of(request).ready
    return Response(status_code=200 if ready else 503, content="ready" if ready else "not ready")


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """A summary for people."""
    return service_of(request).summary()


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Metrics in the text of Prometheus."""
    service = service_of(request)
    if service.settings.access.metrics_too and not service.authorized(Asked(request.scope)):
        return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
    exposition: Exposition = request.app.exposition
    return Response(content=await exposition.read(), media_type=_TEXT_OF_METRICS)
