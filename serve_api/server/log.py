"""Log: one line of JSON on stderr for each event, with no more of a request than its id."""

import json
import sys
import time


def say(event: str, **facts: str | float | None) -> None:
    """Write one event."""
    line = json.dumps({"time_s": round(time.time(), 3), "event": event, **facts})
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def kind_of(error: BaseException) -> str:
    """Type of an error and where it was raised; not its text, which may hold what a user sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    return type(error).__name__ + where
