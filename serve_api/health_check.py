"""Health check: `python -m serve_api.health_check` ends with 0 if the server of its container is ready.

Docker shows that a container is unhealthy and leaves it at that. With `--end-hung 1` a server that says at
`/livez` that its model hangs, which only a restart mends, is told to end as by `docker stop`; what starts it
again is the restart policy. One that gives no answer is left alone: that it is busy is no reason.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException

_PATIENCE_S = 2.0
_NOT_READY = 503


def main(words: Sequence[str]) -> int:
    """The exit code; what is wrong is told on stderr, where `docker inspect` shows it."""
    asked = _parser().parse_args(words)
    ready = status("/readyz", asked.port)
    if ready == 200:
        return 0
    print("no answer" if ready is None else f"/readyz answers {ready}", file=sys.stderr)  # noqa: T201
    if asked.end_hung and ready == _NOT_READY and status("/livez", asked.port) == _NOT_READY:
        print("the model hangs: the server is told to end", file=sys.stderr)  # noqa: T201
        os.kill(asked.end_hung, signal.SIGTERM)
    return 1


def status(path: str, port: int) -> int | None:
    """What the server on this machine answers; None if it gives no answer in time."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve_api.health_check")
    parser.add_argument("--port", type=int, default=8000, help="of the server, on 127.0.0.1")
    parser.add_argument("--end-hung", type=int, metavar="PROCESS", help="end this process if its model hangs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
