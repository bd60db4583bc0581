"""Watcher: sees that another version has become current, and swaps without losing a request."""

import asyncio

from capacity.errors import CapacityError
from serve_api.loading import Loader, check_alike, in_thread
from serve_api.log import place_of, say
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.store import CURRENT

_Mark = tuple[str, int]


class Watcher:
    """Looks at `current` again and again.

    A version is loaded and warmed in a thread beside; the one that serves goes on meanwhile, and stays if the
    new one is not fit. A refused version is tried again when `current` is set anew.
    """

    def __init__(self, loader: Loader, rollout: Rollout, metrics: Metrics) -> None:
        self._loader = loader
        self._rollout = rollout
        self._metrics = metrics
        self._seen: _Mark | None = None

    async def watch(self, interval_s: float) -> None:
        """Go on until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(interval_s)

    async def look(self) -> None:
        """Serve the current version, if it is another one than at the last look."""
        try:
            mark = await asyncio.wrap_future(in_thread(self._mark))
            if mark == self._seen:
                return
            self._seen = mark
            await self._serve(await asyncio.wrap_future(in_thread(self._loader.store.current)))
        except CapacityError as error:
            self._refuse(str(error))
        except Exception as error:  # whatever it is, the version that serves goes on
            self._refuse(place_of(error))

    def _mark(self) -> _Mark:
        """Where `current` points to, and since when; nothing where there is none."""
        link = self._loader.store.root / CURRENT
        try:
            return str(link.readlink()), link.lstat().st_mtime_ns
        except OSError:
            return "", 0

    async def _serve(self, version: str | None) -> None:
        if version is None or version == self._rollout.serving.version:
            return
        deployment = self._rollout.find(version)
        if deployment is None:
            deployment = await asyncio.wrap_future(self._loader.begin(version))
        check_alike(deployment, self._rollout.serving)
        before = self._rollout.serving.version
        self._rollout.serve(deployment)
        self._metrics.reloads.labels("swapped").inc()
        say("version_swapped", before=before, now=version)

    def _refuse(self, why: str) -> None:
        self._metrics.reloads.labels("refused").inc()
        say("version_refused", serving=self._rollout.serving.version, why=why)
