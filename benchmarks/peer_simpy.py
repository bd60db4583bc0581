"""SimPy's models, as a newcomer writes them from its documentation: resources, stores and timeouts."""

import random
from collections.abc import Callable, Generator

import numpy as np
import simpy
from systems import BATCHES, LEAST, MM8, Floats

Process = Generator[simpy.Event, object, None]


def _arrivals(
    env: simpy.Environment, requests: int, rate_rps: float, arrive: Callable[[], object]
) -> Process:
    for _ in range(requests):
        yield env.timeout(random.expovariate(rate_rps))
        arrive()


def _served(env: simpy.Environment, servers: simpy.Resource, responses_s: list[float]) -> Process:
    arrived_s = env.now
    with servers.request() as turn:
        yield turn
        yield env.timeout(random.expovariate(1.0))
    responses_s.append(env.now - arrived_s)


def shared_queue(seed: int, requests: int) -> Floats:
    random.seed(seed)
    env, responses_s = simpy.Environment(), []
    servers = simpy.Resource(env, capacity=MM8.replicas)
    env.process(
        _arrivals(env, requests, MM8.rate_rps, lambda: env.process(_served(env, servers, responses_s)))
    )
    env.run()
    return np.array(responses_s)


def _batching(
    env: simpy.Environment, door: simpy.Resource, queue: simpy.Store, responses_s: list[float]
) -> Process:
    """One server; `door` lets one idle server at a time collect its batch."""
    while True:
        with door.request() as turn:
            yield turn
            batch = [(yield queue.get())]
            timer = env.timeout(max(0.0, batch[0] + BATCHES.batch_wait_max_s - env.now))
            while len(batch) < len(BATCHES.batch_times_s):
                item = queue.get()
                yield item | timer
                if not item.triggered:
                    item.cancel()
                    break
                batch.append(item.value)
        yield env.timeout(BATCHES.batch_times_s[len(batch) - 1])
        responses_s.extend(env.now - arrived_s for arrived_s in batch)


def batches(seed: int, requests: int) -> Floats:
    random.seed(seed)
    env, responses_s = simpy.Environment(), []
    door, queue = simpy.Resource(env), simpy.Store(env)
    env.process(_arrivals(env, requests, BATCHES.rate_rps, lambda: queue.put(env.now)))
    for _ in range(BATCHES.replicas):
        env.process(_batching(env, door, queue, responses_s))
    env.run()
    return np.array(responses_s)


def _outstanding(replica: simpy.Resource) -> int:
    return replica.count + len(replica.queue)


def _own_queues(seed: int, requests: int, candidates: Callable[[list], list]) -> Floats:
    random.seed(seed)
    env, responses_s = simpy.Environment(), []
    replicas = [simpy.Resource(env) for _ in range(LEAST.replicas)]

    def arrive() -> None:
        env.process(_served(env, min(candidates(replicas), key=_outstanding), responses_s))

    env.process(_arrivals(env, requests, LEAST.rate_rps, arrive))
    env.run()
    return np.array(responses_s)


def least_outstanding(seed: int, requests: int) -> Floats:
    return _own_queues(seed, requests, lambda replicas: replicas)


def power_of_two(seed: int, requests: int) -> Floats:
    return _own_queues(seed, requests, lambda replicas: random.sample(replicas, 2))
