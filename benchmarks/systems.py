"""Systems: the four that the engines of `engines.py` are timed on, and their contestants."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.question.plan import Routing
from capacity.queues.markov.mmc import MMc
from capacity.server.batch.plan import BatchPlan

Floats = NDArray[np.float64]
Run = Callable[[int, int], Floats]  # seed, requests -> the response time of each request. [s]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One fleet and its load.

    Attributes:
        batch_times_s: service of batches of 1, 2, ...; empty if service is exponential with mean 1 s. [s]
        warm_up: number of requests after which the fleet has forgotten that it began empty.
        p99_s: exact P99; None if no law gives it. [s]
    """

    name: str
    rate_rps: float
    replicas: int
    routing: Routing
    warm_up: int
    batch_times_s: tuple[float, ...] = ()
    batch_wait_max_s: float = 0.0
    p99_s: float | None = None

    @property
    def plan(self) -> BatchPlan:
        return BatchPlan(
            profile="benchmark",
            replicas=self.replicas,
            batch_size_max=max(1, len(self.batch_times_s)),
            batch_wait_max_s=self.batch_wait_max_s,
            routing=self.routing,
        )


def own_queues(routing: Routing) -> System:
    return System(
        name=f"16 x M/M/1, {routing}", rate_rps=0.8 * 16, replicas=16, routing=routing, warm_up=4_000
    )


MM8 = System(
    name="M/M/8",
    rate_rps=0.8 * 8,
    replicas=8,
    routing=Routing.SHARED_QUEUE,
    warm_up=1_000,
    p99_s=MMc(arrival_rate_rps=0.8 * 8, service_rate_rps=1.0, servers=8).response_quantile_s(0.99),
)
_TIMES_S = tuple(1e-3 * (2.0 + 0.5 * size) for size in range(1, 17))
BATCHES = System(
    name="batches",
    rate_rps=0.7 * 4 * len(_TIMES_S) / _TIMES_S[-1],
    replicas=4,
    routing=Routing.SHARED_QUEUE,
    warm_up=1_000,
    batch_times_s=_TIMES_S,
    batch_wait_max_s=0.005,
)
LEAST = own_queues(Routing.LEAST_OUTSTANDING)
TWO = own_queues(Routing.POWER_OF_TWO)
SYSTEMS = (MM8, BATCHES, LEAST, TWO)


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine for a system.

    Attributes:
        requests: number in one round of timing, which takes some tenths of a second.
        run: serves this many requests from an empty fleet, drawing all random numbers itself; its responses come in
            order of arrival or of completion. [s]
    """

    name: str
    system: System
    requests: int
    run: Run
