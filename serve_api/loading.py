"""Loading: a version from the store to a deployment that is warm, or a refusal that says why not."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from serve_api.backend import OnnxBackend, warm_up
from serve_api.deployment import Deployment
from serve_api.inference_thread import step_back
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.settings import Settings

T = TypeVar("T")


class Artifact(Protocol):
    """A version that was read and checked."""

    @property
    def version(self) -> str:
        """Its name."""

    @property
    def model(self) -> bytes:
        """The bytes that were checked."""


class Store(Protocol):
    """Where versions come from."""

    def current(self) -> str | None:
        """The version that is to be served."""

    def load(self, version: str | None = None) -> Artifact:
        """A version; the current one where none is named."""


class Loader:
    """Loads versions for one server."""

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics

    def load(self, version: str | None = None) -> Deployment:
        """A version, warm; computed in a thread that has stepped back as far as the inference will.

        Raises:
            InputError: it is not fit to be served.
        """
        return _in_thread(lambda: self._load(version))

    def _load(self, version: str | None) -> Deployment:
        settings = self._settings
        step_back(settings.inference.nice)  # the threads of the runtime that it makes inherit it
        artifact = self._store.load(version)
        backend = OnnxBackend(artifact.model, version=artifact.version, threads=settings.inference.threads)
        warm_up(backend, settings.batch.size_max)
        return Deployment(backend, settings.breaker, self._metrics)

    def rollout(self) -> Rollout:
        """What is served at first: the current version, and the canary if one is named.

        Raises:
            InputError: one of them is not fit to be served.
        """
        wanted = self._settings.rollout
        serving = self.load()
        canary = None if wanted.canary in (None, serving.version) else self.load(wanted.canary)
        return Rollout(serving, self._metrics, canary=canary, canary_share=wanted.canary_share)


def _in_thread(work: Callable[[], T]) -> T:
    """What `work` gives or raises, in a thread that ends with it."""
    found: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="loader", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
