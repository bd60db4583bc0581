"""Batches: replicas that serve batches, as a run of the recovery kernel has them."""

import numpy as np

from capacity.traffic.clients import Clients
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.records import Floats, Integers
from simulations.draws.service import FIXED, KNOTS, SCALED, ServiceTable
from simulations.draws.watching import Sight
from simulations.kernel.batching import rules_of, sizes_of
from simulations.kernel.recovery.queue import JOB, QUEUE, TIMES, Batches
from simulations.kernel.recovery.replica import advance
from simulations.kernel.recovery.state import NO_ONE, World
from simulations.kernel.state import Structs


class BatchServers:
    """Replicas of one fleet with their queues; a `run.Servers`."""

    def __init__(self, fleet: BatchFleet, draws: AttemptDraws, clients: Clients) -> None:
        plan = fleet.plan
        table = fleet.service_times.table(plan.batch_size_max)
        self._table = table.require(plan.batch_size_max)
        self._state = Batches(
            plan=rules_of(plan),
            sizes=sizes_of(plan),
            times=_times(fleet, table),
            queues=_queues(1 if fleet.is_shared else plan.replicas, plan.batch_size_max),
            jobs=np.zeros(plan.replicas, dtype=JOB),
            slowdowns=np.array(fleet.slowdowns),
            service=self._service(draws),
            law_places=np.concatenate([table.below, table.first]),
            law_values=np.concatenate([_by_size(table), table.probabilities, table.durations_s]),
        )

    @property
    def moves(self) -> int:
        """How many events one start makes at most: its own, and the ends of others on its device."""
        return 2 * len(self._state.slowdowns)

    def advance(self, w: World, until_s: float) -> int:
        """Let things happen; see `loop.run_loop`."""
        return advance(w, self._state, until_s)

    def grow(self, attempts: int) -> None:
        """Batches and queues are lists of attempts, which need no memory of their own."""

    def take(self, draws: AttemptDraws) -> None:
        """The draws of all requests, where those so far were only of the first ones."""
        self._state = self._state._replace(service=self._service(draws))

    def waiting(self, w: World) -> Integers:
        """Attempts in each queue."""
        return self._state.queues["waiting"].copy()

    def records(self, w: World) -> None:
        """None, as batches have no tokens."""

    def sight(self, w: World, now_s: float) -> Sight:
        """Replicas as a watcher sees them."""
        replicas = w.replicas
        so_far_s = np.where(replicas["size"] > 0, now_s - replicas["began_s"], 0.0)
        return Sight(now_s, self.waiting(w), replicas["size"].copy(), replicas["busy_s"] + so_far_s)

    def _service(self, draws: AttemptDraws) -> Floats:
        """Uniforms, or durations of mean 1 made from them, or nothing where no draw is needed."""
        service, table = draws.service, self._table
        if table.kind == FIXED:
            return np.zeros(service.shape)
        if table.kind == SCALED and table.draw is not None:
            service = table.draw(service)
        return np.ascontiguousarray(service)


def _times(fleet: BatchFleet, table: ServiceTable) -> Structs:
    """The law of the service times in numbers, shape `(1,)`."""
    times, cold = np.zeros(1, dtype=TIMES), fleet.cold
    times["law"], times["sizes"], times["knots"] = table.kind, len(_by_size(table)), len(table.probabilities)
    times["wake_s"] = table.wake_s
    if cold is not None:
        times["cold_batches"], times["cold_factor"] = cold.batches, cold.factor
    return times


def _by_size(table: ServiceTable) -> Floats:
    """What a law says of each batch size: its time, or its weight between two measured ones."""
    return table.weight if table.kind == KNOTS else table.times_s


def _queues(count: int, size_max: int) -> Structs:
    """Empty queues, in which no batch is collected."""
    queues = np.zeros(count, dtype=QUEUE)
    queues["head"] = queues["tail"] = queues["timed"] = NO_ONE
    queues["ended_s"], queues["is_reset"] = -np.inf, True
    queues["joined"], queues["closes_s"] = size_max, np.inf
    return queues
