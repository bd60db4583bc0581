"""Replica: runs one server of the pipeline as a process on this machine, pinned to a core if asked."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from capacity.errors import DependencyError, InputError

_LISTENING = re.compile(r"listening on (http://[0-9.]+:[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """Settings of one replica, with a real or an emulated model; `flags` are others of `python -m serve_api`."""

    artifacts: Path | None = None
    emulate: Path | None = None
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    core: int | None = None
    flags: Sequence[str] = ()

    def command(self) -> list[str]:
        """The command line that starts it at a free port."""
        model = (
            ("--artifacts", str(self.artifacts)) if self.emulate is None else ("--emulate", str(self.emulate))
        )
        return [
            sys.executable, "-m", "serve_api", *model, "--host", "127.0.0.1", "--port", "0",
            "--batch-size-max", str(self.batch_size_max),
            "--batch-wait-max", f"{1e6 * self.batch_wait_max_s:.0f}us",
            *self.flags,
        ]  # fmt: skip


@contextmanager
def running(replica: Replica, log: Path, patience_s: float = 60.0) -> Iterator[str]:
    """Run a replica until it is ready within a time; yields its address, and drains it afterwards."""
    with log.open("w", encoding="utf-8") as sink, pinned(replica.core):
        process = subprocess.Popen(replica.command(), stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        yield _address(process, log, time.monotonic() + patience_s)
    finally:
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
