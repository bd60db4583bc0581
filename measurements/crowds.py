"""Crowds of several sizes, one after another, and what they tell of a server's work beside its batches."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from capacity.errors import DependencyError
from measurements.address import Address
from measurements.crowd import CrowdRun, crowd
from measurements.http_exchange import HttpExchange
from measurements.request_work import BATCH_CPU
from measurements.sampling import Report
from measurements.window import scrape
from measurements.work_beside import Stretch, WorkBeside, work_beside

# Of a crowd: enough that a batch is always waiting, few enough that asking takes less than a core.
_USERS_PER_BATCH, _USERS_MAX = 2, 256
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

    def tell(self, alone: Stretch, batch_sizes: Sequence[int], report: Report) -> WorkBeside:
        """Crowds for batches of these sizes.

        Args:
            alone: batches that were served one at a time.

        Raises:
            DependencyError: a request failed.
            InconclusiveError: asking may have taken longer than answering.
        """
        counts = sorted({min(_USERS_PER_BATCH * size, _USERS_MAX) for size in batch_sizes})
        return work_beside(alone, [Stretch.of(run) for run in self._runs(counts, report)])

    def _runs(self, counts: Sequence[int], report: Report) -> Iterator[CrowdRun]:
        for users in counts:
            report(f"a crowd of {users} users")
            with ExitStack() as connections:
                exchanges = [
                    connections.enter_context(closing(HttpExchange(self.address, timeout_s=self.timeout_s)))
                    for _ in range(users)
                ]
                yield crowd(exchanges, self.body, _DURATION_S, self.computed_s)
