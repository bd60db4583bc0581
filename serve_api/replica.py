"""Replica: runs one server of the pipeline as a process on this machine, pinned to a core if asked."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from capacity.errors import DependencyError, InputError

PATIENCE_S = 60.0
# As far apart as an event loop and its inference are by default.
_NICE_MAIN, _NICE_OTHERS = -20, -10
_LISTENING = re.compile(r"listening on (http://[0-9.]+:[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """Settings of one replica, with a real or an emulated model; `flags` are others of `python -m serve_api`.

    Attributes:
        batch_size_max: largest batch; None for an engine, which has no batches.
        port: that it listens on; 0 takes a free one.
    """

    artifacts: Path | None = None
    emulate: Path | None = None
    batch_size_max: int | None = None
    batch_wait_max_s: float = 0.0
    core: int | None = None
    port: int = 0
    flags: Sequence[str] = ()

    def command(self) -> list[str]:
        """The command line that starts it."""
        model = (
            ("--artifacts", str(self.artifacts)) if self.emulate is None else ("--emulate", str(self.emulate))
        )
        wait = f"{1e6 * self.batch_wait_max_s:.0f}us"
        batches = ("--batch-size-max", str(self.batch_size_max), "--batch-wait-max", wait)
        return [
            sys.executable, "-m", "serve_api", *model, "--host", "127.0.0.1", "--port", str(self.port),
            *(() if self.batch_size_max is None else batches),
            *self.flags,
        ]  # fmt: skip


@contextmanager
def running(replica: Replica, log: Path, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """Run a replica until it is ready within a time; yields its address, and drains it afterwards."""
    process, url = started(replica, log, patience_s)
    try:
        yield url
    finally:
        drain(process, patience_s)


def started(
    replica: Replica, log: Path, patience_s: float = PATIENCE_S
) -> tuple["subprocess.Popen[bytes]", str]:
    """The process of a replica that is ready within a time, and its address."""
    with log.open("w", encoding="utf-8") as sink, pinned(replica.core):
        process = subprocess.Popen(  # noqa: S603
            replica.command(), stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        return process, _address(process, log, time.monotonic() + patience_s)
    except BaseException:
        drain(process, patience_s)
        raise


def drain(process: "subprocess.Popen[bytes]", patience_s: float = PATIENCE_S) -> None:
    """End a replica once it has answered what it holds, or after this time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin the processes started inside to a core; None is any."""
    usable = os.sched_getaffinity(0)
    if core is not None and core not in usable:
        raise InputError(f"core {core} is not usable; usable are {', '.join(map(str, sorted(usable)))}")
    os.sched_setaffinity(0, usable if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


@contextmanager
def in_front(rank: int = 1) -> Iterator[None]:
    """Give processes started inside, and this thread, priority over other work of the machine, if allowed.

    Args:
        rank: from 1 to 99; a higher one goes before a lower one.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(rank))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def behind() -> Iterator[None]:
    """Give up such a priority of this thread, and from processes that it starts, until the block ends."""
    policy, rank = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, policy, rank)


def put_in_front(parent: int, main: int = 1) -> None:
    """Give all that a process has started that priority, if allowed, now that nothing of it is starting up.

    From processes that compute for a second on end Linux takes 50 ms of it for others: see `favour`.

    Args:
        main: rank of the main thread of each process; that of its other threads is 1.
    """
    with suppress(PermissionError):
        for process, thread in _started_by(parent):
            rank = main if thread == process else 1
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(rank))


def favour(parent: int) -> None:
    """Give all that a process has started, each in a session of its own, the least niceness, if allowed."""
    with suppress(PermissionError):
        for process, thread in _started_by(parent):
            os.setpriority(os.PRIO_PROCESS, thread, _NICE_MAIN if thread == process else _NICE_OTHERS)
            with suppress(FileNotFoundError):  # where a core is shared among sessions first
                Path(f"/proc/{process}/autogroup").write_text(str(_NICE_MAIN), "utf-8")


def _started_by(parent: int) -> Iterator[tuple[int, int]]:
    """Each process that one has started, and that these have, with each of its threads."""
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, children.read_text("utf-8").split()):
            yield from ((child, int(thread.name)) for thread in Path(f"/proc/{child}/task").iterdir())
            yield from _started_by(child)


def example(artifacts: Path) -> list[float]:
    """A row like those the model was trained on: the mean of each feature."""
    scaler = json.loads((artifacts / "current" / "scaler.json").read_text(encoding="utf-8"))
    return [float(value) for value in scaler["mean"]]


def _address(process: subprocess.Popen[bytes], log: Path, deadline_s: float) -> str:
    """The address in its log, which it writes once its model is loaded and warm."""
    while time.monotonic() < deadline_s:
        found = _LISTENING.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    said = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    raise DependencyError(f"the server did not start: {said or 'it said nothing'}")
