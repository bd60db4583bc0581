"""Crowds of several sizes, one after another, and what they tell of a server's work beside its batches."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

from capacity.errors import DependencyError
from measurements.address import Address
from measurements.crowd import CrowdRun, Manner, crowd
from measurements.http_exchange import HttpExchange
from measurements.request_work import BATCH_CPU
from measurements.sampling import Report
from measurements.window import scrape
from measurements.work_beside import Stretch, WorkBeside, work_beside

# Users of a crowd for batches of a size, and how long each thinks, in times of such a batch: together they
# keep a server busy for seven tenths of its time or so, and come as irregularly as strangers.
_USERS_PER_REQUEST, _USERS_MAX = 4, 256
_THINK_BATCHES = 4.2
# More requests a second take a core for asking; where batches are quick, users think longer, and more of the
# server's time is its own.
_RATE_MAX_RPS = 1500.0
_DURATION_S = 3.0


@dataclass(slots=True, kw_only=True)
class Crowds:
    """A server, and how to ask it.

    Attributes:
        body: a request of one row.
        counters: where its metrics are.
    """

    address: Address
    body: bytes
    counters: HttpExchange
    timeout_s: float

    def computed_s(self) -> float:
        """CPU time that its inference thread has taken so far. [s]

        Raises:
            DependencyError: it does not tell.
        """
        total_s = scrape(self.counters).total(BATCH_CPU)
        if total_s is None:
            raise DependencyError(
                f"the metrics have no {BATCH_CPU}, without which work beside batches cannot be told from "
                "them; leave out --counters, and give --request-work if you know it"
            )
        return total_s

    def tell(self, alone: Stretch, means_s: Mapping[int, float], report: Report) -> WorkBeside:
        """Crowds for batches of several sizes.

        Args:
            alone: batches that were served one at a time.
            means_s: their mean time by batch size. [s]

        Raises:
            DependencyError: a request failed.
            InconclusiveError: asking may have taken longer than answering.
        """
        runs = [self._run(size, mean_s, report) for size, mean_s in sorted(means_s.items())]
        return work_beside(alone, [Stretch.of(run) for run in runs])

    def _run(self, batch_size: int, mean_s: float, report: Report) -> CrowdRun:
        users = min(_USERS_PER_REQUEST * batch_size, _USERS_MAX)
        report(f"a crowd of {users} users")
        think_s = _THINK_BATCHES * mean_s * users / (_USERS_PER_REQUEST * batch_size)
        manner = Manner(
            body=self.body,
            think_s=max(think_s, users / _RATE_MAX_RPS),
            duration_s=_DURATION_S,
            seed=batch_size,
        )
        with ExitStack() as connections:
            exchanges = [
                connections.enter_context(closing(HttpExchange(self.address, timeout_s=self.timeout_s)))
                for _ in range(users)
            ]
            return crowd(exchanges, manner, self.computed_s)
