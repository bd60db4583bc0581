"""salabim's models: components that request resources and take what they serve from a store.

Monitors of resources and traces are off, as its manual advises for speed; processes are generators, which
need no greenlets.
"""

import random
from collections.abc import Callable, Generator

import numpy as np
import salabim as sim
from systems import BATCHES, LEAST, MM8, Floats

Process = Generator[object, None, None]


class Customer(sim.Component):
    """A customer that waits for a unit of a resource, is served, and records its time."""

    def process(
        self, replicas: list[sim.Resource], candidates: Callable, responses_s: list[float]
    ) -> Process:
        chosen = min(candidates(replicas), key=_outstanding)
        yield self.request(chosen)
        yield self.hold(random.expovariate(1.0))
        self.release()
        responses_s.append(self.env.now() - self.creation_time())


class Server(sim.Component):
    """A server that takes batches; `door` lets one idle server at a time collect its batch."""

    def process(self, door: sim.Resource, queue: sim.Store, responses_s: list[float]) -> Process:
        while True:
            yield self.request(door)
            yield self.from_store(queue)
            batch = [self.from_store_item()]
            due_s = batch[0].creation_time() + BATCHES.batch_wait_max_s
            while len(batch) < len(BATCHES.batch_times_s):
                if not len(queue) and self.env.now() >= due_s:
                    break
                yield self.from_store(queue, fail_at=due_s, cap_now=True)
                if self.failed():
                    break
                batch.append(self.from_store_item())
            self.release(door)
            yield self.hold(BATCHES.batch_times_s[len(batch) - 1])
            responses_s.extend(self.env.now() - item.creation_time() for item in batch)


class Arrivals(sim.Component):
    def process(self, requests: int, rate_rps: float, arrive: Callable[[], object]) -> Process:
        for _ in range(requests):
            yield self.hold(random.expovariate(rate_rps))
            arrive()


def _outstanding(replica: sim.Resource) -> float:
    return replica.claimed_quantity() + len(replica.requesters())


def _environment(seed: int) -> sim.Environment:
    sim.yieldless(value=False)
    random.seed(seed)
    return sim.Environment(trace=False, random_seed="")


def _queues(
    seed: int, requests: int, rate_rps: float, capacities: list[int], candidates: Callable[[list], list]
) -> Floats:
    env, responses_s = _environment(seed), []
    replicas = [sim.Resource(capacity=capacity, monitor=False) for capacity in capacities]

    def arrive() -> None:
        Customer(replicas=replicas, candidates=candidates, responses_s=responses_s)

    Arrivals(requests=requests, rate_rps=rate_rps, arrive=arrive)
    env.run()
    return np.array(responses_s)


def shared_queue(seed: int, requests: int) -> Floats:
    return _queues(seed, requests, MM8.rate_rps, [MM8.replicas], lambda replicas: replicas)


def least_outstanding(seed: int, requests: int) -> Floats:
    return _queues(seed, requests, LEAST.rate_rps, [1] * LEAST.replicas, lambda replicas: replicas)


def power_of_two(seed: int, requests: int) -> Floats:
    return _queues(
        seed, requests, LEAST.rate_rps, [1] * LEAST.replicas, lambda replicas: random.sample(replicas, 2)
    )


def batches(seed: int, requests: int) -> Floats:
    env, responses_s = _environment(seed), []
    door, queue = sim.Resource(monitor=False), sim.Store(monitor=False)
    for _ in range(BATCHES.replicas):
        Server(door=door, queue=queue, responses_s=responses_s)
    Arrivals(requests=requests, rate_rps=BATCHES.rate_rps, arrive=lambda: sim.Component().enter(queue))
    env.run()
    return np.array(responses_s)
