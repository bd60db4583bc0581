"""Cluster executor: maps tasks over the workers of a running Dask cluster.

Dask restarts workers and gives the tasks of a lost one to another. A worker must have the same versions as this
process, since others may give other bytes; the user is warned of one that rounds differently, as another CPU may.
"""

import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from capacity.errors import DependencyError, InputError, quoted
from capacity.files import versions
from simulations.workers import ExecutorMapper, Mapper

if TYPE_CHECKING:
    from distributed import Client

# How long to wait for the scheduler, for its first worker, and for its last one to return.
PATIENCE_S = 10.0
_ADDRESS = re.compile(r"(?:tcp|tls)://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}")
_WINDOW_PER_THREAD, _WINDOW_MIN = 4, 64  # more workers may join


@contextmanager
def cluster(address: str, warn: Callable[[str], None] = warnings.warn) -> Iterator[Mapper]:
    """A mapper over the workers of the cluster whose scheduler listens at `address`.

    Args:
        address: `tcp://HOST:PORT` or `tls://HOST:PORT`; certificates are Dask's own settings.
        warn: called with anything that may change the last digits of an answer.

    Raises:
        InputError: the address is not one.
        DependencyError: Dask is not installed, no scheduler or worker answers, or one has other versions;
            later, from the mapper, the cluster is lost.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise InputError(
            f"--cluster {quoted(address)} is not an address; write tcp://HOST:PORT or tls://HOST:PORT"
        )
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise DependencyError("--cluster needs Dask; pip install 'capacity-planner[cluster]'") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)  # errors that matter are raised as ours
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except Exception as error:  # of network, certificates, another service
        raise DependencyError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); start one by "
            "`dask scheduler`, check address and certificates, or leave --cluster out"
        ) from None
    try:
        _require_same(_environments(client, address), address, warn)
        threads = sum(client.nthreads().values())
        window = max(_WINDOW_MIN, _WINDOW_PER_THREAD * threads)
        executor = client.get_executor(pure=False)
        yield ExecutorMapper(executor, window=window, check=lambda: _require_workers(client, address))
    except (BrokenExecutor, CancelledError, KilledWorker):
        raise DependencyError(
            f"the cluster at {address} is lost: its scheduler left, or a task kept killing its worker "
            "(out of memory?); look at its logs and run again, or leave --cluster out"
        ) from None
    finally:
        with suppress(Exception):  # a failure to close must not hide why we leave
            client.close(timeout=2.0)


def _environments(client: "Client", address: str) -> Mapping[str, dict[str, str]]:
    """Environment that an answer's bytes depend on, by worker."""
    _require_workers(client, address)
    try:
        found: Mapping[str, dict[str, str]] = client.run(environment)
    except Exception as error:
        raise DependencyError(
            f"a worker of {address} cannot run capacity ({type(error).__name__}: {error}); install capacity "
            "there, with the packages that are here"
        ) from None
    return found


def _require_workers(client: "Client", address: str) -> None:
    """Wait for a worker, and raise if none comes."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except Exception:
        raise DependencyError(
            f"the cluster at {address} has had no workers for {PATIENCE_S:.0f} s; start some by "
            f"`dask worker {address}`, or leave --cluster out"
        ) from None


def environment() -> dict[str, str]:
    """Versions, and a digest of numbers that different vector units round differently."""
    import numpy as np

    gaps = np.random.default_rng(0).gamma(0.7, size=4096)
    numbers = np.concatenate([gaps, np.log(gaps), np.exp(-gaps), np.sqrt(gaps), [gaps.sum(), gaps @ gaps]])
    return versions() | {"digits": hashlib.sha256(numbers.tobytes()).hexdigest()}


def _require_same(theirs: Mapping[str, dict[str, str]], address: str, warn: Callable[[str], None]) -> None:
    """Refuse a worker with other versions, and warn of one whose arithmetic differs in the last digits."""
    ours = environment()
    for worker, found in sorted(theirs.items()):
        for name, own in ours.items():
            if name == "digits" and found[name] != own:
                warn(f"warning: worker {worker} rounds differently from here: last digits may differ")
            elif found[name] != own:
                raise DependencyError(
                    f"the worker {worker} of {address} has {name} {found[name]}, and here is {own}: "
                    "install the same version there"
                )
