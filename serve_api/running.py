"""Running: a process of its own that serves until it is told to end."""

import gc
import resource
import sys

from serve_api.app import create_app
from serve_api.loading import Loader, Store
from serve_api.log import capture_libraries, say
from serve_api.metrics import Metrics
from serve_api.rollout import Rollout
from serve_api.server import DrainingServer
from serve_api.settings import Settings

# A finished batch waits for the interpreter until the event loop lets go of it, 5 ms at most by default: as
# long as a batch may take. Half a millisecond costs some switches and is no longer felt.
_SWITCH_INTERVAL_S = 0.0005


def serve(settings: Settings, store: Store) -> None:
    """Load, warm up, listen, serve, drain.

    Raises:
        InputError: the version is not fit to be served.
    """
    metrics = Metrics()
    serve_rollout(settings, Loader(store, settings, metrics).rollout(), metrics)


def serve_rollout(settings: Settings, rollout: Rollout, metrics: Metrics) -> None:
    """Serve what is loaded already."""
    capture_libraries()
    server = DrainingServer(create_app(settings, rollout, metrics), settings)
    _steady()
    say("serving", version=rollout.serving.version)
    server.run()
    say("ended", version=rollout.serving.version)


def _steady() -> None:
    """What stalls a running server is done beforehand, as far as it can be."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection has to look through it again
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
