"""Open files: as many connections as are wanted need as many of them, and the system has a limit."""

import resource

from capacity.errors import InputError
from serve_api.http_protocol import PROBE_CONNECTIONS

FILES_BESIDE = PROBE_CONNECTIONS + 128  # the port, the log, the model, the loop's own


def allow_connections(connections_max: int) -> None:
    """Let this process open what it needs for its connections.

    Raises:
        InputError: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections_max + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"--connections-max {connections_max} needs {needed} open files, and the system allows {hard}; "
            f"raise its limit (ulimit -Hn), or take {max(1, hard - FILES_BESIDE)} at most"
        )
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
