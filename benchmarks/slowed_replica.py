"""Slowed replica: `python -m serve_api --emulate ...`, whose batches are slower between SIGUSR1 and SIGUSR2.

    python -m benchmarks.slowed_replica 3 --emulate emulated.csv --port 0

A batch that starts meanwhile takes three times as long as it would have.
"""

import signal
import sys
import time

import serve_api.server.process
from serve_api.commands import app
from serve_api.server.backend import Answers, Emulated, FloatRows


class Slowed(Emulated):
    """The emulated model, and how much slower it is just now."""

    factor = 1.0

    def predict(self, rows: FloatRows) -> Answers:
        """The answers, when the batch's time and what is added to it are over."""
        more, began_s = Slowed.factor - 1.0, time.monotonic()
        answers = super().predict(rows)
        time.sleep(more * (time.monotonic() - began_s))
        return answers


def become(factor: float) -> None:
    """Be this many times slower from the next batch on."""
    Slowed.factor = factor


if __name__ == "__main__":
    slower = float(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, lambda *_: become(slower))
    signal.signal(signal.SIGUSR2, lambda *_: become(1.0))
    serve_api.server.process.Emulated = Slowed  # type: ignore[misc]
    app(prog_name="python -m benchmarks.slowed_replica")
