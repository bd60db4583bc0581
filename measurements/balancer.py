"""Balancer: picks the replica for a request as the load balancer of a plan would; ties to the lowest."""

from collections.abc import Callable, Iterator

import numpy as np

from capacity.errors import InputError
from capacity.plan import Routing

_UNIFORMS_AT_ONCE = 4096


class Balancer:
    """Picks among replicas, and knows how many requests each has not answered yet.

    One replica is sent everything, whatever the routing: what is behind it is its own affair.

    Raises:
        InputError: several replicas behind one queue, which nobody but their own balancer can have.
    """

    def __init__(self, routing: Routing, replicas: int, generator: np.random.Generator) -> None:
        if routing is Routing.SHARED_QUEUE and replicas > 1:
            raise InputError(
                f"{replicas} urls cannot share a queue, which a balancer in front of them would hold; give "
                "the one --url of that balancer, or another --routing"
            )
        self.outstanding = [0] * replicas
        self._generator = generator
        self._uniforms: Iterator[float] = iter(())
        self._sent = 0
        self._choose: Callable[[], int] = {
            Routing.ROUND_ROBIN: self._round_robin,
            Routing.RANDOM: self._random,
            Routing.LEAST_OUTSTANDING: self._least_outstanding,
            Routing.POWER_OF_TWO: self._power_of_two,
            Routing.SHARED_QUEUE: self._round_robin,
        }[routing]

    def pick(self) -> int:
        """The replica for the next request, which is outstanding from now on."""
        replica = self._choose()
        self._sent += 1
        self.outstanding[replica] += 1
        return replica

    def release(self, replica: int) -> None:
        """One of its requests has ended."""
        self.outstanding[replica] -= 1

    def _round_robin(self) -> int:
        return self._sent % len(self.outstanding)

    def _random(self) -> int:
        return int(self._uniform() * len(self.outstanding))

    def _least_outstanding(self) -> int:
        return self.outstanding.index(min(self.outstanding))

    def _power_of_two(self) -> int:
        """The less busy one of two different replicas at random."""
        count, outstanding = len(self.outstanding), self.outstanding
        first = int(self._uniform() * count)
        second = (first + 1 + int(self._uniform() * (count - 1))) % count
        return min((outstanding[first], first), (outstanding[second], second))[1]

    def _uniform(self) -> float:
        """One of a block, since one at a time costs ten times as much."""
        for uniform in self._uniforms:
            return uniform
        self._uniforms = iter(self._generator.random(_UNIFORMS_AT_ONCE).tolist())
        return next(self._uniforms)
