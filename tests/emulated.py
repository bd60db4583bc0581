"""An emulated fleet within the loop of its client, in virtual time, so that a whole loop takes no time and no chance."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
from virtual_time import VirtualClock, VirtualLoop

from capacity.measurement.metrics import read_page
from capacity.profile.llm_runs import SeenRequest
from capacity.verification.conversations import Turn
from capacity.verification.send import Sent
from serve_api.emulation.engine import ANSWER_TOKEN, EmulatedEngine, Lengths, emulated_rules
from serve_api.emulation.log import StepLog
from serve_api.emulation.metrics import EngineMetrics


class Fleet:
    """Engines of a profile, and clients that see their tokens.

    Args:
        outside_s: what a request takes on its way to an engine, beyond its overhead. [s]
        refused: one in this many requests is refused.
        longer: tokens of an answer beyond those that were asked for.
        log: what the first engine did.
        route: the engine of a session by its name, where one router stands in front of all.
    """

    def __init__(self, profile, *, replicas=1, outside_s=0.0, refused=None, longer=0, log=None, route=None):
        self.profile, self.replicas, self.outside_s = profile, replicas, outside_s
        self.refused, self.longer, self.asked, self.log, self.route = refused, longer, 0, log, route

    def begin(self):
        self.metrics = [EngineMetrics("made-up") for _ in range(self.replicas)]
        self.engines = [
            EmulatedEngine(
                self.profile,
                emulated_rules(self.profile),
                seed=0,
                log=(not number and self.log) or StepLog(),
                metrics=self.metrics[number],
                clock_s=asyncio.get_running_loop().time,
            )
            for number in range(self.replicas)
        ]

    async def see(self, replica, given, got, prompt=()):
        """A request as its client sees it."""
        return (await self._seen(replica, given, got, prompt))[0]

    async def _seen(self, replica, given, got, prompt):
        """A request as its client sees it, and what its engine knows of it."""
        loop, stamps_s = asyncio.get_running_loop(), []
        start_s = loop.time()
        await asyncio.sleep(self.outside_s)
        stream = self.engines[replica].submit(Lengths(given, got), prompt)
        came = 0
        while came < got:
            came += await stream.tokens.get()
            stamps_s.append(loop.time())
        seen = SeenRequest(
            input_tokens=given,
            output_tokens=got + self.longer,
            start_s=start_s,
            first_s=stamps_s[0],
            last_s=stamps_s[-1],
            gaps_s=() if self.longer else tuple(np.diff(stamps_s).tolist()),
            events=len(stamps_s),
        )
        return seen, stream

    async def send(self, replica, asks):
        """A request of a load test, or a turn of a conversation."""
        self.asked += 1
        if self.refused and self.asked % self.refused == 0:
            return Sent(503)
        if not isinstance(asks, Turn):
            return Sent(200, seen=await self.see(replica, *(asks or (1, 1))))
        if self.route is not None:
            replica = self.route(asks.conversation.name)
        prompt = asks.conversation.prompt(asks.row)
        seen, stream = await self._seen(replica, *asks.tokens, prompt)
        asks.conversation.answered((ANSWER_TOKEN,) * asks.tokens[1])
        return Sent(200, seen=seen, cached_tokens=stream.cached_tokens)


def verify_in_virtual_time(monkeypatch, fleet):
    """Let `capacity verify` meet a fleet, in no time."""

    @asynccontextmanager
    async def connected(target):
        fleet.begin()
        yield fleet.send

    module = "capacity.verification.load_test"
    monkeypatch.setattr("capacity.verification.validity.CPU_SHARE_MAX", 2.0)
    monkeypatch.setattr(f"{module}.precise_runner", lambda: asyncio.Runner(loop_factory=VirtualLoop))
    monkeypatch.setattr(f"{module}.WallClock", VirtualClock)
    monkeypatch.setattr(f"{module}.connected", connected)


def profile_in_virtual_time(monkeypatch, fleet):
    """Let `capacity profile --llm` meet a fleet, in no time."""

    @asynccontextmanager
    async def session(timeout_s):
        fleet.begin()
        yield None

    async def complete(client, address, prompt):
        return await fleet.see(0, len(prompt.tokens), prompt.output_tokens)

    module = "capacity.measurement.sweeps"
    loops = SimpleNamespace(
        Runner=lambda: asyncio.Runner(loop_factory=VirtualLoop), TaskGroup=asyncio.TaskGroup
    )
    clock = SimpleNamespace(perf_counter=lambda: asyncio.get_running_loop().time(), thread_time=lambda: 0.0)
    monkeypatch.setattr(f"{module}.asyncio", loops)
    monkeypatch.setattr(f"{module}.time", clock)
    monkeypatch.setattr(f"{module}.session", session)
    monkeypatch.setattr(f"{module}.complete", complete)
    monkeypatch.setattr(f"{module}.scrape", lambda page: read_page(fleet.metrics[0].text()))
