"""Log: one line of JSON on stderr for each event; nothing secret, and of a request no more than its id."""

import json
import logging
import math
import sys
import time

Fact = str | int | float | bool | None


def say(event: str, **facts: Fact) -> None:
    """Write one line."""
    line = json.dumps({"time_s": round(time.time(), 3), "event": event, **facts})
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads: no reason to stop serving
        pass


class Seldom:
    """An event that may come often: a line once in a while, which tells how many were left out."""

    def __init__(self, event: str, interval_s: float = 1.0) -> None:
        self._event, self._interval_s = event, interval_s
        self._said_s = -math.inf
        self._left_out = 0

    def say(self, now_s: float, **facts: Fact) -> None:
        """Write a line, or count it."""
        if now_s - self._said_s < self._interval_s:
            self._left_out += 1
            return
        say(self._event, **facts, left_out=self._left_out)
        self._said_s, self._left_out = now_s, 0


def place_of(error: BaseException) -> str:
    """Kind of an error and where it was raised; not its text, which may hold what a user sent."""
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{type(error).__name__} in {code.co_name}:{trace.tb_lineno}"


class OneLine(logging.Handler):
    """What libraries log, as our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Their text, or kind and place of the exception that they caught."""
        error = record.exc_info[1] if record.exc_info else None
        # Without the arguments, which may be anything.
        text = record.msg if error is None else place_of(error)
        say("library", logger=record.name, level=record.levelname.lower(), text=str(text)[:200])


def capture_libraries() -> None:
    """Route warnings and worse of the libraries through `OneLine`."""
    logging.basicConfig(handlers=[OneLine()], level=logging.WARNING, force=True)
