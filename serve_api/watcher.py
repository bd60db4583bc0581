"""Watcher: sees that another version has become current, and swaps without losing a request."""

import asyncio
import time

from capacity.errors import CapacityError, InputError
from serve_api.loading import Loader, check_alike, in_thread
from serve_api.log import place_of, say
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.store import CURRENT

_Mark = tuple[str, int]
_PAUSE_MIN_S, _PAUSE_MAX_S = 1.0, 60.0


class Watcher:
    """Looks at `current` again and again.

    A version is loaded and warmed in a thread beside; the one that serves goes on meanwhile, and stays if the
    new one is not fit. A version that is not fit is tried again when `current` is set anew; where it was the
    disk, or nobody knows what, it is tried again after a pause that doubles each time.
    """

    def __init__(self, loader: Loader, rollout: Rollout, metrics: Metrics) -> None:
        self._loader = loader
        self._rollout = rollout
        self._metrics = metrics
        self._seen: _Mark | None = None
        self._pause_s = _PAUSE_MIN_S
        self._again_s: float | None = None  # None where there is nothing to be tried again

    async def watch(self, interval_s: float) -> None:
        """Go on until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(interval_s)

    async def look(self) -> None:
        """Serve the current version, if it is another one than at the last look."""
        try:
            mark = await asyncio.wrap_future(in_thread(self._mark))
            if mark == self._seen and not self._is_again_due():
                return
            if mark != self._seen:
                self._seen, self._pause_s = mark, _PAUSE_MIN_S
            self._again_s = None
            await self._serve(await asyncio.wrap_future(in_thread(self._loader.store.current)))
        except InputError as error:
            self._refuse(str(error))
        except CapacityError as error:
            self._refuse(str(error), again_in_s=self._pause())
        except Exception as error:  # whatever it is, the version that serves goes on
            self._refuse(place_of(error), again_in_s=self._pause())

    def _mark(self) -> _Mark:
        """Where `current` points to, and since when; nothing where there is none."""
        link = self._loader.store.root / CURRENT
        try:
            return str(link.readlink()), link.lstat().st_mtime_ns
        except OSError:
            return "", 0

    def _is_again_due(self) -> bool:
        return self._again_s is not None and time.monotonic() >= self._again_s

    def _pause(self) -> float:
        """Until the next try; the one after it will be twice as long."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _PAUSE_MAX_S)
        self._again_s = time.monotonic() + pause_s
        return pause_s

    async def _serve(self, version: str | None) -> None:
        if version is None or version == self._rollout.serving.version:
            return
        known = self._rollout.find(version)  # it may have failed meanwhile, or hung
        loading = self._loader.begin(version) if known is None else self._loader.renew(known)
        deployment = await asyncio.wrap_future(loading)
        check_alike(deployment, self._rollout.serving)
        before = self._rollout.serving.version
        self._rollout.serve(deployment)
        self._metrics.reloads.labels("swapped").inc()
        say("version_swapped", before=before, now=version)

    def _refuse(self, why: str, again_in_s: float | None = None) -> None:
        # One that was warm before it was refused has series already.
        self._metrics.keep({deployment.version for _, deployment in self._rollout.loaded()})
        self._metrics.reloads.labels("refused").inc()
        say("version_refused", serving=self._rollout.serving.version, why=why, again_in_s=again_in_s)
