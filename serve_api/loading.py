"""Loading: a version from its store to a deployment that is warm, or a refusal that says why not."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from capacity.errors import InputError
from capacity.reading import printable
from serve_api.backend import WARM_UP_RUNS, Backend, OnnxBackend, warm_up
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
        return self._in_thread(lambda: self._load(version))

    def renew(self, deployment: Deployment) -> Future[Deployment]:
        """A version that is in memory, warm again and its circuit closed, since it answers; as `begin`."""
        return self._in_thread(lambda: self._warm(deployment.backend))

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
        artifact = self.store.load(version)
        backend = OnnxBackend(
            artifact.model,
            version=artifact.version,
            features=artifact.metadata.features,
            threads=self._settings.inference.threads,
        )
        return self._warm(backend)

    def _warm(self, backend: Backend) -> Deployment:
        """In a thread beside, since a model may hang as well as fail."""
        settings = self._settings
        time_max_s = 2 * WARM_UP_RUNS * settings.inference.time_max_s
        try:
            self._in_thread(partial(warm_up, backend, settings.batch.size_max)).result(time_max_s)
        except TimeoutError:
            raise InputError(
                f"version {backend.version}: is not warm after {time_max_s:g} s; train it anew, or raise "
                "--inference-time-max"
            ) from None
        return Deployment(backend, settings.breaker, self._metrics)

    def _in_thread(self, work: Callable[[], T]) -> Future[T]:
        """Stepped back as inference is; what threads the runtime makes there inherit it."""

        def stepped_back() -> T:
            step_back(self._settings.inference.nice)
            return work()

        return in_thread(stepped_back)


def check_alike(new: Deployment, serving: Deployment) -> None:
    """Whether one may take the place of the other.

    Raises:
        InputError: it takes other rows, so that requests would be answered wrongly, or gives other answers.
    """
    takes, took = new.backend.features, serving.backend.features
    if len(takes) != len(took):
        raise InputError(
            f"version {new.version} takes {len(takes)} features and {serving.version} {len(took)}; "
            "serve it by a server of its own"
        )
    for index, (name, before) in enumerate(zip(takes, took, strict=True)):
        if name != before:
            raise InputError(
                f"feature {index} of version {new.version} is {_shown(name)} and of {serving.version} "
                f"{_shown(before)}; serve it by a server of its own"
            )
    if new.backend.classes != serving.backend.classes:
        raise InputError(
            f"version {new.version} tells {new.backend.classes} classes apart and {serving.version} "
            f"{serving.backend.classes}; serve it by a server of its own"
        )


def in_thread(work: Callable[[], T]) -> Future[T]:
    """What `work` gives or raises; a daemon thread, so that a disk that hangs does not keep the process."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who gives it up does not keep it from ending

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return future


def _shown(name: str) -> str:
    return repr(printable(name)[:40])
