"""Room: where attempts wait for replicas that have gone away and will be back."""

from simulations.reference.recovery.attempt import Attempt
from simulations.reference.recovery.surroundings import Counts


class Room:
    """Attempts that were sent while no replica was there, or came back with one that went away, in order."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._line: dict[Attempt, None] = {}

    def keep(self, attempt: Attempt) -> None:
        """An attempt waits here, at no replica."""
        attempt.target, attempt.place = None, self
        self._line[attempt] = None

    def abandon(self, attempt: Attempt) -> None:
        """It leaves, as no client waits for it any more."""
        del self._line[attempt]
        attempt.place = None
        self._counts.dropped += 1

    def empty(self) -> list[Attempt]:
        """All leave, in order."""
        attempts = list(self._line)
        self._line.clear()
        for attempt in attempts:
            attempt.place = None
        return attempts

    def drop_the_abandoned(self) -> None:
        """The run is over: who is still here and not waited for will not be served."""
        self._counts.dropped += sum(not attempt.is_waited_for for attempt in self._line)
