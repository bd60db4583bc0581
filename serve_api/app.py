"""App: the application that a server runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from serve_api.endpoints import router
from serve_api.loading import Loader
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.service import Reply, Service
from serve_api.settings import Settings
from serve_api.watcher import Watcher


class ServingApp(FastAPI):
    """FastAPI, with a short way for `POST /predict` that passes by its routing and its middleware."""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life span."""
        if scope["type"] == "http" and scope["path"] == "/predict" and self._goes_short(scope):
            await _send(await self.service.predict(scope, receive), send)
        else:
            await super().__call__(scope, receive, send)

    def _goes_short(self, scope: Scope) -> bool:
        """Not past middleware, such as CORS, which must see every request."""
        return scope["method"] == "POST" and not self.user_middleware


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
    watcher = None if loader is None else Watcher(loader, rollout, metrics)
    app = ServingApp(title="serve_api", lifespan=partial(_life, settings, watcher))
    app.service = Service(settings, rollout, metrics)
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
