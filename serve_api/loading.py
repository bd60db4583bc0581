"""Loading: a version from its store to a deployment that is warm, or a refusal that says why not."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from capacity.errors import InputError
from serve_api.backend import OnnxBackend, warm_up
from serve_api.deployment import Deployment
from serve_api.inference_thread import step_back
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.settings import Settings
from serve_api.store import ArtifactStore

T = TypeVar("T")


class Loader:
    """Loads the versions of one server."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.store = ArtifactStore(settings.rollout.artifacts)
        self._settings = settings
        self._metrics = metrics

    def begin(self, version: str | None) -> Future[Deployment]:
        """Load a version, the current one where none is named, in a thread of its own.

        The future raises `CapacityError` if it is not fit to be served.
        """
        return in_thread(lambda: self._load(version))

    def rollout(self) -> Rollout:
        """What is served at first: the current version, and the canary if one is named.

        Raises:
            CapacityError: one of them is not fit to be served.
        """
        wanted = self._settings.rollout
        serving = self.begin(None).result()
        if wanted.canary is None or wanted.canary == serving.version:
            return Rollout(serving, self._metrics)
        canary = self.begin(wanted.canary).result()
        check_alike(canary, serving)
        return Rollout(serving, self._metrics, canary=canary, canary_share=wanted.canary_share)

    def _load(self, version: str | None) -> Deployment:
        settings = self._settings
        step_back(settings.inference.nice)  # what threads the runtime makes here inherit it
        artifact = self.store.load(version)
        threads = settings.inference.threads
        backend = OnnxBackend(artifact.model, version=artifact.version, threads=threads)
        warm_up(backend, settings.batch.size_max)
        return Deployment(backend, settings.breaker, self._metrics)


def check_alike(new: Deployment, serving: Deployment) -> None:
    """Whether one may take the place of the other.

    Raises:
        InputError: it takes other rows, so that requests in the queue would not fit.
    """
    if new.features != serving.features:
        raise InputError(
            f"version {new.version} takes {new.features} features and {serving.version} {serving.features}; "
            "serve it by a server of its own"
        )


def in_thread(work: Callable[[], T]) -> Future[T]:
    """What `work` gives or raises; a daemon thread, so that a disk that hangs does not keep the process."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return future
