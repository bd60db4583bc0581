"""Population: users who each wait for the answer, think, and send again, in place of an arrival process."""

from collections.abc import Callable

from simulations.draws.arrivals import ClosedDraws
from simulations.draws.records import Batch
from simulations.reference.replica import Clock, Moment, Phase, Replica


class Population:
    """A closed population in front of the fleet.

    A request is its number in order of arrival, and so are its draws: after request i, its user
    thinks for the i-th think time. Users are alike, so it does not matter which of them sends.
    No request comes once all that have draws have come.
    """

    def __init__(
        self,
        clock: Clock,
        draws: ClosedDraws,
        arrived_s: list[float],
        batches: list[Batch],
        route: Callable[[int], Replica],
    ) -> None:
        self._clock = clock
        self._users = draws.users
        self._think_s = draws.think_s.tolist()
        self._arrived_s = arrived_s
        self._batches = batches
        self._route = route

    def begin(self, spread_s: float) -> None:
        """All users send their first request, evenly spread."""
        for user in range(min(self._users, len(self._think_s))):  # no more users than requests
            self._ask_at(user / self._users * spread_s)

    def answer(self, batch: Batch) -> None:
        """The users of a batch have their answers, and begin to think."""
        self._batches.append(batch)
        for request in batch.requests:
            self._ask_at(batch.finished_s + self._think_s[request])

    def _ask_at(self, instant_s: float) -> None:
        moment = Moment(self._clock).at(instant_s, Phase.ARRIVAL)
        moment.callbacks = [self._ask]

    def _ask(self, _: object) -> None:
        request = len(self._arrived_s)
        if request == len(self._think_s):
            return
        self._arrived_s.append(self._clock.now)
        self._route(request).join(request)
