"""cimba's models: processes that numba compiles for a C engine; each request leaves a sample in a dataset.

A trial ends when no event is left: arrivals stop after a number of requests.
"""

import cimba as cb
import numpy as np
from cimba import inputs
from systems import BATCHES, LEAST, MM8, Floats

SIZE_MAX = len(BATCHES.batch_times_s)
WAIT_MAX_S = BATCHES.batch_wait_max_s
TIMES_S = np.array((0.0, *BATCHES.batch_times_s))


class SharedQueue(cb.Model):
    """M/M/8: arrivals leave their time in a store, from which servers take it."""

    requests: cb.Param[int]
    gap: cb.Input[float] = inputs.dist.exponential(mean=1.0 / MM8.rate_rps)
    service: cb.Input[float] = inputs.dist.exponential(mean=1.0)
    queue: cb.Store[float]
    responses: cb.Dataset = cb.Dataset()

    @cb.process
    def arrivals(self):
        for _ in range(self.requests):
            cb.hold(self.gap.next())
            self.queue.put(cb.now())

    @cb.process(copies=MM8.replicas)
    def server(self):
        while True:
            arrived_s = self.queue.get()
            cb.hold(self.service.next())
            self.responses.record(cb.now() - arrived_s)


class Batches(cb.Model):
    """Batches: the door lets one idle server at a time collect its batch."""

    requests: cb.Param[int]
    gap: cb.Input[float] = inputs.dist.exponential(mean=1.0 / BATCHES.rate_rps)
    queue: cb.Store[float]
    waiting: int = 0  # in the queue: a store of floats has no length
    door: cb.Resource = cb.Resource(capacity=1)
    full: cb.Condition = cb.Condition()
    responses: cb.Dataset = cb.Dataset()

    @cb.predicate
    def is_full(self) -> bool:
        return self.waiting >= SIZE_MAX - 1

    @cb.process
    def arrivals(self):
        for _ in range(self.requests):
            cb.hold(self.gap.next())
            self.queue.put(cb.now())
            self.waiting += 1
            if self.waiting >= SIZE_MAX - 1:
                self.full.signal()

    @cb.process(copies=BATCHES.replicas)
    def server(self):
        batch = np.empty(SIZE_MAX)
        while True:
            self.door.acquire()
            batch[0] = self.queue.get()
            self.waiting -= 1
            self.full.wait_until(self.is_full, max(0.0, batch[0] + WAIT_MAX_S - cb.now()))
            size = min(SIZE_MAX, 1 + self.waiting)
            for k in range(1, size):
                batch[k] = self.queue.get()
            self.waiting -= size - 1
            self.door.release()
            cb.hold(TIMES_S[size])
            for k in range(size):
                self.responses.record(cb.now() - batch[k])


class Replica(cb.Model):
    """One of many servers with a queue each."""

    service: cb.Input[float] = inputs.dist.exponential(mean=1.0)
    queue: cb.Store[float]
    outstanding: int = 0
    responses: cb.Ref[cb.Dataset]

    @cb.process
    def server(self):
        while True:
            arrived_s = self.queue.get()
            cb.hold(self.service.next())
            self.responses.record(cb.now() - arrived_s)
            self.outstanding -= 1


class OwnQueues(cb.Model):
    """The balancer in front of the replicas; `route` is its rule."""

    requests: cb.Param[int]
    gap: cb.Input[float] = inputs.dist.exponential(mean=1.0 / LEAST.rate_rps)
    replicas: list[Replica]
    responses: cb.Dataset = cb.Dataset()

    def __init__(self):
        self.replicas = [Replica() for _ in range(LEAST.replicas)]
        for replica in self.replicas:
            replica.responses = self.responses

    @cb.function
    def route(self) -> int:
        """The replica of the next request; each subclass is one rule."""
        raise NotImplementedError

    @cb.process
    def arrivals(self):
        for _ in range(self.requests):
            cb.hold(self.gap.next())
            replica = self.replicas[self.route()]
            replica.outstanding += 1
            replica.queue.put(cb.now())


class LeastOutstanding(OwnQueues):
    """The replica with the fewest requests, the first of those."""

    @cb.function
    def route(self) -> int:
        chosen = 0
        for k in range(1, len(self.replicas)):
            if self.replicas[k].outstanding < self.replicas[chosen].outstanding:
                chosen = k
        return chosen


class PowerOfTwo(OwnQueues):
    """The better of two different replicas, drawn again for each request."""

    @cb.function
    def route(self) -> int:
        count = len(self.replicas)
        first = int(cb.random.uniform(0.0, count))
        second = (first + 1 + int(cb.random.uniform(0.0, count - 1))) % count
        if self.replicas[second].outstanding < self.replicas[first].outstanding:
            return second
        return first


def _responses_s(model: cb.Model, seed: int, requests: int) -> Floats:
    model.requests = requests
    model.responses.capture()
    results = cb.Experiment(model, seed=seed).run(workers=1)
    return results[model].responses.trial(0, 0)[1]


def shared_queue(seed: int, requests: int) -> Floats:
    return _responses_s(SharedQueue(), seed, requests)


def batches(seed: int, requests: int) -> Floats:
    return _responses_s(Batches(), seed, requests)


def least_outstanding(seed: int, requests: int) -> Floats:
    return _responses_s(LeastOutstanding(), seed, requests)


def power_of_two(seed: int, requests: int) -> Floats:
    return _responses_s(PowerOfTwo(), seed, requests)
