"""Load test: one schedule sent to a server, from an event loop of its own."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from capacity.plan import Routing
from measurements.balancer import Balancer
from measurements.clock import WallClock, precise_runner
from measurements.driver import LEAD_S, Driver
from measurements.http_client import Target, check_reachable, connected
from measurements.load_run import Journal
from measurements.metrics_watch import MetricsWatch

# `select` takes 1024 file descriptors, some of which are open already.
IN_FLIGHT_MAX = 900
_OTHER_FILES = 64


def connections_max() -> int:
    """Connections that may be open at once, of as many files as this process may have."""
    try:
        import resource
    except ImportError:  # elsewhere than on Unix
        return IN_FLIGHT_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return IN_FLIGHT_MAX
    return max(1, min(IN_FLIGHT_MAX, files - _OTHER_FILES))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """How schedules are sent.

    Attributes:
        routing: which url a request goes to, where there are several.
        in_flight_max: more requests at once end a run.
    """

    target: Target
    routing: Routing = Routing.ROUND_ROBIN
    in_flight_max: int = field(default_factory=connections_max)

    def balancer(self, seed: np.random.SeedSequence) -> Balancer:
        """A fresh one, with no request outstanding."""
        return Balancer(self.routing, len(self.target.urls), np.random.default_rng(seed))

    def run(self, journal: Journal, seed: np.random.SeedSequence, watch: MetricsWatch | None = None) -> None:
        """Send a schedule; an interrupt leaves in the journal what there is.

        Args:
            journal: of the schedule, nothing written yet.
            seed: of what the balancer leaves to chance.
            watch: of the servers meanwhile.

        Raises:
            DependencyError: the server does not answer.
            InputError: the server refuses the request.
        """
        with precise_runner() as runner, _calm_memory():
            runner.run(self._send(journal, self.balancer(seed), watch))

    async def _send(self, journal: Journal, balancer: Balancer, watch: MetricsWatch | None) -> None:
        async with connected(self.target) as send:
            await check_reachable(send, self.target)
            clock = WallClock()
            driver = Driver(send, balancer, clock, self.in_flight_max)
            if watch is None:
                await driver.run(journal)
                return
            looking = asyncio.create_task(watch.run(clock, clock.now_s() + LEAD_S))
            try:
                await driver.run(journal)
                if not journal.is_overflowed:
                    await looking
            finally:
                looking.cancel()


@contextmanager
def _calm_memory() -> Iterator[None]:
    """What is in memory already is not searched for garbage meanwhile, which would hold up requests."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
