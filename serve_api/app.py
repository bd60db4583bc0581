"""App: the application that a server runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import Message, Receive, Scope, Send

from serve_api.asked import Asked
from serve_api.endpoints import router
from serve_api.exposition import Exposition
from serve_api.loading import Loader
from serve_api.log import place_of, say
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.service import Reply, Service
from serve_api.settings import Settings
from serve_api.watcher import Watcher


class ServingApp(FastAPI):
    """FastAPI, with a short way for `POST /predict` that passes by its routing and its middleware."""

    service: Service
    exposition: Exposition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life span."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif scope["path"] == "/predict" and self._goes_short(scope):
            await _send(await self.service.predict(scope, receive), send)
        else:
            await self._go_long(scope, receive, send)

    async def _go_long(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Asked(scope)
        try:
            await super().__call__(scope, receive, partial(_send_marked, asked, send))
        except Exception as error:  # a bug of ours, which FastAPI has answered with 500 already
            say("internal_error", failure=place_of(error), request_id=asked.request_id().decode())

    def _goes_short(self, scope: Scope) -> bool:
        """Not past middleware, such as CORS, which must see every request."""
        return scope["method"] == "POST" and not self.user_middleware


async def _send_marked(asked: Asked, send: Send, message: Message) -> None:
    """Send it on, with what every answer carries."""
    if message["type"] == "http.response.start":
        headers = list(message.get("headers", ()))
        if all(name != b"x-request-id" for name, _ in headers):  # those of the service have it
            headers += asked.marks()
        message = {**message, "headers": headers}
    await send(message)


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def create_app(
    settings: Settings, rollout: Rollout, metrics: Metrics, loader: Loader | None = None
) -> ServingApp:
    """The application; its service begins and ends with its life span.

    Args:
        loader: of other versions as they become current; None serves the same ones for ever.
    """
    metrics.tell_environment(settings.inference.threads)
    metrics.tell_batching(settings.batch.size_max, settings.batch.wait_max_s)
    watcher = None if loader is None else Watcher(loader, rollout, metrics)
    app = ServingApp(title="serve_api", lifespan=partial(_life, settings, watcher))
    app.service = Service(settings, rollout, metrics)
    app.exposition = Exposition(metrics.text)
    origins = settings.access.cors_origins
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["POST"],
            allow_headers=["authorization", "x-request-id", "x-request-timeout-ms"],
            expose_headers=["x-request-id", "x-process-time", "x-batch-size", "server-timing", "retry-after"],
        )
    app.include_router(router)
    return app


@asynccontextmanager
async def _life(settings: Settings, watcher: Watcher | None, app: ServingApp) -> AsyncIterator[None]:
    app.service.batcher.start()
    watching = None
    if watcher is not None:
        watching = asyncio.create_task(watcher.watch(settings.rollout.poll_interval_s))
    yield
    if watching is not None:
        watching.cancel()
    app.service.batcher.stop()
