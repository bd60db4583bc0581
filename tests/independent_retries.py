"""Clients that try again at servers with one queue, written independently: neither code nor seeds of the package have a part."""

import heapq
import random
from dataclasses import dataclass, field
from typing import NamedTuple


class Event(NamedTuple):
    """Something at an instant; events of one instant keep the order in which they were made."""

    instant_s: float
    number: int
    kind: str
    request: int
    attempt: int


@dataclass(kw_only=True)
class Overload:
    """Poisson arrivals at exponential servers with room for `limit` in line; who is not answered in time tries again."""

    rate_rps: float
    servers: int
    service_rate_rps: float
    timeout_s: float
    attempts: int
    limit: int
    seed: int
    arrived_s: list[float] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    _events: list[Event] = field(default_factory=list)
    _line: list[tuple[int, int]] = field(default_factory=list)
    _waited_for: set[tuple[int, int]] = field(default_factory=set)
    _made: int = 0
    _served: int = 0
    _busy: int = 0

    def goodput(self, from_s: float, until_s: float) -> float:
        """Share of those that arrive in a stretch of time that have a reply in time."""
        self._random = random.Random(self.seed)
        self._plan(self._random.expovariate(self.rate_rps), "arrival", 0, 0)
        while self._events[0].instant_s < until_s + self.attempts * self.timeout_s:
            self._happen(heapq.heappop(self._events))
        counted = [i for i, instant_s in enumerate(self.arrived_s) if from_s <= instant_s < until_s]
        return sum(request in self.answered for request in counted) / len(counted)

    def _plan(self, instant_s: float, kind: str, request: int, attempt: int) -> None:
        self._made += 1
        heapq.heappush(self._events, Event(instant_s, self._made, kind, request, attempt))

    def _happen(self, event: Event) -> None:
        one, now_s = (event.request, event.attempt), event.instant_s
        if event.kind == "arrival":
            self.arrived_s.append(now_s)
            self._send(now_s, event.request, 0)
            self._plan(now_s + self._random.expovariate(self.rate_rps), "arrival", event.request + 1, 0)
        elif event.kind == "timeout":
            if one in self._waited_for:
                self._waited_for.remove(one)
                self._send(now_s, event.request, event.attempt + 1)
        else:
            if one in self._waited_for:
                self._waited_for.remove(one)
                self.answered.add(event.request)
            self._busy -= 1
            if self._served < len(self._line):
                self._serve(now_s, *self._line[self._served])
                self._served += 1

    def _send(self, now_s: float, request: int, attempt: int) -> None:
        while attempt < self.attempts:  # a full line rejects at once, and who is rejected tries again at once
            if self._busy < self.servers or len(self._line) - self._served < self.limit:
                self._waited_for.add((request, attempt))
                self._plan(now_s + self.timeout_s, "timeout", request, attempt)
                if self._busy < self.servers:
                    self._serve(now_s, request, attempt)
                else:
                    self._line.append((request, attempt))
                return
            attempt += 1

    def _serve(self, now_s: float, request: int, attempt: int) -> None:
        self._busy += 1
        self._plan(now_s + self._random.expovariate(self.service_rate_rps), "end", request, attempt)
