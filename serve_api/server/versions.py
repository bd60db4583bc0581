"""Versions: the version that is served, how the next one takes over, and how a canary gets its share."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from capacity.errors import CapacityError, InputError
from serve_api.models.store import CURRENT, ArtifactStore
from serve_api.server.backend import Backend, Predictor, warm_up
from serve_api.server.breaker import Breaker, CircuitState
from serve_api.server.log import kind_of, say
from serve_api.server.metrics import Metrics
from serve_api.server.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One version in memory, warm, with its circuit."""

    backend: Predictor
    breaker: Breaker

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.backend.version


def deploy(backend: Predictor, settings: Settings) -> Deployment:
    """Warm a version up; its circuit is closed."""
    warm_up(backend, settings.batch_size_max)
    breaker = Breaker(failures_max=settings.breaker_failures, cooldown_s=settings.breaker_cooldown_s)
    return Deployment(backend=backend, breaker=breaker)


class Versions:
    """The serving version, a canary with a share of the batches, and the previous version.

    The version is drawn for each batch: there is one queue, batches fill as they would without a canary, and a
    request still goes to the canary with the probability of the share.
    """

    def __init__(
        self, serving: Deployment, metrics: Metrics, *, canary: Deployment | None = None, share: float = 0.0
    ) -> None:
        self.serving = serving
        self.canary = canary
        self.previous: Deployment | None = None
        self._share = share
        self._metrics = metrics
        self._random = random.Random()  # noqa: S311  (a draw of versions, no secret)
        self._show()

    def draw(self, now_s: float) -> Deployment:
        """The version for the next batch; never a canary whose circuit is open."""
        canary = self.canary
        if canary is None or self._random.random() >= self._share:
            return self.serving
        return self.serving if canary.breaker.state(now_s) is CircuitState.OPEN else canary

    def loaded(self) -> Iterator[tuple[str, Deployment]]:
        """Versions in memory with their roles."""
        roles = (("serving", self.serving), ("canary", self.canary), ("previous", self.previous))
        yield from ((role, deployment) for role, deployment in roles if deployment is not None)

    def serve(self, deployment: Deployment) -> None:
        """Swap: this version serves from the next batch on, and the old one is kept for a rollback."""
        self.previous, self.serving = self.serving, deployment
        if self.canary is not None and self.canary.version == deployment.version:
            self.canary = None
        self._show()

    def _show(self) -> None:
        self._metrics.model_info.clear()
        self._metrics.circuit_state.clear()
        for role, deployment in self.loaded():
            self._metrics.model_info.labels(deployment.version, role).set(1)
            state = deployment.breaker.state
            self._metrics.circuit_state.labels(deployment.version).set_function(
                lambda state=state: state(time.monotonic())  # type: ignore[misc]
            )


class Loader:
    """Loads versions of one store, and polls which one is current."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        assert settings.artifacts is not None  # noqa: S101  (settled by the settings)
        self.store = ArtifactStore(settings.artifacts)
        self._settings = settings
        self._metrics = metrics
        # Lowered like inference itself; threads that the runtime starts there inherit the priority.
        self._thread = ThreadPoolExecutor(1, initializer=step_back, initargs=(settings.inference_nice,))

    def load(self, version: str | None) -> Deployment:
        """A version, by default the current one; refused if it is unfit to be served."""
        return self._thread.submit(self._load, version).result()

    def versions(self) -> Versions:
        """The versions to start with: the current one, and the canary if one is named."""
        serving, name = self.load(None), self._settings.canary
        if name is None or name == serving.version:
            return Versions(serving, self._metrics)
        canary = self.load(name)
        check_alike(canary, serving)
        return Versions(serving, self._metrics, canary=canary, share=self._settings.canary_share)

    async def watch(self, versions: Versions) -> None:
        """Serve each new current version, until cancelled; setting `current` again retries a refused version."""
        seen = -1
        while True:
            mark = await asyncio.to_thread(self._mark)
            if mark != seen:
                seen = mark
                await self.look(versions)
            await asyncio.sleep(self._settings.poll_interval_s)

    async def look(self, versions: Versions) -> None:
        """Load the current version if it is new, and serve it; if that fails, keep the old one."""
        before = versions.serving
        try:
            current = await asyncio.to_thread(self.store.current)
            if current is None or current == before.version:
                return
            known = next((d.backend for _, d in versions.loaded() if d.version == current), None)
            loop = asyncio.get_running_loop()
            deployment = await loop.run_in_executor(self._thread, self._load, current, known)
            check_alike(deployment, before)
        except Exception as error:  # whatever it is, keep serving
            why = str(error) if isinstance(error, CapacityError) else kind_of(error)
            self._metrics.reloads.labels("refused").inc()
            say("version_refused", serving=before.version, why=why)
            return
        versions.serve(deployment)
        self._metrics.reloads.labels("swapped").inc()
        say("version_swapped", before=before.version, now=deployment.version)

    def _load(self, version: str | None, known: Predictor | None = None) -> Deployment:
        """A version, only warmed up again if it is in memory."""
        return deploy(
            known or Backend(self.store.load(version), threads=self._settings.threads), self._settings
        )

    def _mark(self) -> int:
        """Time when `current` was set; 0 without one."""
        with suppress(OSError):
            return (self.store.root / CURRENT).lstat().st_mtime_ns
        return 0


def check_alike(new: Deployment, serving: Deployment) -> None:
    """Refuse a version whose rows or answers have another form than those of the version it replaces."""
    takes, took = new.backend.features, serving.backend.features
    if takes != took or new.backend.classes != serving.backend.classes:
        raise InputError(
            f"version {new.version} has other features or classes than {serving.version} ({len(takes)} and "
            f"{len(took)} features); serve it by a server of its own"
        )


def step_back(nice: int) -> None:
    """Lower the priority of the calling thread, unless it is as low already: on Linux each thread has its own."""
    thread = threading.get_native_id()
    if nice:  # the process may have started with a lower one, and raising it takes a privilege
        os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))
