"""Engines of a language model, written independently: neither code nor seeds of the package have a part.

A pass takes a + g·d for d running requests that have their first token; a request of m tokens is in m passes in a row,
from the first that begins after it came and found a slot. Requests come from outside or from users, may find a full
line, and may be given up and sent again at once.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False)
class Try:
    """One attempt, and the tokens that it still needs."""

    request: int
    left: int
    first_s: float = math.nan
    is_over: bool = False


@dataclass(kw_only=True)
class Engines:
    """Engines in turn; Poisson arrivals, or users who think for exponential times."""

    engines: int
    slots: int
    base_s: float
    per_request_s: float
    tokens_mean: float  # of geometric answers; of exactly so many where `is_constant`
    is_constant: bool = False
    rate_rps: float = 0.0
    users: int = 0
    think_s: float = 0.0
    timeout_s: float = math.inf
    attempts: int = 1
    line_max: float = math.inf
    seed: int = 0
    came_s: list[float] = field(default_factory=list)
    first_s: dict[int, float] = field(default_factory=dict)
    done_s: dict[int, float] = field(default_factory=dict)
    tries: list[int] = field(default_factory=list)
    running: dict[int, list[Try]] = field(default_factory=dict)
    waiting: dict[int, deque[Try]] = field(default_factory=dict)
    _tokens: list[int] = field(default_factory=list)
    _events: list[tuple[float, int, int, str, object]] = field(default_factory=list)
    _made: int = 0
    _turn: int = 0
    _computes: set[int] = field(default_factory=set)

    def run(self, requests: int) -> None:
        """Let so many requests come, and serve them all."""
        self._random, self._most = random.Random(self.seed), requests
        for engine in range(self.engines):
            self.running[engine], self.waiting[engine] = [], deque()
        if self.users:
            for _ in range(self.users):
                self._plan(self._random.expovariate(1.0) * (self.think_s + self.base_s), 1, "come", None)
        else:
            self._plan(0.0, 1, "come", None)
        while self._events:
            now_s, _, _, kind, what = heapq.heappop(self._events)
            getattr(self, f"_{kind}")(now_s, what)

    def _plan(self, instant_s: float, order: int, kind: str, what: object) -> None:
        self._made += 1
        heapq.heappush(self._events, (instant_s, order, self._made, kind, what))

    def _come(self, now_s: float, _: object) -> None:
        if len(self.came_s) == self._most:
            return
        self.came_s.append(now_s)
        chance = 1.0 - 1.0 / self.tokens_mean
        drawn = 1 if chance == 0.0 else 1 + int(math.log(1.0 - self._random.random()) / math.log(chance))
        self._tokens.append(int(self.tokens_mean) if self.is_constant else drawn)
        self.tries.append(0)
        self._send(now_s, len(self.came_s) - 1)
        if not self.users:
            self._plan(now_s + self._random.expovariate(self.rate_rps), 1, "come", None)

    def _send(self, now_s: float, request: int) -> None:
        self.tries[request] += 1
        engine = self._turn % self.engines
        self._turn += 1
        if len(self.waiting[engine]) >= self.line_max:
            self._again(now_s, request)
            return
        one = Try(request, self._tokens[request])
        self.waiting[engine].append(one)
        if self.timeout_s < math.inf:
            self._plan(now_s + self.timeout_s, 3, "give_up", (engine, one))
        self._plan(now_s, 2, "look", engine)

    def _again(self, now_s: float, request: int) -> None:
        if self.tries[request] < self.attempts:
            self._send(now_s, request)
        else:
            self._think(now_s)

    def _think(self, now_s: float) -> None:
        """A user has an answer, or none will come, and thinks before the next request."""
        if self.users:
            self._plan(now_s + self._random.expovariate(1.0) * self.think_s, 1, "come", None)

    def _give_up(self, now_s: float, what: tuple[int, Try]) -> None:
        engine, one = what
        if one.is_over:
            return
        one.is_over = True
        for held in (self.running[engine], self.waiting[engine]):
            if one in held:
                held.remove(one)
        self._again(now_s, one.request)

    def _look(self, now_s: float, engine: int) -> None:
        if engine not in self._computes:
            self._begin(now_s, engine)

    def _begin(self, now_s: float, engine: int) -> None:
        running, waiting = self.running[engine], self.waiting[engine]
        old = len(running)
        while waiting and len(running) < self.slots:
            running.append(waiting.popleft())
        if not running:
            self._computes.discard(engine)
            return
        self._computes.add(engine)
        self._plan(now_s + self.base_s + self.per_request_s * old, 0, "end", (engine, list(running)))

    def _end(self, now_s: float, what: tuple[int, list[Try]]) -> None:
        engine, members = what
        for one in members:
            if one.is_over:
                continue
            one.left -= 1
            one.first_s = now_s if math.isnan(one.first_s) else one.first_s
            if one.left == 0:
                one.is_over = True
                self.running[engine].remove(one)
                self.first_s[one.request], self.done_s[one.request] = one.first_s, now_s
                self._think(now_s)
        self._begin(now_s, engine)
