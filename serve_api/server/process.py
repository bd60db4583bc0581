"""Process: runs uvicorn, from the first loaded version to the last answer after SIGTERM."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from capacity.errors import InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.load import load_any
from capacity.profile.profile import ServiceProfile
from serve_api.server.app import Service, create_app
from serve_api.server.backend import Emulated
from serve_api.server.log import say
from serve_api.server.metrics import Metrics
from serve_api.server.settings import Settings, flag_of
from serve_api.server.versions import Loader, Versions, deploy

_BACKLOG = 4096
# A finished batch waits until the event loop releases the interpreter, 5 ms by default: as long as a batch.
_SWITCH_INTERVAL_S = 0.0005


class Drained(Protocol):
    """What a server serves until SIGTERM ends it.

    Attributes:
        draining: whether clients should go elsewhere.
    """

    settings: Settings
    draining: bool

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""


class DrainingServer(uvicorn.Server):
    """Shuts down in order at SIGTERM: not ready; after a delay no new requests; the last answers; the end."""

    def __init__(self, app: ASGIApp, service: Drained) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=75,  # longer than proxies do, so that they close first
                timeout_graceful_shutdown=int(service.settings.drain_max_s),
            )
        )
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port and log its address."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{port}", file=sys.stderr, flush=True)  # noqa: T201

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; Ctrl-C after that ends at once.

        uvicorn alone has no delay, and raises the signal again after the end, so that the exit code is not 0.
        """
        if self._service.draining:
            self.force_exit = sig == signal.SIGINT
            self.should_exit = self.should_exit or self.force_exit
            return
        self._service.draining = True
        say("draining", in_flight=self._service.in_flight)
        asyncio.get_running_loop().call_later(self._service.settings.drain_delay_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def serve(settings: Settings) -> None:
    """Load, warm up, listen, serve, drain."""
    metrics = Metrics(settings)
    if settings.emulate is None:
        loader = Loader(settings, metrics)
        run(Service(settings, loader.versions(), metrics), loader)
        return
    profile = load_any(settings.emulate)
    if isinstance(profile, LlmProfile):
        _stream(settings, profile)
        return
    run(Service(settings, Versions(deploy(_emulated(settings, profile), settings), metrics), metrics))


def _emulated(settings: Settings, profile: ServiceProfile) -> Emulated:
    """A model that takes a profile's batch times."""
    for name in ("sequences_max", "batched_tokens_max", "kv_tokens", "step_log"):
        if getattr(settings, name) is not None:
            raise InputError(
                f"{flag_of(name)} is of a language model, and {profile.name} has batch times; leave it out"
            )
    return Emulated(profile, settings.batch_size_max)


def _stream(settings: Settings, profile: LlmProfile) -> None:
    """Stream tokens as a language model's profile says, until told to stop."""
    # The simulator is imported only where it runs.
    from serve_api.emulation.app import OpenAi
    from serve_api.emulation.engine import EmulatedEngine, emulated_rules
    from serve_api.emulation.log import StepLog
    from serve_api.emulation.metrics import EngineMetrics

    if settings.kv_tokens is not None:
        profile = replace(profile, kv=replace(profile.kv, tokens=settings.kv_tokens))
    rules = emulated_rules(profile, settings.sequences_max, settings.batched_tokens_max)
    metrics = EngineMetrics(profile.model or profile.name)
    with StepLog(settings.step_log) as log:
        engine = EmulatedEngine(
            profile, rules, seed=0, log=log, metrics=metrics, queue_max=settings.queue_max
        )
        service = OpenAi(settings, engine, metrics)
        _listen(service.app, service, {"emulated": profile.name})


def run(service: Service, loader: Loader | None = None) -> None:
    """Serve until told to stop."""
    versions = {role: one.version for role, one in service.versions.loaded()}
    _listen(create_app(service, loader), service, versions)
    if service.batcher.hung or service.batcher.abandoned:
        os._exit(0)  # its thread would keep the process alive


def _listen(app: ASGIApp, service: Drained, versions: Mapping[str, str]) -> None:
    """Serve an application, and say what it has loaded, by role."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # loaded objects stay: no collection has to search them again
    with _port(service.settings) as port:
        for role, version in versions.items():
            say("loaded", role=role, version=version)
        DrainingServer(app, service).run([port])
    say("ended")


def _port(settings: Settings) -> socket.socket:
    """The port, bound here, since uvicorn would exit with messages of its own."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InputError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose others with --host and --port"
        ) from None
