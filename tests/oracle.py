"""Oracle: the batching semantics of DESIGN once more, slow and plain, to hold the simulator against.

No SimPy and no event objects: it walks over every instant at which anything could happen, and does
at each, strictly in this order: completions (lowest replica first), dispatch by the replicas that
became idle, arrivals (all of the instant), dispatch by idle replicas, timers.

Dispatch and timers ask one question, whether a batch is due: the queue holds `batch_size_max`
requests, or its oldest has waited `batch_wait_max_s`. The sum `arrived + wait` decides the latter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from capacity.plan import Plan
from simulations.arrivals import Draws


@dataclass(frozen=True)
class Outcome:
    """What became of every request, in order of arrival; fields have the shape `(requests,)`."""

    started_s: list[float]
    finished_s: list[float]
    batch_size: list[int]
    replica: list[int]


@dataclass
class Server:
    """A replica: what it serves, until when, and what was routed to it."""

    queue: list[int]
    serving: list[int] = field(default_factory=list)
    finishes_s: float = math.inf
    outstanding: int = 0

    @property
    def is_idle(self) -> bool:
        return not self.serving


class Oracle:
    """One run, instant by instant."""

    def __init__(self, plan: Plan, service_times: Callable[[int, float], float], draws: Draws) -> None:
        self.plan = plan
        self.service_times = service_times
        self.arrived_s = [float(instant_s) for instant_s in draws.arrived_s]
        self.service = [float(u) for u in draws.service]
        self.routing = [float(u) for u in draws.routing]
        shared: list[int] = []
        is_shared = plan.routing == "shared-queue"
        self.servers = [Server(shared if is_shared else []) for _ in range(plan.replicas)]
        count = len(self.arrived_s)
        self.outcome = Outcome([math.nan] * count, [math.nan] * count, [0] * count, [-1] * count)

    def run(self) -> Outcome:
        known = {*self.arrived_s, *(instant_s + self.plan.batch_wait_max_s for instant_s in self.arrived_s)}
        now_s = -math.inf
        while True:
            finishes = {server.finishes_s for server in self.servers}
            coming = [instant_s for instant_s in known | finishes if now_s < instant_s < math.inf]
            if not coming:
                return self.outcome
            now_s = min(coming)
            self.at(now_s)

    def at(self, now_s: float) -> None:
        """Everything that happens at one instant."""
        became_idle = [index for index, server in enumerate(self.servers) if server.finishes_s == now_s]
        for index in became_idle:
            self.complete(index)
        for index in became_idle:
            self.dispatch(index, now_s)
        for request, instant_s in enumerate(self.arrived_s):
            if instant_s == now_s:
                self.arrive(request)
        for index in range(self.plan.replicas):  # after the arrivals
            self.dispatch(index, now_s)
        for index in range(self.plan.replicas):  # the timers
            self.dispatch(index, now_s)

    def complete(self, index: int) -> None:
        server = self.servers[index]
        server.outstanding -= len(server.serving)
        server.serving, server.finishes_s = [], math.inf

    def arrive(self, request: int) -> None:
        server = self.servers[self.route(request)]
        server.queue.append(request)
        server.outstanding += 1

    def dispatch(self, index: int, now_s: float) -> None:
        server = self.servers[index]
        if not server.is_idle or not self.is_due(server.queue, now_s):
            return
        batch = server.queue[: self.plan.batch_size_max]
        del server.queue[: self.plan.batch_size_max]
        server.serving = batch
        server.finishes_s = now_s + self.service_times(len(batch), self.service[batch[0]])
        for request in batch:
            self.outcome.started_s[request] = now_s
            self.outcome.finished_s[request] = server.finishes_s
            self.outcome.batch_size[request] = len(batch)
            self.outcome.replica[request] = index

    def is_due(self, queue: list[int], now_s: float) -> bool:
        if not queue:
            return False
        is_full = len(queue) >= self.plan.batch_size_max
        return is_full or now_s >= self.arrived_s[queue[0]] + self.plan.batch_wait_max_s

    def route(self, request: int) -> int:
        """Index of the replica that the load balancer picks."""
        count = self.plan.replicas
        u0, u1 = self.routing[2 * request : 2 * request + 2]
        if self.plan.routing == "round-robin":
            return request % count
        if self.plan.routing == "random":
            return math.floor(u0 * count)
        if self.plan.routing == "least-outstanding":
            return self.fewest_outstanding(range(count))
        if self.plan.routing == "power-of-two":
            first = math.floor(u0 * count)
            second = (first + 1 + math.floor(u1 * (count - 1))) % count
            return self.fewest_outstanding([first, second])
        return 0  # the shared queue is everybody's

    def fewest_outstanding(self, indices: "range | list[int]") -> int:
        return min(sorted(indices), key=lambda index: self.servers[index].outstanding)


def simulate(plan: Plan, service_times: Callable[[int, float], float], draws: Draws) -> Outcome:
    """What the semantics say becomes of every request."""
    return Oracle(plan, service_times, draws).run()
