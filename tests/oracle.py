"""Oracle: the batching semantics of DESIGN once more, slow and plain, to hold the simulator against.

No SimPy and no event objects: it walks over every instant at which anything could happen, and does
at each, strictly in this order: completions (lowest replica first), dispatch by the replicas that
became idle, arrivals (all of the instant, users whose answer it brought included), dispatch by idle
replicas, timers.

Dispatch and timers ask one question, whether a batch is due: the queue holds `batch_size_max`
requests, or its timer has run for `batch_wait_max_s`: since the arrival of its oldest, or (batching
`torchserve`) since a replica was idle and somebody waited. The sum `since + wait` decides the latter.
Under `ray-serve` the queue is cut into groups by the arrivals alone, and the first group that is full or over is due.
With preferred sizes, as soon as the queue holds one of them, the largest such is the batch, unless the timer has run.

Replicas d*k to d*k + k - 1 share device d, and while m of them are busy each works at 1/slowdown(m): the
work of a batch is the time that it would take alone. A batch that starts later than the last one of its queue
ended, at any replica, or before any has, takes `wake_s` more.

With `outstanding_max` a balancer lets no more to a replica, and holds back the rest in one line. Round-robin passes over
full replicas; who is sent to a full one by another rule is held. Between dispatch and arrivals the replicas that became
idle are filled from that line, the lowest first.

Who arrives where `queue_limit` wait already, beyond what the idle replicas have room for, is lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws
from simulations.draws.service import ServiceTimes


@dataclass
class Outcome:
    """What became of every request, in order of arrival; of a lost one nothing did."""

    arrived_s: list[float] = field(default_factory=list)
    started_s: list[float] = field(default_factory=list)
    finished_s: list[float] = field(default_factory=list)
    batch_size: list[int] = field(default_factory=list)
    replica: list[int] = field(default_factory=list)

    def add(self, arrived_s: float) -> int:
        """The number of a request that arrives."""
        self.arrived_s.append(arrived_s)
        self.started_s.append(math.nan)
        self.finished_s.append(math.nan)
        self.batch_size.append(0)
        self.replica.append(-1)
        return len(self.arrived_s) - 1


@dataclass
class Line:
    """Who waits, oldest first; since when a replica has been idle before them (`torchserve`); the last end.

    Under `ray-serve` also the groups that are collected, each with the instant of its first request.
    """

    requests: list[int] = field(default_factory=list)
    open_since_s: float | None = None
    groups: list[tuple[float, list[int]]] = field(default_factory=list)
    ended_s: float = -math.inf


@dataclass
class Server:
    """A replica: what it serves, until when, and what was routed to it.

    It burdens its device from the start of a batch until it has nothing to serve. Of its batch `left_s` of
    work was left at `since_s`.
    """

    line: Line
    serving: list[int] = field(default_factory=list)
    finishes_s: float = math.inf
    outstanding: int = 0
    burdens: bool = False
    left_s: float = 0.0
    since_s: float = 0.0

    @property
    def is_idle(self) -> bool:
        return not self.serving


class Oracle:
    """One run, instant by instant."""

    def __init__(
        self,
        plan: BatchPlan,
        service_times: ServiceTimes,
        draws: Draws | ClosedDraws,
        slowdowns: Sequence[float],
    ) -> None:
        self.plan = plan
        self.service_times = service_times
        self.slowdowns = slowdowns
        self.service = [float(u) for u in draws.service]
        self.routing = [float(u) for u in draws.routing]
        shared = Line()
        is_shared = plan.routing == "shared-queue"
        self.servers = [Server(shared if is_shared else Line()) for _ in range(plan.replicas)]
        self.lines = [shared] if is_shared else [server.line for server in self.servers]
        self.outcome = Outcome()
        self.came_s: dict[int, float] = {}  # when requests came to their replicas
        self.held: list[int] = []
        self.turn = 0
        self.unchanged = list(
            range(plan.replicas)
        )  # whose count changed longest ago first, as HAProxy has them
        self.weights = [0] * plan.replicas  # as nginx has them
        self.think_s = [float(z) for z in draws.think_s] if isinstance(draws, ClosedDraws) else None
        if isinstance(draws, ClosedDraws):
            first_s = service_times(1, self.service[0])
            self.coming_s = [user / draws.users * first_s for user in range(draws.users)]
        else:
            self.coming_s = [float(t) for t in draws.arrived_s]

    def run(self) -> Outcome:
        now_s = -math.inf
        while (next_s := min((t for t in self.instants_s() if t > now_s), default=math.inf)) < math.inf:
            now_s = next_s
            self.at(now_s)
        return self.outcome

    def instants_s(self) -> list[float]:
        """When something could happen next."""
        waiting = [line for line in self.lines if line.requests]
        return [
            *self.coming_s,
            *(server.finishes_s for server in self.servers),
            *(self.deadline_s(line, r) for line in waiting for r in line.requests),
        ]

    def at(self, now_s: float) -> None:
        """Everything that happens at one instant."""
        for index in self.end_batches(now_s):
            while self.held and self.has_place(index):
                self.changed(index)
                self.join(index, self.held.pop(0), now_s)
        while now_s in self.coming_s:
            self.coming_s.remove(now_s)
            self.arrive(now_s)
        for index in range(self.plan.replicas):  # after the arrivals
            self.dispatch(index, now_s)
        for index in range(self.plan.replicas):  # the timers
            self.dispatch(index, now_s)
        for server in self.servers:
            if server.is_idle and server.line.requests and server.line.open_since_s is None:
                server.line.open_since_s = now_s

    def end_batches(self, now_s: float) -> list[int]:
        """Completions and their dispatches; returns the replicas whose batch ended."""
        became_idle = [index for index, server in enumerate(self.servers) if server.finishes_s == now_s]
        for index in became_idle:
            self.complete(index)
        for index in became_idle:
            self.dispatch(index, now_s)
        for index in became_idle:
            if self.servers[index].is_idle:
                self.burden(index, now_s, burdens=False)
        return became_idle

    def complete(self, index: int) -> None:
        server = self.servers[index]
        server.outstanding -= len(server.serving)
        self.changed(index)
        server.line.ended_s = server.finishes_s
        if self.think_s is not None:
            for request in server.serving:
                self.coming_s.append(server.finishes_s + self.think_s[request])
        for request in server.serving:
            self.outcome.finished_s[request] = server.finishes_s
        server.serving, server.finishes_s = [], math.inf

    def arrive(self, now_s: float) -> None:
        if len(self.outcome.arrived_s) == len(self.service):
            return  # a closed population has asked for all there are draws for
        request = self.outcome.add(now_s)
        index = self.route(request)
        if index is None or not self.has_place(index):
            self.held.append(request)
            return
        server = self.servers[index]
        self.changed(index)
        if self.plan.queue_limit is not None:
            idle = sum(other.is_idle for other in self.servers if other.line is server.line)
            if len(server.line.requests) + 1 > self.plan.queue_limit + idle * self.plan.batch_size_max:
                if self.think_s is not None:
                    self.coming_s.append(now_s + self.think_s[request])
                return
        self.join(index, request, now_s)

    def join(self, index: int, request: int, now_s: float) -> None:
        server = self.servers[index]
        self.came_s[request] = now_s
        server.line.requests.append(request)
        self.collect(server.line.groups, request, now_s)
        server.outstanding += 1

    def dispatch(self, index: int, now_s: float) -> None:
        server = self.servers[index]
        line = server.line
        if not server.is_idle or not self.is_due(line, now_s):
            return
        batch = line.requests[: self.batch_size(line, now_s)]
        del line.requests[: len(batch)], line.groups[:1]
        line.open_since_s = None
        busy = self.burden(index, now_s, burdens=True)
        server.serving = batch
        server.left_s, server.since_s = self.service_times(len(batch), self.service[batch[0]]), now_s
        if line.ended_s < now_s:
            server.left_s += self.service_times.wake_s
        server.finishes_s = now_s + server.left_s * self.slowdowns[busy - 1]
        for request in batch:
            self.outcome.started_s[request] = now_s
            self.outcome.batch_size[request] = len(batch)
            self.outcome.replica[request] = index

    def burden(self, index: int, now_s: float, *, burdens: bool) -> int:
        """How many burden the device of a replica from now on; the others' batches end sooner or later by it."""
        instances = len(self.slowdowns)
        first = index - index % instances
        neighbours = self.servers[first : first + instances]
        before = sum(server.burdens for server in neighbours)
        self.servers[index].burdens = burdens
        after = sum(server.burdens for server in neighbours)
        for server in neighbours:
            if server.serving and self.slowdowns[before - 1] != self.slowdowns[after - 1]:
                server.left_s -= (now_s - server.since_s) / self.slowdowns[before - 1]
                server.since_s = now_s
                ends_s = now_s + server.left_s * self.slowdowns[after - 1]
                server.finishes_s = ends_s if ends_s > now_s else math.nextafter(now_s, math.inf)
        return after

    def is_due(self, line: Line, now_s: float) -> bool:
        if not line.requests:
            return False
        is_full = len(line.requests) >= min(self.plan.batch_size_max, *self.plan.preferred_sizes, math.inf)
        if self.plan.batching == "ray-serve":
            is_full = len(line.groups[0][1]) == self.plan.batch_size_max
        return is_full or now_s >= self.deadline_s(line, line.requests[0], now_s)

    def deadline_s(self, line: Line, oldest: int, now_s: float = math.inf) -> float:
        """When the timer ends; a timer that has not begun would begin now."""
        if self.plan.batching == "ray-serve":
            since_s = next(opened_s for opened_s, group in line.groups if oldest in group)
        elif self.plan.batching == "torchserve":
            since_s = now_s if line.open_since_s is None else line.open_since_s
        else:
            since_s = self.came_s[oldest]
        return since_s + self.plan.batch_wait_max_s

    def collect(self, groups: list[tuple[float, list[int]]], request: int, now_s: float) -> None:
        """Cut the line of `ray-serve`: a request joins the last group, if that is neither full nor over."""
        if groups:
            opened_s, last = groups[-1]
            if len(last) < self.plan.batch_size_max and now_s <= opened_s + self.plan.batch_wait_max_s:
                last.append(request)
                return
        groups.append((now_s, [request]))

    def batch_size(self, line: Line, now_s: float) -> int:
        """Of a batch that starts now."""
        if self.plan.batching == "ray-serve":
            return len(line.groups[0][1])
        size = min(len(line.requests), self.plan.batch_size_max)
        is_over = now_s >= self.deadline_s(line, line.requests[0]) and self.plan.batch_wait_max_s > 0.0
        fitting = [one for one in self.plan.preferred_sizes if one <= size]
        return max(fitting) if fitting and not is_over else size

    def has_place(self, index: int) -> bool:
        most = self.plan.outstanding_max
        return most is None or self.servers[index].outstanding < most

    def route(self, request: int) -> int | None:
        """Index of the replica that the load balancer picks; None if round-robin finds none with a place."""
        count = self.plan.replicas
        u0, u1 = self.routing[2 * request : 2 * request + 2]
        if self.plan.routing == "round-robin":
            in_turn = [(self.turn + step) % count for step in range(count)]
            open_ones = [index for index in in_turn if self.has_place(index)]
            if not open_ones:
                return None
            self.turn = (open_ones[0] + 1) % count
            return open_ones[0]
        if self.plan.routing == "random":
            return math.floor(u0 * count)
        if self.plan.routing == "least-outstanding":
            return self.fewest_outstanding(range(count))
        if self.plan.routing == "power-of-two":
            first = math.floor(u0 * count)
            second = (first + 1 + math.floor(u1 * (count - 1))) % count
            return self.fewest_outstanding([first, second])
        if ":" in self.plan.routing:
            return self.route_of_balancer(u0, u1)
        return 0  # the shared queue is everybody's

    def fewest_outstanding(self, indices: "range | list[int]") -> int:
        return min(sorted(indices), key=lambda index: self.servers[index].outstanding)

    def route_of_balancer(self, u0: float, u1: float) -> int:
        """As HAProxy and nginx have it."""
        count = self.plan.replicas
        first, second = math.floor(u0 * count), math.floor(u1 * count)
        if self.plan.routing == "least-outstanding:haproxy":
            return min(self.unchanged, key=lambda index: self.servers[index].outstanding)
        if self.plan.routing == "least-outstanding:nginx":
            return self.in_smooth_turn()
        if self.plan.routing == "power-of-two:nginx":
            second = (first + 1 + math.floor(u1 * (count - 1))) % count
        return first if self.servers[second].outstanding > self.servers[first].outstanding else second

    def changed(self, index: int) -> None:
        """The balancer's count of a replica's requests has changed, if only up and down again."""
        self.unchanged.remove(index)
        self.unchanged.append(index)

    def in_smooth_turn(self) -> int:
        """As nginx's source has it, step by step, for weights of 1."""
        servers, best, many, total = self.servers, 0, False, 0
        for index in range(1, len(servers)):
            if servers[index].outstanding < servers[best].outstanding:
                best, many = index, False
            elif servers[index].outstanding == servers[best].outstanding:
                many = True
        if many:
            for index in range(best, len(servers)):
                if servers[index].outstanding == servers[best].outstanding:
                    self.weights[index] += 1
                    total += 1
                    if self.weights[index] > self.weights[best]:
                        best = index
        self.weights[best] -= total
        return best


def simulate(
    plan: BatchPlan,
    service_times: ServiceTimes,
    draws: Draws | ClosedDraws,
    slowdowns: Sequence[float] = (1.0,),
) -> Outcome:
    """What the semantics say becomes of every request."""
    return Oracle(plan, service_times, draws, slowdowns).run()
