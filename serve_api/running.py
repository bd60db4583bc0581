"""Running: a process of its own that serves until it is told to end."""

import gc
import os
import socket
import sys
import threading
import time

from capacity.errors import InputError
from serve_api.app import ServingApp, create_app
from serve_api.loading import Loader
from serve_api.log import capture_libraries, say
from serve_api.metrics import Metrics
from serve_api.open_files import allow_connections
from serve_api.server import BACKLOG, DrainingServer
from serve_api.settings import ListenSettings, Settings

# A finished batch waits for the interpreter until the event loop lets go of it, 5 ms at most by default: as
# long as a batch may take. Half a millisecond costs some switches and is no longer felt.
_SWITCH_INTERVAL_S = 0.0005
_LAST_BATCH_S = 0.2


def serve(settings: Settings) -> None:
    """Load, warm up, listen, serve, drain.

    Raises:
        CapacityError: a version is not fit to be served, the port not free, or too few files allowed.
    """
    capture_libraries()
    metrics = Metrics()
    loader = Loader(settings, metrics)
    rollout = loader.rollout()
    run(create_app(settings, rollout, metrics, loader))


def run(app: ServingApp) -> None:
    """Serve an application until it is told to end; where a model hangs then, the process ends here."""
    service = app.service
    allow_connections(service.settings.limits.connections_max)
    server = DrainingServer(app, service.settings, service.metrics)
    _steady()
    for role, deployment in service.rollout.loaded():
        say("loaded", role=role, version=deployment.version)
    with _port(service.settings.listen) as port:
        server.run([port])
    say("ended", answered=service.answered)
    if _others_compute():
        os._exit(0)


def _others_compute() -> bool:
    """Whether a thread goes on, some time after it was told to end.

    It would come back from the runtime to an interpreter that is half gone, which can abort the process: what
    ended in order would look like a crash.
    """
    until_s = time.monotonic() + _LAST_BATCH_S
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(max(0.0, until_s - time.monotonic()))
    return any(thread.is_alive() for thread in others)


def _port(listen: ListenSettings) -> socket.socket:
    """The port, bound here, since uvicorn would end the process with lines of its own."""
    try:
        return socket.create_server((listen.host, listen.port), family=_family(listen.host), backlog=BACKLOG)
    except OSError as error:
        raise InputError(
            f"cannot listen on {listen.host}:{listen.port}: {str(error.strerror).partition(' (')[0]}; "
            "choose another with --host and --port"
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _steady() -> None:
    """What stalls a running server is done beforehand, as far as it can be."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection has to look through it again
