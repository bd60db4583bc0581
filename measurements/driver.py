"""Driver: sends requests at the instants of a schedule, whatever became of those before."""

import asyncio
from collections.abc import Awaitable, Callable

from measurements.balancer import Balancer
from measurements.clock import Clock
from measurements.load_run import Journal

# Sends one request to the replica of that number; an HTTP status, or another outcome; it never raises.
Send = Callable[[int], Awaitable[int]]
LEAD_S = 0.05  # until the first instant can be met


class Driver:
    """Sends one schedule, open loop: no request waits for another, and none is left out in silence.

    Args:
        in_flight_max: reaching it ends the run, which is then marked as overflowed: to wait for an answer
            would make a closed loop of it, and hide the very delays that it is to show.
    """

    def __init__(self, send: Send, balancer: Balancer, clock: Clock, in_flight_max: int) -> None:
        self._send, self._balancer, self._clock = send, balancer, clock
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._began_s = 0.0

    async def run(self, journal: Journal) -> None:
        """Send all, and wait for the last answer."""
        self._began_s = self._clock.now_s() + LEAD_S
        async with asyncio.TaskGroup() as requests:
            for number, instant_s in enumerate(journal.schedule.instants_s.tolist()):
                await self._clock.sleep_until(self._began_s + instant_s)
                if self._in_flight >= self._in_flight_max:
                    journal.is_overflowed = True
                    break
                self._in_flight += 1
                requests.create_task(self._request(journal, number))
        journal.is_complete = True

    async def _request(self, journal: Journal, number: int) -> None:
        """One request from its being sent to its last byte."""
        replica = self._balancer.pick()
        journal.replicas[number] = replica
        journal.sent_s[number] = self._clock.now_s() - self._began_s
        try:
            outcome = await self._send(replica)
            journal.ended_s[number] = self._clock.now_s() - self._began_s
            journal.outcomes[number] = outcome
        finally:
            self._balancer.release(replica)
            self._in_flight -= 1
