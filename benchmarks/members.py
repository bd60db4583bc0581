"""Members of a fleet in trouble: replicas as processes that are killed, stopped, slowed, and replaced on time."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.verification.clock import WallClock
from serve_api.balancer import free_port
from serve_api.replica import Replica, drain, started

# What is done, and how long after the trigger's beginning. [s]
Incident = Sequence[tuple[float, Callable[[], object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowable(Replica):
    """A replica whose batches SIGUSR1 makes slower by a factor, until SIGUSR2."""

    factor: float

    def command(self) -> list[str]:
        """The command line that starts it."""
        told = Replica.command(self)  # a class with slots is made twice, and `super()` knows the first
        # A module, as `serve_api` is: both are found from the checkout alone, which no wheel holds.
        module = ("-m", "benchmarks.slowed_replica")
        return [sys.executable, *module, str(self.factor), *told[told.index("serve_api") + 1 :]]


@dataclass(slots=True)
class Member:
    """A replica at a port that it keeps.

    Attributes:
        startup_s: how long it took to start last. [s]
    """

    replica: Replica
    log: Path
    url: str = ""
    startup_s: float = 0.0
    _process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.replica = replace(self.replica, port=free_port())
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        began_s = time.monotonic()
        self._process, self.url = started(self.replica, self.log)
        self.startup_s = time.monotonic() - began_s

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, with all that it holds."""
        self._process.kill()
        self._process.wait()

    def replace(self) -> None:
        """Let it finish what it holds, and start another in its place."""
        drain(self._process)
        self.start()

    def end(self) -> None:
        """End it, in whatever state it is."""
        with suppress(ProcessLookupError):
            self.kill()


@contextmanager
def members_of(replica: Replica, count: int, folder: Path) -> Iterator[list[Member]]:
    """This many replicas, one after another, until the block ends."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            found.append(Member(replica, folder / f"{number}.log"))
            stack.callback(found[-1].end)
        yield found


def incident_of(trigger: Trigger, members: Sequence[Member], back_s: float) -> Incident:
    """What makes the trigger happen; a spike is in the traffic.

    Args:
        back_s: in a rollout, how long a new member is left alone until it is the turn of the next. [s]
    """
    last, ends_s = members[-1], trigger.lasting_s
    signals = {
        TriggerKind.HANG: (signal.SIGSTOP, signal.SIGCONT),
        TriggerKind.STRAGGLER: (signal.SIGUSR1, signal.SIGUSR2),
    }
    if trigger.kind in signals:
        begin, end = signals[trigger.kind]
        return ((0.0, partial(last.signal, begin)), (ends_s, partial(last.signal, end)))
    if trigger.kind is TriggerKind.CRASH:
        return ((0.0, last.kill), (ends_s, last.start))
    if trigger.kind is TriggerKind.ROLLOUT:
        return ((0.0, partial(_replace_all, members, back_s)),)
    assert trigger.kind is TriggerKind.SPIKE
    return ()


def _replace_all(members: Sequence[Member], back_s: float) -> None:
    for one in members:
        one.replace()
        time.sleep(back_s)


async def happen(incident: Incident, clock: WallClock, begins_s: float) -> None:
    """Do all of it on time, by threads of its own, while requests are sent."""
    async with asyncio.TaskGroup() as tasks:
        for after_s, act in incident:
            await clock.sleep_until(begins_s + after_s)
            tasks.create_task(asyncio.to_thread(act))
