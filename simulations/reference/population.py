"""Population: users who each wait for the answer, think, and send again, in place of an arrival process."""

from collections.abc import Callable, Iterable

from simulations.reference.replica import Clock, Moment, Phase


class Population:
    """A closed population in front of a fleet of any kind.

    A request is its number in order of arrival, and so are its draws: after request i, its user
    thinks for the i-th think time. Users are alike, so it does not matter which of them sends.
    No request comes once all that have draws have come.
    """

    def __init__(self, clock: Clock, users: int, think_s: list[float], send: Callable[[int], None]) -> None:
        self._clock = clock
        self._users = users
        self._think_s = think_s
        self._send = send
        self._sent = 0

    def begin(self, spread_s: float) -> None:
        """All users send their first request, evenly spread."""
        for user in range(min(self._users, len(self._think_s))):  # no more users than requests
            self._ask_at(user / self._users * spread_s)

    def answer(self, requests: Iterable[int], finished_s: float) -> None:
        """The users of some requests have their answers, and begin to think."""
        for request in requests:
            self._ask_at(finished_s + self._think_s[request])

    def _ask_at(self, instant_s: float) -> None:
        moment = Moment(self._clock).at(instant_s, Phase.ARRIVAL)
        moment.callbacks = [self._ask]

    def _ask(self, _: object) -> None:
        if self._sent == len(self._think_s):
            return
        self._sent += 1
        self._send(self._sent - 1)
